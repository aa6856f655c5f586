/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Access evidence: the audit log's records, by which one sees who changed, exported or was refused
 * what, with the proof that none is missing. It is no part of the bundle, which tells of a state.
 */
#ifndef NANOSEG_CLI_EXPORT_ACCESS_H
#define NANOSEG_CLI_EXPORT_ACCESS_H

#include "cli/cli.h"

struct access_format {
	const char *name;
	int (*write)(const json_t *access, FILE *f);
};

/* NULL: no such one. */
const struct access_format *access_format_find(const char *name);
/* {host, head, intact, violations, records}: the whole log is verified, records are since then. */
int access_collect(const struct cli *cli, uint64_t since_ns, json_t **ret);

/* Every record, signed checkpoint and the end were as they must be. */
bool access_is_intact(const json_t *access);

#endif
