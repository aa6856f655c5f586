/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg mode: observe, audit or enforce, for some workloads or for all. */
#include "cli/client.h"
#include "cli/confirm.h"
#include "cli/gate.h"
#include "cli/show.h"
#include "cli/simulate.h"

#include "rules/policy.h"

#include <inttypes.h>
#include <string.h>

static int
check(
    const struct cli *cli, int n, char **argv, bool all, const char *direction, const char *reason)
{
	struct diag d;

	if (n == 0 || mode_parse(argv[n - 1]) < 0)
		return cli_usage(cli, "expected a mode at the end: observe, audit or enforce");
	if (all && n > 1)
		return cli_usage(cli, "--all goes without names of workloads");
	if (!all && n < 2)
		return cli_usage(cli, "expected the names of workloads, or --all");
	if (direction != NULL && direction_parse(direction) < 0)
		return cli_usage(
		    cli, "--direction: expected ingress, egress or both, not '%s'", direction);
	if (reason != NULL && text_arg("--reason", reason, EDGE_REASON_MAX, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	return CLI_OK;
}

/* The names of the request, or NULL after reporting. */
static json_t *
read_names(const struct cli *cli, int n, char **argv)
{
	json_t *names = json_array();

	for (int i = 0; i < n; i++) {
		const char *name;
		struct diag d;

		if (workload_arg(argv[i], &name, &d) < 0) {
			cli_usage(cli, "%s", d.msg);
			json_decref(names);
			return NULL;
		}
		json_array_append_new(names, json_string(name));
	}
	return names;
}

static void
warn_pending(const char *mode, const json_t *answer)
{
	int64_t n = show_int(answer, "pendingEdges", 0);
	bool one = n == 1;
	char text[SHOW_NUMBER_LEN];

	if (n <= 0)
		return;
	if (strcmp(mode, "enforce") == 0)
		cli_warn("%s pending edge%s will be refused; see nanoseg edges --state pending",
		    show_number(n, text), one ? "" : "s");
	else
		cli_warn("%s pending edge%s would be refused; see nanoseg edges --state pending",
		    show_number(n, text), one ? "" : "s");
}

static void
warn_hosted(const char *mode, const json_t *answer)
{
	int64_t n = show_int(answer, "hostNetwork", 0);
	char text[SHOW_NUMBER_LEN];

	if (n > 0 && strcmp(mode, "observe") != 0)
		cli_warn("%s of them use%s the host's network: no rule holds what is there",
		    show_number(n, text), n == 1 ? "s" : "");
}

static void
warn_nested(const char *mode, const json_t *answer)
{
	int64_t n = show_int(answer, "nested", 0);
	char text[SHOW_NUMBER_LEN];

	if (n > 0 && strcmp(mode, "enforce") == 0)
		cli_warn("%s of them ha%s network namespaces inside: what these send through it is "
			 "refused, whatever is approved",
		    show_number(n, text), n == 1 ? "s" : "ve");
}

/* Each engine that answers the daemon has a gate of its own. */
static void
warn_ungated(const struct cli *cli, const json_t *answer)
{
	static const char *const what = "a container that starts can send before its rules are "
					"loaded; see nanoseg gate --help";
	const json_t *engine;
	size_t i, reachable = 0;

	if (cli->is_remote) {
		cli_warn(
		    "whether a start gate is installed is told over there: nanoseg gate status");
		return;
	}
	json_array_foreach(json_object_get(answer, "engines"), i, engine)
	{
		const char *name = show_text(engine, "name", "");

		if (!json_is_true(json_object_get(engine, "reachable")))
			continue;
		reachable++;
		if (!gate_is_wired(name))
			cli_warn("no start gate is installed for %s: %s", name, what);
	}
	if (reachable == 0 && !gate_is_wired(NULL))
		cli_warn("no start gate is installed: %s", what);
}

static int
print_done(const struct cli *cli, const char *mode, const json_t *answer)
{
	int64_t n = show_int(answer, "changed", 0);

	if (!out_is_table(&cli->out))
		return out_document(&cli->out, answer);
	printf("%s: %" PRId64 " workload%s, revision %" PRId64 "\n", mode, n, n == 1 ? "" : "s",
	    show_int(answer, "revision", 0));
	confirm_line(answer, stdout);
	return 0;
}

int
cmd_mode(struct cli *cli, int argc, char **argv)
{
	const char *direction = NULL, *reason = NULL, *confirm = NULL, *mode;
	uint64_t seconds;
	bool all = false, yes = false;
	const struct arg_option own[] = {
		{ "all", 0, &all, NULL },
		{ "direction", 0, NULL, &direction },
		{ "confirm", 0, NULL, &confirm },
		{ "reason", 'r', NULL, &reason },
		{ "yes", 'y', &yes, NULL },
	};
	json_t *body, *names, *answer = NULL;
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	code = check(cli, n, argv, all, direction, reason);
	if (code == CLI_OK)
		code = confirm_arg(cli, confirm, &seconds);
	if (code != CLI_OK)
		return code;
	mode = argv[n - 1];
	names = read_names(cli, n - 1, argv);
	if (names == NULL)
		return CLI_USAGE;
	body = json_pack("{s:s}", "mode", mode);
	if (all) {
		json_object_set_new(body, "all", json_true());
		json_decref(names);
	} else {
		json_object_set_new(body, "workloads", names);
	}
	if (direction != NULL)
		json_object_set_new(body, "direction", json_string(direction));
	if (reason != NULL)
		json_object_set_new(body, "reason", json_string(reason));
	if (seconds != 0)
		json_object_set_new(body, "confirmSeconds", json_integer((json_int_t)seconds));
	if (strcmp(mode, "enforce") == 0 && !simulate_before_mode(cli, body, yes)) {
		json_decref(body);
		fputs("nothing is changed\n", stderr);
		return CLI_DIFFERENCES;
	}
	code = client_post_json(cli, "/v1/mode", body, &answer);
	if (code != CLI_OK)
		return code;
	code = cli_printed(print_done(cli, mode, answer));
	warn_pending(mode, answer);
	warn_hosted(mode, answer);
	warn_nested(mode, answer);
	if (strcmp(mode, "enforce") == 0 && show_int(answer, "changed", 0) > 0)
		warn_ungated(cli, answer);
	json_decref(answer);
	return code;
}
