# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of every kind a raw sender could want, and an oracle that counts those that arrive."""
import select
import socket
import struct
import threading
import time

from nslab import Inside

BROADCAST = b"\xff" * 6


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


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


def ip4(src, dst, proto, body, frag=0, options=b""):
    head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 77, frag,
                       64, proto, 0, ip(src), ip(dst)) + options
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


def icmp(src, dst, kind, code, data):
    return summed(src, dst, 58 if ":" in src else 1, struct.pack("!BBH", kind, code, 0) + data, 2)


def arp(op, sha, spa, tha, tpa):
    return struct.pack("!HHBBH", 1, 0x800, 6, 4, op) + sha + ip(spa) + tha + ip(tpa)


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

    def drain(self):
        """After what has been sent has arrived: the hooks run in the sender's context."""
        end = time.monotonic() + 1
        while time.monotonic() < end and select.select([self.s], [], [], 0.03)[0]:
            time.sleep(0.005)
