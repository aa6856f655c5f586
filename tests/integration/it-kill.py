#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at every system call of one change of policy that changes anything outside of the process, in
whichever thread (killat.c): what is there afterwards is the old revision or the new one, in the API, the store,
the audit log and the kernel; and what was answered holds.

NANOSEG_STEP says which of them: every so manieth. With KILLAT_ALL every other call counts, too."""
import http.client
import json
import os
import re
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, run, table_text, wait

# What the controller does until a change is stored are a few calls, the warden's are hundreds.
STEPS = {role: int(os.environ.get("NANOSEG_STEP", n)) for role, n in (("controller", 6), ("warden", 50))}
# The supervisor waits longer before each restart: a new one does not.
RESTARTS = 3

t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
# Ports that a range stands for: the kernel has them in interval sets, which change by way of twins.
RANGES = {8100: "8095-8104", 8200: "8195-8204"}
for port in (8000, 8001, *RANGES):
    b.serve(port)
d = lab.daemon(expect=[a.name, b.name])
api = d.api
for port in (8000, 8001):
    a.tcp(b.v4, port)
kept = wait(lambda: api.edge(port=8000), 5)["id"]
edge = wait(lambda: api.edge(port=8001), 5)["id"]
api.approve(kept)
api.approve(edge)
api.mode("enforce", a.name, b.name)


class Trap:
    """Waits for the role's N-th call."""

    def __init__(self, role, n):
        self.pid = wait(lambda: d.roles().get(role), 20)
        self.p = subprocess.Popen([BUILD + "/tests/integration/killat", str(self.pid), str(n)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.p.stdout.readline() != "ready\n":
            raise RuntimeError("the process cannot be followed")

    def end(self):
        """The number that it printed."""
        return int(self.p.communicate(timeout=20)[0] or -1)

    def sprang(self):
        return self.p.poll() is not None


def state():
    """Of the edge, and which revision."""
    return api.edge(id=edge)["state"], api.get("/v1/status")["revision"]


def ask(url, body):
    """The answer's status; 0: none came."""
    try:
        return api.call("POST", url, body)[0]
    except (OSError, http.client.HTTPException, ValueError):
        return 0


def decide():
    verb = "deny" if now[0] == "approved" else "approve"
    return ask("/v1/edges/" + verb, {"ids": [edge], "reason": "tested"})


def other_direction(**more):
    direction = "both" if mode == "ingress" else "ingress"
    return ask("/v1/mode", dict(more, mode="enforce", workloads=[b.name], direction=direction, reason="tested"))


def confirm_mode():
    """A change that awaits confirmation, and that."""
    answer = other_direction(confirmSeconds=600)
    confirmed[0] = ask("/v1/confirm", {})
    return answer


def edge_of(port):
    return {"from": a.name, "to": b.name, "proto": "tcp", "port": port, "state": "approved"}


def apply_policy():
    """An exact edge less and another range, or back."""
    ports = [8000, RANGES[8200]] if now[0] == "approved" else [8000, 8001, RANGES[8100]]
    return ask("/v1/policy/apply", {
        "apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "edges": [edge_of(p) for p in ports],
        "workloads": [{"name": a.name, "mode": "enforce"}, {"name": b.name, "mode": "enforce", "direction": mode}]})


def in_kernel():
    """Whether the rules let the edge pass, at both ends: the elements, and a connection; and each range."""
    there = [re.search(r"\. 8001 ", text) is not None and "elements" in text for text in
             (run("nsenter", "--net=/run/netns/" + ns.name, "nft", "list", "set", "inet", d.table(),
                  name).out for ns, name in ((a, "allow_out4"), (b, "allow_in4")))]
    return there + [a.tcp(b.v4, port, 1) == "open" for port in (8001, *RANGES)]


def in_policy():
    ports = {e["port"] for e in api.get("/v1/policy", decided=1)["edges"] if e["state"] == "approved"}
    return [8001 in ports] * 3 + [x in ports for x in RANGES.values()]


def on_record():
    """The revision of the last change that the audit log has, those confirmed, and what a start found wrong."""
    revision, confirmations, wrong = 0, set(), []
    for name in sorted(os.listdir(d.state + "/audit")):
        for line in open(os.path.join(d.state, "audit", name)) if name.endswith(".jsonl") else ():
            r = json.loads(line)
            if r["event"] in ("approve", "deny", "mode", "policy-apply"):
                revision = r["after"]["revision"]
            elif r["event"] == "confirm":
                confirmations.add(r["after"]["revision"])
            if r["result"].startswith("violation"):
                wrong.append(r["result"])
    return revision, confirmations, wrong


def agrees(what):
    """Complaints about what is there after a kill."""
    if not wait(lambda: d.ready() and d.roles().get("warden") and not api.behind() and
                all(w["instances"] and w["instances"][0]["attached"] for w in api.workloads().values()), 30):
        return ["%s: it does not come back" % what, d.text()[-1500:]]
    wrong, want = [], in_policy()
    if want[0] != (state()[0] == "approved") or not wait(lambda: in_kernel() == want, 5):
        wrong.append("%s: the edge is %s, the policy %s, the kernel has %s" % (what, state(), want, in_kernel()))
    policy = api.get("/v1/policy", decided=1)
    if policy["metadata"]["revision"] != state()[1]:
        wrong.append("%s: the policy is of revision %s" % (what, policy["metadata"]["revision"]))
    w = api.workload(b.name)
    output = re.search(r"chain output \{\s*type filter hook output priority \S+; policy (\w+)",
                       table_text(b, d.table())).group(1)
    if (w["direction"] == "both") != (output == "drop") or w["drift"]:
        wrong.append("%s: direction %s, output %s, drift %s" % (what, w["direction"], output, w["drift"]))
    log = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "audit-log", "verify", check=False)
    if log.returncode != 0:
        wrong.append("%s: the audit log: %s%s" % (what, log.out, log.err))
    # It may have one more, of a change that was not stored.
    recorded, _, violations = on_record()
    if not state()[1] <= recorded <= state()[1] + 1 or violations:
        wrong.append("%s: revision %d, on record %s, %s" % (what, state()[1], recorded, violations))
    return wrong


def unconfirmed(what, before):
    """Complaints about a change that awaits confirmation; it is confirmed then."""
    wrong, pending = [], api.get("/v1/status")["confirm"]
    if pending and (confirmed[0] == 200 or pending["revision"] != state()[1]):
        wrong.append("%s: revision %s, confirmed %s, awaits %s" % (what, state(), confirmed, pending))
    if not pending and confirmed[0] == 0 and state()[1] != before and state()[1] not in on_record()[1]:
        wrong.append("%s: revision %s stays and nobody confirmed it" % (what, state()))
    if pending and ask("/v1/confirm", {}) != 200:
        wrong.append("%s: it cannot be confirmed" % what)
    return wrong


def once(role, n, change):
    """A change, the role being killed at its n-th call. (it was killed, complaints)"""
    global now, mode
    before, answers = (now, mode), []
    confirmed[0] = None
    trap = Trap(role, n)
    asking = threading.Thread(target=lambda: answers.append(change()))
    asking.start()
    asking.join(20)
    # The answer comes before the rules.
    sprang = wait(trap.sprang, 1.0) if role == "warden" else wait(trap.sprang, 0.3)
    call = trap.end()
    what = "%s, call %d, of number %d" % (role, n, call)
    wrong = agrees(what)
    now, mode = state(), api.workload(b.name)["direction"]
    done = (now[0], mode) != (before[0][0], before[1])
    if now[1] != before[0][1] + done:
        wrong.append("%s: revision %s after %s, changed %s" % (what, now, before, done))
    if answers != [200] and not sprang:
        wrong.append("%s: not killed, answered %s" % (what, answers))
    if answers == [200] and not done:
        wrong.append("%s: it was answered and is lost" % what)
    if role == "warden" and not done:
        wrong.append("%s: the change is lost" % what)
    if change is confirm_mode and not [x for x in wrong if "come back" in x]:
        wrong += unconfirmed(what, before[0][1])
    outcomes[done] += 1
    return sprang, wrong


def count(role, change):
    """How many calls the change takes."""
    trap = Trap(role, 0)
    change()
    api.settle()
    return trap.end()


confirmed = [None]
now, mode = state(), api.workload(b.name)["direction"]
for role, change, name in (("controller", decide, "a decision"), ("controller", other_direction, "a mode"),
                           ("controller", confirm_mode, "a mode that is confirmed"),
                           ("controller", apply_policy, "a policy with other ranges"),
                           ("warden", decide, "a decision"), ("warden", other_direction, "a mode"),
                           ("warden", apply_policy, "a policy with other ranges")):
    calls = count(role, change)
    now, mode = state(), api.workload(b.name)["direction"]
    step = STEPS[role]
    outcomes, wrong, n, tries, missed = [0, 0], [], 1 + os.getpid() % step, 0, 0
    while n <= calls + step + 10:
        if tries % RESTARTS == RESTARTS - 1:
            d.stop()
            d.start()
            agrees("restart")
        tries += 1
        sprang, complaints = once(role, n, change)
        wrong += complaints
        missed = 0 if sprang else missed + 1
        # A change takes some calls more or less each time: it is over when so many more have not come.
        if missed == 1 + 10 // step:
            break
        n += step
    t.ok(not wrong and tries > 1, "%s, the %s killed at %d of %d calls: the old revision (%d) or the new (%d), "
         "everywhere" % (name, role, tries, calls, outcomes[0], outcomes[1]), *wrong[:10])
t.done()
