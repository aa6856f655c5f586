/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The evidence bundle: everything that an export says, as one JSON document, so that each other
 * format is a function of it and of nothing else. A bundle that was written once can be read again
 * (`export FORMAT --from`), by this program or by a stranger; docs/evidence.md has its members.
 *
 * What was collected (workloads, edges, denials, ...) is told apart from what is concluded from it
 * (summary, exceptions, review, controls): conclusions are made anew each time. The manifest has
 * the SHA-256 of each collected part, so that a part that was edited shows.
 *
 * All functions here are pure but for bundle_collect(). Bundles from files are hostile.
 */
#ifndef NANOSEG_CLI_BUNDLE_H
#define NANOSEG_CLI_BUNDLE_H

#include "cli/cli.h"

#define BUNDLE_MAX_BYTES (256u << 20)
#define BUNDLE_MAX_EDGES 200000
#define BUNDLE_MAX_WORKLOADS 20000
#define BUNDLE_MAX_LABELS 16
/* Of jansson: real numbers as others write them, 0.0513 and not 0.051299999999999998. */
#define BUNDLE_REALS JSON_REAL_PRECISION(15)

struct bundle_selector {
	const char *project; /* or NULL */
	struct {
		char key[64], value[256];
	} labels[BUNDLE_MAX_LABELS];
	size_t n_labels;
};

/* Judged by: what counts as stale, and when. */
#define BUNDLE_STALE_DAYS 30
#define BUNDLE_SOON_DAYS 14

/* "scope=pci,tier=db". 0 or -EINVAL with *d filled. */
int bundle_selector_labels(const char *text, struct bundle_selector *s, struct diag *d);

/* bundle_collect.c: from the daemon. since_ns: of what happened, what is older is left out. */
int bundle_collect(const struct cli *cli, uint64_t since_ns, json_t **ret);

/* From a file: the shape, the bounds and the manifest. 0, -EINVAL, -EBADMSG (it was changed). */
int bundle_parse(const char *text, size_t len, struct diag *d, json_t **ret);
/*
 * Keeps what concerns the selected workloads, and notes the selector. -ENOENT: none is; -EALREADY:
 * the bundle was narrowed before.
 */
int bundle_select(json_t *b, const struct bundle_selector *s);
/* What nanoseg verify found, and not its plan of what it would try. */
bool bundle_is_verification(const json_t *v);
/* Of the verification, what concerns the workloads that a selector has left. */
void bundle_narrow_verification(json_t *b);
/* The manifest over the parts as they are now. */
int bundle_seal(json_t *b);

/* bundle_judge.c: sets summary, exceptions and review. */
int bundle_judge(json_t *b);
/* bundle_compare.c: sets comparison: what differs from an earlier bundle. */
int bundle_compare(json_t *b, const json_t *earlier);

/* The last moment that the bundle speaks of, in ns. */
uint64_t bundle_until(const json_t *b);
/* The time under key, or 0. */
uint64_t bundle_time(const json_t *o, const char *key);
/* The kth container of an instance: of a pod, each member; else the instance itself. NULL: no more.
 */
const json_t *bundle_container(const json_t *instance, size_t k);
/* A UUID (as of version 5) of the bundle's digest and a name: the same each time. */
#define BUNDLE_UUID_STRLEN 37
const char *bundle_uuid(const char *digest, const char *name, char buf[static BUNDLE_UUID_STRLEN]);
/* Of all parts together: manifest.digest. */
const char *bundle_digest(const json_t *b);

#endif
