/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OSCAL assessment results: an observation for each fact, an inventory item for each workload, and
 * the controls that the mappings name as reviewed, each with the facts that support it. There are
 * no findings: whether a control is satisfied is for an assessor to say. UUIDs come of the bundle's
 * digest, so that equal bundles give equal documents.
 */
#include "cli/export.h"

#include "cli/bundle.h"
#include "cli/loss.h"
#include "cli/show.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define OSCAL_VERSION "1.1.3"
#define NAMESPACE "https://nanoseg.example/ns/oscal"
#define TOKEN_LEN 128

static json_t *
uuid(const json_t *b, const char *kind, const char *name)
{
	_cleanup_free_ char *text = NULL;
	char buf[BUNDLE_UUID_STRLEN];

	if (asprintf(&text, "%s %s", kind, name) < 0)
		text = NULL;
	return json_string(bundle_uuid(bundle_digest(b), text != NULL ? text : kind, buf));
}

/* OSCAL's strings begin and end in something, on one line. */
static json_t *
line(const char *text)
{
	_cleanup_free_ char *safe = text_safe_sentence(text);
	char *begin = safe != NULL ? safe : (char *)"";
	size_t len;

	begin += strspn(begin, " ");
	len = strlen(begin);
	while (len > 0 && begin[len - 1] == ' ')
		len--;
	return len > 0 ? json_stringn(begin, len) : json_string("-");
}

static void
add_prop(json_t *props, const char *name, const char *value)
{
	json_array_append_new(props,
	    json_pack("{s:s, s:s, s:o}", "name", name, "ns", NAMESPACE, "value", line(value)));
}

static void
add_number(json_t *props, const char *name, int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)n);
	add_prop(props, name, text);
}

/*
 * "SC-7(5)" is "sc-7.5", as in NIST's own catalogue; elsewhere an id begins with its framework's.
 */
static const char *
control_token(const json_t *mapping, const json_t *control, char buf[static TOKEN_LEN])
{
	const char *id = show_text(control, "id", "x"), *frame = show_text(mapping, "id", "x");
	size_t n = 0;

	if (strcmp(frame, "nist-800-53") != 0)
		n = (size_t)snprintf(buf, TOKEN_LEN, "_%.32s-", frame);
	for (; *id != '\0' && n + 1 < TOKEN_LEN; id++) {
		unsigned char c = (unsigned char)*id;

		if (c == ')')
			continue;
		buf[n++] = c == '('				? '.'
			   : isalnum(c) || c == '.' || c == '-' ? (char)tolower(c)
								: '_';
	}
	buf[n] = '\0';
	if (!isalpha((unsigned char)buf[0]))
		buf[0] = '_';
	for (char *p = buf; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr(".-_", *p) == NULL)
			*p = '_';
	return buf;
}

static json_t *
metadata(const json_t *b)
{
	const json_t *host = show_in(b, "host");
	json_t *props = json_array();
	json_t *title =
	    json_sprintf("Segmentation evidence of %s", show_text(host, "name", "an unknown host"));
	json_t *o;

	add_prop(props, "evidence-sha256", bundle_digest(b));
	add_number(props, "policy-revision", show_int(b, "revision", 0));
	add_prop(props, "policy-sha256", show_text(b, "policyDigest", "-"));
	add_prop(props, "audit-head", show_text(show_in(show_in(b, "audit"), "head"), "hash", "-"));
	o = json_pack("{s:o, s:s, s:s, s:s, s:o, s:s}", "title", line(json_string_value(title)),
	    "last-modified", show_text(show_in(b, "period"), "to", ""), "version", bundle_digest(b),
	    "oscal-version", OSCAL_VERSION, "props", props, "remarks",
	    "Evidence for the controls named, not a statement of compliance.");
	json_decref(title);
	return o;
}

static json_t *
observation(const json_t *b, const char *name, const json_t *fact)
{
	json_t *props = json_array();
	bool tested = strcmp(name, "verification") == 0;

	add_prop(props, "fact", name);
	add_prop(props, "state", show_text(fact, "state", "absent"));
	return json_pack("{s:o, s:o, s:o, s:o, s:[s], s:[s], s:s}", "uuid",
	    uuid(b, "observation", name), "title", line(show_text(fact, "title", name)),
	    "description", line(show_text(fact, "detail", "-")), "props", props, "methods",
	    tested ? "TEST" : "EXAMINE", "types", "control-objective", "collected",
	    show_text(show_in(b, "period"), "to", ""));
}

static json_t *
observations(const json_t *b)
{
	json_t *list = json_array(), *fact;
	const char *name;

	json_object_foreach((json_t *)show_in(b, "facts"), name, fact)
	    json_array_append_new(list, observation(b, name, fact));
	return list;
}

static json_t *
inventory(const json_t *b)
{
	const json_t *workloads = show_in(b, "workloads");
	json_t *list = json_array();

	for (size_t i = 0; i < json_array_size(workloads); i++) {
		const json_t *w = json_array_get(workloads, i);
		json_t *props = json_array();
		char lost[LOSS_COUNT_LEN];

		add_prop(props, "mode", show_text(w, "mode", "-"));
		add_prop(props, "direction", show_text(w, "direction", "-"));
		add_prop(props, "enforceable", show_text(w, "enforceable", "-"));
		add_number(props, "instances", (int64_t)json_array_size(show_in(w, "instances")));
		add_prop(props, "lost", loss_count_text(w, lost));
		add_number(props, "incomplete-windows", loss_windows(w));
		json_array_append_new(
		    list, json_pack("{s:o, s:o, s:o}", "uuid",
			      uuid(b, "workload", show_text(w, "name", "?")), "description",
			      line(show_text(w, "name", "?")), "props", props));
	}
	return list;
}

/* The schema wants a control, or all of them: that would be claimed. */
static json_t *
no_controls(const char *description)
{
	return json_pack("{s:o, s:[{s:s}]}", "description", line(description), "include-controls",
	    "control-id", "_none");
}

/* Which controls were looked at, by framework, and what of them the facts support. */
static json_t *
reviewed(const json_t *b)
{
	const json_t *mappings = show_in(b, "controls");
	json_t *selections = json_array();

	for (size_t i = 0; i < json_array_size(mappings); i++) {
		const json_t *m = json_array_get(mappings, i), *list = show_in(m, "controls");
		json_t *ids = json_array(), *props = json_array(), *o;
		char token[TOKEN_LEN];

		for (size_t k = 0; k < json_array_size(list); k++) {
			const json_t *c = json_array_get(list, k);

			control_token(m, c, token);
			json_array_append_new(ids, json_pack("{s:s}", "control-id", token));
			json_array_append_new(props,
			    json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", "evidence", "ns",
				NAMESPACE, "value", show_text(c, "evidence", "none"), "class",
				token, "remarks", line(show_text(c, "notShown", "-"))));
		}
		o = no_controls(show_text(m, "title", "?"));
		if (json_array_size(ids) > 0) {
			json_object_set(o, "props", props);
			json_object_set(o, "include-controls", ids);
		}
		json_decref(ids);
		json_decref(props);
		json_array_append_new(selections, o);
	}
	if (json_array_size(selections) == 0)
		json_array_append_new(selections, no_controls("no mapping was given"));
	return json_pack("{s:o}", "control-selections", selections);
}

static json_t *
result(const json_t *b)
{
	const json_t *period = show_in(b, "period"), *v;
	const char *to = show_text(period, "to", ""), *key;
	json_t *props = json_array(), *items = inventory(b);
	json_t *o = json_pack("{s:o, s:s, s:s, s:s, s:s, s:o, s:o}", "uuid",
	    uuid(b, "result", "segmentation"), "title", "Segmentation of containers", "description",
	    "What nanoseg observed, enforced and recorded on this host.", "start",
	    show_text(period, "from", to), "end", to, "reviewed-controls", reviewed(b),
	    "observations", observations(b));

	json_object_foreach((json_t *)show_in(b, "losses"), key, v)
	{
		char name[TOKEN_LEN];

		snprintf(name, sizeof(name), "lost-%.64s", key);
		for (char *p = name; *p != '\0'; p++)
			if (!isalnum((unsigned char)*p))
				*p = '-';
		add_number(props, name, json_integer_value(v));
	}
	if (json_array_size(props) > 0)
		json_object_set(o, "props", props);
	json_decref(props);
	if (json_array_size(items) > 0)
		json_object_set_new(
		    o, "local-definitions", json_pack("{s:O}", "inventory-items", items));
	json_decref(items);
	return o;
}

int
export_oscal(const json_t *b, FILE *f)
{
	json_t *o = json_pack("{s:{s:o, s:o, s:{s:s, s:s}, s:[o]}}", "assessment-results", "uuid",
	    uuid(b, "assessment", "results"), "metadata", metadata(b), "import-ap", "href", "#none",
	    "remarks", "There is no assessment plan: this is continuous evidence.", "results",
	    result(b));
	int r = o != NULL ? json_dumpf(o, f, JSON_INDENT(2) | JSON_ENSURE_ASCII) : -1;

	json_decref(o);
	fputc('\n', f);
	return r < 0 && !ferror(f) ? -ENOMEM : 0;
}
