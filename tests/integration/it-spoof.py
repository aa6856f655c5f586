#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet with somebody else's source address makes no edge: not at its destination, not at the owner
of the address, not at its sender. And what the owner does itself is credited as ever."""
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Lab, Tap, wait
from rawframe import Sender, echo, syn, udp

t = Tap()
lab = Lab()
owner, server, evil = lab.ns("owner"), lab.ns("server"), lab.ns("evil")
d = lab.daemon(expect=[owner.name, server.name, evil.name])
api = d.api
OWNER, SERVER, EVIL = ("workload:" + n.name for n in (owner, server, evil))
UDP, TCP, ICMP, GENUINE, REFLECT = 7001, 7002, 8, 7005, 7006
FLOOD = 2000


def answered():
    """Answers that the server's namespace has given, as its interface counts them."""
    link = json.loads(server.ip("-j", "-s", "link", "show", "dev", "eth0").out)[0]
    return link["stats64"]["tx"]["packets"]


sender = Sender(evil, server)
server.serve_udp(UDP)
server.serve(TCP)
server.serve_udp(REFLECT)
owner.serve_udp(REFLECT)
server.serve(GENUINE)
t.ok(owner.tcp(server.v4, GENUINE) == "open" and evil.tcp(server.v4, GENUINE) == "open" and
     wait(lambda: api.edge(from_=OWNER, to=SERVER, port=GENUINE) and
          api.edge(from_=EVIL, to=SERVER, port=GENUINE), 10),
     "what both of them do themselves are edges", api.edges())

# Whoever was attached in the last two seconds may have missed something: then edges are flagged.
time.sleep(2.5)
# The owner's address is known to the server's neighbour table: what is answered goes to it.
before = answered()
sender.send(owner.v4, socket.IPPROTO_UDP, udp(20000, UDP))
sender.send(owner.v6, socket.IPPROTO_UDP, udp(20001, UDP))
sender.send(owner.v4, socket.IPPROTO_TCP, syn(20002, TCP))
sender.send(owner.v4, socket.IPPROTO_ICMP, echo(77))
sender.send(owner.v4, socket.IPPROTO_UDP, udp(REFLECT, REFLECT))
# Not from ports that the owner may be given for its own.
for k in range(FLOOD):
    sender.send(owner.v4, socket.IPPROTO_UDP, udp(21000 + k, UDP))
t.ok(wait(lambda: answered() - before >= FLOOD, 10), "the server answers them", answered() - before)


def spoofed():
    return api.get("/v1/status")["spoofedFlows"]


t.ok(wait(lambda: spoofed() >= FLOOD, 30), "they are counted as what nobody has sent", spoofed())
edges = [e for e in api.edges() if e.get("port") != GENUINE]
t.ok(not edges, "and none of them is an edge, with anybody", edges)
metric = [l for l in api.raw("GET", "/metrics")[1].decode().splitlines()
          if l.startswith("nanoseg_spoofed_flows_total ")]
t.ok(metric and int(metric[0].split()[1]) >= FLOOD, "the metrics say so", metric)

# The owner's own connections to the same ports are credited as soon as it makes them.
t.ok(owner.udp(server.v4, UDP) == "answer" and owner.tcp(server.v4, TCP) == "open" and
     owner.ping(server.v4, 5) == 1, "the owner itself is answered")
for what, want in (("UDP", dict(proto="udp", port=UDP)), ("TCP", dict(proto="tcp", port=TCP)),
                   ("ICMP", dict(proto="icmp", type=ICMP))):
    e = wait(lambda: api.edge(from_=OWNER, to=SERVER, **want), 10)
    t.ok(e and e["connections"] == 1 and e["flags"] == [], what + " of its own is an edge with one", e)
wrong = [e for e in api.edges() if e["from"] != OWNER and e.get("port") != GENUINE]
t.ok(not wrong, "no other is", wrong)
t.done()
