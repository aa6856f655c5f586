#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual pages are well-formed and complete: every command, option and key stands in them."""
import os
import re
import shutil
import subprocess
import sys

SRC = os.environ.get("top_srcdir", ".")
BUILD = os.environ.get("top_builddir", ".")
PAGES = ["nanoseg.1", "nanosegd.8", "nanosegd.yaml.5"]

tests = 0
failed = 0


def check(name, why):
    global tests, failed
    tests += 1
    failed += bool(why)
    for line in why:
        print("# " + line)
    print("%s %d - %s" % ("not ok" if why else "ok", tests, name), flush=True)


def skip(name, why):
    global tests
    tests += 1
    print("ok %d - %s # SKIP %s" % (tests, name, why))


def page(name):
    with open(os.path.join(SRC, "docs", name), encoding="utf-8") as f:
        return f.read()


def output(program, *args):
    p = subprocess.run([os.path.join(BUILD, program), *args], capture_output=True, text=True,
                       timeout=20, check=False)
    return p.stdout


def has_option(text, option):
    return re.search(r"\bFl (\w , )?-%s\b|[|,] -%s\b" % (option[2:], option[2:]), text) is not None


def missing_options(text, help_text):
    return [o for o in sorted(set(re.findall(r"--[a-z][a-z-]*", help_text))) if not has_option(text, o)]


def missing_keys(text, config):
    keys = set(re.findall(r"^([a-zA-Z]+):", config, re.M))
    documented = set(re.findall(r"^\.It Cm (\w+) :", text, re.M))
    return sorted(keys ^ documented)


def main():
    for name in PAGES:
        if shutil.which("mandoc"):
            p = subprocess.run(["mandoc", "-Tlint", "-Wwarning", os.path.join(SRC, "docs", name)],
                               capture_output=True, text=True, check=False)
            check("%s: mandoc finds nothing" % name, (p.stdout + p.stderr).splitlines())
        else:
            skip("%s: mandoc finds nothing" % name, "no mandoc")
        if shutil.which("groff"):
            p = subprocess.run(["groff", "-mdoc", "-ww", "-z", os.path.join(SRC, "docs", name)],
                               capture_output=True, text=True, check=False)
            check("%s: groff finds nothing" % name, p.stderr.splitlines())
        else:
            skip("%s: groff finds nothing" % name, "no groff")
    text = page("nanoseg.1")
    top = output("cli/nanoseg", "--help")
    commands = re.findall(r"^  ([a-z][a-z-]+) ", top, re.M)
    check("nanoseg.1: the program has commands", [] if len(commands) > 10 else commands)
    check("nanoseg.1: every command",
          [c for c in commands if not re.search(r"^\.It Cm %s\b" % c, text, re.M)])
    check("nanoseg.1: every option",
          [o for c in commands
           for o in missing_options(text, output("cli/nanoseg", c, "--help"))])
    help_text = output("daemon/nanosegd", "--help")
    check("nanosegd.8: the program has options", [] if "--cleanup" in help_text else [help_text])
    check("nanosegd.8: every option", missing_options(page("nanosegd.8"), help_text))
    with open(os.path.join(SRC, "contrib/nanosegd.yaml"), encoding="utf-8") as f:
        config = f.read()
    check("nanosegd.yaml.5: every key, and no other", missing_keys(page("nanosegd.yaml.5"), config))
    check("this test sees what is missing",
          [] if missing_options(text, "--nowhere") == ["--nowhere"] and
          missing_keys("", config) and missing_keys(page("nanosegd.yaml.5"), "") else ["it does not"])
    print("1..%d" % tests)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
