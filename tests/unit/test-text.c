/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/peer.h"
#include "rules/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct {
	const char *in, *out;
} escapes[] = {
	{ "", "" },
	{ "shop/api-1", "shop/api-1" },
	{ "caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x90\xb3",
	    "caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x90\xb3" },
	{ "a\\b", "a\\\\b" },
	{ "\\x1b", "\\\\x1b" },
	/* terminal control: colour, title, clear, 8-bit CSI */
	{ "\x1b[31mred", "\\x1b[31mred" },
	{ "\x1b]0;title\a", "\\x1b]0;title\\x07" },
	{ "a\r\nb\tc", "a\\x0d\\x0ab\\x09c" },
	{ "\x7f", "\\x7f" },
	{ "\x01\x1f", "\\x01\\x1f" },
	{ "\xc2\x9b"
	  "31m",
	    "\\u{009b}31m" },
	{ "\xc2\x80\xc2\x9f\xc2\xa0\xc2\xa1", "\\u{0080}\\u{009f}\\u{00a0}\xc2\xa1" },
	/* bidi: marks, embeddings, overrides, isolates */
	{ "\xe2\x80\xae"
	  "txt.exe",
	    "\\u{202e}txt.exe" },
	{ "\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "\\u{200e}\\u{200f}\\u{061c}" },
	{ "\xe2\x80\xaa\xe2\x80\xad\xe2\x81\xa6\xe2\x81\xa9",
	    "\\u{202a}\\u{202d}\\u{2066}\\u{2069}" },
	/* zero width, invisible and blank */
	{ "ho\xe2\x80\x8bst", "ho\\u{200b}st" },
	{ "\xe2\x80\x8c\xe2\x80\x8d\xe2\x81\xa0\xef\xbb\xbf",
	    "\\u{200c}\\u{200d}\\u{2060}\\u{feff}" },
	{ "\xc2\xad\xe3\x85\xa4\xe3\x80\x80", "\\u{00ad}\\u{3164}\\u{3000}" },
	{ "\xe2\x80\xa8\xe2\x80\xa9", "\\u{2028}\\u{2029}" },
	{ "\xf3\xa0\x80\x81\xf3\xa0\x84\x80", "\\u{e0001}\\u{e0100}" },
	/* noncharacters, U+FFFD is fine */
	{ "\xef\xbf\xbe\xef\xbf\xbf\xf4\x8f\xbf\xbf\xef\xbf\xbd",
	    "\\u{fffe}\\u{ffff}\\u{10ffff}\xef\xbf\xbd" },
	/* just outside of the lists */
	{ "\xe2\x80\x90\xe2\x80\xa7\xe2\x80\xb0", "\xe2\x80\x90\xe2\x80\xa7\xe2\x80\xb0" },
	/* invalid UTF-8 */
	{ "a\xff"
	  "b",
	    "a\\xffb" },
	{ "\x80", "\\x80" },
	{ "\x9b"
	  "31m",
	    "\\x9b31m" },
	{ "\xc3", "\\xc3" },
	{ "\xe2\x82", "\\xe2\\x82" },
	{ "\xf0\x9f\x90", "\\xf0\\x9f\\x90" },
	{ "\xc0\xaf", "\\xc0\\xaf" },
	{ "\xc1\x9b", "\\xc1\\x9b" },
	{ "\xe0\x80\xaf", "\\xe0\\x80\\xaf" },
	{ "\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf" },
	{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },
	{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
	{ "\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80" },
	/* the escape after a cut character is still seen */
	{ "\xe2\x82\x1b[2J", "\\xe2\\x82\\x1b[2J" },
};

static void
hostile_names_are_shown_escaped(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(escapes); i++) {
		char out[256];
		size_t n = text_escape(escapes[i].in, strlen(escapes[i].in), out, sizeof(out));

		assert_string_equal(out, escapes[i].out);
		assert_int_equal(n, strlen(escapes[i].out));
	}
}

static void
nul_bytes_inside_are_escaped(void **state)
{
	char out[32];

	assert_int_equal(text_escape("a\0b", 3, out, sizeof(out)), 6);
	assert_string_equal(out, "a\\x00b");
}

static void
assert_whole_escapes(const char *text)
{
	for (const char *c = text; *c != '\0'; c++) {
		if (*c != '\\')
			continue;
		c++;
		if (*c == 'x') {
			assert_int_equal(strspn(c + 1, "0123456789abcdef") >= 2, 1);
			c += 2;
		} else if (*c == 'u') {
			c += 2 + strspn(c + 2, "0123456789abcdef");
			assert_int_equal(*c, '}');
		} else {
			assert_int_equal(*c, '\\');
		}
	}
}

static void
a_cut_result_is_a_prefix_of_whole_units(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(escapes); i++) {
		size_t want = strlen(escapes[i].out);

		for (size_t size = 1; size <= want + 2; size++) {
			/* Exactly as large as told, so that a checker sees a byte too many. */
			_cleanup_free_ char *out = malloc(size);

			assert_non_null(out);
			assert_int_equal(
			    text_escape(escapes[i].in, strlen(escapes[i].in), out, size), want);
			assert_true(strlen(out) < size);
			assert_memory_equal(out, escapes[i].out, strlen(out));
			assert_true(text_is_utf8(out, strlen(out)));
			assert_whole_escapes(out);
		}
	}
}

static void
no_buffer_only_measures(void **state)
{
	assert_int_equal(text_escape("\x1b", 1, NULL, 0), 4);
	assert_int_equal(text_escape("", 0, NULL, 0), 0);
}

static void
no_control_byte_survives(void **state)
{
	for (unsigned a = 0; a < 256; a++) {
		for (unsigned b = 0; b < 256; b++) {
			char in[3] = { (char)a, (char)b, 'x' }, out[64];

			text_escape(in, sizeof(in), out, sizeof(out));
			for (const char *c = out; *c != '\0'; c++)
				assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
			assert_true(text_is_utf8(out, strlen(out)));
		}
	}
}

static void
utf8_is_judged_strictly(void **state)
{
	static const struct {
		const char *in;
		bool good;
	} cases[] = {
		{ "", true },
		{ "plain", true },
		{ "\x7f", true },
		{ "\xc2\x80", true },
		{ "\xdf\xbf", true },
		{ "\xe0\xa0\x80", true },
		{ "\xed\x9f\xbf", true },
		{ "\xee\x80\x80", true },
		{ "\xef\xbf\xbf", true },
		{ "\xf0\x90\x80\x80", true },
		{ "\xf4\x8f\xbf\xbf", true },
		{ "\x80", false },
		{ "\xbf", false },
		{ "\xc0\x80", false },
		{ "\xc1\xbf", false },
		{ "\xc2", false },
		{ "\xc2 ", false },
		{ "\xe0\x9f\xbf", false },
		{ "\xed\xa0\x80", false },
		{ "\xed\xbf\xbf", false },
		{ "\xf0\x8f\xbf\xbf", false },
		{ "\xf4\x90\x80\x80", false },
		{ "\xf5\x80\x80\x80", false },
		{ "\xfe", false },
		{ "ok\xff", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(text_is_utf8(cases[i].in, strlen(cases[i].in)), cases[i].good);
	assert_true(text_is_utf8("a\0b", 3));
	/* What follows the given length is not looked at. */
	assert_false(text_is_utf8("\xc3\xa9", 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_names_are_shown_escaped),
		cmocka_unit_test(nul_bytes_inside_are_escaped),
		cmocka_unit_test(a_cut_result_is_a_prefix_of_whole_units),
		cmocka_unit_test(no_buffer_only_measures),
		cmocka_unit_test(no_control_byte_survives),
		cmocka_unit_test(utf8_is_judged_strictly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
