#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reviewers at once: each reads the policy, adds a line and applies it onto the revision that it read.
No addition is lost and none is made twice. NANOSEG_TRIES says how often; few unless given."""
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, run, wait

TRIES = int(os.environ.get("NANOSEG_TRIES", "240"))
REVIEWERS = 4
t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
d = lab.daemon(expect=[a.name, b.name])
api = d.api
done, late, other = [], [0] * REVIEWERS, []
left = [TRIES]
lock = threading.Lock()


def next_number():
    with lock:
        left[0] -= 1
        return TRIES - left[0] if left[0] >= 0 else 0


def reviewer(me):
    while True:
        n = next_number()
        if not n:
            return
        while True:
            doc = api.get("/v1/policy", decided=1)
            # A window of lines, so that the policy does not grow without end; each carries its number.
            mine = [e for e in doc["edges"] if e["reason"].startswith("r%d " % me)]
            doc["edges"] = [e for e in doc["edges"] if e not in mine] + [
                {"from": a.name, "to": b.name, "proto": "tcp", "port": 10000 + me, "state": "approved",
                 "reason": "r%d %s" % (me, " ".join(
                     sorted(set((mine[0]["reason"].split()[1:] if mine else [])[-3:] + [str(n)]), key=int)))}]
            status, x = api.call("POST", "/v1/policy/apply?expectedRevision=%d" % doc["metadata"]["revision"],
                                 json.dumps(doc))
            if status == 200:
                with lock:
                    done.append((x["revision"], me, n))
                break
            if status != 409:
                with lock:
                    other.append((status, x))
                return
            late[me] += 1


begin = time.monotonic()
threads = [threading.Thread(target=reviewer, args=(i,)) for i in range(REVIEWERS)]
for x in threads:
    x.start()
for x in threads:
    x.join()
seconds = time.monotonic() - begin
t.note("%d changes by %d reviewers in %.1f s, %d too late and made again" % (
    len(done), REVIEWERS, seconds, sum(late)))
t.ok(not other and len(done) == TRIES, "every change is made in the end", other[:3], len(done))
revisions = sorted(r for r, _, _ in done)
t.ok(revisions == list(range(revisions[0], revisions[0] + TRIES)), "each is a revision of its own",
     revisions[:5], revisions[-5:])
t.ok(sum(late) > 0, "some were too late, and told so")
# What each revision holds: the line just added, and every other reviewer's last one before it.
done.sort()
last, wrong = {}, []
for revision, me, n in done:
    last[me] = n
    if revision % max(1, TRIES // 60) and revision != revisions[-1] or revision <= revisions[-1] - 900:
        continue
    doc = api.get("/v1/policy", revision=revision)
    have = {int(e["reason"].split()[0][1:]): int(e["reason"].split()[-1]) for e in doc["edges"]}
    if have != last:
        wrong.append((revision, have, dict(last)))
t.ok(not wrong, "no revision lacks what one before it had", wrong[:3])

# Decisions side by side with whole policies: none is undone by a file that was made before it.
api.apply(json.dumps({"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "edges": [], "workloads": []}))
for p in range(9000, 9008):
    b.serve(p)
    a.tcp(b.v4, p)


def learned():
    found = [e["id"] for e in api.edges() if e.get("port", 0) in range(9000, 9008)]
    return found if len(found) == 8 else None


ids = wait(learned, 20) or []
lost = []


def decider():
    for i in ids:
        api.approve(i)


def applier():
    while len(api.get("/v1/edges", state="approved")) < len(ids):
        doc = api.get("/v1/policy", decided=1)
        api.call("POST", "/v1/policy/apply?expectedRevision=%d" % doc["metadata"]["revision"], json.dumps(doc))


threads = [threading.Thread(target=decider)] + [threading.Thread(target=applier) for _ in range(2)]
for x in threads:
    x.start()
for x in threads:
    x.join(60)
approved = {e["id"] for e in api.get("/v1/edges", state="approved")}
t.ok(len(ids) == 8 and set(ids) <= approved, "approvals are not undone by files from before them", ids, sorted(approved))
r = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "audit-log", "verify", check=False)
t.ok(r.returncode == 0, "and all of it is on record", r.out)
t.done()
