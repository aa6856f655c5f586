/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One question to an engine by way of the relay: the request, the pipe that comes back, the head of
 * the answer, its body within a bound and a time limit.
 */
#ifndef NANOSEG_DAEMON_FETCH_H
#define NANOSEG_DAEMON_FETCH_H

#include "daemon/role.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct fetch;

struct fetch_pool {
	struct role_loop *loop;
	LIST_HEAD(, fetch) fetches;
	uint32_t seq;
};

struct fetch_callbacks {
	/*
	 * The end, once: error 0 and the body (borrowed), or a negative errno and none. The fetch
	 * is gone by then. See fetch_strerror().
	 */
	void (*done)(void *arg, int error, const char *body, size_t len);
	/* A stream of lines instead of one body: NULL otherwise. */
	void (*open)(void *arg);
	/* line is NULL for one that was longer than max. May cancel the fetch. */
	void (*line)(void *arg, const char *line, size_t len);
};

void fetch_pool_init(struct fetch_pool *p, struct role_loop *loop);

struct fetch_request {
	uint32_t engine;
	enum relay_request request;
	const char *id;	  /* or "" */
	size_t max;	  /* bytes of body, or of a line */
	unsigned limit_s; /* for the whole answer; of a stream: until its head is there */
};

/* The callbacks have to live as long as the fetch. On an error nothing is called. */
int fetch_start(struct fetch_pool *p, const struct fetch_request *q,
    const struct fetch_callbacks *cb, void *arg, struct fetch **ret);
/* Ends it without a callback. NULL is fine. */
void fetch_cancel(struct fetch *f);
/* MSG_R_STREAM. */
void fetch_pool_answer(struct fetch_pool *p, struct msg *m);
/* The relay is gone: every fetch ends with the error. */
void fetch_pool_fail(struct fetch_pool *p, int error);

/*
 * A plain sentence part: "the answer was too large". -EMSGSIZE too large, -ETIMEDOUT too slow,
 * -EIO cut short, -EPROTO no HTTP answer, -EREMOTEIO another status than 200, -EBADMSG no such
 * JSON, -ENOTCONN no relay; what else the relay met comes as it is.
 */
const char *fetch_strerror(int error);

#endif
