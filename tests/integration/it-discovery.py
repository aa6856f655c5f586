#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The relay and the discovery role against engines that behave and engines that do not.

A fake engine serves what each case needs on a unix socket of its own; the last cases ask the real
dockerd, where one answers. role-driver plays the supervisor and the controller.
"""
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
CONTAINERS, CONTAINER, EVENTS, IMAGE = 1, 2, 3, 4


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
    """A fake engine. `answer` maps (kind, id) to bytes or a function(conn); see reply()."""

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


# -- the relay alone


def relay_refuses(folder):
    e = Engine(folder, "refuse")
    d = Driver("relay", f"docker={e.path}")
    good = cid(1)
    bad = [(CONTAINER, "abc"), (CONTAINER, "../" + good[3:]), (CONTAINER, good[:-1] + "A"),
           (CONTAINER, good + "0"), (CONTAINER, ""), (CONTAINER, image_id(1)),
           (CONTAINER, good[:60] + "%2e%"), (CONTAINER, "a" * 80), (EVENTS, good), (IMAGE, good),
           (IMAGE, "sha256:" + good[1:]), (IMAGE, "sha512:" + good), (IMAGE, ""),
           (CONTAINERS, "x"), (9, ""), (0, ""), (4294967295, "")]
    for request, i in bad:
        d.say(f"get 0 {request} {i}")
    d.say(f"get 7 {CONTAINERS}")
    d.say(f"get 1 {CONTAINERS}")
    got = d.wait("R_STREAM", lambda m: m["seq"] == len(bad) + 2)
    errors = [m.get("error") for m in d.msgs if m["msg"] == "R_STREAM"]
    check("the relay refuses every request that is not on its list",
          got and errors == [-22] * (len(bad) + 2), errors)
    check("and has not even connected for them", not e.log, e.log)

    for request, i in [(CONTAINERS, ""), (CONTAINERS, good), (CONTAINER, good), (EVENTS, ""),
                       (IMAGE, image_id(1))]:
        d.say(f"hold 0 {request} {i}")
    end = time.monotonic() + 3
    while len(e.log) < 5 and time.monotonic() < end:
        time.sleep(0.02)
    tail = b" HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
    paths = sorted(data[4:-len(tail)].decode() for _, data in e.log
                   if data.startswith(b"GET /") and data.endswith(tail))
    want = sorted(["/containers/json",
                   f"/containers/json?all=1&filters=%7B%22id%22%3A%5B%22{good}%22%5D%7D",
                   f"/containers/{good}/json", f"/images/{image_id(1)}/json"])
    check("what it writes to an engine is exactly a template",
          [p for p in paths if not p.startswith("/events?")] == want and len(paths) == 5, paths)

    s, own = status(d.pids["relay"]), f"/proc/{d.pids['relay']}"
    check("it has uid 0, DAC_READ_SEARCH and nothing else",
          s["Uid"].split()[1] == "0" and int(s["CapEff"], 16) == 4 and int(s["CapPrm"], 16) == 4
          and int(s["CapBnd"], 16) == 0 and s["NoNewPrivs"] == "1", s)
    check("system calls are restricted",
          s["Seccomp"] == "2" or any("sanitizers" in x for x in d.errors), s["Seccomp"])
    d.end()
    check("it ends in order", any(m["msg"] == "EXIT" and m["status"] == 0 for m in d.msgs)
          and not os.path.exists(own), d.msgs[-2:])


def relay_bounds(folder):
    e = Engine(folder, "bounds")
    sent = [0]

    def flood(conn):
        conn.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        block = b"x" * 65536
        while sent[0] < 80 * MB:
            conn.sendall(block)
            sent[0] += len(block)

    e.special["list"] = flood
    d = Driver("relay", f"docker={e.path}")
    d.say(f"get 0 {CONTAINERS}")
    m = d.wait("R_STREAM", seconds=30)
    check("an answer of 80 MB is cut at 64", m and m["ended"] and 60 * MB <= m["bytes"] <= 65 * MB,
          m)

    sent[0] = 0
    e.special["events"] = flood
    d.say(f"hold 0 {EVENTS}")
    d.wait("R_STREAM", lambda m: "held" in m)
    time.sleep(0.7)
    rss = int(status(d.pids["relay"])["VmRSS"].split()[0])
    with open(f"/proc/{d.pids['relay']}/stat", encoding="ascii") as f:
        before = sum(int(x) for x in f.read().split()[13:15])
    time.sleep(0.5)
    with open(f"/proc/{d.pids['relay']}/stat", encoding="ascii") as f:
        after = sum(int(x) for x in f.read().split()[13:15])
    check("events that nobody reads wait in the engine, not in the relay",
          sent[0] < 2 * MB and rss < 40000 and after - before <= 5,
          f"sent {sent[0]}, rss {rss} kB, ticks {after - before}")
    d.say("drop")
    del e.special["events"]

    since = d.mark()
    for _ in range(70):
        d.say(f"hold 0 {EVENTS}")
    d.wait("R_STREAM", lambda m: m["error"] == -16, since)
    time.sleep(0.3)
    answers = [m["error"] for m in d.msgs[since:] if m["msg"] == "R_STREAM"]
    check("64 streams are open at a time, more are refused",
          answers.count(0) == 64 and answers.count(-16) == 6, answers)
    d.say("drop")
    time.sleep(0.3)
    since = d.mark()
    d.say(f"get 0 {IMAGE} {image_id(1)}")
    m = d.wait("R_STREAM", since=since)
    check("streams whose reader has gone make room", m and m["error"] == 0 and m["bytes"] > 20, m)
    d.end()


def relay_idle(folder):
    e = Engine(folder, "idle")
    e.special["list"] = lambda conn: (conn.sendall(b"HTTP/1.0 200 OK\r\n\r\n["), time.sleep(30))
    d = Driver("relay", f"docker={e.path}")
    start = time.monotonic()
    d.say(f"get 0 {CONTAINERS}")
    m = d.wait("R_STREAM", seconds=16)
    took = time.monotonic() - start
    check("an answer that stops is ended after 10 s", m and m["ended"] and 9 < took < 13,
          f"{m} after {took:.1f} s")
    d.end()


# -- discovery on a fake engine


def discovery_good(folder):
    e = Engine(folder, "good")
    for n in range(1, 41):
        e.add(n)
    e.add(50, State="exited")
    d = Driver("discovery", f"docker={e.path}")
    synced = d.wait("D_SYNCED")
    first = d.msgs[:d.msgs.index(synced)] if synced else []
    ids = {m["facts"]["id"] for m in first if m["msg"] == "D_CONTAINER"}
    check("every running container is told before SYNCED", ids == {cid(n) for n in range(1, 41)},
          len(ids))
    kinds = [k for k, _ in e.log]
    check("the event stream is open before the list is asked for",
          kinds.index("events") < kinds.index("list"), kinds[:4])
    m = d.container(7, pid=4242)
    want = {"engine": "docker", "runtime": "docker", "name": "c7", "nameGenerated": False,
            "image": "img:1", "imageId": image_id(1), "labels": {"l": "7"},
            "imageLabels": {"from": "image"}, "networkMode": "default", "created": 7,
            "state": "running", "sandbox": "feed", "started": "existing", "altered": False,
            "labelsLeftOut": 0, "id": cid(7), "pid": 4242}
    check("with every field, pid and sandbox once asked", m and m["facts"] == want,
          m and m["facts"])
    check("the image of forty containers is asked for a few times at most",
          e.count("image") <= 16, e.count("image"))

    e.add(60)
    since = d.mark()
    e.send(event("container", "start", 60))
    m = d.container(60, since, pid=4242)
    check("a start is told, with its image's labels, as new",
          m and m["facts"]["started"] == "new" and m["facts"]["imageLabels"], m)
    e.containers[cid(60)]["Names"] = ["/renamed"]
    e.send(event("container", "rename", 60))
    check("a new name is told", d.container(60, since, name="renamed"))
    since = d.mark()
    e.send(event("container", "die", 60) + event("network", "disconnect", 60))
    check("a death is told", d.wait("D_GONE", lambda m: m["id"] == cid(60), since))
    check("leaving its network after its death does not revive it",
          d.container(60, since, seconds=0.5) is None)

    e.add(61, State="created", Names=["/host"])
    before, since = e.count("inspect"), d.mark()
    for _ in range(100):
        d.say(f"lookup {cid(61)}")
    m = d.container(61, since, state="created")
    time.sleep(0.3)
    check("a lookup finds a container before its start is over", m and m["facts"]["pid"] == 0, m)
    check("and does not ask what would block until then", e.count("inspect") == before)
    asked = sum(1 for k, data in e.log if k == "one" and cid(61).encode() in data)
    check("a hundred lookups are a few questions", asked <= 50, asked)
    since = d.mark()
    d.say(f"lookup {cid(99)}")
    check("a lookup of what nobody knows is silent", d.container(99, since, seconds=0.4) is None)

    before = e.count("list")
    e.containers[cid(62)] = facts(62)
    e.send(b'{"Type":"container","pad":"' + b"x" * 300000 + b'"}\n')
    check("an event too large to read makes it read the list again",
          d.container(62, since) and e.count("list") > before)
    e.add(63)
    e.send(b"nonsense\n" + event("container", "start", 63))
    check("nonsense among the events is counted, and the next event is read",
          d.container(63, since) and d.engine(1, "not the JSON", since))

    e.add(64, Labels={f"k{i:03}": "\x01" * 300 for i in range(200)})
    e.send(event("container", "start", 64))
    m = d.container(64, since)
    check("sixty kilobytes of labels that have to be escaped arrive whole",
          m and len(m["facts"]["labels"]) == 200 and m["facts"]["labelsLeftOut"] == 0, m is None)

    since = d.mark()
    d.say("controller")
    again = d.wait("D_SYNCED", since=since)
    told = {m["facts"]["id"] for m in d.msgs[since:] if m["msg"] == "D_CONTAINER"}
    check("a new controller is told everything again", again and len(told) >= 43, len(told))
    since = d.mark()
    d.say("relay")
    check("a dead relay is said and survived",
          d.engine(0, "relay", since) and d.engine(1, "", since))
    since = d.mark()
    del e.containers[cid(3)]
    for s in e.streams:
        s.shutdown(socket.SHUT_RDWR)
    check("what died while the engine was away is told",
          d.wait("D_GONE", lambda m: m["id"] == cid(3), since)
          and d.engine(0, "closed", since))

    s = status(d.pids["discovery"])
    check("discovery has its own uid and no capability",
          s["Uid"].split() == ["65534"] * 4 and s["Gid"].split() == ["65534"] * 4
          and int(s["CapEff"], 16) == 0 and int(s["CapPrm"], 16) == 0
          and int(s["CapBnd"], 16) == 0 and s["NoNewPrivs"] == "1", s)
    fds = [os.readlink(f"/proc/{d.pids['discovery']}/fd/{f}")
           for f in os.listdir(f"/proc/{d.pids['discovery']}/fd")]
    check("it holds channels and pipes, and no engine's socket",
          sum(f.startswith("socket:") for f in fds) <= 5, fds)
    d.end()
    check("both end in order", [m["status"] for m in d.msgs if m["msg"] == "EXIT"] == [0, 0],
          d.msgs[-2:])


def discovery_hostile(folder):
    e = Engine(folder, "hostile")
    e.add(1)
    d = Driver("discovery", f"docker={e.path}")
    d.wait("D_SYNCED")
    bad = [
        ("a refusal", b"HTTP/1.0 500 Internal Server Error\r\n\r\nno", "refusal"),
        ("nonsense instead of HTTP", b"\x00\xff" * 5000, "no HTTP"),
        ("a head without end", b"HTTP/1.0 200 OK\r\nX: " + b"y" * 40000, "no HTTP"),
        ("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", "no HTTP"),
        ("nonsense instead of JSON", ok(b"<html>"), "not the JSON"),
        ("an object instead of a list", ok(b"{}"), "not the JSON"),
        ("JSON nested 100,000 deep", ok(b"[" * 100000 + b"]" * 100000), "not the JSON"),
        ("an answer cut short", ok(b"[", 5000), "cut short"),
        ("JSON cut short", b"HTTP/1.0 200 OK\r\n\r\n[{}", "not the JSON"),
        ("no answer at all", b"", "closed"),
        ("a length of 1 TB", ok(b"[]", 1 << 40), "too large"),
        ("a list of 40 MB", lambda c: c.sendall(b"HTTP/1.0 200 OK\r\n\r\n[" + b" " * (40 * MB)),
         "too large"),
    ]
    for name, answer, text in bad:
        e.special["list"] = answer
        since = d.mark()
        for s in e.streams:
            s.close()
        e.streams.clear()
        m = d.wait("D_ENGINE", lambda m: m["reachable"] == 0 and text in m["why"], since, 8)
        e.special.clear()
        back = d.engine(1, "", since, 8)
        check(f"{name}: said, and tried again", m and back,
              [x for x in d.msgs[since:] if x["msg"] == "D_ENGINE"])
    check("none of it made a container go", d.wait("D_GONE", seconds=0) is None)
    rss = int(status(d.pids["discovery"])["VmRSS"].split()[0])
    check("and none of it keeps discovery large",
          rss < 20000 or any("sanitizers" in x for x in d.errors), f"{rss} kB")
    check("every one was counted", d.msgs and back and back["errors"] >= len(bad), back)

    since = d.mark()
    e.add(2, Labels={"big": "x" * (2 * MB)})
    e.add(3, Names=["/a\x1b[2J\n../\u202e"], Labels={"nul\x00key": "nul\x00value"})
    e.add(4, Names=["/" + "n" * 255])
    raw = ok(b"[" + b",".join(json.dumps(c).encode() for c in e.containers.values()) +
             b',{"Id":"' + cid(5).encode() + b'","Names":["/\xff\xfe"],"State":"running"}' +
             b",{}]")
    e.special["list"] = raw
    for s in e.streams:
        s.close()
    e.streams.clear()
    check("a container that cannot be read is said and hides no other",
          d.container(3, since, 8) and d.container(4, since)
          and d.engine(1, "2 containers of the list are not known", since))
    m = d.container(3, since)
    check("escapes reach the controller whole, NUL replaced and marked",
          m and m["facts"]["name"] == "a\x1b[2J\n../\u202e" and m["facts"]["altered"]
          and m["facts"]["labels"] == {"nul\ufffdkey": "nul\ufffdvalue"}, m)
    m = d.container(5, since)
    check("a name that is not UTF-8 is replaced and marked",
          m and m["facts"]["name"] == "\ufffd\ufffd" and m["facts"]["altered"], m)

    for name, answer in [("missing", b"HTTP/1.0 404 Not Found\r\n\r\n{}"),
                         ("nonsense", ok(b"[[[")),
                         ("too slow", lambda conn: time.sleep(6))]:
        n = 70 + len(name)
        e.special = {"image": answer}
        e.add(n, ImageID=image_id(n))
        start = time.monotonic()
        e.send(event("container", "start", n))
        m = d.container(n, since, 5)
        check(f"an image whose labels are {name}: unknown, not empty",
              m and m["facts"]["imageLabels"] is None and time.monotonic() - start < 3.5, m)
    e.special.clear()
    check("and asked for again when slowness was the reason",
          d.container(n, since, 9, imageLabels={"from": "image"}))
    d.end()


def discovery_stalled(folder):
    e = Engine(folder, "stalled")
    e.add(1)
    e.special["list"] = lambda conn: (conn.sendall(b"HTTP/1.0 200 OK\r\n\r\n["), time.sleep(30))
    d = Driver("discovery", f"docker={e.path}")
    m = d.wait("D_ENGINE", lambda m: m["errors"] > 0, seconds=16)
    e.special.clear()
    check("a list that stalls is given up, and asked for again",
          m and m["reachable"] == 0 and d.container(1, seconds=8), m)
    d.end()


def discovery_missing(folder):
    e = Engine(folder, "missing", listen=False)
    e.add(1)
    d = Driver("discovery", f"docker={e.path}")
    m = d.engine(0, "does not exist")
    time.sleep(6)
    said = [x for x in d.errors if "does not exist" in x]
    check("a socket that does not exist is said once, in a sentence", m and len(said) == 1, said)
    e.listen()
    check("and found within 5 s when it comes", d.container(1, seconds=7))
    d.end()


# -- the real one


def docker(*args):
    return subprocess.run(["docker"] + list(args), capture_output=True, text=True, timeout=60)


def real_docker(folder):
    name = "discovery tells about real containers"
    try:
        if shutil.which("docker") is None or docker("version").returncode != 0:
            skip(name, "no dockerd answers")
            return
    except subprocess.TimeoutExpired:
        skip(name, "dockerd does not answer")
        return
    image, box = f"nst-{os.getpid()}-image", f"nst-{os.getpid()}-box"
    tree = os.path.join(folder, "tree")
    os.makedirs(os.path.join(tree, "etc"))
    for link in ("bin", "sbin", "lib", "lib64"):
        os.symlink("usr/" + link, os.path.join(tree, link))
    with open(os.path.join(tree, "etc/passwd"), "w", encoding="ascii") as f:
        f.write("root:x:0:0:root:/:/bin/sh\n")
    tar = subprocess.run(["tar", "c", "-C", tree, "."], capture_output=True, check=True)
    made = []
    d = None
    try:
        subprocess.run(["docker", "import", "-c", "LABEL com.docker.compose.project=shop "
                        "com.docker.compose.service=api", "-", image], input=tar.stdout,
                       capture_output=True, check=True, timeout=60)

        def run(*args):
            r = docker("run", "-d", "-v", "/usr:/usr:ro", "--stop-timeout", "1", *args, image,
                       "sleep", "60")
            made.append(r.stdout.strip())
            return r.stdout.strip()

        old = run("--name", box + "-old")
        d = Driver("discovery", "docker=/run/docker.sock")
        synced = d.wait("D_SYNCED", seconds=10)
        m = d.wait("D_CONTAINER", lambda m: m["facts"]["id"] == old and m["facts"]["pid"] > 0)
        check(name, synced and m and m["facts"]["started"] == "existing"
              and m["facts"]["imageLabels"].get("com.docker.compose.project") == "shop", m)
        since = d.mark()
        new = run("--name", box, "--network", "none", "--label",
                  "com.docker.compose.config-hash=h")
        m = d.wait("D_CONTAINER", lambda m: m["facts"]["id"] == new and m["facts"]["pid"] > 0,
                   since)
        pid = docker("inspect", "-f", "{{.State.Pid}}", new).stdout.strip()
        check("a start is seen, with labels of container and image told apart",
              m and str(m["facts"]["pid"]) == pid and m["facts"]["started"] == "new"
              and m["facts"]["networkMode"] == "none"
              and "com.docker.compose.config-hash" in m["facts"]["labels"]
              and "com.docker.compose.config-hash" not in m["facts"]["imageLabels"], m)
        unnamed = [run() for _ in range(4)]
        told = [d.wait("D_CONTAINER", lambda m, u=u: m["facts"]["id"] == u, since)
                for u in unnamed]
        check("names that dockerd makes up are known as such",
              all(t and t["facts"]["nameGenerated"] for t in told),
              [t and t["facts"]["name"] for t in told])
        docker("rm", "-f", new)
        made.remove(new)
        check("an end is seen", d.wait("D_GONE", lambda m: m["id"] == new, since))
        time.sleep(0.5)
        later = [m for m in d.msgs[since:] if m["msg"] in ("D_CONTAINER", "D_GONE")
                 and new in (m.get("id"), m.get("facts", {}).get("id"))]
        check("and is the last that is told", later and later[-1]["msg"] == "D_GONE", later[-2:])
    finally:
        if d is not None:
            d.end()
        if made:
            docker("rm", "-f", *[m for m in made if m])
        docker("rmi", "-f", image)


def run_group(group, folder):
    """Most cases wait for a time limit, so they wait together."""
    for f in group:
        try:
            f(folder)
        except Exception:  # pylint: disable=broad-except
            check(f"{f.__name__} runs to its end", False, traceback.format_exc())


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    folder = tempfile.mkdtemp(prefix="nst-discovery-")
    os.chmod(folder, 0o755)
    try:
        groups = [(relay_idle, ), (discovery_stalled, ), (discovery_missing, ),
                  (discovery_hostile, ), (relay_refuses, relay_bounds),
                  (discovery_good, real_docker)]
        threads = [threading.Thread(target=run_group, args=(g, folder)) for g in groups]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
