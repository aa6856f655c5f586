#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections counted by the kernel: the same edges and numbers as by events, and the bytes of each edge,
whatever dies meanwhile and whatever is enforced."""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, wait
from rawframe import Sender, segment, syn
from tightenlib import INIT, SCTP, Flow, sctp_packet
from tightenlib import serve as serve_sctp

LONG = 30  # seconds until something is given up
t = Tap()
lab = Lab()
# Of each pair one end has its connections counted, the other is told of them.
a, b = lab.ns("a"), lab.ns("b")
A, B = "workload:" + a.name, "workload:" + b.name


def daemon_of(one, other, **kw):
    return lab.daemon(only="%s[%s%s]" % (one.name[:-1], one.name[-1], other.name[-1]), **kw)


d = daemon_of(a, b, config="aggregation: on\n", expect=[a.name, b.name])
api = d.api

# Others, of namespaces of their own, have the time of all that follows: one on a kernel whose tables have no owner,
bare_a, bare_b = lab.ns("c"), lab.ns("e")
bare = daemon_of(bare_a, bare_b, config="aggregation: on\n", start=False)
bare.argv = lambda *more, argv=bare.argv: argv("--without-owner", *more)
bare.start(expect=[bare_a.name, bare_b.name])
# and one that is told nothing, in the middle of thousands of connections a second.
FLOWS, RATE, PORTS, FORGED = 60000, 3000, 16, 20000
busy_a, busy_b = lab.ns("f"), lab.ns("g")
auto = daemon_of(busy_a, busy_b, expect=[busy_a.name, busy_b.name])

# Datagrams that nobody answers, as of syslog: of long standing by the end of all that follows, counted or told. Some
# senders have one socket, others one for each.
LOG, METRICS, CLOSED, SCANNED = 514, 8125, 8126, range(1, 0x10000)
told_a, told_b = lab.ns("h"), lab.ns("i")
told = daemon_of(told_a, told_b, config="aggregation: off\n", expect=[told_a.name, told_b.name])
silent = []


def send_on(one, other):
    with one.socket(socket.AF_INET, socket.SOCK_DGRAM) as kept, one.socket(socket.AF_INET, socket.SOCK_DGRAM) as refused:
        refused.connect((other.v4, CLOSED))
        while True:
            try:
                kept.sendto(b"<14>said", (other.v4, LOG))
                with one.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
                    s.sendto(b"hits:1|c", (other.v6, METRICS))
                refused.send(b"x")
            except OSError:
                pass
            time.sleep(0.9)


def scan(one, other):
    nobody = other.v4.rsplit(".", 1)[0] + ".253"
    with one.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        for addr in (other.v4, nobody):
            for port in SCANNED:
                try:
                    s.sendto(b"x", (addr, port))
                except OSError:
                    pass


for one, other in ((bare_a, bare_b), (told_a, told_b)):
    for port in (LOG, METRICS):
        s = other.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        s.bind(("::", port))
        silent.append(s)
    threading.Thread(target=send_on, args=(one, other), daemon=True).start()


def state(ns, of=api):
    w = of.workload(ns.name)
    i = w["instances"][0] if w and w["instances"] else None
    return i["aggregation"] and i["aggregation"]["state"] if i else None


def all_on():
    return state(a) == "on" and state(b) == "on"


def lost(ns, of=api):
    return of.workload(ns.name)["loss"]["events"]


t.ok(not state(busy_a, auto.api) and not state(busy_b, auto.api), "where there is little to count, events tell of it",
     state(busy_a, auto.api))
flowgen = subprocess.Popen([BUILD + "/tests/bench/flowgen", "udp", "/run/netns/" + busy_a.name, "/run/netns/" + busy_b.name,
                            busy_b.v4, "8000", str(PORTS), str(FLOWS), str(RATE)], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, text=True)


def events_of(ns):
    """Connection events of the namespace in a second, as anybody else would get them."""
    p = ns.exec("timeout", "1.5", "conntrack", "-E", "-e", "UPDATES", check=False)
    return p.out.count("\n")


t.ok(wait(all_on, LONG), "switched on, the kernel counts", state(a), state(b), d.text()[-2000:])
gone = a.exec("nft", "delete", "table", "inet", d.table() + "_seen", check=False)
gone2 = a.exec("nft", "flush", "ruleset", check=False)
t.ok(gone.returncode != 0 and a.exec("nft", "list", "table", "inet", d.table() + "_seen", check=False).out,
     "in a table that root inside cannot remove", gone.out, gone2.out)
text = a.exec("nft", "list", "table", "inet", d.table() + "_seen").out
verdicts = [line for line in text.splitlines() if "drop" in line or "accept" in line and "policy" not in line]
t.ok("policy accept" in text and not verdicts, "and that has no verdict", text)

# Every byte of two edges, by a ruleset of the test's own: of TCP from the end of the handshake on.
a.exec("nft", """table inet oracle {
    counter of7001 {}
    counter of7003 {}
    chain out { type filter hook output priority 1000
        ip protocol tcp tcp dport 7001 tcp flags & syn == 0 counter name of7001
        ip protocol udp udp dport 7003 counter name of7003
    }
    chain in { type filter hook input priority 1000
        ip protocol tcp tcp sport 7001 tcp flags & syn == 0 counter name of7001
        ip protocol udp udp sport 7003 counter name of7003
    }
}""")
b.serve(7001)
b.serve(7002)
b.serve_udp(7003)
b.serve_udp(7004)
b.serve(7005)


def traffic(n):
    """n of each kind, all answered; and as many that are not."""
    answers = []
    for _ in range(n):
        answers += [a.tcp(b.v4, 7001, 9), a.tcp(b.v6, 7002, 9), a.udp(b.v4, 7003, 9), a.udp(b.v6, 7004, 9)]
    assert set(answers) == {"open", "answer"}, answers
    refused = [a.tcp(b.v4, 7100), a.tcp(b.v6, 7100), a.udp(b.v4, 7101), a.udp(b.v6, 7101)]
    return refused


KINDS = (("TCP, IPv4", dict(proto="tcp", port=7001)), ("TCP, IPv6", dict(proto="tcp", port=7002)),
         ("UDP, IPv4", dict(proto="udp", port=7003)), ("UDP, IPv6", dict(proto="udp", port=7004)))


def counts():
    return [(api.edge(from_=A, to=B, **want) or {}).get("connections", 0) for _, want in KINDS]


def bytes_of(port):
    """Of an edge, and what the oracle has: less the question of each UDP connection, which was not answered yet."""
    e = api.edge(from_=A, to=B, port=port) or {"bytes": None, "connections": 0}
    found = json.loads(a.exec("nft", "-j", "list", "counters", "table", "inet", "oracle").out)["nftables"]
    passed = {c["counter"]["name"]: c["counter"]["bytes"] for c in found if "counter" in c}
    return e["bytes"], passed["of%d" % port] - (32 * e["connections"] if port == 7003 else 0)


def are_exact():
    return all(x == y for x, y in (bytes_of(7001), bytes_of(7003)))


traffic(20)
pings = sum(a.ping(b.v4, 100 + k, count=3) for k in range(5))
pings += sum(a.ping(b.v6, 200 + k, count=3) for k in range(4))
server = serve_sctp(b, (), (), (7006, 7007))
up = [Flow(a, b, "sctp", 7006, six) for six in (False, True) for _ in range(3)]
assert all(f.open() for f in up)
for f in up:
    f.close()
with a.socket(socket.AF_INET, socket.SOCK_RAW, SCTP) as half:
    half.sendto(sctp_packet(30001, 7007, 1, 0, INIT, 0), (b.v4, 0))
    assert Flow.wait_sctp(half, (7007, 30001, 2), False, 5)
os.kill(server, signal.SIGKILL)
os.waitpid(server, 0)
for what, want, n in [(w, k, 20) for w, k in KINDS] + [("SCTP", dict(proto="sctp", port=7006), len(up)),
                                                       ("ICMP", dict(proto="icmp", type=8), 5),
                                                       ("ICMPv6", dict(proto="icmpv6", type=128), 4)]:
    e = wait(lambda: api.edge(from_=A, to=B, connections=n, **want), LONG)
    t.ok(e, "%s: %d connections make one edge with exactly %d" % (what, n, n), api.edges(**want))
    t.ok(not api.edges(from_=B, to=A, **want), "and nothing in the other direction")
t.ok(not [e for e in api.edges() if e.get("port") in (7100, 7101, 7007)], "what was not answered is no edge", api.edges())
t.ok(wait(are_exact, LONG), "each of their bytes is counted, once", bytes_of(7001), bytes_of(7003))
t.ok(lost(a) == 0 and lost(b) == 0, "and nothing is lost", api.workloads())

watcher = []
th = threading.Thread(target=lambda: watcher.append(events_of(a)))
th.start()
time.sleep(0.4)
for _ in range(20):
    a.tcp(b.v4, 7001, 9)
th.join()
t.ok(watcher == [0], "no event is made of what is counted", watcher)
t.ok(wait(lambda: counts()[0] == 40, LONG), "which is counted all the same", counts())

# Root inside can remove a table without an owner: that is a loss, and it is made again.
def bare_on():
    return state(bare_a, bare.api) == "on"


def bare_table():
    return bare_a.exec("nft", "list", "table", "inet", bare.table() + "_seen", check=False).out


t.ok(wait(bare_on, LONG), "without an owner of tables the kernel counts as well", state(bare_a, bare.api), bare.text()[-2000:])
t.ok(lost(bare_a, bare.api) == 0, "and nothing is lost")
bare_a.exec("nft", "delete", "table", "inet", bare.table() + "_seen")
t.ok(wait(lambda: lost(bare_a, bare.api) > 0, LONG), "its removal by root inside is counted as a loss",
     bare.api.workload(bare_a.name)["loss"])

# A scan: many ports and addresses, few of which answer.
s = a.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setblocking(False)
for port in range(20000, 24000):
    try:
        s.sendto(b"x", (b.v4, port))
    except OSError:
        pass
s.close()
time.sleep(1.5)
before = counts()
traffic(1)
t.ok(wait(lambda: counts() == [n + 1 for n in before], LONG), "after a scan it goes on", before, counts())
t.ok(not [e for e in api.edges(proto="udp") if 20000 <= e.get("port", 0) < 24000], "which made no edge")

# SYNs of forged addresses to an open port, more than a set has room for; and guesses at what it answered: few, as
# conntrack takes some 66,000 of 2^32 numbers for an answer.
sender = Sender(busy_a, b)
for k in range(FORGED):
    src, port = "198.18.%d.%d" % (k >> 8 & 255, k & 255), 1024 + k % 60000
    sender.send(src, socket.IPPROTO_TCP, syn(port, 7001))
    if k % 500 == 0:
        sender.send(src, socket.IPPROTO_TCP, segment(port, 7001, 16, 2, 2000000011 * k & 0xffffffff))
before = counts()
traffic(1)
t.ok(wait(lambda: counts() == [n + 1 for n in before], LONG), "after a flood of SYNs it goes on", before, counts())
t.ok(api.edges(to=B, port=7001) == api.edges(from_=A, to=B, port=7001) and lost(b) == 0,
     "which made no edge, and took nobody's room", api.edges(port=7001), api.workload(b.name)["loss"])
sets = b.exec("nft", "list", "table", "inet", d.table() + "_seen").out
t.ok(sets.count("198.18.") < FORGED / 100, "what is half open is not remembered", sets.count("198.18."))

# From one to the other and back while connections are made: each is counted once.
made = [0]
stop = threading.Event()


def client():
    while not stop.is_set():
        made[0] += a.tcp(b.v4, 7001, timeout=5) == "open"
        time.sleep(0.005)


def restart(config):
    """Another configuration; the controller is the only one that needs it."""
    d.configure(config)
    d.kill("controller")
    wait(lambda: not d.ready(), 5)
    assert wait(d.ready, LONG)


before = counts()[0]
th = threading.Thread(target=client)
th.start()
wait(lambda: made[0] > 20, LONG)
# Its rules come, change and go as well.
api.approve(*[e["id"] for e in api.edges(from_=A, to=B)])
api.mode("enforce", a.name, b.name)
api.settle(LONG)
t.ok(a.tcp(b.v4, 7005) == "refused", "enforced on both ends: what nobody has approved is refused")
for role in ("warden", "capture"):
    pid = d.kill(role)
    t.ok(wait(lambda: d.roles().get(role) not in (None, pid), LONG), "the %s is started again" % role)
    t.ok(wait(all_on, LONG), "and the kernel goes on counting", state(a), state(b), d.text()[-1500:])
    time.sleep(0.3)
api.deny(api.edge(from_=A, to=B, port=7002)["id"])
api.settle(LONG)
t.ok(a.tcp(b.v6, 7002) == "refused", "a denied edge too")
api.mode("observe", a.name, b.name)
stop.set()
th.join()
t.ok(wait(lambda: counts()[0] == before + made[0], LONG),
     "%d connections while they die are as many of the edge" % made[0], before + made[0], counts(), d.text()[-3000:])
t.ok(wait(are_exact, LONG), "and have all their bytes, once", bytes_of(7001), bytes_of(7003))

# The controller dies: new edges of the meantime are there, none is credited twice.
before = counts()
pid = d.kill("controller")
for _ in range(3):
    a.tcp(b.v4, 7005, 9)
t.ok(wait(lambda: d.ready() and all_on(), LONG), "a new controller takes the counters over", state(a), d.text()[-1500:])
t.ok(wait(lambda: api.edge(from_=A, to=B, port=7005), LONG), "with the edge that nobody had read", api.edges())
traffic(2)
t.ok(wait(lambda: all(n >= 2 for n in counts()), LONG), "and goes on")
time.sleep(2.5)
after = counts()
t.ok(all(y <= x + 2 for x, y in zip(before, after)), "nothing is counted twice", before, after)

# Off and on, with connections under way.
d.stop()
d.configure("aggregation: off\n")
d.start(expect=[a.name, b.name])
t.ok(wait(lambda: state(a) == "ending" and state(b) == "ending", LONG), "switched off, it ends", state(a), state(b))
b4 = wait(lambda: counts() if all(counts()) else None, LONG)
traffic(10)
t.ok(wait(lambda: counts() == [n + 10 for n in b4], LONG), "and events tell of what begins now, once", b4, counts())
d.stop()

t.ok(d.cleanup().returncode == 0, "all of it is removed")
left = [ns.exec("cat", "/proc/sys/net/netfilter/nf_conntrack_acct").out.strip() for ns in (a, b)]
tables = a.exec("nft", "list", "tables").out
t.ok(left == ["0", "0"] and "nanoseg" not in tables, "and what it switched on is off", left, tables)

def bare_count():
    return (bare.api.edge(from_="workload:" + bare_a.name, port=7001) or {}).get("connections", 0)


t.ok(wait(lambda: "hook" in bare_table() and bare_on(), LONG), "what root inside had removed is made again",
     state(bare_a, bare.api), bare_table(), bare.text()[-2000:])
bare_b.serve(7001)
for _ in range(5):
    bare_a.tcp(bare_b.v4, 7001, 9)
t.ok(wait(lambda: bare_count() == 5, LONG), "and counts", bare_count())


def flowed():
    edges = auto.api.edges(from_="workload:" + busy_a.name, proto="udp")
    return sum(e["connections"] for e in edges if 8000 <= e["port"] < 8000 + PORTS)


words = flowgen.communicate()[0].split()
answered, took = int(words[1]), int(words[3])
on = auto.text().count("the kernel counts its connections from now on") == 2
t.note("%d connections a second" % (answered * 1000 // max(took, 1)))
if on or answered * 1000 >= took * 1000:
    t.ok(on, "a busy namespace has its connections counted", state(busy_a, auto.api), auto.text()[-1500:])
else:
    t.skip("a busy namespace has its connections counted", "this machine is too slow for it now")
for what, of in (("counted", bare.api), ("told", told.api)):
    t.ok(wait(lambda: of.attempts(port=LOG) and of.attempts(port=METRICS), LONG),
         "where connections are %s, datagrams that nobody answers are attempts at first" % what, of.attempts())
for one, other in ((bare_b, bare_a), (told_b, told_a)):
    scan(one, other)
t.ok(wait(lambda: flowed() == answered, LONG), "each of %d, over the change, is one of an edge" % answered, flowed(),
     lost(busy_a, auto.api))


def one_way(of):
    return {e["port"]: e["flags"] for e in of.edges(proto="udp")}


for what, of, one, other in (("counted", bare.api, bare_a, bare_b), ("told", told.api, told_a, told_b)):
    want = {LOG: ["one-way"], METRICS: ["one-way"]}
    t.ok(wait(lambda: one_way(of) == want, 120), "where connections are %s, those of long standing are flagged edges, and "
         "what is refused is none" % what, one_way(of), of.attempts(proto="udp")[:5])
    p = subprocess.run([BUILD + "/cli/nanoseg", "--socket", of.path, "simulate", "--all", "-o", "json"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    broken = {e["port"] for e in json.loads(p.stdout)["broken"] if e["from"] == "workload:" + one.name}
    t.ok({LOG, METRICS} <= broken, "and simulate names them", p.stdout[-2000:], p.stderr)
    t.ok(len(of.attempts(from_="workload:" + other.name, proto="udp")) > 20 and one_way(of) == want,
         "a scan of all ports, closed and silent, has made none", one_way(of))
t.done()
