/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules in the making: an expression is added to the rule that was begun last. The first failure
 * sticks in the builder, and nothing is added after it.
 */
#ifndef NANOSEG_NETLINK_NFT_EXPR_H
#define NANOSEG_NETLINK_NFT_EXPR_H

#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <libnftnl/expr.h>

/* 1 << IPCT_*; the kernel keeps the enumeration to itself (nf_conntrack_common.h, kernel). */
#define CT_EVENT_DESTROY (1u << 2)
#define CT_EVENT_REPLY (1u << 3)
#define CT_EVENT_ASSURED (1u << 4)
#define CT_EVENT_PROTOINFO (1u << 5)

/* Types of ICMPv6 (RFC 2710, 3810, 4861) and IGMP (RFC 3376, 9776) that a link's neighbours need.
 */
enum {
	ICMP6_MLD_QUERY = 130,
	ICMP6_MLD_REPORT = 131,
	ICMP6_MLD_DONE = 132,
	ICMP6_RS = 133,
	ICMP6_RA = 134,
	ICMP6_NS = 135,
	ICMP6_NA = 136,
	ICMP6_REDIRECT = 137,
	ICMP6_MLD2_REPORT = 143,
	IGMP_QUERY = 0x11,
	IGMP_REPORT = 0x12,
	IGMP2_REPORT = 0x16,
	IGMP2_LEAVE = 0x17,
	IGMP3_REPORT = 0x22,
};

struct builder {
	const struct nft_target *target;
	struct nft_rules *rules;
	struct nftnl_rule *rule; /* open, the last of rules */
	int err;
};

void rule_begin(struct builder *b, unsigned chain);
/* A new expression at the end of the open rule; NULL after a failure. */
struct nftnl_expr *expr_add(struct builder *b, const char *name);

void expr_meta(struct builder *b, uint32_t key, uint32_t reg);
void expr_payload(struct builder *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg);
/* Of register 1. */
void expr_cmp(struct builder *b, uint32_t op, const void *data, uint32_t len);
void expr_cmp_u8(struct builder *b, uint32_t op, uint8_t value);
void expr_mask(struct builder *b, const void *mask, uint32_t len);
/* flags: 0, or NFT_LOOKUP_F_INV: not in the set. */
void expr_lookup(struct builder *b, unsigned set, uint32_t flags);
/* chain: where a jump or goto goes, else NULL. */
void expr_verdict(struct builder *b, int verdict, const char *chain);
void expr_limit(struct builder *b, uint32_t rate);
/* A report, of the packet's first bytes. */
void expr_log(struct builder *b, char what, char where);
/* The same of as much as there is, and at once. */
void expr_log_whole(struct builder *b, char what, char where);
void expr_count(struct builder *b, unsigned counter);
/* A constant into a register. */
void expr_constant(struct builder *b, const void *data, uint32_t len, uint32_t reg);
/* What conntrack has of it into a register; with a direction (IP_CT_DIR_*), of that one. */
void expr_ct(struct builder *b, uint32_t key, uint32_t reg);
void expr_ct_of(struct builder *b, uint32_t key, uint8_t dir, uint32_t reg);
/* What a register holds into conntrack. */
void expr_ct_set(struct builder *b, uint32_t key, uint32_t reg);
/* Is it (EQ), or not (NEQ), what came over the loopback, or (egress) goes there? */
void match_loopback(struct builder *b, bool egress, uint32_t op);
/* Any of the bits, 1 << enum ip_conntrack_info. */
void match_ct_state(struct builder *b, uint32_t bits);
/* Of a new connection, only these events are wanted (without a mask, all are sent). */
void expr_event_mark(struct builder *b, uint32_t events);
/* The same of what is known to be new. */
void expr_event_set(struct builder *b, uint32_t events);
/* Of a packet that is known to be TCP. */
void match_tcp_flags(struct builder *b, uint8_t mask, uint32_t op, uint8_t value);
void match_meta_u8(struct builder *b, uint32_t key, uint32_t op, uint8_t value);

#endif
