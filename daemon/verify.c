/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See verify.h. A result counts only if the policy says the same when it is there. What failed is
 * tried once more before it is said: a packet may be lost, rules may be on their way.
 */
#include "config.h"
#include "daemon/instance.h"
#include "daemon/probing.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/verify.h"
#include "rules/compile.h"

#include "daemon/controller.h"
#include "daemon/log.h"
#include "rules/json.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/utsname.h>

#define PAUSE_MS 20
#define TIMEOUT_MS 400
#define WAITS_MAX 100
#define SEARCH_MAX 50 /* tries at a time to find a case */

enum result { RESULT_PASS, RESULT_FAIL, RESULT_UNCLEAR, RESULTS };
static const char *const result_names[] = { "pass", "fail", "unclear" };

struct verify {
	struct event *timer;
	struct verify_cases *cases; /* NULL: none runs */
	bool plan;
	bool have, retried; /* k is to be sent; it has failed once */
	unsigned waits;	    /* steps in a row without a rest of the rules */
	struct actor who;
	struct verify_case k;
	uint64_t began_ns; /* CLOCK_REALTIME */
	uint32_t counts[RESULTS];
	json_t *list, *last; /* cases of this run; what the last one found */
};

static void step(struct controller *c);

static void
go_on(struct controller *c)
{
	const struct timeval pause = { .tv_usec = PAUSE_MS * 1000 };

	evtimer_add(c->verify->timer, &pause);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	step(arg);
}

/* Cases */

static json_t *
json_end(const struct controller *c, uint64_t cookie)
{
	const struct instance *i = instance_find((struct controller *)c, cookie);

	if (i == NULL || (!i->is_host && i->workload == NULL))
		return json_null();
	return json_peer(c->peers, i->is_host ? c->peer_host : i->workload->peer);
}

static json_t *
json_case(const struct controller *c, const struct verify_case *k)
{
	const struct edge *e = k->edge != 0 ? edge_table_find_number(c->edges, k->edge) : NULL;
	char src[ADDR_STRLEN], dst[ADDR_STRLEN];

	return json_pack("{s:o, s:o, s:s, s:s, s:s, s:i, s:s, s:o}", "from", json_end(c, k->from),
	    "to", json_end(c, k->to), "src", addr_format(&k->t.src, src), "dst",
	    addr_format(&k->t.dst, dst), "proto", proto_name(k->t.proto), "port", k->t.dport,
	    "expected", k->allowed ? "allow" : "deny", "edge",
	    e != NULL ? json_string(e->id) : json_null());
}

/* Of an approved edge, nobody need listen: a reset that no rule has counted is the port's own. */
static enum result
judge_allowed(const struct verify_case *k, const struct p_result *got)
{
	if (got->outcome == PROBE_ANSWERED || (got->flags & PROBE_F_ARRIVED) != 0)
		return RESULT_PASS;
	if (got->outcome == PROBE_RESET)
		return (got->flags & PROBE_F_COUNTED) != 0 ? RESULT_FAIL : RESULT_PASS;
	/* Where a datagram has come to is not told by the host. */
	return k->t.proto == IPPROTO_UDP && got->outcome == PROBE_SILENT &&
		       (got->flags & PROBE_F_COUNTED) == 0
		   ? RESULT_UNCLEAR
		   : RESULT_FAIL;
}

static enum result
judge_refused(const struct verify_case *k, const struct p_result *got)
{
	if (got->outcome == PROBE_HELD)
		return RESULT_PASS;
	switch (probing_judge(got, k->at_source)) {
	case PROBE_DENIED:
		return RESULT_PASS;
	case PROBE_PASSED:
		return RESULT_FAIL;
	case PROBE_UNCLEAR:
		break;
	}
	/* It did not come through, whoever stopped it. */
	return got->outcome == PROBE_SILENT || got->outcome == PROBE_UNREACHABLE ? RESULT_PASS
										 : RESULT_UNCLEAR;
}

static enum result
judge(struct controller *c, const struct p_result *got)
{
	_cleanup_(inventory_freep) struct inventory *inv = inventory_build(c, false);
	struct verify_case *k = &c->verify->k, now = *k;

	if (got->outcome == PROBE_UNSENT || (got->flags & PROBE_F_TRANSLATED) != 0 || inv == NULL ||
	    !verify_evaluate(c, inv, &now) || now.allowed != k->allowed ||
	    now.at_source != k->at_source || !addr_eq(&got->src, &k->t.src))
		return RESULT_UNCLEAR;
	return k->allowed ? judge_allowed(k, got) : judge_refused(k, got);
}

static void
add_case(struct controller *c, enum result result, const char *got)
{
	struct verify *v = c->verify;
	json_t *o = json_case(c, &v->k);

	json_object_set_new(o, "got", got != NULL ? json_string(got) : json_null());
	json_object_set_new(
	    o, "result", got != NULL ? json_string(result_names[result]) : json_null());
	json_array_append_new(v->list, o);
	v->counts[result] += got != NULL;
}

static void
on_probed(struct controller *c, int error, const struct p_result *got, size_t n, void *arg)
{
	struct verify *v = c->verify;
	enum result result = error == 0 ? judge(c, got) : RESULT_UNCLEAR;

	go_on(c);
	if (result == RESULT_FAIL && !v->retried) {
		v->retried = true;
		return;
	}
	v->have = v->retried = false;
	if (result == RESULT_FAIL && !probing_is_quiet(c))
		result = RESULT_UNCLEAR;
	add_case(c, result, error == 0 ? probing_outcome_name(got) : strerror(-error));
}

/* A run */

static json_t *
json_rulesets(const struct controller *c)
{
	json_t *list = json_array();

	for (const struct instance *i = c->instances; i != NULL; i = i->next) {
		char hex[2 * RULESET_DIGEST_LEN + 1];

		if (i->is_host || i->workload == NULL || !i->has_applied)
			continue;
		for (size_t k = 0; k < RULESET_DIGEST_LEN; k++)
			snprintf(hex + 2 * k, 3, "%02x", i->kernel[k]);
		json_array_append_new(
		    list, json_pack("{s:o, s:o, s:s}", "workload", json_text(i->workload->name),
			      "instance", json_text(instance_id(i)), "kernel", hex));
	}
	return list;
}

/* Of the run that is over, or under way. */
static json_t *
json_result(const struct controller *c)
{
	const struct verify *v = c->verify;
	struct utsname u = { 0 };

	uname(&u);
	return json_pack(
	    "{s:s, s:b, s:b, s:s, s:o, s:o, s:o, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:o, "
	    "s:O, s:o}",
	    "kind", v->plan ? "verification-plan" : "verification", "plan", v->plan, "running", 0,
	    "version", PACKAGE_VERSION, "host", json_text(u.nodename), "began",
	    json_time(v->began_ns), "time", json_time(now_real()), "actor", v->who.name, "revision",
	    (json_int_t)c->revision, "policyDigest", c->policy_digest, "probes",
	    (json_int_t)json_array_size(v->list), "passed", (json_int_t)v->counts[RESULT_PASS],
	    "failed", (json_int_t)v->counts[RESULT_FAIL], "unclear",
	    (json_int_t)v->counts[RESULT_UNCLEAR], "skipped", verify_skipped(v->cases), "cases",
	    v->list, "rulesets", json_rulesets(c));
}

static void
end_run(struct controller *c)
{
	struct verify *v = c->verify;
	bool failed = v->counts[RESULT_FAIL] > 0;
	struct audit_record r = {
		.event = "verify", .who = &v->who, .result = failed ? "failed" : NULL
	};
	struct diag d;

	json_decref(v->last);
	v->last = json_result(c);
	if (!v->plan) {
		log_line(failed ? LOG_LVL_ERROR : LOG_LVL_INFO,
		    "verified by %s: %u probes as the policy says, %u not, %u unclear", v->who.name,
		    v->counts[RESULT_PASS], v->counts[RESULT_FAIL], v->counts[RESULT_UNCLEAR]);
		r.subject = json_pack("{s:I, s:I, s:I, s:I}", "revision", (json_int_t)c->revision,
		    "passed", (json_int_t)v->counts[RESULT_PASS], "failed",
		    (json_int_t)v->counts[RESULT_FAIL], "unclear",
		    (json_int_t)v->counts[RESULT_UNCLEAR]);
		audit_note(c->audit, &r);
	}
	if (v->last != NULL && c->audit != NULL && audit_sign(c->audit, v->last, &d) < 0)
		log_warn("the result of a verification is not signed: %s", d.msg);
	verify_cases_free(v->cases);
	v->cases = NULL;
	json_decref(v->list);
	v->list = NULL;
}

static int
find_case(struct controller *c)
{
	_cleanup_(inventory_freep) struct inventory *inv = inventory_build(c, false);
	struct verify *v = c->verify;
	int r = inv != NULL ? 0 : -ENOMEM;

	for (unsigned k = 0; r == 0 && k < SEARCH_MAX; k++)
		r = verify_next(c, v->cases, inv, &v->k);
	return r;
}

/* on_probed() goes on after a 0. */
static int
send_case(struct controller *c)
{
	struct verify *v = c->verify;
	const struct instance *from = instance_find(c, v->k.from);
	struct probe_want want = { .to = instance_find(c, v->k.to), .t = v->k.t };

	if (from == NULL || want.to == NULL)
		return -ENOENT;
	return probing_ask(c, from, &want, 1, TIMEOUT_MS, on_probed, NULL);
}

static void
step(struct controller *c)
{
	struct verify *v = c->verify;
	int r = 1;

	/* Containers that come and go all the time do not hold it up for ever. */
	if (!probing_is_quiet(c) && v->waits++ < WAITS_MAX) {
		go_on(c);
		return;
	}
	v->waits = 0;
	if (!v->have)
		r = find_case(c);
	if (r == -ENOENT) {
		end_run(c);
		return;
	}
	v->have = r == 1;
	if (v->have && v->plan) {
		v->have = false;
		add_case(c, RESULT_UNCLEAR, NULL);
	} else if (v->have) {
		r = send_case(c);
		if (r == 0)
			return;
		/* The self-test has one under way, or the ports are used up for now. */
		v->have = r == -EBUSY;
		if (!v->have)
			add_case(c, RESULT_UNCLEAR, strerror(-r));
	}
	go_on(c);
}

int
verify_start(struct controller *c, uint32_t max, bool plan, const struct actor *who)
{
	struct verify *v = c->verify;
	int r;

	if (v == NULL)
		v = c->verify = calloc(1, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	if (v->timer == NULL)
		v->timer = evtimer_new(c->loop.base, on_timer, c);
	if (v->timer == NULL)
		return -ENOMEM;
	if (v->cases != NULL)
		return -EBUSY;
	if (!plan && !c->warden_ready)
		return -ENOTCONN;
	r = verify_cases_new(c, max, &v->cases);
	if (r < 0)
		return r;
	v->plan = plan;
	v->have = v->retried = false;
	v->who = *who;
	v->began_ns = now_real();
	memset(v->counts, 0, sizeof(v->counts));
	v->list = json_array();
	go_on(c);
	return 0;
}

json_t *
verify_to_json(const struct controller *c)
{
	const struct verify *v = c->verify;

	if (v == NULL || (v->cases == NULL && v->last == NULL))
		return json_null();
	if (v->cases == NULL)
		return json_incref(v->last);
	return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I}", "running", 1, "plan", v->plan, "probes",
	    (json_int_t)json_array_size(v->list), "passed", (json_int_t)v->counts[RESULT_PASS],
	    "failed", (json_int_t)v->counts[RESULT_FAIL], "unclear",
	    (json_int_t)v->counts[RESULT_UNCLEAR]);
}
