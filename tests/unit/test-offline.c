/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames are made as bytes of raw IPv4 (link type 12) and go the whole way. Every test ends with
 * the edges as text, sorted: "FROM>TO proto/port xCONNECTIONS flags".
 */
#include "rules/names.h"
#include "rules/offline.h"

#include "rules/frame.h"
#include "rules/util.h"

#include "tests/unit/hello-fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SEC NSEC_PER_SEC
#define SYN 2
#define ACK 16

struct lab {
	struct offline *o;
	uint64_t now_ns;
	uint32_t seq; /* of the next TCP segment */
};

static void
begin(struct lab *l)
{
	l->now_ns = 1700000000 * SEC;
	l->seq = 0;
	assert_int_equal(offline_new(1, OFFLINE_EDGES, &l->o), 0);
}

static void
map(struct lab *l, const char *workload, const char *prefix)
{
	struct prefix p;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	assert_int_equal(offline_map(l->o, workload, &p), 0);
}

static void
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void
packet(struct lab *l, uint8_t proto, const char *src, unsigned sport, const char *dst,
    unsigned dport, uint8_t flags, const void *payload, size_t len)
{
	uint8_t buf[600] = { 0x45 };
	size_t header = proto == IPPROTO_TCP ? 20 : 8, total = 20 + header + len;
	struct addr a, b;

	assert_true(total <= sizeof(buf));
	assert_int_equal(addr_parse(src, &a), 0);
	assert_int_equal(addr_parse(dst, &b), 0);
	put16(buf + 2, (unsigned)total);
	buf[9] = proto;
	memcpy(buf + 12, a.bytes, 4);
	memcpy(buf + 16, b.bytes, 4);
	put16(buf + 20, sport);
	put16(buf + 22, dport);
	if (proto == IPPROTO_TCP) {
		put16(buf + 24, l->seq >> 16);
		put16(buf + 26, l->seq & 0xffff);
		buf[32] = 0x50;
		buf[33] = flags;
	} else if (proto == IPPROTO_UDP) {
		put16(buf + 24, (unsigned)(8 + len));
	}
	if (len > 0)
		memcpy(buf + 20 + header, payload, len);
	l->now_ns += NSEC_PER_MSEC;
	assert_int_equal(offline_frame(l->o, FRAME_RAW, buf, total, (uint32_t)total, l->now_ns), 0);
}

static void
connect_tcp(struct lab *l, const char *src, unsigned sport, const char *dst, unsigned dport)
{
	packet(l, IPPROTO_TCP, src, sport, dst, dport, SYN, NULL, 0);
	packet(l, IPPROTO_TCP, dst, dport, src, sport, SYN | ACK, NULL, 0);
	packet(l, IPPROTO_TCP, src, sport, dst, dport, ACK, NULL, 0);
}

/* A message about LABEL.example, with one address if it is an answer (address != NULL). */
static size_t
dns(uint8_t *buf, uint16_t id, const char *label, const char *address)
{
	static const uint8_t rest[] = { 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1 };
	static const uint8_t rr[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4 };
	size_t n = strlen(label), at = 12;
	struct addr a;

	memset(buf, 0, 12);
	put16(buf, id);
	put16(buf + 2, address != NULL ? 0x8180 : 0x0100);
	put16(buf + 4, 1);
	put16(buf + 6, address != NULL);
	buf[at++] = (uint8_t)n;
	memcpy(buf + at, label, n);
	memcpy(buf + at + n, rest, sizeof(rest));
	at += n + sizeof(rest);
	if (address == NULL)
		return at;
	assert_int_equal(addr_parse(address, &a), 0);
	memcpy(buf + at, rr, sizeof(rr));
	memcpy(buf + at + sizeof(rr), a.bytes, 4);
	return at + sizeof(rr) + 4;
}

static void
ask(struct lab *l, const char *client, uint16_t id, const char *label)
{
	uint8_t buf[128];

	packet(l, IPPROTO_UDP, client, 5000, "10.0.0.53", 53, 0, buf, dns(buf, id, label, NULL));
}

static void
answer(struct lab *l, const char *client, uint16_t id, const char *label, const char *address)
{
	uint8_t buf[128];

	packet(l, IPPROTO_UDP, "10.0.0.53", 53, client, 5000, 0, buf, dns(buf, id, label, address));
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
expect(struct lab *l, const char *text)
{
	const struct edge_table *t = offline_edges(l->o);
	const struct peer_table *peers = offline_peers(l->o);
	char *lines[64], got[4096] = "", from[PEER_STRLEN], to[PEER_STRLEN];
	size_t pos = 0, n = 0, at = 0;
	const struct edge *e;

	offline_finish(l->o);
	while ((e = edge_table_next(t, &pos)) != NULL) {
		assert_true(n < ARRAY_SIZE(lines));
		peer_format(peer_get(peers, e->key.from), from);
		peer_format(peer_get(peers, e->key.to), to);
		assert_true(asprintf(&lines[n++], "%s>%s %s/%u x%llu%s%s", from, to,
				proto_name(e->key.proto), e->key.port_lo,
				(unsigned long long)edge_connections(e),
				e->flags & EDGE_FLAG_MIDSTREAM ? " midstream" : "",
				e->flags & EDGE_FLAG_ONE_WAY ? " one-way" : "") > 0);
	}
	qsort(lines, n, sizeof(lines[0]), compare);
	for (size_t i = 0; i < n; i++) {
		at += (size_t)snprintf(got + at, sizeof(got) - at, "%s\n", lines[i]);
		free(lines[i]);
	}
	assert_string_equal(got, text);
	offline_free(l->o);
}

static void
addresses_become_their_peers(void **state)
{
	struct lab l;

	(void)state;
	begin(&l);
	map(&l, "shop/web", "10.0.0.1");
	map(&l, "shop", "10.0.0.0/24");
	map(&l, "outside/cdn", "203.0.113.0/24");
	connect_tcp(&l, "10.0.0.1", 1, "10.0.0.2", 80);
	connect_tcp(&l, "10.0.0.1", 2, "10.0.0.2", 80);
	connect_tcp(&l, "10.0.0.2", 1, "192.168.7.7", 22);
	connect_tcp(&l, "10.0.0.2", 1, "198.51.100.7", 443);
	connect_tcp(&l, "10.0.0.2", 1, "203.0.113.9", 443);
	connect_tcp(&l, "198.51.100.8", 1, "10.0.0.1", 443);
	expect(&l, "internet>workload:shop/web tcp/443 x1\n"
		   "workload:shop/web>workload:shop tcp/80 x2\n"
		   "workload:shop>addr:192.168.7.7 tcp/22 x1\n"
		   "workload:shop>internet tcp/443 x1\n"
		   "workload:shop>workload:outside/cdn tcp/443 x1\n");
}

static void
what_was_not_answered_makes_no_edge(void **state)
{
	struct offline_stats s;
	struct lab l;

	(void)state;
	begin(&l);
	for (unsigned port = 1; port < 3000; port++)
		packet(&l, IPPROTO_TCP, "10.0.0.1", 999, "10.0.0.2", port, SYN, NULL, 0);
	for (unsigned port = 1; port < 3000; port++)
		packet(&l, IPPROTO_UDP, "10.0.0.1", 999, "10.0.0.2", port, 0, NULL, 0);
	offline_finish(l.o);
	offline_stats(l.o, &s);
	assert_int_equal(s.attempts, 2 * 2999);
	assert_int_equal(s.flows, 0);
	assert_int_equal(s.frames, 2 * 2999);
	expect(&l, "");
}

static void
a_server_has_the_name_its_client_was_told(void **state)
{
	struct lab l;

	(void)state;
	begin(&l);
	connect_tcp(&l, "10.0.0.1", 1, "203.0.113.5", 80); /* before it was told */
	ask(&l, "10.0.0.1", 1, "api");
	answer(&l, "10.0.0.1", 1, "api", "203.0.113.5");
	connect_tcp(&l, "10.0.0.1", 2, "203.0.113.5", 443);
	connect_tcp(&l, "10.0.0.2", 2, "203.0.113.5", 443); /* was never told */
	ask(&l, "10.0.0.1", 2, "cdn");
	answer(&l, "10.0.0.1", 2, "cdn", "203.0.113.5");
	connect_tcp(&l, "10.0.0.1", 3, "203.0.113.5", 443);
	connect_tcp(&l, "203.0.113.5", 3, "10.0.0.1", 22); /* who comes from there is no name */
	expect(&l, "addr:10.0.0.1>addr:10.0.0.53 udp/53 x1\n"
		   "addr:10.0.0.1>fqdn:api.example tcp/443 x1\n"
		   "addr:10.0.0.1>fqdn:cdn.example tcp/443 x1\n"
		   "addr:10.0.0.1>internet tcp/80 x1\n"
		   "addr:10.0.0.2>internet tcp/443 x1\n"
		   "internet>addr:10.0.0.1 tcp/22 x1\n");
}

static void
many_names_are_few_edges(void **state)
{
	const struct edge *e, *rest = NULL;
	size_t pos = 0, n = 0, names = NAMES_MAX_PEERS + 488;
	struct lab l;
	char label[32], addr[32];

	(void)state;
	begin(&l);
	map(&l, "web", "10.0.0.1/32");
	/* All of them twice: the first ones stay what they are. */
	for (unsigned k = 0; k < 2 * names; k++) {
		snprintf(label, sizeof(label), "s%zu", k % names);
		snprintf(
		    addr, sizeof(addr), "198.18.%zu.%zu", k % names / 250, 1 + k % names % 250);
		ask(&l, "10.0.0.1", (uint16_t)k, label);
		answer(&l, "10.0.0.1", (uint16_t)k, label, addr);
		connect_tcp(&l, "10.0.0.1", 20000 + k, addr, 443);
	}
	offline_finish(l.o);
	while ((e = edge_table_next(offline_edges(l.o), &pos)) != NULL) {
		const struct peer *to = peer_get(offline_peers(l.o), e->key.to);

		n++;
		if (to->kind == PEER_INTERNET)
			rest = e;
		else if (to->kind == PEER_FQDN)
			assert_int_equal(edge_connections(e), 2);
	}
	assert_int_equal(n, NAMES_MAX_PEERS + 2);
	assert_non_null(rest);
	assert_int_equal(edge_connections(rest), 2 * 488);
	offline_free(l.o);
}

static void
an_answer_without_its_question_names_nothing(void **state)
{
	struct lab l;

	(void)state;
	begin(&l);
	answer(&l, "10.0.0.1", 1, "bank", "203.0.113.5"); /* nobody asked */
	ask(&l, "10.0.0.1", 2, "api");
	answer(&l, "10.0.0.1", 3, "api", "203.0.113.6");  /* another id */
	answer(&l, "10.0.0.1", 2, "bank", "203.0.113.7"); /* another name */
	answer(&l, "10.0.0.1", 2, "api", "10.0.0.9");	  /* the true one */
	answer(&l, "10.0.0.1", 2, "api", "203.0.113.8");  /* a second one */
	for (unsigned i = 5; i < 9; i++) {
		char server[] = "203.0.113.x";

		server[10] = (char)('0' + i);
		connect_tcp(&l, "10.0.0.1", i, server, 443);
	}
	connect_tcp(&l, "10.0.0.1", 9, "10.0.0.9", 443); /* private: its address says more */
	expect(&l, "addr:10.0.0.1>addr:10.0.0.9 tcp/443 x1\n"
		   "addr:10.0.0.1>internet tcp/443 x4\n"
		   "addr:10.0.0.53>addr:10.0.0.1 udp/5000 x1\n");
}

/* A message about LABEL.example as TCP carries it. */
static size_t
framed(uint8_t *buf, uint16_t id, const char *label, const char *address)
{
	size_t len = dns(buf + 2, id, label, address);

	put16(buf, (unsigned)len);
	return len + 2;
}

static void
say(struct lab *l, bool server, unsigned port, uint32_t seq, const uint8_t *data, size_t len)
{
	l->seq = seq;
	packet(l, IPPROTO_TCP, server ? "10.0.0.53" : "10.0.0.1", server ? 53 : port,
	    server ? "10.0.0.1" : "10.0.0.53", server ? port : 53, ACK, data, len);
	l->seq = 0;
}

static void
names_over_tcp_are_read_however_they_are_cut(void **state)
{
	struct offline_stats s;
	uint8_t q[256], m[512];
	size_t n, len;
	struct lab l;

	(void)state;
	begin(&l);
	connect_tcp(&l, "10.0.0.1", 5000, "10.0.0.53", 53);
	n = framed(q, 1, "api", NULL);
	say(&l, false, 5000, 1, q, 2);
	say(&l, false, 5000, 3, q + 2, n - 2);
	len = framed(m, 1, "api", "203.0.113.5");
	say(&l, true, 5000, 1 + 20, m + 20, len - 20);
	say(&l, true, 5000, 1, m, 1);
	say(&l, true, 5000, 2, m + 1, 19);
	connect_tcp(&l, "10.0.0.1", 1, "203.0.113.5", 443);
	/* Captured from its middle on: several in one segment, and none that is cut. */
	n = framed(q, 2, "cdn", NULL);
	n += framed(q + n, 3, "www", NULL);
	say(&l, false, 5001, 77, q, n);
	len = framed(m, 2, "cdn", "203.0.113.6");
	len += framed(m + len, 3, "www", "203.0.113.7");
	say(&l, true, 5001, 99, m, len - 1);
	connect_tcp(&l, "10.0.0.1", 2, "203.0.113.6", 443);
	connect_tcp(&l, "10.0.0.1", 3, "203.0.113.7", 443);
	/* Something is missing of it. */
	connect_tcp(&l, "10.0.0.1", 5002, "10.0.0.53", 53);
	say(&l, false, 5002, 1, q, n);
	say(&l, true, 5002, 20000, m, len);
	connect_tcp(&l, "10.0.0.1", 4, "203.0.113.7", 443);
	offline_stats(l.o, &s);
	assert_int_equal(s.dns_broken, 1);
	expect(&l, "addr:10.0.0.1>addr:10.0.0.53 tcp/53 x3\n"
		   "addr:10.0.0.1>fqdn:api.example tcp/443 x1\n"
		   "addr:10.0.0.1>fqdn:cdn.example tcp/443 x1\n"
		   "addr:10.0.0.1>internet tcp/443 x2\n");
}

static void
a_name_that_no_policy_could_hold_is_not_used(void **state)
{
	struct lab l;

	(void)state;
	begin(&l);
	ask(&l, "10.0.0.1", 1, "-a");
	answer(&l, "10.0.0.1", 1, "-a", "203.0.113.5");
	connect_tcp(&l, "10.0.0.1", 2, "203.0.113.5", 443);
	expect(&l, "addr:10.0.0.1>addr:10.0.0.53 udp/53 x1\n"
		   "addr:10.0.0.1>internet tcp/443 x1\n");
}

static void
datagrams_of_long_standing_are_flagged(void **state)
{
	/* What an error of ICMP quotes: from port 4 to 517. */
	static const uint8_t refused[28] = { 0x45, 0, 0, 31, 0, 0, 0, 0, 64, IPPROTO_UDP, 0, 0, 10,
		0, 0, 1, 10, 0, 0, 2, 0, 4, 517 >> 8, 517 & 0xff, 0, 11 };
	struct lab l;

	(void)state;
	begin(&l);
	for (unsigned i = 0; i < OFFLINE_ONE_WAY_FRAMES; i++) {
		packet(&l, IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 514, 0, "log", 3);
		packet(&l, IPPROTO_UDP, "10.0.0.1", 1, "239.1.1.1", 5353, 0, "x", 1);
		if (i > 0)
			packet(&l, IPPROTO_UDP, "10.0.0.1", 2, "10.0.0.2", 515, 0, "few", 3);
		packet(&l, IPPROTO_UDP, "10.0.0.1", 4, "10.0.0.2", 517, 0, "log", 3);
		l.now_ns += OFFLINE_ONE_WAY_NS / (OFFLINE_ONE_WAY_FRAMES - 1);
	}
	for (unsigned i = 0; i < 100; i++)
		packet(&l, IPPROTO_UDP, "10.0.0.1", 3, "10.0.0.2", 516, 0, "burst", 5);
	packet(&l, IPPROTO_ICMP, "10.0.0.2", 0x0303, "10.0.0.1", 0, 0, refused, sizeof(refused));
	expect(&l, "addr:10.0.0.1>addr:10.0.0.2 udp/514 x1 one-way\n"
		   "addr:10.0.0.1>multicast udp/5353 x1 one-way\n");
}

static void
evidence_has_bytes_and_times(void **state)
{
	const struct edge *e;
	size_t pos = 0;
	struct lab l;

	(void)state;
	begin(&l);
	connect_tcp(&l, "10.0.0.1", 1, "10.0.0.2", 80);
	connect_tcp(&l, "10.0.0.1", 2, "10.0.0.2", 80);
	offline_finish(l.o);
	e = edge_table_next(offline_edges(l.o), &pos);
	assert_non_null(e);
	assert_int_equal(e->evidence.bytes, 6 * 40);
	assert_int_equal(e->evidence.first_seen_ns, 1700000000 * SEC + NSEC_PER_MSEC);
	assert_int_equal(e->evidence.last_seen_ns, 1700000000 * SEC + 6 * NSEC_PER_MSEC);
	assert_int_equal(e->state, EDGE_PENDING);
	offline_free(l.o);
}

static void
what_cannot_be_read_is_counted(void **state)
{
	static const uint8_t later_fragment[] = { 0x45, 0, 0, 28, 0, 1, 0, 9, 64, 17, 0, 0, 10, 0,
		0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 8, 0, 0 };
	static const uint8_t gre[] = { 0x45, 0, 0, 24, 0, 1, 0, 0, 64, 47, 0, 0, 10, 0, 0, 1, 10, 0,
		0, 2, 0, 0, 8, 0 };
	const struct offline_tunnel *t;
	struct offline_stats s;
	struct lab l;
	size_t n;

	(void)state;
	begin(&l);
	offline_frame(l.o, FRAME_RAW, (const uint8_t *)"\x45", 1, 60, 1);
	offline_frame(l.o, FRAME_RAW, later_fragment, sizeof(later_fragment), 28, 1);
	offline_frame(l.o, FRAME_RAW, gre, sizeof(gre), 24, 1);
	offline_frame(l.o, FRAME_RAW, gre, sizeof(gre), 24, 2);
	offline_frame(l.o, 189, gre, sizeof(gre), 24, 2); /* USB */
	packet(&l, IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 4789, 0, "vni", 3);
	packet(&l, IPPROTO_UDP, "224.0.0.1", 1, "10.0.0.2", 4789, 0, "vni", 3);
	offline_finish(l.o);
	offline_stats(l.o, &s);
	assert_int_equal(s.frames, 7);
	assert_int_equal(s.malformed, 1);
	assert_int_equal(s.other, 5);
	t = offline_tunnels(l.o, &n);
	assert_int_equal(n, 2);
	assert_string_equal(t[0].kind, "gre");
	assert_int_equal(t[0].frames, 2);
	assert_string_equal(t[1].kind, "vxlan");
	offline_free(l.o);
}

static void
tunnels_are_known_by_either_end(void **state)
{
	static const struct {
		uint8_t proto;
		unsigned sport, dport;
		const char *kind;
	} cases[] = {
		{ IPPROTO_UDP, 1000, 4789, "vxlan" },
		{ IPPROTO_UDP, 1000, 8472, "vxlan" },
		{ IPPROTO_UDP, 1000, 4790, "vxlan-gpe" },
		{ IPPROTO_UDP, 1000, 6635, "mpls-in-udp" },
		{ IPPROTO_UDP, 1000, 5246, "capwap-control" },
		{ IPPROTO_UDP, 1000, 5247, "capwap-data" },
		{ IPPROTO_UDP, 1000, 2268, "amt" },
		{ IPPROTO_UDP, 1000, 37008, "tzsp" },
		{ IPPROTO_IPIP, 0, 0, "ipip" },
		{ IPPROTO_IPV6, 0, 0, "ipv6-in-ip" },
		{ IPPROTO_GRE, 0, 0, "gre" },
		{ IPPROTO_ESP, 0, 0, "esp" },
		{ 55, 0, 0, "minimal-ip-in-ip" },
		{ 97, 0, 0, "etherip" },
		{ 115, 0, 0, "l2tpv3" },
		{ 137, 0, 0, "mpls-in-ip" },
		{ 89, 0, 0, NULL },			/* OSPF */
		{ IPPROTO_UDP, 3544, 40000, "teredo" }, /* the server speaks first */
		{ IPPROTO_UDP, 53, 4789, "vxlan" },
		{ IPPROTO_UDP, 4789, 53, NULL }, /* a client that has this port by chance */
		{ IPPROTO_UDP, 1000, 4788, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct offline_tunnel *t;
		struct lab l;
		size_t n;

		begin(&l);
		packet(&l, cases[i].proto, "10.0.0.1", cases[i].sport, "10.0.0.2", cases[i].dport,
		    0, "x", 1);
		packet(&l, IPPROTO_TCP, "10.0.0.1", cases[i].sport, "10.0.0.2", cases[i].dport, SYN,
		    NULL, 0);
		offline_finish(l.o);
		t = offline_tunnels(l.o, &n);
		assert_int_equal(n, cases[i].kind != NULL);
		if (n > 0)
			assert_string_equal(t->kind, cases[i].kind);
		offline_free(l.o);
	}
}

static void
services_are_told_exactly(void **state)
{
	const struct service *s;
	struct offline_stats stats;
	struct lab l;
	size_t n;

	(void)state;
	begin(&l);
	for (unsigned port = 20000; port < 21000; port++)
		connect_tcp(&l, "10.0.0.1", 1, "203.0.113.5", port);
	connect_tcp(&l, "10.0.0.2", 1, "203.0.113.5", 20007);
	packet(&l, IPPROTO_TCP, "203.0.113.5", 30000, "10.0.0.1", 9, ACK, NULL, 0);
	packet(&l, IPPROTO_TCP, "10.0.0.1", 9, "203.0.113.5", 30000, ACK, NULL, 0);
	packet(&l, IPPROTO_TCP, "10.0.0.1", 9, "203.0.113.5", 30001, SYN, NULL, 0);
	offline_finish(l.o);
	s = offline_services(l.o, &n);
	assert_int_equal(n, 1001);
	for (size_t i = 0; i < n; i++) {
		bool met = addr_eq(&s[i].addr, &s[0].addr) == false;

		assert_int_equal(s[i].proto, IPPROTO_TCP);
		assert_int_equal(s[i].flags, met ? EDGE_FLAG_MIDSTREAM : 0);
		if (!met)
			assert_int_equal(s[i].connections, s[i].port == 20007 ? 2 : 1);
	}
	offline_stats(l.o, &stats);
	assert_int_equal(stats.services_lost, 0);
	offline_free(l.o);

	begin(&l);
	for (unsigned k = 0; k < OFFLINE_MAX_SERVICES + 5; k++) {
		char server[32];

		snprintf(server, sizeof(server), "10.1.%u.%u", k / 1000, 1 + k / 500 % 2);
		connect_tcp(&l, "10.0.0.1", 1, server, 1 + k % 500);
	}
	offline_finish(l.o);
	offline_stats(l.o, &stats);
	assert_non_null(offline_services(l.o, &n));
	assert_int_equal(n, OFFLINE_MAX_SERVICES);
	assert_int_equal(stats.services_lost, 5);
	offline_free(l.o);
}

static void
a_map_names_an_address_once(void **state)
{
	struct prefix p;
	struct lab l;

	(void)state;
	begin(&l);
	map(&l, "a", "10.0.0.1");
	map(&l, "a", "10.0.0.1");
	assert_int_equal(prefix_parse("10.0.0.1", &p), 0);
	assert_int_equal(offline_map(l.o, "b", &p), -EEXIST);
	assert_int_equal(offline_map(l.o, "", &p), -EINVAL);
	offline_free(l.o);
}

static void
names_in_packets_are_labels(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\nHost: Shop.Example\r\n\r\n";
	const struct edge *e;
	struct lab l;
	size_t pos = 0, n = 0;

	begin(&l);
	for (unsigned k = 0; k < 20; k++) {
		connect_tcp(&l, "10.0.0.1", 2000 + k, "10.0.0.9", 443);
		packet(&l, IPPROTO_TCP, "10.0.0.1", 2000 + k, "10.0.0.9", 443, ACK, hello_tls12,
		    sizeof(hello_tls12));
	}
	connect_tcp(&l, "10.0.0.1", 3000, "10.0.0.9", 80);
	packet(&l, IPPROTO_TCP, "10.0.0.1", 3000, "10.0.0.9", 80, ACK, get, sizeof(get) - 1);
	/* Of a connection that nobody answered, and of a server. */
	packet(&l, IPPROTO_TCP, "10.0.0.1", 3001, "10.0.0.8", 80, ACK, get, sizeof(get) - 1);
	connect_tcp(&l, "10.0.0.2", 3002, "10.0.0.9", 81);
	packet(&l, IPPROTO_TCP, "10.0.0.9", 81, "10.0.0.2", 3002, ACK, get, sizeof(get) - 1);
	offline_finish(l.o);
	while ((e = edge_table_next(offline_edges(l.o), &pos)) != NULL) {
		if (e->key.port_lo == 81)
			assert_null(e->seen_as);
		if (e->key.port_lo != 443 && e->key.port_lo != 80)
			continue;
		assert_non_null(e->seen_as);
		assert_int_equal(e->seen_as->n, 1);
		assert_string_equal(e->seen_as->v[0].name,
		    e->key.port_lo == 443 ? "db.example.org" : "shop.example");
		n++;
	}
	assert_int_equal(n, 2);
	offline_free(l.o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_become_their_peers),
		cmocka_unit_test(what_was_not_answered_makes_no_edge),
		cmocka_unit_test(a_server_has_the_name_its_client_was_told),
		cmocka_unit_test(many_names_are_few_edges),
		cmocka_unit_test(an_answer_without_its_question_names_nothing),
		cmocka_unit_test(names_over_tcp_are_read_however_they_are_cut),
		cmocka_unit_test(a_name_that_no_policy_could_hold_is_not_used),
		cmocka_unit_test(datagrams_of_long_standing_are_flagged),
		cmocka_unit_test(evidence_has_bytes_and_times),
		cmocka_unit_test(what_cannot_be_read_is_counted),
		cmocka_unit_test(names_in_packets_are_labels),
		cmocka_unit_test(tunnels_are_known_by_either_end),
		cmocka_unit_test(services_are_told_exactly),
		cmocka_unit_test(a_map_names_an_address_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
