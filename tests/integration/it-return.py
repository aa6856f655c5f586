#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An address changes hands while the daemon is away, and a container that no engine knows keeps it from knowing
everybody for ten seconds once it is back. The next one there has the edge no longer than it takes to look, and who
lived on loses nothing meanwhile."""
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import PREFIX, Lab, Tap, run, wait

UNKNOWN_S, BOUND_S = 10, 5
t = Tap()
lab = Lab()
p, a, live = lab.ns("p"), lab.ns("a"), lab.ns("live")
X, X_NUMBER = a.v4, int(a.v4.rsplit(".", 1)[1])
for ns in (a, live):
    ns.serve(80)
d = lab.daemon(config="identifyTimeout: %ds\n" % UNKNOWN_S, expect=[p.name, a.name, live.name])
api = d.api
for ns in (a, live):
    p.tcp(ns.v4, 80)
edges = wait(lambda: (lambda e: len(e) == 2 and [x["id"] for x in e])(api.edges(from_="workload:" + p.name, port=80)), 5)
api.approve(*edges)
api.mode("enforce", p.name, a.name, live.name)
t.ok(wait(lambda: p.tcp(X, 80) == p.tcp(live.v4, 80) == "open" and p.tcp(live.v4, 81) != "open", 5),
     "two edges are in force", api.edges())
# Where others start all the time it takes until nobody is waited for any more.
t.ok(wait(lambda: os.path.exists(d.state + "/places"), UNKNOWN_S + 5), "who is where is on record", d.text()[-2000:])


def end_unknown(child, folder):
    child.kill()
    child.wait()
    wait(lambda: not open(folder + "/cgroup.procs").read(), 5)
    os.rmdir(folder)


def start_unknown():
    """A container of no engine."""
    base = next(x for x in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if os.path.isdir(x))
    folder = "%s/docker-%s.scope" % (base, os.urandom(32).hex())
    os.mkdir(folder)
    child = subprocess.Popen(["sh", "-c", "echo $$ > %s/cgroup.procs && exec unshare -n sleep 600" % folder])
    lab.later(end_unknown, child, folder)


class Looker(threading.Thread):
    """Connects all the time: when it was let in last, and when not."""

    def __init__(self, addr, timeout):
        super().__init__(daemon=True)
        self.addr, self.timeout, self.open, self.refused, self.go_on = addr, timeout, 0, [], True
        self.start()

    def run(self):
        while self.go_on:
            began = time.monotonic()
            if p.tcp(self.addr, 80, self.timeout) == "open":
                self.open = time.monotonic()
            else:
                self.refused.append(began)
            time.sleep(0.01)

    def end(self):
        self.go_on = False
        self.join()


d.stop()
a.delete()
b = lab.space(PREFIX + "-b")
lab.join(b, X_NUMBER)
b.serve(80)
start_unknown()
t.ok(wait(lambda: p.tcp(X, 80) == "open", 5), "the next one at the address is reached while the daemon is away")
held = p.connect(live.v4, 80)
foreign, lived = Looker(X, 0.1), Looker(live.v4, 1)
began = time.monotonic()
d.start()
closed = wait(lambda: foreign.open and time.monotonic() - max(foreign.open, began) > 1, UNKNOWN_S + 10)
foreign.end()
took = foreign.open - began
t.ok(closed and took < BOUND_S, "it no longer is as soon as the daemon is back", took, d.text()[-2000:])
t.note("reached until %.0f ms after the start" % (took * 1000))
# Everybody is known by then.
wait(lambda: api.workload(b.name) and time.monotonic() - began > UNKNOWN_S + 2, 20)
lived.end()
t.ok(lived.open - began > UNKNOWN_S and not lived.refused, "who lived on was reached all the time",
     [x - began for x in lived.refused], d.text()[-2000:])
held.settimeout(3)
held.sendall(b"x")
t.ok(held.recv(1) == b"x", "and its connection lives")
wb = "workload:" + b.name
t.ok(not [e for e in api.edges() if wb in (e["from"], e["to"]) and e["state"] == "approved"],
     "no edge is the next one's", api.edges())
t.done()
