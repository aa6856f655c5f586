/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From ctnetlink messages to entries, and the drain that reads them. This is the observer's hot
 * path: one pass over the attributes, no allocation, no call but recvmmsg() into the caller's
 * buffer.
 *
 * Invariants: every length is checked before the read; an entry is only passed on if both tuples
 * are whole and of the message's family.
 */
#include "netlink/ct.h"

#include "netlink/drain.h"

#include <endian.h>
#include <errno.h>
/* Before linux/netfilter.h, which brings the kernel's own <linux/in.h>. */
#include <netinet/in.h>
#include <linux/netfilter/nf_conntrack_sctp.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>

/* What a tuple has been seen to hold. */
#define GOT_SRC 0x01
#define GOT_DST 0x02
#define GOT_PROTO 0x04
#define GOT_SPORT 0x08
#define GOT_DPORT 0x10
#define GOT_TYPE 0x20
#define GOT_CODE 0x40

static inline bool
attr_copy(const struct nlattr *a, void *to, size_t n)
{
	if (nl_attr_len(a) != n)
		return false;
	memcpy(to, nl_attr_data(a), n);
	return true;
}

static inline bool
attr_u8(const struct nlattr *a, uint8_t *ret)
{
	return attr_copy(a, ret, sizeof(*ret));
}

static inline bool
attr_be16(const struct nlattr *a, uint16_t *ret)
{
	uint16_t v;

	if (!attr_copy(a, &v, sizeof(v)))
		return false;
	*ret = be16toh(v);
	return true;
}

static inline bool
attr_be32(const struct nlattr *a, uint32_t *ret)
{
	uint32_t v;

	if (!attr_copy(a, &v, sizeof(v)))
		return false;
	*ret = be32toh(v);
	return true;
}

static inline bool
attr_be64(const struct nlattr *a, uint64_t *ret)
{
	uint64_t v;

	if (!attr_copy(a, &v, sizeof(v)))
		return false;
	*ret = be64toh(v);
	return true;
}

/* Bytes of a nest that its attributes did not account for: the last one lied about its length. */
static inline bool
nest_ended(const struct nlattr *a, const struct nlattr *nest)
{
	return (const char *)a >= nl_nest_end(nest);
}

/*
 * Addresses keep the family they have on the wire. An IPv6 packet between IPv4-mapped addresses is
 * no IPv4 connection, and a container could forge one by sending it.
 */
static bool
parse_ip(const struct nlattr *nest, uint8_t family, struct tuple *t, unsigned *got)
{
	const struct nlattr *a;
	bool ok = true;

	nl_for_each_nested(a, nest)
	{
		switch (nl_attr_type(a)) {
		case CTA_IP_V4_SRC:
			ok = family == 4 && attr_copy(a, t->src.bytes, 4);
			*got |= GOT_SRC;
			break;
		case CTA_IP_V4_DST:
			ok = family == 4 && attr_copy(a, t->dst.bytes, 4);
			*got |= GOT_DST;
			break;
		case CTA_IP_V6_SRC:
			ok = family == 6 && attr_copy(a, t->src.bytes, 16);
			*got |= GOT_SRC;
			break;
		case CTA_IP_V6_DST:
			ok = family == 6 && attr_copy(a, t->dst.bytes, 16);
			*got |= GOT_DST;
			break;
		}
		if (!ok)
			return false;
	}
	return nest_ended(a, nest);
}

static bool
parse_l4(const struct nlattr *nest, struct tuple *t, unsigned *got)
{
	const struct nlattr *a;
	uint8_t type = 0, code = 0;
	bool ok = true;

	nl_for_each_nested(a, nest)
	{
		switch (nl_attr_type(a)) {
		case CTA_PROTO_NUM:
			ok = attr_u8(a, &t->proto);
			*got |= GOT_PROTO;
			break;
		case CTA_PROTO_SRC_PORT:
		case CTA_PROTO_ICMP_ID:
		case CTA_PROTO_ICMPV6_ID:
			ok = attr_be16(a, &t->sport);
			*got |= GOT_SPORT;
			break;
		case CTA_PROTO_DST_PORT:
			ok = attr_be16(a, &t->dport);
			*got |= GOT_DPORT;
			break;
		case CTA_PROTO_ICMP_TYPE:
		case CTA_PROTO_ICMPV6_TYPE:
			ok = attr_u8(a, &type);
			*got |= GOT_TYPE;
			break;
		case CTA_PROTO_ICMP_CODE:
		case CTA_PROTO_ICMPV6_CODE:
			ok = attr_u8(a, &code);
			*got |= GOT_CODE;
			break;
		}
		if (!ok)
			return false;
	}
	if ((*got & (GOT_TYPE | GOT_CODE)) != 0)
		t->dport = (uint16_t)(type << 8 | code);
	return nest_ended(a, nest);
}

static unsigned
needs_of(uint8_t proto)
{
	const unsigned always = GOT_SRC | GOT_DST | GOT_PROTO;

	switch (proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
	case IPPROTO_UDPLITE:
		return always | GOT_SPORT | GOT_DPORT;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return always | GOT_SPORT | GOT_TYPE | GOT_CODE;
	}
	return always;
}

static bool
parse_tuple(const struct nlattr *nest, uint8_t family, struct tuple *t)
{
	const struct nlattr *a;
	unsigned got = 0;
	bool ok = true;

	nl_for_each_nested(a, nest)
	{
		switch (nl_attr_type(a)) {
		case CTA_TUPLE_IP:
			ok = parse_ip(a, family, t, &got);
			break;
		case CTA_TUPLE_PROTO:
			ok = parse_l4(a, t, &got);
			break;
		}
		if (!ok)
			return false;
	}
	if (!nest_ended(a, nest))
		return false;
	t->src.family = family;
	t->dst.family = family;
	return (got & needs_of(t->proto)) == needs_of(t->proto);
}

static bool
parse_counters(const struct nlattr *nest, uint64_t *packets, uint64_t *bytes)
{
	const struct nlattr *a;
	bool ok = true;

	nl_for_each_nested(a, nest)
	{
		switch (nl_attr_type(a)) {
		case CTA_COUNTERS_PACKETS:
			ok = attr_be64(a, packets);
			break;
		case CTA_COUNTERS_BYTES:
			ok = attr_be64(a, bytes);
			break;
		}
		if (!ok)
			return false;
	}
	return nest_ended(a, nest);
}

static bool
parse_tcp(const struct nlattr *nest, struct ct_entry *e)
{
	const struct nlattr *a;
	struct nf_ct_tcp_flags flags;
	bool ok = true;

	nl_for_each_nested(a, nest)
	{
		switch (nl_attr_type(a)) {
		case CTA_PROTOINFO_TCP_STATE:
			ok = attr_u8(a, &e->tcp_state);
			break;
		case CTA_PROTOINFO_TCP_FLAGS_ORIGINAL:
			ok = attr_copy(a, &flags, sizeof(flags));
			e->liberal = ok && (flags.flags & IP_CT_TCP_FLAG_BE_LIBERAL) != 0;
			break;
		}
		if (!ok)
			return false;
	}
	return nest_ended(a, nest);
}

static bool
parse_sctp(const struct nlattr *nest, struct ct_entry *e)
{
	const struct nlattr *a;

	nl_for_each_nested(a, nest)
	{
		if (nl_attr_type(a) == CTA_PROTOINFO_SCTP_STATE && !attr_u8(a, &e->sctp_state))
			return false;
	}
	return nest_ended(a, nest);
}

static bool
parse_protoinfo(const struct nlattr *nest, struct ct_entry *e)
{
	const struct nlattr *a;
	bool ok = true;

	nl_for_each_nested(a, nest)
	{
		if (nl_attr_type(a) == CTA_PROTOINFO_TCP)
			ok = parse_tcp(a, e);
		else if (nl_attr_type(a) == CTA_PROTOINFO_SCTP)
			ok = parse_sctp(a, e);
		if (!ok)
			return false;
	}
	return nest_ended(a, nest);
}

static bool
parse_attr(const struct nlattr *a, uint8_t family, struct ct_entry *e)
{
	switch (nl_attr_type(a)) {
	case CTA_TUPLE_ORIG:
		return parse_tuple(a, family, &e->orig);
	case CTA_TUPLE_REPLY:
		return parse_tuple(a, family, &e->reply);
	case CTA_STATUS:
		return attr_be32(a, &e->status);
	case CTA_TIMEOUT:
		return attr_be32(a, &e->timeout_s);
	case CTA_MARK:
		return attr_be32(a, &e->mark);
	case CTA_ZONE:
		return attr_be16(a, &e->zone);
	case CTA_PROTOINFO:
		return parse_protoinfo(a, e);
	case CTA_COUNTERS_ORIG:
		return parse_counters(a, &e->packets[0], &e->bytes[0]);
	case CTA_COUNTERS_REPLY:
		return parse_counters(a, &e->packets[1], &e->bytes[1]);
	}
	return true;
}

static int
message_kind(const struct nlmsghdr *nlh)
{
	if (NFNL_SUBSYS_ID(nlh->nlmsg_type) != NFNL_SUBSYS_CTNETLINK)
		return -ENOTSUP;
	switch (NFNL_MSG_TYPE(nlh->nlmsg_type)) {
	case IPCTNL_MSG_CT_NEW:
		/* A dump says NLM_F_MULTI instead of NLM_F_CREATE. */
		return (nlh->nlmsg_flags & (NLM_F_CREATE | NLM_F_MULTI)) != 0 ? CT_MSG_NEW
									      : CT_MSG_UPDATE;
	case IPCTNL_MSG_CT_DELETE:
		return CT_MSG_DESTROY;
	}
	return -ENOTSUP;
}

int
ct_parse(const struct nlmsghdr *nlh, struct ct_entry *ret)
{
	struct ct_entry e = { .packets = { UINT64_MAX, UINT64_MAX },
		.bytes = { UINT64_MAX, UINT64_MAX } };
	const struct nfgenmsg *nfg;
	const struct nlattr *a;
	uint8_t family;
	int kind;

	kind = message_kind(nlh);
	if (kind < 0)
		return kind;
	if (nlh->nlmsg_len < NLMSG_HDRLEN + sizeof(*nfg))
		return -EBADMSG;
	nfg = NLMSG_DATA(nlh);
	if (nfg->nfgen_family == AF_INET)
		family = 4;
	else if (nfg->nfgen_family == AF_INET6)
		family = 6;
	else
		return -ENOTSUP;

	e.msg = (enum ct_msg)kind;
	nl_for_each_attr(a, nlh, sizeof(*nfg))
	{
		if (!parse_attr(a, family, &e))
			return -EBADMSG;
	}
	if ((const char *)a < nl_message_end(nlh))
		return -EBADMSG;
	if (e.orig.src.family == 0 || e.reply.src.family == 0 || e.orig.proto != e.reply.proto)
		return -EBADMSG;
	*ret = e;
	return 0;
}

bool
ct_is_answered(const struct ct_entry *e)
{
	if (e->orig.proto == IPPROTO_TCP)
		return (e->status & CT_ASSURED) != 0;
	if (e->orig.proto != IPPROTO_SCTP)
		return (e->status & CT_SEEN_REPLY) != 0;
	return e->sctp_state == SCTP_CONNTRACK_ESTABLISHED ||
	       (e->msg == CT_MSG_NEW && (e->status & CT_ASSURED) != 0);
}

bool
ct_is_cut(const struct ct_entry *e)
{
	return e->orig.proto == IPPROTO_UDP && e->mark == CT_MARK_CUT;
}

struct drain {
	ct_entry_fn fn;
	void *arg;
	struct ct_recv_stats *stats;
	bool done;
	int error;
	int entries;
};

static int
drain_message(void *arg, const struct nlmsghdr *nlh)
{
	struct drain *d = arg;
	struct ct_entry e;
	int r;

	d->stats->messages++;
	if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR) {
		d->done = true;
		d->error = nl_message_error(nlh);
		return 0;
	}
	r = ct_parse(nlh, &e);
	if (r == -EBADMSG)
		d->stats->malformed++;
	if (r < 0)
		return 0;
	d->entries++;
	return d->fn(d->arg, &e);
}

int
ct_recv(int sock, void *buf, size_t size, unsigned max_messages, ct_entry_fn fn, void *arg,
    struct ct_recv_stats *stats, bool *ret_done, int *ret_error)
{
	struct drain d = { .fn = fn, .arg = arg, .stats = stats };
	int r;

	r = nl_drain(sock, buf, size, max_messages, drain_message, &d, &stats->malformed);
	if (r == -ENOBUFS)
		stats->overruns++;
	if (ret_done != NULL)
		*ret_done = d.done;
	if (ret_error != NULL)
		*ret_error = d.error;
	return r < 0 ? r : d.entries;
}

void
ct_count_lost(int sock, struct ct_recv_stats *stats)
{
	uint32_t mem[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(mem);

	if (getsockopt(sock, SOL_SOCKET, SO_MEMINFO, mem, &len) < 0 ||
	    len < (SK_MEMINFO_DROPS + 1) * sizeof(mem[0]))
		return;
	stats->lost += (uint32_t)(mem[SK_MEMINFO_DROPS] - stats->drops);
	stats->drops = mem[SK_MEMINFO_DROPS];
}

int
ct_recv_events(int sock, void *buf, size_t size, unsigned max_messages, ct_entry_fn fn, void *arg,
    struct ct_recv_stats *stats)
{
	struct drain d = { .fn = fn, .arg = arg, .stats = stats };
	uint64_t lost = stats->lost;
	int r;

	r = nl_drain_slots(
	    sock, buf, size, CT_EVENT_MAX, max_messages, drain_message, &d, &stats->malformed);
	if (r != -ENOBUFS)
		return r < 0 ? r : d.entries;
	stats->overruns++;
	ct_count_lost(sock, stats);
	/* A kernel that does not tell how many: at least one. */
	if (stats->lost == lost)
		stats->lost++;
	return r;
}
