/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What counters that only grow had when they were last read, by tuple: how much each has grown
 * since.
 */
#ifndef NANOSEG_RULES_TALLY_H
#define NANOSEG_RULES_TALLY_H

#include "rules/flow.h"

#include <stddef.h>

struct tally;

/* For at most max tuples. 0 or -ENOMEM. */
int tally_new(size_t max, uint64_t seed, struct tally **ret);
void tally_free(struct tally *t);
static inline void
tally_freep(struct tally **t)
{
	tally_free(*t);
}
/*
 * 0; -ERANGE: it has gone back, and *ret_growth is all of it; -ENOSPC, -ENOMEM: no room, nothing is
 * known of it.
 */
int tally_read(struct tally *t, const struct tuple *key, uint64_t value, uint64_t *ret_growth);
size_t tally_count(const struct tally *t);
/* Forgets everything. */
void tally_clear(struct tally *t);

#endif
