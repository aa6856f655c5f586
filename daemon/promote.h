/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Automatic segmentation, and what is known for it: promote.c, completeness.c; approvals that
 * stand: recertify.c.
 */
#ifndef NANOSEG_DAEMON_PROMOTE_H
#define NANOSEG_DAEMON_PROMOTE_H

#include "daemon/audit.h"
#include "daemon/instance.h"
#include "rules/complete.h"
#include "rules/edge.h"

#include <jansson.h>

struct controller;
struct instance;
struct kin;
struct workload;

/* promote.c */
extern const struct actor promotion_actor;
void promote_tick(struct controller *c);
/* {why, at}: what it waits for, and when it would be enforced if that is announced; or null. */
json_t *promote_to_json(const struct workload *w);

/* recertify.c */
/*
 * Lets approved edges stand, on record: no revision, no rule changes. -ENOENT, -EINVAL for one that
 * is not approved; then nothing is changed.
 */
int recertify(struct controller *c, const char *const *ids, size_t n, const char *reason,
    const char *ticket, const struct actor *who, struct diag *d, size_t *ret_kept);
/* When it has to be looked at again; 0: never. */
uint64_t recertify_due_ns(const struct controller *c, const struct edge *e);
json_t *recertify_to_json(const struct controller *c);

/* completeness.c */
/* It runs from now on; what it did before it was seen is not known. */
void complete_on_joined(struct instance *i);
/* It or one of its containers may be on other networks now. NULL: nobody. */
void complete_on_networks(struct workload *w);
void complete_on_left(struct instance *i); /* before it leaves its workload */
/* Something that it did may not have been seen. NULL: nothing known. */
void complete_on_loss(struct instance *i, enum loss_source source);
void complete_on_reports_lost(struct controller *c, struct msg *m); /* MSG_CAP_LOST */
const char *complete_loss_name(enum loss_source source);
/* Of what, in its life and under this daemon: names. */
json_t *complete_losses(const struct workload *w);
void complete_tick(struct controller *c); /* once a second */
/* Counts the hours in which edges were seen; before evidence is stored. */
void complete_count_windows(struct controller *c);
#define COMPLETE_FRESH_NS (5 * NSEC_PER_SEC) /* young enough to be shown */
/* Brings every workload's `complete` up to date; how old it may be. 0 or -ENOMEM. */
int complete_update(struct controller *c, uint64_t max_age_ns);
/* A sentence without its full stop: why no bound is claimed; NULL: it is. */
const char *complete_why_not(const struct completeness *k);
json_t *complete_to_json(const struct kin *kin, const struct workload *w);

#endif
