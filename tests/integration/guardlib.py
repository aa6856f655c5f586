# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of every kind a raw sender could want, and an oracle that counts those that arrive."""
import json
import select
import socket
import struct
import threading
import time

from nslab import Inside

BROADCAST = b"\xff" * 6


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def link_mac(links, dev):
    """Out of what `ip -j link` says."""
    return mac(next(l["address"] for l in json.loads(links) if l["ifname"] == dev))


def ip(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def checksum(data):
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ether(src, dst, kind, body):
    return dst + src + struct.pack("!H", kind) + body


def ip4(src, dst, proto, body, frag=0, options=b"", hops=64):
    head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 77, frag,
                       hops, proto, 0, ip(src), ip(dst)) + options
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return head + body


def ip6(src, dst, proto, body, hops=64):
    return struct.pack("!IHBB", 6 << 28, len(body), proto, hops) + ip(src) + ip(dst) + body


def packet(src, dst, proto, body, **kw):
    return ip6(src, dst, proto, body, **kw) if ":" in src else ip4(src, dst, proto, body, **kw)


def pseudo(src, dst, proto, length):
    if ":" in src:
        return ip(src) + ip(dst) + struct.pack("!II", length, proto)
    return ip(src) + ip(dst) + struct.pack("!BBH", 0, proto, length)


def summed(src, dst, proto, body, at):
    if ":" not in src and proto == 1:
        total = checksum(body)
    else:
        total = checksum(pseudo(src, dst, proto, len(body)) + body)
    return body[:at] + struct.pack("!H", total or 0xffff) + body[at + 2:]


def udp(src, dst, sport, dport, data):
    return summed(src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data, 6)


def tcp(src, dst, sport, dport, flags, data=b""):
    return summed(src, dst, 6, struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 5 << 4, flags, 1024, 0, 0) + data,
                  16)


def sctp(sport, dport, chunk, data):
    """Of one chunk; who counts frames minds no CRC."""
    return struct.pack("!HHIIBBH", sport, dport, 1, 0, chunk, 0, 4 + len(data)) + data


def icmp(src, dst, kind, code, data):
    return summed(src, dst, 58 if ":" in src else 1, struct.pack("!BBH", kind, code, 0) + data, 2)


def arp(op, sha, spa, tha, tpa):
    return struct.pack("!HHBBH", 1, 0x800, 6, 4, op) + sha + ip(spa) + tha + ip(tpa)


def addrs(n, six):
    return n.v6 if six else n.v4


EVIL = mac("02:66:66:66:66:66")


def frames(six, a, b, c, gateway):
    """What a sends: name -> (frame, may it arrive). Approved are a to b UDP 9002, TCP 9001, SCTP 9004 and echo,
    and b to a UDP 8002, TCP 8001, SCTP 8004, echo and timestamp; nothing with c. Each has v4, v6, mac and link_local."""
    sa, sb, sc = addrs(a, six), addrs(b, six), addrs(c, six)
    kind, v = (0x86dd, "v6") if six else (0x800, "v4")
    echo, reply = (128, 129) if six else (8, 0)
    icmp_proto = 58 if six else 1
    out = {}

    def add(name, may, packet_bytes, src=a.mac, ethertype=kind, dst=b.mac):
        out["%s %s" % (v, name)] = (ether(src, dst, ethertype, packet_bytes), may)

    def u(src, dst, sport, dport, mark=b""):
        return packet(src, dst, 17, udp(src, dst, sport, dport, b"MARK" + mark))

    def s(src, dst, sport, dport, flags):
        return packet(src, dst, 6, tcp(src, dst, sport, dport, flags, b"MARK"))

    def assoc(src, dst, sport, dport, chunk):
        return packet(src, dst, 132, sctp(sport, dport, chunk, b"MARK" * 5))

    def i(src, dst, typ, code, data=b"", hops=64):
        body = icmp(src, dst, typ, code, data + b"MARK")
        return packet(src, dst, icmp_proto, body, hops=hops) if six else packet(src, dst, icmp_proto, body)

    add("UDP to an approved port", True, u(sa, sb, 4000, 9002))
    add("TCP to an approved port", True, s(sa, sb, 4000, 9001, 2))
    add("ICMP echo that is approved", True, i(sa, sb, echo, 0, b"\0\1\0\1"))
    add("ICMP echo reply to an approved caller", True, i(sa, sb, reply, 0, b"\0\1\0\1"))
    add("UDP from a served port: the residue", True, u(sa, sb, 8002, 12345))
    add("a TCP answer from a served port: the residue", True, s(sa, sb, 8001, 12345, 0x10))
    add("UDP to another port", False, u(sa, sb, 4000, 9999))
    add("TCP to another port", False, s(sa, sb, 4000, 9999, 2))
    add("a TCP SYN from a served port", False, s(sa, sb, 8001, 12345, 2))
    add("a TCP SYN with more flags from a served port", False, s(sa, sb, 8001, 12345, 0xc2 | 0x28))
    add("a TCP FIN from a served port", False, s(sa, sb, 8001, 12345, 1))
    add("a TCP ACK from another port", False, s(sa, sb, 8003, 12345, 0x10))
    add("UDP to another workload", False, u(sa, sc, 4000, 9002))
    add("UDP from a served port to another workload", False, u(sa, sc, 8002, 9999))
    add("ICMP echo to another workload", False, i(sa, sc, echo, 0))
    for what, chunk in (("INIT", 1), ("INIT ACK", 2), ("DATA", 0)):
        add("SCTP %s to an approved port" % what, True, assoc(sa, sb, 4000, 9004, chunk))
        add("SCTP %s to another port" % what, False, assoc(sa, sb, 4000, 9999, chunk))
        add("SCTP %s from a served port: the residue, but no INIT" % what, chunk != 1, assoc(sa, sb, 8004, 12345, chunk))
        add("SCTP %s from a served port to another workload" % what, False, assoc(sa, sc, 8004, 12345, chunk))
    add("another's source address", False, u(sc, sb, 4000, 9002))
    add("another's source hardware address", False, u(sa, sb, 4000, 9002), src=c.mac)
    add("a made-up source hardware address", False, u(sa, sb, 4000, 9002), src=EVIL)
    add("no source address", False, u("::" if six else "0.0.0.0", sb, 4000, 9002))
    add("an ICMP message of another type", False, i(sa, sb, 135 if six else 13, 0))
    add("a VLAN tag", False, struct.pack("!HH", 5, kind) + u(sa, sb, 4000, 9002), ethertype=0x8100)
    add("a priority tag", False, struct.pack("!HH", 0, kind) + u(sa, sb, 4000, 9002), ethertype=0x8100)
    add("two VLAN tags", False, struct.pack("!HHHH", 5, 0x8100, 6, kind) + u(sa, sb, 4000, 9002),
        ethertype=0x88a8)
    add("a frame of no known type", False, b"MARK" + b"\0" * 60, ethertype=0x88b5)
    add("a frame with a length for a type", False, b"\x42\x42\x03MARK" + b"\0" * 60, ethertype=60)
    add("an MPLS label", False, struct.pack("!I", 0x1100ff) + u(sa, sb, 4000, 9002), ethertype=0x8847)
    add("GRE", False, packet(sa, sb, 47, struct.pack("!HH", 0, 0x800) + b"MARK" * 10))
    add("an encapsulated packet", False, packet(sa, sb, 41 if six else 4, u(sa, sb, 4000, 9002)))
    whole = udp(sa, sb, 4000, 9002, b"MARK" + b"x" * 60)
    other = udp(sa, sb, 4000, 9999, b"MARK" + b"x" * 60)
    if six:
        def part(dst, body, offset, more):
            head = struct.pack("!BBHI", 17, 0, offset << 3 | more, 99)
            return packet(sa, dst, 44, head + body)
        add("an atomic fragment of what is approved", True, part(sb, whole, 0, 0))
        add("an atomic fragment of what is not", False, part(sb, other, 0, 0))
        add("a hop-by-hop header before what is not", False,
            packet(sa, sb, 0, struct.pack("!BBHI", 17, 0, 0x104, 0) + other))
        add("a routing header before what is not", False,
            packet(sa, sb, 43, struct.pack("!BBBBI", 17, 0, 4, 0, 0) + other))
        add("destination options, fragmented, before what is not", False,
            packet(sa, sb, 60, struct.pack("!BBHI", 44, 0, 0x104, 0) + struct.pack("!BBHI", 17, 0, 0, 9) +
                   other))
        # To a router, which would send them on; and what neighbours need, as far as the link goes.
        for kind_, hops in ((135, 255), (136, 255), (133, 255), (131, 1), (132, 1), (143, 1)):
            rest = {133: b"\0" * 4, 135: b"\0\0\0\0" + ip(sa), 136: b"\x60\0\0\0" + ip(sa)}.get(kind_, b"\0" * 4 + b"MARK")
            add("ICMPv6 type %d off the link" % kind_, False,
                packet(sa, "2001:db8:77::1", 58, icmp(sa, "2001:db8:77::1", kind_, 0, rest), hops=hops))
        for to in (sb, "ff02::1", b.link_local):
            add("a solicitation to %s" % ("a neighbour", "all", "a link-local one")[(sb, "ff02::1", b.link_local).index(to)], True,
                ip6_nd(sa, to, 135, b"\0\0\0\0" + ip(to)))
        add("a solicitation to a group of the site", False, ip6_nd(sa, "ff05::1", 135, b"\0\0\0\0" + ip(sb)))
        for kind_ in (131, 132, 143):
            add("MLD type %d to a group" % kind_, True, i(sa, "ff02::16", kind_, 0, b"\0" * 4, 1))
            add("MLD type %d to a group, with a hop limit" % kind_, False, i(sa, "ff02::16", kind_, 0, b"\0" * 4, 64))
            add("MLD type %d to a neighbour" % kind_, False, i(sa, sb, kind_, 0, b"\0" * 4, 1))
        add("an MLD query", False, i(sa, "ff02::1", 130, 0, b"\0" * 4, 1))
        add("a router advertisement", False, i(a.link_local, "ff02::1", 134, 0, b"\x40\0\x07\x08" + b"\0" * 8, 255),
            dst=BROADCAST)
        add("a redirect", False, i(a.link_local, sb, 137, 0, b"\0" * 4 + ip(sc) + ip(sb), 255))
        # Nothing in them but what such a message has: what is refused is the address, and not their form.
        add("an advertisement of its own address", True,
            ip6_nd(sa, sb, 136, b"\x60\0\0\0" + ip(sa) + b"\2\1" + a.mac))
        add("an advertisement of another's address", False, ip6_nd(sa, sb, 136, b"\x60\0\0\0" + ip(sc)))
        add("an advertisement of another's address with its own hardware address", False,
            ip6_nd(sa, sb, 136, b"\x60\0\0\0" + ip(sc) + b"\2\1" + a.mac))
        add("an advertisement with another's hardware address", False,
            ip6_nd(sa, sb, 136, b"\x60\0\0\0" + ip(sa) + b"\2\1" + c.mac))
        add("a solicitation with another's hardware address", False,
            ip6_nd(sa, sb, 135, b"\0\0\0\0" + ip(sb) + b"\1\1" + EVIL))
        add("a solicitation with two hardware addresses", False,
            ip6_nd(sa, sb, 135, b"\0\0\0\0" + ip(sb) + b"\1\1" + a.mac + b"\1\1" + EVIL))
        add("a probe for another's address", False, ip6_nd("::", "ff02::1", 135, b"\0\0\0\0" + ip(sc)),
            dst=BROADCAST)
        add("an ICMP error about nothing that came", False, i(sa, sb, 1, 4, b"\0\0\0\0" + packet(sb, sa, 17, udp(
            sb, sa, 5555, 7777, b""))))
        add("an ICMP error to another workload", False, i(sa, sc, 1, 4, b"\0\0\0\0" + packet(sc, sa, 17, udp(
            sc, sa, 5555, 8002, b""))))
        add("an ICMP error about a served port", True, i(sa, sb, 1, 4, b"\0\0\0\0" + packet(sb, sa, 17, udp(
            sb, sa, 5555, 8002, b""))))
    else:
        def part(dst, body, offset, more):
            return packet(sa, dst, 17, body, frag=more << 13 | offset)
        add("an ICMP error about nothing that came", False, i(sa, sb, 3, 3, b"\0\0\0\0" + packet(sb, sa, 17, udp(
            sb, sa, 5555, 7777, b""))))
        add("an ICMP error to another workload", False, i(sa, sc, 3, 3, b"\0\0\0\0" + packet(sc, sa, 17, udp(
            sc, sa, 5555, 8002, b""))))
        add("an ICMP error about a served port", True, i(sa, sb, 3, 3, b"\0\0\0\0" + packet(sb, sa, 17, udp(
            sb, sa, 5555, 8002, b""))))
        add("an ICMP redirect", False, i(sa, sb, 5, 1, ip(sc) + packet(sb, sa, 17, udp(sb, sa, 1, 8002, b""))))
        add("an ICMP timestamp reply to an approved caller", True, i(sa, sb, 14, 0, b"\0\1\0\1"))
        add("an ICMP timestamp reply to another workload", False, i(sa, sc, 14, 0, b"\0\1\0\1"))
        add("an ICMP address mask reply that nothing asks for", False, i(sa, sb, 18, 0, b"\0\1\0\1"))

        def group(dst, typ, ttl=1):
            return packet(sa, dst, 2, struct.pack("!BBH", typ, 0, 0) + ip(dst) + b"MARK", options=b"\x94\4\0\0", hops=ttl)
        for typ in (0x12, 0x16, 0x17, 0x22):
            add("IGMP type %#x to a group" % typ, True, group("224.0.0.22", typ))
            add("IGMP type %#x to a group, with a TTL" % typ, False, group("224.0.0.22", typ, 64))
            add("IGMP type %#x to a neighbour" % typ, False, group(sb, typ))
        add("an IGMP query", False, group("224.0.0.1", 0x11))
        add("IP options before what is approved", True,
            packet(sa, sb, 17, whole, options=b"\x01" * 4))
        add("IP options before what is not", False, packet(sa, sb, 17, other, options=b"\x01" * 4))
        for op in (1, 2):
            add("ARP (%d) with another's address" % op, False, arp(op, a.mac, c.v4, b.mac, b.v4) + b"MARK",
                ethertype=0x806)
            add("ARP (%d) with the gateway's address" % op, False, arp(op, a.mac, gateway, b.mac, b.v4) + b"MARK",
                ethertype=0x806)
            add("ARP (%d) with another's hardware address" % op, False, arp(op, c.mac, a.v4, b.mac, b.v4) + b"MARK",
                ethertype=0x806)
            add("ARP (%d) with its own" % op, True, arp(op, a.mac, a.v4, b.mac, b.v4) + b"MARK", ethertype=0x806)
        add("ARP of another hardware type", False, b"\0\x06" + arp(1, a.mac, a.v4, b.mac, b.v4)[2:] + b"MARK",
            ethertype=0x806)
        add("RARP", False, arp(3, a.mac, a.v4, b.mac, b.v4) + b"MARK", ethertype=0x8035)
        add("DHCP that no edge approves", False, packet("0.0.0.0", "255.255.255.255", 17, udp(
            "0.0.0.0", "255.255.255.255", 68, 67, b"MARK")), dst=BROADCAST)
    add("a first fragment of what is approved", True, part(sb, whole[:24], 0, 1))
    add("a first fragment of what is not", False, part(sb, other[:24], 0, 1))
    add("a later fragment to an approved peer: the residue", True, part(sb, b"MARK" * 6, 4, 0))
    add("a later fragment to another workload", False, part(sc, b"MARK" * 6, 4, 0))
    add("a first fragment too short for a port", False, part(sb, whole[:2], 0, 1))
    return out


def ip6_nd(src, dst, kind, body):
    return packet(src, dst, 58, icmp(src, dst, kind, 0, body), hops=255)


def policy(a, b):
    """The one that frames() speaks of; a is enforced."""
    both = [(a, b, "tcp", 9001), (a, b, "udp", 9002), (a, b, "sctp", 9004),
            (b, a, "tcp", 8001), (b, a, "udp", 8002), (b, a, "sctp", 8004)]
    edges = [{"from": f, "to": to, "proto": p, "port": n, "state": "approved"} for f, to, p, n in both]
    edges += [{"from": f, "to": to, "proto": p, "type": n, "state": "approved"}
              for f, to in ((a, b), (b, a)) for p, n in (("icmp", 8), ("icmpv6", 128))]
    edges.append({"from": b, "to": a, "proto": "icmp", "type": 13, "state": "approved"})
    return {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "metadata": {"name": "guard"},
            "workloads": [{"name": a, "mode": "enforce", "direction": "both"}], "edges": edges}


class Oracle:
    """Counts the frames that arrive at an interface, by a mark in them."""

    def __init__(self, place, dev="eth0"):
        with Inside(place.fd):
            self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.s.bind((dev, 0))
        self.s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self.frames, self.lock = [], threading.Lock()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            try:
                data = self.s.recv(4096)
            except OSError:
                return
            with self.lock:
                self.frames.append(data)

    def count(self, mark):
        with self.lock:
            return sum(mark in f for f in self.frames)

    def forget(self):
        with self.lock:
            self.frames.clear()

    def drain(self):
        """After what has been sent has arrived: the hooks run in the sender's context."""
        end = time.monotonic() + 1
        while time.monotonic() < end and select.select([self.s], [], [], 0.03)[0]:
            time.sleep(0.005)


def marked(frame, n):
    """The frame with a mark of its own in place of MARK; checksums do not matter to who counts. No longer than MARK:
    a bridge that calls the IP hooks cuts off what is past a packet's length."""
    mark = b"M%03x" % (n & 0xfff)
    return (frame.replace(b"MARK", mark), mark) if b"MARK" in frame else (frame, frame)


def shoot(oracles, path, cases, send):
    """Sends all of them by that path; the names of those that arrived anywhere, and the sender's result."""
    marks, out = {}, []
    for name, (frame, _) in cases.items():
        shoot.n += 1
        f, marks[name] = marked(frame, shoot.n)
        out.append(f)
    for o in oracles:
        o.forget()
    r = send(path, out)
    for o in oracles:
        o.drain()
    return {name for name, m in marks.items() if any(o.count(m) for o in oracles)}, r


shoot.n = 0
