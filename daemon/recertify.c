/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recertification: a person looks at an approval again and lets it stand. That is no revision: what
 * is in force does not change. It is on record and stored with the edge, and a new decision about
 * the edge forgets it. What nobody has decided or kept for recertifyAfter is overdue, and no more
 * than that: an approval does not lapse by itself.
 */
#include "daemon/promote.h"
#include "daemon/segment.h"
#include "daemon/segment_internal.h"
#include "daemon/store.h"
#include "rules/json.h"

#include <errno.h>
#include <string.h>

uint64_t
recertify_due_ns(const struct controller *c, const struct edge *e)
{
	uint64_t since = MAX(e->decision.decided_ns, e->decision.kept_ns);

	if (c->config->recertify_after_ns == 0 || e->state != EDGE_APPROVED)
		return 0;
	return since + c->config->recertify_after_ns;
}

json_t *
recertify_to_json(const struct controller *c)
{
	json_int_t approved = 0, overdue = 0;
	uint64_t now = now_real(), next = 0;
	const struct edge *e;
	size_t pos = 0;

	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		uint64_t due = recertify_due_ns(c, e);

		if (e->state != EDGE_APPROVED || !segment_edge_selected(c, e))
			continue;
		approved++;
		overdue += due != 0 && due <= now;
		if (due > now && (next == 0 || due < next))
			next = due;
	}
	return json_pack("{s:I, s:I, s:I, s:o}", "afterSeconds",
	    (json_int_t)(c->config->recertify_after_ns / NSEC_PER_SEC), "approved", approved,
	    "overdue", overdue, "next", json_time(next));
}

static int
keep(struct controller *c, struct undo *u, const char *id, const struct actor *who, struct diag *d)
{
	struct edge *e = edge_table_find_id(c->edges, id);
	char safe[64];
	int r;

	text_escape(id, strlen(id), safe, sizeof(safe));
	if (e == NULL || !segment_edge_selected(c, e)) {
		diag_set(d, 0, 0, "no edge has the id %s", safe);
		return -ENOENT;
	}
	if (e->state != EDGE_APPROVED) {
		diag_set(d, 0, 0, "%s is not approved: there is nothing to keep", safe);
		return -EINVAL;
	}
	r = undo_save_edge(u, e, false);
	return r == 0 ? edge_keep(e, who->name, now_real()) : r;
}

static int
put_on_record(struct controller *c, const struct undo *u, struct audit_record rec, struct diag *d)
{
	if (c->audit == NULL)
		return 0;
	rec.subject = change_subject(c, u);
	rec.after = revision_json(c->revision, c->policy_digest);
	return audit_write(c->audit, &rec, d);
}

/* On record before it is stored, like every decision. */
static int
commit(struct controller *c, const struct undo *u, struct audit_record *rec, struct diag *d)
{
	struct diag ignored;
	int r = store_begin(c->store);

	for (size_t i = 0; r == 0 && i < u->n_edges; i++)
		r = store_put_edge(c->store, c->peers, u->edges[i].edge);
	if (r == 0)
		r = put_on_record(c, u, *rec, d);
	if (r < 0) {
		store_rollback(c->store);
		return r;
	}
	r = store_commit(c->store);
	if (r < 0) {
		store_rollback(c->store);
		rec->result = "failed: not stored";
		put_on_record(c, u, *rec, &ignored);
	}
	return r;
}

int
recertify(struct controller *c, const char *const *ids, size_t n, const char *reason,
    const char *ticket, const struct actor *who, struct diag *d, size_t *ret_kept)
{
	struct audit_record rec = {
		.event = "recertify", .who = who, .reason = reason, .ticket = ticket
	};
	struct undo u;
	int r = 0;

	undo_start(&u);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = keep(c, &u, ids[i], who, d);
	if (r == 0)
		r = commit(c, &u, &rec, d);
	if (r < 0) {
		undo_roll_back(&u, c);
		if (d->msg[0] == '\0')
			diag_set(d, 0, 0, "not stored, nothing is changed: %s", strerror(-r));
	} else {
		*ret_kept = undo_count_edges(&u);
	}
	undo_done(&u);
	return r;
}
