/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decided edges that cover others, and the aliases that make finding them cheap. */
#include "edge-fixture.h"

static void
an_exact_decided_edge_comes_first(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.api, 8080);
	struct edge *wide = decide(&f, f.web, f.api, 8000, 9000, EDGE_DENIED);
	struct edge *exact = decide(&f, f.web, f.api, 8080, 8080, EDGE_APPROVED);

	assert_ptr_equal(observe(&f, &o, 0), exact);
	assert_int_equal(f.searched, 0);
	assert_known(&f, &o, exact);
	o = observation(f.web, f.api, 8081);
	assert_ptr_equal(observe(&f, &o, 0), wide);
	assert_known(&f, &o, wide);
	assert_int_equal(edge_table_count(f.t), 2);
	fixture_done(&f);
}

static void
a_covering_decided_edge_takes_over_from_a_pending_one(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.api, 8080);
	struct edge *pending = observe(&f, &o, 1), *wide;

	/* A range of other ports changes nothing but that the key is searched for once. */
	decide(&f, f.web, f.api, 1, 100, EDGE_APPROVED);
	assert_ptr_equal(observe(&f, &o, 0), pending);
	assert_known(&f, &o, pending);

	wide = decide(&f, f.web, f.api, 8000, 9000, EDGE_APPROVED);
	assert_ptr_equal(observe(&f, &o, 0), wide);
	assert_known(&f, &o, wide);
	assert_int_equal(edge_connections(pending), 3);
	assert_int_equal(edge_connections(wide), 2);

	/* Undecided, it covers no more, and the pending edge has its observations again. */
	assert_int_equal(edge_decide(f.t, wide, EDGE_PENDING, NULL), 0);
	assert_ptr_equal(observe(&f, &o, 0), pending);
	assert_known(&f, &o, pending);
	fixture_done(&f);
}

static void
of_several_covering_edges_the_same_one_wins_in_any_order(void **state)
{
	static const struct {
		uint16_t lo, hi;
		enum edge_state state;
	} edges[] = {
		{ 1, 65535, EDGE_APPROVED },
		{ 8000, 9000, EDGE_APPROVED },
		{ 8080, 8090, EDGE_APPROVED },
		{ 1, 60000, EDGE_DENIED },
		{ 8000, 8999, EDGE_DENIED },
	};

	for (size_t first = 0; first < ARRAY_SIZE(edges); first++) {
		struct fixture f;
		fixture_init(&f, 10);
		struct edge_observation o = observation(f.web, f.api, 8085);
		struct edge *e;

		for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
			size_t k = (first + i) % ARRAY_SIZE(edges);

			decide(&f, f.web, f.api, edges[k].lo, edges[k].hi, edges[k].state);
		}
		e = observe(&f, &o, 0);
		assert_int_equal(e->state, EDGE_DENIED);
		assert_int_equal(e->key.port_hi, 8999);
		edge_table_remove(f.t, e);
		e = observe(&f, &o, 0);
		assert_int_equal(e->key.port_hi, 60000);
		edge_table_remove(f.t, e);
		e = observe(&f, &o, 0);
		assert_int_equal(e->key.port_hi, 8090);
		fixture_done(&f);
	}
}

static void
protocols_never_cover_each_other(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.api, 53);

	decide(&f, f.web, f.api, 1, 65535, EDGE_APPROVED);
	o.key.proto = IPPROTO_UDP;
	assert_int_equal(observe(&f, &o, 1)->state, EDGE_PENDING);
	fixture_done(&f);
}

static void
a_cidr_covers_only_its_addresses_of_a_key(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation in = observation(f.web, f.internet, 443), out = in, in2 = in;
	struct edge *net = decide(&f, f.web, f.cidr, 443, 443, EDGE_APPROVED), *pending;

	addr_parse("192.0.2.7", &in.tuple.dst);
	addr_parse("192.0.2.8", &in2.tuple.dst);
	addr_parse("198.51.100.7", &out.tuple.dst);

	assert_ptr_equal(observe(&f, &in, 0), net);
	assert_known(&f, &in, net);
	pending = observe(&f, &out, 1);
	assert_ptr_not_equal(pending, net);
	assert_int_equal(pending->key.to, f.internet);
	/* Both stay known at once, whichever came last. */
	assert_known(&f, &in, net);
	assert_known(&f, &out, pending);
	assert_ptr_equal(observe(&f, &in2, 0), net);
	assert_known(&f, &in2, net);
	assert_known(&f, &out, pending);
	assert_int_equal(edge_connections(pending), 3);

	/* Deciding the exact key ends the question. */
	assert_int_equal(edge_decide(f.t, pending, EDGE_DENIED, NULL), 0);
	assert_ptr_equal(observe(&f, &in, 0), pending);
	assert_known(&f, &in2, pending);
	fixture_done(&f);
}

static void
a_cidr_from_another_workload_is_no_question_of_addresses(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.internet, 443);
	struct edge *pending;

	decide(&f, f.db, f.cidr, 443, 443, EDGE_APPROVED);
	pending = observe(&f, &o, 1);
	/* Known for every address, so that a scan of addresses needs no alias. */
	for (unsigned i = 0; i < 1000; i++) {
		o.tuple.dst.bytes[1] = (uint8_t)(i >> 8);
		o.tuple.dst.bytes[2] = (uint8_t)i;
		assert_known(&f, &o, pending);
	}
	fixture_done(&f);
}

static void
aliases_are_dropped_on_any_decision_and_on_demand(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.api, 8080);
	struct edge *wide = decide(&f, f.web, f.api, 8000, 9000, EDGE_APPROVED), *other;
	size_t searched;

	assert_ptr_equal(observe(&f, &o, 0), wide);
	assert_known(&f, &o, wide);
	other = decide(&f, f.db, f.api, 1, 1, EDGE_APPROVED);
	searched = f.searched;
	assert_ptr_equal(observe(&f, &o, 0), wide);
	assert_int_not_equal(f.searched, searched);
	assert_known(&f, &o, wide);

	edge_table_drop_aliases(f.t);
	searched = f.searched;
	assert_ptr_equal(observe(&f, &o, 0), wide);
	assert_int_not_equal(f.searched, searched);

	/* A removed edge serves nobody. */
	edge_table_remove(f.t, other);
	edge_table_remove(f.t, wide);
	assert_int_equal(observe(&f, &o, 1)->state, EDGE_PENDING);
	fixture_done(&f);
}

static void
aliases_are_bounded_and_never_wrong(void **state)
{
	struct fixture f;
	fixture_init(&f, 4);
	struct edge_observation o = observation(f.web, f.internet, 443);
	struct edge *net = decide(&f, f.web, f.cidr, 443, 443, EDGE_APPROVED), *pending;
	size_t before;

	pending = observe(&f, &o, 1);
	before = allocations;
	for (unsigned i = 0; i < 20000; i++) {
		bool in = i % 3 == 0;

		o.tuple.dst.bytes[0] = in ? 192 : 198;
		o.tuple.dst.bytes[1] = in ? 0 : (uint8_t)(i >> 8);
		o.tuple.dst.bytes[2] = in ? 2 : (uint8_t)(i >> 16);
		o.tuple.dst.bytes[3] = (uint8_t)i;
		assert_ptr_equal(observe(&f, &o, 0), in ? net : pending);
		assert_known(&f, &o, in ? net : pending);
	}
	assert_int_equal(edge_table_count(f.t), 2);
	assert_int_equal(edge_connections(net) + edge_connections(pending), 40001);
	/* 16 aliases at most: forgotten every dozen keys or so, never a larger index. */
	assert_in_range(allocations - before, 20000 / 16 / 2, 20000 / 16 * 3);
	fixture_done(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_exact_decided_edge_comes_first),
		cmocka_unit_test(a_covering_decided_edge_takes_over_from_a_pending_one),
		cmocka_unit_test(of_several_covering_edges_the_same_one_wins_in_any_order),
		cmocka_unit_test(protocols_never_cover_each_other),
		cmocka_unit_test(a_cidr_covers_only_its_addresses_of_a_key),
		cmocka_unit_test(a_cidr_from_another_workload_is_no_question_of_addresses),
		cmocka_unit_test(aliases_are_dropped_on_any_decision_and_on_demand),
		cmocka_unit_test(aliases_are_bounded_and_never_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
