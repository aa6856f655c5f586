#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The start window, measured: containers whose first instructions send a datagram, a connection attempt
and a frame of their own, over IPv4 and IPv6, started in every way there is, and what of it leaves their
namespace. Then a server that is started again and again under load, behind an approved edge.

NANOSEG_STARTS says how many starts each way (50), NANOSEG_BUSY_STARTS how many on a busy machine (12), and
NANOSEG_RESTARTS how often the server is started again each way (6). On a machine of its own, see ownlib."""
import calendar
import collections
import errno
import json
import os
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import nslab
import ownlib
from nslab import BUILD, Api, Docker, Lab, Place, run, wait

ownlib.alone(__file__)

STARTS = int(os.environ.get("NANOSEG_STARTS", "50"))
BUSY_STARTS = int(os.environ.get("NANOSEG_BUSY_STARTS", "12"))
RESTARTS = int(os.environ.get("NANOSEG_RESTARTS", "6"))
AT_ONCE = min(STARTS, 50)
HOOK_WAIT_S = 10
PORT, SERVE_PORT = 7001, 7100
# The frames pass the namespace's rules; what stops them stands on the host's side.
FRAMES_REQUIRED = True
KINDS = ("UDP", "SYN", "frame", "UDP6", "SYN6", "frame6")
FRAMES = ("frame", "frame6")
NET6 = "fd00:6e:73::/64"

t = nslab.Tap()
lab = Lab(real_host=True)
out = lab.dir + "/out"
os.mkdir(out)


class Tap(threading.Thread):
    """Counts what `first` sends where it can be seen: {kind: packets}. On the host at its end of every
    container's veth, or at a receiver's."""

    def __init__(self, place=None, prefix=""):
        super().__init__(daemon=True)
        self.prefix, self.count = prefix, collections.Counter()
        # Of every protocol: others are not shown what a bridge takes.
        args = (socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.s = place.socket(*args) if place else socket.socket(*args)
        self.s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        self.start()

    @staticmethod
    def kind(proto, p):
        v6 = proto == 0x86dd
        h = 40 if v6 else (p[0] & 15) * 4
        if proto not in (0x800, 0x86dd) or len(p) < h + 8:
            return None
        sort, port = p[6 if v6 else 9], struct.unpack("!H", p[h + 2:h + 4])[0]
        if sort == 17:
            k = {PORT: "UDP", PORT + 1: "frame"}.get(port)
            return k + "6" * v6 if k else None
        flags = p[h + 13] if sort == 6 and len(p) >= h + 20 else 0
        if flags & 4 and struct.unpack("!H", p[h:h + 2])[0] == SERVE_PORT:
            return "RST"
        return "SYN" + "6" * v6 if port == PORT and flags & 0x12 == 2 else None

    def run(self):
        while True:
            p, (device, proto, sort, _, _) = self.s.recvfrom(256)
            k = self.kind(proto, p) if p else None
            if k and sort != 4 and device.startswith(self.prefix):
                self.count[k] += 1

    def lost(self):
        return struct.unpack("=II", self.s.getsockopt(263, 6, 8))[1]  # SOL_PACKET, PACKET_STATISTICS


class Starts(threading.Thread):
    """What status says of each instance's start, for as long as it is there: by namespace and time."""

    def __init__(self, api):
        super().__init__(daemon=True)
        self.api, self.seen, self.end = api, {}, False
        self.start()

    def look(self):
        for w in self.api.get("/v1/status")["workloads"]:
            for i in w["instances"]:
                s = i["start"]
                if s.get("at"):
                    self.seen[i["netns"], s["at"]] = s

    def run(self):
        while not self.end:
            try:
                self.look()
            except (OSError, RuntimeError, ValueError):
                pass
            time.sleep(0.03)

    def of(self, netns, real_ms, all_ms):
        """Of its namespace's number, which the next one may have, the one that is said to have begun nearest to it,
        and not nearer to another."""
        said = [(ms(at) + max(s["leadMs"] or 0, 0), s) for (n, at), s in list(self.seen.items()) if n == netns]
        near = min(said, key=lambda x: abs(x[0] - real_ms), default=None)
        if near is None or abs(near[0] - real_ms) > 60000 or min(all_ms, key=lambda x: abs(near[0] - x)) != real_ms:
            return None
        return near[1]


def ms(text):
    """RFC 3339 to ms."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) * 1e3 + float(text[19:23]) * 1e3


class Engine:
    """Containers by Docker's API: no client's time is measured."""

    def __init__(self, image):
        self.api, self.image, self.all = Api("/run/docker.sock"), image, set()
        self.took = []  # ms of each start

    def create(self, name, cmd, gated, network="bridge", service=None, ip=None):
        labels = nslab.compose("start", service) if service else {}
        body = {"Image": self.image, "Cmd": cmd, "Labels": labels,
                "HostConfig": {"NetworkMode": network, "Binds": [out + ":/out"],
                               "Runtime": "nanoseg" if gated else "runc"}}
        if ip:
            body["NetworkingConfig"] = {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": ip}}}}
        status, data = self.api.raw("POST", "/containers/create?name=" + name, json.dumps(body), timeout=120)
        if status != 201:
            raise RuntimeError("%s: %s" % (name, data))
        self.all.add(name)
        return name

    def start(self, name):
        """"" or why not."""
        began = time.monotonic()
        status, data = self.api.raw("POST", "/containers/%s/start" % name, timeout=120)
        self.took.append((time.monotonic() - began) * 1e3)
        return "" if status == 204 else json.loads(data)["message"]

    def restart(self, name):
        status, data = self.api.raw("POST", "/containers/%s/restart?t=0" % name, timeout=120)
        return "" if status == 204 else json.loads(data)["message"]

    def remove(self, name):
        self.all.discard(name)
        self.api.raw("DELETE", "/containers/%s?force=1" % name, timeout=120)

    def inspect(self, name):
        return self.api.get("/containers/%s/json" % name)

    def place(self, name):
        info = self.inspect(name)
        p = Place("/proc/%d/ns/net" % info["State"]["Pid"])
        network = list(info["NetworkSettings"]["Networks"].values())[0]
        p.v4, p.v6 = network["IPAddress"], network["GlobalIPv6Address"]
        return p


def lines(name):
    """[(what, namespace, time, took)] of a file that `first` wrote."""
    with open(out + "/" + name) as f:
        return [(w, int(n), float(at), float(took)) for w, n, at, took in map(str.split, f)]


def fresh(name):
    open(out + "/" + name, "w").close()
    return "/out/" + name


def figures(name, values, unit="ms"):
    if values:
        t.note("%s, %s: min %.1f, median %.1f, max %.1f" % (
            name, unit, min(values), statistics.median(values), max(values)))


# Two runtimes in one engine: behind the gate, and not.
config = lab.dir + "/daemon.json"
open(config, "w").close()
os.unlink(config)
d = nslab.Daemon(lab, "d0", "identifyTimeout: 5s\n", only="")
gate = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "gate", "install", "--engine", "docker", "--dir",
           lab.dir + "/lib", "--programs", BUILD + "/daemon", "--config", config, "--marker", d.state + "/enforced",
           "--wait", "%ds" % HOOK_WAIT_S)
ownlib.start_docker(lab, "--config-file", config, "--ipv6", "--fixed-cidr-v6", NET6)
docker = Docker(lab)
image = docker.make_image("first", files=[BUILD + "/tests/integration/first"])
engine = Engine(image)
pool = ThreadPoolExecutor(64)
lab.later(lambda: [engine.remove(n) for n in list(engine.all)])
engine.create("sink", ["/first"], False)
engine.start("sink")
sink = engine.place("sink")
left, arrived = Tap(prefix="veth"), Tap(sink)
unread = sink.socket(socket.AF_INET6, socket.SOCK_DGRAM)
unread.bind(("::", PORT))
listening = sink.listen(PORT)
number, shown = 0, collections.Counter()  # what status has called them


def make(n, gated, seconds=600):
    """n containers of one workload, not started yet."""
    global number
    number += n
    f = fresh("began")
    cmd = ["/first", "send", sink.v4, str(PORT), str(seconds), f, sink.v6]
    return list(pool.map(lambda k: engine.create("f%d" % k, cmd, gated, service="first"), range(number - n, number)))


def gate_waits():
    """(how many starts have asked the gate, how many ms they have waited in all)"""
    text = api.raw("GET", "/metrics")[1].decode()
    return [float(re.search(r"^nanoseg_start_gate_wait_seconds_%s (\S+)" % x, text, re.M).group(1)) * k
            for x, k in (("count", 1), ("sum", 1e3))]


def start_all(names, at_once):
    """Why some did not start; and how long each took, as the one who starts it sees it."""
    engine.took, why, began = [], [], time.monotonic()
    for k in range(0, len(names), at_once):
        why += [x for x in pool.map(engine.start, names[k:k + at_once]) if x]
    t.note("%d starts, %d at once, in %.1f s" % (len(names), at_once, time.monotonic() - began))
    figures("  each", engine.took)
    return why


def check(name, began, before, started, gated, refused=0, required=True):
    """The figures of one way to start, and what is asserted of it."""
    time.sleep(0.2)
    starts.look()
    went = {k: left.count[k] - before[0][k] for k in KINDS}
    came = {k: arrived.count[k] - before[1][k] for k in KINDS}
    leads, claims, kinds, over = [], [], collections.Counter(), []
    for _, netns, real, _ in began:
        s = starts.of(netns, real, [at for _, n, at, _ in began if n == netns])
        kinds[s["kind"] if s else "unknown"] += 1
        shown[s["kind"] if s else "unknown"] += 1
        if s is None:
            continue
        leads.append(real - ms(s["at"]))
        if s["leadMs"] is not None:
            claims.append(s["leadMs"])
            if s["leadMs"] > leads[-1] + 1:
                over.append((s, real - ms(s["at"])))
    t.note("%s: %d starts (%s); left the namespace: %s; arrived: %s" % (
        name, len(began), ", ".join("%d %s" % (n, k) for k, n in sorted(kinds.items())),
        ", ".join("%d %s" % (went[k], k) for k in KINDS), ", ".join("%d %s" % (came[k], k) for k in KINDS)))
    figures("  lead, before the program's first instruction", leads)
    figures("  lead, as status says", claims)
    bad = [k for k in KINDS if k not in FRAMES and (went[k] or came[k])]
    if FRAMES_REQUIRED and gated:
        bad += [k for k in FRAMES if came[k]]
    # Where the kernel has no address to send from yet, that nothing leaves says nothing.
    unsent = [e for _, _, _, e in began if e not in (0, errno.EPERM)]
    t.ok(not unsent, "%s: each had an IPv6 address to send from" % name, unsent)
    if required:
        t.ok(not bad and len(began) == started - refused, "%s: %d starts, nothing leaks" % (name, started), went,
             came, len(began), d.text()[-3000:] if bad else "")
    t.ok(not over, "%s: status claims no longer lead than there was" % name, over)
    return leads


def counts():
    time.sleep(0.1)
    return left.count.copy(), arrived.count.copy()


def away(names):
    list(pool.map(engine.remove, names))


def way(name, gated, at_once, required=True, many=STARTS):
    """So many starts, so many at once."""
    names, before, asked = make(many, gated), counts(), gate_waits()
    t.note("%s:" % name)
    why = start_all(names, at_once)
    wait(lambda: len(lines("began")) >= many - len(why), 5)
    if gated:
        n, waited = (now - was for now, was in zip(gate_waits(), asked))
        t.note("  of that the gate's answer, ms: mean %.1f" % (waited / max(n, 1)))
        t.ok(not why, "%s: %d starts, none refused" % (name, many), len(why), why[:1])
    check(name, lines("began"), before, many, gated, len(why), required)
    away(names)


# What an engine takes for itself, to hold the rest against.
names = make(AT_ONCE, False)
t.note("dockerd and runc alone:")
start_all(names, AT_ONCE)
away(names)
d.start()
api = d.api
starts = Starts(api)

# What the counters can see: nothing is enforced yet.
names, before = make(3, False), counts()
for n in names:
    engine.start(n)
wait(lambda: all((now - was)[k] >= 3 for now, was in zip((left.count, arrived.count), before) for k in KINDS), 5)
t.ok(all((left.count - before[0])[k] >= 3 and (arrived.count - before[1])[k] >= 3 for k in KINDS),
     "without enforcement all of it leaves and arrives", left.count, arrived.count)
wait(lambda: api.workload("start/first"), 5)
away(names)
api.mode("enforce", "start/first")
t.ok(d.says("new namespaces are closed", 5), "with one workload enforced new namespaces are closed")

way("gated", True, 4)
way("ungated, idle", False, 1)
busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(os.cpu_count() or 1)]
# Measured, and nothing is asked of what leaks: fewer will do, they take the longest.
way("ungated, all cores busy", False, 1, required=False, many=BUSY_STARTS)
for p in busy:
    p.kill()
    p.wait()
way("gated, all at once", True, AT_ONCE)
way("ungated, all at once", False, AT_ONCE, required=False)

# The daemon is stopped: its socket takes connections, and nobody answers.
names, before = make(STARTS, True), counts()
os.killpg(d.p.pid, signal.SIGSTOP)
began = time.monotonic()
try:
    why = list(pool.map(engine.start, names))
finally:
    os.killpg(d.p.pid, signal.SIGCONT)
took = time.monotonic() - began
t.note("gated, the daemon stopped: %d refused in %.1f s: %s" % (len([x for x in why if x]), took, why[0][:200]))
went, came = [{k: (now - was)[k] for k in KINDS} for now, was in zip(counts(), before)]
t.note("gated, the daemon stopped: left the namespace: %s" % went)
t.ok(all("start refused" in x for x in why) and not lines("began") and not any(went.values()) and
     not any(came.values()), "gated, the daemon stopped: %d starts, all refused, nothing leaks" % STARTS, why[:3], went)
away(names)
wait(lambda: d.ready() and not api.behind(), 10)

# `docker restart`: every one has a namespace of its own.
for gated in (True, False):
    each = 5
    names = make(max(STARTS // each, 1), gated)
    list(pool.map(engine.start, names))
    wait(lambda: len(lines("began")) == len(names), 10)
    fresh("began")
    before, why = counts(), []
    for _ in range(each):
        time.sleep(0.1)  # for status to be read
        why += [x for x in pool.map(engine.restart, names) if x]
    wait(lambda: len(lines("began")) >= each * len(names) - len(why), 5)
    check("docker restart, %s, %d at once" % ("gated" if gated else "ungated", len(names)), lines("began"), before,
          each * len(names), gated, len(why), required=gated)
    away(names)
t.note("packets that the counters on the host did not see: %d" % left.lost())
starts.end = True


def metrics(*names):
    text = api.raw("GET", "/metrics")[1].decode()
    found = [re.search(r"^nanoseg_%s (\S+)$" % re.escape(n), text, re.M) for n in names]
    return [float(x.group(1)) if x else 0 for x in found]


# Each is in its histogram, once it is over; so are those that nothing was enforced for, late by 0.
for kind, form in (("gated", 'lead_seconds_%s{kind="gated"}'), ("closed", 'lead_seconds_%s{kind="closed"}'),
                   ("late", "late_seconds_%s")):
    form = ('starts_total{kind="%s"}' % kind, "start_" + form % "count", "start_" + form % "sum")
    wait(lambda: metrics(*form)[1] >= shown[kind], 5, 0.2)
    many, counted, total = metrics(*form)
    t.ok(counted == many >= shown[kind] and (total > 0 or kind == "late"),
         "%d starts that status called %s are in the metrics" % (shown[kind], kind), many, counted, total, dict(shown))
t.ok(shown["gated"] >= 2 * STARTS and shown["closed"] >= STARTS, "most of all starts were held, by status", dict(shown))

# A server behind an approved edge is started again under load.
run("docker", "network", "create", "--subnet", "172.30.9.0/24", "nw")
docker.networks.append("nw")
CLIENTS = 6


def clients():
    return ["load%d" % k for k in range(CLIENTS)]


def target(address):
    with open(out + "/target.new", "w") as f:
        f.write(address + "\n")
    os.rename(out + "/target.new", out + "/target")
    return time.time() * 1e3


def dropped():
    """What of the load's the rules did not let pass, as far as it was reported."""
    return sum(x["count"] for x in api.denials(from_="workload:start/load") if x["to"] != "workload:start/squatter")


SERVE = ["/first", "serve", str(SERVE_PORT), fresh("listening")]


def serve(gated):
    engine.create("db", SERVE, gated, "nw", "db")
    why = engine.start("db")
    if why:
        raise RuntimeError(why)
    return target(engine.place("db").v4)


def served(since_ms, seconds=15):
    """Every client had a connection that it began after that time."""
    def look():
        return all(any(w == "ok" and at >= since_ms for w, _, at, _ in lines(n)[-2000:]) for n in clients())
    return wait(look, seconds, 0.05)


def until(since_ms):
    """For each client: from the server's listening to its first connection that was answered, and what
    was refused after that."""
    first, bad = [], []
    for n in clients():
        done = [(at, at + took, w) for w, _, at, took in lines(n) if at + took >= since_ms]
        good = [end for _, end, w in done if w == "ok"]
        first.append(min(good) - since_ms if good else None)
        bad += [(n, w, at - since_ms) for at, end, w in done if w != "ok" and at >= since_ms]
    return first, bad


def again(name, change, exact=True):
    """RESTARTS times: change() brings the server back, and says since when clients can know."""
    first, bad, stuck = [], [], 0
    for n in clients():
        fresh(n)
    resets, before = left.count["RST"], dropped()
    for k in range(RESTARTS):
        count = len(lines("listening"))
        known = change(k)
        wait(lambda: len(lines("listening")) > count, 10)
        since = max(lines("listening")[-1][2], known)
        stuck += not served(since)
        f, b = until(since)
        first += f
        bad += b
    none = [x for x in first if x is None]
    errors = collections.Counter(os.strerror(int(w)) for n in clients() for w, _, _, _ in lines(n) if w != "ok")
    t.note("%s, %d times, %d clients: %d connections in all; while it was away: %s" % (
        name, RESTARTS, CLIENTS, sum(len(lines(n)) for n in clients()), dict(errors) or "no error"))
    figures("  from its listening to the first answer", [x for x in first if x is not None])
    t.note("  attempts dropped by the rules and made again by the kernel: %d" % (dropped() - before))
    # A reject by its own rules answers a client without a packet on the way.
    sent = errors[os.strerror(errno.ECONNREFUSED)]
    if exact:
        t.ok(sent <= left.count["RST"] - resets, "%s: what was refused, the server's own kernel refused" % name, sent,
             left.count["RST"] - resets)
    t.ok(not none and not stuck and len(first) == RESTARTS * CLIENTS, "%s: every client's retry succeeds" % name,
         first, d.text()[-2000:])
    t.ok(not bad, "%s: no connection fails once it listens" % name, bad[:10])


def by_restart(k):
    why = engine.restart("db")
    if why:
        raise RuntimeError(why)
    return 0


def renew(gated):
    """A new container; another workload's takes the old address first."""
    def change(k):
        old = engine.place("db").v4
        engine.remove("db")
        if "squatter" in engine.all:
            engine.remove("squatter")
        engine.create("squatter", ["/first"], gated, "nw", "squatter", ip=old)
        engine.start("squatter")
        return serve(gated)
    return change


serve(True)
for n in clients():
    engine.create(n, ["/first", "load", "/out/target", str(SERVE_PORT), fresh(n)], True, "nw", "load")
list(pool.map(engine.start, clients()))
edge = wait(lambda: api.edge(from_="workload:start/load", to="workload:start/db", port=SERVE_PORT), 10)
t.ok(edge, "the edge under load is learned", api.edges())
again("docker restart db, nothing enforced", by_restart, exact=False)
api.approve(edge["id"])
api.mode("enforce", "start/load", "start/db")
wait(lambda: not api.behind(), 5)
again("docker restart db, gated", by_restart)
engine.remove("db")
served(serve(False))
again("docker restart db, ungated", by_restart)
again("db renewed with another address, ungated", renew(False), exact=False)
again("db renewed with another address, gated", renew(True), exact=False)
# Some are refused while nobody is known to have the address: those are nobody's denials.
print("# refused towards the new owner of the old address:",
      sum(x["count"] for x in api.denials(from_="workload:start/load", to="workload:start/squatter")))
t.ok(not api.edges(from_="workload:start/load", to="workload:start/squatter"),
     "whoever has its old address is never reached", api.edges())

# The metrics, after all that.
text = api.raw("GET", "/metrics")[1].decode()
for line in text.splitlines():
    if line.startswith("nanoseg_start") and ("_total" in line or "_count" in line or "_sum" in line):
        t.note(line)
try:
    # Debian's package, also where another Python comes first.
    sys.path.append("/usr/lib/python3/dist-packages")
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
except ImportError:
    t.skip("the metrics pass OpenMetrics' own parser", "no python3-prometheus-client")
else:
    names = {f.name for f in parse(text)}
    t.ok("nanoseg_start_lead_seconds" in names and len(names) > 15, "the metrics pass OpenMetrics' own parser", text)

# A mode is set with and without a gate where everyone looks for it.
for folder in ("upper", "work"):
    os.mkdir("%s/docker/%s" % (lab.dir, folder))
run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/etc,upperdir={0}/upper,workdir={0}/work".format(
    lab.dir + "/docker"), "/etc")
lab.later(run, "umount", "-l", "/etc", check=False)
os.makedirs("/etc/docker", exist_ok=True)


def enforce(*names):
    """What is said when these are enforced."""
    api.mode("observe", all=True)
    r = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "mode", *names, "enforce", check=False)
    return "no start gate" in r.err if r.returncode == 0 else None


for gated in (False, True):
    with open("/etc/docker/daemon.json", "w") as f:
        f.write(open(config).read() if gated else "{}")
    said = [enforce("start/db"), enforce("start/db", "start/load"), enforce("--all")]
    t.ok(said == [not gated] * 3, "mode enforce, of one, two and all, %s" % (
        "is silent with a gate" if gated else "warns where there is none"), said)
d.stop()
t.done()
