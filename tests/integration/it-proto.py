#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a network needs of ICMP passes where all is enforced, and no more of it: path MTU, neighbour discovery
and DAD pass; redirects, router advertisements of a container and echoes do not."""
import json
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Lab, Tap, wait

t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
far = lab.outside("198.51.100.9")
b.serve(7001)
d = lab.daemon(expect=[a.name, b.name])
far.serve(7001)
policy = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
          "workloads": [{"name": n.name, "mode": "enforce"} for n in (a, b)],
          "edges": [{"from": a.name, "to": b.name, "proto": "tcp", "port": 7001, "state": "approved"},
                    {"from": a.name, "to": {"cidr": "198.51.100.9/32"}, "proto": "tcp", "port": 7001, "state": "approved"}]}
d.api.apply(json.dumps(policy))


def received(ns, proto, kinds, send, seconds=0.7):
    """Was an ICMP message of such a type delivered to a raw socket of that namespace?"""
    six = proto == 58
    with ns.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, proto) as s:
        s.settimeout(0.1)
        send()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                data = s.recv(2048)
            except OSError:
                continue
            if data[0 if six else (data[0] & 15) * 4] in kinds:
                return True
    return False


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def icmp4(src, dst, kind, code, rest):
    head = struct.pack("!BBH", kind, code, 0) + rest
    head = head[:2] + struct.pack("!H", checksum(head + b"\0" * (len(head) % 2))) + head[4:]
    with src.socket(socket.AF_INET, socket.SOCK_RAW, 1) as s:
        try:
            s.sendto(head, (dst, 0))
        except OSError:
            pass


def icmp6(src, dst, kind, code, rest, hops=255):
    with src.socket(socket.AF_INET6, socket.SOCK_RAW, 58) as s:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
        try:
            s.sendto(struct.pack("!BBH", kind, code, 0) + rest, (dst, 0))
        except OSError:
            pass


def bulk(s, size=200000):
    data, got = os.urandom(1000) * (size // 1000), 0
    s.settimeout(5)
    try:
        for k in range(0, size, 10000):
            s.sendall(data[k:k + 10000])
            while got < k + 10000:
                n = len(s.recv(65536))
                if not n:
                    return False
                got += n
    except OSError:
        return False
    return got == size


# Path MTU: the way to the outside narrows behind the host, which says so by an error.
dev = "no%d" % os.getpid()
with a.connect("198.51.100.9", 7001) as s:
    lab.host.ip("link", "set", dev, "mtu", "1300")
    s.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: always
    t.ok(bulk(s), "IPv4: a narrower way is found by its error (fragmentation needed)")
    t.ok(s.getsockopt(socket.IPPROTO_IP, 14) == 1300, "and the error has arrived", s.getsockopt(socket.IPPROTO_IP, 14))

# The same in IPv6, told by the neighbour for the connection that is open.
with a.connect(b.v6, 7001) as s:
    sport, seq = s.getsockname()[1], 0
    quoted = (struct.pack("!IHBB", 6 << 28, 20, 6, 64) + socket.inet_pton(socket.AF_INET6, a.v6) +
              socket.inet_pton(socket.AF_INET6, b.v6) + struct.pack("!HHIIHHHH", sport, 7001, seq, 0, 0x5010, 0, 0, 0))
    t.ok(received(a, 58, (2,), lambda: icmp6(lab.host, a.v6, 2, 0, struct.pack("!I", 1300) + quoted)),
         "IPv6: packet too big about an open connection arrives")
    other = quoted.replace(struct.pack("!HH", sport, 7001), struct.pack("!HH", sport, 7999))
    t.ok(not received(a, 58, (2,), lambda: icmp6(lab.host, a.v6, 2, 0, struct.pack("!I", 1300) + other)),
         "about none that is open it does not")
    t.ok(bulk(s, 20000), "and the connection goes on")

# No ICMP free for all.
for what, kind, rest in (("an echo request", 8, b"\0\1\0\1"), ("a timestamp request", 13, b"\0\1\0\1" + b"\0" * 12),
                         ("a redirect", 5, socket.inet_aton(b.v4) + b"\x45" + b"\0" * 27),
                         ("an echo reply to nothing", 0, b"\0\1\0\1"),
                         ("fragmentation needed about nothing", 3, b"\0\0\5\0\x45" + b"\0" * 27)):
    t.ok(not received(b, 1, (kind,), lambda: icmp4(a, b.v4, kind, 4 if kind == 3 else 0, rest)) and
         not received(b, 1, (kind,), lambda: icmp4(lab.host, b.v4, kind, 4 if kind == 3 else 0, rest)),
         "IPv4: %s is refused, of a container and of the host" % what)
for what, kind, rest in (("an echo request", 128, b"\0\1\0\1"), ("a node information query", 139, b"\0" * 12),
                         ("a redirect", 137, b"\0" * 36), ("a router renumbering", 138, b"\0" * 12)):
    t.ok(not received(b, 58, (kind,), lambda: icmp6(a, b.v6, kind, 0, rest)), "IPv6: %s is refused" % what)
t.ok(not received(b, 58, (134,), lambda: icmp6(a, "ff02::1%eth0", 134, 0, struct.pack("!BBHII", 64, 0, 1800, 0, 0)), 0.5),
     "a container's router advertisement is refused where it leaves")

# Neighbour discovery and DAD.
for ns in (a, b):
    ns.ip("-6", "neigh", "flush", "dev", "eth0")
    ns.ip("neigh", "flush", "dev", "eth0")
t.ok(a.tcp(b.v6, 7001, 3) == "open" and a.tcp(b.v4, 7001, 3) == "open", "neighbours are found anew")
dup = b.v6
a.ip("addr", "add", dup + "/64", "dev", "eth0", check=False)
t.ok(wait(lambda: "dadfailed" in a.ip("-6", "addr", "show", "dev", "eth0").out, 5), "a duplicate address is detected")
a.ip("addr", "del", dup + "/64", "dev", "eth0", check=False)

# DHCP and multicast are edges like any other.
with b.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.bind(("", 5353))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + socket.inet_aton(b.v4))
    s.settimeout(0.4)

    def heard(dst):
        with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as c:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            c.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(a.v4))
            try:
                c.sendto(b"who?", (dst, 5353))
                return bool(s.recv(16))
            except OSError:
                return False

    t.ok(not heard("224.0.0.251") and not heard("255.255.255.255"), "multicast and broadcast are refused without an edge")
    policy["edges"] += [{"from": a.name, "to": {"multicast": True}, "proto": "udp", "port": 5353, "state": "approved"},
                        {"from": a.name, "to": b.name, "proto": "udp", "port": 5353, "state": "approved"}]
    d.api.apply(json.dumps(policy))
    t.ok(heard("224.0.0.251"), "multicast passes by its edges")

t.done()
