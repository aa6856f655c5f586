#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every capture beside the source tree through `nanoseg learn` and through tshark: the services
found (server address, protocol, port) are the same. Every address is a workload of its own here, so
that no server is summed up with others. What tshark shows is read by this: TCP servers are those
that answered a SYN, all others those whose address and port answered the first packet."""
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
          "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport", "frame.protocols"]

# What nanoseg finds and the reading above does not, each looked at in the capture itself.
EXPLAINED = {
    # The capture begins with the server's SYN and ACK, and the client goes on.
    ("mqtt.pcap", "tcp", "10.10.10.1", 1883),
    ("tls_2_reasms.pcapng", "tcp", "192.91.186.174", 443),
    ("tls_missing_ch_frag.pcap", "tcp", "10.10.10.1", 443),
    ("tls_multiple_synack_different_seq.pcapng", "tcp", "10.10.10.1", 443),
}


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
    services, addresses, asked, answered = set(), set(), set(), set()
    for row in rows(path):
        src, dst = row["ip.src"] or row["ipv6.src"], row["ip.dst"] or row["ipv6.dst"]
        proto = transport(row)
        addresses.update(a for a in (src, dst) if a)
        if not src or proto is None:
            continue
        a = (src, int(row[proto + ".srcport"]))
        b = (dst, int(row[proto + ".dstport"]))
        flags = int(row["tcp.flags"], 16) & 0x12 if proto == "tcp" and row["tcp.flags"] else 0
        if (proto, b, a) in asked and (proto != "tcp" or flags == 0x12):
            services.add((proto,) + a)
        elif flags == 0x12:
            answered.add((a, b))
        elif (a, b) in answered and flags == 0x10:  # its client's answer went another way
            services.add((proto,) + a)
        elif proto != "tcp" or flags == 0x02:
            asked.add((proto, a, b))
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
            problems += [f"invented {s}" for s in sorted(got - services)
                         if (name,) + s not in EXPLAINED]
        for p in problems:
            print(f"# {p}")
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {n} - {name}")
    print(f"# {total} services")
    print(f"{'ok' if total > 0 else 'not ok'} {len(captures) + 1} - there were services to find")
    sys.exit(1 if failed else 0)


main()
