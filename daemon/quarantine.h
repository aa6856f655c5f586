/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Quarantine: a workload, with every replica that ever comes, or one container, by its id. Whatever
 * its policy says, nothing passes but loopback, neighbour discovery, and what the peers of
 * allowFrom ask of it; connections that live are cut, and nothing about it is learned. No part of a
 * revision: a rollback does not release. Kept in STATE/quarantine.json, so it outlives deaths and
 * reboots. A person alone ends it: no clock does, as the machine may be off for long, and its clock
 * may lie. Those that were released are kept with their timelines, the newest ones, and shown for
 * 30 days.
 */
#ifndef NANOSEG_DAEMON_QUARANTINE_H
#define NANOSEG_DAEMON_QUARANTINE_H

#include "rules/peer.h"

#include <jansson.h>
#include <stdbool.h>

#define QUARANTINE_MAX 1000
#define QUARANTINE_MAX_RELEASED 200
#define QUARANTINE_MAX_ALLOW 16
#define QUARANTINE_HOURS 720 /* 30 days of its timeline */

struct controller;
struct actor;
struct instance;
struct workload;
struct policy;

struct quarantine_hour {
	uint64_t hour; /* since 1970 */
	uint64_t refused;
};

struct quarantine {
	struct quarantine *next;
	char *workload;	    /* or NULL */
	char container[65]; /* or "" */
	char by[64], *reason;
	uint64_t since_ns, seen_ns; /* CLOCK_REALTIME; seen_ns: its container was last there */
	char *allow_from[QUARANTINE_MAX_ALLOW]; /* as peer_format() has it */
	size_t n_allow;
	/* Refused connections by the hour, the oldest first. */
	struct quarantine_hour *hours;
	size_t n_hours;
	bool dirty;
	uint64_t released_ns; /* 0: it is held */
	char released_by[64], *release_reason;
};

void quarantine_free(struct quarantine *q);
/* After segment_load(). -EBADMSG with *d if the file is not readable. */
int quarantine_load(struct controller *c, struct diag *d);
/*
 * target: a workload's name, or 12 or more digits of a container's id. Durable and on record when
 * it returns 0, and the rules are on their way. -ENOENT, -EINVAL, -EEXIST, -ENOSPC.
 */
int quarantine_add(struct controller *c, const char *target, const char *reason,
    const char *const *allow_from, size_t n_allow, const struct actor *who, struct diag *d);
int quarantine_release(struct controller *c, const char *target, const char *reason,
    const struct actor *who, struct diag *d);
void quarantine_tick(struct controller *c); /* once a second */

/* The one that holds it; NULL: none. */
struct quarantine *quarantine_of(const struct instance *i);
struct quarantine *quarantine_of_workload(const struct controller *c, const struct workload *w);
/* By the id of a container that is not in any instance yet. */
struct quarantine *quarantine_of_container(const struct controller *c, const char *id);
/* Somebody that this daemon governs is held. */
bool quarantine_any(const struct controller *c);
/* Those of its timeline that are older than 30 days; now: in hours since 1970. */
void quarantine_forget_hours(struct quarantine *q, uint64_t now);
/* A connection of a held one was refused. */
void quarantine_on_refused(const struct instance *i, uint64_t time_ns, uint64_t count);
/* What is left of the policy for it: an edge from each of allowFrom. 0 or -ENOMEM. */
int quarantine_policy(const struct quarantine *q, const char *workload, struct policy **ret);

json_t *json_quarantine(const struct quarantine *q); /* null for NULL */
/* All, with their timelines; those released after them, the newest first. */
json_t *json_quarantines(const struct controller *c, bool with_released);

#endif
