/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From one set of elements and modes to another, so that at no moment anything passes that both
 * deny, and nothing is dropped that both allow.
 *
 * One transaction does not give that. The kernel makes its rules and its elements of hash sets
 * valid at one moment, but a packet that is on its way through a chain then sees some of the old
 * and some of the new. And an interval set changes only at the end of the commit
 * (nft_set_pipapo.c publishes its copy of the whole set); before Linux 6.17 what is deleted there
 * is gone from the begin of the commit all the same. So what is new comes before what is old goes:
 *
 *   1. interval sets get what is new to them in a twin, which no rule asks yet: an interval set
 *      takes no element that overlaps one which is still to go
 *      then, if something is denied where it will not be enforced any more, the rules of that: else
 *      the next step would drop what the old policy and the new mode let pass
 *   2. what is denied now; the rules ask the twins of denied elements as well
 *   3. what is allowed now; the rules become those of the new modes, and ask all twins; where
 *      something is no longer denied and begins to be enforced, not before the end: else what the
 *      old mode and the new policy let pass would be dropped until 4
 *   4. what was allowed goes, then what was denied; the interval sets get what is new
 *   5. the twins go
 *
 * What is empty is left out: an edge more or less is one transaction.
 */
#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/expr.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <string.h>

/* A bound only: interval sets allocate as they fill. */
#define TWIN_SIZE 524288u

static bool
is_range(unsigned set)
{
	return nft_set_shape(set)->range;
}

void
nft_batch_chain(
    struct nft_batch *b, const struct nft_target *t, unsigned chain, const struct nft_modes *m)
{
	struct nftnl_chain *c = nft_chain_build(t, chain, m);
	struct nlmsghdr *nlh;

	if (c == NULL) {
		b->err = -ENOMEM;
		return;
	}
	nlh = nft_batch_msg(b, NFT_MSG_NEWCHAIN, t->kind->family, NLM_F_CREATE);
	if (nlh != NULL) {
		nftnl_chain_nlmsg_build_payload(nlh, c);
		nft_batch_commit_msg(b, nlh);
	}
	nftnl_chain_free(c);
}

void
nft_batch_new_set(
    struct nft_batch *b, const struct nft_target *t, struct nftnl_set *s, uint16_t flags)
{
	struct nlmsghdr *nlh;

	if (s == NULL) {
		b->err = -ENOMEM;
		return;
	}
	nlh = nft_batch_msg(b, NFT_MSG_NEWSET, t->kind->family, NLM_F_CREATE | flags);
	if (nlh != NULL) {
		nftnl_set_nlmsg_build_payload(nlh, s);
		nft_batch_commit_msg(b, nlh);
	}
	nftnl_set_free(s);
}

void
nft_batch_set(struct nft_batch *b, const struct nft_target *t, unsigned set, uint32_t size)
{
	nft_batch_new_set(b, t, nft_set_build(t, set, size), 0);
}

void
nft_batch_rule(struct nft_batch *b, const struct nft_target *t, struct nftnl_rule *rule)
{
	struct nlmsghdr *nlh =
	    nft_batch_msg(b, NFT_MSG_NEWRULE, t->kind->family, NLM_F_CREATE | NLM_F_APPEND);

	if (nlh == NULL)
		return;
	nftnl_rule_nlmsg_build_payload(nlh, rule);
	nft_batch_commit_msg(b, nlh);
}

/* Negative if it does: that ends a walk. */
static int
asks_twin(struct nftnl_expr *e, void *arg)
{
	const char *suffix = arg, *set;
	size_t len, tail = strlen(suffix);

	if (strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_NAME), "lookup") != 0)
		return 0;
	set = nftnl_expr_get_str(e, NFTNL_EXPR_LOOKUP_SET);
	len = strlen(set);
	return len > tail && strcmp(set + len - tail, suffix) == 0 ? -EEXIST : 0;
}

void
nft_batch_rules(struct nft_batch *b, const struct nft_target *t, const struct nft_modes *m)
{
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 }, twins = { 0 };
	struct nft_target plain = *t;
	size_t i;
	int r;

	plain.twins = 0;
	r = t->kind->rules(&plain, m, &rules);
	if (r == 0 && t->twins != 0)
		r = t->kind->rules(t, m, &twins);
	if (r < 0) {
		b->err = r;
		return;
	}
	for (i = 0; i < rules.n; i++) {
		nft_batch_rule(b, t, rules.v[i]);
		if (i < twins.n && nftnl_expr_foreach(twins.v[i], asks_twin, (void *)t->suffix) < 0)
			nft_batch_rule(b, t, twins.v[i]);
	}
}

void
nft_batch_flush_rules(struct nft_batch *b, const struct nft_target *t)
{
	nft_batch_del(b, NFT_MSG_DELRULE, t->kind->family, NFTA_RULE_TABLE, t->name, 0, NULL);
}

static void
batch_anew(struct nft_batch *b, const struct nft_target *t, const struct nft_modes *m)
{
	nft_batch_flush_rules(b, t);
	for (unsigned i = 0; i < t->kind->n_base; i++)
		nft_batch_chain(b, t, i, m);
}

void
nft_delta_done(struct nft_delta *d)
{
	nft_elems_done(&d->del);
	nft_elems_done(&d->add);
}

int
nft_delta_make(const struct nft_elems *old, const struct nft_elems *want, struct nft_delta *ret)
{
	_cleanup_(nft_delta_done) struct nft_delta d = { 0 };
	size_t i = 0, j = 0;
	int c;

	d.del.v = calloc(old->n + 1, sizeof(*d.del.v));
	d.add.v = calloc(want->n + 1, sizeof(*d.add.v));
	if (d.del.v == NULL || d.add.v == NULL)
		return -ENOMEM;
	while (i < old->n || j < want->n) {
		if (i == old->n)
			c = 1;
		else if (j == want->n)
			c = -1;
		else
			c = nft_elem_cmp(&old->v[i], &want->v[j]);
		if (c < 0)
			d.del.v[d.del.n++] = old->v[i];
		else if (c > 0)
			d.add.v[d.add.n++] = want->v[j];
		i += c <= 0;
		j += c >= 0;
	}
	*ret = d;
	d = (struct nft_delta){ 0 };
	return 0;
}

static bool
has_verdict(const struct nft_elems *e, bool allow, unsigned dirs)
{
	for (size_t i = 0; i < e->n; i++)
		if (nft_set_is_verdict(e->v[i].set, allow) &&
		    (nft_set_dir(e->v[i].set) & dirs) != 0)
			return true;
	return false;
}

bool
nft_delta_narrows(const struct nft_delta *d)
{
	return has_verdict(&d->del, true, DIR_INGRESS | DIR_EGRESS) ||
	       has_verdict(&d->add, false, DIR_INGRESS | DIR_EGRESS);
}

void
nft_batch_delta(struct nft_batch *b, const struct nft_target *t, const struct nft_delta *d)
{
	/* Ranges that a cut replaces must be gone before their successors come. */
	nft_batch_elems(b, t, false, d->del.v, d->del.n);
	nft_batch_elems(b, t, true, d->add.v, d->add.n);
}

/* Runs of one set's elements, of those that `wanted` says. */
static bool
batch_some(struct nft_batch *b, const struct nft_target *t, bool add, const struct nft_elems *e,
    bool (*wanted)(unsigned set))
{
	bool any = false;
	size_t i, n;

	for (i = 0; i < e->n; i += n) {
		for (n = 1; i + n < e->n && e->v[i + n].set == e->v[i].set; n++)
			;
		if (!wanted(e->v[i].set))
			continue;
		nft_batch_elems(b, t, add, &e->v[i], n);
		any = true;
	}
	return any;
}

static bool
is_hash(unsigned set)
{
	return !is_range(set);
}

void
nft_batch_hashed(struct nft_batch *b, const struct nft_target *t, const struct nft_elems *add)
{
	batch_some(b, t, true, add, is_hash);
}

static bool
is_deny_hash(unsigned set)
{
	return nft_set_is_verdict(set, false) && !is_range(set);
}

static bool
is_allow_hash(unsigned set)
{
	return !nft_set_is_verdict(set, false) && !is_range(set);
}

int
nft_twins_make(
    int sock, const struct nft_target *t, const struct nft_elems *add, struct nft_target *ret)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target with = *t;
	size_t i;
	int r;

	with.twins = 0;
	for (i = 0; i < add->n; i++)
		if (is_range(add->v[i].set))
			with.twins |= 1u << add->v[i].set;
	if (with.twins != 0) {
		r = nft_batch_start(&b, nft_seq_start());
		if (r < 0)
			return r;
		for (i = 0; i < t->kind->n_sets; i++)
			if (with.twins >> i & 1)
				nft_batch_set(&b, &with, (unsigned)i, TWIN_SIZE);
		batch_some(&b, &with, true, add, is_range);
		r = nft_batch_send(&b, sock);
		if (r < 0)
			return r;
	}
	*ret = with;
	return 0;
}

static void
batch_del_twins(struct nft_batch *b, const struct nft_target *with)
{
	char name[NFT_SET_NAME_MAX];

	for (unsigned i = 0; i < with->kind->n_sets; i++)
		if (with->twins >> i & 1)
			nft_batch_del(b, NFT_MSG_DELSET, with->kind->family, NFTA_SET_TABLE,
			    with->name, NFTA_SET_NAME, nft_target_set(with, i, name));
}

void
nft_twins_drop(int sock, const struct nft_target *with)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };

	if (with->twins == 0 || nft_batch_start(&b, nft_seq_start()) < 0)
		return;
	batch_del_twins(&b, with);
	nft_batch_send(&b, sock);
}

int
nft_twins_end(int sock, const struct nft_target *with, const struct nft_modes *m)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target plain = *with;
	int r;

	if (with->twins == 0)
		return 0;
	plain.twins = 0;
	r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	nft_batch_flush_rules(&b, &plain);
	nft_batch_rules(&b, &plain, m);
	batch_del_twins(&b, with);
	return nft_batch_send(&b, sock);
}

static int
stage_send(struct nft_batch *b, int sock, struct nft_change *c)
{
	int r = nft_batch_send(b, sock);

	c->begun |= r == 0;
	return r;
}

/*
 * Those that are wanted, but a direction that begins to be enforced is not yet, while a denial of
 * its own is to go. For what goes the other way nothing is put off: with neither enforced all is
 * open.
 */
static struct nft_modes
modes_before_end(const struct nft_change *c)
{
	struct nft_modes m = *c->want;

	if (m.in == MODE_ENFORCE && has_verdict(&c->delta.del, false, DIR_INGRESS))
		m.in = c->old->in;
	if (m.out == MODE_ENFORCE && has_verdict(&c->delta.del, false, DIR_EGRESS))
		m.out = c->old->out;
	return m;
}

static int
send_modes(
    int sock, const struct nft_target *t, struct nft_change *c, const struct nft_modes *modes)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	int r = nft_batch_start(&b, nft_seq_start());

	if (r < 0)
		return r;
	batch_anew(&b, t, modes);
	nft_batch_rules(&b, t, modes);
	return stage_send(&b, sock, c);
}

/* *modes are in force, and are made those that stay enforced where denials of their own come. */
static int
send_loosened(int sock, const struct nft_target *t, struct nft_change *c, struct nft_modes *modes)
{
	struct nft_modes loose = *modes;

	if (loose.in == MODE_ENFORCE && has_verdict(&c->delta.add, false, DIR_INGRESS))
		loose.in = c->want->in;
	if (loose.out == MODE_ENFORCE && has_verdict(&c->delta.add, false, DIR_EGRESS))
		loose.out = c->want->out;
	if (nft_modes_eq(&loose, modes))
		return 0;
	*modes = loose;
	return send_modes(sock, t, c, modes);
}

static int
send_denied(
    int sock, const struct nft_target *with, struct nft_change *c, const struct nft_modes *modes)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	struct nft_target denied = *with, plain = *with;
	bool any;
	int r;

	plain.twins = 0;
	for (unsigned i = 0; i < NFT_N_SETS; i++)
		if (!nft_set_is_verdict(i, false))
			denied.twins &= ~(1u << i);
	r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	if (denied.twins != 0)
		batch_anew(&b, &denied, modes);
	any = batch_some(&b, &plain, true, &c->delta.add, is_deny_hash);
	if (denied.twins != 0)
		nft_batch_rules(&b, &denied, modes);
	return any || denied.twins != 0 ? stage_send(&b, sock, c) : 0;
}

static int
send_allowed(
    int sock, const struct nft_target *with, struct nft_change *c, const struct nft_modes *modes)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	bool rules = with->twins != 0 || !nft_modes_eq(c->old, modes), any;
	struct nft_target plain = *with;
	int r;

	plain.twins = 0;
	r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	if (rules)
		batch_anew(&b, with, modes);
	any = batch_some(&b, &plain, true, &c->delta.add, is_allow_hash);
	if (rules)
		nft_batch_rules(&b, with, modes);
	return any || rules ? stage_send(&b, sock, c) : 0;
}

static bool
is_deny(unsigned set)
{
	return nft_set_is_verdict(set, false);
}

static bool
is_allow(unsigned set)
{
	return !is_deny(set);
}

static bool
is_deny_range(unsigned set)
{
	return is_deny(set) && is_range(set);
}

static bool
is_allow_range(unsigned set)
{
	return is_allow(set) && is_range(set);
}

int
nft_gone_send(int sock, const struct nft_target *with, const struct nft_delta *d, bool *ret_begun)
{
	struct nft_target plain = *with;
	int r = 0;

	plain.twins = 0;
	for (unsigned deny = 0; deny < 2 && r == 0; deny++) {
		_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
		bool any;

		r = nft_batch_start(&b, nft_seq_start());
		if (r < 0)
			return r;
		/* Ranges that a cut replaces must be gone before their successors come. */
		any = batch_some(&b, &plain, false, &d->del, deny ? is_deny : is_allow);
		any |= batch_some(&b, &plain, true, &d->add, deny ? is_deny_range : is_allow_range);
		if (any)
			r = nft_batch_send(&b, sock);
		*ret_begun |= any && r == 0;
	}
	return r;
}

int
nft_change_send(int sock, const struct nft_target *t, struct nft_change *c)
{
	const struct nft_modes before_end = modes_before_end(c);
	struct nft_target with = *t;
	struct nft_modes modes = *c->old;
	int r;

	r = nft_twins_make(sock, t, &c->delta.add, &with);
	c->begun = r == 0 && with.twins != 0;
	if (r == 0)
		r = send_loosened(sock, t, c, &modes);
	if (r == 0)
		r = send_denied(sock, &with, c, &modes);
	if (r == 0)
		r = send_allowed(sock, &with, c, &before_end);
	if (r == 0)
		r = nft_gone_send(sock, &with, &c->delta, &c->begun);
	if (r == 0)
		r = nft_twins_end(sock, &with, &before_end);
	return r == 0 && !nft_modes_eq(&before_end, c->want) ? send_modes(sock, t, c, c->want) : r;
}
