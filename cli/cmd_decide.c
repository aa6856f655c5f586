/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg approve, nanoseg deny: decisions about edges, named by themselves or by a denial. */
#include "cli/client.h"
#include "cli/show.h"

#include "rules/edge.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* "e-" or "d-" and hex digits: what edges and denials print. */
static bool
is_id(const char *text)
{
	size_t len = strlen(text);

	return len > 2 && len < EDGE_ID_STRLEN && (text[0] == 'e' || text[0] == 'd') &&
	       text[1] == '-' && strspn(text + 2, "0123456789abcdef") == len - 2;
}

static int
check(const struct cli *cli, int n, char **ids, const char *reason, const char *ticket)
{
	struct diag d;

	if (n == 0)
		return cli_usage(cli, "expected the ids of edges or denials");
	for (int i = 0; i < n; i++)
		if (!is_id(ids[i]))
			return cli_usage(cli,
			    "'%s' is not the id of an edge (e-...) or of a denial (d-...)", ids[i]);
	if (reason == NULL)
		return cli_usage(cli, "a decision needs a reason: --reason TEXT");
	if (text_arg("--reason", reason, EDGE_REASON_MAX, &d) < 0 ||
	    (ticket != NULL && text_arg("--ticket", ticket, EDGE_REASON_MAX, &d) < 0))
		return cli_usage(cli, "%s", d.msg);
	return CLI_OK;
}

static int
print_done(const struct cli *cli, const char *done, const json_t *answer)
{
	int64_t n = show_int(answer, "changed", 0);

	if (!out_is_table(&cli->out))
		return out_document(&cli->out, answer);
	printf("%" PRId64 " edge%s %s, revision %" PRId64 "\n", n, n == 1 ? "" : "s", done,
	    show_int(answer, "revision", 0));
	return 0;
}

static int
decide(struct cli *cli, int argc, char **argv, const char *path, const char *done)
{
	const char *reason = NULL, *ticket = NULL, *expires = NULL;
	const struct arg_option own[] = {
		{ "reason", 'r', NULL, &reason },
		{ "ticket", 0, NULL, &ticket },
		{ "expires", 0, NULL, &expires },
	};
	json_t *body, *ids, *answer = NULL;
	uint64_t seconds = 0;
	struct diag d;
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	code = check(cli, n, argv, reason, ticket);
	if (code != CLI_OK)
		return code;
	if (expires != NULL &&
	    expiry_arg(expires, (uint64_t)time(NULL) * NSEC_PER_SEC, &seconds, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	ids = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(ids, json_string(argv[i]));
	body = json_pack("{s:o, s:s}", "ids", ids, "reason", reason);
	if (ticket != NULL)
		json_object_set_new(body, "ticket", json_string(ticket));
	if (seconds != 0)
		json_object_set_new(body, "expiresInSeconds", json_integer((json_int_t)seconds));
	code = client_post_json(cli, path, body, &answer);
	if (code != CLI_OK)
		return code;
	code = cli_printed(print_done(cli, done, answer));
	json_decref(answer);
	return code;
}

int
cmd_approve(struct cli *cli, int argc, char **argv)
{
	return decide(cli, argc, argv, "/v1/edges/approve", "approved");
}

int
cmd_deny(struct cli *cli, int argc, char **argv)
{
	return decide(cli, argc, argv, "/v1/edges/deny", "denied");
}
