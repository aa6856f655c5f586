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
	uint32_t len = nft_set_shape(e->set)->key_len;

	/* Others are of addresses alone. */
	e->proto = len == 12 || len == 24 ? e->key[len - 8] : 0;
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

/* Guards */

/* The link-local address that an interface gives itself, if nobody has said otherwise. */
static void
link_local_of(const uint8_t *mac, uint8_t *key)
{
	const uint8_t addr[16] = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff,
		0xfe, mac[3], mac[4], mac[5] };

	memcpy(key, addr, sizeof(addr));
}

/* By family, protocol and first address. */
static int
where_cmp(const void *va, const void *vb)
{
	const struct ruleset_elem *a = va, *b = vb;

	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	return addr_cmp(&a->lo, &b->lo);
}

/* Where something may go or answer to, each protocol's addresses as disjoint ranges. */
static size_t
where_merge(struct ruleset_elem *v, size_t n)
{
	size_t i, kept = 0;

	if (n == 0)
		return 0;
	qsort(v, n, sizeof(*v), where_cmp);
	for (i = 1; i < n; i++) {
		struct ruleset_elem *last = &v[kept];

		if (v[i].proto != last->proto || v[i].lo.family != last->lo.family ||
		    addr_cmp(&v[i].lo, &last->hi) > 0)
			v[++kept] = v[i];
		else if (addr_cmp(&v[i].hi, &last->hi) > 0)
			last->hi = v[i].hi;
	}
	return kept + 1;
}

static int
where_of(const struct ruleset *r, struct ruleset_elem **ret, size_t *ret_n)
{
	struct ruleset_elem *v = calloc(r->n_elems + 1, sizeof(*v));
	size_t i, n = 0;

	if (v == NULL)
		return -ENOMEM;
	for (i = 0; i < r->n_elems; i++)
		if (r->elems[i].allow)
			v[n++] = r->elems[i];
	*ret_n = where_merge(v, n);
	*ret = v;
	return 0;
}

/* An address of that length has no network of its own: what is on its link, routes alone say. */
#define HOST_LEN 128

/*
 * Where neighbours are: of all nodes of a link, link-local, and in the networks of the own
 * addresses.
 */
static size_t
link_of(const struct nft_pin *pin, struct ruleset_elem *v)
{
	static const struct prefix always[] = {
		{ { .family = 6, .bytes = { 0xff, 0x02 } }, 16, { 0 } },
		{ { .family = 6, .bytes = { 0xfe, 0x80 } }, 10, { 0 } },
	};
	struct addr_range range;
	size_t i, n = 0;

	for (i = 0; i < ARRAY_SIZE(always) + pin->n_addrs; i++) {
		const struct rtnl_addr *a =
		    i < ARRAY_SIZE(always) ? NULL : &pin->addrs[i - ARRAY_SIZE(always)];
		struct prefix net = a == NULL ? always[i] : prefix_of(&a->addr, a->prefix_len);

		if (net.addr.family != 6)
			continue;
		range = prefix_range(&net);
		if (net.len == HOST_LEN)
			range = prefix_range(&(struct prefix){ .addr.family = 6 });
		v[n++] = (struct ruleset_elem){
			.proto = IPPROTO_ICMPV6, .lo = range.lo, .hi = range.hi
		};
	}
	return where_merge(v, n);
}

static void
add_where(struct nft_elem *x, unsigned set, const struct ruleset_elem *where)
{
	x->set = (uint8_t)set;
	key_fill(x->key, addr_len(&where->lo), where->lo.bytes, where->proto, 0);
	key_fill(x->end, addr_len(&where->lo), where->hi.bytes, where->proto, 0);
	nft_elem_finish(x);
}

int
nft_elems_add_guard(struct nft_elems *e, const struct ruleset *r, const struct nft_pin *pin)
{
	_cleanup_free_ struct ruleset_elem *where = NULL, *link = NULL;
	size_t i, n_where, n_link, room;
	struct nft_elem *grown, *x;

	for (i = 0; i < pin->n_addrs; i++)
		if (pin->addrs[i].addr.family != 4 && pin->addrs[i].addr.family != 6)
			return -EINVAL;
	link = calloc(pin->n_addrs + 2, sizeof(*link));
	if (link == NULL || where_of(r, &where, &n_where) < 0)
		return -ENOMEM;
	n_link = link_of(pin, link);
	room = n_where + n_link + pin->n_addrs + 1;
	grown = reallocarray(e->v, e->n + room, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	e->v = grown;
	x = grown + e->n;
	memset(x, 0, room * sizeof(*x));
	x->set = NFT_SET_OWN6;
	link_local_of(pin->mac, x->key);
	for (i = 0, x++; i < pin->n_addrs; i++, x++) {
		const struct addr *a = &pin->addrs[i].addr;

		x->set = a->family == 6 ? NFT_SET_OWN6 : NFT_SET_OWN4;
		memcpy(x->key, a->bytes, addr_len(a));
	}
	for (i = 0; i < n_where; i++, x++)
		add_where(x, where[i].lo.family == 6 ? NFT_SET_FRAG6 : NFT_SET_FRAG4, &where[i]);
	for (i = 0; i < n_link; i++, x++)
		add_where(x, NFT_SET_LINK6, &link[i]);
	e->n = (size_t)(x - grown);
	nft_elems_sort(e);
	return 0;
}
