/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "compile-fixture.h"
#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define NOW 1000000u

/*
 * Four workloads: web (two replicas), api, db (also with a global IPv6 address), new (nothing runs
 * yet). The host has several addresses, one of them global.
 */
static struct addr web_addrs[2], api_addrs[2], db_addrs[2], host_addrs[3];
static struct inventory_entry entries[] = {
	{ "api", api_addrs, 2 },
	{ "db", db_addrs, 2 },
	{ "web", web_addrs, 2 },
};
static struct inventory inv = { entries, ARRAY_SIZE(entries), host_addrs, 3 };

static int
set_up(void **state)
{
	web_addrs[0] = A("10.0.0.2");
	web_addrs[1] = A("10.0.0.3");
	api_addrs[0] = A("10.0.0.10");
	api_addrs[1] = A("fd00::10");
	db_addrs[0] = A("10.0.0.20");
	db_addrs[1] = A("2001:db8::20");
	host_addrs[0] = A("10.0.0.1");
	host_addrs[1] = A("192.0.2.1");
	host_addrs[2] = A("fd00::1");
	return 0;
}

static struct policy_workload workloads[] = {
	{ .name = (char *)"web", .mode = MODE_ENFORCE, .direction = WL_BOTH },
	{ .name = (char *)"api", .mode = MODE_ENFORCE, .direction = WL_BOTH },
	{ .name = (char *)"db", .mode = MODE_ENFORCE, .direction = WL_INGRESS },
	{ .name = (char *)"new", .mode = MODE_AUDIT, .direction = WL_BOTH },
	{ .name = (char *)"idle", .mode = MODE_OBSERVE, .direction = WL_BOTH },
};

static struct policy
policy_of(struct policy_edge *edges, size_t n)
{
	return (struct policy){ .workloads = workloads,
		.n_workloads = ARRAY_SIZE(workloads),
		.edges = edges,
		.n_edges = n };
}
#define POLICY(edges) policy_of(edges, ARRAY_SIZE(edges))

static struct ruleset *
compiled(const struct policy *p, const char *workload)
{
	struct ruleset *r = NULL;

	assert_int_equal(ruleset_compile(p, &inv, workload, NOW, &r), 0);
	assert_non_null(r);
	return r;
}

/* The sets of `workload` and the evaluator must both say so. */
static void
expect(const struct policy *p, const char *workload, enum flow_dir dir, const char *own,
    const char *far, int proto, int port, enum lookup want)
{
	static const enum verdict verdicts[] = {
		[LOOKUP_NONE] = VERDICT_DENY_ABSENT,
		[LOOKUP_ALLOW] = VERDICT_ALLOW,
		[LOOKUP_DENY] = VERDICT_DENY_EDGE,
	};
	_cleanup_(ruleset_freep) struct ruleset *r = compiled(p, workload);
	struct addr o = A(own), f = A(far);
	struct evaluation ev;
	struct tuple t;

	assert_int_equal(ruleset_lookup(r, dir, &f, proto, port), want);
	if (dir == DIR_INGRESS) {
		t = TUPLE(f, o, proto, port);
		policy_evaluate(p, &inv, &t, NULL, workload, NOW, &ev);
	} else {
		t = TUPLE(o, f, proto, port);
		policy_evaluate(p, &inv, &t, workload, NULL, NOW, &ev);
	}
	assert_int_equal(ev.verdict, verdicts[want]);
	if (want == LOOKUP_NONE)
		assert_null(ev.edge);
	else
		assert_non_null(ev.edge);
}
#define IN_WEB(p, far, port, want) \
	expect(p, "web", DIR_INGRESS, "10.0.0.2", far, IPPROTO_TCP, port, want)
#define OUT_WEB(p, far, port, want) \
	expect(p, "web", DIR_EGRESS, "10.0.0.2", far, IPPROTO_TCP, port, want)

static void
denied_beats_approved_range_prefix_and_internet(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), CIDR("10.0.0.0/24"), IPPROTO_TCP, 1, 65535, EDGE_APPROVED),
		EDGE(W("web"), INTERNET, IPPROTO_TCP, 443, 443, EDGE_APPROVED),
		EDGE(W("web"), W("db"), IPPROTO_TCP, 5432, 5432, EDGE_DENIED),
		EDGE(W("web"), CIDR("198.51.100.0/24"), IPPROTO_TCP, 400, 500, EDGE_DENIED),
		EDGE(W("web"), ADDRESS("10.0.0.77"), IPPROTO_TCP, 80, 80, EDGE_DENIED),
	};
	struct policy p = POLICY(edges);

	OUT_WEB(&p, "10.0.0.20", 5431, LOOKUP_ALLOW);
	OUT_WEB(&p, "10.0.0.20", 5432, LOOKUP_DENY);
	OUT_WEB(&p, "203.0.113.1", 443, LOOKUP_ALLOW);
	OUT_WEB(&p, "198.51.100.1", 443, LOOKUP_DENY);
	OUT_WEB(&p, "198.51.101.1", 443, LOOKUP_ALLOW);
	OUT_WEB(&p, "10.0.0.77", 80, LOOKUP_DENY);
	OUT_WEB(&p, "10.0.0.77", 81, LOOKUP_ALLOW);
	OUT_WEB(&p, "10.0.1.0", 80, LOOKUP_NONE);
}

static void
both_ends_must_allow_when_both_enforce(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), W("api"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
		EDGE(W("api"), W("web"), IPPROTO_TCP, 90, 90, EDGE_PENDING),
	};
	struct policy p = POLICY(edges);
	struct tuple t = TUPLE(A("10.0.0.2"), A("10.0.0.10"), IPPROTO_TCP, 80);
	struct evaluation ev;

	OUT_WEB(&p, "10.0.0.10", 80, LOOKUP_ALLOW);
	expect(&p, "api", DIR_INGRESS, "10.0.0.10", "10.0.0.2", IPPROTO_TCP, 80, LOOKUP_ALLOW);
	expect(&p, "api", DIR_INGRESS, "10.0.0.10", "10.0.0.3", IPPROTO_TCP, 80, LOOKUP_ALLOW);
	expect(&p, "api", DIR_INGRESS, "10.0.0.10", "10.0.0.20", IPPROTO_TCP, 80, LOOKUP_NONE);
	policy_evaluate(&p, &inv, &t, NULL, NULL, NOW, &ev);
	assert_true(ev.source_enforces && ev.destination_enforces && ev.passes);

	/* A pending edge is no permission. */
	expect(&p, "api", DIR_EGRESS, "10.0.0.10", "10.0.0.2", IPPROTO_TCP, 90, LOOKUP_NONE);
	IN_WEB(&p, "10.0.0.10", 90, LOOKUP_NONE);
	t = TUPLE(A("10.0.0.10"), A("10.0.0.2"), IPPROTO_TCP, 90);
	policy_evaluate(&p, &inv, &t, "api", "web", NOW, &ev);
	assert_false(ev.passes);
	/* One end that enforces is enough to refuse. */
	t = TUPLE(A("172.16.0.1"), A("10.0.0.2"), IPPROTO_TCP, 90);
	policy_evaluate(&p, &inv, &t, NULL, NULL, NOW, &ev);
	assert_true(!ev.source_enforces && ev.destination_enforces);
	assert_false(ev.passes);
	t = TUPLE(A("10.0.0.2"), A("172.16.0.1"), IPPROTO_TCP, 90);
	policy_evaluate(&p, &inv, &t, NULL, NULL, NOW, &ev);
	assert_true(ev.source_enforces && !ev.destination_enforces);
	assert_false(ev.passes);
}

static void
only_the_governed_direction_has_elements(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), W("db"), IPPROTO_TCP, 5432, 5432, EDGE_APPROVED),
		EDGE(W("db"), W("idle"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
		EDGE(W("db"), INTERNET, IPPROTO_TCP, 443, 443, EDGE_APPROVED),
	};
	struct policy p = POLICY(edges);
	_cleanup_(ruleset_freep) struct ruleset *r = compiled(&p, "db");
	struct tuple t = TUPLE(A("10.0.0.20"), A("10.99.0.1"), IPPROTO_TCP, 9);
	struct evaluation ev;

	assert_int_equal(r->in_mode, MODE_ENFORCE);
	assert_int_equal(r->out_mode, MODE_OBSERVE);
	assert_int_equal(r->n_elems, 2);
	assert_int_equal(r->elems[0].dir, DIR_INGRESS);
	assert_int_equal(r->elems[1].dir, DIR_INGRESS);
	policy_evaluate(&p, &inv, &t, "db", NULL, NOW, &ev);
	assert_int_equal(ev.verdict, VERDICT_DENY_ABSENT);
	assert_false(ev.source_enforces);
	assert_true(ev.passes);
}

static void
observe_and_unknown_workloads_give_an_empty_ruleset(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("idle"), W("db"), IPPROTO_TCP, 5432, 5432, EDGE_DENIED),
	};
	static const char *const names[] = { "idle", "stranger" };
	struct policy p = POLICY(edges);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(ruleset_freep) struct ruleset *r = compiled(&p, names[i]);
		_cleanup_free_ uint8_t *buf = NULL;
		size_t len;

		assert_int_equal(r->in_mode, MODE_OBSERVE);
		assert_int_equal(r->out_mode, MODE_OBSERVE);
		assert_int_equal(r->n_elems, 0);
		assert_int_equal(r->n_local, 0);
		assert_int_equal(ruleset_encode(r, &buf, &len), 0);
	}
}

static void
a_protocol_of_the_other_family_matches_no_edge(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("api"), W("web"), IPPROTO_ICMPV6, 0, 65535, EDGE_APPROVED),
		EDGE(W("web"), W("api"), IPPROTO_ICMP, 0, 65535, EDGE_DENIED),
	};
	struct policy p = POLICY(edges);

	IN_WEB(&p, "10.0.0.10", 90, LOOKUP_NONE);
	expect(
	    &p, "web", DIR_INGRESS, "10.0.0.2", "10.0.0.10", IPPROTO_ICMPV6, 128 << 8, LOOKUP_NONE);
	expect(&p, "web", DIR_EGRESS, "10.0.0.2", "10.0.0.10", IPPROTO_ICMP, 8 << 8, LOOKUP_DENY);
}

static void
audit_has_the_elements_and_refuses_nothing(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("api"), W("new"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
	};
	struct policy p = POLICY(edges);
	_cleanup_(ruleset_freep) struct ruleset *r = compiled(&p, "new");
	struct tuple t = TUPLE(A("172.16.0.1"), A("172.16.0.2"), IPPROTO_TCP, 80);
	struct evaluation ev;

	assert_int_equal(r->in_mode, MODE_AUDIT);
	assert_int_equal(r->n_elems, 2);
	policy_evaluate(&p, &inv, &t, NULL, "new", NOW, &ev);
	assert_int_equal(ev.verdict, VERDICT_DENY_ABSENT);
	assert_true(ev.destination_audits);
	assert_false(ev.destination_enforces);
	assert_true(ev.passes);
}

static void
host_is_every_address_of_the_host(void **state)
{
	struct policy_edge edges[] = {
		EDGE(HOST, W("api"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
		EDGE(HOST, W("web"), IPPROTO_TCP, 80, 80, EDGE_DENIED),
	};
	struct policy p = POLICY(edges);

	expect(&p, "api", DIR_INGRESS, "10.0.0.10", "10.0.0.1", IPPROTO_TCP, 80, LOOKUP_ALLOW);
	expect(&p, "api", DIR_INGRESS, "10.0.0.10", "192.0.2.1", IPPROTO_TCP, 80, LOOKUP_ALLOW);
	expect(&p, "api", DIR_INGRESS, "fd00::10", "fd00::1", IPPROTO_TCP, 80, LOOKUP_ALLOW);
	expect(&p, "api", DIR_INGRESS, "10.0.0.10", "10.0.0.4", IPPROTO_TCP, 80, LOOKUP_NONE);
	IN_WEB(&p, "192.0.2.1", 80, LOOKUP_DENY);
}

static void
a_workload_without_addresses_gives_no_element_yet(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("new"), W("web"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
		EDGE(W("web"), W("new"), IPPROTO_TCP, 81, 81, EDGE_DENIED),
		EDGE(W("nowhere"), W("web"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
	};
	struct policy p = POLICY(edges);
	_cleanup_(ruleset_freep) struct ruleset *r = compiled(&p, "web");
	_cleanup_(ruleset_freep) struct ruleset *own = compiled(&p, "new");

	assert_int_equal(r->n_elems, 0);
	assert_int_equal(own->n_elems, 4);
}

static void
replicas_reach_each_other_by_the_edge_to_itself(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), W("web"), IPPROTO_UDP, 7946, 7946, EDGE_APPROVED),
	};
	struct policy p = POLICY(edges);

	expect(&p, "web", DIR_INGRESS, "10.0.0.2", "10.0.0.3", IPPROTO_UDP, 7946, LOOKUP_ALLOW);
	expect(&p, "web", DIR_EGRESS, "10.0.0.3", "10.0.0.2", IPPROTO_UDP, 7946, LOOKUP_ALLOW);
	expect(&p, "web", DIR_INGRESS, "10.0.0.2", "10.0.0.10", IPPROTO_UDP, 7946, LOOKUP_NONE);
}

static void
an_approved_prefix_admits_the_workloads_in_it(void **state)
{
	struct policy_edge edges[] = {
		EDGE(CIDR("10.0.0.0/28"), W("db"), IPPROTO_TCP, 5432, 5432, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.0.0.8/29"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
	};
	struct policy p = POLICY(edges);

	expect(&p, "db", DIR_INGRESS, "10.0.0.20", "10.0.0.2", IPPROTO_TCP, 5432, LOOKUP_ALLOW);
	/* The same edge lets web out, since web is in the prefix, and api in. */
	OUT_WEB(&p, "10.0.0.20", 5432, LOOKUP_ALLOW);
	OUT_WEB(&p, "10.0.0.10", 80, LOOKUP_ALLOW);
	expect(&p, "api", DIR_INGRESS, "10.0.0.10", "10.0.0.2", IPPROTO_TCP, 80, LOOKUP_ALLOW);
	/* api's IPv6 address is in no prefix. */
	expect(&p, "api", DIR_EGRESS, "fd00::10", "2001:db8::20", IPPROTO_TCP, 5432, LOOKUP_NONE);
}

static void
a_prefix_with_some_of_the_addresses_opens_nothing_but_denies(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("api"), CIDR("10.0.0.2/32"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
		EDGE(W("api"), W("web"), IPPROTO_TCP, 81, 81, EDGE_APPROVED),
		EDGE(W("api"), ADDRESS("10.0.0.2"), IPPROTO_TCP, 81, 81, EDGE_DENIED),
	};
	struct policy p = POLICY(edges);
	_cleanup_(ruleset_freep) struct ruleset *r = compiled(&p, "web");
	struct addr api = A("10.0.0.10");

	assert_int_equal(ruleset_lookup(r, DIR_INGRESS, &api, IPPROTO_TCP, 80), LOOKUP_NONE);
	assert_int_equal(ruleset_lookup(r, DIR_INGRESS, &api, IPPROTO_TCP, 81), LOOKUP_DENY);
}

static void
internet_leaves_out_what_is_known(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), INTERNET, IPPROTO_TCP, 443, 443, EDGE_APPROVED),
		EDGE(W("api"), INTERNET, IPPROTO_TCP, 443, 443, EDGE_APPROVED),
	};
	struct policy p = POLICY(edges);

	OUT_WEB(&p, "192.0.2.0", 443, LOOKUP_ALLOW);
	OUT_WEB(&p, "192.0.2.1", 443, LOOKUP_NONE); /* the host */
	OUT_WEB(&p, "192.0.2.2", 443, LOOKUP_ALLOW);
	OUT_WEB(&p, "10.1.2.3", 443, LOOKUP_NONE);
	OUT_WEB(&p, "224.0.0.1", 443, LOOKUP_NONE);
	expect(&p, "api", DIR_EGRESS, "fd00::10", "2001:db8::1f", IPPROTO_TCP, 443, LOOKUP_ALLOW);
	expect(&p, "api", DIR_EGRESS, "fd00::10", "2001:db8::20", IPPROTO_TCP, 443, LOOKUP_NONE);
	expect(&p, "api", DIR_EGRESS, "fd00::10", "2001:db8::21", IPPROTO_TCP, 443, LOOKUP_ALLOW);
}

static void
icmp_is_matched_by_type_and_code_and_family(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), W("api"), IPPROTO_ICMP, 8 << 8, 8 << 8, EDGE_APPROVED),
		EDGE(W("api"), W("db"), IPPROTO_ICMPV6, 128 << 8, 128 << 8 | 255, EDGE_APPROVED),
	};
	struct policy p = POLICY(edges);
	_cleanup_(ruleset_freep) struct ruleset *r = compiled(&p, "web");

	assert_int_equal(r->n_elems, 1); /* not to api's IPv6 address */
	expect(&p, "web", DIR_EGRESS, "10.0.0.2", "10.0.0.10", IPPROTO_ICMP, 8 << 8, LOOKUP_ALLOW);
	expect(
	    &p, "web", DIR_EGRESS, "10.0.0.2", "10.0.0.10", IPPROTO_ICMP, 8 << 8 | 1, LOOKUP_NONE);
	expect(&p, "web", DIR_EGRESS, "10.0.0.2", "10.0.0.10", IPPROTO_ICMP, 13 << 8, LOOKUP_NONE);
	expect(&p, "api", DIR_EGRESS, "fd00::10", "2001:db8::20", IPPROTO_ICMPV6, 128 << 8 | 7,
	    LOOKUP_ALLOW);
	expect(&p, "api", DIR_EGRESS, "fd00::10", "2001:db8::20", IPPROTO_ICMPV6, 129 << 8,
	    LOOKUP_NONE);
}

static void
port_ranges_include_both_ends(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), W("api"), IPPROTO_TCP, 8000, 8010, EDGE_APPROVED),
		EDGE(W("web"), W("db"), IPPROTO_TCP, 0, 65535, EDGE_APPROVED),
	};
	struct policy p = POLICY(edges);

	OUT_WEB(&p, "10.0.0.10", 7999, LOOKUP_NONE);
	OUT_WEB(&p, "10.0.0.10", 8000, LOOKUP_ALLOW);
	OUT_WEB(&p, "10.0.0.10", 8010, LOOKUP_ALLOW);
	OUT_WEB(&p, "10.0.0.10", 8011, LOOKUP_NONE);
	OUT_WEB(&p, "10.0.0.20", 0, LOOKUP_ALLOW);
	OUT_WEB(&p, "10.0.0.20", 65535, LOOKUP_ALLOW);
	expect(&p, "web", DIR_EGRESS, "10.0.0.2", "10.0.0.20", IPPROTO_UDP, 9, LOOKUP_NONE);
}

static void
approvals_expire_and_denials_do_not(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), W("api"), IPPROTO_TCP, 1, 1, EDGE_APPROVED),
		EDGE(W("web"), W("api"), IPPROTO_TCP, 2, 2, EDGE_APPROVED),
		EDGE(W("web"), W("api"), IPPROTO_TCP, 3, 3, EDGE_DENIED),
	};
	struct policy p = POLICY(edges);

	edges[0].expires_ns = NOW;
	edges[1].expires_ns = NOW + 1;
	edges[2].expires_ns = 1;
	OUT_WEB(&p, "10.0.0.10", 1, LOOKUP_NONE);
	OUT_WEB(&p, "10.0.0.10", 2, LOOKUP_ALLOW);
	OUT_WEB(&p, "10.0.0.10", 3, LOOKUP_DENY);
}

static void
a_name_is_the_addresses_that_the_workload_was_told(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), FQDN("a.example"), IPPROTO_TCP, 1, 1, EDGE_APPROVED),
		EDGE(W("web"), FQDN("*.wild.example"), IPPROTO_TCP, 2, 2, EDGE_APPROVED),
		EDGE(W("web"), FQDN("bad.wild.example"), IPPROTO_TCP, 2, 2, EDGE_DENIED),
		EDGE(FQDN("a.example"), W("web"), IPPROTO_TCP, 3, 3, EDGE_APPROVED),
		EDGE(W("web"), FQDN("pending.example"), IPPROTO_TCP, 4, 4, EDGE_PENDING),
	};
	const struct inventory_name told[] = {
		{ "api", "a.example", A("203.0.113.1") },
		{ "web", "a.example", A("10.99.0.1") }, /* private, and of nobody here */
		{ "web", "a.example", A("127.0.0.1") },
		{ "web", "a.example", A("169.254.169.254") },
		{ "web", "a.example", A("203.0.113.2") },
		{ "web", "a.example", A("2001:db8::2") },
		{ "web", "a.example", A("fe80::2") },
		{ "web", "a.example", A("10.0.0.10") }, /* a workload's */
		{ "web", "bad.wild.example", A("203.0.113.4") },
		{ "web", "pending.example", A("203.0.113.5") },
		{ "web", "wild.example", A("203.0.113.6") },
		{ "web", "x.y.wild.example", A("203.0.113.4") },
		{ "web", "x.y.wild.example", A("203.0.113.7") },
		{ "web", "xwild.example", A("203.0.113.8") },
	};
	struct policy p = POLICY(edges);

	inv.names = told;
	inv.n_names = ARRAY_SIZE(told);
	OUT_WEB(&p, "203.0.113.1", 1, LOOKUP_NONE);
	OUT_WEB(&p, "10.99.0.1", 1, LOOKUP_ALLOW);
	OUT_WEB(&p, "127.0.0.1", 1, LOOKUP_NONE);
	OUT_WEB(&p, "169.254.169.254", 1, LOOKUP_NONE);
	OUT_WEB(&p, "203.0.113.2", 1, LOOKUP_ALLOW);
	OUT_WEB(&p, "203.0.113.2", 2, LOOKUP_NONE);
	OUT_WEB(&p, "2001:db8::2", 1, LOOKUP_ALLOW);
	OUT_WEB(&p, "fe80::2", 1, LOOKUP_NONE);
	OUT_WEB(&p, "10.0.0.10", 1, LOOKUP_NONE);
	OUT_WEB(&p, "203.0.113.4", 2, LOOKUP_DENY);
	OUT_WEB(&p, "203.0.113.5", 4, LOOKUP_NONE);
	OUT_WEB(&p, "203.0.113.6", 2, LOOKUP_NONE);
	OUT_WEB(&p, "203.0.113.7", 2, LOOKUP_ALLOW);
	OUT_WEB(&p, "203.0.113.8", 2, LOOKUP_NONE);
	inv.names = NULL;
	inv.n_names = 0;
	OUT_WEB(&p, "203.0.113.2", 1, LOOKUP_NONE);
}

static void
what_cannot_be_compiled_is_reported(void **state)
{
	struct policy_edge edges[] = {
		EDGE(FQDN("pending.example"), W("web"), IPPROTO_TCP, 443, 443, EDGE_PENDING),
		EDGE(W("web"), FQDN("*.example.org"), IPPROTO_TCP, 443, 443, EDGE_APPROVED),
		EDGE(FQDN("*.example.org"), W("web"), IPPROTO_TCP, 443, 443, EDGE_APPROVED),
		EDGE(W("db"), W("api"), IPPROTO_GRE, 0, 0, EDGE_DENIED),
	};
	struct policy p = POLICY(edges);
	const struct policy_edge *e = NULL;

	assert_true(compile_unsupported(&p, "web", &e));
	assert_ptr_equal(e, &edges[2]);
	assert_true(compile_unsupported(&p, "api", &e));
	assert_ptr_equal(e, &edges[3]);
	assert_false(compile_unsupported(&p, "new", &e));
	assert_ptr_equal(e, &edges[3]);
}

static void
a_network_is_all_of_its_prefixes(void **state)
{
	struct policy_edge edges[] = {
		EDGE(NETWORK("office"), W("web"), IPPROTO_TCP, 443, 443, EDGE_APPROVED),
		EDGE(W("web"), NETWORK("office"), IPPROTO_TCP, 22, 22, EDGE_DENIED),
		EDGE(NETWORK("dmz"), W("db"), IPPROTO_TCP, 1, 1, EDGE_APPROVED),
	};
	struct prefix office[] = { peer_prefix(PEER_CIDR, "10.20.0.0/16").prefix,
		peer_prefix(PEER_CIDR, "fd20::/64").prefix };
	struct prefix dmz[] = { peer_prefix(PEER_CIDR, "10.0.0.2/32").prefix,
		peer_prefix(PEER_CIDR, "10.0.0.3/32").prefix };
	struct policy_network networks[] = {
		{ .name = (char *)"office", .prefixes = office, .n_prefixes = 2 },
		{ .name = (char *)"dmz", .prefixes = dmz, .n_prefixes = 2 },
	};
	struct policy p = POLICY(edges);

	p.networks = networks;
	p.n_networks = ARRAY_SIZE(networks);
	IN_WEB(&p, "10.20.0.0", 443, LOOKUP_ALLOW);
	IN_WEB(&p, "10.20.255.255", 443, LOOKUP_ALLOW);
	IN_WEB(&p, "10.21.0.0", 443, LOOKUP_NONE);
	IN_WEB(&p, "10.19.255.255", 443, LOOKUP_NONE);
	OUT_WEB(&p, "10.20.0.7", 22, LOOKUP_DENY);
	/* Both replicas are in dmz, each by another prefix. */
	OUT_WEB(&p, "10.0.0.20", 1, LOOKUP_ALLOW);
}

static void
multicast_is_the_groups_and_broadcast(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), MULTICAST, IPPROTO_UDP, 5353, 5353, EDGE_APPROVED),
	};
	struct policy p = POLICY(edges);
	static const struct {
		const char *far;
		enum lookup want;
	} cases[] = {
		{ "224.0.0.0", LOOKUP_ALLOW },
		{ "239.255.255.255", LOOKUP_ALLOW },
		{ "255.255.255.255", LOOKUP_ALLOW },
		{ "223.255.255.255", LOOKUP_NONE },
		{ "240.0.0.0", LOOKUP_NONE },
		{ "255.255.255.254", LOOKUP_NONE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect(&p, "web", DIR_EGRESS, "10.0.0.2", cases[i].far, IPPROTO_UDP, 5353,
		    cases[i].want);
}

/* An address that two claim is no peer's, nor the internet's, and may be in any prefix or not. */
static void
an_address_of_nobody_opens_nothing(void **state)
{
	const struct addr nobodys[] = { A("8.8.8.8"), A("10.0.0.4") };
	struct inventory_entry mine[] = { { "api", api_addrs, 2 }, { "web", web_addrs, 2, true } };
	const struct inventory claimed = { mine, 2, host_addrs, 3, nobodys, 2 };
	struct policy_edge edges[] = {
		EDGE(W("api"), INTERNET, IPPROTO_TCP, 443, 443, EDGE_APPROVED),
		EDGE(CIDR("10.0.0.0/24"), W("api"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
		EDGE(CIDR("172.16.0.0/24"), W("api"), IPPROTO_TCP, 81, 81, EDGE_DENIED),
	};
	struct policy p = POLICY(edges);
	_cleanup_(ruleset_freep) struct ruleset *api = NULL, *web = NULL;
	const struct addr far = A("8.8.8.8"), next = A("8.8.8.9");
	unsigned covers_next = 0;

	assert_int_equal(ruleset_compile(&p, &claimed, "api", NOW, &api), 0);
	for (size_t i = 0; i < api->n_elems; i++) {
		const struct ruleset_elem *e = &api->elems[i];

		if (e->port_lo != 443)
			continue;
		assert_false(addr_cmp(&e->lo, &far) <= 0 && addr_cmp(&far, &e->hi) <= 0);
		covers_next += addr_cmp(&e->lo, &next) <= 0 && addr_cmp(&next, &e->hi) <= 0;
	}
	assert_int_equal(covers_next, 1);
	assert_int_equal(ruleset_compile(&p, &claimed, "web", NOW, &web), 0);
	for (size_t i = 0; i < web->n_elems; i++)
		assert_true(web->elems[i].port_lo == 81 && !web->elems[i].allow);
	assert_int_not_equal(web->n_elems, 0);
}

static void
local_is_every_identified_instance(void **state)
{
	struct policy p = policy_of(NULL, 0);
	_cleanup_(ruleset_freep) struct ruleset *r = compiled(&p, "web");

	assert_int_equal(r->n_local, 6);
	assert_int_equal(r->report_per_second, 50);
	assert_true(addr_eq(&r->local[0], &web_addrs[0]));
}

static void
bounds_are_errors_and_not_cuts(void **state)
{
	static struct addr many[RULESET_MAX_LOCAL + 1];
	struct inventory_entry big_entry = { "big", many, RULESET_MAX_LOCAL };
	struct inventory big = { &big_entry, 1, NULL, 0 };
	struct policy_edge edges[11];
	struct policy p = POLICY(edges);
	struct ruleset *r = NULL;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = A("10.1.0.0");
		many[i].bytes[2] = (uint8_t)(i >> 8);
		many[i].bytes[3] = (uint8_t)i;
	}
	for (i = 0; i < ARRAY_SIZE(edges); i++)
		edges[i] = EDGE(W("web"), W("big"), IPPROTO_TCP, (int)i, (int)i, EDGE_APPROVED);
	assert_int_equal(ruleset_compile(&p, &big, "web", NOW, &r), -E2BIG);
	assert_null(r);
	p.n_edges = 10;
	assert_int_equal(ruleset_compile(&p, &big, "web", NOW, &r), 0);
	assert_int_equal(r->n_elems, RULESET_MAX_ELEMENTS);
	ruleset_free(r);
	r = NULL;
	edges[10] = EDGE(W("web"), ADDRESS("10.9.9.9"), IPPROTO_TCP, 1, 1, EDGE_APPROVED);
	p.n_edges = 11;
	assert_int_equal(ruleset_compile(&p, &big, "web", NOW, &r), -E2BIG);
	big_entry.n_addrs++;
	p.n_edges = 0;
	assert_int_equal(ruleset_compile(&p, &big, "web", NOW, &r), -E2BIG);
	assert_null(r);
}

static void
peer_contains_knows_every_kind(void **state)
{
	struct prefix office[] = { peer_prefix(PEER_CIDR, "10.20.0.0/16").prefix };
	struct policy_network network = {
		.name = (char *)"office", .prefixes = office, .n_prefixes = 1
	};
	struct policy p = { .networks = &network, .n_networks = 1 };
	const struct {
		struct peer peer;
		const char *addr;
		bool want;
	} cases[] = {
		{ W("web"), "10.0.0.3", true },
		{ W("web"), "10.0.0.10", false },
		{ W("stranger"), "10.0.0.3", false },
		{ HOST, "192.0.2.1", true },
		{ HOST, "192.0.2.2", false },
		{ CIDR("10.0.0.0/8"), "10.255.255.255", true },
		{ CIDR("10.0.0.0/8"), "11.0.0.0", false },
		{ CIDR("0.0.0.0/0"), "::1", false },
		{ ADDRESS("10.9.9.9"), "10.9.9.9", true },
		{ ADDRESS("10.9.9.9"), "10.9.9.8", false },
		{ NETWORK("office"), "10.20.1.1", true },
		{ NETWORK("office"), "10.21.1.1", false },
		{ NETWORK("absent"), "10.20.1.1", false },
		{ INTERNET, "192.0.2.2", true },
		{ INTERNET, "192.0.2.1", false },
		{ INTERNET, "2001:db8::20", false },
		{ INTERNET, "10.0.0.99", false },
		{ MULTICAST, "ff02::1", true },
		{ MULTICAST, "fe80::1", false },
		{ FQDN("example.org"), "192.0.2.2", false },
		{ { .kind = PEER_NONE }, "192.0.2.2", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a = A(cases[i].addr);

		if (peer_contains(&p, &inv, &cases[i].peer, &a) != cases[i].want)
			fail_msg("case %zu: %s", i, cases[i].addr);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(denied_beats_approved_range_prefix_and_internet),
		cmocka_unit_test(both_ends_must_allow_when_both_enforce),
		cmocka_unit_test(only_the_governed_direction_has_elements),
		cmocka_unit_test(observe_and_unknown_workloads_give_an_empty_ruleset),
		cmocka_unit_test(a_protocol_of_the_other_family_matches_no_edge),
		cmocka_unit_test(audit_has_the_elements_and_refuses_nothing),
		cmocka_unit_test(host_is_every_address_of_the_host),
		cmocka_unit_test(a_workload_without_addresses_gives_no_element_yet),
		cmocka_unit_test(replicas_reach_each_other_by_the_edge_to_itself),
		cmocka_unit_test(an_approved_prefix_admits_the_workloads_in_it),
		cmocka_unit_test(a_prefix_with_some_of_the_addresses_opens_nothing_but_denies),
		cmocka_unit_test(internet_leaves_out_what_is_known),
		cmocka_unit_test(icmp_is_matched_by_type_and_code_and_family),
		cmocka_unit_test(port_ranges_include_both_ends),
		cmocka_unit_test(approvals_expire_and_denials_do_not),
		cmocka_unit_test(a_name_is_the_addresses_that_the_workload_was_told),
		cmocka_unit_test(what_cannot_be_compiled_is_reported),
		cmocka_unit_test(a_network_is_all_of_its_prefixes),
		cmocka_unit_test(multicast_is_the_groups_and_broadcast),
		cmocka_unit_test(an_address_of_nobody_opens_nothing),
		cmocka_unit_test(local_is_every_identified_instance),
		cmocka_unit_test(bounds_are_errors_and_not_cuts),
		cmocka_unit_test(peer_contains_knows_every_kind),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
