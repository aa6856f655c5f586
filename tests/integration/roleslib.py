# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the roles share: TAP, /proc, a daemon of their own beside stand-in roles."""
import array
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

from nslab import BUILD, alive, instance_of, keeper_of, proc_status, roles_of, wait

ROLES = ("warden", "controller", "capture", "relay", "discovery")

count = {"tests": 0, "failed": 0}


def check(name, why=None):
    """One TAP line; why is None or empty if it holds, else what is wrong."""
    count["tests"] += 1
    if why:
        count["failed"] += 1
        for line in str(why).splitlines():
            print("# " + line)
    print("%s %d - %s" % ("not ok" if why else "ok", count["tests"], name), flush=True)


def skip(name, why):
    count["tests"] += 1
    print("ok %d - %s # SKIP %s" % (count["tests"], name, why), flush=True)


def plan():
    """The exit status, after the plan."""
    print("1..%d" % count["tests"])
    return 1 if count["failed"] else 0


def wait_for(what, seconds=2.0):
    """The value of what() once it is true, or None."""
    return wait(what, seconds) or None


def fds(pid):
    out = {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            out[int(fd)] = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except OSError:
            pass
    return out


class Daemon:
    def __init__(self, bindir, state, sock, *args):
        self.state, self.sock = state, sock
        self.log_path = os.path.join(state + ".log")
        self.log = open(self.log_path, "ab")
        self.offset = self.log.tell()
        self.p = subprocess.Popen(
            [bindir + "/nanosegd", "--foreground", "--log", "debug", "--state-dir", state, "--socket",
             sock, *args], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def text(self, since=None):
        with open(self.log_path, "rb") as f:
            f.seek(self.offset if since is None else since)
            return f.read().decode()

    def mark(self):
        return os.path.getsize(self.log_path)

    def says(self, pattern, since=None, seconds=3.0):
        return wait_for(lambda: re.search(pattern, self.text(since), re.M), seconds)

    def pids(self):
        """Role name -> pid, of the children that have dropped and taken their name."""
        return roles_of(self.p.pid)

    def instance(self):
        return instance_of(self.state)

    def keeper(self):
        return keeper_of(self.state)

    def keeper_socket(self):
        return "%s/keeper-%s.sock" % (os.path.dirname(self.sock), self.instance())


def finish(d):
    """Ends a daemon and its keeper whatever state they are in."""
    if d.p.poll() is None:
        d.p.terminate()
        try:
            d.p.wait(8)
        except subprocess.TimeoutExpired:
            for pid in d.pids().values():
                os.kill(pid, signal.SIGKILL)
            d.p.kill()
            d.p.wait()
    try:
        keeper = d.keeper()
        if keeper:
            os.kill(keeper, signal.SIGTERM)
    except OSError:
        pass


def copy_programs(bindir):
    """nanosegd and the keeper, and the stand-in under the name of every other role."""
    os.mkdir(bindir)
    for name in ("nanosegd", "nanoseg-keeper", "nanoseg-probe", "nanoseg-herald"):
        shutil.copy("%s/daemon/%s" % (BUILD, name), bindir)
    for name in ROLES:
        shutil.copy(BUILD + "/tests/integration/standin", bindir + "/nanoseg-" + name)


HEADER = struct.Struct("=HHIII")
SUP_CHANNEL, HELLO, PUT, DROP, LIST, ITEM, END, STOP = 1, 16, 17, 18, 19, 20, 21, 22
ITEM_BODY = struct.Struct("=QII")


def send(s, kind, body=b"", fd=None, version=1):
    data = HEADER.pack(version, kind, 5, len(body), 0) + body
    anc = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
    s.sendmsg([data], anc)


def recv(s):
    """(type, body, fds); (None, b"", []) at the end."""
    try:
        data, anc, _, _ = s.recvmsg(4096, 1024)
    except TimeoutError:
        return "nothing", b"", []
    except ConnectionResetError:
        data, anc = b"", []
    got = []
    for _, _, raw in anc:
        a = array.array("i")
        a.frombytes(raw)
        got += list(a)
    if not data:
        return None, b"", got
    return HEADER.unpack(data[:16])[1], data[16:], got


def connect(d):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(2)
    s.connect(d.keeper_socket())
    return s


def hello(d, version=1):
    return struct.pack("=I16s", version, d.instance().encode())


def as_warden(d):
    """A channel to the keeper in the warden's place."""
    s = connect(d)
    send(s, HELLO, hello(d))
    recv(s)
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(5)
    send(s, SUP_CHANNEL, struct.pack("=II", 3, 0), its.fileno())
    its.close()
    return ours
