/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segmentation: what was decided. Every change is one transaction: it is written to the store with
 * a new revision, synced, and only then acknowledged and handed to enforcement. If the store
 * refuses, memory is put back as it was and nothing changes.
 */
#include "daemon/denial.h"
#include "daemon/enforce.h"
#include "daemon/gate.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/promote.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/segment_internal.h"
#include "daemon/store.h"

#include <errno.h>
#include <string.h>

/* On record before it is stored: nothing changes without. */
static int
record_change(struct controller *c, const struct change *ch, const char *digest,
    const char *failure, struct diag *d)
{
	bool failed = failure != NULL;
	json_t *before = revision_json(c->revision - 1, c->policy_digest);
	struct audit_record r = { .event = ch->action,
		.who = ch->who,
		.reason = ch->reason,
		.ticket = ch->ticket,
		.before = before,
		.after = failed ? json_incref(before) : revision_json(c->revision, digest),
		.result = failure };

	if (c->audit == NULL) {
		json_decref(r.before);
		json_decref(r.after);
		return 0;
	}
	r.subject = change_subject(c, ch->undo);
	return audit_write(c->audit, &r, d);
}

static int
put_revision(struct controller *c, const struct change *ch, const char *text)
{
	struct store_revision rev = { .number = c->revision,
		.time_ns = now_real(),
		.actor = ch->who->name,
		.action = ch->action,
		.reason = ch->reason,
		.policy_json = text };
	size_t pos = 0;
	struct edge *e;
	int r = store_begin(c->store);

	while (r == 0 && (e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->dirty)
			r = store_put_edge(c->store, c->peers, e);
	for (struct workload *w = c->workloads; r == 0 && w != NULL; w = w->next)
		if (w->dirty)
			r = store_put_workload(c->store, w);
	if (r == 0)
		r = store_put_networks(c->store, c->networks, c->n_networks);
	return r == 0 ? store_put_revision(c->store, &rev) : r;
}

/* Writes all that is dirty, the audit record and the revision's own, durably. */
static int
commit_revision(
    struct controller *c, const struct change *ch, const struct policy *p, struct diag *d)
{
	_cleanup_free_ char *text = NULL;
	json_t *tree = policy_to_json(p);
	char digest[AUDIT_HASH_STRLEN];
	struct diag ignored;
	int r;

	text = tree != NULL ? json_dumps(tree, JSON_COMPACT) : NULL;
	json_decref(tree);
	if (text == NULL)
		return -ENOMEM;
	audit_digest(text, strlen(text), digest);
	r = put_revision(c, ch, text);
	if (r == 0)
		r = record_change(c, ch, digest, NULL, d);
	if (r < 0) {
		store_rollback(c->store);
		return r;
	}
	r = store_commit(c->store);
	if (r < 0) {
		store_rollback(c->store);
		record_change(c, ch, digest, "failed: not stored", &ignored);
		return r;
	}
	memcpy(c->policy_digest, digest, sizeof(digest));
	refusal_keep_policy(c, text);
	return 0;
}

static void
clear_dirty(struct controller *c)
{
	size_t pos = 0;
	struct edge *e;

	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		e->dirty = false;
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		w->dirty = false;
}

int
segment_finish(struct controller *c, const struct change *ch, struct diag *d)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	int r;

	if (c->confirm.pending && !ch->restores) {
		diag_set(d, 0, 0,
		    "revision %llu awaits confirmation: nanoseg confirm or nanoseg rollback first",
		    (unsigned long long)c->confirm.revision);
		return -EBUSY;
	}
	/* Back to what was in force before is open to whoever may at all. */
	r = ch->restores ? 0 : duties_check(c, ch->who, ch->undo, d);
	if (r < 0)
		return r;
	c->revision++;
	r = segment_build_policy(c, false, &p);
	if (r == 0 && gate_enforces(c))
		r = gate_mark(c, GATE_MARK_POLICY);
	if (r == 0 && ch->confirm_ns != 0)
		r = confirm_arm(c, ch->confirm_ns, ch->who);
	if (r == 0)
		r = commit_revision(c, ch, p, d);
	if (r < 0) {
		if (ch->confirm_ns != 0)
			confirm_disarm(c);
		c->revision--;
		if (d->msg[0] == '\0')
			diag_set(d, 0, 0, "the change was not stored, nothing is changed: %s",
			    strerror(-r));
		return r;
	}
	if (c->confirm.pending && ch->restores)
		confirm_disarm(c);
	clear_dirty(c);
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		image_check(i);
	edge_table_drop_aliases(c->edges);
	policy_free(c->policy);
	c->policy = steal_ptr(p);
	c->held = false;
	log_info(
	    "revision %llu: %s by %s", (unsigned long long)c->revision, ch->action, ch->who->name);
	gate_tick(c);
	enforce_now(c);
	return 0;
}

int
segment_take_edge(
    struct controller *c, struct undo *u, const struct edge_key *key, struct edge **ret)
{
	struct edge *e = edge_table_find(c->edges, key);
	bool created = e == NULL;
	int r = 0;

	if (created)
		r = edge_table_add(c->edges, key, &e);
	if (r < 0)
		return r;
	r = undo_save_edge(u, e, created);
	if (r < 0) {
		if (created)
			edge_table_remove(c->edges, e);
		return r;
	}
	*ret = e;
	return 0;
}

/* The edge behind an id of an edge or a denial, created if a denial asks for it. */
static int
take_edge_of_id(struct controller *c, struct undo *u, const char *id, struct edge **ret)
{
	struct edge *e = edge_table_find_id(c->edges, id);
	const struct denial *d;
	int r;

	if (e != NULL) {
		r = undo_save_edge(u, e, false);
		if (r == 0)
			*ret = e;
		return r;
	}
	d = denial_find(c->denials, id);
	return d != NULL ? segment_take_edge(c, u, &d->key, ret) : -ENOENT;
}

static void
explain_failure(struct diag *d, const char *id, int error)
{
	char safe[64];

	text_escape(id, strlen(id), safe, sizeof(safe));
	if (error == -ENOENT)
		diag_set(d, 0, 0, "no edge or denial has the id %s", safe);
	else
		diag_set(d, 0, 0, "%s: nothing is changed: %s", safe,
		    error == -ENOSPC ? "the table of edges is full" : strerror(-error));
}

int
segment_decide(struct controller *c, const char *const *ids, size_t n, enum edge_state state,
    const struct edge_decision *decision, const struct actor *who, struct diag *d,
    size_t *ret_changed)
{
	struct edge_decision given = *decision;
	struct undo u;
	const struct change ch = { .action = state == EDGE_APPROVED ? "approve" : "deny",
		.reason = decision->reason,
		.ticket = decision->ticket,
		.who = who,
		.undo = &u };
	int r = 0;

	undo_start(&u, c);
	given.approved_by = (char *)who->name;
	given.decided_ns = now_real();
	for (size_t i = 0; i < n && r == 0; i++) {
		struct edge *e;

		r = take_edge_of_id(c, &u, ids[i], &e);
		if (r == 0)
			r = edge_decide(c->edges, e, state, &given);
		if (r == 0)
			e->flags &= ~(EDGE_FLAG_AUTO | EDGE_FLAG_WITHDRAWN);
		else
			explain_failure(d, ids[i], r);
	}
	if (r == 0)
		r = segment_finish(c, &ch, d);
	if (r < 0)
		undo_roll_back(&u, c);
	else
		*ret_changed = undo_count_edges(&u);
	undo_done(&u);
	return r;
}

int
segment_set_mode(struct undo *u, struct workload *w, enum wl_mode mode, enum wl_direction direction,
    const char *reason, const struct actor *who)
{
	int r = undo_save_workload(u, w);
	char *copy, *by;

	if (r == 0)
		r = text_copy(reason, &copy);
	if (r < 0)
		return r;
	if (w->mode != mode || w->direction != direction) {
		r = text_copy(who->name, &by);
		if (r < 0) {
			free(copy);
			return r;
		}
		free(w->mode_by);
		w->mode_by = by;
		w->mode_since_ns = now_real();
	}
	/* What runs now is what is meant. */
	if (mode == MODE_ENFORCE && w->mode != mode)
		r = workload_accept_running(w);
	if (r < 0) {
		free(copy);
		return r;
	}
	w->mode = mode;
	w->direction = direction;
	free(w->mode_reason);
	w->mode_reason = copy;
	w->dirty = true;
	return 0;
}

int
segment_set_modes(struct controller *c, const struct mode_change *changes, size_t n,
    uint64_t confirm_ns, const char *reason, const struct actor *who, struct diag *d)
{
	struct undo u;
	const struct change ch = {
		.action = "mode", .reason = reason, .who = who, .undo = &u, .confirm_ns = confirm_ns
	};
	int r = 0;

	undo_start(&u, c);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = segment_set_mode(
		    &u, changes[i].workload, changes[i].mode, changes[i].direction, reason, who);
		if (r == 0)
			changes[i].workload->auto_promoted = changes[i].workload->rolled_back =
			    false;
	}
	if (r == 0)
		r = segment_finish(c, &ch, d);
	if (r < 0)
		undo_roll_back(&u, c);
	undo_done(&u);
	return r;
}

static int
set_image(struct workload *w, const char *repository, bool accepted, struct diag *d)
{
	char name[256];

	text_escape(repository, strlen(repository), name, sizeof(name));
	if (accepted && w->n_images >= POLICY_MAX_IMAGES)
		return -ENOSPC;
	if (accepted)
		return workload_accept(w, repository);
	if (w->n_images == 1 && workload_accepts(w, repository)) {
		diag_set(d, 0, 0, "%s is the only image accepted: accept another one first", name);
		return -EINVAL;
	}
	if (workload_unaccept(w, repository))
		return 0;
	diag_set(d, 0, 0, "%s is not among the accepted images", name);
	return -EINVAL;
}

int
segment_set_image(struct controller *c, struct workload *w, const char *repository, bool accepted,
    const char *reason, const struct actor *who, struct diag *d)
{
	struct undo u;
	const struct change ch = { .action = accepted ? "approve image" : "deny image",
		.reason = reason,
		.who = who,
		.undo = &u };
	int r;

	undo_start(&u, c);
	r = undo_save_workload(&u, w);
	if (r == 0)
		r = set_image(w, repository, accepted, d);
	if (r == 0)
		r = segment_finish(c, &ch, d);
	if (r < 0)
		undo_roll_back(&u, c);
	undo_done(&u);
	return r;
}

static bool
edge_touches(const struct edge *e, const struct workload *w)
{
	return e->key.from == w->peer || e->key.to == w->peer;
}

/* Approves what the workload was seen to do. Flagged edges wait for a person. */
static int
approve_seen(struct controller *c, struct undo *u, const struct workload *w,
    const struct edge_decision *given)
{
	size_t pos = 0;
	struct edge *e;
	int r = 0;

	while (r == 0 && (e = edge_table_next(c->edges, &pos)) != NULL) {
		if (e->state != EDGE_PENDING || e->flags != 0 || !edge_touches(e, w) ||
		    e->evidence.first_seen_ns == 0)
			continue;
		r = undo_save_edge(u, e, false);
		if (r == 0)
			r = edge_decide(c->edges, e, EDGE_APPROVED, given);
		if (r == 0)
			e->flags |= EDGE_FLAG_AUTO;
	}
	return r;
}

int
segment_promote(struct controller *c, struct workload *w, enum wl_mode mode,
    enum wl_direction direction, uint64_t confirm_ns, const char *reason, struct diag *d,
    size_t *ret_approved)
{
	const struct edge_decision given = { .reason = (char *)"seen in the observation period",
		.approved_by = (char *)promotion_actor.name,
		.decided_ns = now_real() };
	struct undo u;
	const struct change ch = { .action = "promote",
		.reason = reason,
		.who = &promotion_actor,
		.undo = &u,
		.confirm_ns = confirm_ns };
	int r;

	undo_start(&u, c);
	r = approve_seen(c, &u, w, &given);
	if (r == 0)
		r = segment_set_mode(&u, w, mode, direction, reason, &promotion_actor);
	if (r == 0) {
		w->auto_promoted = true;
		r = segment_finish(c, &ch, d);
	}
	if (r < 0)
		undo_roll_back(&u, c);
	else
		*ret_approved = u.n_edges;
	undo_done(&u);
	return r;
}
