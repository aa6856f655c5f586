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
nft_elems_sort(struct nft_elems *e)
{
	size_t i, n = 0;

	if (e->n == 0)
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

int
nft_elems_build(const struct ruleset *r, struct nft_elems *ret)
{
	_cleanup_(nft_elems_done) struct nft_elems out = { 0 };
	size_t i, addr_bytes;

	if (r->n_elems > RULESET_MAX_ELEMENTS || r->n_local > RULESET_MAX_LOCAL)
		return -E2BIG;
	out.v = calloc(r->n_elems + r->n_local + 1, sizeof(*out.v));
	if (out.v == NULL)
		return -ENOMEM;
	for (i = 0; i < r->n_elems; i++) {
		const struct ruleset_elem *e = &r->elems[i];
		bool range = !ruleset_elem_is_exact(e);
		struct nft_elem *x = &out.v[out.n++];

		if (!elem_valid(e))
			return -EINVAL;
		x->set =
		    (uint8_t)nft_set_id(e->dir == DIR_EGRESS, e->allow, range, e->lo.family == 6);
		addr_bytes = addr_len(&e->lo);
		key_fill(x->key, addr_bytes, e->lo.bytes, e->proto, e->port_lo);
		if (range)
			key_fill(x->end, addr_bytes, e->hi.bytes, e->proto, e->port_hi);
	}
	for (i = 0; i < r->n_local; i++) {
		const struct addr *a = &r->local[i];
		struct nft_elem *x = &out.v[out.n++];

		if (a->family != 4 && a->family != 6)
			return -EINVAL;
		x->set = a->family == 6 ? NFT_SET_LOCAL6 : NFT_SET_LOCAL4;
		memcpy(x->key, a->bytes, addr_len(a));
	}
	nft_elems_sort(&out);
	*ret = out;
	out = (struct nft_elems){ 0 };
	return 0;
}
