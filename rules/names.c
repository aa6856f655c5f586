/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See names.h. Hash tables by address and by name, and the order in which things were told: whoever
 * chooses what a name server says chooses how often somebody has to be pushed out.
 */
#include "rules/names.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

#define BUCKETS 512

struct order {
	struct name_entry *first, *last; /* told longest ago, last */
};

struct name_table {
	uint64_t seed;
	size_t n;
	struct order order[2]; /* by whether they are wanted */
	struct name_entry *buckets[BUCKETS], *by_name[BUCKETS];
};

bool
name_covers(const char *pattern, const char *name)
{
	size_t len = strlen(pattern), len_name = strlen(name);

	if (strcmp(pattern, name) == 0)
		return true;
	return strncmp(pattern, "*.", 2) == 0 && len_name >= len &&
	       strcmp(name + len_name - (len - 1), pattern + 1) == 0;
}

int
name_table_new(uint64_t hash_seed, struct name_table **ret)
{
	struct name_table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->seed = hash_seed;
	*ret = t;
	return 0;
}

void
name_table_free(struct name_table *t)
{
	if (t == NULL)
		return;
	for (size_t b = 0; b < BUCKETS; b++) {
		while (t->buckets[b] != NULL) {
			struct name_entry *e = t->buckets[b];

			t->buckets[b] = e->next;
			free(e);
		}
	}
	free(t);
}

static struct name_entry **
bucket_of(const struct name_table *t, const struct addr *a)
{
	return (struct name_entry **)&t->buckets[addr_hash(a, t->seed) % BUCKETS];
}

static struct name_entry **
names_of(struct name_table *t, const char *name)
{
	uint64_t h = t->seed;

	for (; *name != '\0'; name++)
		h = hash_mix64(h ^ (uint8_t)*name);
	return &t->by_name[h % BUCKETS];
}

static void
order_add(struct name_table *t, struct name_entry *e)
{
	struct order *o = &t->order[e->wanted];

	e->newer = NULL;
	e->older = o->last;
	*(o->last != NULL ? &o->last->newer : &o->first) = e;
	o->last = e;
}

static void
order_remove(struct name_table *t, struct name_entry *e)
{
	struct order *o = &t->order[e->wanted];

	*(e->older != NULL ? &e->older->newer : &o->first) = e->newer;
	*(e->newer != NULL ? &e->newer->older : &o->last) = e->older;
}

void
name_table_want(struct name_table *t, struct name_entry *e, bool wanted)
{
	if (e->wanted == wanted)
		return;
	order_remove(t, e);
	e->wanted = wanted;
	order_add(t, e);
}

static void
drop(struct name_table *t, struct name_entry *e)
{
	struct name_entry **p = bucket_of(t, &e->addr), **q = names_of(t, e->name);

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	while (*q != e)
		q = &(*q)->next_of_name;
	*q = e->next_of_name;
	order_remove(t, e);
	free(e);
	t->n--;
}

/* The address that the name was told longest ago; *ret_n is how many it has. */
static struct name_entry *
oldest_of(struct name_table *t, const char *name, size_t *ret_n)
{
	struct name_entry *found = NULL;

	*ret_n = 0;
	for (struct name_entry *e = *names_of(t, name); e != NULL; e = e->next_of_name) {
		if (strcmp(e->name, name) != 0)
			continue;
		(*ret_n)++;
		if (found == NULL || e->told_ns < found->told_ns)
			found = e;
	}
	return found;
}

/* Who goes first: of a name with too many its own, then what nobody wants, then the oldest. */
static int
make_room(struct name_table *t, const char *name, bool wanted)
{
	struct name_entry *first;
	size_t n;

	first = oldest_of(t, name, &n);
	if (n < NAMES_MAX_OF_NAME) {
		if (t->n < NAMES_MAX)
			return 0;
		first = t->order[false].first;
		if (first == NULL && !wanted)
			return -ENOSPC;
		if (first == NULL)
			first = t->order[true].first;
	}
	drop(t, first);
	return 0;
}

int
name_table_tell(struct name_table *t, const char *name, const struct addr *a, bool wanted,
    uint64_t now_ns, uint64_t until_ns)
{
	struct name_entry **bucket = bucket_of(t, a), **of_name = names_of(t, name), *e;
	size_t len = strlen(name);
	int r;

	for (e = *bucket; e != NULL; e = e->next) {
		if (!addr_eq(&e->addr, a) || strcmp(e->name, name) != 0)
			continue;
		e->told_ns = now_ns;
		e->until_ns = MAX(e->until_ns, until_ns);
		order_remove(t, e);
		e->wanted = wanted;
		order_add(t, e);
		return 0;
	}
	r = make_room(t, name, wanted);
	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e) + len + 1);
	if (e == NULL)
		return -ENOMEM;
	memcpy(e->name, name, len);
	e->addr = *a;
	e->wanted = wanted;
	e->told_ns = now_ns;
	e->until_ns = until_ns;
	e->next = *bucket;
	*bucket = e;
	e->next_of_name = *of_name;
	*of_name = e;
	order_add(t, e);
	t->n++;
	return 1;
}

void
name_table_use(struct name_table *t, const struct addr *a, uint64_t until_ns)
{
	for (struct name_entry *e = *bucket_of(t, a); e != NULL; e = e->next)
		if (addr_eq(&e->addr, a))
			e->until_ns = MAX(e->until_ns, until_ns);
}

const char *
name_table_find(const struct name_table *t, const struct addr *a)
{
	const struct name_entry *found = NULL;

	for (const struct name_entry *e = *bucket_of(t, a); e != NULL; e = e->next)
		if (addr_eq(&e->addr, a) && (found == NULL || e->told_ns > found->told_ns))
			found = e;
	return found != NULL ? found->name : NULL;
}

bool
name_table_matches(const struct name_table *t, const char *pattern, const struct addr *a)
{
	for (const struct name_entry *e = *bucket_of(t, a); e != NULL; e = e->next)
		if (addr_eq(&e->addr, a) && name_covers(pattern, e->name))
			return true;
	return false;
}

/* *pos is the bucket and how many of it were given. */
struct name_entry *
name_table_next(const struct name_table *t, size_t *pos)
{
	for (; *pos >> 32 < BUCKETS; *pos = ((*pos >> 32) + 1) << 32) {
		struct name_entry *e = t->buckets[*pos >> 32];

		for (size_t skip = *pos & UINT32_MAX; skip > 0 && e != NULL; skip--)
			e = e->next;
		if (e != NULL) {
			(*pos)++;
			return e;
		}
	}
	return NULL;
}

size_t
name_table_expire(struct name_table *t, bool wanted, uint64_t now_ns)
{
	size_t before = t->n;

	for (struct name_entry *e = t->order[wanted].first, *newer; e != NULL; e = newer) {
		newer = e->newer;
		if (e->until_ns <= now_ns)
			drop(t, e);
	}
	return before - t->n;
}

size_t
name_table_count(const struct name_table *t)
{
	return t->n;
}
