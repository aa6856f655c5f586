#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Host guards without an owner, two hundred of them: of one that is changed only that one is looked at; after
`nft flush ruleset` all are, and others do not wait for the last one. On a machine of its own."""
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from alonelib import alone

alone(os.path.abspath(__file__))
import nslab
from manylib import behind, bridge, start
from nftlink import NETDEV, Changer, Monitor, tables
from nslab import Lab, Place, run, wait

MANY = 200
t = nslab.Tap()
lab = Lab(real_host=True)
bridge()
names = ["m%03d" % k for k in range(MANY)]
for k, name in enumerate(names):
    start(k, name)
d = lab.daemon("hostGuard: on\n", only="", start=False)
d.argv = lambda *more, argv=d.argv: argv("--without-owner", *more)
d.start()
api, here = d.api, Place("/proc/self/ns/net")


def guards():
    return tables(here, NETDEV)


def text(guard):
    return run("nft", "-s", "list", "table", "netdev", guard, check=False).out


def drift():
    return int(float(re.search(rb"^nanoseg_ruleset_drift_total (\S+)", api.raw("GET", "/metrics")[1], re.M).group(1)))


def spent():
    """The warden's time on a processor, ms."""
    with open("/proc/%d/schedstat" % d.roles()["warden"]) as f:
        return int(f.read().split()[0]) / 1e6


status, answer = api.call("POST", "/v1/policy/apply", json.dumps({
    "apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "edges": [],
    "workloads": [{"name": x, "mode": "enforce", "direction": "both"} for x in names]}))
t.ok(status == 200 and wait(lambda: not behind(api, names), 90, 0.2) and len(guards()) == MANY,
     "%d namespaces have a guard" % MANY, status, answer, behind(api, names)[:5], len(guards()))
first = guards()[0]
was, watch, changer = text(first), Monitor(here), Changer()

# One by one.
figures, used = [], []
for k in range(10):
    watch.forget()
    n, before = drift(), spent()
    changer.change("flush chain netdev %s spoofed" % guards()[k * MANY // 10])
    gens = watch.change_and_repair()
    t.ok(len(gens) == 2 and wait(lambda: drift() > n, 5), "a guard that is changed is repaired", gens, drift())
    figures.append((gens[-1] - gens[0]) * 1000 if gens else 0)
    used.append(spent() - before)
changer.end()
one = sorted(used)[len(used) // 2]
t.note("one of %d, from the change to the repair: median %.1f, max %.1f ms; the warden's own time %.1f ms at the median" % (
    MANY, sorted(figures)[len(figures) // 2], max(figures), one))

# All at once, and meanwhile somebody wants something else.
client = names[MANY // 2]
n, before, began = drift(), spent(), time.monotonic()
flush = subprocess.Popen(["nft", "flush", "ruleset"], stdin=subprocess.DEVNULL)
t.ok(wait(lambda: len(guards()) < MANY // 2, 10, 0.001) and wait(lambda: n < drift(), 10, 0.001), "a flush is found")
asked = time.monotonic()
api.post("/v1/mode", {"mode": "enforce", "direction": "ingress", "workloads": [client], "reason": "tested"})
answered = wait(lambda: not behind(api, [client]), 60, 0.005)
waited, missing = time.monotonic() - asked, MANY - len(guards())
flush.wait()
# One that is loaded for another reason meanwhile is not told.
t.ok(wait(lambda: len(guards()) == MANY and drift() - n >= MANY * 9 // 10, 120, 0.05),
     "after a flush each guard is repaired, and told", len(guards()), drift() - n)
every, took = spent() - before, time.monotonic() - began
t.note("all %d, after a flush: %.1f s; the warden's own time %.0f ms; a change of rules asked for meanwhile was in "
       "force after %.0f ms, %d were missing; %d repairs" % (MANY, took, every, waited * 1000, missing, drift() - n))
t.ok(answered and missing > MANY // 2, "a request does not wait for the last guard", answered, missing)
t.ok(one < every / 10, "of one that is named the others are not looked at", one, every)
t.ok(wait(lambda: text(first) == was, 5), "and each is as it was", was, text(first))
t.ok(not behind(api, names), "nobody's rules are behind", behind(api, names)[:5])
t.done()
