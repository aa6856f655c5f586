/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of containers, as engines send them. */
#include "daemon/docker.h"
#include "rules/util.h"
#include "rules/workload.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FFFD "\xef\xbf\xbd"

static struct docker_container
parse(const char *json)
{
	struct docker_container c = { .facts = NULL };

	assert_int_equal(docker_parse_container(json, strlen(json), &c), 0);
	return c;
}

static const char *
text(const struct docker_container *c, const char *key)
{
	return json_string_value(json_object_get(c->facts, key));
}

static const char *
label(const struct docker_container *c, const char *key)
{
	return json_string_value(json_object_get(json_object_get(c->facts, "labels"), key));
}

static void
a_list_is_taken_apart_before_it_is_parsed(void **state)
{
	static const struct {
		const char *list;
		int n; /* elements, or the error */
	} cases[] = {
		{ "[]", 0 },
		{ " [ ] \n", 0 },
		{ "[1]", 1 },
		{ "[{\"a\":[1,2]},\"],[\", \"\\\"]\" ]", 3 },
		{ "[nonsense,{}]", 2 }, /* judged by itself, later */
		{ "", -EBADMSG },
		{ "{}", -EBADMSG },
		{ "null", -EBADMSG },
		{ "[", -EBADMSG },
		{ "[1", -EBADMSG },
		{ "[1,", -EBADMSG },
		{ "[1,]", -EBADMSG },
		{ "[,1]", -EBADMSG },
		{ "[}]", -EBADMSG },
		{ "[\"abc]", -EBADMSG },
		{ "[\"abc\\", -EBADMSG },
		{ "[1]]", -EBADMSG },
		{ "[1][2]", -EBADMSG },
		{ "[] x", -EBADMSG },
	};
	const char *elem;
	size_t pos, len;
	int r, n;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		n = 0;
		pos = 0;
		while ((r = docker_list_next(
			    cases[i].list, strlen(cases[i].list), &pos, &elem, &len)) == 1)
			n++;
		if ((r < 0 ? r : n) != cases[i].n)
			fail_msg("%s: %d elements, then %d", cases[i].list, n, r);
	}
}

static void
a_list_that_is_nested_too_deep_is_refused(void **state)
{
	char deep[1000];
	const char *elem;
	size_t pos = 0, len;

	memset(deep, '[', 500);
	memset(deep + 500, ']', 500);
	assert_int_equal(docker_list_next(deep, sizeof(deep), &pos, &elem, &len), -EBADMSG);
	assert_int_equal(docker_list_next(deep + 300, 400, &pos, &elem, &len), 1);
}

static void
facts_are_as_the_engine_says(void **state)
{
	struct docker_container c =
	    parse("{\"Id\":\"" ID "\",\"Names\":[\"/web/alias\",\"/quirky_turing\"],"
		  "\"Image\":\"nginx:1\",\"ImageID\":\"sha256:" ID "\",\"Created\":7,"
		  "\"Labels\":{\"a\":\"b\"},\"State\":\"running\","
		  "\"HostConfig\":{\"NetworkMode\":\"host\"}}");

	assert_string_equal(c.id, ID);
	assert_string_equal(c.image_id, "sha256:" ID);
	assert_true(c.running);
	assert_string_equal(text(&c, "name"), "quirky_turing");
	assert_true(json_is_true(json_object_get(c.facts, "nameGenerated")));
	assert_string_equal(text(&c, "networkMode"), "host");
	assert_string_equal(label(&c, "a"), "b");
	assert_true(json_is_false(json_object_get(c.facts, "altered")));
	docker_container_done(&c);
}

/* Not the host's, none, nor what is too much. */
static void
each_network_is_named_and_their_number_is_bounded(void **state)
{
	static const char hostile[] = "[],\"NetworkSettings\":{\"Networks\":[\"a\"]},\"Mounts\":7";
	char json[8192] = "{\"Id\":\"" ID "\",\"NetworkSettings\":{\"Networks\":{"
			  "\"front\":{},\"back\":null,\"host\":{},\"none\":{},\"n\\nl\":{}",
	     other[512];
	struct docker_container c;
	json_t *list;

	snprintf(json + strlen(json), 400, ",\"%0*d\":{}", DOCKER_MAX_NETWORK + 1, 0);
	for (unsigned k = 0; k < 100; k++)
		snprintf(json + strlen(json), 32, ",\"n%u\":{}", k);
	snprintf(json + strlen(json), 4, "}}}");
	c = parse(json);
	list = json_object_get(c.facts, "networks");
	assert_int_equal(json_array_size(list), DOCKER_MAX_NETWORKS);
	assert_string_equal(json_string_value(json_array_get(list, 0)), "front");
	assert_string_equal(json_string_value(json_array_get(list, 1)), "back");
	assert_string_equal(json_string_value(json_array_get(list, 3)), "n0");
	docker_container_done(&c);
	snprintf(other, sizeof(other), "{\"Id\":\"" ID "\",\"Names\":%s}", hostile);
	c = parse(other);
	assert_int_equal(json_array_size(json_object_get(c.facts, "networks")), 0);
	docker_container_done(&c);
}

/* "proto address port-last>to" for each, in order; then how many were left out. */
static void
ports_text(const char *json, char *out, size_t size)
{
	json_t *in = json_loads(json, 0, NULL), *list, *o;
	json_int_t left_out;
	size_t i, len = 0;

	assert_non_null(in);
	assert_int_equal(docker_ports(in, &list, &left_out), 0);
	json_array_foreach(list, i, o)
	{
		len += (size_t)snprintf(out + len, size - len, "%s %s %d-%d>%d, ",
		    json_string_value(json_object_get(o, "proto")),
		    json_string_value(json_object_get(o, "address")),
		    (int)json_integer_value(json_object_get(o, "port")),
		    (int)json_integer_value(json_object_get(o, "last")),
		    (int)json_integer_value(json_object_get(o, "to")));
		assert_true(len < size);
	}
	snprintf(out + len, size - len, "%d left out", (int)left_out);
	json_decref(list);
	json_decref(in);
}

#define PORT(ip, from, to, type) \
	"{\"IP\":\"" ip "\",\"PublicPort\":" #from ",\"PrivatePort\":" #to ",\"Type\":\"" type "\"}"

static void
published_ports_are_ranges(void **state)
{
	static const struct {
		const char *json, *expect;
	} cases[] = {
		{ "[]", "0 left out" },
		{ "[{\"PrivatePort\":80,\"Type\":\"tcp\"}]", "0 left out" }, /* exposed only */
		{ "[" PORT("0.0.0.0", 8080, 80, "tcp") "," PORT("::", 8080, 80, "tcp") "]",
		    "tcp  8080-8080>80, 0 left out" },
		{ "[" PORT("", 8080, 80, "tcp") "," PORT("127.0.0.1", 53, 53, "udp") "]",
		    "tcp  8080-8080>80, udp 127.0.0.1 53-53>53, 0 left out" },
		{ "[" PORT("", 12, 22, "tcp") "," PORT("", 10, 20, "tcp") "," PORT("", 11, 21,
		      "tcp") "," PORT("", 14, 24, "tcp") "," PORT("", 13, 99, "tcp") "]",
		    "tcp  10-12>20, tcp  13-13>99, tcp  14-14>24, 0 left out" },
		{ "[" PORT("x", 1, 1, "tcp") "," PORT("", 65536, 1, "tcp") "," PORT("", 1, 0,
		      "tcp") "," PORT("", 1, 1, "icmp") ",7,null," PORT("", 1, 1, "sctp") "]",
		    "sctp  1-1>1, 4 left out" },
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ports_text(cases[i].json, text, sizeof(text));
		assert_string_equal(text, cases[i].expect);
	}
}

static void
published_ports_are_bounded(void **state)
{
	json_t *in = json_array(), *list;
	json_int_t left_out;

	for (int i = 0; i < 2000; i++)
		json_array_append_new(in, json_pack("{s:i, s:i, s:s}", "PublicPort", 2 * i + 1,
					      "PrivatePort", 1, "Type", "tcp"));
	assert_int_equal(docker_ports(in, &list, &left_out), 0);
	assert_int_equal(json_array_size(list), DOCKER_MAX_PORTS);
	assert_int_equal(left_out, 2000 - DOCKER_MAX_PORTS);
	json_decref(list);
	json_decref(in);
}

static void
what_is_missing_is_empty(void **state)
{
	struct docker_container c = parse("{\"Id\":\"" ID "\",\"ImageID\":\"../../x\"}");

	assert_string_equal(c.image_id, "");
	assert_false(c.running);
	assert_string_equal(text(&c, "name"), "");
	assert_int_equal(json_object_size(json_object_get(c.facts, "labels")), 0);
	docker_container_done(&c);
}

static void
bytes_that_json_refuses_are_replaced_and_marked(void **state)
{
	static const struct {
		const char *name, *expect;
		bool altered;
	} cases[] = {
		{ "a\\u0000b", "a" FFFD "b", true },
		{ "a\\\\u0000b", "a\\u0000b", false },
		{ "\\ud800x", FFFD "x", true },
		{ "\\udc00", FFFD, true },
		{ "\\ud83d\\ude00", "\xf0\x9f\x98\x80", false },
		{ "\\ud83d\\u0041", FFFD "A", true },
		{ "\xff\xfe", FFFD FFFD, true },
		{ "\xc3\xa9", "\xc3\xa9", false },
		{ "\\u001b[31m\\n", "\x1b[31m\n", false },
	};
	char json[300];
	struct docker_container c;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(json, sizeof(json),
		    "{\"Id\":\"" ID "\",\"Names\":[\"/%s\"],\"Labels\":{\"k%s\":\"v\"}}",
		    cases[i].name, cases[i].name);
		c = parse(json);
		if (strcmp(text(&c, "name"), cases[i].expect) != 0 ||
		    json_is_true(json_object_get(c.facts, "altered")) != cases[i].altered)
			fail_msg("%s: got %s", cases[i].name, text(&c, "name"));
		assert_int_equal(json_object_size(json_object_get(c.facts, "labels")), 1);
		docker_container_done(&c);
	}
}

static void
what_is_no_container_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"null",
		"{}",
		"{\"Id\":7}",
		"{\"Id\":\"abc\"}",
		"{\"Id\":\"" ID "0\"}",
		"{\"Id\":\"../" ID "\"}",
		"{\"Id\":\"" ID "\"",
		"{\"Id\":\"" ID "\"} x",
		"{\"Id\":\"" ID "\",\"Names\":[\"\x01\"]}",
	};
	struct docker_container c;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (docker_parse_container(bad[i], strlen(bad[i]), &c) != -EBADMSG)
			fail_msg("%s", bad[i]);
}

/* n labels of the given size, then what identity is decided by. */
static char *
many_labels(size_t n, size_t size, const char *last)
{
	char *json = malloc(n * (size + 40) + 1000), *p = json;

	assert_non_null(json);
	p += snprintf(p, 200, "{\"Id\":\"" ID "\",\"Config\":{\"Labels\":{\"x\":\"y\"");
	for (size_t i = 0; i < n; i++) {
		p += snprintf(p, 40, ",\"a%zu\":\"", i);
		memset(p, 'v', size);
		p += size;
		*p++ = '"';
	}
	p += snprintf(p, 500, ",%s}}}", last);
	return json;
}

static void
no_number_of_labels_pushes_out_what_decides_identity(void **state)
{
	static const struct {
		size_t n, size;
		size_t left;
	} cases[] = { { 1000, 10, DOCKER_MAX_LABELS }, { 60, 2000, 62 },
		{ 255, 255, DOCKER_MAX_LABELS }, { 300, 3000, DOCKER_MAX_LABELS } };
	char witness[100], *json;
	const char *key;
	json_t *labels;

	for (size_t k = 0; (key = workload_identity_labels[k]) != NULL; k++) {
		snprintf(witness, sizeof(witness), "\"%s\":\"h\"", key);
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			json = many_labels(cases[i].n, cases[i].size, witness);
			assert_int_equal(docker_parse_image(json, strlen(json), &labels), 0);
			assert_non_null(json_object_get(labels, key));
			assert_int_equal(json_object_size(labels), cases[i].left);
			json_decref(labels);
			free(json);
		}
	}
}

/* Whatever of an image is not known, more of its containers' is not: those say so. */
static void
an_image_keeps_its_keys_rather_than_their_values(void **state)
{
	char *json = many_labels(60, 2000, "\"z\":\"v\"");
	json_t *labels;

	assert_int_equal(docker_parse_image(json, strlen(json), &labels), 0);
	assert_string_equal(json_string_value(json_object_get(labels, "z")), "");
	assert_string_equal(json_string_value(json_object_get(labels, "a59")), "");
	json_decref(labels);
	free(json);
	json = many_labels(3, 2000, "\"z\":\"v\"");
	assert_int_equal(docker_parse_image(json, strlen(json), &labels), 0);
	assert_string_equal(json_string_value(json_object_get(labels, "z")), "v");
	json_decref(labels);
	free(json);
}

static void
labels_left_out_are_counted(void **state)
{
	char *json = malloc(100000), *p = json;
	struct docker_container c;

	assert_non_null(json);
	p += snprintf(p, 200, "{\"Id\":\"" ID "\",\"Labels\":{\"n\":7,\"o\":{},\"x\":\"y\"");
	for (int i = 0; i < 300; i++)
		p += snprintf(p, 40, ",\"l%d\":\"v\"", i);
	snprintf(p, 40, "}}");
	c = parse(json);
	assert_int_equal(json_object_size(json_object_get(c.facts, "labels")), DOCKER_MAX_LABELS);
	assert_int_equal(json_integer_value(json_object_get(c.facts, "labelsLeftOut")), 2 + 45);
	docker_container_done(&c);
	free(json);
}

static void
long_texts_are_cut_and_stay_apart(void **state)
{
	char *a = malloc(20000), *b = malloc(20000), x[6000];
	struct docker_container ca, cb;

	assert_true(a != NULL && b != NULL);
	memset(x, 'n', sizeof(x));
	x[sizeof(x) - 1] = '\0';
	snprintf(
	    a, 20000, "{\"Id\":\"" ID "\",\"Names\":[\"/%s1\"],\"Labels\":{\"k\":\"%s1\"}}", x, x);
	snprintf(
	    b, 20000, "{\"Id\":\"" ID "\",\"Names\":[\"/%s2\"],\"Labels\":{\"k\":\"%s2\"}}", x, x);
	ca = parse(a);
	cb = parse(b);
	assert_int_equal(strlen(text(&ca, "name")), DOCKER_MAX_TEXT);
	assert_string_not_equal(text(&ca, "name"), text(&cb, "name"));
	assert_string_not_equal(label(&ca, "k"), label(&cb, "k"));
	assert_true(json_is_true(json_object_get(ca.facts, "altered")));
	docker_container_done(&ca);
	docker_container_done(&cb);
	free(a);
	free(b);
}

static void
labels_of_an_image_are_known_or_refused(void **state)
{
	static const struct {
		const char *json;
		int expect; /* labels, or the error */
	} cases[] = {
		{ "{\"Config\":{\"Labels\":{\"a\":\"b\"}}}", 1 },
		{ "{\"Config\":{\"Labels\":null}}", 0 },
		{ "{\"Config\":{}}", 0 },
		{ "{\"Config\":{\"Labels\":[\"a\"]}}", -EBADMSG },
		{ "{\"Config\":{\"Labels\":\"a\"}}", -EBADMSG },
		{ "{\"Config\":null}", -EBADMSG },
		{ "{\"message\":\"no such image\"}", -EBADMSG },
		{ "[]", -EBADMSG },
	};
	json_t *labels;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		labels = NULL;
		r = docker_parse_image(cases[i].json, strlen(cases[i].json), &labels);
		if ((r < 0 ? r : (int)json_object_size(labels)) != cases[i].expect)
			fail_msg("%s: %d", cases[i].json, r);
		json_decref(labels);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_taken_apart_before_it_is_parsed),
		cmocka_unit_test(a_list_that_is_nested_too_deep_is_refused),
		cmocka_unit_test(facts_are_as_the_engine_says),
		cmocka_unit_test(what_is_missing_is_empty),
		cmocka_unit_test(bytes_that_json_refuses_are_replaced_and_marked),
		cmocka_unit_test(what_is_no_container_is_refused),
		cmocka_unit_test(no_number_of_labels_pushes_out_what_decides_identity),
		cmocka_unit_test(an_image_keeps_its_keys_rather_than_their_values),
		cmocka_unit_test(labels_left_out_are_counted),
		cmocka_unit_test(long_texts_are_cut_and_stay_apart),
		cmocka_unit_test(labels_of_an_image_are_known_or_refused),
		cmocka_unit_test(each_network_is_named_and_their_number_is_bounded),
		cmocka_unit_test(published_ports_are_ranges),
		cmocka_unit_test(published_ports_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
