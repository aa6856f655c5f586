/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * segment.c: every change is on record and durable in the store before the function returns 0.
 * confirm_ns: it is rolled back unless confirmed by then; 0: it stands. While a change awaits that,
 * others are refused: -EBUSY.
 */
#ifndef NANOSEG_DAEMON_SEGMENT_H
#define NANOSEG_DAEMON_SEGMENT_H

#include "daemon/audit.h"
#include "rules/edge.h"
#include "rules/policy.h"

struct controller;
struct workload;

struct mode_change {
	struct workload *workload;
	enum wl_mode mode;
	enum wl_direction direction;
};
/* ids: edges or denials. -ENOENT with the id in *d. *ret_changed counts edges. */
int segment_decide(struct controller *c, const char *const *ids, size_t n, enum edge_state state,
    const struct edge_decision *decision, const struct actor *who, struct diag *d,
    size_t *ret_changed);
int segment_set_modes(struct controller *c, const struct mode_change *changes, size_t n,
    uint64_t confirm_ns, const char *reason, const struct actor *who, struct diag *d);
/* Accepts, or no longer accepts, a repository. -EINVAL with a sentence. */
int segment_set_image(struct controller *c, struct workload *w, const char *repository,
    bool accepted, const char *reason, const struct actor *who, struct diag *d);
/* Replaces everything decided. expected: the revision it was made from, 0: any. -ESTALE. */
int segment_apply_policy(struct controller *c, const struct policy *p, uint64_t expected,
    uint64_t confirm_ns, const char *reason, const struct actor *who, struct diag *d);
/* Approves edges and changes one workload's mode in one revision (promotion). */
int segment_promote(struct controller *c, struct workload *w, enum wl_mode mode,
    enum wl_direction direction, uint64_t confirm_ns, const char *reason, struct diag *d,
    size_t *ret_approved);
/* The policy value of now; pending edges included on request. */
int segment_build_policy(struct controller *c, bool with_pending, struct policy **ret);
/* The part of it that --only selects, for people. */
int segment_show_policy(struct controller *c, bool with_pending, struct policy **ret);
/* Has the edge a workload that --only selects? */
bool segment_edge_selected(const struct controller *c, const struct edge *e);
/* How many workloads and edges of the policy an apply leaves alone, being outside --only. */
size_t segment_count_foreign(const struct controller *c, const struct policy *p);
/* As policy_parse() and policy_free(), beside the loop (aside.h). */
int policy_parse_apart(const char *text, size_t len, struct diag *d, struct policy **ret);
void policy_free_apart(struct policy **p);
int segment_load(struct controller *c, struct diag *d); /* from the store */

#endif
