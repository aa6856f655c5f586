#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who a container or a namespace is, and who it is not, however it is called."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Docker, Lab, PREFIX, Tap, compose, run, wait

PROJECT = PREFIX + "p"

t = Tap()
lab = Lab(real_host=True)
docker = Docker(lab)
net = PREFIX + "-net"
docker.network(net)
baked = docker.make_image(PREFIX + "-baked", *("LABEL %s=%s" % kv for kv in {
    "com.docker.compose.project": PROJECT, "com.docker.compose.service": "db",
    "com.docker.compose.version": "2.0"}.items()))
forged = docker.make_image(PREFIX + "-forged", *("LABEL %s=%s" % kv for kv in compose(PROJECT, "db").items()))

# Some before the daemon, some after it.
web1 = docker.run(PREFIX + "-any1", labels=compose(PROJECT, "web"), network=net)
plain = docker.run(PREFIX + "-plain", network=net)
hash_only_image = docker.run(PREFIX + "-fromforged", image=forged)
d = lab.daemon(only="*" + PREFIX + "*")
api = d.api
web2 = docker.run(PREFIX + "-any2", labels=compose(PROJECT, "web"), network=net)
db = docker.run(PREFIX + "-dbc", labels=compose(PROJECT, "db"), image=baked, network=net)
claim = docker.run(PREFIX + "-frombaked", image=baked)
bare = docker.run(PREFIX + "-nohash", labels={"com.docker.compose.project": PROJECT,
                                             "com.docker.compose.service": "db"})
once = docker.run(PREFIX + "-once", labels=compose(PROJECT, "web", "True"))
kube = docker.run(PREFIX + "-kube", labels={"io.kubernetes.pod.namespace": PROJECT, "io.kubernetes.pod.name": "x"})
shared = docker.run(PREFIX + "-shared", network="container:" + plain.name)


def ids(name):
    w = api.workload(name)
    return sorted(i["id"] for i in w["instances"] if i["attached"]) if w else []


def are(name, *places):
    want = sorted(p.id[:12] for p in places)
    wait(lambda: ids(name) == want, 6)
    return ids(name) == want


t.ok(are(PROJECT + "/web", web1, web2), "Compose's labels give project/service; two replicas are one workload",
     api.workloads())
t.ok(are(PROJECT + "/db", db), "a service from an image with baked-in labels is that service, by its own labels; "
     "nothing else is", api.workload(PROJECT + "/db"))
t.ok(are(PREFIX + "-frombaked", claim), "a container of that image is not: it has its own name", list(api.workloads()))
t.ok(are(PREFIX + "-fromforged", hash_only_image), "nor where the image claims the witness too", list(api.workloads()))
t.ok(are(PREFIX + "-nohash", bare), "nor one whose labels lack the witness", list(api.workloads()))
t.ok(are(PROJECT + "/web/run", once), "a one-off run is a workload of its own", list(api.workloads()))
t.ok(are(PREFIX + "-kube", kube), "Kubernetes labels on a Docker container are nothing", list(api.workloads()))
t.ok(len(api.workload(PREFIX + "-plain")["instances"]) == 1 and not api.workload(PREFIX + "-shared"),
     "two containers in one namespace are one instance", list(api.workloads()))
i = api.workload(PROJECT + "/web")["instances"]
t.ok({x["start"]["kind"] for x in i} == {"existing", "late"} and all(x["runtime"] == "docker" for x in i) and
     all(x["addresses"] for x in i), "instances say how they started", i)
t.note("attached %s ms after it was found" % [x["start"]["leadMs"] for x in i if x["start"]["leadMs"]])

# Replicas: one edge. A new one under enforcement gets the rules; others' sets get its address.
db.serve(5432)
web1.serve(80)
web1.serve(81)
web2.serve(80)
t.ok([web1.tcp(db.v4, 5432), web2.tcp(db.v4, 5432), web2.tcp(db.v4, 5432), plain.tcp(web1.v4, 80),
      plain.tcp(web2.v4, 80)] == ["open"] * 5, "they talk")
W, D, P = ("workload:" + n for n in (PROJECT + "/web", PROJECT + "/db", PREFIX + "-plain"))
e = wait(lambda: api.edge(from_=W, to=D, port=5432, connections=3), 3)
f = wait(lambda: api.edge(from_=P, to=W, port=80, connections=2), 3)
t.ok(e and f and len(api.edges(port=5432)) == 1, "replicas share an edge, as client and as server",
     api.edges(port=5432), api.edges(port=80))
api.approve(e["id"], f["id"])
api.mode("enforce", PROJECT + "/web", PROJECT + "/db", PREFIX + "-plain")
t.ok(web1.tcp(db.v4, 5432) == "open" and plain.tcp(web1.v4, 81) != "open", "enforced")
began = time.monotonic()
web3 = docker.run(PREFIX + "-any3", labels=compose(PROJECT, "web"), network=net)
web3.serve(80)
web3.serve(81)
t.ok(wait(lambda: web3.tcp(db.v4, 5432, 0.1) == "open", 4), "a new replica is let in by the others' rules")
t.ok(wait(lambda: plain.tcp(web3.v4, 80, 0.1) == "open", 4), "and reached by those who may")
t.ok(are(PROJECT + "/web", web1, web2, web3) and wait(lambda: not api.behind(), 3) is not None and
     plain.tcp(web3.v4, 81) != "open" and web3.tcp(plain.v4, 81) != "open" and
     d.table() in run("nsenter", "-t", str(web3.pid), "-n", "nft", "list", "tables").out,
     "and has the rules of its workload")
run("docker", "rm", "-f", web3.id)
web3.close()
wait(lambda: ids(PROJECT + "/web") == sorted([web1.id[:12], web2.id[:12]]), 5)
api.settle()
text = run("nsenter", "-t", str(db.pid), "-n", "nft", "list", "table", "inet", d.table()).out
t.ok(web3.v4 not in text and web1.v4 in text, "its address leaves the others' sets when it is gone", text)

# A restart of a container is the same workload, in a new namespace.
before = api.workload(PROJECT + "/db")["instances"][0]["netns"]
run("docker", "restart", "-t", "0", db.id)
wait(lambda: ids(PROJECT + "/db") == [db.id[:12]] and
     api.workload(PROJECT + "/db")["instances"][0]["netns"] != before, 6)
w = api.workload(PROJECT + "/db")
t.ok(len(w["instances"]) == 1 and w["mode"] == "enforce" and wait(lambda: not api.behind(), 3) is not None,
     "a restarted container is the same workload, its mode kept", w)
api.mode("observe", all=True)

# Hostile names. A file name holds anything but "/" and NUL; labels hold that too.
hostile = {
    "esc": b"\x1b[31mred\x1b[0m\x1b]0;title\x07", "newline": b"a\nb: c", "long": b"L" * (254 - len(PREFIX)),
    "bad utf-8": b"\xff\xfe\xc0\x80", "quote": b"\"'`$(id);{}[]", "bidi": "‮evil".encode(),
    "percent": b"%s%n%2F", "dots": b"..", "star": b"*"}
lab.need_bridge()
made = {}
for what, tail in hostile.items():
    name = PREFIX.encode() + b"-" + tail
    path = b"/run/netns/" + name
    pid = os.fork()
    if pid == 0:
        try:
            import ctypes
            libc = ctypes.CDLL(None)
            open(path, "x").close()
            ok = libc.unshare(0x40000000) == 0 and libc.mount(b"/proc/thread-self/ns/net", path, b"none", 4096, None) == 0
            os._exit(0 if ok else 1)
        except BaseException:
            os._exit(2)
    if os.waitpid(pid, 0)[1] == 0:
        made[what] = name

    def remove(path=path):
        run("umount", path, check=False)
        try:
            os.unlink(path)
        except OSError:
            pass
    lab.later(remove)
t.ok(set(made) == set(hostile), "namespaces with hostile names", sorted(made))
labelled = {}
for what, label in (("esc", "\x1b[2Jx"), ("newline", "a\nb"), ("dots", "../x"), ("slash", "a/b/c"), ("long", "Z" * 255)):
    labelled[what] = docker.run(PREFIX + "-h" + what, labels=compose(PROJECT + label, label), network=net)


def others():
    return [n for n in api.workloads() if n.startswith(PREFIX)]


wait(lambda: len(others()) >= 8 + len(made) + 5, 5)
t.ok(len(others()) >= 8 + len(made) + 5, "every one of them is a workload of its own", sorted(others()))
talking = list(labelled.values())
for k, place in enumerate(talking):
    place.serve(7000 + k)
t.ok(wait(lambda: all(talking[k - 1].tcp(p.v4, 7000 + k) == "open" for k, p in enumerate(talking)), 10) and
     wait(lambda: all(api.edge(port=7000 + k) for k in range(len(talking))), 10),
     "and those that talk are both ends of edges", api.edges())
answers = {}
for url in ("/v1/status", "/v1/edges", "/v1/graph", "/v1/policy", "/v1/policy?format=yaml", "/v1/flows", "/v1/denials",
            "/v1/doctor", "/v1/top", "/v1/alerts"):
    status, raw = api.raw("GET", url)
    answers[url] = (status, raw)
bad = []
for url, (status, raw) in answers.items():
    try:
        text = raw.decode("utf-8")
        if "yaml" not in url:
            json.loads(text)
    except ValueError as e:
        bad.append((url, str(e)))
        continue
    if status != 200 or any(ord(ch) < 32 and ch != "\n" or ord(ch) in (0x7f, 0x202e, 0x9b) for ch in text):
        bad.append((url, status, [hex(ord(ch)) for ch in text if ord(ch) < 32 and ch != "\n"][:5]))
t.ok(not bad, "every answer is UTF-8, valid, and without a control character", bad)
names = list(api.workloads())
cli = [BUILD + "/cli/nanoseg", "--socket", d.sock]
bad = []
for cmd in (["status"], ["graph"], ["edges"], ["flows"], ["denials"], ["doctor"], ["policy", "show"],
            ["status", "-o", "yaml"], ["graph", "-o", "json"], ["status", "-o", "json"], ["status", "--why"],
            ["status", "--why", "-o", "wide"], ["top"], ["top", "-o", "wide"], ["top", "-n", "1", "-o", "yaml"], ["alerts"],
            ["edges", "-o", "wide"], ["simulate"], ["simulate", "-o", "wide"], ["simulate", "-o", "json"]):
    r = run(*cli, *cmd, check=False)
    raw = [hex(ord(ch)) for ch in r.out + r.err if ord(ch) < 32 and ch != "\n" or ord(ch) in (0x7f, 0x202e, 0xfffd)]
    lost = cmd[0] in ("status", "top", "simulate") and PREFIX not in r.out
    if r.returncode != (3 if cmd[0] == "simulate" else 0) or raw or lost:
        bad.append((cmd, r.returncode, raw[:5], r.err))
t.ok(not bad, "and so is what the command line shows", bad)
t.ok(not [n for n in names if "../" in n or n.count("/") > 2], "a label with ../ or / makes no path", names)
status, shown = api.raw("GET", "/v1/policy?format=yaml")
status, r = api.call("POST", "/v1/policy/validate", shown)
t.ok(status == 200 and r["workloads"] >= len(names), "the policy with all these names can be read again", status, r)
r = run(*cli, "simulate", "-o", "json", "-f", "-", check=False, stdin=None, input=shown)
would = json.loads(r.out or "{}")
ends = {e[k] for e in would.get("broken", []) for k in ("from", "to")}
t.ok(r.returncode == 3 and len([e for e in would["broken"] if 7000 <= e.get("port", 0) < 7000 + len(talking)]) == 5 and
     {x for x in ends if x.startswith("workload:")} <= {"workload:" + n for n in names},
     "and what it would break is told by those names", r.returncode, would.get("broken"), r.err)
log = d.text(0)
t.ok(not [ch for ch in log if ord(ch) < 32 and ch not in "\n\t" or ord(ch) == 0x202e],
     "and the log shows none of it raw")
target = next((n for n in names if n.startswith(PREFIX) and "evil" in n), None)
status, r = api.call("POST", "/v1/mode", {"workloads": [target], "mode": "audit"})
t.ok(status == 200, "a workload can be named as it is shown", target, status, r)
api.mode("observe", all=True)

# A container called as a keyword is.
d.stop()
d.only = "host"
other = lab.daemon(only="host")
api = other.api
called = docker.run("host", network=net) if run("docker", "container", "inspect", "host", check=False).returncode else None
if called is None:
    t.skip("a container named host is workload:host", "somebody has a container of that name")
else:
    other.watched("host")
    called.serve(8080)
    real = lab.host_place()
    t.ok(plain.tcp(called.v4, 8080) == "open" and real.tcp(called.v4, 8080) == "open", "it is reached")
    e = wait(lambda: api.edge(to="workload:host", port=8080, from_="host"), 3)
    t.ok(e and "via-host" in e["flags"], "a container named host is workload:host, and the host is host", api.edges())
    policy = api.get("/v1/policy")
    api.approve(e["id"])
    api.mode("enforce", "host")
    t.ok(real.tcp(called.v4, 8080) == "open" and plain.tcp(called.v4, 8080) != "open",
         "and rules tell the two apart", api.edges())
    policy = api.get("/v1/policy")
    mine = [x for x in policy["edges"] if x["state"] == "approved"]
    t.ok(mine and mine[0]["from"] == {"host": True} and mine[0]["to"] == "host", "so does the policy file", mine)
    x = api.get("/v1/explain", src="host", dst="workload:host", port=8080)
    t.ok(x["from"] == "host" and x["to"] == "workload:host" and x["verdict"] == "allow", "and explain", x)
t.done()
