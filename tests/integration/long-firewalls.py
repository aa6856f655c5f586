#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's firewalld and ufw in a container's namespace, started and reloaded: rules of ours that have an
owner stay, and those without are as they were, with nothing counted that was none of ours. By their
commands it-drift.py has the same; these are they themselves, in an overlay of this machine's root, with
a message bus of their own. Takes a mirror of Debian, unless DEBS says where the packages are."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from alonelab import alone
from nslab import Lab, Tap, run, skip_all, table_text, wait

if not os.environ.get("ALONE_ID") and not os.environ.get("DEBS") and os.geteuid() == 0 and shutil.which("apt-get"):
    # The machine of its own has no network.
    with tempfile.TemporaryDirectory(prefix="nanoseg-debs-", dir="/var/tmp") as debs:
        os.mkdir(debs + "/partial")
        got = run("apt-get", "install", "-qq", "--download-only", "--no-install-recommends", "-o", "Debug::NoLocking=1",
                  "-o", "Dir::Cache::archives=" + debs, "firewalld", "ufw", check=False, timeout=300)
        if got.returncode != 0:
            skip_all("the packages cannot be had: " + got.err.strip()[-100:].replace("\n", " "))
        sys.exit(subprocess.run([sys.executable, *sys.argv], env={**os.environ, "DEBS": debs}, check=False).returncode)
alone("apt-get", "dbus-daemon", "nft")
t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
for port in (7001, 7002):
    b.serve(port)
POLICY = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy",
          "workloads": [{"name": b.name, "mode": "enforce", "direction": "ingress"}],
          "edges": [{"from": a.name, "to": b.name, "proto": "tcp", "port": 7001, "state": "approved"}]}
top = lab.dir + "/over"
root = top + "/root"


def make_root():
    """The machine's, and the two in it."""
    os.mkdir(top)
    run("mount", "-t", "tmpfs", "tmpfs", top)
    lab.later(run, "umount", "-R", "-l", top, check=False)
    for d in ("upper", "work", "root", "debs"):
        os.mkdir(top + "/" + d)
    run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/,upperdir=%s/upper,workdir=%s/work" % (top, top), root)
    for kind, at in (("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run"), ("tmpfs", "/tmp")):
        run("mount", "-t", kind, kind, root + at)
    run("mount", "--rbind", "/dev", root + "/dev")
    os.mkdir(root + "/run/dbus")
    with open(root + "/usr/sbin/policy-rc.d", "w") as f:
        f.write("#!/bin/sh\nexit 101\n")
    os.chmod(root + "/usr/sbin/policy-rc.d", 0o755)
    for f in os.listdir(os.environ["DEBS"]):
        if f.endswith(".deb"):
            shutil.copy(os.path.join(os.environ["DEBS"], f), root + "/tmp")
    return inside("sh", "-c", "dpkg -i /tmp/*.deb", timeout=300)


def inside(*cmd, **kw):
    return b.exec("chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *cmd,
                  check=False, **kw)


def in_background(*cmd):
    p = subprocess.Popen(["nsenter", "--net=/run/netns/" + b.name, "chroot", root, *cmd], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lab.later(p.kill)


def rules():
    """Without who is near, which may be told any time."""
    return re.sub(r"\tset local[46] {.*?\n\t}\n", "", table_text(b, d.table()), flags=re.S)


def holds():
    return a.tcp(b.v4, 7001) == "open" and a.tcp(b.v4, 7002, 0.3) != "open" and a.tcp(b.v6, 7002, 0.3) != "open"


def drift():
    return d.api.workload(b.name)["drift"]


def through(what):
    """All that the two do, one after the other."""
    text = rules()
    for name, cmd, sign in (
            ("firewalld reloads", ("firewall-cmd", "--reload"), "table inet firewalld"),
            ("firewalld reloads all of it", ("firewall-cmd", "--complete-reload"), "table inet firewalld"),
            ("ufw starts", ("ufw", "--force", "enable"), "ufw-before-input"),
            ("ufw reloads", ("ufw", "reload"), "ufw-before-input"),
            ("ufw ends", ("ufw", "disable"), "")):
        r = inside(*cmd)
        t.ok(r.returncode == 0 and sign in b.exec("nft", "list", "ruleset").out, "%s: %s" % (what, name), r.out, r.err)
        t.ok(wait(lambda: rules() == text, 5) and holds(), "%s, %s: the rules are in force as they were" % (
            what, name), rules())
    t.ok(drift() == 0, "%s: none of that was ours, no drift is counted" % what, drift())
    inside("nft", "flush", "ruleset")
    t.ok(wait(lambda: rules() == text, 5) and holds(), "%s: after a flush of everything too" % what)
    wait(lambda: inside("firewall-cmd", "--complete-reload").returncode == 0, 30, 0.5)  # which it cannot at once


r = make_root()
if r.returncode != 0:
    skip_all("the packages cannot be installed: " + r.err.strip()[-100:].replace("\n", " "))
inside("firewall-offline-cmd", "--set-default-zone=trusted")
inside("ufw", "default", "allow", "incoming")
in_background("dbus-daemon", "--system", "--nofork", "--nopidfile")
wait(lambda: os.path.exists(root + "/run/dbus/system_bus_socket"), 20)
in_background("/usr/sbin/firewalld", "--nofork", "--nopid")
t.ok(wait(lambda: inside("firewall-cmd", "--state").returncode == 0, 60, 0.5), "firewalld runs",
     inside("firewall-cmd", "--state").err)

d = lab.daemon(expect=[a.name, b.name])
d.api.apply(json.dumps(POLICY))
t.ok(wait(holds, 10), "enforced")
through("owned")
d.stop()
d.cleanup()

d = lab.daemon(start=False)
d.argv = lambda *more, argv=d.argv: argv("--without-owner", *more)
d.start(expect=[a.name, b.name])
d.api.apply(json.dumps(POLICY))
t.ok(wait(holds, 10), "enforced by rules without an owner")
before = drift()
through("without")
t.ok(wait(lambda: drift() > before, 5), "and that is noticed and counted", drift())
t.done()
