/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conntrack against this kernel: what each kind of connection reports, what an unprivileged reader
 * may do with handed sockets, what is left after an overrun, and the requests.
 */
#include "netlink/ct.h"
#include "netlink/netns.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MARK                                \
	" ct state new ct event set reply;" \
	" meta l4proto tcp ct state new ct event set assured;"
#define OBSERVE                                                      \
	"table inet obs {\n"                                         \
	" chain o { type filter hook output priority 0;" MARK " }\n" \
	" chain i { type filter hook input priority 0;" MARK " }\n"  \
	"}\n"
#define MAX_SEEN 1024
#define FULL_MAX 300000

struct seen {
	struct ct_entry e[MAX_SEEN];
	size_t n;
	int result;
	bool done;
	int error;
	struct ct_recv_stats stats;
};

struct drain_arg {
	int sock;
	struct seen *seen; /* shared with the child */
};

static uint8_t recv_buf[65536] __attribute__((aligned(8)));

static int
keep(void *arg, const struct ct_entry *e)
{
	struct seen *s = arg;

	if (s->n < MAX_SEEN)
		s->e[s->n++] = *e;
	return 0;
}

static int
drain(void *arg)
{
	struct drain_arg *d = arg;
	bool done;
	int error;

	/* Parts of a dump come as the ones before are read, so read until there is nothing. */
	for (int i = 0; i < 10000; i++) {
		d->seen->result = ct_recv(d->sock, recv_buf, sizeof(recv_buf), 64, keep, d->seen,
		    &d->seen->stats, &done, &error);
		if (done) {
			d->seen->done = true;
			d->seen->error = error;
		}
		if (d->seen->result < 0 || (d->seen->result == 0 && !done))
			break;
	}
	return 0;
}

/* Reads a socket in a process without any privilege, as the controller does. */
static struct seen *
read_unprivileged(int sock)
{
	static struct seen *s;
	struct drain_arg d = { .sock = sock };

	if (s == NULL)
		s = mmap(
		    NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(s, 0, sizeof(*s));
	d.seen = s;
	if (ns_unprivileged(drain, &d) != 0)
		s->result = -ECHILD;
	return s;
}

static bool
tuple_is(const struct tuple *t, uint8_t proto, const char *src, const char *dst, int sport,
    uint16_t dport)
{
	struct addr s = ns_addr(src), d = ns_addr(dst);

	return t->proto == proto && memcmp(&t->src, &s, sizeof(s)) == 0 &&
	       memcmp(&t->dst, &d, sizeof(d)) == 0 && t->dport == dport &&
	       (sport < 0 || t->sport == sport);
}

struct kind {
	const char *name;
	uint8_t proto;
	bool v6, answered;
	uint16_t dport;
};

static const struct kind kinds[] = {
	{ "tcp over ipv4", IPPROTO_TCP, false, true, 7001 },
	{ "tcp over ipv6", IPPROTO_TCP, true, true, 7002 },
	{ "udp over ipv4", IPPROTO_UDP, false, true, 7003 },
	{ "udp over ipv6", IPPROTO_UDP, true, true, 7004 },
	{ "icmp", IPPROTO_ICMP, false, true, 8 << 8 },
	{ "icmpv6", IPPROTO_ICMPV6, true, true, 128 << 8 },
	{ "a closed tcp port over ipv4", IPPROTO_TCP, false, false, 7005 },
	{ "a closed tcp port over ipv6", IPPROTO_TCP, true, false, 7006 },
	{ "a closed udp port over ipv4", IPPROTO_UDP, false, false, 7007 },
	{ "a closed udp port over ipv6", IPPROTO_UDP, true, false, 7008 },
};

static int
make_traffic(const struct ns_pair *p, const struct kind *k)
{
	_cleanup_close_ int c = -1, s = -1;
	const char *server = k->v6 ? NS_B6 : NS_B4;
	struct sockaddr_storage to;
	socklen_t len = ns_sockaddr(server, k->dport, &to);

	if (!k->answered && k->proto == IPPROTO_TCP)
		return ns_connect(p->a, server, k->dport) == -ECONNREFUSED ? 0 : -EPROTO;
	if (!k->answered) {
		c = ns_udp(p->a, k->v6 ? "::" : "0.0.0.0", 0);
		return sendto(c, "x", 1, 0, (struct sockaddr *)&to, len) == 1 ? 0 : -errno;
	}
	if (k->proto == IPPROTO_TCP)
		return ns_tcp(p->a, p->b, server, k->dport, &c, &s);
	if (k->proto == IPPROTO_UDP)
		return MIN(ns_udp_exchange(p->a, p->b, server, k->dport), 0);
	return ns_ping(p->a, server, 4242);
}

static void
one_event_per_answered_connection(void)
{
	static const char *const ends[] = { "client", "server" };
	struct ns_pair p;
	int ev[2];

	ns_pair_new(&p);
	ns_nft(p.a, OBSERVE);
	ns_nft(p.b, OBSERVE);
	ev[0] = ct_open_events(p.a, CT_GROUP_UPDATE, 1 << 20);
	ev[1] = ct_open_events(p.b, CT_GROUP_UPDATE, 1 << 20);
	tap_ok(ev[0] >= 0 && ev[1] >= 0, "event sockets open in both namespaces");

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *k = &kinds[i];
		const char *client = k->v6 ? NS_A6 : NS_A4, *server = k->v6 ? NS_B6 : NS_B4;
		int traffic = make_traffic(&p, k);

		for (int end = 0; end < 2; end++) {
			const struct seen *s = read_unprivileged(ev[end]);
			const struct ct_entry *e = &s->e[0];
			bool ok = traffic == 0 && s->result == 0 && s->stats.malformed == 0 &&
				  s->n == (k->answered ? 1u : 0u);

			if (ok && k->answered)
				ok = e->msg == CT_MSG_UPDATE && ct_is_answered(e) &&
				     e->tcp_state == (k->proto == IPPROTO_TCP ? 3 : 0) &&
				     tuple_is(&e->orig, k->proto, client, server,
					 proto_is_icmp(k->proto) ? 4242 : -1, k->dport);
			tap_ok(ok, "%s: %s at the %s", k->name,
			    k->answered ? "exactly one event" : "no event", ends[end]);
			if (!ok)
				tap_note(
				    "traffic %d, result %d, %zu entries", traffic, s->result, s->n);
		}
	}
	for (int end = 0; end < 2; end++)
		close(ev[end]);
	close(p.a);
	close(p.b);
}

static void
a_connection_met_in_the_middle_says_so(void)
{
	_cleanup_close_ int c = -1, s = -1, ev = -1;
	const struct seen *seen;
	struct ns_pair p;
	int r;

	ns_pair_new(&p);
	r = ns_tcp(p.a, p.b, NS_B4, 7100, &c, &s);
	ev = ct_open_events(p.a, CT_GROUP_UPDATE, 1 << 20);
	ns_nft(p.a, OBSERVE);
	/* The server speaks first, so the kernel takes it for the opener. */
	if (r == 0)
		r = ns_talk(s, c);
	if (r == 0)
		r = ns_talk(s, c);
	seen = read_unprivileged(ev);
	tap_ok(r == 0 && seen->n == 1 &&
		   tuple_is(&seen->e[0].orig, IPPROTO_TCP, NS_B4, NS_A4, 7100, ns_local_port(c)),
	    "a connection met in the middle has the first speaker as its origin");
	tap_ok(seen->n == 1 && seen->e[0].tcp_state == 0,
	    "and its event tells no state, where a handshake's tells ESTABLISHED");
	close(p.a);
	close(p.b);
}

struct probe {
	int sock;
	int result;
};

static int
dump_unprivileged(void *arg)
{
	const struct probe *p = arg;
	struct ct_recv_stats stats = { 0 };
	struct seen *s;
	bool done = false;
	int error = 0;

	s = calloc(1, sizeof(*s));
	if (s == NULL || ct_request_dump(p->sock, 9) == -EPERM)
		return s == NULL;
	ct_recv(p->sock, recv_buf, sizeof(recv_buf), 64, keep, s, &stats, &done, &error);
	return done && error == -EPERM && s->n == 0 ? 0 : 1;
}

static void
an_overrun_is_told_and_a_dump_completes_the_picture(void)
{
	_cleanup_close_ int ev = -1, req = -1, srv = -1;
	const unsigned flows = 300;
	struct sockaddr_storage from;
	const struct seen *s;
	struct probe probe;
	struct ns_pair p;
	uint32_t count = 0, max = 0;
	unsigned sent = 0;
	socklen_t len;
	char byte = 'x';
	size_t found = 0;
	int r;

	ns_pair_new(&p);
	ns_nft(p.a, OBSERVE);
	ev = ct_open_events(p.a, CT_GROUP_UPDATE, 4096);
	req = ct_open_requests(p.a, 1 << 20);
	srv = ns_udp(p.b, NS_B4, 7200);
	for (unsigned i = 0; i < flows; i++) {
		_cleanup_close_ int c = ns_udp(p.a, "0.0.0.0", (uint16_t)(20000 + i));
		struct sockaddr_storage to;

		len = ns_sockaddr(NS_B4, 7200, &to);
		if (sendto(c, &byte, 1, 0, (struct sockaddr *)&to, len) != 1)
			break;
		len = sizeof(from);
		if (recvfrom(srv, &byte, 1, 0, (struct sockaddr *)&from, &len) != 1 ||
		    sendto(srv, &byte, 1, 0, (struct sockaddr *)&from, len) != 1 ||
		    recv(c, &byte, 1, 0) != 1)
			break;
		sent++;
	}
	s = read_unprivileged(ev);
	tap_ok(sent == flows && s->result == -ENOBUFS && s->stats.overruns == 1,
	    "an overrun is told once, as ENOBUFS");
	s = read_unprivileged(ev);
	tap_ok(s->result == 0 && s->n > 0 && s->n < flows,
	    "what the buffer held is read after it (%zu of %u)", s->n, flows);

	r = ct_stats(req, &count, &max);
	tap_ok(
	    r == 0 && count >= flows && max >= count, "statistics: %u of %u entries", count, max);
	probe.sock = req;
	tap_ok(ns_unprivileged(dump_unprivileged, &probe) == 0,
	    "an unprivileged process may not ask for a dump on a handed socket");

	r = ct_request_dump(req, 7);
	s = read_unprivileged(req);
	for (size_t i = 0; i < s->n; i++)
		if (s->e[i].msg == CT_MSG_NEW &&
		    tuple_is(&s->e[i].orig, IPPROTO_UDP, NS_A4, NS_B4, -1, 7200))
			found++;
	tap_ok(r == 0 && s->done && s->error == 0 && found == flows,
	    "but reads a whole dump that a privileged one asked for (%zu of %u)", found, flows);
	close(p.a);
	close(p.b);
}

/* Keeps every entry that the kernel would have deleted if the request had lost its tuple. */
static void
get_and_delete_touch_one_entry(void)
{
	_cleanup_close_ int c = -1, s = -1, req = -1;
	struct tuple other, missing;
	struct ct_entry e, e2;
	struct ns_pair p;
	uint32_t before = 0, after = 0, max;
	int r, port;

	ns_pair_new(&p);
	ns_nft(p.a, OBSERVE);
	req = ct_open_requests(p.a, 1 << 20);
	r = ns_tcp(p.a, p.b, NS_B6, 7300, &c, &s);
	port = ns_udp_exchange(p.a, p.b, NS_B4, 7301);
	for (int v6 = 0; v6 < 2; v6++)
		r |= ns_ping(p.a, v6 ? NS_B6 : NS_B4, 777);

	memset(&other, 0, sizeof(other));
	other.src = ns_addr(NS_A4);
	other.dst = ns_addr(NS_B4);
	other.proto = IPPROTO_UDP;
	other.sport = (uint16_t)port;
	other.dport = 7301;
	tap_ok(r == 0 && port > 0 && ct_get(req, &other, &e) == 0 &&
		   memcmp(&e.orig, &other, sizeof(other)) == 0,
	    "get finds a udp entry over ipv4");
	tap_ok(ct_get(req, &e.reply, &e2) == 0 && memcmp(&e2.orig, &other, sizeof(other)) == 0,
	    "get finds it by the reply's tuple too");
	missing = other;
	missing.dport = 7302;
	tap_ok(ct_get(req, &missing, &e) == -ENOENT, "get of nothing is ENOENT");
	ct_stats(req, &before, &max);
	tap_ok(ct_delete(req, &missing) == -ENOENT && ct_stats(req, &after, &max) == 0 &&
		   before == after,
	    "delete of nothing is ENOENT and deletes nothing");
	memset(&missing, 0, sizeof(missing));
	tap_ok(ct_delete(req, &missing) == -EINVAL && ct_stats(req, &after, &max) == 0 &&
		   before == after,
	    "an empty tuple is refused, not taken for a flush");
	tap_ok(ct_delete(req, &other) == 0 && ct_get(req, &other, &e) == -ENOENT &&
		   ct_stats(req, &after, &max) == 0 && after == before - 1,
	    "delete removes that entry alone");

	other.src = ns_addr(NS_A6);
	other.dst = ns_addr(NS_B6);
	other.proto = IPPROTO_TCP;
	other.sport = ns_local_port(c);
	other.dport = 7300;
	tap_ok(ct_get(req, &other, &e) == 0 && e.tcp_state == 3 && (e.status & CT_ASSURED) != 0 &&
		   ct_delete(req, &other) == 0,
	    "tcp over ipv6: get and delete");
	for (int v6 = 0; v6 < 2; v6++) {
		other.src = ns_addr(v6 ? NS_A6 : NS_A4);
		other.dst = ns_addr(v6 ? NS_B6 : NS_B4);
		other.proto = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
		other.sport = 777;
		other.dport = (v6 ? 128 : 8) << 8;
		tap_ok(ct_get(req, &other, &e) == 0 && e.reply.dport == (v6 ? 129 : 0) << 8 &&
			   ct_delete(req, &other) == 0 && ct_get(req, &other, &e) == -ENOENT,
		    "%s: get and delete", v6 ? "icmpv6" : "icmp");
	}
	close(p.a);
	close(p.b);
}

static void
nat_shows_in_the_reply(void)
{
	_cleanup_close_ int l = -1, c = -1, req = -1;
	struct tuple t;
	struct ct_entry e;
	struct ns_pair p;
	int r;

	ns_pair_new(&p);
	ns_nft(p.a, OBSERVE "table ip nat { chain o { type nat hook output priority -100;"
			    " ip daddr 10.99.0.77 tcp dport 80 dnat to " NS_B4 ":7400;\n }\n}\n");
	req = ct_open_requests(p.a, 1 << 20);
	l = ns_listen(p.b, NS_B4, 7400);
	c = ns_connect(p.a, "10.99.0.77", 80);
	memset(&t, 0, sizeof(t));
	t.src = ns_addr(NS_A4);
	t.dst = ns_addr("10.99.0.77");
	t.proto = IPPROTO_TCP;
	t.sport = c < 0 ? 0 : ns_local_port(c);
	t.dport = 80;
	r = ct_get(req, &t, &e);
	tap_ok(r == 0 && tuple_is(&e.reply, IPPROTO_TCP, NS_B4, NS_A4, 7400, t.sport) &&
		   (e.status & CT_DST_NAT) != 0 && (e.status & CT_SRC_NAT) == 0,
	    "behind dnat the reply names the server that answers");
	close(p.a);
	close(p.b);
}

static void
an_inserted_entry_keeps_an_idle_connection_alive(void)
{
	static const char strict[] =
	    "table inet strict {\n"
	    " chain i { type filter hook input priority 0; policy drop;"
	    " icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept;"
	    " ct state established accept; drop; }\n"
	    " chain o { type filter hook output priority 0; policy drop;"
	    " icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept;"
	    " ct state established accept; drop; }\n"
	    "}\n";

	for (int v6 = 0; v6 < 2; v6++) {
		_cleanup_close_ int c = -1, s = -1, c2 = -1, s2 = -1;
		const char *server = v6 ? NS_B6 : NS_B4;
		const char *family = v6 ? "ipv6" : "ipv4";
		struct ct_entry e;
		struct ns_pair p;
		struct tuple t;
		int r, r2, ns[2], req[2];

		ns_pair_new(&p);
		r = ns_tcp(p.a, p.b, server, 7500, &c, &s);
		r2 = ns_tcp(p.a, p.b, server, 7501, &c2, &s2);
		memset(&t, 0, sizeof(t));
		t.src = ns_addr(v6 ? NS_A6 : NS_A4);
		t.dst = ns_addr(server);
		t.proto = IPPROTO_TCP;
		t.sport = c < 0 ? 0 : ns_local_port(c);
		t.dport = 7500;
		ns[0] = p.a;
		ns[1] = p.b;
		for (int end = 0; end < 2; end++) {
			req[end] = ct_open_requests(ns[end], 1 << 20);
			r |= ct_insert_tcp(req[end], &t, 432000);
		}
		tap_ok(r == 0 && r2 == 0, "an established connection is inserted, %s", family);
		tap_ok(ct_insert_tcp(req[0], &t, 432000) == -EEXIST,
		    "inserting it again is EEXIST, %s", family);
		tap_ok(
		    ct_get(req[0], &t, &e) == 0 && e.tcp_state == 3 &&
			(e.status & (CT_SEEN_REPLY | CT_ASSURED)) == (CT_SEEN_REPLY | CT_ASSURED) &&
			e.timeout_s > 431000,
		    "it is established, assured and long-lived, %s", family);
		ns_nft(p.a, strict);
		ns_nft(p.b, strict);
		tap_ok(ns_talk(s, c) == 0 && ns_talk(c, s) == 0,
		    "it talks on, from either end, under established-only rules, %s", family);
		setsockopt(s2, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_usec = 300000 },
		    sizeof(struct timeval));
		tap_ok(ns_talk(c2, s2) < 0, "one that was not inserted dies, %s", family);
		close(req[0]);
		close(req[1]);
		close(p.a);
		close(p.b);
	}
}

static void
a_forged_event_is_ignored(void)
{
	_cleanup_close_ int ev = -1, forger = -1;
	uint8_t msg[512] __attribute__((aligned(8)));
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	socklen_t len = sizeof(to);
	const struct seen *s;
	struct ns_pair p;
	ssize_t n = 0;
	int real;

	ns_pair_new(&p);
	ns_nft(p.a, OBSERVE);
	ev = ct_open_events(p.a, CT_GROUP_UPDATE, 1 << 20);
	ns_udp_exchange(p.a, p.b, NS_B4, 7600);
	/* A real event, sent again by root inside the namespace, to the port and to the group. */
	real = ns_udp_exchange(p.a, p.b, NS_B4, 7601);
	n = recv(ev, msg, sizeof(msg), MSG_DONTWAIT);
	forger = netns_socket(p.a, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	getsockname(ev, (struct sockaddr *)&to, &len);
	to.nl_groups = 0;
	tap_ok(n > 0 && sendto(forger, msg, (size_t)n, 0, (struct sockaddr *)&to, sizeof(to)) < 0 &&
		   errno == ECONNREFUSED,
	    "root in the namespace cannot send to the event socket's port");
	to.nl_pid = 0;
	to.nl_groups = CT_GROUP_UPDATE;
	n = n > 0 ? sendto(forger, msg, (size_t)n, 0, (struct sockaddr *)&to, sizeof(to)) : -1;
	s = read_unprivileged(ev);
	tap_ok(real > 0 && n > 0 && s->result == 0 && s->n == 1 && s->e[0].orig.dport == 7601,
	    "an event that it forges to the group is ignored");
	close(p.a);
	close(p.b);
}

/* Nothing makes room in a table of assured entries. */
static void
what_finds_no_room_is_counted(void)
{
	_cleanup_close_ int req = -1, c = -1;
	struct sockaddr_storage to;
	socklen_t len = ns_sockaddr(NS_B4, 7600, &to);
	struct tuple t = {
		.src = ns_addr("198.51.100.1"), .dst = ns_addr("198.51.100.2"), .proto = IPPROTO_TCP
	};
	uint64_t before = 1, after = 0;
	uint32_t count = 0, max = 0, n = 0;
	struct ns_pair p;
	int r;

	ns_pair_new(&p);
	ns_nft(p.a, OBSERVE);
	req = ct_open_requests(p.a, 1 << 20);
	r = ct_stats(req, &count, &max);
	if (r == 0 && max > FULL_MAX) {
		tap_skip(
		    "what finds no room is counted", "the kernel has no table that is soon full");
	} else {
		for (; r == 0 && n <= max; n++) {
			t.sport = (uint16_t)(1 + n % 60000);
			t.dport = (uint16_t)(1 + n / 60000);
			r = ct_insert_tcp(req, &t, 60);
		}
		tap_note("%u entries of %u, then %s", n, max, strerror(-r));
		r = ct_dropped(req, &before);
		c = ns_udp(p.a, "0.0.0.0", 0);
		for (unsigned i = 0; i < 3; i++)
			(void)!sendto(c, "x", 1, 0, (struct sockaddr *)&to, len);
		r = r == 0 ? ct_dropped(req, &after) : r;
		tap_ok(r == 0 && n >= max && after >= before + 3,
		    "what finds no room is counted (%llu, %llu)", (unsigned long long)before,
		    (unsigned long long)after);
	}
	close(p.a);
	close(p.b);
}

int
main(void)
{
	ns_start();
	one_event_per_answered_connection();
	a_connection_met_in_the_middle_says_so();
	an_overrun_is_told_and_a_dump_completes_the_picture();
	get_and_delete_touch_one_entry();
	nat_shows_in_the_reply();
	an_inserted_entry_keeps_an_idle_connection_alive();
	a_forged_event_is_ignored();
	what_finds_no_room_is_counted();
	return tap_end();
}
