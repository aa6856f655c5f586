/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a candidate policy would break, as tables and as the few lines before it is done. */
#include "cli/client.h"
#include "cli/show.h"
#include "cli/simulate.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SUMMARY_LINES 5
#define UNUSED_LINES 20
#define ANSWER_MAX 16

static const struct table_col broken_cols[] = {
	{ "FROM", COL_CUT, 8, 0 },
	{ "TO", COL_CUT, 8, 0 },
	{ "PORT", COL_CUT, 8, 0 },
	{ "CONN", COL_RIGHT, 0, 0 },
	{ "HOURS", COL_RIGHT, 0, 0 },
	{ "LAST", COL_RIGHT, 0, 0 },
	{ "REFUSED BY", COL_CUT, 8, 0 },
	{ "ADDRESSES", COL_WIDE | COL_EMPTY, 0, 0 },
};

static const struct table_col live_cols[] = {
	{ "FROM", COL_CUT, 8, 0 },
	{ "TO", COL_CUT, 8, 0 },
	{ "PORT", COL_CUT, 8, 0 },
	{ "LIVE", COL_RIGHT, 0, 0 },
};

static int64_t
count_live(const json_t *answer)
{
	const json_t *e;
	int64_t n = 0;
	size_t i;

	json_array_foreach(show_in(answer, "live"), i, e) n += show_int(e, "connections", 0);
	return n;
}

bool
simulate_answer_breaks(const json_t *answer)
{
	return json_array_size(show_in(answer, "broken")) > 0 || count_live(answer) > 0;
}

/* The texts of an array, with commas between. */
static const char *
join(const json_t *list, char buf[static 256])
{
	const json_t *one;
	size_t i, len = 0;

	buf[0] = '\0';
	json_array_foreach(list, i, one)
	{
		const char *text = json_is_string(one) ? json_string_value(one) : "?";
		int n = snprintf(buf + len, 256 - len, "%s%s", i > 0 ? ", " : "", text);

		if (n < 0 || len + (size_t)n >= 256)
			break;
		len += (size_t)n;
	}
	return buf;
}

static void
add_broken(struct table *t, const json_t *e, uint64_t now_ns)
{
	char number[SHOW_NUMBER_LEN], text[256];
	int64_t hours = show_int(e, "hours", -1);

	show_cells_route(t, e);
	table_cell(t, show_number(show_int(e, "connections", 0), number), COLOUR_RED);
	table_cell(t, hours >= 0 ? show_number(hours, number) : "-", COLOUR_NONE);
	table_cell(t, show_age(e, "lastSeen", now_ns, number), COLOUR_NONE);
	table_cell(t, join(show_in(e, "refusedBy"), text), COLOUR_DIM);
	table_cell(t, join(show_in(e, "addresses"), text), COLOUR_NONE);
}

static const char *
s(int64_t n)
{
	return n == 1 ? "" : "s";
}

static void
print_sums(FILE *f, const json_t *answer, const char *over)
{
	int64_t edges = show_int(answer, "brokenEdges", 0),
		connections = show_int(answer, "brokenConnections", 0), live = count_live(answer),
		covered = show_int(answer, "covered", 0);
	char a[SHOW_NUMBER_LEN], b[SHOW_NUMBER_LEN];

	if (edges == 0)
		fprintf(f, "would break nothing seen %s", over);
	else
		fprintf(f, "would break %s connection%s of %s edge%s seen %s",
		    show_number(connections, a), s(connections), show_number(edges, b), s(edges),
		    over);
	fprintf(f, "; %s edge%s covered\n", show_number(covered, a), s(covered));
	if (live > 0)
		fprintf(
		    f, "would cut %s live connection%s at once\n", show_number(live, a), s(live));
}

/* What makes the answer less than it looks. */
static void
print_doubts(FILE *f, const json_t *answer)
{
	const json_t *history = show_in(answer, "history");
	int64_t broken = show_int(history, "incompleteHours", 0),
		left = show_int(answer, "notLooked", 0);
	char number[SHOW_NUMBER_LEN];

	if (json_is_false(json_object_get(history, "kept")))
		fputs("no history is kept (historyDays): nothing that was seen can be said\n", f);
	else if (json_is_object(history) && json_is_null(json_object_get(history, "from")))
		fputs("the history is empty: nothing that was seen can be said\n", f);
	if (broken > 0)
		fprintf(f, "something may have been missed in %s hour%s of it\n",
		    show_number(broken, number), s(broken));
	if (left > 0)
		fprintf(
		    f, "%s flow%s more were not looked at\n", show_number(left, number), s(left));
}

static void
print_unused(const struct cli *cli, const json_t *answer)
{
	const json_t *list = show_in(answer, "unused"), *one;
	size_t n = json_array_size(list), i;
	char number[SHOW_NUMBER_LEN];

	if (n == 0)
		return;
	printf("%s approved edge%s unused:", show_number((int64_t)n, number), s((int64_t)n));
	json_array_foreach(list, i, one)
	{
		_cleanup_free_ char *id = text_safe(json_string_value(one));

		if (i == UNUSED_LINES && cli->out.form != OUT_WIDE) {
			printf(" ...");
			break;
		}
		printf(" %s", id != NULL ? id : "?");
	}
	putchar('\n');
}

static int
print_live(const struct cli *cli, const json_t *answer)
{
	_cleanup_(table_freep) struct table *t = NULL;
	char number[SHOW_NUMBER_LEN];
	const json_t *e;
	size_t i;
	int r = table_new(live_cols, ARRAY_SIZE(live_cols), &t);

	if (r < 0)
		return r;
	json_array_foreach(show_in(answer, "live"), i, e)
	{
		show_cells_route(t, e);
		table_cell(t, show_number(show_int(e, "connections", 0), number), COLOUR_RED);
	}
	return table_rows(t) > 0 ? out_table(&cli->out, t, stdout) : 0;
}

int
simulate_print(const struct cli *cli, const json_t *answer, const char *over)
{
	_cleanup_(table_freep) struct table *t = NULL;
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	const json_t *e;
	size_t i;
	int r = table_new(broken_cols, ARRAY_SIZE(broken_cols), &t);

	if (r < 0)
		return r;
	json_array_foreach(show_in(answer, "broken"), i, e) add_broken(t, e, now_ns);
	if (table_rows(t) > 0)
		r = out_table(&cli->out, t, stdout);
	if (r == 0)
		r = print_live(cli, answer);
	if (r < 0)
		return r;
	print_sums(stdout, answer, over);
	print_unused(cli, answer);
	print_doubts(stdout, answer);
	return ferror(stdout) ? -EIO : 0;
}

void
simulate_summary(FILE *f, const json_t *answer, const char *over)
{
	const json_t *list = show_in(answer, "broken"), *e;
	char number[SHOW_NUMBER_LEN], port[SHOW_PORT_LEN];
	size_t i;

	print_sums(f, answer, over);
	json_array_foreach(list, i, e)
	{
		_cleanup_free_ char *from = text_safe(show_peer(show_text(e, "from", "?"))),
				    *to = text_safe(show_peer(show_text(e, "to", "?")));

		if (i == SUMMARY_LINES) {
			fprintf(f, "  ... see nanoseg simulate\n");
			break;
		}
		fprintf(f, "  %s -> %s %s, %s time%s\n", from != NULL ? from : "?",
		    to != NULL ? to : "?", show_port(e, port),
		    show_number(show_int(e, "connections", 0), number),
		    s(show_int(e, "connections", 0)));
	}
	print_doubts(f, answer);
}

static bool
ask(void)
{
	char line[ANSWER_MAX];

	fputs("enforce? [y/N] ", stderr);
	fflush(stderr);
	return fgets(line, sizeof(line), stdin) != NULL &&
	       (strcmp(line, "y\n") == 0 || strcmp(line, "yes\n") == 0);
}

bool
simulate_before_mode(struct cli *cli, const json_t *body, bool yes)
{
	static const char *const keys[] = { "workloads", "all", "direction" };
	bool terminal = isatty(STDIN_FILENO) == 1 && cli->out.terminal, go = true;
	json_t *asked = json_object(), *answer = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (json_object_get(body, keys[i]) != NULL)
			json_object_set(asked, keys[i], json_object_get(body, keys[i]));
	if (client_post_json(cli, "/v1/simulate?enforce=1", asked, &answer) != CLI_OK) {
		cli_warn("what this would break cannot be said");
		return !terminal || yes || ask();
	}
	simulate_summary(stderr, answer, "in the last 7 days");
	if (terminal && !yes && simulate_answer_breaks(answer))
		go = ask();
	json_decref(answer);
	return go;
}
