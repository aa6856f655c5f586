#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# 1,000 random changes of policy under live flows, in nine minutes at most, and a change with 100,000 entries in the
# table. P99_MS is for a machine that does nothing else.
CHANGES=1000 ENTRIES=100000 LIMIT_S=540 P99_MS="${P99_MS:-100}" exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-tighten.py"
