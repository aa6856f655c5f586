#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A thousand policies in the kernel, where make check-root takes a sample.
DIFF_LIVE_POLICIES=${DIFF_LIVE_POLICIES:-1000} exec "${top_builddir:-.}/tests/diff/it-differential"
