#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Alerts arrive: at journald, at syslog in each transport, at a webhook that is slow, dead, wrong or
hostile. None is lost without being counted, and the controller waits for nobody."""
import http.server
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Lab, Tap, proc_status, run, wait
from rfc5424 import parsed
from roleslib import recv, send

SUP_CHANNEL, SUP_STOP, H_ALERT, H_STATE = 1, 3, 160, 161
CONTROLLER = 4
SINKS = ("journald", "syslog", "webhook")
HOSTILE = "a\"]\\\n\x1b[31m\u202e\u00e9"

t = Tap()
folder = tempfile.mkdtemp(prefix="nanoseg-alerts-")
os.chmod(folder, 0o755)
heralds = []


def journal(data):
    """The native protocol of journald."""
    out, at = {}, 0
    while at < len(data):
        end = data.index(b"\n", at)
        line = data[at:end]
        if b"=" in line:
            key, value = line.split(b"=", 1)
            at = end + 1
        else:
            (n,) = struct.unpack_from("<Q", data, end + 1)
            key, value = line, data[end + 9:end + 9 + n]
            assert data[end + 9 + n:end + 10 + n] == b"\n"
            at = end + 10 + n
        out[key.decode()] = value.decode()
    return out


def alert(n, **more):
    return {"id": "a-%d" % n, "time": "2026-11-22T10:00:00.123Z", "kind": "drift", "severity": "error",
            "workload": "shop/web", "instance": "c0ffee", "text": "text %d" % n, "count": 1, "lost": 0, **more}


class Herald:
    """The program, with the supervisor and the controller played here."""

    def __init__(self, alerts):
        self.config = os.path.join(folder, "c%d.yaml" % len(heralds))
        with open(self.config, "w") as f:
            json.dump({"alerts": alerts}, f)
        self.log_path = self.config + ".log"
        self.n, self.state, self.epoch = 0, None, 7
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = theirs.fileno()
        with open(self.log_path, "wb") as log:
            self.p = subprocess.Popen(
                ["/bin/bash", "-c", 'exec 3<&%d; exec "$@"' % fd, "bash", BUILD + "/daemon/nanoseg-herald",
                 "--instance", "00000000", "--uid", "2000000106", "--gid", "2000000106", "--log", "debug",
                 "--config", self.config],
                pass_fds=[fd], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        theirs.close()
        heralds.append(self)
        self.connect()

    def connect(self):
        self.ch, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ch.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        send(self.control, SUP_CHANNEL, struct.pack("=II", CONTROLLER, 1), theirs.fileno())
        theirs.close()

    def tell(self, *alerts):
        self.ch.settimeout(30)
        for a in alerts:
            self.n += 1
            send(self.ch, H_ALERT, struct.pack("=QQ", self.epoch, self.n) + json.dumps(a).encode())

    def look(self):
        self.ch.settimeout(0.02)
        while True:
            kind, body, _ = recv(self.ch)
            if kind != H_STATE:
                return self.state
            epoch, done = struct.unpack_from("=QQ", body)
            (newest,) = struct.unpack_from("=Q", body, 16 + 128 * len(SINKS))
            self.state = {"epoch": epoch, "done": done, "newest": newest}
            for k, name in enumerate(SINKS):
                d, lost, failures, on, failing, error = struct.unpack_from("=QQQII96s", body, 16 + k * 128)
                self.state[name] = {"delivered": d, "lost": lost, "failures": failures, "on": on,
                                    "failing": failing, "error": error.split(b"\0")[0].decode()}
                fates = body[24 + 128 * len(SINKS) + 256 * k:][:256]
                self.state[name]["fates"] = "".join(
                    ".dl"[fates[n % 1024 // 4] >> n % 4 * 2 & 3] for n in range(max(1, newest - 1023), newest + 1))

    def until(self, what, seconds=20):
        return wait(lambda: (self.look() or True) and self.state and what(self.state), seconds)

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def end(self):
        if self.p.poll() is None:
            send(self.control, SUP_STOP)
            try:
                self.p.wait(5)
            except subprocess.TimeoutExpired:
                self.p.kill()
        return self.p.wait()


class Hook(http.server.ThreadingHTTPServer):
    """A receiver that behaves as it is told."""
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, tls=None, port=0, sock=None):
        super().__init__(("127.0.0.1", port), Handler, bind_and_activate=sock is None)
        if sock is not None:
            self.socket.close()
            self.socket = sock
            self.server_address = sock.getsockname()
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.port = self.server_address[1]
        self.got, self.headers, self.requests, self.script = [], [], 0, []
        self.bad = lambda alerts: False
        self.free = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, scheme="http"):
        return "%s://127.0.0.1:%d/hook" % (scheme, self.port)

    def handle_error(self, request, client_address):
        pass

    def ids(self):
        return [a["id"] for a in self.got]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        s = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        s.requests += 1
        how = s.script.pop(0) if s.script else "ok"
        if how == "ok" and s.bad(body["alerts"]):
            how = "400"
        if how in ("ok", "half", "flood"):
            s.got += body["alerts"]
            s.headers.append(dict(self.headers))
        if how == "hang":
            s.free.wait(30)
            self.close_connection = True
            return
        if how == "cut":
            self.close_connection = True
            return
        if how == "headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for n in range(100000):
                self.wfile.write(b"X-%d: %s\r\n" % (n, b"x" * 4000))
            return
        self.send_response(int(how) if how.isdigit() else 200)
        if how == "flood":
            self.end_headers()
            for _ in range(20000):
                self.wfile.write(b"y" * 65536)
            self.close_connection = True
        elif how == "half":
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x")
            s.free.wait(30)
            self.close_connection = True
        else:
            if how == "302":
                self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")


def hooked(hook, **more):
    return Herald({"webhook": {"url": hook.url(), "timeout": "1s", **more}})


def all_ways():
    path = os.path.join(folder, "journal")
    j = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    j.bind(path)
    os.chmod(path, 0o666)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("127.0.0.1", 0))
    for s in (j, u):
        s.settimeout(10)
    token = os.path.join(folder, "token")
    with open(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write("s3cret\n")
    hook = Hook()
    h = Herald({"journald": path, "syslog": {"address": "udp:127.0.0.1:%d" % u.getsockname()[1], "facility": "local3"},
                "webhook": {"url": hook.url(), "tokenFile": token}})
    a = alert(1, workload=HOSTILE, text="one\ntwo " + HOSTILE, count=3)
    h.tell(a)
    e = journal(j.recv(65536))
    t.ok(e["NANOSEG_WORKLOAD"] == HOSTILE and e["NANOSEG_TEXT"] == a["text"] and e["PRIORITY"] == "3" and
         e["NANOSEG_KIND"] == "drift" and e["NANOSEG_COUNT"] == "3" and e["SYSLOG_IDENTIFIER"] == "nanosegd",
         "journald gets the alert with its fields, hostile names as they are", e)
    t.ok("\n" not in e["MESSAGE"] and "\x1b" not in e["MESSAGE"] and "one\\x0atwo" in e["MESSAGE"],
         "and a message without control characters", e)
    line = u.recv(65536).decode()
    m = parsed(line)
    t.ok(m and m["pri"] == str(19 * 8 + 3) and m["app"] == "nanosegd" and m["id"] == "drift" and
         m["params"]["count"] == "3" and m["params"]["alert"] == "a-1" and "\\x0a" in m["params"]["workload"],
         "syslog by UDP gets a line of RFC 5424, its structured data escaped", line, m)
    t.ok(wait(lambda: hook.got, 10) == [a], "the webhook gets the alert as it is", hook.got)
    t.ok(hook.headers[0].get("Authorization") == "Bearer s3cret" and
         hook.headers[0]["Content-Type"] == "application/json", "with the token from its file", hook.headers)
    t.ok(h.until(lambda s: s["done"] == 1 and all(s[k]["delivered"] == 1 for k in SINKS)),
         "the controller is told that it is done", h.state)
    s = proc_status(h.p.pid)
    t.ok(s["Uid"].split() == ["2000000106"] * 4 and s["NoNewPrivs"].strip() == "1" and s["Seccomp"].strip() == "2" and
         not any(s["Cap" + k].strip("0") for k in ("Prm", "Eff", "Bnd", "Amb")),
         "the herald has a user of its own, no capability, and a filter", s)
    t.note("the herald: %s resident" % s["VmRSS"])
    # journald is started again; names in a URL are resolved under the filter.
    j.close()
    os.unlink(path)
    h.tell(alert(2))
    t.ok(h.until(lambda s: s["journald"]["failing"]), "journald away is noticed", h.state)
    j = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    j.bind(path)
    os.chmod(path, 0o666)
    j.settimeout(10)
    t.ok(journal(j.recv(65536))["NANOSEG_ALERT"] == "a-2", "and when it is back it gets what it missed")
    t.ok(h.end() == 0, "it ends when it is told to", h.log())
    h = Herald({"webhook": {"url": hook.url().replace("127.0.0.1", "localhost")}})
    h.tell(alert(3))
    t.ok(wait(lambda: "a-3" in hook.ids(), 15), "the webhook may have a name", h.log(), h.until(lambda s: True))
    h.end()


def stream():
    path = os.path.join(folder, "devlog")
    d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    d.bind(path)
    os.chmod(path, 0o666)
    d.settimeout(10)
    h = Herald({"syslog": {"address": "unix:" + path}})
    h.tell(alert(1))
    t.ok(parsed(d.recv(65536).decode()), "syslog by a socket gets a line of RFC 5424")
    h.end()
    srv = socket.create_server(("127.0.0.1", 0))
    srv.settimeout(10)
    h = Herald({"syslog": {"address": "tcp:127.0.0.1:%d" % srv.getsockname()[1]}})
    h.tell(alert(1), alert(2, text="x\ny"))

    def frames(c, n):
        out, f = [], c.makefile("rb")
        for _ in range(n):
            size = b""
            while not size.endswith(b" "):
                size += f.read(1)
            out.append(parsed(f.read(int(size)).decode()))
        return out

    c, _ = srv.accept()
    c.settimeout(10)
    got = frames(c, 2)
    t.ok([m and m["params"]["alert"] for m in got] == ["a-1", "a-2"], "syslog by TCP gets lines by their length", got)
    h.until(lambda s: s["done"] == 2)
    c.shutdown(socket.SHUT_RDWR)
    c.close()
    h.tell(alert(3))
    c, _ = srv.accept()
    c.settimeout(10)
    t.ok(frames(c, 1)[0]["params"]["alert"] == "a-3", "a new connection is made when the old one has ended")
    srv.close()
    c.close()
    h.end()


def rsyslog():
    """A receiver that others wrote."""
    name = "rsyslog takes the lines apart as they are meant"
    program = shutil.which("rsyslogd", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        t.skip(name, "no rsyslogd")
        return
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    out, conf = os.path.join(folder, "rsyslog.out"), os.path.join(folder, "rsyslog.conf")
    with open(conf, "w") as f:
        f.write('global(workDirectory="%s")\nmodule(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="%d")\n'
                'template(name="t" type="string" string="%%pri%%|%%app-name%%|%%msgid%%|%%structured-data%%|%%msg%%\\n")\n'
                '*.* action(type="omfile" file="%s" template="t")\n' % (folder, port, out))
    p = subprocess.Popen([program, "-n", "-i", os.path.join(folder, "rsyslog.pid"), "-f", conf],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    h = Herald({"syslog": {"address": "tcp:127.0.0.1:%d" % port, "facility": "local3"}})
    h.tell(alert(1, workload="a]\"b\n", text="one\ntwo"), alert(2))

    def lines():
        try:
            with open(out, encoding="utf-8") as f:
                return [x.split("|") for x in f.read().splitlines() if "nanosegd" in x]
        except OSError:
            return []

    got = wait(lambda: len(lines()) == 2 and lines(), 20)
    t.ok(got and got[0][:3] == ["155", "nanosegd", "drift"] and "one\\x0atwo" in got[0][4] and
         'workload="a\\]\\"b' in got[0][3] and "text 2" in got[1][4], name, lines(), h.log())
    h.end()
    p.terminate()
    p.wait(10)


def trouble():
    hook = Hook()
    hook.script = ["500", "cut", "302"]
    h = hooked(hook)
    h.tell(alert(1))
    t.ok(h.until(lambda s: s["webhook"]["failing"] and s["webhook"]["error"] == "the webhook answered 500"),
         "an answer 500 is a failure that is told", h.state)
    h.tell(alert(2), alert(3))
    t.ok(h.until(lambda s: s["done"] == 3) and hook.ids() == ["a-1", "a-2", "a-3"] and hook.requests == 4 and
         h.state["webhook"]["failures"] >= 2, "500, a cut connection and a redirect: tried again, in order, once each",
         hook.ids(), hook.requests, h.state)
    t.ok(not h.state["webhook"]["failing"] and "again" in h.log(), "and said when it is over", h.log())
    h.end()

    path = os.path.join(folder, "journal2")
    j = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    j.bind(path)
    os.chmod(path, 0o666)
    j.settimeout(10)
    hook = Hook()
    hook.script = ["hang"]
    h = Herald({"journald": path, "webhook": {"url": hook.url(), "timeout": "1s"}})
    h.tell(alert(1))
    wait(lambda: hook.requests == 1, 10)
    began = time.monotonic()
    h.tell(alert(2))
    ids = [journal(j.recv(65536))["NANOSEG_ALERT"] for _ in range(2)]
    t.note("%.3f s to journald while the webhook hangs" % (time.monotonic() - began))
    t.ok(ids == ["a-1", "a-2"] and not hook.got, "a webhook that hangs keeps no other waiting", ids)
    t.ok(h.until(lambda s: s["done"] == 2) and hook.ids() == ["a-1", "a-2"], "and is asked again after its timeout", h.state)
    hook.free.set()
    h.end()

    hook = Hook()
    hook.script = ["half", "flood", "headers"]
    h = hooked(hook)
    h.tell(alert(1))
    t.ok(h.until(lambda s: s["done"] == 1) and hook.ids() == ["a-1"], "an answer that stops half-way is one", h.state)
    h.tell(alert(2))
    t.ok(h.until(lambda s: s["done"] == 2) and hook.ids() == ["a-1", "a-2"], "so is one without an end", h.state)
    h.tell(alert(3))
    t.ok(h.until(lambda s: s["done"] == 3), "and headers without an end", h.state)
    after = int(proc_status(h.p.pid)["VmRSS"].split()[0])
    t.ok(after < 20000, "and none makes the herald grow", after)
    hook.free.set()
    h.end()

    hook = Hook()
    hook.bad = lambda alerts: any("poison" in a["text"] for a in alerts)
    hook.script = ["500"]
    h = hooked(hook)
    h.tell(alert(1))
    h.until(lambda s: s["webhook"]["failing"])
    h.tell(alert(2), alert(3, text="poison"), alert(4))
    t.ok(h.until(lambda s: s["done"] == 4) and hook.ids() == ["a-1", "a-2", "a-4"] and
         h.state["webhook"]["lost"] == 1 and h.state["webhook"]["fates"] == "ddld",
         "one that the receiver refuses is lost alone, and counted", hook.ids(), h.state)
    h.end()


def overflow():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    h = Herald({"webhook": {"url": "http://127.0.0.1:%d/" % port, "timeout": "1s"}})
    for n in range(1, 1501):
        h.tell(alert(n))
        if n % 100 == 0:
            h.look()
    t.ok(h.until(lambda s: s["webhook"]["lost"] == 1500 - 1024 and s["done"] == 1500 - 1024) and
         h.state["webhook"]["error"] and h.state["webhook"]["fates"] == "." * 1024, "a webhook that is dead: the newest wait, the others are counted as lost", h.state)
    s.listen(64)
    hook = Hook(sock=s)
    t.ok(h.until(lambda s: s["done"] == 1500, 30) and hook.ids() == ["a-%d" % n for n in range(477, 1501)] and
         h.state["webhook"]["delivered"] == 1024 and h.state["webhook"]["fates"] == "d" * 1024, "when it is back it gets those that waited", h.state, len(hook.got))
    t.ok(hook.requests <= 1024 // 50 + 2, "many in a request", hook.requests)
    # The controller is another one: it counts from the beginning, and repeats what was not reported.
    h.ch.close()
    h.connect()
    h.epoch, h.n = 8, 0
    h.tell(alert(2001), alert(2002))
    h.n = 0
    h.tell(alert(2001), alert(2002), alert(2003))
    t.ok(h.until(lambda s: s["epoch"] == 8 and s["done"] == 3) and hook.ids()[-3:] == ["a-2001", "a-2002", "a-2003"],
         "after a controller's death none is sent twice", hook.ids()[-5:], h.state)
    h.end()


def secrets():
    token = os.path.join(folder, "open-token")
    for text, mode, why in (("s\n", 0o644, "readable by nobody else"), ("a b\n", 0o600, "one word"),
                            ("", 0o600, "one word"), (None, 0, "No such file")):
        if text is not None:
            with open(token, "w") as f:
                f.write(text)
            os.chmod(token, mode)
        elif os.path.exists(token):
            os.unlink(token)
        h = Herald({"webhook": {"url": "http://127.0.0.1:1/", "tokenFile": token}})
        t.ok(h.p.wait(10) == 1 and why in h.log() and "tokenFile" in h.log(), "a token: %s" % why, h.log())
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=hook", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key,
                    "-out", cert], check=True, stderr=subprocess.DEVNULL)
    os.chmod(cert, 0o600)
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(cert, key)
    hook = Hook(tls=ctx)
    h = Herald({"webhook": {"url": hook.url("https"), "caFile": cert}})
    h.tell(alert(1))
    t.ok(h.until(lambda s: s["done"] == 1) and hook.ids() == ["a-1"], "https, with a CA that only root may read", h.state)
    h.end()
    h = Herald({"webhook": {"url": hook.url("https")}})
    h.tell(alert(2))
    t.ok(h.until(lambda s: s["webhook"]["failing"]) and "certificate" in h.state["webhook"]["error"] and
         hook.ids() == ["a-1"], "nothing is sent to whom no CA vouches for", h.state)
    h.end()


def whole():
    lab = Lab()
    a = lab.ns("a")
    hook = Hook(sock=lab.host.listen(0, "127.0.0.1"))
    hook.script = ["hang"]
    d = lab.daemon(config="selfTest: 0s\n", expect=[a.name])
    t.ok("herald" not in d.roles(), "without a way out for alerts no herald runs")
    d.stop()
    d.configure("alerts: {repeatAfter: 1s, webhook: {url: '%s', timeout: 2s}}\n" % hook.url())
    d.start(expect=[a.name])
    t.ok(wait(lambda: "herald" in d.roles(), 10), "with one it does", d.text())
    d.api.post("/v1/quarantine", {"target": a.name, "reason": "test"})
    wait(lambda: hook.requests, 10)
    began = time.monotonic()
    d.api.get("/v1/status")
    t.note("status took %.3f s while the webhook hangs" % (time.monotonic() - began))
    t.ok(time.monotonic() - began < 1.5, "the controller waits for no webhook")
    os.kill(d.roles()["herald"], signal.SIGKILL)
    hook.free.set()
    got = wait(lambda: [x for x in hook.got if x["kind"] == "quarantine"], 20)
    t.ok(got and got[0]["workload"] == a.name and got[0]["count"] == 1, "the herald dies: the next one delivers", got, d.text())
    told = d.api.get("/v1/alerts")
    t.ok(told["alerts"][-1]["id"] == got[-1]["id"] if got else False, "the API lists what was told", told)
    t.ok(wait(lambda: [w for w in d.api.get("/v1/alerts")["delivery"] if w["to"] == "webhook" and w["delivered"] >= 1], 10),
         "and where it went", d.api.get("/v1/alerts"))
    m = d.api.get("/metrics")
    t.ok('nanoseg_alerts_raised_total{kind="quarantine"} 1' in m and
         re.search(r'^nanoseg_alerts_delivered_total\{to="webhook"\} [1-9]', m, re.M), "so do the metrics", m[-3000:])
    # What the command shows: a second alert about the same, and a way out that is dead.
    told = wait(lambda: [x for x in shown(d, "--kind", "quarantine") if x["delivery"] == {"webhook": "delivered"}], 10)
    t.ok(told and told[-1]["count"] == 1 and told[-1]["firstSeen"] == told[-1]["lastSeen"], "each alert says where it is",
         shown(d))
    hook.script = ["500"] * 50
    d.api.post("/v1/release", {"target": a.name, "reason": "test"})
    d.api.post("/v1/quarantine", {"target": a.name, "reason": "test"})
    t.ok(wait(lambda: shown(d, "--kind", "quarantine")[-1]["delivery"] == {"webhook": "waiting"}, 20),
         "one that is refused waits", shown(d))
    t.ok(wait(lambda: [w for w in d.api.get("/v1/alerts")["delivery"] if w["failing"] and "500" in w["error"]], 10),
         "and it is said why", d.api.get("/v1/alerts")["delivery"])

    def table():
        rows = shows(d, "--workload", a.name).stdout.decode().splitlines()
        return rows if re.search(r" warning +quarantine +\S+ +[23] .* webhook waiting +\S", rows[1]) and \
            sum(" quarantine " in x for x in rows) == 1 and \
            re.match(r"webhook +\d+ +0  failing: the webhook answered 500", rows[-1]) else None

    t.ok(wait(table, 20, 0.2), "the table has a line for the subject", shows(d).stdout.decode())
    t.ok(shown(d, "--kind", "drift") == shown(d, "--severity", "critical") == shown(d, "--workload", "x") == [] and
         shown(d, "--since", "1h"), "it can be asked for by kind, severity, workload and time")
    for bad in (["--kind", "x"], ["--severity", "bad"], ["--since", "x"], ["x"]):
        t.ok(shows(d, *bad).returncode == 2, "usage: %s" % " ".join(bad), shows(d, *bad).stderr)
    hook.script = []
    t.ok(wait(lambda: {x["delivery"]["webhook"] for x in shown(d)} == {"delivered"}, 60), "until it is taken", shown(d))
    lab.close()


def shows(d, *args):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, "alerts", *args, check=False)


def shown(d, *args):
    return json.loads(shows(d, "-o", "json", *args).stdout)["alerts"]


try:
    all_ways()
    stream()
    rsyslog()
    trouble()
    overflow()
    secrets()
    whole()
finally:
    for h in heralds:
        if h.p.poll() is None:
            h.p.kill()
            h.p.wait()
    shutil.rmtree(folder, ignore_errors=True)
t.done()
