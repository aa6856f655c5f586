#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A namespace whose connections the kernel counts ends right after it has made some: each of them is one of its edges, and
nothing is a loss. The same of one that ends with thousands of them."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Lab, Tap, wait

LONG = 30
CLIENTS, CONNECTIONS, PLACES = 8, 25, 3000
t = Tap()
lab = Lab()
server, busy = lab.ns("s"), lab.ns("b")
clients = [lab.ns("c%d" % k) for k in range(CLIENTS)]
everybody = [server, busy] + clients
d = lab.daemon(config="aggregation: on\n", expect=[ns.name for ns in everybody])
api = d.api
server.serve(7001)
server.serve_udp(7002)
server.exec("ip", "route", "add", "local", "10.201.0.0/16", "dev", "lo")
busy.exec("ip", "route", "add", "10.201.0.0/16", "via", server.v4)


def states():
    w = api.workloads()
    return [(i["aggregation"] or {}).get("state") for ns in everybody for i in w[ns.name]["instances"]]


def counted(ns, **want):
    return sum(e["connections"] for e in api.edges(from_="workload:" + ns.name, **want))


def loss(ns):
    w = api.workload(ns.name)
    return w["loss"]["sources"], w["completeness"]["incompleteWindows"]


def links():
    return [w for line in lab.at_host("ip", "-br", "link").out.splitlines() for w in [line.split("@")[0]]
            if w.startswith("n%d." % os.getpid())]


t.ok(wait(lambda: states() == ["on"] * len(everybody), LONG), "the kernel counts", states(), d.text()[-2000:])
for k, ns in enumerate(clients):
    # At any time of the second between two readings.
    time.sleep(0.13 * k)
    answers = [ns.tcp(server.v4 if n % 2 else server.v6, 7001, 9) for n in range(CONNECTIONS)]
    answers += [ns.udp(server.v4 if n % 2 else server.v6, 7002, 9) for n in range(CONNECTIONS)]
    ns.delete()
    assert set(answers) == {"open", "answer"}, answers
for ns in clients:
    t.ok(wait(lambda: (counted(ns, proto="tcp"), counted(ns, proto="udp")) == (CONNECTIONS, CONNECTIONS), LONG),
         "all of %d connections that it made as it ended are told of" % (2 * CONNECTIONS),
         counted(ns, proto="tcp"), counted(ns, proto="udp"), d.text()[-2000:])
t.ok(all(loss(ns) == ([], 0) for ns in clients), "and nothing is a loss", [loss(ns) for ns in clients])

made = 0
for k in range(PLACES):
    try:
        busy.connect("10.201.%d.%d" % (k >> 8, k & 255), 7001, 5).close()
        made += 1
    except OSError:
        pass
busy.delete()
t.ok(made > PLACES * 0.9 and wait(lambda: counted(busy, proto="tcp") == made, LONG),
     "of one to thousands of places, all %d" % made, counted(busy, proto="tcp"), loss(busy))
t.ok(loss(busy) == ([], 0), "without a loss", loss(busy))
t.ok(wait(lambda: states() == ["on"], LONG), "and the others are counted as before", states())
# Their ends of the bridge's links go with them.
t.ok(wait(lambda: links() == ["n%d.1" % os.getpid()], LONG), "what was read holds no namespace", links())
t.done()
