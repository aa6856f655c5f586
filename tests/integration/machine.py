# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine of the test's own that boots: systemd as PID 1 in namespaces of its own, on an overlay of
this machine's root (or of another) that outlives its boots. What is installed, enabled and started
there is nobody else's; its power is cut by a SIGKILL to its PID 1.

Needs its own mount namespace: alone() runs the test again in one.
"""
import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from nslab import run, skip_all, wait

SYSTEMD = next((p for p in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if os.path.exists(p)), None)
# Of the units that a distribution starts: what would change the kernel of the machine that this is.
MASKED = ["systemd-sysctl.service", "systemd-modules-load.service", "systemd-udevd.service", "systemd-random-seed.service",
          "systemd-udev-trigger.service", "systemd-binfmt.service", "systemd-timesyncd.service", "systemd-pstore.service",
          "proc-sys-fs-binfmt_misc.automount", "apparmor.service", "systemd-logind.service", "getty.target",
          "systemd-networkd.service", "systemd-networkd-wait-online.service", "systemd-resolved.service",
          "NetworkManager.service", "networking.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
          "systemd-remount-fs.service", "systemd-tmpfiles-setup-dev.service", "systemd-journal-flush.service"]
BOOT = r"""
set -e
root=$1
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
# The kernel's settings are the machine's underneath, those of the network namespace are ours.
mount --bind proc/sys/net "$2"
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --move "$2" proc/sys/net
mount -t tmpfs tmpfs dev
for d in null zero full random urandom tty; do mknod -m 666 dev/$d c $(stat -c '0x%t 0x%T' /dev/$d); done
mkdir dev/pts dev/shm
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
ln -s pts/ptmx dev/ptmx
for d in 0 1 2; do ln -s /proc/self/fd/$d dev/$(printf 'stdin stdout stderr' | cut -d' ' -f$((d + 1))); done
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
pivot_root . mnt
umount -l /mnt
ip link set lo up
exec env -i container=nanoseg-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	"$3" --unit=multi-user.target --log-target=console --show-status=no
"""


def alone():
    """Goes on in a mount namespace of the test's own; what cannot be had is a skip."""
    if os.geteuid() != 0:
        skip_all("needs root")
    if SYSTEMD is None or not shutil.which("systemctl"):
        skip_all("needs systemd")
    if os.environ.get("MACHINE_ALONE") != "1":
        os.environ["MACHINE_ALONE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, sys.argv[0]])


class Machine:
    """lower: the root that it is an overlay of. Folders in shared are the same ones there."""

    def __init__(self, lower="/", shared=()):
        self.p = self.pid = None
        self.dir = tempfile.mkdtemp(prefix="nanoseg-machine-", dir="/var/tmp")
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.dir)
        self.upper, self.root = self.dir + "/upper", self.dir + "/root"
        for d in ("upper", "work", "root", "net"):
            os.mkdir(self.dir + "/" + d)
        top = [l.split()[1] for l in open("/proc/self/mounts") if l.split()[2] == "cgroup2"][0]
        self.cgroup = "%s/nanoseg-machine-%d" % (top, os.getpid())
        os.mkdir(self.cgroup)
        atexit.register(self.close)
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(s, lambda *_: sys.exit(130))
        run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s,workdir=%s/work" % (
            lower, self.upper, self.dir), self.root)
        for d in shared:
            os.makedirs(self.root + d, exist_ok=True)
            run("mount", "--bind", d, self.root + d)
        self.prepare()

    def prepare(self):
        units = self.root + "/etc/systemd/system"
        shutil.rmtree(units, ignore_errors=True)
        os.makedirs(units)
        for u in MASKED:
            os.symlink("/dev/null", units + "/" + u)
        self.write("/etc/fstab", "")
        if os.path.exists(self.root + "/usr/sbin/policy-rc.d"):
            os.unlink(self.root + "/usr/sbin/policy-rc.d")
        self.write("/etc/machine-id", "%032x\n" % os.getpid())
        for d in ("/etc/docker", "/etc/containers", "/var/lib/nanoseg", "/etc/nanoseg", "/usr/local/lib/nanoseg",
                  "/var/log/journal"):
            shutil.rmtree(self.root + d, ignore_errors=True)
        # An overlay on an overlay is not for Docker's storage, and the machine's own engine may be writing below.
        for d in ("/var/lib/docker", "/var/lib/containerd"):
            os.makedirs(self.dir + d)
            os.makedirs(self.root + d, exist_ok=True)
            run("mount", "--bind", self.dir + d, self.root + d)

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        if os.path.lexists(self.root + path):
            os.unlink(self.root + path)
        with open(self.root + path, "w") as f:
            f.write(text)

    def enable(self, unit, folder="/lib/systemd/system/"):
        wants = self.root + "/etc/systemd/system/multi-user.target.wants"
        os.makedirs(wants, exist_ok=True)
        os.symlink(folder + unit, wants + "/" + unit)

    def boot(self, seconds=60):
        """Waits until systemd has started what it starts, or failed to."""
        log = open(self.dir + "/console", "ab")
        self.p = subprocess.Popen(
            ["sh", "-c", 'echo 0 >"$0"/cgroup.procs && exec "$@"', self.cgroup, "unshare", "--mount", "--pid", "--net",
             "--uts", "--ipc", "--cgroup", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", BOOT, "boot",
             self.root, self.dir + "/net", SYSTEMD], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)
        log.close()
        self.pid = wait(self.find_init, 10)
        if not self.pid or not wait(lambda: self.state() in ("running", "degraded"), seconds, 0.1):
            return False
        return True

    def find_init(self):
        r = run("ps", "-o", "pid=", "--ppid", str(self.p.pid), check=False).out.split()
        if not r or self.p.poll() is not None:
            return None
        return int(r[0]) if open("/proc/%s/comm" % r[0]).read().strip() == "systemd" else None

    def state(self):
        return self.sh("systemctl is-system-running").out.strip()

    def console(self):
        with open(self.dir + "/console", "rb") as f:
            return f.read().decode("utf-8", "replace")

    def cut_power(self):
        """Everything of it is gone at once; what it had written is there."""
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.p:
            self.p.wait(30)
            self.tidy_cgroups()
        self.p = self.pid = None

    def argv(self, *cmd):
        return ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "--", "env", "-i",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
                *map(str, cmd)]

    def exec(self, *cmd, check=True, **kw):
        return run(*self.argv(*cmd), check=check, timeout=kw.pop("timeout", 150), **kw)

    def sh(self, text, check=False, **kw):
        return self.exec("sh", "-c", text, check=check, **kw)

    def changed(self):
        """Files of the overlay that are not of its lower folder as they were."""
        out = set()
        for root, _, files in os.walk(self.upper):
            out.update(os.path.join(root, f)[len(self.upper):] for f in files)
        return out

    def tidy_cgroups(self):
        def gone():
            for root, folders, _ in os.walk(self.cgroup, topdown=False):
                for f in folders:
                    try:
                        os.rmdir(os.path.join(root, f))
                    except OSError:
                        pass
            return os.listdir(self.cgroup) and not any(os.path.isdir(self.cgroup + "/" + f) for f in os.listdir(self.cgroup))
        wait(gone, 5)

    def close(self):
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        self.cut_power()
        wait(lambda: self.try_rmdir(self.cgroup), 5)
        run("umount", "-R", "-l", self.dir, check=False)
        self.try_rmdir(self.dir)

    @staticmethod
    def try_rmdir(path):
        try:
            os.rmdir(path)
        except OSError:
            return False
        return True
