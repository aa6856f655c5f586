/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy file as a whole: header, networks, workloads, the list of edges, and what must be
 * unique in it. The one validator: YAML, JSON, the command line and the API all come through here.
 */
#include "rules/policy_internal.h"
#include "rules/workload.h"

#include <errno.h>
#include <string.h>

#define POLICY_MAX_LABELS 64

enum top_field {
	F_API_VERSION,
	F_KIND,
	F_METADATA,
	F_NETWORKS,
	F_WORKLOADS,
	F_EDGES,
	F_COUNT_,
};

static const struct read_key top_keys[F_COUNT_] = {
	[F_API_VERSION] = { "apiVersion", true },
	[F_KIND] = { "kind", true },
	[F_METADATA] = { "metadata", false },
	[F_NETWORKS] = { "networks", false },
	[F_WORKLOADS] = { "workloads", false },
	[F_EDGES] = { "edges", false },
};

/* A named item and where it stood in its list. */
struct seen {
	const char *name;
	uint64_t number;
	size_t index;
};

static int
seen_compare(const void *va, const void *vb)
{
	const struct seen *a = va, *b = vb;
	int c = a->name != NULL ? strcmp(a->name, b->name) : 0;

	if (c != 0)
		return c;
	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

/* The first item, in the order of the list, that repeats an earlier one: 1, and both indices. */
static int
seen_repeated(struct seen *seen, size_t n, size_t *ret_first, size_t *ret_again)
{
	int found = 0;

	qsort(seen, n, sizeof(*seen), seen_compare);
	for (size_t i = 1; i < n; i++) {
		const struct seen *a = &seen[i - 1], *b = &seen[i];

		if (a->number != b->number || (a->name != NULL && strcmp(a->name, b->name) != 0))
			continue;
		if (found == 0 || b->index < *ret_again) {
			*ret_first = a->index;
			*ret_again = b->index;
			found = 1;
		}
	}
	return found;
}

static int
header_check(const struct reader *r, const struct slot *s, const char *what, const char *expected)
{
	const char *text = json_string_value(s->value);
	char said[SHOWN_LEN];

	if (text == NULL)
		return read_fail_type(r, s, expected);
	if (strcmp(text, expected) == 0)
		return 0;
	return read_fail(
	    r, s, "unknown %s '%s', this program reads '%s'", what, shown(text, said), expected);
}

static int
metadata_read(const struct reader *r, const struct slot *s, struct policy *p)
{
	static const struct read_key keys[] = { { "name", false }, { "revision", false } };
	struct slot f[ARRAY_SIZE(keys)];
	int64_t revision;
	int rc;

	rc = read_object(r, s, "the metadata", keys, ARRAY_SIZE(keys), f);
	if (rc >= 0 && f[0].value != NULL)
		rc = read_text_dup(r, &f[0], "a name", 253, &p->name);
	if (rc >= 0 && f[1].value != NULL) {
		rc = read_int(r, &f[1], "a revision", 0, INT64_MAX, &revision);
		if (rc >= 0)
			p->revision = (uint64_t)revision;
	}
	return rc;
}

static int
network_read(
    const struct reader *r, const struct slot *s, size_t *budget, struct policy_network *ret)
{
	size_t n;
	int rc;

	if (!policy_network_name_valid(s->key))
		return read_fail_key(r, s,
		    "a network's name has 1 to %d letters, digits, '.', '_' and '-'",
		    POLICY_NETWORK_NAME_MAX);
	rc = read_array(r, s, "a list of prefixes", *budget, &n);
	if (rc < 0)
		return rc;
	if (n == 0)
		return read_fail(r, s, "a network needs at least one prefix");
	*budget -= n;
	ret->name = strdup(s->key);
	ret->prefixes = calloc(n, sizeof(*ret->prefixes));
	if (ret->name == NULL || ret->prefixes == NULL)
		return -ENOMEM;
	ret->n_prefixes = n;
	for (size_t i = 0; i < n; i++) {
		struct slot item = slot_item(s, i);

		rc = read_prefix(r, &item, &ret->prefixes[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
network_compare(const void *a, const void *b)
{
	return strcmp(
	    ((const struct policy_network *)a)->name, ((const struct policy_network *)b)->name);
}

static int
networks_read(const struct reader *r, const struct slot *s, struct policy *p)
{
	size_t n, budget = POLICY_MAX_PREFIXES;
	const char *key;
	json_t *value;

	if (!json_is_object(s->value))
		return read_fail_type(r, s, "a mapping from a network's name to its prefixes");
	n = json_object_size(s->value);
	if (n > POLICY_MAX_NETWORKS)
		return read_fail(
		    r, s, "too many networks: at most %d, found %zu", POLICY_MAX_NETWORKS, n);
	p->networks = calloc(n + 1, sizeof(*p->networks));
	if (p->networks == NULL)
		return -ENOMEM;
	json_object_foreach(s->value, key, value)
	{
		struct slot item = { .holder = s->value, .key = key, .value = value };
		int rc = network_read(r, &item, &budget, &p->networks[p->n_networks++]);

		if (rc < 0)
			return rc;
	}
	qsort(p->networks, p->n_networks, sizeof(*p->networks), network_compare);
	return 0;
}

static int
labels_read(const struct reader *r, const struct slot *s, const char *what,
    struct policy_label **labels, size_t *n_labels)
{
	const char *key;
	json_t *value;
	size_t n;
	int rc;

	if (!json_is_object(s->value))
		return read_fail_type(r, s, what);
	n = json_object_size(s->value);
	if (n > POLICY_MAX_LABELS)
		return read_fail(r, s, "too many: at most %d, found %zu", POLICY_MAX_LABELS, n);
	*labels = calloc(n + 1, sizeof(**labels));
	if (*labels == NULL)
		return -ENOMEM;
	json_object_foreach(s->value, key, value)
	{
		struct slot item = { .holder = s->value, .key = key, .value = value };
		struct policy_label *l = &(*labels)[(*n_labels)++];

		if (*key == '\0' || strlen(key) > 256)
			return read_fail_key(r, &item, "a label's key has 1 to 256 bytes");
		l->key = strdup(key);
		if (l->key == NULL)
			return -ENOMEM;
		rc = read_text_dup(r, &item, "a text", 1024, &l->value);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
images_read(const struct reader *r, const struct slot *s, struct policy_workload *ret)
{
	char repository[256], said[SHOWN_LEN];
	const char *text;
	size_t n;
	int rc;

	rc = read_array(r, s, "a list of image repositories", POLICY_MAX_IMAGES, &n);
	if (rc < 0)
		return rc;
	if (n == 0)
		return read_fail(r, s, "expected at least one image repository");
	ret->images = calloc(n, sizeof(*ret->images));
	if (ret->images == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct slot item = slot_item(s, i);

		rc = read_text(r, &item, "an image repository", sizeof(repository) - 1, &text);
		if (rc < 0)
			return rc;
		if (image_acceptable(text, repository) < 0)
			return read_fail(
			    r, &item, "'%s' is not an image repository", shown(text, said));
		ret->images[i] = strdup(repository);
		if (ret->images[i] == NULL)
			return -ENOMEM;
		ret->n_images = i + 1;
	}
	return 0;
}

static int
workload_read(const struct reader *r, const struct slot *s, struct policy_workload *ret)
{
	static const struct read_key keys[] = { { "name", true }, { "selector", false },
		{ "mode", false }, { "direction", false }, { "labels", false },
		{ "images", false } };
	const char *modes[] = { mode_name(MODE_OBSERVE), mode_name(MODE_AUDIT),
		mode_name(MODE_ENFORCE) };
	const char *directions[] = { NULL, direction_name(WL_INGRESS), direction_name(WL_EGRESS),
		direction_name(WL_BOTH) };
	struct slot f[ARRAY_SIZE(keys)];
	size_t mode = MODE_OBSERVE, direction = WL_BOTH;
	int rc;

	rc = read_object(r, s, "a workload", keys, ARRAY_SIZE(keys), f);
	if (rc >= 0)
		rc = policy_name_read(r, &f[0], "a workload's name", &ret->name);
	if (rc >= 0 && f[1].value != NULL)
		rc = labels_read(r, &f[1], "a mapping of labels", &ret->selector, &ret->n_selector);
	if (rc >= 0 && f[2].value != NULL)
		rc = read_choice(r, &f[2], "mode", modes, ARRAY_SIZE(modes), &mode);
	if (rc >= 0 && f[3].value != NULL)
		rc = read_choice(
		    r, &f[3], "direction", directions, ARRAY_SIZE(directions), &direction);
	if (rc >= 0 && f[4].value != NULL)
		rc = labels_read(r, &f[4], "a mapping of labels", &ret->labels, &ret->n_labels);
	if (rc >= 0 && f[5].value != NULL)
		rc = images_read(r, &f[5], ret);
	if (rc < 0)
		return rc;
	ret->mode = (enum wl_mode)mode;
	ret->direction = (enum wl_direction)direction;
	return 0;
}

static int
workloads_read(const struct reader *r, const struct slot *s, struct policy *p)
{
	_cleanup_free_ struct seen *seen = NULL;
	size_t n, first = 0, again = 0;
	int rc;

	rc = read_array(r, s, "a list of workloads", POLICY_MAX_WORKLOADS, &n);
	if (rc < 0)
		return rc;
	p->workloads = calloc(n + 1, sizeof(*p->workloads));
	seen = calloc(n + 1, sizeof(*seen));
	if (p->workloads == NULL || seen == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct slot item = slot_item(s, i);

		p->n_workloads = i + 1;
		rc = workload_read(r, &item, &p->workloads[i]);
		if (rc < 0)
			return rc;
		seen[i] = (struct seen){ .name = p->workloads[i].name, .index = i };
	}
	if (seen_repeated(seen, n, &first, &again) > 0) {
		struct slot a = slot_item(s, first), b = slot_item(s, again);
		char said[SHOWN_LEN];
		unsigned line, col;

		doc_item_place(r->doc, a.holder, a.index, &line, &col);
		return read_fail(r, &b, "workload '%s' is given twice, first in line %u",
		    shown(p->workloads[again].name, said), line);
	}
	return 0;
}

static int
edge_repeated(const struct reader *r, const struct slot *s, const struct policy_edge *first,
    const struct policy_edge *again, size_t index)
{
	struct slot item = slot_item(s, index);

	if (first->proto == again->proto && first->port_lo == again->port_lo &&
	    first->port_hi == again->port_hi && peer_eq(&first->from, &again->from) &&
	    peer_eq(&first->to, &again->to))
		return read_fail(
		    r, &item, "edge %s is given twice, first in line %u", again->id, first->line);
	return read_fail(r, &item,
	    "id %s belongs to the edge in line %u as well: two different edges share it", again->id,
	    first->line);
}

static int
edges_read(const struct reader *r, const struct slot *s, struct policy *p)
{
	_cleanup_free_ struct seen *seen = NULL;
	size_t n, first = 0, again = 0;
	int rc;

	rc = read_array(r, s, "a list of edges", POLICY_MAX_EDGES, &n);
	if (rc < 0)
		return rc;
	p->edges = calloc(n + 1, sizeof(*p->edges));
	seen = calloc(n + 1, sizeof(*seen));
	if (p->edges == NULL || seen == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct slot item = slot_item(s, i);
		struct policy_edge *e = &p->edges[i];

		p->n_edges = i + 1;
		rc = policy_edge_read(r, &item, p, e);
		if (rc < 0)
			return rc;
		seen[i] = (struct seen){
			.number =
			    edge_key_number(&e->from, &e->to, e->proto, e->port_lo, e->port_hi),
			.index = i,
		};
	}
	if (seen_repeated(seen, n, &first, &again) > 0)
		return edge_repeated(r, s, &p->edges[first], &p->edges[again], again);
	return 0;
}

static int
root_read(const struct reader *r, const struct slot *s, struct policy *p)
{
	struct slot f[F_COUNT_];
	int rc;

	if (json_is_null(s->value))
		return read_fail(
		    r, s, "the file is empty, expected a policy (apiVersion: nanoseg/v1)");
	rc = read_object(r, s, "a policy", top_keys, F_COUNT_, f);
	if (rc >= 0)
		rc = header_check(r, &f[F_API_VERSION], "apiVersion", "nanoseg/v1");
	if (rc >= 0)
		rc = header_check(r, &f[F_KIND], "kind", "SegmentPolicy");
	if (rc >= 0 && f[F_METADATA].value != NULL)
		rc = metadata_read(r, &f[F_METADATA], p);
	if (rc >= 0 && f[F_NETWORKS].value != NULL)
		rc = networks_read(r, &f[F_NETWORKS], p);
	if (rc >= 0 && f[F_WORKLOADS].value != NULL)
		rc = workloads_read(r, &f[F_WORKLOADS], p);
	if (rc >= 0 && f[F_EDGES].value != NULL)
		rc = edges_read(r, &f[F_EDGES], p);
	return rc;
}

static int
tree_read(struct doc *doc, struct diag *d, struct policy **ret)
{
	_cleanup_(policy_freep) struct policy *p = calloc(1, sizeof(*p));
	const struct reader r = { .doc = doc, .d = d };
	const struct slot root = slot_root(doc_root(doc));
	int rc;

	if (p == NULL)
		return -ENOMEM;
	rc = root_read(&r, &root, p);
	if (rc < 0)
		return rc;
	*ret = steal_ptr(p);
	return 0;
}

int
policy_parse(const char *text, size_t len, struct diag *d, struct policy **ret)
{
	_cleanup_(doc_freep) struct doc *plain = NULL, *doc = NULL;
	struct diag unread;
	int rc;

	if (d == NULL)
		d = &unread;
	/* What is wrong with it needs a place, and a place takes time: only then. */
	if (doc_parse_json(text, len, &plain) == 0 && tree_read(plain, &unread, ret) == 0)
		return 0;
	doc_free(steal_ptr(plain));
	rc = doc_parse(text, len, d, &doc);
	return rc < 0 ? rc : tree_read(doc, d, ret);
}
