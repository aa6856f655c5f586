/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/doc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void
json_freep(json_t **v)
{
	json_decref(*v);
}

static void
plain_scalars_have_the_types_of_yaml_1_2(void **state)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{ "true", "true" },
		{ "False", "false" },
		{ "null", "null" },
		{ "~", "null" },
		{ "", "null" },
		{ "# only a comment\n", "null" },
		{ "0", "0" },
		{ "-0", "0" },
		{ "-12", "-12" },
		{ "9223372036854775807", "9223372036854775807" },
		{ "no", "\"no\"" },
		{ "yes", "\"yes\"" },
		{ "on", "\"on\"" },
		{ "y", "\"y\"" },
		{ "tRue", "\"tRue\"" },
		{ "010", "\"010\"" },
		{ "0x1f", "\"0x1f\"" },
		{ "1.5", "\"1.5\"" },
		{ "1e3", "\"1e3\"" },
		{ "+1", "\"+1\"" },
		{ "-", "[null]" },
		{ "1_000", "\"1_000\"" },
		{ "12:30:45", "\"12:30:45\"" },
		{ "2026-01-01", "\"2026-01-01\"" },
		{ "'true'", "\"true\"" },
		{ "\"123\"", "\"123\"" },
		{ "''", "\"\"" },
		{ "|\n  123\n", "\"123\\n\"" },
		{ "[a, 1, true, null]", "[\"a\",1,true,null]" },
		{ "{a: , b: {}, c: []}", "{\"a\":null,\"b\":{},\"c\":[]}" },
		{ "1: x", "{\"1\":\"x\"}" },
		{ "%YAML 1.2\n---\na: b\n...\n", "{\"a\":\"b\"}" },
		{ "\xef\xbb\xbf"
		  "a: b",
		    "{\"a\":\"b\"}" },
		{ "{\"a\":1,\"b\":\"\\u00e9\\/\"}", "{\"a\":1,\"b\":\"\xc3\xa9/\"}" },
		{ "{\"rocket\": \"\\ud83d\\ude80\"}", "{\"rocket\":\"\xf0\x9f\x9a\x80\"}" },
		{ "{\"a\": \"\\\\ud83d\\\\ude80 \x7f\"}", "{\"a\":\"\\\\ud83d\\\\ude80 \x7f\"}" },
		{ "{\"a\": \"\xe2\x80\xae\xe2\x80\xa8\"}", "{\"a\":\"\xe2\x80\xae\xe2\x80\xa8\"}" },
		{ "{\r\n\t\"a\"\t:\t1\r\n}\r\n", "{\"a\":1}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(doc_freep) struct doc *doc = NULL;
		_cleanup_free_ char *got = NULL;
		struct diag d = { 0 };
		int r = doc_parse(cases[i].yaml, strlen(cases[i].yaml), &d, &doc);

		if (r < 0)
			fail_msg("%s: %u:%u: %s", cases[i].yaml, d.line, d.col, d.msg);
		got = json_dumps(doc_root(doc), JSON_COMPACT | JSON_ENCODE_ANY);
		assert_string_equal(got, cases[i].json);
	}
}

static void
what_cannot_be_reviewed_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text;
		unsigned line, col;
		const char *msg;
	} cases[] = {
		{ "a: &x 1\n", 1, 4, "anchors" },
		{ "a: &x [1]\n", 1, 4, "anchors" },
		{ "&x {a: 1}\n", 1, 1, "anchors" },
		{ "a: 1\nb: *x\n", 2, 4, "aliases" },
		{ "*x : 1\n", 1, 1, "aliases" },
		{ "a: !!str 1\n", 1, 4, "tags" },
		{ "a: ! 1\n", 1, 4, "tags" },
		{ "a: !!map {}\n", 1, 4, "tags" },
		{ "%TAG ! tag:x,2026:\n---\na: 1\n", 1, 1, "%TAG" },
		{ "a: 1\nb: 2\n'a': 3\n", 3, 1, "key 'a' is given twice, first in line 1" },
		{ "{\"a\": 1, \"a\": 1}", 1, 10, "key 'a' is given twice" },
		{ "a: 1\n---\nb: 2\n", 2, 1, "a second document" },
		{ "a: 1\n...\nb: 2\n", 3, 1, "not valid YAML" },
		{ "{\"a\": 1} x", 1, 10, "not valid YAML" },
		{ "{\"a\": 1} {\"b\": 1}", 1, 10, "not valid YAML" },
		{ "? [a]\n: 1\n", 1, 3, "a key must be a text" },
		{ "a: 99999999999999999999\n", 1, 4, "number out of range" },
		{ "a: \"x\\0y\"\n", 1, 4, "NUL" },
		{ "{\"a\": \"\\u0000\"}", 1, 7, "NUL" },
		{ "a: \"\\ud800\"\n", 1, 7, "not valid YAML" },
		{ "a: 1\nb: \xff\n", 2, 4, "not valid UTF-8: byte 0xff" },
		{ "\xc3\xa4: \xc3", 1, 4, "not valid UTF-8: byte 0xc3" },
		{ "a: \xed\xa0\x80\n", 1, 4, "not valid UTF-8" },
		{ "a: \xc0\x80\n", 1, 4, "not valid UTF-8" },
		{ "a: 1\r\nb: \x1b[2J\n", 2, 4, "U+001B" },
		{ "a: 1\rb: \xe2\x80\xae\n", 2, 4,
		    "U+202E is not allowed here; inside double "
		    "quotes it can be written \"\\u202e\"" },
		{ "a: \xc2\x9b\n", 1, 4, "written \"\\x9b\"" },
		{ "a: [1, 2\nb: 3\n", 2, 2, "not valid YAML" },
		{ "a:\n\t- b\n", 2, 1, "not valid YAML" },
		{ "[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]", 1, 17, "nested too deeply" },
		{ "? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? x", 1, 3, "a key must be" },
		{ "- - - - - - - - - - - - - - - - - - x", 1, 33, "nested too deeply" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct doc *doc = NULL;
		struct diag d = { 0 };

		assert_int_equal(
		    doc_parse(cases[i].text, strlen(cases[i].text), &d, &doc), -EINVAL);
		assert_null(doc);
		if (d.line != cases[i].line || d.col != cases[i].col ||
		    strstr(d.msg, cases[i].msg) == NULL)
			fail_msg("%s: got %u:%u: %s", cases[i].text, d.line, d.col, d.msg);
	}
}

static void
a_nul_byte_ends_nothing(void **state)
{
	static const char text[] = "a: 1\n\0b: 2\n";
	struct doc *doc = NULL;
	struct diag d = { 0 };

	assert_int_equal(doc_parse(text, sizeof(text) - 1, &d, &doc), -EINVAL);
	assert_int_equal(d.line, 2);
	assert_int_equal(d.col, 1);
}

static void
bounds_are_kept(void **state)
{
	_cleanup_free_ char *big = malloc(DOC_MAX_BYTES + 1);
	struct doc *doc = NULL;
	struct diag d = { 0 };

	assert_non_null(big);
	memset(big, ' ', DOC_MAX_BYTES + 1);
	assert_int_equal(doc_parse(big, DOC_MAX_BYTES + 1, &d, &doc), -EINVAL);
	assert_non_null(strstr(d.msg, "too large"));
	/* Quadratic look-ahead and nesting: must end at once, whatever the answer. */
	memset(big, '[', 1u << 20);
	assert_int_equal(doc_parse(big, 1u << 20, &d, &doc), -EINVAL);
	assert_int_equal(d.col, DOC_MAX_DEPTH + 1);
	memset(big, '{', 1u << 20);
	assert_int_equal(doc_parse(big, 1u << 20, &d, &doc), -EINVAL);
	memset(big, 'x', DOC_MAX_SCALAR + 1);
	assert_int_equal(doc_parse(big, DOC_MAX_SCALAR + 1, &d, &doc), -EINVAL);
	assert_non_null(strstr(d.msg, "at most 65536 bytes"));
}

static void
places_are_those_of_the_text(void **state)
{
	static const char text[] =
	    "a: true\nlist:\n  - x\n  -   false\n  - {k: null}\n\xc3\xa4: 7\n";
	_cleanup_(doc_freep) struct doc *doc = NULL;
	unsigned line, col;
	struct diag d;
	json_t *root, *list;

	assert_int_equal(doc_parse(text, strlen(text), &d, &doc), 0);
	root = doc_root(doc);
	list = json_object_get(root, "list");
#define at(l, c)                     \
	assert_int_equal(line, (l)); \
	assert_int_equal(col, (c))
	doc_place(doc, root, &line, &col);
	at(1, 1);
	doc_key_place(doc, root, "a", &line, &col);
	at(1, 1);
	doc_member_place(doc, root, "a", &line, &col);
	at(1, 4);
	doc_key_place(doc, root, "list", &line, &col);
	at(2, 1);
	doc_place(doc, list, &line, &col);
	at(3, 3);
	doc_item_place(doc, list, 0, &line, &col);
	at(3, 5);
	doc_item_place(doc, list, 1, &line, &col);
	at(4, 7);
	doc_item_place(doc, list, 2, &line, &col);
	at(5, 5);
	doc_member_place(doc, json_array_get(list, 2), "k", &line, &col);
	at(5, 9);
	doc_member_place(doc, root, "\xc3\xa4", &line, &col);
	at(6, 4);
	doc_key_place(doc, root, "nowhere", &line, &col);
	at(0, 0);
	doc_place(doc, NULL, &line, &col);
	at(0, 0);
#undef at
}

static void
texts_that_look_like_something_else_are_quoted(void **state)
{
	static const struct {
		const char *text, *yaml;
	} cases[] = {
		{ "shop/api", "shop/api\n" },
		{ "10.0.0.0/8", "10.0.0.0/8\n" },
		{ "true", "\"true\"\n" },
		{ "NO", "\"NO\"\n" },
		{ "y", "\"y\"\n" },
		{ "null", "\"null\"\n" },
		{ "~", "\"~\"\n" },
		{ "", "\"\"\n" },
		{ "123", "\"123\"\n" },
		{ "8000-8010", "\"8000-8010\"\n" },
		{ "2026-01-01", "\"2026-01-01\"\n" },
		{ "-x", "\"-x\"\n" },
		{ "---", "\"---\"\n" },
		{ ".inf", "\".inf\"\n" },
		{ "a: b", "\"a: b\"\n" },
		{ "a\nb", "\"a\\nb\"\n" },
		{ "\"", "\"\\\"\"\n" },
		{ "\\", "\"\\\\\"\n" },
		{ "k\xc3\xb6ln", "\"k\xc3\xb6ln\"\n" },
		{ "\xe2\x80\xae", "\"\\u202E\"\n" },
		{ "\x1b[2J", "\"\\e[2J\"\n" },
		{ "\x7f", "\"\\x7F\"\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(json_freep) json_t *v = json_string(cases[i].text);
		_cleanup_(doc_freep) struct doc *doc = NULL;
		_cleanup_free_ char *yaml = NULL;
		struct diag d;

		assert_int_equal(doc_to_yaml(v, &yaml), 0);
		assert_string_equal(yaml, cases[i].yaml);
		assert_int_equal(doc_parse(yaml, strlen(yaml), &d, &doc), 0);
		assert_string_equal(json_string_value(doc_root(doc)), cases[i].text);
	}
}

static void
a_real_number_has_no_yaml_form(void **state)
{
	_cleanup_(json_freep) json_t *v = json_real(1.5);
	char *yaml = NULL;

	assert_int_equal(doc_to_yaml(v, &yaml), -EINVAL);
	assert_null(yaml);
}

static void
the_fast_reader_takes_only_what_both_read_alike(void **state)
{
	static const struct {
		const char *text;
		bool fast;
	} cases[] = {
		{ "{}", true },
		{ "{\"a\"\n:\n1}", true },
		{ "{\"a\": [1, -0, true, null, \"x\\u001b\\ud83d\\ude00\\/\"], \"b\": {}}", true },
		{ "{\"a\": 1.5}", false },
		{ "{\"a\": 1e3}", false },
		{ "{\"a\": 9223372036854775808}", false },
		{ "{\"a\": 1, \"a\": 2}", false },
		{ "{\"a\": \"\\u0000\"}", false },
		{ "{\"\": 1}", false },
		{ "{a: 1}", false },
		{ "{\"a\": 1} x", false },
		{ "a: 1", false },
		{ " {}", false },
		{ "[]", false },
		{ "{\"a\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}", true },
		{ "{\"a\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(doc_freep) struct doc *fast = NULL, *slow = NULL;
		size_t len = strlen(cases[i].text);
		struct diag d;

		assert_int_equal(doc_parse_json(cases[i].text, len, &fast) == 0, cases[i].fast);
		if (!cases[i].fast)
			continue;
		if (strchr(cases[i].text, '\n') != NULL)
			continue; /* YAML takes no break there */
		assert_int_equal(doc_parse(cases[i].text, len, &d, &slow), 0);
		assert_true(json_equal(doc_root(fast), doc_root(slow)));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_scalars_have_the_types_of_yaml_1_2),
		cmocka_unit_test(what_cannot_be_reviewed_is_refused_with_its_place),
		cmocka_unit_test(a_nul_byte_ends_nothing),
		cmocka_unit_test(bounds_are_kept),
		cmocka_unit_test(places_are_those_of_the_text),
		cmocka_unit_test(texts_that_look_like_something_else_are_quoted),
		cmocka_unit_test(a_real_number_has_no_yaml_form),
		cmocka_unit_test(the_fast_reader_takes_only_what_both_read_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
