#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The start window with 200 starts each way.
NANOSEG_STARTS=200 NANOSEG_BUSY_STARTS=200 NANOSEG_RESTARTS=30 exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-start.py"
