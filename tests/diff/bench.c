/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See bench.h. */
#include "tests/diff/bench.h"

#include "rules/range.h"
#include "rules/util.h"
#include "tests/diff/nftwire.h"

#include <netinet/in.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PICK(w, array) ((array)[world_rnd(w, ARRAY_SIZE(array))])
#define MAX_REPORTED 5

static void
load_table(struct bench *b, size_t k)
{
	_cleanup_(ruleset_freep) struct ruleset *made = NULL, *r = NULL;
	_cleanup_free_ uint8_t *wire = NULL;
	size_t len;
	bool owned;
	int err;

	err = ruleset_compile(&b->w.policy, &b->w.inv, b->w.entries[k].workload, WORLD_NOW, &made);
	if (err == 0)
		err = ruleset_encode(made, &wire, &len);
	if (err == 0)
		err = ruleset_decode(wire, len, &r);
	if (err == 0 && b->tables[k] == NULL)
		err = nft_table_new(-1, "nanoseg_diff", 1, &b->tables[k]);
	nftwire_connect(&b->sims[k]);
	if (err == 0)
		err = nft_table_apply(b->tables[k], r, &owned);
	if (err < 0) {
		world_print(&b->w);
		printf("Bail out! table of %s: %s (%s)\n", b->w.entries[k].workload, strerror(-err),
		    b->sims[k].fault);
		exit(99);
	}
}

void
bench_load(struct bench *b, uint64_t seed, bool fresh, size_t max_edges)
{
	if (fresh)
		bench_done(b);
	world_make(&b->w, seed, &world_pool, max_edges);
	for (size_t k = 0; k < WORLD_WORKLOADS; k++)
		if (b->w.entries[k].n_addrs > 0)
			load_table(b, k);
}

void
bench_done(struct bench *b)
{
	for (size_t k = 0; k < WORLD_WORKLOADS; k++) {
		nft_table_free(b->tables[k]);
		b->tables[k] = NULL;
		sim_done(&b->sims[k]);
	}
}

void
bench_expect(const struct bench *b, const struct probe *p, enum flow_dir dir,
    const struct inventory_entry *own, struct sim_result *ret, bool *ret_split)
{
	const bool in = dir == DIR_INGRESS;
	const char *src = in ? NULL : own->workload, *dst = in ? own->workload : NULL;
	const bool listed = world_owner(&b->w, in ? &p->t.dst : &p->t.src) == own;
	struct policy_edge edges[WORLD_EDGES];
	struct evaluation ev, whole;
	struct policy policy;

	policy_evaluate(&b->w.policy, &b->w.inv, &p->t, src, dst, WORLD_NOW, &ev);
	*ret_split = false;
	if (ev.verdict == VERDICT_ALLOW || !listed) {
		policy = world_whole(&b->w, own, dir, p->t.src.family, edges);
		policy_evaluate(&policy, &b->w.inv, &p->t, src, dst, WORLD_NOW, &whole);
		*ret_split = whole.verdict != ev.verdict;
		ev = whole;
	}
	probe_expect(&b->w, own, p, dir, &ev, ret);
}

static const struct addr *
grid_of_family(struct world *w, uint8_t family)
{
	size_t at = world_rnd(w, w->n_grid);

	while (w->grid[at].family != family)
		at = (at + 1) % w->n_grid;
	return &w->grid[at];
}

static const struct inventory_entry *
inventory_entry_named(const struct world *w, const char *name)
{
	for (size_t i = 0; i < WORLD_WORKLOADS; i++)
		if (strcmp(w->entries[i].workload, name) == 0)
			return &w->entries[i];
	return NULL;
}

/* Of the peer, at one of its ends where it has two, or anywhere. */
static struct addr
probe_far(struct world *w, const struct peer *peer, uint8_t family)
{
	const struct addr *a = grid_of_family(w, family);
	const struct inventory_entry *entry;
	struct addr_range range;

	if (peer == NULL || world_rnd(w, 5) == 0)
		return *a;
	if ((peer->kind == PEER_CIDR || peer->kind == PEER_ADDR) &&
	    peer->prefix.addr.family == family) {
		range = prefix_range(&peer->prefix);
		return world_rnd(w, 2) ? range.lo : range.hi;
	}
	if (peer->kind == PEER_WORKLOAD) {
		entry = inventory_entry_named(w, peer->name);
		for (size_t i = 0; entry != NULL && i < entry->n_addrs; i++)
			if (entry->addrs[i].family == family)
				return entry->addrs[i];
	}
	for (unsigned tries = 0; tries < 12; tries++, a = grid_of_family(w, family))
		if (peer_contains(&w->policy, &w->inv, peer, a))
			break;
	return *a;
}

static uint16_t
probe_port(struct world *w, const struct policy_edge *e)
{
	switch (world_rnd(w, 8)) {
	case 0:
		return (uint16_t)(e->port_lo - 1);
	case 1:
		return (uint16_t)(e->port_hi + 1);
	case 2:
		return (uint16_t)(e->port_lo + (e->port_hi - e->port_lo) / 2);
	case 3:
	case 4:
		return e->port_hi;
	default:
		return e->port_lo;
	}
}

/* Everything about the packet but its connection. */
static void
probe_frills(struct world *w, struct probe *p)
{
	static const uint32_t states[] = { NF_CT_STATE_BIT(IP_CT_ESTABLISHED),
		NF_CT_STATE_BIT(IP_CT_RELATED), NF_CT_STATE_INVALID_BIT,
		NF_CT_STATE_UNTRACKED_BIT };
	static const uint8_t hops[] = { 1, 255, 254, 2, 0 };

	p->ct_state = world_rnd(w, 12) ? NF_CT_STATE_BIT(IP_CT_NEW) : PICK(w, states);
	p->tcp_flags = world_rnd(w, 16) ? 0x02 : (uint8_t)world_rnd(w, 256);
	p->sctp_chunk = world_rnd(w, 16) ? 1 : (uint8_t)world_rnd(w, 16);
	if ((p->t.proto == IPPROTO_ICMPV6 || p->t.proto == IPPROTO_IGMP) && world_rnd(w, 2))
		p->hops = PICK(w, hops);
	else
		p->hops = 64;
	p->loopback = world_rnd(w, 50) == 0;
	p->limited = world_rnd(w, 16) == 0;
	p->cut = world_rnd(w, 50) == 0;
	p->options = world_rnd(w, 8) == 0;
	p->marked = world_rnd(w, 16) == 0;
	p->reply = p->marked && world_rnd(w, 2) != 0;
}

bool
bench_probe(
    struct bench *b, const struct inventory_entry *own, enum flow_dir dir, struct probe *ret)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP,
		IPPROTO_ICMPV6, IPPROTO_GRE, IPPROTO_ESP, IPPROTO_UDPLITE, IPPROTO_IGMP, 0, 255 };
	static const uint8_t igmp_types[] = { 0x11, 0x12, 0x16, 0x17, 0x22, 0x13, 0 };
	struct world *w = &b->w;
	const struct policy_edge *e = NULL;
	const struct peer *near = NULL;
	struct addr mine, far;

	if (own->n_addrs == 0)
		return false;
	mine = own->addrs[world_rnd(w, own->n_addrs)];
	memset(ret, 0, sizeof(*ret));
	for (unsigned tries = 0; tries < 8 && w->policy.n_edges > 0; tries++) {
		e = &w->edges[world_rnd(w, w->policy.n_edges)];
		near = dir == DIR_INGRESS ? &e->to : &e->from;
		if (peer_contains(&w->policy, &w->inv, near, &mine))
			break;
	}
	if (e == NULL || world_rnd(w, 8) == 0) {
		ret->t.proto = PICK(w, protos);
		ret->t.dport = (uint16_t)world_rnd(w, 65536);
		e = NULL;
	} else {
		ret->t.proto = world_rnd(w, 8) ? e->proto : PICK(w, protos);
		ret->t.dport = probe_port(w, e);
	}
	if (ret->t.proto == IPPROTO_IGMP)
		ret->t.dport = (uint16_t)(PICK(w, igmp_types) << 8);
	if (proto_is_icmp(ret->t.proto) && world_rnd(w, 8))
		ret->t.proto = mine.family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	ret->t.sport = e == NULL || world_rnd(w, 2) ? (uint16_t)world_rnd(w, 65536) : e->port_lo;
	far =
	    probe_far(w, e == NULL ? NULL : (dir == DIR_INGRESS ? &e->from : &e->to), mine.family);
	ret->t.src = dir == DIR_INGRESS ? far : mine;
	ret->t.dst = dir == DIR_INGRESS ? mine : far;
	probe_frills(w, ret);
	return true;
}

/* True if it is accepted there, or nobody has a table there. */
static bool
check_end(
    struct bench *b, const struct probe *p, enum flow_dir dir, struct tally *tally, bool *ret_split)
{
	const struct inventory_entry *own =
	    world_owner(&b->w, dir == DIR_INGRESS ? &p->t.dst : &p->t.src);
	struct sim_result want, got;
	struct sim_packet packet = { 0 };
	bool split;

	if (own == NULL)
		return true;
	probe_bytes(p, dir, &packet);
	sim_run(&b->sims[own - b->w.entries], &packet, &got);
	bench_expect(b, p, dir, own, &want, &split);
	tally->checks++;
	tally->split += split;
	*ret_split |= split;
	if (!result_eq(&want, &got) && tally->wrong++ < MAX_REPORTED) {
		world_print(&b->w);
		printf("# at %s:\n", own->workload);
		probe_print(p, dir, &want, &got);
	}
	return got.verdict == SIM_ACCEPT;
}

static bool
is_plain(const struct probe *p)
{
	return p->ct_state == NF_CT_STATE_BIT(IP_CT_NEW) && !p->loopback && !p->cut && !p->marked &&
	       (p->t.proto != IPPROTO_TCP || p->tcp_flags == 2) &&
	       (p->t.proto != IPPROTO_SCTP || p->sctp_chunk == 1) && p->hops == 64;
}

void
bench_check(struct bench *b, const struct probe *p, struct tally *tally)
{
	struct evaluation ev;
	bool split = false, passes;

	passes = check_end(b, p, DIR_EGRESS, tally, &split);
	passes &= check_end(b, p, DIR_INGRESS, tally, &split);
	policy_evaluate(&b->w.policy, &b->w.inv, &p->t, NULL, NULL, WORLD_NOW, &ev);
	tally->allowed += ev.verdict == VERDICT_ALLOW;
	tally->denied += ev.verdict == VERDICT_DENY_EDGE;
	tally->absent += ev.verdict == VERDICT_DENY_ABSENT;
	if (is_plain(p) && passes != ev.passes && !(split && !passes) &&
	    tally->wrong++ < MAX_REPORTED) {
		world_print(&b->w);
		printf("# as a whole it %s\n", passes ? "passes" : "does not pass");
	}
}
