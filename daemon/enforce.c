/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Desired against actual. Whenever a decision, an identity or an address changes, reconciliation is
 * scheduled; it compiles each governed workload once and sends the ruleset to those of its
 * instances that have another one. What the kernel has then comes back with the answer. A failure
 * leaves the old rules standing and is tried again with back-off.
 *
 * Before an instance's first enforcement, the established connections that its rules do not refuse
 * and that conntrack has never seen (idle since before the attach) are inserted, so that they live
 * on. The warden handles messages in order: they are in the table before the rules are. What is
 * live and refused is cut once the rules are in force (cut.c).
 */
#include "daemon/controller.h"
#include "daemon/log.h"
#include "rules/json.h"
#include "rules/match.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define INSERT_TIMEOUT_S 432000 /* the kernel's default for established TCP */
#define READ_BACK_EVERY_S 30
#define REPORTS_PER_SECOND 50
#define EXPIRE_EVERY_S 5
#define DRIFT_SAY_NS (5 * NSEC_PER_SEC)
#define RECONCILE_DELAY_US 1000
#define RECONCILE_PAUSE_MAX_NS NSEC_PER_SEC
/* How long rules of an earlier life stand untouched until everybody is known again. */
#define CATCH_UP_MAX_NS (10 * NSEC_PER_SEC)

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
enforce_now(struct controller *c)
{
	const struct timeval now = { 0 };

	for (struct instance *i = c->instances; i != NULL; i = i->next)
		i->retry_at_ns = 0;
	c->reconcile_after_ns = 0;
	if (c->ev_reconcile != NULL)
		evtimer_del(c->ev_reconcile);
	enforce_schedule(c);
	if (c->ev_expire != NULL)
		evtimer_add(c->ev_expire, &now);
}

struct insert_arg {
	struct instance *i;
	const struct match *rules;
};

static void
insert_allowed(void *arg, const struct tuple *t)
{
	struct insert_arg *a = arg;
	struct w_ct_tuple body = {
		.cookie = a->i->ns.cookie, .tuple = *t, .timeout_s = INSERT_TIMEOUT_S
	};
	bool oriented = observe_orient(a->i, &body.tuple);

	if (cut_refuses(a->i, a->rules, &body.tuple)) {
		/* Who called whom cannot be told: either way will do. */
		body.tuple = tuple_reverse(&body.tuple);
		if (oriented || cut_refuses(a->i, a->rules, &body.tuple))
			return;
	}
	role_send(&a->i->ctl->loop, ROLE_WARDEN, MSG_W_CT_INSERT, 0, &body, sizeof(body));
}

static int
insert_established(struct instance *i, const struct ruleset *r)
{
	_cleanup_(match_freep) struct match *rules = NULL;
	struct insert_arg arg = { .i = i };
	int ret = match_new(r, &rules);

	if (ret < 0)
		return ret;
	arg.rules = rules;
	observe_established(i, insert_allowed, &arg);
	return 0;
}

static bool
enforces(const struct ruleset *r)
{
	return r->in_mode == MODE_ENFORCE || r->out_mode == MODE_ENFORCE;
}

static int
send_ruleset(
    struct instance *i, const struct ruleset *r, const uint8_t digest[static RULESET_DIGEST_LEN])
{
	struct controller *c = i->ctl;
	_cleanup_free_ uint8_t *bytes = NULL, *body = NULL;
	struct w_cookie head = { .cookie = i->ns.cookie };
	bool held = quarantine_of(i) != NULL;
	size_t len;
	int ret;

	ret = ruleset_encode(r, &bytes, &len);
	if (ret < 0)
		return ret;
	body = malloc(sizeof(head) + len);
	if (body == NULL)
		return -ENOMEM;
	memcpy(body, &head, sizeof(head));
	memcpy(body + sizeof(head), bytes, len);
	if (enforces(r) && !i->enforced_before && !instance_is_refused(i) && !held)
		ret = insert_established(i, r);
	if (ret < 0)
		return ret;
	if (++c->next_seq == 0)
		c->next_seq = 1;
	ret = role_send(
	    &c->loop, ROLE_WARDEN, MSG_W_NFT_APPLY, c->next_seq, body, sizeof(head) + len);
	if (ret < 0)
		return ret;
	i->apply_seq = c->next_seq;
	i->asked_revision = c->revision;
	i->asked_held = held;
	memcpy(i->asked, digest, sizeof(i->asked));
	free(i->asked_rules);
	i->asked_rules = steal_ptr(bytes);
	i->asked_rules_len = len;
	return 0;
}

/* Its rules let nothing new through: now what was there before them goes. */
static void
cut_held(struct instance *i)
{
	struct w_cookie body = { .cookie = i->ns.cookie };

	if (!i->held_cut)
		i->held_cut = role_send(&i->ctl->loop, ROLE_WARDEN, MSG_W_CT_FLUSH, 0, &body,
				  sizeof(body)) == 0;
}

/*
 * After a start, or another warden's, namespaces, names and addresses become known one after the
 * other. Rules made of some of them would drop what all of them allow.
 */
static bool
is_catching_up(struct controller *c)
{
	bool known = !instance_settling(c);

	if (c->caught_up)
		return false;
	for (const struct instance *i = c->instances; known && i != NULL; i = i->next)
		known = i->addrs == NULL || rtnl_watch_ready(i->addrs);
	c->caught_up = known || now_mono() - c->warden_since_ns >= CATCH_UP_MAX_NS;
	return !c->caught_up;
}

/* Its rules are those of an earlier life, and are to stay for now. */
static bool
is_left_alone(const struct instance *i)
{
	return !i->ctl->caught_up && i->attached.adopted && i->ns.closed_ns == 0 &&
	       quarantine_of(i) == NULL && i->table_holder == 0;
}

static void
reconcile_instance(
    struct instance *i, const struct ruleset *r, const uint8_t digest[static RULESET_DIGEST_LEN])
{
	bool same;
	int ret;

	if (i->attach != ATTACH_DONE || instance_is_quarantined(i) || is_left_alone(i))
		return;
	/* What the rules that stand are for is not known: neither loosened nor replaced. */
	if (i->ctl->held && (i->attached.adopted || i->ns.closed_ns != 0))
		return;
	if (i->apply_seq != 0)
		return; /* an answer is due: reconciliation follows it */
	if (hostguard_update(i))
		i->match = false;
	same = i->has_applied && i->match && memcmp(i->applied, digest, sizeof(i->applied)) == 0;
	if (same) {
		i->applied_revision = i->ctl->revision;
		if (quarantine_of(i) != NULL)
			cut_held(i);
		return;
	}
	/* A fresh table holds the observe rules already. */
	if (!i->has_applied && !i->attached.adopted && i->ns.closed_ns == 0 &&
	    r->in_mode == MODE_OBSERVE && r->out_mode == MODE_OBSERVE) {
		i->applied_revision = i->ctl->revision;
		return;
	}
	if (i->retry_at_ns != 0 && now_mono() < i->retry_at_ns)
		return;
	ret = send_ruleset(i, r, digest);
	if (ret < 0)
		log_warn("instance %s: rules could not be sent, trying again: %s",
		    instance_log_id(i), strerror(-ret));
}

/* Rules that let nothing through. */
static void
reconcile_closed(struct instance *i)
{
	const struct ruleset closed = { .in_mode = MODE_ENFORCE,
		.out_mode = MODE_ENFORCE,
		.report_per_second = REPORTS_PER_SECOND };
	uint8_t digest[RULESET_DIGEST_LEN];

	if (ruleset_digest(&closed, digest) == 0)
		reconcile_instance(i, &closed, digest);
}

/* Refusals are not even answered: who asks learns nothing of it. */
static void
reconcile_held(struct instance *i, const struct inventory *inv)
{
	const char *name = i->workload != NULL ? i->workload->name : "?";
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	_cleanup_(policy_freep) struct policy *p = NULL;
	uint8_t digest[RULESET_DIGEST_LEN];
	int ret = quarantine_policy(quarantine_of(i), name, &p);

	if (ret == 0)
		ret = ruleset_compile(p, inv, name, now_real(), &r);
	if (ret == 0) {
		r->n_local = 0;
		ret = ruleset_digest(r, digest);
	}
	if (ret == 0)
		reconcile_instance(i, r, digest);
	else
		log_error("instance %s: no ruleset for its quarantine, trying again: %s",
		    instance_log_id(i), strerror(-ret));
}

static void
reconcile_workload(struct controller *c, struct workload *w, const struct inventory *inv)
{
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	uint8_t digest[RULESET_DIGEST_LEN];
	char safe[PEER_STRLEN];
	int ret;

	if (!workload_selected(c, w->name))
		return;
	ret = ruleset_compile(c->policy, inv, w->name, now_real(), &r);
	if (ret == 0)
		ret = ruleset_digest(r, digest);
	if (ret < 0) {
		text_escape(w->name, strlen(w->name), safe, sizeof(safe));
		log_error(
		    "workload %s: no ruleset, the rules in force stay: %s", safe, strerror(-ret));
	}
	for (struct instance *i = w->instances; i != NULL; i = i->next_of_workload) {
		i->held_cut = i->held_cut && quarantine_of(i) != NULL;
		if (quarantine_of(i) != NULL)
			reconcile_held(i, inv);
		else if (instance_is_refused(i))
			reconcile_closed(i);
		else if (ret == 0)
			reconcile_instance(i, r, digest);
	}
}

/* Whose container is gone: what the next one in the namespace may do is not known yet. */
static void
reconcile_nameless(struct instance *i, const struct inventory *inv)
{
	if (i->workload == NULL && quarantine_of(i) != NULL)
		reconcile_held(i, inv);
	else if (i->workload == NULL && i->enforced_before)
		reconcile_closed(i);
}

/* The policy value has to name every workload, also those that appeared since it was built. */
static int
refresh_policy(struct controller *c)
{
	struct policy *p;
	int r;

	if (c->policy->n_workloads == c->n_workloads && !c->policy_outdated)
		return 0;
	r = segment_build_policy(c, false, &p);
	if (r < 0)
		return r;
	policy_free(c->policy);
	c->policy = p;
	c->policy_outdated = false;
	return 0;
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
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	uint64_t began = now_mono();

	if (!c->warden_ready)
		return;
	posture_update(c, false);
	if (is_catching_up(c))
		log_debug("not everybody is known again: rules that stand are left alone");
	inv = inventory_build(c);
	if (inv == NULL || refresh_policy(c) < 0) {
		log_error("out of memory: the rules in force stay, trying again");
		enforce_schedule(c);
		return;
	}
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		if (w->instances != NULL)
			reconcile_workload(c, w, inv);
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		reconcile_nameless(i, inv);
	c->memory_used = true;
	c->reconcile_after_ns = next_after(began);
	gate_check(c);
}

static bool
take_first(struct workload *w)
{
	bool any = false;

	for (struct instance *i = w->instances; i != NULL; i = i->next_of_workload) {
		any |= i->is_first;
		i->is_first = false;
	}
	return any;
}

void
enforce_first_cb(evutil_socket_t fd, short what, void *arg)
{
	struct controller *c = arg;
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	uint64_t began = now_mono();

	if (!c->warden_ready)
		return;
	inv = inventory_build(c);
	/* What is left out here is done with all others. */
	if (inv == NULL || refresh_policy(c) < 0)
		return;
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		if (take_first(w))
			reconcile_workload(c, w, inv);
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

void
enforce_on_applied(struct controller *c, const struct w_applied *a)
{
	struct instance *i = instance_find(c, a->cookie);
	bool in_force;

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
	histogram_add(&c->metrics.apply, a->usec * 1000ull);
	i->apply_failures = 0;
	i->retry_at_ns = 0;
	cut_live(i, a);
	i->has_applied = true;
	i->applied_ns = now_real();
	i->apply_usec = a->usec;
	i->applied_revision = i->asked_revision;
	i->attached.owned = a->owned;
	memcpy(i->applied, a->ruleset, sizeof(i->applied));
	memcpy(i->kernel, a->kernel, sizeof(i->kernel));
	applied_on_read_back(i);
	in_force = i->workload != NULL && i->workload->mode == MODE_ENFORCE;
	i->enforced_before |= in_force;
	if (in_force) {
		start_on_ruled(i);
		exposure_on_ruled(i);
	}
	if (i->asked_held && quarantine_of(i) != NULL)
		cut_held(i);
	/* What changed meanwhile. */
	enforce_schedule(c);
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

void
enforce_tick(struct controller *c)
{
	static unsigned seconds;
	unsigned turn = ++seconds % READ_BACK_EVERY_S;
	uint64_t now = now_mono();

	if (!c->caught_up)
		enforce_schedule(c);
	for (struct instance *i = c->instances; i != NULL; i = i->next) {
		struct w_cookie body = { .cookie = i->ns.cookie };

		if (i->retry_at_ns != 0 && now >= i->retry_at_ns)
			enforce_schedule(c);
		/* Not all at once: what a new instance needs would wait behind them. */
		if (i->hash % READ_BACK_EVERY_S == turn && i->has_applied && i->apply_seq == 0)
			role_send(&c->loop, ROLE_WARDEN, MSG_W_NFT_READ, 0, &body, sizeof(body));
	}
}
