/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who can reach a workload, by what is allowed: approved edges where its ingress is enforced,
 * anyone whose egress is not where it is not. Denials that narrow an approval are not subtracted,
 * and networks that keep two workloads apart are not known here: it says rather too much than too
 * little.
 */
#ifndef NANOSEG_CLI_REACH_H
#define NANOSEG_CLI_REACH_H

#include "rules/policy.h"

#include <stdbool.h>

struct reach;

/* Both borrow nothing. Approvals that have ended by now_ns do not count. 0 or -ENOMEM. */
int reach_of_bundle(const json_t *b, struct reach **ret);
int reach_of_policy(
    const struct policy *p, const json_t *bundle, uint64_t now_ns, struct reach **ret);
void reach_free(struct reach *r);
static inline void
reach_freep(struct reach **r)
{
	reach_free(*r);
}

/*
 * {open, from: [direct peers], workloads: number that reach it over any way, outside: reachable
 * from outside of the host, hops: connections from there or null, path: [outside, ..., workload]}.
 * NULL without memory.
 */
json_t *reach_to(const struct reach *r, const char *workload);

#endif
