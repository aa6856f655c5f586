/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rules/extent.h. */
#include "rules/extent.h"

#include "rules/sketch.h"
#include "rules/util.h"

#include <errno.h>
#include <string.h>

static const uint8_t steps4[] = { 28, 24, 20, 16, 12, 8 };
static const uint8_t steps6[] = { 64, 56, 48, 32, 16, 8 };

uint8_t
prefix_step(uint8_t family, uint8_t len)
{
	const uint8_t *steps = family == 6 ? steps6 : steps4;

	_Static_assert(ARRAY_SIZE(steps4) == ARRAY_SIZE(steps6), "one loop for both");
	for (size_t i = 0; i < ARRAY_SIZE(steps4); i++)
		if (steps[i] < len)
			return steps[i];
	return 0;
}

/* Cuts all to the length, which makes some of them the same. */
static void
prefixes_cut(struct prefix *list, uint8_t *n, uint8_t len)
{
	uint8_t kept = 0;

	for (uint8_t i = 0; i < *n; i++) {
		struct prefix p = prefix_of(&list[i].addr, len);

		if (kept == 0 || !addr_eq(&list[kept - 1].addr, &p.addr))
			list[kept++] = p;
	}
	memset(&list[kept], 0, (size_t)(*n - kept) * sizeof(*list));
	*n = kept;
}

static void
prefixes_add(struct edge_extent *x, struct prefix p)
{
	struct prefix *list = x->prefixes[p.addr.family == 6];
	uint8_t *n = &x->n_prefixes[p.addr.family == 6], at;

	if (*n > 0 && p.len < list[0].len)
		prefixes_cut(list, n, p.len);
	for (;;) {
		uint8_t len = *n > 0 ? list[0].len : p.len;

		p = prefix_of(&p.addr, len);
		for (at = 0; at < *n && addr_cmp(&list[at].addr, &p.addr) < 0; at++)
			;
		if (at < *n && addr_eq(&list[at].addr, &p.addr))
			return;
		if (*n < EXTENT_PREFIXES)
			break;
		prefixes_cut(list, n, prefix_step(p.addr.family, len));
	}
	memmove(&list[at + 1], &list[at], (*n - at) * sizeof(*list));
	list[at] = p;
	++*n;
}

void
extent_add_port(struct edge_extent *x, uint16_t port)
{
	x->n_ports =
	    (uint16_t)sketch_add(x->ports, x->n_ports, EXTENT_SKETCH, (uint32_t)hash_mix64(port));
}

void
extent_add_addr(struct edge_extent *x, const struct addr *a)
{
	x->n_addrs =
	    (uint16_t)sketch_add(x->addrs, x->n_addrs, EXTENT_SKETCH, (uint32_t)addr_hash(a, 0));
	prefixes_add(x, prefix_of(a, (uint8_t)(addr_len(a) * 8)));
}

void
extent_merge(struct edge_extent *into, const struct edge_extent *from)
{
	into->n_ports = (uint16_t)sketch_merge(
	    into->ports, into->n_ports, EXTENT_SKETCH, from->ports, from->n_ports);
	into->n_addrs = (uint16_t)sketch_merge(
	    into->addrs, into->n_addrs, EXTENT_SKETCH, from->addrs, from->n_addrs);
	for (unsigned f = 0; f < 2; f++)
		for (unsigned i = 0; i < from->n_prefixes[f]; i++)
			prefixes_add(into, from->prefixes[f][i]);
}

uint64_t
extent_ports(const struct edge_extent *x)
{
	return sketch_estimate(x->ports, x->n_ports, EXTENT_SKETCH);
}

uint64_t
extent_addrs(const struct edge_extent *x)
{
	return sketch_estimate(x->addrs, x->n_addrs, EXTENT_SKETCH);
}

/*
 * Bytes: the four counts (two of two bytes, two of one), the hashes, then a length and 16 bytes for
 * each prefix behind its family. Numbers are little-endian.
 */
static uint8_t *
write_hashes(uint8_t *p, const uint32_t *hashes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned b = 0; b < 4; b++)
			*p++ = (uint8_t)(hashes[i] >> (8 * b));
	return p;
}

size_t
extent_write(const struct edge_extent *x, uint8_t buf[static EXTENT_BYTES_MAX])
{
	uint8_t *p = buf;

	*p++ = (uint8_t)x->n_ports;
	*p++ = (uint8_t)(x->n_ports >> 8);
	*p++ = (uint8_t)x->n_addrs;
	*p++ = (uint8_t)(x->n_addrs >> 8);
	*p++ = x->n_prefixes[0];
	*p++ = x->n_prefixes[1];
	p = write_hashes(p, x->ports, x->n_ports);
	p = write_hashes(p, x->addrs, x->n_addrs);
	for (unsigned f = 0; f < 2; f++) {
		for (unsigned i = 0; i < x->n_prefixes[f]; i++) {
			*p++ = x->prefixes[f][i].addr.family;
			*p++ = x->prefixes[f][i].len;
			memcpy(p, x->prefixes[f][i].addr.bytes, 16);
			p += 16;
		}
	}
	return (size_t)(p - buf);
}

int
extent_read(const uint8_t *buf, size_t len, struct edge_extent *ret)
{
	struct edge_extent x = { 0 };
	unsigned n_ports, n_addrs, n_prefixes;
	const uint8_t *p = buf + 6;

	if (len < 6)
		return -EBADMSG;
	n_ports = buf[0] | (unsigned)buf[1] << 8;
	n_addrs = buf[2] | (unsigned)buf[3] << 8;
	n_prefixes = (unsigned)buf[4] + buf[5];
	if (n_ports > EXTENT_SKETCH || n_addrs > EXTENT_SKETCH || buf[4] > EXTENT_PREFIXES ||
	    buf[5] > EXTENT_PREFIXES || len != 6 + (n_ports + n_addrs) * 4 + n_prefixes * 18)
		return -EBADMSG;
	for (unsigned i = 0; i < n_ports + n_addrs; i++, p += 4) {
		uint32_t hash =
		    p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

		if (i < n_ports)
			x.n_ports = (uint16_t)sketch_add(x.ports, x.n_ports, EXTENT_SKETCH, hash);
		else
			x.n_addrs = (uint16_t)sketch_add(x.addrs, x.n_addrs, EXTENT_SKETCH, hash);
	}
	for (unsigned i = 0; i < n_prefixes; i++, p += 18) {
		struct addr a = { .family = p[0] };

		if ((p[0] != 4 && p[0] != 6) || p[1] > addr_len(&a) * 8)
			return -EBADMSG;
		memcpy(a.bytes, p + 2, addr_len(&a));
		prefixes_add(&x, prefix_of(&a, p[1]));
	}
	*ret = x;
	return 0;
}
