/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GET /v1/explain: would a connection pass, now or at a time in the past, by which edge and rule,
 * and what is the least that would have to change.
 *
 * Of the past the policy is known, and who was in which mode: both stand in the revision. Which
 * address was whose then is not: a question by address is answered with the addresses of now. Who
 * decided, and what the kernel held, stands in the audit log; the command line reads it there.
 */
#include "daemon/api.h"
#include "daemon/denial.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/published.h"
#include "daemon/quarantine.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/store.h"
#include "netlink/nft.h"
#include "netlink/rtnl.h"
#include "rules/compile.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* One end of a question: what was named, and an address to ask about, if there is one. */
struct asked {
	struct peer peer;
	char name[PEER_STRLEN];
	const char *workload;
	struct addr addr;
};

struct question {
	const struct api_request *q;
	const struct policy *policy; /* in force then */
	uint64_t revision, time_ns;
	bool past;
	struct asked src, dst;
	struct tuple tuple;
};

static int
read_asked(const struct question *qu, const char *text, struct asked *ret)
{
	const struct api_request *q = qu->q;
	const struct policy_workload *pw;
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
	pw = qu->past ? policy_find_workload(qu->policy, ret->peer.name) : NULL;
	if (w == NULL && pw == NULL)
		return -ENOENT;
	ret->workload = w != NULL ? w->name : pw->name;
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
		for (struct instance *i = w != NULL ? w->instances : NULL; i != NULL;
		     i = i->next_of_workload)
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

/* A name of a file, if no shell would make more of it than it is. */
static bool
shell_safe(const char *name, char *ret, size_t size)
{
	if (name[0] == '\0' || name[0] == '-' || strlen(name) >= size ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
		strlen(name))
		return false;
	memcpy(ret, name, strlen(name) + 1);
	return true;
}

/* An instance whose namespace can be entered, for people. */
static bool
enter_words(const struct controller *c, const char *workload, char *ret, size_t size)
{
	const struct workload *w = workload_find((struct controller *)c, workload);
	char safe[256];

	for (const struct instance *i = w != NULL ? w->instances : NULL; i != NULL;
	     i = i->next_of_workload) {
		if (i->ns.pid > 0)
			snprintf(ret, size, "nsenter --target %d --net", i->ns.pid);
		else if ((i->ns.flags & NETNS_F_NAMED) != 0 &&
			 shell_safe(i->ns.basename, safe, sizeof(safe)))
			snprintf(ret, size, "ip netns exec %s", safe);
		else
			continue;
		return true;
	}
	return false;
}

/* Where in the kernel it is decided: the source's own table if that governs, else the other's. */
static void
explain_rule(
    const struct question *qu, json_t *o, const struct inventory *inv, const struct evaluation *ev)
{
	bool out = ev->source_enforces || (ev->source_audits && !ev->destination_enforces);
	const char *workload = out ? qu->src.workload : qu->dst.workload;
	const char *table = qu->q->c->args.instance, *chain = out ? "output" : "input";
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	const struct ruleset_elem *e;
	char rule[160], command[512], enter[320], set[NFT_SET_NAME_LEN];

	json_object_set_new(o, "rule", json_null());
	json_object_set_new(o, "command", json_null());
	if (workload == NULL || (!out && !ev->destination_enforces && !ev->destination_audits) ||
	    ruleset_compile(qu->policy, inv, workload, qu->time_ns, &r) < 0)
		return;
	e = find_elem(r, &qu->tuple, out ? DIR_EGRESS : DIR_INGRESS);
	if (e == NULL) {
		snprintf(
		    rule, sizeof(rule), "inet nanoseg_%.16s chain %s, in no set", table, chain);
	} else {
		nft_set_name(out, e->allow, !ruleset_elem_is_exact(e), e->lo.family == 6, set);
		snprintf(
		    rule, sizeof(rule), "inet nanoseg_%.16s chain %s, set %s", table, chain, set);
	}
	json_object_set_new(o, "rule", json_string(rule));
	if (qu->past || !enter_words(qu->q->c, workload, enter, sizeof(enter)))
		return;
	snprintf(command, sizeof(command), "%s nft list %s inet nanoseg_%.16s %s", enter,
	    e != NULL ? "set" : "chain", table, e != NULL ? set : chain);
	json_object_set_new(o, "command", json_string(command));
}

static const char *
explain_reason(const struct evaluation *ev, bool expired)
{
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

/* What an edge of exactly this would name. */
static struct peer
end_of(const struct asked *a)
{
	const struct peer w = { .kind = PEER_WORKLOAD, .name = (char *)a->workload };

	return a->workload != NULL ? w : a->peer;
}

/* The edge that decides; where none does, the one that is about this and does not count. */
static const struct edge *
explain_edge(const struct question *qu, const struct evaluation *ev)
{
	const struct controller *c = qu->q->c;
	const struct tuple *t = &qu->tuple;
	struct peer from = end_of(&qu->src), to = end_of(&qu->dst);
	struct edge_key key = { .proto = t->proto, .port_lo = t->dport, .port_hi = t->dport };

	if (ev->edge != NULL)
		return edge_table_find_id(c->edges, ev->edge->id);
	key.from = peer_lookup(c->peers, &from);
	key.to = peer_lookup(c->peers, &to);
	return key.from == PEER_ID_NONE || key.to == PEER_ID_NONE ? NULL
								  : edge_table_find(c->edges, &key);
}

static const struct policy_edge *
edge_of_id(const struct policy *p, const char *id)
{
	for (size_t i = 0; i < p->n_edges; i++)
		if (strcmp(p->edges[i].id, id) == 0)
			return &p->edges[i];
	return NULL;
}

/* The same in a policy that was. */
static const struct policy_edge *
past_edge(const struct question *qu, const struct evaluation *ev)
{
	struct peer from = end_of(&qu->src), to = end_of(&qu->dst);
	char id[EDGE_ID_STRLEN];

	if (ev->edge != NULL)
		return ev->edge;
	edge_id_format(
	    edge_key_number(&from, &to, qu->tuple.proto, qu->tuple.dport, qu->tuple.dport), id);
	return edge_of_id(qu->policy, id);
}

/* With an approval of exactly this in the policy, would it pass? */
static int
evaluate_approved(const struct question *qu, const struct inventory *inv,
    const struct policy_edge *wanted, struct evaluation *ret)
{
	struct policy p = *qu->policy;
	size_t n = 0;

	p.index = NULL;
	p.edges = calloc(p.n_edges + 1, sizeof(*p.edges));
	if (p.edges == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < qu->policy->n_edges; i++)
		if (strcmp(qu->policy->edges[i].id, wanted->id) != 0)
			p.edges[n++] = qu->policy->edges[i];
	p.edges[n++] = *wanted;
	p.n_edges = n;
	policy_evaluate(&p, inv, &qu->tuple, qu->src.workload, qu->dst.workload, qu->time_ns, ret);
	/* Which edge it was outlives the copy by its id. */
	if (ret->edge != NULL)
		ret->edge = edge_of_id(qu->policy, ret->edge->id);
	free(p.edges);
	return 0;
}

static json_t *
edge_to_file(const struct policy_edge *e)
{
	json_t *o = json_object();

	json_object_set_new(o, "from", peer_to_policy_json(&e->from));
	json_object_set_new(o, "to", peer_to_policy_json(&e->to));
	json_set_port(o, e->proto, e->port_lo, e->port_hi);
	json_object_set_new(o, "state", json_string("approved"));
	return o;
}

/*
 * The least that would let it pass: a command, and the edge as a policy file has it, where one can
 * be given. A denied edge beats any approval, so one that denies more than this has to go first.
 */
static json_t *
explain_change(const struct question *qu, const struct inventory *inv, const struct edge *e)
{
	struct policy_edge wanted = { .from = end_of(&qu->src),
		.to = end_of(&qu->dst),
		.proto = qu->tuple.proto,
		.port_lo = qu->tuple.dport,
		.port_hi = qu->tuple.dport,
		.state = EDGE_APPROVED };
	const struct denial *d;
	struct evaluation ev;
	char command[96];

	edge_id_format(
	    edge_key_number(&wanted.from, &wanted.to, wanted.proto, wanted.port_lo, wanted.port_hi),
	    wanted.id);
	if (evaluate_approved(qu, inv, &wanted, &ev) < 0)
		return json_null();
	if (!ev.passes)
		return json_pack("{s:o, s:n, s:n}", "text",
		    json_sprintf("edge %s denies more than this, and a denial beats every "
				 "approval: narrow it, or take it out of the policy",
			ev.edge != NULL ? ev.edge->id : "?"),
		    "command", "edge");
	if (e == NULL || strcmp(e->id, wanted.id) != 0)
		e = edge_table_find_id(qu->q->c->edges, wanted.id);
	d = e == NULL ? denial_find(qu->q->c->denials, wanted.id) : NULL;
	if (e == NULL && d == NULL)
		return json_pack("{s:s, s:n, s:o}", "text",
		    "add this edge to the policy: nanoseg policy import", "command", "edge",
		    edge_to_file(&wanted));
	snprintf(command, sizeof(command), "nanoseg approve %s --reason TEXT",
	    e != NULL ? e->id : d->id);
	return json_pack("{s:s, s:s, s:o}", "text",
	    e != NULL ? "approve the edge" : "approve what was refused", "command", command, "edge",
	    edge_to_file(&wanted));
}

/* What the kernel was last read back with, at both ends. */
static json_t *
explain_applied(const struct question *qu)
{
	const char *const ends[] = { qu->src.workload, qu->dst.workload };
	char digest[2 * RULESET_DIGEST_LEN + 1];
	json_t *list = json_array();

	for (size_t k = 0; k < ARRAY_SIZE(ends); k++) {
		const struct workload *w =
		    ends[k] != NULL ? workload_find(qu->q->c, ends[k]) : NULL;

		if (k == 1 && ends[0] != NULL && ends[1] != NULL && strcmp(ends[0], ends[1]) == 0)
			break;
		for (const struct instance *i = w != NULL ? w->instances : NULL; i != NULL;
		     i = i->next_of_workload) {
			if (!i->has_applied)
				continue;
			for (size_t n = 0; n < RULESET_DIGEST_LEN; n++)
				snprintf(digest + 2 * n, 3, "%02x", i->kernel[n]);
			json_array_append_new(
			    list, json_pack("{s:o, s:o, s:I, s:s, s:o}", "instance",
				      json_text(instance_id(i)), "workload", json_text(w->name),
				      "revision", (json_int_t)i->applied_revision, "kernel", digest,
				      "time", json_time(i->applied_ns)));
		}
	}
	return list;
}

/* Whatever the policy says. */
static void
explain_quarantine(const struct question *qu, json_t *o)
{
	const char *const ends[] = { qu->src.workload, qu->dst.workload };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct controller *c = qu->q->c;
		const struct workload *w = ends[i] != NULL ? workload_find(c, ends[i]) : NULL;

		if (quarantine_of_workload(c, w) == NULL)
			continue;
		json_object_set_new(o, "change",
		    json_pack("{s:s, s:n, s:n}", "text",
			"end the quarantine: nanoseg release, with a reason", "command", "edge"));
		json_object_set_new(o, "verdict", json_string("deny"));
		json_object_set_new(o, "reason",
		    json_string(i == 0 ? "the source is in quarantine"
				       : "the destination is in quarantine"));
	}
}

/* Whatever else speaks for the connection: who runs what may not run. */
static json_t *
explain_images(const struct question *qu)
{
	const struct workload *from =
	    qu->src.workload != NULL ? workload_find(qu->q->c, qu->src.workload) : NULL;
	const struct workload *to =
	    qu->dst.workload != NULL ? workload_find(qu->q->c, qu->dst.workload) : NULL;
	json_t *list = json_array();

	if (from != NULL)
		image_add_unapproved(from, list);
	if (to != NULL && to != from)
		image_add_unapproved(to, list);
	return list;
}

/* What is only known of now. */
static void
explain_now(
    const struct question *qu, json_t *o, const struct inventory *inv, const struct evaluation *ev)
{
	struct controller *c = qu->q->c;
	const struct tuple *t = &qu->tuple;
	struct edge_key key = { .proto = t->proto, .port_lo = t->dport, .port_hi = t->dport };
	const struct edge *e = explain_edge(qu, ev);

	key.to = peer_lookup(c->peers, &qu->dst.peer);
	published_set_behind(c, o, &key, e);
	if (qu->src.peer.kind == PEER_HOST && qu->dst.workload != NULL)
		json_object_set_new(
		    o, "admits", published_admits(c, qu->dst.workload, t->proto, t->dport));
	json_object_set_new(o, "edge", e != NULL ? json_string(e->id) : json_null());
	json_object_set_new(o, "reason",
	    json_string(explain_reason(
		ev, e != NULL && e->state == EDGE_APPROVED && e->decision.expires_ns != 0)));
	json_object_set_new(
	    o, "approvedBy", e != NULL ? json_text(e->decision.approved_by) : json_null());
	json_object_set_new(o, "evidence", e != NULL ? json_edge_behind(c, e) : json_null());
	json_object_set_new(o, "change", ev->passes ? json_null() : explain_change(qu, inv, e));
	json_object_set_new(o, "applied", explain_applied(qu));
	json_object_set_new(o, "unapprovedImages", explain_images(qu));
	explain_quarantine(qu, o);
}

static void
explain_past(const struct question *qu, json_t *o, const struct evaluation *ev)
{
	const struct policy_edge *e = past_edge(qu, ev);

	json_object_set_new(o, "edge", e != NULL ? json_string(e->id) : json_null());
	json_object_set_new(o, "reason",
	    json_string(
		explain_reason(ev, e != NULL && e->state == EDGE_APPROVED && e->expires_ns != 0)));
	json_object_set_new(o, "decision",
	    e == NULL ? json_null()
		      : json_pack("{s:s, s:o, s:o, s:o}", "state", edge_state_name(e->state),
			    "reason", json_text(e->reason), "ticket", json_text(e->ticket),
			    "expires", json_time(e->expires_ns)));
	json_object_set_new(o, "approvedBy", json_null());
	json_object_set_new(o, "evidence", json_null());
	json_object_set_new(o, "change", json_null());
}

static void
answer(const struct question *qu, struct api_reply *r)
{
	_cleanup_(inventory_freep) struct inventory *inv = inventory_build(qu->q->c, false);
	char text[PEER_STRLEN];
	struct evaluation ev;
	json_t *o;

	if (inv == NULL) {
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "out of memory");
		return;
	}
	policy_evaluate(
	    qu->policy, inv, &qu->tuple, qu->src.workload, qu->dst.workload, qu->time_ns, &ev);
	o = json_pack("{s:s, s:o, s:n}", "verdict",
	    !ev.passes									 ? "deny"
	    : ev.verdict != VERDICT_ALLOW && (ev.source_audits || ev.destination_audits) ? "audit"
											 : "allow",
	    "from", json_text(peer_format(&qu->src.peer, text)), "to");
	json_object_set_new(o, "to", json_text(peer_format(&qu->dst.peer, text)));
	json_set_port(o, qu->tuple.proto, qu->tuple.dport, qu->tuple.dport);
	explain_rule(qu, o, inv, &ev);
	if (qu->past)
		explain_past(qu, o, &ev);
	else
		explain_now(qu, o, inv, &ev);
	json_object_set_new(o, "revision", json_integer((json_int_t)qu->revision));
	json_object_set_new(o, "at", json_time(qu->time_ns));
	r->json = o;
}

/* The policy that was in force then, and its digest as the audit log has it. */
static int
read_past(struct question *qu, const char *at, struct policy **ret,
    char ret_digest[static AUDIT_HASH_STRLEN], struct diag *d)
{
	struct controller *c = qu->q->c;
	_cleanup_free_ char *text = NULL;
	int r;

	if (time_parse(at, &qu->time_ns) < 0 || qu->time_ns > now_real()) {
		diag_set(d, 0, 0, "at: expected a time in the past, such as 2026-07-01T12:00:00Z");
		return -EINVAL;
	}
	r = store_find_revision(c->store, qu->time_ns, &qu->revision);
	if (r == 0 && qu->revision != 0)
		r = store_get_revision(c->store, qu->revision, &text);
	if (r == -ENOENT)
		diag_set(d, 0, 0, "the policy of that time is no longer kept");
	if (r == 0 && text != NULL)
		audit_digest(text, strlen(text), ret_digest);
	return r == 0 ? confirm_get_revision(c, qu->revision, ret, d) : r;
}

/* Port and protocol. False after filling r. */
static bool
read_tuple(const struct api_request *q, struct tuple *ret, struct api_reply *r)
{
	const char *proto = api_arg(q, "proto"), *port = api_arg(q, "port");
	unsigned long number;
	char *end;
	int p = proto_parse(proto != NULL ? proto : "tcp");

	number = port != NULL ? strtoul(port, &end, 10) : 0;
	if (p < 0 || port == NULL || *port < '0' || *port > '9' || *end != '\0' ||
	    number > (proto_is_icmp((uint8_t)p) ? 255 : 65535)) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "expected a port (0 to 65535; ICMP: a type, 0 to 255) and tcp, udp, sctp, icmp "
		    "or icmpv6");
		return false;
	}
	ret->proto = (uint8_t)p;
	ret->dport = proto_is_icmp(ret->proto) ? (uint16_t)(number << 8) : (uint16_t)number;
	return true;
}

void
explain_get(const struct api_request *q, struct api_reply *r)
{
	_cleanup_(policy_freep) struct policy *past = NULL;
	struct question qu = {
		.q = q, .policy = q->c->policy, .revision = q->c->revision, .time_ns = now_real()
	};
	const char *at = api_arg(q, "at");
	char digest[AUDIT_HASH_STRLEN] = "";
	struct diag d = { 0 };
	int ret = 0;

	qu.past = at != NULL;
	if (qu.past)
		ret = read_past(&qu, at, &past, digest, &d);
	if (ret < 0) {
		api_fail_change(r, ret, &d);
		return;
	}
	if (qu.past)
		qu.policy = past;
	if (fail_asked(r, "src", read_asked(&qu, api_arg(q, "src"), &qu.src)) ||
	    fail_asked(r, "dst", read_asked(&qu, api_arg(q, "dst"), &qu.dst)) ||
	    !read_tuple(q, &qu.tuple, r))
		return;
	fill_addr(q, &qu.dst,
	    qu.src.addr.family != 0	       ? qu.src.addr.family
	    : qu.tuple.proto == IPPROTO_ICMPV6 ? 6
					       : 0);
	fill_addr(q, &qu.src, qu.dst.addr.family);
	qu.tuple.src = qu.src.addr;
	qu.tuple.dst = qu.dst.addr;
	answer(&qu, r);
	if (qu.past && r->json != NULL)
		json_object_set_new(
		    r->json, "policyDigest", *digest != '\0' ? json_string(digest) : json_null());
}
