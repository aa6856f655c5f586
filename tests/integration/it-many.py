#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a start costs does not depend on how many others are enforced.

On a machine of its own. Beside some enforced namespaces, and beside many, a few more start, each with an edge
from one that stands and to another. The rulesets that are loaded meanwhile are counted: its own and those of
the two, and what is loaded for `local` alone. With --long 10, 50 and 200 stand; the time that the roles take
is told, not asserted.
"""
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from alonelib import alone

alone(os.path.abspath(__file__))
import nslab
from manylib import addr, behind, bridge, start
from nslab import Lab, Place, run, wait

LONG = "--long" in sys.argv
BESIDE = (10, 50, 200) if LONG else (8, 40)
NEW = 20 if LONG else 8
EDGES = 40  # of each that stands
# Its own and those of two others, once with its first address and once with the link-local one.
LOADS_MAX = 6
t = nslab.Tap()
lab = Lab(real_host=True)
bridge()


def loads():
    """Rulesets loaded: those that somebody needs, and those for `local` alone."""
    text = d.api.raw("GET", "/metrics")[1].decode()
    every, alone_ = (int(float(re.search(r"^nanoseg_ruleset_%s_total (\S+)" % x, text, re.M).group(1)))
                     for x in ("applies", "refreshes"))
    return every - alone_, alone_


def quiet():
    last = [None, 0]

    def look():
        now = loads()[0]
        if now != last[0]:
            last[:] = [now, time.monotonic()]
        return time.monotonic() - last[1] > 3
    return wait(look, 60, 0.5)


def spent():
    ms = {}
    for role, pid in d.all_pids().items():
        if role in ("warden", "controller"):
            with open("/proc/%d/schedstat" % pid) as f:
                ms[role] = int(f.read().split()[0]) / 1e6
    return ms


def policy(old, new):
    n = len(old)
    edges = [(old[k % n], old[(k % n + 1 + k // n % (n - 1)) % n], 1000 + k // n) for k in range(EDGES * n)]
    for k, name in enumerate(new):
        edges += [(old[k % n], name, 80), (name, old[(k + 1) % n], 81)]
    return {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "metadata": {"name": "many"},
            "workloads": [{"name": x, "mode": "enforce"} for x in old + new],
            "edges": [{"from": a, "to": b, "proto": "tcp", "port": p, "state": "approved"} for a, b, p in edges]}


def may(name, a, port):
    text = run("nsenter", "--net=/run/netns/" + name, "nft", "-s", "list", "set", "inet", d.table(), "allow_out4").out
    return "%s . tcp . %d" % (a, port) in text


d = lab.daemon(config="hostGuard: on\n", only="")
api = d.api
names, new = [], ["n%d" % k for k in range(NEW)]
for many in BESIDE:
    for k in range(len(names), many):
        names.append("m%03d" % k)
        start(k, names[-1])
    status, answer = d.api.call("POST", "/v1/policy/apply", policy(names, new))
    t.ok(status == 200 and wait(lambda: not behind(api, names), 60, 0.2) and quiet(), "%d are enforced" % many, status,
         answer, behind(api, names)[:5])
    (needed, refreshed), cpu, began = loads(), spent(), time.monotonic()
    for k, n in enumerate(new):
        start(1000 + k, n)
    # Not by status: what that costs depends on how many there are.
    ruled = all(wait(lambda: may(n, addr((k + 1) % many), 81) and may(names[k % many], addr(1000 + k), 80), 60, 0.05)
                for k, n in enumerate(new))
    took = time.monotonic() - began
    time.sleep(2)
    now, each = loads(), {r: (v - cpu[r]) / NEW for r, v in spent().items()}
    cost, seconds = (now[0] - needed) / NEW, time.monotonic() - began
    t.note("beside %d: %.1f rulesets loaded for a start, %d in %.1f s for `local` alone; %s ms; all %d ruled in %.2f s" % (
        many, cost, now[1] - refreshed, seconds, ", ".join("%s %.1f" % x for x in sorted(each.items())), NEW, took))
    t.ok(ruled, "beside %d, %d start and have their rules, and their peers have theirs" % (many, NEW), d.text()[-2000:])
    t.ok(cost <= LOADS_MAX, "a start loads rulesets for itself and its peers, and for nobody else", cost)
    t.ok(now[1] - refreshed <= seconds / 5 + 1, "what can wait is one ruleset every 5 s", now[1] - refreshed, seconds)
    if many != BESIDE[-1]:
        for n in new:
            run("ip", "netns", "del", n)
        wait(lambda: not any(w["instances"] for w in d.api.get("/v1/status")["workloads"] if w["name"] in new), 20, 0.2)

# What started since is refused without an answer where `local` lacks it: once, then it is there.
client, server = Place("/run/netns/" + names[many // 2]), Place("/run/netns/" + new[0])
started = time.monotonic()
told = wait(lambda: client.tcp(addr(1000), 4444, 3) == "refused", 10)
t.ok(told, "a connection that is not allowed is refused with an answer", client.tcp(addr(1000), 4444, 3))
t.note("after %.2f s" % (time.monotonic() - started))
client.close()
server.close()
t.done()
