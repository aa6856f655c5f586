#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP connections a second that are observed, against conntrack alone: in turns, each against the one beside it.

    top_builddir=BUILD bench-connect.py [--nginx] [--one] [SECONDS [BESIDE]]

A connection is one that ends at once, or, with --nginx, one request of ab (apache2-utils) that an nginx answers with
1 KB. Needs root. Goes on until the intervals of both ratios are on one side of 0.95, in at least 15 rounds, or 280 s
are over. Both ends of each connection are observed (with names in packets, serverNames), or, with --one, the client's
alone, as of a container that talks to another host: by an event each, and counted by the kernel, which is what comes
after five seconds of so many connections (aggregation: auto, the default). Beside them conntrack with somebody who
takes the same one event at each of these ends and does nothing with it (tests/bench/ctread.c): what anybody pays who is
told of connections; and with somebody who is told by NFLOG, which the product does not do, a report for each that has a
label of its own from then on, a dozen in a message. BESIDE: with an event socket in so many idle namespaces more, past
which the kernel goes for each event.
"""
import argparse
import ctypes
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time

from benchlib import ordered, text, verdict
from daemonlib import BUILD, CLONE_NEWNET, Lab, Plain, cpu_ns, isolate, read, run, wait_for

NETLINK_NETFILTER, NFNLGRP_CONNTRACK_UPDATE = 12, 2
FLOWS, PORTS, TARGET, ROUNDS_MIN = 8000, range(9000, 9064), 0.95, 15


NGINX = """daemon off; worker_processes 1; pid %(dir)s/nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path %(dir)s/b; proxy_temp_path %(dir)s/p; fastcgi_temp_path %(dir)s/f;
       uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s;
       server { listen 8080 backlog=4096; location / { return 200 "%(body)s"; } } }"""


class Listened(Plain):
    def read(self, name, *more):
        p = subprocess.Popen([BUILD + "/tests/bench/ctread", "/run/netns/" + name, *more], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        word, group = p.stdout.readline().split()
        assert word == "ready"
        self.readers.append(p)
        return group

    def start(self):
        super().start()
        self.readers = []
        for name in self.observed:
            self.listen(name)

    def listen(self, name):
        run("ip", "netns", "exec", name, "sysctl", "-qw", "net.netfilter.nf_conntrack_events=1")
        for chain in "io":
            run("ip", "netns", "exec", name, "nft", "add", "rule", "inet", "t", chain, "ct", "state", "new", "ct",
                "event", "set", "assured")
        self.read(name)

    def stop(self):
        words = [p.communicate("", timeout=10)[0].split() for p in self.readers]
        self.told = [int(w[1]) for w in words]
        self.us = sum(int(w[3]) for w in words) / 1e3 / max(1, sum(self.told))  # of the reader, for each
        super().stop()


class Reported(Listened):
    def listen(self, name):
        group = self.read(name, "reports")
        for chain in "io":
            for rule in ("ct label 126 accept", "ct direction original meta l4proto tcp ct status assured "
                         "ct label set 126 log group %s snaplen 64 queue-threshold 64" % group):
                run("ip", "netns", "exec", name, "nft", "add", "rule", "inet", "t", chain, *rule.split())


def counts(lab):
    """The kernel counts there in place of telling."""
    return all(i["aggregation"] and i["aggregation"]["state"] == "on" for w in lab.get("/v1/status")["workloads"]
               if w["name"] in lab.observed for i in w["instances"])


def idle_listeners(n):
    libc, sockets = ctypes.CDLL(None, use_errno=True), []
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    for _ in range(n):
        if libc.unshare(CLONE_NEWNET):
            sys.exit("no namespace: " + os.strerror(ctypes.get_errno()))
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        s.bind((0, 1 << (NFNLGRP_CONNTRACK_UPDATE - 1)))
        sockets.append(s)
    if libc.setns(home, CLONE_NEWNET):
        sys.exit("setns")
    os.close(home)
    return sockets


class Service:
    """nginx in a lab's server, and what ab gets of it."""

    def __init__(self, lab):
        self.lab = lab
        with open(lab.dir + "/nginx.conf", "w") as f:
            f.write(NGINX % {"dir": lab.dir, "body": "x" * 1024})
        self.proc = subprocess.Popen(["ip", "netns", "exec", lab.names[1], "nginx", "-e", "stderr", "-p", lab.dir,
                                      "-c", lab.dir + "/nginx.conf"], stdin=subprocess.DEVNULL)
        if not wait_for(lambda: len(self.pids()) == 2, 10):
            sys.exit("nginx did not start")

    def pids(self):
        return [self.proc.pid] + [int(p) for p in read("/proc/%d/task/%d/children" % (2 * (self.proc.pid,))).split()]

    def request(self, count):
        """(answered a second, us of CPU for each, of client and server)"""
        before = sum(cpu_ns(p) for p in self.pids())
        used = os.times()
        out = run("ip", "netns", "exec", self.lab.names[0], "ab", "-q", "-r", "-c", "64", "-n", str(count),
                  "http://10.98.0.2:8080/")
        ours = os.times()
        cpu = (ours[2] + ours[3] - used[2] - used[3]) * 1e6 + (sum(cpu_ns(p) for p in self.pids()) - before) / 1e3
        answered = int(re.search(r"Complete requests: +(\d+)", out)[1]) - int(re.search(r"Failed requests: +(\d+)", out)[1])
        seconds = float(re.search(r"Time taken for tests: +([0-9.]+)", out)[1])
        self.lab.forget_entries()
        return answered / seconds, cpu / answered

    def stop(self):
        self.proc.terminate()
        self.proc.wait(10)


def say(name, what):
    print("%-36s %s" % (name, what), flush=True)


def told(ratios):
    if len(ratios) < ROUNDS_MIN:
        return False
    _, low, high = ordered(ratios)
    return low >= TARGET or high < TARGET


if os.geteuid() != 0:
    sys.exit("needs root")
parser = argparse.ArgumentParser(description="TCP connections a second that are observed, against conntrack alone")
parser.add_argument("--nginx", action="store_true")
parser.add_argument("--one", action="store_true")
parser.add_argument("seconds", nargs="?", type=float, default=280)
parser.add_argument("beside", nargs="?", type=int, default=0)
args = parser.parse_args()
if args.nginx and not (shutil.which("nginx") and shutil.which("ab")):
    sys.exit("needs nginx, and ab of apache2-utils")
isolate()
limit = time.monotonic() + args.seconds
labs = [("alone", Plain(2, "", "p")), ("observed", Lab(2, "aggregation: off\n", "e")),
        ("counted", Lab(2, "aggregation: on\n", "c")), ("a listener", Listened(2, "", "l")),
        ("reports", Reported(2, "", "r"))]
rates, cpus, ratios, counted, services = {}, {}, [], [], {}


def connect(name, lab):
    return services[name].request(FLOWS) if args.nginx else lab.connect(PORTS, FLOWS)


try:
    for name, lab in labs:
        if args.one:
            lab.observe_first_alone()
        lab.start()
    if not wait_for(lambda: counts(labs[2][1]), 30):
        sys.exit("the kernel does not count")
    beside = idle_listeners(args.beside)
    for name, lab in labs:
        if args.nginx:
            services[name] = Service(lab)
        connect(name, lab)
    turn = 0
    order = random.Random(1)
    while time.monotonic() < limit and not (told(ratios) and told(counted)):
        # In any order, and with a rest: what a daemon still does of its turn must not always be the same other's.
        for name, lab in order.sample(labs, len(labs)):
            time.sleep(0.5)
            rate, cpu = connect(name, lab)
            rates.setdefault(name, []).append(rate)
            cpus.setdefault(name, []).append(cpu)
        turn += 1
        ratios, counted = ([a / b for a, b in zip(rates[name], rates["alone"])] for name in ("observed", "counted"))
    say("load of the machine", "%s, %d rounds of %d connections, %d namespaces beside" % (
        read("/proc/loadavg").split()[0], turn, FLOWS, len(beside)))
    for name, _ in labs:
        say(name, text(rates[name], "a second", 0) + ", " + text(cpus[name], "us of CPU each"))
    say("observed against conntrack alone", text(ratios, "", 3) + "; " + verdict(ratios, at_least=TARGET))
    say("counted against conntrack alone", text(counted, "", 3) + "; " + verdict(counted, at_least=TARGET))
    for one, other in (("a listener", "alone"), ("reports", "alone"), ("observed", "a listener")):
        say("%s against %s" % (one, other), text([a / b for a, b in zip(rates[one], rates[other])], "", 3))
    for one, other in (("observed", "alone"), ("counted", "alone"), ("a listener", "alone"), ("reports", "alone"),
                       ("observed", "a listener")):
        say("%s against %s, by CPU" % (one, other), text([b / a for a, b in zip(cpus[one], cpus[other])], "", 3))
finally:
    for service in services.values():
        service.stop()
    for _, lab in labs:
        lab.stop()
say("told to the listener, in reports", "%s, %s of %d" % (labs[3][1].told, labs[4][1].told, (turn + 1) * FLOWS))
say("CPU of who reads them, for each", "%.2f us of an event, %.2f of a report" % (labs[3][1].us, labs[4][1].us))
