#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests that nobody sane makes: bodies without end, clients that are slow, half gone or a thousand,
a policy of the largest size, bytes that are no text. Each is answered or dropped in bounds, and meanwhile
everything that happens is still learned and everybody else is still answered."""
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, proc_status, run, wait

t = Tap()
lab = Lab()
a, b = lab.ns("a"), lab.ns("b")
d = lab.daemon(config="maxEdges: 100000\n", expect=[a.name, b.name])
api = d.api
ports = iter(range(8000, 9000))
GB = 1 << 30


def rss_kb():
    return int(proc_status(d.roles()["controller"])["VmRSS"].split()[0])


start_pid, start_kb = d.roles()["controller"], rss_kb()


def still_observes():
    """A connection made now is learned, and a question answered, both soon."""
    port = next(ports)
    s = b.serve(port)
    a.tcp(b.v4, port)
    found = wait(lambda: api.edge(port=port), 15)
    s.close()
    return bool(found) and d.roles().get("controller") == start_pid


def client(text=b"", timeout=30):
    s = socket.socket(socket.AF_UNIX)
    end = time.monotonic() + timeout
    while True:  # without a timeout of its own, which would make a full queue an error
        try:
            s.settimeout(0)
            s.connect(d.sock)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
    s.settimeout(timeout)
    if text:
        s.sendall(text)
    return s


def head(path, length, more=""):
    return ("POST %s HTTP/1.1\r\nHost: n\r\nContent-Length: %d\r\n%s\r\n" % (path, length, more)).encode()


def answer(s):
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            part = s.recv(65536)
            if not part:
                break
            data += part
    except OSError as e:
        return "error: %s" % e
    return data.split(b"\r\n")[0].decode("ascii", "replace") or "closed"


# 1 GB, said and sent; and without a length.
s = client(head("/v1/policy/apply", GB))
chunk, sent, begin = b"a" * (1 << 20), 0, time.monotonic()
watched = []
watcher = threading.Thread(target=lambda: watched.append(still_observes()))
watcher.start()
try:
    while sent < GB and time.monotonic() - begin < 60:
        sent += s.send(chunk)
except OSError:
    pass
got = answer(s)
s.close()
watcher.join()
t.note("%d MB of 1024 taken in %.1f s: %s; %d KB more in the controller" % (
    sent >> 20, time.monotonic() - begin, got, rss_kb() - start_kb))
t.ok((" 413 " in got or got.startswith(("error", "closed"))) and watched == [True],
     "a body of 1 GB is refused, and what happens meanwhile is learned", got, watched)
t.ok(rss_kb() - start_kb < 80 << 10, "and is not kept", rss_kb(), start_kb)
s = client(b"POST /v1/policy/apply HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n")
sent = 0
try:
    while sent < 256 << 20:
        s.sendall(b"100000\r\n" + chunk + b"\r\n")
        sent += len(chunk)
    s.sendall(b"0\r\n\r\n")
except OSError:
    pass
got = answer(s)
s.close()
t.ok((" 413 " in got or got.startswith(("error", "closed"))) and rss_kb() - start_kb < 80 << 10,
     "one that does not say how long it is neither", got, rss_kb())

# Slow ones: a byte now and then, a head that never ends, a body that never comes.
slow = [client(b"GET /v1/status HTTP/1.1\r\nHost") for _ in range(60)] + \
       [client(head("/v1/policy/apply", 1000) + b"{") for _ in range(60)]
half = []
for _ in range(60):
    s = client(b"GET /v1/status HTTP/1.1\r\nHost: n\r\n\r\n")
    s.shutdown(socket.SHUT_WR)
    half.append(s)
unread = []
for _ in range(60):
    s = client(b"GET /v1/flows?all=1 HTTP/1.1\r\nHost: n\r\n\r\n" * 20)
    unread.append(s)
gone = [client(b"GET /v1/edges HTTP/1.1\r\nHost: n\r\n\r\n") for _ in range(60)]
for s in gone:
    s.close()
for s in slow:
    s.send(b"x")
t.ok(still_observes(), "with 120 slow clients, 60 half closed, 60 that do not read and 60 that are gone")
got = {answer(s)[:12] for s in half}
t.ok(got <= {"HTTP/1.1 200", "closed"}, "who closed its half still gets its answer, or none", got)
for s in slow + half + unread:
    s.close()

# A thousand at once: more than there is room for. Who is turned away is told by a closed connection.
many, refused = [], 0
for _ in range(1000):
    try:
        many.append(client(timeout=5))
    except OSError:
        refused += 1
answered = 0
for s in many:
    try:
        s.sendall(b"GET /v1/quarantine HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n")
    except OSError:
        refused += 1
for s in many:
    s.settimeout(2)
    good = answer(s).startswith("HTTP/1.1 200")
    answered += good
    s.close()
t.note("1000 clients: %d answered, %d not connected" % (answered, refused))
t.ok(answered >= 400 and wait(d.ready, 10) and still_observes(), "of a thousand clients as many as there is "
     "room for are answered, then all again", answered, refused)

# Bytes that are no text, in every place; through the command line as well.
noise = bytes(range(256)) * 64
bad = []
for path in ("/v1/policy/apply", "/v1/policy/validate", "/v1/edges/approve", "/v1/mode", "/v1/audit/export"):
    status, _ = api.raw("POST", path, noise)
    if not 400 <= status < 500:
        bad.append((path, status))
for text in (b"\0" * 5000 + b"\r\n\r\n", noise + b"\r\n\r\n", b"GET " + b"/" * 100000 + b" HTTP/1.1\r\n\r\n",
             b"GET /v1/edges?state=" + b"%00%ff%zz" * 50 + b" HTTP/1.1\r\nHost: n\r\n\r\n",
             b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50000 + b"\r\n"):
    s = client()
    try:
        s.sendall(text)
        got = answer(s)
    except OSError as e:
        got = "error: %s" % e
    if got.startswith("HTTP/1.1 2"):
        bad.append((text[:20], got))
    s.close()
for args in (("policy", "apply", "-"), ("policy", "validate", "-"), ("policy", "diff", "-"),
             ("policy", "import", "-"), ("review", "--from", "-"), ("learn", "--pcap", "-")):
    p = run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=False, stdin=None, input=noise)
    if p.returncode not in (1, 2) or not p.err or any(ord(c) < 32 and c != "\n" for c in p.err):
        bad.append((args, p.returncode, p.err[:200]))
t.ok(not bad and still_observes(), "binary on standard input and in requests is refused in a sentence", bad)

# The largest policy there can be, while connections go on; and one edge more than that.
edges = [{"from": "w/%d" % (i % 5000), "to": "w/%d" % (i * 7 % 5000), "proto": "tcp", "port": 1 + i // 5000 * 3,
          "state": "approved", "reason": "r"} for i in range(100001)]
doc = {"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "metadata": {"name": "x"}, "workloads": [],
       "edges": edges}
status, data = api.raw("POST", "/v1/policy/validate", json.dumps(doc), timeout=60)
t.ok(400 <= status < 500 and b"100000" in data, "more than 100,000 edges are refused, with the number", status,
     data[:200])
doc["edges"] = edges[:100000]
watched.clear()
watcher = threading.Thread(target=lambda: watched.append(still_observes()))
watcher.start()
begin = time.monotonic()
status, data = api.raw("POST", "/v1/policy/validate", json.dumps(doc), timeout=60)
watcher.join()
t.note("100,000 edges validated in %.1f s" % (time.monotonic() - begin))
t.ok(status == 200 and json.loads(data)["edges"] == 100000 and watched == [True],
     "100,000 edges are taken, and what happens meanwhile is learned", status, data[:200], watched)

# Applied: the API waits, observation does not lose a connection.
counted = range(900, 1000)  # dynamic ones, so many, would become a range
listeners = [b.serve(port) for port in counted]
doc["edges"] = edges[:90000]
connects = threading.Thread(target=lambda: [(a.tcp(b.v4, port), time.sleep(0.05)) for port in counted])
begin = time.monotonic()
connects.start()
status, data = api.raw("POST", "/v1/policy/apply", json.dumps(doc), timeout=120)
connects.join()
t.note("90,000 edges applied in %.1f s" % (time.monotonic() - begin))
t.ok(status == 200, "90,000 edges are applied", status, data[:200])
t.ok(wait(lambda: set(counted) <= {e.get("port") for e in api.get("/v1/edges", state="pending")}, 30),
     "and every connection made meanwhile is learned")
t.ok(d.roles()["controller"] == start_pid and not [x for x in d.text().splitlines() if "assert" in x.lower()],
     "the controller has been the same all along")
t.done()
