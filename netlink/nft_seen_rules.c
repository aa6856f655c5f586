/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules of the table that counts. What each chain does stands at the head of nft_seen.c. */
#include "netlink/nft_seen_priv.h"

#include <errno.h>
/* Before linux/netfilter.h, which brings the kernel's own <linux/in.h>. */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>

#define TCP_SYN_ACK 0x12
#define SCTP_HEARTBEAT_ACK 5
#define SCTP_COOKIE_ACK 11

/* Bits of the connection's label, in the kernel's own words. */
#define LABEL_WORDS 4
#define LABEL_HANDSHAKE 0x40000000u /* a SYN was answered by a SYN and ACK */
#define LABEL_COUNTED 0x80000000u

static void
match_packets(struct builder *b, uint8_t dir, uint32_t op, uint64_t n)
{
	expr_ct_of(b, NFT_CT_PKTS, dir, NFT_REG_1);
	expr_cmp(b, op, &n, sizeof(n));
}

static void
match_status(struct builder *b, uint32_t bit, uint32_t op)
{
	const uint32_t none = 0;

	expr_ct(b, NFT_CT_STATUS, NFT_REG_1);
	expr_mask(b, &bit, sizeof(bit));
	expr_cmp(b, op, &none, sizeof(none));
}

/* Of these bits, are just those set? */
static void
match_labels(struct builder *b, uint32_t bits, uint32_t set)
{
	const uint32_t mask[LABEL_WORDS] = { 0, 0, 0, bits }, value[LABEL_WORDS] = { 0, 0, 0, set };

	expr_ct(b, NFT_CT_LABELS, NFT_REG_1);
	expr_mask(b, mask, sizeof(mask));
	expr_cmp(b, NFT_CMP_EQ, value, sizeof(value));
}

static void
match_counted(struct builder *b)
{
	match_labels(b, LABEL_COUNTED, LABEL_COUNTED);
}

/* The other bits stay what they are. */
static void
expr_label(struct builder *b, uint32_t bit)
{
	const uint32_t label[LABEL_WORDS] = { 0, 0, 0, bit };

	expr_constant(b, label, sizeof(label), NFT_REG_1);
	expr_ct_set(b, NFT_CT_LABELS, NFT_REG_1);
}

static void
match_reply(struct builder *b)
{
	expr_ct(b, NFT_CT_DIRECTION, NFT_REG_1);
	expr_cmp_u8(b, NFT_CMP_EQ, IP_CT_DIR_REPLY);
}

/* What a key's fifth field is. */
enum sport {
	SPORT_NONE, /* there is none: bytes */
	SPORT_ZERO,
	SPORT_CLIENT,
};

/*
 * The client, and the server that the rules see: behind the namespace's own translation, so the one
 * that answers. ICMP has its type and code where others have the port asked for.
 */
static void
load_key(struct builder *b, bool v6, bool icmp, enum sport sport)
{
	const uint32_t src = v6 ? NFT_CT_SRC_IP6 : NFT_CT_SRC_IP;
	const uint32_t dst = v6 ? NFT_CT_DST_IP6 : NFT_CT_DST_IP;
	const uint32_t zero = 0, after = v6 ? NFT_REG32_08 : NFT_REG32_02;

	expr_ct_of(b, src, IP_CT_DIR_ORIGINAL, NFT_REG_1);
	if (icmp)
		expr_ct_of(b, dst, IP_CT_DIR_ORIGINAL, v6 ? NFT_REG_2 : NFT_REG32_01);
	else
		expr_ct_of(b, src, IP_CT_DIR_REPLY, v6 ? NFT_REG_2 : NFT_REG32_01);
	expr_meta(b, NFT_META_L4PROTO, after);
	if (icmp)
		expr_ct_of(b, NFT_CT_PROTO_DST, IP_CT_DIR_ORIGINAL, after + 1);
	else
		expr_ct_of(b, NFT_CT_PROTO_SRC, IP_CT_DIR_REPLY, after + 1);
	if (sport == SPORT_ZERO)
		expr_constant(b, &zero, sizeof(zero), after + 2);
	else if (sport == SPORT_CLIENT)
		expr_ct_of(b, NFT_CT_PROTO_SRC, IP_CT_DIR_ORIGINAL, after + 2);
}

/* Counts in the set; where it is full, the rule ends here. */
static void
expr_count_in(struct builder *b, enum nft_seen_set set, unsigned side)
{
	struct nftnl_expr *e = expr_add(b, "dynset");
	char name[SEEN_NAME_MAX];

	if (e == NULL)
		return;
	seen_set_name(set, side, name);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, NFT_REG_1);
	if (nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, name) < 0)
		b->err = -ENOMEM;
}

static void
match_proto(struct builder *b, bool v6, uint32_t op, uint8_t proto)
{
	match_meta_u8(b, NFT_META_NFPROTO, NFT_CMP_EQ, (uint8_t)(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4));
	match_meta_u8(b, NFT_META_L4PROTO, op, proto);
}

static void
expr_goto(struct builder *b, unsigned chain)
{
	expr_verdict(b, NFT_GOTO, b->target->kind->chains[chain]);
}

/* Counts a connection, and the packet's bytes: their key is the same but for the last field. */
static void
rule_conn_end(struct builder *b, bool v6, bool icmp, enum sport sport, unsigned side)
{
	load_key(b, v6, icmp, sport);
	expr_count_in(b, v6 ? NFT_SEEN_CONN6 : NFT_SEEN_CONN4, side);
	expr_count_in(b, v6 ? NFT_SEEN_BYTE6 : NFT_SEEN_BYTE4, side);
	expr_verdict(b, NFT_RETURN, NULL);
}

/* There was no room for it. */
static void
rule_missed_end(struct builder *b)
{
	expr_count(b, 0);
	expr_goto(b, SEEN_BYTES);
}

/*
 * Of a handshake no bytes before its end: what is half open must not take the room. The label that
 * the rule sets is looked at, for a connection without room for one would be counted at each
 * packet.
 */
static void
rules_tcp(struct builder *b, unsigned side)
{
	const uint32_t both = LABEL_COUNTED | LABEL_HANDSHAKE;

	rule_begin(b, SEEN_TCP);
	match_tcp_flags(b, TCP_SYN_ACK, NFT_CMP_EQ, TCP_SYN_ACK);
	match_reply(b);
	expr_label(b, LABEL_HANDSHAKE);
	rule_begin(b, SEEN_TCP);
	match_status(b, IPS_ASSURED, NFT_CMP_EQ);
	expr_verdict(b, NFT_RETURN, NULL);
	rule_begin(b, SEEN_TCP);
	match_packets(b, IP_CT_DIR_ORIGINAL, NFT_CMP_NEQ, 0);
	expr_label(b, LABEL_COUNTED);
	for (unsigned middle = 0; middle < 2; middle++) {
		for (unsigned v6 = 0; v6 < 2; v6++) {
			rule_begin(b, SEEN_TCP);
			match_labels(b, both, middle ? LABEL_COUNTED : both);
			rule_conn_end(b, v6, false, middle ? SPORT_CLIENT : SPORT_ZERO, side);
		}
	}
	rule_begin(b, SEEN_TCP);
	match_counted(b);
	rule_missed_end(b);
	rule_begin(b, SEEN_TCP);
	expr_goto(b, SEEN_BYTES);
}

static void
match_taken(struct builder *b, uint8_t chunk)
{
	expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 12, 1, NFT_REG_1);
	expr_cmp_u8(b, NFT_CMP_EQ, chunk);
	match_reply(b);
	match_packets(b, IP_CT_DIR_REPLY, NFT_CMP_NEQ, 0);
	expr_label(b, LABEL_COUNTED);
	match_counted(b);
}

static void
rules_sctp(struct builder *b, unsigned side)
{
	static const uint8_t acks[] = { SCTP_COOKIE_ACK, SCTP_HEARTBEAT_ACK };

	for (size_t i = 0; i < ARRAY_SIZE(acks); i++) {
		for (unsigned v6 = 0; v6 < 2; v6++) {
			rule_begin(b, SEEN_SCTP);
			match_taken(b, acks[i]);
			rule_conn_end(b, v6, false, i > 0 ? SPORT_CLIENT : SPORT_ZERO, side);
		}
		rule_begin(b, SEEN_SCTP);
		match_taken(b, acks[i]);
		rule_missed_end(b);
	}
}

/* What needs no handshake: with its first answer. ICMP has other keys, so it has no label. */
static void
rules_first(struct builder *b, unsigned side)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		const uint8_t icmp = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

		rule_begin(b, SEEN_FIRST);
		match_proto(b, v6, NFT_CMP_EQ, icmp);
		rule_conn_end(b, v6, true, SPORT_ZERO, side);
		rule_begin(b, SEEN_FIRST);
		match_proto(b, v6, NFT_CMP_NEQ, icmp);
		expr_label(b, LABEL_COUNTED);
		rule_conn_end(b, v6, false, SPORT_ZERO, side);
	}
	rule_begin(b, SEEN_FIRST);
	expr_count(b, 0);
}

static void
rule_bytes_end(struct builder *b, bool v6, bool icmp, unsigned side)
{
	load_key(b, v6, icmp, SPORT_NONE);
	expr_count_in(b, v6 ? NFT_SEEN_BYTE6 : NFT_SEEN_BYTE4, side);
	expr_verdict(b, NFT_RETURN, NULL);
}

/* Most packets come to the first: nothing is asked, the key is of one family and ends the other's
 * rule. */
static void
rules_bytes(struct builder *b, bool v6, unsigned side)
{
	rule_begin(b, SEEN_BYTES);
	rule_bytes_end(b, v6, false, side);
	rule_begin(b, SEEN_EACH);
	match_proto(b, v6, NFT_CMP_EQ, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	match_status(b, IPS_SEEN_REPLY, NFT_CMP_NEQ);
	rule_bytes_end(b, v6, true, side);
}

void
seen_rules_of(struct builder *b, unsigned side)
{
	rule_begin(b, SEEN_EACH);
	match_ct_state(b, NF_CT_STATE_BIT(IP_CT_NEW));
	match_packets(b, IP_CT_DIR_ORIGINAL, NFT_CMP_NEQ, 0);
	expr_event_set(b, CT_EVENT_DESTROY);
	expr_verdict(b, NFT_RETURN, NULL);
	rule_begin(b, SEEN_EACH);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, IPPROTO_TCP);
	expr_goto(b, SEEN_TCP);
	rule_begin(b, SEEN_EACH);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, IPPROTO_SCTP);
	expr_goto(b, SEEN_SCTP);
	rule_begin(b, SEEN_EACH);
	match_reply(b);
	match_packets(b, IP_CT_DIR_REPLY, NFT_CMP_EQ, 1);
	match_ct_state(b, NF_CT_STATE_BIT(IP_CT_ESTABLISHED));
	match_status(b, IPS_DYING, NFT_CMP_EQ);
	expr_goto(b, SEEN_FIRST);
	rule_begin(b, SEEN_EACH);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_NEQ, IPPROTO_ICMP);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_NEQ, IPPROTO_ICMPV6);
	match_status(b, IPS_SEEN_REPLY, NFT_CMP_NEQ);
	expr_goto(b, SEEN_BYTES);
	rules_tcp(b, side);
	rules_sctp(b, side);
	rules_first(b, side);
	for (unsigned v6 = 0; v6 < 2; v6++)
		rules_bytes(b, v6, side);
}

void
seen_rules_hooked(struct builder *b)
{
	for (unsigned c = SEEN_INPUT; c <= SEEN_OUTPUT; c++) {
		rule_begin(b, c);
		match_counted(b);
		expr_goto(b, SEEN_BYTES);
		rule_begin(b, c);
		match_loopback(b, c == SEEN_OUTPUT, NFT_CMP_NEQ);
		expr_verdict(b, NFT_JUMP, b->target->kind->chains[SEEN_EACH]);
	}
}
