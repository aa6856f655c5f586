# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine of one's own for a test: mount, pid and network namespaces, and a Docker daemon in them.
A nanosegd without --only, which closes all that is new, runs nowhere else."""
import os
import shutil
import subprocess
import sys

from nslab import PREFIX, run, skip_all, wait


def alone(script):
    """Runs the script again in namespaces of its own; returns in there."""
    if os.geteuid() != 0:
        skip_all("needs root")
    if not (shutil.which("dockerd") and shutil.which("docker")):
        skip_all("needs dockerd")
    if os.environ.get("ALONE"):
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "link", "set", "lo", "up")
        return
    os.environ["ALONE"] = PREFIX
    r = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc",
                        "--propagation", "private", sys.executable, script])
    for root, folders, _ in os.walk("/sys/fs/cgroup", topdown=False):
        for f in folders:
            if PREFIX in os.path.join(root, f):
                try:
                    os.rmdir(os.path.join(root, f))
                except OSError:
                    pass
    sys.exit(r.returncode)


def start_docker(lab, *more):
    """On /run/docker.sock, until the lab ends."""
    folder = lab.dir + "/docker"
    os.makedirs(folder)
    run("mount", "-t", "tmpfs", "tmpfs", folder)
    log = open(lab.dir + "/docker.log", "wb")
    p = subprocess.Popen(
        ["dockerd", "--data-root", folder, "--host", "unix:///run/docker.sock", "--exec-root", "/run/docker",
         "--pidfile", "/run/dockerd.pid", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs",
         "--cgroup-parent", "/" + os.environ["ALONE"], *more],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end():
        p.terminate()
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill()
        run("umount", "-l", folder, check=False)

    lab.later(end)
    if not wait(lambda: run("docker", "version", check=False).returncode == 0, 20, 0.2):
        skip_all("a Docker daemon of its own does not start here")
