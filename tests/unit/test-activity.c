/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"
#include "daemon/activity.h"
#include "daemon/alert.h"
#include "daemon/denial.h"
#include "daemon/learn.h"
#include "daemon/log.h"
#include "daemon/roster.h"
#include "daemon/store.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BURST_OVER 0.1
#define LOOK_NS (ACTIVITY_EVERY_S * NSEC_PER_SEC)

static void
make_alerts(struct controller *c)
{
	assert_int_equal(alerts_new(NSEC_PER_SEC, 1000, 1, &c->alerts), 0);
	assert_int_equal(alert_spool_new(1, 0, &c->alert_spool), 0);
}

static void
free_alerts(struct controller *c)
{
	alerts_free(c->alerts);
	alert_spool_free(c->alert_spool);
}

static int
setup(void **state)
{
	struct ctl_fixture *f;

	ctl_setup(state);
	f = *state;
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	make_alerts(f->c);
	activity_tick(f->c);
	return 0;
}

static void
look(struct controller *c)
{
	ctl_wait(LOOK_NS);
	activity_tick(c);
}

static void
see(struct controller *c, uint8_t kind, const char *dst, uint16_t port, uint32_t count)
{
	struct flow_event ev = ctl_event(1, kind, "10.0.0.1", dst, port);

	ev.count = count;
	if (kind == FLOW_DENIED)
		ev.dir = DIR_EGRESS;
	learn_flow(c, &ev);
}

static uint64_t
times(struct controller *c, const char *name, enum anomaly k)
{
	const struct workload *w = workload_find(c, name);

	return w->activity != NULL ? w->activity->times[k] : 0;
}

static uint64_t
raised(struct controller *c, enum alert_kind k)
{
	struct alert_counts counts;

	alerts_count(c->alerts, &counts);
	return counts.raised[k];
}

static void
rates_are_of_the_last_minute(void **state)
{
	struct ctl_fixture *f = *state;
	const struct activity *a;
	json_t *o;

	for (int i = 0; i < 24; i++) {
		see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 50);
		look(f->c);
	}
	a = workload_find(f->c, "web")->activity;
	assert_true(a->out > 8 && a->out <= 10 && a->in == 0);
	assert_true(workload_find(f->c, "db")->activity->in > 8);
	for (int i = 0; i < 60; i++)
		look(f->c);
	assert_true(a->out < 0.2);
	o = activity_to_json(f->c);
	assert_int_equal(json_array_size(json_object_get(o, "workloads")), 2);
	json_decref(o);
}

static void
a_peer_is_new_once_and_only_after_learning(void **state)
{
	struct ctl_fixture *f = *state;

	see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 1);
	look(f->c);
	assert_int_equal(times(f->c, "web", ANOMALY_NEW_PEER), 0);
	workload_find(f->c, "web")->observed_ns = f->c->config->observation_period_ns;
	see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 1);
	look(f->c);
	assert_int_equal(times(f->c, "web", ANOMALY_NEW_PEER), 0);
	for (uint16_t port = 100; port < 2100; port++)
		see(f->c, FLOW_ANSWERED, "10.0.0.2", port, 1);
	look(f->c);
	look(f->c);
	assert_int_equal(times(f->c, "web", ANOMALY_NEW_PEER), 1);
	assert_int_equal(times(f->c, "db", ANOMALY_NEW_PEER), 0);
	assert_int_equal(raised(f->c, ALERT_NEW_PEER), 1);
}

static void
a_restart_makes_nothing_new(void **state)
{
	struct ctl_fixture *f = *state;

	see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 1);
	assert_int_equal(flush_evidence(f->c), 0);
	free_alerts(f->c);
	ctl_restart(f);
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	make_alerts(f->c);
	workload_find(f->c, "web")->mode = MODE_AUDIT;
	activity_tick(f->c);
	look(f->c);
	assert_int_equal(times(f->c, "web", ANOMALY_NEW_PEER), 0);
	assert_true(workload_find(f->c, "web")->activity->out == 0);
}

static void
many_refusals_are_a_burst_and_few_are_not(void **state)
{
	struct ctl_fixture *f = *state;

	for (int i = 0; i < 24; i++) {
		see(f->c, FLOW_DENIED, "10.0.0.2", 81, 5);
		look(f->c);
	}
	assert_int_equal(times(f->c, "web", ANOMALY_DENIAL_BURST), 0);
	for (int i = 0; i < 24; i++) {
		see(f->c, FLOW_DENIED, "10.0.0.2", 81, 250);
		look(f->c);
	}
	assert_true(times(f->c, "web", ANOMALY_DENIAL_BURST) > 0);
	assert_true(raised(f->c, ALERT_DENIAL_BURST) > 0);
	/* One place, however often, is no scan; and none of it is policy. */
	assert_int_equal(times(f->c, "web", ANOMALY_SCAN), 0);
	assert_int_equal(f->c->revision, 0);
}

static void
many_places_are_a_scan(void **state)
{
	struct ctl_fixture *f = *state;

	for (uint16_t port = 1; port < 25; port++)
		see(f->c, FLOW_DENIED, "10.0.0.2", port, 1);
	look(f->c);
	assert_int_equal(times(f->c, "web", ANOMALY_SCAN), 0);
	for (uint16_t port = 25; port < 2000; port++)
		see(f->c, FLOW_DENIED, "10.0.0.2", port, 1);
	look(f->c);
	assert_true(times(f->c, "web", ANOMALY_SCAN) == 1);
	assert_int_equal(times(f->c, "db", ANOMALY_SCAN), 0);
	for (int i = 0; i < 13; i++)
		look(f->c);
	assert_true(raised(f->c, ALERT_SCAN) <= 13);
	assert_true(times(f->c, "web", ANOMALY_SCAN) <= 13);
	look(f->c);
	assert_true(times(f->c, "web", ANOMALY_SCAN) <= 13);
}

static void
noise_is_what_is_not_usual_and_most_of_all(void **state)
{
	struct ctl_fixture *f = *state;

	for (int i = 0; i < 200; i++) {
		see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 5);
		look(f->c);
	}
	assert_int_equal(times(f->c, "web", ANOMALY_NOISY), 0);
	for (int i = 0; i < 12; i++) {
		see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 5000);
		look(f->c);
	}
	assert_true(times(f->c, "web", ANOMALY_NOISY) > 0);
	assert_true(raised(f->c, ALERT_NOISY) > 0);
}

/* What begins as it means to go on is its own measure; after three periods anybody has one. */
static void
noise_is_told_after_three_periods_and_not_of_what_is_busy_from_its_begin(void **state)
{
	struct ctl_fixture *f = *state;

	for (int i = 0; i < 600; i++) {
		see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 1000);
		look(f->c);
	}
	assert_int_equal(times(f->c, "web", ANOMALY_NOISY), 0);
	ctl_instance(f->c, 3, "quiet", "10.0.0.3");
	f->c->config->activity_period_ns = 2 * NSEC_PER_SEC;
	for (unsigned n = 0; n < 20; n++) {
		struct flow_event ev = ctl_event(3, FLOW_ANSWERED, "10.0.0.3", "10.0.0.1", 80);

		ev.count = n < 5 ? 1 : 1000;
		learn_flow(f->c, &ev);
		ctl_wait(2 * NSEC_PER_SEC);
		activity_tick(f->c);
		assert_true(n >= 5 || times(f->c, "quiet", ANOMALY_NOISY) == 0);
	}
	assert_true(times(f->c, "quiet", ANOMALY_NOISY) > 0);
}

/* What status shows of it, by kind: how often. -1: nothing. */
static json_int_t
told(struct controller *c, const char *name, const char *kind)
{
	json_t *o = activity_to_json(c), *w, *a;
	json_int_t n = -1;
	size_t i, k;

	json_array_foreach(json_object_get(o, "workloads"), i, w)
	{
		if (strcmp(json_string_value(json_object_get(w, "name")), name) != 0)
			continue;
		json_array_foreach(json_object_get(w, "anomalies"), k, a)
		{
			assert_true(json_is_string(json_object_get(a, "lastSeen")));
			if (strcmp(json_string_value(json_object_get(a, "kind")), kind) == 0)
				n = json_integer_value(json_object_get(a, "times"));
		}
	}
	json_decref(o);
	return n;
}

static void
a_new_name_is_told_apart_from_a_new_peer_and_both_to_whom_it_concerns(void **state)
{
	struct ctl_fixture *f = *state;
	uint64_t period = f->c->config->observation_period_ns;

	ctl_add_edge(f->c, "web", "fqdn:old.example.com", 443)->evidence.connections_source = 1;
	look(f->c);
	assert_int_equal(told(f->c, "web", "newName"), -1);
	workload_find(f->c, "web")->observed_ns = workload_find(f->c, "db")->observed_ns = period;
	ctl_add_edge(f->c, "web", "fqdn:new.example.com", 443)->evidence.connections_source = 1;
	look(f->c);
	assert_int_equal(told(f->c, "web", "newName"), 1);
	assert_int_equal(raised(f->c, ALERT_NEW_NAME), 1);
	assert_int_equal(told(f->c, "web", "newPeer"), -1);
	assert_int_equal(raised(f->c, ALERT_NEW_PEER), 0);
	/* One that was decided before it was seen is no news; whom it reaches is told of others. */
	edge_decide(f->c->edges, ctl_add_edge(f->c, "web", "db", 80), EDGE_APPROVED, NULL);
	see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 1);
	look(f->c);
	assert_int_equal(told(f->c, "db", "newPeer"), -1);
	see(f->c, FLOW_ANSWERED, "10.0.0.2", 81, 1);
	look(f->c);
	assert_int_equal(told(f->c, "web", "newPeer"), 1);
	assert_int_equal(told(f->c, "db", "newPeer"), 1);
	assert_int_equal(raised(f->c, ALERT_NEW_PEER), 2);
	/* Nor is what others do whom this daemon does not look after. */
	f->c->only = "d*";
	see(f->c, FLOW_ANSWERED, "10.0.0.2", 82, 1);
	look(f->c);
	assert_int_equal(raised(f->c, ALERT_NEW_PEER), 3);
	assert_int_equal(told(f->c, "web", "newPeer"), -1);
	f->c->only = NULL;
}

static void
who_is_refused_and_who_refuses_are_both_told(void **state)
{
	struct ctl_fixture *f = *state;

	for (int i = 0; i < 24; i++) {
		see(f->c, FLOW_DENIED, "10.0.0.2", 81, 250);
		look(f->c);
	}
	assert_true(told(f->c, "web", "denialBurst") > 0);
	assert_true(told(f->c, "db", "denialBurst") > 0);
	/* And it is over when it is over. */
	for (int i = 0; i < 120; i++)
		look(f->c);
	assert_true(workload_find(f->c, "web")->activity->refused < BURST_OVER);
	assert_int_equal(
	    told(f->c, "web", "denialBurst"), times(f->c, "web", ANOMALY_DENIAL_BURST));
}

/* Of a stranger the victim is named: he is the only one who is known. */
static void
a_scan_by_a_stranger_names_whom_he_scans(void **state)
{
	struct ctl_fixture *f = *state;

	for (uint16_t port = 1; port < 60; port++) {
		struct flow_event ev = ctl_event(2, FLOW_DENIED, "203.0.113.7", "10.0.0.2", port);

		ev.dir = DIR_INGRESS;
		learn_flow(f->c, &ev);
	}
	look(f->c);
	assert_int_equal(told(f->c, "db", "scan"), 1);
	assert_int_equal(told(f->c, "web", "scan"), -1);
}

/* Where nothing is refused it is what nobody answers. */
static void
unanswered_attempts_are_a_scan_too(void **state)
{
	struct ctl_fixture *f = *state;

	for (uint16_t port = 1; port < 60; port++)
		see(f->c, FLOW_ATTEMPT, "10.0.0.2", port, 1);
	look(f->c);
	ctl_wait(LOOK_NS);
	attempt_tick(f->c);
	look(f->c);
	assert_true(told(f->c, "web", "scan") > 0);
	assert_int_equal(told(f->c, "web", "denialBurst"), -1);
	assert_true(workload_find(f->c, "web")->activity->refused == 0);
}

/* The look comes when it comes: a little more than a period and a wait after the scan. */
static void
a_scan_within_a_short_period_is_seen(void **state)
{
	static const uint8_t of[] = { FLOW_ATTEMPT, FLOW_DENIED };
	struct ctl_fixture *f = *state;

	f->c->config->activity_period_ns = NSEC_PER_SEC;
	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		look(f->c);
		for (uint16_t port = 1; port < 60; port++)
			see(f->c, of[i], "10.0.0.2", port, 1);
		ctl_wait((of[i] == FLOW_ATTEMPT ? ATTEMPT_WAIT_NS : 0) + NSEC_PER_SEC + 1);
		attempt_tick(f->c);
		activity_tick(f->c);
		assert_int_equal(times(f->c, "web", ANOMALY_SCAN), i + 1);
		/* And once: they are no news at the next one. */
		look(f->c);
		assert_int_equal(times(f->c, "web", ANOMALY_SCAN), i + 1);
	}
}

/* Each half is no scan. What waited for an answer is as new as the moment it was told of. */
static void
a_scan_in_two_halves_is_one_within_a_period(void **state)
{
	static const struct {
		uint8_t kind;
		uint64_t period_ns;
		bool scan;
	} cases[] = {
		{ FLOW_ATTEMPT, LOOK_NS + NSEC_PER_SEC, true },
		{ FLOW_ATTEMPT, LOOK_NS - NSEC_PER_SEC, false },
		{ FLOW_DENIED, 2 * LOOK_NS, true },
		{ FLOW_DENIED, LOOK_NS + NSEC_PER_SEC, false },
	};
	struct ctl_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t before = times(f->c, "web", ANOMALY_SCAN);
		uint16_t first = (uint16_t)(1000 * (i + 1));

		f->c->config->activity_period_ns = cases[i].period_ns;
		for (uint16_t k = 0; k < 40; k++) {
			see(f->c, cases[i].kind, "10.0.0.2", first + k, 1);
			if (k % 20 == 19) {
				ctl_wait(LOOK_NS);
				attempt_tick(f->c);
				activity_tick(f->c);
			}
		}
		assert_int_equal(times(f->c, "web", ANOMALY_SCAN) - before, cases[i].scan);
		for (int k = 0; k < 20; k++)
			look(f->c);
	}
}

/* All that was written to stderr meanwhile. */
static int
log_begin(int *ret_stderr)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	assert_true(fd >= 0);
	*ret_stderr = dup(STDERR_FILENO);
	assert_true(*ret_stderr >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	log_raise(LOG_LVL_WARN);
	return fd;
}

static void
log_end(int fd, int old_stderr)
{
	log_raise(LOG_LVL_ERROR);
	assert_true(dup2(old_stderr, STDERR_FILENO) >= 0);
	close(old_stderr);
	close(fd);
}

/* Lines since the last call; each is one warning. */
static unsigned
log_lines(int fd)
{
	static char buf[65536];
	off_t size = lseek(fd, 0, SEEK_END);
	unsigned n = 0;

	assert_true(size < (off_t)sizeof(buf) && pread(fd, buf, (size_t)size, 0) == size);
	buf[size] = '\0';
	for (char *at = buf, *end; (end = strchr(at, '\n')) != NULL; at = end + 1, n++)
		assert_int_equal(strncmp(at, "warn test: workload ", 20), 0);
	/* Written from the beginning again: the descriptor has one place for all. */
	assert_int_equal(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	return n;
}

/* Everybody is told of each, the log of ten at a look, and of the same every ten minutes. */
static void
the_log_has_few_lines_however_much_is_unusual(void **state)
{
	enum { N = 14 };
	struct ctl_fixture *f = *state;
	uint16_t port = 0;
	unsigned lines[4] = { 0 };
	uint64_t raised_before;
	int old_stderr, fd;

	for (uint8_t k = 0; k < N; k++) {
		char name[32], address[32];

		snprintf(name, sizeof(name), "s%u\nerror test: all is lost", k);
		snprintf(address, sizeof(address), "10.0.1.%u", k + 1);
		ctl_instance(f->c, 10 + k, name, address)->workload->mode = MODE_AUDIT;
	}
	raised_before = raised(f->c, ALERT_NEW_PEER);
	fd = log_begin(&old_stderr);
	/* A new peer for each at every look, for ten minutes, and then for as long once more. */
	for (unsigned at = 0; at < 240; at++) {
		port++;
		for (uint8_t k = 0; k < N; k++) {
			struct flow_event ev =
			    ctl_event(10 + k, FLOW_ANSWERED, "10.0.1.1", "203.0.113.1", port);

			ev.tuple.src.bytes[3] = k + 1;
			learn_flow(f->c, &ev);
		}
		look(f->c);
		lines[at < 2 ? at : 2 + at / 120] += log_lines(fd);
	}
	log_end(fd, old_stderr);
	assert_int_equal(lines[0], 10);
	assert_int_equal(lines[1], N - 10);
	assert_int_equal(lines[2], 0);
	assert_int_equal(lines[3], N);
	assert_int_equal(raised(f->c, ALERT_NEW_PEER) - raised_before, 240 * N);
}

static void
what_is_usual_or_beside_more_or_just_begun_is_no_noise(void **state)
{
	struct ctl_fixture *f = *state;

	/* From the first minute on it is known for that. */
	for (int i = 0; i < 200; i++) {
		see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 5000);
		look(f->c);
	}
	assert_int_equal(told(f->c, "web", "noisyNeighbour"), -1);
	/* Somebody else gets loud, but not as loud. */
	ctl_instance(f->c, 3, "calm", "10.0.0.3");
	ctl_instance(f->c, 4, "dns", "10.0.0.4");
	for (int i = 0; i < 150; i++) {
		see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 5000);
		look(f->c);
	}
	for (int i = 0; i < 12; i++) {
		struct flow_event ev = ctl_event(3, FLOW_ANSWERED, "10.0.0.3", "10.0.0.4", 53);

		see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, 5000);
		ev.count = 1000;
		learn_flow(f->c, &ev);
		look(f->c);
	}
	assert_true(workload_find(f->c, "calm")->activity->out > 50);
	assert_int_equal(told(f->c, "calm", "noisyNeighbour"), -1);
	assert_int_equal(raised(f->c, ALERT_NOISY), 0);
}

static void
few_are_no_noise_however_unusual(void **state)
{
	struct ctl_fixture *f = *state;

	for (int i = 0; i < 212; i++) {
		/* 40 a second at last */
		see(f->c, FLOW_ANSWERED, "10.0.0.2", 80, i < 200 ? 1 : 40 * LOOK_NS / NSEC_PER_SEC);
		look(f->c);
	}
	assert_true(workload_find(f->c, "web")->activity->out > 20);
	assert_int_equal(told(f->c, "web", "noisyNeighbour"), -1);
}

static int
teardown(void **state)
{
	struct ctl_fixture *f = *state;

	free_alerts(f->c);
	return ctl_teardown(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rates_are_of_the_last_minute),
		TEST(a_peer_is_new_once_and_only_after_learning),
		TEST(a_restart_makes_nothing_new),
		TEST(many_refusals_are_a_burst_and_few_are_not),
		TEST(many_places_are_a_scan),
		TEST(a_new_name_is_told_apart_from_a_new_peer_and_both_to_whom_it_concerns),
		TEST(who_is_refused_and_who_refuses_are_both_told),
		TEST(a_scan_by_a_stranger_names_whom_he_scans),
		TEST(unanswered_attempts_are_a_scan_too),
		TEST(a_scan_within_a_short_period_is_seen),
		TEST(a_scan_in_two_halves_is_one_within_a_period),
		TEST(the_log_has_few_lines_however_much_is_unusual),
		TEST(what_is_usual_or_beside_more_or_just_begun_is_no_noise),
		TEST(few_are_no_noise_however_unusual),
		TEST(noise_is_what_is_not_usual_and_most_of_all),
		TEST(noise_is_told_after_three_periods_and_not_of_what_is_busy_from_its_begin),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
