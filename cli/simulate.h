/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of a simulation, as the commands share them. */
#ifndef NANOSEG_CLI_SIMULATE_H
#define NANOSEG_CLI_SIMULATE_H

#include "cli/cli.h"

/* Would something break, or live connections be cut? */
bool simulate_answer_breaks(const json_t *answer);
/* Tables and sums. over: "in the last 7d" or the like. 0, -ENOMEM, -EIO. */
int simulate_print(const struct cli *cli, const json_t *answer, const char *over);
/* A few lines before something is done, the broken ones of most connections among them. */
void simulate_summary(FILE *f, const json_t *answer, const char *over);

/*
 * Tells on standard error what enforcing these workloads would break (the body of POST /v1/mode),
 * and asks on a terminal, unless `yes`. False: it is not to be done.
 */
bool simulate_before_mode(struct cli *cli, const json_t *body, bool yes);

#endif
