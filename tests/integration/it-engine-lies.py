#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Discovery and its relay against engines that contradict themselves and each other: two that claim
one container, events told again or in another order, answers about somebody else, streams without
an end. Nothing foreign is ever told, nothing grows, and afterwards all is as the engine says."""
import json
import os
import sys
import time

from enginelib import MB, Driver, Engine, check, cid, event, facts, image_id, main, ok, status

END = b'HTTP/1.0 200 OK\r\n\r\n'


def told(d, n, since=0):
    return [m["facts"] for m in d.msgs[since:] if m["msg"] == "D_CONTAINER" and m["facts"]["id"] == cid(n)]


def gone(d, n, since=0, seconds=5.0):
    return d.wait("D_GONE", lambda m: m["id"] == cid(n), since, seconds)


def known(d):
    """What the controller was told, less what it was told is gone."""
    ids = set()
    for m in list(d.msgs):
        if m["msg"] == "D_CONTAINER":
            ids.add(m["facts"]["id"])
        elif m["msg"] == "D_GONE":
            ids.discard(m["id"])
    return ids


def rss(d):
    return {r: int(status(d.pids[r])["VmRSS"].split()[0]) for r in ("relay", "discovery")}


def wait_for(fn, seconds):
    end = time.monotonic() + seconds
    while not fn():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def two_claim_one(folder):
    """The first to claim it is believed."""
    a, b = Engine(folder, "first"), Engine(folder, "second")
    a.add(1, Names=["/true"])
    b.add(2, Names=["/own"])
    d = Driver("discovery", f"docker={a.path}", f"other={b.path}")
    d.container(1, pid=4242)
    d.container(2, pid=4242)
    since = d.mark()
    b.add(1, Names=["/false"], Labels={"com.docker.compose.project": "other"})
    b.send(event("container", "start", 1))
    m = d.wait("D_ENGINE", lambda m: "another engine" in m["why"], since)
    check("a container that another engine has is said", m and m["reachable"] == 1, m)
    for _ in range(5):
        a.send(event("container", "rename", 1))
        b.send(event("container", "rename", 1))
    d.say(f"lookup {cid(1)}")
    time.sleep(0.5)
    names = {f["name"] for f in told(d, 1)}
    check("the one that has it is believed, however often the other one says it", names == {"true"}, names)
    del b.containers[cid(1)]
    b.send(event("container", "die", 1))
    check("that it is gone is the other one's word no more than that it is there",
          gone(d, 1, since, 0.5) is None)
    b.add(1, Names=["/false"])
    b.send(event("container", "start", 1))
    since = d.mark()
    d.say("controller")
    d.wait("D_SYNCED", since=since)
    time.sleep(0.3)
    check("a new controller is told the same", {f["name"] for f in told(d, 1, since)} == {"true"}, told(d, 1, since))
    since = d.mark()
    del a.containers[cid(1)]
    a.send(event("container", "die", 1))
    check("when it is gone nobody inherits it", gone(d, 1, since) and d.container(1, since, 0.5) is None)
    a.add(1, Names=["/true"])
    a.send(event("container", "start", 1))
    check("so that a restart gives it to nobody else", d.container(1, since, name="true"))
    for e in (a, b):
        del e.containers[cid(1)]
        e.send(event("container", "die", 1))
    gone(d, 1, since)
    time.sleep(0.2)
    b.add(1, Names=["/false"])
    b.send(event("container", "start", 1))
    check("once both have said that it is gone, a new one may be the other's", d.container(1, since, name="false"))
    d.end()


def one_by_two_names(folder):
    """Docker's place is a link to Podman's socket, as Podman's package leaves it."""
    e = Engine(folder, "podman.sock")
    e.add(1)
    os.symlink(e.path, folder + "/link.sock")
    d = Driver("discovery", f"docker={folder}/link.sock", f"podman={e.path}")
    m = d.container(1)
    check("an engine with two names is asked by its own", m and m["facts"]["runtime"] == "podman", m)
    check("and the other one is said to be a link", d.wait(
        "D_ENGINE", lambda m: m["engine"] == "docker" and "is a link" in m["why"] and m["errors"] == 0))
    d.end()


def with_one(folder, name, **one):
    """An engine with one container, and a discovery role that knows it."""
    e = Engine(folder, name)
    e.add(1, **one)
    d = Driver("discovery", f"docker={e.path}")
    d.container(1, pid=4242)
    return e, d


def about_another(folder):
    """What is asked about one container is answered about another."""
    e, d = with_one(folder, "another", Names=["/one"])
    evil = facts(1, Names=["/two"], Labels={"com.docker.compose.project": "shop"})
    e.special["one"] = ok(json.dumps([evil]).encode())
    e.add(2, State="created")
    since = d.mark()
    e.send(event("container", "start", 2))
    check("an answer with the id of another is refused, and said", d.engine(1, "not the JSON", since))
    check("nobody is told with what it said", not [f for f in told(d, 1, since) + told(d, 2, since)
                                                    if f["name"] == "two"], d.msgs[since:])
    e.special["one"] = ok(json.dumps([evil, evil]).encode()[:-9])
    e.send(event("container", "start", 2))
    e.special["one"] = b"HTTP/1.0 500 Internal Server Error\r\n\r\n"
    e.send(event("container", "start", 2))
    e.special.clear()
    e.containers[cid(2)]["State"] = "running"
    e.send(event("container", "start", 2))
    check("and when it is right, it is told", d.container(2, since, name="c2"))

    # Removed between its start and the questions about it.
    since = d.mark()
    e.special["one"] = lambda c: (time.sleep(0.3), c.sendall(ok(b"[]")))
    e.send(event("container", "start", 3) + event("container", "die", 3) + event("container", "start", 4))
    time.sleep(0.8)
    e.special.clear()
    check("what is removed while it is asked about is not told", not told(d, 3, since) + told(d, 4, since))
    e.add(5)
    e.special["inspect"] = b"HTTP/1.0 404 Not Found\r\n\r\n{}"
    e.send(event("container", "start", 5))
    check("one whose namespace cannot be asked for is told without it", d.container(5, since, pid=0))
    e.special["inspect"] = ok(b'{"State":{"Pid":-7},"NetworkSettings":{"SandboxKey":"../../etc/passwd"}}')
    e.add(6)
    e.send(event("container", "start", 6))
    m = d.container(6, since)
    check("nor is a number or a path believed that cannot be one",
          m and not [f for f in told(d, 6, since) if f["pid"] or "/" in f["sandbox"]], told(d, 6, since))
    d.end()


def one_many_times(folder):
    """A list that has one container again and again, by other names; and another's name."""
    e, d = with_one(folder, "many", Names=["/one"])
    again = [facts(2, Names=[f"/two{k}"]) for k in range(3000)] + [facts(3, Names=["/one"]), facts(1, Names=["/one"])]
    e.special["list"] = ok(json.dumps(again).encode())
    since = d.mark()
    e.hang_up()
    check("the list's last word on it is told", d.container(2, since, 9, name="two2999") and d.container(3, since, name="one"))
    time.sleep(0.5)
    check("and told a few times at most", len(told(d, 2, since)) <= 4, len(told(d, 2, since)))
    e.special.clear()
    since = d.mark()
    e.hang_up()
    check("gone once when it is gone, and the other one with its name", gone(d, 2, since, 9) and gone(d, 3, since) and
          len([m for m in d.msgs[since:] if m["msg"] == "D_GONE"]) == 2 and known(d) == {cid(1)}, d.msgs[since:])
    since = d.mark()
    d.say("controller")
    check("a new controller is told that all is known", d.wait("D_SYNCED", since=since, seconds=9) and known(d) == {cid(1)})
    d.end()


def events_in_any_order(folder):
    e, d = with_one(folder, "order")
    since = d.mark()
    e.send(event("container", "die", 7) + event("container", "destroy", 7) + event("network", "connect", 7) +
           event("container", "rename", 7) + event("container", "start", 7))
    time.sleep(0.5)
    check("a start told after its end makes no container", not told(d, 7, since))
    e.add(8)
    e.send(event("container", "start", 8) * 2000)
    d.container(8, since, pid=4242)
    time.sleep(0.3)
    asked = sum(1 for k, data in list(e.log) if k == "one" and cid(8).encode() in data)
    check("one that is told 2,000 times is asked about a few times", asked < 200, asked)
    # Everything since yesterday again.
    since = d.mark()
    for n in (1, 8):
        e.send(event("container", "start", n) + event("container", "die", n))
    check("an old end that is told again is found out", d.container(1, since, 9) and d.container(8, since, 9),
          d.msgs[since:])
    # What is missed while the stream is broken.
    del e.containers[cid(8)]
    e.add(9)
    since = d.mark()
    e.hang_up()
    check("what began and ended while no events came is told", d.container(9, since, 9) and gone(d, 8, since, 9))
    d.end()


def without_end(folder):
    e, d = with_one(folder, "endless")
    before = rss(d)

    def pour(data, total):
        def f(conn):
            for _ in range(total // len(data)):
                conn.sendall(data)
        return f

    block = b"x" * (1 << 16)
    cases = [
        ("headers", lambda c: (c.sendall(b"HTTP/1.0 200 OK\r\n"), pour(b"X-A: y\r\n" * 4096, 64 * MB)(c)), "no HTTP"),
        ("an array", lambda c: (c.sendall(END + b"["), pour(b"{}," * 20000, 96 * MB)(c)), "too large"),
        ("a number", lambda c: (c.sendall(END + b"[" + b"1" * 60000), pour(b"1" * 65536, 96 * MB)(c)), "too large"),
    ]
    for name, answer, text in cases:
        e.special["list"] = answer
        since = d.mark()
        e.hang_up()
        m = d.wait("D_ENGINE", lambda m: m["reachable"] == 0 and text in m["why"], since, 12)
        e.special.clear()
        check(f"{name} without end: said, and asked again", m and d.engine(1, "", since, 12), d.msgs[since:][-3:])
    since = d.mark()
    for _ in range(40):
        e.send(block * 16)  # 40 MB of one event
    e.send(b"\n")
    e.add(2)
    e.send(event("container", "start", 2))
    check("an event of 40 MB is skipped, and the next one read", d.container(2, since, 9))
    e.special["list"] = ok(json.dumps([facts(n, ImageID="") for n in range(1, 9001)]).encode())
    since = d.mark()
    e.hang_up()
    check("of 9,000 containers 8,192 are known, and that is said",
          d.wait("D_ENGINE", lambda m: "more than 8192" in m["why"], since, 20), d.msgs[-1:])
    check("and told, however many at once", wait_for(lambda: len(known(d)) >= 8190, 20), len(known(d)))
    e.special.clear()
    e.hang_up()
    check("and forgotten when they are listed no more", wait_for(lambda: known(d) == {cid(1), cid(2)}, 30), len(known(d)))
    after = rss(d)
    check("neither role has grown by what it was sent", any("sanitizers" in x for x in d.errors) or
          after["relay"] < before["relay"] + 4000 and after["discovery"] < 48000, f"{before} {after}")
    d.end()


def trickle(folder):
    """An answer that comes byte by byte: the whole of it has a time."""
    e, d = with_one(folder, "trickle")

    def drip(conn):
        conn.sendall(END)
        for _ in range(100):
            conn.sendall(b"[")
            time.sleep(0.2)
    e.special["one"] = drip
    e.add(2)
    since = d.mark()
    e.send(event("container", "start", 2))
    m = d.engine(1, "took too long", since, 9)
    e.special.clear()
    check("an answer byte by byte is given up, and the list tells", m and d.container(2, since, 9), m)
    e.special["image"] = lambda c: (time.sleep(1), c.sendall(ok(b'{"Config":{"Labels":{}}}')))
    e.special["one"] = lambda c: (time.sleep(1), e.reply(c, "one", "/containers/json?x%22x%22x%22" + cid(3)))
    e.add(3, ImageID=image_id(3))
    e.send(event("container", "start", 3))
    check("one that answers each question after a second is believed", d.container(3, since, 9, imageLabels={}))
    d.end()


if __name__ == "__main__":
    sys.exit(main((one_by_two_names, two_claim_one, about_another), (one_many_times, events_in_any_order), (without_end, ), (trickle, )))
