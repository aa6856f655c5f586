/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes that are taken back unless confirmed, as the commands that make and show them share it.
 */
#ifndef NANOSEG_CLI_CONFIRM_H
#define NANOSEG_CLI_CONFIRM_H

#include "cli/cli.h"

/* The value of --confirm, NULL: 0 seconds. CLI_OK, or CLI_USAGE after reporting. */
int confirm_arg(const struct cli *cli, const char *text, uint64_t *ret_seconds);
/* Says what awaits confirmation in an answer with a member "confirm"; nothing if nothing does. */
void confirm_line(const json_t *answer, FILE *f);

#endif
