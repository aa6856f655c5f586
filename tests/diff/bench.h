/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A world and the tables of its workloads: compiled, encoded, decoded, and sent by netlink/nft to
 * interpreters that hold them from then on.
 */
#ifndef NANOSEG_TESTS_BENCH_H
#define NANOSEG_TESTS_BENCH_H

#include "netlink/nft.h"
#include "tests/diff/probe.h"

struct bench {
	struct world w;
	struct sim_table sims[WORLD_WORKLOADS];
	struct nft_table *tables[WORLD_WORKLOADS];
};

struct tally {
	size_t checks, allowed, denied, absent;
	size_t split; /* refused where elements cannot tell own addresses apart, as documented */
	size_t wrong;
};

/*
 * The next world. Fresh: every table is built anew; else those of the world before become it, by
 * the smallest change. Exits the test with a diagnosis if a transaction is refused.
 */
void bench_load(struct bench *b, uint64_t seed, bool fresh, size_t max_edges);
void bench_done(struct bench *b);

/*
 * What must become of the packet at that end, whose workload is given; the documented exception is
 * taken where it applies, *ret_split then says so. An address that the inventory does not know to
 * be the workload's (a link-local one) is judged by the exception alone.
 */
void bench_expect(const struct bench *b, const struct probe *p, enum flow_dir dir,
    const struct inventory_entry *own, struct sim_result *ret, bool *ret_split);

/* A packet of that workload, near a boundary of some edge more often than not. */
bool bench_probe(
    struct bench *b, const struct inventory_entry *own, enum flow_dir dir, struct probe *ret);
/* Both ends of the packet, each with its table, and whether it passes as a whole. */
void bench_check(struct bench *b, const struct probe *p, struct tally *tally);

#endif
