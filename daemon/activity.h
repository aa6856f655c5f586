/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How busy each workload is, and what is unusual for it: who makes most of all connections, talks
 * to somebody new after its learning ended, is refused very often, or tries one place after the
 * other. Read every few seconds from what edges and denials have counted: a connection costs
 * nothing.
 *
 * What is found is told (daemon/alert.h) and logged, and changes nothing: containers can make all
 * of it happen at will.
 */
#ifndef NANOSEG_DAEMON_ACTIVITY_H
#define NANOSEG_DAEMON_ACTIVITY_H

#include "rules/util.h"

#include <jansson.h>
#include <stdbool.h>

struct controller;

enum anomaly {
	ANOMALY_NOISY,
	ANOMALY_NEW_PEER,
	ANOMALY_NEW_NAME,
	ANOMALY_DENIAL_BURST,
	ANOMALY_SCAN,
	ANOMALY_KINDS,
};

/* Of a workload. Rates are per second. */
struct activity {
	uint64_t begun_ns;		 /* CLOCK_MONOTONIC, of the first look */
	double out, in, refused;	 /* over about an activityPeriod */
	double usual;			 /* out and in, over many of them */
	uint64_t said_ns[ANOMALY_KINDS]; /* CLOCK_MONOTONIC, when it was logged last */
	uint64_t seen_ns[ANOMALY_KINDS]; /* CLOCK_REALTIME; 0: never */
	uint64_t times[ANOMALY_KINDS];
};

#define ACTIVITY_EVERY_S 5		  /* or in a period, if that is shorter */
void activity_tick(struct controller *c); /* once a second */
/* {workloads: [{name, mode, in, out, refused, newPeers, anomalies}], ...} */
json_t *activity_to_json(struct controller *c);

#endif
