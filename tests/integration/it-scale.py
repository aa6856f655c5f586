#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Many namespaces at once, many one after the other, many rules: nothing is missed, nothing grows.

On a machine of its own, with a nanosegd without --only. With --long the numbers are those that the
documentation promises; without, it is a shorter run.
"""
import ctypes
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from alonelib import Dockerd, alone, have_docker

alone(os.path.abspath(__file__))
import nslab
from nslab import LIBC, Docker, Lab, Place, run, wait

LONG = "--long" in sys.argv
MANY = 1000 if LONG else 200
RULED, EDGES = 200, 10000
CHURN = 10000 if LONG else 500
NAMES = 12000 if LONG else 2000
PARALLEL = 50
DOCKER_CHURN = 300
REST_S = 60 if LONG else 5
MAX_PSS_MB = 40.0
NAME_KB = 1.2  # that a name is known, with nobody of that name
NAMES_MB = 2.5  # and that there are many of them
GROWTH_MB = 1.5
GIVE_BACK_S = 6  # until freed memory is the machine's again

LIBC.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
t = nslab.Tap()
lab = Lab(real_host=True)
os.makedirs("/run/netns")


# Namespaces: made and removed in this process, which is a hundred times cheaper than `ip`.

def ns_add(name):
    path = b"/run/netns/" + name.encode()
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    if LIBC.unshare(nslab.CLONE_NEWNET) or LIBC.mount(b"/proc/thread-self/ns/net", path, b"none", 4096, None):
        raise OSError(ctypes.get_errno(), "namespace")


def ns_del(name):
    path = b"/run/netns/" + name.encode()
    if LIBC.umount2(path, 2):
        raise OSError(ctypes.get_errno(), "umount")
    os.unlink(path)


def addr(k):
    return "10.%d.%d.%d" % (100 + (k >> 16), k >> 8 & 255, k & 255)


def in_children(n, fn, items):
    """fn for every item, in n processes; their namespaces of networks are their own."""
    pids = []
    for k in range(n):
        pid = os.fork()
        if pid == 0:
            try:
                for x in items[k::n]:
                    fn(x)
                os._exit(0)
            except BaseException as e:
                print("# %r" % e, flush=True)
                os._exit(1)
        pids.append(pid)
    return all(os.waitpid(p, 0)[1] == 0 for p in pids)


def make(k_name):
    ns_add(k_name[1])
    # Its address, in the namespace that this process is in now.
    run("ip", "-batch", "-", stdin=None, input=(
        "link set lo up\nlink add eth0 type bridge\naddr add %s/8 dev eth0\nlink set eth0 up\n" %
        addr(k_name[0])).encode())


def name_of(k):
    return "%s-%04d" % (nslab.PREFIX, k)


# What the daemon takes.

def pss(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        rows = dict(line.split(":", 1) for line in f.readlines()[1:])
    return int(rows["Pss"].split()[0]) / 1024, int(rows["Pss_Anon"].split()[0]) / 1024


def fd_counts():
    return {r: len(os.listdir("/proc/%d/fd" % p)) for r, p in d.all_pids().items()}


def memory(what):
    """MB of all roles, and the same of what no file backs."""
    each = {r: pss(p) for r, p in d.all_pids().items()}
    total, anon = (sum(v[i] for v in each.values()) for i in (0, 1))
    t.note("%s: %.2f MB PSS of all roles, %.2f anonymous (%s); fds %s" % (
        what, total, anon, ", ".join("%s %.2f" % (r, v[0]) for r, v in sorted(each.items())),
        " ".join("%s %d" % x for x in sorted(fd_counts().items()))))
    return total, anon


def cpu(pid):
    with open("/proc/%d/schedstat" % pid) as f:
        ns = int(f.read().split()[0])
    return ns, int(nslab.proc_status(pid)["voluntary_ctxt_switches"])


def rest(what):
    pids = d.all_pids()
    before = {r: cpu(p) for r, p in pids.items()}
    time.sleep(REST_S)
    after = {r: cpu(p) for r, p in pids.items()}
    use = {r: ((after[r][0] - before[r][0]) / 1e7 / REST_S, (after[r][1] - before[r][1]) / REST_S) for r in pids}
    t.note("%s, at rest: %.3f%% of a core, %.1f wake-ups a second (%s)" % (
        what, sum(u[0] for u in use.values()), sum(u[1] for u in use.values()),
        ", ".join("%s %.3f%% %.1f" % ((r,) + u) for r, u in sorted(use.items()))))
    return sum(u[0] for u in use.values())


def dead_namespaces():
    """Network namespaces that the kernel has, living or not."""
    with open("/proc/slabinfo") as f:
        return next((int(line.split()[1]) for line in f if line.startswith("net_namespace ")), None)


def attached():
    return {w["name"]: w for w in api.get("/v1/status")["workloads"]
            if any(i["attached"] and i["addresses"] for i in w["instances"])}


def have(names, seconds):
    """Seconds until all of them are observed, with an address; None: they were not."""
    began = time.monotonic()
    missing = set(names)

    def look():
        missing.difference_update(attached())
        return not missing
    if not wait(look, seconds, 0.1):
        t.note("missing: %d, as %s" % (len(missing), sorted(missing)[:5]))
        return None
    return time.monotonic() - began


def behind(names):
    s = api.get("/v1/status")
    mine = set(names)
    return [w["name"] for w in s["workloads"] if w["name"] in mine and w["appliedRevision"] != s["revision"]]


def settled(base):
    """Every role's number of fds is what it was."""
    return wait(lambda: fd_counts() == base, 30, 0.2)


# ---- many at once
names = [name_of(k) for k in range(MANY)]
base_ns = dead_namespaces()
in_children(2, make, list(enumerate(names))[:MANY // 2])
d = lab.daemon(config="conntrackAlert: 99\n", only="")
api = d.api
took = have(names[:MANY // 2], 60)
t.ok(took is not None, "%d namespaces that were there before: all observed" % (MANY // 2))
t.note("%d attached %.2f s after the API answered" % (MANY // 2, took or -1))
began = time.monotonic()
in_children(2, make, list(enumerate(names))[MANY // 2:])
made = time.monotonic() - began
took = have(names, 60)
t.ok(took is not None, "%d in all, the other half made at once while it runs: all observed" % MANY)
t.note("the other half made in %.2f s, all attached %.2f s later" % (made, took or -1))
wait(lambda: not behind(names), 60, 0.1)
memory("%d namespaces" % MANY)
busy = rest("%d namespaces" % MANY)
t.ok(busy < 20, "and are no load at rest", busy)
many_fds = fd_counts()
began = time.monotonic()
in_children(2, ns_del, names[RULED:])
t.ok(wait(lambda: len(attached()) <= RULED + 1, 30, 0.1), "they go when they go")
t.note("%d gone after %.2f s" % (MANY - RULED, time.monotonic() - began))

# ---- many rules
names = names[:RULED]
doc = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "metadata": {"name": "scale"},
       "workloads": [{"name": n, "mode": "enforce"} for n in names],
       "edges": [{"from": names[k % RULED], "to": names[(k % RULED + k // RULED + 1) % RULED], "proto": "tcp",
                  "port": 1000 + k // RULED, "state": "approved"} for k in range(EDGES)]}

began = time.monotonic()
status, answer = api.call("POST", "/v1/policy/apply", doc)
accepted = time.monotonic() - began
t.ok(status == 200 and wait(lambda: not behind(names), 60, 0.1),
     "%d edges of %d workloads, all enforced, in force" % (EDGES, RULED), status, answer, behind(names)[:5])
t.note("accepted in %.2f s, in force everywhere after %.2f s" % (accepted, time.monotonic() - began))
text = run("nsenter", "--net=/run/netns/" + names[0], "nft", "-s", "list", "set", "inet", d.table(), "allow_out4").out
t.ok(text.count(" . tcp . ") == EDGES // RULED and addr(1) + " . tcp . 1000 " in text, "a namespace has the rules of its edges", text[:400])
time.sleep(GIVE_BACK_S)
ruled_mb, ruled_anon = memory("%d namespaces, %d edges, enforced" % (RULED, EDGES))
t.ok(ruled_mb <= MAX_PSS_MB, "all roles together take at most %d MB" % MAX_PSS_MB)
rest("%d namespaces, %d edges, enforced" % (RULED, EDGES))
base_fds = fd_counts()

# ---- one after the other
churn_names = ["c%d" % k for k in range(40)]


def churn(n, fresh=None):
    """n namespaces made and removed, two at a time, each there for a moment."""
    def one(k):
        name = fresh % k if fresh else churn_names[k % 2 * 20 + k // 2 % 20]
        make((1000 + k % 60000, name)) if k % 20 < 2 else ns_add(name)
        time.sleep(0.002)
        ns_del(name)
    return in_children(2, one, list(range(n)))


def bare_edge():
    """Seconds until a connection from 10.250.0.1 is an edge: that is in a namespace without a name."""
    other = subprocess.Popen(["unshare", "--net", "sleep", "100"], stdin=subprocess.DEVNULL)
    mine = os.readlink("/proc/self/ns/net")
    wait(lambda: os.readlink("/proc/%d/ns/net" % other.pid) != mine, 2)
    run("ip", "-n", "observed", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", str(other.pid))
    server, client = Place("/run/netns/observed"), Place("/proc/%d/ns/net" % other.pid)
    for place, a in ((server, "10.250.0.2/24"), (client, "10.250.0.1/24")):
        with nslab.Inside(place.fd):
            run("ip", "addr", "add", a, "dev", "eth1")
            run("ip", "link", "set", "eth1", "up")
    server.serve(7000, "0.0.0.0")
    began = time.monotonic()
    opened = wait(lambda: client.tcp("10.250.0.2", 7000) == "open", 5)
    found = opened and wait(lambda: api.edges(port=7000, from_="addr:10.250.0.1"), 20, 0.1)
    took = time.monotonic() - began
    server.close()
    client.close()
    other.kill()
    other.wait()
    return took if found else None


churn(CHURN // 10)
settled(base_fds)
time.sleep(GIVE_BACK_S)
_, before = memory("after %d namespaces come and gone" % (CHURN // 10))
began = time.monotonic()
done = churn(CHURN)
took = time.monotonic() - began
back = settled(base_fds)
t.ok(done and back, "%d namespaces come and gone: no fd is left" % CHURN, base_fds, fd_counts())
t.note("%.1f s, %.0f a second; fds back %.1f s later" % (took, CHURN / took, time.monotonic() - began - took))
t.ok(wait(lambda: memory("after %d namespaces come and gone" % (CHURN + CHURN // 10))[1] - before <= GROWTH_MB, 20, 3),
     "memory does not grow", before)
left = wait(lambda: (dead_namespaces() or 0) - (base_ns or 0) <= RULED + 60, 60, 0.5)
t.note("network namespaces in the kernel: %s before, %s now, with %d alive" % (base_ns, dead_namespaces(), RULED))
t.ok(left, "and none is kept alive", base_ns, dead_namespaces())
t.ok(have(names, 1) is not None and not behind(names), "the others have their rules all the while", behind(names)[:5])

# An address of nobody is learned while namespaces come and go.
make((60001, "observed"))
have(["observed"], 10)
churning = threading.Thread(target=churn, args=(CHURN // 2,))
churning.start()
took = bare_edge()
churning.join()
t.ok(took is not None, "a connection from an address of nobody is learned while namespaces come and go")
t.note("after %.1f s" % (took or -1))
ns_del("observed")

# Names that never come again.
done = churn(NAMES, "x%d")
make((60002, "last"))
t.ok(done and have(["last"], 20) is not None, "after %d names the next one is still known" % NAMES)
ns_del("last")
settled(base_fds)
# By its own time: the machine may have other things to do.
before = cpu(d.all_pids()["controller"])[0]
began = time.monotonic()
known = len(api.get("/v1/status")["workloads"])
took, used = time.monotonic() - began, (cpu(d.all_pids()["controller"])[0] - before) / 1e9
t.note("status of %d workloads: %.2f s, of which the controller worked %.2f s" % (known, took, used))
t.ok(used < 1, "status of all names that are known takes less than a second of work", used, known)
room = ruled_anon + NAMES_MB + (known - RULED) * NAME_KB / 1024
small = wait(lambda: memory("after %d names" % NAMES)[1] <= room, 20, 5)
t.ok(small, "all roles together take at most %.1f kB more for each" % NAME_KB, room)
kept = [w["name"] for w in api.get("/v1/status")["workloads"] if w["name"] in names and w["mode"] == "enforce"]
t.ok(wait(lambda: not behind(names), 20) and len(kept) == RULED, "and the enforced ones are there", len(kept))

# ---- containers
if not LONG:
    t.done()
if not have_docker():
    t.skip("containers", "needs dockerd")
    t.done()
dockerd = Dockerd(lab)
if not dockerd.start(wait):
    t.skip("containers", "a Docker daemon of its own does not start here")
    t.done()
docker = Docker(lab)
IDS = {}


def start(k, prefix="p"):
    name = "%s-%s%d" % (nslab.PREFIX, prefix, k)
    caps = ("NET_ADMIN",) if k % 10 == 9 else ()
    try:
        IDS[name] = dockerd.run(name, docker.image, caps=caps,
                                labels=nslab.compose("shop", "web") if k % 2 else nslab.compose("shop", "db"))
    except (OSError, RuntimeError) as e:
        t.note("container %s: %s" % (name, e))


def instances(workload):
    w = api.workload(workload)
    return w["instances"] if w else []


def in_threads(n, fn, items):
    items = list(items)
    threads = [threading.Thread(target=lambda k=k: [fn(x) for x in items[k::n]]) for k in range(n)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()


wait(lambda: any(e["reachable"] for e in api.get("/v1/status")["engines"]), 10)
one = dockerd.run(nslab.PREFIX + "-first", docker.image, labels=nslab.compose("shop", "web"))
two = dockerd.run(nslab.PREFIX + "-second", docker.image, labels=nslab.compose("shop", "db"))
t.ok(wait(lambda: instances("shop/web") and instances("shop/db"), 10), "two containers are identified")
api.post("/v1/mode", {"workloads": ["shop/web", "shop/db"], "mode": "enforce", "reason": "tested"})
began = time.monotonic()
in_threads(PARALLEL, start, range(PARALLEL))
started = time.monotonic() - began


def known():
    return len(instances("shop/web")) + len(instances("shop/db")) == PARALLEL + 2


def ruled():
    s = api.get("/v1/status")
    return all(i["appliedRevision"] == s["revision"] and i["attached"]
               for w in ("shop/web", "shop/db") for i in instances(w))


good = wait(known, 60, 0.1)
identified = time.monotonic() - began
good = good and wait(ruled, 60, 0.1)
t.ok(good, "%d containers started at once: all identified, all with their rules" % PARALLEL,
     len(instances("shop/web")), len(instances("shop/db")), len(IDS),
     [i for w in ("shop/web", "shop/db") for i in instances(w)][:3], api.get("/v1/status")["revision"])
t.note("started in %.1f s, identified %.1f s and ruled %.1f s after the first" % (
    started, identified, time.monotonic() - began))
wrong, every = [], {w: instances(w) for w in ("shop/web", "shop/db")}
for k in range(PARALLEL):
    name = "%s-p%d" % (nslab.PREFIX, k)
    want = "shop/web" if k % 2 else "shop/db"
    i = [i for i in every[want] if IDS.get(name, "?").startswith(i["id"])]
    if len(i) != 1:
        wrong.append((name, want, i))
t.ok(not wrong, "each once, under its own workload", wrong)
grades = {w: api.workload(w)["enforceable"] for w in ("shop/web", "shop/db")}
t.ok(grades == {"shop/web": "partial", "shop/db": "full"} or grades["shop/web"] != "full",
     "each with its grade", grades, api.workload("shop/web").get("why"))
lead = sorted(i["start"].get("closedMs") or 0 for w in every for i in every[w]
              if i["start"]["kind"] == "closed")
t.note("held before they began: %d; closed for %s ms at the median, %s at most" % (
    len(lead), lead[len(lead) // 2] if lead else "-", lead[-1] if lead else "-"))
t.note("opened by time, not by their rules: %d" % d.text().count("not identified in time"))
cid = IDS.get("%s-p1" % nslab.PREFIX)
pid = dockerd.ask("GET", "/containers/%s/json" % cid)[1]["State"]["Pid"]
text = run("nsenter", "-t", str(pid), "-n", "nft", "-s", "list", "table", "inet", d.table()).out
t.ok("policy drop" in text, "and the rules are in the namespace", text[:300])
in_threads(8, lambda x: dockerd.remove(x), list(IDS.values()))
IDS.clear()
t.ok(wait(lambda: len(instances("shop/web")) + len(instances("shop/db")) == 2, 20, 0.1), "and gone when removed")


def start_and_end(k):
    start(k, "q")
    cid = IDS.pop("%s-q%d" % (nslab.PREFIX, k), None)
    if cid:
        dockerd.remove(cid)


in_threads(4, start_and_end, range(DOCKER_CHURN // 10))
wait(lambda: len(instances("shop/web")) + len(instances("shop/db")) == 2, 20, 0.1)
time.sleep(GIVE_BACK_S)
docker_fds, docker_ns = fd_counts(), dead_namespaces()
_, before = memory("after %d containers" % (DOCKER_CHURN // 10))
began = time.monotonic()
in_threads(4, start_and_end, range(DOCKER_CHURN))
took = time.monotonic() - began
quiet = wait(lambda: len(instances("shop/web")) + len(instances("shop/db")) == 2, 90, 0.2)
back = settled(docker_fds)
t.ok(quiet and back, "%d containers come and gone: no fd is left" % DOCKER_CHURN, docker_fds, fd_counts())
t.ok(wait(lambda: memory("after %d containers" % (DOCKER_CHURN + DOCKER_CHURN // 10))[1] - before <= GROWTH_MB, 20, 3),
     "memory does not grow", before)
t.note("%.1f s" % took)
t.ok(wait(lambda: (dead_namespaces() or 0) - (docker_ns or 0) <= 20, 60, 0.5), "and no namespace is kept alive",
     docker_ns, dead_namespaces())
errors = [line for line in d.text().splitlines() if " error: " in line or " error " in line]
t.ok(not errors, "nothing in the log asks for a person", errors[:10])
t.done()
