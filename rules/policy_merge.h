/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A policy with what another one adds. Edges that were decided, labels and networks are taken, a
 * workload that is new is observed; modes, images and everything that ours has alone stay. Where
 * both say something else about the same thing, that is a conflict: ours stays unless told
 * otherwise.
 */
#ifndef NANOSEG_RULES_POLICY_MERGE_H
#define NANOSEG_RULES_POLICY_MERGE_H

#include "rules/policy.h"

enum policy_merge_kind {
	POLICY_MERGE_EDGE,    /* not in ours */
	POLICY_MERGE_STATE,   /* conflict: approved here and denied there, or the reverse */
	POLICY_MERGE_EXPIRY,  /* conflict: another end of an approval */
	POLICY_MERGE_MEANING, /* conflict: a new edge of a network that means something else here */
	POLICY_MERGE_WORKLOAD, /* not in ours */
	POLICY_MERGE_LABEL,    /* not in ours; conflict: another value */
	POLICY_MERGE_NETWORK,  /* not in ours; conflict: other addresses */
};

struct policy_merge_item {
	enum policy_merge_kind kind;
	bool conflict, taken;
	const struct policy_edge *edge;	 /* theirs */
	const char *name;		 /* of the workload or network */
	const char *key, *ours, *theirs; /* of a label */
};

struct policy_merge {
	struct policy policy; /* the result: its arrays are its own, all else is of the two */
	struct policy_merge_item *items;
	size_t n_items, n_added, n_conflicts, n_taken;
	size_t n_modes, n_pending; /* of theirs that are not taken: modes other than ours, edges */
};

/* Borrows both. 0, -ENOMEM, or -E2BIG: beyond a policy's bounds. */
int policy_merge_new(const struct policy *ours, const struct policy *theirs, bool take_theirs,
    struct policy_merge **ret);
void policy_merge_free(struct policy_merge *m);
static inline void
policy_merge_freep(struct policy_merge **m)
{
	policy_merge_free(*m);
}

#endif
