/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source's own word. Who answers has only the packet's word for who asked, and any neighbour
 * can write another's address into a packet. So what is answered here and asked from another
 * namespace that is observed here counts once that namespace has seen it, too: until then it is
 * held. After a while it is judged: a source that would have seen it and did not has not sent it,
 * so nobody's edge has it, and it is counted and told of. Where the source may have missed it
 * (attached late, gone, losses, an address that changed hands), it is credited with
 * EDGE_FLAG_ONE_END.
 *
 * An answer of the destination's own connection, met in its middle after its begin was forgotten,
 * looks like one from the port of its service: that is neither.
 *
 * The word is asked for an edge, not for a connection: what the source is known to do needs none.
 * Where the host translates, the source knows the edge by the address that it dialled; not finding
 * that proves nothing, as it may have gone by a name.
 *
 * What is held is bounded, by edge, and overwritten only as a loss that is told of.
 */
#ifndef NANOSEG_DAEMON_WITNESS_H
#define NANOSEG_DAEMON_WITNESS_H

#include "rules/edge.h"

#include <stdint.h>

struct controller;
struct instance;
struct witness;

int witness_new(uint64_t seed, struct witness **ret);
void witness_free(struct witness *w);

/*
 * An observation at its destination, of a source that is another instance here. True: it is held,
 * and not to be credited now; else o may have got a flag. again: it may have been counted before.
 */
bool witness_holds(struct controller *c, struct edge_observation *o, const struct instance *src,
    struct instance *dst, bool again);
/* The source has seen it: what was held of it is credited. */
void witness_heard(struct controller *c, const struct edge_key *key);
/* Once a second. */
void witness_tick(struct controller *c);

#endif
