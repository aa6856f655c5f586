/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of a namespace, held against real traffic: a is the outside, b the workload. */
#include "netlink/netns.h"
#include "netlink/nft.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define TABLE "nanoseg_it"
#define GROUP 4711
#define WAIT_MS 400

static struct ns_pair ns;
static int sock = -1;
static struct nft_table *table;

/* Rulesets. */

#define ELEMS 70000
static struct ruleset_elem elems[ELEMS];
static struct addr locals[4];
static struct ruleset rs = { .elems = elems, .local = locals };

static void
rs_reset(enum wl_mode in, enum wl_mode out)
{
	memset(elems, 0, sizeof(elems));
	rs = (struct ruleset){ .in_mode = in,
		.out_mode = out,
		.elems = elems,
		.local = locals,
		.report_per_second = 100 };
}

static void
rs_range(int dir, int allow, int proto, const char *lo, const char *hi, int port_lo, int port_hi)
{
	elems[rs.n_elems++] = (struct ruleset_elem){
		.lo = ns_addr(lo),
		.hi = ns_addr(hi),
		.port_lo = (uint16_t)port_lo,
		.port_hi = (uint16_t)port_hi,
		.proto = (uint8_t)proto,
		.dir = (uint8_t)dir,
		.allow = (uint8_t)allow,
		.edge = rs.n_elems + 1,
	};
}

static void
rs_exact(int dir, int allow, int proto, const char *addr, int port)
{
	rs_range(dir, allow, proto, addr, addr, port, port);
}

static void
rs_local(const char *addr)
{
	locals[rs.n_local++] = ns_addr(addr);
}

/* The table. */

static int
open_sock(void)
{
	return netns_socket(ns.b, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
}

static void
table_open(void)
{
	sock = open_sock();
	if (sock < 0 || nft_table_new(sock, TABLE, GROUP, &table) < 0) {
		printf("Bail out! no table handle\n");
		exit(99);
	}
}

/* The owner dies. */
static void
table_close(void)
{
	nft_table_free(table);
	table = NULL;
	close_fd(&sock);
}

/* The kernel has what the handle says it has. */
static bool
table_as_expected(void)
{
	uint8_t want[RULESET_DIGEST_LEN];
	struct nft_state st;
	int r;

	r = nft_table_read(table, &st);
	if (r < 0 || !st.present) {
		tap_note("read: %d", r);
		return false;
	}
	return nft_table_expected(table, want) == 0 && memcmp(want, st.digest, sizeof(want)) == 0;
}

static bool
apply(const struct ruleset *r)
{
	bool owned = false;
	int err;

	err = nft_table_apply(table, r, &owned);
	if (err < 0) {
		tap_note("apply: %s", strerror(-err));
		return false;
	}
	return owned && table_as_expected();
}

static uint64_t
dropped(void)
{
	struct nft_state st = { 0 };

	nft_table_read(table, &st);
	return st.dropped;
}

static uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Traffic: 'y' connected, 'r' refused at once, 't' no answer, '?' something else. */

static char
tcp_from(const char *source, int from, int to, const char *addr, uint16_t port)
{
	_cleanup_close_ int l = ns_listen(to, addr, port), c = -1;
	struct sockaddr_storage sa, src;
	socklen_t len = ns_sockaddr(addr, port, &sa), err_len = sizeof(int), src_len;
	struct pollfd p = { .events = POLLOUT };
	int err = 0;

	c = netns_socket(from, sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (l < 0 || c < 0)
		return '?';
	if (source != NULL) {
		src_len = ns_sockaddr(source, 0, &src);
		if (bind(c, (struct sockaddr *)&src, src_len) < 0)
			return '?';
	}
	if (connect(c, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
		return 'r';
	p.fd = c;
	if (poll(&p, 1, WAIT_MS) == 0)
		return 't';
	if (getsockopt(c, SOL_SOCKET, SO_ERROR, &err, &err_len) < 0)
		return '?';
	return err == 0 ? 'y' : 'r';
}

static char
tcp(int from, int to, const char *addr, uint16_t port)
{
	return tcp_from(NULL, from, to, addr, port);
}

static char
udp(int from, int to, const char *addr, uint16_t port)
{
	_cleanup_close_ int s = ns_udp(to, addr, port), c = -1;
	struct sockaddr_storage sa;
	socklen_t len = ns_sockaddr(addr, port, &sa);
	struct pollfd p = { .fd = s, .events = POLLIN };
	char byte = 'u';

	c = netns_socket(from, sa.ss_family, SOCK_DGRAM, 0);
	if (s < 0 || c < 0)
		return '?';
	if (connect(c, (struct sockaddr *)&sa, len) < 0 || send(c, &byte, 1, 0) != 1)
		return 'r';
	if (poll(&p, 1, WAIT_MS) == 1)
		return 'y';
	return send(c, &byte, 1, 0) == 1 ? 't' : 'r';
}

/* Listeners. */

static int
listen_ct(void)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = 2 /* UPDATE */ };
	int fd = netns_socket(ns.b, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_NETFILTER);

	if (fd >= 0)
		bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	return fd;
}

static int
count_messages(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[8192];
	int n = 0;

	while (poll(&p, 1, 100) == 1) {
		ssize_t len = recv(fd, buf, sizeof(buf), 0);
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
		int left = (int)len;

		for (; len > 0 && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
			n++;
	}
	return n;
}

static int
listen_reports(void)
{
	int fd = netns_socket(ns.b, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_NETFILTER);
	struct nfulnl_msg_config_mode mode = { .copy_range = htonl(64), NFULNL_COPY_PACKET, 0 };
	struct nfulnl_msg_config_cmd cmd = { NFULNL_CFG_CMD_BIND };
	char buf[256] = { 0 };
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g;
	uint32_t flush = htonl(1);

	h->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
	h->nlmsg_flags = NLM_F_REQUEST;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = AF_UNSPEC;
	g->res_id = htons(GROUP);
	mnl_attr_put(h, NFULA_CFG_CMD, sizeof(cmd), &cmd);
	mnl_attr_put(h, NFULA_CFG_MODE, sizeof(mode), &mode);
	mnl_attr_put(h, NFULA_CFG_QTHRESH, sizeof(flush), &flush);
	if (fd < 0 || send(fd, h, h->nlmsg_len, 0) < 0)
		return -1;
	return fd;
}

/* The prefixes of what was reported, one after another: "aiai". */
static const char *
reports(int fd)
{
	static char text[512];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[8192];

	text[0] = '\0';
	while (poll(&p, 1, 100) == 1) {
		ssize_t len = recv(fd, buf, sizeof(buf), 0);
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
		const struct nlattr *a;
		int left = (int)len;

		for (; len > 0 && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET))
				continue;
			mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
			{
				if (mnl_attr_get_type(a) == NFULA_PREFIX &&
				    strlen(text) + 3 < sizeof(text))
					strncat(text, mnl_attr_get_str(a), 2);
			}
		}
	}
	return text;
}

static void
test_probe(void)
{
	const uint32_t all =
	    NFT_CAN_TABLE | NFT_CAN_CT_EVENT | NFT_CAN_CONCAT_RANGES | NFT_CAN_LOG | NFT_CAN_REJECT;
	_cleanup_close_ int before = netns_open_self(), after = -1;
	struct netns_id a = { 0 }, b = { 1 };
	uint32_t features = 0;
	int r;

	r = nft_probe(&features);
	after = netns_open_self();
	tap_ok(r == 0 && (features & all) == all, "the probe finds what every rule needs (%x)",
	    features);
	tap_ok(netns_identify(before, &a) == 0 && netns_identify(after, &b) == 0 &&
		   a.cookie == b.cookie,
	    "the probe leaves the thread in its own namespace");
	if ((features & NFT_CAN_PERSIST) == 0) {
		printf("1..0 # SKIP the kernel has no persistent owned tables\n");
		exit(0);
	}
}

static void
test_names(void)
{
	static const char *const bad[] = { "filter", "", "nanoseg_A", "nanoseg x",
		"nanoseg_0123456789012345678901234", "nanoseg/../x", "xnanoseg" };
	struct nft_table *t = NULL;
	unsigned i, refused = 0;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		refused += nft_table_new(0, bad[i], 1, &t) == -EINVAL;
	tap_ok(refused == ARRAY_SIZE(bad), "a table that is not ours by name is refused");
	tap_ok(nft_cleanup(sock, "") == -EINVAL && nft_count_tables(sock, "f") == -EINVAL,
	    "cleanup takes no prefix that could match a foreign table");
}

static void
test_observe(int log)
{
	_cleanup_close_ int ct = listen_ct(), c = -1, s = -1;
	uint8_t d[RULESET_DIGEST_LEN];
	struct nft_state st = { 0 };
	int before, after;

	tap_ok(nft_table_expected(table, d) == -ENODATA, "nothing is expected before an apply");
	tap_ok(nft_table_read(table, &st) == 0 && !st.present, "no table at first");
	tap_ok(apply(NULL), "the observe table loads, is owned and reads back as meant");
	count_messages(ct);
	tap_ok(ns_tcp(ns.a, ns.b, NS_B4, 8080, &c, &s) == 0, "observe: TCP in passes");
	before = count_messages(ct);
	ns_talk(c, s);
	after = count_messages(ct);
	tap_ok(before == 1 && after == 0, "one event per answered connection (TCP in: %d, %d)",
	    before, after);
	close_fd(&c);
	close_fd(&s);
	count_messages(ct);
	ns_tcp(ns.b, ns.a, NS_A6, 8080, &c, &s);
	tap_ok(count_messages(ct) == 1, "one event: TCP out, IPv6");
	ns_udp_exchange(ns.a, ns.b, NS_B6, 5000);
	tap_ok(count_messages(ct) == 1, "one event: UDP in, IPv6");
	ns_ping(ns.b, NS_A4, 77);
	tap_ok(count_messages(ct) == 1, "one event: ICMP out");
	tap_ok(udp(ns.a, ns.b, NS_B4, 5001) == 'y' && count_messages(ct) == 0,
	    "no event for what nobody answered");
	reports(log);
	udp(ns.a, ns.b, NS_B4, 5002);
	udp(ns.b, ns.a, NS_A4, 5002);
	tap_ok(strcmp(reports(log), "nino") == 0, "new UDP is reported, each way");
	tcp(ns.a, ns.b, NS_B4, 8081);
	tap_ok(strcmp(reports(log), "") == 0, "new TCP is not");
}

static void
test_enforce(int log)
{
	uint64_t before;

	rs_reset(MODE_ENFORCE, MODE_ENFORCE);
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8080);
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A6, 8080);
	rs_exact(DIR_INGRESS, 1, IPPROTO_UDP, NS_A4, 53);
	rs_exact(DIR_INGRESS, 1, IPPROTO_ICMP, NS_A4, 8 << 8);
	rs_exact(DIR_INGRESS, 1, IPPROTO_ICMPV6, NS_A6, 128 << 8);
	rs_exact(DIR_EGRESS, 1, IPPROTO_TCP, NS_A4, 9000);
	rs_range(DIR_EGRESS, 1, IPPROTO_TCP, "fd00:99::", "fd00:99::ff", 9000, 9010);
	rs_range(DIR_INGRESS, 1, IPPROTO_TCP, "10.99.0.70", "10.99.0.79", 7000, 7010);
	rs_range(DIR_INGRESS, 0, IPPROTO_TCP, NS_A4, NS_A4, 7100, 7200);
	rs_range(DIR_INGRESS, 1, IPPROTO_TCP, "10.0.0.0", "10.255.255.255", 7150, 7150);
	rs_exact(DIR_INGRESS, 0, IPPROTO_TCP, "10.99.0.75", 7005);
	tap_ok(apply(&rs), "enforce loads and reads back as meant");

	before = dropped();
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8080) == 'y', "approved TCP passes");
	tap_ok(tcp(ns.a, ns.b, NS_B6, 8080) == 'y', "approved TCP passes, IPv6");
	tap_ok(udp(ns.a, ns.b, NS_B4, 53) == 'y', "approved UDP passes");
	tap_ok(ns_ping(ns.a, NS_B4, 5) == 0, "approved echo passes");
	tap_ok(ns_ping(ns.a, NS_B6, 5) == 0, "approved echo passes, IPv6");
	tap_ok(tcp(ns.b, ns.a, NS_A4, 9000) == 'y', "approved TCP out passes");
	tap_ok(tcp(ns.b, ns.a, NS_A6, 9005) == 'y', "an approved range passes, out, IPv6");
	tap_ok(tcp_from("10.99.0.77", ns.a, ns.b, NS_B4, 7004) == 'y', "an approved range passes");
	tap_ok(dropped() == before, "nothing approved counts as dropped");
	reports(log);
	tap_ok(tcp_from("10.99.0.77", ns.a, ns.b, NS_B4, 7011) == 't', "a port beside it does not");
	tap_ok(tcp_from("10.99.0.80", ns.a, ns.b, NS_B4, 7004) == 't',
	    "an address beside it does not");
	tap_ok(strncmp(reports(log), "didi", 4) == 0, "both are reported");
	tap_ok(tcp_from("10.99.0.75", ns.a, ns.b, NS_B4, 7005) == 't', "deny beats a range");
	tap_ok(tcp_from("10.99.0.75", ns.a, ns.b, NS_B4, 7006) == 'y', "and only its own port");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 7150) == 't', "a denied range beats an approved one");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8082) == 't', "absent TCP is dropped towards the outside");
	tap_ok(udp(ns.a, ns.b, NS_B6, 53) == 't', "absent UDP, IPv6");
	tap_ok(tcp(ns.b, ns.a, NS_A4, 9001) == 't', "absent TCP out");
	tap_ok(ns_ping(ns.b, NS_A4, 6) < 0, "absent echo out");
	tap_ok(strstr(reports(log), "do") != NULL, "refused at output is reported as such");
	tap_ok(dropped() > before, "refusals are counted");

	NS_RUN(ns.a, "ip", "-6", "neigh", "flush", "all");
	NS_RUN(ns.b, "ip", "-6", "neigh", "flush", "all");
	tap_ok(tcp(ns.a, ns.b, NS_B6, 8080) == 'y', "neighbours are found from a cold cache, in");
	NS_RUN(ns.a, "ip", "-6", "neigh", "flush", "all");
	NS_RUN(ns.b, "ip", "-6", "neigh", "flush", "all");
	tap_ok(tcp(ns.b, ns.a, NS_A6, 9000) == 'y', "and out");

	rs_local(NS_A4);
	rs_local(NS_A6);
	tap_ok(apply(&rs), "local addresses are a change of elements");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8082) == 'r', "absent TCP is reset towards a local workload");
	tap_ok(tcp(ns.a, ns.b, NS_B6, 8082) == 'r', "the same, IPv6");
	tap_ok(udp(ns.a, ns.b, NS_B4, 54) == 'r', "absent UDP gets an ICMP error");
	tap_ok(tcp(ns.b, ns.a, NS_A4, 9001) == 'r', "absent TCP out is reset at the source");
	tap_ok(tcp_from("10.99.0.80", ns.a, ns.b, NS_B4, 7004) == 't', "others are dropped still");
}

static void
test_loopback(void)
{
	_cleanup_close_ int s = ns_udp(ns.b, "127.0.0.11", 5353), c = ns_udp(ns.b, "127.0.0.1", 0);
	struct sockaddr_storage to, from;
	socklen_t len = ns_sockaddr("127.0.0.11", 53, &to), from_len = sizeof(from);
	char byte = 'q';

	ns_nft(ns.b, "table ip dns { chain o { type nat hook output priority -100;"
		     " ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:5353; }; }");
	tap_ok(sendto(c, &byte, 1, 0, (struct sockaddr *)&to, len) == 1 &&
		   recvfrom(s, &byte, 1, 0, (struct sockaddr *)&from, &from_len) == 1 &&
		   sendto(s, &byte, 1, 0, (struct sockaddr *)&from, from_len) == 1 &&
		   recvfrom(c, &byte, 1, 0, (struct sockaddr *)&from, &from_len) == 1 &&
		   ns_local_port(c) != 0 && ntohs(((struct sockaddr_in *)&from)->sin_port) == 53,
	    "a resolver behind NAT on loopback answers in enforce");
	tap_ok(tcp(ns.b, ns.b, NS_B4, 8123) == 'y', "a workload reaches itself by its own address");
	tap_ok(table_as_expected(), "foreign tables are not in the digest");
	NS_RUN(ns.b, "nft", "delete", "table", "ip", "dns");
}

static void
test_directions(int log)
{
	rs_reset(MODE_ENFORCE, MODE_OBSERVE);
	tap_ok(apply(&rs), "ingress alone loads");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8080) == 't', "ingress alone: in is refused");
	tap_ok(tcp(ns.b, ns.a, NS_A4, 8080) == 'y', "ingress alone: out passes and is answered");
	rs_reset(MODE_OBSERVE, MODE_ENFORCE);
	tap_ok(apply(&rs), "egress alone loads");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8080) == 'y', "egress alone: in passes and is answered");
	tap_ok(tcp(ns.b, ns.a, NS_A4, 8080) == 't', "egress alone: out is refused");
	rs_reset(MODE_AUDIT, MODE_AUDIT);
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8080);
	rs_exact(DIR_INGRESS, 0, IPPROTO_TCP, NS_A4, 8081);
	tap_ok(apply(&rs), "audit loads");
	reports(log);
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8080) == 'y' && strcmp(reports(log), "") == 0,
	    "audit: approved passes in silence");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8081) == 'y' && strcmp(reports(log), "ai") == 0,
	    "audit: denied passes and is reported");
	tap_ok(tcp(ns.b, ns.a, NS_A6, 8082) == 'y' && strcmp(reports(log), "ao") == 0,
	    "audit: absent passes and is reported, out");
}

static void
test_established(void)
{
	_cleanup_close_ int c = -1, s = -1;

	apply(NULL);
	ns_tcp(ns.a, ns.b, NS_B4, 8080, &c, &s);
	rs_reset(MODE_ENFORCE, MODE_ENFORCE);
	tap_ok(apply(&rs) && ns_talk(c, s) == 0, "an established connection survives enforcement");
	NS_RUN(ns.b, "conntrack", "-D", "-p", "tcp");
	tap_ok(ns_talk(c, s) < 0, "once its entry is gone it does not come back from the middle");
}

static void
test_forward(int log)
{
	int c = ns_new();
	char peer[64];

	snprintf(peer, sizeof(peer), "/proc/%d/fd/%d", (int)getpid(), c);
	NS_RUN(
	    ns.b, "ip", "link", "add", "vc", "type", "veth", "peer", "name", "vd", "netns", peer);
	NS_RUN(ns.b, "ip", "addr", "add", "10.98.0.1/24", "dev", "vc");
	NS_RUN(c, "ip", "addr", "add", "10.98.0.2/24", "dev", "vd");
	NS_RUN(ns.b, "ip", "link", "set", "vc", "up");
	NS_RUN(c, "ip", "link", "set", "vd", "up");
	NS_RUN(c, "ip", "route", "add", "default", "via", "10.98.0.1");
	NS_RUN(ns.a, "ip", "route", "add", "10.98.0.0/24", "via", NS_B4);
	NS_RUN(ns.b, "sysctl", "-qw", "net.ipv4.ip_forward=1");
	apply(NULL);
	tap_ok(tcp(c, ns.a, NS_A4, 8080) == 'y', "observe: a nested namespace is forwarded");
	rs_reset(MODE_OBSERVE, MODE_ENFORCE);
	rs_exact(DIR_EGRESS, 1, IPPROTO_TCP, NS_A4, 8080);
	apply(&rs);
	reports(log);
	tap_ok(tcp(c, ns.a, NS_A4, 8080) == 't', "enforce: it is not, whatever is approved");
	tap_ok(strncmp(reports(log), "df", 2) == 0, "and it is reported");
	NS_RUN(ns.b, "ip", "link", "del", "vc");
	close(c);
}

static void
test_tamper(void)
{
	static const char *const cmds[] = {
		"delete table inet " TABLE,
		"flush table inet " TABLE,
		"flush chain inet " TABLE " input",
		"add rule inet " TABLE " input accept",
		"insert rule inet " TABLE " input accept",
		"chain inet " TABLE " input { policy accept ; }",
		"add element inet " TABLE " allow_in4 { 10.99.0.1 . tcp . 9999 }",
		"delete element inet " TABLE " allow_in4 { 10.99.0.1 . tcp . 8080 }",
		"add table inet " TABLE " { flags dormant ; }",
	};
	unsigned i, refused = 0;

	rs_reset(MODE_ENFORCE, MODE_ENFORCE);
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8080);
	apply(&rs);
	for (i = 0; i < ARRAY_SIZE(cmds); i++)
		refused +=
		    ns_run(ns.b, cmds[i],
			(const char *const[]){ "sh", "-c", "nft -f - 2>/dev/null", NULL }) != 0;
	tap_ok(refused == ARRAY_SIZE(cmds), "root inside can change nothing (%u of %zu refused)",
	    refused, ARRAY_SIZE(cmds));
	NS_RUN(ns.b, "nft", "flush", "ruleset");
	tap_ok(table_as_expected(), "the table outlives a flush of the ruleset");
	ns_nft(ns.b,
	    "table inet foreign { chain i { type filter hook input priority -300; accept; }; }");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8082) == 't', "a foreign accept does not override a drop");
	NS_RUN(ns.b, "nft", "flush", "ruleset");
	tap_ok(NS_RUN(ns.b, "sh", "-c", "timeout 10 nft list ruleset >/dev/null") == 0,
	    "nft lists it");
}

/* Each is done to the orphan, and must change the digest and be undone by the next owner. */
static void
test_drift(void)
{
	static const char *const scripts[] = {
		"insert rule inet " TABLE " input tcp dport 1 accept",
		"add rule inet " TABLE " refuse_in accept",
		"flush chain inet " TABLE " output",
		"flush ruleset; add table inet " TABLE,
		"add element inet " TABLE " allow_in4 { 1.2.3.4 . tcp . 9 }",
		"add element inet " TABLE " allow_in4_range { 1.2.3.0/24 . tcp . 9 }",
		"delete element inet " TABLE " allow_in4 { 10.99.0.1 . tcp . 8080 }",
		"add element inet " TABLE " local6 { fd00::1 }",
		"chain inet " TABLE " input { policy accept ; }",
		"add chain inet " TABLE " extra { type filter hook input priority -5 ; }",
		"add set inet " TABLE " extra { type ipv4_addr ; }",
		"add counter inet " TABLE " extra",
		"add map inet " TABLE " extra { type ipv4_addr : verdict ; }",
		"add chain inet " TABLE " extra; add rule inet " TABLE " input jump extra",
		"add rule inet " TABLE " input tcp dport { 1, 2 } accept",
		"add flowtable inet " TABLE
		" extra { hook ingress priority 0 ; devices = { vb } ; }",
		"flush chain inet " TABLE " input; delete chain inet " TABLE " input; "
		"add chain inet " TABLE " input",
	};
	uint8_t want[RULESET_DIGEST_LEN];
	unsigned i, left = ARRAY_SIZE(scripts), noticed = 0, repaired = 0;
	struct nft_state st;
	bool same;

	nft_table_expected(table, want);
	for (i = 0; i < ARRAY_SIZE(scripts); i++) {
		table_close();
		table_open();
		same =
		    nft_table_read(table, &st) == 0 && memcmp(st.digest, want, sizeof(want)) == 0;
		if (NS_RUN(ns.b, "nft", scripts[i]) != 0) {
			tap_note("this kernel or nft cannot: %s", scripts[i]);
			apply(&rs);
			left--;
			continue;
		}
		if (same && nft_table_read(table, &st) == 0 &&
		    memcmp(st.digest, want, sizeof(want)) != 0)
			noticed++;
		else
			tap_note("not noticed: %s", scripts[i]);
		if (apply(&rs) && nft_table_read(table, &st) == 0 &&
		    memcmp(st.digest, want, sizeof(want)) == 0 &&
		    tcp(ns.a, ns.b, NS_B4, 8080) == 'y')
			repaired++;
		else
			tap_note("not repaired: %s", scripts[i]);
	}
	tap_ok(noticed == left && left + 1 >= ARRAY_SIZE(scripts),
	    "every change by hand changes the digest (%u of %u)", noticed, left);
	tap_ok(repaired == left, "the next owner adopts and repairs each orphan (%u of %u)",
	    repaired, left);
	tap_ok(NS_RUN(ns.b, "nft", "flush", "table", "inet", TABLE) != 0,
	    "an adopted table is owned again");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8082) == 't', "and refuses");
}

static void
test_forger(void)
{
	_cleanup_close_ int forger = open_sock();
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	socklen_t len = sizeof(to);
	char msg[32] = { 0 };

	getsockname(sock, (struct sockaddr *)&to, &len);
	to.nl_groups = 0;
	tap_ok(sendto(forger, msg, sizeof(msg), 0, (struct sockaddr *)&to, sizeof(to)) < 0 &&
		   errno == ECONNREFUSED,
	    "root in the namespace cannot send to the owner's port");
}

/* A table of its own with that many chains. */
static void
many_chains(const char *name, unsigned n)
{
	size_t size = n * 24 + 64, len;
	char *text = malloc(size);

	if (text == NULL)
		abort();
	len = (size_t)snprintf(text, size, "table inet %s {", name);
	for (unsigned i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, size - len, " chain c%u { };", i);
	snprintf(text + len, size - len, " }");
	ns_nft(ns.b, text);
	free(text);
}

static void
many_tables(unsigned n)
{
	size_t size = n * 32, len = 0;
	char *text = malloc(size);

	if (text == NULL)
		abort();
	for (unsigned i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, size - len, "table ip nanoseg_x%u { }\n", i);
	ns_nft(ns.b, text);
	free(text);
}

/* Somebody who changes a foreign table without end, until killed. */
static pid_t
churn_start(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 9);
		for (unsigned i = 0; i < 2000; i++)
			NS_RUN(ns.b, "nft", "add", "chain", "inet", "foreign", i % 2 ? "x" : "y");
		_exit(0);
	}
	return pid;
}

static void
test_squatter(void)
{
	struct nft_state st;
	unsigned failed = 0;
	pid_t churn;

	nft_table_delete(table);
	ns_nft(ns.b, "table inet " TABLE " { chain x { type filter hook input priority 0; }; }");
	tap_ok(apply(&rs), "a table somebody made under our name is replaced by an owned one");
	nft_table_delete(table);
	many_chains(TABLE, 5000);
	tap_ok(apply(&rs) && table_as_expected(), "and so is one with more in it than can be read");
	many_chains("foreign", 20000);
	churn = churn_start();
	for (unsigned i = 0; i < 5; i++)
		failed += nft_table_read(table, &st) < 0;
	kill(churn, 9);
	waitpid(churn, NULL, 0);
	tap_ok(failed == 0, "20,000 chains elsewhere that change all the time keep no reader");
	NS_RUN(ns.b, "nft", "delete", "table", "inet", "foreign");
	nft_table_delete(table);
	tap_ok(nft_table_delete(table) == 0, "deleting what is not there succeeds");
	tap_ok(apply(&rs), "a deleted table comes back whole");
}

/* Floods b until killed; b's socket counts what came through. */
static pid_t
flood_start(uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t len = ns_sockaddr(NS_B4, port, &sa);
	int fd = ns_udp(ns.a, "0.0.0.0", 0);
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 9);
		for (unsigned i = 0; i < 3000000; i++)
			sendto(fd, "f", 1, 0, (struct sockaddr *)&sa, len);
		_exit(0);
	}
	close(fd);
	return pid;
}

/* Rebuilds, changes of rules and of elements while a floods b's port 6000. */
static void
no_gap(const char *what)
{
	_cleanup_close_ int s = ns_udp(ns.b, NS_B4, 6000);
	unsigned i, failed = 0, through = 0, refused = 0;
	uint64_t before, packets;
	pid_t pid;
	char byte;

	failed += !apply(&rs);
	before = dropped();
	pid = flood_start(6000);
	for (i = 0; i < 300; i++) {
		rs.report_per_second = 50 + i % 2;
		if (i % 3 == 0) {
			nft_table_free(table);
			nft_table_new(sock, TABLE, GROUP, &table);
		}
		failed += nft_table_apply(table, &rs, &(bool){ false }) < 0;
		usleep(1000);
		if (i % 50 == 0)
			refused += tcp(ns.a, ns.b, NS_B4, 8080) != 'y';
	}
	kill(pid, 9);
	waitpid(pid, NULL, 0);
	while (recv(s, &byte, 1, MSG_DONTWAIT) == 1)
		through++;
	packets = dropped() - before;
	tap_ok(failed == 0 && refused == 0 && through == 0 && packets > 1000,
	    "300 rebuilds under a flood let nothing through, %s (%u of %llu packets)", what,
	    through, (unsigned long long)packets);
}

static void
test_no_gap(void)
{
	size_t n = rs.n_elems;

	no_gap("absent");
	rs_exact(DIR_INGRESS, 1, IPPROTO_UDP, NS_A4, 6000);
	rs_exact(DIR_INGRESS, 0, IPPROTO_UDP, NS_A4, 6000);
	no_gap("denied and allowed");
	rs.n_elems--;
	rs_range(DIR_INGRESS, 0, IPPROTO_UDP, NS_A4, NS_A4, 5990, 6010);
	no_gap("in a denied range and allowed");
	rs.n_elems = n;
	apply(&rs);
}

static void
test_delta(void)
{
	struct ruleset_elem bad[2];
	struct ruleset overlap;
	bool owned;

	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8090);
	tap_ok(apply(&rs) && tcp(ns.a, ns.b, NS_B4, 8090) == 'y', "an element more lets one in");
	rs.n_elems--;
	tap_ok(apply(&rs) && tcp(ns.a, ns.b, NS_B4, 8090) == 't', "an element less shuts it out");
	rs_range(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, NS_A4, 8090, 8095);
	apply(&rs);
	elems[rs.n_elems - 1].port_hi = 8093;
	tap_ok(apply(&rs) && tcp(ns.a, ns.b, NS_B4, 8092) == 'y' &&
		   tcp(ns.a, ns.b, NS_B4, 8095) == 't',
	    "a range is replaced by one that overlaps it");

	overlap = rs;
	rs_range(DIR_INGRESS, 1, IPPROTO_UDP, "10.1.0.0", "10.1.0.9", 5, 10);
	rs_range(DIR_INGRESS, 1, IPPROTO_UDP, "10.1.0.5", "10.1.0.19", 8, 20);
	overlap.n_elems = rs.n_elems;
	tap_ok(nft_table_apply(table, &overlap, &owned) < 0 && table_as_expected() &&
		   tcp(ns.a, ns.b, NS_B4, 8092) == 'y',
	    "a refused transaction leaves table and handle as they were");
	rs.n_elems -= 2;
	tap_ok(apply(&rs), "and the next one works");

	memset(bad, 0, sizeof(bad));
	bad[0] = elems[0];
	bad[0].proto = IPPROTO_GRE;
	overlap.elems = bad;
	overlap.n_elems = 1;
	tap_ok(
	    nft_table_apply(table, &overlap, &owned) == -EINVAL, "an invalid ruleset is refused");
}

/*
 * A kernel without owner and persist: the flags of a new table become one that no kernel knows, and
 * the real refusal follows. Takes the library's place in this program.
 */
static bool old_kernel;

ssize_t
sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(uintptr_t)buf;
	int left = (int)len;
	struct nlattr *a;

	for (; old_kernel && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		if (h->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE))
			continue;
		mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
		{
			uint32_t *value = mnl_attr_get_payload(a);

			if (mnl_attr_get_type(a) == NFTA_TABLE_FLAGS && *value != 0)
				*value = htonl(0x80);
		}
	}
	return syscall(SYS_sendto, fd, buf, len, flags, to, to_len);
}

static void
test_old_kernel(void)
{
	bool owned = true;

	nft_table_delete(table);
	table_close();
	table_open();
	old_kernel = true;
	tap_ok(nft_table_apply(table, &rs, &owned) == 0 && !owned && table_as_expected(),
	    "without owner flags the table loads and says so");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8082) == 't' && tcp(ns.a, ns.b, NS_B4, 8080) == 'y',
	    "it decides alike");
	ns_nft(ns.b, "insert rule inet " TABLE " input accept");
	tap_ok(!table_as_expected() && tcp(ns.a, ns.b, NS_B4, 8082) == 'y', "anyone can change it");
	nft_table_free(table);
	nft_table_new(sock, TABLE, GROUP, &table);
	tap_ok(nft_table_apply(table, &rs, &owned) == 0 && !owned && table_as_expected() &&
		   tcp(ns.a, ns.b, NS_B4, 8082) == 't',
	    "a new handle repairs it");
	NS_RUN(ns.b, "nft", "delete", "table", "inet", TABLE);
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8090);
	tap_ok(nft_table_apply(table, &rs, &owned) == 0 && table_as_expected(),
	    "a change to a table that is gone brings all of it back");
	rs.n_elems--;
	old_kernel = false;
	nft_table_free(table);
	nft_table_new(sock, TABLE, GROUP, &table);
	tap_ok(apply(&rs), "a newer kernel makes it an owned one");
}

static void
many(unsigned n, unsigned first)
{
	unsigned i;

	rs.n_elems = first;
	for (i = 0; i < n; i++) {
		struct ruleset_elem *e = &elems[rs.n_elems++];

		memset(e, 0, sizeof(*e));
		e->lo.family = i % 4 == 3 ? 6 : 4;
		e->lo.bytes[0] = 172;
		e->lo.bytes[1] = 20;
		e->lo.bytes[2] = (uint8_t)(i >> 8);
		e->lo.bytes[3] = (uint8_t)i;
		e->hi = e->lo;
		e->port_lo = e->port_hi = (uint16_t)(1000 + i / 65536);
		e->proto = IPPROTO_TCP;
		e->dir = i % 2 ? DIR_INGRESS : DIR_EGRESS;
		e->allow = 1;
	}
}

static uint64_t
apply_us(struct ruleset *r)
{
	uint64_t start;
	bool owned;

	ruleset_normalise(r);
	start = now_us();
	return nft_table_apply(table, r, &owned) < 0 ? 0 : now_us() - start;
}

static int
u64_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
rs_many(unsigned n, bool one_more)
{
	rs_reset(MODE_ENFORCE, MODE_ENFORCE);
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8080);
	many(n, 1);
	if (one_more)
		rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8090);
}

static void
note_one_element(unsigned n)
{
	uint64_t us[100];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(us); i++) {
		rs_many(n, i % 2);
		us[i] = apply_us(&rs);
	}
	qsort(us, ARRAY_SIZE(us), sizeof(us[0]), u64_cmp);
	tap_note("one element in or out among %u: %llu us (median of %zu)", n,
	    (unsigned long long)us[ARRAY_SIZE(us) / 2], ARRAY_SIZE(us));
}

static void
note_mode(void)
{
	uint64_t us[20];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(us); i++) {
		rs_many(0, false);
		rs.in_mode = i % 2 ? MODE_ENFORCE : MODE_OBSERVE;
		us[i] = apply_us(&rs);
	}
	qsort(us, ARRAY_SIZE(us), sizeof(us[0]), u64_cmp);
	tap_note("a change of mode: %llu us (median of %zu)",
	    (unsigned long long)us[ARRAY_SIZE(us) / 2], ARRAY_SIZE(us));
}

static void
test_size(void)
{
	struct nft_state st = { 0 };
	uint64_t us, start;

	note_one_element(0);
	note_mode();
	rs_many(0, false);
	apply(&rs);
	rs_many(10000, false);
	us = apply_us(&rs);
	tap_ok(us > 0 && table_as_expected(), "10,000 elements load");
	tap_note("10,000 elements: %llu us", (unsigned long long)us);
	rs_many(20000, false);
	us = apply_us(&rs);
	start = now_us();
	tap_ok(us > 0 && table_as_expected(), "20,000 elements load over them");
	tap_note("10,000 more: %llu us, read and digests: %llu us", (unsigned long long)us,
	    (unsigned long long)(now_us() - start));
	nft_table_read(table, &st);
	tap_ok(st.n_elems == rs.n_elems, "the kernel has all of them (%u)", st.n_elems);
	note_one_element(20000);
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8080) == 'y' && tcp(ns.a, ns.b, NS_B4, 8081) == 't',
	    "and decides as before");
	tap_ok(NS_RUN(ns.b, "sh", "-c", "timeout 20 nft list table inet " TABLE " >/dev/null") == 0,
	    "nft lists 20,000 elements");
	rs_many(0, false);
	tap_ok(apply(&rs), "and all go in one transaction");
}

static void
test_cleanup(void)
{
	_cleanup_close_ int other = open_sock(), c = -1, s = -1;
	struct nft_table *second = NULL;
	bool owned;

	ns_tcp(ns.a, ns.b, NS_B4, 8080, &c, &s);
	ns_nft(ns.b, "table inet foreign { }");
	tap_ok(nft_count_tables(other, "nanoseg") == 1, "our table is counted, others are not");
	tap_ok(nft_cleanup(other, "nanoseg") == -EPERM, "a living owner keeps its table");
	nft_table_new(other, TABLE, GROUP, &second);
	tap_ok(nft_table_apply(second, NULL, &owned) == -EPERM && table_as_expected(),
	    "and a second owner is refused");
	nft_table_free(second);
	tap_ok(nft_count_tables(other, "nanoseg_other") == 0, "another instance's prefix: none");
	table_close();
	tap_ok(nft_count_tables(other, "nanoseg") == 1, "an orphan stays");
	many_tables(1500);
	tap_ok(nft_cleanup(other, "nanoseg_x") == 1500,
	    "fifteen hundred of one prefix are all deleted");
	tap_ok(nft_cleanup(other, "nanoseg") == 1, "cleanup deletes the orphan");
	tap_ok(nft_count_tables(other, "nanoseg") == 0, "none is left");
	tap_ok(
	    NS_RUN(ns.b, "nft", "list", "table", "inet", "foreign") == 0, "a foreign table stays");
	tap_ok(ns_talk(c, s) == 0, "an established connection goes on");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8082) == 'y', "and nothing is refused any more");
}

/* A guard on a's side of the link, as the host has it: b is held without a rule in b. */
static bool
guard_apply(struct nft_table *guard, const struct nft_pin *pin)
{
	uint8_t want[RULESET_DIGEST_LEN];
	struct nft_state st = { 0 };
	bool owned = false;
	int r;

	r = nft_guard_apply(guard, &rs, pin, &owned);
	if (r < 0 || !owned)
		tap_note("guard: %s, owned %d", strerror(-r), owned);
	return r == 0 && owned && nft_table_read(guard, &st) == 0 && st.present &&
	       nft_table_expected(guard, want) == 0 && memcmp(want, st.digest, sizeof(want)) == 0;
}

static void
test_guard(void)
{
	const struct addr addrs[2] = { ns_addr(NS_B4), ns_addr(NS_B6) };
	struct nft_pin pin = { { 2, 0, 0, 0, 0, 0xb }, addrs, 2 };
	_cleanup_close_ int s = netns_socket(ns.a, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	struct nft_table *guard = NULL;

	NS_RUN(ns.b, "ip", "link", "set", "vb", "address", "02:00:00:00:00:0b");
	NS_RUN(ns.a, "ip", "neigh", "flush", "all");
	NS_RUN(ns.a, "ip", "-6", "neigh", "flush", "all");
	nft_guard_new(s, "nanoseg_g", "va", &guard);
	rs_reset(MODE_ENFORCE, MODE_ENFORCE);
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8080);
	rs_exact(DIR_EGRESS, 1, IPPROTO_TCP, NS_A6, 9001);
	rs_range(DIR_EGRESS, 1, IPPROTO_UDP, "10.99.0.0", "10.99.0.255", 9000, 9010);
	rs_exact(DIR_EGRESS, 0, IPPROTO_UDP, NS_A4, 9002);
	tap_ok(guard_apply(guard, &pin), "a guard is loaded, owned, and reads back as meant");
	tap_ok(tcp(ns.a, ns.b, NS_B4, 8080) == 'y' && tcp(ns.b, ns.a, NS_A6, 9001) == 'y' &&
		   udp(ns.b, ns.a, NS_A4, 9001) == 'y',
	    "what is allowed passes it, both ways");
	tap_ok(tcp(ns.a, ns.b, NS_B6, 8080) != 'y' && tcp(ns.b, ns.a, NS_A4, 9001) != 'y' &&
		   udp(ns.b, ns.a, NS_A4, 9002) != 'y' && udp(ns.b, ns.a, NS_A6, 9001) != 'y',
	    "and nothing else does");
	rs_exact(DIR_EGRESS, 1, IPPROTO_TCP, NS_A4, 9001);
	tap_ok(guard_apply(guard, &pin) && tcp(ns.b, ns.a, NS_A4, 9001) == 'y',
	    "an element more is one change");
	rs.out_mode = MODE_AUDIT;
	tap_ok(guard_apply(guard, &pin) && tcp(ns.b, ns.a, NS_A4, 9002) == 'y',
	    "in audit it lets pass what it would refuse");
	rs.out_mode = MODE_ENFORCE;
	pin.mac[5] = 0xc;
	tap_ok(guard_apply(guard, &pin) && tcp(ns.b, ns.a, NS_A4, 9001) != 'y',
	    "another hardware address is refused");
	pin.mac[5] = 0xb;
	pin.n_addrs = 0;
	tap_ok(
	    guard_apply(guard, &pin) && tcp(ns.b, ns.a, NS_A4, 9001) != 'y', "and another address");
	tap_ok(nft_table_delete(guard) == 0 && nft_count_tables(s, "nanoseg") == 0 &&
		   tcp(ns.b, ns.a, NS_A4, 9001) == 'y',
	    "without it everything passes");
	nft_table_free(guard);
}

int
main(void)
{
	int log;

	ns_start();
	test_probe();
	ns_pair_new(&ns);
	NS_RUN(ns.a, "ip", "addr", "add", "10.99.0.75/24", "dev", "va");
	NS_RUN(ns.a, "ip", "addr", "add", "10.99.0.77/24", "dev", "va");
	NS_RUN(ns.a, "ip", "addr", "add", "10.99.0.80/24", "dev", "va");
	log = listen_reports();
	table_open();
	test_names();
	test_observe(log);
	test_enforce(log);
	test_loopback();
	test_directions(log);
	test_established();
	test_forward(log);
	test_tamper();
	test_drift();
	test_forger();
	test_squatter();
	test_no_gap();
	test_delta();
	test_old_kernel();
	test_size();
	test_cleanup();
	test_guard();
	return tap_end();
}
