# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames with any source address, and a packet socket to send them by."""
import json
import socket
import struct

from guardlib import mac
from nslab import Inside

AT = {socket.IPPROTO_UDP: 6, socket.IPPROTO_TCP: 16, socket.IPPROTO_ICMP: 2}  # the checksum's place


def mac_of(ns):
    return mac(json.loads(ns.ip("-j", "link", "show", "dev", "eth0").out)[0]["address"])


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def udp(sport, dport):
    return struct.pack("!HHHH", sport, dport, 12, 0) + b"ping"


def segment(sport, dport, flags, seq=1, ack=0):
    return struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 64000, 0, 0)


def syn(sport, dport):
    return segment(sport, dport, 2)


def echo(ident):
    return struct.pack("!BBHHH", 8, 0, 0, ident, 1)


class Sender:
    """From one namespace's link to another's."""

    def __init__(self, ns, to):
        self.to = to
        self.macs = mac_of(to) + mac_of(ns)
        with Inside(ns.fd):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self.socket.bind(("eth0", 0))

    def send(self, src, proto, payload):
        six = ":" in src
        family = socket.AF_INET6 if six else socket.AF_INET
        ends = b"".join(socket.inet_pton(family, a)
                        for a in (src, self.to.v6 if six else self.to.v4))
        sizes = (len(payload), proto) if six else (proto, len(payload))
        pseudo = b"" if proto == socket.IPPROTO_ICMP else ends + struct.pack("!II" if six else "!HH",
                                                                             *sizes)
        at = AT[proto]
        payload = payload[:at] + struct.pack("!H", checksum(pseudo + payload)) + payload[at + 2:]
        if six:
            head = struct.pack("!IHBB", 6 << 28, len(payload), proto, 64) + ends
        else:
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, proto, 0) + ends
            head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        self.socket.send(self.macs + (b"\x86\xdd" if six else b"\x08\x00") + head + payload)
