#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers of other engines than Docker, live: Podman with and without its service, containerd's own
namespace and Kubernetes', runc by hand. Each gets its name and its members, or is shown by its id."""
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import PREFIX, Lab, Tap, run, wait

t = Tap()
lab = Lab()
TREE = lab.dir + "/tree"
HEX = "%08x" % os.getpid() + os.urandom(28).hex()
# What such a container needs where hard limits cannot be raised and cgroups are those of v1.
LIMITS = lab.dir + "/containers.conf"
FOLDERS = [p for p in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(p)]


def hexid(n):
    return HEX[:-2] + "%02x" % n


def podman(*args, check=True):
    return run("podman", *args, check=check, env=dict(os.environ, CONTAINERS_CONF=LIMITS))


def netns_of(pid):
    try:
        return int(os.readlink("/proc/%s/ns/net" % pid)[5:-1])
    except OSError:
        return None


def quote(text):
    """As one field of CSV, which is how podman reads it."""
    return '"' + text.replace('"', '""') + '"'


def spec(annotations=None, caps=(), cgroup=None, namespaces=()):
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    mounts += [{"destination": p, "type": "bind", "source": p, "options": ["rbind", "ro"]}
               for p in FOLDERS]
    linux = {"namespaces": [{"type": x} for x in ("pid", "ipc", "uts", "mount")] +
             (list(namespaces) or [{"type": "network"}])}
    if cgroup:
        linux["cgroupsPath"] = cgroup
    return {"ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/sleep", "600"],
                        "env": ["PATH=/bin:/usr/bin"], "cwd": "/",
                        "capabilities": {"bounding": list(caps)}},
            "root": {"path": TREE}, "hostname": "h", "mounts": mounts,
            "annotations": annotations or {}, "linux": linux}


def start_daemon(only=None, socket="/nonexistent/podman.sock"):
    d = lab.daemon(start=False, only=only)
    plain = d.argv
    d.argv = lambda *more: plain("--podman-socket", socket, *more)
    d.start()
    return d


def instance(d, workload, seconds=8):
    """The workload and its only instance, once an engine or a file has told what it is."""
    def look():
        w = d.api.workload(workload)
        return w if w and w["instances"] and w["instances"][0]["attached"] else None
    w = wait(look, seconds)
    return (w, w["instances"][0]) if w else (None, None)


def members(i):
    return sorted(m["name"] for m in i["members"]) if i else None


def prepare():
    for p in FOLDERS + ["/proc", "/dev", "/sys", "/run", "/tmp", "/etc"]:
        os.makedirs(TREE + p, exist_ok=True)
    with open(LIMITS, "w", encoding="ascii") as f:
        f.write('[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=1024:1024"]\n')
        if shutil.which("runc"):
            f.write('[engine]\nruntime="runc"\n')


def podman_up():
    """A container, one in its network, a pod with one member, one that claims to be Kubernetes'."""
    if shutil.which("podman") is None:
        return "no podman here"
    image = PREFIX + "-img"
    tar = subprocess.run(["tar", "c", "-C", TREE, "."], capture_output=True, check=True).stdout
    lab.later(podman, "rmi", "-f", image, check=False)
    r = run("podman", "import", "-", image, check=False, stdin=None, input=tar, text=False)
    if r.returncode != 0:
        return "podman cannot import an image"
    box = ["-d", "--network", "none"] + [x for p in FOLDERS for x in ("-v", p + ":" + p + ":ro")]
    sleep = [image, "/bin/sleep", "600"]
    for name in ("j", "a", "admin", "evil"):
        lab.later(podman, "rm", "-f", "-t", "0", PREFIX + "-" + name, check=False)
    lab.later(podman, "rm", "-f", "-t", "0", PREFIX + "-j", check=False)
    r = podman("run", "--name", PREFIX + "-a", *box, *sleep, check=False)
    if r.returncode != 0:
        return "podman cannot run a container: " + r.err.strip()[-80:]
    volumes = box[3:]
    podman("run", "-d", "--name", PREFIX + "-j", "--network", "container:" + PREFIX + "-a", *volumes,
           *sleep)
    podman("run", "--name", PREFIX + "-admin", "--cap-add", "NET_ADMIN", *box, *sleep)
    claim = {"io.container.manager": "cri-o", "io.kubernetes.cri-o.ContainerType": "sandbox",
             "io.kubernetes.cri-o.Labels": json.dumps({"io.kubernetes.pod.namespace": PREFIX + "-kube",
                                                       "io.kubernetes.pod.name": "dns"}),
             "io.kubernetes.cri.sandbox-namespace": PREFIX + "-kube",
             "io.kubernetes.cri.sandbox-name": "dns"}
    podman("run", "--name", PREFIX + "-evil", *box,
           *[x for k, v in claim.items() for x in ("--annotation", quote(k + "=" + v))],
           *["--label=io.kubernetes.pod.namespace=" + PREFIX + "-kube",
             "--label=io.kubernetes.pod.name=dns"], *sleep)
    pod = PREFIX + "-pod"
    lab.later(podman, "pod", "rm", "-f", "-t", "0", pod, check=False)
    podman("pod", "create", "--name", pod, "--network", "none", "--infra-image", image,
           "--infra-command", "/bin/sleep 600", *volumes, check=False)
    # The pod's volumes are its members'.
    r = podman("run", "-d", "--name", PREFIX + "-m", "--pod", pod, *sleep, check=False)
    return None if r.returncode == 0 else "pod: " + r.err.strip()[-80:]


def service_up():
    path = lab.dir + "/podman.sock"
    p = subprocess.Popen(["podman", "system", "service", "-t", "0", "unix://" + path],
                         env=dict(os.environ, CONTAINERS_CONF=LIMITS), stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lab.later(p.wait)
    lab.later(p.kill)
    wait(lambda: os.path.exists(path), 10)
    return p, path


def ctr_up():
    """containerd at its usual place, unless one runs; a container of nerdctl's form, and a pod."""
    if shutil.which("ctr") is None or shutil.which("containerd") is None:
        return "no containerd here"
    if os.path.exists("/run/containerd/containerd.sock"):
        return "a containerd is running already"
    base = lab.dir + "/containerd"
    address = base + ".sock"
    with open(base + ".toml", "w", encoding="ascii") as f:
        f.write('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    p = subprocess.Popen(["containerd", "-c", base + ".toml", "--root", base, "--address", address,
                          "--log-level", "fatal"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lab.later(p.wait)
    lab.later(p.terminate)
    if not wait(lambda: os.path.exists(address), 10):
        return "containerd does not start"

    def ctr(namespace, *args, check=True):
        return run("ctr", "-a", address, "-n", namespace, *args, check=check)

    cri = {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": hexid(2),
           "io.kubernetes.cri.sandbox-namespace": PREFIX + "-ns",
           "io.kubernetes.cri.sandbox-name": "api-7d4b9c6f5-x2x9z"}
    cases = [(1, "default", {"nerdctl/name": PREFIX + "-ctr"}), (2, "k8s.io", cri),
             (3, "default", dict(cri, **{"io.kubernetes.cri.sandbox-namespace": PREFIX + "-kube",
                                         "nerdctl/name": PREFIX + "-claims"}))]
    for n, namespace, annotations in cases:
        path = "%s-%d.json" % (base, n)
        with open(path, "w", encoding="ascii") as f:
            json.dump(spec(annotations, ["CAP_NET_RAW"], "/%s/%s" % (namespace, hexid(n))), f)

        def gone(namespace=namespace, n=n):
            ctr(namespace, "task", "rm", "-f", hexid(n), check=False)
            ctr(namespace, "container", "rm", hexid(n), check=False)
        lab.later(gone)
        r = ctr(namespace, "run", "-d", "--config", path, hexid(n), check=False)
        if r.returncode != 0:
            return "ctr cannot run a container: " + r.err.strip()[-80:]
    return ctr_plain(ctr)


def ctr_plain(ctr):
    """As a person uses ctr: an image, ids of his own, the same one in two namespaces."""
    image = "localhost/%s:1" % PREFIX
    layer = subprocess.run(["tar", "c", "-C", TREE, "."], capture_output=True, check=True).stdout
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    manifest = json.dumps([{"Config": "c.json", "RepoTags": [image], "Layers": ["l.tar"]}]).encode()
    path = lab.dir + "/image.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in (("l.tar", layer), ("c.json", config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    mounts = ["--mount=type=bind,src=%s,dst=%s,options=rbind:ro" % (p, p) for p in FOLDERS]
    for namespace in ("default", PREFIX):
        how, what, cmd = ["--rootfs"], TREE, ["/bin/sleep", "600"]
        if namespace == "default":
            r = ctr(namespace, "image", "import", "--snapshotter", "native", path, check=False)
            if r.returncode != 0:
                return "ctr cannot import an image: " + r.err.strip()[-80:]
            how, what = ["--snapshotter", "native", "--cap-add", "CAP_SYS_ADMIN"], image
            cmd = ["/bin/sh", "-c", "unshare -n sleep 600 & exec sleep 600"]

        def gone(namespace=namespace):
            ctr(namespace, "task", "rm", "-f", PREFIX + "-web", check=False)
            ctr(namespace, "container", "rm", PREFIX + "-web", check=False)
        lab.later(gone)
        r = ctr(namespace, "run", "-d", *mounts, *how, what, PREFIX + "-web", *cmd, check=False)
        if r.returncode != 0:
            return "ctr cannot run an image: " + r.err.strip()[-80:]
    return None


def runc_up():
    if shutil.which("runc") is None:
        return "no runc here"
    for cid, cgroup in ((hexid(9), "/" + PREFIX + "/" + hexid(9)), (PREFIX + "-hand", None)):
        bundle = lab.dir + "/bundle-" + cid
        os.makedirs(bundle)
        with open(bundle + "/config.json", "w", encoding="ascii") as f:
            json.dump(spec(cgroup=cgroup), f)
        lab.later(run, "runc", "delete", "-f", cid, check=False)
        # Its container keeps what it is given as standard output.
        r = subprocess.run(["runc", "run", "-d", "-b", bundle, cid], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20, check=False)
        if r.returncode != 0:
            return "runc cannot run a bundle"
    return None


def look_podman(d, service):
    how = "by its service" if service else "by its files"
    w, i = instance(d, PREFIX + "-a")
    t.ok(i and i["runtime"] == "podman", "Podman %s: a container has its name" % how, w, d.text())
    if service:
        # Podman's list does not say who shares: that takes a question more for each.
        wait(lambda: len(members(instance(d, PREFIX + "-a")[1]) or []) > 1, 8)
        w, i = instance(d, PREFIX + "-a")
        t.ok(members(i) == [PREFIX + "-a", PREFIX + "-j"] and len(w["instances"]) == 1,
             "one in its network is a member of the same instance", members(i))
        t.ok(d.api.workload(PREFIX + "-j") is None, "and no workload of its own")
        wait(lambda: len(members(instance(d, PREFIX + "-pod")[1]) or []) > 1, 8)
        w, i = instance(d, PREFIX + "-pod")
        names = members(i) or []
        t.ok(len(names) == 2 and PREFIX + "-m" in names and names[0].endswith("-infra"),
             "a pod is one instance with its name and all of its members", w, d.text())
        t.ok(d.api.workload(PREFIX + "-m") is None, "a member of it is no workload of its own")
    w, i = instance(d, PREFIX + "-admin")
    t.ok(w and w["enforceable"] == "partial" and "CAP_NET_ADMIN" in w["why"],
         "a container with CAP_NET_ADMIN is graded so, %s" % how, w)
    w, i = instance(d, PREFIX + "-evil")
    t.ok(i and i["runtime"] == "podman", "annotations and labels of Kubernetes change nothing", w)
    t.ok(d.api.workload(PREFIX + "-kube/dns") is None, "nobody becomes the pod they name")


def look_pod_images(d):
    """A member of another image that joins an enforced pod."""
    pod, other, name = PREFIX + "-pod", PREFIX + "-other", PREFIX + "-m2"
    podman("tag", PREFIX + "-img", other)
    lab.later(podman, "rmi", "-f", other, check=False)
    d.api.mode("enforce", pod)
    w = wait(lambda: d.api.workload(pod), 5)
    t.ok(w["mode"] == "enforce" and w["instances"][0]["imageAccepted"], "an enforced pod has its rules", w)
    podman("run", "-d", "--name", name, "--pod", pod, other, "/bin/sleep", "600")

    def accepted(want):
        return wait(lambda: d.api.workload(pod)["instances"][0]["imageAccepted"] is want, 15, 0.1)
    t.ok(accepted(False) and "a member's image " + other in d.api.workload(pod)["why"],
         "a member of another image closes it, and status names the image", d.api.workload(pod), d.text()[-2000:])
    podman("rm", "-f", "-t", "0", name)
    t.ok(accepted(True), "without it the pod has its rules again", d.api.workload(pod))


def look_containerd(d):
    w, i = instance(d, PREFIX + "-ctr")
    t.ok(i and i["runtime"] == "containerd", "containerd: the name that nerdctl gave", w, d.text())
    w, i = instance(d, PREFIX + "-ns/api")
    t.ok(i and i["runtime"] == "cri", "a sandbox of Kubernetes is its owner's", w)
    w, i = instance(d, PREFIX + "-claims")
    t.ok(i and i["runtime"] == "containerd" and d.api.workload(PREFIX + "-kube/api") is None,
         "the same annotations in another namespace of containerd's are nobody's word", w)
    names = [PREFIX + "-web@default", PREFIX + "-web@" + PREFIX]
    def netns(n):
        w = d.api.workload(n)
        return sorted(i["netns"] for i in w["instances"]) if w else []

    wait(lambda: len(netns(names[0])) == 2 and netns(names[1]), 25)
    one, other = [netns(n) for n in names]
    t.ok(len(other) == 1 and one and other[0] not in one,
         "ctr: the same id in two namespaces is two workloads", one, other, sorted(d.api.workloads()))
    w = d.api.workload(names[0])
    t.ok(len(one) == 2 and w["enforceable"] == "partial" and "made a network namespace" in w["why"],
         "a namespace that one has made inside is its own, and graded", w)
    d.api.mode("enforce", names[0])
    pids = [next(p for p in os.listdir("/proc") if p.isdigit() and netns_of(p) == n) for n in one + other]

    def denies(pid):
        return "policy drop" in run("nsenter", "-t", pid, "-n", "nft", "-s", "list", "table", "inet", d.table(),
                                    check=False).out
    t.ok(wait(lambda: [denies(p) for p in pids] == [True] * len(one) + [False], 5),
         "the one that is enforced has rules that deny, the other one none", [denies(p) for p in pids])


def main():
    prepare()
    no_podman, no_ctr, no_runc = podman_up(), ctr_up(), runc_up()
    if no_podman:
        t.skip("Podman by its service", no_podman)
    else:
        p, path = service_up()
        d = start_daemon(socket=path)
        look_podman(d, True)
        look_pod_images(d)
        e = {x["name"]: x for x in d.api.get("/v1/status")["engines"]}
        t.ok(e["podman"]["reachable"], "its service is an engine that answers", e)
        p.kill()
        p.wait()
        t.ok(wait(lambda: not {x["name"]: x for x in d.api.get("/v1/status")["engines"]}["podman"]
                  ["reachable"]) and d.api.workload(PREFIX + "-a")["instances"],
             "without it nothing is forgotten")
        d.stop()
    d = start_daemon()
    if no_podman:
        t.skip("Podman by its files", no_podman)
    else:
        look_podman(d, False)
        t.ok("podman" not in "\n".join(x for x in d.text().splitlines() if "warn" in x.lower()),
             "no service is no reason to warn", d.text())
    if no_ctr:
        t.skip("containerd", no_ctr)
    else:
        look_containerd(d)
    d.stop()
    if no_runc:
        t.skip("runc by hand", no_runc)
    else:
        d = start_daemon(only=hexid(9)[:12])
        w, i = instance(d, hexid(9)[:12], 10)
        t.ok(i and i["runtime"] == "unknown", "runc by hand: shown by its id", w, d.text())
        d.stop()
        d = start_daemon(only=PREFIX + "-hand")
        w, i = instance(d, PREFIX + "-hand", 10)
        t.ok(i, "or by the name that a person gave it", w, d.text())
        d.stop()


try:
    main()
finally:
    lab.close()
sys.exit(t.done())
