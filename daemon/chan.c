/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel on the event loop. Order is kept: while anything is queued, everything queues. A broken
 * channel reads nothing more and takes nothing more; its owner frees it.
 */
#include "config.h"
#include "daemon/msg.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>

#define QUEUE_MAX_MSGS 4096
#define QUEUE_MAX_BYTES (64u << 20)
#define READS_PER_WAKEUP 64

struct queued {
	STAILQ_ENTRY(queued) link;
	uint16_t type;
	uint32_t seq;
	size_t len, n_fds;
	int fds[MSG_MAX_FDS];
	uint8_t body[];
};

struct chan {
	int sock;
	struct event *readable, *writable, *retry;
	chan_msg_fn on_msg;
	chan_closed_fn on_closed;
	void *arg;
	STAILQ_HEAD(, queued) queue;
	size_t n_queued, queued_bytes;
	bool broken;
	bool *freed; /* set while a callback runs: tells the loop that c is gone */
};

static void
queued_free(struct queued *q)
{
	size_t i;

	for (i = 0; i < q->n_fds; i++)
		close_fd(&q->fds[i]);
	free(q);
}

static void
queue_pop(struct chan *c)
{
	struct queued *q = STAILQ_FIRST(&c->queue);

	STAILQ_REMOVE_HEAD(&c->queue, link);
	c->n_queued--;
	c->queued_bytes -= q->len;
	queued_free(q);
}

static bool
send_error_is_passing(int r)
{
	return r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM || r == -ETOOMANYREFS;
}

static void
wait_to_send(struct chan *c, int r)
{
	static const struct timeval pause = { 0, 20000 };

	/* Only a full socket makes it writable later; the other causes would wake us at once. */
	if (r == -EAGAIN)
		event_add(c->writable, NULL);
	else
		event_add(c->retry, &pause);
}

static void
flush(evutil_socket_t fd, short what, void *arg)
{
	struct chan *c = arg;

	while (!STAILQ_EMPTY(&c->queue)) {
		struct queued *q = STAILQ_FIRST(&c->queue);
		int r = msg_send(c->sock, q->type, q->seq, q->body, q->len, q->fds, q->n_fds);

		if (send_error_is_passing(r)) {
			wait_to_send(c, r);
			return;
		}
		/* A dead peer shows itself at the reading side, which owns the closing. */
		queue_pop(c);
	}
}

static void
receive(evutil_socket_t fd, short what, void *arg)
{
	struct chan *c = arg;
	bool freed = false;
	int i;

	c->freed = &freed;
	for (i = 0; i < READS_PER_WAKEUP; i++) {
		struct msg m;
		int r = msg_recv(c->sock, &m);

		if (r == 0 || r == -ENOMEM)
			break;
		if (r < 0) {
			c->broken = true;
			event_del(c->readable);
			event_del(c->writable);
			event_del(c->retry);
			c->on_closed(c->arg, c, r);
			if (freed)
				return;
			break;
		}
		c->on_msg(c->arg, c, &m);
		msg_done(&m);
		if (freed)
			return;
	}
	c->freed = NULL;
}

int
chan_new(struct event_base *base, int sock, chan_msg_fn on_msg, chan_closed_fn on_closed, void *arg,
    struct chan **ret)
{
	struct chan *c;

	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		close(sock);
		return -ENOMEM;
	}
	STAILQ_INIT(&c->queue);
	c->sock = sock;
	c->on_msg = on_msg;
	c->on_closed = on_closed;
	c->arg = arg;
	c->readable = event_new(base, sock, EV_READ | EV_PERSIST, receive, c);
	c->writable = event_new(base, sock, EV_WRITE, flush, c);
	c->retry = event_new(base, -1, 0, flush, c);
	if (c->readable == NULL || c->writable == NULL || c->retry == NULL ||
	    event_add(c->readable, NULL) < 0) {
		chan_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

void
chan_free(struct chan *c)
{
	if (c == NULL)
		return;
	if (c->freed != NULL)
		*c->freed = true;
	if (c->readable != NULL)
		event_free(c->readable);
	if (c->writable != NULL)
		event_free(c->writable);
	if (c->retry != NULL)
		event_free(c->retry);
	while (!STAILQ_EMPTY(&c->queue))
		queue_pop(c);
	close_fd(&c->sock);
	free(c);
}

static int
enqueue(struct chan *c, uint16_t type, uint32_t seq, const void *body, size_t len, const int *fds,
    size_t n_fds)
{
	struct queued *q;
	size_t i;

	if (c->n_queued >= QUEUE_MAX_MSGS || len > QUEUE_MAX_BYTES - c->queued_bytes)
		return -ENOBUFS;
	q = malloc(sizeof(*q) + len);
	if (q == NULL)
		return -ENOMEM;
	q->type = type;
	q->seq = seq;
	q->len = len;
	q->n_fds = 0;
	if (len > 0)
		memcpy(q->body, body, len);
	for (i = 0; i < n_fds; i++) {
		q->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (q->fds[i] < 0) {
			int r = -errno;

			queued_free(q);
			return r;
		}
		q->n_fds++;
	}
	STAILQ_INSERT_TAIL(&c->queue, q, link);
	c->n_queued++;
	c->queued_bytes += len;
	return 0;
}

int
chan_send(struct chan *c, uint16_t type, uint32_t seq, const void *body, size_t len, const int *fds,
    size_t n_fds)
{
	const struct msg_shape *s = msg_shape_of(type);
	int why = -EAGAIN, r;

	if (c->broken)
		return -ENOTCONN;
	/* What msg_send() would refuse for ever must not enter the queue. */
	if (s == NULL || n_fds > MSG_MAX_FDS || n_fds < s->min_fds || n_fds > s->max_fds ||
	    len < s->min || len > s->max)
		return -EBADMSG;
	if (STAILQ_EMPTY(&c->queue)) {
		why = msg_send(c->sock, type, seq, body, len, fds, n_fds);
		if (why == -EPIPE || why == -ECONNRESET)
			return -ENOTCONN;
		if (!send_error_is_passing(why))
			return why;
	}
	r = enqueue(c, type, seq, body, len, fds, n_fds);
	if (r < 0)
		return r;
	if (c->n_queued == 1)
		wait_to_send(c, why);
	return 0;
}

size_t
chan_queued(const struct chan *c)
{
	return c->n_queued;
}
