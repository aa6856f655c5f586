#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots, with what systemd does to the service and restarts of dockerd.
NANOSEG_BOOT=all exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-boot.py"
