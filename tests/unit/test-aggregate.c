/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table that counts connections takes their events away: it is never left to itself. */
#include "ctl-fixture.h"
#include "daemon/aggregate.h"
#include "daemon/aggregate_internal.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "netlink/ct.h"
#include "netlink/nft_seen.h"

#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define COOKIE 7

#define MANY (NFT_SEEN_SIZE / 2 + 1) /* more than half of a set */

int __wrap_nft_seen_recv(int sock, void *buf, size_t size, unsigned max_messages,
    enum nft_seen_set set, nft_seen_fn fn, void *arg, struct nft_seen_stats *stats, bool *ret_done,
    int *ret_error);

static uint32_t asked; /* the last verb, 0: none */
static uint8_t asked_side;
/* What the kernel has counted: connections of one edge, and bytes of so many others. */
static struct {
	uint64_t connections;
	unsigned others;
} kernel[NFT_SEEN_SIDES];
static uint64_t missed;
static bool dump_ends;
static int dump_error;
static char sides_read[16]; /* one letter for each */

static void
note_verb(uint16_t type, uint32_t seq, const void *body, size_t len)
{
	const struct w_aggregate *w = body;

	if (type != MSG_W_AGGREGATE)
		return;
	asked = w->verb;
	asked_side = w->side;
}

int
__wrap_nft_seen_recv(int sock, void *buf, size_t size, unsigned max_messages, enum nft_seen_set set,
    nft_seen_fn fn, void *arg, struct nft_seen_stats *stats, bool *ret_done, int *ret_error)
{
	const unsigned side = ((struct aggregate *)arg)->read_side;
	struct nft_seen_entry e = { .tuple = { .proto = IPPROTO_TCP,
					.src = ctl_addr("10.0.0.7"),
					.dst = ctl_addr("10.0.0.8"),
					.dport = 80 } };

	if (set == NFT_SEEN_CONN4 && kernel[side].connections != 0) {
		e.packets = kernel[side].connections;
		assert_int_equal(fn(arg, &e), 0);
	}
	for (unsigned k = 0; set == NFT_SEEN_BYTE4 && k < kernel[side].others; k++) {
		e.tuple.dst.bytes[1] = 1;
		e.tuple.dst.bytes[2] = (uint8_t)(k >> 8);
		e.tuple.dst.bytes[3] = (uint8_t)k;
		e.bytes = 100;
		assert_int_equal(fn(arg, &e), 0);
	}
	fake_mono += dump_ends ? 0 : NSEC_PER_SEC / 1000;
	*ret_done = dump_ends;
	*ret_error = dump_error;
	return 0;
}

static void
answer(struct controller *c, enum agg_verb verb, int error, uint32_t flags)
{
	struct w_aggregated w = {
		.cookie = COOKIE, .error = error, .verb = verb, .flags = flags, .missed = missed
	};
	struct msg m = { .h = { .body_len = sizeof(w) }, .body = (const uint8_t *)&w };
	int fds[2];

	if (verb == AGG_OPEN && error == 0) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
		close(fds[1]);
		m.fds[0] = fds[0];
		m.n_fds = 1;
	}
	asked = 0;
	aggregate_on_answer(c, &m);
}

static uint32_t
second(struct controller *c, uint64_t events)
{
	ctl_wait(NSEC_PER_SEC);
	instance_find(c, COOKIE)->events += events;
	asked = 0;
	aggregate_tick(c);
	return asked;
}

/* Until the kernel counts. */
static void
become_busy(struct controller *c)
{
	for (unsigned s = 0; s < 4; s++)
		assert_int_equal(second(c, 2000), 0);
	assert_int_equal(second(c, 2000), AGG_OPEN);
	answer(c, AGG_OPEN, 0, 0);
	assert_int_equal(second(c, 2000), AGG_PREPARE);
	answer(c, AGG_PREPARE, 0, 0);
	assert_int_equal(second(c, 2000), 0);
	assert_int_equal(second(c, 2000), AGG_ON);
	answer(c, AGG_ON, 0, 0);
	assert_true(aggregate_is_on(instance_find(c, COOKIE)));
}

static int
set_up(void **state)
{
	struct ctl_fixture *f;
	struct instance *i;

	ctl_setup_loop(state);
	f = *state;
	i = ctl_instance(f->c, COOKIE, "busy", "10.0.0.7");
	aggregate_start(i);
	on_sent = note_verb;
	memset(kernel, 0, sizeof(kernel));
	missed = 0;
	dump_ends = true;
	dump_error = 0;
	return 0;
}

static int
tear_down(void **state)
{
	struct ctl_fixture *f = *state;

	if (instance_find(f->c, COOKIE) != NULL)
		aggregate_stop(instance_find(f->c, COOKIE));
	aggregate_forget(f->c, COOKIE);
	return ctl_teardown_loop(state);
}

static void
a_table_that_nobody_reads_is_opened_again(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct instance *i = instance_find(c, COOKIE);
	uint64_t lost;

	become_busy(c);
	assert_int_equal(second(c, 0), AGG_READ);
	lost = i->ct_stats.lost;
	for (unsigned s = 0; s < 9; s++)
		assert_int_equal(second(c, 0), 0);
	/* Ten seconds without an answer. Events are few, for it takes them. */
	assert_int_equal(second(c, 0), AGG_OPEN);
	assert_int_equal(i->ct_stats.lost, lost + 1);
	answer(c, AGG_OPEN, 0, AGG_F_PRESENT | AGG_F_HOOKED | AGG_F_SIDE(0));
	assert_int_equal(asked, AGG_ON);
	answer(c, AGG_ON, 0, 0);
	assert_int_equal(second(c, 0), AGG_READ);
}

static void
a_table_that_could_not_be_removed_is_tried_again(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;

	become_busy(c);
	assert_int_equal(second(c, 0), AGG_READ);
	answer(c, AGG_READ, -ENOENT, 0);
	assert_int_equal(asked, AGG_OFF);
	answer(c, AGG_OFF, -EIO, 0);
	assert_int_equal(second(c, 0), AGG_OPEN);
	/* Its removal was a loss and bars it: so it ends. */
	answer(c, AGG_OPEN, 0, AGG_F_PRESENT | AGG_F_HOOKED | AGG_F_SIDE(0));
	assert_int_equal(asked, AGG_DRAIN);
	answer(c, AGG_DRAIN, -EIO, 0);
	assert_int_equal(asked, AGG_OFF);
	answer(c, AGG_OFF, 0, 0);
	assert_int_equal(second(c, 0), 0);
	assert_int_equal(second(c, 0), 0);
}

/* What is read of it next may have been credited before. */
static void
a_table_that_was_given_up_and_stands_is_not_counted_again(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct aggregate *a = instance_find(c, COOKIE)->aggregate;

	become_busy(c);
	assert_int_equal(second(c, 0), AGG_READ);
	assert_false(a->first_sight);
	answer(c, AGG_READ, -ENOENT, 0);
	assert_true(a->first_sight);
	answer(c, AGG_OFF, 0, 0);
	assert_false(a->first_sight);
}

static void
a_reading_that_fails_is_made_up_for_by_the_next(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct instance *i = instance_find(c, COOKIE);
	const struct tuple t = { .proto = IPPROTO_TCP, .dport = 80 };
	uint64_t lost, growth;

	become_busy(c);
	assert_int_equal(second(c, 0), AGG_READ);
	assert_int_equal(tally_read(i->aggregate->tallies[0][0], &t, 5, &growth), 0);
	lost = i->ct_stats.lost;
	answer(c, AGG_READ, -EAGAIN, 0);
	assert_int_equal(i->ct_stats.lost, lost + 1);
	assert_int_equal(second(c, 0), AGG_OPEN);
	answer(c, AGG_OPEN, 0, AGG_F_PRESENT | AGG_F_HOOKED | AGG_F_SIDE(0));
	assert_int_equal(asked, AGG_ON);
	answer(c, AGG_ON, 0, 0);
	assert_int_equal(second(c, 0), AGG_READ);
	assert_int_equal(tally_read(i->aggregate->tallies[0][0], &t, 6, &growth), 0);
	assert_int_equal(growth, 1);
}

/* As the server's counters have them: a thousand more. */
static uint64_t
serve_bytes(struct controller *c)
{
	struct flow_event ev = ctl_event(COOKIE, FLOW_ANSWERED, "10.0.0.7", "10.0.0.8", 80);

	learn_flow(c, &ev);
	ev.netns = 8;
	learn_bytes(c, &ev, 1000);
	return ctl_edge(c, "busy", "server", 80)->evidence.bytes;
}

static void
bytes_are_the_clients_for_as_long_as_its_counters_stand(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct instance *i = instance_find(c, COOKIE);

	ctl_instance(c, 8, "server", "10.0.0.8");
	assert_int_equal(serve_bytes(c), 1000);
	become_busy(c);
	assert_int_equal(serve_bytes(c), 1000);
	/* The warden dies: what was counted is read when it is attached again. */
	aggregate_stop(i);
	assert_int_equal(serve_bytes(c), 1000);
	aggregate_start(i);
	i->attached.aggregates = 1;
	assert_int_equal(serve_bytes(c), 1000);
	assert_int_equal(second(c, 0), AGG_OPEN);
	answer(c, AGG_OPEN, 0, AGG_F_PRESENT | AGG_F_HOOKED | AGG_F_SIDE(0));
	assert_int_equal(asked, AGG_ON);
	answer(c, AGG_ON, 0, 0);
	/* It is quiet, and what began while it was not is counted on. */
	c->config->aggregation = AGGREGATION_OFF;
	assert_int_equal(second(c, 0), AGG_DRAIN);
	answer(c, AGG_DRAIN, 0, 0);
	assert_int_equal(serve_bytes(c), 1000);
	/* The end. */
	assert_int_equal(second(c, 0), AGG_READ);
	answer(c, AGG_READ, -ENOENT, 0);
	assert_int_equal(asked, AGG_OFF);
	answer(c, AGG_OFF, 0, 0);
	assert_int_equal(serve_bytes(c), 2000);
}

static void
a_namespace_without_a_table_is_left_alone(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;

	for (unsigned s = 0; s < 20; s++)
		assert_int_equal(second(c, s % 5 == 0 ? 0 : 2000), 0);
}

/* An event goes past the sockets of all: with four times as many a quarter is busy. */
static void
of_many_namespaces_fewer_connections_are_many(void **state)
{
	static const struct {
		size_t namespaces;
		uint64_t busy;
	} c[] = { { 1, 500 }, { 256, 500 }, { 1024, 125 } };
	struct controller *ctl = ((struct ctl_fixture *)*state)->c;
	size_t n = ctl->n_instances;

	for (size_t k = 0; k < ARRAY_SIZE(c); k++) {
		ctl->n_instances = c[k].namespaces;
		for (unsigned s = 0; s < 10; s++)
			assert_int_equal(second(ctl, c[k].busy - 1), 0);
		for (unsigned s = 0; s < 4; s++)
			assert_int_equal(second(ctl, c[k].busy), 0);
		assert_int_equal(second(ctl, c[k].busy), AGG_OPEN);
		answer(ctl, AGG_OPEN, -ENOENT, 0);
		aggregate_stop(instance_find(ctl, COOKIE));
		aggregate_forget(ctl, COOKIE);
		aggregate_start(instance_find(ctl, COOKIE));
	}
	become_busy(ctl);
	ctl->n_instances = n;
}

/* A second later all sets are read; what is asked for then. */
static uint32_t
read_all(struct controller *c)
{
	struct aggregate *a = instance_find(c, COOKIE)->aggregate;
	size_t n = 0;

	memset(sides_read, 0, sizeof(sides_read));
	assert_int_equal(second(c, 0), AGG_READ);
	while (asked == AGG_READ) {
		if (a->read_set == 0)
			sides_read[n++] = (char)('a' + asked_side);
		assert_int_equal(asked_side, a->read_side);
		answer(c, AGG_READ, 0, 0);
		aggregate_readable(-1, 0, a);
	}
	return asked;
}

static uint64_t
connections(struct controller *c)
{
	return edge_connections(ctl_edge(c, "busy", "server", 80));
}

/* Both ways, and what is counted until the exchange is read once more. */
static void
a_set_that_fills_is_exchanged_and_each_connection_counted_once(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct instance *i = instance_find(c, COOKIE);
	uint64_t total = 0;

	ctl_instance(c, 8, "server", "10.0.0.8");
	become_busy(c);
	for (unsigned side = 0; side < NFT_SEEN_SIDES; side++) {
		kernel[side].connections += 5;
		kernel[side].others = MANY - 1;
		assert_int_equal(read_all(c), 0);
		assert_int_equal(connections(c), total += 5);
		kernel[side].others = MANY;
		assert_int_equal(read_all(c), AGG_ROTATE);
		assert_int_equal(asked_side, 1 - side);
		assert_string_equal(sides_read, side == 0 ? "a" : "b");
		kernel[side].connections += 2;
		kernel[1 - side].connections = 3;
		answer(c, AGG_ROTATE, 0, 0);
		assert_int_equal(read_all(c), AGG_DROP);
		assert_int_equal(asked_side, side);
		assert_string_equal(sides_read, side == 0 ? "ab" : "ba");
		assert_int_equal(connections(c), total += 5);
		answer(c, AGG_DROP, 0, 0);
		memset(&kernel[side], 0, sizeof(kernel[side]));
		kernel[1 - side].connections++;
		assert_int_equal(read_all(c), 0);
		assert_string_equal(sides_read, side == 0 ? "b" : "a");
		assert_int_equal(connections(c), total += 1);
	}
	assert_int_equal(i->ct_stats.lost, 0);
}

/* It ended between the exchange and the news of it. */
static void
of_two_sides_the_one_that_cannot_be_dropped_is_filled(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct aggregate *a = instance_find(c, COOKIE)->aggregate;

	c->config->aggregation = AGGREGATION_ON;
	assert_int_equal(second(c, 0), AGG_OPEN);
	answer(c, AGG_OPEN, 0, AGG_F_PRESENT | AGG_F_HOOKED | AGG_F_SIDE(0) | AGG_F_SIDE(1));
	assert_int_equal(asked, AGG_ON);
	answer(c, AGG_ON, 0, 0);
	assert_int_equal(read_all(c), AGG_DROP);
	assert_int_equal(asked_side, 1);
	answer(c, AGG_DROP, -EBUSY, 0);
	assert_int_equal(a->side, 1);
	assert_int_equal(read_all(c), AGG_DROP);
	assert_int_equal(asked_side, 0);
	assert_string_equal(sides_read, "ab");
	answer(c, AGG_DROP, 0, 0);
	assert_int_equal(read_all(c), 0);
	assert_string_equal(sides_read, "b");
}

static void
end(struct controller *c, uint32_t flags, size_t n_fds)
{
	struct w_aggregated w = {
		.cookie = COOKIE, .verb = AGG_LAST, .flags = flags, .missed = missed
	};
	struct msg m = {
		.h = { .body_len = sizeof(w) }, .body = (const uint8_t *)&w, .n_fds = n_fds
	};

	aggregate_on_answer(c, &m);
	instance_on_netns_gone(c, COOKIE);
}

static uint32_t
read_after(struct controller *c, uint64_t events)
{
	instance_find(c, COOKIE)->events += events;
	return read_all(c);
}

/* Until it is so for a minute. */
static void
a_namespace_is_busy_until_it_is_quiet(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;

	become_busy(c);
	for (unsigned s = 0; s < 150; s++)
		assert_int_equal(read_after(c, s % 60 == 59 ? 125 : 124), 0);
	assert_int_equal(read_after(c, 125), 0);
	for (unsigned s = 0; s < 59; s++)
		assert_int_equal(read_after(c, 124), 0);
	assert_int_equal(second(c, 124), AGG_DRAIN);
}

/* By its warden it is read until nothing is left; else what it did last is lost. */
static void
what_a_namespace_did_last_is_read_or_a_loss(void **state)
{
	static const struct {
		uint32_t flags;
		size_t n_fds;
		bool reading, old, silent, cut;
		uint64_t missed, connections;
		uint32_t lost;
	} cases[] = {
		{ AGG_F_SIDE(0), AGG_LAST_FDS, .connections = 12 },
		{ AGG_F_SIDE(0), AGG_LAST_FDS, .reading = true, .connections = 12 },
		{ AGG_F_SIDE(0), AGG_LAST_FDS, .missed = 2, .connections = 12,
		    .lost = 1u << LOSS_COUNTERS },
		{ AGG_F_SIDE(1), AGG_LAST_FDS, .connections = 5, .lost = 1u << LOSS_END },
		{ AGG_F_SIDE(0), AGG_LAST_FDS - 1, .connections = 5, .lost = 1u << LOSS_END },
		{ AGG_F_SIDE(0), AGG_LAST_FDS, .old = true, .connections = 5,
		    .lost = 1u << LOSS_END },
		{ AGG_F_SIDE(0), AGG_LAST_FDS, .silent = true, .connections = 12,
		    .lost = 1u << LOSS_END },
		{ AGG_F_SIDE(0), AGG_LAST_FDS, .cut = true, .connections = 12,
		    .lost = 1u << LOSS_END },
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct controller *c = ((struct ctl_fixture *)*state)->c;
		struct workload *w = instance_find(c, COOKIE)->workload;

		ctl_instance(c, 8, "server", "10.0.0.8");
		become_busy(c);
		kernel[0].connections = 5;
		assert_int_equal(read_all(c), 0);
		kernel[0].connections = 12;
		missed = cases[k].missed;
		if (cases[k].reading)
			assert_int_equal(second(c, 2000), AGG_READ);
		instance_find(c, COOKIE)->aggregate->old_there = cases[k].old;
		dump_ends = !cases[k].silent;
		dump_error = cases[k].cut ? -ENOENT : 0;
		end(c, cases[k].flags, cases[k].n_fds);
		if (connections(c) != cases[k].connections || w->loss_sources != cases[k].lost)
			fail_msg("%zu: %" PRIu64 " connections, losses %x", k, connections(c),
			    w->loss_sources);
		tear_down(state);
		set_up(state);
	}
}

static void
connections_without_room_are_a_loss_once_and_end_it(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct instance *i = instance_find(c, COOKIE);

	become_busy(c);
	assert_int_equal(read_all(c), 0);
	assert_int_equal(i->ct_stats.lost, 0);
	assert_int_equal(i->workload->loss_sources, 0);
	missed = 3;
	read_all(c);
	assert_int_equal(i->ct_stats.lost, 3);
	assert_int_equal(i->workload->loss_sources, 1u << LOSS_COUNTERS);
	/* What fits in no set is told of by events, for an hour at least. */
	assert_int_equal(second(c, 0), AGG_DRAIN);
	answer(c, AGG_DRAIN, 0, 0);
	assert_int_equal(read_all(c), 0);
	assert_int_equal(i->ct_stats.lost, 3);
	missed = 4;
	read_all(c);
	assert_int_equal(i->ct_stats.lost, 4);
}

static void
a_counter_that_goes_back_is_a_loss(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct instance *i = instance_find(c, COOKIE);

	ctl_instance(c, 8, "server", "10.0.0.8");
	become_busy(c);
	kernel[0].connections = 50;
	assert_int_equal(read_all(c), 0);
	kernel[0].connections = 2;
	assert_int_equal(read_all(c), 0);
	assert_int_equal(connections(c), 52);
	assert_int_equal(i->ct_stats.lost, 1);
	assert_int_equal(i->workload->loss_sources, 1u << LOSS_COUNTERS);
	assert_int_equal(instance_find(c, 8)->workload->loss_sources, 0);
	kernel[0].connections = 3;
	assert_int_equal(read_all(c), 0);
	assert_int_equal(connections(c), 53);
	assert_int_equal(i->ct_stats.lost, 1);
}

#define AGGREGATE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		AGGREGATE_TEST(a_table_that_nobody_reads_is_opened_again),
		AGGREGATE_TEST(a_table_that_could_not_be_removed_is_tried_again),
		AGGREGATE_TEST(a_table_that_was_given_up_and_stands_is_not_counted_again),
		AGGREGATE_TEST(a_reading_that_fails_is_made_up_for_by_the_next),
		AGGREGATE_TEST(bytes_are_the_clients_for_as_long_as_its_counters_stand),
		AGGREGATE_TEST(a_namespace_without_a_table_is_left_alone),
		AGGREGATE_TEST(a_set_that_fills_is_exchanged_and_each_connection_counted_once),
		AGGREGATE_TEST(of_two_sides_the_one_that_cannot_be_dropped_is_filled),
		AGGREGATE_TEST(connections_without_room_are_a_loss_once_and_end_it),
		AGGREGATE_TEST(a_counter_that_goes_back_is_a_loss),
		AGGREGATE_TEST(a_namespace_is_busy_until_it_is_quiet),
		AGGREGATE_TEST(what_a_namespace_did_last_is_read_or_a_loss),
		AGGREGATE_TEST(of_many_namespaces_fewer_connections_are_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
