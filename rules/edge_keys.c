/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rules/edge_keys.h. */
#include "rules/edge_keys.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SIZE_MIN 64

uint64_t
edge_key_hash(const struct edge_key *key, uint64_t seed)
{
	uint64_t half[2];

	_Static_assert(sizeof(*key) == sizeof(half), "compared and hashed as bytes");
	memcpy(half, key, sizeof(half));
	return hash_mix64((hash_mix64(half[0] + seed) ^ half[1]) + seed);
}

/* 120 bits of key and addresses under the secret seed: two that are equal cannot be made. */
static struct edge_key
key_by_address(const struct edge_keys *k, const struct edge_key *key, const struct tuple *t)
{
	struct edge_key by_address;
	uint64_t half[2];

	_Static_assert(sizeof(by_address) == sizeof(half), "filled as bytes");
	for (unsigned i = 0; i < 2; i++) {
		uint64_t h = edge_key_hash(key, hash_mix64(k->seed + i + 1));

		half[i] = addr_hash(&t->dst, addr_hash(&t->src, h));
	}
	memcpy(&by_address, half, sizeof(by_address));
	by_address.zero[0] = 1;
	return by_address;
}

int
edge_keys_init(struct edge_keys *k, uint64_t seed, size_t max_aliases)
{
	*k = (struct edge_keys){
		.size = SIZE_MIN,
		.seed = seed,
		.max_aliases = max_aliases,
		.epoch = 1,
	};
	k->slots = calloc(SIZE_MIN, sizeof(*k->slots));
	return k->slots != NULL ? 0 : -ENOMEM;
}

void
edge_keys_done(struct edge_keys *k)
{
	free(k->slots);
	k->slots = NULL;
}

/* The slot of the key, or the unused one where it would go. */
static struct key_slot *
slot_of(struct key_slot *slots, size_t size, uint64_t seed, const struct edge_key *key)
{
	size_t i = edge_key_hash(key, seed) & (size - 1);

	while (slots[i].epoch != 0 && memcmp(&slots[i].key, key, sizeof(*key)) != 0)
		i = (i + 1) & (size - 1);
	return &slots[i];
}

struct key_slot *
edge_keys_find(const struct edge_keys *k, const struct edge_key *key)
{
	struct key_slot *s = slot_of(k->slots, k->size, k->seed, key);

	return s->epoch != 0 ? s : NULL;
}

static bool
is_fresh(const struct edge_keys *k, const struct key_slot *s)
{
	return s->epoch == k->epoch && s->serves != EDGE_POS_NONE;
}

uint32_t
edge_keys_serving(const struct edge_keys *k, const struct edge_key *key, const struct tuple *t)
{
	const struct key_slot *s = edge_keys_find(k, key);

	if (s != NULL && is_fresh(k, s) && s->serves == SERVES_BY_ADDRESS) {
		struct edge_key by_address = key_by_address(k, key, t);

		s = edge_keys_find(k, &by_address);
	}
	return s != NULL && is_fresh(k, s) ? s->serves : EDGE_POS_NONE;
}

/* Makes the index anew with room for one more. Stale aliases stay behind, fresh ones on demand. */
static int
rebuild(struct edge_keys *k, bool keep_aliases)
{
	size_t size = SIZE_MIN, used = 0, aliases = 0, wanted = 1;
	struct key_slot *slots;

#define IS_ALIAS(s) ((s)->exact == EDGE_POS_NONE)
#define IS_KEPT(s) ((s)->epoch != 0 && (!IS_ALIAS(s) || (keep_aliases && is_fresh(k, s))))
	for (size_t i = 0; i < k->size; i++)
		wanted += IS_KEPT(&k->slots[i]);
	while (size < wanted * 2)
		size *= 2;
	slots = calloc(size, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < k->size; i++) {
		const struct key_slot *s = &k->slots[i];

		if (!IS_KEPT(s))
			continue;
		*slot_of(slots, size, k->seed, &s->key) = *s;
		used++;
		aliases += IS_ALIAS(s);
	}
#undef IS_KEPT
#undef IS_ALIAS
	free(k->slots);
	k->slots = slots;
	k->size = size;
	k->used = used;
	k->n_aliases = aliases;
	return 0;
}

/* The slot of the key; a new one is an alias that serves nothing yet. NULL: no memory. */
static struct key_slot *
slot_make(struct edge_keys *k, const struct edge_key *key)
{
	struct key_slot *s = slot_of(k->slots, k->size, k->seed, key);

	if (s->epoch != 0)
		return s;
	if ((k->used + 1) * 4 > k->size * 3) {
		if (rebuild(k, true) < 0)
			return NULL;
		s = slot_of(k->slots, k->size, k->seed, key);
	}
	*s = (struct key_slot){ *key, EDGE_POS_NONE, EDGE_POS_NONE, k->epoch };
	k->used++;
	k->n_aliases++;
	return s;
}

int
edge_keys_set_exact(struct edge_keys *k, const struct edge_key *key, uint32_t pos)
{
	struct key_slot *s = slot_make(k, key);

	if (s == NULL)
		return -ENOMEM;
	if (s->exact == EDGE_POS_NONE)
		k->n_aliases--;
	s->exact = pos;
	return 0;
}

void
edge_keys_clear_exact(struct edge_keys *k, const struct edge_key *key)
{
	struct key_slot *s = edge_keys_find(k, key);

	assert(s != NULL && s->exact != EDGE_POS_NONE);
	s->exact = s->serves = EDGE_POS_NONE;
	k->n_aliases++;
}

static void
remember(struct edge_keys *k, const struct edge_key *key, uint32_t serves)
{
	struct key_slot *s = edge_keys_find(k, key);

	if (s == NULL && k->n_aliases >= k->max_aliases && rebuild(k, false) < 0)
		return;
	s = slot_make(k, key);
	if (s == NULL)
		return;
	s->serves = serves;
	s->epoch = k->epoch;
}

void
edge_keys_remember(
    struct edge_keys *k, const struct edge_key *key, const struct tuple *t, uint32_t pos)
{
	if (t != NULL) {
		struct edge_key by_address = key_by_address(k, key, t);

		remember(k, &by_address, pos);
		pos = SERVES_BY_ADDRESS;
	}
	remember(k, key, pos);
}

void
edge_keys_drop_aliases(struct edge_keys *k)
{
	k->epoch++;
	if (k->epoch != 0)
		return;
	/* After 2^32 changes: what is as old as that must not look fresh again. */
	k->epoch = 1;
	for (size_t i = 0; i < k->size; i++) {
		k->slots[i].serves = EDGE_POS_NONE;
		k->slots[i].epoch = k->slots[i].epoch != 0;
	}
}

void
edge_keys_clear(struct edge_keys *k)
{
	memset(k->slots, 0, k->size * sizeof(*k->slots));
	k->used = k->n_aliases = 0;
}
