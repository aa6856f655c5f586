#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Concurrent reviewers, 10,000 changes.
NANOSEG_TRIES=${NANOSEG_TRIES:-10000} exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-reviewers.py"
