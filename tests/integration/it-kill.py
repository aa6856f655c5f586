#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at every system call of one change of policy that changes anything outside of the process
(killat.c): what is there afterwards is the old revision or the new one, in the API, the store, the audit
log and the kernel; and what was answered holds.

NANOSEG_STEP says which of them: every so manieth."""
import http.client
import os
import re
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, run, table_text, wait

STEP = int(os.environ.get("NANOSEG_STEP", "10"))
# A change takes some calls more or less each time: it is over when so many more have not come.
MISSES = 1 + 10 // STEP
# The supervisor waits longer before each restart: a new one does not.
RESTARTS = 3

t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
b.serve(8000)
b.serve(8001)
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


def decide(answers):
    verb = "deny" if now[0] == "approved" else "approve"
    try:
        answers.append(api.call("POST", "/v1/edges/" + verb, {"ids": [edge], "reason": "tested"}))
    except (OSError, http.client.HTTPException, ValueError):
        answers.append((0, None))


def change_mode(answers):
    """One direction less, or more."""
    direction = "both" if mode[0] == "ingress" else "ingress"
    try:
        answers.append(api.call("POST", "/v1/mode", {
            "mode": "enforce", "workloads": [b.name], "direction": direction, "reason": "tested"}))
    except (OSError, http.client.HTTPException, ValueError):
        answers.append((0, None))


def in_kernel():
    """Whether the rules let the edge pass, at both ends: the elements, and a connection."""
    there = [re.search(r"\. 8001 ", text) is not None and "elements" in text for text in
             (run("nsenter", "--net=/run/netns/" + ns.name, "nft", "list", "set", "inet", d.table(),
                  name).out for ns, name in ((a, "allow_out4"), (b, "allow_in4")))]
    return there + [a.tcp(b.v4, 8001, 1) == "open"]


def agrees(what):
    """Complaints about what is there after a kill."""
    if not wait(lambda: d.ready() and d.roles().get("warden") and not api.behind() and
                all(w["instances"] and w["instances"][0]["attached"] for w in api.workloads().values()), 30):
        return ["%s: it does not come back" % what, d.text()[-1500:]]
    wrong, want = [], (state()[0] == "approved")
    if not wait(lambda: in_kernel() == [want] * 3, 5):
        wrong.append("%s: the edge is %s, the kernel has %s" % (what, state(), in_kernel()))
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
    return wrong


def once(role, n, change):
    """A change, the role being killed at its n-th call. (it was killed, complaints)"""
    global now, mode
    before, answers = (now, mode), []
    trap = Trap(role, n)
    ask = threading.Thread(target=change, args=(answers,))
    ask.start()
    ask.join(20)
    # The answer comes before the rules.
    sprang = wait(trap.sprang, 1.0) if role == "warden" else wait(trap.sprang, 0.3)
    call = trap.end()
    what = "%s, call %d, of number %d" % (role, n, call)
    wrong = agrees(what)
    now = state()
    mode = (api.workload(b.name)["direction"],)
    done = (now[0], mode) != (before[0][0], before[1])
    if now[1] != before[0][1] + done:
        wrong.append("%s: revision %s after %s, changed %s" % (what, now, before, done))
    if answers[0][0] == 200 and not done:
        wrong.append("%s: it was answered and is lost" % what)
    if role == "warden" and not done:
        wrong.append("%s: the change is lost" % what)
    outcomes[done] += 1
    return sprang, wrong


def count(role, change):
    """How many calls the change takes."""
    trap = Trap(role, 0)
    change([])
    api.settle()
    return trap.end()


now, mode = state(), (api.workload(b.name)["direction"],)
for role, change, name in (("controller", decide, "a decision"), ("controller", change_mode, "a mode"),
                           ("warden", decide, "a decision"), ("warden", change_mode, "a mode")):
    calls = count(role, change)
    now, mode = state(), (api.workload(b.name)["direction"],)
    outcomes, wrong, n, tries, missed = [0, 0], [], 1 + os.getpid() % STEP, 0, 0
    while n <= calls + STEP:
        if tries % RESTARTS == RESTARTS - 1:
            d.stop()
            d.start()
            agrees("restart")
        tries += 1
        sprang, complaints = once(role, n, change)
        wrong += complaints
        missed = 0 if sprang else missed + 1
        if missed == MISSES:
            break
        n += STEP
    t.ok(not wrong and tries > 1, "%s, the %s killed at %d of %d calls: the old revision (%d) or the new (%d), "
         "everywhere" % (name, role, tries, calls, outcomes[0], outcomes[1]), *wrong[:10])
t.done()
