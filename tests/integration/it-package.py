#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The package, on a machine of its own with systemd and Docker: installed, upgraded while it enforces,
removed, purged. An upgrade lets no denied packet through and cuts no allowed connection; a removal
leaves no table, no gate and no file but configuration and state; a purge leaves nothing."""
import glob
import json
import os
import shutil
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import machine
from nslab import Api, BUILD, Place, Tap, skip_all, wait

DEB = sorted(glob.glob(BUILD + "/nanoseg_*.deb"))
OPEN, SHUT = 80, 81
HOOKS = "/usr/share/containers/oci/hooks.d"
# What installing anything leaves.
BYSTANDERS = ("/var/lib/dpkg/", "/var/log/", "/var/cache/", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow",
              "/etc/.pwd.lock", "/etc/docker/key.json", "/root/", "/var/lib/systemd/")

machine.alone()
if not DEB:
    skip_all("there is no package: make deb")
if not shutil.which("dockerd"):
    skip_all("needs dockerd")
t = Tap()
m = machine.Machine()
shutil.copy(DEB[-1], m.root + "/root/nanoseg.deb")
shutil.copy(BUILD + "/tests/integration/gate-client", m.root + "/root/client")
CONFIG = '{"log-level": "warn"}'
m.write("/etc/docker/daemon.json", CONFIG)
m.enable("docker.service")
if not m.boot():
    print(m.console())
    skip_all("a machine of its own does not boot here")
if not wait(lambda: m.sh("docker info").returncode == 0, 20, 0.2):
    skip_all("a Docker daemon of its own does not start here")
m.sh("tar -C /root -c client | docker import - client:1", check=True)
m.sh("echo man-db man-db/auto-update boolean false | debconf-set-selections")
before = m.changed()

# Installed.
r = m.sh("dpkg -i /root/nanoseg.deb 2>&1", check=False)
t.ok(r.returncode == 0, "dpkg installs it", r.out)
t.ok(wait(lambda: m.sh("systemctl is-active nanosegd").out.strip() == "active", 5), "its service runs",
     m.sh("systemctl status nanosegd --no-pager").out)
t.ok(m.sh("systemctl is-enabled nanosegd").out.strip() == "enabled", "and will at the next boot")
sock = "/proc/%d/root/run/nanoseg/nanosegd.sock" % m.pid
api = Api(sock)
USERS = ["_nanoseg", "_nanoseg-capture", "_nanoseg-discovery", "_nanoseg-keeper", "_nanoseg-probe",
         "_nanoseg-herald"]
users = [m.sh("id -u " + u).out.strip() for u in USERS]
t.ok(all(users) and len(set(users)) == len(USERS) and m.sh("getent group nanoseg").out, "with users of its own", users)
uids = m.sh("ps -o user:32= -C ns-controller,ns-capture,ns-discovery,ns-keeper,ns-probe").out.split()
t.ok(sorted(uids) == USERS[:-1], "which its roles run as; the last only with alerts to send", uids)
r = m.sh("nanoseg doctor")
t.ok(r.returncode in (0, 3) and "engine" in r.out, "the command line reaches it", r.out, r.err)
wrong = m.sh("dpkg -V nanoseg").out
t.ok(not wrong, "its files are as packed", wrong)
t.ok(m.sh("man -w nanoseg nanosegd nanosegd.yaml").returncode == 0, "with its manual pages")
t.ok("complete -F" in m.sh("bash -c '. /usr/share/bash-completion/completions/nanoseg; complete -p nanoseg'").out,
     "and its completion")
r = m.sh("systemd-analyze verify /usr/lib/systemd/system/nanosegd.service")
t.ok(r.returncode == 0 and not r.err, "systemd finds no fault with its unit", r.err)
t.note(m.sh("systemd-analyze security nanosegd --no-pager | tail -1").out.strip())

# Two containers, an approved edge, everything else denied.
places = {}
for name in ("server", "client"):
    m.exec("docker", "run", "-d", "--name", name, "client:1", "/client")
    info = json.loads(m.exec("docker", "inspect", name).out)[0]
    places[name] = Place("/proc/%d/root/proc/%d/ns/net" % (m.pid, info["State"]["Pid"]))
    places[name].v4 = info["NetworkSettings"]["IPAddress"]
server, client = places["server"], places["client"]
passed, stop = [], threading.Event()
# Both listen before anybody connects: the threads may run late.
listener = server.socket(socket.AF_INET)
listener.bind(("0.0.0.0", OPEN))
listener.listen(8)
shut = server.socket(socket.AF_INET, socket.SOCK_DGRAM)
shut.bind(("0.0.0.0", SHUT))


def serve_echo():
    def echo(c):
        while True:
            data = c.recv(64)
            if not data:
                return
            c.sendall(data)
    while True:
        threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()


def serve_shut():
    while True:
        passed.append(shut.recv(64))


threading.Thread(target=serve_echo, daemon=True).start()
threading.Thread(target=serve_shut, daemon=True).start()


def connect():
    c = client.socket(socket.AF_INET)
    c.settimeout(3)
    c.connect((server.v4, OPEN))
    return c


def edge():
    return next(iter(api.get("/v1/edges", state="pending")), None)


wait(lambda: api.workload("server") and api.workload("client"), 5)
alive = connect()
alive.sendall(b"x")
alive.recv(1)
e = wait(edge, 5)
t.ok(e and e["port"] == OPEN, "an edge between two containers is learned", api.edges(), m.sh("nanoseg status").out)
api.approve(e["id"])
api.mode("enforce", "server", "client")
tables = "nft list tables"


def in_netns(name, command):
    return m.sh("nsenter -t $(docker inspect -f '{{.State.Pid}}' %s) -n %s" % (name, command)).out


t.ok("nanoseg_" in in_netns("server", tables), "the rules are in force", in_netns("server", tables))

# Upgraded, with the gate in place, traffic all the while.
r = m.sh("nanoseg gate install --engine docker && nanoseg gate install --engine podman && systemctl reload docker")
t.ok(r.returncode == 0, "the gate is installed", r.out, r.err)
m.sh("echo '# mine' >>/etc/nanoseg/nanosegd.yaml")
m.sh("printf old >/usr/local/lib/nanoseg/nanoseg-oci-hook")
sent, echoed, broken = [0], [0], []


def flood():
    u = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while not stop.is_set():
        try:
            u.sendto(b"denied", (server.v4, SHUT))
        except OSError:
            pass
        sent[0] += 1
        time.sleep(0.001)


def converse():
    try:
        while not stop.is_set():
            alive.sendall(b"y")
            if alive.recv(1) != b"y":
                raise OSError("closed")
            echoed[0] += 1
            time.sleep(0.002)
    except OSError as x:
        broken.append(repr(x))


threads = [threading.Thread(target=f, daemon=True) for f in (flood, converse)]
for x in threads:
    x.start()
time.sleep(0.3)
keeper = m.sh("pgrep -x ns-keeper").out.strip()
main = m.sh("systemctl show -P MainPID nanosegd").out.strip()
r = m.sh("dpkg -i /root/nanoseg.deb 2>&1")
new = m.sh("systemctl show -P MainPID nanosegd").out.strip()
t.ok(r.returncode == 0 and new not in (main, "0"), "an upgrade restarts the daemon", r.out)
wait(lambda: api.get("/v1/status") and not api.behind(), 5)
time.sleep(0.3)
stop.set()
for x in threads:
    x.join(5)
t.ok(keeper and m.sh("pgrep -x ns-keeper").out.strip() == keeper, "and leaves the keeper", keeper)
t.note("during the upgrade: %d denied datagrams sent, %d echoes" % (sent[0], echoed[0]))
t.ok(sent[0] > 100 and not passed, "no denied packet passes during an upgrade", sent, len(passed))
t.ok(echoed[0] > 100 and not broken, "an allowed connection lives through it", echoed, broken)
t.ok(m.sh("cmp /usr/libexec/nanoseg/nanoseg-oci-hook /usr/local/lib/nanoseg/nanoseg-oci-hook").returncode == 0,
     "the gate's copies are renewed")
t.ok(json.load(open("/proc/%d/root/etc/docker/daemon.json" % m.pid)).get("default-runtime") == "nanoseg", "and it stays installed")
t.ok(m.sh("tail -1 /etc/nanoseg/nanosegd.yaml").out == "# mine\n", "a changed configuration stays")
gated = m.sh("docker run --rm --name gated client:1 /client %s %d" % (server.v4, OPEN))
t.ok(gated.out == "tcp no\n", "a new container starts through the gate", gated.out, gated.err)

# Removed.
r = m.sh("dpkg -r nanoseg 2>&1")
t.ok(r.returncode == 0, "dpkg removes it", r.out)
left = in_netns("server", tables) + in_netns("client", tables) + "\n".join(
    l for l in m.sh(tables).out.splitlines() if "nanoseg" in l)
t.ok("nanoseg" not in left, "no table is left in any namespace", left)
connect().close()
u = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.sendto(b"free", (server.v4, SHUT))
t.ok(wait(lambda: b"free" in passed, 2), "and nothing is filtered")
alive.sendall(b"z")
t.ok(alive.recv(1) == b"z", "no connection was cut")
t.ok(m.sh("cat /etc/docker/daemon.json").out == CONFIG, "Docker's configuration is what it was, to the byte")
t.ok(not os.path.exists(m.upper + HOOKS + "/nanoseg-gate.json"), "so are Podman's hooks")
procs = m.sh("ps -eo comm=,args= | grep -E '^(ns-|nanoseg)'").out
t.ok(not procs, "no process is left", procs)
r = m.sh("docker run --rm client:1 /client %s %d" % (server.v4, OPEN))
t.ok(r.out == "tcp yes\n", "dockerd, not yet restarted, still starts containers, ungated", r.out, r.err)


def remains():
    return sorted(f for f in m.changed() - before if os.path.lexists(m.root + f) and not f.startswith(BYSTANDERS))


# systemd's note that it was enabled is configuration, too.
names = {f.split("/nanoseg")[0] + "/nanoseg" for f in remains()}
t.ok(names <= {"/etc/nanoseg", "/var/lib/nanoseg", "/usr/local/lib/nanoseg", "/etc/systemd/system/nanoseg",
               "/etc/systemd/system/multi-user.target.wants/nanoseg"},
     "no file is left but configuration, state and what dockerd still runs", sorted(names), remains())
r = m.sh("systemctl restart docker 2>&1 && docker run --rm client:1 /client %s 9" % server.v4)
t.ok(r.returncode == 0, "dockerd restarts without it", r.out)

# Purged.
r = m.sh("dpkg -P nanoseg 2>&1")
gone = remains()
t.ok(r.returncode == 0 and not gone, "a purge leaves nothing", r.out, gone)
t.ok(not m.sh("systemctl --failed --no-legend").out.strip(), "no unit failed", m.sh("systemctl --failed").out)

# Again, and gone without dpkg's help: an engine that was wired must still start.
r = m.sh("dpkg -i /root/nanoseg.deb >/dev/null 2>&1; nanoseg gate install --engine docker && systemctl restart docker && "
         "systemctl stop nanosegd && rm -rf /usr/sbin/nanosegd /usr/bin/nanoseg /usr/libexec/nanoseg /usr/local/lib/nanoseg && "
         "systemctl restart docker && docker info", timeout=90)
t.ok(r.returncode == 0, "dockerd starts with every program of ours deleted by hand", r.out, r.err)
t.done()
