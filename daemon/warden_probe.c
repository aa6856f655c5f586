/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probes: is what the rules refuse refused? The warden opens the sockets in the namespace and its
 * child, the probe (probe.c), uses them; what the child cannot see is asked of the other end's
 * namespace: whether a datagram is in its conntrack, which confirms an entry behind the input
 * chain, and whether its counter of refusals has moved.
 *
 * A probe goes to an address that is another watched namespace's own, with a hop limit that ends at
 * this host's next router. One list at a time.
 */
#include "daemon/log.h"
#include "daemon/warden.h"
#include "netlink/ct.h"
#include "netlink/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define HOPS 2 /* from bridge to bridge */
#define GRACE_MS 1000
#define N_HANDED 4

struct prober {
	struct warden *w;
	struct chan *chan; /* NULL: it is dead */
	struct event *timer;

	/* The list under way; seq 0: none. */
	uint32_t seq, asked_seq;
	struct w_probe head;
	struct w_probe_to to[PROBES_MAX];
	size_t n;
	int held[2]; /* so that nobody else takes the port meanwhile */
	uint64_t refused_before;
	bool counted;
};

/* Before privileges go: the filter lets nobody start a program. */
int
probe_start(const char *self, const char *instance, const char *ids)
{
	char path[PATH_MAX], uid[16], gid[16];
	unsigned u, g;
	int s[2], end = 0;
	const char *slash = strrchr(self, '/');
	pid_t pid;

	if (sscanf(ids, "%10u:%10u%n", &u, &g, &end) != 2 || ids[end] != '\0' || slash == NULL)
		return -EINVAL;
	snprintf(path, sizeof(path), "%.*s/nanoseg-probe", (int)(slash - self), self);
	snprintf(uid, sizeof(uid), "%u", u);
	snprintf(gid, sizeof(gid), "%u", g);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		close(s[0]);
		close(s[1]);
		return -errno;
	}
	if (pid == 0) {
		if (dup2(s[1], ROLE_CONTROL_FD) >= 0 &&
		    syscall(SYS_close_range, ROLE_CONTROL_FD + 1, ~0U, 0) == 0)
			execl(path, path, "--instance", instance, "--uid", uid, "--gid", gid,
			    (char *)NULL);
		log_error("cannot run %s: %s", path, strerror(errno));
		_exit(127);
	}
	close(s[1]);
	return s[0];
}

/* Sockets */

static bool
wants(const struct prober *p, uint8_t family)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->to[i].to.dst.family == family)
			return true;
	return false;
}

static int
bind_port(int sock, bool v6, uint16_t port)
{
	const struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	const struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	const int one = 1;

	if (v6 && setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		return -errno;
	if (v6)
		return bind(sock, (const struct sockaddr *)&any6, sizeof(any6)) < 0 ? -errno : 0;
	return bind(sock, (const struct sockaddr *)&any4, sizeof(any4)) < 0 ? -errno : 0;
}

static int
limit_hops(int sock, bool v6)
{
	const int hops = HOPS, checksum = 16; /* the offset of TCP's */
	int r = v6 ? setsockopt(sock, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops))
		   : setsockopt(sock, IPPROTO_IP, IP_TTL, &hops, sizeof(hops));
	int proto = 0;
	socklen_t len = sizeof(proto);

	if (r == 0 && v6 && getsockopt(sock, SOL_SOCKET, SO_PROTOCOL, &proto, &len) == 0 &&
	    proto == IPPROTO_TCP)
		r = setsockopt(sock, IPPROTO_IPV6, IPV6_CHECKSUM, &checksum, sizeof(checksum));
	return r < 0 ? -errno : 0;
}

/* One family's: raw TCP, UDP at the port, and TCP that only has the port. */
static int
open_family(int nsfd, bool v6, uint16_t port, int *ret_tcp, int *ret_udp, int *ret_held)
{
	int domain = v6 ? AF_INET6 : AF_INET, r;

	*ret_tcp = netns_socket(nsfd, domain, SOCK_RAW, IPPROTO_TCP);
	*ret_udp = netns_socket(nsfd, domain, SOCK_DGRAM, IPPROTO_UDP);
	*ret_held = netns_socket(nsfd, domain, SOCK_STREAM, IPPROTO_TCP);
	r = MIN(MIN(*ret_tcp, *ret_udp), *ret_held);
	r = MIN(r, 0);
	if (r == 0)
		r = limit_hops(*ret_tcp, v6);
	if (r == 0)
		r = limit_hops(*ret_udp, v6);
	if (r == 0)
		r = bind_port(*ret_udp, v6, port);
	if (r == 0)
		r = bind_port(*ret_held, v6, port);
	return r;
}

static int
open_sockets(struct prober *p, int nsfd, int handed[static N_HANDED])
{
	int r = 0;

	if (wants(p, 4))
		r = open_family(nsfd, false, p->head.sport, &handed[0], &handed[2], &p->held[0]);
	if (r == 0 && wants(p, 6))
		r = open_family(nsfd, true, p->head.sport, &handed[1], &handed[3], &p->held[1]);
	return r;
}

/* What may be asked */

/* Only an address of the namespace itself can be bound to, in it. */
static int
bind_own(void *arg)
{
	const struct addr *a = arg;
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	_cleanup_close_ int s =
	    socket(a->family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	if (s < 0)
		return -errno;
	memcpy(&in.sin_addr, a->bytes, sizeof(in.sin_addr));
	memcpy(&in6.sin6_addr, a->bytes, sizeof(in6.sin6_addr));
	r = a->family == 6 ? bind(s, (const struct sockaddr *)&in6, sizeof(in6))
			   : bind(s, (const struct sockaddr *)&in, sizeof(in));
	return r < 0 ? -errno : 0;
}

static int
check_one(struct warden *w, const struct w_probe *head, const struct w_probe_to *t)
{
	struct ns *n = scan_find(w->scan, t->cookie);
	struct addr own = t->to.dst;
	_cleanup_close_ int nsfd = -1;

	if ((t->to.dst.family != 4 && t->to.dst.family != 6) || t->cookie == head->cookie ||
	    (t->to.proto != IPPROTO_TCP && t->to.proto != IPPROTO_UDP) || t->to.dport == 0 ||
	    addr_is_loopback(&t->to.dst) || addr_is_multicast(&t->to.dst))
		return -EINVAL;
	if (n == NULL || n->att == NULL)
		return -ENOENT;
	nsfd = scan_open(w->scan, n);
	return nsfd < 0 ? nsfd : netns_call(nsfd, bind_own, &own);
}

static int
check_all(struct prober *p)
{
	int r = 0;

	if (p->head.timeout_ms == 0 || p->head.timeout_ms > PROBE_TIMEOUT_MAX_MS ||
	    p->head.sport < PROBE_PORT_MIN || p->head.zero != 0)
		return -EINVAL;
	for (size_t i = 0; r == 0 && i < p->n; i++)
		r = check_one(p->w, &p->head, &p->to[i]);
	return r;
}

/* What the other end knows */

static int
refused_there(struct prober *p, uint64_t *ret)
{
	struct ns *n = scan_find(p->w->scan, p->to[0].cookie);

	if (p->n != 1 || n == NULL || n->att == NULL || n->att->table == NULL)
		return -ENOENT;
	return nft_table_refused(n->att->table, ret);
}

static uint8_t
find_flags(struct prober *p, size_t i, const struct p_result *got)
{
	struct ns *from = scan_find(p->w->scan, p->head.cookie),
		  *to = scan_find(p->w->scan, p->to[i].cookie);
	const struct tuple t = { .src = got->src,
		.dst = p->to[i].to.dst,
		.sport = p->head.sport,
		.dport = p->to[i].to.dport,
		.proto = p->to[i].to.proto };
	uint8_t flags = 0;
	struct ct_entry e;

	if (got->src.family != t.dst.family || got->outcome == PROBE_HELD ||
	    got->outcome == PROBE_UNSENT)
		return 0;
	if (from != NULL && from->att != NULL && ct_get(from->att->request, &t, &e) == 0 &&
	    (e.status & CT_DST_NAT) != 0)
		flags |= PROBE_F_TRANSLATED;
	if (t.proto != IPPROTO_UDP || to == NULL || to->att == NULL || to->att->host ||
	    ct_get(to->att->request, &t, &e) < 0)
		return flags;
	ct_delete(to->att->request, &t);
	return flags | PROBE_F_ARRIVED;
}

/* A list */

static void
answer(struct warden *w, uint32_t seq, uint64_t cookie, int error, const struct p_result *got,
    size_t n)
{
	struct {
		struct w_probed head;
		struct p_result got[PROBES_MAX];
	} body = { .head = { .cookie = cookie, .error = error } };

	if (n > 0)
		memcpy(body.got, got, n * sizeof(*got));
	role_send(&w->loop, ROLE_CONTROLLER, MSG_W_PROBED, seq, &body,
	    sizeof(body.head) + n * sizeof(*got));
}

static void
end_list(struct prober *p, int error, const struct p_result *got, size_t n)
{
	evtimer_del(p->timer);
	for (size_t i = 0; i < ARRAY_SIZE(p->held); i++)
		close_fd(&p->held[i]);
	answer(p->w, p->seq, p->head.cookie, error, got, n);
	p->seq = 0;
}

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	end_list(arg, -ETIMEDOUT, NULL, 0);
}

static void
on_ran(struct prober *p, const struct msg *m)
{
	struct p_result got[PROBES_MAX] = { 0 };
	uint64_t refused;

	if (p->seq == 0 || m->h.seq != p->asked_seq)
		return;
	if (m->h.body_len != p->n * sizeof(got[0])) {
		end_list(p, -EBADMSG, NULL, 0);
		return;
	}
	for (size_t i = 0; i < p->n; i++) {
		memcpy(&got[i], m->body + i * sizeof(got[i]), sizeof(got[i]));
		got[i].zero = 0;
		got[i].flags = find_flags(p, i, &got[i]);
	}
	if (p->counted && refused_there(p, &refused) == 0 && refused != p->refused_before)
		got[0].flags |= PROBE_F_COUNTED;
	end_list(p, 0, got, p->n);
}

static void
on_msg(void *arg, struct chan *c, struct msg *m)
{
	if (msg_may_pass(m->h.type, ROLE_PROBE, ROLE_WARDEN))
		on_ran(arg, m);
}

static void
on_closed(void *arg, struct chan *c, int error)
{
	struct prober *p = arg;

	log_error("the probe has died: no self-test and no verification until the warden is "
		  "started again: %s",
	    strerror(-error));
	chan_free(c);
	p->chan = NULL;
	if (p->seq != 0)
		end_list(p, -EPIPE, NULL, 0);
}

static int
begin_list(struct prober *p, struct ns *n, int handed[static N_HANDED])
{
	struct {
		struct p_run head;
		struct p_probe to[PROBES_MAX];
	} body = { .head = { .timeout_ms = p->head.timeout_ms, .sport = p->head.sport } };
	const uint32_t ms = p->head.timeout_ms + GRACE_MS;
	const struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	_cleanup_close_ int nsfd = -1;
	int fds[N_HANDED], r = check_all(p);
	size_t n_fds = 0;

	if (r < 0)
		return r;
	nsfd = scan_open(p->w->scan, n);
	r = nsfd < 0 ? nsfd : open_sockets(p, nsfd, handed);
	if (r < 0)
		return r;
	for (size_t i = 0; i < N_HANDED; i++) {
		if (handed[i] < 0)
			continue;
		body.head.have |= (uint16_t)(1u << i);
		fds[n_fds++] = handed[i];
	}
	for (size_t i = 0; i < p->n; i++)
		body.to[i] = p->to[i].to;
	p->counted = refused_there(p, &p->refused_before) == 0;
	p->asked_seq++;
	evtimer_add(p->timer, &tv);
	return chan_send(p->chan, MSG_P_RUN, p->asked_seq, &body,
	    sizeof(body.head) + p->n * sizeof(body.to[0]), fds, n_fds);
}

void
probe_run(struct warden *w, struct ns *n, const struct msg *m)
{
	struct prober *p = w->prober;
	int handed[N_HANDED] = { -1, -1, -1, -1 }, r;
	uint64_t cookie;

	memcpy(&cookie, m->body, sizeof(cookie));
	if (p == NULL || p->chan == NULL || p->seq != 0 || n == NULL || n->att == NULL ||
	    m->h.seq == 0) {
		answer(w, m->h.seq, cookie,
		    p == NULL || p->chan == NULL ? -EPIPE
		    : p->seq != 0		 ? -EBUSY
						 : -ENOENT,
		    NULL, 0);
		return;
	}
	p->seq = m->h.seq;
	memcpy(&p->head, m->body, sizeof(p->head));
	p->n = (m->h.body_len - sizeof(p->head)) / sizeof(p->to[0]);
	memcpy(p->to, m->body + sizeof(p->head), p->n * sizeof(p->to[0]));
	r = begin_list(p, n, handed);
	for (size_t i = 0; i < N_HANDED; i++)
		close_fd(&handed[i]);
	if (r < 0)
		end_list(p, r, NULL, 0);
}

int
probe_init(struct warden *w, int sock)
{
	struct prober *p = calloc(1, sizeof(*p));
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int r;

	if (p == NULL)
		return -ENOMEM;
	/* A dead child needs nobody who waits for it. */
	sigaction(SIGCHLD, &ignore, NULL);
	p->w = w;
	p->held[0] = p->held[1] = -1;
	w->prober = p;
	p->timer = evtimer_new(w->loop.base, on_timeout, p);
	if (p->timer == NULL)
		return -ENOMEM;
	r = fcntl(sock, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	return r < 0 ? r : chan_new(w->loop.base, sock, on_msg, on_closed, p, &p->chan);
}

void
probe_done(struct warden *w)
{
	if (w->prober == NULL)
		return;
	chan_free(w->prober->chan);
	event_free(w->prober->timer);
	free(w->prober);
}
