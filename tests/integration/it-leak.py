#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""No denied packet passes and no allowed one is lost, while the policy is replaced again and again
and while every role is killed again and again. The account is flood.c's, at sender and receiver.

NANOSEG_CHANGES, NANOSEG_FOREIGN_CHANGES and NANOSEG_KILLS say how often (kills: of each role)."""
import http.client
import json
import mmap
import os
import random
import re
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nftlink import Link, add_table, delete_table
from nslab import BUILD, Lab, Tap, roles_of, table_text, wait

CHANGES = int(os.environ.get("NANOSEG_CHANGES", "100"))
FOREIGN_CHANGES = int(os.environ.get("NANOSEG_FOREIGN_CHANGES", "40"))
KILLS = int(os.environ.get("NANOSEG_KILLS", "2"))
TICK_US = os.environ.get("NANOSEG_TICK_US", "2000")
ROLES = ["supervisor", "keeper", "warden", "controller", "capture", "relay", "discovery", "herald", "probe"]
seed = int(os.environ.get("NANOSEG_SEED", "0")) or int(time.time())
dice = random.Random(seed)

t = Tap()
t.note("seed %d" % seed)
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
# The herald runs where alerts have a way out.
d = lab.daemon('alerts: {syslog: {address: "udp:127.0.0.1:9514"}}\n', expect=[a.name, b.name, c.name])
api = d.api
net4, net6 = a.v4.rsplit(".", 1)[0] + ".0/24", a.v6.rsplit("::", 1)[0] + "::/64"


def edge(frm, to, proto, port, state="approved"):
    return {"from": frm, "to": to, "proto": proto, "port": port, "state": state}


def both(frm, to, port, state="approved"):
    return [edge(frm, to, p, port, state) for p in ("tcp", "udp")]


def from_nets(port):
    """What anybody near may do at B, and A everywhere near."""
    return [e for n in (net4, net6) for e in
            both({"cidr": n}, b.name, port) + both(a.name, {"cidr": n}, port)]


NEVER = both(a.name, b.name, 8001, "denied")
# Each of them allows and denies the same of what the flood sends, by other elements.
POLICIES = {
    "exact": both(a.name, b.name, 8000) + NEVER,
    "more exact": both(a.name, b.name, 8000) + both(b.name, a.name, 8000) +
    [edge(a.name, b.name, "tcp", p) for p in range(10000, 10040)] + NEVER,
    "many exact": both(a.name, b.name, 8000) +
    [edge(a.name, b.name, "udp", p) for p in range(10000, 10700)] + NEVER,
    "range": both(a.name, b.name, "7990-8000") + NEVER,
    "other range": both(a.name, b.name, "7000-8000") + both(a.name, b.name, "8002-8999") + NEVER,
    "cut range": both(a.name, b.name, "7000-8999") + both(a.name, b.name, 7500, "denied") + NEVER,
    "denied range": both(a.name, b.name, "7000-8999") + both(a.name, b.name, "8001-8100", "denied"),
    "network": from_nets(8000) + both(c.name, b.name, 8000, "denied") + NEVER,
    "network, denied range": from_nets(8000) + both(c.name, b.name, "7000-8500", "denied") + NEVER,
    "network range": from_nets("7900-8000") + both(c.name, b.name, "8000-8500", "denied") +
    both(a.name, b.name, "8001-8002", "denied"),
}


def document(name, direction="both"):
    return {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "edges": POLICIES[name],
            "workloads": [{"name": a.name, "mode": "enforce"},
                          {"name": b.name, "mode": "enforce", "direction": direction},
                          {"name": c.name, "mode": "observe"}]}


class Flood:
    def __init__(self):
        self.log = open(lab.dir + "/flood", "w+")
        self.p = subprocess.Popen(
            [BUILD + "/tests/integration/flood"] + ["/run/netns/" + n.name for n in (a, b, c)] +
            [TICK_US, "10", b.v4, c.v4, b.v6, c.v6], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log, text=True)

    def account(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def end(self):
        out = self.p.communicate(timeout=60)[0]
        self.log.seek(0)
        self.said = self.log.read().splitlines()
        return json.loads(out.splitlines()[-1])


class History:
    """When what began, to tell which change a lost packet belongs to."""

    def __init__(self):
        self.events = []

    def add(self, what):
        self.events.append((time.monotonic(), what))

    def near(self, line):
        at = float(line.split()[0])
        return "%s; before it: %s" % (line, ["%s %+.4f" % (w, s - at) for s, w in self.events
                                             if s <= at][-3:])


history = History()


def loads():
    text = api.raw("GET", "/metrics")[1].decode()
    return int(float(re.search(r"^nanoseg_ruleset_applies_total (\S+)", text, re.M).group(1)))


last = ["exact"]


def change():
    """One of what a person does: a policy, a decision, a direction."""
    kind = dice.random()
    if kind < 0.7:
        last[0] = dice.choice([p for p in POLICIES if p != last[0]])
        direction = dice.choice(["both", "ingress"])
        history.add("%s, %s" % (last[0], direction))
        api.post("/v1/policy/apply", document(last[0], direction))
    elif kind < 0.9:
        other = dice.choice(api.edges(state="approved"))
        # What the flood needs is never taken.
        if other["to"].startswith("cidr:") or str(other.get("port", "8000-")) == "8000" or "ports" in other:
            return change()
        history.add("deny and approve %s" % other.get("port"))
        api.deny(other["id"])
        api.approve(other["id"])
    else:
        direction = dice.choice(["both", "ingress"])
        history.add("mode " + direction)
        api.post("/v1/mode", {"mode": "enforce", "workloads": [b.name], "direction": direction,
                              "reason": "tested"})


def verdict(flood, what):
    r = flood.end()
    t.note("%s: %s" % (what, json.dumps(r)))
    t.ok(r["deniedDatagrams"] > 300 and r["deniedSctp"] > 30 and r["calls"] > 30 and r["datagrams"] > 5 and r["echoes"] > 50 and
         r["answers"] > 50, "%s: the flood flowed" % what, r)
    lost = [history.near(x) for x in flood.said if " lost:" in x]
    leaked = [history.near(x) for x in flood.said if " leaked:" in x]
    t.ok(r["leaked"] == 0, "%s: none of %d denied packets and connections passed" % (
        what, r["deniedDatagrams"] + r["deniedConnects"] + r["deniedSctp"]), r["leaked"], *leaked)
    t.ok(r["lost"] == 0, "%s: none of %d allowed ones was lost" % (
        what, r["calls"] + r["datagrams"] + r["echoes"] + r["answers"]), r["lost"], *lost)


api.apply(document("exact"))
t.ok(wait(lambda: not api.behind(), 10), "enforced")
flood = Flood()
time.sleep(0.5)
t.ok(flood.account()["calls"] > 0, "the flood flows")
n, began = loads(), time.monotonic()
for _ in range(CHANGES):
    change()
    if dice.random() < 0.5:
        time.sleep(dice.random() * 0.02)
wait(lambda: not api.behind(), 20)
t.note("%d changes, %d rulesets loaded, %.1f s" % (CHANGES, loads() - n, time.monotonic() - began))
verdict(flood, "changes")


class Others:
    """Processes that commit transactions of their own all the time, in the workloads' namespaces and the host's."""

    def __init__(self):
        self.pids, self.committed = [], mmap.mmap(-1, 24)
        for k, place in enumerate((a, b, lab.host)):
            link = Link(place)
            pid = os.fork()
            if pid == 0:
                try:
                    for n in range(1 << 30):
                        link.commit(add_table("noise"), delete_table("noise"))
                        struct.pack_into("=Q", self.committed, 8 * k, n)
                        time.sleep(0.001)
                finally:
                    os._exit(1)
            link.close()
            self.pids.append(pid)

    def end(self):
        for pid in self.pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        return struct.unpack("=3Q", self.committed)


# Others commit transactions in the same namespaces, so that reads and changes of ours cross theirs.
flood, others = Flood(), Others()
n, began = loads(), time.monotonic()
for _ in range(FOREIGN_CHANGES):
    change()
settled = wait(lambda: not api.behind(), 20)
committed = others.end()
t.note("others commit all the time, %s transactions: %d changes, %d rulesets loaded, %.1f s" % (
    committed, FOREIGN_CHANGES, loads() - n, time.monotonic() - began))
t.ok(settled and min(committed) > 100 and sum(api.workload(x.name)["drift"] for x in (a, b)) == 0,
     "changes arrive while others commit all the time, and theirs are no drift", api.behind())
verdict(flood, "others commit")


def pid_of(role):
    """The probe is the warden's."""
    return roles_of(d.roles().get("warden", -1)).get(role) if role == "probe" else d.all_pids().get(role)


def kill(role):
    """Whether there was one."""
    pid = pid_of(role)
    if not pid:
        return False
    history.add("kill " + role)
    if role == "supervisor":
        d.kill("supervisor")
        d.start(wait_for=False)
        return True
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return False
    return True


stop = threading.Event()
changed = [0]


def change_on():
    while not stop.is_set():
        try:
            change()
            changed[0] += 1
        except (OSError, RuntimeError, http.client.HTTPException, IndexError, ValueError):
            pass
        stop.wait(dice.random() * 0.2)


def kill_all_roles():
    killed, missed = dict.fromkeys(ROLES, 0), 0
    while min(killed.values()) < KILLS and missed < 10 + KILLS:
        order = dice.sample(ROLES, len(ROLES))
        # A new probe comes with a new warden.
        first, second = sorted((order.index("probe"), order.index("warden")))
        order[first], order[second] = "probe", "warden"
        for role in order:
            wait(lambda: pid_of(role), 20)
            time.sleep(dice.random() * 0.3)
            hit = kill(role)
            killed[role] += hit
            missed += not hit
    return killed


flood = Flood()
changer = threading.Thread(target=change_on, daemon=True)
changer.start()
began = time.monotonic()
killed = kill_all_roles()
stop.set()
changer.join()
t.note("killed %s in %.1f s, %d changes meanwhile" % (killed, time.monotonic() - began, changed[0]))
t.ok(min(killed.values()) >= KILLS, "each role was killed", killed)
verdict(flood, "kills")
t.ok(wait(lambda: d.ready() and not api.behind(), 30), "everything is back", d.text()[-2000:])
api.apply(document("exact"))
t.ok(wait(lambda: not api.behind() and a.tcp(b.v4, 8001) != "open", 10) and table_text(b, d.table()),
     "and in force")
t.done()
