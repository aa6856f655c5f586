#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a command with a Docker Engine: the one that answers, or one of its own for as long.

`with-docker.py COMMAND [ARGUMENT]...` ends with the command's code. Its own engine keeps all its
data in a temporary folder, and what it did to the firewall is taken back.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo"))
from undo import Undo, ensure_docker  # noqa: E402


def interrupted(signum, _):
    raise KeyboardInterrupt


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, interrupted)
    undo, code, child = Undo(), 1, None
    folder = tempfile.mkdtemp(prefix="nanoseg-docker-", dir="/var/tmp")
    undo.add(shutil.rmtree, folder, ignore_errors=True)
    try:
        print("# using " + ensure_docker(undo, folder), flush=True)
        child = subprocess.Popen(sys.argv[1:])
        code = child.wait()
    except KeyboardInterrupt:
        code = 130
        if child is not None:
            child.terminate()
            child.wait()
    except (RuntimeError, OSError) as e:
        print("with-docker: %s" % e, file=sys.stderr)
    finally:
        undo.all()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
