#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph's page in a real browser (headless Chromium, by the WebDriver protocol).

It loads, filters, shows an edge's evidence, works by keyboard, keeps hostile names as text, asks nobody
for anything, and its policy stops what would. SCREENSHOTS=DIR keeps pictures to look at.
"""
import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

SRC = os.environ.get("top_srcdir", ".")
BUILD = os.environ.get("top_builddir", ".")
sys.path[:0] = [os.path.join(SRC, "tests/unit"), os.path.join(SRC, "tests/integration")]
import bundlelib  # noqa: E402
from tap import Tap, skip_all  # noqa: E402

NANOSEG = os.path.join(BUILD, "cli/nanoseg")
DIR = tempfile.mkdtemp(prefix="nst-page-")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
t = Tap()
ok = t.ok


class Browser:
    def __init__(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = open(os.path.join(DIR, "driver.log"), "wb")
        self.driver = subprocess.Popen([shutil.which("chromedriver"), "--port=%d" % self.port], stdout=self.log,
                                       stderr=self.log, env=dict(os.environ, HOME=DIR))
        end = time.monotonic() + 60
        while True:
            try:
                if self.call("GET", "/status")["ready"]:
                    break
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > end:
                raise TimeoutError("chromedriver does not answer")
            time.sleep(0.1)
        self.session = ""
        answer = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--window-size=1400,900", "--host-resolver-rules=MAP * ~NOTFOUND",
                "--user-data-dir=" + DIR + "/profile"]}}}})
        self.session = "/session/" + answer["sessionId"]

    def call(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        c.request(method, getattr(self, "session", "") + path, json.dumps(body) if body is not None else None,
                  {"Content-Type": "application/json"})
        value = json.loads(c.getresponse().read())["value"]
        c.close()
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(value["message"])
        return value

    def open(self, path):
        self.call("POST", "/url", {"url": "file://" + path})

    def run(self, script, *args):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def element(self, css):
        return self.call("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self.call("POST", "/element/%s/click" % self.element(css), {})

    def wait(self, script, wanted):
        """What the script returns, once it is what is wanted; or else after five seconds. A click is not done at once."""
        end = time.monotonic() + 5
        while True:
            value = self.run(script)
            if value == wanted or time.monotonic() > end:
                return value
            time.sleep(0.02)

    def keys(self, *keys):
        acts = [{"type": t, "value": k} for k in keys for t in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": acts}]})

    def logs(self):
        return [e["message"] for e in self.call("POST", "/se/log", {"type": "browser"})]

    def shot(self, name):
        if os.environ.get("SCREENSHOTS"):
            with open(os.path.join(os.environ["SCREENSHOTS"], name + ".png"), "wb") as f:
                f.write(base64.b64decode(self.call("GET", "/screenshot")))

    def close(self):
        try:
            self.call("DELETE", "")
        except (OSError, RuntimeError, http.client.HTTPException):
            pass
        self.driver.terminate()
        self.driver.wait()
        self.log.close()


def page(name, bundle):
    source, path = os.path.join(DIR, name + ".json"), os.path.join(DIR, name + ".html")
    with open(source, "w", encoding="utf-8") as f:
        json.dump(bundle, f)
    os.makedirs(os.path.join(DIR, "data/controls"), exist_ok=True)
    r = subprocess.run([NANOSEG, "export", "graph", "--from", source, "--out", path, "--data-dir", DIR + "/data"],
                       capture_output=True, timeout=60, check=False)
    ok(r.returncode == 0 and not r.stderr, "%s: the page is written" % name, r.stderr)
    with open(path, encoding="utf-8") as f:
        return path, f.read()


COUNTS = "return [nanosegGraph.nodes(':visible').not('.group').length, nanosegGraph.edges(':visible').length]"


def test_static(text, small):
    policy = re.search('Content-Security-Policy" content="([^"]*)"', text).group(1)
    parts = re.findall("<script>(.*?)</script>", text, re.S) + re.findall("<style[^>]*>(.*?)</style>", text, re.S)
    digests = ["'sha256-%s'" % base64.b64encode(hashlib.sha256(p.encode()).digest()).decode() for p in parts]
    ok(len(parts) == 3 and all(d in policy for d in digests) and policy.startswith("default-src 'none'") and
       "unsafe" not in policy, "its policy names its own scripts and style, and nothing else", policy, digests)
    ok("Copyright (c)" in parts[0][:200] and "Cytoscape Consortium" in parts[0][:200], "cytoscape's licence is kept")
    island = re.search('id="data">(.*?)</script>', text, re.S).group(1)
    ok(not re.search("[<>&]", island) and len(json.loads(island)["edges"]) == len(small["edges"]),
       "the data cannot end their island")


def test_small(b, path, small):
    b.open(path)
    nodes, edges = b.run(COUNTS)
    ok(nodes >= len(small["workloads"]) and 0 < edges <= len(small["edges"]), "it shows all", nodes, edges)
    ok(b.run("""const r = nanosegGraph.elements().renderedBoundingBox(), h = nanosegGraph.container().clientHeight,
             w = nanosegGraph.container().clientWidth;
             return r.y1 >= 0 && r.y2 <= h && r.x1 >= 0 && r.x2 <= w &&
             document.documentElement.scrollHeight <= innerHeight"""), "and all of it is on the screen")
    b.shot("small")
    ok(b.run("return document.querySelectorAll('img, iframe, b').length") == 0 and
       b.run("return document.scripts.length") == 3 and
       b.run("return [...document.querySelectorAll('#nodes button')].some("
             "(x) => x.textContent === '</script><script>alert(1)</script>')"), "hostile names are text")
    names = b.run("return [...document.querySelectorAll('#nodes button')].map((x) => x.textContent).join('')")
    ok("evil\\x1b[31m\\x07" in names and "\u202e" not in names and "\x1b" not in names, "and can be looked at")
    b.click("#state-approved")
    after = b.wait("return nanosegGraph.edges(':visible').length", 2)
    ok(after == 2, "filter by state: what is approved goes", after)
    b.click("#state-approved")
    b.wait("return nanosegGraph.edges(':visible').length", edges)
    b.run("const s = document.getElementById('group'); s.value = 'shop'; s.dispatchEvent(new Event('change'))")
    shown = b.run("return [...document.querySelectorAll('#nodes button')].map((x) => x.textContent)")
    ok({"shop/web", "shop/api", "shop/db"} <= set(shown) and "batch" not in shown, "filter by project", shown)
    b.run("const s = document.getElementById('group'); s.value = ''; s.dispatchEvent(new Event('change'))")
    b.run("document.activeElement.blur()")
    b.keys("/", *"shop/api")
    shown = b.run("return [...document.querySelectorAll('#nodes button')].map((x) => x.textContent)")
    ok(shown == ["shop/api"], "search, by keyboard alone", shown)
    b.run("document.querySelector('#nodes button').focus()")
    b.keys("\ue007")
    detail = b.run("return document.getElementById('detail').innerText")
    ok("To (" in detail and "shop/db tcp/5432, approved" in detail, "a peer lists its connections", detail)
    b.run("[...document.querySelectorAll('#detail button')].find((x) => x.textContent.includes('tcp/5432')).focus()")
    b.keys("\ue007")
    detail = b.run("return document.getElementById('detail').innerText")
    ok(all(x in detail for x in ["shop/api to shop/db", "because 2", "T-2", "root", "2026-02-20", "e-%016x" % 2]),
       "a connection shows its evidence", detail)
    ok(b.run("return nanosegGraph.edges('.chosen').length") == 1, "and is the one that is marked")
    b.shot("edge")
    b.keys("\ue00c")
    ok(b.run("return nanosegGraph.elements('.chosen').length") == 0, "Escape clears")
    # A click on the canvas, in the middle of an edge.
    b.run("const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input'));"
          "nanosegGraph.edges().filter((e) => e.data('pair').edges[0].id === arguments[0]).emit('tap')",
          small["edges"][1]["id"])
    ok("because 2" in b.run("return document.getElementById('detail').innerText"), "a tap shows it too")
    ok(b.run("return document.querySelectorAll('input:not([id]), button:not([type])').length") == 0 and
       b.run("return [...document.querySelectorAll('input, select')].every((x) => x.labels.length > 0)"),
       "every control has a name")
    logs = b.logs()
    ok(not logs, "the browser complains of nothing", logs)


def test_policy(b):
    """The policy holds: what a script would load or inject is stopped."""
    r = b.call("POST", "/execute/async", {"script": """
        const done = arguments[arguments.length - 1], seen = new Set();
        document.addEventListener('securitypolicyviolation', (e) => seen.add(e.effectiveDirective));
        const s = document.createElement('script'); s.textContent = 'window.owned = 1'; document.body.append(s);
        const i = new Image(); i.src = 'http://192.0.2.1/x'; document.body.append(i);
        fetch('http://192.0.2.1/y').catch(() => 0);
        setTimeout(() => done([window.owned === 1, [...seen].sort()]), 300);
        """, "args": []})
    ok(r[0] is False and {"connect-src", "img-src", "script-src-elem"} <= set(r[1]),
       "its policy stops a script, an image and a request", r)


def test_large(b):
    bundle = bundlelib.large(300, 3000)
    path, text = page("large", bundle)
    began = time.monotonic()
    b.open(path)
    nodes, edges = b.run(COUNTS)
    script = b.run("return performance.getEntriesByType('navigation')[0].domComplete")
    print("# 300 workloads, 3,000 edges: %d bytes, script done after %.1f s, drawn after %.1f s" %
          (len(text), script / 1000, time.monotonic() - began))
    ok(nodes == 300 and 2500 < edges <= 3000, "300 workloads and 3,000 edges", nodes, edges)
    overlap = b.run("""
        const boxes = nanosegGraph.nodes().not('.group').map((n) => n.boundingBox({includeLabels: false}));
        return boxes.some((a, i) => boxes.some((c, k) => k > i && a.x1 < c.x2 && c.x1 < a.x2 && a.y1 < c.y2 && c.y1 < a.y2));
        """)
    ok(overlap is False, "no peer hides another")
    b.shot("large")
    b.run("document.querySelector('#nodes button').click()")
    ok(b.run("return nanosegGraph.edges().not('.faded').length") < 60, "choosing one fades the others")
    b.shot("large-chosen")


def main():
    if shutil.which("chromedriver") is None:
        skip_all("no chromedriver")
    if os.path.getsize(os.path.join(BUILD, "cli/page/cytoscape.min.js")
                       if os.path.exists(os.path.join(BUILD, "cli/page/cytoscape.min.js"))
                       else os.path.join(SRC, "cli/page/cytoscape.min.js")) == 0:
        skip_all("cytoscape could not be fetched")
    small = bundlelib.small()
    path, text = page("small", small)
    test_static(text, small)
    b = Browser()
    try:
        test_small(b, path, small)
        test_policy(b)
        test_large(b)
    finally:
        b.close()
    t.done()


try:
    main()
finally:
    shutil.rmtree(DIR, ignore_errors=True)
