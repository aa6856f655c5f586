/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Datagrams that nobody answers and nobody refuses, of long standing, as of syslog and StatsD: an
 * edge, flagged, which waits for a person (one_way.c). By the bounds of a capture
 * (rules/offline.h), but by address and port of the server and whatever ports the sender takes:
 * many programs take a new socket for each datagram.
 */
#ifndef NANOSEG_DAEMON_ONE_WAY_H
#define NANOSEG_DAEMON_ONE_WAY_H

#include "rules/flow.h"

/* Edges that one instance can make this way. */
#define ONE_WAY_EDGES_MAX 64
/* Places that one source sends to without an answer; beyond that it scans. */
#define ONE_WAY_PLACES_MAX 64
/* After so long a silence it begins anew. */
#define ONE_WAY_SILENCE_NS (3600 * NSEC_PER_SEC)
/* What was refused is refused for so long. */
#define ONE_WAY_REFUSED_NS (600 * NSEC_PER_SEC)

struct controller;
struct instance;
struct one_way;

int one_way_new(uint64_t seed, struct one_way **ret);
void one_way_free(struct one_way *w);
/*
 * An attempt that found no answer, and another namespace that has reported it, 0: none. src and
 * dst: who has its addresses, NULL: nobody here. True: it is no attempt any more, an edge has it.
 */
bool one_way_seen(struct controller *c, const struct flow_event *ev, uint64_t other,
    const struct instance *src, const struct instance *dst);
/* An error of ICMP has come back for it; of no weight but in the namespace of one of its ends. */
void one_way_refused(struct controller *c, const struct flow_event *ev);

#endif
