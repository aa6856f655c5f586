/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open addressing, at most three quarters full, which nothing ever leaves but everything at once.
 */
#include "rules/tally.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

#define SLOTS_MIN 64u

struct slot {
	struct tuple key;
	uint64_t value;
	bool used;
};

struct tally {
	uint64_t seed;
	size_t n, max, n_slots; /* a power of two */
	struct slot *slots;
};

int
tally_new(size_t max, uint64_t seed, struct tally **ret)
{
	struct tally *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->max = max;
	t->seed = seed;
	*ret = t;
	return 0;
}

void
tally_free(struct tally *t)
{
	if (t == NULL)
		return;
	free(t->slots);
	free(t);
}

static struct slot *
slot_find(struct slot *slots, size_t n_slots, const struct tuple *key, uint64_t seed)
{
	size_t at = tuple_hash(key, seed) & (n_slots - 1);

	while (slots[at].used && !tuple_eq(&slots[at].key, key))
		at = (at + 1) & (n_slots - 1);
	return &slots[at];
}

static int
grow(struct tally *t)
{
	size_t n_slots = MAX(2 * t->n_slots, (size_t)SLOTS_MIN);
	struct slot *slots;

	if (t->n < t->n_slots / 4 * 3)
		return 0;
	slots = calloc(n_slots, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_slots; i++)
		if (t->slots[i].used)
			*slot_find(slots, n_slots, &t->slots[i].key, t->seed) = t->slots[i];
	free(t->slots);
	t->slots = slots;
	t->n_slots = n_slots;
	return 0;
}

int
tally_read(struct tally *t, const struct tuple *key, uint64_t value, uint64_t *ret_growth)
{
	struct slot *s;
	uint64_t before;
	int r = grow(t);

	if (r < 0)
		return r;
	s = slot_find(t->slots, t->n_slots, key, t->seed);
	if (!s->used && t->n == t->max)
		return -ENOSPC;
	before = s->used ? s->value : 0;
	t->n += !s->used;
	*s = (struct slot){ *key, value, true };
	*ret_growth = value < before ? value : value - before;
	return value < before ? -ERANGE : 0;
}

size_t
tally_count(const struct tally *t)
{
	return t->n;
}

void
tally_clear(struct tally *t)
{
	free(t->slots);
	t->slots = NULL;
	t->n_slots = t->n = 0;
}
