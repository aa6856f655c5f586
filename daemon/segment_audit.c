/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a change is about, as its audit record says it: read from what the change saved to undo. */
#include "daemon/api.h"
#include "daemon/roster.h"
#include "daemon/segment_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_IDS API_MAX_IDS
#define MAX_WHAT 20 /* spelled out */

json_t *
revision_json(uint64_t revision, const char *digest)
{
	return json_pack("{s:I, s:o}", "revision", (json_int_t)revision, "digest",
	    digest[0] != '\0' ? json_string(digest) : json_null());
}

/* "workload:web -> workload:db tcp/5432 approved" */
static json_t *
edge_words(struct controller *c, const struct edge *e)
{
	char from[PEER_STRLEN], to[PEER_STRLEN], ports[24], number[8];
	char text[2 * PEER_STRLEN + 64];
	const char *proto = proto_name(e->key.proto);

	snprintf(number, sizeof(number), "%u", e->key.proto);
	snprintf(ports, sizeof(ports), e->key.port_lo == e->key.port_hi ? "%u" : "%u-%u",
	    e->key.port_lo, e->key.port_hi);
	snprintf(text, sizeof(text), "%s -> %s %s/%s %s",
	    peer_format(peer_get(c->peers, e->key.from), from),
	    peer_format(peer_get(c->peers, e->key.to), to), proto != NULL ? proto : number, ports,
	    edge_state_name(e->state));
	return json_text(text);
}

static int
edge_undo_cmp(const void *x, const void *y)
{
	const struct edge_undo *a = *(const struct edge_undo *const *)x;
	const struct edge_undo *b = *(const struct edge_undo *const *)y;

	if (a->edge != b->edge)
		return a->edge < b->edge ? -1 : 1;
	return a < b ? -1 : a > b; /* what was saved first is how it was */
}

static void
add_edges(json_t *o, struct controller *c, const struct undo *u, bool *touched)
{
	_cleanup_free_ const struct edge_undo **list = calloc(u->n_edges + 1, sizeof(void *));
	json_t *ids = json_array(), *what = json_array();
	size_t n = 0;

	for (size_t i = 0; list != NULL && i < u->n_edges; i++)
		list[i] = &u->edges[i];
	if (list != NULL)
		qsort(list, u->n_edges, sizeof(void *), edge_undo_cmp);
	for (size_t i = 0; list != NULL && i < u->n_edges; i++) {
		const struct edge *e = list[i]->edge;

		if ((i > 0 && list[i - 1]->edge == e) ||
		    (e->state == list[i]->state &&
			e->decision.decided_ns == list[i]->decision.decided_ns &&
			e->decision.kept_ns == list[i]->decision.kept_ns))
			continue;
		touched[e->key.from] = touched[e->key.to] = true;
		if (n < MAX_IDS)
			json_array_append_new(ids, json_string(e->id));
		if (n < MAX_WHAT)
			json_array_append_new(what, edge_words(c, e));
		n++;
	}
	json_object_set_new(o, "edges", ids);
	json_object_set_new(o, "edgeCount", json_integer((json_int_t)n));
	json_object_set_new(o, "what", what);
}

static void
add_modes(json_t *o, const struct undo *u, bool *touched)
{
	json_t *modes = json_array();

	for (size_t i = 0; i < u->n_workloads; i++) {
		const struct workload_undo *s = &u->workloads[i];
		const struct workload *w = s->workload;

		if (s->mode == w->mode && s->direction == w->direction)
			continue;
		touched[w->peer] = true;
		json_array_append_new(
		    modes, json_pack("{s:o, s:s, s:s, s:s}", "workload", json_text(w->name), "was",
			       mode_name(s->mode), "mode", mode_name(w->mode), "direction",
			       direction_name(w->direction)));
	}
	json_object_set_new(o, "modes", modes);
}

static json_t *
texts_json(char *const *list, size_t n)
{
	json_t *texts = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(texts, json_text(list[i]));
	return texts;
}

/* Accepted images, where they have changed. */
static void
add_images(json_t *o, const struct undo *u, bool *touched)
{
	json_t *list = json_array();

	for (size_t i = 0; i < u->n_workloads; i++) {
		const struct workload_undo *s = &u->workloads[i];
		const struct workload *w = s->workload;
		json_t *was = texts_json(s->images, s->n_images);
		json_t *now = texts_json(w->images, w->n_images);

		if (json_equal(was, now)) {
			json_decref(was);
			json_decref(now);
			continue;
		}
		touched[w->peer] = true;
		json_array_append_new(list, json_pack("{s:o, s:o, s:o}", "workload",
						json_text(w->name), "was", was, "images", now));
	}
	json_object_set_new(o, "images", list);
}

json_t *
change_subject(struct controller *c, const struct undo *u)
{
	size_t n = peer_table_count(c->peers) + 2;
	_cleanup_free_ bool *touched = calloc(n, sizeof(bool));
	json_t *o = json_object(), *names = json_array();

	if (touched != NULL) {
		add_edges(o, c, u, touched);
		add_modes(o, u, touched);
		add_images(o, u, touched);
	}
	for (peer_id id = 1; touched != NULL && id < n; id++) {
		const struct peer *p = touched[id] ? peer_get(c->peers, id) : NULL;

		if (p != NULL && p->kind == PEER_WORKLOAD)
			json_array_append_new(names, json_text(p->name));
	}
	json_object_set_new(o, "workloads", names);
	return o;
}
