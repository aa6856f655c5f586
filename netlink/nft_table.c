/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of one namespace: its layout, and the transactions that bring it to a ruleset.
 *
 * Layout (family inet, flags owner and persist where the kernel has them):
 *   base chains   input, output, forward: filter, priority 0; policy drop where the direction
 *                 enforces, and a last rule that drops besides, because the policy changes a moment
 *                 after the rules. forward drops when either direction enforces.
 *   chains        refuse_in, refuse_out: what happens to a refused packet.
 *   counters      dropped_in, dropped_out, dropped_forward: since the table was made.
 *   sets          {allow,deny}_{in,out}{4,6}: (address . protocol . port) by hash;
 *                 {allow,deny}_{in,out}{4,6}_range: the same in ranges;
 *                 local4, local6: addresses of identified local workloads.
 *   The address is the other end's, the port the destination's, or ICMP's type and code. Elements
 *   of allow sets count their packets.
 *
 * Invariants: every change is one transaction. Chains are never re-created while the table is
 * intact. Rules depend on modes, rate and group alone, elements on the rest; `known` says that
 * `modes`, `elems` and `size` are what the kernel last accepted from us. A hash set keeps the size
 * it was declared with, so one that outgrows it is replaced, rules and all, in one transaction.
 *
 * An interval set shows new elements a moment after the transaction's rules and other elements
 * (nft_set_pipapo.c commits its copy of the whole set; old elements are gone at once). So one that
 * is as it should be is never replaced or flushed, not over an unknown state either: its elements
 * are read, and those that are to stay are not touched.
 */
#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Entries a hash set is declared with; buckets are allocated for all of them, 8 bytes each. */
#define HASH_SIZE_MIN 512u
#define HASH_SIZE_MAX 524288u
/* A bound only: interval sets allocate as they fill. */
#define RANGE_SIZE 524288u

struct nft_table {
	int sock;
	struct nft_target target;
	bool known, owned;
	bool no_owner; /* the kernel has no owner or persist flag */
	struct nft_modes modes;
	struct nft_elems elems;
	uint32_t size[NFT_N_SETS];
	bool narrowed;
};

static void
batch_chain(
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

static void
batch_set(struct nft_batch *b, const struct nft_target *t, unsigned set, uint32_t size)
{
	struct nftnl_set *s = nft_set_build(t, set, size);
	struct nlmsghdr *nlh;

	if (s == NULL) {
		b->err = -ENOMEM;
		return;
	}
	nlh = nft_batch_msg(b, NFT_MSG_NEWSET, t->kind->family, NLM_F_CREATE);
	if (nlh != NULL) {
		nftnl_set_nlmsg_build_payload(nlh, s);
		nft_batch_commit_msg(b, nlh);
	}
	nftnl_set_free(s);
}

static void
batch_counter(struct nft_batch *b, const struct nft_target *t, const char *name)
{
	struct nlmsghdr *nlh = nft_batch_msg(b, NFT_MSG_NEWOBJ, t->kind->family, NLM_F_CREATE);
	struct nlattr *nest;

	if (nlh == NULL)
		return;
	mnl_attr_put_strz(nlh, NFTA_OBJ_TABLE, t->name);
	mnl_attr_put_strz(nlh, NFTA_OBJ_NAME, name);
	mnl_attr_put_u32(nlh, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
	nest = mnl_attr_nest_start(nlh, NFTA_OBJ_DATA);
	mnl_attr_nest_end(nlh, nest);
	nft_batch_commit_msg(b, nlh);
}

static void
batch_rules(struct nft_batch *b, const struct nft_target *t, const struct nft_modes *m)
{
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	struct nlmsghdr *nlh;
	size_t i;
	int r;

	r = t->kind->rules(t, m, &rules);
	if (r < 0) {
		b->err = r;
		return;
	}
	for (i = 0; i < rules.n; i++) {
		nlh =
		    nft_batch_msg(b, NFT_MSG_NEWRULE, t->kind->family, NLM_F_CREATE | NLM_F_APPEND);
		if (nlh == NULL)
			return;
		nftnl_rule_nlmsg_build_payload(nlh, rules.v[i]);
		nft_batch_commit_msg(b, nlh);
	}
}

static void
batch_flush_rules(struct nft_batch *b, const struct nft_target *t)
{
	nft_batch_del(b, NFT_MSG_DELRULE, t->kind->family, NFTA_RULE_TABLE, t->name, 0, NULL);
}

/* What the table is to become. */
struct plan {
	struct nft_modes modes;
	struct nft_elems elems;
	uint32_t count[NFT_N_SETS], size[NFT_N_SETS];
	bool owned, narrows;
};

static void
plan_done(struct plan *p)
{
	nft_elems_done(&p->elems);
}

static void
plan_size(struct plan *p)
{
	for (size_t i = 0; i < p->elems.n; i++)
		p->count[p->elems.v[i].set]++;
	for (unsigned set = 0; set < NFT_N_SETS; set++) {
		p->size[set] = nft_set_shape(set)->range ? RANGE_SIZE : HASH_SIZE_MIN;
		while (p->size[set] < HASH_SIZE_MAX && p->size[set] < 2 * p->count[set])
			p->size[set] *= 2;
	}
}

static int
plan_make(const struct ruleset *r, const struct nft_pin *pin, struct plan *ret)
{
	_cleanup_(plan_done) struct plan p = { .modes = nft_modes_of(r) };
	int err;

	if (r != NULL) {
		if (r->in_mode > MODE_ENFORCE || r->out_mode > MODE_ENFORCE)
			return -EINVAL;
		err = nft_elems_build(r, &p.elems);
		if (err < 0)
			return err;
	}
	if (pin != NULL) {
		memcpy(p.modes.mac, pin->mac, sizeof(p.modes.mac));
		err = nft_elems_add_guard(&p.elems, r, pin);
		if (err < 0)
			return err;
	}
	plan_size(&p);
	*ret = p;
	p.elems = (struct nft_elems){ 0 };
	return 0;
}

/* The differences of two sorted lists: *del and *add have room for all of old and want. */
static void
elems_diff(const struct nft_elems *old, const struct nft_elems *want, struct nft_elems *del,
    struct nft_elems *add)
{
	size_t i = 0, j = 0;
	int c;

	while (i < old->n || j < want->n) {
		if (i == old->n)
			c = 1;
		else if (j == want->n)
			c = -1;
		else
			c = nft_elem_cmp(&old->v[i], &want->v[j]);
		if (c < 0)
			del->v[del->n++] = old->v[i];
		else if (c > 0)
			add->v[add->n++] = want->v[j];
		i += c <= 0;
		j += c >= 0;
	}
}

/* What is approved no more, or denied anew. A range that is only cut up differently counts too. */
static bool
elems_narrow(const struct nft_elems *del, const struct nft_elems *add)
{
	for (size_t i = 0; i < del->n; i++)
		if (nft_set_is_verdict(del->v[i].set, true))
			return true;
	for (size_t i = 0; i < add->n; i++)
		if (nft_set_is_verdict(add->v[i].set, false))
			return true;
	return false;
}

static int
batch_diff(struct nft_batch *b, const struct nft_target *t, const struct nft_elems *old,
    const struct nft_elems *want, bool *ret_narrows)
{
	_cleanup_(nft_elems_done) struct nft_elems del = { 0 }, add = { 0 };

	del.v = calloc(old->n + 1, sizeof(*del.v));
	add.v = calloc(want->n + 1, sizeof(*add.v));
	if (del.v == NULL || add.v == NULL)
		return -ENOMEM;
	elems_diff(old, want, &del, &add);
	/* Ranges that a cut replaces must be gone before their successors come. */
	nft_batch_elems(b, t, false, del.v, del.n);
	nft_batch_elems(b, t, true, add.v, add.n);
	*ret_narrows = elems_narrow(&del, &add);
	return del.n + add.n > 0;
}

static bool
modes_narrow(const struct nft_modes *old, const struct nft_modes *want)
{
	return (old->in != MODE_ENFORCE && want->in == MODE_ENFORCE) ||
	       (old->out != MODE_ENFORCE && want->out == MODE_ENFORCE);
}

static int
apply_delta(struct nft_table *t, struct plan *p)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	bool rules = !nft_modes_eq(&t->modes, &p->modes);
	unsigned i;
	int r;

	r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	if (rules) {
		batch_flush_rules(&b, &t->target);
		for (i = 0; i < t->target.kind->n_base; i++)
			batch_chain(&b, &t->target, i, &p->modes);
	}
	r = batch_diff(&b, &t->target, &t->elems, &p->elems, &p->narrows);
	p->narrows |= modes_narrow(&t->modes, &p->modes);
	if (r < 0 || (r == 0 && !rules))
		return r;
	if (rules)
		batch_rules(&b, &t->target, &p->modes);
	return nft_batch_send(&b, t->sock);
}

static bool
is_ours(const char *name, const char *const *ours, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(name, ours[i]) == 0)
			return true;
	return false;
}

/*
 * Everything in the table but our chains, our counters and the sets to keep. Rules first: they
 * refer to the rest.
 */
static void
batch_clear(struct nft_batch *b, const struct nft_target *t, const struct nft_inventory *inv,
    const bool *keep)
{
	struct nlmsghdr *nlh;
	unsigned set;
	size_t i;

	batch_flush_rules(b, t);
	for (i = 0; i < inv->sets.n; i++) {
		for (set = 0; set < t->kind->n_sets; set++)
			if (keep[set] && strcmp(nft_set_shape(set)->name, inv->sets.v[i]) == 0)
				break;
		if (set == t->kind->n_sets)
			nft_batch_del(b, NFT_MSG_DELSET, t->kind->family, NFTA_SET_TABLE, t->name,
			    NFTA_SET_NAME, inv->sets.v[i]);
	}
	for (i = 0; i < inv->chains.n; i++)
		if (!is_ours(inv->chains.v[i], t->kind->chains, t->kind->n_chains))
			nft_batch_del(b, NFT_MSG_DELCHAIN, t->kind->family, NFTA_CHAIN_TABLE,
			    t->name, NFTA_CHAIN_NAME, inv->chains.v[i]);
	for (i = 0; i < inv->flowtables.n; i++)
		nft_batch_del(b, NFT_MSG_DELFLOWTABLE, t->kind->family, NFTA_FLOWTABLE_TABLE,
		    t->name, NFTA_FLOWTABLE_NAME, inv->flowtables.v[i]);
	for (i = 0; i < inv->objs.n; i++) {
		uint8_t type = (uint8_t)inv->objs.v[i][0];

		if (type == NFT_OBJECT_COUNTER &&
		    is_ours(inv->objs.v[i] + 1, t->kind->counters, NFT_N_COUNTERS))
			continue;
		nlh = nft_batch_msg(b, NFT_MSG_DELOBJ, t->kind->family, 0);
		if (nlh == NULL)
			return;
		mnl_attr_put_strz(nlh, NFTA_OBJ_TABLE, t->name);
		mnl_attr_put_strz(nlh, NFTA_OBJ_NAME, inv->objs.v[i] + 1);
		mnl_attr_put_u32(nlh, NFTA_OBJ_TYPE, htonl(type));
		nft_batch_commit_msg(b, nlh);
	}
}

/* The elements of the sets to keep. */
static int
elems_kept(const struct nft_elems *all, const bool *keep, struct nft_elems *ret)
{
	struct nft_elems kept = { 0 };
	size_t i;

	kept.v = calloc(all->n + 1, sizeof(*kept.v));
	if (kept.v == NULL)
		return -ENOMEM;
	for (i = 0; i < all->n; i++)
		if (all->v[i].set < NFT_N_SETS && keep[all->v[i].set])
			kept.v[kept.n++] = all->v[i];
	*ret = kept;
	return 0;
}

/* The whole table in one transaction: over what is there, or (anew) after deleting it. */
static int
apply_whole(
    struct nft_table *t, struct plan *p, const struct nft_inventory *inv, uint32_t flags, bool anew)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	_cleanup_(nft_elems_done) struct nft_elems kept = { 0 };
	uint32_t size[NFT_N_SETS];
	bool keep[NFT_N_SETS];
	unsigned i;
	int r;

	for (i = 0; i < t->target.kind->n_sets; i++) {
		keep[i] = !anew && inv->size[i] > 0 && inv->size[i] >= p->count[i];
		size[i] = keep[i] ? inv->size[i] : p->size[i];
	}
	r = elems_kept(&inv->elems, keep, &kept);
	if (r < 0)
		return r;
	r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	if (inv->present && anew)
		nft_batch_del(&b, NFT_MSG_DELTABLE, t->target.kind->family, NFTA_TABLE_NAME,
		    t->target.name, 0, NULL);
	nft_batch_table(&b, &t->target, flags);
	if (inv->present && !anew)
		batch_clear(&b, &t->target, inv, keep);
	for (i = 0; i < NFT_N_COUNTERS; i++)
		batch_counter(&b, &t->target, t->target.kind->counters[i]);
	for (i = 0; i < t->target.kind->n_chains; i++)
		batch_chain(&b, &t->target, i, &p->modes);
	for (i = 0; i < t->target.kind->n_sets; i++)
		if (!keep[i])
			batch_set(&b, &t->target, i, size[i]);
	r = batch_diff(&b, &t->target, &kept, &p->elems, &p->narrows);
	if (r < 0)
		return r;
	/* What passed under the rules that were there is not known. */
	p->narrows = p->modes.in == MODE_ENFORCE || p->modes.out == MODE_ENFORCE;
	batch_rules(&b, &t->target, &p->modes);
	r = nft_batch_send(&b, t->sock);
	if (r == 0)
		memcpy(p->size, size, sizeof(size));
	return r;
}

/* Errors that say nothing about what the table looks like: no reason to build it anew. */
static bool
is_resource_error(int r)
{
	return r == -EPERM || r == -ENOMEM || r == -ENOBUFS || r == -E2BIG || r == -EMSGSIZE ||
	       r == -ENFILE || r == -EINTR;
}

static int
apply_flags(struct nft_table *t, struct plan *p, const struct nft_inventory *inv, uint32_t flags)
{
	/*
	 * An orphan (persist, no owner) and our own table take the flags; one that somebody made
	 * without them, or that is dormant, does not and goes.
	 */
	bool fits = inv->flags == flags || (flags != 0 && inv->flags == NFT_FLAG_PERSIST);
	int r;

	r = apply_whole(t, p, inv, flags, !fits);
	if (r == 0 || is_resource_error(r) || !inv->present || !fits)
		return r;
	return apply_whole(t, p, inv, flags, true);
}

static int
apply_rebuild(struct nft_table *t, struct plan *p)
{
	_cleanup_(nft_inventory_done) struct nft_inventory inv = { 0 };
	int r;

	r = nft_inventory_read(t->sock, &t->target, &inv);
	/* More than we ever make, so somebody else did, and it goes as a whole. */
	if (r == -E2BIG)
		inv = (struct nft_inventory){ .present = true, .flags = UINT32_MAX };
	else if (r < 0)
		return r;
	if (!t->no_owner) {
		r = apply_flags(t, p, &inv, NFT_FLAG_OWNER | NFT_FLAG_PERSIST);
		p->owned = r == 0;
		if ((r != -EOPNOTSUPP && r != -EINVAL) || inv.flags & NFT_FLAG_OWNER)
			return r;
	}
	r = apply_flags(t, p, &inv, 0);
	if (r == 0)
		t->no_owner = true;
	return r;
}

static int
table_new(int sock, const char *name, const struct nft_kind *kind, struct nft_table **ret)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
	struct nft_table *t;
	size_t len = strlen(name);

	if (len >= NFT_TABLE_NAME_MAX || strncmp(name, "nanoseg", 7) != 0 ||
	    strspn(name, allowed) != len)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->sock = sock;
	t->target.kind = kind;
	memcpy(t->target.name, name, len);
	*ret = t;
	return 0;
}

int
nft_table_new(int sock, const char *name, uint16_t group, struct nft_table **ret)
{
	int r = table_new(sock, name, &nft_kind_inet, ret);

	if (r == 0)
		(*ret)->target.group = group;
	return r;
}

int
nft_guard_new(int sock, const char *name, const char *device, struct nft_table **ret)
{
	size_t len = strlen(device);
	int r;

	if (len == 0 || len >= NFT_DEVICE_NAME_MAX)
		return -EINVAL;
	r = table_new(sock, name, &nft_kind_guard, ret);
	if (r == 0)
		memcpy((*ret)->target.device, device, len);
	return r;
}

void
nft_table_free(struct nft_table *t)
{
	if (t == NULL)
		return;
	nft_elems_done(&t->elems);
	free(t);
}

static bool
plan_fits(const struct nft_table *t, const struct plan *p)
{
	unsigned set;

	for (set = 0; set < NFT_N_SETS; set++)
		if (p->count[set] > t->size[set])
			return false;
	return true;
}

static void
table_became(struct nft_table *t, struct plan *p)
{
	nft_elems_done(&t->elems);
	t->elems = p->elems;
	p->elems = (struct nft_elems){ 0 };
	t->modes = p->modes;
	memcpy(t->size, p->size, sizeof(t->size));
	t->owned = p->owned;
	t->known = true;
	t->narrowed = p->narrows;
}

static int
table_apply(
    struct nft_table *t, const struct ruleset *r, const struct nft_pin *pin, bool *ret_owned)
{
	_cleanup_(plan_done) struct plan p = { 0 };
	bool delta;
	int err;

	err = plan_make(r, pin, &p);
	if (err < 0)
		return err;
	delta = t->known && plan_fits(t, &p);
	if (delta) {
		memcpy(p.size, t->size, sizeof(p.size));
		p.owned = t->owned;
		err = apply_delta(t, &p);
		/* The table is not what we left (only an unowned one can change): all of it then.
		 */
		if (err == -ENOENT || err == -EEXIST || err == -ENOTEMPTY)
			delta = false;
	}
	if (!delta)
		err = apply_rebuild(t, &p);
	if (err < 0) {
		/* Committed or not, the kernel could not tell us. */
		if (err == -ENOBUFS || err == -EPROTO)
			t->known = false;
		return err;
	}
	table_became(t, &p);
	*ret_owned = t->owned;
	return 0;
}

int
nft_table_apply(struct nft_table *t, const struct ruleset *r, bool *ret_owned)
{
	return table_apply(t, r, NULL, ret_owned);
}

int
nft_guard_apply(
    struct nft_table *t, const struct ruleset *r, const struct nft_pin *pin, bool *ret_owned)
{
	return table_apply(t, r, pin, ret_owned);
}

static int
table_is_intact(struct nft_table *t, bool *ret)
{
	uint8_t expected[RULESET_DIGEST_LEN];
	struct nft_state st;
	int r = nft_table_read(t, &st);

	if (r == 0)
		r = nft_table_expected(t, expected);
	if (r == 0)
		*ret = st.present && memcmp(expected, st.digest, sizeof(expected)) == 0;
	return r;
}

int
nft_table_repair(struct nft_table *t, bool *ret_owned, bool *ret_changed)
{
	_cleanup_(plan_done) struct plan p = { .modes = t->modes };
	bool intact;
	int r = t->known ? table_is_intact(t, &intact) : -ENODATA;

	/* Too much to read is a change as well. */
	if (r == -E2BIG)
		intact = false;
	else if (r < 0)
		return r;
	if (!intact) {
		p.elems = t->elems;
		t->elems = (struct nft_elems){ 0 };
		plan_size(&p);
		r = apply_rebuild(t, &p);
		if (r < 0) {
			t->elems = p.elems;
			p.elems = (struct nft_elems){ 0 };
			return r;
		}
		table_became(t, &p);
		r = table_is_intact(t, &intact);
		if (r < 0 || !intact)
			return r < 0 ? r : -EBUSY;
		*ret_owned = t->owned;
		*ret_changed = true;
		return 0;
	}
	*ret_changed = false;
	return 0;
}

void
nft_table_forgo_owner(struct nft_table *t)
{
	t->no_owner = true;
}

bool
nft_table_narrowed(const struct nft_table *t)
{
	return t->narrowed;
}

int
nft_table_read(struct nft_table *t, struct nft_state *ret)
{
	return nft_state_read(t->sock, &t->target, ret);
}

int
nft_table_expected(const struct nft_table *t, uint8_t ret[static RULESET_DIGEST_LEN])
{
	if (!t->known)
		return -ENODATA;
	return nft_digest_expected(&t->target, &t->modes, &t->elems, ret);
}

int
nft_table_delete(struct nft_table *t)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	int r;

	r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	nft_batch_del(
	    &b, NFT_MSG_DELTABLE, t->target.kind->family, NFTA_TABLE_NAME, t->target.name, 0, NULL);
	r = nft_batch_send(&b, t->sock);
	if (r < 0 && r != -ENOENT)
		return r;
	nft_elems_done(&t->elems);
	t->known = t->owned = false;
	return 0;
}
