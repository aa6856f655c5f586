/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ring of recent flows, and the memory of what the host's NAT translated into what. */
#include "daemon/controller.h"
#include "daemon/flows.h"
#include "netlink/ct.h"

#include <errno.h>
#include <string.h>

#define RECENT_MAX 512

struct flow_ring {
	uint64_t next_seq; /* starts at 1 */
	size_t size;
	struct flow_record records[];
};

int
flow_ring_new(size_t size, struct flow_ring **ret)
{
	struct flow_ring *r = calloc(1, sizeof(*r) + size * sizeof(r->records[0]));

	if (r == NULL)
		return -ENOMEM;
	r->size = size;
	r->next_seq = 1;
	*ret = r;
	return 0;
}

void
flow_ring_free(struct flow_ring *r)
{
	free(r);
}

void
flow_ring_add(struct flow_ring *r, struct flow_record *rec)
{
	rec->seq = r->next_seq++;
	r->records[rec->seq % r->size] = *rec;
}

const struct flow_record *
flow_ring_next(const struct flow_ring *r, uint64_t *seq)
{
	uint64_t oldest = r->next_seq > r->size ? r->next_seq - r->size : 1;
	uint64_t want = MAX(*seq, oldest);

	if (want >= r->next_seq)
		return NULL;
	*seq = want + 1;
	return &r->records[want % r->size];
}

struct flow_record *
flow_ring_recent(struct flow_ring *r, const struct tuple *t, uint64_t since_ns)
{
	size_t n = MIN(MIN(r->size, (size_t)RECENT_MAX), (size_t)(r->next_seq - 1));

	for (size_t i = 1; i <= n; i++) {
		struct flow_record *rec = &r->records[(r->next_seq - i) % r->size];

		if (rec->time_ns >= since_ns && tuple_eq(&rec->tuple, t))
			return rec;
	}
	return NULL;
}

uint64_t
flow_ring_head(const struct flow_ring *r)
{
	return r->next_seq;
}

/*
 * A two-way set-associative cache, overwritten in turn: losing an entry costs a duplicate line in
 * the flow list and nothing else.
 */
#define NAT_SETS 2048
#define NAT_WAYS 2

struct nat_entry {
	struct tuple seen, other;
};

struct nat_cache {
	uint64_t seed;
	uint32_t turn;
	struct nat_entry entries[NAT_SETS][NAT_WAYS];
};

int
nat_cache_new(uint64_t seed, struct nat_cache **ret)
{
	struct nat_cache *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return -ENOMEM;
	n->seed = seed;
	*ret = n;
	return 0;
}

void
nat_cache_free(struct nat_cache *n)
{
	free(n);
}

static void
nat_put(struct nat_cache *n, const struct tuple *seen, const struct tuple *other)
{
	struct nat_entry *set = n->entries[tuple_hash(seen, n->seed) % NAT_SETS];
	struct nat_entry *e = &set[n->turn++ % NAT_WAYS];

	for (size_t i = 0; i < NAT_WAYS; i++)
		if (tuple_eq(&set[i].seen, seen))
			e = &set[i];
	e->seen = *seen;
	e->other = *other;
}

void
nat_cache_add(struct nat_cache *n, const struct ct_entry *e)
{
	struct tuple server_side = tuple_reverse(&e->reply);

	if (proto_is_icmp(e->orig.proto) || tuple_eq(&server_side, &e->orig))
		return;
	nat_put(n, &e->orig, &server_side);
	nat_put(n, &server_side, &e->orig);
}

const struct tuple *
nat_cache_find(const struct nat_cache *n, const struct tuple *t)
{
	const struct nat_entry *set = n->entries[tuple_hash(t, n->seed) % NAT_SETS];

	for (size_t i = 0; i < NAT_WAYS; i++)
		if (set[i].seen.proto != 0 && tuple_eq(&set[i].seen, t))
			return &set[i].other;
	return NULL;
}
