/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The metrics' ways out beside the API: a listener on a loopback address, which knows /metrics and
 * nothing else, and a file for node_exporter's textfile collector.
 *
 * Anybody on the machine can reach the listener. So a client has one deadline for everything; of
 * too many the one that has waited longest with its request has to go, and who has sent it already
 * is answered before that; the text is made at most once a second. Where no further file can be
 * opened nobody is accepted for a while: the socket would wake us without end.
 */
#include "daemon/api.h"
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENTS_MAX 64
#define BACKLOG 1024
#define ACCEPTS_PER_WAKEUP 64
#define PAUSE_S 1
#define REQUEST_MAX 4096
#define DEADLINE_S 5
#define FRESH_NS NSEC_PER_SEC
#define FILE_EVERY_S 15
#define PLAIN_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct client {
	struct metrics_out *out;
	struct event *ev, *deadline;
	int fd;		/* -1: free */
	uint64_t since; /* order of arrival */
	char request[REQUEST_MAX + 1];
	size_t len;
	char *answer;
	size_t answer_len, answer_off;
};

struct metrics_out {
	struct controller *c;
	struct event *ev, *resume;
	int fd;
	bool paused;
	uint64_t arrivals, made_ns; /* CLOCK_MONOTONIC */
	char *open_text, *plain_text;
	struct client clients[CLIENTS_MAX];
	unsigned seconds;
	bool file_failing;
};

/* What OpenMetrics says otherwise than the text format before it: see api.h. */
char *
metrics_text_plain(const char *text)
{
	char name[128], type[32], *plain = NULL;
	const char *suffix = "";
	size_t len;
	FILE *f = open_memstream(&plain, &len);
	bool failed;

	if (f == NULL)
		return NULL;
	for (const char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		int n = (int)(end - line), at = 0;

		if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
			bool info = strcmp(type, "info") == 0;

			suffix = info ? "_info" : strcmp(type, "counter") == 0 ? "_total" : "";
			fprintf(f, "# TYPE %s%s %s\n", name, suffix, info ? "gauge" : type);
		} else if (sscanf(line, "# HELP %127s %n", name, &at) == 1 && at > 0) {
			fprintf(f, "# HELP %s%s %.*s\n", name, suffix, n - at, line + at);
		} else if (*line != '#') {
			fprintf(f, "%.*s\n", n, line);
		}
	}
	failed = ferror(f) != 0;
	if (fclose(f) != 0 || failed) {
		free(plain);
		return NULL;
	}
	return plain;
}

static const char *
fresh_text(struct metrics_out *o, bool plain)
{
	uint64_t now = now_mono();

	if (o->open_text == NULL || now - o->made_ns >= FRESH_NS) {
		free(o->open_text);
		free(o->plain_text);
		o->open_text = metrics_text(o->c);
		o->plain_text = o->open_text != NULL ? metrics_text_plain(o->open_text) : NULL;
		o->made_ns = now;
	}
	return plain ? o->plain_text : o->open_text;
}

/* The listener */

static void
hang_up(struct client *k)
{
	if (k->ev != NULL)
		event_free(k->ev);
	if (k->deadline != NULL)
		event_free(k->deadline);
	close_fd(&k->fd);
	free(k->answer);
	*k = (struct client){ .out = k->out, .fd = -1 };
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	hang_up(arg);
}

static int
compose(struct client *k)
{
	bool is_get = strncmp(k->request, "GET ", 4) == 0, is_ours = false;
	bool plain = strcasestr(k->request, "application/openmetrics-text") == NULL;
	const char *status = "200 OK", *type = plain ? PLAIN_TYPE : METRICS_TYPE, *body = NULL;
	int n;

	if (is_get)
		is_ours = strncmp(k->request + 4, "/metrics ", 9) == 0 ||
			  strncmp(k->request + 4, "/metrics?", 9) == 0;
	if (is_ours)
		body = fresh_text(k->out, plain);
	if (body == NULL) {
		status = !is_get   ? "405 Method Not Allowed"
			 : is_ours ? "503 Service Unavailable"
				   : "404 Not Found";
		type = "text/plain";
		body = "only GET /metrics\n";
	}
	n = asprintf(&k->answer,
	    "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n"
	    "X-Content-Type-Options: nosniff\r\n\r\n%s",
	    status, type, strlen(body), body);
	if (n < 0) {
		k->answer = NULL;
		return -ENOMEM;
	}
	k->answer_len = (size_t)n;
	return 0;
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct client *k = arg;
	ssize_t n =
	    send(fd, k->answer + k->answer_off, k->answer_len - k->answer_off, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		k->answer_off += (size_t)n;
	if (n < 0 || k->answer_off == k->answer_len)
		hang_up(k);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *k = arg;
	ssize_t n = recv(fd, k->request + k->len, REQUEST_MAX - k->len, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hang_up(k);
		return;
	}
	k->len += (size_t)n;
	k->request[k->len] = '\0';
	if (memmem(k->request, k->len, "\r\n\r\n", 4) == NULL) {
		if (k->len == REQUEST_MAX)
			hang_up(k);
		return;
	}
	event_free(k->ev);
	k->ev = event_new(k->out->c->loop.base, fd, EV_WRITE | EV_PERSIST, on_writable, k);
	if (k->ev == NULL || event_add(k->ev, NULL) < 0 || compose(k) < 0)
		hang_up(k);
}

/* Who is to go first: those that have not asked before those that are answered, then by age. */
static bool
goes_before(const struct client *a, const struct client *b)
{
	if ((a->answer == NULL) != (b->answer == NULL))
		return a->answer == NULL;
	return a->since < b->since;
}

/* NULL: nobody is there. */
static struct client *
first_to_go(struct metrics_out *o)
{
	struct client *first = NULL;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *k = &o->clients[i];

		if (k->fd >= 0 && (first == NULL || goes_before(k, first)))
			first = k;
	}
	return first;
}

static struct client *
client_place(struct metrics_out *o)
{
	struct client *first;

	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (o->clients[i].fd < 0)
			return &o->clients[i];
	first = first_to_go(o);
	hang_up(first);
	return first;
}

static void
welcome(struct metrics_out *o, int fd)
{
	const struct timeval deadline = { .tv_sec = DEADLINE_S };
	struct event_base *base = o->c->loop.base;
	struct client *k = client_place(o);

	k->fd = fd;
	k->since = ++o->arrivals;
	k->ev = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, k);
	k->deadline = evtimer_new(base, on_deadline, k);
	if (k->ev == NULL || k->deadline == NULL || event_add(k->ev, NULL) < 0 ||
	    evtimer_add(k->deadline, &deadline) < 0)
		hang_up(k);
	else
		on_readable(fd, EV_READ, k);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct metrics_out *o = arg;

	event_add(o->ev, NULL);
}

static void
pause_accepting(struct metrics_out *o, int error)
{
	static const struct timeval pause = { .tv_sec = PAUSE_S };

	if (!o->paused)
		log_warn("metrics.listen: %s: nobody is accepted until there is room again, tried "
			 "every %d s",
		    strerror(error), PAUSE_S);
	o->paused = true;
	event_del(o->ev);
	evtimer_add(o->resume, &pause);
}

static void
on_client(evutil_socket_t listener, short what, void *arg)
{
	struct metrics_out *o = arg;

	for (int n = 0; n < ACCEPTS_PER_WAKEUP; n++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct client *first;

		if (fd >= 0) {
			o->paused = false;
			welcome(o, fd);
			continue;
		}
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
			return;
		first = first_to_go(o);
		if (first == NULL) {
			pause_accepting(o, errno);
			return;
		}
		hang_up(first);
	}
}

static int
listen_at(struct metrics_out *o, const struct metrics_config *m)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(m->port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(m->port) };
	bool four = m->addr.family == 4;
	int one = 1;

	memcpy(four ? (void *)&in.sin_addr : (void *)&in6.sin6_addr, m->addr.bytes,
	    addr_len(&m->addr));
	o->fd = socket(four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->fd < 0 || setsockopt(o->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(o->fd, four ? (struct sockaddr *)&in : (struct sockaddr *)&in6,
		four ? sizeof(in) : sizeof(in6)) < 0 ||
	    listen(o->fd, BACKLOG) < 0)
		return -errno;
	o->ev = event_new(o->c->loop.base, o->fd, EV_READ | EV_PERSIST, on_client, o);
	o->resume = evtimer_new(o->c->loop.base, on_resume, o);
	return o->ev != NULL && o->resume != NULL && event_add(o->ev, NULL) == 0 ? 0 : -ENOMEM;
}

int
metrics_out_new(struct controller *c, struct metrics_out **ret)
{
	struct metrics_out *o = calloc(1, sizeof(*o));
	const struct metrics_config *m = &c->config->metrics;
	char text[ADDR_STRLEN];
	int r;

	if (o == NULL)
		return -ENOMEM;
	o->c = c;
	o->fd = -1;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		o->clients[i] = (struct client){ .out = o, .fd = -1 };
	r = m->port != 0 ? listen_at(o, m) : 0;
	/* Nobody is watched less for it. */
	if (r < 0) {
		log_error(
		    "metrics.listen: %s port %u: %s; the metrics are on the API's socket only",
		    addr_format(&m->addr, text), m->port, strerror(-r));
		close_fd(&o->fd);
	}
	*ret = o;
	return 0;
}

/* The file */

/*
 * Complete under its name at every moment: written beside it, then moved. Others may be able to
 * write in that folder: a file of ours is always a new one, never a pipe or a link that waits under
 * its name.
 */
static int
write_file(const char *path, const char *text)
{
	char temporary[PATH_MAX];
	size_t len = strlen(text);
	_cleanup_close_ int fd = -1;
	int r = 0;

	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	/* For another user, whatever our umask. */
	if (fchmod(fd, 0644) < 0)
		r = -errno;
	for (size_t at = 0; r == 0 && at < len;) {
		ssize_t n = write(fd, text + at, len - at);

		if (n < 0)
			r = -errno;
		else
			at += (size_t)n;
	}
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	return r;
}

void
metrics_out_tick(struct controller *c)
{
	struct metrics_out *o = c->metrics_out;
	const char *path = c->config->metrics.textfile, *text;
	int r;

	if (path == NULL || o->seconds++ % FILE_EVERY_S != 0)
		return;
	text = fresh_text(o, true);
	r = text != NULL ? write_file(path, text) : -ENOMEM;
	if (r < 0 && !o->file_failing)
		log_error("metrics.textfile: %s: %s; the user of the controller has to be able to "
			  "write in its folder; trying again every %d s",
		    path, strerror(-r), FILE_EVERY_S);
	o->file_failing = r < 0;
}

void
metrics_out_stop(struct controller *c)
{
	/* What is no longer true is not to be collected. */
	if (c->config->metrics.textfile != NULL)
		unlink(c->config->metrics.textfile);
}
