/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scans of images by Trivy (`trivy image -f json`) and Grype (`grype -o json`), brought to one
 * form. Files are hostile: what has another shape is refused, what is too much as well.
 */
#ifndef NANOSEG_CLI_SCAN_H
#define NANOSEG_CLI_SCAN_H

#include "rules/util.h"

#include <jansson.h>
#include <stdbool.h>

#define SCAN_MAX_BYTES (64u << 20)
#define SCAN_MAX_FINDINGS 100000

enum severity {
	SEVERITY_UNKNOWN, /* and negligible */
	SEVERITY_LOW,
	SEVERITY_MEDIUM,
	SEVERITY_HIGH,
	SEVERITY_CRITICAL,
	N_SEVERITIES,
};

const char *severity_name(enum severity s);
/* In any case of letters; -1 for a word that is none. */
int severity_parse(const char *word);

/*
 * {tool, name, digests: ["sha256:..."], names: [...], findings: [{id, severity: 0..4, package,
 * installed, fixed}]}. 0, -EINVAL with *d filled.
 */
int scan_parse(const char *text, size_t len, struct diag *d, json_t **ret);
/* "digest" or "name" if the scan is of the image that this instance runs, else NULL. */
const char *scan_matches(const json_t *scan, const json_t *instance);

#endif
