/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules and their expressions, from the attributes of the kernel's header. */
#include "tests/diff/nftsim-parse.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <string.h>

#define ATTRS 32

/* Everything about one expression: what is known of its attributes goes from here to a sim_expr. */
struct source {
	struct sim_table *table;
	const struct nlattr *a[ATTRS];
};

#define ONLY(src, max, ...)                                                                    \
	sim_only((src)->table, (src)->a, max, "expression", (const unsigned[]){ __VA_ARGS__ }, \
	    sizeof((const unsigned[]){ __VA_ARGS__ }) / sizeof(unsigned))

/* The word of the register file; room for len bytes from there on. */
static int
read_reg(struct source *s, unsigned attr, uint32_t len, uint8_t *ret)
{
	uint32_t reg = sim_u32(s->a[attr]), word;

	if (reg >= NFT_REG_1 && reg <= NFT_REG_4)
		word = reg * 4;
	else if (reg >= NFT_REG32_00 && reg <= NFT_REG32_15)
		word = 4 + reg - NFT_REG32_00;
	else
		return sim_fault(s->table, -EINVAL, "register %u", reg);
	if (len == 0 || word * 4 + len > 80)
		return sim_fault(s->table, -EINVAL, "%u bytes in register %u", len, reg);
	*ret = (uint8_t)word;
	return 0;
}

static int
read_meta(struct source *s, struct sim_expr *x)
{
	x->op = SIM_META;
	x->arg = sim_u32(s->a[NFTA_META_KEY]);
	if (x->arg != NFT_META_NFPROTO && x->arg != NFT_META_L4PROTO && x->arg != NFT_META_IIF &&
	    x->arg != NFT_META_OIF)
		return sim_fault(s->table, -EOPNOTSUPP, "meta key %u", x->arg);
	if (ONLY(s, NFTA_META_MAX, NFTA_META_KEY, NFTA_META_DREG) < 0)
		return -EOPNOTSUPP;
	return read_reg(s, NFTA_META_DREG, 4, &x->reg);
}

static int
read_payload(struct source *s, struct sim_expr *x)
{
	x->op = SIM_PAYLOAD;
	x->base = (uint8_t)sim_u32(s->a[NFTA_PAYLOAD_BASE]);
	x->offset = sim_u32(s->a[NFTA_PAYLOAD_OFFSET]);
	x->len = sim_u32(s->a[NFTA_PAYLOAD_LEN]);
	if (x->base != NFT_PAYLOAD_NETWORK_HEADER && x->base != NFT_PAYLOAD_TRANSPORT_HEADER)
		return sim_fault(s->table, -EOPNOTSUPP, "payload base %u", x->base);
	if (x->len > 16 || x->offset > 64)
		return sim_fault(s->table, -EINVAL, "payload of %u bytes", x->len);
	if (ONLY(s, NFTA_PAYLOAD_MAX, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_OFFSET, NFTA_PAYLOAD_LEN,
		NFTA_PAYLOAD_DREG) < 0)
		return -EOPNOTSUPP;
	return read_reg(s, NFTA_PAYLOAD_DREG, x->len, &x->reg);
}

static int
read_ct(struct source *s, struct sim_expr *x)
{
	const uint32_t key = sim_u32(s->a[NFTA_CT_KEY]);
	const struct nlattr *dir = s->a[NFTA_CT_DIRECTION];

	if (key == NFT_CT_PROTO_DST && dir != NULL && s->a[NFTA_CT_SREG] == NULL &&
	    mnl_attr_get_u8(dir) == IP_CT_DIR_ORIGINAL) {
		x->op = SIM_CT_DPORT;
		return read_reg(s, NFTA_CT_DREG, 2, &x->reg);
	}
	if (ONLY(s, NFTA_CT_MAX, NFTA_CT_KEY, NFTA_CT_DREG, NFTA_CT_SREG) < 0)
		return -EOPNOTSUPP;
	if (key == NFT_CT_STATE && s->a[NFTA_CT_SREG] == NULL) {
		x->op = SIM_CT_STATE;
		return read_reg(s, NFTA_CT_DREG, 4, &x->reg);
	}
	if (key == NFT_CT_DIRECTION && s->a[NFTA_CT_SREG] == NULL) {
		x->op = SIM_CT_DIRECTION;
		return read_reg(s, NFTA_CT_DREG, 1, &x->reg);
	}
	if (key == NFT_CT_MARK && s->a[NFTA_CT_SREG] == NULL) {
		x->op = SIM_CT_MARK;
		return read_reg(s, NFTA_CT_DREG, 4, &x->reg);
	}
	if (key == NFT_CT_EVENTMASK && s->a[NFTA_CT_DREG] == NULL) {
		x->op = SIM_CT_EVENTMASK;
		return read_reg(s, NFTA_CT_SREG, 4, &x->reg);
	}
	return sim_fault(s->table, -EOPNOTSUPP, "ct key %u", key);
}

static int
read_bitwise(struct source *s, struct sim_expr *x)
{
	uint32_t mask = 0, xor = 0;
	uint8_t sreg = 0;
	int r;

	x->op = SIM_BITWISE;
	x->len = sim_u32(s->a[NFTA_BITWISE_LEN]);
	if (ONLY(s, NFTA_BITWISE_MAX, NFTA_BITWISE_SREG, NFTA_BITWISE_DREG, NFTA_BITWISE_LEN,
		NFTA_BITWISE_MASK, NFTA_BITWISE_XOR, NFTA_BITWISE_OP) < 0)
		return -EOPNOTSUPP;
	if (s->a[NFTA_BITWISE_OP] != NULL && sim_u32(s->a[NFTA_BITWISE_OP]) != 0)
		return sim_fault(s->table, -EOPNOTSUPP, "bitwise operation");
	r = sim_value(s->table, s->a[NFTA_BITWISE_MASK], 16, x->data[0], &mask);
	if (r == 0)
		r = sim_value(s->table, s->a[NFTA_BITWISE_XOR], 16, x->data[1], &xor);
	if (r == 0)
		r = read_reg(s, NFTA_BITWISE_SREG, x->len, &sreg);
	if (r == 0)
		r = read_reg(s, NFTA_BITWISE_DREG, x->len, &x->reg);
	if (r < 0)
		return r;
	return mask != x->len || xor != x->len || sreg != x->reg
		   ? sim_fault(s->table, -EOPNOTSUPP, "bitwise")
		   : 0;
}

static int
read_cmp(struct source *s, struct sim_expr *x)
{
	int r;

	x->op = SIM_CMP;
	x->arg = sim_u32(s->a[NFTA_CMP_OP]);
	if (x->arg != NFT_CMP_EQ && x->arg != NFT_CMP_NEQ)
		return sim_fault(s->table, -EOPNOTSUPP, "comparison %u", x->arg);
	if (ONLY(s, NFTA_CMP_MAX, NFTA_CMP_SREG, NFTA_CMP_OP, NFTA_CMP_DATA) < 0)
		return -EOPNOTSUPP;
	r = sim_value(s->table, s->a[NFTA_CMP_DATA], 16, x->data[0], &x->len);
	return r < 0 ? r : read_reg(s, NFTA_CMP_SREG, x->len, &x->reg);
}

static int
read_lookup(struct source *s, struct sim_expr *x)
{
	uint32_t flags = s->a[NFTA_LOOKUP_FLAGS] == NULL ? 0 : sim_u32(s->a[NFTA_LOOKUP_FLAGS]);

	x->op = SIM_LOOKUP;
	x->index = sim_find_set(s->table, sim_str(s->a[NFTA_LOOKUP_SET]));
	if (x->index < 0)
		return sim_fault(s->table, -ENOENT, "set of a lookup");
	if ((flags & ~(uint32_t)NFT_LOOKUP_F_INV) != 0 ||
	    ONLY(s, NFTA_LOOKUP_MAX, NFTA_LOOKUP_SET, NFTA_LOOKUP_SREG, NFTA_LOOKUP_FLAGS,
		NFTA_LOOKUP_SET_ID) < 0)
		return sim_fault(s->table, -EOPNOTSUPP, "lookup");
	x->invert = flags != 0;
	return read_reg(s, NFTA_LOOKUP_SREG, s->table->sets[x->index].key_len, &x->reg);
}

static int
read_verdict(struct source *s, const struct nlattr *nest, struct sim_expr *x)
{
	const struct nlattr *v[NFTA_VERDICT_MAX + 1];
	int r = sim_nested(s->table, nest, "verdict", NFTA_VERDICT_MAX, v);

	if (r < 0)
		return r;
	x->op = SIM_VERDICT;
	x->arg = sim_u32(v[NFTA_VERDICT_CODE]);
	switch ((int)x->arg) {
	case NF_ACCEPT:
	case NF_DROP:
		return v[NFTA_VERDICT_CHAIN] == NULL ? 0 : -EINVAL;
	case NFT_JUMP:
	case NFT_GOTO:
		x->index = sim_find_chain(s->table, sim_str(v[NFTA_VERDICT_CHAIN]));
		/* The kernel refuses a way into a base chain. */
		return x->index < 0 || s->table->chains[x->index].base
			   ? sim_fault(s->table, -ENOENT, "chain of a jump")
			   : 0;
	default:
		return sim_fault(s->table, -EOPNOTSUPP, "verdict %d", (int)x->arg);
	}
}

static int
read_immediate(struct source *s, struct sim_expr *x)
{
	const struct nlattr *d[NFTA_DATA_MAX + 1];
	int r;

	r = sim_nested(s->table, s->a[NFTA_IMMEDIATE_DATA], "immediate", NFTA_DATA_MAX, d);
	if (r < 0)
		return r;
	if (sim_u32(s->a[NFTA_IMMEDIATE_DREG]) == NFT_REG_VERDICT)
		return read_verdict(s, d[NFTA_DATA_VERDICT], x);
	x->op = SIM_IMMEDIATE;
	r = sim_value(s->table, s->a[NFTA_IMMEDIATE_DATA], 16, x->data[0], &x->len);
	return r < 0 ? r : read_reg(s, NFTA_IMMEDIATE_DREG, x->len, &x->reg);
}

static int
read_limit(struct source *s, struct sim_expr *x)
{
	x->op = SIM_LIMIT;
	if (s->a[NFTA_LIMIT_FLAGS] != NULL && sim_u32(s->a[NFTA_LIMIT_FLAGS]) != 0)
		return sim_fault(s->table, -EOPNOTSUPP, "limit");
	return 0;
}

static int
read_log(struct source *s, struct sim_expr *x)
{
	const char *prefix = sim_str(s->a[NFTA_LOG_PREFIX]);

	x->op = SIM_LOG;
	x->len = (uint32_t)strlen(prefix);
	if (ONLY(s, NFTA_LOG_MAX, NFTA_LOG_GROUP, NFTA_LOG_PREFIX, NFTA_LOG_SNAPLEN,
		NFTA_LOG_QTHRESHOLD) < 0 ||
	    x->len > 15)
		return sim_fault(s->table, -EOPNOTSUPP, "log");
	memcpy(x->data[0], prefix, x->len);
	return 0;
}

static int
read_objref(struct source *s, struct sim_expr *x)
{
	x->op = SIM_COUNT;
	x->index = sim_find_counter(s->table, sim_str(s->a[NFTA_OBJREF_IMM_NAME]));
	if (x->index < 0 || sim_u32(s->a[NFTA_OBJREF_IMM_TYPE]) != NFT_OBJECT_COUNTER)
		return sim_fault(s->table, -ENOENT, "counter");
	return 0;
}

static int
read_reject(struct source *s, struct sim_expr *x)
{
	const struct nlattr *code = s->a[NFTA_REJECT_ICMP_CODE];

	x->op = SIM_REJECT;
	x->arg = sim_u32(s->a[NFTA_REJECT_TYPE]);
	x->code = code == NULL ? 0 : mnl_attr_get_u8(code);
	if (x->arg == NFT_REJECT_TCP_RST)
		return 0;
	return x->arg != NFT_REJECT_ICMPX_UNREACH || x->code != NFT_REJECT_ICMPX_ADMIN_PROHIBITED
		   ? sim_fault(s->table, -EOPNOTSUPP, "reject")
		   : 0;
}

static const struct {
	const char *name;
	unsigned max;
	int (*read)(struct source *s, struct sim_expr *x);
} readers[] = {
	{ "meta", NFTA_META_MAX, read_meta },
	{ "payload", NFTA_PAYLOAD_MAX, read_payload },
	{ "ct", NFTA_CT_MAX, read_ct },
	{ "bitwise", NFTA_BITWISE_MAX, read_bitwise },
	{ "cmp", NFTA_CMP_MAX, read_cmp },
	{ "lookup", NFTA_LOOKUP_MAX, read_lookup },
	{ "immediate", NFTA_IMMEDIATE_MAX, read_immediate },
	{ "limit", NFTA_LIMIT_MAX, read_limit },
	{ "log", NFTA_LOG_MAX, read_log },
	{ "objref", NFTA_OBJREF_MAX, read_objref },
	{ "reject", NFTA_REJECT_MAX, read_reject },
};

static int
read_expr(struct sim_table *t, const struct nlattr *nest, struct sim_expr *ret)
{
	const struct nlattr *e[NFTA_EXPR_MAX + 1];
	struct source s = { .table = t };
	struct sim_expr x = { 0 };
	const char *name;
	int r = sim_nested(t, nest, "expression", NFTA_EXPR_MAX, e);

	if (r < 0)
		return r;
	name = sim_str(e[NFTA_EXPR_NAME]);
	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
		if (strcmp(readers[i].name, name) != 0)
			continue;
		if (readers[i].max >= ATTRS)
			return -EOPNOTSUPP;
		r = sim_nested(t, e[NFTA_EXPR_DATA], name, readers[i].max, s.a);
		if (r == 0)
			r = readers[i].read(&s, &x);
		*ret = x;
		return r;
	}
	return sim_fault(t, -EOPNOTSUPP, "expression %s", name);
}

int
sim_new_rule(struct sim_table *t, const struct nlattr *const *a, bool append)
{
	static const unsigned known[] = { NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS };
	int chain = sim_find_chain(t, sim_str(a[NFTA_RULE_CHAIN]));
	int r = sim_only(t, a, NFTA_RULE_MAX, "rule", known, 3);
	const struct nlattr *nest;
	struct sim_rule *rule;

	if (r < 0)
		return r;
	if (chain < 0 || !append || a[NFTA_RULE_EXPRESSIONS] == NULL ||
	    t->chains[chain].n == SIM_RULES)
		return sim_fault(t, -EINVAL, "rule of %s", sim_str(a[NFTA_RULE_CHAIN]));
	rule = &t->chains[chain].rules[t->chains[chain].n++];
	rule->n = 0;
	mnl_attr_for_each_nested(nest, a[NFTA_RULE_EXPRESSIONS])
	{
		if (rule->n == SIM_EXPRS)
			return sim_fault(t, -E2BIG, "rule of %s", t->chains[chain].name);
		/* The place may have had another rule's. */
		rule->exprs[rule->n] = (struct sim_expr){ 0 };
		r = read_expr(t, nest, &rule->exprs[rule->n++]);
		if (r < 0)
			return r;
	}
	return 0;
}
