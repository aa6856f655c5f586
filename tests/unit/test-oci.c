/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/oci.h"
#include "rules/util.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
json_is_told_from_what_is_none(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{ "{}", true },
		{ " [ ] ", true },
		{ "0", true },
		{ "-1.5e+10", true },
		{ "18446744073709551616", true },
		{ "\"\\u20aC\\n\"", true },
		{ "{\"a\" : [1 , null,true,false]}", true },
		{ "", false },
		{ " ", false },
		{ "{", false },
		{ "{]", false },
		{ "{,}", false },
		{ "[1,]", false },
		{ "{\"a\"}", false },
		{ "{\"a\":}", false },
		{ "{a:1}", false },
		{ "01", false },
		{ "-", false },
		{ "1.", false },
		{ "1e", false },
		{ ".5", false },
		{ "+1", false },
		{ "nul", false },
		{ "truex", false },
		{ "\"\\x\"", false },
		{ "\"\\u12g4\"", false },
		{ "\"\\u12", false },
		{ "\"a\nb\"", false },
		{ "\"a", false },
		{ "{} {}", false },
		{ "'a'", false },
		{ "\xef\xbb\xbf{}", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if ((oci_check(cases[i].text, strlen(cases[i].text)) == 0) != cases[i].good)
			fail_msg("%s", cases[i].text);
	/* A NUL byte is no space, and no end. */
	assert_int_equal(oci_check("{}\0", 3), -EBADMSG);
	assert_int_equal(oci_check("\"a\0b\"", 5), -EBADMSG);
}

static void
depth_is_bounded(void **state)
{
	char text[2 * OCI_MAX_DEPTH + 2];

	memset(text, '[', OCI_MAX_DEPTH);
	memset(text + OCI_MAX_DEPTH, ']', OCI_MAX_DEPTH);
	assert_int_equal(oci_check(text, 2 * OCI_MAX_DEPTH), 0);
	memset(text, '[', OCI_MAX_DEPTH + 1);
	memset(text + OCI_MAX_DEPTH + 1, ']', OCI_MAX_DEPTH + 1);
	assert_int_equal(oci_check(text, sizeof(text)), -EBADMSG);
}

static void
strings_are_decoded_within_their_room(void **state)
{
	static const struct {
		const char *text, *want;
		int error;
	} cases[] = {
		{ "\"\"", "", 0 },
		{ "\"ab\\\"\\\\\\/\\n\"", "ab\"\\/\n", 0 },
		{ "\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac", 0 },
		{ "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 0 },
		{ "\"1234567\"", "1234567", 0 },
		{ "\"12345678\"", NULL, -E2BIG },
		{ "\"123456\\u00e9\"", NULL, -E2BIG },
		{ "\"\\u0000\"", NULL, -EBADMSG },
		{ "\"\\ud83d\"", NULL, -EBADMSG },
		{ "\"\\ude00\"", NULL, -EBADMSG },
		{ "\"\\ud83d\\u0041\"", NULL, -EBADMSG },
		{ "12", NULL, -EBADMSG },
		{ "null", NULL, -EBADMSG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oci_value v = { cases[i].text, strlen(cases[i].text) };
		char got[8];

		assert_int_equal(oci_string(&v, got, sizeof(got)), cases[i].error);
		if (cases[i].error == 0)
			assert_string_equal(got, cases[i].want);
	}
}

static void
a_member_is_found_once_or_refused(void **state)
{
	static const struct {
		const char *text, *want;
		int error;
	} cases[] = {
		{ "{\"a\":1}", "1", 0 },
		{ " {\"b\":{\"a\":2}, \"a\" : [ 3 ] }", "[ 3 ]", 0 },
		{ "{\"\\u0061\":4}", "4", 0 },
		{ "{\"b\":{\"a\":2}}", NULL, -ENOENT },
		{ "{}", NULL, -ENOENT },
		{ "{\"a\":1,\"\\u0061\":2}", NULL, -EBADMSG },
		{ "[]", NULL, -EBADMSG },
		{ "\"a\"", NULL, -EBADMSG },
		{ "{\"a\":1", NULL, -EBADMSG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oci_value v;

		assert_int_equal(
		    oci_member(cases[i].text, strlen(cases[i].text), "a", &v), cases[i].error);
		if (cases[i].error == 0) {
			assert_int_equal(v.len, strlen(cases[i].want));
			assert_memory_equal(v.text, cases[i].want, v.len);
		}
	}
}

static void
a_state_needs_id_pid_and_bundle(void **state)
{
	static const struct {
		const char *text;
		int pid;
	} cases[] = {
		{ "{\"id\":\"c1\",\"pid\":7,\"bundle\":\"/b\"}", 7 },
		{ "{\"id\":\"c1\",\"pid\":7,\"bundle\":\"/b\",\"annotations\":{\"id\":\"x\"}}", 7 },
		{ "{\"id\":\"\",\"pid\":7,\"bundle\":\"/b\"}", 0 },
		{ "{\"id\":\"a/b\",\"pid\":7,\"bundle\":\"/b\"}", 0 },
		{ "{\"id\":\"c1\",\"pid\":0,\"bundle\":\"/b\"}", 0 },
		{ "{\"id\":\"c1\",\"pid\":-7,\"bundle\":\"/b\"}", 0 },
		{ "{\"id\":\"c1\",\"pid\":7.0,\"bundle\":\"/b\"}", 0 },
		{ "{\"id\":\"c1\",\"pid\":99999999999999999999,\"bundle\":\"/b\"}", 0 },
		{ "{\"id\":\"c1\",\"pid\":\"7\",\"bundle\":\"/b\"}", 0 },
		{ "{\"id\":\"c1\",\"pid\":7}", 0 },
		{ "{\"id\":\"c1\",\"id\":\"c2\",\"pid\":7,\"bundle\":\"/b\"}", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oci_state st;
		const char *why;
		int r = oci_state_read(cases[i].text, strlen(cases[i].text), &st, &why);

		if ((r == 0) != (cases[i].pid != 0) || (r == 0 && st.pid != cases[i].pid))
			fail_msg("%s: %d", cases[i].text, r);
	}
}

static void
a_hook_is_added_where_it_belongs(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "{}", "{\"hooks\":{\"createRuntime\":[{}]}}" },
		{ " { \"a\":1 }\n", " {\"hooks\":{\"createRuntime\":[{}]}, \"a\":1 }\n" },
		{ "{\"hooks\":null}", "{\"hooks\":{\"createRuntime\":[{}]}}" },
		{ "{\"hooks\":{}}", "{\"hooks\":{\"createRuntime\":[{}]}}" },
		{ "{\"hooks\":{\"poststop\":[]}}",
		    "{\"hooks\":{\"createRuntime\":[{}],\"poststop\":[]}}" },
		{ "{\"hooks\":{\"createRuntime\":null}}", "{\"hooks\":{\"createRuntime\":[{}]}}" },
		{ "{\"hooks\":{\"createRuntime\":[ ]}}", "{\"hooks\":{\"createRuntime\":[ {}]}}" },
		{ "{\"hooks\":{\"createRuntime\":[1]}}", "{\"hooks\":{\"createRuntime\":[1,{}]}}" },
		{ "{\"hooks\":{\"createRuntime\":[1, {} ,2]}}",
		    "{\"hooks\":{\"createRuntime\":[1, {} ,2]}}" },
		{ "{\"hooks\":[]}", NULL },
		{ "{\"hooks\":{\"createRuntime\":{}}}", NULL },
		{ "{\"hooks\":{},\"hooks\":{}}", NULL },
		{ "[]", NULL },
		{ "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = NULL;
		size_t len = 0;
		int r = oci_add_hook(cases[i].text, strlen(cases[i].text), "{}", &got, &len);

		assert_int_equal(r, cases[i].want == NULL ? -EBADMSG : 0);
		if (r == 0) {
			assert_string_equal(got, cases[i].want);
			assert_int_equal(len, strlen(got));
		}
	}
}

static void
a_text_is_quoted(void **state)
{
	_cleanup_free_ char *got = oci_quote("a\"b\\c\n\x7f\xc3\xa9");

	assert_string_equal(got, "\"a\\\"b\\\\c\\u000a\\u007f\xc3\xa9\"");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_told_from_what_is_none),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(strings_are_decoded_within_their_room),
		cmocka_unit_test(a_member_is_found_once_or_refused),
		cmocka_unit_test(a_state_needs_id_pid_and_bundle),
		cmocka_unit_test(a_hook_is_added_where_it_belongs),
		cmocka_unit_test(a_text_is_quoted),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
