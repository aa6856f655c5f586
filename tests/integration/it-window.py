#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""New namespaces are closed from their first moment, once something is enforced: nothing leaks, what
is approved works, and nobody stays closed without a reason. it-start.py measures it. On a machine of its
own: a daemon without --only closes all that is new."""
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import guardlib
import nslab
import ownlib
import rolelib
from nslab import BUILD, Docker, Lab, Place, run, wait

ownlib.alone(__file__)

STARTS = 5
TIMEOUT_S = 1.0
FIRST = ["-v", BUILD + "/tests/integration/first:/first:ro"]
t = nslab.Tap()
lab = Lab(real_host=True)
ownlib.start_docker(lab)
docker = Docker(lab)
HOST = "172.17.0.1"
PORT, OPEN_PORT, RAW_PORT = 7001, 7012, 7013
seen = []


def listener(port):
    """A socket of the host for datagrams and one for connections; whatever comes is a leak."""
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("0.0.0.0", port))
    s = socket.socket()
    s.bind(("0.0.0.0", port))
    s.listen(64)

    def datagrams():
        while True:
            seen.append(("udp", port, u.recvfrom(64)[1][0], time.monotonic()))

    def connections():
        while True:
            c, who = s.accept()
            seen.append(("tcp", port, who[0], time.monotonic()))
            c.close()

    for fn in (datagrams, connections):
        threading.Thread(target=fn, daemon=True).start()


listener(PORT)
listener(OPEN_PORT)
listener(RAW_PORT)


def run_first(name, *words, rm=True, more=()):
    """(what it printed as a dict, exit status) of a container that runs `first`."""
    r = run("docker", "run", *(["--rm"] if rm else []), *(["--name", name] if name else []), *more, *FIRST,
            *docker.FOLDERS, docker.image, "/first", *map(str, words), check=False)
    w = r.out.split()
    return dict(zip(w[::2], w[1::2])), r.returncode


class Unknown:
    """A namespace in Docker's folder that no engine knows: a veth to the host, and who is inside
    sends a datagram every 10 ms, and one by a raw socket, past its rules."""
    n = 0

    def __init__(self, program=("sleep", "600")):
        Unknown.n += 1
        k = self.k = Unknown.n
        self.addr, self.gw = "10.99.%d.2" % k, "10.99.%d.1" % k
        self.made = time.monotonic()
        self.p = subprocess.Popen(["unshare", "--net", *program], stdin=subprocess.DEVNULL)
        here = os.readlink("/proc/self/ns/net")
        wait(lambda: os.readlink("/proc/%d/ns/net" % self.p.pid) != here, 2)
        run("ip", "link", "add", "u%d" % k, "type", "veth", "peer", "name", "eth0", "netns", str(self.p.pid))
        run("ip", "addr", "add", self.gw + "/24", "dev", "u%d" % k)
        run("ip", "link", "set", "u%d" % k, "up")
        for cmd in (["addr", "add", self.addr + "/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                    ["link", "set", "lo", "up"]):
            run("nsenter", "-t", str(self.p.pid), "-n", "ip", *cmd)
        self.name = "unknown%d" % k
        self.file = "/run/docker/netns/" + self.name
        self.place = Place("/proc/%d/ns/net" % self.p.pid)
        self.stop = threading.Event()
        lab.later(self.end)

    def appear(self, settle=0.0, closed=None):
        os.makedirs("/run/docker/netns", exist_ok=True)
        open(self.file, "w").close()
        run("mount", "--bind", "/proc/%d/ns/net" % self.p.pid, self.file)
        self.born = time.monotonic()
        time.sleep(settle)
        if closed:
            wait(closed, 0.6)
        self.sending = threading.Thread(target=self.send, daemon=True)
        self.sending.start()
        return self

    def send(self):
        u = self.place.socket(socket.AF_INET, socket.SOCK_DGRAM)
        raw = self.place.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.bind(("eth0", 0))
        body = guardlib.udp(self.addr, self.gw, 4000, RAW_PORT, b"unknown")
        inside = run("nsenter", "-t", str(self.p.pid), "-n", "ip", "-j", "link").out
        frame = guardlib.ether(guardlib.link_mac(inside, "eth0"),
                               guardlib.link_mac(run("ip", "-j", "link").out, "u%d" % self.k), 0x800,
                               guardlib.packet(self.addr, self.gw, 17, body))
        while not self.stop.is_set():
            try:
                raw.send(frame)
                u.sendto(b"unknown", (self.gw, PORT))
            except OSError:
                pass
            time.sleep(0.01)
        u.close()

    def passed(self):
        """How long after its birth the first datagram arrived, or None."""
        return self.arrived(PORT)

    def arrived(self, port):
        times = [x[3] for x in seen if x[2] == self.addr and x[1] == port]
        return times[0] - self.born if times else None

    def rules(self, table):
        return run("nsenter", "-t", str(self.p.pid), "-n", "nft", "-s", "list", "table", "inet", table,
                   check=False).out

    def end(self):
        if self.stop.is_set():
            return
        self.stop.set()
        time.sleep(0.02)
        run("umount", "-l", self.file, check=False)
        run("ip", "link", "del", "u%d" % self.k, check=False)
        self.place.close()
        self.p.kill()
        self.p.wait()


def figures(name, values):
    if values:
        t.note("%s, ms: min %.1f, median %.1f, max %.1f" % (
            name, min(values), statistics.median(values), max(values)))


# The warden alone.
w = rolelib.Driver()
w.send("spawn", "warden", rolelib.program("daemon/nanoseg-warden"), "0a0b0c0d", 0, 0)
w.wait(3, "W_SCANNED")
u = Unknown().appear()
m = w.wait(2, "W_NETNS", name=u.name)
t.ok(m and m["closed"] == 0 and wait(lambda: u.passed() is not None, 2) and not u.rules("nanoseg_0a0b0c0d"),
     "without a posture nothing is closed", m, u.passed())
u.end()
for bad in ((2, 0, 0, 1000), (1, 0, 0, 0), (1, 0, 0, 60001), (1, 0, 7, 1000)):
    w.send("posture", *bad)
u = Unknown().appear()
m = w.wait(2, "W_NETNS", name=u.name)
t.ok(m and m["closed"] == 0, "a posture that makes no sense changes nothing", m)
w.send("posture", 1, 0, 0, 600)
time.sleep(0.1)
w.drain()
t.ok(not [x for x in w.seen if x["msg"] == "W_NETNS" and x["closed"]], "nor is what was there closed", w.seen)
u.end()
u = Unknown().appear(0.03)
m = w.wait(2, "W_NETNS", name=u.name) or {"closed": 0, "cookie": 0, "seen": 0}
t.ok(m["closed"] and m["at"] >= m["closed"], "what appears now is closed before it is announced", m)
t.note("found to closed: %.1f ms" % ((m["closed"] - m["seen"]) * 1000))
before = u.rules("nanoseg_0a0b0c0d")
a = w.ask("W_ATTACHED", "attach", m["cookie"], 0, 1 << 20)
t.ok(a.get("error") == 0 and a["adopted"] == 1 and a["owned"] == 1 and before == u.rules("nanoseg_0a0b0c0d") and
     "policy drop" in before, "an attach leaves its rules alone", a)
t.ok(u.passed() is None, "nothing passes", u.passed())
a = w.ask("W_APPLIED", "apply", m["cookie"], "observe", "observe")
w.drain(0.1)
o = [x for x in w.seen if x["msg"] == "W_NETNS" and x["cookie"] == m["cookie"] and x["opened"]]
t.ok(a.get("match") == 1 and o and wait(lambda: u.passed() is not None, 1),
     "the first rules open it, and it is announced since when", a, w.seen)
time.sleep(0.8)
a = w.ask("W_APPLIED", "apply", m["cookie"], "enforce", "enforce")
count = sum(x[1] == PORT for x in seen)
time.sleep(0.7)
more = sum(x[1] == PORT for x in seen) - count
t.ok(a.get("match") == 1 and more == 0, "what has had rules is not opened by the time", more)
u.end()
ns = rolelib.Netns("named")
m = w.wait(2, "W_NETNS", name=ns.name)
t.ok(m and m["closed"] == 0, "a namespace in /run/netns is not closed", m)
UUID = "01234567-89ab-cdef-0123-456789abcdef"
for engine, closes in (("cni-" + UUID, True), (UUID, True), ("vpn-" + UUID, False), (UUID.replace("-", "a"), False)):
    run("ip", "netns", "add", engine)
    m = w.wait(2, "W_NETNS", name=engine)
    t.ok(m and (m["closed"] > 0) == closes, "%s: %s" % (engine, "but one that an engine has named is" if closes
                                                        else "nor is one of a name like it"), m)
    run("ip", "netns", "del", engine)
w.send("posture", 1, 1, 0, 600)
ns2 = rolelib.Netns("named2")
m = w.wait(2, "W_NETNS", name=ns2.name)
t.ok(m and m["closed"] > 0, "and every one, if it is so configured", m)
w.send("posture", 1, 0, 0, 60000)
leads, took, bad = [], [], []
for i in range(STARTS):
    w.clear()
    del seen[:]
    out, code = run_first(None, "send", HOST, PORT)
    w.drain(0.05)
    m = [x for x in w.seen if x["msg"] == "W_NETNS" and x["closed"]]
    if code != 0 or not m or seen:
        bad.append((out, code, m, list(seen)))
        continue
    leads.append(float(out["began"]) - m[0]["closed"] * 1000)
    took.append((m[0]["closed"] - m[0]["seen"]) * 1000)
t.ok(not bad and len(leads) == STARTS and min(leads) > 0,
     "the warden alone: the first packets of %d containers, %d leaked" % (STARTS, len(bad)), bad, leads)
figures("closed before the program's first instruction", leads)
figures("found to closed", took)
w.close()
ns.delete()
ns2.delete()

# The whole daemon.
d = lab.daemon(config="identifyTimeout: 1s\n", only="")
api = d.api
docker_name = "first"
late = []
for i in range(3):
    del seen[:]
    c = run_first(docker_name, "send", HOST, PORT)
    late.append(len(seen))
c = docker.run("sleeper", network="bridge")
wait(lambda: api.workload("sleeper") and api.workload("sleeper")["instances"], 3)
w = api.workload("sleeper")
t.ok(all(late) and w["instances"][0]["start"]["kind"] == "late", "nothing is closed while nothing is enforced",
     late, w)
for n in (docker_name, "client"):
    run_first(n, "send", HOST, PORT)
t.ok(wait(lambda: api.workload(docker_name) and api.workload("client"), 3), "their workloads are known")
api.mode("enforce", docker_name, direction="egress")
t.ok(d.says("new namespaces are closed", 2), "with one enforced the warden closes")


def starts(n):
    leaked, good = [], 0
    for i in range(n):
        del seen[:]
        out, code = run_first(docker_name, "send", HOST, PORT, 0)
        time.sleep(0.03)
        good += code == 0
        if seen:
            leaked.append(list(seen))
    return leaked, good


leaked, ran = starts(STARTS)
t.ok(not leaked and ran == STARTS, "an enforced container's first packets to a denied listener: %d of %d leaked"
     % (len(leaked), ran), leaked, d.text()[-3000:])

closed_ms, bad = [], []
for i in range(5):
    run("docker", "rm", "-f", docker_name, check=False)
    p = subprocess.Popen(["docker", "run", "--rm", "--name", docker_name, *FIRST, *docker.FOLDERS, docker.image,
                          "/first", "send", HOST, str(PORT), "1"], stdout=subprocess.DEVNULL)
    # Until its rules are loaded this is how long it has been closed so far.
    x = wait(lambda: [x["start"]["closedMs"] for x in (api.workload(docker_name) or {}).get("instances", [])
                      if "closedMs" in x["start"] and x["attached"] and x["appliedRevision"]], 3)
    if x:
        closed_ms.append(x[0])
    else:
        bad.append(api.workload(docker_name))
    p.wait()
t.ok(len(closed_ms) == 5 and max(closed_ms) < 1000, "status says closed, and for how long", closed_ms, bad)
figures("closed until its rules were loaded", closed_ms)

# An observed workload is opened again, an approved edge works.
del seen[:]
figs, bad = [], []
for i in range(8):
    out, code = run_first("client", "connect", HOST, OPEN_PORT, 50)
    if code == 0:
        figs.append((float(out["open"]), int(out["tries"])))
    else:
        bad.append(out)
t.ok(len(figs) == 8, "a new container that is only observed connects", bad)
figures("its first instruction to an open connection (tries %s)" % sorted({x[1] for x in figs}),
        [x[0] for x in figs])
run("docker", "network", "create", "--subnet", "172.30.7.0/24", "--ipv6", "--subnet", "fd00:6e:77::/64", "nw")
docker.networks.append("nw")
server = docker.run("server", network="nw")
peer = docker.run("peer", network="nw")
server.serve(80)
peer.tcp(server.v4, 80)
edge = wait(lambda: api.edge(from_="workload:peer", to="workload:server", port=80), 3)
t.ok(edge, "an edge between two containers is learned", api.edges())
api.approve(edge["id"])
api.mode("enforce", "server")
api.mode("enforce", "peer")
for family, address in (("IPv4", server.v4), ("IPv6", server.v6)):
    figs, bad = [], []
    for i in range(8):
        run("docker", "rm", "-f", "peer", check=False)
        out, code = run_first("peer", "connect", address, 80, 50, more=("--network", "nw"))
        if code == 0:
            figs.append((float(out["open"]), int(out["tries"])))
        else:
            bad.append((out, api.denials(from_="workload:peer")))
    t.ok(len(figs) == 8, "an approved edge works from a new instance over %s, both ends enforced" % family, bad,
         d.text()[-2000:])
    figures("its first instruction to an open connection (tries %s)" % sorted({x[1] for x in figs}),
            [x[0] for x in figs])
    t.ok(figs and max(x[0] for x in figs) < 1000, "before the kernel would send a SYN again", figs)
del seen[:]
out, code = run_first("peer", "connect", HOST, PORT, 5, more=("--network", "nw"))
t.ok(code != 0 and not seen, "and nothing else does", out, seen)
for n in ("server", "sleeper"):
    run("docker", "rm", "-f", n, check=False)

# A step of a build has a file of a random name, and a cgroup that tells whose it is.
os.mkdir(lab.dir + "/empty")
docker.make_image("builder", files=[BUILD + "/tests/integration/first"])
with open(lab.dir + "/Dockerfile", "w", encoding="ascii") as f:
    f.write('FROM builder\nRUN ["/first", "connect", "%s", "%d", "50"]\nRUN ["/first", "send", "%s", "%d", "4"]\n' %
            (HOST, OPEN_PORT, HOST, OPEN_PORT))
BUILDER = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
p = subprocess.Popen([BUILDER, "build", "--no-cache", "--progress=plain", "-f", lab.dir + "/Dockerfile", lab.dir + "/empty"],
                     env=dict(os.environ, DOCKER_BUILDKIT="1"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                     stderr=subprocess.STDOUT, text=True)
x = wait(lambda: [i for i in (api.workload("buildkit") or {}).get("instances", []) if i["attached"]], 15)
out = p.communicate(timeout=60)[0]
if "buildx component" in out:
    t.skip("a step of a build", "this docker cannot build")
else:
    took = [float(line.split(" open ")[1].split()[0]) for line in out.splitlines() if " open " in line]
    t.ok(x and p.returncode == 0, "a step of a build is of the workload buildkit", api.workloads(), out[-2000:])
    t.ok(took and took[0] < 1500, "and not closed for as long as what nobody names", took, out[-2000:])
    figures("a build step's first instruction to an open connection", took)


def is_closed(u):
    return "policy drop" in u.rules(d.table()) and "netdev" in run("nft", "list", "tables").out


# Who is not identified.
def unknown(name, opens, during=None, until=0.35):
    """A namespace nobody knows: closed for the time; then open or not."""
    # The race with a loaded machine is measured above; here it is how long closing lasts.
    u = Unknown()
    u.appear(0.03, lambda: is_closed(u))
    if during:
        during(u)
    time.sleep(max(0, TIMEOUT_S + until - (time.monotonic() - u.born)))
    p, raw = u.passed(), u.arrived(RAW_PORT)
    good = all(x is not None and TIMEOUT_S - 0.2 < x < TIMEOUT_S + until if opens else x is None
               for x in (p, raw))
    t.ok(good, name, p, raw, u.rules(d.table()), run("nft", "list", "tables").out, d.text()[-1500:])
    if opens and p:
        t.note("open after %.0f ms of identifyTimeout %.0f" % (p * 1000, TIMEOUT_S * 1000))
    return u


unknown("not identified in time: opened (onUnknown: allow)", True).end()
# A runtime's process, by its name, until it becomes the program.
runtime = lab.dir + "/runc:[2:INIT]"
shutil.copy("/bin/bash", runtime)
u = Unknown((runtime, "-c", "exec 3<> <(:); read -t 2 -u 3; exec sleep 600"))
# Who looks whether it is closed is a process there as well, and must not be met first.
u.appear(0.2, lambda: is_closed(u))
wait(lambda: u.passed() is not None, 6)
t.ok(u.passed() is not None and u.born + u.passed() - u.made > 2 + TIMEOUT_S - 0.2,
     "the time of a slow start counts from its program's begin", u.passed(), d.text()[-1500:])
u.end()
controller = d.roles()["controller"]
os.kill(controller, signal.SIGSTOP)
unknown("the controller stopped: the warden opens it by itself", True).end()


def shoot(u):
    time.sleep(0.2)
    old = d.kill("warden")
    shoot.seen = wait(lambda: d.roles().get("warden") not in (None, old), 5)
    shoot.rules = u.rules(d.table())


unknown("the controller stopped and the warden killed: closed for the time, then open", True, shoot, 1.5).end()
t.ok("policy drop" in shoot.rules and shoot.seen, "and meanwhile its rules stand", shoot.rules)
os.kill(controller, signal.SIGCONT)
wait(lambda: d.ready() and api.workload(docker_name) is not None, 8)
time.sleep(0.5)
unknown("the warden killed alone: closed for the time, then open", True, shoot, 1.5).end()
time.sleep(0.5)
leaked, ran = starts(3)
t.ok(not leaked and ran == 3, "after all that enforced containers are closed as before", leaked)

d.stop()
d.configure("identifyTimeout: 1s\nonUnknown: quarantine\n")
d.start()
wait(lambda: d.says("new namespaces are closed", 3), 5)
q = unknown("onUnknown: quarantine: it stays closed", False, until=1.0)
x = wait(lambda: api.workload(q.name[:12]), 3)
t.ok(x and x["instances"][0]["quarantined"] and x["instances"][0]["start"]["closedMs"] > 0 and
     x["instances"][0]["start"]["kind"] == "late" and x["why"], "and status says so, and that its program ran before", x, list(api.workloads()))
shoot(q)
time.sleep(2.0)
t.ok(q.passed() is None and "policy drop" in q.rules(d.table()), "a new warden leaves it closed", q.passed())
wait(lambda: d.ready() and not api.behind(), 3)
controller = d.roles()["controller"]
os.kill(controller, signal.SIGSTOP)
q2 = unknown("the controller stopped: it stays closed as well", False, until=1.0)
os.kill(controller, signal.SIGCONT)
wait(lambda: api.workload(q2.name[:12]), 5)
api.mode("observe", q.name[:12])
t.ok(wait(lambda: q.passed() is not None, 2), "a person who sets its mode opens it", api.workload(q.name[:12]))
api.mode("observe", "first", "peer", "server")
t.ok(wait(lambda: q2.passed() is not None, 3), "once nothing is enforced nothing stays closed", d.text()[-1500:])
q3 = Unknown().appear(0.03)
t.ok(wait(lambda: q3.passed() is not None, 0.5), "and nothing new is closed")
for x in (q, q2, q3):
    x.end()
t.ok(wait(lambda: "netdev" not in run("nft", "list", "tables").out, 3), "and no guard is left",
     run("nft", "list", "tables").out)
d.stop()
t.done()
