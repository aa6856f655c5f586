#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The report in a real browser: tests/page/report-page.mjs, by Playwright with the machine's Chromium.

Playwright is fetched by npm at the pinned version and hash. SCREENSHOTS=DIR keeps pictures to look at.
"""
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
from tap import skip_all  # noqa: E402

PLACE = os.path.join(BUILD, "tests/page/fetch")


def playwright():
    """The folder that has it, fetched once; None if it cannot be had."""
    done = os.path.join(PLACE, "node_modules/playwright-core/package.json")
    if not os.path.exists(done):
        shutil.rmtree(PLACE, ignore_errors=True)
        os.makedirs(PLACE)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(SRC, "tests/page", name), PLACE)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1",
                        "--fetch-timeout=30000"], cwd=PLACE, capture_output=True, timeout=300, check=False)
    return PLACE if os.path.exists(done) else None


def write(folder, name, fmt, bundle):
    source = os.path.join(folder, name + ".json")
    with open(source, "w", encoding="utf-8") as f:
        json.dump(bundle, f)
    os.makedirs(os.path.join(folder, "data/controls"), exist_ok=True)
    subprocess.run([os.path.join(BUILD, "cli/nanoseg"), "export", fmt, "--from", source, "--out",
                    os.path.join(folder, name + ".html"), "--data-dir", folder + "/data"], check=True, timeout=120)


def main():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or shutil.which("node") is None or shutil.which("npm") is None:
        skip_all("no Chromium or no node")
    at = next(p for p in (os.path.join(x, "cli/page/cytoscape.min.js") for x in (BUILD, SRC)) if os.path.exists(p))
    if os.path.getsize(at) == 0:
        skip_all("cytoscape could not be fetched")
    modules = playwright()
    if modules is None:
        skip_all("Playwright could not be fetched")
    with tempfile.TemporaryDirectory(prefix="nst-report-") as folder:
        write(folder, "small", "html", bundlelib.small())
        write(folder, "static", "html-static", bundlelib.small())
        write(folder, "large", "html", bundlelib.large(300, 3000))
        write(folder, "huge", "html", bundlelib.large(100, 5001))
        return subprocess.run(["node", os.path.join(SRC, "tests/page/report-page.mjs"), modules, folder,
                               os.environ.get("SCREENSHOTS", "")], timeout=600, check=False,
                              env=dict(os.environ, CHROMIUM=chromium, HOME=folder)).returncode


sys.exit(main())
