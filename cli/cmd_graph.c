/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg graph: who talks to whom as a picture in text, grouped by source. */
#include "cli/bundle.h"
#include "cli/client.h"
#include "cli/export.h"
#include "cli/graph.h"
#include "cli/graph_page.h"
#include "cli/show.h"

#include <errno.h>
#include <string.h>

static const struct table_col cols[] = {
	{ NULL, COL_CUT, 16, 0 },  /* -> destination */
	{ NULL, COL_CUT, 8, 0 },   /* port */
	{ NULL, 0, 0, 0 },	   /* state */
	{ NULL, COL_RIGHT, 0, 0 }, /* connections */
	{ NULL, COL_EMPTY, 0, 0 }, /* flags */
	{ NULL, COL_WIDE, 0, 0 },  /* id */
};

static void
add_edge(struct table *t, const json_t *e, char letters[static SHOW_FLAGS_LEN])
{
	const char *state = show_text(e, "state", "?");
	char port[SHOW_PORT_LEN], number[SHOW_NUMBER_LEN], flags[SHOW_FLAGS_LEN];
	int64_t conn = show_int(e, "connections", 0);

	/* What a table keeps is bounded; a peer is shorter than this. */
	table_cellf(t, COLOUR_NONE, "  %s %.500s", strcmp(state, "denied") == 0 ? "-x" : "->",
	    show_peer(show_text(e, "to", "?")));
	table_cell(t, show_port(e, port), COLOUR_NONE);
	table_cell(t, state, show_state_colour(state));
	table_cellf(t, COLOUR_NONE, "%s conn", show_number(conn, number));
	table_cell(t, show_flags(show_in(e, "flags"), flags), COLOUR_DIM);
	table_cell(t, show_text(e, "id", "?"), COLOUR_DIM);
	show_flags_collect(flags, letters);
}

/* Workloads that no edge touches, each on a line of its own. */
static void
add_silent(struct table *t, const json_t *nodes, json_t *const *edges, size_t n)
{
	json_t *seen = json_object(), *node;
	bool first = true;
	size_t i;

	for (i = 0; i < n; i++) {
		json_object_set_new(seen, show_text(edges[i], "from", "?"), json_true());
		json_object_set_new(seen, show_text(edges[i], "to", "?"), json_true());
	}
	json_array_foreach((json_t *)nodes, i, node)
	{
		const char *id = show_text(node, "id", NULL);
		_cleanup_free_ char *line = NULL;

		if (id == NULL || json_object_get(seen, id) != NULL)
			continue;
		if (first)
			table_line(t, "no connection yet:", COLOUR_DIM);
		first = false;
		if (asprintf(&line, "  %s", show_peer(id)) >= 0)
			table_line(t, line, COLOUR_NONE);
		else
			line = NULL;
	}
	json_decref(seen);
}

/* The edges in their order; free the array, not what is in it. */
static json_t **
sorted_edges(const json_t *graph, size_t *ret_n)
{
	const json_t *list = show_in(graph, "edges");
	size_t n = json_array_size(list);
	json_t **edges = calloc(n + 1, sizeof(*edges));

	if (edges == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		edges[i] = json_array_get(list, i);
	qsort(edges, n, sizeof(*edges), graph_edge_compare);
	*ret_n = n;
	return edges;
}

static int
draw(const struct cli *cli, const json_t *graph, FILE *f, void *arg)
{
	_cleanup_(table_freep) struct table *t = NULL;
	char letters[SHOW_FLAGS_LEN] = "", legend[SHOW_LEGEND_LEN];
	const char *group = NULL;
	size_t n = 0;
	_cleanup_free_ json_t **edges = sorted_edges(graph, &n);
	int r = edges != NULL ? table_new(cols, ARRAY_SIZE(cols), &t) : -ENOMEM;

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		const char *from = show_text(edges[i], "from", "?");

		if (group == NULL || strcmp(group, from) != 0)
			table_line(t, show_peer(from), COLOUR_BOLD);
		group = from;
		add_edge(t, edges[i], letters);
	}
	add_silent(t, show_in(graph, "nodes"), edges, n);
	if (table_rows(t) == 0) {
		fputs("nothing seen yet\n", f);
		return 0;
	}
	r = out_table(&cli->out, t, f);
	if (r == 0 && letters[0] != '\0')
		fprintf(f, "flags: %s\n", show_flags_legend(letters, legend));
	return r;
}

/* What export_graph() looks at, of what the graph alone has. */
static int
print_page(const json_t *graph, json_t *const *edges, size_t n, FILE *f)
{
	json_t *sorted = json_array(), *workloads = json_array(), *node, *b;
	size_t i;
	int r;

	for (i = 0; i < n; i++)
		json_array_append(sorted, edges[i]);
	json_array_foreach(show_in(graph, "nodes"), i, node)
	{
		const char *name = show_workload(show_text(node, "id", ""));

		if (name != NULL)
			json_array_append_new(workloads, json_pack("{s:s}", "name", name));
	}
	b = json_pack("{s:{s:s}, s:o, s:o}", "host", "name",
	    show_text(show_in(graph, "host"), "name", "?"), "edges", sorted, "workloads",
	    workloads);
	r = b != NULL ? export_graph(b, f) : -ENOMEM;
	json_decref(b);
	return r;
}

typedef int (*graph_print_fn)(const json_t *graph, json_t *const *edges, size_t n, FILE *f);

/* A form that only the graph has. */
static int
print_drawn(const struct cli *cli, graph_print_fn print)
{
	_cleanup_free_ json_t **edges = NULL;
	json_t *graph = NULL;
	size_t n = 0;
	int r = client_get(cli, "/v1/graph", &graph);

	if (r != CLI_OK)
		return r;
	edges = sorted_edges(graph, &n);
	r = cli_printed(edges != NULL ? print(graph, edges, n, stdout) : -ENOMEM);
	json_decref(graph);
	return r;
}

int
cmd_graph(struct cli *cli, int argc, char **argv)
{
	static const struct {
		const char *form;
		graph_print_fn print;
	} drawn[] = { { "dot", graph_print_dot }, { "mermaid", graph_print_mermaid },
		{ "html", print_page } };
	const char *form = NULL;
	bool watch = false;
	const struct arg_option own[] = {
		{ "watch", 'w', &watch, NULL },
		{ "output", 'o', NULL, &form }, /* three forms more than other commands have */
	};
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	for (size_t i = 0; form != NULL && i < ARRAY_SIZE(drawn); i++) {
		if (strcmp(form, drawn[i].form) != 0)
			continue;
		if (watch)
			return cli_usage(cli, "--watch draws tables only");
		if (drawn[i].print == print_page && !page_is_there()) {
			cli_error(PAGE_MISSING);
			return CLI_ERROR;
		}
		return print_drawn(cli, drawn[i].print);
	}
	if (form != NULL && out_form_parse(form, &cli->out.form) < 0)
		return cli_usage(cli,
		    "-o: expected table, wide, json, yaml, dot, mermaid or html, not '%s'", form);
	return cli_show(cli, "/v1/graph", watch, draw, NULL);
}
