#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The host guard against every frame and every way of sending one past the output hook: received is
what is counted at the other end's interface. And that it never breaks what is allowed."""
import os
import re
import struct
import sys
import threading
import time

HERE = os.path.join(os.environ.get("top_srcdir", "."), "tests/integration")
sys.path.insert(0, HERE)
from guardlib import BROADCAST, Oracle, arp, ether, icmp, ip, mac, packet, tcp, udp
from nslab import BUILD, Lab, Tap, run, wait

RAW = BUILD + "/tests/integration/rawsend"
t = Tap()
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
A, B, C = (("workload:" + n.name) for n in (a, b, c))
d = lab.daemon("hostGuard: on\n", expect=[a.name, b.name])
api = d.api
oracle_b, oracle_c = Oracle(b), Oracle(c)


def mac_of(ns, dev="eth0"):
    return mac(ns.exec("cat", "/sys/class/net/%s/address" % dev).out.strip())


def link_local(ns):
    return re.search(r"inet6 (fe80\S+)/64", ns.ip("-6", "addr", "show", "dev", "eth0").out).group(1)


def guards():
    return re.findall(r"table netdev (nanoseg_\w+)", lab.host.exec("nft", "list", "tables").out)


def guard_text():
    return "".join(lab.host.exec("nft", "-s", "list", "table", "netdev", g).out for g in guards())


MA, MB, MC = mac_of(a), mac_of(b), mac_of(c)
LA = link_local(a)
EVIL = mac("02:66:66:66:66:66")

policy = {
    "apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "metadata": {"name": "guard"},
    "workloads": [{"name": a.name, "mode": "enforce", "direction": "both"}],
    "edges": [
        {"from": a.name, "to": b.name, "proto": "tcp", "port": 9001, "state": "approved"},
        {"from": a.name, "to": b.name, "proto": "udp", "port": 9002, "state": "approved"},
        {"from": a.name, "to": b.name, "proto": "icmp", "type": 8, "state": "approved"},
        {"from": a.name, "to": b.name, "proto": "icmpv6", "type": 128, "state": "approved"},
        {"from": b.name, "to": a.name, "proto": "tcp", "port": 8001, "state": "approved"},
        {"from": b.name, "to": a.name, "proto": "udp", "port": 8002, "state": "approved"},
        {"from": b.name, "to": a.name, "proto": "icmp", "type": 8, "state": "approved"},
        {"from": b.name, "to": a.name, "proto": "icmpv6", "type": 128, "state": "approved"},
    ],
}
import json
code, answer = api.apply(json.dumps(policy))
t.ok(code == 200, "the policy is applied", answer)
t.ok(wait(lambda: len(guards()) == 1, 3), "the enforced workload has a guard at the host's end of its link",
     guards(), d.text())
w = api.workload(a.name)
t.ok(wait(lambda: (api.workload(a.name)["instances"][0].get("guard") or {}).get("inForce"), 3),
     "and status says that it is in force", api.workload(a.name))
t.done()
