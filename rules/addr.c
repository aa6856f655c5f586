/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses and prefixes as plain values.
 *
 * Invariants: unused bytes are zero, and no value of family 6 made here is IPv4-mapped, so one host
 * has one value. Scope follows three lists: what is neither multicast nor local is the internet,
 * which makes 240/4 and the documentation ranges part of it. Local IPv6 also has the unspecified
 * address, the former site-local fec0::/10 (RFC 3879) and ::ffff:0:0/96, which on the wire (never
 * in a value made here) would stand for any IPv4 address, private ones included.
 */
#include "rules/addr.h"
#include "rules/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
#define V4(a, b, c, d) { .family = 4, .bytes = { a, b, c, d } }
#define V6(...) { .family = 6, .bytes = { __VA_ARGS__ } }
#define FF4 0xff, 0xff, 0xff, 0xff
#define FF12 FF4, FF4, FF4

static const struct prefix local_prefixes[] = {
	{ V4(0, 0, 0, 0), 8 },
	{ V4(10, 0, 0, 0), 8 },
	{ V4(100, 64, 0, 0), 10 },
	{ V4(127, 0, 0, 0), 8 },
	{ V4(169, 254, 0, 0), 16 },
	{ V4(172, 16, 0, 0), 12 },
	{ V4(192, 168, 0, 0), 16 },
	{ V6(0), 127 }, /* unspecified and loopback */
	{ V6(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff), 96 },
	{ V6(0xfc), 7 },
	{ V6(0xfe, 0x80), 9 }, /* link-local and site-local */
};

static const struct prefix multicast_prefixes[] = {
	{ V4(224, 0, 0, 0), 4 },
	{ V4(255, 255, 255, 255), 32 },
	{ V6(0xff), 8 },
};

static const struct addr_range internet4[] = {
	{ V4(1, 0, 0, 0), V4(9, 255, 255, 255) },
	{ V4(11, 0, 0, 0), V4(100, 63, 255, 255) },
	{ V4(100, 128, 0, 0), V4(126, 255, 255, 255) },
	{ V4(128, 0, 0, 0), V4(169, 253, 255, 255) },
	{ V4(169, 255, 0, 0), V4(172, 15, 255, 255) },
	{ V4(172, 32, 0, 0), V4(192, 167, 255, 255) },
	{ V4(192, 169, 0, 0), V4(223, 255, 255, 255) },
	{ V4(240, 0, 0, 0), V4(255, 255, 255, 254) },
};

static const struct addr_range internet6[] = {
	{ V6(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2),
	  V6(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, FF4) },
	{ V6(0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
	  V6(0xfb, 0xff, 0xff, 0xff, FF12) },
	{ V6(0xfe, 0x00),
	  V6(0xfe, 0x7f, 0xff, 0xff, FF12) },
};
/* clang-format on */

static const uint8_t mapped_head[12] = { [10] = 0xff, [11] = 0xff };

struct addr
addr_from_v4(const void *four_bytes)
{
	struct addr a = { .family = 4 };

	memcpy(a.bytes, four_bytes, 4);
	return a;
}

struct addr
addr_from_v6(const void *sixteen_bytes)
{
	struct addr a = { .family = 6 };

	if (memcmp(sixteen_bytes, mapped_head, sizeof(mapped_head)) == 0)
		return addr_from_v4((const uint8_t *)sixteen_bytes + sizeof(mapped_head));
	memcpy(a.bytes, sixteen_bytes, 16);
	return a;
}

/* *ret_bits: the length of the family as written, 128 for a mapped address. */
static int
parse_literal(const char *text, struct addr *ret, unsigned *ret_bits)
{
	uint8_t raw[16];

	if (inet_pton(AF_INET, text, raw) == 1) {
		*ret = addr_from_v4(raw);
		*ret_bits = 32;
		return 0;
	}
	if (inet_pton(AF_INET6, text, raw) == 1) {
		*ret = addr_from_v6(raw);
		*ret_bits = 128;
		return 0;
	}
	return -EINVAL;
}

int
addr_parse(const char *text, struct addr *ret)
{
	unsigned bits;

	return parse_literal(text, ret, &bits);
}

/* The longest run of at least two zero groups, the first of equals (RFC 5952, 4.2). */
static unsigned
longest_zero_run(const unsigned group[static 8], unsigned *ret_len)
{
	unsigned best = 8, best_len = 1;

	for (unsigned i = 0; i < 8; i++) {
		unsigned n = 0;

		while (i + n < 8 && group[i + n] == 0)
			n++;
		if (n > best_len) {
			best = i;
			best_len = n;
		}
		i += n;
	}
	*ret_len = best < 8 ? best_len : 0;
	return best;
}

static void
format_v6(const uint8_t bytes[static 16], char buf[static ADDR_STRLEN])
{
	unsigned group[8], run_len, run, pos = 0;

	for (unsigned i = 0; i < 8; i++)
		group[i] = (unsigned)bytes[2 * i] << 8 | bytes[2 * i + 1];
	run = longest_zero_run(group, &run_len);

	for (unsigned i = 0; i < 8;) {
		if (i == run) {
			pos += (unsigned)snprintf(buf + pos, ADDR_STRLEN - pos, "::");
			i += run_len;
			continue;
		}
		pos += (unsigned)snprintf(buf + pos, ADDR_STRLEN - pos, "%s%x",
		    i == 0 || i == run + run_len ? "" : ":", group[i]);
		i++;
	}
}

const char *
addr_format(const struct addr *a, char buf[static ADDR_STRLEN])
{
	switch (a->family) {
	case 4:
		snprintf(buf, ADDR_STRLEN, "%u.%u.%u.%u", a->bytes[0], a->bytes[1], a->bytes[2],
		    a->bytes[3]);
		break;
	case 6:
		format_v6(a->bytes, buf);
		break;
	default:
		snprintf(buf, ADDR_STRLEN, "?");
		break;
	}
	return buf;
}

bool
addr_eq(const struct addr *a, const struct addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int
addr_cmp(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

uint64_t
addr_hash(const struct addr *a, uint64_t seed)
{
	uint64_t half[2];

	/* The seed goes into each round, so that colliding halves cannot be made without it. */
	memcpy(half, a->bytes, sizeof(half));
	seed += a->family * 0x9e3779b97f4a7c15ULL;
	return hash_mix64((hash_mix64(half[0] + seed) ^ half[1]) + seed);
}

size_t
addr_len(const struct addr *a)
{
	return a->family == 4 ? 4 : 16;
}

static const struct prefix *
find_prefix(const struct prefix *list, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++) {
		if (prefix_contains(&list[i], a))
			return &list[i];
	}
	return NULL;
}

const struct prefix *
addr_local_prefix(const struct addr *a)
{
	return find_prefix(local_prefixes, ARRAY_SIZE(local_prefixes), a);
}

enum addr_scope
addr_scope(const struct addr *a)
{
	if (addr_is_multicast(a))
		return SCOPE_MULTICAST;
	return addr_local_prefix(a) != NULL ? SCOPE_LOCAL : SCOPE_INTERNET;
}

bool
addr_is_loopback(const struct addr *a)
{
	static const struct prefix v4 = { V4(127, 0, 0, 0), 8 };
	static const struct prefix v6 = { V6(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), 128 };

	return prefix_contains(&v4, a) || prefix_contains(&v6, a);
}

bool
addrs_contain(const struct addr *list, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (addr_eq(&list[i], a))
			return true;
	return false;
}

bool
addr_is_multicast(const struct addr *a)
{
	/* Asked of every frame: all of them are above what most addresses begin with. */
	return a->bytes[0] >= 0xe0 &&
	       find_prefix(multicast_prefixes, ARRAY_SIZE(multicast_prefixes), a) != NULL;
}

bool
addr_is_routed(const struct addr *a)
{
	static const struct prefix bound[] = {
		{ V4(0, 0, 0, 0), 8 },
		{ V4(169, 254, 0, 0), 16 },
		{ V4(255, 255, 255, 255), 32 },
		{ V6(0), 128 },
		{ V6(0xfe, 0x80), 10 },
	};

	return !addr_is_loopback(a) && !addr_is_multicast(a) &&
	       find_prefix(bound, ARRAY_SIZE(bound), a) == NULL;
}

static bool
bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

int
prefix_parse(const char *text, struct prefix *ret)
{
	const char *slash = strchr(text, '/');
	size_t addr_chars = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char literal[ADDR_STRLEN];
	struct addr a;
	struct prefix p;
	unsigned bits, len;
	int r;

	if (addr_chars >= sizeof(literal))
		return -EINVAL;
	memcpy(literal, text, addr_chars);
	literal[addr_chars] = '\0';
	r = parse_literal(literal, &a, &bits);
	if (r < 0)
		return r;

	len = bits;
	if (slash != NULL) {
		const char *c = slash + 1;

		if (*c == '\0' || (c[0] == '0' && c[1] != '\0'))
			return -EINVAL;
		for (len = 0; *c != '\0'; c++) {
			if (*c < '0' || *c > '9')
				return -EINVAL;
			len = len * 10 + (unsigned)(*c - '0');
			if (len > bits)
				return -EINVAL;
		}
	}
	if (bits == 128 && a.family == 4) {
		/* Shorter ones hold more than the mapped addresses. */
		if (len < 96)
			return -EINVAL;
		len -= 96;
	}

	p = prefix_of(&a, (uint8_t)len);
	if (!addr_eq(&p.addr, &a))
		return -EINVAL;
	*ret = p;
	return 0;
}

const char *
prefix_format(const struct prefix *p, char buf[static PREFIX_STRLEN])
{
	char text[ADDR_STRLEN];

	snprintf(buf, PREFIX_STRLEN, "%s/%u", addr_format(&p->addr, text), p->len);
	return buf;
}

struct prefix
prefix_of(const struct addr *a, uint8_t len)
{
	struct prefix p = { .addr = *a };
	unsigned max = (unsigned)addr_len(a) * 8;

	p.len = (uint8_t)MIN(len, max);
	for (unsigned bit = p.len; bit < 128; bit = (bit / 8 + 1) * 8)
		p.addr.bytes[bit / 8] &= (uint8_t)(0xff00 >> bit % 8);
	return p;
}

bool
prefix_contains(const struct prefix *p, const struct addr *a)
{
	return p->addr.family != 0 && p->addr.family == a->family &&
	       bits_equal(p->addr.bytes, a->bytes, (unsigned)MIN(p->len, addr_len(a) * 8));
}

bool
prefix_covers(const struct prefix *p, const struct prefix *q)
{
	return p->len <= q->len && prefix_contains(p, &q->addr);
}

struct addr_range
prefix_range(const struct prefix *p)
{
	struct addr_range r = { .lo = p->addr, .hi = p->addr };
	unsigned max = (unsigned)addr_len(&p->addr) * 8;

	for (unsigned bit = p->len; bit < max; bit = (bit / 8 + 1) * 8)
		r.hi.bytes[bit / 8] |= (uint8_t)(0xff >> bit % 8);
	return r;
}

const struct addr_range *
addr_internet_ranges(uint8_t family, size_t *ret_n)
{
	*ret_n = 0;
	if (family == 4) {
		*ret_n = ARRAY_SIZE(internet4);
		return internet4;
	}
	if (family == 6) {
		*ret_n = ARRAY_SIZE(internet6);
		return internet6;
	}
	return NULL;
}
