/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forgetting workloads: those without an instance for idleExpiry, and, where the table is full, the
 * ones idle for longest. Only what nobody decided anything about goes, with its pending edges: an
 * observed workload whose mode no person and no policy file has chosen, without a decided edge,
 * labels or a second accepted image. The names of the forgotten stay interned while the daemon
 * runs, so that nothing that still speaks of them means another.
 */
#include "daemon/aside.h"
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/log.h"
#include "daemon/roster.h"
#include "daemon/store.h"

#include <errno.h>
#include <string.h>

#define LOOK_EVERY_NS (10 * NSEC_PER_SEC)
#define ASK_EVERY_NS NSEC_PER_SEC
#define SAY_EVERY_NS (60 * NSEC_PER_SEC)
#define MAX_GRACE_NS (3600 * NSEC_PER_SEC)
#define ROOM 64 /* made at once: each time costs a walk over all edges */

static bool
is_decided(const struct workload *w)
{
	return w->mode != MODE_OBSERVE || w->mode_reason != NULL || w->auto_promoted ||
	       w->n_labels > 0 || w->n_selector > 0 || w->n_images > 1;
}

/* By peer id: workloads with an edge that somebody decided about, or once did. */
static bool *
decided_peers(const struct controller *c)
{
	bool *decided = calloc(peer_table_count(c->peers) + 2, sizeof(bool));
	size_t pos = 0;
	const struct edge *e;

	while (decided != NULL && (e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->state != EDGE_PENDING || (e->flags & EDGE_FLAG_WITHDRAWN) != 0)
			decided[e->key.from] = decided[e->key.to] = true;
	return decided;
}

static int
by_last_seen(const void *x, const void *y)
{
	const struct workload *a = *(struct workload *const *)x;
	const struct workload *b = *(struct workload *const *)y;

	return a->last_seen_ns < b->last_seen_ns ? -1 : a->last_seen_ns > b->last_seen_ns;
}

/* Those that may go and were last seen before then, idle for longest first. */
static struct workload **
find_idle(const struct controller *c, uint64_t before_ns, size_t *ret_n)
{
	struct workload **list = calloc(c->n_workloads + 1, sizeof(*list));
	_cleanup_free_ bool *decided = decided_peers(c);
	size_t n = 0;

	*ret_n = 0;
	if (list == NULL || decided == NULL) {
		free(list);
		return NULL;
	}
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		if (w->instances == NULL && w->n_hosted == 0 && w->last_seen_ns <= before_ns &&
		    !is_decided(w) && !decided[w->peer])
			list[n++] = w;
	qsort(list, n, sizeof(*list), by_last_seen);
	*ret_n = n;
	return list;
}

static int
delete_stored(struct controller *c, struct workload *const *list, size_t n, const bool *gone)
{
	size_t pos = 0;
	const struct edge *e;
	int r = store_begin(c->store);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = store_delete_workload(c->store, list[i]->name);
	while (r == 0 && (e = edge_table_next(c->edges, &pos)) != NULL)
		if (gone[e->key.from] || gone[e->key.to])
			r = store_delete_edge(c->store, e->id);
	if (r == 0)
		r = store_commit(c->store);
	if (r < 0)
		store_rollback(c->store);
	return r;
}

static int
forget(struct controller *c, struct workload *const *list, size_t n)
{
	_cleanup_free_ bool *gone = calloc(peer_table_count(c->peers) + 2, sizeof(bool));
	size_t pos = 0;
	struct edge *e;
	int r = gone != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < n; i++)
		gone[list[i]->peer] = true;
	if (r == 0 && c->store != NULL)
		r = delete_stored(c, list, n, gone);
	if (r < 0) {
		log_warn("idle workloads are not forgotten, trying again: %s", strerror(-r));
		return r;
	}
	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		if (gone[e->key.from] || gone[e->key.to])
			edge_table_remove(c->edges, e);
	for (size_t i = 0; i < n; i++) {
		char safe[PEER_STRLEN];

		text_escape(list[i]->name, strlen(list[i]->name), safe, sizeof(safe));
		log_info("workload %s: idle, nothing decided about it: forgotten", safe);
		workload_remove(c, list[i]);
	}
	enforce_schedule(c);
	return 0;
}

void
workload_expire_tick(struct controller *c)
{
	uint64_t expiry = c->config->idle_expiry_ns, now = now_real();
	_cleanup_free_ struct workload **list = NULL;
	size_t n;

	if (c->changing || expiry == 0 || !c->scanned ||
	    now_mono() - c->expired_ns < MIN(LOOK_EVERY_NS, expiry))
		return;
	/* What ran while the daemon was away gets the time to come back, and the clock to be set.
	 */
	if (c->expired_ns == 0) {
		c->expired_ns = now_mono() + MIN(expiry, MAX_GRACE_NS);
		return;
	}
	if (now_mono() < c->expired_ns || now < expiry)
		return;
	c->expired_ns = now_mono();
	list = find_idle(c, now - expiry, &n);
	if (n > 0)
		forget(c, list, n);
}

bool
workload_make_room(struct controller *c, size_t n)
{
	_cleanup_free_ struct workload **list = NULL;
	size_t idle;

	if (c->n_workloads + n <= CTL_MAX_WORKLOADS)
		return true;
	if (c->changing && !aside_here())
		return false;
	/* Who finds no place asks again all the time. */
	if (c->refused_ns != 0 && now_mono() - c->refused_ns < ASK_EVERY_NS)
		return false;
	list = find_idle(c, UINT64_MAX, &idle);
	if (idle > 0)
		forget(c, list, MIN(idle, MAX(n, (size_t)ROOM)));
	if (c->n_workloads + n <= CTL_MAX_WORKLOADS)
		return true;
	c->workloads_refused++;
	c->refused_ns = now_mono();
	if (c->refused_logged_ns != 0 && now_mono() - c->refused_logged_ns < SAY_EVERY_NS)
		return false;
	c->refused_logged_ns = now_mono();
	log_error("there are %zu workloads, and each one runs or something was decided about it: "
		  "another one finds no place, and gets no rules",
	    c->n_workloads);
	return false;
}
