#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The warden alone: what it finds, what it hands over, what it refuses, what outlives it."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from rolelib import Driver, FILTERED, Netns, PREFIX, Tap, program, run

INSTANCE = "%08x" % (os.getpid() & 0xffffffff)
TABLE = "nanoseg_" + INSTANCE
WARDEN = program("daemon/nanoseg-warden")
HOST, NAMED, ENGINE, PROC = 1, 2, 4, 8
ENOENT, EPERM, EINVAL = -2, -1, -22
DENIED, INGRESS, EGRESS = 3, 1, 2

if os.geteuid() != 0:
    print("1..0 # SKIP needs root")
    sys.exit(0)

t = Tap(70)
host = Netns("h")
d = Driver(host)


def start(*_):
    d.send("spawn", "warden", WARDEN, INSTANCE, 0, 0)
    return d.wait(3, "W_SCANNED")


def link(ns, dev, *addrs):
    """ns gets eth0, the other end is `dev` in the namespace that plays the host, on a bridge."""
    host.ip("link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns", ns.name)
    host.ip("link", "set", dev, "master", "br0", "up")
    ns.ip("link", "set", "lo", "up")
    ns.up("eth0", *addrs)


def has_link(dev):
    return " %s@" % dev in host.ip("-o", "link").stdout


def gone_soon(fn, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not fn():
            return True
        time.sleep(0.02)
    return False


def reaches(src, addr, port, timeout=0.4):
    s = src.connect(addr, port, timeout)
    if isinstance(s, str):
        return False
    s.close()
    return True


# What it finds

host.ip("link", "add", "br0", "type", "bridge")
host.ip("link", "set", "lo", "up")
host.up("br0", "10.203.1.1/24", "fd00:203::1/64")
lonely = subprocess.Popen(["unshare", "-n", "sleep", "60"])
start()
pid = d.wait(1, "SPAWNED")["pid"]
hello = d.wait(1, "W_HELLO")
t.ok(hello and hello["features"] & 7 == 7 and hello["kernel"] == os.uname().release,
     "says what the kernel can do", hello)
m = d.wait(1, "W_NETNS", cookie=host.cookie)
t.ok(m and m["flags"] & HOST, "announces its own namespace as the host's", m)
order = [x["msg"] for x in d.seen if x["msg"].startswith("W_")]
t.ok(order[0] == "W_HELLO" and order[-1] == "W_SCANNED", "hello first, scanned last", order)
m = [x for x in d.seen if x.get("pid") == lonely.pid and x["msg"] == "W_NETNS"]
t.ok(m and m[0]["flags"] == PROC and m[0]["name"] == "",
     "finds a namespace that only a process has", m)
caps = open("/proc/%d/status" % pid).read()
t.ok("CapEff:\t0000000000283004" in caps and "NoNewPrivs:\t1" in caps and FILTERED in caps,
     "runs with its capabilities and a filter, and no more", caps)

a = Netns("a")
m = d.wait(2, "W_NETNS", cookie=a.cookie)
t.ok(m and m["name"] == a.name and m["flags"] == NAMED, "finds an ip netns by its file", m)
t.ok(m and m["at"] - a.made < 0.1, "within 100 ms of its making",
     m and "%.1f ms" % ((m["at"] - a.made) * 1000))
if m:
    t.note("found %.1f ms after `ip netns add` began" % ((m["at"] - a.made) * 1000))
b = Netns("b")
t.ok(d.wait(2, "W_NETNS", cookie=b.cookie), "and a second one")

# A file before its mount, one that never becomes a namespace, a name that does not fit
stale = "/run/netns/" + PREFIX + "stale"
open(stale, "w").close()
late = Netns("x" * 100)
m = d.wait(2, "W_NETNS", cookie=late.cookie)
t.ok(m and len(m["name"]) <= 63 and m["name"].startswith(PREFIX + "xxx") and "~" in m["name"],
     "a long name is cut and marked", m)
d.drain(0.3)
t.ok(not [x for x in d.seen if x.get("name", "").endswith("stale")],
     "a file that is no namespace is not announced")
os.unlink(stale)
late.delete()
t.ok(d.wait(1, "W_NETNS_GONE", cookie=late.cookie), "a deleted one is gone")

d.clear()
c = Netns("c")
d.wait(1, "W_NETNS", cookie=c.cookie)
began = time.monotonic()
c.delete()
m = d.wait(1, "W_NETNS_GONE", cookie=c.cookie)
t.ok(m and m["at"] - began < 0.2, "gone is said within 200 ms",
     m and "%.1f ms" % ((m["at"] - began) * 1000))

c = Netns("c")
d.wait(1, "W_NETNS", cookie=c.cookie)
p = subprocess.Popen(["ip", "netns", "exec", c.name, "sleep", "30"])
time.sleep(0.1)
c.delete()
m = d.wait(0.5, "W_NETNS_GONE", cookie=c.cookie)
t.ok(m is None, "a deleted file with a process left is not gone", m)
m = d.wait(1, "W_NETNS", cookie=c.cookie, pid=p.pid)
t.ok(m, "and its process is known")
p.kill()
p.wait()
killed_at = time.monotonic()

d.clear()
d.send("controller", "warden")
m = d.wait(1, "W_SCANNED")
names = {x["cookie"] for x in d.seen if x["msg"] == "W_NETNS"}
t.ok(m and {host.cookie, a.cookie, b.cookie} <= names,
     "a new controller hears everything again")

# Attach

link(a, "va", "10.203.1.2/24", "fd00:203::2/64")
link(b, "vb", "10.203.1.3/24", "fd00:203::3/64")
servers = [a.listen("10.203.1.2", 8080), a.listen("fd00:203::2", 8080),
           a.listen("10.203.1.2", 9090), a.listen("fd00:203::2", 9090)]
t.ok(reaches(b, "10.203.1.2", 8080) and reaches(b, "fd00:203::2", 9090), "traffic passes before")
m = d.ask("W_ATTACHED", "attach", a.cookie, 0, 1 << 20)
t.ok(m.get("error") == 0 and m["fds"] == 4 and m["owned"] == 1 and m["adopted"] == 0,
     "attach hands over four sockets and owns the table", m)
t.ok(m.get("max", 0) > 0 and m.get("rcvbuf", 0) >= 1 << 20,
     "the buffer is forced and the limit of entries known", m)
t.ok(len([x for x in d.drain() if x["msg"] == "KEEP_PUT" and x["cookie"] == a.cookie]) == 2,
     "owner and report sockets are with the keeper")
t.ok("table inet " + TABLE in a.nft(), "the observe table is there", a.nft())
r = run("ip", "netns", "exec", a.name, "nft", "delete", "table", "inet", TABLE, check=False)
t.ok(r.returncode != 0 and TABLE in a.nft(), "root inside cannot delete it", r.stdout)
t.ok(reaches(b, "10.203.1.2", 8080), "traffic passes under it")
d.ask("W_DONE", "dump", a.cookie)
d.send("use", a.cookie, 600)
time.sleep(0.1)
t.ok(reaches(b, "fd00:203::2", 8080), "IPv6 too")
d.wait(3, "USED")
used = d.drain()
t.ok([x for x in used if x["msg"] == "USED" and x["uid"] == 65534],
     "an unprivileged process uses the sockets")
t.ok({x["addr"] for x in used if x["msg"] == "ADDR"} >= {"10.203.1.2", "fd00:203::2"},
     "it reads the addresses", used)
t.ok([x for x in used if x["msg"] == "SOCKET" and x["listening"] and x["port"] == 8080],
     "it reads the listening sockets")
t.ok([x for x in used if x["msg"] == "CT" and x["from"] == "dump" and x["src"] == "10.203.1.3"
      and x["dst"] == "10.203.1.2" and x["dport"] == 8080] and
     [x for x in used if x["msg"] == "CT_END" and x["error"] == 0],
     "it reads a dump that the warden asked for", used)
t.ok([x for x in used if x["msg"] == "CT" and x["from"] == "events" and
      x["src"] == "fd00:203::3" and x["dst"] == "fd00:203::2" and x["dport"] == 8080],
     "it reads answered connections as they happen", used)
m = d.ask("W_CT_STATS", "stats")
t.ok([x for x in m.get("all", []) if x["cookie"] == a.cookie and x["count"] > 0 and x["max"] > 0],
     "conntrack's load is told", m)
m = d.ask("W_ATTACHED", "attach", host.cookie, 1, 1 << 18)
t.ok(m.get("error") == 0 and m["fds"] == 4 and TABLE not in host.nft(),
     "the host's namespace gets sockets and no table", m)

# Apply

allow = ["i+6,10.203.1.3,8080", "i+6,fd00:203::3,8080"]
m = d.ask("W_APPLIED", "apply", a.cookie, "enforce", "observe", *allow)
t.ok(m.get("error") == 0 and m["match"] == 1 and m["owned"] == 1,
     "a ruleset is applied and read back equal", m)
if m:
    t.note("applied in %d us" % m["usec"])
t.ok(reaches(b, "10.203.1.2", 8080) and reaches(b, "fd00:203::2", 8080),
     "what is allowed passes, IPv4 and IPv6")
t.ok(not reaches(b, "10.203.1.2", 9090) and not reaches(b, "fd00:203::2", 9090),
     "what is not is refused, IPv4 and IPv6")
s = d.ask("W_NFT_STATE", "read", a.cookie)
t.ok(s.get("error") == 0 and s["match"] == 1 and s["kernel"] == m.get("kernel") and
     s["dropped"] > 0 and s["elems"] >= 2, "the state can be read", s)
tup = ["6", "10.203.1.3", "20678", "10.203.1.2", "8080"]
m = d.ask("W_DONE", "ct", "insert", a.cookie, *tup, 300)
t.ok(m.get("error") == 0, "a connection is inserted", m)
m = d.ask("W_CT_ENTRY", "ct", "get", a.cookie, *tup)
t.ok(m.get("error") == 0 and m["status"] & 6 == 6 and m["sport"] == 20678, "and found", m)
m = d.ask("W_DONE", "ct", "delete", a.cookie, *tup)
t.ok(m.get("error") == 0 and d.ask("W_CT_ENTRY", "ct", "get", a.cookie, *tup).get("error") ==
     ENOENT, "and deleted", m)

# What it refuses

bad = 0xdeadbeef
t.ok(d.ask("W_ATTACHED", "attach", bad, 0, 1).get("error") == ENOENT and
     d.ask("W_APPLIED", "apply", bad, "enforce", "enforce").get("error") == ENOENT and
     d.ask("W_DONE", "release", bad).get("error") == ENOENT, "a cookie that is no namespace")
t.ok(d.ask("W_ATTACHED", "attach", host.cookie, 0, 1 << 20).get("error") == EINVAL and
     d.ask("W_ATTACHED", "attach", b.cookie, 1, 1 << 20).get("error") == EINVAL,
     "the host as a container and a container as the host")
t.ok(d.ask("W_APPLIED", "apply", host.cookie, "enforce", "enforce").get("error") == EPERM and
     d.ask("W_NFT_STATE", "read", host.cookie).get("error") == EPERM and
     TABLE not in host.nft(), "a ruleset for the host")
t.ok(d.ask("W_DONE", "ct", "delete", host.cookie, *tup).get("error") == EPERM and
     d.ask("W_DONE", "ct", "insert", host.cookie, *tup, 300).get("error") == EPERM,
     "a change of the host's conntrack")
t.ok(d.ask("W_APPLIED", "apply", b.cookie, "enforce", "enforce").get("error") == ENOENT,
     "a ruleset for what is not attached")
worse = [d.ask("W_APPLIED", "applyraw", a.cookie, x).get("error", 0)
         for x in ("00", "ff" * 64, "4e53" + "00" * 200)]
t.ok(all(x < 0 for x in worse) and not reaches(b, "10.203.1.2", 9090),
     "malformed rulesets, and the old one stands", worse)
t.ok(d.ask("W_DONE", "ct", "insert", a.cookie, "17", *tup[1:], 300).get("error") == EINVAL and
     d.ask("W_DONE", "ct", "insert", a.cookie, *tup, 0).get("error") == EINVAL and
     d.ask("W_DONE", "ct", "delete", a.cookie, "6", "10.0.0.1", 1, "fd00::1", 2).get("error") ==
     EINVAL, "tuples that cannot be")
d.clear()
d.send("raw", 96, "00" * 16)
t.ok(d.wait(2, "CLOSED", channel="warden"), "a message that is not the controller's to send")
d.send("controller", "warden")
t.ok(d.wait(2, "W_SCANNED"), "after which it goes on")

# A controller's death, the warden's death

m = d.ask("W_ATTACHED", "attach", a.cookie, 0, 1 << 20)
t.ok(m.get("error") == 0 and m["adopted"] == 1 and m["fds"] == 4,
     "a second attach hands over new sockets and leaves the rules", m)
code = ("import socket,time\nn=bad=0\nend=time.monotonic()+2.5\nwhile time.monotonic()<end:\n"
        " s=socket.socket(); s.settimeout(0.05); n+=1\n"
        " try: s.connect(('10.203.1.2',9090)); bad+=1\n except OSError: pass\n s.close()\n"
        "print(n,bad)")
probe = subprocess.Popen(["nsenter", "--net=" + b.path, sys.executable, "-c", code],
                         stdout=subprocess.PIPE, text=True)
time.sleep(0.3)
d.clear()
d.send("kill", "warden")
d.wait(2, "ENDED")
time.sleep(0.2)
t.ok(TABLE in a.nft() and "owner" in a.nft().split("{")[1] + a.nft(),
     "the table outlives the warden, with its owner", a.nft()[:300])
d.clear()
d.send("spawn", "warden")
m = d.wait(3, "W_SCANNED")
t.ok(m and d.wait(1, "W_NETNS", cookie=a.cookie), "a new warden finds everything again")
m = d.ask("W_ATTACHED", "attach", a.cookie, 0, 1 << 20)
t.ok(m.get("error") == 0 and m["adopted"] == 1 and m["owned"] == 1,
     "it adopts the table through the keeper's socket", m)
m = d.ask("W_APPLIED", "apply", a.cookie, "enforce", "observe", *allow)
t.ok(m.get("error") == 0 and m["match"] == 1 and m["owned"] == 1, "and can apply", m)
n, leaked = probe.communicate()[0].split()
t.ok(int(n) > 20 and leaked == "0", "no denied connection passed meanwhile", n + " " + leaked)
t.ok(reaches(b, "10.203.1.2", 8080), "what is allowed still passes")

# The death of warden and keeper at once leaves an orphan, which still refuses

d.send("keeper", "drop")
d.send("kill", "warden")
d.clear()
t.ok(TABLE in a.nft() and not reaches(b, "10.203.1.2", 9090),
     "with the keeper dead too the table stands and refuses")
d.send("spawn", "warden")
d.wait(3, "W_SCANNED")
m = d.ask("W_ATTACHED", "attach", a.cookie, 0, 1 << 20)
t.ok(m.get("error") == 0 and m["adopted"] == 1 and m["owned"] == 0 and
     not reaches(b, "10.203.1.2", 9090), "an orphan is attached to and left as it is", m)
m = d.ask("W_APPLIED", "apply", a.cookie, "enforce", "observe", *allow)
t.ok(m.get("error") == 0 and m["match"] == 1 and m["owned"] == 1 and
     not reaches(b, "10.203.1.2", 9090) and reaches(b, "10.203.1.2", 8080),
     "the next apply owns it again", m)

# A namespace that ends while there is no warden

e = Netns("e")
d.wait(1, "W_NETNS", cookie=e.cookie)
host.ip("link", "add", "ve", "type", "veth", "peer", "name", "eth0", "netns", e.name)
m = d.ask("W_ATTACHED", "attach", e.cookie, 0, 1 << 20)
d.send("kill", "warden")
d.wait(2, "ENDED")
e.delete()
time.sleep(0.3)
held = has_link("ve")
d.clear()
d.send("spawn", "warden")
d.wait(3, "W_SCANNED")
d.drain(0.2)
t.ok(len([x for x in d.seen if x["msg"] == "KEEP_DROP" and x["cookie"] == e.cookie]) == 2 and
     e.cookie not in {x.get("cookie") for x in d.seen if x["msg"] == "W_NETNS"},
     "its sockets are dropped by the next one", d.seen)
t.ok(held and gone_soon(lambda: has_link("ve"), 3), "and so it dies")
m = d.ask("W_ATTACHED", "attach", a.cookie, 0, 1 << 20)
t.ok(m.get("error") == 0 and m["owned"] == 1, "the others are kept", m)

# Nothing is kept alive

m = d.ask("W_ATTACHED", "attach", b.cookie, 0, 1 << 20)
m = d.ask("W_DONE", "release", b.cookie)
t.ok(len([x for x in d.drain(0.1) if x["msg"] == "KEEP_DROP" and x["cookie"] == b.cookie]) == 2,
     "release leaves nothing with the keeper", d.seen)
t.ok(m.get("error") == 0 and TABLE not in b.nft() and
     d.ask("W_NFT_STATE", "read", b.cookie).get("error") == ENOENT, "and deletes the table", m)
b.delete()
t.ok(gone_soon(lambda: has_link("vb"), 3), "a released namespace dies with its file")
d.clear()
for x in servers:
    x.close()
# Cleanup with a living owner, then with none
r = run(WARDEN, "--cleanup", "--instance", INSTANCE, check=False)
t.ok(r.returncode == 1 and "owned by a living process" in r.stdout and a.name in r.stdout,
     "cleanup names what a living process owns", r.stdout)
other = Netns("o")
d.wait(1, "W_NETNS", cookie=other.cookie)
m = d.ask("W_ATTACHED", "attach", other.cookie, 0, 1 << 20)
host.ip("link", "add", "vo", "type", "veth", "peer", "name", "eth0", "netns", other.name)
other.delete()
t.ok(d.wait(2, "W_NETNS_GONE", cookie=other.cookie) and gone_soon(lambda: has_link("vo"), 3),
     "an attached namespace dies with its file")
# To the controller: the keeper is told what goes by another way, sooner or later.
last = [x["msg"] for x in d.seen if x["msg"].startswith("W_") and
        other.cookie in [x.get("cookie")] + [s["cookie"] for s in x.get("all", [])]]
t.ok(last[-2:] == ["W_CT_STATS", "W_NETNS_GONE"], "and the last that is told of it is what conntrack had no room for", last)
left = max(0.1, 12 - (time.monotonic() - killed_at))
t.ok(d.wait(left, "W_NETNS_GONE", cookie=c.cookie) or c.cookie not in
     {x["cookie"] for x in d.seen if x["msg"] == "W_NETNS"},
     "a namespace whose last process ended is gone within a rescan")
d.send("kill", "warden")
d.close()
t.ok(TABLE in a.nft(), "with every role dead the table stands")
r = run(WARDEN, "--cleanup", "--instance", INSTANCE, check=False)
t.ok(r.returncode == 0 and a.name in r.stdout and "clean: 1 tables" in r.stdout and
     TABLE not in a.nft(), "cleanup removes it and says so", r.stdout)
r = run(WARDEN, "--instance", INSTANCE, "--uid", "0", "--gid", "0", "--log", "info", "--cleanup",
        check=False)
t.ok(r.returncode == 0 and "clean: 0 tables" in r.stdout, "a second one finds nothing", r.stdout)
r = run(WARDEN, "--cleanup", "--instance", "nothex!!", check=False)
t.ok(r.returncode == 2, "a malformed instance is a usage error", r.stdout)
lonely.kill()
lonely.wait()
t.done()
