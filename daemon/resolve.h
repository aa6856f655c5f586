/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address -> instance and peer: resolve.c. */
#ifndef NANOSEG_DAEMON_RESOLVE_H
#define NANOSEG_DAEMON_RESOLVE_H

#include "rules/edge.h"
#include "rules/util.h"

struct addr_map;
struct controller;
struct instance;
struct inventory;

/* No event is read longer than this after what it tells of. */
#define LATE_NS (2 * NSEC_PER_SEC)

int addr_map_new(uint64_t seed, struct addr_map **ret);
void addr_map_free(struct addr_map *m);
int addr_map_claim(struct addr_map *m, const struct addr *a, struct instance *i);
void addr_map_retract(struct addr_map *m, const struct addr *a, const struct instance *i);
/* What retract says by itself: from now on it may be another workload's. */
void addr_map_release(struct addr_map *m, const struct addr *a, const struct instance *i);
/* May an event of that time be about another workload than the one that i is of now? */
bool addr_map_was_anothers(
    const struct addr_map *m, const struct addr *a, const struct instance *i, uint64_t time_ns);
/*
 * The last owners of an address that nobody has now, if an event of that time may be about them;
 * how many are known. *ret_until_ns: until when an event may be (CLOCK_REALTIME), 0: none.
 */
#define FORMER_OWNERS 2
size_t addr_map_former(const struct addr_map *m, const struct addr *a, uint64_t time_ns,
    peer_id ret[static FORMER_OWNERS], uint64_t *ret_until_ns);
/* The one instance with this address; NULL if none, or *ret_ambiguous. */
struct instance *addr_map_find(const struct addr_map *m, const struct addr *a, bool *ret_ambiguous);
/*
 * The peer behind an address. 0; -EAGAIN: an instance that is not identified yet has it, or nobody
 * has it and some instance's addresses are still on their way (asked to wait); -ENOSPC. *ret_i is
 * the instance or NULL.
 *
 * RESOLVE_FINAL: take what is known, do not wait. RESOLVE_REFUSED: nothing was answered, anyone can
 * make any number of such events: new addresses get half of the room that evidence has.
 */
#define RESOLVE_FINAL 0x1u
#define RESOLVE_REFUSED 0x2u
int resolve_addr(struct controller *c, const struct addr *a, unsigned flags, peer_id *ret,
    struct instance **ret_i);
/* all_names: also those that no edge of the policy speaks of, for another policy. */
struct inventory *inventory_build(struct controller *c, bool all_names);
void inventory_free(struct inventory *inv);
static inline void
inventory_freep(struct inventory **inv)
{
	inventory_free(*inv);
}

#endif
