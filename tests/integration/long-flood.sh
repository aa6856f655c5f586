#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A burst of a million distinct tuples.
NST_FLOOD_TUPLES=1000000 exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-flood.py"
