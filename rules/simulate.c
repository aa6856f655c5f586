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
#define PART 1024  /* of the flows, in a step */
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
	free(s->needs);
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

	if (!is_end(&f->from) || !is_end(&f->to) || s->needs != NULL)
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
		a = simulate_addrs_of(&s->inv, p, &n);
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

/* 1 + the index of the edge of that number; 0. */
static uint32_t
find_edge(const struct simulation *s, uint64_t number)
{
	size_t lo = 0, hi = s->policy->n_edges;

	while (number != 0 && lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		uint64_t at = s->numbers[s->by_number[mid]];

		if (at == number)
			return (uint32_t)s->by_number[mid] + 1;
		if (at < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

static void
use_edge(struct simulation *s, uint32_t by)
{
	if (by != 0)
		s->used[by - 1] = true;
}

struct words {
	struct simulation *s;
	bool mark, found;
};

static bool
on_words(void *arg, size_t index)
{
	struct words *w = arg;

	w->found = true;
	if (w->mark)
		w->s->used[index] = true;
	return w->mark; /* one is enough unless all are wanted */
}

/* Does an edge of the policy speak of the flow by its words? mark: all that do are used. */
static bool
speaks_of(struct simulation *s, size_t flow, enum edge_state state, bool mark)
{
	struct words w = { s, mark, false };

	edge_cover_find(s->cover, s->cover_flows, 2 * flow + (state == EDGE_DENIED),
	    EDGE_COVER_LOOSE, on_words, &w);
	return w.found;
}

static bool
refuses(const struct simulation *s, const struct match *m, enum flow_dir dir,
    const struct addr *other, const struct sim_flow *f, uint32_t *ret_by)
{
	if (match_refuses(m, dir, other, f->proto, f->port))
		return true;
	*ret_by = find_edge(s, match_edge(m, dir, other, f->proto, f->port));
	return false;
}

/* Does this end, by its rules, refuse the flow? */
static bool
end_refuses(struct simulation *s, const struct match *m, enum flow_dir dir, size_t flow)
{
	struct sim_flow *f = &s->flows[flow];
	uint32_t samples[SAMPLES], *by = &f->by[dir == DIR_INGRESS];
	const struct peer *far = peer_get(s->peers, dir == DIR_EGRESS ? f->to : f->from);
	struct addr from, to, other;

	switch (far->kind) {
	case PEER_INTERNET:
		for (uint64_t k = 0; k < SAMPLES; k++) {
			other = sample(s, f->family, k);
			if (refuses(s, m, dir, &other, f, &samples[k]))
				return true;
		}
		for (uint64_t k = 0; k < SAMPLES; k++)
			use_edge(s, samples[k]);
		return false;
	case PEER_MULTICAST:
		addr_parse(f->family == 6 ? "ff02::fb" : "224.0.0.251", &other);
		return refuses(s, m, dir, &other, f, by);
	case PEER_FQDN:
		return !speaks_of(s, flow, EDGE_APPROVED, false) ||
		       speaks_of(s, flow, EDGE_DENIED, false);
	case PEER_ADDR:
		return refuses(s, m, dir, &far->prefix.addr, f, by);
	default:
		break;
	}
	return !nearest(s, f, &from, &to) ||
	       refuses(s, m, dir, dir == DIR_EGRESS ? &to : &from, f, by);
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

/* What passes uses the edges that speak of it, and those whose rules let it. 1: more; 0. */
static int
mark_used(struct simulation *s)
{
	size_t until = MIN(s->n_flows, s->at + PART);

	for (; s->at < until; s->at++) {
		const struct sim_flow *f = &s->flows[s->at];

		if ((f->what & SIM_REFUSED) != 0)
			continue;
		speaks_of(s, s->at, EDGE_APPROVED, true);
		use_edge(s, f->by[0]);
		use_edge(s, f->by[1]);
	}
	return s->at < s->n_flows;
}

int
simulate_step(struct simulation *s, simulate_rules_fn fn, void *arg)
{
	size_t n = peer_table_count(s->peers);
	int r;

	if ((r = simulate_prepare(s)) != 0)
		return r;
	while (s->next < n && !is_workload(s, s->next + 1))
		s->next++;
	if (s->next >= n)
		return mark_used(s);
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
