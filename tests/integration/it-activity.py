#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is unusual is told while it goes on, by `nanoseg alerts` and `nanoseg top`: a new peer and a new name after
learning, many refusals, a scan, a noisy neighbour. Real traffic, over a period of two seconds."""
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import dnslib
from nslab import BUILD, Inside, Lab, Tap, run, wait

RESOLVER, CDN, PORT = "203.0.113.53", "203.0.113.10", 7443
t = Tap()
lab = Lab()
web, db, other = lab.ns("web"), lab.ns("db"), lab.ns("other")
out = lab.outside(RESOLVER)
out.ip("addr", "add", CDN + "/32", "dev", "lo")
its = out.exec("ip", "-4", "-o", "addr", "show", "eth0").out.split()[3].split("/")[0]
lab.at_host("ip", "route", "add", "203.0.113.0/24", "via", its)
out.serve(PORT)
server = dnslib.Server(out, RESOLVER, {"cdn.test.example": [CDN]})
for n in (db, other):
    n.serve(8000)
d = lab.daemon("activityPeriod: 2s\nresolvers: [%s]\n" % RESOLVER,
               expect=[web.name, db.name, other.name])
api = d.api
WEB, DB, OTHER = ("workload:" + n.name for n in (web, db, other))


def nanoseg(*args):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args).out


def alerts(kind, ns):
    return [a for a in json.loads(nanoseg("alerts", "-o", "json"))["alerts"]
            if a["kind"] == kind and a["workload"] == ns.name]


def tops(kind, ns):
    """Its line of the table has it under UNUSUAL."""
    return any(line.split()[0] == ns.name and kind in line for line in nanoseg("top").splitlines() if line.strip())


def knock(ns, addr, ports):
    """As many SYNs, and nobody waits for an answer."""
    with Inside(ns.fd):
        for port in ports:
            with socket.socket() as s:
                s.setblocking(False)
                s.connect_ex((addr, port))


class Meanwhile(threading.Thread):
    """Does something again and again until told to stop."""

    def __init__(self, do, pause):
        super().__init__(daemon=True)
        self.do, self.pause, self.over = do, pause, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(self.pause):
            self.do()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def told(kind, ns, name):
    """In one and the other."""
    began = time.monotonic()
    good = wait(lambda: alerts(kind, ns) and tops(kind, ns), 30, 0.2)
    t.note("%s: %.1f s" % (kind, time.monotonic() - began))
    t.ok(good, name, alerts(kind, ns), nanoseg("top"), api.edges())


def talk():
    """Connections that are made whole, and no more."""
    with Inside(web.fd):
        for _ in range(60):
            with socket.socket() as s:
                s.settimeout(2)
                if s.connect_ex((db.v4, 8000)) != 0:
                    return


# It has learned: one peer, and a name server. In audit that is over.
web.tcp(db.v4, 8000)
dnslib.ask(web, RESOLVER, "cdn.test.example")
t.ok(wait(lambda: api.edge(from_=WEB, to=DB, port=8000) and api.edge(from_=WEB, proto="udp", port=53), 10) and
     wait(lambda: all(w["in"] == 0 and w["out"] == 0 for w in api.get("/v1/top")["workloads"]), 60, 0.2) and
     api.mode("audit", web.name) and
     not alerts("newPeer", web) + alerts("newName", web) + alerts("scan", web) + alerts("noisyNeighbour", web),
     "what it learned with is no news", nanoseg("top"), nanoseg("alerts"))
web.tcp(other.v4, 8000)
told("newPeer", web, "a new peer after learning")
web.tcp(CDN, PORT)
told("newName", web, "and a new name, told apart")
t.ok("fqdn:cdn.test.example" in alerts("newName", web)[0]["text"] and OTHER in alerts("newPeer", web)[0]["text"],
     "both say which", alerts("newName", web), alerts("newPeer", web))

ports = iter(range(1000, 60000, 100))
with Meanwhile(lambda: (lambda p: knock(web, other.v4, range(p, p + 100)))(next(ports)), 0.3):
    told("scan", web, "a scan of ports that nobody serves")

with Meanwhile(talk, 0.05):
    told("noisyNeighbour", web, "a neighbour that is noisier than ever")

api.mode("enforce", db.name, direction="ingress")
revision = api.get("/v1/status")["revision"]
with Meanwhile(lambda: knock(web, db.v4, [8002] * 10), 0.2):
    told("denialBurst", db, "many that are refused")
t.ok(tops("denialBurst", web) and api.get("/v1/status")["revision"] == revision,
     "whoever is refused is told of too, and nothing is decided by any of it", nanoseg("top"))
t.done()
