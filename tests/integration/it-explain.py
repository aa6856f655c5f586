#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""explain, held against what the kernel does: every answer is probed, every change it proposes is made,
and what it says of the past is compared with what was probed then."""
import datetime
import glob
import hashlib
import json
import os
import shlex
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, run, wait

t = Tap()
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
PORTS = (8000, 8001, 8002, 8003)
for p in PORTS:
    b.serve(p)
d = lab.daemon(expect=[a.name, b.name, c.name])
api = d.api


def cli(*args, check=False):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=check)


def explain(src, dst, port, *more):
    r = cli("explain", src.name, "%s:%d" % (dst.name, port), "-o", "json", *more)
    return json.loads(r.out) if r.out else {"error": r.err}, r.returncode


def passes(src, port):
    return src.tcp(b.v4, port) == "open"


def disagreements():
    """Every answer against a probe."""
    bad = []
    for src in (a, c):
        for port in PORTS:
            x, _ = explain(src, b, port)
            if (x.get("verdict") != "deny") != passes(src, port):
                bad.append((src.name, port, x.get("verdict"), x.get("reason")))
    return bad


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


a.tcp(b.v4, 8000)
a.tcp(b.v4, 8001)
ids = {p: wait(lambda p=p: api.edge(port=p), 5)["id"] for p in (8000, 8001)}
t.ok(not disagreements(), "observed: everything passes, and it says so", disagreements())
moments = []


def moment(name):
    """A time, and what was so then."""
    api.settle()
    time.sleep(1.2)  # the kernel's digests go to the log once a second
    x, _ = explain(a, b, 8000)
    moments.append({"name": name, "at": now(), "revision": api.get("/v1/status")["revision"],
                    "kernel": {i["instance"]: i["kernel"] for i in x["applied"]},
                    "passes": {(s.name, p): passes(s, p) for s in (a, c) for p in PORTS}})


moment("observed")
api.post("/v1/edges/approve", {"ids": [ids[8000]], "reason": "web", "ticket": "T-1"})
api.mode("enforce", b.name)
t.ok(not disagreements(), "enforced: what is not approved is refused, and it says so", disagreements())
moment("enforced")
x, _ = explain(a, b, 8000)
t.ok(x["edge"] == ids[8000] and x["approvedBy"] == "uid:0" and x["evidence"]["ticket"] == "T-1" and
     "set " in (x["rule"] or "") and x["revision"] == 2 and x["change"] is None,
     "it names the edge, the approver, the rule and the revision", x)
r = run(*shlex.split(x["command"]), check=False)
t.ok(r.returncode == 0 and a.v4 in r.out and "8000" in r.out, "its nft command shows the rule",
     x["command"], r.out, r.err)
x, _ = explain(c, b, 8002)
r = run(*shlex.split(x["command"]), check=False)
t.ok(x["verdict"] == "deny" and r.returncode == 0 and "chain input" in r.out,
     "for what is in no set the chain", x, r.out)

# What it proposes is enough, each by itself: a pending edge, one that was refused, one never seen.
x, _ = explain(a, b, 8001)
t.ok(x["verdict"] == "deny" and ids[8001] in (x["change"]["command"] or ""), "a pending edge is proposed", x)


def make(change):
    if change["command"]:
        return cli(*shlex.split(change["command"].replace("TEXT", "tested"))[1:])
    doc = api.get("/v1/policy", decided=1)
    doc["edges"].append(change["edge"])
    status, answer = api.apply(json.dumps(doc), reason="tested")
    return status, answer


for src, port, what in ((a, 8001, "pending"), (c, 8000, "refused"), (c, 8003, "never seen")):
    if what == "refused":
        passes(src, port)
        wait(lambda: api.denials(port=port), 5)
    x, _ = explain(src, b, port)
    before = passes(src, port)
    said = make(x["change"]) if x.get("change") else None
    api.settle()
    t.ok(not before and passes(src, port) and not disagreements(), "the change is enough: " + what, x,
         str(said), disagreements())
moment("approved")

# A denial of more than the question: an approval would not help, and it does not propose one.
doc = api.get("/v1/policy", decided=1)
doc["edges"].append({"from": c.name, "to": b.name, "proto": "tcp", "port": "8000-8002", "state": "denied"})
api.apply(json.dumps(doc), reason="too wide")
x, _ = explain(c, b, 8000)
t.ok(x["verdict"] == "deny" and not passes(c, 8000) and x["change"]["command"] is None and
     x["edge"] in x["change"]["text"], "a wider denial is named, no approval proposed", x)
t.ok(not disagreements(), "and the answers hold", disagreements())
moment("denied")
api.post("/v1/edges/deny", {"ids": [ids[8000]], "reason": "no more", "ticket": "T-2"})
api.settle()
x, _ = explain(a, b, 8000)
t.ok(x["verdict"] == "deny" and x["change"]["command"].startswith("nanoseg approve " + ids[8000]),
     "a denial of exactly this is to be approved", x)
moment("denied exactly")
cli("quarantine", b.name, "--reason", "tested", check=True)
wait(lambda: not passes(c, 8003), 3)
x, _ = explain(c, b, 8003)
t.ok(x["verdict"] == "deny" and "quarantine" in x["change"]["text"], "a quarantine is named", x)
held = now()
time.sleep(1.2)
cli("release", b.name, "--reason", "tested", check=True)
wait(lambda: passes(c, 8003), 3)
api.mode("observe", b.name)
moment("opened")

# The past, held against what was probed then.
for m in moments:
    wrong = []
    for (src, port), passed in m["passes"].items():
        x, code = explain({a.name: a, c.name: c}[src], b, port, "--at", m["at"])
        if code or (x["verdict"] != "deny") != passed or x["revision"] != m["revision"] or \
                not x["log"]["agrees"]:
            wrong.append((src, port, passed, code, x))
    t.ok(not wrong, "--at: as it was probed then: " + m["name"], wrong)
m = moments[1]
x, code = explain(a, b, 8000, "--at", m["at"])
t.ok(x["approvedBy"] == "uid:0" and x["record"]["ticket"] == "T-1" and x["record"]["event"] == "approve" and
     len(x["record"]["hash"]) == 64 and x["decision"]["ticket"] == "T-1",
     "--at: approver, ticket and the record", x)
now_applied = {i["instance"]: i["kernel"] for i in x["applied"]}
t.ok(now_applied and all(m["kernel"][i] == k for i, k in now_applied.items()) and
     all(i["time"] <= m["at"] for i in x["applied"]), "--at: what the kernel was read back with then, "
     "and when", x["applied"], m["kernel"])
x, code = explain(c, b, 8003, "--at", held)
t.ok(x["verdict"] == "deny" and "quarantine" in x["reason"], "--at: a quarantine of then", x)
x, code = explain(a, b, 8000, "--at", moments[-1]["at"])
t.ok(x["record"]["event"] == "deny" and x["record"]["ticket"] == "T-2" and x["applied"] == [],
     "--at: a later decision, and no rules any more", x)
r = cli("explain", a.name, b.name + ":8000", "--at", m["at"])
t.ok(r.returncode == 0 and "sound, and of the same revision" in r.out and "T-1" in r.out, "in words", r.out)
r = cli("explain", a.name, b.name + ":8000")
t.ok(r.returncode == 0 and "to allow it" not in r.out and "revision" in r.out, "and of now", r.out)

# A log that was changed, and questions that make no sense.
copy = lab.dir + "/copy"
shutil.copytree(d.state + "/audit", copy)
path = sorted(glob.glob(copy + "/*"))[-1]
with open(path, "r+b") as f:
    data = f.read().replace(b'"T-1"', b'"T-7"')
    f.seek(0)
    f.write(data)
x, code = explain(a, b, 8000, "--at", m["at"], "--dir", copy)
t.ok(code == 3 and x["log"]["unsound"] > 0, "a log that was changed is not believed in silence", code, x)


# A change is recorded before it is stored. What was not stored after all was never decided.
def seal(r, prev):
    r = {k: r[k] for k in sorted(r) if k != "hash"}
    body = json.dumps(dict(r, prev=prev), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256((prev + body).encode()).hexdigest()
    return body[:-1] + ',"hash":"%s"}' % digest, digest


def log_with(name, *more):
    """A copy of the log up to the first moment, with records behind it that nobody can tell from real ones."""
    dir = lab.dir + "/" + name
    os.mkdir(dir)
    whole = [x for f in sorted(glob.glob(d.state + "/audit/*")) for x in open(f).read().splitlines()]
    kept = [x for x in whole if json.loads(x)["time"] <= m["at"]]
    prev, seq = json.loads(kept[-1])["hash"], len(kept)
    like = next(json.loads(x) for x in whole if json.loads(x)["event"] == "approve")
    for r in more:
        seq += 1
        line, prev = seal({**like, "time": now(), **r, "seq": seq}, prev)
        kept.append(line)
    with open(dir + "/000000000001.jsonl", "w") as f:
        f.write("\n".join(kept) + "\n")
    return dir


was = {"revision": m["revision"], "digest": "d" * 64}
new = {"revision": m["revision"] + 1, "digest": "e" * 64}
who = {"uid": 4711, "name": "mallory"}
lost = {"event": "deny", "actor": who, "ticket": "T-9", "after": new}
logs = {"said so": (lost, dict(lost, after=was, result="failed: not stored")),
        "killed": (lost, {"event": "daemon-start", "after": was, "result": "the last recorded change is not "
                          "in force: it was not stored"}),
        "kept, not stored": (dict(lost, event="recertify", after=was),
                             dict(lost, event="recertify", after=was, result="failed: not stored"))}
for name, more in logs.items():
    dir = log_with(name.replace(" ", "-"), *more)
    x, code = explain(a, b, 8000, "--at", now(), "--dir", dir)
    t.ok(x["approvedBy"] == "uid:0" and x["record"]["ticket"] == "T-1" and x["log"]["unsound"] == 0 and
         x["log"]["after"]["revision"] == m["revision"], "--at: not stored, so not decided: " + name, code, x)
dir = log_with("between", lost)
between = now()
x, code = explain(a, b, 8000, "--at", between, "--dir", dir)
t.ok(x["approvedBy"] == "uid:4711" and x["record"]["ticket"] == "T-9", "--at: stored, as nothing says otherwise",
     code, x)
dir = log_with("between-failed", dict(lost, time=between), dict(lost, after=was, result="failed: not stored"))
x, code = explain(a, b, 8000, "--at", between, "--dir", dir)
t.ok(x["approvedBy"] == "uid:0" and x["log"]["after"]["revision"] == m["revision"],
     "--at: between the record and its failure it was not decided either", code, x)
dir = log_with("recertified", dict(lost, event="recertify", after=was))
x, code = explain(a, b, 8000, "--at", now(), "--dir", dir)
t.ok(x["approvedBy"] == "uid:0" and x["record"]["event"] == "recertify", "--at: who lets it stand is on "
     "record, and not its approver", code, x)
codes = [cli("explain", a.name, b.name + ":8000", *x).returncode for x in (
    ("--at", "yesterday"), ("--at", "2999-01-01"), ("--dir", "/tmp"), ("--at", "2001-01-01"))]
t.ok(codes == [2, 2, 2, 0], "wrong usage is 2, and before everything was no policy", codes)
t.done()
