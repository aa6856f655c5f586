#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is learned from traffic between namespaces: counted once, in the right direction, or not at all."""
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Lab, Tap, table_text, wait
from tightenlib import INIT, SCTP, Flow, sctp_packet
from tightenlib import serve as serve_sctp

SCTP_PORT = 7050
t = Tap()
began = int(time.time()) // 3600
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
stranger = lab.ns("x", prefix="nsx%d" % os.getpid())  # on the bridge, but not the daemon's to watch
OUTSIDE = "198.51.100.7"
outside = lab.outside(OUTSIDE)
A, B = "workload:" + a.name, "workload:" + b.name
keep = []

# Connections that are there before the daemon is: idle, and one where the server speaks first.
for port in (7100, 7101, 7102):
    listener = b.listen(port)
    client = a.connect(b.v4 if port != 7102 else b.v6, port)
    server, _ = listener.accept()
    server.settimeout(2)
    keep.append((listener, client, server))
# The listener is gone by the time the daemon looks: only the client's end can tell.
keep[2][0].close()
late_port = keep[2][1].getsockname()[1]

d = lab.daemon(expect=[a.name, b.name])
api = d.api
keep[1][2].sendall(b"server speaks first")
keep[1][1].recv(64)
keep[2][2].sendall(b"and here")
keep[2][1].recv(64)
wait(lambda: api.edge(from_=A, to=B, port=7101) and api.edge(from_=A, to=B, port=7100))
t.ok(api.edge(from_=A, to=B, port=7100), "a connection idle since before the start has its edge",
     api.edges())
t.ok(api.edge(from_=A, to=B, port=7101), "so has one whose server speaks first", api.edges())
time.sleep(0.1)
wrong = [e for e in api.edges(to=A) if e["flags"] != ["midstream"] or e["port"] != late_port]
t.ok(not wrong, "and no edge points the other way", wrong)
wrong = [e for e in api.edges(from_=A, port=7102) if e["flags"] != ["midstream"]]
t.ok(not wrong, "where the listener is gone meanwhile, what is claimed is flagged", wrong)

# One connection is one, however many namespaces see it.
b.serve(7001)
b.serve(7002)
b.serve_udp(7003)
b.serve_udp(7004)
for _ in range(20):
    a.tcp(b.v4, 7001)
for _ in range(15):
    a.tcp(b.v6, 7002)
answers = [a.udp(b.v4, 7003) for _ in range(12)]
answers += [a.udp(b.v6, 7004) for _ in range(11)]
t.ok(set(answers) == {"answer"}, "the traffic of the test is answered", answers)
pings = sum(a.ping(b.v4, 100 + k, count=3) for k in range(5))
pings += sum(a.ping(b.v6, 200 + k, count=3) for k in range(4))
t.ok(pings == 27, "so are its pings", pings)
for what, n, want in (("TCP, IPv4", 20, dict(proto="tcp", port=7001)),
                      ("TCP, IPv6", 15, dict(proto="tcp", port=7002)),
                      ("UDP, IPv4", 12, dict(proto="udp", port=7003)),
                      ("UDP, IPv6", 11, dict(proto="udp", port=7004)),
                      ("ICMP", 5, dict(proto="icmp", type=8)),
                      ("ICMPv6", 4, dict(proto="icmpv6", type=128))):
    e = wait(lambda: api.edge(from_=A, to=B, connections=n, **want), 2)
    t.ok(e, "%s: %d connections make one edge with exactly %d" % (what, n, n), api.edges(**want))
    f = api.flows(from_=A, to=B, **want)
    t.ok(len(f) == n, "and exactly as many lines of `flows`", len(f), f[:3])
    t.ok(not api.edges(from_=B, to=A, **want), "and nothing in the other direction")
t.ok(all(e["bytes"] is None and e["firstSeen"] and e["lastSeen"] and e["state"] == "pending" and
         e["id"].startswith("e-") for e in api.edges(from_=A)), "the edge has every field")

# SCTP counts when its association is up; one INIT alone does not make it, answered or not.
served = serve_sctp(b, (), (), (SCTP_PORT, SCTP_PORT + 1))
up = [Flow(a, b, "sctp", SCTP_PORT, six) for six in (False, True) for _ in range(3)]
t.ok(all(f.open() for f in up), "associations come up")
half = a.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
for sport in range(30001, 30051):
    half.sendto(sctp_packet(sport, SCTP_PORT + 1, 1, 0, INIT, 0), (b.v4, 0))
    got = Flow.wait_sctp(half, (SCTP_PORT + 1, sport, 2), False, 5)
    if not got:
        break
t.ok(got, "each INIT is answered", sport)
e = wait(lambda: api.edge(from_=A, to=B, proto="sctp", port=SCTP_PORT, connections=len(up)), 10)
t.ok(e and not e["flags"], "SCTP: %d associations make one edge with exactly %d" % (len(up), len(up)),
     api.edges(proto="sctp"))
for f in up:
    f.close()
half.close()
t.ok(len(api.edges(proto="sctp")) == 1, "and an INIT none", api.edges(proto="sctp"))
os.kill(served, signal.SIGKILL)
os.waitpid(served, 0)

# What is not an edge. First packets of UDP are reported at most 20 times a second.
time.sleep(1.1)
closed = [a.tcp(b.v4, 7900), a.tcp(b.v6, 7901)]
silent = b.socket(socket.AF_INET6, socket.SOCK_DGRAM)
silent.bind(("::", 7902))
silent_udp = a.udp(b.v4, 7902, 0.1)
refused_udp = a.udp(b.v4, 7903, 0.3)
t.ok(closed == ["refused"] * 2 and silent_udp == "timeout" and refused_udp == "refused",
     "closed and silent ports are that", closed, silent_udp, refused_udp)
with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.sendto(b"hello", ("239.7.7.7", 7904))
with a.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
    s.sendto(b"hello", ("ff05::7:7", 7905))
a.serve(7906)
a.tcp("127.0.0.1", 7906)
a.tcp("::1", 7906)
a.tcp(a.v4, 7907)
a.serve(7908)
a.tcp(a.v4, 7908)

# Other peers.
lab.host.serve(7200)
stranger.serve(7201)
outside.serve(7202)
t.ok([a.tcp(lab.gw4, 7200), a.tcp(lab.gw6, 7200), a.tcp(stranger.v4, 7201),
      a.tcp(OUTSIDE, 7202, 2), lab.host.tcp(b.v4, 7001), stranger.tcp(b.v4, 7001)] == ["open"] * 6,
     "host, stranger and the outside answer")
for what, want in (("host", dict(from_=A, to="host", port=7200)),
                   ("addr", dict(from_=A, to="addr:" + stranger.v4, port=7201)),
                   ("internet", dict(from_=A, to="internet", port=7202)),
                   ("addr as a source", dict(from_="addr:" + stranger.v4, to=B, port=7001))):
    # A bare address waits for any name that is on its way on this machine.
    t.ok(wait(lambda: api.edge(**want), 7), "an edge with the peer " + what, api.edges())
t.ok(api.edge(from_=A, to="host", port=7200)["connections"] == 2, "to the host: both are counted")
e = wait(lambda: api.edge(from_="host", to=B, port=7001), 2)
t.ok(e and "via-host" in e["flags"], "from the host: flagged via-host", e)
t.ok(e and not api.edge(from_=A, to=B, port=7001)["flags"], "other edges are not", e)

wait(lambda: api.attempts(port=7905) and api.attempts(port=7900), 9, 0.2)
for what, want in (("a closed TCP port", dict(from_=A, to=B, proto="tcp", port=7900)),
                   ("one over IPv6", dict(from_=A, to=B, proto="tcp", port=7901)),
                   ("silent UDP", dict(from_=A, to=B, proto="udp", port=7902)),
                   ("refused UDP", dict(from_=A, to=B, proto="udp", port=7903)),
                   ("multicast", dict(from_=A, to="multicast", proto="udp", port=7904)),
                   ("IPv6 multicast", dict(from_=A, to="multicast", proto="udp", port=7905))):
    found = api.attempts(**want)
    t.ok(len(found) == 1 and found[0]["count"] == 1, what + " is one attempt", api.attempts())
bad = [e for e in api.edges() if e.get("port") and 7900 <= e["port"] <= 7908]
t.ok(not bad, "none of these, and nothing on loopback, is an edge", bad)
bad = [x for x in api.denials() if True]
t.ok(not bad, "and an attempt is not a denial", bad)
known = [x for x in api.attempts() if x.get("port") in range(7000, 7300)]
t.ok(not known, "an answered connection is no attempt", known)

# A namespace that comes later, and one that goes: its address is nobody's then.
c = lab.ns("c", k=200)
d.watched(c.name)
c.tcp(b.v4, 7001)
t.ok(wait(lambda: api.edge(from_="workload:" + c.name, to=B, port=7001), 2),
     "a namespace that starts later is a workload", api.edges(to=B))
c.delete()
lab.spaces.remove(c)
wait(lambda: not (api.workload(c.name) or {"instances": []})["instances"], 3)
again = lab.ns("x2", prefix="nsx%d" % os.getpid(), k=200)
again.tcp(b.v4, 7001)
t.ok(wait(lambda: api.edge(from_="addr:" + again.v4, to=B, port=7001), 7),
     "its address, taken by another, is not credited to it", api.edges(to=B, port=7001))

s = api.get("/v1/status")
t.ok(set(w["name"] for w in s["workloads"] if w["instances"]) == {a.name, b.name},
     "only what --only selects is a workload", [w["name"] for w in s["workloads"]])
t.ok(all(w["loss"] == {"events": 0, "packets": 0, "forgotten": 0, "sources": []} and w["enforceable"] == "full" and
         w["conntrack"]["max"] > 0 for w in s["workloads"] if w["instances"]),
     "no loss so far, and every field is there", s)
t.ok(not table_text(stranger, d.table()), "nothing is loaded where --only does not select")

# An overrun: the reader stands still while more happens than the buffer holds.
d.stop()
d.configure("eventBuffer: 262144\n")
quiet = lab.ns("quiet")
d.start(expect=[a.name, b.name, quiet.name])
roles = d.roles()
for port in range(7300, 7320):
    b.serve_udp(port)
b.serve(7330)
os.kill(roles["controller"], signal.SIGSTOP)
kept, made = [], 0
try:
    for k in range(3000):
        s = a.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(1)
        s.connect((b.v4, 7300 + k % 20 if k > 2500 else 7300))
        s.send(b"x")
        s.recv(8)
        made += 1
        s.close()
    kept = [a.connect(b.v4, 7330) for _ in range(3)]
    for s in kept:
        s.sendall(b"x")
        s.recv(8)
finally:
    os.kill(roles["controller"], signal.SIGCONT)
t.ok(made == 3000, "3,000 connections while the reader stands still", made)


def lost():
    return sum(w["loss"]["events"] for w in api.workloads().values())


t.ok(wait(lost, 5), "the loss is counted in the status", api.workloads())
w = api.workloads()
lossy = [n for n, x in w.items() if x["loss"]["events"] > 0]
t.ok(lossy and all(w[n]["completeness"]["incompleteWindows"] == 1 for n in lossy),
     "the hour does not count as observed for whom it hit", {n: w[n]["completeness"] for n in lossy})
whole = [n for n, x in w.items() if n not in lossy and x["instances"]]
t.ok(int(time.time()) // 3600 != began or
     (whole and all(w[n]["completeness"]["incompleteWindows"] == 0 for n in whole)),
     "and for nobody else", {n: w[n]["completeness"] for n in whole})
missing = lambda: [p for p in list(range(7300, 7320)) if not api.edge(from_=A, to=B, proto="udp", port=p)]
# A dump is asked for at most every ten seconds, and one was at the start.
wait(lambda: not missing() and api.edge(from_=A, to=B, proto="tcp", port=7330), 14)
t.ok(not missing(), "and every edge is there after the resync", missing())
t.ok(api.edge(from_=A, to=B, proto="tcp", port=7330), "those of TCP too")
wrong = [e for e in api.edges(from_=B, to=A) if e.get("port") != late_port]
t.ok(not wrong, "none of them reversed", wrong)
udp = api.edge(from_=A, to=B, proto="udp", port=7300)
t.ok(udp and udp["connections"] <= 3000, "and nothing is counted twice", udp)
t.done()
