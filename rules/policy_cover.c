/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking up what covers an edge. A workload is covered by itself alone, and each decided edge has
 * one at some end: so an edge is found by its own workloads, in one of three chains: those with
 * both its ends, with its source and another destination, and the reverse. Names come from outside
 * and one workload may have all the edges, so the steps of all look-ups together are bounded.
 */
#include "rules/policy_cover.h"

#include "rules/names.h"

#include <errno.h>
#include <string.h>

#define MAX_STEPS 20000000u
#define MAX_PIECES 64 /* of a range of ports, put together by edges */
#define NONE UINT32_MAX

struct end {
	const struct peer *peer;
	const struct prefix *prefixes; /* of an address, a prefix or a network */
	size_t n_prefixes;
};

struct item {
	const struct policy_edge *e;
	struct end from, to;
	uint64_t hash; /* of the chain that it is in */
	uint32_t next;
};

struct edge_cover {
	struct item *items;
	size_t n;
	uint32_t *heads;
	size_t mask;
	uint64_t steps;
	/* Being filled: those before `left` are not in it yet. */
	const struct policy_edge *const *list;
	size_t left;
	const struct policy_network **nets;
	size_t n_nets;
};

static bool
is_workload(const struct peer *p)
{
	return p->kind == PEER_WORKLOAD;
}

static uint64_t
hash_name(const char *name, uint64_t h)
{
	for (const char *p = name; *p != '\0'; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3ULL;
	return hash_mix64(h);
}

/* The chain of edges of that state with these workloads; NULL: another peer. */
static uint64_t
chain_hash(enum edge_state state, uint8_t proto, const char *from, const char *to)
{
	uint64_t h = (uint64_t)state << 8 | proto;

	h = hash_mix64(h | (uint64_t)(from != NULL) << 16 | (uint64_t)(to != NULL) << 17);
	if (from != NULL)
		h = hash_name(from, h);
	return to != NULL ? hash_name(to, h) : h;
}

static const char *
workload_of(const struct peer *p)
{
	return is_workload(p) ? p->name : NULL;
}

static int
network_compare(const void *a, const void *b)
{
	return strcmp((*(const struct policy_network *const *)a)->name,
	    (*(const struct policy_network *const *)b)->name);
}

struct networks {
	const struct policy_network **list;
	size_t n;
};

static struct end
end_of(const struct networks *nets, const struct peer *p)
{
	struct end end = { .peer = p };

	if (p->kind == PEER_CIDR || p->kind == PEER_ADDR) {
		end.prefixes = &p->prefix;
		end.n_prefixes = 1;
	} else if (p->kind == PEER_NETWORK) {
		const struct policy_network key = { .name = (char *)p->name }, *k = &key;
		const struct policy_network **found =
		    bsearch(&k, nets->list, nets->n, sizeof(k), network_compare);

		if (found != NULL) {
			end.prefixes = (*found)->prefixes;
			end.n_prefixes = (*found)->n_prefixes;
		}
	}
	return end;
}

static void
insert(struct edge_cover *c, size_t i)
{
	struct item *it = &c->items[i];
	uint32_t *head;

	it->hash = chain_hash(
	    it->e->state, it->e->proto, workload_of(&it->e->from), workload_of(&it->e->to));
	head = &c->heads[it->hash & c->mask];
	it->next = *head;
	*head = (uint32_t)i;
}

int
edge_cover_begin(const struct policy *p, const struct policy_edge *const *list, size_t n,
    struct edge_cover **ret)
{
	struct edge_cover *c = calloc(1, sizeof(*c));
	size_t size = 64;

	while (size < n * 2)
		size *= 2;
	if (c != NULL) {
		c->nets = calloc(p->n_networks + 1, sizeof(*c->nets));
		c->items = calloc(n + 1, sizeof(*c->items));
		c->heads = malloc(size * sizeof(*c->heads));
	}
	if (c == NULL || c->nets == NULL || c->items == NULL || c->heads == NULL) {
		edge_cover_free(c);
		return -ENOMEM;
	}
	memset(c->heads, 0xff, size * sizeof(*c->heads));
	c->mask = size - 1;
	c->n = c->left = n;
	c->list = list;
	c->n_nets = p->n_networks;
	for (size_t i = 0; i < p->n_networks; i++)
		c->nets[i] = &p->networks[i];
	qsort(c->nets, p->n_networks, sizeof(*c->nets), network_compare);
	*ret = c;
	return 0;
}

bool
edge_cover_fill(struct edge_cover *c, size_t max)
{
	const struct networks networks = { c->nets, c->n_nets };

	/* The last comes first in a chain: backwards, so that they are found in their order. */
	for (; c->left > 0 && max > 0; max--) {
		size_t i = --c->left;

		c->items[i].e = c->list[i];
		c->items[i].from = end_of(&networks, &c->list[i]->from);
		c->items[i].to = end_of(&networks, &c->list[i]->to);
		insert(c, i);
	}
	return c->left > 0;
}

int
edge_cover_new(const struct policy *p, const struct policy_edge *const *list, size_t n,
    struct edge_cover **ret)
{
	int r = edge_cover_begin(p, list, n, ret);

	if (r == 0)
		(void)edge_cover_fill(*ret, n);
	return r;
}

void
edge_cover_free(struct edge_cover *c)
{
	if (c == NULL)
		return;
	free(c->items);
	free(c->heads);
	free(c->nets);
	free(c);
}

bool
prefixes_cover_prefixes(const struct prefix *p, size_t n_p, const struct prefix *q, size_t n_q)
{
	for (size_t i = 0; i < n_q; i++) {
		size_t k = 0;

		while (k < n_p && !prefix_covers(&p[k], &q[i]))
			k++;
		if (k == n_p)
			return false;
	}
	return true;
}

static bool
is_public(const struct end *e)
{
	for (size_t i = 0; i < e->n_prefixes; i++) {
		struct addr_range r = prefix_range(&e->prefixes[i]);

		if (addr_scope(&r.lo) != SCOPE_INTERNET || addr_scope(&r.hi) != SCOPE_INTERNET)
			return false;
	}
	return e->n_prefixes > 0;
}

static bool
end_covers(const struct end *by, const struct end *of, enum edge_cover_how how)
{
	if (by->n_prefixes > 0)
		return of->n_prefixes > 0 && prefixes_cover_prefixes(by->prefixes, by->n_prefixes,
						 of->prefixes, of->n_prefixes);
	if (by->peer->kind == of->peer->kind && by->peer->kind != PEER_NETWORK &&
	    (by->peer->name == NULL || strcmp(by->peer->name, of->peer->name) == 0))
		return true;
	if (how == EDGE_COVER_STRICT)
		return false;
	if (by->peer->kind == PEER_FQDN && of->peer->kind == PEER_FQDN)
		return name_covers(by->peer->name, of->peer->name);
	return by->peer->kind == PEER_INTERNET && (of->peer->kind == PEER_FQDN || is_public(of));
}

static bool
lasts(const struct policy_edge *by, const struct policy_edge *of)
{
	/* A denial does not end. */
	return by->state == EDGE_DENIED || by->expires_ns == 0 ||
	       (of->expires_ns != 0 && by->expires_ns >= of->expires_ns);
}

static bool
ends_cover(const struct item *by, const struct item *of, enum edge_cover_how how)
{
	return by->e->proto == of->e->proto && lasts(by->e, of->e) &&
	       end_covers(&by->from, &of->from, how) && end_covers(&by->to, &of->to, how);
}

static bool
ports_cover(const struct policy_edge *by, const struct policy_edge *of)
{
	return by->port_lo <= of->port_lo && by->port_hi >= of->port_hi;
}

bool
edge_cover_one(const struct edge_cover *c, size_t k, const struct edge_cover *of, size_t i)
{
	return ports_cover(c->items[k].e, of->items[i].e) &&
	       ends_cover(&c->items[k], &of->items[i], EDGE_COVER_STRICT);
}

/* What it takes to compare two edges with networks of many prefixes. */
static uint64_t
prefix_steps(const struct item *a, const struct item *b)
{
	return (uint64_t)a->from.n_prefixes * b->from.n_prefixes +
	       (uint64_t)a->to.n_prefixes * b->to.n_prefixes;
}

/* Calls fn with each item of the three chains that may cover `of`. */
static void
each_candidate(
    struct edge_cover *c, const struct item *of, enum edge_state state, edge_cover_fn fn, void *arg)
{
	const char *from = workload_of(&of->e->from), *to = workload_of(&of->e->to);
	const char *const ends[3][2] = { { from, to }, { from, NULL }, { NULL, to } };

	for (size_t k = 0; k < ARRAY_SIZE(ends); k++) {
		uint64_t h = chain_hash(state, of->e->proto, ends[k][0], ends[k][1]);

		if ((k == 1 && to == NULL) || (k == 2 && from == NULL) ||
		    (ends[k][0] == NULL && ends[k][1] == NULL))
			continue;
		for (uint32_t i = c->heads[h & c->mask]; i != NONE; i = c->items[i].next) {
			if (c->steps >= MAX_STEPS)
				return;
			c->steps += 1 + prefix_steps(&c->items[i], of);
			if (c->items[i].hash == h && !fn(arg, i))
				return;
		}
	}
}

struct find {
	const struct edge_cover *c;
	const struct item *of;
	enum edge_cover_how how;
	edge_cover_fn fn;
	void *arg;
};

static bool
find_one(void *arg, size_t i)
{
	const struct find *f = arg;
	const struct item *it = &f->c->items[i];

	if (!ports_cover(it->e, f->of->e) || !ends_cover(it, f->of, f->how))
		return true;
	return f->fn(f->arg, i);
}

void
edge_cover_find(struct edge_cover *c, const struct edge_cover *of, size_t i,
    enum edge_cover_how how, edge_cover_fn fn, void *arg)
{
	struct find f = { c, &of->items[i], how, fn, arg };

	each_candidate(c, f.of, f.of->e->state, find_one, &f);
}

struct pieces {
	const struct edge_cover *c;
	const struct item *of;
	uint16_t lo[MAX_PIECES], hi[MAX_PIECES];
	size_t n;
};

static bool
collect_piece(void *arg, size_t i)
{
	struct pieces *p = arg;
	const struct item *it = &p->c->items[i];

	if (it->e->port_hi < p->of->e->port_lo || it->e->port_lo > p->of->e->port_hi ||
	    !ends_cover(it, p->of, EDGE_COVER_STRICT))
		return true;
	if (ports_cover(it->e, p->of->e))
		p->n = 0; /* it is enough alone */
	p->lo[p->n] = it->e->port_lo;
	p->hi[p->n] = it->e->port_hi;
	p->n++;
	return p->n < MAX_PIECES && !ports_cover(it->e, p->of->e);
}

bool
edge_cover_all(struct edge_cover *c, const struct edge_cover *of, size_t i, enum edge_state state)
{
	struct pieces p = { .c = c, .of = &of->items[i] };
	uint32_t at = p.of->e->port_lo;
	bool moved = true;

	each_candidate(c, p.of, state, collect_piece, &p);
	while (moved && at <= p.of->e->port_hi) {
		moved = false;
		for (size_t k = 0; k < p.n; k++)
			if (p.lo[k] <= at && p.hi[k] >= at) {
				at = (uint32_t)p.hi[k] + 1;
				moved = true;
			}
	}
	return at > p.of->e->port_hi;
}

bool
edge_cover_gave_up(const struct edge_cover *c)
{
	return c->steps >= MAX_STEPS;
}
