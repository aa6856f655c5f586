/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * separateDuties: who approves is not who enforces. A change is refused if by it one person would
 * have both approved an edge of a workload and set the workload to enforce, in whichever order.
 * Persons are uids, as the decisions in the store have them.
 */
#include "daemon/segment_internal.h"

#include <errno.h>
#include <string.h>

static bool
is_by(const char *text, const struct actor *who)
{
	return text != NULL && strcmp(text, who->name) == 0;
}

/* What one person has done about a peer. */
struct done {
	const struct edge *approved;	 /* an edge of it; NULL: none */
	const struct workload *enforced; /* itself, if it is; NULL: not by them */
};

/* By peer. */
static struct done *
find_done(const struct controller *c, const struct actor *who)
{
	struct done *ret = calloc(peer_table_count(c->peers) + 2, sizeof(*ret));
	const struct edge *e;
	size_t pos = 0;

	while (ret != NULL && (e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->state == EDGE_APPROVED && is_by(e->decision.approved_by, who))
			ret[e->key.from].approved = ret[e->key.to].approved = e;
	for (const struct workload *w = c->workloads; ret != NULL && w != NULL; w = w->next)
		if (w->mode == MODE_ENFORCE && is_by(w->mode_by, who))
			ret[w->peer].enforced = w;
	return ret;
}

static int
check_mode(
    const struct done *done, const struct actor *who, const struct workload_undo *s, struct diag *d)
{
	const struct workload *w = s->workload;
	const struct edge *e = done[w->peer].approved;
	char safe[256];

	if (e == NULL || w->mode != MODE_ENFORCE ||
	    (s->mode == MODE_ENFORCE && s->direction == w->direction))
		return 0;
	text_escape(w->name, strlen(w->name), safe, sizeof(safe));
	diag_set(d, 0, 0,
	    "%s approved edge %s of %s: with separateDuties another person has to enforce it",
	    who->name, e->id, safe);
	return -EPERM;
}

static int
check_edge(
    const struct done *done, const struct actor *who, const struct edge_undo *s, struct diag *d)
{
	const struct edge *e = s->edge;
	const struct workload *w;
	char safe[256];

	if (e->state != EDGE_APPROVED || !is_by(e->decision.approved_by, who) ||
	    (s->state == EDGE_APPROVED && s->decision.decided_ns == e->decision.decided_ns))
		return 0;
	w = done[e->key.from].enforced;
	if (w == NULL)
		w = done[e->key.to].enforced;
	if (w == NULL)
		return 0;
	text_escape(w->name, strlen(w->name), safe, sizeof(safe));
	diag_set(d, 0, 0,
	    "%s set %s to enforce: with separateDuties another person has to approve edge %s",
	    who->name, safe, e->id);
	return -EPERM;
}

int
duties_check(
    const struct controller *c, const struct actor *who, const struct undo *u, struct diag *d)
{
	_cleanup_free_ struct done *done = NULL;
	int r = 0;

	if (!c->config->separate_duties || !who->is_process)
		return 0;
	done = find_done(c, who);
	if (done == NULL)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < u->n_workloads; i++)
		r = check_mode(done, who, &u->workloads[i], d);
	for (size_t i = 0; r == 0 && i < u->n_edges; i++)
		r = check_edge(done, who, &u->edges[i], d);
	return r;
}
