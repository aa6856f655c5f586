/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A start is answered when the warden has looked at its links, and not by an earlier look; who is
 * waited for and for how long; the marker; and READY comes when there is a gate to ask.
 */
#include "ctl-fixture.h"
#include "daemon/api.h"
#include "daemon/dispatch.h"
#include "daemon/enforce.h"
#include "daemon/gate.h"
#include "daemon/segment.h"
#include "daemon/store.h"
#include "netlink/nft.h"

#include <sys/socket.h>
#include <sys/stat.h>

#define COOKIE 7

static uint32_t looks[8];
static unsigned n_looks;

static void
note_look(uint16_t type, uint32_t seq, const void *body, size_t len)
{
	if (type != MSG_W_LOOK)
		return;
	assert_true(n_looks < ARRAY_SIZE(looks));
	looks[n_looks++] = seq;
}

/* An enforced namespace whose rules are in force, with a guard that is to be in place. */
static int
set_up(void **state)
{
	struct ctl_fixture *f;
	struct instance *i;

	ctl_setup_loop(state);
	f = *state;
	f->c->ev_reconcile = evtimer_new(f->c->loop.base, enforce_reconcile_cb, f->c);
	assert_non_null(f->c->ev_reconcile);
	f->c->warden.features = NFT_CAN_INGRESS;
	f->c->config->host_guard = HOST_GUARD_ON;
	i = ctl_instance(f->c, COOKIE, "web", "10.0.0.7");
	i->workload->mode = MODE_ENFORCE;
	i->has_applied = i->match = i->has_guard = true;
	i->applied_revision = f->c->revision;
	evtimer_del(f->c->ev_reconcile);
	assert_int_equal(gate_new(f->c), 0);
	n_looks = 0;
	on_sent = note_look;
	return 0;
}

static int
tear_down(void **state)
{
	struct ctl_fixture *f = *state;

	gate_free(f->c);
	event_free(f->c->ev_reconcile);
	f->c->ev_reconcile = NULL;
	return ctl_teardown_loop(state);
}

static struct api_wait *
ask_as(struct controller *c, const char *id)
{
	char body[128];
	int n = snprintf(body, sizeof(body), "{\"id\": \"%s\", \"pid\": 4242}", id);
	const struct api_request q = { .c = c, .body = body, .body_len = (size_t)n };
	struct api_reply r = { 0 };

	gate_post(&q, &r);
	assert_non_null(r.wait);
	return r.wait;
}

static struct api_wait *
ask(struct controller *c)
{
	return ask_as(c, "web");
}

static void
looked(struct controller *c, uint32_t seq, uint64_t cookie, int error)
{
	const struct w_looked l = { .cookie = cookie, .error = error, .pid = 4242 };

	gate_on_looked(c, &l, seq);
}

static bool
is_answered(struct api_wait *w)
{
	return w->answered(w, NULL);
}

/* Whether it is that it may start. Frees it. */
static bool
may_start(struct api_wait *w)
{
	struct api_reply r = { 0 };
	bool ret;

	assert_true(is_answered(w));
	w->reply(w, &r);
	ret = r.status == 0 && r.json != NULL && json_is_true(json_object_get(r.json, "start"));
	json_decref(r.json);
	w->free(w);
	return ret;
}

static void
the_answer_comes_after_the_look_at_its_links(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct api_wait *w = ask(c);

	assert_int_equal(n_looks, 1);
	looked(c, looks[0], COOKIE, 0);
	/* Its rules are in force, and it is known: but what was looked at was before that. */
	assert_false(is_answered(w));
	assert_int_equal(n_looks, 2);
	assert_int_not_equal(looks[1], looks[0]);
	looked(c, looks[0], COOKIE, 0);
	assert_false(is_answered(w));
	looked(c, looks[1], COOKIE, 0);
	assert_true(may_start(w));
}

static void
a_look_that_fails_or_is_at_another_is_none(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct api_wait *w = ask(c);

	ctl_instance(c, COOKIE + 1, "other", "10.0.0.8")->has_guard = true;
	evtimer_del(c->ev_reconcile);
	looked(c, looks[0], COOKIE, 0);
	looked(c, looks[1], COOKIE, -EIO);
	assert_false(is_answered(w));
	looked(c, looks[1], COOKIE + 1, 0);
	assert_false(is_answered(w));
	instance_find(c, COOKIE)->guard.error = -EINVAL;
	looked(c, looks[1], COOKIE, 0);
	assert_false(is_answered(w));
	instance_find(c, COOKIE)->guard.error = 0;
	looked(c, looks[1], COOKIE, 0);
	assert_true(may_start(w));
}

/* Rules that are made anew meanwhile make the look one from before them. */
static void
new_rules_ask_for_a_new_look(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct api_wait *w = ask(c);
	uint32_t first;

	looked(c, looks[0], COOKIE, 0);
	first = looks[1];
	instance_find(c, COOKIE)->applied_revision = c->revision + 1;
	gate_check(c);
	looked(c, first, COOKIE, 0);
	assert_false(is_answered(w));
	instance_find(c, COOKIE)->applied_revision = c->revision;
	gate_check(c);
	looked(c, first, COOKIE, 0);
	assert_false(is_answered(w));
	assert_int_equal(n_looks, 3);
	looked(c, looks[2], COOKIE, 0);
	assert_true(may_start(w));
}

static void
without_a_look_it_is_refused_in_the_end(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct api_wait *w = ask(c);

	looked(c, looks[0], COOKIE, 0);
	ctl_wait(c->config->identify_timeout_ns - NSEC_PER_MSEC);
	gate_check(c);
	assert_false(is_answered(w));
	ctl_wait(NSEC_PER_MSEC);
	gate_check(c);
	assert_false(may_start(w));
}

static void
where_no_guard_is_wanted_its_rules_are_enough(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct api_wait *w;

	c->config->host_guard = HOST_GUARD_OFF;
	w = ask(c);
	looked(c, looks[0], COOKIE, 0);
	assert_true(may_start(w));
	assert_int_equal(n_looks, 1);
}

/* They cannot leak anything: only the first connection is at stake. */
static void
its_peers_rules_are_waited_for_but_not_for_long(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct instance *peer = ctl_instance(c, COOKIE + 1, "db", "10.0.0.8");
	struct api_wait *w;

	evtimer_del(c->ev_reconcile);
	c->config->host_guard = HOST_GUARD_OFF;
	peer->apply_seq = 1;
	w = ask(c);
	looked(c, looks[0], COOKIE, 0);
	assert_false(is_answered(w));
	peer->apply_seq = 0;
	gate_check(c);
	assert_true(may_start(w));
	peer->apply_seq = 1;
	w = ask(c);
	looked(c, looks[1], COOKIE, 0);
	ctl_wait(299 * NSEC_PER_MSEC);
	gate_check(c);
	assert_false(is_answered(w));
	ctl_wait(NSEC_PER_MSEC);
	gate_check(c);
	assert_true(may_start(w));
}

/* Whether it may start whom nobody identifies in time. */
static bool
unknown_may_start(struct controller *c, const char *id, enum config_on_unknown how)
{
	struct api_wait *w;

	c->config->on_unknown = how;
	w = ask_as(c, id);
	ctl_wait(c->config->identify_timeout_ns - NSEC_PER_MSEC);
	gate_check(c);
	assert_false(is_answered(w));
	ctl_wait(NSEC_PER_MSEC);
	gate_check(c);
	return may_start(w);
}

static void
who_is_not_identified_starts_as_configured_and_never_with_an_engines_id(void **state)
{
	static const char id[] = "c0ffee00c0ffee00c0ffee00c0ffee00"
				 "c0ffee00c0ffee00c0ffee00c0ffee00";
	struct controller *c = ((struct ctl_fixture *)*state)->c;

	assert_true(unknown_may_start(c, "by-hand", ON_UNKNOWN_ALLOW));
	assert_false(unknown_may_start(c, "by-hand", ON_UNKNOWN_QUARANTINE));
	assert_false(unknown_may_start(c, id, ON_UNKNOWN_ALLOW));
	assert_false(unknown_may_start(c, id, ON_UNKNOWN_QUARANTINE));
}

/* Else the daemon's end would let start what the policy holds. */
static void
nothing_is_enforced_before_the_marker_is_there(void **state)
{
	const struct actor root = { .name = "uid:0" };
	struct ctl_fixture *f = *state;
	struct workload *w = workload_find(f->c, "web");
	const struct mode_change m = { w, MODE_ENFORCE, WL_BOTH };
	json_t *stored;
	char mark[96];

	snprintf(mark, sizeof(mark), "%s/enforced", f->dir);
	assert_int_equal(access(mark, F_OK), 0);
	w->mode = MODE_OBSERVE;
	gate_tick(f->c);
	assert_int_equal(access(mark, F_OK), -1);
	/* It cannot be written. */
	assert_int_equal(mkdir(mark, 0700), 0);
	assert_true(segment_set_modes(f->c, &m, 1, 0, "r", &root, &f->d) < 0);
	assert_int_equal(w->mode, MODE_OBSERVE);
	stored = store_revisions(f->c->store, 10);
	assert_int_equal(json_array_size(stored), 0);
	json_decref(stored);
	assert_int_equal(rmdir(mark), 0);
	assert_int_equal(segment_set_modes(f->c, &m, 1, 0, "r", &root, &f->d), 0);
	assert_int_equal(access(mark, F_OK), 0);
}

static void
never(void *arg, struct chan *c, int error)
{
	fail();
}

/* What is started after READY is seen from its beginning, and can ask whether it may. */
static void
the_supervisor_is_told_when_the_gate_is_up_as_well(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct msg m = { .h.type = MSG_W_SCANNED };
	struct msg_header h;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, s), 0);
	assert_int_equal(chan_new(c->loop.base, s[0], NULL, never, NULL, &c->loop.control), 0);
	c->scanned = false;
	dispatch_msg(c, ROLE_WARDEN, &m);
	assert_true(c->scanned);
	assert_true(recv(s[1], &h, sizeof(h), 0) < 0);
	c->listening = true;
	dispatch_msg(c, ROLE_WARDEN, &m);
	assert_int_equal(recv(s[1], &h, sizeof(h), 0), sizeof(h));
	assert_int_equal(h.type, MSG_SUP_WATCHING);
	dispatch_msg(c, ROLE_WARDEN, &m);
	assert_true(recv(s[1], &h, sizeof(h), 0) < 0);
	chan_free(c->loop.control);
	close(s[1]);
}

#define GATE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		GATE_TEST(the_answer_comes_after_the_look_at_its_links),
		GATE_TEST(a_look_that_fails_or_is_at_another_is_none),
		GATE_TEST(new_rules_ask_for_a_new_look),
		GATE_TEST(without_a_look_it_is_refused_in_the_end),
		GATE_TEST(where_no_guard_is_wanted_its_rules_are_enough),
		GATE_TEST(its_peers_rules_are_waited_for_but_not_for_long),
		GATE_TEST(who_is_not_identified_starts_as_configured_and_never_with_an_engines_id),
		GATE_TEST(nothing_is_enforced_before_the_marker_is_there),
		GATE_TEST(the_supervisor_is_told_when_the_gate_is_up_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
