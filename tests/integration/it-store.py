#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A store that is lost: what is enforced stays enforced until a person has decided, and the way back."""
import json
import os

import nslab
from nslab import BUILD, Lab, run, table_text, wait

t = nslab.Tap()
lab = Lab()
A, B, C = ("%s-%s" % (nslab.PREFIX, x) for x in "abc")
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
for port in (8000, 8001):
    b.serve(port)
d = lab.daemon(expect=(A, B, C))
api = d.api
a.tcp(b.v4, 8000)
a.tcp(b.v4, 8001)
edge = wait(lambda: api.edge(from_="workload:" + A, to="workload:" + B, port=8000), 5)
api.approve(edge["id"])
api.mode("enforce", B)
path = d.state + "/nanoseg.db"


def holds():
    return a.tcp(b.v4, 8000) == "open" and a.tcp(b.v4, 8001) != "open"


def set_aside():
    return run(*d.argv("--set-aside-store"), check=False)


t.ok(holds(), "enforced")
r = set_aside()
t.ok(r.returncode == 1 and "stop it first" in r.err and os.path.exists(path),
     "a store in use is not set aside", r.err)
copy = json.load(open(d.state + "/policy.json"))
t.ok([e for e in copy["edges"] if e["id"] == edge["id"]] and os.stat(d.state + "/policy.json").st_mode & 0o77 == 0,
     "the newest revision is beside the store", copy)
d.stop()
os.truncate(path, 5000)
damaged = open(path, "rb").read()
d.start(wait_for=False)
t.ok(d.says("--set-aside-store") and holds(), "a damaged store: the command is named, the rules stand", d.text())
d.stop()
r = set_aside()
aside = [f for f in os.listdir(d.state) if f.startswith("nanoseg.db.aside-")]
t.ok(r.returncode == 0 and len(aside) == 1 and open(d.state + "/" + aside[0], "rb").read() == damaged and
     not [f for f in os.listdir(d.state) if f in ("nanoseg.db", "nanoseg.db-wal")],
     "it is renamed, whole", r.err, os.listdir(d.state))
r = set_aside()
t.ok(r.returncode == 1 and "no store" in r.err, "and once", r.err)

d.start(expect=(A, B, C))
api.settle(1)
s = api.get("/v1/status")
t.ok(s["revision"] == 0 and holds(), "an empty store opens nothing that is enforced", s["revision"], d.text())
t.ok(s.get("held") is True and d.says("the store is empty, but workloads were enforced"), "and says so", s.get("held"))
cli = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "status", check=False)
t.ok("rules in the kernel stand" in cli.out + cli.err, "on the command line too", cli.out, cli.err)
old = d.kill("controller")
wait(lambda: d.roles().get("controller") not in (None, old) and d.ready(), 8)
d.watched(B)
t.ok(holds() and os.path.exists(d.state + "/enforced"), "also after another start")
new = lab.ns("d")
d.watched(nslab.PREFIX + "-d")
t.ok(new.tcp(b.v4, 8000) != "open", "what comes new is not let in")
api.post("/v1/quarantine", {"target": B, "reason": "odd"})
t.ok(wait(lambda: a.tcp(b.v4, 8000, 0.3) != "open", 5), "a quarantine is in force all the same")
api.post("/v1/release", {"target": B, "reason": "looked into"})
api.settle(1)
t.ok(a.tcp(b.v4, 8000, 0.3) != "open" and a.tcp(b.v4, 8001, 0.3) != "open",
     "its end opens nothing as long as nobody knows what there was")
status, r = api.apply(open(d.state + "/policy.json").read())
t.ok(status == 200 and wait(lambda: not api.get("/v1/status").get("held"), 3), "the policy beside it is applied", r)
api.settle()
t.ok(holds() and wait(lambda: api.workload(B)["mode"] == "enforce"), "and enforced as before", table_text(b, d.table()))
api.mode("observe", B)
t.ok(a.tcp(b.v4, 8001) == "open" and wait(lambda: not os.path.exists(d.state + "/enforced"), 3),
     "a decision opens it")

# The same way, with nothing enforced: nothing is held.
d.stop()
set_aside()
d.start(expect=(A, B, C))
s = api.get("/v1/status")
t.ok(s["revision"] == 0 and not s.get("held"), "with nothing enforced an empty store is just empty")

# A mode, too, is a decision.
api.mode("enforce", B)
wait(lambda: a.tcp(b.v4, 8001) != "open", 5)
d.stop()
t.ok(set_aside().returncode == 0, "set aside again at once")
d.start(expect=(A, B, C))
held = api.get("/v1/status")["held"]
tried = a.tcp(b.v4, 8001)
t.ok(held is True and tried != "open", "held again", held, tried, table_text(b, d.table()), d.text()[-1500:])
api.mode("observe", all=True)
# Rules that stand are left alone until everybody is known again, ten seconds at most.
t.ok(wait(lambda: a.tcp(b.v4, 8001) == "open", 15) and not api.get("/v1/status")["held"],
     "a mode for all ends it", d.text()[-800:])
t.done()
