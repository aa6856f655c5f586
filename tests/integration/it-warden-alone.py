#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The warden on a machine of its own (mount, pid and network namespaces): folders that come and go,
and a cleanup of every instance, which on a shared machine would take what is not ours."""
import atexit
import os
import subprocess
import sys
import time

if os.geteuid() != 0:
    print("1..0 # SKIP needs root")
    sys.exit(0)
if os.environ.get("ALONE") != "1":
    os.environ["ALONE"] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc",
                          "--propagation", "private", sys.executable, __file__])

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from rolelib import PREFIX, Driver, Netns, Tap, cpu_seconds, program, run

WARDEN = program("daemon/nanoseg-warden")
NAMED, ENGINE = 2, 4
REST_S = 11
LATE_MS = 500  # it is some 10

t = Tap(24)
run("mount", "-t", "tmpfs", "tmpfs", "/run")
d = Driver()
d.send("spawn", "warden", WARDEN, "0a0b0c0d", 0, 0)
t.ok(d.wait(3, "W_SCANNED") and len([x for x in d.seen if x["msg"] == "W_NETNS"]) == 1,
     "starts where there is no folder at all", d.seen)
pid = d.wait(1, "SPAWNED")["pid"]

a = Netns("a")
m = d.wait(1, "W_NETNS", cookie=a.cookie)
t.ok(m and m["at"] - a.made < 0.1, "a namespace in a folder made just now is found in 100 ms", m)
a.delete()
t.ok(d.wait(1, "W_NETNS_GONE", cookie=a.cookie), "and gone")
run("umount", "-l", "/run/netns", check=False)
os.rmdir("/run/netns")
time.sleep(0.2)
b = Netns("b")
t.ok(d.wait(1, "W_NETNS", cookie=b.cookie), "the folder was removed and made again")

# An engine's folder, and what Docker does at the end: unmount, and leave the file
holder = subprocess.Popen(["unshare", "--net", "sleep", "60"])
time.sleep(0.2)
os.makedirs("/run/docker/netns")
open("/run/docker/netns/box", "w").close()
time.sleep(0.03)
run("mount", "--bind", "/proc/%d/ns/net" % holder.pid, "/run/docker/netns/box")
made = time.monotonic()
m = d.wait(1, "W_NETNS", name="box", pid=holder.pid)
t.ok(m and m["flags"] & ENGINE and m["at"] - made < 0.1,
     "a mount 30 ms after its file, in an engine's folder, is found with its process", m)
cookie = m["cookie"] if m else 0
holder.kill()
holder.wait()
time.sleep(0.2)
t.ok(not [x for x in d.drain() if x["msg"] == "W_NETNS_GONE" and x["cookie"] == cookie],
     "a namespace with a file and no process is not gone")
d.clear()
run("umount", "-l", "/run/docker/netns/box")
at = time.monotonic()
m = d.wait(2, "W_NETNS_GONE", cookie=cookie)
t.ok(m and m["at"] - at < 0.2, "unmounted, it is gone, though the file stays", m)
d.clear()
run("mount", "--bind", b.path, "/run/docker/netns/box")
m = d.wait(1, "W_NETNS", cookie=b.cookie)
t.ok(m and m["flags"] == NAMED | ENGINE and m["name"] == b.name,
     "a second file of a known namespace is not a second namespace", m)
run("umount", "-l", "/run/docker/netns/box")

# Many at once, and the price of doing nothing
d.clear()
many = [Netns("m%d" % i) for i in range(40)]
found = [d.wait(1, "W_NETNS", cookie=n.cookie) for n in many]
late = max(m["at"] - n.made for m, n in zip(found, many) if m)
t.note("forty made in a row: the latest was found after %.0f ms" % (1000 * late))
t.ok(all(found) and late < LATE_MS / 1000, "forty made in a row are all found at once", late)
time.sleep(1.0)
before = cpu_seconds(pid)
ticks = int(open("/proc/%d/schedstat" % pid).read().split()[0])
time.sleep(REST_S)
ns = int(open("/proc/%d/schedstat" % pid).read().split()[0]) - ticks
t.note("at rest with %d namespaces: %.2f ms CPU in %d s" % (len(many) + 2, ns / 1e6, REST_S))
t.ok(cpu_seconds(pid) - before < 0.05, "at rest it costs nearly nothing")
fds = os.listdir("/proc/%d/fd" % pid)
links = [os.readlink("/proc/%d/fd/%s" % (pid, f)) for f in fds]
t.ok(not [x for x in links if x.startswith("net:")], "it holds no namespace open", links)
for n in many:
    n.delete()
t.ok(all(d.wait(1, "W_NETNS_GONE", cookie=n.cookie) for n in many), "and all are gone again")

# A container whose engine leaves no file: found by its link, and by what is mounted for it
BASE = next(p for p in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if os.path.isdir(p))


class Container:
    """As runc makes one: a cgroup named by its id, a process in a namespace of its own."""

    def __init__(self):
        self.id = os.urandom(32).hex()
        self.cgroup = BASE + "/" + PREFIX + "engine/" + self.id
        os.makedirs(self.cgroup)
        atexit.register(self.end)
        self.p = subprocess.Popen(["sh", "-c", "echo $$ > %s/cgroup.procs && exec unshare --net sleep 60" %
                                   self.cgroup], stdin=subprocess.DEVNULL)
        here = os.readlink("/proc/self/ns/net")
        end = time.monotonic() + 5
        while os.readlink("/proc/%d/ns/net" % self.p.pid) == here and time.monotonic() < end:
            time.sleep(0.001)

    def link(self):
        self.made = time.monotonic()
        run("ip", "link", "add", "type", "veth", "peer", "name", "eth0", "netns", str(self.p.pid))
        return self

    def end(self):
        self.p.kill()
        self.p.wait()
        for folder in (self.cgroup, os.path.dirname(self.cgroup)):
            try:
                os.rmdir(folder)
            except OSError:
                pass


def waits(make, n, field):
    """Of n such containers: how long after its link or mount each had that, in ms; late ones as None."""
    took = []
    for _ in range(n):
        k = make()
        m = d.wait(5, "W_NETNS", container=k.id)
        took.append(m and m[field] and round((m[field] - k.made) * 1000, 1))
        k.end()
    return took


d.send("posture", 1, 0, 0, 60000)
took = waits(lambda: Container().link(), 5, "closed")
t.note("a namespace without a file, its link to closed, ms: %s" % took)
t.ok(all(x is not None and x < LATE_MS for x in took), "a namespace without a file is closed when it gets a link", took)


def mounted():
    k = Container()
    k.made = time.monotonic()
    run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
    run("umount", "/mnt")
    return k


took = waits(mounted, 3, "seen")
t.note("the same without a link, a mount to seen, ms: %s" % took)
t.ok(all(x is not None and x < 2 * LATE_MS for x in took), "without a link it is found when something is mounted", took)
ticks, end, n = int(open("/proc/%d/schedstat" % pid).read().split()[0]), time.monotonic() + 2, 0
while time.monotonic() < end:
    run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
    run("umount", "/mnt")
    n += 2
share = (int(open("/proc/%d/schedstat" % pid).read().split()[0]) - ticks) / 2e9
t.note("beside %d changes of the mount table in 2 s: %.1f%% of a processor" % (n, 100 * share))
t.ok(share < 0.3, "mounts without end cannot keep it walking", share)
took = waits(lambda: Container().link(), 1, "closed")
t.ok(took[0] is not None and took[0] < LATE_MS, "and a link is noticed among them as soon as ever", took)
d.send("posture", 0, 0, 0, 600)

# Cleanup of one instance and of all
c = Netns("c")
for ns, name in ((b, "nanoseg_11111111"), (b, "nanoseg_22222222"), (c, "nanoseg_22222222"),
                 (b, "other"), (c, "xnanoseg_22222222")):
    run("ip", "netns", "exec", ns.name, "nft", "add", "table", "inet", name)
r = run(WARDEN, "--cleanup", "--instance", "11111111", check=False)
t.ok(r.returncode == 0 and "11111111" not in b.nft() and "nanoseg_22222222" in b.nft(),
     "cleanup of one instance leaves the others", r.stdout, b.nft())
m = d.ask("W_ATTACHED", "attach", c.cookie, 0, 1 << 20)
r = run(WARDEN, "--cleanup", "--all", check=False)
t.ok(r.returncode == 1 and c.name in r.stdout and "nanoseg_22222222" not in b.nft() and
     "nanoseg_0a0b0c0d" in c.nft(), "cleanup of all says what a living one holds", r.stdout)
d.send("kill", "warden")
d.close()

# Without a keeper
d = Driver()
d.send("keeper", "off")
began = time.monotonic()
d.send("spawn", "warden", WARDEN, "0a0b0c0e", 0, 0)
m = d.wait(3, "W_SCANNED")
t.ok(m and 0.9 < m["at"] - began < 2, "without a keeper it starts after a second",
     m and m["at"] - began)
m = d.ask("W_ATTACHED", "attach", c.cookie, 0, 1 << 20)
t.ok(m.get("error") == 0 and m["owned"] == 1, "and attaches", m)
d.clear()
d.send("keeper", "again")
t.ok(d.wait(1, "KEEP_PUT", cookie=c.cookie, kind=1) and
     d.wait(1, "KEEP_PUT", cookie=c.cookie, kind=2), "a keeper that comes later is given all")
d.send("kill", "warden")
d.close()
r = run(WARDEN, "--cleanup", "--all", check=False)
t.ok(r.returncode == 0 and "table inet nanoseg_" not in b.nft() + c.nft(),
     "with every role dead it leaves no table of ours", r.stdout)
t.ok("table inet other" in b.nft() and "table inet xnanoseg_22222222" in c.nft(),
     "and every other table", b.nft(), c.nft())
r = run(WARDEN, "--cleanup", check=False)
t.ok(r.returncode == 2, "without an instance it is a usage error", r.stdout)
t.done()
