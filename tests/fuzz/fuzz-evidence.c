/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What exports read from files. The first byte chooses: a control mapping, a scan, or a bundle,
 * which is sealed here (no input would get past its manifest) and then written in every format.
 */
#include "cli/bundle.h"
#include "cli/controls.h"
#include "cli/export.h"
#include "cli/reach.h"
#include "cli/scan.h"
#include "cli/show.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_mapping(const char *text, size_t len)
{
	struct diag d = { 0 };
	json_t *m = NULL;

	if ((controls_parse(text, len, &d, &m) == 0) != (m != NULL))
		__builtin_trap();
	json_decref(m);
}

static void
read_scan(const char *text, size_t len)
{
	json_t *scan = NULL,
	       *instance = json_pack("{s:s, s:s}", "image", "a:1", "imageId",
		   "sha256:"
		   "0000000000000000000000000000000000000000000000000000000000000001");
	struct diag d = { 0 };

	if ((scan_parse(text, len, &d, &scan) == 0) != (scan != NULL))
		__builtin_trap();
	if (scan != NULL)
		scan_matches(scan, instance);
	json_decref(scan);
	json_decref(instance);
}

/* What is missing, so that more gets through. */
static void
complete(json_t *b)
{
	json_t *whole = json_pack(
	    "{s:s, s:s, s:{}, s:[], s:[], s:[], s:{}, s:{}, s:{}, s:{s:s}, s:n, "
	    "s:i, s:[], s:n, s:n, s:[]}",
	    "apiVersion", "nanoseg/v1", "kind", "EvidenceBundle", "audit", "denials", "edges",
	    "exposure", "host", "losses", "networks", "period", "to", "2026-01-01T00:00:00Z",
	    "policyDigest", "revision", 1, "revisions", "selector", "verification", "workloads");

	json_object_update_missing(b, whole);
	json_decref(whole);
}

static void
write_all(json_t *b)
{
	const json_t *workloads = show_in(b, "workloads");
	struct reach *r = NULL;

	for (const struct export_format *f = export_formats; f->name != NULL; f++) {
		char *text = NULL;
		size_t len;
		FILE *out = open_memstream(&text, &len);

		if (out == NULL)
			return;
		f->write(b, out);
		fclose(out);
		free(text);
	}
	if (reach_of_bundle(b, &r) == 0 && json_array_size(workloads) > 0)
		json_decref(reach_to(r, show_text(json_array_get(workloads, 0), "name", "?")));
	reach_free(r);
}

static void
read_bundle(const char *text, size_t len)
{
	json_t *b = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL), *again = NULL;
	json_t *none = json_array();
	struct diag d = { 0 };
	char *sealed = NULL;

	if (json_is_object(b)) {
		complete(b);
		bundle_seal(b);
		sealed = json_dumps(b, JSON_COMPACT);
	}
	if (sealed != NULL && bundle_parse(sealed, strlen(sealed), &d, &again) == 0) {
		if (bundle_judge(again) < 0 || controls_judge(again, none) < 0 ||
		    bundle_compare(again, b) < 0 || bundle_seal(again) < 0 ||
		    strcmp(bundle_digest(again), bundle_digest(b)) != 0)
			__builtin_trap();
		write_all(again);
	}
	free(sealed);
	json_decref(again);
	json_decref(none);
	json_decref(b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(
	    const char *, size_t) = { read_bundle, read_mapping, read_scan };

	if (size > 0)
		readers[data[0] % 3]((const char *)data + 1, size - 1);
	return 0;
}
