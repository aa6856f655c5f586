/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contract's JSON forms of what this library has: new references, NULL without memory. A field
 * that is not known is present and null.
 */
#ifndef NANOSEG_RULES_JSON_H
#define NANOSEG_RULES_JSON_H

#include "rules/edge.h"

#include <jansson.h>

/* Text from outside; what is not UTF-8 is escaped. NULL is null. */
json_t *json_text(const char *text);
/* RFC 3339 in UTC with milliseconds; 0 is null. */
json_t *json_time(uint64_t ns);
/* "workload:NAME" and the like; null for an unknown id. */
json_t *json_peer(const struct peer_table *peers, peer_id id);
/* Sets proto, and port or ports, or type and code. */
void json_set_port(json_t *o, uint8_t proto, uint16_t lo, uint16_t hi);
/* The names of EDGE_FLAG_*. */
json_t *json_flags(uint32_t flags);
json_t *json_edge(const struct peer_table *peers, const struct edge *e);

#endif
