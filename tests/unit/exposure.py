#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nanoseg exposure: who reaches what Trivy and Grype found, now and under a candidate policy."""
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile

SRC = os.environ.get("top_srcdir", ".")
BUILD = os.environ.get("top_builddir", ".")
sys.path[:0] = [os.path.join(SRC, "tests/unit"), os.path.join(SRC, "tests/integration")]
import bundlelib  # noqa: E402
from bundlelib import edge, wl, workload  # noqa: E402
from tap import Tap  # noqa: E402

NANOSEG = os.path.join(BUILD, "cli/nanoseg")
DIR = tempfile.mkdtemp(prefix="nst-exposure-")
t = Tap()
ok = t.ok


def put(name, value):
    path = os.path.join(DIR, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(value if isinstance(value, str) else json.dumps(value))
    return path


def run(*args):
    return subprocess.run([NANOSEG, "exposure", *args], capture_output=True, timeout=60, check=False)


def listed(*args):
    r = run("--from", BUNDLE, "-o", "json", *args)
    return r.returncode, json.loads(r.stdout) if r.returncode in (0, 3) else r.stderr.decode()


def digest(n):
    return "sha256:%064x" % n


def load(name, n, **more):
    w = workload(name, **more)
    for i in w["instances"]:
        i["imageId"], i["image"] = digest(n), "registry.example/%s:1" % name.split("/")[-1]
    return w


# internet -> web -> api -> db; batch -> db ended; lab is not enforced; safe is reached by nobody.
bundle = bundlelib.bundle(
    [load("shop/web", 1), load("shop/api", 2), load("shop/db", 3), load("batch", 4), load("lab", 5, mode="observe"),
     load("safe", 6), load("ui\x1b[31m", 7)],
    [edge(1, "internet", wl("shop/web"), port=443), edge(2, wl("shop/web"), wl("shop/api")),
     edge(3, wl("shop/api"), wl("shop/db"), port=5432),
     edge(4, wl("batch"), wl("shop/db"), port=5432, expires="2026-01-05T00:00:00Z"),
     edge(5, wl("batch"), wl("safe"), "pending"), edge(6, wl("shop/db"), wl("safe"), "denied"),
     edge(7, wl("lab"), wl("batch")), edge(8, wl("safe"), "internet"), edge(9, "host", wl("ui\x1b[31m"))])
BUNDLE = put("bundle.json", bundle)


def trivy(n, *severities, **more):
    return dict({"SchemaVersion": 2, "ArtifactName": "scan", "Metadata": {"ImageID": digest(n), "RepoDigests": []},
                 "Results": [{"Target": "os", "Vulnerabilities": [
                     {"VulnerabilityID": "CVE-2026-%d" % i, "PkgName": "libx", "InstalledVersion": "1", "Severity": s,
                      "FixedVersion": "2"} for i, s in enumerate(severities)]}, {"Target": "none"}]}, **more)


def grype(n, *severities, **more):
    return dict({"matches": [
        {"vulnerability": {"id": "GHSA-%d" % i, "severity": s, "fix": {"versions": ["9"]}},
         "artifact": {"name": "pkg", "version": "1"}} for i, s in enumerate(severities)],
        "source": {"type": "image", "target": {"userInput": "x", "imageID": digest(n), "repoDigests": []}}}, **more)


def test_reach():
    scans = [put("s%d.json" % n, trivy(n, "CRITICAL", "LOW") if n % 2 else grype(n, "High", "Negligible"))
             for n in range(1, 8)]
    code, out = listed("--scan", *scans)
    by = {o["workload"]: o for o in out}
    ok(code == 3 and set(by) == {w["name"] for w in bundle["workloads"]}, "every scanned workload is found, by digest",
       code, sorted(by))
    path = [wl("shop/web"), wl("shop/api"), wl("shop/db")]
    ok([by[n]["now"]["hops"] for n in ("shop/web", "shop/api", "shop/db")] == [1, 2, 3] and
       by["shop/db"]["now"]["path"] == ["internet", *path], "from the internet, over other workloads", by["shop/db"])
    ok(by["shop/db"]["now"]["from"] == [wl("shop/api")] and by["shop/db"]["now"]["workloads"] == 2,
       "an approval that has ended counts no more", by["shop/db"]["now"])
    ok(by["safe"]["now"] == {"open": False, "from": [], "workloads": 0, "outside": False, "hops": None, "path": []},
       "neither do pending and denied edges", by["safe"]["now"])
    ok(by["lab"]["now"]["open"] and by["lab"]["now"]["from"] == ["anyone"] and by["lab"]["now"]["hops"] == 1 and
       by["batch"]["now"]["hops"] == 2, "who is not enforced is reached by anyone, and passes it on", by["lab"]["now"])
    ok(by["ui\x1b[31m"]["now"]["path"][0] == "host", "a published port is outside")
    ok([o["workload"] for o in out][-1] == "safe" and out[0]["worst"] == "critical" and out[0]["now"]["hops"] == 1,
       "the worst comes first", [o["workload"] for o in out])
    ok(by["shop/web"]["counts"] == {"critical": 1, "high": 0, "medium": 0, "low": 1, "unknown": 0} and
       by["shop/api"]["counts"]["high"] == 1 and by["shop/api"]["counts"]["unknown"] == 1 and
       by["shop/web"]["findings"][0] == {"id": "CVE-2026-0", "severity": "critical", "package": "libx",
                                         "installed": "1", "fixed": "2"}, "findings by severity", by["shop/web"])
    r = run("--from", BUNDLE, "--scan", *scans, "-o", "wide")
    text = r.stdout.decode()
    ok(r.returncode == 3 and "ui\\x1b[31m" in text and "\x1b" not in text and "internet, 3 hops" in text,
       "as a table, names escaped", text, r.stderr)


def test_policy():
    policy = put("p.yaml", """apiVersion: nanoseg/v1
kind: SegmentPolicy
workloads:
  - {name: shop/db, mode: enforce, direction: both}
  - {name: shop/api, mode: enforce, direction: both}
edges:
  - {from: batch, to: shop/db, proto: tcp, port: 5432, state: approved}
  - {from: shop/api, to: shop/db, proto: tcp, port: 5432, state: denied}
""")
    code, out = listed("--scan", put("s.json", trivy(3, "HIGH")), "--file", policy)
    ok(code == 3 and out[0]["now"]["from"] == [wl("shop/api")] and out[0]["after"]["from"] == [wl("batch")] and
       out[0]["after"]["hops"] == 2, "before and after: batch is not enforced there", out)
    code, out = listed("--scan", put("s.json", trivy(3, "HIGH")), "-f", put("bad.yaml", "kind: x"))
    ok(code == 2 and "bad.yaml:1:" in out, "a bad policy is refused with its line", out)


def test_matching():
    by_name = trivy(99, "HIGH", ArtifactName="registry.example/web:1")
    code, out = listed("--scan", put("s.json", by_name))
    ok([(o["workload"], o["match"]) for o in out] == [("shop/web", "name")], "by name, where the digest says nothing", out)
    code, out = listed("--scan", put("s.json", trivy(99, "HIGH")))
    ok((code, out) == (0, []), "an image that nobody runs", code, out)
    repo = trivy(99, "HIGH", Metadata={"RepoDigests": ["registry.example/db@" + digest(3)], "RepoTags": None})
    ok([o["workload"] for o in listed("--scan", put("s.json", repo))[1]] == ["shop/db"], "by a repository's digest")
    code, out = listed("--scan", put("s.json", trivy(6, "LOW", "MEDIUM")), "--severity", "high")
    ok((code, out) == (0, []), "--severity leaves out what is less", out)
    code, out = listed("--scan", put("s.json", trivy(6, "LOW", "CRITICAL")), "--severity", "HIGH")
    ok(code == 0 and out[0]["counts"]["low"] == 0 and out[0]["counts"]["critical"] == 1,
       "3 only where it is reached from outside", code, out)
    twice = trivy(6, "HIGH", "HIGH")
    twice["Results"][0]["Vulnerabilities"][1]["VulnerabilityID"] = "CVE-2026-0"
    ok(listed("--scan", put("s.json", twice))[1][0]["counts"]["high"] == 1, "a finding in two packages is one")
    ok(listed("--scan", put("s.json", trivy(6, Results=None)))[1] == [], "an image without findings")


def test_documents_as_the_tools_write_them():
    """With all around the findings that Trivy (schema 2) and Grype write: other digests, ignored findings, secrets,
    misconfigurations. Made here, of their documented members."""
    layer = {"Digest": digest(1), "DiffID": digest(2)}
    found = {"VulnerabilityID": "CVE-2019-1549", "PkgID": "libcrypto1.1@1.1.1c-r0", "PkgName": "libcrypto1.1",
             "PkgIdentifier": {"PURL": "pkg:apk/alpine/libcrypto1.1@1.1.1c-r0?arch=x86_64", "UID": "c0ffee"},
             "InstalledVersion": "1.1.1c-r0", "FixedVersion": "1.1.1d-r0", "Status": "fixed", "Layer": layer,
             "SeveritySource": "nvd", "PrimaryURL": "https://avd.example/CVE-2019-1549", "Severity": "HIGH",
             "DataSource": {"ID": "alpine", "Name": "Alpine Secdb", "URL": "https://secdb.example/"},
             "CweIDs": ["CWE-330"], "CVSS": {"nvd": {"V3Vector": "CVSS:3.1/AV:N", "V3Score": 5.3}},
             "References": ["https://example/1"], "PublishedDate": "2019-09-10T17:15:00Z"}
    report = {"SchemaVersion": 2, "ReportID": "0190-7", "CreatedAt": "2026-08-25T12:20:30.000000005Z",
              "ArtifactID": digest(3), "ArtifactName": "registry.example/safe:1", "ArtifactType": "container_image",
              "Metadata": {"Size": 5843968, "OS": {"Family": "alpine", "Name": "3.10.2", "EOSL": True},
                           "ImageID": digest(6), "DiffIDs": [digest(2)], "RepoTags": ["registry.example/safe:1"],
                           "RepoDigests": ["registry.example/safe@" + digest(60)],
                           "ImageConfig": {"architecture": "amd64", "os": "linux", "config": {"Image": digest(4)},
                                           "rootfs": {"type": "layers", "diff_ids": [digest(2)]}}},
              "Results": [{"Target": "safe (alpine 3.10.2)", "Class": "os-pkgs", "Type": "alpine",
                           "Vulnerabilities": [found, dict(found, PkgName="libssl1.1")],
                           "ExperimentalModifiedFindings": [{"Type": "vulnerability", "Status": "not_affected",
                                                             "Finding": dict(found, VulnerabilityID="CVE-2020-1")}]},
                          {"Target": "/etc/key", "Class": "secret", "Secrets": [{"RuleID": "x", "Severity": "CRITICAL"}]},
                          {"Target": "Dockerfile", "Class": "config",
                           "Misconfigurations": [{"ID": "DS002", "Severity": "CRITICAL"}]}]}
    code, out = listed("--scan", put("s.json", report))
    ok(code == 0 and [(o["workload"], o["match"], o["worst"], o["counts"]["high"], o["counts"]["critical"]) for o in out] ==
       [("safe", "digest", "high", 1, 0)], "Trivy: the image by its id, not by a layer's; what is ignored is no finding", out)
    match = {"vulnerability": {"id": "CVE-2021-3", "dataSource": "https://nvd.example/", "namespace": "nvd:cpe",
                               "severity": "Critical", "urls": [], "description": "text", "cvss": [], "epss": [{"epss": 0.1}],
                               "fix": {"versions": ["2.0"], "state": "fixed", "available": [{"version": "2.0"}]},
                               "advisories": [], "risk": 1.5},
             "relatedVulnerabilities": [{"id": "CVE-2021-4", "severity": "High"}],
             "matchDetails": [{"type": "exact-direct-match", "matcher": "dpkg-matcher", "searchedBy": {}, "found": {}}],
             "artifact": {"id": "a1", "name": "libx", "version": "1.0", "type": "deb", "locations": [{"layerID": digest(1)}],
                          "language": "", "licenses": [], "cpes": [], "purl": "pkg:deb/debian/libx@1.0", "upstreams": []}}
    report = {"matches": [match], "ignoredMatches": [dict(match, vulnerability={"id": "CVE-2022-1", "severity": "Critical"})],
              "source": {"type": "image", "target": {
                  "userInput": "registry.example/other:9", "imageID": digest(90), "manifestDigest": digest(91),
                  "mediaType": "application/vnd.oci.image.manifest.v1+json", "tags": [], "imageSize": 1,
                  "layers": [{"digest": digest(1), "size": 1}], "repoDigests": ["registry.example/safe@" + digest(6)],
                  "manifest": "eyJ9", "config": "eyJ9", "architecture": "amd64", "os": "linux"}},
              "distro": {"name": "debian", "version": "12", "idLike": []},
              "descriptor": {"name": "grype", "version": "0.104.1", "configuration": {"output": ["json"]}, "db": {}}}
    code, out = listed("--scan", put("s.json", report))
    ok(code == 0 and [(o["workload"], o["match"], o["counts"]["critical"], o["findings"][0]["fixed"]) for o in out] ==
       [("safe", "digest", 1, "2.0")], "Grype: by the digest of its repository, and the same", out)
    report["source"] = {"type": "directory", "target": "/srv"}
    ok(listed("--scan", put("s.json", report)) == (0, []), "Grype of a folder is nobody's image")


def test_pod():
    pod = load("pod", 40)
    pod["instances"][0]["members"] = [{"id": "a", "name": "infra", "imageId": digest(40), "image": "r.example/infra:1"},
                                      {"id": "b", "name": "app", "imageId": digest(41), "image": "r.example/app:1"}]
    path = put("pod.json", bundlelib.bundle([pod], []))
    r = run("--from", path, "-o", "json", "--scan", put("s.json", trivy(41, "HIGH")))
    out = json.loads(r.stdout)
    ok([(o["workload"], o["image"], o["match"]) for o in out] == [("pod", "r.example/app:1", "digest")],
       "each container of a pod counts", out)
    pod["instances"][0]["members"][1]["imageId"] = None
    path = put("pod.json", bundlelib.bundle([pod], []))
    r = subprocess.run([NANOSEG, "export", "json", "--from", path, "--data-dir", os.path.join(SRC, "contrib")],
                       capture_output=True, timeout=60, check=False)
    ok(json.loads(r.stdout)["facts"]["images"]["state"] == "absent", "and an image of it that is not known is said")
    r = subprocess.run([NANOSEG, "export", "html", "--from", path, "--data-dir", os.path.join(SRC, "contrib")],
                       capture_output=True, timeout=60, check=False)
    ok(b"<td>r.example/infra:1, r.example/app:1</td>" in r.stdout, "and all of them are in the report")


def test_hostile():
    for name, text in [("nothing", ""), ("not JSON", "{"), ("list", "[]"), ("another tool", '{"bomFormat": "CycloneDX"}'),
                       ("deep", "[" * 100000), ("nul", '{"Results": ["\\u0000"]}'), ("number", "1"),
                       ("binary", "\x7fELF")]:
        r = run("--from", BUNDLE, "--scan", put("bad.json", text))
        ok(r.returncode == 2 and b"bad.json" in r.stderr and b"reader was ended" not in r.stderr and not r.stdout,
           "refused: " + name, r)
    odd = [None, 1, "x", [], {}, {"Vulnerabilities": [None, 1, [], {"Severity": 3}, {"VulnerabilityID": []}]}]
    for doc in ({"Results": odd, "Metadata": {"RepoDigests": odd, "ImageID": 5}},
                {"matches": odd, "source": {"target": {"repoDigests": odd, "tags": odd}}}, {"Results": odd, "Metadata": []}):
        r = run("--from", BUNDLE, "--scan", put("odd.json", doc))
        ok(r.returncode == 0, "members of any type do no harm", r)
    many = trivy(1)
    many["Results"][0]["Vulnerabilities"] = [{"VulnerabilityID": "x"}] * 100001
    r = run("--from", BUNDLE, "--scan", put("many.json", many))
    ok(r.returncode == 2 and b"more than" in r.stderr, "too many findings are refused", r.stderr)
    changed = copy.deepcopy(bundle)
    changed["edges"].pop()
    r = run("--from", put("changed.json", changed), "--scan", put("s.json", trivy(1, "HIGH")))
    ok(r.returncode == 3 and not r.stdout, "a changed bundle is refused", r)
    for args in ([], ["--scan"], ["--scan", "/no/such"], ["--scan", BUNDLE, "--severity", "worst"]):
        ok(run("--from", BUNDLE, *args).returncode == 2, "usage: " + " ".join(args[:1] + args[2:]))


try:
    for test in [v for k, v in list(globals().items()) if k.startswith("test_")]:
        test()
finally:
    shutil.rmtree(DIR)
t.done()
