#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# 1,000 random changes of policy under live flows, and a change with 100,000 entries in the table.
CHANGES=1000 ENTRIES=100000 exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-tighten.py"
