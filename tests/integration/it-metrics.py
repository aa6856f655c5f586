#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The metrics on a port and in a file: what promtool says of them, that the dashboard and the alert rules
speak of nothing else, and what a client that is slow, many or nonsense can do."""
import json
import os
import re
import resource
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time

TOP = os.environ.get("top_srcdir", ".")
sys.path.insert(0, os.path.join(TOP, "tests/integration"))
from nslab import Lab, Tap, proc_status, run, wait
from roleslib import fds

PORT = 19477
t = Tap()
lab = Lab()
a = lab.ns("a")
out = os.path.join(lab.dir, "collector")
os.mkdir(out)
os.chmod(out, 0o777)
path = out + "/nanoseg.prom"
os.mkfifo(path + ".new")  # whoever may write there, too, could have made it: nobody waits for its reader
d = lab.daemon(config="metrics: {listen: '127.0.0.1:%d', textfile: %s}\n" % (PORT, path), expect=[a.name])


def ask(request, timeout=10):
    """All that is answered."""
    with lab.host.connect("127.0.0.1", PORT, timeout) as s:
        s.sendall(request)
        data = b""
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    return data.decode()
                data += more
        except OSError:
            return data.decode() + "<error>"


def get(what="/metrics", accept=""):
    head, _, body = ask(b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (
        what.encode(), ("Accept: %s\r\n" % accept).encode() if accept else b"")).partition("\r\n\r\n")
    return head, body


def names(text):
    return set(re.findall(r"^(nanoseg_\w+)", text, re.M))


head, plain = get()
t.ok(head.startswith("HTTP/1.1 200") and "version=0.0.4" in head, "the port answers in the plain format", head)
head, om = get(accept="application/openmetrics-text; version=1.0.0")
t.ok("application/openmetrics-text" in head and om.endswith("# EOF\n"), "and in OpenMetrics for who asks for it", head)
t.ok(names(plain) == names(om) == names(d.api.get("/metrics")) and len(names(om)) > 40, "the same as the API's socket",
     names(plain) ^ names(om))
if shutil.which("promtool"):
    p = subprocess.run(["promtool", "check", "metrics"], input=plain.encode(), capture_output=True, check=False)
    t.ok(p.returncode == 0 and not p.stderr, "promtool finds nothing", p.stdout.decode() + p.stderr.decode())
else:
    t.skip("promtool finds nothing", "no promtool")
for h in ("ruleset_apply_seconds", "start_lead_seconds", "start_late_seconds"):
    t.ok("# TYPE nanoseg_%s histogram" % h in om, "%s is a histogram" % h)
labels = {x for x in re.findall(r'(\w+)="', om)} - {"le", "version"}
t.ok(labels <= {"enforceable", "mode", "state", "verdict", "source", "observed", "bound", "result", "kind", "to"},
     "labels are ours, and no name is one", sorted(labels))

with open(os.path.join(TOP, "contrib/grafana/nanoseg.json"), encoding="utf-8") as f:
    board = json.load(f)
asked = [x["expr"] for p in board["panels"] for x in p["targets"]]
asked += [v["query"]["query"] for v in board["templating"]["list"] if isinstance(v["query"], dict)]
have = names(om)
unknown = [n for e in asked for n in re.findall(r"nanoseg_\w+", e) if n not in have]
t.ok(len(asked) > 20 and not unknown, "every metric of the dashboard is there", unknown)
with open(os.path.join(TOP, "contrib/prometheus/nanoseg.rules.yml"), encoding="utf-8") as f:
    exprs = re.findall(r"nanoseg_\w+", f.read())
t.ok(len(exprs) > 10 and not set(exprs) - have, "every metric of the alert rules is there", sorted(set(exprs) - have))

for what, want in (("/v1/status", "404"), ("/metricsx", "404"), ("/", "404")):
    t.ok(get(what)[0].startswith("HTTP/1.1 " + want), "%s is not on the port" % what, get(what))
t.ok(ask(b"POST /metrics HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 405"), "nothing can be posted")
t.ok(ask(b"\x00\xff\r\n\r\n").startswith("HTTP/1.1 405"), "nonsense is refused")
t.ok("200" not in ask(b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 8000 + b"\r\n\r\n")[:15], "a request without an end is")

# Clients that drip or only wait, more than there is room for.
slow = [lab.host.connect("127.0.0.1", PORT) for _ in range(100)]
began = time.monotonic()
t.ok(get()[0].startswith("HTTP/1.1 200"), "100 clients that wait keep nobody out")


def is_cut(s):
    """A byte more of its request; True once the daemon has had enough."""
    try:
        s.send(b"x")
        s.settimeout(0.01)
        return s.recv(1) == b""
    except socket.timeout:
        return False
    except OSError:
        return True


t.ok(wait(lambda: is_cut(slow[-1]), 20, step=0.2), "one that sends a byte now and then is cut off")
t.note("after %.1f s" % (time.monotonic() - began))
for s in slow:
    s.close()
pid = d.roles()["controller"]
few = wait(lambda: sum(x.startswith("socket:") for x in fds(pid).values()) < 30, 10)
t.ok(few, "and none of them stays open", fds(pid))

# Idle connections, and as many again while somebody asks.
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
idle, going = [], True


def flood(n):
    for _ in range(n):
        if not going:
            return
        try:
            idle.append(lab.host.connect("127.0.0.1", PORT, 20))
        except OSError:
            pass


flood(2000)
t.ok(len(idle) == 2000 and get()[0].startswith("HTTP/1.1 200"), "2,000 idle connections keep no scrape out", len(idle))
more = threading.Thread(target=flood, args=(2000,))
more.start()
began, answers = time.monotonic(), []
while len(answers) < 20:
    try:
        answers.append(get()[0][:12])
    except OSError as e:
        answers.append(str(e))
t.note("20 scrapes beside them took %.2f s, %d connections" % (time.monotonic() - began, len(idle)))
going = False
more.join()
t.ok(answers.count("HTTP/1.1 200") >= 15, "nor do those that keep coming", answers)
for s in idle:
    s.close()
t.ok(wait(lambda: sum(x.startswith("socket:") for x in fds(pid).values()) < 30, 20), "and none of them stays open", fds(pid))


def ticks():
    with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
        return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")


# No room for another file: connections wait, and nothing turns round and round for them.
def files_at_most(n):
    # By its own user: not every root may do it.
    uid, gid = (proc_status(pid)[k].split()[0] for k in ("Uid", "Gid"))
    run("setpriv", "--reuid=" + uid, "--regid=" + gid, "--clear-groups", "prlimit", "--pid", str(pid),
        "--nofile=%s:" % n)


with open("/proc/%d/limits" % pid, encoding="utf-8") as f:
    usual = re.search(r"Max open files +(\d+)", f.read()).group(1)
taken = {int(x) for x in fds(pid)}
files_at_most(min(set(range(len(taken) + 1)) - taken))
s = lab.host.connect("127.0.0.1", PORT, 30)
s.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
said = d.says("warn controller: metrics.listen: Too many open files: nobody is accepted", 10)
before, began = ticks(), time.monotonic()
time.sleep(1.5)
used = (ticks() - before) / (time.monotonic() - began)
files_at_most(usual)
t.ok(said and used < 0.15, "without room for a file it says so, and does not spin", used, d.text()[-500:])
t.note("%.2f of a processor" % used)
t.ok(s.recv(12) == b"HTTP/1.1 200", "who waited is answered when there is room again")
s.close()

st = wait(lambda: os.path.exists(path) and os.stat(path), 20)
t.ok(st and stat.S_IMODE(st.st_mode) == 0o644 and stat.S_ISREG(st.st_mode), "the file is there, for everybody to read", d.text()[-2000:])
with open(path, encoding="utf-8") as f:
    text = f.read()
t.ok(names(text) == names(plain) and "# EOF" not in text and os.listdir(out) == ["nanoseg.prom"],
     "with the same metrics, in the format that node_exporter reads, and nothing beside it", os.listdir(out))
d.stop()
t.ok(not os.path.exists(path), "it goes when the daemon ends: old figures are none")
d.configure("metrics: {listen: '127.0.0.1:%d', textfile: /proc/nanoseg.prom}\n" % PORT)
taken = lab.host.listen(PORT, "127.0.0.1")
d.start(expect=[a.name])
t.ok(d.says("error controller: metrics.listen: 127.0.0.1 port %d: Address already in use" % PORT),
     "a port that is taken is said, and the daemon runs", d.text())
t.ok(d.says("error controller: metrics.textfile: /proc/nanoseg.prom: .*; the user", 20), "so is a file that cannot be written",
     d.text())
taken.close()
t.done()
