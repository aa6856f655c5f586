#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The start gate: the hook against sockets of all kinds, the wrapper and the installer on files,
and then an engine of its own behind the wrapper with the real daemon.

The container's program sends a UDP packet and a TCP SYN with its first instructions; a packet socket
in the server's namespace counts what arrives.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from roleslib import BUILD, Daemon, check, finish, plan, skip, wait_for

BIN = os.path.abspath(BUILD + "/daemon")
HOOK = BIN + "/nanoseg-oci-hook"
NANOSEG = os.path.abspath(BUILD + "/cli/nanoseg")
CLIENT = os.path.abspath(BUILD + "/tests/integration/gate-client")
ID = "5f" * 32
NAME = "nst%d" % os.getpid()
STARTS = 20
PARALLEL = 8
PORT = 7777


class Steps:
    """What is to be undone, in reverse."""

    def __init__(self):
        self.steps = []

    def add(self, fn, *args):
        self.steps.append((fn, args))

    def all(self):
        while self.steps:
            fn, args = self.steps.pop()
            try:
                fn(*args)
            except Exception as e:
                print("# undo: %s" % e)


def run(*cmd, **kw):
    return subprocess.run(cmd, text=True, stdin=kw.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=kw.pop("timeout", 30), **kw)


# --- the hook alone ------------------------------------------------------------------------------

class Fake:
    """A socket that answers as told: bytes, None for silence. The requests are kept."""

    def __init__(self, path, answer, dribble=False):
        self.requests, self.answer, self.dribble = [], answer, dribble
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(path)
        self.s.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            c.settimeout(2)
            data = b""
            try:
                while b"}" not in data:
                    data += c.recv(65536)
                self.requests.append(data)
                if self.answer is None:
                    time.sleep(3)
                elif self.dribble:
                    for i in range(len(self.answer)):
                        c.send(self.answer[i:i + 1])
                        time.sleep(0.05)
                else:
                    c.sendall(self.answer)
            except OSError:
                pass
            c.close()


def http(status, body):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


STATE = {"ociVersion": "1.0.2", "id": ID, "status": "creating", "pid": 4321, "bundle": "/b \"x\"",
         "annotations": {"a": "\u20ac", "id": "no"}}
START = http(200, {"start": True})
REFUSE = http(409, {"error": {"message": "its rules \u001b[31m are late"}})


def hook(folder, answer=START, marker=True, state=None, args=(), dribble=False, stdin=None):
    """(code, stderr, seconds, requests)"""
    sock, mark = folder + "/s", folder + "/m"
    for p in (sock, mark):
        if os.path.exists(p):
            os.unlink(p)
    fake = None
    if answer != "absent":
        fake = Fake(sock, answer, dribble)
    if marker:
        open(mark, "w").close()
    text = (json.dumps(STATE) if state is None else state).encode() if not isinstance(state, bytes) else state
    began = time.monotonic()
    p = subprocess.Popen([HOOK, "--socket", sock, "--marker", mark, "--timeout", "400ms", *args],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if stdin == "open":
        p.wait(10)
        err = p.stderr.read().decode()
    else:
        try:
            _, raw = p.communicate(text, timeout=10)
        except BrokenPipeError:
            raw = b""
        err = raw.decode()
    took = time.monotonic() - began
    if fake:
        fake.s.close()
    return p.returncode, err, took, fake.requests if fake else []


def test_hook(folder):
    def expect(name, code, pattern, *args, **kw):
        got = hook(folder, *args, **kw)
        check("hook: " + name, "" if got[0] == code and re.search(pattern, got[1]) and got[2] < 1.5 else got)
        return got

    out = run("ldd", HOOK)
    check("hook: needs no library", "" if "not a dynamic" in out.stdout + out.stderr or sanitized() else out.stdout)
    got = expect("starts when the daemon says so", 0, "^$")
    line = got[3][0] if got[3] else b""
    body = json.loads(line.split(b"\r\n\r\n")[1]) if line else {}
    check("hook: tells id, pid, bundle and how long it waits",
          "" if (body.get("id"), body.get("pid"), body.get("bundle")) == (ID, 4321, '/b "x"') and
          0 < body.get("timeoutMs", 0) <= 400 else line)
    expect("refuses with the daemon's sentence, nothing unprintable", 1,
           r"^nanoseg: start refused: its rules \?\[31m are late$", REFUSE)
    expect("refuses even without the marker", 1, "are late", REFUSE, marker=False)
    expect("a fail-open does not overrule a refusal", 1, "are late", REFUSE, args=["--fail-open"])
    for name, answer in (("nobody there", "absent"), ("silence", None), ("an empty answer", b""),
                         ("garbage", b"\x00\xff" * 200), ("another service's 200", http(200, b"<html>")),
                         ("a 200 that says no", http(200, {"start": False})),
                         ("not permitted", http(403, {"error": {"message": "x"}})),
                         ("an older daemon", http(404, {})), ("ending", http(503, {})), ("a cut answer", START[:9]),
                         ("a flood", b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 300000)):
        expect("%s, enforced: refused in time" % name, 1, "start refused: .*workloads are enforced", answer)
        expect("%s, nothing enforced: starts" % name, 0, "^$", answer, marker=False)
    expect("an answer that drips past the timeout is none", 1, "gave no answer", START, dribble=True)
    late = threading.Timer(0.15, Fake, (folder + "/s", START))
    late.start()
    expect("a daemon that comes in time is waited for", 0, "^$", "absent")
    late.join()
    expect("--fail-open starts and says so", 0, "started all the same", "absent", args=["--fail-open"])
    expect("a runtime that never ends the state is not waited for", 1, "did not tell", stdin="open")
    for name, state in (("no state", ""), ("not JSON", "{"), ("no pid", json.dumps({"id": ID, "bundle": "/b"})),
                        ("pid 0", json.dumps(dict(STATE, pid=0))), ("a huge pid", json.dumps(dict(STATE, pid=1 << 40))),
                        ("two ids", '{"id":"a","id":"b","pid":1,"bundle":"/b"}'),
                        ("an id of another alphabet", json.dumps(dict(STATE, id="a b\r\nX: y"))),
                        ("over 1 MB", json.dumps(dict(STATE, annotations={"x": "y" * (1 << 20)}))),
                        ("deep nesting", "[" * 100000)):
        expect("%s, enforced: refused" % name, 1, "start refused", state=state)
        expect("%s, nothing enforced: starts" % name, 0, "^$", state=state, marker=False)
    p = run(HOOK, "--socket", folder + "/none", "--marker", folder + "/nowhere/m", input=json.dumps(STATE), stdin=None)
    check("hook: a state folder that is gone enforces nothing", "" if p.returncode == 0 else p)
    os.symlink("loop", folder + "/loop")
    p = run(HOOK, "--socket", folder + "/none", "--marker", folder + "/loop/m", "--timeout", "400ms", input=json.dumps(STATE), stdin=None)
    check("hook: a marker that cannot be looked at counts as there", "" if p.returncode == 1 else p)
    # A daemon that is stopped: it takes the connection into its queue and never answers.
    sock = folder + "/stopped"
    s = socket.socket(socket.AF_UNIX)
    s.bind(sock)
    s.listen(0)
    full = []
    for _ in range(3):
        c = socket.socket(socket.AF_UNIX)
        c.setblocking(False)
        try:
            c.connect(sock)
        except BlockingIOError:
            pass
        full.append(c)
    began = time.monotonic()
    open(folder + "/m", "w").close()
    p = run(HOOK, "--socket", sock, "--marker", folder + "/m", "--timeout", "400ms", input=json.dumps(STATE), stdin=None)
    check("hook: a queue that is full is given up in time", "" if p.returncode == 1 and time.monotonic() - began < 1.2 else p)


def sanitized():
    with open(BUILD + "/config.h") as f:
        return "#define WITH_SANITIZERS 1" in f.read()


# --- the wrapper and the installer on files -------------------------------------------------------

FAKE_RUNC = """#!/bin/sh
printf '%s\\n' "$@" >>"$0.args"
for a; do case $p in --bundle|-b) cp "$a/config.json" "$0.config";; esac; p=$a; done
exit 0
"""
CONFIG = '{"ociVersion":"1.0.2",\n "process":{"rlimits":[{"hard":18446744073709551615}]}%s}\n'


def test_wrapper(folder):
    gate = folder + "/lib"
    os.mkdir(gate)
    bundle = folder + "/bundle"
    os.mkdir(bundle)
    for n in ("nanoseg-oci-hook", "nanoseg-runc"):
        shutil.copy(BIN + "/" + n, gate)
    runc, mark, log = folder + "/runc", folder + "/mark", folder + "/log.json"
    with open(runc, "w") as f:
        f.write(FAKE_RUNC)
    os.chmod(runc, 0o755)

    def conf(text=None):
        with open(gate + "/gate.conf", "w") as f:
            f.write(text or "# made\nruntime %s\nhook %s/nanoseg-oci-hook\nsocket /s\nmarker %s\ntimeout 3s\nfailOpen no\n"
                    % (runc, gate, mark))

    def create(config, verb="create"):
        with open(bundle + "/config.json", "w") as f:
            f.write(config)
        os.chmod(bundle + "/config.json", 0o640)
        for p in (runc + ".args", runc + ".config", log):
            if os.path.exists(p):
                os.unlink(p)
        p = run(gate + "/nanoseg-runc", "--root", "create", "--log", log, "--log-format", "json", verb,
                "--bundle", bundle, "--pid-file", "run", "x")
        got = open(runc + ".config").read() if os.path.exists(runc + ".config") else None
        return p, got

    conf()
    want = {"path": gate + "/nanoseg-oci-hook",
            "args": ["nanoseg-oci-hook", "--marker", mark, "--socket", "/s", "--timeout", "3s"]}
    for name, hooks, before in (("no hooks", "", []), ("null hooks", ',"hooks":null', []),
                                ("empty hooks", ',"hooks":{}', []),
                                ("other hooks", ',"hooks":{"prestart":[{"path":"/p"}]}', []),
                                ("an empty list", ',"hooks":{"createRuntime": [ ] }', []),
                                ("a null list", ',"hooks":{"createRuntime":null}', []),
                                ("a hook already", ',"hooks":{"createRuntime":[{"path":"/a"}]}', [{"path": "/a"}]),
                                ("an escaped key", ',"h\\u006foks":{"createRuntime":[{"path":"/a"}]}', [{"path": "/a"}])):
        p, got = create(CONFIG % hooks)
        value = json.loads(got) if got else {}
        check("wrapper: %s: ours comes last, all else stays" % name,
              "" if p.returncode == 0 and value["hooks"]["createRuntime"] == before + [want] and
              "18446744073709551615" in got and ("prestart" not in hooks or value["hooks"]["prestart"]) else (p, got))
    check("wrapper: the file's mode stays", "" if os.stat(bundle + "/config.json").st_mode & 0o777 == 0o640 else "mode")
    p, again = create(got)
    check("wrapper: once is enough", "" if again == got else (got, again))
    p, got = create(CONFIG % "", "state")
    check("wrapper: other commands go straight through",
          "" if got == CONFIG % "" and open(runc + ".args").read().split()[:2] == ["--root", "create"] else (p, got))
    for name, text in (("not JSON", "{"), ("hooks of a wrong kind", CONFIG % ',"hooks":[]'),
                       ("hooks twice", CONFIG % ',"hooks":{},"hooks":{}')):
        p, got = create(text)
        check("wrapper: %s, nothing enforced: left to the runtime" % name,
              "" if p.returncode == 0 and got == text else (p, got))
        open(mark, "w").close()
        p, got = create(text)
        check("wrapper: %s, enforced: refused, in the runtime's log too" % name,
              "" if p.returncode == 1 and got is None and "start refused" in json.loads(open(log).read())["msg"]
              else (p, got))
        os.unlink(mark)
    os.rename(gate + "/nanoseg-oci-hook", gate + "/gone")
    p, got = create(CONFIG % "")
    check("wrapper: the hook is gone, nothing enforced: starts", "" if p.returncode == 0 and got == CONFIG % "" else p)
    open(mark, "w").close()
    p, got = create(CONFIG % "")
    check("wrapper: the hook is gone, enforced: refused", "" if p.returncode == 1 and got is None else p)
    os.rename(gate + "/gone", gate + "/nanoseg-oci-hook")
    conf("runtime %s\nmarker %s\nnonsense x\n" % (runc, mark))
    p, got = create(CONFIG % "")
    check("wrapper: a broken gate.conf, enforced: refused", "" if p.returncode == 1 and got is None else p)
    os.unlink(mark)
    p, got = create(CONFIG % "")
    check("wrapper: a broken gate.conf, nothing enforced: starts", "" if p.returncode == 0 and got else p)


def gate(folder, verb, *args, marker=True, wrap=()):
    return run(*wrap, NANOSEG, "--socket", folder + "/run/n.sock", "gate", verb, "--dir", folder + "/lib", "--programs", BIN,
               "--config", folder + "/daemon.json", "--data-root", folder + "/data", "--engine-socket",
               folder + "/docker.sock", "--hooks-dir", folder + "/hooks.d", "--base-spec", folder + "/base.json",
               *(("--marker", folder + "/state/enforced") if marker else ()), *args)


def test_installer(folder):
    config = folder + "/daemon.json"
    for name, text in (("a file", '{"debug":true,  "x":{"unknown":[1,2.50]},\n\t"log-level":"info"}'),
                       ("a file with a runtime", '{"runtimes": {"kata":{"path":"/bin/kata"}},"default-runtime":"runc"}\n'),
                       ("no file", None), ("an empty object", "{ }")):
        if text is None:
            if os.path.exists(config):
                os.unlink(config)
        else:
            with open(config, "w") as f:
                f.write(text)
            os.chmod(config, 0o640)
        i = gate(folder, "install", "--engine", "docker")
        made = json.load(open(config)) if os.path.exists(config) else {}
        was = json.loads(text) if text else {}
        ours = dict(was, **{"default-runtime": "nanoseg"})
        ours["runtimes"] = dict(was.get("runtimes", {}), nanoseg={"path": folder + "/lib/nanoseg-runc"})
        check("install: %s: our keys come, the others stay" % name, "" if i.returncode == 0 and made == ours else (i, made))
        check("install: %s: its mode stays" % name,
              "" if text is None or os.stat(config).st_mode & 0o777 == 0o640 else "mode")
        again = gate(folder, "install", "--engine", "docker")
        check("install: twice is once", "" if again.returncode == 0 and json.load(open(config)) == ours else again)
        r = gate(folder, "remove", "--engine", "docker")
        left = open(config).read() if os.path.exists(config) else None
        check("remove: %s: byte for byte as it was" % name, "" if r.returncode == 0 and left == text else (r, left))
        check("remove: nothing is left", "" if not os.path.exists(folder + "/lib") and
              not os.path.exists(config + ".nanoseg-backup") else os.listdir(folder))
    with open(config, "w") as f:
        f.write('{"a":1}')
    gate(folder, "install", "--engine", "docker")
    edited = json.load(open(config))
    edited["b"] = 2
    with open(config, "w") as f:
        json.dump(edited, f)
    r = gate(folder, "remove", "--engine", "docker")
    check("remove: what was changed meanwhile stays", "" if json.load(open(config)) == {"a": 1, "b": 2} else r)
    for name, text in (("not JSON", "{,}"), ("a list", "[]"), ("an empty file", ""), ("a key twice", '{"a":1,"a":2}'),
                       ("runtimes of a wrong kind", '{"runtimes":[]}'),
                       ("a default without a path", '{"default-runtime":"kata","runtimes":{"kata":{"runtimeType":"x"}}}')):
        with open(config, "w") as f:
            f.write(text)
        r = gate(folder, "install", "--engine", "docker")
        check("install: %s is refused and not touched" % name,
              "" if r.returncode in (1, 2) and r.stderr and open(config).read() == text else r)
    os.rename(config, folder + "/real.json")
    with open(folder + "/real.json", "w") as f:
        f.write("{}")
    os.symlink(folder + "/real.json", config)
    r = gate(folder, "install", "--engine", "docker")
    check("install: a link is refused, with a word on what to do, and nothing is left behind",
          "" if r.returncode == 2 and "--config" in r.stderr and not os.path.exists(folder + "/lib") and
          not os.path.exists(config + ".nanoseg-backup") and open(config).read() == "{}" else r)
    os.unlink(config)
    r = gate(folder, "install", "--engine", "podman", marker=False)
    check("install: without a daemon that says where its marker is, and without --marker: refused",
          "" if r.returncode == 1 and "--marker" in r.stderr and not os.path.exists(folder + "/hooks.d") else r)
    data = folder + "/data/containers/" + ID
    os.makedirs(data)
    with open(data + "/hostconfig.json", "w") as f:
        json.dump({"Runtime": "nanoseg"}, f)
    gate(folder, "install", "--engine", "docker")
    r = gate(folder, "remove", "--engine", "docker")
    made = json.load(open(config))
    check("remove: while a container was made with the gate, its entry stays and means the real runtime",
          "" if "default-runtime" not in made and made["runtimes"]["nanoseg"]["path"].endswith("/runc") and
          ID[:12] in r.stdout else (r, made))
    os.unlink(data + "/hostconfig.json")
    r = gate(folder, "remove", "--engine", "docker")
    check("remove: and goes when the container is gone", "" if not os.path.exists(config) else (r, open(config).read()))
    i = gate(folder, "install", "--engine", "podman")
    made = json.load(open(folder + "/hooks.d/nanoseg-gate.json"))
    check("install: podman's hook", "" if i.returncode == 0 and made["hook"]["path"] == folder + "/lib/nanoseg-oci-hook" and
          made["stages"] == ["createRuntime"] and made["when"] == {"always": True} else made)
    s = gate(folder, "status", "-o", "json")
    st = {e["engine"]: e for e in json.loads(s.stdout)} if s.stdout else {}
    check("status: what is installed and what not", "" if st.get("podman", {}).get("installed") is True and
          st["docker"]["installed"] is False and s.returncode == 0 else s)
    os.unlink(folder + "/lib/nanoseg-oci-hook")
    s = gate(folder, "status")
    check("status: a missing program is a problem", "" if s.returncode == 3 and "missing" in s.stdout else s)
    r = gate(folder, "remove", "--engine", "podman")
    check("remove: podman's hook", "" if r.returncode == 0 and not os.path.exists(folder + "/hooks.d/nanoseg-gate.json") and
          not os.path.exists(folder + "/lib") else r)
    if shutil.which("ctr"):
        i = gate(folder, "install", "--engine", "containerd")
        made = json.load(open(folder + "/base.json"))
        check("install: containerd's base specification, and what to do with it",
              "" if made["hooks"]["createRuntime"][0]["path"] == folder + "/lib/nanoseg-oci-hook" and made["process"] and
              "base_runtime_spec" in i.stdout else i)
        r = gate(folder, "remove", "--engine", "containerd")
        check("remove: containerd's", "" if r.returncode == 0 and not os.path.exists(folder + "/base.json") else r)
        os.mkdir(folder + "/etc")
        with open(folder + "/etc/config.toml", "w") as f:
            f.write('base_runtime_spec = "%s/base.json"\n' % folder)
        named = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/containerd && exec "$@"', folder + "/etc")
        gate(folder, "install", "--engine", "containerd")
        r = gate(folder, "remove", "--engine", "containerd", wrap=named)
        made = json.load(open(folder + "/base.json"))
        check("remove: what containerd's configuration names stays, without the gate",
              "" if r.returncode == 0 and "config.toml" in r.stdout and "hooks" not in made and made["process"] and
              not os.path.exists(folder + "/lib") else (r, made.get("hooks")))
        s = gate(folder, "status", "--engine", "containerd", wrap=named)
        check("status: and counts for none", "" if s.returncode == 0 and "yes" not in s.stdout else s)
        os.unlink(folder + "/base.json")
    else:
        skip("install: containerd's base specification", "no ctr")
    i = gate(folder, "install")
    s = gate(folder, "status", "-o", "json")
    there = [e for e in json.loads(s.stdout) if e["present"] and e["engine"] != "containerd"]
    check("install: without an engine, all that are there", "" if there and all(e["installed"] for e in there) else (i, s))
    r = gate(folder, "remove")
    check("remove: all of them", "" if r.returncode == 0 and not os.path.exists(folder + "/lib") and
          not os.path.exists(config) and not os.path.exists(folder + "/hooks.d/nanoseg-gate.json") else r)


# --- an engine of its own --------------------------------------------------------------------------

COUNTER = """
import socket, sys, threading, struct
port = int(sys.argv[1])
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); t.bind(("0.0.0.0", port)); t.listen(64)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("0.0.0.0", port))
def serve():
    while True:
        t.accept()[0].close()
threading.Thread(target=serve, daemon=True).start()
n = [0, 0]
def count():
    while True:
        p, a = s.recvfrom(2048)
        if a[2] == 4 or len(p) < 28: continue
        h = (p[0] & 15) * 4
        if struct.unpack("!H", p[h + 2:h + 4])[0] != port: continue
        if p[9] == 17: n[1] += 1
        elif p[9] == 6 and p[h + 13] & 2: n[0] += 1
threading.Thread(target=count, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    print(n[0], n[1], flush=True)
"""


class Engine:
    def __init__(self, folder, undo):
        self.folder, self.undo = folder, undo
        self.sock = folder + "/docker.sock"
        # A network namespace of its own: the firewall of this machine is none of its business.
        self.netns = "nsg%d" % os.getpid()
        run("ip", "netns", "add", self.netns, check=True)
        undo.add(run, "ip", "netns", "del", self.netns)
        run("ip", "-n", self.netns, "link", "set", "lo", "up", check=True)
        with open(folder + "/containerd.toml", "w") as f:
            f.write('version = 2\nroot = "%s/ctd"\nstate = "%s/ctd-run"\n'
                    'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "%s/ctd.sock"\n'
                    % (folder, folder, folder))
        self.start_process("containerd", ["containerd", "-c", folder + "/containerd.toml"])
        if not wait_for(lambda: os.path.exists(folder + "/ctd.sock"), 10):
            raise RuntimeError("containerd does not start")
        self.dockerd = self.start_process("dockerd", [
            "nsenter", "--net=/run/netns/" + self.netns, "dockerd", "--config-file", folder + "/daemon.json", "--data-root", folder + "/data", "--exec-root",
            folder + "/exec", "--pidfile", folder + "/docker.pid", "-H", "unix://" + self.sock, "--bridge", "none",
            "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--containerd", folder + "/ctd.sock",
            "--cgroup-parent", NAME])
        if not wait_for(lambda: self.docker("info").returncode == 0, 20):
            raise RuntimeError("dockerd does not start")

    def start_process(self, name, cmd):
        log = open("%s/%s.log" % (self.folder, name), "w")
        p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.undo.add(self.stop_process, p)
        return p

    @staticmethod
    def stop_process(p):
        if p.poll() is None:
            p.terminate()
            try:
                p.wait(15)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def docker(self, *args, **kw):
        return run("docker", "-H", "unix://" + self.sock, *args, **kw)


class Counter:
    def __init__(self, pid):
        self.p = subprocess.Popen(["nsenter", "--net=/proc/%d/ns/net" % pid, sys.executable, "-c", COUNTER, str(PORT)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.p.stdout.readline()

    def read(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        return [int(n) for n in self.p.stdout.readline().split()]

    def stop(self):
        self.p.kill()
        self.p.wait()


def unmount_below(folder):
    with open("/proc/self/mounts") as f:
        below = [l.split()[1] for l in f if l.split()[1].startswith(folder + "/")]
    for path in reversed(below):
        run("umount", "-l", path)


class Live:
    """Engine, daemon, server's container, and what is asked of them."""

    def __init__(self, folder, undo):
        self.folder, self.undo = folder, undo
        self.cli, self.srv = NAME + "-cli", NAME + "-srv"
        with open(folder + "/daemon.json", "w") as f:
            f.write('{"log-level": "warn"}')
        self.before = open(folder + "/daemon.json").read()
        self.engine = Engine(folder, undo)
        self.setup_network()

    def setup_network(self):
        e, n = self.engine, os.getpid() % 200
        subnet = "10.231.%d.0/24" % n
        root = self.folder + "/root"
        os.mkdir(root)
        shutil.copy(CLIENT, root + "/client")
        tar = subprocess.run(["tar", "-C", root, "-c", "client"], stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["docker", "-H", "unix://" + e.sock, "import", "-", "gate:1"], input=tar, check=True,
                       stdout=subprocess.DEVNULL)
        r = e.docker("network", "create", "--subnet", subnet, "-o", "com.docker.network.bridge.name=" + NAME[:15], NAME)
        if r.returncode != 0:
            raise RuntimeError(r.stderr)
        self.undo.add(e.docker, "network", "rm", NAME)
        self.address = "10.231.%d.77" % n
        r = e.docker("run", "-d", "--name", self.srv, "--network", NAME, "--ip", self.address, "gate:1", "/client")
        if r.returncode != 0:
            raise RuntimeError(r.stderr)
        self.undo.add(e.docker, "rm", "-f", self.srv)
        pid = int(e.docker("inspect", "-f", "{{.State.Pid}}", self.srv).stdout)
        self.counter = Counter(pid)
        self.undo.add(self.counter.stop)

    def start(self, *args):
        return self.engine.docker("run", "--rm", "--name", self.cli, "--network", NAME, *args, "gate:1", "/client",
                                  self.address, str(PORT))

    def leaked(self):
        time.sleep(0.1)
        return self.counter.read()

    def daemon(self):
        os.makedirs(self.folder + "/run")
        d = Daemon(BIN, self.folder + "/state", self.folder + "/run/n.sock", "--docker-socket", self.engine.sock,
                   "--only", NAME + "*")
        self.undo.add(finish, d)
        wait_for(lambda: self.nanoseg("status").returncode == 0, 10)
        return d

    def nanoseg(self, *args, **kw):
        return run(NANOSEG, "--socket", self.folder + "/run/n.sock", *args, **kw)

    def apply(self, mode, edges="", more=()):
        text = ("apiVersion: nanoseg/v1\nkind: SegmentPolicy\nmetadata: {name: t}\nworkloads:\n"
                "  - {name: %s, mode: %s}\n  - {name: %s, mode: observe}\n%sedges: [%s]\n"
                % (self.cli, mode, self.srv, "".join("  - {name: %s, mode: %s}\n" % (m, mode) for m in more), edges))
        r = self.nanoseg("policy", "apply", "-", input=text, stdin=None)
        if r.returncode != 0:
            raise RuntimeError(r.stderr)

    def status(self, name):
        r = self.nanoseg("status", "-o", "json")
        for w in json.loads(r.stdout)["workloads"]:
            if w["name"] == name:
                return w
        return {"instances": []}


def figures(name, values):
    v = sorted(values)
    if v:
        print("# %s: min %.1f, median %.1f, max %.1f" % (name, v[0], v[len(v) // 2], v[-1]))


def test_live(live):
    f = live.folder
    r = live.start()
    got = live.leaked()
    check("live: without a gate the first packets arrive", "" if r.stdout == "tcp yes\n" and min(got) >= 1 else (r, got))
    plain = []
    for _ in range(3):
        began = time.monotonic()
        live.start()
        plain.append((time.monotonic() - began) * 1000)
    i = gate(f, "install", "--engine", "docker", "--wait", "2s")
    live.engine.dockerd.send_signal(signal.SIGHUP)
    loaded = wait_for(lambda: json.loads(gate(f, "status", "--engine", "docker", "-o", "json").stdout)[0]["loaded"], 5)
    check("live: dockerd reads it on SIGHUP, status sees it", "" if loaded else i)
    r = live.start()
    check("live: no daemon, nothing enforced: containers start", "" if r.stdout == "tcp yes\n" else r)

    d = live.daemon()
    mark = os.path.realpath(f) + "/state/enforced"
    i = gate(f, "install", "--engine", "podman", marker=False)
    hook = open(f + "/hooks.d/nanoseg-gate.json").read()
    check("live: the daemon says where its marker is", "" if i.returncode == 0 and '"%s"' % mark in hook else (i, hook))
    gate(f, "install", "--engine", "podman", "--marker", "/nowhere/enforced")
    s = gate(f, "status", "--engine", "podman")
    check("live: a gate that looks at another marker is a problem", "" if s.returncode == 3 and mark in s.stdout else s)
    gate(f, "remove", "--engine", "podman")
    check("live: no marker before anything is enforced", "" if not os.path.exists(f + "/state/enforced") else "there")
    live.apply("enforce")
    check("live: a marker once something is", "" if os.path.exists(mark) else "missing")
    live.apply("observe")
    check("live: and none when nothing is any more", "" if wait_for(lambda: not os.path.exists(mark), 5) else "there")
    live.apply("enforce")
    check("live: and again", "" if os.path.exists(mark) else "missing")
    os.unlink(mark)
    check("live: a marker that was removed comes back", "" if wait_for(lambda: os.path.exists(mark), 5) else "missing")
    before, took, bad = live.counter.read(), [], []
    for _ in range(STARTS):
        began = time.monotonic()
        r = live.start()
        took.append((time.monotonic() - began) * 1000)
        if r.stdout != "tcp no\n":
            bad.append(r)
    after = live.leaked()
    figures("docker run, gated and enforced, ms", took)
    figures("docker run, no gate, ms", plain)
    print("# leaked in %d gated starts: %d SYN, %d UDP" % (STARTS, after[0] - before[0], after[1] - before[1]))
    check("live: %d gated starts, no approved edge: all start, not a packet leaks" % STARTS,
          "" if after == before and not bad else (before, after, bad[:2]))

    test_parallel(live)
    live.apply("enforce")
    leads = []
    for _ in range(5):
        r = live.engine.docker("run", "-d", "--name", live.cli, "--network", NAME, "gate:1", "/client")
        inst = live.status(live.cli)["instances"]
        if inst:
            leads.append(inst[0]["start"])
        live.engine.docker("rm", "-f", live.cli)
    figures("rules in force before the answer, ms", [s["leadMs"] for s in leads if s["leadMs"] is not None])
    check("live: status says gated, and its lead",
          "" if leads and all(s["kind"] == "gated" and s["leadMs"] >= 0 for s in leads) else leads)

    edge = "{from: %s, to: %s, proto: tcp, port: %d, state: approved}" % (live.cli, live.srv, PORT)
    live.apply("enforce", edge)
    before, bad = live.counter.read(), []
    for _ in range(STARTS // 2):
        r = live.start()
        if r.stdout != "tcp yes\n":
            bad.append(r)
    after = live.leaked()
    check("live: an approved edge works at its first SYN, and only that",
          "" if after[0] - before[0] == STARTS // 2 and after[1] == before[1] and not bad else (before, after, bad[:2]))

    test_image(live)
    test_stopped(live, d)
    test_gone(live, d)


def test_image(live):
    """Another image under the enforced name, until a person agrees."""
    before = live.counter.read()
    live.engine.docker("tag", "gate:1", "evil/gate:1")
    args = ("run", "--rm", "--name", live.cli, "--network", NAME, "evil/gate:1", "/client", live.address, str(PORT))
    r = live.engine.docker(*args)
    check("live: another image under an enforced name is refused, with what to do",
          "" if r.returncode != 0 and "approve --image" in r.stderr and live.leaked() == before else r)
    live.engine.docker("run", "-d", "--name", live.cli, "--network", NAME, "gate:1", "/client")
    r = live.engine.docker("run", "--rm", "--name", NAME + "-guest", "--network", "container:" + live.cli, "evil/gate:1",
                           "/client", live.address, str(PORT))
    inst = live.status(live.cli)["instances"]
    check("live: so is one that joins the network of a container of that name, which stays as it is",
          "" if r.returncode != 0 and "approve --image" in r.stderr and inst and inst[0]["imageAccepted"] and
          live.leaked() == before else (r, inst))
    r = live.engine.docker("run", "--rm", "--name", NAME + "-guest", "--network", "container:" + live.cli, "gate:1",
                           "/client", live.address, str(PORT))
    check("live: one of an accepted image may join", "" if r.stdout == "tcp yes\n" else r)
    live.engine.docker("rm", "-f", live.cli)
    before = live.counter.read()
    a = live.nanoseg("approve", "--image", live.cli + "=evil/gate", "--reason", "tested")
    r = live.engine.docker(*args)
    check("live: it starts once it is accepted, and its approved edge works", "" if r.stdout == "tcp yes\n" else (a, r))


def test_parallel(live):
    names = ["%s-p%d" % (NAME, i) for i in range(PARALLEL)]
    live.apply("enforce", more=names)
    before = live.counter.read()
    began = time.monotonic()
    running = [subprocess.Popen(["docker", "-H", "unix://" + live.engine.sock, "run", "--rm", "--name", n, "--network",
                                 NAME, "gate:1", "/client", live.address, str(PORT)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for n in names]
    out = [p.communicate(timeout=60)[0] for p in running]
    print("# %d gated starts at once: %.1f s" % (PARALLEL, time.monotonic() - began))
    after = live.leaked()
    check("live: %d at once: all start, not a packet leaks" % PARALLEL,
          # The client may say something about the machine before.
          "" if after == before and all(x.endswith("tcp no\n") for x in out) else (before, after, out))


def test_stopped(live, d):
    before = live.counter.read()
    pid = d.pids()["controller"]
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        r = live.start()
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    print("# a stopped controller: refused after %.2f s" % took)
    check("live: a stopped controller: the start is refused in time, with a sentence",
          "" if r.returncode != 0 and "start refused" in r.stderr and took < 15 and live.leaked() == before else (took, r))
    pid = d.pids()["warden"]
    os.kill(pid, signal.SIGSTOP)
    try:
        r = live.start()
    finally:
        os.kill(pid, signal.SIGCONT)
    check("live: a stopped warden: refused, with the daemon's sentence",
          "" if r.returncode != 0 and "not in force in time" in r.stderr and live.leaked() == before else r)
    r = wait_for(lambda: live.start().stdout == "tcp yes\n", 10)
    check("live: and both going on, containers start again", "" if r else d.text()[-3000:])


def test_gone(live, d):
    f, before = live.folder, live.counter.read()
    r = run("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "curl", "-s", "--unix-socket", d.sock,
            "-d", '{"id":"%s","pid":1}' % ID, "http://n/v1/gate")
    check("live: nobody but root may ask", "" if '"start"' not in r.stdout else r.stdout)
    r = run("curl", "-s", "--unix-socket", d.sock, "-d", '{"id":"%s","pid":1,"evil":1}' % ID, "http://n/v1/gate")
    check("live: a request with more than is known is refused", "" if "expected {id" in r.stdout else r.stdout)
    for what, name, want in (("of an engine that nobody knows: refused", ID, "what it is, and workloads are enforced"),
                             ("without an engine's id: onUnknown decides", "by-hand", '"start":true')):
        began = time.monotonic()
        r = run("curl", "-s", "--unix-socket", d.sock, "-d", '{"id":"%s","pid":4194303,"timeoutMs":400}' % name,
                "http://n/v1/gate")
        check("live: a container " + what + ", in time",
              "" if want in r.stdout and time.monotonic() - began < 1 else r)
    d.p.terminate()
    d.p.wait(10)
    r = live.start()
    check("live: no daemon, enforced: refused", "" if r.returncode != 0 and "does not answer" in r.stderr and
          live.leaked() == before else r)
    shutil.rmtree(f + "/lib")
    r = live.start()
    print("# the wrapper's folder deleted: %s" % (r.stderr.strip().splitlines() or ["?"])[0][:300])
    gate(f, "install", "--engine", "docker", "--wait", "2s")
    clean = run(BIN + "/nanosegd", "--cleanup", "--state-dir", f + "/state", "--socket", f + "/run/n.sock")
    check("live: --cleanup takes the marker away", "" if not os.path.exists(f + "/state/enforced") else clean)
    r = live.start()
    check("live: and then containers start without a daemon", "" if r.stdout == "tcp yes\n" else r)
    r = gate(f, "remove", "--engine", "docker")
    check("live: gate remove: daemon.json is byte for byte what it was",
          "" if open(f + "/daemon.json").read() == live.before else (r, open(f + "/daemon.json").read()))
    live.engine.dockerd.send_signal(signal.SIGHUP)
    wait_for(lambda: "nanoseg" not in live.engine.docker("info", "-f", "{{.DefaultRuntime}}").stdout, 5)
    r = live.start()
    check("live: and containers start", "" if r.stdout == "tcp yes\n" else r)


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    undo = Steps()
    # Short: a unix socket's path.
    folder = tempfile.mkdtemp(prefix="nst", dir="/var/tmp")
    os.chmod(folder, 0o755)
    undo.add(shutil.rmtree, folder, True)
    undo.add(unmount_below, folder)
    try:
        for name, fn in (("h", test_hook), ("w", test_wrapper), ("i", test_installer)):
            os.mkdir(folder + "/" + name)
            fn(folder + "/" + name)
        missing = [p for p in ("dockerd", "containerd", "docker", "nsenter", "curl") if not shutil.which(p)]
        if missing:
            skip("live", "no " + ", ".join(missing))
        else:
            os.mkdir(folder + "/l")
            try:
                live = Live(folder + "/l", undo)
            except RuntimeError as e:
                skip("live", "no engine of its own here: %s" % e)
            else:
                test_live(live)
    finally:
        undo.all()
    return plan()


if __name__ == "__main__":
    sys.exit(main())
