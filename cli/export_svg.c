/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The diagram of a report: boxes of projects with their workloads, in columns, and a curve for each
 * pair that talks. Where there are too many workloads to be read, a project is one line of its
 * box. The same bundle gives the same picture; the table beside it has what the picture leaves out.
 */
#include "cli/export.h"

#include "cli/bundle.h"
#include "cli/html.h"
#include "cli/show.h"

#include <errno.h>
#include <string.h>

#define MAX_SINGLE 80 /* workloads shown one by one */
#define MAX_NODES 240 /* boxes' lines drawn at all */
#define MAX_LINES 1500
#define COLUMN_WIDTH 220
#define COLUMN_GAP 120
#define ROW 22
#define MARGIN 12
#define MAX_LABEL 30

struct node {
	char *label; /* the peer, or a project */
	char *group; /* the box's title; "" has none */
	bool outside;
	int x, y; /* the middle of its left end */
};

struct line {
	size_t from, to;
	int state; /* 0 approved, 1 pending, 2 denied: the first wins */
	size_t edges;
};

struct picture {
	struct node *nodes;
	struct line *lines;
	size_t n_nodes, n_lines, n_left;
	json_t *by_key, *by_pair;
	bool single;
	int width, height;
};

static void
picture_done(struct picture *p)
{
	for (size_t i = 0; i < p->n_nodes; i++) {
		free(p->nodes[i].label);
		free(p->nodes[i].group);
	}
	free(p->nodes);
	free(p->lines);
	json_decref(p->by_key);
	json_decref(p->by_pair);
}

/* Cut to fit its box; the whole name is the title. */
static void
put_label(FILE *f, const char *text)
{
	_cleanup_free_ char *safe = text_safe(text), *cut = NULL;

	if (safe != NULL)
		cut = text_cut(safe, MAX_LABEL);
	html_put_raw(f, cut);
}

static char *
group_of(const char *peer, bool *ret_outside)
{
	const char *name = show_workload(peer), *slash;

	*ret_outside = name == NULL;
	if (*ret_outside)
		return strdup("outside");
	slash = strchr(name, '/');
	return slash != NULL ? strndup(name, (size_t)(slash - name)) : strdup("");
}

static bool
has_project(const char *peer)
{
	const char *name = show_workload(peer);

	return name != NULL && strchr(name, '/') != NULL;
}

/* The node that stands for a peer, made if need be; SIZE_MAX: no room. */
static size_t
node_of(struct picture *p, const char *peer)
{
	bool outside;
	_cleanup_free_ char *group = group_of(peer, &outside), *key = NULL;
	bool folded = !p->single && has_project(peer);
	json_int_t at;
	char *label;

	if (group == NULL || asprintf(&key, "%c%s", folded ? 'g' : 'p', folded ? group : peer) < 0)
		return SIZE_MAX;
	if (json_unpack(json_object_get(p->by_key, key), "I", &at) == 0)
		return (size_t)at;
	if (p->n_nodes == MAX_NODES) {
		p->n_left++;
		return SIZE_MAX;
	}
	label = strdup(folded ? group : peer);
	if (label == NULL)
		return SIZE_MAX;
	json_object_set_new(p->by_key, key, json_integer((json_int_t)p->n_nodes));
	p->nodes[p->n_nodes] =
	    (struct node){ .label = label, .group = steal_ptr(group), .outside = outside };
	return p->n_nodes++;
}

static int
state_of(const json_t *e)
{
	const char *state = show_text(e, "state", "");

	return strcmp(state, "approved") == 0 ? 0 : strcmp(state, "denied") == 0 ? 2 : 1;
}

static void
add_line(struct picture *p, size_t from, size_t to, int state)
{
	json_int_t at;
	char key[64];

	snprintf(key, sizeof(key), "%zu %zu", from, to);
	if (json_unpack(json_object_get(p->by_pair, key), "I", &at) == 0) {
		p->lines[at].state = MIN(p->lines[at].state, state);
		p->lines[at].edges++;
		return;
	}
	if (p->n_lines == MAX_LINES) {
		p->n_left++;
		return;
	}
	json_object_set_new(p->by_pair, key, json_integer((json_int_t)p->n_lines));
	p->lines[p->n_lines++] =
	    (struct line){ .from = from, .to = to, .state = state, .edges = 1 };
}

static int
picture_init(const json_t *b, struct picture *p)
{
	const json_t *workloads = show_in(b, "workloads"), *edges = show_in(b, "edges");
	size_t n = json_array_size(workloads);

	*p = (struct picture){ .by_key = json_object(), .by_pair = json_object() };
	p->single = n <= MAX_SINGLE;
	p->nodes = calloc(MAX_NODES, sizeof(*p->nodes));
	p->lines = calloc(MAX_LINES, sizeof(*p->lines));
	if (p->nodes == NULL || p->lines == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *peer = NULL;

		if (asprintf(&peer, "workload:%s",
			show_text(json_array_get(workloads, i), "name", "?")) < 0)
			return -ENOMEM;
		node_of(p, peer);
	}
	for (size_t i = 0; i < json_array_size(edges); i++) {
		const json_t *e = json_array_get(edges, i);
		size_t from = node_of(p, show_text(e, "from", "?"));
		size_t to = node_of(p, show_text(e, "to", "?"));

		if (from != SIZE_MAX && to != SIZE_MAX && from != to)
			add_line(p, from, to, state_of(e));
	}
	return 0;
}

/* Layout */

/* Projects together and by name, what is outside last. */
static int
compare_nodes(const void *a, const void *b)
{
	const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;
	int r = x->outside - y->outside;

	if (r == 0)
		r = strcmp(x->group, y->group);
	return r != 0 ? r : strcmp(x->label, y->label);
}

static bool
same_box(const struct node *a, const struct node *b)
{
	return a->outside == b->outside && a->group[0] != '\0' && strcmp(a->group, b->group) == 0;
}

static bool
has_title(const struct picture *p, const struct node *n)
{
	return n->group[0] != '\0' && (p->single || n->outside);
}

static size_t
columns_for(size_t n)
{
	size_t columns = 2;

	while (columns < 6 && n > columns * columns * 6)
		columns++;
	return columns;
}

/* Each box goes to the column that is shortest so far; places its nodes and prints its frame. */
static void
place(struct picture *p, struct node **order, FILE *f)
{
	size_t n_columns = columns_for(p->n_nodes), i = 0, end;
	int heights[6] = { 0 };

	while (i < p->n_nodes) {
		size_t column = 0;
		int x, y, title = has_title(p, order[i]) ? ROW : 0;

		for (end = i + 1; end < p->n_nodes && same_box(order[i], order[end]); end++)
			;
		for (size_t c = 1; c < n_columns; c++)
			if (heights[c] < heights[column])
				column = c;
		x = MARGIN + (int)column * (COLUMN_WIDTH + COLUMN_GAP);
		y = MARGIN + heights[column];
		heights[column] += title + (int)(end - i) * ROW + 16;
		fprintf(f,
		    "<rect class=\"box\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
		    "rx=\"4\"/>\n",
		    x, y, COLUMN_WIDTH, title + (int)(end - i) * ROW + 4);
		if (title > 0) {
			fprintf(f, "<text class=\"title\" x=\"%d\" y=\"%d\">", x + 8, y + 16);
			put_label(f, order[i]->group);
			fputs("</text>\n", f);
		}
		for (; i < end; i++) {
			order[i]->x = x;
			order[i]->y = y + title + ROW / 2 + 2;
			y += ROW;
		}
	}
	p->width = 2 * MARGIN + (int)n_columns * (COLUMN_WIDTH + COLUMN_GAP);
	for (size_t c = 0; c < n_columns; c++)
		p->height = MAX(p->height, heights[c] + 2 * MARGIN);
}

static void
print_nodes(const struct picture *p, struct node *const *order, FILE *f)
{
	for (size_t i = 0; i < p->n_nodes; i++) {
		const char *name = show_peer(order[i]->label), *slash = strchr(name, '/');
		bool inside = !order[i]->outside && has_title(p, order[i]) && slash != NULL;

		fprintf(f, "<text x=\"%d\" y=\"%d\"><title>", order[i]->x + 12, order[i]->y + 4);
		html_put(f, name);
		fputs("</title>", f);
		put_label(f, inside ? slash + 1 : name);
		fputs("</text>\n", f);
	}
}

/* From the right end of one to the left end of the other; within a column, out and back. */
static void
print_line(const struct picture *p, const struct line *l, FILE *f)
{
	static const char *const classes[] = { "approved", "pending", "denied" };
	const struct node *a = &p->nodes[l->from], *b = &p->nodes[l->to];
	int x1 = a->x + COLUMN_WIDTH, x2 = b->x, bend = COLUMN_GAP / 2;
	int width = l->edges > 100 ? 4 : l->edges > 10 ? 3 : l->edges > 1 ? 2 : 1;

	if (b->x <= a->x)
		x2 = b->x + COLUMN_WIDTH;
	if (b->x < a->x)
		x1 = a->x;
	fprintf(f,
	    "<path class=\"%s\" stroke-width=\"%d\" marker-end=\"url(#%s)\" d=\"M%d %dC%d %d "
	    "%d %d %d %d\"><title>",
	    classes[l->state], width, classes[l->state], x1, a->y,
	    b->x < a->x ? x1 - bend : x1 + bend, a->y, b->x > a->x ? x2 - bend : x2 + bend, b->y,
	    x2, b->y);
	html_put(f, show_peer(a->label));
	fputs(" to ", f);
	html_put(f, show_peer(b->label));
	fprintf(f, ", %s (%zu)</title></path>\n", classes[l->state], l->edges);
}

static int
print_picture(struct picture *p, FILE *f)
{
	static const char *const classes[] = { "approved", "pending", "denied" };
	_cleanup_free_ struct node **order = calloc(p->n_nodes + 1, sizeof(struct node *));
	_cleanup_free_ char *boxes = NULL;
	size_t len;
	FILE *m = open_memstream(&boxes, &len);

	for (size_t i = 0; order != NULL && i < p->n_nodes; i++)
		order[i] = &p->nodes[i];
	if (order == NULL || m == NULL) {
		if (m != NULL)
			fclose(m);
		return -ENOMEM;
	}
	qsort(order, p->n_nodes, sizeof(*order), compare_nodes);
	place(p, order, m);
	if (fclose(m) != 0)
		return -ENOMEM;
	fprintf(f,
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
	    "aria-label=\"Who talks to whom\">\n<defs>",
	    p->width, p->height);
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		fprintf(f,
		    "<marker id=\"%s\" class=\"m-%s\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" "
		    "markerUnits=\"userSpaceOnUse\" markerWidth=\"9\" markerHeight=\"9\" "
		    "orient=\"auto\"><path d=\"%s\"/></marker>",
		    classes[i], classes[i], i == 2 ? "M5 0H7V8H5z" : "M0 0L8 4L0 8z");
	fprintf(f, "</defs>\n<g%s>\n", p->n_lines > 200 ? " class=\"many\"" : "");
	for (size_t i = 0; i < p->n_lines; i++)
		print_line(p, &p->lines[i], f);
	fprintf(f, "</g>\n%s", boxes);
	print_nodes(p, order, f);
	fputs("</svg>\n", f);
	return 0;
}

int
svg_print(const json_t *b, FILE *f)
{
	struct picture p;
	int r = picture_init(b, &p);

	if (r == 0)
		r = print_picture(&p, f);
	if (r == 0 && (!p.single || p.n_left > 0))
		fprintf(f, "<p>%s%s The tables have all of it.</p>\n",
		    p.single ? "" : "The workloads of a project are drawn as one. ",
		    p.n_left > 0 ? "Not everything fits into the picture." : "");
	picture_done(&p);
	return r;
}
