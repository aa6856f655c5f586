/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host guard: what a namespace sends, seen where it arrives on the host's side of its veth. It
 * holds what never meets the output hook inside (AF_PACKET, AF_XDP, TUN, a veth moved to a nested
 * namespace), so it believes nothing but the frame. There is no conntrack at this hook.
 *
 *   guard     base chain, ingress of the device: the source hardware address is the interface's,
 *             and the frame is plain ARP, IPv4 or IPv6 (no VLAN tag, nothing else)
 *   arp       the sender's addresses are its own, or none (a probe)
 *   ip4 ip6   the source address is its own; DHCP, ND, DAD, MLD and IGMP as a link needs them, with
 *             own addresses in their bodies, and to where neighbours can be; no router
 *             advertisement and no redirect
 *   flow4 flow6
 *             where egress is held to a policy: fragments but the first go where something may go;
 *             ICMP errors about what may have come; answers; then the ruleset's egress, denied
 *             elements first
 *   answer4 answer6
 *             what may be the answer to an allowed ingress element: same address, same port. It
 *             opens nothing: TCP needs ACK or RST, SCTP no INIT
 *   error4 error6
 *             ICMP errors: to whom something is allowed, or the refusal of a local workload
 *   spoofed refused
 *             counted; dropped where the mode enforces, else accepted
 *
 * Without an enforced ingress anything may be an answer: TCP that opens is then all that is held,
 * and datagrams are not. An answer's form is all that a raw sender gains besides its own policy.
 */
#include "netlink/nft_guard_priv.h"

#include <errno.h>
/* Before linux/netfilter.h, which brings the kernel's own <linux/in.h>. */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

/* Before every other user of the hook, a flow table's above all. */
#define GUARD_PRIORITY (-10000)

const char *const nft_guard_chains[N_CHAINS] = { "guard", "arp", "ip4", "ip6", "flow4", "flow6",
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
	.chains = nft_guard_chains,
	.counters = counter_names,
	.hooks = hooks,
	.policy = policy_guard,
	.rules = nft_rules_guard,
};

static const uint8_t errors4[] = { 3, 11, 12, 0 }, errors6[] = { 1, 2, 3, 4, 0 };
static const uint8_t echoes4[][2] = { { 0, 8 }, { 14, 13 }, { 0, 0 } };
static const uint8_t echoes6[][2] = { { 129, 128 }, { 0, 0 } };

const struct family nft_guard_family4 = { false, CHAIN_IP4, CHAIN_FLOW4, CHAIN_ANSWER4,
	CHAIN_ERROR4, IPPROTO_ICMP, 12, 16, 4, NFT_REG32_01, NFT_REG32_02, 8 + 9, 8 + 20,
	NFT_SET_OWN4, NFT_SET_LOCAL4, NFT_SET_FRAG4, errors4, echoes4, { 3, 13 } };
const struct family nft_guard_family6 = { true, CHAIN_IP6, CHAIN_FLOW6, CHAIN_ANSWER6, CHAIN_ERROR6,
	IPPROTO_ICMPV6, 8, 24, 16, NFT_REG_2, NFT_REG32_05, 8 + 6, 8 + 40, NFT_SET_OWN6,
	NFT_SET_LOCAL6, NFT_SET_FRAG6, errors6, echoes6, { 1, 1 } };

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

void
guard_match_l4(struct builder *b, uint32_t offset, const void *bytes, uint32_t len)
{
	match_bytes(b, NFT_PAYLOAD_TRANSPORT_HEADER, offset, bytes, len);
}

void
guard_match_l4_u8(struct builder *b, uint32_t offset, uint8_t value)
{
	guard_match_l4(b, offset, &value, 1);
}

void
guard_match_proto(struct builder *b, uint8_t proto)
{
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, proto);
}

void
guard_verdict_accept(struct builder *b)
{
	expr_verdict(b, NF_ACCEPT, NULL);
}

void
guard_verdict_goto(struct builder *b, unsigned chain)
{
	expr_verdict(b, NFT_GOTO, nft_guard_chains[chain]);
}

void
guard_rule_go(struct builder *b, unsigned from, unsigned to)
{
	rule_begin(b, from);
	guard_verdict_goto(b, to);
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
		guard_verdict_accept(b);
	}
	guard_rule_go(b, CHAIN_ARP, CHAIN_SPOOFED);
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
	guard_verdict_goto(b, CHAIN_SPOOFED);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		rule_begin(b, CHAIN_GUARD);
		match_link(b, 12, types[i].type, 2);
		guard_verdict_goto(b, types[i].chain);
	}
	guard_rule_go(b, CHAIN_GUARD, CHAIN_SPOOFED);
}

/* Addresses and what IPv6 needs on a link */

static void
rule_source(struct builder *b, const struct family *f)
{
	rule_begin(b, f->chain_ip);
	expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->src, f->addr_len, NFT_REG_1);
	expr_lookup(b, f->own, NFT_LOOKUP_F_INV);
	guard_verdict_goto(b, CHAIN_SPOOFED);
}

static const uint8_t igmp_types[] = { IGMP_REPORT, IGMP2_REPORT, IGMP2_LEAVE, IGMP3_REPORT };

static void
rules_igmp(struct builder *b)
{
	static const uint8_t mask[1] = { 0xf0 }, groups[1] = { 0xe0 };

	for (size_t i = 0; i < ARRAY_SIZE(igmp_types); i++) {
		rule_begin(b, CHAIN_IP4);
		guard_match_proto(b, IPPROTO_IGMP);
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 8, 1, NFT_REG_1);
		expr_cmp_u8(b, NFT_CMP_EQ, 1);
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, nft_guard_family4.dst, 1, NFT_REG_1);
		expr_mask(b, mask, sizeof(mask));
		expr_cmp(b, NFT_CMP_EQ, groups, sizeof(groups));
		guard_match_l4_u8(b, 0, igmp_types[i]);
		guard_verdict_accept(b);
	}
}

static void
rules_ip4(struct builder *b, const struct nft_modes *m)
{
	static const uint8_t none[4], dhcp_ports[4] = { 0, 68, 0, 67 };

	rule_begin(b, CHAIN_IP4);
	match_net(b, nft_guard_family4.src, none, sizeof(none));
	guard_match_proto(b, IPPROTO_UDP);
	guard_match_l4(b, 0, dhcp_ports, sizeof(dhcp_ports));
	guard_verdict_goto(b, CHAIN_FLOW4);
	rule_source(b, &nft_guard_family4);
	rules_igmp(b);
	if (m->out == MODE_OBSERVE) {
		rule_begin(b, CHAIN_IP4);
		guard_match_proto(b, IPPROTO_ICMP);
		guard_match_l4_u8(b, 0, 5); /* redirect */
		guard_verdict_goto(b, CHAIN_SPOOFED);
	}
	guard_rule_go(b, CHAIN_IP4, CHAIN_FLOW4);
}

/* A message of ND: no extension header, the hop limit of a neighbour, this length and type. */
static void
match_nd(struct builder *b, uint8_t type, uint8_t len)
{
	const uint8_t head[4] = { 0, len, IPPROTO_ICMPV6, 255 };

	match_net(b, 4, head, sizeof(head));
	guard_match_l4_u8(b, 0, type);
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
			guard_match_l4(b, n->len, option, sizeof(option));
			guard_match_l4(b, n->len + 2u, mac, NFT_MAC_LEN);
		}
		guard_verdict_accept(b);
	}
}

/*
 * A router sends them on like all else: its neighbours would ignore them, but they carry what
 * whoever wrote them likes.
 */
static void
rules_off_link(struct builder *b)
{
	static const uint8_t types[] = { ICMP6_RS, ICMP6_NS, ICMP6_NA }, none[2];

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		rule_begin(b, CHAIN_IP6);
		guard_match_proto(b, IPPROTO_ICMPV6);
		guard_match_l4_u8(b, 0, types[i]);
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, nft_guard_family6.dst, 16, NFT_REG_1);
		expr_meta(b, NFT_META_L4PROTO, nft_guard_family6.proto_reg);
		expr_constant(b, none, sizeof(none), nft_guard_family6.port_reg);
		expr_lookup(b, NFT_SET_LINK6, NFT_LOOKUP_F_INV);
		guard_verdict_goto(b, CHAIN_SPOOFED);
	}
}

static const uint8_t mld_types[] = { ICMP6_MLD_REPORT, ICMP6_MLD_DONE, ICMP6_MLD2_REPORT };

static void
rules_mld(struct builder *b, bool unspecified)
{
	static const uint8_t none[16], groups[1] = { 0xff };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mld_types); i++) {
		rule_begin(b, CHAIN_IP6);
		if (unspecified)
			match_net(b, nft_guard_family6.src, none, sizeof(none));
		guard_match_proto(b, IPPROTO_ICMPV6);
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 7, 1, NFT_REG_1);
		expr_cmp_u8(b, NFT_CMP_EQ, 1);
		match_net(b, nft_guard_family6.dst, groups, sizeof(groups));
		guard_match_l4_u8(b, 0, mld_types[i]);
		guard_verdict_accept(b);
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
		match_net(b, nft_guard_family6.src, none, sizeof(none));
		match_nd(b, ICMP6_NS, with ? 32 : 24);
		match_nd_target(b);
		if (with)
			guard_match_l4(b, 24, nonce, sizeof(nonce));
		guard_verdict_accept(b);
	}
	rule_begin(b, CHAIN_IP6);
	match_net(b, nft_guard_family6.src, none, sizeof(none));
	match_nd(b, ICMP6_RS, 8);
	guard_verdict_accept(b);
	rules_mld(b, true);
}

static void
rules_ip6(struct builder *b, const struct nft_modes *m)
{
	static const struct nd messages[] = {
		{ ICMP6_NS, 24, 1, false },
		{ ICMP6_NA, 24, 2, true },
		{ ICMP6_RS, 8, 1, false },
	};
	/* Those of the above in another form; a router's, unless a policy for egress says more. */
	static const uint8_t refused[] = { ICMP6_RS, ICMP6_NS, ICMP6_NA, ICMP6_RA, ICMP6_REDIRECT };
	size_t i, n = m->out == MODE_OBSERVE ? 5 : 3;

	rules_off_link(b);
	rules_unspecified(b);
	rule_source(b, &nft_guard_family6);
	for (i = 0; i < ARRAY_SIZE(messages); i++)
		rules_nd(b, &messages[i], m->mac);
	for (i = 0; i < n; i++) {
		rule_begin(b, CHAIN_IP6);
		guard_match_proto(b, IPPROTO_ICMPV6);
		guard_match_l4_u8(b, 0, refused[i]);
		guard_verdict_goto(b, CHAIN_SPOOFED);
	}
	rules_mld(b, false);
	guard_rule_go(b, CHAIN_IP6, CHAIN_FLOW6);
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
	guard_rules_flow(&b, &nft_guard_family4, m);
	guard_rules_flow(&b, &nft_guard_family6, m);
	rules_end(&b, CHAIN_SPOOFED, COUNT_SPOOFED, enforces(m));
	rules_end(&b, CHAIN_REFUSED, COUNT_REFUSED, m->out == MODE_ENFORCE);
	if (b.err < 0)
		return b.err;
	*ret = rules;
	rules = (struct nft_rules){ 0 };
	return 0;
}
