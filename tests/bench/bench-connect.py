#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP connections a second that are observed, against conntrack alone: in turns, each against the one beside it.

    top_builddir=BUILD bench-connect.py [SECONDS]

Needs root. Goes on until the interval of the ratio is on one side of 0.95, in at least 15 rounds, or 280 s are
over. Observed as it comes (with names in packets, serverNames), and without looking for names, so that what that
costs can be told.
"""
import os
import random
import sys
import time

from benchlib import ordered, text, verdict
from daemonlib import Lab, Plain, isolate, read

FLOWS, PORTS, TARGET, ROUNDS_MIN = 8000, range(9000, 9064), 0.95, 15


def say(name, what):
    print("%-36s %s" % (name, what), flush=True)


def told(ratios):
    if len(ratios) < ROUNDS_MIN:
        return False
    _, low, high = ordered(ratios)
    return low >= TARGET or high < TARGET


if os.geteuid() != 0:
    sys.exit("needs root")
isolate()
limit = time.monotonic() + (float(sys.argv[1]) if len(sys.argv) > 1 else 280)
labs = [("alone", Plain(2, "", "p")), ("observed", Lab(2, "aggregation: off\n", "e")),
        ("without names", Lab(2, "aggregation: off\nserverNames: false\n", "n"))]
rates, cpus, ratios = {}, {}, []
try:
    for name, lab in labs:
        lab.start()
    for name, lab in labs:
        lab.connect(PORTS, FLOWS)
    turn = 0
    order = random.Random(1)
    while time.monotonic() < limit and not told(ratios):
        # In any order, and with a rest: what a daemon still does of its turn must not always be the same other's.
        for name, lab in order.sample(labs, len(labs)):
            time.sleep(0.5)
            rate, cpu = lab.connect(PORTS, FLOWS)
            rates.setdefault(name, []).append(rate)
            cpus.setdefault(name, []).append(cpu)
        turn += 1
        ratios = [a / b for a, b in zip(rates["observed"], rates["alone"])]
    say("load of the machine", "%s, %d rounds of %d connections" % (read("/proc/loadavg").split()[0], turn, FLOWS))
    for name, _ in labs:
        say(name, text(rates[name], "a second", 0) + ", " + text(cpus[name], "us of CPU each"))
    say("observed against conntrack alone", text(ratios, "", 3) + "; " + verdict(ratios, at_least=TARGET))
    say("the same by CPU", text([b / a for a, b in zip(cpus["observed"], cpus["alone"])], "", 3))
    say("with names against without", text([a / b for a, b in zip(rates["observed"], rates["without names"])], "", 3))
    say("the same by CPU", text([b / a for a, b in zip(cpus["observed"], cpus["without names"])], "", 3))
finally:
    for _, lab in labs:
        lab.stop()
