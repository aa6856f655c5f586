/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/edge_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct edge_key
key_of(uint16_t port)
{
	return (
	    struct edge_key){ .from = 1, .to = 2, .port_lo = port, .port_hi = port, .proto = 6 };
}

static void
dropping_for_the_2_to_the_32nd_time_revives_nothing(void **state)
{
	struct edge_key old = key_of(1), exact = key_of(2), last = key_of(3);
	struct tuple t = { 0 };
	struct edge_keys k;

	assert_int_equal(edge_keys_init(&k, 7, 100), 0);
	/* Found in the first epoch, which comes again. */
	edge_keys_remember(&k, &old, NULL, 5);
	assert_int_equal(edge_keys_set_exact(&k, &exact, 6), 0);
	edge_keys_remember(&k, &exact, &t, 6);
	assert_int_equal(edge_keys_serving(&k, &old, &t), 5);
	assert_int_equal(edge_keys_serving(&k, &exact, &t), 6);
	k.epoch = UINT32_MAX;
	assert_int_equal(edge_keys_serving(&k, &old, &t), EDGE_POS_NONE);
	edge_keys_remember(&k, &last, NULL, 7);
	assert_int_equal(edge_keys_serving(&k, &last, &t), 7);

	edge_keys_drop_aliases(&k);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(edge_keys_serving(&k, &old, &t), EDGE_POS_NONE);
		assert_int_equal(edge_keys_serving(&k, &exact, &t), EDGE_POS_NONE);
		assert_int_equal(edge_keys_serving(&k, &last, &t), EDGE_POS_NONE);
		assert_int_equal(edge_keys_find(&k, &exact)->exact, 6);
		edge_keys_drop_aliases(&k);
	}
	edge_keys_remember(&k, &old, NULL, 8);
	assert_int_equal(edge_keys_serving(&k, &old, &t), 8);
	edge_keys_done(&k);
}

static void
stale_aliases_give_way_and_the_index_stays_small(void **state)
{
	struct edge_keys k;
	struct tuple t = { 0 };

	assert_int_equal(edge_keys_init(&k, 7, SIZE_MAX), 0);
	for (unsigned i = 0; i < 60000; i++) {
		struct edge_key key = key_of((uint16_t)i);

		edge_keys_remember(&k, &key, NULL, i);
		assert_int_equal(edge_keys_serving(&k, &key, &t), i);
		if (i % 20 == 0)
			edge_keys_drop_aliases(&k);
	}
	assert_true(k.size <= 128);
	edge_keys_done(&k);
}

static void
the_bound_on_aliases_spares_exact_keys(void **state)
{
	struct edge_keys k;
	struct tuple t = { 0 };

	assert_int_equal(edge_keys_init(&k, 7, 50), 0);
	for (unsigned i = 0; i < 1000; i++) {
		struct edge_key key = key_of((uint16_t)i);

		assert_int_equal(edge_keys_set_exact(&k, &key, i), 0);
	}
	for (unsigned i = 1000; i < 60000; i++) {
		struct edge_key key = key_of((uint16_t)i);

		edge_keys_remember(&k, &key, NULL, i);
		assert_true(k.n_aliases <= 50);
	}
	for (unsigned i = 0; i < 1000; i++) {
		struct edge_key key = key_of((uint16_t)i);

		assert_int_equal(edge_keys_find(&k, &key)->exact, i);
	}
	assert_true(k.size <= 4096);

	edge_keys_clear(&k);
	struct edge_key first = key_of(0);
	assert_null(edge_keys_find(&k, &first));
	assert_int_equal(edge_keys_serving(&k, &first, &t), EDGE_POS_NONE);
	edge_keys_done(&k);
}

static void
no_two_address_pairs_share_an_answer(void **state)
{
	struct edge_keys k;
	struct edge_key key = key_of(443);

	assert_int_equal(edge_keys_init(&k, 7, SIZE_MAX), 0);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < 20000; i++) {
			struct tuple t = { .src = addr_from_v4(&i) };

			/* The same bytes at the other end are another pair. */
			t.dst = t.src;
			*(i % 2 ? &t.src : &t.dst) = (struct addr){ .family = 4 };
			if (pass == 0)
				edge_keys_remember(&k, &key, &t, i);
			else
				assert_int_equal(edge_keys_serving(&k, &key, &t), i);
		}
	}
	edge_keys_done(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dropping_for_the_2_to_the_32nd_time_revives_nothing),
		cmocka_unit_test(stale_aliases_give_way_and_the_index_stays_small),
		cmocka_unit_test(the_bound_on_aliases_spares_exact_keys),
		cmocka_unit_test(no_two_address_pairs_share_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
