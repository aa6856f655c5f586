/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of a namespace, watched by an unprivileged process on a handed socket. */
#include "netlink/netns.h"
#include "netlink/rtnl.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum wish {
	ABSENT,
	PRESENT,
	TENTATIVE,
};

/* Reads until the address is as wished, or for a second and a half. */
static bool
becomes(struct rtnl_watch *w, const char *text, enum wish wish)
{
	struct pollfd pfd = { .fd = rtnl_watch_fd(w), .events = POLLIN };
	struct addr want = ns_addr(text);

	for (int i = 0; i < 30; i++) {
		size_t n;
		const struct rtnl_addr *a;
		enum wish now = ABSENT;

		if (poll(&pfd, 1, 50) > 0 && rtnl_watch_read(w) < 0)
			return false;
		a = rtnl_watch_addrs(w, &n);
		for (size_t k = 0; k < n; k++)
			if (addr_eq(&a[k].addr, &want))
				now = a[k].tentative ? TENTATIVE : PRESENT;
		if (rtnl_watch_ready(w) && now == wish)
			return true;
	}
	return false;
}

static bool
sorted(const struct rtnl_watch *w)
{
	size_t n;
	const struct rtnl_addr *a = rtnl_watch_addrs(w, &n);

	for (size_t i = 1; i < n; i++)
		if (addr_cmp(&a[i - 1].addr, &a[i].addr) > 0)
			return false;
	return true;
}

struct first_arg {
	int sock;
};

/* A whole dump and a change, seen by a process without privileges. */
static int
first_dump(void *arg)
{
	const struct first_arg *f = arg;
	struct rtnl_watch *w;
	size_t n;

	if (rtnl_watch_new(dup(f->sock), &w) < 0)
		return 1;
	if (!becomes(w, NS_A4, PRESENT) || !becomes(w, NS_A6, PRESENT))
		return 2;
	if (!becomes(w, "127.0.0.1", ABSENT) || !becomes(w, "::1", ABSENT))
		return 3;
	rtnl_watch_addrs(w, &n);
	return n >= 2 && sorted(w) ? 0 : 4;
}

static void
addresses_come_and_go(void)
{
	struct rtnl_watch *w;
	struct first_arg f;
	struct ns_pair p;
	size_t n;
	int sock, r;

	ns_pair_new(&p);
	f.sock = rtnl_open(p.a);
	r = ns_unprivileged(first_dump, &f);
	tap_ok(r == 0, "an unprivileged process dumps and reads a handed socket (%d)", r);
	close(f.sock);

	sock = rtnl_open(p.a);
	r = rtnl_watch_new(sock, &w);
	tap_ok(r == 0 && !rtnl_watch_ready(w), "a new watch is not ready");
	tap_ok(becomes(w, NS_A4, PRESENT), "it becomes ready with what is there");
	tap_ok(rtnl_watch_read(w) == 0, "nothing new is no change");
	NS_RUN(p.a, "ip", "addr", "add", "10.99.1.7/32", "dev", "va");
	tap_ok(becomes(w, "10.99.1.7", PRESENT), "an IPv4 address that is added shows");
	NS_RUN(p.a, "ip", "addr", "add", "10.99.1.8", "peer", "10.99.1.9", "dev", "va");
	tap_ok(becomes(w, "10.99.1.8", PRESENT) && becomes(w, "10.99.1.9", ABSENT),
	    "with a peer, the own address is taken");
	NS_RUN(p.a, "ip", "addr", "del", "10.99.1.7/32", "dev", "va");
	tap_ok(becomes(w, "10.99.1.7", ABSENT), "and goes when it is deleted");
	NS_RUN(p.a, "ip", "addr", "add", "fd00:99::77/64", "dev", "va");
	tap_ok(becomes(w, "fd00:99::77", TENTATIVE), "an IPv6 address is tentative at first");
	NS_RUN(p.a, "ip", "addr", "del", "fd00:99::77/64", "dev", "va");
	tap_ok(becomes(w, "fd00:99::77", ABSENT), "and goes too");
	/* Duplicate detection takes a second; the kernel's own way out of it must show. */
	NS_RUN(p.a, "sysctl", "-qw", "net.ipv6.conf.va.optimistic_dad=0");
	NS_RUN(p.a, "ip", "addr", "add", "fd00:99::2/64", "dev", "va");
	usleep(1200000);
	tap_ok(becomes(w, "fd00:99::2", TENTATIVE), "a duplicate stays unusable");
	NS_RUN(p.a, "ip", "addr", "add", "10.99.9.9/32", "dev", "lo");
	tap_ok(
	    becomes(w, "10.99.9.9", PRESENT), "a routable address on the loopback device counts");
	NS_RUN(p.a, "ip", "link", "del", "va");
	tap_ok(becomes(w, NS_A4, ABSENT) && becomes(w, NS_A6, ABSENT),
	    "addresses go with their device");
	rtnl_watch_addrs(w, &n);
	tap_ok(sorted(w), "the list is sorted");
	rtnl_watch_free(w);
	close(p.a);
	close(p.b);
}

static void
an_overrun_is_repaired(void)
{
	struct rtnl_watch *w;
	char batch[16384];
	size_t len = 0, n = 0;
	int ns = ns_new(), sock;

	sock = rtnl_open(ns);
	sock_rcvbuf(sock, 4096);
	rtnl_watch_new(sock, &w);
	becomes(w, "127.0.0.1", ABSENT);
	for (int i = 0; i < 200; i++)
		len += (size_t)snprintf(
		    batch + len, sizeof(batch) - len, "addr add 10.98.0.%d/32 dev lo\n", i + 1);
	for (int i = 0; i < 100; i++)
		len += (size_t)snprintf(
		    batch + len, sizeof(batch) - len, "addr del 10.98.0.%d/32 dev lo\n", i + 1);
	ns_run(ns, batch, (const char *const[]){ "ip", "-batch", "-", NULL });
	tap_ok(becomes(w, "10.98.0.200", PRESENT) && becomes(w, "10.98.0.100", ABSENT) &&
		   becomes(w, "10.98.0.1", ABSENT),
	    "after an overrun a new dump shows what is there");
	rtnl_watch_addrs(w, &n);
	tap_ok(n == 100, "exactly that (%zu)", n);
	rtnl_watch_free(w);
	close(ns);
}

int
main(void)
{
	ns_start();
	addresses_come_and_go();
	an_overrun_is_repaired();
	return tap_end();
}
