#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections counted by the kernel to more places than a set has room for: the sets are exchanged while they fill and each
connection is counted once; what found no room, as nobody read, is a loss of whom it hit."""
import os
import re
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Lab, Tap, wait

LONG = 60
ROOM = 16384  # of a set; half full it is exchanged
PART, PARTS = 6000, 4
t = Tap()
lab = Lab()
a, b, idle = lab.ns("a"), lab.ns("b"), lab.ns("idle")
A = "workload:" + a.name
d = lab.daemon(config="aggregation: on\n", expect=[a.name, b.name, idle.name])
api = d.api

# The server has two networks.
b.exec("ip", "route", "add", "local", "10.201.0.0/16", "dev", "lo")
b.exec("ip", "route", "add", "local", "10.202.0.0/16", "dev", "lo")
a.exec("ip", "route", "add", "10.200.0.0/14", "via", b.v4)
listener = b.listen(7001, backlog=1024)


def hang_up():
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return


threading.Thread(target=hang_up, daemon=True).start()


def visit(network, first, n):
    """One connection to each of so many addresses; how many were made."""
    made = 0
    for k in range(first, first + n):
        try:
            a.connect("%s.%d.%d" % (network, k >> 8, k & 255), 7001, 5).close()
            made += 1
        except OSError:
            pass
    return made


def states():
    w = api.workloads()
    return [(i["aggregation"] or {}).get("state") for ns in (a, b) for i in w[ns.name]["instances"]]


def loss(ns):
    w = api.workload(ns.name)
    return w["loss"]["events"], w["loss"]["sources"], w["completeness"]["incompleteWindows"]


def counted():
    return sum(e["connections"] for e in api.edges(from_=A, proto="tcp"))


def filled(ns):
    """The sets that the rules fill."""
    rules = ns.exec("nft", "list", "table", "inet", d.table() + "_seen").out
    return set(re.findall(r"@((?:conn|byte)\w+)", rules))


t.ok(wait(lambda: states() == ["on", "on"], LONG), "the kernel counts", states(), d.text()[-1500:])
before = filled(a), filled(b)
made = 0
for k in range(PARTS):
    made += visit("10.201", k * PART, PART)
    got = wait(lambda: counted() == made, LONG)
    t.ok(got and made == (k + 1) * PART, "each connection to %d places is one of an edge, once" % made, made, counted())
    if k == 1:
        t.ok(len(before[0]) == 4 and wait(lambda: not before[0] & filled(a) and not before[1] & filled(b), LONG),
             "the sets, more than half full, are exchanged at both ends", before, filled(a), filled(b))
t.ok(loss(a) == loss(b) == (0, [], 0), "and nothing is lost", loss(a), loss(b))
t.ok(len(api.edges()) < 200, "they are few edges", len(api.edges()))

pid = d.roles()["controller"]
os.kill(pid, signal.SIGSTOP)
try:
    more = visit("10.202", 0, ROOM + 2000)
finally:
    os.kill(pid, signal.SIGCONT)
t.ok(more == ROOM + 2000, "more than a set has room for, while nobody reads", more)
t.ok(wait(lambda: loss(a)[0] > 0 and loss(b)[0] > 0, LONG), "what found no room is counted", loss(a), loss(b))
t.ok(all("counters" in loss(ns)[1] and loss(ns)[2] > 0 for ns in (a, b)), "its source is named, and the hour marked", loss(a), loss(b))
metrics = api.raw("GET", "/metrics")[1].decode()
t.ok('nanoseg_workloads_lossy{source="counters"} 2\n' in metrics, "in the metrics too", re.findall(".*lossy.*", metrics))
t.ok(loss(idle) == (0, [], 0), "and nobody else's", loss(idle))
wait(lambda: made + more - counted() <= loss(a)[0], 10)
hidden = made + more - counted()
t.ok(0 < hidden <= loss(a)[0], "no more is missing than it says, and nothing counted twice", hidden, loss(a), made, more)
t.done()
