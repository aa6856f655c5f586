#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nanoseg export: every format against its golden, and against a reader that others wrote.

The bundle is made and sealed in Python (bundlelib.py), so the manifest's description is tested too.
Names, reasons and tickets in it are hostile. UPDATE_GOLDEN=1 writes tests/golden/export/.
"""
import copy
import csv
import hashlib
import html.parser
import io
import ipaddress
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import xml.dom.minidom

SRC = os.environ.get("top_srcdir", ".")
BUILD = os.environ.get("top_builddir", ".")
sys.path[:0] = [os.path.join(SRC, "tests/unit"), os.path.join(SRC, "tests/integration")]
import bundlelib  # noqa: E402
from rfc5424 import parsed  # noqa: E402
from tap import Tap  # noqa: E402

NANOSEG = os.path.join(BUILD, "cli/nanoseg")
GOLDEN = os.path.join(SRC, "tests/golden/export")
FORMATS = ["json", "csv", "html-static", "oscal", "k8s", "cilium", "ocsf", "syslog", "dot", "mermaid"]
OSCAL = os.path.join(SRC, "../shared/data/schemas/oscal_assessment-results_schema.json")
DIR = tempfile.mkdtemp(prefix="nst-export-")
FORMULA = tuple("=+-@\t\r\n") + ("\uff1d", "\uff0b", "\uff0d", "\uff20")

t = Tap()
ok, skip = t.ok, t.skip


def run(*args, stdin=None):
    return subprocess.run([NANOSEG, *args], input=stdin, capture_output=True, timeout=120, check=False)


def put(name, value):
    path = os.path.join(DIR, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return path


def export(fmt, path, *args, data=GOLDEN):
    return run("export", fmt, "--from", path, "--data-dir", data, *args)


def debian_python(code, *args, stdin=None):
    """Debian's own Python has the modules of its packages, whatever python3 is."""
    return subprocess.run(["/usr/bin/python3", "-c", code, *args], input=stdin, capture_output=True,
                          timeout=120, check=False)


os.makedirs(os.path.join(DIR, "no-mappings/controls"))
small = bundlelib.small()
SMALL = put("small.json", small)
outputs = {}


def test_goldens():
    for fmt in FORMATS:
        a, b = export(fmt, SMALL), export(fmt, SMALL)
        outputs[fmt] = a.stdout
        path = os.path.join(GOLDEN, "small." + fmt)
        if os.environ.get("UPDATE_GOLDEN"):
            with open(path, "wb") as f:
                f.write(a.stdout)
        with open(path, "rb") as f:
            want = f.read()
        diff = [x for x in zip(want.splitlines(), a.stdout.splitlines()) if x[0] != x[1]][:3]
        ok(a.returncode == 0 and a.stdout == want and not a.stderr, "%s is as its golden" % fmt,
           a.returncode, a.stderr.decode(), diff)
        ok(a.stdout == b.stdout, "%s is the same again" % fmt)
    for fmt in ("html", "graph"):
        ok(export(fmt, SMALL).stdout == export(fmt, SMALL).stdout != b"", "%s is the same again" % fmt)


def test_json():
    b = json.loads(outputs["json"])
    ok(b["manifest"] == bundlelib.seal(copy.deepcopy(b))["manifest"] == small["manifest"],
       "json: the manifest is what a stranger computes", b["manifest"])
    again = export("json", put("again.json", outputs["json"].decode()))
    ok(again.stdout == outputs["json"], "json: a bundle read again is itself", again.stderr)
    kinds = {e["kind"] for e in b["exceptions"]}
    want = {"one-direction", "not-enforced", "not-fully-enforceable", "loss", "incomplete", "broad-source",
            "broad-destination", "many-ports", "no-person", "from-host", "time-limited", "unapproved-image"}
    ok(kinds == want, "json: each kind of exception is found", kinds ^ want)
    r = b["review"]
    ok((r["overdue"], r["stale"], r["soon"], r["undecided"]) ==
       (["e-%016x" % 15], ["e-%016x" % 16], ["e-%016x" % 5], ["e-%016x" % 11]),
       "json: overdue, stale, soon and undecided", r)


def test_csv():
    text = outputs["csv"].decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    want = [e["id"] for e in small["edges"] if e["state"] == "approved"]
    ok([r["edge"] for r in rows] == want, "csv: a row for each allowed edge, as Python's csv reads it")
    bad = [v for r in rows for v in r.values() if v.startswith(FORMULA)]
    ok(not bad, "csv: no cell is a formula", bad)
    ok(all(len(r) == 18 and None not in r.values() for r in rows) and
       text.count("\n") == len(rows) + 1, "csv: a line is a row, whatever a name holds")
    ok(rows[0]["reason"] == "because 1" and rows[0]["connections"] == "12" and
       any(r["reason"].startswith("'=HYPERLINK") for r in rows), "csv: values are there")


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attrs, self.text, self.meta = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attrs += attrs
        if tag == "meta":
            self.meta.append(dict(attrs))

    def handle_data(self, data):
        self.text.append(data)


def test_html():
    text = outputs["html-static"].decode()
    page = Page(text)
    ok(not page.tags & {"script", "img", "iframe", "object", "link", "base", "form", "a"},
       "html: nothing but tables and a picture", page.tags)
    ok(not [a for a in page.attrs if a[0].startswith("on") or a[0] in ("href", "src", "style")],
       "html: no handler, no address")
    policy = [m["content"] for m in page.meta if m.get("http-equiv") == "Content-Security-Policy"]
    style = re.search("<style>(.*?)</style>", text, re.S).group(1)
    digest = __import__("base64").b64encode(hashlib.sha256(style.encode()).digest()).decode()
    ok(len(policy) == 1 and "default-src 'none'" in policy[0] and "'sha256-%s'" % digest in policy[0],
       "html: its policy allows its own style and nothing else", policy)
    words = "".join(page.text)
    ok("</script><script>alert(1)</script>" in words and "evil\\x1b[31m\\x07" in words and
       "user\\u{202e}txt.exe" in words, "html: hostile names are text")
    for title in ["Summary", "Who talks to whom", "approvals", "Exceptions", "Verification", "Stale",
                  "Times without rules", "Controls", "Manifest", "Loaded rules"]:
        if title not in words:
            ok(False, "html: has " + title)
    svg = re.search("<svg.*</svg>", text, re.S).group(0)
    ok(xml.dom.minidom.parseString(svg).documentElement.tagName == "svg", "html: the picture is XML")
    if shutil.which("tidy") is None:
        skip("html: tidy finds no mistake", "no tidy")
        return
    for name, text in (("html-static", outputs["html-static"]), ("html", export("html", SMALL).stdout),
                       ("html of nothing", export("html", put("none.json", bundlelib.bundle([], []))).stdout)):
        p = subprocess.run(["tidy", "-q", "-e", "-utf8"], input=text, capture_output=True, timeout=60, check=False)
        ok(text and p.returncode == 0, name + ": tidy finds no mistake", p.stderr.decode())


VALIDATE = r"""
import json, sys
import jsonschema, regex
from jsonschema import Draft7Validator, validators
def pattern(v, p, value, schema):
    if v.is_type(value, "string") and not regex.search(p, value):
        yield jsonschema.ValidationError("%r does not match %r" % (value, p))
check = validators.extend(Draft7Validator, {"pattern": pattern})(json.load(open(sys.argv[1])))
errors = ["%s: %s" % (list(e.path), e.message[:200]) for e in check.iter_errors(json.load(sys.stdin))]
print("\n".join(errors[:10]))
sys.exit(bool(errors))
"""


def test_oscal():
    schema = "oscal: NIST's schema accepts it"
    o = json.loads(outputs["oscal"])["assessment-results"]
    ids = re.findall('"uuid": "([^"]*)"', outputs["oscal"].decode())
    ok(len(ids) == len(set(ids)) and "findings" not in o["results"][0],
       "oscal: UUIDs are unique, and nothing is called satisfied")
    if not os.path.exists(OSCAL):
        skip(schema, "no captures beside the source tree")
        return
    if debian_python("import jsonschema, regex").returncode != 0:
        skip(schema, "no python3-jsonschema and python3-regex")
        return
    r = debian_python(VALIDATE, OSCAL, stdin=outputs["oscal"])
    ok(r.returncode == 0, schema, r.stdout.decode(), r.stderr.decode())
    bad = outputs["oscal"].replace(b'"import-ap"', b'"import-app"')
    ok(debian_python(VALIDATE, OSCAL, stdin=bad).returncode == 1, "oscal: and refuses another")
    empty = export("oscal", put("empty.json", bundlelib.bundle([], [])), data=os.path.join(DIR, "no-mappings"))
    ok(debian_python(VALIDATE, OSCAL, stdin=empty.stdout).returncode == 0,
       "oscal: of an empty host, without mappings", empty.stderr.decode())


def test_ocsf():
    events = [json.loads(line) for line in outputs["ocsf"].splitlines()]
    need = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid",
            "dst_endpoint"}
    ok(len(events) == len(small["edges"]) + len(small["denials"]) and
       all(need <= e.keys() and e["class_uid"] == 4001 and
           e["type_uid"] == 400100 + e["activity_id"] and e["metadata"]["version"] for e in events),
       "ocsf: an event for each edge and denial, with what the class requires")
    refused = [e for e in events if e["activity_id"] == 5]
    ok([e["action_id"] for e in refused] == [2, 1] and refused[0]["count"] == 17 and
       refused[0]["dst_endpoint"]["port"] == 5432, "ocsf: what audit lets through is not called denied")


def test_syslog():
    lines = outputs["syslog"].decode().splitlines()
    events = [parsed(x) for x in lines]
    ok(all(events) and len(events) == len(small["edges"]) + len(small["denials"]) + len(small["exposure"]),
       "syslog: each edge, denial and exposure window is a line of RFC 5424",
       *[x for x, e in zip(lines, events) if not e][:3])
    refused = [e for e in events if e["id"] == "denial"]
    ok([e["pri"] for e in refused] == ["28", "29"] and refused[0]["params"]["count"] == "17" and
       refused[0]["params"]["port"] == "5432" and refused[0]["params"]["verdict"] == "deny",
       "syslog: a denial has its facts as structured data", refused)
    ok("<script>" in outputs["syslog"].decode() and all("from" in e["params"] for e in events if e["id"] == "edge"),
       "syslog: hostile names are values, and no more")


# The published types of networking.k8s.io/v1, as far as policies may use them.
BLOCK = {"cidr": str, "except?": [str]}
SELECTOR = {"matchLabels?": dict, "matchExpressions?": [{"key": str, "operator": str}]}
PORT = {"protocol?": str, "port?": int, "endPort?": int}
PEER = {"podSelector?": SELECTOR, "namespaceSelector?": SELECTOR, "ipBlock?": BLOCK}
NETWORK_POLICY = {
    "apiVersion": str, "kind": str, "metadata": {"name": str, "annotations?": dict},
    "spec": {"podSelector": SELECTOR, "policyTypes?": [str],
             "ingress?": [{"from?": [PEER], "ports?": [PORT]}],
             "egress?": [{"to?": [PEER], "ports?": [PORT]}]}}


def typed(value, kind, where="."):
    if isinstance(kind, list):
        if not isinstance(value, list):
            return where
        return next((w for i, v in enumerate(value) for w in [typed(v, kind[0], "%s[%d]" % (where, i))] if w),
                    None)
    if not isinstance(kind, dict):
        return None if type(value) is kind else where
    if not isinstance(value, dict):
        return where
    names = {k.rstrip("?"): k for k in kind}
    for k, v in value.items():
        w = typed(v, kind[names[k]], where + "." + k) if k in names else where + "." + k
        if w:
            return w
    return next((where + "." + k for k in kind if not k.endswith("?") and k not in value), None)


LOAD = "import json, sys, yaml; print(json.dumps([d for d in yaml.safe_load_all(sys.stdin) if d]))"


def documents(fmt):
    r = debian_python(LOAD, stdin=outputs[fmt])
    return json.loads(r.stdout) if r.returncode == 0 else r.stderr.decode()


def check_internet(fmt, blocks):
    """The same addresses as addr_scope() calls so."""
    nets = [(ipaddress.ip_network(b["cidr"]), [ipaddress.ip_network(x) for x in b["except"]]) for b in blocks]
    local = ["0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1",
             "224.0.0.1", "239.255.255.255", "255.255.255.255", "::", "::1", "fc00::1", "fdff::1", "fe80::1",
             "feff::1", "ff02::1", "ffff::1"]
    outside = ["1.0.0.0", "9.255.255.255", "100.63.255.255", "100.128.0.0", "172.32.0.0", "223.255.255.255",
               "240.0.0.1", "255.255.255.254", "::2", "2001:db8::1", "fbff::1", "fe7f::1"]

    def takes(text):
        a = ipaddress.ip_address(text)
        return any(a in n and not any(a in x for x in out) for n, out in nets if n.version == a.version)
    wrong = [a for a in local if takes(a)] + [a for a in outside if not takes(a)]
    whole = all(x.subnet_of(n) and x != n and getattr(x.network_address, "ipv4_mapped", None) is None
                for n, out in nets for x in out)
    ok(len(nets) == 2 and whole and not wrong, "%s: internet is what it is to nanoseg" % fmt, wrong, blocks)


def test_k8s():
    if debian_python("import yaml").returncode != 0:
        skip("k8s: PyYAML reads it", "no python3-yaml")
        return
    docs = documents("k8s")
    enforced = [w["name"] for w in small["workloads"] if w["mode"] == "enforce"]
    wrong = [typed(d, NETWORK_POLICY) for d in docs]
    ok(len(docs) == len(enforced) and not any(wrong), "k8s: a policy for each enforced workload, of "
       "the published types", wrong)
    names = [d["metadata"]["name"] for d in docs]
    label = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
    values = [v for d in docs for v in re.findall(r'kubernetes.io/[a-z-]*": "([^"]*)"', json.dumps(d))]
    ok(len(set(names)) == len(names) and all(re.match("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", n) for n in names)
       and all(label.match(v) for v in values), "k8s: names and labels are such as Kubernetes takes", names)
    web = next(d for d in docs if d["metadata"]["name"].startswith("shop-web"))
    db = next(d for d in docs if d["metadata"]["name"].startswith("shop-db"))
    ok(any(p.get("port") == 8001 for r in web["spec"]["egress"] for p in r["ports"]) and
       db["spec"]["policyTypes"] == ["Ingress"] and "egress" not in db["spec"],
       "k8s: ports and directions are those of the policy", web, db)
    text = outputs["k8s"].decode()
    for what in ["internet is written", "cluster's DNS", "addresses of pods", "cannot be named", "domain name", "override", "icmp", "not enforced",
                 "it ends at a time", "fully enforceable", "multicast"]:
        if not re.search("# WARNING: .*" + what, text):
            ok(False, "k8s: warns of: " + what)
    check_internet("k8s", [p["ipBlock"] for r in web["spec"]["ingress"] for p in r["from"]
                           if "except" in p.get("ipBlock", {})])
    docs = documents("cilium")
    web = next(d for d in docs if d["metadata"]["name"].startswith("shop-web"))
    check_internet("cilium", [p for r in web["spec"]["ingress"] for p in r.get("fromCIDRSet", [])])
    ok(len(docs) == len(enforced) and "toFQDNs" in str(docs) and "ingressDeny" in str(docs) and
       "icmps" in str(docs) and all(d["apiVersion"] == "cilium.io/v2" for d in docs),
       "cilium: domains, denials and ICMP are said", docs if isinstance(docs, str) else "")


def test_policies():
    b = bundlelib.bundle([bundlelib.workload("web"), bundlelib.workload("shop/web")], [
        bundlelib.edge(1, "workload:shop/web", "workload:web"),
        bundlelib.edge(2, "workload:web", "fqdn:bad.example.com", "denied", port=443),
        bundlelib.edge(3, "workload:web", "addr:192.0.2.9", "denied", port=443),
        bundlelib.edge(4, "workload:shop/web", "fqdn:bad.example.com", "denied", port=443)])
    path = put("policies.json", b)
    for fmt in "k8s", "cilium":
        outputs["policies." + fmt] = export(fmt, path).stdout
        docs = documents("policies." + fmt)
        if isinstance(docs, str):
            skip("%s: policies of workloads without a project" % fmt, docs.splitlines()[-1])
            continue
        key = "endpointSelector" if fmt == "cilium" else "podSelector"
        prefix = "k8s:" if fmt == "cilium" else ""
        alone = {"matchLabels": {prefix + "app.kubernetes.io/name": "web"}, "matchExpressions": [
            {"key": prefix + "app.kubernetes.io/part-of", "operator": "DoesNotExist"}]}
        ok([alone in (d["spec"][key],) for d in docs] == [True, False] and json.dumps(alone) in json.dumps(docs[1]["spec"]),
           "%s: a workload without a project is not that of each project" % fmt, docs)
        if fmt == "cilium":
            ok([len(d["spec"].get("egressDeny", [])) for d in docs] == [1, 0] and "toFQDNs" not in str(docs) and
               b"a denial of a domain name cannot be said" in outputs["policies.cilium"],
               "cilium: a denied domain name is a warning, no rule", docs)


def test_graph():
    if shutil.which("dot") is None:
        skip("dot: graphviz draws it", "no graphviz")
        return
    p = subprocess.run(["dot", "-Tsvg"], input=outputs["dot"], capture_output=True, timeout=60, check=False)
    ok(p.returncode == 0 and not p.stderr, "dot: graphviz draws it", p.stderr.decode())


def test_selectors():
    r = json.loads(export("json", SMALL, "--label", "scope=pci").stdout)
    names = [w["name"] for w in r["workloads"]]
    ends = {"workload:" + n for n in names}
    ok(names == ["shop/web", "shop/api"] and all({e["from"], e["to"]} & ends for e in r["edges"]) and
       r["selector"] == {"labels": {"scope": "pci"}, "project": None} and
       r["manifest"]["digest"] != small["manifest"]["digest"], "selectors: a label", names)
    r = json.loads(export("json", SMALL, "--project", "shop", "--label", "tier=app").stdout)
    ok([w["name"] for w in r["workloads"]] == ["shop/api"], "selectors: a project and a label")
    for fmt in FORMATS + ["html", "graph"]:
        whole = outputs.get(fmt) or export(fmt, SMALL).stdout
        r = export(fmt, SMALL, "--project", "shop", "--label", "tier=app")
        ok(r.returncode == 0 and r.stdout and re.search(rb"shop.api", r.stdout) and
           re.search(rb"net[/-]raw", whole) and not re.search(rb"net[/-]raw", r.stdout),
           "selectors: %s has what is selected, and nothing of another workload" % fmt, r.stderr)
    r = export("json", SMALL, "--project", "sho")
    ok(r.returncode == 2 and b"no workload is selected" in r.stderr and not r.stdout,
       "selectors: none is selected: said, and nothing is written", r)


def test_selected_twice():
    pci = put("pci.json", export("json", SMALL, "--label", "scope=pci").stdout.decode())
    r = export("json", pci, "--project", "shop")
    ok(r.returncode == 2 and not r.stdout and b"selection already" in r.stderr,
       "selectors: a selection is not narrowed again", r)
    r = export("json", pci, "--compare", SMALL)
    ok(r.returncode == 2 and not r.stdout and b"another selection" in r.stderr,
       "compare: a selection and the whole are refused", r)
    for earlier in SMALL, pci:
        r = export("json", SMALL, "--label", "scope=pci", "--compare", earlier)
        c = json.loads(r.stdout)["comparison"] if r.returncode == 0 else {"edges": str(r)}
        ok(c["edges"] == {"added": [], "removed": [], "changed": []}, "compare: of one selection with itself", c)
    r = export("json", SMALL, "--project", "shop", "--compare", pci)
    ok(r.returncode == 2 and not r.stdout, "compare: two selections are refused", r)


def test_compare():
    later = copy.deepcopy(small)
    later["revision"] = 13
    later["edges"] = later["edges"][1:] + [bundlelib.edge(77, "workload:a", "workload:b")]
    later["edges"][0]["state"] = "denied"
    later["edges"][1]["connections"] = 5
    later["workloads"][3]["mode"] = "enforce"
    path = put("later.json", bundlelib.seal(later))
    r = json.loads(export("json", path, "--compare", SMALL).stdout)["comparison"]
    ids = {k: [e["id"] for e in r["edges"][k]] for k in ("added", "removed")}
    ok(ids == {"added": ["e-%016x" % 77], "removed": ["e-%016x" % 1]} and
       [c["after"]["id"] for c in r["edges"]["changed"]] == ["e-%016x" % 2] and
       [c["after"]["name"] for c in r["workloads"]["changed"]] == ["batch"] and
       r["with"]["revision"] == 12, "compare: decisions that differ, not counters", ids, r["workloads"])
    page = export("html-static", path, "--compare", SMALL).stdout.decode()
    plain = export("html-static", path).stdout.decode()
    ok("Since the earlier report" not in plain, "compare: only where it is asked for")
    ok("Since the earlier report" in page and page.count("<td>changed</td>") == 2, "compare: in the report")


def test_recertification():
    day = "2026-02-%02dT00:00:00Z"
    edges = [bundlelib.edge(1, "workload:a", "workload:b", recertifyBy=day % 20),
             bundlelib.edge(2, "workload:a", "workload:b", recertifyBy=day % 22),
             bundlelib.edge(3, "workload:a", "workload:b", recertifyBy=day % 20, expires="2027-01-01T00:00:00Z"),
             bundlelib.edge(4, "workload:a", "workload:b", recertifyBy="2027-01-01T00:00:00Z")]
    b = bundlelib.bundle([bundlelib.workload("a"), bundlelib.workload("b")], edges)
    r = json.loads(export("json", put("due.json", b)).stdout)
    ok(r["review"]["overdue"] == ["e-%016x" % 1, "e-%016x" % 3] and r["review"]["soon"] == ["e-%016x" % 2] and
       r["facts"]["review"]["state"] == "partly", "review: what is to be certified again is overdue", r["review"])


def test_verification():
    case = {"from": "workload:</td><b>x", "to": "workload:shop/db", "proto": "tcp", "port": 5432,
            "expected": "deny", "got": "deny", "result": "pass"}
    sound = {"kind": "verification", "plan": False, "host": "node-1", "policyDigest": "ab" * 32, "probes": 3,
             "passed": 3, "failed": 0, "unclear": 0, "signature": "00", "publicKey": "11", "cases": [
                 case, dict(case, to="workload:shop/web"), dict(case, to="workload:batch")]}
    good = put("v.json", sound)
    for state, what, more in [
            ("partly", "a failure", {"failed": 1, "passed": 2}), ("partly", "an unclear one", {"unclear": 1, "passed": 2}),
            ("absent", "all unclear", {"unclear": 3, "passed": 0}), ("absent", "another host", {"host": "node-2"}),
            ("partly", "another policy", {"policyDigest": "00" * 32}), ("absent", "none", {"probes": 0, "passed": 0})]:
        r = json.loads(export("json", SMALL, "--verification", put("v2.json", dict(sound, **more))).stdout)
        ok(r["facts"]["verification"]["state"] == state, "verification: %s: %s" % (what, state),
           r["facts"]["verification"])
    r = json.loads(export("json", SMALL, "--verification", good, "--project", "shop", "--label", "scope=pci").stdout)
    v = r["verification"]
    ok([c["to"] for c in v["cases"]] == ["workload:shop/web"] and v["probes"] == v["passed"] == 1 and
       "signature" not in v, "verification: of a selection, what concerns it", v)
    b = json.loads(export("json", SMALL, "--verification", good).stdout)
    ok(b["facts"]["verification"]["state"] == "shown" and b["verification"]["probes"] == 3 and
       b["manifest"]["parts"]["verification"] != small["manifest"]["parts"]["verification"],
       "verification: is part of the bundle", b["facts"]["verification"])
    page = export("html-static", SMALL, "--verification", good).stdout.decode()
    ok("3 live probes" in page and "<b>x" not in page, "verification: in the report")
    for name, text in [("list", "[]"), ("other", '{"a": 1}'), ("not JSON", "{"), ("plan", dict(sound, plan=True)),
                       ("kind", dict(sound, kind="verification-plan"))]:
        r = export("json", SMALL, "--verification", put("bad.json", text))
        ok(r.returncode == 2 and not r.stdout, "verification: refused: " + name, r)


def test_tampered():
    for part in bundlelib.PARTS:
        b = copy.deepcopy(small)
        v = b[part]
        if isinstance(v, list):
            b[part] = v[1:] if v else [{}]
        elif isinstance(v, dict):
            v["to" if part == "period" else "added"] = "2026-03-01T00:00:00Z"
        else:
            b[part] = 11 if part == "revision" else "00" * 32 if part == "policyDigest" else {}
        r = export("csv", put("t.json", b))
        if r.returncode != 3 or r.stdout or part.encode() not in r.stderr:
            ok(False, "a changed part is refused: " + part, r)
    ok(True, "a changed part is refused, whichever it is")
    b = copy.deepcopy(small)
    b["summary"] = {"edges": {"approved": 1000000}}
    b["controls"] = b["facts"] = "all good"
    ok(export("html-static", put("t.json", b)).stdout == outputs["html-static"], "conclusions in a file are not believed")
    whole = json.dumps(small)
    bad = [("cut", whole[:-9]), ("kind", whole.replace("EvidenceBundle", "Evidence")), ("list", "[]"), ("empty", ""),
           ("nul", '{"a": "\\u0000"}'), ("deep", "[" * 100000), ("not UTF-8", b"{\"a\": \"\xff\"}".decode("latin-1")),
           ("type", json.dumps(bundlelib.seal(dict(small, edges={})))),
           ("trailing", whole + "x"), ("twice", whole[:-1] + ', "edges": []}')]
    for name, text in bad:
        r = export("json", put("bad.json", text))
        ok(r.returncode == 2 and not r.stdout and b"reader was ended" not in r.stderr,
           "a bad bundle is refused: " + name, r.returncode, r.stderr[:300])
    odd = [{}, [], None, 1, "x", {"from": 1, "to": [], "state": {}, "port": -1, "flags": [None, {}], "type": 2 ** 62},
           {"name": [], "instances": 5, "loss": {"events": 2 ** 63 - 1, "packets": 2 ** 63 - 1}, "drift": 2 ** 63 - 1},
           {"from": "workload:", "to": "cidr:x", "proto": "tcp", "ports": "9-1", "state": "approved", "id": "x" * 5000}]
    b = bundlelib.bundle(odd * 2, odd * 2, denials=odd * 2, exposure=odd, revisions=odd, networks={"n": odd},
                         losses={"a": 2 ** 63 - 1, "b": 2 ** 63 - 1}, audit={"head": "x"}, host={"name": 1})
    path = put("odd.json", b)
    codes = {f: export(f, path).returncode for f in FORMATS}
    ok(set(codes.values()) == {0}, "members of any type do no harm", codes)


LISTED = {
    "pci-dss": "1.2.2 1.2.3 1.2.4 1.2.5 1.2.6 1.2.7 1.2.8 1.3.1 1.3.2 1.4.1 1.4.2 1.4.3 1.4.4 1.4.5 10.2.1 "
               "10.2.2 10.3.1 10.3.2 10.3.3 10.3.4 11.4.5 11.4.6 12.5.2",
    "nist-800-190": "4.3.3 4.4.2 4.4.5",
    "nist-800-53": "SC-7 SC-7(5) SC-7(12) SC-7(20) SC-7(21) AC-4 CA-9 CM-3 CM-6 CM-7 CM-8 AU-2 AU-3 AU-6 "
                   "AU-9(3) AU-12 SI-4",
    "iso-27001": "A.8.9 A.8.15 A.8.16 A.8.20 A.8.21 A.8.22 A.8.32",
    "soc-2": "CC6.1 CC6.6 CC7.1 CC7.2 CC8.1", "cis-docker": "2.2 5.9 5.30"}

MAPPING = """apiVersion: nanoseg/v1
kind: ControlMapping
id: house
title: House rules
version: "1"
controls:
  - {id: H-1, subject: s, facts: [inventory], supports: a, notShown: b}
"""


def test_controls():
    b = json.loads(export("json", SMALL, data=os.path.join(SRC, "contrib")).stdout)
    have = {m["id"]: [c["id"] for c in m["controls"]] for m in b["controls"]}
    lacks = {k: set(v.split()) - set(have.get(k, [])) for k, v in LISTED.items()}
    ok(not any(lacks.values()), "controls: every framework is there", lacks)
    states = {c["evidence"] for m in b["controls"] for c in m["controls"]}
    ok({"supported", "partly", "none"} >= states and len(states) > 1 and
       not re.search("complian|complies", json.dumps(b["controls"])), "controls: evidence, not compliance", states)
    lax = bundlelib.bundle([bundlelib.workload("a", mode="observe"), bundlelib.workload("b", mode="audit")], [])
    r = json.loads(export("json", put("lax.json", lax), data=os.path.join(SRC, "contrib")).stdout)
    ok(r["facts"]["tamper-resistance"]["state"] == "absent" and r["facts"]["default-deny"]["state"] == "absent",
       "controls: where nothing is enforced, no workload resists", r["facts"]["tamper-resistance"])
    pci = {c["id"]: c["evidence"] for m in r["controls"] if m["id"] == "pci-dss" for c in m["controls"]}
    ok(pci["10.3.3"] == "partly", "controls: a head alone is no copy on a log server", pci["10.3.3"])
    extra = put("house.yaml", MAPPING)
    b = json.loads(export("json", SMALL, "--controls", extra, data=os.path.join(SRC, "contrib")).stdout)
    ok(b["controls"][-1]["id"] == "house" and len(b["controls"]) == 7 and
       b["controls"][-1]["controls"][0]["evidence"] == "supported", "controls: others are added as data")
    bad = [("unknown fact", MAPPING.replace("inventory", "perfection"), ":7:"),
           ("unknown key", MAPPING.replace("notShown", "shown"), ":7:"),
           ("no subject", MAPPING.replace("subject: s, ", ""), ":7:"),
           ("id twice", MAPPING + "  - {id: H-1, subject: s, facts: [drift], supports: a, notShown: b}\n", ":8:"),
           ("kind", MAPPING.replace("ControlMapping", "X"), ":2:"), ("too long", MAPPING.replace(": a", ": " + "a" * 1001), ":7:"),
           ("no facts", MAPPING.replace("[inventory]", "[]"), ":7:"), ("number", MAPPING.replace("[inventory]", "[1]"), ":7:"),
           ("alias", MAPPING.replace("subject: s", "subject: &x s"), ":7:"), ("empty", "", ""), ("list", "[]", ":1:")]
    for name, text, place in bad:
        r = export("json", SMALL, "--controls", put("bad.yaml", text))
        ok(r.returncode == 2 and not r.stdout and place in r.stderr.decode(), "controls: refused: " + name, r)


def test_files():
    out, manifest = os.path.join(DIR, "report.html"), os.path.join(DIR, "SHA256SUMS")
    r = export("html-static", SMALL, "--out", out, "--manifest", manifest)
    p = subprocess.run(["sha256sum", "-c", manifest], cwd=DIR, capture_output=True, check=False)
    with open(out, "rb") as f:
        same = f.read() == outputs["html-static"]
    ok(r.returncode == 0 and not r.stdout and same and p.returncode == 0, "--out and a manifest for sha256sum -c",
       r, p.stdout)
    pipe, null, got = os.path.join(DIR, "pipe"), os.path.join(DIR, "null"), []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(open(pipe, "rb").read()), daemon=True)
    reader.start()
    r = export("html-static", SMALL, "--out", pipe)
    reader.join(60)
    ok(r.returncode == 0 and got == [outputs["html-static"]] and stat.S_ISFIFO(os.stat(pipe).st_mode),
       "--out to a pipe: it stays one", r)
    r = export("csv", SMALL, "--out", "/dev/stdout")
    ok(r.returncode == 0 and r.stdout == outputs["csv"], "--out /dev/stdout", r)
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        skip("--out to a device: it stays one", "needs root")
    else:
        r = export("csv", SMALL, "--out", out, "--manifest", null)
        ok(r.returncode == 0 and stat.S_ISCHR(os.stat(null).st_mode), "--manifest to a device: it stays one", r)
    r = export("csv", SMALL, "--out", DIR)
    ok(r.returncode == 1 and b"neither a file nor a pipe" in r.stderr, "--out to a folder is refused", r)
    ok(export("csv", SMALL, "--out", DIR + "/no/such").returncode == 1 and
       not [f for f in os.listdir(DIR) if f.endswith(".tmp")], "a folder that is not there; nothing is left behind")
    for args in [["nothing"], [], ["csv", "json"], ["json", "--manifest", "x"], ["json", "--label", "x"],
                 ["json", "--label", "=x"], ["access", "--from", SMALL], ["json", "--from", SMALL, "--since", "1d"]]:
        r = run("export", *args)
        if r.returncode != 2:
            ok(False, "usage: " + " ".join(args), r)
    ok(True, "mistakes on the command line")


def test_gaps_are_said():
    w = [bundlelib.workload("w%02d" % i) for i in range(60)]
    w[0]["loss"] = {"events": 3, "packets": 4, "forgotten": 5000}
    edges = [bundlelib.edge(i, "workload:w%02d" % (i // 60), "workload:w%02d" % (i % 60)) for i in range(60 * 60)]
    page = export("html-static", put("many.json", bundlelib.bundle(w, edges))).stdout.decode()
    ok("Not everything fits" in page, "html: lines that the picture has no room for are said")
    row = re.search("<td>w00</td><td>enforce</td>.*", page).group(0)
    ok('<td class="n">5007</td>' in row, "html: lost packets, and what conntrack forgot, count as lost", row)


def test_every_loss_counts():
    hour = {"newEdgeChance": 0.1, "windows": 9, "windowKind": "hour"}
    whole = {"loss": {"events": 0, "packets": 0, "forgotten": 0, "sources": []},
             "completeness": dict(hour, incompleteWindows=0)}
    for name, part, kinds, lost, cells in (
            ("nothing", {}, set(), 0, "0 0"),
            ("events", {"loss": {"events": 2, "sources": ["events"]}}, {"loss"}, 2, "2 0"),
            ("packets", {"loss": {"packets": 3, "sources": ["reports"]}}, {"loss"}, 3, "3 0"),
            ("what conntrack forgot", {"loss": {"forgotten": 5000}}, {"loss"}, 5000, "5000 0"),
            ("of a source without a number", {"loss": {"events": 0, "sources": ["unidentified"]}}, {"loss"}, 0, "some 0"),
            ("an attach that came late", {"completeness": dict(hour, incompleteWindows=1)}, {"incomplete"}, 0, "0 1")):
        b = bundlelib.bundle([bundlelib.workload("w", **dict(whole, **part))], [], losses={"reports": 0, "unidentified": 0})
        path = put("loss.json", b)
        o = json.loads(export("json", path).stdout)
        got = {e["kind"]: e["detail"] for e in o["exceptions"]}
        fact = o["facts"]["no-loss"]
        ok(set(got) == kinds and o["summary"]["lost"] == lost and
           fact["state"] == ("partly" if kinds else "shown"), "loss of %s is an exception, and no fact" % name, got, fact)
        page = export("html-static", path).stdout.decode()
        row = re.search("<td>w</td><td>enforce</td>.*", page).group(0)
        ok(re.findall('<td class="n">([^<]*)</td>', row)[-2:] == cells.split(), "html: so it is there", row)
        props = json.loads(export("oscal", path).stdout)["assessment-results"]["results"][0]["local-definitions"]
        props = {p["name"]: p["value"] for p in props["inventory-items"][0]["props"]}
        ok([props["lost"], props["incomplete-windows"]] == cells.split(), "oscal: and there", props)
    ok("1 of 10 hours may lack something" in got["incomplete"], "it says of how many hours", got)
    w = bundlelib.workload("w", loss={"events": 0, "packets": 6})
    o = json.loads(export("json", put("both.json", bundlelib.bundle([w], [], losses={"reports": 4, "captureUnsent": 1}))).stdout)
    ok(o["summary"]["lost"] == 6, "reports of workloads and of the host are counted once", o["summary"])


def test_large():
    path = put("large.json", bundlelib.large(1000, 20000))
    began = time.monotonic()
    r = export("html-static", path, data=os.path.join(SRC, "contrib"))
    print("# html of 1,000 workloads and 20,000 edges: %.1f s, %d bytes" % (time.monotonic() - began, len(r.stdout)))
    ok(r.returncode == 0 and r.stdout.count(b"<tr>") > 21000, "1,000 workloads and 20,000 edges", r.stderr)


try:
    for test in [v for k, v in list(globals().items()) if k.startswith("test_")]:
        test()
finally:
    shutil.rmtree(DIR)
t.done()
