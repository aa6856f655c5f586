# SPDX-License-Identifier: GPL-2.0-or-later
"""What was done, to be undone in reverse on any exit; and the parts the demonstration needs."""
import os
import shutil
import signal
import subprocess
import time


def run(*cmd, check=True, timeout=120, **kw):
    r = subprocess.run(cmd, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=timeout, **kw)
    if check and r.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(cmd[:4]), r.stderr.strip() or r.returncode))
    return r.stdout.strip()


class Undo:
    def __init__(self):
        self.steps = []

    def add(self, fn, *args, **kw):
        self.steps.append((fn, args, kw))

    def all(self):
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        while self.steps:
            fn, args, kw = self.steps.pop()
            try:
                fn(*args, **kw)
            except Exception as e:  # one failure must not keep the rest from being undone
                print("undo: %s" % e)


def stop_process(proc, seconds=10):
    if proc.poll() is not None:
        return
    proc.terminate()
    try:
        proc.wait(seconds)
    except subprocess.TimeoutExpired:
        proc.kill()
        proc.wait()


def firewall_state():
    """The lines of iptables-save and ip6tables-save, by program and table."""
    state = {}
    for prog in ("iptables", "ip6tables"):
        if shutil.which(prog) is None:
            continue
        table = None
        for line in run(prog + "-save").splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif table and (line.startswith("-A") or line.startswith(":")):
                # Counters stand behind a chain's policy.
                state.setdefault((prog, table), []).append(line.split(" [")[0])
    return state


def firewall_restore(before):
    """Takes out what came since: rules first, then chains; policies as they were."""
    for (prog, table), lines in firewall_state().items():
        old = before.get((prog, table), [])
        new = [l for l in lines if l not in old]
        for line in new:
            if line.startswith("-A"):
                run("sh", "-c", "%s -w -t %s -D %s" % (prog, table, line[3:]), check=False)
        chains = [l.split()[0][1:] for l in new if l.startswith(":") and l.split()[1] == "-"]
        for op in ("-F", "-X"):
            for chain in chains:
                run(prog, "-w", "-t", table, op, chain, check=False)
        for line in old:
            if line.startswith(":") and line.split()[1] != "-":
                run(prog, "-w", "-t", table, "-P", line.split()[0][1:], line.split()[1], check=False)
        if not old:
            for line in lines:
                if line.startswith(":") and line.split()[1] != "-":
                    run(prog, "-w", "-t", table, "-P", line.split()[0][1:], "ACCEPT", check=False)


def read_file(path):
    with open(path) as f:
        return f.read().strip()


def write_file(path, text):
    with open(path, "w") as f:
        f.write(text + "\n")


def ensure_docker(undo, folder):
    """A Docker Engine: the one that runs, or our own for as long as we need it."""
    if subprocess.run(["docker", "info"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode == 0:
        return "the Docker Engine that runs here"
    before, had_bridge = firewall_state(), os.path.exists("/sys/class/net/docker0")
    forward = {p: read_file(p) for p in ("/proc/sys/net/ipv4/ip_forward",
                                         "/proc/sys/net/ipv6/conf/all/forwarding")
               if os.path.exists(p)}
    log = open(os.path.join(folder, "dockerd.log"), "w")
    proc = subprocess.Popen(["dockerd", "--data-root", os.path.join(folder, "docker"),
                             "--pidfile", os.path.join(folder, "dockerd.pid")],
                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                            start_new_session=True)

    def stop():
        stop_process(proc, 30)
        firewall_restore(before)
        if not had_bridge:
            run("ip", "link", "del", "docker0", check=False)
        for path, value in forward.items():
            write_file(path, value)

    undo.add(stop)
    for _ in range(150):
        if proc.poll() is not None:
            break
        if subprocess.run(["docker", "info"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0:
            return "a Docker Engine of its own"
        time.sleep(0.2)
    raise RuntimeError("dockerd did not start: " + read_file(os.path.join(folder, "dockerd.log"))[-400:])
