#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nanoseg verify: what is approved is answered, what is refused is not; no accept returns and nothing is learned;
a hole made in the table is found, and exit 3."""
import json
import os
import re
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from holelib import Hole
from nslab import BUILD, Lab, Tap, run, wait

t = Tap()
lab = Lab()
a, b, c, e = lab.ns("a"), lab.ns("b"), lab.ns("c"), lab.ns("e")
for s in (a, b, c):
    s.serve(8000)
    s.serve_udp(8002)
b.serve(8001)
# Whoever answers here is asked by nobody: an accept that returns would be a probe's.
quiet = [s.listen(8005, backlog=8) for s in (b, c)]
# A guard would stop what a hole lets out.
d = lab.daemon(config="hostGuard: off\n", expect=[x.name for x in (a, b, c, e)])
api = d.api


def cli(*args):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=False, timeout=120)


def verify(*args):
    r = cli("verify", "-o", "json", *args)
    return r.returncode, json.loads(r.out) if r.out[:1] == "{" else {"out": r.out, "err": r.err}


def known():
    out = {k: len(api.get(u)) for k, u in (("edges", "/v1/edges"), ("denials", "/v1/denials"),
                                           ("attempts", "/v1/denials?attempts=1"), ("flows", "/v1/flows?all=1"))}
    out["connections"] = sum(x["connections"] for x in api.edges())
    return out


code, v = verify()
t.ok(code == 0 and v["probes"] == 0 and v["failed"] == 0, "nothing decided, nothing enforced: nothing to verify", v)

POLICY = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
          "workloads": [{"name": a.name, "mode": "enforce", "direction": "egress"},
                        {"name": b.name, "mode": "enforce", "direction": "both"},
                        {"name": c.name, "mode": "enforce", "direction": "ingress"},
                        {"name": e.name, "mode": "observe"}],
          "edges": [{"from": x, "to": y, "proto": p, "port": q, "state": "approved"} for x, y, p, q in (
              (a.name, b.name, "tcp", 8000), (a.name, b.name, "tcp", 8005), (a.name, b.name, "udp", 8002),
              (e.name, c.name, "tcp", 8005), ({"host": True}, c.name, "tcp", 8000), (b.name, c.name, "tcp", 8000),
              (a.name, c.name, "tcp", 8004), (a.name, {"cidr": "203.0.113.0/24"}, "tcp", 443),
              (e.name, c.name, "icmp", 8))] +
          [{"from": a.name, "to": b.name, "proto": "tcp", "port": 8001, "state": "denied", "reason": "no"}]}
for x in POLICY["edges"]:
    if x["proto"] == "icmp":
        x.pop("port")
        x["type"] = 8
api.apply(json.dumps(POLICY))
a.tcp(b.v4, 8000)
wait(lambda: any(x["connections"] for x in api.edges()), 5)
time.sleep(0.5)
before = known()
began = time.monotonic()
code, v = verify("--max", "90")
t.note("%d probes in %.1f s: %d pass, %d fail, %d unclear" % (
    v["probes"], time.monotonic() - began, v["passed"], v["failed"], v["unclear"]))
bad = [x for x in v["cases"] if x["result"] != "pass"]
t.ok(code == 0 and v["failed"] == 0 and v["passed"] + v["unclear"] == v["probes"], "what the policy says is so", bad)
t.ok(not bad, "and all of it could be told", bad)


def got(expected, **want):
    return sorted({x["got"] for x in v["cases"] if x["expected"] == expected and
                   all(x[k.rstrip("_")] == w for k, w in want.items())})


W = "workload:"
t.ok(got("allow", from_=W + a.name, to=W + b.name, port=8000) == ["answered"] and
     got("allow", from_=W + a.name, to=W + b.name, port=8005) == ["answered"] and
     got("allow", from_="host", to=W + c.name) == ["answered"], "approved edges are answered", v["cases"][:12])
t.ok(len([x for x in v["cases"] if x["expected"] == "allow" and ":" in x["dst"]]) >= 5, "over IPv6 too", v["cases"][:12])
t.ok(set(got("allow", proto="udp")) <= {"arrived", "answered"} and got("allow", proto="udp"), "datagrams arrive")
t.ok(got("allow", port=8004) == ["reset"], "where nobody listens the rules are open all the same", got("allow", port=8004))
t.ok(v["skipped"]["outside"] == 1 and v["skipped"]["protocol"] == 1, "what leads outside is not probed, and counted", v["skipped"])
denied = [x for x in v["cases"] if x["expected"] == "deny"]
t.ok(len(denied) == 90 and {x["proto"] for x in denied} == {"tcp", "udp"} and
     {":" in x["dst"] for x in denied} == {True, False} and {x["from"] for x in denied} >= {W + b.name, W + a.name, "host"},
     "refused pairs are of both families and protocols", len(denied))
own = {x for s in (a, b, c, e) for x in (s.v4, s.v6)} | {lab.gw4, lab.gw6}
t.ok({x["dst"] for x in v["cases"]} <= own and {x["src"] for x in v["cases"]} <= own, "no probe leaves the host", v["cases"][:5])
t.ok(not select.select(quiet, [], [], 0)[0], "no accept returns")
time.sleep(1)
after = known()
t.ok(after == before, "nothing is learned, reported or listed", after, before)
t.ok(v["host"] and v["revision"] == 1 and len(v["policyDigest"]) == 64 and len(v["rulesets"]) >= 3 and
     v.get("signature") and v["actor"] == "uid:0" and v["time"] >= v["began"],
     "who, where, when, of which revision and rules, and signed", {k: x for k, x in v.items() if k != "cases"})


def signed(result):
    """By openssl, as docs/evidence.md says it."""
    o, files = dict(result), [os.path.join(lab.dir, x) for x in ("statement", "signature", "key.der")]
    signature = o.pop("signature")
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\u([0-9a-f]{4})", lambda m: m[1] + "\\u" + m[2].upper(),
                  json.dumps(o, sort_keys=True, separators=(",", ":")))
    for path, data in zip(files, (text.encode(), bytes.fromhex(signature),
                                  bytes.fromhex("302a300506032b6570032100" + o["publicKey"]))):
        with open(path, "wb") as f:
            f.write(data)
    return run("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", files[2], "-in",
               files[0], "-sigfile", files[1], check=False).returncode == 0


t.ok(signed(v) and v["publicKey"] == api.get("/v1/audit")["publicKey"], "the signature is good, as openssl sees it", v["signature"])
t.ok(not signed(dict(v, failed=1)) and not signed(dict(v, cases=v["cases"][1:])), "of what was changed it is not")
events = json.loads(cli("audit-log", "show", "-o", "json", "--event", "verify").out)
t.ok(events and events[-1]["subject"]["failed"] == 0, "it is on record", events)
r = cli("verify", "--max", "20")
t.ok(r.returncode == 0 and "as the policy says, 0 not" in r.out and "\n" in r.out and "pass" not in r.out,
     "people are shown what is not so", r.out, r.err)
r = cli("verify", "--max", "20", "-o", "wide")
t.ok(r.out.count("answered") >= 5 and r.out.count(" deny ") == 20, "or everything", r.out)

# A plan sends nothing.
counters = run("nft", "list", "counters", check=False) and b.exec("nft", "list", "counters").out
code, p = verify("--plan", "--max", "50")
t.ok(code == 0 and p["plan"] and p["kind"] == "verification-plan" and len(p["cases"]) > 50 and
     not [x for x in p["cases"] if x["got"] is not None] and {x["expected"] for x in p["cases"]} == {"allow", "deny"},
     "a plan for somebody else says what is to be tried", p["cases"][:3])
t.ok(b.exec("nft", "list", "counters").out == counters, "and sends nothing")
for args in (("--max", "0"), ("--max", "5000"), ("--max", "x"), ("more",)):
    if cli("verify", *args).returncode != 2:
        t.ok(False, "nonsense is refused", args)

# Somebody else follows the plan by hand.
wrong = []
for x in [x for x in p["cases"] if x["proto"] == "tcp" and x["from"] == W + a.name][:20]:
    open_ = a.tcp(x["dst"], x["port"], 0.4) in ("open", "closed")
    if open_ != (x["expected"] == "allow" and x["port"] not in (8004, 8005)) and x["port"] != 8005:
        wrong.append(x)
t.ok(not wrong, "who follows it finds the same", wrong)

# Two at once.
first, _ = api.call("POST", "/v1/verify", {"max": 50})
second, said = api.call("POST", "/v1/verify", {})
t.ok(first == 200 and second == 409, "one at a time", said)
wait(lambda: not api.get("/v1/verify")["running"], 30)

# A hole. What is read back every half a minute is repaired, and the pairs are drawn at random: then once more.
def with_hole(ns, chain, fn, *args):
    for _ in range(3):
        hole = Hole(d.roles()["warden"], ns, d.table(), chain)
        got = fn(*args)
        if hole.close() and (got.returncode if hasattr(got, "returncode") else got[0]) == 3:
            return got
        api.settle()
    return got


code, v = with_hole(b, "output", verify, "--max", "50")
failed = [x for x in v["cases"] if x["result"] == "fail"]
t.ok(code == 3 and v["failed"] == len(failed) > 0 and {x["from"] for x in failed} == {W + b.name},
     "a hole in somebody's egress is found: exit 3", code, v["failed"], failed[:3])
code, v = with_hole(c, "input", verify, "--max", "50")
failed = [x for x in v["cases"] if x["result"] == "fail"]
t.ok(code == 3 and failed and {x["to"] for x in failed} == {W + c.name} and
     {x["got"] for x in failed} <= {"answered", "arrived", "reset", "unreachable"}, "and one in its ingress", failed[:3])
r = with_hole(b, "output", cli, "verify", "--max", "40")
t.ok(r.returncode == 3 and re.search("^fail ", r.out, re.M), "which people see", r.out)
t.ok(d.says("error controller: verified by uid:0"), "and the log")
d.stop()
t.done()
