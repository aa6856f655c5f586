/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table of a namespace in a test: rulesets, the table, traffic through it, its reports. */
#ifndef NANOSEG_TESTS_NFTLAB_H
#define NANOSEG_TESTS_NFTLAB_H

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

static _unused_ void
rs_reset(enum wl_mode in, enum wl_mode out)
{
	memset(elems, 0, sizeof(elems));
	rs = (struct ruleset){ .in_mode = in,
		.out_mode = out,
		.elems = elems,
		.local = locals,
		.report_per_second = 100 };
}

static _unused_ void
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

static _unused_ void
rs_exact(int dir, int allow, int proto, const char *addr, int port)
{
	rs_range(dir, allow, proto, addr, addr, port, port);
}

static _unused_ void
rs_local(const char *addr)
{
	locals[rs.n_local++] = ns_addr(addr);
}

/* The table. */

static _unused_ int
open_sock(void)
{
	return netns_socket(ns.b, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
}

static _unused_ void
table_open(void)
{
	sock = open_sock();
	if (sock < 0 || nft_table_new(sock, TABLE, GROUP, &table) < 0) {
		printf("Bail out! no table handle\n");
		exit(99);
	}
}

/* The owner dies. */
static _unused_ void
table_close(void)
{
	nft_table_free(table);
	table = NULL;
	close_fd(&sock);
}

/* The kernel has what the handle says it has. */
static _unused_ bool
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

static _unused_ bool
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

static _unused_ uint64_t
dropped(void)
{
	struct nft_state st = { 0 };

	nft_table_read(table, &st);
	return st.dropped;
}

static _unused_ uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Traffic: 'y' connected, 'r' refused at once, 't' no answer, '?' something else. */

static _unused_ char
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

static _unused_ char
tcp(int from, int to, const char *addr, uint16_t port)
{
	return tcp_from(NULL, from, to, addr, port);
}

static _unused_ char
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

static _unused_ int
listen_ct(void)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = 2 /* UPDATE */ };
	int fd = netns_socket(ns.b, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_NETFILTER);

	if (fd >= 0)
		bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	return fd;
}

static _unused_ int
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

static _unused_ int
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
static _unused_ const char *
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

/* Two namespaces; a, the outside, has more addresses. */
static _unused_ void
lab_open(void)
{
	static const char *const more[] = { "10.99.0.75/24", "10.99.0.77/24", "10.99.0.80/24" };

	ns_pair_new(&ns);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		NS_RUN(ns.a, "ip", "addr", "add", more[i], "dev", "va");
}

static _unused_ void
lab_need_persist(uint32_t features)
{
	if ((features & NFT_CAN_PERSIST) != 0)
		return;
	printf("1..0 # SKIP the kernel has no persistent owned tables\n");
	exit(0);
}

#endif
