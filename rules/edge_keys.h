/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The edge table's index of keys, for rules/edge.c alone: observed key -> the position of its exact
 * edge, and of the edge that serves it.
 *
 * What serves is valid only in the epoch it was found in, so dropping all aliases is one increment.
 * A key whose server depends on the addresses says SERVES_BY_ADDRESS, and a second entry, keyed by
 * a seeded hash of key and addresses, has the answer; its mark in `zero`, which is 0 in real keys,
 * keeps it apart from them.
 *
 * Open addressing in powers of two, at most three quarters full, made anew when that would be
 * exceeded; nothing is deleted in between. An alias is a slot without an exact edge. There are at
 * most max_aliases: at one more, all are forgotten.
 */
#ifndef NANOSEG_RULES_EDGE_KEYS_H
#define NANOSEG_RULES_EDGE_KEYS_H

#include "rules/edge.h"

#define EDGE_POS_NONE UINT32_MAX
#define SERVES_BY_ADDRESS (UINT32_MAX - 1)

struct key_slot {
	struct edge_key key;
	uint32_t exact, serves; /* positions, or EDGE_POS_NONE */
	uint32_t epoch;		/* of `serves`; 0: the slot is unused */
};

struct edge_keys {
	struct key_slot *slots;
	size_t size, used, n_aliases, max_aliases;
	uint64_t seed;
	uint32_t epoch;
};

int edge_keys_init(struct edge_keys *k, uint64_t seed, size_t max_aliases);
void edge_keys_done(struct edge_keys *k);

/* NULL if not there. Valid until the next make or remember. */
struct key_slot *edge_keys_find(const struct edge_keys *k, const struct edge_key *key);
/* The position of the edge that serves the key for these addresses, or EDGE_POS_NONE. */
uint32_t edge_keys_serving(
    const struct edge_keys *k, const struct edge_key *key, const struct tuple *t);
/* Says that an edge of exactly this key is at pos. -ENOMEM: nothing has changed. */
int edge_keys_set_exact(struct edge_keys *k, const struct edge_key *key, uint32_t pos);
void edge_keys_clear_exact(struct edge_keys *k, const struct edge_key *key);
/*
 * Remembers who serves the key: for every address, or (t is not NULL) for these addresses alone.
 * Best effort: without memory the key stays unknown.
 */
void edge_keys_remember(
    struct edge_keys *k, const struct edge_key *key, const struct tuple *t, uint32_t pos);
void edge_keys_drop_aliases(struct edge_keys *k);
/* Empties the index; as many exact keys as it had go in again without memory. */
void edge_keys_clear(struct edge_keys *k);

#endif
