/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The probe: the warden's child, which sends what the warden says on sockets that the warden has
 * opened, and tells what came back. It parses what containers answer, so it has no capability,
 * makes no socket and opens no file. One list of probes at a time; it lives as long as its channel.
 */
#include "config.h"
#include "daemon/log.h"
#include "daemon/msg.h"
#include "daemon/priv.h"
#include "daemon/probe_packet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

/* In the order of P_HAVE_*. */
enum { TCP4, TCP6, UDP4, UDP6, N_SOCKS };

struct run {
	struct p_run head;
	int socks[N_SOCKS]; /* -1: not there */
	struct p_probe to[PROBES_MAX];
	struct p_result got[PROBES_MAX];
	size_t n;
	uint32_t seq;
};

union any_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static socklen_t
to_sockaddr(const struct addr *a, uint16_t port, union any_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (a->family == 4) {
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = htons(port);
		memcpy(&ret->in.sin_addr, a->bytes, 4);
		return sizeof(ret->in);
	}
	ret->in6.sin6_family = AF_INET6;
	ret->in6.sin6_port = htons(port);
	memcpy(&ret->in6.sin6_addr, a->bytes, 16);
	return sizeof(ret->in6);
}

static struct addr
from_sockaddr(const union any_addr *u)
{
	if (u->sa.sa_family == AF_INET)
		return addr_from_v4(&u->in.sin_addr);
	if (u->sa.sa_family == AF_INET6)
		return addr_from_v6(&u->in6.sin6_addr);
	return (struct addr){ 0 };
}

static uint16_t
port_of(const union any_addr *u)
{
	return ntohs(u->sa.sa_family == AF_INET ? u->in.sin_port : u->in6.sin6_port);
}

/* A raw socket is given every segment of its namespace: only those to our port are wanted. */
static int
filter_segments(int sock, bool v6, uint16_t port)
{
	struct sock_filter v4_code[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 128),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter v6_code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 128),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { .len = v6 ? ARRAY_SIZE(v6_code) : ARRAY_SIZE(v4_code),
		.filter = v6 ? v6_code : v4_code };

	return setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

static int
prepare(struct run *r)
{
	const int one = 1;
	int e = 0;

	if (r->socks[TCP4] >= 0)
		e = filter_segments(r->socks[TCP4], false, r->head.sport);
	if (e == 0 && r->socks[TCP6] >= 0)
		e = filter_segments(r->socks[TCP6], true, r->head.sport);
	/* What nobody listens to, and what is prohibited, comes with the address it was sent to. */
	if (e == 0 && r->socks[UDP4] >= 0 &&
	    setsockopt(r->socks[UDP4], IPPROTO_IP, IP_RECVERR, &one, sizeof(one)) < 0)
		e = -errno;
	if (e == 0 && r->socks[UDP6] >= 0 &&
	    setsockopt(r->socks[UDP6], IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof(one)) < 0)
		e = -errno;
	if (e == 0 && getrandom(&r->seq, sizeof(r->seq), 0) != (ssize_t)sizeof(r->seq))
		e = -EIO;
	return e;
}

static int
send_syn(int sock, const struct p_probe *p, const struct addr *src, const struct run *r)
{
	const struct tuple t = {
		.src = *src, .dst = p->dst, .sport = r->head.sport, .dport = p->dport
	};
	uint8_t syn[PROBE_SYN_LEN];
	union any_addr to;
	socklen_t len = to_sockaddr(&p->dst, 0, &to);

	probe_syn(&t, r->seq, syn);
	return sendto(sock, syn, sizeof(syn), MSG_DONTWAIT, &to.sa, len) < 0 ? -errno : 0;
}

/* An error that an earlier probe has caused is told by the next call, whatever it is. */
static int
send_empty(int sock)
{
	int error;
	socklen_t len = sizeof(error);

	getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &len);
	return send(sock, "", 0, MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* The routes choose the source address: asked of a socket that is connected for the moment. */
static int
send_one(struct run *r, const struct p_probe *p, struct addr *ret_src)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	bool v6 = p->dst.family == 6;
	int udp = r->socks[v6 ? UDP6 : UDP4], tcp = r->socks[v6 ? TCP6 : TCP4], e;
	union any_addr to, own = { 0 };
	socklen_t len = to_sockaddr(&p->dst, p->dport, &to), own_len = sizeof(own);

	if (udp < 0 || tcp < 0)
		return -EAFNOSUPPORT;
	if (connect(udp, &to.sa, len) < 0 || getsockname(udp, &own.sa, &own_len) < 0)
		return -errno;
	*ret_src = from_sockaddr(&own);
	e = p->proto == IPPROTO_TCP ? send_syn(tcp, p, ret_src, r) : send_empty(udp);
	(void)connect(udp, &none, sizeof(none));
	return e;
}

static void
send_all(struct run *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct p_result *got = &r->got[i];

		got->error = send_one(r, &r->to[i], &got->src);
		/* NF_DROP in the output hook. */
		got->outcome = got->error == 0	      ? PROBE_SILENT
			       : got->error == -EPERM ? PROBE_HELD
						      : PROBE_UNSENT;
	}
}

static void
came(struct run *r, uint8_t proto, const struct addr *from, uint16_t port, enum probe_outcome what)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->got[i].outcome == PROBE_SILENT && r->to[i].proto == proto &&
		    r->to[i].dport == port && addr_eq(&r->to[i].dst, from))
			r->got[i].outcome = (uint8_t)what;
}

static void
read_segment(struct run *r, int sock, uint8_t family)
{
	uint8_t buf[256];
	union any_addr from = { 0 };
	socklen_t len = sizeof(from);
	struct probe_segment s;
	struct addr a;
	ssize_t n = recvfrom(sock, buf, sizeof(buf), MSG_DONTWAIT, &from.sa, &len);

	if (n < 0 || probe_segment_parse(family, buf, (size_t)n, &s) < 0 ||
	    s.dport != r->head.sport || s.ack != r->seq + 1)
		return;
	a = from_sockaddr(&from);
	came(r, IPPROTO_TCP, &a, s.sport, s.syn_ack ? PROBE_ANSWERED : PROBE_RESET);
}

static bool
is_port_unreachable(const struct sock_extended_err *e)
{
	if (e->ee_origin == SO_EE_ORIGIN_ICMP)
		return e->ee_type == ICMP_UNREACH && e->ee_code == ICMP_UNREACH_PORT;
	return e->ee_type == ICMP6_DST_UNREACH && e->ee_code == ICMP6_DST_UNREACH_NOPORT;
}

static void
read_errors(struct run *r, int sock)
{
	uint8_t data[64], control[512];
	struct iovec iov = { data, sizeof(data) };
	union any_addr to = { 0 };
	struct msghdr m = { .msg_name = &to,
		.msg_namelen = sizeof(to),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	struct addr a;

	if (recvmsg(sock, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return;
	a = from_sockaddr(&to);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
		struct sock_extended_err e;

		if (c->cmsg_len < CMSG_LEN(sizeof(e)) ||
		    !((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
			(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)))
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		if (e.ee_origin != SO_EE_ORIGIN_ICMP && e.ee_origin != SO_EE_ORIGIN_ICMP6)
			continue;
		came(r, IPPROTO_UDP, &a, port_of(&to),
		    is_port_unreachable(&e) ? PROBE_RESET : PROBE_UNREACHABLE);
	}
}

static void
read_datagram(struct run *r, int sock)
{
	uint8_t data[64];
	union any_addr from = { 0 };
	socklen_t len = sizeof(from);
	struct addr a;

	read_errors(r, sock);
	if (recvfrom(sock, data, sizeof(data), MSG_DONTWAIT, &from.sa, &len) < 0)
		return;
	a = from_sockaddr(&from);
	came(r, IPPROTO_UDP, &a, port_of(&from), PROBE_ANSWERED);
}

static bool
is_over(const struct run *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->got[i].outcome == PROBE_SILENT)
			return false;
	return true;
}

static void
wait_for_answers(struct run *r)
{
	uint64_t end = now_ms() + r->head.timeout_ms, now;
	struct pollfd p[N_SOCKS];

	while (!is_over(r) && (now = now_ms()) < end) {
		for (size_t i = 0; i < N_SOCKS; i++)
			p[i] = (struct pollfd){ r->socks[i], POLLIN, 0 };
		if (poll(p, N_SOCKS, (int)(end - now)) <= 0)
			continue;
		if (p[TCP4].revents != 0)
			read_segment(r, r->socks[TCP4], 4);
		if (p[TCP6].revents != 0)
			read_segment(r, r->socks[TCP6], 6);
		if (p[UDP4].revents != 0)
			read_datagram(r, r->socks[UDP4]);
		if (p[UDP6].revents != 0)
			read_datagram(r, r->socks[UDP6]);
	}
}

/* The table of messages has checked the lengths; the warden is believed, but not with indexes. */
static int
run_read(struct msg *m, struct run *ret)
{
	struct run r = { .socks = { -1, -1, -1, -1 } };
	size_t fd = 0;

	memcpy(&r.head, m->body, sizeof(r.head));
	r.n = (m->h.body_len - sizeof(r.head)) / sizeof(r.to[0]);
	memcpy(r.to, m->body + sizeof(r.head), r.n * sizeof(r.to[0]));
	for (size_t i = 0; i < N_SOCKS && fd < m->n_fds; i++)
		if (r.head.have & (1u << i))
			r.socks[i] = m->fds[fd++];
	if (r.head.timeout_ms == 0 || r.head.timeout_ms > PROBE_TIMEOUT_MAX_MS)
		return -EINVAL;
	for (size_t i = 0; i < r.n; i++)
		if ((r.to[i].dst.family != 4 && r.to[i].dst.family != 6) ||
		    (r.to[i].proto != IPPROTO_TCP && r.to[i].proto != IPPROTO_UDP))
			return -EINVAL;
	*ret = r;
	return 0;
}

static int
run_msg(struct msg *m)
{
	struct run r;
	int e;

	if (!msg_may_pass(m->h.type, ROLE_WARDEN, ROLE_PROBE))
		return -EBADMSG;
	e = run_read(m, &r);
	if (e < 0)
		return e;
	e = prepare(&r);
	if (e == 0) {
		send_all(&r);
		wait_for_answers(&r);
	}
	for (size_t i = 0; e < 0 && i < r.n; i++)
		r.got[i] = (struct p_result){ .outcome = PROBE_UNSENT, .error = e };
	return msg_send(
	    ROLE_CONTROL_FD, MSG_P_RAN, m->h.seq, r.got, r.n * sizeof(r.got[0]), NULL, 0);
}

int
main(int argc, char **argv)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct pollfd control = { ROLE_CONTROL_FD, POLLIN, 0 };
	struct role_args args;
	struct msg m;
	int r = 0;

	role_parse_args(ROLE_PROBE, &argc, argv, &args);
	priv_drop(ROLE_PROBE, args.uid, args.gid);
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	if (fcntl(ROLE_CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(ROLE_CONTROL_FD, F_SETFL, O_NONBLOCK) < 0) {
		log_error("cannot start: %s", strerror(errno));
		return 1;
	}
	priv_seccomp(ROLE_PROBE);
	while (r >= 0) {
		if (poll(&control, 1, -1) < 0)
			continue;
		r = msg_recv(ROLE_CONTROL_FD, &m);
		if (r <= 0)
			continue;
		r = run_msg(&m);
		msg_done(&m);
	}
	if (r == -ECONNRESET)
		return 0;
	log_error("ending: %s", strerror(-r));
	return 1;
}
