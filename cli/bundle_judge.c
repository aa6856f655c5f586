/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is concluded from a bundle: sums, what a reviewer has to look at (exceptions), and which
 * approvals are due. Nothing here says that something complies with anything.
 */
#include "cli/bundle.h"

#include "cli/loss.h"
#include "cli/show.h"
#include "rules/addr.h"
#include "rules/json.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAY_NS (86400 * NSEC_PER_SEC)
#define MANY_PORTS 100
#define MAX_EXCEPTIONS 50000

static void
count(json_t *o, const char *key, int64_t more)
{
	json_object_set_new(o, key, json_integer(show_add(show_int(o, key, 0), more)));
}

static void
add_exception(
    json_t *list, const char *kind, const char *workload, const json_t *edge, const char *detail)
{
	char subject[2100], port[SHOW_PORT_LEN];

	if (json_array_size(list) >= MAX_EXCEPTIONS)
		return;
	if (edge != NULL)
		snprintf(subject, sizeof(subject), "%.1000s to %.1000s %s",
		    show_peer(show_text(edge, "from", "?")), show_peer(show_text(edge, "to", "?")),
		    show_port(edge, port));
	json_array_append_new(
	    list, json_pack("{s:s, s:s?, s:s?, s:o, s:s}", "kind", kind, "workload", workload,
		      "edge", edge != NULL ? show_text(edge, "id", NULL) : NULL, "subject",
		      edge != NULL ? json_text(subject) : json_string(workload), "detail", detail));
}

static bool
is_broad(const char *peer)
{
	struct prefix p;

	if (strcmp(peer, "internet") == 0 || strcmp(peer, "multicast") == 0)
		return true;
	if (strncmp(peer, "cidr:", 5) != 0 || prefix_parse(peer + 5, &p) < 0)
		return false;
	return p.len < (p.addr.family == 6 ? 48 : 16);
}

static int64_t
port_count(const json_t *edge)
{
	unsigned lo, hi;

	if (sscanf(show_text(edge, "ports", ""), "%5u-%5u", &lo, &hi) != 2 || hi < lo)
		return 1;
	return (int64_t)hi - lo + 1;
}

static bool
by_nobody(const json_t *edge)
{
	const char *who = show_text(edge, "approvedBy", "");

	return show_has(show_in(edge, "flags"), "auto") || strcmp(who, "promotion") == 0;
}

static void
judge_edge(json_t *list, const json_t *e)
{
	const char *from = show_text(e, "from", "?"), *to = show_text(e, "to", "?");

	if (is_broad(from))
		add_exception(list, "broad-source", NULL, e, from);
	if (is_broad(to))
		add_exception(list, "broad-destination", NULL, e, to);
	if (port_count(e) > MANY_PORTS)
		add_exception(list, "many-ports", NULL, e, show_text(e, "ports", "?"));
	if (strcmp(from, "host") == 0)
		add_exception(
		    list, "from-host", NULL, e, "admits whoever reaches a published port");
	if (by_nobody(e))
		add_exception(list, "no-person", NULL, e, "promoted, not approved by a person");
	else if (show_text(e, "reason", "")[0] == '\0')
		add_exception(list, "no-reason", NULL, e, "approved without a reason");
	if (show_text(e, "expires", NULL) != NULL)
		add_exception(list, "time-limited", NULL, e, show_text(e, "expires", ""));
}

static void
judge_images(json_t *list, const json_t *w)
{
	const json_t *instances = show_in(w, "instances"), *i, *o;
	char text[400];
	size_t n;

	json_array_foreach(instances, n, i)
	{
		for (size_t k = 0; (o = bundle_container(i, k)) != NULL; k++) {
			if (!json_is_false(show_in(o, "imageApproved")))
				continue;
			snprintf(text, sizeof(text), "instance %.64s runs %.200s %.71s",
			    show_text(i, "id", "?"),
			    show_text(o, "image", "an image without a name"),
			    show_text(o, "imageId", "of no known digest"));
			add_exception(
			    list, "unapproved-image", show_text(w, "name", "?"), NULL, text);
		}
	}
}

static void
judge_loss(json_t *list, const json_t *w)
{
	char n[LOSS_COUNT_LEN], sources[LOSS_SOURCES_LEN], windows[LOSS_WINDOWS_LEN], text[600];
	const char *name = show_text(w, "name", "?");

	loss_sources_text(w, sources);
	snprintf(text, sizeof(text), "%s lost%s%s", loss_count_text(w, n),
	    sources[0] != '\0' ? ": " : "", sources);
	if (loss_is_known(w))
		add_exception(list, "loss", name, NULL, text);
	if (loss_windows(w) > 0)
		add_exception(list, "incomplete", name, NULL, loss_windows_text(w, windows));
}

static void
judge_workload(json_t *list, const json_t *w)
{
	const char *name = show_text(w, "name", "?"), *mode = show_text(w, "mode", "?");
	const char *grade = show_text(w, "enforceable", "?");

	if (strcmp(mode, "enforce") != 0)
		add_exception(list, "not-enforced", name, NULL, mode);
	else if (strcmp(show_text(w, "direction", "both"), "both") != 0)
		add_exception(list, "one-direction", name, NULL, show_text(w, "direction", "?"));
	if (strcmp(grade, "full") != 0)
		add_exception(
		    list, "not-fully-enforceable", name, NULL, show_text(w, "why", grade));
	if (json_is_object(json_object_get(w, "quarantine")))
		add_exception(list, "quarantine", name, NULL, "held");
	judge_images(list, w);
	judge_loss(list, w);
}

static bool
is_state(const json_t *e, const char *state)
{
	return strcmp(show_text(e, "state", ""), state) == 0;
}

/* When the approval ends, or is to be looked at again: whichever is first. 0: never. */
static uint64_t
due_ns(const json_t *e)
{
	uint64_t expires = bundle_time(e, "expires"), again = bundle_time(e, "recertifyBy");

	return expires == 0 || (again != 0 && again < expires) ? again : expires;
}

static void
judge_review(json_t *review, const json_t *e, uint64_t now)
{
	uint64_t due = due_ns(e), seen = bundle_time(e, "lastSeen");
	uint64_t first = bundle_time(e, "firstSeen");
	const char *id = show_text(e, "id", NULL), *list = NULL;

	if (is_state(e, "approved")) {
		if (due != 0 && due <= now)
			list = "overdue";
		else if (due != 0 && due - now <= BUNDLE_SOON_DAYS * DAY_NS)
			list = "soon";
		else if (seen == 0 || (now > seen && now - seen > BUNDLE_STALE_DAYS * DAY_NS))
			list = "stale";
	} else if (is_state(e, "pending") && first != 0 && now > first &&
		   now - first > BUNDLE_STALE_DAYS * DAY_NS) {
		list = "undecided";
	}
	if (list != NULL && id != NULL)
		json_array_append_new(json_object_get(review, list), json_string(id));
}

static bool
is_external(const char *peer)
{
	return strcmp(peer, "internet") == 0 || strncmp(peer, "cidr:", 5) == 0 ||
	       strncmp(peer, "fqdn:", 5) == 0 || strncmp(peer, "network:", 8) == 0;
}

static void
sum_edge(json_t *s, const json_t *e)
{
	json_t *edges = json_object_get(s, "edges");

	count(edges, show_text(e, "state", "pending"), 1);
	if (!is_state(e, "approved"))
		return;
	if (by_nobody(e))
		count(edges, "approvedByNobody", 1);
	if (is_external(show_text(e, "from", "")))
		count(edges, "approvedFromOutside", 1);
	if (is_external(show_text(e, "to", "")))
		count(edges, "approvedToOutside", 1);
}

/* Of a pod, each container's. */
static bool
has_images(const json_t *instance)
{
	const json_t *o;

	for (size_t k = 0; (o = bundle_container(instance, k)) != NULL; k++)
		if (show_text(o, "imageId", NULL) == NULL)
			return false;
	return true;
}

static void
sum_instance(json_t *s, const json_t *w, const json_t *i, int64_t revision)
{
	json_t *o = json_object_get(s, "instances");
	bool enforced = strcmp(show_text(w, "mode", ""), "enforce") == 0;

	count(o, "all", 1);
	count(json_object_get(s, "starts"), show_text(show_in(i, "start"), "kind", "unknown"), 1);
	if (has_images(i))
		count(o, "withImage", 1);
	if (!enforced)
		return;
	count(o, "enforced", 1);
	if (show_text(i, "rulesetDigest", NULL) != NULL)
		count(o, "loaded", 1);
	if (show_int(i, "appliedRevision", -1) == revision)
		count(o, "current", 1);
}

static void
sum_workload(json_t *s, const json_t *w, int64_t revision)
{
	json_t *o = json_object_get(s, "workloads");
	const json_t *list = show_in(w, "instances");

	count(o, "all", 1);
	count(o, show_text(w, "mode", "observe"), 1);
	if (strcmp(show_text(w, "enforceable", ""), "full") == 0)
		count(o, "fullyEnforceable", 1);
	count(s, "drift", show_int(w, "drift", 0));
	count(s, "lost", loss_count(w));
	count(s, "incompleteWindows", loss_windows(w));
	if (loss_is_known(w) || loss_windows(w) > 0)
		count(o, "withLoss", 1);
	for (size_t i = 0; i < json_array_size(list); i++)
		sum_instance(s, w, json_array_get(list, i), revision);
}

static json_t *
new_summary(void)
{
	return json_pack("{s:{s:i, s:i, s:i, s:i, s:i, s:i}, s:{s:i, s:i, s:i, s:i, s:i}, s:{}, "
			 "s:{s:i, s:i, s:i, s:i, s:i, s:i}, s:i, s:i, s:i, s:i, s:i}",
	    "workloads", "all", 0, "observe", 0, "audit", 0, "enforce", 0, "fullyEnforceable", 0,
	    "withLoss", 0, "instances", "all", 0, "withImage", 0, "enforced", 0, "loaded", 0,
	    "current", 0, "starts", "edges", "approved", 0, "pending", 0, "denied", 0,
	    "approvedByNobody", 0, "approvedFromOutside", 0, "approvedToOutside", 0, "drift", 0,
	    "lost", 0, "incompleteWindows", 0, "denials", 0, "exposureWindows", 0);
}

/* What the host has lost; the reports that workloads have lost are among it. */
static void
sum_losses(json_t *s, const json_t *b)
{
	json_t *losses = json_object_get(b, "losses"), *o;
	int64_t reports = 0, host = show_add(show_int(losses, "reports", 0),
				 show_int(losses, "captureUnsent", 0));
	const char *key;
	size_t i;

	json_object_foreach(losses, key, o) count(s, "lost", json_integer_value(o));
	json_array_foreach(json_object_get(b, "workloads"), i, o) reports =
	    show_add(reports, loss_reports(o));
	count(s, "lost", -MAX(MIN(reports, host), (int64_t)0));
}

int
bundle_judge(json_t *b)
{
	json_t *exceptions = json_array(), *s = new_summary(), *o;
	json_t *review = json_pack("{s:i, s:[], s:[], s:[], s:[]}", "staleAfterDays",
	    BUNDLE_STALE_DAYS, "overdue", "soon", "stale", "undecided");
	int64_t revision = show_int(b, "revision", 0);
	uint64_t now = bundle_until(b);
	size_t i;

	json_array_foreach(json_object_get(b, "workloads"), i, o)
	{
		judge_workload(exceptions, o);
		sum_workload(s, o, revision);
	}
	json_array_foreach(json_object_get(b, "edges"), i, o)
	{
		if (is_state(o, "approved"))
			judge_edge(exceptions, o);
		judge_review(review, o, now);
		sum_edge(s, o);
	}
	json_array_foreach(json_object_get(b, "denials"), i, o)
	    count(s, "denials", show_int(o, "count", 0));
	sum_losses(s, b);
	count(s, "exposureWindows", (int64_t)json_array_size(json_object_get(b, "exposure")));
	return json_object_set_new(b, "summary", s) < 0 ||
		       json_object_set_new(b, "exceptions", exceptions) < 0 ||
		       json_object_set_new(b, "review", review) < 0
		   ? -ENOMEM
		   : 0;
}
