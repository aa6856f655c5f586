/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic on addresses and inclusive ranges of them. */
#ifndef NANOSEG_RULES_RANGE_H
#define NANOSEG_RULES_RANGE_H

#include "rules/addr.h"

/* The neighbours of an address; the last address of a family has no next, the first no previous. */
struct addr addr_next(const struct addr *a);
struct addr addr_prev(const struct addr *a);

/*
 * The ranges (ascending, disjoint) less the holes (ascending, unique addresses). *ret is malloc'ed,
 * ascending and disjoint, NULL if nothing is left. 0 or -ENOMEM.
 */
int range_subtract(const struct addr_range *ranges, size_t n_ranges, const struct addr *holes,
    size_t n_holes, struct addr_range **ret, size_t *ret_n);

#endif
