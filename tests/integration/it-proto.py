#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a network needs of ICMP passes where all is enforced, and no more of it: path MTU, neighbour discovery
and DAD pass; redirects, router advertisements and echoes do not, unless the policy says so. DHCP is an edge."""
import json
import os
import re
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import guardlib
from guardlib import ip
from nslab import Inside, Lab, Tap, family_of, wait

t = Tap()
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
far = lab.outside("198.51.100.9")
far6, dev = "2001:db8:9::9", "no%d" % os.getpid()
far.ip("addr", "add", far6 + "/128", "dev", "lo", "nodad")
far.ip("addr", "add", "fd00:9::2/64", "dev", "eth0", "nodad")
far.ip("-6", "route", "add", "default", "via", "fd00:9::1")
lab.host.ip("addr", "add", "fd00:9::1/64", "dev", dev, "nodad")
lab.host.ip("-6", "route", "add", far6 + "/128", "via", "fd00:9::2")
b.serve(7001)
d = lab.daemon(expect=[a.name, b.name])
far.serve(7001)
policy = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
          "workloads": [{"name": n.name, "mode": "enforce"} for n in (a, b)],
          "edges": [{"from": a.name, "to": b.name, "proto": "tcp", "port": 7001, "state": "approved"},
                    {"from": a.name, "to": {"cidr": "198.51.100.9/32"}, "proto": "tcp", "port": 7001, "state": "approved"},
                    {"from": a.name, "to": {"cidr": far6 + "/128"}, "proto": "tcp", "port": 7001, "state": "approved"}]}
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
wait(lambda: a.tcp(far6, 7001) == "open", 5)
with a.connect("198.51.100.9", 7001) as s, a.connect(far6, 7001) as s6:
    lab.host.ip("link", "set", dev, "mtu", "1300")
    s.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: always
    t.ok(bulk(s, 2000000), "IPv4: a narrower way is found by its error (fragmentation needed), 2 MB pass")
    t.ok(s.getsockopt(socket.IPPROTO_IP, 14) == 1300, "and the error has arrived", s.getsockopt(socket.IPPROTO_IP, 14))
    t.ok(bulk(s6, 2000000), "IPv6: so it is (packet too big), 2 MB pass")
    t.ok(s6.getsockopt(socket.IPPROTO_IPV6, 24) == 1300, "and the error has arrived",
         s6.getsockopt(socket.IPPROTO_IPV6, 24))

# An error that speaks of no connection, or of the one that is open.
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

# A neighbour that nothing holds makes itself the router of all.
def link_local(ns):
    return re.search(r"inet6 (fe80\S+)/64", ns.ip("-6", "addr", "show", "dev", "eth0").out).group(1)


def advertise(ns):
    """A router for half an hour, with a prefix of its own."""
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 1800, 1800, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    icmp6(ns, "ff02::1%eth0", 134, 0, struct.pack("!BBHII", 64, 0, 1800, 0, 0) + prefix)


def believes():
    return "proto ra" in b.ip("-6", "route", "show").out


t.ok(wait(lambda: "tentative" not in c.ip("-6", "addr", "show", "dev", "eth0").out, 5), "a neighbour is there")
b.exec("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2")
for ns in (c, lab.host):
    t.ok(not received(b, 58, (134,), lambda: advertise(ns), 0.5) and not believes(),
         "a router advertisement of a neighbour that nothing holds is refused")
declared = {"from": {"address": link_local(c)}, "to": b.name, "proto": "icmpv6", "type": 134, "state": "approved"}
d.api.apply(json.dumps(dict(policy, edges=policy["edges"] + [declared])))
t.ok(received(b, 58, (134,), lambda: advertise(c)) and wait(believes, 2), "of a router that the policy declares it is taken")
icmp6(c, "ff02::1%eth0", 134, 0, struct.pack("!BBHII", 64, 0, 0, 0, 0))
d.api.apply(json.dumps(policy))
b.exec("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=0")
b.ip("-6", "route", "flush", "proto", "ra", check=False)

# Conntrack calls most types invalid; what is approved passes all the same, and nothing else of its kind.
for proto, kind, send in (("icmp", 5, lambda k: icmp4(a, b.v4, k, 0, socket.inet_aton(b.v4) + b"\x45" + b"\0" * 27)),
                          ("icmp", 42, lambda k: icmp4(a, b.v4, k, 0, b"\0\1\0\1")),
                          ("icmpv6", 138, lambda k: icmp6(a, b.v6, k, 0, b"\0" * 12))):
    edge = {"from": a.name, "to": b.name, "proto": proto, "type": kind, "state": "approved"}
    d.api.apply(json.dumps(dict(policy, edges=policy["edges"] + [edge])))
    number = 1 if proto == "icmp" else 58
    t.ok(received(b, number, (kind,), lambda: send(kind)) and not received(b, number, (kind + 1,), lambda: send(kind + 1), 0.3),
         "%s type %d passes once it is approved" % (proto, kind))
d.api.apply(json.dumps(policy))

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

# A bridge that snoops delivers a group to those alone who answer its questions for members.
GROUP, GROUP6 = "239.1.2.3", "ff05::1:2:3"


def snoop(on):
    """With questions every second, and members that are forgotten after 2.5 s."""
    soon = (("mcast_query_interval", 100), ("mcast_query_response_interval", 20),
            ("mcast_startup_query_interval", 100), ("mcast_membership_interval", 250))
    for key, value in (soon if on else ()) + (("mcast_snooping", int(on)), ("mcast_querier", int(on))):
        lab.at_host("ip", "link", "set", lab.bridge, "type", "bridge", key, str(value))


def members():
    return lab.at_host("bridge", "-d", "mdb", "show", "dev", lab.bridge).out


def joined(addr):
    s = b.socket(family_of(addr), socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", 5354))
    s.settimeout(0.1)
    if ":" in addr:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, ip(addr) + struct.pack("@I", link_of(b)))
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, ip(addr) + ip(b.v4))
    return s


def link_of(ns):
    return json.loads(ns.ip("-j", "link", "show", "dev", "eth0").out)[0]["ifindex"]


def delivered(s, addr, seconds):
    """True as soon as something that is sent comes; what came before does not count."""
    with a.socket(family_of(addr), socket.SOCK_DGRAM) as c:
        if ":" in addr:
            c.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link_of(a))
        else:
            c.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, ip(a.v4))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                c.sendto(b"news", (addr, 5354))
                if s.recv(16):
                    return True
            except OSError:
                pass
    return False


policy["edges"] += [{"from": a.name, "to": to, "proto": "udp", "port": 5354, "state": "approved"}
                    for to in ({"multicast": True}, b.name)]
d.api.apply(json.dumps(policy))
t.ok(wait(lambda: (d.api.workload(b.name)["instances"][0]["guard"] or {}).get("inForce"), 5), "both have host guards")
snoop(True)
with joined(GROUP) as s4, joined(GROUP6) as s6:
    t.ok(wait(lambda: GROUP in members() and GROUP6 in members(), 10), "a bridge that snoops is told of groups", members())
    # Without answers to what it asks it would know of nobody any more.
    gone = wait(lambda: GROUP not in members() or GROUP6 not in members(), 3.5)
    t.ok(not gone, "and its questions for members are answered", members())
    t.ok(delivered(s4, GROUP, 5) and delivered(s6, GROUP6, 5), "it delivers them", members())
snoop(False)

# DHCP: a client asks everybody by packet socket before it has an address, and its server alone later.
MAC = guardlib.link_mac(a.ip("-j", "link", "show").out, "eth0")


def dhcp(kind, op=1):
    return struct.pack("!BBBBIHH4s4s4s4s16s64s128s4s", op, 1, 6, 0, 0x1234, 0, 0x8000, b"", b"", b"", b"", MAC, b"", b"",
                       b"\x63\x82\x53\x63") + bytes((53, 1, kind, 255))


class Server:
    """Offers to whoever discovers, acknowledges whoever requests."""

    def __init__(self, place):
        self.s = place.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.s.setsockopt(socket.SOL_SOCKET, 25, b"eth0\0")  # SO_BINDTODEVICE
        self.s.bind(("", 67))
        self.heard = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            data, who = self.s.recvfrom(2048)
            kind = data[242]
            self.heard.append(kind)
            to = (who[0] if who[0] != "0.0.0.0" else "255.255.255.255", 68)
            try:
                self.s.sendto(dhcp(2 if kind == 1 else 5, 2), to)
            except OSError:
                pass


def discovers():
    """By packet socket: the kind of the answer, or None."""
    with Inside(a.fd):
        p = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
        p.bind(("eth0", 0x800))
    p.settimeout(0.5)
    body = guardlib.udp("0.0.0.0", "255.255.255.255", 68, 67, dhcp(1))
    p.send(guardlib.ether(MAC, guardlib.BROADCAST, 0x800, guardlib.ip4("0.0.0.0", "255.255.255.255", 17, body)))
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            data = p.recv(2048)
        except OSError:
            continue
        if data[23] == 17 and data[36:38] == struct.pack("!H", 68) and len(data) > 284:
            return data[284]
    return None


def renews():
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.bind(("", 68))
        u.settimeout(0.5)
        try:
            u.sendto(dhcp(3), (c.v4, 67))
            return u.recv(2048)[242]
        except OSError:
            return None


server = Server(c)
d.stop()
d.cleanup()
d = lab.daemon("hostGuard: on\n", expect=[a.name, b.name, c.name])
d.api.apply(json.dumps(policy))
t.ok(wait(lambda: (d.api.workload(a.name)["instances"][0]["guard"] or {}).get("inForce"), 5), "with a host guard")
policy["edges"] = [e for e in policy["edges"] if e["to"] != {"multicast": True}]
d.api.apply(json.dumps(policy))
t.ok(discovers() is None and renews() is None and not server.heard, "DHCP is refused without an edge", server.heard)
policy["edges"].append({"from": a.name, "to": {"multicast": True}, "proto": "udp", "port": 67, "state": "approved"})
d.api.apply(json.dumps(policy))
t.ok(discovers() == 2 and server.heard == [1], "a client without an address is answered once its edge to multicast is approved",
     server.heard)
t.ok(renews() is None, "which is not one to the server")
policy["edges"].append({"from": a.name, "to": c.name, "proto": "udp", "port": 67, "state": "approved"})
d.api.apply(json.dumps(policy))
t.ok(renews() == 5, "an edge to the server lets it renew", server.heard)

t.done()
