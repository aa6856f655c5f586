/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg explain --at: what the audit log says of a time. */
#ifndef NANOSEG_CLI_EXPLAIN_H
#define NANOSEG_CLI_EXPLAIN_H

#include "cli/cli.h"

/*
 * Adds to the daemon's answer what the log has: record (of the decision: event, seq, time, actor,
 * ticket, hash), approvedBy, applied (what the kernel of each instance was read back with last),
 * and log {revision, digest, agrees, records, unsound}. CLI_DIFFERENCES where log and store do not
 * agree or the log is not sound.
 */
int explain_past(const struct cli *cli, const char *dir, uint64_t at_ns, json_t *answer);

#endif
