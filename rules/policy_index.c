/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which edges of a policy may concern a workload, so that compile looks at those alone: the edges
 * that name it, and those with an end that is a set of addresses, of which it may have one.
 */
#include "rules/policy_internal.h"

#include <errno.h>
#include <string.h>

struct named {
	const char *name; /* of the policy's edge */
	size_t edge;
};

struct policy_index {
	struct named *named; /* sorted by name, then edge */
	size_t n_named;
	size_t *sets; /* edges, ascending */
	size_t n_sets;
};

void
policy_index_free(struct policy_index *x)
{
	if (x == NULL)
		return;
	free(x->named);
	free(x->sets);
	free(x);
}

static int
compare(const void *va, const void *vb)
{
	const struct named *a = va, *b = vb;
	int c = strcmp(a->name, b->name);

	return c != 0 ? c : (a->edge > b->edge) - (a->edge < b->edge);
}

/* Ends that a workload may be without being named. The internet has no address of one. */
static bool
is_set(const struct peer *p)
{
	return p->kind == PEER_CIDR || p->kind == PEER_ADDR || p->kind == PEER_NETWORK ||
	       p->kind == PEER_HOST;
}

int
policy_index(struct policy *p)
{
	struct policy_index *x = calloc(1, sizeof(*x));

	if (x != NULL) {
		x->named = calloc(2 * p->n_edges + 1, sizeof(*x->named));
		x->sets = calloc(p->n_edges + 1, sizeof(*x->sets));
	}
	if (x == NULL || x->named == NULL || x->sets == NULL) {
		policy_index_free(x);
		return -ENOMEM;
	}
	for (size_t i = 0; i < p->n_edges; i++) {
		const struct peer *from = &p->edges[i].from, *to = &p->edges[i].to;

		if (is_set(from) || is_set(to)) {
			x->sets[x->n_sets++] = i;
			continue;
		}
		if (from->kind == PEER_WORKLOAD)
			x->named[x->n_named++] = (struct named){ from->name, i };
		if (to->kind == PEER_WORKLOAD &&
		    (from->kind != PEER_WORKLOAD || strcmp(from->name, to->name) != 0))
			x->named[x->n_named++] = (struct named){ to->name, i };
	}
	qsort(x->named, x->n_named, sizeof(*x->named), compare);
	policy_index_free(p->index);
	p->index = x;
	return 0;
}

static size_t
first_named(const struct policy_index *x, const char *name)
{
	size_t lo = 0, hi = x->n_named;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(x->named[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct policy_walk
policy_walk_edges(const struct policy *p, const char *workload)
{
	struct policy_walk w = { .policy = p, .workload = workload };

	if (p->index != NULL)
		w.named = first_named(p->index, workload);
	return w;
}

const struct policy_edge *
policy_walk_next(struct policy_walk *w)
{
	const struct policy_index *x = w->policy->index;
	size_t named = SIZE_MAX, set = SIZE_MAX;

	if (x == NULL)
		return w->edge < w->policy->n_edges ? &w->policy->edges[w->edge++] : NULL;
	if (w->named < x->n_named && strcmp(x->named[w->named].name, w->workload) == 0)
		named = x->named[w->named].edge;
	if (w->edge < x->n_sets)
		set = x->sets[w->edge];
	if (named == SIZE_MAX && set == SIZE_MAX)
		return NULL;
	if (named < set) {
		w->named++;
		return &w->policy->edges[named];
	}
	w->edge++;
	return &w->policy->edges[set];
}
