#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces that containers make inside: found, counted as a part of their container, graded; never a
workload, never another container's, and never more of them than are good for the daemon."""
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from alonelab import Dockerd, alone

alone("dockerd", "docker")
from nslab import Docker, Lab, Place, PREFIX, Tap, alive, proc_status, run, wait

MANY = 120
t = Tap()
lab = Lab(real_host=True)
Dockerd(lab, "--iptables=false")
docker = Docker(lab)
FREE = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
# As much of --privileged as every machine for tests can give.
MAY = [*FREE, "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"]
plain = docker.run(PREFIX + "-plain", network="bridge")
priv = docker.run(PREFIX + "-priv", *MAY, network="bridge")
root = docker.run(PREFIX + "-root", *FREE, network="bridge")
user = docker.run(PREFIX + "-user", *FREE, "--user", "1000", network="bridge")
guest = docker.run(PREFIX + "-guest", *MAY, network="container:" + plain.name)
d = lab.daemon(only="", expect=[p.name for p in (plain, priv, root, user)])
api = d.api


def inside(c, *cmd, detach=True):
    return run("docker", "exec", *(["-d"] if detach else []), c.id, *cmd)


def instances(c):
    w = api.workload(c.name)
    return w["instances"] if w else []


def nested(c):
    i = instances(c)
    return i[0]["nested"] if len(i) == 1 else None


def grown(c, n, name, seconds=25):
    got = wait(lambda: nested(c) == n, seconds, 0.1)
    t.ok(got, name, instances(c), d.text()[-800:])


def end_nested(c):
    """Ends what sleeps inside besides the container's first process."""
    for line in run("docker", "top", c.id, "-eo", "pid,args").out.splitlines()[1:]:
        pid = int(line.split()[0])
        if pid != c.pid and "sleep" in line:
            os.kill(pid, 9)


w = api.workload(plain.name)
t.ok(nested(plain) == 0 and "made" not in w.get("why", ""), "a container that made none has none", w)
for c, how in ((priv, "-n"), (root, "-Urn"), (user, "-Urn"), (guest, "-n")):
    inside(c, "unshare", how, "sleep", "600")
grown(priv, 1, "a privileged container's is found, and is a part of its instance")
w = api.workload(priv.name)
t.ok(w["enforceable"] == "partial" and "made a network namespace inside" in w["why"],
     "and that is what keeps it from being enforced in full", w)
grown(root, 1, "so is one in a user namespace")
grown(user, 1, "so is one that an ordinary user inside has made")
grown(plain, 1, "one that a guest of a namespace has made is its owner's")
t.ok(all(len(instances(c)) == 1 for c in (plain, priv, root, user)), "none of them is an instance",
     api.workloads())

# Somebody on the host names a cgroup of his like the container's.
base = next((p for p in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if os.path.isdir(p)), None)
fake = base + "/" + os.environ["ALONE_ID"] + "/mine/docker/" + plain.id
os.makedirs(fake)
liar = subprocess.Popen(["sh", "-c", "echo $$ > %s/cgroup.procs && exec setpriv --reuid 4321 --regid 4321 "
                         "--clear-groups unshare -Urn sleep 600" % fake], stdin=subprocess.DEVNULL)
lab.later(lambda: (liar.kill(), liar.wait()))
wait(lambda: os.readlink("/proc/%d/ns/net" % liar.pid) != os.readlink("/proc/self/ns/net"), 5)
inside(priv, "unshare", "-n", "sleep", "600")
grown(priv, 2, "a second one of the privileged container counts")
t.ok(nested(plain) == 1, "what lies in a cgroup only named like a container's is not its", instances(plain))
his = "user-4321/" + plain.id[:12]
w = wait(lambda: api.workload(his), 25)
t.ok(w and w["enforceable"] == "partial", "but a container of that user", sorted(api.workloads()))
liar.kill()

# The container's own address, from where its rules are not.
plain.serve(80)
inner = next(int(line.split()[0]) for line in run("docker", "top", priv.id, "-eo", "pid,args").out.splitlines()
             if "sleep" in line and int(line.split()[0]) != priv.pid)
nests = Place("/proc/%d/ns/net" % inner)
run("nsenter", "-t", str(priv.pid), "-n", "ip", "link", "set", "eth0", "netns", str(inner))
for cmd in (["addr", "add", priv.v4 + "/16", "dev", "eth0"], ["link", "set", "eth0", "up"]):
    run("nsenter", "-t", str(inner), "-n", "ip", *cmd)
wait(lambda: not instances(priv)[0]["addresses"] or priv.v4 not in instances(priv)[0]["addresses"], 5)
t.ok(wait(lambda: nests.tcp(plain.v4, 80, 2) == "open", 5), "with its device in there it is outside its rules")
e = wait(lambda: [x for x in api.edges(to="workload:" + plain.name) if x["port"] == 80], 5)
t.ok(e and e[0]["from"] == "addr:" + priv.v4, "the other end says which address it was, and names no workload", e)
r = api.mode("enforce", plain.name)
t.ok(r["nested"] == 1, "whoever enforces a container with namespaces inside is told", r)
t.ok(nests.tcp(plain.v4, 80, 0.6) != "open", "and its rules, enforced, stop it")
api.mode("observe", plain.name)

# More than is good for anybody.
warden = d.roles()["warden"]
fds, rss = len(os.listdir("/proc/%d/fd" % warden)), int(proc_status(warden)["VmRSS"].split()[0])
inside(priv, "sh", "-c", "for i in $(seq %d); do unshare -n sleep 600 & done; wait" % MANY)
w = wait(lambda: (nested(priv) or 0) >= 60, 40, 0.2)
t.ok(w, "of very many, as many as are looked at are counted", nested(priv))
t.ok(d.says("has more than 64 network namespaces", 25), "and an error says so")
t.ok(nested(priv) <= 64, "the others are not", nested(priv))
w = api.workload(priv.name)
t.ok(w["enforceable"] == "partial" and "more network namespaces" in w["why"], "the container's grade says so too", w)
late = docker.run(PREFIX + "-late", network="bridge")
d.watched(late.name, seconds=20)
t.ok(True, "a container that starts then is found all the same")
fds2, rss2 = len(os.listdir("/proc/%d/fd" % warden)), int(proc_status(warden)["VmRSS"].split()[0])
t.ok(fds2 < fds + 20 and rss2 < rss + 2048, "the warden has not grown", (fds, fds2, rss, rss2))
end_nested(priv)
nests.close()
grown(priv, 0, "when they end they are forgotten", 60)
t.ok(alive(warden), "by the same warden")
t.done()
