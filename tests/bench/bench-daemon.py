# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of the whole daemon: memory, what it does at rest, flows it loses, how fast a decision is.

    top_builddir=BUILD bench-daemon.py [memory] [rest] [udp4] [udp6] [tcp] [latency] [demo]

Needs root. All but "demo" by default. One line a figure; bounded in time (some two minutes).
"demo" runs the demonstration of contrib/demo and takes its daemon's memory meanwhile.
"""
import os
import subprocess
import sys
import time

from daemonlib import (BUILD, ROLES, Conntrack, Lab, RuleWatch, alone, cpu_ns, family, isolate, keeper_of, pss, read,
                       wait_for, wakeups)

NAMESPACES = 6
UDP_FLOWS, TCP_FLOWS = 200000, 50000
REST_S = 30
DECISIONS = 50
FIGURES = ("memory", "rest", "udp4", "udp6", "tcp", "latency")


def say(name, text):
    print("%-26s %s" % (name, text), flush=True)


def memory(pids, name="memory"):
    total = anon = 0
    for role in [r for r in ROLES if r in pids]:
        all_kib, anon_kib = pss(pids[role])
        total += all_kib
        anon += anon_kib
        say("%s %s" % (name, role), "%.2f MB PSS, %.2f MB of it anonymous" % (all_kib / 1024, anon_kib / 1024))
    say(name + " all", "%.2f MB PSS, %.2f MB of it anonymous; %.2f MB if nobody else had a page of it" %
        (total / 1024, anon / 1024, alone(pids.values()) / 1024))


def rest(lab):
    time.sleep(3)
    pids = lab.pids()
    before = {r: (cpu_ns(p), wakeups(p)) for r, p in pids.items()}
    start = time.monotonic()
    time.sleep(REST_S)
    elapsed, all_cpu, all_wakes = time.monotonic() - start, 0, 0
    for role in [r for r in ROLES if r in pids]:
        cpu = (cpu_ns(pids[role]) - before[role][0]) / 1e9 / elapsed
        wakes = (wakeups(pids[role]) - before[role][1]) / elapsed
        all_cpu += cpu
        all_wakes += wakes
        say("rest " + role, "%.4f%% of a core, %.2f wake-ups a second" % (cpu * 100, wakes))
    say("rest all", "%.4f%% of a core, %.2f wake-ups a second, load of the machine %s" %
        (all_cpu * 100, all_wakes, read("/proc/loadavg").split()[0]))


def flows(lab, name, proto, v6, first_port, count):
    ports = range(first_port, first_port + 64)
    pids = lab.pids()
    before = cpu_ns(pids["controller"])
    beside = Conntrack(lab.names[0], proto, v6)
    answered, seconds = lab.flows(proto, 0, 1, v6, ports, count)
    lines, their_cpu = beside.stop(ports)
    seen = lab.connections(ports)
    cpu = (cpu_ns(pids["controller"]) - before) / 1e9
    ends = {}

    def stored():
        ends["now"] = lab.stored(ports)
        return max(ends["now"]) >= seen

    wait_for(stored, 8, 0.5)
    say(name + " oracle", "%d of %d answered in %.2f s, %d a second" %
        (answered, count, seconds, answered / seconds))
    say(name + " daemon", "%d connections, lost %d; from the client's end %s, the server's %s" %
        ((seen, answered - seen) + ends["now"]))
    say(name + " conntrack -E", "%d connections, lost %d (%.3f%%)" %
        (lines, answered - lines, 100.0 * (answered - lines) / max(answered, 1)))
    say(name + " controller", "%.2f us an event (two events a connection); conntrack -E %.2f" %
        (cpu * 1e6 / max(2 * answered, 1), their_cpu * 1e6 / max(lines, 1)))
    say(name + " losses", ", ".join("%s %d" % kv for kv in lab.losses().items()) or "none counted")
    lab.forget_entries()
    return answered - seen


def latency(lab):
    """Approve to kernel: one edge at a time into an enforcing server."""
    ports = range(20000, 20000 + DECISIONS)
    lab.flows("udp", 2, 3, False, ports, DECISIONS)

    def pending():
        e = [e["id"] for e in lab.get("/v1/edges?state=pending") if e.get("port") in ports]
        return e if len(e) == DECISIONS else None

    ids = wait_for(pending, 10)
    if not ids:
        say("latency", "the edges did not appear")
        return
    server = lab.names[3]
    watch = RuleWatch(server)
    lab.request("POST", "/v1/mode", {"workloads": [server], "mode": "enforce",
                                     "direction": "ingress", "reason": "benchmark"})
    time.sleep(1)
    times, calls, missing = [], [], 0
    for i in ids:
        watch.settle()
        asked = time.monotonic()
        lab.request("POST", "/v1/edges/approve", {"ids": [i], "reason": "benchmark"})
        returned = time.monotonic()
        there = watch.wait(1.0)
        if there is None:
            missing += 1
            continue
        times.append(max(0.0, (there - returned) * 1e3))
        calls.append((returned - asked) * 1e3)
    watch.close()
    lab.request("POST", "/v1/mode", {"workloads": [server], "mode": "observe", "reason": "benchmark"})
    for name, values in (("latency approve call", calls), ("latency to the kernel", times)):
        v = sorted(values) or [float("nan")]
        say(name, "min %.2f ms, median %.2f ms, p99 %.2f ms, of %d; %d never came" %
            (v[0], v[len(v) // 2], v[min(len(v) - 1, int(len(v) * 0.99))], len(values), missing))


def demo_daemon():
    """The roles of a running demonstration's daemon, with its keeper."""
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            args = read("/proc/%s/cmdline" % pid).split("\0")
        except OSError:
            continue
        if args[0] != BUILD + "/daemon/nanosegd" or "--cleanup" in args or "nanoseg-demo/*" not in args:
            continue
        pids = family(int(pid))
        keeper = keeper_of(args[args.index("--state-dir") + 1])
        if keeper:
            pids["keeper"] = keeper
        if len(pids) == len(ROLES):
            return pids
    return None


def demo():
    """The highest of what all roles together take while the demonstration runs."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../contrib/demo/demo.py")
    proc = subprocess.Popen([sys.executable, script, "--build", BUILD], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most, when, samples, most_alone = 0, {}, 0, 0
    while proc.poll() is None:
        time.sleep(0.5)
        try:
            pids = demo_daemon() or {}
            now = {r: pss(p) for r, p in pids.items()}
            most_alone = max(most_alone, alone(pids.values()))
        except (OSError, KeyError):
            continue  # one of them has just ended
        samples += bool(now)
        total = sum(v[0] for v in now.values())
        if total > most:
            most, when = total, now
    for role in [r for r in ROLES if r in when]:
        say("demo memory " + role, "%.2f MB PSS, %.2f MB of it anonymous" %
            (when[role][0] / 1024, when[role][1] / 1024))
    say("demo memory all", "%.2f MB PSS at most, %.2f MB if nobody else had a page of it, of %d samples" %
        (most / 1024, most_alone / 1024, samples))
    say("demo", "ended with %d" % proc.returncode)


def main():
    wanted = sys.argv[1:] or FIGURES
    if set(wanted) - set(FIGURES + ("demo",)):
        sys.exit(__doc__)
    if os.geteuid() != 0:
        sys.exit("needs root")
    if "demo" in wanted and "NSB_ALONE" not in os.environ:
        demo()
    if set(wanted) & set(FIGURES):
        isolate()
        lab = Lab(NAMESPACES, "maxEdges: 50000\n")
        try:
            lab.start()
            figures = {
                "memory": lambda: memory(lab.pids(), "memory start"),
                "rest": lambda: rest(lab),
                "udp4": lambda: flows(lab, "udp4", "udp", False, 9000, UDP_FLOWS),
                "udp6": lambda: flows(lab, "udp6", "udp", True, 9100, UDP_FLOWS),
                "tcp": lambda: flows(lab, "tcp", "tcp", False, 9200, TCP_FLOWS),
                "latency": lambda: latency(lab),
            }
            for name in FIGURES:
                if name in wanted:
                    figures[name]()
            if "memory" in wanted and len(wanted) > 1:
                memory(lab.pids(), "memory end")
            unexpected = [l for l in lab.log_text().splitlines() if " error" in l or " warn" in l]
            for line in unexpected[:10]:
                say("log", line)
        finally:
            lab.stop()


if __name__ == "__main__":
    main()
