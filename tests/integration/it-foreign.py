#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody in the namespace who takes the table itself: in the moment in which all of our sockets are closed,
before we come, or where the kernel gives our table no owner. Found at once, told, closed by the host guard, and
over when he goes."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nftlink import OWNER, PERSIST, Link, add_table, delete_table, flush_rules, insert_accept
from nslab import Lab, Tap, wait

t = Tap()
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
for ns in (b, c):
    ns.serve(7001)
    ns.serve(7002)
POLICY = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
          "workloads": [{"name": b.name, "mode": "enforce", "direction": "ingress"}],
          "edges": [{"from": a.name, "to": b.name, "proto": "tcp", "port": 7001, "state": "approved"}]}


def instance(d, ns=b):
    w = d.api.workload(ns.name)
    return w["instances"][0] if w and w["instances"] else {}


def is_held(d, link, ns=b):
    return lambda: instance(d, ns).get("tableHeldBy") == link.port()


def answers(port, ns=b):
    return "open" in (a.tcp(ns.v4, port, 0.4), a.tcp(ns.v6, port, 0.4))


def records(d):
    """What the audit log says of such tables, in order."""
    folder = os.path.join(d.state, "audit")
    lines = [json.loads(line) for f in sorted(os.listdir(folder)) if f.endswith(".jsonl")
             for line in open(os.path.join(folder, f))]
    return [r["result"] for r in lines if r["event"] == "foreignTable"]


def closed(d):
    """The guard stands and lets nothing out, so nobody who calls gets an answer."""
    g = instance(d).get("guard")
    return g and g["devices"] == 1 and not answers(7001) and not answers(7002)


def whole(d, ns=b):
    w = d.api.workload(ns.name)
    return w["enforceable"] == "full" and instance(d, ns).get("tableHeldBy", 0) is None and answers(7001, ns) and \
        not answers(7002, ns)


def begin(d):
    """Enforced as POLICY says."""
    d.start(expect=[a.name, b.name])
    d.api.apply(json.dumps(POLICY))
    return wait(lambda: whole(d), 5)


def over(d, link, how):
    told = len(records(d))
    link.close()
    good = wait(lambda: whole(d), 8)
    t.ok(good and records(d)[told:] == ["free"], "%s: when he goes the rules are loaded, and that is recorded" % how,
         d.api.workload(b.name), records(d), d.text()[-2000:])


def told(d, how, link, log):
    w = d.api.workload(b.name)
    t.ok(w["enforceable"] == "no" and "somebody else owns" in w["why"] and "host guard lets nothing out" in w["why"],
         "%s: the grade is no, and says what holds" % how, w)
    t.ok(d.says(r"its table is owned by somebody else \(netlink port %d\)" % link.port()) and records(d)[-1] == "held",
         "%s: it is logged and recorded" % how, d.text()[-2000:], records(d))
    t.ok(log in d.api.raw("GET", "/metrics")[1], "%s: and counted" % how)
    t.ok(d.api.told("foreignOwner", ""), "%s: and people are told" % how, d.api.get("/v1/alerts"))


# Keeper and warden die at once; he is there before the next warden.
d = lab.daemon(start=False)
t.ok(begin(d), "a policy is enforced", d.api.workload(b.name))
os.kill(d.p.pid, signal.SIGSTOP)
for role in ("warden", "keeper"):
    d.kill(role)
link = Link(b)
t.ok(wait(lambda: link.commit(add_table(d.table(), OWNER | PERSIST), flush_rules(d.table())) == [0, 0], 3),
     "an orphan can be adopted and its rules flushed by root inside")
t.note("with its rules gone and nobody of ours alive, a port that is not approved is %s" % (
    "open" if answers(7002) else "closed"))
os.kill(d.p.pid, signal.SIGCONT)
found = wait(is_held(d, link), 8)
t.ok(found, "adopted while keeper and warden were dead: it is found at the restart", instance(d), d.text()[-3000:])
t.ok(wait(lambda: closed(d), 5), "adopted: the host guard closes the instance", instance(d))
told(d, "adopted", link, b"nanoseg_foreign_tables_total 1")
d.api.apply(json.dumps(POLICY))
t.ok(closed(d), "adopted: it stays closed through a change of policy")
over(d, link, "adopted")
guards = [x for x in lab.host.exec("nft", "list", "tables").out.split() if x.startswith(d.table() + "_")]
t.ok(len(guards) == 1 and whole(d), "and the guard has them as well", guards)

# All of it dies.
d.kill_all()
link = Link(b)
t.ok(wait(lambda: link.commit(delete_table(d.table()), add_table(d.table(), OWNER | PERSIST)) == [0, 0], 3) and
     answers(7002), "with all of ours dead it can be replaced, which opens all")
d.start()
t.ok(wait(is_held(d, link), 8) and wait(lambda: closed(d), 5), "adopted while everything was dead: found and closed",
     instance(d), d.text()[-3000:])
# The daemon dies again and is back before he is gone; then he goes while nobody looks.
d.kill_all()
t.ok(not answers(7002), "the closed guard outlives every role")
d.start()
t.ok(wait(is_held(d, link), 8) and wait(lambda: closed(d), 5), "and the next start finds him again", instance(d))
d.kill_all()
link.close()
d.start()
t.ok(wait(lambda: whole(d), 8), "who has gone meanwhile leaves nothing", d.api.workload(b.name), d.text()[-2000:])

def exposures():
    return {e["from"] for e in d.api.get("/v1/status")["exposure"]}


# He adopts the orphan, opens it and leaves again: what is found is an orphan with rules in it, but not ours.
def opened_and_left(die, resume, how):
    exposed = exposures()
    die()
    link = Link(b)
    wait(lambda: link.commit(add_table(d.table(), OWNER | PERSIST), insert_accept(d.table(), "input")) == [0, 0], 3)
    opened = answers(7002)
    link.close()
    resume()
    # The count is of the namespace since its attach, which is a new one.
    good = wait(lambda: whole(d) and d.api.workload(b.name)["drift"] == 1 and exposures() - exposed, 8)
    t.ok(opened and good and d.says("its table was changed while nobody of ours was there"),
         "%s: rules that somebody opened and left are loaded anew, counted, and an exposure" % how, opened, good,
         d.api.workload(b.name), exposures(), d.text()[-2000:])


def die_two():
    os.kill(d.p.pid, signal.SIGSTOP)
    for role in ("warden", "keeper"):
        d.kill(role)


t.ok(wait(lambda: whole(d), 8), "all is whole")
opened_and_left(die_two, lambda: os.kill(d.p.pid, signal.SIGCONT), "keeper and warden dead")
opened_and_left(d.kill_all, d.start, "all dead")
exposed = exposures()
d.kill_all()
d.start()
t.ok(wait(lambda: whole(d) and d.api.workload(b.name)["appliedRevision"] == 2, 12) and
     d.api.workload(b.name)["drift"] == 0 and not exposures() - exposed, "an orphan that nobody touched is none of that",
     d.api.workload(b.name), exposures(), exposed)

# A table of our name from before we came; in observe nothing is closed by it.
d.stop()
d.cleanup()
link = Link(c)
codes = link.commit(add_table(d.table(), OWNER))
t.ok(codes == [0], "a table of our name is planted", codes)
d.start(expect=[c.name])
t.ok(wait(is_held(d, link, c), 5), "planted: it is found when its namespace is", instance(d, c))
t.ok(answers(7001, c) and answers(7002, c) and d.api.workload(c.name)["enforceable"] == "no",
     "planted: one that is observed goes on, and cannot be enforced", d.api.workload(c.name))
d.api.mode("enforce", c.name)
t.ok(wait(lambda: (instance(d, c).get("guard") or {}).get("devices") == 1, 5) and
     wait(lambda: not answers(7001, c), 3), "planted: enforced it is closed", instance(d, c))
link.close()
t.ok(wait(lambda: d.api.workload(c.name)["enforceable"] == "full" and instance(d, c).get("guard", 0) is None or
          instance(d, c).get("tableHeldBy", 0) is None, 8), "planted: and has its rules when he is gone", instance(d, c))
d.stop()
d.cleanup()

# Where our table has no owner, he deletes it and makes his own; without host guards, who closes?
for config, closes in (("", True), ("hostGuard: off\n", False)):
    d = lab.daemon(config, start=False)
    d.argv = lambda *more, argv=d.argv: argv("--without-owner", *more)
    d.start(expect=[a.name, b.name])
    d.api.apply(json.dumps(POLICY))
    link = Link(b)
    codes = link.commit(delete_table(d.table()), add_table(d.table(), OWNER))
    t.ok(codes == [0, 0] and wait(is_held(d, link), 5), "made anew by another: found at once", codes, instance(d))
    why = d.api.workload(b.name)["why"]
    if closes:
        t.ok(wait(lambda: closed(d), 5), "made anew by another: the host guard closes the instance", instance(d))
    else:
        t.ok("no host guard closes it" in why, "with hostGuard off the grade says that nothing closes it", why)
    link.close()
    t.ok(wait(lambda: instance(d).get("tableHeldBy", 0) is None and answers(7001) and not answers(7002), 8),
         "when he goes the rules are back", d.api.workload(b.name), d.text()[-2000:])
    d.stop()
    d.cleanup()
t.done()
