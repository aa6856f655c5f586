/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See alert.h. A subject is told of at once when it has been quiet, and what it does in the time
 * after that is told as one when the time is over. A bucket of tokens bounds all together: what
 * finds none waits with its subject, the most severe goes first. Only a subject that finds no place
 * in the table is lost; the next alert says how many were.
 */
#include "daemon/alert.h"

#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/roster.h"
#include "rules/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SUBJECTS_MAX 1024

struct subject {
	uint64_t hash; /* 0: free */
	enum alert_kind kind;
	enum alert_severity severity; /* of what waits, the worst */
	char *workload, *instance;    /* or NULL */
	char *text;		      /* of what waits, the last; NULL: nothing does */
	uint64_t count;		      /* of what waits */
	uint64_t first_ns, last_ns;   /* of what waits, CLOCK_REALTIME */
	uint64_t quiet_until_ns;      /* CLOCK_MONOTONIC */
};

struct alerts {
	uint64_t seed, quiet_ns;
	unsigned per_minute;
	double tokens;
	uint64_t filled_ns; /* CLOCK_MONOTONIC */
	uint64_t next_id;
	uint64_t lost_untold;
	struct alert_counts counts;
	struct subject subjects[SUBJECTS_MAX];
};

int
alerts_new(uint64_t quiet_ns, unsigned per_minute, uint64_t seed, struct alerts **ret)
{
	struct alerts *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	a->quiet_ns = quiet_ns;
	a->per_minute = per_minute;
	a->tokens = per_minute;
	a->seed = seed;
	a->filled_ns = now_mono();
	/* Of no daemon before this one. */
	a->next_id = now_real();
	*ret = a;
	return 0;
}

static void
subject_free(struct subject *s)
{
	free(s->workload);
	free(s->instance);
	free(s->text);
	*s = (struct subject){ 0 };
}

void
alerts_free(struct alerts *a)
{
	if (a == NULL)
		return;
	for (size_t k = 0; k < SUBJECTS_MAX; k++)
		subject_free(&a->subjects[k]);
	free(a);
}

static uint64_t
hash_text(uint64_t h, const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		h = hash_mix64(h ^ (uint8_t)*text);
	return hash_mix64(h ^ 0x100);
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The one that was there, or an empty one; NULL: there is no room. */
static struct subject *
subject_get(struct alerts *a, enum alert_kind kind, const char *workload, const char *instance,
    bool *ret_new)
{
	uint64_t hash = hash_text(hash_text(hash_mix64(a->seed ^ kind), workload), instance) | 1;
	struct subject *room = NULL;

	for (size_t k = 0; k < SUBJECTS_MAX; k++) {
		struct subject *s = &a->subjects[k];

		if (s->hash == hash && s->kind == kind && same_text(s->workload, workload) &&
		    same_text(s->instance, instance)) {
			*ret_new = false;
			return s;
		}
		/* A free one, or else the one that has been quiet for longest. */
		if (s->text == NULL && (room == NULL || s->quiet_until_ns < room->quiet_until_ns))
			room = s;
	}
	if (room == NULL || room->quiet_until_ns > now_mono())
		return NULL;
	subject_free(room);
	room->workload = workload != NULL ? strdup(workload) : NULL;
	room->instance = instance != NULL ? strdup(instance) : NULL;
	if ((workload != NULL && room->workload == NULL) ||
	    (instance != NULL && room->instance == NULL)) {
		subject_free(room);
		return NULL;
	}
	room->hash = hash;
	room->kind = kind;
	*ret_new = true;
	return room;
}

static bool
take_token(struct alerts *a)
{
	uint64_t now = now_mono();

	a->tokens += (double)(now - a->filled_ns) / (60.0 * NSEC_PER_SEC) * a->per_minute;
	a->tokens = MIN(a->tokens, a->per_minute);
	a->filled_ns = now;
	if (a->tokens < 1)
		return false;
	a->tokens -= 1;
	return true;
}

/* What waits at the subject. On a failure it goes on waiting. */
static void
tell(struct controller *c, struct subject *s)
{
	struct alerts *a = c->alerts;
	char id[32];
	json_t *o;

	snprintf(id, sizeof(id), "a-%016" PRIx64, a->next_id);
	o = json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:o, s:I}", "id", id, "time",
	    json_time(now_real()), "kind", alert_kind_name(s->kind), "severity",
	    alert_severity_name(s->severity), "workload", json_text(s->workload), "instance",
	    json_text(s->instance), "text", json_text(s->text), "count", (json_int_t)s->count,
	    "firstSeen", json_time(s->first_ns), "lastSeen", json_time(s->last_ns), "lost",
	    (json_int_t)a->lost_untold);
	if (o == NULL || alert_spool_add(c, o, s->kind, s->severity) < 0) {
		json_decref(o);
		return;
	}
	json_decref(o);
	a->next_id++;
	a->lost_untold = 0;
	a->counts.told++;
	a->counts.repeated += s->count - 1;
	a->counts.waiting -= s->count;
	free(s->text);
	s->text = NULL;
	s->count = 0;
	s->quiet_until_ns = now_mono() + a->quiet_ns;
}

static void
raise_text(struct controller *c, enum alert_kind kind, enum alert_severity severity,
    const char *workload, const char *instance, const char *text)
{
	struct alerts *a = c->alerts;
	struct subject *s;
	bool is_new;
	char *copy;

	a->counts.raised[kind]++;
	s = subject_get(a, kind, workload, instance, &is_new);
	copy = s != NULL ? strdup(text) : NULL;
	if (copy == NULL) {
		a->counts.lost++;
		a->lost_untold++;
		return;
	}
	s->severity = s->text == NULL ? severity : MIN(s->severity, severity);
	free(s->text);
	s->text = copy;
	s->last_ns = now_real();
	if (s->count++ == 0)
		s->first_ns = s->last_ns;
	a->counts.waiting++;
	if (s->count == 1 && s->quiet_until_ns <= now_mono() && take_token(a))
		tell(c, s);
}

static _printf_(6, 0) void raise_args(struct controller *c, enum alert_kind kind,
    enum alert_severity severity, const char *workload, const char *instance, const char *fmt,
    va_list ap)
{
	char text[ALERT_TEXT_MAX];

	if (c->alerts == NULL)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	raise_text(c, kind, severity, workload, instance, text);
}

void
alert_raise(struct controller *c, enum alert_kind kind, enum alert_severity severity,
    const char *workload, const char *instance, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	raise_args(c, kind, severity, workload, instance, fmt, ap);
	va_end(ap);
}

void
alert_raise_instance(
    struct instance *i, enum alert_kind kind, enum alert_severity severity, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	raise_args(i->ctl, kind, severity, i->workload != NULL ? i->workload->name : NULL,
	    instance_id(i), fmt, ap);
	va_end(ap);
}

void
alerts_tick(struct controller *c)
{
	struct alerts *a = c->alerts;
	uint64_t now = now_mono();

	if (a == NULL)
		return;
	alert_spool_tick(c);
	if (a->counts.waiting == 0)
		return;
	for (int severity = ALERT_CRITICAL; severity <= ALERT_INFO; severity++)
		for (size_t k = 0; k < SUBJECTS_MAX; k++) {
			struct subject *s = &a->subjects[k];

			if (s->text == NULL || s->severity != (enum alert_severity)severity ||
			    s->quiet_until_ns > now)
				continue;
			if (!take_token(a))
				return;
			tell(c, s);
		}
}

void
alerts_count(const struct alerts *a, struct alert_counts *ret)
{
	*ret = a->counts;
}
