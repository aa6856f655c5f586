/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A policy in its file form: what policy_parse() reads back to the same policy. */
#include "rules/policy_internal.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <string.h>

/* Sets a new reference; a NULL value (no memory) is an error of the whole. */
static int
put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

/* Free text that never came through the validator may be anything: kept readable, not exact. */
static json_t *
free_text(const char *text)
{
	char buf[EDGE_REASON_MAX * 4 + 1];

	if (text_is_utf8(text, strlen(text)))
		return json_string(text);
	text_escape(text, strlen(text), buf, sizeof(buf));
	return json_string(buf);
}

static int
peer_compare(const struct peer *a, const struct peer *b)
{
	int c;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->name != NULL && b->name != NULL) {
		c = strcmp(a->name, b->name);
		if (c != 0)
			return c;
	}
	c = addr_cmp(&a->prefix.addr, &b->prefix.addr);
	return c != 0 ? c : (int)a->prefix.len - (int)b->prefix.len;
}

static int
edge_compare(const void *va, const void *vb)
{
	const struct policy_edge *a = *(const struct policy_edge *const *)va;
	const struct policy_edge *b = *(const struct policy_edge *const *)vb;
	int c = peer_compare(&a->from, &b->from);

	if (c == 0)
		c = peer_compare(&a->to, &b->to);
	if (c == 0)
		c = (int)a->proto - (int)b->proto;
	if (c == 0)
		c = (int)a->port_lo - (int)b->port_lo;
	return c != 0 ? c : (int)a->port_hi - (int)b->port_hi;
}

static int
workload_compare(const void *a, const void *b)
{
	return strcmp((*(const struct policy_workload *const *)a)->name,
	    (*(const struct policy_workload *const *)b)->name);
}

static int
network_compare(const void *a, const void *b)
{
	return strcmp((*(const struct policy_network *const *)a)->name,
	    (*(const struct policy_network *const *)b)->name);
}

/* An array of pointers to the items, sorted. NULL: no memory. */
static void *
sorted(const void *items, size_t n, size_t size, int (*compare)(const void *, const void *))
{
	const void **p = calloc(n + 1, sizeof(*p));

	if (p == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		p[i] = (const char *)items + i * size;
	qsort(p, n, sizeof(*p), compare);
	return p;
}

static int
put_metadata(json_t *root, const struct policy *p)
{
	json_t *o = json_object();
	int r = put(root, "metadata", o);

	if (r >= 0 && p->name != NULL)
		r = put(o, "name", free_text(p->name));
	if (r >= 0)
		r = put(o, "revision", json_integer((json_int_t)p->revision));
	return r;
}

static int
put_networks(json_t *root, const struct policy *p)
{
	_cleanup_free_ const struct policy_network **list =
	    sorted(p->networks, p->n_networks, sizeof(*p->networks), network_compare);
	json_t *o = json_object();
	int r = put(root, "networks", o);

	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_networks && r >= 0; i++) {
		json_t *prefixes = json_array();

		r = put(o, list[i]->name, prefixes);
		for (size_t k = 0; k < list[i]->n_prefixes && r >= 0; k++) {
			char buf[PREFIX_STRLEN];

			prefix_format(&list[i]->prefixes[k], buf);
			r = json_array_append_new(prefixes, json_string(buf)) < 0 ? -ENOMEM : 0;
		}
	}
	return r;
}

static int
put_labels(json_t *o, const char *key, const struct policy_label *labels, size_t n)
{
	json_t *map;
	int r;

	if (n == 0)
		return 0;
	map = json_object();
	r = put(o, key, map);
	for (size_t i = 0; i < n && r >= 0; i++)
		r = put(map, labels[i].key, free_text(labels[i].value));
	return r;
}

static int
put_images(json_t *o, const struct policy_workload *w)
{
	json_t *list = json_array();
	int r = put(o, "images", list);

	for (size_t i = 0; i < w->n_images && r >= 0; i++)
		if (json_array_append_new(list, json_string(w->images[i])) < 0)
			r = -ENOMEM;
	return r;
}

static int
put_workload(json_t *list, const struct policy_workload *w)
{
	json_t *o = json_object();
	int r = json_array_append_new(list, o) < 0 ? -ENOMEM : 0;

	if (r >= 0)
		r = put(o, "name", policy_name_to_json(w->name));
	if (r >= 0)
		r = put_labels(o, "selector", w->selector, w->n_selector);
	if (r >= 0)
		r = put(o, "mode", json_string(mode_name(w->mode)));
	if (r >= 0)
		r = put(o, "direction", json_string(direction_name(w->direction)));
	if (r >= 0)
		r = put_labels(o, "labels", w->labels, w->n_labels);
	if (r >= 0 && w->n_images > 0)
		r = put_images(o, w);
	return r;
}

static int
put_workloads(json_t *root, const struct policy *p)
{
	_cleanup_free_ const struct policy_workload **list =
	    sorted(p->workloads, p->n_workloads, sizeof(*p->workloads), workload_compare);
	json_t *array = json_array();
	int r = put(root, "workloads", array);

	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_workloads && r >= 0; i++)
		r = put_workload(array, list[i]);
	return r;
}

static int
put_port(json_t *o, const struct policy_edge *e)
{
	int r;

	if (proto_is_icmp(e->proto)) {
		r = put(o, "type", json_integer(e->port_lo >> 8));
		if (r >= 0 && (e->port_lo & 0xff) != 0)
			r = put(o, "code", json_integer(e->port_lo & 0xff));
		return r;
	}
	if (e->port_lo == e->port_hi)
		return put(o, "port", json_integer(e->port_lo));
	return put(o, "port", json_sprintf("%u-%u", e->port_lo, e->port_hi));
}

static int
put_edge(json_t *list, const struct policy_edge *e)
{
	json_t *o = json_object();
	char when[TIME_STRLEN];
	int r = json_array_append_new(list, o) < 0 ? -ENOMEM : 0;

	if (r >= 0)
		r = put(o, "id", json_string(e->id));
	if (r >= 0)
		r = put(o, "from", peer_to_policy_json(&e->from));
	if (r >= 0)
		r = put(o, "to", peer_to_policy_json(&e->to));
	if (r >= 0)
		r = put(o, "proto", json_string(proto_name(e->proto)));
	if (r >= 0)
		r = put_port(o, e);
	if (r >= 0)
		r = put(o, "state", json_string(edge_state_name(e->state)));
	if (r >= 0 && e->reason != NULL && e->reason[0] != '\0')
		r = put(o, "reason", free_text(e->reason));
	if (r >= 0 && e->ticket != NULL && e->ticket[0] != '\0')
		r = put(o, "ticket", free_text(e->ticket));
	if (r >= 0 && e->expires_ns != 0)
		r = put(o, "expires", json_string(time_format(e->expires_ns, when)));
	return r;
}

static int
put_edges(json_t *root, const struct policy *p)
{
	_cleanup_free_ const struct policy_edge **list =
	    sorted(p->edges, p->n_edges, sizeof(*p->edges), edge_compare);
	json_t *array = json_array();
	int r = put(root, "edges", array);

	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_edges && r >= 0; i++)
		r = put_edge(array, list[i]);
	return r;
}

json_t *
policy_to_json(const struct policy *p)
{
	json_t *root = json_object();
	int r;

	if (root == NULL)
		return NULL;
	r = put(root, "apiVersion", json_string("nanoseg/v1"));
	if (r >= 0)
		r = put(root, "kind", json_string("SegmentPolicy"));
	if (r >= 0)
		r = put_metadata(root, p);
	if (r >= 0 && p->n_networks > 0)
		r = put_networks(root, p);
	if (r >= 0)
		r = put_workloads(root, p);
	if (r >= 0)
		r = put_edges(root, p);
	if (r < 0) {
		json_decref(root);
		return NULL;
	}
	return root;
}

int
policy_to_yaml(const struct policy *p, char **ret)
{
	json_t *root = policy_to_json(p);
	int r;

	if (root == NULL)
		return -ENOMEM;
	r = doc_to_yaml(root, ret);
	json_decref(root);
	return r;
}
