#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One pcapng with an interface for each link type that tshark can read IP from by itself: `nanoseg learn` finds the services
that tshark finds. Every link has a port of its own. What tshark cannot read (switch tags, MPLS as the link ...) is in
test-frame alone."""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

NANOSEG = os.path.join(os.environ.get("top_builddir", "."), "cli/nanoseg")
FIRST_PORT = 20000
MAC = "020000000001 020000000002 "
SNAP = "aaaa03 000000 0800"
WLAN = "0801 0000" + MAC + "020000000003 0000"
PRISM = struct.pack("<II16s120x", 0x44, 144, b"wlan0").hex()
PKTAP = struct.pack("<III96x", 108, 1, 1).hex()
CALLS = "82828282828260" + "84848484848461"

# What stands before IPv4; LEN, LEN2, LEN8: its length, with 2 and 8 bytes more; LE4: with 4 more, low byte first.
LINKS = [
    ("BSD loopback", 0, "02000000"), ("BSD loopback, big endian", 0, "00000002"), ("OpenBSD loopback", 108, "00000002"),
    ("Ethernet", 1, MAC + "0800"), ("VLAN", 1, MAC + "8100 0005 0800"), ("QinQ", 1, MAC + "88a8 0005 8100 0006 0800"),
    ("MPLS", 1, MAC + "8847 00010140"), ("PPPoE", 1, MAC + "8864 11 00 0001 LEN2 0021"),
    ("802.3", 1, MAC + "LEN8" + SNAP), ("802.1H", 1, MAC + "LEN8 aaaa03 0000f8 0800"),
    ("Cisco's metadata", 1, MAC + "8909 01010001 0001 0800"), ("VN-Tag", 1, MAC + "8926 00000000 0800"),
    ("MAC in MAC", 1, MAC + "88e7 00000001" + MAC + "0800"), ("E-Tag", 1, MAC + "893f 0000 0000 0000 0800"),
    ("HSR", 1, MAC + "892f 0040 0001 0800"), ("token ring", 6, "1040" + MAC + SNAP), ("PPP", 9, "ff03 0021"),
    ("FDDI", 10, "50" + MAC + SNAP), ("RFC 1483", 100, SNAP),
    ("ATM, bridged", 100, "aaaa03 0080c2 0007 0000" + MAC + "0800"),
    ("raw", 101, ""), ("raw, another number", 12, ""), ("enc", 109, "02000000 00000001 00000000"),
    ("PPP in HDLC framing", 50, "ff03 0021"), ("PPPoE as the link", 51, "11 00 0001 LEN2 0021"),
    ("Symantec", 99, "000000000000 0800" + 36 * "00"), ("Cisco HDLC", 104, "0f00 0800"),
    ("of NetBSD", 112, "0f00 0800"),
    ("Cisco HDLC, bridged", 104, "0f00 6558" + MAC + "0800"), ("frame relay", 107, "1841 03 cc"),
    ("frame relay, bridged", 107, "1841 03 00 80 0080c2 0007" + MAC + "0800"),
    ("802.11", 105, WLAN + SNAP), ("radiotap", 127, "0000 0800 00000000" + WLAN + SNAP),
    ("Prism", 119, PRISM + WLAN + SNAP),
    ("AVS", 163, "80211001 00000040" + 56 * "00" + WLAN + SNAP), ("PPI", 192, "0000 0800 69000000" + WLAN + SNAP),
    ("cooked", 113, "0000 0001 0006 020000000001 0000 0800"),
    ("cooked 2", 276, "0800 0000 0000002a 0001 00 06 020000000001 0000"), ("pflog", 117, "3d 02 0000" + 60 * "00"),
    ("fibre channel", 122, "1000000000000001 1000000000000002" + SNAP), ("SunATM", 123, "82 00 0021" + SNAP),
    ("TZSP", 128, "0100 0001 01" + MAC + "0800"), ("Juniper ATM 1", 137, "4d4743 00 00000000" + SNAP),
    ("Juniper ATM 2", 135, "4d4743 00 0000000000000000" + SNAP), ("Juniper Ethernet", 178, "4d4743 00" + MAC + "0800"),
    ("Juniper PPPoE", 167, "4d4743 00" + MAC + "8864 11 00 0001 LEN2 0021"),
    ("Juniper PPP", 179, "4d4743 00 ff03 0021"),
    ("Juniper frame relay", 180, "4d4743 00 1841 03 cc"), ("Juniper HDLC", 181, "4d4743 00 0f00 0800"),
    ("FireWire", 138, "0200000000000001 0200000000000002 0800"), ("PPP with a direction", 204, "01 ff03 0021"),
    ("IPNET", 226, "01 02 0000 0000 LEN 00000001 00000001 00000000 00000000"), ("IPv4", 228, ""),
    ("nflog", 239, "02 00 0001 LE4 0900"), ("netANALYZER", 240, "00040c00" + MAC + "0800"),
    ("InfiniBand", 242, "60000000 0000 00 00" + 32 * "00" + "0800 0000"), ("PKTAP", 258, PKTAP + MAC + "0800"),
    ("MACsec, not encrypted", 1, MAC + "88e5 20 00 00000001 0200000000010001 0800"),
    ("MACsec, without its channel", 1, MAC + "88e5 00 00 00000001 0800"),
    ("NSH", 1, MAC + "894f 0fc2 0201 00000100"), ("NSH with metadata", 1, MAC + "894f 0fc6 0101 00000100" + 16 * "00"),
    ("NSH, bridged", 1, MAC + "894f 0fc2 0203 00000100" + MAC + "0800"), ("802.1CB", 1, MAC + "f1c1 0000 0001 0800"), ("cooked radiotap", 113,
     "0000 0323 0006 020000000001 0000 0004 0000 0800 00000000" + WLAN + SNAP),
    ("ARCNET", 7, "0102 d4 00 0001"), ("ARCNET, an exception", 7, "0102 d4 ff 0000 d4 00 0001"),
    ("ARCNET, RFC 1051", 7, "0102 f0"), ("ARCNET of Linux", 129, "0102 0000 d4 00 0001"),
    ("AX.25", 3, CALLS + "03 cc"), ("AX.25 of a modem", 202, "00" + CALLS + "03 cc"),
    ("Juniper multilink PPP", 130, "4d4743 01 0021"), ("EBHSCR", 279, "50" + 31 * "00" + MAC + "0800"),
]


def packet(src, dst, sport, dport):
    udp = struct.pack(">HHHH", sport, dport, 16, 0) + b"datagram"
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + src + dst
    words = sum(struct.unpack(">10H", head))
    words = (words & 0xffff) + (words >> 16)
    return head[:10] + struct.pack(">H", ~((words & 0xffff) + (words >> 16)) & 0xffff) + head[12:] + udp


def frame(prefix, ip):
    for word, n in (("LEN2", len(ip) + 2), ("LEN8", len(ip) + 8), ("LEN", len(ip))):
        prefix = prefix.replace(word, f"{n:04x}")
    return bytes.fromhex(prefix.replace("LE4", struct.pack("<H", len(ip) + 4).hex())) + ip


def block(kind, body):
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def capture():
    client, server = bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2])
    out = block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1))
    for _, link, _ in LINKS:
        out += block(1, struct.pack("<HHI", link, 0, 0))
    for i, (_, _, prefix) in enumerate(LINKS):
        port = FIRST_PORT + i
        for ip in (packet(client, server, 40000, port), packet(server, client, port, 40000)):
            data = frame(prefix, ip)
            out += block(6, struct.pack("<IIIII", i, 0x60a00, 0, len(data), len(data)) + data)
    return out


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "links.pcapng")
        with open(path, "wb") as f:
            f.write(capture())
        r = subprocess.run([NANOSEG, "learn", "--pcap", path, "-o", "json"], capture_output=True, text=True, timeout=60)
        ours = {s["port"] for s in json.loads(r.stdout)["services"] if s["address"] == "10.9.0.2"}
        theirs = None
        if shutil.which("tshark") is not None:
            t = subprocess.run(["tshark", "-n", "-r", path, "-T", "fields", "-e", "udp.srcport", "ip.src == 10.9.0.2"],
                               capture_output=True, text=True, timeout=60)
            theirs = {int(line) for line in t.stdout.split() if line.isdigit()}
    print(f"1..{len(LINKS)}")
    failed = 0
    for i, (name, link, _) in enumerate(LINKS):
        port = FIRST_PORT + i
        ok = port in ours and (theirs is None or port in theirs)
        failed += not ok
        seen = "" if theirs is None else f", tshark {'does' if port in theirs else 'does not'}"
        print(f"{'ok' if ok else 'not ok'} {i + 1} - {name} ({link})" + ("" if ok else f": found {port in ours}{seen}"))
    sys.exit(1 if failed else 0)


main()
