/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/reach.h"

#include "cli/bundle.h"
#include "cli/show.h"

#include <errno.h>
#include <string.h>

#define MAX_DIRECT 200

struct reach {
	json_t *governs; /* peer -> {in, out}: which directions of a workload are enforced */
	json_t *sources; /* peer -> {peer: true}: who may connect to it */
};

void
reach_free(struct reach *r)
{
	if (r == NULL)
		return;
	json_decref(r->governs);
	json_decref(r->sources);
	free(r);
}

static struct reach *
reach_new(void)
{
	struct reach *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->governs = json_object();
	r->sources = json_object();
	return r;
}

static void
add_workload(struct reach *r, const char *name, const char *mode, const char *direction)
{
	bool enforced = strcmp(mode, "enforce") == 0;
	_cleanup_free_ char *peer = NULL;

	if (asprintf(&peer, "workload:%s", name) < 0) {
		peer = NULL;
		return;
	}
	json_object_set_new(r->governs, peer,
	    json_pack("{s:b, s:b}", "in", enforced && strcmp(direction, "egress") != 0, "out",
		enforced && strcmp(direction, "ingress") != 0));
}

static void
add_edge(struct reach *r, const char *from, const char *to)
{
	json_t *set = json_object_get(r->sources, to);

	if (set == NULL) {
		set = json_object();
		json_object_set_new(r->sources, to, set);
	}
	json_object_set_new(set, from, json_true());
}

int
reach_of_bundle(const json_t *b, struct reach **ret)
{
	struct reach *r = reach_new();
	uint64_t now = bundle_until(b);
	json_t *o;
	size_t i;

	if (r == NULL)
		return -ENOMEM;
	json_array_foreach(show_in(b, "workloads"), i, o) add_workload(r, show_text(o, "name", "?"),
	    show_text(o, "mode", ""), show_text(o, "direction", "both"));
	json_array_foreach(show_in(b, "edges"), i, o)
	{
		uint64_t expires = bundle_time(o, "expires");

		if (strcmp(show_text(o, "state", ""), "approved") == 0 &&
		    (expires == 0 || expires > now))
			add_edge(r, show_text(o, "from", "?"), show_text(o, "to", "?"));
	}
	*ret = r;
	return 0;
}

int
reach_of_policy(const struct policy *p, const json_t *bundle, uint64_t now_ns, struct reach **ret)
{
	struct reach *r = reach_new();
	json_t *o;
	size_t i;

	if (r == NULL)
		return -ENOMEM;
	/* A workload that the policy does not name is observed. */
	json_array_foreach(show_in(bundle, "workloads"), i, o)
	    add_workload(r, show_text(o, "name", "?"), "observe", "both");
	for (i = 0; i < p->n_workloads; i++)
		add_workload(r, p->workloads[i].name, mode_name(p->workloads[i].mode),
		    direction_name(p->workloads[i].direction));
	for (i = 0; i < p->n_edges; i++) {
		const struct policy_edge *e = &p->edges[i];
		char from[PEER_STRLEN], to[PEER_STRLEN];

		if (e->state == EDGE_APPROVED && (e->expires_ns == 0 || e->expires_ns > now_ns))
			add_edge(r, peer_format(&e->from, from), peer_format(&e->to, to));
	}
	*ret = r;
	return 0;
}

static bool
is_enforced(const struct reach *r, const char *peer, const char *direction)
{
	return json_is_true(json_object_get(json_object_get(r->governs, peer), direction));
}

/* One search, backwards: each peer found knows the one that it reaches the target by. */
struct search {
	const struct reach *r;
	json_t *next;	     /* peer -> the next on the way */
	json_t *queue;	     /* peers, nearest first */
	bool opened;	     /* whoever may send freely is in already */
	const char *outside; /* the first one found is a nearest one */
};

static void
found(struct search *s, const char *peer, const char *by)
{
	if (json_object_get(s->next, peer) != NULL)
		return;
	json_object_set_new(s->next, peer, json_string(by));
	if (show_workload(peer) != NULL)
		json_array_append_new(s->queue, json_string(peer));
	else if (s->outside == NULL)
		s->outside = peer;
}

static void
expand(struct search *s, const char *peer)
{
	const char *source;
	json_t *v;

	json_object_foreach(json_object_get(s->r->sources, peer), source, v) found(s, source, peer);
	if (is_enforced(s->r, peer, "in") || s->opened)
		return;
	s->opened = true;
	found(s, "internet", peer);
	json_object_foreach(s->r->governs, source, v) if (!is_enforced(s->r, source, "out"))
	    found(s, source, peer);
}

static json_t *
path_from(const struct search *s, const char *peer, const char *target)
{
	json_t *path = json_array();

	for (size_t i = 0; peer != NULL && i <= BUNDLE_MAX_WORKLOADS; i++) {
		json_array_append_new(path, json_string(peer));
		if (strcmp(peer, target) == 0)
			break;
		peer = json_string_value(json_object_get(s->next, peer));
	}
	return path;
}

static json_t *
direct_sources(const struct reach *r, const char *target)
{
	json_t *list = json_array(), *v;
	const char *source;

	if (!is_enforced(r, target, "in"))
		json_array_append_new(list, json_string("anyone"));
	json_object_foreach(json_object_get(r->sources, target), source, v)
	{
		if (json_array_size(list) < MAX_DIRECT && strcmp(source, target) != 0)
			json_array_append_new(list, json_string(source));
	}
	return list;
}

json_t *
reach_to(const struct reach *r, const char *workload)
{
	struct search s = { .r = r, .next = json_object(), .queue = json_array() };
	_cleanup_free_ char *target = NULL;
	json_t *path = NULL, *ret;
	size_t n = 0;

	if (asprintf(&target, "workload:%s", workload) < 0)
		target = NULL;
	if (target != NULL) {
		json_object_set_new(s.next, target, json_string(""));
		json_array_append_new(s.queue, json_string(target));
		for (; n < json_array_size(s.queue); n++)
			expand(&s, json_string_value(json_array_get(s.queue, n)));
		path = s.outside != NULL ? path_from(&s, s.outside, target) : json_array();
	}
	ret = json_pack("{s:b, s:o, s:I, s:b, s:o, s:o}", "open", !is_enforced(r, target, "in"),
	    "from", direct_sources(r, target), "workloads", (json_int_t)n - 1, "outside",
	    s.outside != NULL, "hops",
	    s.outside != NULL ? json_integer((json_int_t)json_array_size(path) - 1) : json_null(),
	    "path", path);
	json_decref(s.next);
	json_decref(s.queue);
	return ret;
}
