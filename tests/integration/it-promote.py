#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Automatic segmentation, by the clock and by evidence: off unless asked for, and what it does when it is."""
import json
import os
import sqlite3
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, PREFIX, Lab, Tap, run, wait

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
wait(lambda: all(api.workload(n.name)["mode"] == "enforce" for n in (a, b)), PERIOD + 5, 0.1)
took = time.monotonic() - started
w = api.workloads()
t.ok(all(w[n.name]["mode"] == "enforce" for n in (a, b)), "promoted when the period is over", w)
t.ok(wait(lambda: "has not been seen to talk" in (api.workload(idle.name)["promotion"] or {}).get("why", ""), 8)
     and api.workload(idle.name)["mode"] == "observe", "but not one that has been silent, which says so",
     w[idle.name])
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
records = json.loads(run(BUILD + "/cli/nanoseg", "--socket", d.sock, "audit-log", "show", "-o", "json").out)
made = [r for r in records if r["event"] == "promote"]
t.ok(len(made) == 1 and made[0]["result"] == "ok" and made[0]["reason"] and "uid" not in made[0]["actor"] and
     made[0]["before"] != made[0]["after"], "it is on record as what nobody but the daemon did", made)
api.settle()
t.ok(a.tcp(b.v4, 8002) == "open" and wait(lambda: api.denials(to=B, port=8002, verdict="audit"), 2),
     "drops nothing and reports", api.denials())
d.stop()
d.cleanup()

# By evidence. Three weeks are written into the store, for nobody can wait for them. In namespaces
# of its own: the others remember connections.
a, b, c, idle = lab.ns("ev-a"), lab.ns("ev-b"), lab.ns("ev-c"), lab.ns("ev-i")
for port in (8000, 8001):
    b.serve(port)
d = lab.daemon("observationPeriod: 1s\n", only=PREFIX + "-ev*", expect=[n.name for n in (a, b, c, idle)])
api = d.api
for src, dst, port in ((a, b, 8000), (c, b, 8001)):
    src.tcp(dst.v4, port)
    wait(lambda: api.edge(from_="workload:" + src.name, to="workload:" + dst.name, port=port))
d.stop()
HOUR, DAY, WEEK = 3600, 86400, 7 * 86400
now = int(time.time())
ring = 17 * 168
ran, none = bytearray(ring // 8), bytes(ring // 8)
begin, head = now // HOUR - 3 * 168, now // HOUR - 1
for h in range(begin, head + 1):
    ran[h % ring // 8] |= 1 << h % ring % 8
db = sqlite3.connect(d.state + "/nanoseg.db")
db.execute("UPDATE workload SET windows = ?, observed = ?, first_seen = ?",
           (struct.pack("<II", begin, head) + bytes(ran) + none + none, 3 * WEEK * 10**9,
            (now - 3 * WEEK) * 10**9))
db.execute("UPDATE edge SET windows = 400, first_seen = ?", ((now - 3 * WEEK) * 10**9,))
db.execute("UPDATE workload SET network = 'net1' WHERE name = ?", (c.name.encode(),))
db.execute("INSERT INTO workload (name, mode, direction, first_seen, last_seen, network) VALUES (?, 0, 3, ?, ?, ?)",
           (c.name.encode() + b"-backup", (now - 80 * DAY) * 10**9, (now - 70 * DAY) * 10**9, b"net1"))
db.commit()
db.close()
d.configure("observationPeriod: 7d\npromote: enforce\npromoteBy: evidence\nquietAudit: 2s\n"
            "promoteNotice: 2s\npromoteConfirm: 5s\nidleExpiry: 0s\n")
d.start(expect=[n.name for n in (a, b, c, idle)])
k = api.workload(a.name)["completeness"]
t.ok(k["newEdgeChanceHigh"] is not None and 0 < k["newEdgeChanceHigh"] < 0.05 and k["unseenHigh"] > 0 and
     k["windows"] >= 3 * 168 - 1 and k["hoursOfWeek"] == 168 and k["why"] is None,
     "three weeks without a gap have a bound", k)


def why(n):
    return (api.workload(n.name)["promotion"] or {}).get("why", "")


t.ok(wait(lambda: why(c) == "waiting: %s-backup has not run yet" % c.name, 15),
     "who has not run yet is named and waited for", why(c))
t.ok(wait(lambda: api.workload(a.name)["mode"] == "audit", 15), "complete: audit first", why(a))
seen = set()


def enforced(n):
    seen.add(why(n).split(" for ")[0])
    return api.workload(n.name)["mode"] == "enforce"


t.ok(wait(lambda: enforced(a) or enforced(b), 40, 0.2), "quiet in audit: enforce", why(a), why(b))
t.note("said meanwhile: %s" % sorted(seen))
t.ok(any("quiet in audit" in s or "announced" in s for s in seen), "and said what it waited for", seen)
first = api.get("/v1/status")
t.ok(first["confirm"] is None or first["confirm"]["by"] == "promotion", "it confirms itself", first["confirm"])
t.ok(wait(lambda: enforced(a) and enforced(b), 60, 0.2), "the next one follows once that stands", why(a), why(b))
t.ok(wait(lambda: api.get("/v1/status")["confirm"] is None, 20) and api.workload(a.name)["mode"] == "enforce" and
     api.workload(b.name)["mode"] == "enforce", "and both stay")
api.settle()
b.serve(8009)
got = [a.tcp(b.v4, 8000), a.tcp(b.v4, 8009)]
t.ok(got[0] == "open" and got[1] != "open", "what was seen passes, and nothing else", got, api.edges())
t.ok(api.workload(c.name)["mode"] == "observe" and api.workload(idle.name)["mode"] == "observe",
     "who waits is still observed")
t.done()
