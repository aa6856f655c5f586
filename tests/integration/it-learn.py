#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nanoseg learn as people call it: files that are whole, cut, damaged or none, every form, standard
input, a terminal. Needs no root and no captures but those it makes."""
import bz2
import gzip
import json
import lzma
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("top_builddir", ".")
NANOSEG = os.path.abspath(os.path.join(BUILD, "cli/nanoseg"))
SYN, ACK = 2, 16
tests = failed = 0


def check(name, why=None):
    global tests, failed
    tests += 1
    if why:
        failed += 1
        for line in str(why).splitlines()[:20]:
            print("# " + line.encode("ascii", "backslashreplace").decode())
    print("%s %d - %s" % ("not ok" if why else "ok", tests, name), flush=True)


def ip(text):
    return bytes(int(x) for x in text.split("."))


def tcp(src, sport, dst, dport, flags):
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, ip(src), ip(dst)) + \
        struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, 8192, 0, 0)


def handshake(src, sport, dst, dport):
    return [tcp(src, sport, dst, dport, SYN), tcp(dst, dport, src, sport, SYN | ACK),
            tcp(src, sport, dst, dport, ACK)]


def pcap(frames, link=101, when=1700000000):
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)]
    for f in frames:
        parts.append(struct.pack("<IIII", when, 0, len(f), len(f)) + f)
    return b"".join(parts)


def block(kind, body):
    body += b"\0" * (-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


SECTION = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(link, snaplen=0):
    return block(1, struct.pack("<HHI", link, 0, snaplen))


def enhanced(f, at=0):
    return block(6, struct.pack("<IIIII", at, 1, 1, len(f), len(f)) + f + b"\0" * (-len(f) % 4))


def pcapng(frames, link=101):
    return SECTION + interface(link) + b"".join(enhanced(f) for f in frames)


def learn(*args, stdin=b"", stdout=subprocess.PIPE):
    r = subprocess.run([NANOSEG, "learn", *args], input=stdin, stdout=stdout,
                       stderr=subprocess.PIPE, timeout=60, check=False)
    return r.returncode, (r.stdout or b"").decode(), r.stderr.decode()


class Files:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        return path


def one_edge(out):
    return [(e["from"], e["to"], e["proto"], e["port"], e["state"], e["connections"])
            for e in json.loads(out)["edges"]]


def test_forms(file):
    talk = handshake("10.0.0.1", 5, "10.0.0.2", 80)
    plain = file("a.pcap", pcap(talk))
    want = [("addr:10.0.0.1", "addr:10.0.0.2", "tcp", 80, "pending", 1)]
    for name, path in (("pcap", plain), ("pcapng", file("a.pcapng", pcapng(talk)))):
        code, out, err = learn("--pcap", path, "-o", "json")
        check("%s: its edge" % name, None if (code, err, one_edge(out)) == (0, "", want)
              else (code, out, err))
    code, out, err = learn("--pcap", "-", "-o", "json", stdin=pcap(talk))
    check("standard input", None if code == 0 and one_edge(out) == want else (code, out, err))
    edge = json.loads(out)["edges"][0]
    check("an edge has its evidence", None if edge["bytes"] == 120 and edge["flags"] == [] and
          edge["firstSeen"] == "2023-11-14T22:13:20.000Z" else edge)
    code, out, err = learn("--pcap", plain)
    check("table", None if code == 0 and "tcp/80" in out and
          out.splitlines()[-1] == "3 frames, 0 malformed, 0 without a connection, 1 answered connection, 0 attempts"
          else (out, err))
    gre = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 24, 1, 0, 64, 47, 0, ip("10.0.0.1"), ip("10.0.0.2")) + bytes(4)
    for n, s in (1, ""), (2, "s"):
        frames = [tcp("10.0.0.1", 4000 + k, "10.0.0.2", 80, SYN) for k in range(n)]
        out = learn("--pcap", file("n.pcap", pcap(frames + [gre] * n)))[1]
        check("%d of each: the words agree" % n, None if " %d attempt%s\n" % (n, s) in out and
              "10.0.0.2, %d frame%s: what" % (n, s) in out else out)
    out = learn("--pcap", file("one.pcap", pcap(frames[:1])))[1]
    check("a single frame is one", None if out.splitlines()[-1].startswith("1 frame, ") else out)
    map_file = file("m.yaml", "workloads:\n - {name: shop/web, addresses: [10.0.0.1]}\n"
                    " - {name: \"two\\nlines\", addresses: [10.0.0.0/24]}\n")
    code, out, err = learn("--pcap", plain, "--map", map_file, "-o", "policy")
    check("policy: has the workloads", None if code == 0 and "shop/web" in out else (code, out, err))
    r = subprocess.run([NANOSEG, "policy", "validate", "-"], input=out.encode(), check=False,
                       capture_output=True, timeout=60)
    check("policy: is valid", None if r.returncode == 0 and b"1 edge" in r.stdout else r)
    with open("/dev/null", "wb") as null:
        code, _, err = learn("--pcap", plain, stdout=null)
    check("into /dev/null", None if code == 0 else (code, err))
    with open("/dev/full", "wb") as full:
        code, _, err = learn("--pcap", plain, stdout=full)
    check("a full disk is an error", None if code == 1 else (code, err))


def test_interfaces(file):
    talk = handshake("10.0.0.1", 5, "10.0.0.2", 80)
    eth = [bytes.fromhex("0200000000010200000000020800") + f for f in handshake("10.0.0.1", 6, "10.0.0.2", 81)]
    data = SECTION + interface(101) + interface(1, 96) + interface(189) + b"".join(enhanced(f) for f in talk) + \
        b"".join(enhanced(f, 1) for f in eth) + enhanced(b"x" * 80, 2) + \
        SECTION + interface(1) + b"".join(enhanced(f) for f in eth)
    code, out, err = learn("--pcap", file("two.pcapng", data), "-o", "json")
    got = json.loads(out)
    check("pcapng: interfaces of several links and lengths, and a second section",
          None if code == 0 and sorted((e["port"], e["connections"]) for e in got["edges"]) == [(80, 1), (81, 1)] and
          got["frames"] == 10 and got["malformed"] == 0 and got["truncated"] is False and got["truncatedWhy"] is None and
          err.count("USB") == 1 else (code, out, err))
    for what, end in (("cut in a block", data[:-30]), ("with a block of no length", data + bytes(8))):
        code, out, err = learn("--pcap", file("cut.pcapng", end), "-o", "json")
        got = json.loads(out)
        check("pcapng %s: what there is, and that it is not all" % what,
              None if code == 0 and got["truncated"] is True and "cannot be read" in got["truncatedWhy"] and
              len(got["edges"]) == 2 and got["truncatedWhy"] in err else (code, out, err))
        code, out, err = learn("--pcap", os.path.join(file.folder, "cut.pcapng"))
        check("and the table ends with it", None if code == 0 and "cannot be read" in out.splitlines()[-1]
              else (code, out, err))


def test_services(file):
    """Each service is told exactly, whatever its edge sums up."""
    talks = [("10.0.0.1", 1024 + k, "10.0.0.2", 40000 + 3 * k) for k in range(200)]
    talks += [("10.0.0.1", 2000, "198.51.100.7", 443), ("10.0.0.3", 2000, "198.51.100.7", 443)]
    path = file("services.pcap", pcap([f for t in talks for f in handshake(*t)]))
    want = {(dst, port) for _, _, dst, port in talks}
    got = json.loads(learn("--pcap", path, "-o", "json")[1])
    check("200 ports are few edges", None if len(got["edges"]) < 20 else len(got["edges"]))
    check("and services of their own, with the internet's addresses",
          None if len(got["services"]) == len(want) and
          {(s["address"], s["port"]) for s in got["services"]} == want and
          sum(s["connections"] for s in got["services"]) == len(talks) and
          all(s["proto"] == "tcp" and s["flags"] == [] for s in got["services"]) and
          got["otherServiceConnections"] == 0 else got["services"][:3])
    code, out, err = learn("--pcap", path, "--exact", "-o", "json")
    got = json.loads(out)
    check("--exact: each is an edge", None if code == 0 and
          {(e["to"].replace("addr:", ""), e["port"]) for e in got["edges"]} == want and len(got["edges"]) == len(want) + 1
          else (code, err, len(got["edges"]), got["edges"][:3]))


def status_of(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def child_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(x) for x in f.read().split()]


def confinement(pid, want, deadline_s=30):
    """What /proc says of the reader, as soon as it is as wanted, or in the end."""
    end, got = time.monotonic() + deadline_s, None
    while got != want and time.monotonic() < end:
        time.sleep(0.02)
        children = child_of(pid)
        if children:
            status = status_of(children[0])
            got = {key: status.get(key) for key in want}
    return got


def test_confined():
    """While it waits for more of the capture, the reader has nothing left to gain by it."""
    with open(os.path.join(BUILD, "config.h")) as f:
        sanitized = re.search(r"^#define WITH_SANITIZERS 1", f.read(), re.M)
    want = {"NoNewPrivs": "1"}
    if not sanitized:
        want["Seccomp"] = "2"
    if os.geteuid() == 0:
        want.update({"Uid": "\t".join(["65534"] * 4), "Gid": "\t".join(["65534"] * 4), "Groups": " ",
                     "CapPrm": "0" * 16, "CapEff": "0" * 16})
    data = pcap(handshake("10.0.0.1", 5, "10.0.0.2", 80))
    with subprocess.Popen([NANOSEG, "learn", "--pcap", "-", "-o", "json"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        p.stdin.write(data[:-7])
        p.stdin.flush()
        got = confinement(p.pid, want)
        check("the reader is confined while it reads", None if got == want else (got, want))
        out, err = p.communicate(data[-7:], timeout=60)
    check("and ends as it should", None if p.returncode == 0 and len(json.loads(out)["edges"]) == 1
          else (p.returncode, out, err))


def test_input(file):
    talk = handshake("10.0.0.1", 5, "10.0.0.2", 80)
    cut = file("cut.pcap", pcap(talk + talk)[:-5])
    code, out, err = learn("--pcap", cut, "-o", "json")
    check("a file that ends in a frame: what there is, and a warning",
          None if code == 0 and "frame 5" in err and json.loads(out)["frames"] == 5 and json.loads(out)["truncated"]
          else (code, out, err))
    code, out, err = learn("--pcap", file("bad.pcap", pcap([b"\x45", b"", b"\x60" * 9] + talk)),
                           "-o", "json")
    got = json.loads(out)
    check("malformed frames are counted", None if code == 0 and got["malformed"] == 3 and
          len(got["edges"]) == 1 else (code, out, err))
    code, out, err = learn("--pcap", file("usb.pcap", pcap([b"x" * 80], link=189)), "-o", "json")
    check("a link without addresses: counted, and said", None if code == 0 and "USB" in err and
          json.loads(out)["frames"] == 1 else (code, out, err))
    for name, data, said in (("empty", b"", "the file is empty"), ("text", b"hello\n" * 50, "neither pcap"),
                             ("zeros", bytes(400), "neither pcap"),
                             ("cut", pcap(talk)[:9], "in the middle"),
                             ("gzip", gzip.compress(pcap(talk)), "it is compressed"),
                             ("bzip2", bz2.compress(pcap(talk)), "it is compressed"),
                             ("xz", lzma.compress(pcap(talk)), "it is compressed"),
                             ("zstd", b"\x28\xb5\x2f\xfd" + bytes(60), "it is compressed")):
        code, out, err = learn("--pcap", file(name, data))
        check("no capture: " + name, None if code == 2 and said in err and not out else (code, out, err))
    far = pcap(talk, when=0xFFFFFFFF)
    code, out, err = learn("--pcap", file("far.pcap", far), "-o", "json")
    check("a clock far ahead", None if code == 0 and len(json.loads(out)["edges"]) == 1
          else (code, out, err))
    code, out, err = learn("--pcap", os.path.join(file.folder, "missing"))
    check("no such file", None if code == 2 and "No such file" in err else (code, err))
    code, out, err = learn("--pcap", file.folder)
    check("a folder", None if code == 2 else (code, err))
    for what, text, said in (
            ("two workloads of one address",
             "workloads: [{name: a, addresses: [10.0.0.1]}, {name: b, addresses: [10.0.0.1]}]",
             "another workload"),
            ("a prefix with host bits", "workloads: [{name: a, addresses: [10.0.0.1/24]}]", ":1:"),
            ("a name that is a number", "workloads: [{name: 5, addresses: [10.0.0.1]}]", ":1:"),
            ("no list", "{}", "workloads"),
            ("an unknown key", "workloads: []\nworkload: x", ":2:")):
        code, out, err = learn("--pcap", file("x.pcap", pcap(talk)), "--map", file("m", text))
        check("map: " + what, None if code == 2 and said in err and not out else (code, out, err))
    for args in ([], ["--pcap"], ["--pcap", "x", "y"], ["--pcap", "x", "-o", "csv"],
                 ["--pcap", "-", "--map", "-"]):
        code, out, err = learn(*args)
        check("usage: '%s'" % " ".join(args), None if code == 2 and err else (code, out, err))


def test_bounds(file):
    scan = [tcp("10.0.0.1", 40000, "10.0.0.2", port, SYN) for port in range(1, 65536)]
    code, out, err = learn("--pcap", file("scan.pcap", pcap(scan)), "-o", "json")
    got = json.loads(out)
    check("a scan of 65,535 ports: no edge", None if code == 0 and got["edges"] == [] and
          got["attempts"] == 65535 else (code, {k: v for k, v in got.items() if k != "edges"}))
    # More are open at once than are followed, and more tunnels than are listed.
    many = [tcp("10.0.%d.1" % (k // 60000), 1 + k % 60000, "10.0.99.2", 80, SYN) for k in range(270000)]
    many += [struct.pack("!BBHHHBBH4s4s", 0x45, 0, 24, 1, 0, 64, 47, 0, ip("10.0.0.1"),
                         ip("10.1.%d.%d" % (k // 250, k % 250))) + bytes(4) for k in range(300)]
    path = file("many.pcap", pcap(many))
    for form in "table", "policy":
        code, out, err = learn("--pcap", path, "-o", form)
        check("%s: what was forgotten is said" % form,
              None if code == 0 and "forgotten before their end" in err else (code, out[-300:], err))
        if form == "table":
            check("tunnels for which the list has no room are counted",
                  None if out.count("tunnel gre") == 256 and "44 frames of more tunnels" in out else out[-300:])
    flood = [f for k in range(30000)
             for f in handshake("198.18.%d.%d" % (k >> 8, k & 255), 1024, "10.0.0.2", 80)[:2]]
    code, out, err = learn("--pcap", file("flood.pcap", pcap(flood)), "-o", "json")
    got = json.loads(out)
    check("30,000 SYNs that are answered and not taken up: no edge", None if code == 0 and got["edges"] == [] and
          got["attempts"] == 30000 else (code, {k: v for k, v in got.items() if k != "edges"}))


def peak(*args):
    """The most memory that a command had, in KB, and what it said. A process begins with the most that
    its parent ever had, so the parent is a small one."""
    small = "import resource as r, subprocess as s, sys; s.run(sys.argv[1:], check=True); " \
        "print(r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    r = subprocess.run([sys.executable, "-c", small, NANOSEG, "learn", *args],
                       capture_output=True, timeout=60, check=True)
    return int(r.stderr.split()[-1]), r.stdout.decode()


def test_generalisation(file):
    def lan(k):
        return "10.%d.%d.%d" % (20 + k // 62500, k // 250 % 250, 1 + k % 250)

    def net(k):
        return "198.18.%d.%d" % (k // 250, 1 + k % 250)

    web = file("g.yaml", "workloads: [{name: web, addresses: [10.0.0.1]}, "
                         "{name: db, addresses: [10.0.0.2]}]")
    small, _ = peak("--pcap", file("s.pcap", pcap(handshake("10.0.0.1", 5, "10.0.0.2", 80))))
    for what, talks, edges, said in (
            ("10,000 client ports", [("10.0.0.1", 1024 + k, "10.0.0.2", 80) for k in range(10000)],
             1, None),
            ("10,000 server ports", [("10.0.0.1", 999, "10.0.0.2", 40000 + k * 7 % 10000)
                                     for k in range(10000)], 1, ("ports", 10000)),
            ("5,000 addresses of a CDN", [("10.0.0.1", 1024 + k, net(k), 443) for k in range(5000)],
             1, ("addressesSeen", 5000)),
            ("100,000 clients of a LAN", [(lan(k), 1024, "10.0.0.1", 443) for k in range(100000)],
             8, ("addressesSeen", 100000)),
            ("5,000 servers of a LAN", [("10.0.0.1", 1024, lan(k), 443) for k in range(5000)],
             8, ("addressesSeen", 5000))):
        path = file("g.pcap", pcap([f for t in talks for f in handshake(*t)]))
        kb, out = peak("--pcap", path, "--map", web, "-o", "json")
        got = json.loads(out)
        good = len(got["edges"]) <= edges and got["lost"] == 0 and \
            sum(e["connections"] for e in got["edges"]) == len(talks)
        if said and good:
            seen = sum(e["covers"][said[0]] or 0 for e in got["edges"])
            good = abs(seen - said[1]) < said[1] * 0.3 and \
                all(e["flags"] == ["generalised"] for e in got["edges"])
        check("%s: at most %d edges, with every connection" % (what, edges),
              None if good else got["edges"][:3])
        check("%s: no memory for each of them but what follows it" % what,
              None if kb - small < 60000 else (kb, small))


def simulate(file, talks, edges):
    """What a policy of these edges to or from web would break of a capture: by hand, {(from, to, port): connections}."""
    path = file("s.pcap", pcap([f for t in talks for f in handshake(*t)]))
    names = file("s.yaml", "workloads: [{name: web, addresses: [10.0.0.1]}, {name: db, addresses: [10.0.0.2]}]")
    policy = file("p.json", json.dumps({"apiVersion": "nanoseg/v1", "kind": "SegmentPolicy", "edges": [
        dict(e, proto="tcp", state="approved") for e in edges],
        "workloads": [{"name": "web", "mode": "enforce"}, {"name": "db", "mode": "enforce"}]}))
    r = subprocess.run([NANOSEG, "simulate", "--pcap", path, "--map", names, "-f", policy, "-o", "json"],
                       capture_output=True, timeout=60, check=False)
    got = json.loads(r.stdout)
    return r.returncode, {(e["from"], e["to"], e["port"]): e["connections"] for e in got["broken"]}, got


def test_simulate(file):
    web, db = "workload:web", "workload:db"
    to_db = [("10.0.0.1", 5, "10.0.0.2", 40000 + k) for k in range(200)]
    code, broken, got = simulate(file, to_db, [{"from": "web", "to": "db", "port": 40000}])
    check("simulate: of 200 ports one is approved, 199 break", None if code == 3 and got["brokenConnections"] == 199 and
          broken == {(web, db, 40000 + k): 1 for k in range(1, 200)} else (code, got["brokenConnections"], list(broken)[:3]))
    code, broken, got = simulate(file, to_db, [{"from": "web", "to": "db", "port": "40000-40199"}])
    check("simulate: and none if all are", None if code == 0 and got["coveredConnections"] == 200 else (code, got))
    lan = [("10.5.%d.%d" % (k // 250, 1 + k % 250), 5, "10.0.0.1", 443) for k in range(500)]
    code, broken, got = simulate(file, lan, [{"from": {"cidr": "10.5.0.0/24"}, "to": "web", "port": 443}])
    check("simulate: of 500 clients of a LAN half are approved", None if code == 3 and sum(broken.values()) == 250 and
          broken[("addr:10.5.1.9", web, 443)] == 1 and got["coveredConnections"] == 250
          else (code, sum(broken.values()), list(broken)[:3]))
    out = [("10.0.0.1", 5, "198.51.%d.%d" % (100 + k // 250, 1 + k % 250), 443) for k in range(500)]
    code, broken, got = simulate(file, out, [{"from": "web", "to": {"cidr": "198.51.100.0/24"}, "port": 443}])
    check("simulate: of 500 servers outside half are approved", None if code == 3 and
          broken == {(web, "internet", 443): 250} and got["coveredConnections"] == 250 else (code, broken))


def test_terminal(file):
    frames = handshake("10.0.0.1", 5, "10.0.0.2", 80) * 40000
    path = file("big.pcap", pcap(frames))
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(NANOSEG, [NANOSEG, "learn", "--pcap", path], dict(os.environ, TERM="xterm"))
    data = b""
    while True:
        try:
            got = os.read(fd, 65536)
        except OSError:
            break
        if not got:
            break
        data += got
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    check("on a terminal", None if status == 0 and b"120,000 frames" in data and
          re.search(rb"\r\[#+ +\] +[1-9][0-9]?%  [0-9]+ frames ", data) else (status, data[-500:]))


def main():
    with tempfile.TemporaryDirectory() as folder:
        for test in (test_forms, test_interfaces, test_services, test_input, test_bounds, test_generalisation, test_simulate,
                     test_terminal):
            test(Files(folder))
    test_confined()
    print("1..%d" % tests)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
