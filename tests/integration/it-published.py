#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A published port of Docker: one connection is one, and it names the workload behind the port and no
other, whichever way it takes."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Docker, Lab, PREFIX, Tap, run, wait

PORT = 20000 + os.getpid() % 9000
N = 5

t = Tap()
lab = Lab(real_host=True)
docker = Docker(lab)
net = PREFIX + "-net"
docker.network(net)
srv = docker.run(PREFIX + "-srv", "-p", "%d:80" % PORT, "-p", "%d:81" % (PORT + 1), network=net)
cli = docker.run(PREFIX + "-cli", network=net)
bystander = docker.run(PREFIX + "-by", "-p", "%d:80" % (PORT + 2), network=net)
out = lab.ns("out")
host = lab.host_place()
for p in (srv, bystander):
    p.serve(80)
srv.serve(81)
early = out.connect(lab.gw4, PORT + 1)  # through the port since before the start
d = lab.daemon(expect=[srv.name, cli.name, bystander.name, out.name])
api = d.api
SRV, CLI, BY, OUT = ("workload:" + x.name for x in (srv, cli, bystander, out))


def mine():
    return [f for f in api.flows() if f.get("port") in (PORT, PORT + 1, PORT + 2, 80, 81) and
            {f["from"], f["to"], f.get("behind")} & {SRV, CLI, BY, OUT}]


def case(name, dial, source, proxied=False):
    """dial() makes a connection; N of them. What docker-proxy passes on is a connection of the host's."""
    start = len(mine())
    made = [dial() for _ in range(N)]
    t.ok(made == ["open"] * N, name + ": it answers", made)
    wait(lambda: len(mine()) >= start + N, 2)
    time.sleep(0.3)
    new = mine()[start:]
    ours = [f for f in new if f["from"] == source]
    rest = [f for f in new if f not in ours and not (proxied and (f["from"], f["to"]) == ("host", SRV))]
    t.ok(len(ours) == N and not rest, name + ": %d connections are %d in `flows`" % (N, N), len(new), *new[:4])
    t.ok(len(ours) == N and all(f["to"] in ("host", SRV) for f in ours), name + ": from who made it", *new[:4])
    if not proxied:
        t.ok(ours and all(f.get("behind") == SRV or f["to"] == SRV for f in ours), name + ": naming who is behind the port",
             *ours[:2])
    wrong = [f for f in new if f.get("behind") not in (None, SRV) or BY in (f["from"], f["to"], f.get("behind"))]
    t.ok(not wrong, name + ": and nobody else", *wrong[:2])


case("a namespace, by address translation", lambda: out.tcp(lab.gw4, PORT, 2), OUT)
e = api.edge(from_=OUT, to="host", port=PORT)
f = api.edge(from_=OUT, to=SRV, port=80)
t.ok(e and e["connections"] == N and f and f["connections"] == N, "each end has its edge, with as many", e, f)
case("a container of the same network, by docker-proxy", lambda: cli.tcp(cli.gateway, PORT, 2), CLI, True)
e = api.edge(from_=CLI, to="host", port=PORT)
f = api.edge(from_="host", to=SRV, port=80)
t.ok(e and e["connections"] == N, "the client's end has its edge", e)
t.ok(f and f["flags"] == ["via-host"], "the server's end has one from the host, flagged", f)
case("a namespace over IPv6, by docker-proxy", lambda: out.tcp(lab.gw6, PORT, 2), OUT, True)
case("a container directly", lambda: cli.tcp(srv.v4, 80, 2), CLI)
t.ok(not api.edges(from_=BY) and not api.edges(to=BY) and not api.edges(from_=SRV),
     "no edge of a workload that took no part", api.edges(from_=SRV), api.edges(to=BY))
e = wait(lambda: api.edge(from_=OUT, to=SRV, port=81), 1)
t.ok(e, "a connection through the port from before the start has its edge", api.edges(from_=OUT))

# Enforced: both names of the same connection have to be approved, and both are enough.
api.approve(api.edge(from_=OUT, to="host", port=PORT)["id"], api.edge(from_=OUT, to=SRV, port=80)["id"])
api.mode("enforce", srv.name, out.name)
t.ok(out.tcp(lab.gw4, PORT, 1) == "open", "approved at both ends it passes")
t.ok(cli.tcp(cli.gateway, PORT, 0.6) != "open" and cli.tcp(srv.v4, 80) != "open",
     "what comes by docker-proxy does not: the edge from the host is not approved")
x = wait(lambda: api.denials(from_="host", to=SRV, port=80), 2)
t.ok(x, "and is a denial of the host's edge", api.denials())
t.done()
