/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/tally.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define MAX_TUPLES 1000u

static struct tuple
tuple(uint32_t n)
{
	struct tuple t = { .proto = IPPROTO_TCP, .dport = (uint16_t)(n >> 16) };

	t.src.family = t.dst.family = 4;
	memcpy(t.src.bytes, &n, sizeof(n));
	return t;
}

static uint64_t
growth(struct tally *t, uint32_t n, uint64_t value, int want)
{
	const struct tuple key = tuple(n);
	uint64_t ret = UINT64_MAX;

	assert_int_equal(tally_read(t, &key, value, &ret), want);
	return ret;
}

static void
tells_what_was_added_since_the_last_time(void **state)
{
	_cleanup_(tally_freep) struct tally *t = NULL;

	assert_int_equal(tally_new(MAX_TUPLES, 7, &t), 0);
	for (uint32_t n = 0; n < MAX_TUPLES; n++)
		assert_int_equal(growth(t, n, n, 0), n);
	for (uint32_t n = 0; n < MAX_TUPLES; n++)
		assert_int_equal(growth(t, n, 3 * (uint64_t)n, 0), 2 * n);
	for (uint32_t n = 0; n < MAX_TUPLES; n++)
		assert_int_equal(growth(t, n, 3 * (uint64_t)n, 0), 0);
	assert_int_equal(tally_count(t), MAX_TUPLES);
}

static void
says_that_a_counter_went_back(void **state)
{
	_cleanup_(tally_freep) struct tally *t = NULL;

	assert_int_equal(tally_new(MAX_TUPLES, 7, &t), 0);
	assert_int_equal(growth(t, 1, 100, 0), 100);
	assert_int_equal(growth(t, 1, 30, -ERANGE), 30);
	assert_int_equal(growth(t, 1, 31, 0), 1);
}

static void
is_bounded_and_keeps_what_it_has(void **state)
{
	_cleanup_(tally_freep) struct tally *t = NULL;

	assert_int_equal(tally_new(3, 7, &t), 0);
	for (uint32_t n = 0; n < 3; n++)
		assert_int_equal(growth(t, n, 10, 0), 10);
	assert_int_equal(growth(t, 3, 10, -ENOSPC), UINT64_MAX);
	assert_int_equal(growth(t, 2, 15, 0), 5);
}

static void
forgets_everything_at_once(void **state)
{
	_cleanup_(tally_freep) struct tally *t = NULL;

	assert_int_equal(tally_new(3, 7, &t), 0);
	assert_int_equal(growth(t, 1, 100, 0), 100);
	tally_clear(t);
	assert_int_equal(tally_count(t), 0);
	assert_int_equal(growth(t, 1, 100, 0), 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_what_was_added_since_the_last_time),
		cmocka_unit_test(says_that_a_counter_went_back),
		cmocka_unit_test(is_bounded_and_keeps_what_it_has),
		cmocka_unit_test(forgets_everything_at_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
