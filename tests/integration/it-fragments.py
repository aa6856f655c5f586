#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fragments get past no refusal: tiny, overlapping, atomic, out of order, with the header in the second; at the
input of a workload whose neighbour makes them, at the output of one that makes them itself, and at its host guard.
What counts is what a socket of the receiver gets. And fragments of what is approved arrive."""
import json
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from guardlib import addrs, ether, ip4, ip6, link_mac, tcp, udp
from nslab import Inside, Lab, Tap, wait

ALLOWED, DENIED = 9002, 9999
IP_NODEFRAG, IP_HDRINCL, IPV6_HDRINCL = 22, 3, 36
DATA = b"fragment" * 8
t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
for n in (a, b):
    n.mac = link_mac(n.ip("-j", "link", "show").out, "eth0")


class Frame:
    """One fragment: `at` and the length of what it carries are in bytes."""

    def __init__(self, six, body, at, more, proto=17, ident=0, before=b""):
        self.six, src, dst = six, addrs(a, six), addrs(b, six)
        flags = at | (1 if more else 0) if six else (at >> 3) | (0x2000 if more else 0)
        if six:
            head = before + struct.pack("!BBHI", proto, 0, flags, ident)
            self.packet = ip6(src, dst, 60 if before else 44, head + body)
        else:
            p = ip4(src, dst, proto, body, frag=flags)
            p = p[:4] + struct.pack("!H", ident & 0xffff) + p[6:10] + b"\0\0" + p[12:]
            total = sum(struct.unpack("!10H", p[:20]))
            total = (total & 0xffff) + (total >> 16)
            self.packet = p[:10] + struct.pack("!H", ~total & 0xffff) + p[12:]


class Maker:
    """The ways of cutting one datagram."""

    n = 1000

    def __init__(self, six):
        self.six, self.src, self.dst = six, addrs(a, six), addrs(b, six)

    def cut(self, whole, at, order=(0, 1), proto=17):
        Maker.n += 1
        parts = [Frame(self.six, whole[:at], 0, True, proto, Maker.n),
                 Frame(self.six, whole[at:], at, False, proto, Maker.n)]
        return [parts[k] for k in order]

    def overlapping(self, port, pretended, order, at):
        """Both begin at 0: one has the header with the pretended port, the other that of the port meant."""
        Maker.n += 1
        shown, meant = self.datagram(pretended), self.datagram(port)
        parts = [Frame(self.six, shown[:at], 0, True, 17, Maker.n), Frame(self.six, meant[:at], 0, True, 17, Maker.n),
                 Frame(self.six, meant[at:], at, False, 17, Maker.n)]
        return [parts[k] for k in order]

    def datagram(self, port):
        return udp(self.src, self.dst, 4000, port, DATA)

    def to(self, port, pretended=None):
        """Name -> frames; pretended: another port, for those that can show one."""
        whole = self.datagram(port)
        out = {"in two": self.cut(whole, 32), "tiny": self.cut(whole, 8), "the last first": self.cut(whole, 32, (1, 0)),
               "each twice": self.cut(whole, 32, (0, 0, 1, 1))}
        if pretended:
            for at in (8, 32):
                for order in ((0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)):
                    out["overlapping at %d, %s" % (at, order)] = self.overlapping(port, pretended, order, at)
        if self.six:
            Maker.n += 3
            out["atomic"] = [Frame(True, whole, 0, False, 17, Maker.n)]
            # A header of options fills the first fragment; the second has the datagram's.
            options = struct.pack("!BB", 17, 0) + b"\1\4" + b"\0" * 4
            if pretended:
                out["the header in the second"] = [Frame(True, options, 0, True, 60, Maker.n - 1),
                                                   Frame(True, whole, 8, False, 60, Maker.n - 1)]
                inner = struct.pack("!BBHI", 17, 0, 0, Maker.n) + whole
                out["atomic in an atomic one"] = [Frame(True, inner, 0, False, 44, Maker.n - 2)]
                out["options before it"] = [Frame(True, whole, 0, False, 17, Maker.n + 7,
                                                  before=struct.pack("!BB", 44, 0) + b"\1\4" + b"\0" * 4)]
        return {("v6 " if self.six else "v4 ") + k: v for k, v in out.items()}

    def calls(self, port):
        """TCP that opens, with its flags in the second fragment."""
        return {"%s TCP, its flags in the second" % ("v6" if self.six else "v4"):
                self.cut(tcp(self.src, self.dst, 4000, port, 2), 8, proto=6),
                "%s TCP, its flags first" % ("v6" if self.six else "v4"):
                self.cut(tcp(self.src, self.dst, 4001, port, 2), 8, (1, 0), 6)}


class Receiver:
    """What sockets of b get."""

    def __init__(self):
        self.udp = {}
        for port in (ALLOWED, DENIED):
            s = b.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            s.bind(("::", port))
            s.setblocking(False)
            self.udp[port] = s
        self.raw = []
        for six in (False, True):
            s = b.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, 6)
            s.setblocking(False)
            self.raw.append(s)

    def got(self, port):
        try:
            return self.udp[port].recv(2048) == DATA
        except BlockingIOError:
            return False

    def heard_calls(self):
        """Ports of TCP SYNs that came in."""
        out = set()
        for s, six in zip(self.raw, (False, True)):
            while True:
                try:
                    data = s.recv(2048)
                except BlockingIOError:
                    break
                out.add(struct.unpack_from("!H", data, 2 if six else 22)[0])
        return out


class Sender:
    def __init__(self, way):
        self.way = way
        if way == "packet":
            with Inside(a.fd):
                self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
                self.s.bind(("eth0", 0))
            return
        self.s4 = a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.s4.setsockopt(socket.IPPROTO_IP, IP_HDRINCL, 1)
        if way == "raw, not put together":
            self.s4.setsockopt(socket.IPPROTO_IP, IP_NODEFRAG, 1)
        self.s6 = a.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.s6.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)

    def send(self, frames):
        for f in frames:
            try:
                if self.way == "packet":
                    self.s.send(ether(a.mac, b.mac, 0x86dd if f.six else 0x800, f.packet))
                elif f.six:
                    self.s6.sendto(f.packet, (b.v6, 0))
                else:
                    self.s4.sendto(f.packet, (b.v4, 0))
            except OSError:
                pass  # refused on the spot


receiver = Receiver()


def arrives(sender, frames, port):
    sender.send(frames)
    return wait(lambda: receiver.got(port), 2)


def evasions(way, what):
    """All ways of what is denied, then what is approved: when that is here, the others would be."""
    # Fragments that the sender's kernel may not put together go nowhere: nobody could tell their ports.
    sender = Sender(way)
    approved = Sender("raw") if way == "raw, not put together" else sender
    tried, passed, lost = 0, [], []
    for six in (False, True):
        m = Maker(six)
        for name, frames in m.to(DENIED, ALLOWED).items():
            sender.send(frames)
            tried += 1
            if not arrives(approved, m.to(ALLOWED)["v6 in two" if six else "v4 in two"], ALLOWED):
                lost.append("after " + name)
            if receiver.got(DENIED):
                passed.append(name)
            while receiver.got(ALLOWED):
                pass
        for name, frames in m.calls(DENIED).items():
            sender.send(frames)
            tried += 1
        for name, frames in m.to(ALLOWED).items():
            if not arrives(approved, frames, ALLOWED):
                lost.append(name)
    if DENIED in receiver.heard_calls():
        passed.append("TCP")
    t.ok(not passed, "%s: none of %d evasions gets through" % (what, tried), passed)
    t.ok(not lost, "%s: fragments of what is approved arrive" % what, lost)


def policy(who, direction):
    return json.dumps({"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
                       "workloads": [{"name": who.name, "mode": "enforce", "direction": direction}],
                       "edges": [{"from": a.name, "to": b.name, "proto": "udp", "port": ALLOWED, "state": "approved"},
                                 {"from": a.name, "to": b.name, "proto": "tcp", "port": ALLOWED, "state": "approved"},
                                 {"from": a.name, "to": b.name, "proto": "udp", "port": DENIED, "state": "denied"}]})


# That the frames are good: without rules they arrive, but for those that the kernel itself does not put together.
a.tcp(b.v4, 1)
a.tcp(b.v6, 1)
sender, good, bad = Sender("packet"), [], []
for six in (False, True):
    for name, frames in Maker(six).to(DENIED, ALLOWED).items():
        sender.send(frames)
        (good if wait(lambda: receiver.got(DENIED), 0.05 if "overlap" in name or "second" in name else 1) else bad).append(name)
        while receiver.got(ALLOWED):
            pass
    sender.send([f for frames in Maker(six).calls(DENIED).values() for f in frames])
t.ok(len(good) >= 11 and wait(lambda: DENIED in receiver.heard_calls(), 1),
     "without rules %d of %d arrive" % (len(good), len(good) + len(bad)), good)
t.note("not put together by this kernel: %s" % ", ".join(bad))

d = lab.daemon(expect=[a.name, b.name])
d.api.apply(policy(b, "ingress"))
evasions("packet", "at the receiver's input")
d.api.apply(policy(a, "egress"))
for way in ("raw", "raw, not put together"):
    evasions(way, "at the sender's output (%s)" % way)
d.stop()
d.cleanup()
d = lab.daemon("hostGuard: on\n", expect=[a.name, b.name])
d.api.apply(policy(a, "both"))
t.ok(wait(lambda: (d.api.workload(a.name)["instances"][0]["guard"] or {}).get("inForce"), 5), "a guard stands")
evasions("packet", "at the sender's host guard")
t.done()
