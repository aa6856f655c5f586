#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A hundred and forty jobs in each part, under a hundred thousand connections of others.
export NST_RECALL_JOBS=140 NST_RECALL_FLOWS=100000
exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-recall.py"
