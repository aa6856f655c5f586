/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg review: a person goes through what is pending. Each answer is a request of its own and in
 * force, or left, when the next question is asked: whatever ends the program loses nothing.
 */
#include "cli/client.h"
#include "cli/policy.h"
#include "cli/review.h"
#include "cli/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "  y  approve this edge\n"
    "  n  leave it; it is not asked again (review --all asks)\n"
    "  x  deny it: a denial beats every approval\n"
    "  a  approve this one and all that follow in its group\n"
    "  e  edit: approve a range of ports, a prefix or internet in its place\n"
    "  s  split the group: by the other end, then by port; a means fewer then\n"
    "  q  quit; what was answered stays\n"
    "  ?  this help\n";

/* One walk through a group. */
struct walk {
	struct review *v;
	const struct review_edge *list;
	size_t n, at, end; /* of the part that `a` is about */
	unsigned level;	   /* of splitting */
	struct review_why approve, deny;
	int code;
	bool quit;
};

static bool
same_part(const struct review_edge *a, const struct review_edge *b, unsigned level)
{
	return level == 0 ||
	       (strcmp(a->other, b->other) == 0 && (level == 1 || a->port == b->port));
}

static size_t
part_end(const struct walk *w, unsigned level)
{
	size_t end = w->at + 1;

	while (end < w->n && same_part(&w->list[w->at], &w->list[end], level))
		end++;
	return end;
}

static void
split(struct walk *w)
{
	for (unsigned level = w->level + 1; level <= 2; level++) {
		size_t end = part_end(w, level);

		if (end < w->end) {
			w->level = level;
			w->end = end;
			printf("Split: this part has %zu edge%s.\n", end - w->at,
			    end - w->at == 1 ? "" : "s");
			return;
		}
	}
	puts("This cannot be split further.");
}

/* Not permitted, or no daemon: there is no use in asking on. */
static bool
check(struct walk *w, int code)
{
	if (code == CLI_OK)
		return true;
	w->code = code;
	w->quit = code == CLI_UNREACHABLE || code == CLI_NOT_PERMITTED;
	return false;
}

static void
decide(struct walk *w, bool approve, size_t n)
{
	struct review_why *why = approve ? &w->approve : &w->deny;
	const char *verb = approve ? "approve" : "deny";
	_cleanup_free_ const char **ids = calloc(n, sizeof(*ids));
	int64_t revision;

	if (ids == NULL) {
		check(w, cli_no_memory());
		return;
	}
	if (!ask_why(w->v, verb, why)) {
		w->quit = true;
		return;
	}
	for (size_t i = 0; i < n; i++)
		ids[i] = w->list[w->at + i].id;
	if (!check(w, review_decide(w->v->cli, approve, ids, n, why, &revision)))
		return;
	printf("  %s: %zu edge%s, revision %" PRId64 "\n", approve ? "approved" : "denied", n,
	    n == 1 ? "" : "s", revision);
	w->at += n;
}

static void
approve_all(struct walk *w)
{
	size_t n = w->end - w->at;
	char prompt[64], answer;

	for (size_t i = w->at; i < w->end; i++)
		review_show_line(w->v, &w->list[i]);
	snprintf(prompt, sizeof(prompt), "Approve %s%zu edge%s [y,n]? ",
	    n == 1 ? "this " : "these ", n, n == 1 ? "" : "s");
	if (!ask_letter(prompt, "yn", &answer))
		w->quit = true;
	else if (answer == 'y')
		decide(w, true, n);
}

static void
edit(struct walk *w)
{
	const struct review_edge *e = &w->list[w->at];
	bool done = false;

	if (!check(w, review_edit(w->v, e, &w->approve, &done)) || !done)
		return;
	/* It stays pending, and covered. */
	review_left_add(w->v->left, e->id);
	w->at++;
}

static void
ask_edge(struct walk *w)
{
	char prompt[80], answer;

	snprintf(prompt, sizeof(prompt), "(%zu/%zu) Approve this edge [y,n,x,a,e,s,q,?]? ",
	    w->at + 1, w->n);
	if (!ask_letter(prompt, "ynxaesq?", &answer))
		answer = 'q';
	switch (answer) {
	case 'y':
		decide(w, true, 1);
		break;
	case 'x':
		decide(w, false, 1);
		break;
	case 'n':
		review_left_add(w->v->left, w->list[w->at++].id);
		break;
	case 'a':
		approve_all(w);
		break;
	case 'e':
		edit(w);
		break;
	case 's':
		split(w);
		break;
	case '?':
		fputs(help, stdout);
		break;
	default:
		w->quit = true;
	}
}

/* False: the review ends. */
static bool
walk_group(struct review *v, const struct review_group *g, int *ret_code)
{
	struct walk w = { .v = v, .list = &v->list[g->first], .n = g->n, .end = g->n };
	size_t shown = SIZE_MAX;

	while (!w.quit && w.at < w.n) {
		if (w.at == w.end) {
			/* The part is over: the rest is one again, with reasons of its own. */
			w.end = w.n;
			w.level = 0;
			w.approve.known = w.deny.known = false;
		}
		if (shown != w.at)
			review_show_edge(v, &w.list[w.at]);
		shown = w.at;
		ask_edge(&w);
	}
	if (w.code != CLI_OK)
		*ret_code = w.code;
	return !w.quit;
}

int
review_decide(const struct cli *cli, bool approve, const char *const *ids, size_t n,
    const struct review_why *w, int64_t *ret_revision)
{
	json_t *body, *list = json_array(), *answer = NULL;
	int r;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(ids[i]));
	body = json_pack("{s:o, s:s}", "ids", list, "reason", w->reason);
	if (w->ticket[0] != '\0')
		json_object_set_new(body, "ticket", json_string(w->ticket));
	if (w->expires_s != 0)
		json_object_set_new(
		    body, "expiresInSeconds", json_integer((json_int_t)w->expires_s));
	r = client_post_json(cli, approve ? "/v1/edges/approve" : "/v1/edges/deny", body, &answer);
	if (r == CLI_OK)
		*ret_revision = show_int(answer, "revision", 0);
	json_decref(answer);
	return r;
}

static int
walk(struct review *v)
{
	bool terminal = isatty(STDIN_FILENO) == 1 && v->cli->out.terminal;
	int code = CLI_OK;

	if (v->n == 0) {
		printf("Nothing to review%s.\n", v->n_left > 0 ? " that is new" : "");
	} else if (!terminal || !out_is_table(&v->cli->out)) {
		return review_list(v);
	} else {
		printf("%zu edge%s in %zu group%s.\n", v->n, v->n == 1 ? "" : "s", v->n_groups,
		    v->n_groups == 1 ? "" : "s");
		for (size_t i = 0; i < v->n_groups; i++) {
			review_show_group(v, &v->groups[i], i + 1);
			if (!walk_group(v, &v->groups[i], &code))
				break;
		}
	}
	if (v->n_left > 0)
		printf("%zu left in an earlier review: --all asks again.\n", v->n_left);
	return code;
}

static void
review_done(struct review *v)
{
	json_decref(v->edges);
	json_decref(v->status);
	policy_free(v->policy);
	free(v->list);
	free(v->groups);
	review_left_free(v->left);
}

static int
load(struct review *v, const struct review_select *sel, const char *workload)
{
	_cleanup_free_ char *path =
	    client_path("/v1/edges", "state", sel->state, "workload", workload, (char *)NULL);
	int r = path != NULL ? client_get(v->cli, path, &v->edges) : cli_no_memory();

	if (r == CLI_OK)
		r = client_get(v->cli, "/v1/status", &v->status);
	if (r == CLI_OK && (sel->label != NULL || sel->network != NULL))
		r = policy_get(v->cli, NULL, false, &v->policy);
	if (r != CLI_OK)
		return r;
	if (sel->network != NULL && policy_find_network(v->policy, sel->network) == NULL) {
		cli_error("the policy has no network '%s'", sel->network);
		return CLI_USAGE;
	}
	v->left = review_left_load(v->cli->is_remote ? v->cli->remote.host : v->cli->socket);
	if (v->left == NULL)
		return cli_no_memory();
	/* Only a list of all of them says which are gone. */
	if (workload == NULL && strcmp(sel->state, "pending") == 0)
		review_left_prune(v->left, v->edges);
	return review_make_groups(v, sel) < 0 ? cli_no_memory() : CLI_OK;
}

static int
check_options(struct review *v, const struct review_select *sel)
{
	struct diag d;
	uint64_t seconds;

	if ((v->reason != NULL && text_arg("--reason", v->reason, EDGE_REASON_MAX, &d) < 0) ||
	    (v->ticket != NULL && text_arg("--ticket", v->ticket, EDGE_REASON_MAX, &d) < 0) ||
	    (v->expires != NULL &&
		expiry_arg(v->expires, (uint64_t)time(NULL) * NSEC_PER_SEC, &seconds, &d) < 0))
		return cli_usage(v->cli, "%s", d.msg);
	if (sel->label != NULL && strchr(sel->label, '=') == NULL)
		return cli_usage(v->cli, "--label: expected KEY=VALUE, not '%s'", sel->label);
	return CLI_OK;
}

static int
run_stale(struct review *v, int n, char **argv)
{
	uint64_t days = 30;
	const char *workload = NULL;
	struct diag d;

	if (n > 0 && strspn(argv[n - 1], "0123456789") == strlen(argv[n - 1])) {
		if (number_arg("DAYS", argv[--n], 3650, &days, &d) < 0)
			return cli_usage(v->cli, "%s", d.msg);
	}
	if (n > 1)
		return cli_usage(v->cli, "unexpected argument '%s'", argv[1]);
	if (n == 1 && workload_arg(argv[0], &workload, &d) < 0)
		return cli_usage(v->cli, "%s", d.msg);
	return review_stale(v->cli, workload, days);
}

int
cmd_review(struct cli *cli, int argc, char **argv)
{
	_cleanup_(review_done) struct review v = { .cli = cli };
	struct review_select sel = { .state = "pending" };
	const char *from = NULL, *workload = NULL;
	bool stale = false, recertifies = false;
	const struct arg_option own[] = {
		{ "all", 0, &sel.all, NULL },
		{ "label", 0, NULL, &sel.label },
		{ "project", 0, NULL, &sel.project },
		{ "network", 0, NULL, &sel.network },
		{ "from", 0, NULL, &from },
		{ "stale", 0, &stale, NULL },
		{ "recertify", 0, &recertifies, NULL },
		{ "reason", 'r', NULL, &v.reason },
		{ "ticket", 0, NULL, &v.ticket },
		{ "expires", 0, NULL, &v.expires },
	};
	struct diag d;
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	code = check_options(&v, &sel);
	if (code != CLI_OK)
		return code;
	if (stale + recertifies + (from != NULL) > 1)
		return cli_usage(cli, "--stale, --recertify and --from do not go together");
	if (stale)
		return run_stale(&v, n, argv);
	if (n > (from != NULL ? 0 : 1))
		return cli_usage(cli, "unexpected argument '%s'", argv[n - 1]);
	if (from != NULL)
		return review_batch(&v, from);
	if (n == 1 && workload_arg(argv[0], &workload, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	if (recertifies) {
		sel.state = "approved";
		sel.all = v.never_expires = true;
	}
	code = load(&v, &sel, workload);
	if (code == CLI_OK && recertifies)
		return review_recertify(&v, &sel);
	return code == CLI_OK ? walk(&v) : code;
}
