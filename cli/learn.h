/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of `nanoseg learn` share. */
#ifndef NANOSEG_CLI_LEARN_H
#define NANOSEG_CLI_LEARN_H

#include "cli/cli.h"

#include "cli/capture_read.h"

/* Reads a map file into o. CLI_OK, or the exit code after reporting. */
int learn_map(const char *path, struct offline *o);
/* What was learned, in the form that was asked for. 0, -ENOMEM, -EIO, -EINVAL. */
int learn_show(const struct cli *cli, const struct capture *c, bool as_policy);

#endif
