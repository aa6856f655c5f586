#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may do what: every route of the API asked by every kind of caller, with the identity that the
kernel vouches for; what is refused is refused before anything else of the request is looked at."""
import glob
import json
import os
import re
import socket
import stat
import sys

SRC = os.environ.get("top_srcdir", ".")
sys.path.insert(0, os.path.join(SRC, "tests/integration"))
from nslab import Lab, Tap, wait

VIEWER, REVIEWER, ADMIN, ROOT = 1, 2, 3, 4
ROUTES = {
    "GET /v1/status": VIEWER, "GET /v1/edges": VIEWER, "GET /v1/graph": VIEWER, "GET /v1/flows": VIEWER,
    "GET /v1/denials": VIEWER, "GET /v1/policy": VIEWER, "GET /v1/revisions": VIEWER,
    "GET /v1/explain": VIEWER, "GET /v1/doctor": VIEWER, "GET /metrics": VIEWER, "GET /v1/audit": VIEWER,
    "GET /v1/audit/segment": VIEWER, "GET /v1/quarantine": VIEWER, "POST /v1/policy/validate": VIEWER,
    "POST /v1/audit/export": VIEWER, "GET /v1/verify": VIEWER,
    "GET /v1/config": VIEWER, "GET /v1/alerts": VIEWER, "GET /v1/names": VIEWER, "GET /v1/top": VIEWER,
    "POST /v1/simulate": VIEWER,
    "POST /v1/verify": REVIEWER,
    "POST /v1/edges/approve": REVIEWER, "POST /v1/edges/deny": REVIEWER, "POST /v1/edges/recertify": REVIEWER,
    "POST /v1/images/approve": REVIEWER, "POST /v1/images/deny": REVIEWER,
    "POST /v1/mode": ADMIN, "POST /v1/policy/apply": ADMIN, "POST /v1/quarantine": ADMIN,
    "POST /v1/release": ADMIN, "POST /v1/confirm": ADMIN, "POST /v1/rollback": ADMIN,
    "POST /v1/reload": ADMIN,
    "POST /v1/gate": ROOT, "POST /v1/audit/gate": ROOT,
}
NOBODY, REVIEWERS, ADMINS, OTHERS = 65534, 60, 100, 65533  # games and users are groups everywhere
# (uid, gid, supplementary groups): role
CALLERS = {
    "anybody": (NOBODY, NOBODY, [], VIEWER), "of another group": (NOBODY, OTHERS, [OTHERS], VIEWER),
    "a reviewer": (NOBODY, NOBODY, [OTHERS, REVIEWERS], REVIEWER),
    "a reviewer by primary group": (NOBODY, REVIEWERS, [], REVIEWER),
    "an administrator": (NOBODY, NOBODY, [ADMINS], ADMIN), "both": (NOBODY, REVIEWERS, [ADMINS], ADMIN),
    "a user of 300 groups": (NOBODY, NOBODY, list(range(7000, 7300)), VIEWER),
    "root": (0, 0, [], ROOT), "root's group alone": (NOBODY, 0, [0], VIEWER),
}

t = Tap()
lab = Lab()
a = lab.ns("a")
b = lab.ns("b")
d = lab.daemon(config="reviewerGroups: [games]\nadminGroups: [users]\nseparateDuties: true\n", expect=[a.name, b.name])
known = set()
for path in glob.glob(os.path.join(SRC, "daemon/*.c")):
    with open(path, encoding="utf-8") as f:
        known |= {"%s %s" % m for m in re.findall(r'\{ "([A-Z]+)", "(/[^"]+)", API_', f.read())}
t.ok(known == set(ROUTES), "every route has its line here", sorted(known ^ set(ROUTES)))


def asked(uid, gid, groups):
    """The status of every route, as that caller."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
        for route in sorted(ROUTES):
            method, path = route.split()
            try:
                # No request is a good one: a body of nothing, or no arguments.
                status, data = d.api.raw(method, path, "[" if method == "POST" else None)
            except Exception as e:  # nothing may get out of here: the laboratory is the parent's
                status, data = -(getattr(e, "errno", None) or 999), b""
            os.write(w, b"%d " % status)
        os._exit(0)
    os.close(w)
    data = b""
    while True:
        part = os.read(r, 65536)
        if not part:
            break
        data += part
    os.close(r)
    os.waitpid(pid, 0)
    return dict(zip(sorted(ROUTES), map(int, data.split())))


mode = os.stat(d.sock)
t.ok(stat.S_IMODE(mode.st_mode) == 0o660 and set(asked(NOBODY, NOBODY, []).values()) == {-13},
     "the socket has its final mode: who is not of its group is not even heard", oct(mode.st_mode))
os.chmod(d.sock, 0o666)
before = d.api.get("/v1/status")["revision"]
for name, (uid, gid, groups, role) in CALLERS.items():
    got = asked(uid, gid, groups)
    wrong = {r: s for r, s in got.items() if (s == 403) != (role < ROUTES[r]) or s < 200 or s >= 500}
    t.ok(len(got) == len(ROUTES) and not wrong, "%s: %d of %d routes, the others 403" % (
        name, sum(role >= x for x in ROUTES.values()), len(ROUTES)), wrong)
t.ok(d.api.get("/v1/status")["revision"] == before, "and nothing was changed by any of it")


def post(uid, path, body):
    """The status that an administrator of that uid is answered."""
    pid = os.fork()
    if pid == 0:
        os.setgroups([ADMINS])
        os.setgid(NOBODY)
        os.setuid(uid)
        os._exit(d.api.raw("POST", path, json.dumps(body))[0] - 200)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) + 200


# With separateDuties nobody has both approved an edge of a workload and enforced it.
b.serve(80)
a.tcp(b.v4, 80)
edge = wait(lambda: next(iter(d.api.get("/v1/edges", state="pending")), None), 10)
enforce = {"workloads": [b.name], "mode": "enforce", "reason": "r"}
first, second = NOBODY, NOBODY - 2
t.ok(edge and post(first, "/v1/edges/approve", {"ids": [edge["id"]], "reason": "r"}) == 200,
     "an administrator approves", edge)
t.ok(post(first, "/v1/mode", enforce) == 403 and d.api.workload(b.name)["mode"] == "observe",
     "with separateDuties the same one may not enforce", d.api.workload(b.name)["mode"])
t.ok(post(second, "/v1/mode", enforce) == 200 and d.api.workload(b.name)["mode"] == "enforce",
     "another one may")
t.ok(post(second, "/v1/edges/approve", {"ids": [edge["id"]], "reason": "again"}) == 403 and
     post(first, "/v1/edges/deny", {"ids": [edge["id"]], "reason": "no"}) == 200,
     "who enforces may not approve; whoever may can deny")
t.ok(post(second, "/v1/mode", dict(enforce, mode="observe")) == 200, "and open again")

# What a request says of itself counts for nothing.
s = socket.socket(socket.AF_UNIX)
pid = os.fork()
if pid == 0:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    s.connect(d.sock)
    s.sendall(b"POST /v1/mode HTTP/1.1\r\nHost: n\r\nX-Remote-User: root\r\nAuthorization: Basic cm9vdDo=\r\n"
              b"Cookie: uid=0\r\nContent-Length: 2\r\n\r\n{}")
    os._exit(0 if b" 403 " in s.recv(4096).split(b"\r\n")[0] else 1)
t.ok(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "headers that claim to be root are headers")
with open("/proc/net/unix", encoding="utf-8") as f:
    t.ok(not [x for x in f if "@" in x and "nanoseg" in x], "no abstract socket")
t.done()
