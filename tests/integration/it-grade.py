#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each fact that lowers a container's grade, from a container that has it and one that has not: as an
engine tells it, and as it is read in /proc where no engine does."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from alonelab import Dockerd, alone

alone("dockerd", "docker", "runc")
from nslab import PREFIX, Docker, Lab, Tap, run, wait

t = Tap()
lab = Lab(real_host=True)
Dockerd(lab, "--iptables=false")
docker = Docker(lab)
NONE = ["--cap-drop", "ALL"]
SOCKETS = ("/run/containerd/containerd.sock", "/run/podman/podman.sock", "/run/user/1000/podman/podman.sock",
           "/run/user/1000/docker.sock")
for s in SOCKETS:
    os.makedirs(os.path.dirname(s), exist_ok=True)
    if not os.path.exists(s):
        open(s, "w", encoding="ascii").close()
MOUNTS = ("/run/docker.sock", *SOCKETS, "/run", "/var/run", "/", "/run/user/1000")
SOCKET = "an engine's socket is mounted"
# What is asked for, the grade, a word of the sentence, the fact.
CASES = [("plain", [], "full", "", None),
         ("admin", ["--cap-add", "NET_ADMIN"], "partial", "CAP_NET_ADMIN", "netAdmin"),
         ("raw", ["--cap-add", "NET_RAW"], "partial", "hostGuard is off", "netRaw"),
         ("pid", ["--pid", "host"], "partial", "host's processes", "hostPid"),
         ("etc", ["-v", "/etc:/x:ro"], "full", "", None)]
CASES += [("sock%d" % k, ["-v", p + ":/x:ro"], "partial", SOCKET, "engineSocket") for k, p in enumerate(MOUNTS)]
os.link("/run/docker.sock", "/run/linked")
CASES.append(("moved", ["-v", "/run/linked:/var/run/docker.sock:ro"], "partial", SOCKET, "engineSocket"))


def look(name, what, grade, word, fact, wanted_runtime):
    def good():
        w = d.api.workload(name)
        i = w["instances"][0] if w and w["instances"] else None
        return i and i["runtime"] == wanted_runtime and w["enforceable"] == grade and \
            word in w.get("why", "") and (fact in i["facts"] if fact else not i["facts"]) and w
    w = wait(good, 15, 0.1)
    t.ok(w, what, d.api.workload(name), d.text()[-1000:])


# It is met before any container's process in a walk over all.
helper = subprocess.Popen(["sh", "-c", "read pid && exec nsenter -t $pid -n sleep 600"], stdin=subprocess.PIPE)
lab.later(lambda: (helper.kill(), helper.wait()))
for short, args, *_ in CASES:
    docker.run(PREFIX + "-" + short, *NONE, *args, network="none")
d = lab.daemon("hostGuard: off\n", only="")
for short, args, grade, word, fact in CASES:
    look(PREFIX + "-" + short, "%s: %s" % (" ".join(args) or "nothing", grade), grade, word, fact, "docker")

# A process of the host's with all capabilities in a container's namespace is not the container.
pid = json.loads(run("docker", "inspect", PREFIX + "-plain").out)[0]["State"]["Pid"]
helper.stdin.write(b"%d\n" % pid)
helper.stdin.flush()
t.ok(wait(lambda: os.readlink("/proc/%d/ns/net" % helper.pid) == os.readlink("/proc/%d/ns/net" % pid), 5) and
     helper.pid < pid, "a process of the host's joins a namespace")
since = time.monotonic()


# Nobody knows of those that runc runs by hand.
tree = lab.dir + "/tree"
FOLDERS = [p for p in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(p)]
for p in FOLDERS + ["/proc", "/dev"]:
    os.makedirs(tree + p, exist_ok=True)
os.chmod(tree, 0o755)


def by_hand(n, caps=(), without=(), user=False):
    cid = "%08x%02x" % (os.getpid(), n) + "ab" * 27
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    if "pid" in without:
        mounts = [{"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind", "ro"]}]
    mounts += [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]
    mounts += [{"destination": p, "type": "bind", "source": p, "options": ["rbind", "ro"]} for p in FOLDERS]
    linux = {"namespaces": [{"type": x} for x in ("pid", "ipc", "uts", "mount", "network") if x not in without],
             "cgroupsPath": "/" + os.environ["ALONE_ID"] + "/" + cid}
    if user:
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 500000, "size": 65536}]
    spec = {"ociVersion": "1.0.2", "root": {"path": tree}, "hostname": "h", "mounts": mounts, "linux": linux,
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/sleep", "600"], "cwd": "/",
                        "env": ["PATH=/bin:/usr/bin"], "capabilities": {"bounding": list(caps)}}}
    bundle = lab.dir + "/bundle%d" % n
    os.makedirs(bundle)
    with open(bundle + "/config.json", "w", encoding="ascii") as f:
        json.dump(spec, f)
    lab.later(run, "runc", "delete", "-f", cid, check=False)
    with open(bundle + "/log", "wb") as log:
        r = subprocess.run(["runc", "run", "-d", "-b", bundle, cid], stdin=subprocess.DEVNULL, stdout=log,
                           stderr=log, timeout=30, check=False)
    with open(bundle + "/log", encoding="utf-8", errors="replace") as f:
        return cid[:12], r.returncode == 0 or f.read()


HAND = [("nothing", {}, "full", "", None), ("NET_ADMIN", {"caps": ["CAP_NET_ADMIN"]}, "partial", "CAP_NET_ADMIN", "netAdmin"),
        ("NET_RAW", {"caps": ["CAP_NET_RAW"]}, "partial", "hostGuard is off", "netRaw"),
        ("the host's processes", {"without": ["pid"]}, "partial", "host's processes", "hostPid"),
        ("a user namespace", {"user": True}, "full", "", "userns")]
for k, (what, args, grade, word, fact) in enumerate(HAND):
    name, started = by_hand(k, **args)
    if started is not True:
        t.ok(False, "runc by hand, %s: starts" % what, started)
        continue
    look(name, "runc by hand, %s: %s" % (what, grade), grade, word, fact, "unknown")

bad = wait(lambda: d.api.workload(PREFIX + "-plain")["enforceable"] != "full",
           max(0, since + 22 - time.monotonic()), 0.3)
t.ok(not bad, "and lowers no grade", d.api.workload(PREFIX + "-plain"))
t.done()
