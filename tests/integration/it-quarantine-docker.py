#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Quarantine of containers: of one by its id, of a workload with replicas that start into it, with the gate and
without; over the daemon's death and a boot of the machine. On a machine of its own, whose daemon has no --only."""
import os
import shutil
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import alonelib
import nslab
from nslab import BUILD, Docker, Lab, compose, run, wait

if not alonelib.have_docker():
    nslab.skip_all("needs dockerd")
alonelib.alone(__file__)

HOST, PORT = "172.17.0.1", 7001
FIRST = ["-v", BUILD + "/tests/integration/first:/first:ro"]
t = nslab.Tap()
lab = Lab(real_host=True)
gate = lab.dir + "/gate"
os.mkdir(gate)
for program in ("nanoseg-runc", "nanoseg-oci-hook"):
    shutil.copy(BUILD + "/daemon/" + program, gate)
RUNTIME = "--add-runtime=gated=" + gate + "/nanoseg-runc"
engine = alonelib.Dockerd(lab, RUNTIME)
if not engine.start(wait):
    nslab.skip_all("a Docker daemon of its own does not start here")
docker = Docker(lab)
seen = []


def listen():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("0.0.0.0", PORT))
    s = socket.socket()
    s.bind(("0.0.0.0", PORT))
    s.listen(64)

    def datagrams():
        while True:
            seen.append(u.recvfrom(64)[1][0])

    def connections():
        while True:
            c, who = s.accept()
            seen.append(who[0])
            c.close()

    for fn in (datagrams, connections):
        threading.Thread(target=fn, daemon=True).start()


def start(name, service, *args, program=("/first", "send", HOST, str(PORT), "600")):
    """A replica of the service whose program sends to the host with its first instructions: its id, or why it
    does not run."""
    labels = [x for k, v in compose("shop", service).items() for x in ("--label", "%s=%s" % (k, v))]
    r = run("docker", "run", "-d", "--name", name, *labels, *args, *FIRST, *docker.FOLDERS, docker.image, *program,
            check=False)
    if r.returncode != 0:
        return r.err
    docker.containers.append(r.out.strip())
    return r.out.strip()


def addr_of(cid):
    return run("docker", "inspect", "-f", "{{.NetworkSettings.IPAddress}}", cid).out.strip()


def leaks(cid, seconds=0.6):
    """What came from the container, or from whoever had its address before."""
    time.sleep(seconds)
    return seen.count(addr_of(cid))


def cli(*args):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=False)


def instance(cid):
    for w in d.api.get("/v1/status")["workloads"]:
        for i in w["instances"]:
            if i["id"] == cid[:12]:
                return i
    return {}


def held(cid):
    return bool(instance(cid).get("quarantined"))


class here:
    """Where a container is now."""

    def __init__(self, place):
        self.v4 = addr_of(place.id)


def reaches(place, port=80, answer=("open", "refused")):
    return lab.host_place().tcp(place.v4, port, 0.3) in answer


listen()
d = lab.daemon(only="", start=False)
with open(gate + "/gate.conf", "w") as f:
    f.write("# made\nruntime %s\nhook %s/nanoseg-oci-hook\nsocket %s\nmarker %s/enforced\ntimeout 5s\nfailOpen no\n" % (
        shutil.which("runc"), gate, d.sock, d.state))
d.start()
web, one, two = (docker.run(n, network="bridge", labels=compose("shop", s)) for n, s in (
    ("web", "web"), ("api1", "api"), ("api2", "api")))
for name, n in (("shop/web", 1), ("shop/api", 2)):
    d.watched(name, n)
sender = start("api3", "api")
t.ok(wait(lambda: leaks(sender, 0) > 0, 3) and reaches(one) and reaches(two), "without it everything passes")

# One container.
r = cli("quarantine", one.id[:11], "--reason", "too short")
t.ok(r.returncode == 2, "11 digits are no id", r.err)
r = cli("quarantine", one.id[:12], "--reason", "it beacons", "--allow-from", "shop/web")
t.ok(r.returncode == 0 and wait(lambda: not reaches(one), 3), "12 digits of its id hold a container", r.err)
w = d.api.workload("shop/api")
t.ok(reaches(two) and held(one.id) and not held(two.id) and not w["quarantine"], "and none of its replicas", w)
edges = len(d.api.edges())
t.ok(wait(lambda: web.tcp(one.v4, 80, 0.3) == "refused", 3) and one.tcp(web.v4, 80, 0.3) != "refused",
     "whom --allow-from names gets in, and it gets out to nobody")
cli("quarantine", sender[:12], "--reason", "sends")
wait(lambda: held(sender), 3)
before = leaks(sender)
run("docker", "restart", "-t", "0", sender)
wait(lambda: held(sender), 5)
t.ok(held(sender) and leaks(sender) == before, "started again it is held from its first packet", instance(sender))
t.ok(len(d.api.edges()) == edges, "none of it is learned", d.api.edges())
for cid in (one.id, sender):
    cli("release", cid[:12], "--reason", "done")
t.ok(wait(lambda: reaches(one), 3), "released it talks again")
run("docker", "rm", "-f", sender)
docker.containers.remove(sender)

# A workload: replicas that start into it.
r = cli("quarantine", "shop/api", "--reason", "the image is bad")
t.ok(r.returncode == 0 and wait(lambda: not reaches(one) and not reaches(two), 3), "a workload is held with its replicas", r.err)
seen.clear()
other = start("web2", "web")
t.ok(wait(lambda: leaks(other, 0) > 0, 5), "another workload starts as ever")
late = start("api4", "api")
wait(lambda: held(late), 5)
t.ok(held(late) and leaks(late) == 0 and instance(late)["start"]["kind"] == "closed",
     "a new replica is closed from its first packet", instance(late), seen)
gated = start("api5", "api", "--runtime", "gated")
t.ok(len(gated) == 64 and wait(lambda: held(gated), 5) and leaks(gated) == 0 and
     instance(gated)["start"]["kind"] == "gated", "with the gate it starts into its quarantine", instance(gated), gated)
d.kill_all()
known = {addr_of(x) for x in (one.id, two.id, web.id, other, late, gated)}
r = start("api6", "api", "--runtime", "gated")
time.sleep(0.6)
t.ok(len(r) != 64 and not set(seen) - known and leaks(gated) == 0, "and not at all while the daemon is away", r, seen)
t.ok(not reaches(one) and not reaches(two), "which releases nobody")
run("docker", "rm", "-f", "api6", check=False)
# The address that it was not given: what would have been seen.
bare = start("api7", "api")
t.ok(wait(lambda: set(seen) - known, 5), "without the gate it would have been heard", bare, seen)
run("docker", "rm", "-f", bare)
docker.containers.remove(bare)

# A boot: nothing is left but the disk. The engine starts first, and one container before the daemon.
for cid in (gated, late, one.id, two.id, web.id, other):
    run("docker", "stop", "-t", "0", cid)
engine.stop()
run("umount", "-l", "/run")
run("mount", "-t", "tmpfs", "tmpfs", "/run")
t.ok(engine.start(wait), "the engine is back")
seen.clear()
run("docker", "start", one.id, web.id)
d.start()
t.ok(wait(lambda: held(one.id) and not reaches(here(one)), 8), "after a boot a container that was there first is held",
     instance(one.id))
run("docker", "start", gated, late)
wait(lambda: held(late) and held(gated), 8)
t.ok(held(late) and held(gated) and leaks(late) == 0 and leaks(gated) == 0 and
     instance(gated)["start"]["kind"] == "gated", "and what starts then from its first packet", seen, instance(late))
run("docker", "start", other)
t.ok(wait(lambda: leaks(other, 0) > 0, 8), "others start as ever", instance(other))
q = [x for x in d.api.get("/v1/quarantine") if x["workload"] == "shop/api"]
t.ok(q and q[0]["reason"] == "the image is bad" and wait(
    lambda: sum(h["refused"] for h in d.api.get("/v1/quarantine")[0]["denials"]) > 0, 5),
     "its timeline goes on", q)
r = cli("release", "shop/api", "--reason", "rebuilt")
t.ok(r.returncode == 0 and wait(lambda: reaches(here(one)), 5), "released they talk again", r.err)
t.ok(cli("audit-log", "verify").returncode == 0, "all of it is on record")
t.done()
