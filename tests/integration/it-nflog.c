/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NFLOG against this kernel: a free group among squatted ones, reports read without privilege. */
#include "netlink/netns.h"
#include "netlink/nflog.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_SEEN 64

struct result {
	struct nflog_stats stats;
	char what[MAX_SEEN], where[MAX_SEEN];
	uint8_t version[MAX_SEEN];
	size_t n;
	int last;
	int sock;
};

static uint8_t recv_buf[65536] __attribute__((aligned(8)));

static int
keep(void *arg, const struct nflog_report *r)
{
	struct result *res = arg;

	if (res->n < MAX_SEEN && r->payload_len >= 20) {
		res->what[res->n] = r->what;
		res->where[res->n] = r->where;
		res->version[res->n] = r->payload[0] >> 4;
		res->n++;
	}
	return 0;
}

static int
drain(void *arg)
{
	struct result *res = arg;
	struct pollfd pfd = { .fd = res->sock, .events = POLLIN };

	while (poll(&pfd, 1, 200) == 1) {
		res->last =
		    nflog_recv(res->sock, recv_buf, sizeof(recv_buf), 64, keep, res, &res->stats);
		if (res->last < 0 && res->last != -ENOBUFS)
			break;
	}
	return 0;
}

static struct result *
read_unprivileged(int sock, const struct nflog_stats *before)
{
	static struct result *res;

	if (res == NULL)
		res = mmap(
		    NULL, sizeof(*res), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(res, 0, sizeof(*res));
	res->sock = sock;
	if (before != NULL)
		res->stats = *before;
	if (ns_unprivileged(drain, res) != 0)
		res->last = -ECHILD;
	return res;
}

static void
load_reports(int nsfd, unsigned group)
{
	char script[1024];

	snprintf(script, sizeof(script),
	    "table inet t { chain o { type filter hook output priority 0;\n"
	    "udp dport 9001 log prefix \"do\" group %u\n"
	    "udp dport 9002 log prefix \"ao\" group %u\n"
	    "udp dport 9003 log prefix \"zz\" group %u\n"
	    "udp dport 9004 log prefix \"n\" group %u\n"
	    "}\n}\n",
	    group, group, group, group);
	ns_nft(nsfd, script);
}

static void
send_to(int nsfd, const char *addr, uint16_t port, unsigned times)
{
	_cleanup_close_ int c = ns_udp(nsfd, strchr(addr, ':') != NULL ? "::" : "0.0.0.0", 0);
	struct sockaddr_storage to;
	socklen_t len = ns_sockaddr(addr, port, &to);

	for (unsigned i = 0; i < times; i++)
		sendto(c, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&to, len);
}

static void
reports_arrive_with_their_prefix(void)
{
	_cleanup_close_ int fd = -1;
	const struct result *res;
	struct ns_pair p;
	uint16_t group = 0;

	ns_pair_new(&p);
	fd = nflog_open(p.a, 1 << 20, &group);
	tap_ok(fd >= 0 && group >= 1024, "a group is bound");
	load_reports(p.a, group);
	send_to(p.a, NS_B4, 9001, 1);
	send_to(p.a, NS_B6, 9002, 1);
	send_to(p.a, NS_B4, 9003, 3);
	send_to(p.a, NS_B4, 9004, 1);
	send_to(p.a, NS_B4, 9001, 1);
	res = read_unprivileged(fd, NULL);
	tap_ok(res->n == 3 && res->what[0] == 'd' && res->where[0] == 'o' && res->version[0] == 4 &&
		   res->what[1] == 'a' && res->version[1] == 6 && res->what[2] == 'd',
	    "reports of both families are read by an unprivileged process");
	tap_ok(res->stats.foreign == 4 && res->stats.malformed == 0,
	    "a foreign prefix in our group is counted, not passed on");
	tap_ok(res->stats.lost == 0 && res->stats.next_seq == 7, "no gap: nothing lost");
	close(p.a);
	close(p.b);
}

static void
gaps_count_what_was_lost(void)
{
	_cleanup_close_ int fd = -1;
	const unsigned sent = 3000;
	struct nflog_stats stats;
	struct ns_pair p;
	uint16_t group = 0;

	ns_pair_new(&p);
	fd = nflog_open(p.a, 8192, &group);
	load_reports(p.a, group);
	send_to(p.a, NS_B4, 9001, sent);
	usleep(100000);
	stats = read_unprivileged(fd, NULL)->stats;
	tap_ok(stats.overruns > 0 && stats.reports < sent, "a full buffer is told as ENOBUFS");
	/* The gap shows at the next report that arrives. */
	send_to(p.a, NS_B4, 9001, 1);
	stats = read_unprivileged(fd, &stats)->stats;
	tap_ok(
	    stats.next_seq == sent + 1 && stats.lost > 0 && stats.lost + stats.reports == sent + 1,
	    "read and lost add up to what was sent (%llu and %llu of %u)",
	    (unsigned long long)stats.reports, (unsigned long long)stats.lost, sent + 1);
	close(p.a);
	close(p.b);
}

/* One socket may hold any number of groups: what a hostile container does. */
static int
squat(int nsfd, unsigned first, unsigned last)
{
	_cleanup_close_ int fd = -1;
	uint8_t buf[256] __attribute__((aligned(8)));
	struct nfulnl_msg_config_cmd cmd = { .command = NFULNL_CFG_CMD_BIND };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	fd = netns_socket(nsfd, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	for (unsigned group = first; fd >= 0 && group <= last; group++) {
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
		struct nfgenmsg *nfg;

		nlh->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
		nlh->nlmsg_flags = NLM_F_REQUEST;
		nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
		nfg->res_id = htons((uint16_t)group);
		mnl_attr_put(nlh, NFULA_CFG_CMD, sizeof(cmd), &cmd);
		if (sendto(fd, nlh, nlh->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) <
			0 ||
		    recv(fd, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
			return -EPROTO;
	}
	return steal_fd(&fd);
}

/* An eighth of the groups is taken: the chance that 100 random choices avoid them is 2 in a
 * million. */
static void
squatted_groups_are_passed_over(void)
{
	int fds[100], ns = ns_new(), squatter;
	uint16_t groups[ARRAY_SIZE(fds)];
	bool opened = true, free_ones = true, distinct = true;

	squatter = squat(ns, 1024, 9087);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		groups[i] = 0;
		fds[i] = nflog_open(ns, 65536, &groups[i]);
		opened = opened && fds[i] >= 0;
		free_ones = free_ones && groups[i] > 9087;
		for (size_t j = 0; j < i; j++)
			distinct = distinct && groups[i] != groups[j];
	}
	tap_ok(squatter >= 0 && opened && free_ones && distinct,
	    "groups that another socket holds are passed over");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	close(squatter);
	close(ns);
}

static int
open_one(void *arg)
{
	uint16_t group;

	return nflog_open(*(int *)arg, 65536, &group) == -EPERM ? 0 : 1;
}

static void
an_unprivileged_process_is_refused(void)
{
	int ns = ns_new();

	tap_ok(ns_unprivileged(open_one, &ns) == 0, "an unprivileged process is refused");
	close(ns);
}

int
main(void)
{
	ns_start();
	reports_arrive_with_their_prefix();
	gaps_count_what_was_lost();
	squatted_groups_are_passed_over();
	an_unprivileged_process_is_refused();
	return tap_end();
}
