#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nanoseg export from a daemon of canned answers, which is on another machine. Needs no root."""
import hashlib
import importlib.util
import json
import os
import shutil
import sys

SRC = os.environ.get("top_srcdir", ".")
spec = importlib.util.spec_from_file_location("it_cli", SRC + "/tests/integration/it-cli.py")
cli = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cli)
check, expect, run = cli.check, cli.expect, cli.run
HOST = {"name": "far-away", "kernel": "5.99.0-far"}


class Log:
    """An audit log of one segment, sealed as rules/audit.h says."""

    def __init__(self):
        self.lines, self.seq, self.hash = [], 0, "0" * 64

    def add(self, event, **more):
        self.seq += 1
        body = json.dumps(dict({"time": "2026-01-01T10:00:%02d.000Z" % self.seq, "event": event, "prev": self.hash,
                                "actor": {"name": "root", "uid": 0}, "result": "ok", "seq": self.seq}, **more),
                          sort_keys=True, separators=(",", ":"))
        self.hash = hashlib.sha256((self.hash + body).encode()).hexdigest()
        self.lines.append('%s,"hash":"%s"}\n' % (body[:-1], self.hash))

    def text(self):
        return "".join(self.lines).encode()

    def serve(self, **head):
        """The head is what the daemon says, whatever its files hold."""
        text = self.text()
        cli.daemon.replies.update({
            "/v1/audit": {"host": HOST, "head": dict({"seq": self.seq, "hash": self.hash}, **head), "publicKey": None,
                          "segments": [{"name": "000000000001.jsonl", "size": len(text)}]},
            "/v1/audit/segment": text})


def serve(**more):
    cli.daemon.reset()
    cli.daemon.replies.update({
        "/v1/status": dict(cli.STATUS, host=HOST, version="0.1.0"), "/v1/graph": dict(cli.GRAPH, host=HOST),
        "/v1/denials": [], "/v1/revisions": [], "/v1/audit/export": {"recorded": True, "signature": None}}, **more)
    log = Log()
    log.add("start")
    log.add("approve", reason="why")
    log.serve()
    return log


def test_host():
    serve()
    r = run("export", "json", "--data-dir", SRC + "/contrib")
    host = json.loads(r.out)["host"] if r.code == 0 else r
    check("evidence names the daemon's machine", None if host == dict(HOST, nanoseg="0.1.0") else
          {"host": host, "name": HOST["name"], "kernel": HOST["kernel"]})
    r = run("export", "access-csv")
    check("so do the audit log's records", None if r.code == 0 and r.out.count('\n"far-away",') == 2 else str(r))
    r = run("graph", "-o", "html")
    check("and the page of the graph", None if HOST["name"] in r.out or "without" in r.err else str(r))


def checkpoint(log, signature):
    log.add("checkpoint", subject={"kind": "checkpoint", "head": {"seq": log.seq, "hash": log.hash},
                                   "publicKey": "11" * 32, "signature": signature})


def test_broken_log():
    def is_said(name, spoil, code=3):
        log = serve()
        spoil(log)
        r, c = run("export", "access"), run("export", "access-csv")
        same = json.loads(r.out)["intact"] == (code == 0) if r.out else False
        word = ',"%s"\r\n' % ("yes" if code == 0 else "no")
        check("an audit log %s: exit %d" % (name, code), None if (r.code, c.code) == (code, code) and same and
              word in c.out and ("NOT intact" in c.err) == (code == 3) else "%s\n%s" % (r, c))
    is_said("as it was written", lambda log: None, 0)
    is_said("with another last record than the daemon's", lambda log: log.serve(hash="ab" * 32))
    is_said("with a checkpoint that nobody signed", lambda log: (checkpoint(log, "00" * 64), log.serve()))

    def edit(log):
        log.lines[0] = log.lines[0].replace("start", "stop ")
        log.serve()
    is_said("with an edited record", edit)


def test_held_then():
    q, r, bad = ("quarantine", "ok"), ("release", "ok"), "failed: not stored"
    for steps, held in (([q], True), ([q, r], False), ([q, ("quarantine", bad)], False),
                        ([q, r, ("release", bad)], True)):
        log = serve()
        for event, result in steps:
            log.add(event, subject={"workloads": ["web"]}, result=result)
        log.serve()
        x = run("explain", "web", "db:5432", "--at", "2026-01-01T11:00:00Z", "-o", "json")
        check("explain --at after %s: %s" % (", ".join(map(" ".join, steps)), "held" if held else "not held"),
              None if '"verdict"' in x.out and held == ("in quarantine" in x.out) else str(x))


def test_gate():
    conf = os.path.join(cli.DIR, "daemon.json")
    for action in ("install", "remove", "status"):
        r = cli.subprocess.run([cli.NANOSEG, "-H", "ssh://no-such-host.invalid", "gate", action, "--engine", "docker",
                                "--config", conf, "--dir", cli.DIR], capture_output=True, timeout=60)
        check("gate %s is not for another machine" % action,
              None if r.returncode == 2 and b"this machine" in r.stderr and not os.path.exists(conf) else str(r))


def main():
    cli.daemon = cli.Daemon(cli.DIR)
    try:
        for test in [v for k, v in list(globals().items()) if k.startswith("test_")]:
            test()
    finally:
        cli.daemon.server.shutdown()
        shutil.rmtree(cli.DIR, ignore_errors=True)
    print("1..%d" % cli.tests)
    return 1 if cli.failed else 0


if __name__ == "__main__":
    sys.exit(main())
