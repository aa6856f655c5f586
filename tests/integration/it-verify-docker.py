#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Verification and self-test on an engine's networks: two of them, a replica on both, one container that
may give itself addresses, a published port, the gate's kind of start. On a machine of its own."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import alonelib
import nslab
from nslab import BUILD, Docker, Lab, compose, run, wait

if not alonelib.have_docker():
    nslab.skip_all("needs dockerd")
alonelib.alone(__file__)

t = nslab.Tap()
lab = Lab(real_host=True)
engine = alonelib.Dockerd(lab)
if not engine.start(wait):
    nslab.skip_all("a Docker daemon of its own does not start here")
docker = Docker(lab)
docker.network("front")
docker.network("back")


def start(name, service, network, *args):
    return docker.run(name, *args, network=network, labels=compose("shop", service))


web = start("web", "web", "front", "-p", "127.0.0.1:8099:8000")
api1, api2 = start("api1", "api", "front"), start("api2", "api", "front")
for x in (api1, api2):
    run("docker", "network", "connect", "back", x.id)
db = start("db", "db", "back")
vpn = start("vpn", "vpn", "front", "--cap-add", "NET_ADMIN")
for x in (web, api1, api2, db):
    x.serve(8000, "0.0.0.0")
    x.serve_udp(8002, "0.0.0.0")
d = lab.daemon(config="selfTest: 1s\nonUnknown: allow\n", only="", start=False)
d.start()
for name, n in (("shop/web", 1), ("shop/api", 2), ("shop/db", 1), ("shop/vpn", 1)):
    d.watched(name, n)


def cli(*args):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=False, timeout=120)


POLICY = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
          "workloads": [{"name": "shop/" + w, "mode": m} for w, m in (
              ("web", "enforce"), ("api", "enforce"), ("db", "enforce"), ("vpn", "observe"))],
          "edges": [{"from": x, "to": y, "proto": p, "port": q, "state": "approved"} for x, y, p, q in (
              ("shop/web", "shop/api", "tcp", 8000), ("shop/api", "shop/db", "tcp", 8000),
              ("shop/api", "shop/db", "udp", 8002), ("shop/web", "shop/db", "tcp", 8000),
              ({"host": True}, "shop/web", "tcp", 8000), ("shop/api", "shop/vpn", "tcp", 8000))]}
d.api.apply(json.dumps(POLICY))
edges = len(d.api.edges())
r = cli("verify", "-o", "json", "--max", "100")
v = json.loads(r.out)
t.note("%d probes: %d pass, %d fail, %d unclear" % (v["probes"], v["passed"], v["failed"], v["unclear"]))
bad = [x for x in v["cases"] if x["result"] != "pass"]
t.ok(r.returncode == 0 and v["probes"] > 100 and not bad, "what the policy says is so", bad)
allowed = {(x["from"], x["to"]): x["got"] for x in v["cases"] if x["expected"] == "allow"}
W = "workload:shop/"
t.ok(set(allowed) == {(W + "web", W + "api"), (W + "api", W + "db"), ("host", W + "web")},
     "approved edges with a network in common are answered", allowed)
t.ok(v["skipped"]["away"] == 2, "one without, and one to who may give itself addresses, are not probed", v["skipped"])
addrs = {i["id"]: set(i["addresses"]) for w in d.api.get("/v1/status")["workloads"] for i in w["instances"]}
t.ok(not [x for x in v["cases"] if x["dst"] in addrs[vpn.id[:12]]], "nor is anything sent to it")
t.ok({x["dst"] for x in v["cases"] if x["to"] == W + "api"} >= {api1.v4, api2.v4}, "both replicas are tried")
t.ok({x["from"] for x in v["cases"]} >= {W + "vpn"}, "who is not enforced is a source", {x["from"] for x in v["cases"]})


def tested():
    return [i["selfTest"] for w in d.api.get("/v1/status")["workloads"] for i in w["instances"]
            if w["name"] in ("shop/web", "shop/api", "shop/db")]


t.ok(wait(lambda: all(x["denied"] >= 3 for x in tested()), 30, step=0.5) and not any(x["passed"] for x in tested()),
     "the self-test has something to say of each", tested())
t.ok(len(d.api.edges()) == edges, "and nothing is learned", d.api.edges())
# Rules of others in the namespace that send a connection to where it is allowed, as a mesh does: no hole.
run("nsenter", "-t", str(web.pid), "-n", "nft", "add table ip mesh; add chain ip mesh o { type nat hook output priority -100; }; "
    "add rule ip mesh o ip protocol tcp dnat to %s:8000" % api1.v4)
own = [i["selfTest"] for i in d.api.workload("shop/web")["instances"]]
t.ok(wait(lambda: d.api.workload("shop/web")["instances"][0]["selfTest"]["unclear"] > own[0]["unclear"], 90, step=0.3) and
     not any(x["passed"] for x in tested()), "what somebody translates is no alarm", own, tested())
t.ok(not [x for x in d.api.edges() if x["to"] == "workload:shop/api" and x["connections"]], "nor learned", d.api.edges())
d.stop()
t.done()
