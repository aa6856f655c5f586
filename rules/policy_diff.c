/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The edges, workloads and networks in which two policies differ.
 *
 * Edges of the same id are the same edge. Of those that only one policy has, one that covers
 * another (rules/policy_cover.h) widens or narrows it; an edge that two others leave is what
 * remains: gained or lost. All of it is in the order of ids, so that equal policies give equal
 * differences however they are written.
 */
#include "rules/policy_diff.h"

#include "rules/policy_cover.h"

#include <errno.h>
#include <string.h>

struct side {
	const struct policy *p;
	const struct policy_edge **list; /* decided, by id */
	size_t n;
	bool *matched;		  /* the other policy has this edge in this state */
	struct edge_cover *cover; /* over list */
	size_t *partner;	  /* before: the one that widens it; after: the one it narrows */
	bool *taken;		  /* some edge of the other side has it as its partner */
};

#define NO_PARTNER SIZE_MAX

static void
side_done(struct side *s)
{
	free(s->list);
	free(s->matched);
	free(s->partner);
	free(s->taken);
	edge_cover_free(s->cover);
}

static int
edge_compare(const void *a, const void *b)
{
	const struct policy_edge *x = *(const struct policy_edge *const *)a;
	const struct policy_edge *y = *(const struct policy_edge *const *)b;

	return strcmp(x->id, y->id);
}

static int
side_init(struct side *s, const struct policy *p)
{
	s->p = p;
	s->list = calloc(p->n_edges + 1, sizeof(*s->list));
	s->matched = calloc(p->n_edges + 1, sizeof(*s->matched));
	s->taken = calloc(p->n_edges + 1, sizeof(*s->taken));
	s->partner = calloc(p->n_edges + 1, sizeof(*s->partner));
	if (s->list == NULL || s->matched == NULL || s->taken == NULL || s->partner == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_edges; i++) {
		s->partner[i] = NO_PARTNER;
		if (p->edges[i].state != EDGE_PENDING)
			s->list[s->n++] = &p->edges[i];
	}
	qsort(s->list, s->n, sizeof(*s->list), edge_compare);
	return edge_cover_new(p, s->list, s->n, &s->cover);
}

static void
add(struct policy_diff *d, enum policy_diff_kind kind, const struct policy_edge *before,
    const struct policy_edge *after, bool no_effect)
{
	d->edges[d->n_edges++] = (struct policy_diff_edge){ kind, before, after, no_effect };
}

/* Edges that both have: differences of state and of expiry. */
static void
match(struct side *a, struct side *b, struct policy_diff *d)
{
	for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
		int c = strcmp(a->list[i]->id, b->list[k]->id);

		if (c == 0) {
			const struct policy_edge *x = a->list[i], *y = b->list[k];

			a->matched[i] = b->matched[k] = true;
			if (x->state != y->state)
				add(d, POLICY_DIFF_REVERSED, x, y, false);
			else if (x->expires_ns != y->expires_ns)
				add(d, POLICY_DIFF_EXPIRY, x, y, false);
		}
		i += c <= 0;
		k += c >= 0;
	}
}

struct nearest {
	const struct side *in;
	size_t best;
};

static uint32_t
span(const struct policy_edge *e)
{
	return (uint32_t)(e->port_hi - e->port_lo);
}

/* Of several that cover an edge: the one with the fewest ports, then the first. */
static bool
take_nearest(void *arg, size_t i)
{
	struct nearest *n = arg;

	if (!n->in->matched[i] &&
	    (n->best == NO_PARTNER || span(n->in->list[i]) < span(n->in->list[n->best])))
		n->best = i;
	return true;
}

static void
find_partners(struct side *of, struct side *in)
{
	for (size_t i = 0; i < of->n; i++) {
		struct nearest n = { in, NO_PARTNER };

		if (of->matched[i] || of->taken[i])
			continue;
		edge_cover_find(in->cover, of->cover, i, EDGE_COVER_LOOSE, take_nearest, &n);
		of->partner[i] = n.best;
		if (n.best != NO_PARTNER)
			in->taken[n.best] = true;
	}
}

/* All that edge i of `of` says is said in s too, or a denial there has it all. */
static bool
is_moot(const struct side *s, const struct side *of, size_t i)
{
	return edge_cover_all(s->cover, of->cover, i, of->list[i]->state);
}

static bool
is_denied(const struct side *s, size_t i)
{
	return s->list[i]->state == EDGE_APPROVED &&
	       edge_cover_all(s->cover, s->cover, i, EDGE_DENIED);
}

static void
add_pair(struct policy_diff *d, struct side *a, size_t before, struct side *b, size_t after,
    enum policy_diff_kind kind)
{
	bool widened = kind == POLICY_DIFF_WIDENED, same;

	/* Another way to write the same: an address and its prefix, a network by another name. */
	same = widened && edge_cover_one(a->cover, before, b->cover, after);
	if (same)
		return;
	add(d, kind, a->list[before], b->list[after],
	    widened ? is_moot(a, b, after) || is_denied(b, after)
		    : is_moot(b, a, before) || is_denied(a, before));
}

static void
add_unmatched(struct policy_diff *d, struct side *a, struct side *b)
{
	for (size_t i = 0; i < a->n; i++) {
		if (a->matched[i])
			continue;
		if (a->partner[i] != NO_PARTNER)
			add_pair(d, a, i, b, a->partner[i], POLICY_DIFF_WIDENED);
		else if (!a->taken[i])
			add(d, POLICY_DIFF_LOST, a->list[i], NULL,
			    is_moot(b, a, i) || is_denied(a, i));
	}
	for (size_t i = 0; i < b->n; i++) {
		if (b->matched[i] || b->taken[i])
			continue;
		if (b->partner[i] != NO_PARTNER)
			add_pair(d, a, b->partner[i], b, i, POLICY_DIFF_NARROWED);
		else
			add(d, POLICY_DIFF_GAINED, NULL, b->list[i],
			    is_moot(a, b, i) || is_denied(b, i));
	}
}

static int
entry_compare(const void *a, const void *b)
{
	const struct policy_diff_edge *x = a, *y = b;
	int c = strcmp((x->after != NULL ? x->after : x->before)->id,
	    (y->after != NULL ? y->after : y->before)->id);

	if (c == 0 && x->before != NULL && y->before != NULL)
		c = strcmp(x->before->id, y->before->id);
	return c;
}

static int
diff_edges(struct side *a, struct side *b, struct policy_diff *d)
{
	/* One for each edge of either at most. */
	d->edges = calloc(a->n + b->n + 1, sizeof(*d->edges));
	if (d->edges == NULL)
		return -ENOMEM;
	match(a, b, d);
	find_partners(a, b);
	find_partners(b, a);
	add_unmatched(d, a, b);
	qsort(d->edges, d->n_edges, sizeof(*d->edges), entry_compare);
	d->gave_up = edge_cover_gave_up(a->cover) || edge_cover_gave_up(b->cover);
	return 0;
}

const char *
policy_label_value(const struct policy_label *list, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].key, key) == 0)
			return list[i].value;
	return NULL;
}

static bool
labels_differ(const struct policy_workload *x, const struct policy_workload *y)
{
	size_t n_x = x != NULL ? x->n_labels : 0, n_y = y != NULL ? y->n_labels : 0;

	if (n_x != n_y)
		return true;
	for (size_t i = 0; i < n_x; i++) {
		const char *v = policy_label_value(y->labels, n_y, x->labels[i].key);

		if (v == NULL || strcmp(v, x->labels[i].value) != 0)
			return true;
	}
	return false;
}

static bool
images_differ(const struct policy_workload *x, const struct policy_workload *y)
{
	if (x == NULL || y == NULL || x->n_images == 0 || y->n_images == 0)
		return false;
	if (x->n_images != y->n_images)
		return true;
	for (size_t i = 0; i < x->n_images; i++) {
		size_t k = 0;

		while (k < y->n_images && strcmp(x->images[i], y->images[k]) != 0)
			k++;
		if (k == y->n_images)
			return true;
	}
	return false;
}

/* Names by which two lists are gone through side by side. */
struct named {
	const char *name;
	const void *value;
};

static int
named_compare(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static struct named *
workload_names(const struct policy *p)
{
	struct named *list = calloc(p->n_workloads + 1, sizeof(*list));

	for (size_t i = 0; list != NULL && i < p->n_workloads; i++)
		list[i] = (struct named){ p->workloads[i].name, &p->workloads[i] };
	if (list != NULL)
		qsort(list, p->n_workloads, sizeof(*list), named_compare);
	return list;
}

static struct named *
network_names(const struct policy *p)
{
	struct named *list = calloc(p->n_networks + 1, sizeof(*list));

	for (size_t i = 0; list != NULL && i < p->n_networks; i++)
		list[i] = (struct named){ p->networks[i].name, &p->networks[i] };
	if (list != NULL)
		qsort(list, p->n_networks, sizeof(*list), named_compare);
	return list;
}

/* The next name of either list; *x and *y are what each has by that name, or NULL. */
static const char *
next_named(const struct named **a, const struct named *a_end, const struct named **b,
    const struct named *b_end, const void **x, const void **y)
{
	const char *name;
	int c;

	if (*a == a_end && *b == b_end)
		return NULL;
	c = *a == a_end ? 1 : *b == b_end ? -1 : strcmp((*a)->name, (*b)->name);
	name = c <= 0 ? (*a)->name : (*b)->name;
	*x = c <= 0 ? (*a)++->value : NULL;
	*y = c >= 0 ? (*b)++->value : NULL;
	return name;
}

static void
add_workload(struct policy_diff *d, const char *name, const struct policy_workload *x,
    const struct policy_workload *y)
{
	enum wl_mode m_x = x != NULL ? x->mode : MODE_OBSERVE;
	enum wl_mode m_y = y != NULL ? y->mode : MODE_OBSERVE;
	struct policy_diff_workload w = { .name = name, .before = x, .after = y };

	/* Observe governs neither direction. */
	w.mode = m_x != m_y || (m_x != MODE_OBSERVE && x->direction != y->direction);
	w.labels = labels_differ(x, y);
	w.images = images_differ(x, y);
	if (w.mode || w.labels || w.images)
		d->workloads[d->n_workloads++] = w;
}

static int
diff_workloads(const struct policy *a, const struct policy *b, struct policy_diff *d)
{
	_cleanup_free_ struct named *list_a = workload_names(a), *list_b = workload_names(b);
	const struct named *i = list_a, *k = list_b;
	const void *x, *y;
	const char *name;

	d->workloads = calloc(a->n_workloads + b->n_workloads + 1, sizeof(*d->workloads));
	if (d->workloads == NULL || list_a == NULL || list_b == NULL)
		return -ENOMEM;
	while ((name = next_named(
		    &i, list_a + a->n_workloads, &k, list_b + b->n_workloads, &x, &y)) != NULL)
		add_workload(d, name, x, y);
	return 0;
}

static bool
prefixes_cover(const struct policy_network *by, const struct policy_network *of)
{
	return of == NULL || of->n_prefixes == 0 ||
	       (by != NULL && prefixes_cover_prefixes(
				  by->prefixes, by->n_prefixes, of->prefixes, of->n_prefixes));
}

static size_t
count_users(const struct side *s, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct policy_edge *e = s->list[i];

		n += s->matched[i] &&
		     ((e->from.kind == PEER_NETWORK && strcmp(e->from.name, name) == 0) ||
			 (e->to.kind == PEER_NETWORK && strcmp(e->to.name, name) == 0));
	}
	return n;
}

static int
diff_networks(const struct side *a, const struct side *b, struct policy_diff *d)
{
	_cleanup_free_ struct named *list_a = network_names(a->p), *list_b = network_names(b->p);
	const struct named *i = list_a, *k = list_b;
	const void *x, *y;
	const char *name;

	d->networks = calloc(a->p->n_networks + b->p->n_networks + 1, sizeof(*d->networks));
	if (d->networks == NULL || list_a == NULL || list_b == NULL)
		return -ENOMEM;
	while ((name = next_named(&i, list_a + a->p->n_networks, &k, list_b + b->p->n_networks, &x,
		    &y)) != NULL) {
		struct policy_diff_network n = { .name = name, .before = x, .after = y };

		n.gained = !prefixes_cover(x, y);
		n.lost = !prefixes_cover(y, x);
		if (!n.gained && !n.lost)
			continue;
		n.n_edges = count_users(b, name);
		d->networks[d->n_networks++] = n;
	}
	return 0;
}

int
policy_diff_new(const struct policy *a, const struct policy *b, struct policy_diff **ret)
{
	_cleanup_(policy_diff_freep) struct policy_diff *d = calloc(1, sizeof(*d));
	_cleanup_(side_done) struct side before = { 0 }, after = { 0 };
	int r = d != NULL ? side_init(&before, a) : -ENOMEM;

	if (r == 0)
		r = side_init(&after, b);
	if (r == 0)
		r = diff_edges(&before, &after, d);
	if (r == 0)
		r = diff_workloads(a, b, d);
	if (r == 0)
		r = diff_networks(&before, &after, d);
	if (r == 0)
		*ret = steal_ptr(d);
	return r;
}

void
policy_diff_free(struct policy_diff *d)
{
	if (d == NULL)
		return;
	free(d->edges);
	free(d->workloads);
	free(d->networks);
	free(d);
}

bool
policy_diff_is_empty(const struct policy_diff *d)
{
	return d->n_edges == 0 && d->n_workloads == 0 && d->n_networks == 0;
}

const char *
policy_diff_kind_name(enum policy_diff_kind k)
{
	static const char *const names[] = { "gained", "lost", "widened", "narrowed", "reversed",
		"expiry" };

	return (size_t)k < ARRAY_SIZE(names) ? names[k] : NULL;
}
