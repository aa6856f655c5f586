#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing opens and nothing breaks when roles die, the daemon is restarted or the machine is; and a
store that cannot be trusted is refused while the rules stand."""
import difflib
import os
import re
import shutil
import signal
import socket
import sqlite3
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, alive, run, table_text, wait

t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
A, B = "workload:" + a.name, "workload:" + b.name
b.serve(8000)
b.serve(8001)
leaked = b.socket(socket.AF_INET, socket.SOCK_DGRAM)  # what denied packets would reach
leaked.bind((b.v4, 8002))
leaked.setblocking(False)
d = lab.daemon(expect=[a.name, b.name])
api = d.api
a.tcp(b.v4, 8000)
a.tcp(b.v4, 8001)
edge = wait(lambda: api.edge(from_=A, to=B, port=8000))["id"]
wait(lambda: api.edge(from_=A, to=B, port=8001))
api.approve(edge, reason="kept")
api.mode("enforce", b.name, a.name)


class Traffic:
    """One long allowed connection, new allowed ones, and denied datagrams and SYNs, all the time."""

    def __init__(self):
        self.stop = threading.Event()
        self.echoes = self.new = self.sent = 0
        self.broken, self.opened = [], []
        self.long = a.connect(b.v4, 8000)
        self.long.settimeout(3)
        self.udp = [a.socket(socket.AF_INET, socket.SOCK_DGRAM)]
        # Denied ones come from outside too, so that the destination's rules alone have to stop them.
        self.udp.append(lab.host.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.talk, self.call, self.knock)]
        for x in self.threads:
            x.start()

    def talk(self):
        while not self.stop.is_set():
            try:
                self.long.sendall(b"x")
                if not self.long.recv(8):
                    raise OSError("closed")
                self.echoes += 1
            except OSError as e:
                self.broken.append("long: %s" % e)
                return
            time.sleep(0.005)

    def call(self):
        while not self.stop.is_set():
            r = a.tcp(b.v4, 8000, 2)
            if r != "open":
                self.broken.append("new: " + r)
            self.new += 1
            time.sleep(0.01)

    def knock(self):
        while not self.stop.is_set():
            for s in self.udp:
                try:
                    s.sendto(b"no", (b.v4, 8002))
                except OSError:
                    pass
                self.sent += 1
            for where in (a, lab.host):
                s = where.socket(socket.AF_INET)
                s.setblocking(False)
                s.connect_ex((b.v4, 8001))
                time.sleep(0.002)
                try:
                    s.getpeername()
                    self.opened.append(where.name)
                except OSError:
                    pass
                s.close()
                self.sent += 1

    def end(self):
        self.stop.set()
        for x in self.threads:
            x.join(5)
        self.long.close()
        n = 0
        while True:
            try:
                leaked.recv(16)
                n += 1
            except OSError:
                return n


def under_traffic(name, fn, settle=0.3):
    traffic = Traffic()
    time.sleep(0.1)
    fn()
    time.sleep(settle)
    passed = traffic.end()
    t.ok(passed == 0 and not traffic.opened and traffic.sent > 50,
         "%s: no denied packet passes" % name, passed, traffic.opened, traffic.sent)
    t.ok(not traffic.broken and traffic.echoes > 10 and traffic.new > 5,
         "%s: no allowed connection breaks" % name, traffic.broken[:5], traffic.echoes, traffic.new)
    return traffic.sent


def back(role, old):
    return wait(lambda: d.ready() and d.roles().get(role) not in (None, old) and
                not api.behind() and api.workload(b.name)["instances"], 8)


def ready_again():
    w = api.workload(b.name)
    return w and w["mode"] == "enforce" and w["instances"] and w["instances"][0]["attached"]


sent = under_traffic("nothing happens", lambda: time.sleep(0.3))
for role in ("warden", "controller", "capture", "relay", "discovery"):
    def shoot():
        old = d.kill(role)
        shoot.back = back(role, old)
    sent += under_traffic("the %s is killed" % role, shoot)
    t.ok(shoot.back and wait(ready_again, 20), "the %s is back" % role, d.text()[-1500:])


def decides():
    """Decisions still reach the kernel, once everybody is known again."""
    api.approve(api.edge(from_=A, to=B, port=8001)["id"])
    opened = wait(lambda: a.tcp(b.v4, 8001, 0.2) == "open", 12)
    api.deny(api.edge(from_=A, to=B, port=8001)["id"])
    return opened and wait(lambda: a.tcp(b.v4, 8001, 0.2) != "open", 3)


t.ok(decides(), "decisions reach the kernel after all that")


def shoot_keeper():
    old = d.kill("keeper")
    shoot_keeper.back = wait(lambda: d.keeper() not in (0, old), 8)
    time.sleep(0.3)


sent += under_traffic("the keeper is killed", shoot_keeper)
t.ok(shoot_keeper.back and decides(), "the keeper is back", d.text()[-1500:])


def shoot_supervisor():
    pids = d.all_pids()
    d.kill("supervisor")
    rest = [p for r, p in pids.items() if r not in ("supervisor", "keeper")]
    wait(lambda: not any(alive(p) for p in rest), 3)
    time.sleep(0.2)
    shoot_supervisor.left = [r for r, p in pids.items() if alive(p)]
    shoot_supervisor.rules = table_text(b, d.table())
    shoot_supervisor.flush = b.exec("nft", "flush", "table", "inet", d.table(), check=False).returncode
    d.start()
    wait(ready_again, 5)
    api.settle()


sent += under_traffic("the supervisor is killed and started", shoot_supervisor)
t.ok(shoot_supervisor.left == ["keeper"] and shoot_supervisor.rules,
     "the roles end with it, the keeper and the rules stay", shoot_supervisor.left)
t.ok(shoot_supervisor.flush != 0, "which root inside cannot take away meanwhile")
t.ok(decides() and api.edge(id=edge)["reason"] == "kept", "and it goes on where it was", d.text()[-1500:])


def restart():
    d.stop()
    time.sleep(0.2)
    d.start()
    wait(ready_again, 5)
    api.settle()


revision = api.get("/v1/status")["revision"]
sent += under_traffic("a restart", restart)
t.ok(api.get("/v1/status")["revision"] == revision and api.edge(id=edge)["state"] == "approved" and
     api.edge(from_=A, to=B, port=8001)["state"] == "denied" and decides(), "a restart keeps the policy")
t.note("%d denied packets and connections sent in all of this" % sent)

# What was acknowledged is there after a kill in the same moment.
lost = []
for k in range(3):
    r = api.deny(api.edge(from_=A, to=B, port=8001)["id"], reason="round %d" % k)
    old = d.kill("controller")
    back("controller", old)
    wait(ready_again, 3)
    e = api.edge(from_=A, to=B, port=8001)
    if e["reason"] != "round %d" % k or api.get("/v1/status")["revision"] != r["revision"]:
        lost.append(e)
t.ok(not lost, "what was answered is stored: the controller killed right after it", lost)

# A store that is not to be trusted.
api.settle()
d.stop()
good = lab.dir + "/good"
shutil.copytree(d.state, good)
rules = table_text(b, d.table())


def refused(name, spoil, pattern):
    path = d.state + "/nanoseg.db"
    for extra in ("-wal", "-shm"):
        if os.path.exists(path + extra):
            os.unlink(path + extra)
    spoil(path)
    before = open(path, "rb").read()
    d.start(wait_for=False)
    t.ok(d.says(pattern, 5), "%s: refused with a sentence" % name, d.text()[-1500:])
    status, answer = wait(lambda: api.call("GET", "/v1/status"), 5)
    cli = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "status", check=False)
    t.ok(status == 503 and answer["error"]["refused"] and re.search(pattern, cli.err) and cli.returncode == 4,
         "%s: whoever asks is told so, exit status 4" % name, status, answer, cli.err, cli.returncode)
    time.sleep(2.5)
    t.ok(len(re.findall(pattern, d.text())) == 1 and "starting it again" not in d.text() and
         "all roles run" not in d.text(), "%s: it is said once, and that all runs is not claimed" % name,
         d.text()[-1500:])
    t.ok(open(path, "rb").read() == before, "%s: the file is left as it is" % name)
    now = table_text(b, d.table())
    tried = a.tcp(b.v4, 8000), a.tcp(b.v4, 8001)
    t.ok(now == rules and tried[0] == "open" and tried[1] != "open",
         "%s: the rules in the kernel stand" % name, tried, *difflib.unified_diff(
             rules.splitlines(), now.splitlines(), lineterm=""))
    st = os.stat(d.state)
    shutil.copy(good + "/nanoseg.db", path + ".good")
    os.chown(path + ".good", st.st_uid, st.st_gid)
    os.rename(path + ".good", path)
    began = time.monotonic()
    t.ok(wait(lambda: d.ready() and ready_again(), 8), "%s: a backup in its place is taken by itself" % name, d.text()[-1500:])
    t.note("in %.1f s" % (time.monotonic() - began))
    d.stop()
    t.ok(d.p.poll() is not None and not d.roles(), "%s: it can be stopped" % name)


def newer(path):
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()


def damage(path):
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        f.seek(100)
        f.write(os.urandom(min(size, 16384) - 100))


def rubbish(path):
    with open(path, "r+b") as f:
        f.write(b"this is no database" * 100)


refused("a newer store", newer, r"newer nanoseg")
refused("a damaged store", damage, r"cannot be read")
refused("no database at all", rubbish, r"cannot be read")
d.start()
t.ok(wait(ready_again, 5) and api.edge(id=edge)["reason"] == "kept" and decides(),
     "with the store restored all goes on", d.text()[-1500:])

# The machine is switched off and on: processes, /run and namespaces are gone, the disk is not.
api.settle()
pids = d.kill_all()
t.ok(not any(alive(p) for p in pids.values()) and "keeper" in pids, "everything is killed at once", pids)
shutil.rmtree(os.path.dirname(d.sock))
leaked.close()
for ns in (a, b):
    ns.delete()
    lab.spaces.remove(ns)
a, b = lab.ns("a", k=101), lab.ns("b", k=100)
b.serve(8000)
b.serve(8001)
d.start(expect=[a.name, b.name])
wait(lambda: not api.behind(), 3)
w = api.workloads()
t.ok(w[b.name]["mode"] == "enforce" and api.edge(id=edge)["reason"] == "kept", "the policy is back", w)
t.ok(wait(lambda: a.tcp(b.v4, 8000) == "open", 3) and a.tcp(b.v4, 8001) != "open" and lab.host.tcp(b.v4, 8000) != "open",
     "and in force, in new namespaces with new addresses")
t.done()
