/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Alerts between being told and being delivered, in a ring. Nothing here waits for the herald: it
 * is sent each in its order, and says what became of it. A new herald gets all that its predecessor
 * had not reported.
 */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "rules/json.h"

#include <errno.h>
#include <string.h>

#define SHOWN_MAX 256

/* One that was told; the number in its place is the newest of those that would stand there. */
struct told {
	char *text; /* JSON */
	enum alert_kind kind;
	enum alert_severity severity;
	char *workload;	  /* or NULL */
	uint64_t last_ns; /* CLOCK_REALTIME */
	enum herald_fate fates[SINK_COUNT_];
};

struct alert_spool {
	uint64_t epoch;
	unsigned ways; /* bits of enum herald_sink: those of the configuration */
	bool is_there; /* the herald */
	struct told ring[ALERT_SPOOL_MAX];
	uint64_t newest, sent, done;			     /* numbers: 0 is none */
	uint64_t lost;					     /* no herald took them in time */
	struct h_sink before[SINK_COUNT_], now[SINK_COUNT_]; /* of heralds that are gone */
};

int
alert_spool_new(uint64_t epoch, unsigned ways, struct alert_spool **ret)
{
	struct alert_spool *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->epoch = epoch;
	s->ways = ways;
	*ret = s;
	return 0;
}

static void
told_done(struct told *t)
{
	free(t->text);
	free(t->workload);
	*t = (struct told){ 0 };
}

void
alert_spool_free(struct alert_spool *s)
{
	for (size_t k = 0; s != NULL && k < ALERT_SPOOL_MAX; k++)
		told_done(&s->ring[k]);
	free(s);
}

static int
send_one(struct controller *c, uint64_t number)
{
	const struct alert_spool *s = c->alert_spool;
	const char *text = s->ring[number % ALERT_SPOOL_MAX].text;
	struct h_alert head = { .epoch = s->epoch, .number = number };
	uint8_t body[sizeof(head) + H_ALERT_MAX];
	size_t len = strlen(text);

	memcpy(body, &head, sizeof(head));
	memcpy(body + sizeof(head), text, len);
	return role_send(&c->loop, ROLE_HERALD, MSG_H_ALERT, 0, body, sizeof(head) + len);
}

/* Without a gap: the herald takes one that is left out for one that it has had. */
static void
send_all(struct controller *c)
{
	struct alert_spool *s = c->alert_spool;

	if (s->ways == 0 || !s->is_there)
		return;
	s->sent = MAX(s->sent, s->done);
	while (s->sent < s->newest && send_one(c, s->sent + 1) == 0)
		s->sent++;
}

void
alert_spool_tick(struct controller *c)
{
	send_all(c);
}

static void
told_set(struct told *t, const json_t *alert, char *text, enum alert_kind kind,
    enum alert_severity severity)
{
	const char *workload = json_string_value(json_object_get(alert, "workload"));

	told_done(t);
	t->text = text;
	t->kind = kind;
	t->severity = severity;
	/* Without memory it is found by no name. */
	t->workload = workload != NULL ? strdup(workload) : NULL;
	t->last_ns = now_real();
}

int
alert_spool_add(
    struct controller *c, const json_t *alert, enum alert_kind kind, enum alert_severity severity)
{
	struct alert_spool *s = c->alert_spool;
	char *text = json_dumps(alert, JSON_COMPACT);

	if (text == NULL)
		return -ENOMEM;
	/* Names and text are bounded far below that. */
	if (strlen(text) > H_ALERT_MAX) {
		free(text);
		return -E2BIG;
	}
	s->newest++;
	told_set(&s->ring[s->newest % ALERT_SPOOL_MAX], alert, text, kind, severity);
	if (s->ways != 0 && s->newest - s->done > ALERT_SPOOL_MAX) {
		s->done++;
		s->lost++;
	}
	send_all(c);
	return 0;
}

void
alert_spool_on_herald(struct controller *c)
{
	struct alert_spool *s = c->alert_spool;

	s->is_there = true;
	s->sent = s->done;
	send_all(c);
}

void
alert_spool_on_herald_gone(struct controller *c)
{
	struct alert_spool *s = c->alert_spool;

	s->is_there = false;
	for (size_t k = 0; k < SINK_COUNT_; k++) {
		s->before[k].delivered += s->now[k].delivered;
		s->before[k].lost += s->now[k].lost;
		s->before[k].failures += s->now[k].failures;
		s->now[k].delivered = s->now[k].lost = s->now[k].failures = 0;
	}
}

/* What is settled stays so: a new herald sends again what its predecessor had not reported. */
static void
take_fates(struct alert_spool *s, const struct h_state *state)
{
	uint64_t oldest = MAX(s->newest, ALERT_SPOOL_MAX) - ALERT_SPOOL_MAX + 1;

	if (state->newest > s->newest)
		return;
	if (state->newest >= H_SPOOL_MAX)
		oldest = MAX(oldest, state->newest - H_SPOOL_MAX + 1);
	for (uint64_t n = oldest; n <= state->newest; n++)
		for (size_t k = 0; k < SINK_COUNT_; k++) {
			enum herald_fate *fate = &s->ring[n % ALERT_SPOOL_MAX].fates[k];

			if (*fate == FATE_WAITING)
				*fate = h_fate_get(state->fates[k], n);
		}
}

void
alert_spool_on_state(struct controller *c, const struct h_state *state)
{
	struct alert_spool *s = c->alert_spool;

	if (state->epoch == s->epoch) {
		take_fates(s, state);
		if (state->done > s->done && state->done <= s->newest)
			s->done = state->done;
	}
	memcpy(s->now, state->sinks, sizeof(s->now));
	for (size_t k = 0; k < SINK_COUNT_; k++)
		s->now[k].error[sizeof(s->now[k].error) - 1] = '\0';
	send_all(c);
}

static const char *const sink_names[SINK_COUNT_] = { "journald", "syslog", "webhook" };

static bool
is_on(const struct alert_spool *s, size_t sink)
{
	return (s->ways >> sink & 1) != 0 || s->now[sink].on != 0;
}

void
alert_spool_deliveries(const struct alert_spool *s, struct alert_delivery *ret)
{
	for (size_t k = 0; k < SINK_COUNT_; k++)
		ret[k] = (struct alert_delivery){
			.to = sink_names[k],
			.on = is_on(s, k),
			.failing = !s->is_there || s->now[k].failing != 0,
			.error = s->is_there ? s->now[k].error : "nanoseg-herald does not run",
			.delivered = s->before[k].delivered + s->now[k].delivered,
			.lost = s->before[k].lost + s->now[k].lost + (is_on(s, k) ? s->lost : 0),
			.failures = s->before[k].failures + s->now[k].failures,
		};
}

uint64_t
alert_spool_waiting(const struct alert_spool *s)
{
	return s->ways != 0 ? s->newest - s->done : 0;
}

static json_t *
delivery_to_json(const struct alert_delivery *d)
{
	return json_pack("{s:s, s:b, s:o, s:I, s:I, s:I}", "to", d->to, "failing", d->failing,
	    "error", d->failing ? json_text(d->error) : json_null(), "delivered",
	    (json_int_t)d->delivered, "lost", (json_int_t)d->lost, "failures",
	    (json_int_t)d->failures);
}

static json_t *
told_to_json(const struct alert_spool *s, const struct told *t)
{
	static const char *const words[] = {
		[FATE_WAITING] = "waiting",
		[FATE_DELIVERED] = "delivered",
		[FATE_LOST] = "lost",
	};
	json_t *o = json_loads(t->text, 0, NULL), *fates = json_object();

	for (size_t k = 0; k < SINK_COUNT_; k++)
		if (is_on(s, k) && t->fates[k] < ARRAY_SIZE(words))
			json_object_set_new(fates, sink_names[k], json_string(words[t->fates[k]]));
	json_object_set_new(o, "delivery", fates);
	return o;
}

static bool
is_wanted(const struct told *t, const struct alert_filter *f)
{
	if ((f->kind != ALERT_KINDS && t->kind != f->kind) || t->severity > f->severity ||
	    t->last_ns < f->since_ns)
		return false;
	return f->workload == NULL ||
	       (t->workload != NULL && strcmp(t->workload, f->workload) == 0);
}

json_t *
alert_spool_to_json(const struct alert_spool *s, const struct alert_filter *f)
{
	json_t *alerts = json_array(), *ways = json_array();
	struct alert_delivery deliveries[SINK_COUNT_];
	uint64_t left = MIN(s->newest, ALERT_SPOOL_MAX), n = s->newest;

	for (; left > 0 && json_array_size(alerts) < SHOWN_MAX; left--, n--) {
		const struct told *t = &s->ring[n % ALERT_SPOOL_MAX];

		if (is_wanted(t, f))
			json_array_insert_new(alerts, 0, told_to_json(s, t));
	}
	alert_spool_deliveries(s, deliveries);
	for (size_t k = 0; k < SINK_COUNT_; k++)
		if (deliveries[k].on)
			json_array_append_new(ways, delivery_to_json(&deliveries[k]));
	return json_pack("{s:o, s:o, s:I}", "alerts", alerts, "delivery", ways, "waiting",
	    (json_int_t)alert_spool_waiting(s));
}
