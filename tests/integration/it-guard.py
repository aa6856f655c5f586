#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The host guard against every frame and every way of sending one past the output hook: received is
what is counted at the other end's interface. And that it never breaks what is allowed."""
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.join(os.environ.get("top_srcdir", "."), "tests/integration")
sys.path.insert(0, HERE)
import guardlib
from guardlib import Oracle, addrs, frames, mac
from nslab import BUILD, Lab, Tap, family_of, wait

RAW = BUILD + "/tests/integration/rawsend"
t = Tap()
lab = Lab()
a, b, c = lab.ns("a"), lab.ns("b"), lab.ns("c")


def resident(ns, *limits):
    p = subprocess.Popen(["ip", "netns", "exec", ns.name, *limits, "sleep", "600"])
    lab.later(lambda: (p.kill(), p.wait()))


# What stays in a plain namespace shows what can be done there; and in one where nothing does, root may still come.
resident(b, "setpriv", "--bounding-set", "-all,+net_raw")
resident(c)
d = lab.daemon(expect=[a.name, b.name])
api = d.api


def mac_of(ns, dev="eth0"):
    return mac(json.loads(ns.ip("-j", "link", "show", "dev", dev).out)[0]["address"])


def link_local(ns):
    return re.search(r"inet6 (fe80\S+)/64", ns.ip("-6", "addr", "show", "dev", "eth0").out).group(1)


def guards():
    return re.findall(r"table netdev (nanoseg_\w+)", lab.host.exec("nft", "list", "tables").out)


def guard_text():
    return "".join(lab.host.exec("nft", "-s", "list", "table", "netdev", g).out for g in guards())


for n in (a, b, c):
    n.mac, n.link_local = mac_of(n), link_local(n)

policy = guardlib.policy(a.name, b.name)


def held():
    i = api.workload(a.name)["instances"][0]
    return i["guard"] if i.get("guard") and i["guard"]["inForce"] else None


def raw(path, frames, dev="eth0", ns=a):
    return ns.exec(RAW, path, dev, *(f.hex() for f in frames), check=False)


def graded(n, grade, *words):
    w = api.workload(n.name)
    return w["enforceable"] == grade and all(x in w.get("why", "") for x in words) and bool(w.get("why")) == bool(words)


t.ok(wait(lambda: graded(a, "full") and graded(b, "partial", "CAP_NET_RAW", "until its egress is enforced") and
          graded(c, "partial", "CAP_NET_ADMIN"), 5),
     "plain namespaces, observed: graded by what stays in them", api.workloads())
oracles = [Oracle(b), Oracle(c)]
cases = dict(frames(False, a, b, c, lab.gw4), **frames(True, a, b, c, lab.gw4))
allowed = {n for n, (_, may) in cases.items() if may}


def shoot(path, some, send):
    return guardlib.shoot(oracles, path, some, send)


def verdict(what, got, want, r):
    t.ok(got == want, what, "passed though it must not: %s" % sorted(got - want),
         "did not arrive: %s" % sorted(want - got), r.out + r.err)


PATHS = ("packet", "bypass", "xdp")
for path in PATHS:
    got, r = shoot(path, cases, raw)
    if r.returncode == 77:
        t.skip("without a guard", r.out.strip())
        continue
    t.ok(len(got) == len(cases), "without a guard all %d frames arrive by %s" % (len(cases), path),
         sorted(set(cases) - got), r.out)


def settle_neighbours():
    for n in (a, b, c, lab.host):
        for f in ("-4", "-6"):
            n.ip(f, "neigh", "flush", "all", check=False)


code, answer = api.apply(json.dumps(policy))
t.ok(code == 200, "a policy is applied", answer)
t.ok(wait(held, 3) and len(guards()) == 1,
     "the enforced workload has a guard at the host's end of its link, and status says so",
     guards(), api.workload(a.name), d.text())
t.ok(graded(a, "full", "root in it has CAP_NET_RAW", "an answer from a served port"), "by default; its grade says what is left",
     api.workload(a.name))
settle_neighbours()
for path in PATHS:
    got, r = shoot(path, cases, raw)
    if r.returncode != 77:
        verdict("with it, by %s, what is approved arrives and nothing else (%d of %d)" % (
            path, len(allowed), len(cases)), got, allowed, r)

# Through the stack: what is approved never breaks.
for n, ports, port in ((a, (8001,), 8002), (b, (9001, 9003), 9002)):
    for p in ports:
        n.serve(p)
    n.serve_udp(port)


def large(src, dst, port, size):
    """How much of a datagram that goes and comes back in fragments."""
    with src.socket(family_of(dst), socket.SOCK_DGRAM) as u:
        u.settimeout(2)
        u.connect((dst, port))
        u.send(b"x" * size)
        try:
            return len(u.recv(65536))
        except OSError:
            return 0


def broken():
    """What does not work of what is approved."""
    bad = []
    for six in (False, True):
        va, vb = addrs(a, six), addrs(b, six)
        for name, good in (
                ("TCP out", a.tcp(vb, 9001, 2) == "open"), ("TCP in", b.tcp(va, 8001, 2) == "open"),
                ("UDP out", a.udp(vb, 9002, 2) == "answer"), ("UDP in", b.udp(va, 8002, 2) == "answer"),
                ("fragments out", large(a, vb, 9002, 1900) == 1900),
                ("fragments in", large(b, va, 8002, 1900) == 1900),
                ("ping out", a.ping(vb, 1, 1, 2) == 1), ("ping in", b.ping(va, 2, 1, 2) == 1)):
            if not good:
                bad.append("%s %s" % ("v6" if six else "v4", name))
    return bad


settle_neighbours()
bad = broken()
t.ok(not bad, "what is approved works, both ways: TCP, UDP, fragments, ICMP", bad)
refused = [b.tcp(a.v4, 8009), b.tcp(a.v6, 8009), b.udp(a.v4, 8009)]
t.ok(refused == ["refused", "refused", "error 113"], "a local workload's call that is not approved is refused at once", refused)
t.ok("open" not in (a.tcp(b.v4, 9003, 0.3), a.tcp(b.v6, 9003, 0.3)), "and what is not approved fails")
with b.connect(a.v4, 8001) as s1:
    s1.settimeout(3)
    b.ip("link", "set", "dev", "eth0", "mtu", "1300")
    sent = got = 0
    while got < 200000:
        if sent < 200000:
            sent += s1.send(b"y" * 4000)
        try:
            got += len(s1.recv(65536))
        except OSError:
            break
    b.ip("link", "set", "dev", "eth0", "mtu", "1500")
t.ok(got >= 200000, "a connection lives through a change of MTU", got)

# Nobody on the host takes it away.
name = guards()[0]
lab.host.exec("nft", "flush", "ruleset", check=False)
r = lab.host.exec("nft", "delete", "table", "netdev", name, check=False)
t.ok(guards() == [name] and r.returncode != 0 and "goto spoofed" in guard_text(),
     "`nft flush ruleset` leaves it, and deleting it is refused", r.err, guards())
r = a.exec("nft", "list", "ruleset", check=False)
t.ok("netdev" not in r.out, "inside there is nothing of it to be seen")

# Every role may die.
few = {k: v for k, v in cases.items() if k in (
    "v4 UDP to an approved port", "v4 UDP to another port", "v4 another's source address",
    "v6 UDP to an approved port", "v6 UDP to another port")}
few_allowed = allowed & set(few)
old = d.kill("warden")
got, r = shoot("packet", few, raw)
verdict("with the warden killed the guard stands", got, few_allowed, r)
t.ok(wait(lambda: d.roles().get("warden") not in (None, old), 5) and wait(held, 5) and guards() == [name],
     "the next warden takes it over", guards(), d.text()[-2000:])
policy["edges"].append({"from": a.name, "to": b.name, "proto": "tcp", "port": 9003, "state": "approved"})
api.apply(json.dumps(policy))
t.ok(wait(lambda: a.tcp(b.v4, 9003, 0.3) == "open", 3) and not broken(), "and changes it")
d.kill_all()
got, r = shoot("packet", few, raw)
verdict("with every role killed, the keeper too, it stands", got, few_allowed, r)
d.start(expect=[a.name])
t.ok(wait(held, 5) and guards() == [name] and not broken(), "the next start adopts it", guards(), broken())

# Changes of the policy cost nothing that both allow.
exchanges = []
stop = threading.Event()


def stream():
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.settimeout(1)
        u.connect((b.v4, 9002))
        while not stop.is_set():
            u.send(b"z")
            try:
                u.recv(16)
                exchanges.append(True)
            except OSError:
                exchanges.append(False)


th = threading.Thread(target=stream)
th.start()
more = [{"from": a.name, "to": b.name, "proto": "udp", "port": 7000, "state": "approved"},
        {"from": a.name, "to": {"cidr": "198.51.100.0/24"}, "proto": "udp", "port": 9002, "state": "approved"}]
for k in range(30):
    api.apply(json.dumps(dict(policy, edges=policy["edges"] + (more if k % 2 else []))))
stop.set()
th.join()
t.ok(len(exchanges) > 100 and all(exchanges), "30 changes of policy lose nothing that all of them allow",
     "%d of %d" % (exchanges.count(False), len(exchanges)))
t.note("%d exchanges meanwhile" % len(exchanges))

# Links and addresses come and go.
extra = lab.addr(200)[0]
a.ip("addr", "add", extra + "/24", "dev", "eth0")
t.ok(wait(lambda: extra in guard_text(), 20), "another address of it is known at once", guard_text())
a.ip("addr", "del", extra + "/24", "dev", "eth0")
t.ok(wait(lambda: extra not in guard_text(), 20), "and no longer when it is gone")
second = "n%dx" % os.getpid()
lab.at_host("ip", "link", "add", second, "type", "veth", "peer", "name", "eth1", "netns", a.name)
lab.at_host("ip", "link", "set", second, "master", lab.bridge, "up")
a.ip("link", "set", "eth1", "up")
t.ok(wait(lambda: (held() or {}).get("devices") == 2, 5) and len(guards()) == 2, "a second link gets its own",
     guards(), api.workload(a.name)["instances"])
lab.at_host("ip", "link", "set", second, "down")
lab.at_host("ip", "link", "set", second, "name", second + "y")
lab.at_host("ip", "link", "set", second + "y", "up")
t.ok(wait(lambda: '"%sy"' % second in guard_text() and '"%s"' % second not in guard_text(), 5),
     "which follows a new name of its device", guard_text())
lab.at_host("ip", "link", "del", second + "y")
t.ok(wait(lambda: guards() == [name], 5), "and goes with it", guards())

# What comes in by TUN, and a link that is moved to a nested namespace, which takes its guard along.
if os.path.exists("/dev/net/tun"):
    a.exec("sysctl", "-qw", "net.ipv4.ip_forward=1")
    got, r = shoot("tun", {k: v for k, v in few.items() if "v4" in k}, lambda p, f: raw(p, f, dev="tun7"))
    t.ok(not got, "what comes in by TUN to be forwarded stays inside", sorted(got), r.out)
nested = lab.space("nsn%d" % os.getpid())
a.ip("link", "set", "eth0", "netns", nested.name)
nested.ip("link", "set", "eth0", "up")
time.sleep(0.1)
for path in PATHS:
    got, r = shoot(path, cases, lambda p, f: raw(p, f, ns=nested))
    if r.returncode != 77:
        # Its addresses were gone with the move, and the guard follows: not even what is approved.
        t.ok(not got, "from a nested namespace that got the link, by %s: nothing" % path, sorted(got), r.out)
t.ok(guards() == [name], "its guard is still there", guards())
nested.ip("link", "set", "eth0", "netns", a.name)
a.ip("addr", "add", a.v4 + "/24", "dev", "eth0")
a.ip("addr", "add", a.v6 + "/64", "dev", "eth0", "nodad")
a.ip("link", "set", "eth0", "up")
wait(held, 5)

# Modes.
api.mode("audit", a.name)
settle_neighbours()
got, r = shoot("packet", few, raw)
t.ok(guards() == [name] and got == set(few), "in audit everything passes", sorted(set(few) - got), guards())
api.mode("enforce", a.name, direction="ingress")
wait(held, 3)
t.ok(graded(a, "full"), "with ingress alone nothing is promised of what it sends", api.workload(a.name))
got, r = shoot("packet", few, raw)
t.ok(got == {k for k in few if "another's" not in k}, "with ingress alone only addresses are held", sorted(got))
api.mode("observe", a.name)
t.ok(wait(lambda: not guards(), 3), "in observe there is none", guards())
api.mode("enforce", a.name, direction="both")
t.ok(wait(lambda: len(guards()) == 1, 3), "enforced again it is back", guards())
d.kill_all()
r = d.cleanup()
t.ok(r.returncode == 0 and not guards(), "cleanup leaves none", r.out, guards())
t.done()
