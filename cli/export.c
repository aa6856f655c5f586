/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of formats, and those that need little: the bundle itself, CSV, the graph's. */
#include "cli/export.h"

#include "cli/bundle.h"
#include "cli/csv.h"
#include "cli/graph.h"
#include "cli/show.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

const struct export_format export_formats[] = {
	{ "json", export_json },
	{ "csv", export_csv },
	{ "html", export_html },
	{ "html-static", export_html_static },
	{ "oscal", export_oscal },
	{ "k8s", export_k8s },
	{ "cilium", export_cilium },
	{ "ocsf", export_ocsf },
	{ "syslog", export_syslog },
	{ "graph", export_graph },
	{ "dot", export_dot },
	{ "mermaid", export_mermaid },
	{ NULL, NULL },
};

int
export_json(const json_t *b, FILE *f)
{
	if (json_dumpf(b, f, JSON_INDENT(2) | JSON_ENSURE_ASCII | BUNDLE_REALS) < 0)
		return ferror(f) ? 0 : -ENOMEM;
	fputc('\n', f);
	return 0;
}

/* CSV */

static void
csv_edge(FILE *f, const json_t *b, const json_t *e)
{
	char port[SHOW_PORT_LEN], flags[SHOW_FLAGS_LEN], names[SHOW_SEEN_AS_LEN];
	const char *number;

	show_port(e, port);
	number = strchr(port, '/');
	csv_cell(f, show_text(show_in(b, "host"), "name", ""), false);
	csv_number(f, b, "revision");
	csv_cell(f, show_text(e, "id", ""), false);
	csv_cell(f, show_text(e, "from", ""), false);
	csv_cell(f, show_text(e, "to", ""), false);
	csv_cell(f, show_text(e, "proto", ""), false);
	csv_cell(f, number != NULL ? number + 1 : "", false);
	csv_cell(f, show_flags(show_in(e, "flags"), flags), false);
	csv_number(f, e, "connections");
	csv_number(f, e, "bytes");
	csv_cell(f, show_text(e, "firstSeen", ""), false);
	csv_cell(f, show_text(e, "lastSeen", ""), false);
	csv_cell(f, show_text(e, "approvedBy", ""), false);
	csv_cell(f, show_text(e, "reason", ""), false);
	csv_cell(f, show_text(e, "ticket", ""), false);
	csv_cell(f, show_text(e, "expires", ""), false);
	csv_cell(f, bundle_digest(b), false);
	csv_cell(f, strcmp(show_seen_as(e, names), "-") != 0 ? names : "", true);
}

int
export_csv(const json_t *b, FILE *f)
{
	const json_t *list = show_in(b, "edges");

	fputs("host,revision,edge,from,to,proto,port,flags,connections,bytes,first_seen,last_seen,"
	      "approved_by,reason,ticket,expires,evidence_sha256,seen_as\r\n",
	    f);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *e = json_array_get(list, i);

		if (strcmp(show_text(e, "state", ""), "approved") == 0)
			csv_edge(f, b, e);
	}
	return 0;
}

/* The graph's forms */

static int
print_graph(const json_t *b, FILE *f, int (*print)(const json_t *, json_t *const *, size_t, FILE *))
{
	const json_t *list = show_in(b, "edges"), *workloads = show_in(b, "workloads");
	size_t n = json_array_size(list);
	_cleanup_free_ json_t **edges = calloc(n + 1, sizeof(*edges));
	json_t *nodes = json_array(), *graph;
	int r;

	for (size_t i = 0; i < json_array_size(workloads); i++) {
		const char *name = show_text(json_array_get(workloads, i), "name", "?");

		json_array_append_new(
		    nodes, json_pack("{s:s+, s:s}", "id", "workload:", name, "kind", "workload"));
	}
	graph = json_pack("{s:o}", "nodes", nodes);
	for (size_t i = 0; edges != NULL && i < n; i++)
		edges[i] = json_array_get(list, i);
	r = edges != NULL && graph != NULL ? print(graph, edges, n, f) : -ENOMEM;
	json_decref(graph);
	return r;
}

int
export_dot(const json_t *b, FILE *f)
{
	return print_graph(b, f, graph_print_dot);
}

int
export_mermaid(const json_t *b, FILE *f)
{
	return print_graph(b, f, graph_print_mermaid);
}
