/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names in a policy file that are probably misspelt, with their places. */
#ifndef NANOSEG_CLI_POLICY_NAMES_H
#define NANOSEG_CLI_POLICY_NAMES_H

#include <jansson.h>
#include <stddef.h>

#define NAMES_MAX_BYTES (1u << 20)

/*
 * An edge may name a workload that the file does not list: it may come yet. One that differs from a
 * listed name by a letter or two is told of: [{line, column, message}]. text is a valid file.
 * NULL without memory.
 */
json_t *policy_names_doubtful(const char *text, size_t len);

#endif
