/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two halves of a guard's rules share: nft_guard.c and nft_guard_flow.c. */
#ifndef NANOSEG_NETLINK_NFT_GUARD_PRIV_H
#define NANOSEG_NETLINK_NFT_GUARD_PRIV_H

#include "netlink/nft_expr.h"

#include <stdint.h>

enum nft_guard_chain {
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

extern const char *const nft_guard_chains[N_CHAINS];

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

extern const struct family nft_guard_family4, nft_guard_family6;

/* nft_guard.c: matches and verdicts of the open rule. */
void guard_match_l4(struct builder *b, uint32_t offset, const void *bytes, uint32_t len);
void guard_match_l4_u8(struct builder *b, uint32_t offset, uint8_t value);
void guard_match_proto(struct builder *b, uint8_t proto);
void guard_verdict_accept(struct builder *b);
void guard_verdict_goto(struct builder *b, unsigned chain);
void guard_rule_go(struct builder *b, unsigned from, unsigned to);
/* nft_guard_flow.c: the chains of the policy, of one family. */
void guard_rules_flow(struct builder *b, const struct family *f, const struct nft_modes *m);

#endif
