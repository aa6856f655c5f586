/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See selftest.h. A probe is chosen at random among what the policy, as evaluated by the reference
 * evaluator and not by what made the rules, refuses at the instance under test: egress from inside
 * it, ingress from whoever may send it so far. What became of it counts only if the same is still
 * refused, by rules that did not change, when the result is there.
 */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/probing.h"
#include "daemon/quarantine.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "rules/compile.h"
#include "rules/json.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#define PAUSE_MS 100
#define TIMEOUT_MS 250
#define TRIES 24
#define SAY_NS (60 * NSEC_PER_SEC)
#define FRUITLESS 20 /* turns after which it is said */

struct selftest {
	struct event *timer;
	uint64_t state; /* of the random numbers */

	/* The probe under way. */
	uint64_t cookie; /* of the instance under test */
	uint64_t applied_ns;
	bool egress;
	struct tuple t;
	const char *from, *to; /* interned names of workloads, which live on; NULL: the host */
};

static void step(struct controller *c);

static uint64_t
draw(struct selftest *s, uint64_t below)
{
	s->state += 0x9e3779b97f4a7c15ULL;
	return below > 0 ? hash_mix64(s->state) % below : 0;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	step(arg);
}

int
selftest_new(struct controller *c)
{
	struct selftest *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->state = c->seed;
	s->timer = evtimer_new(c->loop.base, on_timer, c);
	if (s->timer == NULL) {
		free(s);
		return -ENOMEM;
	}
	c->selftest = s;
	return 0;
}

static bool
enforces(const struct instance *i, enum wl_direction d)
{
	return i->workload != NULL && i->workload->mode == MODE_ENFORCE &&
	       (i->workload->direction & d) != 0;
}

/* A port that somebody uses, or any. */
static uint16_t
draw_port(struct controller *c, uint8_t proto)
{
	uint16_t port = 0;
	uint64_t met = 0;
	size_t pos = 0;
	const struct edge *e;

	if (draw(c->selftest, 2) == 0)
		return (uint16_t)(1 + draw(c->selftest, 65535));
	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->key.proto == proto && e->key.port_lo != 0 && draw(c->selftest, ++met) == 0)
			port = e->key.port_lo;
	return port != 0 ? port : (uint16_t)(1 + draw(c->selftest, 65535));
}

static const char *
name_of(const struct instance *i)
{
	return i->is_host ? NULL : peer_get(i->ctl->peers, i->workload->peer)->name;
}

/* Is it the instance under test that refuses it? */
static bool
is_refused(struct controller *c, const struct inventory *inv, const struct selftest *s)
{
	struct evaluation e;

	policy_evaluate(c->policy, inv, &s->t, s->from, s->to, now_real(), &e);
	if (e.verdict == VERDICT_ALLOW)
		return false;
	return s->egress ? e.source_enforces : e.destination_enforces && !e.source_enforces;
}

static struct instance *
draw_other(struct controller *c)
{
	uint64_t k = draw(c->selftest, c->n_instances + 1);
	struct instance *i = c->instances;

	/* The host more often than its share: everybody's network has it. */
	if (draw(c->selftest, 4) == 0)
		return c->host;
	while (k-- > 0 && i != NULL)
		i = i->next;
	return i;
}

static bool
draw_case(struct controller *c, struct instance *i, const struct inventory *inv,
    struct instance **ret_from, struct probe_want *ret)
{
	struct selftest *s = c->selftest;
	struct instance *other = draw_other(c), *from, *to;
	uint8_t proto = draw(s, 2) == 0 ? IPPROTO_TCP : IPPROTO_UDP;

	s->egress = draw(s, 2) == 0;
	if (other == NULL || other == i || !probing_may_be_target(other) ||
	    !enforces(i, s->egress ? WL_EGRESS : WL_INGRESS))
		return false;
	from = s->egress ? i : other;
	to = s->egress ? other : i;
	s->t = (struct tuple){ .proto = proto, .dport = draw_port(c, proto), .sport = 65535 };
	if (!probing_may_be_target(to) || quarantine_of(other) != NULL ||
	    !probing_addrs(from, to, draw(s, 2) == 0 ? 4 : 6, &s->t.src, &s->t.dst))
		return false;
	s->from = name_of(from);
	s->to = name_of(to);
	if (!is_refused(c, inv, s))
		return false;
	*ret_from = from;
	*ret = (struct probe_want){ .to = to, .t = s->t };
	return true;
}

static void
again_soon(struct controller *c)
{
	const struct timeval pause = { .tv_usec = PAUSE_MS * 1000 };

	evtimer_add(c->selftest->timer, &pause);
}

/* Alarm */

static void
passed(struct instance *i, const struct p_result *got)
{
	struct controller *c = i->ctl;
	const struct selftest *s = c->selftest;
	struct audit_record r = { .event = "self-test", .result = "failed" };
	struct w_cookie body = { .cookie = i->ns.cookie };
	char src[ADDR_STRLEN], dst[ADDR_STRLEN];
	uint64_t now = now_mono();

	/* Somebody may have changed them: repaired now, and not within half a minute. */
	role_send(&c->loop, ROLE_WARDEN, MSG_W_NFT_READ, 0, &body, sizeof(body));
	addr_format(&s->t.src, src);
	addr_format(&s->t.dst, dst);
	alert_raise_instance(i, ALERT_SELF_TEST, ALERT_CRITICAL,
	    "a probe that its rules have to refuse has passed: %s, %s to %s, %s port %u",
	    s->egress ? "egress" : "ingress", src, dst, proto_name(s->t.proto), s->t.dport);
	if (i->selftest_said_ns != 0 && now - i->selftest_said_ns < SAY_NS)
		return;
	i->selftest_said_ns = now;
	log_error("instance %s: self-test: a probe that its rules have to refuse has passed: %s, "
		  "%s to %s, %s port %u: %s; %" PRIu64 " have since the start",
	    instance_log_id(i), s->egress ? "egress" : "ingress", src, dst, proto_name(s->t.proto),
	    s->t.dport, probing_outcome_name(got), i->selftest.passed);
	r.subject = json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:i, s:s, s:I}", "instance",
	    json_text(instance_id(i)), "workload", json_text(i->workload->name), "direction",
	    s->egress ? "egress" : "ingress", "src", src, "dst", dst, "proto",
	    proto_name(s->t.proto), "port", s->t.dport, "got", probing_outcome_name(got), "times",
	    (json_int_t)i->selftest.passed);
	audit_note(c->audit, &r);
}

static void
count(struct selftest_counts *k, enum probe_verdict v)
{
	k->denied += v == PROBE_DENIED;
	k->passed += v == PROBE_PASSED;
	k->unclear += v == PROBE_UNCLEAR;
	if (v != PROBE_UNCLEAR) {
		k->at_ns = now_real();
		k->fruitless = 0;
	}
}

static enum probe_verdict
judge(struct controller *c, const struct instance *i, const struct p_result *got)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	struct selftest *s = c->selftest;
	enum probe_verdict v = probing_judge(got, s->egress);

	if (v != PROBE_PASSED)
		return v;
	inv = inventory_build(c, false);
	return inv != NULL && probing_is_quiet(c) && probing_is_settled(i) &&
		       i->applied_ns == s->applied_ns && addr_eq(&got->src, &s->t.src) &&
		       is_refused(c, inv, s)
		   ? PROBE_PASSED
		   : PROBE_UNCLEAR;
}

static void
on_probed(struct controller *c, int error, const struct p_result *got, size_t n, void *arg)
{
	struct instance *i = instance_find(c, c->selftest->cookie);
	enum probe_verdict v = PROBE_UNCLEAR;

	again_soon(c);
	if (i == NULL)
		return;
	if (error == 0)
		v = judge(c, i, got);
	else
		log_debug("instance %s: no self-test: %s", instance_log_id(i), strerror(-error));
	count(&i->selftest, v);
	count(&c->metrics.selftest, v);
	if (v == PROBE_PASSED)
		passed(i, got);
}

/* Whose turn it is, for longest first. */
static struct instance *
next_due(struct controller *c)
{
	struct instance *due = NULL;
	uint64_t now = now_mono();

	for (struct instance *i = c->instances; i != NULL; i = i->next) {
		if (i->is_host || (!enforces(i, WL_INGRESS) && !enforces(i, WL_EGRESS)) ||
		    !probing_is_settled(i))
			continue;
		/* Not all at once after a start. */
		if (i->selftest_due_ns == 0)
			i->selftest_due_ns = now + draw(c->selftest, c->config->self_test_ns);
		if (i->selftest_due_ns <= now &&
		    (due == NULL || i->selftest_due_ns < due->selftest_due_ns))
			due = i;
	}
	return due;
}

static void
step(struct controller *c)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	struct instance *i, *from;
	struct probe_want want;
	bool found = false;

	if (!c->warden_ready || probing_is_busy(c) || !probing_is_quiet(c))
		return; /* the next second */
	i = next_due(c);
	if (i == NULL)
		return;
	i->selftest_due_ns = now_mono() + c->config->self_test_ns;
	inv = inventory_build(c, false);
	for (unsigned k = 0; inv != NULL && k < TRIES && !found; k++)
		found = draw_case(c, i, inv, &from, &want);
	i->selftest.fruitless += i->selftest.fruitless < FRUITLESS;
	i->selftest.drawn = found;
	if (!found) {
		again_soon(c);
		return;
	}
	c->selftest->cookie = i->ns.cookie;
	c->selftest->applied_ns = i->applied_ns;
	if (probing_ask(c, from, &want, 1, TIMEOUT_MS, on_probed, NULL) < 0)
		again_soon(c);
}

void
selftest_tick(struct controller *c)
{
	if (c->config->self_test_ns != 0 && !evtimer_pending(c->selftest->timer, NULL))
		step(c);
}

json_t *
selftest_to_json(const struct controller *c, const struct selftest_counts *k)
{
	if (c->config->self_test_ns == 0)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:o}", "denied", (json_int_t)k->denied, "passed",
	    (json_int_t)k->passed, "unclear", (json_int_t)k->unclear, "at", json_time(k->at_ns));
}

json_t *
selftest_of(const struct instance *i)
{
	const struct selftest_counts *k = &i->selftest;
	json_t *o = selftest_to_json(i->ctl, k);
	const char *why = NULL;

	if (json_is_null(o))
		return o;
	if (quarantine_of(i) != NULL)
		why = "it is in quarantine, and is sent no probes";
	else if (k->fruitless >= FRUITLESS && (enforces(i, WL_INGRESS) || enforces(i, WL_EGRESS)))
		why = k->drawn ? "of its probes none was clear lately"
			       : "there is nobody here whose probe its rules have to refuse";
	json_object_set_new(o, "untested", json_text(why));
	return o;
}
