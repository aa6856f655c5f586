#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The exports by validators that others wrote: OSCAL by ajv and NIST's schema, NetworkPolicy by the types
generated from Kubernetes' OpenAPI; Cilium's and OCSF's by ajv and extracts of our own of their published schemas.

ajv and the types are fetched by npm at pinned versions and hashes. Each check is shown a mistake, too.
"""
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile

SRC = os.path.abspath(os.environ.get("top_srcdir", "."))
BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
sys.path[:0] = [os.path.join(SRC, "tests/unit"), os.path.join(SRC, "tests/integration")]
import bundlelib  # noqa: E402
from tap import Tap, skip_all  # noqa: E402

HERE = os.path.join(SRC, "tests/schemas")
PLACE = os.path.join(BUILD, "tests/schemas/fetch")
OSCAL = os.path.join(SRC, "../shared/data/schemas/oscal_assessment-results_schema.json")
LOAD = "import json, sys, yaml; print(json.dumps([d for d in yaml.safe_load_all(sys.stdin) if d]))"
t = Tap()


def fetched():
    done = os.path.join(PLACE, "node_modules/kubernetes-models/package.json")
    if not os.path.exists(done):
        shutil.rmtree(PLACE, ignore_errors=True)
        os.makedirs(PLACE)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(HERE, name), PLACE)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1",
                        "--fetch-timeout=30000"], cwd=PLACE, capture_output=True, timeout=300, check=False)
    return os.path.exists(done)


def mistakes(kind, schema, documents):
    """Lines; None if the validator did not run to its end."""
    shutil.copy(os.path.join(HERE, "validate.mjs"), PLACE)
    p = subprocess.run(["node", "validate.mjs", kind, schema], cwd=PLACE, input=json.dumps(documents).encode(),
                       capture_output=True, timeout=120, check=False)
    lines = p.stdout.decode().splitlines()
    if p.returncode != 0 or lines[-1:] != ["%d documents" % len(documents)]:
        t.note(p.stderr.decode()[-2000:].replace("\n", " | "))
        return None
    return lines[:-1]


def export(fmt, bundle):
    with tempfile.TemporaryDirectory(prefix="nst-schemas-") as folder:
        path = os.path.join(folder, "b.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(bundle, f)
        p = subprocess.run([BUILD + "/cli/nanoseg", "export", fmt, "--from", path, "--data-dir",
                            os.path.join(SRC, "contrib")], capture_output=True, timeout=120, check=False)
    assert p.returncode == 0, p.stderr
    return p.stdout


def documents(fmt, bundle):
    text = export(fmt, bundle)
    if fmt == "oscal":
        return [json.loads(text)]
    if fmt == "ocsf":
        return [json.loads(line) for line in text.splitlines()]
    p = subprocess.run(["/usr/bin/python3", "-c", LOAD], input=text, capture_output=True, timeout=60, check=True)
    return json.loads(p.stdout)


def check(fmt, what, kind, schema, *wrong):
    for name, bundle in (("small", bundlelib.small()), ("large", bundlelib.large(60, 600))):
        docs = documents(fmt, bundle)
        found = mistakes(kind, schema, docs)
        t.ok(docs and found == [], "%s: %s accepts the %s one, %d documents" % (fmt, what, name, len(docs)), found)
    for change in wrong:
        docs = copy.deepcopy(documents(fmt, bundlelib.small()))
        change(docs)
        t.ok(mistakes(kind, schema, docs), "%s: and refuses what is %s" % (fmt, change.__name__))


def misnamed(docs):
    docs[0]["assessment-results"]["import-app"] = docs[0]["assessment-results"].pop("import-ap")


def misspelt(docs):
    docs[0]["spec"]["ingres"] = docs[0]["spec"].pop("ingress")


def mistyped(docs):
    next(p for d in docs for r in d["spec"].get("ingress", []) for q in r.get("ports", r.get("toPorts", []))
         for p in q.get("ports", [q]))["port"] = {"number": 80}


def nobody(docs):
    docs[0]["dst_endpoint"] = {"domain": "x.example", "port": 1}


def unknown(docs):
    docs[0]["activity_id"] = 8


if shutil.which("node") is None or shutil.which("npm") is None:
    skip_all("no node")
if not fetched():
    skip_all("the validators could not be fetched")
if os.path.exists(OSCAL):
    check("oscal", "NIST's schema, by ajv,", "schema", OSCAL, misnamed)
else:
    t.skip("oscal: NIST's schema, by ajv", "no captures beside the source tree")
if subprocess.run(["/usr/bin/python3", "-c", "import yaml"], capture_output=True, check=False).returncode == 0:
    check("k8s", "the published type", "k8s", "", mistyped)
    check("cilium", "the extract of its CRD", "schema", os.path.join(HERE, "cilium.json"), misspelt, mistyped)
else:
    t.skip("k8s and cilium", "no python3-yaml")
check("ocsf", "the extract of OCSF 1.3", "schema", os.path.join(HERE, "ocsf.json"), nobody, unknown)
t.done()
