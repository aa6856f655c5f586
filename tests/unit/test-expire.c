/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Idle workloads are forgotten, and nothing that anybody decided is. */
#include "ctl-fixture.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/store.h"
#include "rules/compile.h"

#define DAY (86400 * NSEC_PER_SEC)

static const struct actor root = { .name = "uid:0" };

static void
restart(struct ctl_fixture *f)
{
	assert_int_equal(flush_evidence(f->c), 0);
	ctl_restart(f);
}

static struct workload *
known(struct controller *c, const char *name)
{
	struct workload *w = workload_get(c, name);

	assert_non_null(w);
	w->first_seen_ns = w->last_seen_ns = fake_now;
	w->dirty = true;
	return w;
}

/* Two looks: the first one begins the time of grace. */
static void
pass(struct controller *c, uint64_t ns)
{
	workload_expire_tick(c);
	ctl_wait(ns);
	workload_expire_tick(c);
}

static void
an_idle_workload_goes_with_its_pending_edges_and_for_good(void **state)
{
	struct ctl_fixture *f = *state;
	char id[EDGE_ID_STRLEN];

	known(f->c, "old");
	known(f->c, "other");
	ctl_add_edge(f->c, "old", "other", 80);
	ctl_add_edge(f->c, "other", "host", 81);
	snprintf(id, sizeof(id), "%s", ctl_edge(f->c, "old", "other", 80)->id);
	restart(f);
	workload_expire_tick(f->c);
	ctl_wait(29 * DAY);
	workload_find(f->c, "other")->last_seen_ns = fake_now;
	workload_expire_tick(f->c);
	assert_non_null(workload_find(f->c, "old"));
	ctl_wait(DAY);
	workload_expire_tick(f->c);
	assert_null(workload_find(f->c, "old"));
	assert_null(edge_table_find_id(f->c->edges, id));
	assert_non_null(workload_find(f->c, "other"));
	assert_int_equal(edge_table_count(f->c->edges), 1);
	restart(f);
	assert_null(workload_find(f->c, "old"));
	assert_non_null(workload_find(f->c, "other"));
	assert_int_equal(edge_table_count(f->c->edges), 1);
}

static void
what_runs_or_was_decided_stays(void **state)
{
	const struct edge_decision given = { .reason = (char *)"because" };
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct mode_change change = { .mode = MODE_OBSERVE, .direction = WL_BOTH };
	const char *kept[] = { "runs", "enforced", "observed", "approved", "withdrawn", "listed",
		"images" };
	struct edge *e;

	for (size_t i = 1; i < ARRAY_SIZE(kept); i++)
		known(c, kept[i]);
	known(c, "plain");
	ctl_instance(c, 7, "runs", "10.0.0.7");
	workload_find(c, "enforced")->mode = MODE_ENFORCE;
	change.workload = workload_find(c, "observed");
	assert_int_equal(segment_set_modes(c, &change, 1, 0, "left alone", &root, &f->d), 0);
	e = ctl_add_edge(c, "approved", "host", 1);
	assert_int_equal(edge_decide(c->edges, e, EDGE_APPROVED, &given), 0);
	ctl_add_edge(c, "withdrawn", "host", 1)->flags = EDGE_FLAG_WITHDRAWN;
	workload_find(c, "listed")->labels = calloc(1, sizeof(struct policy_label));
	workload_find(c, "listed")->labels[0] = (struct policy_label){ strdup("a"), strdup("b") };
	workload_find(c, "listed")->n_labels = 1;
	assert_int_equal(workload_accept(workload_find(c, "images"), "a"), 0);
	assert_int_equal(workload_accept(workload_find(c, "images"), "b"), 0);
	pass(c, 400 * DAY);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (workload_find(c, kept[i]) == NULL)
			fail_msg("%s is gone", kept[i]);
	assert_null(workload_find(c, "plain"));
	/* The list is whole: a new one finds its place at the end. */
	known(c, "new");
	assert_ptr_equal(*c->workloads_tail, NULL);
	assert_int_equal(c->n_workloads, ARRAY_SIZE(kept) + 1);
}

static void
zero_is_never(void **state)
{
	struct ctl_fixture *f = *state;

	f->c->config->idle_expiry_ns = 0;
	known(f->c, "old");
	pass(f->c, 10000 * DAY);
	assert_non_null(workload_find(f->c, "old"));
}

static void
after_a_start_there_is_time_to_come_back(void **state)
{
	struct ctl_fixture *f = *state;

	known(f->c, "old");
	ctl_wait(400 * DAY);
	workload_expire_tick(f->c);
	ctl_wait(1800 * NSEC_PER_SEC);
	workload_expire_tick(f->c);
	assert_non_null(workload_find(f->c, "old"));
	ctl_wait(1811 * NSEC_PER_SEC);
	workload_expire_tick(f->c);
	assert_null(workload_find(f->c, "old"));
}

static void
a_store_that_refuses_forgets_nothing(void **state)
{
	struct ctl_fixture *f = *state;

	known(f->c, "old");
	ctl_add_edge(f->c, "old", "host", 80);
	assert_int_equal(store_begin(f->c->store), 0);
	pass(f->c, 40 * DAY);
	assert_non_null(workload_find(f->c, "old"));
	assert_int_equal(edge_table_count(f->c->edges), 1);
	store_rollback(f->c->store);
	ctl_wait(60 * NSEC_PER_SEC);
	workload_expire_tick(f->c);
	assert_null(workload_find(f->c, "old"));
}

static void
churn_makes_room_for_itself_and_for_nothing_decided(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	char name[32];

	f->c->config->idle_expiry_ns = 0;
	for (unsigned i = 0; i < CTL_MAX_WORKLOADS; i++) {
		snprintf(name, sizeof(name), "w%u", i);
		known(c, name)->last_seen_ns += i;
	}
	workload_find(c, "w0")->mode = MODE_ENFORCE;
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		ctl_instance(c, 100 + i, name, "10.0.0.1");
		assert_non_null(workload_find(c, name));
		instance_on_netns_gone(c, 100 + i);
	}
	assert_true(c->n_workloads <= CTL_MAX_WORKLOADS);
	assert_non_null(workload_find(c, "w0"));
	assert_null(workload_find(c, "w1"));
	assert_non_null(workload_find(c, "w9999"));
	assert_int_equal(c->workloads_refused, 0);
}

static void
a_full_table_of_decisions_says_so(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct w_netns n = { .cookie = 5, .ino = 5, .flags = NETNS_F_NAMED };
	char name[32];

	for (unsigned i = 0; i < CTL_MAX_WORKLOADS; i++) {
		snprintf(name, sizeof(name), "w%u", i);
		known(c, name)->mode = MODE_ENFORCE;
	}
	snprintf(n.basename, sizeof(n.basename), "late");
	instance_on_netns(c, &n);
	assert_null(instance_find(c, 5)->workload);
	assert_int_equal(c->workloads_refused, 1);
	/* As soon as there is room it has its name. */
	workload_find(c, "w5")->mode = MODE_OBSERVE;
	ctl_wait(2 * NSEC_PER_SEC);
	instance_identify(instance_find(c, 5));
	assert_non_null(instance_find(c, 5)->workload);
	assert_null(workload_find(c, "w5"));
}

/* The rules are compared with what they were made of, which may be gone by then. */
static void
an_inventory_outlives_its_workloads(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct inventory *before, *now;
	bool concerned[2] = { false };

	ctl_instance(c, 1, "web", "10.0.0.1");
	before = inventory_build(c, false);
	assert_non_null(before);
	assert_int_equal(before->n_entries, 1);
	instance_on_netns_gone(c, 1);
	pass(c, 400 * DAY);
	assert_null(workload_find(c, "web"));
	ctl_instance(c, 2, "api", "10.0.0.2");
	now = inventory_build(c, false);
	assert_non_null(now);
	assert_true(inventory_concerns(c->policy, before, now, concerned));
	assert_string_equal(before->entries[0].workload, "web");
	inventory_free(before);
	inventory_free(now);
}

#define EXPIRE_TEST(name) cmocka_unit_test_setup_teardown(name, ctl_setup, ctl_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EXPIRE_TEST(an_idle_workload_goes_with_its_pending_edges_and_for_good),
		EXPIRE_TEST(what_runs_or_was_decided_stays),
		EXPIRE_TEST(zero_is_never),
		EXPIRE_TEST(after_a_start_there_is_time_to_come_back),
		EXPIRE_TEST(a_store_that_refuses_forgets_nothing),
		EXPIRE_TEST(churn_makes_room_for_itself_and_for_nothing_decided),
		EXPIRE_TEST(a_full_table_of_decisions_says_so),
		EXPIRE_TEST(an_inventory_outlives_its_workloads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
