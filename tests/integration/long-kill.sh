#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Killed at every system call that changes anything outside of the process; with KILLAT_ALL=1 at every one.
NANOSEG_STEP=1 exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-kill.py"
