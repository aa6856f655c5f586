/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables broken on purpose. A mutant is caught if some packet of the world's grid meets another
 * fate than the policy says. One that is not caught is held against the original in every cell of
 * the packets that the two tables can tell apart: if none differs, it is the same table.
 */
#ifndef NANOSEG_TESTS_MUTATE_H
#define NANOSEG_TESTS_MUTATE_H

#include <stddef.h>
#include <stdint.h>

#define MUTATION_KINDS 12
extern const char *const mutation_names[MUTATION_KINDS];

struct kills {
	size_t made, killed, equivalent, survived, skipped;
};

/*
 * The mutants of every table of one world, added to kills[kind]: all of them with a share of 1,
 * else of a kind that was caught some times only one of so many.
 */
void mutate_world(uint64_t seed, unsigned long share, struct kills kills[static MUTATION_KINDS]);

#endif
