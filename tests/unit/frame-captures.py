#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every packet of the captures beside the source tree, through frame_parse() and through tshark."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

SRC = os.environ.get("top_srcdir", ".")
BUILD = os.environ.get("top_builddir", ".")
DUMP = os.path.join(BUILD, "tests/unit/frame-dump")
FOLDER = os.environ.get("NANOSEG_CAPTURES", os.path.join(SRC, "../shared/data/pcap"))

FIELDS = ["frame.number", "ip.src", "ip.dst", "ip.proto", "ipv6.src", "ipv6.dst",
          "tcp.srcport", "tcp.dstport", "tcp.flags", "udp.srcport", "udp.dstport",
          "icmp.type", "icmp.code", "icmpv6.type", "icmpv6.code", "frame.protocols"]

MALFORMED = ["kerberos_fuzz.pcapng"]  # a TCP header that is longer than its packet


def run_dump(folder, files):
    r = subprocess.run([DUMP, folder] + files, capture_output=True, text=True, timeout=60)
    packets = {}
    for line in r.stdout.splitlines():
        link, number, *rest = line.split()
        packets.setdefault(link, {})[int(number)] = rest
    return r, packets


def run_tshark(path):
    cmd = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "occurrence=f", "-o",
           "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]
    for field in FIELDS:
        cmd += ["-e", field]
    r = subprocess.run(cmd, capture_output=True, text=True, timeout=120)
    return [dict(zip(FIELDS, line.split("\t"))) for line in r.stdout.splitlines()]


def expected(row):
    """(src, dst, proto, sport, dport, flags) as tshark has it, None where it has no ports."""
    layers = row["frame.protocols"].split(":")
    try:
        at = next(i for i, l in enumerate(layers) if l in ("ip", "ipv6"))
    except StopIteration:
        return None
    family = layers[at]
    above = [l for l in layers[at + 1:] if not l.startswith("ipv6.")]
    transport = above[0] if above else ""
    src, dst = row[family + ".src"], row[family + ".dst"]
    if transport == "tcp" and row["tcp.srcport"]:
        flags = int(row["tcp.flags"], 16) & 0xff if row["tcp.flags"] else 0
        return src, dst, 6, int(row["tcp.srcport"]), int(row["tcp.dstport"]), flags
    if transport == "udp" and row["udp.srcport"]:
        return src, dst, 17, int(row["udp.srcport"]), int(row["udp.dstport"]), 0
    if transport in ("icmp", "icmpv6") and row[transport + ".type"]:
        kind = int(row[transport + ".type"]) << 8 | int(row[transport + ".code"] or 0)
        return src, dst, 1 if transport == "icmp" else 58, None, kind, 0
    return None


def compare(path, packets):
    compared, problems = 0, []
    rows = run_tshark(path)
    if len(rows) != len(packets):
        return 0, [f"libpcap read {len(packets)} packets, tshark {len(rows)}"]
    for row in rows:
        want = expected(row)
        name, result, *got = packets[int(row["frame.number"])]
        where = f"{name}: packet {row['frame.number']} of {os.path.basename(path)}"
        if want is None or (result != "0" and name in MALFORMED):
            continue
        if result != "0":
            problems.append(f"{where}: error {result}, tshark: {want}")
            continue
        have = got[:2] + [int(x) for x in got[2:6]]
        compared += 1
        if want[3] is None:
            have[3] = None
        if tuple(have) != want:
            problems.append(f"{where}: {have}, tshark: {want}")
    return compared, problems


def main():
    files = sorted(f for f in glob.glob(os.path.join(FOLDER, "*")) if "cap" in f)
    if not files:
        print("1..0 # SKIP no captures beside the source tree")
        return 0
    print("1..2")
    with tempfile.TemporaryDirectory() as folder:
        r, links = run_dump(folder, files)
        total = sum(len(p) for p in links.values())
        good = sum(1 for p in links.values() for row in p.values() if row[1] == "0")
        ok = r.returncode == 0 and good > 0
        print(f"# {len(files)} files, {total} packets, {good} tuples")
        print(f"{'ok' if ok else 'not ok'} 1 - every packet is parsed, and stays inside its bytes")
        if shutil.which("tshark") is None:
            print("ok 2 - tuples agree with tshark # SKIP no tshark")
            return 0 if ok else 1
        compared, problems = 0, []
        for link, packets in links.items():
            n, bad = compare(os.path.join(folder, link + ".pcap"), packets)
            compared += n
            problems += bad
    for p in problems[:20]:
        print("# " + p)
    print(f"# {compared} compared, {len(problems)} differ")
    agree = compared > 0 and not problems
    print(f"{'ok' if agree else 'not ok'} 2 - tuples agree with tshark")
    return 0 if ok and agree else 1


if __name__ == "__main__":
    sys.exit(main())
