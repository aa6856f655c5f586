/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segmentation: what was decided. Every change is one transaction: it is written to the store with
 * a new revision, synced, and only then acknowledged and handed to enforcement. If the store
 * refuses, memory is put back as it was and nothing changes.
 */
#include "daemon/controller.h"
#include "daemon/log.h"

#include <errno.h>
#include <string.h>

static char *
dup_or_null(const char *s)
{
	return s != NULL ? strdup(s) : NULL;
}

static int
policy_edge_from(struct controller *c, const struct edge *e, struct policy_edge *pe)
{
	pe->from = *peer_get(c->peers, e->key.from);
	pe->to = *peer_get(c->peers, e->key.to);
	pe->from.name = dup_or_null(pe->from.name);
	pe->to.name = dup_or_null(pe->to.name);
	pe->proto = e->key.proto;
	pe->port_lo = e->key.port_lo;
	pe->port_hi = e->key.port_hi;
	pe->state = e->state;
	memcpy(pe->id, e->id, sizeof(pe->id));
	pe->reason = dup_or_null(e->decision.reason);
	pe->ticket = dup_or_null(e->decision.ticket);
	pe->expires_ns = e->decision.expires_ns;
	return 0;
}

static int
copy_labels(const struct policy_label *from, size_t n, struct policy_label **ret)
{
	struct policy_label *list = calloc(n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		list[i].key = strdup(from[i].key);
		list[i].value = strdup(from[i].value);
		if (list[i].key == NULL || list[i].value == NULL) {
			for (size_t k = 0; k <= i; k++) {
				free(list[k].key);
				free(list[k].value);
			}
			free(list);
			return -ENOMEM;
		}
	}
	*ret = list;
	return 0;
}

static int
policy_workload_from(const struct workload *w, struct policy_workload *pw)
{
	pw->name = strdup(w->name);
	if (pw->name == NULL)
		return -ENOMEM;
	pw->mode = w->mode;
	pw->direction = w->direction;
	if (copy_labels(w->labels, w->n_labels, &pw->labels) < 0)
		return -ENOMEM;
	pw->n_labels = w->n_labels;
	return 0;
}

static int
copy_networks(
    const struct policy_network *from, size_t n, struct policy_network **ret, size_t *ret_n)
{
	struct policy_network *list = calloc(n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	*ret = list; /* the policy owns it from here on, half built or not */
	for (size_t i = 0; i < n; i++) {
		list[i].name = strdup(from[i].name);
		list[i].prefixes = calloc(from[i].n_prefixes + 1, sizeof(struct prefix));
		*ret_n = i + 1;
		if (list[i].name == NULL || list[i].prefixes == NULL)
			return -ENOMEM;
		memcpy(
		    list[i].prefixes, from[i].prefixes, from[i].n_prefixes * sizeof(struct prefix));
		list[i].n_prefixes = from[i].n_prefixes;
	}
	return 0;
}

int
segment_build_policy(struct controller *c, bool with_pending, struct policy **ret)
{
	_cleanup_(policy_freep) struct policy *p = calloc(1, sizeof(*p));
	size_t pos = 0;
	struct edge *e;

	if (p == NULL)
		return -ENOMEM;
	p->name = strdup("host");
	p->revision = c->revision;
	p->workloads = calloc(c->n_workloads + 1, sizeof(*p->workloads));
	p->edges = calloc(edge_table_count(c->edges) + 1, sizeof(*p->edges));
	if (p->name == NULL || p->workloads == NULL || p->edges == NULL)
		return -ENOMEM;
	for (const struct workload *w = c->workloads; w != NULL; w = w->next)
		if (policy_workload_from(w, &p->workloads[p->n_workloads++]) < 0)
			return -ENOMEM;
	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		if (e->state == EDGE_PENDING && !with_pending)
			continue;
		policy_edge_from(c, e, &p->edges[p->n_edges++]);
	}
	if (copy_networks(c->networks, c->n_networks, &p->networks, &p->n_networks) < 0)
		return -ENOMEM;
	*ret = steal_ptr(p);
	return 0;
}

/* Writes all that is dirty and the revision's record, durably. */
static int
commit_revision(struct controller *c, const char *action, const char *reason,
    const struct actor *who, const struct policy *p)
{
	_cleanup_free_ char *text = NULL;
	json_t *tree = policy_to_json(p);
	struct store_revision rev = { .number = c->revision,
		.time_ns = now_real(),
		.actor = who->name,
		.action = action,
		.reason = reason };
	size_t pos = 0;
	struct edge *e;
	int r;

	text = tree != NULL ? json_dumps(tree, JSON_COMPACT) : NULL;
	json_decref(tree);
	if (text == NULL)
		return -ENOMEM;
	rev.policy_json = text;
	r = store_begin(c->store);
	while (r == 0 && (e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->dirty)
			r = store_put_edge(c->store, c->peers, e);
	for (struct workload *w = c->workloads; r == 0 && w != NULL; w = w->next)
		if (w->dirty)
			r = store_put_workload(c->store, w);
	if (r == 0)
		r = store_put_networks(c->store, c->networks, c->n_networks);
	if (r == 0)
		r = store_put_revision(c->store, &rev);
	if (r == 0)
		r = store_commit(c->store);
	if (r < 0)
		store_rollback(c->store);
	return r;
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

/* The state of everything a change may touch, so that a refused change leaves no trace. */
struct edge_undo {
	struct edge *edge;
	enum edge_state state;
	uint32_t flags;
	struct edge_decision decision;
};

struct undo {
	struct edge_undo *edges;
	size_t n_edges;
};

static void
decision_free(struct edge_decision *d)
{
	free(d->reason);
	free(d->ticket);
	free(d->approved_by);
}

static int
undo_edge(struct undo *u, struct edge *e)
{
	struct edge_undo *saved;

	if ((u->n_edges & (u->n_edges - 1)) == 0) {
		size_t room = MAX(16, u->n_edges * 2);

		saved = realloc(u->edges, room * sizeof(*saved));
		if (saved == NULL)
			return -ENOMEM;
		u->edges = saved;
	}
	saved = &u->edges[u->n_edges];
	*saved = (struct edge_undo){ .edge = e, .state = e->state, .flags = e->flags };
	saved->decision.reason = dup_or_null(e->decision.reason);
	saved->decision.ticket = dup_or_null(e->decision.ticket);
	saved->decision.approved_by = dup_or_null(e->decision.approved_by);
	saved->decision.decided_ns = e->decision.decided_ns;
	saved->decision.expires_ns = e->decision.expires_ns;
	u->n_edges++;
	return 0;
}

static void
undo_done(struct undo *u)
{
	for (size_t i = 0; i < u->n_edges; i++)
		decision_free(&u->edges[i].decision);
	free(u->edges);
}

static void
undo_roll_back(struct controller *c, struct undo *u)
{
	for (size_t i = 0; i < u->n_edges; i++) {
		edge_decide(c->edges, u->edges[i].edge, u->edges[i].state, &u->edges[i].decision);
		u->edges[i].edge->flags = u->edges[i].flags;
	}
}

/* Makes the change the current revision, or leaves everything as it was. */
static int
finish_change(struct controller *c, const char *action, const char *reason, const struct actor *who,
    struct diag *d)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	int r;

	c->revision++;
	r = segment_build_policy(c, false, &p);
	if (r == 0)
		r = commit_revision(c, action, reason, who, p);
	if (r < 0) {
		c->revision--;
		diag_set(
		    d, 0, 0, "the change was not stored, nothing is changed: %s", strerror(-r));
		return r;
	}
	clear_dirty(c);
	edge_table_drop_aliases(c->edges);
	policy_free(c->policy);
	c->policy = steal_ptr(p);
	log_info("revision %llu: %s by %s", (unsigned long long)c->revision, action, who->name);
	enforce_schedule(c);
	return 0;
}

/* The edge behind an id of an edge or a denial, created if a denial asks for it. */
static struct edge *
edge_of_id(struct controller *c, const char *id)
{
	struct edge *e = edge_table_find_id(c->edges, id);
	const struct denial *d;

	if (e != NULL)
		return e;
	d = denial_find(c->denials, id);
	if (d == NULL) {
		size_t pos = 0;

		/* A denial also answers to the id of the edge it would need. */
		while ((d = denial_next(c->denials, &pos)) != NULL) {
			char text[EDGE_ID_STRLEN];

			edge_id_format(d->edge, text);
			if (strcmp(text, id) == 0)
				break;
		}
	}
	if (d == NULL || edge_table_add(c->edges, &d->key, &e) < 0)
		return NULL;
	return e;
}

int
segment_decide(struct controller *c, const char *const *ids, size_t n, enum edge_state state,
    const struct edge_decision *decision, const struct actor *who, struct diag *d,
    size_t *ret_changed)
{
	struct edge_decision given = *decision;
	struct undo u = { 0 };
	int r = 0;

	given.approved_by = (char *)who->name;
	given.decided_ns = now_real();
	for (size_t i = 0; i < n && r == 0; i++) {
		struct edge *e = edge_of_id(c, ids[i]);
		char safe[256];

		if (e == NULL) {
			text_escape(ids[i], strlen(ids[i]), safe, sizeof(safe));
			diag_set(d, 0, 0, "no edge or denial has the id %.64s", safe);
			r = -ENOENT;
			break;
		}
		r = undo_edge(&u, e);
		if (r == 0)
			r = edge_decide(c->edges, e, state, &given);
		if (r == 0)
			e->flags &= ~EDGE_FLAG_AUTO;
	}
	if (r == 0)
		r = finish_change(
		    c, state == EDGE_APPROVED ? "approve" : "deny", decision->reason, who, d);
	if (r < 0)
		undo_roll_back(c, &u);
	else
		*ret_changed = u.n_edges;
	undo_done(&u);
	return r;
}

static void
set_mode(struct workload *w, enum wl_mode mode, enum wl_direction direction, const char *reason)
{
	if (w->mode != mode || w->direction != direction)
		w->mode_since_ns = now_real();
	w->mode = mode;
	w->direction = direction;
	free(w->mode_reason);
	w->mode_reason = dup_or_null(reason);
	w->dirty = true;
}

int
segment_set_modes(struct controller *c, const struct mode_change *changes, size_t n,
    const char *reason, const struct actor *who, struct diag *d)
{
	_cleanup_free_ struct mode_change *before = calloc(n + 1, sizeof(*before));
	int r;

	if (before == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct workload *w = changes[i].workload;

		before[i] = (struct mode_change){ w, w->mode, w->direction };
		set_mode(w, changes[i].mode, changes[i].direction, reason);
		w->auto_promoted = false;
	}
	r = finish_change(c, "mode", reason, who, d);
	for (size_t i = n; r < 0 && i > 0; i--)
		set_mode(before[i - 1].workload, before[i - 1].mode, before[i - 1].direction, NULL);
	return r;
}

static void
free_networks(struct policy_network *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(list[i].name);
		free(list[i].prefixes);
	}
	free(list);
}

/* The policy's edge in the table, with its decision; saved in *u first. */
static int
apply_edge(
    struct controller *c, struct undo *u, const struct policy_edge *pe, const struct actor *who)
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
	if (r == 0)
		r = edge_table_add(c->edges, &key, &e);
	if (r < 0)
		return r;
	if (pe->state == EDGE_PENDING)
		return 0;
	r = undo_edge(u, e);
	if (r < 0)
		return r;
	/* Who approved a standing decision stays who approved it. */
	if (e->state == pe->state && e->decision.approved_by != NULL)
		return 0;
	e->flags &= ~EDGE_FLAG_AUTO;
	return edge_decide(c->edges, e, pe->state, &given);
}

static bool
policy_decides(const struct policy *p, const struct edge *e)
{
	for (size_t i = 0; i < p->n_edges; i++)
		if (p->edges[i].state != EDGE_PENDING && strcmp(p->edges[i].id, e->id) == 0)
			return true;
	return false;
}

/* A decided edge that the file lacks becomes pending. */
static int
withdraw_others(struct controller *c, struct undo *u, const struct policy *p)
{
	const struct edge_decision nothing = { 0 };
	size_t pos = 0;
	struct edge *e;
	int r;

	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		if (e->state == EDGE_PENDING || policy_decides(p, e))
			continue;
		r = undo_edge(u, e);
		if (r == 0)
			r = edge_decide(c->edges, e, EDGE_PENDING, &nothing);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
apply_workloads(struct controller *c, const struct policy *p, const char *reason)
{
	for (size_t i = 0; i < p->n_workloads; i++) {
		const struct policy_workload *pw = &p->workloads[i];
		struct workload *w = workload_get(c, pw->name);
		struct policy_label *labels;

		if (w == NULL)
			return -ENOSPC;
		if (copy_labels(pw->labels, pw->n_labels, &labels) < 0)
			return -ENOMEM;
		for (size_t k = 0; k < w->n_labels; k++) {
			free(w->labels[k].key);
			free(w->labels[k].value);
		}
		free(w->labels);
		w->labels = labels;
		w->n_labels = pw->n_labels;
		set_mode(w, pw->mode, pw->direction, reason);
	}
	/* The file is complete: a workload it does not name is observed. */
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		if (w->mode != MODE_OBSERVE && policy_find_workload(p, w->name) == NULL)
			set_mode(w, MODE_OBSERVE, WL_BOTH, reason);
	return 0;
}

int
segment_apply_policy(struct controller *c, const struct policy *p, uint64_t expected,
    const char *reason, const struct actor *who, struct diag *d)
{
	_cleanup_free_ struct mode_change *modes = NULL;
	struct policy_network *networks = NULL, *old = c->networks;
	size_t n_networks = 0, n_old = c->n_networks, n_modes = 0;
	struct undo u = { 0 };
	int r;

	if (expected != 0 && expected != c->revision) {
		diag_set(d, 0, 0,
		    "the policy was made from revision %llu, but revision %llu is "
		    "in force",
		    (unsigned long long)expected, (unsigned long long)c->revision);
		return -ESTALE;
	}
	modes = calloc(c->n_workloads + 1, sizeof(*modes));
	if (modes == NULL)
		return -ENOMEM;
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		modes[n_modes++] = (struct mode_change){ w, w->mode, w->direction };
	r = copy_networks(p->networks, p->n_networks, &networks, &n_networks);
	c->networks = networks;
	c->n_networks = n_networks;
	for (size_t i = 0; r == 0 && i < p->n_edges; i++)
		r = apply_edge(c, &u, &p->edges[i], who);
	if (r == 0)
		r = withdraw_others(c, &u, p);
	if (r == 0)
		r = apply_workloads(c, p, reason);
	if (r == 0)
		r = finish_change(c, "policy apply", reason, who, d);
	else
		diag_set(d, 0, 0, "the policy was not applied, nothing is changed: %s",
		    r == -ENOSPC ? "too many edges or workloads" : strerror(-r));
	if (r < 0) {
		undo_roll_back(c, &u);
		for (size_t i = 0; i < n_modes; i++)
			set_mode(modes[i].workload, modes[i].mode, modes[i].direction, NULL);
		c->networks = old;
		c->n_networks = n_old;
		free_networks(networks, n_networks);
	} else {
		free_networks(old, n_old);
	}
	undo_done(&u);
	return r;
}

static bool
edge_touches(const struct edge *e, const struct workload *w)
{
	return e->key.from == w->peer || e->key.to == w->peer;
}

int
segment_promote(struct controller *c, struct workload *w, enum wl_mode mode,
    enum wl_direction direction, size_t *ret_approved)
{
	const struct actor who = { .name = "promotion" };
	struct edge_decision given = { .reason = (char *)"seen in the observation period",
		.approved_by = (char *)who.name,
		.decided_ns = now_real() };
	struct mode_change before = { w, w->mode, w->direction };
	struct undo u = { 0 };
	struct diag d = { 0 };
	size_t pos = 0;
	struct edge *e;
	int r = 0;

	while (r == 0 && (e = edge_table_next(c->edges, &pos)) != NULL) {
		/* Flagged edges wait for a person. */
		if (e->state != EDGE_PENDING || e->flags != 0 || !edge_touches(e, w) ||
		    e->evidence.first_seen_ns == 0)
			continue;
		r = undo_edge(&u, e);
		if (r == 0)
			r = edge_decide(c->edges, e, EDGE_APPROVED, &given);
		if (r == 0)
			e->flags |= EDGE_FLAG_AUTO;
	}
	set_mode(w, mode, direction, "observation period over");
	w->auto_promoted = true;
	if (r == 0)
		r = finish_change(c, "promote", "observation period over", &who, &d);
	if (r < 0) {
		undo_roll_back(c, &u);
		set_mode(w, before.mode, before.direction, NULL);
		w->auto_promoted = false;
		log_error("promotion: %s", d.msg[0] != '\0' ? d.msg : strerror(-r));
	} else {
		*ret_approved = u.n_edges;
	}
	undo_done(&u);
	return r;
}

static int
load_edge(void *arg, const struct stored_edge *s)
{
	struct controller *c = arg;
	struct edge_key key = { .proto = s->proto, .port_lo = s->port_lo, .port_hi = s->port_hi };
	struct edge *e;
	int r;

	r = peer_intern(c->peers, &s->from, &key.from);
	if (r == 0)
		r = peer_intern(c->peers, &s->to, &key.to);
	if (r == 0)
		r = edge_table_add(c->edges, &key, &e);
	if (r == 0)
		r = edge_decide(c->edges, e, s->state, &s->decision);
	if (r < 0)
		return r;
	e->flags = s->flags;
	e->evidence = s->evidence;
	e->dirty = false;
	return 0;
}

static int
load_labels(struct workload *w, const char *text)
{
	json_t *o = text != NULL ? json_loads(text, 0, NULL) : NULL;
	const char *key;
	json_t *value;

	if (o == NULL)
		return 0;
	w->labels = calloc(json_object_size(o) + 1, sizeof(*w->labels));
	if (w->labels == NULL) {
		json_decref(o);
		return -ENOMEM;
	}
	json_object_foreach(o, key, value)
	{
		if (!json_is_string(value))
			continue;
		w->labels[w->n_labels].key = strdup(key);
		w->labels[w->n_labels++].value = strdup(json_string_value(value));
	}
	json_decref(o);
	return 0;
}

static int
load_workload(void *arg, const struct stored_workload *s)
{
	struct controller *c = arg;
	struct workload *w = workload_get(c, s->name);

	if (w == NULL)
		return -ENOSPC;
	set_mode(w, s->mode, s->direction, s->mode_reason);
	w->first_seen_ns = s->first_seen_ns;
	w->last_seen_ns = s->last_seen_ns;
	w->mode_since_ns = s->mode_since_ns;
	w->auto_promoted = s->auto_promoted;
	w->dirty = false;
	return load_labels(w, s->labels_json);
}

static int
load_network(void *arg, const struct policy_network *n)
{
	struct controller *c = arg;
	struct policy_network *grown, *one;
	size_t count;

	grown = realloc(c->networks, (c->n_networks + 1) * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	c->networks = grown;
	if (copy_networks(n, 1, &one, &count) < 0)
		return -ENOMEM;
	c->networks[c->n_networks++] = one[0];
	free(one);
	return 0;
}

static int
load_revision(void *arg, uint64_t newest)
{
	struct controller *c = arg;

	c->revision = newest;
	return 0;
}

int
segment_load(struct controller *c, struct diag *d)
{
	const struct store_loader l = {
		.arg = c,
		.edge = load_edge,
		.workload = load_workload,
		.network = load_network,
		.revision = load_revision,
	};
	int r = store_load(c->store, &l, d);

	if (r < 0)
		return r;
	return segment_build_policy(c, false, &c->policy);
}
