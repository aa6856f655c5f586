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


def gate(n, pid=None):
    """What the start gate answers about it."""
    return api.call("POST", "/v1/gate", {"id": cid(n), "pid": pid or pids[n], "timeoutMs": 3000})


watcher = threading.Thread(target=watch)
watcher.start()
t.ok(wait(lambda: who() == {1: "shop/web", 2: "shop/db"}, 10),
     "processes and namespaces that an engine takes for another's change nothing", who(), d.text()[-800:])
api.mode("enforce", "shop/web")
t.ok(wait(lambda: is_enforced(1), 5) and not is_enforced(2), "the rules are where the container is")

# One is said to be a guest of the other.
docker.add(1, Names=["/web-1"], Labels=compose("web"), HostConfig={"NetworkMode": "container:" + cid(2)},
           Ports=[{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 7080, "Type": "tcp"}])
docker.send(event("container", "rename", 1))


def behind():
    return api.get("/v1/explain", src="shop/db", dst="host", port=7080, proto="tcp").get("behind")


t.ok(wait(behind, 5) == "workload:shop/web" and who() == {1: "shop/web", 2: "shop/db"} and is_enforced(1) and not is_enforced(2),
     "one that is said to use the other's namespace has its own name in its own", who(), behind())
shown = [m["id"] for w in api.get("/v1/status")["workloads"] for i in w["instances"] for m in i["members"]
         if names.get(i["netns"]) == 2]
t.ok(len(shown) == 1, "and is no member of the other one's", shown)
docker.add(1, Names=["/web-1"], Labels=compose("web"))
docker.send(event("container", "rename", 1))
wait(lambda: behind() is None, 5)

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

# One that asks the gate, and of which its engine says that it has no namespace.
allowed[5] = "shop/web"
docker.add(5, Names=["/web-5"], Labels=compose("web"), State="created", HostConfig={"NetworkMode": "host"})
start(5)
names[os.stat("/proc/%d/ns/net" % pids[5]).st_ino] = 5
answer = gate(5)
t.ok(answer[0] == 200 and answer[1]["reason"] == "its rules are in force" and is_enforced(5),
     "one that is said to be in the host's network starts when its rules are in force", answer)
docker.add(6, Names=["/web-6"], Labels=compose("web"), State="created", HostConfig={"NetworkMode": "host"})
answer = gate(6, os.getpid())
t.ok(answer[0] == 200 and answer[1]["reason"] == "its workload is not enforced", "one that is there, at once", answer)

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
