/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nft_expr.h. */
#include "netlink/nft_expr.h"

#include "netlink/nflog.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>

void
nft_rules_done(struct nft_rules *r)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		nftnl_rule_free(r->v[i]);
	free(r->v);
	*r = (struct nft_rules){ 0 };
}

void
rule_begin(struct builder *b, unsigned chain)
{
	struct nft_rules *l = b->rules;
	struct nftnl_rule **grown;

	b->rule = NULL;
	if (b->err < 0)
		return;
	if (l->n == l->cap) {
		grown = realloc(l->v, (l->cap + 64) * sizeof(*grown));
		if (grown == NULL) {
			b->err = -ENOMEM;
			return;
		}
		l->v = grown;
		l->cap += 64;
	}
	b->rule = nftnl_rule_alloc();
	if (b->rule == NULL) {
		b->err = -ENOMEM;
		return;
	}
	l->v[l->n++] = b->rule;
	nftnl_rule_set_u32(b->rule, NFTNL_RULE_FAMILY, b->target->kind->family);
	if (nftnl_rule_set_str(b->rule, NFTNL_RULE_TABLE, b->target->name) < 0 ||
	    nftnl_rule_set_str(b->rule, NFTNL_RULE_CHAIN, b->target->kind->chains[chain]) < 0)
		b->err = -ENOMEM;
}

/* A new expression at the end of the open rule; NULL after a failure. */
struct nftnl_expr *
expr_add(struct builder *b, const char *name)
{
	struct nftnl_expr *e;

	if (b->err < 0)
		return NULL;
	e = nftnl_expr_alloc(name);
	if (e == NULL) {
		b->err = -ENOMEM;
		return NULL;
	}
	nftnl_rule_add_expr(b->rule, e);
	return e;
}

void
expr_meta(struct builder *b, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *e = expr_add(b, "meta");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg);
}

void
expr_payload(struct builder *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg)
{
	struct nftnl_expr *e = expr_add(b, "payload");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, len);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg);
}

void
expr_cmp(struct builder *b, uint32_t op, const void *data, uint32_t len)
{
	struct nftnl_expr *e = expr_add(b, "cmp");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
	if (nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, len) < 0)
		b->err = -ENOMEM;
}

void
expr_cmp_u8(struct builder *b, uint32_t op, uint8_t value)
{
	expr_cmp(b, op, &value, sizeof(value));
}

/* reg 1 &= mask */
void
expr_mask(struct builder *b, const void *mask, uint32_t len)
{
	static const uint8_t zero[16];
	struct nftnl_expr *e = expr_add(b, "bitwise");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, len);
	if (nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask, len) < 0 ||
	    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zero, len) < 0)
		b->err = -ENOMEM;
}

void
expr_lookup(struct builder *b, unsigned set, uint32_t flags)
{
	struct nftnl_expr *e = expr_add(b, "lookup");
	char name[NFT_SET_NAME_MAX];

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	/* The kernel always tells them, and the two texts must be one. */
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, flags);
	nft_target_set(b->target, set, name);
	if (nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, name) < 0)
		b->err = -ENOMEM;
}

void
expr_verdict(struct builder *b, int verdict, const char *chain)
{
	struct nftnl_expr *e = expr_add(b, "immediate");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	if (chain != NULL && nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain) < 0)
		b->err = -ENOMEM;
}

void
expr_limit(struct builder *b, uint32_t rate)
{
	struct nftnl_expr *e = expr_add(b, "limit");

	if (e == NULL)
		return;
	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_RATE, rate);
	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_UNIT, 1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_BURST, rate);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_FLAGS, 0);
}

static void
add_log(struct builder *b, char what, char where, uint32_t bytes, uint16_t together)
{
	const char prefix[3] = { what, where, '\0' };
	struct nftnl_expr *e = expr_add(b, "log");

	if (e == NULL)
		return;
	nftnl_expr_set_u16(e, NFTNL_EXPR_LOG_GROUP, b->target->group);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOG_SNAPLEN, bytes);
	if (together != 0)
		nftnl_expr_set_u16(e, NFTNL_EXPR_LOG_QTHRESHOLD, together);
	if (nftnl_expr_set_str(e, NFTNL_EXPR_LOG_PREFIX, prefix) < 0)
		b->err = -ENOMEM;
}

void
expr_log(struct builder *b, char what, char where)
{
	add_log(b, what, where, NFLOG_REPORT_BYTES, 0);
}

void
expr_log_whole(struct builder *b, char what, char where)
{
	add_log(b, what, where, NFLOG_WHOLE_BYTES, 1);
}

void
expr_count(struct builder *b, unsigned counter)
{
	struct nftnl_expr *e = expr_add(b, "objref");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	if (nftnl_expr_set_str(e, NFTNL_EXPR_OBJREF_IMM_NAME, b->target->kind->counters[counter]) <
	    0)
		b->err = -ENOMEM;
}

void
match_tcp_flags(struct builder *b, uint8_t mask, uint32_t op, uint8_t value)
{
	expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, NFT_REG_1);
	expr_mask(b, &mask, sizeof(mask));
	expr_cmp_u8(b, op, value);
}

void
match_meta_u8(struct builder *b, uint32_t key, uint32_t op, uint8_t value)
{
	expr_meta(b, key, NFT_REG_1);
	expr_cmp_u8(b, op, value);
}

void
expr_constant(struct builder *b, const void *data, uint32_t len, uint32_t reg)
{
	struct nftnl_expr *e = expr_add(b, "immediate");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg);
	if (nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, data, len) < 0)
		b->err = -ENOMEM;
}

static struct nftnl_expr *
add_ct(struct builder *b, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *e = expr_add(b, "ct");

	if (e == NULL)
		return NULL;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg);
	return e;
}

void
expr_ct(struct builder *b, uint32_t key, uint32_t reg)
{
	add_ct(b, key, reg);
}

void
expr_ct_of(struct builder *b, uint32_t key, uint8_t dir, uint32_t reg)
{
	struct nftnl_expr *e = add_ct(b, key, reg);

	if (e != NULL)
		nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, dir);
}

/* lo is interface 1 in every namespace, always. */
void
match_loopback(struct builder *b, bool egress, uint32_t op)
{
	const uint32_t lo = 1;

	expr_meta(b, egress ? NFT_META_OIF : NFT_META_IIF, NFT_REG_1);
	expr_cmp(b, op, &lo, sizeof(lo));
}

void
match_ct_state(struct builder *b, uint32_t bits)
{
	const uint32_t none = 0;

	expr_ct(b, NFT_CT_STATE, NFT_REG_1);
	expr_mask(b, &bits, sizeof(bits));
	expr_cmp(b, NFT_CMP_NEQ, &none, sizeof(none));
}

void
expr_ct_set(struct builder *b, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *e = expr_add(b, "ct");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_SREG, reg);
}

void
expr_event_set(struct builder *b, uint32_t events)
{
	expr_constant(b, &events, sizeof(events), NFT_REG_1);
	expr_ct_set(b, NFT_CT_EVENTMASK, NFT_REG_1);
}

void
expr_event_mark(struct builder *b, uint32_t events)
{
	match_ct_state(b, NF_CT_STATE_BIT(IP_CT_NEW));
	expr_event_set(b, events);
}
