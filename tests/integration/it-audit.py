#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The audit log of a whole daemon: what is in it, that a crash leaves it sound, that tampering shows."""
import csv
import glob
import hashlib
import io
import json
import os
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from rfc5424 import parsed
from nslab import BUILD, Lab, Tap, run, wait

t = Tap()
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")
b.serve(8000)
d = lab.daemon(expect=[a.name, b.name])
api = d.api
NOBODY = 65534
SRC = os.environ.get("top_srcdir", ".")


def files():
    return sorted(glob.glob(d.state + "/audit/*.jsonl"))


def lines():
    return b"".join(open(f, "rb").read() for f in files()).splitlines()


# What the daemon records of its own accord, between the others.
OWN = ("checkpoint", "signing-key", "applied")


def records(event=None):
    return [r for r in map(json.loads, lines())
            if r["event"] == event or event is None and r["event"] not in OWN]


def cli(*args, check=False, **kw):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=check, **kw)


def chain_sound():
    """As somebody else would check it: nothing of ours but the description."""
    prev = "0" * 64
    for n, line in enumerate(lines(), 1):
        r = json.loads(line)
        body = line[:line.rindex(b',"hash":"')] + b"}"
        if r["seq"] != n or r["prev"] != prev or \
                hashlib.sha256(prev.encode() + body).hexdigest() != r["hash"]:
            return False
        prev = r["hash"]
    return True


a.tcp(b.v4, 8000)
e = wait(lambda: api.edge(port=8000), 3)
api.post("/v1/edges/approve", {"ids": [e["id"]], "reason": "web calls \u001b[31mdb", "ticket": "T-1"})
r = records("approve")[-1]
t.ok(r["reason"] == "web calls \u001b[31mdb" and r["ticket"] == "T-1" and r["result"] == "ok" and
     r["subject"]["edges"] == [e["id"]] and sorted(r["subject"]["workloads"]) == [a.name, b.name] and
     r["after"]["revision"] == 1 and r["before"]["revision"] == 0,
     "a decision is recorded before it is answered, with what it touches", r)
t.ok(r["actor"]["uid"] == 0 and r["actor"]["name"] == "root" and r["actor"]["pid"] == os.getpid() and
     r["actor"]["program"].startswith("python"), "with who, and by which program", r["actor"])
t.ok(r["clock"]["boot"] == open("/proc/sys/kernel/random/boot_id").read().strip() and
     r["clock"]["monotonicMs"] > 0 and "synchronized" in r["clock"], "and the clock's state", r["clock"])
api.mode("enforce", b.name)
api.deny(e["id"])
doc = api.get("/v1/policy", decided=1)
status, answer = api.apply(json.dumps(doc), reason="as it was")
t.ok([r["event"] for r in records()] == ["daemon-start", "approve", "mode", "deny", "policy-apply"],
     "every change is one record", [r["event"] for r in records()], answer)
t.ok(all(x["after"]["digest"] == y["before"]["digest"] for x, y in zip(records()[1:], records()[2:])),
     "what was after is what is before the next")

# A refused request: recorded once, then counted.
pid = os.fork()
if pid == 0:
    os.chmod(d.sock, 0o666)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    code = 0
    for _ in range(300):
        code |= api.call("POST", "/v1/mode", {"all": True, "mode": "observe"})[0] != 403
    os._exit(code)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
denied = records("denied")
t.ok(code == 0 and len(denied) == 1 and denied[0]["actor"]["uid"] == NOBODY and
     denied[0]["subject"]["request"] == "POST /v1/mode", "300 refused requests are one record", denied)

r = cli("gate", "install", "--engine", "containerd", "--dir", lab.dir + "/gate", "--programs",
        BUILD + "/daemon", "--base-spec", lab.dir + "/spec.json", "--marker", d.state + "/enforced")
t.ok(records("gate") and records("gate")[-1]["subject"] == {"action": "install", "engine": "containerd"},
     "a change of the start gate is recorded", r.out, r.err)

# The command line.
r = cli("audit-log", "verify")
t.ok(r.returncode == 0 and "intact" in r.out and chain_sound(), "verify finds it intact, and so does "
     "a stranger", r.out, r.err)
r = cli("audit-log", "--event", "approve", "--actor", "root", "--workload", a.name, "-o", "json")
t.ok(r.returncode == 0 and [x["event"] for x in json.loads(r.out)] == ["approve"], "show filters", r.out, r.err)
r = cli("audit-log", "show", "--since", "1h", "--last", "3")
t.ok(r.returncode == 0 and len(r.out.splitlines()) == 4 and "\x1b" not in r.out, "and prints a table",
     r.out)
r = cli("audit-log", "show", "--until", "1h")
t.ok(r.returncode == 0 and len(r.out.splitlines()) <= 1, "nothing before the time asked for", r.out)
bad = [cli("audit-log", *x).returncode for x in (
    ("forge",), ("verify", "--event", "mode"), ("show", "--head", "0" * 64), ("verify", "--head", "xyz"),
    ("show", "--since", "yesterday"), ("show", "--last", "-1"))]
t.ok(set(bad) == {2}, "wrong usage is 2", bad)

# Tampering, each on a copy: with the head noted before, and without.
head = json.loads(lines()[-1])["hash"]


def tampered(change, *args):
    copy = lab.dir + "/copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(d.state + "/audit", copy)
    path = sorted(glob.glob(copy + "/*"))[-1]
    with open(path, "rb") as f:
        data = f.read()
    with open(path, "wb") as f:
        f.write(change(data))
    return cli("audit-log", "verify", "--dir", copy, *args)


def without(n):
    return lambda data: b"".join(x for i, x in enumerate(data.splitlines(True)) if i != n)


def swapped(data):
    x = data.splitlines(True)
    x[2], x[3] = x[3], x[2]
    return b"".join(x)


t.ok(tampered(lambda x: x, "--head", head).returncode == 0, "an untouched copy is intact")
cases = {"edited": lambda x: x.replace(b"as it was", b"as it is!"), "removed": without(2),
         "first removed": without(0), "swapped": swapped, "torn": lambda x: x[:-5],
         "emptied": lambda x: b"", "cut": lambda x: x[:x.rindex(b"\n", 0, x.index(head.encode())) + 1]}
codes = {k: tampered(f, "--head", head).returncode for k, f in cases.items()}
t.ok(set(codes.values()) == {3}, "each way of tampering is found", codes)
t.ok(tampered(without(len(lines()) - 1)).returncode == 0,
     "that the end was cut whole shows by the head alone")



# Whoever rewrites the log with every hash right, but without the key.
def forged(data):
    prev, out = "0" * 64, []
    for line in data.splitlines():
        r = json.loads(line)
        del r["hash"]
        r["prev"] = prev
        if r["event"] == "approve":
            r["reason"] = "never said"
        body = json.dumps(r, sort_keys=True, separators=(",", ":"))
        prev = hashlib.sha256((prev + body).encode()).hexdigest()
        out.append((body[:-1] + ',"hash":"%s"}\n' % prev).encode())
    return b"".join(out)


def stripped(data):
    lines = [x for x in data.splitlines(True) if json.loads(x)["event"] not in ("checkpoint", "signing-key")]
    seq = [dict(json.loads(x), seq=i + 1) for i, x in enumerate(lines)]
    return forged(b"".join(json.dumps(x).encode() + b"\n" for x in seq))


wait(lambda: records("checkpoint"), 10)
key = api.get("/v1/audit")["publicKey"]
check = records("checkpoint")
t.ok(check and check[-1]["subject"]["publicKey"] == key and records("signing-key"),
     "checkpoints are signed, and the key is on record", check)
st = os.stat(d.state + "/signing-key.json")
t.ok(st.st_mode & 0o777 == 0o600, "the secret key is nobody else's to read", oct(st.st_mode))
# One more checkpoint, over what was recorded since: a stop makes one.
d.stop()
d.start(expect=[a.name, b.name])
wait(lambda: len(records("checkpoint")) >= 3, 10)
r = tampered(lambda x: x, "--key", key)
t.ok(r.returncode == 0 and key in r.out, "verify names the key", r.out, r.err)
r = tampered(forged)
t.ok(r.returncode == 3 and "checkpoint" in r.out, "a log made anew without the key shows", r.out, r.err)
t.ok(tampered(stripped).returncode == 0 and tampered(stripped, "--key", key).returncode == 3,
     "one without any checkpoint shows when the key is asked for")
t.ok(tampered(lambda x: x, "--key", "0" * 64).returncode == 3, "and so does another key")
BODY = {"format": "csv", "sha256": "ab" * 32, "bytes": 1, "revision": 1}
status, x = api.call("POST", "/v1/audit/export", BODY)
x = x["signature"]
t.ok(status == 200 and x["publicKey"] == key and len(x["signature"]) == 128 and x["actor"] == "uid:0" and
     x["sha256"] == "ab" * 32 and x["head"]["seq"] == records("export")[-1]["seq"],
     "an export is recorded and signed", status, x)
bad = [api.call("POST", "/v1/audit/export", x)[0] for x in (
    {}, dict(BODY, kind="checkpoint"), dict(BODY, sha256="AB" * 32), dict(BODY, format="a b"))]
t.ok(set(bad) == {400}, "nothing else is signed", bad)

# The daemon's own files cut behind its back.
# What is read back after the start comes of its own accord.
before = -1
while before != len(lines()):
    before = len(lines())
    time.sleep(2)
path = files()[-1]
with open(path, "rb") as f:
    whole = f.read()
os.truncate(path, len(b"".join(whole.splitlines(True)[:-1])))
r = cli("audit-log", "verify", "-o", "json")
t.ok(r.returncode == 3 and json.loads(r.out)["violationCount"] == 1,
     "the daemon holds the head against its files", r.out)
with open(path, "wb") as f:
    f.write(whole)
t.ok(cli("audit-log", "verify").returncode == 0, "put back it is intact again")

# Crashes: the controller killed while changes are made; what was answered is on record.
answered = []
stop = threading.Event()


def decide():
    while not stop.is_set():
        try:
            status, x = api.call("POST", "/v1/edges/approve", {"ids": [e["id"]], "reason": "again"})
            if status == 200:
                answered.append(x["revision"])
        except (OSError, ValueError, Exception):  # the socket dies with the role
            stop.wait(0.01)


worker = threading.Thread(target=decide)
worker.start()
for role in ("controller", "controller", "warden", "capture", "discovery", "relay", "controller"):
    n = len(answered)
    wait(lambda: len(answered) >= n + 5, 10)
    d.kill(role)
    wait(lambda: role in d.roles() and d.ready(), 10)
stop.set()
worker.join()
wait(d.ready, 5)
recorded = {r["after"]["revision"] for r in records("approve")}
t.ok(len(answered) > 20 and set(answered) <= recorded and chain_sound() and
     cli("audit-log", "verify").returncode == 0,
     "through kill -9 of each role: every answered change is on record, and the chain is sound",
     cli("audit-log", "verify").out)
t.note("%d changes answered, %d recorded" % (len(answered), len(recorded)))

# Exports are recorded before they are handed over.
wait(lambda: all(i["rulesetDigest"] for i in api.workload(b.name)["instances"]), 30)
before = len(records("export"))
out = lab.dir + "/bundle.json"
r = cli("export", "json", "--out", out, "--signature", out + ".sig", "--data-dir", SRC + "/contrib")
kept = open(out, "rb").read() if os.path.exists(out) else b"{}"
e = records("export")
t.ok(r.returncode == 0 and len(e) == before + 1 and e[-1]["subject"]["format"] == "json" and
     e[-1]["subject"]["sha256"] == hashlib.sha256(kept).hexdigest() and
     e[-1]["subject"]["bytes"] == len(kept), "an export is recorded with its hash", r.err, e[-1:])
signed = json.load(open(out + ".sig"))
t.ok(signed["sha256"] == hashlib.sha256(kept).hexdigest() and signed["kind"] == "export" and
     signed["signature"], "and signed", signed)


def by_openssl(statement):
    """As docs/evidence.md says it."""
    o = dict(statement)
    parts = {"sig": bytes.fromhex(o.pop("signature")), "key": bytes.fromhex("302a300506032b6570032100" + o["publicKey"]),
             "text": json.dumps(o, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()}
    for name, data in parts.items():
        with open(lab.dir + "/openssl." + name, "wb") as f:
            f.write(data)
    at = lab.dir + "/openssl."
    return run("openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", at + "key", "-rawin", "-in",
               at + "text", "-sigfile", at + "sig", check=False).returncode == 0


t.ok(by_openssl(signed) and signed["publicKey"] == api.get("/v1/audit")["publicKey"], "openssl verifies the signature", signed)
t.ok(not by_openssl(dict(signed, sha256="0" * 64)) and not by_openssl(dict(signed, actor="uid:1")),
     "and not that of anything else")
kept = json.loads(kept)
enforced = [w for w in kept["workloads"] if w["mode"] == "enforce"]
t.ok(sorted(w["name"] for w in kept["workloads"]) == sorted(n.name for n in (a, b, c)) and
     len(enforced) == 1 and len(enforced[0]["instances"][0]["rulesetDigest"]) == 64 and
     kept["facts"]["loaded-rules"]["state"] == "shown" and
     kept["audit"]["head"]["seq"] == e[-1]["seq"] - 1 and
     kept["policyDigest"] == records("approve")[-1]["after"]["digest"] and
     kept["revision"] == api.get("/v1/status")["revision"],
     "the bundle has the rules that are loaded, and the log's head", kept["facts"], enforced)
for form in "csv", "html", "oscal", "ocsf", "k8s":
    x = cli("export", form, "--from", out, "--data-dir", SRC + "/contrib")
    t.ok(x.returncode == 0 and x.out and not x.err, "%s of that bundle" % form, x.err)
t.ok(len(records("export")) == before + 1, "which asks no daemon")
r = cli("export", "access", "--data-dir", SRC + "/contrib")
x = json.loads(r.out) if r.returncode == 0 else {}
seqs, last = [i["seq"] for i in x.get("records", [])], records("export")[-1]
t.ok(x.get("intact") is True and seqs == list(range(1, len(seqs) + 1)) and e[-1]["seq"] <= len(seqs) < last["seq"] and
     last["subject"]["format"] == "access", "access evidence is the whole verified log", r.err, seqs, last)
r = cli("export", "access-csv", "--since", "1h")
rows = list(csv.DictReader(io.StringIO(r.out), strict=True)) if r.returncode == 0 else []
t.ok([i["hash"] for i in rows] == [json.loads(x)["hash"] for x in lines()][:len(rows)] and
     any(i["event"] == "denied" and i["uid"] == str(NOBODY) for i in rows), "and as CSV", r.err, rows[-1:])
t.ok([(i["actor"]["uid"], i["subject"]["request"]) for i in x["records"] if i["event"] == "denied"] ==
     [(i["actor"]["uid"], i["subject"]["request"]) for i in records("denied")] and
     (NOBODY, "POST /v1/mode") in [(i["actor"]["uid"], i["subject"]["request"]) for i in records("denied")],
     "refused requests are in the evidence, with who asked for what", records("denied"))
r = cli("export", "access-syslog")
events = [parsed(line) for line in r.out.splitlines()]
refused = [e for e in events if e and e["id"] == "denied"]
t.ok(r.returncode == 0 and all(events) and len(refused) == len(records("denied")) and
     any("POST /v1/mode" in json.dumps(e) and e["params"].get("uid") == str(NOBODY) for e in refused),
     "and as syslog, each a line of RFC 5424", r.err, refused)
os.chmod(d.sock, 0o666)
pid = os.fork()
if pid == 0:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    body = {"format": "csv", "sha256": "0" * 64, "bytes": 1, "revision": 1}
    answers = [api.call("POST", "/v1/audit/export", body) for _ in range(210)]
    codes = [x[0] for x in answers]
    bad = [api.call("POST", "/v1/audit/export", dict(body, **x))[0] for x in
           ({"format": "../x"}, {"sha256": "0"}, {"bytes": -1}, {"more": 1}, {"selector": "x" * 2000})]
    unsigned = all(x == {"recorded": True, "signature": None} for _, x in answers[:200])
    os._exit(0 if codes == [200] * 200 + [429] * 10 and unsigned and bad == [400] * 5 else 1)
t.ok(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 and chain_sound(),
     "viewers export, unsigned, and do not fill the disk with it")

# A torn line.
d.stop()
t.ok(records()[-1]["event"] == "daemon-stop", "the end is recorded", records()[-1])
with open(files()[-1], "ab") as f:
    f.write(b'{"actor":{"uid":0')
d.start()
torn = wait(lambda: records("audit-torn"), 3)
t.ok(torn and torn[0]["subject"]["bytes"] == 17 and chain_sound(),
     "a torn line is told of, and the chain goes on", torn)

# The audit log cannot be written: nothing changes, everything is still seen.
d.stop()
os.rename(d.state + "/audit", d.state + "/kept")
with open(d.state + "/audit", "w"):
    pass
d.start(expect=[a.name, b.name, c.name])
revision = api.get("/v1/status")["revision"]
status, x = api.call("POST", "/v1/mode", {"workloads": [b.name], "mode": "observe"})
t.ok(status == 500 and "audit log" in json.dumps(x) and api.get("/v1/status")["revision"] == revision and
     api.workload(b.name)["mode"] == "enforce", "without a record nothing changes", status, x)
a.serve(8100)
c.tcp(a.v4, 8100)
t.ok(wait(lambda: api.edge(port=8100), 3), "and what happens is still learned")
d.stop()
os.unlink(d.state + "/audit")
os.rename(d.state + "/kept", d.state + "/audit")

r = d.cleanup()
last = records()[-1]
t.ok(r.returncode == 0 and last["event"] == "cleanup" and last["actor"]["program"] == "nanosegd" and
     chain_sound(), "a cleanup is recorded, the daemon being dead", r.err, last)
t.ok(cli("audit-log", "verify", "--dir", d.state + "/audit").returncode == 0,
     "and verified without a daemon")
t.done()
