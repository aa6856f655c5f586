#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is learned of a demo application, held against an account of what was done: quiet, under load, and under
forced loss. Nothing is learned that was not done; what was done and is not learned is marked, for whom it was. Each part
begins with nothing learned and nothing marked, so that no part's loss excuses another's.

NST_RECALL_JOBS is how many jobs run once and never again, in each part: 16 unless told, 140 at most;
NST_RECALL_FLOWS is the load."""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, wait

JOBS = int(os.environ.get("NST_RECALL_JOBS", "16"))
FLOWS = int(os.environ.get("NST_RECALL_FLOWS", "4000"))
LOAD, PORTS = 30000, 8
loads = 0
late_names = {}  # who was not known in time is shown by his address
t = Tap()
lab = Lab()
web, app, db, cron, noise, idle = (lab.ns(n) for n in ("web", "app", "db", "cron", "noise", "idle"))
every = (web, app, db, cron, noise, idle)
done = {}  # what was done: (from, to, protocol, port) -> connections
table = []
port = 99  # the last that was used; those of services, which are never summed up


def peer(ns):
    return "workload:" + ns.name


def did(src, dst, proto, where, n=1):
    key = (peer(src), peer(dst), proto, where)
    done[key] = done.get(key, 0) + n


def once(src, dst, kind):
    """A job: one connection to a port that nothing else uses."""
    global port
    port += 1
    addr = dst.v6 if kind % 2 else dst.v4
    if kind % 3 == 2:
        dst.serve_udp(port)
        if src.udp(addr, port, 5) == "answer":
            did(src, dst, "udp", port)
        return
    listener = dst.serve(port)
    if kind % 6 == 0:
        with src.connect(addr, port, 5) as s:  # no word, and gone by a reset
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        did(src, dst, "tcp", port)
    elif src.tcp(addr, port, 5) == "open":
        did(src, dst, "tcp", port)
    listener.close()


def nothing():
    """What is no edge: closed and silent ports."""
    noise.tcp(db.v4, 6001)
    noise.udp(db.v4, 6002, 0.05)
    with db.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("0.0.0.0", 6003))
        noise.udp(db.v4, 6003, 0.05)


def jobs(pause=0.0):
    ends = ((cron, db), (cron, web), (web, app), (app, db))
    for k in range(JOBS):
        once(*ends[k % len(ends)], k)
        if k % 8 == 0:
            nothing()
        time.sleep(pause)


def service(n):
    """What the application does all the time."""
    for _ in range(n):
        for src, dst, where in ((web, app, 5001), (app, db, 5002)):
            if src.tcp(dst.v4, where, 5) == "open":
                did(src, dst, "tcp", where)


def load():
    """A flood of connections of others, each time to other ports; returns its process."""
    global loads
    loads += 1
    return subprocess.Popen([BUILD + "/tests/bench/flowgen", "udp", "/run/netns/" + noise.name,
                             "/run/netns/" + db.name, db.v4, str(LOAD + loads * PORTS), str(PORTS), str(FLOWS)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def load_ends(p):
    made = int(p.communicate(timeout=120)[0].split()[1])
    for k in range(PORTS):
        did(noise, db, "udp", LOAD + loads * PORTS + k, made // PORTS)


def learned():
    return {(late_names.get(e["from"], e["from"]), e["to"], e["proto"], e.get("port")): e["connections"]
            for e in api.edges()}


def broken():
    return {"workload:" + n: w["completeness"]["incompleteWindows"] for n, w in api.workloads().items()}


def losses():
    return {"workload:" + n: w["loss"] for n, w in api.workloads().items()}


def part(config="", *more):
    """A daemon that knows nothing, and of which nothing is known."""
    d.stop()
    if os.path.exists(d.state):
        d.cleanup()
        shutil.rmtree(d.state)
    done.clear()
    for ns in every + more:  # or a dump would find what earlier parts have done
        ns.exec("conntrack", "-F")
    d.configure(config)
    d.start(expect=[n.name for n in every + more])
    before = broken(), {n: l["sources"] for n, l in losses().items() if l["sources"]}
    t.ok(not any(before[0].values()) and not before[1], "at first nothing is marked", before)


def judge(what, lossless, seconds=15):
    wait(lambda: set(done) <= set(learned()), seconds)
    got, now, lost = learned(), broken(), losses()
    wrong = [k for k in got if k not in done]
    missed = [k for k in done if k not in got]
    marked = {n for n in now if now[n] > 0}
    hidden = [k for k in missed if not marked >= {end for end in k[:2] if end in now}]
    unsaid = [n for n in marked if not lost[n]["sources"]]
    table.append((what, len(done), len(got), 1 - len(wrong) / max(len(got), 1), 1 - len(missed) / len(done),
                  ", ".join(sorted(n[-5:].strip("-") for n in marked)) or "-", len(hidden)))
    t.ok(not wrong, what + ": nothing is learned that was not done", wrong[:5])
    if lossless:  # a table that is nearly full forgets nothing yet
        said = [n for n in marked if set(lost[n]["sources"]) - {"conntrackTable"}]
        t.ok(not missed or said, what + ": all that was done is learned, unless a loss is told", missed[:5], lost)
    t.ok(not hidden, what + ": what is missing is marked, of both ends", hidden[:5], now, lost)
    t.ok(not unsaid, what + ": what is marked says why", unsaid, lost)
    more = [(k, got[k], n) for k, n in done.items() if got.get(k, 0) > n and k[3] < LOAD]
    t.ok(not more, what + ": no connection is counted twice", more[:5])
    for k in missed:  # told; not to be told again
        del done[k]


web.serve(5000)
app.serve(5001)
db.serve(5002)
d = lab.daemon(start=False)
api = d.api

part()
service(10)
jobs()
judge("quiet", True)

part()
p = load()
jobs()
load_ends(p)
service(5)
judge("under load", True)
t.ok(broken()[peer(idle)] == 0, "who did nothing has lost nothing", broken())

# The reader stands still, and the buffer is small; jobs are in between.
part("eventBuffer: 262144\nconntrackAlert: 99\naggregation: off\n")  # the kernel would count without a loss
controller = d.roles()["controller"]
os.kill(controller, signal.SIGSTOP)
try:
    p = load()
    jobs()
    load_ends(p)
    jobs()
    for k in range(JOBS // 2):
        once(noise, db, k)
    for ns in (noise, db):  # so that nothing is left to be found when the loss is noticed
        ns.exec("conntrack", "-F")
finally:
    os.kill(controller, signal.SIGCONT)
t.ok(wait(lambda: losses()[peer(db)]["events"] > 0, 20), "a small buffer overruns", losses())
judge("events dropped", False, 8)  # a dump is asked for each five seconds
w = losses()
t.ok("events" in w[peer(db)]["sources"] and not w[peer(idle)]["sources"],
     "the source is named, of whom it hit alone", w)
told = {a["workload"] for a in api.get("/v1/alerts")["alerts"] if a["kind"] == "loss"}
t.ok(db.name in told and idle.name not in told, "and an alert tells of it", told)

# The same of the rules' reports, of one namespace alone: root inside writes to its group faster than anybody reads.
part()
group = re.search(r"log [^\n]*\bgroup (\d+)", noise.exec("nft", "list", "table", "inet", d.table()).out).group(1)
noise.exec("nft", "add table inet burst; add chain inet burst o { type filter hook output priority 0; }; "
           "add rule inet burst o udp dport 9 log prefix \"zz\" group %s drop" % group)
capture = d.roles()["capture"]
os.kill(capture, signal.SIGSTOP)
try:
    with noise.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(5000):
            try:
                s.sendto(b"x" * 1400, (db.v4, 9))
            except PermissionError:
                pass
finally:
    os.kill(capture, signal.SIGCONT)
noise.exec("nft", "delete", "table", "inet", "burst")
t.ok(wait(lambda: losses()[peer(noise)]["packets"] > 0 and broken()[peer(noise)] > 0, 20),
     "reports that the kernel dropped are counted, and the hour is marked", losses(), broken())
jobs()
judge("reports dropped", True)
hit = {n: l["sources"] for n, l in losses().items() if l["packets"] > 0 or "reports" in l["sources"]}
t.ok(hit == {peer(noise): ["reports"]}, "of whom it hit, and of no other", losses())
t.ok([n for n, k in broken().items() if k > 0] == [peer(noise)], "nor is anybody else's hour", broken())

# One that is there, and gone on, before anybody looks: its other end has seen it.
part()
warden = d.roles()["warden"]
os.kill(warden, signal.SIGSTOP)
try:
    late = lab.ns("late")
    late_names = {"addr:" + a: peer(late) for a in (late.v4, late.v6)}
    once(late, db, 1)
    once(late, web, 4)
finally:
    os.kill(warden, signal.SIGCONT)
d.watched(late.name)
once(late, app, 2)
judge("attached late", False)
late_names = {}

# As full as is allowed.
part("conntrackAlert: 1\naggregation: on\n", late)
wait(lambda: all((api.workload(n.name)["instances"][0]["aggregation"] or {}).get("state") == "on" for n in every), 30)
p = load()
jobs()
load_ends(p)
judge("counted by the kernel", True, 20)

t.note("%-24s %6s %8s %10s %7s %-24s %s" % ("", "edges", "learned", "precision", "recall", "marked", "hidden"))
for row in table:
    t.note("%-24s %6d %8d %10.3f %7.3f %-24s %d" % row)
t.done()
