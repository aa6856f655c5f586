/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg edges: the edges with the ids that approve and deny take. */
#include "cli/client.h"
#include "cli/show.h"

#include "rules/edge.h"

#include <string.h>
#include <time.h>

static const struct table_col cols[] = {
	{ "ID", 0, 0, 0 },
	{ "FROM", COL_CUT, 8, 0 },
	{ "TO", COL_CUT, 8, 0 },
	{ "PORT", COL_CUT, 8, 0 },
	{ "STATE", 0, 0, 0 },
	{ "CONN", COL_RIGHT, 0, 0 },
	{ "FLAGS", COL_EMPTY, 0, 0 },
	{ "BYTES", COL_WIDE | COL_RIGHT, 0, 0 },
	{ "FIRST", COL_WIDE | COL_RIGHT, 0, 0 },
	{ "LAST", COL_WIDE | COL_RIGHT, 0, 0 },
	{ "BY", COL_WIDE, 0, 0 },
	{ "TICKET", COL_WIDE | COL_EMPTY, 0, 0 },
	{ "EXPIRES", COL_WIDE | COL_EMPTY, 0, 0 },
	{ "BEHIND", COL_WIDE | COL_EMPTY, 0, 0 },
	{ "COVERS", COL_WIDE | COL_EMPTY, 0, 0 },
	{ "SEEN AS", COL_WIDE | COL_EMPTY, 0, 0 },
	{ "REASON", COL_WIDE, 0, 0 },
};

static void
add_edge(struct table *t, const json_t *e, uint64_t now_ns, char letters[static SHOW_FLAGS_LEN])
{
	const char *state = show_text(e, "state", "?");
	char number[SHOW_NUMBER_LEN], flags[SHOW_FLAGS_LEN];
	char behind[SHOW_BEHIND_LEN], covers[SHOW_COVERS_LEN], names[SHOW_SEEN_AS_LEN];

	table_cell(t, show_text(e, "id", "?"), COLOUR_NONE);
	show_cells_route(t, e);
	table_cell(t, state, show_state_colour(state));
	table_cell(t, show_number(show_int(e, "connections", 0), number), COLOUR_NONE);
	table_cell(t, show_flags(show_in(e, "flags"), flags), COLOUR_DIM);
	show_flags_collect(flags, letters);
	table_cell(t, show_bytes(show_int(e, "bytes", -1), number), COLOUR_NONE);
	table_cell(t, show_age(e, "firstSeen", now_ns, number), COLOUR_NONE);
	table_cell(t, show_age(e, "lastSeen", now_ns, number), COLOUR_NONE);
	table_cell(t, show_text(e, "approvedBy", "-"), COLOUR_NONE);
	table_cell(t, show_text(e, "ticket", "-"), COLOUR_NONE);
	table_cell(t, show_text(e, "expires", "-"), COLOUR_NONE);
	table_cell(t, show_behind(e, behind), COLOUR_NONE);
	table_cell(t, show_covers(e, covers), COLOUR_NONE);
	table_cell(t, show_seen_as(e, names), COLOUR_NONE);
	table_cell(t, show_text(e, "reason", "-"), COLOUR_NONE);
}

static int
draw(const struct cli *cli, const json_t *edges, FILE *f, void *arg)
{
	_cleanup_(table_freep) struct table *t = NULL;
	char letters[SHOW_FLAGS_LEN] = "", legend[SHOW_LEGEND_LEN];
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	const json_t *e;
	size_t i;
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r < 0)
		return r;
	if (json_array_size(edges) == 0) {
		fputs("no edges\n", f);
		return 0;
	}
	json_array_foreach(edges, i, e) add_edge(t, e, now_ns, letters);
	r = out_table(&cli->out, t, f);
	if (r == 0 && letters[0] != '\0' && !cli->out.no_headers)
		fprintf(f, "flags: %s\n", show_flags_legend(letters, legend));
	return r;
}

int
cmd_edges(struct cli *cli, int argc, char **argv)
{
	const char *state = NULL, *workload = NULL;
	bool watch = false;
	const struct arg_option own[] = {
		{ "state", 0, NULL, &state },
		{ "workload", 0, NULL, &workload },
		{ "watch", 'w', &watch, NULL },
	};
	_cleanup_free_ char *path = NULL;
	struct diag d;
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	if (state != NULL && edge_state_parse(state) < 0)
		return cli_usage(
		    cli, "--state: expected pending, approved or denied, not '%s'", state);
	if (workload != NULL && workload_arg(workload, &workload, &d) < 0)
		return cli_usage(cli, "--workload: %s", d.msg);
	path = client_path("/v1/edges", "state", state, "workload", workload, (char *)NULL);
	if (path == NULL)
		return cli_no_memory();
	return cli_show(cli, path, watch, draw, NULL);
}
