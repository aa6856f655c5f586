#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon tells a service manager: READY once it watches and the gate is answered, by a path
and by an abstract name; STOPPING at its end; nothing of it to its roles."""
import json
import os
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, wait

t = Tap()
lab = Lab()


class Manager:
    def __init__(self, name):
        # Abstract names belong to a network namespace.
        self.s = lab.host.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(name if name[0] == "/" else "\0" + name[1:])
        self.s.settimeout(0.02)
        self.name, self.got = name, []

    def says(self, what):
        try:
            self.got.append(self.s.recv(4096).decode())
        except TimeoutError:
            pass
        return any(what in x.split("\n") for x in self.got)


def gate_answers(sock):
    """What the gate says to a container that nobody knows; None if it does not answer."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(3)
    try:
        s.connect(sock)
        body = json.dumps({"id": "5e" * 32, "pid": os.getpid(), "timeoutMs": 1000})
        s.sendall(("POST /v1/gate HTTP/1.1\r\nHost: n\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)).encode())
        return s.recv(4096).split(b" ")[1]
    except OSError:
        return None


for kind, name in (("a path", lab.dir + "/notify"), ("an abstract name", "@nanoseg-%d" % os.getpid())):
    m = Manager(name)
    d = lab.daemon(start=False)
    os.environ["NOTIFY_SOCKET"] = name
    # A new namespace that exists when READY comes must be known without asking again.
    ns = lab.ns("n%d" % len(lab.daemons))
    d.start(wait_for=False)
    del os.environ["NOTIFY_SOCKET"]
    ready = wait(lambda: m.says("READY=1"), 15)
    t.ok(ready, "READY comes by %s" % kind, m.got, d.text())
    t.ok(gate_answers(d.sock) == b"200", "with it the gate is answered", d.text()[-2000:])
    t.ok(wait(lambda: d.api.workload(ns.name), 3), "and what was there is known", list(d.api.workloads()))
    envs = [open("/proc/%d/environ" % p).read() for p in d.roles().values()]
    t.ok(len(envs) == 5 and not [e for e in envs if "NOTIFY_SOCKET" in e], "no role can speak for it", envs)
    n = len(m.got)
    old = d.kill("controller")
    wait(lambda: d.roles().get("controller") not in (None, old), 5)
    wait(lambda: m.says("nothing"), 0.5)
    t.ok(len(m.got) == n, "READY comes once, not at each start of a role", m.got)
    d.stop()
    t.ok(wait(lambda: m.says("STOPPING=1"), 1), "STOPPING comes at its end", m.got)

d = lab.daemon(start=False)
for name in ("/nowhere/notify", "vsock:1:2", "@" + "x" * 200):
    os.environ["NOTIFY_SOCKET"] = name
    d.start()
    t.ok(d.says("cannot reach the service manager"), "a manager that cannot be reached is no reason to end: %.20s" % name)
    d.stop()
del os.environ["NOTIFY_SOCKET"]
d.cleanup()  # its keeper stays else, and another's programs come now

# All roles run, and nothing is watched: what starts now would not be seen.
m = Manager(lab.dir + "/notify2")
programs = lab.dir + "/programs"
os.mkdir(programs)
for f in ("nanosegd", "nanoseg-keeper", "nanoseg-controller", "nanoseg-capture", "nanoseg-relay", "nanoseg-discovery",
          "nanoseg-probe", "nanoseg-herald"):
    shutil.copy("%s/daemon/%s" % (BUILD, f), programs)
shutil.copy(BUILD + "/tests/integration/standin", programs + "/nanoseg-warden")
log = open(lab.dir + "/blind.log", "wb")
p = subprocess.Popen([programs + "/nanosegd", "--foreground", "--log", "debug", "--config", d.config, "--state-dir",
                      d.state, "--socket", d.sock], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                     env=dict(os.environ, NOTIFY_SOCKET=m.name))
lab.later(d.cleanup)
lab.later(p.wait)
lab.later(p.terminate)
ready = wait(d.ready, 5)
t.ok(ready and not wait(lambda: m.says("READY=1"), 1), "a daemon that does not watch is not READY", m.got)
t.done()
