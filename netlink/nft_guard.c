/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host guard: what a namespace sends, seen where it arrives on the host's side of its veth. It
 * holds what never meets the output hook inside (AF_PACKET, AF_XDP, TUN, a veth moved to a nested
 * namespace), so it believes nothing but the frame. There is no conntrack at this hook.
 *
 *   guard     base chain, ingress of the device: the source hardware address is the interface's,
 *             and the frame is plain ARP, IPv4 or IPv6 (no VLAN tag, nothing else)
 *   arp       the sender's addresses are its own, or none (a probe)
 *   ip4 ip6   the source address is its own; DHCP, ND, DAD and MLD as a link needs them, with own
 *             addresses in their bodies; no router advertisement and no redirect
 *   flow4 flow6  where egress is held to a policy: fragments but the first go where something may
 *             go; ICMP errors about what may have come; answers; then the ruleset's egress, denied
 *             elements first
 *   answer4 answer6  what may be the answer to an allowed ingress element: same address, same port.
 *             It opens nothing: TCP needs ACK or RST, SCTP no INIT
 *   error4 error6  ICMP errors: to whom something is allowed, or the refusal of a local workload
 *   spoofed, refused  counted; dropped where the mode enforces, else accepted
 *
 * Without an enforced ingress anything may be an answer: TCP that opens is then all that is held,
 * and datagrams are not. An answer's form is all that a raw sender gains besides its own policy.
 */
#include "netlink/nft_expr.h"

#include <errno.h>
/* Before linux/netfilter.h, which brings the kernel's own <linux/in.h>. */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

/* Before every other user of the hook, a flow table's above all. */
#define GUARD_PRIORITY (-10000)

enum {
	CHAIN_GUARD,
	CHAIN_ARP,
	CHAIN_IP4,
	CHAIN_IP6,
	CHAIN_FLOW4,
	CHAIN_FLOW6,
	CHAIN_ANSWER4,
	CHAIN_ANSWER6,
	CHAIN_ERROR4,
	CHAIN_ERROR6,
	CHAIN_SPOOFED,
	CHAIN_REFUSED,
	N_CHAINS,
};

static const char *const chain_names[N_CHAINS] = { "guard", "arp", "ip4", "ip6", "flow4", "flow6",
	"answer4", "answer6", "error4", "error6", "spoofed", "refused" };

enum { COUNT_SPOOFED, COUNT_REFUSED };
static const char *const counter_names[NFT_N_COUNTERS] = { "spoofed", "refused", "unused" };

static const struct nft_hook hooks[] = { { NF_NETDEV_INGRESS, GUARD_PRIORITY } };

static bool
enforces(const struct nft_modes *m)
{
	return m->in == MODE_ENFORCE || m->out == MODE_ENFORCE;
}

static uint32_t
policy_guard(const struct nft_modes *m, unsigned chain)
{
	return enforces(m) ? NF_DROP : NF_ACCEPT;
}

const struct nft_kind nft_kind_guard = {
	.family = NFPROTO_NETDEV,
	.n_sets = NFT_N_SETS,
	.n_chains = N_CHAINS,
	.n_base = 1,
	.chains = chain_names,
	.counters = counter_names,
	.hooks = hooks,
	.policy = policy_guard,
	.rules = nft_rules_guard,
};

/* One family's side of things. */
struct family {
	bool v6;
	unsigned chain_ip, chain_flow, chain_answer, chain_error;
	uint8_t icmp;
	uint32_t src, dst, addr_len;	/* in the network header */
	uint32_t proto_reg, port_reg;	/* of a set's key that begins in register 1 */
	uint32_t inner_proto, inner_l4; /* in an ICMP error, from its own header */
	unsigned own, local, fragments;
	const uint8_t *errors;	    /* ICMP types, ended by 0 */
	const uint8_t (*echoes)[2]; /* ICMP type of an answer, and of its question; ended by 0, 0 */
	uint8_t prohibited[2];
};

static const uint8_t errors4[] = { 3, 11, 12, 0 }, errors6[] = { 1, 2, 3, 4, 0 };
static const uint8_t echoes4[][2] = { { 0, 8 }, { 14, 13 }, { 0, 0 } };
static const uint8_t echoes6[][2] = { { 129, 128 }, { 0, 0 } };

static const struct family family4 = { false, CHAIN_IP4, CHAIN_FLOW4, CHAIN_ANSWER4, CHAIN_ERROR4,
	IPPROTO_ICMP, 12, 16, 4, NFT_REG32_01, NFT_REG32_02, 8 + 9, 8 + 20, NFT_SET_OWN4,
	NFT_SET_LOCAL4, NFT_SET_FRAG4, errors4, echoes4, { 3, 13 } };
static const struct family family6 = { true, CHAIN_IP6, CHAIN_FLOW6, CHAIN_ANSWER6, CHAIN_ERROR6,
	IPPROTO_ICMPV6, 8, 24, 16, NFT_REG_2, NFT_REG32_05, 8 + 6, 8 + 40, NFT_SET_OWN6,
	NFT_SET_LOCAL6, NFT_SET_FRAG6, errors6, echoes6, { 1, 1 } };

/* Matches and verdicts */

static void
match_bytes(struct builder *b, uint32_t base, uint32_t offset, const void *bytes, uint32_t len)
{
	expr_payload(b, base, offset, len, NFT_REG_1);
	expr_cmp(b, NFT_CMP_EQ, bytes, len);
}

static void
match_link(struct builder *b, uint32_t offset, const void *bytes, uint32_t len)
{
	match_bytes(b, NFT_PAYLOAD_LL_HEADER, offset, bytes, len);
}

static void
match_net(struct builder *b, uint32_t offset, const void *bytes, uint32_t len)
{
	match_bytes(b, NFT_PAYLOAD_NETWORK_HEADER, offset, bytes, len);
}

static void
match_l4(struct builder *b, uint32_t offset, const void *bytes, uint32_t len)
{
	match_bytes(b, NFT_PAYLOAD_TRANSPORT_HEADER, offset, bytes, len);
}

static void
match_l4_u8(struct builder *b, uint32_t offset, uint8_t value)
{
	match_l4(b, offset, &value, 1);
}

static void
match_proto(struct builder *b, uint8_t proto)
{
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, proto);
}

static void
match_flags(struct builder *b, uint8_t mask, uint32_t op, uint8_t value)
{
	match_proto(b, IPPROTO_TCP);
	expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, NFT_REG_1);
	expr_mask(b, &mask, 1);
	expr_cmp_u8(b, op, value);
}

static void
verdict_accept(struct builder *b)
{
	expr_verdict(b, NF_ACCEPT, NULL);
}

static void
verdict_goto(struct builder *b, unsigned chain)
{
	expr_verdict(b, NFT_GOTO, chain_names[chain]);
}

static void
rule_go(struct builder *b, unsigned from, unsigned to)
{
	rule_begin(b, from);
	verdict_goto(b, to);
}

static void
expr_constant(struct builder *b, const void *data, uint32_t len, uint32_t reg)
{
	struct nftnl_expr *e = expr_add(b, "immediate");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg);
	if (nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, data, len) < 0)
		b->err = -ENOMEM;
}

/* ARP and the link */

static void
rules_arp(struct builder *b, const uint8_t *mac)
{
	/* Ethernet and IPv4, with the lengths of their addresses. */
	static const uint8_t head[6] = { 0, 1, 8, 0, 6, 4 }, none[4];
	int probe;

	for (probe = 0; probe < 2; probe++) {
		rule_begin(b, CHAIN_ARP);
		match_net(b, 0, head, sizeof(head));
		match_net(b, 8, mac, NFT_MAC_LEN);
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 14, sizeof(none), NFT_REG_1);
		if (probe)
			expr_cmp(b, NFT_CMP_EQ, none, sizeof(none));
		else
			expr_lookup(b, NFT_SET_OWN4, 0);
		verdict_accept(b);
	}
	rule_go(b, CHAIN_ARP, CHAIN_SPOOFED);
}

/* The type as it is in the frame: a tag that the kernel took out stands there again. */
static void
rules_guard(struct builder *b, const uint8_t *mac)
{
	static const struct {
		uint8_t type[2];
		unsigned chain;
	} types[] = {
		{ { 0x08, 0x00 }, CHAIN_IP4 },
		{ { 0x86, 0xdd }, CHAIN_IP6 },
		{ { 0x08, 0x06 }, CHAIN_ARP },
	};
	size_t i;

	rule_begin(b, CHAIN_GUARD);
	expr_payload(b, NFT_PAYLOAD_LL_HEADER, 6, NFT_MAC_LEN, NFT_REG_1);
	expr_cmp(b, NFT_CMP_NEQ, mac, NFT_MAC_LEN);
	verdict_goto(b, CHAIN_SPOOFED);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		rule_begin(b, CHAIN_GUARD);
		match_link(b, 12, types[i].type, 2);
		verdict_goto(b, types[i].chain);
	}
	rule_go(b, CHAIN_GUARD, CHAIN_SPOOFED);
}

/* Addresses and what IPv6 needs on a link */

static void
rule_source(struct builder *b, const struct family *f)
{
	rule_begin(b, f->chain_ip);
	expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->src, f->addr_len, NFT_REG_1);
	expr_lookup(b, f->own, NFT_LOOKUP_F_INV);
	verdict_goto(b, CHAIN_SPOOFED);
}

static void
rules_ip4(struct builder *b, const struct nft_modes *m)
{
	static const uint8_t none[4], dhcp_ports[4] = { 0, 68, 0, 67 };

	rule_begin(b, CHAIN_IP4);
	match_net(b, family4.src, none, sizeof(none));
	match_proto(b, IPPROTO_UDP);
	match_l4(b, 0, dhcp_ports, sizeof(dhcp_ports));
	verdict_goto(b, CHAIN_FLOW4);
	rule_source(b, &family4);
	if (m->out == MODE_OBSERVE) {
		rule_begin(b, CHAIN_IP4);
		match_proto(b, IPPROTO_ICMP);
		match_l4_u8(b, 0, 5); /* redirect */
		verdict_goto(b, CHAIN_SPOOFED);
	}
	rule_go(b, CHAIN_IP4, CHAIN_FLOW4);
}

/* A message of ND: no extension header, the hop limit of a neighbour, this length and type. */
static void
match_nd(struct builder *b, uint8_t type, uint8_t len)
{
	const uint8_t head[4] = { 0, len, IPPROTO_ICMPV6, 255 };

	match_net(b, 4, head, sizeof(head));
	match_l4_u8(b, 0, type);
}

struct nd {
	uint8_t type, len; /* without options */
	uint8_t option;	   /* that holds the link-layer address */
	bool target;	   /* is an own address */
};

static void
match_nd_target(struct builder *b)
{
	expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 8, 16, NFT_REG_1);
	expr_lookup(b, NFT_SET_OWN6, 0);
}

/* Without options, or with the one of its link-layer address and nothing else. */
static void
rules_nd(struct builder *b, const struct nd *n, const uint8_t *mac)
{
	const uint8_t option[2] = { n->option, 1 };
	int with;

	for (with = 0; with < 2; with++) {
		rule_begin(b, CHAIN_IP6);
		match_nd(b, n->type, (uint8_t)(n->len + (with ? 8 : 0)));
		if (n->target)
			match_nd_target(b);
		if (with) {
			match_l4(b, n->len, option, sizeof(option));
			match_l4(b, n->len + 2u, mac, NFT_MAC_LEN);
		}
		verdict_accept(b);
	}
}

static const uint8_t mld_types[] = { 131, 132, 143 };

static void
rules_mld(struct builder *b, bool unspecified)
{
	static const uint8_t none[16];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mld_types); i++) {
		rule_begin(b, CHAIN_IP6);
		if (unspecified)
			match_net(b, family6.src, none, sizeof(none));
		match_proto(b, IPPROTO_ICMPV6);
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 7, 1, NFT_REG_1);
		expr_cmp_u8(b, NFT_CMP_EQ, 1);
		match_l4_u8(b, 0, mld_types[i]);
		verdict_accept(b);
	}
}

/* Duplicate address detection, whose only option is a nonce, and a first router solicitation. */
static void
rules_unspecified(struct builder *b)
{
	static const uint8_t none[16], nonce[2] = { 14, 1 };
	int with;

	for (with = 0; with < 2; with++) {
		rule_begin(b, CHAIN_IP6);
		match_net(b, family6.src, none, sizeof(none));
		match_nd(b, 135, with ? 32 : 24);
		match_nd_target(b);
		if (with)
			match_l4(b, 24, nonce, sizeof(nonce));
		verdict_accept(b);
	}
	rule_begin(b, CHAIN_IP6);
	match_net(b, family6.src, none, sizeof(none));
	match_nd(b, 133, 8);
	verdict_accept(b);
	rules_mld(b, true);
}

static void
rules_ip6(struct builder *b, const struct nft_modes *m)
{
	static const struct nd messages[] = {
		{ 135, 24, 1, false },
		{ 136, 24, 2, true },
		{ 133, 8, 1, false },
	};
	/* Those of the above in another form; a router's, unless a policy for egress says more. */
	static const uint8_t refused[] = { 133, 135, 136, 134, 137 };
	size_t i, n = m->out == MODE_OBSERVE ? 5 : 3;

	rules_unspecified(b);
	rule_source(b, &family6);
	for (i = 0; i < ARRAY_SIZE(messages); i++)
		rules_nd(b, &messages[i], m->mac);
	for (i = 0; i < n; i++) {
		rule_begin(b, CHAIN_IP6);
		match_proto(b, IPPROTO_ICMPV6);
		match_l4_u8(b, 0, refused[i]);
		verdict_goto(b, CHAIN_SPOOFED);
	}
	rules_mld(b, false);
	rule_go(b, CHAIN_IP6, CHAIN_FLOW6);
}

/* The policy */

/* The destination into a set's key; what is at `port` of the transport header is its last part. */
static void
load_key(struct builder *b, const struct family *f, uint32_t port)
{
	expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst, f->addr_len, NFT_REG_1);
	expr_meta(b, NFT_META_L4PROTO, f->proto_reg);
	expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, port, 2, f->port_reg);
}

static void
rules_fragments(struct builder *b, const struct family *f, bool any)
{
	const uint8_t mask4[2] = { 0x1f, 0xff }, mask6[2] = { 0xff, 0xf8 }, none[4] = { 0 };
	struct nftnl_expr *e;
	int last;

	for (last = 0; last < 2; last++) {
		rule_begin(b, f->chain_flow);
		if (f->v6) {
			e = expr_add(b, "exthdr");
			if (e == NULL)
				return;
			nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_DREG, NFT_REG_1);
			nftnl_expr_set_u8(e, NFTNL_EXPR_EXTHDR_TYPE, IPPROTO_FRAGMENT);
			nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OFFSET, 2);
			nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_LEN, 2);
			nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_IPV6);
			nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_FLAGS, 0);
		} else {
			expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 6, 2, NFT_REG_1);
		}
		expr_mask(b, f->v6 ? mask6 : mask4, 2);
		expr_cmp(b, NFT_CMP_NEQ, none, 2);
		if (last) {
			verdict_goto(b, CHAIN_REFUSED);
			return;
		}
		if (!any) {
			expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst, f->addr_len, NFT_REG_1);
			expr_meta(b, NFT_META_L4PROTO, f->proto_reg);
			expr_constant(b, none, 2, f->port_reg);
			expr_lookup(b, f->fragments, 0);
		}
		verdict_accept(b);
	}
}

/*
 * An error goes back to where a packet came from: to a peer of an ingress element, about the port
 * it called, or to one of an egress element, about the port it answered from.
 */
static void
rules_error(struct builder *b, const struct family *f)
{
	unsigned i;

	for (i = 0; i < 4; i++) {
		bool egress = i & 1, range = i & 2;

		rule_begin(b, f->chain_error);
		if (!f->v6)
			match_l4_u8(b, 8, 0x45); /* an inner header without options */
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst, f->addr_len, NFT_REG_1);
		expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, f->inner_proto, 1, f->proto_reg);
		expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, f->inner_l4 + (egress ? 0 : 2), 2,
		    f->port_reg);
		expr_lookup(b, nft_set_id(egress, true, range, f->v6), 0);
		verdict_accept(b);
	}
	rule_begin(b, f->chain_error);
	match_l4(b, 0, f->prohibited, 2);
	expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst, f->addr_len, NFT_REG_1);
	expr_lookup(b, f->local, 0);
	verdict_accept(b);
	rule_go(b, f->chain_error, CHAIN_REFUSED);
}

/* The key of an answer: from the port that the question went to. */
static void
rule_answer(struct builder *b, const struct family *f, bool allow, bool range, const uint8_t *echo)
{
	const uint8_t question[2] = { echo != NULL ? echo[1] : 0, 0 };
	const uint8_t answer[2] = { echo != NULL ? echo[0] : 0, 0 };

	rule_begin(b, f->chain_answer);
	match_meta_u8(b, NFT_META_L4PROTO, echo != NULL ? NFT_CMP_EQ : NFT_CMP_NEQ, f->icmp);
	if (echo != NULL)
		match_l4(b, 0, answer, sizeof(answer));
	load_key(b, f, 0);
	if (echo != NULL)
		expr_constant(b, question, sizeof(question), f->port_reg);
	expr_lookup(b, nft_set_id(false, allow, range, f->v6), 0);
	expr_verdict(b, allow ? NF_ACCEPT : NFT_RETURN, NULL);
}

static void
rules_answer(struct builder *b, const struct family *f, bool any)
{
	const uint8_t(*echo)[2];
	unsigned i;

	if (any) {
		rule_begin(b, f->chain_answer);
		verdict_accept(b);
		return;
	}
	for (i = 0; i < 4; i++) {
		rule_answer(b, f, i & 2, i & 1, NULL);
		for (echo = f->echoes; (*echo)[1] != 0; echo++)
			rule_answer(b, f, i & 2, i & 1, *echo);
	}
}

static void
jump_answer(struct builder *b, const struct family *f)
{
	expr_verdict(b, NFT_JUMP, chain_names[f->chain_answer]);
}

/* Whatever has the form of an answer; the chain decides. */
static void
rules_to_answer(struct builder *b, const struct family *f)
{
	const uint8_t(*echo)[2];

	rule_begin(b, f->chain_flow);
	match_flags(b, 0x14 /* ACK, RST */, NFT_CMP_NEQ, 0);
	jump_answer(b, f);
	rule_begin(b, f->chain_flow);
	match_proto(b, IPPROTO_UDP);
	jump_answer(b, f);
	rule_begin(b, f->chain_flow);
	match_proto(b, IPPROTO_SCTP);
	expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 12, 1, NFT_REG_1);
	expr_cmp_u8(b, NFT_CMP_NEQ, 1); /* INIT */
	jump_answer(b, f);
	for (echo = f->echoes; (*echo)[1] != 0; echo++) {
		rule_begin(b, f->chain_flow);
		match_proto(b, f->icmp);
		match_l4_u8(b, 0, (*echo)[0]);
		jump_answer(b, f);
	}
}

static void
rules_egress(struct builder *b, const struct family *f)
{
	unsigned i;

	for (i = 0; i < 8; i++) {
		bool allow = i & 4, range = i & 2, icmp = i & 1;

		rule_begin(b, f->chain_flow);
		match_meta_u8(b, NFT_META_L4PROTO, icmp ? NFT_CMP_EQ : NFT_CMP_NEQ, f->icmp);
		load_key(b, f, icmp ? 0 : 2);
		expr_lookup(b, nft_set_id(true, allow, range, f->v6), 0);
		if (allow)
			verdict_accept(b);
		else
			verdict_goto(b, CHAIN_REFUSED);
	}
}

static void
rules_flow(struct builder *b, const struct family *f, const struct nft_modes *m)
{
	bool any = m->in != MODE_ENFORCE;
	const uint8_t *type;

	if (m->out == MODE_OBSERVE) {
		rule_begin(b, f->chain_flow);
		verdict_accept(b);
		return;
	}
	rules_fragments(b, f, any);
	for (type = f->errors; *type != 0; type++) {
		rule_begin(b, f->chain_flow);
		match_proto(b, f->icmp);
		match_l4_u8(b, 0, *type);
		if (any)
			verdict_accept(b);
		else
			verdict_goto(b, f->chain_error);
	}
	rules_to_answer(b, f);
	/* The refusal of a local workload's call. */
	rule_begin(b, f->chain_flow);
	match_flags(b, 0x07 /* RST, SYN, FIN */, NFT_CMP_EQ, 0x04);
	expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst, f->addr_len, NFT_REG_1);
	expr_lookup(b, f->local, 0);
	verdict_accept(b);
	rules_egress(b, f);
	rule_go(b, f->chain_flow, CHAIN_REFUSED);
	rules_error(b, f);
	rules_answer(b, f, any);
}

static void
rules_end(struct builder *b, unsigned chain, unsigned counter, bool drop)
{
	rule_begin(b, chain);
	expr_count(b, counter);
	expr_verdict(b, drop ? NF_DROP : NF_ACCEPT, NULL);
}

int
nft_rules_guard(const struct nft_target *t, const struct nft_modes *m, struct nft_rules *ret)
{
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	struct builder b = { .target = t, .rules = &rules };

	rules_guard(&b, m->mac);
	rules_arp(&b, m->mac);
	rules_ip4(&b, m);
	rules_ip6(&b, m);
	rules_flow(&b, &family4, m);
	rules_flow(&b, &family6, m);
	rules_end(&b, CHAIN_SPOOFED, COUNT_SPOOFED, enforces(m));
	rules_end(&b, CHAIN_REFUSED, COUNT_REFUSED, m->out == MODE_ENFORCE);
	if (b.err < 0)
		return b.err;
	*ret = rules;
	rules = (struct nft_rules){ 0 };
	return 0;
}
