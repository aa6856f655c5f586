/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The evaluator against the kernel: tables of pseudo-random policies in a namespace, and packets
 * at their boundaries, from raw sockets, both ways. What comes in is seen by raw sockets behind the
 * input hook, what goes out by a packet socket at the other end of the wire. Every packet has a
 * number of its own, so one that comes late is still known, and all are judged again in the end.
 *
 * DIFF_LIVE_POLICIES says how many.
 */
#include "netlink/netns.h"
#include "rules/util.h"
#include "tests/diff/bench.h"
#include "tests/integration/nslib.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define PACKETS 40 /* a policy */
#define FIRST_ID 1024
#define WAIT_MS 3000
#define QUIET_MS 4
#define LATE_MS 500

static const char *const own[] = { "10.20.0.2", "10.20.0.3", "10.20.1.2", "203.0.113.2",
	"fd00:20::2", "fd00:20::3", "2001:db8::2" };
static const char *const others[] = { "10.20.0.1", "10.20.0.4", "10.20.0.5", "10.20.0.127",
	"10.20.0.128", "10.20.1.1", "10.20.1.254", "172.16.0.1", "203.0.113.1", "203.0.113.3",
	"203.0.113.254", "198.51.100.7", "fd00:20::1", "fd00:20::4", "fd00:20::ffff",
	"fd00:20::1:1", "2001:db8::1", "2001:db8::3", "2001:db8::ffff:ffff:ffff:fffe" };
static const struct world_pool pool = { own, others, ARRAY_SIZE(own), ARRAY_SIZE(others) };

struct shot {
	uint8_t frame[14 + 40 + 40];
	size_t len; /* of the packet, without the link's header */
	struct probe probe;
	enum flow_dir dir;
	unsigned policy;
	bool expected, seen, judged; /* judged: found wrong before */
};

static struct ns_pair ns;
static int wire_in, wire_out, raw_out[2], raw_in[8];
static struct sockaddr_ll b_side;
static struct shot *shots;
static size_t n_shots, max_shots;
static struct bench bench;

static uint16_t
sum_of(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += (uint32_t)p[i] << (i & 1 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void
put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* The transport's header and little more; where its checksum goes, or -1. */
static int
shot_transport(const struct tuple *t, uint16_t id, uint8_t *th, size_t *ret_len)
{
	put16(th, id);
	put16(th + 2, t->dport);
	switch (t->proto) {
	case IPPROTO_TCP:
		th[12] = 0x50;
		th[13] = 0x02;
		*ret_len = 20;
		return 16;
	case IPPROTO_UDP:
		put16(th + 4, 8);
		*ret_len = 8;
		return 6;
	case IPPROTO_SCTP: /* INIT */
		th[12] = 1;
		put16(th + 14, 20);
		th[19] = 7;
		put16(th + 24, 1);
		put16(th + 26, 1);
		*ret_len = 32;
		return -1;
	default:
		put16(th, t->dport);
		put16(th + 2, 0);
		put16(th + 4, id);
		*ret_len = 8;
		return 2;
	}
}

static void
shot_build(struct shot *s, uint16_t id)
{
	const struct tuple *t = &s->probe.t;
	const bool v6 = t->src.family == 6;
	const size_t ip_len = v6 ? 40 : 20, addr = addr_len(&t->src);
	uint8_t *ip = s->frame + 14, *th = ip + ip_len;
	size_t len;
	int at = shot_transport(t, id, th, &len);

	memcpy(s->frame, b_side.sll_addr, 6);
	s->frame[6] = 2;
	put16(s->frame + 12, v6 ? ETH_P_IPV6 : ETH_P_IP);
	s->len = ip_len + len;
	memcpy(ip + (v6 ? 8 : 12), t->src.bytes, addr);
	memcpy(ip + (v6 ? 24 : 16), t->dst.bytes, addr);
	if (at >= 0) {
		uint32_t pseudo = t->proto == IPPROTO_ICMP ? 0 : (uint32_t)len + t->proto;

		if (t->proto != IPPROTO_ICMP)
			pseudo += sum_of(0, ip + (v6 ? 8 : 12), 2 * addr);
		put16(th + at, (uint16_t)~sum_of(pseudo, th, len));
	}
	ip[0] = v6 ? 0x60 : 0x45;
	put16(ip + (v6 ? 4 : 2), (unsigned)(v6 ? len : s->len));
	ip[v6 ? 6 : 9] = t->proto;
	ip[v6 ? 7 : 8] = 64;
	if (!v6)
		put16(ip + 10, (uint16_t)~sum_of(0, ip, 20));
}

static bool
is_pool(const struct addr *a)
{
	struct addr b;

	for (size_t i = 0; i < pool.n_others; i++)
		if (addr_parse(others[i], &b) == 0 && addr_eq(a, &b))
			return true;
	return false;
}

/*
 * Of ICMP, conntrack takes requests alone for the first packet of a connection, leaves alone what
 * neighbours and listeners say, and calls all else invalid (nf_conntrack_proto_icmp.c, _icmpv6.c).
 */
static bool
probe_tracked(struct probe *p)
{
	const unsigned type = p->t.dport >> 8;
	const bool v4 = p->t.src.family == 4;

	p->ct_state = NF_CT_STATE_BIT(IP_CT_NEW);
	switch (p->t.proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return p->t.dport != 0;
	case IPPROTO_ICMP:
		if (type != 8 && type != 13 && type != 15 && type != 17)
			p->ct_state = NF_CT_STATE_INVALID_BIT;
		return v4;
	case IPPROTO_ICMPV6:
		if ((type >= 130 && type <= 136) || type == 143)
			p->ct_state = NF_CT_STATE_UNTRACKED_BIT;
		else if (type != 128 && type != 139)
			p->ct_state = NF_CT_STATE_INVALID_BIT;
		return !v4;
	default:
		return false;
	}
}

static bool
shoot(enum flow_dir dir, unsigned policy)
{
	const struct inventory_entry *me = &bench.w.entries[0];
	struct shot *s = &shots[n_shots];
	struct sim_result want;
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in to4 = { .sin_family = AF_INET };
	ssize_t n;
	bool split, v6;

	memset(s, 0, sizeof(*s));
	if (!bench_probe(&bench, me, dir, &s->probe) || !probe_tracked(&s->probe) ||
	    !is_pool(dir == DIR_INGRESS ? &s->probe.t.src : &s->probe.t.dst))
		return false;
	s->probe.tcp_flags = 2;
	s->probe.sctp_chunk = 1;
	s->probe.hops = 64;
	s->probe.loopback = s->probe.cut = s->probe.limited = s->probe.options = false;
	s->probe.marked = s->probe.reply = false;
	s->dir = dir;
	s->policy = policy;
	bench_expect(&bench, &s->probe, dir, me, &want, &split);
	s->expected = want.verdict == SIM_ACCEPT;
	shot_build(s, (uint16_t)(FIRST_ID + n_shots));
	v6 = s->probe.t.src.family == 6;
	n_shots++;
	if (dir == DIR_INGRESS) {
		n = send(wire_in, s->frame, s->len + 14, 0);
		if (n < 0)
			perror("# send");
		return n > 0;
	}
	memcpy(&to6.sin6_addr, s->probe.t.dst.bytes, 16);
	memcpy(&to4.sin_addr, s->probe.t.dst.bytes, 4);
	/* A refusal may be an error here. */
	n = sendto(raw_out[v6], s->frame + 14, s->len, 0,
	    v6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to4, v6 ? sizeof(to6) : sizeof(to4));
	return true;
}

/* A packet that was received, from its transport header on: which one was it? */
static void
mark(enum flow_dir dir, uint8_t proto, const uint8_t *th, size_t len, const uint8_t *dst)
{
	const bool icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
	unsigned id;
	struct shot *s;

	if (len < 8)
		return;
	id = (unsigned)(icmp ? th[4] << 8 | th[5] : th[0] << 8 | th[1]);
	if (id < FIRST_ID || id - FIRST_ID >= n_shots)
		return;
	s = &shots[id - FIRST_ID];
	if (s->dir != dir || s->probe.t.proto != proto ||
	    s->probe.t.dport != (th[icmp ? 0 : 2] << 8 | th[icmp ? 1 : 3]))
		return;
	if (dst != NULL && memcmp(dst, s->probe.t.dst.bytes, addr_len(&s->probe.t.dst)) != 0)
		return;
	s->seen = true;
}

static const uint8_t protos[8] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP,
	IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMPV6 };

static void
receive(void)
{
	uint8_t buf[2048];
	ssize_t n;

	while ((n = recv(wire_out, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		if (n >= 34 && buf[12] == 8 && buf[13] == 0)
			mark(DIR_EGRESS, buf[23], buf + 34, (size_t)n - 34, buf + 30);
		else if (n >= 54 && buf[12] == 0x86)
			mark(DIR_EGRESS, buf[20], buf + 54, (size_t)n - 54, buf + 38);
	}
	for (unsigned i = 0; i < 8; i++)
		while ((n = recv(raw_in[i], buf, sizeof(buf), MSG_DONTWAIT)) > 0)
			if (i >= 4)
				mark(DIR_INGRESS, protos[i], buf, (size_t)n, NULL);
			else if (n >= 20)
				mark(DIR_INGRESS, protos[i], buf + 20, (size_t)n - 20, buf + 16);
}

static bool
all_here(size_t from)
{
	for (size_t i = from; i < n_shots; i++)
		if (shots[i].expected && !shots[i].seen)
			return false;
	return true;
}

static void
collect(size_t from)
{
	for (unsigned i = 0; i < WAIT_MS; i++) {
		receive();
		if (all_here(from))
			break;
		poll(NULL, 0, 1);
	}
	poll(NULL, 0, QUIET_MS);
	receive();
}

/* Those from there on; of those that were judged already, what has come since. */
static size_t
judge(size_t from)
{
	size_t wrong = 0;
	struct sim_result r = { 0 };

	for (size_t i = from; i < n_shots; i++) {
		if (shots[i].expected == shots[i].seen || shots[i].judged)
			continue;
		shots[i].judged = true;
		wrong++;
		if (shots[i].policy == shots[n_shots - 1].policy)
			world_print(&bench.w);
		printf("# policy %u: %s: ", shots[i].policy, shots[i].seen ? "passed" : "lost");
		probe_print(&shots[i].probe, shots[i].dir, &r, &r);
	}
	return wrong;
}

static void
setup(void)
{
	struct sockaddr_ll a_side = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	const int size = 8 << 20;
	struct ifreq ifr = { .ifr_name = "vb" };
	int fd;

	ns_pair_new(&ns);
	NS_RUN(ns.b, "sh", "-c",
	    "for i in all vb; do echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter; done;"
	    "ip route add default via " NS_A4 "; ip -6 route add default via " NS_A6);
	for (size_t i = 0; i < pool.n_own; i++) {
		if (strchr(own[i], ':') != NULL)
			NS_RUN(ns.b, "ip", "addr", "add", own[i], "dev", "vb", "nodad");
		else
			NS_RUN(ns.b, "ip", "addr", "add", own[i], "dev", "vb");
	}
	fd = netns_socket(ns.b, AF_INET, SOCK_DGRAM, 0);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		abort();
	memcpy(b_side.sll_addr, ifr.ifr_hwaddr.sa_data, 6);
	close(fd);
	fd = netns_socket(ns.a, AF_INET, SOCK_DGRAM, 0);
	memcpy(ifr.ifr_name, "va", 3);
	if (ioctl(fd, SIOCGIFINDEX, &ifr) < 0)
		abort();
	close(fd);
	a_side.sll_ifindex = ifr.ifr_ifindex;
	wire_in = netns_socket(ns.a, AF_PACKET, SOCK_RAW, 0);
	wire_out = netns_socket(ns.a, AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	if (bind(wire_out, (struct sockaddr *)&a_side, sizeof(a_side)) < 0)
		abort();
	a_side.sll_protocol = 0;
	if (bind(wire_in, (struct sockaddr *)&a_side, sizeof(a_side)) < 0)
		abort();
	setsockopt(wire_out, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	raw_out[0] = netns_socket(ns.b, AF_INET, SOCK_RAW, IPPROTO_RAW);
	raw_out[1] = netns_socket(ns.b, AF_INET6, SOCK_RAW, IPPROTO_RAW);
	for (unsigned i = 0; i < 8; i++)
		raw_in[i] = netns_socket(ns.b, i < 4 ? AF_INET : AF_INET6, SOCK_RAW, protos[i]);
}

int
main(void)
{
	const char *text = getenv("DIFF_LIVE_POLICIES");
	const unsigned policies = text == NULL ? 60 : (unsigned)strtoul(text, NULL, 10);
	size_t wrong = 0, passed = 0, from;
	struct nft_table *table = NULL;
	int sock;

	ns_start();
	setup();
	max_shots = 65536 - FIRST_ID;
	shots = calloc(max_shots + 1, sizeof(*shots));
	sock = netns_socket(ns.b, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	if (shots == NULL || sock < 0 || nft_table_new(sock, "nanoseg_diff", 9, &table) < 0)
		return 99;
	/* Conntrack does not look at checksums: SCTP's is left out. */
	nft_table_apply(table, NULL, &(bool){ 0 });
	NS_RUN(ns.b, "sh", "-c", "echo 0 >/proc/sys/net/netfilter/nf_conntrack_checksum");
	for (unsigned i = 0; i < policies && n_shots + PACKETS < max_shots; i++) {
		_cleanup_(ruleset_freep) struct ruleset *r = NULL;
		bool owned;

		world_make(&bench.w, 5000000 + i, &pool, 8);
		if (ruleset_compile(&bench.w.policy, &bench.w.inv, "a", WORLD_NOW, &r) < 0 ||
		    nft_table_apply(table, r, &owned) < 0) {
			tap_ok(false, "policy %u loads", i);
			break;
		}
		from = n_shots;
		for (unsigned tries = 0; tries < 2000 && n_shots < from + PACKETS; tries++)
			shoot(tries & 1 ? DIR_INGRESS : DIR_EGRESS, i);
		collect(from);
		wrong += judge(from);
		if (wrong > 10)
			break;
	}
	/* Those that came later than they were waited for. */
	poll(NULL, 0, LATE_MS);
	receive();
	wrong += judge(0);
	for (size_t i = 0; i < n_shots; i++)
		passed += shots[i].seen;
	tap_note("%u policies, %zu packets, %zu passed", policies, n_shots, passed);
	tap_ok(wrong == 0, "the kernel lets through what the policy says, and nothing else");
	tap_ok(n_shots > policies * 20 && passed > n_shots / 20 && passed < n_shots,
	    "packets of both kinds were tried");
	return tap_end();
}
