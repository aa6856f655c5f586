# SPDX-License-Identifier: GPL-2.0-or-later
"""A name server of the test's own, whoever forges its answers, and a client that asks as programs do."""
import ipaddress
import os
import socket
import struct
import threading

A, CNAME, AAAA, OPT = 1, 5, 28, 41


def encode(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"


def record(owner, kind, data, ttl=1):
    return encode(owner) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def question(name, kind):
    return encode(name) + struct.pack(">HH", kind, 1)


def query(ident, name, kind, edns=True):
    opt = b"\0" + struct.pack(">HHIH", OPT, 1232, 0, 0) if edns else b""
    return struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, edns) + question(name, kind) + opt


def read_name(m, at):
    labels = []
    while m[at]:
        if m[at] >= 0xc0:
            return ".".join(labels + [read_name(m, (m[at] & 0x3f) << 8 | m[at + 1])[0]]), at + 2
        labels.append(m[at + 1:at + 1 + m[at]].decode().lower())
        at += 1 + m[at]
    return ".".join(labels), at + 1


def answer(ident, name, kind, zone, truncated=False):
    """zone: name -> addresses, or another name."""
    rrs, at = [], name
    while not truncated and isinstance(zone.get(at), str):
        rrs.append(record(at, CNAME, encode(zone[at])))
        at = zone[at]
    for a in [] if truncated else zone.get(at, []):
        a = ipaddress.ip_address(a)
        if (a.version == 6) == (kind == AAAA):
            rrs.append(record(at, kind, a.packed))
    opt = b"\0" + struct.pack(">HHIH", OPT, 1232, 0, 0)
    return struct.pack(">HHHHHH", ident, 0x8580 | (0x0200 if truncated else 0), 1, len(rrs), 0, 1) + \
        question(name, kind) + b"".join(rrs) + opt


def addresses(m):
    """Whether it is cut, and the addresses of an answer."""
    flags, _, count = struct.unpack(">HHH", m[2:8])
    at = read_name(m, 12)[1] + 4
    found = []
    for _ in range(count):
        at = read_name(m, at)[1]
        kind, _, _, size = struct.unpack(">HHIH", m[at:at + 10])
        if kind in (A, AAAA):
            found.append(str(ipaddress.ip_address(m[at + 10:at + 10 + size])))
        at += 10 + size
    return bool(flags & 0x0200), found


def read_exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class Server:
    """Serves `zone` at an address of a place, UDP and TCP; names in `cut` do not fit into a datagram."""

    def __init__(self, place, addr, zone, cut=()):
        self.zone, self.cut, self.asked = zone, cut, []
        self.before = None  # (ident, name, kind) -> datagrams that are sent ahead of the answer
        family = socket.AF_INET6 if ":" in addr else socket.AF_INET
        self.udp = place.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((addr, 53))
        self.tcp = place.socket(family)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((addr, 53))
        self.tcp.listen(16)
        threading.Thread(target=self.loop_udp, daemon=True).start()
        threading.Thread(target=self.loop_tcp, daemon=True).start()

    def parse(self, m):
        name, at = read_name(m, 12)
        kind, = struct.unpack(">H", m[at:at + 2])
        ident, = struct.unpack(">H", m[:2])
        return ident, name, kind

    def loop_udp(self):
        while True:
            m, peer = self.udp.recvfrom(4096)
            ident, name, kind = self.parse(m)
            self.asked.append(name)
            for forged in self.before(ident, name, kind) if self.before else ():
                self.udp.sendto(forged, peer)
            self.udp.sendto(answer(ident, name, kind, self.zone, name in self.cut), peer)

    def loop_tcp(self):
        while True:
            c, _ = self.tcp.accept()
            threading.Thread(target=self.one, args=(c,), daemon=True).start()

    def one(self, c):
        try:
            with c:
                c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                asked = b""
                while True:
                    more = c.recv(4096)
                    if not more:
                        return
                    asked += more
                    said = b""
                    while len(asked) > 2 and len(asked) >= (end := 2 + int.from_bytes(asked[:2], "big")):
                        said += framed(answer(*self.parse(asked[2:end]), self.zone))
                        asked = asked[end:]
                    # In three pieces, the first of which is half of a length.
                    for piece in (said[:1], said[1:len(said) // 2], said[len(said) // 2:]):
                        c.sendall(piece)
        except OSError:
            pass


def framed(m):
    return struct.pack(">H", len(m)) + m


def ask_together(place, server, names, timeout=3.0):
    """The addresses of each, asked over TCP in one segment."""
    with place.socket(socket.AF_INET6 if ":" in server else socket.AF_INET) as s:
        s.settimeout(timeout)
        s.connect((server, 53))
        s.sendall(b"".join(framed(query(k, name, A)) for k, name in enumerate(names)))
        return [addresses(read_exactly(s, struct.unpack(">H", read_exactly(s, 2))[0]))[1] for _ in names]


def ask(place, server, name, kind=A, timeout=3.0, tcp=False):
    """The addresses that a resolver library would give; what does not fit is asked again over TCP."""
    ident = int.from_bytes(os.urandom(2), "big")
    q = query(ident, name, kind)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    if tcp:
        with place.socket(family) as s:
            s.settimeout(timeout)
            s.connect((server, 53))
            s.sendall(framed(q))
            return addresses(read_exactly(s, struct.unpack(">H", read_exactly(s, 2))[0]))[1]
    with place.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect((server, 53))
        s.send(q)
        while True:
            m = s.recv(4096)
            if m[:2] == q[:2] and read_name(m, 12)[0] == name:
                break
    cut, found = addresses(m)
    return ask(place, server, name, kind, timeout, True) if cut else found
