/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg quarantine, nanoseg release: hold a workload or a container at once, and let it go. */
#include "cli/client.h"
#include "cli/show.h"

#include "rules/edge.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define MAX_ALLOW 16

/* "db,10.0.0.5,192.0.2.0/24" */
static int
split_peers(const struct cli *cli, const char *text, json_t *list)
{
	while (text != NULL) {
		const char *comma = strchr(text, ',');
		size_t len = comma != NULL ? (size_t)(comma - text) : strlen(text);
		char peer[PEER_STRLEN];
		struct diag d;

		if (len >= sizeof(peer) || json_array_size(list) == MAX_ALLOW)
			return cli_usage(cli, "--allow-from: expected at most %d peers", MAX_ALLOW);
		memcpy(peer, text, len);
		peer[len] = '\0';
		if (peer_arg(peer, &d) < 0)
			return cli_usage(cli, "--allow-from: %s", d.msg);
		json_array_append_new(list, json_string(peer));
		text = comma != NULL ? comma + 1 : NULL;
	}
	return CLI_OK;
}

static int
draw(const struct cli *cli, const json_t *list, FILE *f, void *arg)
{
	static const struct table_col cols[] = { { "HELD", COL_CUT, 12, 0 }, { "SINCE", 0, 0, 0 },
		{ "BY", 0, 0, 0 }, { "REFUSED", COL_RIGHT, 0, 0 },
		{ "ALLOW FROM", COL_EMPTY, 0, 0 }, { "RELEASED", COL_EMPTY, 0, 0 },
		{ "REASON", COL_CUT, 12, 0 } };
	uint64_t now = (uint64_t)time(NULL) * NSEC_PER_SEC;
	_cleanup_(table_freep) struct table *t = NULL;
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i), *allow = show_in(o, "allowFrom");
		const char *container = show_text(o, "container", "?");
		char age[SHOW_NUMBER_LEN], peers[512] = "";
		int64_t refused = 0;
		size_t at = 0;

		for (size_t k = 0; k < json_array_size(show_in(o, "denials")); k++)
			refused += show_int(json_array_get(show_in(o, "denials"), k), "refused", 0);
		for (size_t k = 0; k < json_array_size(allow) && at < sizeof(peers); k++) {
			const char *p = json_string_value(json_array_get(allow, k));

			at += (size_t)snprintf(peers + at, sizeof(peers) - at, "%s%s",
			    k > 0 ? "," : "", show_peer(p != NULL ? p : "?"));
		}
		if (show_text(o, "workload", NULL) != NULL)
			table_cell(t, show_text(o, "workload", NULL), COLOUR_NONE);
		else
			table_cellf(t, COLOUR_NONE, "container %.12s", container);
		table_cell(t, show_age(o, "since", now, age), COLOUR_NONE);
		table_cell(t, show_text(o, "by", "?"), COLOUR_NONE);
		table_cellf(t, COLOUR_NONE, "%" PRId64, refused);
		table_cell(t, peers, COLOUR_NONE);
		if (json_is_object(show_in(o, "released")))
			table_cell(
			    t, show_age(show_in(o, "released"), "at", now, age), COLOUR_NONE);
		else
			table_cell(t, NULL, COLOUR_NONE);
		table_cell(t, show_text(o, "reason", NULL), COLOUR_NONE);
	}
	return r == 0 ? out_table(&cli->out, t, f) : r;
}

static int
post(struct cli *cli, const char *path, json_t *body, const char *done, const char *target)
{
	_cleanup_free_ char *safe = text_safe(target);
	json_t *answer = NULL;
	int code = client_post_json(cli, path, body, &answer);

	if (code != CLI_OK)
		return code;
	if (!out_is_table(&cli->out))
		code = cli_printed(out_document(&cli->out, answer));
	else
		printf("%s: %s\n", safe != NULL ? safe : "", done);
	json_decref(answer);
	return code;
}

static int
check(const struct cli *cli, int n, char **argv, const char *reason, const char **ret_target)
{
	struct diag d;

	if (n != 1)
		return cli_usage(cli, "expected one workload or container");
	if (reason == NULL)
		return cli_usage(cli, "it needs a reason: --reason TEXT");
	if (text_arg("--reason", reason, EDGE_REASON_MAX, &d) < 0 ||
	    workload_arg(argv[0], ret_target, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	return CLI_OK;
}

int
cmd_quarantine(struct cli *cli, int argc, char **argv)
{
	const char *reason = NULL, *allow = NULL, *target = NULL;
	bool released = false;
	const struct arg_option own[] = {
		{ "reason", 'r', NULL, &reason },
		{ "allow-from", 0, NULL, &allow },
		{ "released", 0, &released, NULL },
	};
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);
	json_t *list;

	if (n < 0)
		return code;
	if (n == 0 && reason == NULL && allow == NULL)
		return cli_show(cli,
		    released || out_is_table(&cli->out) ? "/v1/quarantine?released=1"
							: "/v1/quarantine",
		    false, draw, NULL);
	if (released)
		return cli_usage(cli, "--released: only where those that are held are listed");
	code = check(cli, n, argv, reason, &target);
	if (code != CLI_OK)
		return code;
	list = json_array();
	code = split_peers(cli, allow, list);
	if (code != CLI_OK) {
		json_decref(list);
		return code;
	}
	return post(cli, "/v1/quarantine",
	    json_pack("{s:s, s:s, s:o}", "target", target, "reason", reason, "allowFrom", list),
	    "in quarantine", target);
}

int
cmd_release(struct cli *cli, int argc, char **argv)
{
	const char *reason = NULL, *target = NULL;
	const struct arg_option own[] = {
		{ "reason", 'r', NULL, &reason },
	};
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	code = check(cli, n, argv, reason, &target);
	if (code != CLI_OK)
		return code;
	return post(cli, "/v1/release", json_pack("{s:s, s:s}", "target", target, "reason", reason),
	    "released", target);
}
