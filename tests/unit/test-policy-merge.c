/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_merge: what is taken, what stays, and what is a conflict. */
#include "rules/policy_merge.h"

#include "rules/policy_diff.h"
#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define E(from, to, port, state) \
	"  - {from: " from ", to: " to ", proto: tcp, port: " port ", state: " state "}\n"

struct case_ {
	const char *name, *ours, *theirs, *result, *result_theirs; /* NULL: as result */
	size_t added, conflicts;
};

static const struct case_ cases[] = {
	{ "what ours has stays", "edges:\n" E("a", "b", "80", "approved"), "",
	    "edges:\n" E("a", "b", "80", "approved"), NULL, 0, 0 },
	{ "an edge is added", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n" E("a", "b", "81", "denied"),
	    "edges:\n" E("a", "b", "80", "approved") E("a", "b", "81", "denied"), NULL, 1, 0 },
	{ "a pending edge is not", "", "edges:\n" E("a", "b", "81", "pending"), "", NULL, 0, 0 },
	{ "a pending edge of ours takes the decision", "edges:\n" E("a", "b", "80", "pending"),
	    "edges:\n" E("a", "b", "80", "approved"), "edges:\n" E("a", "b", "80", "approved"),
	    NULL, 1, 0 },
	{ "another reason is no conflict", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n  - {from: a, to: b, proto: tcp, port: 80, state: approved, reason: x}\n",
	    "edges:\n" E("a", "b", "80", "approved"), NULL, 0, 0 },
	{ "another state is", "edges:\n" E("a", "b", "80", "denied"),
	    "edges:\n" E("a", "b", "80", "approved"), "edges:\n" E("a", "b", "80", "denied"),
	    "edges:\n" E("a", "b", "80", "approved"), 0, 1 },
	{ "another expiry is", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n  - {from: a, to: b, proto: tcp, port: 80, state: approved, expires: "
	    "2030-01-01}\n",
	    "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n  - {from: a, to: b, proto: tcp, port: 80, state: approved, expires: "
	    "2030-01-01}\n",
	    0, 1 },
	{ "modes and images are not taken", "workloads:\n  - {name: a, mode: audit}\n",
	    "workloads:\n  - {name: a, mode: enforce, images: [x]}\n",
	    "workloads:\n  - {name: a, mode: audit}\n", NULL, 0, 0 },
	{ "a new workload is observed", "",
	    "workloads:\n  - {name: a, mode: enforce, labels: {x: y}}\n",
	    "workloads:\n  - {name: a, mode: observe, labels: {x: y}}\n", NULL, 2, 0 },
	{ "labels are added, others stay, another value is a conflict",
	    "workloads:\n  - {name: b}\n  - {name: a, mode: audit, labels: {own: v, both: o}}\n",
	    "workloads:\n  - {name: a, labels: {new: w, both: t}}\n",
	    "workloads:\n  - {name: a, mode: audit, labels: {own: v, both: o, new: w}}\n",
	    "workloads:\n  - {name: a, mode: audit, labels: {own: v, both: t, new: w}}\n", 1, 1 },
	{ "a network is added with its edge", "",
	    "networks: {n: [10.0.0.0/8]}\nedges:\n" E("{network: n}", "a", "80", "approved"),
	    "networks: {n: [10.0.0.0/8]}\nedges:\n" E("{network: n}", "a", "80", "approved"), NULL,
	    2, 0 },
	{ "a network of the same addresses is the same", "networks: {n: [10.0.0.0/8]}\n",
	    "networks: {n: [10.0.0.0/8, 10.1.0.0/16]}\n", "networks: {n: [10.0.0.0/8]}\n", NULL, 0,
	    0 },
	{ "one of others is a conflict, and so are new edges of it",
	    "networks: {n: [10.1.0.0/16]}\n",
	    "networks: {n: [10.0.0.0/8]}\nedges:\n" E("{network: n}", "a", "80", "approved"),
	    "networks: {n: [10.1.0.0/16]}\n",
	    "networks: {n: [10.0.0.0/8]}\nedges:\n" E("{network: n}", "a", "80", "approved"), 0,
	    2 },
};

static struct policy *
parse(const char *rest)
{
	char text[4096];
	struct diag d = { 0 };
	struct policy *p = NULL;

	snprintf(text, sizeof(text), "apiVersion: nanoseg/v1\nkind: SegmentPolicy\n%s", rest);
	if (policy_parse(text, strlen(text), &d, &p) < 0)
		fail_msg("%u:%u: %s\n%s", d.line, d.col, d.msg, text);
	return p;
}

static void
check(const struct case_ *k, bool take_theirs)
{
	const char *want_text =
	    take_theirs && k->result_theirs != NULL ? k->result_theirs : k->result;
	_cleanup_(policy_freep) struct policy *ours = parse(k->ours), *theirs = parse(k->theirs);
	_cleanup_(policy_freep) struct policy *want = parse(want_text), *again = NULL;
	_cleanup_(policy_merge_freep) struct policy_merge *m = NULL;
	_cleanup_(policy_diff_freep) struct policy_diff *d = NULL;
	_cleanup_free_ char *text = NULL;
	struct diag diag = { 0 };

	assert_int_equal(policy_merge_new(ours, theirs, take_theirs, &m), 0);
	assert_int_equal(policy_to_yaml(&m->policy, &text), 0);
	if (policy_parse(text, strlen(text), &diag, &again) < 0)
		fail_msg("%s: the result is no policy: %s\n%s", k->name, diag.msg, text);
	assert_int_equal(policy_diff_new(want, again, &d), 0);
	if (!policy_diff_is_empty(d))
		fail_msg("%s, theirs %d: got\n%s", k->name, take_theirs, text);
	if (!take_theirs && (m->n_added != k->added || m->n_conflicts != k->conflicts))
		fail_msg("%s: %zu added, %zu conflicts", k->name, m->n_added, m->n_conflicts);
	assert_int_equal(m->n_items, m->n_added + m->n_conflicts);
	assert_int_equal(m->n_taken, take_theirs ? m->n_conflicts : 0);
}

static void
merges(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		check(&cases[i], false);
		check(&cases[i], true);
	}
}

static void
beyond_the_bounds_is_refused(void **state)
{
	static struct policy_network many[POLICY_MAX_NETWORKS];
	static char names[POLICY_MAX_NETWORKS][16];
	struct policy ours = { .networks = many, .n_networks = ARRAY_SIZE(many) };
	_cleanup_(policy_freep) struct policy *theirs = parse("networks: {more: [10.0.0.0/8]}\n");
	_cleanup_(policy_merge_freep) struct policy_merge *m = NULL;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		many[i].name = names[i];
	}
	assert_int_equal(policy_merge_new(&ours, theirs, false, &m), -E2BIG);
	assert_null(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merges),
		cmocka_unit_test(beyond_the_bounds_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
