#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Discovery with the relay, against engines that behave and engines that do not.

A fake engine serves what each case needs on a unix socket of its own; the last cases ask the real
dockerd, where one answers. role-driver plays the supervisor and the controller.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

from enginelib import MB, Driver, Engine, check, cid, event, facts, image_id, main, ok, skip, status


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
            "imageLabels": {"from": "image"}, "networkMode": "default", "networks": [], "created": 7,
            "state": "running", "sandbox": "feed", "started": "existing", "altered": False,
            "labelsLeftOut": 0, "id": cid(7), "pid": 4242, "shares": "", "pod": "", "ports": [],
            "portsLeftOut": 0, "dns": [],
            "grade": ["netRaw"]}
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


def discovery_stopped(folder):
    e = Engine(folder, "stopped")
    e.add(1, NetworkSettings={"Networks": {"front": {}, "back": {"IPAddress": "10.0.0.2"}}})
    e.add(2, State="exited")
    e.add(3, State="created", NetworkSettings={"Networks": {"back": {}}})
    d = Driver("discovery", f"docker={e.path}")
    m = d.container(1)
    check("a container on two networks is told with both",
          m and sorted(m["facts"]["networks"]) == ["back", "front"], m)
    m = d.stopped(3)
    check("one that was created and one that has exited are told as such, after what runs",
          m and d.stopped(2) and m["facts"]["networks"] == ["back"] and m["facts"]["pid"] == 0 and
          m["facts"]["imageLabels"] == {"from": "image"} and d.container(2, seconds=0) is None and
          d.container(3, seconds=0) is None and
          [x["msg"] for x in d.msgs].index("D_SYNCED") < [x["msg"] for x in d.msgs].index("D_STOPPED"), m)
    since = d.mark()
    e.containers[cid(3)]["State"] = "running"
    e.send(event("container", "start", 3))
    m = d.container(3, since, pid=4242)
    check("what is started then is told as what runs, and is new", m and m["facts"]["started"] == "new", m)
    since = d.mark()
    e.containers[cid(3)]["State"] = "exited"
    e.send(event("container", "die", 3))
    check("and as one that does not when it has ended",
          d.wait("D_GONE", lambda m: m["id"] == cid(3), since) and d.stopped(3, since),
          d.msgs[since:])
    since = d.mark()
    e.add(4, State="created")
    e.send(event("container", "create", 4))
    check("one that is created meanwhile is told", d.stopped(4, since), d.msgs[since:])
    since = d.mark()
    d.say(f"lookup {cid(4)}")
    check("asked for before its start it is told as what may run", d.container(4, since, state="created"),
          d.msgs[since:])
    since = d.mark()
    del e.containers[cid(2)]
    e.send(event("container", "destroy", 2))
    check("one that is removed is taken back",
          d.wait("D_STOPPED_GONE", lambda m: m["id"] == cid(2), since), d.msgs[since:])

    # What starts while the list of what runs is on its way is not in it.
    e.add(7, State="created")
    since, lists, asked = d.mark(), e.count("list"), e.count("one")
    e.send(event("container", "create", 7))
    check("(one more is created)", d.stopped(7, since), d.msgs[since:])
    listed, started = threading.Event(), threading.Event()

    def old_list(conn):
        body = [c for c in list(e.containers.values()) if c["State"] == "running"]
        started.wait(10)
        conn.sendall(ok(json.dumps(body).encode()))
        listed.set()

    def slow_one(conn):
        started.set()
        listed.wait(10)
        time.sleep(0.3)
        conn.sendall(ok(json.dumps([e.containers[cid(7)]]).encode()))

    e.special["list"] = old_list
    e.send(b"{ this is no event\n")
    deadline = time.monotonic() + 10
    while e.count("list") == lists and time.monotonic() < deadline:
        time.sleep(0.02)
    e.special["one"] = slow_one
    since = d.mark()
    e.containers[cid(7)]["State"] = "running"
    e.send(event("container", "start", 7))
    check("what starts while the list is on its way is told, though the list lacks it",
          d.container(7, since, seconds=10) and e.count("list") > lists and e.count("one") > asked and
          "D_STOPPED_GONE" not in [m["msg"] for m in d.msgs[since:]], d.msgs[since:])
    del e.special["list"], e.special["one"]

    # Thousands, from an engine that does not keep to the limit.
    since, before = d.mark(), e.count("image")
    for n in range(10000, 15000):
        e.add(n, State="exited")
    e.send(event("container", "create", 10000))
    wait = time.monotonic() + 15
    while time.monotonic() < wait:
        told = {m["facts"]["id"] for m in d.msgs[since:] if m["msg"] == "D_STOPPED"}
        if len(told) >= 1020:
            break
        time.sleep(0.1)
    e.add(5)
    e.send(event("container", "start", 5))
    check("of 5,000 at most 1,024 are told, and what starts then is told at once",
          d.container(5, since, seconds=2) and 1000 < len(told) <= 1024 and
          e.count("image") - before <= 1, len(told))
    since = d.mark()
    e.special["stopped"] = b"HTTP/1.0 500 no\r\n\r\n"
    e.send(event("container", "create", 10001))
    deadline = time.monotonic() + 10
    asked = e.count("stopped")
    while e.count("stopped") == asked and time.monotonic() < deadline:
        time.sleep(0.05)
    e.add(6)
    e.send(event("container", "start", 6))
    check("an engine that refuses to list them is followed all the same",
          e.count("stopped") > asked and d.container(6, since) and d.engine(0, since=since, seconds=0) is None,
          d.msgs[since:])
    since = d.mark()
    d.say("controller")
    check("a new controller is told of them again", d.stopped(10000, since), len(d.msgs) - since)
    d.end()


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
        e.hang_up()
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
    e.hang_up()
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


if __name__ == "__main__":
    sys.exit(main((discovery_stopped, ), (discovery_stalled, ), (discovery_missing, ), (discovery_hostile, ),
                  (discovery_good, real_docker)))
