#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks other than a bridge's: macvlan, whose traffic never passes the host's stack, none, the host's
own, several of them, IPv6 alone. Each container is a workload, its rules hold, and its grade is what
the machine can keep."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from alonelab import Dockerd, alone

alone("dockerd", "docker")
from nslab import BUILD, PREFIX, Docker, Lab, Tap, run, wait

t = Tap()
lab = Lab(real_host=True)
Dockerd(lab, "--iptables=false")
docker = Docker(lab)
NO_RAW = ["--cap-drop", "NET_RAW"]


def policy(*edges, **modes):
    return json.dumps({
        "apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "metadata": {"name": "t"},
        "workloads": [{"name": PREFIX + "-" + n, "mode": m} for n, m in modes.items()],
        "edges": [{"from": f, "to": to, "proto": "tcp", "port": p, "state": "approved"} for f, to, p in edges]})


def name(short):
    return PREFIX + "-" + short


# A macvlan on one end of a veth: the other end, in a namespace of its own, is what is outside.
wire = lab.space("nsw%d" % os.getpid())
run("ip", "link", "add", "par0", "type", "veth", "peer", "name", "eth0", "netns", wire.name)
run("ip", "link", "set", "par0", "up")
wire.ip("addr", "add", "172.30.9.200/24", "dev", "eth0")
wire.ip("link", "set", "eth0", "up")
wire.serve(8080)
lan, two = name("lan"), name("two")
run("docker", "network", "create", "-d", "macvlan", "--subnet", "172.30.9.0/24", "-o", "parent=par0", lan)
docker.networks.append(lan)
docker.network(two)

m = docker.run(name("m"), *NO_RAW, network=lan)
n = docker.run(name("n"), *NO_RAW, network=lan)
r = docker.run(name("r"), network=lan)
both = docker.run(name("both"), *NO_RAW, network="bridge")
run("docker", "network", "connect", two, both.id)
far = docker.run(name("far"), *NO_RAW, network=two)
late = docker.run(name("late"), network="bridge")
none = docker.run(name("none"), network="none")
plain = lab.space(name("plain"))
run("ip", "link", "add", "link", "par0", "name", "mv0", "netns", plain.name, "type", "macvlan", "mode", "bridge")
plain.ip("addr", "add", "172.30.9.201/24", "dev", "mv0")
plain.ip("link", "set", "mv0", "up")
for place in (m, n, plain, both, far):
    place.serve(80)
    place.serve(81)
d = lab.daemon(only="", expect=[p.name for p in (m, n, r, both, far, late, plain)])
api = d.api


def grade(short):
    w = api.workload(name(short))
    return (w["enforceable"], w.get("why", "")) if w else (None, "")


def graded(short, word, text, what, seconds=15):
    got = wait(lambda: grade(short)[0] == word and text in grade(short)[1], seconds, 0.2)
    t.ok(got, what, grade(short), api.workload(name(short)), d.text()[-1500:])


def refused():
    return [x for x in api.raw("GET", "/metrics")[1].decode().splitlines() if "nanoseg_instances{" in x]


# macvlan: observed by name like any other.
t.ok(m.tcp(n.v4, 80, 2) == "open" and wire.tcp(m.v4, 80, 2) == "open" and m.tcp("172.30.9.200", 8080, 2) == "open",
     "macvlan: its containers reach each other and the wire")
e = wait(lambda: api.edge(from_="workload:" + m.name, to="workload:" + n.name, port=80), 5)
t.ok(e, "an edge between two of them has both names", api.edges())
graded("m", "full", "", "one without CAP_NET_RAW can be enforced in full")
graded("r", "partial", "CAP_NET_RAW", "one with it cannot")

api.apply(policy((n.name, m.name, 80), (plain.name, m.name, 80), (r.name, m.name, 80), (both.name, far.name, 80),
                 (far.name, both.name, 80), m="enforce", r="enforce", plain="enforce", both="enforce"))
t.ok(n.tcp(m.v4, 80, 2) == "open" and plain.tcp(m.v4, 80, 2) == "open", "enforced: what is approved is open")
got = [n.tcp(m.v4, 81), wire.tcp(m.v4, 80), m.tcp("172.30.9.200", 8080), plain.tcp("172.30.9.200", 8080),
       plain.tcp(n.v4, 80), wire.tcp("172.30.9.201", 80)]
t.ok("open" not in got, "all else is not, though its traffic never passes the host", got)
table = run("nft", "list", "tables").out
t.ok("netdev " + d.table() not in table, "no guard of the host's can stand there, and none does", table)
graded("r", "partial", "no host guard can hold", "which is what its grade says")
g = api.workload(r.name)["instances"][0]["guard"]
t.ok(g and g["unguarded"] == 1 and not g["inForce"] and g["devices"] == 0, "and its guard's state", g)

# Several networks: the rules are the container's, on whichever device.
i = api.workload(both.name)["instances"]
t.ok(len(i) == 1 and len([a for a in i[0]["addresses"] if "." in a]) == 2, "two networks are two addresses of one instance", i)
v4 = json.loads(run("docker", "inspect", both.id).out)[0]["NetworkSettings"]["Networks"]
t.ok(far.tcp(v4[two]["IPAddress"], 80, 2) == "open" and both.tcp(far.v4, 80, 2) == "open", "approved by the second network")
got = [far.tcp(v4[two]["IPAddress"], 81), late.tcp(v4["bridge"]["IPAddress"], 80), both.tcp(far.v4, 81)]
t.ok("open" not in got, "and nothing else by either", got)

# A macvlan that comes later opens a way past a guard that stands.
api.mode("enforce", late.name)
graded("late", "full", "host guard", "a raw sender on a bridge is held by the host guard")
run("docker", "network", "connect", lan, late.id)
graded("late", "partial", "no host guard can hold", "until it is given a macvlan")
run("docker", "network", "disconnect", lan, late.id)
graded("late", "full", "host guard", "and again when that is gone")

# None: no way out, and nothing to guard.
api.mode("enforce", none.name)
graded("none", "full", "host guard", "without a network nothing gets out: in full")


def inside(*cmd):
    run("nsenter", "-t", str(none.pid), "-n", *cmd)


# As CNI makes it: in the namespace from the start, so that the host never had a name for that.
run("ip", "link", "add", "link", "par0", "name", "mv1", "netns", str(none.pid), "type", "macvlan", "mode", "bridge")
inside("ip", "addr", "add", "172.30.9.202/24", "dev", "mv1")
graded("none", "partial", "no host guard can hold", "until a macvlan is made in it")
inside("ip", "link", "del", "mv1")
graded("none", "full", "host guard", "and again when that is gone")
# Without an address nothing tells of it: the next look does.
inside("ip", "tuntap", "add", "mode", "tap", "name", "tap0")

# The host's own.
host = docker.run(name("host"), network="host")
graded("host", "no", "host's network", "a container in the host's network is a row that says that it cannot be held")
i = (api.workload(host.name) or {"instances": []})["instances"]
t.ok(len(i) == 1 and i[0]["id"] == host.id[:12] and i[0]["hostNetwork"] and i[0]["runtime"] == "docker",
     "with the container in it", i)
guest = docker.run(name("guest"), network="container:" + host.id)
t.ok(wait(lambda: len(api.workload(host.name)["instances"]) == 2, 5) and api.workload(guest.name) is None,
     "one that has joined it is in the same row", api.workloads().keys())
answer = api.mode("enforce", host.name)
t.ok(answer["hostNetwork"] == 1, "who enforces it is told", answer)
cli = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "mode", host.name, "enforce", "--reason", "t", check=False)
t.ok("host's network: no rule holds" in cli.err, "by the command too", cli.out, cli.err)
cli = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "status", "--why")
t.ok(any(x.split()[:1] + x.split()[8:10] == [host.name, "-", "no"] for x in cli.out.splitlines()), "status has its line", cli.out)
table = run("nft", "list", "tables").out
t.ok("inet " + d.table() not in table, "the host's namespace has no rules by that", table)
t.ok(wait(lambda: 'nanoseg_instances{enforceable="no"} 2' in refused(), 5), "the metrics count both", refused())
docker.rm(guest)
docker.rm(host)
t.ok(wait(lambda: api.workload(host.name)["instances"] == [], 8), "when it ends the row is empty", api.workload(host.name))

# IPv6 alone.
six, peer = lab.ns("six"), lab.ns("peer")
for p in (six, peer):
    p.ip("-4", "addr", "flush", "dev", "eth0")
    p.serve(80)
    p.serve(81)
d.watched(six.name)
wait(lambda: not any("." in a for a in api.workload(six.name)["instances"][0]["addresses"]), 5)
t.ok(peer.tcp(six.v6, 80, 2) == "open", "with IPv6 alone they reach each other")
e = wait(lambda: api.edge(from_="workload:" + peer.name, to="workload:" + six.name, port=80), 5)
t.ok(e, "and are named to each other", api.edges())
api.approve(e["id"])
api.mode("enforce", six.name)
t.ok(peer.tcp(six.v6, 80, 2) == "open", "enforced: what is approved is open")
got = [peer.tcp(six.v6, 81), six.tcp(peer.v6, 80), lab.host_place().tcp(six.v6, 80)]
t.ok("open" not in got, "all else is not", got)
t.ok(wait(lambda: api.denials(from_="workload:" + peer.name, port=81), 8), "and is a denial by name", api.denials())
graded("none", "partial", "no host guard can hold", "a TAP, whose other end may be anywhere, is noticed", 45)
t.done()
