#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Ten thousand changes of policy, and each role killed a thousand times, under a flood.
NANOSEG_CHANGES=10000 NANOSEG_FOREIGN_CHANGES=1000 NANOSEG_KILLS=1000 exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-leak.py"
