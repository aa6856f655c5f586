/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg alerts: what people were told of, and whether it got through. In the tables alerts of one
 * kind about one subject are one row; --each has a row for each that was told.
 */
#include "cli/client.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static const struct table_col cols[] = {
	{ "LAST", COL_RIGHT, 0, 0 },
	{ "SEVERITY", 0, 0, 0 },
	{ "KIND", 0, 0, 0 },
	{ "WORKLOAD", COL_CUT, 8, 0 },
	{ "COUNT", COL_RIGHT, 0, 0 },
	{ "FIRST", COL_RIGHT, 0, 0 },
	{ "DELIVERED", COL_CUT, 9, 0 },
	{ "ID", COL_WIDE, 0, 0 },
	{ "INSTANCE", COL_WIDE | COL_CUT, 8, 0 },
	{ "TEXT", COL_CUT, 16, 0 },
};

/* The daemon gives fewer. */
#define ALERTS_MAX 1024

/* A row: the newest of a subject, and what the others of it add. */
struct row {
	const json_t *newest, *oldest;
	int64_t count;
	json_t *delivery; /* for each way out the worst */
};

static int
fate_rank(const char *fate)
{
	return strcmp(fate, "delivered") == 0 ? 0 : strcmp(fate, "lost") == 0 ? 2 : 1;
}

static void
add_fates(struct row *row, const json_t *alert)
{
	json_t *fate;
	const char *to;

	json_object_foreach((json_t *)show_in(alert, "delivery"), to, fate)
	{
		const char *word = json_string_value(fate);

		if (word != NULL &&
		    fate_rank(word) >= fate_rank(show_text(row->delivery, to, "delivered")))
			json_object_set(row->delivery, to, fate);
	}
}

static bool
same_subject(const json_t *a, const json_t *b)
{
	return strcmp(show_text(a, "kind", ""), show_text(b, "kind", "")) == 0 &&
	       json_equal(show_in(a, "workload"), show_in(b, "workload")) &&
	       json_equal(show_in(a, "instance"), show_in(b, "instance"));
}

/* "yes", or the ways out where it is otherwise: "webhook lost, syslog waiting". */
#define FATES_LEN 128
static const char *
describe_fates(const struct row *row, char buf[static FATES_LEN], enum colour *ret_colour)
{
	const char *to;
	size_t len = 0;
	json_t *fate;
	int worst = 0;

	buf[0] = '\0';
	json_object_foreach(row->delivery, to, fate)
	{
		const char *word = json_string_value(fate);

		if (fate_rank(word) == 0 || len >= FATES_LEN)
			continue;
		worst = MAX(worst, fate_rank(word));
		len += (size_t)snprintf(
		    buf + len, FATES_LEN - len, "%s%.20s %.20s", len > 0 ? ", " : "", to, word);
	}
	*ret_colour = worst == 2 ? COLOUR_RED : worst == 1 ? COLOUR_YELLOW : COLOUR_NONE;
	if (len > 0)
		return buf;
	return json_object_size(row->delivery) > 0 ? "yes" : "-";
}

static enum colour
severity_colour(const char *severity)
{
	if (strcmp(severity, "critical") == 0 || strcmp(severity, "error") == 0)
		return COLOUR_RED;
	return strcmp(severity, "warning") == 0 ? COLOUR_YELLOW : COLOUR_NONE;
}

static void
print_row(struct table *t, const struct row *row, uint64_t now_ns)
{
	const char *severity = show_text(row->newest, "severity", "?");
	char number[SHOW_NUMBER_LEN], fates[FATES_LEN];
	enum colour colour;
	const char *delivered = describe_fates(row, fates, &colour);

	table_cell(t, show_age(row->newest, "lastSeen", now_ns, number), COLOUR_NONE);
	table_cell(t, severity, severity_colour(severity));
	table_cell(t, show_text(row->newest, "kind", "?"), COLOUR_NONE);
	table_cell(t, show_text(row->newest, "workload", "-"), COLOUR_NONE);
	table_cell(t, show_number(row->count, number), COLOUR_NONE);
	table_cell(t, show_age(row->oldest, "firstSeen", now_ns, number), COLOUR_NONE);
	table_cell(t, delivered, colour);
	table_cell(t, show_text(row->newest, "id", "?"), COLOUR_DIM);
	table_cell(t, show_text(row->newest, "instance", "-"), COLOUR_NONE);
	table_cell(t, show_text(row->newest, "text", ""), COLOUR_NONE);
}

/* The newest first, each subject where its newest is. */
static int
print_rows(struct table *t, const json_t *alerts, bool each)
{
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	size_t n = MIN(json_array_size(alerts), ALERTS_MAX);
	_cleanup_free_ bool *done = calloc(n + 1, sizeof(*done));

	if (done == NULL)
		return -ENOMEM;
	for (size_t i = n; i-- > 0;) {
		struct row row = { .newest = json_array_get(alerts, i) };

		if (done[i])
			continue;
		row.delivery = json_object();
		for (size_t k = i + 1; k-- > (each ? i : 0);) {
			const json_t *a = json_array_get(alerts, k);

			if (done[k] || !same_subject(row.newest, a))
				continue;
			done[k] = true;
			row.oldest = a;
			row.count += show_int(a, "count", 1);
			add_fates(&row, a);
		}
		print_row(t, &row, now_ns);
		json_decref(row.delivery);
	}
	return 0;
}

static int
print_delivery(const struct cli *cli, const json_t *answer, FILE *f)
{
	static const struct table_col ways_cols[] = { { "TO", 0, 0, 0 },
		{ "DELIVERED", COL_RIGHT, 0, 0 }, { "LOST", COL_RIGHT, 0, 0 },
		{ "STATE", COL_CUT, 8, 0 } };
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *ways = show_in(answer, "delivery"), *w;
	char number[SHOW_NUMBER_LEN];
	size_t i;

	if (json_array_size(ways) == 0) {
		fputs("delivered nowhere: see alerts in nanosegd.yaml\n", f);
		return 0;
	}
	if (table_new(ways_cols, ARRAY_SIZE(ways_cols), &t) < 0)
		return -ENOMEM;
	json_array_foreach(ways, i, w)
	{
		bool failing = json_is_true(show_in(w, "failing"));

		table_cell(t, show_text(w, "to", "?"), COLOUR_NONE);
		table_cell(t, show_number(show_int(w, "delivered", 0), number), COLOUR_NONE);
		table_cell(t, show_number(show_int(w, "lost", 0), number), COLOUR_NONE);
		if (failing)
			table_cellf(t, COLOUR_RED, "failing: %.200s", show_text(w, "error", "?"));
		else
			table_cell(t, "ok", COLOUR_NONE);
	}
	fputc('\n', f);
	return out_table(&cli->out, t, f);
}

static int
print_sums(const struct cli *cli, const json_t *answer, FILE *f)
{
	char a[SHOW_NUMBER_LEN], b[SHOW_NUMBER_LEN], c[SHOW_NUMBER_LEN];

	fprintf(f, "\n%s told since nanosegd began, %s wait to be told, %s lost untold\n",
	    show_number(show_int(answer, "told", 0), a),
	    show_number(show_int(answer, "untold", 0), b),
	    show_number(show_int(answer, "lost", 0), c));
	return print_delivery(cli, answer, f);
}

static int
draw(const struct cli *cli, const json_t *answer, FILE *f, void *arg)
{
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *alerts = show_in(answer, "alerts");
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r == 0)
		r = print_rows(t, alerts, *(bool *)arg);
	if (r < 0)
		return r;
	if (json_array_size(alerts) == 0)
		fputs("no alerts\n", f);
	else
		r = out_table(&cli->out, t, f);
	if (r == 0 && !cli->out.no_headers)
		r = print_sums(cli, answer, f);
	return r;
}

int
cmd_alerts(struct cli *cli, int argc, char **argv)
{
	const char *kind = NULL, *severity = NULL, *workload = NULL, *since = NULL;
	bool watch = false, each = false;
	const struct arg_option own[] = {
		{ "kind", 0, NULL, &kind },
		{ "severity", 0, NULL, &severity },
		{ "workload", 0, NULL, &workload },
		{ "since", 0, NULL, &since },
		{ "each", 0, &each, NULL },
		{ "watch", 'w', &watch, NULL },
	};
	uint64_t ns, now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	char moment[TIME_STRLEN];
	_cleanup_free_ char *path = NULL;
	struct diag d;
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	if (workload != NULL && workload_arg(workload, &workload, &d) < 0)
		return cli_usage(cli, "--workload: %s", d.msg);
	if (since != NULL && moment_arg("--since", since, now_ns, &ns, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	path = client_path("/v1/alerts", "kind", kind, "severity", severity, "workload", workload,
	    "since", since != NULL ? time_format(ns, moment) : NULL, (char *)NULL);
	if (path == NULL)
		return cli_no_memory();
	return cli_show(cli, path, watch, draw, &each);
}
