#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An engine in trouble: restarted, killed, its socket gone, its containers removed while they start.
What is known stands, nothing is credited wrongly, status says what is the matter, and it comes back.
On a machine of its own, with a Docker daemon of its own and a nanosegd without --only."""
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from alonelib import Dockerd, alone, have_docker

alone(os.path.abspath(__file__))
import nslab
from nslab import BUILD, Docker, Lab, run, skip_all, wait

REMOVED = 100 if "--long" in sys.argv else 15
t = nslab.Tap()
lab = Lab(real_host=True)
if not have_docker():
    skip_all("needs dockerd")
dockerd = Dockerd(lab)
if not dockerd.start(wait):
    skip_all("a Docker daemon of its own does not start here")
docker = Docker(lab)
d = lab.daemon(only="")
api = d.api


def engine():
    return next((e for e in api.get("/v1/status")["engines"] if e["name"] == "docker"), {})


def comes_back(name, seconds=45):
    began = time.monotonic()
    good = wait(lambda: engine().get("reachable"), seconds, 0.1)
    t.ok(good, "%s: it is reachable again" % name, engine(), d.text()[-800:])
    t.note("%s: found %.1f s after it was back" % (name, time.monotonic() - began))


def is_away(name):
    good = wait(lambda: engine().get("reachable") is False and engine(), 15, 0.05)
    cli = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "status", check=False).out
    t.ok(good and good["why"] and good["since"] and "engine docker: not reachable since" in cli,
         "%s: status says so, why, and since when" % name, good, cli[:600])


def ids(name):
    w = api.workload(name)
    return sorted(i["id"] for i in w["instances"]) if w else []


def start(name, service, **kw):
    return dockerd.run("%s-%s" % (nslab.PREFIX, name), docker.image, labels=nslab.compose("shop", service), **kw)


def pid_of(cid):
    return dockerd.ask("GET", "/containers/%s/json" % cid)[1]["State"]["Pid"]


def rules(pid):
    return run("nsenter", "-t", str(pid), "-n", "nft", "-s", "list", "table", "inet", d.table(), check=False).out


wait(lambda: engine().get("reachable"), 15)
web, db = start("web", "web", restart="always"), start("db", "db")
t.ok(wait(lambda: ids("shop/web") == [web[:12]] and ids("shop/db") == [db[:12]], 15), "two containers are known")
api.mode("enforce", "shop/web", "shop/db")
web_pid, db_pid = pid_of(web), pid_of(db)
t.ok(wait(lambda: "policy drop" in rules(web_pid) and "policy drop" in rules(db_pid), 10), "and enforced")
netns = {i["netns"] for w in ("shop/web", "shop/db") for i in api.workload(w)["instances"]}


def stand():
    now = {i["netns"] for w in ("shop/web", "shop/db") for i in api.workload(w)["instances"]}
    return now == netns and "policy drop" in rules(web_pid) and "policy drop" in rules(db_pid) and \
        ids("shop/web") == [web[:12]] and ids("shop/db") == [db[:12]]


# Its socket is removed, and comes back: what runs on is not forgotten.
os.rename("/run/docker.sock", "/run/docker.sock.away")
os.kill(d.roles()["relay"], 15)  # what is open stays open; the next connection finds no socket
is_away("its socket is gone")
time.sleep(1)
t.ok(stand(), "its socket is gone: all that is known stands")
os.rename("/run/docker.sock.away", "/run/docker.sock")
comes_back("its socket is gone")
t.ok(stand(), "and is not learned anew")

# A restart with live-restore: the containers never end, what happened meanwhile is found.
dockerd.stop()
if not dockerd.start(wait, "--live-restore"):
    t.ok(False, "dockerd starts with live-restore")
    t.done()
for k in (web, db):
    dockerd.ask("POST", "/containers/%s/start" % k)
wait(lambda: ids("shop/web") == [web[:12]] and ids("shop/db") == [db[:12]], 45, 0.1)
web_pid, db_pid = pid_of(web), pid_of(db)
wait(lambda: "policy drop" in rules(web_pid) and "policy drop" in rules(db_pid), 20, 0.1)
netns = {i["netns"] for w in ("shop/web", "shop/db") for i in api.workload(w)["instances"]}
t.ok(len(netns) == 2 and stand(), "after a restart without live-restore the containers are started and known again",
     ids("shop/web"), ids("shop/db"))
dockerd.stop()
is_away("stopped with live-restore")
run("kill", "-9", str(db_pid))  # an end that no event tells
t.ok("policy drop" in rules(web_pid) and
     ids("shop/web") == [web[:12]], "stopped with live-restore: the rules of what runs stand", ids("shop/web"), ids("shop/db"))
good = dockerd.start(wait, "--live-restore")
t.ok(good, "dockerd starts again", open(lab.dir + "/docker.log").read()[-1500:])
comes_back("stopped with live-restore")
t.ok(wait(lambda: ids("shop/web") == [web[:12]] and ids("shop/db") == [], 20), "what ended meanwhile is gone",
     ids("shop/web"), ids("shop/db"))
dockerd.ask("POST", "/containers/%s/start" % db)
t.ok(wait(lambda: ids("shop/db") == [db[:12]], 20), "and known again when it is started")
t.ok(wait(lambda: "policy drop" in rules(pid_of(db)), 10), "with its rules")

# Killed with live-restore: the same containers with the same rules.
db_pid = pid_of(db)
wait(lambda: pid_of(web) == web_pid and "policy drop" in rules(db_pid), 10)
netns = {i["netns"] for w in ("shop/web", "shop/db") for i in api.workload(w)["instances"]}
dockerd.stop(kill=True)
is_away("killed with live-restore")
t.ok(stand(), "killed with live-restore: all that is known stands", ids("shop/web"), ids("shop/db"))
dockerd.start(wait, "--live-restore")
comes_back("killed with live-restore")
t.ok(stand() and pid_of(web) == web_pid and pid_of(db) == db_pid, "and is the same afterwards", ids("shop/web"), ids("shop/db"))

# Killed, and started without live-restore: it ends what runs and starts what is to run always.
dockerd.stop(kill=True)
is_away("killed without live-restore")
t.ok(stand(), "killed without live-restore: all that is known stands", ids("shop/web"), ids("shop/db"))
dockerd.start(wait)
comes_back("killed without live-restore")


def started_anew():
    pid = pid_of(web)
    return pid not in (0, web_pid) and ids("shop/web") == [web[:12]] and "policy drop" in rules(pid)


t.ok(wait(started_anew, 45, 0.2), "what it starts anew has its name and its rules", ids("shop/web"), pid_of(web))
t.ok(wait(lambda: ids("shop/db") == [], 20, 0.2), "what it does not start is gone", ids("shop/db"))
web_pid = pid_of(web)
dockerd.ask("POST", "/containers/%s/start" % db)
wait(lambda: ids("shop/db") == [db[:12]], 20)

# Paused, unpaused, renamed: the same workload with the same rules.
for verb in ("pause", "unpause", "rename?name=%s-other" % nslab.PREFIX):
    before = api.get("/v1/status")["revision"]
    dockerd.ask("POST", "/containers/%s/%s" % (web, verb))
    time.sleep(0.5)
    t.ok(ids("shop/web") == [web[:12]] and "policy drop" in rules(web_pid) and
         api.get("/v1/status")["revision"] == before, "%s changes nothing" % verb.split("?")[0], ids("shop/web"))
wait(lambda: any(m["name"] == nslab.PREFIX + "-other" for i in api.workload("shop/web")["instances"] for m in i["members"]), 5)
t.ok(any(m["name"] == nslab.PREFIX + "-other" for i in api.workload("shop/web")["instances"] for m in i["members"]),
     "and the new name is shown", api.workload("shop/web")["instances"])

# Removed while they start.
fds = {r: len(os.listdir("/proc/%d/fd" % p)) for r, p in d.all_pids().items()}


def start_and_remove(k):
    try:
        cid = dockerd.create("%s-x%d" % (nslab.PREFIX, k), docker.image, labels=nslab.compose("shop", "web"))
        th = threading.Thread(target=dockerd.ask, args=("POST", "/containers/%s/start" % cid))
        th.start()
        time.sleep(0.03 * (k % 12))
        dockerd.remove(cid)
        th.join()
        dockerd.remove(cid)
    except (OSError, RuntimeError) as e:
        t.note("container %d: %s" % (k, e))


for k in range(REMOVED):
    start_and_remove(k)
good = wait(lambda: ids("shop/web") == [web[:12]] and
            {r: len(os.listdir("/proc/%d/fd" % p)) for r, p in d.all_pids().items()} == fds, 40, 0.2)
t.ok(good, "%d containers removed while they start: nothing of them is left" % REMOVED, ids("shop/web"), fds,
     {r: len(os.listdir("/proc/%d/fd" % p)) for r, p in d.all_pids().items()})
others = [n for n, w in api.workloads().items() if w["instances"] and not n.startswith("shop/")]
t.ok(not others and "policy drop" in rules(web_pid), "and nothing was taken for another", others)
t.done()
