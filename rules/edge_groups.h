/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which learned edges are alike, for rules/edge_fold.c alone.
 *
 * A port group has the edges between two ends by one protocol, with ports of EDGE_PORT_DYNAMIC and
 * up. An address group has, for one end and a protocol, the counterparts of one family that are
 * addresses or prefixes, each with its edges. An edge is in a group of each kind at most; clients
 * come before servers, so that what an address group is never depends on another one. Groups are
 * small, because they are folded before they are not. Groups that are empty go when the index
 * grows.
 */
#ifndef NANOSEG_RULES_EDGE_GROUPS_H
#define NANOSEG_RULES_EDGE_GROUPS_H

#include "rules/edge.h"

struct edge_list {
	struct edge **edges;
	uint32_t n, cap;
};

struct addr_member {
	peer_id peer;
	struct prefix prefix; /* of full length for an address */
	struct edge_list edges;
};

struct group {
	struct edge_key key;	/* marked in `zero`; the ends that are not alike are PEER_ID_NONE */
	struct edge_list edges; /* of a port group */
	struct addr_member *members; /* of an address group */
	uint32_t n_members, cap_members;
};

struct groups {
	const struct peer_table *peers;
	struct group **slots; /* open addressing in powers of two */
	size_t size, used;
	uint64_t seed;
};

int groups_init(struct groups *g, const struct peer_table *peers, uint64_t seed);
void groups_done(struct groups *g);

/* The groups that an edge of this key is or would be in. NULL: none such. */
struct group *groups_ports(const struct groups *g, const struct edge_key *key);
struct group *groups_addrs(const struct groups *g, const struct edge_key *key);
/* Is the end that an address group sums up the key's source? */
bool group_of_sources(const struct group *group);
/* 0 or -ENOMEM: then it is in none. */
int groups_add(struct groups *g, struct edge *e);
void groups_remove(struct groups *g, struct edge *e);

#endif
