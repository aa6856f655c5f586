/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How instances began, and what ran without its rules: start.c, exposure.c. */
#ifndef NANOSEG_DAEMON_START_H
#define NANOSEG_DAEMON_START_H

#include <stdbool.h>
#include <stdint.h>

#define CTL_MAX_EXPOSURES 256 /* the newest are kept */

struct controller;
struct instance;

/* How an instance was started, see start.c. */
enum start_kind {
	START_GATED,
	START_CLOSED,
	START_LATE,
	START_EXISTING,
	START_KINDS,
};

struct start {
	enum start_kind kind;
	bool known;	 /* lead_ns is */
	int64_t lead_ns; /* at least so long before its program began; negative: at most so late */
	uint64_t held_real_ns; /* since when, CLOCK_REALTIME; 0: not known */
};

/* A container of an enforced workload ran without its rules; CLOCK_REALTIME. */
struct exposure {
	char *workload;
	char instance[65];
	uint64_t from_ns, to_ns;
};

/* start.c */
struct start start_of(const struct instance *i);
const char *start_kind_name(enum start_kind kind);
void start_on_netns(struct instance *i);
void start_on_attached(struct instance *i);
/* Its workload's rules are in force, or those of its quarantine. */
void start_on_ruled(struct instance *i);
void start_on_gated(struct instance *i, uint64_t lead_ns);
/* For the metrics, once, when no more will be known. */
void start_count(struct instance *i);

/* exposure.c */
void exposure_on_ruled(struct instance *i); /* the first time that it is enforced */
int exposure_restore(struct controller *c, const struct exposure *e); /* from the store; copied */
int exposure_save(struct controller *c); /* those that are not stored yet; within a transaction */
void exposure_free_all(struct controller *c);

#endif
