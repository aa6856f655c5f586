#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Domain names: external peers are called by them, edges to them are enforced, and nobody but the
instance's own resolver can open anything. Connections that a rule comes late for succeed all the same."""
import calendar
import concurrent.futures
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import dnslib
import guardlib
from nslab import Lab, Tap, table_text, wait

RESOLVER, ROGUE, EVIL = "203.0.113.53", "203.0.113.54", "203.0.113.66"
PORT = 7443
MIN_TTL = 4  # seconds; the answers are for one
MANY = ["203.0.113.%d" % k for k in range(100, 160)]
V6 = "2001:db8:77::1"
ZONE = {
    "api.test.example": ["203.0.113.10"],
    "other.test.example": ["203.0.113.11"],
    "www.chain.example": "edge.chain.example",
    "edge.chain.example": "pop.cdn.example",
    "pop.cdn.example": ["203.0.113.12", "203.0.113.13"],
    "six.wild.example": [V6],
    "wild.example": ["203.0.113.14"],
    "big.wild.example": "edge.big.example",
    "edge.big.example": "pop.big.example",
    "pop.big.example": MANY,
    "huge.wild.example": ["203.0.113.33"] * 900,
    "one.wild.example": ["203.0.113.31"],
    "two.wild.example": ["203.0.113.32"],
    "bad.wild.example": ["203.0.113.15"],
    "forged.wild.example": ["203.0.113.16"],
    "brief.wild.example": ["203.0.113.17"],
    "late.wild.example": ["203.0.113.18"],
    "rebound.wild.example": [],  # filled in below
}
for k in range(6):
    ZONE["n%d.wild.example" % k] = ["203.0.113.%d" % (20 + k)]

t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
ZONE["rebound.wild.example"] = [b.v4, "127.0.0.5", "169.254.1.1"]
out = lab.outside(RESOLVER)
for addr in [ROGUE, EVIL] + sorted({x for l in ZONE.values() if isinstance(l, list) for x in l}):
    if addr.startswith("203."):
        out.ip("addr", "add", addr + "/32", "dev", "lo")
dev = "no%d" % os.getpid()
lab.at_host("ip", "route", "add", "203.0.113.0/24", "via", out.exec("ip", "-4", "-o", "addr", "show", "eth0").out.split()[3].split("/")[0])
lab.at_host("ip", "addr", "add", "fd77::1/64", "dev", dev, "nodad")
out.ip("addr", "add", "fd77::2/64", "dev", "eth0", "nodad")
out.ip("addr", "add", V6 + "/128", "dev", "lo")
out.ip("-6", "route", "add", "default", "via", "fd77::1")
lab.at_host("ip", "route", "add", V6 + "/128", "via", "fd77::2")
for port in (PORT, PORT + 1):
    out.serve(port)
    b.serve(port)
server = dnslib.Server(out, RESOLVER, ZONE, cut=["big.wild.example"])
# The first byte of the first answer over TCP comes last: it is lost, and sent again.
lab.host.exec("nft", """table inet lossy {
    counter lost {}
    chain way { type filter hook forward priority 0
        tcp sport 53 meta length 53 limit rate 1/day burst 1 packets counter name lost drop
    }
}""")
rogue = dnslib.Server(out, ROGUE, dict(ZONE, **{"forged.wild.example": [EVIL]}))
d = lab.daemon(config="resolvers: [%s]\nfqdnMinTtl: %ds\nhostGuard: on\n" % (RESOLVER, MIN_TTL), expect=[a.name, b.name])
api = d.api
AW = "workload:" + a.name


def names():
    return api.get("/v1/names")


def opened(addr):
    return addr in table_text(a, d.table())


def guard_text():
    found = re.findall(r"table netdev (nanoseg_\w+)", lab.host.exec("nft", "list", "tables").out)
    return "".join(lab.host.exec("nft", "list", "table", "netdev", g).out for g in found)


def late(host, kind=dnslib.A, pick=0, patience=8):
    """Asks, connects at once, and how long that took in seconds; None: it failed."""
    addr = dnslib.ask(a, RESOLVER, host, kind)[pick]
    began = time.monotonic()
    return time.monotonic() - began if a.tcp(addr, PORT, patience) == "open" else None


# Labels
dnslib.ask(a, RESOLVER, "api.test.example")
wait(names)
a.tcp("203.0.113.10", PORT)
a.tcp("203.0.113.11", PORT)
t.ok(wait(lambda: api.edge(from_=AW, to="fqdn:api.test.example", port=PORT), 7), "an external peer goes by its name",
     api.edges(), names())
t.ok(wait(lambda: api.edge(from_=AW, to="internet", port=PORT), 7), "one without is the internet", api.edges())
dnslib.ask(a, ROGUE, "other.test.example")
t.ok(wait(lambda: api.get("/v1/status")["names"]["untrusted"] == 1) and
     not [n for n in names() if n["name"] == "other.test.example"],
     "a resolver that nobody configured names nothing", names(), api.get("/v1/status")["names"])

# Enforced
E = {"from": a.name, "proto": "tcp", "state": "approved"}
edges = [dict(E, to={"address": RESOLVER}, port=53), dict(E, to={"address": RESOLVER}, port=53, proto="udp"),
         dict(E, to={"address": ROGUE}, port=53, proto="udp"),
         dict(E, to={"fqdn": "api.test.example"}, port=PORT), dict(E, to={"fqdn": "www.chain.example"}, port=PORT),
         dict(E, to={"fqdn": "*.wild.example"}, port=PORT),
         dict(E, to={"fqdn": "bad.wild.example"}, port=PORT, state="denied")]
POLICY = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "edges": edges,
          "workloads": [{"name": a.name, "mode": "enforce", "direction": "egress"}]}
api.apply(POLICY)
t.ok(a.tcp("203.0.113.10", PORT, 3) == "open", "what was told before the edge was there is remembered",
     table_text(a, d.table()))
t.ok(a.tcp("203.0.113.10", PORT + 1) == "timeout" and a.tcp("203.0.113.11", PORT) == "timeout",
     "another port, another address: dropped, not refused")
with concurrent.futures.ThreadPoolExecutor() as pool:
    some = [pool.submit(late, "n%d.wild.example" % k) for k in range(6)]
    chain, six, big, bad, brief = (pool.submit(late, *what) for what in (
        ("www.chain.example", dnslib.A, 1), ("six.wild.example", dnslib.AAAA), ("big.wild.example", dnslib.A, 59),
        ("bad.wild.example", dnslib.A, 0, 2.5), ("brief.wild.example",)))
    times, chain, six, big, bad, brief = [f.result() for f in some], *(f.result() for f in (chain, six, big, bad, brief))
held = a.connect("203.0.113.20", PORT)
a.exec("conntrack", "-D", "-p", "tcp", "-d", "203.0.113.17", check=False)
t.ok(None not in times, "a first connection right after the answer succeeds", times)
again = sum(x is not None and x > 0.9 for x in times)
t.note("first SYN: %d of %d were sent again; connected after %s ms" % (
    again, len(times), ", ".join("%.0f" % (x * 1000) for x in sorted(x for x in times if x is not None))))
t.note(" ".join(l for l in api.raw("GET", "/metrics")[1].decode().splitlines() if "name_late" in l and l[0] != "#"))
t.ok(chain is not None and opened("203.0.113.12"), "a chain of CNAMEs, several addresses", chain)
t.ok(six is not None, "IPv6", table_text(a, d.table()))
t.ok(big is not None and opened(MANY[0]), "an answer that did not fit, over TCP: a chain and %d addresses, out of order" %
     len(MANY), len(names()), api.get("/v1/status")["names"])
lost = lab.host.exec("nft", "list", "counters", "table", "inet", "lossy").out
t.ok("packets 1 " in lost, "whose first byte came last", lost)
dnslib.ask(a, RESOLVER, "huge.wild.example", tcp=True)
t.ok(wait(lambda: opened("203.0.113.33")), "one of 29 KB is read as far as there is room for it", api.get("/v1/status")["names"])
dnslib.ask_together(a, RESOLVER, ["one.wild.example", "two.wild.example"])
t.ok(wait(lambda: opened("203.0.113.31") and opened("203.0.113.32")), "two that are asked and answered at once", names())
t.ok(bad is None, "a denied name beats the wildcard over it")
dnslib.ask(a, RESOLVER, "wild.example")
dnslib.ask(a, RESOLVER, "other.test.example")
t.ok(a.tcp("203.0.113.14", PORT) == "timeout" and a.tcp("203.0.113.11", PORT) == "timeout",
     "a wildcard is for what is below it, and a name without an edge opens nothing")
got = api.denials(to="fqdn:other.test.example") if wait(lambda: api.denials(to="fqdn:other.test.example"), 7) else []
t.ok(got and got[0]["name"] == "other.test.example", "the denial has the name", api.denials())

# The guard at the host's end, for what is sent past the rules.
oracle, gate = guardlib.Oracle(out), guardlib.mac(json.loads(lab.host.ip("-j", "link", "show", "dev", lab.bridge).out)[0]["address"])
own = guardlib.mac(json.loads(a.ip("-j", "link", "show", "dev", "eth0").out)[0]["address"])
with a.socket(17, 3) as s:  # AF_PACKET, SOCK_RAW
    s.bind(("eth0", 0))
    for k, (to, port) in enumerate((("203.0.113.11", PORT), (EVIL, PORT), ("203.0.113.10", PORT + 1), ("203.0.113.10", PORT))):
        segment = guardlib.tcp(a.v4, to, 40000 + k, port, 2, b"raw%d" % k)
        s.send(guardlib.ether(own, gate, 0x800, guardlib.packet(a.v4, to, 6, segment)))
t.ok(wait(lambda: oracle.count(b"raw3"), 5), "what is sent past the rules reaches a name's address", guard_text())
passed = [k for k in range(3) if oracle.count(b"raw%d" % k)]
t.ok(not passed, "and no other one", passed, guard_text(), api.workload(a.name)["instances"])

# What no name may lead to.
dnslib.ask(a, RESOLVER, "rebound.wild.example")
wait(lambda: [n for n in names() if n["name"] == "rebound.wild.example"])
t.ok(a.tcp(b.v4, PORT) in ("refused", "timeout") and not opened("127.0.0.5") and not opened("169.254.1.1"),
     "a name leads to no workload, and to nothing on the link", table_text(a, d.table()))


# Forged
def forge(ident, name, kind):
    zone = {name: [EVIL], "api.test.example": [EVIL]}
    yield dnslib.answer(ident ^ 1, name, kind, zone)  # another id
    yield dnslib.answer(ident, "api.test.example", kind, zone)  # another question
    yield dnslib.answer(ident, name, dnslib.AAAA, {name: ["2001:db8:77::66"]})  # another type
    yield dnslib.answer(ident, name, kind, zone)[:40] + b"\xc0\xff" * 9  # nonsense


server.before = forge
found = dnslib.ask(a, RESOLVER, "forged.wild.example")
server.before = None
dnslib.ask(a, ROGUE, "forged.wild.example")
with a.socket(2, 2) as s:  # nothing was asked from that port
    s.bind((a.v4, 5353))
    for k in range(3):
        server.udp.sendto(dnslib.answer(k, "forged.wild.example", dnslib.A, {"forged.wild.example": [EVIL]}), (a.v4, 5353))

# A raw socket inside: as if the resolver had sent it, by the loopback.
with a.socket(2, 2) as client, a.socket(2, 3, 255) as raw:  # SOCK_DGRAM; SOCK_RAW, IPPROTO_RAW
    client.bind((a.v4, 0))
    client.connect((RESOLVER, 53))
    name, zone = "inside.wild.example", {"inside.wild.example": [EVIL]}
    data = guardlib.udp(RESOLVER, a.v4, 53, client.getsockname()[1], dnslib.answer(9, name, dnslib.A, zone))
    client.settimeout(3)
    server.before = lambda *_: time.sleep(0.3) or ()
    client.send(dnslib.query(9, name, dnslib.A))
    raw.sendto(guardlib.ip4(RESOLVER, a.v4, 17, data), (a.v4, 0))
    believed = client.recv(4096) == dnslib.answer(9, name, dnslib.A, zone)
    server.before = None
t.ok(believed, "who forges an answer to himself gets it")
t.ok(wait(lambda: opened("203.0.113.16")), "the true answer counts", found, table_text(a, d.table()))
t.ok(a.tcp(EVIL, PORT) == "timeout" and not opened(EVIL) and not opened("2001:db8:77::66") and
     EVIL not in [n["address"] for n in names()], "and no forged one opens anything", names(), api.get("/v1/status")["names"])

# How long
t.ok(brief is not None and wait(lambda: not opened("203.0.113.17") and "203.0.113.17" not in guard_text(), 20, 0.2),
     "an address that nobody uses goes after fqdnMinTtl",
     names())
held.sendall(b"ping")
t.ok(opened("203.0.113.20") and held.recv(16) and a.tcp("203.0.113.20", PORT, 3) == "open",
     "one in use stays, though it has not been asked for since")
began = time.monotonic()
dnslib.ask(a, RESOLVER, "brief.wild.example")
wait(lambda: opened("203.0.113.17"))
until = [n["until"] for n in names() if n["name"] == "brief.wild.example"]
left = calendar.timegm(time.strptime(until[0][:19], "%Y-%m-%dT%H:%M:%S")) - time.time() if until else 0
gone = wait(lambda: not opened("203.0.113.17"), 20, 0.1)
t.ok(gone and time.monotonic() - began >= MIN_TTL and left > MIN_TTL - 2, "and holds until then, though the answer was for a second",
     until, left, time.monotonic() - began)
t.ok(not wait(lambda: not opened("203.0.113.20"), 2 * MIN_TTL + 2, 0.5), "one that is silent stays as well", names())

# Deaths
d.kill("capture")
t.ok(wait(lambda: late("late.wild.example") is not None, 20), "names are learned again after the capture role has died", d.text())
d.stop()
t.ok(a.tcp("203.0.113.20", PORT, 3) == "open" and opened("203.0.113.20"), "without a daemon the rules stand")
d.start(expect=[a.name])
time.sleep(0.5)
wait(lambda: not api.behind() and api.get("/v1/status")["workloads"], 8)
held.sendall(b"ping")
t.ok(held.recv(16) and a.tcp("203.0.113.20", PORT, 3) == "open", "and the next one goes on with them", table_text(a, d.table()))
held.close()
t.done()
