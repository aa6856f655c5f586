/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of everything that a change may touch, as it was before. */
#include "daemon/aside.h"
#include "daemon/roster.h"
#include "daemon/segment_internal.h"

#include <errno.h>
#include <string.h>

void
undo_start(struct undo *u)
{
	*u = (struct undo){ 0 };
}

/* Room for one more in a list that grows by doubling. */
static int
reserve(void **list, size_t n, size_t size)
{
	void *grown;

	if (n != 0 && (n < 16 || (n & (n - 1)) != 0))
		return 0;
	grown = reallocarray(*list, MAX((size_t)16, n * 2), size);
	if (grown == NULL)
		return -ENOMEM;
	*list = grown;
	return 0;
}

struct workload *
undo_get_workload(struct undo *u, struct controller *c, const char *name)
{
	struct workload *w = workload_find(c, name);

	if (w != NULL || reserve((void **)&u->made, u->n_made, sizeof(*u->made)) < 0)
		return w;
	w = workload_get(c, name);
	if (w != NULL)
		u->made[u->n_made++] = w;
	return w;
}

static void
decision_free(struct edge_decision *d)
{
	free(d->reason);
	free(d->ticket);
	free(d->approved_by);
	free(d->kept_by);
}

int
undo_save_edge(struct undo *u, struct edge *e, bool created)
{
	struct edge_undo saved = { .edge = e,
		.created = created,
		.dirty = e->dirty,
		.state = e->state,
		.flags = e->flags,
		.last_seen_ns = e->evidence.last_seen_ns };
	int r = reserve((void **)&u->edges, u->n_edges, sizeof(*u->edges));

	saved.decision.decided_ns = e->decision.decided_ns;
	saved.decision.expires_ns = e->decision.expires_ns;
	saved.decision.kept_ns = e->decision.kept_ns;
	if (r == 0)
		r = text_copy(e->decision.reason, &saved.decision.reason);
	if (r == 0)
		r = text_copy(e->decision.ticket, &saved.decision.ticket);
	if (r == 0)
		r = text_copy(e->decision.approved_by, &saved.decision.approved_by);
	if (r == 0)
		r = text_copy(e->decision.kept_by, &saved.decision.kept_by);
	if (r < 0) {
		decision_free(&saved.decision);
		return r;
	}
	u->edges[u->n_edges++] = saved;
	return 0;
}

static void
workload_undo_free(struct workload_undo *s)
{
	free(s->mode_reason);
	free(s->mode_by);
	labels_free(s->labels, s->n_labels);
	labels_free(s->selector, s->n_selector);
	texts_free(s->images, s->n_images);
}

int
undo_save_workload(struct undo *u, const struct workload *w)
{
	struct workload_undo saved = { .workload = (struct workload *)w,
		.mode = w->mode,
		.direction = w->direction,
		.mode_since_ns = w->mode_since_ns,
		.dirty = w->dirty,
		.auto_promoted = w->auto_promoted,
		.rolled_back = w->rolled_back };
	int r = reserve((void **)&u->workloads, u->n_workloads, sizeof(*u->workloads));

	if (r == 0)
		r = text_copy(w->mode_reason, &saved.mode_reason);
	if (r == 0)
		r = text_copy(w->mode_by, &saved.mode_by);
	if (r == 0)
		r = labels_copy(w->labels, w->n_labels, &saved.labels);
	if (r == 0) {
		saved.n_labels = w->n_labels;
		r = labels_copy(w->selector, w->n_selector, &saved.selector);
	}
	if (r == 0) {
		saved.n_selector = w->n_selector;
		r = texts_copy(w->images, w->n_images, &saved.images);
	}
	if (r < 0) {
		workload_undo_free(&saved);
		return r;
	}
	saved.n_images = w->n_images;
	u->workloads[u->n_workloads++] = saved;
	return 0;
}

void
undo_save_networks(struct undo *u, struct controller *c)
{
	u->networks = c->networks;
	u->n_networks = c->n_networks;
	u->has_networks = true;
	c->networks = NULL;
	c->n_networks = 0;
}

static int
pointer_cmp(const void *x, const void *y)
{
	const struct edge *a = *(struct edge *const *)x, *b = *(struct edge *const *)y;

	return a < b ? -1 : a > b;
}

size_t
undo_count_edges(const struct undo *u)
{
	_cleanup_free_ const struct edge **list = calloc(u->n_edges + 1, sizeof(void *));
	size_t n = 0;

	if (list == NULL)
		return u->n_edges;
	for (size_t i = 0; i < u->n_edges; i++)
		list[i] = u->edges[i].edge;
	qsort(list, u->n_edges, sizeof(void *), pointer_cmp);
	for (size_t i = 0; i < u->n_edges; i++)
		n += i == 0 || list[i] != list[i - 1];
	return n;
}

static void
restore_edge(struct controller *c, struct edge_undo *s)
{
	if (s->created) {
		edge_table_remove(c->edges, s->edge);
		return;
	}
	s->edge->flags = s->flags;
	/* Without texts to copy this allocates nothing: the place among the decided was there. */
	edge_decide(c->edges, s->edge, s->state, NULL);
	s->edge->decision = s->decision;
	s->decision = (struct edge_decision){ 0 };
	s->edge->dirty = s->dirty || s->edge->evidence.last_seen_ns != s->last_seen_ns;
}

static void
restore_workload(struct workload_undo *s)
{
	struct workload *w = s->workload;

	free(w->mode_reason);
	free(w->mode_by);
	labels_free(w->labels, w->n_labels);
	labels_free(w->selector, w->n_selector);
	w->mode = s->mode;
	w->direction = s->direction;
	w->mode_since_ns = s->mode_since_ns;
	w->mode_reason = steal_ptr(s->mode_reason);
	w->mode_by = steal_ptr(s->mode_by);
	w->labels = steal_ptr(s->labels);
	w->selector = steal_ptr(s->selector);
	w->n_labels = s->n_labels;
	w->n_selector = s->n_selector;
	texts_free(w->images, w->n_images);
	w->images = steal_ptr(s->images);
	w->n_images = s->n_images;
	w->dirty = s->dirty;
	w->auto_promoted = s->auto_promoted;
	w->rolled_back = s->rolled_back;
}

/* But for those that somebody has begun to run meanwhile. */
static void
remove_made(struct undo *u, struct controller *c)
{
	for (size_t i = 0; i < u->n_made; i++)
		if (u->made[i]->instances == NULL && u->made[i]->n_hosted == 0)
			workload_remove(c, u->made[i]);
}

/* Backwards: what was touched twice was saved twice. */
void
undo_roll_back(struct undo *u, struct controller *c)
{
	for (size_t i = u->n_edges; i > 0; i--) {
		restore_edge(c, &u->edges[i - 1]);
		aside_pause();
	}
	for (size_t i = u->n_workloads; i > 0; i--)
		restore_workload(&u->workloads[i - 1]);
	remove_made(u, c);
	if (u->has_networks) {
		networks_free(c->networks, c->n_networks);
		c->networks = u->networks;
		c->n_networks = u->n_networks;
		u->networks = NULL;
		u->n_networks = 0;
	}
	edge_table_drop_aliases(c->edges);
}

void
undo_done(struct undo *u)
{
	for (size_t i = 0; i < u->n_edges; i++) {
		decision_free(&u->edges[i].decision);
		aside_pause();
	}
	for (size_t i = 0; i < u->n_workloads; i++)
		workload_undo_free(&u->workloads[i]);
	free(u->edges);
	free(u->workloads);
	free(u->made);
	networks_free(u->networks, u->n_networks);
}
