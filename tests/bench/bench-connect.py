#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP connections a second that are observed, against conntrack alone: in turns, each against the one beside it.

    top_builddir=BUILD bench-connect.py [SECONDS [BESIDE]]

Needs root. Goes on until the intervals of both ratios are on one side of 0.95, in at least 15 rounds, or 280 s are
over. Both ends of each connection are observed (with names in packets, serverNames): by an event each, and counted by
the kernel, which is what comes after five seconds of so many connections (aggregation: auto, the default). Beside
them conntrack with somebody who takes the same one event at each end and does nothing with it (tests/bench/ctread.c):
what anybody pays who is told of connections. BESIDE: with an event socket in so many idle namespaces more, past which
the kernel goes for each event.
"""
import ctypes
import os
import random
import socket
import subprocess
import sys
import time

from benchlib import ordered, text, verdict
from daemonlib import BUILD, CLONE_NEWNET, Lab, Plain, isolate, read, run, wait_for

NETLINK_NETFILTER, NFNLGRP_CONNTRACK_UPDATE = 12, 2
FLOWS, PORTS, TARGET, ROUNDS_MIN = 8000, range(9000, 9064), 0.95, 15


class Listened(Plain):
    def start(self):
        super().start()
        self.readers = []
        for name in self.names:
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.netfilter.nf_conntrack_events=1")
            for chain in "io":
                run("ip", "netns", "exec", name, "nft", "add", "rule", "inet", "t", chain, "ct", "state", "new", "ct",
                    "event", "set", "assured")
            p = subprocess.Popen([BUILD + "/tests/bench/ctread", "/run/netns/" + name], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
            assert p.stdout.readline() == "ready\n"
            self.readers.append(p)

    def stop(self):
        self.told = [int(p.communicate("", timeout=10)[0].split()[1]) for p in self.readers]
        super().stop()


def counts(lab):
    """The kernel counts there in place of telling."""
    return all(i["aggregation"] and i["aggregation"]["state"] == "on" for w in lab.get("/v1/status")["workloads"]
               if w["name"] in lab.names for i in w["instances"])


def idle_listeners(n):
    libc, sockets = ctypes.CDLL(None, use_errno=True), []
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    for _ in range(n):
        if libc.unshare(CLONE_NEWNET):
            sys.exit("no namespace: " + os.strerror(ctypes.get_errno()))
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        s.bind((0, 1 << (NFNLGRP_CONNTRACK_UPDATE - 1)))
        sockets.append(s)
    if libc.setns(home, CLONE_NEWNET):
        sys.exit("setns")
    os.close(home)
    return sockets


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
        ("counted", Lab(2, "aggregation: on\n", "c")), ("a listener", Listened(2, "", "l"))]
rates, cpus, ratios, counted = {}, {}, [], []
try:
    for name, lab in labs:
        lab.start()
    if not wait_for(lambda: counts(labs[2][1]), 30):
        sys.exit("the kernel does not count")
    beside = idle_listeners(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for name, lab in labs:
        lab.connect(PORTS, FLOWS)
    turn = 0
    order = random.Random(1)
    while time.monotonic() < limit and not (told(ratios) and told(counted)):
        # In any order, and with a rest: what a daemon still does of its turn must not always be the same other's.
        for name, lab in order.sample(labs, len(labs)):
            time.sleep(0.5)
            rate, cpu = lab.connect(PORTS, FLOWS)
            rates.setdefault(name, []).append(rate)
            cpus.setdefault(name, []).append(cpu)
        turn += 1
        ratios, counted = ([a / b for a, b in zip(rates[name], rates["alone"])] for name in ("observed", "counted"))
    say("load of the machine", "%s, %d rounds of %d connections, %d namespaces beside" % (
        read("/proc/loadavg").split()[0], turn, FLOWS, len(beside)))
    for name, _ in labs:
        say(name, text(rates[name], "a second", 0) + ", " + text(cpus[name], "us of CPU each"))
    say("observed against conntrack alone", text(ratios, "", 3) + "; " + verdict(ratios, at_least=TARGET))
    say("counted against conntrack alone", text(counted, "", 3) + "; " + verdict(counted, at_least=TARGET))
    for one, other in (("a listener", "alone"), ("observed", "a listener")):
        say("%s against %s" % (one, other), text([a / b for a, b in zip(rates[one], rates[other])], "", 3))
    for one, other in (("observed", "alone"), ("counted", "alone"), ("a listener", "alone"), ("observed", "a listener")):
        say("%s against %s, by CPU" % (one, other), text([b / a for a, b in zip(cpus[one], cpus[other])], "", 3))
finally:
    for _, lab in labs:
        lab.stop()
say("told to the listener", "%s of %d" % (labs[3][1].told, (turn + 1) * FLOWS))
