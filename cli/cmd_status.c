/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg status: a line a workload, and what the daemon says of itself. */
#include "cli/cli.h"
#include "cli/confirm.h"
#include "cli/loss.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <inttypes.h>
#include <string.h>

static const struct table_col cols[] = {
	{ "WORKLOAD", COL_CUT, 12, 0 },
	{ "MODE", COL_CUT, 7, 0 },
	{ "INST", COL_RIGHT, 0, 0 },
	{ "APPR", COL_RIGHT, 0, 0 },
	{ "PEND", COL_RIGHT, 0, 0 },
	{ "DENY", COL_RIGHT, 0, 0 },
	{ "NEW", COL_RIGHT, 0, 0 },
	{ "LOST", COL_RIGHT, 0, 0 },
	{ "GAPS", COL_RIGHT | COL_EMPTY, 0, 0 },
	{ "RULES", COL_CUT, 5, 0 },
	{ "ENFORCE", COL_CUT, 7, 0 },
	{ "IMAGE", COL_EMPTY, 0, 0 },
	{ "DIRECTION", COL_WIDE, 0, 0 },
	{ "CONNTRACK", COL_WIDE, 0, 0 },
	{ "DRIFT", COL_WIDE | COL_RIGHT, 0, 0 },
	{ "START", COL_WIDE, 0, 0 },
	{ "ADDRESSES", COL_WIDE, 0, 0 },
	{ "IMAGES", COL_WIDE, 0, 0 },
};

/* "enforce" or, if one direction alone is governed, "enforce/ingress". */
static void
add_mode(struct table *t, const json_t *w)
{
	const char *mode = show_text(w, "mode", "?"),
		   *direction = show_text(w, "direction", "both");

	if (json_is_object(json_object_get(w, "quarantine")))
		table_cell(t, "quarantined", COLOUR_RED);
	else if (strcmp(mode, "observe") == 0 || strcmp(direction, "both") == 0)
		table_cell(t, mode, show_mode_colour(mode));
	else
		table_cellf(t, show_mode_colour(mode), "%.20s/%.20s", mode, direction);
}

static void
add_count(struct table *t, const json_t *w, const char *key, enum colour c)
{
	const json_t *edges = show_in(w, "edges");
	int64_t n = show_int(edges, key, -1);
	char text[SHOW_NUMBER_LEN];

	table_cell(t, n < 0 ? "-" : show_number(n, text), n > 0 ? c : COLOUR_NONE);
}

/* The chance of a new edge in the next window, at most; "-" where nothing can be claimed. */
static void
add_new_chance(struct table *t, const json_t *w)
{
	const json_t *high = json_object_get(show_in(w, "completeness"), "newEdgeChanceHigh");

	if (json_is_number(high))
		table_cellf(t, COLOUR_NONE, "<%.0f%%", json_number_value(high) * 100 + 0.5);
	else
		table_cell(t, "-", COLOUR_NONE);
}

/* What is missing of it, and in how many hours or runs something may be. */
static void
add_loss(struct table *t, const json_t *w)
{
	int64_t gaps = loss_windows(w);
	char lost[LOSS_COUNT_LEN];

	table_cell(t, loss_count_text(w, lost), loss_is_known(w) ? COLOUR_RED : COLOUR_NONE);
	if (gaps > 0)
		table_cellf(t, COLOUR_YELLOW, "%" PRId64, gaps);
	else
		table_cell(t, NULL, COLOUR_NONE);
}

/* In the host's network, where there is nothing to have rules in. */
static bool
all_hosted(const json_t *instances)
{
	for (size_t i = 0; i < json_array_size(instances); i++)
		if (!json_is_true(show_in(json_array_get(instances, i), "hostNetwork")))
			return false;
	return true;
}

/* The revision in the kernel: "12", or "11 of 12" while it is behind. */
static void
add_revision(struct table *t, const json_t *w)
{
	int64_t want = show_int(w, "revision", -1), have = show_int(w, "appliedRevision", -1);

	if (want < 0 || have < 0 || all_hosted(show_in(w, "instances")))
		table_cell(t, "-", COLOUR_NONE);
	else if (have >= want)
		table_cellf(t, COLOUR_NONE, "%" PRId64, have);
	else
		table_cellf(t, COLOUR_YELLOW, "%" PRId64 " of %" PRId64, have, want);
}

static void
add_unapproved(struct table *t, const json_t *instances)
{
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(instances); i++)
		n += show_unapproved(json_array_get(instances, i)) != 0;
	if (n > 0)
		table_cellf(t, COLOUR_RED, "%zu not approved", n);
	else
		table_cell(t, NULL, COLOUR_NONE);
}

/* Each image that its instances run, once: several tags are shown, and what may not run. */
static void
add_images(struct table *t, const json_t *instances)
{
	bool other = false;
	char list[1024] = "";
	size_t len = 0;

	for (size_t i = 0; i < json_array_size(instances); i++) {
		const json_t *instance = json_array_get(instances, i);
		const char *image = show_text(instance, "image", "");
		bool accepted = !json_is_false(show_in(instance, "imageAccepted")), again = false;
		bool approved = show_unapproved(instance) == 0;

		for (size_t k = 0; k < i && !again; k++)
			again = strcmp(show_text(json_array_get(instances, k), "image", ""),
				    image) == 0;
		other |= !accepted || !approved;
		if (again || *image == '\0' || len + 160 >= sizeof(list))
			continue;
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%.110s%s%s",
		    len > 0 ? " " : "", image, accepted ? "" : " (not accepted)",
		    approved ? "" : " (not approved)");
	}
	table_cell(t, list, other ? COLOUR_RED : COLOUR_NONE);
}

/*
 * How one instance was started: "gated 21 ms before start", "closed 85 ms before start", "late by
 * 12 ms", "existing before us"; without its time if that is not known.
 */
static int
format_start(const json_t *start, char *ret, size_t size)
{
	const char *kind = show_text(start, "kind", "?");
	const json_t *lead = show_in(start, "leadMs");
	int64_t ms = json_integer_value(lead);

	if (strcmp(kind, "existing") == 0)
		return snprintf(ret, size, "existing before us");
	if (!json_is_integer(lead))
		return snprintf(ret, size, "%.20s", kind);
	if (strcmp(kind, "late") == 0)
		return snprintf(ret, size, "late by %" PRId64 " ms", ms < 0 ? -ms : ms);
	return snprintf(ret, size, "%.20s %" PRId64 " ms before start", kind, ms);
}

static void
add_starts(struct table *t, const json_t *instances)
{
	char list[512] = "";
	size_t len = 0;

	for (size_t i = 0; i < json_array_size(instances); i++) {
		if (len > 0)
			len += (size_t)snprintf(list + len, sizeof(list) - len, ", ");
		if (len + 80 >= sizeof(list)) {
			snprintf(list + len, sizeof(list) - len, "...");
			break;
		}
		len += (size_t)format_start(
		    show_in(json_array_get(instances, i), "start"), list + len, sizeof(list) - len);
	}
	table_cell(t, list, strstr(list, "late") != NULL ? COLOUR_YELLOW : COLOUR_NONE);
}

static void
add_wide(struct table *t, const json_t *w)
{
	const json_t *ct = show_in(w, "conntrack"), *instances = show_in(w, "instances");
	char list[512] = "";
	size_t len = 0;

	table_cell(t, show_text(w, "direction", "-"), COLOUR_NONE);
	table_cellf(t, COLOUR_NONE, "%" PRId64 "/%" PRId64, show_int(ct, "count", 0),
	    show_int(ct, "max", 0));
	table_cellf(t, COLOUR_NONE, "%" PRId64, show_int(w, "drift", 0));
	add_starts(t, instances);
	for (size_t i = 0; i < json_array_size(instances); i++) {
		const json_t *addrs = show_in(json_array_get(instances, i), "addresses");

		for (size_t k = 0; k < json_array_size(addrs) && len + 80 < sizeof(list); k++) {
			const char *a = json_string_value(json_array_get(addrs, k));

			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%.46s",
			    len > 0 ? " " : "", a != NULL ? a : "?");
		}
	}
	table_cell(t, list, COLOUR_NONE);
	add_images(t, instances);
}

static void
add_workload(struct table *t, const json_t *w)
{
	const char *grade = show_text(w, "enforceable", "?");

	table_cell(t, show_text(w, "name", "?"), COLOUR_NONE);
	add_mode(t, w);
	table_cellf(t, COLOUR_NONE, "%zu", json_array_size(show_in(w, "instances")));
	add_count(t, w, "approved", COLOUR_NONE);
	add_count(t, w, "pending", COLOUR_YELLOW);
	add_count(t, w, "denied", COLOUR_NONE);
	add_new_chance(t, w);
	add_loss(t, w);
	add_revision(t, w);
	table_cell(t, grade, strcmp(grade, "full") == 0 ? COLOUR_NONE : COLOUR_YELLOW);
	add_unapproved(t, show_in(w, "instances"));
	add_wide(t, w);
}

static void
add_reason(struct table *t, const json_t *w, const char *why)
{
	if (why == NULL)
		return;
	table_cell(t, show_text(w, "name", "?"), COLOUR_NONE);
	table_cell(t, why, COLOUR_NONE);
}

/* What its evidence is, in a sentence. */
static void
add_complete(struct table *t, const json_t *w)
{
	const json_t *k = show_in(w, "completeness");
	const json_t *high = show_in(k, "newEdgeChanceHigh");
	const char *kind = show_text(k, "windowKind", NULL), *why = show_text(k, "why", NULL);
	int64_t unseen = show_int(k, "unseenAtLeast", 0);
	char text[512], estimate[64] = "";

	if (kind == NULL)
		return;
	if (unseen > 0)
		snprintf(estimate, sizeof(estimate), "; at least about %" PRId64 " unseen", unseen);
	if (json_is_number(high))
		snprintf(text, sizeof(text),
		    "%" PRId64 " %.4ss seen, %" PRId64
		    " more with gaps: a new edge in at most %.1f%% "
		    "of those to come, at most %" PRId64 " in a time as long%s",
		    show_int(k, "windows", 0), kind, show_int(k, "incompleteWindows", 0),
		    json_number_value(high) * 100, show_int(k, "unseenHigh", 0), estimate);
	else
		snprintf(text, sizeof(text),
		    "%" PRId64 " %.4ss seen, %" PRId64
		    " more with gaps: how much is missing cannot be "
		    "bounded: %.200s%s",
		    show_int(k, "windows", 0), kind, show_int(k, "incompleteWindows", 0),
		    why != NULL ? why : "not known", estimate);
	add_reason(t, w, text);
}

static void
add_lost(struct table *t, const json_t *w)
{
	char sources[LOSS_SOURCES_LEN], lost[LOSS_COUNT_LEN], text[512];

	if (loss_sources_text(w, sources)[0] == '\0')
		return;
	snprintf(text, sizeof(text), "%s lost since nanosegd began: %s", loss_count_text(w, lost),
	    sources);
	add_reason(t, w, text);
}

/* What keeps it from being held, from being promoted, and from being known in full. */
static void
add_why(struct table *t, const json_t *workloads)
{
	const json_t *w;
	size_t i;

	json_array_foreach(workloads, i, w)
	{
		add_reason(t, w, show_text(w, "why", NULL));
		add_reason(t, w, show_text(show_in(w, "promotion"), "why", NULL));
		add_complete(t, w);
		add_lost(t, w);
	}
}

/* One line over the table; in it what needs a person. */
static void
head_line(const json_t *status, FILE *f)
{
	const json_t *engine = show_in(status, "engine");
	_cleanup_free_ char *version = text_safe(show_text(status, "version", "?"));
	_cleanup_free_ char *name = text_safe(show_text(engine, "name", "none"));
	_cleanup_free_ char *promote = text_safe(show_text(status, "promote", "off"));
	int64_t period = show_int(status, "observationPeriodSeconds", 0);
	char text[DURATION_STRLEN];

	if (version == NULL || name == NULL || promote == NULL)
		return;
	fprintf(f, "nanosegd %s, revision %" PRId64 ", engine %s%s", version,
	    show_int(status, "revision", 0), name,
	    engine != NULL && json_is_false(show_in(engine, "reachable")) ? " (not reachable)"
									  : "");
	if (strcmp(promote, "off") != 0 && period > 0)
		fprintf(f, ", promotes to %s after %s", promote,
		    duration_format((uint64_t)MIN(period, 1000000000) * NSEC_PER_SEC, text));
	fputs("\n", f);
}

/* One that never answered may not be there at all, unless it is the only one. */
static void
engine_line(const json_t *engine, bool main, FILE *f)
{
	_cleanup_free_ char *name = text_safe(show_text(engine, "name", "?"));
	_cleanup_free_ char *why = text_safe(show_text(engine, "why", ""));
	_cleanup_free_ char *since = text_safe(show_text(engine, "since", "its start"));
	bool away = json_is_false(show_in(engine, "reachable"));

	if (name == NULL || why == NULL || since == NULL || why[0] == '\0')
		return;
	if (away && (main || show_int(engine, "errors", 0) > 0))
		fprintf(f, "engine %s: not reachable since %s: %s\n", name, since, why);
	else if (!away)
		fprintf(f, "engine %s: %s\n", name, why);
}

/* What rules have to refuse, and did not. */
static void
passed_lines(const json_t *workloads, FILE *f)
{
	const json_t *w, *instance;
	size_t i, k;

	json_array_foreach(workloads, i, w)
	{
		_cleanup_free_ char *name = text_safe(show_text(w, "name", "?"));

		json_array_foreach(show_in(w, "instances"), k, instance)
		{
			_cleanup_free_ char *id = text_safe(show_text(instance, "id", "?"));
			const json_t *tests = show_in(instance, "selfTest");
			_cleanup_free_ char *why = text_safe(show_text(tests, "untested", ""));
			int64_t n = show_int(tests, "passed", 0);

			if (n > 0 && name != NULL && id != NULL)
				fprintf(f,
				    "%s: instance %s: %" PRId64 " probes of the self-test passed "
				    "that its rules have to refuse\n",
				    name, id, n);
			if (why != NULL && why[0] != '\0' && name != NULL && id != NULL)
				fprintf(f, "%s: instance %s: the self-test tells nothing: %s\n",
				    name, id, why);
		}
	}
}

/* What keeps it from knowing or enforcing all. */
static void
trouble_lines(const json_t *status, FILE *f)
{
	const json_t *main = show_in(status, "engine"), *engine;
	int64_t overdue = show_int(show_in(status, "recertification"), "overdue", 0);
	size_t i;

	if (json_is_true(show_in(status, "held")))
		fputs("the store is empty, but workloads were enforced: the rules in the kernel "
		      "stand until a policy is applied or a mode is set\n",
		    f);
	json_array_foreach(show_in(status, "engines"), i, engine)
	    engine_line(engine, json_equal(engine, main), f);
	passed_lines(show_in(status, "workloads"), f);
	if (overdue > 0)
		fprintf(f,
		    "%" PRId64 " approval%s overdue to be looked at again: nanoseg review "
		    "--recertify\n",
		    overdue, overdue == 1 ? " is" : "s are");
}

/* Each, if they are asked for. */
static void
exposure_lines(const json_t *status, FILE *f)
{
	const json_t *e;
	size_t i;

	json_array_foreach(show_in(status, "exposure"), i, e)
	{
		_cleanup_free_ char *name = text_safe(show_text(e, "workload", "?"));
		_cleanup_free_ char *id = text_safe(show_text(e, "instance", "?"));
		_cleanup_free_ char *from = text_safe(show_text(e, "from", "?"));
		_cleanup_free_ char *to = text_safe(show_text(e, "to", "?"));

		if (name != NULL && id != NULL && from != NULL && to != NULL)
			fprintf(f,
			    "%s: container %s ran without rules from %s to %s, nanosegd being "
			    "away\n",
			    name, id, from, to);
	}
}

static void
losses_line(const json_t *status, FILE *f)
{
	json_t *losses = (json_t *)show_in(status, "losses"), *value;
	const char *key, *sep = "lost: ";

	json_object_foreach(losses, key, value)
	{
		_cleanup_free_ char *safe = text_safe(key);

		if (json_integer_value(value) <= 0 || safe == NULL)
			continue;
		fprintf(f, "%s%s %" PRId64, sep, safe, (int64_t)json_integer_value(value));
		sep = ", ";
	}
	if (strcmp(sep, ", ") == 0)
		fputs("\n", f);
}

static int
draw(const struct cli *cli, const json_t *status, FILE *f, void *arg)
{
	static const struct table_col why_cols[] = { { NULL, COL_CUT, 12, 0 },
		{ NULL, COL_CUT, 20, 0 } };
	const bool *why = arg;
	const json_t *workloads = show_in(status, "workloads"), *w;
	_cleanup_(table_freep) struct table *t = NULL, *reasons = NULL;
	size_t i;
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r == 0)
		r = table_new(why_cols, ARRAY_SIZE(why_cols), &reasons);
	if (r < 0)
		return r;
	if (!cli->out.no_headers) {
		head_line(status, f);
		trouble_lines(status, f);
		confirm_line(status, f);
		losses_line(status, f);
	}
	if (json_array_size(workloads) == 0) {
		fputs("no workload yet\n", f);
		return 0;
	}
	json_array_foreach(workloads, i, w) add_workload(t, w);
	r = out_table(&cli->out, t, f);
	add_why(reasons, workloads);
	if (r == 0 && *why && table_rows(reasons) > 0) {
		fputs("\n", f);
		r = out_table(&cli->out, reasons, f);
	}
	if (r == 0 && *why && json_array_size(show_in(status, "exposure")) > 0) {
		fputs("\n", f);
		exposure_lines(status, f);
	}
	return r;
}

int
cmd_status(struct cli *cli, int argc, char **argv)
{
	bool watch = false, why = false;
	const struct arg_option own[] = {
		{ "watch", 'w', &watch, NULL },
		{ "why", 0, &why, NULL },
	};
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	return cli_show(cli, "/v1/status", watch, draw, &why);
}
