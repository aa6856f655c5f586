/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph as a page: one file that loads nothing, with cytoscape in it and a policy that lets
 * only these scripts run. The data are an island of JSON in which no character can end it; names
 * are made safe to look at here and set as text there.
 */
#include "cli/export.h"

#include "cli/bundle.h"
#include "cli/graph_page.h"
#include "cli/html.h"
#include "cli/show.h"

#include "rules/edge.h"

#include <errno.h>
#include <string.h>

static json_t *
safe(const char *text)
{
	_cleanup_free_ char *s = text_safe_sentence(text != NULL ? text : "");

	return json_string(s != NULL ? s : "");
}

/* "shop" of "workload:shop/web"; "" without one; what is no workload is outside. */
static json_t *
group_of(const char *peer)
{
	_cleanup_free_ char *group = NULL;
	const char *name = show_workload(peer), *slash;

	if (name == NULL)
		return json_string("(outside)");
	slash = strchr(name, '/');
	if (slash == NULL)
		return json_string("");
	group = strndup(name, (size_t)(slash - name));
	return safe(group);
}

static void
add_node(json_t *nodes, json_t *seen, const char *peer)
{
	const char *label = show_peer(peer), *slash = strchr(label, '/');
	bool workload = show_workload(peer) != NULL;
	size_t kind = strcspn(peer, ":");

	if (json_object_get(seen, peer) != NULL)
		return;
	json_object_set_new(seen, peer, json_true());
	json_array_append_new(
	    nodes, json_pack("{s:s, s:o, s:o, s:o, s:o}", "id", peer, "label", safe(label), "short",
		       safe(workload && slash != NULL ? slash + 1 : label), "kind",
		       workload ? json_string("workload") : json_stringn(peer, kind), "group",
		       group_of(peer)));
}

static json_t *
edge_data(const json_t *e)
{
	const char *state = show_text(e, "state", "");
	char port[SHOW_PORT_LEN], flags[SHOW_FLAGS_LEN], legend[SHOW_LEGEND_LEN];

	show_flags(show_in(e, "flags"), flags);
	return json_pack("{s:s, s:s, s:o, s:s, s:I, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o}",
	    "from", show_text(e, "from", "?"), "to", show_text(e, "to", "?"), "port",
	    safe(show_port(e, port)), "state", edge_state_parse(state) >= 0 ? state : "pending",
	    "connections", (json_int_t)show_int(e, "connections", 0), "firstSeen",
	    safe(show_text(e, "firstSeen", "")), "lastSeen", safe(show_text(e, "lastSeen", "")),
	    "flags", show_flags_legend(flags, legend), "approvedBy",
	    safe(show_text(e, "approvedBy", "")), "reason", safe(show_text(e, "reason", "")),
	    "ticket", safe(show_text(e, "ticket", "")), "expires",
	    safe(show_text(e, "expires", "")), "id", safe(show_text(e, "id", "")));
}

static json_t *
graph_data(const json_t *b)
{
	const json_t *workloads = show_in(b, "workloads"), *list = show_in(b, "edges");
	json_t *nodes = json_array(), *edges = json_array(), *seen = json_object();

	for (size_t i = 0; i < json_array_size(workloads); i++) {
		_cleanup_free_ char *peer = NULL;

		if (asprintf(&peer, "workload:%s",
			show_text(json_array_get(workloads, i), "name", "?")) >= 0)
			add_node(nodes, seen, peer);
		else
			peer = NULL;
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *e = json_array_get(list, i);

		add_node(nodes, seen, show_text(e, "from", "?"));
		add_node(nodes, seen, show_text(e, "to", "?"));
		json_array_append_new(edges, edge_data(e));
	}
	json_decref(seen);
	return json_pack("{s:o, s:o}", "nodes", nodes, "edges", edges);
}

/* Nothing in it looks like markup to anybody. */
static int
print_island(const json_t *data, FILE *f)
{
	_cleanup_free_ char *text = json_dumps(data, JSON_COMPACT | JSON_ENSURE_ASCII);

	if (text == NULL)
		return -ENOMEM;
	fputs("<script type=\"application/json\" id=\"data\">", f);
	for (const char *p = text; *p != '\0'; p++) {
		if (strchr("<>&", *p) != NULL)
			fprintf(f, "\\u%04x", (unsigned)*p);
		else
			fputc(*p, f);
	}
	fputs("</script>\n", f);
	return 0;
}

void
graph_put_policy(FILE *f, const char *own_style)
{
	char css[HTML_HASH_STRLEN], own[HTML_HASH_STRLEN], library[HTML_HASH_STRLEN];
	char script[HTML_HASH_STRLEN];

	fprintf(f,
	    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
	    "'%s'",
	    html_hash((const char *)page_css, page_css_len, css));
	if (own_style != NULL)
		fprintf(f, " '%s'", html_hash(own_style, strlen(own_style), own));
	fprintf(f, "; script-src '%s' '%s'; base-uri 'none'; form-action 'none'\">\n",
	    html_hash((const char *)page_cytoscape, page_cytoscape_len, library),
	    html_hash((const char *)page_script, page_script_len, script));
}

void
graph_put_style(FILE *f)
{
	/* cytoscape would add a style under this id. */
	fputs("<style id=\"__________cytoscape_stylesheet\">", f);
	fwrite(page_css, page_css_len, 1, f);
	fputs("</style>", f);
}

/* What stands in it is filled by the script. */
static void
put_controls(FILE *f)
{
	fputs(
	    "<label>Search <input id=\"search\" type=\"search\"></label>"
	    "<label>Project <select id=\"group\"><option value=\"\">all</option></select></label>"
	    "<fieldset><legend>Show</legend>"
	    "<label class=\"approved\"><input type=\"checkbox\" id=\"state-approved\" checked> "
	    "approved</label>"
	    "<label class=\"pending\"><input type=\"checkbox\" id=\"state-pending\" checked> "
	    "pending (dashed)</label>"
	    "<label class=\"denied\"><input type=\"checkbox\" id=\"state-denied\" checked> denied "
	    "(dotted)</label></fieldset>"
	    "<button id=\"fit\" type=\"button\">Fit</button>"
	    "<button id=\"zoom-in\" type=\"button\" aria-label=\"Larger\">+</button>"
	    "<button id=\"zoom-out\" type=\"button\" aria-label=\"Smaller\">&minus;</button>"
	    "<span id=\"count\" role=\"status\"></span></header>\n"
	    "<nav id=\"list\" aria-label=\"Peers\"><ul id=\"nodes\"></ul></nav>\n"
	    "<div id=\"graph\" role=\"img\" aria-label=\"Graph; the list of peers has the "
	    "same\"></div>\n"
	    "<aside id=\"detail\" aria-live=\"polite\"><p>Choose a peer or a connection. / "
	    "searches, Escape clears.</p></aside>\n",
	    f);
}

static int
put_scripts(const json_t *b, FILE *f)
{
	json_t *data = graph_data(b);
	int r = data != NULL ? print_island(data, f) : -ENOMEM;

	json_decref(data);
	fputs("<script>", f);
	fwrite(page_cytoscape, page_cytoscape_len, 1, f);
	fputs("</script>\n<script>", f);
	fwrite(page_script, page_script_len, 1, f);
	fputs("</script>\n", f);
	return r;
}

int
graph_put_section(const json_t *b, FILE *f)
{
	fputs("<section class=\"explore within\" id=\"explore\" aria-label=\"Graph\" "
	      "hidden>\n<header>",
	    f);
	put_controls(f);
	fputs("</section>\n", f);
	return put_scripts(b, f);
}

int
export_graph(const json_t *b, FILE *f)
{
	int r;

	fputs("<!DOCTYPE html>\n<html lang=\"en\" class=\"alone-page\"><head><meta "
	      "charset=\"utf-8\">\n",
	    f);
	graph_put_policy(f, NULL);
	fputs("<meta name=\"viewport\" content=\"width=device-width\">\n<title>nanoseg graph: ", f);
	html_put(f, show_text(show_in(b, "host"), "name", "?"));
	fputs("</title>\n", f);
	graph_put_style(f);
	fputs("</head>\n<body>\n<main class=\"explore alone\" id=\"explore\">\n<header><h1>Who "
	      "talks to "
	      "whom: ",
	    f);
	html_put(f, show_text(show_in(b, "host"), "name", "?"));
	fputs("</h1>", f);
	put_controls(f);
	fputs("</main>\n", f);
	r = put_scripts(b, f);
	fputs("</body></html>\n", f);
	return r;
}

bool
page_is_there(void)
{
	return page_cytoscape_len > 0;
}
