/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a ruleset to the elements of the table's sets. Pure: no netlink in here. */
#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

void
nft_elems_done(struct nft_elems *e)
{
	free(e->v);
	e->v = NULL;
	e->n = 0;
}

int
nft_elem_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct nft_elem));
}

void
nft_elem_finish(struct nft_elem *e)
{
	uint32_t len = e->set < NFT_SET_LOCAL4 ? nft_set_shape(e->set)->key_len : 0;

	e->proto = len > 0 ? e->key[len - 8] : 0;
}

static bool
elems_sorted(const struct nft_elems *e)
{
	size_t i;

	for (i = 1; i < e->n; i++)
		if (nft_elem_cmp(&e->v[i - 1], &e->v[i]) >= 0)
			return false;
	return true;
}

void
nft_elems_sort(struct nft_elems *e)
{
	size_t i, n = 0;

	if (elems_sorted(e))
		return;
	qsort(e->v, e->n, sizeof(*e->v), nft_elem_cmp);
	for (i = 1; i < e->n; i++)
		if (nft_elem_cmp(&e->v[i], &e->v[n]) != 0)
			e->v[++n] = e->v[i];
	e->n = n + 1;
}

static void
key_fill(uint8_t *key, size_t addr_bytes, const uint8_t *addr, uint8_t proto, uint16_t port)
{
	memcpy(key, addr, addr_bytes);
	key[addr_bytes] = proto;
	key[addr_bytes + 4] = (uint8_t)(port >> 8);
	key[addr_bytes + 5] = (uint8_t)port;
}

static bool
elem_valid(const struct ruleset_elem *e)
{
	if (e->lo.family != e->hi.family || (e->lo.family != 4 && e->lo.family != 6))
		return false;
	if (memcmp(e->lo.bytes, e->hi.bytes, sizeof(e->lo.bytes)) > 0 || e->port_lo > e->port_hi)
		return false;
	if ((e->dir != DIR_INGRESS && e->dir != DIR_EGRESS) || e->allow > 1)
		return false;
	switch (e->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return true;
	case IPPROTO_ICMP:
		return e->lo.family == 4;
	case IPPROTO_ICMPV6:
		return e->lo.family == 6;
	}
	return false;
}

static unsigned
elem_set(const struct ruleset_elem *e)
{
	return nft_set_id(
	    e->dir == DIR_EGRESS, e->allow, !ruleset_elem_is_exact(e), e->lo.family == 6);
}

static unsigned
local_set(const struct addr *a)
{
	return a->family == 6 ? NFT_SET_LOCAL6 : NFT_SET_LOCAL4;
}

/* Where each set's elements begin, so that they can be filled in the ruleset's order. */
static int
count_sets(const struct ruleset *r, size_t at[static NFT_N_SETS])
{
	size_t count[NFT_N_SETS] = { 0 }, i, sum = 0;

	for (i = 0; i < r->n_elems; i++) {
		if (!elem_valid(&r->elems[i]))
			return -EINVAL;
		count[elem_set(&r->elems[i])]++;
	}
	for (i = 0; i < r->n_local; i++) {
		if (r->local[i].family != 4 && r->local[i].family != 6)
			return -EINVAL;
		count[local_set(&r->local[i])]++;
	}
	for (i = 0; i < NFT_N_SETS; i++) {
		at[i] = sum;
		sum += count[i];
	}
	return 0;
}

int
nft_elems_build(const struct ruleset *r, struct nft_elems *ret)
{
	struct nft_elems out = { .n = r->n_elems + r->n_local };
	size_t at[NFT_N_SETS], i, addr_bytes;
	struct nft_elem *x;
	unsigned set;
	int err;

	if (r->n_elems > RULESET_MAX_ELEMENTS || r->n_local > RULESET_MAX_LOCAL)
		return -E2BIG;
	err = count_sets(r, at);
	if (err < 0)
		return err;
	out.v = calloc(out.n + 1, sizeof(*out.v));
	if (out.v == NULL)
		return -ENOMEM;
	for (i = 0; i < r->n_elems; i++) {
		const struct ruleset_elem *e = &r->elems[i];

		set = elem_set(e);
		x = &out.v[at[set]++];
		x->set = (uint8_t)set;
		addr_bytes = addr_len(&e->lo);
		key_fill(x->key, addr_bytes, e->lo.bytes, e->proto, e->port_lo);
		if (nft_set_shape(set)->range)
			key_fill(x->end, addr_bytes, e->hi.bytes, e->proto, e->port_hi);
		nft_elem_finish(x);
	}
	for (i = 0; i < r->n_local; i++) {
		set = local_set(&r->local[i]);
		x = &out.v[at[set]++];
		x->set = (uint8_t)set;
		memcpy(x->key, r->local[i].bytes, addr_len(&r->local[i]));
	}
	nft_elems_sort(&out);
	*ret = out;
	return 0;
}
