/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting distinct values in little memory: the `cap` smallest distinct hashes seen, ascending.
 *
 * While it has room it has them all; once full, k hashes that reach up to h of 2^32 tell of about
 * (k - 1) * 2^32 / h values (Bar-Yossef et al., "Counting distinct elements in a data stream",
 * 2002). Two sketches merge by keeping the smallest of both, which counts what they share once, so
 * the order of whatever happened does not matter. The hashes must be the same on every host and
 * after a restart, so they have no seed.
 */
#ifndef NANOSEG_RULES_SKETCH_H
#define NANOSEG_RULES_SKETCH_H

#include <stdint.h>

/* How many of the hashes are used from now on. What is merged has the same cap. */
unsigned sketch_add(uint32_t *hashes, unsigned n, unsigned cap, uint32_t hash);
unsigned sketch_merge(
    uint32_t *hashes, unsigned n, unsigned cap, const uint32_t *from, unsigned n_from);
uint64_t sketch_estimate(const uint32_t *hashes, unsigned n, unsigned cap);

#endif
