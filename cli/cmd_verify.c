/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg verify: has the daemon send probes, waits for the end, and shows what came of them. */
#include "cli/client.h"
#include "cli/show.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define POLL_NS 200000000
#define WAIT_S 3600 /* a run of the largest size is over before */
#define MAX_MAX 2000

static void
summary(const json_t *o, FILE *f)
{
	const json_t *skipped = show_in(o, "skipped");
	_cleanup_free_ char *host = text_safe(show_text(o, "host", "?"));
	int64_t outside = show_int(skipped, "outside", 0), away = show_int(skipped, "away", 0),
		protocol = show_int(skipped, "protocol", 0),
		beyond = show_int(skipped, "beyondMax", 0);

	if (host == NULL)
		return;
	if (json_is_true(show_in(o, "plan")))
		fprintf(f, "%" PRId64 " cases to try at %s, revision %" PRId64 "\n",
		    show_int(o, "probes", 0), host, show_int(o, "revision", 0));
	else
		fprintf(f,
		    "%" PRId64 " probes at %s, revision %" PRId64 ": %" PRId64
		    " as the policy says, %" PRId64 " not, %" PRId64 " unclear\n",
		    show_int(o, "probes", 0), host, show_int(o, "revision", 0),
		    show_int(o, "passed", 0), show_int(o, "failed", 0), show_int(o, "unclear", 0));
	if (outside + away + protocol + beyond > 0)
		fprintf(f,
		    "approved edges without a probe: %" PRId64 " lead outside, %" PRId64
		    " have no two ends here on one network, %" PRId64
		    " are neither TCP nor UDP, %" PRId64 " are beyond --max\n",
		    outside, away, protocol, beyond);
}

static int
draw(const struct cli *cli, const json_t *o, bool all, FILE *f)
{
	static const struct table_col cols[] = { { "RESULT", 0, 0, 0 }, { "FROM", COL_CUT, 12, 0 },
		{ "TO", COL_CUT, 12, 0 }, { "SOURCE", 0, 0, 0 }, { "DESTINATION", 0, 0, 0 },
		{ "PORT", 0, 0, 0 }, { "EXPECTED", 0, 0, 0 }, { "GOT", COL_EMPTY, 0, 0 } };
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *k;
	size_t i;
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r < 0)
		return r;
	json_array_foreach(show_in(o, "cases"), i, k)
	{
		const char *result = show_text(k, "result", "plan");
		char port[SHOW_PORT_LEN];

		if (!all && strcmp(result, "pass") == 0)
			continue;
		table_cell(t, result,
		    strcmp(result, "fail") == 0	     ? COLOUR_RED
		    : strcmp(result, "unclear") == 0 ? COLOUR_YELLOW
						     : COLOUR_NONE);
		table_cell(t, show_peer(show_text(k, "from", "?")), COLOUR_NONE);
		table_cell(t, show_peer(show_text(k, "to", "?")), COLOUR_NONE);
		table_cell(t, show_text(k, "src", "?"), COLOUR_NONE);
		table_cell(t, show_text(k, "dst", "?"), COLOUR_NONE);
		table_cell(t, show_port(k, port), COLOUR_NONE);
		table_cell(t, show_text(k, "expected", "?"), COLOUR_NONE);
		table_cell(t, show_text(k, "got", ""), COLOUR_NONE);
	}
	if (table_rows(t) > 0)
		r = out_table(&cli->out, t, f);
	summary(o, f);
	return r;
}

/* Until the run is over. */
static int
await(struct cli *cli, json_t **ret)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	time_t end = time(NULL) + WAIT_S;
	int code = CLI_OK;

	while (code == CLI_OK && json_is_true(show_in(*ret, "running"))) {
		json_decref(*ret);
		*ret = NULL;
		if (time(NULL) > end) {
			cli_error("the daemon does not come to an end with it");
			return CLI_ERROR;
		}
		nanosleep(&pause, NULL);
		code = client_get(cli, "/v1/verify", ret);
	}
	if (code == CLI_OK && !json_is_object(*ret)) {
		cli_error("the daemon was started again meanwhile");
		return CLI_ERROR;
	}
	return code;
}

int
cmd_verify(struct cli *cli, int argc, char **argv)
{
	bool plan = false;
	const char *max = NULL;
	const struct arg_option own[] = {
		{ "plan", 0, &plan, NULL },
		{ "max", 0, NULL, &max },
	};
	uint64_t n = 0;
	json_t *o = NULL, *body;
	struct diag d;
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	if (max != NULL && number_arg("--max", max, MAX_MAX, &n, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	if (max != NULL && n == 0)
		return cli_usage(cli, "--max: expected a number from 1 to %d", MAX_MAX);
	body = json_pack("{s:b}", "plan", plan);
	if (max != NULL)
		json_object_set_new(body, "max", json_integer((json_int_t)n));
	code = client_post_json(cli, "/v1/verify", body, &o);
	if (code == CLI_OK)
		code = await(cli, &o);
	if (code == CLI_OK)
		code = cli_printed(out_is_table(&cli->out)
				       ? draw(cli, o, plan || cli->out.form == OUT_WIDE, stdout)
				       : out_document(&cli->out, o));
	if (code == CLI_OK && show_int(o, "failed", 0) > 0)
		code = CLI_DIFFERENCES;
	json_decref(o);
	return code;
}
