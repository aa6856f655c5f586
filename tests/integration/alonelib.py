# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine of its own for a test: mount, pid and network namespaces, an empty /run, and in it a Docker
daemon that may be stopped and started."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse


def alone(script):
    """Starts the test again in such a machine, as its first process. Returns there."""
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        sys.exit(0)
    if os.environ.get("ALONE") == "1":
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ["ALONE"] = "1"
    os.environ["ALONE_ID"] = "nsw%d" % os.getpid()
    r = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc",
                        "--propagation", "private", sys.executable, script] + sys.argv[1:])
    for root, folders, _ in os.walk("/sys/fs/cgroup", topdown=False):
        for f in folders:
            if os.environ["ALONE_ID"] in os.path.join(root, f):
                try:
                    os.rmdir(os.path.join(root, f))
                except OSError:
                    pass
    sys.exit(r.returncode if r.returncode >= 0 else 1)


class Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Dockerd:
    def __init__(self, lab, *more, path="/run/docker.sock"):
        self.lab, self.path, self.more, self.p = lab, path, more, None
        os.makedirs(lab.dir + "/docker")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", lab.dir + "/docker"], check=True)
        lab.later(self.end)

    def start(self, wait, *more):
        if os.path.exists("/run/dockerd.pid"):  # of one that was killed
            os.unlink("/run/dockerd.pid")
        log = open(self.lab.dir + "/docker.log", "ab")
        self.p = subprocess.Popen(
            ["dockerd", "--data-root", self.lab.dir + "/docker", "--host", "unix://" + self.path,
             "--exec-root", "/run/docker", "--pidfile", "/run/dockerd.pid", "--iptables=false",
             "--ip6tables=false", "--storage-driver", "vfs", "--cgroup-parent",
             "/" + os.environ["ALONE_ID"], *self.more, *more],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        return wait(lambda: self.answers(), 30, 0.1)

    def answers(self):
        try:
            return self.ask("GET", "/version", timeout=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self, kill=False):
        if self.p is None:
            return
        self.p.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
        self.p = None
        if kill:
            self.reap()

    def reap(self):
        """Its containerd dies with it, and is left to this process, which is the machine's first."""
        try:
            with open("/run/docker/containerd/containerd.pid") as f:
                os.waitpid(int(f.read()), 0)
        except (OSError, ValueError):
            pass

    def end(self):
        self.stop()
        subprocess.run(["umount", "-l", self.lab.dir + "/docker"], check=False)

    def ask(self, method, path, body=None, timeout=60):
        """Docker's API: (status, value); cheaper than a program for each question."""
        c = Unix(self.path, timeout)
        try:
            c.request(method, path, json.dumps(body) if body is not None else None,
                      {"Content-Type": "application/json"})
            r = c.getresponse()
            data = r.read()
            return r.status, json.loads(data) if data[:1] in (b"{", b"[") else data
        finally:
            c.close()

    def create(self, name, image, labels=None, network="bridge", caps=(), cmd=("/bin/sleep", "600"),
               restart="no"):
        folders = ["%s:%s:ro" % (p, p) for p in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(p)]
        status, value = self.ask("POST", "/containers/create?" + urllib.parse.urlencode({"name": name}), {
            "Image": image, "Cmd": list(cmd), "Labels": labels or {},
            "HostConfig": {"NetworkMode": network, "Binds": folders, "CapAdd": list(caps),
                           "RestartPolicy": {"Name": restart}}})
        if status != 201:
            raise RuntimeError("create %s: %d %s" % (name, status, value))
        return value["Id"]

    def run(self, name, image, **kw):
        cid = self.create(name, image, **kw)
        status, value = self.ask("POST", "/containers/%s/start" % cid)
        if status not in (204, 304):
            raise RuntimeError("start %s: %d %s" % (name, status, value))
        return cid

    def remove(self, cid):
        return self.ask("DELETE", "/containers/%s?force=1" % cid)[0]


def have_docker():
    return shutil.which("dockerd") and shutil.which("docker")
