#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nanoseg review on a real terminal, by file and without a terminal, against a daemon of canned
edges that takes decisions. Needs no root."""
import hashlib
import importlib.util
import json
import os
import pty
import select
import shutil
import signal
import sys
import time

SRC = os.environ.get("top_srcdir", ".")
spec = importlib.util.spec_from_file_location("it_cli", SRC + "/tests/integration/it-cli.py")
cli = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cli)
check, expect, run, wl = cli.check, cli.expect, cli.run, cli.wl


def edge(number, src, dst, port, **more):
    e = {"id": "e-%012x" % number, "from": src, "to": dst, "proto": "tcp", "port": port,
         "state": "pending", "flags": [], "connections": 1200 + number, "bytes": None,
         "firstSeen": "2026-01-01T10:00:00.000Z", "lastSeen": "2026-01-02T11:00:00.000Z",
         "images": {"from": ["sha256:00112233445566aa"], "to": []}, "instances": 2, "clients": 3,
         "hours": "ff" + "00" * 14 + "01" + "00" * 5}
    e.update(more)
    return e


# The id that the program itself computes for this edge.
ID_5 = "e-" + hashlib.sha256(b"workload:shop/api\0addr:10.9.0.7\0" + b"6 514-514\0").hexdigest()[:12]


def pending():
    return [edge(1, wl("shop/web"), wl("shop/api"), 8080), edge(2, wl("shop/job"), wl("shop/api"), 8080),
            edge(3, wl("shop/job"), wl("shop/api"), 8000), edge(4, "internet", wl("shop/db"), 5432),
            edge(5, wl("shop/api"), "addr:10.9.0.7", 514, id=ID_5),
            edge(6, wl(cli.ESC), wl("shop/api"), 9999, flags=["midstream"])]


POLICY = """{"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "metadata": {"revision": 12},
"networks": {"lan": ["10.9.0.0/16"]}, "workloads": [{"name": "shop/db", "mode": "enforce",
"labels": {"scope": "pci"}}], "edges": [%s]}"""
PENDING_5 = ('{"from": "shop/api", "to": {"address": "10.9.0.7"}, "proto": "tcp", "port": 514, '
             '"state": "pending"}')


class World:
    """The daemon's edges; decisions change them."""

    def __init__(self):
        self.daemon = cli.daemon
        self.edges = pending()
        self.revision = 12
        self.fail = None
        self.daemon.reset()
        self.daemon.requests.clear()
        self.daemon.replies.update({
            "/v1/edges": lambda h: self.answer(h, [e for e in self.edges if "=" + e["state"] in h.path]),
            "/v1/status": {"workloads": [cli.workload("shop/db"), cli.workload("shop/api", mode="observe")]},
            "/v1/edges/approve": lambda h: self.decide(h, "approved"),
            "/v1/edges/recertify": lambda h: self.decide(h, "approved"),
            "/v1/edges/deny": lambda h: self.decide(h, "denied"),
            "/v1/policy": lambda h: self.answer(h, json.loads(POLICY % ("" if "decided" in h.path else
                                                                       PENDING_5))),
        })

    def answer(self, h, value, status=200):
        data = json.dumps(value).encode()
        h.send_response(status)
        h.send_header("Content-Length", str(len(data)))
        h.end_headers()
        h.wfile.write(data)

    def decide(self, h, state):
        body = json.loads(self.daemon.requests[-1][2])
        if self.fail:
            self.answer(h, {"error": {"message": self.fail[1]}}, self.fail[0])
            return
        for e in self.edges:
            if e["id"] in body["ids"]:
                e["state"] = state
        self.revision += 1
        self.answer(h, {"changed": len(body["ids"]), "revision": self.revision})

    def sent(self):
        return [(p.rsplit("/", 1)[-1].split("?")[0], json.loads(b)) for m, p, b in self.daemon.requests
                if m == "POST"]

    def short(self):
        """What was decided, as (verb, numbers, reason)."""
        return [(p, [int(i[2:], 16) for i in b["ids"]], b["reason"]) for p, b in self.sent() if "ids" in b]


class Terminal:
    """The program on a terminal of 80 columns, driven by what it shows."""

    def __init__(self, *args, env=None):
        self.seen = b""
        self.all = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(cli.NANOSEG, [cli.NANOSEG, "--socket", cli.daemon.path, "review", *args],
                      dict({"PATH": os.environ["PATH"], "HOME": cli.DIR, "TERM": "xterm",
                            "NO_COLOR": "1", "COLUMNS": "80"}, **(env or {})))

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            got = os.read(self.fd, 65536)
        except OSError:
            return False
        self.seen += got
        self.all += got
        return bool(got)

    def until(self, text, seconds=15):
        """What came up to and with the text, or None."""
        end = time.monotonic() + seconds
        while text.encode() not in self.seen and time.monotonic() < end:
            if not self.read(end - time.monotonic()) and text.encode() not in self.seen:
                return None
        if text.encode() not in self.seen:
            return None
        at = self.seen.index(text.encode()) + len(text)
        part, self.seen = self.seen[:at], self.seen[at:]
        return part.decode("utf-8", "replace")

    def say(self, line):
        os.write(self.fd, line.encode() if isinstance(line, str) else line)

    def end(self):
        stop = time.monotonic() + 15
        while time.monotonic() < stop and self.read(stop - time.monotonic()):
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return status

    def script(self, *steps):
        """Pairs of what to wait for and what to answer. None if all came, else what did not."""
        for text, answer in steps:
            if self.until(text) is None:
                os.kill(self.pid, signal.SIGKILL)
                return "no %r after:\n%s" % (text, self.all.decode("utf-8", "replace")[-1500:])
            if answer is not None:
                self.say(answer + "\n")
        return None


ASK = "[y,n,x,a,e,s,q,?]? "
WHY, TICKET, ENDS = "(needed) ", "Ticket (Enter: none): ", "never): "


def test_walk():
    w = World()
    t = Terminal()
    why = t.script(
        ("6 edges in 4 groups", None),
        ("[1/4] shop/db: database, 1 edge, risk high", None), ("internet -> shop/db tcp/5432", None),
        ("from outside; first seen", None), ("2 instances, 3 client addresses", None),
        ("active in 9 of the week's 168 hours, 1 of them Sat-Sun", None),
        ("image from: sha256:00112233445566aa", None),
        ("shop/db: ingress rules of 1 instance, y lets it pass", None),
        (ASK, "?"), ("a  approve this one and all", None), (ASK, "nonsense"), ("Answer with one of", None),
        (ASK, "x"), (WHY, ""), ("not an empty one", None), (WHY, "the database is not public"),
        (TICKET, "OPS-7"), (ENDS, "soon"), ("Expected a duration", None), (ENDS, ""),
        ("denied: 1 edge, revision 13", None),
        ("[2/4] shop/api: logs", None), (ASK, "n"),
        ("[3/4] shop/api: other, 1 edge, risk medium", None), ("evil\\x1b[31m", None),
        ("flags: midstream", None), (ASK, "n"))
    check("a walk: the most important first, with evidence and what changes", why)
    check("a walk: the decision is in force at once", None if w.short() ==
          [("deny", [4], "the database is not public")] and w.sent()[0][1]["ticket"] == "OPS-7" and
          "expiresInSeconds" not in w.sent()[0][1] else w.sent())
    why = t.script(("[4/4] shop/api: web, 3 edges, risk low", None), (ASK, "q"))
    status = t.end()
    check("q ends it", why or (None if status == 0 else status))
    text = t.all.decode("utf-8", "replace").replace("\r\n", "\n")
    check("no line is wider than 80 columns", [x for x in text.split("\n") if cli.width(x) > 80])
    check("names are escaped, no colour where none is wanted", cli.unsafe(text))

    w.daemon.requests.clear()
    t = Terminal()
    why = t.script(("3 edges in 1 group", None), ("[1/1] shop/api: web", None), (ASK, "q"))
    status = t.end()
    check("what was left is not asked again", why or (None if b"2 left in an earlier" in t.all else t.all))
    t = Terminal("--all")
    why = t.script(("5 edges in 3 groups", None), (ASK, "q"))
    t.end()
    check("--all asks again", why)


def test_bulk():
    w = World()
    shutil.rmtree(cli.DIR + "/.local")
    t = Terminal("shop/api", "--project", "shop")
    why = t.script(("risk high", None), (ASK, "n"), (ASK, "n"), (ASK, "n"), ("3 edges, risk low", None),
                   (ASK, "s"), ("this part has 2 edges", None), (ASK, "a"),
                   ("e-000000000003 shop/job -> shop/api tcp/8000", None),
                   ("e-000000000002 shop/job -> shop/api tcp/8080", None),
                   ("Approve these 2 edges [y,n]? ", "maybe"), ("Answer with one of: yn", None),
                   ("[y,n]? ", "y"), (WHY, "the job feeds the api"), (TICKET, ""), (ENDS, "30d"),
                   ("approved: 2 edges, revision 13", None), (ASK, "y"), (WHY, "web calls the api"),
                   (TICKET, ""), (ENDS, ""), ("approved: 1 edge", None))
    status = t.end()
    check("s splits, a previews and approves the part, reasons are asked once for each", why or
          (None if status == 0 else status))
    check("bulk: one request a decision", None if w.short() ==
          [("approve", [3, 2], "the job feeds the api"), ("approve", [1], "web calls the api")] and
          w.sent()[0][1]["expiresInSeconds"] == 30 * 86400 else w.sent())


def test_edit():
    w = World()
    shutil.rmtree(cli.DIR + "/.local")
    t = Terminal("--network", "lan")
    why = t.script(("shop/api -> addr:10.9.0.7 tcp/514", None), (ASK, "e"),
                   ("Port or range (Enter: 514): ", "600-700"), ("that has 514 in it", None),
                   ("(Enter: 514): ", "514-515"), ("Destination (Enter: addr:10.9.0.7): ", "shop/db"),
                   ("Expected a prefix", None), ("): ", "10.9.0.1/16"), ("Expected a prefix", None),
                   ("): ", "10.9.0.0/16"), ("shop/api -> cidr:10.9.0.0/16 tcp/514-515", None),
                   ("wider edge [y,n]? ", "y"), (WHY, "all log hosts"), (TICKET, ""), (ENDS, ""),
                   ("approved: revision 16", None))
    status = t.end()
    check("e widens ports and peer, after a confirmation", why or (None if status == 0 else status))
    body = [b for p, b in w.sent() if p == "apply"]
    e = body[0]["edges"] if body else []
    check("e: one edge more, onto the revision that was looked at", None if len(e) == 1 and
          e[0]["to"] == {"cidr": "10.9.0.0/16"} and e[0]["port"] == "514-515" and
          e[0]["reason"] == "all log hosts" and body[0]["workloads"][0]["mode"] == "enforce" and
          "expectedRevision=12" in [p for m, p, b in w.daemon.requests if "apply" in p][0] else body)
    t = Terminal("--network", "lan", "--all")
    why = t.script((ASK, "e"), ("(Enter: 514): ", ""), ("10.9.0.7): ", ""), ("Nothing was changed", None),
                   (ASK, "e"), ("(Enter: 514): ", ""), ("10.9.0.7): ", "internet"), ("[y,n]? ", "n"),
                   (ASK, "q"))
    t.end()
    check("e: nothing changed, or not confirmed: asked again", why)


def test_ends():
    for what, key in [("the end of the input", b"\x04"), ("Ctrl-C", b"\x03")]:
        w = World()
        shutil.rmtree(cli.DIR + "/.local", ignore_errors=True)
        t = Terminal("--reason", "r")
        why = t.script((ASK, "y"), ("approved: 1 edge", None), (ASK, "n"), (ASK, None))
        t.say(key)
        status = t.end()
        want = 0 if key == b"\x04" else signal.SIGINT
        check("%s ends it, and what was answered stays" % what, why or
              (None if status == want and w.short() == [("approve", [4], "r")] else (status, w.sent())))
        t = Terminal()
        why = t.script(("4 edges in", None), (ASK, "q"))
        t.end()
        check("%s: it goes on from there" % what, why)
    w = World()
    t = Terminal("--all", "--reason", "r")
    w.fail = (409, "a change awaits confirmation \x1b[31m")
    why = t.script((ASK, "y"), ("awaits confirmation \\x1b[31m", None), (ASK, "q"))
    check("a decision that is refused is asked again", why or (None if t.end() == 1 << 8 else "exit"))
    w.fail = (403, "needs a reviewer")
    t = Terminal("--all", "--reason", "r")
    why = t.script((ASK, "y"), ("needs a reviewer", None))
    check("who may not decide is told so, once", why or (None if t.end() == 5 << 8 else "exit"))
    w = World()
    w.edges = []
    t = Terminal()
    why = t.script(("Nothing to review.", None))
    check("nothing to review", why or (None if t.end() == 0 else "exit"))


def test_batch():
    w = World()
    good = b"# decisions\n\ny e-000000000001 web calls the api\n y  e-000000000002   web calls the api \r\n" \
           b"x e-000000000004 not public\nn e-000000000005\n"
    expect("--from -: by pipe", run("review", "--from", "-", "--ticket", "T", stdin=good), 0,
           "2 approved, 1 denied, 1 left, revision 14\n")
    check("--from: lines of one decision are one request", None if w.short() ==
          [("approve", [1, 2], "web calls the api"), ("deny", [4], "not public")] and
          w.sent()[0][1]["ticket"] == "T" else w.sent())
    for text, err in [(b"y e-000000000001\n", "stdin:1:1: a decision needs a reason"),
                      (b"n e-000000000001\nz e-000000000001 r\n", "stdin:2:1: expected y"),
                      (b"y all r\n", "the id of an edge"), (b"y\n", "the id of an edge"),
                      (b"y e-000000000001 \xff\n", "UTF-8"), (b"y e-000000000001 a\0b\n", "zero byte"),
                      (b"y e-000000000001 " + b"x" * 600 + b"\n", "at most 512"),
                      (b"y e-000000000001 ok\ny e-1 bad\x1b[31m\n", "stdin:2:1")]:
        w.daemon.requests.clear()
        expect("--from: %r" % text[:24], run("review", "--from", "-", stdin=text), 2, err=err)
        check("--from: and nothing was decided", w.sent())
    expect("--from: a reason for all", run("review", "--from", "-", "--reason", "r",
                                           stdin=b"y e-000000000003"), 0, "1 approved")
    expect("--from: a file that is not there", run("review", "--from", "/nonexistent"), 2, err="nonexistent")


def test_lists():
    w = World()
    r = run("review", "--all", env={"COLUMNS": "80"})
    expect("without a terminal: the groups", r, 0, ["[1/4] shop/db: database, 1 edge, risk high",
                                                   "e-000000000004 internet -> shop/db tcp/5432"])
    check("without a terminal: nothing is decided", w.sent())
    r = run("review", "--all", "-o", "json")
    groups = json.loads(r.out)
    check("-o json: the groups", None if len(groups) == 4 and groups[0]["risk"] == "high" and
          sum(len(g["edges"]) for g in groups) == 6 else str(r))
    expect("--label: of workloads", run("review", "--all", "--label", "scope=pci"), 0, "shop/db",
           not_out="shop/api tcp")
    expect("--project: all of it", run("review", "--all", "--project", "sho"), 0, "Nothing to review")
    expect("--network: that the policy does not have", run("review", "--network", "x"), 2, err="no network")
    for args in (["--label", "x"], ["a", "b"], ["host"], ["--from", "x", "a"], ["--stale", "--from", "x"],
                 ["--reason", ""], ["--expires", "x"], ["--stale", "9999"]):
        expect("usage: review %s" % " ".join(args), run("review", *args), 2, err="")
    now = time.time()

    def at(days):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + days * 86400))
    w.edges = [dict(e, state="approved", lastSeen=at(-5)) for e in pending()]
    w.edges[0]["lastSeen"] = at(-40)
    w.edges[1].update(lastSeen=None, firstSeen=None)
    w.edges[2]["expires"] = at(3)
    w.edges[3]["expires"] = at(-1)
    r = run("review", "--stale")
    expect("--stale", r, 0, ["not used", "never seen", "expiring", "expired"])
    check("--stale: only those", None if len(r.out.splitlines()) == 5 else str(r))
    r = run("review", "shop/web", "--stale", "3", "-o", "json")
    check("--stale DAYS -o json: of a workload", None if "workload=shop%2Fweb" in w.daemon.requests[-1][1]
          and len(json.loads(r.out)) == 6 else str(r))
    expect("--stale: none", run("review", "--stale", "45", "-o", "json"), 0)


KEEP = "[y,n,x,a,q,?]? "


def test_recertify():
    w = World()
    w.edges = [dict(e, state="approved", approvedBy="uid:1000\x1b[31m", decided="2026-01-05T10:00:00Z",
                    recertifyBy="2999-07-05T10:00:00Z", reason="as \x1b[31mever", ticket=None)
               for e in pending()]
    for i in (0, 1, 3):
        w.edges[i]["recertifyBy"] = "2026-02-01T10:00:00Z"
    w.edges[3].update(keptBy="uid:7", kept="2026-01-20T10:00:00Z")
    w.edges.append(edge(77, "workload:a", "workload:b", 80))
    t = Terminal("--recertify")
    why = t.script(("3 approved edges overdue.", None), ("kept by uid:7 on 2026-01-20", None),
                   ("OVERDUE since 2026-02-01", None), (KEEP, "?"), ("keep this approval", None),
                   (KEEP, "x"), (WHY, "nobody needs it"), (TICKET, ""), (KEEP, "a"), (WHY, "still so"),
                   (TICKET, "T-3"), ("kept: 2 edges", None), ("3 approved edges not due yet.", None),
                   (KEEP, "n"), (KEEP, "q"))
    t.end()
    text = t.all.decode("utf-8", "replace").replace("\r\n", "\n")
    check("--recertify: those overdue first, y keeps, x denies, no expiry is asked", why or
          (None if "2 kept, 1 denied." in text else text))
    check("--recertify: what was sent", None if w.short() == [
        ("deny", [4], "nobody needs it"), ("recertify", [2, 1], "still so")] and
        w.sent()[1][1]["ticket"] == "T-3" and "expiresInSeconds" not in w.sent()[1][1] else w.sent())
    check("--recertify: names are escaped, lines fit", cli.unsafe(text) or
          [x for x in text.split("\n") if cli.width(x) > 80])
    w.fail = (403, "not you")
    t = Terminal("--recertify", "--reason", "r")
    why = t.script((KEEP, "y"), ("not you", None))
    check("--recertify: who may not is told so, once", why or (None if t.end() == 5 << 8 else "exit"))
    w.fail = None
    r = run("review", "--recertify")
    expect("--recertify: without a terminal a list", r, 0, ["2026-02-01", "2999-07-05", "uid:1000"])
    check("--recertify: nothing is sent", [x for x in w.sent()[2:] if x[0] == "recertify"][1:])
    for args in (["--recertify", "--stale"], ["--recertify", "--from", "x"], ["--recertify", "a", "b"]):
        expect("usage: review %s" % " ".join(args), run("review", *args), 2, err="")


def test_nonsense():
    bad = []
    World()
    for value in [7, {}, [None, 7], [{"state": "pending"}], {"workloads": [{"name": 7}]},
                  [{"state": "pending", "id": "\x1b[31m" * 99, "from": 7, "to": "workload:" + "x" * 999,
                    "flags": [None, 7, "x"], "hours": "zz", "images": {"from": [7, None, "y" * 999]}}]]:
        for path in ("/v1/edges", "/v1/status", "/v1/policy"):
            cli.daemon.replies[path] = value
        for args in ([], ["--label", "a=b"], ["--stale"], ["-o", "json"]):
            r = run("review", *args)
            if r.code not in (0, 1) or cli.unsafe(r.out) or cli.unsafe(r.err) or "Sanitizer" in r.err:
                bad.append("%s on %r: %s" % (args, value, r))
        if isinstance(value, list):
            t = Terminal("--all")
            while t.until(ASK, 2):
                t.say("n\n")
            t.end()
            if cli.unsafe(t.all.decode("utf-8", "replace").replace("\r\n", "\n")):
                bad.append(t.all)
    check("answers of any shape: no crash, nothing unsafe", "\n".join(map(str, bad)))


def main():
    cli.daemon = cli.Daemon(cli.DIR)
    try:
        for test in (test_walk, test_bulk, test_edit, test_ends, test_batch, test_lists, test_recertify,
                     test_nonsense):
            test()
    finally:
        cli.daemon.server.shutdown()
        shutil.rmtree(cli.DIR, ignore_errors=True)
    print("1..%d" % cli.tests)
    return 1 if cli.failed else 0


if __name__ == "__main__":
    sys.exit(main())
