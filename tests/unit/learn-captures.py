#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every capture beside the source tree through `nanoseg learn` and through tshark: the services
found (server address, protocol, port) are the same, in the list of services, and with --exact in the edges; of the
edges that sum up, each service is in one and each has a service. Every address is a workload of its own here, so
that no server is summed up with others. tshark judges by itself: a TCP server is who sent a SYN and ACK in
what tshark takes for one conversation, and that has gone on after it (tcp.completeness); of other
protocols it is one whose address and port answered the first packet. What is flagged, for it is not proven, has
to be such that tshark does not disprove it: no SYN of either end, or one side alone."""
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
          "frame.protocols", "frame.time_epoch"]

# Of tcp.completeness: an ACK, data, a FIN. A SYN and its answer alone are what a flood or a scan leaves behind.
WENT_ON = 4 | 8 | 16
SYN, RST, ACK = 2, 4, 16
ONE_WAY_FRAMES, ONE_WAY_S = 10, 60


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


class Conversation:
    """What tshark saw of one, by the two ends."""

    def __init__(self):
        self.server, self.complete, self.first, self.times = None, 0, None, []
        self.asked, self.spoke, self.sent = set(), set(), set()

    def add(self, a, row):
        flags = int(row["tcp.flags"] or "0", 16)
        self.first = self.first or a
        self.times.append(float(row["frame.time_epoch"]))
        self.sent.add(a)
        self.complete |= int(row["tcp.completeness"] or 0)
        if flags & (SYN | ACK) == SYN | ACK:
            self.server = a
        elif flags & SYN:
            self.asked.add(a)
        if not flags & (SYN | RST):
            self.spoke.add(a)

    def may_be_served_by(self, end):
        """Nothing here says that end is not the server."""
        if self.server is None and not self.asked:
            return True
        return self.sent == self.asked == self.spoke and end not in self.sent


def expected(path):
    """The services, those that may be, and the addresses."""
    services, addresses, asked, streams, unproven = set(), set(), {}, {}, set()
    for row in rows(path):
        src, dst = row["ip.src"] or row["ipv6.src"], row["ip.dst"] or row["ipv6.dst"]
        proto = transport(row)
        addresses.update(a for a in (src, dst) if a)
        if not src or proto is None:
            continue
        a = (src, int(row[proto + ".srcport"]))
        b = (dst, int(row[proto + ".dstport"]))
        if proto == "tcp":
            streams.setdefault((row["tcp.stream"], frozenset((a, b))), Conversation()).add(a, row)
        elif (proto, b, a) in asked:
            services.add((proto,) + a)
        else:
            asked.setdefault((proto, a, b), []).append(float(row["frame.time_epoch"]))
    for (_, ends), c in streams.items():
        if c.server is not None and c.complete & WENT_ON:
            services.add(("tcp",) + c.server)
        unproven.update(("tcp",) + end for end in ends if c.may_be_served_by(end))
    unproven.update((proto,) + b for (proto, _, b), at in asked.items()
                    if len(at) >= ONE_WAY_FRAMES and max(at) - min(at) >= ONE_WAY_S)
    return services, unproven, addresses


def learn(path, addresses, *args):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"workloads": [{"name": "at-" + str(ipaddress.ip_address(a)), "addresses": [a]}
                                 for a in sorted(addresses)]}, f)
        f.flush()
        r = subprocess.run([NANOSEG, "learn", "--pcap", path, "--map", f.name, "-o", "json", *args],
                           capture_output=True, text=True, timeout=120)
    return (json.loads(r.stdout) if r.returncode == 0 else None), r.stderr.strip()


def service_of(edge):
    return edge["proto"], edge["to"].replace("workload:at-", ""), edge.get("port", edge.get("ports"))


def serves(edge, service):
    proto, address, ports = service_of(edge)
    lo, _, hi = str(ports).partition("-")
    return (proto, address) == service[:2] and int(lo) <= service[2] <= int(hi or lo)


def compare(services, unproven, answer, exact):
    """Everything in which they differ."""
    told = {(s["proto"], s["address"], s["port"]): s["flags"] for s in answer["services"]}
    edges = [e for e in answer["edges"] if "port" in e or "ports" in e]
    apart = {service_of(e): e["flags"] for e in exact["edges"] if "port" in e}
    for what, got in ("service", told), ("exact edge", apart):
        proven = {s for s, flags in got.items() if not flags}
        yield from (f"missed {what} {s}" for s in sorted(services - proven))
        yield from (f"invented {what} {s}" for s in sorted(proven - services))
        yield from (f"unproven {what} {s} {got[s]}" for s in sorted(set(got) - proven - unproven))
    yield from (f"in no edge: {s}" for s in sorted(told) if not any(serves(e, s) for e in edges))
    yield from (f"edge without a service: {service_of(e)}" for e in edges if not any(serves(e, s) for s in told))
    yield from (f"edge that is proven by none: {service_of(e)}" for e in edges
                if "port" in e and not e["flags"] and service_of(e) not in services)


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
        services, unproven, addresses = expected(path)
        services, unproven = canonical(services), canonical(unproven)
        answer, error = learn(path, addresses)
        exact, more = learn(path, addresses, "--exact")
        problems = [error or more]
        if answer is not None and exact is not None:
            total += len(services)
            problems = list(compare(services, unproven, answer, exact))
        for p in problems:
            print(f"# {p}")
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {n} - {name}")
    print(f"# {total} services")
    print(f"{'ok' if total > 0 else 'not ok'} {len(captures) + 1} - there were services to find")
    sys.exit(1 if failed else 0)


main()
