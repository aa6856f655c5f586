/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses, prefixes and their scope. Plain values, compared with memcmp: every byte that an
 * address family does not use is zero.
 */
#ifndef NANOSEG_RULES_ADDR_H
#define NANOSEG_RULES_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addr {
	uint8_t family; /* 4, 6, or 0 for "none" */
	uint8_t zero[3];
	uint8_t bytes[16]; /* network order; IPv4 uses the first four */
};

struct prefix {
	struct addr addr; /* host bits are zero */
	uint8_t len;
	uint8_t zero[3];
};

/* An inclusive range of addresses of one family. */
struct addr_range {
	struct addr lo, hi;
};

enum addr_scope {
	SCOPE_INTERNET, /* global unicast, documentation ranges included */
	SCOPE_LOCAL,	/* loopback, private, shared (100.64/10), link-local, unique local, 0/8, ::,
			   fec0::/10 */
	SCOPE_MULTICAST, /* 224/4, ff00::/8, 255.255.255.255 */
};

#define ADDR_STRLEN 46
#define PREFIX_STRLEN 50

struct addr addr_from_v4(const void *four_bytes);
/* An IPv4-mapped IPv6 address becomes the IPv4 address. */
struct addr addr_from_v6(const void *sixteen_bytes);

/* 0 or -EINVAL. Takes no zone, no leading zeros in IPv4, no surrounding space. */
int addr_parse(const char *text, struct addr *ret);
/* RFC 5952 text; "?" for family 0. Returns buf. */
const char *addr_format(const struct addr *a, char buf[static ADDR_STRLEN]);
bool addr_eq(const struct addr *a, const struct addr *b);
/* Total order: family first, then bytes. */
int addr_cmp(const struct addr *a, const struct addr *b);
uint64_t addr_hash(const struct addr *a, uint64_t seed);
enum addr_scope addr_scope(const struct addr *a);
/* The range of local addresses that it is in, or NULL; multicast is in none. Borrowed static data.
 */
const struct prefix *addr_local_prefix(const struct addr *a);
bool addrs_contain(const struct addr *list, size_t n, const struct addr *a);
bool addr_is_loopback(const struct addr *a);
bool addr_is_multicast(const struct addr *a);
/* Can be that of another machine beyond a router: none of loopback, link-local, multicast,
 * broadcast, 0/8, ::. */
bool addr_is_routed(const struct addr *a);
/* Length in bytes of a family's address: 4 or 16. */
size_t addr_len(const struct addr *a);

/* "A/len"; a bare address is a full-length prefix. Host bits set: -EINVAL. */
int prefix_parse(const char *text, struct prefix *ret);
const char *prefix_format(const struct prefix *p, char buf[static PREFIX_STRLEN]);
/* The prefix of a with len bits, host bits cleared. len is cut to the family's maximum. */
struct prefix prefix_of(const struct addr *a, uint8_t len);
bool prefix_contains(const struct prefix *p, const struct addr *a);
/* p covers q: same family and every address of q is in p. */
bool prefix_covers(const struct prefix *p, const struct prefix *q);
struct addr_range prefix_range(const struct prefix *p);

/*
 * The ranges of SCOPE_INTERNET for a family (4 or 6), ascending, disjoint. Borrowed static data:
 * exactly the addresses for which addr_scope() says SCOPE_INTERNET (a test holds them together).
 */
const struct addr_range *addr_internet_ranges(uint8_t family, size_t *ret_n);

#endif
