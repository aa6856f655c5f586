/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg doctor: what the daemon finds about the kernel, the engine and itself. */
#include "cli/client.h"
#include "cli/show.h"

#include <string.h>

static enum colour
state_colour(const char *state)
{
	return strcmp(state, "ok") == 0	    ? COLOUR_GREEN
	       : strcmp(state, "warn") == 0 ? COLOUR_YELLOW
					    : COLOUR_RED;
}

static int
print_checks(const struct cli *cli, const json_t *checks)
{
	static const struct table_col cols[] = { { "STATE", 0, 0, 0 }, { "CHECK", COL_CUT, 10, 0 },
		{ "DETAIL", COL_CUT, 20, 0 } };
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *c;
	size_t i;
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r < 0)
		return r;
	json_array_foreach(checks, i, c)
	{
		const char *state = show_text(c, "state", "?");

		table_cell(t, state, state_colour(state));
		table_cell(t, show_text(c, "check", "?"), COLOUR_NONE);
		table_cell(t, show_text(c, "detail", "-"), COLOUR_NONE);
	}
	return out_table(&cli->out, t, stdout);
}

int
cmd_doctor(struct cli *cli, int argc, char **argv)
{
	json_t *checks = NULL;
	const json_t *c;
	bool bad = false;
	size_t i;
	int code;

	if (!cli_options_only(cli, NULL, 0, argc, argv, &code))
		return code;
	code = client_get(cli, "/v1/doctor", &checks);
	if (code != CLI_OK)
		return code;
	code = cli_printed(
	    out_is_table(&cli->out) ? print_checks(cli, checks) : out_document(&cli->out, checks));
	json_array_foreach(checks, i, c) bad =
	    bad || strcmp(show_text(c, "state", "?"), "fail") == 0;
	json_decref(checks);
	return code == CLI_OK && bad ? CLI_DIFFERENCES : code;
}
