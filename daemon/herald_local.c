/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journald and syslog. Sockets do not block: what a receiver does not take waits in the spool. A
 * datagram is delivered when the kernel took it, a line over TCP when all of it is on its way;
 * neither protocol has an answer. A line over TCP goes with its length in front (RFC 6587, 3.4.1),
 * so that none is taken for two.
 */
#include "daemon/herald.h"

#include "rules/syslog.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_S 10

struct local {
	struct sink *sink;
	enum syslog_transport transport;
	unsigned facility;
	char host[256];
	int fd, type; /* -1: not connected */
	struct sockaddr_storage to;
	socklen_t to_len;
	struct event_base *base;
	struct event *event;	     /* of a connection in TCP */
	char frame[SYSLOG_MAX + 16]; /* under way in TCP */
	size_t frame_len, frame_sent;
	bool connecting;
};

static void
hang_up(struct local *l)
{
	if (l->event != NULL)
		event_free(l->event);
	l->event = NULL;
	l->connecting = false;
	close_fd(&l->fd);
}

static int
dial(struct local *l)
{
	if (l->fd >= 0)
		return 0;
	l->fd = socket(l->to.ss_family, l->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return -errno;
	if (connect(l->fd, (const struct sockaddr *)&l->to, l->to_len) < 0) {
		int r = -errno;

		if (r == -EINPROGRESS)
			return r;
		hang_up(l);
		return r;
	}
	return 0;
}

static int
send_datagram(struct local *l, const char *data, size_t len)
{
	int r = dial(l);

	if (r < 0)
		return r;
	if (send(l->fd, data, len, MSG_NOSIGNAL) >= 0)
		return 1;
	r = -errno;
	if (r == -EMSGSIZE)
		return -EINVAL;
	/* The receiver was started again, or is busy. */
	if (r != -EAGAIN)
		hang_up(l);
	return r;
}

static void
path_set(struct local *l, const char *path)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&l->to;

	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof(un->sun_path), "%s", path);
	l->to_len = sizeof(*un);
	l->type = SOCK_DGRAM;
}

static struct local *
local_new(struct sink *s)
{
	struct local *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->sink = s;
	l->fd = -1;
	if (gethostname(l->host, sizeof(l->host) - 1) < 0)
		l->host[0] = '\0';
	s->arg = l;
	s->state.on = 1;
	return l;
}

static int
journald_send(struct sink *s, json_t *const *alerts, size_t n)
{
	_cleanup_free_ char *entry = NULL;
	size_t len;
	int r = alert_to_journal(alerts[0], &entry, &len);

	return r < 0 ? r : send_datagram(s->arg, entry, len);
}

int
journald_open(struct sink *s, const struct alerts_config *c)
{
	struct local *l = local_new(s);

	if (l == NULL)
		return -ENOMEM;
	path_set(l, c->journald);
	s->send = journald_send;
	return 0;
}

static void
address_set(struct local *l, const struct addr *a, uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&l->to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&l->to;

	if (a->family == 4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->bytes, sizeof(in->sin_addr));
		l->to_len = sizeof(*in);
	} else {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, a->bytes, sizeof(in6->sin6_addr));
		l->to_len = sizeof(*in6);
	}
}

static int
syslog_send(struct sink *s, json_t *const *alerts, size_t n)
{
	struct local *l = s->arg;
	char line[SYSLOG_MAX + 1];
	size_t len = alert_to_syslog(alerts[0], l->facility, l->host, line);

	return send_datagram(l, line, len);
}

/* Of a connection: it stands, it takes more, it has something to read, or it takes too long. */
static void
on_stream(evutil_socket_t fd, short what, void *arg)
{
	struct local *l = arg;
	socklen_t len = sizeof(int);
	int error = what & EV_TIMEOUT ? ETIMEDOUT : 0;
	ssize_t n;

	if (error == 0 && l->connecting)
		(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	l->connecting = false;
	while (error == 0 && l->frame_sent < l->frame_len) {
		n = send(fd, l->frame + l->frame_sent, l->frame_len - l->frame_sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			error = errno;
		else
			l->frame_sent += (size_t)n;
	}
	if (error != 0) {
		hang_up(l);
		sink_done(l->sink, -error);
		return;
	}
	event_free(l->event);
	l->event = NULL;
	sink_done(l->sink, 1);
}

/* Nothing is ever answered: something to read is the end of the connection, or nonsense. */
static bool
is_closed(const struct local *l)
{
	char byte;

	return recv(l->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || errno != EAGAIN;
}

static int
stream_send(struct sink *s, json_t *const *alerts, size_t n)
{
	static const struct timeval patience = { .tv_sec = CONNECT_S };
	struct local *l = s->arg;
	char line[SYSLOG_MAX + 1];
	size_t len = alert_to_syslog(alerts[0], l->facility, l->host, line);
	int r;

	if (l->fd >= 0 && is_closed(l))
		hang_up(l);
	r = dial(l);
	if (r < 0 && r != -EINPROGRESS)
		return r;
	l->connecting = r == -EINPROGRESS;
	l->frame_len = (size_t)snprintf(l->frame, sizeof(l->frame), "%zu %s", len, line);
	l->frame_sent = 0;
	l->event = event_new(l->base, l->fd, EV_WRITE | EV_PERSIST | EV_TIMEOUT, on_stream, l);
	if (l->event == NULL || event_add(l->event, &patience) < 0) {
		hang_up(l);
		return -ENOMEM;
	}
	return 0;
}

int
syslog_open(struct sink *s, const struct alerts_config *c, struct event_base *base)
{
	struct local *l = local_new(s);

	if (l == NULL)
		return -ENOMEM;
	l->base = base;
	l->facility = (unsigned)c->syslog.facility;
	if (c->syslog.transport == SYSLOG_UNIX) {
		path_set(l, c->syslog.path);
	} else {
		l->type = c->syslog.transport == SYSLOG_UDP ? SOCK_DGRAM : SOCK_STREAM;
		address_set(l, &c->syslog.addr, c->syslog.port);
	}
	s->send = l->type == SOCK_STREAM ? stream_send : syslog_send;
	return 0;
}
