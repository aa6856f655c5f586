#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How long policy validate, diff, apply and show take with 100,000 edges, and what the daemon takes.

    bench-policy.py [EDGES]
"""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, PREFIX, Lab, proc_status, run

N = int(sys.argv[1]) if len(sys.argv) > 1 else 99900
NAMES = 3000
lab = Lab()
a = lab.ns("a")
d = lab.daemon(config="maxEdges: 100000\n", expect=[a.name])
edges = [{"from": "%s-w%d" % (PREFIX, i % NAMES), "to": "%s-w%d" % (PREFIX, (i * 7 + i // NAMES) % NAMES),
          "proto": "tcp", "port": 1 + i // NAMES, "state": "approved", "reason": "r"} for i in range(N)]
files = lab.dir + "/before.json", lab.dir + "/after.json"
for path, port in zip(files, (1, 60000)):
    edges[5]["port"] = port
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "workloads": [], "edges": edges}, f)
print("%d edges, %d workloads, %.1f MB" % (N, NAMES, os.path.getsize(files[0]) / 1e6), flush=True)


def cpu():
    with open("/proc/%d/stat" % d.roles()["controller"], encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


for words in (("validate", files[0]), ("diff", *files), ("apply", files[0]), ("apply", files[1]),
              ("diff", files[0]), ("show",)):
    begin, used = time.monotonic(), cpu()
    r = run(BUILD + "/cli/nanoseg", "--socket", d.sock, "--timeout", "300", "policy", *words, check=False,
            timeout=300)
    print("policy %-8s %5.1f s, of it %.1f s in the controller, which has %s now; exit %d" % (
        words[0], time.monotonic() - begin, cpu() - used, proc_status(d.roles()["controller"])["VmRSS"],
        r.returncode), flush=True)
