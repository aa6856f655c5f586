#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of servers in first packets as labels of edges: seen, bounded, stored, never believed, and off when
switched off. What many connections to one server cost is counted."""
import os
import re
import ssl
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, run, wait

TLS, WEB, MANY = 7443, 7080, 7444


def hello(name):
    out, context = ssl.MemoryBIO(), ssl.create_default_context()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def say(ns, addr, port, *parts):
    """On one connection, each part in a segment of its own; whether the last was answered."""
    with ns.connect(addr, port) as s:
        for data in parts:
            s.sendall(data)
            if not s.recv(65536):
                return False
    return True


def seen(port):
    e = d.api.edge(port=port, from_="workload:" + a.name)
    return [(x["by"], x["name"]) for x in e["seenAs"]] if e else None


def table(ns):
    return ns.exec("nft", "list", "table", "inet", d.table() + "_labels", check=False).out


t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
for port in (TLS, WEB, MANY):
    b.serve(port)
d = lab.daemon(expect=[a.name, b.name])
t.ok(wait(lambda: "asked4" in table(a) and "asked4" in table(b), 20), "attached namespaces look for names", table(a), d.text())

say(a, b.v4, TLS, hello("api.example.com"))
say(a, b.v4, WEB, b"GET / HTTP/1.1\r\nHost: Shop.Example:8080\r\n\r\n")
t.ok(wait(lambda: seen(TLS) == [("sni", "api.example.com")], 20), "the name of a ClientHello is a label", seen(TLS), d.text())
t.ok(wait(lambda: seen(WEB) == [("host", "shop.example")], 20), "so is the Host of a request", seen(WEB))
for name in (b"a\x1b[2Jb.example", b"<script>.example", b"x" * 300 + b".example", b"..", b"a b"):
    say(a, b.v4, MANY, b"GET / HTTP/1.1\r\nHost: " + name + b"\r\n\r\n")
say(a, b.v4, MANY, b"\x16\x03\x01\xff\xff\x01" + b"\xff" * 300)
t.ok(wait(lambda: d.api.edge(port=MANY, from_="workload:" + a.name), 20) and seen(MANY) == [],
     "hostile bytes are none, and the edge is learned all the same", seen(MANY))

shown = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "edges", "-o", "wide").out
t.ok("sni api.example.com" in shown and "host shop.example" in shown, "edges -o wide shows them", shown)
why = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "explain", a.name, "%s:%d" % (b.name, TLS)).out
t.ok("seen as" in why and "sni api.example.com" in why, "explain does", why)

# A name is nobody: enforced, a connection that says the approved one's name is refused all the same.
e = d.api.edge(port=TLS, from_="workload:" + a.name)
d.api.approve(e["id"])
d.api.mode("enforce", b.name, direction="ingress")
t.ok(wait(lambda: a.tcp(b.v4, WEB) != "open", 20) and say(a, b.v4, TLS, hello("other.example.com")),
     "a name changes no verdict")
t.ok(wait(lambda: seen(TLS) == [("sni", "api.example.com"), ("sni", "other.example.com")], 20), "another name is added", seen(TLS))
d.api.mode("observe", b.name)

# Many connections: a few reports, as many labels as fit.
wait(lambda: a.tcp(b.v4, MANY) == "open", 20)
for k in range(200):
    say(a, b.v4, TLS, hello("n%d.example" % k))
e = d.api.edge(port=TLS, from_="workload:" + a.name)
t.ok(wait(lambda: len(seen(TLS)) == 4, 20), "labels are few", seen(TLS))
labels = seen(TLS)
t.ok(wait(lambda: d.api.edge(id=e["id"])["connections"] >= 200, 20), "and all the connections are counted")

d.stop()
d.start(expect=[a.name, b.name])
t.ok(wait(lambda: seen(TLS) == labels, 20), "they survive a restart", seen(TLS), labels)
d.configure("serverNames: false\n")
d.api.post("/v1/reload", {})
t.ok(wait(lambda: "asked4" not in table(a) + table(b), 20), "switched off, nothing is looked at", table(a))
d.configure("serverNames: true\n")
d.api.post("/v1/reload", {})
t.ok(wait(lambda: "asked4" in table(a), 20), "and on again")
root = a.exec("nft", "delete", "table", "inet", d.table() + "_labels", check=False)
t.ok(root.returncode != 0, "root inside cannot remove it", root.err)
d.stop()
d.cleanup()
t.ok(d.table() not in a.exec("nft", "list", "tables").out, "a cleanup leaves nothing")
t.done()
