#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Quarantine: at once, whatever the policy says, over deaths and replicas, and out again."""
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, run, wait

t = Tap()
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
b.serve(8000)
b.serve_udp(8020)
a.serve(8100)
c.serve(8200)
d = lab.daemon(expect=[a.name, b.name, c.name])
api = d.api


def cli(*args):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=False)


def echo(s, timeout=0.6):
    try:
        s.settimeout(timeout)
        s.sendall(b"alive?")
        return bool(s.recv(16))
    except OSError:
        return False


def passed():
    """What gets in or out. The kernel tells a sender of UDP that its own rules dropped it."""
    got = {"in": a.tcp(b.v4, 8000, 0.25), "in udp": a.udp(b.v4, 8020, 0.2),
           "in v6": a.tcp(b.v6, 8000, 0.25), "ping": a.ping(b.v4, 7, timeout=0.2) or "timeout",
           "out": b.tcp(a.v4, 8100, 0.25), "out udp": b.udp(a.v4, 53, 0.2)}
    return {k: v for k, v in got.items() if v not in ("timeout", "error 1")}


def blocked(tries=1):
    """Nothing in, nothing out."""
    for _ in range(tries):
        got = passed()
        if got:
            t.note("passed: %s" % got)
            return False
    return True


a.tcp(b.v4, 8000)
e = wait(lambda: api.edge(port=8000), 3)
api.approve(e["id"])
live, live6, back = a.connect(b.v4, 8000), a.connect(b.v6, 8000), b.connect(c.v4, 8200)
udp = a.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect((b.v4, 8020))
other = c.connect(a.v4, 8100)
t.ok(echo(live) and echo(live6) and echo(back) and echo(udp) and echo(other), "connections live")

t.ok(cli("quarantine", b.name).returncode == 2, "it needs a reason")
began = time.monotonic()
api.post("/v1/quarantine", {"target": b.name, "reason": "looks odd"})
answered = time.monotonic()
cut = wait(lambda: not echo(live, 0.05), 3, step=0.001)
t.note("answered after %.1f ms, the live connection was cut by %.0f ms" % (
    (answered - began) * 1e3, (time.monotonic() - began) * 1e3))
t.ok(cut and wait(lambda: not any([echo(x, 0.2) for x in (live6, back, udp)]), 3),
     "live connections are cut, in both directions, IPv4 and IPv6, TCP and UDP")
t.ok(echo(other), "and no other")
t.ok(blocked(), "nothing passes, approved or not, observed or not")
lo = b.connect("127.0.0.1", 8000)
t.ok(echo(lo), "but loopback")
w = api.workload(b.name)
t.ok(w["mode"] == "observe" and w["quarantine"]["reason"] == "looks odd" and
     w["quarantine"]["by"] == "uid:0" and w["instances"][0]["quarantined"], "status says so", w)
r = cli("status")
t.ok("quarantined" in r.out, "in its table too", r.out)
r = cli("explain", a.name, b.name + ":8000", "-o", "json")
x = json.loads(r.out)
t.ok(x["verdict"] == "deny" and "quarantine" in x["reason"], "and explain", r.out)
t.ok(cli("quarantine", b.name, "--reason", "again").returncode == 1, "twice is refused")

# The policy goes on without it.
edges = len(api.edges())
api.mode("enforce", b.name)
api.mode("observe", b.name)
r = cli("rollback", "1")
t.ok(r.returncode == 0 and api.workload(b.name)["quarantine"] and blocked(),
     "neither a mode nor a rollback releases it", r.err)

# Deaths.
for role in ("controller", "warden", "capture", "keeper"):
    d.kill(role)
    if not blocked():
        t.ok(False, "held while %s dies" % role)
wait(d.ready, 5)
t.ok(blocked(2), "the death of each role releases nothing")
d.kill_all()
t.ok(blocked(), "nor that of all of them")
d.start(expect=[a.name, b.name, c.name])
t.ok(wait(lambda: api.workload(b.name)["quarantine"], 3) and blocked(2), "nor a restart")
d.stop()
d.start(expect=[a.name, b.name, c.name])
t.ok(blocked(), "nor an end in order")
t.ok(len(api.edges()) == edges, "nothing was learned meanwhile", api.edges())
x = [q for q in api.get("/v1/quarantine") if q["workload"] == b.name][0]
t.ok(wait(lambda: sum(h["refused"] for h in api.get("/v1/quarantine")[0]["denials"]) > 0, 3),
     "what was refused is counted by the hour", x)

# A namespace of its name that comes anew, as after a reboot or with the next replica.
b.delete()
wait(lambda: not api.workload(b.name)["instances"], 5)
b = lab.space(b.name)
lab.join(b)
b.serve(8000)
b.serve_udp(8020)
d.watched(b.name)
api.settle()
t.ok(wait(blocked, 5), "the next instance of the workload is held as well")

r = cli("quarantine")
t.ok(r.returncode == 0 and b.name in r.out and "looks odd" in r.out, "who is held is listed", r.out)
r = cli("release", b.name, "--reason", "false alarm")
t.ok(r.returncode == 0 and wait(lambda: a.tcp(b.v4, 8000) == "open", 3) and
     not api.workload(b.name)["quarantine"], "released it talks again", r.err)
t.ok(cli("release", b.name, "--reason", "x").returncode == 2, "and cannot be released twice")
r = cli("quarantine")
kept = json.loads(cli("quarantine", "--released", "-o", "json").out)
t.ok(not api.get("/v1/quarantine") and "RELEASED" in r.out and "looks odd" in r.out and
     kept[0]["released"]["reason"] == "false alarm" and sum(h["refused"] for h in kept[0]["denials"]) > 0,
     "its timeline is still there", r.out, kept)

def learned():
    """Connections of c to b."""
    return sum(x["connections"] for x in api.edges()
               if x["from"] == "workload:" + c.name and x["to"] == "workload:" + b.name)


# To look into it: who is let in, by a connection that he has or a new one, whatever dies of ours.
look, look6, other, out = c.connect(b.v4, 8000), c.connect(b.v6, 8000), a.connect(b.v4, 8000), b.connect(c.v4, 8200)
look_udp = c.socket(socket.AF_INET, socket.SOCK_DGRAM)
look_udp.connect((b.v4, 8020))
kept = (look, look6, look_udp)
t.ok(all(echo(s) for s in kept + (other, out)) and wait(lambda: learned() == 3, 5), "connections live again", learned())
r = cli("quarantine", b.name, "--reason", "forensics", "--allow-from", "%s,%s/32" % (c.name, lab.gw4))
shut = wait(lambda: b.tcp(c.v4, 8200, 0.3) == "timeout", 3)
t.ok(r.returncode == 0 and wait(lambda: c.tcp(b.v4, 8000) == "open", 3) and
     c.udp(b.v4, 8020) == "answer" and lab.host.tcp(b.v4, 8000) == "open",
     "who is let in gets in", r.err)
t.ok(shut and blocked(), "it gets out to nobody, and nobody else in")
t.ok(wait(lambda: not echo(other, 0.2) and not echo(out, 0.2), 3) and all(echo(s) for s in kept),
     "what he had open lives on, and nothing else")
d.kill("controller")
wait(d.ready, 5)
api.settle()
again = wait(lambda: api.workload(b.name)["instances"][0]["quarantined"], 5) and blocked()
t.ok(again and all(echo(s) for s in kept for _ in range(3)), "so it does when the controller is another")
d.kill_all()
d.start(expect=[a.name, b.name, c.name])
again = wait(lambda: api.workload(b.name)["instances"][0]["quarantined"], 5) and blocked(2)
lives = [[echo(s) for _ in range(3)] for s in kept] + [echo(other, 0.2), echo(out, 0.2)]
t.ok(again and lives == [[True] * 3] * 3 + [False] * 2, "and after a restart of all", again, lives)
t.ok(learned() == 3, "and that is not learned", api.edges())
bad = [cli(*x).returncode for x in (
    ("quarantine", "nobody", "--reason", "x"), ("quarantine", "0123456789ab", "--reason", "x"),
    ("quarantine", c.name, "--reason", "x", "--allow-from", "internet"),
    ("quarantine", c.name, "--reason", "x", "--allow-from", ""), ("release", "nobody", "--reason", "x"))]
t.ok(set(bad) == {2} and not api.workload(c.name)["quarantine"], "nonsense is refused", bad)
cli("release", b.name, "--reason", "done")
events = json.loads(cli("audit-log", "show", "--workload", b.name, "-o", "json").out)
t.ok([x["event"] for x in events if x["event"] in ("quarantine", "release")] ==
     ["quarantine", "release"] * 2 and cli("audit-log", "verify").returncode == 0,
     "all of it is on record", events)
with open(d.state + "/quarantine.json", "w") as f:
    f.write('{"version":1,"quarantines":[{}]}')
d.stop()
d.start(wait_for=False)
t.ok(d.says("quarantine.json cannot be read"),
     "a damaged file is not passed over")
os.unlink(d.state + "/quarantine.json")
t.done()
