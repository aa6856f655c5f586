#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# More rounds of addresses that change hands under Docker.
NANOSEG_SLOW_TESTS=1 exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-reuse.py"
