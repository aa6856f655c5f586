#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every capture beside the source tree through `nanoseg learn` and through tshark: the services
found (server address, protocol, port) are the same. Every address is a workload of its own here, so
that no server is summed up with others. tshark judges by itself: a TCP server is who sent a SYN and ACK in
what tshark takes for one conversation, and that has gone on after it (tcp.completeness); of other
protocols it is one whose address and port answered the first packet."""
import glob
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import tempfile

SRC = os.environ.get("top_srcdir", ".")
BUILD = os.environ.get("top_builddir", ".")
NANOSEG = os.path.join(BUILD, "cli/nanoseg")
FOLDER = os.environ.get("NANOSEG_CAPTURES", os.path.join(SRC, "../shared/data/pcap"))
FIELDS = ["ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "tcp.flags",
          "tcp.stream", "tcp.completeness", "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport",
          "frame.protocols"]

# Of tcp.completeness: an ACK, data. A SYN and its answer alone are what a flood or a scan leaves behind.
WENT_ON = 4 | 8


def rows(path):
    cmd = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "occurrence=f", "-o",
           "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]
    for field in FIELDS:
        cmd += ["-e", field]
    r = subprocess.run(cmd, capture_output=True, text=True, timeout=120)
    return [dict(zip(FIELDS, line.split("\t"))) for line in r.stdout.splitlines()]


def transport(row):
    """The outermost one: what is inside a tunnel is another matter."""
    for layer in row["frame.protocols"].split(":"):
        if layer in ("tcp", "udp", "sctp") and row.get(layer + ".srcport"):
            return layer
    return None


def expected(path):
    services, addresses, asked, servers, complete = set(), set(), set(), {}, {}
    for row in rows(path):
        src, dst = row["ip.src"] or row["ipv6.src"], row["ip.dst"] or row["ipv6.dst"]
        proto = transport(row)
        addresses.update(a for a in (src, dst) if a)
        if not src or proto is None:
            continue
        a = (src, int(row[proto + ".srcport"]))
        b = (dst, int(row[proto + ".dstport"]))
        if proto == "tcp":
            stream = row["tcp.stream"]
            complete[stream] = complete.get(stream, 0) | int(row["tcp.completeness"] or 0)
            if int(row["tcp.flags"] or "0", 16) & 0x12 == 0x12:
                servers[stream] = a
        elif (proto, b, a) in asked:
            services.add((proto,) + a)
        else:
            asked.add((proto, a, b))
    services.update(("tcp",) + a for stream, a in servers.items() if complete[stream] & WENT_ON)
    return services, addresses


def learned(path, addresses):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"workloads": [{"name": "at-" + str(ipaddress.ip_address(a)), "addresses": [a]}
                                 for a in sorted(addresses)]}, f)
        f.flush()
        r = subprocess.run([NANOSEG, "learn", "--pcap", path, "--map", f.name, "-o", "json"],
                           capture_output=True, text=True, timeout=120)
    if r.returncode != 0:
        return None, r.stderr.strip()
    answer = json.loads(r.stdout)
    proven = [e for e in answer["edges"] if "port" in e and not e["flags"]]
    return {(e["proto"], e["to"].replace("workload:at-", ""), e["port"]) for e in proven}, answer


def canonical(services):
    return {(p, str(ipaddress.ip_address(a)), port) for p, a, port in services}


def main():
    captures = sorted(glob.glob(os.path.join(FOLDER, "*")))
    if not captures:
        print("1..0 # SKIP no captures beside the source tree")
        return
    if shutil.which("tshark") is None:
        print("1..0 # SKIP no tshark")
        return
    print(f"1..{len(captures) + 1}")
    total = failed = 0
    for n, path in enumerate(captures, 1):
        name = os.path.basename(path)
        services, addresses = expected(path)
        services = canonical(services)
        got, more = learned(path, addresses)
        problems = []
        if got is None:
            problems = [more]
        else:
            total += len(services)
            problems += [f"missed {s}" for s in sorted(services - got)]
            problems += [f"invented {s}" for s in sorted(got - services)]
        for p in problems:
            print(f"# {p}")
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {n} - {name}")
    print(f"# {total} services")
    print(f"{'ok' if total > 0 else 'not ok'} {len(captures) + 1} - there were services to find")
    sys.exit(1 if failed else 0)


main()
