/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to ctnetlink: sockets, dumps, and the synchronous get, delete, mark, insert and
 * statistics.
 *
 * nfnetlink answers inside sendmsg(), so an answer that is not there at once never comes; nothing
 * here waits. Only an answer with our sequence number, from the kernel, is believed.
 *
 * Invariant: a delete always carries a tuple. Without one the kernel flushes the whole table.
 */
#include "netlink/ct.h"

#include "netlink/drain.h"
#include "netlink/netns.h"
#include "rules/util.h"

#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

/* A request is below 300 bytes, an answer below 1 KB; a failed one is not echoed (NETLINK_CAP_ACK).
 */
#define REQUEST_SIZE 512
#define ANSWER_SIZE 8192
/* Stale answers a socket may still hold before ours; more means that it is used by someone else. */
#define MAX_STALE 64

static uint32_t
next_seq(void)
{
	static atomic_uint seq = 0x6e730000;

	return atomic_fetch_add(&seq, 1);
}

static int
open_socket(int nsfd, uint32_t groups, int rcvbuf)
{
	_cleanup_close_ int fd = netns_kernel_socket(nsfd, NETLINK_NETFILTER, groups, rcvbuf);
	const int on = 1;

	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0)
		return -errno;
	return steal_fd(&fd);
}

int
ct_open_events(int nsfd, unsigned groups, int rcvbuf)
{
	if (groups == 0 || (groups & ~(CT_GROUP_NEW | CT_GROUP_UPDATE | CT_GROUP_DESTROY)) != 0)
		return -EINVAL;
	/* CT_GROUP_* are the bits of NFNLGRP_CONNTRACK_NEW, _UPDATE and _DESTROY (1, 2, 3). */
	return open_socket(nsfd, groups, rcvbuf);
}

int
ct_open_requests(int nsfd, int rcvbuf)
{
	return open_socket(nsfd, 0, rcvbuf);
}

static struct nlmsghdr *
request_start(void *buf, int type, int flags, uint8_t family, uint32_t seq)
{
	struct nlmsghdr *nlh;
	struct nfgenmsg *nfg;

	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	nlh->nlmsg_seq = seq;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = 0;
	return nlh;
}

static uint8_t
family_of(const struct tuple *t)
{
	return t->src.family == 4 ? AF_INET : AF_INET6;
}

static bool
tuple_usable(const struct tuple *t)
{
	return (t->src.family == 4 || t->src.family == 6) && t->src.family == t->dst.family &&
	       t->proto != 0;
}

static void
put_l4(struct nlmsghdr *nlh, const struct tuple *t)
{
	mnl_attr_put_u8(nlh, CTA_PROTO_NUM, t->proto);
	switch (t->proto) {
	case IPPROTO_ICMP:
		mnl_attr_put_u16(nlh, CTA_PROTO_ICMP_ID, htobe16(t->sport));
		mnl_attr_put_u8(nlh, CTA_PROTO_ICMP_TYPE, (uint8_t)(t->dport >> 8));
		mnl_attr_put_u8(nlh, CTA_PROTO_ICMP_CODE, (uint8_t)t->dport);
		break;
	case IPPROTO_ICMPV6:
		mnl_attr_put_u16(nlh, CTA_PROTO_ICMPV6_ID, htobe16(t->sport));
		mnl_attr_put_u8(nlh, CTA_PROTO_ICMPV6_TYPE, (uint8_t)(t->dport >> 8));
		mnl_attr_put_u8(nlh, CTA_PROTO_ICMPV6_CODE, (uint8_t)t->dport);
		break;
	default:
		mnl_attr_put_u16(nlh, CTA_PROTO_SRC_PORT, htobe16(t->sport));
		mnl_attr_put_u16(nlh, CTA_PROTO_DST_PORT, htobe16(t->dport));
		break;
	}
}

static void
put_tuple(struct nlmsghdr *nlh, uint16_t type, const struct tuple *t)
{
	const bool v4 = t->src.family == 4;
	struct nlattr *nest, *inner;

	nest = mnl_attr_nest_start(nlh, type);
	inner = mnl_attr_nest_start(nlh, CTA_TUPLE_IP);
	mnl_attr_put(nlh, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, v4 ? 4 : 16, t->src.bytes);
	mnl_attr_put(nlh, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, v4 ? 4 : 16, t->dst.bytes);
	mnl_attr_nest_end(nlh, inner);
	inner = mnl_attr_nest_start(nlh, CTA_TUPLE_PROTO);
	put_l4(nlh, t);
	mnl_attr_nest_end(nlh, inner);
	mnl_attr_nest_end(nlh, nest);
}

static int
request_send(int sock, const struct nlmsghdr *nlh)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;

	do
		n = sendto(
		    sock, nlh, nlh->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == nlh->nlmsg_len ? 0 : -EIO;
}

/* Looks at the answer's first message; 1: *ret_answer is for the caller; 0 or an errno: the ack. */
static int
answer_read(int sock, uint32_t seq, void *buf, size_t size, const struct nlmsghdr **ret_answer)
{
	const struct nlmsghdr *nlh = buf;
	struct sockaddr_nl from;
	socklen_t from_len;
	ssize_t n;

	for (unsigned i = 0; i < MAX_STALE; i++) {
		from_len = sizeof(from);
		n = recvfrom(sock, buf, size, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -EIO : -errno;
		if (from_len < sizeof(from) || from.nl_pid != 0)
			continue;
		if (!nl_message_ok(nlh, (size_t)n) || nlh->nlmsg_seq != seq)
			continue;
		if (nlh->nlmsg_type != NLMSG_ERROR) {
			*ret_answer = nlh;
			return 1;
		}
		return nl_message_error(nlh);
	}
	return -EBUSY;
}

int
ct_request_dump(int sock, uint32_t seq)
{
	uint8_t buf[REQUEST_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));

	return request_send(
	    sock, request_start(buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC, seq));
}

int
ct_get(int sock, const struct tuple *orig, struct ct_entry *ret)
{
	uint8_t buf[ANSWER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *answer;
	const uint32_t seq = next_seq();
	struct nlmsghdr *nlh;
	int r;

	if (!tuple_usable(orig))
		return -EINVAL;
	nlh = request_start(buf, IPCTNL_MSG_CT_GET, 0, family_of(orig), seq);
	put_tuple(nlh, CTA_TUPLE_ORIG, orig);
	r = request_send(sock, nlh);
	if (r < 0)
		return r;
	r = answer_read(sock, seq, buf, sizeof(buf), &answer);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	return ct_parse(answer, ret);
}

/* For requests whose only answer is the ack. */
static int
request_acked(int sock, const struct nlmsghdr *nlh)
{
	uint8_t buf[ANSWER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *answer;
	const uint32_t seq = nlh->nlmsg_seq;
	int r;

	r = request_send(sock, nlh);
	if (r < 0)
		return r;
	r = answer_read(sock, seq, buf, sizeof(buf), &answer);
	return r > 0 ? -EBADMSG : r;
}

int
ct_delete(int sock, const struct tuple *orig)
{
	uint8_t buf[REQUEST_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh;

	if (!tuple_usable(orig))
		return -EINVAL;
	nlh = request_start(buf, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family_of(orig), next_seq());
	put_tuple(nlh, CTA_TUPLE_ORIG, orig);
	return request_acked(sock, nlh);
}

int
ct_mark(int sock, const struct tuple *orig, uint32_t mark)
{
	uint8_t buf[REQUEST_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh;

	if (!tuple_usable(orig))
		return -EINVAL;
	nlh = request_start(buf, IPCTNL_MSG_CT_NEW, NLM_F_ACK, family_of(orig), next_seq());
	put_tuple(nlh, CTA_TUPLE_ORIG, orig);
	mnl_attr_put_u32(nlh, CTA_MARK, htobe32(mark));
	return request_acked(sock, nlh);
}

static void
put_tcp_info(struct nlmsghdr *nlh)
{
	/* The windows are not known: let the kernel take the numbers as they come. */
	const struct nf_ct_tcp_flags liberal = {
		.flags = IP_CT_TCP_FLAG_BE_LIBERAL,
		.mask = IP_CT_TCP_FLAG_BE_LIBERAL,
	};
	struct nlattr *nest, *inner;

	nest = mnl_attr_nest_start(nlh, CTA_PROTOINFO);
	inner = mnl_attr_nest_start(nlh, CTA_PROTOINFO_TCP);
	mnl_attr_put_u8(nlh, CTA_PROTOINFO_TCP_STATE, TCP_CONNTRACK_ESTABLISHED);
	mnl_attr_put(nlh, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, sizeof(liberal), &liberal);
	mnl_attr_put(nlh, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof(liberal), &liberal);
	mnl_attr_nest_end(nlh, inner);
	mnl_attr_nest_end(nlh, nest);
}

int
ct_insert_tcp(int sock, const struct tuple *orig, uint32_t timeout_s)
{
	uint8_t buf[REQUEST_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct tuple reply;
	struct nlmsghdr *nlh;

	if (!tuple_usable(orig) || orig->proto != IPPROTO_TCP)
		return -EINVAL;
	reply = *orig;
	reply.src = orig->dst;
	reply.dst = orig->src;
	reply.sport = orig->dport;
	reply.dport = orig->sport;

	nlh = request_start(buf, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK,
	    family_of(orig), next_seq());
	put_tuple(nlh, CTA_TUPLE_ORIG, orig);
	put_tuple(nlh, CTA_TUPLE_REPLY, &reply);
	/* The entry is born confirmed; a status that lacks the bit would ask to clear it: EBUSY. */
	mnl_attr_put_u32(nlh, CTA_STATUS, htobe32(IPS_CONFIRMED | CT_SEEN_REPLY | CT_ASSURED));
	mnl_attr_put_u32(nlh, CTA_TIMEOUT, htobe32(timeout_s));
	put_tcp_info(nlh);
	return request_acked(sock, nlh);
}

int
ct_stats(int sock, uint32_t *ret_count, uint32_t *ret_max)
{
	uint8_t buf[ANSWER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *answer;
	const uint32_t seq = next_seq();
	const struct nlattr *a;
	uint32_t count = 0, max = 0;
	bool got_count = false, got_max = false;
	int r;

	r = request_send(sock, request_start(buf, IPCTNL_MSG_CT_GET_STATS, 0, AF_UNSPEC, seq));
	if (r < 0)
		return r;
	r = answer_read(sock, seq, buf, sizeof(buf), &answer);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	if (answer->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg))
		return -EBADMSG;
	nl_for_each_attr(a, answer, sizeof(struct nfgenmsg))
	{
		if (nl_attr_len(a) != sizeof(uint32_t))
			continue;
		if (nl_attr_type(a) == CTA_STATS_GLOBAL_ENTRIES) {
			count = be32toh(mnl_attr_get_u32(a));
			got_count = true;
		} else if (nl_attr_type(a) == CTA_STATS_GLOBAL_MAX_ENTRIES) {
			max = be32toh(mnl_attr_get_u32(a));
			got_max = true;
		}
	}
	if (!got_count || !got_max)
		return -EBADMSG;
	*ret_count = count;
	*ret_max = max;
	return 0;
}

/* One processor's message. */
static uint64_t
dropped_of(const struct nlmsghdr *nlh)
{
	const struct nlattr *a;
	uint64_t n = 0;

	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg))
		return 0;
	nl_for_each_attr(a, nlh, sizeof(struct nfgenmsg))
	{
		if (nl_attr_len(a) == sizeof(uint32_t) &&
		    (nl_attr_type(a) == CTA_STATS_DROP || nl_attr_type(a) == CTA_STATS_EARLY_DROP))
			n += be32toh(mnl_attr_get_u32(a));
	}
	return n;
}

struct drops {
	uint32_t seq;
	uint64_t n;
	bool done;
	int error;
};

static int
on_drops(void *arg, const struct nlmsghdr *nlh)
{
	struct drops *d = arg;

	if (nlh->nlmsg_seq != d->seq || d->done)
		return 0;
	d->done = nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE;
	if (d->done)
		d->error = nl_message_error(nlh);
	else
		d->n += dropped_of(nlh);
	return 0;
}

int
ct_dropped(int sock, uint64_t *ret)
{
	uint8_t buf[ANSWER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct drops d = { .seq = next_seq() };
	uint64_t malformed = 0;
	int r;

	r = request_send(
	    sock, request_start(buf, IPCTNL_MSG_CT_GET_STATS_CPU, NLM_F_DUMP, AF_UNSPEC, d.seq));
	while (r >= 0 && !d.done) {
		r = nl_drain(sock, buf, sizeof(buf), 1, on_drops, &d, &malformed);
		if (r == 0)
			return -EIO;
	}
	if (r < 0 || d.error < 0)
		return r < 0 ? r : d.error;
	*ret = d.n;
	return 0;
}
