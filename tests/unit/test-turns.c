/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A change of policy in turns with the loop: what happens meanwhile is neither lost nor in its way.
 */
#include "ctl-fixture.h"
#include "daemon/aside.h"
#include "daemon/segment_internal.h"

#include <event2/event.h>

#define PORTS 3000 /* more than SEGMENT_LARGE */
#define SEEN 1000  /* of them: below those that are summed up */
#define NAMES 2000
#define FOLDED 40000 /* pending edges, that many more of which are summed up */

static const struct actor root = { .name = "uid:0" };

struct turns {
	struct ctl_fixture *f;
	struct event *tick;
	struct policy *policy;
	unsigned n; /* turns of the loop */
	unsigned seen[SEEN + 1];
	int result;
	bool ended, met;
	uint64_t before; /* revision */
};

static void
see(struct controller *c, uint16_t port)
{
	struct flow_event ev = ctl_event(1, FLOW_ANSWERED, "10.0.0.1", "10.0.0.2", port);

	learn_flow(c, &ev);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct turns *t = arg;
	struct controller *c = t->f->c;
	const struct timeval now = { 0 };

	(void)fd;
	(void)what;
	if (t->ended)
		return;
	ctl_wait(NSEC_PER_MSEC);
	/* Never one without the other. */
	assert_int_equal(c->revision != t->before, c->policy->n_edges == PORTS);
	for (unsigned i = 0; i < 10; i++) {
		unsigned port = 1 + (t->n * 10 + i) % SEEN;

		see(c, (uint16_t)port);
		t->seen[port]++;
	}
	see(c, (uint16_t)(FOLDED + 32 + t->n % 100));
	if (!t->met && workload_find(c, "made") != NULL) {
		ctl_instance(c, 9, "made", "10.0.0.9");
		t->met = true;
	}
	t->n++;
	evtimer_add(t->tick, &now);
}

static void
work(void *arg)
{
	struct turns *t = arg;
	int r;

	r = segment_apply_policy(t->f->c, t->policy, 0, 0, "r", &root, &t->f->d);
	t->result = r;
}

static void
done(void *arg)
{
	struct turns *t = arg;

	t->ended = true;
}

static struct policy *
make_policy(const char *state)
{
	const size_t size = 1 << 20;
	char *text = malloc(size), *at = text, *end = text + size;
	struct policy *p = NULL;
	struct diag d;

	at += snprintf(at, size,
	    "apiVersion: nanoseg/v1\nkind: SegmentPolicy\nworkloads:\n"
	    "  - {name: made, mode: audit}\n");
	for (unsigned i = 0; i < NAMES; i++)
		at += snprintf(at, (size_t)(end - at), "  - {name: w%u, mode: audit}\n", i);
	at += snprintf(at, (size_t)(end - at), "edges:\n");
	for (unsigned i = 0; i < 32; i++)
		at += snprintf(at, (size_t)(end - at),
		    "  - {from: web, to: api, proto: tcp, port: %u, state: pending}\n", FOLDED + i);
	for (unsigned port = 1; port <= PORTS; port++)
		at += snprintf(at, (size_t)(end - at),
		    "  - {from: web, to: api, proto: tcp, port: %u, state: %s}\n", port, state);
	if (policy_parse(text, (size_t)(at - text), &d, &p) < 0)
		fail_msg("%s", d.msg);
	free(text);
	return p;
}

static void
start(struct turns *t, struct ctl_fixture *f)
{
	*t = (struct turns){ .f = f, .result = 1 };
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "api", "10.0.0.2");
	for (unsigned i = 0; i < 32; i++)
		see(f->c, (uint16_t)(FOLDED + i));
	assert_int_equal(flush_evidence(f->c), 0);
	f->c->loop.base = event_base_new();
	t->tick = evtimer_new(f->c->loop.base, on_tick, t);
}

static void
apply(struct turns *t, const char *state)
{
	const struct timeval now = { 0 };

	t->policy = make_policy(state);
	t->before = t->f->c->revision;
	t->result = 1;
	t->ended = false;
	t->f->c->changing = true;
	evtimer_add(t->tick, &now);
	assert_int_equal(aside_start(t->f->c->loop.base, work, done, t), 0);
	while (!t->ended)
		event_base_loop(t->f->c->loop.base, EVLOOP_ONCE);
	t->f->c->changing = false;
	policy_free(t->policy);
	assert_true(t->n > 2);
}

/* What was seen, as the store has it. */
static void
stop(struct turns *t)
{
	struct event_base *base = t->f->c->loop.base;

	event_free(t->tick);
	t->f->c->loop.base = NULL;
	event_base_free(base);
	assert_int_equal(flush_evidence(t->f->c), 0);
	ctl_restart(t->f);
	for (unsigned port = 1; port <= SEEN; port++) {
		const struct edge *e = ctl_edge(t->f->c, "web", "api", (uint16_t)port);

		if (t->seen[port] > 0 && (e == NULL || edge_connections(e) != t->seen[port]))
			fail_msg("port %u: %u seen, %u kept", port, t->seen[port],
			    e != NULL ? (unsigned)edge_connections(e) : 0);
	}
}

static void
what_is_seen_during_a_change_is_kept(void **state)
{
	struct turns t;

	start(&t, *state);
	apply(&t, "approved");
	assert_int_equal(t.result, 0);
	assert_int_equal(t.f->c->revision, 1);
	assert_true(t.met);
	assert_int_equal(workload_find(t.f->c, "made")->mode, MODE_AUDIT);
	assert_int_equal(t.f->c->policy->n_edges, PORTS);
	stop(&t);
	assert_int_equal(t.f->c->revision, 1);
	assert_int_equal(ctl_edge(t.f->c, "web", "api", 7)->state, EDGE_APPROVED);
	assert_int_equal(t.f->c->policy->n_edges, PORTS);
}

static void
and_what_is_met_during_one_that_fails_stays(void **state)
{
	struct ctl_fixture *f = *state;
	struct turns t;

	start(&t, f);
	for (unsigned port = 1; port <= SEEN; port++) {
		see(f->c, (uint16_t)port);
		t.seen[port]++;
	}
	assert_int_equal(flush_evidence(f->c), 0);
	assert_int_equal(store_begin(f->c->store), 0); /* it takes nothing */
	apply(&t, "denied");
	store_rollback(f->c->store);
	assert_true(t.result < 0);
	assert_int_equal(f->c->revision, 0);
	assert_true(t.met);
	assert_non_null(workload_find(f->c, "made"));
	assert_int_equal(workload_find(f->c, "made")->mode, MODE_OBSERVE);
	assert_null(workload_find(f->c, "w7"));
	assert_int_equal(ctl_edge(f->c, "web", "api", 7)->state, EDGE_PENDING);
	stop(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    what_is_seen_during_a_change_is_kept, ctl_setup, ctl_teardown),
		cmocka_unit_test_setup_teardown(
		    and_what_is_met_during_one_that_fails_stays, ctl_setup, ctl_teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
