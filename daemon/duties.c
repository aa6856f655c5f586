/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * separateDuties: who approves is not who enforces. A change is refused if by it one person would
 * have both approved an edge of a workload and set the workload to enforce, in whichever order.
 * Persons are uids, as the decisions in the store have them. An
 * edge of a set of addresses is one of each workload that has one of them at that time.
 */
#include "daemon/instance.h"
#include "daemon/roster.h"
#include "daemon/segment_internal.h"
#include "netlink/rtnl.h"

#include <errno.h>
#include <string.h>

static bool
is_by(const char *text, const struct actor *who)
{
	return text != NULL && strcmp(text, who->name) == 0;
}

/* What one person has done. */
struct done {
	/* By peer. */
	struct {
		const struct edge *approved;	 /* an edge of it; NULL: none */
		const struct workload *enforced; /* itself, if it is; NULL: not by them */
	} * of;
	peer_id *sets; /* those with an approved edge that are sets of addresses */
	size_t n_sets;
};

static void
done_clear(struct done *done)
{
	free(done->of);
	free(done->sets);
}

static bool
is_set(const struct peer *p)
{
	return p != NULL && (p->kind == PEER_CIDR || p->kind == PEER_ADDR ||
				p->kind == PEER_NETWORK || p->kind == PEER_HOST);
}

static bool
network_holds(const struct policy_network *list, size_t n, const char *name, const struct addr *a)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; strcmp(list[i].name, name) == 0 && k < list[i].n_prefixes; k++)
			if (prefix_contains(&list[i].prefixes[k], a))
				return true;
	return false;
}

static bool
host_has(const struct controller *c, const struct addr *a)
{
	for (const struct instance *i = c->instances; i != NULL; i = i->next)
		if (i->is_host && instance_has_addr(i, a))
			return true;
	return false;
}

/* Is an address that the workload has now in the set? What is none holds nobody. */
static bool
holds(const struct controller *c, const struct policy_network *networks, size_t n_networks,
    const struct peer *set, const struct workload *w)
{
	if (!is_set(set))
		return false;
	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload) {
		size_t n;
		const struct rtnl_addr *list = instance_addrs(i, &n);

		for (size_t k = 0; k < n; k++)
			if (set->kind == PEER_HOST ? host_has(c, &list[k].addr)
			    : set->kind == PEER_NETWORK
				? network_holds(networks, n_networks, set->name, &list[k].addr)
				: prefix_contains(&set->prefix, &list[k].addr))
				return true;
	}
	return false;
}

static bool
holds_now(const struct controller *c, peer_id set, const struct workload *w)
{
	return holds(c, c->networks, c->n_networks, peer_get(c->peers, set), w);
}

static void
add_approved(const struct controller *c, struct done *done, peer_id id, const struct edge *e)
{
	if (done->of[id].approved == NULL && is_set(peer_get(c->peers, id)))
		done->sets[done->n_sets++] = id;
	done->of[id].approved = e;
}

/* 0 or -ENOMEM. */
static int
find_done(const struct controller *c, const struct actor *who, struct done *ret)
{
	size_t n = peer_table_count(c->peers) + 2, pos = 0;
	const struct edge *e;

	ret->of = calloc(n, sizeof(*ret->of));
	ret->sets = calloc(n, sizeof(*ret->sets));
	if (ret->of == NULL || ret->sets == NULL)
		return -ENOMEM;
	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->state == EDGE_APPROVED && is_by(e->decision.approved_by, who)) {
			add_approved(c, ret, e->key.from, e);
			add_approved(c, ret, e->key.to, e);
		}
	for (const struct workload *w = c->workloads; w != NULL; w = w->next)
		if (w->mode == MODE_ENFORCE && is_by(w->mode_by, who))
			ret->of[w->peer].enforced = w;
	return 0;
}

/* That names the workload, or a set that it is in. */
static const struct edge *
find_approved(const struct controller *c, const struct done *done, const struct workload *w)
{
	if (done->of[w->peer].approved != NULL)
		return done->of[w->peer].approved;
	for (size_t i = 0; i < done->n_sets; i++)
		if (holds_now(c, done->sets[i], w))
			return done->of[done->sets[i]].approved;
	return NULL;
}

static int
check_mode(const struct controller *c, const struct done *done, const struct actor *who,
    const struct workload_undo *s, struct diag *d)
{
	const struct workload *w = s->workload;
	const struct edge *e;
	char safe[256];

	if (w->mode != MODE_ENFORCE || (s->mode == MODE_ENFORCE && s->direction == w->direction))
		return 0;
	e = find_approved(c, done, w);
	if (e == NULL)
		return 0;
	text_escape(w->name, strlen(w->name), safe, sizeof(safe));
	diag_set(d, 0, 0,
	    "%s approved edge %s of %s: with separateDuties another person has to enforce it",
	    who->name, e->id, safe);
	return -EPERM;
}

/* At that end of an edge. */
static const struct workload *
find_enforced(const struct controller *c, const struct done *done, peer_id end)
{
	if (done->of[end].enforced != NULL || !is_set(peer_get(c->peers, end)))
		return done->of[end].enforced;
	for (const struct workload *w = c->workloads; w != NULL; w = w->next)
		if (done->of[w->peer].enforced != NULL && holds_now(c, end, w))
			return w;
	return NULL;
}

static int
refuse_approval(
    const struct actor *who, const struct workload *w, const struct edge *e, struct diag *d)
{
	char safe[256];

	text_escape(w->name, strlen(w->name), safe, sizeof(safe));
	diag_set(d, 0, 0,
	    "%s set %s to enforce: with separateDuties another person has to approve edge %s",
	    who->name, safe, e->id);
	return -EPERM;
}

static int
check_edge(const struct controller *c, const struct done *done, const struct actor *who,
    const struct edge_undo *s, struct diag *d)
{
	const struct edge *e = s->edge;
	const struct workload *w;

	if (e->state != EDGE_APPROVED || !is_by(e->decision.approved_by, who) ||
	    (s->state == EDGE_APPROVED && s->decision.decided_ns == e->decision.decided_ns))
		return 0;
	w = find_enforced(c, done, e->key.from);
	if (w == NULL)
		w = find_enforced(c, done, e->key.to);
	return w != NULL ? refuse_approval(who, w, e, d) : 0;
}

/* A network that grows makes an edge one of those that are in it now. */
static int
check_networks(const struct controller *c, const struct done *done, const struct actor *who,
    const struct undo *u, struct diag *d)
{
	for (size_t i = 0; u->has_networks && i < done->n_sets; i++) {
		const struct peer *p = peer_get(c->peers, done->sets[i]);

		for (const struct workload *w = c->workloads; w != NULL; w = w->next)
			if (p->kind == PEER_NETWORK && done->of[w->peer].enforced != NULL &&
			    holds_now(c, done->sets[i], w) &&
			    !holds(c, u->networks, u->n_networks, p, w))
				return refuse_approval(who, w, done->of[done->sets[i]].approved, d);
	}
	return 0;
}

int
duties_check(
    const struct controller *c, const struct actor *who, const struct undo *u, struct diag *d)
{
	_cleanup_(done_clear) struct done done = { 0 };
	int r;

	if (!c->config->separate_duties || !who->is_process)
		return 0;
	r = find_done(c, who, &done);
	for (size_t i = 0; r == 0 && i < u->n_workloads; i++)
		r = check_mode(c, &done, who, &u->workloads[i], d);
	for (size_t i = 0; r == 0 && i < u->n_edges; i++)
		r = check_edge(c, &done, who, &u->edges[i], d);
	return r == 0 ? check_networks(c, &done, who, u, d) : r;
}
