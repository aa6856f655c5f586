/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See activity.h. The looks at edges and denials are walks over both tables, as flush.c makes them;
 * the time between two is taken from the clock that does not jump.
 *
 * A scan is many places at once that were never asked before and gave no answer: denials and
 * attempts that came to be in the last period, each of them another place. What is tried again and
 * again is one place.
 */
#include "daemon/activity.h"
#include "daemon/denial.h"
#include "daemon/roster.h"

#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/log.h"
#include "rules/json.h"
#include "rules/timefmt.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define USUAL_PERIODS 240 /* four hours of minutes */
#define NEW_PEERS_NS (86400 * NSEC_PER_SEC)
#define LOG_EVERY_NS (600 * NSEC_PER_SEC) /* of a workload and kind */
#define LOG_MAX 10			  /* at a look, of all together */

/* What is unusual. */
#define NOISY_AFTER 3	 /* periods: what it begins with is not held against it */
#define NOISY_RATE 50.0	 /* a second */
#define NOISY_TIMES 10.0 /* of what is usual */
#define BURST_RATE 2.0	 /* refused a second, over a period */
#define SCAN_PLACES 30u	 /* in a period */

/* What happened since the last look, by peer. */
struct sum {
	uint64_t out, in, refused;
	uint32_t new_peers, new_names, places;
	const struct edge *example, *name;
};

static const struct {
	const char *name;
	enum alert_kind alert;
} kinds[ANOMALY_KINDS] = {
	[ANOMALY_NOISY] = { "noisyNeighbour", ALERT_NOISY },
	[ANOMALY_NEW_PEER] = { "newPeer", ALERT_NEW_PEER },
	[ANOMALY_NEW_NAME] = { "newName", ALERT_NEW_NAME },
	[ANOMALY_DENIAL_BURST] = { "denialBurst", ALERT_DENIAL_BURST },
	[ANOMALY_SCAN] = { "scan", ALERT_SCAN },
};

static bool
is_workload(const struct controller *c, peer_id id)
{
	return peer_get(c->peers, id)->kind == PEER_WORKLOAD;
}

static void
add_new(struct controller *c, struct sum *s, const struct edge *e)
{
	if (peer_get(c->peers, e->key.to)->kind == PEER_FQDN) {
		s->new_names++;
		s->name = e;
	} else {
		s->new_peers++;
		s->example = e;
	}
}

static void
look_at_edges(struct controller *c, struct sum *sums)
{
	size_t pos = 0;
	struct edge *e;

	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		uint64_t had = edge_connections(e), more = had - MIN(had, e->sampled);

		if (more == 0)
			continue;
		sums[e->key.from].out += more;
		sums[e->key.to].in += more;
		/* What nobody has decided about, and that was not there. */
		if (e->sampled == 0 && e->state == EDGE_PENDING) {
			add_new(c, &sums[e->key.from], e);
			if (e->key.to != e->key.from)
				add_new(c, &sums[e->key.to], e);
		}
		e->sampled = had;
	}
}

static void
look_at_denials(struct controller *c, struct sum *sums)
{
	uint64_t now = now_real(), period = c->config->activity_period_ns;
	struct denial *d;
	size_t pos = 0;

	while ((d = denial_next_mutable(c->denials, &pos)) != NULL) {
		uint64_t more = d->count - MIN(d->count, d->sampled);
		/* It is told as one when it has waited for so long. */
		uint64_t wait = d->kind == FLOW_ATTEMPT ? ATTEMPT_WAIT_NS : 0;
		/* What no look has seen yet counts at one: it may have come later than a period
		 * ends. */
		bool recent =
		    (d->sampled == 0 || d->first_ns + period + wait >= now) && d->first_ns <= now;

		d->sampled = d->count;
		if (d->kind != FLOW_ATTEMPT) {
			sums[d->key.from].refused += more;
			if (d->key.to != d->key.from)
				sums[d->key.to].refused += more;
		}
		sums[d->key.from].places += recent;
		/* Whom a stranger tries is the only one who can be named. */
		if (recent && !is_workload(c, d->key.from))
			sums[d->key.to].places++;
	}
}

/* Its peers are known, as far as that goes: new ones are news. */
static bool
has_learned(const struct controller *c, const struct workload *w)
{
	return w->mode != MODE_OBSERVE || w->observed_ns >= c->config->observation_period_ns;
}

static void _printf_(4, 5)
    report(struct workload *w, struct controller *c, enum anomaly k, const char *fmt, ...)
{
	struct activity *a = w->activity;
	uint64_t now = now_mono();
	char text[512], name[PEER_STRLEN * 4], safe[sizeof(text) * 4];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	a->seen_ns[k] = now_real();
	a->times[k]++;
	alert_raise(c, kinds[k].alert, ALERT_WARNING, w->name, NULL, "%s", text);
	if (c->activity_logs == 0 || (a->said_ns[k] != 0 && now - a->said_ns[k] < LOG_EVERY_NS))
		return;
	c->activity_logs--;
	a->said_ns[k] = now;
	text_escape(w->name, strlen(w->name), name, sizeof(name));
	text_escape(text, strlen(text), safe, sizeof(safe));
	log_warn("workload %s: %s", name, safe);
}

/* "shop/web to internet, tcp 443" */
static const char *
edge_words(const struct controller *c, const struct edge *e, char buf[static 256])
{
	char from[PEER_STRLEN], to[PEER_STRLEN];
	const char *proto = proto_name(e->key.proto);
	unsigned port = proto_is_icmp(e->key.proto) ? e->key.port_lo >> 8 : e->key.port_lo;

	snprintf(buf, 256, "%.90s to %.90s, %s %u",
	    peer_format(peer_get(c->peers, e->key.from), from),
	    peer_format(peer_get(c->peers, e->key.to), to), proto != NULL ? proto : "protocol",
	    port);
	return buf;
}

static void
judge(struct controller *c, struct workload *w, const struct sum *s, double total)
{
	uint64_t period = c->config->activity_period_ns;
	const struct activity *a = w->activity;
	double rate = a->out + a->in;
	char words[256], in[DURATION_STRLEN];

	if (has_learned(c, w) && s->new_peers > 0)
		report(w, c, ANOMALY_NEW_PEER, "a new peer after its learning ended%s: %s",
		    s->new_peers > 1 ? ", and others" : "", edge_words(c, s->example, words));
	if (has_learned(c, w) && s->new_names > 0)
		report(w, c, ANOMALY_NEW_NAME, "a new name after its learning ended%s: %s",
		    s->new_names > 1 ? ", and others" : "", edge_words(c, s->name, words));
	if (a->refused >= BURST_RATE)
		report(w, c, ANOMALY_DENIAL_BURST, "%.0f connections a second are refused",
		    a->refused);
	if (s->places >= SCAN_PLACES)
		report(w, c, ANOMALY_SCAN,
		    "%u places were tried in %s that were never asked before and gave no answer",
		    s->places, duration_format(period, in));
	if (now_mono() - a->begun_ns >= NOISY_AFTER * period && rate >= NOISY_RATE &&
	    rate >= a->usual * NOISY_TIMES && rate * 2 >= total)
		report(w, c, ANOMALY_NOISY,
		    "%.0f connections a second, usually %.1f: %.0f%% of all that there are", rate,
		    a->usual, 100 * MIN(rate / total, 1.0));
}

/* Moves the mean towards what was seen in dt seconds. */
static void
blend(double *mean, double rate, double dt, double over)
{
	*mean += (rate - *mean) * (1 - exp(-dt / over));
}

static void
update(struct activity *a, const struct sum *s, double dt, double period_s)
{
	blend(&a->out, (double)s->out / dt, dt, period_s);
	blend(&a->in, (double)s->in / dt, dt, period_s);
	blend(&a->refused, (double)s->refused / dt, dt, period_s);
}

static void
look(struct controller *c, double dt)
{
	_cleanup_free_ struct sum *sums = calloc(peer_table_count(c->peers) + 2, sizeof(*sums));
	double total = 0, period_s = (double)c->config->activity_period_ns / NSEC_PER_SEC;

	if (sums == NULL)
		return;
	look_at_edges(c, sums);
	look_at_denials(c, sums);
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		if (w->activity == NULL && (w->activity = calloc(1, sizeof(*w->activity))) != NULL)
			w->activity->begun_ns = now_mono();
		if (w->activity == NULL)
			continue;
		update(w->activity, &sums[w->peer], dt, period_s);
		total += w->activity->out;
	}
	c->activity_logs = LOG_MAX;
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		struct activity *a = w->activity;

		if (a == NULL)
			continue;
		if (workload_selected(c, w->name))
			judge(c, w, &sums[w->peer], total);
		/* Slower than what it is held against, and after it. */
		blend(&a->usual, a->out + a->in, dt,
		    MIN(USUAL_PERIODS * period_s,
			MAX(period_s, (double)(now_mono() - a->begun_ns) / NSEC_PER_SEC)));
	}
}

void
activity_tick(struct controller *c)
{
	uint64_t now = now_mono();

	if (c->activity_ns == 0) {
		c->activity_ns = now;
		return;
	}
	if (now - c->activity_ns <
	    MIN(ACTIVITY_EVERY_S * NSEC_PER_SEC, c->config->activity_period_ns))
		return;
	look(c, (double)(now - c->activity_ns) / NSEC_PER_SEC);
	c->activity_ns = now;
}

static json_t *
anomalies_to_json(const struct activity *a)
{
	json_t *list = json_array();

	for (int k = 0; k < ANOMALY_KINDS; k++)
		if (a->seen_ns[k] != 0)
			json_array_append_new(
			    list, json_pack("{s:s, s:o, s:I}", "kind", kinds[k].name, "lastSeen",
				      json_time(a->seen_ns[k]), "times", (json_int_t)a->times[k]));
	return list;
}

/* To a tenth, as it is meant. */
static json_t *
rate_to_json(double rate)
{
	return json_real(round(rate * 10) / 10);
}

json_t *
activity_to_json(struct controller *c)
{
	static const struct activity none;
	_cleanup_free_ uint32_t *fresh = calloc(peer_table_count(c->peers) + 2, sizeof(*fresh));
	uint64_t now = now_real();
	json_t *list = json_array();
	const struct edge *e;
	size_t pos = 0;

	while (fresh != NULL && (e = edge_table_next(c->edges, &pos)) != NULL) {
		if (e->evidence.first_seen_ns == 0 ||
		    e->evidence.first_seen_ns + NEW_PEERS_NS < now)
			continue;
		fresh[e->key.from]++;
		fresh[e->key.to] += e->key.to != e->key.from;
	}
	for (const struct workload *w = c->workloads; w != NULL; w = w->next) {
		const struct activity *a = w->activity != NULL ? w->activity : &none;

		if (!workload_selected(c, w->name))
			continue;
		json_array_append_new(list,
		    json_pack("{s:o, s:s, s:o, s:o, s:o, s:I, s:o}", "name", json_text(w->name),
			"mode", mode_name(w->mode), "out", rate_to_json(a->out), "in",
			rate_to_json(a->in), "refused", rate_to_json(a->refused), "newPeers",
			(json_int_t)(fresh != NULL ? fresh[w->peer] : 0), "anomalies",
			anomalies_to_json(a)));
	}
	return json_pack("{s:o}", "workloads", list);
}
