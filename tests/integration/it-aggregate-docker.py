#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers of Docker that talk and end at once, counted by the kernel and told by events: their engine takes their
addresses away before their namespaces, and gives them to the next. Each connection is one of its workload, of its image."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import Docker, Lab, PREFIX, Tap, run, wait

JOBS, CONNECTIONS, LONG = 3, 40, 30
# It waits for a signal, for the network has to be watched, and counted, before.
TALK = "trap go=1 USR1; until [ $go ]; do sleep .05; done; for i in {1..%d}; do exec 3<>/dev/tcp/%s/5432 || exit 1; done"
t = Tap()
lab = Lab(real_host=True)
docker = Docker(lab)
net = PREFIX + "-net"
docker.network(net)


def start(name, db):
    cid = run("docker", "run", "-d", "--init", "--network", net, "--name", name, *docker.FOLDERS, docker.image,
              "/bin/bash", "-c", TALK % (CONNECTIONS, db.v4)).out.strip()
    docker.containers.append(cid)
    return cid


def state(d, name):
    w = d.api.workload(name)
    i = w["instances"][0] if w and w["instances"] else {"aggregation": None}
    return (i["aggregation"] or {}).get("state")


for how, want in (("on", "on"), ("off", None)):
    d = lab.daemon(config="aggregation: %s\n" % how, only="*" + PREFIX + "*")
    db = docker.run("%s-db-%s" % (PREFIX, how), network=net)
    db.serve(5432)
    what = "counted" if want else "told by events"
    for k in range(JOBS):
        name = "%s-%s%d" % (PREFIX, how, k)
        cid = start(name, db)
        d.watched(name)
        ready = wait(lambda: (state(d, name), state(d, db.name)) == (want, want), LONG)
        run("docker", "kill", "-s", "USR1", cid)
        code = run("docker", "wait", cid).out.strip()
        run("docker", "rm", cid)
        docker.containers.remove(cid)
        wait(lambda: (d.api.edge(from_="workload:" + name) or {}).get("connections") == CONNECTIONS, 5)
        edges = d.api.edges(to="workload:" + db.name)
        e = d.api.edge(from_="workload:" + name) or {"connections": 0, "images": {"from": []}}
        t.ok(ready and code == "0" and e["connections"] == CONNECTIONS and e["images"]["from"],
             "%s: all %d connections of a container's last moment are its own" % (what, CONNECTIONS), ready, code, edges)
        w = d.api.workload(name)
        t.ok(w["loss"]["sources"] == [], "%s: without a loss" % what, w["loss"])
    edges = d.api.edges()
    t.ok(len(edges) == JOBS, "%s: and nobody else has an edge" % what, edges)
    d.stop()
    d.cleanup()
    docker.rm(db)
t.done()
