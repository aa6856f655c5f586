/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See simulate.h. One workload after the other: its ruleset is compiled, every flow at one of its
 * ends is asked of it, and it is forgotten, for all of them together may not fit.
 *
 * A flow has one address at each end: its own, or the pair of the two ends' that is nearest, as on
 * a common network. Of the internet without an address a few are tried, spread over all of it, and
 * all have to pass. A name without an address is judged by the words of the policy.
 */
#include "rules/simulate_internal.h"

#include "rules/flow.h"
#include "rules/policy_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define SAMPLES 8
#define NEAR_MAX 8 /* addresses of an end that are looked at */

static const struct inventory nowhere;

enum simulate_modes
simulate_modes_of(const struct policy *p)
{
	for (size_t i = 0; i < p->n_workloads; i++)
		if (p->workloads[i].mode == MODE_ENFORCE)
			return SIMULATE_AS_WRITTEN;
	return SIMULATE_ALL;
}

int
simulate_new(const struct policy *p, const struct inventory *inv, enum simulate_modes modes,
    uint64_t now_ns, uint64_t hash_seed, struct simulation **ret)
{
	_cleanup_(simulate_freep) struct simulation *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return -ENOMEM;
	s->policy = p;
	s->given = inv != NULL ? inv : &nowhere;
	s->modes = modes;
	s->now_ns = now_ns;
	r = peer_table_new_seeded(2 * SIMULATE_MAX_FLOWS, hash_seed, &s->peers);
	if (r < 0)
		return r;
	*ret = steal_ptr(s);
	return 0;
}

void
simulate_free(struct simulation *s)
{
	if (s == NULL)
		return;
	policy_index_free(s->judged.index);
	free(s->judged.workloads);
	for (size_t i = 0; s->entries != NULL && i < s->inv.n_entries; i++)
		free((void *)s->entries[i].addrs);
	free(s->entries);
	free(s->host);
	free(s->flows);
	free(s->list);
	free(s->end);
	free(s->numbers);
	free(s->by_number);
	free(s->used);
	edge_cover_free(s->cover);
	edge_cover_free(s->cover_flows);
	free(s->words);
	free(s->word_list);
	free(s->edge_list);
	peer_table_free(s->peers);
	free(s);
}

size_t
simulate_count(const struct simulation *s)
{
	return s->n_flows;
}

static bool
is_end(const struct peer *p)
{
	return p->kind != PEER_NONE && p->kind != PEER_CIDR && p->kind != PEER_NETWORK;
}

int
simulate_add(struct simulation *s, const struct simulate_flow *f)
{
	struct sim_flow flow = { .proto = f->proto,
		.port = f->port,
		.hours = f->hours,
		.connections = f->connections,
		.last_seen_ns = f->last_seen_ns };
	int r;

	if (!is_end(&f->from) || !is_end(&f->to) || s->prepared)
		return -EINVAL;
	if (f->from.kind == PEER_ADDR && f->to.kind == PEER_ADDR &&
	    f->from.prefix.addr.family != f->to.prefix.addr.family)
		return -EINVAL;
	if (s->n_flows >= SIMULATE_MAX_FLOWS) {
		s->refused_flows++;
		return -ENOSPC;
	}
	if (s->n_flows == s->room) {
		size_t room = s->room * 2 + 64;
		struct sim_flow *grown = reallocarray(s->flows, room, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		s->flows = grown;
		s->room = room;
	}
	r = peer_intern(s->peers, &f->from, &flow.from);
	if (r == 0)
		r = peer_intern(s->peers, &f->to, &flow.to);
	if (r == 0)
		s->flows[s->n_flows++] = flow;
	return r;
}

static bool
is_workload(const struct simulation *s, peer_id id)
{
	return peer_get(s->peers, id)->kind == PEER_WORKLOAD;
}

/* Real addresses of an end that has any number of them. */
static const struct addr *
addrs_of(const struct inventory *inv, const struct peer *p, size_t *ret_n)
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
	a = addrs_of(s->given, p, &n);
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
fill_inventory(struct simulation *s, const uint8_t *needs)
{
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
fill_lists(struct simulation *s, uint8_t *needs)
{
	size_t n_peers = peer_table_count(s->peers);
	uint32_t n = 0;

	s->end = calloc(n_peers + 2, sizeof(*s->end));
	s->list = calloc(2 * s->n_flows + 1, sizeof(*s->list));
	if (s->end == NULL || s->list == NULL)
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
fill_edges(struct simulation *s)
{
	size_t n = s->policy->n_edges;

	s->numbers = calloc(n + 1, sizeof(*s->numbers));
	s->by_number = calloc(n + 1, sizeof(*s->by_number));
	s->used = calloc(n + 1, sizeof(*s->used));
	if (s->numbers == NULL || s->by_number == NULL || s->used == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct policy_edge *e = &s->policy->edges[i];

		s->by_number[i] = i;
		s->numbers[i] = edge_key_number(&e->from, &e->to, e->proto, e->port_lo, e->port_hi);
	}
	qsort_r(s->by_number, n, sizeof(*s->by_number), number_compare, s->numbers);
	return 0;
}

/* The flows as edges of a policy, for what is said by words. */
static int
fill_words(struct simulation *s)
{
	static const struct policy none;
	size_t n = s->n_flows, n_edges = s->policy->n_edges;
	int r;

	/* Each twice: as what an approval says, and as what a denial does. */
	s->words = calloc(2 * n + 1, sizeof(*s->words));
	s->word_list = calloc(2 * n + 1, sizeof(*s->word_list));
	s->edge_list = calloc(n_edges + 1, sizeof(*s->edge_list));
	if (s->words == NULL || s->word_list == NULL || s->edge_list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < 2 * n; i++) {
		const struct sim_flow *f = &s->flows[i / 2];

		s->words[i] = (struct policy_edge){ .from = *peer_get(s->peers, f->from),
			.to = *peer_get(s->peers, f->to),
			.proto = f->proto,
			.port_lo = f->port,
			.port_hi = f->port,
			.state = i % 2 == 0 ? EDGE_APPROVED : EDGE_DENIED,
			.expires_ns = s->now_ns + 1 };
		s->word_list[i] = &s->words[i];
	}
	for (size_t i = 0; i < n_edges; i++)
		s->edge_list[i] = &s->policy->edges[i];
	r = edge_cover_new(s->policy, s->edge_list, n_edges, &s->cover);
	return r == 0 ? edge_cover_new(&none, s->word_list, 2 * n, &s->cover_flows) : r;
}

static int
prepare(struct simulation *s)
{
	_cleanup_free_ uint8_t *needs = calloc(peer_table_count(s->peers) + 2, 1);
	int r;

	if (needs == NULL)
		return -ENOMEM;
	s->prepared = true;
	if ((r = fill_lists(s, needs)) < 0 || (r = fill_inventory(s, needs)) < 0 ||
	    (r = fill_policy(s)) < 0 || (r = fill_edges(s)) < 0)
		return r;
	return fill_words(s);
}

static unsigned
common_bits(const struct addr *a, const struct addr *b)
{
	unsigned n = 0;

	for (size_t i = 0; i < addr_len(a); i++, n += 8)
		if (a->bytes[i] != b->bytes[i])
			return n + (unsigned)__builtin_clz((unsigned)(a->bytes[i] ^ b->bytes[i])) -
			       24;
	return n;
}

/* At most NEAR_MAX addresses of a family. */
static size_t
pick(const struct simulation *s, const struct peer *p, uint8_t family, struct addr *ret)
{
	const struct addr *a = &p->prefix.addr;
	size_t n = 1, k = 0;

	if (p->kind != PEER_ADDR)
		a = addrs_of(&s->inv, p, &n);
	for (size_t i = 0; i < n && k < NEAR_MAX; i++)
		if (a[i].family == family)
			ret[k++] = a[i];
	return k;
}

/* The pair that has most in common. False: an end has none. */
static bool
nearest(const struct simulation *s, const struct sim_flow *f, struct addr *ret_from,
    struct addr *ret_to)
{
	struct addr from[NEAR_MAX], to[NEAR_MAX];
	size_t n_from = pick(s, peer_get(s->peers, f->from), f->family, from),
	       n_to = pick(s, peer_get(s->peers, f->to), f->family, to);
	int best = -1;

	for (size_t i = 0; i < n_from; i++) {
		for (size_t k = 0; k < n_to; k++) {
			int bits = (int)common_bits(&from[i], &to[k]);

			/* Of its own replicas, two. */
			if (bits <= best || (f->from == f->to && i == k && n_from > 1))
				continue;
			best = bits;
			*ret_from = from[i];
			*ret_to = to[k];
		}
	}
	return best >= 0;
}

static bool
is_somebodys(const struct simulation *s, const struct addr *a)
{
	static const struct peer internet = { .kind = PEER_INTERNET };

	return !peer_contains(s->policy, s->given, &internet, a);
}

/* The k-th of the addresses that stand for the internet. */
static struct addr
sample(const struct simulation *s, uint8_t family, uint64_t k)
{
	struct addr a = { .family = family };

	for (uint64_t try = 0; try < 64; try++) {
		uint64_t h = hash_mix64(k * 64 + try + 1);

		memcpy(a.bytes, &h, MIN(sizeof(h), addr_len(&a)));
		if (family == 6)
			a.bytes[0] = 0x20 | (a.bytes[0] & 0x0f);
		if (addr_scope(&a) == SCOPE_INTERNET && !is_somebodys(s, &a))
			break;
	}
	return a;
}

static bool
refuses(struct simulation *s, const struct match *m, enum flow_dir dir, const struct addr *other,
    const struct sim_flow *f)
{
	if (match_refuses(m, dir, other, f->proto, f->port))
		return true;
	simulate_use(s, match_edge(m, dir, other, f->proto, f->port));
	return false;
}

/* Does this end, by its rules, refuse the flow? */
static bool
end_refuses(struct simulation *s, const struct match *m, enum flow_dir dir, size_t flow)
{
	const struct sim_flow *f = &s->flows[flow];
	const struct peer *far = peer_get(s->peers, dir == DIR_EGRESS ? f->to : f->from);
	struct addr from, to, other;

	switch (far->kind) {
	case PEER_INTERNET:
		for (uint64_t k = 0; k < SAMPLES; k++) {
			other = sample(s, f->family, k);
			if (refuses(s, m, dir, &other, f))
				return true;
		}
		return false;
	case PEER_MULTICAST:
		addr_parse(f->family == 6 ? "ff02::fb" : "224.0.0.251", &other);
		return refuses(s, m, dir, &other, f);
	case PEER_FQDN:
		return !simulate_words(s, flow, EDGE_APPROVED, false) ||
		       simulate_words(s, flow, EDGE_DENIED, false);
	case PEER_ADDR:
		return refuses(s, m, dir, &far->prefix.addr, f);
	default:
		break;
	}
	return !nearest(s, f, &from, &to) || refuses(s, m, dir, dir == DIR_EGRESS ? &to : &from, f);
}

static void
judge(struct simulation *s, peer_id id, const struct ruleset *r, const struct match *m)
{
	for (uint32_t k = s->end[id - 1]; k < s->end[id]; k++) {
		size_t flow = s->list[k];
		struct sim_flow *f = &s->flows[flow];

		if (f->from == id && r->out_mode == MODE_ENFORCE) {
			f->what |= SIM_GOVERNED;
			if (end_refuses(s, m, DIR_EGRESS, flow))
				f->what |= SIM_REFUSED_SOURCE;
		}
		if (f->to == id && r->in_mode == MODE_ENFORCE) {
			f->what |= SIM_GOVERNED;
			if (end_refuses(s, m, DIR_INGRESS, flow))
				f->what |= SIM_REFUSED_DESTINATION;
		}
	}
}

static int
judge_workload(struct simulation *s, peer_id id, simulate_rules_fn fn, void *arg)
{
	const char *name = peer_get(s->peers, id)->name;
	const struct policy_workload *w = policy_find_workload(&s->judged, name);
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	_cleanup_(match_freep) struct match *m = NULL;
	int ret;

	if (w == NULL || w->mode != MODE_ENFORCE)
		return 0;
	ret = ruleset_compile(&s->judged, &s->inv, name, s->now_ns, &r);
	if (ret == 0)
		ret = match_new(r, &m);
	if (ret < 0)
		return ret;
	judge(s, id, r, m);
	if (fn != NULL)
		fn(arg, name, m);
	return 0;
}

int
simulate_step(struct simulation *s, simulate_rules_fn fn, void *arg)
{
	int r = s->prepared ? 0 : prepare(s);
	size_t n = peer_table_count(s->peers);

	if (r < 0)
		return r;
	while (s->next < n && !is_workload(s, s->next + 1))
		s->next++;
	if (s->next >= n)
		return 0;
	s->next++;
	r = judge_workload(s, s->next, fn, arg);
	return r < 0 ? r : 1;
}

bool
simulate_breaks(const struct simulation *s)
{
	for (size_t i = 0; i < s->n_flows; i++)
		if ((s->flows[i].what & SIM_REFUSED) != 0)
			return true;
	return false;
}
