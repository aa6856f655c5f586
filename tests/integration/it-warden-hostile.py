#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The warden against namespaces whose root prepared for it."""
import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from rolelib import Driver, Netns, PREFIX, Tap, program, run

INSTANCE = "%08x" % ((os.getpid() << 8 | 1) & 0xffffffff)
TABLE = "nanoseg_" + INSTANCE
WARDEN = program("daemon/nanoseg-warden")
EPERM = -1
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
NOBODY = 65534
GROUPS = range(1024, 65536)

if os.geteuid() != 0:
    print("1..0 # SKIP needs root")
    sys.exit(0)

t = Tap(13 if os.environ.get("NANOSEG_SLOW_TESTS") else 11)
libc = ctypes.CDLL(None, use_errno=True)


def attr(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def squat(ns):
    """A socket that holds every NFLOG group there; the number it got."""
    s = ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    s.bind((0, 0))
    held = 0
    for group in GROUPS:
        body = struct.pack(">BBH", 0, 0, group) + attr(1, b"\x01")
        s.send(struct.pack("=IHHII", 16 + len(body), 4 << 8 | 1, 5, group, 0) + body)
        held += struct.unpack_from("=i", s.recv(256), 16)[0] == 0
    return s, held


d = Driver()
d.send("spawn", "warden", WARDEN, INSTANCE, 0, 0)
t.ok(d.wait(3, "W_SCANNED"), "it runs")

# A table of our name, owned by a process of the namespace, without and with a rule
for rules, what in (([], "empty"), (["add chain inet %s c" % TABLE,
                                     "add rule inet %s c accept" % TABLE], "filled")):
    a = Netns("planted-" + what)
    p = subprocess.Popen(["ip", "netns", "exec", a.name, "nft", "-i"], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    p.stdin.write("\n".join(["add table inet %s { flags owner; }" % TABLE] + rules) + "\n")
    p.stdin.flush()
    for _ in range(100):
        if TABLE in a.nft() and len(a.nft().splitlines()) > 2 * len(rules):
            break
        time.sleep(0.02)
    d.wait(2, "W_NETNS", cookie=a.cookie)
    m = d.ask("W_ATTACHED", "attach", a.cookie, 0, 1 << 20)
    t.ok(m.get("error") == 0 and m["owned"] == 0 and m["adopted"] == 1,
         "a planted table (%s) keeps nobody from being observed" % what, m)
    m = d.ask("W_APPLIED", "apply", a.cookie, "enforce", "enforce")
    t.ok(m.get("error") == EPERM, "that it cannot be enforced is told", m)
    p.stdin.close()
    p.wait()
    m = d.ask("W_APPLIED", "apply", a.cookie, "enforce", "enforce")
    t.ok(m.get("error") == 0 and m["owned"] == 1 and m["match"] == 1,
         "and enforced it is, when its owner is gone", m)

# Every NFLOG group taken before we came: taking them takes 40 s, so long-hostile.sh asks for it.
if os.environ.get("NANOSEG_SLOW_TESTS"):
    b = Netns("squat")
    s, held = squat(b)
    d.wait(2, "W_NETNS", cookie=b.cookie)
    m = d.ask("W_ATTACHED", "attach", b.cookie, 0, 1 << 20, timeout=5)
    t.ok(held == len(GROUPS) and m.get("error") == 0 and m["owned"] == 1,
         "held NFLOG groups keep nobody from being attached", m)
    m = d.ask("W_APPLIED", "apply", b.cookie, "enforce", "enforce")
    t.ok(m.get("error") == 0 and m["match"] == 1, "nor from being enforced", m)

# Somebody without privileges who claims to be a container
CONTAINER = "c0ffee" + "%058x" % os.getpid()
base = "/sys/fs/cgroup"
if not os.path.exists(base + "/cgroup.procs"):
    base += "/pids"
cgroup = base + "/" + PREFIX.rstrip("-")


def join():
    """Into the cgroup that is named like a container."""
    with open(cgroup + "/" + CONTAINER + "/cgroup.procs", "w") as f:
        f.write("0")


def child(name):
    """Forks; the parent stays behind, and the child is the one that goes on, under that name."""
    if os.fork() != 0:
        while True:
            time.sleep(60)
    libc.prctl(1, signal.SIGKILL)
    libc.prctl(15, name)


def pretend(uid, early=False, more=()):
    """A process in a namespace of its own and in that cgroup; early: it joins that after it was made."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        libc.prctl(1, signal.SIGKILL)
        if not early:
            join()
        if uid:
            os.setgid(uid)
            os.setuid(uid)
            libc.prctl(1, signal.SIGKILL)
        ok = libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)) == 0
        for name in more:
            child(name)
            join()
        c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM).getsockopt(socket.SOL_SOCKET, 71, 8)
        os.write(w, c if ok else b"-")
        time.sleep(60)
        os._exit(0)
    os.close(w)
    c = os.read(r, 8)
    os.close(r)
    return pid, int.from_bytes(c, sys.byteorder) if len(c) == 8 else 0


def container_of(cookie):
    """What is announced by the next rescan."""
    m = d.wait(12, "W_NETNS", cookie=cookie)
    return m and m["container"]


if os.access(base, os.W_OK):
    os.makedirs(cgroup + "/" + CONTAINER)
    pids = []
    try:
        made = [pretend(NOBODY), pretend(0), pretend(0, True, (b"runc:[1:CHILD]", b"runc:[2:INIT]")),
                pretend(0, False, (b"runc", b"runc:[2:INIT]"))]
        pids += [pid for pid, _ in made]
        users, roots, engines, inner = [cookie for _, cookie in made]
        if users:
            t.ok(container_of(users) == "", "a user's namespace is no container's")
        else:
            t.skip(1, "a user's namespace is no container's", "no user namespaces here")
        t.ok(container_of(roots) == CONTAINER, "root's is")
        t.ok(container_of(engines) == "",
             "nor is an engine's, in which a runtime's process is in the container's cgroup already")
        t.ok(container_of(inner) == CONTAINER, "processes that take a runtime's name hide none")
    finally:
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        for _ in range(50):
            try:
                os.rmdir(cgroup + "/" + CONTAINER)
                os.rmdir(cgroup)
                break
            except OSError:
                time.sleep(0.02)
else:
    t.skip(4, "a user's namespace is no container's", "no cgroups")
d.send("kill", "warden")
d.close()
t.done()
