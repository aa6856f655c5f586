/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bundle's shape, its manifest, and what a selector leaves of it. */
#include "cli/bundle.h"

#include "cli/show.h"
#include "rules/audit.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char kind[] = "EvidenceBundle", version[] = "nanoseg/v1";

/* Each has its digest in the manifest. */
static const struct part {
	const char *name;
	json_type type;
	bool nullable;
	size_t max;
} parts[] = {
	{ "audit", JSON_OBJECT, false, 16 },
	{ "denials", JSON_ARRAY, false, BUNDLE_MAX_EDGES },
	{ "edges", JSON_ARRAY, false, BUNDLE_MAX_EDGES },
	{ "exposure", JSON_ARRAY, false, 100000 },
	{ "host", JSON_OBJECT, false, 16 },
	{ "losses", JSON_OBJECT, false, 64 },
	{ "networks", JSON_OBJECT, false, 10000 },
	{ "period", JSON_OBJECT, false, 16 },
	{ "policyDigest", JSON_STRING, true, 0 },
	{ "revision", JSON_INTEGER, false, 0 },
	{ "revisions", JSON_ARRAY, false, 10000 },
	{ "selector", JSON_OBJECT, true, 16 },
	{ "verification", JSON_OBJECT, true, 64 },
	{ "workloads", JSON_ARRAY, false, BUNDLE_MAX_WORKLOADS },
};

uint64_t
bundle_time(const json_t *o, const char *key)
{
	uint64_t ns;

	return time_parse(show_text(o, key, ""), &ns) == 0 ? ns : 0;
}

uint64_t
bundle_until(const json_t *b)
{
	return bundle_time(show_in(b, "period"), "to");
}

const json_t *
bundle_container(const json_t *instance, size_t k)
{
	const json_t *members = show_in(instance, "members");

	if (json_array_size(members) > 0)
		return json_array_get(members, k);
	return k == 0 ? instance : NULL;
}

/* jansson writes \u001B where all others write \u001b. */
static void
lower_escapes(char *text)
{
	for (char *p = text; *p != '\0'; p++) {
		if (*p != '\\')
			continue;
		p++;
		for (size_t i = 1; *p == 'u' && i <= 4; i++)
			if (p[i] >= 'A' && p[i] <= 'F')
				p[i] = (char)(p[i] + 'a' - 'A');
	}
}

static int
part_digest(const json_t *value, char ret[static AUDIT_HASH_STRLEN])
{
	_cleanup_free_ char *text = json_dumps(value != NULL ? value : json_null(),
	    JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY | BUNDLE_REALS);

	if (text == NULL)
		return -ENOMEM;
	lower_escapes(text);
	audit_digest(text, strlen(text), ret);
	return 0;
}

/* {algorithm, parts, digest}: the digest is that of "name hash\n" for each part in its order. */
static json_t *
manifest_of(const json_t *b)
{
	char lines[ARRAY_SIZE(parts) * (AUDIT_HASH_STRLEN + 32)], hash[AUDIT_HASH_STRLEN];
	json_t *list = json_object(), *ret;
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (part_digest(json_object_get(b, parts[i].name), hash) < 0) {
			json_decref(list);
			return NULL;
		}
		json_object_set_new(list, parts[i].name, json_string(hash));
		len += (size_t)snprintf(
		    lines + len, sizeof(lines) - len, "%s %s\n", parts[i].name, hash);
	}
	audit_digest(lines, len, hash);
	ret = json_pack("{s:s, s:s, s:o}", "algorithm", "SHA-256", "digest", hash, "parts", list);
	return ret;
}

int
bundle_seal(json_t *b)
{
	json_t *m = manifest_of(b);

	return m != NULL && json_object_set_new(b, "manifest", m) == 0 ? 0 : -ENOMEM;
}

const char *
bundle_digest(const json_t *b)
{
	return show_text(show_in(b, "manifest"), "digest", audit_no_hash);
}

static int
check_shape(const json_t *b, struct diag *d)
{
	if (strcmp(show_text(b, "apiVersion", ""), version) != 0 ||
	    strcmp(show_text(b, "kind", ""), kind) != 0) {
		diag_set(d, 0, 0, "not an evidence bundle: expected kind %s of %s", kind, version);
		return -EINVAL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const json_t *v = json_object_get(b, parts[i].name);
		size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v);

		if (v == NULL ||
		    (json_typeof(v) != parts[i].type && !(parts[i].nullable && json_is_null(v)))) {
			diag_set(d, 0, 0, "%s is missing or of another type", parts[i].name);
			return -EINVAL;
		}
		if (n > parts[i].max) {
			diag_set(d, 0, 0, "%s: at most %zu are read", parts[i].name, parts[i].max);
			return -EINVAL;
		}
	}
	if (bundle_until(b) == 0) {
		diag_set(d, 0, 0, "period.to: expected a time");
		return -EINVAL;
	}
	return 0;
}

static int
check_manifest(const json_t *b, struct diag *d)
{
	const json_t *claimed = json_object_get(b, "manifest");
	json_t *m = manifest_of(b);
	int r = m != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++) {
		const char *name = parts[i].name;

		if (strcmp(show_text(show_in(claimed, "parts"), name, ""),
			show_text(show_in(m, "parts"), name, "-")) == 0)
			continue;
		diag_set(d, 0, 0, "%s is not what the manifest says: the bundle was changed", name);
		r = -EBADMSG;
	}
	if (r == 0 && strcmp(show_text(claimed, "digest", ""), show_text(m, "digest", "-")) != 0) {
		diag_set(d, 0, 0, "the manifest's digest is not that of its parts");
		r = -EBADMSG;
	}
	json_decref(m);
	return r;
}

int
bundle_parse(const char *text, size_t len, struct diag *d, json_t **ret)
{
	json_error_t e;
	json_t *b;
	int r;

	if (len > BUNDLE_MAX_BYTES) {
		diag_set(d, 0, 0, "more than %u MB", BUNDLE_MAX_BYTES >> 20);
		return -EINVAL;
	}
	b = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
	if (b == NULL) {
		diag_set(d, e.line > 0 ? (unsigned)e.line : 0,
		    e.column > 0 ? (unsigned)e.column : 0, "not JSON: %.200s", e.text);
		return -EINVAL;
	}
	r = check_shape(b, d);
	if (r == 0)
		r = check_manifest(b, d);
	if (r < 0) {
		json_decref(b);
		return r;
	}
	*ret = b;
	return 0;
}

/* Selectors */

int
bundle_selector_labels(const char *text, struct bundle_selector *s, struct diag *d)
{
	while (*text != '\0') {
		size_t len = strcspn(text, ","), key = strcspn(text, "=");

		if (key == 0 || key >= len || key >= sizeof(s->labels[0].key) ||
		    len - key > sizeof(s->labels[0].value)) {
			diag_set(d, 0, 0, "--label: expected KEY=VALUE, as in scope=pci");
			return -EINVAL;
		}
		if (s->n_labels == BUNDLE_MAX_LABELS) {
			diag_set(d, 0, 0, "--label: at most %d", BUNDLE_MAX_LABELS);
			return -EINVAL;
		}
		memcpy(s->labels[s->n_labels].key, text, key);
		memcpy(s->labels[s->n_labels].value, text + key + 1, len - key - 1);
		s->n_labels++;
		text += len;
		text += *text == ',';
	}
	return 0;
}

static bool
is_selected(const json_t *workload, const struct bundle_selector *s)
{
	const char *name = show_text(workload, "name", "");
	size_t len = s->project != NULL ? strlen(s->project) : 0;

	if (s->project != NULL && (strncmp(name, s->project, len) != 0 || name[len] != '/'))
		return false;
	for (size_t i = 0; i < s->n_labels; i++)
		if (strcmp(show_text(show_in(workload, "labels"), s->labels[i].key, ""),
			s->labels[i].value) != 0)
			return false;
	return true;
}

/* Of edges and denials: what has a selected workload at an end; of windows, its own. */
static bool
concerns(const json_t *o, const json_t *names)
{
	static const char *const ends[] = { "from", "to" };
	const char *name = show_text(o, "workload", NULL);

	if (name != NULL)
		return json_object_get(names, name) != NULL;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		name = show_workload(show_text(o, ends[i], ""));
		if (name != NULL && json_object_get(names, name) != NULL)
			return true;
	}
	return false;
}

static void
keep_concerned(json_t *b, const char *key, const json_t *names)
{
	json_t *kept = json_array(), *o;
	size_t i;

	json_array_foreach(json_object_get(b, key), i, o) if (concerns(o, names))
	    json_array_append(kept, o);
	json_object_set_new(b, key, kept);
}

bool
bundle_is_verification(const json_t *v)
{
	return strcmp(show_text(v, "kind", ""), "verification") == 0 &&
	       !json_is_true(show_in(v, "plan"));
}

/* The signature is of the whole: what is left of it is not signed. */
void
bundle_narrow_verification(json_t *b)
{
	static const char *const results[][2] = { { "pass", "passed" }, { "fail", "failed" },
		{ "unclear", "unclear" } };
	json_t *v = json_object_get(b, "verification"), *names, *o;
	json_int_t counts[ARRAY_SIZE(results)] = { 0 };
	size_t i;

	if (!json_is_object(v) || !json_is_object(json_object_get(b, "selector")))
		return;
	names = json_object();
	json_array_foreach(json_object_get(b, "workloads"), i, o)
	    json_object_set_new(names, show_text(o, "name", ""), json_true());
	keep_concerned(v, "cases", names);
	keep_concerned(v, "rulesets", names);
	json_decref(names);
	json_array_foreach(json_object_get(v, "cases"), i, o)
	{
		for (size_t k = 0; k < ARRAY_SIZE(results); k++)
			counts[k] += strcmp(show_text(o, "result", ""), results[k][0]) == 0;
	}
	for (size_t k = 0; k < ARRAY_SIZE(results); k++)
		json_object_set_new(v, results[k][1], json_integer(counts[k]));
	json_object_set_new(
	    v, "probes", json_integer((json_int_t)json_array_size(json_object_get(v, "cases"))));
	json_object_del(v, "signature");
	json_object_del(v, "publicKey");
}

static json_t *
selector_json(const struct bundle_selector *s)
{
	json_t *labels = json_object();

	for (size_t i = 0; i < s->n_labels; i++)
		json_object_set_new(labels, s->labels[i].key, json_string(s->labels[i].value));
	return json_pack("{s:o, s:o}", "labels", labels, "project",
	    s->project != NULL ? json_string(s->project) : json_null());
}

int
bundle_select(json_t *b, const struct bundle_selector *s)
{
	json_t *names, *kept, *w;
	size_t i;

	if (s->project == NULL && s->n_labels == 0)
		return 0;
	/* What the first has left out is not known to be in the second. */
	if (json_is_object(json_object_get(b, "selector")))
		return -EALREADY;
	names = json_object();
	kept = json_array();
	json_array_foreach(json_object_get(b, "workloads"), i, w)
	{
		if (!is_selected(w, s))
			continue;
		json_array_append(kept, w);
		json_object_set_new(names, show_text(w, "name", ""), json_true());
	}
	json_object_set_new(b, "workloads", kept);
	keep_concerned(b, "edges", names);
	keep_concerned(b, "denials", names);
	keep_concerned(b, "exposure", names);
	json_object_set_new(b, "selector", selector_json(s));
	bundle_narrow_verification(b);
	i = json_object_size(names);
	json_decref(names);
	return i > 0 ? 0 : -ENOENT;
}

const char *
bundle_uuid(const char *digest, const char *name, char buf[static BUNDLE_UUID_STRLEN])
{
	_cleanup_free_ char *text = NULL;
	char h[AUDIT_HASH_STRLEN];

	if (asprintf(&text, "nanoseg %s %s", digest, name) < 0)
		text = NULL;
	audit_digest(text != NULL ? text : "", text != NULL ? strlen(text) : 0, h);
	snprintf(buf, BUNDLE_UUID_STRLEN, "%.8s-%.4s-5%.3s-a%.3s-%.12s", h, h + 8, h + 13, h + 17,
	    h + 20);
	return buf;
}
