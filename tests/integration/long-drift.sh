#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Repairs in such a number that the slowest of a hundred means something.
P99_MS=10 CHANGES=${CHANGES:-500} exec python3 "${top_srcdir:-.}/tests/integration/it-drift.py"
