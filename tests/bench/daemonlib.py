# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon of its own over namespaces of its own, and what can be measured of it from outside.

Everything is named after this process and undone by stop(); --only keeps the daemon away from all
else on the machine.
"""
import ctypes
import glob
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
FLOWGEN = BUILD + "/tests/bench/flowgen"
ROLES = ("supervisor", "keeper", "warden", "controller", "capture", "relay", "discovery")
CLONE_NEWNET = 0x40000000
TICK = os.sysconf("SC_CLK_TCK")


def isolate():
    """
    Starts this program again with /run/netns and the engine's folder of namespaces to itself: what
    else happens on the machine is then neither observed nor measured.
    """
    if "NSB_ALONE" not in os.environ:
        os.environ["NSB_ALONE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable] + sys.argv)
    for folder in ("/run/netns", "/run/docker/netns"):
        if os.path.isdir(folder):
            run("mount", "-t", "tmpfs", "tmpfs", folder)


def run(*args, timeout=30):
    return subprocess.run(args, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout).stdout


def read(path):
    with open(path) as f:
        return f.read()


def wait_for(what, seconds, every=0.05):
    """The value of what() once it is true; None after the time."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value or None
        time.sleep(every)


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(self.path)


def family(pid):
    """Role -> pid of a supervisor's roles (not the keeper, which is nobody's child)."""
    out = {"supervisor": pid}
    for child in read("/proc/%d/task/%d/children" % (pid, pid)).split():
        try:
            name = read("/proc/%s/comm" % child).strip()
        except OSError:
            continue
        if name.startswith("ns-"):
            out[name[3:]] = int(child)
    return out


def keeper_of(state):
    try:
        text = read(state + "/keeper.lock").strip()
        return int(text) if text and read("/proc/%s/comm" % text).strip() == "ns-keeper" else None
    except OSError:
        return None


def pss(pid):
    """Proportional set size in KiB: (all, what no file backs)."""
    rows = dict(line.split(":", 1) for line in read("/proc/%d/smaps_rollup" % pid).splitlines()[1:])
    return int(rows["Pss"].split()[0]), int(rows["Pss_Anon"].split()[0])


def alone(pids):
    """
    KiB that all of them would take if nobody else on the machine shared a page with them: what is
    anonymous, and of each mapping of a file the most that any of them has in memory.
    """
    anonymous, files = 0, {}
    for pid in pids:
        key = None
        for line in read("/proc/%d/smaps" % pid).splitlines():
            words = line.split(None, 5)
            if not words[0].endswith(":"):
                key, rss = (words[5] if len(words) > 5 else "", words[2]), 0
            elif words[0] == "Rss:":
                rss = int(words[1])
            elif words[0] == "Anonymous:":
                anonymous += int(words[1])
                if key[0].startswith("/"):
                    files[key] = max(files.get(key, 0), rss - int(words[1]))
    return anonymous + sum(files.values())


def cpu_ns(pid):
    """utime + stime; by the scheduler's own count, which is finer than a tick, where there is one."""
    try:
        value = int(read("/proc/%d/schedstat" % pid).split()[0])
        if value:
            return value
    except OSError:
        pass
    fields = read("/proc/%d/stat" % pid).rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000000000 // TICK


def settled(pid):
    """The processor time of a controller that has done what there was to do."""
    now, end = cpu_ns(pid), time.monotonic() + 6
    while time.monotonic() < end:
        before = now
        time.sleep(0.2)
        now = cpu_ns(pid)
        if now - before < 2000000:
            break
    return now


def wakeups(pid):
    for line in read("/proc/%d/status" % pid).splitlines():
        if line.startswith("voluntary_ctxt_switches"):
            return int(line.split()[1])
    return 0


class Lab:
    """n namespaces on one bridge (itself in a namespace), 10.98.0.<i+1> and fd00:98::<i+1>."""

    def __init__(self, n, config="", name=""):
        self.prefix = "nsb%d%s" % (os.getpid(), name)
        self.names = ["%s-%d" % (self.prefix, i) for i in range(n)]
        self.observed = self.names
        self.hub = "hub" + self.prefix  # not selected by --only
        self.dir = tempfile.mkdtemp(prefix="nanoseg-bench-", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.proc = None
        self.made = []
        with open(self.dir + "/nanosegd.yaml", "w") as f:
            f.write(config)
        self.base = [BUILD + "/daemon/nanosegd", "--config", self.dir + "/nanosegd.yaml",
                     "--state-dir", self.dir + "/state", "--socket", self.dir + "/run/s.sock",
                     "--only", self.prefix + "*"]
        self.log = open(self.dir + "/log", "w")

    def observe_first_alone(self):
        """Before start(): the others have connection tracking."""
        self.observed = self.names[:1]
        self.base[-1] = self.names[0]

    def track(self, name):
        """Connection tracking and nothing else."""
        subprocess.run(["ip", "netns", "exec", name, "nft", "-f", "-"], check=True, text=True,
                       input="table inet t { chain i { type filter hook input priority 0; ct state new; }; "
                             "chain o { type filter hook output priority 0; ct state new; }; }\n")
        run("ip", "netns", "exec", name, "sysctl", "-qw", "net.netfilter.nf_conntrack_events=0")

    def make_namespaces(self):
        for name in [self.hub] + self.names:
            self.made.append(name)
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", self.hub, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.hub, "link", "set", "br0", "up")
        for i, name in enumerate(self.names):
            port = "p%d" % i
            run("ip", "-n", self.hub, "link", "add", port, "type", "veth", "peer", "name", "eth0",
                "netns", name)
            run("ip", "-n", self.hub, "link", "set", port, "master", "br0", "up")
            run("ip", "-n", name, "addr", "add", "10.98.0.%d/24" % (i + 1), "dev", "eth0")
            run("ip", "-n", name, "-6", "addr", "add", "fd00:98::%d/64" % (i + 1), "dev", "eth0", "nodad")
            run("ip", "-n", name, "link", "set", "eth0", "up")

    def start(self, namespaces_first=True):
        """
        In namespaces that were there before the daemon it asks for three minutes who listens, to tell which end of
        a conversation was the first to speak; in those that come later it heard the beginning.
        """
        if namespaces_first:
            self.make_namespaces()
            for name in self.names[len(self.observed):]:
                self.track(name)
        self.proc = subprocess.Popen(self.base + ["--foreground"], stdin=subprocess.DEVNULL,
                                     stdout=self.log, stderr=self.log, start_new_session=True)
        if not namespaces_first:
            if not wait_for(lambda: os.path.exists(self.dir + "/run/s.sock"), 15):
                raise RuntimeError("it did not start:\n" + self.log_text()[-2000:])
            self.make_namespaces()
        if not wait_for(self.attached, 15):
            raise RuntimeError("not every namespace was attached:\n" + self.log_text()[-2000:])
        for a in self.names:  # neighbours are known before anything is counted
            for b in range(len(self.names)):
                if a != self.names[b]:
                    subprocess.run(["ip", "netns", "exec", a, "ping", "-c1", "-W1", "10.98.0.%d" % (b + 1)],
                                   stdout=subprocess.DEVNULL)
                    break

    def log_text(self):
        return read(self.dir + "/log")

    def attached(self):
        try:
            s = self.get("/v1/status")
        except OSError:
            return False
        done = [w for w in s["workloads"] if w["name"] in self.observed and
                any(i["attached"] and i["addresses"] for i in w["instances"])]
        return len(done) == len(self.observed)

    def request(self, method, path, body=None):
        c = Unix(self.dir + "/run/s.sock")
        try:
            c.request(method, path, json.dumps(body) if body is not None else None)
            r = c.getresponse()
            answer = json.loads(r.read())
        finally:
            c.close()
        if r.status != 200:
            raise RuntimeError("%s %s: %d %s" % (method, path, r.status, answer))
        return answer

    def get(self, path):
        return self.request("GET", path)

    def pids(self):
        out = family(self.proc.pid)
        keeper = keeper_of(self.dir + "/state")
        if keeper:
            out["keeper"] = keeper
        return out

    def lost_events(self, i):
        """Of one namespace, by its workload."""
        return sum(w["loss"]["events"] for w in self.get("/v1/status")["workloads"]
                   if w["name"] == self.names[i])

    def losses(self):
        """Every counter of losses that is not zero."""
        s = self.get("/v1/status")
        out = {k: v for k, v in s["losses"].items() if v}
        for w in s["workloads"]:
            if w["loss"]["events"]:
                out["lost events of " + w["name"]] = w["loss"]["events"]
        return out

    def stored(self, ports):
        """
        Connections to the ports as the observers of both ends counted them. The API tells the larger
        alone; the store, which is the daemon's own, is read in a copy.
        """
        folder = self.dir + "/copy"
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        for path in glob.glob(self.dir + "/state/*.db*"):
            shutil.copy(path, folder)
        try:
            db = sqlite3.connect(glob.glob(folder + "/*.db")[0])
            row = db.execute("SELECT sum(connections_source), sum(connections_destination) FROM edge "
                             "WHERE port_lo BETWEEN ? AND ?", (ports[0], ports[-1])).fetchone()
            db.close()
        except sqlite3.Error:
            return 0, 0  # copied while it was written
        return row[0] or 0, row[1] or 0

    def connections(self, ports):
        return sum(e["connections"] for e in self.get("/v1/edges")
                   if ports[0] <= e.get("port", 0) <= ports[-1])

    def forget_entries(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "exec", name, "conntrack", "-F"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def flows(self, proto, client, server, v6, ports, count, rate=None):
        """Makes them, at most rate a second; (answered, seconds)."""
        addr = ("fd00:98::%d" if v6 else "10.98.0.%d") % (server + 1)
        out = run(FLOWGEN, proto, "/run/netns/" + self.names[client], "/run/netns/" + self.names[server],
                  addr, str(ports[0]), str(len(ports)), str(count), *([str(rate)] if rate else []), timeout=130).split()
        return int(out[1]), int(out[3]) / 1000.0

    def connect(self, ports, count):
        """(TCP connections a second, us of CPU for each, of all but the daemon)"""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answered, seconds = self.flows("tcp", 0, 1, False, ports, count)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.forget_entries()
        return answered / seconds, used * 1e6 / answered

    def stop(self):
        if self.proc is not None:
            self.proc.terminate()
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
            subprocess.run(self.base + ["--cleanup"], stdin=subprocess.DEVNULL, stdout=self.log,
                           stderr=self.log, timeout=30)
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def known_edges(lab, count, ports):
    """
    Of workloads that are not there, and those of the traffic: approved, so that they are not summed up in ranges.
    """
    a, b = "bench-a", "bench-b"
    edges = [{"from": a, "to": b, "proto": proto, "port": port, "state": "approved", "reason": "known"}
             for proto in ("tcp", "udp") for port in range(1, count // 2 + 1)]
    edges += [{"from": lab.names[0], "to": lab.names[1], "proto": "udp", "port": port, "state": "approved",
               "reason": "known"} for port in ports]
    doc = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "metadata": {"name": "bench"},
           "workloads": [{"name": n, "mode": "observe", "direction": "both"} for n in [a, b] + lab.names], "edges": edges}
    lab.request("POST", "/v1/policy/apply", doc)


class Plain(Lab):
    """
    Connection tracking and nothing that listens to it: a listener in any namespace of the host is enough for the
    kernel to make every event here too, for nobody.
    """

    def start(self):
        self.make_namespaces()
        for name in self.names:
            self.track(name)
            for other in range(len(self.names)):
                subprocess.run(["ip", "netns", "exec", name, "ping", "-c1", "-W1", "10.98.0.%d" % (other + 1)],
                               stdout=subprocess.DEVNULL)


class Conntrack:
    """`conntrack -E` beside the daemon, on the same events, into a file."""

    def __init__(self, netns, proto, v6, buffer=None):
        self.out = tempfile.TemporaryFile()
        args = ["ip", "netns", "exec", netns, "conntrack", "-E", "-e", "UPDATES", "-p", proto,
                "-f", "ipv6" if v6 else "ipv4"]
        if buffer:
            args += ["-b", str(buffer)]
        self.proc = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.out,
                                     stderr=subprocess.DEVNULL)
        time.sleep(0.3)

    def stop(self, ports):
        """(lines about the ports, seconds of CPU)"""
        time.sleep(1)
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)
        _, _, usage = os.wait4(self.proc.pid, 0)
        self.proc.returncode = 0
        self.out.seek(0)
        wanted = range(ports[0], ports[-1] + 1)
        n = 0
        for line in self.out:
            at = line.find(b"dport=")
            n += at > 0 and int(line[at + 6:].split(b" ", 1)[0]) in wanted
        self.out.close()
        return n, usage.ru_utime + usage.ru_stime


class RuleWatch:
    """Notifications of set elements that the kernel added in one namespace (NFNLGRP_NFTABLES)."""

    NEWSETELEM = 10 << 8 | 12

    def __init__(self, netns):
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/self/ns/net") as home, open("/run/netns/" + netns) as there:
            if libc.setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
                self.sock.bind((0, 1 << 6))
            finally:
                libc.setns(home.fileno(), CLONE_NEWNET)

    def settle(self):
        """Forgets what is there already."""
        self.sock.settimeout(0.02)
        try:
            while True:
                self.sock.recv(65536)
        except TimeoutError:
            pass

    def wait(self, seconds):
        """The time (monotonic) at which an element was added; None if none was."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return None
            at = 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind == self.NEWSETELEM:
                    return time.monotonic()
                at += max(16, (length + 3) & ~3)

    def close(self):
        self.sock.close()
