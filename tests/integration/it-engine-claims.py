#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Engines that lie or are slow, and a whole nanosegd: whatever they say, a container is never anybody
else. On a machine of its own, with engines that are played, and containers that are processes in
cgroups and namespaces of the form that engines make."""
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from alonelib import alone

alone(os.path.abspath(__file__))
import nslab
from enginelib import Engine, cid, event, ok
from nslab import BUILD, Lab, run, wait

t = nslab.Tap()
lab = Lab(real_host=True)
os.makedirs("/run/docker/netns")
CGROUP = next(p for p in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if os.path.isdir(p)) + "/" + os.environ["ALONE_ID"]
pids = {}


class Liar(Engine):
    """Answers about each container what `wrong` has for it."""

    def __init__(self, *args):
        self.wrong = {}
        super().__init__(*args)

    def reply(self, conn, kind, path):
        if kind == "inspect" and path.split("/")[2] in self.wrong:
            conn.sendall(ok(self.wrong[path.split("/")[2]]))
        else:
            super().reply(conn, kind, path)


def compose(service):
    return {"com.docker.compose.project": "shop", "com.docker.compose.service": service,
            "com.docker.compose.config-hash": "1"}


def start(n):
    folder = CGROUP + "/docker/" + cid(n)
    os.makedirs(folder, exist_ok=True)
    p = subprocess.Popen(["sh", "-c", "echo $$ > %s/cgroup.procs && exec unshare -n sleep 600" % folder],
                         stdin=subprocess.DEVNULL)
    lab.later(lambda: (p.kill(), p.wait()))
    mine = os.readlink("/proc/self/ns/net")
    wait(lambda: os.readlink("/proc/%d/ns/net" % p.pid) != mine, 5)
    pids[n] = p.pid
    path = "/run/docker/netns/box%d" % n
    open(path, "w").close()
    run("mount", "--bind", "/proc/%d/ns/net" % p.pid, path)
    lab.later(run, "umount", "-l", path, check=False)


docker, podman = Liar("/run", "docker.sock"), Liar("/run", "podman.sock")
docker.image_labels = podman.image_labels = {}
docker.add(1, Names=["/web-1"], Labels=compose("web"))
docker.add(2, Names=["/db-1"], Labels=compose("db"))
start(1)
start(2)
d = lab.daemon(start=False, only="")
plain = d.argv
d.argv = lambda *more: plain("--podman-socket", podman.path, *more)
# Each is who the other one is.
swapped = '{"State":{"Pid":%d},"NetworkSettings":{"SandboxKey":"/run/docker/netns/box%d"}}'
docker.wrong = {cid(1): (swapped % (pids[2], 2)).encode(), cid(2): (swapped % (pids[1], 1)).encode()}
d.start()
api = d.api
foreign, ended = [], threading.Event()
# An instance shows the first digits of its id, which all have in common here.
names = {os.stat("/proc/%d/ns/net" % p).st_ino: n for n, p in pids.items()}
allowed = {1: "shop/web", 2: "shop/db"}


def who():
    """Number of the container -> the workload that its namespace belongs to."""
    return {names[i["netns"]]: w["name"] for w in api.get("/v1/status")["workloads"] for i in w["instances"]
            if i["netns"] in names}


def watch():
    while not ended.wait(0.05):
        try:
            for n, name in who().items():
                if name != allowed[n] and "/" in name:
                    foreign.append((n, name))
        except (OSError, RuntimeError, ValueError):
            pass


def engine(name):
    return next((e for e in api.get("/v1/status")["engines"] if e["name"] == name), {})


def is_enforced(n):
    return "policy drop" in run("nsenter", "-t", str(pids[n]), "-n", "nft", "-s", "list", "table", "inet", d.table(),
                                check=False).out


watcher = threading.Thread(target=watch)
watcher.start()
t.ok(wait(lambda: who() == {1: "shop/web", 2: "shop/db"}, 10),
     "processes and namespaces that an engine takes for another's change nothing", who(), d.text()[-800:])
api.mode("enforce", "shop/web")
t.ok(wait(lambda: is_enforced(1), 5) and not is_enforced(2), "the rules are where the container is")

# Another engine claims one, and another name for it.
podman.add(1, Names=["/mine"], Labels=compose("db"))
podman.send(event("container", "start", 1))
good = wait(lambda: "another engine" in engine("podman").get("why", ""), 10)
cli = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "doctor", check=False).out
t.ok(good and who() == {1: "shop/web", 2: "shop/db"}, "a second engine's claim is said, and nothing more",
     engine("podman"), who(), cli[-400:])
podman.send(event("container", "die", 1))
time.sleep(0.3)
t.ok(who()[1] == "shop/web" and is_enforced(1), "nor does its end of it end anything", who())

# A new one while its engine does not answer any question; then it does.
docker.special = {k: lambda conn: time.sleep(30) for k in ("list", "one", "inspect", "image")}
allowed[3] = "shop/web"
docker.add(3, Names=["/web-2"], Labels=compose("web"))
start(3)
names[os.stat("/proc/%d/ns/net" % pids[3]).st_ino] = 3
docker.send(event("container", "start", 3))
t.ok(wait(lambda: who().get(3) == cid(3)[:12], 10), "one that its engine says nothing about is shown by its id", who())
t.ok(wait(lambda: "too long" in engine("docker").get("why", ""), 15), "and status says what the engine does",
     engine("docker"))
docker.special = {}
t.ok(wait(lambda: who().get(3) == "shop/web" and is_enforced(3), 45),
     "once it answers, the container has its name and its rules", who(), engine("docker"))

# An old death told again, of one that lives.
docker.send(event("container", "die", 1) + event("container", "destroy", 1))
time.sleep(0.3)
t.ok(is_enforced(1) and who()[1] == "shop/web", "an old end that is told again opens nothing", who())
docker.send(event("container", "start", 1))

# Its socket is gone, what happens meanwhile is not told, and it comes back.
docker.listener.close()
os.unlink(docker.path)
for s in docker.streams:
    s.shutdown(2)
docker.streams.clear()
t.ok(wait(lambda: engine("docker").get("reachable") is False, 10), "its socket is gone: said", engine("docker"))
del docker.containers[cid(2)]
os.kill(pids[2], 9)
docker.add(4, Names=["/db-2"], Labels=compose("db"))
allowed[4] = "shop/db"
start(4)
names[os.stat("/proc/%d/ns/net" % pids[4]).st_ino] = 4
t.ok(is_enforced(1) and is_enforced(3), "rules stand meanwhile")
docker.listen()
t.ok(wait(lambda: engine("docker").get("reachable") and who().get(4) == "shop/db", 20),
     "what started meanwhile is known when it is back", who(), engine("docker"))
ended.set()
watcher.join()
t.ok(not foreign, "nobody was anybody else, at any moment", foreign[:10])
errors = [x for x in d.text().splitlines() if x.startswith("error")]
t.ok(not errors, "and no error asks for a person", errors[:5])
t.done()
