/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg confirm, nanoseg rollback: keep a change, or go back to an earlier revision. */
#include "cli/client.h"
#include "cli/confirm.h"
#include "cli/show.h"

#include "rules/edge.h"
#include "rules/timefmt.h"

#include <inttypes.h>
#include <string.h>

int
confirm_arg(const struct cli *cli, const char *text, uint64_t *ret_seconds)
{
	uint64_t ns;

	if (text == NULL) {
		*ret_seconds = 0;
		return CLI_OK;
	}
	if (duration_parse(text, &ns) < 0 || ns < 5 * NSEC_PER_SEC || ns > 7 * 86400 * NSEC_PER_SEC)
		return cli_usage(
		    cli, "--confirm: expected a duration from 5s to 7d, not '%s'", text);
	*ret_seconds = ns / NSEC_PER_SEC;
	return CLI_OK;
}

void
confirm_line(const json_t *answer, FILE *f)
{
	const json_t *confirm = json_object_get(answer, "confirm");
	char left[DURATION_STRLEN];

	if (!json_is_object(confirm))
		return;
	duration_format(
	    (uint64_t)MIN(MAX(show_int(confirm, "secondsLeft", 0), 0), 86400 * 30) * NSEC_PER_SEC,
	    left);
	fprintf(f,
	    "revision %" PRId64 " awaits confirmation: %s left, then back to revision %" PRId64
	    "; nanoseg confirm keeps it\n",
	    show_int(confirm, "revision", 0), left, show_int(confirm, "previous", 0));
}

static int
post_revision(struct cli *cli, int argc, char **argv, const char *path, json_t **ret)
{
	const char *reason = NULL;
	const struct arg_option own[] = {
		{ "reason", 'r', NULL, &reason },
	};
	json_t *body;
	uint64_t revision = 0;
	struct diag d;
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	if (n > 1)
		return cli_usage(cli, "unexpected argument '%s'", argv[1]);
	if ((n == 1 && number_arg("REVISION", argv[0], INT64_MAX, &revision, &d) < 0) ||
	    (reason != NULL && text_arg("--reason", reason, EDGE_REASON_MAX, &d) < 0))
		return cli_usage(cli, "%s", d.msg);
	body = json_object();
	if (n == 1)
		json_object_set_new(body, "revision", json_integer((json_int_t)revision));
	if (reason != NULL)
		json_object_set_new(body, "reason", json_string(reason));
	return client_post_json(cli, path, body, ret);
}

int
cmd_confirm(struct cli *cli, int argc, char **argv)
{
	json_t *answer = NULL;
	int code = post_revision(cli, argc, argv, "/v1/confirm", &answer);

	if (answer == NULL)
		return code;
	if (out_is_table(&cli->out))
		printf("revision %" PRId64 " is confirmed\n", show_int(answer, "revision", 0));
	else
		code = cli_printed(out_document(&cli->out, answer));
	json_decref(answer);
	return code;
}

int
cmd_rollback(struct cli *cli, int argc, char **argv)
{
	json_t *answer = NULL;
	int code = post_revision(cli, argc, argv, "/v1/rollback", &answer);

	if (answer == NULL)
		return code;
	if (out_is_table(&cli->out))
		printf("revision %" PRId64 ": as revision %" PRId64 " was\n",
		    show_int(answer, "revision", 0), show_int(answer, "as", 0));
	else
		code = cli_printed(out_document(&cli->out, answer));
	json_decref(answer);
	return code;
}
