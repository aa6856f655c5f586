#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The package where systemd does not run and has no systemd-sysusers: in an overlay of this machine's root,
or with --debootstrap in a root of nothing but Debian's required packages, fetched from its mirror."""
import glob
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nslab import BUILD, Tap, run, skip_all

FRESH = "--debootstrap" in sys.argv
USERS = ["_nanoseg", "_nanoseg-capture", "_nanoseg-discovery", "_nanoseg-keeper", "_nanoseg-probe",
         "_nanoseg-herald"]
DEB = sorted(glob.glob(BUILD + "/nanoseg_*.deb"))
# What installing anything leaves.
BYSTANDERS = ("/var/lib/dpkg/", "/var/log/", "/var/cache/", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow",
              "/etc/subuid", "/etc/subgid", "/etc/.pwd.lock", "/var/lib/systemd/", "/etc/ld.so.cache", "/proc/",
              "/root/nanoseg.deb", "/run/adduser")

if os.geteuid() != 0:
    skip_all("needs root")
if not DEB:
    skip_all("there is no package: make deb")
if os.environ.get("BARE_ALONE") != "1":
    os.environ["BARE_ALONE"] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation",
                          "private", *([] if FRESH else ["--net"]), sys.executable, *sys.argv])
t = Tap()
base = tempfile.mkdtemp(prefix="nanoseg-bare-", dir="/var/tmp")


def chroot(*cmd):
    return run("chroot", root, "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
               "DEBIAN_FRONTEND=noninteractive", *cmd, check=False, timeout=120)


def needed():
    """What the package depends on, the first of each choice; the others are not needed here."""
    text = run("dpkg-deb", "-f", DEB[-1], "Depends").out
    names = [re.split(r"[ (|]", d.strip())[0] for d in text.split(",")]
    return [n for n in names if n != "systemd"] + ["adduser"]


def sources():
    for path in glob.glob("/etc/apt/sources.list") + glob.glob("/etc/apt/sources.list.d/*"):
        with open(path, encoding="utf-8") as f:
            m = re.search(r"^(?:URIs:|deb(?: \[.*?\])?) (https?://\S+?/debian)/?\s", f.read(), re.M)
            if m:
                return m.group(1)
    return "http://deb.debian.org/debian"


def make_root():
    if not FRESH:
        run("mount", "-t", "tmpfs", "tmpfs", base)
        for d in ("upper", "work", "root"):
            os.mkdir(base + "/" + d)
        run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/,upperdir=%s/upper,workdir=%s/work" % (base, base),
            base + "/root")
        for p in ("/bin/systemd-sysusers", "/usr/bin/systemd-sysusers"):
            if os.path.exists(root + p):
                os.unlink(root + p)
        return True
    with open("/etc/os-release", encoding="utf-8") as f:
        suite = re.search(r"^VERSION_CODENAME=(\w+)", f.read(), re.M).group(1)
    r = subprocess.run(["debootstrap", "--variant=minbase", "--include=" + ",".join(needed()), suite, root, sources()],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1500, check=False)
    t.note(r.stdout.splitlines()[-1] if r.stdout else r.stderr[-200:])
    return r.returncode == 0


def files():
    """All there are, or of an overlay those that have been added or changed."""
    top = root if FRESH else base + "/upper"
    return {os.path.join(d, f)[len(top):] for d, _, fs in os.walk(top) for f in fs
            if not d.startswith((top + "/proc", top + "/dev")) and
            not stat.S_ISCHR(os.lstat(os.path.join(d, f)).st_mode)}  # what an overlay has for a file that is gone


def main():
    os.makedirs(root, exist_ok=True)
    if FRESH and shutil.which("debootstrap") is None:
        skip_all("needs debootstrap")
    if not make_root():
        skip_all("debootstrap makes no root here")
    run("mount", "-t", "proc", "proc", root + "/proc")
    run("mount", "-t", "tmpfs", "tmpfs", root + "/run")
    run("mount", "-t", "tmpfs", "tmpfs", root + "/dev")
    os.mknod(root + "/dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.chmod(root + "/dev/null", 0o666)
    shutil.copy(DEB[-1], root + "/root/nanoseg.deb")
    t.ok(chroot("sh", "-c", "command -v systemd-sysusers").returncode != 0, "there is no systemd-sysusers")
    t.ok(chroot("getent", "passwd", *USERS).out == "", "and none of the users")
    before = files()
    r = chroot("dpkg", "-i", "/root/nanoseg.deb")
    t.ok(r.returncode == 0, "dpkg installs the package", r.out[-600:], r.err[-600:])
    rows = [x.split(":") for x in chroot("getent", "passwd", *USERS).out.split()]
    t.ok([x[0] for x in rows] == USERS and len({x[2] for x in rows}) == len({x[3] for x in rows}) == len(USERS),
         "with users and groups of its own", rows)
    t.ok(all(x[6].endswith(("nologin", "false")) for x in rows), "that nobody can log in as", rows)
    t.ok(chroot("getent", "group", "nanoseg").out, "and the group for its socket")
    r = chroot("nanosegd", "--version")
    t.ok(r.returncode == 0 and chroot("nanoseg", "--version").returncode == 0, "the programs find their libraries",
         r.out, r.err)
    t.ok(chroot("dpkg", "-i", "/root/nanoseg.deb").returncode == 0 and
         len(chroot("getent", "passwd", *USERS).out.split()) == len(USERS), "it can be installed again")
    r = chroot("dpkg", "--purge", "nanoseg")
    t.ok(r.returncode == 0, "and purged", r.out[-600:], r.err[-600:])
    left = sorted(f for f in files() - before if not f.startswith(BYSTANDERS) and not f.endswith("~") and
                  not f.endswith("-"))
    t.ok(not left, "which leaves no file", left)


root = base + "/root"
try:
    main()
finally:
    run("umount", "-R", "-l", base, check=False)
    run("umount", "-R", "-l", root, check=False)
    shutil.rmtree(base, ignore_errors=True)
t.done()
