/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of RFC 5424; it-alerts.py and the export's tests hold them against the grammar. */
#include "rules/syslog.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define T (1800000000ULL * NSEC_PER_SEC + 123456789)

static const struct syslog_event plain = {
	.facility = 3, .severity = 4, .time_ns = T, .host = "h", .app = "nanosegd", .id = "drift"
};

static void
expect(const struct syslog_event *e, const char *line)
{
	char buf[SYSLOG_MAX + 1];

	assert_int_equal(syslog_format(e, buf), strlen(line));
	assert_string_equal(buf, line);
}

static void
a_line_has_every_field(void **state)
{
	const struct syslog_param params[] = { { "kind", "drift" }, { "none", NULL },
		{ "workload", "shop/web" } };
	struct syslog_event e = plain;

	e.params = params;
	e.n_params = ARRAY_SIZE(params);
	e.process = "42";
	e.text = "changed";
	expect(&e, "<28>1 2027-01-15T08:00:00.123456Z h nanosegd 42 drift "
		   "[nanoseg@32473 kind=\"drift\" workload=\"shop/web\"] \xef\xbb\xbf"
		   "changed");
}

static void
what_is_not_known_is_a_dash(void **state)
{
	struct syslog_event e = { .facility = 16, .severity = 2, .time_ns = T };

	expect(&e, "<130>1 2027-01-15T08:00:00.123456Z - - - - [nanoseg@32473]");
	e.host = "";
	e.text = "";
	expect(&e, "<130>1 2027-01-15T08:00:00.123456Z - - - - [nanoseg@32473]");
}

static void
hostile_text_is_one_line_and_one_value(void **state)
{
	const struct syslog_param params[] = { { "w", "a\"]\\\n<0>1" } };
	struct syslog_event e = plain;

	e.host = "a b\n\xff";
	e.params = params;
	e.n_params = 1;
	e.text = "x\n<0>1 \x1b[2J\xff\xe2\x80\xae";
	expect(&e, "<28>1 2027-01-15T08:00:00.123456Z a?b?? nanosegd - drift "
		   "[nanoseg@32473 w=\"a\\\"\\]\\\\\\\\\\\\x0a<0>1\"] \xef\xbb\xbf"
		   "x\\x0a<0>1 \\x1b[2J\\xff\\u{202e}");
}

static void
a_line_is_bounded_whatever_it_is_given(void **state)
{
	static char huge[100000];
	struct syslog_param params[40];
	struct syslog_event e = plain;
	char buf[SYSLOG_MAX + 1];
	size_t len;

	memset(huge, ']', sizeof(huge) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(params); i++)
		params[i] = (struct syslog_param){ "p", huge };
	e.host = e.app = e.process = e.id = e.text = huge;
	e.params = params;
	e.n_params = ARRAY_SIZE(params);
	len = syslog_format(&e, buf);
	assert_in_range(len, 3000, SYSLOG_MAX);
	assert_int_equal(len, strlen(buf));
	/* Cut between values, and the text is there. */
	assert_non_null(strstr(buf, "\"] \xef\xbb\xbf]]]]"));
}

static void
facilities_have_their_numbers(void **state)
{
	assert_int_equal(syslog_facility_parse("user"), 1);
	assert_int_equal(syslog_facility_parse("daemon"), 3);
	assert_int_equal(syslog_facility_parse("authpriv"), 10);
	assert_int_equal(syslog_facility_parse("local0"), 16);
	assert_int_equal(syslog_facility_parse("local7"), 23);
	assert_int_equal(syslog_facility_parse("kern"), -EINVAL);
	assert_int_equal(syslog_facility_parse("local8"), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_every_field),
		cmocka_unit_test(what_is_not_known_is_a_dash),
		cmocka_unit_test(hostile_text_is_one_line_and_one_value),
		cmocka_unit_test(a_line_is_bounded_whatever_it_is_given),
		cmocka_unit_test(facilities_have_their_numbers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
