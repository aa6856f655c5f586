# SPDX-License-Identifier: GPL-2.0-or-later
"""Many namespaces on one bridge, on a machine of the test's own (alonelib)."""
import os

from nslab import run


def bridge():
    os.makedirs("/run/netns")
    for args in (("add", "br0", "type", "bridge"), ("set", "br0", "up")):
        run("ip", "link", *args)


def addr(k):
    return "10.90.%d.%d" % (1 + k // 250, 1 + k % 250)


def start(k, name):
    """A namespace with addr(k). Two programs: with one for each command most of the time is theirs."""
    run("ip", "-batch", "-", stdin=None, input=(
        "netns add %s\nlink add v%d type veth peer name eth0 netns %s\nlink set v%d master br0 up\n"
        % (name, k, name, k)).encode())
    run("ip", "-n", name, "-batch", "-", stdin=None, input=(
        "link set lo up\naddr add %s/16 dev eth0\nlink set eth0 up\n" % addr(k)).encode())


def behind(api, names):
    """Which of them are not enforced with their addresses by the newest revision."""
    s = api.get("/v1/status")
    good = {w["name"] for w in s["workloads"] if w["mode"] == "enforce" and w["instances"] and
            all(i["addresses"] and i["appliedRevision"] == s["revision"] for i in w["instances"])}
    return [n for n in names if n not in good]
