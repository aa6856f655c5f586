#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The table of docs/completeness.md: the simulator with many cases.
exec "$top_builddir/tests/sim/sim-complete" 2000
