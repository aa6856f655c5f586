#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The keeper by itself, spoken to as the supervisor and the warden speak to it, and as they never would."""
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

from roleslib import (DROP, END, HEADER, HELLO, ITEM, ITEM_BODY, LIST, PUT, STOP, alive, as_warden, check,
                      connect, copy_programs, fds, hello, plan, recv, send, wait_for)


class LoneKeeper:
    """A keeper without a supervisor that would give its warden's channel to another."""

    def __init__(self, bindir, path):
        self.path = path
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(path)
        listener.listen(8)
        high = fcntl.fcntl(listener, fcntl.F_DUPFD, 10)
        self.p = subprocess.Popen(
            ["bash", "-c", 'exec "$0" "$@" 3<&%d %d<&-' % (high, high),
             bindir + "/nanoseg-keeper", "--instance", self.instance(), "--uid", "2000000104",
             "--gid", "2000000104", "--log", "error"], pass_fds=[high])
        listener.close()
        os.close(high)

    def instance(self):
        return "0badcafe"

    def keeper(self):
        return self.p.pid if self.p.poll() is None else 0

    def keeper_socket(self):
        return self.path


def keeper_list(w):
    send(w, LIST)
    items = []
    while True:
        kind, body, got = recv(w)
        if kind != ITEM:
            return items if kind == END else None
        link = os.readlink("/proc/self/fd/%d" % got[0])
        os.close(got[0])
        items.append(ITEM_BODY.unpack(body) + (link.split(":")[-1].split(" ")[0],))


def keep(w, d, cookie, name, value=0):
    fd = os.memfd_create(name)
    send(w, PUT, ITEM_BODY.pack(cookie, 1, value), fd)
    os.close(fd)


def test_keeper_protocol(d):
    pid = d.keeper()
    s = connect(d)
    send(s, HELLO, hello(d, 99))
    kind, body, _ = recv(s)
    check("a keeper answers another version with its own, closes and stays",
          "" if kind == HELLO and body[:4] == struct.pack("=I", 1) and recv(s)[0] is None and
          d.keeper() == pid else (kind, body))
    s = connect(d)
    send(s, STOP)
    check("nothing is taken before HELLO", "" if recv(s)[0] is None and alive(pid) else "taken")
    ours = as_warden(d)
    send(ours, LIST)
    check("a warden says HELLO first, too", "" if recv(ours)[0] is None else "listed")
    old, ours = as_warden(d), as_warden(d)
    check("a new warden's channel replaces the old", "" if recv(old)[0] is None else "both")
    send(ours, HELLO, hello(d))
    recv(ours)
    for cookie in range(100, 400):
        keep(ours, d, cookie, "n%d" % cookie)
    keep(ours, d, 200, "other", 3)
    send(ours, DROP, ITEM_BODY.pack(300, 1, 0))
    send(ours, DROP, ITEM_BODY.pack(9999, 1, 0))
    items = keeper_list(ours)
    want = [(c, 1, 3 if c == 200 else 0, "other" if c == 200 else "n%d" % c)
            for c in range(100, 400) if c != 300]
    check("PUT keeps and replaces, DROP closes, LIST gives all with their fds",
          "" if items == want else items)
    n = sum(1 for v in fds(pid).values() if "memfd:" in v)
    check("the keeper has one fd for each item", "" if n == 299 else n)
    for cookie in range(100, 400):
        send(ours, DROP, ITEM_BODY.pack(cookie, 1, 0))
    send(ours, STOP)
    wait_for(lambda: recv(ours)[0] is None)
    check("a warden cannot stop the keeper", "" if alive(pid) else "it ended")
    s = connect(d)
    s.send(b"\xff" * 40)
    check("nonsense closes the connection and nothing else",
          "" if recv(s)[0] is None and d.keeper() == pid else "not closed")


def test_keeper_bound(d):
    ours = as_warden(d)
    send(ours, HELLO, hello(d))
    recv(ours)
    fd = os.memfd_create("many")
    for cookie in range(1000, 1000 + 8196):
        send(ours, PUT, ITEM_BODY.pack(cookie, 2, 5), fd)
    refused = []
    for _ in range(4):
        kind, body, _ = recv(ours)
        refused.append((kind, ITEM_BODY.unpack(body)[0]))
    check("the keeper holds 8,192 and says which it has no room for",
          "" if refused == [(DROP, c) for c in range(9192, 9196)] else refused)
    send(ours, PUT, ITEM_BODY.pack(1000, 2, 6), fd)
    os.close(fd)
    items = keeper_list(ours)
    check("a full keeper still replaces, and lists all that it holds",
          "" if items is not None and len(items) == 8192 and (1000, 2, 6, "many") in items
          else len(items or []))
    for cookie in range(1000, 1000 + 8196):
        send(ours, DROP, ITEM_BODY.pack(cookie, 2, 0))
    check("what is dropped is closed",
          "" if wait_for(lambda: len(fds(d.keeper())) < 20) else len(fds(d.keeper())))
    send(ours, STOP)
    wait_for(lambda: recv(ours)[0] is None)
    s = connect(d)
    send(s, HELLO, hello(d))
    recv(s)
    send(s, STOP)
    wait_for(lambda: not d.keeper())
    check("the supervisor's STOP ends it", "" if d.p.poll() == 0 else d.p.poll())


def test_keeper_peers(d):
    os.chmod(d.keeper_socket(), 0o666)
    code = ("import os, socket, sys\nos.setresuid(65534, 65534, 65534)\n"
            "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.settimeout(2)\n"
            "s.connect(sys.argv[1])\n"
            "try:\n s.send(bytes.fromhex(sys.argv[2]))\n r = s.recv(100)\n"
            "except OSError:\n r = b''\nsys.exit(7 if r == b'' else 1)")
    data = HEADER.pack(1, HELLO, 1, 20, 0) + hello(d)
    p = subprocess.run([sys.executable, "-c", code, d.keeper_socket(), data.hex()],
                       stderr=subprocess.PIPE)
    os.chmod(d.keeper_socket(), 0o600)
    check("the keeper answers root alone", "" if p.returncode == 7 else p)


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    top = tempfile.mkdtemp(prefix="nst%d-" % os.getpid())
    os.chmod(top, 0o755)
    copy_programs(top + "/bin")
    k = LoneKeeper(top + "/bin", top + "/keeper.sock")
    try:
        test_keeper_protocol(k)
        test_keeper_peers(k)
        test_keeper_bound(k)
    finally:
        if k.keeper():
            k.p.kill()
        shutil.rmtree(top, ignore_errors=True)
    return plan()


sys.exit(main())
