/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JSON forms that scripts rely on. A field that is not known yet is present and null. */
#include "config.h"
#include "daemon/aggregate.h"
#include "daemon/api.h"
#include "daemon/aside.h"
#include "daemon/denial.h"
#include "daemon/flows.h"
#include "daemon/grade.h"
#include "daemon/hostguard.h"
#include "daemon/image.h"
#include "daemon/gate.h"
#include "daemon/instance.h"
#include "daemon/kin.h"
#include "daemon/names.h"
#include "daemon/promote.h"
#include "daemon/published.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/start.h"
#include "netlink/ct.h"
#include "netlink/rtnl.h"
#include "rules/timefmt.h"
#include "rules/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

json_t *
json_edge_behind(struct controller *c, const struct edge *e)
{
	json_t *o = json_edge(c->peers, e);

	if (e->state == EDGE_APPROVED)
		json_object_set_new(o, "recertifyBy", json_time(recertify_due_ns(c, e)));
	published_set_behind(c, o, &e->key, e);
	return o;
}

const char *
flow_verdict(uint8_t kind)
{
	switch ((enum flow_kind)kind) {
	case FLOW_ANSWERED:
		return "allow";
	case FLOW_ATTEMPT:
		return "attempt";
	case FLOW_DENIED:
		return "deny";
	case FLOW_AUDITED:
		return "audit";
	}
	return "unknown";
}

static json_t *
json_addr(const struct addr *a)
{
	char text[ADDR_STRLEN];

	return json_string(addr_format(a, text));
}

static void
set_edge_id(json_t *o, uint64_t number)
{
	char id[EDGE_ID_STRLEN];

	edge_id_format(number, id);
	json_object_set_new(o, "edge", number != 0 ? json_string(id) : json_null());
}

json_t *
json_flow(struct controller *c, const struct flow_record *f)
{
	json_t *o = json_object();

	json_object_set_new(o, "time", json_time(f->time_ns));
	json_object_set_new(o, "from", json_peer(c->peers, f->from));
	json_object_set_new(o, "to", json_peer(c->peers, f->to));
	json_object_set_new(o, "src", json_addr(&f->tuple.src));
	json_object_set_new(o, "dst", json_addr(&f->tuple.dst));
	json_set_port(o, f->tuple.proto, f->tuple.dport, f->tuple.dport);
	json_object_set_new(o, "verdict", json_string(flow_verdict(f->kind)));
	set_edge_id(o, f->edge);
	if (f->behind != PEER_ID_NONE)
		json_object_set_new(o, "behind", json_peer(c->peers, f->behind));
	return o;
}

/* What the source was told that the address is called, as far as is still known. */
static json_t *
json_name(struct controller *c, const struct edge_key *key, const struct addr *dst)
{
	const struct peer *from = peer_get(c->peers, key->from), *to = peer_get(c->peers, key->to);
	const char *name = NULL;

	if (to->kind == PEER_FQDN)
		name = to->name;
	else if (from->kind == PEER_WORKLOAD && to->kind != PEER_WORKLOAD && to->kind != PEER_HOST)
		name = names_find(workload_find(c, from->name), dst);
	return name != NULL ? json_string(name) : json_null();
}

json_t *
json_denial(struct controller *c, const struct denial *d)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", json_string(d->id));
	json_object_set_new(o, "verdict", json_string(flow_verdict(d->kind)));
	json_object_set_new(o, "from", json_peer(c->peers, d->key.from));
	json_object_set_new(o, "to", json_peer(c->peers, d->key.to));
	json_object_set_new(o, "src", json_addr(&d->last.src));
	json_object_set_new(o, "dst", json_addr(&d->last.dst));
	json_set_port(o, d->key.proto, d->key.port_lo, d->key.port_hi);
	json_object_set_new(o, "count", json_integer((json_int_t)d->count));
	json_object_set_new(o, "firstSeen", json_time(d->first_ns));
	json_object_set_new(o, "lastSeen", json_time(d->last_ns));
	json_object_set_new(o, "name", json_name(c, &d->key, &d->last.dst));
	set_edge_id(o, d->edge);
	return o;
}

static json_t *
json_start(const struct instance *i)
{
	struct start s = start_of(i);
	int64_t ms = s.lead_ns / (int64_t)NSEC_PER_MSEC;
	uint64_t until = i->ns.opened_ns != 0 ? i->ns.opened_ns : now_mono();
	json_t *o;

	/* Downwards: what is claimed is what was. */
	if (ms * (int64_t)NSEC_PER_MSEC > s.lead_ns)
		ms--;
	o = json_pack("{s:s, s:o, s:o}", "kind", start_kind_name(s.kind), "leadMs",
	    s.known ? json_integer(ms) : json_null(), "at", json_time(s.held_real_ns));
	if (i->ns.closed_ns != 0)
		json_object_set_new(o, "closedMs",
		    json_integer((json_int_t)((until - i->ns.closed_ns) / NSEC_PER_MSEC)));
	return o;
}

static json_t *
json_addrs(const struct instance *i)
{
	json_t *list = json_array();
	const struct rtnl_addr *a;
	size_t n;

	if (i->addrs == NULL)
		return list;
	a = rtnl_watch_addrs(i->addrs, &n);
	for (size_t k = 0; k < n; k++)
		json_array_append_new(list, json_addr(&a[k].addr));
	return list;
}

/* Those that no rule is made with, because others claim them too. */
static json_t *
json_shared_addrs(const struct instance *i)
{
	json_t *list = json_array();
	size_t n;
	const struct rtnl_addr *a = instance_addrs(i, &n);

	for (size_t k = 0; k < n; k++)
		if (instance_shares_addr(i, &a[k].addr))
			json_array_append_new(list, json_addr(&a[k].addr));
	return list;
}

/* By `images`; null where nothing is asked for. */
static json_t *
json_approved(const struct controller *c, const struct container *k)
{
	return c->config->images.n_allow != 0 && k != NULL ? json_boolean(!k->unapproved)
							   : json_null();
}

/* Every container in the namespace: one for most, all of a pod. */
static json_t *
json_members(const struct instance *i)
{
	json_t *list = json_array();
	const struct container *k;
	size_t pos = 0;

	while ((k = instance_next_member(i, &pos)) != NULL) {
		json_t *o = json_pack("{s:o, s:o, s:s, s:o, s:o}", "id", json_text(k->id), "name",
		    json_text(k->name != NULL ? k->name : ""), "runtime", runtime_name(k->runtime),
		    "image", json_text(k->image), "imageId", json_text(k->image_id));

		json_object_set_new(o, "imageAccepted",
		    i->workload != NULL ? json_boolean(workload_accepts_container(i->workload, k))
					: json_null());
		json_object_set_new(o, "imageApproved", json_approved(i->ctl, k));
		json_array_append_new(list, o);
	}
	return list;
}

/* Of the rules that the kernel has, as read back. */
static json_t *
json_ruleset_digest(const struct instance *i)
{
	char text[2 * RULESET_DIGEST_LEN + 1];

	if (!i->has_applied)
		return json_null();
	for (size_t k = 0; k < RULESET_DIGEST_LEN; k++)
		snprintf(text + 2 * k, 3, "%02x", i->loaded[k]);
	return json_string(text);
}

static json_t *
json_instance(const struct instance *i)
{
	const char *runtime =
	    i->container != NULL ? runtime_name(i->container->runtime)
	    : i->ns.container_id[0] != '\0' || (i->ns.flags & (NETNS_F_USER | NETNS_F_MACHINE)) != 0
		? "unknown"
		: runtime_name(RUNTIME_NETNS);
	bool many;
	json_t *o = json_pack("{s:o, s:s, s:I, s:o, s:o}", "id", json_text(instance_id(i)),
	    "runtime", runtime, "netns", (json_int_t)i->ns.ino, "addresses", json_addrs(i), "start",
	    json_start(i));

	json_object_set_new(o, "sharedAddresses", json_shared_addrs(i));
	json_object_set_new(o, "members", json_members(i));
	json_object_set_new(
	    o, "image", json_text(i->container != NULL ? i->container->image : NULL));
	json_object_set_new(
	    o, "imageId", json_text(i->container != NULL ? i->container->image_id : NULL));
	json_object_set_new(o, "imageAccepted",
	    i->container != NULL
		? json_boolean(!instance_has_other_image(i) && !instance_is_refused(i))
		: json_null());
	json_object_set_new(o, "imageApproved", json_approved(i->ctl, i->container));
	json_object_set_new(o, "facts", grade_to_json(instance_grade_bits(i)));
	json_object_set_new(o, "nested", json_integer((json_int_t)nested_count(i, &many)));
	json_object_set_new(o, "attached", json_boolean(i->attach == ATTACH_DONE));
	json_object_set_new(o, "hostNetwork", json_false());
	json_object_set_new(
	    o, "quarantined", json_boolean(instance_is_quarantined(i) || quarantine_of(i) != NULL));
	json_object_set_new(o, "quarantine", json_quarantine(quarantine_of(i)));
	json_object_set_new(o, "appliedRevision", json_integer((json_int_t)i->applied_revision));
	json_object_set_new(o, "applyUsec", json_integer(i->apply_usec));
	json_object_set_new(o, "rulesetDigest", json_ruleset_digest(i));
	json_object_set_new(o, "guard", hostguard_to_json(i));
	json_object_set_new(
	    o, "tableHeldBy", i->table_holder != 0 ? json_integer(i->table_holder) : json_null());
	json_object_set_new(o, "aggregation", aggregate_to_json(i));
	json_object_set_new(o, "selfTest", selftest_of(i));
	return o;
}

/* In the host's network there is nothing to attach to, and no address of its own. */
static void
add_hosted(void *arg, const struct container *k)
{
	char id[13];

	snprintf(id, sizeof(id), "%.12s", k->id);
	json_array_append_new(arg,
	    json_pack(
		"{s:s, s:s, s:n, s:[], s:{s:s, s:n, s:n}, s:[{s:s, s:o, s:s}], s:o, s:o, s:b, "
		"s:b}",
		"id", id, "runtime", runtime_name(k->runtime), "netns", "addresses", "start",
		"kind", start_kind_name(k->existing ? START_EXISTING : START_LATE), "leadMs", "at",
		"members", "id", k->id, "name", json_text(k->name != NULL ? k->name : ""),
		"runtime", runtime_name(k->runtime), "image", json_text(k->image), "imageId",
		json_text(k->image_id), "attached", 0, "hostNetwork", 1));
}

struct counts {
	json_int_t approved, pending, denied;
};

static void
count_edge(struct counts *k, enum edge_state s)
{
	if (s == EDGE_APPROVED)
		k->approved++;
	else if (s == EDGE_DENIED)
		k->denied++;
	else
		k->pending++;
}

/* Per peer id: how many edges touch it. One pass over the table. */
static struct counts *
count_edges(struct controller *c)
{
	struct counts *k = calloc(peer_table_count(c->peers) + 2, sizeof(*k));
	size_t pos = 0;
	struct edge *e;

	while (k != NULL && (e = edge_table_next(c->edges, &pos)) != NULL) {
		count_edge(&k[e->key.from], e->state);
		if (e->key.to != e->key.from)
			count_edge(&k[e->key.to], e->state);
	}
	return k;
}

struct sums {
	uint64_t events, packets, forgotten, drift;
	uint32_t ct_count, ct_max;
	uint64_t applied;
	const char *grade, *why;
	const struct instance *other_image; /* refused, if one is */
};

static int
grade_rank(const char *grade)
{
	return strcmp(grade, "full") == 0 ? 0 : strcmp(grade, "partial") == 0 ? 1 : 2;
}

static struct sums
sum_instances(const struct workload *w, json_t *list)
{
	struct sums s = { .events = w->lost_events,
		.packets = w->lost_packets,
		.forgotten = w->ct_forgotten,
		.applied = w->instances != NULL ? UINT64_MAX : 0,
		.grade = "full" };

	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload) {
		const char *why, *grade = instance_grade(i, &why);

		json_array_append_new(list, json_instance(i));
		s.events += i->ct_stats.lost;
		s.packets += i->lost_packets;
		s.forgotten += i->ct_forgotten;
		s.drift += i->drift;
		s.ct_count = MAX(s.ct_count, i->ct_count.count);
		s.ct_max = MAX(s.ct_max, i->ct_count.max);
		s.applied = MIN(s.applied, i->applied_revision);
		if (grade_rank(grade) > grade_rank(s.grade) ||
		    (grade_rank(grade) == grade_rank(s.grade) && s.why == NULL)) {
			s.grade = grade;
			s.why = why;
		}
		if (instance_is_refused(i) ||
		    (s.other_image == NULL && instance_has_other_image(i)))
			s.other_image = i;
		if (s.why == NULL && instance_is_quarantined(i))
			s.why = "it is closed: no engine says what it is";
	}
	return s;
}

static json_t *
json_why_image(const struct workload *w, const struct instance *i)
{
	const struct container *k = instance_other_container(i);
	const char *repository = k != NULL ? container_repository(k) : "";
	const char *what = *repository != '\0' ? repository : "that is not known";

	if (w->mode == MODE_ENFORCE)
		return json_sprintf("instance %s is closed: %s image %s is not accepted under this "
				    "name (nanoseg approve --image)",
		    instance_log_id(i), k == i->container ? "its" : "a member's", what);
	return json_sprintf("instance %s runs another image, %s: enforcing accepts it, promotion "
			    "waits for a person",
	    instance_log_id(i), what);
}

/* The repositories that may run under the name. */
static json_t *
json_repositories(const struct workload *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->n_images; i++)
		json_array_append_new(list, json_text(w->images[i]));
	return list;
}

static json_t *
json_workload(
    struct controller *c, const struct kin *kin, const struct workload *w, const struct counts *k)
{
	json_t *instances = json_array(), *o;
	struct sums s = sum_instances(w, instances);

	hosted_each(c, w, add_hosted, instances);
	if (w->n_hosted > 0) {
		s.grade = "no";
		s.why = HOSTED_WHY;
	}
	o = json_pack("{s:o, s:s, s:s, s:s}", "name", json_text(w->name), "mode",
	    mode_name(w->mode), "direction", direction_name(w->direction), "enforceable", s.grade);

	if (s.other_image != NULL)
		json_object_set_new(o, "why", json_why_image(w, s.other_image));
	else if (s.why != NULL)
		json_object_set_new(o, "why", json_string(s.why));
	json_object_set_new(o, "images", json_repositories(w));
	json_object_set_new(o, "quarantine", json_quarantine(quarantine_of_workload(c, w)));
	json_object_set_new(o, "instances", instances);
	json_object_set_new(o, "edges",
	    json_pack("{s:I, s:I, s:I}", "approved", k->approved, "pending", k->pending, "denied",
		k->denied));
	json_object_set_new(o, "completeness", complete_to_json(kin, w));
	json_object_set_new(o, "promotion", promote_to_json(w));
	json_object_set_new(o, "loss",
	    json_pack("{s:I, s:I, s:I, s:o}", "events", (json_int_t)s.events, "packets",
		(json_int_t)s.packets, "forgotten", (json_int_t)s.forgotten, "sources",
		complete_losses(w)));
	json_object_set_new(o, "conntrack",
	    json_pack("{s:I, s:I}", "count", (json_int_t)s.ct_count, "max", (json_int_t)s.ct_max));
	json_object_set_new(o, "revision", json_integer((json_int_t)c->revision));
	json_object_set_new(o, "appliedRevision", json_integer((json_int_t)s.applied));
	json_object_set_new(o, "drift", json_integer((json_int_t)s.drift));
	json_object_set_new(o, "firstSeen", json_time(w->first_seen_ns));
	json_object_set_new(o, "idleSince",
	    w->instances == NULL && w->n_hosted == 0 ? json_time(w->last_seen_ns) : json_null());
	json_object_set_new(o, "modeSince", json_time(w->mode_since_ns));
	return o;
}

static const char *
promote_name(enum config_promote p)
{
	return p == PROMOTE_OFF ? "off" : p == PROMOTE_AUDIT ? "audit" : "enforce";
}

const struct engine_state *
engine_main(const struct controller *c)
{
	for (size_t i = 0; i < c->n_engines; i++)
		if (c->engines[i].d.reachable)
			return &c->engines[i];
	return c->n_engines > 0 ? &c->engines[0] : NULL;
}

static json_t *
json_engine(const struct engine_state *e)
{
	if (e == NULL)
		return json_null();
	return json_pack("{s:o, s:b, s:o, s:i, s:o}", "name", json_text(e->d.engine), "reachable",
	    e->d.reachable != 0, "why", json_text(e->d.why), "errors", (int)e->d.errors, "since",
	    json_time(e->since_ns));
}

json_t *
json_engines(const struct controller *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n_engines; i++)
		json_array_append_new(list, json_engine(&c->engines[i]));
	return list;
}

static json_t *
json_exposures(const struct controller *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n_exposures; i++) {
		const struct exposure *e = &c->exposures[i];

		if (workload_selected(c, e->workload))
			json_array_append_new(
			    list, json_pack("{s:o, s:o, s:o, s:o}", "workload",
				      json_text(e->workload), "instance", json_text(e->instance),
				      "from", json_time(e->from_ns), "to", json_time(e->to_ns)));
	}
	return list;
}

json_t *
json_host(void)
{
	struct utsname u = { 0 };

	uname(&u);
	return json_pack(
	    "{s:o, s:o}", "name", json_text(u.nodename), "kernel", json_text(u.release));
}

json_t *
json_status(struct controller *c)
{
	_cleanup_free_ struct counts *k = count_edges(c);
	_cleanup_(kin_freep) struct kin *kin = NULL;
	json_t *list = json_array(), *o;

	if (k == NULL || complete_update(c, COMPLETE_FRESH_NS) < 0 || kin_new(c, &kin) < 0) {
		json_decref(list);
		return NULL;
	}
	for (const struct workload *w = c->workloads; w != NULL; w = w->next)
		if (workload_selected(c, w->name))
			json_array_append_new(list, json_workload(c, kin, w, &k[w->peer]));
	o = json_pack("{s:s, s:o, s:o, s:I, s:o}", "version", PACKAGE_VERSION, "host", json_host(),
	    "workloads", list, "revision", (json_int_t)c->revision, "startedAt",
	    json_time(c->started_ns));
	json_object_set_new(o, "policyDigest",
	    c->policy_digest[0] != '\0' ? json_string(c->policy_digest) : json_null());
	json_object_set_new(o, "held", json_boolean(c->held));
	json_object_set_new(o, "changing", json_boolean(c->changing));
	json_object_set_new(o, "confirm", json_confirm(c));
	json_object_set_new(o, "recertification", recertify_to_json(c));
	json_object_set_new(o, "promote", json_string(promote_name(c->config->promote)));
	json_object_set_new(o, "observationPeriodSeconds",
	    json_integer((json_int_t)(c->config->observation_period_ns / NSEC_PER_SEC)));
	json_object_set_new(o, "engine", json_engine(engine_main(c)));
	json_object_set_new(o, "engines", json_engines(c));
	json_object_set_new(o, "gateMarker", gate_marker_to_json(c));
	json_object_set_new(o, "exposure", json_exposures(c));
	json_object_set_new(o, "selfTest", selftest_to_json(c, &c->metrics.selftest));
	json_object_set_new(o, "names",
	    json_pack("{s:I, s:I, s:I, s:I, s:I}", "answers", (json_int_t)c->names.answers,
		"untrusted", (json_int_t)c->names.untrusted, "leftOut",
		(json_int_t)c->names.left_out, "unasked", (json_int_t)c->capture.dns_unasked,
		"broken", (json_int_t)c->capture.dns_broken));
	json_object_set_new(o, "spoofedFlows", json_integer((json_int_t)c->spoofed));
	json_object_set_new(o, "losses",
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "unidentified",
		(json_int_t)c->waiting_lost, "unresolved", (json_int_t)c->unresolved, "edgeTable",
		(json_int_t)edge_table_overflow(c->edges), "captureRing",
		(json_int_t)c->capture.ring_dropped, "reports", (json_int_t)c->capture.nflog_lost,
		"captureUnsent", (json_int_t)c->capture.unsent, "attempts",
		(json_int_t)attempt_lost(c->attempts), "denials",
		(json_int_t)denial_evicted(c->denials), "workloads",
		(json_int_t)c->workloads_refused));
	return o;
}

static const char *
kind_name(enum peer_kind k)
{
	static const char *const names[] = { "none", "workload", "host", "cidr", "fqdn", "network",
		"internet", "addr", "multicast" };

	return (size_t)k < ARRAY_SIZE(names) ? names[k] : "none";
}

json_t *
json_edges(struct controller *c, json_edge_wanted_fn wanted, const void *arg)
{
	_cleanup_free_ uint64_t *numbers = calloc(edge_table_count(c->edges) + 1, sizeof(*numbers));
	json_t *list;
	size_t pos = 0, n = 0;
	const struct edge *e;

	if (numbers == NULL)
		return NULL;
	list = json_array();
	/* By number: in the next turn the table may be another one. */
	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		if (segment_edge_selected(c, e) && (wanted == NULL || wanted(arg, e)))
			numbers[n++] = edge_id_number(e);
	for (size_t i = 0; i < n; i++) {
		e = edge_table_find_number(c->edges, numbers[i]);
		if (e != NULL)
			json_array_append_new(list, json_edge_behind(c, e));
		aside_pause();
	}
	return list;
}

json_t *
json_graph(struct controller *c)
{
	json_t *nodes = json_array();
	size_t n_peers = peer_table_count(c->peers), pos = 0;
	_cleanup_free_ bool *used = calloc(n_peers + 2, sizeof(bool));
	struct edge *e;

	for (const struct workload *w = c->workloads; used != NULL && w != NULL; w = w->next)
		if (workload_selected(c, w->name) && w->instances != NULL)
			used[w->peer] = true;
	while (used != NULL && (e = edge_table_next(c->edges, &pos)) != NULL) {
		if (!segment_edge_selected(c, e))
			continue;
		used[e->key.from] = used[e->key.to] = true;
	}
	for (peer_id id = 1; used != NULL && id <= n_peers; id++) {
		const struct peer *p = peer_get(c->peers, id);

		if (used[id] && p != NULL)
			json_array_append_new(
			    nodes, json_pack("{s:o, s:s}", "id", json_peer(c->peers, id), "kind",
				       kind_name(p->kind)));
	}
	return json_pack("{s:o, s:o, s:o}", "host", json_host(), "nodes", nodes, "edges",
	    json_edges(c, NULL, NULL));
}
