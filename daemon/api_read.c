/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What anyone in the socket's group may ask: nothing here changes anything. */
#include "daemon/activity.h"
#include "daemon/alert.h"
#include "daemon/api.h"
#include "daemon/aside.h"
#include "daemon/denial.h"
#include "daemon/flows.h"
#include "daemon/instance.h"
#include "daemon/names.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/store.h"
#include "netlink/nft.h"
#include "rules/compile.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define FLOWS_DEFAULT 200
#define EXPOSURE_RECENT_NS (7 * 24 * 3600 * NSEC_PER_SEC)

static void
get_top(const struct api_request *q, struct api_reply *r)
{
	r->json = activity_to_json(q->c);
}

static void
get_status(const struct api_request *q, struct api_reply *r)
{
	r->json = json_status(q->c);
}

struct edges_asked {
	int state;		   /* 0: any */
	const struct workload *of; /* NULL: of all */
};

static bool
is_asked(const void *arg, const struct edge *e)
{
	const struct edges_asked *q = arg;

	return (q->state == 0 || (int)e->state == q->state) &&
	       (q->of == NULL || e->key.from == q->of->peer || e->key.to == q->of->peer);
}

static void
get_edges(const struct api_request *q, struct api_reply *r)
{
	const char *state = api_arg(q, "state"), *name = api_arg(q, "workload");
	const struct edges_asked asked = { .state = state != NULL ? edge_state_parse(state) : 0,
		.of = name != NULL ? workload_find(q->c, name) : NULL };

	if (asked.state < 0) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "state is pending, approved or denied");
		return;
	}
	if (name != NULL && asked.of == NULL) {
		api_fail(r, MHD_HTTP_NOT_FOUND, NULL, "no such workload");
		return;
	}
	r->json = json_edges(q->c, is_asked, &asked);
}

static void
get_graph(const struct api_request *q, struct api_reply *r)
{
	r->json = json_graph(q->c);
}

static bool
wants_follow(const struct api_request *q)
{
	const char *follow = api_arg(q, "follow");

	return follow != NULL && strcmp(follow, "1") == 0;
}

static void
get_flows(const struct api_request *q, struct api_reply *r)
{
	const struct flow_record *f;
	uint64_t seq = 0, head = flow_ring_head(q->c->flows);
	const char *all = api_arg(q, "all");

	if (wants_follow(q)) {
		r->follow = FOLLOW_FLOWS;
		return;
	}
	if (all == NULL && head > FLOWS_DEFAULT)
		seq = head - FLOWS_DEFAULT;
	r->json = json_array();
	while ((f = flow_ring_next(q->c->flows, &seq)) != NULL)
		json_array_append_new(r->json, json_flow(q->c, f));
}

static void
get_denials(const struct api_request *q, struct api_reply *r)
{
	const char *attempts = api_arg(q, "attempts");
	const struct denial *d;
	size_t pos = 0;

	if (wants_follow(q)) {
		r->follow = FOLLOW_DENIALS;
		return;
	}
	r->json = json_array();
	while ((d = denial_next(q->c->denials, &pos)) != NULL)
		if (d->kind != FLOW_ATTEMPT || attempts != NULL)
			json_array_append_new(r->json, json_denial(q->c, d));
}

/* A policy that was, or the one that is. */
static int
find_policy(const struct api_request *q, struct api_reply *r, struct policy **ret)
{
	const char *revision = api_arg(q, "revision"), *decided = api_arg(q, "decided");
	struct diag d = { 0 };
	unsigned long long number;
	char *end;
	int error;

	if (revision == NULL)
		error = segment_show_policy(q->c, decided == NULL, ret);
	else {
		number = strtoull(revision, &end, 10);
		if (*revision < '0' || *revision > '9' || *end != '\0') {
			diag_set(&d, 0, 0, "revision: expected a whole number");
			error = -EINVAL;
		} else
			error = confirm_get_revision(q->c, number, ret, &d);
	}
	if (error < 0)
		api_fail_change(r, error, &d);
	return error;
}

struct policy_text {
	const struct policy *policy;
	json_t *json;
	char *yaml;
	bool as_yaml;
};

static void
write_policy(void *arg)
{
	struct policy_text *t = arg;

	if (!t->as_yaml)
		t->json = policy_to_json(t->policy);
	else if (policy_to_yaml(t->policy, &t->yaml) < 0)
		t->yaml = NULL;
}

static void
get_policy(const struct api_request *q, struct api_reply *r)
{
	_cleanup_(policy_free_apart) struct policy *p = NULL;
	const char *format = api_arg(q, "format");
	struct policy_text t = { .as_yaml = format != NULL && strcmp(format, "yaml") == 0 };

	if (find_policy(q, r, &p) < 0)
		return;
	t.policy = p;
	aside_apart(write_policy, &t);
	r->json = t.json;
	r->text = t.yaml;
	if (t.json == NULL && t.yaml == NULL)
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "the policy cannot be written");
	else if (t.as_yaml)
		r->content_type = "application/yaml";
}

static void
get_revisions(const struct api_request *q, struct api_reply *r)
{
	r->json = store_revisions(q->c->store, 100);
}

static void
add_check(json_t *list, const char *name, const char *state, const char *detail)
{
	json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "check", name, "state", state,
					"detail", json_text(detail)));
}

static void
doctor_kernel(struct controller *c, json_t *list)
{
	char detail[256];

	snprintf(detail, sizeof(detail), "Linux %.60s", c->warden.kernel);
	add_check(list, "warden", c->warden_ready ? "ok" : "fail",
	    c->warden_ready ? detail : "the warden is not connected: nothing can be changed now");
	for (uint32_t bit = NFT_CAN_TABLE; bit <= NFT_CAN_REJECT; bit <<= 1)
		add_check(list, nft_feature_name(bit), (c->warden.features & bit) ? "ok" : "fail",
		    (c->warden.features & bit) ? "the kernel has it"
					       : "this kernel does not have it");
}

static void
doctor_conntrack(struct controller *c, json_t *list)
{
	const struct instance *worst = NULL;
	char detail[256];

	for (const struct instance *i = c->instances; i != NULL; i = i->next)
		if (i->ct_count.max != 0 &&
		    (worst == NULL || i->ct_count.count > worst->ct_count.count))
			worst = i;
	if (worst == NULL)
		return;
	snprintf(detail, sizeof(detail), "fullest: %s with %u of %u entries", instance_id(worst),
	    worst->ct_count.count, worst->ct_count.max);
	add_check(list, "conntrack headroom", worst->ct_alert ? "fail" : "ok", detail);
}

/* One engine is enough; the sockets of others are looked for quietly. */
static void
doctor_engines(struct controller *c, json_t *list)
{
	const struct engine_state *first = engine_main(c);
	char detail[256];
	bool said = false;

	for (size_t i = 0; i < c->n_engines; i++) {
		const struct d_engine *e = &c->engines[i].d;

		if (e->reachable || e->errors > 0) {
			snprintf(detail, sizeof(detail), "%s%s%s", e->engine,
			    e->why[0] != '\0' ? ": " : "", e->why);
			add_check(list, "engine", e->reachable ? "ok" : "warn", detail);
			said = true;
		}
	}
	if (!said)
		add_check(list, "engine", "warn",
		    first != NULL ? first->d.why : "no engine has been heard of yet");
}

/* A decision that no rule stands for must not look like one. */
static void
doctor_policy(struct controller *c, json_t *list)
{
	const struct policy_edge *e;
	char detail[256];

	for (const struct workload *w = c->workloads; w != NULL; w = w->next) {
		if (!compile_unsupported(c->policy, w->name, &e))
			continue;
		snprintf(detail, sizeof(detail),
		    "edge %s is decided but has no rule: a domain name cannot be the source, and "
		    "a protocol needs a name",
		    e->id);
		add_check(list, "policy", "warn", detail);
		return;
	}
}

/* What has run without its rules lately, and what would have kept it from that. */
static void
doctor_exposure(struct controller *c, json_t *list)
{
	uint64_t now = now_real();
	char detail[256], time[TIME_STRLEN];
	size_t recent = 0;

	for (size_t i = 0; i < c->n_exposures; i++)
		recent += now - MIN(now, c->exposures[i].to_ns) < EXPOSURE_RECENT_NS;
	if (recent == 0)
		return;
	snprintf(detail, sizeof(detail),
	    "%zu containers ran without their rules while nanosegd was away, until %s the last: "
	    "the start gate prevents it (nanoseg gate install)",
	    recent, time_format(c->exposures[c->n_exposures - 1].to_ns, time));
	add_check(list, "exposure, 7 days", "warn", detail);
}

static void
doctor_config(const struct controller *c, json_t *list)
{
	char why[RELOAD_WHY_LEN];

	add_check(list, "configuration", c->reload.refused ? "warn" : "ok",
	    c->reload.refused ? reload_why(c, why) : c->config_path);
}

json_t *
json_doctor(struct controller *c)
{
	json_t *list = json_array();
	char detail[256];
	size_t attached = 0, failed = 0;

	doctor_kernel(c, list);
	doctor_config(c, list);
	add_check(list, "capture of attempts", c->capture.error[0] == '\0' ? "ok" : "warn",
	    c->capture.error[0] == '\0' ? "running" : c->capture.error);
	doctor_engines(c, list);
	for (const struct instance *i = c->instances; i != NULL; i = i->next) {
		attached += i->attach == ATTACH_DONE;
		failed += i->attach == ATTACH_FAILED;
	}
	snprintf(detail, sizeof(detail), "%zu attached, %zu could not be", attached, failed);
	add_check(list, "namespaces", failed != 0 ? "warn" : "ok", detail);
	doctor_conntrack(c, list);
	doctor_policy(c, list);
	doctor_exposure(c, list);
	snprintf(detail, sizeof(detail), "revision %llu", (unsigned long long)c->revision);
	add_check(list, "store", "ok", detail);
	return list;
}

static void
get_doctor(const struct api_request *q, struct api_reply *r)
{
	r->json = json_doctor(q->c);
}

static void
get_alerts(const struct api_request *q, struct api_reply *r)
{
	const char *kind = api_arg(q, "kind"), *severity = api_arg(q, "severity");
	const char *since = api_arg(q, "since");
	struct alert_filter f = {
		.kind = ALERT_KINDS, .severity = ALERT_INFO, .workload = api_arg(q, "workload")
	};
	struct alert_counts k = { 0 };
	int a = kind != NULL ? alert_kind_parse(kind) : ALERT_KINDS;
	int b = severity != NULL ? alert_severity_parse(severity) : ALERT_INFO;

	if (a < 0 || b < 0 || (since != NULL && time_parse(since, &f.since_ns) < 0)) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "expected a kind of alert, a severity (critical, error, warning, notice, info) "
		    "and a time");
		return;
	}
	f.kind = (enum alert_kind)a;
	f.severity = (enum alert_severity)b;
	if (q->c->alerts != NULL)
		alerts_count(q->c->alerts, &k);
	r->json = alert_spool_to_json(q->c->alert_spool, &f);
	json_object_set_new(r->json, "told", json_integer((json_int_t)k.told));
	json_object_set_new(r->json, "untold", json_integer((json_int_t)k.waiting));
	json_object_set_new(r->json, "lost", json_integer((json_int_t)k.lost));
}

static void
get_names(const struct api_request *q, struct api_reply *r)
{
	r->json = names_to_json(q->c);
}

static void
get_metrics(const struct api_request *q, struct api_reply *r)
{
	r->text = metrics_text(q->c);
	r->content_type = METRICS_TYPE;
	if (r->text == NULL)
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "out of memory");
}

const struct api_route api_read_routes[] = {
	{ "GET", "/v1/status", API_VIEWER, get_status, API_AT_ONCE },
	{ "GET", "/v1/top", API_VIEWER, get_top, API_AT_ONCE },
	{ "GET", "/v1/edges", API_VIEWER, get_edges, API_LIST },
	{ "GET", "/v1/graph", API_VIEWER, get_graph, API_LIST },
	{ "GET", "/v1/flows", API_VIEWER, get_flows, API_AT_ONCE },
	{ "GET", "/v1/denials", API_VIEWER, get_denials, API_AT_ONCE },
	{ "GET", "/v1/names", API_VIEWER, get_names, API_AT_ONCE },
	{ "GET", "/v1/policy", API_VIEWER, get_policy, API_LIST },
	{ "GET", "/v1/revisions", API_VIEWER, get_revisions, API_LIST },
	{ "GET", "/v1/explain", API_VIEWER, explain_get, API_LIST },
	{ "GET", "/v1/doctor", API_VIEWER, get_doctor, API_AT_ONCE },
	{ "GET", "/v1/alerts", API_VIEWER, get_alerts, API_AT_ONCE },
	{ "GET", "/metrics", API_VIEWER, get_metrics, API_AT_ONCE },
	{ NULL, NULL, API_VIEWER, NULL, API_AT_ONCE },
};
