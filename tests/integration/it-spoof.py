#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet with somebody else's source address makes no edge: not at its destination, not at the owner
of the address, not at its sender. And what the owner does itself is credited as ever."""
import json
import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Lab, Place, Tap, run, wait
from rawframe import Sender, echo, syn, udp

t = Tap()
lab = Lab()
owner, server, evil = lab.ns("owner"), lab.ns("server"), lab.ns("evil")
d = lab.daemon(expect=[owner.name, server.name, evil.name])
api = d.api
OWNER, SERVER, EVIL = ("workload:" + n.name for n in (owner, server, evil))
UDP, TCP, ICMP, GENUINE, REFLECT, NESTED = 7001, 7002, 8, 7005, 7006, 7007
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

# What it sends on for a namespace that has been made inside goes out under its address.
inner = subprocess.Popen(["nsenter", "--net=/run/netns/" + owner.name, "unshare", "--net", "sleep", "60"],
                         stdin=subprocess.DEVNULL)
lab.later(lambda: (inner.kill(), inner.wait()))
outside = {os.stat(p).st_ino for p in ("/run/netns/" + owner.name, "/proc/self/ns/net")}
wait(lambda: os.stat("/proc/%d/ns/net" % inner.pid).st_ino not in outside)
owner.exec("sysctl", "-qw", "net.ipv4.ip_forward=1")
owner.ip("link", "add", "in0", "type", "veth", "peer", "name", "eth0", "netns", str(inner.pid))
owner.ip("addr", "add", "172.31.77.1/24", "dev", "in0")
owner.ip("link", "set", "in0", "up")
for cmd in (["addr", "add", "172.31.77.2/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
            ["route", "add", "default", "via", "172.31.77.1"]):
    run("nsenter", "-t", str(inner.pid), "-n", "ip", *cmd)
owner.exec("nft", "add table ip inner; add chain ip inner post { type nat hook postrouting priority 100; }; "
           "add rule ip inner post ip saddr 172.31.77.0/24 masquerade")
nested, before = Place("/proc/%d/ns/net" % inner.pid), spoofed()
server.serve(NESTED)
t.ok(wait(lambda: nested.tcp(server.v4, NESTED) == "open", 5), "a nested namespace connects by its owner's address")
e = wait(lambda: api.edge(from_=OWNER, to=SERVER, port=NESTED), 10)
t.ok(e and e["flags"] == [] and spoofed() == before, "and is credited to it by both ends, spoofed by nobody", e, spoofed())
nested.close()
wrong = [e for e in api.edges() if e["from"] != OWNER and e.get("port") != GENUINE]
t.ok(not wrong, "no other is", wrong)
t.done()
