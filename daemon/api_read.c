/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What anyone in the socket's group may ask: nothing here changes anything. */
#include "daemon/api.h"
#include "netlink/nft.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define FLOWS_DEFAULT 200
#define EXPOSURE_RECENT_NS (7 * 24 * 3600 * NSEC_PER_SEC)

static void
get_status(const struct api_request *q, struct api_reply *r)
{
	r->json = json_status(q->c);
}

/* Does the edge touch the workload? */
static bool
touches(const struct edge *e, const struct workload *w)
{
	return e->key.from == w->peer || e->key.to == w->peer;
}

static void
get_edges(const struct api_request *q, struct api_reply *r)
{
	const char *state = api_arg(q, "state"), *name = api_arg(q, "workload");
	const struct workload *w = name != NULL ? workload_find(q->c, name) : NULL;
	int want = state != NULL ? edge_state_parse(state) : 0;
	size_t pos = 0;
	struct edge *e;

	if (want < 0) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "state is pending, approved or denied");
		return;
	}
	if (name != NULL && w == NULL) {
		api_fail(r, MHD_HTTP_NOT_FOUND, NULL, "no such workload");
		return;
	}
	r->json = json_array();
	while ((e = edge_table_next(q->c->edges, &pos)) != NULL) {
		if ((want != 0 && (int)e->state != want) || (w != NULL && !touches(e, w)) ||
		    !segment_edge_selected(q->c, e))
			continue;
		json_array_append_new(r->json, json_edge_behind(q->c, e));
	}
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

static void
get_policy(const struct api_request *q, struct api_reply *r)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	const char *format = api_arg(q, "format");

	if (find_policy(q, r, &p) < 0)
		return;
	if (format == NULL || strcmp(format, "yaml") != 0) {
		r->json = policy_to_json(p);
		return;
	}
	if (policy_to_yaml(p, &r->text) < 0)
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "the policy cannot be written");
	else
		r->content_type = "application/yaml";
}

static void
get_revisions(const struct api_request *q, struct api_reply *r)
{
	r->json = store_revisions(q->c->store, 100);
}

/* One end of a question: what was named, and an address to ask about, if there is one. */
struct asked {
	struct peer peer;
	char name[PEER_STRLEN];
	const char *workload;
	struct addr addr;
};

static int
read_asked(const struct api_request *q, const char *text, struct asked *ret)
{
	struct workload *w;
	bool ambiguous;
	struct instance *i;

	if (text == NULL || peer_parse(text, ret->name, &ret->peer) < 0)
		return -EINVAL;
	if (ret->peer.kind == PEER_ADDR || ret->peer.kind == PEER_CIDR) {
		ret->addr = ret->peer.prefix.addr;
		i = addr_map_find(q->c->addr_map, &ret->addr, &ambiguous);
		w = i != NULL ? instance_counts_as(i) : NULL;
		if (w != NULL)
			ret->workload = w->name;
		return 0;
	}
	if (ret->peer.kind != PEER_WORKLOAD)
		return 0;
	w = workload_find(q->c, ret->peer.name);
	if (w == NULL)
		return -ENOENT;
	ret->workload = w->name;
	return 0;
}

static bool
pick_addr(const struct instance *i, uint8_t family, struct addr *ret)
{
	size_t n;
	const struct rtnl_addr *a;

	if (i == NULL || i->addrs == NULL)
		return false;
	a = rtnl_watch_addrs(i->addrs, &n);
	for (size_t k = 0; k < n; k++) {
		if ((family != 0 && a[k].addr.family != family) ||
		    (a[k].addr.family == 6 && a[k].addr.bytes[0] == 0xfe))
			continue;
		*ret = a[k].addr;
		return true;
	}
	return false;
}

/* An address to stand for a named end. */
static void
fill_addr(const struct api_request *q, struct asked *a, uint8_t family)
{
	const struct workload *w;

	if (a->addr.family != 0)
		return;
	if (a->peer.kind == PEER_HOST)
		pick_addr(q->c->host, family, &a->addr);
	else if (a->peer.kind == PEER_INTERNET)
		addr_parse(family == 6 ? "2001:db8::1" : "192.0.2.1", &a->addr);
	else if (a->workload != NULL) {
		w = workload_find(q->c, a->workload);
		for (struct instance *i = w->instances; i != NULL; i = i->next_of_workload)
			if (pick_addr(i, family, &a->addr))
				return;
	}
}

static bool
fail_asked(struct api_reply *r, const char *which, int error)
{
	if (error == -ENOENT)
		api_fail(r, MHD_HTTP_NOT_FOUND, NULL, "%s: no such workload", which);
	else if (error < 0)
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "%s: expected a workload, host, internet, an address or a prefix", which);
	return error < 0;
}

/* The element of the set that decides, deny before allow; NULL: no set has it. */
static const struct ruleset_elem *
find_elem(const struct ruleset *r, const struct tuple *t, enum flow_dir dir)
{
	const struct addr *other = dir == DIR_INGRESS ? &t->src : &t->dst;
	const struct ruleset_elem *found = NULL;

	for (size_t i = 0; i < r->n_elems; i++) {
		const struct ruleset_elem *e = &r->elems[i];

		if (e->dir != dir || e->proto != t->proto || t->dport < e->port_lo ||
		    t->dport > e->port_hi || addr_cmp(other, &e->lo) < 0 ||
		    addr_cmp(other, &e->hi) > 0)
			continue;
		if (found == NULL || !e->allow)
			found = e;
	}
	return found;
}

/* Where in the kernel it is decided: the source's own table if that governs, else the other's. */
static void
explain_rule(const struct api_request *q, json_t *o, const struct inventory *inv,
    const struct evaluation *ev, const struct tuple *t, const char *src, const char *dst)
{
	bool out = ev->source_enforces || (ev->source_audits && !ev->destination_enforces);
	const char *workload = out ? src : dst;
	enum flow_dir dir = out ? DIR_EGRESS : DIR_INGRESS;
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	const struct ruleset_elem *e;
	char rule[160], set[NFT_SET_NAME_LEN];

	json_object_set_new(o, "rule", json_null());
	if (workload == NULL || (!out && !ev->destination_enforces && !ev->destination_audits) ||
	    ruleset_compile(q->c->policy, inv, workload, now_real(), &r) < 0)
		return;
	e = find_elem(r, t, dir);
	if (e == NULL)
		snprintf(rule, sizeof(rule), "inet nanoseg_%.16s chain %s, in no set",
		    q->c->args.instance, out ? "output" : "input");
	else
		snprintf(rule, sizeof(rule), "inet nanoseg_%.16s chain %s, set %s",
		    q->c->args.instance, out ? "output" : "input",
		    nft_set_name(out, e->allow, !ruleset_elem_is_exact(e), e->lo.family == 6, set));
	json_object_set_new(o, "rule", json_string(rule));
}

static const char *
explain_reason(const struct evaluation *ev, const struct edge *e)
{
	bool expired = e != NULL && e->state == EDGE_APPROVED && e->decision.expires_ns != 0;

	switch (ev->verdict) {
	case VERDICT_ALLOW:
		return "an approved edge allows it";
	case VERDICT_DENY_EDGE:
		return ev->passes ? "a denied edge matches, but no end enforces: it passes"
				  : "a denied edge matches";
	case VERDICT_DENY_ABSENT:
		if (expired)
			return ev->passes ? "the approval has expired, but no end enforces: it "
					    "passes"
					  : "the approval has expired";
		return ev->passes ? "no approved edge matches, but no end enforces: it passes"
				  : "no approved edge matches";
	}
	return "";
}

/* The edge that decides; where none does, the one that is about this and does not count. */
static const struct edge *
explain_edge(const struct api_request *q, const struct evaluation *ev, const struct asked *src,
    const struct asked *dst, const struct tuple *t)
{
	const struct peer from = { .kind = PEER_WORKLOAD, .name = (char *)src->workload };
	const struct peer to = { .kind = PEER_WORKLOAD, .name = (char *)dst->workload };
	struct edge_key key = { .proto = t->proto, .port_lo = t->dport, .port_hi = t->dport };

	if (ev->edge != NULL)
		return edge_table_find_id(q->c->edges, ev->edge->id);
	key.from = peer_lookup(q->c->peers, src->workload != NULL ? &from : &src->peer);
	key.to = peer_lookup(q->c->peers, dst->workload != NULL ? &to : &dst->peer);
	return key.from == PEER_ID_NONE || key.to == PEER_ID_NONE
		   ? NULL
		   : edge_table_find(q->c->edges, &key);
}

/* Whatever the policy says. */
static void
explain_quarantine(
    const struct api_request *q, json_t *o, const struct asked *src, const struct asked *dst)
{
	const char *const ends[] = { src->workload, dst->workload };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		const struct workload *w = ends[i] != NULL ? workload_find(q->c, ends[i]) : NULL;

		if (quarantine_of_workload(q->c, w) == NULL)
			continue;
		json_object_set_new(o, "verdict", json_string("deny"));
		json_object_set_new(o, "reason",
		    json_string(i == 0 ? "the source is in quarantine"
				       : "the destination is in quarantine"));
	}
}

static void
explain_tuple(const struct api_request *q, struct api_reply *r, struct asked *src,
    struct asked *dst, struct tuple *t)
{
	_cleanup_(inventory_freep) struct inventory *inv = inventory_build(q->c);
	struct edge_key key = { .proto = t->proto, .port_lo = t->dport, .port_hi = t->dport };
	struct evaluation ev;
	const struct edge *e;
	char text[PEER_STRLEN];
	const char *verdict;
	json_t *o;

	if (inv == NULL) {
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "out of memory");
		return;
	}
	policy_evaluate(q->c->policy, inv, t, src->workload, dst->workload, now_real(), &ev);
	verdict = !ev.passes ? "deny"
		  : ev.verdict != VERDICT_ALLOW && (ev.source_audits || ev.destination_audits)
		      ? "audit"
		      : "allow";
	o = json_pack("{s:s, s:o, s:o}", "verdict", verdict, "from",
	    json_text(peer_format(&src->peer, text)), "to", json_null());
	json_object_set_new(o, "to", json_text(peer_format(&dst->peer, text)));
	json_set_port(o, t->proto, t->dport, t->dport);
	e = explain_edge(q, &ev, src, dst, t);
	key.to = peer_lookup(q->c->peers, &dst->peer);
	published_set_behind(q->c, o, &key, e);
	if (src->peer.kind == PEER_HOST && dst->workload != NULL)
		json_object_set_new(
		    o, "admits", published_admits(q->c, dst->workload, t->proto, t->dport));
	json_object_set_new(o, "edge", e != NULL ? json_string(e->id) : json_null());
	explain_rule(q, o, inv, &ev, t, src->workload, dst->workload);
	json_object_set_new(o, "reason", json_string(explain_reason(&ev, e)));
	explain_quarantine(q, o, src, dst);
	json_object_set_new(
	    o, "approvedBy", e != NULL ? json_text(e->decision.approved_by) : json_null());
	json_object_set_new(o, "evidence", e != NULL ? json_edge_behind(q->c, e) : json_null());
	json_object_set_new(o, "revision", json_integer((json_int_t)q->c->revision));
	r->json = o;
}

static void
get_explain(const struct api_request *q, struct api_reply *r)
{
	const char *proto = api_arg(q, "proto"), *port = api_arg(q, "port");
	struct asked src = { 0 }, dst = { 0 };
	struct tuple t = { 0 };
	unsigned long number;
	char *end;
	int p = proto_parse(proto != NULL ? proto : "tcp");

	if (fail_asked(r, "src", read_asked(q, api_arg(q, "src"), &src)) ||
	    fail_asked(r, "dst", read_asked(q, api_arg(q, "dst"), &dst)))
		return;
	number = port != NULL ? strtoul(port, &end, 10) : 0;
	if (p < 0 || port == NULL || *port == '\0' || *end != '\0' ||
	    number > (proto_is_icmp((uint8_t)p) ? 255 : 65535)) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "expected a port (0 to 65535; ICMP: a type, 0 to 255) and tcp, udp, sctp, icmp "
		    "or icmpv6");
		return;
	}
	fill_addr(q, &dst, src.addr.family != 0 ? src.addr.family : p == IPPROTO_ICMPV6 ? 6 : 0);
	fill_addr(q, &src, dst.addr.family);
	t.src = src.addr;
	t.dst = dst.addr;
	t.proto = (uint8_t)p;
	t.dport = proto_is_icmp(t.proto) ? (uint16_t)(number << 8) : (uint16_t)number;
	explain_tuple(q, r, &src, &dst, &t);
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
		    "edge %s is decided but has no rule: domain names are not enforced yet", e->id);
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

json_t *
json_doctor(struct controller *c)
{
	json_t *list = json_array();
	char detail[256];
	size_t attached = 0, failed = 0;

	doctor_kernel(c, list);
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
get_metrics(const struct api_request *q, struct api_reply *r)
{
	r->text = metrics_text(q->c);
	r->content_type = METRICS_TYPE;
	if (r->text == NULL)
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "out of memory");
}

const struct api_route api_read_routes[] = {
	{ "GET", "/v1/status", API_VIEWER, get_status },
	{ "GET", "/v1/edges", API_VIEWER, get_edges },
	{ "GET", "/v1/graph", API_VIEWER, get_graph },
	{ "GET", "/v1/flows", API_VIEWER, get_flows },
	{ "GET", "/v1/denials", API_VIEWER, get_denials },
	{ "GET", "/v1/policy", API_VIEWER, get_policy },
	{ "GET", "/v1/revisions", API_VIEWER, get_revisions },
	{ "GET", "/v1/explain", API_VIEWER, get_explain },
	{ "GET", "/v1/doctor", API_VIEWER, get_doctor },
	{ "GET", "/metrics", API_VIEWER, get_metrics },
	{ NULL, NULL, API_VIEWER, NULL },
};
