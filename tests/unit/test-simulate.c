/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Candidate policies against what was seen: by cases, and at random against the evaluator. */
#include "compile-fixture.h"
#include "rules/simulate.h"
#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define NOW 1000u
#define MAX_EDGES 16

static struct policy_workload
workload(const char *name, enum wl_mode mode, enum wl_direction direction)
{
	return (
	    struct policy_workload){ .name = (char *)name, .mode = mode, .direction = direction };
}

static struct simulate_flow
flow(struct peer from, struct peer to, int proto, int port)
{
	return (struct simulate_flow){ .from = from,
		.to = to,
		.proto = (uint8_t)proto,
		.port = (uint16_t)port,
		.connections = 3,
		.last_seen_ns = NOW,
		.hours = 2 };
}

static json_t *
run(const struct policy *p, const struct inventory *inv, enum simulate_modes modes,
    const struct simulate_flow *flows, size_t n)
{
	_cleanup_(simulate_freep) struct simulation *s = NULL;
	json_t *answer;
	int r;

	assert_int_equal(simulate_new(p, inv, modes, NOW, 7, &s), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(simulate_add(s, &flows[i]), 0);
	while ((r = simulate_step(s, NULL, NULL)) == 1)
		;
	assert_int_equal(r, 0);
	answer = simulate_to_json(s);
	assert_non_null(answer);
	assert_int_equal(
	    simulate_breaks(s), json_array_size(json_object_get(answer, "broken")) > 0);
	return answer;
}

static json_int_t
number(const json_t *answer, const char *key)
{
	return json_integer_value(json_object_get(answer, key));
}

static size_t
broken(const struct policy *p, const struct inventory *inv, struct simulate_flow f)
{
	json_t *answer = run(p, inv, simulate_modes_of(p), &f, 1);
	size_t n = json_array_size(json_object_get(answer, "broken"));

	json_decref(answer);
	return n;
}

static void
judges_by_name_who_does_not_run(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), W("db"), IPPROTO_TCP, 5432, 5432, EDGE_APPROVED),
		EDGE(W("web"), HOST, IPPROTO_TCP, 80, 80, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.0.0.0/8"), IPPROTO_TCP, 90, 90, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.9.0.0/16"), IPPROTO_TCP, 90, 90, EDGE_DENIED),
	};
	const struct policy p = { .edges = edges, .n_edges = ARRAY_SIZE(edges) };
	static const struct {
		struct peer to;
		int port;
		size_t broken;
	} cases[] = {
		{ W("db"), 5432, 0 }, { W("db"), 5433, 1 }, { W("other"), 5432, 1 },
		{ HOST, 80, 0 }, { HOST, 81, 1 },
		{ W("db"), 90, 1 }, /* no prefix has who is nowhere */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (broken(&p, NULL, flow(W("web"), cases[i].to, IPPROTO_TCP, cases[i].port)) !=
		    cases[i].broken)
			fail_msg("case %zu", i);
	assert_int_equal(broken(&p, NULL, flow(W("web"), ADDRESS("10.1.0.1"), 6, 90)), 0);
	assert_int_equal(broken(&p, NULL, flow(W("web"), ADDRESS("10.9.0.1"), 6, 90)), 1);
}

static void
takes_the_internet_and_names_by_what_the_policy_says_of_them(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), INTERNET, IPPROTO_TCP, 443, 443, EDGE_APPROVED),
		EDGE(W("web"), CIDR("8.0.0.0/7"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
		EDGE(W("web"), FQDN("*.example.com"), IPPROTO_TCP, 25, 25, EDGE_APPROVED),
		EDGE(W("web"), FQDN("bad.example.com"), IPPROTO_TCP, 25, 25, EDGE_DENIED),
	};
	const struct policy p = { .edges = edges, .n_edges = ARRAY_SIZE(edges) };

	assert_int_equal(broken(&p, NULL, flow(W("web"), INTERNET, IPPROTO_TCP, 443)), 0);
	assert_int_equal(broken(&p, NULL, flow(W("web"), INTERNET, IPPROTO_TCP, 80)), 1);
	assert_int_equal(broken(&p, NULL, flow(W("web"), ADDRESS("8.8.8.8"), 6, 80)), 0);
	assert_int_equal(broken(&p, NULL, flow(W("web"), ADDRESS("2001:db8::1"), 6, 443)), 0);
	assert_int_equal(broken(&p, NULL, flow(W("web"), FQDN("a.example.com"), 6, 25)), 0);
	assert_int_equal(broken(&p, NULL, flow(W("web"), FQDN("a.example.com"), 6, 443)), 0);
	assert_int_equal(broken(&p, NULL, flow(W("web"), FQDN("bad.example.com"), 6, 25)), 1);
	assert_int_equal(broken(&p, NULL, flow(W("web"), FQDN("example.com"), 6, 25)), 1);
}

/* Whatever part of it is denied: some of what was seen may have gone there. */
static void
what_denies_a_half_of_the_internet_breaks_it(void **state)
{
	const struct peer halves[] = { CIDR("0.0.0.0/1"), CIDR("128.0.0.0/1") };

	for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
		struct policy_edge edges[] = {
			EDGE(W("web"), INTERNET, IPPROTO_TCP, 443, 443, EDGE_APPROVED),
			EDGE(W("web"), halves[i], IPPROTO_TCP, 443, 443, EDGE_DENIED),
		};
		const struct policy p = { .edges = edges, .n_edges = ARRAY_SIZE(edges) };

		assert_int_equal(broken(&p, NULL, flow(W("web"), INTERNET, 6, 443)), 1);
	}
}

static void
counts_only_ends_that_enforce(void **state)
{
	struct policy_workload list[] = { workload("web", MODE_ENFORCE, WL_INGRESS),
		workload("db", MODE_AUDIT, WL_BOTH) };
	const struct policy p = { .workloads = list, .n_workloads = 2 };
	const struct simulate_flow flows[] = { flow(W("web"), W("db"), 6, 1),
		flow(W("db"), W("web"), 6, 1), flow(INTERNET, W("db"), 6, 1) };
	json_t *answer = run(&p, NULL, simulate_modes_of(&p), flows, 3), *by;

	assert_int_equal(json_array_size(json_object_get(answer, "broken")), 1);
	by = json_object_get(json_array_get(json_object_get(answer, "broken"), 0), "refusedBy");
	assert_string_equal(json_string_value(json_array_get(by, 0)), "destination");
	assert_int_equal(number(answer, "ungoverned"), 2);
	json_decref(answer);
	answer = run(&p, NULL, SIMULATE_ALL, flows, 3);
	assert_int_equal(json_array_size(json_object_get(answer, "broken")), 3);
	json_decref(answer);
	list[0].direction = WL_EGRESS;
	answer = run(&p, NULL, simulate_modes_of(&p), flows, 3);
	assert_int_equal(json_array_size(json_object_get(answer, "broken")), 1);
	by = json_object_get(json_array_get(json_object_get(answer, "broken"), 0), "refusedBy");
	assert_string_equal(json_string_value(json_array_get(by, 0)), "source");
	assert_int_equal(number(answer, "ungoverned"), 2);
	json_decref(answer);
	list[0].mode = MODE_OBSERVE;
	assert_int_equal(simulate_modes_of(&p), SIMULATE_ALL);
}

static void
puts_public_addresses_together_and_tells_what_is_unused(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), CIDR("203.0.113.0/24"), 6, 443, 443, EDGE_APPROVED),
		EDGE(W("web"), W("db"), 6, 5432, 5440, EDGE_APPROVED),
		EDGE(W("web"), W("db"), 6, 5432, 5432, EDGE_APPROVED),
		EDGE(W("web"), W("cache"), 6, 6379, 6379, EDGE_APPROVED),
		EDGE(W("web"), W("gone"), 6, 1, 1, EDGE_PENDING),
		EDGE(W("db"), W("web"), 6, 1, 1, EDGE_DENIED),
	};
	const struct policy p = { .edges = edges, .n_edges = ARRAY_SIZE(edges) };
	struct simulate_flow flows[] = { flow(W("web"), ADDRESS("203.0.113.7"), 6, 443),
		flow(W("web"), ADDRESS("198.51.100.1"), 6, 443),
		flow(W("web"), ADDRESS("198.51.100.2"), 6, 443),
		flow(W("web"), ADDRESS("198.51.100.3"), 6, 443), flow(W("web"), W("db"), 6, 5432) };
	json_t *answer, *list, *b;
	char id[EDGE_ID_STRLEN];

	flows[2].last_seen_ns = 1700000000 * NSEC_PER_SEC;
	flows[2].hours = 5;
	answer = run(&p, NULL, SIMULATE_ALL, flows, ARRAY_SIZE(flows));
	list = json_object_get(answer, "broken");
	assert_int_equal(json_array_size(list), 1);
	b = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(b, "to")), "internet");
	assert_int_equal(number(b, "connections"), 9);
	assert_int_equal(number(b, "hours"), 5);
	assert_string_equal(
	    json_string_value(json_object_get(b, "lastSeen")), "2023-11-14T22:13:20.000Z");
	assert_int_equal(json_array_size(json_object_get(b, "addresses")), 3);
	assert_int_equal(number(answer, "covered"), 1);
	list = json_object_get(answer, "unused");
	assert_int_equal(json_array_size(list), 1);
	edge_id_format(edge_key_number(&edges[3].from, &edges[3].to, 6, 6379, 6379), id);
	assert_string_equal(json_string_value(json_array_get(list, 0)), id);
	json_decref(answer);
}

/* More edges and more flows than are prepared at a time: the last ones count as the first. */
static void
long_lists_are_worked_off_to_their_end(void **state)
{
	enum { PORTS = 5000, SEEN = 3000 };
	struct policy_edge *edges = calloc(PORTS + 1, sizeof(*edges));
	struct simulate_flow *flows = calloc(SEEN + 2, sizeof(*flows));
	const struct policy p = { .edges = edges, .n_edges = PORTS + 1 };
	json_t *answer;

	(void)state;
	assert_true(edges != NULL && flows != NULL);
	for (int i = 0; i < PORTS; i++)
		edges[i] = EDGE(W("web"), W("db"), 6, i + 1, i + 1, EDGE_APPROVED);
	edges[PORTS] = EDGE(W("web"), FQDN("*.example.com"), 6, 443, 443, EDGE_APPROVED);
	for (int i = 0; i < SEEN; i++)
		flows[i] = flow(W("web"), W("db"), 6, i + 1);
	flows[SEEN] = flow(W("web"), W("db"), 6, PORTS);
	flows[SEEN + 1] = flow(W("web"), FQDN("a.example.com"), 6, 443);
	answer = run(&p, NULL, SIMULATE_ALL, flows, SEEN + 2);
	assert_int_equal(json_array_size(json_object_get(answer, "broken")), 0);
	assert_int_equal(json_array_size(json_object_get(answer, "unused")), PORTS - SEEN - 1);
	json_decref(answer);
	free(edges);
	free(flows);
}

static void
what_is_refused_uses_no_edge(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), FQDN("*.example.com"), 6, 443, 443, EDGE_APPROVED),
		EDGE(W("web"), FQDN("bad.example.com"), 6, 443, 443, EDGE_DENIED),
	};
	const struct policy p = { .edges = edges, .n_edges = ARRAY_SIZE(edges) };
	const struct simulate_flow bad = flow(W("web"), FQDN("bad.example.com"), 6, 443),
				   good = flow(W("web"), FQDN("good.example.com"), 6, 443);
	json_t *answer = run(&p, NULL, SIMULATE_ALL, &bad, 1);

	assert_int_equal(json_array_size(json_object_get(answer, "unused")), 1);
	json_decref(answer);
	answer = run(&p, NULL, SIMULATE_ALL, &good, 1);
	assert_int_equal(json_array_size(json_object_get(answer, "unused")), 0);
	json_decref(answer);
}

/* Edges of the policy that are not used, after the flow; a bit each. */
static unsigned
unused(const struct policy *p, const struct inventory *inv, struct simulate_flow f)
{
	json_t *answer = run(p, inv, simulate_modes_of(p), &f, 1),
	       *list = json_object_get(answer, "unused");
	char id[EDGE_ID_STRLEN];
	unsigned ret = 0;

	for (size_t i = 0; i < p->n_edges; i++) {
		const struct policy_edge *e = &p->edges[i];

		edge_id_format(
		    edge_key_number(&e->from, &e->to, e->proto, e->port_lo, e->port_hi), id);
		for (size_t k = 0; k < json_array_size(list); k++)
			if (strcmp(json_string_value(json_array_get(list, k)), id) == 0)
				ret |= 1u << i;
	}
	json_decref(answer);
	return ret;
}

/* By words a prefix does not speak of a workload: its rule lets the connection pass all the same.
 */
static void
what_passes_by_an_address_uses_the_edge_of_it(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), CIDR("10.0.0.0/24"), 6, 90, 90, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.0.1.0/24"), 6, 90, 90, EDGE_APPROVED),
		EDGE(CIDR("10.0.0.0/24"), W("db"), 6, 90, 90, EDGE_APPROVED),
		EDGE(CIDR("10.0.0.2/32"), W("db"), 6, 90, 90, EDGE_APPROVED),
		EDGE(W("web"), CIDR("0.0.0.0/1"), 6, 443, 443, EDGE_APPROVED),
		EDGE(W("web"), CIDR("128.0.0.0/1"), 6, 443, 443, EDGE_APPROVED),
	};
	const struct policy p = { .edges = edges, .n_edges = ARRAY_SIZE(edges) };
	const struct addr web = A("10.0.0.1"), db = A("10.0.0.2");
	const struct inventory_entry entries[] = { { "db", &db, 1 }, { "web", &web, 1 } };
	const struct inventory inv = { .entries = entries, .n_entries = 2 };

	assert_int_equal(unused(&p, &inv, flow(W("web"), W("db"), 6, 90)), 0x3a);
	assert_int_equal(unused(&p, &inv, flow(W("web"), INTERNET, 6, 443)), 0x0f);
	assert_int_equal(unused(&p, &inv, flow(W("web"), W("db"), 6, 91)), 0x3f);
}

/* The source lets it pass; at the destination the prefix has but one of two addresses. */
static void
what_the_other_end_refuses_uses_no_edge(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), CIDR("10.0.0.2/32"), 6, 90, 90, EDGE_APPROVED),
		EDGE(CIDR("10.0.0.2/32"), W("web"), 6, 91, 91, EDGE_APPROVED),
	};
	const struct policy p = { .edges = edges, .n_edges = ARRAY_SIZE(edges) };
	const struct addr web = A("10.0.0.1"), db[] = { A("10.0.0.2"), A("10.0.0.3") };
	const struct inventory_entry entries[] = { { "db", db, 2 }, { "web", &web, 1 } };
	const struct inventory inv = { .entries = entries, .n_entries = 2 };
	const struct simulate_flow out = flow(W("web"), W("db"), 6, 90),
				   in = flow(W("db"), W("web"), 6, 91);
	struct policy_workload only_web = workload("web", MODE_ENFORCE, WL_BOTH);
	struct policy as_written = p;

	assert_int_equal(broken(&p, &inv, out), 1);
	assert_int_equal(unused(&p, &inv, out), 3);
	assert_int_equal(broken(&p, &inv, in), 1);
	assert_int_equal(unused(&p, &inv, in), 3);
	/* db does not enforce: it passes. */
	as_written.workloads = &only_web;
	as_written.n_workloads = 1;
	assert_int_equal(broken(&as_written, &inv, out), 0);
	assert_int_equal(unused(&as_written, &inv, out), 2);
	assert_int_equal(broken(&as_written, &inv, in), 0);
	assert_int_equal(unused(&as_written, &inv, in), 1);
}

/* Most of it passes, a part is refused: nothing of that flow counts. */
static void
half_of_the_internet_uses_no_edge(void **state)
{
	const struct peer halves[] = { CIDR("0.0.0.0/1"), CIDR("128.0.0.0/1") };

	for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
		struct policy_edge edge = EDGE(W("web"), halves[i], 6, 443, 443, EDGE_APPROVED);
		const struct policy p = { .edges = &edge, .n_edges = 1 };

		assert_int_equal(broken(&p, NULL, flow(W("web"), INTERNET, 6, 443)), 1);
		assert_int_equal(unused(&p, NULL, flow(W("web"), INTERNET, 6, 443)), 1);
	}
}

static void
of_many_addresses_the_nearest_two_are_asked(void **state)
{
	struct policy_workload list[] = { workload("one", MODE_ENFORCE, WL_EGRESS),
		workload("web", MODE_ENFORCE, WL_EGRESS) };
	struct policy_edge edges[] = {
		EDGE(W("web"), CIDR("10.2.0.2/32"), 6, 1, 1, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.9.0.2/32"), 6, 2, 2, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.7.0.5/32"), 6, 3, 3, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.7.0.6/32"), 6, 4, 4, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.1.0.1/32"), 6, 5, 5, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.2.0.1/32"), 6, 6, 6, EDGE_APPROVED),
		EDGE(W("one"), CIDR("10.3.0.1/32"), 6, 7, 7, EDGE_APPROVED),
		EDGE(W("web"), CIDR("10.2.0.9/32"), 6, 8, 8, EDGE_APPROVED),
	};
	const struct policy p = { .workloads = list,
		.n_workloads = ARRAY_SIZE(list),
		.edges = edges,
		.n_edges = ARRAY_SIZE(edges) };
	const struct addr db[] = { A("10.9.0.2"), A("10.2.0.2") }, one = A("10.3.0.1"),
			  two[] = { A("10.7.0.5"), A("10.7.0.6") },
			  same[] = { A("10.2.9.9"), A("10.2.0.9") },
			  web[] = { A("10.1.0.1"), A("10.2.0.1") };
	const struct inventory_entry entries[] = { { "db", db, 2 }, { "one", &one, 1 },
		{ "same", same, 2 }, { "two", two, 2 }, { "web", web, 2 } };
	const struct inventory inv = { .entries = entries, .n_entries = ARRAY_SIZE(entries) };

	/* On the common network, though neither is the first. */
	assert_int_equal(broken(&p, &inv, flow(W("web"), W("db"), 6, 1)), 0);
	assert_int_equal(broken(&p, &inv, flow(W("web"), W("db"), 6, 2)), 1);
	assert_int_equal(broken(&p, &inv, flow(W("web"), W("same"), 6, 8)), 0);
	/* Of equals the first. */
	assert_int_equal(broken(&p, &inv, flow(W("web"), W("two"), 6, 3)), 0);
	assert_int_equal(broken(&p, &inv, flow(W("web"), W("two"), 6, 4)), 1);
	/* A replica to another one, not to itself; to itself where it is the only one. */
	assert_int_equal(broken(&p, &inv, flow(W("web"), W("web"), 6, 5)), 1);
	assert_int_equal(broken(&p, &inv, flow(W("web"), W("web"), 6, 6)), 0);
	assert_int_equal(broken(&p, &inv, flow(W("one"), W("one"), 6, 7)), 0);
}

/* Two that have no address are not at the same one, of neither family. */
static void
who_does_not_run_is_not_taken_for_another(void **state)
{
	struct policy_workload only = workload("web", MODE_ENFORCE, WL_BOTH);
	struct policy_edge edges[] = {
		EDGE(W("web"), W("db"), 6, 1, 1, EDGE_APPROVED),
		EDGE(W("db"), W("web"), 6, 1, 1, EDGE_APPROVED),
		EDGE(W("web"), CIDR("fd00::/8"), 6, 1, 1, EDGE_APPROVED),
		EDGE(W("web"), CIDR("fec0::/10"), 6, 2, 2, EDGE_APPROVED),
		EDGE(W("web"), CIDR("240.0.0.0/8"), 6, 3, 3, EDGE_APPROVED),
	};
	const struct policy p = {
		.workloads = &only, .n_workloads = 1, .edges = edges, .n_edges = ARRAY_SIZE(edges)
	};
	const struct addr web[] = { A("10.0.0.1"), A("fd00::1") };
	const struct simulate_flow flows[] = { flow(W("web"), W("db"), 6, 1),
		flow(W("web"), W("other"), 6, 1), flow(W("db"), W("web"), 6, 1),
		flow(W("third"), W("web"), 6, 1) };

	for (size_t i = 0; i < ARRAY_SIZE(web); i++) {
		const struct inventory_entry entry = { "web", &web[i], 1 };
		const struct inventory inv = { .entries = &entry, .n_entries = 1 };
		json_t *answer = run(&p, &inv, SIMULATE_AS_WRITTEN, flows, 4), *list, *b;

		list = json_object_get(answer, "broken");
		assert_int_equal(json_array_size(list), 2);
		assert_int_equal(number(answer, "covered"), 2);
		for (size_t k = 0; k < 2; k++) {
			b = json_array_get(list, k);
			assert_string_not_equal(
			    json_string_value(json_object_get(b, "from")), "db");
			assert_string_not_equal(json_string_value(json_object_get(b, "to")), "db");
		}
		json_decref(answer);
		/* What it is given is of its family: an address that nobody else can have. */
		assert_int_equal(broken(&p, &inv, flow(W("web"), W("other"), 6, 2)), i == 0);
		assert_int_equal(broken(&p, &inv, flow(W("web"), W("other"), 6, 3)), i == 1);
	}
}

static void
is_judged_in_the_family_that_it_was_of(void **state)
{
	struct policy_edge edges[] = {
		EDGE(W("web"), CIDR("10.0.0.2/32"), IPPROTO_ICMP, 8 << 8, 8 << 8, EDGE_APPROVED),
		EDGE(W("web"), CIDR("fd00::2/128"), IPPROTO_ICMPV6, 128 << 8, 128 << 8,
		    EDGE_APPROVED),
		EDGE(W("web"), CIDR("2001:db8::/32"), 6, 1, 1, EDGE_APPROVED),
		EDGE(CIDR("2001:db8::/32"), W("web"), 6, 2, 2, EDGE_APPROVED),
		EDGE(W("six"), CIDR("198.51.100.0/24"), 6, 1, 1, EDGE_APPROVED),
		EDGE(CIDR("198.51.100.0/24"), W("six"), 6, 2, 2, EDGE_APPROVED),
		EDGE(W("six"), CIDR("fd00::2/128"), 6, 3, 3, EDGE_APPROVED),
	};
	struct policy_workload list[] = { workload("six", MODE_ENFORCE, WL_BOTH),
		workload("web", MODE_ENFORCE, WL_BOTH) };
	const struct policy p = {
		.workloads = list, .n_workloads = 2, .edges = edges, .n_edges = ARRAY_SIZE(edges)
	};
	const struct addr db[] = { A("10.0.0.2"), A("fd00::2") }, six = A("fd00::6"),
			  web = A("10.0.0.1"), both[] = { A("10.0.0.1"), A("fd00::1") };
	const struct inventory_entry entries[] = { { "db", db, 2 }, { "six", &six, 1 },
		{ "web", &web, 1 } },
				     dual[] = { { "db", db, 2 }, { "web", both, 2 } };
	const struct inventory inv = { .entries = entries, .n_entries = 3 },
			       inv_dual = { .entries = dual, .n_entries = 2 };
	const struct peer addr6 = ADDRESS("2001:db8::1"), addr4 = ADDRESS("198.51.100.1");

	assert_int_equal(broken(&p, &inv_dual, flow(W("web"), W("db"), IPPROTO_ICMP, 8 << 8)), 0);
	assert_int_equal(
	    broken(&p, &inv_dual, flow(W("web"), W("db"), IPPROTO_ICMPV6, 128 << 8)), 0);
	assert_int_equal(broken(&p, &inv, flow(W("six"), W("db"), 6, 3)), 0);
	/* It had another address then. */
	assert_int_equal(broken(&p, &inv, flow(W("web"), addr6, 6, 1)), 0);
	assert_int_equal(broken(&p, &inv, flow(addr6, W("web"), 6, 2)), 0);
	assert_int_equal(broken(&p, &inv, flow(W("six"), addr4, 6, 1)), 0);
	assert_int_equal(broken(&p, &inv, flow(addr4, W("six"), 6, 2)), 0);
}

static void
refuses_ends_that_nothing_is_seen_of(void **state)
{
	static const struct policy p;
	struct simulate_flow f = flow(CIDR("10.0.0.0/8"), W("db"), 6, 1);
	struct simulation *s;

	assert_int_equal(simulate_new(&p, NULL, SIMULATE_ALL, NOW, 1, &s), 0);
	assert_int_equal(simulate_add(s, &f), -EINVAL);
	f.from = NETWORK("n");
	assert_int_equal(simulate_add(s, &f), -EINVAL);
	f = flow(ADDRESS("10.0.0.1"), ADDRESS("fd00::1"), 6, 1);
	assert_int_equal(simulate_add(s, &f), -EINVAL);
	assert_int_equal(simulate_count(s), 0);
	simulate_free(s);
}

/* Random policies, one address each: what is broken is what the evaluator does not let pass. */
static uint64_t seed;

static uint64_t
rnd(uint64_t below)
{
	seed += 0x9e3779b97f4a7c15ULL;
	return hash_mix64(seed) % below;
}

static const char *const names[] = { "a", "b", "c", "d" };
static const char *const places[] = { "10.0.0.1", "10.0.0.2", "10.0.1.1", "203.0.113.9" };
static const char *const elsewhere[] = { "10.0.0.9", "203.0.113.7", "198.51.100.1", "10.0.1.77" };
static const char *const prefixes[] = { "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "203.0.113.0/24",
	"10.0.0.2/32" };
#define HOST_ADDR "10.0.0.254"
#define PICK(list) ((list)[rnd(ARRAY_SIZE(list))])

static struct peer
random_end(bool seen)
{
	switch (rnd(8)) {
	case 0:
		return seen ? ADDRESS(PICK(elsewhere)) : CIDR(PICK(prefixes));
	case 1:
		return HOST;
	case 2:
		return ADDRESS(PICK(elsewhere));
	case 3:
		return seen ? W(PICK(names)) : INTERNET;
	default:
		return W(PICK(names));
	}
}

static struct addr
addr_of(const struct peer *p)
{
	for (size_t i = 0; p->kind == PEER_WORKLOAD && i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], p->name) == 0)
			return A(places[i]);
	return p->kind == PEER_HOST ? A(HOST_ADDR) : p->prefix.addr;
}

static void
agrees_with_the_evaluator(void **state)
{
	struct addr addrs[4], host = A(HOST_ADDR);
	struct inventory_entry entries[4];
	struct policy_workload list[4];
	struct policy_edge edges[MAX_EDGES];
	struct inventory inv = { entries, 4, &host, 1, NULL, 0 };
	struct policy p = { .workloads = list, .n_workloads = 4, .edges = edges };
	size_t n[2] = { 0 };

	seed = 1;
	for (size_t i = 0; i < 4; i++) {
		addrs[i] = A(places[i]);
		entries[i] = (struct inventory_entry){ names[i], &addrs[i], 1 };
	}
	for (int round = 0; round < 1000; round++) {
		p.n_edges = rnd(MAX_EDGES);
		for (size_t i = 0; i < 4; i++)
			list[i] = workload(names[i], rnd(4) ? MODE_ENFORCE : (enum wl_mode)rnd(2),
			    (enum wl_direction)(1 + rnd(3)));
		for (size_t i = 0; i < p.n_edges; i++) {
			edges[i] = EDGE(random_end(false), random_end(false),
			    rnd(4) ? IPPROTO_TCP : IPPROTO_UDP, 80 + (int)rnd(2), 82,
			    rnd(5) ? EDGE_APPROVED : EDGE_DENIED);
			edges[i].expires_ns = rnd(8) ? 0 : NOW - 1 + rnd(3);
		}
		for (int k = 0; k < 20; k++) {
			struct simulate_flow f = flow(random_end(true), random_end(true),
			    rnd(4) ? IPPROTO_TCP : IPPROTO_UDP, 80 + (int)rnd(4));
			struct tuple t = TUPLE(addr_of(&f.from), addr_of(&f.to), f.proto, f.port);
			struct evaluation ev;
			bool passes;
			json_t *answer;

			policy_evaluate(&p, &inv, &t,
			    f.from.kind == PEER_WORKLOAD ? f.from.name : NULL,
			    f.to.kind == PEER_WORKLOAD ? f.to.name : NULL, NOW, &ev);
			answer = run(&p, &inv, SIMULATE_AS_WRITTEN, &f, 1);
			passes = json_array_size(json_object_get(answer, "broken")) == 0;
			json_decref(answer);
			n[passes]++;
			if (passes != ev.passes)
				fail_msg("seed %llu: the rules say %d, the words %d",
				    (unsigned long long)seed, passes, ev.passes);
		}
	}
	/* Both happen often. */
	assert_true(n[0] > 2000 && n[1] > 2000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judges_by_name_who_does_not_run),
		cmocka_unit_test(takes_the_internet_and_names_by_what_the_policy_says_of_them),
		cmocka_unit_test(what_denies_a_half_of_the_internet_breaks_it),
		cmocka_unit_test(counts_only_ends_that_enforce),
		cmocka_unit_test(puts_public_addresses_together_and_tells_what_is_unused),
		cmocka_unit_test(long_lists_are_worked_off_to_their_end),
		cmocka_unit_test(what_is_refused_uses_no_edge),
		cmocka_unit_test(what_passes_by_an_address_uses_the_edge_of_it),
		cmocka_unit_test(what_the_other_end_refuses_uses_no_edge),
		cmocka_unit_test(half_of_the_internet_uses_no_edge),
		cmocka_unit_test(of_many_addresses_the_nearest_two_are_asked),
		cmocka_unit_test(who_does_not_run_is_not_taken_for_another),
		cmocka_unit_test(is_judged_in_the_family_that_it_was_of),
		cmocka_unit_test(refuses_ends_that_nothing_is_seen_of),
		cmocka_unit_test(agrees_with_the_evaluator),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
