# SPDX-License-Identifier: GPL-2.0-or-later
"""it-many.py beside 10, 50 and 200."""
import os
import sys

os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "it-many.py"),
                          "--long"])
