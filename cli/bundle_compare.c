/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a report's state differs in from an earlier bundle's: by names and edge ids. */
#include "cli/bundle.h"

#include "cli/show.h"

#include <errno.h>
#include <string.h>

static json_t *
index_by(const json_t *list, const char *key)
{
	json_t *ret = json_object(), *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		const char *id = show_text(o, key, NULL);

		if (id != NULL)
			json_object_set(ret, id, o);
	}
	return ret;
}

/* What stands in the decision about an edge; evidence alone is no difference. */
static bool
edge_differs(const json_t *a, const json_t *b)
{
	static const char *const keys[] = { "state", "reason", "ticket", "approvedBy", "expires" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(show_text(a, keys[i], ""), show_text(b, keys[i], "")) != 0)
			return true;
	return false;
}

static bool
workload_differs(const json_t *a, const json_t *b)
{
	static const char *const keys[] = { "mode", "direction", "enforceable" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(show_text(a, keys[i], ""), show_text(b, keys[i], "")) != 0)
			return true;
	return json_equal(show_in(a, "labels"), show_in(b, "labels")) == 0;
}

/* {added, removed, changed: [{before, after}]} */
static json_t *
differences(const json_t *was, const json_t *is, const char *key,
    bool (*differs)(const json_t *, const json_t *))
{
	json_t *old = index_by(was, key), *new = index_by(is, key);
	json_t *added = json_array(), *removed = json_array(), *changed = json_array();
	json_t *o, *other;
	size_t i;

	json_array_foreach(is, i, o)
	{
		other = json_object_get(old, show_text(o, key, ""));
		if (other == NULL)
			json_array_append(added, o);
		else if (differs(other, o))
			json_array_append_new(
			    changed, json_pack("{s:O, s:O}", "before", other, "after", o));
	}
	json_array_foreach(was, i, o) if (json_object_get(new, show_text(o, key, "")) == NULL)
	    json_array_append(removed, o);
	json_decref(old);
	json_decref(new);
	return json_pack("{s:o, s:o, s:o}", "added", added, "removed", removed, "changed", changed);
}

int
bundle_compare(json_t *b, const json_t *earlier)
{
	json_t *edges =
	    differences(show_in(earlier, "edges"), show_in(b, "edges"), "id", edge_differs);
	json_t *workloads = differences(
	    show_in(earlier, "workloads"), show_in(b, "workloads"), "name", workload_differs);
	json_t *o = json_pack("{s:{s:I, s:O, s:O, s:s}, s:o, s:o}", "with", "revision",
	    (json_int_t)show_int(earlier, "revision", 0), "period", show_in(earlier, "period"),
	    "host", show_in(earlier, "host"), "digest", bundle_digest(earlier), "edges", edges,
	    "workloads", workloads);

	return o != NULL && json_object_set_new(b, "comparison", o) == 0 ? 0 : -ENOMEM;
}
