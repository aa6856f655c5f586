/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What if: a candidate policy against connections that were seen. Each end that the candidate
 * enforces is compiled, and asked as its rules in the kernel would be (rules/match.h).
 *
 * What was seen names workloads, and they are judged by the addresses that they have now; one that
 * does not run, and the host where it is not known, stands under an address of nobody's, so that
 * edges by its name have it and prefixes do not.
 */
#ifndef NANOSEG_RULES_SIMULATE_H
#define NANOSEG_RULES_SIMULATE_H

#include "rules/compile.h"
#include "rules/match.h"

#include <jansson.h>

#define SIMULATE_MAX_FLOWS (1u << 18)
#define SIMULATE_MAX_LISTED 10000 /* broken ones */

enum simulate_modes {
	SIMULATE_AS_WRITTEN,
	SIMULATE_ALL, /* as if every workload enforced both directions */
};

/* Modes as written if any workload of the policy enforces, else SIMULATE_ALL. */
enum simulate_modes simulate_modes_of(const struct policy *p);

struct simulate_flow {
	/*
	 * A workload, the host, an address (PEER_ADDR); the internet, multicast or a name where the
	 * address is not known. The name is copied.
	 */
	struct peer from, to;
	uint8_t proto;
	uint16_t port; /* ICMP: type << 8 | code */
	uint64_t connections, last_seen_ns;
	uint32_t hours; /* in which it was seen; 0: not known */
};

struct simulation;

/* Borrows policy and inventory, which may be NULL. 0 or -ENOMEM. */
int simulate_new(const struct policy *p, const struct inventory *inv, enum simulate_modes modes,
    uint64_t now_ns, uint64_t hash_seed, struct simulation **ret);
void simulate_free(struct simulation *s);
static inline void
simulate_freep(struct simulation **s)
{
	simulate_free(*s);
}

/*
 * Before the first step. 0; -EINVAL for peers that nothing is seen of; -ENOSPC, counted; -ENOMEM.
 */
int simulate_add(struct simulation *s, const struct simulate_flow *f);

/* Called with the rules of each workload that enforces, valid until it returns. */
typedef void (*simulate_rules_fn)(void *arg, const char *workload, const struct match *rules);

/*
 * A part of the work: of what is made first, or the ends of the next workload. 1: there is more; 0:
 * all is judged; -ENOMEM; -E2BIG: the policy has too many elements for a workload. fn may be NULL.
 */
int simulate_step(struct simulation *s, simulate_rules_fn fn, void *arg);

/*
 * The contract's {broken, unused, covered} and more, once all is judged; NULL without memory. As
 * `broken` lists them: the busiest first, and public addresses put together as the internet.
 */
json_t *simulate_to_json(struct simulation *s);
/* Is anything broken? */
bool simulate_breaks(const struct simulation *s);
/* The number of flows that it holds. */
size_t simulate_count(const struct simulation *s);

#endif
