/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the table that do not change: its sets and chains, as objects to be sent and to be
 * compared with. What they are for stands at the head of nft_table.c.
 */
#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <string.h>

#define TYPE_KEY(addr) ((addr) << 12 | NFT_TYPE_PROTO << 6 | NFT_TYPE_SERVICE)

#define EXACT4(n)                                            \
	{                                                    \
		n, 12, TYPE_KEY(NFT_TYPE_IPV4), false, false \
	}
#define EXACT6(n)                                            \
	{                                                    \
		n, 24, TYPE_KEY(NFT_TYPE_IPV6), false, false \
	}
#define RANGE4(n)                                           \
	{                                                   \
		n, 12, TYPE_KEY(NFT_TYPE_IPV4), true, false \
	}
#define RANGE6(n)                                           \
	{                                                   \
		n, 24, TYPE_KEY(NFT_TYPE_IPV6), true, false \
	}
#define COUNTED_EXACT4(n)                                   \
	{                                                   \
		n, 12, TYPE_KEY(NFT_TYPE_IPV4), false, true \
	}
#define COUNTED_EXACT6(n)                                   \
	{                                                   \
		n, 24, TYPE_KEY(NFT_TYPE_IPV6), false, true \
	}
#define COUNTED_RANGE4(n)                                  \
	{                                                  \
		n, 12, TYPE_KEY(NFT_TYPE_IPV4), true, true \
	}
#define COUNTED_RANGE6(n)                                  \
	{                                                  \
		n, 24, TYPE_KEY(NFT_TYPE_IPV6), true, true \
	}

/* In the order of nft_set_id(). */
static const struct nft_set_shape shapes[NFT_N_SETS] = {
	EXACT4("deny_in4"),
	EXACT6("deny_in6"),
	RANGE4("deny_in4_range"),
	RANGE6("deny_in6_range"),
	COUNTED_EXACT4("allow_in4"),
	COUNTED_EXACT6("allow_in6"),
	COUNTED_RANGE4("allow_in4_range"),
	COUNTED_RANGE6("allow_in6_range"),
	EXACT4("deny_out4"),
	EXACT6("deny_out6"),
	RANGE4("deny_out4_range"),
	RANGE6("deny_out6_range"),
	COUNTED_EXACT4("allow_out4"),
	COUNTED_EXACT6("allow_out6"),
	COUNTED_RANGE4("allow_out4_range"),
	COUNTED_RANGE6("allow_out6_range"),
	[NFT_SET_LOCAL4] = { "local4", 4, NFT_TYPE_IPV4, false, false },
	[NFT_SET_LOCAL6] = { "local6", 16, NFT_TYPE_IPV6, false, false },
	[NFT_SET_OWN4] = { "own4", 4, NFT_TYPE_IPV4, false, false },
	[NFT_SET_OWN6] = { "own6", 16, NFT_TYPE_IPV6, false, false },
	[NFT_SET_FRAG4] = RANGE4("fragments4"),
	[NFT_SET_FRAG6] = RANGE6("fragments6"),
	[NFT_SET_LINK6] = RANGE6("link6"),
};

const struct nft_set_shape *
nft_set_shape(unsigned set)
{
	return &shapes[set];
}

const char *
nft_target_set(const struct nft_target *t, unsigned set, char buf[static NFT_SET_NAME_MAX])
{
	snprintf(
	    buf, NFT_SET_NAME_MAX, "%s%s", shapes[set].name, t->twins >> set & 1 ? t->suffix : "");
	return buf;
}

const char *const nft_chain_names[NFT_N_CHAINS] = {
	[NFT_CHAIN_INPUT] = "input",
	[NFT_CHAIN_OUTPUT] = "output",
	[NFT_CHAIN_FORWARD] = "forward",
	[NFT_CHAIN_REFUSE_IN] = "refuse_in",
	[NFT_CHAIN_REFUSE_OUT] = "refuse_out",
};

static const char *const counter_names[NFT_N_COUNTERS] = {
	"dropped_in",
	"dropped_out",
	"dropped_forward",
};

static const struct nft_hook hooks[NFT_N_BASE_CHAINS] = {
	[NFT_CHAIN_INPUT] = { NF_INET_LOCAL_IN, 0 },
	[NFT_CHAIN_OUTPUT] = { NF_INET_LOCAL_OUT, 0 },
	[NFT_CHAIN_FORWARD] = { NF_INET_FORWARD, 0 },
};

static uint32_t
policy_inet(const struct nft_modes *m, unsigned chain)
{
	return nft_chain_policy(m, (enum nft_chain_id)chain);
}

const struct nft_kind nft_kind_inet = {
	.family = NFPROTO_INET,
	.n_sets = NFT_N_SETS_INET,
	.n_chains = NFT_N_CHAINS,
	.n_base = NFT_N_BASE_CHAINS,
	.chains = nft_chain_names,
	.counters = counter_names,
	.hooks = hooks,
	.policy = policy_inet,
	.rules = nft_rules_inet,
};

struct nft_modes
nft_modes_of(const struct ruleset *r)
{
	struct nft_modes m = { MODE_OBSERVE, MODE_OBSERVE, 0, { 0 } };

	if (r == NULL)
		return m;
	m.in = r->in_mode;
	m.out = r->out_mode;
	if (m.in != MODE_OBSERVE || m.out != MODE_OBSERVE)
		m.rate = MIN(MAX(r->report_per_second, 1u), 10000u);
	return m;
}

bool
nft_modes_eq(const struct nft_modes *a, const struct nft_modes *b)
{
	return a->in == b->in && a->out == b->out && a->rate == b->rate &&
	       memcmp(a->mac, b->mac, sizeof(a->mac)) == 0;
}

uint32_t
nft_chain_policy(const struct nft_modes *m, enum nft_chain_id chain)
{
	bool drop = false;

	if (chain == NFT_CHAIN_INPUT || chain == NFT_CHAIN_FORWARD)
		drop |= m->in == MODE_ENFORCE;
	if (chain == NFT_CHAIN_OUTPUT || chain == NFT_CHAIN_FORWARD)
		drop |= m->out == MODE_ENFORCE;
	return drop ? NF_DROP : NF_ACCEPT;
}

struct nftnl_chain *
nft_chain_build(const struct nft_target *t, unsigned chain, const struct nft_modes *m)
{
	const struct nft_kind *kind = t->kind;
	struct nftnl_chain *c = nftnl_chain_alloc();
	int err;

	if (c == NULL)
		return NULL;
	nftnl_chain_set_u32(c, NFTNL_CHAIN_FAMILY, kind->family);
	err = nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, t->name);
	err |= nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, kind->chains[chain]);
	if (chain < kind->n_base) {
		err |= nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "filter");
		nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, kind->hooks[chain].num);
		nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, kind->hooks[chain].priority);
		nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, kind->policy(m, chain));
		if (t->device[0] != '\0')
			err |= nftnl_chain_set_str(c, NFTNL_CHAIN_DEV, t->device);
	}
	if (err < 0) {
		nftnl_chain_free(c);
		return NULL;
	}
	return c;
}

uint32_t
nft_policy_accept(const struct nft_modes *m, unsigned chain)
{
	return NF_ACCEPT;
}

struct nftnl_set *
nft_set_new(const struct nft_target *t, const char *name, uint32_t id, uint32_t key_type,
    uint32_t key_len, uint32_t size)
{
	struct nftnl_set *s = nftnl_set_alloc();

	if (s == NULL)
		return NULL;
	nftnl_set_set_u32(s, NFTNL_SET_FAMILY, t->kind->family);
	nftnl_set_set_u32(s, NFTNL_SET_ID, id);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, key_type);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, key_len);
	nftnl_set_set_u32(s, NFTNL_SET_DESC_SIZE, size);
	if (nftnl_set_set_str(s, NFTNL_SET_TABLE, t->name) < 0 ||
	    nftnl_set_set_str(s, NFTNL_SET_NAME, name) < 0) {
		nftnl_set_free(s);
		return NULL;
	}
	return s;
}

struct nftnl_set *
nft_set_with(struct nftnl_set *s, struct nftnl_expr *e)
{
	if (s != NULL && e != NULL) {
		nftnl_set_add_expr(s, e);
		return s;
	}
	if (e != NULL)
		nftnl_expr_free(e);
	if (s != NULL)
		nftnl_set_free(s);
	return NULL;
}

struct nftnl_set *
nft_set_build(const struct nft_target *t, unsigned set, uint32_t size)
{
	const struct nft_set_shape *shape = &shapes[set];
	const uint8_t fields[3] = { (uint8_t)(shape->key_len - 8), 1, 2 };
	char name[NFT_SET_NAME_MAX];
	struct nftnl_set *s = nft_set_new(
	    t, nft_target_set(t, set, name), set + 1, shape->key_type, shape->key_len, size);

	if (s != NULL && shape->range) {
		nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_INTERVAL | NFT_SET_CONCAT);
		if (nftnl_set_set_data(s, NFTNL_SET_DESC_CONCAT, fields, sizeof(fields)) < 0) {
			nftnl_set_free(s);
			return NULL;
		}
	}
	return shape->counters ? nft_set_with(s, nftnl_expr_alloc("counter")) : s;
}
