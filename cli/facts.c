/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The facts, by the summary of bundle_judge(). "shown": the bundle has it without a gap that it
 * knows of; "partly": with gaps, which the detail counts; "absent": not at all.
 */
#include "cli/facts.h"

#include "cli/bundle.h"
#include "cli/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DETAIL_LEN 300

enum state {
	ABSENT,
	PARTLY,
	SHOWN,
};

static const char *const state_names[] = { "absent", "partly", "shown" };

struct fact {
	const char *name, *title;
	enum state (*judge)(const json_t *b, char detail[static DETAIL_LEN]);
};

static int64_t
sum(const json_t *b, const char *group, const char *key)
{
	const json_t *s = show_in(b, "summary");

	return show_int(group != NULL ? show_in(s, group) : s, key, 0);
}

static enum state
of_all(int64_t n, int64_t all)
{
	return n <= 0 ? ABSENT : n >= all ? SHOWN : PARTLY;
}

static enum state
judge_inventory(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t n = sum(b, "workloads", "all");

	snprintf(detail, DETAIL_LEN, "%" PRId64 " workloads, %" PRId64 " running instances", n,
	    sum(b, "instances", "all"));
	return n > 0 ? SHOWN : ABSENT;
}

static enum state
judge_diagram(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t n = (int64_t)json_array_size(show_in(b, "edges"));

	snprintf(
	    detail, DETAIL_LEN, "%" PRId64 " connections between peers, observed or decided", n);
	return n > 0 ? SHOWN : ABSENT;
}

static enum state
judge_approvals(const json_t *b, char detail[static DETAIL_LEN])
{
	const json_t *list = show_in(b, "edges");
	int64_t all = 0, whole = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *e = json_array_get(list, i);

		if (strcmp(show_text(e, "state", ""), "approved") != 0)
			continue;
		all++;
		whole += show_text(e, "reason", "")[0] != '\0' &&
			 show_text(e, "approvedBy", "")[0] != '\0';
	}
	whole -= sum(b, "edges", "approvedByNobody");
	snprintf(detail, DETAIL_LEN,
	    "%" PRId64 " of %" PRId64 " approved connections have a person and a reason",
	    MAX(whole, 0), all);
	return of_all(whole, all);
}

static enum state
judge_default_deny(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t all = sum(b, "workloads", "all"), n = sum(b, "workloads", "enforce");
	const json_t *list = show_in(b, "workloads");
	int64_t both = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *w = json_array_get(list, i);

		both += strcmp(show_text(w, "mode", ""), "enforce") == 0 &&
			strcmp(show_text(w, "direction", "both"), "both") == 0;
	}
	snprintf(detail, DETAIL_LEN,
	    "%" PRId64 " of %" PRId64 " workloads are enforced, %" PRId64 " in both directions", n,
	    all, both);
	return n > 0 && both == 0 ? PARTLY : of_all(both, all);
}

static enum state
judge_loaded(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t all = sum(b, "instances", "enforced"), n = sum(b, "instances", "loaded");
	int64_t current = sum(b, "instances", "current");

	snprintf(detail, DETAIL_LEN,
	    "%" PRId64 " of %" PRId64 " enforced instances have rules that were read back from "
	    "the kernel, %" PRId64 " of them those of this revision",
	    n, all, current);
	return of_all(MIN(n, current), all);
}

static enum state
judge_tamper(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t all = sum(b, "workloads", "all"), n = 0;
	const json_t *list = show_in(b, "workloads");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *w = json_array_get(list, i);

		n += strcmp(show_text(w, "mode", ""), "enforce") == 0 &&
		     strcmp(show_text(w, "enforceable", ""), "full") == 0;
	}
	snprintf(detail, DETAIL_LEN,
	    "%" PRId64 " of %" PRId64
	    " workloads are enforced and cannot get around their rules; %" PRId64
	    " changes of loaded rules were found",
	    n, all, sum(b, NULL, "drift"));
	return of_all(n, all);
}

static enum state
judge_drift(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t n = sum(b, NULL, "drift");

	snprintf(detail, DETAIL_LEN, "%" PRId64 " changes of loaded rules by others", n);
	return sum(b, "instances", "loaded") == 0 ? ABSENT : n == 0 ? SHOWN : PARTLY;
}

static enum state
judge_changes(const json_t *b, char detail[static DETAIL_LEN])
{
	size_t n = json_array_size(show_in(b, "revisions"));

	snprintf(detail, DETAIL_LEN,
	    "%zu numbered revisions with who, when and why; revision %" PRId64 " in force", n,
	    show_int(b, "revision", 0));
	return n > 0 ? SHOWN : ABSENT;
}

static enum state
judge_audit(const json_t *b, char detail[static DETAIL_LEN])
{
	const json_t *head = show_in(show_in(b, "audit"), "head");

	snprintf(detail, DETAIL_LEN, "hash-chained log, record %" PRId64 " is %.64s",
	    show_int(head, "seq", 0), show_text(head, "hash", "not known"));
	return show_text(head, "hash", NULL) != NULL ? SHOWN : ABSENT;
}

/* That somebody keeps it is never known here. */
static enum state
judge_copy(const json_t *b, char detail[static DETAIL_LEN])
{
	bool known = show_text(show_in(show_in(b, "audit"), "head"), "hash", NULL) != NULL;

	snprintf(detail, DETAIL_LEN,
	    known ? "the log's head is in this export and goes to the journal; that a copy is kept "
		    "elsewhere is not shown"
		  : "the log's head is not known");
	return known ? PARTLY : ABSENT;
}

static enum state
judge_denials(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t watched = sum(b, "workloads", "enforce") + sum(b, "workloads", "audit");

	snprintf(detail, DETAIL_LEN, "%" PRId64 " refused connections of %zu kinds recorded",
	    sum(b, NULL, "denials"), json_array_size(show_in(b, "denials")));
	return of_all(watched, sum(b, "workloads", "all"));
}

static enum state
judge_outside(const json_t *b, char detail[static DETAIL_LEN])
{
	snprintf(detail, DETAIL_LEN,
	    "%" PRId64 " approved connections from outside, %" PRId64 " to the outside",
	    sum(b, "edges", "approvedFromOutside"), sum(b, "edges", "approvedToOutside"));
	return of_all(sum(b, "workloads", "enforce"), sum(b, "workloads", "all"));
}

static enum state
judge_exposure(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t n = sum(b, NULL, "exposureWindows");

	snprintf(detail, DETAIL_LEN,
	    "%" PRId64 " windows in which an enforced workload ran "
	    "without rules",
	    n);
	return sum(b, "workloads", "enforce") == 0 ? ABSENT : n == 0 ? SHOWN : PARTLY;
}

static enum state
judge_start(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t held = sum(b, "starts", "gated") + sum(b, "starts", "closed");
	int64_t all = sum(b, "instances", "all");

	snprintf(detail, DETAIL_LEN,
	    "%" PRId64 " of %" PRId64 " instances were held before their program began", held, all);
	return of_all(held, all);
}

/* Or one of the two is not known. */
static bool
is_same(const json_t *o, const char *key, const json_t *want)
{
	const char *a = show_text(o, key, NULL), *b = json_string_value(want);

	return a == NULL || b == NULL || strcmp(a, b) == 0;
}

static enum state
judge_verification(const json_t *b, char detail[static DETAIL_LEN])
{
	const json_t *v = show_in(b, "verification");
	int64_t passed = show_int(v, "passed", 0), failed = show_int(v, "failed", 0);
	int64_t unclear = show_int(v, "unclear", 0);
	bool here = is_same(v, "host", show_in(show_in(b, "host"), "name"));
	bool now = is_same(v, "policyDigest", show_in(b, "policyDigest"));

	if (!bundle_is_verification(v) || show_int(v, "probes", 0) <= 0) {
		snprintf(detail, DETAIL_LEN, "no result of nanoseg verify was given");
		return ABSENT;
	}
	snprintf(detail, DETAIL_LEN,
	    "%" PRId64 " live probes, %" PRId64 " as the policy says, %" PRId64 " failed, %" PRId64
	    " unclear%s",
	    show_int(v, "probes", 0), passed, failed, unclear,
	    !here  ? "; of another host"
	    : !now ? "; of another policy than this one"
		   : "");
	if (!here || passed + failed <= 0)
		return ABSENT;
	return now && failed == 0 && unclear == 0 ? SHOWN : PARTLY;
}

static enum state
judge_review(const json_t *b, char detail[static DETAIL_LEN])
{
	const json_t *r = show_in(b, "review");
	size_t overdue = json_array_size(show_in(r, "overdue"));
	size_t stale = json_array_size(show_in(r, "stale"));

	snprintf(detail, DETAIL_LEN,
	    "%zu approvals overdue, %zu unused for %d days, %zu connections undecided", overdue,
	    stale, BUNDLE_STALE_DAYS, json_array_size(show_in(r, "undecided")));
	return sum(b, "edges", "approved") == 0 ? ABSENT
	       : overdue == 0 && stale == 0	? SHOWN
						: PARTLY;
}

static enum state
judge_loss(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t n = sum(b, NULL, "lost"), hit = sum(b, "workloads", "withLoss");

	snprintf(detail, DETAIL_LEN,
	    "%" PRId64 " observations are known to be missing; of %" PRId64
	    " workloads something may have been missed, in %" PRId64 " windows",
	    n, hit, sum(b, NULL, "incompleteWindows"));
	return n == 0 && hit == 0 ? SHOWN : PARTLY;
}

static enum state
judge_images(const json_t *b, char detail[static DETAIL_LEN])
{
	int64_t all = sum(b, "instances", "all"), n = sum(b, "instances", "withImage");

	snprintf(detail, DETAIL_LEN,
	    "the image's digest is known of %" PRId64 " of %" PRId64 " instances", n, all);
	return of_all(n, all);
}

static const struct fact facts[] = {
	{ "inventory", "the workloads and their instances are listed", judge_inventory },
	{ "flow-map", "who talks to whom is known from the kernel's connection tracking",
	    judge_diagram },
	{ "approvals", "each allowed connection was approved by a person, with a reason",
	    judge_approvals },
	{ "default-deny", "what is not approved is dropped", judge_default_deny },
	{ "loaded-rules", "the rules in the kernel are those of the policy", judge_loaded },
	{ "tamper-resistance", "a workload cannot remove or bypass its rules", judge_tamper },
	{ "drift", "changes of loaded rules are found and repaired", judge_drift },
	{ "change-control", "each change of the policy is a numbered revision", judge_changes },
	{ "audit-log", "administrative actions are in a hash-chained log", judge_audit },
	{ "log-copy", "the audit log's head is kept elsewhere", judge_copy },
	{ "denials", "refused connections are recorded", judge_denials },
	{ "outside-connections", "connections from and to the outside are limited and listed",
	    judge_outside },
	{ "exposure-windows", "times without rules are recorded", judge_exposure },
	{ "start-protection", "rules are there before a container's program", judge_start },
	{ "verification", "live probes confirm what passes and what does not", judge_verification },
	{ "review", "approvals are reviewed, expire, and are in use", judge_review },
	{ "no-loss", "nothing was missed in observing", judge_loss },
	{ "images", "the images that run are known by digest", judge_images },
};

bool
fact_exists(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
		if (strcmp(facts[i].name, name) == 0)
			return true;
	return false;
}

json_t *
facts_of(const json_t *b)
{
	json_t *ret = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(facts); i++) {
		char detail[DETAIL_LEN];
		enum state s = facts[i].judge(b, detail);

		json_object_set_new(ret, facts[i].name,
		    json_pack("{s:s, s:s, s:s}", "state", state_names[s], "title", facts[i].title,
			"detail", detail));
	}
	return ret;
}
