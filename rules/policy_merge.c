/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One policy with what another one adds, and the report of it. */
#include "rules/policy_merge.h"

#include "rules/policy_cover.h"
#include <errno.h>
#include <string.h>

struct merge {
	struct policy_merge *m;
	const struct policy *ours, *theirs;
	bool take_theirs;
	size_t room;
	struct policy_workload **by_name; /* the result's that are ours, sorted */
	struct policy_edge **by_id;	  /* the same */
};

static int
add_item(struct merge *g, struct policy_merge_item item)
{
	struct policy_merge *m = g->m;

	if (m->n_items == g->room) {
		size_t room = g->room * 2 + 64;
		struct policy_merge_item *grown = reallocarray(m->items, room, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		m->items = grown;
		g->room = room;
	}
	item.taken = !item.conflict || (g->take_theirs && item.kind != POLICY_MERGE_MEANING);
	m->n_added += !item.conflict;
	m->n_conflicts += item.conflict;
	m->n_taken += item.conflict && item.taken;
	m->items[m->n_items++] = item;
	return 0;
}

static bool
same_addresses(const struct policy_network *x, const struct policy_network *y)
{
	return prefixes_cover_prefixes(x->prefixes, x->n_prefixes, y->prefixes, y->n_prefixes) &&
	       prefixes_cover_prefixes(y->prefixes, y->n_prefixes, x->prefixes, x->n_prefixes);
}

static int
merge_networks(struct merge *g)
{
	struct policy *p = &g->m->policy;
	int r = 0;

	p->networks = calloc(g->ours->n_networks + g->theirs->n_networks + 1, sizeof(*p->networks));
	if (p->networks == NULL)
		return -ENOMEM;
	p->n_networks = g->ours->n_networks;
	for (size_t i = 0; i < p->n_networks; i++)
		p->networks[i] = g->ours->networks[i];
	for (size_t i = 0; r == 0 && i < g->theirs->n_networks; i++) {
		const struct policy_network *n = &g->theirs->networks[i];
		const struct policy_network *mine = policy_find_network(g->ours, n->name);

		if (mine != NULL && same_addresses(mine, n))
			continue;
		r = add_item(g,
		    (struct policy_merge_item){
			.kind = POLICY_MERGE_NETWORK, .conflict = mine != NULL, .name = n->name });
		if (mine == NULL)
			p->networks[p->n_networks++] = *n;
		else if (g->take_theirs)
			p->networks[mine - g->ours->networks] = *n;
	}
	return r;
}

static int
workload_compare(const void *a, const void *b)
{
	return strcmp((*(struct policy_workload *const *)a)->name,
	    (*(struct policy_workload *const *)b)->name);
}

static int
merge_labels(struct merge *g, struct policy_workload *into, const struct policy_workload *w)
{
	struct policy_label *list = calloc(into->n_labels + w->n_labels + 1, sizeof(*list));
	size_t n = into->n_labels;
	int r = 0;

	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		list[i] = into->labels[i];
	for (size_t i = 0; r == 0 && i < w->n_labels; i++) {
		const struct policy_label *l = &w->labels[i];
		size_t at = 0;

		while (at < into->n_labels && strcmp(list[at].key, l->key) != 0)
			at++;
		if (at < into->n_labels && strcmp(list[at].value, l->value) == 0)
			continue;
		r = add_item(g, (struct policy_merge_item){ .kind = POLICY_MERGE_LABEL,
				    .conflict = at < into->n_labels,
				    .name = into->name,
				    .key = l->key,
				    .ours = at < into->n_labels ? list[at].value : NULL,
				    .theirs = l->value });
		if (at == into->n_labels)
			list[n++] = *l;
		else if (g->take_theirs)
			list[at] = *l;
	}
	free(into->labels);
	into->labels = list;
	into->n_labels = n;
	return r;
}

static int
merge_workload(struct merge *g, const struct policy_workload *w)
{
	struct policy *p = &g->m->policy;
	const struct policy_workload **found =
	    bsearch(&w, g->by_name, g->ours->n_workloads, sizeof(w), workload_compare);
	struct policy_workload *into;
	int r;

	if (found != NULL) {
		into = p->workloads + (*found - p->workloads);
		g->m->n_modes += into->mode != w->mode ||
				 (w->mode != MODE_OBSERVE && into->direction != w->direction);
		return merge_labels(g, into, w);
	}
	into = &p->workloads[p->n_workloads++];
	*into = (struct policy_workload){ .name = w->name,
		.direction = WL_BOTH,
		.selector = w->selector,
		.n_selector = w->n_selector };
	g->m->n_modes += w->mode != MODE_OBSERVE;
	r = add_item(
	    g, (struct policy_merge_item){ .kind = POLICY_MERGE_WORKLOAD, .name = w->name });
	return r == 0 ? merge_labels(g, into, w) : r;
}

static int
merge_workloads(struct merge *g)
{
	struct policy *p = &g->m->policy;
	size_t n = g->ours->n_workloads;
	int r = 0;

	p->workloads = calloc(n + g->theirs->n_workloads + 1, sizeof(*p->workloads));
	g->by_name = calloc(n + 1, sizeof(*g->by_name));
	if (p->workloads == NULL || g->by_name == NULL)
		return -ENOMEM;
	for (p->n_workloads = 0; p->n_workloads < n; p->n_workloads++) {
		struct policy_workload *w = &p->workloads[p->n_workloads];

		*w = g->ours->workloads[p->n_workloads];
		/* The list of labels is the result's own, it may grow. */
		w->labels = calloc(w->n_labels + 1, sizeof(*w->labels));
		if (w->labels == NULL)
			return -ENOMEM;
		for (size_t i = 0; i < w->n_labels; i++)
			w->labels[i] = g->ours->workloads[p->n_workloads].labels[i];
		g->by_name[p->n_workloads] = w;
	}
	qsort(g->by_name, n, sizeof(*g->by_name), workload_compare);
	for (size_t i = 0; r == 0 && i < g->theirs->n_workloads; i++)
		r = merge_workload(g, &g->theirs->workloads[i]);
	return r;
}

static int
edge_compare(const void *a, const void *b)
{
	return strcmp((*(struct policy_edge *const *)a)->id, (*(struct policy_edge *const *)b)->id);
}

/* The network means something else in the result than in theirs. */
static bool
is_other_network(const struct merge *g, const struct peer *p)
{
	return p->kind == PEER_NETWORK &&
	       !same_addresses(policy_find_network(&g->m->policy, p->name),
		   policy_find_network(g->theirs, p->name));
}

static int
merge_edge(struct merge *g, const struct policy_edge *e)
{
	struct policy *p = &g->m->policy;
	struct policy_edge **found =
	    bsearch(&e, g->by_id, g->ours->n_edges, sizeof(e), edge_compare);
	struct policy_merge_item item = { .kind = POLICY_MERGE_EDGE, .edge = e };

	if (e->state == EDGE_PENDING) {
		g->m->n_pending++;
		return 0;
	}
	if (found == NULL || (*found)->state == EDGE_PENDING) {
		if (is_other_network(g, &e->from) || is_other_network(g, &e->to)) {
			item.kind = POLICY_MERGE_MEANING;
			item.conflict = true;
		} else if (found != NULL) {
			**found = *e;
		} else {
			p->edges[p->n_edges++] = *e;
		}
		return add_item(g, item);
	}
	if ((*found)->state == e->state && (*found)->expires_ns == e->expires_ns)
		return 0;
	item.kind = (*found)->state != e->state ? POLICY_MERGE_STATE : POLICY_MERGE_EXPIRY;
	item.conflict = true;
	if (g->take_theirs)
		**found = *e;
	return add_item(g, item);
}

static int
merge_edges(struct merge *g)
{
	struct policy *p = &g->m->policy;
	size_t n = g->ours->n_edges;
	int r = 0;

	p->edges = calloc(n + g->theirs->n_edges + 1, sizeof(*p->edges));
	g->by_id = calloc(n + 1, sizeof(*g->by_id));
	if (p->edges == NULL || g->by_id == NULL)
		return -ENOMEM;
	for (p->n_edges = 0; p->n_edges < n; p->n_edges++) {
		p->edges[p->n_edges] = g->ours->edges[p->n_edges];
		g->by_id[p->n_edges] = &p->edges[p->n_edges];
	}
	qsort(g->by_id, n, sizeof(*g->by_id), edge_compare);
	for (size_t i = 0; r == 0 && i < g->theirs->n_edges; i++)
		r = merge_edge(g, &g->theirs->edges[i]);
	return r;
}

static void
merge_done(struct merge *g)
{
	free(g->by_name);
	free(g->by_id);
}

int
policy_merge_new(const struct policy *ours, const struct policy *theirs, bool take_theirs,
    struct policy_merge **ret)
{
	_cleanup_(policy_merge_freep) struct policy_merge *m = calloc(1, sizeof(*m));
	_cleanup_(merge_done) struct merge g = {
		.m = m, .ours = ours, .theirs = theirs, .take_theirs = take_theirs
	};
	int r = m != NULL ? 0 : -ENOMEM;

	if (r == 0) {
		m->policy.name = ours->name;
		m->policy.revision = ours->revision;
		r = merge_networks(&g);
	}
	if (r == 0)
		r = merge_workloads(&g);
	if (r == 0)
		r = merge_edges(&g);
	if (r < 0)
		return r;
	if (m->policy.n_edges > POLICY_MAX_EDGES || m->policy.n_workloads > POLICY_MAX_WORKLOADS ||
	    m->policy.n_networks > POLICY_MAX_NETWORKS)
		return -E2BIG;
	*ret = steal_ptr(m);
	return 0;
}

void
policy_merge_free(struct policy_merge *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; m->policy.workloads != NULL && i < m->policy.n_workloads; i++)
		free(m->policy.workloads[i].labels);
	free(m->policy.networks);
	free(m->policy.workloads);
	free(m->policy.edges);
	free(m->items);
	free(m);
}
