/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"
#include "daemon/denial.h"
#include "daemon/learn.h"

static int
setup(void **state)
{
	struct controller *c = ctl_new(NULL);

	ctl_instance(c, 1, "web", "10.0.0.1");
	ctl_instance(c, 2, "api", "10.0.0.2");
	*state = c;
	return 0;
}

static int
teardown(void **state)
{
	ctl_free(*state);
	return 0;
}

static void
feed(struct controller *c, uint8_t kind, uint16_t port)
{
	struct flow_event ev =
	    ctl_event(kind == FLOW_ATTEMPT ? 0 : 1, kind, "10.0.0.1", "10.0.0.2", port);

	learn_flow(c, &ev);
}

static const struct denial *
nth(struct controller *c, size_t pos)
{
	return denial_next(c->denials, &pos);
}

static void
the_same_refusal_is_one_record(void **state)
{
	struct controller *c = *state;
	const struct denial *d;
	char id[EDGE_ID_STRLEN];

	feed(c, FLOW_DENIED, 80);
	d = nth(c, 0);
	memcpy(id, d->id, sizeof(id));
	assert_true(d->first_ns == fake_now);
	ctl_wait(NSEC_PER_SEC);
	feed(c, FLOW_DENIED, 80);
	feed(c, FLOW_AUDITED, 80);
	feed(c, FLOW_DENIED, 81);
	d = nth(c, 0);
	assert_string_equal(d->id, id);
	assert_int_equal(d->count, 2);
	assert_true(d->last_ns == fake_now && d->first_ns == fake_now - NSEC_PER_SEC);
	assert_int_equal(d->last.sport, 40000);
	assert_int_equal(nth(c, 1)->kind, FLOW_AUDITED);
	assert_int_equal(nth(c, 2)->key.port_lo, 81);
	assert_null(nth(c, 3));
	assert_string_not_equal(nth(c, 1)->id, id);
	assert_ptr_equal(denial_find(c->denials, id), nth(c, 0));
	assert_null(denial_find(c->denials, ""));
	assert_null(denial_find(c->denials, "d-"));
	assert_null(denial_find(c->denials, "e-000000000000"));
}

static void
a_full_table_forgets_the_oldest_and_says_so(void **state)
{
	struct controller *c = *state;
	char newest[EDGE_ID_STRLEN];
	size_t n = 0;

	for (uint16_t port = 1; port <= 1000; port++) {
		feed(c, FLOW_DENIED, port);
		ctl_wait(NSEC_PER_SEC);
	}
	while (nth(c, n) != NULL)
		n++;
	assert_true(n <= 64 && n > 50);
	assert_int_equal(denial_evicted(c->denials), 1000 - n);
	assert_int_equal(nth(c, n - 1)->key.port_lo, 1000);
	assert_int_equal(nth(c, 0)->key.port_lo, 1000 - n + 1);
	/* The index still finds each of them. */
	memcpy(newest, nth(c, n - 1)->id, sizeof(newest));
	feed(c, FLOW_DENIED, 1000);
	assert_int_equal(denial_find(c->denials, newest)->count, 2);
}

static void
a_full_table_of_one_moment_still_takes_the_next(void **state)
{
	struct controller *c = *state;

	for (uint16_t port = 1; port <= 200; port++)
		feed(c, FLOW_DENIED, port);
	assert_non_null(nth(c, 40));
	assert_null(nth(c, 64));
}

static void
an_attempt_is_listed_when_no_answer_comes(void **state)
{
	struct controller *c = *state;

	feed(c, FLOW_ATTEMPT, 80);
	feed(c, FLOW_ATTEMPT, 80);
	ctl_wait(4 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_null(nth(c, 0));
	ctl_wait(2 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_int_equal(nth(c, 0)->kind, FLOW_ATTEMPT);
	assert_int_equal(nth(c, 0)->count, 2);
	attempt_tick(c);
	assert_int_equal(nth(c, 0)->count, 2);
}

static void
an_answered_attempt_is_not_listed_in_either_order(void **state)
{
	struct controller *c = *state;
	struct edge *wide = ctl_add_edge(c, "web", "cidr:10.0.0.0/8", 81);

	/* The second is served by an edge of another key. */
	assert_int_equal(edge_decide(c->edges, wide, EDGE_APPROVED, NULL), 0);
	feed(c, FLOW_ATTEMPT, 80);
	feed(c, FLOW_ANSWERED, 80);
	feed(c, FLOW_ANSWERED, 81);
	feed(c, FLOW_ATTEMPT, 81);
	assert_int_equal(edge_connections(wide), 1);
	ctl_wait(6 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_null(nth(c, 0));
	/* Later, the same tuple again, and nobody answers. */
	feed(c, FLOW_ATTEMPT, 81);
	ctl_wait(6 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_int_equal(nth(c, 0)->key.port_lo, 81);
}

/* As of one that the kernel counts, or whose first packet came here late. */
static void
an_attempt_at_an_edge_that_was_used_then_is_no_attempt(void **state)
{
	struct controller *c = *state;
	struct edge *e = ctl_add_edge(c, "web", "api", 80);

	feed(c, FLOW_ATTEMPT, 80);
	e->evidence.last_seen_ns = fake_now - NSEC_PER_SEC;
	ctl_wait(6 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_null(nth(c, 0));
	/* Its last use was before. */
	feed(c, FLOW_ATTEMPT, 80);
	e->evidence.last_seen_ns = fake_now - NSEC_PER_SEC - 1;
	ctl_wait(6 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_int_equal(nth(c, 0)->kind, FLOW_ATTEMPT);
}

static void
a_refused_attempt_is_a_refusal_only(void **state)
{
	struct controller *c = *state;

	feed(c, FLOW_ATTEMPT, 80);
	feed(c, FLOW_DENIED, 80);
	ctl_wait(6 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_int_equal(nth(c, 0)->kind, FLOW_DENIED);
	assert_null(nth(c, 1));
}

static void
a_flood_of_attempts_is_counted(void **state)
{
	struct controller *c = *state;

	for (uint16_t port = 1; port <= 2000; port++)
		feed(c, FLOW_ATTEMPT, port);
	assert_true(attempt_lost(c->attempts) >= 2000 - 64);
	ctl_wait(6 * NSEC_PER_SEC);
	attempt_tick(c);
	feed(c, FLOW_ATTEMPT, 3000);
	ctl_wait(6 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_non_null(nth(c, 0));
}

static void
an_attempt_from_the_future_does_not_stay(void **state)
{
	struct controller *c = *state;
	struct flow_event ev = ctl_event(0, FLOW_ATTEMPT, "10.0.0.1", "10.0.0.2", 80);

	ev.time_ns = UINT64_MAX;
	learn_flow(c, &ev);
	attempt_tick(c);
	assert_int_equal(nth(c, 0)->kind, FLOW_ATTEMPT);
}

static void
the_hosts_own_attempts_are_not_shown(void **state)
{
	struct controller *c = *state;
	struct flow_event ev = ctl_event(0, FLOW_ATTEMPT, "10.0.0.254", "192.0.2.1", 80);

	ctl_instance(c, 9, "host", "10.0.0.254");
	learn_flow(c, &ev);
	ctl_wait(6 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_null(nth(c, 0));
}

int
main(void)
{
#define DENIAL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		DENIAL_TEST(the_same_refusal_is_one_record),
		DENIAL_TEST(a_full_table_forgets_the_oldest_and_says_so),
		DENIAL_TEST(a_full_table_of_one_moment_still_takes_the_next),
		DENIAL_TEST(an_attempt_is_listed_when_no_answer_comes),
		DENIAL_TEST(an_answered_attempt_is_not_listed_in_either_order),
		DENIAL_TEST(an_attempt_at_an_edge_that_was_used_then_is_no_attempt),
		DENIAL_TEST(a_refused_attempt_is_a_refusal_only),
		DENIAL_TEST(a_flood_of_attempts_is_counted),
		DENIAL_TEST(an_attempt_from_the_future_does_not_stay),
		DENIAL_TEST(the_hosts_own_attempts_are_not_shown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
