# SPDX-License-Identifier: GPL-2.0-or-later
"""A laboratory for the whole daemon: namespaces on a bridge, traffic between them, a nanosegd of its
own, its API. All of it is removed on any exit.

The daemon runs in a namespace that plays the host, so that neither the machine's firewall nor its
routes matter; with Lab(real_host=True) it runs on the machine itself, which the tests with Docker
need. Sockets are opened in a namespace by entering it for that moment: no program is started for
a connection.
"""
import atexit
import ctypes
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse

from tap import Tap, skip_all  # noqa: F401  for those who import them from here

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
PREFIX = "nst%d" % os.getpid()
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
HERE_FD = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
# An address range and interface names of this process alone.
NET_A, NET_B = os.getpid() >> 8 & 0x3f | 0x40, os.getpid() & 0xff

# The leak checker traces its process, which a role forbids.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"


def run(*cmd, check=True, timeout=60, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL)
    r = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **kw)
    r.out, r.err = r.stdout.decode("utf-8", "replace"), r.stderr.decode("utf-8", "replace")
    if check and r.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(map(str, cmd)), r.err.strip() or r.returncode))
    return r


def wait(what, seconds=5.0, step=0.02):
    """The value of what() once it is true; its last value after that time."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


class Inside:
    """The calling thread in another namespace, for the length of a `with`."""

    def __init__(self, fd):
        self.fd = fd

    def __enter__(self):
        if LIBC.setns(self.fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def __exit__(self, *_):
        if LIBC.setns(HERE_FD, CLONE_NEWNET) != 0:
            os._exit(99)


def family_of(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


class Place:
    """A namespace to have sockets in."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)
        self.asked = set()

    def socket(self, family, kind=socket.SOCK_STREAM, proto=0):
        with Inside(self.fd):
            return socket.socket(family, kind, proto)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    # Servers: threads that end with the test.

    def listen(self, port, addr="::", backlog=128):
        s = self.socket(family_of(addr))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((addr, port))
        s.listen(backlog)
        return s

    def serve(self, port, addr="::"):
        """A TCP echo server; returns its listening socket."""
        s = self.listen(port, addr)

        def one(c):
            try:
                while True:
                    data = c.recv(4096)
                    if not data:
                        break
                    c.sendall(data)
            except OSError:
                pass
            c.close()

        def accept():
            while True:
                try:
                    c, _ = s.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(c,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return s

    def serve_udp(self, port, addr="::"):
        s = self.socket(family_of(addr), socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.bind((addr, port))

        def loop():
            while True:
                try:
                    data, who = s.recvfrom(2048)
                    s.sendto(data, who)
                except OSError:
                    return

        threading.Thread(target=loop, daemon=True).start()
        return s

    # Clients.

    def connect(self, addr, port, timeout=2.0):
        s = self.socket(family_of(addr))
        s.settimeout(timeout)
        try:
            s.connect((addr, port))
        except OSError:
            s.close()
            raise
        return s

    def tcp(self, addr, port, timeout=0.6):
        """A connection with one echo: "open", "refused", "timeout" or another error's name."""
        try:
            with self.connect(addr, port, timeout) as s:
                s.sendall(b"ping")
                return "open" if s.recv(16) else "closed"
        except ConnectionRefusedError:
            return "refused"
        except socket.timeout:
            return "timeout"
        except OSError as e:
            return "error %d" % e.errno

    def udp(self, addr, port, timeout=0.5):
        """One datagram and its answer, from a port that has not asked there before: to conntrack it would be one of
        the conversation of that time."""
        with self.socket(family_of(addr), socket.SOCK_DGRAM) as s:
            s.settimeout(timeout)
            try:
                s.connect((addr, port))
                conversation = addr, port, s.getsockname()[1]
                if conversation in self.asked:
                    return self.udp(addr, port, timeout)
                self.asked.add(conversation)
                s.send(b"ping")
                return "answer" if s.recv(16) else "empty"
            except ConnectionRefusedError:
                return "refused"
            except socket.timeout:
                return "timeout"
            except OSError as e:
                return "error %d" % e.errno

    def ping(self, addr, ident, count=1, timeout=0.5):
        """How many echo requests were answered."""
        six = ":" in addr
        answered = 0
        with self.socket(family_of(addr), socket.SOCK_RAW, 58 if six else 1) as s:
            s.settimeout(timeout)
            for seq in range(count):
                head = struct.pack("!BBHHH", 128 if six else 8, 0, 0, ident, seq)
                if not six:
                    words = struct.unpack("!4H", head)
                    total = sum(words)
                    total = (total & 0xffff) + (total >> 16)
                    head = head[:2] + struct.pack("!H", ~total & 0xffff) + head[4:]
                try:
                    s.sendto(head, (addr, 0))
                    end = time.monotonic() + timeout
                    while time.monotonic() < end:
                        data = s.recv(512)
                        if not six:
                            data = data[(data[0] & 15) * 4:]
                        if data[0] == (129 if six else 0) and data[4:6] == head[4:6]:
                            answered += 1
                            break
                except OSError:
                    pass
        return answered


class Ns(Place):
    """A named network namespace."""

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        super().__init__("/run/netns/" + name)
        self.v4 = self.v6 = None
        self.ip("link", "set", "lo", "up")

    def ip(self, *args, check=True):
        return run("ip", "-n", self.name, *args, check=check)

    def exec(self, *cmd, check=True, **kw):
        return run("nsenter", "--net=/run/netns/" + self.name, *cmd, check=check, **kw)

    def delete(self):
        self.close()
        run("ip", "netns", "del", self.name, check=False)


class Api:
    def __init__(self, path):
        self.path = path

    def raw(self, method, url, body=None, timeout=10):
        """(status, bytes)"""
        c = http.client.HTTPConnection("nanoseg", timeout=timeout)
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.settimeout(timeout)
        c.sock.connect(self.path)
        try:
            c.request(method, url, body, {"Content-Type": "application/json"} if body else {})
            r = c.getresponse()
            return r.status, r.read()
        finally:
            c.close()

    def call(self, method, url, body=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        status, data = self.raw(method, url, body)
        value = json.loads(data) if data[:1] in (b"{", b"[") else data.decode()
        return status, value

    def get(self, url, **args):
        if args:
            url += "?" + urllib.parse.urlencode(args)
        status, value = self.call("GET", url)
        if status != 200:
            raise RuntimeError("GET %s: %d %s" % (url, status, value))
        return value

    def post(self, url, body):
        status, value = self.call("POST", url, body)
        if status != 200:
            raise RuntimeError("POST %s: %d %s" % (url, status, value))
        return value

    # What the tests ask again and again.

    def workloads(self):
        return {w["name"]: w for w in self.get("/v1/status")["workloads"]}

    def workload(self, name):
        return self.workloads().get(name)

    def edges(self, **want):
        return [e for e in self.get("/v1/edges") if match(e, want)]

    def edge(self, **want):
        found = self.edges(**want)
        return found[0] if found else None

    def flows(self, **want):
        return [f for f in self.get("/v1/flows", all=1) if match(f, want)]

    def denials(self, **want):
        return [d for d in self.get("/v1/denials") if match(d, want)]

    def attempts(self, **want):
        return [d for d in self.get("/v1/denials", attempts=1)
                if d["verdict"] == "attempt" and match(d, want)]

    def told(self, kind, text, seconds=30):
        """The alerts of that kind with that text, once there is one. Only so many are told in a minute."""
        return wait(lambda: [x for x in self.get("/v1/alerts")["alerts"]
                             if x["kind"] == kind and text in x["text"]], seconds, 0.1)

    def approve(self, *ids, reason="tested"):
        return self.post("/v1/edges/approve", {"ids": list(ids), "reason": reason})

    def deny(self, *ids, reason="tested"):
        return self.post("/v1/edges/deny", {"ids": list(ids), "reason": reason})

    def mode(self, mode, *names, direction=None, all=False):
        body = {"mode": mode, "reason": "tested"}
        body.update({"all": True} if all else {"workloads": list(names)})
        if direction:
            body["direction"] = direction
        r = self.post("/v1/mode", body)
        self.settle()
        return r

    def apply(self, doc, **args):
        url = "/v1/policy/apply"
        if args:
            url += "?" + urllib.parse.urlencode(args)
        r = self.call("POST", url, doc)
        self.settle()
        return r

    def behind(self):
        """Workloads whose rules are not yet those of the newest revision."""
        s = self.get("/v1/status")
        return [w["name"] for w in s["workloads"]
                if not all(i.get("hostNetwork") for i in w["instances"]) and
                w["appliedRevision"] != s["revision"]]

    def settle(self, seconds=3):
        wait(lambda: not self.behind(), seconds)


def match(record, want):
    """`from_` stands for `from`; a callable is asked."""
    for key, value in want.items():
        have = record.get(key.rstrip("_"))
        if not (value(have) if callable(value) else have == value):
            return False
    return True


def proc_status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) if ":\t" in line
                    else (line.rstrip("\n").rstrip(":"), "") for line in f)


def alive(pid):
    try:
        return proc_status(pid)["State"][0] != "Z"
    except (OSError, KeyError):
        return False


def roles_of(pid):
    """Role name -> pid, of the living children of that supervisor that have taken their names."""
    out = {}
    for child in os.listdir("/proc"):
        if not child.isdigit():
            continue
        try:
            s = proc_status(int(child))
        except OSError:
            continue
        if s.get("PPid") == str(pid) and s["Name"].startswith("ns-") and s["State"][0] != "Z":
            out[s["Name"][3:]] = int(child)
    return out


def instance_of(state):
    with open(state + "/instance") as f:
        return f.read().strip()


def keeper_of(state):
    """The pid of the keeper that runs, or 0."""
    try:
        with open(state + "/keeper.lock") as f:
            pid = int(f.read().strip() or 0)
        return pid if pid and alive(pid) and proc_status(pid)["Name"] == "ns-keeper" else 0
    except (OSError, ValueError):
        return 0


class Daemon:
    """One nanosegd with its own state and socket; may be started again and again."""

    def __init__(self, lab, name="d", config="", only=None, host=None):
        self.lab, self.host = lab, host
        base = os.path.join(lab.dir, name)
        os.makedirs(base + "/run", mode=0o755)
        self.state, self.sock = base + "/state", base + "/run/s.sock"
        self.config, self.log_path = base + "/nanosegd.yaml", base + "/log"
        self.only = only if only is not None else PREFIX + "*"
        self.p = None
        self.configure(config)
        self.api = Api(self.sock)
        lab.daemons.append(self)

    def configure(self, text):
        with open(self.config, "w") as f:
            f.write(text)

    def argv(self, *more):
        a = [BUILD + "/daemon/nanosegd", "--config", self.config, "--state-dir", self.state,
             "--socket", self.sock]
        if self.only:
            a += ["--only", self.only]
        if self.host is not None:
            a = ["nsenter", "--net=/run/netns/" + self.host.name] + a
        return a + list(more)

    def start(self, wait_for=True, expect=()):
        """Waits for the API, and for these workloads to be observed."""
        log = open(self.log_path, "ab")
        self.mark = log.tell()
        self.p = subprocess.Popen(self.argv("--foreground"), stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=log, start_new_session=True)
        log.close()
        if wait_for and not wait(self.ready, 8):
            raise RuntimeError("nanosegd did not start:\n" + self.text())
        for name in expect:
            self.watched(name)
        return self

    def ready(self):
        try:
            return self.api.get("/v1/status") is not None
        except (OSError, http.client.HTTPException, RuntimeError):
            return False

    def watched(self, name, n=1, seconds=6):
        """True once n instances of the workload are observed."""
        def look():
            w = self.api.workload(name)
            return w and sum(i["attached"] and bool(i["addresses"]) for i in w["instances"]) >= n
        if not wait(look, seconds):
            raise RuntimeError("%s is not observed: %s\n%s" % (
                name, json.dumps(self.api.workload(name)), self.text()))

    def text(self, since=None):
        with open(self.log_path, "rb") as f:
            f.seek(self.mark if since is None else since)
            return f.read().decode("utf-8", "replace")

    def says(self, pattern, seconds=5):
        return wait(lambda: re.search(pattern, self.text(), re.M), seconds)

    def roles(self):
        """Role name -> pid, of the supervisor that runs."""
        return roles_of(self.p.pid)

    def instance(self):
        return instance_of(self.state)

    def table(self):
        return "nanoseg_" + self.instance()

    def keeper(self):
        return keeper_of(self.state)

    def all_pids(self):
        pids = dict(self.roles()) if self.p is not None else {}
        if self.p is not None and self.p.poll() is None:
            pids["supervisor"] = self.p.pid
        if self.keeper():
            pids["keeper"] = self.keeper()
        return pids

    def kill(self, role):
        pid = self.all_pids()[role]
        os.kill(pid, signal.SIGKILL)
        if role == "supervisor":
            self.p.wait(5)
        return pid

    def kill_all(self):
        """Everything of this instance at once; no role has a chance to tidy up."""
        pids = self.all_pids()
        # The supervisor first, or it would start the others again.
        for role in sorted(pids, key=lambda r: r != "supervisor"):
            try:
                os.kill(pids[role], signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.p is not None:
            self.p.wait(5)
        wait(lambda: not any(alive(p) for p in pids.values()), 5)
        return pids

    def stop(self):
        if self.p is None or self.p.poll() is not None:
            return
        self.p.terminate()
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.kill_all()

    def cleanup(self):
        return run(*self.argv("--cleanup"), check=False)


class Lab:
    def __init__(self, real_host=False):
        if os.geteuid() != 0:
            skip_all("needs root")
        self.steps, self.daemons, self.spaces = [], [], []
        self.dir = tempfile.mkdtemp(prefix=PREFIX + "-", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.n = 0
        atexit.register(self.close)
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(s, lambda *_: sys.exit(130))
        # "nsh", not the prefix: the namespace that plays the host is no workload.
        self.host = None if real_host else self.space("nsh%d" % os.getpid())
        self.bridge = "nb%d" % os.getpid() if real_host else "br0"
        self.gw4, self.gw6 = self.addr(1)
        self.has_bridge = False

    def later(self, fn, *args, **kw):
        self.steps.append((fn, args, kw))

    def addr(self, k):
        return "10.%d.%d.%d" % (NET_A, NET_B, k), "fd4e:%x::%x" % (os.getpid() & 0xffff, k)

    def space(self, name):
        ns = Ns(name)
        self.spaces.append(ns)
        return ns

    def at_host(self, *cmd, check=True):
        return self.host.exec(*cmd, check=check) if self.host else run(*cmd, check=check)

    def host_place(self):
        return self.host if self.host else Place("/proc/self/ns/net")

    def need_bridge(self):
        if self.has_bridge:
            return
        self.has_bridge = True
        self.at_host("ip", "link", "add", self.bridge, "type", "bridge")
        if self.host is None:
            self.later(run, "ip", "link", "del", self.bridge, check=False)
            for prog in ("iptables", "ip6tables"):
                rule = ["FORWARD", "-i", self.bridge, "-j", "ACCEPT"]
                for r in (rule, ["FORWARD", "-o", self.bridge, "-j", "ACCEPT"]):
                    run(prog, "-w", "-I", *r, check=False)
                    self.later(run, prog, "-w", "-D", *r, check=False)
        else:
            self.host.exec("sysctl", "-qw", "net.ipv4.ip_forward=1",
                           "net.ipv6.conf.all.forwarding=1")
        self.at_host("ip", "addr", "add", self.gw4 + "/24", "dev", self.bridge)
        self.at_host("ip", "addr", "add", self.gw6 + "/64", "dev", self.bridge, "nodad")
        self.at_host("ip", "link", "set", self.bridge, "up")

    def ns(self, short, prefix=PREFIX, k=None):
        """A namespace named prefix-short on the bridge, with an IPv4 and an IPv6 address."""
        self.need_bridge()
        ns = self.space("%s-%s" % (prefix, short))
        self.join(ns, k)
        return ns

    def join(self, ns, k=None):
        self.n += 1
        dev = "n%d.%d" % (os.getpid(), self.n)
        ns.v4, ns.v6 = self.addr(k if k is not None else self.n + 9)
        self.at_host("ip", "link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns",
                     ns.name)
        if self.host is None:
            # A namespace lives on for as long as a socket of it waits for its end.
            self.later(run, "ip", "link", "del", dev, check=False)
        self.at_host("ip", "link", "set", dev, "master", self.bridge, "up")
        ns.ip("addr", "add", ns.v4 + "/24", "dev", "eth0")
        ns.ip("addr", "add", ns.v6 + "/64", "dev", "eth0", "nodad")
        ns.ip("link", "set", "eth0", "up")
        ns.ip("route", "add", "default", "via", self.gw4)
        ns.ip("-6", "route", "add", "default", "via", self.gw6)

    def outside(self, addr4):
        """A place with that address behind the host, and a route of the host for it alone."""
        self.need_bridge()
        ns = self.space("nso%d" % os.getpid())
        dev = "no%d" % os.getpid()
        self.at_host("ip", "link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns",
                     ns.name)
        if self.host is None:
            self.later(run, "ip", "link", "del", dev, check=False)
        mine, its = "169.254.%d.1" % NET_B, "169.254.%d.2" % NET_B
        self.at_host("ip", "addr", "add", mine + "/30", "dev", dev)
        self.at_host("ip", "link", "set", dev, "up")
        ns.ip("addr", "add", its + "/30", "dev", "eth0")
        ns.ip("link", "set", "eth0", "up")
        ns.ip("addr", "add", addr4 + "/32", "dev", "lo")
        ns.ip("route", "add", "default", "via", mine)
        self.at_host("ip", "route", "add", addr4 + "/32", "via", its)
        return ns

    def daemon(self, config="", start=True, expect=(), **kw):
        d = Daemon(self, "d%d" % len(self.daemons), config, host=self.host, **kw)
        if start:
            d.start(expect=expect)
        return d

    def close(self):
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        for d in self.daemons:
            try:
                d.stop()
                if os.path.exists(d.state + "/instance"):
                    d.cleanup()
            except Exception as e:  # one failure must not keep the rest from being undone
                print("# cleanup: %s" % e)
        while self.steps:
            fn, args, kw = self.steps.pop()
            try:
                fn(*args, **kw)
            except Exception as e:
                print("# cleanup: %s" % e)
        for ns in reversed(self.spaces):
            ns.delete()
        if not os.environ.get("NSLAB_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


def table_text(ns, table):
    """What `nft` shows of the table, without counters and owner's name; "" if it is not there."""
    text = ns.exec("nft", "-s", "list", "table", "inet", table, check=False).out
    return re.sub(r" # progname .*", "", text)


class Docker:
    """Containers of this process alone: from an empty image, with the machine's programs."""

    FOLDERS = [x for p in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(p)
               for x in ("-v", "%s:%s:ro" % (p, p))]

    def __init__(self, lab):
        if run("docker", "version", check=False).returncode != 0:
            skip_all("no Docker daemon answers")
        self.lab, self.image = lab, PREFIX + "-img"
        self.containers, self.networks = [], []
        lab.later(self.remove)
        self.make_image(self.image)

    def make_image(self, tag, *changes, files=()):
        image = io.BytesIO()
        with tarfile.open(fileobj=image, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("nothing"))
            for f in files:
                tar.add(f, os.path.basename(f))
        args = [x for c in changes for x in ("--change", c)]
        run("docker", "import", *args, "-", tag, stdin=None, input=image.getvalue())
        self.lab.later(run, "docker", "rmi", "-f", tag, check=False)
        return tag

    def network(self, name, *args):
        run("docker", "network", "create", *args, name)
        self.networks.append(name)

    def run(self, name, *args, image=None, network="none", labels=None):
        """A container that sleeps; its place. Its sockets are made by entering its namespace."""
        more = []
        for k, v in (labels or {}).items():
            more += ["--label", "%s=%s" % (k, v)]
        if name is not None:
            more += ["--name", name]
        cid = run("docker", "run", "-d", "--network", network, *more, *args, *self.FOLDERS,
                  image or self.image, "/bin/sleep", "600").out.strip()
        self.containers.append(cid)
        info = json.loads(run("docker", "inspect", cid).out)[0]
        place = Place("/proc/%d/ns/net" % info["State"]["Pid"])
        place.id, place.pid, place.name = cid, info["State"]["Pid"], info["Name"][1:]
        nets = list(info["NetworkSettings"]["Networks"].values())
        place.v4, place.gateway, place.v6, place.gateway6 = [nets[0][x] if nets else "" for x in (
            "IPAddress", "Gateway", "GlobalIPv6Address", "IPv6Gateway")]
        return place

    def rm(self, place):
        run("docker", "rm", "-f", place.id)
        self.containers.remove(place.id)

    def remove(self):
        if self.containers:
            run("docker", "rm", "-f", *self.containers, check=False)
        for n in self.networks:
            run("docker", "network", "rm", n, check=False)


def compose(project, service, oneoff="False"):
    return {"com.docker.compose.project": project, "com.docker.compose.service": service,
            "com.docker.compose.config-hash": "0123456789", "com.docker.compose.oneoff": oneoff}
