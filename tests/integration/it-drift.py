#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules that somebody changes: refused by the kernel where the table has an owner; noticed and repaired where
it has none, and what is not ours is never touched. CHANGES says how many changes are measured."""
import json
import os
import re
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Lab, Tap, table_text, wait

CHANGES = int(os.environ.get("CHANGES", "100"))
t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
b.serve(7001)
b.serve(7002)
POLICY = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
          "workloads": [{"name": b.name, "mode": "enforce", "direction": "ingress"}],
          "edges": [{"from": a.name, "to": b.name, "proto": "tcp", "port": 7001, "state": "approved"}]}
# What an engine and an operator have in a namespace: never ours to touch.
FOREIGN = """
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER_OUTPUT - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:40001
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -s 198.51.100.7/32 -j DROP
COMMIT
"""


def foreign():
    return re.sub(r"#.*\n|\[.*\]|:.*\n", "", b.exec("iptables-save").out)


def put_foreign():
    path = os.path.join(lab.dir, "foreign")
    with open(path, "w") as f:
        f.write(FOREIGN)
    b.exec("iptables-restore", path)


def holds():
    return a.tcp(b.v4, 7001) == "open" and a.tcp(b.v4, 7002, 0.3) != "open" and a.tcp(b.v6, 7002, 0.3) != "open"


def what_firewalls_do(name):
    """By command, what each does to rules that are there."""
    return {
        "nft flush ruleset": ("nft", "flush", "ruleset"),
        "iptables -F": ("sh", "-c", "iptables -F; iptables -X; iptables -t nat -F; ip6tables -F"),
        "a reload of firewalld": ("nft", "add table inet firewalld; delete table inet firewalld; add table inet firewalld; "
                                  "add chain inet firewalld f { type filter hook input priority filter + 10; policy accept; }; "
                                  "add rule inet firewalld f ct state established accept"),
        "a reload of ufw": ("sh", "-c", "iptables-restore -n <<E\n*filter\n:ufw-before-input - [0:0]\n:INPUT ACCEPT [0:0]\n"
                            "-F\n-A INPUT -j ufw-before-input\nCOMMIT\nE\n"),
        "a script that restores its own ruleset": ("nft", "flush ruleset; add table inet mine; "
                                                   "add chain inet mine i { type filter hook input priority 0; policy accept; }"),
        "delete table": ("nft", "delete", "table", "inet", name),
        "flush table": ("nft", "flush", "table", "inet", name),
        "a dormant table": ("nft", "add table inet %s { flags dormant; }" % name),
        "an accept at the front": ("nft", "insert", "rule", "inet", name, "input", "accept"),
        "a policy of accept": ("nft", "chain inet %s input { policy accept; }" % name),
        "an element more": ("nft", "add", "element", "inet", name, "allow_in4", "{ %s . tcp . 7002 }" % a.v4),
        "an element less": ("nft", "delete", "element", "inet", name, "allow_in4", "{ %s . tcp . 7001 }" % a.v4),
        "a chain flushed": ("nft", "flush", "chain", "inet", name, "input"),
    }


def drift(d):
    return d.api.workload(b.name)["drift"]


# With an owner.
d = lab.daemon(expect=[a.name, b.name])
d.api.apply(json.dumps(POLICY))
text = table_text(b, d.table())
for what, cmd in what_firewalls_do(d.table()).items():
    put_foreign()
    r = b.exec(*cmd, check=False)
    t.ok(holds() and table_text(b, d.table()) == text, "owned: %s changes nothing" % what, r.err)
s = d.api.workload(b.name)
t.ok(s["drift"] == 0 and s["enforceable"] == "full", "owned: no drift", s)
for cmd in (("nft", "flush", "ruleset"), ("sh", "-c", "iptables -F; iptables -t nat -F")):
    lab.host.exec(*cmd, check=False)
    t.ok(holds(), "%s at the host changes nothing in a container" % " ".join(cmd))
d.stop()
d.cleanup()

# Without one, as an older kernel has it.
d = lab.daemon(start=False)
d.argv = lambda *more, argv=d.argv: argv("--without-owner", *more)
d.start(expect=[a.name, b.name])
d.api.apply(json.dumps(POLICY))
text = table_text(b, d.table())
s = d.api.workload(b.name)
t.ok(text and "owner" not in b.exec("nft", "list", "table", "inet", d.table()).out.splitlines()[1] and
     s["enforceable"] == "partial" and s["why"], "without: the grade says so", s)
t.note("why: %s" % s["why"])


def repaired():
    return table_text(b, d.table()) == text


for what, cmd in what_firewalls_do(d.table()).items():
    put_foreign()
    before, n = foreign(), drift(d)
    r = b.exec(*cmd, check=False)
    ours = "reload" not in what and "iptables" not in what
    good = wait(repaired, 3) and (not ours or wait(lambda: drift(d) > n, 2))
    t.ok(good and holds(), "without: %s is repaired" % what, r.err, drift(d), n, table_text(b, d.table()))
    if "flush ruleset" not in " ".join(cmd) and "iptables" not in " ".join(cmd):
        t.ok(foreign() == before, "and what is not ours is as it was", before, foreign())
    if not ours:
        t.ok(drift(d) == n, "that was none of ours: no drift is counted", n, drift(d))
t.ok(d.says(r"its rules were changed from outside, \d+ times, last by nft \(process \d+\): repaired"),
     "the log says who", d.text())
status, shown = d.api.raw("GET", "/metrics")
m = re.search(rb"nanoseg_ruleset_drift_total (\d+)", shown)
t.ok(m and int(m.group(1)) >= drift(d) > 0, "it is in the metrics", m)
log = "".join(open(os.path.join(d.state, "audit", f)).read() for f in sorted(os.listdir(d.state + "/audit")) if f.endswith(".jsonl"))
t.ok('"drift"' in log and '"repaired"' in log, "and in the audit log")

# How soon: measured in the kernel's own order of changes, by a monitor of the namespace.
watch = b.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
watch.bind((0, 1 << 6))
watch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
figures, missed = [], 0
for k in range(CHANGES):
    watch.setblocking(False)
    try:
        while True:
            watch.recv(65536)
    except BlockingIOError:
        pass
    watch.settimeout(3)
    n = drift(d)
    what = ("flush chain inet %s input" if k % 2 else "delete table inet %s") % d.table()
    done = threading.Thread(target=b.exec, args=("nft", what))
    done.start()
    gens = []
    try:
        while len(gens) < 2:
            data = watch.recv(65536)
            at = time.monotonic()
            while len(data) >= 16:
                length, kind = struct.unpack("=IH", data[:6])
                if kind & 0xff == 15 and kind >> 8 == 10:  # NFT_MSG_NEWGEN
                    gens.append(at)
                data = data[(length + 3) & ~3:]
        figures.append((gens[1] - gens[0]) * 1000)
    except OSError:
        missed += 1
    done.join()
    wait(lambda: drift(d) > n, 2)
figures.sort()
if figures:
    t.note("%d changes, from the change to the repair in the kernel, ms: median %.1f, p99 %.1f, max %.1f" % (
        len(figures), figures[len(figures) // 2], figures[min(len(figures) - 1, len(figures) * 99 // 100)], figures[-1]))
t.ok(not missed and wait(repaired, 3), "%d changes are repaired" % CHANGES, missed)
t.ok(figures and figures[len(figures) // 2] < 100, "soon", figures)

# Somebody inside who never stops: the daemon has time for others, and it ends as it should.
stop = []


def hammer():
    while not stop:
        b.exec("nft", "add table inet noise; delete table inet noise; flush chain inet %s input" % d.table(), check=False)


threads = [threading.Thread(target=hammer) for _ in range(2)]
for x in threads:
    x.start()
slowest, end = 0.0, time.monotonic() + 2
while time.monotonic() < end:
    asked = time.monotonic()
    d.api.get("/v1/status")
    slowest = max(slowest, time.monotonic() - asked)
stop.append(True)
for x in threads:
    x.join()
t.ok(slowest < 2 and wait(repaired, 5) and holds(), "one who changes them all the time", slowest)
d.stop()
d.cleanup()
t.ok(d.table() not in b.exec("nft", "list", "tables").out, "and a cleanup leaves nothing")
t.done()
