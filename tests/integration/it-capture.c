/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Live capture in a namespace that plays the host: what passes the filter, and from which devices.
 */
#include "netlink/capture.h"
#include "netlink/netns.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_SEEN 256

struct seen {
	struct frame_info f[MAX_SEEN];
	uint64_t time_ns;
	size_t n;
};

struct open_arg {
	struct capture *c;
	char error[256];
};

static int
open_inside(void *arg)
{
	struct open_arg *o = arg;

	return capture_open(&o->c, o->error);
}

static void
keep(void *arg, const struct frame_info *f, uint64_t time_ns)
{
	struct seen *s = arg;

	if (s->n < MAX_SEEN)
		s->f[s->n++] = *f;
	s->time_ns = time_ns;
}

static int
read_all(struct capture *c, struct seen *s)
{
	struct pollfd pfd = { .fd = capture_fd(c), .events = POLLIN };
	uint64_t malformed = 0;
	int r = 0, total = 0;

	memset(s, 0, sizeof(*s));
	while (r >= 0 && poll(&pfd, 1, 150) > 0) {
		r = capture_dispatch(c, 16, keep, s, &malformed);
		total += r;
	}
	return r < 0 || malformed > 0 ? -EIO : total;
}

static size_t
count(const struct seen *s, uint8_t proto, const char *src, const char *dst, int dport)
{
	struct addr a = ns_addr(src), b = ns_addr(dst);
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->f[i].tuple.proto == proto && addr_eq(&s->f[i].tuple.src, &a) &&
		    addr_eq(&s->f[i].tuple.dst, &b) && (dport < 0 || s->f[i].tuple.dport == dport))
			n++;
	return n;
}

/* A SYN behind a destination-options header; the kernel answers it with a reset, no more. */
static void
send_syn_with_extension(int nsfd)
{
	_cleanup_close_ int fd = netns_socket(nsfd, AF_INET6, SOCK_RAW, IPPROTO_DSTOPTS);
	/* Next header TCP, length 0 (8 bytes), PadN 4; then a TCP header, SYN, port 9 to 7777. */
	const uint8_t p[28] = { 6, 0, 1, 4, 0, 0, 0, 0, 0, 9, 7777 >> 8, 7777 & 255, 0, 0, 0, 1, 0,
		0, 0, 0, 0x50, 0x02, 1, 0, 0, 0, 0, 0 };
	struct sockaddr_storage to;
	socklen_t len = ns_sockaddr(NS_B6, 0, &to);

	if (fd < 0 || sendto(fd, p, sizeof(p), 0, (struct sockaddr *)&to, len) < 0)
		tap_note("no packet with an extension header: %s", strerror(errno));
}

int
main(void)
{
	static struct seen s;
	struct capture_stats st;
	struct open_arg o = { 0 };
	int c, srv, r, c6, srv6, early = -1, early_srv = -1;
	struct timespec now;
	struct ns_pair p, later;
	char peer[64];

	ns_start();
	ns_pair_new(&p);
	r = netns_call(p.a, open_inside, &o);
	if (!tap_ok(r == 0, "a capture opens on any device %s", o.error))
		return tap_end();
	read_all(o.c, &s);

	r = ns_tcp(p.a, p.b, NS_B4, 6001, &c, &srv) | ns_tcp(p.b, p.a, NS_A6, 6002, &c6, &srv6);
	for (int i = 0; i < 20; i++)
		r |= ns_talk(c, srv) | ns_talk(c6, srv6);
	r |= ns_ping(p.a, NS_B4, 5) | ns_ping(p.b, NS_A6, 6);
	r |= MIN(ns_udp_exchange(p.a, p.b, NS_B4, 6003), 0);
	r |= MIN(ns_udp_exchange(p.a, p.b, NS_B6, 6004), 0);
	tap_ok(r == 0 && ns_connect(p.a, NS_B4, 6005) == -ECONNREFUSED, "there is traffic");
	r = read_all(o.c, &s);
	clock_gettime(CLOCK_REALTIME, &now);
	tap_ok(count(&s, IPPROTO_TCP, NS_A4, NS_B4, 6001) == 1, "one SYN of an IPv4 connection");
	tap_ok(count(&s, IPPROTO_TCP, NS_B6, NS_A6, 6002) == 1, "one SYN of an IPv6 connection");
	tap_ok(count(&s, IPPROTO_TCP, NS_A4, NS_B4, 6005) == 1, "the SYN of a refused one");
	tap_ok(count(&s, IPPROTO_ICMP, NS_A4, NS_B4, 8 << 8) == 1, "one ICMP echo request");
	tap_ok(count(&s, IPPROTO_ICMPV6, NS_B6, NS_A6, 128 << 8) == 1, "one ICMPv6 echo request");
	tap_ok(s.n == 5, "and nothing else: no SYN-ACK, ACK, data, UDP or reply (%zu)", s.n);
	/* Of over 160 frames; reports of multicast membership have an extension header. */
	tap_ok(r >= 5 && r < 20, "the kernel's filter kept the others away (%d)", r);
	tap_ok(s.time_ns / NSEC_PER_SEC + 5 > (uint64_t)now.tv_sec &&
		   s.time_ns / NSEC_PER_SEC <= (uint64_t)now.tv_sec,
	    "times are nanoseconds of the real clock");
	tap_ok(s.n > 0 && s.f[0].ifindex > 1, "frames tell their interface");

	send_syn_with_extension(p.b);
	r = ns_tcp(p.a, p.a, "127.0.0.1", 6006, &early, &early_srv);
	read_all(o.c, &s);
	tap_ok(r == 0 && count(&s, IPPROTO_TCP, "127.0.0.1", "127.0.0.1", 6006) >= 1,
	    "loopback is seen");

	send_syn_with_extension(p.a);
	read_all(o.c, &s);
	tap_ok(count(&s, IPPROTO_TCP, NS_A6, NS_B6, 7777) == 1,
	    "a SYN behind an IPv6 extension header is seen");

	later.a = p.a;
	later.b = ns_new();
	snprintf(peer, sizeof(peer), "/proc/%d/fd/%d", (int)getpid(), later.b);
	NS_RUN(later.a, "ip", "link", "add", "vlate", "type", "veth", "peer", "name", "vb", "netns",
	    peer);
	NS_RUN(later.a, "ip", "addr", "add", "10.97.0.1/24", "dev", "vlate");
	NS_RUN(later.b, "ip", "addr", "add", "10.97.0.2/24", "dev", "vb");
	NS_RUN(later.a, "ip", "link", "set", "vlate", "up");
	NS_RUN(later.b, "ip", "link", "set", "vb", "up");
	r = ns_connect(later.b, "10.97.0.1", 6007);
	read_all(o.c, &s);
	tap_ok(r == -ECONNREFUSED && count(&s, IPPROTO_TCP, "10.97.0.2", "10.97.0.1", 6007) == 1,
	    "a device that was made later is seen too");

	r = capture_stats(o.c, &st);
	tap_ok(r == 0 && st.received > 0 && st.dropped == 0, "the ring's counters are read");
	/* More than 256 KB of frames while nobody reads. */
	for (int i = 0; i < 3000; i++)
		ns_connect(p.a, NS_B4, 6008);
	r = capture_stats(o.c, &st);
	tap_ok(r == 0 && st.dropped > 0 && st.dropped < 3000, "a full ring is counted (%llu)",
	    (unsigned long long)st.dropped);
	capture_free(o.c);
	return tap_end();
}
