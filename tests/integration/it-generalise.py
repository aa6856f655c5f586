#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What must not become as many edges: dynamic ports, addresses of the internet and of a LAN, scans, a
flood, spoofed sources, a burst of tuples. Edges, memory, and what is said about it are compared."""
import os
import resource
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Inside, Lab, Tap, run, wait

NANOSEG = os.path.join(os.environ.get("top_builddir", "."), "cli/nanoseg")
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
t = Tap()
lab = Lab()
web, db, other = lab.ns("web"), lab.ns("db"), lab.ns("other")
CDN, LAN = "198.51.100.7", "10.99.0.7"
outside = lab.outside(CDN)
its = run("ip", "-n", outside.name, "-4", "-o", "addr", "show", "dev", "eth0").stdout.decode().split()[3]
for prefix in ("198.18.0.0/19", "10.99.0.0/20"):  # every address of these is the outside's
    lab.at_host("ip", "route", "add", prefix, "via", its.split("/")[0])
    outside.ip("route", "add", "local", prefix, "dev", "lo")
WEB, DB, OTHER = ("workload:" + n.name for n in (web, db, other))
d = lab.daemon(expect=[web.name, db.name, other.name])
api = d.api


def memory():
    with open("/proc/%d/status" % d.roles()["controller"]) as f:
        return next(int(l.split()[1]) for l in f if l.startswith("VmRSS"))


def talk(ns, targets):
    """TCP connections to listeners that nobody accepts from: the kernel answers. How many succeeded."""
    n = 0
    with Inside(ns.fd):
        for addr, port in targets:
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.settimeout(2)
                try:
                    s.connect((addr, port))
                    n += 1
                except OSError:
                    pass
    return n


def closing(listener):
    """Accepts, and closes."""
    def loop():
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=loop, daemon=True).start()
    return listener


def connections(**want):
    return sum(e["connections"] for e in api.edges(**want))


def cli(*args):
    r = run(NANOSEG, "--socket", d.sock, *args, check=False)
    return (r.stdout + r.stderr).decode()


before = memory()

# A server with a port for each transfer, and a fixed one.
ports = [30000 + k * 37 % 600 for k in range(600)]
listeners = [db.listen(p) for p in ports + [5432]]
made = talk(web, [(db.v4, p) for p in ports + [5432]])
t.ok(made == 601, "601 ports of a server answer", made)
t.ok(wait(lambda: connections(from_=WEB, to=DB) == 601, 20), "every connection is counted, once",
     connections(from_=WEB, to=DB), api.edges(from_=WEB, to=DB))
edges = api.edges(from_=WEB, to=DB)
ranges = [e for e in edges if "ports" in e]
t.ok(len(edges) == 2 and len(ranges) == 1 and api.edge(from_=WEB, to=DB, port=5432),
     "they are two edges: a range and the fixed one", edges)
r = ranges[0] if ranges else {"flags": [], "covers": {}, "ports": "0-0"}
lo, hi = (int(x) for x in r["ports"].split("-"))
t.ok(lo <= 30000 and hi >= 30599 and hi - lo < 1500 and r["covers"]["ports"] == hi - lo + 1,
     "the range has them all and is not much wider", r)
t.ok(abs(r["covers"]["portsSeen"] - 600) < 200 and r["flags"] == ["generalised"],
     "it is flagged and says how many were seen", r)
wide = cli("edges", "-o", "wide")
t.ok("%s ports, " % format(hi - lo + 1, ",") in wide and "generalised" in wide,
     "edges -o wide says what it covers", wide)
plain = api.edge(from_=WEB, to=DB, port=5432)
t.ok(plain["covers"]["instancesSeen"] == plain["instances"] == 2 and plain["flags"] == [] and
     any(plain["id"] in line and "any later instance, 2 seen" in line for line in wide.splitlines()),
     "and of an edge between workloads that it covers every later instance", plain, wide)

# A CDN, and a LAN whose machines are nobody's, in both directions.
keep = [closing(outside.listen(443, "0.0.0.0", backlog=1024))]
made = talk(web, [("198.18.%d.%d" % (k // 200, 1 + k % 200), 443) for k in range(5000)])
t.ok(made == 5000, "5,000 addresses of a CDN answer", made)
t.ok(wait(lambda: connections(from_=WEB, to="internet") == 5000, 20) and
     len(api.edges(from_=WEB, to="internet")) == 1, "they are one edge with the internet",
     api.edges(from_=WEB, to="internet"))
e = api.edge(from_=WEB, to="internet", port=443)
t.ok(e and e["flags"] == ["generalised"] and 3500 < e["covers"]["addressesSeen"] < 6500 and
     len(e["covers"]["prefixesSeen"]) <= 8 and
     all(p.startswith("198.18.") for p in e["covers"]["prefixesSeen"]),
     "which says how many were seen, and where", e)
made = talk(web, [("10.99.%d.%d" % (k // 250, 1 + k % 250), 443) for k in range(2000)])
t.ok(made == 2000 and wait(lambda: sum(e["connections"] for e in api.edges(from_=WEB)
                                       if e["to"].startswith(("addr:10.99", "cidr:10.99"))) == 2000,
                           20), "2,000 of a LAN are all counted", made)
lan = [e for e in api.edges(from_=WEB) if e["to"].startswith(("addr:10.99", "cidr:10.99"))]
t.ok(len(lan) <= 8 and all(e["flags"] == ["generalised"] for e in lan),
     "and are at most 8 prefixes", lan)
keep.append(closing(web.listen(8443)))
n = 0
with Inside(outside.fd):
    for k in range(1000):
        with socket.socket() as s:
            s.bind(("10.99.%d.%d" % (k // 250, 1 + k % 250), 0))
            s.settimeout(2)
            s.connect((web.v4, 8443))
            n += 1
t.ok(n == 1000 and wait(lambda: connections(to=WEB, port=8443) == 1000, 20) and
     len(api.edges(to=WEB, port=8443)) <= 8, "so are 1,000 clients from there",
     api.edges(to=WEB, port=8443))
lan, wide = api.edges(to=WEB, port=8443), cli("edges", "-o", "wide")
said = ["a /%s, %s address%s seen" % (e["from"].split("/")[1], format(e["covers"]["addressesSeen"] or 0, ","),
                                      "" if e["covers"]["addressesSeen"] == 1 else "es") for e in lan]
t.ok(600 < sum(e["covers"]["addressesSeen"] or 0 for e in lan) < 1400 and
     all(e["covers"]["addresses"] == 2 ** (32 - int(e["from"].split("/")[1])) for e in lan) and
     all(any(e["id"] in line and words in line for line in wide.splitlines()) for e, words in zip(lan, said)),
     "and their prefixes say how many they admit and how many were seen", lan, wide)

# What a person decides stays as it is.
api.approve(r["id"])
more = [40000 + k for k in range(100)]
listeners += [db.listen(p) for p in more]
talk(web, [(db.v4, p) for p in more + ports[:50]])
t.ok(wait(lambda: connections(from_=WEB, to=DB) == 751, 20), "what comes later is counted",
     api.edges(from_=WEB, to=DB))
e = [e for e in api.edges(from_=WEB, to=DB) if e["id"] == r["id"]]
t.ok(e and e[0]["ports"] == r["ports"] and e[0]["state"] == "approved" and
     e[0]["connections"] == 650, "an approved range has its shape for good", e)
t.ok(len(api.edges(from_=WEB, to=DB, state="pending")) <= 3, "what lies outside of it is pending",
     api.edges(from_=WEB, to=DB))
talked = {e["id"]: e for e in api.edges()}

# The edges survive the daemon as they are.
d.stop()
d.start(expect=[web.name, db.name, other.name])
back = {e["id"]: e for e in api.edges()}
FIELDS = ("state", "connections", "flags", "covers", "ports", "firstSeen", "lastSeen")
changed = [[(e or {}).get(f) for e in (talked.get(i), back.get(i)) for f in FIELDS]
           for i in set(talked) | set(back)
           if any((talked.get(i) or {}).get(f) != (back.get(i) or {}).get(f) for f in FIELDS)]
t.ok(not changed, "a restart brings them back, and none that was summed up", changed)

# A scan of all ports: those that answer are edges, or behind one, and no other.
with Inside(web.fd):
    for port in range(1, 65536):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((other.v4, port))
        s.close()
other.serve(25)
t.ok(web.tcp(other.v4, 25) == "open" and
     wait(lambda: api.edge(from_=WEB, to=OTHER, port=25), 20), "behind a scan there is the answer",
     api.edges(from_=WEB, to=OTHER))
t.ok(len(api.edges(from_=WEB, to=OTHER)) == 1, "of 65,535 scanned ports none other is an edge",
     api.edges(from_=WEB, to=OTHER))
n = len(api.edges())
t.note("%d edges, %d KB more than at the start" % (n, memory() - before))
t.ok(n < 60, "9,000 servers and clients and a scan are few edges", n)
t.ok(memory() - before < 32768, "and little memory", before, memory())
t.done()
