/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much of what each workload does is known (rules/complete.h): the hours in which it ran, those
 * in which something may have been missed, and from both and its edges what may still come.
 *
 * An hour is broken for a workload that lost events or reports, could not be attached to or have
 * its connection table read, began before it was watched, had that table under pressure or an edge
 * that found no place, and where it is not known what happened: when this daemon, or its warden,
 * found it running.
 */
#include "daemon/alert.h"
#include "daemon/api.h"
#include "daemon/instance.h"
#include "daemon/kin.h"
#include "daemon/msg.h"
#include "daemon/network_list.h"
#include "daemon/promote.h"
#include "daemon/roster.h"
#include "daemon/start.h"
#include "rules/complete.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MISSING_MAX 20 /* are named */
#define ATTACH_SLOW_NS (5 * NSEC_PER_SEC)

static uint32_t
hour_of(uint64_t real_ns)
{
	return (uint32_t)(real_ns / COMPLETE_HOUR_NS);
}

static void
mark(struct workload *w, uint64_t real_ns, unsigned what)
{
	struct complete_hours *hours;
	struct complete_log log;

	complete_log_unfold(w->log, &log);
	if (complete_log_mark(&log, hour_of(real_ns), what)) {
		hours = complete_log_fold(&log);
		if (hours == NULL)
			return;
		free(w->log);
		w->log = hours;
		w->dirty = true;
	}
	if ((what & COMPLETE_BROKEN) != 0)
		w->lost_ns = real_ns;
}

/*
 * Found running: between what is known of it and now there may be a gap, which began in the last
 * hour that is known. What begins has none.
 */
static void
mark_found(struct workload *w, uint64_t now)
{
	bool known = w->log != NULL && w->log->begin < hour_of(now);

	if (known && w->log->head < hour_of(now))
		mark(w, w->log->head * COMPLETE_HOUR_NS, COMPLETE_BROKEN);
	mark(w, now, known ? COMPLETE_BROKEN : COMPLETE_RAN);
	w->lost_ns = now;
}

static void
mark_loss(struct workload *w, uint64_t real_ns, enum loss_source source)
{
	mark(w, real_ns, COMPLETE_BROKEN);
	w->loss_sources |= 1u << source;
}

/* Its program did something before it was watched, or may have. */
static bool
began_unseen(const struct instance *i)
{
	struct start s = start_of(i);

	return s.known && s.lead_ns < 0;
}

/* What was known stands while nothing else is: an engine may be away. */
void
complete_on_networks(struct workload *w)
{
	_cleanup_free_ char *all = NULL;
	const char *pos, *name;
	size_t n;

	for (const struct instance *i = w != NULL ? w->instances : NULL; i != NULL;
	     i = i->next_of_workload) {
		pos = i->container != NULL ? i->container->networks : "";
		while ((n = network_list_next(&pos, &name)) > 0)
			if (network_list_add(&all, name, n) < 0)
				return;
	}
	if (all == NULL || strcmp(all, w->networks) == 0)
		return;
	workload_set_text(&w->networks, all);
	w->dirty = true;
}

void
complete_on_joined(struct instance *i)
{
	complete_on_networks(i->workload);
	if (i->existing)
		mark_found(i->workload, now_real());
	else
		mark(i->workload, now_real(), COMPLETE_BEGAN);
}

void
complete_on_left(struct instance *i)
{
	if (began_unseen(i))
		mark_loss(i->workload, now_real(), LOSS_START);
	if (i->attach == ATTACH_FAILED)
		mark_loss(i->workload, now_real(), LOSS_ATTACH);
}

static const struct {
	const char *name;
	const char *text; /* of its alert; NULL: it is no surprise, or has one of its own */
	unsigned late_s;  /* it may be noticed so long after it was */
} losses[LOSS_SOURCES] = {
	[LOSS_EVENTS] = { "events", "the kernel dropped connection events: the table is read again",
	    1 },
	[LOSS_COUNTERS] = { "counters", "connections that the kernel has counted are lost", 12 },
	[LOSS_TABLE] = { "conntrackTable",
	    "conntrack's table is full, or nearly: connections may be forgotten before they are "
	    "counted",
	    12 },
	[LOSS_UNIDENTIFIED] = { "unidentified",
	    "connections whose ends were not identified in time are lost", 15 },
	[LOSS_EDGES] = { "edgeTable", "its edges find no room (maxEdges)", 0 },
	[LOSS_END] = { "end", NULL, 1 },
	[LOSS_REPORTS] = { "reports",
	    "reports of its rules are lost: refusals, attempts or questions to name servers", 2 },
	[LOSS_NAMES] = { "names", "answers of its name servers are lost", 2 },
	[LOSS_DUMP] = { "dump",
	    "its connection table cannot be read: what began before it was watched, or was dropped "
	    "since, is not known",
	    0 },
	[LOSS_START] = { "lateStart", NULL, 0 },
	[LOSS_ATTACH] = { "notAttached", NULL, 0 },
};

/* Once a second at most: a flood does this for every connection. */
static void
tell_of_loss(struct instance *i, enum loss_source source)
{
	uint64_t now = now_mono(), *told = &i->loss_told_ns[source];

	if (losses[source].text == NULL || (*told != 0 && now - *told < NSEC_PER_SEC))
		return;
	*told = now;
	alert_raise_instance(i, ALERT_LOSS, ALERT_WARNING, "%s", losses[source].text);
}

void
complete_on_loss(struct instance *i, enum loss_source source)
{
	uint64_t now = now_real(), late = losses[source].late_s * NSEC_PER_SEC;

	if (i == NULL || i->workload == NULL)
		return;
	/* The hour that has just ended, too: it was not there before it was announced. */
	late = MIN(MIN(late, now), now_mono() - i->announced_ns);
	if (hour_of(now - late) != hour_of(now))
		mark_loss(i->workload, now - late, source);
	mark_loss(i->workload, now, source);
	/* What it did last is missed whenever it ends: that window is broken, and that is all. */
	if (source != LOSS_END) {
		i->workload->missed_ns = now;
		i->workload->dirty = true;
	}
	i->ctl->completed_ns = 0; /* whoever asks next is told */
	tell_of_loss(i, source);
}

static void
reports_lost(struct instance *i, const struct cap_lost *l)
{
	/* The capture role parses hostile packets: a number of its is no more than a number. */
	i->lost_packets += MIN(l->reports, (uint64_t)UINT32_MAX);
	i->lost_packets += MIN(l->answers, (uint64_t)UINT32_MAX);
	if (l->reports > 0)
		complete_on_loss(i, LOSS_REPORTS);
	if (l->answers > 0)
		complete_on_loss(i, LOSS_NAMES);
}

void
complete_on_reports_lost(struct controller *c, struct msg *m)
{
	struct instance *i;
	struct cap_lost l;

	for (size_t at = 0; at + sizeof(l) <= m->h.body_len; at += sizeof(l)) {
		memcpy(&l, m->body + at, sizeof(l));
		i = instance_find(c, l.cookie);
		if (i != NULL)
			reports_lost(i, &l);
	}
}

const char *
complete_loss_name(enum loss_source source)
{
	return losses[source].name;
}

json_t *
complete_losses(const struct workload *w)
{
	json_t *list = json_array();

	for (unsigned k = 0; k < LOSS_SOURCES; k++)
		if ((w->loss_sources >> k & 1) != 0)
			json_array_append_new(list, json_string(losses[k].name));
	return list;
}

static bool
is_blind(const struct instance *i)
{
	return i->attach == ATTACH_FAILED ||
	       (i->attach != ATTACH_DONE && now_mono() - i->announced_ns > ATTACH_SLOW_NS);
}

void
complete_tick(struct controller *c)
{
	uint64_t now = now_real();

	for (struct instance *i = c->instances; i != NULL; i = i->next) {
		uint64_t age = now_mono() - i->announced_ns;

		if (i->workload == NULL || !workload_selected(c, i->workload->name))
			continue;
		if (!i->begin_judged && i->start_counted) {
			i->begin_judged = true;
			if (began_unseen(i))
				mark_loss(i->workload, now - MIN(age, now), LOSS_START);
		}
		mark(i->workload, now, COMPLETE_RAN);
		if (is_blind(i))
			mark_loss(i->workload, now, LOSS_ATTACH);
		if (i->dump_failures > 0)
			mark_loss(i->workload, now, LOSS_DUMP);
	}
}

void
complete_count_windows(struct controller *c)
{
	size_t pos = 0;
	struct edge *e;

	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		if (e->dirty && e->evidence.last_seen_ns != 0)
			edge_count_window(&e->evidence);
}

/* It runs now and then, and for less than half of the time. */
static bool
is_short_lived(const struct workload *w, const struct complete_log *l, uint64_t now)
{
	unsigned begun = 0;

	for (size_t i = 0; i < sizeof(l->began); i++)
		begun += (unsigned)__builtin_popcount(l->began[i]);
	return begun > 1 && w->first_seen_ns < now && w->observed_ns < (now - w->first_seen_ns) / 2;
}

static struct complete_edge
evidence_of(const struct edge *e)
{
	return (struct complete_edge){ hour_of(e->evidence.first_seen_ns),
		MAX(e->evidence.windows, 1u) };
}

int
complete_update(struct controller *c, uint64_t max_age_ns)
{
	size_t n_peers = peer_table_count(c->peers), n = 0, pos = 0;
	_cleanup_free_ struct complete_edge *list = NULL;
	_cleanup_free_ size_t *end = NULL;
	const struct edge *e;
	uint64_t now = now_real();

	if (c->completed_ns != 0 && now_mono() - c->completed_ns < max_age_ns)
		return 0;
	/* By peer: how many, then where they end. */
	end = calloc(n_peers + 2, sizeof(*end));
	list = calloc(2 * edge_table_count(c->edges) + 1, sizeof(*list));
	if (end == NULL || list == NULL)
		return -ENOMEM;
	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		if (e->evidence.first_seen_ns == 0)
			continue;
		end[e->key.from]++;
		end[e->key.to] += e->key.to != e->key.from;
	}
	for (size_t i = 0; i <= n_peers; i++) {
		n += end[i];
		end[i] = n - end[i];
	}
	pos = 0;
	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		if (e->evidence.first_seen_ns == 0)
			continue;
		list[end[e->key.from]++] = evidence_of(e);
		if (e->key.to != e->key.from)
			list[end[e->key.to]++] = evidence_of(e);
	}
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		size_t first = w->peer > 0 ? end[w->peer - 1] : 0;
		struct complete_log log;

		complete_log_unfold(w->log, &log);
		complete_estimate(&log, hour_of(now), list + first, end[w->peer] - first,
		    is_short_lived(w, &log, now), &w->complete);
	}
	c->completed_ns = now_mono();
	return 0;
}

const char *
complete_why_not(const struct completeness *k)
{
	switch (k->why) {
	case COMPLETE_CLAIMED:
		return NULL;
	case COMPLETE_TOO_SHORT:
		return k->in_runs
			   ? "it has been observed for less than two weeks, or in too few runs"
			   : "it has been observed for less than two weeks";
	case COMPLETE_UNCOVERED:
		return "not every hour of the week has been observed without a gap";
	case COMPLETE_LOSSY:
		return "too much may have been missed lately";
	case COMPLETE_GROWING:
		return "new edges keep coming";
	}
	return "not known";
}

static json_t *
json_number(double v)
{
	return isnan(v) ? json_null() : json_real(v);
}

static json_t *
json_whole(double v)
{
	return isnan(v) ? json_null() : json_integer((json_int_t)v);
}

json_t *
complete_to_json(const struct kin *kin, const struct workload *w)
{
	const struct completeness *k = &w->complete;
	const char *missing[MISSING_MAX];
	size_t n = kin_missing(kin, w, MISSING_MAX, missing, MISSING_MAX);
	const char *why = complete_why_not(k);
	json_t *names = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(names, json_text(missing[i]));
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:s, s:I, s:I, s:I, s:o, s:o}",
	    "newEdgeChance", json_number(k->chance), "newEdgeChanceHigh",
	    json_number(k->chance_high), "unseenAtLeast", json_whole(k->at_least), "unseenHigh",
	    json_whole(k->unseen_high), "windows", (json_int_t)k->windows, "incompleteWindows",
	    (json_int_t)k->incomplete_windows, "windowKind", k->in_runs ? "run" : "hour", "weeks",
	    (json_int_t)k->weeks, "hoursOfWeek", (json_int_t)k->hours_covered, "newLately",
	    (json_int_t)k->new_lately, "why", why != NULL ? json_string(why) : json_null(),
	    "notRunYet", names);
}
