/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a ruleset says of a new connection, looked up as the table in the kernel looks it up. */
#ifndef NANOSEG_RULES_MATCH_H
#define NANOSEG_RULES_MATCH_H

#include "rules/ruleset.h"

struct match;

/* Borrows r, which is normalised, as a decoded one is. */
int match_new(const struct ruleset *r, struct match **ret);
void match_free(struct match *m);
static inline void
match_freep(struct match **m)
{
	match_free(*m);
}

/*
 * Does it refuse a connection of its instance to or from `other`? Of ICMP, port is type << 8 |
 * code. A direction that is not enforced refuses nothing.
 */
bool match_refuses(const struct match *m, enum flow_dir dir, const struct addr *other,
    uint8_t proto, uint16_t port);
/* The number of the edge that an approval of it came from, 0: none does; denials aside. */
uint64_t match_edge(const struct match *m, enum flow_dir dir, const struct addr *other,
    uint8_t proto, uint16_t port);

#endif
