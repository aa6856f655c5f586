/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/edge.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define HOUR_NS (3600 * NSEC_PER_SEC)

static struct edge_observation
observation(enum edge_end end, uint32_t client, uint32_t instance, uint64_t time_ns, uint32_t count)
{
	struct edge_observation o = { .end = end, .time_ns = time_ns, .count = count };
	uint32_t net = client * 2654435761u;

	o.instance = instance;
	o.tuple.src = addr_from_v4(&net);
	return o;
}

static void
connections_are_the_larger_end(void **state)
{
	static const struct {
		uint32_t source, destination;
		uint64_t connections;
	} cases[] = { { 1, 1, 1 }, { 5, 3, 5 }, { 3, 5, 5 }, { 7, 0, 7 }, { 0, 7, 7 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct edge e = { 0 };
		struct edge_observation o = observation(EDGE_END_SOURCE, 1, 1, 1, cases[i].source);

		if (cases[i].source != 0)
			edge_evidence_add(&e.evidence, &o);
		o.end = EDGE_END_DESTINATION;
		o.count = cases[i].destination;
		if (cases[i].destination != 0)
			edge_evidence_add(&e.evidence, &o);
		assert_int_equal(edge_connections(&e), cases[i].connections);
		assert_int_equal(
		    e.evidence.ends, (cases[i].source ? EDGE_END_SOURCE : 0) |
					 (cases[i].destination ? EDGE_END_DESTINATION : 0));
	}
}

static void
counters_saturate(void **state)
{
	struct edge e = { .evidence.connections_source = UINT64_MAX - 1 };
	struct edge_observation o = observation(EDGE_END_SOURCE, 1, 1, 1, 5);

	edge_evidence_add(&e.evidence, &o);
	assert_int_equal(edge_connections(&e), UINT64_MAX);
}

static void
times_keep_the_first_and_the_last_in_any_order(void **state)
{
	static const uint64_t times[] = { 500, 100, 900, 0, 300 };
	struct edge_evidence ev = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		struct edge_observation o = observation(EDGE_END_SOURCE, 1, 1, times[i], 1);

		edge_evidence_add(&ev, &o);
	}
	assert_int_equal(ev.first_seen_ns, 100);
	assert_int_equal(ev.last_seen_ns, 900);
}

static void
hours_of_the_week_are_utc_from_monday(void **state)
{
	static const struct {
		uint64_t seconds;
		unsigned hour;
	} cases[] = {
		{ 1, 72 },		/* Thu 1970-01-01 00:00:01 */
		{ 4 * 86400 - 1, 167 }, /* Sun 1970-01-04 23:59:59 */
		{ 4 * 86400, 0 },	/* Mon 1970-01-05 00:00:00 */
		{ 1709164800, 72 },	/* Thu 2024-02-29 00:00 */
		{ 1704067200, 0 },	/* Mon 2024-01-01 00:00 */
		{ 1704067199, 167 },	/* Sun 2023-12-31 23:59:59 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct edge_evidence ev = { 0 };
		struct edge_observation o =
		    observation(EDGE_END_SOURCE, 1, 1, cases[i].seconds * NSEC_PER_SEC, 1);

		edge_evidence_add(&ev, &o);
		for (unsigned h = 0; h < 168; h++)
			assert_int_equal(ev.hour_bits[h / 8] >> h % 8 & 1, h == cases[i].hour);
	}
}

static void
a_week_fills_every_hour(void **state)
{
	struct edge_evidence ev = { 0 };

	for (unsigned h = 0; h < 168; h++) {
		struct edge_observation o =
		    observation(EDGE_END_SOURCE, 1, 1, 1000000 * HOUR_NS + h * HOUR_NS, 1);

		edge_evidence_add(&ev, &o);
	}
	for (size_t i = 0; i < sizeof(ev.hour_bits); i++)
		assert_int_equal(ev.hour_bits[i], 0xff);
}

static void
a_window_is_counted_once_and_only_forwards(void **state)
{
	static const struct {
		uint64_t hour;
		uint32_t windows;
	} cases[] = { { 1000, 1 }, { 1000, 1 }, { 1001, 2 }, { 1500, 3 }, { 1500, 3 } };
	struct edge_evidence ev = { 0 };

	edge_count_window(&ev);
	assert_int_equal(ev.windows, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct edge_observation o =
		    observation(EDGE_END_SOURCE, 1, 1, cases[i].hour * HOUR_NS + i, 1);

		edge_evidence_add(&ev, &o);
		edge_count_window(&ev);
		assert_int_equal(ev.windows, cases[i].windows);
		assert_int_equal(ev.last_window, cases[i].hour);
	}
	ev.windows = UINT32_MAX;
	ev.last_window = 1;
	edge_count_window(&ev);
	assert_int_equal(ev.windows, UINT32_MAX);
}

static void
few_values_are_counted_exactly(void **state)
{
	struct edge_evidence ev = { 0 };

	for (unsigned n = 1; n < EDGE_SKETCH; n++) {
		for (unsigned again = 0; again < 3; again++) {
			for (unsigned i = 0; i < n; i++) {
				struct edge_observation o =
				    observation(EDGE_END_SOURCE, i, i + 100, 1, 1);

				edge_evidence_add(&ev, &o);
			}
		}
		assert_int_equal(edge_clients_estimate(&ev), n);
		assert_int_equal(edge_instances_estimate(&ev), n);
	}
}

static void
many_values_are_estimated(void **state)
{
	static const unsigned counts[] = { 100, 1000, 100000 };

	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		struct edge_evidence ev = { 0 };

		for (unsigned i = 0; i < counts[c]; i++) {
			struct edge_observation o = observation(EDGE_END_SOURCE, i, i, 1, 1);

			edge_evidence_add(&ev, &o);
		}
		assert_int_equal(ev.n_clients, EDGE_SKETCH);
		/* The standard error is 1/sqrt(14); three of them. */
		assert_in_range(edge_clients_estimate(&ev), counts[c] / 5, counts[c] * 2);
		assert_in_range(edge_instances_estimate(&ev), counts[c] / 5, counts[c] * 2);
		for (unsigned i = 1; i < EDGE_SKETCH; i++)
			assert_true(ev.client_hash[i - 1] < ev.client_hash[i]);
	}
}

static void
merging_is_like_having_seen_it_all(void **state)
{
	struct edge_evidence all = { .bytes = EDGE_BYTES_UNKNOWN }, a = all, b = all, ab, ba;

	for (unsigned i = 0; i < 300; i++) {
		struct edge_observation o =
		    observation(i % 2 ? EDGE_END_SOURCE : EDGE_END_DESTINATION, i, i % 20,
			(1000 + i) * HOUR_NS, 1 + i % 3);

		edge_evidence_add(&all, &o);
		edge_evidence_add(i % 7 < 3 ? &a : &b, &o);
	}
	ab = a;
	edge_evidence_merge(&ab, &b);
	ba = b;
	edge_evidence_merge(&ba, &a);
	assert_memory_equal(&ab, &all, sizeof(all));
	assert_memory_equal(&ba, &all, sizeof(all));

	/* Nothing into nothing, and nothing into something. */
	struct edge_evidence none = { .bytes = EDGE_BYTES_UNKNOWN };
	edge_evidence_merge(&ab, &none);
	assert_memory_equal(&ab, &all, sizeof(all));
	edge_evidence_merge(&none, &all);
	assert_memory_equal(&none, &all, sizeof(all));
}

static void
bytes_not_counted_are_not_bytes(void **state)
{
	static const struct {
		uint64_t a, b, sum;
	} cases[] = {
		{ EDGE_BYTES_UNKNOWN, EDGE_BYTES_UNKNOWN, EDGE_BYTES_UNKNOWN },
		{ EDGE_BYTES_UNKNOWN, 5, 5 },
		{ 5, EDGE_BYTES_UNKNOWN, 5 },
		{ 5, 0, 5 },
		{ 5, 6, 11 },
		{ UINT64_MAX - 3, 100, UINT64_MAX - 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct edge_evidence a = { .bytes = cases[i].a }, b = { .bytes = cases[i].b };

		edge_evidence_merge(&a, &b);
		assert_int_equal(a.bytes, cases[i].sum);
	}
}

static void
hostile_counts_of_a_sketch_read_no_further(void **state)
{
	struct edge_evidence ev = { .n_clients = 255, .n_instances = 255 }, into = { 0 };
	struct edge_observation o = observation(EDGE_END_SOURCE, 1, 1, 1, 1);

	edge_evidence_merge(&into, &ev);
	edge_evidence_add(&ev, &o);
	assert_true(edge_clients_estimate(&ev) >= EDGE_SKETCH);
	assert_true(into.n_clients <= EDGE_SKETCH);
}

static void
ids_are_stable(void **state)
{
	struct peer web = { .kind = PEER_WORKLOAD, .name = "shop/web" };
	struct peer api = { .kind = PEER_WORKLOAD, .name = "shop/api" };
	char id[EDGE_ID_STRLEN];

	/* printf 'workload:shop/web\0workload:shop/api\0006 8080-8080\0' | sha256sum */
	edge_id_format(edge_key_number(&web, &api, IPPROTO_TCP, 8080, 8080), id);
	assert_string_equal(id, "e-ba8d3c2e62a4");
}

static void
every_part_of_a_key_changes_the_id(void **state)
{
	struct peer a = { .kind = PEER_WORKLOAD, .name = "a" };
	struct peer b = { .kind = PEER_WORKLOAD, .name = "b" };
	struct peer fqdn_a = { .kind = PEER_FQDN, .name = "a" };
	struct peer named_host = { .kind = PEER_WORKLOAD, .name = "host" };
	struct peer host = { .kind = PEER_HOST };
	const uint64_t numbers[] = {
		edge_key_number(&a, &b, 6, 80, 80),
		edge_key_number(&b, &a, 6, 80, 80),
		edge_key_number(&a, &b, 17, 80, 80),
		edge_key_number(&a, &b, 6, 81, 81),
		edge_key_number(&a, &b, 6, 80, 81),
		edge_key_number(&fqdn_a, &b, 6, 80, 80),
		edge_key_number(&host, &b, 6, 80, 80),
		edge_key_number(&named_host, &b, 6, 80, 80),
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		assert_true(numbers[i] < 1ULL << 48);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(numbers[i], numbers[j]);
	}
}

static void
ids_round_trip_and_bad_ones_are_refused(void **state)
{
	static const uint64_t good[] = { 0, 1, 0xabcdef012345, 0xffffffffffff };
	static const char *const bad[] = { "", "e", "e-", "e-12", "e-00000000000",
		"e-0000000000000", "e-00000000000G", "e-ABCDEF012345", "E-000000000000",
		"x-000000000000", " e-00000000000", "e-00000000000 ", "e--00000000001",
		"e-0x0000000001" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		char id[EDGE_ID_STRLEN];
		uint64_t number;

		edge_id_format(good[i], id);
		assert_int_equal(edge_id_parse(id, &number), 0);
		assert_int_equal(number, good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t number = 77;

		if (edge_id_parse(bad[i], &number) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(number, 77);
	}
}

static void
states_and_flags_have_names(void **state)
{
	assert_string_equal(edge_state_name(EDGE_PENDING), "pending");
	assert_string_equal(edge_state_name(EDGE_APPROVED), "approved");
	assert_string_equal(edge_state_name(EDGE_DENIED), "denied");
	assert_null(edge_state_name((enum edge_state)0));
	assert_null(edge_state_name((enum edge_state)4));
	assert_int_equal(edge_state_parse("denied"), EDGE_DENIED);
	assert_int_equal(edge_state_parse("Denied"), -EINVAL);
	assert_int_equal(edge_state_parse(""), -EINVAL);
	assert_string_equal(edge_flag_name(EDGE_FLAG_VIA_HOST), "via-host");
	assert_string_equal(edge_flag_name(EDGE_FLAG_MIDSTREAM), "midstream");
	assert_string_equal(edge_flag_name(EDGE_FLAG_ONE_WAY), "one-way");
	assert_string_equal(edge_flag_name(EDGE_FLAG_IMAGE_CHANGED), "image-changed");
	assert_string_equal(edge_flag_name(EDGE_FLAG_AUTO), "auto");
	assert_string_equal(edge_flag_name(EDGE_FLAG_WITHDRAWN), "withdrawn");
	assert_string_equal(edge_flag_name(EDGE_FLAG_ONE_END), "one-end");
	assert_null(edge_flag_name(0));
	assert_null(edge_flag_name(EDGE_FLAG_AUTO | EDGE_FLAG_ONE_WAY));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_are_the_larger_end),
		cmocka_unit_test(counters_saturate),
		cmocka_unit_test(times_keep_the_first_and_the_last_in_any_order),
		cmocka_unit_test(hours_of_the_week_are_utc_from_monday),
		cmocka_unit_test(a_week_fills_every_hour),
		cmocka_unit_test(a_window_is_counted_once_and_only_forwards),
		cmocka_unit_test(few_values_are_counted_exactly),
		cmocka_unit_test(many_values_are_estimated),
		cmocka_unit_test(merging_is_like_having_seen_it_all),
		cmocka_unit_test(bytes_not_counted_are_not_bytes),
		cmocka_unit_test(hostile_counts_of_a_sketch_read_no_further),
		cmocka_unit_test(ids_are_stable),
		cmocka_unit_test(every_part_of_a_key_changes_the_id),
		cmocka_unit_test(ids_round_trip_and_bad_ones_are_refused),
		cmocka_unit_test(states_and_flags_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
