/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg exposure: which workloads run what a scan found vulnerable, and who can reach them, now
 * and under a candidate policy. Scans, policies and bundles are parsed in a confined child.
 */
#include "cli/bundle.h"
#include "cli/confine.h"
#include "cli/file.h"
#include "cli/reach.h"
#include "cli/scan.h"
#include "cli/show.h"

#include "rules/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_SCANS 256
#define MAX_SHOWN_FINDINGS 50

struct input {
	const char *path;
	char *text;
	size_t len;
};

struct exposure_job {
	const struct cli *cli;
	struct input scans[MAX_SCANS], policy, from;
	size_t n_scans;
	int least; /* severity */
	json_t *bundle;
};

static void
job_done(struct exposure_job *j)
{
	for (size_t i = 0; i < j->n_scans; i++)
		free(j->scans[i].text);
	free(j->policy.text);
	free(j->from.text);
	json_decref(j->bundle);
}

static int
complain(const struct input *in, const struct diag *d, int r)
{
	if (r == -ENOMEM)
		return cli_no_memory();
	file_report(in->path, d);
	return r == -EBADMSG ? CLI_DIFFERENCES : CLI_USAGE;
}

/* By digest before by name. */
static void
match_instance(const json_t *instance, const json_t *scan, const char **how, const char **ret_image)
{
	const json_t *o;

	for (size_t k = 0; (o = bundle_container(instance, k)) != NULL; k++) {
		const char *h = scan_matches(scan, o);

		if (h == NULL || (*how != NULL && strcmp(h, "digest") != 0))
			continue;
		*how = h;
		*ret_image = show_text(o, "image", show_text(o, "imageId", "?"));
	}
}

/* How an image of a workload matches a scan; NULL: not at all. */
static const char *
match_workload(const json_t *w, const json_t *scan, const char **ret_image)
{
	const json_t *list = show_in(w, "instances");
	const char *how = NULL;

	for (size_t i = 0; i < json_array_size(list) && (how == NULL || strcmp(how, "digest") != 0);
	     i++)
		match_instance(json_array_get(list, i), scan, &how, ret_image);
	return how;
}

/* Counts by severity, and the worst findings themselves. The same one of two packages is one. */
static json_t *
findings_of(const json_t *scan, int least, int *ret_worst)
{
	json_t *counts = json_object(), *list = json_array(), *seen = json_object(), *f;
	size_t i;

	for (int s = N_SEVERITIES - 1; s >= 0; s--) {
		int64_t n = 0;

		json_array_foreach(show_in(scan, "findings"), i, f)
		{
			const char *id = show_text(f, "id", "?");

			if (show_int(f, "severity", 0) != s || s < least ||
			    json_object_get(seen, id) != NULL)
				continue;
			json_object_set_new(seen, id, json_true());
			n++;
			*ret_worst = MAX(*ret_worst, s);
			if (json_array_size(list) < MAX_SHOWN_FINDINGS)
				json_array_append_new(list,
				    json_pack("{s:s, s:s, s:O, s:O, s:O}", "id", id, "severity",
					severity_name((enum severity)s), "package",
					show_in(f, "package"), "installed", show_in(f, "installed"),
					"fixed", show_in(f, "fixed")));
		}
		json_object_set_new(
		    counts, severity_name((enum severity)s), json_integer((json_int_t)n));
	}
	json_decref(seen);
	return json_pack("{s:o, s:o}", "counts", counts, "findings", list);
}

static void
add_workload(const struct exposure_job *j, json_t *list, const json_t *w, const json_t *scan,
    const struct reach *now, const struct reach *after)
{
	const char *image = "?", *how = match_workload(w, scan, &image);
	const char *name = show_text(w, "name", "?");
	int worst = -1;
	json_t *o;

	if (how == NULL)
		return;
	o = findings_of(scan, j->least, &worst);
	if (worst < 0) {
		json_decref(o);
		return;
	}
	json_object_set_new(o, "workload", json_string(name));
	json_object_set_new(o, "image", json_string(image));
	json_object_set_new(o, "match", json_string(how));
	json_object_set_new(o, "tool", json_incref(json_object_get(scan, "tool")));
	json_object_set_new(o, "worst", json_string(severity_name((enum severity)worst)));
	json_object_set_new(o, "now", reach_to(now, name));
	json_object_set_new(o, "after", after != NULL ? reach_to(after, name) : json_null());
	json_array_append_new(list, o);
}

/* From outside before from within, near before far, then by severity and name. */
static int
compare_exposed(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int64_t hx = show_int(show_in(x, "now"), "hops", INT64_MAX);
	int64_t hy = show_int(show_in(y, "now"), "hops", INT64_MAX);
	int wx = severity_parse(show_text(x, "worst", "")),
	    wy = severity_parse(show_text(y, "worst", ""));

	if ((hx == INT64_MAX) != (hy == INT64_MAX))
		return hx == INT64_MAX ? 1 : -1;
	if (wx != wy)
		return wy - wx;
	if (hx != hy)
		return hx < hy ? -1 : 1;
	return strcmp(show_text(x, "workload", ""), show_text(y, "workload", ""));
}

static void
cell_reach(struct table *t, const json_t *r)
{
	int64_t hops = show_int(r, "hops", -1);

	if (!json_is_object(r))
		table_cell(t, NULL, COLOUR_NONE);
	else if (hops < 0)
		table_cell(t, "no", COLOUR_GREEN);
	else
		table_cellf(t, COLOUR_RED, "%s, %" PRId64 " hop%s",
		    show_peer(json_string_value(json_array_get(show_in(r, "path"), 0))), hops,
		    hops == 1 ? "" : "s");
	if (json_is_object(r))
		table_cellf(t, COLOUR_NONE, "%" PRId64, show_int(r, "workloads", 0));
	else
		table_cell(t, NULL, COLOUR_NONE);
}

static void
cell_direct(struct table *t, const json_t *from)
{
	char text[500] = "";
	size_t at = 0;

	for (size_t i = 0; i < json_array_size(from) && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i > 0 ? ", " : "",
		    show_peer(json_string_value(json_array_get(from, i))));
	table_cell(t, text[0] != '\0' ? text : "nobody", COLOUR_NONE);
}

static int
print_table(const struct cli *cli, const json_t *list)
{
	static const struct table_col cols[] = { { "WORKLOAD", COL_CUT, 12, 0 },
		{ "WORST", 0, 0, 0 }, { "CRIT", COL_RIGHT, 0, 0 }, { "HIGH", COL_RIGHT, 0, 0 },
		{ "FROM OUTSIDE", COL_CUT, 10, 0 }, { "WORKLOADS", COL_RIGHT, 0, 0 },
		{ "AFTER", COL_CUT | COL_EMPTY, 6, 0 },
		{ "WORKLOADS", COL_RIGHT | COL_EMPTY, 0, 0 }, { "DIRECTLY FROM", COL_CUT, 12, 0 },
		{ "IMAGE", COL_CUT | COL_WIDE, 10, 0 }, { "MATCH", COL_WIDE, 0, 0 } };
	_cleanup_(table_freep) struct table *t = NULL;
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (json_array_size(list) == 0) {
		puts("no workload runs a scanned image with findings");
		return r;
	}
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i), *counts = show_in(o, "counts");

		table_cell(t, show_text(o, "workload", "?"), COLOUR_BOLD);
		table_cell(t, show_text(o, "worst", "?"), COLOUR_NONE);
		table_cellf(t, COLOUR_NONE, "%" PRId64, show_int(counts, "critical", 0));
		table_cellf(t, COLOUR_NONE, "%" PRId64, show_int(counts, "high", 0));
		cell_reach(t, show_in(o, "now"));
		cell_reach(t, show_in(o, "after"));
		cell_direct(t, show_in(show_in(o, "now"), "from"));
		table_cell(t, show_text(o, "image", "?"), COLOUR_NONE);
		table_cell(t, show_text(o, "match", "?"), COLOUR_DIM);
	}
	return r == 0 ? out_table(&cli->out, t, stdout) : r;
}

static int
make_reaches(
    const struct exposure_job *j, const json_t *b, struct reach **now, struct reach **after)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	struct diag d = { 0 };
	int r = reach_of_bundle(b, now);

	if (r == 0 && j->policy.text != NULL) {
		r = policy_parse(j->policy.text, j->policy.len, &d, &p);
		if (r < 0)
			return complain(&j->policy, &d, r);
		r = reach_of_policy(p, b, bundle_until(b), after);
	}
	return r < 0 ? cli_no_memory() : CLI_OK;
}

static int
list_exposed(const struct exposure_job *j, const json_t *b, json_t *list)
{
	_cleanup_(reach_freep) struct reach *now = NULL, *after = NULL;
	int code = make_reaches(j, b, &now, &after);
	json_t *w;
	size_t i;

	for (size_t k = 0; k < j->n_scans && code == CLI_OK; k++) {
		struct diag d = { 0 };
		json_t *scan = NULL;
		int r = scan_parse(j->scans[k].text, j->scans[k].len, &d, &scan);

		if (r < 0)
			return complain(&j->scans[k], &d, r);
		json_array_foreach(show_in(b, "workloads"), i, w)
		    add_workload(j, list, w, scan, now, after);
		json_decref(scan);
	}
	return code;
}

static int
work(void *arg)
{
	struct exposure_job *j = arg;
	json_t *b = j->bundle, *list = json_array(), *found;
	struct diag d = { 0 };
	bool outside = false;
	int code = CLI_OK, r;

	if (j->from.text != NULL) {
		r = bundle_parse(j->from.text, j->from.len, &d, &b);
		if (r < 0)
			return complain(&j->from, &d, r);
	}
	code = list_exposed(j, b, list);
	if (code != CLI_OK)
		return code;
	found = show_sorted(list, compare_exposed);
	json_decref(list);
	if (found == NULL)
		return cli_printed(-ENOMEM);
	for (size_t i = 0; i < json_array_size(found); i++)
		outside |= json_is_true(
		    json_object_get(show_in(json_array_get(found, i), "now"), "outside"));
	r = out_is_table(&j->cli->out) ? print_table(j->cli, found)
				       : out_document(&j->cli->out, found);
	code = r == -EIO ? CLI_ERROR : cli_printed(r);
	return code == CLI_OK && outside ? CLI_DIFFERENCES : code;
}

static int
read_input(const char *path, size_t max, struct input *ret)
{
	ret->path = path;
	return path != NULL ? file_read_max(path, max, &ret->text, &ret->len) : CLI_OK;
}

static int
run(struct cli *cli, struct exposure_job *j, const char *policy, const char *from, char **more,
    int n)
{
	int code = read_input(policy, POLICY_MAX_BYTES, &j->policy);

	if (code == CLI_OK)
		code = read_input(from, BUNDLE_MAX_BYTES, &j->from);
	for (int i = 0; i < n && code == CLI_OK; i++)
		code = read_input(more[i], SCAN_MAX_BYTES, &j->scans[j->n_scans++]);
	if (code == CLI_OK && from == NULL)
		code = bundle_collect(cli, 0, &j->bundle);
	if (code != CLI_OK)
		return code;
	code = confine_run(work, j);
	return code < 0 ? CLI_ERROR : code;
}

int
cmd_exposure(struct cli *cli, int argc, char **argv)
{
	struct exposure_job j = { .cli = cli };
	const char *scan = NULL, *policy = NULL, *severity = "unknown", *from = NULL;
	const struct arg_option own[] = {
		{ "scan", 0, NULL, &scan },
		{ "file", 'f', NULL, &policy },
		{ "severity", 0, NULL, &severity },
		{ "from", 0, NULL, &from },
	};
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	j.least = severity_parse(severity);
	if (scan == NULL)
		return cli_usage(cli, "--scan FILE... is needed");
	if (j.least < 0)
		return cli_usage(
		    cli, "--severity: expected unknown, low, medium, high or critical");
	if (n + 1 > MAX_SCANS)
		return cli_usage(cli, "at most %d scans at once", MAX_SCANS);
	code = read_input(scan, SCAN_MAX_BYTES, &j.scans[j.n_scans++]);
	if (code == CLI_OK)
		code = run(cli, &j, policy, from, argv, n);
	job_done(&j);
	return code;
}
