#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots, on a machine of its own with systemd, Docker, the service and the start gate: containers that
are restarted with the machine come up enforced from their first instruction, in every order; the
rules stand through what systemd does to the service.

A container's first instructions send a datagram and a SYN to the machine's own address; a table of
nftables in the machine's namespace counts what comes out of the containers.

Every time 8 containers, a power cut and a daemon that comes late; with NANOSEG_BOOT=all 30, and also what
systemd does to the service, and restarts of dockerd.
"""
import calendar
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import machine
from nslab import Api, BUILD, Tap, skip_all, wait

ALL = os.environ.get("NANOSEG_BOOT") == "all"
DEB = sorted(glob.glob(BUILD + "/nanoseg_*.deb"))
CONTAINERS = 30 if ALL else 8
PORT, GATEWAY = 7001, "172.17.0.1"
ORACLE = """table inet oracle {
	counter leaked { }
	chain c { type filter hook prerouting priority -500; meta l4proto { tcp, udp } th dport %d counter name leaked; }
}
""" % PORT
UNIT = """[Unit]
Before=docker.service nanosegd.service
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/usr/sbin/nft -f /etc/oracle.nft
"""

LATE = """[Unit]
DefaultDependencies=no
[Service]
ExecStart=sh -c 'while ! systemctl show -P ExecMainStartTimestampMonotonic docker | grep -q [1-9]; do sleep 0.1; done; \
	sleep 3; systemctl start nanosegd'
"""

machine.alone()
if not DEB:
    skip_all("there is no package: make deb")
if not shutil.which("dockerd"):
    skip_all("needs dockerd")
t = Tap()
m = machine.Machine()
shutil.copy(DEB[-1], m.root + "/root/nanoseg.deb")
shutil.copy(BUILD + "/tests/integration/first", m.root + "/root/first")
m.write("/etc/oracle.nft", ORACLE)
m.write("/etc/systemd/system/oracle.service", UNIT)
m.enable("docker.service")
m.enable("oracle.service", "/etc/systemd/system/")


def boot():
    began = time.monotonic()
    if not m.boot():
        print(m.console()[-3000:])
        return None
    return time.monotonic() - began


if boot() is None or not wait(lambda: m.sh("docker info").returncode == 0, 20, 0.2):
    skip_all("a machine of its own with Docker does not boot here")
m.sh("tar -C /root -c first | docker import - first:1", check=True)
r = m.sh("echo man-db man-db/auto-update boolean false | debconf-set-selections; dpkg -i /root/nanoseg.deb 2>&1")
t.ok(r.returncode == 0, "the package is installed", r.out)


def api():
    return Api("/proc/%d/root/run/nanoseg/nanosegd.sock" % m.pid)


def leaked():
    out = json.loads(m.sh("nft -j list counter inet oracle leaked").out)["nftables"]
    return [x["counter"]["packets"] for x in out if "counter" in x][0]


def up():
    return len(m.sh("docker ps -q --filter name=box").out.split())


def restarts():
    out = m.sh("docker inspect -f '{{.RestartCount}} {{.State.Status}} {{.State.Error}}' $(docker ps -aq --filter name=box)").out
    return out.splitlines()


def all_up(seconds=150):
    """Seconds until all are up, None if they are not."""
    began = time.monotonic()
    return time.monotonic() - began if wait(lambda: up() == CONTAINERS, seconds, 0.1) else None


def enforced():
    w = api().workloads()
    return sum(len(x["instances"]) for n, x in w.items() if n.startswith("box") and x["mode"] == "enforce")


def starts():
    return [i["start"]["kind"] for n, w in api().workloads().items() if n.startswith("box") for i in w["instances"]]


def active(unit="nanosegd"):
    return m.sh("systemctl is-active " + unit).out.strip()


def main_pid():
    return int(m.sh("systemctl show -P MainPID nanosegd").out)


def keeper():
    return m.sh("pgrep -x ns-keeper").out.strip()


def try_first():
    """What gets out of a running container that sends now."""
    before = leaked()
    m.sh("docker exec box0 /first send %s %d 0" % (GATEWAY, PORT))
    return leaked() - before


def service_tests():
    first_keeper, old = keeper(), main_pid()
    m.sh("systemctl stop nanosegd")
    t.ok(active() == "inactive" and keeper() == first_keeper and try_first() == 0, "systemctl stop keeps the keeper and the rules",
         active(), keeper())
    m.sh("systemctl start nanosegd")
    t.ok(active() == "active" and keeper() == first_keeper and try_first() == 0, "systemctl start finds them")
    m.sh("systemctl restart nanosegd")
    t.ok(active() == "active" and keeper() == first_keeper and try_first() == 0, "systemctl restart, too")
    old = main_pid()
    m.sh("kill -9 %d" % old)
    t.ok(wait(lambda: main_pid() not in (0, old) and active() == "active", 10, 0.1) and keeper() == first_keeper and
         try_first() == 0, "a crash of the main process: started again, the rules stand",
         m.sh("systemctl status nanosegd --no-pager").out)
    old = main_pid()
    m.sh("systemctl kill nanosegd")
    t.ok(wait(lambda: main_pid() not in (0, old) and active() == "active", 15, 0.1) and try_first() == 0,
         "systemctl kill, the keeper included: the rules stand, it is started again", m.sh("systemctl status nanosegd --no-pager").out)
    old = main_pid()
    m.sh("systemctl kill -s KILL nanosegd")
    t.ok(try_first() == 0 and wait(lambda: main_pid() not in (0, old) and active() == "active", 15, 0.1) and try_first() == 0,
         "systemctl kill -s KILL as well", m.sh("systemctl status nanosegd --no-pager").out)
    t.ok(m.sh("readlink /proc/1/ns/mnt").out == m.sh("readlink /proc/%d/ns/mnt" % main_pid()).out,
         "the service sees the mounts that engines make: it has none of its own")
    wait(lambda: not api().behind(), 60)


def engine_tests():
    before = leaked()
    m.sh("systemctl restart docker", timeout=120)
    took = all_up()
    t.ok(took is not None and leaked() == before, "dockerd restarted: all come up again, nothing leaks", restarts(), leaked() - before)
    m.sh("""sed -i 's/^{/{ "live-restore": true,/' /etc/docker/daemon.json && systemctl reload docker""")
    pids = m.sh("docker inspect -f '{{.State.Pid}}' $(docker ps -q)").out
    before = leaked()
    m.sh("systemctl stop docker.socket docker; systemctl restart nanosegd; systemctl start docker", timeout=120)
    t.ok(up() == CONTAINERS and m.sh("docker inspect -f '{{.State.Pid}}' $(docker ps -q)").out == pids,
         "live-restore: the same processes run on, nanosegd restarted while dockerd was away", restarts())
    wait(lambda: enforced() == CONTAINERS and not api().behind(), 60)
    t.ok(enforced() == CONTAINERS and leaked() == before and try_first() == 0, "and stay enforced", enforced(), starts())
    m.sh("""sed -i 's/ "live-restore": true,//' /etc/docker/daemon.json && systemctl reload docker""")


def exposure_test():
    """Started past the gate while the daemon was away: found, held, and told."""
    m.sh("docker run -d --runtime runc --name plain first:1 /first send %s %d 100000" % (GATEWAY, PORT), check=True)
    wait(lambda: "plain" in api().workloads(), 20)
    api().mode("enforce", "plain")
    wait(lambda: not api().behind(), 60)
    m.sh("systemctl stop nanosegd")
    left, before = time.time(), leaked()
    m.sh("docker restart -t 0 plain", check=True)
    t.ok(leaked() > before, "past the gate, the daemon away: it runs without rules", leaked() - before)
    m.sh("systemctl start nanosegd")
    wait(lambda: api().get("/v1/status").get("exposure") and not api().behind(), 60)
    got = api().get("/v1/status")["exposure"]
    told = [[calendar.timegm(time.strptime(x[k][:19], "%Y-%m-%dT%H:%M:%S")) for k in ("from", "to")] for x in got]
    t.ok([x["workload"] for x in got] == ["plain"] and left - 2 <= told[0][0] <= told[0][1] <= time.time() and
         try_first() == 0, "on its return: that container alone is told, from when to when", got, left)
    out = m.sh("nanoseg status --why; nanoseg doctor; nanoseg audit-log show -o json | grep exposure").out
    t.ok("ran without rules from" in out and "while nanosegd was away" in out and '"exposure"' in out,
         "status --why, doctor and the audit log say so", out)
    m.sh("systemctl restart nanosegd")
    wait(lambda: not api().behind(), 60)
    t.ok(api().get("/v1/status")["exposure"] == got, "once, and it is kept", api().get("/v1/status")["exposure"])
    m.sh("docker rm -f plain")


def absent_test():
    m.cut_power()
    os.unlink(m.root + "/etc/systemd/system/multi-user.target.wants/late.service")
    boot()
    wait(lambda: all("start refused" in x for x in restarts()), 60, 0.5)
    refused = restarts()
    t.ok(len(refused) == CONTAINERS and all("start refused" in x for x in refused) and up() == 0 and leaked() == 0,
         "a daemon that does not come: every start is refused, with a sentence", leaked(), refused[:3])
    m.sh("systemctl start nanosegd; docker ps -aq --filter name=box | xargs -P 8 -n 1 docker start", timeout=150)
    t.ok(all_up() is not None and leaked() == 0, "and started by hand later they come up", leaked(), restarts())


# Made, observed, enforced; nothing is approved.
m.sh("nanoseg gate install --engine docker && systemctl reload docker", check=True)
before = leaked()
m.sh("seq 0 %d | xargs -P 4 -I N docker run -d --restart always --name boxN first:1 /first send %s %d 100000"
     % (CONTAINERS - 1, GATEWAY, PORT), timeout=180)
t.ok(all_up() is not None, "%d containers run" % CONTAINERS, restarts())
t.ok(leaked() > before, "the oracle sees what an ungoverned container sends", leaked())
wait(lambda: sum(n.startswith("box") for n in api().workloads()) == CONTAINERS, 60)
api().mode("enforce", *["box%d" % i for i in range(CONTAINERS)])
wait(lambda: enforced() == CONTAINERS and not api().behind(), 60)
t.ok(enforced() == CONTAINERS and try_first() == 0, "all are enforced", starts(), try_first())
exposure_test()
if ALL:
    service_tests()
    engine_tests()

# The power goes; all comes up by itself.
m.cut_power()
took = boot()
came = all_up()
t.ok(came is not None, "after a power failure all %d come up" % CONTAINERS, restarts(), m.sh("nanoseg status").out)
t.ok(leaked() == 0, "and nothing leaks", leaked(), starts())
wait(lambda: enforced() == CONTAINERS and not api().behind(), 60)
kinds = starts()
t.ok(kinds == ["gated"] * CONTAINERS, "each through the gate", kinds)
refused = m.sh("journalctl -b -u docker --no-pager | grep -c 'start refused'").out.strip()
t.note("boot: systemd done after %.1f s, all containers %.1f s later, %s starts refused on the way, %s restarts"
       % (took or -1, came or -1, refused, sum(int(x.split()[0]) for x in restarts())))
order = m.sh("systemctl show -P ActiveEnterTimestampMonotonic nanosegd; systemctl show -P ExecMainStartTimestampMonotonic docker").out.split()
t.ok(int(order[0]) <= int(order[1]), "dockerd is started when nanosegd is ready", order)
t.note("nanosegd ready %.0f ms before dockerd was started" % ((int(order[1]) - int(order[0])) / 1000))
shim = m.sh("systemctl show -P ExecMainStartTimestampMonotonic containerd").out.strip()
t.ok(shim.isdigit() and int(order[0]) <= int(shim), "and so is containerd, which dockerd asks for", order, shim)

# The wrong order: dockerd starts all of them, the daemon comes a while later.
m.cut_power()
os.unlink(m.root + "/etc/systemd/system/multi-user.target.wants/nanosegd.service")
m.write("/etc/systemd/system/late.service", LATE)
m.enable("late.service", "/etc/systemd/system/")
boot()
came = all_up()
t.ok(leaked() == 0, "dockerd first, nanosegd later: nothing leaks", leaked(), starts())
t.ok(came is not None, "all come up: their starts have waited for it", restarts())
order = m.sh("systemctl show -P ExecMainStartTimestampMonotonic docker nanosegd").out.split()
t.ok(int(order[0]) < int(order[1]), "and it did come later", order)

if ALL:
    absent_test()
t.done()
