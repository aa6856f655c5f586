/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/policy_names.h"

#include "rules/doc.h"
#include "rules/policy.h"
#include "rules/read.h"
#include "rules/util.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TOLD 100
/* Each name is held against all: a file that lists more is not written by hand. */
#define MAX_LISTED 2000

struct names {
	const char **list;
	size_t n;
};

static bool
is_listed(const struct names *known, const char *name)
{
	for (size_t i = 0; i < known->n; i++)
		if (strcmp(known->list[i], name) == 0)
			return true;
	return false;
}

/* One letter more, less or other, or two that changed places. */
static bool
is_slip(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), head = 0, tail = 0;

	while (head < MIN(n, m) && a[head] == b[head])
		head++;
	while (tail < MIN(n, m) - head && a[n - 1 - tail] == b[m - 1 - tail])
		tail++;
	n -= head + tail;
	m -= head + tail;
	return (n <= 1 && m <= 1) ||
	       (n == 2 && m == 2 && a[head] == b[head + 1] && a[head + 1] == b[head]);
}

static void
look(const struct doc *doc, const struct names *known, const json_t *edge, const char *key,
    json_t *told)
{
	const json_t *value = json_object_get(edge, key);
	const char *name = json_string_value(value), *near;
	char said[SHOWN_LEN], meant[SHOWN_LEN];
	unsigned line, col;

	if (name == NULL || is_listed(known, name))
		return;
	near = nearest_word(name, known->list, known->n);
	if (near == NULL || !is_slip(name, near))
		return;
	doc_place(doc, value, &line, &col);
	json_array_append_new(
	    told, json_pack("{s:I, s:I, s:o}", "line", (json_int_t)line, "column", (json_int_t)col,
		      "message",
		      json_sprintf("workload '%s' is not listed, did you mean '%s'?",
			  shown(name, said), shown(near, meant))));
}

json_t *
policy_names_doubtful(const char *text, size_t len)
{
	_cleanup_(doc_freep) struct doc *doc = NULL;
	_cleanup_free_ const char **list = NULL;
	const json_t *workloads, *edges, *one;
	struct names known = { 0 };
	json_t *told = json_array();
	struct diag d;
	size_t i;

	if (doc_parse(text, len, &d, &doc) < 0)
		return told;
	workloads = json_object_get(doc_root(doc), "workloads");
	edges = json_object_get(doc_root(doc), "edges");
	list = calloc(json_array_size(workloads) + 1, sizeof(*list));
	if (list == NULL) {
		json_decref(told);
		return NULL;
	}
	json_array_foreach(workloads, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "name"));

		if (name != NULL)
			list[known.n++] = name;
	}
	known.list = list;
	if (known.n > MAX_LISTED)
		return told;
	json_array_foreach(edges, i, one)
	{
		if (json_array_size(told) >= MAX_TOLD)
			break;
		look(doc, &known, one, "from", told);
		look(doc, &known, one, "to", told);
	}
	return told;
}
