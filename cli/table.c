/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/table.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

struct cell {
	char *text; /* escaped */
	unsigned width;
	enum colour colour;
	bool line; /* across the columns; stands alone */
};

struct table {
	const struct table_col *cols;
	size_t n_cols;
	struct cell *cells; /* rows after one another, a line takes a row's place */
	size_t n, room;
	bool failed, headless;
};

int
table_new(const struct table_col *cols, size_t n, struct table **ret)
{
	struct table *t;

	if (n == 0 || n > TABLE_MAX_COLS)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->cols = cols;
	t->n_cols = n;
	*ret = t;
	return 0;
}

static void
forget_rows(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i].text);
	t->n = 0;
}

void
table_free(struct table *t)
{
	if (t == NULL)
		return;
	forget_rows(t);
	free(t->cells);
	free(t);
}

static struct cell *
cell_new(struct table *t)
{
	if (t->failed)
		return NULL;
	if (t->n == t->room) {
		size_t room = MAX(t->room * 2, (size_t)64);
		struct cell *cells = reallocarray(t->cells, room, sizeof(*cells));

		if (cells == NULL) {
			t->failed = true;
			return NULL;
		}
		t->cells = cells;
		t->room = room;
	}
	t->cells[t->n] = (struct cell){ .text = NULL };
	return &t->cells[t->n++];
}

void
table_cell(struct table *t, const char *text, enum colour c)
{
	struct cell *cell = cell_new(t);

	if (cell == NULL)
		return;
	cell->text = text_safe(text);
	cell->colour = c;
	if (cell->text == NULL)
		t->failed = true;
	else
		cell->width = text_width(cell->text);
}

void
table_cellf(struct table *t, enum colour c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_cell(t, text, c);
}

void
table_line(struct table *t, const char *text, enum colour c)
{
	table_cell(t, text, c);
	if (!t->failed)
		t->cells[t->n - 1].line = true;
	for (size_t i = 1; i < t->n_cols; i++)
		table_cell(t, NULL, COLOUR_NONE);
}

size_t
table_rows(const struct table *t)
{
	return t->n / t->n_cols;
}

void
table_fit(
    const struct table_col *cols, const unsigned *natural, size_t n, unsigned width, unsigned *ret)
{
	unsigned total = n > 0 ? (unsigned)(n - 1) * TABLE_GAP : 0;

	for (size_t i = 0; i < n; i++) {
		ret[i] = natural[i];
		total += natural[i];
	}
	while (width != 0 && total > width) {
		size_t widest = n;

		for (size_t i = 0; i < n; i++)
			if ((cols[i].flags & COL_CUT) && ret[i] > cols[i].min &&
			    (widest == n || ret[i] > ret[widest]))
				widest = i;
		if (widest == n)
			return;
		ret[widest]--;
		total--;
	}
}

/* Which columns are shown, in order. */
static size_t
choose_cols(const struct table *t, bool wide, bool stream, size_t *ret)
{
	size_t n = 0, rows = table_rows(t);

	for (size_t c = 0; c < t->n_cols; c++) {
		bool filled = stream || !(t->cols[c].flags & COL_EMPTY);

		if ((t->cols[c].flags & COL_WIDE) && !wide)
			continue;
		for (size_t r = 0; r < rows && !filled; r++) {
			const char *text = t->cells[r * t->n_cols + c].text;

			filled = text[0] != '\0' && strcmp(text, "-") != 0;
		}
		if (filled)
			ret[n++] = c;
	}
	return n;
}

static unsigned
natural_width(const struct table *t, size_t c)
{
	unsigned w = t->cols[c].title != NULL && !t->headless ? text_width(t->cols[c].title) : 0;

	for (size_t r = 0; r < table_rows(t); r++) {
		const struct cell *row = &t->cells[r * t->n_cols];

		if (!row->line)
			w = MAX(w, row[c].width);
	}
	return w;
}

static void
pad(FILE *f, unsigned n)
{
	fprintf(f, "%*s", (int)n, "");
}

/* A cell in w columns; the last one of a row is not padded. */
static int
print_cell(FILE *f, const char *text, enum colour c, unsigned w, bool right, bool last, bool colour)
{
	_cleanup_free_ char *cut = w > 0 ? text_cut(text, w) : strdup(text);
	unsigned used;

	if (cut == NULL)
		return -ENOMEM;
	used = text_width(cut);
	if (right && used < w)
		pad(f, w - used);
	colour_print(f, cut, c, colour && cut[0] != '\0');
	if (!right && !last && used < w)
		pad(f, w - used);
	if (!last)
		pad(f, TABLE_GAP);
	return 0;
}

void
table_hide_header(struct table *t)
{
	t->headless = true;
}

struct layout {
	size_t cols[TABLE_MAX_COLS], n;
	unsigned widths[TABLE_MAX_COLS]; /* 0: as it comes */
};

static int
print_header(const struct table *t, const struct layout *l, FILE *f, bool colour)
{
	int r = 0;

	if (t->cols[0].title == NULL || t->headless)
		return 0;
	for (size_t i = 0; i < l->n && r == 0; i++) {
		const struct table_col *col = &t->cols[l->cols[i]];

		r = print_cell(f, col->title, COLOUR_BOLD, l->widths[i], col->flags & COL_RIGHT,
		    i + 1 == l->n, colour);
	}
	fputc('\n', f);
	return r;
}

static int
print_rows(const struct table *t, const struct layout *l, FILE *f, unsigned width, bool colour)
{
	int r = 0;

	for (size_t row = 0; row < table_rows(t) && r == 0; row++) {
		const struct cell *cells = &t->cells[row * t->n_cols];
		size_t n = l->n;

		if (cells->line)
			r = print_cell(f, cells->text, cells->colour, width, false, true, colour);
		while (n > 1 && cells[l->cols[n - 1]].width == 0)
			n--;
		for (size_t i = 0; i < n && r == 0 && !cells->line; i++) {
			const struct cell *c = &cells[l->cols[i]];

			r = print_cell(f, c->text, c->colour, l->widths[i],
			    t->cols[l->cols[i]].flags & COL_RIGHT, i + 1 == n, colour);
		}
		fputc('\n', f);
	}
	return r;
}

static void
lay_out(const struct table *t, unsigned width, bool wide, bool stream, struct layout *l)
{
	struct table_col cols[TABLE_MAX_COLS];
	unsigned natural[TABLE_MAX_COLS];

	l->n = choose_cols(t, wide, stream, l->cols);
	for (size_t i = 0; i < l->n; i++) {
		cols[i] = t->cols[l->cols[i]];
		natural[i] = stream ? cols[i].stream : natural_width(t, l->cols[i]);
	}
	table_fit(cols, natural, l->n, width, l->widths);
}

int
table_print(const struct table *t, FILE *f, unsigned width, bool wide, bool colour)
{
	struct layout l;
	int r;

	if (t->failed)
		return -ENOMEM;
	lay_out(t, width, wide, false, &l);
	r = print_header(t, &l, f, colour);
	return r == 0 ? print_rows(t, &l, f, width, colour) : r;
}

int
table_print_stream(struct table *t, FILE *f, unsigned width, bool wide, bool colour, bool header)
{
	struct layout l;
	int r = 0;

	if (t->failed)
		return -ENOMEM;
	lay_out(t, width, wide, true, &l);
	/* Without a limit nothing is cut; what is longer pushes its row to the right. */
	if (header)
		r = print_header(t, &l, f, colour);
	for (size_t row = 0; row < table_rows(t) && width == 0; row++)
		for (size_t i = 0; i < l.n; i++)
			l.widths[i] = MAX(l.widths[i], t->cells[row * t->n_cols + l.cols[i]].width);
	if (r == 0)
		r = print_rows(t, &l, f, width, colour);
	forget_rows(t);
	return r;
}
