/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Desired against actual. Whenever a decision, an identity or an address changes, reconciliation is
 * scheduled (reconcile.c). What the kernel has then comes back with the answer. A failure leaves
 * the old rules standing and is tried again with back-off.
 */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/former.h"
#include "daemon/gate.h"
#include "daemon/hostguard.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/names.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"
#include "daemon/start.h"
#include "rules/json.h"

#include <inttypes.h>
#include <string.h>

#define READ_BACK_EVERY_S 30
#define LOOK_AGAIN_EVERY_S 5
#define EXPIRE_EVERY_S 5
#define RECONCILE_DELAY_US 1000
#define RECONCILE_PAUSE_MAX_NS NSEC_PER_SEC

static void
plan(struct event *ev, uint64_t after_ns)
{
	uint64_t now = now_mono(), wait_us = RECONCILE_DELAY_US;
	struct timeval delay;

	if (ev == NULL || evtimer_pending(ev, NULL))
		return;
	if (after_ns > now)
		wait_us = MAX(wait_us, (after_ns - now) / 1000);
	delay.tv_sec = (time_t)(wait_us / 1000000);
	delay.tv_usec = (suseconds_t)(wait_us % 1000000);
	evtimer_add(ev, &delay);
}

void
enforce_schedule(struct controller *c)
{
	plan(c->ev_reconcile, c->reconcile_after_ns);
}

void
enforce_first(struct instance *i)
{
	if (i->workload == NULL || i->attach != ATTACH_DONE || i->has_applied)
		return;
	i->is_first = true;
	plan(i->ctl->ev_first, i->ctl->first_after_ns);
}

void
enforce_names(struct workload *w)
{
	struct controller *c = NULL;
	const struct timeval now = { 0 };

	for (struct instance *i = w->instances; i != NULL; i = i->next_of_workload) {
		c = i->ctl;
		i->is_first = i->attach == ATTACH_DONE;
	}
	if (c == NULL || c->ev_first == NULL)
		return;
	/* Not even the millisecond that changes are collected for, unless there were too many. */
	if (now_mono() >= c->first_after_ns)
		evtimer_add(c->ev_first, &now);
	else
		plan(c->ev_first, c->first_after_ns);
}

void
enforce_now(struct controller *c)
{
	const struct timeval now = { 0 };

	for (struct instance *i = c->instances; i != NULL; i = i->next)
		i->retry_at_ns = 0;
	c->reconcile_after_ns = 0;
	c->compile_all = true;
	if (c->ev_reconcile != NULL)
		evtimer_del(c->ev_reconcile);
	enforce_schedule(c);
	if (c->ev_expire != NULL)
		evtimer_add(c->ev_expire, &now);
}

/* A container that changes its addresses all the time gets a fifth of our time, not all. */
static uint64_t
next_after(uint64_t began_ns)
{
	uint64_t now = now_mono();

	return now + MIN(4 * (now - began_ns), RECONCILE_PAUSE_MAX_NS);
}

void
enforce_reconcile_cb(evutil_socket_t fd, short what, void *arg)
{
	struct controller *c = arg;
	uint64_t began = now_mono();

	if (!c->warden_ready)
		return;
	if (reconcile_all(c) < 0) {
		log_error("out of memory: the rules in force stay, trying again");
		enforce_schedule(c);
		return;
	}
	c->reconcile_after_ns = next_after(began);
	gate_check(c);
}

void
enforce_first_cb(evutil_socket_t fd, short what, void *arg)
{
	struct controller *c = arg;
	uint64_t began = now_mono();

	if (!c->warden_ready)
		return;
	reconcile_first(c);
	c->first_after_ns = next_after(began);
}

/* Of rules that are in force: what they no longer let pass may be live. */
static void
cut_live(struct instance *i, const struct w_applied *a)
{
	_cleanup_free_ uint8_t *rules = steal_ptr(i->asked_rules);
	/* What was in force before our first ones, and whether all was cut, is not known. */
	bool narrowed = (a->narrowed != 0 || !i->has_applied) && a->ct_count > 0;
	int r = cut_begin(i, rules, i->asked_rules_len, narrowed);

	if (r < 0)
		log_error("instance %s: connections that its rules no longer allow are not cut: %s",
		    instance_log_id(i), strerror(-r));
}

static void
apply_failed(struct instance *i, int error)
{
	uint64_t wait_s = MIN(1ULL << MIN(i->apply_failures, 6u), 60ULL);

	i->apply_failures++;
	i->ctl->metrics.apply_failures++;
	i->retry_at_ns = now_mono() + wait_s * NSEC_PER_SEC;
	log_warn("instance %s: keeping revision %llu, retry in %llu s: %s", instance_log_id(i),
	    (unsigned long long)i->applied_revision, (unsigned long long)wait_s,
	    error < 0 ? strerror(-error) : "the kernel's rules differ from what was asked");
	applied_on_failure(i, error < 0 ? strerror(-error) : "the kernel's rules differ");
	/* What stands in the way may call for a host guard, which comes with the rules. */
	if (hostguard_update(i)) {
		i->retry_at_ns = 0;
		enforce_schedule(i->ctl);
	}
}

/* Counted each time; said and recorded not all the time, as whoever is root inside can do it. */
static void
drifted(struct instance *i, const struct w_drift *d)
{
	struct controller *c = i->ctl;
	struct audit_record r = { .event = "drift",
		.result = d->error != 0 ? "failed" : "repaired" };
	uint64_t now = now_mono(), times;
	char safe[4 * sizeof(d->program)];

	i->drift++;
	c->metrics.drift++;
	alert_raise_instance(i, ALERT_DRIFT, ALERT_ERROR,
	    "%s changed from outside by %s (process %" PRIu32 "): %s",
	    d->guard ? "the host guard was" : "its rules were",
	    d->program[0] != '\0' ? d->program : "somebody", d->pid,
	    d->error != 0 ? "loading them again" : "repaired");
	if (i->drift_said_ns != 0 && now - i->drift_said_ns < DRIFT_SAY_NS)
		return;
	times = i->drift - i->drift_said;
	i->drift_said = i->drift;
	i->drift_said_ns = now;
	text_escape(d->program, strlen(d->program), safe, sizeof(safe));
	log_error("instance %s: its %s changed from outside, %" PRIu64
		  " times, last by %s (process %" PRIu32 "): %s",
	    instance_log_id(i), d->guard ? "host guard was" : "rules were", times,
	    *safe != '\0' ? safe : "somebody", d->pid,
	    d->error != 0 ? "loading them again" : "repaired");
	r.subject = json_pack("{s:o, s:o, s:I, s:I, s:o, s:b}", "instance",
	    json_text(instance_id(i)), "workload",
	    json_text(i->workload != NULL ? i->workload->name : NULL), "times", (json_int_t)times,
	    "pid", (json_int_t)d->pid, "program", json_text(d->program), "guard", d->guard != 0);
	audit_note(c->audit, &r);
}

void
enforce_on_applied(struct controller *c, const struct w_applied *a)
{
	struct instance *i = instance_find(c, a->cookie);
	bool in_force, held;

	if (i == NULL || i->apply_seq == 0)
		return;
	i->apply_seq = 0;
	i->apply_error = a->error;
	i->match = a->match != 0;
	if (a->error < 0 || !i->match) {
		apply_failed(i, a->error);
		return;
	}
	c->metrics.applies++;
	c->metrics.refreshes += i->asked_refresh;
	histogram_add(&c->metrics.apply, a->usec * 1000ull);
	i->apply_failures = 0;
	i->retry_at_ns = 0;
	cut_live(i, a);
	if (former_workload(i) != NULL && !i->has_applied) {
		/* Once it is identified they are loaded as its own. */
		i->stood_in = true;
		tables_note(c, i->ns.cookie, a->kernel);
		enforce_schedule(c);
		return;
	}
	i->has_applied = true;
	i->applied_ns = now_real();
	i->apply_usec = a->usec;
	i->applied_revision = i->asked_revision;
	i->attached.owned = a->owned;
	i->applied_local = i->asked_local;
	memcpy(i->applied, i->asked, sizeof(i->applied));
	memcpy(i->loaded, a->ruleset, sizeof(i->loaded));
	memcpy(i->kernel, a->kernel, sizeof(i->kernel));
	tables_note(c, i->ns.cookie, i->kernel);
	applied_on_read_back(i);
	names_on_applied(i);
	in_force = i->workload != NULL && i->workload->mode == MODE_ENFORCE;
	i->enforced_before |= in_force;
	held = i->asked_held && quarantine_of(i) != NULL;
	if (in_force || held)
		start_on_ruled(i);
	if (i->tampered_ns != 0)
		drifted(i, &(const struct w_drift){ .cookie = a->cookie });
	if (in_force)
		exposure_on_ruled(i);
	i->tampered_ns = 0;
	/* What changed meanwhile. */
	enforce_schedule(c);
}

void
enforce_on_state(struct controller *c, const struct w_nft_state *s)
{
	const struct w_drift by_somebody = { .error = -ESTALE };
	struct instance *i = instance_find(c, s->cookie);

	if (i == NULL || s->error < 0 || !i->has_applied || i->table_holder != 0)
		return;
	i->dropped = s->dropped;
	if (s->match != 0 || i->apply_seq != 0)
		return;
	drifted(i, &by_somebody);
	i->match = false;
	enforce_schedule(c);
}

void
enforce_on_drift(struct controller *c, const struct w_drift *d)
{
	struct instance *i = instance_find(c, d->cookie);

	if (i == NULL)
		return;
	drifted(i, d);
	if (d->error == 0 || d->guard)
		return;
	i->match = false;
	enforce_schedule(c);
}

/* Approvals that have run out since the last look leave the rulesets, the next one in time. */
static void
expire_approvals(struct controller *c)
{
	static uint64_t looked_ns;
	uint64_t now = now_real(), next_ns = EXPIRE_EVERY_S * NSEC_PER_SEC;
	struct timeval delay;
	size_t pos = 0;
	struct edge *e;

	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		if (e->decision.expires_ns <= looked_ns)
			continue;
		if (e->decision.expires_ns > now) {
			next_ns = MIN(next_ns, e->decision.expires_ns - now);
			continue;
		}
		log_info("edge %s: its approval has expired", e->id);
		enforce_now(c);
	}
	looked_ns = now;
	/* Again after every decision, and after some seconds, as the clock may be set. */
	delay.tv_sec = (time_t)(next_ns / NSEC_PER_SEC);
	delay.tv_usec = (suseconds_t)(next_ns % NSEC_PER_SEC / 1000 + 1);
	evtimer_add(c->ev_expire, &delay);
}

void
enforce_expire_cb(evutil_socket_t fd, short what, void *arg)
{
	expire_approvals(arg);
}

/*
 * What can wait (reconcile.c), of one instance at a time: what a start costs must not depend on how
 * many there are.
 */
static void
look_again(struct controller *c, uint64_t now)
{
	struct instance *oldest = NULL;

	for (struct instance *i = c->instances; i != NULL; i = i->next)
		if (i->has_applied && i->apply_seq == 0 && i->workload != NULL &&
		    (oldest == NULL || i->looked_ns < oldest->looked_ns))
			oldest = i;
	if (oldest == NULL)
		return;
	oldest->looked_ns = now;
	oldest->workload->is_compiled = false;
	reconcile_local(oldest);
	enforce_schedule(c);
}

void
enforce_tick(struct controller *c)
{
	static unsigned seconds;
	unsigned turn = ++seconds % READ_BACK_EVERY_S;
	uint64_t now = now_mono();

	if (!c->caught_up)
		enforce_schedule(c);
	if (seconds % LOOK_AGAIN_EVERY_S == 0)
		look_again(c, now);
	for (struct instance *i = c->instances; i != NULL; i = i->next) {
		struct w_cookie body = { .cookie = i->ns.cookie };

		if (i->retry_at_ns != 0 && now >= i->retry_at_ns)
			enforce_schedule(c);
		/* Not all at once: what a new instance needs would wait behind them. */
		if (i->hash % READ_BACK_EVERY_S == turn && i->has_applied && i->apply_seq == 0)
			role_send(&c->loop, ROLE_WARDEN, MSG_W_NFT_READ, 0, &body, sizeof(body));
	}
}
