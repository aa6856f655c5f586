# SPDX-License-Identifier: GPL-2.0-or-later
"""For the tests of the relay and of discovery: a fake engine, role-driver, and TAP."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUILD = os.environ.get("top_builddir", ".")
DRIVER = os.path.join(BUILD, "tests/integration/role-driver")
RELAY = os.path.join(BUILD, "daemon/nanoseg-relay")
DISCOVERY = os.path.join(BUILD, "daemon/nanoseg-discovery")
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"

MB = 1 << 20
HEX = "0123456789abcdef"
CONTAINERS, CONTAINER, EVENTS, IMAGE, PODS, BUNDLE, NAMES = 1, 2, 3, 4, 5, 6, 7
STOPPED = 11


def cid(n):
    return f"{n:064x}"


def image_id(n):
    return "sha256:" + cid(n)


def facts(n, **more):
    d = {"Id": cid(n), "Names": [f"/c{n}"], "Image": "img:1", "ImageID": image_id(1),
         "Created": 7, "Labels": {"l": str(n)}, "State": "running",
         "HostConfig": {"NetworkMode": "default"}}
    d.update(more)
    return d


def event(kind, action, n):
    actor = {"ID": cid(n), "Attributes": {}}
    if kind == "network":
        actor = {"ID": "net", "Attributes": {"container": cid(n)}}
    return json.dumps({"Type": kind, "Action": action, "Actor": actor}).encode() + b"\n"


class Engine:
    """A fake engine. `special` maps a kind of request to bytes or a function(conn)."""

    def __init__(self, folder, name, listen=True):
        self.path = os.path.join(folder, name)
        self.containers = {}
        self.image_labels = {"from": "image"}
        self.special = {}
        self.log, self.streams = [], []
        self.lock = threading.Lock()
        self.listener = None
        if listen:
            self.listen()

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(conn,), daemon=True).start()

    def one(self, conn):
        try:
            data = b""
            while b"\r\n\r\n" not in data:
                more = conn.recv(4096)
                if not more:
                    return
                data += more
            path = data.split(b" ")[1].decode()
            kind = ("events" if path.startswith("/events") else
                    "image" if path.startswith("/images/") else
                    "list" if path == "/containers/json" else
                    "stopped" if path.startswith("/containers/json?all=1&limit=") else
                    "one" if path.startswith("/containers/json?") else "inspect")
            with self.lock:
                self.log.append((kind, data))
            special = self.special.get(kind)
            if callable(special):
                special(conn)
            elif special is not None:
                conn.sendall(special)
            else:
                self.reply(conn, kind, path)
        except OSError:
            pass
        finally:
            if conn not in self.streams:
                conn.close()

    def reply(self, conn, kind, path):
        if kind == "events":
            conn.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            self.streams.append(conn)
            return
        if kind == "list":
            body = [c for c in self.containers.values() if c["State"] == "running"]
        elif kind == "stopped":
            body = [c for c in self.containers.values() if c["State"] in ("created", "exited")]
        elif kind == "one":
            want = path.split("%22")[3]
            body = [c for i, c in self.containers.items() if i == want]
        elif kind == "image":
            body = {"Config": {"Labels": self.image_labels}}
        else:
            body = {"State": {"Pid": 4242},
                    "NetworkSettings": {"SandboxKey": "/run/docker/netns/feed"}}
        conn.sendall(ok(json.dumps(body).encode()))

    def add(self, n, **more):
        self.containers[cid(n)] = facts(n, **more)

    def send(self, data):
        for s in self.streams:
            try:
                s.sendall(data)
            except OSError:
                pass

    def hang_up(self):
        """Whoever follows its events has to ask anew; he may be about to."""
        end = time.monotonic() + 5
        while not self.streams and time.monotonic() < end:
            time.sleep(0.01)
        for s in self.streams:
            s.close()
        self.streams.clear()

    def count(self, kind):
        with self.lock:
            return sum(1 for k, _ in self.log if k == kind)


def ok(body, length=None):
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


class Driver:
    def __init__(self, mode, *engines):
        args = [DRIVER, mode, RELAY] + ([DISCOVERY] if mode == "discovery" else [])
        for e in engines:
            args += ["--engine", e]
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        self.msgs, self.errors = [], []
        self.cond = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()
        threading.Thread(target=self.read_errors, daemon=True).start()
        self.pids = self.wait("PIDS")

    def read(self):
        for line in self.p.stdout:
            with self.cond:
                self.msgs.append(json.loads(line))
                self.cond.notify_all()

    def read_errors(self):
        for line in self.p.stderr:
            self.errors.append(line.rstrip())

    def mark(self):
        with self.cond:
            return len(self.msgs)

    def wait(self, kind, match=lambda m: True, since=0, seconds=5.0):
        """The first message of the kind that matches, or None."""
        end = time.monotonic() + seconds
        with self.cond:
            while True:
                for m in self.msgs[since:]:
                    if m["msg"] == kind and match(m):
                        return m
                left = end - time.monotonic()
                if left <= 0 or not self.cond.wait(left):
                    return None

    def container(self, n, since=0, seconds=5.0, **want):
        return self.wait("D_CONTAINER", lambda m: m["facts"]["id"] == cid(n) and all(
            m["facts"][k] == v for k, v in want.items()), since, seconds)

    def stopped(self, n, since=0, seconds=10.0):
        return self.wait("D_STOPPED", lambda m: m["facts"]["id"] == cid(n), since, seconds)

    def engine(self, reachable, text="", since=0, seconds=5.0):
        return self.wait("D_ENGINE", lambda m: m["reachable"] == reachable and text in m["why"],
                         since, seconds)

    def say(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def end(self):
        try:
            self.p.stdin.close()
            self.p.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.p.kill()
            self.p.wait()


results = []
results_lock = threading.Lock()


def check(name, good, why=""):
    with results_lock:
        results.append(bool(good))
        if not good and why:
            for line in str(why).splitlines()[:20]:
                print("# " + line)
        print(f"{'ok' if good else 'not ok'} {len(results)} - {name}", flush=True)


def skip(name, why):
    with results_lock:
        results.append(True)
        print(f"ok {len(results)} - {name} # SKIP {why}", flush=True)


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def run_group(group, folder):
    """Most cases wait for a time limit, so they wait together."""
    for f in group:
        try:
            f(folder)
        except Exception:  # pylint: disable=broad-except
            check(f"{f.__name__} runs to its end", False, traceback.format_exc())


def main(*groups):
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    folder = tempfile.mkdtemp(prefix="nst-engine-")
    os.chmod(folder, 0o755)
    try:
        threads = [threading.Thread(target=run_group, args=(g, folder)) for g in groups]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"1..{len(results)}")
    return 0 if results and all(results) else 1
