#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Beside Docker: what it has in a container's namespace (its resolver's translation) is never touched, by nothing that
the daemon does; and a restart of dockerd changes nothing of ours. On a machine of its own."""
import json
import os
import re
import signal
import struct
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import nslab
import ownlib
from nslab import PREFIX, Docker, Lab, run, table_text, wait

ownlib.alone(__file__)
t = nslab.Tap()
lab = Lab(real_host=True)
ownlib.start_docker(lab, "--live-restore", "--iptables=true")
docker = Docker(lab)
docker.network(PREFIX + "-net")
a, b = (docker.run("%s-%s" % (PREFIX, x), network=PREFIX + "-net") for x in "ab")
for place in (a, b):
    place.exec = lambda *cmd, pid=place.pid, check=True: run("nsenter", "-t", str(pid), "-n", *cmd, check=check)
b.serve(7001, "0.0.0.0")
b.serve(7002, "0.0.0.0")


def theirs(place):
    """Every rule in the namespace that is not ours, without counters."""
    return re.sub(r"#.*\n|\[\d+:\d+\]", "", place.exec("iptables-save").out)


def resolves(place):
    """Docker's resolver is asked for the other's name and answers with its address."""
    name = b"".join(bytes((len(x),)) + x for x in b.name.encode().split(b".")) + b"\0"
    with place.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.settimeout(2)
        try:
            u.sendto(struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1), ("127.0.0.11", 53))
            return socket.inet_aton(b.v4) in u.recv(512)
        except OSError:
            return False


def policy(n=0):
    edges = [{"from": a.name, "to": b.name, "proto": "tcp", "port": p, "state": "approved"}
             for p in [7001] + list(range(9000, 9000 + n))]
    return json.dumps({"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "edges": edges,
                       "workloads": [{"name": x.name, "mode": "enforce"} for x in (a, b)]})


def holds():
    return a.tcp(b.v4, 7001, 1) == "open" and a.tcp(b.v4, 7002) != "open"


before = [theirs(x) for x in (a, b)]
t.ok("DNAT" in before[0] and "127.0.0.11" in before[0] and resolves(a), "Docker translates for its resolver", before[0])
d = lab.daemon("hostGuard: on\n", expect=[a.name, b.name])
steps = {
    "an attach": lambda: None,
    "a policy that is enforced": lambda: d.api.apply(policy()),
    "twenty changes of it": lambda: [d.api.apply(policy(k % 5)) for k in range(20)],
    "a mode": lambda: d.api.mode("audit", a.name) and d.api.mode("enforce", a.name),
    "the death of every role, and a start": lambda: (d.kill_all(), d.start(expect=[a.name, b.name])),
}
for what, step in steps.items():
    step()
    t.ok([theirs(x) for x in (a, b)] == before, "untouched by %s" % what, theirs(a), before[0])
d.api.apply(policy())
t.ok(wait(holds, 5) and resolves(a), "enforced, and names are resolved", d.text()[-2000:])


# dockerd ends and comes back; its containers live on.
def guard():
    return run("nft", "-s", "list", "ruleset", "netdev", check=False).out


was = [table_text(x, d.table()) for x in (a, b)] + [re.sub(r"# progname.*", "", guard())]
with open("/run/dockerd.pid") as f:
    pid = int(f.read())
with open("/proc/%d/cmdline" % pid, "rb") as f:
    argv = f.read().split(b"\0")[:-1]
os.kill(pid, signal.SIGTERM)
wait(lambda: not nslab.alive(pid), 15)
t.ok(not nslab.alive(pid) and holds(), "with dockerd away the rules hold")
log = open(lab.dir + "/docker2.log", "wb")
again = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
lab.later(again.terminate)
lab.later(docker.remove)
back = wait(lambda: run("docker", "version", check=False).returncode == 0, 30, 0.2)
alive = json.loads(run("docker", "inspect", a.id).out)[0]["State"]["Pid"] == a.pid
t.ok(back and alive, "dockerd is restarted, its containers live on")
now = [table_text(x, d.table()) for x in (a, b)] + [re.sub(r"# progname.*", "", guard())]
t.ok(now == was and holds(), "a restart of dockerd changes no rule and no guard of ours", now, was)
t.ok(sum(d.api.workload(x.name)["drift"] for x in (a, b)) == 0, "and is no drift")
between = [theirs(x) for x in (a, b)]
d.api.apply(policy(3))
run("nft", "flush", "ruleset")
t.ok([theirs(x) for x in (a, b)] == between and wait(holds, 5),
     "what Docker has there by now is untouched; `nft flush ruleset` on the host takes nothing of ours")
d.stop()
d.cleanup()
t.ok([theirs(x) for x in (a, b)] == between and not table_text(a, d.table()), "a cleanup removes ours alone")
t.done()
