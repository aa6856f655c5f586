#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Swarm of one node, live: a service is one workload whatever its tasks are called, on an overlay
network or the host's; Swarm's own namespaces are none. On a machine of its own with a Docker daemon."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from alonelib import Dockerd, alone, have_docker

alone(os.path.abspath(__file__))
import nslab
from nslab import Docker, Lab, Place, run, skip_all, wait

t = nslab.Tap()
lab = Lab(real_host=True)
if not have_docker():
    skip_all("needs dockerd")
run("ip", "link", "add", "node", "type", "bridge")
run("ip", "addr", "add", "10.77.0.1/24", "dev", "node")
run("ip", "link", "set", "node", "up")
# Its ingress network needs iptables, in namespaces of its own.
dockerd = Dockerd(lab, "--iptables=true")
if not dockerd.start(wait):
    skip_all("a Docker daemon of its own does not start here")
docker = Docker(lab)
r = run("docker", "swarm", "init", "--advertise-addr", "10.77.0.1", check=False)
if r.returncode != 0:
    skip_all("no Swarm here: " + r.err.strip()[-80:])
r = run("docker", "network", "create", "-d", "overlay", "ov", check=False)
if r.returncode != 0:
    skip_all("no overlay network here: " + r.err.strip()[-80:])
MOUNTS = ["--mount=type=bind,src=%s,dst=%s,ro" % (p, p) for p in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(p)]


def service(name, *args):
    run("docker", "service", "create", "--detach", "--no-resolve-image", "--name", name, *args, *MOUNTS, docker.image,
        "/bin/sleep", "600")


def tasks(name):
    """The containers that run for a service, by their whole ids."""
    return set(run("docker", "ps", "-q", "--no-trunc", "--filter", "is-task=true", "--filter",
                   "label=com.docker.swarm.service.name=" + name).out.split())


service("api", "--network", "ov", "--replicas", "2", "--stop-grace-period", "0s")
service("agent", "--network", "host")
if not wait(lambda: len(tasks("api")) == 2 and tasks("agent"), 40, 0.3):
    skip_all("a service does not start here: " + run("docker", "service", "ps", "--no-trunc", "api", check=False).out[-300:])
d = lab.daemon(only="")
api = d.api


def instances(name):
    w = api.workload(name)
    return w["instances"] if w else []


def are(name, ids):
    return sorted(i["id"] for i in instances(name)) == sorted(x[:12] for x in ids)


def pid_of(cid):
    return json.loads(run("docker", "inspect", cid).out)[0]["State"]["Pid"]


def denies(cid):
    return "policy drop" in run("nsenter", "-t", str(pid_of(cid)), "-n", "nft", "-s", "list", "table", "inet", d.table(),
                                check=False).out


t.ok(wait(lambda: are("api", tasks("api")), 15), "the tasks of a service are instances of one workload", instances("api"))
t.ok(all(len(i["addresses"]) >= 2 for i in instances("api")), "with their addresses on the overlay network", instances("api"))
w = wait(lambda: api.workload("agent"), 5)
t.ok(w and [i.get("hostNetwork") for i in w["instances"]] == [True] and w["enforceable"] == "no", "one in the host's network is listed under its service", w)
a, b = [Place("/proc/%d/ns/net" % pid_of(x)) for x in sorted(tasks("api"))]
over = next(x for x in json.loads(run("docker", "inspect", sorted(tasks("api"))[1]).out)[0]["NetworkSettings"]["Networks"].items()
            if x[0] == "ov")[1]["IPAddress"]
b.serve(80, "0.0.0.0")
t.ok(wait(lambda: a.tcp(over, 80) == "open", 5), "they reach each other over it")
e = wait(lambda: api.edges(from_="workload:api", to="workload:api", port=80), 5)
t.ok(e, "which is an edge of the service", api.edges())
api.mode("enforce", "api")
t.ok(wait(lambda: all(denies(x) for x in tasks("api")), 10) and a.tcp(over, 80, 1) != "open", "enforced, it is refused")
old = tasks("api")
a.close()
b.close()
run("docker", "service", "update", "--detach", "--force", "--update-parallelism", "0", "api")
wait(lambda: len(tasks("api")) == 2 and not tasks("api") & old, 40, 0.3)
t.ok(wait(lambda: are("api", tasks("api")) and all(denies(x) for x in tasks("api")), 15),
     "the tasks that take their place have its rules", instances("api"), sorted(old), sorted(tasks("api")))
docker.run("liar", "--label", "com.docker.swarm.service.name=api", network="none")
t.ok(wait(lambda: api.workload("liar"), 8) and are("api", tasks("api")), "its name on a container that is no task gives nothing",
     sorted(api.workloads()))
nets = [n for n in os.listdir("/run/docker/netns") if n.startswith(("lb_", "ingress_sbox", "1-"))]
known = {i["netns"] for w in api.get("/v1/status")["workloads"] for i in w["instances"]}
t.ok(nets and not [n for n in nets if os.stat("/run/docker/netns/" + n).st_ino in known],
     "Swarm's own namespaces are no workloads", nets)
t.done()
