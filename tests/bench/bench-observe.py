# SPDX-License-Identifier: GPL-2.0-or-later
"""What observing costs, by events and counted by the kernel, side by side in one run.

    top_builddir=BUILD bench-observe.py [ROUNDS [TCP_ROUNDS]]

Needs root; 15 rounds by events by default, or as many as 15 minutes hold, and none of TCP (bench-connect.py). CPU of
the controller for each event, received and
credited to one of 100,000 known edges, at 1,000 and 10,000 connections a second and at as many as the
machine makes, with `conntrack -E` beside it on the same events; the same traffic with the kernel
counting, which is what `aggregation: auto` comes to at any of these rates. The namespaces are watched from their beginning: in those that were there before, more is asked for the
first three minutes. Then TCP connections a second with either, against conntrack alone, and the CPU that client,
server and the kernel between them use for one, which says more on a machine that is busy with others. Rounds are interleaved;
medians with their 95% interval (order statistics).
"""
import os
import sys
import time

from benchlib import verdict
from daemonlib import Conntrack, Lab, Plain, cpu_ns, isolate, known_edges, read, settled, wait_for

MAX_EDGES = 100000
KNOWN = MAX_EDGES - 400  # the table has others besides
SETTLE_S, TIME_LIMIT_S = 1.2, 900
GIVEN_BACK_S = 5.2  # the memory of the answer before: it is no part of what an event costs
RATES = ((1000, 5000), (10000, 10000), (None, 40000))
TCP_FLOWS = 8000
PORTS = range(9000, 9064)


def say(name, text):
    print("%-34s %s" % (name, text), flush=True)


def median(values, unit, scale=1.0):
    v = sorted(x * scale for x in values)
    n = len(v)
    # The k-th smallest and largest enclose the median with 95% (binomial).
    k = max(0, int(n / 2 - 0.98 * n ** 0.5))
    return "%.2f (%.2f-%.2f) %s" % ((v[n // 2] + v[(n - 1) // 2]) / 2, v[k], v[n - 1 - k], unit)


def counting(lab):
    for w in lab.get("/v1/status")["workloads"]:
        for i in w["instances"]:
            if (i["aggregation"] or {}).get("state") != "on":
                return False
    return True


def connections(lab):
    """Of the traffic; without the known edges, which take long to tell."""
    edges = lab.get("/v1/edges?workload=" + lab.names[0])
    return sum(e["connections"] for e in edges if e["proto"] == "udp" and e.get("port") in PORTS)


def observe(lab, rate, count, beside):
    """(connections a second, us of the controller for each event, us of conntrack -E, both exact)"""
    pid = lab.pids()["controller"]
    seen = connections(lab)
    theirs = Conntrack(lab.names[0], "udp", False, 32 << 20) if beside else None
    time.sleep(GIVEN_BACK_S)
    before = settled(pid)
    answered, seconds = lab.flows("udp", 0, 1, False, PORTS, count, rate)
    time.sleep(SETTLE_S)
    cpu = cpu_ns(pid) - before
    lines, their_cpu = theirs.stop(PORTS) if beside else (1, 0)
    exact = wait_for(lambda: connections(lab) - seen == answered, 5)
    lab.forget_entries()
    return answered / seconds, cpu / 2e3 / answered, their_cpu * 1e6 / max(lines, 1), bool(exact)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    tcp_rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if os.geteuid() != 0:
        sys.exit("needs root")
    isolate()
    by_events = Lab(2, "maxEdges: %d\naggregation: off\n" % MAX_EDGES, "e")
    by_kernel = Lab(2, "maxEdges: %d\naggregation: on\n" % MAX_EDGES, "k")
    plain = Plain(2, "", "p")
    got, tcp = {}, {}
    try:
        for lab in (by_events, by_kernel):
            lab.start(namespaces_first=False)
        plain.start()
        for lab in (by_events, by_kernel):
            known_edges(lab, KNOWN, PORTS)
        if not wait_for(lambda: counting(by_kernel), 30):
            sys.exit("the kernel does not count: " + by_kernel.log_text()[-1000:])
        idle = {}
        for name, lab in (("events", by_events), ("kernel", by_kernel)):
            before, t0 = cpu_ns(lab.pids()["controller"]), time.monotonic()
            time.sleep(3)
            idle[name] = (cpu_ns(lab.pids()["controller"]) - before) / (time.monotonic() - t0) / 1e6
        say("controller at rest", "%.2f ms a second by events, %.2f counted by the kernel" %
            (idle["events"], idle["kernel"]))
        began, done = time.monotonic(), 0
        while done < rounds and time.monotonic() - began < TIME_LIMIT_S:
            done += 1
            for rate, count in RATES:
                got.setdefault((rate, "events"), []).append(observe(by_events, rate, count, True))
                got.setdefault((rate, "kernel"), []).append(observe(by_kernel, rate, count, False))
        turns = [("plain", plain), ("events", by_events), ("kernel", by_kernel)]
        for r in range(tcp_rounds):
            for name, lab in turns[r % 3:] + turns[:r % 3]:
                tcp.setdefault(name, []).append(lab.connect(PORTS, TCP_FLOWS))
        say("load of the machine", read("/proc/loadavg").split()[0] + ", %d rounds" % done)
        for rate, _ in RATES if done else ():
            e, k = got[rate, "events"], got[rate, "kernel"]
            what = "%d/s" % rate if rate else "as fast as it goes"
            say(what + ": reached", median([x[0] for x in e], "a second by events, ") +
                median([x[0] for x in k], "counted by the kernel"))
            say(what + ": controller", median([x[1] for x in e], "us an event"))
            say(what + ": conntrack -E", median([x[2] for x in e], "us an event"))
            say(what + ": ratio", median([x[1] / max(x[2], 1e-9) for x in e], "of conntrack -E"))
            say(what + ": counted by the kernel", median([x[1] for x in k], "us of the controller an event"))
            ratio = [x[1] / max(y[2], 1e-9) for x, y in zip(k, e)]
            say(what + ": counted, ratio", median(ratio, "of conntrack -E; ") + verdict(ratio, at_most=0.333))
            say(what + ": exact", "%d of %d runs by events, %d of %d counted" %
                (sum(x[3] for x in e), len(e), sum(x[3] for x in k), len(k)))
        for name, what in (("events", "events"), ("kernel", "counted by the kernel")):
            pairs = list(zip(tcp.get(name, []), tcp.get("plain", [])))
            if not pairs:
                break
            say("TCP connections, " + what, median([x[0] for x in tcp[name]], "a second, ") +
                median([a[0] / b[0] for a, b in pairs], "of conntrack alone"))
            say("CPU of one, " + what, median([x[1] for x in tcp[name]], "us, ") +
                median([b[1] / a[1] for a, b in pairs], "(conntrack alone by this)"))
        for name, lab in (("events", by_events), ("counted", by_kernel)):
            say("losses, " + name, ", ".join("%s %d" % kv for kv in lab.losses().items()) or "none counted")
    finally:
        for lab in (by_events, by_kernel, plain):
            lab.stop()


main()
