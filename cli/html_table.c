/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/html_table.h"

#include "cli/html.h"
#include "cli/loss.h"
#include "cli/show.h"

#include <inttypes.h>
#include <string.h>

void
html_cell(FILE *f, const char *text)
{
	fputs("<td>", f);
	html_put(f, text);
	fputs("</td>", f);
}

void
html_cell_number(FILE *f, const json_t *o, const char *key)
{
	char text[SHOW_NUMBER_LEN];

	fprintf(f, "<td class=\"n\">%s</td>",
	    json_is_integer(json_object_get(o, key)) ? show_number(show_int(o, key, 0), text) : "");
}

void
html_cell_state(FILE *f, const char *text)
{
	static const char *const known[] = { "shown", "partly", "absent", "supported", "none",
		"approved", "pending", "denied" };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i], text) == 0) {
			fprintf(f, "<td class=\"%s\">%s</td>", text, text);
			return;
		}
	html_cell(f, text);
}

void
html_table_begin(FILE *f, const struct html_column *columns, size_t n)
{
	fputs("<table><thead><tr>", f);
	for (size_t k = 0; k < n; k++)
		fprintf(f, "<th scope=\"col\">%s</th>", columns[k].title);
	fputs("</tr></thead><tbody>\n", f);
}

void
html_table_end(FILE *f)
{
	fputs("</tbody></table>\n", f);
}

static void
put_cell(FILE *f, const struct html_column *c, const json_t *o)
{
	const char *text = show_text(o, c->key, c->fallback != NULL ? c->fallback : "");
	char port[SHOW_PORT_LEN], names[SHOW_SEEN_AS_LEN], lost[LOSS_COUNT_LEN];

	switch (c->kind) {
	case HTML_TEXT:
		html_cell(f, text);
		break;
	case HTML_NUMBER:
		html_cell_number(f, o, c->key);
		break;
	case HTML_COUNT:
		fprintf(f, "<td class=\"n\">%zu</td>", json_array_size(show_in(o, c->key)));
		break;
	case HTML_PEER:
		html_cell(f, show_peer(text));
		break;
	case HTML_PORT:
		html_cell(f, show_port(o, port));
		break;
	case HTML_STATE:
		html_cell_state(f, text);
		break;
	case HTML_SEEN_AS:
		html_cell(f, show_seen_as(o, names));
		break;
	case HTML_LOST:
		fprintf(f, "<td class=\"n\">%s</td>", loss_count_text(o, lost));
		break;
	case HTML_GAPS:
		fprintf(f, "<td class=\"n\">%" PRId64 "</td>", loss_windows(o));
		break;
	}
}

void
html_table(FILE *f, const json_t *list, const struct html_column *columns, size_t n)
{
	if (json_array_size(list) == 0) {
		fputs("<p>None.</p>\n", f);
		return;
	}
	html_table_begin(f, columns, n);
	for (size_t i = 0; i < json_array_size(list); i++) {
		fputs("<tr>", f);
		for (size_t k = 0; k < n; k++)
			put_cell(f, &columns[k], json_array_get(list, i));
		fputs("</tr>\n", f);
	}
	html_table_end(f);
}
