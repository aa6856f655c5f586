/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Approvals that a person lets stand, and who may do what with separate duties. */
#include "ctl-fixture.h"
#include "daemon/promote.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/store.h"

#define DAY (86400 * NSEC_PER_SEC)

static const struct actor alice = { .name = "uid:1000", .is_process = true, .uid = 1000 };
static const struct actor bob = { .name = "uid:1001", .is_process = true, .uid = 1001 };

static int
decide(struct ctl_fixture *f, const char *id, enum edge_state s, const struct actor *who)
{
	const struct edge_decision given = { .reason = (char *)"because" };
	size_t changed;

	f->d = (struct diag){ 0 };
	return segment_decide(f->c, &id, 1, s, &given, who, &f->d, &changed);
}

static int
keep(struct ctl_fixture *f, const char *id, const struct actor *who)
{
	size_t kept = 0;
	int r;

	f->d = (struct diag){ 0 };
	r = recertify(f->c, &id, 1, "still needed", "T-9", who, &f->d, &kept);
	return r < 0 ? r : (int)kept;
}

static int
set_mode(struct ctl_fixture *f, const char *name, enum wl_mode mode, const struct actor *who)
{
	const struct mode_change ch = {
		.workload = workload_get(f->c, name), .mode = mode, .direction = WL_BOTH
	};

	f->d = (struct diag){ 0 };
	return segment_set_modes(f->c, &ch, 1, 0, "because", who, &f->d);
}

static void
expect_counts(struct ctl_fixture *f, json_int_t approved, json_int_t overdue)
{
	json_t *o = recertify_to_json(f->c);

	assert_int_equal(json_integer_value(json_object_get(o, "approved")), approved);
	assert_int_equal(json_integer_value(json_object_get(o, "overdue")), overdue);
	json_decref(o);
}

static void
an_approval_is_overdue_after_half_a_year_until_it_is_kept(void **state)
{
	struct ctl_fixture *f = *state;
	struct edge *e = ctl_add_edge(f->c, "web", "db", 5432);
	char id[EDGE_ID_STRLEN];

	memcpy(id, e->id, sizeof(id));
	assert_int_equal(decide(f, id, EDGE_APPROVED, &alice), 0);
	expect_counts(f, 1, 0);
	fake_now += 181 * DAY;
	expect_counts(f, 1, 0);
	fake_now += DAY;
	expect_counts(f, 1, 1);
	assert_int_equal(keep(f, id, &bob), 1);
	expect_counts(f, 1, 0);
	assert_int_equal(f->c->revision, 1);
	ctl_restart(f);
	e = edge_table_find_id(f->c->edges, id);
	assert_string_equal(e->decision.kept_by, bob.name);
	assert_string_equal(e->decision.approved_by, alice.name);
	assert_int_equal(e->decision.kept_ns, fake_now);
	assert_int_equal(recertify_due_ns(f->c, e), fake_now + 182 * DAY);
	expect_counts(f, 1, 0);
	f->c->config->recertify_after_ns = 0;
	fake_now += 3650 * DAY;
	expect_counts(f, 1, 0);
}

static void
a_new_decision_forgets_who_kept_the_old_one(void **state)
{
	struct ctl_fixture *f = *state;
	struct edge *e = ctl_add_edge(f->c, "web", "db", 5432);

	assert_int_equal(decide(f, e->id, EDGE_APPROVED, &alice), 0);
	assert_int_equal(keep(f, e->id, &bob), 1);
	assert_int_equal(decide(f, e->id, EDGE_DENIED, &alice), 0);
	assert_null(e->decision.kept_by);
	assert_int_equal(e->decision.kept_ns, 0);
}

static void
a_standing_decision_of_an_applied_policy_stays_kept(void **state)
{
	struct ctl_fixture *f = *state;
	struct edge *e = ctl_add_edge(f->c, "web", "db", 5432);
	_cleanup_(policy_freep) struct policy *p = NULL;

	assert_int_equal(decide(f, e->id, EDGE_APPROVED, &alice), 0);
	assert_int_equal(keep(f, e->id, &bob), 1);
	assert_int_equal(segment_build_policy(f->c, false, &p), 0);
	assert_int_equal(segment_apply_policy(f->c, p, 0, 0, "same", &alice, &f->d), 0);
	assert_string_equal(e->decision.kept_by, bob.name);
}

static void
what_is_not_approved_cannot_be_kept_and_nothing_is(void **state)
{
	struct ctl_fixture *f = *state;
	struct edge *good = ctl_add_edge(f->c, "web", "db", 5432);
	struct edge *pending = ctl_add_edge(f->c, "web", "db", 80);
	const char *const ids[] = { good->id, pending->id };
	size_t kept;

	assert_int_equal(decide(f, good->id, EDGE_APPROVED, &alice), 0);
	assert_int_equal(recertify(f->c, ids, 2, "r", NULL, &bob, &f->d, &kept), -EINVAL);
	assert_null(good->decision.kept_by);
	assert_int_equal(keep(f, "e-000000000000", &bob), -ENOENT);
	assert_int_equal(store_begin(f->c->store), 0);
	assert_true(keep(f, good->id, &bob) < 0);
	store_rollback(f->c->store);
	assert_null(good->decision.kept_by);
}

static void
who_approves_is_not_who_enforces(void **state)
{
	struct ctl_fixture *f = *state;
	struct edge *e = ctl_add_edge(f->c, "web", "db", 5432);
	struct edge *other = ctl_add_edge(f->c, "web", "db", 80);
	_cleanup_(policy_freep) struct policy *p = NULL;

	f->c->config->separate_duties = true;
	assert_int_equal(decide(f, e->id, EDGE_APPROVED, &alice), 0);
	assert_int_equal(set_mode(f, "db", MODE_ENFORCE, &alice), -EPERM);
	assert_non_null(strstr(f->d.msg, e->id));
	assert_int_equal(workload_find(f->c, "db")->mode, MODE_OBSERVE);
	assert_int_equal(set_mode(f, "db", MODE_AUDIT, &alice), 0);
	assert_int_equal(set_mode(f, "db", MODE_ENFORCE, &bob), 0);
	/* The other way round, also after a restart. */
	assert_int_equal(flush_evidence(f->c), 0);
	ctl_restart(f);
	f->c->config->separate_duties = true;
	other = ctl_edge(f->c, "web", "db", 80);
	assert_int_equal(decide(f, other->id, EDGE_APPROVED, &bob), -EPERM);
	assert_non_null(strstr(f->d.msg, "db"));
	assert_int_equal(other->state, EDGE_PENDING);
	assert_int_equal(decide(f, other->id, EDGE_DENIED, &bob), 0);
	assert_int_equal(decide(f, other->id, EDGE_APPROVED, &alice), 0);
	/* A file that does both at once. */
	assert_int_equal(segment_build_policy(f->c, false, &p), 0);
	assert_int_equal(set_mode(f, "db", MODE_OBSERVE, &bob), 0);
	assert_int_equal(decide(f, other->id, EDGE_DENIED, &bob), 0);
	assert_int_equal(segment_apply_policy(f->c, p, 0, 0, "all", &alice, &f->d), -EPERM);
	assert_int_equal(workload_find(f->c, "db")->mode, MODE_OBSERVE);
	assert_int_equal(other->state, EDGE_DENIED);
	/* Without the setting one person may. */
	f->c->config->separate_duties = false;
	f->d = (struct diag){ 0 };
	assert_int_equal(segment_apply_policy(f->c, p, 0, 0, "all", &alice, &f->d), 0);
}

static struct policy *
parse(struct ctl_fixture *f, const char *text)
{
	struct policy *ret;

	if (policy_parse(text, strlen(text), &f->d, &ret) < 0)
		fail_msg("%s", f->d.msg);
	return ret;
}

static int
apply(struct ctl_fixture *f, const char *text, const struct actor *who)
{
	_cleanup_(policy_freep) struct policy *p = parse(f, text);

	f->d = (struct diag){ 0 };
	return segment_apply_policy(f->c, p, 0, 0, "a file", who, &f->d);
}

/* clang-format off */
#define SET(set, network) \
	"apiVersion: nanoseg/v1\nkind: SegmentPolicy\nmetadata: {name: shop}\n" network \
	"edges:\n  - {from: " set ", to: other, proto: tcp, port: 80, state: approved}\n"
#define NETWORK(prefixes) "networks: {n: [" prefixes "]}\n"
#define ENFORCED "workloads: [{name: web, mode: enforce}]\n"
/* clang-format on */

/* An edge from or to the addresses that a workload is among is one of it. */
static void
who_approves_a_set_does_not_enforce_who_is_in_it(void **state)
{
	static const struct {
		const char *alone, *enforced;
	} in[] = {
		{ SET("{cidr: 10.0.0.0/30}", ""), SET("{cidr: 10.0.0.0/30}", ENFORCED) },
		{ SET("{address: 10.0.0.1}", ""), SET("{address: 10.0.0.1}", ENFORCED) },
		{ SET("{network: n}", NETWORK("10.0.0.0/30")),
		    SET("{network: n}", NETWORK("10.0.0.0/30") ENFORCED) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(in); i++) {
		struct ctl_fixture *f;

		ctl_setup(state);
		f = *state;
		ctl_instance(f->c, 1, "web", "10.0.0.1");
		ctl_instance(f->c, 2, "far", "10.0.0.9");
		f->c->config->separate_duties = true;
		assert_int_equal(apply(f, in[i].alone, &alice), 0);
		assert_int_equal(set_mode(f, "web", MODE_ENFORCE, &alice), -EPERM);
		assert_non_null(strstr(f->d.msg, "of web"));
		assert_int_equal(set_mode(f, "far", MODE_ENFORCE, &alice), 0);
		assert_int_equal(set_mode(f, "web", MODE_ENFORCE, &bob), 0);
		ctl_teardown(state);

		ctl_setup(state);
		f = *state;
		ctl_instance(f->c, 1, "web", "10.0.0.1");
		f->c->config->separate_duties = true;
		assert_int_equal(set_mode(f, "web", MODE_ENFORCE, &alice), 0);
		assert_int_equal(apply(f, in[i].enforced, &alice), -EPERM);
		assert_non_null(strstr(f->d.msg, "set web to enforce"));
		assert_int_equal(apply(f, in[i].enforced, &bob), 0);
		ctl_teardown(state);
	}
}

static void
who_enforces_does_not_put_it_into_a_network_they_approved(void **state)
{
	struct ctl_fixture *f = *state;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	f->c->config->separate_duties = true;
	assert_int_equal(apply(f, SET("{network: n}", NETWORK("10.9.0.0/24")), &alice), 0);
	assert_int_equal(set_mode(f, "web", MODE_ENFORCE, &alice), 0);
	assert_int_equal(
	    apply(f, SET("{network: n}", NETWORK("10.9.0.0/24, 10.0.0.0/30") ENFORCED), &alice),
	    -EPERM);
	assert_int_equal(
	    apply(f, SET("{network: n}", NETWORK("10.9.0.0/24, 10.8.0.0/24") ENFORCED), &alice), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ctl_setup, ctl_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_approval_is_overdue_after_half_a_year_until_it_is_kept),
		TEST(a_new_decision_forgets_who_kept_the_old_one),
		TEST(a_standing_decision_of_an_applied_policy_stays_kept),
		TEST(what_is_not_approved_cannot_be_kept_and_nothing_is),
		TEST(who_approves_is_not_who_enforces),
		cmocka_unit_test(who_approves_a_set_does_not_enforce_who_is_in_it),
		TEST(who_enforces_does_not_put_it_into_a_network_they_approved),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
