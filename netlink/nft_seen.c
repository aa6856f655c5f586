/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table that counts connections in place of conntrack's events.
 *
 *   input, output   base chains, last of all before conntrack confirms; what was counted goes to
 *                   bytes, of all else what did not come over the loopback jumps to
 *   each            new, and accounted for: an event mark of nothing. TCP and SCTP go to their
 *                   chains, what else is answered for the first time to first. Then to bytes; those
 *                   of ICMP are counted here.
 *   tcp, sctp       count a connection when its handshake is complete, by its ends and port; or,
 *                   where there is no room, in `missed`. What was met in its middle, of SCTP by a
 *                   heartbeat, with the client's port, as its direction is not known. Of TCP it is
 *                   noted that a SYN was answered.
 *   first           counts likewise what needs no handshake.
 *   bytes           counts those, by the ends of their connection and its port.
 *   conn4 ... byte6 dynamic sets with counters, twice ("_a", "_b"); see below
 *
 * No chain has a verdict: nothing that passes is held by it.
 *
 * Which connections are counted here and which are told by an event is decided for each when it
 * begins, and for good: here are those that conntrack accounts for, which is switched on and off in
 * one place, nf_conntrack_acct of the namespace. Those get an event mask that holds no event, all
 * others keep theirs. The first packet of an answer is the one with which the reply direction has
 * one packet; a connection without accounting never has one. What was refused with a reset is
 * dying by then. A handshake has no such packet (any of it may come twice), so what was counted has
 * a conntrack label, as has what began with one: the last two of the 128 that there are. What began
 * before the rules were loaded can have none, and is not counted. By the label most packets are
 * told apart with the first rule: they have nothing to add but their bytes.
 *
 * Counters only grow, and elements have no timeout: whoever reads twice knows the difference, and
 * nothing is lost between reading and forgetting. To forget, the rules go over to empty sets of the
 * other side, and the old ones are read once more when nobody counts in them.
 */
#include "netlink/nft_seen_priv.h"

#include "netlink/drain.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define TYPE_ENDS(addr) (((addr) << 6 | (addr)) << 12 | NFT_TYPE_PROTO << 6 | NFT_TYPE_SERVICE)

static const char *const chains[SEEN_CHAINS] = { "input", "output", "each", "tcp", "sctp", "first",
	"bytes" };
static const char *const counters[NFT_N_COUNTERS] = { "missed", "", "" };
static const struct nft_hook hooks[SEEN_BASE] = {
	[SEEN_INPUT] = { NF_INET_LOCAL_IN, INT_MAX - 1 },
	[SEEN_OUTPUT] = { NF_INET_LOCAL_OUT, INT_MAX - 1 },
};

static const struct nft_kind kind_seen = {
	.family = NFPROTO_INET,
	.n_chains = SEEN_CHAINS,
	.n_base = SEEN_BASE,
	.chains = chains,
	.counters = counters,
	.hooks = hooks,
	.policy = nft_policy_accept,
};

void
seen_set_name(enum nft_seen_set set, unsigned side, char buf[static SEEN_NAME_MAX])
{
	snprintf(buf, SEEN_NAME_MAX, "%s%c_%c", nft_seen_is_conn(set) ? "conn" : "byte",
	    nft_seen_is_v6(set) ? '6' : '4', side == 0 ? 'a' : 'b');
}

static int
target_of(const char *table, struct nft_target *ret)
{
	struct nft_target t = { .kind = &kind_seen };

	if (snprintf(t.name, sizeof(t.name), "%s%s", table, NFT_SEEN_SUFFIX) >= (int)sizeof(t.name))
		return -EINVAL;
	*ret = t;
	return 0;
}

static int
batch_begin(const char *table, struct nft_target *ret_target, struct nft_batch *ret)
{
	int r = target_of(table, ret_target);

	return r < 0 ? r : nft_batch_start(ret, nft_seq_start());
}

static void
batch_built(struct nft_batch *b, const struct nft_target *t, const struct builder *rules)
{
	if (rules->err < 0)
		b->err = rules->err;
	for (size_t i = 0; i < rules->rules->n; i++)
		nft_batch_rule(b, t, rules->rules->v[i]);
}

static struct nftnl_set *
set_build(const struct nft_target *t, enum nft_seen_set set, unsigned side)
{
	const bool v6 = nft_seen_is_v6(set), conn = nft_seen_is_conn(set);
	const uint32_t ends = v6 ? TYPE_ENDS(NFT_TYPE_IPV6) : TYPE_ENDS(NFT_TYPE_IPV4);
	const uint32_t ends_len = v6 ? 40 : 16;
	char name[SEEN_NAME_MAX];
	struct nftnl_set *s;

	seen_set_name(set, side, name);
	s = nft_set_new(t, name, 1 + side * NFT_SEEN_SETS + set,
	    conn ? ends << 6 | NFT_TYPE_SERVICE : ends, conn ? ends_len + 4 : ends_len,
	    NFT_SEEN_SIZE);
	if (s != NULL)
		nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_EVAL);
	return nft_set_with(s, nftnl_expr_alloc("counter"));
}

static void
batch_sets(struct nft_batch *b, const struct nft_target *t, unsigned side)
{
	for (unsigned set = 0; set < NFT_SEEN_SETS; set++)
		nft_batch_new_set(b, t, set_build(t, set, side), NLM_F_EXCL);
}

static void
batch_drop(struct nft_batch *b, const struct nft_target *t, unsigned side)
{
	char name[SEEN_NAME_MAX];

	for (unsigned set = 0; set < NFT_SEEN_SETS; set++) {
		seen_set_name(set, side, name);
		nft_batch_del(b, NFT_MSG_DELSET, t->kind->family, NFTA_SET_TABLE, t->name,
		    NFTA_SET_NAME, name);
	}
}

static void
batch_rules_of(struct nft_batch *b, const struct nft_target *t, unsigned side)
{
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	struct builder rb = { .target = t, .rules = &rules };

	seen_rules_of(&rb, side);
	batch_built(b, t, &rb);
}

static bool
has_chain(const struct nft_inventory *inv, unsigned chain)
{
	for (size_t i = 0; i < inv->chains.n; i++)
		if (strcmp(inv->chains.v[i], chains[chain]) == 0)
			return true;
	return false;
}

int
nft_seen_look(int sock, const char *table, struct nft_seen_state *ret)
{
	_cleanup_(nft_inventory_done) struct nft_inventory inv = { 0 };
	struct nft_seen_state st = { 0 };
	uint64_t counted[NFT_N_COUNTERS] = { 0 };
	struct nft_target t;
	char name[SEEN_NAME_MAX];
	int r = target_of(table, &t);

	if (r == 0)
		r = nft_inventory_read(sock, &t, &inv);
	if (r == 0 && inv.present)
		r = nft_refused_read(sock, &t, counted);
	if (r < 0)
		return r;
	st.present = inv.present;
	st.missed = counted[0];
	/* What an older version has made is not what is meant here. */
	st.hooked = has_chain(&inv, SEEN_INPUT) && has_chain(&inv, SEEN_BYTES);
	for (unsigned side = 0; side < NFT_SEEN_SIDES; side++) {
		seen_set_name(NFT_SEEN_CONN4, side, name);
		for (size_t i = 0; i < inv.sets.n; i++)
			if (strcmp(inv.sets.v[i], name) == 0)
				st.sides |= 1u << side;
	}
	*ret = st;
	return 0;
}

int
nft_seen_prepare(int sock, const char *table, bool owned)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_seen_state st;
	struct nft_target t;
	int r = nft_seen_look(sock, table, &st);

	if (r == 0)
		r = batch_begin(table, &t, &b);
	if (r < 0)
		return r;
	if (st.present)
		nft_batch_del_table(&b, &t);
	nft_batch_table(&b, &t, owned ? NFT_FLAG_OWNER | NFT_FLAG_PERSIST : 0);
	nft_batch_counter(&b, &t, counters[0]);
	for (unsigned c = SEEN_BASE; c < SEEN_CHAINS; c++)
		nft_batch_chain(&b, &t, c, NULL);
	batch_sets(&b, &t, 0);
	batch_rules_of(&b, &t, 0);
	return nft_batch_send(&b, sock);
}

int
nft_seen_hook(int sock, const char *table)
{
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target t;
	struct builder rb = { .target = &t, .rules = &rules };
	int r = batch_begin(table, &t, &b);

	if (r < 0)
		return r;
	for (unsigned c = 0; c < SEEN_BASE; c++)
		nft_batch_chain(&b, &t, c, NULL);
	seen_rules_hooked(&rb);
	batch_built(&b, &t, &rb);
	return nft_batch_send(&b, sock);
}

int
nft_seen_rotate(int sock, const char *table, unsigned side, const struct nft_seen_state *st)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target t;
	int r = batch_begin(table, &t, &b);

	if (r < 0)
		return r;
	for (unsigned c = SEEN_BASE; c < SEEN_CHAINS; c++)
		nft_batch_del(&b, NFT_MSG_DELRULE, t.kind->family, NFTA_RULE_TABLE, t.name,
		    NFTA_RULE_CHAIN, chains[c]);
	if ((st->sides >> side & 1) != 0)
		batch_drop(&b, &t, side);
	batch_sets(&b, &t, side);
	batch_rules_of(&b, &t, side);
	return nft_batch_send(&b, sock);
}

int
nft_seen_drop(int sock, const char *table, unsigned side)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target t;
	int r = batch_begin(table, &t, &b);

	if (r < 0)
		return r;
	batch_drop(&b, &t, side);
	return nft_batch_send(&b, sock);
}

int
nft_seen_delete(int sock, const char *table)
{
	struct nft_target t;
	int r = target_of(table, &t);

	return r < 0 ? r : nft_target_delete(sock, &t);
}

int
nft_seen_request(int sock, const char *table, unsigned side, enum nft_seen_set set, uint32_t seq)
{
	struct nft_target t;
	struct nlmsghdr *nlh;
	char name[SEEN_NAME_MAX];
	uint8_t req[256];
	int r = target_of(table, &t);

	if (r < 0)
		return r;
	seen_set_name(set, side, name);
	nlh =
	    nftnl_nlmsg_build_hdr((char *)req, NFT_MSG_GETSETELEM, t.kind->family, NLM_F_DUMP, seq);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, t.name);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, name);
	return nl_send(sock, nlh, MSG_DONTWAIT);
}
