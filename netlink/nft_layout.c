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

/* nft(8)'s numbers of data types, six bits each in a concatenation. */
#define TYPE_IPV4 7u
#define TYPE_IPV6 8u
#define TYPE_PROTO 12u
#define TYPE_SERVICE 13u
#define TYPE_KEY(addr) ((addr) << 12 | TYPE_PROTO << 6 | TYPE_SERVICE)

#define EXACT4(n)                                        \
	{                                                \
		n, 12, TYPE_KEY(TYPE_IPV4), false, false \
	}
#define EXACT6(n)                                        \
	{                                                \
		n, 24, TYPE_KEY(TYPE_IPV6), false, false \
	}
#define RANGE4(n)                                       \
	{                                               \
		n, 12, TYPE_KEY(TYPE_IPV4), true, false \
	}
#define RANGE6(n)                                       \
	{                                               \
		n, 24, TYPE_KEY(TYPE_IPV6), true, false \
	}
#define COUNTED_EXACT4(n)                               \
	{                                               \
		n, 12, TYPE_KEY(TYPE_IPV4), false, true \
	}
#define COUNTED_EXACT6(n)                               \
	{                                               \
		n, 24, TYPE_KEY(TYPE_IPV6), false, true \
	}
#define COUNTED_RANGE4(n)                              \
	{                                              \
		n, 12, TYPE_KEY(TYPE_IPV4), true, true \
	}
#define COUNTED_RANGE6(n)                              \
	{                                              \
		n, 24, TYPE_KEY(TYPE_IPV6), true, true \
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
	[NFT_SET_LOCAL4] = { "local4", 4, TYPE_IPV4, false, false },
	[NFT_SET_LOCAL6] = { "local6", 16, TYPE_IPV6, false, false },
};

const struct nft_set_shape *
nft_set_shape(unsigned set)
{
	return &shapes[set];
}

struct nft_modes
nft_modes_of(const struct ruleset *r)
{
	struct nft_modes m = { MODE_OBSERVE, MODE_OBSERVE, 0 };

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
	return a->in == b->in && a->out == b->out && a->rate == b->rate;
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
nft_chain_build(const char *table, enum nft_chain_id chain, const struct nft_modes *m)
{
	static const uint32_t hooks[NFT_N_BASE_CHAINS] = {
		[NFT_CHAIN_INPUT] = NF_INET_LOCAL_IN,
		[NFT_CHAIN_OUTPUT] = NF_INET_LOCAL_OUT,
		[NFT_CHAIN_FORWARD] = NF_INET_FORWARD,
	};
	struct nftnl_chain *c = nftnl_chain_alloc();
	int err;

	if (c == NULL)
		return NULL;
	nftnl_chain_set_u32(c, NFTNL_CHAIN_FAMILY, NFPROTO_INET);
	err = nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, table);
	err |= nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, nft_chain_names[chain]);
	if (chain < NFT_N_BASE_CHAINS) {
		err |= nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "filter");
		nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, hooks[chain]);
		nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, 0);
		nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, nft_chain_policy(m, chain));
	}
	if (err < 0) {
		nftnl_chain_free(c);
		return NULL;
	}
	return c;
}

struct nftnl_set *
nft_set_build(const char *table, unsigned set, uint32_t size)
{
	const struct nft_set_shape *shape = &shapes[set];
	const uint8_t fields[3] = { shape->key_len == 12 ? 4 : 16, 1, 2 };
	struct nftnl_set *s = nftnl_set_alloc();
	struct nftnl_expr *counter = NULL;
	int err;

	if (s == NULL)
		return NULL;
	nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(s, NFTNL_SET_ID, set + 1);
	err = nftnl_set_set_str(s, NFTNL_SET_TABLE, table);
	err |= nftnl_set_set_str(s, NFTNL_SET_NAME, shape->name);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, shape->key_type);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, shape->key_len);
	nftnl_set_set_u32(s, NFTNL_SET_DESC_SIZE, size);
	if (shape->range) {
		nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_INTERVAL | NFT_SET_CONCAT);
		err |= nftnl_set_set_data(s, NFTNL_SET_DESC_CONCAT, fields, sizeof(fields));
	}
	if (shape->counters) {
		counter = nftnl_expr_alloc("counter");
		if (counter != NULL)
			nftnl_set_add_expr(s, counter);
	}
	if (err < 0 || (shape->counters && counter == NULL)) {
		nftnl_set_free(s);
		return NULL;
	}
	return s;
}
