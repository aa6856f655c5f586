/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The buffer holds the head and then the body (or the lines not yet complete); it grows as bytes
 * come and never beyond the head's and the body's bounds together.
 */
#include "config.h"
#include "daemon/fetch.h"

#include "daemon/http1.h"

#include <errno.h>
#include <string.h>

#define READ_CHUNK 65536u
#define READS_PER_WAKEUP 8

struct fetch {
	LIST_ENTRY(fetch) link;
	struct fetch_pool *pool;
	const struct fetch_callbacks *cb;
	void *arg;
	uint32_t seq;
	int fd;
	struct event *readable, *deadline;
	size_t max;
	bool have_head, skipping;
	bool *cancelled; /* set while a callback runs */
	struct http1_head head;
	size_t body; /* where it starts in buf */
	char *buf;
	size_t len, size;
};

void
fetch_pool_init(struct fetch_pool *p, struct role_loop *loop)
{
	p->loop = loop;
	p->seq = 0;
	LIST_INIT(&p->fetches);
}

static void
fetch_unlink(struct fetch *f)
{
	LIST_REMOVE(f, link);
	if (f->readable != NULL)
		event_free(f->readable);
	if (f->deadline != NULL)
		event_free(f->deadline);
	f->readable = f->deadline = NULL;
	close_fd(&f->fd);
}

void
fetch_cancel(struct fetch *f)
{
	if (f == NULL)
		return;
	if (f->cancelled != NULL)
		*f->cancelled = true;
	fetch_unlink(f);
	free(f->buf);
	free(f);
}

static void
fetch_end(struct fetch *f, int error)
{
	fetch_unlink(f);
	if (error < 0)
		f->cb->done(f->arg, error, NULL, 0);
	else
		f->cb->done(f->arg, 0, f->buf + f->body, f->len - f->body);
	free(f->buf);
	free(f);
}

static bool
is_stream(const struct fetch *f)
{
	return f->cb->line != NULL;
}

/* 1: the head is there; 0: more is needed. */
static int
take_head(struct fetch *f)
{
	int r = http1_parse_head(f->buf, f->len, &f->head);

	if (r == 0)
		return 0;
	if (r < 0)
		return -EPROTO;
	if (f->head.status != 200)
		return -EREMOTEIO;
	if (!is_stream(f) && f->head.content_length > (int64_t)f->max)
		return -EMSGSIZE;
	f->have_head = true;
	f->body = (size_t)r;
	return 1;
}

/* Hands out the complete lines. False if a callback cancelled the fetch. */
static bool
take_lines(struct fetch *f)
{
	bool cancelled = false;
	char *start, *nl;
	size_t at = f->body, left;

	f->cancelled = &cancelled;
	while ((nl = memchr(f->buf + at, '\n', f->len - at)) != NULL) {
		start = f->buf + at;
		at = (size_t)(nl + 1 - f->buf);
		if (f->skipping)
			f->cb->line(f->arg, NULL, 0);
		else if (nl > start)
			f->cb->line(f->arg, start, (size_t)(nl - start));
		if (cancelled)
			return false;
		f->skipping = false;
	}
	f->cancelled = NULL;
	left = f->len - at;
	if (left > f->max) {
		f->skipping = true;
		left = 0;
	}
	memmove(f->buf, f->buf + f->len - left, left);
	f->len = left;
	f->body = 0;
	return true;
}

/* What the bytes so far mean. False if the fetch is over. */
static bool
fetch_advance(struct fetch *f)
{
	bool cancelled = false;
	int r;

	if (!f->have_head) {
		r = take_head(f);
		if (r < 0)
			fetch_end(f, r);
		if (r <= 0)
			return r == 0;
		if (is_stream(f)) {
			event_del(f->deadline);
			f->cancelled = &cancelled;
			f->cb->open(f->arg);
			if (cancelled)
				return false;
			f->cancelled = NULL;
		}
	}
	if (is_stream(f))
		return take_lines(f);
	if (f->len - f->body > f->max) {
		fetch_end(f, -EMSGSIZE);
		return false;
	}
	if (f->head.content_length >= 0 && f->len - f->body >= (size_t)f->head.content_length) {
		f->len = f->body + (size_t)f->head.content_length;
		fetch_end(f, 0);
		return false;
	}
	return true;
}

static void
fetch_eof(struct fetch *f)
{
	int error = 0;

	if (is_stream(f) || f->len == 0)
		error = -ECONNRESET;
	else if (!f->have_head || f->head.content_length >= 0)
		error = -EIO;
	fetch_end(f, error);
}

static int
fetch_reserve(struct fetch *f)
{
	size_t size;
	char *buf;

	if (f->size - f->len >= READ_CHUNK)
		return 0;
	size = MAX(f->size * 2, f->len + READ_CHUNK);
	buf = realloc(f->buf, size);
	if (buf == NULL)
		return -ENOMEM;
	f->buf = buf;
	f->size = size;
	return 0;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct fetch *f = arg;
	ssize_t n;

	for (int i = 0; i < READS_PER_WAKEUP; i++) {
		if (fetch_reserve(f) < 0) {
			fetch_end(f, -ENOMEM);
			return;
		}
		n = read(f->fd, f->buf + f->len, READ_CHUNK);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			fetch_end(f, -errno);
			return;
		}
		if (n == 0) {
			fetch_eof(f);
			return;
		}
		f->len += (size_t)n;
		if (!fetch_advance(f))
			return;
	}
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	fetch_end(arg, -ETIMEDOUT);
}

int
fetch_start(struct fetch_pool *p, const struct fetch_request *q, const struct fetch_callbacks *cb,
    void *arg, struct fetch **ret)
{
	struct timeval limit = { q->limit_s, 0 };
	struct r_get get = { .engine = q->engine, .request = q->request };
	struct fetch *f;
	int r;

	if (strlen(q->id) >= sizeof(get.id))
		return -EINVAL;
	memcpy(get.id, q->id, strlen(q->id));
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return -ENOMEM;
	f->pool = p;
	f->cb = cb;
	f->arg = arg;
	f->fd = -1;
	f->max = q->max;
	if (++p->seq == 0)
		p->seq = 1;
	f->seq = p->seq;
	LIST_INSERT_HEAD(&p->fetches, f, link);
	f->deadline = evtimer_new(p->loop->base, on_deadline, f);
	r = f->deadline == NULL || event_add(f->deadline, &limit) < 0 ? -ENOMEM : 0;
	if (r == 0)
		r = role_send(p->loop, ROLE_RELAY, MSG_R_GET, f->seq, &get, sizeof(get));
	if (r < 0) {
		fetch_cancel(f);
		return r;
	}
	*ret = f;
	return 0;
}

void
fetch_pool_answer(struct fetch_pool *p, struct msg *m)
{
	struct r_stream body;
	struct fetch *f;

	memcpy(&body, m->body, sizeof(body));
	LIST_FOREACH(f, &p->fetches, link)
	{
		if (f->seq == m->h.seq && f->fd < 0)
			break;
	}
	if (f == NULL) /* given up in the meantime */
		return;
	if (body.error != 0 || m->n_fds != 1) {
		fetch_end(f, body.error < 0 && body.error > -4096 ? body.error : -EPROTO);
		return;
	}
	f->fd = steal_fd(&m->fds[0]);
	f->readable = event_new(p->loop->base, f->fd, EV_READ | EV_PERSIST, on_readable, f);
	if (f->readable == NULL || event_add(f->readable, NULL) < 0)
		fetch_end(f, -ENOMEM);
}

void
fetch_pool_fail(struct fetch_pool *p, int error)
{
	struct fetch *f;

	while ((f = LIST_FIRST(&p->fetches)) != NULL)
		fetch_end(f, error);
}

const char *
fetch_strerror(int error)
{
	static const struct {
		int error;
		const char *text;
	} texts[] = {
		{ -EMSGSIZE, "the answer was too large" },
		{ -E2BIG, "an item was too large" },
		{ -ETIMEDOUT, "the answer took too long" },
		{ -EIO, "the answer was cut short" },
		{ -EPROTO, "the answer was no HTTP" },
		{ -EREMOTEIO, "the answer was a refusal" },
		{ -EBADMSG, "the answer was not the JSON that was asked for" },
		{ -ECONNRESET, "the engine closed the connection" },
		{ -ECONNREFUSED, "nobody listens on its socket" },
		{ -ENOENT, "its socket does not exist" },
		{ -EACCES, "its socket may not be opened" },
		{ -ENOTCONN, "the relay is away" },
		{ -ELOOP, "its socket is a link to another engine's" },
		{ -EEXIST, "another engine has it already, and is believed" },
		{ -EBUSY, "too many requests are open" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].error == error)
			return texts[i].text;
	return strerror(-error);
}
