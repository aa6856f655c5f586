/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control mappings: which facts of a bundle are evidence for which control of a framework, as data
 * (docs/evidence.md has the form of the files). A mapping names facts; whether a bundle shows a
 * fact is decided here. The result is "supported", "partly" or "none": never that something
 * complies.
 */
#ifndef NANOSEG_CLI_CONTROLS_H
#define NANOSEG_CLI_CONTROLS_H

#include "rules/util.h"

#include <jansson.h>

#define CONTROLS_MAX_BYTES (1u << 20)
#define CONTROLS_MAX 2000 /* in a file */
#define CONTROLS_MAX_FILES 64

/*
 * A mapping file, YAML or JSON: hostile. Unknown keys, unknown facts, ids given twice and texts
 * that are too long are refused with line and column. 0, -EINVAL, -ENOMEM.
 */
int controls_parse(const char *text, size_t len, struct diag *d, json_t **ret);
/* Sets facts and controls in a judged bundle; mappings is an array of what controls_parse() gave.
 */
int controls_judge(json_t *b, const json_t *mappings);

#endif
