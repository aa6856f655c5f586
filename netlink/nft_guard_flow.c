/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guard's rules for what a namespace may send to whom: fragments, ICMP errors, answers, egress.
 * See the head of nft_guard.c.
 */
#include "netlink/nft_guard_priv.h"

#include <errno.h>
/* Before linux/netfilter.h, which brings the kernel's own <linux/in.h>. */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

static void
match_flags(struct builder *b, uint8_t mask, uint32_t op, uint8_t value)
{
	guard_match_proto(b, IPPROTO_TCP);
	match_tcp_flags(b, mask, op, value);
}

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
			guard_verdict_goto(b, CHAIN_REFUSED);
			return;
		}
		if (!any) {
			expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst, f->addr_len, NFT_REG_1);
			expr_meta(b, NFT_META_L4PROTO, f->proto_reg);
			expr_constant(b, none, 2, f->port_reg);
			expr_lookup(b, f->fragments, 0);
		}
		guard_verdict_accept(b);
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
			guard_match_l4_u8(b, 8, 0x45); /* an inner header without options */
		expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst, f->addr_len, NFT_REG_1);
		expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, f->inner_proto, 1, f->proto_reg);
		expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, f->inner_l4 + (egress ? 0 : 2), 2,
		    f->port_reg);
		expr_lookup(b, nft_set_id(egress, true, range, f->v6), 0);
		guard_verdict_accept(b);
	}
	rule_begin(b, f->chain_error);
	guard_match_l4(b, 0, f->prohibited, 2);
	expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst, f->addr_len, NFT_REG_1);
	expr_lookup(b, f->local, 0);
	guard_verdict_accept(b);
	guard_rule_go(b, f->chain_error, CHAIN_REFUSED);
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
		guard_match_l4(b, 0, answer, sizeof(answer));
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
		guard_verdict_accept(b);
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
	expr_verdict(b, NFT_JUMP, nft_guard_chains[f->chain_answer]);
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
	guard_match_proto(b, IPPROTO_UDP);
	jump_answer(b, f);
	rule_begin(b, f->chain_flow);
	guard_match_proto(b, IPPROTO_SCTP);
	expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 12, 1, NFT_REG_1);
	expr_cmp_u8(b, NFT_CMP_NEQ, 1); /* INIT */
	jump_answer(b, f);
	for (echo = f->echoes; (*echo)[1] != 0; echo++) {
		rule_begin(b, f->chain_flow);
		guard_match_proto(b, f->icmp);
		guard_match_l4_u8(b, 0, (*echo)[0]);
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
			guard_verdict_accept(b);
		else
			guard_verdict_goto(b, CHAIN_REFUSED);
	}
}

void
guard_rules_flow(struct builder *b, const struct family *f, const struct nft_modes *m)
{
	bool any = m->in != MODE_ENFORCE;
	const uint8_t *type;

	if (m->out == MODE_OBSERVE) {
		rule_begin(b, f->chain_flow);
		guard_verdict_accept(b);
		return;
	}
	rules_fragments(b, f, any);
	for (type = f->errors; *type != 0; type++) {
		rule_begin(b, f->chain_flow);
		guard_match_proto(b, f->icmp);
		guard_match_l4_u8(b, 0, *type);
		if (any)
			guard_verdict_accept(b);
		else
			guard_verdict_goto(b, f->chain_error);
	}
	rules_to_answer(b, f);
	/* The refusal of a local workload's call. */
	rule_begin(b, f->chain_flow);
	match_flags(b, 0x07 /* RST, SYN, FIN */, NFT_CMP_EQ, 0x04);
	expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst, f->addr_len, NFT_REG_1);
	expr_lookup(b, f->local, 0);
	guard_verdict_accept(b);
	rules_egress(b, f);
	guard_rule_go(b, f->chain_flow, CHAIN_REFUSED);
	rules_error(b, f);
	rules_answer(b, f, any);
}
