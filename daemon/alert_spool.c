/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Alerts between being told and being delivered, in a ring. The controller sends and forgets about
 * it: nothing here waits for the herald, which says how far it has got. A new herald gets all that
 * its predecessor had not reported.
 */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "rules/json.h"

#include <errno.h>
#include <string.h>

#define SHOWN_MAX 256

struct alert_spool {
	uint64_t epoch;
	bool delivers, asked;
	char *ring[ALERT_SPOOL_MAX];			     /* JSON text */
	uint64_t newest, done;				     /* numbers: 0 is none */
	uint64_t lost;					     /* no herald took them in time */
	struct h_sink before[SINK_COUNT_], now[SINK_COUNT_]; /* of heralds that are gone */
};

int
alert_spool_new(uint64_t epoch, bool delivers, struct alert_spool **ret)
{
	struct alert_spool *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->epoch = epoch;
	s->delivers = delivers;
	*ret = s;
	return 0;
}

void
alert_spool_free(struct alert_spool *s)
{
	for (size_t k = 0; s != NULL && k < ALERT_SPOOL_MAX; k++)
		free(s->ring[k]);
	free(s);
}

static void
send_one(struct controller *c, uint64_t number)
{
	const struct alert_spool *s = c->alert_spool;
	const char *text = s->ring[number % ALERT_SPOOL_MAX];
	struct h_alert head = { .epoch = s->epoch, .number = number };
	uint8_t body[sizeof(head) + H_ALERT_MAX];
	size_t len = strlen(text);

	memcpy(body, &head, sizeof(head));
	memcpy(body + sizeof(head), text, len);
	/* One that is away gets it when it comes. */
	(void)role_send(&c->loop, ROLE_HERALD, MSG_H_ALERT, 0, body, sizeof(head) + len);
}

int
alert_spool_add(struct controller *c, const json_t *alert)
{
	struct alert_spool *s = c->alert_spool;
	char *text = json_dumps(alert, JSON_COMPACT), **place;

	if (text == NULL)
		return -ENOMEM;
	/* Names and text are bounded far below that. */
	if (strlen(text) > H_ALERT_MAX) {
		free(text);
		return -E2BIG;
	}
	place = &s->ring[++s->newest % ALERT_SPOOL_MAX];
	free(*place);
	*place = text;
	if (s->delivers && s->newest - s->done > ALERT_SPOOL_MAX) {
		s->done++;
		s->lost++;
	}
	if (s->delivers)
		send_one(c, s->newest);
	return 0;
}

void
alert_spool_on_herald(struct controller *c)
{
	const struct alert_spool *s = c->alert_spool;

	for (uint64_t n = s->done + 1; n <= s->newest; n++)
		send_one(c, n);
}

void
alert_spool_on_herald_gone(struct controller *c)
{
	struct alert_spool *s = c->alert_spool;

	for (size_t k = 0; k < SINK_COUNT_; k++) {
		s->before[k].delivered += s->now[k].delivered;
		s->before[k].lost += s->now[k].lost;
		s->before[k].failures += s->now[k].failures;
		s->now[k].delivered = s->now[k].lost = s->now[k].failures = 0;
	}
}

void
alert_spool_on_state(struct controller *c, const struct h_state *state)
{
	struct alert_spool *s = c->alert_spool;

	if (state->epoch == s->epoch && state->done > s->done && state->done <= s->newest)
		s->done = state->done;
	memcpy(s->now, state->sinks, sizeof(s->now));
	for (size_t k = 0; k < SINK_COUNT_; k++)
		s->now[k].error[sizeof(s->now[k].error) - 1] = '\0';
}

void
alert_spool_deliveries(const struct alert_spool *s, struct alert_delivery *ret)
{
	static const char *const names[SINK_COUNT_] = { "journald", "syslog", "webhook" };

	for (size_t k = 0; k < SINK_COUNT_; k++)
		ret[k] = (struct alert_delivery){
			.to = names[k],
			.on = s->now[k].on != 0,
			.failing = s->now[k].failing != 0,
			.error = s->now[k].error,
			.delivered = s->before[k].delivered + s->now[k].delivered,
			.lost = s->before[k].lost + s->now[k].lost + (s->now[k].on ? s->lost : 0),
			.failures = s->before[k].failures + s->now[k].failures,
		};
}

uint64_t
alert_spool_waiting(const struct alert_spool *s)
{
	return s->delivers ? s->newest - s->done : 0;
}

static json_t *
delivery_to_json(const struct alert_delivery *d)
{
	return json_pack("{s:s, s:b, s:o, s:I, s:I, s:I}", "to", d->to, "failing", d->failing,
	    "error", d->failing ? json_text(d->error) : json_null(), "delivered",
	    (json_int_t)d->delivered, "lost", (json_int_t)d->lost, "failures",
	    (json_int_t)d->failures);
}

json_t *
alert_spool_to_json(const struct alert_spool *s)
{
	json_t *alerts = json_array(), *ways = json_array();
	struct alert_delivery deliveries[SINK_COUNT_];
	uint64_t first = s->newest > SHOWN_MAX ? s->newest - SHOWN_MAX + 1 : 1;

	for (uint64_t n = first; n <= s->newest; n++)
		json_array_append_new(alerts, json_loads(s->ring[n % ALERT_SPOOL_MAX], 0, NULL));
	alert_spool_deliveries(s, deliveries);
	for (size_t k = 0; k < SINK_COUNT_; k++)
		if (deliveries[k].on)
			json_array_append_new(ways, delivery_to_json(&deliveries[k]));
	return json_pack("{s:o, s:o, s:I}", "alerts", alerts, "delivery", ways, "waiting",
	    (json_int_t)alert_spool_waiting(s));
}
