# SPDX-License-Identifier: GPL-2.0-or-later
"""A hole in a table that nobody but its owner can change: made on the owner's own socket, taken from the
warden. What a fault of the kernel or of the warden would look like."""
import ctypes
import os
import re
import socket
import struct
import sys

SO_NETNS_COOKIE, PIDFD_OPEN, PIDFD_GETFD = 71, 434, 438
NFNL_BATCH_BEGIN, NFNL_BATCH_END, NEWRULE, DELRULE = 0x10, 0x11, 0xa06, 0xa08
INET = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def cookie_of(s):
    return int.from_bytes(s.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)


def attr(kind, data, nested=False):
    if isinstance(data, str):
        data = data.encode() + b"\0"
    out = struct.pack("=HH", 4 + len(data), kind | (0x8000 if nested else 0)) + data
    return out + b"\0" * (-len(out) % 4)


def message(kind, flags, family, res, body):
    data = struct.pack("=BB", family, 0) + struct.pack(">H", res) + body
    return struct.pack("=IHHII", 16 + len(data), kind, flags, 1, 0) + data


def transact(s, kind, flags, body):
    s.send(message(NFNL_BATCH_BEGIN, 1, 0, 10, b"") + message(kind, flags | 5, INET, 0, body) +
           message(NFNL_BATCH_END, 1, 0, 10, b""))
    got = s.recv(65536)
    return struct.unpack_from("=i", got, 16)[0]


def accept_rule(table, chain):
    """What `nft insert rule inet TABLE CHAIN accept` sends."""
    verdict = attr(2, attr(1, struct.pack(">I", 1)), True)
    expr = attr(1, attr(1, "immediate") + attr(2, attr(1, struct.pack(">I", 0)) + attr(2, verdict, True), True), True)
    return attr(1, table) + attr(2, chain) + attr(4, expr, True)


class Hole:
    """An accept at the head of a chain of the instance's table, in that place; closed by close()."""

    def __init__(self, warden, place, table, chain):
        self.place, self.table, self.chain, self.sock = place, table, chain, None
        want = cookie_of(place.socket(socket.AF_INET, socket.SOCK_DGRAM))
        pidfd = LIBC.syscall(PIDFD_OPEN, warden, 0)
        for fd in os.listdir("/proc/%d/fd" % warden):
            try:
                if not os.readlink("/proc/%d/fd/%s" % (warden, fd)).startswith("socket:"):
                    continue
            except FileNotFoundError:  # it was closed meanwhile
                continue
            mine = LIBC.syscall(PIDFD_GETFD, pidfd, int(fd), 0)
            if mine < 0:
                continue
            s = socket.socket(fileno=mine)
            if s.family != socket.AF_NETLINK or s.proto != 12 or cookie_of(s) != want:
                s.close()
                continue
            s.settimeout(1)
            try:
                # 0x800: at the head; the kernel lets the owner alone.
                if transact(s, NEWRULE, 0x400, accept_rule(table, chain)) == 0:
                    self.sock = s
                    break
            except OSError:
                pass
            s.close()
        os.close(pidfd)
        if self.sock is None:
            raise RuntimeError("no owner's socket was found in the warden")

    def close(self):
        """True if the rule was still there."""
        text = self.place.exec("nft", "-a", "list", "chain", "inet", self.table, self.chain).out
        handle = re.search(r"^\s*accept # handle (\d+)$", text, re.M)
        if handle is None:
            return False
        return transact(self.sock, DELRULE, 0, attr(1, self.table) + attr(2, self.chain) +
                        attr(3, struct.pack(">Q", int(handle.group(1))))) == 0
