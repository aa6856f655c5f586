/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mapping files: one validator, with the place of each mistake. */
#include "cli/controls.h"

#include "cli/facts.h"
#include "rules/doc.h"

#include <errno.h>
#include <string.h>

#define TEXT_LONGEST 1000

struct field {
	const char *name;
	size_t max;
};

static const struct field file_fields[] = { { "apiVersion", 32 }, { "kind", 32 }, { "id", 32 },
	{ "title", 200 }, { "version", 64 }, { "note", TEXT_LONGEST }, { "controls", 0 } };
static const struct field control_fields[] = { { "id", 64 }, { "alias", 64 },
	{ "subject", TEXT_LONGEST }, { "supports", TEXT_LONGEST }, { "notShown", TEXT_LONGEST },
	{ "facts", 0 } };

static int
refuse(const struct doc *doc, const json_t *o, const char *key, struct diag *d, const char *what)
{
	unsigned line = 0, col = 0;

	doc_member_place(doc, o, key, &line, &col);
	if (line == 0)
		doc_place(doc, o, &line, &col);
	diag_set(d, line, col, "%.64s: %s", key, what);
	return -EINVAL;
}

static int
check_fields(
    const struct doc *doc, const json_t *o, const struct field *fields, size_t n, struct diag *d)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)o, key, v)
	{
		size_t i = 0;

		while (i < n && strcmp(fields[i].name, key) != 0)
			i++;
		if (i == n)
			return refuse(doc, o, key, d, "there is no such key here");
		if (fields[i].max == 0)
			continue;
		if (!json_is_string(v) || json_string_length(v) == 0 ||
		    json_string_length(v) > fields[i].max)
			return refuse(doc, o, key, d, "expected a text that is not too long");
	}
	return 0;
}

static int
need(const struct doc *doc, const json_t *o, const char *const *keys, struct diag *d)
{
	for (; *keys != NULL; keys++)
		if (json_object_get(o, *keys) == NULL)
			return refuse(doc, o, *keys, d, "is missing");
	return 0;
}

static int
check_control(const struct doc *doc, const json_t *c, json_t *seen, struct diag *d)
{
	static const char *const needed[] = { "id", "subject", "facts", "supports", "notShown",
		NULL };
	const json_t *facts = json_object_get(c, "facts");
	const char *id;
	int r;

	if (!json_is_object(c)) {
		diag_set(d, 0, 0, "controls: expected a list of {id, subject, facts, ...}");
		return -EINVAL;
	}
	r = check_fields(doc, c, control_fields, ARRAY_SIZE(control_fields), d);
	if (r == 0)
		r = need(doc, c, needed, d);
	if (r < 0)
		return r;
	id = json_string_value(json_object_get(c, "id"));
	if (json_object_get(seen, id) != NULL)
		return refuse(doc, c, "id", d, "this id is there already");
	json_object_set_new(seen, id, json_true());
	if (!json_is_array(facts) || json_array_size(facts) == 0 || json_array_size(facts) > 32)
		return refuse(doc, c, "facts", d, "expected a list of facts");
	for (size_t i = 0; i < json_array_size(facts); i++) {
		const char *name = json_string_value(json_array_get(facts, i));

		if (name == NULL || !fact_exists(name))
			return refuse(doc, c, "facts", d, "there is no such fact");
	}
	return 0;
}

static int
check_file(const struct doc *doc, const json_t *root, struct diag *d)
{
	static const char *const needed[] = { "apiVersion", "kind", "id", "title", "version",
		"controls", NULL };
	const json_t *list = json_object_get(root, "controls");
	json_t *seen;
	int r;

	if (!json_is_object(root)) {
		diag_set(d, 1, 1, "expected a control mapping");
		return -EINVAL;
	}
	r = check_fields(doc, root, file_fields, ARRAY_SIZE(file_fields), d);
	if (r == 0)
		r = need(doc, root, needed, d);
	if (r < 0)
		return r;
	if (strcmp(json_string_value(json_object_get(root, "apiVersion")), "nanoseg/v1") != 0 ||
	    strcmp(json_string_value(json_object_get(root, "kind")), "ControlMapping") != 0)
		return refuse(doc, root, "kind", d, "expected ControlMapping of nanoseg/v1");
	if (!json_is_array(list) || json_array_size(list) > CONTROLS_MAX)
		return refuse(doc, root, "controls", d, "expected a list that is not too long");
	seen = json_object();
	for (size_t i = 0; i < json_array_size(list) && r == 0; i++)
		r = check_control(doc, json_array_get(list, i), seen, d);
	json_decref(seen);
	return r;
}

int
controls_parse(const char *text, size_t len, struct diag *d, json_t **ret)
{
	_cleanup_(doc_freep) struct doc *doc = NULL;
	int r;

	if (len > CONTROLS_MAX_BYTES) {
		diag_set(d, 0, 0, "more than %u MB", CONTROLS_MAX_BYTES >> 20);
		return -EINVAL;
	}
	r = doc_parse(text, len, d, &doc);
	if (r == 0)
		r = check_file(doc, doc_root(doc), d);
	if (r == 0)
		*ret = json_incref(doc_root(doc));
	return r;
}

/* Only what the bundle shows counts: a mapping cannot add to it. */
static const char *
judge_facts(const json_t *facts, const json_t *named)
{
	size_t shown = 0, partly = 0, n = json_array_size(named);

	for (size_t i = 0; i < n; i++) {
		const json_t *f =
		    json_object_get(facts, json_string_value(json_array_get(named, i)));
		const char *state = json_string_value(json_object_get(f, "state"));

		shown += state != NULL && strcmp(state, "shown") == 0;
		partly += state != NULL && strcmp(state, "partly") == 0;
	}
	return shown == n ? "supported" : shown + partly > 0 ? "partly" : "none";
}

int
controls_judge(json_t *b, const json_t *mappings)
{
	json_t *facts = facts_of(b), *list = json_array(), *m, *c;
	size_t i, k;

	json_array_foreach((json_t *)mappings, i, m)
	{
		json_t *controls = json_array();

		json_array_foreach(json_object_get(m, "controls"), k, c)
		{
			json_t *copy = json_copy(c);

			json_object_set_new(copy, "evidence",
			    json_string(judge_facts(facts, json_object_get(c, "facts"))));
			json_array_append_new(controls, copy);
		}
		json_array_append_new(list,
		    json_pack("{s:O, s:O, s:O, s:O*, s:o}", "id", json_object_get(m, "id"), "title",
			json_object_get(m, "title"), "version", json_object_get(m, "version"),
			"note", json_object_get(m, "note"), "controls", controls));
	}
	return json_object_set_new(b, "facts", facts) < 0 ||
		       json_object_set_new(b, "controls", list) < 0
		   ? -ENOMEM
		   : 0;
}
