#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The package in a fresh root that debootstrap makes, which takes a mirror of Debian.
exec "${PYTHON3:-/usr/bin/python3}" "${top_srcdir:-.}/tests/integration/it-package-bare.py" --debootstrap
