#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Learning from a capture beside `tshark -q -z conv,tcp`, in turns on the same file: the median of the
ratios of processor time and of wall time, with the interval that holds it in 95 of 100 cases.

    top_builddir=BUILD bench-learn.py [FRAMES [RUNS]]      (1,000,000 and 15; ends after 280 s)
"""
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time

from benchlib import ordered, text, verdict

NANOSEG = os.path.join(os.environ.get("top_builddir", "."), "cli/nanoseg")
SYN, ACK, FIN, PSH = 2, 16, 1, 8
TIME_LIMIT_S, TARGET = 280, 20


def frame(src, dst, sport, dport, flags, length):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + length, 1, 0, 64, 6, 0, src, dst)
    tcp = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, 8192, 0, 0)
    return bytes.fromhex("0200000000010200000000020800") + ip + tcp + b"x" * length


def write_capture(f, frames):
    """Connections of 20 frames, of 50 clients to 7 servers with 3 ports."""
    f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for n in range(frames // 20):
        c, s = struct.pack("!I", 0x0A000000 + n % 50), struct.pack("!I", 0x0A010000 + n % 7)
        cp, sp = 1024 + n * 7 % 60000, (80, 443, 5432)[n % 3]
        talk = [(c, s, cp, sp, SYN, 0), (s, c, sp, cp, SYN | ACK, 0)]
        talk += [(c, s, cp, sp, PSH | ACK, 200), (s, c, sp, cp, PSH | ACK, 800)] * 8
        talk += [(c, s, cp, sp, FIN | ACK, 0), (s, c, sp, cp, FIN | ACK, 0)]
        for k, args in enumerate(talk):
            data, at = frame(*args), 1700000000 * 10**6 + n * 200 + k * 10
            f.write(struct.pack("<IIII", at // 10**6, at % 10**6, len(data), len(data)) + data)
    f.flush()


def timed(command):
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - began


def main():
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    ours, theirs = [], []
    with tempfile.NamedTemporaryFile(suffix=".pcap", dir="/var/tmp") as f:
        write_capture(f, frames)
        began = time.monotonic()
        while len(ours) < runs and time.monotonic() - began < TIME_LIMIT_S:
            ours.append(timed([NANOSEG, "learn", "--pcap", f.name]))
            theirs.append(timed(["tshark", "-n", "-q", "-z", "conv,tcp", "-r", f.name]))
    print("load %s, %d runs" % (open("/proc/loadavg").read().split()[0], len(ours)))
    for i, what in enumerate(("processor time", "wall time")):
        ratios = [t[i] / o[i] for o, t in zip(ours, theirs)]
        print("%-15s nanoseg %.3f s, tshark %.3f s, tshark/nanoseg %s; %s"
              % (what, ordered([o[i] for o in ours])[0], ordered([t[i] for t in theirs])[0], text(ratios, "", 1),
                 verdict(ratios, at_least=TARGET)))
    print("%d frames, %.1f million a second of processor time"
          % (frames, frames / ordered([o[0] for o in ours])[0] / 1e6))


main()
