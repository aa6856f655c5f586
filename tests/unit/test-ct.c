/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conntrack and NFLOG messages made by hand: what is taken, and each way of being malformed. */
#include "netlink/ct.h"
#include "netlink/nflog.h"
#include "rules/util.h"

#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

/* What a case does to a well-formed message. */
#define NO_REPLY 0x001
#define NO_DST 0x002
#define NO_PROTO 0x004
#define NO_DPORT 0x008
#define SHORT_ADDR 0x010
#define OTHER_FAMILY 0x020 /* addresses of the other family than the message says */
#define OTHER_PROTO 0x040  /* the reply has another protocol */
#define SHORT_STATUS 0x080
#define NO_TYPE 0x100
#define V4_MAPPED 0x200
#define LONG_LAST 0x400 /* the last attribute claims more than there is */

struct ct_case {
	const char *name;
	uint8_t family, proto;
	uint16_t type, flags;
	unsigned how;
	int result;
	enum ct_msg msg;
};

#define CT(m) (NFNL_SUBSYS_CTNETLINK << 8 | (m))

static const struct ct_case cases[] = {
	{ "a NEW event", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), NLM_F_CREATE, 0, 0,
	    CT_MSG_NEW },
	{ "a dump entry", AF_INET6, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), NLM_F_MULTI, 0, 0,
	    CT_MSG_NEW },
	{ "an UPDATE event", AF_INET6, IPPROTO_UDP, CT(IPCTNL_MSG_CT_NEW), 0, 0, 0, CT_MSG_UPDATE },
	{ "a DESTROY event", AF_INET, IPPROTO_UDP, CT(IPCTNL_MSG_CT_DELETE), 0, 0, 0,
	    CT_MSG_DESTROY },
	{ "icmp", AF_INET, IPPROTO_ICMP, CT(IPCTNL_MSG_CT_NEW), 0, 0, 0, CT_MSG_UPDATE },
	{ "icmpv6", AF_INET6, IPPROTO_ICMPV6, CT(IPCTNL_MSG_CT_NEW), 0, 0, 0, CT_MSG_UPDATE },
	{ "a protocol without ports", AF_INET, 50, CT(IPCTNL_MSG_CT_NEW), 0, NO_DPORT, 0,
	    CT_MSG_UPDATE },
	{ "mapped addresses stay IPv6", AF_INET6, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0, V4_MAPPED,
	    0, CT_MSG_UPDATE },
	{ "an expectation", AF_INET, IPPROTO_TCP, NFNL_SUBSYS_CTNETLINK_EXP << 8, 0, 0, -ENOTSUP,
	    0 },
	{ "a request", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_GET), 0, 0, -ENOTSUP, 0 },
	{ "another family", AF_BRIDGE, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0, 0, -ENOTSUP, 0 },
	{ "no reply tuple", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0, NO_REPLY, -EBADMSG, 0 },
	{ "no destination", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0, NO_DST, -EBADMSG, 0 },
	{ "no protocol", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0, NO_PROTO, -EBADMSG, 0 },
	{ "tcp without a port", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0, NO_DPORT, -EBADMSG,
	    0 },
	{ "icmp without a type", AF_INET, IPPROTO_ICMP, CT(IPCTNL_MSG_CT_NEW), 0, NO_TYPE, -EBADMSG,
	    0 },
	{ "a short address", AF_INET6, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0, SHORT_ADDR, -EBADMSG,
	    0 },
	{ "addresses of another family", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0,
	    OTHER_FAMILY, -EBADMSG, 0 },
	{ "two protocols", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0, OTHER_PROTO, -EBADMSG,
	    0 },
	{ "a short status", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0, SHORT_STATUS, -EBADMSG,
	    0 },
	{ "a last attribute that is too long", AF_INET, IPPROTO_TCP, CT(IPCTNL_MSG_CT_NEW), 0,
	    LONG_LAST, -EBADMSG, 0 },
};

static const uint8_t one[16] = { 10, 0, 0, 1 }, two[16] = { 10, 0, 0, 2 };
static const uint8_t mapped[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1 };

static void
put_proto(struct nlmsghdr *nlh, const struct ct_case *c, uint8_t proto, bool reply)
{
	const bool v6 = proto == IPPROTO_ICMPV6;

	if ((c->how & NO_PROTO) == 0)
		mnl_attr_put_u8(nlh, CTA_PROTO_NUM, proto);
	if (proto == IPPROTO_ICMP || v6) {
		mnl_attr_put_u16(nlh, v6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID, htobe16(77));
		if ((c->how & NO_TYPE) == 0)
			mnl_attr_put_u8(
			    nlh, v6 ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE, v6 ? 128 : 8);
		mnl_attr_put_u8(nlh, v6 ? CTA_PROTO_ICMPV6_CODE : CTA_PROTO_ICMP_CODE, 3);
		return;
	}
	mnl_attr_put_u16(nlh, CTA_PROTO_SRC_PORT, htobe16(reply ? 80 : 77));
	if ((c->how & NO_DPORT) == 0)
		mnl_attr_put_u16(nlh, CTA_PROTO_DST_PORT, htobe16(reply ? 77 : 80));
}

static void
put_tuple(struct nlmsghdr *nlh, const struct ct_case *c, bool reply)
{
	const bool v6 = (c->family == AF_INET6) != ((c->how & OTHER_FAMILY) != 0);
	const size_t len = (v6 ? 16u : 4u) - ((c->how & SHORT_ADDR) != 0 ? 1u : 0u);
	const uint8_t *src = (c->how & V4_MAPPED) != 0 ? mapped : one;
	struct nlattr *nest, *inner;

	nest = mnl_attr_nest_start(nlh, reply ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG);
	inner = mnl_attr_nest_start(nlh, CTA_TUPLE_IP);
	mnl_attr_put(nlh, v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, len, reply ? two : src);
	if ((c->how & NO_DST) == 0)
		mnl_attr_put(nlh, v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, len, reply ? src : two);
	mnl_attr_nest_end(nlh, inner);
	inner = mnl_attr_nest_start(nlh, CTA_TUPLE_PROTO);
	put_proto(nlh, c, reply && (c->how & OTHER_PROTO) != 0 ? IPPROTO_UDP : c->proto, reply);
	mnl_attr_nest_end(nlh, inner);
	mnl_attr_nest_end(nlh, nest);
}

static struct nlmsghdr *
build(void *buf, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = flags;
	nfg->nfgen_family = family;
	return nlh;
}

static struct nlmsghdr *
build_ct(void *buf, const struct ct_case *c)
{
	struct nlmsghdr *nlh = build(buf, c->type, c->flags, c->family);
	struct nlattr *last;

	put_tuple(nlh, c, false);
	if ((c->how & NO_REPLY) == 0)
		put_tuple(nlh, c, true);
	if ((c->how & SHORT_STATUS) != 0)
		mnl_attr_put_u16(nlh, CTA_STATUS, 0);
	else
		mnl_attr_put_u32(nlh, CTA_STATUS, htobe32(CT_SEEN_REPLY));
	mnl_attr_put_u16(nlh, CTA_ZONE, htobe16(9));
	last = mnl_nlmsg_get_payload_tail(nlh);
	mnl_attr_put_u32(nlh, CTA_TIMEOUT, htobe32(120));
	if ((c->how & LONG_LAST) != 0)
		last->nla_len += 4;
	return nlh;
}

static void
each_message_gives_its_entry_or_its_error(void **state)
{
	uint8_t buf[1024] __attribute__((aligned(8)));

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct ct_case *c = &cases[i];
		const bool icmp = proto_is_icmp(c->proto);
		struct ct_entry e, untouched;
		int r;

		memset(&e, 0xa5, sizeof(e));
		untouched = e;
		r = ct_parse(build_ct(buf, c), &e);
		if (r != c->result)
			fail_msg("%s: %d, not %d", c->name, r, c->result);
		if (r < 0) {
			assert_memory_equal(&e, &untouched, sizeof(e));
			continue;
		}
		assert_int_equal(e.msg, c->msg);
		assert_int_equal(e.orig.src.family, c->family == AF_INET ? 4 : 6);
		assert_int_equal(e.orig.proto, c->proto);
		assert_int_equal(e.orig.sport, 77);
		if (icmp)
			assert_int_equal(e.orig.dport, (c->family == AF_INET ? 8 : 128) << 8 | 3);
		assert_int_equal(e.status, CT_SEEN_REPLY);
		assert_int_equal(e.timeout_s, 120);
		assert_int_equal(e.zone, 9);
		assert_int_equal(e.tcp_state, 0);
		assert_true(e.bytes[0] == UINT64_MAX && e.packets[1] == UINT64_MAX);
		if ((c->how & V4_MAPPED) != 0)
			assert_memory_equal(e.orig.src.bytes, mapped, 16);
	}
}

static void
a_handshake_is_answered_when_it_is_complete(void **state)
{
	static const struct {
		uint8_t proto;
		enum ct_msg msg;
		uint32_t status;
		uint8_t sctp_state;
		bool answered;
	} rows[] = {
		{ IPPROTO_UDP, CT_MSG_UPDATE, 0, 0, false },
		{ IPPROTO_UDP, CT_MSG_UPDATE, CT_SEEN_REPLY, 0, true },
		{ IPPROTO_ICMP, CT_MSG_NEW, CT_SEEN_REPLY, 0, true },
		{ IPPROTO_TCP, CT_MSG_UPDATE, CT_SEEN_REPLY, 0, false },
		{ IPPROTO_TCP, CT_MSG_UPDATE, CT_SEEN_REPLY | CT_ASSURED, 0, true },
		{ IPPROTO_TCP, CT_MSG_NEW, CT_SEEN_REPLY, 0, false },
		{ IPPROTO_TCP, CT_MSG_NEW, CT_SEEN_REPLY | CT_ASSURED, 0, true },
		{ IPPROTO_SCTP, CT_MSG_UPDATE, CT_SEEN_REPLY, 2, false },
		{ IPPROTO_SCTP, CT_MSG_UPDATE, CT_SEEN_REPLY | CT_ASSURED, 4, true },
		{ IPPROTO_SCTP, CT_MSG_UPDATE, CT_SEEN_REPLY, 4, true },
		{ IPPROTO_SCTP, CT_MSG_UPDATE, CT_SEEN_REPLY | CT_ASSURED, 5, false },
		{ IPPROTO_SCTP, CT_MSG_NEW, CT_SEEN_REPLY | CT_ASSURED, 5, true },
		{ IPPROTO_SCTP, CT_MSG_NEW, CT_SEEN_REPLY, 3, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct ct_entry e = { .msg = rows[i].msg,
			.orig = { .proto = rows[i].proto },
			.status = rows[i].status,
			.sctp_state = rows[i].sctp_state };

		if (ct_is_answered(&e) != rows[i].answered)
			fail_msg("row %zu", i);
	}
}

static void
a_message_cut_anywhere_is_an_error(void **state)
{
	uint8_t buf[1024] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = build_ct(buf, &cases[0]);
	const uint32_t whole = nlh->nlmsg_len;
	struct ct_entry e;
	unsigned accepted = 0;

	for (uint32_t len = sizeof(*nlh); len < whole; len++) {
		nlh->nlmsg_len = len;
		/* After the tuples, where an attribute or its padding ends, it is a whole one. */
		if (ct_parse(nlh, &e) == 0)
			accepted++;
		else
			assert_int_equal(ct_parse(nlh, &e), -EBADMSG);
	}
	assert_in_range(accepted, 1, 5);
}

struct log_case {
	const char *name, *prefix;
	size_t prefix_len;
	uint16_t type;
	bool payload, short_seq;
	int result;
};

#define ULOG(m) (NFNL_SUBSYS_ULOG << 8 | (m))

static const struct log_case log_cases[] = {
	{ "a denial at input", "di", 3, ULOG(NFULNL_MSG_PACKET), true, false, 0 },
	{ "a prefix without its terminator", "af", 2, ULOG(NFULNL_MSG_PACKET), true, false, 0 },
	{ "a longer prefix of ours", "no more", 8, ULOG(NFULNL_MSG_PACKET), true, false, 0 },
	{ "a foreign prefix", "xi", 3, ULOG(NFULNL_MSG_PACKET), true, false, -ENOTSUP },
	{ "a foreign place", "dx", 3, ULOG(NFULNL_MSG_PACKET), true, false, -ENOTSUP },
	{ "one letter", "d", 2, ULOG(NFULNL_MSG_PACKET), true, false, -ENOTSUP },
	{ "an empty prefix", "", 0, ULOG(NFULNL_MSG_PACKET), true, false, -ENOTSUP },
	{ "a configuration", "di", 3, ULOG(NFULNL_MSG_CONFIG), true, false, -ENOTSUP },
	{ "no packet", "di", 3, ULOG(NFULNL_MSG_PACKET), false, false, -EBADMSG },
	{ "a short number", "di", 3, ULOG(NFULNL_MSG_PACKET), true, true, -EBADMSG },
};

static void
each_report_gives_its_packet_or_its_error(void **state)
{
	static const uint8_t packet[20] = { 0x45 };
	uint8_t buf[512] __attribute__((aligned(8)));
	struct nfulnl_msg_packet_timestamp ts = { htobe64(3), htobe64(5) };

	for (size_t i = 0; i < ARRAY_SIZE(log_cases); i++) {
		const struct log_case *c = &log_cases[i];
		struct nlmsghdr *nlh = build(buf, c->type, 0, AF_INET);
		struct nflog_report rep;
		int r;

		mnl_attr_put(nlh, NFULA_PREFIX, c->prefix_len, c->prefix);
		mnl_attr_put(nlh, NFULA_TIMESTAMP, sizeof(ts), &ts);
		if (c->short_seq)
			mnl_attr_put_u16(nlh, NFULA_SEQ, 1);
		else
			mnl_attr_put_u32(nlh, NFULA_SEQ, htobe32(0xfffffffe));
		if (c->payload)
			mnl_attr_put(nlh, NFULA_PAYLOAD, sizeof(packet), packet);
		r = nflog_parse(nlh, &rep);
		if (r != c->result)
			fail_msg("%s: %d, not %d", c->name, r, c->result);
		if (r < 0)
			continue;
		assert_int_equal(rep.what, c->prefix[0]);
		assert_int_equal(rep.where, c->prefix[1]);
		assert_int_equal(rep.payload_len, sizeof(packet));
		assert_memory_equal(rep.payload, packet, sizeof(packet));
		assert_true(rep.has_seq && rep.seq == 0xfffffffe);
		assert_true(rep.time_ns == 3 * NSEC_PER_SEC + 5000);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_message_gives_its_entry_or_its_error),
		cmocka_unit_test(a_handshake_is_answered_when_it_is_complete),
		cmocka_unit_test(a_message_cut_anywhere_is_an_error),
		cmocka_unit_test(each_report_gives_its_packet_or_its_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
