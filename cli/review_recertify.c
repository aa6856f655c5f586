/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg review --recertify: a person goes through what is approved, what is overdue first, and
 * lets it stand or denies it. Each answer is a request of its own, as in a review of what is
 * pending.
 */
#include "cli/client.h"
#include "cli/review.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char help[] = "  y  keep this approval\n"
			   "  n  leave it as it is, and due as it is\n"
			   "  x  deny it: a denial beats every approval\n"
			   "  a  keep this one and all that follow in its group\n"
			   "  q  quit; what was answered stays\n"
			   "  ?  this help\n";

static const struct table_col cols[] = {
	{ "ID", 0, 0, 0 },
	{ "FROM", COL_CUT, 8, 0 },
	{ "TO", COL_CUT, 8, 0 },
	{ "PORT", COL_CUT, 8, 0 },
	{ "DUE", 0, 0, 0 },
	{ "APPROVED", 0, 0, 0 },
	{ "KEPT", 0, 0, 0 },
	{ "LAST", COL_RIGHT, 0, 0 },
	{ "REASON", COL_WIDE, 0, 0 },
};

struct walk {
	struct review *v;
	struct review_why keep, deny;
	size_t kept, denied;
	int code;
	bool quit;
};

static bool
is_overdue(const json_t *e, uint64_t now_ns)
{
	const char *text = show_text(e, "recertifyBy", NULL);
	uint64_t ns;

	return text != NULL && time_parse(text, &ns) == 0 && ns <= now_ns;
}

/* The day alone; "-" for what is none. */
static const char *
day_of(const json_t *e, const char *key, char buf[static 12])
{
	snprintf(buf, 12, "%.10s", show_text(e, key, "-"));
	if (strspn(buf, "0123456789-") != strlen(buf))
		snprintf(buf, 12, "-");
	return buf;
}

static void
show_edge(const struct review_edge *e, uint64_t now_ns)
{
	const json_t *j = e->json;
	_cleanup_free_ char *reason = text_safe_sentence(show_text(j, "reason", ""));
	_cleanup_free_ char *ticket = text_safe_sentence(show_text(j, "ticket", "none"));
	_cleanup_free_ char *by = text_safe(show_text(j, "approvedBy", "?"));
	_cleanup_free_ char *keeper = text_safe(show_text(j, "keptBy", ""));
	char day[12], age[SHOW_NUMBER_LEN];

	printf("\n");
	review_show_line(NULL, e);
	printf("  approved by %s on %s, ticket %s\n", by != NULL ? by : "",
	    day_of(j, "decided", day), ticket != NULL ? ticket : "");
	printf("  because: %s\n", reason != NULL ? reason : "");
	if (keeper != NULL && keeper[0] != '\0')
		printf("  kept by %s on %s\n", keeper, day_of(j, "kept", day));
	printf("  last seen %s ago; %s %s\n", show_age(j, "lastSeen", now_ns, age),
	    is_overdue(j, now_ns) ? "OVERDUE since" : "due on", day_of(j, "recertifyBy", day));
}

static int
post_keep(const struct cli *cli, const char *const *ids, size_t n, const struct review_why *w)
{
	json_t *list = json_array(), *body, *answer = NULL;
	int r;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(ids[i]));
	body = json_pack("{s:o, s:s}", "ids", list, "reason", w->reason);
	if (w->ticket[0] != '\0')
		json_object_set_new(body, "ticket", json_string(w->ticket));
	r = client_post_json(cli, "/v1/edges/recertify", body, &answer);
	json_decref(answer);
	return r;
}

/* The n edges from list on. False: nothing was decided, or the walk ends. */
static bool
decide(struct walk *w, bool keep, const struct review_edge *list, size_t n)
{
	struct review_why *why = keep ? &w->keep : &w->deny;
	_cleanup_free_ const char **ids = calloc(n, sizeof(*ids));
	int64_t revision;
	int r;

	if (ids == NULL) {
		w->code = cli_no_memory();
		return false;
	}
	if (!ask_why(w->v, keep ? "keep" : "deny", why)) {
		w->quit = true;
		return false;
	}
	for (size_t i = 0; i < n; i++)
		ids[i] = list[i].id;
	r = keep ? post_keep(w->v->cli, ids, n, why)
		 : review_decide(w->v->cli, false, ids, n, why, &revision);
	if (r != CLI_OK) {
		w->code = r;
		w->quit = r == CLI_UNREACHABLE || r == CLI_NOT_PERMITTED;
		return false;
	}
	printf("  %s: %zu edge%s\n", keep ? "kept" : "denied", n, n == 1 ? "" : "s");
	*(keep ? &w->kept : &w->denied) += n;
	return true;
}

/* Asks about one edge. How many of the group are answered by it. */
static size_t
ask_edge(struct walk *w, const struct review_edge *list, size_t at, size_t n)
{
	char prompt[80], answer;

	snprintf(prompt, sizeof(prompt), "(%zu/%zu) Keep this approval [y,n,x,a,q,?]? ", at + 1, n);
	if (!ask_letter(prompt, "ynxaq?", &answer))
		answer = 'q';
	switch (answer) {
	case 'y':
	case 'x':
		return decide(w, answer == 'y', &list[at], 1) ? 1 : 0;
	case 'a':
		return decide(w, true, &list[at], n - at) ? n - at : 0;
	case 'n':
		return 1;
	case '?':
		fputs(help, stdout);
		return 0;
	default:
		w->quit = true;
		return 0;
	}
}

static void
walk_group(struct walk *w, const struct review_group *g, uint64_t now_ns)
{
	const struct review_edge *list = &w->v->list[g->first];
	size_t at = 0, shown = SIZE_MAX;

	w->keep.known = w->deny.known = false;
	while (!w->quit && at < g->n) {
		if (shown != at)
			show_edge(&list[at], now_ns);
		shown = at;
		at += ask_edge(w, list, at, g->n);
	}
}

static int
print_list(const struct cli *cli, const json_t *edges)
{
	_cleanup_(table_freep) struct table *t = NULL;
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	char age[SHOW_NUMBER_LEN], day[12];
	const json_t *e;
	size_t i;
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r < 0)
		return r;
	json_array_foreach(edges, i, e)
	{
		table_cell(t, show_text(e, "id", "?"), COLOUR_NONE);
		show_cells_route(t, e);
		table_cell(t, day_of(e, "recertifyBy", day),
		    is_overdue(e, now_ns) ? COLOUR_RED : COLOUR_NONE);
		table_cell(t, show_text(e, "approvedBy", "-"), COLOUR_NONE);
		table_cell(t, show_text(e, "keptBy", "-"), COLOUR_NONE);
		table_cell(t, show_age(e, "lastSeen", now_ns, age), COLOUR_NONE);
		table_cell(t, show_text(e, "reason", "-"), COLOUR_NONE);
	}
	return out_table(&cli->out, t, stdout);
}

/* Those overdue, or those that are not; of the two halves the first is asked first. */
static json_t *
select_edges(const json_t *edges, bool overdue, uint64_t now_ns)
{
	json_t *ret = json_array(), *e;
	size_t i;

	json_array_foreach(edges, i, e)
	{
		if (is_overdue(e, now_ns) == overdue)
			json_array_append(ret, e);
	}
	return ret;
}

int
review_recertify(struct review *v, const struct review_select *sel)
{
	bool terminal = isatty(STDIN_FILENO) == 1 && v->cli->out.terminal;
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	json_t *all = v->edges;
	struct walk w = { .v = v };

	if (!terminal || !out_is_table(&v->cli->out))
		return cli_printed(out_is_table(&v->cli->out) ? print_list(v->cli, all)
							      : out_document(&v->cli->out, all));
	for (int half = 0; half < 2 && !w.quit; half++) {
		v->edges = select_edges(all, half == 0, now_ns);
		if (review_make_groups(v, sel) < 0) {
			w.code = cli_no_memory();
			w.quit = true;
		} else {
			printf("%zu approved edge%s %s.\n", v->n, v->n == 1 ? "" : "s",
			    half == 0 ? "overdue" : "not due yet");
		}
		for (size_t i = 0; !w.quit && i < v->n_groups; i++) {
			review_show_group(v, &v->groups[i], i + 1);
			walk_group(&w, &v->groups[i], now_ns);
		}
		json_decref(v->edges);
	}
	v->edges = all;
	printf("%zu kept, %zu denied.\n", w.kept, w.denied);
	return w.code;
}
