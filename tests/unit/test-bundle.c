/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/bundle.h"
#include "daemon/grade.h"
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
#define SANDBOX "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

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

/* The name that the controller gives to such facts. */
static void
identify(const json_t *o, char *ret, size_t size)
{
	const json_t *labels = json_object_get(o, "labels");
	struct label list[16];
	struct container_facts f = { .id = ID, .labels = list };
	struct workload_id id;
	const char *key, *runtime = json_string_value(json_object_get(o, "runtime"));
	json_t *value;

	json_object_foreach((json_t *)labels, key, value)
	{
		list[f.n_labels++] = (struct label){ key, json_string_value(value) };
	}
	for (int r = 0; r <= RUNTIME_CRI; r++)
		if (strcmp(runtime_name((enum runtime)r), runtime) == 0)
			f.runtime = (enum runtime)r;
	f.name = json_string_value(json_object_get(o, "name"));
	f.image = json_string_value(json_object_get(o, "image"));
	f.name_generated = json_is_true(json_object_get(o, "nameGenerated"));
	f.pod_labels_unknown = !json_is_true(json_object_get(o, "podLabels"));
	workload_identify(&f, &id);
	snprintf(ret, size, "%s", id.name);
}

static void
a_bundle_is_believed_by_its_place(void **state)
{
	static const struct {
		const char *fixture;
		enum relay_place place;
		int r;
		const char *runtime, *name, *workload, *shares;
		unsigned grade;
	} cases[] = {
		{ "nerdctl", RELAY_PLACE_CONTAINERD, 0, "containerd", "web", "web", "",
		    GRADE_NET_RAW },
		{ "nerdctl-generated", RELAY_PLACE_CONTAINERD, 0, "containerd", "alpine-01234",
		    "0123456789ab", "", GRADE_NET_RAW },
		/* Annotations of Kubernetes in a namespace where anyone may write them. */
		{ "ctr", RELAY_PLACE_CONTAINERD, 0, "containerd", "", "0123456789ab", "",
		    GRADE_NET_RAW },
		{ "docker", RELAY_PLACE_DOCKER, 0, "docker", "", "0123456789ab", "",
		    GRADE_NET_RAW | GRADE_NET_ADMIN | GRADE_ENGINE_SOCKET | GRADE_USERNS },
		{ "docker", RELAY_PLACE_MOBY, 0, "docker", "", "0123456789ab", "",
		    GRADE_NET_RAW | GRADE_NET_ADMIN | GRADE_ENGINE_SOCKET | GRADE_USERNS },
		{ "cri-sandbox", RELAY_PLACE_CRI, 0, "cri", "api-7d4b9c6f5-x2x9z", "prod/api",
		    SANDBOX, GRADE_NET_RAW },
		{ "cri-container", RELAY_PLACE_CRI, 0, "cri", "api", "prod/api", SANDBOX,
		    GRADE_NET_RAW | GRADE_NET_ADMIN | GRADE_ENGINE_SOCKET },
		{ "cri-host", RELAY_PLACE_CRI, 0, "cri", "node-exporter-x2x9z",
		    "prod/node-exporter", SANDBOX,
		    GRADE_NET_RAW | GRADE_HOST_NETWORK | GRADE_HOST_PID },
		{ "cri-sandbox", RELAY_PLACE_MOBY, 0, "docker", "", "0123456789ab", "",
		    GRADE_NET_RAW },
		{ "nerdctl", RELAY_PLACE_CRI, -EBADMSG, NULL, NULL, NULL, NULL, 0 },
		{ "crio-sandbox", RELAY_PLACE_CRIO, 0, "cri", "api-7d4b9c6f5-x2x9z", "prod/api",
		    SANDBOX, GRADE_NET_RAW },
		{ "crio-container", RELAY_PLACE_CRIO, 0, "cri", "api", "prod/api", SANDBOX,
		    GRADE_NET_RAW },
		{ "crio-claims", RELAY_PLACE_CRIO, 0, "cri", "api-7d4b9c6f5-x2x9z", "prod/api",
		    SANDBOX, GRADE_NET_RAW },
		{ "crio-labels-claimed", RELAY_PLACE_CRIO, -EBADMSG, NULL, NULL, NULL, NULL, 0 },
		{ "podman", RELAY_PLACE_CRIO, -EBADMSG, NULL, NULL, NULL, NULL, 0 },
		{ "podman", RELAY_PLACE_PODMAN, 0, "podman", "", "0123456789ab", "",
		    GRADE_NET_RAW },
		{ "podman-claims", RELAY_PLACE_PODMAN, 0, "podman", "", "0123456789ab", "",
		    GRADE_NET_RAW },
	};
	static char buf[BUNDLE_MAX];
	char workload[PEER_NAME_MAX + 1];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bundle b = { .facts = NULL };
		size_t n = fixture_read(cases[i].fixture, buf, sizeof(buf));
		int r = bundle_parse(cases[i].place, ID, buf, n, &b);

		if (r != cases[i].r)
			fail_msg("%s: %d", cases[i].fixture, r);
		if (r < 0)
			continue;
		identify(b.facts, workload, sizeof(workload));
		if (strcmp(json_string_value(json_object_get(b.facts, "runtime")),
			cases[i].runtime) != 0 ||
		    strcmp(json_string_value(json_object_get(b.facts, "name")), cases[i].name) !=
			0 ||
		    strcmp(workload, cases[i].workload) != 0 ||
		    strcmp(b.shares, cases[i].shares) != 0 ||
		    grade_from_json(json_object_get(b.facts, "grade")) != cases[i].grade)
			fail_msg("%s: %s, %s", cases[i].fixture, workload,
			    json_dumps(b.facts, JSON_COMPACT));
		bundle_done(&b);
	}
}

static void
a_sandbox_is_its_own(void **state)
{
	static char buf[BUNDLE_MAX];
	size_t n = fixture_read("cri-sandbox", buf, sizeof(buf));
	struct bundle b;

	assert_int_equal(bundle_parse(RELAY_PLACE_CRI, SANDBOX, buf, n, &b), 0);
	assert_string_equal(b.shares, "");
	bundle_done(&b);
}

static void
podman_names_come_from_its_storage(void **state)
{
	static char buf[BUNDLE_MAX], names[BUNDLE_MAX];
	size_t n = fixture_read("podman", buf, sizeof(buf));
	size_t len = fixture_read("podman-names", names, sizeof(names));
	struct bundle b;

	assert_int_equal(bundle_parse(RELAY_PLACE_PODMAN, ID, buf, n, &b), 0);
	assert_int_equal(bundle_add_names(names, len, ID, &b), 0);
	assert_string_equal(json_string_value(json_object_get(b.facts, "name")), "web");
	assert_string_equal(
	    json_string_value(json_object_get(b.facts, "image")), "localhost/web:2");
	assert_int_equal(strlen(json_string_value(json_object_get(b.facts, "imageId"))), 71);
	assert_int_equal(
	    bundle_add_names(names, len, "00" SANDBOX, &b), -ENOENT); /* not in the list */
	assert_int_equal(bundle_add_names(names, len / 2, ID, &b), -EBADMSG);
	assert_int_equal(bundle_add_names("{}", 2, ID, &b), -EBADMSG);
	assert_string_equal(json_string_value(json_object_get(b.facts, "name")), "web");
	bundle_done(&b);
}

static void
a_bundle_cut_anywhere_is_refused(void **state)
{
	static char buf[BUNDLE_MAX];
	size_t n = fixture_read("cri-container", buf, sizeof(buf));
	struct bundle b;

	while (buf[n - 1] != '}')
		n--;
	for (size_t k = 0; k < n; k++) {
		char *copy = malloc(k > 0 ? k : 1);

		assert_non_null(copy);
		memcpy(copy, buf, k);
		assert_int_equal(bundle_parse(RELAY_PLACE_CRI, ID, copy, k, &b), -EBADMSG);
		free(copy);
	}
}

static void
what_is_no_bundle_is_refused(void **state)
{
	static const char *const cases[] = { "", "null", "[]", "7", "{}", "{\"linux\":7}",
		"{\"annotations\":{}}" };
	static char big[BUNDLE_MAX + 1];
	struct bundle b;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (int place = 0; place < RELAY_PLACES; place++)
			assert_int_equal(bundle_parse((enum relay_place)place, ID, cases[i],
					     strlen(cases[i]), &b),
			    -EBADMSG);
	assert_int_equal(bundle_parse(RELAY_PLACE_CRI, ID, big, sizeof(big), &b), -E2BIG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bundle_is_believed_by_its_place),
		cmocka_unit_test(a_sandbox_is_its_own),
		cmocka_unit_test(podman_names_come_from_its_storage),
		cmocka_unit_test(a_bundle_cut_anywhere_is_refused),
		cmocka_unit_test(what_is_no_bundle_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
