/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Promotion by evidence: how it goes on, and what it is based on. What holds it back:
 * test-promote-hold. */
#include "promote-fixture.h"

#include "daemon/kin.h"

#include <math.h>

/* Up to the moment that web is enforced. */
static void
reach_enforce(struct ctl_fixture *f)
{
	for (unsigned i = 0; i < 200 && wl(f, "web")->promote_at_ns == 0; i++)
		pass(f->c, 1000 * NSEC_PER_SEC);
	for (unsigned i = 0; i < 4000 && wl(f, "web")->mode != MODE_ENFORCE; i++)
		pass(f->c, NSEC_PER_SEC);
	assert_int_equal(wl(f, "web")->mode, MODE_ENFORCE);
	assert_true(f->c->confirm.pending);
}

static void
it_goes_by_audit_notice_and_confirmation_to_enforce_one_by_one(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	const struct edge *e = ctl_edge(c, "web", "api", 80);

	pass(c, 10 * NSEC_PER_SEC);
	assert_int_equal(wl(f, "web")->mode, MODE_AUDIT);
	assert_int_equal(wl(f, "api")->mode, MODE_AUDIT);
	assert_int_equal(e->state, EDGE_APPROVED);
	assert_int_equal(e->flags, EDGE_FLAG_AUTO);
	assert_false(c->confirm.pending);
	assert_waits(f, "web", MODE_AUDIT, "quiet in audit for");
	assert_waits(f, "web", MODE_AUDIT, "of 1d");

	pass(c, DAY - HOUR);
	assert_waits(f, "web", MODE_AUDIT, "quiet in audit for 23h of 1d");
	pass(c, HOUR + 20 * 60 * NSEC_PER_SEC);
	assert_waits(f, "web", MODE_AUDIT, "waiting: announced, ");
	assert_waits(f, "api", MODE_AUDIT, "web comes first");
	reach_enforce(f);
	assert_int_equal(wl(f, "api")->mode, MODE_AUDIT);
	assert_waits(f, "web", MODE_ENFORCE, "promoted for egress alone: its ingress stays open");
	/* It confirms itself, as nothing was refused; only then is it the other's turn. */
	pass(c, 11 * 60 * NSEC_PER_SEC);
	assert_false(c->confirm.pending);
	assert_int_equal(wl(f, "web")->mode, MODE_ENFORCE);
	assert_int_equal(wl(f, "api")->mode, MODE_AUDIT);
	pass(c, HOUR);
	assert_int_equal(wl(f, "api")->mode, MODE_ENFORCE);
	ctl_restart(f);
	assert_int_equal(wl(f, "web")->mode, MODE_ENFORCE);
}

static void
audit_is_all_that_promote_audit_does(void **state)
{
	struct ctl_fixture *f = *state;

	f->c->config->promote = PROMOTE_AUDIT;
	known_edge(f->c, "api", "web", 81);
	pass(f->c, 3 * DAY);
	assert_int_equal(wl(f, "web")->mode, MODE_AUDIT);
	assert_int_equal(wl(f, "web")->direction, WL_BOTH);
	assert_null(wl(f, "web")->promotion);
}

/* Nobody was seen to ask web, and api was not seen to ask anybody. */
static void
a_direction_in_which_nothing_was_seen_is_left_open(void **state)
{
	struct ctl_fixture *f = *state;
	struct mode_change m = { wl(f, "api"), MODE_AUDIT, WL_BOTH };

	pass(f->c, 10 * NSEC_PER_SEC);
	assert_int_equal(wl(f, "web")->direction, WL_EGRESS);
	assert_int_equal(wl(f, "api")->direction, WL_INGRESS);
	assert_waits(f, "web", MODE_AUDIT, "quiet in audit for");
	/* What comes to be seen there meanwhile was in no audit. */
	known_edge(f->c, "api", "web", 81);
	reach_enforce(f);
	assert_int_equal(wl(f, "web")->direction, WL_EGRESS);
	assert_waits(f, "web", MODE_ENFORCE,
	    "promoted for egress alone: its ingress stays open until a person sets its mode");
	pass(f->c, 11 * 60 * NSEC_PER_SEC);
	assert_int_equal(segment_set_modes(f->c, &m, 1, 0, "looked", &root, &f->d), 0);
	pass(f->c, 10 * NSEC_PER_SEC);
	assert_null(wl(f, "api")->promotion);
}

static void
nor_does_the_clock_close_it(void **state)
{
	struct ctl_fixture *f = *state;

	f->c->config->promote_by = PROMOTE_BY_CLOCK;
	pass(f->c, 10 * NSEC_PER_SEC);
	assert_int_equal(wl(f, "web")->mode, MODE_ENFORCE);
	assert_int_equal(wl(f, "web")->direction, WL_EGRESS);
	assert_int_equal(wl(f, "api")->direction, WL_INGRESS);
}

static void
off_is_off(void **state)
{
	struct ctl_fixture *f = *state;

	f->c->config->promote = PROMOTE_OFF;
	pass(f->c, 3 * DAY);
	assert_int_equal(f->c->revision, 0);
	assert_null(wl(f, "web")->promotion);
}

static void
a_person_who_chose_the_mode_is_not_overruled(void **state)
{
	struct ctl_fixture *f = *state;
	struct mode_change m = { wl(f, "web"), MODE_OBSERVE, WL_BOTH };

	assert_int_equal(segment_set_modes(f->c, &m, 1, 0, "leave it", &root, &f->d), 0);
	pass(f->c, DAY);
	assert_int_equal(wl(f, "web")->mode, MODE_OBSERVE);
	assert_null(wl(f, "web")->promotion);
	assert_int_equal(wl(f, "api")->mode, MODE_AUDIT);
	m.workload = wl(f, "api");
	m.mode = MODE_AUDIT;
	assert_int_equal(segment_set_modes(f->c, &m, 1, 0, "stay", &root, &f->d), 0);
	pass(f->c, 3 * DAY);
	assert_int_equal(wl(f, "api")->mode, MODE_AUDIT);
}

/* The same by a policy file, to a mode that promotion had brought about before. */
static void
nor_is_one_who_applied_a_policy(void **state)
{
	struct ctl_fixture *f = *state;
	struct policy_workload w[] = {
		{ .name = (char *)"api", .mode = MODE_AUDIT, .direction = WL_BOTH },
		{ .name = (char *)"web", .mode = MODE_AUDIT, .direction = WL_BOTH }
	};
	const struct policy p = { .workloads = w, .n_workloads = 2 };

	reach_enforce(f);
	pass(f->c, 11 * 60 * NSEC_PER_SEC);
	assert_false(f->c->confirm.pending);
	assert_int_equal(wl(f, "web")->mode, MODE_ENFORCE);
	assert_int_equal(
	    segment_apply_policy(f->c, &p, f->c->revision, 0, "it broke", &root, &f->d), 0);
	pass(f->c, 5 * DAY);
	assert_int_equal(wl(f, "web")->mode, MODE_AUDIT);
}

/* It may have been refused something while nobody counted. */
static void
after_a_restart_it_is_watched_for_the_whole_time_again(void **state)
{
	struct ctl_fixture *f = *state;
	const uint64_t minute = 60 * NSEC_PER_SEC;

	reach_enforce(f);
	pass(f->c, 8 * minute);
	ctl_restart(f);
	assert_int_equal(confirm_load(f->c, &f->d), 0);
	assert_true(f->c->confirm.pending);
	assert_int_equal(f->c->confirm.deadline_ns - fake_mono, f->c->confirm.window_ns);
	assert_int_equal(f->c->confirm.until_ns - fake_now, f->c->confirm.window_ns);
}

static void
lost_reports_confirm_nothing(void **state)
{
	struct ctl_fixture *f = *state;

	reach_enforce(f);
	f->c->capture.nflog_lost++;
	pass(f->c, 11 * 60 * NSEC_PER_SEC);
	assert_false(f->c->confirm.pending);
	assert_int_equal(wl(f, "web")->mode, MODE_AUDIT);
}

static void
what_audit_reports_begins_the_quiet_time_anew(void **state)
{
	struct ctl_fixture *f = *state;

	pass(f->c, 10 * NSEC_PER_SEC);
	pass(f->c, 20 * HOUR);
	audit_denial(f->c, 4444);
	pass(f->c, 20 * HOUR);
	assert_waits(f, "web", MODE_AUDIT, "quiet in audit for 20h of 1d");
	/* So does what may have been missed. */
	complete_on_loss(instance_find(f->c, 1), LOSS_EVENTS);
	f->c->capture.nflog_lost++;
	pass(f->c, 20 * HOUR);
	assert_waits(f, "web", MODE_AUDIT, "quiet in audit for 19h of 1d");
	assert_waits(f, "api", MODE_AUDIT, "quiet in audit for 19h of 1d");
}

static void
a_clock_that_jumps_ahead_does_not_end_the_quiet_time(void **state)
{
	struct ctl_fixture *f = *state;

	pass(f->c, 10 * NSEC_PER_SEC);
	pass(f->c, 2 * HOUR);
	fake_now += 30 * HOUR;
	watch_all_along(wl(f, "web"));
	pass(f->c, HOUR);
	assert_waits(f, "web", MODE_AUDIT, "quiet in audit for 3h of 1d");
	/* Before its first look, either. */
	wl(f, "web")->quiet.since_ns = 0;
	fake_now += 30 * HOUR;
	watch_all_along(wl(f, "web"));
	pass(f->c, HOUR + 20 * 60 * NSEC_PER_SEC);
	assert_waits(f, "web", MODE_AUDIT, "quiet in audit for 1h of 1d");
}

static void
one_refusal_of_what_went_through_takes_it_back_and_stops_the_project(void **state)
{
	struct ctl_fixture *f = *state;
	struct mode_change m = { .mode = MODE_OBSERVE, .direction = WL_BOTH };
	struct flow_event ev;

	ctl_instance(f->c, 3, "lone", "10.0.0.3");
	watch_all_along(wl(f, "lone"));
	reach_enforce(f);
	/* It was seen, then withdrawn: pending, and refused now. */
	assert_int_equal(
	    edge_decide(f->c->edges, ctl_edge(f->c, "web", "api", 80), EDGE_PENDING, NULL), 0);
	ctl_wait(NSEC_PER_SEC);
	ev = ctl_event(1, FLOW_DENIED, "10.0.0.1", "10.0.0.2", 80);
	learn_flow(f->c, &ev);
	assert_int_equal(f->c->confirm.refused, 1);
	pass(f->c, 11 * 60 * NSEC_PER_SEC);
	assert_false(f->c->confirm.pending);
	assert_int_equal(wl(f, "web")->mode, MODE_AUDIT);
	assert_true(wl(f, "web")->rolled_back);
	assert_waits(f, "web", MODE_AUDIT, "stopped: its promotion was rolled back");
	pass(f->c, 3 * DAY);
	assert_waits(f, "api", MODE_AUDIT, "waiting: web was rolled back");
	ctl_restart(f);
	assert_true(wl(f, "web")->rolled_back);
	/* A person sets its mode: the others may go on. */
	m.workload = wl(f, "web");
	assert_int_equal(segment_set_modes(f->c, &m, 1, 0, "looked", &root, &f->d), 0);
	assert_false(wl(f, "web")->rolled_back);
	ctl_restart(f);
	assert_false(wl(f, "web")->rolled_back);
}

static void
a_persons_rollback_stops_it_too(void **state)
{
	struct ctl_fixture *f = *state;

	reach_enforce(f);
	assert_int_equal(confirm_roll_back(f->c, f->c->revision - 1, "no", &root, &f->d), 0);
	assert_int_equal(wl(f, "web")->mode, MODE_AUDIT);
	assert_true(wl(f, "web")->rolled_back);
	assert_false(wl(f, "api")->rolled_back);
}

/* A change that a person has made under --confirm is a person's to confirm. */
static void
it_confirms_only_its_own(void **state)
{
	struct ctl_fixture *f = *state;
	struct mode_change m = { wl(f, "api"), MODE_AUDIT, WL_BOTH };

	assert_int_equal(segment_set_modes(f->c, &m, 1, 60 * NSEC_PER_SEC, "try", &root, &f->d), 0);
	pass(f->c, 30 * NSEC_PER_SEC);
	assert_waits(f, "web", MODE_OBSERVE, "waiting: a change awaits confirmation");
	pass(f->c, 40 * NSEC_PER_SEC);
	assert_false(f->c->confirm.pending);
	assert_int_equal(wl(f, "api")->mode, MODE_OBSERVE);
}

static unsigned
broken(struct ctl_fixture *f, const char *name)
{
	ctl_wait(HOUR);
	assert_int_equal(complete_update(f->c, 0), 0);
	return wl(f, name)->complete.incomplete_windows;
}

static void
every_kind_of_loss_breaks_the_hour_of_whom_it_hit(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct instance *web = instance_find(c, 1);
	struct flow_event ev;
	unsigned n = broken(f, "web"), other = broken(f, "api");

	assert_int_equal(n, 0);
	ctl_wait(HOUR / 2);
	/* The connection table near its end. */
	web->ct_count = (struct w_ct_stats){ .count = 90, .max = 100 };
	instance_check_headroom(web);
	assert_int_equal(broken(f, "web"), ++n);
	/* It cannot be attached to. */
	web->attach = ATTACH_FAILED;
	web->attach_retry_ns = UINT64_MAX;
	instance_tick(c);
	assert_int_equal(broken(f, "web"), ++n);
	web->attach = ATTACH_DONE;
	/* A full table of edges hits both ends. */
	for (unsigned i = 0; i < 6 * 1000; i++) {
		static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };
		const char *src = i % 2 == 0 ? "10.0.0.1" : "10.0.0.2";
		const char *dst = i % 2 == 0 ? "10.0.0.2" : "10.0.0.1";

		ev = ctl_event(1 + i % 2, FLOW_ANSWERED, src, dst, (uint16_t)(1 + i / 6));
		ev.tuple.proto = protos[i / 2 % 3];
		learn_flow(c, &ev);
	}
	assert_true(edge_table_overflow(c->edges) > 0);
	assert_int_equal(broken(f, "web"), ++n);
	assert_int_equal(broken(f, "api"), ++other);
	/* It began before it was watched. */
	ctl_instance(c, 4, "web", "10.0.0.4");
	instance_find(c, 4)->ns.began_ns = fake_mono;
	ctl_wait(NSEC_PER_SEC);
	instance_find(c, 4)->attached_ns = fake_mono;
	instance_find(c, 4)->start_counted = true;
	instance_tick(c);
	assert_int_equal(broken(f, "web"), ++n);
	/* In time, and that is seen before it ends. */
	ctl_instance(c, 5, "web", "10.0.0.5");
	instance_find(c, 5)->attached_ns = fake_mono;
	instance_find(c, 5)->ns.began_ns = fake_mono + 1;
	instance_on_netns_gone(c, 5);
	assert_int_equal(broken(f, "web"), n);
	/* Found running by a daemon that has just started: the gap began hours ago, in the last one
	 * that is known, and ends in this one; of those in between nothing is claimed. */
	ctl_wait(3 * HOUR);
	c->scanned = false;
	ctl_instance(c, 6, "web", "10.0.0.6");
	c->scanned = true;
	n += 2;
	assert_int_equal(broken(f, "web"), n);
	/* By one that was away for less than that hour. */
	instance_tick(c);
	assert_int_equal(broken(f, "web"), n);
	instance_tick(c);
	c->scanned = false;
	ctl_instance(c, 7, "web", "10.0.0.7");
	c->scanned = true;
	assert_int_equal(broken(f, "web"), ++n);
	assert_int_equal(broken(f, "api"), other);
}

static void
windows_and_runs_reach_status(void **state)
{
	struct ctl_fixture *f = *state;
	_cleanup_(kin_freep) struct kin *kin = NULL;
	struct complete_log log = { 0 };
	json_t *o;

	assert_int_equal(kin_new(f->c, &kin), 0);
	assert_int_equal(complete_update(f->c, 0), 0);
	o = complete_to_json(kin, wl(f, "web"));
	assert_int_equal(json_integer_value(json_object_get(o, "windows")), WEEKS * WEEK_HOURS);
	assert_int_equal(json_integer_value(json_object_get(o, "hoursOfWeek")), 168);
	assert_string_equal(json_string_value(json_object_get(o, "windowKind")), "hour");
	assert_true(json_number_value(json_object_get(o, "newEdgeChanceHigh")) < 0.05);
	assert_true(json_is_integer(json_object_get(o, "unseenHigh")));
	assert_true(json_is_null(json_object_get(o, "why")));
	json_decref(o);
	/* A nightly job of an hour: its runs are what counts. */
	for (unsigned day = 21; day > 0; day--)
		complete_log_mark(&log, (uint32_t)(fake_now / HOUR) - day * 24, COMPLETE_BEGAN);
	set_log(wl(f, "web"), &log);
	wl(f, "web")->observed_ns = 21 * HOUR;
	assert_int_equal(complete_update(f->c, 0), 0);
	o = complete_to_json(kin, wl(f, "web"));
	assert_string_equal(json_string_value(json_object_get(o, "windowKind")), "run");
	assert_int_equal(json_integer_value(json_object_get(o, "windows")), 21);
	assert_true(json_is_number(json_object_get(o, "newEdgeChanceHigh")));
	json_decref(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PROMOTE_TEST(it_goes_by_audit_notice_and_confirmation_to_enforce_one_by_one),
		PROMOTE_TEST(audit_is_all_that_promote_audit_does),
		PROMOTE_TEST(a_direction_in_which_nothing_was_seen_is_left_open),
		PROMOTE_TEST(nor_does_the_clock_close_it),
		PROMOTE_TEST(off_is_off),
		PROMOTE_TEST(a_person_who_chose_the_mode_is_not_overruled),
		PROMOTE_TEST(nor_is_one_who_applied_a_policy),
		PROMOTE_TEST(after_a_restart_it_is_watched_for_the_whole_time_again),
		PROMOTE_TEST(lost_reports_confirm_nothing),
		PROMOTE_TEST(what_audit_reports_begins_the_quiet_time_anew),
		PROMOTE_TEST(a_clock_that_jumps_ahead_does_not_end_the_quiet_time),
		PROMOTE_TEST(one_refusal_of_what_went_through_takes_it_back_and_stops_the_project),
		PROMOTE_TEST(a_persons_rollback_stops_it_too),
		PROMOTE_TEST(it_confirms_only_its_own),
		PROMOTE_TEST(every_kind_of_loss_breaks_the_hour_of_whom_it_hit),
		PROMOTE_TEST(windows_and_runs_reach_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
