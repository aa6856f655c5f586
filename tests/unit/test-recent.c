/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/recent.h"
#include "rules/util.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define MS NSEC_PER_MSEC
#define T0 (1000 * NSEC_PER_SEC)

static struct recent recent;

static struct tuple
tuple(uint32_t n)
{
	struct tuple t = { .proto = IPPROTO_TCP, .dport = 80 };

	t.src.family = t.dst.family = 4;
	memcpy(t.src.bytes, &n, 4);
	t.dst.bytes[0] = 10;
	t.sport = (uint16_t)n;
	return t;
}

static void
counts_once_within_a_second(void **state)
{
	struct tuple t = tuple(1), other = tuple(2);

	recent_init(&recent, 42);
	assert_false(recent_seen(&recent, 0, &t, T0));
	assert_true(recent_seen(&recent, 0, &t, T0));
	assert_true(recent_seen(&recent, 0, &t, T0 + 999 * MS));
	assert_false(recent_seen(&recent, 0, &other, T0));
	assert_false(recent_seen(&recent, 0, &t, T0 + 1000 * MS));
	assert_true(recent_seen(&recent, 0, &t, T0 + 1001 * MS));
}

static void
keeps_namespaces_apart(void **state)
{
	struct tuple t = tuple(1);

	recent_init(&recent, 42);
	assert_false(recent_seen(&recent, 7, &t, T0));
	assert_false(recent_seen(&recent, 8, &t, T0));
	assert_true(recent_seen(&recent, 7, &t, T0 + MS));
}

/* More than fits: no new tuple is ever taken for a known one. */
static void
never_swallows_a_new_tuple(void **state)
{
	recent_init(&recent, 42);
	for (uint32_t i = 0; i < 10 * RECENT_SETS * RECENT_WAYS; i++) {
		struct tuple t = tuple(i);

		assert_false(recent_seen(&recent, 0, &t, T0 + i));
	}
}

static void
remembers_most_of_what_fits(void **state)
{
	unsigned n = RECENT_SETS * RECENT_WAYS / 4, known = 0;

	recent_init(&recent, 42);
	for (uint32_t pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < n; i++) {
			struct tuple t = tuple(i);

			known += recent_seen(&recent, 0, &t, T0 + i);
		}
	assert_true(known > n * 95 / 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_once_within_a_second),
		cmocka_unit_test(keeps_namespaces_apart),
		cmocka_unit_test(never_swallows_a_new_tuple),
		cmocka_unit_test(remembers_most_of_what_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
