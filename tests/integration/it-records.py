#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One action, one record: everything that changes something, done once, and what the audit log and
syslog have of it."""
import glob
import json
import os
import re
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Daemon, Lab, Tap, run, wait

OWN = ("checkpoint", "signing-key", "applied")
t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")

# A /dev of the daemon's own, with a syslog in it.
os.chmod(lab.dir, 0o755)
syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
syslog.bind(lab.dir + "/log")
os.chmod(lab.dir + "/log", 0o666)
said = []


def listen():
    while True:
        said.append(syslog.recv(65536))


threading.Thread(target=listen, daemon=True).start()
OWN_DEV = """mount -t tmpfs -o mode=755 none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/zero c 1 5 &&
mknod -m 666 /dev/urandom c 1 9 && mknod -m 666 /dev/random c 1 8 && ln -s "$0" /dev/log && exec "$@" """


class Logged(Daemon):
    def argv(self, *more):
        plain = super().argv(*more)
        at = plain.index(BUILD + "/daemon/nanosegd")
        return plain[:at] + ["unshare", "--mount", "--propagation", "slave", "sh", "-c", OWN_DEV,
                             lab.dir + "/log"] + plain[at:]


lab.need_bridge()
d = Logged(lab, host=lab.host).start(expect=[a.name, b.name])
api = d.api


def records():
    text = b"".join(open(f, "rb").read() for f in sorted(glob.glob(d.state + "/audit/*.jsonl")))
    return [r for r in map(json.loads, text.splitlines()) if r["event"] not in OWN]


def cli(*args):
    r = run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=False)
    if r.returncode:
        raise RuntimeError("%s: %s" % (args, r.err))
    return r


for p in (8000, 8001, 8002):
    b.serve(p)
    a.tcp(b.v4, p)
ids = {p: wait(lambda p=p: api.edge(port=p), 5)["id"] for p in (8000, 8001, 8002)}
W = "--reason", "tested", "--ticket", "T-1"
doc = lambda: json.dumps(api.get("/v1/policy", decided=1))
R = "--reason", "tested"
REPO = "registry.example/other"
# What is done, the events of it, what the subject has of it
ACTIONS = [
    ("approve", lambda: cli("approve", ids[8000], *W), ["approve"], [ids[8000], a.name, b.name]),
    ("deny", lambda: cli("deny", ids[8001], *W), ["deny"], [ids[8001], b.name]),
    ("recertify", lambda: api.post("/v1/edges/recertify", {"ids": [ids[8000]], "reason": "tested"}),
     ["recertify"], [ids[8000]]),
    ("approve an image", lambda: cli("approve", "--image", b.name + "=" + REPO, *R), ["approve image"],
     [b.name, REPO]),
    ("and another", lambda: cli("approve", "--image", b.name + "=" + REPO + "2", *R), ["approve image"], [REPO + "2"]),
    ("deny an image", lambda: cli("deny", "--image", b.name + "=" + REPO, *R), ["deny image"], [b.name, REPO]),
    ("mode", lambda: cli("mode", b.name, "audit", *R), ["mode"], [b.name, "audit"]),
    ("mode --confirm", lambda: cli("mode", b.name, "enforce", "--confirm", "5m", *R), ["mode"], [b.name, "enforce"]),
    ("confirm", lambda: cli("confirm", *R), ["confirm"], []),
    ("policy apply", lambda: api.apply(doc(), reason="tested"), ["policy-apply"], []),
    ("rollback", lambda: cli("rollback", *R), ["rollback"], []),
    ("quarantine", lambda: cli("quarantine", b.name, *R), ["quarantine"], [b.name]),
    ("release", lambda: cli("release", b.name, *R), ["release"], [b.name]),
    ("gate", lambda: api.post("/v1/audit/gate", {"action": "remove", "engine": "podman"}), ["gate"], ["podman"]),
    ("export", lambda: api.post("/v1/audit/export", {"format": "csv", "sha256": "0" * 64, "bytes": 1, "revision": 1}),
     ["export"], ["csv"]),
    ("a stop and a start", lambda: (d.stop(), d.start(expect=[a.name, b.name])), ["daemon-stop", "daemon-start"], []),
]
wait(lambda: records(), 5)
for name, act, events, has in ACTIONS:
    before = len(records())
    act()
    # Both times before the answer: nothing is waited for, but for the daemon's own start.
    new = records()[before:] if "start" not in name else wait(lambda: len(records()) > before + 1 and
                                                              records()[before:], 5)
    text = json.dumps([r["subject"] for r in new or []])
    t.ok([r["event"] for r in new or []] == events and all(x in text for x in has) and
         all(r["actor"]["name"] == ("nanosegd" if "daemon" in r["event"] else "root") and
             r["time"] and r["clock"]["boot"] and r["result"] for r in new),
         "%s: one record, with what and who" % name, new)
changes = [r for r in records() if r["event"] in ("approve", "deny", "mode", "policy-apply", "rollback")]
t.ok(all(r["after"]["digest"] and r["after"]["revision"] == r["before"]["revision"] + 1 for r in changes),
     "a change of the policy has the digests before and after", changes)
t.ok([r["ticket"] for r in changes[:2]] == ["T-1", "T-1"] and all(r["reason"] == "tested" for r in changes[:2]),
     "reason and ticket are on record", changes[:2])


def in_syslog():
    heard = [json.loads(re.sub(rb"^<\d+>nanosegd: audit seq=\d+ hash=[0-9a-f]{64} ", b"", m))
             for m in said if len(m) < 2000]
    return {r["seq"]: r["event"] for r in heard}


want = {r["seq"]: r["event"] for r in records()}
wait(lambda: set(want) <= set(in_syslog()), 5)
heard = in_syslog()
missing = [x for x in want if heard.get(x) != want[x] and
           len(json.dumps(next(r for r in records() if r["seq"] == x))) < 1700]
t.ok(not missing and said and said[0].startswith(b"<85>nanosegd: audit seq=1 hash="),
     "each record is in syslog too, authpriv.notice, with number and hash", missing, said[:1])
d.stop()
r = d.cleanup()
t.ok(records()[-1]["event"] == "cleanup", "a cleanup: one record", records()[-1])
t.done()
