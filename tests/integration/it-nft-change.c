/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of a namespace's table, ours and those of others, held against real traffic. */
#include "tests/integration/nftlab.h"

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
static unsigned with_rules; /* transactions */

static bool
has_rules(struct nlmsghdr *h, int left)
{
	for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
		if (h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE))
			return true;
	return false;
}

ssize_t
sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(uintptr_t)buf;
	int left = (int)len;
	struct nlattr *a;

	with_rules += has_rules(h, left);
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

/*
 * One direction is enforced before and the other after, each with a denial: with neither in
 * between, what is forwarded, or was cut, would pass.
 */
static void
test_swap(void)
{
	struct ruleset old = rs;
	size_t n = rs.n_elems;
	bool ok;

	rs.out_mode = MODE_OBSERVE;
	rs_exact(DIR_INGRESS, 0, IPPROTO_UDP, NS_A4, 6000);
	apply(&rs);
	rs.n_elems = n;
	rs.in_mode = MODE_OBSERVE;
	rs.out_mode = MODE_ENFORCE;
	rs_exact(DIR_EGRESS, 0, IPPROTO_UDP, NS_A4, 6001);
	with_rules = 0;
	ok = apply(&rs);
	tap_ok(ok && with_rules == 1, "from one direction to the other in one transaction (%u)",
	    with_rules);
	rs = old;
	tap_ok(apply(&rs), "and back to both");
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

int
main(void)
{
	uint32_t features = 0;

	ns_start();
	nft_probe(&features);
	lab_need_persist(features);
	lab_open();
	table_open();
	rs_reset(MODE_ENFORCE, MODE_ENFORCE);
	rs_exact(DIR_INGRESS, 1, IPPROTO_TCP, NS_A4, 8080);
	apply(&rs);
	test_drift();
	test_squatter();
	test_no_gap();
	test_delta();
	test_swap();
	test_old_kernel();
	test_size();
	return tap_end();
}
