#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-H ssh://: the command line over a real sshd, on a machine of its own."""
import glob
import json
import os
import select
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from alonelab import alone
from nslab import BUILD, Lab, Tap, alive, run, skip_all, wait

SSHD, PORT, NOBODY = "/usr/sbin/sshd", 2222, 65534
if not os.path.exists(SSHD):
    skip_all("needs sshd")
alone("ssh", "ssh-keygen")
# Folders of commands that others run at the same time are not ours to count.
OWN_TMP = not any(os.path.realpath(x).startswith("/tmp/") for x in (HERE, BUILD))
if OWN_TMP:
    run("mount", "-t", "tmpfs", "tmpfs", "/tmp")

t = Tap()
lab = Lab(real_host=True)
a, b = lab.ns("a"), lab.ns("b")
b.serve(8000)
d = lab.daemon(expect=[a.name, b.name])
os.chmod(d.sock, 0o666)
dir = lab.dir + "/ssh"
os.makedirs(dir + "/keys")
os.makedirs("/run/sshd", mode=0o755)
for key in ("host", "other", "user"):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir + "/" + key)


def put(name, text):
    with open(os.path.join(dir, name), "w") as f:
        f.write(text)
    return os.path.join(dir, name)


def public(key):
    with open(dir + "/" + key + ".pub") as f:
        return " ".join(f.read().split()[:2])


for user in ("root", "nobody"):
    put("keys/" + user, public("user") + "\n")
known = put("known", "[127.0.0.1]:%d %s\n" % (PORT, public("host")))
put("sshd.conf", "Port %d\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/keys/%%u\nUsePAM no\n"
    "PasswordAuthentication no\nPermitRootLogin yes\nStrictModes no\nPidFile none\n" % (PORT, dir, dir))
client = put("client.conf", "Host *\n  IdentityFile %s/user\n  IdentitiesOnly yes\n  IdentityAgent none\n  BatchMode yes\n"
             "  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n" % (dir, known))
run("mount", "--bind", client, "/etc/ssh/ssh_config")
log = open(dir + "/log", "ab")
sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", dir + "/sshd.conf"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
lab.later(sshd.kill)


def argv(user, *args, port=PORT):
    return [BUILD + "/cli/nanoseg", "-H", "ssh://%s@127.0.0.1:%d%s" % (user, port, d.sock), *args]


def cli(user, *args, **kw):
    return run(*argv(user, *args, **kw), check=False, timeout=60)


def local(*args):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=False)


def left():
    """What a command must not leave: its folder, and its ssh."""
    ssh = [p for p in os.listdir("/proc") if p.isdigit() and alive(int(p)) and
           open("/proc/%s/comm" % p).read() == "ssh\n"]
    return ssh + (glob.glob("/tmp/nanoseg-??????") if OWN_TMP else [])


r = None


def answers():
    global r
    r = cli("root", "status", "-o", "json")
    return r.returncode == 0


up = wait(answers, 15, 0.2)
names = [w["name"] for w in json.loads(r.out)["workloads"]] if up else []
t.ok(up and {a.name, b.name} <= set(names), "status of another machine's daemon", r.returncode, r.err,
     open(dir + "/log").read()[-1500:])
a.tcp(b.v4, 8000)
edge = wait(lambda: d.api.edge(port=8000), 10)["id"]
r = cli("root", "approve", edge, "--reason", "from afar")
rec = [x for x in json.loads(local("audit-log", "-o", "json").out) if x["event"] == "approve"]
t.ok(r.returncode == 0 and len(rec) == 1 and rec[0]["actor"]["uid"] == 0 and
     rec[0]["actor"]["program"].startswith("sshd") and rec[0]["reason"] == "from afar",
     "a decision, and the record has who logged in there", r.err, rec)
r = cli("root", "reload")
t.ok(r.returncode == 0 and "nothing has changed" in r.out, "several requests share a connection", r.out, r.err)
r = cli("nobody", "edges", "-o", "json")
t.ok(r.returncode == 0 and json.loads(r.out)[0]["id"] == edge, "another user may look", r.err)
r = cli("nobody", "mode", b.name, "enforce", "--reason", "no")
t.ok(r.returncode == 5 and d.api.workload(b.name)["mode"] == "observe", "and no more than that", r.returncode, r.err)
os.chmod(d.sock, 0o660)
r = cli("nobody", "status")
t.ok(r.returncode == 4 and r.err, "who may not open the socket there is told", r.returncode, r.err)
r = cli("root", "status", port=PORT + 1)
t.ok(r.returncode == 4 and "not reachable" in r.err, "nobody listens", r.returncode, r.err)
r = cli("daemon", "status")
t.ok(r.returncode == 4 and "denied" in r.err, "a user who may not log in", r.returncode, r.err)
put("known", "[127.0.0.1]:%d %s\n" % (PORT, public("other")))
r = cli("root", "status")
t.ok(r.returncode == 4 and "HOST IDENTIFICATION HAS CHANGED" in r.err, "a host with another key", r.returncode, r.err)
put("known", "[127.0.0.1]:%d %s\n" % (PORT, public("host")))


def follower():
    p = subprocess.Popen(argv("root", "flows", "--follow", "-o", "json"), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def line():
        a.tcp(b.v4, 8000)
        return p.stdout.readline() if select.select([p.stdout], [], [], 0)[0] else b""

    return p, wait(line, 20, 0.2)


p, got = follower()
t.ok(got and json.loads(got)["port"] == 8000, "flows are followed", str(got))
os.kill(p.pid, signal.SIGKILL)
p.wait()
t.ok(wait(lambda: not [x for x in left() if x.isdigit()], 10), "killed, it takes its ssh along", left())
killed = left()  # its folder stays: nobody is there to remove it
p, got = follower()
for pid in os.listdir("/proc"):  # the session's, not the one that listens
    if pid.isdigit() and int(pid) != sshd.pid and open("/proc/%s/comm" % pid).read() == "sshd\n":
        os.kill(int(pid), signal.SIGKILL)
try:
    code = p.wait(20)
except subprocess.TimeoutExpired:
    p.kill()
    code = None
t.ok(got and code in (1, 4), "a connection that breaks is said", code, p.stderr.read().decode())
t.ok(wait(lambda: left() == killed, 10), "otherwise no folder and no ssh is left", left(), killed)
t.done()
