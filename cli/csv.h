/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cells of CSV (RFC 4180), all of them quoted. Text is made safe to look at, and what a spreadsheet
 * would take for a formula gets an apostrophe in front.
 */
#ifndef NANOSEG_CLI_CSV_H
#define NANOSEG_CLI_CSV_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* With what stands behind it: a comma, or the end of the line. NULL is empty. */
void csv_cell(FILE *f, const char *text, bool last);
/* The number under key, or an empty cell. Never the last. */
void csv_number(FILE *f, const json_t *o, const char *key);

#endif
