#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways past a container's own rules, by what it is permitted: each path and each set of capabilities,
what arrives counted at the other containers' interfaces, and the grade that status gives."""
import json
import os
import re
import sys

HERE = os.path.join(os.environ.get("top_srcdir", "."), "tests/integration")
sys.path.insert(0, HERE)
import guardlib
from guardlib import Oracle, ether, frames, mac, packet, udp
from nslab import BUILD, PREFIX, Docker, Lab, Tap, run, wait

RAW = BUILD + "/tests/integration/rawsend"
t = Tap()
lab = Lab(real_host=True)
docker = Docker(lab)
net = PREFIX + "-net"
run("docker", "network", "create", "--ipv6", "--subnet", "fd4e:%x:1::/64" % (os.getpid() & 0xffff), net)
docker.networks.append(net)
MOUNT = ["-v", "%s:/rawsend:ro" % RAW]


def container(short, *args):
    p = docker.run(PREFIX + "-" + short, *args, *MOUNT, network=net)
    for tell in json.loads(run("nsenter", "-t", str(p.pid), "-n", "ip", "-j", "addr").out):
        if tell["ifname"] == "eth0":
            p.mac = mac(tell["address"])
            for x in tell["addr_info"]:
                if x["family"] == "inet6":
                    if x["scope"] == "link":
                        p.link_local = x["local"]
                    else:
                        p.v6 = x["local"]
    return p


NO_CAPS = ["--cap-drop", "ALL"]
PRIVILEGED = ["--privileged"]
# Where this is a container itself, it has no more to give than it has.
if run("docker", "run", "--rm", *PRIVILEGED, *docker.FOLDERS, docker.image, "/bin/true", check=False).returncode:
    PRIVILEGED = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
                  "--cap-add", "NET_ADMIN", "--cap-add", "SYS_ADMIN", "--device", "/dev/net/tun"]
b, c = container("b", *NO_CAPS), container("c", *NO_CAPS)
SETS = [
    ("no capability", "none", NO_CAPS, (), "full", None),
    ("CAP_NET_RAW", "raw", NO_CAPS + ["--cap-add", "NET_RAW"], ("packet", "bypass", "xdp", "inet"), "full",
     "an answer from a served port"),
    ("CAP_NET_ADMIN", "net", NO_CAPS + ["--cap-add", "NET_ADMIN", "--device", "/dev/net/tun"], ("tun", "tap"),
     "partial", "is held by the host guard"),
    ("CAP_NET_RAW and CAP_NET_ADMIN", "admin",
     NO_CAPS + ["--cap-add", "NET_RAW", "--cap-add", "NET_ADMIN", "--device", "/dev/net/tun"],
     ("packet", "bypass", "xdp", "inet", "tun", "tap"), "partial", "is held by the host guard"),
    ("all that there are", "privileged", PRIVILEGED,
     ("packet", "bypass", "xdp", "inet", "tun", "tap", "nested", "nested bypass", "nested xdp"), "partial", None),
]
PATHS = ("packet", "bypass", "xdp", "inet", "tun", "tap", "nested", "nested bypass", "nested xdp")
subjects = [container(short, *args) for _, short, args, *_ in SETS]
d = lab.daemon(expect=[b.name, c.name] + [s.name for s in subjects])
api = d.api
oracles = [Oracle(b), Oracle(c)]


def send(place, path, out):
    words = [f.hex() for f in out]
    dev = path + "9" if path in ("tun", "tap") else "eth0"
    enter = []
    if path.startswith("nested"):
        path, enter = path[7:] or "packet", ["nsenter", "--net=/nested"]
    return run("docker", "exec", place.id, *enter, "/rawsend", path, dev, *words, check=False)


def guard(place):
    w = api.workload(place.name)
    return w["instances"][0]["guard"] if w and w["instances"] else None


def nest(place):
    """What a privileged container can do: its link goes to a namespace inside it."""
    r = run("docker", "exec", place.id, "/bin/sh", "-c",
            "touch /nested && unshare --net=/nested true && "
            "ip link set eth0 netns /nested && nsenter --net=/nested ip link set eth0 up", check=False)
    return r


def inside(place, script):
    return run("docker", "exec", place.id, "/bin/sh", "-c", script, check=False)


def shoot(place, path, cases):
    """Over a bridge inside, which its link is a port of, if by TAP."""
    if path == "tap":
        inside(place, "ip link add br9 type bridge mcast_snooping 0 && ip link set br9 up && ip link set eth0 master br9")
    try:
        return guardlib.shoot(oracles, path, cases, lambda p, f: send(place, p, f))
    finally:
        if path == "tap":
            inside(place, "ip link set eth0 nomaster; ip link del br9")


for what, short, _, can, grade, why in SETS:
    place = subjects[[s[1] for s in SETS].index(short)]
    cases = dict(frames(False, place, b, c, place.gateway), **frames(True, place, b, c, place.gateway))
    # Without guards: that these frames do arrive.
    if "packet" in can:
        got, r = guardlib.shoot(oracles, "packet", cases, lambda p, f: send(place, p, f))
        # A bridge that calls the IPv4 hooks (br_netfilter) passes no fragments of incomplete packets.
        t.ok(all("fragment" in n for n in set(cases) - got),
             "%s, observed: %d of %d frames arrive" % (what, len(got), len(cases)), sorted(set(cases) - got),
             r.out + r.err)
        cases = {n: f for n, f in cases.items() if n in got}
    if "tap" in can:
        got, r = shoot(place, "tap", cases)
        t.ok(len(got) > len(cases) // 2, "%s, observed: by TAP %d of %d arrive" % (what, len(got), len(cases)), r.out + r.err)
    allowed = {n for n, (_, may) in cases.items() if may}
    w = api.workload(place.name)
    if why and "answer" in why:
        t.ok(w["enforceable"] == "partial" and "until its egress is enforced" in w["why"],
             "%s, observed: the grade waits for the guard" % what, w)
    policy = guardlib.policy(place.name, b.name)
    code, answer = api.apply(json.dumps(policy))
    held = wait(lambda: (guard(place) or {}).get("inForce"), 5) if can else None
    w = api.workload(place.name)
    t.ok(code == 200 and w["enforceable"] == grade and (why is None or why in w["why"]) and
         bool(held) == bool(can), "%s, enforced: the grade is %s" % (what, grade), answer, w, d.text()[-2000:])
    for path in PATHS:
        if path == "nested" and "nested" in can:
            r = nest(place)
            if not t.ok(r.returncode == 0, "%s: its link can be moved to a namespace inside" % what, r.err):
                continue
        some = {n: f for n, f in cases.items() if n.startswith("v4 UDP")} if path == "tun" else cases
        got, r = shoot(place, path, some)
        if path not in can:
            t.ok(not got, "%s, by %s: not permitted" % (what, path), sorted(got), r.out)
            continue
        if path in ("inet", "tap"):
            # Its own rules, or those of its bridge, see these as well, and let less through than the guard. For raw
            # sockets the kernel writes the frame's head: only the packet in it is the sender's own.
            if path == "inet":
                got = {n for n in got if "source hardware address" not in n}
            t.ok(got <= allowed, "%s, by %s: %d of %d, no more than is approved" % (what, path, len(got), len(some)),
                 sorted(got - allowed), r.out + r.err)
            continue
        # What TUN brings in is forwarded inside, which no mode that enforces lets through.
        want = set() if path == "tun" else allowed
        t.ok(got == want, "%s, by %s: %d of %d, what is approved" % (what, path, len(want), len(some)),
             "passed though it must not: %s" % sorted(got - want),
             "did not arrive: %s" % sorted(want - got), r.out + r.err)

# With CAP_NET_ADMIN one can give oneself another address; its guard does not follow.
place = subjects[3]
policy = guardlib.policy(place.name, b.name)
api.apply(json.dumps(policy))
wait(lambda: (guard(place) or {}).get("inForce"), 5)
other = re.sub(r"\d+$", "250", place.v4)
run("docker", "exec", place.id, "ip", "addr", "add", other + "/16", "dev", "eth0")
wait(lambda: any(other in str(x) for x in api.workload(place.name)["instances"][0]["addresses"]), 3)
f = {"own": (ether(place.mac, b.mac, 0x800, packet(place.v4, b.v4, 17, udp(place.v4, b.v4, 4000, 9002, b"MARK"))), True),
     "new": (ether(place.mac, b.mac, 0x800, packet(other, b.v4, 17, udp(other, b.v4, 4000, 9002, b"MARK"))), False)}
got, r = guardlib.shoot(oracles, "packet", f, lambda p, x: send(place, p, x))
t.ok(got == {"own"}, "an address that it gives itself is not its own for the guard", sorted(got), r.out)
new_mac = mac("02:11:22:33:44:55")
run("docker", "exec", place.id, "ip", "link", "set", "eth0", "address", "02:11:22:33:44:55")
f["new"] = (ether(new_mac, b.mac, 0x800, packet(place.v4, b.v4, 17, udp(place.v4, b.v4, 4000, 9002, b"MARK"))), False)
policy["edges"].append({"from": place.name, "to": b.name, "proto": "tcp", "port": 9005, "state": "approved"})
api.apply(json.dumps(policy))
got, r = guardlib.shoot(oracles, "packet", f, lambda p, x: send(place, p, x))
t.ok(got == {"own"}, "nor is another hardware address", sorted(got), r.out)
t.ok(wait(lambda: guard(place)["changed"] == 1 and not guard(place)["inForce"], 3) and
     d.says("changed a hardware address"), "which status and the log tell", guard(place))
d.stop()
r = d.cleanup()
left = run("nft", "list", "tables").out
t.ok(r.returncode == 0 and d.table() not in left, "cleanup leaves no guard on the host", r.out, left)
t.done()
