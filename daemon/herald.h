/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The herald's parts: herald.c keeps what is on its way, one sink each knows how it goes out
 * (herald_local.c: journald and syslog; herald_http.c: the webhook).
 *
 * Nothing is delivered twice by one herald, unless a receiver's answer was lost; a new one begins
 * with what its predecessor had not reported as done.
 */
#ifndef NANOSEG_DAEMON_HERALD_H
#define NANOSEG_DAEMON_HERALD_H

#include "daemon/conf_alerts.h"
#include "daemon/proto.h"

#include <event2/event.h>
#include <jansson.h>

#define HERALD_BATCH_MAX 50 /* in one request */

/* The controller's numbers, of one of its epochs. */
struct alert_ref {
	uint64_t epoch, number;
};

struct sink {
	enum herald_sink which;
	const char *name;
	/*
	 * Sends the first of up to n alerts. How many were sent; 0: some are on their way, and
	 * sink_done() tells; -EINVAL: the first cannot be sent ever; any other negative errno:
	 * again later, all of them.
	 */
	int (*send)(struct sink *s, json_t *const *alerts, size_t n);
	void *arg;
	struct h_sink state;
	uint64_t at; /* place of the next one to be sent */
	bool busy;
	/* What was handed to send() last: the ring may have let go of it meanwhile. */
	struct alert_ref batch[HERALD_BATCH_MAX];
	size_t n_batch;
	uint8_t fates[H_SPOOL_MAX / 4];
	unsigned backoff_s;
	struct event *retry;
};

/* What became of those on their way: as send() returns it. */
void sink_done(struct sink *s, int sent);
/* A sentence for status, in place of the errno's. */
void sink_explain(struct sink *s, const char *fmt, ...) _printf_(2, 3);

/* 0, or a negative errno after a line in the log. */
int journald_open(struct sink *s, const struct alerts_config *c);
int syslog_open(struct sink *s, const struct alerts_config *c, struct event_base *base);
/* While still root: reads the token and the CA. Then, in the loop's process, begins. */
int webhook_open(struct sink *s, const struct alerts_config *c, struct event_base *base);

/* herald_text.c: an alert in the native protocol of journald, malloc'ed; or as a line of syslog. */
int alert_to_journal(const json_t *alert, char **ret, size_t *ret_len);
size_t alert_to_syslog(const json_t *alert, unsigned facility, const char *host, char *buf);

#endif
