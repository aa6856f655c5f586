/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/show.h"
#include "cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void
columns_give_way_from_the_widest_down_to_their_minimum(void **state)
{
	static const struct table_col cols[] = { { "A", 0, 0, 0 }, { "B", COL_CUT, 5, 0 },
		{ "C", COL_CUT, 5, 0 } };
	static const struct {
		unsigned natural[3], width, want[3];
	} cases[] = {
		{ { 4, 10, 20 }, 0, { 4, 10, 20 } },
		{ { 4, 10, 20 }, 38, { 4, 10, 20 } },
		{ { 4, 10, 20 }, 37, { 4, 10, 19 } },
		{ { 4, 10, 20 }, 28, { 4, 10, 10 } },
		{ { 4, 10, 20 }, 26, { 4, 9, 9 } },
		{ { 4, 10, 20 }, 18, { 4, 5, 5 } },
		{ { 4, 10, 20 }, 1, { 4, 5, 5 } },
		{ { 40, 3, 20 }, 1, { 40, 3, 5 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned got[3];

		table_fit(cols, cases[i].natural, 3, cases[i].width, got);
		for (size_t c = 0; c < 3; c++)
			if (got[c] != cases[i].want[c])
				fail_msg("case %zu column %zu: %u", i, c, got[c]);
	}
}

static void
width_is_that_of_the_screen(void **state)
{
	static const struct {
		const char *text;
		unsigned width;
	} cases[] = {
		{ "", 0 },
		{ "abc", 3 },
		{ "\u00e9t\u00e9", 3 },
		{ "e\u0301", 1 }, /* combining */
		{ "\u5546\u5e97", 4 },
		{ "\U0001f600", 2 },
		{ "\u2026", 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (text_width(cases[i].text) != cases[i].width)
			fail_msg("'%s': %u", cases[i].text, text_width(cases[i].text));
}

static void
text_is_cut_in_the_middle(void **state)
{
	static const struct {
		const char *text;
		unsigned width;
		const char *want;
	} cases[] = {
		{ "abcdefghij", 10, "abcdefghij" },
		{ "abcdefghij", 9, "abcd\u2026ghij" },
		{ "abcdefghij", 4, "a\u2026ij" },
		{ "abcdefghij", 3, "a\u2026j" },
		{ "abcdefghij", 2, "\u2026j" },
		{ "abcdefghij", 1, "\u2026" },
		{ "abcdefghij", 0, "" },
		{ "\u5546\u5546\u5546\u5546", 6, "\u5546\u2026\u5546" },
		{ "abce\u0301", 3, "a\u2026e\u0301" },
		{ "abcde\u0301f", 3, "a\u2026f" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *cut = text_cut(cases[i].text, cases[i].width);

		assert_non_null(cut);
		if (strcmp(cut, cases[i].want) != 0)
			fail_msg("'%s' at %u: '%s'", cases[i].text, cases[i].width, cut);
		assert_true(text_width(cut) <= cases[i].width);
	}
}

static void
text_is_escaped_and_bounded(void **state)
{
	static const struct {
		const char *text, *name, *sentence;
	} cases[] = {
		{ NULL, "", "" },
		{ "", "", "" },
		{ "a b", "a b", "a b" },
		{ "a\x1b[31m", "a\\x1b[31m", "a\\x1b[31m" },
		{ "a\\b", "a\\\\b", "a\\b" },
		{ "a\\\\b", "a\\\\\\\\b", "a\\\\b" },
		{ "a\xff", "a\\xff", "a\\xff" },
		{ "\u202e\n", "\\u{202e}\\x0a", "\\u{202e}\\x0a" },
	};
	char big[3 * TEXT_MAX + 1];
	_cleanup_free_ char *safe = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *name = text_safe(cases[i].text);
		_cleanup_free_ char *sentence = text_safe_sentence(cases[i].text);

		assert_string_equal(name, cases[i].name);
		assert_string_equal(sentence, cases[i].sentence);
	}
	for (size_t i = 0; i < TEXT_MAX; i++)
		memcpy(big + 3 * i, "\u5546", 3);
	big[3 * TEXT_MAX] = '\0';
	safe = text_safe(big);
	assert_int_equal(strlen(safe), TEXT_MAX / 3 * 3 + 3);
	assert_null(strstr(safe, "\\x"));
}

/* The table of three rows as text. */
static char *
render(const struct table_col *cols, unsigned width, bool wide, bool colour)
{
	_cleanup_(table_freep) struct table *t = NULL;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	assert_int_equal(table_new(cols, 4, &t), 0);
	table_cell(t, "one", COLOUR_NONE);
	table_cell(t, "1", COLOUR_NONE);
	table_cell(t, NULL, COLOUR_NONE);
	table_cell(t, "x", COLOUR_NONE);
	table_line(t, "a line across all of it", COLOUR_BOLD);
	table_cell(t, "two\x1b", COLOUR_RED);
	table_cell(t, "1000", COLOUR_NONE);
	table_cell(t, "-", COLOUR_NONE);
	table_cell(t, NULL, COLOUR_NONE);
	assert_int_equal(table_rows(t), 3);
	assert_int_equal(table_print(t, f, width, wide, colour), 0);
	fclose(f);
	return text;
}

static void
tables_align_and_leave_out(void **state)
{
	static const struct table_col cols[] = { { "NAME", COL_CUT, 4, 0 },
		{ "N", COL_RIGHT, 0, 0 }, { "NOTHING", COL_EMPTY, 0, 0 }, { "W", COL_WIDE, 0, 0 } };
	static const struct table_col bare[] = { { NULL, COL_CUT, 4, 0 }, { NULL, COL_RIGHT, 0, 0 },
		{ NULL, COL_EMPTY, 0, 0 }, { NULL, COL_WIDE, 0, 0 } };
	static const struct {
		const struct table_col *cols;
		unsigned width;
		bool wide, colour;
		const char *want;
	} cases[] = {
		{ cols, 0, false, false,
		    "NAME        N\none         1\na line across all of it\ntwo\\x1b  1000\n" },
		{ cols, 11, false, false,
		    "NAME      N\none       1\na lin\u2026of it\ntw\u2026"
		    "1b  1000\n" },
		{ cols, 0, true, false,
		    "NAME        N  W\none         1  x\na line across all of it\ntwo\\x1b  "
		    "1000\n" },
		{ bare, 0, false, false,
		    "one         1\na line across all of it\ntwo\\x1b  1000\n" },
		{ bare, 0, false, true,
		    "one         1\n\x1b[1ma line across all of it\x1b[0m\n"
		    "\x1b[31mtwo\\x1b\x1b[0m  1000\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text =
		    render(cases[i].cols, cases[i].width, cases[i].wide, cases[i].colour);

		if (strcmp(text, cases[i].want) != 0)
			fail_msg("case %zu:\n%s", i, text);
	}
}

static void
rows_can_be_printed_as_they_come(void **state)
{
	static const struct table_col cols[] = { { "A", 0, 0, 3 }, { "B", COL_CUT, 4, 8 } };
	static const struct {
		unsigned width;
		const char *want;
	} cases[] = {
		{ 0, "A    B\n1    short\n2    longer than that\n" },
		{ 11, "A    B\n1    short\n2    lo\u2026hat\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(table_freep) struct table *t = NULL;
		_cleanup_free_ char *text = NULL;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		assert_int_equal(table_new(cols, 2, &t), 0);
		table_cell(t, "1", COLOUR_NONE);
		table_cell(t, "short", COLOUR_NONE);
		assert_int_equal(table_print_stream(t, f, cases[i].width, false, false, true), 0);
		table_cell(t, "2", COLOUR_NONE);
		table_cell(t, "longer than that", COLOUR_NONE);
		assert_int_equal(table_print_stream(t, f, cases[i].width, false, false, false), 0);
		assert_int_equal(table_rows(t), 0);
		fclose(f);
		if (strcmp(text, cases[i].want) != 0)
			fail_msg("width %u:\n%s", cases[i].width, text);
	}
}

static void
peers_lose_their_prefix_unless_that_changes_who_they_are(void **state)
{
	static const struct {
		const char *peer, *want;
	} cases[] = {
		{ "workload:web", "web" },
		{ "workload:shop/web", "shop/web" },
		{ "workload:host", "workload:host" },
		{ "workload:internet", "workload:internet" },
		{ "workload:multicast", "workload:multicast" },
		{ "workload:10.0.0.1", "workload:10.0.0.1" },
		{ "workload:10.0.0.0/8", "workload:10.0.0.0/8" },
		{ "workload:10.0.0.1/8", "workload:10.0.0.1/8" },
		{ "workload:fd00::1", "workload:fd00::1" },
		{ "workload:addr:10.0.0.1", "workload:addr:10.0.0.1" },
		{ "workload:workload:x", "workload:workload:x" },
		{ "workload:fqdn:x", "workload:fqdn:x" },
		{ "workload:", "workload:" },
		{ "host", "host" },
		{ "addr:10.0.0.1", "addr:10.0.0.1" },
		{ "cidr:10.0.0.0/8", "cidr:10.0.0.0/8" },
		{ "?", "?" },
		{ "", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(show_peer(cases[i].peer), cases[i].want);
}

static void
values_are_shown_for_people(void **state)
{
	static const struct {
		const char *json, *port, *age, *flags;
		int64_t number;
		const char *digits, *bytes;
	} cases[] = {
		{ "{'proto':'tcp','port':80,'t':'2026-01-01T00:00:00Z','f':['via-host','auto']}",
		    "tcp/80", "10s", "va", 999, "999", "999B" },
		{ "{'proto':'udp','ports':'1-2','t':'2025-12-31T23:58:00Z','f':['new','newer']}",
		    "udp/1-2", "2m", "?", 1000, "1,000", "1000B" },
		{ "{'proto':'icmp','type':8,'t':'2025-12-31T21:00:00.5Z','f':[]}", "icmp/8", "3h",
		    "", 1234567, "1,234,567", "1.2M" },
		{ "{'proto':'icmp','type':3,'code':1,'t':'2025-12-01T00:00:00Z','f':7}", "icmp/3.1",
		    "31d", "", -1000, "-1,000", "-" },
		{ "{'t':'2099-01-01T00:00:00Z'}", "?/?", "0s", "", INT64_MAX,
		    "9,223,372,036,854,775,807", "8.0E" },
		{ "{'proto':7,'port':'x','t':7,'f':[null,7]}", "?/?", "-", "?", INT64_MIN,
		    "-9,223,372,036,854,775,808", "-" },
	};
	uint64_t now_ns = 1767225610ULL * NSEC_PER_SEC; /* 2026-01-01T00:00:10Z */

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[256], port[SHOW_PORT_LEN], n[SHOW_NUMBER_LEN], flags[SHOW_FLAGS_LEN];
		json_t *o;

		strncpy(text, cases[i].json, sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		for (char *p = text; (p = strchr(p, '\'')) != NULL;)
			*p = '"';
		o = json_loads(text, 0, NULL);
		assert_non_null(o);
		assert_string_equal(show_port(o, port), cases[i].port);
		assert_string_equal(show_age(o, "t", now_ns, n), cases[i].age);
		assert_string_equal(show_flags(show_in(o, "f"), flags), cases[i].flags);
		assert_string_equal(show_number(cases[i].number, n), cases[i].digits);
		assert_string_equal(show_bytes(cases[i].number, n), cases[i].bytes);
		json_decref(o);
	}
}

static void
the_legend_names_the_letters_used(void **state)
{
	char text[SHOW_LEGEND_LEN];

	assert_string_equal(show_flags_legend("", text), "");
	assert_string_equal(show_flags_legend("va", text), "v via-host, a auto");
	assert_string_equal(show_flags_legend("?", text), "? unknown here");
	assert_true(strlen(show_flags_legend("vmoia?", text)) + 1 < SHOW_LEGEND_LEN);
	assert_non_null(strstr(text, ", ? unknown here"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_give_way_from_the_widest_down_to_their_minimum),
		cmocka_unit_test(width_is_that_of_the_screen),
		cmocka_unit_test(text_is_cut_in_the_middle),
		cmocka_unit_test(text_is_escaped_and_bounded),
		cmocka_unit_test(tables_align_and_leave_out),
		cmocka_unit_test(rows_can_be_printed_as_they_come),
		cmocka_unit_test(peers_lose_their_prefix_unless_that_changes_who_they_are),
		cmocka_unit_test(values_are_shown_for_people),
		cmocka_unit_test(the_legend_names_the_letters_used),
	};

	return cmocka_run_group_tests_name("cli-table", tests, NULL, NULL);
}
