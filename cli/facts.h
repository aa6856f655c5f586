/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a judged bundle can be evidence of: a fixed list of facts, each with its state and figures.
 */
#ifndef NANOSEG_CLI_FACTS_H
#define NANOSEG_CLI_FACTS_H

#include <jansson.h>
#include <stdbool.h>

bool fact_exists(const char *name);
/* {NAME: {state: shown|partly|absent, title, detail}} for all facts. */
json_t *facts_of(const json_t *b);

#endif
