#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SYN floods from spoofed ranges, on closed and open ports, a burst of distinct tuples, and more edges than there is room for:
nothing is credited wrongly, memory is bounded, what found no room is said.

NST_FLOOD_TUPLES is the size of the burst, 40,000 unless told."""
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, run, wait
from rawframe import Sender, segment, syn, udp

TUPLES = int(os.environ.get("NST_FLOOD_TUPLES", "40000"))
SYNS, MAX_EDGES, SERVICES = 20000, 100, 300
PORTS, FIRST, PART = 64, 9000, 1000000
t = Tap()
lab = Lab()
client, server, evil = lab.ns("client"), lab.ns("server"), lab.ns("evil")
d = lab.daemon("maxEdges: %d\n" % MAX_EDGES, expect=[client.name, server.name, evil.name])
api = d.api
CLIENT, SERVER = "workload:" + client.name, "workload:" + server.name


def memory():
    """Of the controller, in KB: resident, and its share of it."""
    with open("/proc/%d/smaps_rollup" % d.roles()["controller"]) as f:
        of = dict(re.findall(r"^(Rss|Pss): +(\d+)", f.read(), re.M))
    return int(of["Rss"]), int(of["Pss"])


def answers_sent():
    """Segments that the server's TCP has sent."""
    lines = [l.split() for l in server.exec("cat", "/proc/net/snmp").out.splitlines() if l.startswith("Tcp:")]
    return int(dict(zip(*lines))["OutSegs"])


def losses():
    return api.get("/v1/status")["losses"]


def metric(name):
    lines = api.raw("GET", "/metrics")[1].decode().splitlines()
    return next((int(l.split()[-1]) for l in lines if l.startswith(name + " ")), None)


server.serve(7001)
t.ok(client.tcp(server.v4, 7001) == "open" and
     wait(lambda: api.edge(from_=CLIENT, to=SERVER, port=7001), 10), "a client is an edge", api.edges())
time.sleep(2.5)  # who was attached in the last two seconds may have missed something
before = memory()

# SYNs from addresses of the network, of a LAN and of the internet, none of which has sent them.
sender = Sender(evil, server)
began = time.monotonic()
for k in range(SYNS):
    src = (client.v4, "10.77.%d.%d" % (k >> 8 & 255, k & 255),
           "198.18.%d.%d" % (k >> 8 & 255, k & 255))[k % 3]
    sender.send(src, socket.IPPROTO_TCP, syn(1024 + k % 60000, 7100 + k % 50))
for k in range(200):
    sender.send(client.v4, socket.IPPROTO_TCP, syn(20000 + k, 7002))
server.serve(7002)
for k in range(200):
    sender.send(client.v4, socket.IPPROTO_TCP, syn(30000 + k, 7002))
server.serve_udp(7002)
for k in range(200):
    sender.send(client.v4, socket.IPPROTO_UDP, udp(30000 + k, 7002))
t.ok(wait(lambda: api.get("/v1/status")["spoofedFlows"] >= 1, 30),
     "what is answered in the name of one who has not sent it is counted")
t.note("%d SYNs in %.1f s" % (SYNS, time.monotonic() - began))
edges = [e for e in api.edges() if e.get("port") != 7001]
t.ok(not edges, "no SYN of a flood is an edge, answered or refused", edges)

# An open port answers every SYN. Only whoever hears it can go on: a guess does not, nor does a scan's reset.
def elsewhere(k):
    return "%s.%d.%d" % ("198.18" if k % 2 else "10.77", k >> 8 & 255, k & 255)


server.serve(7003)
sent = answers_sent()
for k in range(3000):
    sender.send(elsewhere(k), socket.IPPROTO_TCP, syn(1024 + k, 7003))
# Conntrack takes 66,000 of the 2^32 numbers there are for an answer, so of as few as these none is taken in all but
# one of two thousand runs.
for k in range(0, 3000, 100):
    sender.send(elsewhere(k), socket.IPPROTO_TCP, segment(1024 + k, 7003, 16, 2, 2000000011 * k & 0xffffffff))
for k in range(200):
    sender.send(evil.v4, socket.IPPROTO_TCP, syn(40000 + k, 7003))
t.ok(wait(lambda: answers_sent() - sent >= 500, 20), "an open port answers SYNs of forged addresses",
     answers_sent() - sent)
t.ok(wait(lambda: api.attempts(port=7003), 30), "which are shown as attempts", api.attempts())
edges = api.edges(port=7003)
t.ok(not edges, "and none of them is an edge", edges)
t.ok(client.tcp(server.v4, 7003) == "open" and wait(lambda: api.edge(from_=CLIENT, to=SERVER, port=7003), 10),
     "one that is taken up is", api.edges())

# A burst of tuples that are all different, each answered.
made, spent = 0, 0.0
while made < TUPLES:
    n = min(PART, TUPLES - made)
    out = run(BUILD + "/tests/bench/flowgen", "udp", "/run/netns/" + client.name,
              "/run/netns/" + server.name, server.v4, str(FIRST), str(PORTS), str(n),
              timeout=150).out.split()
    made, spent = made + int(out[1]), spent + int(out[3]) / 1000
    if int(out[1]) < n:
        break
t.ok(made == TUPLES, "%d distinct tuples are answered" % TUPLES, made)


def counted():
    return sum(e["connections"] for e in api.edges(proto="udp"))


def is_loud():
    """The hour does not count, the source of the loss is told, and an alert says whom it has hit."""
    ws = [api.workload(n.name) for n in (client, server)]
    told = {a["workload"] for a in api.get("/v1/alerts")["alerts"] if a["kind"] == "loss"}
    return all(w["completeness"]["incompleteWindows"] > 0 and w["loss"]["sources"] and w["name"] in told for w in ws)


# A million are more than conntrack's table holds: it drops some that it has no answer of yet.
wait(lambda: counted() == TUPLES, 5)
if counted() != TUPLES:
    wait(is_loud, 30)
    t.note("lost: %s" % {n.name: api.workload(n.name)["loss"] for n in (client, server)})
t.note("%d of them counted" % counted())
t.ok(counted() == TUPLES or (TUPLES * 0.99 < counted() < TUPLES and is_loud()),
     "each of them is counted, or it is told what was lost, of whom, and the hour does not count", counted(), api.workloads())
edges = api.edges()
t.ok(len(edges) <= 13 and all(e["from"] == CLIENT and e["to"] == SERVER for e in edges),
     "they are a handful of edges, of the two who have talked", edges)
after = memory()
t.note("%d tuples in %.1f s; controller: RSS %d -> %d KB, PSS %d -> %d KB" %
       (made, spent, before[0], after[0], before[1], after[1]))
t.ok(after[0] - before[0] < 24576 and after[1] < 49152, "memory is what it was", before, after)

# More services than there is room for, each of them an edge of its own: they are below 1024.
for port in range(1, 1 + SERVICES):
    server.serve_udp(port)
answers = sum(client.udp(server.v4, port) == "answer" for port in range(1, 1 + SERVICES))
t.ok(answers == SERVICES, "%d services answer" % SERVICES, answers)
t.ok(wait(lambda: losses()["edgeTable"] >= SERVICES - MAX_EDGES, 20),
     "what found no room is in the status", losses())
t.ok(len(api.edges()) <= MAX_EDGES, "there are no more edges than may be", len(api.edges()))
t.ok((metric('nanoseg_lost_total{source="edge_table"}') or 0) >= SERVICES - MAX_EDGES,
     "and in the metrics", metric('nanoseg_lost_total{source="edge_table"}'))
w = api.workloads()
t.ok(all(w[n.name]["completeness"]["incompleteWindows"] > 0 for n in (client, server)) and
     w[evil.name]["completeness"]["incompleteWindows"] == 0,
     "the hour does not count as observed for the two of them, and for nobody else",
     {n: x["completeness"] for n, x in w.items()})
t.ok(all("edgeTable" in w[n.name]["loss"]["sources"] for n in (client, server)) and not w[evil.name]["loss"]["sources"],
     "with the reason", {n: x["loss"] for n, x in w.items()})
alerts = [a for a in api.get("/v1/alerts")["alerts"] if a["kind"] in ("loss", "spoofedSource")]
t.ok({a["kind"] for a in alerts} == {"loss", "spoofedSource"}, "alerts tell of both", alerts)
t.done()
