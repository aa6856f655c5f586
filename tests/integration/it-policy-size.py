#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A large policy (100,000 edges in check-long): while it is shown, compared, applied, imported, simulated and taken back,
others are answered and their connections counted; and a death in the middle leaves one or the other.

Somebody asks for the status every 50 ms and connects all the while.
"""
import hashlib
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nslab import BUILD, PREFIX, Lab, run, wait
from tap import Tap

N = int(os.environ.get("NANOSEG_EDGES", "20000"))
NAMES = 3000
WORST_S = 1.0
EVERY_S = 0.05
TRIES = 3  # the machine may be busy with something else for a second
made = 0

t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
b.serve(7000, "0.0.0.0")
d = lab.daemon(config="maxEdges: 100000\n", expect=[a.name, b.name])


class Asker(threading.Thread):
    """Asks for the status all the time and connects; remembers the worst answer."""

    def __init__(self):
        super().__init__(daemon=True)
        self.worst, self.answers, self.wrong, self.over = 0.0, 0, [], False

    def run(self):
        global made
        while not self.over:
            began = time.monotonic()
            try:
                if d.api.raw("GET", "/v1/status", timeout=60)[0] != 200:
                    self.wrong.append("refused")
            except Exception as e:  # whatever it is, it is no answer
                self.wrong.append(repr(e))
            took = time.monotonic() - began
            self.worst = max(self.worst, took)
            self.answers += 1
            if self.answers % 4 == 0 and a.tcp(b.v4, 7000) == "open":
                made += 1
            time.sleep(max(0.0, EVERY_S - took))

    def end(self):
        self.over = True
        self.join()


NANOSEG = [BUILD + "/cli/nanoseg", "--socket", d.sock, "--timeout", "300"]


def meanwhile(what, do):
    """The worst answer while do() runs, which says whether it went well."""
    asker = Asker()
    asker.start()
    began = time.monotonic()
    good = do()
    took = time.monotonic() - began
    asker.end()
    t.note("%s: %.1f s; asked %d times meanwhile, the worst answer took %.0f ms" % (
        what, took, asker.answers, asker.worst * 1000))
    return good, not asker.wrong and asker.worst <= WORST_S, asker


def check(what, do):
    for _ in range(TRIES):
        good, served, asker = meanwhile(what, do)
        if served or not good:
            break
    t.ok(good and served, what + ", and others are answered within %d ms" % (WORST_S * 1000), good, asker.worst, asker.wrong[:3])


def command(*words, expect=0):
    def do():
        r = run(*NANOSEG, *words, check=False, timeout=400)
        if r.returncode != expect:
            t.note("exit %d: %s" % (r.returncode, r.err[-300:]))
        return r.returncode == expect
    return do


def in_force():
    """(revision, what it says)"""
    policy = d.api.get("/v1/policy", decided=1)
    revision = policy["metadata"].pop("revision")
    return revision, hashlib.sha256(json.dumps(policy).encode()).hexdigest()


def counted():
    return sum(e["connections"] for e in d.api.get("/v1/edges", workload=a.name) if e["port"] == 7000)


edges = [{"from": "%s-w%d" % (PREFIX, i % NAMES), "to": "%s-w%d" % (PREFIX, (i * 7 + i // NAMES) % NAMES),
          "proto": "tcp", "port": 1 + i // NAMES, "state": "approved", "reason": "r"} for i in range(N)]
files = [lab.dir + "/" + n for n in ("one.json", "other.json", "more.json")]
for path, port in zip(files, (1, 60000, 60001)):
    edges[5]["port"] = port
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "workloads": [], "edges": edges}, f)
check("policy apply, all of it new", command("policy", "apply", files[0]))
check("policy apply, all of it known", command("policy", "apply", files[0]))
check("policy diff", command("policy", "diff", files[1], expect=3))
check("policy import", command("policy", "import", files[2], "--reason", "r"))
check("policy validate by the daemon", lambda: d.api.raw(
    "POST", "/v1/policy/validate", open(files[0], "rb").read(), timeout=120)[0] == 200)
# YAML takes longest to read: a comment makes it that.
check("policy validate of YAML by the daemon", lambda: d.api.raw(
    "POST", "/v1/policy/validate", b"# a person's\n" + open(files[0], "rb").read(), timeout=300)[0] == 200)
check("the list of edges", lambda: d.api.raw("GET", "/v1/edges", timeout=120)[0] == 200)
check("simulate", lambda: d.api.raw("POST", "/v1/simulate", open(files[0], "rb").read(), timeout=120)[0] == 200)
check("rollback", command("rollback", "--reason", "r"))

t.ok(wait(lambda: made > 0 and counted() == made, 20, 0.2),
     "every connection that was made meanwhile is counted", made, counted())

# It dies in the middle.
known = dict([in_force()])
digests = {}
for path in files[:2]:
    run(*NANOSEG, "policy", "apply", path, timeout=400)
    digests[path] = in_force()[1]
t.ok(digests[files[0]] != digests[files[1]], "the two policies are told apart")
for k, after_s in enumerate((0.3, 1.2)):
    path, before = files[k % 2], in_force()
    p = subprocess.Popen([*NANOSEG, "policy", "apply", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    uploaded = wait(lambda: d.api.get("/v1/status")["changing"], 60)
    time.sleep(after_s)
    d.kill("controller")
    said = p.wait(timeout=300)
    back = wait(lambda: d.api.raw("GET", "/v1/status")[0] == 200, 60, 0.1)
    now = in_force() if back else None
    t.ok(uploaded and back and (now == before or now == (before[0] + 1, digests[path])) and (said != 0 or now != before),
         "killed %.1f s into an apply: the policy before or the one after, whole" % after_s, uploaded, said, before, now)
    t.note("it is the one %s, and the command said %d" % ("before" if now == before else "after", said))
r = run(*NANOSEG, "audit-log", "verify", check=False)
t.ok(r.returncode == 0, "and the audit log is whole", r.out, r.err)
t.done()
