/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"
#include "daemon/learn.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/store.h"

#include "daemon/statefile.h"

#define MINUTE (60 * NSEC_PER_SEC)

static const struct actor root = { .name = "uid:0" };

struct fixture {
	char dir[64];
	struct controller *c;
	struct diag d;
	struct workload *web;
	struct edge *edge; /* web -> api 80, approved */
};

static struct workload *
web_of(struct controller *c)
{
	return workload_find(c, "web");
}

static int
set_mode(struct fixture *f, enum wl_mode mode, uint64_t confirm_ns)
{
	struct mode_change m = { web_of(f->c), mode, WL_BOTH };

	f->d.msg[0] = '\0';
	return segment_set_modes(f->c, &m, 1, confirm_ns, "r", &root, &f->d);
}

static int
decide(struct fixture *f, enum edge_state s)
{
	const struct edge_decision given = { .reason = (char *)"because" };
	struct edge *e = ctl_edge(f->c, "web", "api", 80);
	const char *ids[] = { e->id };
	size_t changed;

	return segment_decide(f->c, ids, 1, s, &given, &root, &f->d, &changed);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct edge *e;

	fake_now = T0;
	fake_mono = 1000 * NSEC_PER_SEC;
	ctl_tmpdir(f->dir);
	f->c = ctl_new(f->dir);
	log_init("test", LOG_LVL_ERROR);
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "api", "10.0.0.2");
	e = ctl_add_edge(f->c, "web", "api", 80);
	e->evidence.first_seen_ns = T0 - MINUTE;
	e->dirty = true;
	assert_int_equal(decide(f, EDGE_APPROVED), 0);
	assert_int_equal(set_mode(f, MODE_AUDIT, 0), 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	ctl_free(f->c);
	statefile_remove(f->dir, "confirm.json");
	ctl_rmdir(f->dir);
	free(f);
	return 0;
}

/* The controller dies and comes back; nothing but the store and its files is left. */
static int
again(struct fixture *f)
{
	int r;

	ctl_free(f->c);
	f->c = ctl_new(f->dir);
	r = confirm_load(f->c, &f->d);
	confirm_tick(f->c);
	return r;
}

static void
refuse_at(struct fixture *f, const char *address, uint16_t port, uint64_t count)
{
	struct flow_event ev = ctl_event(1, FLOW_DENIED, "10.0.0.1", address, port);

	ev.count = (uint32_t)count;
	learn_flow(f->c, &ev);
	confirm_tick(f->c);
}

static void
refuse(struct fixture *f, uint16_t port, uint64_t count)
{
	refuse_at(f, "10.0.0.2", port, count);
}

static void
expect(struct fixture *f, uint64_t revision, enum wl_mode mode, bool pending)
{
	assert_int_equal(f->c->revision, revision);
	assert_int_equal(web_of(f->c)->mode, mode);
	assert_int_equal(f->c->confirm.pending, pending);
}

static void
goes_back_when_nobody_confirms(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	expect(f, 3, MODE_ENFORCE, true);
	ctl_wait(5 * MINUTE - 1);
	confirm_tick(f->c);
	expect(f, 3, MODE_ENFORCE, true);
	ctl_wait(1);
	confirm_tick(f->c);
	expect(f, 4, MODE_AUDIT, false);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->state, EDGE_APPROVED);
	assert_int_equal(again(f), 0);
	expect(f, 4, MODE_AUDIT, false);
}

static void
stays_when_confirmed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	assert_int_equal(confirm_accept(f->c, 7, NULL, &root, &f->d), -ESTALE);
	assert_int_equal(confirm_accept(f->c, 3, NULL, &root, &f->d), 0);
	assert_int_equal(confirm_accept(f->c, 0, NULL, &root, &f->d), -ENOENT);
	ctl_wait(10 * MINUTE);
	confirm_tick(f->c);
	expect(f, 3, MODE_ENFORCE, false);
	assert_int_equal(again(f), 0);
	expect(f, 3, MODE_ENFORCE, false);
}

static void
nothing_else_changes_meanwhile(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	assert_int_equal(set_mode(f, MODE_OBSERVE, 0), -EBUSY);
	assert_int_equal(set_mode(f, MODE_OBSERVE, MINUTE), -EBUSY);
	assert_int_equal(decide(f, EDGE_DENIED), -EBUSY);
	expect(f, 3, MODE_ENFORCE, true);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->state, EDGE_APPROVED);
	assert_int_equal(confirm_roll_back(f->c, 2, NULL, &root, &f->d), 0);
	expect(f, 4, MODE_AUDIT, false);
	assert_int_equal(set_mode(f, MODE_OBSERVE, 0), 0);
}

static void
a_death_before_the_deadline_changes_nothing_and_after_it_the_start_goes_back(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	ctl_wait(2 * MINUTE);
	assert_int_equal(again(f), 0);
	expect(f, 3, MODE_ENFORCE, true);
	ctl_wait(3 * MINUTE);
	assert_int_equal(again(f), 0);
	expect(f, 4, MODE_AUDIT, false);
}

static void
the_time_of_day_does_not_matter_within_a_boot(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	fake_now += 1000 * MINUTE;
	assert_int_equal(again(f), 0);
	expect(f, 3, MODE_ENFORCE, true);
	fake_now -= 5000 * MINUTE;
	fake_mono += 5 * MINUTE;
	confirm_tick(f->c);
	expect(f, 4, MODE_AUDIT, false);
}

/* Another boot: the monotonic clock began anew. */
static int
reboot(struct fixture *f, uint64_t now)
{
	json_t *o;

	assert_int_equal(statefile_read(f->dir, "confirm.json", 4096, &o), 0);
	json_object_set_new(o, "boot", json_string("another"));
	assert_int_equal(statefile_write(f->dir, "confirm.json", o), 0);
	fake_now = now;
	fake_mono = 10 * NSEC_PER_SEC;
	return again(f);
}

static void
after_a_reboot_the_time_of_day_counts_and_a_clock_that_went_back_goes_back(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	assert_int_equal(reboot(f, T0 + 2 * MINUTE), 0);
	expect(f, 3, MODE_ENFORCE, true);
	ctl_wait(3 * MINUTE - 1);
	confirm_tick(f->c);
	expect(f, 3, MODE_ENFORCE, true);
	ctl_wait(1);
	confirm_tick(f->c);
	expect(f, 4, MODE_AUDIT, false);
	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	assert_int_equal(reboot(f, fake_now - 100 * MINUTE), 0);
	expect(f, 6, MODE_AUDIT, false);
	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	assert_int_equal(reboot(f, fake_now + 100 * MINUTE), 0);
	expect(f, 8, MODE_AUDIT, false);
}

static void
a_file_of_a_change_that_was_not_stored_means_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_begin(f->c->store), 0); /* it takes nothing now */
	assert_true(set_mode(f, MODE_ENFORCE, 5 * MINUTE) < 0);
	store_rollback(f->c->store);
	expect(f, 2, MODE_AUDIT, false);
	/* A crash between the file and the store. */
	assert_int_equal(confirm_arm(f->c, f->c->revision + 1, MINUTE, &root), 0);
	assert_int_equal(again(f), 0);
	expect(f, 2, MODE_AUDIT, false);
	ctl_wait(10 * MINUTE);
	confirm_tick(f->c);
	expect(f, 2, MODE_AUDIT, false);
}

static void
a_file_that_cannot_be_read_is_not_passed_over(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
	    statefile_write(f->dir, "confirm.json", json_pack("{s:i}", "revision", 2)), 0);
	assert_int_equal(again(f), -EBADMSG);
	assert_non_null(strstr(f->d.msg, "confirm.json"));
}

static void
refusals_of_what_went_through_before_go_back_at_once(void **state)
{
	struct fixture *f = *state;
	uint32_t limit = f->c->config->rollback_denials;

	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	refuse(f, 80, limit - 1);
	expect(f, 3, MODE_ENFORCE, true);
	refuse(f, 80, 1);
	expect(f, 4, MODE_AUDIT, false);
}

/* Seen by way of a wide edge, which a policy then lacks. */
static void
refusals_of_what_was_seen_under_a_wide_edge_go_back_too(void **state)
{
	static const struct {
		const char *to;
		uint16_t lo, hi;
		const char *seen_at, *refused_at;
		uint16_t seen, refused, never;
	} cases[] = {
		{ "workload:api", 5000, 6000, "10.0.0.2", "10.0.0.2", 5001, 5002, 6001 },
		{ "cidr:10.9.0.0/16", 443, 443, "10.9.0.1", "10.9.7.7", 443, 443, 444 },
		{ "internet", 443, 443, "9.9.9.9", "8.8.8.8", 443, 443, 444 },
	};
	struct fixture *f = *state;
	uint32_t limit = f->c->config->rollback_denials;
	const struct edge_decision given = { .reason = (char *)"because" };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(policy_freep) struct policy *p = NULL;
		struct edge *wide =
		    ctl_add_range(f->c, "web", cases[i].to, cases[i].lo, cases[i].hi);
		const char *ids[] = { wide->id };
		struct flow_event ev;
		size_t changed;

		assert_int_equal(
		    segment_decide(f->c, ids, 1, EDGE_APPROVED, &given, &root, &f->d, &changed), 0);
		ev = ctl_event(1, FLOW_ANSWERED, "10.0.0.1", cases[i].seen_at, cases[i].seen);
		learn_flow(f->c, &ev);
		assert_int_equal(edge_connections(wide), 1);
		ctl_wait(MINUTE);
		/* The policy without it. */
		assert_int_equal(confirm_get_revision(f->c, 2, &p, &f->d), 0);
		assert_int_equal(
		    segment_apply_policy(f->c, p, 0, 5 * MINUTE, "r", &root, &f->d), 0);
		assert_int_equal(wide->state, EDGE_PENDING);
		refuse_at(f, cases[i].refused_at, cases[i].never, 1000000);
		assert_int_equal(f->c->confirm.refused, 0);
		refuse_at(f, cases[i].refused_at, cases[i].refused, limit - 1);
		assert_true(f->c->confirm.pending);
		assert_int_equal(f->c->confirm.refused, limit - 1);
		/* Also after a death, but the count begins anew. */
		assert_int_equal(again(f), 0);
		ctl_instance(f->c, 1, "web", "10.0.0.1");
		ctl_instance(f->c, 2, "api", "10.0.0.2");
		refuse_at(f, cases[i].refused_at, cases[i].refused, limit);
		assert_false(f->c->confirm.pending);
		assert_int_equal(
		    ctl_range(f->c, "web", cases[i].to, cases[i].lo, cases[i].hi)->state,
		    EDGE_APPROVED);
	}
}

/* Seen under what was summed up, and nobody decided. */
static void
refusals_of_what_was_summed_up_go_back_too(void **state)
{
	struct fixture *f = *state;

	for (uint16_t port = 40000; port < 40100; port += 2) {
		struct flow_event ev = ctl_event(1, FLOW_ANSWERED, "10.0.0.1", "10.0.0.2", port);

		learn_flow(f->c, &ev);
	}
	assert_null(ctl_edge(f->c, "web", "api", 40010));
	ctl_wait(MINUTE);
	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	refuse(f, 40010, f->c->config->rollback_denials);
	expect(f, 4, MODE_AUDIT, false);
}

static void
a_wide_denial_is_meant(void **state)
{
	const struct edge_decision given = { .reason = (char *)"because" };
	struct fixture *f = *state;
	struct edge *wide = ctl_add_range(f->c, "web", "workload:api", 79, 81);
	const char *ids[] = { wide->id };
	size_t changed;

	assert_int_equal(
	    segment_decide(f->c, ids, 1, EDGE_DENIED, &given, &root, &f->d, &changed), 0);
	ctl_edge(f->c, "web", "api", 80)->state = EDGE_PENDING;
	edge_table_drop_aliases(f->c->edges);
	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	refuse(f, 80, 1000000);
	assert_int_equal(f->c->confirm.refused, 0);
}

static void
a_flood_of_what_was_never_seen_goes_nowhere(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	for (uint16_t port = 1000; port < 1050; port++)
		refuse(f, port, 1000000);
	expect(f, 3, MODE_ENFORCE, true);
	assert_int_equal(f->c->confirm.refused, 0);
}

static void
a_flood_behind_the_window_opens_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	assert_int_equal(confirm_accept(f->c, 0, NULL, &root, &f->d), 0);
	refuse(f, 80, 1000000);
	ctl_wait(MINUTE);
	refuse(f, 80, 1000000);
	expect(f, 3, MODE_ENFORCE, false);
}

static void
what_a_person_denied_or_was_refused_before_does_not_count(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(decide(f, EDGE_DENIED), 0);
	assert_int_equal(set_mode(f, MODE_ENFORCE, 5 * MINUTE), 0);
	refuse(f, 80, 1000000);
	expect(f, 4, MODE_ENFORCE, true);
	assert_int_equal(confirm_accept(f->c, 0, NULL, &root, &f->d), 0);
	ctl_wait(MINUTE);
	/* Still refused, and it was already when the next change was made. */
	assert_int_equal(confirm_roll_back(f->c, 3, NULL, &root, &f->d), 0);
	assert_int_equal(set_mode(f, MODE_OBSERVE, 5 * MINUTE), 0);
	refuse(f, 80, 1000000);
	assert_true(f->c->confirm.pending);
}

static void
every_revision_that_is_kept_comes_back_whole(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(decide(f, EDGE_DENIED), 0);	   /* 3 */
	assert_int_equal(set_mode(f, MODE_ENFORCE, 0), 0); /* 4 */
	assert_int_equal(confirm_roll_back(f->c, 1, "as at first", &root, &f->d), 0);
	expect(f, 5, MODE_OBSERVE, false);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->state, EDGE_APPROVED);
	assert_int_equal(confirm_roll_back(f->c, 4, NULL, &root, &f->d), 0);
	expect(f, 6, MODE_ENFORCE, false);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->state, EDGE_DENIED);
	assert_int_equal(confirm_roll_back(f->c, 0, NULL, &root, &f->d), 0);
	expect(f, 7, MODE_OBSERVE, false);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->state, EDGE_PENDING);
	assert_int_equal(again(f), 0);
	expect(f, 7, MODE_OBSERVE, false);
	assert_int_equal(confirm_roll_back(f->c, 7, NULL, &root, &f->d), -EINVAL);
	assert_int_equal(confirm_roll_back(f->c, 8, NULL, &root, &f->d), -EINVAL);
	assert_int_equal(confirm_roll_back(f->c, UINT64_MAX, NULL, &root, &f->d), -EINVAL);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(goes_back_when_nobody_confirms),
		TEST(stays_when_confirmed),
		TEST(nothing_else_changes_meanwhile),
		TEST(a_death_before_the_deadline_changes_nothing_and_after_it_the_start_goes_back),
		TEST(the_time_of_day_does_not_matter_within_a_boot),
		TEST(after_a_reboot_the_time_of_day_counts_and_a_clock_that_went_back_goes_back),
		TEST(a_file_of_a_change_that_was_not_stored_means_nothing),
		TEST(a_file_that_cannot_be_read_is_not_passed_over),
		TEST(refusals_of_what_went_through_before_go_back_at_once),
		TEST(refusals_of_what_was_seen_under_a_wide_edge_go_back_too),
		TEST(refusals_of_what_was_summed_up_go_back_too),
		TEST(a_wide_denial_is_meant),
		TEST(a_flood_of_what_was_never_seen_goes_nowhere),
		TEST(a_flood_behind_the_window_opens_nothing),
		TEST(what_a_person_denied_or_was_refused_before_does_not_count),
		TEST(every_revision_that_is_kept_comes_back_whole),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
