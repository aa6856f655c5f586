#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The roles as processes: privileges read from /proc, deaths of each, the keeper's promise.

nanosegd runs from a folder of its own beside stand-in role programs, so that what is asserted is the
supervisor's and the keeper's doing.
"""
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

from roleslib import (BUILD, ROLES, Daemon, alive, as_warden, check, copy_programs, fds, finish, plan,
                      proc_status, skip, wait_for)


NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN, DAC_READ_SEARCH = 12, 13, 19, 21, 2
SETGID, SETUID, SETPCAP, KILL = 6, 7, 8, 5


def bits(*caps):
    return sum(1 << c for c in caps)


WARDEN = bits(NET_ADMIN, SYS_ADMIN, NET_RAW, SYS_PTRACE, DAC_READ_SEARCH)
CAPS = {"warden": WARDEN, "relay": bits(DAC_READ_SEARCH)}
PEERS = {
    "warden": {"controller", "capture", "keeper"},
    "controller": {"warden", "capture", "discovery"},
    "capture": {"warden", "controller"},
    "relay": {"discovery"},
    "discovery": {"relay", "controller"},
}

def caps_of(s):
    return {k: int(s["Cap" + k], 16) for k in ("Inh", "Prm", "Eff", "Bnd", "Amb")}


def privileges(name, pid, uid):
    s = proc_status(pid)
    wrong = []
    want = CAPS.get(name, 0)
    if caps_of(s) != {"Inh": 0, "Prm": want, "Eff": want, "Bnd": 0, "Amb": 0}:
        wrong.append("capabilities %s, expected %x" % (caps_of(s), want))
    for key in ("Uid", "Gid"):
        if s[key].split() != [str(uid)] * 4:
            wrong.append("%s %s, expected %d" % (key, s[key], uid))
    if s["Groups"].strip():
        wrong.append("groups " + s["Groups"])
    if s["NoNewPrivs"].strip() != "1":
        wrong.append("NoNewPrivs " + s["NoNewPrivs"])
    if s["Seccomp"].strip() != "2" and not sanitized():
        wrong.append("Seccomp " + s["Seccomp"])
    if s["Umask"].strip() != "0077":
        wrong.append("Umask " + s["Umask"])
    # Of a process that may be traced, its owner has the files in /proc.
    if os.stat("/proc/%d/environ" % pid).st_uid != 0:
        wrong.append("dumpable")
    return "\n".join(wrong)


def sanitized():
    with open(BUILD + "/config.h") as f:
        return "#define WITH_SANITIZERS 1" in f.read()


def open_files(pid, first, sockets, others):
    """first: the links of the lowest fds; then so many sockets, and others by pattern only."""
    have = fds(pid)
    wrong = []
    for fd, pattern in enumerate(first):
        if not re.fullmatch(pattern, have.pop(fd, "closed")):
            wrong.append("fd %d is %s, expected %s" % (fd, fds(pid).get(fd), pattern))
    n = 0
    for fd, link in sorted(have.items()):
        if link.startswith("socket:"):
            n += 1
        elif not re.fullmatch(others, link):
            wrong.append("fd %d is %s" % (fd, link))
    if n != sockets:
        wrong.append("%d more sockets, expected %d: %s" % (n, sockets, have))
    return "\n".join(wrong)


LOOP = r"anon_inode:\[(eventpoll|eventfd|timerfd)\]|pipe:.*"


def test_privileges(d, uids):
    pids = d.pids()
    for name in ROLES:
        check("privileges of the " + name, privileges(name, pids[name], uids[name]))
    check("privileges of the keeper", privileges("keeper", d.keeper(), uids["keeper"]))
    s = proc_status(d.p.pid)
    own = bits(KILL, SETPCAP)
    bound = WARDEN | bits(DAC_READ_SEARCH, SETUID, SETGID, SETPCAP)
    want = {"Inh": 0, "Prm": own, "Eff": own, "Bnd": bound, "Amb": 0}
    check("privileges of the supervisor", "" if caps_of(s) == want else caps_of(s))
    for name in ROLES:
        check("open files of the " + name,
              open_files(pids[name], ["/dev/null", "/dev/null", re.escape(d.log_path), "socket:.*"],
                         len(PEERS[name]), LOOP))
    check("open files of the keeper",
          open_files(d.keeper(), ["/dev/null", "/dev/null", ".*/keeper.log", "socket:.*",
                                  ".*/keeper.lock"], 1, r"/memfd:kept.*"))


def test_places(d, uids):
    st = os.stat(d.state)
    check("the state folder is the controller's alone",
          "" if (stat.S_IMODE(st.st_mode), st.st_uid) == (0o700, uids["controller"]) else st)
    check("the instance has 8 digits",
          "" if re.fullmatch("[0-9a-f]{8}", d.instance()) else d.instance())
    mode = stat.S_IMODE(os.stat(d.sock).st_mode)
    check("the socket of the API has mode 0660", "" if mode == 0o660 else oct(mode))
    mode = stat.S_IMODE(os.stat(d.keeper_socket()).st_mode)
    check("the socket of the keeper has mode 0600", "" if mode == 0o600 else oct(mode))
    mode = stat.S_IMODE(os.stat(os.path.dirname(d.sock)).st_mode)
    check("the runtime folder has mode 0755", "" if mode == 0o755 else oct(mode))
    with open(d.sock.replace(".sock", ".pid")) as f:
        pid = f.read().strip()
    check("the pid file has the supervisor's pid", "" if pid == str(d.p.pid) else pid)
    k = d.keeper()
    with open("/proc/%d/stat" % k) as f:
        ppid, pgrp, sid = f.read().rsplit(")", 1)[1].split()[1:4]
    check("the keeper is outside the supervisor's session, group and children",
          "" if os.getsid(d.p.pid) != int(sid) and os.getpgid(d.p.pid) != int(pgrp) and
          int(ppid) != d.p.pid else (ppid, pgrp, sid))


def test_death_of_each(d):
    for name in ROLES:
        before, keeper, since = d.pids(), d.keeper(), d.mark()
        os.kill(before[name], signal.SIGKILL)
        began = time.monotonic()
        again = wait_for(lambda: d.pids().get(name, before[name]) != before[name], 2)
        lasted = time.monotonic() - began
        after = d.pids()
        same = {k: v for k, v in before.items() if k != name} == \
               {k: v for k, v in after.items() if k != name}
        check("a killed %s is back within 2 s, nobody else restarts" % name,
              "" if again and same and d.keeper() == keeper else (lasted, before, after))
        lost = [p for p in PEERS[name]
                if not d.says(r"^info %s: peer %s$" % (name, p), since) or
                (p != "keeper" and not d.says(r"^info %s: peer gone %s\n(.*\n)*info %s: peer %s$" %
                                              (p, name, p, name), since))]
        check("its channels are made anew at both ends", lost)
        if name == "warden":
            check("the keeper still holds what the dead warden gave it",
                  "" if d.says(r"^info warden: keeper holds 1$", since) else d.text(since))
        if name == "controller":
            check("a new controller gets the listening socket",
                  "" if d.says(r"^info controller: listening socket$", since) else d.text(since))
    check("each death is in the log with its signal",
          "" if all(re.search(r"^warn supervisor: %s killed by signal 9 \(Killed\); starting it again" % r,
                              d.text(), re.M) for r in ROLES) else d.text())


def test_back_off(d):
    since = d.mark()
    for _ in range(3):
        old = d.pids()["relay"]
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: d.pids().get("relay", old) != old, 3)
    pauses = re.findall(r"relay killed .* again in (\d+) ms", d.text(since))
    check("the pause before a restart doubles", "" if pauses == ["200", "400", "800"] else pauses)


def test_broken_channel(d):
    since = d.mark()
    as_warden(d).close()
    check("a warden whose channel to the keeper broke gets a new one",
          "" if d.says(r"^info warden: peer gone keeper\n(.*\n)*info warden: keeper holds 1$", since)
          else d.text(since))


def refuse(name, bindir, pattern, *args):
    p = subprocess.run([bindir + "/nanosegd", "--foreground", *args], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    text = p.stdout.decode()
    check(name, "" if p.returncode in (1, 2) and re.search(pattern, text) else
          "status %d\n%s" % (p.returncode, text))


def test_refusals(d, bindir, top):
    refuse("a second daemon with the same state folder is refused", bindir,
           "another nanosegd runs with the state folder", "--state-dir", d.state, "--socket",
           top + "/run2/n.sock")
    refuse("a second daemon at the same socket is refused", bindir, "somebody answers there",
           "--state-dir", top + "/state2", "--socket", d.sock)
    refuse("a cleanup beside a running daemon is refused", bindir, "stop it first",
           "--cleanup", "--state-dir", d.state, "--socket", d.sock)
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(2)
    try:
        s.connect(d.sock)
        why = ""
    except OSError as e:
        why = e
    check("none of them took the socket away", why)
    for text in ("", "xyz\n", "ABCDEF01\n", "0123456789\n", "abcdef01", "abcdef0/\n"):
        state = tempfile.mkdtemp(dir=top)
        with open(state + "/instance", "w") as f:
            f.write(text)
        refuse("an instance file with %r is refused" % text, bindir,
               "expected 8 hexadecimal digits", "--state-dir", state, "--socket",
               top + "/run3/n.sock")
    state = tempfile.mkdtemp(dir=top)
    with open(state + "/instance", "w") as f:
        f.write("abcdef01\n")
    os.chown(state + "/instance", 65534, 65534)
    refuse("an instance file that is not root's is refused", bindir, "belongs to root",
           "--state-dir", state, "--socket", top + "/run3/n.sock")
    os.unlink(state + "/instance")
    os.symlink("/etc/passwd", state + "/instance")
    refuse("a symbolic link in its place is not followed", bindir, "cannot read",
           "--state-dir", state, "--socket", top + "/run3/n.sock")
    with open(top + "/file", "w") as f:
        f.write("x")
    refuse("what is no socket is not replaced", bindir, "is no socket", "--state-dir",
           top + "/state4", "--socket", top + "/file")
    refuse("--all without --cleanup is a usage error", bindir, "--all goes with", "--all")
    refuse("an unknown option is a usage error", bindir, "--help", "--nonsense")
    p = subprocess.run([bindir + "/nanosegd", "--foreground"], stderr=subprocess.PIPE, user=65534)
    check("another user than root is told so",
          "" if p.returncode == 1 and b"started by root" in p.stderr else p)
    part = tempfile.mkdtemp(dir=top)
    for name in ("nanosegd", "nanoseg-warden"):
        shutil.copy(bindir + "/" + name, part)
    refuse("a missing role program is named", part, "nanoseg-keeper: No such file",
           "--state-dir", top + "/state5", "--socket", top + "/run5/n.sock")


def test_supervisor_death(d, bindir):
    pids, keeper = d.pids(), d.keeper()
    d.p.kill()
    d.p.wait()
    # At once: a controller that is still there must not make the start fail.
    n = Daemon(bindir, d.state, d.sock)
    gone = wait_for(lambda: not any(alive(p) for p in pids.values()), 2)
    check("without the supervisor the roles end", "" if gone else pids)
    check("the keeper stays", "" if d.keeper() == keeper else d.keeper())
    check("a new supervisor starts all roles in the same place",
          "" if n.says("all roles run") else n.text())
    check("it takes the living keeper over, with what it holds",
          "" if n.says("keeper holds 1$") and n.keeper() == keeper else n.text())
    return n


def test_keeper_death(d):
    pids, keeper, since = d.pids(), d.keeper(), d.mark()
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: d.keeper() not in (0, keeper), 2)
    check("a killed keeper is replaced within 2 s and the warden reaches it",
          "" if d.keeper() not in (0, keeper) and d.says("keeper holds 0$", since) and
          d.pids() == pids else d.text(since))


def test_stop_and_cleanup(d, bindir):
    pids, keeper = d.pids(), d.keeper()
    d.p.terminate()
    check("SIGTERM ends the daemon with status 0", "" if d.p.wait(5) == 0 else d.p.returncode)
    ends = re.findall(r"^debug supervisor: (\w+) ended with status 0$", d.text(), re.M)
    check("every role ended in order", "" if sorted(ends) == sorted(ROLES) else d.text())
    check("no role is left", [p for p in pids.values() if alive(p)])
    check("a normal stop leaves the keeper", "" if d.keeper() == keeper else d.keeper())
    check("socket and pid file are gone",
          [f for f in os.listdir(os.path.dirname(d.sock)) if not f.startswith("keeper-")])
    instance = d.instance()
    p = subprocess.run([bindir + "/nanosegd", "--cleanup", "--state-dir", d.state, "--socket", d.sock],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    check("a cleanup ends the keeper and runs the warden for this instance",
          "" if p.returncode == 0 and not alive(keeper) and
          ("cleanup of %s\n" % instance).encode() in p.stdout else p)
    check("nothing is left in the runtime folder", os.listdir(os.path.dirname(d.sock)))


def test_background(bindir, top):
    args = [bindir + "/nanosegd", "--state-dir", top + "/state6", "--socket", top + "/run6/n.sock"]
    p = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=20)
    # The pipe's end was seen: nothing that runs on holds the caller's output open.
    check("the daemon goes to the background when all roles run", "" if p.returncode == 0 else p)
    with open(top + "/run6/n.pid") as f:
        pid = int(f.read())
    st = proc_status(pid)
    with open(top + "/state6/nanosegd.log") as f:
        check("its lines go to the state folder", "" if "all roles run" in f.read() else st)
    os.kill(pid, signal.SIGTERM)
    check("its pid file leads to it", "" if wait_for(lambda: not alive(pid), 5) else st)
    p = subprocess.run([*args, "--cleanup"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=10)
    check("and it is cleaned up", "" if p.returncode == 0 else p)


def test_cleanup_all(bindir, top):
    """In a pid namespace of its own: it ends every keeper that it sees."""
    script = '''
set -e
args="--state-dir $2/state8 --socket $2/run8/n.sock"
"$1/nanosegd" $args
keeper=$(cat "$2/state8/keeper.lock")
kill -9 "$(cat "$2/run8/n.pid")"
rm -r "$2/state8"
kill -0 "$keeper"
"$1/nanosegd" $args --cleanup && exit 3
"$1/nanosegd" $args --cleanup --all
! kill -0 "$keeper" 2>/dev/null
[ -z "$(ls -A "$2/run8")" ]
'''
    p = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "bash", "-c", script, "x", bindir,
                        top], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    check("cleanup --all ends a keeper whose state is lost, and says that without --all it cannot",
          "" if p.returncode == 0 and b"records no instance" in p.stdout and
          b"cleanup of all" in p.stdout else p)


def real_roles(top, uids):
    """The same, asserted of the programs that ship, touching no workload."""
    bindir = top + "/real"
    copy_programs(bindir)
    real = [r for r in ROLES if os.access("%s/daemon/nanoseg-%s" % (BUILD, r), os.X_OK)]
    for name in ROLES:
        if name in real:
            shutil.copy("%s/daemon/nanoseg-%s" % (BUILD, name), bindir)
        else:
            skip("the real " + name, "its program is not built")
    d = Daemon(bindir, top + "/state7", top + "/run7/n.sock", "--only", "nst-no-such-*")
    try:
        check("the real roles start", "" if d.says("all roles run", seconds=10) else d.text())
        pids = wait_for(lambda: len(d.pids()) == len(ROLES) and d.pids(), 3) or {}
        for name in real:
            # A filter may come after READY.
            wait_for(lambda: name in pids and not privileges(name, pids[name], uids[name]), 2)
            check("privileges of the real " + name, privileges(name, pids[name], uids[name])
                  if name in pids else d.text())
        for name in real:
            old = d.pids()
            if name not in old:
                check("a killed real %s is back" % name, d.text())
                continue
            os.kill(old[name], signal.SIGKILL)
            wait_for(lambda: d.pids().get(name, old[name]) != old[name], 2)
            new = d.pids()
            check("a killed real %s is back within 2 s, nobody else restarts" % name,
                  "" if len(new) == len(ROLES) and
                  [r for r in ROLES if new[r] == old[r]] == [r for r in ROLES if r != name]
                  else (old, new, d.text()))
    finally:
        finish(d)


def uids_expected():
    users = {"controller": "_nanoseg", "capture": "_nanoseg-capture",
             "discovery": "_nanoseg-discovery", "keeper": "_nanoseg-keeper"}
    out = {"warden": 0, "relay": 0}
    for i, (role, user) in enumerate(users.items()):
        try:
            out[role] = pwd.getpwnam(user).pw_uid
        except KeyError:
            out[role] = 2000000101 + i
    return out


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    top = tempfile.mkdtemp(prefix="nst%d-" % os.getpid())
    os.chmod(top, 0o755)
    bindir = top + "/bin"
    copy_programs(bindir)
    uids = uids_expected()
    d = Daemon(bindir, top + "/state", top + "/run/nanosegd.sock")
    try:
        check("all roles start", "" if d.says("all roles run") else d.text())
        d.says("keeper holds 0$")
        wait_for(lambda: all(re.search(r"^info %s: peer %s$" % (r, p), d.text(), re.M)
                             for r in ROLES for p in PEERS[r]), 3)
        time.sleep(0.1)
        check("the capture could open its packet socket before it dropped",
              "" if "no packet socket" not in d.text() else d.text())
        test_privileges(d, uids)
        test_places(d, uids)
        test_death_of_each(d)
        test_back_off(d)
        test_broken_channel(d)
        test_refusals(d, bindir, top)
        d = test_supervisor_death(d, bindir)
        test_keeper_death(d)
        test_stop_and_cleanup(d, bindir)
        test_background(bindir, top)
        test_cleanup_all(bindir, top)
        real_roles(top, uids)
    finally:
        finish(d)
        shutil.rmtree(top, ignore_errors=True)
    return plan()


sys.exit(main())
