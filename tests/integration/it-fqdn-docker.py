#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A container on a network of its own asks Docker's resolver, which is on its loopback behind a NAT and asks
a name server of the test: names are known by that, and edges to them are enforced. Whoever pretends to be
that resolver, inside, names nothing."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import dnslib
import ownlib
from nslab import PREFIX, Docker, Lab, Tap, wait

RESOLVER, SERVER, EVIL, PORT = "198.51.100.53", "198.51.100.80", "198.51.100.66", 7443
DOCKER = "127.0.0.11"
NET, NAME = PREFIX + "-net", PREFIX + "-app"

ownlib.alone(__file__)
t = Tap()
lab = Lab(real_host=True)
ownlib.start_docker(lab)
docker = Docker(lab)
out = lab.outside(RESOLVER)
via = out.exec("ip", "-4", "-o", "addr", "show", "eth0").out.split()[3].split("/")[0]
for addr in (SERVER, EVIL):
    out.ip("addr", "add", addr + "/32", "dev", "lo")
    lab.at_host("ip", "route", "add", addr + "/32", "via", via)
out.serve(PORT)
zone = {"www.shop.example": "pop.shop.example", "pop.shop.example": [SERVER], "other.example": [EVIL]}
server = dnslib.Server(out, RESOLVER, zone, cut=["big.shop.example"])
zone["big.shop.example"] = ["198.51.100.%d" % k for k in range(81, 121)]
d = lab.daemon(config="fqdnMinTtl: 1h\n")
api = d.api
docker.network(NET)
app = docker.run(NAME, "--dns", RESOLVER, network=NET)
d.watched(NAME)


def names():
    return {(n["name"], n["address"]) for n in api.get("/v1/names")}


found = wait(lambda: dnslib.ask(app, DOCKER, "www.shop.example"), 10, 0.2)
t.ok(found == [SERVER] and "www.shop.example" in server.asked, "Docker's resolver forwards to the test's", found, server.asked)
t.ok(wait(lambda: ("www.shop.example", SERVER) in names(), 7), "its answer on loopback is seen", api.get("/v1/names"),
     api.get("/v1/status")["names"])
app.tcp(SERVER, PORT, 3)
t.ok(wait(lambda: api.edge(from_="workload:" + NAME, to="fqdn:www.shop.example", port=PORT), 9),
     "and the peer goes by that name", api.edges())

E = {"from": NAME, "state": "approved"}
edges = [dict(E, to={"fqdn": "*.shop.example"}, proto="tcp", port=PORT)]
edges += [dict(E, to={"address": RESOLVER}, proto=p, port=53) for p in ("tcp", "udp")]
api.apply({"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "edges": edges,
           "workloads": [{"name": NAME, "mode": "enforce", "direction": "egress"}]})
t.ok(app.tcp(SERVER, PORT, 3) == "open" and app.tcp(EVIL, PORT) == "timeout", "the edge to it is enforced", api.denials())
found = dnslib.ask(app, DOCKER, "big.shop.example")
t.ok(len(found) == 40 and wait(lambda: ("big.shop.example", "198.51.100.120") in names(), 7),
     "an answer that comes over TCP on loopback", found, api.get("/v1/status")["names"])
dnslib.ask(app, DOCKER, "other.example")

# Root inside may bind any address of its loopback, this one too: but what is dialled there goes elsewhere.
fake = {"evil.shop.example": [EVIL]}
for addr in ("127.0.0.53", DOCKER):
    dnslib.Server(app, addr, fake)
    try:
        dnslib.ask(app, addr, "evil.shop.example", timeout=1.0)
    except OSError:
        pass
with app.socket(2, 2) as s, app.socket(2, 2) as client:
    s.bind(("127.0.0.12", 53))
    client.bind(("127.0.0.1", 0))
    q = dnslib.query(7, "evil.shop.example", dnslib.A)
    client.sendto(q, (DOCKER, 53))
    s.sendto(dnslib.answer(7, "evil.shop.example", dnslib.A, fake), client.getsockname())
t.ok(app.tcp(EVIL, PORT) == "timeout" and EVIL not in [a for n, a in names() if n.endswith("shop.example")],
     "who answers in its place names nothing", api.get("/v1/names"), api.get("/v1/status")["names"])
t.done()
