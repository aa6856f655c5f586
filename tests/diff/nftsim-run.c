/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A packet's way through a table. Registers are the kernel's 20 words, the first four of them the
 * verdict's; a load that the packet is too short for ends the rule, as NFT_BREAK does.
 */
#include "tests/diff/nftsim.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#define STACK 8

struct regs {
	uint32_t w[20];
};

enum step {
	STEP_NEXT,    /* the next expression */
	STEP_BREAK,   /* the next rule */
	STEP_VERDICT, /* look at the verdict expression */
	STEP_REJECT,
};

bool
sim_set_has(const struct sim_set *set, const uint8_t *key)
{
	const struct sim_elem *e;
	unsigned f, at;

	for (size_t i = 0; i < set->n; i++) {
		e = &set->elems[i];
		if (!set->interval) {
			if (memcmp(e->key, key, set->key_len) == 0)
				return true;
			continue;
		}
		for (f = at = 0; f < SIM_FIELDS; at += set->fields[f++])
			if (memcmp(key + at, e->key + at, set->fields[f]) < 0 ||
			    memcmp(key + at, e->end + at, set->fields[f]) > 0)
				break;
		if (f == SIM_FIELDS)
			return true;
	}
	return false;
}

static enum step
run_meta(const struct sim_expr *x, const struct sim_packet *p, struct regs *r)
{
	uint32_t value = 0;

	switch (x->arg) {
	case NFT_META_NFPROTO:
		*(uint8_t *)&value = p->nfproto;
		break;
	case NFT_META_L4PROTO:
		*(uint8_t *)&value = p->l4proto;
		break;
	case NFT_META_IIF:
		value = p->iif;
		break;
	case NFT_META_OIF:
		value = p->oif;
		break;
	default:
		abort();
	}
	r->w[x->reg] = value;
	return STEP_NEXT;
}

static enum step
run_payload(const struct sim_expr *x, const struct sim_packet *p, struct regs *r)
{
	size_t at = x->offset;

	if (x->base == NFT_PAYLOAD_TRANSPORT_HEADER)
		at += p->thoff;
	if (at + x->len > p->len)
		return STEP_BREAK;
	if (x->len % 4 != 0)
		r->w[x->reg + x->len / 4] = 0;
	memcpy(&r->w[x->reg], p->bytes + at, x->len);
	return STEP_NEXT;
}

static enum step
run_bitwise(const struct sim_expr *x, struct regs *r)
{
	uint8_t *b = (uint8_t *)&r->w[x->reg];

	for (uint32_t i = 0; i < x->len; i++)
		b[i] = (b[i] & x->data[0][i]) ^ x->data[1][i];
	return STEP_NEXT;
}

static enum step
run_log(const struct sim_expr *x, struct sim_result *ret)
{
	size_t n = strlen(ret->log);

	if (n + x->len < sizeof(ret->log))
		memcpy(ret->log + n, x->data[0], x->len);
	return STEP_NEXT;
}

static enum step
run_expr(const struct sim_table *t, const struct sim_expr *x, const struct sim_packet *p,
    struct regs *r, struct sim_result *ret)
{
	switch (x->op) {
	case SIM_META:
		return run_meta(x, p, r);
	case SIM_PAYLOAD:
		return run_payload(x, p, r);
	case SIM_CT_STATE:
		r->w[x->reg] = p->ct_state;
		return STEP_NEXT;
	case SIM_CT_DIRECTION:
		r->w[x->reg] = 0;
		*(uint8_t *)&r->w[x->reg] = p->ct_reply;
		return STEP_NEXT;
	case SIM_CT_DPORT:
		r->w[x->reg] = 0;
		memcpy(&r->w[x->reg], &p->ct_dport, sizeof(p->ct_dport));
		return STEP_NEXT;
	case SIM_CT_MARK:
		/* What is invalid or not tracked belongs to no connection. */
		if (p->ct_state & (NF_CT_STATE_INVALID_BIT | NF_CT_STATE_UNTRACKED_BIT))
			return STEP_BREAK;
		r->w[x->reg] = p->ct_mark;
		return STEP_NEXT;
	case SIM_CT_EVENTMASK:
		ret->event_mask = r->w[x->reg];
		return STEP_NEXT;
	case SIM_BITWISE:
		return run_bitwise(x, r);
	case SIM_CMP:
		return (memcmp(&r->w[x->reg], x->data[0], x->len) == 0) == (x->arg == NFT_CMP_EQ)
			   ? STEP_NEXT
			   : STEP_BREAK;
	case SIM_LOOKUP:
		return sim_set_has(&t->sets[x->index], (const uint8_t *)&r->w[x->reg]) != x->invert
			   ? STEP_NEXT
			   : STEP_BREAK;
	case SIM_IMMEDIATE:
		memcpy(&r->w[x->reg], x->data[0], x->len);
		return STEP_NEXT;
	case SIM_LIMIT:
		return p->limited ? STEP_BREAK : STEP_NEXT;
	case SIM_LOG:
		return run_log(x, ret);
	case SIM_COUNT:
		ret->counted |= (uint8_t)(1u << x->index);
		return STEP_NEXT;
	case SIM_VERDICT:
		return STEP_VERDICT;
	case SIM_REJECT:
		return STEP_REJECT;
	}
	abort();
}

/* The expression that ends the rule with a verdict, or NULL. */
static const struct sim_expr *
run_rule(const struct sim_table *t, const struct sim_rule *rule, const struct sim_packet *p,
    struct regs *r, struct sim_result *ret)
{
	for (unsigned i = 0; i < rule->n; i++) {
		switch (run_expr(t, &rule->exprs[i], p, r, ret)) {
		case STEP_NEXT:
			break;
		case STEP_BREAK:
			return NULL;
		case STEP_VERDICT:
		case STEP_REJECT:
			return &rule->exprs[i];
		}
	}
	return NULL;
}

static enum sim_verdict
verdict_of(uint32_t code)
{
	return code == NF_ACCEPT ? SIM_ACCEPT : SIM_DROP;
}

static enum sim_verdict
run_chain(const struct sim_table *t, const struct sim_chain *base, const struct sim_packet *p,
    struct sim_result *ret)
{
	struct {
		const struct sim_chain *chain;
		unsigned rule;
	} stack[STACK], at = { base, 0 };
	struct regs r = { { 0 } };
	const struct sim_expr *end;
	unsigned depth = 0;

	for (;;) {
		if (at.rule == at.chain->n) {
			if (depth == 0)
				return verdict_of(base->policy);
			at = stack[--depth];
			continue;
		}
		end = run_rule(t, &at.chain->rules[at.rule++], p, &r, ret);
		if (end == NULL)
			continue;
		if (end->op == SIM_REJECT)
			return end->arg == NFT_REJECT_TCP_RST ? SIM_REJECT_RST : SIM_REJECT_ADMIN;
		switch ((int)end->arg) {
		case NFT_JUMP:
			if (depth == STACK)
				abort();
			stack[depth++] = at;
			/* fall through */
		case NFT_GOTO:
			at.chain = &t->chains[end->index];
			at.rule = 0;
			break;
		default:
			return verdict_of(end->arg);
		}
	}
}

void
sim_run(const struct sim_table *t, const struct sim_packet *p, struct sim_result *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < t->n_chains && ret->verdict == SIM_ACCEPT; i++)
		if (t->chains[i].base && t->chains[i].hook == p->hook)
			ret->verdict = run_chain(t, &t->chains[i], p, ret);
}
