/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segmentation: what was decided. Every change is one transaction: it is written to the store with
 * a new revision, synced, and only then acknowledged and handed to enforcement. If the store
 * refuses, memory is put back as it was and nothing changes.
 */
#include "daemon/aside.h"
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
	json_t *before = revision_json(c->revision, c->policy_digest);
	struct audit_record r = { .event = ch->action,
		.who = ch->who,
		.reason = ch->reason,
		.ticket = ch->ticket,
		.before = before,
		.after = failed ? json_incref(before) : revision_json(c->revision + 1, digest),
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
	const struct undo *u = ch->undo;
	struct store_revision rev = { .number = c->revision + 1,
		.time_ns = now_real(),
		.actor = ch->who->name,
		.action = ch->action,
		.reason = ch->reason,
		.policy_json = text };
	int r = store_begin(c->store);

	/* Clean from now on, unless something is seen of it meanwhile: that is stored later. */
	for (size_t i = 0; r == 0 && i < u->n_edges; i++) {
		struct edge *e = u->edges[i].edge;

		if (!e->dirty)
			continue;
		r = store_put_edge(c->store, c->peers, e);
		e->dirty = false;
		aside_pause();
	}
	for (size_t i = 0; r == 0 && i < u->n_workloads; i++) {
		struct workload *w = u->workloads[i].workload;

		if (!w->dirty)
			continue;
		r = store_put_workload(c->store, w);
		w->dirty = false;
		aside_pause();
	}
	if (r == 0)
		r = store_put_networks(c->store, c->networks, c->n_networks);
	return r == 0 ? store_put_revision(c->store, &rev) : r;
}

/* A policy as it is stored. */
struct written {
	const struct controller *c;
	const struct policy *policy;
	char *text;
	char digest[AUDIT_HASH_STRLEN];
};

static void
write_policy(void *arg)
{
	struct written *w = arg;
	json_t *tree = policy_to_json(w->policy);

	w->text = tree != NULL ? json_dumps(tree, JSON_COMPACT) : NULL;
	json_decref(tree);
	if (w->text != NULL)
		audit_digest(w->text, strlen(w->text), w->digest);
}

static void
keep_policy(void *arg)
{
	struct written *w = arg;

	refusal_keep_policy(w->c, w->text);
}

static void
written_done(struct written *w)
{
	free(w->text);
}

struct commit {
	struct store *store;
	int error;
};

static void
commit_store(void *arg)
{
	struct commit *s = arg;

	s->error = store_commit(s->store);
}

/* Beside the loop if it is much: else nobody sees a change that is half made. */
static void
work_on(const struct policy *p, aside_fn fn, void *arg)
{
	if (p->n_edges < SEGMENT_LARGE)
		fn(arg);
	else
		aside_apart(fn, arg);
}

/* Writes all that it touched, the audit record and the revision's own, durably. */
static int
commit_revision(struct controller *c, const struct change *ch, struct written *w, struct diag *d)
{
	struct commit s = { .store = c->store };
	struct diag ignored;
	int r;

	work_on(w->policy, write_policy, w);
	if (w->text == NULL)
		return -ENOMEM;
	r = put_revision(c, ch, w->text);
	if (r == 0)
		r = record_change(c, ch, w->digest, NULL, d);
	if (r < 0) {
		store_rollback(c->store);
		return r;
	}
	work_on(w->policy, commit_store, &s);
	if (s.error < 0) {
		store_rollback(c->store);
		record_change(c, ch, w->digest, "failed: not stored", &ignored);
	}
	return s.error;
}

int
segment_finish(struct controller *c, const struct change *ch, struct diag *d)
{
	_cleanup_(policy_free_apart) struct policy *p = NULL;
	_cleanup_(written_done) struct written w = { .c = c };
	struct policy *before;
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
	r = segment_build_policy(c, false, &p);
	if (r == 0)
		p->revision = c->revision + 1;
	w.policy = p;
	if (r == 0 && gate_enforces(c))
		r = gate_mark(c, GATE_MARK_POLICY);
	if (r == 0 && ch->confirm_ns != 0)
		r = confirm_arm(c, c->revision + 1, ch->confirm_ns, ch->who);
	if (r == 0)
		r = commit_revision(c, ch, &w, d);
	if (r < 0) {
		if (ch->confirm_ns != 0)
			confirm_disarm(c);
		if (d->msg[0] == '\0')
			diag_set(d, 0, 0, "the change was not stored, nothing is changed: %s",
			    strerror(-r));
		return r;
	}
	/* In one turn: who looks sees it before or after. */
	c->revision++;
	memcpy(c->policy_digest, w.digest, sizeof(w.digest));
	if (c->confirm.pending && ch->restores)
		confirm_disarm(c);
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		image_check(i);
	edge_table_drop_aliases(c->edges);
	before = c->policy;
	c->policy = p;
	p = before;
	c->held = false;
	log_info(
	    "revision %llu: %s by %s", (unsigned long long)c->revision, ch->action, ch->who->name);
	gate_tick(c);
	enforce_now(c);
	work_on(c->policy, keep_policy, &w);
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

	undo_start(&u);
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

	undo_start(&u);
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

	undo_start(&u);
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

	undo_start(&u);
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
