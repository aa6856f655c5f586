/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rules/edge_fold.h. */
#include "rules/edge_fold.h"

#include "rules/edge_groups.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PORT_BITS 16
/* Of observations, what an edge has only as long as each of them has it. */
#define FLAGS_OF_ALL (EDGE_FLAG_MIDSTREAM | EDGE_FLAG_ONE_WAY | EDGE_FLAG_ONE_END)

struct edge_fold {
	struct edge_table *t;
	struct peer_table *peers;
	struct groups groups;
	edge_folded_fn fn;
	void *arg;
};

/* One fold: where the evidence of the edge that began it is by now. */
struct folding {
	struct edge_fold *f;
	struct edge *watched;
};

/* Blocks of ports, or of addresses, that are one edge or several. */
struct block {
	uint32_t lo, hi; /* in units of the size looked at */
	struct edge *edge;
};

int
edge_fold_new(struct edge_table *t, struct peer_table *peers, uint64_t seed, edge_folded_fn fn,
    void *arg, struct edge_fold **ret)
{
	struct edge_fold *f = calloc(1, sizeof(*f));
	int r;

	if (f == NULL)
		return -ENOMEM;
	*f = (struct edge_fold){ .t = t, .peers = peers, .fn = fn, .arg = arg };
	r = groups_init(&f->groups, peers, seed);
	if (r < 0) {
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void
edge_fold_free(struct edge_fold *f)
{
	if (f == NULL)
		return;
	groups_done(&f->groups);
	free(f);
}

int
edge_extent_make(struct edge *e)
{
	if (e->extent == NULL)
		e->extent = calloc(1, sizeof(*e->extent));
	return e->extent != NULL ? 0 : -ENOMEM;
}

static bool
is_range(const struct edge *e)
{
	return e->key.port_lo != e->key.port_hi;
}

static bool
is_wide(const struct edge_fold *f, peer_id id)
{
	return peer_is_wide(peer_get(f->peers, id));
}

/* Does it hold more than one address? */
static bool
is_block(const struct prefix *p)
{
	return p->len < addr_len(&p->addr) * 8;
}

static bool
covers_more(const struct edge_fold *f, const struct edge *e)
{
	return is_range(e) || is_wide(f, e->key.from) || is_wide(f, e->key.to);
}

static bool
takes_part(const struct edge *e)
{
	return e->state == EDGE_PENDING && (e->flags & EDGE_FLAG_WITHDRAWN) == 0 &&
	       edge_connections(e) > 0 && (!is_range(e) || (e->flags & EDGE_FLAG_GENERALISED) != 0);
}

void
edge_fold_take(struct edge_fold *f, struct edge *e)
{
	if (takes_part(e) && covers_more(f, e)) {
		e->flags |= EDGE_FLAG_GENERALISED;
		edge_extent_make(e);
	}
	if (!e->grouped && takes_part(e))
		e->grouped = groups_add(&f->groups, e) == 0;
}

void
edge_fold_forget(struct edge_fold *f, struct edge *e)
{
	if (e->grouped)
		groups_remove(&f->groups, e);
	e->grouped = false;
}

void
edge_fold_seen(struct edge_fold *f, struct edge *e, const struct edge_observation *o)
{
	if (!covers_more(f, e) || edge_extent_make(e) < 0)
		return;
	if (is_range(e))
		extent_add_port(e->extent, o->key.port_lo);
	if (is_wide(f, e->key.to))
		extent_add_addr(e->extent, &o->tuple.dst);
	else if (is_wide(f, e->key.from))
		extent_add_addr(e->extent, &o->tuple.src);
}

/* What the extent of `into` gains by `from`, which is narrower in ports or at one end, or both. */
static void
extent_absorb(struct edge_fold *f, struct edge *into, const struct edge *from)
{
	peer_id narrow = is_wide(f, into->key.to) ? from->key.to : from->key.from;
	peer_id wide = is_wide(f, into->key.to) ? into->key.to : into->key.from;

	if (into->extent == NULL)
		return;
	if (from->extent != NULL)
		extent_merge(into->extent, from->extent);
	if (is_range(into) && !is_range(from))
		extent_add_port(into->extent, from->key.port_lo);
	if (is_wide(f, wide) && peer_get(f->peers, narrow)->kind == PEER_ADDR)
		extent_add_addr(into->extent, &peer_get(f->peers, narrow)->prefix.addr);
}

static void
names_absorb(struct edge *into, const struct edge *from)
{
	struct server_name name;

	for (unsigned i = 0; from->seen_as != NULL && i < from->seen_as->n; i++) {
		name.kind = from->seen_as->v[i].kind;
		snprintf(name.name, sizeof(name.name), "%s", from->seen_as->v[i].name);
		edge_see_as(into, &name);
	}
	if (from->seen_as != NULL && into->seen_as != NULL)
		into->seen_as->more |= from->seen_as->more;
}

/* e becomes part of the edge of that key. */
static int
move_edge(struct folding *w, struct edge *e, const struct edge_key *key)
{
	struct edge_fold *f = w->f;
	struct edge *into = edge_table_find(f->t, key);
	uint32_t both;
	int r;

	if (into == e)
		return 0;
	if (into == NULL) {
		r = edge_table_make(f->t, key, &into);
		if (r < 0)
			return r;
		into->flags = e->flags;
		into->behind = e->behind;
	}
	if (into->state == EDGE_PENDING) {
		both = into->flags & e->flags & FLAGS_OF_ALL;
		into->flags =
		    ((into->flags | e->flags) & ~FLAGS_OF_ALL) | both | EDGE_FLAG_GENERALISED;
		edge_extent_make(into);
	}
	edge_evidence_merge(&into->evidence, &e->evidence);
	into->sampled += e->sampled;
	extent_absorb(f, into, e);
	names_absorb(into, e);
	into->dirty = true;
	if (w->watched == e) {
		w->watched = into;
		/* Whoever observed it tells the history of what it gave, and not the fold. */
		e->recorded = edge_connections(e);
	}
	if (f->fn != NULL)
		f->fn(f->arg, e, into);
	edge_table_remove(f->t, e);
	edge_fold_take(f, into);
	return 0;
}

static int
block_cmp(const void *x, const void *y)
{
	const struct block *a = x, *b = y;

	return a->lo != b->lo ? (a->lo < b->lo ? -1 : 1) : a->hi < b->hi ? -1 : a->hi > b->hi;
}

/* How many blocks of 2^bits ports have been seen; the edges are ascending. */
static unsigned
count_port_blocks(const struct block *list, size_t n, unsigned bits)
{
	unsigned blocks = 0;
	uint32_t next = 0; /* the first block that is not counted */

	for (size_t i = 0; i < n; i++) {
		uint32_t lo = MAX(list[i].lo >> bits, next), hi = list[i].hi >> bits;

		if (hi < lo)
			continue;
		blocks += hi - lo + 1;
		next = hi + 1;
	}
	return blocks;
}

/* The edges of one run of blocks become one, if there are enough ports in it. */
static int
fold_run(struct folding *w, const struct block *run, size_t n, unsigned bits)
{
	struct edge_key key = run[0].edge->key;
	uint32_t hi = 0;
	bool folds = n >= FOLD_SEEN;
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		folds |= is_range(run[i].edge);
		hi = MAX(hi, run[i].hi >> bits);
	}
	if (!folds)
		return 0;
	key.port_lo = (uint16_t)MAX((run[0].lo >> bits) << bits, (uint32_t)EDGE_PORT_DYNAMIC);
	key.port_hi = (uint16_t)(((hi + 1) << bits) - 1);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = move_edge(w, run[i].edge, &key);
	return r;
}

static int
fold_blocks(struct folding *w, struct block *list, size_t n)
{
	size_t exact = 0, begin = 0;
	unsigned bits = 0;
	int r = 0;

	for (size_t i = 0; i < n; i++)
		exact += !is_range(list[i].edge);
	if (exact == n && n <= EDGE_PORTS_EXACT)
		return 0;
	qsort(list, n, sizeof(*list), block_cmp);
	while (bits < PORT_BITS && count_port_blocks(list, n, bits) > FOLD_BLOCKS)
		bits++;
	while (r == 0 && begin < n) {
		size_t end = begin + 1;
		uint32_t hi = list[begin].hi >> bits;

		for (; end < n && list[end].lo >> bits <= hi + 1; end++)
			hi = MAX(hi, list[end].hi >> bits);
		r = fold_run(w, list + begin, end - begin, bits);
		begin = end;
	}
	return r;
}

static int
fold_ports(struct folding *w, const struct edge_key *key)
{
	const struct group *group = groups_ports(&w->f->groups, key);
	_cleanup_free_ struct block *list = NULL;
	size_t n = 0;

	if (group == NULL || group->edges.n < 2)
		return 0;
	list = calloc(group->edges.n, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < group->edges.n; i++) {
		struct edge *e = group->edges.edges[i];

		if (takes_part(e))
			list[n++] = (struct block){ e->key.port_lo, e->key.port_hi, e };
	}
	return fold_blocks(w, list, n);
}

static int
prefix_cmp(const void *x, const void *y)
{
	const struct addr_member *a = x, *b = y;

	return addr_cmp(&a->prefix.addr, &b->prefix.addr);
}

/*
 * The block of this length that has the address. Never more than the range of local addresses it is
 * in: whoever makes up private addresses would get a prefix with some of the internet in it.
 */
static struct prefix
addr_block(const struct addr *a, uint8_t len)
{
	const struct prefix *local = addr_local_prefix(a);

	return prefix_of(a, local != NULL ? MAX(len, local->len) : len);
}

/* The end of the run of members, ascending, that one block of this length holds. */
static size_t
addr_block_end(const struct addr_member *list, size_t n, size_t begin, uint8_t len)
{
	struct prefix block = addr_block(&list[begin].prefix.addr, len);
	size_t end = begin + 1;

	while (end < n && prefix_contains(&block, &list[end].prefix.addr))
		end++;
	return end;
}

/* The longest of the steps at which they are at most FOLD_BLOCKS; not longer than a prefix there.
 */
static uint8_t
addr_block_len(const struct addr_member *list, size_t n)
{
	uint8_t family = list[0].prefix.addr.family;
	uint8_t whole = (uint8_t)(addr_len(&list[0].prefix.addr) * 8);
	uint8_t len = prefix_step(family, whole);

	for (size_t i = 0; i < n; i++)
		if (is_block(&list[i].prefix))
			len = MIN(len, list[i].prefix.len);
	for (;;) {
		unsigned blocks = 0;

		for (size_t i = 0; i < n; i = addr_block_end(list, n, i, len))
			blocks++;
		if (blocks <= FOLD_BLOCKS || len == 0)
			return len;
		len = prefix_step(family, len);
	}
}

/* All edges of these members go to the prefix. */
static int
fold_members(struct folding *w, bool sources, const struct addr_member *list, size_t n, uint8_t len)
{
	const struct peer cidr = { .kind = PEER_CIDR,
		.prefix = addr_block(&list[0].prefix.addr, len) };
	_cleanup_free_ struct edge **edges = NULL;
	struct edge_key key = { 0 };
	size_t n_edges = 0, k = 0;
	peer_id id;
	int r = peer_intern(w->f->peers, &cidr, &id);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		n_edges += list[i].peer != id ? list[i].edges.n : 0;
	/* Moving an edge changes the lists. */
	edges = calloc(n_edges + 1, sizeof(struct edge *));
	if (edges == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		for (uint32_t j = 0; list[i].peer != id && j < list[i].edges.n; j++)
			edges[k++] = list[i].edges.edges[j];
	for (size_t i = 0; r == 0 && i < k; i++) {
		key = edges[i]->key;
		*(sources ? &key.from : &key.to) = id;
		if (takes_part(edges[i]))
			r = move_edge(w, edges[i], &key);
	}
	key.port_lo = key.port_hi = EDGE_PORT_DYNAMIC;
	return r == 0 && k > 0 ? fold_ports(w, &key) : r;
}

static int
fold_addrs(struct folding *w, const struct edge_key *key)
{
	const struct group *group = groups_addrs(&w->f->groups, key);
	_cleanup_free_ struct addr_member *list = NULL;
	size_t n = group != NULL ? group->n_members : 0;
	bool sources, prefixed = false;
	uint8_t len;
	int r = 0;

	for (size_t i = 0; i < n; i++)
		prefixed |= peer_get(w->f->peers, group->members[i].peer)->kind == PEER_CIDR;
	if (n < 2 || (!prefixed && n <= EDGE_ADDRS_EXACT))
		return 0;
	sources = group_of_sources(group);
	list = calloc(n, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	memcpy(list, group->members, n * sizeof(*list));
	qsort(list, n, sizeof(*list), prefix_cmp);
	len = addr_block_len(list, n);
	for (size_t begin = 0, end; r == 0 && begin < n; begin = end) {
		bool folds;

		end = addr_block_end(list, n, begin, len);
		folds = end - begin >= FOLD_SEEN;
		for (size_t i = begin; i < end; i++)
			folds |= is_block(&list[i].prefix);
		if (folds)
			r = fold_members(w, sources, list + begin, end - begin, len);
	}
	return r;
}

struct edge *
edge_fold_added(struct edge_fold *f, struct edge *e)
{
	struct folding w = { .f = f, .watched = e };
	struct edge_key key = e->key;

	edge_fold_take(f, e);
	/* Without memory they stay apart; the next new edge tries again. */
	if (e->grouped && fold_addrs(&w, &key) == 0) {
		key = w.watched->key;
		fold_ports(&w, &key);
	}
	return w.watched;
}

/* The prefix that stands for the key's address. */
static void
use_prefix(struct edge_fold *f, struct edge_key *key)
{
	const struct group *group = groups_addrs(&f->groups, key);
	peer_id *id;

	if (group == NULL)
		return;
	id = group_of_sources(group) ? &key->from : &key->to;
	for (uint32_t i = 0; i < group->n_members; i++) {
		const struct addr_member *m = &group->members[i];

		if (m->peer != *id && is_block(&m->prefix) &&
		    prefix_contains(&m->prefix, &peer_get(f->peers, *id)->prefix.addr)) {
			*id = m->peer;
			return;
		}
	}
}

struct edge *
edge_fold_serving(struct edge_fold *f, struct edge_key *key)
{
	const struct group *group;
	struct edge *e;

	use_prefix(f, key);
	e = edge_table_find(f->t, key);
	if (e != NULL)
		return e;
	group = groups_ports(&f->groups, key);
	for (uint32_t i = 0; group != NULL && i < group->edges.n; i++) {
		e = group->edges.edges[i];
		if (is_range(e) && key->port_lo >= e->key.port_lo &&
		    key->port_lo <= e->key.port_hi && takes_part(e))
			return e;
	}
	return NULL;
}
