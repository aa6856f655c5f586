/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From flow events to edges: one direction, one answer.
 *
 * An answered connection is credited to (source peer, destination peer, protocol, port) at the end
 * where it was seen. Events whose ends are not identified yet wait in a bounded list and are tried
 * again when an identity or an address arrives; after the identification time they are settled with
 * what is known. Attempts and refusals never reach the edges.
 *
 * A dump and the socket table show connections that may have been counted before, so they only
 * create what is not there yet. They also show connections whose other end is long gone and whose
 * address is another's by now: an end that is older than the other one does not testify about it.
 *
 * What only its destination has seen of another namespace here waits for that one's word:
 * daemon/witness.h.
 */
#include "daemon/aggregate.h"
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/denial.h"
#include "daemon/ends.h"
#include "daemon/enforce.h"
#include "daemon/flows.h"
#include "daemon/history.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/log.h"
#include "daemon/observe.h"
#include "daemon/one_way.h"
#include "daemon/probing.h"
#include "daemon/promote.h"
#include "daemon/published.h"
#include "daemon/quarantine.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/witness.h"

#include <errno.h>
#include <string.h>

#define AUDIT_APART_NS (2 * NSEC_PER_SEC)
#define COUNTED_FRESH_NS (5 * NSEC_PER_SEC)

static void
record_flow(struct controller *c, const struct flow_event *ev, const struct ends *e, uint64_t edge,
    peer_id behind)
{
	struct flow_record rec = {
		.time_ns = ev->time_ns,
		.tuple = ev->tuple,
		.from = e->from,
		.to = e->to,
		.behind = behind,
		.kind = ev->kind,
		.edge = edge,
	};

	flow_ring_add(c->flows, &rec);
}

/* The report of an audited connection and the word of its answer are one line, in either order. */
static void
record_audited(struct controller *c, const struct flow_event *ev, const struct ends *e,
    uint64_t edge, peer_id behind)
{
	struct flow_record *known =
	    flow_ring_recent(c->flows, &ev->tuple, ev->time_ns - AUDIT_APART_NS);
	struct flow_event audited = *ev;

	if (known == NULL || known->kind == FLOW_DENIED) {
		audited.kind = FLOW_AUDITED;
		record_flow(c, &audited, e, edge, behind);
		return;
	}
	known->kind = FLOW_AUDITED;
	if (edge != 0)
		known->edge = edge;
	if (behind != PEER_ID_NONE)
		known->behind = behind;
}

static bool
is_auditing(const struct instance *i, enum wl_direction direction)
{
	return i != NULL && i->workload != NULL && i->attach == ATTACH_DONE &&
	       i->workload->mode == MODE_AUDIT && (i->workload->direction & direction) != 0;
}

/* Answered, and reported by an end that audits: the answer is often heard of first. */
static bool
is_audited(const struct flow_event *ev, const struct ends *e, const struct edge *edge)
{
	if (edge->state == EDGE_APPROVED ||
	    (ev->flags & (FLOW_F_FROM_DUMP | FLOW_F_FROM_SOCKET | FLOW_F_MIDSTREAM)) != 0)
		return false;
	return is_auditing(e->src, WL_EGRESS) || is_auditing(e->dst, WL_INGRESS);
}

/* The host's own event may have come after its socket was last read. */
const struct tuple *
learn_find_nat(struct controller *c, const struct tuple *t)
{
	const struct tuple *other = nat_cache_find(c->nat, t);

	if (other != NULL)
		return other;
	observe_host(c);
	return nat_cache_find(c->nat, t);
}

/*
 * What the host lost of its translations its table still has. Until that has been read, one that is
 * not found may have been lost, and the connection be taken for another's.
 */
static const struct tuple *
find_translation(struct controller *c, const struct flow_event *ev)
{
	const struct tuple *other = learn_find_nat(c, &ev->tuple);
	const struct instance *host = c->host;

	if (other == NULL && host != NULL && host->dumped_whole_ns < host->lost_ns)
		complete_on_loss(instance_find(c, ev->netns), LOSS_EVENTS);
	return other;
}

/* Is the event the second sight of a connection whose first sight is at an attached source? */
static bool
is_second_sight(struct controller *c, const struct flow_event *ev, const struct ends *e,
    const struct instance *seen_in)
{
	const struct tuple *other;
	struct instance *client;
	bool ambiguous;

	if (e->src == seen_in)
		return false;
	if (e->src != NULL && !e->src->is_host)
		return e->src->attach == ATTACH_DONE;
	other = find_translation(c, ev);
	if (other == NULL)
		return false;
	client = addr_map_find(c->addr_map, &other->src, &ambiguous);
	return client != NULL && !client->is_host && client->attach == ATTACH_DONE;
}

/*
 * The workload that a port of the host leads to, or an address that is nobody's: by the host's own
 * conntrack, or, where a proxy takes the connection, by what the engines say is published.
 */
static peer_id
workload_behind(struct controller *c, const struct flow_event *ev, const struct ends *e)
{
	const struct tuple *other;
	const struct workload *w;
	struct instance *i;
	bool ambiguous;

	if (e->dst != NULL && !e->dst->is_host)
		return PEER_ID_NONE;
	other = find_translation(c, ev);
	if (other == NULL || addr_eq(&other->dst, &ev->tuple.dst))
		return e->dst == NULL
			   ? PEER_ID_NONE
			   : published_find(c, &ev->tuple.dst, ev->tuple.proto, ev->tuple.dport);
	i = addr_map_find(c->addr_map, &other->dst, &ambiguous);
	w = i != NULL ? instance_counts_as(i) : NULL;
	if (w == NULL || addr_map_was_anothers(c->addr_map, &other->dst, i, ev->time_ns))
		return PEER_ID_NONE;
	return w->peer;
}

static bool
already_counted(const struct edge *e, enum edge_end end)
{
	return end == EDGE_END_SOURCE ? e->evidence.connections_source > 0
				      : e->evidence.connections_destination > 0;
}

/*
 * Of what a namespace had before the other end's was made, the other end knows nothing. What a
 * start of the daemon finds has no order; but connections were tracked only where a table was left.
 */
static bool
may_predate(const struct instance *seen_in, const struct instance *other)
{
	if (other == NULL || other == seen_in || other->is_host)
		return false;
	if (!other->existing)
		return other->announced_ns > seen_in->announced_ns;
	return seen_in->attached.adopted && !other->attached.adopted;
}

static void
learn_answered(struct controller *c, const struct flow_event *ev, const struct ends *e)
{
	struct instance *seen_in = instance_find(c, ev->netns);
	struct edge_observation o = {
		.key = ends_key(ev, e),
		.tuple = ev->tuple,
		.time_ns = ev->time_ns,
		.count = ev->count,
	};
	const bool again = (ev->flags & (FLOW_F_FROM_DUMP | FLOW_F_FROM_SOCKET)) != 0;
	struct edge *edge;
	peer_id behind;
	int r;

	/* What somebody does to look into it is not what it does. */
	if (quarantine_of(e->src) != NULL || quarantine_of(e->dst) != NULL) {
		attempt_answered(c, &ev->tuple, ev->time_ns);
		record_flow(c, ev, e, 0, PEER_ID_NONE);
		return;
	}
	if (seen_in == NULL || (e->src != seen_in && e->dst != seen_in)) {
		c->unresolved++;
		return;
	}
	o.end = e->src == seen_in ? EDGE_END_SOURCE : EDGE_END_DESTINATION;
	o.instance = seen_in->hash;
	o.image =
	    seen_in->container != NULL ? seen_in->container->image_number : seen_in->image_before;
	if (e->from == c->peer_host)
		o.flags |= EDGE_FLAG_VIA_HOST;
	if (instance_has_other_image(seen_in))
		o.flags |= EDGE_FLAG_IMAGE_CHANGED;
	if ((ev->flags & FLOW_F_MIDSTREAM) != 0 && (ev->flags & FLOW_F_ORIENTED) == 0)
		o.flags |= EDGE_FLAG_MIDSTREAM;
	if ((ev->flags & FLOW_F_ONE_WAY) != 0)
		o.flags |= EDGE_FLAG_ONE_WAY;
	if (again) {
		edge = edge_table_serving(c->edges, &o.key, &o.tuple);
		if (edge != NULL && already_counted(edge, o.end))
			return;
		if (may_predate(seen_in, e->src == seen_in ? e->dst : e->src)) {
			c->unresolved++;
			return;
		}
	}
	if (o.end == EDGE_END_DESTINATION && e->src != NULL && !e->src->is_host &&
	    witness_holds(c, &o, e->src, seen_in, again))
		return;
	attempt_answered(c, &ev->tuple, ev->time_ns);
	r = edge_table_observe(c->edges, &o, &edge);
	if (r < 0) {
		complete_on_loss(e->src, LOSS_EDGES);
		complete_on_loss(e->dst, LOSS_EDGES);
		return;
	}
	history_note(c->history, edge, &o, c->peers);
	if (o.end == EDGE_END_SOURCE)
		witness_heard(c, &o.key);
	if (is_second_sight(c, ev, e, seen_in))
		return;
	behind = workload_behind(c, ev, e);
	if (behind != PEER_ID_NONE)
		edge->behind = behind;
	if ((ev->flags & FLOW_F_ONE_WAY) != 0)
		return;
	if (is_audited(ev, e, edge))
		record_audited(c, ev, e, edge_id_number(edge), behind);
	else
		record_flow(c, ev, e, edge_id_number(edge), behind);
}

/* An audited connection goes on to the other end, which then reports it again. */
static bool
audited_at_source(const struct flow_event *ev, const struct ends *e)
{
	return ev->kind == FLOW_AUDITED && ev->dir == DIR_INGRESS &&
	       is_auditing(e->src, WL_EGRESS) && e->src != e->dst;
}

static void
alert_of_denial(struct controller *c, struct instance *i, const struct edge_key *key)
{
	char from[PEER_STRLEN], to[PEER_STRLEN];

	peer_format(peer_get(c->peers, key->from), from);
	peer_format(peer_get(c->peers, key->to), to);
	alert_raise_instance(i, ALERT_DENIAL, ALERT_WARNING,
	    "refused for the first time: %s to %s, %s port %u", from, to, proto_name(key->proto),
	    key->port_lo);
}

static void
learn_refused(struct controller *c, const struct flow_event *ev, const struct ends *e)
{
	struct edge_key key = ends_key(ev, e);
	struct instance *seen_in = instance_find(c, ev->netns);
	const struct instance *local = ev->dir == DIR_EGRESS ? e->src : e->dst;
	const struct instance *other = ev->dir == DIR_EGRESS ? e->dst : e->src;
	const struct denial *d;
	struct edge *edge;

	/* A sender that took the address of another one. */
	if (seen_in != NULL && local != NULL && local != seen_in) {
		c->unresolved++;
		return;
	}
	if (audited_at_source(ev, e))
		return;
	if (ev->kind == FLOW_DENIED && seen_in != NULL && other != NULL)
		reconcile_on_refused(seen_in, other);
	edge = edge_table_find(c->edges, &key);
	attempt_answered(c, &ev->tuple, ev->time_ns);
	d = denial_record(c, ev, &key);
	if (ev->kind == FLOW_DENIED && d->count == ev->count && seen_in != NULL)
		alert_of_denial(c, seen_in, &key);
	if (quarantine_of(e->src) != NULL || quarantine_of(e->dst) != NULL)
		quarantine_on_refused(
		    quarantine_of(e->src) != NULL ? e->src : e->dst, ev->time_ns, ev->count);
	else if (ev->kind == FLOW_DENIED)
		confirm_on_refused(c, &key, &ev->tuple, ev->count, d->steady);
	if (ev->kind == FLOW_AUDITED)
		record_audited(c, ev, e, edge != NULL ? edge_id_number(edge) : 0, PEER_ID_NONE);
	else
		record_flow(c, ev, e, edge != NULL ? edge_id_number(edge) : 0, PEER_ID_NONE);
}

/* Its answer, if it has one, is counted, and not told by its tuple: as long as others are. */
static bool
is_counted(struct controller *c, const struct flow_event *ev, const struct ends *e)
{
	struct edge_key key = ends_key(ev, e);
	const struct edge *edge;

	if ((e->src == NULL || !aggregate_is_on(e->src)) &&
	    (e->dst == NULL || !aggregate_is_on(e->dst)))
		return false;
	edge = edge_table_find(c->edges, &key);
	return edge != NULL && edge->evidence.last_seen_ns + COUNTED_FRESH_NS >= ev->time_ns;
}

/*
 * A connection picked up in its middle: who listens is asked only now that both ends are known, for
 * then both can be asked.
 */
static int
learn_midstream(struct controller *c, const struct flow_event *ev, unsigned flags)
{
	struct instance *seen_in = instance_find(c, ev->netns);
	struct flow_event settled = *ev;
	struct ends e;
	int r;

	if (seen_in != NULL && observe_orient(seen_in, &settled.tuple))
		settled.flags |= FLOW_F_ORIENTED;
	r = ends_find(c, &settled, flags, &e);
	if (r == 0)
		learn_answered(c, &settled, &e);
	return r;
}

static int
learn_one(struct controller *c, const struct flow_event *ev, unsigned flags)
{
	struct ends e;
	int r;

	if (ev->kind != FLOW_ANSWERED)
		flags |= RESOLVE_REFUSED;
	r = ends_find(c, ev, flags, &e);
	if (r < 0)
		return r;
	switch ((enum flow_kind)ev->kind) {
	case FLOW_ANSWERED:
		if ((ev->flags & FLOW_F_MIDSTREAM) != 0)
			return learn_midstream(c, ev, flags);
		learn_answered(c, ev, &e);
		break;
	case FLOW_ATTEMPT:
		if (!is_counted(c, ev, &e))
			attempt_add(c, ev);
		break;
	case FLOW_DENIED:
	case FLOW_AUDITED:
		learn_refused(c, ev, &e);
		break;
	}
	return 0;
}

/* 0, or -EAGAIN if an end is not identified yet. */
static int
try_learn(struct controller *c, const struct flow_event *ev, unsigned flags)
{
	int r = learn_one(c, ev, flags);

	if (r != -ESTALE)
		return r;
	c->unresolved++;
	return 0;
}

/* Nobody's edge has it. */
static void
lose(struct controller *c, const struct flow_event *ev)
{
	struct instance *i = instance_find(c, ev->netns);

	c->waiting_lost++;
	if (ev->kind != FLOW_ANSWERED || i == NULL)
		return;
	i->lost_ns = now_mono();
	complete_on_loss(i, LOSS_UNIDENTIFIED);
}

void
learn_flow(struct controller *c, const struct flow_event *ev)
{
	int r;

	if (probing_is_own(c, ev))
		return;
	if ((ev->flags & FLOW_F_REFUSED) != 0) {
		one_way_refused(c, ev);
		return;
	}
	r = try_learn(c, ev, 0);
	c->metrics.flow_events[ev->kind] += ev->count;
	if (r == -EAGAIN && c->n_waiting < CTL_MAX_WAITING) {
		c->waiting[c->n_waiting++] = *ev;
		return;
	}
	if (r == -EAGAIN)
		r = try_learn(c, ev, RESOLVE_FINAL);
	if (r < 0)
		lose(c, ev);
}

bool
learn_one_way(struct controller *c, const struct flow_event *ev)
{
	struct instance *seen_in = instance_find(c, ev->netns);
	const struct edge *edge;
	struct edge_key key;
	struct ends e;

	if (seen_in == NULL || ends_find(c, ev, RESOLVE_FINAL, &e) < 0 ||
	    (e.src != seen_in && e.dst != seen_in) || quarantine_of(e.src) != NULL ||
	    quarantine_of(e.dst) != NULL)
		return false;
	key = ends_key(ev, &e);
	edge = edge_table_serving(c->edges, &key, &ev->tuple);
	/* One that is answered at times is known already, and for better reasons. */
	if (edge != NULL && edge_connections(edge) > 0 && (edge->flags & EDGE_FLAG_ONE_WAY) == 0)
		return false;
	if (edge == NULL && seen_in->one_way_edges >= ONE_WAY_EDGES_MAX) {
		complete_on_loss(seen_in, LOSS_EDGES);
		return false;
	}
	seen_in->one_way_edges += edge == NULL;
	learn_answered(c, ev, &e);
	return true;
}

void
learn_bytes(struct controller *c, const struct flow_event *ev, uint64_t bytes)
{
	struct instance *seen_in = instance_find(c, ev->netns);
	struct edge_key key;
	struct edge *edge;
	struct ends e;

	if (seen_in == NULL || ends_find(c, ev, 0, &e) < 0 ||
	    (e.src != seen_in && e.dst != seen_in))
		return;
	/* Both ends count them: the client's is believed, though it be read later. */
	if (e.src != NULL && e.src != seen_in && aggregate_stands(e.src))
		return;
	key = ends_key(ev, &e);
	edge = edge_table_serving(c->edges, &key, &ev->tuple);
	if (edge != NULL)
		edge_add_bytes(edge, bytes, ev->time_ns);
}

struct edge *
learn_edge_of(struct controller *c, const struct flow_event *ev)
{
	struct instance *seen_in = instance_find(c, ev->netns);
	struct edge_key key;
	struct ends e;

	if (seen_in == NULL || ends_find(c, ev, 0, &e) < 0 || e.src != seen_in)
		return NULL;
	key = ends_key(ev, &e);
	return edge_table_serving(c->edges, &key, &ev->tuple);
}

/* Is it off the list? */
static bool
retry(struct controller *c, const struct flow_event *ev, bool last)
{
	int r = try_learn(c, ev, last ? RESOLVE_FINAL : 0);

	if (r == -EAGAIN && !last)
		return false;
	if (r < 0)
		lose(c, ev);
	return true;
}

void
learn_retry_waiting(struct controller *c, bool give_up_old)
{
	uint64_t now = now_real(), limit = now - c->config->identify_timeout_ns - NSEC_PER_SEC;
	size_t kept = 0;

	for (size_t k = 0; k < c->n_waiting; k++) {
		struct flow_event ev = c->waiting[k];
		bool old = give_up_old && (ev.time_ns < limit || ev.time_ns > now);

		if (!retry(c, &ev, old))
			c->waiting[kept++] = ev;
	}
	c->n_waiting = kept;
}

void
learn_waiting_of(struct controller *c, uint64_t netns)
{
	size_t kept = 0;

	for (size_t k = 0; k < c->n_waiting; k++) {
		struct flow_event ev = c->waiting[k];

		if (ev.netns != netns || !retry(c, &ev, true))
			c->waiting[kept++] = ev;
	}
	c->n_waiting = kept;
}
