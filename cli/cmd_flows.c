/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg flows, nanoseg denials: lists that can be followed. */
#include "cli/client.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <string.h>
#include <time.h>

typedef void (*add_fn)(struct table *t, const json_t *record, uint64_t now_ns);

struct list {
	const struct table_col *cols;
	size_t n_cols;
	add_fn add;
	bool lines; /* -o json is one record a line, followed or not */
	const char *none;
};

static const struct table_col flow_cols[] = {
	{ "TIME", 0, 0, 8 },
	{ "VERDICT", 0, 0, 7 },
	{ "FROM", COL_CUT, 8, 24 },
	{ "TO", COL_CUT, 8, 24 },
	{ "PORT", COL_CUT, 8, 10 },
	{ "SRC", COL_WIDE, 0, 15 },
	{ "DST", COL_WIDE, 0, 15 },
	{ "EDGE", COL_WIDE, 0, 14 },
};

static const struct table_col denial_cols[] = {
	{ "ID", 0, 0, 14 },
	{ "VERDICT", 0, 0, 7 },
	{ "FROM", COL_CUT, 8, 16 },
	{ "TO", COL_CUT, 8, 16 },
	{ "PORT", COL_CUT, 8, 9 },
	{ "COUNT", COL_RIGHT, 0, 5 },
	{ "LAST", COL_RIGHT, 0, 4 },
	{ "SRC", COL_WIDE, 0, 15 },
	{ "DST", COL_WIDE, 0, 15 },
	{ "NAME", COL_WIDE | COL_EMPTY, 0, 8 },
	{ "EDGE", COL_WIDE, 0, 14 },
};

/* The time of day here. */
static void
add_clock(struct table *t, const char *text)
{
	char clock[16];
	struct tm tm;
	uint64_t ns;
	time_t s;

	if (text == NULL || time_parse(text, &ns) < 0) {
		table_cell(t, "-", COLOUR_NONE);
		return;
	}
	s = (time_t)(ns / NSEC_PER_SEC);
	if (localtime_r(&s, &tm) == NULL || strftime(clock, sizeof(clock), "%H:%M:%S", &tm) == 0)
		table_cell(t, "-", COLOUR_NONE);
	else
		table_cell(t, clock, COLOUR_NONE);
}

static void
add_flow(struct table *t, const json_t *r, uint64_t now_ns)
{
	const char *verdict = show_text(r, "verdict", "?"), *to = show_text(r, "to", "?");
	const char *behind = show_text(r, "behind", NULL);
	char port[SHOW_PORT_LEN];

	add_clock(t, show_text(r, "time", NULL));
	table_cell(t, verdict, show_verdict_colour(verdict));
	table_cell(t, show_peer(show_text(r, "from", "?")), COLOUR_NONE);
	if (behind != NULL)
		table_cellf(t, COLOUR_NONE, "%.250s (%.250s)", show_peer(to), show_peer(behind));
	else
		table_cell(t, show_peer(to), COLOUR_NONE);
	table_cell(t, show_port(r, port), COLOUR_NONE);
	table_cell(t, show_text(r, "src", "-"), COLOUR_NONE);
	table_cell(t, show_text(r, "dst", "-"), COLOUR_NONE);
	table_cell(t, show_text(r, "edge", "-"), COLOUR_NONE);
}

static void
add_denial(struct table *t, const json_t *r, uint64_t now_ns)
{
	const char *verdict = show_text(r, "verdict", "?");
	char number[SHOW_NUMBER_LEN];

	table_cell(t, show_text(r, "id", "?"), COLOUR_NONE);
	table_cell(t, verdict, show_verdict_colour(verdict));
	show_cells_route(t, r);
	table_cell(t, show_number(show_int(r, "count", 0), number), COLOUR_NONE);
	table_cell(t, show_age(r, "lastSeen", now_ns, number), COLOUR_NONE);
	table_cell(t, show_text(r, "src", "-"), COLOUR_NONE);
	table_cell(t, show_text(r, "dst", "-"), COLOUR_NONE);
	table_cell(t, show_text(r, "name", "-"), COLOUR_NONE);
	table_cell(t, show_text(r, "edge", "-"), COLOUR_NONE);
}

static const struct list flows = { flow_cols, ARRAY_SIZE(flow_cols), add_flow, true,
	"no connections yet" };
static const struct list denials = { denial_cols, ARRAY_SIZE(denial_cols), add_denial, false,
	"nothing was refused" };

static uint64_t
now(void)
{
	return (uint64_t)time(NULL) * NSEC_PER_SEC;
}

static int
draw(const struct cli *cli, const json_t *records, FILE *f, void *arg)
{
	const struct list *l = arg;
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *record;
	size_t i;
	int r = table_new(l->cols, l->n_cols, &t);

	if (r < 0)
		return r;
	if (json_array_size(records) == 0) {
		fprintf(f, "%s\n", l->none);
		return 0;
	}
	json_array_foreach(records, i, record) l->add(t, record, now());
	return out_table(&cli->out, t, f);
}

static int
print_lines(struct cli *cli, const char *path)
{
	json_t *records = NULL, *record;
	int r = client_get(cli, path, &records);
	size_t i;

	if (r != CLI_OK)
		return r;
	json_array_foreach(records, i, record)
	{
		r = out_line(record);
		if (r < 0)
			break;
	}
	json_decref(records);
	return cli_printed(r);
}

struct following {
	const struct cli *cli;
	const struct list *list;
	struct table *table;
	bool header_done;
};

static int
on_line(void *arg, const json_t *record)
{
	struct following *g = arg;
	const struct out *o = &g->cli->out;
	bool wide = o->form == OUT_WIDE;
	int r;

	if (o->form == OUT_JSON)
		return out_line(record);
	g->list->add(g->table, record, now());
	r = table_print_stream(g->table, stdout, wide ? 0 : o->width, wide, o->colour,
	    !g->header_done && !o->no_headers);
	g->header_done = true;
	return r == 0 && fflush(stdout) == 0 ? 0 : -1;
}

static int
follow(struct cli *cli, const struct list *l, const char *path)
{
	_cleanup_(table_freep) struct table *t = NULL;
	struct following g = { .cli = cli, .list = l };

	if (cli->out.form == OUT_YAML)
		return cli_usage(cli, "--follow goes with -o table, wide and json");
	if (table_new(l->cols, l->n_cols, &t) < 0)
		return cli_no_memory();
	g.table = t;
	return client_follow(cli, path, on_line, &g);
}

int
cmd_flows(struct cli *cli, int argc, char **argv)
{
	bool following = false, watch = false;
	const struct arg_option own[] = {
		{ "follow", 'f', &following, NULL },
		{ "watch", 'w', &watch, NULL },
	};
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	if (following && watch)
		return cli_usage(cli, "--follow and --watch do not go together");
	if (following)
		return follow(cli, &flows, "/v1/flows?follow=1");
	if (cli->out.form == OUT_JSON && !watch)
		return print_lines(cli, "/v1/flows");
	return cli_show(cli, "/v1/flows", watch, draw, (void *)&flows);
}

int
cmd_denials(struct cli *cli, int argc, char **argv)
{
	bool following = false, attempts = false, watch = false;
	const struct arg_option own[] = {
		{ "follow", 'f', &following, NULL },
		{ "attempts", 0, &attempts, NULL },
		{ "watch", 'w', &watch, NULL },
	};
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	if (following && watch)
		return cli_usage(cli, "--follow and --watch do not go together");
	if (following && attempts)
		return cli_usage(cli, "--attempts cannot be followed");
	if (following)
		return follow(cli, &denials, "/v1/denials?follow=1");
	return cli_show(cli, attempts ? "/v1/denials?attempts=1" : "/v1/denials", watch, draw,
	    (void *)&denials);
}
