/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Policies and inventories written down in C, and the naive reading of a ruleset. */
#ifndef NANOSEG_TESTS_COMPILE_FIXTURE_H
#define NANOSEG_TESTS_COMPILE_FIXTURE_H

#include "rules/compile.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static inline struct addr
A(const char *text) {
	struct addr a;

	if (addr_parse(text, &a) < 0)
		abort();
	return a;
}

static inline struct peer
peer_prefix(enum peer_kind kind, const char *text)
{
	struct peer peer = { .kind = kind };

	if (prefix_parse(text, &peer.prefix) < 0)
		abort();
	return peer;
}

#define W(n) ((struct peer){ .kind = PEER_WORKLOAD, .name = (n) })
#define FQDN(n) ((struct peer){ .kind = PEER_FQDN, .name = (n) })
#define NETWORK(n) ((struct peer){ .kind = PEER_NETWORK, .name = (n) })
#define HOST ((struct peer){ .kind = PEER_HOST })
#define INTERNET ((struct peer){ .kind = PEER_INTERNET })
#define MULTICAST ((struct peer){ .kind = PEER_MULTICAST })
#define CIDR(p) peer_prefix(PEER_CIDR, p)
#define ADDRESS(a) peer_prefix(PEER_ADDR, a)

static inline struct policy_edge
EDGE(struct peer from, struct peer to, int proto, int port_lo, int port_hi, enum edge_state state) {
	return (struct policy_edge){ .from = from,
		.to = to,
		.proto = (uint8_t)proto,
		.port_lo = (uint16_t)port_lo,
		.port_hi = (uint16_t)port_hi,
		.state = state };
}

static inline struct tuple
TUPLE(struct addr src, struct addr dst, int proto, int port) {
	return (struct tuple){ .src = src,
		.dst = dst,
		.sport = 40000,
		.dport = (uint16_t)port,
		.proto = (uint8_t)proto };
}

/* What the sets say about a first packet. */
enum lookup {
	LOOKUP_NONE,
	LOOKUP_ALLOW,
	LOOKUP_DENY,
};

static inline enum lookup
ruleset_lookup(const struct ruleset *r, enum flow_dir dir, const struct addr *far, uint8_t proto,
    uint16_t port)
{
	for (int allow = 0; allow <= 1; allow++) {
		for (size_t i = 0; i < r->n_elems; i++) {
			const struct ruleset_elem *e = &r->elems[i];

			if (e->dir == dir && e->allow == allow && e->proto == proto &&
			    e->lo.family == far->family && addr_cmp(&e->lo, far) <= 0 &&
			    addr_cmp(far, &e->hi) <= 0 && e->port_lo <= port && port <= e->port_hi)
				return allow ? LOOKUP_ALLOW : LOOKUP_DENY;
		}
	}
	return LOOKUP_NONE;
}

#endif
