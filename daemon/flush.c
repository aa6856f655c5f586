/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Evidence to the store: what was observed since the last time, in one transaction. Decisions do
 * not come this way (segment.c): they are durable before they are acknowledged.
 */
#include "daemon/controller.h"
#include "daemon/denial.h"
#include "daemon/history.h"
#include "daemon/promote.h"
#include "daemon/roster.h"
#include "daemon/start.h"
#include "daemon/store.h"

void
flush_folded(void *arg, const struct edge *gone, const struct edge *into)
{
	struct controller *c = arg;

	(void)into;
	history_fold(c->history, gone, c->peers);
	if (c->n_folded == c->folded_cap) {
		size_t cap = c->folded_cap != 0 ? c->folded_cap * 2 : 64;
		uint64_t *folded = reallocarray(c->folded, cap, sizeof(*folded));

		/* It stays in the store, and is folded again at the next start. */
		if (folded == NULL)
			return;
		c->folded = folded;
		c->folded_cap = cap;
	}
	c->folded[c->n_folded++] = edge_id_number(gone);
}

static bool
has_unsaved(struct controller *c)
{
	size_t pos = 0;
	struct edge *e;

	if (denial_unsaved(c->denials) || c->exposures_unsaved > 0 || c->n_folded > 0)
		return true;
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		if (w->dirty)
			return true;
	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->dirty)
			return true;
	return false;
}

static int
write_all(struct controller *c)
{
	size_t pos = 0;
	struct edge *e;
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n_folded; i++) {
		char id[EDGE_ID_STRLEN];

		edge_id_format(c->folded[i], id);
		r = store_delete_edge(c->store, id);
	}
	while (r == 0 && (e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->dirty)
			r = store_put_edge(c->store, c->peers, e);
	for (struct workload *w = c->workloads; r == 0 && w != NULL; w = w->next)
		if (w->dirty)
			r = store_put_workload(c->store, w);
	if (r == 0)
		r = exposure_save(c);
	return r == 0 ? denial_save(c) : r;
}

int
flush_evidence(struct controller *c)
{
	size_t pos = 0;
	struct edge *e;
	int r;

	complete_count_windows(c);
	if (!has_unsaved(c)) {
		c->edges_stored = edge_table_count(c->edges);
		return 0;
	}
	r = store_begin(c->store);
	if (r == 0)
		r = write_all(c);
	if (r == 0)
		r = store_commit(c->store);
	if (r < 0) {
		store_rollback(c->store);
		return r;
	}
	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		e->dirty = false;
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		w->dirty = false;
	denial_saved(c->denials);
	c->n_folded = 0;
	c->exposures_unsaved = 0;
	c->edges_stored = edge_table_count(c->edges);
	return 0;
}
