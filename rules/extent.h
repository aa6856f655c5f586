/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was seen of an edge that stands for more than was seen: ports of a range, addresses behind a
 * prefix, a name or the internet. Distinct values are counted (exactly below EXTENT_SKETCH, then
 * within some 25%), and the addresses are summed up in a few prefixes. It only grows, and is the
 * same in any order of events.
 */
#ifndef NANOSEG_RULES_EXTENT_H
#define NANOSEG_RULES_EXTENT_H

#include "rules/addr.h"

#define EXTENT_SKETCH 128
#define EXTENT_PREFIXES 8 /* of each family, all of one length: the longest at which they fit */
#define EXTENT_BYTES_MAX (6 + 2 * EXTENT_SKETCH * 4 + 2 * EXTENT_PREFIXES * 18)

struct edge_extent {
	uint16_t n_ports, n_addrs;
	uint8_t n_prefixes[2]; /* of IPv4, of IPv6 */
	uint32_t ports[EXTENT_SKETCH], addrs[EXTENT_SKETCH];
	struct prefix prefixes[2][EXTENT_PREFIXES]; /* ascending */
};

void extent_add_port(struct edge_extent *x, uint16_t port);
void extent_add_addr(struct edge_extent *x, const struct addr *a);
void extent_merge(struct edge_extent *into, const struct edge_extent *from);
uint64_t extent_ports(const struct edge_extent *x);
uint64_t extent_addrs(const struct edge_extent *x);

/* For the store. Its length. */
size_t extent_write(const struct edge_extent *x, uint8_t buf[static EXTENT_BYTES_MAX]);
/* 0 or -EBADMSG. */
int extent_read(const uint8_t *buf, size_t len, struct edge_extent *ret);

/*
 * The next shorter length that prefixes are cut to when they are too many: whole addresses, /28,
 * /24, /20 ... of IPv4; /64, /56, /48, /32 ... of IPv6. 0 in the end.
 */
uint8_t prefix_step(uint8_t family, uint8_t len);

#endif
