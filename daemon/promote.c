/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Automatic segmentation: a workload gets the edges seen so far approved and the configured mode.
 * Off by default. What it waits for is a list of reasons; when there is none it is promoted. A
 * workload whose mode a person has chosen is left alone, and so is one that was promoted before.
 *
 * By the clock the observation period is all: time that the daemon or the workload was away does
 * not count, nor does the clock's time of day. By evidence the period is only the beginning.
 * Learning has to be complete (rules/complete.h), nothing may wait for a person, everyone around
 * has to have run; then comes audit, and once that was quiet for long enough, enforce: after a
 * notice, inside a window of the week, one workload at a time, and for good only if nothing is
 * refused at first that went through before.
 *
 * Either way: one that has not been seen to talk to anybody is never promoted, nor is a direction
 * in which nothing was seen, for silence is no reason to refuse everything; edges with a flag are a
 * person's, and after a rollback nothing of the project is promoted until a person has set the mode
 * of what was rolled back.
 */
#include "daemon/alert.h"
#include "daemon/api.h"
#include "daemon/denial.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/kin.h"
#include "daemon/log.h"
#include "daemon/promote.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"
#include "daemon/segment.h"

#include "rules/timefmt.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RETRY_NS (60 * NSEC_PER_SEC)
#define LOOK_NS (5 * NSEC_PER_SEC)
#define FRESH_NS (30 * NSEC_PER_SEC)	     /* of completeness */
#define CONFIRM_SPARE_NS (15 * NSEC_PER_SEC) /* or a quarter of it */
#define NAMED_MAX 3
#define WHY_MAX 1024
#define WAITING "waiting: "

const struct actor promotion_actor = { .name = "promotion" };

/* What edges and denials say of one peer. */
struct sight {
	size_t flagged, seen_in, seen_out;
	uint64_t
	    audited_ns; /* CLOCK_REALTIME, the last time that something would have been refused */
};

struct reasons {
	char text[WHY_MAX];
	size_t len;
	size_t n;
};

static void _printf_(2, 3) add(struct reasons *r, const char *fmt, ...)
{
	const char *sep = r->n++ == 0 ? "" : ", ";
	size_t room = sizeof(r->text) - r->len;
	va_list args;
	int n;

	r->len += (size_t)MIN(snprintf(r->text + r->len, room, "%s", sep), (int)room - 1);
	room = sizeof(r->text) - r->len;
	va_start(args, fmt);
	n = vsnprintf(r->text + r->len, room, fmt, args);
	va_end(args);
	r->len += (size_t)MIN(MAX(n, 0), (int)room - 1);
}

static const char *
safe_name(const struct workload *w, char buf[static PEER_STRLEN])
{
	text_escape(w->name, strlen(w->name), buf, PEER_STRLEN);
	return buf;
}

/* Only "3d" of "3d4h5m". */
static const char *
coarse(uint64_t ns, char buf[static DURATION_STRLEN])
{
	static const uint64_t units[] = { 86400 * NSEC_PER_SEC, 3600 * NSEC_PER_SEC,
		60 * NSEC_PER_SEC, NSEC_PER_SEC };

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (ns >= units[i])
			return duration_format(ns / units[i] * units[i], buf);
	return duration_format(0, buf);
}

static bool
by_evidence(const struct controller *c)
{
	return c->config->promote_by == PROMOTE_BY_EVIDENCE;
}

/* Of one that evidence has brought to audit, and that is to go on. */
static bool
is_halfway(const struct controller *c, const struct workload *w)
{
	return by_evidence(c) && c->config->promote == PROMOTE_ENFORCE && w->auto_promoted &&
	       w->mode == MODE_AUDIT && w->mode_by != NULL &&
	       strcmp(w->mode_by, promotion_actor.name) == 0;
}

static bool
is_candidate(const struct controller *c, const struct workload *w)
{
	if (w->instances == NULL || !workload_selected(c, w->name) || w->rolled_back)
		return false;
	if (is_halfway(c, w))
		return true;
	return w->mode == MODE_OBSERVE && !w->auto_promoted && w->mode_reason == NULL;
}

static struct sight *
look_around(const struct controller *c)
{
	struct sight *ret = calloc(peer_table_count(c->peers) + 2, sizeof(*ret));
	const struct denial *d;
	const struct edge *e;
	size_t pos = 0;

	while (ret != NULL && (e = edge_table_next(c->edges, &pos)) != NULL) {
		if (e->state == EDGE_PENDING && e->flags != 0) {
			ret[e->key.from].flagged++;
			ret[e->key.to].flagged += e->key.to != e->key.from;
		} else if (e->state != EDGE_DENIED && e->evidence.first_seen_ns != 0) {
			ret[e->key.from].seen_out++;
			ret[e->key.to].seen_in++;
		}
	}
	pos = 0;
	while (ret != NULL && (d = denial_next(c->denials, &pos)) != NULL) {
		if (d->kind != FLOW_AUDITED)
			continue;
		ret[d->key.from].audited_ns = MAX(ret[d->key.from].audited_ns, d->last_ns);
		ret[d->key.to].audited_ns = MAX(ret[d->key.to].audited_ns, d->last_ns);
	}
	return ret;
}

static bool
is_observed(const struct workload *w)
{
	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload)
		if (i->attach != ATTACH_DONE)
			return false;
	return true;
}

/* Without a project they are one. */
static bool
same_project(const struct workload *a, const struct workload *b)
{
	return strcmp(a->project, b->project) == 0;
}

static const struct workload *
rolled_back_in(const struct controller *c, const struct workload *w)
{
	for (const struct workload *o = c->workloads; o != NULL; o = o->next)
		if (o->rolled_back && same_project(o, w))
			return o;
	return NULL;
}

/* What it is promoted for: of what audit looks on at already, or else is configured. */
static unsigned
directions_seen(const struct controller *c, const struct workload *w, const struct sight *s)
{
	unsigned of = is_halfway(c, w) ? w->direction : c->config->promote_direction;

	return of & ((s->seen_in > 0 ? WL_INGRESS : 0u) | (s->seen_out > 0 ? WL_EGRESS : 0u));
}

/* The one that is not; NULL: both are. */
static const char *
left_open(const struct controller *c, unsigned promoted)
{
	unsigned left = c->config->promote_direction & ~promoted;

	return left == 0 ? NULL : left == WL_INGRESS ? "ingress" : "egress";
}

/* What holds, by the clock as well. */
static void
add_common(
    const struct controller *c, const struct workload *w, const struct sight *s, struct reasons *r)
{
	uint64_t period = c->config->observation_period_ns;
	const struct workload *back = rolled_back_in(c, w);
	char name[PEER_STRLEN], is[DURATION_STRLEN], of[DURATION_STRLEN];

	if (back != NULL)
		add(r, "%.200s was rolled back", safe_name(back, name));
	/* To agree to another image is a person's. */
	if (workload_has_other_image(w))
		add(r, "another image is to be accepted");
	if (quarantine_of_workload(c, w) != NULL)
		add(r, "it is quarantined");
	if (!is_observed(w))
		add(r, "not all of its containers can be observed");
	if (w->observed_ns < period)
		add(r, "%s of %s observed", coarse(w->observed_ns, is),
		    duration_format(period, of));
	if (directions_seen(c, w, s) == 0)
		add(r, "it has not been seen to talk to anybody");
}

static void
add_missing(const struct kin *kin, const struct workload *w, struct reasons *r)
{
	const char *missing[NAMED_MAX];
	size_t n = kin_missing(kin, w, SIZE_MAX, missing, NAMED_MAX);
	char name[PEER_STRLEN];

	for (size_t i = 0; i < MIN(n, (size_t)NAMED_MAX); i++) {
		text_escape(missing[i], strlen(missing[i]), name, sizeof(name));
		add(r, "%.200s has not run yet", name);
	}
	if (n > NAMED_MAX)
		add(r, "nor have %zu others", n - NAMED_MAX);
}

/* Loss does not only leave a window out: as long as the period has any, it says too little. */
static void
add_loss(const struct controller *c, const struct workload *w, struct reasons *r)
{
	uint64_t now = now_real(), is = now > w->missed_ns ? now - w->missed_ns : 0;
	uint64_t of = c->config->observation_period_ns;
	char a[DURATION_STRLEN], b[DURATION_STRLEN];

	if (w->missed_ns != 0 && is < of)
		add(r, "%s of %s without loss", coarse(is, a), duration_format(of, b));
}

static void
add_evidence(const struct controller *c, const struct kin *kin, const struct workload *w,
    const struct sight *s, struct reasons *r)
{
	const char *why = complete_why_not(&w->complete);
	unsigned limit = c->config->promote_chance;

	if (s->flagged > 0)
		add(r, "%zu flagged edge%s", s->flagged, s->flagged == 1 ? "" : "s");
	add_missing(kin, w, r);
	add_loss(c, w, r);
	if (why != NULL)
		add(r, "%s", why);
	else if (w->complete.chance_high * 100 > limit)
		add(r, "a new edge comes in up to %.1f%% of the %ss, %u%% are allowed",
		    w->complete.chance_high * 100, w->complete.in_runs ? "run" : "hour", limit);
}

/*
 * For how long has nothing been there that audit would refuse, and nothing been missed? A clock
 * that jumps ahead does not make it longer: only what this daemon has looked on at counts, by the
 * clock that does not jump.
 */
static uint64_t
quiet_for(const struct controller *c, struct workload *w, const struct sight *s)
{
	uint64_t since =
	    MAX(MAX(w->mode_since_ns, s->audited_ns), MAX(w->lost_ns, c->reports_lost_ns));
	uint64_t now = now_real(), mono = now_mono(), is = now > since ? now - since : 0;

	if (w->quiet.since_ns != since) {
		/* At the last look it was another one. */
		w->quiet.before_ns =
		    w->quiet.since_ns == 0 ? 0 : MIN(is, mono - w->quiet.looked_ns);
		w->quiet.since_ns = since;
		w->quiet.seen_ns = mono;
	}
	w->quiet.looked_ns = mono;
	return MIN(is, w->quiet.before_ns + mono - w->quiet.seen_ns);
}

static void
add_quiet(const struct controller *c, uint64_t is, struct reasons *r)
{
	uint64_t of = c->config->quiet_audit_ns;
	char a[DURATION_STRLEN], b[DURATION_STRLEN];

	if (is < of)
		add(r, "quiet in audit for %s of %s", coarse(is, a), duration_format(of, b));
}

static bool
is_in_window(const struct config_window *win, uint64_t real_ns)
{
	time_t t = (time_t)(real_ns / NSEC_PER_SEC);
	unsigned minute, day;
	struct tm tm;

	if (win->days == 0)
		return true;
	gmtime_r(&t, &tm);
	day = (unsigned)(tm.tm_wday + 6) % 7;
	minute = (unsigned)(tm.tm_hour * 60 + tm.tm_min);
	return (win->days >> day & 1) != 0 && minute >= win->from_min && minute < win->to_min;
}

static const struct workload *
announced_in(const struct controller *c, const struct workload *w)
{
	for (const struct workload *o = c->workloads; o != NULL; o = o->next)
		if (o != w && o->promote_at_ns != 0 && same_project(o, w))
			return o;
	return NULL;
}

/* Is it its time: announced long enough ago, inside the window, nobody else under way? */
static void
add_time(struct controller *c, struct workload *w, struct reasons *r)
{
	const struct workload *other = announced_in(c, w);
	char name[PEER_STRLEN], in[DURATION_STRLEN];
	uint64_t now = now_mono();

	if (other != NULL && w->promote_at_ns == 0) {
		add(r, "%.200s comes first", safe_name(other, name));
		return;
	}
	if (w->promote_at_ns == 0) {
		w->promote_at_ns = now + c->config->promote_notice_ns;
		log_info("workload %s: will be enforced in %s, unless a person sets its mode",
		    safe_name(w, name), duration_format(c->config->promote_notice_ns, in));
	}
	if (now < w->promote_at_ns)
		add(r, "announced, %s to go", coarse(w->promote_at_ns - now, in));
	if (!is_in_window(&c->config->promote_window, now_real()))
		add(r, "the window is %s UTC", c->config->promote_window.text);
}

/* What it waits for; none: now. */
static void
find_reasons(struct controller *c, const struct kin *kin, struct workload *w, const struct sight *s,
    struct reasons *r)
{
	uint64_t quiet = quiet_for(c, w, s);

	add_common(c, w, s, r);
	if (by_evidence(c))
		add_evidence(c, kin, w, s, r);
	if (is_halfway(c, w))
		add_quiet(c, quiet, r);
	if (r->n == 0 && is_halfway(c, w))
		add_time(c, w, r);
	else
		w->promote_at_ns = 0;
	if (r->n == 0 && c->confirm.pending)
		add(r, "a change awaits confirmation");
}

static int
act(struct controller *c, struct workload *w, const struct sight *s)
{
	bool halfway = is_halfway(c, w);
	/* By evidence audit comes first, whatever follows. */
	enum wl_mode mode = halfway || (!by_evidence(c) && c->config->promote == PROMOTE_ENFORCE)
				? MODE_ENFORCE
				: MODE_AUDIT;
	const char *why = halfway	   ? "quiet in audit"
			  : by_evidence(c) ? "learning is complete"
					   : "observation period over";
	unsigned direction = directions_seen(c, w, s);
	const char *left = left_open(c, direction);
	struct diag d = { 0 };
	char safe[PEER_STRLEN], reason[128];
	size_t approved;
	int r;

	snprintf(reason, sizeof(reason), "%s%s%s%s", why, left != NULL ? "; its " : "",
	    left != NULL ? left : "", left != NULL ? " stays open" : "");
	r = segment_promote(c, w, mode, (enum wl_direction)direction,
	    halfway ? c->config->promote_confirm_ns : 0, reason, &d, &approved);
	if (r < 0) {
		c->promote_retry_ns = now_mono() + RETRY_NS;
		log_error("promotion, trying again in a minute: %s",
		    d.msg[0] != '\0' ? d.msg : strerror(-r));
		return r;
	}
	w->promote_at_ns = 0;
	log_info("workload %s: %s: %zu edges approved, mode %s, %s", safe_name(w, safe), reason,
	    approved, mode_name(mode), direction_name(w->direction));
	return 0;
}

/* NULL: nothing. */
static void
set_why(struct workload *w, const char *text)
{
	free(w->promotion);
	w->promotion = text != NULL ? strdup(text) : NULL;
}

/* A promotion stands once the time to confirm is over and nothing was refused that used to pass. */
static void
confirm_own(struct controller *c)
{
	const struct confirm *f = &c->confirm;
	struct diag d = { 0 };
	int r;

	if (!f->pending || strcmp(f->by, promotion_actor.name) != 0 || f->refused > 0 ||
	    f->spiked || c->reports_lost_ns >= f->made_ns ||
	    now_mono() + MIN(CONFIRM_SPARE_NS, f->window_ns / 4) < f->deadline_ns ||
	    now_mono() < c->promote_retry_ns)
		return;
	r = confirm_accept(
	    c, f->revision, "nothing was refused that went through before", &promotion_actor, &d);
	if (r < 0)
		log_error("promotion: %s", d.msg[0] != '\0' ? d.msg : strerror(-r));
}

/* Of one that is none, or no longer. */
static void
say_rest(const struct controller *c, struct workload *w)
{
	bool by_itself = w->auto_promoted && w->mode != MODE_OBSERVE && w->mode_by != NULL &&
			 strcmp(w->mode_by, promotion_actor.name) == 0;
	const char *left = by_itself ? left_open(c, w->direction) : NULL;
	char text[128];

	if (w->rolled_back) {
		set_why(w, "stopped: its promotion was rolled back, a person has to set its mode");
	} else if (left != NULL) {
		snprintf(text, sizeof(text),
		    "promoted for %s alone: its %s stays open until a person sets its mode",
		    direction_name(w->direction), left);
		set_why(w, text);
	} else {
		set_why(w, NULL);
	}
}

static bool
any_candidate(struct controller *c)
{
	bool any = false;

	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		if (c->config->promote != PROMOTE_OFF && is_candidate(c, w)) {
			any = true;
			continue;
		}
		say_rest(c, w);
		w->promote_at_ns = 0;
	}
	return any;
}

void
promote_tick(struct controller *c)
{
	_cleanup_free_ struct sight *sights = NULL;
	_cleanup_(kin_freep) struct kin *kin = NULL;
	uint64_t now = now_mono();

	if (c->capture.nflog_lost != c->reports_lost) {
		c->reports_lost = c->capture.nflog_lost;
		c->reports_lost_ns = now_real();
	}
	confirm_own(c);
	if (!c->scanned || now < c->promote_retry_ns ||
	    (by_evidence(c) && now - c->promote_looked_ns < LOOK_NS) || !any_candidate(c))
		return;
	c->promote_looked_ns = now;
	sights = look_around(c);
	if (sights == NULL || kin_new(c, &kin) < 0 ||
	    (by_evidence(c) && complete_update(c, FRESH_NS) < 0))
		return;
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		struct reasons r = { .text = WAITING, .len = sizeof(WAITING) - 1 };

		if (!is_candidate(c, w))
			continue;
		find_reasons(c, kin, w, &sights[w->peer], &r);
		set_why(w, r.n > 0 ? r.text : NULL);
		if (r.n > 0)
			continue;
		if (act(c, w, &sights[w->peer]) < 0)
			return;
		say_rest(c, w);
	}
}

json_t *
promote_to_json(const struct workload *w)
{
	uint64_t now = now_mono();

	if (w->promotion == NULL)
		return json_null();
	return json_pack("{s:o, s:o}", "why", json_text(w->promotion), "at",
	    w->promote_at_ns > now ? json_time(now_real() + w->promote_at_ns - now) : json_null());
}
