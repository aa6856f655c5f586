/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/identity.h"

#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define ID64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define COMPOSE                                                                            \
	{ "com.docker.compose.project", "shop" }, { "com.docker.compose.service", "api" }, \
	{                                                                                  \
		"com.docker.compose.config-hash", "h"                                      \
	}

static int
read_rules(const char *text, struct identity_rules *ret, struct diag *d)
{
	_cleanup_(doc_freep) struct doc *doc = NULL;
	struct reader r = { .d = d };
	struct slot s;

	assert_int_equal(doc_parse(text, strlen(text), d, &doc), 0);
	r.doc = doc;
	s = slot_root(doc_root(doc));
	return identity_rules_read(&r, &s, ret);
}

static const struct rule_case {
	const char *what, *rules;
	enum runtime runtime;
	const char *name, *image;
	struct label labels[5], image_labels[5];
	bool image_unknown;
	const char *expect;
} cases[] = {
	{ "no rule", "[]", RUNTIME_DOCKER, "web-1", "nginx", {}, {}, false, "web-1" },
	{ "a name's pattern", "[{match: {name: 'web-*'}, workload: shop/web}]", RUNTIME_DOCKER,
	    "web-1", "nginx", {}, {}, false, "shop/web" },
	{ "every pattern has to match",
	    "[{match: {name: 'web-*', image: caddy}, workload: shop/web}]", RUNTIME_DOCKER, "web-1",
	    "nginx", {}, {}, false, "web-1" },
	{ "the first rule that matches",
	    "[{match: {name: x}, workload: a}, {match: {name: 'w*'}, workload: b}, "
	    "{match: {name: '*'}, workload: c}]",
	    RUNTIME_DOCKER, "web-1", "nginx", {}, {}, false, "b" },
	{ "an image without its tag, in the form Docker shows",
	    "[{match: {image: nginx}, workload: front}]", RUNTIME_DOCKER, "x",
	    "docker.io/library/nginx:1@sha256:" ID64, {}, {}, false, "front" },
	{ "a value in the name", "[{match: {image: 'reg.example/*'}, workload: 'ours/${image}'}]",
	    RUNTIME_DOCKER, "x", "reg.example/a/b:2", {}, {}, false, "ours/reg.example%2Fa%2Fb" },
	{ "a label of the container", "[{match: {label.team: 'p*'}, workload: '${label.team}'}]",
	    RUNTIME_DOCKER, "x", "nginx", { { "team", "pay" } }, {}, false, "pay" },
	{ "a label baked into the image", "[{match: {label.team: 'p*'}, workload: evil}]",
	    RUNTIME_DOCKER, "x", "nginx", { { "team", "pay" } }, { { "team", "pay" } }, false,
	    "x" },
	{ "a label that the image has with another value",
	    "[{match: {label.team: 'p*'}, workload: evil}]", RUNTIME_DOCKER, "x", "nginx",
	    { { "team", "pay" } }, { { "team", "other" } }, false, "x" },
	{ "a label where the image could not be asked",
	    "[{match: {label.team: 'p*'}, workload: evil}]", RUNTIME_DOCKER, "x", "nginx",
	    { { "team", "pay" } }, {}, true, "x" },
	{ "an empty label", "[{match: {label.team: '*'}, workload: evil}]", RUNTIME_DOCKER, "x",
	    "nginx", { { "team", "" } }, {}, false, "x" },
	{ "a label that only the name asks for",
	    "[{match: {name: '*'}, workload: 'a/${label.team}'}, {match: {name: '*'}, workload: "
	    "b}]",
	    RUNTIME_DOCKER, "x", "nginx", {}, {}, false, "b" },
	{ "a label like another rule's text", "[{match: {label.t: '*'}, workload: 'a/${label.t}'}]",
	    RUNTIME_DOCKER, "x", "nginx", { { "t", "${name}/../%2F\xff" } }, {}, false,
	    "a/${name}%2F..%2F%252F%FF" },
	{ "Compose with its witness",
	    "[{match: {compose.project: shop}, workload: 'prod/${compose.service}'}]",
	    RUNTIME_DOCKER, "x", "nginx", { COMPOSE }, {}, false, "prod/api" },
	{ "Compose's labels out of the image", "[{match: {compose.project: shop}, workload: evil}]",
	    RUNTIME_DOCKER, "x", "nginx", { COMPOSE }, { COMPOSE }, false, "x" },
	{ "a one-off run stays apart", "[{match: {compose.project: shop}, workload: prod}]",
	    RUNTIME_DOCKER, "x", "nginx", { COMPOSE, { "com.docker.compose.oneoff", "True" } }, {},
	    false, "prod/run" },
	{ "Swarm", "[{match: {swarm.service: 'st_*'}, workload: 'sw/${swarm.service}'}]",
	    RUNTIME_DOCKER, "x", "nginx",
	    { { "com.docker.swarm.service.name", "st_web" }, { "com.docker.swarm.task.id", "t" } },
	    {}, false, "sw/st_web" },
	{ "Kubernetes", "[{match: {kube.namespace: prod}, workload: '${kube.owner}'}]", RUNTIME_CRI,
	    "x", "nginx",
	    { { "io.kubernetes.pod.namespace", "prod" }, { "io.kubernetes.pod.name", "db" } }, {},
	    false, "db" },
	{ "a Kubernetes claim outside CRI", "[{match: {kube.namespace: prod}, workload: evil}]",
	    RUNTIME_DOCKER, "x", "nginx",
	    { { "io.kubernetes.pod.namespace", "prod" }, { "io.kubernetes.pod.name", "db" } }, {},
	    false, "x" },
	{ "a namespace by its name", "[{match: {runtime: netns, name: 'vm?'}, workload: vms}]",
	    RUNTIME_NETNS, "vm1", NULL, {}, {}, true, "vms" },
	{ "a runtime", "[{match: {runtime: podman}, workload: p}]", RUNTIME_DOCKER, "x", "nginx",
	    {}, {}, false, "x" },
	{ "a container without a name", "[{match: {name: '*'}, workload: evil}]", RUNTIME_DOCKER,
	    NULL, "nginx", {}, {}, false, "nginx" },
};

static size_t
count_labels(const struct label *l)
{
	size_t n = 0;

	while (n < 5 && l[n].key != NULL)
		n++;
	return n;
}

static void
rules_name_what_they_match_and_believe_no_more_than_the_default(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct rule_case *t = &cases[i];
		const struct container_facts f = {
			.runtime = t->runtime,
			.id = ID64,
			.name = t->name,
			.image = t->image,
			.labels = t->labels,
			.n_labels = count_labels(t->labels),
			.image_labels = t->image_labels,
			.n_image_labels = count_labels(t->image_labels),
			.image_labels_known = !t->image_unknown,
		};
		struct identity_rules rules = { 0 };
		struct workload_id id;
		struct diag d;

		if (read_rules(t->rules, &rules, &d) < 0)
			fail_msg("%s: %u:%u: %s", t->what, d.line, d.col, d.msg);
		workload_identify(&f, &id);
		identity_rules_apply(&rules, &f, &id);
		if (strcmp(id.name, t->expect) != 0)
			fail_msg("%s: got %s", t->what, id.name);
		identity_rules_done(&rules);
	}
}

static void
what_is_wrong_is_named_with_its_place(void **state)
{
	static const struct {
		const char *text;
		unsigned line, col;
		const char *says;
	} bad[] = {
		{ "{}", 1, 1, "expected a list of identity rules" },
		{ "- {match: {name: a}}", 1, 3, "workload" },
		{ "- {workload: a}", 1, 3, "match" },
		{ "- {match: {name: a}, workload: a, more: b}", 1, 35, "unknown key 'more'" },
		{ "- match: {}\n  workload: a", 1, 10, "at least one" },
		{ "- match: []\n  workload: a", 1, 10, "mapping" },
		{ "- match: {nam: a}\n  workload: a", 1, 11, "did you mean 'name'" },
		{ "- match: {label.: a}\n  workload: a", 1, 11, "unknown fact 'label.'" },
		{ "- match: {name: 7}\n  workload: a", 1, 17, "expected a pattern" },
		{ "- match: {name: ''}\n  workload: a", 1, 17, "pattern" },
		{ "- match: {name: a}\n  workload: ''", 2, 13, "name" },
		{ "- match: {name: a}\n  workload: 'a%2Fb'", 2, 13, "'%'" },
		{ "- match: {name: a}\n  workload: \"a\\eb\"", 2, 13, "cannot be shown" },
		{ "- match: {name: a}\n  workload: '${name'", 2, 13, "without '}'" },
		{ "- match: {name: a}\n  workload: '${}'", 2, 13, "unknown fact" },
		{ "- match: {name: a}\n  workload: '${nam}'", 2, 13, "unknown fact 'nam'" },
		{ "- match: {name: a}\n  workload: '${name}${name}${name}${name}${name}'", 2, 13,
		    "at most 4" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct identity_rules rules = { 0 };
		struct diag d = { 0 };

		if (read_rules(bad[i].text, &rules, &d) != -EINVAL)
			fail_msg("taken: %s", bad[i].text);
		if (d.line != bad[i].line || d.col != bad[i].col ||
		    strstr(d.msg, bad[i].says) == NULL)
			fail_msg("%s: %u:%u: %s", bad[i].text, d.line, d.col, d.msg);
		identity_rules_done(&rules);
	}
}

static void
long_values_are_cut_apart_and_the_name_always_fits(void **state)
{
	char a[3000], b[3000];
	struct identity_rules rules = { 0 };
	struct workload_id x, y;
	struct diag d;

	memset(a, '/', sizeof(a) - 1);
	a[sizeof(a) - 1] = '\0';
	memcpy(b, a, sizeof(b));
	b[2000] = 'x';
	assert_int_equal(
	    read_rules("[{match: {name: '*'}, workload: '12345678901234567890${name}${label.a}-"
		       "${label.a}/${name}'}]",
		&rules, &d),
	    0);
	for (int k = 0; k < 2; k++) {
		const struct label labels[] = { { "a", k == 0 ? a : b } };
		const struct container_facts f = { .runtime = RUNTIME_DOCKER,
			.id = ID64,
			.name = a,
			.labels = labels,
			.n_labels = 1,
			.image_labels_known = true };
		struct workload_id *id = k == 0 ? &x : &y;

		workload_identify(&f, id);
		assert_true(identity_rules_apply(&rules, &f, id));
		assert_true(strlen(id->name) <= PEER_NAME_MAX);
	}
	assert_string_not_equal(x.name, y.name);
	identity_rules_done(&rules);
}

static void
patterns_match_whole_values(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool match;
	} globs[] = {
		{ "", "", true },
		{ "", "a", false },
		{ "a", "", false },
		{ "*", "", true },
		{ "*", "a/b", true },
		{ "a*c", "abbc", true },
		{ "a*c", "abbd", false },
		{ "a*c*", "acac", true },
		{ "*a", "ba", true },
		{ "*ab", "aab", true },
		{ "a?c", "abc", true },
		{ "a?c", "ac", false },
		{ "?", "", false },
		{ "[a]", "a", false },
		{ "a", "ab", false },
		{ "*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		    false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(globs); i++)
		if (identity_glob(globs[i].pattern, globs[i].text) != globs[i].match)
			fail_msg("%s, %s", globs[i].pattern, globs[i].text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_name_what_they_match_and_believe_no_more_than_the_default),
		cmocka_unit_test(what_is_wrong_is_named_with_its_place),
		cmocka_unit_test(long_values_are_cut_apart_and_the_name_always_fits),
		cmocka_unit_test(patterns_match_whole_values),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
