/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commit-confirm: a change that is taken back unless somebody confirms it in time, and rollback to
 * any revision that is kept.
 *
 * The deadline stands in STATE/confirm.json before the revision is stored, and it counts only for
 * the revision that it names: what a crash leaves behind of a change that was not stored means
 * nothing. In the boot that it was made in it runs on CLOCK_MONOTONIC, whatever the time of day is
 * set to; after a reboot the time of day is all there is, and if that went back the change is taken
 * back. While the daemon is dead the rules stand; a start after the deadline rolls back first.
 *
 * Within the window, and only then, refused connections that went through before take the change
 * back at once, when there are many (rollbackDenials). Later ones raise an alarm and open nothing.
 * What went through before is told from edges: a range, prefix or name that was used stands for all
 * that it admitted, also after a person took it back.
 */
#ifndef NANOSEG_DAEMON_CONFIRM_H
#define NANOSEG_DAEMON_CONFIRM_H

#include "rules/edge.h"

#include <jansson.h>
#include <stdbool.h>

#define CONFIRM_MIN_NS (5 * NSEC_PER_SEC)
#define CONFIRM_MAX_NS (7 * 86400 * NSEC_PER_SEC)

struct controller;
struct actor;
struct policy;

struct confirm {
	bool pending, spiked;
	uint64_t revision, previous;
	uint64_t window_ns, made_ns, until_ns; /* CLOCK_REALTIME */
	uint64_t deadline_ns, retry_ns;	       /* CLOCK_MONOTONIC */
	uint64_t refused;		       /* of what went through before */
	char by[64];
	/* Outside any window. */
	uint64_t alarm_since_ns, alarm_refused, alarmed_ns;
};

/*
 * After segment_load(); what is overdue is rolled back by the first confirm_tick(). -EBADMSG with
 * *d if the file is not readable.
 */
int confirm_load(struct controller *c, struct diag *d);
/* The revision in the making awaits confirmation from now on. 0, or nothing happened. */
int confirm_arm(
    struct controller *c, uint64_t revision, uint64_t window_ns, const struct actor *who);
/* The change did not come to be, or is settled. */
void confirm_disarm(struct controller *c);
void confirm_tick(struct controller *c); /* once a second */
/* A connection was refused; was_steady: and that already before the change. */
void confirm_on_refused(struct controller *c, const struct edge_key *key, const struct tuple *t,
    uint64_t count, bool was_steady);

/* revision: the one meant, 0: whichever it is. -ENOENT, -ESTALE. */
int confirm_accept(struct controller *c, uint64_t revision, const char *reason,
    const struct actor *who, struct diag *d);
/*
 * The policy of a revision, as it was decided; 0 is the state before the first. -ENOENT with *d if
 * its text is no longer kept.
 */
int confirm_get_revision(
    struct controller *c, uint64_t revision, struct policy **ret, struct diag *d);
/*
 * A new revision that is as that one was: modes, decided edges, networks. Quarantine is no part of
 * it. -ENOENT as above, -EINVAL.
 */
int confirm_roll_back(struct controller *c, uint64_t revision, const char *reason,
    const struct actor *who, struct diag *d);
/* {revision, previous, by, until, secondsLeft, refused, rollbackAt}, or null. */
json_t *json_confirm(const struct controller *c);

#endif
