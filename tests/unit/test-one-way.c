/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"
#include "rules/offline.h"

#define SRC "10.0.0.1"
#define DST "10.0.0.2"
#define OUTSIDE "198.51.100.9"

static int
setup(void **state)
{
	struct controller *c = ctl_new(NULL);

	ctl_instance(c, 1, "web", SRC);
	ctl_instance(c, 2, "log", DST);
	*state = c;
	return 0;
}

static int
teardown(void **state)
{
	ctl_free(*state);
	return 0;
}

static struct flow_event
datagram(uint64_t netns, const char *src, const char *dst, uint16_t port)
{
	struct flow_event ev = ctl_event(netns, FLOW_ATTEMPT, src, dst, port);
	static uint16_t sport;

	ev.tuple.proto = IPPROTO_UDP;
	ev.tuple.sport = (uint16_t)(30000 + sport++ % 30000);
	return ev;
}

static void
report(struct controller *c, uint64_t netns, const char *src, const char *dst, uint16_t port)
{
	struct flow_event ev = datagram(netns, src, dst, port);

	learn_flow(c, &ev);
}

/* Until what was reported has waited long enough for its answer. */
static void
settle(struct controller *c)
{
	ctl_wait(6 * NSEC_PER_SEC);
	attempt_tick(c);
}

static const struct edge *
edge_of(struct controller *c, const char *from, const char *to, uint16_t port)
{
	struct edge_key key = { .proto = IPPROTO_UDP, .port_lo = port, .port_hi = port };
	char name[PEER_STRLEN];
	struct peer p;

	assert_int_equal(peer_parse(from, name, &p), 0);
	key.from = peer_lookup(c->peers, &p);
	assert_int_equal(peer_parse(to, name, &p), 0);
	key.to = peer_lookup(c->peers, &p);
	return edge_table_find(c->edges, &key);
}

static size_t
attempts(struct controller *c)
{
	const struct denial *d;
	size_t pos = 0, n = 0;

	while ((d = denial_next(c->denials, &pos)) != NULL)
		n += d->count;
	return n;
}

static void
send_for(struct controller *c, unsigned turns, uint64_t netns, const char *src, const char *dst,
    uint16_t port)
{
	for (unsigned i = 0; i < turns; i++) {
		report(c, netns, src, dst, port);
		settle(c);
	}
}

static void
datagrams_of_long_standing_become_a_flagged_edge(void **state)
{
	struct controller *c = *state;
	const struct edge *e;

	send_for(c, OFFLINE_ONE_WAY_FRAMES - 1, 1, SRC, DST, 514);
	assert_null(edge_of(c, "web", "log", 514));
	assert_int_equal(attempts(c), OFFLINE_ONE_WAY_FRAMES - 1);
	/* Ten of them in less than a minute are none yet. */
	send_for(c, 1, 1, SRC, DST, 514);
	assert_null(edge_of(c, "web", "log", 514));
	send_for(c, 1, 1, SRC, DST, 514);
	e = edge_of(c, "web", "log", 514);
	assert_non_null(e);
	assert_int_equal(e->flags, EDGE_FLAG_ONE_WAY);
	assert_int_equal(e->state, EDGE_PENDING);
	assert_int_equal(edge_connections(e), 1);
	assert_int_equal(flow_ring_head(c->flows), 1);
	/* From now on it is that edge's: once a minute. */
	assert_int_equal(attempts(c), OFFLINE_ONE_WAY_FRAMES);
	send_for(c, 20, 1, SRC, DST, 514);
	assert_int_equal(attempts(c), OFFLINE_ONE_WAY_FRAMES);
	assert_in_range(edge_connections(e), 2, 3);
	assert_true(e->evidence.last_seen_ns + 70 * NSEC_PER_SEC > fake_now);
	assert_int_equal(edge_table_count(c->edges), 1);
}

static void
both_ends_reports_are_one(void **state)
{
	struct controller *c = *state;

	for (unsigned i = 0; i < 12; i++) {
		struct flow_event ev = datagram(2, SRC, DST, 514);

		learn_flow(c, &ev);
		ev.netns = 1;
		learn_flow(c, &ev);
		settle(c);
	}
	assert_int_equal(edge_connections(edge_of(c, "web", "log", 514)), 1);
}

static void
a_burst_is_of_no_standing(void **state)
{
	struct controller *c = *state;

	for (unsigned burst = 0; burst < 3; burst++) {
		for (unsigned i = 0; i < 30; i++)
			report(c, 1, SRC, DST, 8125);
		ctl_wait(40 * NSEC_PER_SEC);
		attempt_tick(c);
	}
	/* Nor what comes once in hours. */
	for (unsigned i = 0; i < 20; i++) {
		report(c, 1, SRC, DST, 123);
		ctl_wait(2 * 3600 * NSEC_PER_SEC);
		attempt_tick(c);
	}
	assert_int_equal(edge_table_count(c->edges), 0);
}

static void
an_answer_takes_the_flag_away(void **state)
{
	struct controller *c = *state;
	struct flow_event answered;

	send_for(c, 12, 1, SRC, DST, 514);
	assert_int_equal(edge_of(c, "web", "log", 514)->flags, EDGE_FLAG_ONE_WAY);
	answered = datagram(1, SRC, DST, 514);
	answered.kind = FLOW_ANSWERED;
	learn_flow(c, &answered);
	assert_int_equal(edge_of(c, "web", "log", 514)->flags, 0);
	/* And it does not come back, nor count: that it goes unanswered is an attempt again. */
	send_for(c, 40, 1, SRC, DST, 514);
	assert_int_equal(edge_of(c, "web", "log", 514)->flags, 0);
	assert_int_equal(edge_connections(edge_of(c, "web", "log", 514)), 2);
	assert_true(attempts(c) > 20);
}

static void
what_is_refused_is_never_one(void **state)
{
	struct controller *c = *state;

	for (unsigned i = 0; i < 60; i++) {
		struct flow_event ev = datagram(1, SRC, DST, 514);

		learn_flow(c, &ev);
		/* Errors are rare: the kernel sends no more than one a second. */
		if (i % 30 == 0) {
			ev.flags = FLOW_F_REFUSED;
			learn_flow(c, &ev);
		}
		settle(c);
	}
	assert_int_equal(edge_table_count(c->edges), 0);
	assert_int_equal(attempts(c), 60);
	/* Once somebody listens there it is no longer refused. */
	ctl_wait(601 * NSEC_PER_SEC);
	send_for(c, 12, 1, SRC, DST, 514);
	assert_int_equal(edge_table_count(c->edges), 1);
}

static void
nobody_else_says_that_it_is_refused(void **state)
{
	struct controller *c = *state;

	ctl_instance(c, 3, "evil", "10.0.0.3");
	for (unsigned i = 0; i < 12; i++) {
		struct flow_event ev = datagram(3, SRC, DST, 514);

		ev.flags = FLOW_F_REFUSED;
		learn_flow(c, &ev);
		report(c, 1, SRC, DST, 514);
		settle(c);
	}
	assert_int_equal(edge_of(c, "web", "log", 514)->flags, EDGE_FLAG_ONE_WAY);
}

static void
only_the_senders_own_namespace_says_that_it_sends(void **state)
{
	struct controller *c = *state;

	/* Somebody else on the bridge uses its address. */
	send_for(c, 30, 2, SRC, DST, 514);
	assert_int_equal(edge_table_count(c->edges), 0);
	assert_int_equal(attempts(c), 30);
	/* Of who is elsewhere there is nobody else to ask. */
	send_for(c, 12, 2, OUTSIDE, DST, 515);
	assert_int_equal(
	    edge_of(c, "internet", "log", 515)->flags & EDGE_FLAG_ONE_WAY, EDGE_FLAG_ONE_WAY);
	assert_int_equal(edge_table_count(c->edges), 1);
}

static void
a_scan_makes_none_and_keeps_nobody_out(void **state)
{
	struct controller *c = *state;
	unsigned port = 1;

	/* All ports of a silent address, as many as are reported, and 200 of them again and again.
	 */
	for (unsigned turn = 0; turn < 400; turn++) {
		report(c, 2, OUTSIDE, DST, 514);
		for (unsigned i = 0; i < 20; i++, port++)
			report(c, 1, SRC, "10.0.0.77", (uint16_t)port);
		for (unsigned i = 0; i < 20; i++)
			report(c, 1, SRC, "10.0.0.78", (uint16_t)(1 + (turn * 20 + i) % 200));
		settle(c);
	}
	assert_int_equal(edge_table_count(c->edges), 1);
	assert_non_null(edge_of(c, "internet", "log", 514));
}

static void
forged_sources_make_no_more_than_a_bounded_number(void **state)
{
	struct controller *c = *state;
	char src[32];

	for (unsigned turn = 0; turn < OFFLINE_ONE_WAY_FRAMES + 4; turn++) {
		for (unsigned i = 0; i < 100; i++) {
			snprintf(src, sizeof(src), "10.1.%u.9", i);
			report(c, 2, src, DST, (uint16_t)(100 + i));
			if (i % 20 == 19)
				settle(c);
		}
	}
	assert_int_equal(edge_table_count(c->edges), ONE_WAY_EDGES_MAX);
	assert_int_not_equal(instance_find(c, 2)->loss_told_ns[LOSS_EDGES], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(datagrams_of_long_standing_become_a_flagged_edge),
		T(both_ends_reports_are_one),
		T(a_burst_is_of_no_standing),
		T(an_answer_takes_the_flag_away),
		T(what_is_refused_is_never_one),
		T(nobody_else_says_that_it_is_refused),
		T(only_the_senders_own_namespace_says_that_it_sends),
		T(a_scan_makes_none_and_keeps_nobody_out),
		T(forged_sources_make_no_more_than_a_bounded_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
