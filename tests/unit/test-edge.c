/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "edge-fixture.h"

static void
a_new_key_is_a_pending_edge(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.api, 8080);
	struct edge *e;

	o.flags = EDGE_FLAG_VIA_HOST;
	o.count = 3;
	e = observe(&f, &o, 1);
	assert_int_equal(e->state, EDGE_PENDING);
	assert_true(e->dirty);
	assert_int_equal(e->flags, EDGE_FLAG_VIA_HOST);
	assert_true(e->evidence.bytes == EDGE_BYTES_UNKNOWN);
	assert_int_equal(edge_connections(e), 3);
	assert_ptr_equal(edge_table_find(f.t, &o.key), e);
	assert_ptr_equal(edge_table_find_id(f.t, e->id), e);
	assert_ptr_equal(edge_table_find_number(f.t, edge_id_number(e)), e);
	assert_int_equal(edge_id_number(e), edge_key_number(peer_get(f.peers, f.web),
						peer_get(f.peers, f.api), IPPROTO_TCP, 8080, 8080));

	e->dirty = false;
	assert_known(&f, &o, e);
	assert_true(e->dirty);
	assert_int_equal(edge_table_count(f.t), 1);
	assert_null(edge_table_find_id(f.t, "e-000000000000"));
	assert_null(edge_table_find_id(f.t, "nonsense"));
	assert_null(edge_table_find_number(f.t, 0));
	fixture_done(&f);
}

static void
padding_in_a_key_makes_no_difference(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.api, 80);
	struct edge *e = observe(&f, &o, 1), *same;

	memset(o.key.zero, 0xff, sizeof(o.key.zero));
	assert_known(&f, &o, e);
	assert_ptr_equal(edge_table_find(f.t, &o.key), e);
	assert_int_equal(edge_table_add(f.t, &o.key, &same), 0);
	assert_ptr_equal(same, e);
	fixture_done(&f);
}

static void
both_ends_of_a_connection_count_once(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.api, 80);
	struct edge *e;

	for (unsigned i = 0; i < 10; i++) {
		o.end = EDGE_END_SOURCE;
		e = observe(&f, &o, i == 0);
		o.end = EDGE_END_DESTINATION;
		if (i % 2 == 0) /* this end loses half */
			observe(&f, &o, 0);
	}
	assert_int_equal(edge_connections(e), 10);
	assert_int_equal(e->evidence.connections_destination, 5);
	assert_int_equal(e->evidence.ends, EDGE_END_SOURCE | EDGE_END_DESTINATION);
	fixture_done(&f);
}

static void
a_proven_observation_clears_midstream_for_good(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.api, 80);
	struct edge *e;

	o.flags = EDGE_FLAG_MIDSTREAM | EDGE_FLAG_VIA_HOST | EDGE_FLAG_ONE_WAY;
	e = observe(&f, &o, 1);
	observe(&f, &o, 0);
	assert_int_equal(e->flags, o.flags);
	o.flags = EDGE_FLAG_ONE_WAY;
	observe(&f, &o, 0);
	assert_int_equal(e->flags, EDGE_FLAG_VIA_HOST | EDGE_FLAG_ONE_WAY);
	o.flags = EDGE_FLAG_MIDSTREAM;
	observe(&f, &o, 0);
	assert_int_equal(e->flags, EDGE_FLAG_VIA_HOST);
	fixture_done(&f);
}

static void
malformed_observations_are_refused(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	const struct edge_observation good = observation(f.web, f.api, 80);
	struct edge_observation bad[7];
	struct edge *e = NULL;
	struct edge_key key = key_of(f.web, f.api, 81, 80);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].key.port_hi = 81;
	bad[1].count = 0;
	bad[2].end = 0;
	bad[3].end = EDGE_END_SOURCE | EDGE_END_DESTINATION;
	bad[4].key.from = PEER_ID_NONE;
	bad[5].key.to = 1000;
	bad[6].key.from = UINT32_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(edge_table_observe(f.t, &bad[i], &e), -EINVAL);
	assert_int_equal(edge_table_add(f.t, &key, &e), -EINVAL);
	assert_int_equal(edge_table_add(f.t, &bad[5].key, &e), -EINVAL);
	assert_null(e);
	assert_int_equal(edge_table_count(f.t), 0);
	assert_int_equal(edge_table_overflow(f.t), 0);
	fixture_done(&f);
}

static void
a_scan_of_all_ports_fills_the_table_and_is_counted(void **state)
{
	const size_t max = 1000;
	struct fixture f;
	fixture_init(&f, max);
	struct edge_observation o = observation(f.web, f.api, 0);
	struct edge *first, *e = NULL;
	size_t pos = 0, n = 0;

	first = observe(&f, &o, 1);
	for (unsigned port = 1; port <= 65535; port++) {
		o = observation(f.web, f.api, (uint16_t)port);
		o.count = 2;
		assert_int_equal(edge_table_observe(f.t, &o, &e), port < max ? 1 : -ENOSPC);
	}
	assert_int_equal(edge_table_count(f.t), max);
	assert_int_equal(edge_table_overflow(f.t), 2 * (65536 - max));
	assert_int_equal(edge_table_add(f.t, &o.key, &e), -ENOSPC);
	assert_int_equal(edge_table_overflow(f.t), 2 * (65536 - max));

	/* What was known before goes on as if nothing had happened. */
	o = observation(f.web, f.api, 0);
	assert_known(&f, &o, first);
	while ((e = edge_table_next(f.t, &pos)) != NULL)
		assert_int_equal(e->key.port_lo, n++);
	assert_int_equal(n, max);
	/* One removed makes room for one. */
	edge_table_remove(f.t, first);
	observe(&f, &o, 1);
	fixture_done(&f);
}

static void
a_table_of_no_size_counts_everything(void **state)
{
	struct fixture f;
	fixture_init(&f, 0);
	struct edge_observation o = observation(f.web, f.api, 80);
	struct edge *e = NULL;

	assert_int_equal(edge_table_observe(f.t, &o, &e), -ENOSPC);
	assert_int_equal(edge_table_overflow(f.t), 1);
	assert_null(e);
	edge_table_free(NULL);
	fixture_done(&f);
}

static void
decisions_are_copied_and_cleared(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_key key = key_of(f.web, f.api, 80, 80);
	char reason[] = "web calls api", longer[EDGE_REASON_MAX + 2];
	struct edge_decision d = { reason, NULL, (char *)"alice", 7, 9 };
	struct edge *e;

	assert_int_equal(edge_table_add(f.t, &key, &e), 0);
	e->dirty = false;
	assert_int_equal(edge_decide(f.t, e, EDGE_APPROVED, &d), 0);
	reason[0] = 'X';
	assert_true(e->dirty);
	assert_string_equal(e->decision.reason, "web calls api");
	assert_string_equal(e->decision.approved_by, "alice");
	assert_null(e->decision.ticket);
	assert_int_equal(e->decision.expires_ns, 9);

	/* An edge's own decision can be given back to it. */
	assert_int_equal(edge_decide(f.t, e, EDGE_DENIED, &e->decision), 0);
	assert_string_equal(e->decision.reason, "web calls api");
	assert_int_equal(e->state, EDGE_DENIED);

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	d.ticket = longer;
	assert_int_equal(edge_decide(f.t, e, EDGE_APPROVED, &d), -E2BIG);
	assert_int_equal(edge_decide(f.t, e, (enum edge_state)0, NULL), -EINVAL);
	assert_int_equal(e->state, EDGE_DENIED);
	assert_string_equal(e->decision.reason, "web calls api");
	longer[EDGE_REASON_MAX] = '\0';
	assert_int_equal(edge_decide(f.t, e, EDGE_APPROVED, &d), 0);

	assert_int_equal(edge_decide(f.t, e, EDGE_PENDING, NULL), 0);
	assert_null(e->decision.reason);
	assert_null(e->decision.approved_by);
	assert_int_equal(e->decision.decided_ns, 0);
	fixture_done(&f);
}

static void
an_expired_edge_is_still_there(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	struct edge_observation o = observation(f.web, f.api, 80);
	struct edge_decision d = { .expires_ns = 1 };
	struct edge *e = observe(&f, &o, 1);

	assert_int_equal(edge_decide(f.t, e, EDGE_APPROVED, &d), 0);
	o.time_ns = 1000 * NSEC_PER_SEC;
	assert_ptr_equal(observe(&f, &o, 0), e);
	assert_int_equal(e->state, EDGE_APPROVED);
	fixture_done(&f);
}

static void
edges_can_be_removed_while_iterating(void **state)
{
	struct fixture f;
	fixture_init(&f, 100000);
	struct edge_observation o;
	size_t pos = 0, n = 0;
	struct edge *e;

	for (unsigned port = 0; port < 5000; port++) {
		o = observation(f.web, f.api, (uint16_t)port);
		e = observe(&f, &o, 1);
		if (port % 3 == 0)
			assert_int_equal(edge_decide(f.t, e, EDGE_APPROVED, NULL), 0);
	}
	while ((e = edge_table_next(f.t, &pos)) != NULL) {
		assert_int_equal(e->key.port_lo, n++);
		if (e->key.port_lo % 5 != 0)
			edge_table_remove(f.t, e);
	}
	assert_int_equal(n, 5000);
	assert_int_equal(edge_table_count(f.t), 1000);

	/* New ones fill up, holes close, and the order is still that of creation. */
	for (unsigned port = 10000; port < 20000; port++) {
		o = observation(f.web, f.api, (uint16_t)port);
		observe(&f, &o, 1);
	}
	unsigned last = 0;
	for (pos = 0, n = 0; (e = edge_table_next(f.t, &pos)) != NULL; n++) {
		assert_true(n == 0 || e->key.port_lo > last);
		last = e->key.port_lo;
		assert_ptr_equal(edge_table_find(f.t, &e->key), e);
		assert_ptr_equal(edge_table_find_id(f.t, e->id), e);
		o = observation(f.web, f.api, e->key.port_lo);
		assert_ptr_equal(observe(&f, &o, 0), e);
	}
	assert_int_equal(n, 11000);
	o = observation(f.web, f.api, 1);
	assert_null(edge_table_find(f.t, &o.key));
	fixture_done(&f);
}

/* Random adds, removals, decisions and observations against a plain array of what should be. */
static void
a_long_random_life_agrees_with_a_model(void **state)
{
	struct fixture f;
	fixture_init(&f, 300);
	struct {
		struct edge *e;
		uint64_t seen;
	} model[512] = { 0 };
	uint64_t x = 99;
	size_t n = 0;

	for (unsigned step = 0; step < 200000; step++) {
		uint64_t r = hash_mix64(x += 0x9e3779b97f4a7c15ULL);
		unsigned port = (unsigned)(r >> 8) % ARRAY_SIZE(model);
		struct edge_observation o = observation(f.web, f.api, (uint16_t)port);
		struct edge *e = NULL;
		int got;

		if (r % 16 < 11) {
			got = edge_table_observe(f.t, &o, &e);
			assert_int_equal(got, model[port].e ? 0 : n < 300 ? 1 : -ENOSPC);
			if (got < 0)
				continue;
			n += got == 1;
			model[port].e = e;
			model[port].seen++;
		} else if (r % 16 < 14 && model[port].e != NULL) {
			edge_table_remove(f.t, model[port].e);
			model[port].e = NULL;
			model[port].seen = 0;
			n--;
		} else if (model[port].e != NULL) {
			assert_int_equal(
			    edge_decide(f.t, model[port].e, 1 + (r >> 20) % 3, NULL), 0);
		}
		assert_int_equal(edge_table_count(f.t), n);
		assert_ptr_equal(edge_table_find(f.t, &o.key), model[port].e);
		if (model[port].e != NULL)
			assert_int_equal(edge_connections(model[port].e), model[port].seen);
	}
	fixture_done(&f);
}

static void
colliding_ids_are_refused_and_counted(void **state)
{
	struct fixture f;
	fixture_init(&f, 10);
	/* Two names whose edges to "b", tcp 80, have the same 48 bits. */
	peer_id one = intern(&f, "workload:w04e224a46b09"),
		two = intern(&f, "workload:w7083bd927bf0");
	peer_id b = intern(&f, "workload:b");
	struct edge_observation o1 = observation(one, b, 80), o2 = observation(two, b, 80);
	struct edge *e, *none = NULL;

	assert_int_equal(edge_key_number(peer_get(f.peers, one), peer_get(f.peers, b), 6, 80, 80),
	    edge_key_number(peer_get(f.peers, two), peer_get(f.peers, b), 6, 80, 80));
	e = observe(&f, &o1, 1);
	assert_int_equal(edge_table_observe(f.t, &o2, &none), -EEXIST);
	assert_int_equal(edge_table_add(f.t, &o2.key, &none), -EEXIST);
	assert_null(none);
	assert_int_equal(edge_table_overflow(f.t), 1);
	assert_int_equal(edge_connections(e), 1);
	assert_null(edge_table_find(f.t, &o2.key));
	edge_table_remove(f.t, e);
	observe(&f, &o2, 1);
	fixture_done(&f);
}

static void
keys_chosen_to_collide_under_one_seed_spread_under_another(void **state)
{
	const uint64_t bucket = edge_key_hash(&(struct edge_key){ 0 }, SEED) & 1023;
	unsigned chosen = 0, together = 0;

	/* Enough for a thousand keys in one of 1024 buckets, if the seed were known. */
	for (uint32_t i = 0; chosen < 1000 && i < 4000000; i++) {
		struct edge_key key = key_of(1 + i / 65536, 2, (uint16_t)i, (uint16_t)i);

		if ((edge_key_hash(&key, SEED) & 1023) != bucket)
			continue;
		chosen++;
		together += (edge_key_hash(&key, SEED + 1) & 1023) == bucket;
	}
	assert_int_equal(chosen, 1000);
	assert_true(together < 20);
}

static void
no_memory_leaves_the_table_as_it_was(void **state)
{
	struct fixture f;
	fixture_init(&f, 100000);
	struct edge_decision d = { (char *)"r", (char *)"t", (char *)"a", 1, 2 };
	size_t failures = 0;

	for (unsigned port = 0; port < 300; port++) {
		struct edge_observation o = observation(f.web, f.api, (uint16_t)port);
		struct edge *e = NULL;
		int r = -ENOMEM;

		/* Each allocation on the way fails once, from the first on. */
		for (size_t nth = 0; r < 0; nth++) {
			size_t count = edge_table_count(f.t);

			fail_at = allocations + nth;
			r = edge_table_observe(f.t, &o, &e);
			fail_at = SIZE_MAX;
			assert_true(r == -ENOMEM || r == 1);
			if (r == -ENOMEM) {
				failures++;
				assert_int_equal(edge_table_count(f.t), count);
				assert_null(edge_table_find(f.t, &o.key));
			}
		}
		assert_ptr_equal(edge_table_find(f.t, &o.key), e);
		r = -ENOMEM;
		for (size_t nth = 0; r < 0; nth++) {
			fail_at = allocations + nth;
			r = edge_decide(f.t, e, EDGE_APPROVED, &d);
			fail_at = SIZE_MAX;
			if (r < 0) {
				assert_int_equal(r, -ENOMEM);
				assert_int_equal(e->state, EDGE_PENDING);
				assert_null(e->decision.reason);
			}
		}
		assert_string_equal(e->decision.approved_by, "a");
	}
	assert_true(failures >= 300);
	assert_int_equal(edge_table_overflow(f.t), failures);
	fixture_done(&f);
}

static void
an_alias_that_finds_no_memory_is_only_slower(void **state)
{
	struct fixture f;
	fixture_init(&f, 100);
	struct edge *wide = decide(&f, f.web, f.api, 1, 65535, EDGE_APPROVED);

	for (unsigned port = 1; port < 1000; port++) {
		struct edge_observation o = observation(f.web, f.api, (uint16_t)port);

		fail_at = allocations;
		assert_ptr_equal(observe(&f, &o, 0), wide);
		fail_at = SIZE_MAX;
		assert_ptr_equal(observe(&f, &o, 0), wide);
	}
	assert_int_equal(edge_connections(wide), 2 * 999);
	fixture_done(&f);
}

static void
bytes_go_to_the_edge_that_serves_them(void **state)
{
	struct fixture f;
	fixture_init(&f, 100);
	struct edge_observation o = observation(f.web, f.api, 80);
	struct edge_observation other = observation(f.web, f.api, 81);
	struct edge *e, *wide;

	assert_null(edge_table_serving(f.t, &o.key, &o.tuple));
	assert_int_equal(edge_table_count(f.t), 0);
	e = observe(&f, &o, 1);
	assert_ptr_equal(edge_table_serving(f.t, &o.key, &o.tuple), e);
	assert_null(edge_table_serving(f.t, &other.key, &other.tuple));
	assert_true(e->evidence.bytes == EDGE_BYTES_UNKNOWN);
	e->dirty = false;
	edge_add_bytes(e, 100, 5 * NSEC_PER_SEC);
	edge_add_bytes(e, 20, 3 * NSEC_PER_SEC);
	assert_true(e->dirty);
	assert_int_equal(e->evidence.bytes, 120);
	assert_int_equal(e->evidence.first_seen_ns, o.time_ns);
	assert_int_equal(e->evidence.last_seen_ns, 5 * NSEC_PER_SEC);
	assert_int_equal(edge_connections(e), 1);
	edge_add_bytes(e, UINT64_MAX, 0);
	assert_true(e->evidence.bytes == EDGE_BYTES_UNKNOWN - 1);
	wide = decide(&f, f.web, f.api, 81, 90, EDGE_APPROVED);
	assert_ptr_equal(edge_table_serving(f.t, &other.key, &other.tuple), wide);
	fixture_done(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_key_is_a_pending_edge),
		cmocka_unit_test(padding_in_a_key_makes_no_difference),
		cmocka_unit_test(both_ends_of_a_connection_count_once),
		cmocka_unit_test(bytes_go_to_the_edge_that_serves_them),
		cmocka_unit_test(a_proven_observation_clears_midstream_for_good),
		cmocka_unit_test(malformed_observations_are_refused),
		cmocka_unit_test(a_scan_of_all_ports_fills_the_table_and_is_counted),
		cmocka_unit_test(a_table_of_no_size_counts_everything),
		cmocka_unit_test(decisions_are_copied_and_cleared),
		cmocka_unit_test(an_expired_edge_is_still_there),
		cmocka_unit_test(edges_can_be_removed_while_iterating),
		cmocka_unit_test(a_long_random_life_agrees_with_a_model),
		cmocka_unit_test(colliding_ids_are_refused_and_counted),
		cmocka_unit_test(keys_chosen_to_collide_under_one_seed_spread_under_another),
		cmocka_unit_test(no_memory_leaves_the_table_as_it_was),
		cmocka_unit_test(an_alias_that_finds_no_memory_is_only_slower),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
