#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration, read again while the daemon runs: by command and by signal, of a file that is good,
bad, hostile or not there, with a death in the middle, and with connections being learned meanwhile."""
import glob
import hashlib
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, alive, run, wait

NOBODY, REVIEWERS, ADMINS = 65534, 60, 100  # games and users are groups everywhere

t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
FIRST = "adminGroups: [users]\nrecertifyAfter: 10d\n"
d = lab.daemon(config=FIRST, expect=[a.name, b.name])
os.chmod(d.sock, 0o666)
controller = d.roles()["controller"]


def reload(*more):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, "reload", *more, check=False)


def config():
    return d.api.get("/v1/config")


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def records():
    lines = [x for f in sorted(glob.glob(d.state + "/audit/*.jsonl")) for x in open(f, encoding="ascii")]
    return [r for r in map(json.loads, lines) if r["event"] == "config-reload"]


def status_of(gid, path="/v1/confirm"):
    """What a request of an administrator is answered by a member of that group."""
    pid = os.fork()
    if pid == 0:
        os.setgroups([gid])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os._exit(d.api.raw("POST", path, "[")[0] - 350)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) + 350


r = reload()
t.ok(r.returncode == 0 and "nothing has changed" in r.out, "a file that is as it was", r.out, r.err)
SECOND = "adminGroups: [games, nosuchgroup]\nmaxEdges: 60000\nselfTest: 1h\nlogLevel: debug\nrecertifyAfter: 20d\n"
d.configure(SECOND)
t.ok(config()["digest"] == digest(FIRST) and status_of(ADMINS) == 400 and status_of(REVIEWERS) == 403,
     "nothing is read before it is asked for", config())
r = reload()
t.ok(r.returncode == 0 and "in force now: selfTest, adminGroups, recertifyAfter, logLevel" in
     r.out.replace("\n", " ") and "restart of nanosegd: maxEdges\n" in r.out and "nosuchgroup" in r.out,
     "what has changed is named, what needs a restart, and a group that is not known", r.out, r.err)
s = d.api.get("/v1/status")
t.ok(s["recertification"]["afterSeconds"] == 20 * 86400 and s["selfTest"] is not None and
     status_of(REVIEWERS) == 400 and status_of(ADMINS) == 403,
     "and is so: who may, what is due, what is tested", s.get("recertification"), s.get("selfTest"))
rec = records()[-1]
t.ok(rec["before"]["configDigest"] == digest(FIRST) and rec["after"]["configDigest"] == digest(SECOND) and
     rec["result"] == "ok" and rec["actor"]["uid"] == 0 and rec["actor"]["program"] == "nanoseg" and
     "adminGroups" in rec["subject"]["changed"] and rec["subject"]["restart"] == ["maxEdges"],
     "the record has who, what, and the digests before and after", rec)
r = reload("-o", "json")
x = json.loads(r.out)
t.ok(x["changed"] == [] and x["restart"] == ["maxEdges"], "what waits for a restart is named again", x)


def stands(name, code, *words):
    """A reload that is refused and changes nothing."""
    before = config()["digest"]
    r = reload()
    now = config()
    t.ok(r.returncode == code and all(w in r.err for w in words) and now["digest"] == before and
         now["refused"] and status_of(REVIEWERS) == 400 and records()[-1]["result"].startswith("refused: ") and
         records()[-1]["after"]["configDigest"] == before and d.roles()["controller"] == controller,
         "nothing of it is taken: " + name, r.returncode, r.err, now, records()[-1])


d.configure("adminGroups: [users]\nrecertifyAfter: 1\n")
stands("a mistake", 2, "line 2, column 17", "stays as it is")
d.configure("adminGroups: [users]\nadminGroup: [users]\n")
stands("a key that is none", 2, "line 2, column 1", "adminGroups")
d.configure("adminGroups: [users]\n#" + "x" * (1 << 20))
stands("1 MB", 2, "too large")
with open(d.config, "wb") as f:
    f.write(b"adminGroups: [users]\n" + bytes(range(256)) * 20)
stands("binary", 2, "line 2")
with open(d.config, "wb") as f:
    f.write(b"adminGroups: [users]\n")
    f.truncate(10 << 30)
stands("10 GB of holes", 2, "too large")
os.unlink(d.config)
stands("not there", 2, "No such file")
os.mkfifo(d.config)
stands("a pipe that nobody writes", 2, "not a regular file")
os.unlink(d.config)
os.mkdir(d.config)
stands("a folder", 2, "not a regular file")
os.rmdir(d.config)
os.symlink("/dev/zero", d.config)
stands("a link to a device", 2, "not a regular file")
os.unlink(d.config)
os.symlink(d.config, d.config)
stands("a link to itself", 2, "symbolic links")
os.unlink(d.config)
x = [c for c in d.api.get("/v1/doctor") if c["check"] == "configuration"]
t.ok(x and x[0]["state"] == "warn", "doctor says that the file is not what is in force", x)
real = lab.dir + "/real.yaml"
with open(real, "w") as f:
    f.write(SECOND)
os.symlink(real, d.config)
r = reload()
t.ok(r.returncode == 0 and not config()["refused"], "a link to a good file is a good file", r.err)
os.unlink(d.config)

# By a signal. Then while the file comes and goes.
d.configure(FIRST)
n = len(records())
d.p.send_signal(signal.SIGHUP)
t.ok(wait(lambda: config()["digest"] == digest(FIRST), 10) and len(records()) == n + 1 and
     records()[-1]["actor"]["pid"] == os.getpid() and records()[-1]["actor"]["uid"] == 0,
     "SIGHUP reads it too, and the record has who sent it", config(), records()[-1])
over = threading.Event()


def come_and_go():
    while not over.is_set():
        for text in (FIRST, None, "recertifyAfter: 1\n", SECOND, FIRST[:7]):
            if text is None:
                os.unlink(d.config)
                continue
            d.configure(text)


churn = threading.Thread(target=come_and_go)
churn.start()
codes = set()
for k in range(25):
    d.p.send_signal(signal.SIGHUP)
    codes.add(reload().returncode)
over.set()
churn.join()
d.configure(FIRST)
r = reload()
t.ok(codes <= {0, 1, 2} and r.returncode == 0 and config()["digest"] == digest(FIRST) and
     alive(controller) and d.roles()["controller"] == controller and status_of(ADMINS) == 400,
     "a file that comes and goes is taken whole or not at all", codes, r.err)
t.ok(run(BUILD + "/cli/nanoseg", "--socket", d.sock, "audit-log", "verify", check=False).returncode == 0,
     "and the log is sound")

# Connections are learned meanwhile: none is missed.
PORTS = range(8100, 8140)
for p in PORTS:
    b.serve(p)
answers = []
talker = threading.Thread(target=lambda: answers.extend(a.tcp(b.v4, p) for p in PORTS))
talker.start()
rounds = 0
while talker.is_alive() or rounds < 10:
    d.configure((FIRST, SECOND)[rounds % 2])
    if reload().returncode != 0:
        break
    rounds += 1
talker.join()


def learned():
    """How many of them: as edges, or as one of a range of ports."""
    return sum(e["connections"] for e in d.api.get("/v1/edges") if e["to"] == "workload:" + b.name)


t.ok(rounds >= 10 and answers == ["open"] * len(PORTS) and wait(lambda: learned() >= len(PORTS), 15),
     "%d reloads while %d connections are learned: all are" % (rounds, len(PORTS)), learned(), d.api.get("/v1/edges")[:4])


# Killed in the middle, again and again: the old file or the new one, never something else.
def back(old):
    return wait(lambda: d.roles().get("controller", old) != old and d.ready() and config(), 20)


wrong = []
for k in range(5):
    d.configure((SECOND, FIRST)[k % 2])
    old = d.roles()["controller"]
    asker = threading.Thread(target=reload)
    asker.start()
    time.sleep(k * 0.004)
    os.kill(old, signal.SIGKILL)
    x = back(old)
    asker.join()
    if not x or x["digest"] != digest((SECOND, FIRST)[k % 2]) or x["refused"]:
        wrong.append(x)
t.ok(not wrong, "killed in the middle it comes back with the file that is there", wrong)
r = reload()
t.ok(r.returncode == 0, "and reads it again as before", r.err)
good = config()["digest"]
for name, make in (("a mistake", lambda: d.configure("promote: maybe\n")), ("gone", lambda: os.unlink(d.config))):
    make()
    old = d.roles()["controller"]
    os.kill(old, signal.SIGKILL)
    x = back(old)
    t.ok(x and x["refused"] and x["digest"] == good and d.api.get("/v1/status")["revision"] == 0,
         "killed with a file that is bad it goes on with the last good one: " + name, x)
d.configure(FIRST)
r = reload()
t.ok(r.returncode == 0 and not config()["refused"] and config()["digest"] == digest(FIRST),
     "until the file is good again", r.out, r.err)
t.done()
