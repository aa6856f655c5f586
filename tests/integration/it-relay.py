#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The relay alone, against engines that behave and engines that do not."""
import os
import shutil
import sys
import time

from enginelib import (BUNDLE, CONTAINER, CONTAINERS, EVENTS, IMAGE, MB, NAMES, PODS, STOPPED,
                       Driver,
                       Engine, check, cid, image_id, main, status)


def relay_refuses(folder):
    e = Engine(folder, "refuse")
    d = Driver("relay", f"docker={e.path}")
    good = cid(1)
    bad = [(CONTAINER, "abc"), (CONTAINER, "../" + good[3:]), (CONTAINER, good[:-1] + "A"),
           (CONTAINER, good + "0"), (CONTAINER, ""), (CONTAINER, image_id(1)),
           (CONTAINER, good[:60] + "%2e%"), (CONTAINER, "a" * 80), (EVENTS, good), (IMAGE, good),
           (IMAGE, "sha256:" + good[1:]), (IMAGE, "sha512:" + good), (IMAGE, ""),
           (CONTAINERS, "x"), (PODS, good), (STOPPED, good), (BUNDLE, ""), (BUNDLE, image_id(1)),
           (BUNDLE, "../" + good[3:]), (BUNDLE, good[:-1] + "/"), (NAMES, good), (9, ""), (0, ""),
           (4294967295, "")]
    for request, i in bad:
        d.say(f"get 0 {request} {i}")
    d.say(f"get 7 {CONTAINERS}")
    d.say(f"get 1 {CONTAINERS}")
    for request, i in [(BUNDLE, good), (NAMES, "")]:
        d.say(f"get 77 {request} {i}")
    got = d.wait("R_STREAM", lambda m: m["seq"] == len(bad) + 4)
    errors = [m.get("error") for m in d.msgs if m["msg"] == "R_STREAM"]
    check("the relay refuses every request that is not on its list",
          got and errors == [-22] * (len(bad) + 4), errors)
    check("and has not even connected for them", not e.log, e.log)

    for request, i in [(CONTAINERS, ""), (CONTAINERS, good), (CONTAINER, good), (EVENTS, ""),
                       (IMAGE, image_id(1)), (STOPPED, "")]:
        d.say(f"hold 0 {request} {i}")
    end = time.monotonic() + 3
    while len(e.log) < 6 and time.monotonic() < end:
        time.sleep(0.02)
    tail = b" HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
    paths = sorted(data[4:-len(tail)].decode() for _, data in e.log
                   if data.startswith(b"GET /") and data.endswith(tail))
    want = sorted(["/containers/json",
                   f"/containers/json?all=1&filters=%7B%22id%22%3A%5B%22{good}%22%5D%7D",
                   "/containers/json?all=1&limit=1024&filters="
                   "%7B%22status%22%3A%5B%22created%22%2C%22exited%22%5D%7D",
                   f"/containers/{good}/json", f"/images/{image_id(1)}/json"])
    check("what it writes to an engine is exactly a template",
          [p for p in paths if not p.startswith("/events?")] == want and len(paths) == 6, paths)

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


def relay_files(folder):
    """In a folder of CRI-O's for containers that do not exist."""
    ids = ["%08x" % os.getpid() + os.urandom(28).hex() for _ in range(5)]
    store = "/run/containers/storage/overlay-containers/"
    here = [store + i + "/userdata" for i in ids]
    d = Driver("relay", f"docker={folder}/none")
    try:
        for h in here:
            os.makedirs(h)
        text = b'{"linux":{}}' + b" " * 300000
        with open(here[0] + "/config.json", "wb") as f:
            f.write(text)
        os.symlink(here[0] + "/config.json", here[1] + "/config.json")
        with open(here[2] + "/config.json", "wb") as f:
            f.truncate(MB + 1)
        os.mkfifo(here[3] + "/config.json")
        cases = [("a bundle is handed on whole, with a head", 0, 4, 0),
                 ("a link is not followed", 1, 4, -40), ("one over 1 MB is refused", 2, 4, -90),
                 ("a fifo holds nobody up", 3, 4, -74), ("what is not there is not", 4, 4, -2),
                 ("another place has another folder", 0, 5, -2)]
        for name, n, place, error in cases:
            since = d.mark()
            d.say(f"get {place} {BUNDLE} {ids[n]}")
            m = d.wait("R_STREAM", since=since)
            check(name, m and m["error"] == error and
                  (error != 0 or (m["ended"] and len(text) < m["bytes"] < len(text) + 64)), m)
        since = d.mark()
        d.say(f"hold 4 {BUNDLE} {ids[0]}")
        d.wait("R_STREAM", since=since)
        d.say("drop")
        since = d.mark()
        d.say(f"get 4 {BUNDLE} {ids[0]}")
        m = d.wait("R_STREAM", since=since)
        check("a reader that goes away leaves the next one its file", m and m["ended"], m)
    finally:
        d.end()
        for i in ids:
            shutil.rmtree(store + i, ignore_errors=True)


def make_folders(path, made):
    """Those that are missing, and in made so that they can go again."""
    missing = []
    while not os.path.exists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for p in reversed(missing):
        os.mkdir(p)
        made.append(p)


def relay_places(folder):
    """Where other engines, other namespaces of containerd's and other storage drivers have a bundle."""
    tasks, name = "io.containerd.runtime.v2.task/", "nst%d" % os.getpid()
    cases = [(2, "/run/k3s/containerd/" + tasks + "k8s.io/%s", "k3s"),
             (2, "/var/snap/microk8s/common/run/containerd/" + tasks + "k8s.io/%s", "MicroK8s"),
             (3, "/run/containerd/" + tasks + name + "/%s", "another namespace of containerd's"),
             (3, "/run/containerd/" + tasks + name + ".a-b_c/%s", "one with every sign that it may have"),
             (4, "/run/containers/storage/vfs-containers/%s/userdata", "CRI-O with vfs"),
             (5, "/var/lib/containers/storage/btrfs-containers/%s/userdata", "Podman with btrfs"),
             (5, "/var/lib/containers/storage/zfs-containers/%s/userdata", "Podman with zfs")]
    nowhere = [(3, "/run/containerd/" + tasks + "k8s.io/%s", "what is Kubernetes' is not of another namespace"),
               (3, "/run/containerd/" + tasks + "moby/%s", "nor is Docker's")]
    nowhere += [(3, "/run/containerd/" + tasks + n + "/%s", "%s is no name of a namespace" % n)
                for n in (name + "..a", "-" + name, name + "-", name + " a", name + "a" * 77)]
    d = Driver("relay", f"docker={folder}/none")
    made = []
    try:
        for good, (place, path, what) in [(True, c) for c in cases] + [(False, c) for c in nowhere]:
            i = "%08x" % os.getpid() + os.urandom(28).hex()
            make_folders(path % i, made)
            with open(path % i + "/config.json", "w", encoding="ascii") as f:
                f.write('{"linux":{}}')
            made.append(path % i + "/config.json")
            since = d.mark()
            d.say(f"get {place} {BUNDLE} {i}")
            m = d.wait("R_STREAM", since=since)
            check("a bundle of " + what if good else what, m and m["error"] == (0 if good else -2), m)
    finally:
        d.end()
        for p in reversed(made):
            (os.rmdir if os.path.isdir(p) else os.unlink)(p)


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


if __name__ == "__main__":
    sys.exit(main((relay_idle, ), (relay_refuses, relay_files, relay_places, relay_bounds)))
