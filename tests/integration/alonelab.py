# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine of its own for a test: mount, pid and network namespaces, /run, and a Docker daemon."""
import os
import shutil
import subprocess
import sys

from nslab import run, skip_all, wait


def alone(*programs):
    """Runs the script again on a machine of its own; returns there only."""
    if os.geteuid() != 0:
        skip_all("needs root")
    for p in programs:
        if shutil.which(p) is None:
            skip_all("needs " + p)
    if os.environ.get("ALONE_ID"):
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "link", "set", "lo", "up")
        return
    os.environ["ALONE_ID"] = "nsw%d" % os.getpid()
    r = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc",
                        "--propagation", "private", sys.executable] + sys.argv)
    for root, folders, _ in os.walk("/sys/fs/cgroup", topdown=False):
        for f in folders:
            if os.environ["ALONE_ID"] in os.path.join(root, f):
                try:
                    os.rmdir(os.path.join(root, f))
                except OSError:
                    pass
    sys.exit(r.returncode)


class Dockerd:
    """A Docker daemon at the usual place of that machine."""

    def __init__(self, lab, *args):
        self.lab, self.data, self.p = lab, lab.dir + "/docker", None
        os.makedirs(self.data)
        run("mount", "-t", "tmpfs", "tmpfs", self.data)
        lab.later(run, "umount", "-l", self.data, check=False)
        lab.later(self.stop)
        self.start(*args)

    def start(self, *args):
        with open(self.lab.dir + "/docker.log", "ab") as log:
            self.p = subprocess.Popen(
                ["dockerd", "--data-root", self.data, "--host", "unix:///run/docker.sock", "--exec-root",
                 "/run/docker", "--pidfile", "/run/dockerd.pid", "--storage-driver", "vfs",
                 "--cgroup-parent", "/" + os.environ["ALONE_ID"], *args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not wait(lambda: run("docker", "version", check=False).returncode == 0, 20, 0.2):
            skip_all("a Docker daemon of its own does not start here")

    def stop(self):
        self.p.terminate()
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
