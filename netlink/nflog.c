/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NFLOG groups: binding one that nobody holds, and reading what our rules report.
 * Source: linux/netfilter/nfnetlink_log.h, net/netfilter/nfnetlink_log.c.
 *
 * A group belongs to one socket of a namespace, and a container may hold any of them before us.
 */
#include "netlink/nflog.h"

#include "netlink/drain.h"
#include "netlink/netns.h"
#include "rules/util.h"

#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define GROUP_FIRST 1024u
#define GROUP_COUNT (65536u - GROUP_FIRST)
/*
 * The kernel walks a list for each try: with all groups taken it spends .4 ms on one, so that
 * trying them all would let a container stall us for half a minute.
 */
#define MAX_TRIES 64
/* A message is sent when it holds this many reports, or after this many hundredths of a second. */
#define BATCH_REPORTS 16
#define BATCH_CENTISECONDS 5
#define MSG_SIZE 512

static struct nlmsghdr *
config_begin(void *buf, uint16_t group, uint32_t seq)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	nlh->nlmsg_seq = seq;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = AF_UNSPEC;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htobe16(group);
	return nlh;
}

static void
put_range(struct nlmsghdr *nlh)
{
	const struct nfulnl_msg_config_mode mode = {
		.copy_range = htobe32(NFLOG_WHOLE_BYTES),
		.copy_mode = NFULNL_COPY_PACKET,
	};

	mnl_attr_put(nlh, NFULA_CFG_MODE, sizeof(mode), &mode);
}

static int
bind_group(int sock, uint16_t group, uint32_t seq)
{
	uint8_t buf[MSG_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nfulnl_msg_config_cmd cmd = { .command = NFULNL_CFG_CMD_BIND };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlmsghdr *nlh = config_begin(buf, group, seq);
	ssize_t n;

	mnl_attr_put(nlh, NFULA_CFG_CMD, sizeof(cmd), &cmd);
	put_range(nlh);
	mnl_attr_put_u32(nlh, NFULA_CFG_TIMEOUT, htobe32(BATCH_CENTISECONDS));
	mnl_attr_put_u32(nlh, NFULA_CFG_QTHRESH, htobe32(BATCH_REPORTS));
	mnl_attr_put_u16(nlh, NFULA_CFG_FLAGS, htobe16(NFULNL_CFG_F_SEQ));

	n = sendto(sock, nlh, nlh->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	if (n < 0)
		return -errno;
	/* The kernel acts and answers inside sendto(). */
	n = recv(sock, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? -EIO : -errno;
	nlh = (struct nlmsghdr *)buf;
	if (!nl_message_ok(nlh, (size_t)n) || nlh->nlmsg_type != NLMSG_ERROR ||
	    nlh->nlmsg_seq != seq)
		return -EBADMSG;
	return nl_message_error(nlh);
}

int
nflog_set_range(int sock, uint16_t group)
{
	uint8_t buf[MSG_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = config_begin(buf, group, 0);

	/* Its answer would come among the reports that wait already. */
	nlh->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	put_range(nlh);
	return nl_send(sock, nlh, 0);
}

int
nflog_open(int nsfd, int rcvbuf, uint16_t *ret_group)
{
	_cleanup_close_ int fd = -1;
	const int on = 1;
	uint32_t tries[MAX_TRIES];
	uint16_t group;
	int r;

	if (getrandom(tries, sizeof(tries), 0) != sizeof(tries))
		return -EIO;
	fd = netns_kernel_socket(nsfd, NETLINK_NETFILTER, 0, rcvbuf);
	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0)
		return -errno;
	for (uint32_t i = 0; i < MAX_TRIES; i++) {
		group = (uint16_t)(GROUP_FIRST + tries[i] % GROUP_COUNT);
		r = bind_group(fd, group, i + 1);
		if (r == 0) {
			*ret_group = group;
			return steal_fd(&fd);
		}
		if (r != -EPERM && r != -EBUSY && r != -EEXIST)
			return r;
	}
	return r;
}

static bool
prefix_is_ours(const char *p, size_t len)
{
	return len >= 2 && memchr("danqrsu", p[0], 7) != NULL && memchr("iof", p[1], 3) != NULL;
}

static bool
parse_time(const struct nlattr *a, uint64_t *ret_ns)
{
	struct nfulnl_msg_packet_timestamp ts;
	uint64_t sec, usec;

	if (nl_attr_len(a) != sizeof(ts))
		return false;
	memcpy(&ts, nl_attr_data(a), sizeof(ts));
	sec = be64toh(ts.sec);
	usec = be64toh(ts.usec);
	if (sec > UINT64_MAX / NSEC_PER_SEC - 1 || usec >= 1000000)
		return false;
	*ret_ns = sec * NSEC_PER_SEC + usec * 1000;
	return true;
}

static bool
parse_u32(const struct nlattr *a, uint32_t *ret)
{
	if (nl_attr_len(a) != sizeof(uint32_t))
		return false;
	*ret = be32toh(mnl_attr_get_u32(a));
	return true;
}

int
nflog_parse(const struct nlmsghdr *nlh, struct nflog_report *ret)
{
	struct nflog_report r = { 0 };
	const struct nlattr *a;
	const char *prefix = NULL;
	size_t prefix_len = 0;
	bool ok = true;

	if (nlh->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET))
		return -ENOTSUP;
	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg))
		return -EBADMSG;
	nl_for_each_attr(a, nlh, sizeof(struct nfgenmsg))
	{
		switch (nl_attr_type(a)) {
		case NFULA_PREFIX:
			prefix = nl_attr_data(a);
			prefix_len = nl_attr_len(a);
			break;
		case NFULA_PAYLOAD:
			r.payload = nl_attr_data(a);
			r.payload_len = nl_attr_len(a);
			break;
		case NFULA_TIMESTAMP:
			ok = parse_time(a, &r.time_ns);
			break;
		case NFULA_SEQ:
			ok = r.has_seq = parse_u32(a, &r.seq);
			break;
		case NFULA_IFINDEX_INDEV:
			ok = parse_u32(a, &r.indev);
			break;
		}
		if (!ok)
			return -EBADMSG;
	}
	if ((const char *)a < nl_message_end(nlh))
		return -EBADMSG;
	if (prefix == NULL || !prefix_is_ours(prefix, prefix_len))
		return -ENOTSUP;
	if (r.payload == NULL)
		return -EBADMSG;
	r.what = prefix[0];
	r.where = prefix[1];
	*ret = r;
	return 0;
}

struct drain {
	nflog_fn fn;
	void *arg;
	struct nflog_stats *stats;
	int reports;
};

/* A foreign packet in our group takes a number too, so the number is looked at for each. */
static void
count_gap(struct nflog_stats *s, const struct nlmsghdr *nlh)
{
	const struct nlattr *a;
	uint32_t seq;

	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg))
		return;
	nl_for_each_attr(a, nlh, sizeof(struct nfgenmsg))
	{
		if (nl_attr_type(a) != NFULA_SEQ || nl_attr_len(a) != sizeof(seq))
			continue;
		seq = be32toh(mnl_attr_get_u32(a));
		if (s->begun)
			s->lost += (uint32_t)(seq - s->next_seq);
		s->begun = true;
		s->next_seq = seq + 1;
		return;
	}
}

static int
drain_message(void *arg, const struct nlmsghdr *nlh)
{
	struct drain *d = arg;
	struct nflog_report report;
	int r;

	if (nlh->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET))
		return 0;
	count_gap(d->stats, nlh);
	r = nflog_parse(nlh, &report);
	if (r == -EBADMSG)
		d->stats->malformed++;
	if (r == -ENOTSUP)
		d->stats->foreign++;
	if (r < 0)
		return 0;
	d->stats->reports++;
	d->reports++;
	return d->fn(d->arg, &report);
}

int
nflog_recv(int sock, void *buf, size_t size, unsigned max_messages, nflog_fn fn, void *arg,
    struct nflog_stats *stats)
{
	struct drain d = { .fn = fn, .arg = arg, .stats = stats };
	int r;

	r = nl_drain(sock, buf, size, max_messages, drain_message, &d, &stats->malformed);
	if (r == -ENOBUFS)
		stats->overruns++;
	return r < 0 ? r : d.reports;
}
