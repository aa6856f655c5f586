/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg explain: would this connection pass, and why? */
#include "cli/client.h"
#include "cli/show.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* A name and a text, if there is one. */
static void
add(struct table *t, const char *name, const char *text, enum colour c)
{
	if (text == NULL)
		return;
	table_cell(t, name, COLOUR_NONE);
	table_cell(t, text, c);
}

static void
add_edge(struct table *t, const json_t *answer)
{
	const json_t *e = show_in(answer, "evidence");
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	char conn[SHOW_NUMBER_LEN], first[SHOW_NUMBER_LEN], last[SHOW_NUMBER_LEN];

	add(t, "edge", show_text(answer, "edge", NULL), COLOUR_NONE);
	if (json_is_object(e)) {
		add(t, "state", show_text(e, "state", NULL), COLOUR_NONE);
		table_cell(t, "evidence", COLOUR_NONE);
		table_cellf(t, COLOUR_NONE, "%s connections, first %s ago, last %s ago",
		    show_number(show_int(e, "connections", 0), conn),
		    show_age(e, "firstSeen", now_ns, first), show_age(e, "lastSeen", now_ns, last));
		add(t, "reason", show_text(e, "reason", NULL), COLOUR_NONE);
		add(t, "ticket", show_text(e, "ticket", NULL), COLOUR_NONE);
	}
	add(t, "approved by", show_text(answer, "approvedBy", NULL), COLOUR_NONE);
}

static int
draw(const struct cli *cli, const json_t *answer, FILE *f, void *arg)
{
	static const struct table_col cols[] = { { NULL, 0, 0, 0 }, { NULL, COL_CUT, 20, 0 } };
	const char *verdict = show_text(answer, "verdict", "?");
	_cleanup_(table_freep) struct table *t = NULL;
	char port[SHOW_PORT_LEN], behind[SHOW_BEHIND_LEN];
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r < 0)
		return r;
	add(t, "verdict", verdict, show_verdict_colour(verdict));
	add(t, "why", show_text(answer, "reason", NULL), COLOUR_NONE);
	add(t, "from", show_peer(show_text(answer, "from", "?")), COLOUR_NONE);
	add(t, "to", show_peer(show_text(answer, "to", "?")), COLOUR_NONE);
	add(t, "port", show_port(answer, port), COLOUR_NONE);
	if (strcmp(show_behind(answer, behind), "-") != 0)
		add(t, "behind it", behind, COLOUR_NONE);
	add(t, "admits", show_text(answer, "admits", NULL), COLOUR_NONE);
	add_edge(t, answer);
	add(t, "rule", show_text(answer, "rule", NULL), COLOUR_NONE);
	table_cell(t, "revision", COLOUR_NONE);
	table_cellf(t, COLOUR_NONE, "%" PRId64, show_int(answer, "revision", 0));
	return out_table(&cli->out, t, f);
}

int
cmd_explain(struct cli *cli, int argc, char **argv)
{
	_cleanup_free_ char *path = NULL;
	struct target target;
	char port[16];
	struct diag d;
	int code, n = cli_options(cli, NULL, 0, argc, argv, &code);

	if (n < 0)
		return code;
	if (n != 2)
		return cli_usage(cli, "expected SOURCE DESTINATION:PORT[/PROTOCOL]");
	if (peer_arg(argv[0], &d) < 0 || target_parse(argv[1], &target, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	snprintf(port, sizeof(port), "%u", target.port);
	path = client_path("/v1/explain", "src", argv[0], "dst", target.peer, "port", port, "proto",
	    target.proto, (char *)NULL);
	if (path == NULL)
		return cli_no_memory();
	return cli_show(cli, path, false, draw, NULL);
}
