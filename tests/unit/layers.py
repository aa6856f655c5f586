#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Proves the direction of the layers: rules <- netlink <- daemon, rules <- cli.

Includes: each folder includes only what stands below it, and rules/ only the system headers listed
here. Symbols: what rules/librules.a needs from outside is listed in layers-symbols.txt, so that no
file descriptor, clock, log or network call can slip in. Then the checks are held against bad
material: a check that passes everything proves nothing.
"""
import fnmatch
import os
import re
import subprocess
import sys
import tempfile

SRC = os.environ.get("top_srcdir", ".")
BUILD = os.environ.get("top_builddir", ".")
ALLOW = os.path.join(SRC, "tests/unit/layers-symbols.txt")

LAYERS = {
    "rules": ["rules"],
    "netlink": ["rules", "netlink"],
    "daemon": ["rules", "netlink", "daemon"],
    "cli": ["rules", "cli"],
}

# What a pure library needs: the language, text, numbers, and the libraries for formats and hashes.
RULES_SYSTEM = [
    "assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "math.h", "stdarg.h",
    "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "strings.h",
    "netinet/in.h", "arpa/inet.h",
    "jansson.h", "yaml.h", "nettle/*.h", "ldns/*.h",
    "unistd.h",  # close() of the cleanup attributes in rules/util.h; the symbols say who calls it
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def bad_includes(root, folder):
    """The includes of a folder that point the wrong way."""
    bad = []
    for name in sorted(os.listdir(os.path.join(root, folder))):
        if not name.endswith((".c", ".h")):
            continue
        with open(os.path.join(root, folder, name), encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                m = INCLUDE.match(line)
                if m is None:
                    if re.match(r"^\s*#\s*include", line):
                        bad.append(f"{folder}/{name}:{number}: computed include")
                    continue
                kind, path = m.groups()
                top = path.split("/")[0]
                wrong = False
                if kind == '"':
                    wrong = path != "config.h" and (top not in LAYERS[folder] or ".." in path)
                elif top in LAYERS and os.path.isdir(os.path.join(SRC, top)):
                    wrong = top not in LAYERS[folder]
                elif folder == "rules":
                    wrong = not any(fnmatch.fnmatchcase(path, p) for p in RULES_SYSTEM)
                if wrong:
                    bad.append(f"{folder}/{name}:{number}: {path}")
    return bad


def read_allow():
    allow, deny = [], []
    with open(ALLOW, encoding="utf-8") as f:
        for line in f:
            word = line.split("#")[0].strip()
            if word.startswith("!"):
                deny.append(word[1:])
            elif word:
                allow.append(word)
    return allow, deny


def bad_symbols(archive, also_defined=()):
    """The undefined symbols of an archive that no pattern allows."""
    out = subprocess.run(["nm", archive], capture_output=True, text=True, check=True).stdout
    undefined, defined = set(), set(also_defined)
    for line in out.splitlines():
        m = re.match(r"^(?:[0-9a-f]+)?\s+([A-Za-z])\s+(\S+)$", line)
        if m is None:
            continue
        kind, name = m.groups()
        name = name.split("@")[0]
        if kind in "Uwv":
            undefined.add(name)
        else:
            defined.add(name)
    allow, deny = read_allow()
    bad = []
    for name in sorted(undefined - defined):
        allowed = any(fnmatch.fnmatchcase(name, p) for p in allow)
        denied = any(fnmatch.fnmatchcase(name, p) for p in deny)
        if not allowed or denied:
            bad.append(name)
    return bad, len(undefined), len(defined)


# The reference evaluator and compile may have in common how addresses compare, and no more.
EVALUATE_SYMBOLS = {"addr_eq", "addr_scope", "addr_is_routed", "prefix_contains",
                    "strlen", "strcmp", "memcmp", "bcmp", "memcpy", "memset"}
EVALUATE_INCLUDES = {"rules/compile.h", "netinet/in.h", "string.h"}


def foreign_symbols(name):
    """The undefined symbols of an object of the rules library that evaluate may not have."""
    path = os.path.join(BUILD, f"rules/librules_a-{name}.o")
    out = subprocess.run(["nm", "-u", path], capture_output=True, text=True, check=True).stdout
    undefined = {line.split()[-1].split("@")[0] for line in out.splitlines() if line.strip()}
    # The compiler's and the sanitizers' own.
    return sorted(u for u in undefined - EVALUATE_SYMBOLS if not u.startswith(("__", "_GLOBAL")))


def test_evaluate_stands_alone():
    bad = [f"calls {s}" for s in foreign_symbols("evaluate")]
    with open(os.path.join(SRC, "rules/evaluate.c"), encoding="utf-8") as f:
        for line in f:
            m = INCLUDE.match(line)
            if m and m.group(2) not in EVALUATE_INCLUDES:
                bad.append(f"includes {m.group(2)}")
    if not {"range_subtract", "ruleset_disjoin", "policy_find_workload"} <= set(
            foreign_symbols("compile")):
        bad.append("the check does not see what compile calls")
    return bad


def test_includes(folder):
    if not os.path.isdir(os.path.join(SRC, folder)):
        return [f"no folder {folder}"]
    return bad_includes(SRC, folder)


def test_rules_symbols():
    bad, undefined, defined = bad_symbols(os.path.join(BUILD, "rules/librules.a"))
    if undefined < 5 or defined < 20:
        return [f"nm saw {undefined} undefined and {defined} defined symbols: not the library"]
    return bad


def test_bad_object_is_seen():
    """tests/unit/layers-bad.c calls what rules/ must not; each call has to be named."""
    bad, _, _ = bad_symbols(os.path.join(BUILD, "tests/unit/liblayersbad.a"))
    want = {"socket", "open", "clock_gettime", "time", "printf", "puts", "syslog", "getenv",
            "json_dump_file"}
    seen = {re.sub(r"^__(\w+)_chk$", r"\1", re.sub(r"64$", "", b)) for b in bad}
    seen |= {re.sub(r"^_+", "", s) for s in seen}
    return [f"not noticed: {w}" for w in sorted(want - seen)]


def test_bad_includes_are_seen():
    cases = [
        ("rules", '#include "netlink/ct.h"\n'),
        ("rules", '#include "daemon/msg.h"\n'),
        ("rules", "#include <sys/socket.h>\n"),
        ("rules", "  #  include <time.h>\n"),
        ("rules", "#include <linux/netlink.h>\n"),
        ("rules", '#include "../daemon/msg.h"\n'),
        ("rules", '#include "rules/../daemon/msg.h"\n'),
        ("rules", "#include <daemon/msg.h>\n"),
        ("rules", "#include HEADER\n"),
        ("netlink", '#include "daemon/log.h"\n'),
        ("netlink", '#include "cli/cli.h"\n'),
        ("daemon", '#include "cli/cli.h"\n'),
        ("cli", '#include "daemon/proto.h"\n'),
        ("cli", '#include "netlink/nft.h"\n'),
    ]
    wrong = []
    for folder, text in cases:
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(os.path.join(root, folder))
            with open(os.path.join(root, folder, "x.c"), "w", encoding="utf-8") as f:
                f.write('#include "config.h"\n' + text)
            if len(bad_includes(root, folder)) != 1:
                wrong.append(f"not noticed: {folder}: {text.strip()}")
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "rules"))
        with open(os.path.join(root, "rules", "x.c"), "w", encoding="utf-8") as f:
            f.write('#include "rules/util.h"\n#include <nettle/sha2.h>\n/* #include <time.h> */\n')
        if bad_includes(root, "rules"):
            wrong.append("refused what is allowed")
    return wrong


def main():
    tests = [(f"{folder}/ includes only what stands below it", lambda f=folder: test_includes(f))
             for folder in LAYERS]
    tests += [
        ("rules/ needs only what is listed", test_rules_symbols),
        ("evaluate shares nothing with compile but the comparison of addresses",
         test_evaluate_stands_alone),
        ("an object that opens, asks the time or prints is refused", test_bad_object_is_seen),
        ("includes that point the wrong way are refused", test_bad_includes_are_seen),
    ]
    print(f"1..{len(tests)}")
    failed = False
    for number, (name, run) in enumerate(tests, 1):
        problems = run()
        for p in problems:
            print(f"# {p}")
        failed = failed or bool(problems)
        print(f"{'not ok' if problems else 'ok'} {number} - {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
