/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg reload: the daemon reads its configuration again. */
#include "cli/client.h"
#include "cli/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_NS 20000000L
#define LOOKS_PER_S 50

/* Nothing of an empty list. */
static void
print_names(const char *before, const json_t *names, const char *after)
{
	const json_t *one;
	size_t i;

	if (json_array_size(names) == 0)
		return;
	fputs(before, stdout);
	json_array_foreach(names, i, one)
	{
		_cleanup_free_ char *safe = text_safe(json_string_value(one));

		printf("%s%s", i > 0 ? ", " : "", safe != NULL ? safe : "?");
	}
	puts(after);
}

static int
print_state(const struct cli *cli, const json_t *state)
{
	if (!out_is_table(&cli->out))
		return cli_printed(out_document(&cli->out, state));
	if (json_array_size(show_in(state, "changed")) +
		json_array_size(show_in(state, "restart")) ==
	    0)
		puts("read again: nothing has changed");
	print_names("in force now: ", show_in(state, "changed"), "");
	print_names("waiting for a restart of nanosegd: ", show_in(state, "restart"), "");
	print_names("groups that are not known, so nobody is in them: ",
	    show_in(state, "unknownGroups"), " (only /etc/group is asked without a restart)");
	return CLI_OK;
}

static int
print_refusal(const struct cli *cli, const json_t *state)
{
	const json_t *error = show_in(state, "error");
	const char *path = show_text(state, "path", "?"), *what = show_text(error, "message", "?");

	if (!out_is_table(&cli->out))
		(void)out_document(&cli->out, state);
	if (show_int(error, "line", 0) != 0)
		cli_error("%s: line %" PRId64 ", column %" PRId64 ": %s", path,
		    show_int(error, "line", 0), show_int(error, "column", 0), what);
	else
		cli_error("%s: %s", path, what);
	cli_error("the configuration in force stays as it is");
	return CLI_USAGE;
}

/* Until the request is done, or the daemon is another one, which has read the file at its start. */
static int
wait_done(const struct cli *cli, const json_t *asked, json_t **ret)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	unsigned looks = cli->timeout_s * LOOKS_PER_S;

	for (;;) {
		json_t *state = NULL;
		int code = client_get(cli, "/v1/config", &state);

		if (code != CLI_OK)
			return code;
		if (show_int(state, "done", 0) >= show_int(asked, "number", 0) ||
		    strcmp(show_text(state, "started", ""), show_text(asked, "started", "")) != 0) {
			*ret = state;
			return CLI_OK;
		}
		json_decref(state);
		if (looks-- == 0) {
			cli_error(
			    "nanosegd has not read its configuration within %u s", cli->timeout_s);
			return CLI_ERROR;
		}
		nanosleep(&pause, NULL);
	}
}

int
cmd_reload(struct cli *cli, int argc, char **argv)
{
	json_t *asked = NULL, *state = NULL;
	int code;

	if (!cli_options_only(cli, NULL, 0, argc, argv, &code))
		return code;
	code = client_post_json(cli, "/v1/reload", json_object(), &asked);
	if (code == CLI_OK)
		code = wait_done(cli, asked, &state);
	if (code == CLI_OK)
		code = json_is_true(show_in(state, "refused")) ? print_refusal(cli, state)
							       : print_state(cli, state);
	json_decref(asked);
	json_decref(state);
	return code;
}
