/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New connections at the highest rate this machine can make, from one namespace to a server in
 * another, and the oracle: a connection counts when its answer has come back to the client.
 *
 *   flowgen udp|tcp CLIENT_NETNS SERVER_NETNS SERVER_ADDRESS FIRST_PORT PORTS FLOWS [RATE]
 *
 * RATE: flows a second at most. The namespaces are paths. Prints "answered N milliseconds M" and
 * ends; ends itself after two minutes whatever happens. No tuple occurs twice, each source port
 * talks to all PORTS server ports once: where the kernel chooses them, one in a hundred meets the
 * conntrack entry of a connection that was reset before, and is no new connection to conntrack.
 */
#include "rules/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PORTS 64
#define MAX_FLOWS 1000000u
#define BATCH MAX_PORTS
#define WINDOW 8u /* sockets of UDP */
#define TIME_LIMIT_S 120
#define FIRST_SOURCE 2000

struct plan {
	bool tcp;
	const char *client_ns, *server_ns;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	unsigned first_port, n_ports, flows;
	unsigned rate; /* 0: no limit */
	uint64_t start_ns;
};

static void
die(const char *what)
{
	fprintf(stderr, "flowgen: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
enter(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		die(path);
}

static struct sockaddr_storage
with_port(const struct plan *p, unsigned port)
{
	struct sockaddr_storage s = p->addr;

	/* The port has the same place in both families. */
	((struct sockaddr_in *)&s)->sin_port = htons((uint16_t)port);
	return s;
}

static int
new_socket(const struct plan *p, int flags)
{
	int fd = socket(
	    p->addr.ss_family, (p->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

static void
set_option(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

/* Closing sends a reset: no port is held in TIME_WAIT. */
static void
close_hard(int fd)
{
	const struct linger hard = { .l_onoff = 1 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
}

/* One message for each of n ports; the address of each is its own. */
struct batch {
	struct mmsghdr m[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage addr[BATCH];
	char byte[BATCH];
};

static void
batch_prepare(struct batch *b, unsigned n, bool with_addr)
{
	memset(b->m, 0, n * sizeof(b->m[0]));
	for (unsigned i = 0; i < n; i++) {
		b->iov[i] = (struct iovec){ &b->byte[i], 1 };
		b->m[i].msg_hdr.msg_iov = &b->iov[i];
		b->m[i].msg_hdr.msg_iovlen = 1;
		if (!with_addr)
			continue;
		b->m[i].msg_hdr.msg_name = &b->addr[i];
		b->m[i].msg_hdr.msg_namelen = sizeof(b->addr[i]);
	}
}

static void
serve_udp(int fd)
{
	static struct batch b;
	int n;

	do {
		batch_prepare(&b, BATCH, true);
		n = recvmmsg(fd, b.m, BATCH, MSG_DONTWAIT, NULL);
		if (n > 0)
			(void)sendmmsg(fd, b.m, (unsigned)n, 0);
	} while (n == BATCH);
}

static void
serve_tcp(int fd)
{
	int c;

	while ((c = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		close_hard(c);
}

/* Answers on all ports until it is killed; a byte on ready_fd says that it listens. */
static void
serve(const struct plan *p, int ready_fd)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev[MAX_PORTS];

	enter(p->server_ns);
	for (unsigned i = 0; i < p->n_ports; i++) {
		struct sockaddr_storage a = with_port(p, p->first_port + i);
		int fd = new_socket(p, SOCK_NONBLOCK);

		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20);
		ev[0] = (struct epoll_event){ .events = EPOLLIN, .data.fd = fd };
		if (bind(fd, (struct sockaddr *)&a, p->addr_len) < 0 ||
		    (p->tcp && listen(fd, 4096) < 0) ||
		    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev[0]) < 0)
			die("server");
	}
	if (write(ready_fd, "1", 1) != 1)
		die("server");
	for (;;) {
		int n = epoll_wait(ep, ev, MAX_PORTS, -1);

		for (int i = 0; i < n; i++) {
			if (p->tcp)
				serve_tcp(ev[i].data.fd);
			else
				serve_udp(ev[i].data.fd);
		}
	}
}

static unsigned
receive_answers(int fd, struct batch *b, unsigned n)
{
	unsigned got = 0;

	while (got < n) {
		int r;

		batch_prepare(b, n - got, false);
		r = recvmmsg(fd, b->m, n - got, MSG_WAITFORONE, NULL);
		if (r <= 0)
			break;
		got += (unsigned)r;
	}
	return got;
}

static void
bind_source(const struct plan *p, int fd, unsigned source)
{
	struct sockaddr_storage own = { .ss_family = p->addr.ss_family };

	/* TCP: the same source port to every server port. */
	if (p->tcp)
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	((struct sockaddr_in *)&own)->sin_port = htons((uint16_t)(FIRST_SOURCE + source));
	if (bind(fd, (struct sockaddr *)&own, p->addr_len) < 0)
		die("bind");
}

/* A socket of its own source port that has sent one datagram to each of n server ports. */
static int
send_udp(const struct plan *p, unsigned source, unsigned n)
{
	static struct batch b;
	const struct timeval limit = { .tv_sec = 2 };
	int fd = new_socket(p, 0);

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	bind_source(p, fd, source);
	for (unsigned i = 0; i < n; i++)
		b.addr[i] = with_port(p, p->first_port + i);
	batch_prepare(&b, n, true);
	for (unsigned i = 0; i < n; i++)
		b.m[i].msg_hdr.msg_namelen = p->addr_len;
	if (sendmmsg(fd, b.m, n, 0) != (int)n)
		die("send");
	return fd;
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Waits until so many flows are due. */
static void
pace(const struct plan *p, unsigned flows)
{
	uint64_t due, now = now_ns();
	struct timespec left;

	if (p->rate == 0)
		return;
	due = p->start_ns + flows * NSEC_PER_SEC / p->rate;
	if (due <= now)
		return;
	left = (struct timespec){ .tv_sec = (time_t)((due - now) / NSEC_PER_SEC),
		.tv_nsec = (long)((due - now) % NSEC_PER_SEC) };
	nanosleep(&left, NULL);
}

/* Some sockets are always ahead of the answers, so that neither side waits for the other. */
static unsigned
client_udp(const struct plan *p)
{
	static struct batch b;
	const unsigned sockets = (p->flows + p->n_ports - 1) / p->n_ports;
	unsigned answered = 0;
	int fds[WINDOW];

	for (unsigned s = 0; s < sockets + WINDOW; s++) {
		unsigned done = s - WINDOW;

		if (s < sockets)
			pace(p, s * p->n_ports);

		if (s >= WINDOW && done < sockets) {
			answered += receive_answers(
			    fds[done % WINDOW], &b, MIN(p->flows - done * p->n_ports, p->n_ports));
			close(fds[done % WINDOW]);
		}
		if (s < sockets)
			fds[s % WINDOW] =
			    send_udp(p, s, MIN(p->flows - s * p->n_ports, p->n_ports));
	}
	return answered;
}

/* A batch of connections at a time, each to the next server port. */
static unsigned
client_tcp(const struct plan *p)
{
	unsigned answered = 0;

	for (unsigned at = 0; at < p->flows;) {
		const unsigned n = MIN(p->flows - at, (unsigned)BATCH);
		int fds[BATCH];

		pace(p, at);
		for (unsigned i = 0; i < n; i++) {
			struct sockaddr_storage a =
			    with_port(p, p->first_port + (at + i) % p->n_ports);

			fds[i] = new_socket(p, SOCK_NONBLOCK);
			bind_source(p, fds[i], (at + i) / p->n_ports);
			if (connect(fds[i], (struct sockaddr *)&a, p->addr_len) < 0 &&
			    errno != EINPROGRESS)
				die("connect");
		}
		for (unsigned i = 0; i < n; i++) {
			struct pollfd w = { .fd = fds[i], .events = POLLOUT };
			socklen_t len = sizeof(int);
			int error = -1;

			/* A reset is an answer too: the server closes at once. */
			if (poll(&w, 1, 2000) == 1)
				(void)getsockopt(fds[i], SOL_SOCKET, SO_ERROR, &error, &len);
			answered += error == 0 || error == ECONNRESET;
			close_hard(fds[i]);
		}
		at += n;
	}
	return answered;
}

static bool
parse_number(const char *text, unsigned lo, unsigned hi, unsigned *ret)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || v < lo || v > hi)
		return false;
	*ret = (unsigned)v;
	return true;
}

static bool
parse_addr(const char *text, struct plan *p)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&p->addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&p->addr;

	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		p->addr.ss_family = AF_INET;
		p->addr_len = sizeof(*in);
		return true;
	}
	p->addr.ss_family = AF_INET6;
	p->addr_len = sizeof(*in6);
	return inet_pton(AF_INET6, text, &in6->sin6_addr) == 1;
}

static bool
parse(int argc, char **argv, struct plan *p)
{
	if (argc < 8 || argc > 9 || (strcmp(argv[1], "udp") != 0 && strcmp(argv[1], "tcp") != 0))
		return false;
	p->tcp = strcmp(argv[1], "tcp") == 0;
	p->client_ns = argv[2];
	p->server_ns = argv[3];
	return parse_addr(argv[4], p) && parse_number(argv[5], 1, 65000, &p->first_port) &&
	       parse_number(argv[6], 1, MAX_PORTS, &p->n_ports) &&
	       parse_number(argv[7], 1, MAX_FLOWS, &p->flows) &&
	       (argc == 8 || parse_number(argv[8], 1, MAX_FLOWS, &p->rate)) &&
	       p->first_port + p->n_ports <= 65536 && p->flows / p->n_ports < 65536 - FIRST_SOURCE;
}

int
main(int argc, char **argv)
{
	const struct rlimit files = { 4096, 4096 };
	struct plan p = { 0 };
	unsigned answered;
	int ready[2];
	char byte;
	pid_t server;

	if (!parse(argc, argv, &p)) {
		fprintf(stderr, "usage: flowgen udp|tcp CLIENT_NETNS SERVER_NETNS SERVER_ADDRESS "
				"FIRST_PORT PORTS FLOWS [RATE]\n");
		return 2;
	}
	alarm(TIME_LIMIT_S);
	(void)setrlimit(RLIMIT_NOFILE, &files);
	if (pipe2(ready, O_CLOEXEC) < 0)
		die("pipe");
	server = fork();
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		serve(&p, ready[1]);
	}
	close(ready[1]);
	if (server < 0 || read(ready[0], &byte, 1) != 1)
		die("server");
	enter(p.client_ns);
	p.start_ns = now_ns();
	answered = p.tcp ? client_tcp(&p) : client_udp(&p);
	printf("answered %u milliseconds %llu\n", answered,
	    (unsigned long long)((now_ns() - p.start_ns) / NSEC_PER_MSEC));
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return 0;
}
