/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose the two ends of an event are. Addresses change hands, and news of it come late: what may be
 * about an earlier owner is credited to nobody, and the new owner's own namespace tells of its
 * connections too.
 */
#include "daemon/ends.h"

#include "daemon/controller.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/names.h"
#include "daemon/resolve.h"
#include "netlink/rtnl.h"

#include <errno.h>

struct edge_key
ends_key(const struct flow_event *ev, const struct ends *e)
{
	return (struct edge_key){ .from = e->from,
		.to = e->to,
		.proto = ev->tuple.proto,
		.port_lo = ev->tuple.dport,
		.port_hi = ev->tuple.dport };
}

/* Has the far end's address, or the namespace itself, been another workload's around that time? */
static bool
has_changed_hands(struct controller *c, const struct flow_event *ev, const struct ends *e,
    struct instance *seen_in)
{
	const struct addr_map *m = c->addr_map;

	if (seen_in != NULL && ev->time_ns < seen_in->renamed_ns + LATE_NS)
		return true;
	return (e->src != NULL && e->src != seen_in &&
		   addr_map_was_anothers(m, &ev->tuple.src, e->src, ev->time_ns)) ||
	       (e->dst != NULL && e->dst != seen_in &&
		   addr_map_was_anothers(m, &ev->tuple.dst, e->dst, ev->time_ns));
}

/*
 * A client that is gone, as its server tells of it: its own namespace has told of what it did last,
 * or is about to. What that has not told in time is somebody's who is not watched here.
 */
static int
ask_former(struct controller *c, const struct flow_event *ev, const struct ends *e, unsigned flags)
{
	struct edge_key key = ends_key(ev, e);
	peer_id owners[FORMER_OWNERS];
	const struct edge *edge;
	uint64_t until_ns;
	size_t n;

	if (ev->kind != FLOW_ANSWERED || e->src != NULL || e->dst == NULL)
		return 0;
	n = addr_map_former(c->addr_map, &ev->tuple.src, ev->time_ns, owners, &until_ns);
	for (size_t k = 0; k < n; k++) {
		key.from = owners[k];
		edge = edge_table_serving(c->edges, &key, &ev->tuple);
		/* More than its server has told of so far. */
		if (edge != NULL &&
		    edge->evidence.connections_source > edge->evidence.connections_destination &&
		    ev->time_ns < edge->evidence.last_seen_ns + 2 * LATE_NS)
			return -ESTALE;
	}
	return until_ns > now_real() && (flags & RESOLVE_FINAL) == 0 ? -EAGAIN : 0;
}

/* What nobody here has goes by the name that it was called by, if that is known. */
static void
name_server(struct controller *c, const struct tuple *t, struct ends *e)
{
	struct workload *w = e->src != NULL ? instance_counts_as(e->src) : NULL;
	peer_id name;

	if (w == NULL || e->to != c->peer_internet)
		return;
	name = names_peer(w, c, &t->dst);
	if (name != PEER_ID_NONE)
		e->to = name;
}

/* What the namespace itself says beats the map: addresses may be claimed twice, or be gone. */
static int
resolve_end(struct controller *c, const struct addr *a, unsigned flags, struct instance *own,
    peer_id *ret, struct instance **ret_i)
{
	const struct workload *w = own != NULL ? instance_counts_as(own) : NULL;
	int r = 0;

	if (w != NULL)
		*ret = w->peer;
	else
		r = resolve_addr(c, a, flags, ret, ret_i);
	if (own != NULL)
		*ret_i = own;
	return r;
}

int
ends_find(struct controller *c, const struct flow_event *ev, unsigned flags, struct ends *ret)
{
	struct instance *seen_in = ev->netns != 0 ? instance_find(c, ev->netns) : NULL;
	const struct tuple *t = &ev->tuple;
	bool own_src = false, own_dst = false;
	struct ends e = { 0 };
	int r, r2;

	if (seen_in != NULL) {
		/* Who is on both sides of this: without its own addresses it cannot be told. */
		if (seen_in->addrs != NULL && !rtnl_watch_ready(seen_in->addrs) &&
		    (flags & RESOLVE_FINAL) == 0)
			return -EAGAIN;
		own_src = instance_has_addr(seen_in, &t->src);
		own_dst = instance_has_addr(seen_in, &t->dst);
		/* An engine takes a container's addresses away before its namespace. */
		if (!own_src && !own_dst) {
			own_src = instance_had_addr(seen_in, &t->src, ev->time_ns);
			own_dst = instance_had_addr(seen_in, &t->dst, ev->time_ns);
		}
	}
	r = resolve_end(c, &t->src, flags, own_src ? seen_in : NULL, &e.from, &e.src);
	r2 = resolve_end(c, &t->dst, flags, own_dst ? seen_in : NULL, &e.to, &e.dst);
	if (r == -EAGAIN || r2 == -EAGAIN)
		return -EAGAIN;
	if (r < 0 || r2 < 0)
		return r < 0 ? r : r2;
	if (seen_in != NULL && seen_in->workload == NULL)
		return -EAGAIN;
	if (has_changed_hands(c, ev, &e, seen_in))
		return -ESTALE;
	if (seen_in != NULL) {
		r = ask_former(c, ev, &e, flags);
		if (r < 0)
			return r;
	}
	name_server(c, t, &e);
	*ret = e;
	return 0;
}
