/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An open hash table that is never more than three quarters full, so that a search ends. */
#include "rules/track_ends.h"

#include "rules/util.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_ENDS 131072u /* a power of two */

struct end {
	struct addr addr;
	uint16_t port;
	bool used, listens;
	uint32_t met; /* connections met in their middle that had this end */
};

struct track_ends {
	uint64_t seed;
	uint32_t n;
	struct end ends[MAX_ENDS];
};

int
track_ends_new(uint64_t hash_seed, struct track_ends **ret)
{
	struct track_ends *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return -ENOMEM;
	e->seed = hash_seed;
	*ret = e;
	return 0;
}

void
track_ends_free(struct track_ends *e)
{
	free(e);
}

/* The index of this end, or of the free place where it would stand. */
static size_t
find(const struct track_ends *e, const struct addr *a, uint16_t port)
{
	uint64_t h = hash_mix64(addr_hash(a, e->seed) ^ port);

	for (;; h++) {
		const struct end *end = &e->ends[h & (MAX_ENDS - 1)];

		if (!end->used || (end->port == port && addr_eq(&end->addr, a)))
			return h & (MAX_ENDS - 1);
	}
}

/* NULL when there is no room for more. */
static struct end *
add(struct track_ends *e, const struct addr *a, uint16_t port)
{
	struct end *end = &e->ends[find(e, a, port)];

	if (end->used)
		return end;
	if (e->n >= MAX_ENDS / 4 * 3)
		return NULL;
	*end = (struct end){ .addr = *a, .port = port, .used = true };
	e->n++;
	return end;
}

void
track_ends_met(struct track_ends *e, const struct tuple *t)
{
	struct end *src = add(e, &t->src, t->sport), *dst = add(e, &t->dst, t->dport);

	if (src != NULL)
		src->met++;
	if (dst != NULL)
		dst->met++;
}

void
track_ends_listens(struct track_ends *e, const struct tuple *t)
{
	struct end *end = add(e, &t->dst, t->dport);

	if (end != NULL)
		end->listens = true;
}

enum track_server
track_ends_server(const struct track_ends *e, const struct tuple *t)
{
	const struct end *src = &e->ends[find(e, &t->src, t->sport)];
	const struct end *dst = &e->ends[find(e, &t->dst, t->dport)];

	if (src->listens != dst->listens)
		return src->listens ? TRACK_SERVER_SRC_PROVEN : TRACK_SERVER_DST_PROVEN;
	return src->met > 1 && dst->met <= 1 ? TRACK_SERVER_SRC : TRACK_SERVER_DST;
}
