/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules of the table, as libnftnl objects, a function of the modes alone: elements never change
 * a rule. What a chain holds, in order:
 *
 * observe (input, output): established; loopback; the event mark, a report of new UDP and of what
 * was unreachable. Where the other direction enforces, UDP that was cut, new TCP without SYN and
 * new SCTP without INIT are dropped. A last accept.
 *
 * audit, enforce (input, output): established, but for UDP once any direction enforces; loopback;
 * the event mark; UDP that was cut: what its opener sends is refused like a new connection;
 * established UDP; errors about that, reported where something was unreachable; invalid, new
 * TCP without SYN and new SCTP without INIT dropped (enforce) or passed (audit); ND, MLD and IGMP;
 * denied elements go to the refuse chain; approved ones are accepted; the rest falls to the refuse
 * chain, and in enforce to a last drop. Conntrack calls every ICMP message invalid that is neither
 * a request it knows nor an error about something it has: an approved type passes all the same,
 * others go without a report. refuse_in, refuse_out: a report, then audit accepts; enforce counts,
 * rejects towards local workloads and drops towards everyone else. forward: the event mark; once a
 * direction enforces, all is reported and dropped: what a nested namespace sends has no identity of
 * its own here. Audit reports it.
 *
 * Before all of that, input and output report what is said with name servers, known by the port
 * that was dialled: an engine's resolver is behind a NAT of the namespace, on loopback. On output
 * it is the question, on input the answer as the asking program will see it.
 *
 * The event mark comes before every other accept of what is new: a connection gets exactly one
 * event, its first reply, TCP the end of its handshake (SCTP a few more), and what stays on
 * loopback gives none. A foreign table can neither accept what is dropped here nor skip these
 * chains.
 */
#include "netlink/ct.h"
#include "netlink/nft_expr.h"

#include <errno.h>
/* Before linux/netfilter.h, which brings the kernel's own <linux/in.h>. */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#define NEW_UDP_PER_SECOND 20u
#define DNS_PER_SECOND 1000u /* each way */

enum {
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_FIN_SYN_RST_ACK = 0x17,
	SCTP_INIT = 1,
	ICMP4_UNREACHABLE = 3,
	ICMP6_UNREACHABLE = 1,
};

/* One direction's side of things. */
struct side {
	enum nft_chain_id chain, refuse;
	bool egress;
	enum wl_mode mode;
	bool other_enforces; /* the other direction is */
	char where;	     /* in a report's prefix */
};

static void
expr_reject(struct builder *b, uint32_t type, uint8_t code)
{
	struct nftnl_expr *e = expr_add(b, "reject");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, type);
	nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, code);
}

/* What each protocol's event is, and what of it counts, stands at ct_is_answered(). */
static void
rules_event_mark(struct builder *b, enum nft_chain_id chain, bool all_pass)
{
	rule_begin(b, chain);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, IPPROTO_TCP);
	expr_event_mark(b, CT_EVENT_ASSURED);
	/* It is what containers talk most, and all that is left to come is about others. */
	if (all_pass)
		expr_verdict(b, NF_ACCEPT, NULL);
	rule_begin(b, chain);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_NEQ, IPPROTO_TCP);
	expr_event_mark(b, CT_EVENT_REPLY);
	rule_begin(b, chain);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, IPPROTO_SCTP);
	expr_event_mark(b, CT_EVENT_PROTOINFO);
}

static void
rule_new_udp(struct builder *b, const struct side *s)
{
	rule_begin(b, s->chain);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, IPPROTO_UDP);
	match_ct_state(b, NF_CT_STATE_BIT(IP_CT_NEW));
	expr_limit(b, NEW_UDP_PER_SECOND);
	expr_log(b, 'n', s->where);
}

/* That a datagram was refused nobody else tells: conntrack goes on to wait for its answer. */
static void
rules_unreachable(struct builder *b, const struct side *s)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		rule_begin(b, s->chain);
		match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
		match_ct_state(b, NF_CT_STATE_BIT(IP_CT_RELATED));
		expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG_1);
		expr_cmp_u8(b, NFT_CMP_EQ, v6 ? ICMP6_UNREACHABLE : ICMP4_UNREACHABLE);
		expr_limit(b, NEW_UDP_PER_SECOND);
		expr_log(b, 'u', s->where);
	}
}

/* A namespace's own name server is asked on input and answers on output: that is not reported. */
static void
rule_dns(struct builder *b, const struct side *s)
{
	const uint8_t port[2] = { 0, 53 };

	rule_begin(b, s->chain);
	expr_ct_of(b, NFT_CT_PROTO_DST, IP_CT_DIR_ORIGINAL, NFT_REG_1);
	expr_cmp(b, NFT_CMP_EQ, port, sizeof(port));
	expr_ct(b, NFT_CT_DIRECTION, NFT_REG_1);
	expr_cmp_u8(b, NFT_CMP_EQ, s->egress ? IP_CT_DIR_ORIGINAL : IP_CT_DIR_REPLY);
	expr_limit(b, DNS_PER_SECOND);
	expr_log_whole(b, s->egress ? 'q' : 'r', s->where);
}

/* What a container says to itself is no edge: the one event it may give is one nobody listens to.
 */
static void
rules_loopback(struct builder *b, const struct side *s)
{
	rule_begin(b, s->chain);
	match_loopback(b, s->egress, NFT_CMP_EQ);
	expr_event_mark(b, CT_EVENT_DESTROY);
	rule_begin(b, s->chain);
	match_loopback(b, s->egress, NFT_CMP_EQ);
	expr_verdict(b, NF_ACCEPT, NULL);
}

/* Most packets are of these, and no rule behind this one is for them. */
static void
rule_established(struct builder *b, const struct side *s, bool udp)
{
	rule_begin(b, s->chain);
	if (!udp)
		match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_NEQ, IPPROTO_UDP);
	match_ct_state(b, NF_CT_STATE_BIT(IP_CT_ESTABLISHED));
	expr_verdict(b, NF_ACCEPT, NULL);
}

/*
 * Related are errors about what is established, what a reject answers (nf_reject attaches it to the
 * refused connection), and nothing that a helper expects.
 */
static void
rules_related(struct builder *b, const struct side *s)
{
	static const uint8_t errors[] = { IPPROTO_ICMP, IPPROTO_ICMPV6 };

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		rule_begin(b, s->chain);
		match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, errors[i]);
		match_ct_state(b, NF_CT_STATE_BIT(IP_CT_RELATED));
		expr_verdict(b, NF_ACCEPT, NULL);
	}
	if (!s->egress)
		return;
	rule_begin(b, s->chain);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, IPPROTO_TCP);
	match_ct_state(b, NF_CT_STATE_BIT(IP_CT_RELATED));
	match_tcp_flags(b, TCP_RST, NFT_CMP_NEQ, 0);
	expr_verdict(b, NF_ACCEPT, NULL);
}

static void
rule_invalid(struct builder *b, const struct side *s)
{
	rule_begin(b, s->chain);
	match_ct_state(b, NF_CT_STATE_INVALID_BIT);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_NEQ, IPPROTO_ICMP);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_NEQ, IPPROTO_ICMPV6);
	expr_count(b, s->egress);
	expr_verdict(b, NF_DROP, NULL);
}

/* Of ICMP: an error about what is long gone, or nonsense. Nobody would approve it. */
static void
rule_refuse_invalid(struct builder *b, const struct side *s)
{
	rule_begin(b, s->refuse);
	match_ct_state(b, NF_CT_STATE_INVALID_BIT);
	expr_count(b, s->egress);
	expr_verdict(b, NF_DROP, NULL);
}

static void
rule_middle_end(struct builder *b, const struct side *s)
{
	if (s->mode == MODE_ENFORCE || s->other_enforces) {
		expr_count(b, s->egress);
		expr_verdict(b, NF_DROP, NULL);
	} else {
		expr_verdict(b, NF_ACCEPT, NULL);
	}
}

/*
 * A cut connection must not come back from the middle (conntrack would take the wrong end for the
 * opener), nor by the direction that is not enforced: what its other end sends would make it one
 * that is established. Elsewhere, in audit, such a packet passes without a report for the same
 * reason. Of SCTP conntrack calls most of what is no INIT invalid, but a heartbeat is new to it,
 * and both ends send one whenever their association is idle.
 */
static void
rules_middle(struct builder *b, const struct side *s)
{
	for (unsigned sctp = 0; sctp < 2; sctp++) {
		rule_begin(b, s->chain);
		/* What was established or is invalid has been told apart, but where all passes. */
		if (s->mode == MODE_OBSERVE)
			match_ct_state(b, NF_CT_STATE_BIT(IP_CT_NEW));
		match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, sctp ? IPPROTO_SCTP : IPPROTO_TCP);
		if (sctp) {
			expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 12, 1, NFT_REG_1);
			expr_cmp_u8(b, NFT_CMP_NEQ, SCTP_INIT);
		} else {
			match_tcp_flags(b, TCP_FIN_SYN_RST_ACK, NFT_CMP_NEQ, TCP_SYN);
		}
		rule_middle_end(b, s);
	}
}

static void
match_cut(struct builder *b, const struct side *s)
{
	const uint32_t mark = CT_MARK_CUT;

	rule_begin(b, s->chain);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, IPPROTO_UDP);
	expr_ct(b, NFT_CT_MARK, NFT_REG_1);
	expr_cmp(b, NFT_CMP_EQ, &mark, sizeof(mark));
}

/*
 * UDP has no opening packet that could be asked for, so what is cut keeps its entry, marked, and is
 * dropped by it, in both directions whichever is enforced: without the entry the next packet of its
 * other end would be a new connection.
 */
static void
rules_cut(struct builder *b, const struct side *s)
{
	if (s->mode == MODE_ENFORCE) {
		match_cut(b, s);
		expr_ct(b, NFT_CT_DIRECTION, NFT_REG_1);
		expr_cmp_u8(b, NFT_CMP_EQ, IP_CT_DIR_ORIGINAL);
		expr_verdict(b, NFT_GOTO, nft_chain_names[s->refuse]);
	}
	match_cut(b, s);
	expr_count(b, s->egress);
	expr_verdict(b, NF_DROP, NULL);
}

/* What a link is kept going with: a type of message, as far as it goes, and one of its addresses.
 */
struct link_talk {
	uint8_t proto, type, hops;
	bool from;		 /* the address is the sender's, else it is the receiver's */
	uint8_t mask[2], net[2]; /* how it begins */
};

static void
rule_link_talk(struct builder *b, const struct side *s, const struct link_talk *t)
{
	const bool v6 = t->proto == IPPROTO_ICMPV6;
	const uint32_t from = v6 ? 8 : 12, to = v6 ? 24 : 16;

	rule_begin(b, s->chain);
	match_meta_u8(b, NFT_META_NFPROTO, NFT_CMP_EQ, v6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, t->proto);
	if (t->mask[0] != 0) {
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, t->from ? from : to, 2, NFT_REG_1);
		expr_mask(b, t->mask, sizeof(t->mask));
		expr_cmp(b, NFT_CMP_EQ, t->net, sizeof(t->net));
	}
	expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v6 ? 7 : 8, 1, NFT_REG_1);
	expr_cmp_u8(b, NFT_CMP_EQ, t->hops);
	expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG_1);
	expr_cmp_u8(b, NFT_CMP_EQ, t->type);
	expr_verdict(b, NF_ACCEPT, NULL);
}

/*
 * What a link needs to carry IPv6, and groups, at all. ND has a hop limit of 255: it is not from
 * beyond the link; that it goes no further, the host guard sees to, which knows what is on it: who
 * can write one by hand can send past these rules as well. Listener queries come from the link
 * alone; without the answers to them a snooping bridge stops delivering groups, solicitations too.
 * Which groups may be sent to is the policy's to say. A router advertisement is none of it: any
 * neighbour could make itself the router, so one needs an edge like everything else.
 */
static const struct link_talk talk_out[] = {
	{ IPPROTO_ICMPV6, ICMP6_NS, 255 },
	{ IPPROTO_ICMPV6, ICMP6_NA, 255 },
	{ IPPROTO_ICMPV6, ICMP6_RS, 255 },
	{ IPPROTO_ICMPV6, ICMP6_MLD_REPORT, 1, .mask = { 0xff }, .net = { 0xff } },
	{ IPPROTO_ICMPV6, ICMP6_MLD_DONE, 1, .mask = { 0xff }, .net = { 0xff } },
	{ IPPROTO_ICMPV6, ICMP6_MLD2_REPORT, 1, .mask = { 0xff }, .net = { 0xff } },
	{ IPPROTO_IGMP, IGMP_REPORT, 1, .mask = { 0xf0 }, .net = { 0xe0 } },
	{ IPPROTO_IGMP, IGMP2_REPORT, 1, .mask = { 0xf0 }, .net = { 0xe0 } },
	{ IPPROTO_IGMP, IGMP2_LEAVE, 1, .mask = { 0xf0 }, .net = { 0xe0 } },
	{ IPPROTO_IGMP, IGMP3_REPORT, 1, .mask = { 0xf0 }, .net = { 0xe0 } },
};

static const struct link_talk talk_in[] = {
	{ IPPROTO_ICMPV6, ICMP6_NS, 255 },
	{ IPPROTO_ICMPV6, ICMP6_NA, 255 },
	{ IPPROTO_ICMPV6, ICMP6_MLD_QUERY, 1, .from = true, .mask = { 0xff, 0xc0 },
	    .net = { 0xfe, 0x80 } },
	{ IPPROTO_IGMP, IGMP_QUERY, 1, .mask = { 0xf0 }, .net = { 0xe0 } },
};

static void
rules_neighbours(struct builder *b, const struct side *s)
{
	const struct link_talk *talk = s->egress ? talk_out : talk_in;
	size_t n = s->egress ? ARRAY_SIZE(talk_out) : ARRAY_SIZE(talk_in);

	for (size_t i = 0; i < n; i++)
		rule_link_talk(b, s, &talk[i]);
}

/* The other end's address into register 1, after a match of the family. */
static void
load_other_end(struct builder *b, const struct side *s, bool v6)
{
	match_meta_u8(b, NFT_META_NFPROTO, NFT_CMP_EQ, (uint8_t)(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4));
	if (v6)
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, s->egress ? 24 : 8, 16, NFT_REG_1);
	else
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, s->egress ? 16 : 12, 4, NFT_REG_1);
}

/* ICMP has its type and code at offset 0, where the others have their source port. */
static void
rule_lookup(struct builder *b, const struct side *s, bool allow, bool range, bool v6, bool icmp)
{
	uint32_t proto_reg = v6 ? NFT_REG_2 : NFT_REG32_01;
	uint32_t port_reg = v6 ? NFT_REG32_05 : NFT_REG32_02;

	rule_begin(b, s->chain);
	match_meta_u8(b, NFT_META_L4PROTO, icmp ? NFT_CMP_EQ : NFT_CMP_NEQ,
	    (uint8_t)(v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP));
	load_other_end(b, s, v6);
	expr_meta(b, NFT_META_L4PROTO, proto_reg);
	expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, icmp ? 0 : 2, 2, port_reg);
	expr_lookup(b, nft_set_id(s->egress, allow, range, v6), 0);
	if (allow)
		expr_verdict(b, NF_ACCEPT, NULL);
	else
		expr_verdict(b, NFT_GOTO, nft_chain_names[s->refuse]);
}

static void
rules_lookup(struct builder *b, const struct side *s, bool allow)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		rule_lookup(b, s, allow, i & 4, i & 2, i & 1);
}

static void
rules_reject(struct builder *b, const struct side *s, bool v6)
{
	unsigned set = v6 ? NFT_SET_LOCAL6 : NFT_SET_LOCAL4;

	rule_begin(b, s->refuse);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, IPPROTO_TCP);
	load_other_end(b, s, v6);
	expr_lookup(b, set, 0);
	expr_reject(b, NFT_REJECT_TCP_RST, 0);
	rule_begin(b, s->refuse);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_NEQ, IPPROTO_TCP);
	load_other_end(b, s, v6);
	expr_lookup(b, set, 0);
	expr_reject(b, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
}

static void
rule_report(struct builder *b, enum nft_chain_id chain, uint32_t rate, char what, char where)
{
	rule_begin(b, chain);
	expr_limit(b, rate);
	expr_log(b, what, where);
}

static void
rules_refuse(struct builder *b, const struct side *s, uint32_t rate)
{
	if (s->mode == MODE_ENFORCE)
		rule_refuse_invalid(b, s);
	rule_report(b, s->refuse, rate, s->mode == MODE_ENFORCE ? 'd' : 'a', s->where);
	if (s->mode != MODE_ENFORCE) {
		rule_begin(b, s->refuse);
		expr_verdict(b, NF_ACCEPT, NULL);
		return;
	}
	rule_begin(b, s->refuse);
	expr_count(b, s->egress);
	rules_reject(b, s, false);
	rules_reject(b, s, true);
	rule_begin(b, s->refuse);
	expr_verdict(b, NF_DROP, NULL);
}

/* At the end, as a policy that was drop is accept only a moment after the new rules are there. */
static void
rule_pass(struct builder *b, enum nft_chain_id chain)
{
	rule_begin(b, chain);
	expr_verdict(b, NF_ACCEPT, NULL);
}

static void
rules_side(struct builder *b, const struct side *s, uint32_t rate)
{
	const bool cuts = s->mode == MODE_ENFORCE || s->other_enforces;

	rule_dns(b, s);
	/* UDP that was cut may be established, and new to its opener. */
	rule_established(b, s, !cuts);
	rules_loopback(b, s);
	rules_event_mark(b, s->chain, s->mode == MODE_OBSERVE && !cuts);
	if (cuts) {
		rules_cut(b, s);
		rule_established(b, s, true);
	}
	if (s->mode == MODE_OBSERVE) {
		if (s->other_enforces)
			rules_middle(b, s);
		rule_new_udp(b, s);
		rules_unreachable(b, s);
		rule_pass(b, s->chain);
		return;
	}
	rules_unreachable(b, s);
	rules_related(b, s);
	if (s->mode == MODE_ENFORCE)
		rule_invalid(b, s);
	rules_neighbours(b, s);
	rules_middle(b, s);
	rules_lookup(b, s, false);
	rules_lookup(b, s, true);
	rule_begin(b, s->chain);
	expr_verdict(b, NFT_JUMP, nft_chain_names[s->refuse]);
	if (s->mode == MODE_ENFORCE) {
		rule_begin(b, s->chain);
		expr_verdict(b, NF_DROP, NULL);
	}
	rules_refuse(b, s, rate);
}

static void
rules_forward(struct builder *b, const struct nft_modes *m)
{
	bool enforce = m->in == MODE_ENFORCE || m->out == MODE_ENFORCE;

	rules_event_mark(b, NFT_CHAIN_FORWARD, false);
	if (m->in != MODE_OBSERVE || m->out != MODE_OBSERVE)
		rule_report(b, NFT_CHAIN_FORWARD, m->rate, enforce ? 'd' : 'a', 'f');
	if (!enforce) {
		rule_pass(b, NFT_CHAIN_FORWARD);
		return;
	}
	rule_begin(b, NFT_CHAIN_FORWARD);
	expr_count(b, 2);
	expr_verdict(b, NF_DROP, NULL);
}

int
nft_rules_inet(const struct nft_target *t, const struct nft_modes *m, struct nft_rules *ret)
{
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	struct builder b = { .target = t, .rules = &rules };
	const struct side in = { NFT_CHAIN_INPUT, NFT_CHAIN_REFUSE_IN, false, m->in,
		m->out == MODE_ENFORCE, 'i' };
	const struct side out = { NFT_CHAIN_OUTPUT, NFT_CHAIN_REFUSE_OUT, true, m->out,
		m->in == MODE_ENFORCE, 'o' };

	rules_side(&b, &in, m->rate);
	rules_side(&b, &out, m->rate);
	rules_forward(&b, m);
	if (b.err < 0)
		return b.err;
	*ret = rules;
	rules = (struct nft_rules){ 0 };
	return 0;
}
