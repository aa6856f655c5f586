/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table that counts connections in place of conntrack's events.
 *
 *   input, output   base chains, last of all before conntrack confirms; what did not come over the
 *                   loopback jumps to
 *   each            new, and accounted for: an event mark of nothing. Answered for the first time:
 *                   jump to first. Then its bytes.
 *   first           counts the connection: one that began with a handshake or needs none by its
 *                   ends and port; TCP that was met in its middle with the client's port, as its
 *                   direction is not known; or, where there is no room, in `missed`.
 *   conn4 ... byte6 dynamic sets with counters, twice ("_a", "_b"); see below
 *
 * No chain has a verdict: nothing that passes is held by it.
 *
 * Which connections are counted here and which are told by an event is decided for each when it
 * begins, and for good: here are those that conntrack accounts for, which is switched on and off in
 * one place, nf_conntrack_acct of the namespace. Those get an event mask that holds no event, all
 * others keep theirs. The first packet of an answer is the one with which the reply direction has
 * one packet; a connection without accounting never has one. What was refused with a reset is
 * dying by then.
 *
 * Counters only grow, and elements have no timeout: whoever reads twice knows the difference, and
 * nothing is lost between reading and forgetting. To forget, the rules go over to empty sets of the
 * other side, and the old ones are read once more when nobody counts in them.
 */
#include "netlink/nft_seen.h"

#include "netlink/nft_expr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
/* Before linux/netfilter.h, which brings the kernel's own <linux/in.h>. */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define SET_NAME_MAX 16
#define TCP_SYN_ACK 0x12

/* nft(8)'s numbers of data types, six bits each in a concatenation. */
#define TYPE_PROTO_PORT (12u << 6 | 13u)
#define TYPE_ENDS(addr) (((addr) << 6 | (addr)) << 12 | TYPE_PROTO_PORT)

enum {
	CHAIN_INPUT,
	CHAIN_OUTPUT,
	CHAIN_EACH,
	CHAIN_FIRST,
	N_CHAINS,
};
#define N_BASE CHAIN_EACH

static const char *const chains[N_CHAINS] = { "input", "output", "each", "first" };
static const char *const counters[NFT_N_COUNTERS] = { "missed", "", "" };
static const struct nft_hook hooks[N_BASE] = {
	[CHAIN_INPUT] = { NF_INET_LOCAL_IN, INT_MAX - 1 },
	[CHAIN_OUTPUT] = { NF_INET_LOCAL_OUT, INT_MAX - 1 },
};

static uint32_t
policy_accept(const struct nft_modes *m, unsigned chain)
{
	return NF_ACCEPT;
}

static const struct nft_kind kind_seen = {
	.family = NFPROTO_INET,
	.n_chains = N_CHAINS,
	.n_base = N_BASE,
	.chains = chains,
	.counters = counters,
	.hooks = hooks,
	.policy = policy_accept,
};

static bool
set_is_v6(enum nft_seen_set set)
{
	return set == NFT_SEEN_CONN6 || set == NFT_SEEN_BYTE6;
}

static bool
set_is_conn(enum nft_seen_set set)
{
	return set == NFT_SEEN_CONN4 || set == NFT_SEEN_CONN6;
}

static void
set_name(enum nft_seen_set set, unsigned side, char buf[static SET_NAME_MAX])
{
	snprintf(buf, SET_NAME_MAX, "%s%c_%c", set_is_conn(set) ? "conn" : "byte",
	    set_is_v6(set) ? '6' : '4', side == 0 ? 'a' : 'b');
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

/* Rules */

static void
expr_ct(struct builder *b, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *e = expr_add(b, "ct");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg);
}

static void
expr_ct_of(struct builder *b, uint32_t key, uint8_t dir, uint32_t reg)
{
	struct nftnl_expr *e = expr_add(b, "ct");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg);
	nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, dir);
}

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

/* What a key's fifth field is. */
enum sport {
	SPORT_NONE, /* there is none: bytes */
	SPORT_ZERO,
	SPORT_CLIENT,
};

static void
load_zero(struct builder *b, uint32_t reg)
{
	const uint32_t zero = 0;
	struct nftnl_expr *e = expr_add(b, "immediate");

	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg);
	if (nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, &zero, sizeof(zero)) < 0)
		b->err = -ENOMEM;
}

/*
 * The client, and the server that the rules see: behind the namespace's own translation, so the one
 * that answers. ICMP has its type and code where others have the port asked for.
 */
static void
load_key(struct builder *b, bool v6, bool icmp, enum sport sport)
{
	const uint32_t src = v6 ? NFT_CT_SRC_IP6 : NFT_CT_SRC_IP;
	const uint32_t dst = v6 ? NFT_CT_DST_IP6 : NFT_CT_DST_IP;
	const uint32_t after = v6 ? NFT_REG32_08 : NFT_REG32_02;

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
		load_zero(b, after + 2);
	else if (sport == SPORT_CLIENT)
		expr_ct_of(b, NFT_CT_PROTO_SRC, IP_CT_DIR_ORIGINAL, after + 2);
}

/* Counts in the set; where it is full, the rule ends here. */
static void
expr_count_in(struct builder *b, enum nft_seen_set set, unsigned side)
{
	struct nftnl_expr *e = expr_add(b, "dynset");
	char name[SET_NAME_MAX];

	if (e == NULL)
		return;
	set_name(set, side, name);
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
rule_conn(struct builder *b, bool v6, bool icmp, enum sport sport, unsigned side)
{
	load_key(b, v6, icmp, sport);
	expr_count_in(b, v6 ? NFT_SEEN_CONN6 : NFT_SEEN_CONN4, side);
	expr_verdict(b, NFT_RETURN, NULL);
}

static void
rules_first(struct builder *b, bool v6, unsigned side)
{
	static const uint8_t syn_ack = TCP_SYN_ACK;
	const uint8_t icmp = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

	for (unsigned middle = 0; middle < 2; middle++) {
		rule_begin(b, CHAIN_FIRST);
		match_proto(b, v6, NFT_CMP_EQ, IPPROTO_TCP);
		expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, NFT_REG_1);
		expr_mask(b, &syn_ack, sizeof(syn_ack));
		expr_cmp_u8(b, middle ? NFT_CMP_NEQ : NFT_CMP_EQ, syn_ack);
		rule_conn(b, v6, false, middle ? SPORT_CLIENT : SPORT_ZERO, side);
	}
	rule_begin(b, CHAIN_FIRST);
	match_proto(b, v6, NFT_CMP_EQ, icmp);
	rule_conn(b, v6, true, SPORT_ZERO, side);
	rule_begin(b, CHAIN_FIRST);
	match_proto(b, v6, NFT_CMP_NEQ, IPPROTO_TCP);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_NEQ, icmp);
	rule_conn(b, v6, false, SPORT_ZERO, side);
}

static void
rules_bytes(struct builder *b, bool v6, unsigned side)
{
	const uint8_t icmp = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

	for (unsigned is_icmp = 0; is_icmp < 2; is_icmp++) {
		rule_begin(b, CHAIN_EACH);
		match_proto(b, v6, is_icmp ? NFT_CMP_EQ : NFT_CMP_NEQ, icmp);
		match_status(b, IPS_SEEN_REPLY, NFT_CMP_NEQ);
		load_key(b, v6, is_icmp, SPORT_NONE);
		expr_count_in(b, v6 ? NFT_SEEN_BYTE6 : NFT_SEEN_BYTE4, side);
		expr_verdict(b, NFT_RETURN, NULL);
	}
}

static void
rules_of(struct builder *b, unsigned side)
{
	const uint8_t reply = IP_CT_DIR_REPLY;

	rule_begin(b, CHAIN_EACH);
	match_ct_state(b, NF_CT_STATE_BIT(IP_CT_NEW));
	match_packets(b, IP_CT_DIR_ORIGINAL, NFT_CMP_NEQ, 0);
	expr_event_mark(b, CT_EVENT_DESTROY);
	expr_verdict(b, NFT_RETURN, NULL);
	rule_begin(b, CHAIN_EACH);
	expr_ct(b, NFT_CT_DIRECTION, NFT_REG_1);
	expr_cmp(b, NFT_CMP_EQ, &reply, sizeof(reply));
	match_packets(b, IP_CT_DIR_REPLY, NFT_CMP_EQ, 1);
	match_ct_state(b, NF_CT_STATE_BIT(IP_CT_ESTABLISHED));
	match_status(b, IPS_DYING, NFT_CMP_EQ);
	expr_verdict(b, NFT_JUMP, chains[CHAIN_FIRST]);
	rules_bytes(b, false, side);
	rules_bytes(b, true, side);
	rules_first(b, false, side);
	rules_first(b, true, side);
	rule_begin(b, CHAIN_FIRST);
	expr_count(b, 0);
}

static void
rules_hooked(struct builder *b)
{
	/* lo is interface 1 in every namespace, always. */
	const uint32_t lo = 1;

	for (unsigned c = CHAIN_INPUT; c <= CHAIN_OUTPUT; c++) {
		rule_begin(b, c);
		expr_meta(b, c == CHAIN_OUTPUT ? NFT_META_OIF : NFT_META_IIF, NFT_REG_1);
		expr_cmp(b, NFT_CMP_NEQ, &lo, sizeof(lo));
		expr_verdict(b, NFT_JUMP, chains[CHAIN_EACH]);
	}
}

/* Transactions */

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
	const uint32_t ends = set_is_v6(set) ? TYPE_ENDS(8u) : TYPE_ENDS(7u);
	const uint32_t key_len = set_is_v6(set) ? 40 : 16;
	struct nftnl_expr *counter = nftnl_expr_alloc("counter");
	struct nftnl_set *s = nftnl_set_alloc();
	char name[SET_NAME_MAX];

	if (s == NULL || counter == NULL)
		goto fail;
	set_name(set, side, name);
	nftnl_set_set_u32(s, NFTNL_SET_FAMILY, t->kind->family);
	nftnl_set_set_u32(s, NFTNL_SET_ID, 1 + side * NFT_SEEN_SETS + set);
	nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_EVAL);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, set_is_conn(set) ? ends << 6 | 13u : ends);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, set_is_conn(set) ? key_len + 4 : key_len);
	nftnl_set_set_u32(s, NFTNL_SET_DESC_SIZE, NFT_SEEN_SIZE);
	if (nftnl_set_set_str(s, NFTNL_SET_TABLE, t->name) < 0 ||
	    nftnl_set_set_str(s, NFTNL_SET_NAME, name) < 0)
		goto fail;
	nftnl_set_add_expr(s, counter);
	return s;
fail:
	if (counter != NULL)
		nftnl_expr_free(counter);
	if (s != NULL)
		nftnl_set_free(s);
	return NULL;
}

static void
batch_sets(struct nft_batch *b, const struct nft_target *t, unsigned side)
{
	for (unsigned set = 0; set < NFT_SEEN_SETS; set++) {
		struct nftnl_set *s = set_build(t, set, side);
		struct nlmsghdr *nlh;

		if (s == NULL) {
			b->err = -ENOMEM;
			return;
		}
		nlh = nft_batch_msg(b, NFT_MSG_NEWSET, t->kind->family, NLM_F_CREATE | NLM_F_EXCL);
		if (nlh != NULL) {
			nftnl_set_nlmsg_build_payload(nlh, s);
			nft_batch_commit_msg(b, nlh);
		}
		nftnl_set_free(s);
	}
}

static void
batch_drop(struct nft_batch *b, const struct nft_target *t, unsigned side)
{
	char name[SET_NAME_MAX];

	for (unsigned set = 0; set < NFT_SEEN_SETS; set++) {
		set_name(set, side, name);
		nft_batch_del(b, NFT_MSG_DELSET, t->kind->family, NFTA_SET_TABLE, t->name,
		    NFTA_SET_NAME, name);
	}
}

static void
batch_rules_of(struct nft_batch *b, const struct nft_target *t, unsigned side)
{
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	struct builder rb = { .target = t, .rules = &rules };

	rules_of(&rb, side);
	batch_built(b, t, &rb);
}

int
nft_seen_look(int sock, const char *table, struct nft_seen_state *ret)
{
	_cleanup_(nft_inventory_done) struct nft_inventory inv = { 0 };
	struct nft_seen_state st = { 0 };
	uint64_t counted[NFT_N_COUNTERS] = { 0 };
	struct nft_target t;
	char name[SET_NAME_MAX];
	int r = target_of(table, &t);

	if (r == 0)
		r = nft_inventory_read(sock, &t, &inv);
	if (r == 0 && inv.present)
		r = nft_refused_read(sock, &t, counted);
	if (r < 0)
		return r;
	st.present = inv.present;
	st.missed = counted[0];
	for (size_t i = 0; i < inv.chains.n; i++)
		st.hooked |= strcmp(inv.chains.v[i], chains[CHAIN_INPUT]) == 0;
	for (unsigned side = 0; side < NFT_SEEN_SIDES; side++) {
		set_name(NFT_SEEN_CONN4, side, name);
		for (size_t i = 0; i < inv.sets.n; i++)
			if (strcmp(inv.sets.v[i], name) == 0)
				st.sides |= 1u << side;
	}
	*ret = st;
	return 0;
}

static int
prepare(int sock, const struct nft_target *t, bool present, uint32_t flags)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	int r = nft_batch_start(&b, nft_seq_start());

	if (r < 0)
		return r;
	if (present)
		nft_batch_del(
		    &b, NFT_MSG_DELTABLE, t->kind->family, NFTA_TABLE_NAME, t->name, 0, NULL);
	nft_batch_table(&b, t, flags);
	nft_batch_counter(&b, t, counters[0]);
	for (unsigned c = N_BASE; c < N_CHAINS; c++)
		nft_batch_chain(&b, t, c, NULL);
	batch_sets(&b, t, 0);
	batch_rules_of(&b, t, 0);
	return nft_batch_send(&b, sock);
}

int
nft_seen_prepare(int sock, const char *table, bool owned)
{
	struct nft_seen_state st;
	struct nft_target t;
	int r = target_of(table, &t);

	if (r == 0)
		r = nft_seen_look(sock, table, &st);
	if (r < 0)
		return r;
	return prepare(sock, &t, st.present, owned ? NFT_FLAG_OWNER | NFT_FLAG_PERSIST : 0);
}

int
nft_seen_hook(int sock, const char *table)
{
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target t;
	struct builder rb = { .target = &t, .rules = &rules };
	int r = target_of(table, &t);

	if (r == 0)
		r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	for (unsigned c = 0; c < N_BASE; c++)
		nft_batch_chain(&b, &t, c, NULL);
	rules_hooked(&rb);
	batch_built(&b, &t, &rb);
	return nft_batch_send(&b, sock);
}

int
nft_seen_rotate(int sock, const char *table, unsigned side, const struct nft_seen_state *st)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target t;
	int r = target_of(table, &t);

	if (r == 0)
		r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	for (unsigned c = N_BASE; c < N_CHAINS; c++)
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
	int r = target_of(table, &t);

	if (r == 0)
		r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	batch_drop(&b, &t, side);
	return nft_batch_send(&b, sock);
}

int
nft_seen_delete(int sock, const char *table)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target t;
	int r = target_of(table, &t);

	if (r == 0)
		r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	nft_batch_del(&b, NFT_MSG_DELTABLE, t.kind->family, NFTA_TABLE_NAME, t.name, 0, NULL);
	r = nft_batch_send(&b, sock);
	return r == -ENOENT ? 0 : r;
}

int
nft_seen_request(int sock, const char *table, unsigned side, enum nft_seen_set set, uint32_t seq)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nft_target t;
	struct nlmsghdr *nlh;
	char name[SET_NAME_MAX];
	uint8_t req[256];
	int r = target_of(table, &t);

	if (r < 0)
		return r;
	set_name(set, side, name);
	nlh = mnl_nlmsg_put_header(req);
	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM);
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = seq;
	*(struct nfgenmsg *)mnl_nlmsg_put_extra_header(nlh, sizeof(struct nfgenmsg)) =
	    (struct nfgenmsg){ .nfgen_family = NFPROTO_INET };
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, t.name);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, name);
	if (sendto(sock, req, nlh->nlmsg_len, MSG_DONTWAIT, (struct sockaddr *)&kernel,
		sizeof(kernel)) < 0)
		return -errno;
	return 0;
}
