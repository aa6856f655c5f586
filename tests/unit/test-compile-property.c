/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compile against the evaluator: over pseudo-random policies and inventories, what a namespace's
 * sets say about a first packet is what the words of the policy say, in both directions, for every
 * instance. Each mutation below breaks the sets or their reading, and must be noticed.
 */
#include "compile-fixture.h"
#include "rules/policy_internal.h"
#include "rules/range.h"
#include "rules/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define NOW 1000u
#define N_WORKLOADS 5
#define MAX_ADDRS 4
#define MAX_EDGES 24
#define POLICIES 1500
#define TUPLES 24 /* per instance and direction */

static const char *const names[] = { "a", "b", "c", "d", "e", "elsewhere" };
static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP,
	IPPROTO_ICMP, IPPROTO_ICMPV6 };
/* Near each other, so that prefixes, networks, internet and workloads meet. */
static const char *const prefixes[] = { "10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.0.0/23",
	"10.0.0.0/8", "0.0.0.0/0", "203.0.113.0/24", "203.0.113.4/30", "203.0.112.0/20",
	"128.0.0.0/1", "::/0", "fd00::/8", "fd00::1:0/112", "2001:db8::/32", "2001:db8::1:0/126",
	"224.0.0.0/4", "10.0.3.1/32" };
static const char *const places[] = { "0.0.0.0", "0.255.255.255", "1.0.0.0", "9.255.255.255",
	"10.0.0.9", "10.0.1.0", "10.255.255.255", "11.0.0.0", "127.0.0.1", "128.0.0.0",
	"172.16.0.1", "192.168.1.1", "203.0.113.9", "203.0.113.5", "203.0.112.0", "223.255.255.255",
	"224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fd00::7", "fe80::1", "ff02::1",
	"2001:db8::9", "2001:db8::1:2", "2001:db8::1:3", "2a00::1",
	"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" };

struct world {
	struct policy policy;
	struct policy_workload workloads[N_WORKLOADS];
	struct policy_network networks[2];
	struct prefix network_prefixes[2][3];
	struct policy_edge edges[MAX_EDGES];
	struct inventory inv;
	struct inventory_entry entries[N_WORKLOADS];
	struct addr addrs[N_WORKLOADS][MAX_ADDRS];
	struct addr host[3];
	struct inventory_name told[4];
	uint64_t seed;
};

static uint64_t
rnd(struct world *w, uint64_t below)
{
	w->seed += 0x9e3779b97f4a7c15ULL;
	return hash_mix64(w->seed) % below;
}

#define PICK(w, array) ((array)[rnd(w, ARRAY_SIZE(array))])

/* Unique by its last byte; mostly a network per workload, so that prefixes hold whole workloads. */
static struct addr
make_addr(struct world *w, unsigned group, unsigned unique)
{
	static const char *const bases[] = { "10.0.0.0", "10.0.0.0", "203.0.113.0", "fd00::1:0",
		"2001:db8::1:0" };
	struct addr a = A(PICK(w, bases));

	a.bytes[addr_len(&a) - 1] = (uint8_t)unique;
	if (a.family == 4 && a.bytes[0] == 10)
		a.bytes[2] = (uint8_t)(rnd(w, 8) == 0 ? rnd(w, 4) : group);
	return a;
}

static int
told_cmp(const void *a, const void *b)
{
	return inventory_name_cmp(a, b);
}

static void
make_inventory(struct world *w)
{
	unsigned unique = 0;
	size_t i, j, n;

	for (i = 0; i < N_WORKLOADS; i++) {
		n = rnd(w, MAX_ADDRS);
		for (j = 0; j < n; j++)
			w->addrs[i][j] = make_addr(w, (unsigned)i % 4, ++unique);
		w->entries[i] = (struct inventory_entry){ names[i], w->addrs[i], n };
	}
	n = rnd(w, 4);
	for (j = 0; j < n; j++)
		w->host[j] = make_addr(w, 0, ++unique);
	w->inv = (struct inventory){ w->entries, N_WORKLOADS, w->host, n };
	for (j = 0; j < ARRAY_SIZE(w->told); j++)
		w->told[j] = (struct inventory_name){ PICK(w, names),
			rnd(w, 2) ? "x.example" : "y.x.example", A(PICK(w, places)) };
	qsort(w->told, ARRAY_SIZE(w->told), sizeof(w->told[0]), told_cmp);
	w->inv.names = w->told;
	w->inv.n_names = ARRAY_SIZE(w->told);
}

static struct peer
make_peer(struct world *w)
{
	static const char *const addresses[] = { "10.0.0.1", "10.0.0.9", "10.0.1.2", "fd00::1:1",
		"203.0.113.5" };

	switch (rnd(w, 16)) {
	case 0:
	case 1:
		return CIDR(PICK(w, prefixes));
	case 2:
		return NETWORK(rnd(w, 2) ? "n0" : "n1");
	case 3:
		return HOST;
	case 4:
		return INTERNET;
	case 5:
		return rnd(w, 4) ? ADDRESS(PICK(w, addresses)) : MULTICAST;
	case 6:
		return rnd(w, 3) ? CIDR(PICK(w, prefixes))
				 : FQDN(rnd(w, 2) ? "x.example" : "*.example");
	default:
		return W(PICK(w, names));
	}
}

static uint16_t
make_port(struct world *w, uint8_t proto)
{
	static const uint16_t few[] = { 0, 1, 79, 80, 81, 82, 443, 65535 };

	if (proto_is_icmp(proto))
		return (uint16_t)((rnd(w, 2) ? 8 : 128) << 8 | rnd(w, 2));
	return PICK(w, few);
}

static struct policy_edge
make_edge(struct world *w)
{
	struct policy_edge e =
	    EDGE(make_peer(w), make_peer(w), PICK(w, protos), 0, 0, EDGE_APPROVED);

	e.port_lo = e.port_hi = make_port(w, e.proto);
	if (rnd(w, 3) == 0) {
		e.port_hi = make_port(w, e.proto);
		if (e.port_hi < e.port_lo) {
			e.port_lo = e.port_hi;
			e.port_hi = 65535;
		}
	}
	if (rnd(w, 3) == 0)
		e.state = rnd(w, 3) ? EDGE_DENIED : EDGE_PENDING;
	if (rnd(w, 6) == 0)
		e.expires_ns = NOW - 1 + rnd(w, 3);
	return e;
}

static void
make_world(struct world *w, uint64_t seed)
{
	size_t i, j;

	memset(w, 0, sizeof(*w));
	w->seed = hash_mix64(seed);
	make_inventory(w);
	for (i = 0; i < N_WORKLOADS; i++)
		w->workloads[i] = (struct policy_workload){ .name = (char *)names[i],
			.mode = rnd(w, 8) ? MODE_AUDIT + rnd(w, 2) : MODE_OBSERVE,
			.direction = rnd(w, 3) ? WL_BOTH : 1 + rnd(w, 2) };
	for (i = 0; i < 2; i++) {
		for (j = 0; j < 3; j++)
			w->network_prefixes[i][j] = CIDR(PICK(w, prefixes)).prefix;
		w->networks[i] = (struct policy_network){ (char *)(i ? "n1" : "n0"),
			w->network_prefixes[i], rnd(w, 4) };
	}
	w->policy = (struct policy){ .workloads = w->workloads,
		.n_workloads = N_WORKLOADS,
		.networks = w->networks,
		.n_networks = 2,
		.edges = w->edges,
		.n_edges = rnd(w, MAX_EDGES + 1) };
	for (i = 0; i < w->policy.n_edges; i++)
		w->edges[i] = make_edge(w);
}

/* Somebody's address, a place of interest, or a neighbour of one. */
static struct addr
make_far(struct world *w)
{
	const struct inventory_entry *entry = &PICK(w, w->entries);
	struct addr a;

	if (rnd(w, 2) && entry->n_addrs > 0)
		a = entry->addrs[rnd(w, entry->n_addrs)];
	else if (rnd(w, 4) == 0 && w->inv.n_host > 0)
		a = w->host[rnd(w, w->inv.n_host)];
	else
		a = A(PICK(w, places));
	if (rnd(w, 4) == 0 && a.bytes[addr_len(&a) - 1] != 255)
		a = addr_next(&a);
	else if (rnd(w, 4) == 0 && a.bytes[addr_len(&a) - 1] != 0)
		a = addr_prev(&a);
	return a;
}

/* An address of that peer, so that connections meet edges more often than by chance. */
static struct addr
make_far_of(struct world *w, const struct peer *peer)
{
	struct addr_range range;

	if (peer->kind == PEER_WORKLOAD)
		for (size_t i = 0; i < N_WORKLOADS; i++)
			if (strcmp(names[i], peer->name) == 0 && w->entries[i].n_addrs > 0)
				return w->addrs[i][rnd(w, w->entries[i].n_addrs)];
	if (peer->kind == PEER_CIDR || peer->kind == PEER_ADDR) {
		range = prefix_range(&peer->prefix);
		return rnd(w, 2) ? range.lo : range.hi;
	}
	return make_far(w);
}

/* Does a set of addresses in the policy hold some of the workload's, but not all of a family? */
static bool
peer_splits(const struct world *w, const struct peer *peer, const struct inventory_entry *own,
    uint8_t family)
{
	bool in = false, out = false;
	size_t i;

	if (peer->kind == PEER_WORKLOAD)
		return false;
	for (i = 0; i < own->n_addrs; i++) {
		if (own->addrs[i].family != family)
			continue;
		if (peer_contains(&w->policy, &w->inv, peer, &own->addrs[i]))
			in = true;
		else
			out = true;
	}
	return in && out;
}

/* An edge that speaks of this packet, if only one knew which own address it is for. */
static bool
packet_is_split(const struct world *w, const struct inventory_entry *own, enum flow_dir dir,
    const struct tuple *t)
{
	const struct addr *far = dir == DIR_INGRESS ? &t->src : &t->dst;
	const struct policy_edge *e;
	size_t i;

	for (i = 0; i < w->policy.n_edges; i++) {
		e = &w->policy.edges[i];
		if (e->proto == t->proto && e->port_lo <= t->dport && t->dport <= e->port_hi &&
		    peer_splits(w, dir == DIR_INGRESS ? &e->to : &e->from, own, far->family) &&
		    peer_contains(&w->policy, &w->inv, dir == DIR_INGRESS ? &e->from : &e->to, far))
			return true;
	}
	return false;
}

enum mutation {
	MUTATE_NOTHING,
	MUTATE_ALLOW_FIRST,   /* approvals looked up before denials */
	MUTATE_DROP_ELEMENT,  /* one element lost */
	MUTATE_FLIP_VERDICT,  /* one element's verdict turned */
	MUTATE_WIDEN_ADDRESS, /* one element reaches one address further */
	MUTATE_WIDEN_PORT,    /* one element reaches one port further */
	MUTATE_SWAP_DIRECTION,
	MUTATE_FORGET_EXPIRY, /* compiled before the approvals ran out */
	MUTATE_MAX,
};

static void
mutate(struct world *w, struct ruleset *r, enum mutation mutation)
{
	struct ruleset_elem *e;

	if (r->n_elems == 0)
		return;
	e = &r->elems[rnd(w, r->n_elems)];
	switch (mutation) {
	case MUTATE_DROP_ELEMENT:
		*e = r->elems[--r->n_elems];
		break;
	case MUTATE_FLIP_VERDICT:
		e->allow = !e->allow;
		break;
	case MUTATE_WIDEN_ADDRESS:
		if (e->hi.bytes[addr_len(&e->hi) - 1] != 255)
			e->hi = addr_next(&e->hi);
		break;
	case MUTATE_WIDEN_PORT:
		e->port_hi += e->port_hi != 65535;
		break;
	case MUTATE_SWAP_DIRECTION:
		e->dir = e->dir == DIR_INGRESS ? DIR_EGRESS : DIR_INGRESS;
		break;
	default:
		break;
	}
}

static enum lookup
lookup(const struct ruleset *r, enum flow_dir dir, const struct addr *far, uint8_t proto,
    uint16_t port, enum mutation mutation)
{
	enum lookup found = ruleset_lookup(r, dir, far, proto, port);
	struct ruleset allows = *r;
	size_t i;

	if (mutation != MUTATE_ALLOW_FIRST || found != LOOKUP_DENY)
		return found;
	for (i = 0; i < r->n_elems && !r->elems[i].allow; i++)
		;
	for (; i < r->n_elems; i++) {
		allows.elems = &r->elems[i];
		allows.n_elems = 1;
		if (ruleset_lookup(&allows, dir, far, proto, port) == LOOKUP_ALLOW)
			return LOOKUP_ALLOW;
	}
	return found;
}

struct tally {
	size_t checks, allowed, denied, split, wrong;
};

static const enum verdict verdicts[] = {
	[LOOKUP_NONE] = VERDICT_DENY_ABSENT,
	[LOOKUP_ALLOW] = VERDICT_ALLOW,
	[LOOKUP_DENY] = VERDICT_DENY_EDGE,
};

/* A first packet at `near`, often one that some edge of the workload speaks of. */
static bool
make_packet(struct world *w, const char *workload, const struct addr *near, enum flow_dir dir,
    struct addr *ret_far, uint8_t *ret_proto, uint16_t *ret_port)
{
	const struct policy_edge *e = NULL;
	const struct peer *peer;

	for (int tries = 0; tries < 8 && w->policy.n_edges > 0; tries++) {
		e = &w->edges[rnd(w, w->policy.n_edges)];
		peer = dir == DIR_INGRESS ? &e->to : &e->from;
		if (peer->kind != PEER_WORKLOAD || strcmp(peer->name, workload) == 0)
			break;
		e = NULL;
	}
	if (e == NULL || rnd(w, 6) == 0) {
		*ret_far = make_far(w);
		*ret_proto = PICK(w, protos);
		*ret_port = make_port(w, *ret_proto);
	} else {
		*ret_far = make_far_of(w, dir == DIR_INGRESS ? &e->from : &e->to);
		*ret_proto = e->proto;
		*ret_port = rnd(w, 2) ? e->port_lo : e->port_hi;
		*ret_port = (uint16_t)(*ret_port + (rnd(w, 6) == 0) - (rnd(w, 6) == 0));
	}
	if (proto_is_icmp(*ret_proto))
		*ret_proto = near->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	return ret_far->family == near->family;
}

static void
check_tuple(struct world *w, const struct ruleset *r, const struct inventory_entry *own,
    const struct addr *near, enum flow_dir dir, enum mutation mutation, struct tally *tally)
{
	struct evaluation ev;
	enum lookup found;
	struct addr far;
	struct tuple t;
	uint16_t port;
	uint8_t proto;

	if (!make_packet(w, own->workload, near, dir, &far, &proto, &port))
		return;
	found = lookup(r, dir, &far, proto, port, mutation);
	if (dir == DIR_INGRESS) {
		t = TUPLE(far, *near, proto, port);
		policy_evaluate(&w->policy, &w->inv, &t, NULL, own->workload, NOW, &ev);
	} else {
		t = TUPLE(*near, far, proto, port);
		policy_evaluate(&w->policy, &w->inv, &t, own->workload, NULL, NOW, &ev);
	}
	tally->checks++;
	tally->allowed += ev.verdict == VERDICT_ALLOW;
	tally->denied += ev.verdict == VERDICT_DENY_EDGE;
	if (verdicts[found] == ev.verdict)
		return;
	if (packet_is_split(w, own, dir, &t) && found != LOOKUP_ALLOW)
		tally->split++; /* refused where the sets cannot tell two own addresses apart */
	else
		tally->wrong++;
}

/* No two elements of a kind overlap, none lies in an ungoverned direction, and it encodes. */
static void
check_shape(const struct ruleset *r)
{
	_cleanup_free_ uint8_t *buf = NULL;
	const struct ruleset_elem *a, *b;
	size_t i, j, len;

	assert_int_equal(ruleset_encode(r, &buf, &len), 0);
	for (i = 0; i < r->n_elems; i++) {
		a = &r->elems[i];
		assert_int_not_equal(
		    a->dir == DIR_INGRESS ? r->in_mode : r->out_mode, MODE_OBSERVE);
		if (ruleset_elem_is_exact(a))
			continue;
		for (j = i + 1; j < r->n_elems; j++) {
			b = &r->elems[j];
			if (ruleset_elem_is_exact(b) || a->dir != b->dir || a->allow != b->allow ||
			    a->proto != b->proto || a->lo.family != b->lo.family)
				continue;
			assert_true(a->port_hi < b->port_lo || b->port_hi < a->port_lo ||
				    addr_cmp(&a->hi, &b->lo) < 0 || addr_cmp(&b->hi, &a->lo) < 0);
		}
	}
}

/* An index saves time and changes nothing, in what is compiled and in its bytes. */
static void
check_index(struct world *w, const char *workload, uint64_t now, const struct ruleset *without)
{
	_cleanup_(ruleset_freep) struct ruleset *with = NULL;
	uint8_t a[RULESET_DIGEST_LEN], b[RULESET_DIGEST_LEN];

	assert_int_equal(policy_index(&w->policy), 0);
	assert_int_equal(ruleset_compile(&w->policy, &w->inv, workload, now, &with), 0);
	policy_index_free(w->policy.index);
	w->policy.index = NULL;
	assert_int_equal(ruleset_digest(without, a), 0);
	assert_int_equal(ruleset_digest(with, b), 0);
	assert_memory_equal(a, b, sizeof(a));
}

static void
check_workload(
    struct world *w, const struct inventory_entry *own, enum mutation mutation, struct tally *tally)
{
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	uint64_t now = mutation == MUTATE_FORGET_EXPIRY ? 1 : NOW;
	size_t i, j;

	assert_int_equal(ruleset_compile(&w->policy, &w->inv, own->workload, now, &r), 0);
	if (mutation == MUTATE_NOTHING) {
		check_shape(r);
		check_index(w, own->workload, now, r);
	}
	mutate(w, r, mutation);
	for (i = 0; i < own->n_addrs; i++) {
		for (j = 0; j < TUPLES; j++) {
			if (r->in_mode != MODE_OBSERVE)
				check_tuple(
				    w, r, own, &own->addrs[i], DIR_INGRESS, mutation, tally);
			if (r->out_mode != MODE_OBSERVE)
				check_tuple(w, r, own, &own->addrs[i], DIR_EGRESS, mutation, tally);
		}
	}
}

static struct tally
run(size_t policies, enum mutation mutation)
{
	struct tally tally = { 0 };
	struct world w;
	size_t i, k;

	for (i = 0; i < policies; i++) {
		make_world(&w, i);
		for (k = 0; k < N_WORKLOADS; k++)
			check_workload(&w, &w.entries[k], mutation, &tally);
	}
	return tally;
}

static void
sets_say_what_the_policy_says(void **state)
{
	struct tally t = run(POLICIES, MUTATE_NOTHING);

	print_message("# %zu checks: %zu allowed, %zu denied, %zu refused as split\n", t.checks,
	    t.allowed, t.denied, t.split);
	assert_int_equal(t.wrong, 0);
	assert_true(t.checks > 50000);
	assert_true(t.allowed > t.checks / 50);
	assert_true(t.denied > t.checks / 100);
	assert_true(t.split < t.checks / 50);
}

static void
every_mutation_is_noticed(void **state)
{
	struct tally t;

	for (int m = MUTATE_NOTHING + 1; m < MUTATE_MAX; m++) {
		t = run(POLICIES / 5, m);
		print_message("# mutation %d: %zu of %zu checks wrong\n", m, t.wrong, t.checks);
		if (t.wrong == 0)
			fail_msg("mutation %d was not noticed", m);
	}
}

static void
the_order_of_edges_does_not_matter(void **state)
{
	struct policy_edge edge;
	struct world w;
	size_t i, j, k;

	for (i = 0; i < 200; i++) {
		_cleanup_(ruleset_freep) struct ruleset *r1 = NULL, *r2 = NULL;
		uint8_t d1[RULESET_DIGEST_LEN], d2[RULESET_DIGEST_LEN];

		make_world(&w, 77000 + i);
		assert_int_equal(ruleset_compile(&w.policy, &w.inv, "a", NOW, &r1), 0);
		for (j = w.policy.n_edges; j > 1; j--) {
			k = rnd(&w, j);
			edge = w.edges[k];
			w.edges[k] = w.edges[j - 1];
			w.edges[j - 1] = edge;
		}
		assert_int_equal(ruleset_compile(&w.policy, &w.inv, "a", NOW, &r2), 0);
		assert_int_equal(ruleset_digest(r1, d1), 0);
		assert_int_equal(ruleset_digest(r2, d2), 0);
		assert_memory_equal(d1, d2, sizeof(d1));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_say_what_the_policy_says),
		cmocka_unit_test(every_mutation_is_noticed),
		cmocka_unit_test(the_order_of_edges_does_not_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
