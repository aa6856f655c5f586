/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Traffic whose fate is known, without a pause, and an account of it at the receiver.
 *
 *   flood A B C TICK_US SECONDS B4 C4 B6 C6
 *
 * A, B, C are namespaces. From A to B: connections and datagrams to port 8000 are allowed, all else
 * is denied, as is everything from C to B, and A to C. Allowed are new TCP connections and new UDP
 * flows (each from a port of its own, each to be answered with its own number), one TCP stream and
 * one UDP flow for the whole time. An allowed one is lost if it is refused, broken or not answered
 * within SECONDS. Denied are datagrams and connections to B's 8000 (from C), B's 8001 and C's 9000,
 * and the first packet of an SCTP association to each; one that its receiver gets has leaked.
 *
 * Each line on standard input is answered with the account so far, as JSON. At the end of the input
 * nothing new is begun, what is on its way is waited for, and the last account is printed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PORT_ALLOWED 8000
#define PORT_DENIED 8001
#define PORT_EGRESS 9000
#define CALLS_MAX 128
#define DENIED_S 0.2
#define RCVBUF (8 << 20)

enum kind {
	LISTENER,
	SERVED, /* an accepted connection */
	UDP_SERVER,
	CALL_TCP,
	CALL_UDP,
	STREAM_TCP,
	STREAM_UDP,
	DENIED_TCP,
	SCTP_SINK, /* a raw socket that sees all SCTP that comes in */
};

struct sock {
	struct sock *next, *prev; /* of those with a deadline */
	enum kind kind;
	int fd;
	bool denied; /* whatever arrives here has leaked */
	bool idle, connected;
	double began;
	uint32_t number;
};

static struct {
	uint64_t calls, datagrams, echoes, answers;		 /* allowed, done */
	uint64_t denied_datagrams, denied_connects, denied_sctp; /* sent */
	uint64_t leaked, lost, retransmitted;
} count;

static int ns_a, ns_b, ns_c, epfd, n_calls;
static double patience;
static bool ending;
static struct sock list = { .next = &list, .prev = &list };
static uint32_t next_number;

static void
die(const char *what)
{
	perror(what);
	exit(2);
}

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* From whom to which port. */
static void
print_ends(const struct sock *s, const struct sockaddr_storage *from)
{
	struct sockaddr_storage mine = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(mine);
	char text[INET6_ADDRSTRLEN] = "";

	getsockname(s->fd, (struct sockaddr *)&mine, &len);
	if (from->ss_family == AF_INET)
		inet_ntop(
		    AF_INET, &((const struct sockaddr_in *)from)->sin_addr, text, sizeof(text));
	else
		inet_ntop(
		    AF_INET6, &((const struct sockaddr_in6 *)from)->sin6_addr, text, sizeof(text));
	fprintf(stderr, "from %s to %u", text, ntohs(((struct sockaddr_in *)&mine)->sin_port));
}

static void
tell(uint64_t *counter, const char *what, const struct sock *s, int error,
    const struct sockaddr_storage *from)
{
	static const char *const names[] = { "listener", "served", "server", "new TCP", "new UDP",
		"TCP stream", "UDP flow", "denied TCP", "SCTP" };

	if (++*counter > 20)
		return;
	fprintf(stderr, "%.6f %s: %s %" PRIu32 " ", now_s(), what, names[s->kind], s->number);
	if (from != NULL)
		print_ends(s, from);
	fprintf(stderr, "%s\n", error != 0 ? strerror(error) : "");
}

static struct sockaddr_storage
address(const char *text, uint16_t port, socklen_t *ret_len)
{
	struct sockaddr_storage ss = { .ss_family = AF_INET6 };
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&ss;
	struct sockaddr_in *four = (struct sockaddr_in *)&ss;

	*ret_len = sizeof(*six);
	if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
		six->sin6_port = htons(port);
		return ss;
	}
	ss.ss_family = AF_INET;
	*ret_len = sizeof(*four);
	if (inet_pton(AF_INET, text, &four->sin_addr) != 1)
		die(text);
	four->sin_port = htons(port);
	return ss;
}

static int
open_in(int ns, int family, int type, int proto)
{
	int fd;

	if (setns(ns, CLONE_NEWNET) < 0)
		die("setns");
	fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, proto);
	if (fd < 0)
		die("socket");
	return fd;
}

static struct sock *
sock_new(enum kind kind, int fd, uint32_t events)
{
	struct sock *s = calloc(1, sizeof(*s));
	struct epoll_event ev = { .events = events, .data.ptr = s };

	if (s == NULL)
		die("calloc");
	s->kind = kind;
	s->fd = fd;
	s->began = now_s();
	s->next = list.next;
	s->prev = &list;
	list.next->prev = s;
	list.next = s;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl");
	return s;
}

static void
sock_end(struct sock *s)
{
	const struct linger at_once = { 1, 0 };
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (s->kind == CALL_TCP || s->kind == STREAM_TCP) {
		if (getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
			count.retransmitted += info.tcpi_total_retrans;
	}
	if (s->kind == CALL_TCP || s->kind == CALL_UDP)
		n_calls--;
	if (s->kind == CALL_TCP || s->kind == DENIED_TCP || s->kind == SERVED)
		setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(s->fd);
	s->prev->next = s->next;
	s->next->prev = s->prev;
	free(s);
}

static void
lose(struct sock *s, int error)
{
	tell(&count.lost, "lost", s, error, NULL);
	sock_end(s);
}

/* Servers */

static void
serve(int ns, const char *addr, uint16_t port, bool denied)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };
	const int one = 1, room = RCVBUF;
	struct sockaddr_storage ss;
	struct sock *s;
	socklen_t len;
	int fd;

	ss = address(addr, port, &len);
	for (unsigned i = 0; i < 2; i++) {
		fd = open_in(ns, ss.ss_family, types[i], 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
		if (bind(fd, (struct sockaddr *)&ss, len) < 0 || (i == 0 && listen(fd, 4096) < 0))
			die("bind");
		s = sock_new(i == 0 ? LISTENER : UDP_SERVER, fd, EPOLLIN);
		s->denied = denied;
	}
}

static void
on_listener(struct sock *s)
{
	struct sockaddr_storage who;
	socklen_t len = sizeof(who);
	int fd;

	while ((fd = accept4(s->fd, (struct sockaddr *)&who, &len, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
	       0) {
		struct sock *c = sock_new(SERVED, fd, EPOLLIN);

		c->denied = s->denied;
		len = sizeof(who);
		if (c->denied)
			tell(&count.leaked, "leaked", s, 0, &who);
	}
}

static void
on_served(struct sock *s)
{
	char buf[64];
	ssize_t n;

	while ((n = recv(s->fd, buf, sizeof(buf), 0)) > 0) {
		if (memchr(buf, 'D', (size_t)n) != NULL)
			tell(&count.leaked, "leaked", s, 0, NULL);
		if (send(s->fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	}
	if (n == 0 || (n < 0 && errno != EAGAIN))
		sock_end(s);
}

/* A datagram is 'A' or 'D' and a number. */
static void
on_udp_server(struct sock *s)
{
	struct sockaddr_storage who;
	socklen_t len = sizeof(who);
	char buf[64];
	ssize_t n;

	while ((n = recvfrom(s->fd, buf, sizeof(buf), 0, (struct sockaddr *)&who, &len)) > 0) {
		if (s->denied || buf[0] == 'D')
			tell(&count.leaked, "leaked", s, 0, &who);
		else
			sendto(s->fd, buf, (size_t)n, 0, (struct sockaddr *)&who, len);
		len = sizeof(who);
	}
}

/* SCTP: no policy of the test allows any. */

static void
on_sctp(struct sock *s)
{
	struct sockaddr_storage who;
	socklen_t len = sizeof(who);
	char buf[256];

	while (recvfrom(s->fd, buf, sizeof(buf), 0, (struct sockaddr *)&who, &len) > 0) {
		tell(&count.leaked, "leaked", s, 0, &who);
		len = sizeof(who);
	}
}

static uint32_t
crc32c(const uint8_t *p, size_t len)
{
	uint32_t crc = UINT32_MAX;

	while (len-- > 0) {
		crc ^= *p++;
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* An INIT, as conntrack takes it for the begin of an association. */
static void
send_sctp(int fd, const char *addr, uint16_t port)
{
	static uint16_t sport = 20000;
	uint8_t p[32] = { [12] = 1, [15] = 20, [19] = 7, [21] = 1, [25] = 1, [27] = 1 };
	struct sockaddr_storage ss;
	uint32_t sum;
	socklen_t len;

	sport = (uint16_t)(sport < 60000 ? sport + 1 : 20000);
	p[0] = (uint8_t)(sport >> 8);
	p[1] = (uint8_t)sport;
	p[2] = (uint8_t)(port >> 8);
	p[3] = (uint8_t)port;
	sum = crc32c(p, sizeof(p));
	for (unsigned i = 0; i < 4; i++)
		p[8 + i] = (uint8_t)(sum >> (8 * i));
	ss = address(addr, 0, &len);
	sendto(fd, p, sizeof(p), 0, (struct sockaddr *)&ss, len);
	count.denied_sctp++;
}

/* Clients */

static struct sock *
call(enum kind kind, int ns, const char *addr, uint16_t port)
{
	bool tcp = kind == CALL_TCP || kind == STREAM_TCP || kind == DENIED_TCP;
	struct sockaddr_storage ss;
	socklen_t len;
	struct sock *s;
	int fd, r;

	ss = address(addr, port, &len);
	fd = open_in(ns, ss.ss_family, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	r = connect(fd, (struct sockaddr *)&ss, len);
	s = sock_new(kind, fd, tcp ? EPOLLOUT : EPOLLIN);
	s->number = next_number++;
	s->connected = !tcp;
	if (kind == CALL_TCP || kind == CALL_UDP)
		n_calls++;
	if (r < 0 && errno != EINPROGRESS) {
		if (kind == DENIED_TCP)
			sock_end(s);
		else
			lose(s, errno);
		return NULL;
	}
	return s;
}

/* The next number on its way. */
static void
ask(struct sock *s)
{
	char buf[8] = { 'A' };

	s->idle = false;
	s->began = now_s();
	s->number = next_number++;
	/* 'D' is what the server looks for. */
	for (unsigned i = 0; i < 6; i++)
		buf[1 + i] = (char)('a' + (s->number >> (4 * i) & 15));
	if (send(s->fd, buf, 7, MSG_NOSIGNAL) != 7)
		lose(s, errno);
}

static void
ask_new(struct sock *s)
{
	if (s != NULL)
		ask(s);
}

static void
on_connected(struct sock *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };
	socklen_t len = sizeof(int);
	int error = 0;

	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error == 0 && s->kind == DENIED_TCP)
		tell(&count.leaked, "leaked", s, 0, NULL);
	if (s->kind == DENIED_TCP) {
		sock_end(s);
		return;
	}
	if (error != 0) {
		lose(s, error);
		return;
	}
	s->connected = true;
	epoll_ctl(epfd, EPOLL_CTL_MOD, s->fd, &ev);
	ask(s);
}

static void
on_answer(struct sock *s)
{
	uint32_t number = 0;
	char buf[64];
	ssize_t n = recv(s->fd, buf, sizeof(buf), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	for (unsigned i = 0; n == 7 && i < 6; i++)
		number |= (uint32_t)(buf[1 + i] - 'a') << (4 * i);
	if (n != 7 || number != (s->number & 0xffffff)) {
		lose(s, n < 0 ? errno : EPROTO);
		return;
	}
	if (s->kind == CALL_TCP || s->kind == CALL_UDP) {
		*(s->kind == CALL_TCP ? &count.calls : &count.datagrams) += 1;
		sock_end(s);
		return;
	}
	*(s->kind == STREAM_TCP ? &count.echoes : &count.answers) += 1;
	s->idle = true;
	if (ending)
		sock_end(s);
}

static void
on_event(struct sock *s)
{
	switch (s->kind) {
	case LISTENER:
		on_listener(s);
		return;
	case SERVED:
		on_served(s);
		return;
	case UDP_SERVER:
		on_udp_server(s);
		return;
	case SCTP_SINK:
		on_sctp(s);
		return;
	default:
		if (s->connected)
			on_answer(s);
		else
			on_connected(s);
	}
}

/* What is denied: from where, to where. */
static struct denied {
	int ns;
	const char *addr;
	uint16_t port;
	int udp, sctp;
} denied[16];
static unsigned n_denied;

static void
deny(int ns, const char *addr, uint16_t port)
{
	socklen_t len;
	struct sockaddr_storage ss = address(addr, port, &len);

	denied[n_denied++] =
	    (struct denied){ ns, addr, port, open_in(ns, ss.ss_family, SOCK_DGRAM, 0),
		    open_in(ns, ss.ss_family, SOCK_RAW, IPPROTO_SCTP) };
}

/* Overdue ones are lost; the longest connections are asked for their next answer. */
static void
look_at_all(void)
{
	double now = now_s();

	for (struct sock *s = list.next, *next; s != &list; s = next) {
		next = s->next;
		if (s->kind == DENIED_TCP && now - s->began > DENIED_S)
			sock_end(s);
		else if (s->idle)
			ask(s);
		else if (s->kind >= CALL_TCP && s->kind <= STREAM_UDP && now - s->began > patience)
			lose(s, ETIMEDOUT);
	}
}

static void
on_tick(const char *b4, const char *b6)
{
	static unsigned tick;
	const char *b = ++tick & 1 ? b4 : b6;
	struct denied *d = &denied[tick / 2 % n_denied];
	struct sockaddr_storage ss;
	socklen_t len;

	look_at_all();
	if (n_calls < CALLS_MAX) {
		call(CALL_TCP, ns_a, b, PORT_ALLOWED);
		if (tick / 2 % 4 == 0)
			ask_new(call(CALL_UDP, ns_a, b, PORT_ALLOWED));
	}
	for (unsigned i = 0; i < n_denied; i++) {
		ss = address(denied[i].addr, denied[i].port, &len);
		sendto(denied[i].udp, "Daaaaaa", 7, 0, (struct sockaddr *)&ss, len);
		count.denied_datagrams++;
	}
	send_sctp(d->sctp, d->addr, d->port);
	call(DENIED_TCP, d->ns, d->addr, d->port);
	count.denied_connects++;
}

static void
report(void)
{
	printf("{\"calls\":%" PRIu64 ",\"datagrams\":%" PRIu64 ",\"echoes\":%" PRIu64
	       ",\"answers\":%" PRIu64 ",\"deniedDatagrams\":%" PRIu64
	       ",\"deniedConnects\":%" PRIu64 ",\"deniedSctp\":%" PRIu64 ",\"leaked\":%" PRIu64
	       ",\"lost\":%" PRIu64 ",\"retransmitted\":%" PRIu64 "}\n",
	    count.calls, count.datagrams, count.echoes, count.answers, count.denied_datagrams,
	    count.denied_connects, count.denied_sctp, count.leaked, count.lost,
	    count.retransmitted);
	fflush(stdout);
}

static bool
all_done(void)
{
	for (struct sock *s = list.next; s != &list; s = s->next)
		if (s->kind >= CALL_TCP && s->kind <= STREAM_UDP)
			return false;
	return true;
}

/* Nothing new is begun, what is on its way ends. */
static void
begin_end(int timer)
{
	struct sock *next;

	ending = true;
	close(timer);
	epoll_ctl(epfd, EPOLL_CTL_DEL, 0, NULL);
	for (struct sock *s = list.next; s != &list; s = next) {
		next = s->next;
		if (s->idle)
			sock_end(s);
	}
}

int
main(int argc, char **argv)
{
	const struct rlimit lim = { 16384, 16384 };
	struct epoll_event ev[1];
	struct itimerspec it = { 0 };
	char line[64], *b4, *c4, *b6, *c6;
	uint64_t ticks;
	int timer;

	if (argc != 10)
		return 2;
	setrlimit(RLIMIT_NOFILE, &lim);
	ns_a = open(argv[1], O_RDONLY | O_CLOEXEC);
	ns_b = open(argv[2], O_RDONLY | O_CLOEXEC);
	ns_c = open(argv[3], O_RDONLY | O_CLOEXEC);
	it.it_value.tv_nsec = it.it_interval.tv_nsec = atol(argv[4]) * 1000;
	patience = atof(argv[5]);
	b4 = argv[6], c4 = argv[7], b6 = argv[8], c6 = argv[9];
	epfd = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned six = 0; six < 2; six++) {
		const char *b = six ? b6 : b4, *c = six ? c6 : c4;

		serve(ns_b, b, PORT_ALLOWED, false);
		serve(ns_b, b, PORT_DENIED, true);
		serve(ns_c, c, PORT_EGRESS, true);
		sock_new(SCTP_SINK, open_in(ns_b, six ? AF_INET6 : AF_INET, SOCK_RAW, IPPROTO_SCTP),
		    EPOLLIN);
		sock_new(SCTP_SINK, open_in(ns_c, six ? AF_INET6 : AF_INET, SOCK_RAW, IPPROTO_SCTP),
		    EPOLLIN);
		deny(ns_a, b, PORT_DENIED);
		deny(ns_c, b, PORT_DENIED);
		deny(ns_c, b, PORT_ALLOWED);
		deny(ns_a, c, PORT_EGRESS);
		call(STREAM_TCP, ns_a, b, PORT_ALLOWED);
		ask_new(call(STREAM_UDP, ns_a, b, PORT_ALLOWED));
	}
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	timerfd_settime(timer, 0, &it, NULL);
	epoll_ctl(epfd, EPOLL_CTL_ADD, timer,
	    &(struct epoll_event){ .events = EPOLLIN, .data.ptr = NULL });
	epoll_ctl(
	    epfd, EPOLL_CTL_ADD, 0, &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &list });
	while (!ending || !all_done()) {
		/* One at a time: an event may end another's socket. */
		int n = epoll_wait(epfd, ev, 1, 100);

		if (n < 1) {
			look_at_all();
		} else if (ev[0].data.ptr == NULL) {
			if (read(timer, &ticks, sizeof(ticks)) > 0)
				on_tick(b4, b6);
		} else if (ev[0].data.ptr == &list) {
			if (read(0, line, sizeof(line)) > 0)
				report();
			else
				begin_end(timer);
		} else {
			on_event(ev[0].data.ptr);
		}
	}
	report();
	return count.leaked == 0 && count.lost == 0 ? 0 : 1;
}
