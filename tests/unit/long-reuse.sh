#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every order of the events of an address that changes hands, where test-reuse takes a sample.
REUSE_EVERY=1 exec "${top_builddir:-.}/tests/unit/test-reuse"
