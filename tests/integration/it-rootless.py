#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A container that an ordinary user runs with Podman: a workload of that user, observed and enforced,
whose addresses name nobody. On a machine of its own, where that user exists."""
import os
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from alonelab import alone

alone("podman", "runc", "newuidmap", "setpriv")
from nslab import Lab, Place, Tap, run, skip_all, wait

UID, NAME = 4242, "user-4242/web"
t = Tap()
lab = Lab(real_host=True)
home, xdg = lab.dir + "/home", "/run/user/%d" % UID
for p in (home, xdg):
    os.makedirs(p)
    os.chown(p, UID, UID)
    os.chmod(p, 0o700)
os.chmod("/run/user", 0o755)


def over(path, text):
    """The file with other content, for this machine alone."""
    new = lab.dir + "/" + os.path.basename(path)
    with open(new, "w", encoding="ascii") as f:
        f.write(text)
    run("mount", "--bind", new, path)


with open("/etc/passwd", encoding="utf-8") as f:
    over("/etc/passwd", f.read() + "nsuser:x:%d:%d::%s:/bin/sh\n" % (UID, UID, home))
for p in ("/etc/subuid", "/etc/subgid"):
    if not os.path.exists(p):
        skip_all("needs " + p)
    over(p, "nsuser:500000:65536\n")
with open(lab.dir + "/containers.conf", "w", encoding="ascii") as f:
    f.write('[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=1024:1024"]\n'
            '[engine]\nruntime="runc"\ncgroup_manager="cgroupfs"\n')
empty = subprocess.run(["tar", "c", "-T", "/dev/null"], capture_output=True, check=True).stdout


def podman(*args, **kw):
    env = dict(os.environ, HOME=home, XDG_RUNTIME_DIR=xdg, CONTAINERS_CONF=lab.dir + "/containers.conf")
    return run("setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "podman",
               "--storage-driver", "vfs", *args, env=env, cwd=home, check=False, **kw)


network = "slirp4netns" if shutil.which("slirp4netns") and os.path.exists("/dev/net/tun") else "none"
# Some machines keep it for root. What Podman finds mounted when it first runs, it keeps.
if network != "none" and os.stat("/dev/net/tun").st_mode & 0o006 != 0o006:
    os.mknod(lab.dir + "/tun", 0o020666, os.makedev(10, 200))
    os.chmod(lab.dir + "/tun", 0o666)
    run("mount", "--bind", lab.dir + "/tun", "/dev/net/tun")
podman("import", "-", "img", stdin=None, input=empty)
folders = [x for p in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(p) for x in ("-v", p + ":" + p + ":ro")]
r = podman("run", "-d", "--name", "web", "--network", network, *folders, "img", "/bin/sleep", "600")
if r.returncode != 0:
    skip_all("Podman does not run without root here: " + r.err.strip()[:100])
pid = int(podman("inspect", "-f", "{{.State.Pid}}", "web").out)
d = lab.daemon(only="")


def attached():
    """The workload, once its only instance is observed."""
    found = d.api.workloads().get(NAME)
    return found if found and [i["attached"] for i in found["instances"]] == [True] else None


w = wait(attached, 25)
t.ok(w, "the container is a workload of its user", d.api.workloads())
t.ok(w and w["enforceable"] == "partial" and "user's" in w["why"], "graded as what its user can do", w)
if network == "none":
    t.skip("the network that his Podman made", "needs slirp4netns and /dev/net/tun")
else:
    own = "10.0.2.100"  # every such container's, so nobody's name
    t.ok(wait(lambda: own in d.api.workload(NAME)["instances"][0]["addresses"], 10),
         "with the network that his Podman made: its address is listed", d.api.workload(NAME))
    x = d.api.get("/v1/explain", src=own, dst="host", port=80, proto="tcp")
    t.ok(x["from"] == "addr:" + own, "and names nobody outside", x)
    place = Place("/proc/%d/ns/net" % pid)
    s = place.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    s.sendto(bytes.fromhex("0800e5ca12340001"), ("10.0.2.2", 0))  # to Podman's own end, which answers
    e = wait(lambda: d.api.edges(proto="icmp", from_="workload:" + NAME), 5)
    t.ok(e and e[0]["to"] == "addr:10.0.2.2", "what it sends through it is its workload's", e, d.api.edges())
    s.close()
    place.close()
run("nsenter", "-t", str(pid), "-n", "ip", "link", "add", "br7", "type", "bridge")
run("nsenter", "-t", str(pid), "-n", "ip", "addr", "add", "10.99.99.1/24", "dev", "br7")
wait(lambda: "10.99.99.1" in d.api.workload(NAME)["instances"][0]["addresses"], 5)
x = d.api.get("/v1/explain", src="10.99.99.1", dst="host", port=80, proto="tcp")
t.ok(x["from"] == "addr:10.99.99.1", "an address that he gives it names nobody", x)
d.api.mode("enforce", NAME)
rules = run("nsenter", "-t", str(pid), "-n", "nft", "list", "table", "inet", d.table()).out
t.ok("policy drop" in rules, "its rules are in force in its namespace", rules)
user = ["nsenter", "-t", str(pid), "-U", "-n", "--preserve-credentials"]
r = run(*user, "nft", "delete", "table", "inet", d.table(), check=False)
t.ok(r.returncode != 0, "and root in it cannot take them away", r.err)
podman("rm", "-f", "-t", "0", "web")
t.done()
