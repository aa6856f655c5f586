/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The policy as one value, made from the tables, and the tables made from the store. */
#include "daemon/aside.h"
#include "daemon/denial.h"
#include "daemon/image.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/segment_internal.h"
#include "daemon/start.h"
#include "daemon/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int
text_copy(const char *text, char **ret)
{
	char *copy;

	if (text == NULL) {
		*ret = NULL;
		return 0;
	}
	copy = strdup(text);
	if (copy == NULL)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

void
labels_free(struct policy_label *list, size_t n)
{
	for (size_t i = 0; list != NULL && i < n; i++) {
		free(list[i].key);
		free(list[i].value);
	}
	free(list);
}

int
labels_copy(const struct policy_label *from, size_t n, struct policy_label **ret)
{
	struct policy_label *list = calloc(n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (text_copy(from[i].key, &list[i].key) < 0 ||
		    text_copy(from[i].value, &list[i].value) < 0) {
			labels_free(list, n);
			return -ENOMEM;
		}
	}
	*ret = list;
	return 0;
}

void
texts_free(char **list, size_t n)
{
	for (size_t i = 0; list != NULL && i < n; i++)
		free(list[i]);
	free(list);
}

int
texts_copy(char *const *from, size_t n, char ***ret)
{
	char **list = calloc(n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (text_copy(from[i], &list[i]) < 0) {
			texts_free(list, n);
			return -ENOMEM;
		}
	}
	*ret = list;
	return 0;
}

void
networks_free(struct policy_network *list, size_t n)
{
	for (size_t i = 0; list != NULL && i < n; i++) {
		free(list[i].name);
		free(list[i].prefixes);
	}
	free(list);
}

int
networks_copy(const struct policy_network *from, size_t n, struct policy_network **ret)
{
	struct policy_network *list = calloc(n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		size_t count = from[i].n_prefixes;

		list[i].prefixes = calloc(count + 1, sizeof(struct prefix));
		if (list[i].prefixes == NULL || text_copy(from[i].name, &list[i].name) < 0) {
			networks_free(list, n);
			return -ENOMEM;
		}
		if (count > 0)
			memcpy(list[i].prefixes, from[i].prefixes, count * sizeof(struct prefix));
		list[i].n_prefixes = count;
	}
	*ret = list;
	return 0;
}

/* The policy's end of an edge: its name is the policy's own, or NULL. */
static int
copy_peer(struct controller *c, peer_id id, struct peer *ret)
{
	const struct peer *p = peer_get(c->peers, id);
	char *name;

	if (text_copy(p->name, &name) < 0)
		return -ENOMEM;
	*ret = *p;
	ret->name = name;
	return 0;
}

static int
policy_edge_from(struct controller *c, const struct edge *e, struct policy_edge *pe)
{
	pe->proto = e->key.proto;
	pe->port_lo = e->key.port_lo;
	pe->port_hi = e->key.port_hi;
	pe->state = e->state;
	pe->expires_ns = e->decision.expires_ns;
	memcpy(pe->id, e->id, sizeof(pe->id));
	if (copy_peer(c, e->key.from, &pe->from) < 0 || copy_peer(c, e->key.to, &pe->to) < 0 ||
	    text_copy(e->decision.reason, &pe->reason) < 0)
		return -ENOMEM;
	return text_copy(e->decision.ticket, &pe->ticket);
}

static int
policy_workload_from(const struct workload *w, struct policy_workload *pw)
{
	pw->mode = w->mode;
	pw->direction = w->direction;
	if (text_copy(w->name, &pw->name) < 0 ||
	    labels_copy(w->labels, w->n_labels, &pw->labels) < 0)
		return -ENOMEM;
	pw->n_labels = w->n_labels;
	if (labels_copy(w->selector, w->n_selector, &pw->selector) < 0)
		return -ENOMEM;
	pw->n_selector = w->n_selector;
	if (texts_copy(w->images, w->n_images, &pw->images) < 0)
		return -ENOMEM;
	pw->n_images = w->n_images;
	return 0;
}

static bool
peer_selected(const struct controller *c, const struct peer *p)
{
	return p->kind == PEER_WORKLOAD && workload_selected(c, p->name);
}

bool
segment_edge_selected(const struct controller *c, const struct edge *e)
{
	return c->only == NULL || peer_selected(c, peer_get(c->peers, e->key.from)) ||
	       peer_selected(c, peer_get(c->peers, e->key.to));
}

bool
policy_edge_selected(const struct controller *c, const struct policy_edge *pe)
{
	return c->only == NULL || peer_selected(c, &pe->from) || peer_selected(c, &pe->to);
}

size_t
segment_count_foreign(const struct controller *c, const struct policy *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_workloads; i++)
		n += !workload_selected(c, p->workloads[i].name);
	for (size_t i = 0; i < p->n_edges; i++)
		n += !policy_edge_selected(c, &p->edges[i]);
	return n;
}

static int
build_policy(struct controller *c, bool with_pending, bool selected, struct policy **ret)
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
	for (const struct workload *w = c->workloads; w != NULL; w = w->next) {
		if (selected && !workload_selected(c, w->name))
			continue;
		if (policy_workload_from(w, &p->workloads[p->n_workloads++]) < 0)
			return -ENOMEM;
	}
	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		if ((e->state == EDGE_PENDING && !with_pending) ||
		    (selected && !segment_edge_selected(c, e)))
			continue;
		if (policy_edge_from(c, e, &p->edges[p->n_edges++]) < 0)
			return -ENOMEM;
	}
	if (networks_copy(c->networks, c->n_networks, &p->networks) < 0)
		return -ENOMEM;
	p->n_networks = c->n_networks;
	*ret = steal_ptr(p);
	return 0;
}

/* It is compiled for every workload. */
static void
make_index(void *arg)
{
	(void)policy_index(arg); /* without it, it is only slower */
}

int
segment_build_policy(struct controller *c, bool with_pending, struct policy **ret)
{
	int r = build_policy(c, with_pending, false, ret);

	if (r == 0 && (*ret)->n_edges < SEGMENT_LARGE)
		make_index(*ret);
	else if (r == 0)
		aside_apart(make_index, *ret);
	return r;
}

int
segment_show_policy(struct controller *c, bool with_pending, struct policy **ret)
{
	return build_policy(c, with_pending, true, ret);
}

struct parsing {
	const char *text;
	size_t len;
	struct diag *d;
	struct policy *policy;
	int error;
};

static void
parse(void *arg)
{
	struct parsing *p = arg;

	p->error = policy_parse(p->text, p->len, p->d, &p->policy);
}

int
policy_parse_apart(const char *text, size_t len, struct diag *d, struct policy **ret)
{
	struct parsing p = { .text = text, .len = len, .d = d };

	aside_apart(parse, &p);
	if (p.error == 0)
		*ret = p.policy;
	return p.error;
}

static void
free_policy(void *arg)
{
	policy_free(arg);
}

void
policy_free_apart(struct policy **p)
{
	if (*p != NULL)
		aside_apart(free_policy, *p);
}

static int
load_edge(void *arg, struct stored_edge *s)
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
	e->recorded = e->sampled = edge_connections(e);
	if (s->extent != NULL && edge_extent_make(e) == 0)
		*e->extent = *s->extent;
	e->seen_as = steal_ptr(s->seen_as);
	edge_table_restored(c->edges, e);
	e->dirty = false;
	return 0;
}

static int
load_labels(const char *text, struct policy_label **ret, size_t *ret_n)
{
	json_t *o = text != NULL ? json_loads(text, 0, NULL) : NULL;
	_cleanup_free_ struct policy_label *list = calloc(json_object_size(o) + 1, sizeof(*list));
	struct policy_label *copy;
	const char *key;
	json_t *value;
	size_t n = 0;
	int r = list != NULL ? 0 : -ENOMEM;

	json_object_foreach(o, key, value)
	{
		if (r == 0 && json_is_string(value))
			list[n++] =
			    (struct policy_label){ (char *)key, (char *)json_string_value(value) };
	}
	if (r == 0)
		r = labels_copy(list, n, &copy);
	if (r == 0) {
		*ret = copy;
		*ret_n = n;
	}
	json_decref(o);
	return r;
}

static int
load_images(const char *text, struct workload *w)
{
	json_t *list = text != NULL ? json_loads(text, 0, NULL) : NULL;
	int r = text == NULL || json_is_array(list) ? 0 : -EBADMSG;

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const char *image = json_string_value(json_array_get(list, i));

		r = image != NULL ? workload_accept(w, image) : -EBADMSG;
	}
	json_decref(list);
	return r;
}

static int
load_workload(void *arg, const struct stored_workload *s)
{
	struct controller *c = arg;
	struct workload *w = workload_get(c, s->name);
	int r;

	if (w == NULL)
		return -ENOSPC;
	w->mode = s->mode;
	w->direction = s->direction;
	workload_set_text(&w->project, s->project != NULL ? s->project : "");
	w->first_seen_ns = s->first_seen_ns;
	w->last_seen_ns = w->away_ns = s->last_seen_ns;
	w->mode_since_ns = s->mode_since_ns;
	w->observed_ns = s->observed_ns;
	w->auto_promoted = s->auto_promoted;
	w->rolled_back = s->rolled_back;
	w->missed_ns = s->missed_ns;
	workload_set_text(&w->networks, s->networks != NULL ? s->networks : "");
	if (s->log != NULL) {
		w->log = complete_log_fold(s->log);
		if (w->log == NULL)
			return -ENOMEM;
	}
	r = load_images(s->images_json, w);
	w->dirty = false;
	if (r == 0)
		r = text_copy(s->mode_reason, &w->mode_reason);
	if (r == 0)
		r = text_copy(s->mode_by, &w->mode_by);
	if (r == 0)
		r = load_labels(s->labels_json, &w->labels, &w->n_labels);
	if (r == 0)
		r = load_labels(s->selector_json, &w->selector, &w->n_selector);
	return r;
}

static int
load_network(void *arg, const struct policy_network *n)
{
	struct controller *c = arg;
	struct policy_network *grown, *one;

	grown = realloc(c->networks, (c->n_networks + 1) * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	c->networks = grown;
	if (networks_copy(n, 1, &one) < 0)
		return -ENOMEM;
	c->networks[c->n_networks++] = one[0];
	free(one);
	return 0;
}

static int
load_denial(void *arg, const struct stored_denial *s)
{
	return denial_restore(arg, s);
}

static int
load_exposure(void *arg, const struct exposure *e)
{
	return exposure_restore(arg, e);
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
		.denial = load_denial,
		.exposure = load_exposure,
		.revision = load_revision,
	};
	_cleanup_free_ char *text = NULL;
	int r = store_load(c->store, &l, d);

	if (r < 0)
		return r;
	if (c->revision != 0 && store_get_revision(c->store, c->revision, &text) == 0)
		audit_digest(text, strlen(text), c->policy_digest);
	return segment_build_policy(c, false, &c->policy);
}
