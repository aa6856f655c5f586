/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The report: one page that loads nothing and may load nothing (its own policy says so), for a
 * screen and for paper. Conclusions first, then what they are made of. Its graph is the one that
 * has a script; without it the page is whole, and html-static is the same without any.
 */
#include "cli/export.h"

#include "cli/bundle.h"
#include "cli/graph_page.h"
#include "cli/html.h"
#include "cli/html_table.h"
#include "cli/show.h"

#include <inttypes.h>
#include <string.h>

static const char style[] =
    "body{font:15px/1.45 system-ui,sans-serif;color:#1b1f24;background:#fff;max-width:1200px;"
    "margin:2em auto;padding:0 1em}"
    "h1{font-size:1.7em}h2{font-size:1.25em;margin-top:2em;border-bottom:1px solid #8c959f}"
    "table{border-collapse:collapse;width:100%;font-size:.87em}"
    "th,td{text-align:left;vertical-align:top;padding:.3em .6em;border-bottom:1px solid #d0d7de;"
    "overflow-wrap:anywhere}"
    "th{background:#f0f3f6}thead{display:table-header-group}tr{break-inside:avoid}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2em 1em}dt{font-weight:600}dd{"
    "margin:0;overflow-wrap:anywhere}"
    "code,.n{font-family:ui-monospace,monospace}.n{text-align:right}"
    ".shown,.partly,.absent,.supported,.none,.approved,.pending,.denied{overflow-wrap:normal}"
    ".shown,.supported,.approved{color:#116329}.partly,.pending{color:#7d4e00}"
    ".absent,.none,.denied{color:#a40e26}"
    "svg{width:100%;height:auto;font:12px system-ui,sans-serif}"
    "svg .box{fill:#f6f8fa;stroke:#8c959f}svg .title{font-weight:600}"
    "svg path{fill:none;opacity:.75}svg .many path{opacity:.25}svg path.approved{stroke:#116329}"
    "svg path.pending{stroke:#7d4e00;stroke-dasharray:5 4}"
    "svg path.denied{stroke:#a40e26;stroke-dasharray:1 3}"
    "svg marker path{opacity:1}svg .m-approved path{fill:#116329}svg .m-pending path{fill:#7d4e00}"
    "svg .m-denied path{fill:#a40e26}"
    "@media print{body{margin:0;max-width:none;font-size:10pt}h2{break-after:avoid}"
    "nav{display:none}}";

static void
head(FILE *f, const char *id, const char *title)
{
	fprintf(f, "<h2 id=\"%s\">%s</h2>\n", id, title);
}

static void
term(FILE *f, const char *name, const char *text)
{
	fprintf(f, "<dt>%s</dt><dd>", name);
	html_put(f, text != NULL ? text : "not known");
	fputs("</dd>\n", f);
}

static void
term_number(FILE *f, const char *name, int64_t n)
{
	char text[SHOW_NUMBER_LEN];

	term(f, name, show_number(n, text));
}

static void
print_selector(FILE *f, const json_t *b)
{
	const json_t *s = show_in(b, "selector"), *v;
	const char *key;

	if (!json_is_object(s))
		return;
	fputs("<dt>Limited to</dt><dd>", f);
	if (show_text(s, "project", NULL) != NULL) {
		fputs("project ", f);
		html_put(f, show_text(s, "project", ""));
		fputc(' ', f);
	}
	json_object_foreach((json_t *)show_in(s, "labels"), key, v)
	{
		html_put(f, key);
		fputc('=', f);
		html_put(f, json_string_value(v));
		fputc(' ', f);
	}
	fputs("</dd>\n", f);
}

static void
print_summary(FILE *f, const json_t *b)
{
	const json_t *s = show_in(b, "summary"), *host = show_in(b, "host");
	const json_t *period = show_in(b, "period"), *audit = show_in(show_in(b, "audit"), "head");
	const json_t *edges = show_in(s, "edges"), *w = show_in(s, "workloads");

	head(f, "summary", "Summary");
	fputs("<dl>\n", f);
	term(f, "Host", show_text(host, "name", NULL));
	term(f, "Kernel", show_text(host, "kernel", NULL));
	term(f, "From", show_text(period, "from", NULL));
	term(f, "Until", show_text(period, "to", NULL));
	print_selector(f, b);
	term_number(f, "Policy revision", show_int(b, "revision", 0));
	term(f, "Policy digest", show_text(b, "policyDigest", NULL));
	term_number(f, "Audit record", show_int(audit, "seq", 0));
	term(f, "Audit head", show_text(audit, "hash", NULL));
	term(f, "Evidence digest", bundle_digest(b));
	term_number(f, "Workloads", show_int(w, "all", 0));
	term_number(f, "of them enforced", show_int(w, "enforce", 0));
	term_number(f, "Allowed connections", show_int(edges, "approved", 0));
	term_number(f, "Undecided", show_int(edges, "pending", 0));
	term_number(f, "Denied", show_int(edges, "denied", 0));
	term_number(f, "Refused attempts", show_int(s, "denials", 0));
	term_number(f, "Observations lost", show_int(s, "lost", 0));
	term_number(f, "Incomplete windows", show_int(s, "incompleteWindows", 0));
	fputs("</dl>\n<p>This report is evidence. It does not say that anything complies with "
	      "anything: that is for a person to judge.</p>\n",
	    f);
}

static void
print_facts(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = { { .title = "Fact" }, { .title = "State" },
		{ .title = "Figures" } };
	const char *name;
	json_t *o;

	head(f, "facts", "What the evidence shows");
	html_table_begin(f, columns, ARRAY_SIZE(columns));
	json_object_foreach((json_t *)show_in(b, "facts"), name, o)
	{
		fputs("<tr>", f);
		html_cell(f, show_text(o, "title", name));
		html_cell_state(f, show_text(o, "state", "?"));
		html_cell(f, show_text(o, "detail", ""));
		fputs("</tr>\n", f);
	}
	html_table_end(f);
}

static void
print_workloads(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = {
		{ "Workload", "name", HTML_TEXT, "?" },
		{ "Mode", "mode", HTML_TEXT, "?" },
		{ "Direction", "direction", HTML_TEXT, "?" },
		{ "Enforceable", "enforceable", HTML_TEXT, "?" },
		{ "Instances", "instances", HTML_COUNT, NULL },
		{ "Changes of rules", "drift", HTML_NUMBER, NULL },
		{ "Lost", "", HTML_LOST, NULL },
		{ "Incomplete windows", "", HTML_GAPS, NULL },
		{ "Why", "why", HTML_TEXT, NULL },
	};

	head(f, "workloads", "Workloads");
	html_table(f, show_in(b, "workloads"), columns, ARRAY_SIZE(columns));
}

static void
cell_images(FILE *f, const json_t *instance)
{
	const json_t *o;

	fputs("<td>", f);
	for (size_t k = 0; (o = bundle_container(instance, k)) != NULL; k++) {
		fputs(k > 0 ? ", " : "", f);
		html_put(f, show_text(o, "image", ""));
	}
	fputs("</td>", f);
}

static void
print_rules(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = { { .title = "Workload" },
		{ .title = "Instance" }, { .title = "Image" }, { .title = "Revision" },
		{ .title = "Digest of the rules in the kernel" } };
	const json_t *list = show_in(b, "workloads");

	head(f, "rules", "Loaded rules");
	if (json_array_size(list) == 0) {
		fputs("<p>None.</p>\n", f);
		return;
	}
	html_table_begin(f, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *w = json_array_get(list, i), *instances = show_in(w, "instances");

		for (size_t k = 0; k < json_array_size(instances); k++) {
			const json_t *o = json_array_get(instances, k);

			fputs("<tr>", f);
			html_cell(f, show_text(w, "name", "?"));
			html_cell(f, show_text(o, "id", "?"));
			cell_images(f, o);
			html_cell_number(f, o, "appliedRevision");
			html_cell(f, show_text(o, "rulesetDigest", "none"));
			fputs("</tr>\n", f);
		}
	}
	html_table_end(f);
}

static void
print_edges(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = {
		{ "From", "from", HTML_PEER, "?" },
		{ "To", "to", HTML_PEER, "?" },
		{ "Port", "", HTML_PORT, NULL },
		{ "State", "state", HTML_STATE, "?" },
		{ "Connections", "connections", HTML_NUMBER, NULL },
		{ "Last seen", "lastSeen", HTML_TEXT, "never" },
		{ "Seen as (not checked)", "", HTML_SEEN_AS, NULL },
		{ "Approved by", "approvedBy", HTML_TEXT, NULL },
		{ "Reason", "reason", HTML_TEXT, NULL },
		{ "Ticket", "ticket", HTML_TEXT, NULL },
		{ "Expires", "expires", HTML_TEXT, NULL },
		{ "Edge", "id", HTML_TEXT, NULL },
	};

	head(f, "edges", "Connections and their approvals");
	html_table(f, show_in(b, "edges"), columns, ARRAY_SIZE(columns));
}

static void
print_exceptions(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = {
		{ "What", "kind", HTML_TEXT, "?" },
		{ "Workload or connection", "subject", HTML_TEXT, "?" },
		{ "Detail", "detail", HTML_TEXT, NULL },
		{ "Edge", "edge", HTML_TEXT, NULL },
	};

	head(f, "exceptions", "Exceptions, to be looked at by a person");
	html_table(f, show_in(b, "exceptions"), columns, ARRAY_SIZE(columns));
}

static void
print_verification(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = {
		{ "From", "from", HTML_PEER, "?" },
		{ "To", "to", HTML_PEER, "?" },
		{ "Port", "", HTML_PORT, NULL },
		{ "Expected", "expected", HTML_TEXT, "?" },
		{ "Got", "got", HTML_TEXT, "?" },
	};
	const json_t *v = show_in(b, "verification");

	head(f, "verification", "Verification");
	if (!json_is_object(v)) {
		fputs("<p>No result of <code>nanoseg verify</code> was given.</p>\n", f);
		return;
	}
	fprintf(f,
	    "<p>%" PRId64 " live probes, %" PRId64 " as expected, %" PRId64 " not, %" PRId64
	    " unclear.</p>\n",
	    show_int(v, "probes", 0), show_int(v, "passed", 0), show_int(v, "failed", 0),
	    show_int(v, "unclear", 0));
	html_table(f, show_in(v, "cases"), columns, ARRAY_SIZE(columns));
}

static void
print_denials(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = {
		{ "From", "from", HTML_PEER, "?" },
		{ "To", "to", HTML_PEER, "?" },
		{ "Port", "", HTML_PORT, NULL },
		{ "Verdict", "verdict", HTML_TEXT, "?" },
		{ "Count", "count", HTML_NUMBER, NULL },
		{ "First seen", "firstSeen", HTML_TEXT, NULL },
		{ "Last seen", "lastSeen", HTML_TEXT, NULL },
	};

	head(f, "denials", "Refused connections");
	html_table(f, show_in(b, "denials"), columns, ARRAY_SIZE(columns));
}

static void
print_ids(FILE *f, const char *title, const json_t *ids)
{
	fprintf(f, "<h3>%s: %zu</h3>\n", title, json_array_size(ids));
	if (json_array_size(ids) == 0)
		return;
	fputs("<p>", f);
	for (size_t i = 0; i < json_array_size(ids); i++) {
		fputs("<code>", f);
		html_put(f, json_string_value(json_array_get(ids, i)));
		fputs("</code> ", f);
	}
	fputs("</p>\n", f);
}

static void
print_review(FILE *f, const json_t *b)
{
	const json_t *r = show_in(b, "review");

	head(f, "review", "Stale and overdue");
	print_ids(f, "Approvals past their date", show_in(r, "overdue"));
	print_ids(f, "Approvals that end within 14 days", show_in(r, "soon"));
	print_ids(f, "Approvals that nothing used for 30 days", show_in(r, "stale"));
	print_ids(f, "Undecided for 30 days", show_in(r, "undecided"));
}

static void
print_exposure(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = {
		{ "Workload", "workload", HTML_TEXT, "?" },
		{ "Instance", "instance", HTML_TEXT, "?" },
		{ "From", "from", HTML_TEXT, "?" },
		{ "To", "to", HTML_TEXT, "?" },
	};

	head(f, "exposure", "Times without rules, as far as they are known");
	html_table(f, show_in(b, "exposure"), columns, ARRAY_SIZE(columns));
}

static void
print_revisions(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = {
		{ "Revision", "revision", HTML_NUMBER, NULL },
		{ "Time", "time", HTML_TEXT, "?" },
		{ "Who", "actor", HTML_TEXT, "?" },
		{ "What", "action", HTML_TEXT, "?" },
		{ "Why", "reason", HTML_TEXT, NULL },
	};

	head(f, "revisions", "Changes of the policy");
	html_table(f, show_in(b, "revisions"), columns, ARRAY_SIZE(columns));
}

static void
print_controls(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = {
		{ "Control", "id", HTML_TEXT, "?" },
		{ "Subject", "subject", HTML_TEXT, NULL },
		{ "Evidence", "evidence", HTML_STATE, "?" },
		{ "What supports it", "supports", HTML_TEXT, NULL },
		{ "What it does not show", "notShown", HTML_TEXT, NULL },
	};
	const json_t *list = show_in(b, "controls");

	head(f, "controls", "Controls that this is evidence for");
	fputs(
	    "<p>In our own words; the frameworks' texts count. <em>supported</em>: all facts named "
	    "are shown; <em>partly</em>: some, or with gaps.</p>\n",
	    f);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *m = json_array_get(list, i);

		fputs("<h3>", f);
		html_put(f, show_text(m, "title", "?"));
		fputc(' ', f);
		html_put(f, show_text(m, "version", ""));
		fputs("</h3>\n", f);
		html_table(f, show_in(m, "controls"), columns, ARRAY_SIZE(columns));
	}
}

/* One row of a difference, in the words of the table. */
static void
print_difference(FILE *f, const char *what, const json_t *o)
{
	const json_t *after = show_in(o, "after");
	const json_t *it = after != NULL ? after : o;
	char port[SHOW_PORT_LEN];

	fprintf(f, "<tr><td>%s</td>", what);
	if (show_text(it, "name", NULL) != NULL) {
		html_cell(f, show_text(it, "name", "?"));
		html_cell(f, after != NULL ? show_text(show_in(o, "before"), "mode", "") : "");
		html_cell(f, show_text(it, "mode", ""));
	} else {
		fputs("<td>", f);
		html_put(f, show_peer(show_text(it, "from", "?")));
		fputs(" to ", f);
		html_put(f, show_peer(show_text(it, "to", "?")));
		fputc(' ', f);
		html_put(f, show_port(it, port));
		fputs("</td>", f);
		html_cell(f, after != NULL ? show_text(show_in(o, "before"), "state", "") : "");
		html_cell(f, show_text(it, "state", ""));
	}
	fputs("</tr>\n", f);
}

static void
print_comparison(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = { { .title = "Change" },
		{ .title = "Workload or connection" }, { .title = "Before" }, { .title = "Now" } };
	static const char *const groups[] = { "workloads", "edges" };
	static const char *const kinds[] = { "added", "removed", "changed" };
	const json_t *c = show_in(b, "comparison"), *with = show_in(c, "with");

	if (!json_is_object(c))
		return;
	head(f, "comparison", "Since the earlier report");
	fprintf(f, "<p>The earlier one is of revision %" PRId64 ", until ",
	    show_int(with, "revision", 0));
	html_put(f, show_text(show_in(with, "period"), "to", "?"));
	fputs(".</p>\n", f);
	html_table_begin(f, columns, ARRAY_SIZE(columns));
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			const json_t *list = show_in(show_in(c, groups[g]), kinds[k]);

			for (size_t i = 0; i < json_array_size(list); i++)
				print_difference(f, kinds[k], json_array_get(list, i));
		}
	html_table_end(f);
}

static void
print_manifest(FILE *f, const json_t *b)
{
	static const struct html_column columns[] = { { .title = "Part" }, { .title = "SHA-256" } };
	const json_t *v;
	const char *name;

	head(f, "manifest", "Manifest");
	fputs("<p>SHA-256 of each part of the evidence bundle, in its canonical form.</p>\n", f);
	html_table_begin(f, columns, ARRAY_SIZE(columns));
	json_object_foreach((json_t *)show_in(show_in(b, "manifest"), "parts"), name, v)
	{
		fputs("<tr>", f);
		html_cell(f, name);
		html_cell(f, json_string_value(v));
		fputs("</tr>\n", f);
	}
	html_table_end(f);
}

/* The picture is for paper, and for a screen without the graph to look at. */
static int
print_diagram(FILE *f, const json_t *b, bool interactive)
{
	int r = 0;

	head(f, "diagram", "Who talks to whom");
	fputs("<p>Green: approved; brown and dashed: undecided; red and dotted: denied.</p>\n", f);
	if (interactive)
		r = graph_put_section(b, f);
	fputs("<div class=\"picture\">\n", f);
	if (r == 0)
		r = svg_print(b, f);
	fputs("</div>\n", f);
	return r;
}

static void
print_policy(FILE *f, bool interactive)
{
	char hash[HTML_HASH_STRLEN];

	if (interactive)
		graph_put_policy(f, style);
	else
		fprintf(f,
		    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
		    "style-src '%s'; base-uri 'none'; form-action 'none'\">\n",
		    html_hash(style, strlen(style), hash));
}

static int
print_report(const json_t *b, FILE *f, bool interactive)
{
	int r;

	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n", f);
	print_policy(f, interactive);
	fputs("<meta name=\"viewport\" content=\"width=device-width\">\n<title>Segmentation "
	      "evidence: ",
	    f);
	html_put(f, show_text(show_in(b, "host"), "name", "?"));
	fprintf(f, "</title>\n<style>%s</style>", style);
	if (interactive)
		graph_put_style(f);
	fputs("</head><body>\n<h1>Segmentation evidence</h1>\n", f);
	print_summary(f, b);
	print_facts(f, b);
	print_comparison(f, b);
	r = print_diagram(f, b, interactive);
	print_exceptions(f, b);
	print_workloads(f, b);
	print_edges(f, b);
	print_verification(f, b);
	print_denials(f, b);
	print_rules(f, b);
	print_review(f, b);
	print_exposure(f, b);
	print_revisions(f, b);
	print_controls(f, b);
	print_manifest(f, b);
	fputs("</body></html>\n", f);
	return r;
}

int
export_html(const json_t *b, FILE *f)
{
	return print_report(b, f, page_is_there());
}

int
export_html_static(const json_t *b, FILE *f)
{
	return print_report(b, f, false);
}
