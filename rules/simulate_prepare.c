/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a simulation is made of before the first workload is judged: flows by their workloads, an
 * address for each end, the policy with the modes that count, its edges by number and by words. A
 * part at a time: flows and edges may be hundreds of thousands, and other work waits.
 */
#include "rules/simulate_internal.h"

#include "rules/policy_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define PART 4096 /* of a list */

const struct addr *
simulate_addrs_of(const struct inventory *inv, const struct peer *p, size_t *ret_n)
{
	const struct inventory_entry *e;

	*ret_n = 0;
	if (p->kind == PEER_HOST) {
		*ret_n = inv->n_host;
		return inv->host;
	}
	e = p->kind == PEER_WORKLOAD ? inventory_find(inv, p->name) : NULL;
	if (e == NULL)
		return NULL;
	*ret_n = e->n_addrs;
	return e->addrs;
}

/* Bit 0: IPv4, bit 1: IPv6. An end without addresses of its own may be of either. */
static unsigned
families_of(const struct simulation *s, peer_id id)
{
	const struct peer *p = peer_get(s->peers, id);
	unsigned ret = 0;
	size_t n;
	const struct addr *a;

	if (p->kind == PEER_ADDR)
		return p->prefix.addr.family == 6 ? 2 : 1;
	a = simulate_addrs_of(s->given, p, &n);
	for (size_t i = 0; i < n; i++)
		ret |= a[i].family == 6 ? 2 : 1;
	return ret != 0 ? ret : 3;
}

static uint8_t
family_of(const struct simulation *s, const struct sim_flow *f)
{
	unsigned from = families_of(s, f->from), to = families_of(s, f->to), both = from & to;

	if (f->proto == IPPROTO_ICMPV6)
		return 6;
	if (f->proto == IPPROTO_ICMP)
		return 4;
	/* Their addresses have changed since: an exact one says which it was. */
	if (both == 0)
		both = peer_get(s->peers, f->from)->kind == PEER_ADDR ? from : to;
	return (both & 1) != 0 ? 4 : 6;
}

/* An address of nobody's: 240/4 is reserved for ever, fec0::/10 is given up. */
static struct addr
make_addr(struct simulation *s, uint8_t family)
{
	uint32_t n = (uint32_t)++s->n_made;
	struct addr a = { .family = family };
	uint8_t *last = a.bytes + (family == 6 ? 15 : 3);

	a.bytes[0] = family == 6 ? 0xfe : 0xf0;
	if (family == 6)
		a.bytes[1] = 0xc0;
	for (int i = 0; i < 3; i++, n >>= 8)
		*(last - i) = (uint8_t)n;
	return a;
}

static int
entry_compare(const void *va, const void *vb)
{
	const struct inventory_entry *a = va, *b = vb;

	return strcmp(a->workload, b->workload);
}

static bool
has_family(const struct addr *a, size_t n, uint8_t family)
{
	for (size_t i = 0; i < n; i++)
		if (a[i].family == family)
			return true;
	return false;
}

/* The addresses, and those that it needs for its flows. needs: families_of()'s bits. */
static struct addr *
extend(struct simulation *s, const struct addr *given, size_t n, unsigned needs, size_t *ret_n)
{
	struct addr *list = calloc(n + 2, sizeof(*list));

	if (list == NULL)
		return NULL;
	if (n > 0)
		memcpy(list, given, n * sizeof(*list));
	*ret_n = n;
	for (uint8_t family = 4; family <= 6; family += 2)
		if ((needs & (family == 6 ? 2u : 1u)) != 0 && !has_family(given, n, family))
			list[(*ret_n)++] = make_addr(s, family);
	return list;
}

static int
fill_inventory(struct simulation *s)
{
	const uint8_t *needs = s->needs;
	size_t n_peers = peer_table_count(s->peers), n = s->given->n_entries;
	const struct inventory_entry *e;
	unsigned host_needs = 0;

	s->inv = *s->given;
	s->inv.n_entries = 0;
	s->entries = calloc(n + n_peers + 1, sizeof(*s->entries));
	s->inv.entries = s->entries;
	if (s->entries == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct inventory_entry *to = &s->entries[s->inv.n_entries];
		struct peer p = { .kind = PEER_WORKLOAD, .name = s->given->entries[i].workload };
		peer_id id = peer_lookup(s->peers, &p);

		*to = s->given->entries[i];
		to->addrs = extend(
		    s, to->addrs, to->n_addrs, id != PEER_ID_NONE ? needs[id] : 0, &to->n_addrs);
		if (to->addrs == NULL)
			return -ENOMEM;
		s->inv.n_entries++;
	}
	for (peer_id id = 1; id <= n_peers; id++) {
		const struct peer *p = peer_get(s->peers, id);
		struct inventory_entry *to = &s->entries[s->inv.n_entries];

		host_needs |= p->kind == PEER_HOST ? needs[id] : 0;
		e = p->kind == PEER_WORKLOAD ? inventory_find(s->given, p->name) : NULL;
		if (p->kind != PEER_WORKLOAD || e != NULL)
			continue;
		to->workload = p->name;
		to->addrs = extend(s, NULL, 0, needs[id], &to->n_addrs);
		if (to->addrs == NULL)
			return -ENOMEM;
		s->inv.n_entries++;
	}
	qsort(s->entries, s->inv.n_entries, sizeof(*s->entries), entry_compare);
	s->host = extend(s, s->given->host, s->given->n_host, host_needs, &s->inv.n_host);
	s->inv.host = s->host;
	return s->host != NULL ? 0 : -ENOMEM;
}

/* Every workload that can be judged, in the mode that counts. */
static int
fill_policy(struct simulation *s)
{
	const struct policy_workload *w;

	s->judged = *s->policy;
	s->judged.index = NULL;
	s->judged.n_workloads = 0;
	s->judged.workloads = calloc(s->inv.n_entries + 1, sizeof(*s->judged.workloads));
	if (s->judged.workloads == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < s->inv.n_entries; i++) {
		struct policy_workload *to = &s->judged.workloads[s->judged.n_workloads++];

		w = policy_find_workload(s->policy, s->entries[i].workload);
		*to = (struct policy_workload){ .name = (char *)s->entries[i].workload,
			.mode = MODE_OBSERVE,
			.direction = WL_BOTH };
		if (s->modes == SIMULATE_ALL) {
			to->mode = MODE_ENFORCE;
		} else if (w != NULL) {
			to->mode = w->mode;
			to->direction = w->direction;
		}
	}
	return policy_index(&s->judged);
}

/* Which flows each workload has, and of which families it needs addresses. */
static int
fill_lists(struct simulation *s)
{
	size_t n_peers = peer_table_count(s->peers);
	uint8_t *needs = s->needs = calloc(n_peers + 2, 1);
	uint32_t n = 0;

	s->end = calloc(n_peers + 2, sizeof(*s->end));
	s->list = calloc(2 * s->n_flows + 1, sizeof(*s->list));
	if (needs == NULL || s->end == NULL || s->list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_flows; i++) {
		struct sim_flow *f = &s->flows[i];
		uint8_t bit;

		f->family = family_of(s, f);
		bit = f->family == 6 ? 2 : 1;
		needs[f->from] |= bit;
		needs[f->to] |= bit;
		s->end[f->from]++;
		s->end[f->to] += f->to != f->from;
	}
	for (size_t i = 0; i <= n_peers; i++) {
		n += s->end[i];
		s->end[i] = n - s->end[i];
	}
	for (size_t i = 0; i < s->n_flows; i++) {
		s->list[s->end[s->flows[i].from]++] = (uint32_t)i;
		if (s->flows[i].to != s->flows[i].from)
			s->list[s->end[s->flows[i].to]++] = (uint32_t)i;
	}
	return 0;
}

static int
number_compare(const void *va, const void *vb, void *arg)
{
	const uint64_t *numbers = arg, a = numbers[*(const size_t *)va],
		       b = numbers[*(const size_t *)vb];

	return (a > b) - (a < b);
}

static int
alloc_edges(struct simulation *s)
{
	size_t n = s->policy->n_edges;

	s->numbers = calloc(n + 1, sizeof(*s->numbers));
	s->by_number = calloc(n + 1, sizeof(*s->by_number));
	s->used = calloc(n + 1, sizeof(*s->used));
	s->edge_list = calloc(n + 1, sizeof(*s->edge_list));
	if (s->numbers == NULL || s->by_number == NULL || s->used == NULL || s->edge_list == NULL)
		return -ENOMEM;
	return 0;
}

static int
fill_edges(struct simulation *s)
{
	size_t n = s->policy->n_edges, until = MIN(n, s->at + PART);

	for (; s->at < until; s->at++) {
		const struct policy_edge *e = &s->policy->edges[s->at];

		s->by_number[s->at] = s->at;
		s->numbers[s->at] =
		    edge_key_number(&e->from, &e->to, e->proto, e->port_lo, e->port_hi);
		s->edge_list[s->at] = e;
	}
	return s->at < n;
}

static int
sort_edges(struct simulation *s)
{
	qsort_r(
	    s->by_number, s->policy->n_edges, sizeof(*s->by_number), number_compare, s->numbers);
	return 0;
}

static int
begin_cover(struct simulation *s)
{
	return edge_cover_begin(s->policy, s->edge_list, s->policy->n_edges, &s->cover);
}

static int
fill_cover(struct simulation *s)
{
	return edge_cover_fill(s->cover, PART);
}

/* The flows as edges of a policy, for what is said by words. */
static int
alloc_words(struct simulation *s)
{
	s->words = calloc(2 * s->n_flows + 1, sizeof(*s->words));
	s->word_list = calloc(2 * s->n_flows + 1, sizeof(*s->word_list));
	return s->words != NULL && s->word_list != NULL ? 0 : -ENOMEM;
}

/* Each twice: as what an approval says, and as what a denial does. */
static int
fill_words(struct simulation *s)
{
	size_t n = 2 * s->n_flows, until = MIN(n, s->at + PART);

	for (; s->at < until; s->at++) {
		const struct sim_flow *f = &s->flows[s->at / 2];

		s->words[s->at] = (struct policy_edge){ .from = *peer_get(s->peers, f->from),
			.to = *peer_get(s->peers, f->to),
			.proto = f->proto,
			.port_lo = f->port,
			.port_hi = f->port,
			.state = s->at % 2 == 0 ? EDGE_APPROVED : EDGE_DENIED,
			.expires_ns = s->now_ns + 1 };
		s->word_list[s->at] = &s->words[s->at];
	}
	return s->at < n;
}

static int
begin_cover_flows(struct simulation *s)
{
	static const struct policy none;

	return edge_cover_begin(&none, s->word_list, 2 * s->n_flows, &s->cover_flows);
}

static int
fill_cover_flows(struct simulation *s)
{
	return edge_cover_fill(s->cover_flows, PART);
}

/* Each is called until it returns 0. */
static int (*const stages[])(struct simulation *s) = { fill_lists, fill_inventory, fill_policy,
	alloc_edges, fill_edges, sort_edges, begin_cover, fill_cover, alloc_words, fill_words,
	begin_cover_flows, fill_cover_flows };

int
simulate_prepare(struct simulation *s)
{
	int r;

	if (s->stage == ARRAY_SIZE(stages))
		return 0;
	r = stages[s->stage](s);
	if (r == 0) {
		s->stage++;
		s->at = 0;
	}
	return r < 0 ? r : 1;
}
