/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pseudo-random policies and inventories that are hard to compile: nested prefixes decided in
 * turn, adjacent and overlapping ports, peers that hold some of a workload's addresses, addresses
 * that two claim. Small, so that every boundary of one can be tried.
 */
#ifndef NANOSEG_TESTS_WORLD_H
#define NANOSEG_TESTS_WORLD_H

#include "rules/compile.h"

#define WORLD_NOW 1000u
#define WORLD_WORKLOADS 4
#define WORLD_ADDRS 4
#define WORLD_EDGES 16
#define WORLD_GRID_ADDRS 400
#define WORLD_GRID_PORTS 80

/* Where addresses come from. The first workload's are of `own`, everybody else's of `others`. */
#define WORLD_NAMES 6 /* addresses that they were told of, of all workloads */

struct world_pool {
	const char *const *own, *const *others;
	size_t n_own, n_others;
};
extern const struct world_pool world_pool;

struct world {
	struct policy policy;
	struct policy_workload workloads[WORLD_WORKLOADS];
	struct policy_network networks[2];
	struct prefix network_prefixes[2][3];
	struct policy_edge edges[WORLD_EDGES];
	struct inventory inv;
	struct inventory_entry entries[WORLD_WORKLOADS];
	struct addr addrs[WORLD_WORKLOADS][WORLD_ADDRS];
	struct addr host[3], nobodys[2];
	struct inventory_name told[WORLD_NAMES];
	/* Addresses at which something may change, unique. */
	struct addr grid[WORLD_GRID_ADDRS];
	size_t n_grid;
	uint64_t seed;
};

/* max_edges: at most WORLD_EDGES. */
void world_make(struct world *w, uint64_t seed, const struct world_pool *pool, size_t max_edges);
/* 0..below-1 */
uint64_t world_rnd(struct world *w, uint64_t below);
/* The ports (ICMP: type and code) at which something may change for a protocol; their number. */
size_t world_ports(const struct world *w, uint8_t proto, uint16_t ret[static WORLD_GRID_PORTS]);
/* Whose address it is, or NULL. */
const struct inventory_entry *world_owner(const struct world *w, const struct addr *a);
/* Readable, for a mismatch: TAP diagnostics. */
void world_print(const struct world *w);

/*
 * The documented exception (rules/compile.h): elements do not tell a workload's own addresses
 * apart. A copy of the policy in which every set of addresses at the near end of `own` in that
 * direction is the workload itself, if what the edge says counts for all of its addresses of that
 * family, and nobody if it counts for none. The edges are the caller's.
 */
struct policy world_whole(const struct world *w, const struct inventory_entry *own,
    enum flow_dir dir, uint8_t family, struct policy_edge edges[static WORLD_EDGES]);

#endif
