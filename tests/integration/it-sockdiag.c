/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket tables of a namespace, read by an unprivileged process on a handed socket. */
#include "netlink/sockdiag.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_SEEN 512

struct list {
	struct diag_socket s[MAX_SEEN];
	size_t n;
	size_t max;
	int sock, result;
	int stop_after; /* the callback fails after so many, if not 0 */
};

static int
keep(void *arg, const struct diag_socket *s)
{
	struct list *l = arg;

	if (l->n < MAX_SEEN)
		l->s[l->n++] = *s;
	return l->stop_after != 0 && (int)l->n == l->stop_after ? -ECANCELED : 0;
}

static int
dump(void *arg)
{
	static const uint8_t listening[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };
	struct list *l = arg;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(listening) && r >= 0; i++)
		r = diag_listening(l->sock, listening[i], l->max - l->n, keep, l);
	if (r >= 0)
		r = diag_established(l->sock, l->max - l->n, keep, l);
	l->result = r < 0 ? r : (int)l->n;
	return 0;
}

static struct list *
dump_unprivileged(int sock, size_t max, int stop_after)
{
	static struct list *l;

	if (l == NULL)
		l = mmap(
		    NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(l, 0, sizeof(*l));
	l->sock = sock;
	l->max = max;
	l->stop_after = stop_after;
	if (ns_unprivileged(dump, l) != 0)
		l->result = -ECHILD;
	return l;
}

static const struct diag_socket *
find(const struct list *l, uint8_t proto, const char *local, uint16_t port, const char *remote,
    uint16_t remote_port)
{
	struct addr want = ns_addr(local), far = { 0 };

	if (remote != NULL)
		far = ns_addr(remote);
	for (size_t i = 0; i < l->n; i++) {
		const struct diag_socket *s = &l->s[i];

		if (s->proto == proto && s->local_port == port && addr_eq(&s->local, &want) &&
		    addr_eq(&s->remote, &far) && s->remote_port == remote_port &&
		    s->listening == (remote == NULL))
			return s;
	}
	return NULL;
}

int
main(void)
{
	int l4, l6, dual, u4, u6, uc, c = -1, s = -1, c6 = -1, s6 = -1, cm, sm, sock, many[200];
	const struct diag_socket *found;
	struct sockaddr_storage to;
	const struct list *l;
	struct ns_pair p;
	socklen_t len;

	ns_start();
	ns_pair_new(&p);
	sock = diag_open(p.b);
	l4 = ns_listen(p.b, NS_B4, 8001);
	l6 = ns_listen(p.b, NS_B6, 8002);
	dual = ns_listen(p.b, "::", 8003);
	u4 = ns_udp(p.b, "0.0.0.0", 8004);
	u6 = ns_udp(p.b, NS_B6, 8005);
	uc = ns_udp(p.b, "0.0.0.0", 8006);
	len = ns_sockaddr(NS_A4, 9, &to);
	if (connect(uc, (struct sockaddr *)&to, len) < 0 ||
	    ns_tcp(p.a, p.b, NS_B4, 8010, &c, &s) < 0 ||
	    ns_tcp(p.a, p.b, NS_B6, 8011, &c6, &s6) < 0) {
		tap_ok(false, "there is traffic");
		return tap_end();
	}
	cm = ns_connect(p.a, NS_B4, 8003);
	sm = accept(dual, NULL, NULL);

	l = dump_unprivileged(sock, MAX_SEEN, 0);
	tap_ok(l->result > 0 && l->result == (int)l->n, "an unprivileged process dumps (%d)",
	    l->result);
	tap_ok(find(l, IPPROTO_TCP, NS_B4, 8001, NULL, 0) != NULL, "an IPv4 listener");
	tap_ok(find(l, IPPROTO_TCP, NS_B6, 8002, NULL, 0) != NULL, "an IPv6 listener");
	found = find(l, IPPROTO_TCP, "::", 8003, NULL, 0);
	tap_ok(found != NULL && found->dual, "a listener of both families says so");
	tap_ok(find(l, IPPROTO_UDP, "0.0.0.0", 8004, NULL, 0) != NULL, "an IPv4 UDP server");
	tap_ok(find(l, IPPROTO_UDP, NS_B6, 8005, NULL, 0) != NULL, "an IPv6 UDP server");
	tap_ok(find(l, IPPROTO_UDP, NS_B4, 8006, NULL, 0) == NULL &&
		   find(l, IPPROTO_UDP, "0.0.0.0", 8006, NULL, 0) == NULL,
	    "a connected UDP socket is no server");
	tap_ok(find(l, IPPROTO_TCP, NS_B4, 8010, NS_A4, ns_local_port(c)) != NULL,
	    "an established IPv4 connection");
	tap_ok(find(l, IPPROTO_TCP, NS_B6, 8011, NS_A6, ns_local_port(c6)) != NULL,
	    "an established IPv6 connection");
	tap_ok(sm >= 0 && find(l, IPPROTO_TCP, NS_B4, 8003, NS_A4, ns_local_port(cm)) != NULL,
	    "an IPv4 connection of an IPv6 socket is IPv4");
	shutdown(c, SHUT_WR);
	l = dump_unprivileged(sock, MAX_SEEN, 0);
	tap_ok(find(l, IPPROTO_TCP, NS_B4, 8010, NS_A4, ns_local_port(c)) != NULL,
	    "a half-closed connection is still there");

	l = dump_unprivileged(sock, 3, 0);
	tap_ok(l->result == -E2BIG && l->n == 3, "more than the maximum is E2BIG");
	l = dump_unprivileged(sock, MAX_SEEN, 2);
	tap_ok(l->result == -ECANCELED && l->n == 2, "the callback can stop it");
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = ns_listen(p.b, NS_B4, (uint16_t)(12000 + i));
	l = dump_unprivileged(sock, 5, 0);
	tap_ok(l->result == -E2BIG, "a table of several messages is cut too");
	l = dump_unprivileged(sock, MAX_SEEN, 0);
	tap_ok(l->result > 200 && find(l, IPPROTO_TCP, NS_B4, 12199, NULL, 0) != NULL,
	    "and the socket is good for the whole dump after it (%d)", l->result);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		close(many[i]);
	(void)(l4 + l6 + u4 + u6 + s + s6);
	return tap_end();
}
