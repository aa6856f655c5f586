/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of a namespace, held against real traffic: a is the outside, b the workload. */
#include "tests/integration/nftlab.h"

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
	lab_need_persist(features);
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

/* Whoever could not say so after the change that narrowed says it after the next. */
static void
test_narrowing(void)
{
	apply(NULL);
	nft_table_take_narrowed(table);
	rs_reset(MODE_ENFORCE, MODE_OBSERVE);
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8080);
	tap_ok(apply(&rs) && nft_table_take_narrowed(table) && !nft_table_take_narrowed(table),
	    "enforcement narrows, once");
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8081);
	tap_ok(apply(&rs) && !nft_table_take_narrowed(table), "an approval does not");
	rs.n_elems = 1;
	tap_ok(apply(&rs) && apply(&rs) && nft_table_take_narrowed(table),
	    "what was taken back is not forgotten over an apply that changes nothing");
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
	const struct rtnl_addr addrs[2] = { { .addr = ns_addr(NS_B4), .prefix_len = 24 },
		{ .addr = ns_addr(NS_B6), .prefix_len = 64 } };
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
	lab_open();
	log = listen_reports();
	table_open();
	test_names();
	test_observe(log);
	test_enforce(log);
	test_loopback();
	test_directions(log);
	test_established();
	test_narrowing();
	test_forward(log);
	test_tamper();
	test_forger();
	test_cleanup();
	test_guard();
	return tap_end();
}
