/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log's segments, from the daemon or from a folder, and the walk over their lines. What
 * goes wrong in reading is reported here and comes back as the exit code.
 */
#ifndef NANOSEG_CLI_AUDIT_SOURCE_H
#define NANOSEG_CLI_AUDIT_SOURCE_H

#include "cli/cli.h"

#include "rules/audit.h"

struct audit_source {
	const struct cli *cli;
	const char *dir; /* NULL: the daemon */
	json_t *list;	 /* {head, segments: [{name, size}]} */
};

int audit_source_open(const struct cli *cli, const char *dir, struct audit_source *ret);
void audit_source_close(struct audit_source *s);

/*
 * Each line in order. record is NULL where the line is not sound: then message says why. A negative
 * return stops and comes back as CLI_ERROR.
 */
typedef int (*audit_line_fn)(void *arg, const char *segment, size_t line, json_t *record,
    const char *hash, const char *message);
int audit_source_walk(
    const struct audit_source *s, struct audit_chain *chain, audit_line_fn fn, void *arg);

#endif
