/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a second policy says that a first one does not, by meaning: two texts that allow the same
 * connections do not differ. Decided edges count; reasons, tickets, selectors, names and numbers of
 * policies and pending edges do not. Borrows both policies.
 */
#ifndef NANOSEG_RULES_POLICY_DIFF_H
#define NANOSEG_RULES_POLICY_DIFF_H

#include "rules/policy.h"

enum policy_diff_kind {
	POLICY_DIFF_GAINED,   /* after: no edge of that state was like it */
	POLICY_DIFF_LOST,     /* before */
	POLICY_DIFF_WIDENED,  /* after covers before, and more */
	POLICY_DIFF_NARROWED, /* before covers after, and more */
	POLICY_DIFF_REVERSED, /* the same edge, approved before and denied after, or the reverse */
	POLICY_DIFF_EXPIRY,   /* the same edge, until another time */
};

struct policy_diff_edge {
	enum policy_diff_kind kind;
	const struct policy_edge *before, *after; /* NULL where there is none */
	/*
	 * Nothing follows from it: other edges say, or said, all of it, or a denial covers it. By
	 * the words of the policy: who holds which address is not known here.
	 */
	bool no_effect;
};

struct policy_diff_workload {
	const char *name;
	/* NULL: not in that policy, which is observe in both directions. */
	const struct policy_workload *before, *after;
	bool mode, labels, images; /* what differs; images only if both policies name some */
};

struct policy_diff_network {
	const char *name;
	const struct policy_network *before, *after; /* NULL: not in that policy */
	bool gained, lost;			     /* addresses */
	size_t n_edges; /* decided ones that name it, in both policies */
};

struct policy_diff {
	struct policy_diff_edge *edges; /* by the ids of after, else before */
	struct policy_diff_workload *workloads;
	struct policy_diff_network *networks;
	size_t n_edges, n_workloads, n_networks;
	/* Too much to compare each with each: some may be listed as lost and gained, with effect.
	 */
	bool gave_up;
};

/* 0 or -ENOMEM. */
int policy_diff_new(const struct policy *a, const struct policy *b, struct policy_diff **ret);
void policy_diff_free(struct policy_diff *d);
static inline void
policy_diff_freep(struct policy_diff **d)
{
	policy_diff_free(*d);
}

bool policy_diff_is_empty(const struct policy_diff *d);
/* "gained", ... */
const char *policy_diff_kind_name(enum policy_diff_kind k);
/* The value of o's label, or NULL. */
const char *policy_label_value(const struct policy_label *list, size_t n, const char *key);

#endif
