#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way to a published port, and virtual addresses: who connects is named, what was dialled is
named, and so is the workload behind it; nobody else is. With a Docker daemon of its own, once with its
proxy and once without."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from alonelab import Dockerd, alone

alone("dockerd", "docker", "nft")
from nslab import BUILD, Docker, Lab, PREFIX, Tap, run, wait

PORT, LOCAL, ASKED, RANGE, VIP_PORT = 8080, 8081, 8082, 9000, 7000
# What the host translates, and what the client's own namespace does.
VIPS, FAR_VIPS = ("10.255.7.7", "fd00:99::7"), ("10.255.7.8", "fd00:99::8")
t = Tap()
lab = Lab(real_host=True)
dockerd = Dockerd(lab, "--userland-proxy=true")
for knob in ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.route_localnet=1", "net.ipv6.conf.all.forwarding=1"):
    run("sysctl", "-qw", knob)
docker = Docker(lab)


class Net:
    """A server with published ports, a client and a bystander beside it, a client on another network."""

    def __init__(self, tag):
        self.tag = tag
        self.nets = [PREFIX + tag, PREFIX + tag + "x"]
        for k, n in enumerate(self.nets):
            docker.network(n, "--ipv6", "--subnet", "fd00:%d::/64" % (k + 1))
        name = PREFIX + "-" + tag
        self.srv = docker.run(name + "srv", "-p", "%d:80" % PORT, "-p", "127.0.0.1:%d:82" % LOCAL, "-p",
                              "%d-%d:9000-9005" % (RANGE, RANGE + 5), "-p", "%d:83/udp" % ASKED, network=self.nets[0])
        self.cli = docker.run(name + "cli", network=self.nets[0])
        self.by = docker.run(name + "by", "-p", "%d:80" % (PORT + 9), network=self.nets[0])
        self.far = docker.run(name + "far", network=self.nets[1])
        for p in (80, 82, 9003):
            self.srv.serve(p)
        self.srv.serve_udp(83)
        self.by.serve(80)

    def all(self):
        return [self.srv, self.cli, self.by, self.far]

    def remove(self):
        for p in self.all():
            p.close()
        run("docker", "rm", "-f", *[p.id for p in self.all()])
        for n in self.nets:
            run("docker", "network", "rm", n)


def W(place):
    return "workload:" + place.name


def names(f):
    return {f["from"], f["to"], f.get("behind")}


def dial(net, who, source, addr, port, name, behind=True):
    """A connection to the host, by who; what of it is named after whom."""
    before, udp = len(api.flows()), port == ASKED
    got = who.udp(addr, port, 3) if udp else who.tcp(addr, port, 3)
    if not t.ok(got == ("answer" if udp else "open"), name + ": it answers", got):
        return

    def mine():
        return [f for f in api.flows()[before:] if f["from"] == source and f["to"] == "host" and f["port"] == port and
                f["proto"] == ("udp" if udp else "tcp")]
    f = wait(mine, 5)
    t.ok(f and (not behind or f[0].get("behind") == W(net.srv)), name + ": a flow to the host, and who is behind it", f,
         api.flows()[before:])
    e = api.edge(from_=source, to="host", port=port)
    t.ok(e and (not behind or e.get("behind") == W(net.srv)), name + ": and so says its edge", e)
    wrong = [f for f in api.flows()[before:] if W(net.by) in names(f) or
             (f["to"] == W(net.srv) and f["from"] not in ("host", source))]
    t.ok(not wrong, name + ": and nobody else is named", wrong)


def dropped(net, who, source, addr, port, name):
    """The same where the engine keeps networks apart: it stays an attempt, of who to what was dialled."""
    before, edges = len(api.flows()), len(api.edges())
    got = who.tcp(addr, port, 1)
    t.ok(got == "timeout", name + ": the engine drops it", got)
    a = wait(lambda: api.attempts(from_=source, port=port, dst=addr), 5)
    t.ok(a and all(x["to"] == "host" for x in a), name + ": an attempt to the host", a, api.attempts(from_=source))
    wrong = [f for f in api.flows()[before:] if f["from"] == source and (f["to"] != "host" or f["verdict"] == "allow")]
    t.ok(not wrong and len(api.edges()) == edges, name + ": nobody is credited with it", wrong, api.edges(from_=source))


def published(net, proxy):
    srv, cli, far, gw = net.srv, net.cli, net.far, net.cli.gateway
    word = "with docker-proxy" if proxy else "without it"
    dial(net, cli, W(cli), gw, PORT, "a sibling, %s" % word)
    dial(net, srv, W(srv), gw, PORT, "the workload itself (hairpin), %s" % word)
    ways = ((far.gateway, "the host's address of another network, %s" % word),
            (gw, "another network by the address of this one, %s" % word))
    if not proxy:
        # The host translates the address, and the engine keeps its networks apart, unless it is told not to.
        for addr, name in ways:
            dropped(net, far, W(far), addr, PORT, name)
        run("iptables", "-I", "DOCKER-USER", "-j", "ACCEPT")
    for addr, name in ways:
        dial(net, far, W(far), addr, PORT, name)
    dial(net, far, W(far), far.gateway, ASKED, "a datagram of another network, %s" % word)
    if not proxy:
        run("iptables", "-D", "DOCKER-USER", "-j", "ACCEPT")
    dial(net, cli, W(cli), gw, RANGE + 3, "one of a published range, %s" % word)
    # By UDP, and over IPv6: without its proxy the engine translates there too.
    dial(net, cli, W(cli), gw, ASKED, "a datagram of a sibling, %s" % word)
    dial(net, cli, W(cli), cli.gateway6, PORT, "a sibling over IPv6, %s" % word)
    if proxy:  # what it translates it keeps apart there as well
        dial(net, far, W(far), far.gateway6, PORT, "another network over IPv6, %s" % word)
    # A health check, and a port of the host's loopback: connections of the host, and named as such.
    host = lab.host_place()
    t.ok(host.tcp(srv.v4, 80, 2) == "open" and host.tcp("127.0.0.1", LOCAL, 2) == "open",
         "the host's own connections answer, %s" % word)
    for port in (80, 82):
        e = wait(lambda: api.edge(from_="host", to=W(srv), port=port), 5)
        t.ok(e and e["flags"] == ["via-host"] and "behind" not in e, "an edge from the host is flagged", e)
    x = api.get("/v1/explain", src="host", dst=srv.name, port=80, proto="tcp")
    t.ok(str(PORT) in x.get("admits", ""), "explain says whom an edge from the host admits", x)
    x = api.get("/v1/explain", src="host", dst=srv.name, port=82, proto="tcp")
    t.ok("%d at 127.0.0.1" % LOCAL in x.get("admits", ""), "also a port of loopback alone", x)
    x = api.get("/v1/explain", src="host", dst=net.by.name, port=81, proto="tcp")
    t.ok("published for it" not in x.get("admits", ""), "and where nothing is published, not that", x)
    x = api.get("/v1/explain", src=cli.name, dst="host", port=PORT + 9, proto="tcp")
    t.ok(x.get("behind") == W(net.by), "explain names who is behind a port that nobody has dialled yet", x)
    x = api.get("/v1/explain", src=cli.name, dst="host", port=LOCAL, proto="tcp")
    t.ok("behind" not in x, "nobody is behind a port that only the host itself reaches", x)
    credited = [e for e in api.edges() if W(net.by) in (e["from"], e["to"], e.get("behind"))]
    t.ok(not credited, "no edge names the bystander", credited)


def nft(*words, pid=None, rules=None):
    cmd = (["nsenter", "-t", str(pid), "-n"] if pid else []) + ["nft", *words]
    if rules is not None:
        return subprocess.run(cmd + ["-f", "-"], input=rules, text=True, check=True)
    return run(*cmd, check=False)


def vip_rules(hook, vip, target):
    ip, to = ("ip6", "[%s]") if ":" in vip else ("ip", "%s")
    return ("table %s vips { chain %s { type nat hook %s priority -100; %s daddr %s tcp dport %d dnat to %s:80; }; }\n"
            % (ip, hook, hook, ip, vip, VIP_PORT, to % target))


def host_vip(net, vip, target):
    """As kube-proxy does it: the host translates."""
    srv, cli = net.srv, net.cli
    family = "ip6" if ":" in vip else "ip"
    nft(rules=vip_rules("prerouting", vip, target))
    lab.later(nft, "delete", "table", family, "vips")
    t.ok(cli.tcp(vip, VIP_PORT, 3) == "open", vip + ", which the host translates, answers")
    e = wait(lambda: api.edge(from_=W(cli), to="addr:" + vip, port=VIP_PORT), 5)
    t.ok(e and e.get("behind") == W(srv), "its edge says what was dialled, and who is behind it", e, api.edges(from_=W(cli)))
    e2 = wait(lambda: api.edge(from_=W(cli), to=W(srv), port=80), 5)
    t.ok(e2, "the server's end sees who it was", api.edges(to=W(srv)))
    f = api.flows(from_=W(cli), port=VIP_PORT, dst=vip)
    t.ok(len(f) == 1 and f[0].get("behind") == W(srv) and not api.flows(from_=W(cli), to=W(srv), port=80),
         "one connection is one flow", f)
    nft("delete", "table", family, "vips")


def own_vip(net, vip, target):
    """As Swarm's resolver has it: translated in the client's own namespace. Rules meet the real address."""
    cli = net.cli
    count = (api.edge(from_=W(cli), to=W(net.by), port=80) or {"connections": 0})["connections"]
    nft(rules=vip_rules("output", vip, target), pid=cli.pid)
    t.ok(cli.tcp(vip, VIP_PORT, 3) == "open", vip + ", which the client's namespace translates, answers")
    e = wait(lambda: api.edge(from_=W(cli), to=W(net.by), port=80, connections=lambda n: n > count), 5)
    t.ok(e and not api.edges(to="addr:" + vip), "its edge is to the workload behind it", api.edges(from_=W(cli)))
    return e


def vips(net):
    srv, cli, by = net.srv, net.cli, net.by
    for vip, target in zip(VIPS, (srv.v4, srv.v6)):
        host_vip(net, vip, target)
    edges = [own_vip(net, vip, target) for vip, target in zip(FAR_VIPS, (by.v4, by.v6))]
    api.approve(edges[0]["id"])
    api.mode("enforce", cli.name, by.name)
    for vip, old, real in zip(FAR_VIPS, VIPS, (srv.v4, srv.v6)):
        t.ok(cli.tcp(vip, VIP_PORT, 3) == "open", vip + ": that edge alone is what has to be approved")
        t.ok(cli.tcp(old, VIP_PORT, 0.6) != "open" and cli.tcp(real, 80, 0.6) != "open", "and nothing else passes")
    api.mode("observe", cli.name, by.name)


def cli_shows(net):
    nanoseg = [BUILD + "/cli/nanoseg", "--socket", daemon.sock]
    out = run(*nanoseg, "edges", "-o", "wide").out
    line = [x for x in out.splitlines() if net.cli.name in x and " host " in x and "tcp/%d" % PORT in x]
    t.ok("BEHIND" in out and line and net.srv.name in line[0], "edges -o wide names who is behind", out)
    out = run(*nanoseg, "explain", "host", net.srv.name + ":80", check=False).out
    t.ok("whoever reaches port" in out, "explain says whom the edge admits", out)
    out = run(*nanoseg, "explain", net.cli.name, "host:%d" % PORT, check=False).out
    t.ok("behind it" in out and net.srv.name in out, "and who is behind a port", out)


net = Net("p")
daemon = lab.daemon(expect=[p.name for p in net.all()])
api = daemon.api
wait(lambda: api.get("/v1/explain", src=net.cli.name, dst="host", port=PORT, proto="tcp").get("behind"), 5)
published(net, True)
cli_shows(net)
vips(net)
# The port goes to another workload: both are named, for the edge has led to both.
run("docker", "rm", "-f", net.srv.id)
other = docker.run(PREFIX + "-other", "-p", "%d:80" % PORT, network=net.nets[0])
other.serve(80)
daemon.watched(other.name)
e = wait(lambda: (api.edge(from_=W(net.cli), to="host", port=PORT) or {}).get("behindAnyOf"), 5)
t.ok(e and set(e) == {W(net.srv), W(other)}, "an edge whose port went to another workload names both", e)
net.cli.tcp(net.cli.gateway, PORT, 2)
e = wait(lambda: (api.edge(from_=W(net.cli), to="host", port=PORT) or {}).get("behind") == W(other), 5)
t.ok(e, "and the new one once it has led there", api.edge(from_=W(net.cli), to="host", port=PORT))
run("docker", "rm", "-f", other.id)
net.remove()
dockerd.stop()
dockerd.start("--userland-proxy=false", "--experimental", "--ip6tables")
net = Net("n")
for p in net.all():
    daemon.watched(p.name, seconds=15)
wait(lambda: api.get("/v1/explain", src=net.cli.name, dst="host", port=PORT, proto="tcp").get("behind"), 5)
published(net, False)
t.done()
