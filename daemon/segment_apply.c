/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole policy in place of the one in force: what the file says of edges, workloads and networks.
 * One change like any other (segment.c).
 */
#include "daemon/aside.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/segment_internal.h"

#include <errno.h>
#include <string.h>

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Does the file say about the edge what stands already? */
static bool
stands(const struct edge *e, const struct policy_edge *pe)
{
	return e->state == pe->state && e->decision.approved_by != NULL &&
	       e->decision.expires_ns == pe->expires_ns &&
	       same_text(e->decision.reason, pe->reason) &&
	       same_text(e->decision.ticket, pe->ticket);
}

/* The policy's edge in the table, with its decision. */
static int
apply_edge(struct controller *c, struct undo *u, const struct policy_edge *pe,
    const struct actor *who, struct edge **ret)
{
	struct edge_key key = {
		.proto = pe->proto, .port_lo = pe->port_lo, .port_hi = pe->port_hi
	};
	struct edge_decision given = { .reason = pe->reason,
		.ticket = pe->ticket,
		.approved_by = (char *)who->name,
		.decided_ns = now_real(),
		.expires_ns = pe->expires_ns };
	struct edge *e;
	int r;

	r = peer_intern(c->peers, &pe->from, &key.from);
	if (r == 0)
		r = peer_intern(c->peers, &pe->to, &key.to);
	if (r < 0)
		return r;
	/* Of one that stays pending nothing is kept here: it may be summed up meanwhile. */
	if (pe->state == EDGE_PENDING && (e = edge_table_find(c->edges, &key)) != NULL &&
	    e->state == EDGE_PENDING) {
		*ret = e;
		return 0;
	}
	r = segment_take_edge(c, u, &key, &e);
	if (r < 0)
		return r;
	*ret = e;
	/* Who approved a standing decision stays who approved it. */
	if (pe->state == EDGE_PENDING || stands(e, pe))
		return 0;
	e->flags &= ~(EDGE_FLAG_AUTO | EDGE_FLAG_WITHDRAWN);
	return edge_decide(c->edges, e, pe->state, &given);
}

static int
edge_pointer_cmp(const void *x, const void *y)
{
	const struct edge *a = *(struct edge *const *)x, *b = *(struct edge *const *)y;

	return a < b ? -1 : a > b;
}

/* A decided edge that the file lacks becomes pending, unless --only leaves it to another daemon. */
static int
withdraw(struct controller *c, struct undo *u, struct edge *e)
{
	const struct edge_decision nothing = { 0 };
	int r = undo_save_edge(u, e, false);

	if (r < 0)
		return r;
	/* First: what a person took back is not summed up with others. */
	e->flags = (e->flags & ~EDGE_FLAG_AUTO) | EDGE_FLAG_WITHDRAWN;
	return edge_decide(c->edges, e, EDGE_PENDING, &nothing);
}

static int
withdraw_others(struct controller *c, struct undo *u, struct edge **kept, size_t n_kept)
{
	_cleanup_free_ struct edge **others =
	    calloc(edge_table_count(c->edges) + 1, sizeof(void *));
	size_t pos = 0, n = 0;
	struct edge *e;
	int r = others != NULL ? 0 : -ENOMEM;

	qsort(kept, n_kept, sizeof(void *), edge_pointer_cmp);
	/* In one turn: in the next one there may be edges more and less, but no decided ones. */
	while (r == 0 && (e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->state != EDGE_PENDING && segment_edge_selected(c, e) &&
		    bsearch(&e, kept, n_kept, sizeof(void *), edge_pointer_cmp) == NULL)
			others[n++] = e;
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = withdraw(c, u, others[i]);
		aside_pause();
	}
	return r;
}

static int
apply_edges(struct controller *c, struct undo *u, const struct policy *p, const struct actor *who)
{
	_cleanup_free_ struct edge **kept = calloc(p->n_edges + 1, sizeof(void *));
	size_t n_kept = 0;
	int r = kept != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < p->n_edges; i++) {
		struct edge *e;

		aside_pause();
		if (!policy_edge_selected(c, &p->edges[i]))
			continue;
		r = apply_edge(c, u, &p->edges[i], who, &e);
		if (r == 0 && p->edges[i].state != EDGE_PENDING)
			kept[n_kept++] = e;
	}
	return r == 0 ? withdraw_others(c, u, kept, n_kept) : r;
}

/* The list is complete where the file gives one. */
static int
apply_images(struct workload *w, const struct policy_workload *pw)
{
	char **images;
	int r = texts_copy(pw->images, pw->n_images, &images);

	if (r < 0)
		return r;
	texts_free(w->images, w->n_images);
	w->images = images;
	w->n_images = pw->n_images;
	return 0;
}

static int
replace_mode(struct undo *u, struct workload *w, enum wl_mode mode, enum wl_direction direction,
    const struct change *ch)
{
	bool undone = ch->restores && w->auto_promoted && mode < w->mode;
	bool same = w->mode == mode && w->direction == direction;
	/* A mode that a rollback leaves alone is not one that it chose: promotion may go on. */
	int r = segment_set_mode(u, w, mode, direction,
	    ch->restores && w->mode == mode ? w->mode_reason : ch->reason, ch->who);

	/* Until a person has looked into it. */
	if (r == 0)
		w->rolled_back = ch->restores ? undone || w->rolled_back : same && w->rolled_back;
	return r;
}

static int
apply_workload(
    struct controller *c, struct undo *u, const struct policy_workload *pw, const struct change *ch)
{
	struct workload *w = undo_get_workload(u, c, pw->name);
	struct policy_label *labels, *selector;
	int r;

	if (w == NULL)
		return -ENOSPC;
	aside_pause();
	r = replace_mode(u, w, pw->mode, pw->direction, ch);
	if (r == 0)
		r = labels_copy(pw->labels, pw->n_labels, &labels);
	if (r < 0)
		return r;
	labels_free(w->labels, w->n_labels);
	w->labels = labels;
	w->n_labels = pw->n_labels;
	r = labels_copy(pw->selector, pw->n_selector, &selector);
	if (r < 0)
		return r;
	labels_free(w->selector, w->n_selector);
	w->selector = selector;
	w->n_selector = pw->n_selector;
	return pw->n_images > 0 ? apply_images(w, pw) : 0;
}

static int
apply_workloads(
    struct controller *c, struct undo *u, const struct policy *p, const struct change *ch)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->n_workloads; i++)
		if (workload_selected(c, p->workloads[i].name))
			r = apply_workload(c, u, &p->workloads[i], ch);
	/* The file is complete: a workload it does not name is observed. */
	for (struct workload *w = c->workloads; r == 0 && w != NULL; w = w->next)
		if (w->mode != MODE_OBSERVE && workload_selected(c, w->name) &&
		    policy_find_workload(p, w->name) == NULL)
			r = replace_mode(u, w, MODE_OBSERVE, WL_BOTH, ch);
	return r;
}

/* Makes the change, whose undo is *u. */
static int
replace_policy(struct controller *c, const struct policy *p, const struct change *ch,
    struct undo *u, struct diag *d)
{
	struct policy_network *networks;
	size_t missing = 0;
	int r = networks_copy(p->networks, p->n_networks, &networks);

	if (r < 0)
		return r;
	for (size_t i = 0; i < p->n_workloads; i++) {
		missing += workload_find(c, p->workloads[i].name) == NULL;
		aside_pause();
	}
	workload_make_room(c, missing);
	undo_start(u);
	undo_save_networks(u, c);
	c->networks = networks;
	c->n_networks = p->n_networks;
	r = apply_edges(c, u, p, ch->who);
	if (r == 0)
		r = apply_workloads(c, u, p, ch);
	if (r == 0)
		r = segment_finish(c, ch, d);
	else
		diag_set(d, 0, 0, "the policy was not applied, nothing is changed: %s",
		    r == -ENOSPC ? "too many edges or workloads" : strerror(-r));
	if (r < 0)
		undo_roll_back(u, c);
	undo_done(u);
	return r;
}

int
segment_apply_policy(struct controller *c, const struct policy *p, uint64_t expected,
    uint64_t confirm_ns, const char *reason, const struct actor *who, struct diag *d)
{
	struct undo u;
	const struct change ch = { .action = "policy-apply",
		.reason = reason,
		.who = who,
		.undo = &u,
		.confirm_ns = confirm_ns };

	if (expected != 0 && expected != c->revision) {
		diag_set(d, 0, 0,
		    "the policy was made from revision %llu, but revision %llu is "
		    "in force",
		    (unsigned long long)expected, (unsigned long long)c->revision);
		return -ESTALE;
	}
	return replace_policy(c, p, &ch, &u, d);
}

int
segment_restore(struct controller *c, const struct policy *p, const char *reason,
    const struct actor *who, struct diag *d)
{
	struct undo u;
	const struct change ch = {
		.action = "rollback", .reason = reason, .who = who, .undo = &u, .restores = true
	};

	return replace_policy(c, p, &ch, &u, d);
}
