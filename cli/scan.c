/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/scan.h"

#include "cli/show.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const char *const severities[N_SEVERITIES] = { "unknown", "low", "medium", "high",
	"critical" };

const char *
severity_name(enum severity s)
{
	return severities[s];
}

int
severity_parse(const char *word)
{
	for (int i = 0; i < N_SEVERITIES; i++)
		if (strcasecmp(word, severities[i]) == 0)
			return i;
	return -1;
}

/* The digest of "sha256:..." and of "registry/name@sha256:...". */
static void
add_digest(json_t *scan, const char *text)
{
	const char *digest = text != NULL ? strstr(text, "sha256:") : NULL;

	if (digest != NULL && strlen(digest) == strlen("sha256:") + 64)
		json_array_append_new(json_object_get(scan, "digests"), json_string(digest));
}

static void
add_name(json_t *scan, const char *text)
{
	if (text != NULL && *text != '\0')
		json_array_append_new(json_object_get(scan, "names"), json_string(text));
}

static void
add_each(json_t *scan, const json_t *list, void (*add)(json_t *, const char *))
{
	for (size_t i = 0; i < json_array_size(list) && i < 100; i++)
		add(scan, json_string_value(json_array_get(list, i)));
}

static int
add_finding(json_t *scan, const char *id, const char *severity, const char *package,
    const char *installed, const char *fixed)
{
	json_t *list = json_object_get(scan, "findings");
	int s = severity_parse(severity);

	if (json_array_size(list) == SCAN_MAX_FINDINGS)
		return -E2BIG;
	return json_array_append_new(
		   list, json_pack("{s:s, s:i, s:s, s:s, s:s}", "id", id, "severity", MAX(s, 0),
			     "package", package, "installed", installed, "fixed", fixed)) < 0
		   ? -ENOMEM
		   : 0;
}

static int
read_trivy(const json_t *o, json_t *scan)
{
	const json_t *results = show_in(o, "Results"), *meta = show_in(o, "Metadata");
	int r = 0;

	add_digest(scan, show_text(meta, "ImageID", NULL));
	add_each(scan, show_in(meta, "RepoDigests"), add_digest);
	add_each(scan, show_in(meta, "RepoTags"), add_name);
	add_name(scan, show_text(o, "ArtifactName", NULL));
	for (size_t i = 0; i < json_array_size(results); i++) {
		const json_t *list = show_in(json_array_get(results, i), "Vulnerabilities");

		for (size_t k = 0; k < json_array_size(list) && r == 0; k++) {
			const json_t *v = json_array_get(list, k);

			r = add_finding(scan, show_text(v, "VulnerabilityID", "?"),
			    show_text(v, "Severity", ""), show_text(v, "PkgName", ""),
			    show_text(v, "InstalledVersion", ""), show_text(v, "FixedVersion", ""));
		}
	}
	return r;
}

static int
read_grype(const json_t *o, json_t *scan)
{
	const json_t *target = show_in(show_in(o, "source"), "target");
	const json_t *list = show_in(o, "matches");
	int r = 0;

	add_digest(scan, show_text(target, "imageID", NULL));
	add_digest(scan, show_text(target, "manifestDigest", NULL));
	add_each(scan, show_in(target, "repoDigests"), add_digest);
	add_each(scan, show_in(target, "tags"), add_name);
	add_name(scan, show_text(target, "userInput", NULL));
	for (size_t k = 0; k < json_array_size(list) && r == 0; k++) {
		const json_t *m = json_array_get(list, k), *v = show_in(m, "vulnerability");
		const json_t *a = show_in(m, "artifact");
		const json_t *fixed = show_in(show_in(v, "fix"), "versions");
		const char *first = json_string_value(json_array_get(fixed, 0));

		r = add_finding(scan, show_text(v, "id", "?"), show_text(v, "severity", ""),
		    show_text(a, "name", ""), show_text(a, "version", ""),
		    first != NULL ? first : "");
	}
	return r;
}

int
scan_parse(const char *text, size_t len, struct diag *d, json_t **ret)
{
	json_error_t e;
	json_t *o, *scan;
	bool trivy, grype;
	int r;

	if (len > SCAN_MAX_BYTES) {
		diag_set(d, 0, 0, "more than %u MB", SCAN_MAX_BYTES >> 20);
		return -EINVAL;
	}
	o = json_loadb(text, len, 0, &e);
	trivy = json_is_array(show_in(o, "Results")) ||
		(show_text(o, "ArtifactName", NULL) != NULL && show_in(o, "SchemaVersion") != NULL);
	grype = json_is_array(show_in(o, "matches")) && json_is_object(show_in(o, "source"));
	if (!trivy && !grype) {
		diag_set(d, o == NULL && e.line > 0 ? (unsigned)e.line : 0, 0,
		    "expected the JSON of trivy image or grype: %.150s",
		    o == NULL ? e.text : "neither Results nor matches is there");
		json_decref(o);
		return -EINVAL;
	}
	scan = json_pack("{s:s, s:[], s:[], s:[]}", "tool", trivy ? "trivy" : "grype", "digests",
	    "names", "findings");
	r = trivy ? read_trivy(o, scan) : read_grype(o, scan);
	json_decref(o);
	if (r < 0) {
		diag_set(d, 0, 0, "more than %d findings", SCAN_MAX_FINDINGS);
		json_decref(scan);
		return r == -E2BIG ? -EINVAL : r;
	}
	*ret = scan;
	return 0;
}

static bool
has(const json_t *list, const char *text)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
			return true;
	return false;
}

const char *
scan_matches(const json_t *scan, const json_t *instance)
{
	const char *id = show_text(instance, "imageId", ""),
		   *image = show_text(instance, "image", "");
	const char *digest = strstr(id, "sha256:");
	const char *pinned = strstr(image, "@sha256:");

	if ((digest != NULL && has(show_in(scan, "digests"), digest)) ||
	    (pinned != NULL && has(show_in(scan, "digests"), pinned + 1)))
		return "digest";
	return *image != '\0' && has(show_in(scan, "names"), image) ? "name" : NULL;
}
