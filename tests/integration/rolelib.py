# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces, sockets inside them, TAP, and the driver, for the tests of single roles."""
import atexit
import ctypes
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

BUILD = os.environ.get("top_builddir", os.getcwd())
PREFIX = "nst%d-" % os.getpid()
SO_NETNS_COOKIE = 71
CLONE_NEWNET = 0x40000000
# A line of /proc/PID/status of a role; a build with sanitizers has no filter.
with open(os.path.join(BUILD, "config.h")) as config:
    FILTERED = "Seccomp:\t" + ("0" if "#define WITH_SANITIZERS 1" in config.read() else "2")
libc = ctypes.CDLL(None, use_errno=True)


def program(name):
    return os.path.join(BUILD, name)


def run(*args, check=True, **kw):
    return subprocess.run(args, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **kw)


class Tap:
    def __init__(self, plan):
        self.n = 0
        self.bad = 0
        self.plan = plan
        print("1..%d" % plan, flush=True)

    def ok(self, good, name, *info):
        self.n += 1
        self.bad += not good
        print("%s %d - %s" % ("ok" if good else "not ok", self.n, name), flush=True)
        for i in info if not good else ():
            for line in str(i).splitlines()[-30:]:
                print("# " + line, flush=True)
        return good

    def note(self, text):
        print("# " + text, flush=True)

    def skip(self, n, name, why):
        for _ in range(n):
            self.n += 1
            print("ok %d - %s # SKIP %s" % (self.n, name, why), flush=True)

    def done(self):
        if self.n != self.plan:
            print("# planned %d, ran %d" % (self.plan, self.n))
            sys.exit(1)
        sys.exit(1 if self.bad else 0)


def inside(path, fn):
    """fn() in the namespace of that file, in a thread of its own."""
    out = []

    def work():
        fd = os.open(path, os.O_RDONLY)
        try:
            if libc.setns(fd, CLONE_NEWNET) < 0:
                out.append(OSError(ctypes.get_errno(), "setns"))
                return
            out.append(fn())
        except OSError as e:
            out.append(e)
        finally:
            os.close(fd)

    t = threading.Thread(target=work)
    t.start()
    t.join()
    if isinstance(out[0], OSError):
        raise out[0]
    return out[0]


class Netns:
    all = []

    def __init__(self, name):
        self.name = PREFIX + name
        self.path = "/run/netns/" + self.name
        Netns.all.append(self)
        self.made = time.monotonic()
        run("ip", "netns", "add", self.name)
        self.cookie = self.cookie_now()

    def cookie_now(self):
        s = self.socket(socket.AF_INET, socket.SOCK_DGRAM)
        c = s.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        s.close()
        return int.from_bytes(c, sys.byteorder)

    def socket(self, family, kind, proto=0):
        return inside(self.path, lambda: socket.socket(family, kind, proto))

    def ip(self, *args):
        return run("ip", "-n", self.name, *args)

    def up(self, dev, *addrs):
        for a in addrs:
            self.ip("addr", "add", a, "dev", dev, *(["nodad"] if ":" in a else []))
        self.ip("link", "set", dev, "up")

    def nft(self):
        return run("ip", "netns", "exec", self.name, "nft", "list", "ruleset").stdout

    def listen(self, addr, port):
        fam = socket.AF_INET6 if ":" in addr else socket.AF_INET
        s = self.socket(fam, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((addr, port))
        s.listen(64)
        return s

    def connect(self, addr, port, timeout=1.0, sport=0):
        """The connected socket, or the name of the error."""
        fam = socket.AF_INET6 if ":" in addr else socket.AF_INET
        s = self.socket(fam, socket.SOCK_STREAM)
        s.settimeout(timeout)
        try:
            if sport:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("", sport))
            s.connect((addr, port))
            return s
        except OSError as e:
            s.close()
            return type(e).__name__

    def delete(self):
        if self in Netns.all:
            Netns.all.remove(self)
            run("ip", "netns", "del", self.name, check=False)


@atexit.register
def delete_all():
    for n in list(Netns.all):
        n.delete()


def _exit(*_):
    sys.exit(1)


signal.signal(signal.SIGTERM, _exit)
signal.signal(signal.SIGINT, _exit)


class Driver:
    """tests/integration/warden-driver in a namespace that plays the host's."""

    def __init__(self, netns=None, wrap=()):
        cmd = [program("tests/integration/warden-driver")]
        if netns is not None:
            cmd = ["nsenter", "--net=" + netns.path] + cmd
        self.log = open(os.environ.get("ROLE_LOG", os.devnull), "ab")
        self.p = subprocess.Popen(list(wrap) + cmd, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1)
        self.q = queue.Queue()
        self.seen = []
        self.events = 0
        threading.Thread(target=self._read, daemon=True).start()
        atexit.register(self.close)

    def _read(self):
        for line in self.p.stdout:
            self.log.write(line.encode())
            self.q.put(json.loads(line))
        self.q.put({"msg": "EOF"})

    def _take(self, timeout):
        try:
            m = self.q.get(timeout=timeout)
        except queue.Empty:
            return None
        if m["msg"] == "EVENTS":
            self.events += m["n"]
        self.seen.append(m)
        return m

    def send(self, *words):
        self.p.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.p.stdin.flush()

    def drain(self, seconds=0.0):
        """What has come and comes within the time; all of it since the last clear()."""
        end = time.monotonic() + seconds
        while self._take(max(end - time.monotonic(), 0.001)) is not None:
            pass
        return self.seen

    def clear(self):
        self.drain()
        self.seen = []

    def wait(self, timeout, msg, **want):
        """The first message like that since clear(), or None."""
        def like(m):
            return m["msg"] == msg and all(m.get(k) == v for k, v in want.items())

        for m in self.seen:
            if like(m):
                return m
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            m = self._take(end - time.monotonic())
            if m is None or m["msg"] == "EOF":
                return None
            if like(m):
                return m
        return None

    def ask(self, answer, *words, timeout=3.0):
        """Sends a command and returns the answer to exactly that one, or {} ."""
        self.clear()
        self.send(*words)
        sent = self.wait(timeout, "SENT")
        if sent is None or sent["error"] != 0:
            return {}
        return self.wait(timeout, answer, seq=sent["seq"]) or {}

    def close(self):
        if self.p.poll() is None:
            self.p.stdin.close()
            try:
                self.p.wait(5)
            except subprocess.TimeoutExpired:
                self.p.kill()


def status_kb(pid, field):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return -1


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")
