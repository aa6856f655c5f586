#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The way out: with every role dead, one command leaves no table, process or socket and cuts nothing."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Lab, Tap, run, wait

t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
A, B = "workload:" + a.name, "workload:" + b.name
b.serve(8000)
b.serve(8001)
a.exec("nft", "add", "table", "inet", "mine")  # somebody else's
d = lab.daemon(expect=[a.name, b.name])
other = lab.daemon(expect=[a.name])  # another instance beside it
api = d.api
a.tcp(b.v4, 8000)
api.approve(wait(lambda: api.edge(from_=A, to=B, port=8000))["id"])
api.mode("enforce", a.name, b.name)
inside, outside = a.connect(b.v4, 8000), a.connect(b.v6, 8000)
idle = a.connect(b.v4, 8000)


def echo(s):
    s.settimeout(1)
    s.sendall(b"x")
    return s.recv(8) == b"x"


def tables(name):
    """(namespace, table) of every table of that name in any namespace that has a file or a process."""
    found = [(n.name, name) for n in (a, b, lab.host) if name in n.exec("nft", "list", "tables").out]
    if name in run("nft", "list", "tables").out:
        found.append(("machine", name))
    return found


def processes(daemon):
    """Processes that were started with this state folder or instance."""
    found = []
    marks = (daemon.state.encode(), daemon.instance().encode())
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                line = f.read()
            with open("/proc/%s/status" % pid) as f:
                zombie = "State:\tZ" in f.read()
        except OSError:
            continue
        if not zombie and any(m in line for m in marks):
            found.append((int(pid), line.replace(b"\0", b" ").decode("utf-8", "replace")))
    return found


def sockets(daemon):
    """Unix sockets in the kernel and files in the run folder."""
    base = os.path.dirname(daemon.sock)
    with open("/proc/net/unix") as f:
        kernel = [l.split()[-1] for l in f if base in l]
    return kernel + (os.listdir(base) if os.path.isdir(base) else [])


table = d.table()
t.ok(echo(inside) and echo(outside) and a.tcp(b.v4, 8001) != "open", "enforced, with connections")
t.ok(len(tables(table)) >= 2 and len(processes(d)) >= 6 and sockets(d), "there is something to remove",
     tables(table), processes(d), sockets(d))
r = d.cleanup()
t.ok(r.returncode != 0 and "another nanosegd" in r.err and tables(table) and d.ready(),
     "refused while the daemon runs, and nothing is touched", r.returncode, r.out, r.err)
pids = d.kill_all()
t.ok(len(pids) == 7, "every role, the keeper and the supervisor are killed", pids)
t.ok(tables(table) and a.tcp(b.v4, 8001) != "open" and echo(inside), "the rules stand without them")
began = time.monotonic()
r = d.cleanup()
t.note("cleanup took %.0f ms: %s" % ((time.monotonic() - began) * 1000, (r.out + r.err).strip()))
t.ok(r.returncode == 0, "cleanup succeeds", r.returncode, r.out, r.err)
t.ok(not tables(table), "no table is left, in any namespace", tables(table))
t.ok(not processes(d), "no process is left", processes(d))
t.ok(not sockets(d), "no socket is left", sockets(d))
t.ok(echo(inside) and echo(outside) and echo(idle), "established connections go on, the idle one too")
t.ok([a.tcp(b.v4, 8001), a.tcp(b.v6, 8001), lab.host.tcp(b.v4, 8000)] == ["open"] * 3,
     "everything passes again")
t.ok("mine" in a.exec("nft", "list", "tables").out, "another's table is left alone")
t.ok(tables(other.table()) and other.ready() and other.keeper(), "and so is another instance",
     tables(other.table()))
r = d.cleanup()
t.ok(r.returncode == 0, "it can be said twice", r.out, r.err)

# With the keeper and roles alive but without a supervisor, and without a namespace.
d.start(expect=[a.name, b.name])
t.ok(api.workload(b.name)["mode"] == "enforce" and wait(lambda: a.tcp(b.v4, 8001, 0.2) != "open", 3),
     "started again it enforces: the state was kept")
os.kill(d.p.pid, 9)
d.p.wait()
t.ok(d.keeper(), "the keeper outlives the supervisor")
keeper = d.keeper()
wait(lambda: d.cleanup().returncode == 0, 5, 0.3)
t.ok(not tables(table) and not processes(d) and not sockets(d) and not d.keeper(),
     "cleanup ends a living keeper and leaves nothing", tables(table), processes(d), sockets(d))
t.ok(echo(inside), "the connection goes on")

# Nothing recorded: a sentence, not a guess.
d.state += "-none"
r = d.cleanup()
t.ok(r.returncode != 0 and "records no instance" in r.err, "a folder that records no instance is said", r.err)
d.state = d.state[:-5]
t.done()
