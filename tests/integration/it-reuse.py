#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An address of an enforced container goes to another one at once: no edge goes with it, whatever the
daemon hears of it and when. And containers that change their networks take their edges along."""
import json
import os
import signal
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Docker, Lab, NET_A, NET_B, PREFIX, Place, Tap, run, wait

LONG = bool(os.environ.get("NANOSEG_SLOW_TESTS"))
ROUNDS, AWAY, CONNECTS, RACES = (24, 6, 4, 8) if LONG else (4, 1, 1, 2)
# Says its name to whoever connects, and goes on connecting to the peer; a line for each success.
PROGRAM = """
import socket, sys, threading, time
me, peers = sys.argv[1].encode(), sys.argv[2:]
s = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
def serve():
    while True:
        c, _ = s.accept()
        try:
            c.sendall(me)
        except OSError:
            pass
        c.close()
threading.Thread(target=serve, daemon=True).start()
while True:
    for p in peers:
        try:
            with socket.create_connection((p, 81), timeout=0.3) as c:
                c.sendall(me)
        except OSError:
            pass
    time.sleep(0.03)
"""

t = Tap()
lab = Lab(real_host=True)
docker = Docker(lab)
NETS = []
for k in (1, 2):
    name = "%s-net%d" % (PREFIX, k)
    v4, v6 = "10.%d.%d." % (NET_A + 0x40 * k & 0xff, NET_B), "fd4e:%x:%d::" % (os.getpid() & 0xffff, k)
    run("docker", "network", "create", "--ipv6", "--subnet", v4 + "0/24", "--subnet", v6 + "/64", name)
    docker.networks.append(name)
    NETS.append((name, v4, v6))
NET1, V4, V6 = NETS[0]
X, X6, OURS, OURS6 = V4 + "50", V6 + "50", V4 + "9", V6 + "9"
a_name, b_name, p_name = PREFIX + "-a", PREFIX + "-b", PREFIX + "-p"
WA, WB, WP = ("workload:" + n for n in (a_name, b_name, p_name))


def start(name, *args, peers=(OURS, OURS6), addresses=(X, X6), network=NET1):
    run("docker", "run", "-d", "--name", name, "--network", network, "--ip", addresses[0], "--ip6", addresses[1],
        *args, *docker.FOLDERS, docker.image, "/usr/bin/python3", "-c", PROGRAM, name, *peers)
    docker.containers.append(name)


def pid_of(name):
    return json.loads(run("docker", "inspect", name).out)[0]["State"]["Pid"]


class Peer:
    """Connects all the time and is connected to; who was met, and when."""

    def __init__(self):
        self.place = docker.run(p_name, "--ip", OURS, "--ip6", OURS6, network=NET1)
        self.met, self.came = [], []
        self.targets = [X, X6]
        self.server = self.place.listen(81)
        for fn in (self.accept, self.go4, self.go6):
            threading.Thread(target=fn, daemon=True).start()

    def accept(self):
        while True:
            try:
                c, who = self.server.accept()
                c.settimeout(0.3)
                name = c.recv(64).decode()
                self.came.append((name, who[0], time.monotonic()))
                c.close()
            except OSError:
                time.sleep(0.01)

    def go4(self):
        self.go(0)

    def go6(self):
        self.go(1)

    def go(self, k):
        while True:
            try:
                with self.place.connect(self.targets[k], 80, 0.2) as s:
                    name = s.recv(64).decode()
                    self.met.append((name, self.targets[k], time.monotonic()))
            except OSError:
                pass
            time.sleep(0.02)

    def clear(self):
        del self.met[:], self.came[:]

    def seen(self, name):
        return {"met": [x[1] for x in self.met if x[0] == name], "came": len([x for x in self.came if x[0] == name])}

    def last(self, name):
        """When it was last met, or 0."""
        return max([x[-1] for x in self.met + self.came if x[0] == name], default=0)

    def both_ways(self, name):
        """Over both families, in both directions."""
        s = self.seen(name)
        return len(set(s["met"])) == 2 and s["came"] > 0


peer = Peer()
start(a_name)
d = lab.daemon(expect=[p_name, a_name])
api = d.api
edges = wait(lambda: (lambda e, f: e and f and [e["id"], f["id"]])(
    api.edge(from_=WP, to=WA, port=80), api.edge(from_=WA, to=WP, port=81)), 8)
t.ok(edges, "the edges are learned", api.edges())
api.approve(*edges)
api.mode("enforce", a_name, p_name)
peer.clear()
t.ok(wait(lambda: peer.both_ways(a_name), 5), "and in force, over IPv4 and IPv6", peer.seen(a_name))


def remove(name):
    run("docker", "rm", "-f", name, check=False)


def end_first():
    remove(a_name)


def shoot_first():
    os.kill(pid_of(a_name), signal.SIGKILL)
    remove(a_name)


def without(role):
    def fn():
        d.kill(role)
        remove(a_name)
    return fn


def with_stopped(role):
    def fn():
        pid = d.roles()[role]
        os.kill(pid, signal.SIGSTOP)
        lab.later(lambda: os.path.exists("/proc/%d" % pid) and os.kill(pid, signal.SIGCONT))
        after.append(lambda: os.kill(pid, signal.SIGCONT))
        remove(a_name)
    return fn


def quick_restart():
    run("docker", "restart", "-t", "0", a_name)
    remove(a_name)


WAYS = [("killed", shoot_first), ("discovery stopped", with_stopped("discovery")), ("relay killed", without("relay")),
        ("restarted before", quick_restart), ("discovery killed", without("discovery")), ("ended", end_first)]
back_ms, bad = [], []
for k in range(ROUNDS):
    after = []
    what, way = WAYS[k % len(WAYS)]
    way()
    peer.clear()
    start(b_name)
    time.sleep(0.5)
    for fn in after:
        fn()
    if not wait(lambda: api.workload(b_name) and [i for i in api.workload(b_name)["instances"] if
                                                  X in i["addresses"] and X6 in i["addresses"]], 8):
        bad.append((what, "it is not known", api.workload(b_name)))
    time.sleep(0.2)
    s = peer.seen(b_name)
    if s["met"] or s["came"]:
        bad.append((what, s))
    remove(b_name)
    start(a_name)
    ran = time.monotonic()
    peer.clear()
    if wait(lambda: peer.both_ways(a_name), 8):
        back_ms.append((time.monotonic() - ran) * 1000)
    else:
        bad.append((what, "the first one's edges are not back", peer.seen(a_name), api.workload(a_name)))
t.ok(not bad, "%d containers on an enforced one's address: none met its peer, none was met" % ROUNDS, bad,
     d.text()[-3000:])
if back_ms:
    t.note("docker run's return to both edges working again over both families, ms: median %.0f, max %.0f" % (
        statistics.median(back_ms), max(back_ms)))
foreign = [e for e in api.edges() if WB in (e["from"], e["to"])]
t.ok(not [e for e in foreign if e["state"] == "approved"], "no edge of another is approved", foreign)
t.ok(not [e for e in foreign if e["connections"]], "and none was learned", foreign)

# The daemon's absence: without the gate rules stand as they were. So this shows that a meeting is
# noticed, and that the daemon takes the address back when it returns.
bad, exposed_ms = [], []
for k in range(AWAY):
    what = ("stopped", "killed", "the controller held")[k % 3]
    controller = d.roles()["controller"]
    if k % 3 == 2:
        os.kill(controller, signal.SIGSTOP)
    elif k % 3 == 1:
        d.kill_all()
    else:
        d.stop()
    remove(a_name)
    peer.clear()
    start(b_name)
    if not wait(lambda: peer.both_ways(b_name), 8):
        bad.append((what, "nothing is noticed", peer.seen(b_name)))
    if k % 3 == 2:
        os.kill(controller, signal.SIGCONT)
    else:
        d.start()
    began = time.monotonic()
    wait(lambda: api.workload(b_name) and [i for i in api.workload(b_name)["instances"] if i["addresses"]], 8)
    # Rules of its earlier life stand until it knows everybody again, or for CATCH_UP_MAX_NS.
    if not wait(lambda: time.monotonic() - max(began, peer.last(b_name)) > 1, 20):
        bad.append((what, peer.seen(b_name)))
    if peer.last(b_name) > began:
        exposed_ms.append((peer.last(b_name) - began) * 1000)
    remove(b_name)
    start(a_name)
    peer.clear()
    if not wait(lambda: peer.both_ways(a_name), 8):
        bad.append((what, peer.seen(a_name), api.workload(a_name)))
t.ok(not bad, "swapped while the daemon was away: over when it is back", bad, d.text()[-3000:])
t.note("after the daemon's API answered, still met for ms: %s" % [round(x) for x in exposed_ms])
approved = sorted(e["id"] for e in api.edges(state="approved"))
t.ok(approved == sorted(edges), "and nothing else is approved", approved)

# Networks come and go while it runs.
NET2, W4, W6 = NETS[1]
Y, Y6 = W4 + "50", W6 + "50"
run("docker", "network", "connect", "--ip", W4 + "9", "--ip6", W6 + "9", NET2, p_name)
took, bad = {"connected": [], "retracted": []}, []
for k in range(CONNECTS):
    peer.targets = [Y, Y6]
    peer.clear()
    run("docker", "network", "connect", "--ip", Y, "--ip6", Y6, NET2, a_name)
    began = time.monotonic()
    if not wait(lambda: set(peer.seen(a_name)["met"]) == {Y, Y6}, 5):
        bad.append(("connected", peer.seen(a_name), api.workload(a_name)))
        break
    took["connected"].append((time.monotonic() - began) * 1000)
    run("docker", "network", "disconnect", NET2, a_name)
    peer.clear()
    start(b_name, peers=(W4 + "9", W6 + "9"), addresses=(Y, Y6), network=NET2)
    wait(lambda: api.workload(b_name) and [i for i in api.workload(b_name)["instances"] if Y in i["addresses"]], 5)
    time.sleep(0.4)
    if peer.seen(b_name)["met"] or peer.seen(b_name)["came"]:
        bad.append(("disconnected", peer.seen(b_name)))
    remove(b_name)
t.ok(not bad, "a network connected: the edge works over it; disconnected: the next one there has none of it", bad,
     d.text()[-2000:])
if took["connected"]:
    t.note("docker network connect's return to the edge working over IPv4 and IPv6, ms: %s" %
           [round(x) for x in took["connected"]])
peer.targets = [X, X6]
peer.clear()
t.ok(wait(lambda: peer.both_ways(a_name), 5), "and the first network's address works as before", peer.seen(a_name))

# A second network while the namespace is being attached; containers that are gone before they are there.
bad = []
for k in range(RACES):
    name = "%s-c%d" % (PREFIX, k)
    run("docker", "create", "--name", name, "--network", NET1, *docker.FOLDERS, docker.image, "/bin/sleep", "600")
    docker.containers.append(name)
    other = threading.Thread(target=run, args=("docker", "network", "connect", NET2, name), kwargs={"check": False})
    starter = threading.Thread(target=run, args=("docker", "start", name), kwargs={"check": False})
    for x in (starter, other) if k % 2 else (other, starter):
        x.start()
        time.sleep(0.05 * (k // 2))
    starter.join()
    other.join()

    def has():
        nets = json.loads(run("docker", "inspect", name).out)[0]["NetworkSettings"]["Networks"].values()
        want = {n["IPAddress"] for n in nets} | {n["GlobalIPv6Address"] for n in nets}
        w = api.workload(name)
        return w and w["instances"] and want <= set(w["instances"][0]["addresses"]) and len(want) >= 2
    if not wait(has, 8, 0.1):
        bad.append((name, run("docker", "inspect", name).out[-1500:], api.workload(name)))
    remove(name)
t.ok(not bad, "connected while it starts: all its addresses are known", bad)

# A namespace that outlives its container, with somebody else in it.
own, guest = PREFIX + "-own", PREFIX + "-guest"
docker.run(own, network=NET1)
d.watched(own)
api.mode("enforce", own)
docker.run(guest, network="container:" + own)
is_own = lambda: api.workload(own)["instances"] and not (api.workload(guest) or {"instances": []})["instances"]
t.ok(wait(is_own, 5), "a guest in an enforced one's namespace is of that one's instance", api.workload(guest))
remove(own)
began = time.monotonic()
is_guests = lambda: (api.workload(guest) or {"instances": []})["instances"] and not api.workload(own)["instances"]
t.ok(wait(is_guests, 15), "once that one is gone the namespace is the guest's", api.workload(own), api.workload(guest))
t.note("after %.0f ms" % ((time.monotonic() - began) * 1000))
remove(guest)
roles = d.roles()
for k in range(2 * RACES):
    name = "%s-gone%d" % (PREFIX, k)
    docker.containers.append(name)
    starter = threading.Thread(target=run, args=("docker", "run", "-d", "--name", name, "--network", NET1,
                                                 *docker.FOLDERS, docker.image, "/bin/sleep", "600"),
                               kwargs={"check": False})
    starter.start()
    time.sleep(0.1 + 0.1 * (k % 6))
    remove(name)
    starter.join()
    remove(name)
left = lambda: [w for n, w in api.workloads().items() if n.startswith(PREFIX + "-gone") and w["instances"]]
t.ok(wait(lambda: not left(), 8) and d.roles() == roles, "deleted during set-up: nothing of them is left", left(),
     d.text()[-2000:])
peer.clear()
t.ok(wait(lambda: peer.both_ways(a_name), 5), "the approved edges work to the end", peer.seen(a_name))
t.done()
