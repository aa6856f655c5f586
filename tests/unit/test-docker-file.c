/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/docker_file.h"
#include "daemon/grade.h"
#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static size_t
fixture_read(const char *name, char *buf, size_t size)
{
	const char *top = getenv("top_srcdir");
	char path[4096];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/fixtures/%s.json", top != NULL ? top : ".", name);
	f = fopen(path, "re");
	if (f == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	n = fread(buf, 1, size, f);
	fclose(f);
	return n;
}

static struct docker_file
read_both(const char *host)
{
	static char buf[DOCKER_MAX_FILE];
	size_t n = fixture_read("docker-config-v2", buf, sizeof(buf));
	struct docker_file f;

	assert_int_equal(docker_file_read_config(ID, buf, n, &f), 0);
	n = strlen(host);
	if (n == 0)
		n = fixture_read("docker-hostconfig", buf, sizeof(buf));
	assert_int_equal(docker_file_read_host(&f, n == strlen(host) ? host : buf, n), 0);
	return f;
}

static const char *
text(const struct docker_file *f, const char *key)
{
	return json_string_value(json_object_get(f->c.facts, key));
}

static void
the_files_say_what_the_api_would(void **state)
{
	struct docker_file f = read_both("");
	const json_t *labels = json_object_get(f.c.facts, "labels");

	assert_string_equal(text(&f, "name"), "shop-db-1");
	assert_string_equal(text(&f, "id"), ID);
	assert_string_equal(text(&f, "image"), "team/db:2");
	assert_string_equal(text(&f, "imageId"),
	    "sha256:d5f0346a0fc76027702946ff6211df06ba4071a3549202a915f4af64a3fb03d0");
	assert_string_equal(text(&f, "networkMode"), "shop_default");
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(f.c.facts, "networks"), 0)),
	    "shop_default");
	assert_string_equal(
	    json_string_value(json_object_get(labels, "com.docker.compose.service")), "db");
	assert_int_equal(json_object_size(labels), 5);
	assert_int_equal(f.driver, RELAY_DRIVER_OVERLAY2);
	assert_string_equal(f.inspect.image, "team/db:2");
	assert_int_equal(f.inspect.grade, GRADE_NET_ADMIN | GRADE_ENGINE_SOCKET);
	assert_true(f.inspect.known);
	/* As they were when dockerd wrote them: a process may be another one by now. */
	assert_int_equal(f.inspect.pid, 0);
	assert_string_equal(f.inspect.sandbox, "");
	assert_false(f.c.running);
	docker_file_done(&f);
}

static void
whose_network_it_uses_is_told(void **state)
{
	struct docker_file f = read_both("{\"NetworkMode\":\"container:" OTHER "\"}");

	assert_string_equal(f.inspect.shares, OTHER);
	assert_string_equal(text(&f, "networkMode"), "container:" OTHER);
	docker_file_done(&f);
	f = read_both("{\"NetworkMode\":\"host\",\"PidMode\":\"host\"}");
	assert_int_equal(f.inspect.grade,
	    GRADE_HOST_NETWORK | GRADE_HOST_PID | GRADE_NET_RAW | GRADE_ENGINE_SOCKET);
	docker_file_done(&f);
}

static void
what_is_no_such_file_is_refused(void **state)
{
	static const char *const configs[] = { "", "null", "[]", "{}", "{\"ID\":\"" ID "\"}",
		"{\"ID\":\"" ID "\",\"Name\":\"\",\"Config\":{}}",
		"{\"ID\":\"" ID "\",\"Name\":\"/x\",\"Config\":[]}",
		"{\"ID\":\"" OTHER "\",\"Name\":\"/x\",\"Config\":{}}" };
	static const char *const hosts[] = { "", "{}", "[]", "{\"NetworkMode\":7}",
		"{\"NetworkMode\":\"default\"" };
	static const char least[] = "{\"ID\":\"" ID "\",\"Name\":\"/x\",\"Config\":{}}";
	static char big[DOCKER_MAX_FILE + 1];
	struct docker_file f;
	json_t *labels;

	for (size_t i = 0; i < ARRAY_SIZE(configs); i++)
		assert_int_equal(
		    docker_file_read_config(ID, configs[i], strlen(configs[i]), &f), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		assert_int_equal(docker_file_read_config(ID, least, strlen(least), &f), 0);
		assert_int_equal(f.driver, -1);
		assert_int_equal(docker_file_read_host(&f, hosts[i], strlen(hosts[i])), -EBADMSG);
		docker_file_done(&f);
	}
	assert_int_equal(docker_file_read_config(ID, big, sizeof(big), &f), -E2BIG);
	assert_int_equal(docker_file_read_image(big, sizeof(big), &labels), -E2BIG);
}

/* Of an image's text dockerd takes more keys for "Labels" than that one. */
static void
an_image_cannot_hide_its_labels(void **state)
{
	static const struct {
		const char *text;
		int labels; /* how many, or the error */
	} cases[] = {
		{ "{\"config\":{\"Labels\":{\"a\":\"b\"}}}", 1 },
		{ "{\"config\":{\"Labels\":null}}", 0 },
		{ "{\"config\":{}}", 0 },
		{ "{\"config\":{\"Labels\":{}},\"container_config\":{\"Labels\":{\"a\":\"b\"}}}",
		    0 },
		{ "{}", -EBADMSG },
		{ "{\"config\":null}", -EBADMSG },
		{ "{\"config\":{\"Labels\":[]}}", -EBADMSG },
		{ "{\"Config\":{\"Labels\":{\"a\":\"b\"}}}", -EBADMSG },
		{ "{\"config\":{},\"CONFIG\":{\"Labels\":{\"a\":\"b\"}}}", -EBADMSG },
		{ "{\"config\":{},\"config\":{\"Labels\":{\"a\":\"b\"}}}", -EBADMSG },
		{ "{\"config\":{\"Labels\":{\"a\":\"b\"},\"Labels\":{}}}", -EBADMSG },
		{ "{\"config\":{\"labels\":{\"a\":\"b\"}}}", -EBADMSG },
		{ "{\"config\":{\"LABELS\":{\"a\":\"b\"},\"Labels\":{}}}", -EBADMSG },
		{ "{\"config\":{\"label\xc5\xbf\":{\"a\":\"b\"}}}", -EBADMSG },
		{ "{\"config\":{\"label\\u017f\":{\"a\":\"b\"}}}", -EBADMSG },
		{ "{\"config\":{\"\\u004cabels\":{\"a\":\"b\"}}}", 1 },
		{ "{\"config\":{\"Labels\":{\"a\":\"\\u0000\"}}}", -EBADMSG },
	};
	static char buf[DOCKER_MAX_FILE];
	json_t *labels;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = docker_file_read_image(cases[i].text, strlen(cases[i].text), &labels);

		if (r == 0) {
			r = (int)json_object_size(labels);
			json_decref(labels);
		}
		if (r != cases[i].labels)
			fail_msg("%s: %d", cases[i].text, r);
	}
	assert_int_equal(
	    docker_file_read_image(buf, fixture_read("docker-image", buf, sizeof(buf)), &labels),
	    0);
	assert_string_equal(json_string_value(json_object_get(labels, "maintainer")), "team");
	json_decref(labels);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_files_say_what_the_api_would),
		cmocka_unit_test(whose_network_it_uses_is_told),
		cmocka_unit_test(what_is_no_such_file_is_refused),
		cmocka_unit_test(an_image_cannot_hide_its_labels),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
