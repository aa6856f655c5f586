/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg-relay: the only role that can reach an engine's socket, which is as good as root. It
 * writes one of six fixed requests to it, and hands the answer on through a pipe, unread: nobody
 * else ever holds a descriptor that an engine reads from. It reads some files that engines leave in
 * places of root's as well (relay_file.c), and answers with them in the same way.
 *
 * A stream lives from a request until the engine or the reader ends it, or a bound is reached. It
 * owns the engine's socket and the pipe's write end.
 */
#include "config.h"
#include "daemon/log.h"
#include "daemon/relay_file.h"
#include "daemon/role.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_ENGINES 8
#define MAX_STREAMS 64
#define MAX_ANSWER (64u << 20) /* bytes; events have no end and no such bound */
#define CHUNK (256u << 10)
#define CONNECT_TRIES 40 /* while the engine's backlog is full */

static const struct timeval connect_pause = { 0, 50000 };
static const struct timeval idle_limit = { 10, 0 };

/* {"type":["container","network"],"event":[...]}, escaped for a URL. */
#define EVENTS_FILTER                                                    \
	"%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%2C"       \
	"%22event%22%3A%5B%22create%22%2C%22start%22%2C%22die%22%2C"     \
	"%22died%22%2C"                                                  \
	"%22destroy%22%2C%22remove%22%2C%22rename%22%2C%22connect%22%2C" \
	"%22disconnect%22%5D%7D"
/* {"status":["created","exited"]} */
#define STOPPED_FILTER "%7B%22status%22%3A%5B%22created%22%2C%22exited%22%5D%7D"
#define END " HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"

/* Everything that is ever written to an engine: before, the checked id, after. */
static const struct template
{
	uint32_t request;
	enum id_kind id;
	const char *before, *after;
}
templates[] = {
	{ RELAY_CONTAINERS, ID_NONE, "GET /containers/json" END, "" },
	{ RELAY_CONTAINERS, ID_CONTAINER, "GET /containers/json?all=1&filters=%7B%22id%22%3A%5B%22",
	    "%22%5D%7D" END },
	{ RELAY_CONTAINER, ID_CONTAINER, "GET /containers/", "/json" END },
	{ RELAY_EVENTS, ID_NONE, "GET /events?filters=" EVENTS_FILTER END, "" },
	{ RELAY_IMAGE, ID_IMAGE, "GET /images/", "/json" END },
	{ RELAY_STOPPED, ID_NONE,
	    "GET /containers/json?all=1&limit=1024&filters=" STOPPED_FILTER END, "" },
	{ RELAY_PODS, ID_NONE, "GET /v1.0.0/libpod/pods/json" END, "" },
};

struct relay;

struct stream {
	LIST_ENTRY(stream) link;
	struct relay *relay;
	const char *path;
	uint32_t seq;
	bool events;
	unsigned tries;
	uint64_t copied;
	int sock, pipe;
	struct event *retry, *readable, *writable, *reader_gone, *idle;
	size_t request_len;
	char request[512];
	char *content; /* of a file, with a head; sock is not used then */
	size_t content_len, content_sent;
};

struct relay {
	struct role_loop loop;
	struct sockaddr_un engines[MAX_ENGINES];
	bool alias[MAX_ENGINES]; /* its path is a link to another one's */
	uint32_t n_engines;
	LIST_HEAD(, stream) streams;
	unsigned n_streams;
};

static void
free_event(struct event *e)
{
	if (e != NULL)
		event_free(e);
}

static void
stream_free(struct stream *s)
{
	free_event(s->retry);
	free_event(s->readable);
	free_event(s->writable);
	free_event(s->reader_gone);
	free_event(s->idle);
	close_fd(&s->sock);
	close_fd(&s->pipe);
	LIST_REMOVE(s, link);
	s->relay->n_streams--;
	free(s->content);
	free(s);
}

static void
answer(struct relay *r, uint32_t seq, int error, const int *fd)
{
	struct r_stream body = { .error = error };
	struct chan *c = r->loop.peers[ROLE_DISCOVERY];

	if (c != NULL)
		(void)chan_send(c, MSG_R_STREAM, seq, &body, sizeof(body), fd, fd != NULL ? 1 : 0);
}

static void
stream_fail(struct stream *s, int error)
{
	answer(s->relay, s->seq, error, NULL);
	stream_free(s);
}

static bool
pipe_is_full(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 0;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;
	ssize_t n;

	n = splice(s->sock, NULL, s->pipe, NULL, CHUNK, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	if (n > 0) {
		s->copied += (uint64_t)n;
		if (!s->events && s->copied > MAX_ANSWER) {
			log_warn(
			    "%s: an answer of more than %u MB: cut", s->path, MAX_ANSWER >> 20);
			stream_free(s);
			return;
		}
		if (!s->events)
			event_add(s->idle, &idle_limit);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		/* The reader is slow: the engine waits with us. */
		if (pipe_is_full(s->pipe)) {
			event_del(s->readable);
			event_add(s->writable, NULL);
		}
		return;
	}
	stream_free(s);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	event_add(s->readable, NULL);
}

static void
on_reader_gone(evutil_socket_t fd, short what, void *arg)
{
	stream_free(arg);
}

static void
on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	log_warn(
	    "%s: no byte of an answer for %lld s: ended", s->path, (long long)idle_limit.tv_sec);
	stream_free(s);
}

/* Connected: the pipe is made, the reader told, and the copying starts. */
static int
stream_start(struct stream *s)
{
	struct event_base *base = s->relay->loop.base;
	int fds[2];

	/* A socket just connected takes a few hundred bytes at once, or it is broken. */
	if (send(s->sock, s->request, s->request_len, MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    (ssize_t)s->request_len)
		return -EIO;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	s->pipe = fds[1];
	s->readable = event_new(base, s->sock, EV_READ | EV_PERSIST, on_readable, s);
	s->writable = event_new(base, s->pipe, EV_WRITE, on_writable, s);
	/* The write end of a pipe is never readable; what wakes this is the error condition. */
	s->reader_gone = event_new(base, s->pipe, EV_READ, on_reader_gone, s);
	s->idle = evtimer_new(base, on_idle, s);
	if (s->readable == NULL || s->writable == NULL || s->reader_gone == NULL ||
	    s->idle == NULL || event_add(s->readable, NULL) < 0 ||
	    event_add(s->reader_gone, NULL) < 0 ||
	    (!s->events && event_add(s->idle, &idle_limit) < 0)) {
		close(fds[0]);
		return -ENOMEM;
	}
	answer(s->relay, s->seq, 0, &fds[0]);
	close(fds[0]);
	return 0;
}

static void
stream_connect(struct stream *s, const struct sockaddr_un *engine)
{
	int r;

	if (connect(s->sock, (const struct sockaddr *)engine, sizeof(*engine)) == 0) {
		r = stream_start(s);
		if (r < 0)
			stream_fail(s, r);
	} else if (errno == EAGAIN && ++s->tries < CONNECT_TRIES) {
		event_add(s->retry, &connect_pause);
	} else {
		stream_fail(s, errno == EAGAIN ? -ETIMEDOUT : -errno);
	}
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	for (uint32_t i = 0; i < s->relay->n_engines; i++)
		if (s->path == s->relay->engines[i].sun_path) {
			stream_connect(s, &s->relay->engines[i]);
			return;
		}
}

static const struct template *
find_template(const struct r_get *get)
{
	for (size_t i = 0; i < ARRAY_SIZE(templates); i++)
		if (templates[i].request == get->request && relay_id_is(get->id, templates[i].id))
			return &templates[i];
	return NULL;
}

static void
on_content(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;
	ssize_t n;

	n = write(s->pipe, s->content + s->content_sent, s->content_len - s->content_sent);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		s->content_sent += (size_t)n;
	if (n <= 0 || s->content_sent == s->content_len) {
		stream_free(s);
		return;
	}
	event_add(s->idle, &idle_limit);
}

static int
content_start(struct stream *s)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	s->pipe = fds[1];
	s->writable = event_new(s->relay->loop.base, s->pipe, EV_WRITE | EV_PERSIST, on_content, s);
	s->idle = evtimer_new(s->relay->loop.base, on_idle, s);
	if (s->writable == NULL || s->idle == NULL || event_add(s->writable, NULL) < 0 ||
	    event_add(s->idle, &idle_limit) < 0) {
		close(fds[0]);
		return -ENOMEM;
	}
	answer(s->relay, s->seq, 0, &fds[0]);
	close(fds[0]);
	return 0;
}

static int
stream_add(struct relay *r, uint32_t seq, struct stream **ret)
{
	struct stream *s;

	if (r->n_streams >= MAX_STREAMS)
		return -EBUSY;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->relay = r;
	s->seq = seq;
	s->sock = s->pipe = -1;
	LIST_INSERT_HEAD(&r->streams, s, link);
	r->n_streams++;
	*ret = s;
	return 0;
}

static int
file_new(struct relay *r, const struct relay_file *f, const struct r_get *get, uint32_t seq)
{
	struct stream *s;
	int e = stream_add(r, seq, &s);

	if (e < 0)
		return e;
	s->path = relay_file_name(f);
	e = relay_file_read(f, get->id, &s->content, &s->content_len);
	if (e == 0)
		e = content_start(s);
	if (e < 0)
		stream_free(s);
	return e;
}

static int
stream_new(struct relay *r, const struct r_get *get, uint32_t seq)
{
	const struct template *t = find_template(get);
	const struct relay_file *f = relay_file_find(get);
	struct stream *s;
	int n;

	if (f != NULL)
		return file_new(r, f, get, seq);
	if (t == NULL || get->engine >= r->n_engines)
		return -EINVAL;
	if (r->alias[get->engine])
		return -ELOOP;
	n = stream_add(r, seq, &s);
	if (n < 0)
		return n;
	s->events = t->request == RELAY_EVENTS;
	s->path = r->engines[get->engine].sun_path;
	n = snprintf(s->request, sizeof(s->request), "%s%s%s", t->before, get->id, t->after);
	s->request_len = (size_t)n;
	s->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	s->retry = evtimer_new(r->loop.base, on_retry, s);
	if (s->sock < 0 || s->retry == NULL || n < 0 || s->request_len >= sizeof(s->request)) {
		stream_free(s);
		return -ENOMEM;
	}
	stream_connect(s, &r->engines[get->engine]);
	return 0;
}

static void
on_msg(void *arg, enum role peer, struct msg *m)
{
	struct relay *r = arg;
	struct r_get get;
	int error;

	if (m->h.type != MSG_R_GET)
		return;
	memcpy(&get, m->body, sizeof(get));
	error = stream_new(r, &get, m->h.seq);
	if (error == -EINVAL)
		log_warn("%s asked for what is not on the list: refused", role_name(peer));
	if (error < 0)
		answer(r, m->h.seq, error, NULL);
}

static void
streams_end(struct relay *r)
{
	struct stream *s;

	while ((s = LIST_FIRST(&r->streams)) != NULL)
		stream_free(s);
}

static void
on_peer_gone(void *arg, enum role peer)
{
	if (peer == ROLE_DISCOVERY)
		streams_end(arg);
}

static void
on_stop(void *arg)
{
	streams_end(arg);
}

static void
usage(void)
{
	fprintf(stderr,
	    "usage: nanoseg-relay ... --engine NAME=/PATH (at most %d) [--docker-root /PATH]\n"
	    "This program is started by nanosegd.\n",
	    MAX_ENGINES);
	exit(2);
}

static void
parse_args(struct relay *r, int argc, char **argv)
{
	struct sockaddr_un *a;
	const char *path;

	for (int i = 1; i < argc; i += 2) {
		if (i + 1 < argc && strcmp(argv[i], "--docker-root") == 0 &&
		    argv[i + 1][0] == '/') {
			relay_file_set_docker_root(argv[i + 1]);
			continue;
		}
		path = i + 1 < argc ? strchr(argv[i + 1], '=') : NULL;
		if (strcmp(argv[i], "--engine") != 0 || path == NULL || path[1] != '/' ||
		    strlen(path + 1) >= sizeof(a->sun_path) || r->n_engines == MAX_ENGINES)
			usage();
		a = &r->engines[r->n_engines++];
		a->sun_family = AF_UNIX;
		memcpy(a->sun_path, path + 1, strlen(path + 1));
	}
}

/* Podman comes with a link in Docker's place: its containers are to be asked about once. */
static void
find_aliases(struct relay *r)
{
	char target[sizeof(r->engines[0].sun_path)];

	for (uint32_t i = 0; i < r->n_engines; i++) {
		ssize_t n = readlink(r->engines[i].sun_path, target, sizeof(target) - 1);

		if (n < 0)
			continue;
		target[n] = '\0';
		for (uint32_t k = 0; k < r->n_engines; k++)
			r->alias[i] |= k != i && strcmp(target, r->engines[k].sun_path) == 0;
	}
}

int
main(int argc, char **argv)
{
	static struct relay r;
	struct role_args args;
	int error;

	role_parse_args(ROLE_RELAY, &argc, argv, &args);
	parse_args(&r, argc, argv);
	priv_drop(ROLE_RELAY, args.uid, args.gid);
	find_aliases(&r);
	error = role_loop_init(&r.loop, ROLE_RELAY);
	if (error < 0) {
		log_error("cannot start: %s", strerror(-error));
		return 1;
	}
	LIST_INIT(&r.streams);
	r.loop.arg = &r;
	r.loop.on_msg = on_msg;
	r.loop.on_peer_gone = on_peer_gone;
	r.loop.on_stop = on_stop;
	priv_seccomp(ROLE_RELAY);
	return role_loop_run(&r.loop);
}
