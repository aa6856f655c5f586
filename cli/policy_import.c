/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg policy import: adds what a file has to the policy in force, as one revision. */
#include "cli/client.h"
#include "cli/policy.h"
#include "cli/show.h"

#include "rules/policy_merge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int
policy_put(const struct cli *cli, const struct policy *p, const char *reason, json_t **ret_answer)
{
	_cleanup_free_ char *text = NULL, *path = NULL;
	char number[24];
	json_t *tree = policy_to_json(p);

	text = tree != NULL ? json_dumps(tree, JSON_COMPACT) : NULL;
	json_decref(tree);
	snprintf(number, sizeof(number), "%" PRIu64, p->revision);
	path = client_path(
	    "/v1/policy/apply", "expectedRevision", number, "reason", reason, (char *)NULL);
	if (text == NULL || path == NULL)
		return cli_no_memory();
	return client_post(cli, path, "application/json", text, strlen(text), NULL, ret_answer);
}

/* What it is about, escaped; malloc'ed. */
static char *
item_text(const struct policy_merge_item *it)
{
	_cleanup_free_ char *name = text_safe(it->name), *key = NULL, *ours = NULL, *theirs = NULL;
	char *text = NULL;
	int r;

	switch (it->kind) {
	case POLICY_MERGE_EDGE:
	case POLICY_MERGE_STATE:
	case POLICY_MERGE_EXPIRY:
	case POLICY_MERGE_MEANING:
		return policy_edge_text(it->edge);
	case POLICY_MERGE_LABEL:
		key = text_safe(it->key);
		ours = text_safe(it->ours);
		theirs = text_safe(it->theirs);
		if (it->conflict)
			r = asprintf(
			    &text, "%s: label %s is %s here, %s there", name, key, ours, theirs);
		else
			r = asprintf(&text, "%s: label %s: %s", name, key, theirs);
		return r < 0 ? NULL : text;
	case POLICY_MERGE_WORKLOAD:
	case POLICY_MERGE_NETWORK:
		break;
	}
	r = asprintf(
	    &text, "%s %s", it->kind == POLICY_MERGE_WORKLOAD ? "workload" : "network", name);
	return r < 0 ? NULL : text;
}

static const char *
conflict_text(const struct policy_merge_item *it)
{
	switch (it->kind) {
	case POLICY_MERGE_STATE:
		return it->edge->state == EDGE_DENIED ? "approved here, denied there"
						      : "denied here, approved there";
	case POLICY_MERGE_EXPIRY:
		return "expires at another time";
	case POLICY_MERGE_MEANING:
		return "its network has other addresses here";
	case POLICY_MERGE_NETWORK:
		return "has other addresses here";
	default:
		return "";
	}
}

static int
print_item(const struct cli *cli, const struct policy_merge_item *it)
{
	_cleanup_free_ char *text = item_text(it), *line = NULL;
	const char *why = it->conflict ? conflict_text(it) : "";

	if (text == NULL ||
	    asprintf(&line, "%s%s%s%s%s%s", it->conflict ? "! " : "+ ",
		it->edge != NULL ? edge_state_name(it->edge->state) : "",
		it->edge != NULL ? " " : "", text, why[0] != '\0' ? ": " : "", why) < 0)
		return -ENOMEM;
	colour_print(stdout, line, it->conflict ? COLOUR_YELLOW : COLOUR_GREEN, cli->out.colour);
	puts(!it->conflict ? "" : it->taken ? " (theirs taken)" : " (ours stays)");
	return 0;
}

static int
print_report(const struct cli *cli, const struct policy_merge *m, uint64_t revision, bool changed)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_items; i++)
		r = print_item(cli, &m->items[i]);
	if (m->n_modes > 0)
		printf("%zu mode%s of the file not taken: nanoseg mode sets them\n", m->n_modes,
		    m->n_modes == 1 ? "" : "s");
	printf("%zu added, %zu conflict%s, %zu of them taken; ", m->n_added, m->n_conflicts,
	    m->n_conflicts == 1 ? "" : "s", m->n_taken);
	if (changed)
		printf("revision %" PRIu64 "\n", revision);
	else
		puts("nothing was changed");
	return r;
}

static const char *
kind_name(enum policy_merge_kind k)
{
	static const char *const names[] = { "edge", "state", "expiry", "meaning", "workload",
		"label", "network" };

	return names[k];
}

static json_t *
report_json(const struct policy_merge *m, uint64_t revision, bool changed)
{
	json_t *items = json_array();

	for (size_t i = 0; i < m->n_items; i++) {
		const struct policy_merge_item *it = &m->items[i];
		_cleanup_free_ char *text = item_text(it);

		json_array_append_new(
		    items, json_pack("{s:s, s:s?, s:s?, s:b, s:b}", "kind", kind_name(it->kind),
			       "edge", it->edge != NULL ? it->edge->id : NULL, "what", text,
			       "conflict", it->conflict, "taken", it->taken));
	}
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:b}", "items", items, "added",
	    (json_int_t)m->n_added, "conflicts", (json_int_t)m->n_conflicts, "conflictsTaken",
	    (json_int_t)m->n_taken, "revision", (json_int_t)revision, "changed", changed);
}

int
policy_import_run(
    struct cli *cli, const char *file, bool take_theirs, bool dry_run, const char *reason)
{
	_cleanup_(policy_freep) struct policy *ours = NULL, *theirs = NULL;
	_cleanup_(policy_merge_freep) struct policy_merge *m = NULL;
	_cleanup_free_ char *text = NULL;
	uint64_t revision;
	json_t *answer = NULL, *o;
	struct diag d;
	bool changed;
	size_t len;
	int r;

	if (reason != NULL && text_arg("--reason", reason, EDGE_REASON_MAX, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	r = policy_file_read(file, &text, &len, &theirs);
	if (r == CLI_OK)
		r = policy_get(cli, NULL, false, &ours);
	if (r != CLI_OK)
		return r;
	r = policy_merge_new(ours, theirs, take_theirs, &m);
	if (r == -E2BIG) {
		cli_error("both together are more than a policy may hold; nothing was changed");
		return CLI_USAGE;
	}
	if (r < 0)
		return cli_no_memory();
	revision = ours->revision;
	changed = !dry_run && m->n_added + m->n_taken > 0;
	if (changed) {
		r = policy_put(cli, &m->policy, reason != NULL ? reason : "policy import", &answer);
		if (r != CLI_OK)
			return r;
		revision = (uint64_t)show_int(answer, "revision", 0);
		if (show_int(answer, "ignored", 0) > 0)
			cli_warn("%" PRId64 " workloads or edges outside the daemon's --only are "
				 "not taken",
			    show_int(answer, "ignored", 0));
		json_decref(answer);
	}
	if (out_is_table(&cli->out)) {
		r = cli_printed(print_report(cli, m, revision, changed));
	} else {
		o = report_json(m, revision, changed);
		r = cli_printed(o != NULL ? out_document(&cli->out, o) : -ENOMEM);
		json_decref(o);
	}
	return r != CLI_OK ? r : m->n_taken < m->n_conflicts ? CLI_DIFFERENCES : CLI_OK;
}
