#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The start gate where the network comes after create, as in newer Dockers: the gate has answered before there is
a link or an address. By runc, whose create and start are two commands: whoever sends with its first
instruction is held all the same, and what is approved works. And ctr, whose containers their shim names."""
import errno
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, PREFIX, Inside, Lab, Tap, run, skip_all, wait

STARTS, PORT, OPEN = 5, 7001, 7100
KINDS = ("SYN", "UDP", "frame", "SYN6", "UDP6", "frame6")
NAME = PREFIX + "-late"
if shutil.which("runc") is None:
    skip_all("no runc here")
t = Tap()
lab = Lab()
server = lab.ns("server")
server.serve(OPEN)
server.serve(PORT)
d = lab.daemon(expect=[server.name])
api = d.api


class Oracle(threading.Thread):
    """What arrives at the server, whatever becomes of it there: by what `first send` sends."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen = []
        with Inside(server.fd):
            self.s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.start()

    def run(self):
        while True:
            p, (_, ethertype, sort, _, _) = self.s.recvfrom(256)
            v6 = ethertype == 0x86dd
            h = 40 if v6 else (p[0] & 15) * 4
            if sort == 4 or ethertype not in (0x800, 0x86dd) or len(p) < h + 8:
                continue
            proto, port = p[6 if v6 else 9], struct.unpack("!H", p[h + 2:h + 4])[0]
            if proto == 6 and port == PORT:
                self.seen.append("SYN" + "6" * v6)
            elif proto == 17 and port in (PORT, PORT + 1):
                self.seen.append(("UDP" if port == PORT else "frame") + "6" * v6)


def make_bundle(name, *program, **linux):
    """A folder with what a runtime needs; the hook of the gate is in its configuration."""
    bundle = "%s/%s" % (lab.dir, name)
    os.makedirs(bundle + "/root/proc")
    shutil.copy(BUILD + "/tests/integration/first", bundle + "/root/first")
    open(bundle + "/root/began", "w").close()
    caps = ["CAP_NET_RAW"]
    spec = {"ociVersion": "1.0.2", "root": {"path": bundle + "/root"}, "hostname": "late",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/first", *map(str, program)], "cwd": "/",
                        "capabilities": {k: caps for k in ("bounding", "effective", "permitted")}},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": dict(linux, namespaces=[{"type": x} for x in ("pid", "ipc", "uts", "mount", "network")]),
            "hooks": {"createRuntime": [{"path": BUILD + "/daemon/nanoseg-oci-hook", "args": [
                "nanoseg-oci-hook", "--socket", d.sock, "--marker", d.state + "/enforced", "--timeout", "20s"]}]}}
    with open(bundle + "/config.json", "w") as f:
        json.dump(spec, f)
    return bundle


class Late:
    """A container whose network is made between its create and its start."""

    n = 0

    def __init__(self, *program):
        Late.n += 1
        self.bundle = make_bundle("bundle%d" % Late.n, *program)
        self.out = open(self.bundle + "/out", "w+")
        lab.later(self.end)
        self.created = self.runc("create", "--bundle", self.bundle, NAME)
        self.pid = int(json.loads(run("runc", "state", NAME).out)["pid"]) if self.created == 0 else 0

    def runc(self, *args):
        # What it is given is kept by the container.
        return subprocess.run(["runc", *args], stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out, timeout=60,
                              check=False).returncode

    def said(self):
        with open(self.bundle + "/out") as f:
            return f.read()

    def network(self):
        """A link, and then its addresses."""
        self.dev = "nl%d.%d" % (os.getpid(), Late.n)
        self.v4, v6 = lab.addr(200 + Late.n)
        inside = ("nsenter", "-t", str(self.pid), "-n", "ip")
        lab.at_host("ip", "link", "add", self.dev, "type", "veth", "peer", "name", "eth0", "netns", str(self.pid))
        lab.at_host("ip", "link", "set", self.dev, "master", lab.bridge, "up")
        run(*inside, "addr", "add", self.v4 + "/24", "dev", "eth0")
        run(*inside, "addr", "add", v6 + "/64", "dev", "eth0", "nodad")
        run(*inside, "link", "set", "eth0", "up")

    def start(self):
        if self.runc("start", NAME) != 0:
            raise RuntimeError(self.said())

    def error6(self):
        """Of its datagram over IPv6: EPERM is of the rules, others of a link that is not there yet."""
        with open(self.bundle + "/root/began") as f:
            words = f.read().split()
        return int(float(words[3])) if words else None

    def ended(self):
        r = run("runc", "state", NAME, check=False)
        return r.returncode != 0 or json.loads(r.out)["status"] == "stopped"

    def end(self):
        run("runc", "delete", "-f", NAME, check=False)


def instances():
    w = api.workload(NAME)
    return w["instances"] if w else []


def has(address):
    return lambda: any(address in i["addresses"] for i in instances())


def gone(c):
    c.end()
    wait(lambda: not instances(), 10)


oracle = Oracle()


def sender(seconds):
    return Late("send", server.v4, PORT, seconds, "/began", server.v6)


# Nothing is enforced: that what is sent does arrive.
c = sender(2)
t.ok(c.created == 0, "created through the gate", c.said())
c.network()
c.start()
t.ok(wait(lambda: set(KINDS) <= set(oracle.seen), 5), "without rules its first packets arrive", oracle.seen, c.said())
gone(c)

api.apply(json.dumps({
    "apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
    "workloads": [{"name": n, "mode": "enforce", "direction": "both"} for n in (NAME, server.name)],
    "edges": [{"from": NAME, "to": server.name, "proto": "tcp", "port": OPEN, "state": "approved"}]}))
oracle.seen.clear()
wrong, frames = [], 0
for k in range(STARTS):
    c = sender(1)
    kinds = [i["start"]["kind"] for i in instances()]
    c.network()
    c.start()
    wait(c.ended, 10)
    came = [x for x in oracle.seen if not x.startswith("frame")]
    frames += len(oracle.seen) - len(came)
    if c.created != 0 or kinds != ["gated"] or came or c.error6() != errno.EPERM:
        wrong.append((c.created, kinds, came, c.error6(), c.said()))
    oracle.seen.clear()
    gone(c)
t.ok(not wrong, "enforced: %d gated starts, their network after create: nothing of theirs leaves by the stack" % STARTS,
     *wrong, d.text()[-1500:])
t.note("frames past their rules before the guard was at the link: %d of %d" % (frames, 2 * STARTS))

# Once its link is guarded, frames do not pass either; and what is approved is open at once where its address is known.
c = sender(1)
c.network()
guarded = wait(lambda: [i for i in instances() if (i.get("guard") or {}).get("inForce")], 5)
c.start()
wait(c.ended, 10)
t.ok(guarded and c.error6() == errno.EPERM and not oracle.seen, "with its guard in force no frame passes either", oracle.seen, instances())
gone(c)
tries = []
for k in range(STARTS):
    c = Late("connect", (server.v4, server.v6)[k % 2], OPEN, 50)
    c.network()
    c.start()
    wait(c.ended, 10)
    words = c.said().split()
    tries.append(int(words[words.index("tries") + 1]) if "open" in words else c.said())
    gone(c)
t.ok(all(isinstance(n, int) for n in tries), "what is approved opens, though its peer learns the address late", tries,
     api.denials(), d.text()[-1500:])
t.note("tries of 100 ms until it was open: %s" % tries)


# ctr: when the gate asks, the shim is not the parent yet, and its cgroup's last part is not its name.
def ctr_start():
    """The workload of a container of ctr and how it was started."""
    base, cid = lab.dir + "/containerd", PREFIX + "-ctr"
    with open(base + ".toml", "w") as f:
        f.write('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    p = subprocess.Popen(["containerd", "-c", base + ".toml", "--root", base, "--state", base + "-run", "--address",
                          base + ".sock", "--log-level", "fatal"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    lab.later(p.wait)
    lab.later(p.terminate)
    if not wait(lambda: os.path.exists(base + ".sock"), 20):
        return None, "containerd does not start"
    bundle = make_bundle("ctr", "send", "127.0.0.1", PORT, 60, cgroupsPath="/default/" + cid)
    ctr = ("ctr", "-a", base + ".sock", "-n", "default")
    lab.later(run, *ctr, "container", "rm", cid, check=False)
    lab.later(run, *ctr, "task", "rm", "-f", cid, check=False)
    r = run(*ctr, "run", "-d", "--config", bundle + "/config.json", cid, check=False)
    w = api.workload(cid + "@default")
    return w and [i["start"]["kind"] for i in w["instances"]], r.err


if shutil.which("ctr") and shutil.which("containerd"):
    kinds, why = ctr_start()
    t.ok(kinds == ["gated"], "one of ctr is known to the gate by its shim's word", kinds, why, d.text()[-1500:])
else:
    t.skip("one of ctr is known to the gate by its shim's word", "no containerd here")
t.done()
