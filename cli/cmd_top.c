/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg top: the busiest workloads, and what is unusual about them. */
#include "cli/client.h"
#include "cli/show.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define ROUNDS_MAX 1000000

static const struct table_col cols[] = {
	{ "WORKLOAD", COL_CUT, 8, 0 },
	{ "MODE", 0, 0, 0 },
	{ "OUT/S", COL_RIGHT, 0, 0 },
	{ "IN/S", COL_RIGHT, 0, 0 },
	{ "REFUSED/S", COL_RIGHT, 0, 0 },
	{ "NEW", COL_RIGHT, 0, 0 },
	{ "UNUSUAL", COL_CUT, 10, 0 },
};

static double
rate_of(const json_t *w, const char *key)
{
	const json_t *v = json_object_get(w, key);

	return json_is_number(v) ? json_number_value(v) : 0;
}

/* Those with the most connections first, then with the most refusals, then by name. */
static int
compare(const void *va, const void *vb)
{
	const json_t *a = *(json_t *const *)va, *b = *(json_t *const *)vb;
	double more = rate_of(b, "out") + rate_of(b, "in") - rate_of(a, "out") - rate_of(a, "in");

	if (more != 0)
		return more < 0 ? -1 : 1;
	more = rate_of(b, "refused") - rate_of(a, "refused");
	if (more != 0)
		return more < 0 ? -1 : 1;
	return strcmp(show_text(a, "name", ""), show_text(b, "name", ""));
}

/* "scan 3m, newPeer 5s" */
static void
add_unusual(struct table *t, const json_t *w, uint64_t now_ns)
{
	char text[256] = "", age[SHOW_NUMBER_LEN];
	const json_t *a;
	size_t i, len = 0;

	json_array_foreach(show_in(w, "anomalies"), i, a)
	{
		int n;

		show_age(a, "lastSeen", now_ns, age);
		if (strchr("sm", age[strlen(age) - 1]) == NULL)
			continue;
		n = snprintf(text + len, sizeof(text) - len, "%s%.40s %s", len > 0 ? ", " : "",
		    show_text(a, "kind", "?"), age);
		if (n < 0 || len + (size_t)n >= sizeof(text))
			break;
		len += (size_t)n;
	}
	table_cell(t, len > 0 ? text : "-", len > 0 ? COLOUR_YELLOW : COLOUR_NONE);
}

static void
add_workload(struct table *t, const json_t *w, uint64_t now_ns)
{
	const char *mode = show_text(w, "mode", "?");
	double refused = rate_of(w, "refused");
	char number[SHOW_NUMBER_LEN];

	table_cell(t, show_peer(show_text(w, "name", "?")), COLOUR_NONE);
	table_cell(t, mode, show_mode_colour(mode));
	table_cellf(t, COLOUR_NONE, "%.1f", rate_of(w, "out"));
	table_cellf(t, COLOUR_NONE, "%.1f", rate_of(w, "in"));
	table_cellf(t, refused > 0 ? COLOUR_RED : COLOUR_NONE, "%.1f", refused);
	table_cell(t, show_number(show_int(w, "newPeers", 0), number), COLOUR_NONE);
	add_unusual(t, w, now_ns);
}

static int
draw(const struct cli *cli, const json_t *answer, FILE *f, void *arg)
{
	_cleanup_(table_freep) struct table *t = NULL;
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	json_t *list = show_sorted(show_in(answer, "workloads"), compare);
	const json_t *w;
	size_t i;
	int r = list != NULL ? table_new(cols, ARRAY_SIZE(cols), &t) : -ENOMEM;

	if (r == 0) {
		json_array_foreach(list, i, w) add_workload(t, w, now_ns);
		if (table_rows(t) == 0)
			fputs("no workloads\n", f);
		else
			r = out_table(&cli->out, t, f);
	}
	json_decref(list);
	return r;
}

int
cmd_top(struct cli *cli, int argc, char **argv)
{
	const struct timespec second = { .tv_sec = 1 };
	const char *text = NULL;
	const struct arg_option own[] = {
		{ "rounds", 'n', NULL, &text },
	};
	uint64_t rounds = 1;
	struct diag d;
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	if (text != NULL && (number_arg("-n", text, ROUNDS_MAX, &rounds, &d) < 0 || rounds == 0))
		return cli_usage(cli, "-n: expected a number from 1 to %d", ROUNDS_MAX);
	if (text == NULL && cli->out.terminal && out_is_table(&cli->out))
		return cli_show(cli, "/v1/top", true, draw, NULL);
	for (code = CLI_OK; code == CLI_OK && rounds > 0; rounds--) {
		code = cli_show(cli, "/v1/top", false, draw, NULL);
		if (rounds > 1)
			nanosleep(&second, NULL);
	}
	return code;
}
