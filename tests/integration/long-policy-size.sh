#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A policy of 100,000 edges, and others are served.
NANOSEG_EDGES=${NANOSEG_EDGES:-99900} exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-policy-size.py"
