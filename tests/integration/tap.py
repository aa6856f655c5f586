# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test in Python says: TAP."""
import json
import sys


class Tap:
    def __init__(self):
        self.n = self.failed = 0

    def ok(self, good, name, *why):
        self.n += 1
        self.failed += not good
        print("%s %d - %s" % ("ok" if good else "not ok", self.n, name), flush=True)
        if not good:
            for w in why:
                for line in (w if isinstance(w, str) else json.dumps(w, default=str)).splitlines():
                    print("# " + line[:4000].encode("ascii", "backslashreplace").decode(), flush=True)
        return good

    def skip(self, name, why):
        self.n += 1
        print("ok %d - %s # SKIP %s" % (self.n, name, why), flush=True)

    def note(self, text):
        print("# " + text, flush=True)

    def done(self):
        print("1..%d" % self.n, flush=True)
        sys.exit(1 if self.failed else 0)


def skip_all(why):
    print("1..0 # SKIP " + why)
    sys.exit(0)
