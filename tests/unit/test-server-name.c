/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/seen_as.h"
#include "rules/util.h"

#include "tests/unit/hello-fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int
parse(const void *buf, size_t len, struct server_name *ret)
{
	/* Of its own size, so that a read beyond it is one beyond the memory. */
	uint8_t *copy = malloc(len > 0 ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, buf, len);
	r = server_name_parse(copy, len, ret);
	if (r == 0)
		assert_true(len < 16 || server_name_may_be(copy, len));
	free(copy);
	return r;
}

static void
real_hellos_give_their_name(void **state)
{
	struct server_name n;

	assert_int_equal(parse(hello_tls12, sizeof(hello_tls12), &n), 0);
	assert_int_equal(n.kind, SERVER_NAME_SNI);
	assert_string_equal(n.name, "db.example.org");
	assert_int_equal(parse(hello_tls13, sizeof(hello_tls13), &n), 0);
	assert_string_equal(n.name, "api.example.com");
	assert_int_equal(parse(hello_nameless, sizeof(hello_nameless), &n), -ENODATA);
}

static void
a_hello_of_any_length_is_read_as_far_as_it_goes(void **state)
{
	struct server_name n;
	size_t first = 0;

	for (size_t len = 0; len <= sizeof(hello_tls13); len++) {
		int r = parse(hello_tls13, len, &n);

		if (r == 0 && first == 0)
			first = len;
		if (first == 0)
			assert_true(r == -ENODATA || (len < 6 && r == -EBADMSG));
		else
			assert_int_equal(r, 0);
		if (r == 0)
			assert_string_equal(n.name, "api.example.com");
	}
	assert_in_range(first, 60, sizeof(hello_tls13));
}

static void
records_of_one_segment_are_put_together(void **state)
{
	const size_t body = sizeof(hello_tls12) - 5;
	uint8_t buf[2048];
	struct server_name n;

	for (size_t part = 1; part < body; part += 7) {
		size_t at = 0;

		for (size_t from = 0; from < body; from += part) {
			size_t len = MIN(part, body - from);

			buf[at++] = 22;
			buf[at++] = 3;
			buf[at++] = 1;
			buf[at++] = (uint8_t)(len >> 8);
			buf[at++] = (uint8_t)len;
			memcpy(buf + at, hello_tls12 + 5 + from, len);
			at += len;
			assert_true(at + part + 5 < sizeof(buf));
		}
		assert_int_equal(parse(buf, at, &n), 0);
		assert_string_equal(n.name, "db.example.org");
	}
}

static void
no_byte_of_a_hello_makes_a_name_that_is_none(void **state)
{
	uint8_t buf[sizeof(hello_tls12)];
	struct server_name n;

	for (size_t i = 0; i < sizeof(buf); i++) {
		for (unsigned v = 0; v < 256; v++) {
			memcpy(buf, hello_tls12, sizeof(buf));
			buf[i] = (uint8_t)v;
			if (parse(buf, sizeof(buf), &n) == 0)
				assert_true(server_name_valid(n.name));
		}
	}
}

static void
requests_give_their_host(void **state)
{
	static const struct {
		const char *text, *name; /* NULL: -ENODATA, "": -EBADMSG */
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example" },
		{ "POST /x?y=Host: HTTP/1.0\r\nUser-Agent: x\r\nhOsT:\t API.Example.:8443 \r\n\r\n",
		    "api.example" },
		{ "HEAD / HTTP/1.1\nHost: a_b-c\n\n", "a_b-c" },
		{ "DELETE /x HTTP/1.1\r\nHost: a.example\r\n", "a.example" },
		{ "GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nX: y\r\n\r\nHost: a.example\r\n\r\n", NULL },
		{ "GET / HTTP/1.1\r\nHost: 203.0.113.7:80\r\n\r\n", NULL },
		{ "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", NULL },
		{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", NULL },
		{ "GET / HTTP/1.1\r\nHost: a.exam", NULL },
		{ "GET / HTT", NULL },
		{ "GET / HTTP/2.0\r\nHost: a.example\r\n\r\n", "" },
		{ "GET /\r\nHost: a.example\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a\x1b[31m.example\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a..example\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: <b>\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: *.example\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n", "" },
		{ "SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "" },
		{ "GETX / HTTP/1.1\r\nHost: a.example\r\n\r\n", "" },
		{ "", "" },
	};
	struct server_name n;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = parse(cases[i].text, strlen(cases[i].text), &n);

		if (cases[i].name == NULL || cases[i].name[0] == '\0') {
			assert_int_equal(r, cases[i].name == NULL ? -ENODATA : -EBADMSG);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(n.kind, SERVER_NAME_HTTP);
		assert_string_equal(n.name, cases[i].name);
	}
}

static void
names_are_bounded(void **state)
{
	char text[600], name[300];
	struct server_name n;

	for (size_t len = 240; len < sizeof(name); len++) {
		memset(name, 'a', len);
		for (size_t i = 50; i < len - 1; i += 50)
			name[i] = '.';
		name[len] = '\0';
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", name);
		assert_int_equal(parse(text, strlen(text), &n), len <= 253 ? 0 : -EBADMSG);
		assert_int_equal(server_name_valid(name), len <= 253);
	}
	memset(name, 'a', 64);
	name[64] = '\0';
	assert_false(server_name_valid(name));
	assert_true(server_name_valid(name + 1));
	assert_false(server_name_valid(""));
	assert_false(server_name_valid("a."));
	assert_false(server_name_valid("A.example"));
	assert_false(server_name_valid("192.0.2.1"));
}

static int
add(struct seen_as *s, enum server_name_kind kind, const char *text)
{
	struct server_name n = { .kind = kind };

	snprintf(n.name, sizeof(n.name), "%s", text);
	return seen_as_add(s, &n);
}

static void
an_edge_keeps_the_first_few(void **state)
{
	struct seen_as *s = calloc(1, sizeof(*s)), *copy;
	uint8_t buf[SEEN_AS_BYTES_MAX];
	size_t len;

	assert_non_null(s);
	assert_int_equal(add(s, SERVER_NAME_SNI, "a.example"), 1);
	assert_int_equal(add(s, SERVER_NAME_SNI, "a.example"), 0);
	assert_int_equal(add(s, SERVER_NAME_HTTP, "a.example"), 1);
	assert_int_equal(add(s, SERVER_NAME_HTTP, "b.example"), 1);
	assert_int_equal(add(s, SERVER_NAME_HTTP, "c.example"), 1);
	assert_false(s->more);
	assert_int_equal(add(s, SERVER_NAME_HTTP, "d.example"), -ENOSPC);
	assert_int_equal(add(s, SERVER_NAME_SNI, "a.example"), 0);
	assert_true(s->more);
	len = seen_as_write(s, buf);
	assert_int_equal(seen_as_read(buf, len, &copy), 0);
	assert_int_equal(copy->n, SEEN_AS_NAMES);
	assert_true(copy->more);
	assert_string_equal(copy->v[2].name, "b.example");
	seen_as_free(copy);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(seen_as_read(buf, cut, &copy), -EBADMSG);
	buf[1] = 9; /* no such kind */
	assert_int_equal(seen_as_read(buf, len, &copy), -EBADMSG);
	buf[1] = SERVER_NAME_SNI;
	buf[3] = 0x1b;
	assert_int_equal(seen_as_read(buf, len, &copy), -EBADMSG);
	seen_as_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_hellos_give_their_name),
		cmocka_unit_test(a_hello_of_any_length_is_read_as_far_as_it_goes),
		cmocka_unit_test(records_of_one_segment_are_put_together),
		cmocka_unit_test(no_byte_of_a_hello_makes_a_name_that_is_none),
		cmocka_unit_test(requests_give_their_host),
		cmocka_unit_test(names_are_bounded),
		cmocka_unit_test(an_edge_keeps_the_first_few),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
