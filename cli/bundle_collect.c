/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bundle from a daemon's answers: sorted, bounded, and without what is of this moment only. */
#include "cli/bundle.h"

#include "cli/client.h"
#include "cli/graph.h"
#include "cli/show.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct answers {
	json_t *status, *graph, *policy, *denials, *revisions, *audit;
};

static void
answers_done(struct answers *a)
{
	json_decref(a->status);
	json_decref(a->graph);
	json_decref(a->policy);
	json_decref(a->denials);
	json_decref(a->revisions);
	json_decref(a->audit);
}

/* The audit head first: what is exported is no older than it. */
static int
fetch(const struct cli *cli, struct answers *a)
{
	const struct {
		const char *path;
		json_t **ret;
	} list[] = {
		{ "/v1/audit", &a->audit },
		{ "/v1/status", &a->status },
		{ "/v1/graph", &a->graph },
		{ "/v1/policy?decided=1", &a->policy },
		{ "/v1/denials", &a->denials },
		{ "/v1/revisions", &a->revisions },
	};
	int r = CLI_OK;

	for (size_t i = 0; i < ARRAY_SIZE(list) && r == CLI_OK; i++)
		r = client_get(cli, list[i].path, list[i].ret);
	return r;
}

/* Others write real numbers in other ways: four decimals come out the same everywhere. */
static json_t *
rounded(const json_t *value)
{
	json_t *copy, *item;
	const char *key;
	size_t i;

	if (json_is_real(value))
		return json_real(round(json_real_value(value) * 10000) / 10000);
	if (json_is_object(value)) {
		copy = json_object();
		json_object_foreach((json_t *)value, key, item)
		    json_object_set_new(copy, key, rounded(item));
		return copy;
	}
	if (json_is_array(value)) {
		copy = json_array();
		json_array_foreach(value, i, item) json_array_append_new(copy, rounded(item));
		return copy;
	}
	return json_incref((json_t *)value);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(
	    show_text(*(json_t *const *)a, "name", ""), show_text(*(json_t *const *)b, "name", ""));
}

static int
by_id(const void *a, const void *b)
{
	return strcmp(
	    show_text(*(json_t *const *)a, "id", ""), show_text(*(json_t *const *)b, "id", ""));
}

static int
by_from_time(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int r = strcmp(show_text(x, "from", ""), show_text(y, "from", ""));

	return r != 0 ? r : strcmp(show_text(x, "workload", ""), show_text(y, "workload", ""));
}

/* A sorted copy, of those that end not before since. NULL without memory: never a shorter one. */
static json_t *
sorted(const json_t *list, const char *end_key, uint64_t since_ns,
    int (*compare)(const void *, const void *))
{
	size_t n = 0, size = json_array_size(list);
	_cleanup_free_ json_t **items = calloc(size + 1, sizeof(*items));
	json_t *ret = items != NULL ? json_array() : NULL;

	if (ret == NULL)
		return NULL;
	for (size_t i = 0; i < size; i++) {
		json_t *o = json_array_get(list, i);
		uint64_t end = end_key != NULL ? bundle_time(o, end_key) : 0;

		if (end == 0 || end >= since_ns)
			items[n++] = o;
	}
	qsort(items, n, sizeof(*items), compare);
	for (size_t i = 0; i < n; i++) {
		if (json_array_append_new(ret, rounded(items[i])) < 0) {
			json_decref(ret);
			return NULL;
		}
	}
	return ret;
}

/* What the policy says of it: its labels. */
static void
add_labels(json_t *workloads, const json_t *policy)
{
	json_t *labels = json_object(), *w;
	size_t i;

	json_array_foreach(show_in(policy, "workloads"), i, w)
	{
		if (json_is_string(json_object_get(w, "name")) &&
		    json_is_object(json_object_get(w, "labels")))
			json_object_set(labels, json_string_value(json_object_get(w, "name")),
			    json_object_get(w, "labels"));
	}
	json_array_foreach(workloads, i, w)
	{
		json_t *l = json_object_get(labels, show_text(w, "name", ""));

		json_object_set_new(w, "labels", l != NULL ? json_incref(l) : json_object());
	}
	json_decref(labels);
}

/* The daemon's: with -H it is not this one. */
static json_t *
host_json(const json_t *status)
{
	const json_t *host = show_in(status, "host");

	return json_pack("{s:s, s:s, s:s}", "kernel", show_text(host, "kernel", "?"), "name",
	    show_text(host, "name", "?"), "nanoseg", show_text(status, "version", "?"));
}

/* From when on something is known of the workloads, or from when it was asked for. */
static json_t *
period_json(const json_t *workloads, uint64_t since_ns)
{
	uint64_t from = since_ns, now = (uint64_t)time(NULL) * NSEC_PER_SEC;
	char a[TIME_STRLEN], b[TIME_STRLEN];

	for (size_t i = 0; since_ns == 0 && i < json_array_size(workloads); i++) {
		uint64_t t = bundle_time(json_array_get(workloads, i), "firstSeen");

		if (t != 0 && (from == 0 || t < from))
			from = t;
	}
	from -= from % NSEC_PER_SEC;
	return json_pack("{s:o, s:s}", "from",
	    from != 0 ? json_string(time_format(from, a)) : json_null(), "to", time_format(now, b));
}

static json_t *
or_empty(json_t *o, json_t *empty)
{
	if (o == NULL || json_typeof(o) != json_typeof(empty))
		return empty;
	json_decref(empty);
	return json_incref(o);
}

static json_t *
build(const struct answers *a, uint64_t since_ns)
{
	json_t *b = json_object();
	json_t *workloads = sorted(show_in(a->status, "workloads"), NULL, 0, by_name);
	const json_t *digest = show_in(a->status, "policyDigest");
	json_t *head = json_object_get(a->audit, "head");
	bool complete;

	add_labels(workloads, a->policy);
	json_object_set_new(b, "apiVersion", json_string("nanoseg/v1"));
	json_object_set_new(b, "kind", json_string("EvidenceBundle"));
	json_object_set_new(b, "host", host_json(a->status));
	json_object_set_new(b, "period", period_json(workloads, since_ns));
	json_object_set_new(b, "revision", json_integer(show_int(a->status, "revision", 0)));
	json_object_set_new(b, "policyDigest",
	    json_is_string(digest) ? json_incref((json_t *)digest) : json_null());
	json_object_set_new(b, "selector", json_null());
	json_object_set_new(
	    b, "audit", json_pack("{s:O}", "head", json_is_object(head) ? head : json_null()));
	json_object_set_new(
	    b, "losses", or_empty(json_object_get(a->status, "losses"), json_object()));
	json_object_set_new(
	    b, "networks", or_empty(json_object_get(a->policy, "networks"), json_object()));
	complete = json_object_set_new(b, "workloads", workloads) == 0;
	complete &= json_object_set_new(b, "edges",
			sorted(show_in(a->graph, "edges"), NULL, 0, graph_edge_compare)) == 0;
	complete &=
	    json_object_set_new(b, "denials", sorted(a->denials, "lastSeen", since_ns, by_id)) == 0;
	complete &= json_object_set_new(b, "exposure",
			sorted(show_in(a->status, "exposure"), "to", since_ns, by_from_time)) == 0;
	json_object_set_new(b, "revisions", or_empty(a->revisions, json_array()));
	json_object_set_new(b, "verification", json_null());
	if (!complete) {
		json_decref(b);
		return NULL;
	}
	return b;
}

int
bundle_collect(const struct cli *cli, uint64_t since_ns, json_t **ret)
{
	struct answers a = { 0 };
	int r = fetch(cli, &a);

	json_t *b = r == CLI_OK ? build(&a, since_ns) : NULL;

	answers_done(&a);
	if (r == CLI_OK && b == NULL)
		return cli_no_memory();
	if (r == CLI_OK)
		*ret = b;
	return r;
}
