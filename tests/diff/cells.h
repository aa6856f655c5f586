/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Are two tables the same function? All that a table reads of a packet are the family, the
 * protocol, lo or not, conntrack's state, TCP flags, the hop limit, whether the source is
 * link-local, ICMP's type, and the keys of its sets. Each of these has few values that any rule or
 * element tells apart; a packet of every combination is run through both.
 */
#ifndef NANOSEG_TESTS_CELLS_H
#define NANOSEG_TESTS_CELLS_H

#include "tests/diff/nftsim.h"

/*
 * False if some packet meets another fate. With `set` not negative, only elements of that set
 * differ, so only packets with a key inside `box` are tried.
 */
bool cells_equal(
    const struct sim_table *a, const struct sim_table *b, int set, const struct sim_elem *box);
/* The rule can do nothing: before anything else it looks for something in an empty set. */
bool rule_is_dead(const struct sim_table *t, const struct sim_rule *r);
/* The two end alike and do nothing else, so which comes first makes no difference. */
bool rules_commute(const struct sim_rule *a, const struct sim_rule *b);

#endif
