# SPDX-License-Identifier: GPL-2.0-or-later
"""
No connection is lost: as many new ones as two cores can make, by the client's own count. And where
some must be lost, the daemon says how many.
"""
import os
import sys
import time

from daemonlib import Lab, isolate, wait_for

PORTS = 16  # two cases make no more between two ends than are kept apart
CASES = [("udp", False, 9000, 200000), ("udp", True, 9100, 200000), ("tcp", False, 9200, 50000)]


def case(lab, number, proto, v6, first_port, count):
    ports = range(first_port, first_port + PORTS)
    answered, seconds = lab.flows(proto, 0, 1, v6, ports, count)
    # The answer to the last one may be read a moment before its event.
    wait_for(lambda: lab.connections(ports) >= answered, 3)
    # What the store has is written every few seconds.
    wait_for(lambda: min(lab.stored(ports)) >= answered, 8, 0.5)
    seen, ends, losses = lab.connections(ports), lab.stored(ports), lab.losses()
    good = answered == count and seen == answered and ends == (answered, answered) and not losses
    print("# %d answered, %d a second; %d seen, from the client's end %d, the server's %d; losses: %s" %
          ((answered, answered / seconds, seen) + ends + (losses or "none",)))
    print("%sok %d - %d new %s connections over %s: none is lost, none counted twice" %
          ("" if good else "not ", number, count, proto.upper(), "IPv6" if v6 else "IPv4"), flush=True)
    lab.forget_entries()
    return good


def overrun(number):
    """A hundredth of the usual buffer."""
    ports, count = range(9300, 9300 + PORTS), 100000
    lab = Lab(2, "eventBuffer: 262144\n")
    try:
        lab.start()
        answered, _ = lab.flows("udp", 0, 1, False, ports, count)
        time.sleep(1.5)  # the last losses are counted once a second
        lost = lab.lost_events(0), lab.lost_events(1)
        # A dump may have found the first connection of an edge whose event was lost.
        good = wait_for(lambda: all(0 <= seen - (answered - n) <= len(ports)
                                    for seen, n in zip(lab.stored(ports), lost)), 8, 0.5)
        print("# %d answered; at the client's end %d seen and %d lost, at the server's %d and %d" %
              ((answered,) + tuple(x for pair in zip(lab.stored(ports), lost) for x in pair)))
    finally:
        lab.stop()
    print("%sok %d - with a buffer far too small, what is lost is counted to the event" %
          ("" if good else "not ", number), flush=True)
    return good


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    isolate()
    print("1..%d" % (len(CASES) + 1), flush=True)
    lab = Lab(2)
    try:
        lab.start()
        results = [case(lab, i + 1, *c) for i, c in enumerate(CASES)]
    finally:
        lab.stop()
    results.append(overrun(len(CASES) + 1))
    return 0 if all(results) else 1


sys.exit(main())
