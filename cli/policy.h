/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Policies of files and of the daemon, as the commands share them. What goes wrong is reported. */
#ifndef NANOSEG_CLI_POLICY_H
#define NANOSEG_CLI_POLICY_H

#include "cli/cli.h"

#include "rules/policy.h"

int policy_file_read(const char *path, char **ret_text, size_t *ret_len, struct policy **ret);
/* The policy of a revision, or the one in force (NULL), which may have its pending edges. */
int policy_get(const struct cli *cli, const char *revision, bool pending, struct policy **ret);
/* Makes it the policy in force if its revision still is. */
int policy_put(
    const struct cli *cli, const struct policy *p, const char *reason, json_t **ret_answer);
/* "shop/web -> shop/db tcp/5432", escaped; malloc'ed. NULL without memory. */
char *policy_edge_text(const struct policy_edge *e);

/* nanoseg policy diff, nanoseg policy import. */
int policy_diff_run(struct cli *cli, const char *before, const char *after);
int policy_import_run(
    struct cli *cli, const char *file, bool take_theirs, bool dry_run, const char *reason);

#endif
