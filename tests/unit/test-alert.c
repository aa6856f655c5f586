/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Alerts: told once, counted after that, bounded, and every one of them accounted for. */
#include "ctl-fixture.h"
#include "daemon/alert.h"
#include "daemon/learn.h"

#define QUIET (300 * NSEC_PER_SEC)
#define PER_MINUTE 60

static int
setup(void **state)
{
	struct controller *c = ctl_new(NULL);

	assert_int_equal(alerts_new(QUIET, PER_MINUTE, c->seed, &c->alerts), 0);
	assert_int_equal(alert_spool_new(1, 1u << SINK_WEBHOOK, &c->alert_spool), 0);
	*state = c;
	return 0;
}

static int
teardown(void **state)
{
	struct controller *c = *state;

	alerts_free(c->alerts);
	alert_spool_free(c->alert_spool);
	ctl_free(c);
	return 0;
}

static void
drift(struct controller *c, const char *workload)
{
	alert_raise(c, ALERT_DRIFT, ALERT_ERROR, workload, "i-1", "changed by %s", "nft");
}

static struct alert_counts
counts(struct controller *c)
{
	struct alert_counts k;

	alerts_count(c->alerts, &k);
	return k;
}

static uint64_t
told(struct controller *c)
{
	return counts(c).told;
}

static json_t *
all(struct controller *c)
{
	const struct alert_filter any = { .kind = ALERT_KINDS, .severity = ALERT_INFO };
	json_t *o = alert_spool_to_json(c->alert_spool, &any);
	json_t *list = json_incref(json_object_get(o, "alerts"));

	json_decref(o);
	return list;
}

/* A field of the newest one. */
static json_int_t
last_int(struct controller *c, const char *field)
{
	json_t *list = all(c);
	json_int_t n = json_integer_value(
	    json_object_get(json_array_get(list, json_array_size(list) - 1), field));

	json_decref(list);
	return n;
}

static void
expect_last(struct controller *c, const char *field, const char *value)
{
	json_t *list = all(c);
	json_t *v = json_object_get(json_array_get(list, json_array_size(list) - 1), field);

	assert_string_equal(json_string_value(v), value);
	json_decref(list);
}

static void
expect_balance(struct controller *c)
{
	struct alert_counts k = counts(c);
	uint64_t raised = 0;

	for (int i = 0; i < ALERT_KINDS; i++)
		raised += k.raised[i];
	assert_int_equal(raised, k.told + k.repeated + k.waiting + k.lost);
}

static void
the_first_is_told_at_once(void **state)
{
	struct controller *c = *state;

	drift(c, "web");
	assert_int_equal(told(c), 1);
	assert_int_equal(last_int(c, "count"), 1);
	expect_last(c, "kind", "drift");
	expect_last(c, "severity", "error");
	expect_last(c, "workload", "web");
	expect_last(c, "instance", "i-1");
	expect_last(c, "text", "changed by nft");
}

static void
what_is_repeated_is_told_once_with_its_count_when_the_time_is_over(void **state)
{
	struct controller *c = *state;

	drift(c, "web");
	for (int i = 0; i < 1000; i++)
		drift(c, "web");
	alerts_tick(c);
	assert_int_equal(told(c), 1);
	ctl_wait(QUIET);
	alerts_tick(c);
	assert_int_equal(told(c), 2);
	assert_int_equal(last_int(c, "count"), 1000);
	ctl_wait(10 * QUIET);
	alerts_tick(c);
	assert_int_equal(told(c), 2);
	drift(c, "web");
	assert_int_equal(told(c), 3);
	assert_int_equal(last_int(c, "count"), 1);
	expect_balance(c);
}

static void
kinds_and_subjects_are_told_apart(void **state)
{
	struct controller *c = *state;

	drift(c, "web");
	drift(c, "db");
	drift(c, NULL);
	alert_raise(c, ALERT_LOSS, ALERT_WARNING, "web", "i-1", "lost");
	alert_raise(c, ALERT_LOSS, ALERT_WARNING, "web", "i-2", "lost");
	alert_raise(c, ALERT_LOSS, ALERT_WARNING, "web", NULL, "lost");
	assert_int_equal(told(c), 6);
}

static void
the_worst_severity_and_the_last_text_stand_for_all(void **state)
{
	struct controller *c = *state;

	alert_raise(c, ALERT_SCAN, ALERT_NOTICE, "web", NULL, "one");
	alert_raise(c, ALERT_SCAN, ALERT_NOTICE, "web", NULL, "two");
	alert_raise(c, ALERT_SCAN, ALERT_CRITICAL, "web", NULL, "three");
	alert_raise(c, ALERT_SCAN, ALERT_NOTICE, "web", NULL, "four");
	ctl_wait(QUIET);
	alerts_tick(c);
	expect_last(c, "severity", "critical");
	expect_last(c, "text", "four");
	assert_int_equal(last_int(c, "count"), 3);
}

static void
all_together_are_bounded_and_the_most_severe_goes_first(void **state)
{
	struct controller *c = *state;
	char name[32];

	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "w%d", i);
		alert_raise(c, ALERT_NEW_PEER, ALERT_INFO, name, NULL, "peer");
	}
	assert_int_equal(told(c), PER_MINUTE);
	alert_raise(c, ALERT_SELF_TEST, ALERT_CRITICAL, "db", NULL, "passed");
	assert_int_equal(told(c), PER_MINUTE);
	ctl_wait(NSEC_PER_SEC);
	alerts_tick(c);
	assert_int_equal(told(c), PER_MINUTE + 1);
	expect_last(c, "kind", "selfTest");
	for (int s = 0; s < 600; s++) {
		ctl_wait(NSEC_PER_SEC);
		alerts_tick(c);
	}
	assert_int_equal(told(c), 501);
	assert_int_equal(counts(c).waiting, 0);
	expect_balance(c);
}

static void
too_many_subjects_are_lost_and_the_next_alert_says_how_many(void **state)
{
	struct controller *c = *state;
	char name[32];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "w%d", i);
		drift(c, name);
	}
	assert_int_equal(counts(c).lost, 3000 - 1024);
	expect_balance(c);
	ctl_wait(NSEC_PER_SEC);
	alerts_tick(c);
	assert_int_equal(last_int(c, "lost"), 3000 - 1024);
	ctl_wait(NSEC_PER_SEC);
	alerts_tick(c);
	assert_int_equal(last_int(c, "lost"), 0);
}

static void
quiet_subjects_make_room_for_new_ones(void **state)
{
	struct controller *c = *state;
	char name[32];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "w%d", i);
		ctl_wait(NSEC_PER_SEC);
		drift(c, name);
	}
	assert_int_equal(told(c), 3000);
	assert_int_equal(counts(c).lost, 0);
}

static void
hostile_names_and_long_texts_are_json_all_the_same(void **state)
{
	struct controller *c = *state;
	char name[601];
	json_t *list;
	char *text;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	alert_raise(c, ALERT_NEW_NAME, ALERT_INFO, "a\xff\"\n\x1b[31m", name, "%s%s%s%s", name,
	    name, name, "\xc3");
	list = all(c);
	assert_int_equal(json_array_size(list), 1);
	text = json_dumps(list, 0);
	assert_non_null(text);
	free(text);
	json_decref(list);
}

static void
only_the_newest_are_kept(void **state)
{
	struct controller *c = *state;
	char name[32];
	json_t *list;

	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "w%d", i);
		ctl_wait(NSEC_PER_SEC);
		drift(c, name);
	}
	list = all(c);
	assert_int_equal(json_array_size(list), 256);
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(list, 0), "workload")), "w144");
	json_decref(list);
}

static void
a_refused_connection_is_told_once(void **state)
{
	struct controller *c = *state;
	struct flow_event ev;

	ctl_instance(c, 1, "host", "10.0.0.1");
	ctl_instance(c, 7, "web", "10.0.0.7");
	ctl_instance(c, 8, "db", "10.0.0.8");
	for (int i = 0; i < 3; i++) {
		ev = ctl_event(8, FLOW_DENIED, "10.0.0.7", "10.0.0.8", 5432);
		ev.dir = DIR_INGRESS;
		learn_flow(c, &ev);
	}
	assert_int_equal(counts(c).raised[ALERT_DENIAL], 1);
	expect_last(c, "workload", "db");
	expect_last(
	    c, "text", "refused for the first time: workload:web to workload:db, tcp port 5432");
}

static void
what_is_told_says_when_it_began_and_when_it_was_last(void **state)
{
	struct controller *c = *state;
	json_t *list, *a;

	drift(c, "web");
	ctl_wait(NSEC_PER_SEC);
	drift(c, "web");
	ctl_wait(7 * NSEC_PER_SEC);
	drift(c, "web");
	ctl_wait(QUIET);
	alerts_tick(c);
	list = all(c);
	a = json_array_get(list, 1);
	assert_int_equal(json_integer_value(json_object_get(a, "count")), 2);
	assert_string_not_equal(json_string_value(json_object_get(a, "firstSeen")),
	    json_string_value(json_object_get(a, "lastSeen")));
	assert_true(strcmp(json_string_value(json_object_get(a, "lastSeen")),
			json_string_value(json_object_get(a, "time"))) < 0);
	json_decref(list);
}

static size_t
found(struct controller *c, struct alert_filter f)
{
	json_t *o = alert_spool_to_json(c->alert_spool, &f);
	size_t n = json_array_size(json_object_get(o, "alerts"));

	json_decref(o);
	return n;
}

static void
alerts_are_found_by_kind_severity_workload_and_time(void **state)
{
	struct controller *c = *state;
	uint64_t began = now_real();
	struct alert_filter f = { .kind = ALERT_KINDS, .severity = ALERT_INFO };

	drift(c, "web");
	ctl_wait(NSEC_PER_SEC);
	alert_raise(c, ALERT_SCAN, ALERT_NOTICE, "db", NULL, "scan");
	alert_raise(c, ALERT_LOSS, ALERT_WARNING, NULL, NULL, "loss");
	assert_int_equal(found(c, f), 3);
	f.severity = ALERT_WARNING;
	assert_int_equal(found(c, f), 2);
	f.kind = ALERT_LOSS;
	assert_int_equal(found(c, f), 1);
	f = (struct alert_filter){ ALERT_KINDS, ALERT_INFO, "db", 0 };
	assert_int_equal(found(c, f), 1);
	f = (struct alert_filter){ ALERT_KINDS, ALERT_INFO, NULL, began + 1 };
	assert_int_equal(found(c, f), 2);
}

/* A letter for each alert: delivered, waiting or lost at the webhook; '-': not on. */
static const char *
fates(struct controller *c)
{
	static char text[300];
	json_t *list = all(c), *a;
	size_t i;

	memset(text, 0, sizeof(text));
	json_array_foreach(list, i, a)
	{
		const char *word =
		    json_string_value(json_object_get(json_object_get(a, "delivery"), "webhook"));

		text[i] = word != NULL ? word[0] : '-';
	}
	json_decref(list);
	return text;
}

static void
settle(struct controller *c, uint64_t epoch, uint64_t newest, const char *how)
{
	struct h_state s = { .epoch = epoch, .newest = newest };

	s.sinks[SINK_WEBHOOK].on = 1;
	for (uint64_t n = 1; how[n - 1] != '\0'; n++)
		h_fate_set(s.fates[SINK_WEBHOOK], n,
		    how[n - 1] == 'd'	? FATE_DELIVERED
		    : how[n - 1] == 'l' ? FATE_LOST
					: FATE_WAITING);
	alert_spool_on_state(c, &s);
}

static void
what_became_of_each_is_told_and_stays(void **state)
{
	struct controller *c = *state;

	drift(c, "a");
	drift(c, "b");
	drift(c, "c");
	drift(c, "d");
	assert_string_equal(fates(c), "wwww");
	settle(c, 1, 3, "dlwd");
	assert_string_equal(fates(c), "dlww");
	/* Another epoch's numbers are of others. */
	settle(c, 2, 4, "dddd");
	assert_string_equal(fates(c), "dlww");
	/* A new herald knows nothing of what its predecessor did. */
	settle(c, 1, 4, "wwdw");
	assert_string_equal(fates(c), "dldw");
	/* It cannot be ahead of what was told. */
	settle(c, 1, 5, "ddddd");
	assert_string_equal(fates(c), "dldw");
}

static void
a_herald_that_is_not_there_is_said(void **state)
{
	struct controller *c = *state;
	struct alert_delivery d[SINK_COUNT_];

	alert_spool_deliveries(c->alert_spool, d);
	assert_true(d[SINK_WEBHOOK].on && d[SINK_WEBHOOK].failing);
	assert_non_null(strstr(d[SINK_WEBHOOK].error, "does not run"));
	assert_false(d[SINK_SYSLOG].on);
	alert_spool_on_herald(c);
	alert_spool_deliveries(c->alert_spool, d);
	assert_false(d[SINK_WEBHOOK].failing);
	alert_spool_on_herald_gone(c);
	alert_spool_deliveries(c->alert_spool, d);
	assert_true(d[SINK_WEBHOOK].failing);
}

static uint64_t last_number;

static void
follow_numbers(uint16_t type, uint32_t seq, const void *body, size_t len)
{
	struct h_alert a;

	assert_int_equal(type, MSG_H_ALERT);
	memcpy(&a, body, sizeof(a));
	assert_int_equal(a.number, last_number + 1);
	last_number = a.number;
}

static void
what_finds_no_room_on_the_way_is_sent_later_without_a_gap(void **state)
{
	struct controller *c = *state;
	struct h_state s = { .epoch = 1, .done = 2, .newest = 2 };

	last_number = 0;
	on_sent = follow_numbers;
	drift(c, "before there is a herald");
	assert_int_equal(last_number, 0);
	alert_spool_on_herald(c);
	assert_int_equal(last_number, 1);
	drift(c, "a");
	send_error = -ENOBUFS;
	drift(c, "b");
	drift(c, "c");
	send_error = 0;
	assert_int_equal(last_number, 2);
	alerts_tick(c);
	assert_int_equal(last_number, 4);
	alert_spool_on_state(c, &s);
	assert_int_equal(last_number, 4);
	/* The next herald has to have what this one has not reported. */
	last_number = 2;
	alert_spool_on_herald_gone(c);
	alert_spool_on_herald(c);
	assert_int_equal(last_number, 4);
	on_sent = NULL;
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_first_is_told_at_once),
		TEST(what_is_repeated_is_told_once_with_its_count_when_the_time_is_over),
		TEST(kinds_and_subjects_are_told_apart),
		TEST(the_worst_severity_and_the_last_text_stand_for_all),
		TEST(all_together_are_bounded_and_the_most_severe_goes_first),
		TEST(too_many_subjects_are_lost_and_the_next_alert_says_how_many),
		TEST(quiet_subjects_make_room_for_new_ones),
		TEST(hostile_names_and_long_texts_are_json_all_the_same),
		TEST(only_the_newest_are_kept),
		TEST(a_refused_connection_is_told_once),
		TEST(what_is_told_says_when_it_began_and_when_it_was_last),
		TEST(alerts_are_found_by_kind_severity_workload_and_time),
		TEST(what_became_of_each_is_told_and_stays),
		TEST(a_herald_that_is_not_there_is_said),
		TEST(what_finds_no_room_on_the_way_is_sent_later_without_a_gap),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
