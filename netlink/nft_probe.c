/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel can do, found by trying in a namespace that exists for the purpose, and the way
 * out: counting and deleting tables by the prefix of their names, with no other state than that.
 */
#include "netlink/drain.h"
#include "netlink/netns.h"
#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/expr.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/*
 * A daemon makes one in a namespace; root inside may make any number of such names, which must not
 * hide that one.
 */
#define TABLES_MAX (1 << 20)

struct found_table {
	char *name;
	uint16_t family;
};

struct found {
	const char *prefix;
	struct found_table *v;
	int n, room;
};

static void
found_free(struct found **f)
{
	int i;

	for (i = 0; *f != NULL && i < (*f)->n; i++)
		free((*f)->v[i].name);
	if (*f != NULL)
		free((*f)->v);
	free(*f);
}

static int
found_add(struct found *f, const char *name, uint16_t family)
{
	if (f->n == TABLES_MAX)
		return -E2BIG;
	if (f->n == f->room) {
		int room = MAX(16, 2 * f->room);
		struct found_table *more = reallocarray(f->v, (size_t)room, sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		f->v = more;
		f->room = room;
	}
	f->v[f->n].name = strdup(name);
	if (f->v[f->n].name == NULL)
		return -ENOMEM;
	f->v[f->n++].family = family;
	return 0;
}

static int
on_table(void *arg, const struct nlmsghdr *nlh)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	struct found *f = arg;
	const struct nlattr *a;
	const char *name;
	int r;

	nl_for_each_attr(a, nlh, sizeof(*nfg))
	{
		if (mnl_attr_get_type(a) != NFTA_TABLE_NAME ||
		    mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0)
			continue;
		name = mnl_attr_get_str(a);
		if (strncmp(name, f->prefix, strlen(f->prefix)) != 0)
			continue;
		r = found_add(f, name, nfg->nfgen_family);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
find_tables(int sock, const char *prefix, struct found **ret)
{
	const struct nft_query q = {
		.type = NFT_MSG_GETTABLE,
		.family = NFPROTO_UNSPEC,
		.flags = NLM_F_DUMP,
	};
	unsigned i;
	int r = -EINTR;

	/* An empty prefix would be everyone's tables. */
	if (strncmp(prefix, "nanoseg", 7) != 0)
		return -EINVAL;
	for (i = 0; i < 8 && r == -EINTR; i++) {
		_cleanup_(found_free) struct found *f = calloc(1, sizeof(*f));

		if (f == NULL)
			return -ENOMEM;
		f->prefix = prefix;
		r = nft_query(sock, &q, on_table, f);
		if (r == 0)
			*ret = steal_ptr(f);
	}
	return r;
}

int
nft_count_tables(int sock, const char *prefix)
{
	_cleanup_(found_free) struct found *f = NULL;
	int r;

	r = find_tables(sock, prefix, &f);
	return r < 0 ? r : f->n;
}

int
nft_each_table(int sock, const char *prefix, void (*fn)(void *arg, const char *name), void *arg)
{
	_cleanup_(found_free) struct found *f = NULL;
	int r;

	r = find_tables(sock, prefix, &f);
	for (int i = 0; r == 0 && i < f->n; i++)
		fn(arg, f->v[i].name);
	return r;
}

/* An orphan has no owner, so it needs no adoption: anyone with the capability may delete it. */
int
nft_cleanup(int sock, const char *prefix)
{
	_cleanup_(found_free) struct found *f = NULL;
	int i, r, err = 0, deleted = 0;

	r = find_tables(sock, prefix, &f);
	if (r < 0)
		return r;
	/* One transaction each: a table that a living owner holds must not keep the others. */
	for (i = 0; i < f->n; i++) {
		_cleanup_(nft_batch_done) struct nft_batch b = { 0 };

		r = nft_batch_start(&b, nft_seq_start());
		if (r == 0) {
			nft_batch_del(&b, NFT_MSG_DELTABLE, f->v[i].family, NFTA_TABLE_NAME,
			    f->v[i].name, 0, NULL);
			r = nft_batch_send(&b, sock);
		}
		if (r == 0)
			deleted++;
		else if (r != -ENOENT && err == 0)
			err = r;
	}
	return err < 0 ? err : deleted;
}

/* Expressions of the rule that tries a feature. */

static int
try_ct_event(struct nftnl_rule *r)
{
	const uint32_t mask = 1;
	struct nftnl_expr *e = nftnl_expr_alloc("immediate");

	if (e == NULL)
		return -ENOMEM;
	nftnl_rule_add_expr(r, e);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	if (nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, &mask, sizeof(mask)) < 0)
		return -ENOMEM;
	e = nftnl_expr_alloc("ct");
	if (e == NULL)
		return -ENOMEM;
	nftnl_rule_add_expr(r, e);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_EVENTMASK);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_SREG, NFT_REG_1);
	return 0;
}

static int
try_log(struct nftnl_rule *r)
{
	struct nftnl_expr *e = nftnl_expr_alloc("log");

	if (e == NULL)
		return -ENOMEM;
	nftnl_rule_add_expr(r, e);
	nftnl_expr_set_u16(e, NFTNL_EXPR_LOG_GROUP, 1);
	return 0;
}

static int
try_reject(struct nftnl_rule *r)
{
	struct nftnl_expr *e = nftnl_expr_alloc("reject");

	if (e == NULL)
		return -ENOMEM;
	nftnl_rule_add_expr(r, e);
	nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
	nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
	return 0;
}

static int
try_nothing(struct nftnl_rule *r)
{
	return 0;
}

struct attempt {
	uint32_t feature;
	uint32_t flags; /* of the table */
	int (*rule)(struct nftnl_rule *r);
	bool ranges;
	bool guard;
};

static const struct attempt attempts[] = {
	{ NFT_CAN_TABLE, 0, NULL, false, false },
	{ NFT_CAN_OWNER, NFT_FLAG_OWNER, NULL, false, false },
	{ NFT_CAN_PERSIST, NFT_FLAG_OWNER | NFT_FLAG_PERSIST, NULL, false, false },
	{ NFT_CAN_CT_EVENT, 0, try_ct_event, false, false },
	{ NFT_CAN_CONCAT_RANGES, 0, NULL, true, false },
	{ NFT_CAN_LOG, 0, try_log, false, false },
	{ NFT_CAN_REJECT, 0, try_reject, false, false },
	{ NFT_CAN_INGRESS, 0, try_nothing, false, true },
};

static int
attempt_rule(struct nft_batch *b, const struct nft_target *t, int (*fill)(struct nftnl_rule *r))
{
	const struct nft_modes observe = { MODE_OBSERVE, MODE_OBSERVE, 0, { 0 } };
	struct nftnl_chain *c = nft_chain_build(t, 0, &observe);
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nlmsghdr *nlh;
	int r = -ENOMEM;

	if (c == NULL || rule == NULL)
		goto out;
	nlh = nft_batch_msg(b, NFT_MSG_NEWCHAIN, t->kind->family, NLM_F_CREATE);
	if (nlh == NULL)
		goto out;
	nftnl_chain_nlmsg_build_payload(nlh, c);
	nft_batch_commit_msg(b, nlh);
	if (nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, t->name) < 0 ||
	    nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, t->kind->chains[0]) < 0)
		goto out;
	r = fill(rule);
	if (r < 0)
		goto out;
	nlh = nft_batch_msg(b, NFT_MSG_NEWRULE, t->kind->family, NLM_F_CREATE | NLM_F_APPEND);
	if (nlh != NULL) {
		nftnl_rule_nlmsg_build_payload(nlh, rule);
		nft_batch_commit_msg(b, nlh);
	}
	r = b->err;
out:
	if (c != NULL)
		nftnl_chain_free(c);
	if (rule != NULL)
		nftnl_rule_free(rule);
	return r;
}

static int
attempt_ranges(struct nft_batch *b, const struct nft_target *t)
{
	struct nftnl_set *set = nft_set_build(t, nft_set_id(false, true, true, false), 16);
	struct nlmsghdr *nlh;

	if (set == NULL)
		return -ENOMEM;
	nlh = nft_batch_msg(b, NFT_MSG_NEWSET, t->kind->family, NLM_F_CREATE);
	if (nlh != NULL) {
		nftnl_set_nlmsg_build_payload(nlh, set);
		nft_batch_commit_msg(b, nlh);
	}
	nftnl_set_free(set);
	return b->err;
}

static int
attempt_run(int sock, const struct attempt *a)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target t = { .kind = a->guard ? &nft_kind_guard : &nft_kind_inet };
	int r;

	snprintf(t.name, sizeof(t.name), "%s", nft_feature_name(a->feature));
	if (a->guard)
		snprintf(t.device, sizeof(t.device), "lo");

	r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	nft_batch_table(&b, &t, a->flags);
	if (a->rule != NULL)
		r = attempt_rule(&b, &t, a->rule);
	else if (a->ranges)
		r = attempt_ranges(&b, &t);
	if (r < 0)
		return r;
	return nft_batch_send(&b, sock);
}

static int
socket_in_new_netns(void)
{
	_cleanup_close_ int self = -1;
	int sock, err;

	self = netns_open_self();
	if (self < 0)
		return self;
	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	err = errno;
	/* A thread left in the wrong namespace would act on it. */
	if (setns(self, CLONE_NEWNET) < 0)
		abort();
	return sock < 0 ? -err : sock;
}

int
nft_probe(uint32_t *ret_features)
{
	_cleanup_close_ int sock = -1;
	uint32_t features = 0;
	size_t i;
	int r;

	sock = socket_in_new_netns();
	if (sock < 0)
		return sock;
	for (i = 0; i < ARRAY_SIZE(attempts); i++) {
		r = attempt_run(sock, &attempts[i]);
		if (r == 0)
			features |= attempts[i].feature;
		else if (r == -EPERM || r == -ENOMEM || r == -ENOBUFS)
			return r;
	}
	*ret_features = features;
	return 0;
}
