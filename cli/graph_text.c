/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Graphviz' DOT and Mermaid's flowchart: nodes grouped by project, edges by state. A name may be
 * anything, so nodes are numbered and the name is only ever a quoted label.
 */
#include "cli/graph.h"

#include "cli/show.h"

#include <errno.h>
#include <string.h>

/* Workloads first, then the others; each by name. */
static int
compare_peers(const char *a, const char *b)
{
	bool wa = show_workload(a) != NULL, wb = show_workload(b) != NULL;

	return wa != wb ? (wa ? -1 : 1) : strcmp(a, b);
}

int
graph_edge_compare(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int r = compare_peers(show_text(x, "from", "?"), show_text(y, "from", "?"));

	if (r == 0)
		r = compare_peers(show_text(x, "to", "?"), show_text(y, "to", "?"));
	if (r == 0)
		r = strcmp(show_text(x, "proto", "?"), show_text(y, "proto", "?"));
	if (r == 0) {
		int64_t p = show_int(x, "port", -1), q = show_int(y, "port", -1);

		r = (p > q) - (p < q);
	}
	return r != 0 ? r : strcmp(show_text(x, "id", ""), show_text(y, "id", ""));
}

struct node {
	const char *id; /* as the API has it */
	size_t project; /* length of "shop" in "workload:shop/web", without the prefix; or 0 */
};

struct nodes {
	struct node *list;
	size_t n;
	json_t *numbers; /* id -> its place in list */
};

static const char *
project_of(const struct node *n)
{
	return show_workload(n->id);
}

static int
compare_nodes(const void *a, const void *b)
{
	const struct node *x = a, *y = b;
	int r;

	/* Projects together, first; compare_peers() would put "a-b" between "a/x" and "a/y". */
	if ((x->project == 0) != (y->project == 0))
		return x->project == 0 ? 1 : -1;
	if (x->project > 0) {
		r = memcmp(project_of(x), project_of(y), MIN(x->project, y->project));
		if (r == 0)
			r = (x->project > y->project) - (x->project < y->project);
		if (r != 0)
			return r;
	}
	return compare_peers(x->id, y->id);
}

static bool
same_project(const struct node *a, const struct node *b)
{
	return a->project == b->project && memcmp(project_of(a), project_of(b), a->project) == 0;
}

static void
nodes_add(struct nodes *nodes, const char *id)
{
	struct node *node = &nodes->list[nodes->n];
	const char *slash = NULL;

	if (json_object_get(nodes->numbers, id) != NULL)
		return;
	json_object_set_new(nodes->numbers, id, json_integer(0));
	node->id = id;
	node->project = 0;
	if (show_workload(id) != NULL)
		slash = strchr(id, '/');
	if (slash != NULL)
		node->project = (size_t)(slash - project_of(node));
	nodes->n++;
}

static int
nodes_of(const json_t *graph, json_t *const *edges, size_t n, struct nodes *ret)
{
	const json_t *list = show_in(graph, "nodes"), *o;
	struct nodes nodes = { .numbers = json_object() };
	size_t i;

	nodes.list = calloc(json_array_size(list) + 2 * n + 1, sizeof(*nodes.list));
	if (nodes.list == NULL || nodes.numbers == NULL) {
		free(nodes.list);
		json_decref(nodes.numbers);
		return -ENOMEM;
	}
	json_array_foreach(list, i, o) nodes_add(&nodes, show_text(o, "id", "?"));
	for (i = 0; i < n; i++) {
		nodes_add(&nodes, show_text(edges[i], "from", "?"));
		nodes_add(&nodes, show_text(edges[i], "to", "?"));
	}
	qsort(nodes.list, nodes.n, sizeof(*nodes.list), compare_nodes);
	for (i = 0; i < nodes.n; i++)
		json_object_set_new(nodes.numbers, nodes.list[i].id, json_integer((json_int_t)i));
	*ret = nodes;
	return 0;
}

static void
nodes_done(struct nodes *nodes)
{
	free(nodes->list);
	json_decref(nodes->numbers);
}

/* How a language writes what would end a label or mean something in it. */
struct escape {
	char c;
	const char *as;
};

static const struct escape dot_escapes[] = { { '"', "\\\"" }, { '\\', "\\\\" }, { 0, NULL } };
static const struct escape mermaid_escapes[] = { { '"', "#quot;" }, { '#', "#35;" },
	{ '<', "#lt;" }, { '>', "#gt;" }, { '&', "#amp;" }, { '`', "#96;" }, { ';', "#59;" },
	{ 0, NULL } };

/* A quoted label. What text_safe() could not keep is left out. */
static void
print_label(FILE *f, const char *text, size_t len, const struct escape *escapes)
{
	_cleanup_free_ char *raw = strndup(text, len), *safe = NULL;

	if (raw != NULL)
		safe = text_safe(raw);
	fputc('"', f);
	for (const char *p = safe != NULL ? safe : ""; *p != '\0'; p++) {
		const struct escape *e = escapes;

		while (e->c != 0 && e->c != *p)
			e++;
		if (e->c != 0)
			fputs(e->as, f);
		else
			fputc(*p, f);
	}
	fputc('"', f);
}

static int64_t
number_of(const struct nodes *nodes, const json_t *edge, const char *end)
{
	return show_int(nodes->numbers, show_text(edge, end, "?"), 0);
}

/* 1 for few connections, 5 for millions. */
static unsigned
pen_width(int64_t connections)
{
	unsigned width = 1;

	for (; connections >= 32 && width < 5; connections /= 32)
		width++;
	return width;
}

static const struct style {
	const char *state, *dot, *arrow;
} styles[] = {
	{ "approved", "color=\"#1a7f37\"", "-->" },
	{ "pending", "color=\"#9a6700\", style=dashed", "-.->" },
	{ "denied", "color=\"#cf222e\", arrowhead=tee", "--x" },
};

static const struct style *
style_of(const json_t *edge)
{
	const char *state = show_text(edge, "state", "?");

	for (size_t i = 0; i < ARRAY_SIZE(styles); i++)
		if (strcmp(styles[i].state, state) == 0)
			return &styles[i];
	return &styles[1];
}

/* What a language has around labels; a project is a box around its nodes. */
struct form {
	const char *box, *box_label, *box_begin, *box_end;
	const char *label, *end, *outside_end;
	const struct escape *escapes;
};

static void
print_nodes(const struct nodes *nodes, const struct form *as, FILE *f)
{
	for (size_t i = 0; i < nodes->n; i++) {
		const struct node *node = &nodes->list[i];
		bool first = node->project > 0 && (i == 0 || !same_project(node, node - 1));
		bool last =
		    node->project > 0 && (i + 1 == nodes->n || !same_project(node, node + 1));
		bool workload = show_workload(node->id) != NULL;
		const char *name = show_peer(node->id);

		if (first) {
			fprintf(f, "  subgraph %s%zu%s", as->box, i, as->box_label);
			print_label(f, project_of(node), node->project, as->escapes);
			fputs(as->box_begin, f);
		}
		fprintf(f, "  %sn%zu%s", node->project > 0 ? "  " : "", i, as->label);
		print_label(f, name, strlen(name), as->escapes);
		fputs(workload ? as->end : as->outside_end, f);
		if (last)
			fputs(as->box_end, f);
	}
}

int
graph_print_dot(const json_t *graph, json_t *const *edges, size_t n, FILE *f)
{
	static const struct form form = { "cluster_", " {\n    label=", ";\n", "  }\n",
		" [label=", "];\n", ", shape=ellipse];\n", dot_escapes };
	struct nodes nodes;
	int r = nodes_of(graph, edges, n, &nodes);

	if (r < 0)
		return r;
	fputs("digraph nanoseg {\n  rankdir=LR;\n  node [shape=box];\n", f);
	print_nodes(&nodes, &form, f);
	for (size_t i = 0; i < n; i++) {
		char port[SHOW_PORT_LEN];

		fprintf(f,
		    "  n%lld -> n%lld [label=", (long long)number_of(&nodes, edges[i], "from"),
		    (long long)number_of(&nodes, edges[i], "to"));
		show_port(edges[i], port);
		print_label(f, port, strlen(port), dot_escapes);
		fprintf(f, ", penwidth=%u, %s];\n", pen_width(show_int(edges[i], "connections", 0)),
		    style_of(edges[i])->dot);
	}
	fputs("}\n", f);
	nodes_done(&nodes);
	return 0;
}

int
graph_print_mermaid(const json_t *graph, json_t *const *edges, size_t n, FILE *f)
{
	static const struct form form = { "g", "[", "]\n", "  end\n", "[", "]\n", "]\n",
		mermaid_escapes };
	struct nodes nodes;
	int r = nodes_of(graph, edges, n, &nodes);

	if (r < 0)
		return r;
	fputs("flowchart LR\n", f);
	print_nodes(&nodes, &form, f);
	for (size_t i = 0; i < n; i++) {
		char port[SHOW_PORT_LEN];

		fprintf(f, "  n%lld %s|", (long long)number_of(&nodes, edges[i], "from"),
		    style_of(edges[i])->arrow);
		show_port(edges[i], port);
		print_label(f, port, strlen(port), mermaid_escapes);
		fprintf(f, "| n%lld\n", (long long)number_of(&nodes, edges[i], "to"));
	}
	nodes_done(&nodes);
	return 0;
}
