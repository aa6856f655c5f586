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
 * Invariants: at no moment does anything pass that the old and the new rules deny, or is dropped
 * what both allow; nft_change.c says how. Chains are
 * never re-created while the table is intact. Rules depend on modes, rate and group alone, elements
 * on the rest; `known` says that `modes`, `elems` and `size` are what the kernel last accepted from
 * us. A hash set keeps the size it was declared with, so one that outgrows it is replaced, rules
 * and all, in one transaction.
 */
#include "netlink/nft_table_priv.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Entries a hash set is declared with; buckets are allocated for all of them, 8 bytes each. */
#define HASH_SIZE_MIN 512u
#define HASH_SIZE_MAX 524288u
/* A bound only: interval sets allocate as they fill. */
#define RANGE_SIZE 524288u

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

static bool
modes_narrow(const struct nft_modes *old, const struct nft_modes *want)
{
	return (old->in != MODE_ENFORCE && want->in == MODE_ENFORCE) ||
	       (old->out != MODE_ENFORCE && want->out == MODE_ENFORCE);
}

static int
apply_delta(struct nft_table *t, struct plan *p)
{
	struct nft_change change = { .old = &t->modes, .want = &p->modes };
	int r;

	r = nft_delta_make(&t->elems, &p->elems, &change.delta);
	if (r < 0)
		return r;
	p->nothing = change.delta.add.n == 0 && change.delta.del.n == 0 &&
		     nft_modes_eq(&t->modes, &p->modes);
	p->narrows = nft_delta_narrows(&change.delta) || modes_narrow(&t->modes, &p->modes);
	r = nft_change_send(t->sock, &t->target, &change);
	nft_delta_done(&change.delta);
	p->begun = change.begun;
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
	t->narrowed |= p->narrows;
	t->unchanged = p->nothing;
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
		err = table_rebuild(t, &p);
	if (err < 0) {
		/* Committed or not, the kernel could not tell us. Or it ended halfway. */
		if (err == -ENOBUFS || err == -EPROTO || p.begun)
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
		r = table_rebuild(t, &p);
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
nft_table_take_narrowed(struct nft_table *t)
{
	bool narrowed = t->narrowed;

	t->narrowed = false;
	return narrowed;
}

bool
nft_table_unchanged(const struct nft_table *t)
{
	return t->unchanged;
}

int
nft_table_read(struct nft_table *t, struct nft_state *ret)
{
	return nft_state_read(t->sock, &t->target, ret);
}

int
nft_table_holder(const struct nft_table *t, uint32_t *ret_port)
{
	struct sockaddr_nl own = { 0 };
	socklen_t len = sizeof(own);
	uint32_t port = 0;
	int r = nft_owner_read(t->sock, &t->target, &port);

	if (r < 0)
		return r;
	/* It has been given a port by now, if it had none. */
	if (getsockname(t->sock, (struct sockaddr *)&own, &len) < 0)
		return -errno;
	*ret_port = port != own.nl_pid ? port : 0;
	return 0;
}

int
nft_table_refused(struct nft_table *t, uint64_t *ret)
{
	uint64_t counters[NFT_N_COUNTERS];
	int r = nft_refused_read(t->sock, &t->target, counters);

	if (r == 0)
		*ret = counters[0];
	return r;
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
	int r = nft_target_delete(t->sock, &t->target);

	if (r < 0)
		return r;
	nft_elems_done(&t->elems);
	t->known = t->owned = false;
	return 0;
}
