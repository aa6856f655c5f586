# SPDX-License-Identifier: GPL-2.0-or-later
"""Evidence bundles for tests, made and sealed here by the description in docs/evidence.md."""
import hashlib
import json

PARTS = ["audit", "denials", "edges", "exposure", "host", "losses", "networks", "period",
         "policyDigest", "revision", "revisions", "selector", "verification", "workloads"]

HOSTILE = [
    "evil\x1b[31m\x07", "two\nlines\rand\ttabs", "user\u202etxt.exe", '=HYPERLINK("http://x/","y")',
    "</script><script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "shop/x: y # z\\n",
    "\uff1dcmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "]]>--><!--", "\u5546\u5e97/\u30c7\u30fc", "a\\x1bb",
]


def seal(b):
    """The manifest, as a stranger computes it."""
    parts, lines = {}, ""
    for name in PARTS:
        text = json.dumps(b[name], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        parts[name] = hashlib.sha256(text.encode()).hexdigest()
        lines += "%s %s\n" % (name, parts[name])
    b["manifest"] = {"algorithm": "SHA-256", "digest": hashlib.sha256(lines.encode()).hexdigest(),
                     "parts": parts}
    return b


def wl(name):
    return "workload:" + name


def edge(number, src, dst, state="approved", **more):
    e = {"id": "e-%016x" % number, "from": src, "to": dst, "proto": "tcp", "port": 8000 + number % 50000,
         "state": state, "flags": [], "connections": 12 * number, "bytes": None,
         "firstSeen": "2026-01-01T10:00:00.000Z", "lastSeen": "2026-02-20T11:00:00.000Z"}
    if state != "pending":
        e.update(reason="because %d" % number, ticket="T-%d" % number, approvedBy="root", expires=None)
    if number % 3 == 2:
        e["seenAs"] = [{"by": "sni", "name": "n%d.example" % number}, {"by": "host", "name": "<b>=1+1\x1b[2J"}]
        e["seenAsMore"] = True
    e.update(more)
    return {k: v for k, v in e.items() if v != "absent"}


def workload(name, instances=1, **more):
    w = {"name": name, "mode": "enforce", "direction": "both", "enforceable": "full", "labels": {},
         "instances": [{"id": "%012x" % i, "runtime": "docker", "addresses": ["10.0.0.%d" % (i + 2)],
                        "image": "registry.example/%s:1" % name.split("/")[-1][:20].strip(),
                        "imageId": "sha256:" + "%064x" % (i + 1), "appliedRevision": 12,
                        "rulesetDigest": "%064x" % (i + 7),
                        "start": {"kind": "gated", "leadMs": 20, "at": "2026-01-01T10:00:00.000Z"}}
                       for i in range(instances)],
         "edges": {"approved": 1, "pending": 0, "denied": 0},
         "completeness": {"newEdgeChance": 0.0513, "incompleteWindows": 0},
         "loss": {"events": 0, "packets": 0}, "drift": 0, "quarantine": None,
         "revision": 12, "appliedRevision": 12, "firstSeen": "2026-01-01T10:00:00.000Z"}
    w.update(more)
    return w


def bundle(workloads, edges, **more):
    b = {"apiVersion": "nanoseg/v1", "kind": "EvidenceBundle",
         "host": {"kernel": "6.18.0", "name": "node-1", "nanoseg": "0.1.0"},
         "period": {"from": "2026-01-01T10:00:00Z", "to": "2026-02-21T00:00:00Z"},
         "revision": 12, "policyDigest": "ab" * 32, "selector": None,
         "audit": {"head": {"seq": 41, "hash": "cd" * 32}},
         "losses": {"unidentified": 0, "reports": 7}, "networks": {"office": ["10.20.0.0/16"]},
         "workloads": workloads, "edges": edges, "denials": [], "exposure": [],
         "revisions": [{"revision": 12, "time": "2026-02-01T00:00:00Z", "actor": "root",
                        "action": "approve", "reason": "=1+1"}],
         "verification": None}
    b.update(more)
    return seal(b)


def small():
    """Every kind of peer, state, protocol and exception, and hostile names in all places."""
    loads = [workload("shop/web", 2, labels={"scope": "pci"}),
             workload("shop/api", labels={"scope": "pci", "tier": "app"}),
             workload("shop/db", direction="ingress", drift=1),
             workload("batch", mode="audit", instances=1, loss={"events": 0, "packets": 0, "sources": ["lateStart"]},
                      completeness={"newEdgeChance": None, "windows": 38, "incompleteWindows": 2, "windowKind": "hour"}),
             workload("old", mode="observe", instances=0),
             workload("net/raw", enforceable="partial", why="it has CAP_NET_ADMIN",
                      loss={"events": 3, "packets": 0, "forgotten": 5000, "sources": ["events", "conntrackTable"]})]
    loads += [workload(n) for n in HOSTILE]
    loads[1]["instances"][0]["imageApproved"] = False
    loads[2]["instances"][0]["imageApproved"] = True
    edges = [edge(1, wl("shop/web"), wl("shop/api")), edge(2, wl("shop/api"), wl("shop/db"), port=5432),
             edge(3, "internet", wl("shop/web"), port=443),
             edge(4, wl("shop/api"), "fqdn:*.s3.amazonaws.com", port=443),
             edge(5, wl("shop/api"), "fqdn:api.example.com", port=443, expires="2026-03-01T00:00:00Z"),
             edge(6, "host", wl("shop/db"), "denied", port=5432),
             edge(7, "network:office", wl("shop/web"), port=443),
             edge(8, "cidr:10.0.0.0/8", wl("shop/api"), port="absent", ports="8000-8200"),
             edge(9, wl("shop/web"), "addr:192.0.2.7", proto="udp", port=53),
             edge(10, wl("shop/web"), wl("shop/db"), proto="icmp", port="absent", type=8),
             edge(11, wl("batch"), wl("shop/db"), "pending", port=5432),
             edge(12, wl("shop/web"), "multicast", proto="udp", port=5353),
             edge(13, wl("shop/web"), wl("shop/web"), proto="sctp"),
             edge(14, wl("batch"), "internet", approvedBy="promotion", flags=["auto"], reason=None),
             edge(15, "host", wl("shop/web"), flags=["via-host"],
                  lastSeen="2026-01-02T00:00:00.000Z", expires="2026-02-01T00:00:00.000Z"),
             edge(16, "cidr:2001:db8::/32", wl("net/raw"), lastSeen="2026-01-02T00:00:00.000Z")]
    edges += [edge(20 + i, wl(n), wl("shop/web"), reason=n, ticket=n, approvedBy=n)
              for i, n in enumerate(HOSTILE)]
    denials = [{"id": "d-%016x" % 1, "verdict": "deny", "from": wl(HOSTILE[4]), "to": wl("shop/db"),
                "src": "10.0.0.9", "dst": "10.0.0.4", "proto": "tcp", "port": 5432, "count": 17,
                "firstSeen": "2026-02-02T00:00:00.000Z", "lastSeen": "2026-02-03T00:00:00.000Z",
                "name": None, "edge": "e-%016x" % 99},
               {"id": "d-%016x" % 2, "verdict": "audit", "from": wl("batch"), "to": "internet",
                "src": "10.0.0.7", "dst": "203.0.113.5", "proto": "udp", "port": 123, "count": 1,
                "firstSeen": "2026-02-02T00:00:00.000Z", "lastSeen": "2026-02-03T00:00:00.000Z",
                "name": None, "edge": None}]
    windows = [{"workload": "shop/db", "instance": "abc", "from": "2026-02-02T00:00:00.000Z",
                "to": "2026-02-02T00:00:01.000Z"}]
    return bundle(loads, edges, denials=denials, exposure=windows)


def large(workloads, edges):
    """As many as a big host has, talking at random but the same each time."""
    names = ["project%d/service%d" % (i // 20, i % 20) for i in range(workloads)]
    state, seen, out = 1, set(), []
    while len(out) < edges:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        a, b, port = (state >> 33) % workloads, (state >> 43) % workloads, 1000 + (state >> 53) % 20
        if (a, b, port) in seen:
            continue
        seen.add((a, b, port))
        out.append(edge(len(out) + 1, wl(names[a]), wl(names[b]), port=port,
                        state=["approved", "approved", "pending", "denied"][len(out) % 4]))
    return bundle([workload(n) for n in sorted(names)], out)
