#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes the command line pleasant: help, a pager, bare rows, redrawing, a host behind ssh, and
completion in bash, zsh and fish with the names that there are. Against a daemon that only pretends."""
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading

spec = importlib.util.spec_from_file_location(
    "cli", os.path.join(os.environ.get("top_srcdir", "."), "tests/integration/it-cli.py"))
cli = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cli)
check, expect, run = cli.check, cli.expect, cli.run

# As ssh would: takes its own arguments, forwards the socket, notes what it was called with.
SSH = """#!/usr/bin/env python3
import json, os, socket, sys, threading
with open(os.environ["SSH_LOG"], "a") as f:
    f.write(json.dumps(sys.argv[1:]) + "\\n")
if os.environ.get("SSH_FAIL"):
    sys.stderr.write("ssh: no route\\n")
    sys.exit(255)
local, remote = sys.argv[sys.argv.index("-L") + 1].split(":")
s = socket.socket(socket.AF_UNIX)
s.bind(local)
s.listen(8)
def copy(a, b):
    while True:
        data = a.recv(65536)
        if not data:
            break
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
while True:
    a, _ = s.accept()
    b = socket.socket(socket.AF_UNIX)
    b.connect(remote)
    for x, y in ((a, b), (b, a)):
        threading.Thread(target=copy, args=(x, y), daemon=True).start()
"""


SOCKETS = []  # that ssh was asked to make


def remote(url, *args, **env):
    bin_dir, log = cli.DIR + "/bin", cli.DIR + "/ssh.log"
    os.makedirs(bin_dir, exist_ok=True)
    with open(bin_dir + "/ssh", "w") as f:
        f.write(SSH)
    os.chmod(bin_dir + "/ssh", 0o755)
    open(log, "w").close()
    p = subprocess.run([cli.NANOSEG, "-H", url, *args], capture_output=True, timeout=60, env=dict(
        {"PATH": bin_dir + ":" + os.environ["PATH"], "HOME": cli.DIR, "SSH_LOG": log}, **env))
    with open(log) as f:
        calls = [json.loads(x) for x in f]
    SOCKETS.extend(a[a.index("-L") + 1].split(":")[0] for a in calls)
    return cli.Result(p.returncode, p.stdout, p.stderr), calls


def test_remote():
    want = run("edges", "-o", "json").out
    r, calls = remote("ssh://me@box.example:2222" + cli.daemon.path, "edges", "-o", "json")
    check("-H: the same answer through ssh", None if r.code == 0 and r.out == want else str(r))
    a = calls[0] if calls else []
    check("-H: fixed arguments, the host last and behind --", None if len(calls) == 1 and
          a[-2:] == ["--", "box.example"] and a[a.index("-l") + 1] == "me" and a[a.index("-p") + 1] == "2222" and
          a[a.index("-L") + 1].endswith(":" + cli.daemon.path) else calls)
    r, calls = remote("ssh://box" + cli.daemon.path, "review", "--all")
    check("-H: several requests are one connection", None if r.code == 0 and len(calls) == 1 else (str(r), calls))
    expect("-H: ssh that fails is 4, with its own words", remote("ssh://box", "edges", SSH_FAIL="1")[0], 4,
           err=["ssh: no route", "not reachable"])
    for url in ("ssh://-oProxyCommand=touch x", "ssh://a b", "ssh://h:99999", "ssh://h/../$x", "box"):
        r, calls = remote(url, "edges")
        check("-H %s: refused, ssh is not called" % url, None if r.code == 2 and not calls else (str(r), calls))
    left = [x for x in SOCKETS if os.path.exists(os.path.dirname(x))]
    check("-H: nothing is left in /tmp", None if not left and len(SOCKETS) >= 3 and
          all(x.startswith("/tmp/nanoseg-") for x in SOCKETS) else (left, SOCKETS))


def test_help():
    for name in ("edges", "policy"):
        check("help %s: as --help" % name, None if run("help", name).out == run(name, "--help").out else "differs")
    check("help: as --help", None if run("help").out == run("--help").out else "differs")


def test_rows():
    r, bare = run("edges"), run("edges", "--no-headers")
    rows = [x.split() for x in r.out.splitlines() if x.startswith("e-")]
    check("--no-headers: the same rows, nothing else",
          None if [x.split() for x in bare.out.splitlines()] == rows and rows else (r.out, bare.out))
    names = {x.split()[0] for x in run("status", "--no-headers").out.splitlines()}
    check("status --no-headers: a line a workload", None if len(names) >= 3 and "WORKLOAD" not in names else names)
    for form in ("json", "yaml"):
        check("--no-headers: -o %s is as ever" % form, None if run("edges", "--no-headers", "-o", form).out ==
              run("edges", "-o", form).out else "differs")


def test_terminal():
    env = {"TERM": "xterm", "COLUMNS": "80", "HOME": cli.DIR}
    pager = cli.DIR + "/pager"
    with open(pager, "w") as f:
        f.write("#!/bin/sh\necho \"paged by $*\"\nexec cat\n")
    os.chmod(pager, 0o755)
    data = cli.on_terminal(["edges"], dict(env, PAGER=pager + " -x  y; id"), 5,
                           lambda d: b"e-0000" in d)
    check("$PAGER: gets what is printed, and its words are no shell's",
          None if b"paged by -x y; id" in data and b"e-0000" in data and b"uid=" not in data else data)
    for value in ("", "cat", "/nonexistent/pager"):
        data = cli.on_terminal(["edges"], dict(env, PAGER=value), 4, lambda d: b"e-0000" in d)
        said = b"printed without it" in data
        check("$PAGER %r: no pager" % value, None if b"e-0000" in data and said == (value[:1] == "/") else data)
    r = run("edges", env={"PAGER": pager})
    check("$PAGER: none without a terminal", None if "paged" not in r.out else r.out)
    wondered = threading.Event()

    def late(h):
        wondered.wait(20)
        text = json.dumps(cli.EDGES).encode()
        cli.raw(cli.OK, b"Content-Length: %d\r\n\r\n" % len(text), text)(h)

    def shown(d):
        if b"waiting for the daemon, seconds: 2 of 60" in d:
            wondered.set()
        return wondered.is_set() and b"e-0000" in d
    cli.daemon.replies["/v1/edges"] = late
    data = cli.on_terminal(["edges"], env, 25, shown)
    check("who waits long is told so, and it is taken away", None if wondered.is_set() and
          b"\r\x1b[K" in data[:data.find(b"e-0000")] else data)
    wondered.clear()
    threading.Timer(2.5, wondered.set).start()
    r = run("edges")
    check("but not without a terminal", None if r.code == 0 and r.err == "" else str(r))
    cli.daemon.reset()
    for cmd in ("edges", "denials", "flows"):
        data = cli.on_terminal([cmd, "--watch"], env, 8, lambda d: d.count(b"\x1b[H") >= 3, rows=8)
        check("%s --watch: redraws" % cmd, None if data.count(b"\x1b[H") >= 3 else data)


def shell(name):
    path = shutil.which(name)
    if path is None:
        cli.tests += 1
        print("ok %d - completion %s # SKIP there is no %s" % (cli.tests, name, name))
    return path


def in_shell(argv, script):
    p = subprocess.run(argv, input=script.encode(), capture_output=True, timeout=60, check=False, env={
        "PATH": os.path.dirname(cli.NANOSEG) + ":/usr/bin:/bin", "HOME": cli.DIR, "TERM": "dumb",
        "XDG_CONFIG_HOME": cli.DIR, "XDG_DATA_HOME": cli.DIR})
    return p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace")


def test_completion():
    ask = "--socket " + cli.daemon.path
    cases = [("sta", "status"), ("edges --state d", "denied"), ("policy v", "validate"), ("export gr", "graph"), ("completion f", "fish"),
             (ask + " mode lo", "loud"), (ask + " approve e-00", "e-0000000000000001"),
             (ask + " edges --workload we", "web")]
    if shell("fish"):
        script = run("completion", "fish").out
        for line, want in cases + [("review --rec", "--recertify")]:
            out, err = in_shell(["fish", "--no-config"], script + "\ncomplete -C 'nanoseg %s'\n" % line)
            found = [x.split("\t")[0] for x in out.splitlines()]
            check("completion fish: '%s'" % line[-24:], None if want in found and not err else (found[:9], err))
    if shell("zsh"):
        script = run("completion", "zsh").out
        check("completion zsh: zsh takes it", in_shell(["zsh", "-f", "-n"], script)[1])
        # What its completion widget would be given, word by word.
        head = "autoload -U compinit && compinit -u -D\n" + script.replace("#compdef nanoseg\n", "") + """
compadd() { :; }
_ask() { local -a COMP_WORDS COMPREPLY; emulate -L sh; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nanoseg
  printf '%s\\n' "${COMPREPLY[@]}"; }
compgen() { local words= prefix=; while [ $# -gt 0 ]; do case $1 in -W) words=$2; shift;; --) prefix=$2; shift;; esac
  shift; done; local w; for w in $(echo $words); do case $w in $prefix*) echo "$w";; esac; done; }
"""
        for line, want in cases:
            out, err = in_shell(["zsh", "-f"], head + "_ask nanoseg %s\n" % line)
            check("completion zsh: '%s'" % line[-24:], None if want in out.split() else (out[-300:], err[-300:]))
    script = run("completion", "bash").out
    for line, want in cases:
        words = line.split()
        out, err = in_shell(["bash", "--norc"], script + "COMP_WORDS=(nanoseg %s) COMP_CWORD=%d; _nanoseg; "
                            "echo ${COMPREPLY[*]}" % (line, len(words)))
        check("completion bash: '%s'" % line[-24:], None if want in out.split() else (out, err))


def main():
    cli.daemon = cli.Daemon(cli.DIR)
    try:
        for test in (test_help, test_rows, test_terminal, test_remote, test_completion):
            test()
    finally:
        cli.daemon.server.shutdown()
        shutil.rmtree(cli.DIR, ignore_errors=True)
    print("1..%d" % cli.tests)
    return 1 if cli.failed else 0


if __name__ == "__main__":
    sys.exit(main())
