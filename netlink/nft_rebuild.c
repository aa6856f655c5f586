/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole table at once: where there is none, over what somebody else has made of it, or with
 * other sizes.
 *
 * An interval set that is as it should be is never replaced or flushed, not over an unknown state
 * either: its elements are read, and those that are to stay are not touched.
 */
#include "netlink/nft_table_priv.h"

#include "rules/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <string.h>

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

	nft_batch_flush_rules(b, t);
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

/* A name for twins that none in the table has: a change may have ended halfway. */
static void
choose_suffix(struct nft_target *t, const struct nft_inventory *inv)
{
	size_t i, len, tail;
	unsigned k = 0;

	do {
		tail = (size_t)snprintf(t->suffix, sizeof(t->suffix), "_new%u", k++);
		for (i = 0; i < inv->sets.n; i++) {
			len = strlen(inv->sets.v[i]);
			if (len > tail && strcmp(inv->sets.v[i] + len - tail, t->suffix) == 0)
				break;
		}
	} while (i < inv->sets.n);
}

static int
send_whole(struct nft_table *t, const struct plan *p, const struct nft_inventory *inv,
    uint32_t flags, const bool *keep, const uint32_t *size, const struct nft_target *with,
    const struct nft_delta *delta, bool staged)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	bool anew = inv->present && keep == NULL;
	unsigned i;
	int r;

	r = nft_batch_start(&b, nft_seq_start());
	if (r < 0)
		return r;
	if (anew)
		nft_batch_del_table(&b, &t->target);
	nft_batch_table(&b, &t->target, flags);
	if (inv->present && !anew)
		batch_clear(&b, &t->target, inv, keep);
	for (i = 0; i < NFT_N_COUNTERS; i++)
		nft_batch_counter(&b, &t->target, t->target.kind->counters[i]);
	for (i = 0; i < t->target.kind->n_chains; i++)
		nft_batch_chain(&b, &t->target, i, &p->modes);
	for (i = 0; i < t->target.kind->n_sets; i++)
		if (keep == NULL || !keep[i])
			nft_batch_set(&b, &t->target, i, size[i]);
	if (staged)
		nft_batch_hashed(&b, &t->target, &delta->add);
	else
		nft_batch_delta(&b, &t->target, delta);
	nft_batch_rules(&b, with, &p->modes);
	return nft_batch_send(&b, t->sock);
}

/* Errors that say nothing about what the table looks like: no reason to build it anew. */
static bool
is_resource_error(int r)
{
	return r == -EPERM || r == -ENOMEM || r == -ENOBUFS || r == -E2BIG || r == -EMSGSIZE ||
	       r == -ENFILE || r == -EPROTO || nft_is_passing(r);
}

/*
 * The whole table: over what is there, or (anew) after deleting it. In the first case what is old
 * goes last, as in any change.
 */
static int
apply_whole(
    struct nft_table *t, struct plan *p, const struct nft_inventory *inv, uint32_t flags, bool anew)
{
	_cleanup_(nft_delta_done) struct nft_delta delta = { 0 };
	_cleanup_(nft_elems_done) struct nft_elems kept = { 0 };
	struct nft_target with = t->target;
	uint32_t size[NFT_N_SETS];
	bool keep[NFT_N_SETS], staged = inv->present && !anew;
	unsigned i;
	int r;

	for (i = 0; i < t->target.kind->n_sets; i++) {
		keep[i] = !anew && inv->size[i] > 0 && inv->size[i] >= p->count[i];
		size[i] = keep[i] ? inv->size[i] : p->size[i];
	}
	r = elems_kept(&inv->elems, keep, &kept);
	if (r == 0)
		r = nft_delta_make(&kept, &p->elems, &delta);
	if (r < 0)
		return r;
	choose_suffix(&t->target, inv);
	if (staged)
		r = nft_twins_make(t->sock, &t->target, &delta.add, &with);
	if (is_resource_error(r))
		return r;
	/* Where no twins can be made, the transaction that follows says why. */
	staged = staged && r == 0;
	r = send_whole(t, p, inv, flags, anew ? NULL : keep, size, &with, &delta, staged);
	if (r < 0) {
		nft_twins_drop(t->sock, &with);
		return r;
	}
	memcpy(p->size, size, sizeof(size));
	/* What passed under the rules that were there is not known. */
	p->narrows = p->modes.in == MODE_ENFORCE || p->modes.out == MODE_ENFORCE;
	p->begun = true;
	if (staged)
		r = nft_gone_send(t->sock, &with, &delta, &p->begun);
	return r < 0 ? r : nft_twins_end(t->sock, &with, &p->modes);
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

int
table_rebuild(struct nft_table *t, struct plan *p)
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
