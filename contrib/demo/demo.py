# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration: a real application in containers is observed, segmented by itself and attacked.

Touches nothing but what it makes: its own containers, network, namespace, daemon (own state, own
socket, --only), and, if no Docker Engine runs, an engine. All of it is undone on any exit.
Exit 0 only if every line of the closing table is as expected.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

from undo import Undo, ensure_docker, run, stop_process

HERE = os.path.dirname(os.path.abspath(__file__))
P = "nanoseg-demo"
NET4, NET6 = "172.31.77.0/24", "fd4e:5345:4744::/64"
# Documentation ranges (RFC 5737): the first that this machine has no route of its own for.
OUTSIDE_RANGES = ("203.0.113.", "198.51.100.", "192.0.2.")
OBSERVE_S = 12
TTY = sys.stdout.isatty()
PGBIN = "/usr/lib/postgresql"

POSTGRES = """set -e
bin=$(ls -d %s/*/bin | tail -1)
[ -d /data/db ] || $bin/initdb -D /data/db -A trust -U demo --locale=C --no-sync >/dev/null
echo "host all all all trust" >> /data/db/pg_hba.conf
exec $bin/postgres -D /data/db -c listen_addresses='*' -c unix_socket_directories=/data -c fsync=off
""" % PGBIN

SERVICES = {
    "db": dict(cmd=["/bin/sh", "-c", POSTGRES], user="postgres", args=["--tmpfs", "/data:uid=70,mode=700"]),
    "app": dict(cmd=["/usr/bin/python3", "/demo/app.py"]),
    "web": dict(cmd=["/usr/sbin/nginx", "-c", "/demo/nginx.conf", "-p", "/tmp"]),
    "intranet": dict(cmd=["/usr/bin/python3", "/demo/serve.py", "::", "8080"]),
    "client": dict(cmd=["/usr/bin/python3", "/demo/client.py", "http://web/items", "20"]),
    "monitor": dict(cmd=["/usr/bin/python3", "/demo/client.py", "http://app:9100/metrics", "2"]),
}
ORDER = ["db", "app", "web", "intranet", "client", "monitor"]
# Nobody talks to the neighbour, and what was never seen in a connection is not enforced by itself.
TALKING = [x for x in ORDER if x != "intranet"]


def say(text=""):
    print(text, flush=True)


def container(name):
    return "%s-%s" % (P, name)


def make_image(undo, folder):
    tree = os.path.join(folder, "image")
    for d in ("etc", "tmp", "run", "var", "proc", "dev", "sys", "usr", "root", "data", "demo"):
        os.makedirs(os.path.join(tree, d))
    for link in ("bin", "sbin", "lib", "lib64"):
        os.symlink("usr/" + link, os.path.join(tree, link))
    with open(os.path.join(tree, "etc/passwd"), "w") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70:postgres:/tmp:/bin/sh\n")
    with open(os.path.join(tree, "etc/group"), "w") as f:
        f.write("root:x:0:\npostgres:x:70:\n")
    tar = os.path.join(folder, "image.tar")
    with tarfile.open(tar, "w") as t:
        t.add(tree, ".")
    run("docker", "import", tar, P + ":base")
    undo.add(run, "docker", "rmi", "-f", P + ":base", check=False)


def make_network(undo):
    run("docker", "network", "create", "--ipv6", "--subnet", NET4, "--subnet", NET6, P)
    undo.add(run, "docker", "network", "rm", P, check=False)


def start_service(undo, name):
    s = SERVICES[name]
    undo.add(run, "docker", "rm", "-f", container(name), check=False)
    labels = {"project": P, "service": name, "config-hash": "demo", "oneoff": "False"}
    args = ["docker", "run", "-d", "--name", container(name), "--hostname", name, "--network", P,
            "--network-alias", name, "--dns", "127.0.0.1", "--tmpfs", "/tmp:mode=1777", "-v", "/usr:/usr:ro", "-v", HERE + ":/demo:ro",
            "-w", "/tmp", "--memory", "512m", "--stop-timeout", "1"]
    for k, v in labels.items():
        args += ["--label", "com.docker.compose.%s=%s" % (k, v)]
    if "user" in s:
        args += ["--user", s["user"]]
    run(*args, *s.get("args", []), P + ":base", *s["cmd"])


def restart_all():
    """All at once, so that nothing of the trial attacks is left in a connection table."""
    procs = [subprocess.Popen(["docker", "restart", "-t", "0", container(n)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL) for n in ORDER]
    if any([p.wait(60) for p in procs]):
        raise RuntimeError("the containers could not be started again")


def pick_outside():
    routes = run("ip", "-4", "route", "show", "table", "all")
    for r in OUTSIDE_RANGES:
        if r not in routes:
            return r + "10", r + "1"
    raise RuntimeError("this machine routes every documentation range: no address is left to play the outside")


def make_outside(undo, outside, gateway):
    """An address of the "internet" that answers: in a namespace of ours, behind the host."""
    ns, a, b = P + "-out", "nsdemo0", "nsdemo1"
    undo.add(run, "ip", "netns", "del", ns, check=False)
    run("ip", "netns", "add", ns)
    undo.add(run, "ip", "link", "del", a, check=False)
    run("ip", "link", "add", a, "type", "veth", "peer", "name", b, "netns", ns)
    run("ip", "addr", "add", gateway + "/24", "dev", a)
    run("ip", "link", "set", a, "up")
    run("ip", "-n", ns, "addr", "add", outside + "/24", "dev", b)
    run("ip", "-n", ns, "link", "set", b, "up")
    run("ip", "-n", ns, "link", "set", "lo", "up")
    proc = subprocess.Popen(["ip", "netns", "exec", ns, "/usr/bin/python3",
                             os.path.join(HERE, "serve.py"), outside, "443"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    undo.add(stop_process, proc)


def inspect(name):
    data = json.loads(run("docker", "inspect", container(name)))[0]
    return data["NetworkSettings"]["Networks"][P]


def load_counts(name="client", since="10s"):
    lines = run("docker", "logs", "--since", since, "--tail", "1", container(name)).splitlines()
    if not lines or not lines[-1].startswith("answered"):
        return 0, 0
    words = lines[-1].split()
    return int(words[1]), int(words[3])


def wait_for_app(seconds=40):
    end, since = time.monotonic() + seconds, "%.3f" % time.time()
    while time.monotonic() < end:
        if load_counts("client", since)[0] > 5 and load_counts("monitor", since)[0] > 0:
            return
        time.sleep(0.3)
    logs = run("docker", "logs", "--tail", "5", container("app"), check=False)
    raise RuntimeError("the demonstration application did not come up: " + logs)


def attacks(outside):
    """(what, the command inside the web container)"""
    db, intranet = inspect("db"), inspect("intranet")
    return [
        ("web -> db:5432, past the application", ["tcp", db["IPAddress"], "5432"]),
        ("web -> db:5432 over IPv6", ["tcp", db["GlobalIPv6Address"], "5432"]),
        ("web -> app:9100, the metrics port", ["tcp", inspect("app")["IPAddress"], "9100"]),
        ("web -> intranet:8080, a neighbour over IPv6", ["tcp", intranet["GlobalIPv6Address"], "8080"]),
        ("web -> %s:443, the outside" % outside, ["tcp", outside, "443"]),
        ("web -> db:5432, raw frame by AF_PACKET", ["raw", db["IPAddress"], "5432", db["MacAddress"]]),
    ]


def try_attacks(outside):
    return [(what, run("docker", "exec", container("web"), "/usr/bin/python3", "/demo/attack.py", *cmd,
                       check=False) or "failed to run")
            for what, cmd in attacks(outside)]


class Daemon:
    def __init__(self, undo, folder, build):
        self.cli = [os.path.join(build, "cli/nanoseg"), "--socket", os.path.join(folder, "run/nanosegd.sock")]
        config = os.path.join(folder, "nanosegd.yaml")
        with open(config, "w") as f:
            f.write("observationPeriod: %ds\npromote: enforce\n" % OBSERVE_S)
        self.log = open(os.path.join(folder, "nanosegd.log"), "w")
        base = [os.path.join(build, "daemon/nanosegd"), "--config", config,
                "--state-dir", os.path.join(folder, "state"),
                "--socket", os.path.join(folder, "run/nanosegd.sock"), "--only", P + "/*"]
        self.proc = subprocess.Popen(base + ["--foreground"], stdin=subprocess.DEVNULL,
                                     stdout=self.log, stderr=self.log, start_new_session=True)

        def stop():
            stop_process(self.proc)
            run(*base, "--cleanup", check=False)

        undo.add(stop)
        self.path = self.log.name

    def call(self, *args):
        r = subprocess.run(self.cli + list(args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=20)
        return r.stdout if r.returncode == 0 else None

    def json(self, *args):
        out = self.call(*args, "-o", "json")
        return json.loads(out) if out else None

    def wait_ready(self, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                break
            if self.json("status") is not None:
                return
            time.sleep(0.1)
        with open(self.path) as f:
            raise RuntimeError("nanosegd did not start:\n" + f.read()[-1500:])


def workloads(daemon):
    s = daemon.json("status") or {"workloads": []}
    return [w for w in s["workloads"] if w["name"].startswith(P + "/") and w["instances"]]


def observe(daemon):
    """The graph grows under a bar until every workload that talks is enforced."""
    start, limit = time.monotonic(), OBSERVE_S + 25
    shown = -1
    while time.monotonic() - start < limit:
        elapsed = time.monotonic() - start
        graph = daemon.json("graph") or {"edges": []}
        done = [w for w in workloads(daemon) if w["mode"] == "enforce" and
                w["appliedRevision"] == w["revision"]]
        part = min(1.0, elapsed / OBSERVE_S)
        bar = "#" * int(30 * part)
        line = "  [%-30s] %2d s  %2d edges seen, %d of %d workloads enforced" % (
            bar, int(elapsed), len(graph["edges"]), len(done), len(TALKING))
        if TTY:
            sys.stdout.write("\r" + line)
            sys.stdout.flush()
        elif int(elapsed) // 4 != shown:
            shown = int(elapsed) // 4
            say(line)
        if len(done) == len(TALKING):
            say("" if TTY else line)
            return
        time.sleep(0.4)
    say("")
    raise RuntimeError("not every workload was enforced in %d s; see the log below" % limit)


def table(rows):
    """rows: (what, expected, got, as expected); prints; true if all are."""
    w = max(len(r[0]) for r in rows)
    say("  %-*s  %-9s %s" % (w, "what", "expected", "got"))
    for what, expected, got, ok in rows:
        say("  %-*s  %-9s %s%s" % (w, what, expected, got, "" if ok else "   <-- NOT AS EXPECTED"))
    return all(r[3] for r in rows)


def idle_connection():
    code = ("import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/idle', timeout=5)"
            ".read().decode().strip())")
    return run("docker", "exec", container("app"), "/usr/bin/python3", "-c", code, check=False)


def results(outside, before, failed_before):
    rows = []
    for (what, open_before), (_, got) in zip(before, try_attacks(outside)):
        rows.append((what, "denied", ("open" if got == "open" else "denied (%s)" % got) +
                     ("" if open_before == "open" else ", but it did not work before either"),
                     got != "open" and open_before == "open"))
    time.sleep(1.2)
    answered, failed = load_counts()
    rows.insert(0, ("client -> web -> app -> db, IPv4 and IPv6", "answered",
                    "%d answered, %d failed" % (answered, failed - failed_before),
                    answered > 0 and failed == failed_before))
    scraped, lost = load_counts("monitor")
    rows.insert(1, ("monitor -> app:9100, the metrics port", "answered",
                    "%d answered, %d failed" % (scraped, lost), scraped > 0 and lost == 0))
    idle = idle_connection()
    rows.insert(2, ("app -> db, a pooled connection idle all along", "alive",
                    "alive" if "alive" in idle else "dead", "alive" in idle))
    return rows


def demo(undo, folder, build):
    began = time.monotonic()
    say("nanoseg demonstration: everything it makes is removed at the end.")
    engine = ensure_docker(undo, folder)
    say("Using %s. Starting nginx -> application -> PostgreSQL, a client, a monitor, a neighbour." % engine)
    make_image(undo, folder)
    make_network(undo)
    outside, gateway = pick_outside()
    make_outside(undo, outside, gateway)
    for name in ORDER:
        start_service(undo, name)
    wait_for_app()
    say("An intruder in the web container, before:")
    before = try_attacks(outside)
    table([(what, "open", got, got == "open") for what, got in before])
    restart_all()
    wait_for_app()
    say("Observing for %d s, then segmentation happens by itself:" % OBSERVE_S)
    daemon = Daemon(undo, folder, build)
    try:
        daemon.wait_ready()
        failed_before = load_counts()[1]
        observe(daemon)
        say("The graph that was learned:")
        say(daemon.call("graph") or "")
        say("The same, enforced in each container's own network namespace:")
        ok = table(results(outside, before, failed_before))
        say("What was refused, from `nanoseg denials`:")
        say(daemon.call("denials") or "")
    except Exception:
        with open(daemon.path) as f:
            say(f.read()[-3000:])
        raise
    say("%s (%.0f s)" % ("Everything is as expected." if ok else "Something is NOT as expected.",
                         time.monotonic() - began))
    if not ok:
        with open(daemon.path) as f:
            say(f.read()[-3000:])
    return 0 if ok else 1


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--build", required=True, help="the folder that nanoseg was built in")
    args.add_argument("--keep-log", help="copy the daemon's log here")
    opts = args.parse_args()
    if os.geteuid() != 0:
        sys.exit("the demonstration needs root: sudo contrib/quickstart --demo")
    undo = Undo()
    folder = tempfile.mkdtemp(prefix="nanoseg-demo-", dir="/var/tmp")
    os.chmod(folder, 0o755)
    undo.add(shutil.rmtree, folder, ignore_errors=True)

    def interrupted(signum, _):
        raise KeyboardInterrupt

    # SIGINT too: a shell starts its background children with it ignored.
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, interrupted)
    code = 1
    try:
        code = demo(undo, folder, os.path.abspath(opts.build))
    except KeyboardInterrupt:
        say("\nInterrupted.")
        code = 130
    except (RuntimeError, OSError, subprocess.SubprocessError) as e:
        say("The demonstration failed: %s" % e)
    finally:
        if opts.keep_log and os.path.exists(os.path.join(folder, "nanosegd.log")):
            shutil.copy(os.path.join(folder, "nanosegd.log"), opts.keep_log)
        undo.all()
    sys.exit(code)


if __name__ == "__main__":
    main()
