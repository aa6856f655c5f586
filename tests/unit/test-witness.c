/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a destination says of another workload: believed when that one has seen it, too. */
#include "ctl-fixture.h"
#include "daemon/flows.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "netlink/ct.h"

#define SRC "10.0.0.1"
#define DST "10.0.0.2"
#define JUDGED (6 * NSEC_PER_SEC)

struct world {
	struct controller *c;
	struct instance *web, *api, *host;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->c = ctl_new(NULL);
	w->web = ctl_instance(w->c, 1, "web", SRC);
	w->api = ctl_instance(w->c, 2, "api", DST);
	w->c->host = w->host = ctl_instance(w->c, 9, "host", "10.0.0.254");
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	ctl_free(w->c);
	free(w);
	return 0;
}

static void
see(struct controller *c, uint64_t netns, uint16_t port, uint16_t sport)
{
	struct flow_event ev = ctl_event(netns, FLOW_ANSWERED, SRC, DST, port);

	ev.tuple.sport = sport;
	learn_flow(c, &ev);
}

static void
see_in_dump(struct controller *c, uint64_t netns, uint16_t port, uint16_t sport)
{
	struct flow_event ev = ctl_event(netns, FLOW_ANSWERED, SRC, DST, port);

	ev.tuple.sport = sport;
	ev.flags = FLOW_F_FROM_DUMP;
	learn_flow(c, &ev);
}

static void
judge(struct controller *c)
{
	ctl_wait(JUDGED);
	witness_tick(c);
}

static void
what_the_source_has_not_done_is_nobodys(void **state)
{
	struct world *w = *state;

	for (uint16_t k = 0; k < 50; k++)
		see(w->c, 2, 80, 40000 + k);
	witness_tick(w->c);
	assert_int_equal(w->c->spoofed, 0);
	judge(w->c);
	assert_int_equal(w->c->spoofed, 50);
	assert_int_equal(edge_table_count(w->c->edges), 0);
	assert_int_equal(flow_ring_head(w->c->flows), 1);
	judge(w->c);
	assert_int_equal(w->c->spoofed, 50);
}

static void
the_sources_word_credits_what_was_held_in_either_order(void **state)
{
	struct world *w = *state;
	struct edge *e;

	for (uint16_t k = 0; k < 3; k++)
		see(w->c, 2, 80, 40000 + k);
	/* Of the destination's table, read while they wait. */
	for (uint16_t k = 0; k < 3; k++)
		see_in_dump(w->c, 2, 80, 40000 + k);
	for (uint16_t k = 0; k < 3; k++)
		see(w->c, 1, 80, 40000 + k);
	see(w->c, 1, 81, 40000);
	see(w->c, 2, 81, 40000);
	e = ctl_edge(w->c, "web", "api", 80);
	assert_non_null(e);
	assert_int_equal(e->evidence.connections_source, 3);
	assert_int_equal(e->evidence.connections_destination, 3);
	assert_int_equal(e->flags, 0);
	assert_int_equal(edge_connections(ctl_edge(w->c, "web", "api", 81)), 1);
	judge(w->c);
	assert_int_equal(w->c->spoofed, 0);
	assert_int_equal(edge_connections(e), 3);
}

enum doubt { LOST, LOST_LONG_AGO, LATE, GONE, HOST_LOST, NO_HOST, COUNTED, N_DOUBTS };

static void
a_source_that_may_have_missed_it_leaves_a_flag(void **state)
{
	for (enum doubt d = 0; d < N_DOUBTS; d++) {
		struct world *w = *state;
		uint64_t now = now_mono();
		struct edge *e;

		if (d == LOST || d == LOST_LONG_AGO)
			w->web->lost_ns = now - (d == LOST ? 1 : 100) * NSEC_PER_SEC;
		if (d == LATE)
			w->web->attached_ns = now - NSEC_PER_SEC;
		if (d == HOST_LOST)
			w->host->lost_ns = now;
		if (d == NO_HOST)
			w->c->host = NULL;
		see(w->c, 2, 80, d == COUNTED ? 0 : 40000);
		if (d == GONE)
			instance_on_netns_gone(w->c, 1);
		judge(w->c);
		e = ctl_edge(w->c, "web", "api", 80);
		if (d == LOST_LONG_AGO) {
			assert_null(e);
			assert_int_equal(w->c->spoofed, 1);
		} else {
			assert_non_null(e);
			assert_int_equal(e->flags, EDGE_FLAG_ONE_END);
			assert_int_equal(edge_connections(e), 1);
			assert_int_equal(w->c->spoofed, 0);
			/* It is not held again, and its own word takes the flag away. */
			if (d != GONE) {
				see(w->c, 2, 80, 40001);
				assert_int_equal(edge_connections(e), 2);
				see(w->c, 1, 80, 40002);
				assert_int_equal(e->flags, 0);
			}
		}
		teardown(state);
		setup(state);
	}
}

static void
a_source_that_is_not_observed_leaves_a_flag_at_once(void **state)
{
	struct world *w = *state;

	w->web->attach = ATTACH_FAILED;
	see(w->c, 2, 80, 40000);
	assert_int_equal(ctl_edge(w->c, "web", "api", 80)->flags, EDGE_FLAG_ONE_END);
}

static void
translated_by_the_host_it_is_known_by_what_was_dialled(void **state)
{
	struct world *w = *state;
	struct ct_entry e = { .orig = ctl_event(0, FLOW_ANSWERED, SRC, "10.0.0.254", 8080).tuple };
	struct tuple seen = ctl_event(0, FLOW_ANSWERED, SRC, DST, 80).tuple;
	struct flow_event own = ctl_event(1, FLOW_ANSWERED, SRC, "10.0.0.254", 8080);

	e.reply = tuple_reverse(&seen);
	nat_cache_add(w->c->nat, &e);
	see(w->c, 2, 80, 40000);
	assert_null(ctl_edge(w->c, "web", "api", 80));
	learn_flow(w->c, &own);
	assert_int_equal(ctl_edge(w->c, "web", "api", 80)->flags, 0);
	assert_int_equal(edge_connections(ctl_edge(w->c, "web", "host", 8080)), 1);
	see(w->c, 2, 80, 40000);
	assert_int_equal(edge_connections(ctl_edge(w->c, "web", "api", 80)), 2);
}

static void
a_flood_of_them_is_bounded_and_loud(void **state)
{
	struct world *w = *state;
	const unsigned n = 60000;
	uint64_t all;

	for (unsigned k = 0; k < n; k++)
		see(w->c, 2, (uint16_t)(1 + k), 40000);
	judge(w->c);
	all = w->c->spoofed + w->c->waiting_lost;
	assert_int_equal(all, n);
	assert_in_range(w->c->spoofed, 900, 1024);
	assert_int_equal(edge_table_count(w->c->edges), 0);
	/* And is over when it is. */
	see(w->c, 2, 80, 40000);
	see(w->c, 1, 80, 40000);
	assert_int_equal(ctl_edge(w->c, "web", "api", 80)->evidence.connections_destination, 1);
}

/* Nobody has said so when it came: there was room then. */
static void
what_finds_no_room_in_the_end_is_lost_aloud(void **state)
{
	struct world *w = *state;
	struct controller *c = w->c;

	edge_table_free(c->edges);
	assert_int_equal(edge_table_new(c->peers, 1, c->seed, learn_covers, c, &c->edges), 0);
	w->web->lost_ns = now_mono();
	see(c, 2, 80, 40000);
	assert_int_equal(w->api->workload->loss_sources, 0);
	ctl_add_edge(c, "web", "addr:192.0.2.1", 443);
	judge(c);
	assert_int_equal(edge_table_count(c->edges), 1);
	assert_int_equal(w->api->workload->loss_sources, 1u << LOSS_EDGES);
}

static void
what_a_person_approved_is_no_word_of_the_source(void **state)
{
	struct world *w = *state;
	struct edge *e = ctl_add_edge(w->c, "web", "api", 80);

	assert_int_equal(edge_decide(w->c->edges, e, EDGE_APPROVED, NULL), 0);
	see(w->c, 2, 80, 40000);
	judge(w->c);
	assert_int_equal(edge_connections(e), 0);
	assert_int_equal(w->c->spoofed, 1);
}

/* Told by the client, whose namespace has forgotten how it began. */
static void
see_answer(struct controller *c, uint8_t proto, uint16_t port, uint16_t sport)
{
	struct flow_event ev = ctl_event(1, FLOW_ANSWERED, DST, SRC, port);

	ev.tuple.sport = sport;
	ev.tuple.proto = proto;
	learn_flow(c, &ev);
}

static void
an_answer_met_in_its_middle_is_nobodys_service(void **state)
{
	struct world *w = *state;

	see(w->c, 1, 80, 40000);
	see_answer(w->c, IPPROTO_TCP, 40000, 80);
	judge(w->c);
	w->api->attach = ATTACH_FAILED;
	see_answer(w->c, IPPROTO_TCP, 40000, 80);
	assert_int_equal(edge_table_count(w->c->edges), 1);
	assert_int_equal(w->c->unresolved, 2);
	assert_int_equal(w->c->spoofed, 0);
	/* From another port it is not, nor is what serves both ways by one. */
	see_answer(w->c, IPPROTO_TCP, 40000, 81);
	see_answer(w->c, IPPROTO_UDP, 80, 80);
	assert_int_equal(edge_table_count(w->c->edges), 3);
	assert_int_equal(ctl_edge(w->c, "api", "web", 40000)->flags, EDGE_FLAG_ONE_END);
	assert_int_equal(w->c->unresolved, 2);
}

/* One that its client has told nothing of is not known to be one. */
static void
an_answer_is_known_by_its_service_alone(void **state)
{
	struct world *w = *state;

	see_answer(w->c, IPPROTO_TCP, 40000, 80);
	judge(w->c);
	assert_int_equal(w->c->spoofed, 1);
	assert_int_equal(w->c->unresolved, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    what_the_source_has_not_done_is_nobodys, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    the_sources_word_credits_what_was_held_in_either_order, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_source_that_may_have_missed_it_leaves_a_flag, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_source_that_is_not_observed_leaves_a_flag_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    translated_by_the_host_it_is_known_by_what_was_dialled, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_flood_of_them_is_bounded_and_loud, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_finds_no_room_in_the_end_is_lost_aloud, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_a_person_approved_is_no_word_of_the_source, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    an_answer_met_in_its_middle_is_nobodys_service, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    an_answer_is_known_by_its_service_alone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
