/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"
#include "daemon/history.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/promote.h"
#include "daemon/roster.h"
#include "daemon/store.h"
#include "rules/complete.h"

#define DAY_NS (HISTORY_DAY_HOURS * COMPLETE_HOUR_NS)

static int
setup(void **state)
{
	struct ctl_fixture *f;

	ctl_setup(state);
	f = *state;
	assert_int_equal(history_new(f->c, &f->c->history), 0);
	return 0;
}

static void
restart(struct ctl_fixture *f)
{
	ctl_restart(f);
	assert_int_equal(history_new(f->c, &f->c->history), 0);
}

static void
see(struct controller *c, uint64_t netns, const char *src, const char *dst, uint16_t port)
{
	struct flow_event ev = ctl_event(netns, FLOW_ANSWERED, src, dst, port);

	learn_flow(c, &ev);
}

struct told {
	struct store *s;
	char text[65536];
	unsigned entries, internet; /* of those, to all of the internet */
	uint64_t connections;
};

static int
tell(void *arg, uint64_t flow, uint32_t day, const uint64_t counts[static HISTORY_DAY_HOURS],
    uint64_t last_ns)
{
	struct told *t = arg;
	struct history_flow f;
	char from[PEER_STRLEN], to[PEER_STRLEN];
	uint64_t n = 0;

	assert_int_equal(store_find_history_flow(t->s, flow, &f), 0);
	for (int h = 0; h < HISTORY_DAY_HOURS; h++)
		n += counts[h];
	snprintf(t->text + strlen(t->text), sizeof(t->text) - strlen(t->text), "%s>%s:%u=%llu ",
	    peer_format(&f.from, from), peer_format(&f.to, to), f.port, (unsigned long long)n);
	t->entries++;
	t->internet += f.to.kind == PEER_INTERNET;
	t->connections += n;
	return 0;
}

static struct told
read_all(struct controller *c)
{
	struct told t = { .s = c->store };
	uint32_t day = 0;
	int64_t flow = -1;

	while (store_read_history(c->store, &day, &flow, 3, tell, &t) == 3)
		;
	return t;
}

static void
assert_has(const struct told *t, const char *text)
{
	if (strstr(t->text, text) == NULL)
		fail_msg("'%s' lacks '%s'", t->text, text);
}

static void
hours_are_read_back_and_nothing_else(void **state)
{
	uint64_t counts[HISTORY_DAY_HOURS] = { [0] = 1, [7] = 127, [8] = 128, [23] = UINT64_MAX },
		 back[HISTORY_DAY_HOURS], full[HISTORY_DAY_HOURS];
	uint8_t buf[HISTORY_BLOB_MAX];
	size_t n = history_encode(counts, buf);
	static const struct {
		uint8_t bytes[12];
		size_t len;
	} bad[] = {
		{ { 24, 1 }, 2 },
		{ { 3, 1, 3, 1 }, 4 },
		{ { 4, 1, 3, 1 }, 4 },
		{ { 3 }, 1 },
		{ { 3, 0 }, 2 },
		{ { 3, 0x80 }, 2 },
		{ { 3, 0x81, 0 }, 3 },
		{ { 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2 }, 11 },
		{ { 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0 }, 12 },
	};

	assert_int_equal(history_decode(buf, n, back), 0);
	assert_memory_equal(counts, back, sizeof(counts));
	assert_int_equal(history_decode(buf, 0, back), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (history_decode(bad[i].bytes, bad[i].len, back) != -EBADMSG)
			fail_msg("case %zu", i);
	memset(full, 0xff, sizeof(full));
	assert_int_equal(history_encode(full, buf), HISTORY_BLOB_MAX);
}

static void
what_was_seen_is_there_after_a_restart_and_counted_once(void **state)
{
	struct ctl_fixture *f = *state;
	struct told t;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	see(f->c, 1, "10.0.0.1", "10.0.0.2", 5432);
	see(f->c, 2, "10.0.0.1", "10.0.0.2", 5432);
	see(f->c, 1, "10.0.0.1", "203.0.113.7", 443);
	see(f->c, 1, "10.0.0.1", "203.0.113.7", 443);
	see(f->c, 1, "10.0.0.1", "192.168.3.3", 22);
	assert_int_equal(flush_evidence(f->c), 0);
	assert_int_equal(history_flush(f->c), 0);
	assert_int_equal(history_flush(f->c), 0);
	restart(f);
	t = read_all(f->c);
	assert_int_equal(t.entries, 3);
	assert_has(&t, "workload:web>workload:db:5432=1 ");
	assert_has(&t, "workload:web>addr:203.0.113.7:443=2 ");
	assert_has(&t, "workload:web>addr:192.168.3.3:22=1 ");
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	see(f->c, 1, "10.0.0.1", "10.0.0.2", 5432);
	assert_int_equal(history_flush(f->c), 0);
	t = read_all(f->c);
	/* One end had seen it before, the other counts again: two at the source. */
	assert_has(&t, "workload:web>workload:db:5432=2 ");
}

static void
a_flow_is_what_was_seen_and_not_the_edge_that_serves_it(void **state)
{
	struct ctl_fixture *f = *state;
	struct edge_key key = { .proto = IPPROTO_TCP, .port_lo = 1, .port_hi = 9999 };
	struct edge *e;
	struct told t;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	key.from = workload_find(f->c, "web")->peer;
	key.to = workload_find(f->c, "db")->peer;
	assert_int_equal(edge_table_add(f->c->edges, &key, &e), 0);
	assert_int_equal(edge_decide(f->c->edges, e, EDGE_APPROVED, NULL), 0);
	see(f->c, 1, "10.0.0.1", "10.0.0.2", 81);
	see(f->c, 2, "10.0.0.1", "10.0.0.2", 81);
	see(f->c, 1, "10.0.0.1", "10.0.0.2", 82);
	assert_int_equal(edge_connections(e), 2);
	assert_int_equal(history_flush(f->c), 0);
	t = read_all(f->c);
	assert_int_equal(t.entries, 2);
	assert_has(&t, ":81=1 ");
	assert_has(&t, ":82=1 ");
}

/* The edge that begins a range is folded as it is made. */
static void
what_is_folded_is_told_once(void **state)
{
	struct ctl_fixture *f = *state;
	const unsigned n = EDGE_PORTS_EXACT + 8;
	struct told t;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	for (uint16_t k = 0; k < n; k++)
		for (uint64_t netns = 1; netns <= 2; netns++)
			see(f->c, netns, "10.0.0.1", "10.0.0.2", (uint16_t)(30000 + k));
	assert_in_range(edge_table_count(f->c->edges), 1, 8);
	assert_int_equal(history_flush(f->c), 0);
	t = read_all(f->c);
	assert_int_equal(t.entries, n);
	assert_int_equal(t.connections, n);
}

static void
many_addresses_are_the_internet(void **state)
{
	struct ctl_fixture *f = *state;
	char text[32];
	struct told t;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 250; i++) {
			snprintf(text, sizeof(text), "203.0.113.%d", i);
			see(f->c, 1, "10.0.0.1", text, 443);
		}
		assert_int_equal(history_flush(f->c), 0);
	}
	t = read_all(f->c);
	assert_int_equal(t.entries, 65);
	assert_int_equal(t.connections, 750);
	assert_has(&t, "workload:web>internet:443=558 ");
}

static void
a_flood_of_flows_is_bounded_and_marks_the_hour(void **state)
{
	struct ctl_fixture *f = *state;
	json_t *o;

	f->c->config->history_entries = 1000;
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	for (unsigned port = 1; port <= 3000; port++)
		see(f->c, 1, "10.0.0.1", "10.0.0.2", (uint16_t)port);
	assert_int_equal(history_flush(f->c), 0);
	assert_int_equal(read_all(f->c).entries, 1000);
	/* It is told at the next flush, and another day has room again, at the cost of this one. */
	see(f->c, 1, "10.0.0.1", "10.0.0.2", 1);
	assert_int_equal(history_flush(f->c), 0);
	o = history_to_json(f->c, 0);
	assert_true(json_integer_value(json_object_get(o, "lost")) >= 2000);
	assert_int_equal(json_integer_value(json_object_get(o, "incompleteHours")), 1);
	json_decref(o);
	ctl_wait(DAY_NS);
	for (int i = 0; i < 10; i++)
		history_tick(f->c);
	assert_int_equal(read_all(f->c).entries, 800);
	o = history_to_json(f->c, 0);
	assert_int_equal(json_integer_value(json_object_get(o, "incompleteHours")), 24);
	json_decref(o);
}

/* More than there is room for between two looks: they are lost, and that is told. */
static void
a_burst_of_addresses_is_bounded_before_it_is_stored(void **state)
{
	const int seen = 20000, room = 16384;
	struct ctl_fixture *f = *state;
	char text[32];
	struct told t;
	json_t *o;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	for (int i = 0; i < seen; i++) {
		snprintf(text, sizeof(text), "203.%d.%d.7", i / 250, i % 250);
		see(f->c, 1, "10.0.0.1", text, 443);
	}
	assert_int_equal(history_flush(f->c), 0);
	t = read_all(f->c);
	assert_int_equal(t.connections, room);
	o = history_to_json(f->c, 0);
	assert_int_equal(json_integer_value(json_object_get(o, "lost")), seen - room);
	assert_int_equal(json_integer_value(json_object_get(o, "incompleteHours")), 1);
	json_decref(o);
}

/* With no bound the table would have no end: looking for a place in it would have none either. */
static void
the_servers_whose_addresses_are_kept_apart_are_bounded(void **state)
{
	const int seen = 9000, apart = 4096;
	struct ctl_fixture *f = *state;
	char text[32];
	struct told t;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	for (int i = 0; i < seen; i++) {
		snprintf(text, sizeof(text), "203.%d.%d.7", i / 250, i % 250);
		see(f->c, 1, "10.0.0.1", text, (uint16_t)(i + 1));
	}
	alarm(60);
	assert_int_equal(history_flush(f->c), 0);
	alarm(0);
	t = read_all(f->c);
	assert_int_equal(t.connections, seen);
	assert_int_equal(t.internet, seen - apart);
}

static void
days_make_way_in_steps_and_their_flows_with_them(void **state)
{
	struct ctl_fixture *f = *state;
	struct told t;

	f->c->config->history_days = 2;
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	for (uint16_t day = 0; day < 4; day++) {
		for (uint16_t k = 0; k < 250; k++)
			see(f->c, 1, "10.0.0.1", "10.0.0.2", (uint16_t)(1000 * day + k + 1));
		see(f->c, 1, "10.0.0.1", "10.0.0.2", 9999);
		assert_int_equal(history_flush(f->c), 0);
		ctl_wait(DAY_NS);
	}
	assert_int_equal(read_all(f->c).entries, 4 * 251);
	history_tick(f->c);
	assert_int_equal(read_all(f->c).entries, 4 * 251 - 200);
	for (int i = 0; i < 4; i++)
		history_tick(f->c);
	t = read_all(f->c);
	assert_int_equal(t.entries, 2 * 251);
	assert_has(&t, ":3001=1 ");
	assert_has(&t, ":9999=1 ");
	restart(f);
	assert_int_equal(read_all(f->c).entries, 2 * 251);
	/* None at all, if none is wanted. */
	f->c->config->history_days = 0;
	for (int i = 0; i < 6; i++)
		history_tick(f->c);
	assert_int_equal(read_all(f->c).entries, 0);
}

static void
a_clock_that_lies_costs_a_day_at_most(void **state)
{
	static const int64_t years[] = { 0, 0, 40, -20, 0 };
	struct ctl_fixture *f = *state;
	uint64_t truth = fake_now;

	f->c->config->history_days = 4;
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	for (size_t i = 0; i < ARRAY_SIZE(years); i++) {
		truth += DAY_NS;
		fake_now = truth + (uint64_t)(years[i] * 366 * (int64_t)DAY_NS);
		see(f->c, 1, "10.0.0.1", "10.0.0.2", (uint16_t)(i + 1));
		assert_int_equal(history_flush(f->c), 0);
		for (int k = 0; k < 5; k++)
			history_tick(f->c);
	}
	/* Of five days four: the first has gone, and neither jump took another. */
	assert_int_equal(read_all(f->c).entries, 4);
}

static json_int_t
broken_since(struct controller *c, uint64_t ns)
{
	json_t *o = history_to_json(c, (uint32_t)((fake_now - ns) / COMPLETE_HOUR_NS));
	json_int_t n = json_integer_value(json_object_get(o, "incompleteHours"));

	json_decref(o);
	return n;
}

/* Nobody asks: it is stored all the same, within a minute, and no hour is marked without a reason.
 */
static void
it_is_stored_each_minute_and_an_hour_without_loss_is_whole(void **state)
{
	struct ctl_fixture *f = *state;
	struct told t;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_wait(5 * COMPLETE_HOUR_NS);
	for (unsigned minute = 0; minute < 3; minute++) {
		see(f->c, 1, "10.0.0.1", "203.0.113.7", 443);
		for (unsigned s = 0; s < 60; s++) {
			ctl_wait(NSEC_PER_SEC);
			history_tick(f->c);
		}
		t = read_all(f->c);
		assert_int_equal(t.entries, 1);
		assert_int_equal(t.connections, minute + 1);
		/* The first time something was found running, and that is over. */
		if (minute == 0)
			ctl_wait(2 * COMPLETE_HOUR_NS);
	}
	assert_int_equal(broken_since(f->c, COMPLETE_HOUR_NS), 0);
}

static void
a_loss_marks_its_hour(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *i = ctl_instance(f->c, 1, "web", "10.0.0.1");
	json_t *o;

	ctl_wait(3 * COMPLETE_HOUR_NS);
	assert_int_equal(history_flush(f->c), 0);
	ctl_wait(2 * COMPLETE_HOUR_NS);
	complete_on_loss(i, LOSS_EVENTS);
	assert_int_equal(history_flush(f->c), 0);
	o = history_to_json(f->c, (uint32_t)(fake_now / COMPLETE_HOUR_NS));
	assert_int_equal(json_integer_value(json_object_get(o, "incompleteHours")), 1);
	json_decref(o);
	o = history_to_json(f->c, (uint32_t)(fake_now / COMPLETE_HOUR_NS) + 1);
	assert_int_equal(json_integer_value(json_object_get(o, "incompleteHours")), 0);
	json_decref(o);
}

static void
what_was_connected_while_none_was_kept_is_not_told_later(void **state)
{
	struct ctl_fixture *f = *state;
	struct told t;
	json_t *o;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	f->c->config->history_days = 0;
	for (int i = 0; i < 5; i++)
		see(f->c, 1, "10.0.0.1", "10.0.0.2", 5432);
	see(f->c, 1, "10.0.0.1", "203.0.113.7", 443);
	assert_int_equal(history_flush(f->c), 0);
	/* As by a configuration that is read again. */
	f->c->config->history_days = 30;
	see(f->c, 1, "10.0.0.1", "10.0.0.2", 5432);
	assert_int_equal(history_flush(f->c), 0);
	t = read_all(f->c);
	assert_int_equal(t.entries, 1);
	assert_has(&t, "workload:web>workload:db:5432=1 ");
	o = history_to_json(f->c, 0);
	assert_int_equal(json_integer_value(json_object_get(o, "incompleteHours")), 1);
	json_decref(o);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, ctl_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hours_are_read_back_and_nothing_else),
		TEST(what_was_seen_is_there_after_a_restart_and_counted_once),
		TEST(a_flow_is_what_was_seen_and_not_the_edge_that_serves_it),
		TEST(what_is_folded_is_told_once),
		TEST(many_addresses_are_the_internet),
		TEST(a_flood_of_flows_is_bounded_and_marks_the_hour),
		TEST(a_burst_of_addresses_is_bounded_before_it_is_stored),
		TEST(the_servers_whose_addresses_are_kept_apart_are_bounded),
		TEST(days_make_way_in_steps_and_their_flows_with_them),
		TEST(a_clock_that_lies_costs_a_day_at_most),
		TEST(it_is_stored_each_minute_and_an_hour_without_loss_is_whole),
		TEST(a_loss_marks_its_hour),
		TEST(what_was_connected_while_none_was_kept_is_not_told_later),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
