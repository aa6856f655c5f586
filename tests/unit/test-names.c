/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a workload was told of names: bounded, and what policy speaks of goes last. */
#include "rules/names.h"

#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct addr
nth(unsigned n)
{
	return (struct addr){ .family = 4,
		.bytes = { 203, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n } };
}

static int
tell(struct name_table *t, const char *name, unsigned n, bool wanted, uint64_t now, uint64_t until)
{
	struct addr a = nth(n);

	return name_table_tell(t, name, &a, wanted, now, until);
}

static const char *
find(const struct name_table *t, unsigned n)
{
	struct addr a = nth(n);

	return name_table_find(t, &a);
}

static void
a_pattern_covers_names(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool want;
	} cases[] = {
		{ "a.example", "a.example", true },
		{ "a.example", "b.example", false },
		{ "a.example", "x.a.example", false },
		{ "*.example", "a.example", true },
		{ "*.example", "b.a.example", true },
		{ "*.example", "example", false },
		{ "*.example", "aexample", false },
		{ "*.example", "*.a.example", true },
		{ "*.example", "*.example", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (name_covers(cases[i].pattern, cases[i].name) != cases[i].want)
			fail_msg("%s, %s", cases[i].pattern, cases[i].name);
}

static void
the_name_told_last_is_the_address_s(void **state)
{
	_cleanup_(name_table_freep) struct name_table *t = NULL;
	struct addr a = nth(1);

	assert_int_equal(name_table_new(1, &t), 0);
	assert_null(find(t, 1));
	assert_int_equal(tell(t, "a.example", 1, false, 10, 100), 1);
	assert_int_equal(tell(t, "b.example", 1, false, 11, 100), 1);
	assert_string_equal(find(t, 1), "b.example");
	assert_int_equal(tell(t, "a.example", 1, false, 12, 50), 0);
	assert_string_equal(find(t, 1), "a.example");
	assert_true(name_table_matches(t, "b.example", &a));
	assert_true(name_table_matches(t, "*.example", &a));
	assert_false(name_table_matches(t, "c.example", &a));
	assert_int_equal(name_table_count(t), 2);
}

static void
an_address_ends_when_nobody_has_used_it(void **state)
{
	_cleanup_(name_table_freep) struct name_table *t = NULL;
	struct addr b = nth(2);

	assert_int_equal(name_table_new(1, &t), 0);
	tell(t, "a", 1, true, 1, 100);
	tell(t, "a", 2, true, 1, 100);
	tell(t, "c", 3, false, 1, 100);
	tell(t, "a", 1, true, 2, 50); /* never earlier */
	name_table_use(t, &b, 200);
	assert_int_equal(name_table_expire(t, true, 99), 0);
	assert_int_equal(name_table_expire(t, false, 100), 1);
	assert_int_equal(name_table_expire(t, true, 100), 1);
	assert_null(find(t, 1));
	assert_string_equal(find(t, 2), "a");
	assert_int_equal(name_table_expire(t, true, 200), 1);
	assert_int_equal(name_table_count(t), 0);
}

static void
a_name_has_the_addresses_it_was_given_last(void **state)
{
	_cleanup_(name_table_freep) struct name_table *t = NULL;

	assert_int_equal(name_table_new(1, &t), 0);
	for (unsigned n = 0; n < 3 * NAMES_MAX_OF_NAME; n++)
		assert_int_equal(tell(t, "a", n, true, n + 1, 1), 1);
	assert_int_equal(name_table_count(t), NAMES_MAX_OF_NAME);
	assert_null(find(t, 2 * NAMES_MAX_OF_NAME - 1));
	assert_string_equal(find(t, 2 * NAMES_MAX_OF_NAME), "a");
	assert_int_equal(tell(t, "b", 1, false, 1, 1), 1);
}

static void
what_is_wanted_goes_last(void **state)
{
	_cleanup_(name_table_freep) struct name_table *t = NULL;
	struct name_entry *e;
	size_t pos = 0, wanted = 0, n = 0;
	char name[16];

	assert_int_equal(name_table_new(1, &t), 0);
	for (unsigned i = 0; i < NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "n%u", i / 200);
		assert_int_equal(tell(t, name, i, i % 2, i + 1, 1), 1);
	}
	/* The oldest of those that nobody wants. */
	assert_int_equal(tell(t, "new", NAMES_MAX, true, 9999, 1), 1);
	assert_null(find(t, 0));
	assert_non_null(find(t, 1));
	for (unsigned i = 1; i < NAMES_MAX; i++)
		tell(t, i % 2 ? "w" : "u", i + NAMES_MAX, true, 9999 + i, 1);
	while ((e = name_table_next(t, &pos)) != NULL) {
		n++;
		wanted += e->wanted;
	}
	assert_int_equal(n, name_table_count(t));
	assert_true(n <= NAMES_MAX && wanted <= n);
	/* Once all is wanted, nothing else gets in. */
	pos = 0;
	while ((e = name_table_next(t, &pos)) != NULL)
		name_table_want(t, e, true);
	for (unsigned i = 0; name_table_count(t) < NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		tell(t, name, i + 4 * NAMES_MAX, true, 99999, 1);
	}
	assert_int_equal(tell(t, "late", 1u << 20, false, 99999, 1), -ENOSPC);
	assert_int_equal(tell(t, "late", 1u << 20, true, 99999, 1), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pattern_covers_names),
		cmocka_unit_test(the_name_told_last_is_the_address_s),
		cmocka_unit_test(an_address_ends_when_nobody_has_used_it),
		cmocka_unit_test(a_name_has_the_addresses_it_was_given_last),
		cmocka_unit_test(what_is_wanted_goes_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
