/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See names.h. A hash table by address; whom to push out is looked for only when there is no room.
 */
#include "rules/names.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

#define BUCKETS 512

struct name_table {
	uint64_t seed;
	size_t n;
	struct name_entry *buckets[BUCKETS];
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

/* Which of two goes first: what nobody wants, then what was told longest ago. */
static bool
goes_before(const struct name_entry *a, const struct name_entry *b)
{
	if (a->wanted != b->wanted)
		return b->wanted;
	return a->told_ns < b->told_ns;
}

/* The one to go first, of that name or (NULL) of all; *ret_n is how many there are. */
static struct name_entry **
find_first(struct name_table *t, const char *name, size_t *ret_n)
{
	struct name_entry **first = NULL;

	*ret_n = 0;
	for (size_t b = 0; b < BUCKETS; b++) {
		for (struct name_entry **p = &t->buckets[b]; *p != NULL; p = &(*p)->next) {
			if (name != NULL && strcmp((*p)->name, name) != 0)
				continue;
			(*ret_n)++;
			if (first == NULL || goes_before(*p, *first))
				first = p;
		}
	}
	return first;
}

static void
drop(struct name_table *t, struct name_entry **p)
{
	struct name_entry *e = *p;

	*p = e->next;
	free(e);
	t->n--;
}

static int
make_room(struct name_table *t, const char *name, bool wanted)
{
	struct name_entry **first;
	size_t n;

	/* As few as one name may have are not worth a look. */
	if (t->n < NAMES_MAX_OF_NAME)
		return 0;
	first = find_first(t, name, &n);
	if (n < NAMES_MAX_OF_NAME && t->n >= NAMES_MAX) {
		first = find_first(t, NULL, &n);
		if ((*first)->wanted && !wanted)
			return -ENOSPC;
	} else if (n < NAMES_MAX_OF_NAME) {
		return 0;
	}
	drop(t, first);
	return 0;
}

int
name_table_tell(struct name_table *t, const char *name, const struct addr *a, bool wanted,
    uint64_t now_ns, uint64_t until_ns)
{
	struct name_entry **bucket = bucket_of(t, a), *e;
	size_t len = strlen(name);
	int r;

	for (e = *bucket; e != NULL; e = e->next) {
		if (!addr_eq(&e->addr, a) || strcmp(e->name, name) != 0)
			continue;
		e->told_ns = now_ns;
		e->until_ns = MAX(e->until_ns, until_ns);
		e->wanted = wanted;
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

	for (size_t b = 0; b < BUCKETS; b++) {
		struct name_entry **p = &t->buckets[b];

		while (*p != NULL) {
			if ((*p)->wanted == wanted && (*p)->until_ns <= now_ns)
				drop(t, p);
			else
				p = &(*p)->next;
		}
	}
	return before - t->n;
}

size_t
name_table_count(const struct name_table *t)
{
	return t->n;
}
