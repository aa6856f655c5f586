/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rules/service.h: a list, and places in it by hash, at most half of them taken. */
#include "rules/service.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

#define FIRST_ROOM 256

struct service_table {
	struct service *list;
	size_t n, room, max;
	uint32_t *at; /* place + 1 in the list, 0: free */
	size_t n_at;  /* a power of two */
	uint64_t seed, lost;
};

int
service_table_new(size_t max, uint64_t hash_seed, struct service_table **ret)
{
	struct service_table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->max = MIN(max, (size_t)UINT32_MAX - 1);
	t->seed = hash_seed;
	*ret = t;
	return 0;
}

void
service_table_free(struct service_table *t)
{
	if (t == NULL)
		return;
	free(t->list);
	free(t->at);
	free(t);
}

/* The place of this service in t->at, or the free one where it would stand. */
static uint32_t *
place_of(const struct service_table *t, const struct addr *a, uint8_t proto, uint16_t port)
{
	uint64_t h = hash_mix64(addr_hash(a, t->seed) ^ ((uint64_t)port << 8 | proto));

	for (;; h++) {
		uint32_t *at = &t->at[h & (t->n_at - 1)];
		const struct service *s = *at != 0 ? &t->list[*at - 1] : NULL;

		if (s == NULL || (s->port == port && s->proto == proto && addr_eq(&s->addr, a)))
			return at;
	}
}

static bool
grow(struct service_table *t)
{
	size_t room = MIN(t->room == 0 ? FIRST_ROOM : t->room * 2, t->max), n_at = 2;
	struct service *list;
	uint32_t *at;

	if (room == t->room)
		return false;
	while (n_at < 2 * room)
		n_at *= 2;
	list = realloc(t->list, room * sizeof(*list));
	if (list == NULL)
		return false;
	t->list = list;
	at = calloc(n_at, sizeof(*at));
	if (at == NULL)
		return false;
	free(t->at);
	t->at = at;
	t->n_at = n_at;
	t->room = room;
	for (size_t i = 0; i < t->n; i++)
		*place_of(t, &list[i].addr, list[i].proto, list[i].port) = (uint32_t)i + 1;
	return true;
}

void
service_note(
    struct service_table *t, const struct addr *a, uint8_t proto, uint16_t port, uint32_t flags)
{
	uint32_t *at = t->n_at > 0 ? place_of(t, a, proto, port) : NULL;

	if (at != NULL && *at != 0) {
		t->list[*at - 1].flags &= flags;
		t->list[*at - 1].connections++;
		return;
	}
	if (t->n == t->room && !grow(t)) {
		t->lost++;
		return;
	}
	t->list[t->n++] = (struct service){
		.addr = *a, .port = port, .proto = proto, .flags = flags, .connections = 1
	};
	*place_of(t, a, proto, port) = (uint32_t)t->n;
}

const struct service *
service_table_list(const struct service_table *t, size_t *ret_n)
{
	*ret_n = t->n;
	return t->list;
}

uint64_t
service_table_lost(const struct service_table *t)
{
	return t->lost;
}
