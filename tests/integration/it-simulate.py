#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nanoseg simulate: what it says a policy would break is what that policy then breaks; from history that
outlives the daemon, and from a capture without one. Before it enforces, nanoseg mode says the same."""
import json
import os
import pty
import select
import sqlite3
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, wait

OUTSIDE = "203.0.113.77"
t = Tap()
lab = Lab()
web, db, cache = lab.ns("web"), lab.ns("db"), lab.ns("cache")
out = lab.outside(OUTSIDE)
for place, port in ((db, 5432), (db, 5433), (cache, 6379), (out, 443)):
    place.serve(port)
d = lab.daemon(expect=[web.name, db.name, cache.name])
api = d.api


def cli(*args, stdin=""):
    p = subprocess.run([BUILD + "/cli/nanoseg", "--socket", d.sock, *args], input=stdin, text=True,
                       capture_output=True, timeout=60)
    return p.returncode, p.stdout, p.stderr


def simulate(*args, policy=None):
    if policy is not None:
        args += ("-f", "-")
    code, text, err = cli("simulate", "-o", "json", *args, stdin=json.dumps(policy) if policy else "")
    answer = json.loads(text) if text else {"error": err}
    answer["code"] = code
    return answer


def broken(answer):
    return {(e["from"], e["to"], e.get("port")): e["connections"] for e in answer.get("broken", [])}


def name(place):
    return "workload:" + place.name


def policy_of(*edges, **modes):
    return {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
            "workloads": [{"name": p.name, "mode": modes.get(n, "observe")}
                          for n, p in (("web", web), ("db", db), ("cache", cache))],
            "edges": [dict({"proto": "tcp", "state": "approved"}, **e) for e in edges]}


for place, addr, port, n in ((web, db.v4, 5432, 5), (web, cache.v4, 6379, 2), (web, OUTSIDE, 443, 3)):
    for _ in range(n):
        place.tcp(addr, port)
seen = {(name(web), name(db), 5432): 5, (name(web), name(cache), 6379): 2, (name(web), "internet", 443): 3}
wait(lambda: sum(e["connections"] for e in api.edges()) >= 10, 10)

all_of_it = simulate()
t.ok(all_of_it["code"] == 3 and broken(all_of_it) == seen,
     "with nothing approved all that was seen would break, with its counts", all_of_it)
t.ok(all_of_it["broken"][0]["lastSeen"] and all_of_it["history"]["days"] >= 1 and all_of_it["modes"] == "all",
     "when it was last seen, and from how much history, is said", all_of_it)

to_db = {"from": web.name, "to": db.name, "port": 5432}
idle = {"from": web.name, "to": db.name, "port": 9999}
some = policy_of(to_db, idle, {"from": web.name, "to": {"cidr": "203.0.113.0/24"}, "port": 443})
answer = simulate(policy=some)
t.ok(answer["code"] == 3 and broken(answer) == {(name(web), name(cache), 6379): 2},
     "a candidate breaks what it does not have, and has the internet by a prefix", answer)
t.ok(len(answer["unused"]) == 1 and answer["covered"] == 2, "its unused edge is named, and what it covers counted",
     answer)

elsewhere = policy_of(to_db, {"from": web.name, "to": {"cidr": "198.51.100.0/24"}, "port": 443})
answer = simulate(policy=elsewhere)
t.ok((name(web), "internet", 443) in broken(answer), "another prefix is not that address", answer)

written = policy_of(cache="enforce")
answer = simulate(policy=written)
t.ok(broken(answer) == {(name(web), name(cache), 6379): 2} and answer["modes"] == "asWritten",
     "a file that enforces somebody is taken as it is written", answer)
t.ok(len(broken(simulate("--all", policy=written))) == 3, "unless all are asked for")

whole = policy_of(to_db, {"from": web.name, "to": cache.name, "port": 6379},
                  {"from": web.name, "to": {"internet": True}, "port": 443})
answer = simulate(policy=whole)
t.ok(answer["code"] == 0 and not answer["broken"] and not answer["unused"], "a policy that has it all breaks nothing",
     answer)

# What lives.

live = web.connect(cache.v4, 6379)
live.sendall(b"x")
kept = web.connect(db.v4, 5432)
kept.sendall(b"x")


def live_of(a):
    return {(e["from"], e["to"], e.get("port")): e["connections"] for e in a.get("live") or []}


got = wait(lambda: live_of(simulate(policy=some)) == {(name(web), name(cache), 6379): 1}, 10)
t.ok(got, "the live connection that would be cut is named, and no other", simulate(policy=some))
live.sendall(b"y")
t.ok(api.get("/v1/status")["workloads"] and api.get("/v1/policy")["metadata"]["revision"] == 0 and
     live.getpeername(), "and asking has changed nothing")

# A daemon that is stopped, killed, and started under another clock.

before = broken(simulate())
d.stop()
d.start(expect=[web.name, db.name, cache.name])
t.ok(broken(simulate()) == before, "the history is there after a restart", before, simulate())
d.kill("controller")
wait(lambda: d.ready(), 15)
for place in (web, db, cache):
    d.watched(place.name, seconds=15)
after = broken(simulate())
t.ok(set(after) == set(before) and all(after[k] >= before[k] for k in before),
     "and after the controller was killed", before, after)
t.ok(simulate()["history"]["incompleteHours"] >= 1, "where the hour is marked")
d.stop()


def shift(days):
    store = sqlite3.connect(d.state + "/nanoseg.db", isolation_level=None)
    store.execute("BEGIN IMMEDIATE")
    for table in ("history", "history_day"):
        store.execute("UPDATE %s SET day = day + 100000" % table)
        store.execute("UPDATE %s SET day = day - 100000 + %d" % (table, days))
    store.execute("COMMIT")
    store.close()


shift(-10)
d.start(expect=[web.name, db.name, cache.name])
t.ok(not set(before) & set(broken(simulate())) and set(broken(simulate("--since", "30d"))) >= set(before),
     "what is older than was asked for does not count", simulate("--since", "30d"))
d.stop()
shift(500)
d.start(expect=[web.name, db.name, cache.name])
t.ok(set(broken(simulate())) >= set(before), "and what a clock ahead has left is not thrown away")

# nanoseg mode says it first.

code, text, err = cli("mode", cache.name, "audit")
t.ok(code == 0 and "would break" not in err, "audit breaks nothing and says nothing", err)


def on_terminal(answer, *args):
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(BUILD + "/cli/nanoseg", ["nanoseg", "--socket", d.sock, *args])
    said, deadline, told = b"", time.monotonic() + 30, False
    while time.monotonic() < deadline:
        if not select.select([fd], [], [], 0.5)[0]:
            continue
        try:
            got = os.read(fd, 4096)
        except OSError:
            break
        if not got:
            break
        said += got
        if b"[y/N]" in said and not told:
            told = True
            os.write(fd, answer)
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode(errors="replace")


code, said = on_terminal(b"n\n", "mode", cache.name, "enforce")
t.ok(code == 3 and "would break" in said and api.workload(cache.name)["mode"] == "audit",
     "on a terminal it asks, and no is no", said)
code, text, err = cli("mode", cache.name, "enforce")
t.ok(code == 0 and "would break" in err and web.name in err and api.workload(cache.name)["mode"] == "enforce",
     "without one it says so and goes on", err)
code, said = on_terminal(b"", "mode", cache.name, "enforce", "--yes")
t.ok(code == 0 and "[y/N]" not in said, "--yes does not ask", said)

# And that is what happens.

api.settle(10)
t.ok(wait(lambda: web.tcp(cache.v4, 6379) != "open" and web.tcp(db.v4, 5432) == "open", 10),
     "what it said would break breaks, and nothing else", web.tcp(cache.v4, 6379), web.tcp(db.v4, 5432))

# The busiest.

code, text, err = cli("top", "-n", "1")
t.ok(code == 0 and web.name in text and max(map(len, text.splitlines())) <= 80, "top lists who is busy", text, err)

# A capture, and no daemon.


def frame(src, dst, sport, dport, flags, seq):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes(map(int, src.split("."))),
                     bytes(map(int, dst.split("."))))
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 0x50, flags, 1024, 0, 0)
    return b"\x02" * 12 + b"\x08\x00" + ip + tcp


pcap = os.path.join(lab.dir, "c.pcap")
with open(pcap, "wb") as f:
    f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
    for k, (dst, port) in enumerate((("10.9.0.2", 5432), ("10.9.0.3", 6379))):
        for a, b, sp, dp, fl in (("10.9.0.1", dst, 4000 + k, port, 2), (dst, "10.9.0.1", port, 4000 + k, 18),
                                 ("10.9.0.1", dst, 4000 + k, port, 16)):
            data = frame(a, b, sp, dp, fl, 1)
            f.write(struct.pack("<IIII", 1700000000, k, len(data), len(data)) + data)
with open(os.path.join(lab.dir, "map.json"), "w") as f:
    json.dump({"workloads": [{"name": p.name, "addresses": ["10.9.0.%d" % (k + 1)]}
                             for k, p in enumerate((web, db, cache))]}, f)
d.stop()
answer = simulate("--pcap", pcap, "--map", os.path.join(lab.dir, "map.json"), policy=some)
t.ok(answer["code"] == 3 and broken(answer) == {(name(web), name(cache), 6379): 1} and answer["covered"] == 1,
     "a capture is judged without a daemon", answer)
answer = simulate("--pcap", pcap, "--map", os.path.join(lab.dir, "map.json"), policy=whole)
t.ok(answer["code"] == 0, "and breaks nothing of a policy that has it", answer)
t.ok(cli("simulate", "--pcap", pcap)[0] == 4, "the policy in force is the daemon's to tell")
t.done()
