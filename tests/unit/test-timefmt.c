/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/timefmt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void
durations_are_read_and_written_back(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t ns;
		const char *back;
	} cases[] = {
		{ "7d", 0, 7 * 86400 * NSEC_PER_SEC, "7d" },
		{ "1w", 0, 7 * 86400 * NSEC_PER_SEC, "7d" },
		{ "12h", 0, 12 * 3600 * NSEC_PER_SEC, "12h" },
		{ "24h", 0, 86400 * NSEC_PER_SEC, "1d" },
		{ "1h30m", 0, 5400 * NSEC_PER_SEC, "90m" },
		{ "30s", 0, 30 * NSEC_PER_SEC, "30s" },
		{ "500ms", 0, 500 * NSEC_PER_MSEC, "500ms" },
		{ "1s1ns", 0, NSEC_PER_SEC + 1, "1000000001ns" },
		{ "0", 0, 0, "0s" },
		{ "0s", 0, 0, "0s" },
		{ "18446744073709551615ns", 0, UINT64_MAX, "18446744073709551615ns" },
		{ "18446744073709551616ns", -ERANGE, 0, NULL },
		{ "30501w", -ERANGE, 0, NULL },
		{ "30500w5000d", -ERANGE, 0, NULL },
		{ "", -EINVAL, 0, NULL },
		{ "7", -EINVAL, 0, NULL },
		{ "d", -EINVAL, 0, NULL },
		{ "-1d", -EINVAL, 0, NULL },
		{ "+1d", -EINVAL, 0, NULL },
		{ "1.5h", -EINVAL, 0, NULL },
		{ "1 d", -EINVAL, 0, NULL },
		{ "1d ", -EINVAL, 0, NULL },
		{ "1D", -EINVAL, 0, NULL },
		{ "30m1h", -EINVAL, 0, NULL },
		{ "1h1h", -EINVAL, 0, NULL },
		{ "1hs", -EINVAL, 0, NULL },
		{ "1month", -EINVAL, 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[DURATION_STRLEN];
		uint64_t ns = 42;

		if (duration_parse(cases[i].text, &ns) != cases[i].result)
			fail_msg("'%s'", cases[i].text);
		if (cases[i].result < 0) {
			assert_int_equal(ns, 42);
			continue;
		}
		assert_true(ns == cases[i].ns);
		assert_string_equal(duration_format(ns, buf), cases[i].back);
	}
}

static void
times_are_read_and_written_back(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t s, ns;
		const char *back;
	} cases[] = {
		{ "1970-01-01T00:00:00Z", 0, 0, 0, "1970-01-01T00:00:00Z" },
		{ "2000-02-29T12:34:56Z", 0, 951827696, 0, "2000-02-29T12:34:56Z" },
		{ "2026-12-31", 0, 1798675200, 0, "2026-12-31T00:00:00Z" },
		{ "2026-12-31T23:59:59.25Z", 0, 1798761599, 250000000,
		    "2026-12-31T23:59:59.250000000Z" },
		{ "2026-01-01T01:00:00+01:00", 0, 1767225600, 0, "2026-01-01T00:00:00Z" },
		{ "2025-12-31t19:00:00-05:00", 0, 1767225600, 0, "2026-01-01T00:00:00Z" },
		{ "2500-12-31T23:59:59Z", 0, 16756761599, 0, "2500-12-31T23:59:59Z" },
		{ "2501-01-01T00:00:00Z", -ERANGE, 0, 0, NULL },
		{ "1969-12-31T23:59:59Z", -ERANGE, 0, 0, NULL },
		{ "2100-02-29", -EINVAL, 0, 0, NULL },
		{ "2026-13-01", -EINVAL, 0, 0, NULL },
		{ "2026-04-31", -EINVAL, 0, 0, NULL },
		{ "2026-1-1", -EINVAL, 0, 0, NULL },
		{ "2026-01-01T24:00:00Z", -EINVAL, 0, 0, NULL },
		{ "2026-01-01T23:59:60Z", -EINVAL, 0, 0, NULL },
		{ "2026-01-01T23:59:59", -EINVAL, 0, 0, NULL },
		{ "2026-01-01T23:59:59.Z", -EINVAL, 0, 0, NULL },
		{ "2026-01-01T23:59:59.1234567890Z", -EINVAL, 0, 0, NULL },
		{ "2026-01-01T23:59:59Zx", -EINVAL, 0, 0, NULL },
		{ "", -EINVAL, 0, 0, NULL },
		{ "tomorrow", -EINVAL, 0, 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[TIME_STRLEN];
		uint64_t ns = 42;

		if (time_parse(cases[i].text, &ns) != cases[i].result)
			fail_msg("'%s'", cases[i].text);
		if (cases[i].result < 0) {
			assert_int_equal(ns, 42);
			continue;
		}
		assert_true(ns == cases[i].s * NSEC_PER_SEC + cases[i].ns);
		assert_string_equal(time_format(ns, buf), cases[i].back);
	}
}

static void
every_day_is_the_day_after_the_one_before(void **state)
{
	char buf[TIME_STRLEN];
	uint64_t back;

	for (uint64_t day = 0; day < 530u * 365; day++) {
		uint64_t ns = (day * 86400 + 86399) * NSEC_PER_SEC;

		time_format(ns, buf);
		assert_int_equal(time_parse(buf, &back), 0);
		assert_true(back == ns);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_are_read_and_written_back),
		cmocka_unit_test(times_are_read_and_written_back),
		cmocka_unit_test(every_day_is_the_day_after_the_one_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
