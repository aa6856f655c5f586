#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Automatic segmentation by the clock: off unless asked for, and what it does when it is."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Lab, Tap, wait

PERIOD = 4

t = Tap()
lab = Lab()
a, b, c, idle = lab.ns("a"), lab.ns("b"), lab.ns("c"), lab.ns("i")
A, B = "workload:" + a.name, "workload:" + b.name
for port in (8000, 8001, 8002):
    b.serve(port)

# Off by default.
d = lab.daemon("observationPeriod: 1s\n", expect=[a.name, b.name])
api = d.api
a.tcp(b.v4, 8000)
wait(lambda: api.edge(from_=A, to=B, port=8000))
time.sleep(2.5)
t.ok(api.get("/v1/status")["promote"] == "off" and api.get("/v1/status")["revision"] == 0 and
     all(w["mode"] == "observe" for w in api.workloads().values()) and
     api.edge(from_=A, to=B, port=8000)["state"] == "pending",
     "off by default: the period passes and nothing is decided", api.workloads())
d.stop()
d.cleanup()

# Enforce, after a period of a few seconds.
d = lab.daemon("observationPeriod: %ds\npromote: enforce\n" % PERIOD,
               expect=[n.name for n in (a, b, c, idle)])
api = d.api
started = time.monotonic()
api.mode("observe", c.name)  # a person's choice
pool = a.connect(b.v4, 8000)
t.ok([a.tcp(b.v4, 8000), a.tcp(b.v6, 8000), a.tcp(b.v4, 8001), lab.host.tcp(b.v4, 8000),
      c.tcp(b.v4, 8000)] == ["open"] * 5, "everything passes while it observes")
wait(lambda: api.edge(from_="host", to=B, port=8000) and api.edge(from_=A, to=B, port=8001))
t.ok(all(w["mode"] == "observe" for w in api.workloads().values()), "nothing is promoted early",
     time.monotonic() - started)
wait(lambda: all(api.workload(n.name)["mode"] == "enforce" for n in (a, b, idle)), PERIOD + 5, 0.1)
took = time.monotonic() - started
w = api.workloads()
t.ok(all(w[n.name]["mode"] == "enforce" for n in (a, b, idle)), "promoted when the period is over", w)
t.ok(took >= PERIOD - 1.5, "and not before", took)
t.ok(w[c.name]["mode"] == "observe", "a workload whose mode a person chose is left alone")
api.settle()
e = api.edge(from_=A, to=B, port=8000)
t.ok(e["state"] == "approved" and e["flags"] == ["auto"],
     "what was seen is approved, and says that no person did it", e)
t.ok(e["approvedBy"] == "promotion" and e["reason"], "with who and why", e)
h = api.edge(from_="host", to=B, port=8000)
t.ok(h["state"] == "pending" and "via-host" in h["flags"], "an edge from the host waits for a person", h)
t.ok([a.tcp(b.v4, 8000), a.tcp(b.v6, 8000), a.tcp(b.v4, 8001), c.tcp(b.v4, 8000)] == ["open"] * 4,
     "what was seen passes")
pool.settimeout(1)
pool.sendall(b"x")
t.ok(pool.recv(8) == b"x", "a connection made before goes on")
t.ok(a.tcp(b.v4, 8002) != "open" and c.tcp(b.v4, 8001) != "open" and a.tcp(c.v4, 8000) != "open" and
     lab.host.tcp(b.v4, 8000) != "open", "what was not seen does not, nor the host")

# Once only: a person's word afterwards stands.
api.mode("observe", b.name)
rev = api.get("/v1/status")["revision"]
late = lab.ns("late")
d.watched(late.name)
late.tcp(b.v4, 8002)
time.sleep(PERIOD + 2)
w = api.workloads()
t.ok(w[b.name]["mode"] == "observe", "a person's change after it is not undone", w[b.name])
t.ok(w[late.name]["mode"] == "enforce", "a workload that comes later has its own period")
d.stop()
d.start(expect=[a.name, b.name])
time.sleep(1.5)
w = api.workloads()
t.ok(w[b.name]["mode"] == "observe" and w[a.name]["mode"] == "enforce", "nor by a restart", w)
d.stop()
d.cleanup()

# Audit, one direction.
d = lab.daemon("observationPeriod: 1s\npromote: audit\npromoteDirection: ingress\n", expect=[b.name])
api = d.api
t.ok(wait(lambda: (api.workload(b.name)["mode"], api.workload(b.name)["direction"]) == ("audit", "ingress"), 5),
     "promote: audit, ingress alone", api.workload(b.name))
api.settle()
t.ok(a.tcp(b.v4, 8002) == "open" and wait(lambda: api.denials(to=B, port=8002, verdict="audit"), 2),
     "drops nothing and reports", api.denials())
t.done()
