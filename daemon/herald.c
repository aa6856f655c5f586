/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg-herald: takes alerts from the controller and brings them out: journald, syslog, webhook.
 * The one role that speaks to somebody outside of this machine. Own uid, no capability; what it
 * reads of a receiver's answer is its status.
 *
 * The spool is a ring of what not every sink has dealt with. Each sink goes through it at its own
 * pace, with pauses that double while it fails; when the ring is full its oldest alert is lost to
 * the sinks that did not get so far, which is counted and told to the controller.
 */
#include "config.h"
#include "daemon/herald.h"

#include "daemon/conf.h"
#include "daemon/log.h"
#include "daemon/role.h"
#include "rules/peer.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BACKOFF_MAX_S 300
#define TELL_MS 100

struct entry {
	struct alert_ref ref;
	json_t *alert;
};

static struct herald {
	struct role_loop loop;
	struct entry ring[H_SPOOL_MAX];
	uint64_t head, tail;   /* places, ever growing */
	uint64_t epoch;	       /* of the controller */
	uint64_t newest, done; /* numbers, in its epoch */
	struct sink sinks[SINK_COUNT_];
	struct event *tell;
} h;

static struct entry *
at(uint64_t place)
{
	return &h.ring[place % H_SPOOL_MAX];
}

/* What the controller has no number for any more, nobody asks about. */
static void
set_fate(struct sink *s, struct alert_ref a, enum herald_fate fate)
{
	if (a.epoch == h.epoch && h.newest - a.number < H_SPOOL_MAX)
		h_fate_set(s->fates, a.number, fate);
}

/* All of it may still arrive. */
static bool
is_on_its_way(const struct sink *s, uint64_t place)
{
	return s->busy && place - s->at < s->n_batch;
}

static void
drop_oldest(void)
{
	for (size_t k = 0; k < SINK_COUNT_; k++) {
		struct sink *s = &h.sinks[k];

		if (s->at <= h.head && !is_on_its_way(s, h.head))
			set_fate(s, at(h.head)->ref, FATE_LOST);
	}
	if (at(h.head)->ref.epoch == h.epoch)
		h.done = at(h.head)->ref.number;
	json_decref(at(h.head)->alert);
	*at(h.head++) = (struct entry){ 0 };
}

/* What all are through with. */
static void
trim(void)
{
	static const struct timeval soon = { .tv_usec = TELL_MS * 1000 };
	uint64_t slowest = h.tail;

	for (size_t k = 0; k < SINK_COUNT_; k++)
		if (h.sinks[k].state.on)
			slowest = MIN(slowest, h.sinks[k].at);
	while (h.head < slowest)
		drop_oldest();
	if (!evtimer_pending(h.tell, NULL))
		evtimer_add(h.tell, &soon);
}

static void
on_tell(evutil_socket_t fd, short what, void *arg)
{
	struct h_state s = { .epoch = h.epoch, .done = h.done, .newest = h.newest };

	for (size_t k = 0; k < SINK_COUNT_; k++) {
		s.sinks[k] = h.sinks[k].state;
		memcpy(s.fates[k], h.sinks[k].fates, sizeof(s.fates[k]));
	}
	/* A controller that is away is told when it comes. */
	(void)role_send(&h.loop, ROLE_CONTROLLER, MSG_H_STATE, 0, &s, sizeof(s));
}

void
sink_explain(struct sink *s, const char *fmt, ...)
{
	char text[sizeof(s->state.error)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_escape(text, strlen(text), s->state.error, sizeof(s->state.error));
}

static void
fail(struct sink *s, int error)
{
	struct timeval pause = { 0 };

	s->state.failures++;
	if (s->state.error[0] == '\0')
		sink_explain(s, "%s", strerror(-error));
	s->backoff_s = s->backoff_s == 0 ? 1 : MIN(s->backoff_s * 2, BACKOFF_MAX_S);
	pause.tv_sec = s->backoff_s;
	if (!s->state.failing)
		log_warn(
		    "alerts cannot be delivered to %s, trying again: %s", s->name, s->state.error);
	s->state.failing = 1;
	evtimer_add(s->retry, &pause);
}

static void
settle(struct sink *s, int sent)
{
	if (sent > 0) {
		if (s->state.failing)
			log_info("alerts are delivered to %s again", s->name);
		s->state.delivered += (uint64_t)sent;
		s->state.failing = 0;
		s->state.error[0] = '\0';
		s->backoff_s = 0;
		return;
	}
	if (sent == -EINVAL) {
		log_error("an alert is refused by %s and lost: %s", s->name,
		    s->state.error[0] != '\0' ? s->state.error : "it is too long");
		s->state.lost++;
		s->state.error[0] = '\0';
		return;
	}
	fail(s, sent);
}

/* What has left the ring without it is lost to it. */
static void
catch_up(struct sink *s)
{
	if (s->at >= h.head)
		return;
	s->state.lost += h.head - s->at;
	s->at = h.head;
}

static void
sent(struct sink *s, int n)
{
	s->busy = false;
	for (size_t i = 0; i < s->n_batch; i++) {
		if (n > 0 && i < (size_t)n)
			set_fate(s, s->batch[i], FATE_DELIVERED);
		else if ((n == -EINVAL && i == 0) || s->at + i < h.head)
			set_fate(s, s->batch[i], FATE_LOST);
	}
	if (n > 0 || n == -EINVAL)
		s->at += n > 0 ? (uint64_t)n : 1;
	catch_up(s);
	settle(s, n);
}

static void
pump(struct sink *s)
{
	json_t *batch[HERALD_BATCH_MAX];

	while (s->state.on && !s->busy && s->at < h.tail && !evtimer_pending(s->retry, NULL)) {
		size_t n = 0;
		int r;

		for (uint64_t k = s->at; k < h.tail && n < HERALD_BATCH_MAX; k++)
			batch[n++] = at(k)->alert;
		for (size_t k = 0; k < n; k++)
			s->batch[k] = at(s->at + k)->ref;
		s->n_batch = n;
		r = s->send(s, batch, n);
		if (r == 0)
			s->busy = true;
		else
			sent(s, r);
	}
}

void
sink_done(struct sink *s, int n)
{
	sent(s, n);
	pump(s);
	trim();
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct sink *s = arg;

	s->state.error[0] = '\0';
	pump(s);
	trim();
}

static void
make_room(void)
{
	if (h.tail - h.head < H_SPOOL_MAX)
		return;
	drop_oldest();
	/* What is on its way may still arrive. */
	for (size_t k = 0; k < SINK_COUNT_; k++)
		if (h.sinks[k].state.on && !h.sinks[k].busy)
			catch_up(&h.sinks[k]);
}

static void
on_msg(void *arg, enum role peer, struct msg *m)
{
	struct h_alert a;
	json_t *alert;

	if (m->h.type != MSG_H_ALERT)
		return;
	memcpy(&a, m->body, sizeof(a));
	if (a.epoch != h.epoch) {
		h.epoch = a.epoch;
		h.newest = h.done = 0;
	}
	/* Sent again, as we had not said yet that we have it. */
	if (a.number <= h.newest)
		return;
	/* Of those that never came the controller knows why. */
	for (uint64_t n = MAX(h.newest, a.number - MIN(a.number, H_SPOOL_MAX)); n++ < a.number;)
		for (size_t k = 0; k < SINK_COUNT_; k++)
			h_fate_set(h.sinks[k].fates, n, FATE_WAITING);
	h.newest = a.number;
	alert = json_loadb((const char *)m->body + sizeof(a), m->h.body_len - sizeof(a), 0, NULL);
	if (!json_is_object(alert)) {
		log_error("the controller sent an alert that is none: ignored");
		json_decref(alert);
		return;
	}
	make_room();
	*at(h.tail++) = (struct entry){ { a.epoch, a.number }, alert };
	for (size_t k = 0; k < SINK_COUNT_; k++)
		pump(&h.sinks[k]);
	trim();
}

static void
on_peer(void *arg, enum role peer, struct chan *c)
{
	trim();
}

static void
on_stop(void *arg)
{
	for (size_t k = 0; k < SINK_COUNT_; k++)
		if (h.sinks[k].state.on && h.sinks[k].at < h.tail)
			log_warn("%u alerts are not delivered to %s and lost",
			    (unsigned)(h.tail - h.sinks[k].at), h.sinks[k].name);
}

static int
open_sinks(const struct alerts_config *c)
{
	static const char *const names[SINK_COUNT_] = { "journald", "syslog", "the webhook" };
	int r = 0;

	for (size_t k = 0; k < SINK_COUNT_; k++) {
		struct sink *s = &h.sinks[k];

		s->which = (enum herald_sink)k;
		s->name = names[k];
		s->retry = evtimer_new(h.loop.base, on_retry, s);
		if (s->retry == NULL)
			return -ENOMEM;
	}
	h.tell = evtimer_new(h.loop.base, on_tell, NULL);
	if (h.tell == NULL)
		return -ENOMEM;
	if (c->journald != NULL)
		r = journald_open(&h.sinks[SINK_JOURNALD], c);
	if (r == 0 && c->syslog.transport != SYSLOG_NONE)
		r = syslog_open(&h.sinks[SINK_SYSLOG], c, h.loop.base);
	if (r == 0 && c->webhook.url != NULL)
		r = webhook_open(&h.sinks[SINK_WEBHOOK], c, h.loop.base);
	return r;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 } };
	const char *path = SYSCONFDIR "/nanoseg/nanosegd.yaml";
	_cleanup_(config_freep) struct config *config = NULL;
	struct role_args args;
	struct diag d = { 0 };
	int opt, r;

	role_parse_args(ROLE_HERALD, &argc, argv, &args);
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'c')
			return 2;
		path = optarg;
	}
	r = config_load(path, &d, &config);
	if (r == 0)
		r = role_loop_init(&h.loop, ROLE_HERALD);
	if (r == 0)
		r = open_sinks(&config->alerts);
	if (r < 0) {
		log_error(
		    "alerts cannot be delivered: %s", d.msg[0] != '\0' ? d.msg : strerror(-r));
		return 1;
	}
	priv_drop(ROLE_HERALD, args.uid, args.gid);
	h.loop.on_msg = on_msg;
	h.loop.on_peer = on_peer;
	h.loop.on_stop = on_stop;
	priv_seccomp(ROLE_HERALD);
	return role_loop_run(&h.loop);
}
