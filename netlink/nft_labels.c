/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table that looks for names of servers in what is sent.
 *
 *   output        base chain, after the rules. What a client sends by TCP and may be of either
 * kind, going by its first byte, jumps to sent; what has no payload is done with. sent          a
 * handshake record of TLS jumps to tls, what begins like a method of HTTP to http. tls, http     a
 * ClientHello; a request. Both jump to report. report        not over the loopback: reported, if
 * the set says so. asked4, asked6  (server, port), each with a limit of its own: so a server of
 * many connections costs a few reports an hour, and takes none from another. Where there is no room
 *                 in the set, nothing is reported.
 *
 * No chain has a verdict: nothing that passes is held by it. The payload behind a TCP header is
 * known to the kernel from 5.16 on; older ones refuse the table.
 */
#include "netlink/nft_labels.h"

#include "netlink/nft_expr.h"

#include <errno.h>
/* Before linux/netfilter.h, which brings the kernel's own <linux/in.h>. */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <string.h>

/* Not in the headers of older kernels. */
#define PAYLOAD_INNER_HEADER 3u

#define ASKED_SIZE 4096u
#define ASKED_MS (3600u * 1000)
#define ASKED_PER_HOUR 10u
#define ASKED_BURST 5u
#define REPORTS_PER_SECOND 20u /* of the namespace */

#define TYPE_SERVER(addr) ((addr) << 6 | NFT_TYPE_SERVICE)

enum {
	LABELS_OUTPUT,
	LABELS_SENT,
	LABELS_TLS,
	LABELS_HTTP,
	LABELS_REPORT,
	LABELS_CHAINS,
};
#define LABELS_BASE LABELS_SENT

static const char *const chains[LABELS_CHAINS] = { "output", "sent", "tls", "http", "report" };
static const char *const set_names[2] = { "asked4", "asked6" };
static const struct nft_hook hooks[LABELS_BASE] = {
	[LABELS_OUTPUT] = { NF_INET_LOCAL_OUT, 10 },
};

static const struct nft_kind kind_labels = {
	.family = NFPROTO_INET,
	.n_chains = LABELS_CHAINS,
	.n_base = LABELS_BASE,
	.chains = chains,
	.hooks = hooks,
	.policy = nft_policy_accept,
};

static int
target_of(const char *table, uint16_t group, struct nft_target *ret)
{
	struct nft_target t = { .kind = &kind_labels, .group = group };

	if (snprintf(t.name, sizeof(t.name), "%s%s", table, NFT_LABELS_SUFFIX) >=
	    (int)sizeof(t.name))
		return -EINVAL;
	*ret = t;
	return 0;
}

static struct nftnl_expr *
limit_build(void)
{
	struct nftnl_expr *e = nftnl_expr_alloc("limit");

	if (e == NULL)
		return NULL;
	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_RATE, ASKED_PER_HOUR);
	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_UNIT, 3600);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_BURST, ASKED_BURST);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_FLAGS, 0);
	return e;
}

static struct nftnl_set *
set_build(const struct nft_target *t, bool v6)
{
	struct nftnl_set *s = nft_set_new(t, set_names[v6], 1u + v6,
	    v6 ? TYPE_SERVER(NFT_TYPE_IPV6) : TYPE_SERVER(NFT_TYPE_IPV4), v6 ? 20 : 8, ASKED_SIZE);

	if (s != NULL) {
		nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_EVAL | NFT_SET_TIMEOUT);
		nftnl_set_set_u64(s, NFTNL_SET_TIMEOUT, ASKED_MS);
	}
	return nft_set_with(s, limit_build());
}

static void
match_payload(struct builder *b, uint32_t op, uint32_t offset, const void *data, uint32_t len)
{
	expr_payload(b, PAYLOAD_INNER_HEADER, offset, len, NFT_REG_1);
	expr_cmp(b, op, data, len);
}

static void
rules_output(struct builder *b)
{
	static const uint8_t handshake = 22, first = 'C', last = 'T';

	/* Most of what is sent has no payload, or another: so this is asked first. */
	rule_begin(b, LABELS_OUTPUT);
	match_payload(b, NFT_CMP_GTE, 0, &handshake, sizeof(handshake));
	expr_cmp_u8(b, NFT_CMP_LTE, last);
	match_meta_u8(b, NFT_META_L4PROTO, NFT_CMP_EQ, IPPROTO_TCP);
	expr_ct(b, NFT_CT_DIRECTION, NFT_REG_1);
	expr_cmp_u8(b, NFT_CMP_EQ, IP_CT_DIR_ORIGINAL);
	expr_verdict(b, NFT_JUMP, chains[LABELS_SENT]);
	rule_begin(b, LABELS_SENT);
	match_payload(b, NFT_CMP_EQ, 0, &handshake, sizeof(handshake));
	expr_verdict(b, NFT_JUMP, chains[LABELS_TLS]);
	rule_begin(b, LABELS_SENT);
	match_payload(b, NFT_CMP_GTE, 0, &first, sizeof(first));
	expr_verdict(b, NFT_JUMP, chains[LABELS_HTTP]);
}

static void
rules_begin_with(struct builder *b)
{
	static const char *const methods[] = { "GET ", "POST", "HEAD", "PUT ", "DELE", "PATC",
		"OPTI", "CONN" };
	static const uint8_t version = 3, client_hello = 1;

	rule_begin(b, LABELS_TLS);
	match_payload(b, NFT_CMP_EQ, 1, &version, sizeof(version));
	match_payload(b, NFT_CMP_EQ, 5, &client_hello, sizeof(client_hello));
	expr_verdict(b, NFT_JUMP, chains[LABELS_REPORT]);
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		rule_begin(b, LABELS_HTTP);
		match_payload(b, NFT_CMP_EQ, 0, methods[i], 4);
		expr_verdict(b, NFT_JUMP, chains[LABELS_REPORT]);
	}
}

static void
rule_report(struct builder *b, bool v6)
{
	struct nftnl_expr *e;

	rule_begin(b, LABELS_REPORT);
	match_meta_u8(b, NFT_META_NFPROTO, NFT_CMP_EQ, (uint8_t)(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4));
	match_loopback(b, true, NFT_CMP_NEQ);
	expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v6 ? 24 : 16, v6 ? 16 : 4, NFT_REG_1);
	expr_payload(
	    b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, v6 ? (uint32_t)NFT_REG_2 : NFT_REG32_01);
	e = expr_add(b, "dynset");
	if (e == NULL)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_ADD);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, NFT_REG_1);
	if (nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, set_names[v6]) < 0)
		b->err = -ENOMEM;
	expr_limit(b, REPORTS_PER_SECOND);
	expr_log_whole(b, 's', 'o');
}

int
nft_labels_load(int sock, const char *table, bool owned, uint16_t group)
{
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	_cleanup_(nft_batch_done) struct nft_batch batch = { 0 };
	struct nft_target t;
	struct builder b = { .target = &t, .rules = &rules };
	int r = target_of(table, group, &t);

	if (r == 0)
		r = nft_target_delete(sock, &t);
	if (r == 0)
		r = nft_batch_start(&batch, nft_seq_start());
	if (r < 0)
		return r;
	rules_output(&b);
	rules_begin_with(&b);
	rule_report(&b, false);
	rule_report(&b, true);
	if (b.err < 0)
		return b.err;
	nft_batch_table(&batch, &t, owned ? NFT_FLAG_OWNER | NFT_FLAG_PERSIST : 0);
	for (unsigned c = 0; c < LABELS_CHAINS; c++)
		nft_batch_chain(&batch, &t, c, NULL);
	for (unsigned v6 = 0; v6 < 2; v6++)
		nft_batch_new_set(&batch, &t, set_build(&t, v6), NLM_F_EXCL);
	for (size_t i = 0; i < rules.n; i++)
		nft_batch_rule(&batch, &t, rules.v[i]);
	return nft_batch_send(&batch, sock);
}

int
nft_labels_delete(int sock, const char *table)
{
	struct nft_target t;
	int r = target_of(table, 0, &t);

	return r < 0 ? r : nft_target_delete(sock, &t);
}
