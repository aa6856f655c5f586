#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The hostile namespaces' test with the part that takes a minute.
NANOSEG_SLOW_TESTS=1 exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-warden-hostile.py"
