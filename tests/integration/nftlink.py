# SPDX-License-Identifier: GPL-2.0-or-later
"""nf_tables spoken without a program: whoever owns a table is the socket that the test has in its hand."""
import os
import socket
import struct
import subprocess
import time

NETFILTER, SUBSYS = 12, 10 << 8
NEWTABLE, GETTABLE, DELTABLE, NEWRULE, DELRULE, NEWGEN = (SUBSYS | x for x in (0, 1, 2, 6, 8, 15))
BEGIN, END, DONE = 16, 17, 3
REQUEST, ACK, DUMP, CREATE = 1, 4, 0x300, 0x400
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


def insert_accept(name, chain, family=INET):
    """A rule before all others."""
    verdict = attr(2, attr(2, attr(1, struct.pack(">I", 1))))
    accept = text(1, "immediate") + attr(2, attr(1, struct.pack(">I", 0)) + verdict)
    return message(NEWRULE, CREATE | ACK, family, text(1, name) + text(2, chain) + attr(4, attr(1, accept)))


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


def tables(place, family=INET):
    """Their names. nft(8) asks for all that is in them first, and again whenever something changes meanwhile."""
    out, done = [], False
    with place.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER) as s:
        s.settimeout(5)
        s.send(message(GETTABLE, DUMP, family, b""))
        while not done:
            data = s.recv(1 << 17)
            while len(data) >= 16:
                length, kind = struct.unpack_from("=IH", data)
                done = done or kind == DONE
                if kind == NEWTABLE:
                    size = struct.unpack_from("=H", data, 20)[0]
                    out.append(data[24:20 + size - 1].decode())
                data = data[(length + 3) & ~3:]
    return out


class Monitor:
    """When each transaction of a namespace was committed, in the kernel's own order."""

    def __init__(self, place):
        self.s = place.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
        self.s.bind((0, 1 << 6))
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def forget(self):
        self.s.setblocking(False)
        try:
            while True:
                self.s.recv(65536)
        except BlockingIOError:
            pass
        self.s.settimeout(3)

    def change_and_repair(self, changer=None):
        """When that process (None: the first that does) changed something, and when another did after it; fewer if
        they do not come. The kernel has its number outside of every pid namespace."""
        out = []
        try:
            while len(out) < 2:
                data, at = self.s.recv(65536), time.monotonic()
                while len(data) >= 16:
                    length, kind = struct.unpack("=IH", data[:6])
                    if kind == NEWGEN:
                        who = self.who(data[20:length])
                        changer = who if changer is None else changer
                        if (who == changer) != bool(out):
                            out.append(at)
                    data = data[(length + 3) & ~3:]
        except OSError:
            pass
        return out[:2]

    @staticmethod
    def who(attributes):
        while len(attributes) >= 8:
            length, kind = struct.unpack("=HH", attributes[:4])
            if kind == 2:  # NFTA_GEN_PROC_PID
                return struct.unpack(">I", attributes[4:8])[0]
            attributes = attributes[(length + 3) & ~3:]
        return None


class Changer:
    """nft that stays: whoever ends makes the kernel keep the namespace's tables locked until a grace period of
    RCU has passed, 10 ms and more in which nobody can change, or repair, anything."""

    def __init__(self, *enter):
        """enter: the program, if any, that brings it into its namespace."""
        self.nft = subprocess.Popen([*enter, "nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    def change(self, command):
        self.nft.stdin.write(command + "\n")
        self.nft.stdin.flush()

    def end(self):
        self.nft.stdin.close()
        self.nft.wait(10)
