/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Promotion by evidence: each safeguard holds it back by itself, and says so. */
#include "promote-fixture.h"

#include "daemon/image.h"
#include "daemon/quarantine.h"

#include <time.h>

/* Each takes one thing away from the workload web for which all is well. */
static void
too_short(struct ctl_fixture *f)
{
	wl(f, "web")->observed_ns = 5 * DAY + 3 * HOUR;
	f->c->config->observation_period_ns = 7 * DAY;
}

static void
one_week(struct ctl_fixture *f)
{
	struct complete_log l;

	complete_log_unfold(wl(f, "web")->log, &l);
	l.begin = (uint32_t)(fake_now / HOUR) - WEEK_HOURS;
	set_log(wl(f, "web"), &l);
}

static void
a_gap(struct ctl_fixture *f)
{
	uint32_t now = (uint32_t)(fake_now / HOUR);
	struct complete_log l = { 0 };

	for (uint32_t h = now - WEEKS * WEEK_HOURS; h <= now; h++)
		complete_log_mark(
		    &l, h, COMPLETE_RAN | (h % WEEK_HOURS == 77 ? COMPLETE_BROKEN : 0));
	set_log(wl(f, "web"), &l);
}

static void
much_loss(struct ctl_fixture *f)
{
	uint32_t now = (uint32_t)(fake_now / HOUR);
	struct complete_log l = { 0 };

	for (uint32_t h = now - WEEKS * WEEK_HOURS; h <= now; h++)
		complete_log_mark(&l, h, COMPLETE_RAN | (h + 20 > now ? COMPLETE_BROKEN : 0));
	set_log(wl(f, "web"), &l);
}

/* Of one window of five hundred: what is claimed stands. */
static void
lost_lately(struct ctl_fixture *f)
{
	wl(f, "web")->missed_ns = fake_now - 3 * HOUR;
}

static void
new_edges(struct ctl_fixture *f)
{
	for (uint16_t k = 1; k <= 5; k++)
		known_edge(f->c, "web", "api", k)->evidence.first_seen_ns =
		    fake_now - k * 20 * HOUR;
}

static void
one_new_edge(struct ctl_fixture *f)
{
	known_edge(f->c, "web", "api", 1)->evidence.first_seen_ns = fake_now - 20 * HOUR;
}

static void
flagged(struct ctl_fixture *f)
{
	known_edge(f->c, "host", "web", 443)->flags = EDGE_FLAG_VIA_HOST;
	known_edge(f->c, "web", "api", 81)->flags = EDGE_FLAG_MIDSTREAM;
}

static void
missing(struct ctl_fixture *f)
{
	static const char *const names[] = { "shop/a", "shop/b", "shop/c", "shop/d", "shop/e" };

	flagged(f);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct workload *w = workload_get(f->c, names[i]);

		w->last_seen_ns = i % 2 ? fake_now - 300 * DAY : 0;
	}
}

static void
missing_in_network(struct ctl_fixture *f)
{
	struct workload *w = workload_get(f->c, "backup");

	w->last_seen_ns = fake_now - 300 * DAY;
	workload_set_text(&w->networks, "shop_default");
	workload_set_text(&wl(f, "web")->networks, "shop_default");
}

static void
silent(struct ctl_fixture *f)
{
	edge_table_remove(f->c->edges, ctl_edge(f->c, "web", "api", 80));
	/* Refused and pending by a person's word, it is not what it does. */
	audit_denial(f->c, 80);
}

static void
silent_in_its_direction(struct ctl_fixture *f)
{
	f->c->config->promote_direction = WL_INGRESS;
}

static void
unobserved(struct ctl_fixture *f)
{
	instance_find(f->c, 1)->attach = ATTACH_FAILED;
	instance_find(f->c, 1)->attach_retry_ns = UINT64_MAX;
}

static void
each_safeguard_holds_it_back_and_says_so(void **state)
{
	static const struct {
		void (*spoil)(struct ctl_fixture *f);
		const char *words;
	} cases[] = {
		{ too_short, "waiting: 5d of 7d observed" },
		{ one_week, "waiting: it has been observed for less than two weeks" },
		{ a_gap, "not every hour of the week has been observed without a gap" },
		{ much_loss, "too much may have been missed lately" },
		{ lost_lately, "waiting: 3h of 7d without loss" },
		{ new_edges, "new edges keep coming" },
		{ one_new_edge, "% of the hours, 5% are allowed" },
		{ flagged, "waiting: 2 flagged edges" },
		{ missing, "waiting: 2 flagged edges, shop/a has not run yet, shop/c has not run "
			   "yet, shop/e has not run yet, nor have 2 others" },
		{ missing_in_network, "waiting: backup has not run yet" },
		{ silent, "waiting: it has not been seen to talk to anybody" },
		{ silent_in_its_direction, "it has not been seen to talk to anybody" },
		{ unobserved, "not all of its containers can be observed" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		setup(state);
		cases[i].spoil(*state);
		pass(((struct ctl_fixture *)*state)->c, 10 * NSEC_PER_SEC);
		assert_waits(*state, "web", MODE_OBSERVE, cases[i].words);
		if (i + 1 < ARRAY_SIZE(cases))
			teardown(state);
	}
}

static void
a_quarantine_and_another_image_hold_it_back(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *i = instance_find(f->c, 1);
	struct container evil = { .identity.image_repo = "evil" };
	char path[128];

	assert_int_equal(workload_accept(i->workload, "nginx"), 0);
	i->container = &evil;
	pass(f->c, 10 * NSEC_PER_SEC);
	assert_waits(f, "web", MODE_OBSERVE, "waiting: another image is to be accepted");
	i->container = NULL;
	assert_int_equal(quarantine_add(f->c, "web", "odd", NULL, 0, &root, &f->d), 0);
	pass(f->c, 10 * NSEC_PER_SEC);
	assert_waits(f, "web", MODE_OBSERVE, "waiting: it is quarantined");
	assert_int_equal(quarantine_release(f->c, "web", "done", &root, &f->d), 0);
	pass(f->c, 10 * NSEC_PER_SEC);
	assert_int_equal(wl(f, "web")->mode, MODE_AUDIT);
	snprintf(path, sizeof(path), "%s/quarantine.json", f->dir);
	unlink(path);
}

/* Names of strangers in it: as long as they may be, and of letters that are escaped. */
static void
the_sentence_is_bounded(void **state)
{
	struct ctl_fixture *f = *state;
	char name[240];

	workload_set_text(&wl(f, "web")->networks, "net");
	memset(name, '\n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (unsigned i = 0; i < 5; i++) {
		struct workload *w;

		name[0] = (char)('a' + i);
		w = workload_get(f->c, name);
		assert_non_null(w);
		workload_set_text(&w->networks, "net");
		w->rolled_back = i == 0;
	}
	workload_set_text(&wl(f, "web")->project, "");
	flagged(f);
	unobserved(f);
	too_short(f);
	pass(f->c, 10 * NSEC_PER_SEC);
	assert_waits(f, "web", MODE_OBSERVE, "was rolled back, ");
	assert_waits(f, "web", MODE_OBSERVE, "2 flagged edges, ");
	assert_null(strchr(wl(f, "web")->promotion, '\n'));
	assert_in_range(strlen(wl(f, "web")->promotion), 800, 1023);
}

static void
silence_is_not_promoted_by_the_clock_either(void **state)
{
	struct ctl_fixture *f = *state;

	f->c->config->promote_by = PROMOTE_BY_CLOCK;
	silent(f);
	pass(f->c, 2 * DAY);
	assert_waits(f, "web", MODE_OBSERVE, "it has not been seen to talk to anybody");
}

static void
a_loss_is_forgotten_after_the_period_and_not_by_a_restart(void **state)
{
	struct ctl_fixture *f = *state;

	complete_on_loss(instance_find(f->c, 1), LOSS_END);
	assert_true(wl(f, "web")->missed_ns == 0);
	complete_on_loss(instance_find(f->c, 1), LOSS_EVENTS);
	assert_int_equal(flush_evidence(f->c), 0);
	ctl_restart(f);
	assert_true(wl(f, "web")->missed_ns == fake_now);
	f->c->config->promote = PROMOTE_AUDIT;
	f->c->config->promote_by = PROMOTE_BY_EVIDENCE;
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	watch_all_along(wl(f, "web"));
	pass(f->c, 2 * DAY);
	assert_waits(f, "web", MODE_OBSERVE, "waiting: 2d of 7d without loss");
	pass(f->c, 6 * DAY);
	assert_int_equal(wl(f, "web")->mode, MODE_AUDIT);
}

static void
the_window_of_the_week_is_kept_to(void **state)
{
	struct ctl_fixture *f = *state;
	const uint64_t minute = 60 * NSEC_PER_SEC;
	/* The hour before midnight, on every day; T0 is at 8. */
	const struct config_window w = {
		.days = 0x7f, .from_min = 23 * 60, .to_min = 24 * 60, .text = "Mon-Sun 23:00-24:00"
	};

	f->c->config->promote_window = w;
	pass(f->c, 10 * NSEC_PER_SEC);
	pass(f->c, DAY + 14 * HOUR + 30 * minute);
	assert_waits(f, "web", MODE_AUDIT, "waiting: the window is Mon-Sun 23:00-24:00 UTC");
	pass(f->c, 50 * minute);
	assert_int_equal(wl(f, "web")->mode, MODE_ENFORCE);
}

static void
only_its_weekday_counts_and_its_end_is_outside(void **state)
{
	struct ctl_fixture *f = *state;
	struct config_window *win = &f->c->config->promote_window;
	time_t t;
	struct tm tm;

	*win = (struct config_window){ .days = 1, .from_min = 0, .to_min = 0, .text = "never" };
	pass(f->c, DAY + 3 * HOUR);
	assert_waits(f, "web", MODE_AUDIT, "waiting: the window is never UTC");
	for (unsigned i = 0; i < 4; i++) {
		unsigned now, day;

		t = (time_t)(fake_now / NSEC_PER_SEC) + 6;
		gmtime_r(&t, &tm);
		now = (unsigned)(tm.tm_hour * 60 + tm.tm_min);
		day = tm.tm_wday == 0 ? 6 : (unsigned)tm.tm_wday - 1; /* Monday is the first */
		/* Another day, before it begins, when it is over; then in it. */
		win->days = i == 0 ? 0x7f & ~(1u << day) : 1u << day;
		win->from_min = i == 1 ? now + 2 : 0;
		win->to_min = i == 2 ? now : 24 * 60;
		ctl_wait(6 * NSEC_PER_SEC);
		promote_tick(f->c);
		assert_int_equal(wl(f, "web")->mode, i == 3 ? MODE_ENFORCE : MODE_AUDIT);
	}
}

static void
a_notice_says_how_long_it_is_and_a_change_of_a_person_comes_first(void **state)
{
	struct ctl_fixture *f = *state;
	struct mode_change m = { .mode = MODE_AUDIT, .direction = WL_BOTH };
	json_t *o;

	ctl_instance(f->c, 3, "lone", "10.0.0.3");
	f->c->config->promote_notice_ns = HOUR;
	o = promote_to_json(wl(f, "web"));
	assert_true(json_is_null(o));
	json_decref(o);
	pass(f->c, DAY + 20 * 60 * NSEC_PER_SEC);
	o = promote_to_json(wl(f, "web"));
	assert_non_null(
	    strstr(json_string_value(json_object_get(o, "why")), "waiting: announced, "));
	assert_non_null(strstr(json_string_value(json_object_get(o, "why")), "m to go"));
	assert_true(json_is_string(json_object_get(o, "at")));
	json_decref(o);
	m.workload = wl(f, "lone");
	assert_int_equal(segment_set_modes(f->c, &m, 1, 3 * HOUR, "try", &root, &f->d), 0);
	pass(f->c, 2 * HOUR);
	assert_waits(f, "web", MODE_AUDIT, "waiting: a change awaits confirmation");
	pass(f->c, HOUR);
	pass(f->c, HOUR);
	assert_int_equal(wl(f, "web")->mode, MODE_ENFORCE);
}

static void
a_rollback_stops_its_own_project_alone(void **state)
{
	struct ctl_fixture *f = *state;

	wl(f, "web")->rolled_back = true;
	pass(f->c, 10 * NSEC_PER_SEC);
	assert_waits(f, "web", MODE_OBSERVE, "stopped: its promotion was rolled back");
	assert_waits(f, "api", MODE_OBSERVE, "waiting: web was rolled back");
	workload_set_text(&wl(f, "api")->project, "office");
	pass(f->c, 10 * NSEC_PER_SEC);
	assert_int_equal(wl(f, "api")->mode, MODE_AUDIT);
	assert_int_equal(wl(f, "web")->mode, MODE_OBSERVE);
}

/* What rules of others refuse says nothing of what its own would. */
static void
what_is_refused_already_does_not_break_the_quiet(void **state)
{
	struct ctl_fixture *f = *state;
	struct flow_event ev;

	pass(f->c, 10 * NSEC_PER_SEC);
	pass(f->c, 20 * HOUR);
	ev = ctl_event(1, FLOW_DENIED, "10.0.0.1", "10.0.0.2", 4444);
	learn_flow(f->c, &ev);
	pass(f->c, 2 * HOUR);
	assert_waits(f, "web", MODE_AUDIT, "quiet in audit for 22h of 1d");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(each_safeguard_holds_it_back_and_says_so, teardown),
		PROMOTE_TEST(a_quarantine_and_another_image_hold_it_back),
		PROMOTE_TEST(the_sentence_is_bounded),
		PROMOTE_TEST(silence_is_not_promoted_by_the_clock_either),
		PROMOTE_TEST(a_loss_is_forgotten_after_the_period_and_not_by_a_restart),
		PROMOTE_TEST(the_window_of_the_week_is_kept_to),
		PROMOTE_TEST(only_its_weekday_counts_and_its_end_is_outside),
		PROMOTE_TEST(a_notice_says_how_long_it_is_and_a_change_of_a_person_comes_first),
		PROMOTE_TEST(a_rollback_stops_its_own_project_alone),
		PROMOTE_TEST(what_is_refused_already_does_not_break_the_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
