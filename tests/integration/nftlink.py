# SPDX-License-Identifier: GPL-2.0-or-later
"""nf_tables spoken without a program: whoever owns a table is the socket that the test has in its hand."""
import os
import socket
import struct

NETFILTER, SUBSYS = 12, 10 << 8
NEWTABLE, DELTABLE, DELRULE, NEWGEN = SUBSYS | 0, SUBSYS | 2, SUBSYS | 8, SUBSYS | 15
BEGIN, END = 16, 17
REQUEST, ACK, CREATE = 1, 4, 0x400
INET, NETDEV = 1, 5
OWNER, PERSIST = 2, 4


def attr(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def text(kind, value):
    return attr(kind, value.encode() + b"\0")


def message(kind, flags, family, body, res_id=0):
    body = struct.pack(">BBH", family, 0, res_id) + body
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, 1, 0) + body


def transaction(*messages):
    begin, end = message(BEGIN, 0, 0, b"", 10), message(END, 0, 0, b"", 10)
    return begin + b"".join(messages) + end


def add_table(name, flags=0, family=INET):
    return message(NEWTABLE, CREATE | ACK, family, text(1, name) + attr(2, struct.pack(">I", flags)))


def delete_table(name, family=INET):
    return message(DELTABLE, ACK, family, text(1, name))


def flush_rules(name, family=INET):
    return message(DELRULE, ACK, family, text(1, name))


class Link:
    """A socket of that namespace; it owns what it makes until it is closed."""

    def __init__(self, place):
        self.s = place.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
        self.s.bind((0, 0))
        self.s.settimeout(2)

    def commit(self, *messages):
        """The kernel's answers, in order, as errno: 0 is success."""
        self.s.send(transaction(*messages))
        out = []
        while len(out) < len(messages):
            data = self.s.recv(65536)
            while len(data) >= 20:
                length, kind = struct.unpack_from("=IH", data)
                if kind == 2:
                    out.append(-struct.unpack_from("=i", data, 16)[0])
                data = data[(length + 3) & ~3:]
            if any(out):
                break
        return out

    def port(self):
        return self.s.getsockname()[0]

    def close(self):
        self.s.close()


def errno_text(codes):
    return [os.strerror(c) for c in codes if c]
