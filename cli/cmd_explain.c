/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg explain: would this connection pass, or would it have passed then, and why? */
#include "cli/client.h"
#include "cli/explain.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A name and a text, if there is one. */
static void
add(struct table *t, const char *name, const char *text, enum colour c)
{
	if (text == NULL)
		return;
	table_cell(t, name, COLOUR_NONE);
	table_cell(t, text, c);
}

static void
add_edge(struct table *t, const json_t *answer)
{
	const json_t *e = show_in(answer, "evidence");
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	char names[SHOW_SEEN_AS_LEN], conn[SHOW_NUMBER_LEN], first[SHOW_NUMBER_LEN],
	    last[SHOW_NUMBER_LEN];

	add(t, "edge", show_text(answer, "edge", NULL), COLOUR_NONE);
	if (json_is_object(e)) {
		add(t, "state", show_text(e, "state", NULL), COLOUR_NONE);
		table_cell(t, "evidence", COLOUR_NONE);
		table_cellf(t, COLOUR_NONE, "%s connections, first %s ago, last %s ago",
		    show_number(show_int(e, "connections", 0), conn),
		    show_age(e, "firstSeen", now_ns, first), show_age(e, "lastSeen", now_ns, last));
		if (json_array_size(show_in(e, "seenAs")) > 0)
			add(t, "seen as", show_seen_as(e, names), COLOUR_NONE);
		add(t, "reason", show_text(e, "reason", NULL), COLOUR_NONE);
		add(t, "ticket", show_text(e, "ticket", NULL), COLOUR_NONE);
		if (show_text(e, "keptBy", NULL) != NULL) {
			table_cell(t, "kept by", COLOUR_NONE);
			table_cellf(t, COLOUR_NONE, "%s, %s ago", show_text(e, "keptBy", "?"),
			    show_age(e, "kept", now_ns, first));
		}
	}
	add(t, "approved by", show_text(answer, "approvedBy", NULL), COLOUR_NONE);
}

/* The least that would let it pass. */
static void
add_change(struct table *t, const json_t *answer)
{
	const json_t *c = show_in(answer, "change"), *e = show_in(c, "edge");
	_cleanup_free_ char *text = NULL;

	if (!json_is_object(c))
		return;
	add(t, "to allow it", show_text(c, "text", NULL), COLOUR_YELLOW);
	if (show_text(c, "command", NULL) != NULL)
		add(t, "", show_text(c, "command", NULL), COLOUR_NONE);
	else if (json_is_object(e)) {
		text = json_dumps(e, JSON_COMPACT);
		add(t, "", text, COLOUR_NONE);
	}
}

static void
add_applied(struct table *t, const json_t *answer)
{
	const json_t *list = show_in(answer, "applied"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		table_cell(t, i == 0 ? "in the kernel" : "", COLOUR_NONE);
		if (show_text(one, "failed", NULL) != NULL)
			table_cellf(t, COLOUR_RED, "%s: not loaded at %s: %s",
			    show_text(one, "instance", "?"), show_text(one, "time", "?"),
			    show_text(one, "failed", "?"));
		else
			table_cellf(t, COLOUR_NONE,
			    "%s: revision %" PRId64 ", read back %s as %.16s",
			    show_text(one, "instance", "?"), show_int(one, "revision", 0),
			    show_text(one, "time", "?"), show_text(one, "kernel", "?"));
	}
}

static void
add_images(struct table *t, const json_t *answer)
{
	const json_t *list = show_in(answer, "unapprovedImages"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		table_cell(t, i == 0 ? "not approved" : "", COLOUR_NONE);
		table_cellf(t, COLOUR_RED, "%.250s: instance %.64s runs the image %.250s",
		    show_text(one, "workload", "?"), show_text(one, "instance", "?"),
		    show_text(one, "image", show_text(one, "imageId", "?")));
	}
}

/* Of the past: from the revision, and from the audit log. */
static void
add_record(struct table *t, const json_t *answer)
{
	const json_t *r = show_in(answer, "record"), *log = show_in(answer, "log");
	const json_t *decision = show_in(answer, "decision");

	add(t, "reason", show_text(decision, "reason", NULL), COLOUR_NONE);
	add(t, "ticket", show_text(decision, "ticket", NULL), COLOUR_NONE);
	if (json_is_object(r)) {
		table_cell(t, "on record", COLOUR_NONE);
		table_cellf(t, COLOUR_NONE, "%s by %s at %s, record %" PRId64 " %.16s",
		    show_text(r, "event", "?"), show_text(show_in(r, "actor"), "name", "?"),
		    show_text(r, "time", "?"), show_int(r, "seq", 0), show_text(r, "hash", "?"));
	}
	if (!json_is_object(log))
		return;
	if (show_int(log, "unsound", 0) > 0)
		add(t, "audit log", "NOT sound: see nanoseg audit-log verify", COLOUR_RED);
	else if (json_is_true(show_in(log, "agrees")))
		add(t, "audit log", "sound, and of the same revision", COLOUR_NONE);
	else
		add(t, "audit log", "has ANOTHER policy for that time", COLOUR_RED);
}

static int
draw(const struct cli *cli, const json_t *answer, FILE *f, void *arg)
{
	static const struct table_col cols[] = { { NULL, 0, 0, 0 }, { NULL, COL_CUT, 20, 0 } };
	const char *verdict = show_text(answer, "verdict", "?");
	_cleanup_(table_freep) struct table *t = NULL;
	char port[SHOW_PORT_LEN], behind[SHOW_BEHIND_LEN];
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r < 0)
		return r;
	add(t, "verdict", verdict, show_verdict_colour(verdict));
	add(t, "why", show_text(answer, "reason", NULL), COLOUR_NONE);
	add(t, "from", show_peer(show_text(answer, "from", "?")), COLOUR_NONE);
	add(t, "to", show_peer(show_text(answer, "to", "?")), COLOUR_NONE);
	add(t, "port", show_port(answer, port), COLOUR_NONE);
	if (strcmp(show_behind(answer, behind), "-") != 0)
		add(t, "behind it", behind, COLOUR_NONE);
	add(t, "admits", show_text(answer, "admits", NULL), COLOUR_NONE);
	add_edge(t, answer);
	add_images(t, answer);
	add(t, "rule", show_text(answer, "rule", NULL), COLOUR_NONE);
	add(t, "to see it", show_text(answer, "command", NULL), COLOUR_NONE);
	table_cell(t, "revision", COLOUR_NONE);
	table_cellf(t, COLOUR_NONE, "%" PRId64, show_int(answer, "revision", 0));
	add_record(t, answer);
	add_applied(t, answer);
	add_change(t, answer);
	return out_table(&cli->out, t, f);
}

static int
show_past(struct cli *cli, const char *path, const char *dir, uint64_t at_ns)
{
	json_t *answer = NULL;
	int printed, r = client_get(cli, path, &answer);

	if (r == CLI_OK)
		r = explain_past(cli, dir, at_ns, answer);
	if (r == CLI_OK || r == CLI_DIFFERENCES) {
		printed = cli_printed(out_is_table(&cli->out) ? draw(cli, answer, stdout, NULL)
							      : out_document(&cli->out, answer));
		r = printed != CLI_OK ? printed : r;
	}
	json_decref(answer);
	return r;
}

int
cmd_explain(struct cli *cli, int argc, char **argv)
{
	_cleanup_free_ char *path = NULL;
	struct target target;
	char port[16], time_text[TIME_STRLEN];
	const char *at = NULL, *dir = NULL;
	const struct arg_option own[] = {
		{ "at", 0, NULL, &at },
		{ "dir", 0, NULL, &dir },
	};
	uint64_t at_ns = 0;
	struct diag d;
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	if (n != 2)
		return cli_usage(cli, "expected SOURCE DESTINATION:PORT[/PROTOCOL]");
	if (peer_arg(argv[0], &d) < 0 || target_parse(argv[1], &target, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	if (dir != NULL && at == NULL)
		return cli_usage(cli, "--dir goes with --at");
	if (at != NULL &&
	    moment_arg("--at", at, (uint64_t)time(NULL) * NSEC_PER_SEC, &at_ns, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	snprintf(port, sizeof(port), "%u", target.port);
	path = client_path("/v1/explain", "src", argv[0], "dst", target.peer, "port", port, "proto",
	    target.proto, "at", at != NULL ? time_format(at_ns, time_text) : NULL, (char *)NULL);
	if (path == NULL)
		return cli_no_memory();
	if (at != NULL)
		return show_past(cli, path, dir, at_ns);
	return cli_show(cli, path, false, draw, NULL);
}
