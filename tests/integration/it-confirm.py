#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes that are taken back unless confirmed, over every death; rollback; and what a container can
and cannot bring about by being refused."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, run, wait

t = Tap()
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
for port in (8000, 8001, 8002):
    b.serve(port)
d = lab.daemon("rollbackDenials: 5\n", expect=[a.name, b.name, c.name])
api = d.api


def cli(*args):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=False)


def status():
    return api.get("/v1/status")


def mode():
    return api.workload(b.name)["mode"]


def events():
    with open(max(os.path.join(d.state, "audit", f) for f in os.listdir(d.state + "/audit"))) as f:
        return [(r["event"], r["actor"]["name"], r["reason"]) for r in map(json.loads, f)
                if r["event"] not in ("applied", "checkpoint", "signing-key")]


for port in (8000, 8001):
    a.tcp(b.v4, port)
e = wait(lambda: api.edge(port=8000), 3)
seen = wait(lambda: api.edge(port=8001), 3)
api.approve(e["id"])

# Not confirmed.
r = cli("mode", b.name, "enforce", "--confirm", "6s", "-o", "json")
x = json.loads(r.out)
t.ok(r.returncode == 0 and x["confirm"]["revision"] == 2 and x["confirm"]["previous"] == 1 and
     0 < x["confirm"]["secondsLeft"] <= 6, "a change says how long it has", r.out, r.err)
api.settle()
t.ok(a.tcp(b.v4, 8000) == "open" and c.tcp(b.v4, 8002) in ("refused", "timeout"), "it is in force")
r = cli("status")
t.ok("awaits confirmation" in r.out and "nanoseg confirm" in r.out, "status shows it", r.out)
r = cli("mode", b.name, "observe")
t.ok(r.returncode == 1 and "awaits confirmation" in r.err and mode() == "enforce",
     "another change is refused meanwhile", r.err)
t.ok(wait(lambda: mode() == "observe", 12) and status()["revision"] == 3 and
     status()["confirm"] is None, "nobody confirms: it is taken back", status())
api.settle()
t.ok(c.tcp(b.v4, 8002) == "open", "and everything passes again")
t.ok(events()[-1][:2] == ("rollback", "commit-confirm") and "not confirmed" in events()[-1][2],
     "the audit log says why", events()[-1])
t.ok(api.told("rollback", "not confirmed in time: rolled back to revision 1"), "and people are told",
     api.get("/v1/alerts"))

# Confirmed.
api.post("/v1/mode", {"workloads": [b.name], "mode": "enforce", "confirmSeconds": 5})
t.ok(cli("confirm", "9").returncode == 1, "another revision cannot be confirmed")
r = cli("confirm", "--reason", "works")
time.sleep(5.5)
t.ok(r.returncode == 0 and mode() == "enforce" and status()["confirm"] is None and
     ("confirm", "root", "works") in events(), "confirmed it stays", r.err)
t.ok(cli("confirm").returncode == 2, "there is nothing to confirm then")

# A policy, and every role killed within the window.
doc = api.get("/v1/policy", decided=1)
for w in doc["workloads"]:
    w["mode"] = "observe"
with open(lab.dir + "/policy.json", "w") as f:
    json.dump(doc, f)
before = status()["revision"]
r = cli("policy", "apply", lab.dir + "/policy.json", "--confirm", "10s")
made = time.monotonic()
t.ok(r.returncode == 0 and "awaits confirmation" in r.out and mode() == "observe",
     "a policy may await confirmation", r.out, r.err)
for role in ("warden", "capture", "controller", "discovery", "relay", "keeper"):
    d.kill(role)
    wait(lambda: d.ready(), 5)
left = (wait(lambda: d.ready() and status(), 5) or {}).get("confirm")
t.ok(left and left["revision"] == before + 1 and left["secondsLeft"] <= 10,
     "the death of every role changes neither the policy nor the deadline", left)
t.ok(wait(lambda: mode() == "enforce", 20), "it is taken back in time", status())
t.note("taken back %.1f s after it was made, for 10" % (time.monotonic() - made))

# The daemon dies and stays dead over the deadline.
api.post("/v1/mode", {"workloads": [c.name], "mode": "enforce", "confirmSeconds": 5})
api.settle()
c.serve(8300)
t.ok(a.tcp(c.v4, 8300) in ("refused", "timeout"), "one more is enforced")
d.kill_all()
time.sleep(5.5)
t.ok(a.tcp(c.v4, 8300) in ("refused", "timeout"), "while the daemon is dead the rules stand")
d.start(expect=[a.name, b.name, c.name])
t.ok(api.workload(c.name)["mode"] == "observe" and status()["confirm"] is None and
     wait(lambda: a.tcp(c.v4, 8300) == "open", 5), "the next start takes it back first", status())

# Refused traffic that went through before.
api.mode("observe", b.name)
revision = status()["revision"]
api.post("/v1/mode", {"workloads": [b.name], "mode": "enforce", "confirmSeconds": 600})
api.settle()
began = time.monotonic()
for _ in range(8):
    a.tcp(b.v4, 8001, timeout=0.3)
back = wait(lambda: mode() == "observe", 5)
t.ok(back and events()[-1][0] == "rollback" and "went through before" in events()[-1][2],
     "what went through before and is refused now takes the change back", events()[-1], status())
t.note("%.1f s after the first refusal" % (time.monotonic() - began))
api.settle()
t.ok(a.tcp(b.v4, 8001) == "open", "and goes through again")

# The same by way of a range, which a policy then lacks.
e2 = {"from": a.name, "to": b.name, "proto": "tcp", "port": "8100-8109", "state": "approved"}
for port in (8100, 8104):
    b.serve(port)
without = api.get("/v1/policy", decided=1)
without["workloads"] = [{"name": b.name, "mode": "enforce"}]
api.apply(dict(without, edges=without["edges"] + [e2]))
a.tcp(b.v4, 8100)
wait(lambda: (api.edge(ports="8100-8109") or {}).get("connections"), 5)
revision = status()["revision"]
api.apply(without, confirmSeconds=600)
api.settle()
for _ in range(8):
    a.tcp(b.v4, 8104, timeout=0.3)
back = wait(lambda: status()["revision"] == revision + 2, 5)
api.settle()
t.ok(back and status()["confirm"] is None and a.tcp(b.v4, 8104) == "open" and "went through before" in events()[-1][2],
     "so does what went through by a range", events()[-1], status())
api.mode("observe", b.name)

# The attack: a container that was never seen to do this floods.
api.post("/v1/mode", {"workloads": [b.name], "mode": "enforce", "confirmSeconds": 600})
api.settle()
for port in range(9000, 9040):
    c.tcp(b.v4, port, timeout=0.05)
    c.udp(b.v4, port, timeout=0.02)
wait(lambda: api.denials(port=9039), 3)
time.sleep(1.5)
s = status()
t.ok(len(api.denials(port=lambda p: p and 9000 <= p < 9040)) > 10 and s["confirm"] and
     s["confirm"]["refused"] == 0 and mode() == "enforce",
     "a flood of what was never seen takes nothing back", s["confirm"])
api.post("/v1/confirm", {})
for _ in range(30):
    a.tcp(b.v4, 8001, timeout=0.05)
t.ok(d.says("refused in 5 minutes that went through before; nothing is opened") and
     mode() == "enforce", "behind the window a flood raises an alarm and opens nothing")
t.ok(api.told("denialBurst", "went through before; nothing is opened"), "which people are told of",
     api.get("/v1/alerts"))

# Rollback to any revision.
api.deny(e["id"])
r = cli("rollback")
t.ok(r.returncode == 0 and api.edge(id=e["id"])["state"] == "approved" and mode() == "enforce",
     "rollback goes to the revision before", r.out, r.err)
r = cli("rollback", "1", "-o", "json")
x = json.loads(r.out)
t.ok(r.returncode == 0 and x["as"] == 1 and mode() == "observe" and x["revision"] == status()["revision"],
     "or to any other", r.out, r.err)
api.settle()
t.ok(c.tcp(b.v4, 8002) == "open", "which is in force then")
bad = [cli(*x).returncode for x in (("rollback", "999"), ("rollback", "x"), ("rollback", "1", "2"),
                                    ("mode", b.name, "audit", "--confirm", "1s"),
                                    ("mode", b.name, "audit", "--confirm", "soon"))]
t.ok(set(bad) == {2} and mode() == "observe", "nonsense is refused", bad)
codes = {x: api.call("POST", "/v1/mode", {"workloads": [b.name], "mode": "audit", "confirmSeconds": x})[0]
         for x in (1, -5, "5", 1e9, 10 ** 18)}
t.ok(set(codes.values()) == {400}, "over the API too", codes)
t.ok(cli("audit-log", "verify").returncode == 0, "all of it is on record", cli("audit-log", "verify").out)
t.done()
