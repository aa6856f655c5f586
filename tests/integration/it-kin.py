#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers that have not run since a workload is observed are named, and hold back its promotion: on each
of its networks, created and not started, or ended before the daemon came."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
import nslab
from nslab import BUILD, PREFIX, Docker, Lab, run, wait

t = nslab.Tap()
lab = Lab(real_host=True)
docker = Docker(lab)
FRONT, BACK, WEB = PREFIX + "-front", PREFIX + "-back", PREFIX + "-web"
docker.network(FRONT)
docker.network(BACK)


def create(name, network):
    docker.containers.append(run("docker", "create", "--name", name, "--network", network, *Docker.FOLDERS,
                                 docker.image, "/bin/sleep", "600").out.strip())


docker.run(WEB, network=FRONT)
run("docker", "network", "connect", BACK, WEB)
create(PREFIX + "-job", BACK)
docker.run(PREFIX + "-old", network=FRONT)
run("docker", "stop", "-t", "0", PREFIX + "-old")
docker.run(PREFIX + "-far", network="none")
run("docker", "stop", "-t", "0", PREFIX + "-far")
d = lab.daemon("observationPeriod: 1s\npromote: enforce\npromoteBy: evidence\n", expect=[WEB])
api = d.api


def waits_for():
    w = api.workload(WEB)
    why = (w["promotion"] or {}).get("why", "")
    missing = sorted(n[len(PREFIX) + 1:] for n in w["completeness"]["notRunYet"])
    return missing if all("%s-%s has not run yet" % (PREFIX, n) in why for n in missing) else why


def named(*names):
    return wait(lambda: waits_for() == list(names), 30, 0.1)


t.ok(named("job", "old"), "on each of its networks: one never started and one that has ended are named and waited for",
     waits_for(), d.text())
text = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "status", "--why").out
t.ok(PREFIX + "-job has not run yet" in text and api.workload(WEB)["mode"] == "observe",
     "status --why says so, and it is not promoted", text)
t.ok(set(api.workloads()) == {WEB}, "they are no workloads of their own", set(api.workloads()))
create(PREFIX + "-late", FRONT)
t.ok(named("job", "late", "old"), "so is one that is created meanwhile", waits_for())
run("docker", "start", PREFIX + "-job")
t.ok(named("late", "old"), "no longer once it has run", waits_for())
run("docker", "stop", "-t", "0", PREFIX + "-job")
run("docker", "rm", PREFIX + "-late")
t.ok(named("old"), "nor after its end, nor if it is removed", waits_for())
t.done()
