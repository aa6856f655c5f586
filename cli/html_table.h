/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of a report: each cell is escaped here, titles are ours. */
#ifndef NANOSEG_CLI_HTML_TABLE_H
#define NANOSEG_CLI_HTML_TABLE_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

struct html_column {
	const char *title, *key;
	enum {
		HTML_TEXT,
		HTML_NUMBER,
		HTML_COUNT, /* of an array */
		HTML_PEER,
		HTML_PORT,
		HTML_STATE,
		HTML_LOST,
		HTML_GAPS,
		HTML_SEEN_AS,
	} kind;
	const char *fallback; /* of a text that is not there; NULL: nothing */
};

/* A row for each of the list, or that there is none. */
void html_table(FILE *f, const json_t *list, const struct html_column *columns, size_t n);

/* The same by hand: of the columns only the titles count. */
void html_table_begin(FILE *f, const struct html_column *columns, size_t n);
void html_table_end(FILE *f);
void html_cell(FILE *f, const char *text);
void html_cell_number(FILE *f, const json_t *o, const char *key);
/* A word of ours as its own class; any other text has none. */
void html_cell_state(FILE *f, const char *text);

#endif
