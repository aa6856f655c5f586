# SPDX-License-Identifier: GPL-2.0-or-later
"""Live flows of TCP, UDP and SCTP that say when they last got an answer, and what was lost."""
import os
import select
import socket
import struct
import threading
import time

from nslab import family_of

SCTP = 132
TAG = 0x4e414e4f
PERIOD = 0.01
CRC = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
    CRC.append(n)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def sctp_packet(sport, dport, chunk, flags, body, tag=TAG):
    padded = body + b"\0" * (-len(body) % 4)
    rest = struct.pack("!BBH", chunk, flags, 4 + len(body)) + padded
    head = struct.pack("!HHI", sport, dport, tag)
    return head + struct.pack("<I", crc32c(head + b"\0\0\0\0" + rest)) + rest


INIT = struct.pack("!IIHHI", TAG, 65536, 1, 1, 1)
DATA_HEAD = struct.pack("!IHHI", 1, 0, 0, 0)


def sctp_parse(data, six):
    """(source port, destination port, chunk, body) or None"""
    if not six:
        data = data[(data[0] & 15) * 4:]
    if len(data) < 16:
        return None
    sport, dport = struct.unpack("!HH", data[:4])
    return sport, dport, data[12], data[16:12 + struct.unpack("!H", data[14:16])[0]]


def answer_sctp(s, ports, six):
    data, who = s.recvfrom(2048)
    p = sctp_parse(data, six)
    if p is None or p[1] not in ports:
        return
    sport, dport, chunk, body = p
    reply = {1: (2, INIT + b"\0\7\0\10cook"), 10: (11, b""), 0: (0, body)}.get(chunk)
    if reply:
        s.sendto(sctp_packet(dport, sport, reply[0], 3, reply[1]), (who[0], 0))


def serve(place, tcp, udp, sctp):
    """Echo servers on these ports, IPv4 and IPv6, in a process of their own. Its pid."""
    listeners = [place.listen(p) for p in tcp]
    dgrams = []
    for p in udp:
        s = place.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        s.bind(("::", p))
        dgrams.append(s)
    raws = [place.socket(f, socket.SOCK_RAW, SCTP) for f in (socket.AF_INET, socket.AF_INET6)] if sctp else []
    for s in raws:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
    pid = os.fork()
    if pid:
        for s in listeners + dgrams + raws:
            s.close()
        return pid
    try:
        serve_loop(listeners, dgrams, raws, sctp)
    finally:
        os._exit(0)


def serve_loop(listeners, dgrams, raws, sctp):
    ep = select.epoll()
    by_fd = {}

    def watch(s, what):
        by_fd[s.fileno()] = (s, what)
        ep.register(s.fileno(), select.EPOLLIN)

    for s in listeners:
        watch(s, "listen")
    for s in dgrams:
        watch(s, "udp")
    for s in raws:
        watch(s, "sctp")
    while os.getppid() != 1:
        for fd, _ in ep.poll(1):
            s, what = by_fd[fd]
            try:
                if what == "listen":
                    conn = s.accept()[0]
                    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    watch(conn, "tcp")
                elif what == "udp":
                    s.sendto(*s.recvfrom(2048))
                elif what == "sctp":
                    answer_sctp(s, sctp, s.family == socket.AF_INET6)
                else:
                    data = s.recv(65536)
                    if not data:
                        raise OSError
                    s.sendall(data)
            except OSError:
                if what == "tcp":
                    ep.unregister(fd)
                    del by_fd[fd]
                    s.close()


class Flow:
    """One live connection. Each message is its number; an answer tells which one it answers."""

    next_sctp = 20000

    def __init__(self, src, dst, proto, port, six):
        self.src, self.dst, self.proto, self.port, self.six = src, dst, proto, port, six
        self.addr = dst.v6 if six else dst.v4
        self.s = None
        self.lock = threading.Lock()

    def __str__(self):
        return "%s>%s %s/%d%s" % (self.src.name[-1], self.dst.name[-1], self.proto, self.port,
                                  " v6" if self.six else "")

    def open(self, timeout=2.0):
        """False if it cannot be."""
        family = family_of(self.addr)
        self.sent, self.times, self.answered, self.buf = 0, {}, 0, b""
        self.last_ok, self.error = 0.0, None
        try:
            if self.proto == "tcp":
                s = self.src.connect(self.addr, self.port, timeout)
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            elif self.proto == "udp":
                s = self.src.socket(family, socket.SOCK_DGRAM)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                s.connect((self.addr, self.port))
            else:
                s = self.open_sctp(family, timeout)
        except OSError:
            return False
        s.setblocking(False)
        with self.lock:
            self.s = s
        return True

    def open_sctp(self, family, timeout):
        s = self.src.socket(family, socket.SOCK_RAW, SCTP)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sport = Flow.next_sctp = Flow.next_sctp + 1
        for chunk, body, tag, want in ((1, INIT, 0, 2), (10, b"cook", TAG, 11)):
            for _ in range(4):
                s.sendto(sctp_packet(self.sport, self.port, chunk, 0, body, tag), (self.addr, 0))
                if self.wait_sctp(s, (self.port, self.sport, want), self.six, timeout / 4):
                    break
            else:
                s.close()
                raise OSError
        return s

    @staticmethod
    def wait_sctp(s, want, six, timeout):
        """A packet with these ports and this chunk first."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            s.settimeout(timeout)
            try:
                p = sctp_parse(s.recv(2048), six)
            except OSError:
                return False
            if p and p[:3] == want:
                return True
        return False

    def close(self):
        with self.lock:
            if self.s is not None:
                self.s.close()
            self.s = None

    def send(self, now):
        number = struct.pack("!I", self.sent + 1)
        try:
            if self.proto == "sctp":
                self.s.sendto(sctp_packet(self.sport, self.port, 0, 3, DATA_HEAD + number), (self.addr, 0))
            else:
                self.s.send(number)
        except BlockingIOError:
            return
        except OSError as e:
            # A refusal is told for the message before: this one was not sent.
            self.error = e
            if self.proto == "tcp":
                return
        self.sent += 1
        self.times[self.sent] = now

    def got(self, number):
        sent = self.times.pop(number, None)
        if sent is not None:
            self.answered += 1
            self.last_ok = max(self.last_ok, sent)

    def receive(self):
        while True:
            try:
                data = self.s.recv(2048)
            except BlockingIOError:
                return
            except OSError as e:
                self.error = e
                return
            if self.proto == "tcp":
                if not data:
                    self.error = EOFError()
                    return
                self.buf += data
                while len(self.buf) >= 4:
                    self.got(struct.unpack("!I", self.buf[:4])[0])
                    self.buf = self.buf[4:]
            elif self.proto == "udp":
                self.got(struct.unpack("!I", data)[0])
            else:
                p = sctp_parse(data, self.six)
                if p and p[:3] == (self.port, self.sport, 0) and len(p[3]) == 16:
                    self.got(struct.unpack("!I", p[3][12:])[0])

    def unanswered(self, since, until):
        """Messages sent in between that have had no answer."""
        with self.lock:
            return sum(since < at < until for at in self.times.values())


def heartbeat(f):
    """The server of a flow of SCTP asks whether its peer is there, and that one answers: whether it was asked."""
    family = family_of(f.addr)
    here = f.src.v6 if f.six else f.src.v4
    with f.src.socket(family, socket.SOCK_RAW, SCTP) as peer, f.dst.socket(family, socket.SOCK_RAW, SCTP) as server:
        try:
            server.sendto(sctp_packet(f.port, f.sport, 4, 0, b"\0\1\0\10here"), (here, 0))
        except OSError:
            return False
        if not Flow.wait_sctp(peer, (f.port, f.sport, 4), f.six, 0.3):
            return False
        peer.sendto(sctp_packet(f.sport, f.port, 5, 0, b"\0\1\0\10here"), (f.addr, 0))
        return True


class Pump:
    """Sends on every live flow, each PERIOD."""

    def __init__(self, flows):
        self.flows = flows
        self.stop = False
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def loop(self):
        due = time.monotonic()
        while not self.stop:
            for f in self.flows:
                with f.lock:
                    if f.s is not None:
                        f.receive()
                        f.send(time.monotonic())
            due = max(due + PERIOD, time.monotonic() + 0.001)
            for _ in range(4):
                left = due - time.monotonic()
                if left > 0:
                    time.sleep(left / 4)
                for f in self.flows:
                    with f.lock:
                        if f.s is not None:
                            f.receive()
