/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg policy: the policy in force as a file, and a file as the policy in force. */
#include "cli/client.h"
#include "cli/confirm.h"
#include "cli/file.h"
#include "cli/page.h"
#include "cli/policy.h"
#include "cli/policy_names.h"
#include "cli/show.h"

#include "rules/policy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define LARGE_FILE (1u << 20)

int
policy_file_read(const char *path, char **ret_text, size_t *ret_len, struct policy **ret)
{
	struct diag d = { 0 };
	int r = file_read(path, ret_text, ret_len);

	if (r != CLI_OK)
		return r;
	r = policy_parse(*ret_text, *ret_len, &d, ret);
	if (r == -ENOMEM)
		return cli_no_memory();
	if (r < 0) {
		file_report(path, &d);
		return CLI_USAGE;
	}
	return CLI_OK;
}

static int
show(struct cli *cli, bool decided)
{
	json_t *policy = NULL;
	int r = client_get(cli, decided ? "/v1/policy?decided=1" : "/v1/policy", &policy);

	if (r != CLI_OK)
		return r;
	if (cli->out.form != OUT_JSON)
		cli->out.form = OUT_YAML;
	page_begin(&cli->out);
	r = cli_printed(out_document(&cli->out, policy));
	json_decref(policy);
	return r;
}

static const char *
plural(size_t n)
{
	return n == 1 ? "" : "s";
}

/* On standard error, where they spoil no answer. */
static void
print_doubts(const char *path, const json_t *doubts)
{
	const json_t *one;
	size_t i;

	json_array_foreach(doubts, i, one)
	{
		cli_warn("%s:%" PRId64 ":%" PRId64 ": %s", strcmp(path, "-") == 0 ? "stdin" : path,
		    show_int(one, "line", 0), show_int(one, "column", 0),
		    show_text(one, "message", ""));
	}
}

static int
validate(struct cli *cli, const char *path)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	_cleanup_free_ char *text = NULL, *file = NULL;
	json_t *counts, *doubts;
	size_t len;
	int r = policy_file_read(path, &text, &len, &p);

	if (r != CLI_OK)
		return r;
	/* One that is larger, or lists none, was not written by hand. */
	doubts = p->n_workloads > 0 && len <= NAMES_MAX_BYTES ? policy_names_doubtful(text, len)
							      : json_array();
	if (!out_is_table(&cli->out)) {
		counts = json_pack("{s:I, s:I, s:I, s:o}", "workloads", (json_int_t)p->n_workloads,
		    "edges", (json_int_t)p->n_edges, "networks", (json_int_t)p->n_networks,
		    "warnings", doubts);
		r = cli_printed(counts != NULL ? out_document(&cli->out, counts) : -ENOMEM);
		json_decref(counts);
		return r;
	}
	print_doubts(path, doubts);
	json_decref(doubts);
	file = text_safe_sentence(strcmp(path, "-") == 0 ? "stdin" : path);
	printf("%s: valid: %zu workload%s, %zu edge%s, %zu network%s\n", file != NULL ? file : "",
	    p->n_workloads, plural(p->n_workloads), p->n_edges, plural(p->n_edges), p->n_networks,
	    plural(p->n_networks));
	return CLI_OK;
}

/*
 * It is valid, and the daemon reads JSON a lot faster than YAML, while others wait for it. But what
 * a person may have written goes as it is, so that the daemon can name places in it, too.
 */
static int
send_policy(const struct cli *cli, const char *path, const char *file, const char *text, size_t len,
    const struct policy *p, json_t **ret)
{
	_cleanup_free_ char *json = NULL;
	json_t *tree;

	if (len < LARGE_FILE)
		return client_post(cli, path, "application/yaml", text, len,
		    strcmp(file, "-") == 0 ? "stdin" : file, ret);
	tree = policy_to_json(p);
	json = tree != NULL ? json_dumps(tree, JSON_COMPACT) : NULL;
	json_decref(tree);
	if (json == NULL)
		return cli_no_memory();
	return client_post(cli, path, "application/json", json, strlen(json), NULL, ret);
}

static int
apply(
    struct cli *cli, const char *file, const char *expect, const char *reason, const char *confirm)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	_cleanup_free_ char *text = NULL, *path = NULL;
	json_t *answer = NULL;
	struct diag d;
	uint64_t revision, seconds;
	char number[24];
	int64_t ignored;
	size_t len;
	int r;

	if (expect != NULL && number_arg("--expect", expect, INT64_MAX, &revision, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	if (reason != NULL && text_arg("--reason", reason, EDGE_REASON_MAX, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	r = confirm_arg(cli, confirm, &seconds);
	if (r == CLI_OK)
		r = policy_file_read(file, &text, &len, &p);
	if (r != CLI_OK)
		return r;
	snprintf(number, sizeof(number), "%" PRIu64, seconds);
	path = client_path("/v1/policy/apply", "expectedRevision", expect, "confirmSeconds",
	    seconds != 0 ? number : NULL, "reason", reason, (char *)NULL);
	if (path == NULL)
		return cli_no_memory();
	r = send_policy(cli, path, file, text, len, p, &answer);
	if (r != CLI_OK)
		return r;
	if (!out_is_table(&cli->out))
		r = cli_printed(out_document(&cli->out, answer));
	else
		printf("applied, revision %" PRId64 "\n", show_int(answer, "revision", 0));
	if (out_is_table(&cli->out))
		confirm_line(answer, stdout);
	ignored = show_int(answer, "ignored", 0);
	if (ignored > 0)
		cli_error("warning: %" PRId64 " workload%s or edge%s outside the daemon's --only "
			  "left as they are",
		    ignored, plural((size_t)ignored), plural((size_t)ignored));
	json_decref(answer);
	return r;
}

int
policy_get(const struct cli *cli, const char *revision, bool pending, struct policy **ret)
{
	_cleanup_free_ char *path = client_path(
	    "/v1/policy", "revision", revision, "decided", pending ? NULL : "1", (char *)NULL);
	_cleanup_free_ char *text = NULL;
	struct diag d = { 0 };
	size_t len;
	int r = path != NULL ? client_get_bytes(cli, path, &text, &len) : cli_no_memory();

	if (r != CLI_OK)
		return r;
	r = policy_parse(text, len, &d, ret);
	if (r == 0)
		return CLI_OK;
	if (r == -ENOMEM)
		return cli_no_memory();
	cli_error("the daemon's policy cannot be read: %s", d.msg);
	return CLI_ERROR;
}

struct verb {
	const char *name;
	int min, max; /* arguments behind it */
	const char *what;
	unsigned takes; /* of the options below */
};

enum {
	TAKES_DECIDED = 1,
	TAKES_REASON = 2,
	TAKES_EXPECT = 4, /* and --confirm */
	TAKES_THEIRS = 8, /* and --dry-run */
};

static const struct verb verbs[] = {
	{ "show", 0, 0, "no file", TAKES_DECIDED },
	{ "validate", 1, 1, "one file", 0 },
	{ "apply", 1, 1, "one file", TAKES_EXPECT | TAKES_REASON },
	{ "diff", 1, 2, "one or two files or revisions", 0 },
	{ "import", 1, 1, "one file", TAKES_THEIRS | TAKES_REASON },
};

static const struct verb *
find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

int
cmd_policy(struct cli *cli, int argc, char **argv)
{
	const char *expect = NULL, *reason = NULL, *confirm = NULL;
	bool decided = false, theirs = false, dry_run = false;
	const struct arg_option own[] = {
		{ "expect", 0, NULL, &expect },
		{ "confirm", 0, NULL, &confirm },
		{ "reason", 'r', NULL, &reason },
		{ "decided", 0, &decided, NULL },
		{ "theirs", 0, &theirs, NULL },
		{ "dry-run", 0, &dry_run, NULL },
	};
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);
	const struct verb *v;

	if (n < 0)
		return code;
	v = find_verb(n > 0 ? argv[0] : "");
	if (v == NULL)
		return cli_usage(cli, "expected show, validate, diff, apply or import, and files");
	if (n - 1 < v->min || n - 1 > v->max)
		return cli_usage(cli, "policy %s takes %s", v->name, v->what);
	if (decided && (v->takes & TAKES_DECIDED) == 0)
		return cli_usage(cli, "--decided goes with show");
	if ((expect != NULL || confirm != NULL) && (v->takes & TAKES_EXPECT) == 0)
		return cli_usage(cli, "--expect and --confirm go with apply");
	if (reason != NULL && (v->takes & TAKES_REASON) == 0)
		return cli_usage(cli, "--reason goes with apply and import");
	if ((theirs || dry_run) && (v->takes & TAKES_THEIRS) == 0)
		return cli_usage(cli, "--theirs and --dry-run go with import");
	switch (v - verbs) {
	case 0:
		return show(cli, decided);
	case 1:
		return validate(cli, argv[1]);
	case 2:
		return apply(cli, argv[1], expect, reason, confirm);
	case 3:
		return policy_diff_run(cli, argv[1], n > 2 ? argv[2] : NULL);
	default:
		return policy_import_run(cli, argv[1], theirs, dry_run, reason);
	}
}
