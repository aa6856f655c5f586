# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host guard costs: the same enforced workload with and without one, taken in turns.

    top_srcdir=SOURCE top_builddir=BUILD bench-guard.py [ELEMENTS]...

Needs root. A line for each number of elements in the policy (10 and 10000 by default): datagrams a
second on a known flow, new TCP connections a second, bytes a second of one connection, each as the
ratio of the medians with a guard to those without.
"""
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab

ROUNDS, SECONDS, FLOWS = 5, 1.0, 20000


def policy(a, b, n):
    edges = [{"from": a, "to": b, "proto": "udp", "port": 9002, "state": "approved"},
             {"from": a, "to": b, "proto": "tcp", "port": "9001-9100", "state": "approved"}]
    edges += [{"from": a, "to": {"cidr": "198.51.%d.%d/32" % (k >> 8, k & 255)}, "proto": "tcp", "port": 443,
               "state": "approved"} for k in range(n)]
    return json.dumps({"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "metadata": {"name": "bench"},
                       "workloads": [{"name": a, "mode": "enforce", "direction": "both"}], "edges": edges})


def datagrams(a, b):
    """From the sender's side: the hook at the other end runs before send() returns."""
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.connect((b.v4, 9002))
        end, n, data = time.monotonic() + SECONDS, 0, b"x" * 64
        while time.monotonic() < end:
            for _ in range(200):
                u.send(data)
            n += 200
    return n / SECONDS


def stream(a, b):
    with a.connect(b.v4, 9099) as s:
        end, n, data = time.monotonic() + SECONDS, 0, b"x" * 65536
        while time.monotonic() < end:
            n += s.send(data)
    return n / SECONDS


def connections(a, b):
    r = subprocess.run([BUILD + "/tests/bench/flowgen", "tcp", "/run/netns/" + a.name, "/run/netns/" + b.name, b.v4,
                        "9001", "64", str(FLOWS)], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return 1000 * float(r[1]) / float(r[3])


def sink(lab, place):
    u = place.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("0.0.0.0", 9002))
    s = place.listen(9099, "0.0.0.0")
    child = os.fork()
    if child == 0:
        while True:
            c, _ = s.accept()
            while c.recv(1 << 20):
                pass
    lab.later(os.kill, child, signal.SIGKILL)
    return u


def main(counts):
    lab = Lab()
    a, b = lab.ns("a"), lab.ns("b")
    keep = sink(lab, b)
    for n in counts:
        figures = {}
        for i in range(2 * ROUNDS):
            guard = "on" if i % 2 else "off"
            d = lab.daemon("hostGuard: %s\n" % guard, expect=[a.name, b.name]) if i < 2 else lab.daemons[i % 2 - 2]
            if i >= 2:
                d.start(expect=[a.name, b.name])
            code, answer = d.api.apply(policy(a.name, b.name, n))
            if code != 200:
                raise RuntimeError(answer)
            d.api.settle(10)
            there = "netdev" in lab.host.exec("nft", "list", "tables").out
            if there != (guard == "on"):
                raise RuntimeError("guard %s, but %s" % (guard, there))
            for name, fn in (("datagrams", datagrams), ("stream", stream), ("connections", connections)):
                figures.setdefault((name, guard), []).append(fn(a, b))
            d.stop()
            d.cleanup()
        for name in ("datagrams", "connections", "stream"):
            on, off = (statistics.median(figures[name, g]) for g in ("on", "off"))
            print("%5d elements, %-11s %.2f of %.0f a second" % (n, name, on / off, off), flush=True)
    keep.close()


main([int(x) for x in sys.argv[1:]] or [10, 10000])
