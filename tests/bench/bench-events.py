#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller's CPU for an event, received and credited to one of 100,000 known edges, at 1,000, 10,000 and
100,000 connections a second; beside it what the kernel alone asks for one (tests/bench/ctread.c).

    top_builddir=BUILD bench-events.py [ROUNDS]

Needs root; 15 interleaved rounds, ends after 280 s with as many as there were. Medians with their 95% interval.
The events are made through ctnetlink (tests/bench/ctgen.c): the machine cannot make 100,000 connections a second
by packets and measure besides. bench-observe.py measures with packets, and compares with `conntrack -E`, which
looks up the program behind each event that ctnetlink has made, and so cannot be compared on these. The namespaces
are watched from their beginning, as there.
"""
import os
import subprocess
import sys
import time

from benchlib import text, verdict
from daemonlib import BUILD, Lab, cpu_ns, isolate, known_edges, read, run, settled, wait_for

MAX_EDGES = 100000
KNOWN = MAX_EDGES - 400
RATES = ((1000, 2000), (10000, 15000), (100000, 200000))
PORTS = range(9000, 9064)
TIME_LIMIT_S = 280


def say(name, what):
    print("%-30s %s" % (name, what), flush=True)


def connections(lab):
    return sum(e["connections"] for e in lab.get("/v1/edges?workload=" + lab.names[0])
               if e["proto"] == "udp" and e.get("port") in PORTS)


def make(ns, rate, count):
    """(answered, seconds)"""
    out = run(BUILD + "/tests/bench/ctgen", "/run/netns/" + ns, "10.98.0.1", "10.98.0.2", str(PORTS[0]),
              str(len(PORTS)), str(count), str(rate), timeout=60).split()
    return int(out[1]), int(out[3]) / 1000.0


def bare(lab, rate, count):
    """us that receiving an event takes and nothing else, in a namespace nobody observes."""
    with subprocess.Popen([BUILD + "/tests/bench/ctread", "/run/netns/" + lab.hub], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as p:
        p.stdout.readline()
        answered, _ = make(lab.hub, rate, count)
        time.sleep(0.1)
        out = p.communicate("", timeout=10)[0].split()
    run("ip", "netns", "exec", lab.hub, "conntrack", "-F")
    assert int(out[1]) == answered, out
    return int(out[3]) / 1e3 / answered


def one(lab, rate, count):
    """(events a second, us an event of the controller, all counted)"""
    pid, seen = lab.pids()["controller"], connections(lab)
    before, t0 = settled(pid), time.monotonic()
    answered, seconds = make(lab.names[0], rate, count)
    cpu = settled(pid) - before - rest * (time.monotonic() - t0) * 1e9
    exact = wait_for(lambda: connections(lab) - seen == answered, 5)
    lab.forget_entries()
    return answered / seconds, cpu / 1e3 / answered, bool(exact)


if os.geteuid() != 0:
    sys.exit("needs root")
isolate()
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
began = time.monotonic()
lab, got, rest = Lab(2, "maxEdges: %d\naggregation: off\n" % MAX_EDGES, "e"), {}, 0.0
try:
    lab.start(namespaces_first=False)
    known_edges(lab, KNOWN, PORTS)
    for rate, count in RATES:
        one(lab, rate, count)  # its edges are known from here on
    pid = lab.pids()["controller"]
    before, t0 = settled(pid), time.monotonic()
    time.sleep(3)
    rest = (cpu_ns(pid) - before) / (time.monotonic() - t0) / 1e9
    done = 0
    while done < rounds and time.monotonic() - began < TIME_LIMIT_S:
        for rate, count in RATES:
            got.setdefault(rate, []).append(one(lab, rate, count) + (bare(lab, rate, count),))
        done += 1
    say("load of the machine", "%s, %d rounds, events made through ctnetlink" % (read("/proc/loadavg").split()[0], done))
    say("controller at rest", "%.2f ms a second, taken off" % (rest * 1e3))
    for rate, _ in RATES:
        g = got[rate]
        say("%d/s: reached" % rate, text([x[0] for x in g], "a second", 0))
        say("%d/s: controller" % rate, text([x[1] for x in g], "us an event") +
            ("; " + verdict([x[1] for x in g], at_most=1.5) if rate == 100000 else ""))
        say("%d/s: receiving alone" % rate, text([x[3] for x in g], "us an event") +
            "; the controller over it " + text([x[1] - x[3] for x in g], "us"))
        say("%d/s: exact" % rate, "%d of %d runs" % (sum(x[2] for x in g), len(g)))
    say("losses", ", ".join("%s %d" % kv for kv in lab.losses().items()) or "none counted")
finally:
    lab.stop()
