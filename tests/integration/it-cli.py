#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nanoseg against a daemon of canned answers: what is sent, what is shown, every exit code.

The canned daemon is hostile where a real one could be made to be: names with escapes, newlines,
bidi overrides, 255 bytes, the words `host` and `internet`; answers that are huge, slow, cut short or
nonsense. Needs no root.
"""
import http.server
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from urllib.parse import parse_qs, urlsplit

BUILD = os.environ.get("top_builddir", ".")
SRC = os.environ.get("top_srcdir", ".")
NANOSEG = os.path.abspath(os.path.join(BUILD, "cli/nanoseg"))
TIMEOUT = 20

tests = 0
failed = 0


def check(name, why=None):
    """One TAP line; why is None or empty if it holds, else what is wrong."""
    global tests, failed
    tests += 1
    if why:
        failed += 1
        for line in str(why).splitlines()[:20]:
            print("# " + line.encode("ascii", "backslashreplace").decode())
    print("%s %d - %s" % ("not ok" if why else "ok", tests, name), flush=True)


# --- the canned daemon ---------------------------------------------------------------------------

ESC = "evil\x1b[31m\x1b]0;owned\x07"
NEWLINE = "two\nlines\rand\ttabs"
BIDI = "user\u202etxt.exe\u200b\u009b31m"
LONG = "shop/" + "x" * 250
WIDE = "\u5546\u5e97/\u30c7\u30fc\u30bf" * 4
BYTES = "job\\xff"  # how the daemon writes a byte that is not UTF-8


def wl(name):
    return "workload:" + name


def edge(number, src, dst, state="approved", **more):
    e = {"id": "e-%016x" % number, "from": src, "to": dst, "proto": "tcp", "port": 8000 + number,
         "state": state, "flags": [], "connections": 1234 * number, "bytes": None,
         "firstSeen": "2026-01-01T10:00:00.000Z", "lastSeen": "2026-01-01T11:00:00.000Z"}
    if state != "pending":
        e.update(reason="because", ticket=None, approvedBy="uid:0", expires=None)
    e.update(more)
    return e


SIMULATED = {
    "broken": [{"from": wl("web"), "to": wl("db"), "proto": "tcp", "port": 5432, "connections": 1234,
                "lastSeen": "2026-01-01T11:00:00.000Z", "hours": 7, "refusedBy": ["source"], "addresses": []},
               {"from": wl(ESC), "to": "internet", "proto": "icmp", "type": 8, "connections": 1, "lastSeen": None,
                "hours": None, "refusedBy": [], "addresses": ["203.0.113.7"]}],
    "unused": ["e-000000000003"], "covered": 5, "brokenEdges": 2, "brokenConnections": 1235,
    "live": [{"from": wl(NEWLINE), "to": wl(BIDI), "proto": "tcp", "port": 80, "connections": 3}],
    "history": {"from": "2026-01-01T10:00:00.000Z", "incompleteHours": 2, "kept": True}, "notLooked": 0}
# What is covered beyond the evidence, and the words for it.
COVERED = [
    (("internet", {"ports": 1, "addressesSeen": 5000, "prefixesSeen": ["198.18.0.0/20", "203.0.113.7/32"]}),
     "the internet, 5,000 addresses seen in 198.18.0.0/20, 203.0.113.7/32"),
    (("internet", {"ports": 1, "addressesSeen": 1, "prefixesSeen": ["203.0.113.7/32"], "instancesSeen": 2}),
     "the internet, 1 address seen in 203.0.113.7/32; any later instance, 2 seen"),
    (("cidr:10.1.0.0/20", {"ports": 1, "addressesSeen": 37, "prefixesSeen": ["10.1.2.0/24"], "instancesSeen": 0}),
     "a /20, 37 addresses seen; any later instance, none seen"),
    (("fqdn:*.example.com", {"ports": 1, "addressesSeen": None}), "all that the name leads to"),
    (("network:lan", {"ports": 1}), "a network"),
    (("cidr:10.2.0.0/16", {"ports": 1500, "portsSeen": 600, "addressesSeen": 2}),
     "1,500 ports, 600 seen; a /16, 2 addresses seen"),
    ((wl("db"), {"ports": 20, "portsSeen": None, "instancesSeen": 300}), "20 ports; any later instance, 300 seen"),
    (("internet", {"ports": 1, "addressesSeen": 8, "prefixesSeen": [ESC, None, 7] + [LONG] * 50}),
     "the internet, 8 addresses seen in evil\\x1b[31m"),
    (("internet", {"ports": "x", "addressesSeen": [], "prefixesSeen": 3, "instancesSeen": {}}), "the internet"),
    ((wl("db"), []), "-"),
]
NOTHING = {"broken": [], "unused": [], "covered": 0, "brokenEdges": 0, "live": None,
           "history": {"from": None, "incompleteHours": 0, "kept": True}}
TOP = {"workloads": [
    {"name": "quiet", "mode": "observe", "out": 0.1, "in": 0, "refused": 0, "newPeers": 0, "anomalies": []},
    {"name": ESC, "mode": "enforce", "out": 120.5, "in": 1, "refused": 3.2, "newPeers": 1234,
     "anomalies": [{"kind": "scan", "lastSeen": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "times": 2},
                   {"kind": "newPeer", "lastSeen": "2026-01-01T10:00:00.000Z", "times": 1}]},
    {"name": LONG, "mode": "audit", "out": "x", "in": None, "refused": [], "newPeers": "y", "anomalies": 7}]}


def sans(e, *keys):
    return {k: v for k, v in e.items() if k not in keys}


EDGES = [
    edge(1, wl("web"), wl("app")),
    edge(2, wl(ESC), wl(NEWLINE), "pending", flags=["via-host", "midstream"]),
    edge(3, wl("host"), "host", "denied"),
    edge(4, wl(LONG), wl(BIDI)),
    edge(5, wl(WIDE), "internet", flags=["auto", "something-new"]),
    edge(6, wl("10.0.0.1"), "addr:10.0.0.1"),
    edge(7, "cidr:192.0.2.0/24", "fqdn:api.example.com"),
    dict(sans(edge(8, "host", wl(BYTES)), "port"), proto="icmp", type=8),
    dict(sans(edge(9, wl("web"), wl("db")), "port"), ports="8000-8010", proto="udp"),
]


def workload(name, **more):
    w = {"name": name, "mode": "enforce", "direction": "both", "enforceable": "full",
         "instances": [{"id": "abc", "runtime": "docker", "netns": 1, "addresses": ["10.0.0.2"],
                        "start": {"kind": "late", "leadMs": -3}}],
         "edges": {"approved": 3, "pending": 2, "denied": 1},
         "completeness": {"newEdgeChance": None, "newEdgeChanceHigh": None, "unseenAtLeast": None,
                          "unseenHigh": None, "windows": None, "incompleteWindows": 0},
         "loss": {"events": 0, "packets": 0}, "conntrack": {"count": 5, "max": 65536},
         "revision": 12, "appliedRevision": 12, "drift": 0}
    w.update(more)
    return w


STARTS = [("gated", 21), ("closed", 85), ("late", -13), ("existing", None), ("late", None), ("closed", 0)]
STATUS = {
    "version": "0.1.0", "revision": 12, "startedAt": "2026-01-01T10:00:00.000Z", "promote": "off",
    "observationPeriodSeconds": 604800,
    "engine": {"name": "docker", "reachable": True, "why": "", "errors": 0},
    "losses": {"unidentified": 0, "reports": 7},
    "workloads": [
        workload("web"), workload(ESC, mode="observe"), workload(NEWLINE, direction="ingress"),
        workload(BIDI, enforceable="partial", why="it has CAP_NET_ADMIN\x1b[2J"),
        workload(LONG, appliedRevision=11), workload(WIDE), workload("host"),
        workload("starts", instances=[{"id": "i%d" % n, "start": {"kind": kind, "leadMs": lead}}
                                      for n, (kind, lead) in enumerate(STARTS)]),
        workload("loud", loss={"events": 4, "packets": 5},
                 completeness={"newEdgeChanceHigh": 0.034, "windowKind": "hour", "windows": 336,
                               "incompleteWindows": 1, "unseenHigh": 21, "unseenAtLeast": 4}),
        workload("forgetful", loss={"events": 0, "packets": 0, "forgotten": 5000, "sources": ["conntrackTable", ESC]}),
        workload("gaps", loss={"events": 0, "packets": 0, "sources": ["lateStart"]},
                 completeness={"incompleteWindows": 3, "windows": 40, "windowKind": "hour"}),
    ],
}


def flow(number, src, dst, verdict="allow"):
    return {"time": "2026-01-01T10:00:%02d.000Z" % number, "from": src, "to": dst,
            "src": "10.0.0.1", "dst": "fd00::%x" % number, "proto": "tcp", "port": 80,
            "verdict": verdict, "edge": "e-%016x" % number}


FLOWS = [flow(1, wl("web"), wl("app")), flow(2, wl(ESC), wl(LONG), "deny"),
         flow(3, "host", wl(NEWLINE), "attempt")]
DENIALS = [{"id": "d-%016x" % i, "verdict": "deny", "from": wl(n), "to": wl("db"), "src": "10.0.0.1",
            "dst": "10.0.0.2", "proto": "tcp", "port": 5432, "count": 10 ** i,
            "firstSeen": "2026-01-01T10:00:00Z", "lastSeen": "2026-01-01T10:00:00Z", "name": None,
            "edge": "e-%016x" % i} for i, n in enumerate(["web", ESC, NEWLINE, LONG], 1)]
ALERTS = {"alerts": [{"id": "a-%016x" % i, "time": "2026-01-01T10:00:00Z", "kind": "drift", "severity": "error",
                      "workload": n, "instance": ESC, "text": n, "count": 3, "firstSeen": "2026-01-01T09:00:00Z",
                      "lastSeen": "2026-01-01T10:00:00Z", "lost": 0,
                      "delivery": {"syslog": "delivered", "webhook": ["delivered", "lost", "waiting", ESC][i % 4]}}
                     for i, n in enumerate(["web", ESC, NEWLINE, LONG, "web", None])],
          "delivery": [{"to": "syslog", "failing": False, "error": None, "delivered": 9, "lost": 0, "failures": 0},
                       {"to": "webhook", "failing": True, "error": LONG, "delivered": 1, "lost": 2, "failures": 3},
                       {"to": ESC, "failing": True, "error": ESC}],
          "waiting": 1, "told": 1234, "untold": 5, "lost": 6}
GRAPH = {"nodes": [{"id": wl("silent"), "kind": "workload"}, {"id": wl(ESC + "2"), "kind": "x"},
                   {"id": "host", "kind": "host"}], "edges": EDGES}
POLICY = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
          "metadata": {"name": "x\u202e", "revision": 12}, "edges": []}
EXPLAIN = {"verdict": "deny", "from": wl("web"), "to": wl(ESC), "proto": "tcp", "port": 5432,
           "edge": "e-1", "rule": None, "reason": "no approved edge matches", "approvedBy": None,
           "evidence": EDGES[0], "revision": 12}
DOCTOR = [{"check": "warden", "state": "ok", "detail": "Linux 6.18"},
          {"check": "engine", "state": "warn", "detail": "broken\x1b[31m"}]

VALID = """apiVersion: nanoseg/v1
kind: SegmentPolicy
edges:
  - {from: a, to: b, proto: tcp, port: 80, state: approved}
"""


def fail_with(status, message="it \x1b[31mfailed", **place):
    return status, {"error": dict(message=message, **place)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):
        return "unix"

    def answer(self):
        d = self.server.daemon
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        d.requests.append((self.command, self.path, body))
        reply = d.replies.get(urlsplit(self.path).path)
        if callable(reply):
            self.close_connection = True
            reply(self)
            return
        status, value = reply if isinstance(reply, tuple) else (200, reply)
        if reply is None:
            status, value = fail_with(404, "no such path")
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = answer


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 16

    def handle_error(self, request, client_address):
        pass


class Daemon:
    def __init__(self, folder):
        self.path = os.path.join(folder, "api.sock")
        self.requests = []
        self.replies = {}
        self.server = Server(self.path, Handler)
        self.server.daemon = self
        self.reset()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def reset(self):
        self.requests.clear()
        self.replies = {
            "/v1/status": STATUS, "/v1/edges": EDGES, "/v1/graph": GRAPH, "/v1/flows": FLOWS,
            "/v1/denials": DENIALS, "/v1/policy": POLICY, "/v1/explain": EXPLAIN,
            "/v1/doctor": DOCTOR, "/v1/alerts": ALERTS,
            "/v1/edges/approve": {"changed": 2, "revision": 13},
            "/v1/edges/deny": {"changed": 1, "revision": 14},
            "/v1/mode": {"changed": 2, "revision": 15, "pendingEdges": 0},
            "/v1/policy/apply": {"revision": 16},
            "/v1/simulate": SIMULATED, "/v1/top": TOP,
        }


# --- running the program -------------------------------------------------------------------------

DIR = tempfile.mkdtemp(prefix="nst-cli-")
daemon = None


class Result:
    def __init__(self, code, out, err):
        self.code, self.raw, self.err = code, out, err.decode("utf-8", "replace")
        self.out = out.decode("utf-8", "replace")

    def __str__(self):
        return "exit %s\nstdout: %r\nstderr: %r" % (self.code, self.out[:600], self.err[:600])


def run(*args, env=None, stdin=b"", socket_path=None, stdout=subprocess.PIPE):
    e = {"PATH": os.environ["PATH"], "HOME": DIR, "TZ": "UTC"}
    for key in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        if key in os.environ:
            e[key] = os.environ[key]
    e.update(env or {})
    p = subprocess.run([NANOSEG, "--socket", socket_path or daemon.path, *args], input=stdin,
                       stdout=stdout, stderr=subprocess.PIPE, env=e, timeout=TIMEOUT)
    return Result(p.returncode, p.stdout or b"", p.stderr)


def width(line):
    w = 0
    for c in line:
        if unicodedata.combining(c):
            continue
        w += 2 if unicodedata.east_asian_width(c) in "WF" else 1
    return w


def unsafe(text):
    """A character that a terminal acts upon or hides, newlines between lines aside."""
    for c in text:
        if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs"):
            return "U+%04X in %r" % (ord(c), text[max(0, text.index(c) - 20):][:60])
    return None


def expect(name, r, code, out=None, err=None, not_out=None):
    why = []
    if r.code != code:
        why.append("expected exit %s" % code)
    for text in ([out] if isinstance(out, str) else out or []):
        if text not in r.out:
            why.append("stdout lacks %r" % text)
    for text in ([err] if isinstance(err, str) else err or []):
        if text not in r.err:
            why.append("stderr lacks %r" % text)
    for text in ([not_out] if isinstance(not_out, str) else not_out or []):
        if text in r.out:
            why.append("stdout has %r" % text)
    if code == 0 and err is None and r.err:
        why.append("unexpected stderr")
    bad = unsafe(r.out) or unsafe(r.err)
    if bad:
        why.append("not safe for a terminal: " + bad)
    check(name, "\n".join(why + [str(r)]) if why else None)


LISTS = [["status"], ["status", "--why"], ["edges"], ["graph"], ["flows"], ["denials"],
         ["denials", "--attempts"], ["explain", "web", "db:5432"], ["doctor"], ["alerts"], ["alerts", "--each"]]


def test_shown():
    for args in LISTS:
        name = " ".join(args)
        r = run(*args, env={"COLUMNS": "80"})
        lines = r.out.splitlines()
        wide = [x for x in lines if width(x) > 80]
        expect("%s: fits 80 columns" % name, r, 0)
        check("%s: no line is wider than 80" % name, "\n".join(wide))
        check("%s: no colour without a terminal" % name, "\x1b" in r.out)
        r = run(*args, "-o", "wide", env={"COLUMNS": "80"})
        expect("%s -o wide: safe" % name, r, 0)
        r = run(*args, env={"COLUMNS": "1"})
        expect("%s: a terminal of one column" % name, r, 0)
    expect("status -o wide: how each instance was started, and by how much", run("status", "-o", "wide"), 0,
           "gated 21 ms before start, closed 85 ms before start, late by 13 ms, existing before us, late, "
           "closed 0 ms before start")
    r = run("edges")
    expect("edges: names are escaped, and whole where nothing limits the width", r, 0,
           ["evil\\x1b[31m\\x1b]0;owned\\x07", "two\\x0alines\\x0dand\\x09tabs",
            "user\\u{202e}txt.exe\\u{200b}\\u{009b}31m", LONG, WIDE, "job\\\\xff",
            "udp/8000-8010", "icmp/8", "1,234", "flags: v via-host, m midstream"])
    row = [x for x in r.out.splitlines() if "e-%016x" % 3 in x][0].split()
    check("edges: a workload called host is not the host",
          None if row[1:3] == ["workload:host", "host"] else row)
    row = [x for x in r.out.splitlines() if "e-%016x" % 6 in x][0].split()
    check("edges: a workload called like an address is not that address",
          None if row[1:3] == ["workload:10.0.0.1", "addr:10.0.0.1"] else row)
    check("edges: a row an edge", None if len(r.out.splitlines()) == len(EDGES) + 2 else str(r))
    daemon.replies["/v1/edges"] = [edge(100 + k, wl("web"), to, covers=covers)
                                   for k, ((to, covers), _) in enumerate(COVERED)]
    r = run("edges", "-o", "wide")
    rows = {x.split()[0]: x for x in r.out.splitlines() if x.startswith("e-")}
    check("edges -o wide: what each covers beyond the evidence",
          [text for k, (_, text) in enumerate(COVERED)
           if not re.search("  %s($|  |.*xx)" % re.escape(text), rows.get("e-%016x" % (100 + k), ""))] and str(r))
    check("edges -o wide: none of it raw", re.search("[\x00-\x09\x0b-\x1f\x7f]", r.out + r.err) and str(r))
    daemon.replies["/v1/edges"] = EDGES
    r = run("graph")
    expect("graph: grouped by source", r, 0, ["web\n  -> app", "1,234 conn", "no connection yet:",
                                              "  silent", "-x host", "flags: "])
    r = run("status")
    expect("status: revisions behind, losses, an upper bound", r, 0,
           ["11 of 12", "<4%", "lost: reports 7", "enforce/ingress", "partial"])
    cells = {x.split()[0]: x.split()[7:9] for x in r.out.splitlines() if x.startswith(("loud", "forgetful", "gaps"))}
    check("status: all that was lost, and in how many windows", None if cells == {
        "loud": ["9", "1"], "forgetful": ["5000", "12"], "gaps": ["some", "3"]} else r.out)
    r = run("status", "--why")
    expect("status --why: the reason", r, 0, "it has CAP_NET_ADMIN\\x1b[2J")
    expect("status --why: the bounds, and what is only estimated", r, 0,
           ["336 hours seen, 1 more with gaps: a new edge in at most 3.4% of those to come, at most 21 in a "
            "time as long; at least about 4 unseen"])
    expect("status --why: where it was lost", r, 0,
           ["5000 lost since nanosegd began: conntrackTable, evil", "some lost since nanosegd began: lateStart",
            "40 hours seen, 3 more with gaps"])
    expect("flows: time, verdict", run("flows"), 0, ["10:00:01  allow", "10:00:02  deny"])
    expect("denials: counts", run("denials"), 0, ["d-%016x" % 1, "1,000"])
    expect("explain: the verdict and why", run("explain", "web", "db:5432"), 0,
           ["deny", "no approved edge matches"])
    expect("doctor: a line a check", run("doctor"), 0, ["warden", "broken\\x1b[31m"])
    expect("policy show: YAML", run("policy", "show"), 0, ["kind: SegmentPolicy", "revision: 12"])


def test_documents():
    for args, want in [(["edges"], EDGES), (["status"], STATUS), (["graph"], GRAPH),
                       (["denials"], DENIALS), (["explain", "web", "db:5432"], EXPLAIN),
                       (["doctor"], DOCTOR), (["policy", "show"], POLICY)]:
        name = " ".join(args)
        r = run(*args, "-o", "json")
        expect("%s -o json: clean" % name, r, 0)
        try:
            same = json.loads(r.out) == want
        except ValueError as e:
            same = False
            r.err += str(e)
        check("%s -o json: the API's JSON" % name, None if same else str(r))
        check("%s -o json: ASCII alone" % name, None if r.raw.isascii() else str(r))
        expect("%s -o yaml: clean" % name, run(*args, "-o", "yaml"), 0)
    r = run("flows", "-o", "json")
    check("flows -o json: a record a line",
          None if [json.loads(x) for x in r.out.splitlines()] == FLOWS else str(r))
    expect("flows -o yaml", run("flows", "-o", "yaml"), 0, "verdict: allow")
    daemon.replies["/v1/edges"] = []
    r = run("edges", "-o", "json")
    check("edges -o json: no edges are an empty list", None if r.out == "[]\n" else str(r))
    daemon.reset()


def test_drawn():
    ends = {e[end] for e in EDGES for end in ("from", "to")} | {n["id"] for n in GRAPH["nodes"]}
    r = run("graph", "-o", "dot")
    expect("graph -o dot", r, 0, ["digraph nanoseg {", "style=dashed", "arrowhead=tee"])
    if shutil.which("dot") is None:
        print("# without Graphviz its own reading of it is not tested")
    else:
        p = subprocess.run(["dot", "-Tdot_json"], input=r.raw, capture_output=True, check=False)
        got = json.loads(p.stdout or b"{}")
        objects = [o for o in got.get("objects", []) if "nodes" not in o]
        labels = [o.get("label") for o in objects]
        check("graph -o dot: Graphviz reads every node and edge, and complains of nothing",
              None if p.returncode == 0 and not p.stderr and len(objects) == len(ends) and
              len(got["edges"]) == len(EDGES) else (p.stderr, len(objects), len(ends)))
        check("graph -o dot: a hostile name is a label and nothing else",
              None if any("evil" in x and "owned" in x for x in labels) else labels)
        groups = [o.get("label") for o in got.get("objects", []) if "nodes" in o]
        check("graph -o dot: projects are groups", None if "shop" in groups else groups)
    r = run("graph", "-o", "mermaid")
    lines = r.out.splitlines()
    expect("graph -o mermaid", r, 0, ["flowchart LR", '["web"]'])
    nodes = [x for x in lines if x.strip().startswith("n") and "[" in x]
    check("graph -o mermaid: every node and edge on its line",
          None if len(nodes) == len(ends) and sum("| n" in x for x in lines) == len(EDGES) else r.out)
    check("graph -o mermaid: nothing but labels in quotes",
          [x for x in nodes if x.count('"') != 2 or "<" in x or "`" in x])
    expect("graph -o csv", run("graph", "-o", "csv"), 2, err="mermaid")
    expect("graph -o dot --watch", run("graph", "-o", "dot", "--watch"), 2, err="tables")


def sent(name, path, body=None, query=None, method="POST"):
    why = None
    if len(daemon.requests) != 1:
        why = "%d requests: %r" % (len(daemon.requests), daemon.requests)
    else:
        m, url, data = daemon.requests[0]
        if (m, urlsplit(url).path) != (method, path):
            why = "%s %s" % (m, url)
        elif body is not None and json.loads(data) != body:
            why = "body %r" % data
        elif query is not None and parse_qs(urlsplit(url).query) != query:
            why = "query %r" % url
    check(name, why)
    daemon.requests.clear()


def test_requests():
    e1, d1 = "e-00000000000000a1", "d-00000000000000b2"
    daemon.requests.clear()
    expect("approve: says what was done",
           run("approve", e1, d1, "--reason", "web calls \u00e9", "--ticket=OPS-1", "--expires", "7d"),
           0, "2 edges approved, revision 13\n")
    sent("approve: ids, reason, ticket, seconds", "/v1/edges/approve",
         {"ids": [e1, d1], "reason": "web calls \u00e9", "ticket": "OPS-1", "expiresInSeconds": 604800})
    expect("deny: says what was done", run("deny", "--reason", "no", e1), 0,
           "1 edge denied, revision 14\n")
    sent("deny: the id", "/v1/edges/deny", {"ids": [e1], "reason": "no"})
    expect("approve -o json: the API's JSON", run("approve", e1, "-r", "x", "-o", "json"), 0,
           '"revision": 13')
    daemon.requests.clear()
    expect("mode: says what was done", run("mode", "web", "workload:host", "audit"), 0,
           "audit: 2 workloads, revision 15\n")
    sent("mode: a workload called host", "/v1/mode", {"workloads": ["web", "host"], "mode": "audit"})
    expect("mode --all", run("mode", "--all", "observe", "--reason", "break glass"), 0)
    sent("mode --all: all is true", "/v1/mode",
         {"all": True, "mode": "observe", "reason": "break glass"})
    daemon.replies["/v1/mode"] = {"changed": 1, "revision": 15, "pendingEdges": 3}
    expect("mode enforce: warns of pending edges",
           run("mode", "web", "enforce", "--direction", "ingress"), 0,
           err=["3 pending edges will be refused", "would break 1,235 connections of 2 edges seen in the last 7",
                "web -> db tcp/5432, 1,234 times", "would cut 3 live connections", "2 hours"])
    first = daemon.requests.pop(0)
    check("mode enforce: asks first what it would break", None if first[1] == "/v1/simulate?enforce=1" and
          json.loads(first[2]) == {"workloads": ["web"], "direction": "ingress"} else first)
    sent("mode: the direction", "/v1/mode",
         {"workloads": ["web"], "mode": "enforce", "direction": "ingress"})
    daemon.replies["/v1/simulate"] = fail_with(503)
    expect("mode enforce: without an answer to that it goes on", run("mode", "web", "enforce"), 0,
           err="what this would break cannot be said")
    daemon.replies["/v1/simulate"] = SIMULATED
    daemon.requests.clear()
    expect("simulate: what would break, exit 3", run("simulate"), 3,
           ["web", "db", "tcp/5432", "1,234", "would break 1,235 connections of 2 edges", "5 edges covered",
            "1 approved edge unused: e-000000000003", "would cut 3 live connections", "2 hours"])
    sent("simulate: a week of history", "/v1/simulate", None, {"sinceSeconds": ["604800"]})
    expect("simulate: hostile names are escaped", run("simulate", "-o", "wide"), 3, "203.0.113.7",
           not_out=["\x1b[31m", "\u202e"])
    expect("simulate -o json: the API's JSON", run("simulate", "-o", "json"), 3, '"unused"')
    daemon.replies["/v1/simulate"] = NOTHING
    daemon.requests.clear()
    expect("simulate: nothing breaks, exit 0", run("simulate", "--since", "2h", "--all"), 0,
           ["would break nothing seen in the last 2h", "the history is empty"])
    sent("simulate: how long, and all", "/v1/simulate", None, {"sinceSeconds": ["7200"], "modes": ["all"]})
    expect("simulate -f: the file is sent", run("simulate", "-f", "-", stdin=b"apiVersion: nanoseg/v1\n"
           b"kind: SegmentPolicy\n"), 0)
    sent("simulate -f: as it is", "/v1/simulate")
    expect("simulate -f: a bad file is told with its place", run("simulate", "-f", "-", stdin=b"x: 1\n"), 2,
           err="stdin:1:1")
    for args in (["--since", "x"], ["--since", "7d", "--pcap", "f"], ["--map", "f"], ["web"],
                 ["-f", "-", "--pcap", "-"]):
        expect("simulate %s: refused" % " ".join(args), run("simulate", *args), 2, err="nanoseg: ")
    daemon.requests.clear()
    r = run("top", env={"COLUMNS": "80"})
    expect("top: once without a terminal, the busiest first", r, 0, ["120.5", "3.2", "1,234", "scan "],
           not_out=["newPeer", "\x1b[31m"])
    check("top: fits", [x for x in r.out.splitlines() if width(x) > 80] or (r.out.index("120.5") > r.out.index("0.1")))
    sent("top: asks", "/v1/top", method="GET")
    expect("top -n: so many times", run("top", "-n", "2"), 0)
    check("top -n: two requests", None if len(daemon.requests) == 2 else daemon.requests)
    expect("top -n 0: refused", run("top", "-n", "0"), 2, err="-n")
    daemon.requests.clear()
    expect("edges: filters", run("edges", "--state", "pending", "--workload", "a&b=c d"), 0)
    sent("edges: filters are sent escaped", "/v1/edges", None,
         {"state": ["pending"], "workload": ["a&b=c d"]}, "GET")
    for dst, want in [("db:5432", ("db", "5432", "tcp")), ("[fd00::1]:53/udp", ("fd00::1", "53", "udp")),
                      ("a/b:c:8/icmp", ("a/b:c", "8", "icmp")), ("10.0.0.1:80/tcp", ("10.0.0.1", "80", "tcp"))]:
        daemon.requests.clear()
        expect("explain: takes %s" % dst, run("explain", "host", dst), 0)
        sent("explain: sends %s" % dst, "/v1/explain", None,
             {"src": ["host"], "dst": [want[0]], "port": [want[1]], "proto": [want[2]]}, "GET")
    expect("alerts: filters", run("alerts", "--kind", "a&b", "--severity", "error", "--since",
                                  "2026-01-01T00:00:00Z"), 0)
    sent("alerts: filters are sent escaped", "/v1/alerts", None,
         {"kind": ["a&b"], "severity": ["error"], "since": ["2026-01-01T00:00:00Z"]}, "GET")
    r = run("alerts")
    rows = [x.split() for x in r.out.splitlines() if " drift " in x]
    check("alerts: a subject is one row, with all that it stands for, and its worst fate",
          None if len(rows) == 5 and ["6", "yes"] == [rows[1][4], rows[1][6]] and "webhook lost" in r.out else str(r))
    expect("alerts: how many were told and lost", r, 0, ["1,234 told since nanosegd began, 5 wait to be told, 6 lost untold",
                                                         "failing: shop/xxx"])
    check("alerts: --each has a row for each",
          None if run("alerts", "--each").out.count(" drift ") == 6 else str(run("alerts", "--each")))
    daemon.requests.clear()
    expect("denials --attempts", run("denials", "--attempts"), 0)
    sent("denials: asks for attempts", "/v1/denials", None, {"attempts": ["1"]}, "GET")
    path = os.path.join(DIR, "policy.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(VALID)
    expect("policy apply", run("policy", "apply", path, "--expect", "12", "--reason", "r s"), 0,
           "applied, revision 16\n")
    check("policy apply: sends the file as it is",
          None if daemon.requests[0][2] == VALID.encode() else daemon.requests)
    sent("policy apply: the revision and the reason", "/v1/policy/apply", None,
         {"expectedRevision": ["12"], "reason": ["r s"]})
    expect("policy apply -: standard input", run("policy", "apply", "-", stdin=VALID.encode()), 0)
    daemon.reset()


def test_policy_files():
    none = os.path.join(DIR, "no-socket")
    good = os.path.join(DIR, "good.yaml")
    bad = os.path.join(DIR, "bad\n.yaml")
    with open(good, "w", encoding="utf-8") as f:
        f.write(VALID)
    with open(bad, "w", encoding="utf-8") as f:
        f.write(VALID.replace("proto: tcp", "prto: tcp"))
    expect("policy validate: needs no daemon", run("policy", "validate", good, socket_path=none), 0,
           "good.yaml: valid: 0 workloads, 1 edge, 0 networks\n")
    expect("policy validate: file, line and column", run("policy", "validate", bad, socket_path=none),
           2, err="bad\\x0a.yaml:4:22: unknown key 'prto'")
    names = b"apiVersion: nanoseg/v1\nkind: SegmentPolicy\nworkloads:\n- {name: shop/api}\n- {name: web-1}\n" \
        b"edges:\n- {from: shop/apii, to: shop/db, proto: tcp, port: 80, state: approved}\n" \
        b"- {from: wbe-1, to: other, proto: tcp, port: 81, state: approved}\n"
    r = run("policy", "validate", "-", stdin=names, socket_path=none)
    expect("policy validate: a name that was probably meant otherwise", r, 0,
           err=["stdin:7:10: workload 'shop/apii' is not listed, did you mean 'shop/api'?",
                "stdin:8:10: workload 'wbe-1' is not listed, did you mean 'web-1'?"])
    check("policy validate: no other is doubted", None if r.err.count("did you mean") == 2 else r.err)
    r = run("policy", "validate", "-", "-o", "json", stdin=names, socket_path=none)
    check("policy validate -o json: the same", None if [(w["line"], w["column"]) for w in
          json.loads(r.out)["warnings"]] == [(7, 10), (8, 10)] else str(r))
    expect("policy validate -: standard input",
           run("policy", "validate", "-", stdin=b"a: [", socket_path=none), 2, err="stdin:2:1: ")
    expect("policy validate: a file that is not there",
           run("policy", "validate", "/nonexistent/x", socket_path=none), 2, err="/nonexistent/x: ")
    expect("policy validate: a folder", run("policy", "validate", DIR, socket_path=none), 2)
    expect("policy validate: endless input is given up",
           run("policy", "validate", "/dev/zero", socket_path=none), 2, err="/dev/zero")
    daemon.requests.clear()
    expect("policy apply: a bad file is told locally", run("policy", "apply", bad), 2, err=":4:22:")
    check("policy apply: and nothing is sent", daemon.requests)
    daemon.replies["/v1/policy/apply"] = fail_with(422, "no", line=7, column=9)
    expect("policy apply: the daemon's place", run("policy", "apply", good), 2, err="good.yaml:7:9: no")
    daemon.replies["/v1/policy/apply"] = fail_with(409, "revision 13 is newer")
    expect("policy apply: a conflict", run("policy", "apply", good), 1, err="revision 13 is newer")
    daemon.reset()


def test_policy_diff():
    none, folder = os.path.join(DIR, "no-socket"), os.path.join(DIR, "diff")
    os.mkdir(folder)

    def write(name, *edges, rest=""):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write("apiVersion: nanoseg/v1\nkind: SegmentPolicy\n%sedges:\n" % rest)
            for e in edges:
                f.write("  - {from: %s, to: %s, proto: tcp, port: %s, state: %s}\n" % e)
        return path

    a = write("a", ("a", "b", 80, "approved"), ("a", "c", 80, "approved"))
    b = write("b", ("a", "b", "80-90", "approved"), ("a", "c", 80, "denied"), ("a", "d", 1, "approved"),
              rest="workloads: [{name: a, mode: audit}]\nnetworks: {n: [10.0.0.0/8]}\n")
    expect("policy diff: two files need no daemon", run("policy", "diff", a, b, socket_path=none), 3,
           ["~ a: observe becomes audit", "+ network n: new", "> widened approved a -> b tcp/80-90",
            "    was a -> b tcp/80\n", "! reversed denied a -> c tcp/80", "+ gained approved a -> d tcp/1",
            "1 gained, 0 lost, 1 widened, 0 narrowed, 1 reversed, 0 expiry; 1 mode, 1 network"])
    expect("policy diff: the other way", run("policy", "diff", b, a, socket_path=none), 3,
           ["< narrowed approved a -> b tcp/80", "- lost approved a -> d tcp/1"])
    expect("policy diff: none", run("policy", "diff", a, a, socket_path=none), 0, "no difference\n")
    r = run("policy", "diff", a, b, "-o", "json", socket_path=none)
    changes = sorted(e["change"] for e in json.loads(r.out)["edges"])
    check("policy diff -o json", None if r.code == 3 and changes == ["gained", "reversed", "widened"]
          else str(r))
    expect("policy diff: a bad file", run("policy", "diff", a, "/nonexistent", socket_path=none), 2, err=": ")
    with open(a, encoding="utf-8") as f:
        daemon.replies["/v1/policy"] = (200, f.read().replace(
            "edges:", "metadata: {revision: 12}\nedges:").encode())
    daemon.requests.clear()
    expect("policy diff: one file, against the policy in force", run("policy", "diff", b), 3, "gained approved")
    sent("policy diff: asks for what was decided", "/v1/policy", None, {"decided": ["1"]}, "GET")
    expect("policy diff: one revision, to the policy in force", run("policy", "diff", "7"), 0)
    check("policy diff: asks for the revision", None if daemon.requests[0][1] ==
          "/v1/policy?revision=7&decided=1" and "revision" not in daemon.requests[1][1] else daemon.requests)
    daemon.replies["/v1/policy/apply"] = {"revision": 13}
    daemon.requests.clear()
    r = run("policy", "import", b)
    expect("policy import: says what was taken and what not", r, 3,
           ["+ network n\n", "+ approved a -> b tcp/80-90", "+ approved a -> d tcp/1", "+ workload a\n",
            "! denied a -> c tcp/80: approved here, denied there (ours stays)", "1 mode of the file not taken",
            "4 added, 1 conflict, 0 of them taken; revision 13"])
    body = json.loads(daemon.requests[-1][2])
    states = {(e["to"], e["port"]): e["state"] for e in body["edges"]}
    check("policy import: sends both, ours where they conflict",
          None if states == {("b", 80): "approved", ("b", "80-90"): "approved", ("c", 80): "approved",
                             ("d", 1): "approved"} and body["workloads"][0]["mode"] == "observe" else body)
    check("policy import: only onto the revision it was made from",
          None if "expectedRevision=12" in daemon.requests[-1][1] else daemon.requests[-1][1])
    expect("policy import --theirs", run("policy", "import", b, "--theirs"), 0, "(theirs taken)")
    check("policy import --theirs: the file's word", None if '"state":"denied"' in
          daemon.requests[-1][2].decode() else daemon.requests[-1])
    daemon.requests.clear()
    expect("policy import --dry-run", run("policy", "import", b, "--dry-run"), 3, "nothing was changed")
    expect("policy import: nothing new", run("policy", "import", a), 0, "0 added, 0 conflicts")
    check("policy import: and nothing is sent", [x for x in daemon.requests if x[0] != "GET"])
    daemon.replies["/v1/policy/apply"] = fail_with(409, "revision 13 is in force")
    expect("policy import: somebody else was faster", run("policy", "import", b), 1, err="revision 13 is in")
    daemon.replies["/v1/policy"] = (200, b"apiVersion: x\x1b[31m\n")
    expect("policy diff: an answer that is no policy", run("policy", "diff", b), 1, err="cannot be read")
    daemon.reset()


def test_usage():
    e1 = "e-00000000000000a1"
    daemon.requests.clear()
    cases = [
        [], ["nonsense"], ["status", "extra"], ["status", "--nonsense"], ["status", "-o", "xml"],
        ["-H", "ssh://-oProxyCommand=x", "status"], ["-H", "http://h", "status"], ["--timeout", "0", "status"], ["--timeout", "x", "status"],
        ["edges", "--state", "maybe"], ["edges", "--workload", "host"], ["edges", "--state"],
        ["approve", "--reason", "x"], ["approve", e1], ["approve", e1, "--reason", ""],
        ["approve", "web", "--reason", "x"], ["approve", e1, "--reason", "x" * 513],
        ["approve", e1, "--reason", "x", "--expires", "never"],
        ["approve", e1, "--reason", "x", "--expires", "2001-01-01"],
        ["approve", e1, "--reason", b"\xff"],
        ["mode"], ["mode", "web"], ["mode", "enforce"], ["mode", "web", "on"],
        ["mode", "--all", "web", "enforce"], ["mode", "host", "enforce"],
        ["mode", "10.0.0.1", "enforce"], ["mode", b"\xff\xfe", "enforce"],
        ["mode", "web", "enforce", "--direction", "up"],
        ["policy"], ["policy", "nonsense"], ["policy", "diff"], ["policy", "diff", "a", "b", "c"],
        ["policy", "import"], ["policy", "show", "--theirs"], ["policy", "diff", "a", "--reason", "x"], ["policy", "apply"], ["policy", "show", "x"],
        ["policy", "validate", "a", "--expect", "1"], ["policy", "apply", "a", "--expect", "x"],
        ["explain", "web"], ["explain", "web", "db"], ["explain", "web", "db:0"],
        ["explain", "web", "db:65536"], ["explain", "web", "db:80/xyz"], ["explain", "web", ":80"],
        ["explain", "web", "fd00::1:53"], ["explain", "web", "10.0.0.0/99:80"],
        ["explain", "web", "db:256/icmp"], ["explain", "web", "db:80/"],
        ["flows", "--follow", "-o", "yaml"], ["denials", "--follow", "--attempts"],
        ["status", "--watch"], ["graph", "--watch"], ["completion", "csh"], ["completion"], ["help", "nonsense"], ["help", "a", "b"],
        ["flows", "--follow", "--watch"], ["edges", "--watch"],
    ]
    for args in cases:
        shown = " ".join(a if isinstance(a, str) else repr(a) for a in args)[:60]
        expect("usage: '%s'" % shown, run(*args), 2, err="" if args else "a command is needed")
    check("usage: nothing was asked of the daemon", daemon.requests)
    expect("a socket's path that cannot be", run("status", socket_path="/" + "x" * 200), 2)
    expect("-H and --socket are one too many", run("-H", "ssh://h", "status"), 2, err="do not go together")
    expect("--version", run("--version"), 0, "nanoseg 0.")
    expect("status --version", run("status", "--version"), 0, "nanoseg 0.")
    r = run("--help")
    expect("--help", r, 0, "Exit codes")
    names = [x.split()[0] for x in r.out.splitlines() if x.startswith("  ") and x[2] not in " -"]
    check("--help: lists the commands", None if len(names) >= 13 else names)
    for name in names:
        h = run(name, "--help")
        expect("%s --help" % name, h, 0, "usage: nanoseg " + name)
        check("%s --help: fits 96 columns" % name, [x for x in h.out.splitlines() if len(x) > 96])
    r = run("completion", "bash")
    with open(os.path.join(SRC, "contrib/nanoseg.bash"), encoding="utf-8") as f:
        check("completion bash: is contrib/nanoseg.bash", None if f.read() == r.out else "differs")
    p = subprocess.run(["bash", "-n"], input=r.raw, capture_output=True, check=False)
    check("completion bash: bash takes it", p.stderr.decode() if p.returncode else None)
    words = "COMP_WORDS=(nanoseg %s) COMP_CWORD=%d; _nanoseg; echo ${COMPREPLY[*]}"
    for line, n, want in [("sta", 1, "status"), ("edges --state d", 3, "denied"),
                          ("policy v", 2, "validate"), ("mode web enf", 3, "enforce")]:
        p = subprocess.run(["bash", "--norc", "-c", r.out + words % (line, n)], env={
            "PATH": os.path.dirname(NANOSEG) + ":/usr/bin:/bin"}, capture_output=True, check=False)
        check("completion bash: '%s'" % line,
              None if p.stdout.decode().strip() == want else repr((p.stdout, p.stderr)))
    text = r.out
    for name in names:
        if name not in text.split("commands=")[1].split("\n")[0]:
            check("completion bash: knows %s" % name, "it does not")
        h = run(name, "--help").out
        options = {w for w in h.replace(",", " ").split() if w.startswith("--") and len(w) > 2}
        missing = [o for o in options if o.rstrip("].|") not in text and not o.startswith("--all|")]
        check("completion bash: the options of %s" % name, missing)


def test_exit_codes():
    for status, code in [(400, 2), (403, 5), (404, 2), (405, 2), (409, 1), (413, 2), (422, 2),
                         (500, 1), (503, 1), (302, 1), (204, 1)]:
        daemon.replies["/v1/status"] = fail_with(status) if status != 204 else (204, b"")
        expect("HTTP %d is exit %d" % (status, code), run("status"), code,
               err="it \\x1b[31mfailed" if status != 204 else "204")
    daemon.replies["/v1/status"] = (500, b"<html>")
    expect("an error that is no JSON", run("status"), 1, err="HTTP status 500")
    daemon.reset()
    expect("no socket is exit 4", run("status", socket_path=os.path.join(DIR, "none")), 4,
           err="is nanosegd running?")
    dead = os.path.join(DIR, "dead.sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind(dead)
    expect("a socket nobody listens on is exit 4", run("status", socket_path=dead), 4,
           err="nobody listens")
    s.listen(0)
    expect("a daemon that never answers is exit 4",
           run("--timeout", "1", "status", socket_path=dead), 4, err="within 1 s")
    s.close()
    path = os.path.join(DIR, "file")
    with open(path, "w", encoding="utf-8"):
        pass
    expect("a file that is no socket is exit 4", run("status", socket_path=path), 4)
    expect("every list: exit 4 without a daemon", run("flows", "--follow", socket_path=dead), 4)
    if os.geteuid() == 0:
        os.chmod(DIR, 0o755)
        os.chmod(daemon.path, 0o600)
        p = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", NANOSEG,
                            "--socket", daemon.path, "status"], capture_output=True, check=False)
        r = Result(p.returncode, p.stdout, p.stderr)
        if p.returncode in (126, 127):
            print("ok %d - a socket that is not ours is exit 5 # SKIP cannot run as nobody here"
                  % next_number())
        else:
            expect("a socket that is not ours is exit 5", r, 5, err="not permitted")
    else:
        locked = os.path.join(DIR, "locked")
        os.mkdir(locked, 0)
        expect("a socket that is not ours is exit 5",
               run("status", socket_path=locked + "/s"), 5, err="not permitted")
        os.chmod(locked, 0o700)
    daemon.replies["/v1/doctor"] = DOCTOR + [{"check": "k", "state": "fail", "detail": "x"}]
    expect("doctor: a failed check is exit 3", run("doctor"), 3, "fail")
    expect("doctor -o json: as well", run("doctor", "-o", "json"), 3)
    daemon.reset()


def next_number():
    global tests
    tests += 1
    return tests


def raw(*parts, delay=0):
    def reply(h):
        for p in parts:
            h.wfile.write(p)
            h.wfile.flush()
            if delay:
                time.sleep(delay)
    return reply


OK = b"HTTP/1.1 200 OK\r\n"


def huge(h):
    h.wfile.write(OK + b"Connection: close\r\n\r\n[")
    block = b'"' + b"x" * 1048573 + b'",'
    try:
        for _ in range(80):
            h.wfile.write(block)
    except OSError:
        pass


def test_nonsense():
    wrong = [b"null", True, 7, "text", [], {}, [None], [7], [[]], [{}], {"workloads": 7},
             {"workloads": [None, 7, {}, {"name": 7, "edges": [], "loss": 3, "instances": {"a": 1}}]},
             {"edges": {}, "nodes": 7}, {"edges": [None, {"from": 7, "flags": "x"}], "nodes": [None]},
             [{"id": None, "from": [], "to": {}, "proto": 6, "port": "x", "flags": [None, 7, {}] * 50}],
             [{"port": -5, "type": 2 ** 62, "connections": -2 ** 63, "bytes": 2 ** 63 - 1,
               "lastSeen": "x", "firstSeen": "9999-99-99", "count": -1}],
             {"error": {"message": 7}}, {"verdict": {}, "evidence": 7, "reason": [], "port": 1.5}]
    bad = []
    for value in wrong:
        for path in list(daemon.replies):
            daemon.replies[path] = value
        for args in LISTS + [["policy", "show"], ["mode", "a", "audit"],
                             ["approve", "e-1", "--reason", "x"]]:
            for form in ("wide", "yaml"):
                r = run(*args, "-o", form)
                if "Sanitizer" in r.err or "runtime error" in r.err:
                    bad.append("%s -o %s on %r: %s" % (args, form, value, r))
                if r.code not in (0, 1, 3) or unsafe(r.out) or unsafe(r.err):
                    bad.append("%s -o %s on %r: %s" % (args, form, value, r))
    check("answers of any shape: no crash", "\n".join(bad))
    daemon.reset()
    for name, reply, code, err in [
        ("not JSON", (200, b"<html>\x1b[31m"), 1, "not JSON"),
        ("empty", (200, b""), 1, "not JSON"),
        ("cut JSON", (200, b'[{"id": "e-1'), 1, "not JSON"),
        ("invalid UTF-8", (200, b'["\xff\xfe"]'), 1, "not JSON"),
        ("a key given twice", (200, b'{"a": 1, "a": 2}'), 1, "not JSON"),
        ("nesting without end", (200, b"[" * 100000), 1, "not JSON"),
        ("NUL in a text", (200, b'["a\\u0000b"]'), 1, "not JSON"),
        ("cut in the middle", raw(OK + b"Content-Length: 100\r\n\r\n[1,"), 4, "closed"),
        ("closed at once", raw(), 4, "closed"),
        ("not HTTP", raw(b"SSH-2.0-OpenSSH\r\n\r\n"), 1, "not understood"),
        ("huge", huge, 1, "over 64 MB"),
        ("slow", raw(OK + b"Content-Length: 9\r\n\r\n", *[b"["] * 8, delay=0.4), 4, "within 1 s"),
    ]:
        daemon.replies["/v1/edges"] = reply
        expect("an answer that is %s" % name, run("--timeout", "1" if name == "slow" else "10", "edges"),
               code, err=err)
    daemon.reset()
    expect("a redirection is not followed, a proxy not asked",
           run("status", env={"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}), 0)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


STREAM = OK + b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def stream(records, end=b"", split=False):
    def reply(h):
        h.wfile.write(STREAM)
        for r in records:
            line = json.dumps(r).encode() + b"\n"
            for part in ([line[:7], line[7:]] if split else [line]):
                h.wfile.write(chunk(part))
                h.wfile.flush()
                time.sleep(0.02)
        h.wfile.write(end)
    return reply


def test_follow():
    for end, what in [(b"", "dies"), (b"0\r\n\r\n", "ends the stream")]:
        daemon.replies["/v1/flows"] = stream(FLOWS, end, True)
        r = run("flows", "--follow", "-o", "json")
        expect("flows --follow -o json: the daemon %s" % what, r, 4, err="nanosegd")
        check("flows --follow -o json: a record a line",
              None if [json.loads(x) for x in r.out.splitlines()] == FLOWS else str(r))
    sent_path = daemon.requests[-1][1]
    check("flows --follow: asks to follow", None if sent_path == "/v1/flows?follow=1" else sent_path)
    r = run("flows", "--follow", env={"COLUMNS": "80"})
    expect("flows --follow: a table", r, 4, ["VERDICT", "allow", "\\x1b"])
    check("flows --follow: one header, a line a record",
          None if r.out.count("VERDICT") == 1 and len(r.out.splitlines()) == 4 else str(r))
    check("flows --follow: fits 80 columns", [x for x in r.out.splitlines() if width(x) > 80])
    daemon.replies["/v1/denials"] = stream(DENIALS)
    r = run("denials", "--follow", env={"COLUMNS": "80"})
    expect("denials --follow: a table", r, 4, ["COUNT", "web"])
    check("denials --follow: fits 80 columns", [x for x in r.out.splitlines() if width(x) > 80])
    daemon.replies["/v1/flows"] = raw(STREAM + chunk(b"nonsense\n"))
    expect("flows --follow: nonsense in the stream", run("flows", "--follow"), 1, err="not JSON")
    daemon.replies["/v1/flows"] = raw(STREAM + chunk(b'"' + b"x" * 2000000))
    expect("flows --follow: a line without end", run("flows", "--follow"), 1, err="over 1 MB")
    daemon.replies["/v1/flows"] = fail_with(403, "no")
    expect("flows --follow: not permitted", run("flows", "--follow"), 5, err="no")
    daemon.reset()

    stop = threading.Event()

    def endless(h):
        h.wfile.write(STREAM)
        line = chunk(json.dumps(FLOWS[0]).encode() + b"\n")
        try:
            while not stop.wait(0.01):
                h.wfile.write(line)
                h.wfile.flush()
        except OSError:
            pass
    daemon.replies["/v1/flows"] = endless
    for ignored in (False, True):
        p = subprocess.Popen([NANOSEG, "--socket", daemon.path, "flows", "--follow"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, restore_signals=True,
                             preexec_fn=(lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN))
                             if ignored else None)
        p.stdout.readline()
        p.stdout.readline()
        p.stdout.close()
        try:
            code = p.wait(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            p.kill()
            code = "still running"
            p.wait()
        err = p.stderr.read()
        want = 1 if ignored else -signal.SIGPIPE
        check("flows --follow: ends with its reader%s" % (", SIGPIPE ignored" if ignored else ""),
              None if code == want and not err else "%s %r" % (code, err))
    p = subprocess.Popen([NANOSEG, "--socket", daemon.path, "flows", "--follow", "-o", "json"],
                         stdout=subprocess.PIPE)
    first = p.stdout.readline()
    p.send_signal(signal.SIGINT)
    check("flows --follow: a record comes through at once, SIGINT ends it",
          None if json.loads(first) == FLOWS[0] and p.wait(timeout=TIMEOUT) == -signal.SIGINT else first)
    p.stdout.close()
    stop.set()
    daemon.reset()


def test_stdout():
    with open("/dev/full", "wb") as full:
        r = run("edges", stdout=full)
    expect("a full disk is an error", r, 1, err="No space left")
    p = subprocess.Popen("'%s' --socket '%s' edges -o wide | head -n 1" % (NANOSEG, daemon.path),
                         shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = p.communicate(timeout=TIMEOUT)
    check("a reader that stops early: quiet", err.decode() or (None if b"ID" in out else out))


def on_terminal(args, env, seconds, until=None, rows=24):
    """What the program writes to a terminal of 80 columns in that time, and its exit code."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(NANOSEG, [NANOSEG, "--socket", daemon.path, *args],
                  dict({"PATH": os.environ["PATH"]}, **env))
    import fcntl
    import struct
    import termios
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))
    data, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and not (until and until(data)):
        if select.select([fd], [], [], 0.1)[0]:
            try:
                got = os.read(fd, 65536)
            except OSError:
                break
            if not got:
                break
            data += got
    os.kill(pid, signal.SIGINT)
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return data


def test_terminal():
    # The window is sized after the start: COLUMNS settles the width.
    env = {"TERM": "xterm", "COLUMNS": "80"}
    data = on_terminal(["edges"], env, 3)
    check("on a terminal: colour", None if b"\x1b[32m" in data and b"\x1b[1m" in data else data)
    check("on a terminal: names are escaped", None if b"d\\x07" in data else data)
    check("on a terminal: only our own sequences",
          None if b"\x1b[31m\x1b]0;" not in data and b"\x07" not in data else data)
    for extra in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        data = on_terminal(["edges"], dict(env, **extra), 3)
        check("on a terminal: no colour with %s" % extra,
              None if b"\x1b[" not in data and b"approved" in data else data)
    data = on_terminal(["edges"], dict(env, NO_COLOR=""), 3)
    check("on a terminal: an empty NO_COLOR is none", None if b"\x1b[32m" in data else data)
    for cmd in ("graph", "status"):
        data = on_terminal([cmd, "--watch"], env, 6, lambda d: d.count(b"\x1b[H") >= 4, rows=8)
        frames = data.split(b"\x1b[H")
        check("%s --watch: redraws" % cmd, None if len(frames) >= 4 else data)
        check("%s --watch: no frame is taller than the window" % cmd,
              [f for f in frames[2:-1] if f.count(b"\n") > 8])


def main():
    global daemon
    daemon = Daemon(DIR)
    try:
        for test in (test_shown, test_documents, test_drawn, test_requests, test_policy_files,
                     test_policy_diff, test_usage,
                     test_exit_codes, test_nonsense, test_follow, test_stdout, test_terminal):
            test()
    finally:
        daemon.server.shutdown()
        shutil.rmtree(DIR, ignore_errors=True)
    print("1..%d" % tests)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
