/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The word lists are private; the archive's own copy is not linked then. */
#include "rules/generated_names.c"

#include "rules/workload.h"

#include "rules/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#define PROJECT "com.docker.compose.project"
#define SERVICE "com.docker.compose.service"
#define HASH "com.docker.compose.config-hash"
#define ONEOFF "com.docker.compose.oneoff"
#define ID64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define CLAIM                  \
	{ PROJECT, "shop" },   \
	{                      \
		SERVICE, "api" \
	}
#define WITNESS           \
	{                 \
		HASH, "h" \
	}

static const struct identity_case {
	const char *what;
	enum runtime runtime;
	const char *name, *image;
	struct label labels[6], image_labels[6];
	bool image_unknown, generated;
	const char *expect;
	bool one_off, refused;
} identity_cases[] = {
	{ "a service of Compose", RUNTIME_DOCKER, "shop-api-1", "nginx:1", { CLAIM, WITNESS }, {},
	    false, false, "shop/api", false, false },
	{ "an image built by Compose, started by Compose", RUNTIME_DOCKER, "shop-api-1", "shop_api",
	    { CLAIM, WITNESS }, { CLAIM }, false, false, "shop/api", false, false },
	{ "an image built by Compose, started by hand", RUNTIME_DOCKER, "evil", "shop_api",
	    { CLAIM }, { CLAIM }, false, false, "evil", false, true },
	{ "an image that carries the witness too", RUNTIME_DOCKER, "evil", "evil:1",
	    { CLAIM, WITNESS }, { CLAIM, WITNESS }, false, false, "evil", false, true },
	{ "an image with another hash than the container", RUNTIME_DOCKER, "evil", "evil:1",
	    { CLAIM, { HASH, "x" } }, { CLAIM, { HASH, "y" } }, false, false, "evil", false, true },
	{ "an image with an empty witness", RUNTIME_DOCKER, "evil", "evil:1", { CLAIM, WITNESS },
	    { { HASH, "" } }, false, false, "evil", false, true },
	{ "a witness in the image alone", RUNTIME_DOCKER, "evil", "evil:1", { CLAIM }, { WITNESS },
	    false, false, "evil", false, true },
	{ "labels of the image not known", RUNTIME_DOCKER, "shop-api-1", "nginx",
	    { CLAIM, WITNESS }, {}, true, false, "shop-api-1", false, true },
	{ "an empty witness on the container", RUNTIME_DOCKER, "c", "nginx",
	    { CLAIM, { HASH, "" } }, {}, false, false, "c", false, true },
	{ "a project without a service", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, "shop" }, WITNESS }, {}, false, false, "c", false, false },
	{ "an empty service", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, "shop" }, { SERVICE, "" }, WITNESS }, {}, false, false, "c", false,
	    false },
	{ "a label without a value", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, NULL }, { NULL, "x" }, { SERVICE, "api" }, WITNESS }, {}, false, false,
	    "c", false, false },
	{ "compose run", RUNTIME_DOCKER, "shop_api_run_1", "nginx",
	    { CLAIM, WITNESS, { ONEOFF, "True" } }, {}, false, false, "shop/api/run", true, false },
	{ "a service that is no one-off", RUNTIME_DOCKER, "shop_api_1", "nginx",
	    { CLAIM, WITNESS, { ONEOFF, "False" } }, {}, false, false, "shop/api", false, false },
	{ "a slash in a project", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, "shop/api" }, { SERVICE, "x" }, WITNESS }, {}, false, false,
	    "shop%2Fapi/x", false, false },
	{ "a project that spells an escape", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, "shop%2Fapi" }, { SERVICE, "x" }, WITNESS }, {}, false, false,
	    "shop%252Fapi/x", false, false },
	{ "a service called api/run", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, "shop" }, { SERVICE, "api/run" }, WITNESS }, {}, false, false,
	    "shop/api%2Frun", false, false },
	{ "bytes that are not UTF-8", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, "s\xff\xc3" }, { SERVICE, "\xc0\x80\xed\xa0\x80z" }, WITNESS }, {}, false,
	    false, "s%FF%C3/%C0%80%ED%A0%80z", false, false },
	{ "UTF-8 stays", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, "caf\xc3\xa9" }, { SERVICE, "\xf0\x9f\x90\xb3" }, WITNESS }, {}, false,
	    false, "caf\xc3\xa9/\xf0\x9f\x90\xb3", false, false },
	{ "a project called like a user", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, "user-1000" }, { SERVICE, "web" }, WITNESS }, {}, false, false,
	    "%75ser-1000/web", false, false },
	{ "a namespace of Kubernetes called like a user", RUNTIME_CRI, "c", "nginx",
	    { { "io.kubernetes.pod.namespace", "user-0" }, { "io.kubernetes.pod.name", "web" } },
	    {}, false, false, "%75ser-0/web", false, false },
	{ "a project that only begins like one", RUNTIME_DOCKER, "c", "nginx",
	    { { PROJECT, "user-1000x" }, { SERVICE, "web" }, WITNESS }, {}, false, false,
	    "user-1000x/web", false, false },
	{ "a container called host", RUNTIME_DOCKER, "host", "nginx", {}, {}, false, false, "host",
	    false, false },
	{ "a container name with a slash", RUNTIME_PODMAN, "shop/api", "nginx", {}, {}, false,
	    false, "shop%2Fapi", false, false },
	{ "a generated name", RUNTIME_DOCKER, "quirky_turing", "nginx:1.2", {}, {}, false, true,
	    "nginx", false, false },
	{ "a generated name and an image named like a service", RUNTIME_DOCKER, "quirky_turing",
	    "shop/api:2", {}, {}, false, true, "shop%2Fapi", false, false },
	{ "a generated name under Podman is the same workload as under Docker", RUNTIME_PODMAN,
	    "quirky_turing", "docker.io/library/nginx:1.2", {}, {}, false, true, "nginx", false,
	    false },
	{ "a generated name and an image made here", RUNTIME_PODMAN, "quirky_turing",
	    "localhost/web:latest", {}, {}, false, true, "web", false, false },
	{ "a Swarm service without its task", RUNTIME_DOCKER, "c", "nginx",
	    { { "com.docker.swarm.service.name", "st_web" } }, {}, false, false, "c", false, true },
	{ "a Swarm service where the image could not be asked", RUNTIME_DOCKER, "c", "nginx",
	    { { "com.docker.swarm.service.name", "st_web" },
		{ "com.docker.swarm.task.id", "xyz" } },
	    {}, true, false, "c", false, true },
	{ "a one-off claim out of the image of a service by hand", RUNTIME_DOCKER, "c", "evil",
	    { CLAIM, { ONEOFF, "True" } }, { CLAIM, { ONEOFF, "True" } }, false, false, "c", false,
	    true },
	{ "a generated name and an image id", RUNTIME_DOCKER, "quirky_turing", "sha256:" ID64, {},
	    {}, false, true, "0123456789ab", false, false },
	{ "no name and no image", RUNTIME_DOCKER, NULL, NULL, {}, {}, false, false, "0123456789ab",
	    false, false },
	{ "a plain namespace", RUNTIME_NETNS, "blue", NULL, {}, {}, false, true, "blue", false,
	    false },
	{ "a plain namespace never takes labels", RUNTIME_NETNS, "blue", NULL, { CLAIM, WITNESS },
	    {}, false, false, "blue", false, false },
	{ "a task of Swarm", RUNTIME_DOCKER, "st_web.1.xyz", "nginx",
	    { { "com.docker.swarm.service.name", "st_web" },
		{ "com.docker.swarm.task.id", "xyz" } },
	    {}, false, false, "st_web", false, false },
	{ "a Swarm claim of an image", RUNTIME_DOCKER, "evil", "evil",
	    { { "com.docker.swarm.service.name", "st_web" },
		{ "com.docker.swarm.task.id", "xyz" } },
	    { { "com.docker.swarm.task.id", "q" } }, false, false, "evil", false, true },
	{ "a Kubernetes claim outside CRI", RUNTIME_DOCKER, "evil", "evil",
	    { { "io.kubernetes.pod.namespace", "kube-system" },
		{ "io.kubernetes.pod.name", "dns" } },
	    {}, false, false, "evil", false, true },
	{ "a pod of a deployment", RUNTIME_CRI, "k8s", "nginx",
	    { { "io.kubernetes.pod.namespace", "prod" },
		{ "io.kubernetes.pod.name", "api-7d4b9c6f5-x2x9z" },
		{ "pod-template-hash", "7d4b9c6f5" } },
	    {}, false, false, "prod/api", false, false },
	{ "a pod whose name only looks like a deployment's", RUNTIME_CRI, "k8s", "nginx",
	    { { "io.kubernetes.pod.namespace", "prod" },
		{ "io.kubernetes.pod.name", "api-7d4b9c6f5-x2x9z" } },
	    {}, false, false, "prod/api-7d4b9c6f5-x2x9z", false, false },
	{ "a pod of another hash", RUNTIME_CRI, "k8s", "nginx",
	    { { "io.kubernetes.pod.namespace", "prod" },
		{ "io.kubernetes.pod.name", "api-7d4b9c6f5-x2x9z" },
		{ "pod-template-hash", "ffffffffffffffff" } },
	    {}, false, false, "prod/api-7d4b9c6f5-x2x9z", false, false },
	{ "a pod of a stateful set", RUNTIME_CRI, "k8s", "nginx",
	    { { "io.kubernetes.pod.namespace", "prod" }, { "io.kubernetes.pod.name", "db-12" },
		{ "statefulset.kubernetes.io/pod-name", "db-12" } },
	    {}, false, false, "prod/db", false, false },
	{ "a pod of a daemon set", RUNTIME_CRI, "k8s", "nginx",
	    { { "io.kubernetes.pod.namespace", "prod" }, { "io.kubernetes.pod.name", "log-abcde" },
		{ "controller-revision-hash", "1" } },
	    {}, false, false, "prod/log", false, false },
	{ "a pod of a job", RUNTIME_CRI, "k8s", "nginx",
	    { { "io.kubernetes.pod.namespace", "prod" }, { "io.kubernetes.pod.name", "b-1-abcde" },
		{ "job-name", "b-1" } },
	    {}, false, false, "prod/b-1", false, false },
};

/* jansson refuses what is not UTF-8. */
static bool
is_utf8(const char *text)
{
	json_t *j = json_string(text);
	bool ok = j != NULL;

	json_decref(j);
	return ok;
}

static size_t
count_labels(const struct label *l)
{
	size_t n = 0;

	while (n < 6 && (l[n].key != NULL || l[n].value != NULL))
		n++;
	return n;
}

static void
identity_follows_who_could_write_the_fact(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(identity_cases); i++) {
		const struct identity_case *t = &identity_cases[i];
		struct container_facts f = {
			.runtime = t->runtime,
			.id = ID64,
			.name = t->name,
			.image = t->image,
			.labels = t->labels,
			.n_labels = count_labels(t->labels),
			.image_labels = t->image_labels,
			.n_image_labels = count_labels(t->image_labels),
			.image_labels_known = !t->image_unknown,
			.name_generated = t->generated,
		};
		struct workload_id id;

		memset(&id, 0x5a, sizeof(id));
		workload_identify(&f, &id);
		if (strcmp(id.name, t->expect) != 0 || id.one_off != t->one_off ||
		    id.labels_refused != t->refused)
			fail_msg("%s: got %s, one-off %d, refused %d", t->what, id.name, id.one_off,
			    id.labels_refused);
		if (id.name[0] == '\0' || !is_utf8(id.name))
			fail_msg("%s: not a valid name", t->what);
	}
}

static void
identify_compose(const char *project, const char *service, bool oneoff, struct workload_id *ret)
{
	struct label labels[] = {
		{ PROJECT, project },
		{ SERVICE, service },
		WITNESS,
		{ ONEOFF, oneoff ? "True" : "False" },
	};
	struct container_facts f = {
		.runtime = RUNTIME_DOCKER,
		.id = ID64,
		.labels = labels,
		.n_labels = ARRAY_SIZE(labels),
		.image_labels_known = true,
	};

	workload_identify(&f, ret);
}

static void
fill(char *buf, size_t len, const char *with)
{
	size_t n = strlen(with);

	for (size_t i = 0; i < len; i++)
		buf[i] = with[i % n];
	buf[len] = '\0';
}

static void
a_pod_without_labels_is_named_by_its_form(void **state)
{
	static const struct {
		const char *pod, *expect;
	} cases[] = {
		{ "api-7d4b9c6f5-x2x9z", "prod/api" },
		{ "my-api-7d4b9c6f5-x2x9z", "prod/my-api" },
		{ "log-x2x9z", "prod/log" },
		{ "db-0", "prod/db" },
		{ "db-1234", "prod/db" },
		{ "db-12345", "prod/db-12345" },
		{ "backup-28123456-x2x9z", "prod/backup" },
		{ "backup-281234-x2x9z", "prod/backup-281234" },
		{ "plain", "prod/plain" },
		{ "kube-proxy", "prod/kube-proxy" },
		{ "web-cache-admin", "prod/web-cache-admin" }, /* vowels: nobody's hash */
		{ "x2x9z", "prod/x2x9z" },
		{ "-x2x9z", "prod/-x2x9z" },
		{ "-7d4b9c6f5-x2x9z", "prod/-7d4b9c6f5" },
		{ "0", "prod/0" },
		{ "a-", "prod/a-" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct label labels[] = { { "io.kubernetes.pod.namespace", "prod" },
			{ "io.kubernetes.pod.name", cases[i].pod } };
		struct container_facts f = { .runtime = RUNTIME_CRI,
			.labels = labels,
			.n_labels = 2,
			.pod_labels_unknown = true };
		struct workload_id id;

		workload_identify(&f, &id);
		if (strcmp(id.name, cases[i].expect) != 0)
			fail_msg("%s: %s", cases[i].pod, id.name);
		f.runtime = RUNTIME_CONTAINERD;
		f.name = "own";
		workload_identify(&f, &id);
		assert_string_equal(id.name, "own");
		assert_true(id.labels_refused);
	}
}

static void
a_pod_of_podman_names_its_members(void **state)
{
	static const struct label compose[] = { { "com.docker.compose.project", "shop" },
		{ "com.docker.compose.service", "api" }, { "io.podman.compose.config-hash", "1" } };
	struct container_facts f = { .runtime = RUNTIME_PODMAN,
		.name = "api-1",
		.pod = "shop/pod",
		.image_labels_known = true };
	struct workload_id id;

	workload_identify(&f, &id);
	assert_string_equal(id.name, "shop%2Fpod");
	f.labels = compose;
	f.n_labels = 3;
	workload_identify(&f, &id);
	assert_string_equal(id.name, "shop/api");
	/* Baked into the image: no claim. */
	f.image_labels = compose;
	f.n_image_labels = 3;
	workload_identify(&f, &id);
	assert_string_equal(id.name, "shop%2Fpod");
	f.n_image_labels = 0;
	f.runtime = RUNTIME_DOCKER;
	workload_identify(&f, &id);
	assert_string_equal(id.name, "api-1");
}

static void
where_labels_were_left_out_the_image_may_have_any_other(void **state)
{
	static const struct label own[] = { { "team", "pay" },
		{ "com.docker.compose.config-hash", "h" }, { "com.docker.compose.service", "api" },
		{ "com.docker.compose.project", "shop" } };
	struct container_facts f = { .runtime = RUNTIME_DOCKER,
		.name = "api-1",
		.labels = own,
		.n_labels = ARRAY_SIZE(own),
		.image_labels_known = true };
	struct workload_id id;

	assert_string_equal(workload_own_label(&f, "team"), "pay");
	f.labels_cut = true;
	assert_null(workload_own_label(&f, "team"));
	workload_identify(&f, &id);
	assert_string_equal(id.name, "shop/api");
}

static void
long_parts_never_collide_and_always_fit(void **state)
{
	static const char *const with[] = { "a", "/", "%", "\xff", "\xc3\xa9", "\xf0\x9f\x90\xb3" };
	char a[4097], b[4097];
	struct workload_id x, y;

	for (size_t w = 0; w < ARRAY_SIZE(with); w++) {
		for (size_t len = 60; len <= 4096; len = len < 300 ? len + 1 : len * 2) {
			fill(a, len, with[w]);
			fill(b, len, with[w]);
			b[len - 1] = 'z';
			identify_compose(a, a, true, &x);
			identify_compose(b, a, true, &y);
			assert_string_not_equal(x.name, y.name);
			assert_string_not_equal(x.project, y.project);
			assert_true(is_utf8(x.name));
			assert_true(is_utf8(x.project));
			assert_true(strlen(x.name) <= PEER_NAME_MAX);
			assert_ptr_equal(strchr(x.name, '/') + strlen(strchr(x.name, '/')) - 4,
			    strrchr(x.name, '/'));
			identify_compose(a, b, true, &y);
			assert_string_not_equal(x.name, y.name);
		}
	}
}

static void
a_cut_name_cannot_be_spelled_by_a_short_one(void **state)
{
	char longer[600], cut[251];
	struct workload_id x, y;

	fill(longer, 599, "a");
	identify_compose(longer, "s", false, &x);
	assert_int_equal(strchr(x.name, '/') - x.name, 250);
	memcpy(cut, x.name, 250);
	cut[250] = '\0';
	identify_compose(cut, "s", false, &y);
	assert_string_not_equal(x.name, y.name);
}

static void
a_255_byte_name_is_cut_and_marked(void **state)
{
	char name[256];
	struct container_facts f = { .runtime = RUNTIME_DOCKER, .id = ID64, .name = name };
	struct workload_id id;

	fill(name, 255, "n");
	workload_identify(&f, &id);
	assert_int_equal(strlen(id.name), 250);
	assert_memory_equal(id.name + 216, "%~", 2);
	name[250] = '\0';
	workload_identify(&f, &id);
	assert_string_equal(id.name, name);
}

static void
same_facts_give_the_same_bytes(void **state)
{
	struct workload_id x, y;

	memset(&x, 0, sizeof(x));
	memset(&y, 0xff, sizeof(y));
	identify_compose("shop", "api", false, &x);
	identify_compose("shop", "api", false, &y);
	assert_string_equal(x.name, y.name);
	assert_string_equal(x.project, "shop");
	assert_string_equal(y.service, "api");
	assert_string_equal(y.image_repo, "");
}

static void
repository_loses_tag_and_digest(void **state)
{
	static const struct {
		const char *image, *expect;
	} cases[] = {
		{ "nginx", "nginx" },
		{ "nginx:1.25", "nginx" },
		{ "nginx@sha256:" ID64, "nginx" },
		{ "nginx:1@sha256:" ID64, "nginx" },
		{ "reg.example:5000/team/app", "reg.example:5000/team/app" },
		{ "reg.example:5000/team/app:2", "reg.example:5000/team/app" },
		{ "sha256:" ID64, "" },
		{ ID64, "" },
		{ "0123456789ab", "" },
		{ "0123456789abc", "0123456789abc" },
		{ "team/0123456789ab", "team/0123456789ab" },
		{ "", "" },
		{ ":", "" },
		{ "@", "" },
		{ "/", "/" },
		{ "a\xff:b", "a%FF" },
		{ "docker.io/library/nginx:1", "nginx" },
		{ "index.docker.io/library/nginx", "nginx" },
		{ "library/nginx", "nginx" },
		{ "docker.io/nginx", "nginx" },
		{ "docker.io/team/app:2", "team/app" },
		{ "docker.io/library/team/app", "library/team/app" },
		{ "localhost/web:2", "web" },
		{ "localhost/library/web", "library/web" },
		{ "localhost:5000/web", "localhost:5000/web" },
		{ "quay.io/library/nginx", "quay.io/library/nginx" },
		{ "docker.io.evil.example/library/nginx", "docker.io.evil.example/library/nginx" },
		{ "docker.io/", "docker.io/" },
		{ "localhost/", "localhost/" },
		{ "library/", "library/" },
	};
	char repo[256], longer[1000], other[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		image_repository(cases[i].image, repo, sizeof(repo));
		assert_string_equal(repo, cases[i].expect);
	}
	fill(longer, 999, "r");
	image_repository(longer, repo, sizeof(repo));
	assert_int_equal(strlen(repo), 255);
	longer[998] = 's';
	image_repository(longer, other, sizeof(other));
	assert_string_not_equal(repo, other);
	image_repository(longer, other, 64);
	assert_int_equal(strlen(other), 63);
}

static void
generated_names_are_known_by_their_words(void **state)
{
	static const struct {
		const char *name;
		bool generated;
	} cases[] = {
		{ "quirky_turing", true },
		{ "quirky_turing3", true },
		{ "admiring_agnesi", true },
		{ "zen_zhukovsky9", true },
		{ "sad_tu", true },
		{ "quirky_turing33", false },
		{ "quirky_", false },
		{ "quirky_3", false },
		{ "_turing", false },
		{ "quirkyturing", false },
		{ "quirk_turing", false },
		{ "quirky_turin", false },
		{ "web_server", false },
		{ "sweet_api", false },
		{ "shop_turing", false },
		{ "Quirky_turing", false },
		{ "quirky_turing_1", false },
		{ "", false },
		{ "_", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (workload_name_is_generated(cases[i].name) != cases[i].generated)
			fail_msg("%s", cases[i].name);
}

static void
every_listed_pair_is_found(void **state)
{
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(adjectives); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(surnames); j++) {
			snprintf(name, sizeof(name), "%s_%s", adjectives[i], surnames[j]);
			if (!workload_name_is_generated(name))
				fail_msg("%s: lists not sorted", name);
		}
	}
}

static void
runtimes_have_names(void **state)
{
	assert_string_equal(runtime_name(RUNTIME_DOCKER), "docker");
	assert_string_equal(runtime_name(RUNTIME_NETNS), "netns");
	assert_string_equal(runtime_name((enum runtime)99), "unknown");
}

static void
a_users_container_goes_by_his_number(void **state)
{
	static const struct {
		const char *name, *expect;
	} cases[] = { { "web", "user-1000/web" }, { "a/b", "user-1000/a%2Fb" },
		{ "", "user-1000/" } };
	const struct label claims[] = { { PROJECT, "shop" }, { SERVICE, "api" }, { HASH, "h" } };
	struct workload_id id;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct container_facts f = { .runtime = RUNTIME_PODMAN,
			.name = cases[i].name,
			.pod = "pod",
			.user = 1000,
			.labels = claims,
			.n_labels = 3,
			.image_labels_known = true };

		workload_identify(&f, &id);
		assert_string_equal(id.name, cases[i].expect);
		assert_string_equal(id.project, "user-1000");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_users_container_goes_by_his_number),
		cmocka_unit_test(identity_follows_who_could_write_the_fact),
		cmocka_unit_test(a_pod_without_labels_is_named_by_its_form),
		cmocka_unit_test(a_pod_of_podman_names_its_members),
		cmocka_unit_test(where_labels_were_left_out_the_image_may_have_any_other),
		cmocka_unit_test(long_parts_never_collide_and_always_fit),
		cmocka_unit_test(a_cut_name_cannot_be_spelled_by_a_short_one),
		cmocka_unit_test(a_255_byte_name_is_cut_and_marked),
		cmocka_unit_test(same_facts_give_the_same_bytes),
		cmocka_unit_test(repository_loses_tag_and_digest),
		cmocka_unit_test(generated_names_are_known_by_their_words),
		cmocka_unit_test(every_listed_pair_is_found),
		cmocka_unit_test(runtimes_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
