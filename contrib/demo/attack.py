# SPDX-License-Identifier: GPL-2.0-or-later
"""What an intruder in a container tries: `attack.py tcp HOST PORT` or `attack.py raw IP PORT MAC`.

Prints "open" if the other side answers, else how it was stopped.
"""
import os
import socket
import struct
import sys
import time


def tcp(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(2)
        try:
            s.connect((host, port))
        except TimeoutError:
            return "no answer"
        except OSError as e:
            return os.strerror(e.errno).lower() if e.errno else str(e)
        return "open"


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def syn_frame(mac, src_mac, src, dst, sport, dport):
    tcp_part = struct.pack("!HHIIBBHHH", sport, dport, 7, 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = src + dst + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp_part))
    tcp_part = tcp_part[:16] + struct.pack("!H", checksum(pseudo + tcp_part)) + tcp_part[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp_part), 1, 0, 64, socket.IPPROTO_TCP, 0) + src + dst
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return mac + src_mac + b"\x08\x00" + ip + tcp_part


def raw(ip, port, mac):
    """A SYN past the output hook, by AF_PACKET; open if the SYN-ACK comes back."""
    dst, sport = socket.inet_aton(ip), 40000 + os.getpid() % 20000
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as s:
        s.bind(("eth0", 0))
        s.settimeout(0.2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((ip, 9))
            src = socket.inet_aton(probe.getsockname()[0])
        src_mac = s.getsockname()[4]
        s.send(syn_frame(bytes.fromhex(mac.replace(":", "")), src_mac, src, dst, sport, port))
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                frame = s.recv(2048)
            except TimeoutError:
                continue
            if frame[23] == socket.IPPROTO_TCP and frame[26:30] == dst and \
                    struct.unpack("!HH", frame[34:38]) == (port, sport):
                return "open" if frame[47] & 0x12 == 0x12 else "refused by the other side"
    return "no answer"


kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
print(tcp(host, port) if kind == "tcp" else raw(host, port, sys.argv[4]))
