#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A hundred thousand policies and every mutant, where make check takes a sample.
export DIFF_POLICIES=${DIFF_POLICIES:-100000} DIFF_MUTANT_SEEDS=${DIFF_MUTANT_SEEDS:-12} \
	DIFF_MUTANT_SHARE=${DIFF_MUTANT_SHARE:-1}
exec "${top_builddir:-.}/tests/diff/differential"
