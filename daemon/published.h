/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's ports that lead to containers: published.c. */
#ifndef NANOSEG_DAEMON_PUBLISHED_H
#define NANOSEG_DAEMON_PUBLISHED_H

#include "rules/edge.h"

#include <jansson.h>

struct container;
struct controller;

/* Takes the container's `ports` (see discovery.h). */
int published_read(struct container *k, const json_t *ports);
void published_add(struct controller *c, struct container *k);
void published_remove(struct controller *c, struct container *k);
/* Does a container take the host's port at that address, by any protocol? */
bool published_takes(const struct controller *c, const struct addr *a, uint16_t port);
/* The workload behind an address and port of the host; PEER_ID_NONE: none, or more than one. */
peer_id published_find(
    const struct controller *c, const struct addr *a, uint8_t proto, uint16_t port);
/*
 * "behind": the workload that an edge's port leads to, or "behindAnyOf": several; nothing where
 * none is known. edge may be NULL: what is published alone.
 */
void published_set_behind(
    struct controller *c, json_t *o, const struct edge_key *key, const struct edge *edge);
/* Whom an edge from the host to that port of the workload admits. */
json_t *published_admits(struct controller *c, const char *workload, uint8_t proto, uint16_t port);

#endif
