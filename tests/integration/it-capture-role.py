#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The capture role with the warden: denials and attempts as events, duplicates, floods, loss."""
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from rolelib import Driver, FILTERED, Netns, Tap, cpu_seconds, inside, program, status_kb

INSTANCE = "%08x" % (os.getpid() & 0xffffffff)
CAPTURE = program("daemon/nanoseg-capture")
ATTEMPT, DENIED, AUDITED = 2, 3, 4
INGRESS, EGRESS = 1, 2
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FLOOD = 100000

if os.geteuid() != 0:
    print("1..0 # SKIP needs root")
    sys.exit(0)

t = Tap(22)
host, a, b = Netns("h"), Netns("a"), Netns("b")
host.ip("link", "add", "br0", "type", "bridge")
host.ip("link", "set", "lo", "up")
host.up("br0", "10.203.2.1/24", "fd00:204::1/64")
for ns, dev, last in ((a, "va", 2), (b, "vb", 3)):
    host.ip("link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns", ns.name)
    host.ip("link", "set", dev, "master", "br0", "up")
    ns.ip("link", "set", "lo", "up")
    ns.up("eth0", "10.203.2.%d/24" % last, "fd00:204::%d/64" % last)

d = Driver(host)
d.send("spawn", "capture", CAPTURE, INSTANCE, 65534, 65534)
pid = d.wait(3, "SPAWNED")["pid"]
m = d.wait(3, "CAP_STATS")
t.ok(m and m["error"] == "", "captures, and says so at once", m)
st = open("/proc/%d/status" % pid).read()
t.ok("CapEff:\t0000000000000000" in st and "CapBnd:\t0000000000000000" in st and
     "Uid:\t65534\t65534\t65534" in st and FILTERED in st and "NoNewPrivs:\t1" in st,
     "has no privilege left", st)
d.send("spawn", "warden", program("daemon/nanoseg-warden"), INSTANCE, 0, 0)
d.wait(3, "W_NETNS", cookie=a.cookie)


def events(seconds=0.4, **want):
    d.drain(seconds)
    return [x for x in d.seen if x["msg"] == "EVENT" and
            all(x.get(k) == v for k, v in want.items())]


def tuple_of(e):
    return (e["proto"], e["src"], e["sport"], e["dst"], e["dport"])


# Attempts on the host's interfaces

d.clear()
s = b.connect("10.203.2.2", 7001, 0.3, sport=40001)
s6 = b.connect("fd00:204::2", 7002, 0.3, sport=40002)
got = [tuple_of(e) for e in events(netns=0, kind=ATTEMPT)]
t.ok(got.count((TCP, "10.203.2.3", 40001, "10.203.2.2", 7001)) == 1,
     "a SYN that crosses two ports and a bridge is one attempt", got)
t.ok(got.count((TCP, "fd00:204::3", 40002, "fd00:204::2", 7002)) == 1, "IPv6 too", got)
e = events(0, netns=0, sport=40001)
index = inside(host.path, lambda: socket.if_nametoindex("vb"))
t.ok(e and e[0]["ifindex"] == index and abs(e[0]["time"] - time.time()) < 10,
     "it carries the interface it came from and its time", e)
d.clear()
b.ip("neigh", "add", "10.203.2.99", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
b.connect("10.203.2.99", 7003, 2.6, sport=40003)
got = [e for e in events(0.2, netns=0) if e["dport"] == 7003]
t.ok(1 <= len(got) <= 3, "an attempt that goes on counts at most once a second", got)
ping = [b.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        b.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)]


def checksum(data):
    n = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    n = (n >> 16) + (n & 0xffff)
    return ~(n + (n >> 16)) & 0xffff


h = struct.pack("!BBHHH", 8, 0, 0, 77, 1)
d.clear()
ping[0].sendto(h[:2] + struct.pack("!H", checksum(h)) + h[4:], ("10.203.2.2", 0))
ping[1].sendto(struct.pack("!BBHHH", 128, 0, 0, 78, 1), ("fd00:204::2", 0))
got = [tuple_of(e) for e in events(netns=0)]
t.ok(got.count((ICMP, "10.203.2.3", 77, "10.203.2.2", 8 << 8)) == 1 and
     got.count((ICMP6, "fd00:204::3", 78, "fd00:204::2", 128 << 8)) == 1,
     "echo requests are attempts, with type and code", got)

# Denials from inside a namespace

m = d.ask("W_ATTACHED", "attach", a.cookie, 0, 1 << 20)
t.ok(m.get("error") == 0, "the warden attaches and hands the reports over", m)
m = d.ask("W_APPLIED", "apply", a.cookie, "enforce", "enforce", "i+6,10.203.2.3,8080")
t.ok(m.get("error") == 0 and m["match"] == 1, "a ruleset stands", m)
keep = a.listen("10.203.2.2", 8080)
d.clear()
b.connect("10.203.2.2", 9090, 0.3, sport=40011)
b.connect("fd00:204::2", 9091, 0.3, sport=40012)
a.connect("10.203.2.3", 9092, 0.3, sport=40013)
a.connect("fd00:204::3", 9093, 0.3, sport=40014)
u = b.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("", 40015))
u.sendto(b"x", ("10.203.2.2", 9094))
got = {(tuple_of(e), e["dir"]) for e in events(netns=a.cookie, kind=DENIED)}
t.ok(((TCP, "10.203.2.3", 40011, "10.203.2.2", 9090), INGRESS) in got,
     "an ingress denial has its tuple and direction", got)
t.ok(((TCP, "fd00:204::3", 40012, "fd00:204::2", 9091), INGRESS) in got, "IPv6 too", got)
t.ok(((TCP, "10.203.2.2", 40013, "10.203.2.3", 9092), EGRESS) in got,
     "so has an egress denial", got)
t.ok(((TCP, "fd00:204::2", 40014, "fd00:204::3", 9093), EGRESS) in got, "IPv6 too", got)
t.ok(((UDP, "10.203.2.3", 40015, "10.203.2.2", 9094), INGRESS) in got, "UDP too", got)
d.clear()
s = b.connect("10.203.2.2", 8080, 0.5)
t.ok(not isinstance(s, str) and not events(0.2, netns=a.cookie, kind=DENIED),
     "what is allowed passes without a report", s)
m = d.ask("W_APPLIED", "apply", a.cookie, "audit", "observe", "i+6,10.203.2.3,8080")
audited = a.listen("10.203.2.2", 9095)
d.clear()
s = b.connect("10.203.2.2", 9095, 0.5, sport=40016)
got = [tuple_of(e) for e in events(netns=a.cookie, kind=AUDITED, dir=INGRESS)]
t.ok(not isinstance(s, str) and (TCP, "10.203.2.3", 40016, "10.203.2.2", 9095) in got,
     "in audit it passes and is reported as such", got)

# A restart of capture, and of the warden

d.send("apply", a.cookie, "enforce", "enforce")
d.send("kill", "capture")
d.clear()
d.send("spawn", "capture")
d.wait(3, "CAP_STATS")
time.sleep(0.2)
pid = [x for x in d.seen if x["msg"] == "SPAWNED"][-1]["pid"]
b.connect("10.203.2.2", 9096, 0.3, sport=40017)
got = [tuple_of(e) for e in events(netns=a.cookie, kind=DENIED)]
t.ok((TCP, "10.203.2.3", 40017, "10.203.2.2", 9096) in got,
     "a new capture role gets the reports again", got)
d.send("kill", "warden")
d.clear()
b.connect("10.203.2.2", 9097, 0.3, sport=40018)
got = [tuple_of(e) for e in events(netns=a.cookie, kind=DENIED)]
t.ok((TCP, "10.203.2.3", 40018, "10.203.2.2", 9097) in got,
     "without a warden reports still come", got)

# A flood that the controller does not read


def syn(n):
    src, dst = bytes((10, 203, 2, 3)), bytes((10, 203, 2, 1))
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, n & 0xffff, 0, 64, 6, 0, src, dst)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return ip + struct.pack("!HHIIBBHHH", n % 60000 + 1024, 1 + n // 60000, n, 0, 0x50, 2, 1024,
                            0, 0)


raw = b.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
raw.bind(("eth0", 0x0800))
frames = [b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x08\0" + syn(n) for n in range(FLOOD)]
d.send("events", "count")
d.drain(1.2)
d.clear()
d.events = 0
rss = status_kb(pid, "VmRSS")
cpu = cpu_seconds(pid)
d.send("pause", "on")
time.sleep(0.1)
began = time.monotonic()
for f in frames:
    raw.send(f)
took = time.monotonic() - began
time.sleep(1.5)
grown = status_kb(pid, "VmRSS") - rss
cpu = cpu_seconds(pid) - cpu
d.send("pause", "off")
d.drain(2.5)
stats = [x for x in d.seen if x["msg"] == "CAP_STATS"][-1]
t.note("%d SYNs in %.2f s: %d events, %d unsent, %d frames, %d lost by the ring; +%d kB, %.2f s CPU"
       % (FLOOD, took, d.events, stats["unsent"], stats["frames"], stats["ring_dropped"], grown,
          cpu))
t.ok(not [x for x in d.seen if x["msg"] in ("BAD_EVENT", "CLOSED")] and
     os.path.exists("/proc/%d" % pid), "a flood does not kill it")
t.ok(grown < 8192, "its memory stays bounded", grown)
t.ok(stats["unsent"] > 0 and d.events <= 40000, "what the controller does not take is counted",
     stats, d.events)
t.ok(d.events + stats["unsent"] + stats["ring_dropped"] >= FLOOD,
     "every attempt is an event or a counted loss", stats, d.events)
keep.close()
audited.close()
d.close()
t.done()
