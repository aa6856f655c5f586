#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The warden and real containers: found, with their id, before their command runs; gone after it."""
import atexit
import io
import os
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from rolelib import Driver, PREFIX, Tap, program, run

ENGINE = 4
IMAGE = PREFIX + "image"
RUNS = 3
INSTANCE = "%08x" % (os.getpid() & 0xffffffff)


def docker(*args, check=True, **kw):
    return run("docker", *args, check=check, **kw)


if os.geteuid() != 0:
    print("1..0 # SKIP needs root")
    sys.exit(0)
try:
    docker("version")
except (OSError, subprocess.CalledProcessError):
    print("1..0 # SKIP no Docker daemon answers")
    sys.exit(0)


@atexit.register
def remove_all():
    for c in docker("ps", "-aq", "--filter", "name=" + PREFIX, check=False).stdout.split():
        docker("rm", "-f", c, check=False)
    docker("rmi", "-f", IMAGE, check=False)


empty = io.BytesIO()
with tarfile.open(fileobj=empty, mode="w") as tar:
    tar.addfile(tarfile.TarInfo("nothing"))
subprocess.run(["docker", "import", "-", IMAGE], input=empty.getvalue(), check=True,
               stdout=subprocess.DEVNULL)
FOLDERS = [x for p in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(p)
           for x in ("-v", "%s:%s:ro" % (p, p))]

t = Tap(9)
d = Driver()
d.send("spawn", "warden", program("daemon/nanoseg-warden"), INSTANCE, 0, 0)
d.wait(3, "W_SCANNED")
leads = []
before_command = []
for i in range(RUNS):
    d.clear()
    name = PREFIX + "run%d" % i
    uptime = float(docker("run", "--name", name, *FOLDERS, IMAGE, "/bin/cat",
                          "/proc/uptime").stdout.split()[0])
    cid = docker("inspect", "-f", "{{.Id}}", name).stdout.strip()
    m = d.wait(1, "W_NETNS", container=cid)
    d.drain()
    # A walk may meet the process before Docker makes the file.
    named = [x for x in d.seen if x["msg"] == "W_NETNS" and x["container"] == cid and
             x["flags"] & ENGINE and x["name"] != "" and x["at"] <= uptime + 0.01]
    before_command.append(m is not None and m["at"] <= uptime + 0.01 and len(named) > 0)
    if m:
        leads.append((uptime - m["at"]) * 1000)
        gone = d.wait(1, "W_NETNS_GONE", cookie=m["cookie"])
t.ok(all(before_command), "found with its container id before its command runs",
     before_command, leads)
t.note("lead before the command: " + ", ".join("%.0f ms" % x for x in leads))
t.ok(gone, "gone when the command has ended, though Docker leaves the file")

d.clear()
name = PREFIX + "long"
cid = docker("run", "-d", "--name", name, *FOLDERS, IMAGE, "/bin/sleep", "60").stdout.strip()
m = d.wait(2, "W_NETNS", container=cid) or {"cookie": 0, "pid": 0}
pid = int(docker("inspect", "-f", "{{.State.Pid}}", name).stdout)
t.ok(os.path.exists("/proc/%d" % m["pid"]) and
     os.readlink("/proc/%d/ns/net" % pid) == os.readlink("/proc/%d/ns/net" % m["pid"]),
     "the process it names is in the container", m, pid)
cookie = m["cookie"]
m = d.ask("W_ATTACHED", "attach", cookie, 0, 1 << 20)
t.ok(m.get("error") == 0 and m["owned"] == 1, "it can be attached", m)
m = d.ask("W_APPLIED", "apply", cookie, "enforce", "enforce")
t.ok(m.get("error") == 0 and m["match"] == 1, "and enforced", m)
nat = run("nsenter", "-t", str(pid), "-n", "nft", "list", "ruleset").stdout
t.ok("nanoseg_" + INSTANCE in nat, "its own table is beside what Docker put there")
d.clear()
docker("restart", "-t", "0", name)
t.ok(d.wait(3, "W_NETNS_GONE", cookie=cookie), "a restart ends the old namespace")
d.drain(0.2)
fresh = [x for x in d.seen if x["msg"] == "W_NETNS" and x["container"] == cid and
         x["cookie"] != cookie]
t.ok(fresh, "and the same container is found in a new one", d.seen)
d.clear()
docker("rm", "-f", name)
t.ok(fresh and d.wait(3, "W_NETNS_GONE", cookie=fresh[0]["cookie"]), "gone when it is removed")
d.close()
t.done()
