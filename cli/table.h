/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables of text that fit the terminal. Every cell is escaped here and nowhere else, so that no
 * caller can forget it; widths are those of the screen (wide and combining characters counted).
 */
#ifndef NANOSEG_CLI_TABLE_H
#define NANOSEG_CLI_TABLE_H

#include "rules/util.h"

#include <stdbool.h>
#include <stdio.h>

enum colour {
	COLOUR_NONE,
	COLOUR_BOLD,
	COLOUR_DIM,
	COLOUR_GREEN,
	COLOUR_YELLOW,
	COLOUR_RED,
};

#define COL_RIGHT 0x01 /* numbers */
#define COL_CUT 0x02   /* may be shortened to fit */
#define COL_WIDE 0x04  /* only in the wide form */
#define COL_EMPTY 0x08 /* left out if no row has anything in it */

#define TABLE_MAX_COLS 20
#define TABLE_GAP 2

struct table_col {
	const char *title; /* NULL: the table has no header */
	unsigned flags;
	unsigned min;	 /* not cut below this */
	unsigned stream; /* width where rows are printed as they come */
};

struct table;

int table_new(const struct table_col *cols, size_t n, struct table **ret);
void table_free(struct table *t);
static inline void
table_freep(struct table **t)
{
	table_free(*t);
}
/* The next cell; NULL is an empty one. What could not be kept makes table_print() fail. */
void table_cell(struct table *t, const char *text, enum colour c);
void table_cellf(struct table *t, enum colour c, const char *fmt, ...) _printf_(3, 4);
/* A line across all columns, between rows. */
void table_line(struct table *t, const char *text, enum colour c);
/* Rows alone, in columns as wide as they need. */
void table_hide_header(struct table *t);
size_t table_rows(const struct table *t);
/* width 0: as wide as it is. 0 or -ENOMEM. */
int table_print(const struct table *t, FILE *f, unsigned width, bool wide, bool colour);
/*
 * Prints the rows collected so far in columns of the `stream` width, and forgets them; for
 * following. The header comes first if asked for.
 */
int table_print_stream(
    struct table *t, FILE *f, unsigned width, bool wide, bool colour, bool header);

/*
 * Fits columns of natural widths into width: the widest COL_CUT column gives way first, down to its
 * min. ret[] may exceed width only if all are at their min.
 */
void table_fit(
    const struct table_col *cols, const unsigned *natural, size_t n, unsigned width, unsigned *ret);

/* Columns on screen of escaped text. */
unsigned text_width(const char *text);
/* text in at most width columns, the middle replaced by an ellipsis; malloc'ed. */
char *text_cut(const char *text, unsigned width);
/* text_escape() into new memory; overlong texts are cut at TEXT_MAX bytes. NULL is "". */
#define TEXT_MAX 4096
char *text_safe(const char *text);
/* The same for sentences: a backslash stays single. */
char *text_safe_sentence(const char *text);

void colour_print(FILE *f, const char *text, enum colour c, bool colour);

#endif
