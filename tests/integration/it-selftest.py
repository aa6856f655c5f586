#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The self-test: denied probes are denied, all the time, and nothing is learned from them; a hole made in
the table is an alarm within seconds."""
import json
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from holelib import Hole
from nslab import BUILD, Lab, Tap, proc_status, run, wait

t = Tap()
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
for s in (a, b, c):
    s.serve(8000)
    s.serve(8001)
    s.serve_udp(8002)
d = lab.daemon(config="selfTest: 1s\n", expect=[a.name, b.name, c.name])
api = d.api


def tests(ns):
    return api.workload(ns.name)["instances"][0]["selfTest"]


def settled():
    return {k: len(api.get(u)) for k, u in (("edges", "/v1/edges"), ("denials", "/v1/denials"), ("flows", "/v1/flows"))}


def child(pid, name):
    for p in os.listdir("/proc"):
        if p.isdigit():
            try:
                s = proc_status(int(p))
            except OSError:
                continue
            if s.get("PPid") == str(pid) and s["Name"] == name:
                return int(p), s
    return 0, {}


pid, s = child(d.roles()["warden"], "ns-probe")
caps = [s.get("Cap" + k, "?").strip("0") for k in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
t.ok(pid and not any(caps) and s["NoNewPrivs"].strip() == "1" and "0" not in s["Uid"].split(),
     "the probe runs beside the warden, with no capability and not as root", s)
t.note("the probe: %s resident" % s.get("VmRSS"))
t.ok(tests(a) == {"denied": 0, "passed": 0, "unclear": 0, "at": None, "untested": None}, "nobody is tested who is not enforced", tests(a))

# What is allowed is learned before anything is enforced, as people do it.
for port in (8000, 8001):
    a.tcp(b.v4, port)
    b.tcp(c.v4, port)
    a.tcp(c.v6, port)
wait(lambda: len(api.edges()) >= 6, 5)
api.approve(api.edge(port=8000, to="workload:" + b.name)["id"])
api.mode("enforce", a.name, direction="egress")
api.mode("enforce", b.name)
api.mode("enforce", c.name, direction="ingress")
d.api.settle()
wait(lambda: False, 0.5)


def cpu_s():
    """Of all roles, the probe included."""
    pids = list(d.roles().values()) + [child(d.roles()["warden"], "ns-probe")[0]]
    stats = [open("/proc/%d/stat" % p).read().rsplit(")", 1)[1].split() for p in pids]
    return sum(int(x[11]) + int(x[12]) for x in stats) / os.sysconf("SC_CLK_TCK")


before, began, used = settled(), time.monotonic(), cpu_s()
enough = wait(lambda: all(tests(x)["denied"] >= 8 for x in (a, b, c)), 40, step=0.3)
took, used = time.monotonic() - began, cpu_s() - used
sent = sum(sum(tests(x)[k] for k in ("denied", "passed", "unclear")) for x in (a, b, c))
t.note("%d probes, %.1f ms of the processor for each, all that the roles did meanwhile included" % (sent, used * 1e3 / sent))
t.ok(used / sent < 0.1, "a probe is cheap", used, sent)
t.note("%s in %.0f s" % ([tests(x) for x in (a, b, c)], took))
t.ok(enough, "each enforced instance has probes that are denied, in either direction", [tests(x) for x in (a, b, c)])
t.ok(not any(tests(x)["passed"] for x in (a, b, c)), "and none that passes")
t.ok(sum(tests(x)["denied"] + tests(x)["unclear"] for x in (a, b, c)) <= 3 * (took + 3), "no more of them than one a second")
t.ok(settled() == before, "nothing of it is learned, reported or listed", settled(), before)
live = [x for x in api.edges() if x["connections"] > 2]
t.ok(not live, "nor counted on edges that are known", live)
t.ok(a.tcp(b.v4, 8000) == "open" and a.tcp(b.v4, 8001, 0.3) != "open", "what is allowed goes on")
denied = wait(lambda: [x for x in api.get("/v1/denials") if x["port"] == 8001 and x["from"] == "workload:" + a.name], 5)
t.ok(denied, "a refusal that is a real one is reported")
r = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "status", check=False)
t.ok("self-test" not in r.out, "status has nothing to say", r.out)


def alarm(ns, chain, what):
    """A hole by hand in ns; seen by the self-test within seconds, and gone after."""
    mark, passed = len(d.text()), tests(ns)["passed"]
    began = time.monotonic()
    # Rules are read back every now and then, too: what is closed before it was found is opened again.
    for _ in range(4):
        drift = api.workload(ns.name)["drift"]
        hole = Hole(d.roles()["warden"], ns, d.table(), chain)
        wait(lambda: tests(ns)["passed"] > passed or api.workload(ns.name)["drift"] > drift, 28, step=0.1)
        got = wait(lambda: tests(ns)["passed"] > passed, 1)
        if got:
            break
    t.note("%s: alarm after %.1f s" % (what, time.monotonic() - began))
    log = d.text()[mark:]
    t.ok(got and re.search(r"^error controller: instance %s: self-test: a probe .* has passed: %s" % (
        re.escape(ns.name), what), log, re.M), "%s: a hole is an alarm" % what, log)
    t.ok(wait(lambda: api.workload(ns.name)["drift"] > 0, 5, step=0.1) and not wait(hole.close, 0),
         "%s: the rules are read back at once, and repaired" % what, log)


alarm(b, "output", "egress")
alarm(c, "input", "ingress")
r = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "status", check=False)
t.ok(r.out.count("probes of the self-test passed") == 2, "status says so", r.out)
text = api.get("/metrics")
t.ok(re.search(r'^nanoseg_self_test_probes_total\{result="passed"\} [1-9]', text, re.M), "the metrics too")
events = json.loads(run(BUILD + "/cli/nanoseg", "--socket", d.sock, "audit-log", "show", "-o", "json").out)
t.ok(all([x for x in api.told("selfTest", "has passed: " + way) if x["severity"] == "critical"]
         for way in ("egress", "ingress")), "people are told", api.get("/v1/alerts"))
found = [e for e in events if e["event"] == "self-test"]
t.ok({e["subject"]["workload"] for e in found} == {b.name, c.name} and all(e["result"] == "failed" for e in found),
     "and the record", found)
still = wait(lambda: False, 1) or settled()
t.ok(still["edges"] == before["edges"], "nor is anything learned from those that passed", still, before)

api.post("/v1/quarantine", {"target": a.name, "reason": "odd"})
t.ok("quarantine" in tests(a)["untested"] and
     "the self-test tells nothing" in run(BUILD + "/cli/nanoseg", "--socket", d.sock, "status", check=False).out,
     "who is in quarantine is not tested, and that is said", tests(a))
api.post("/v1/release", {"target": a.name, "reason": "done"})
t.ok(wait(lambda: tests(a)["untested"] is None, 5), "until it is released", tests(a))

# The probe dies, and the warden.
os.kill(pid, 9)
t.ok(d.says("error warden: the probe has died"), "the death of the probe is said")
d.kill("warden")
n = api.get("/v1/status")["selfTest"]["denied"]
t.ok(wait(lambda: d.ready() and api.get("/v1/status")["selfTest"]["denied"] > n, 30, step=0.2), "with a new warden it goes on",
     d.text()[-2000:])
d.stop()
t.done()
