/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The services of a capture: every address, protocol and port that connections were answered at,
 * or that went one way, exactly, whatever edge they became part of. Bounded; what finds no room is
 * counted.
 */
#ifndef NANOSEG_RULES_SERVICE_H
#define NANOSEG_RULES_SERVICE_H

#include "rules/addr.h"

struct service {
	struct addr addr;
	uint16_t port;
	uint8_t proto;
	uint32_t flags; /* EDGE_FLAG_* that each of its connections has */
	uint64_t connections;
};

struct service_table;

int service_table_new(size_t max, uint64_t hash_seed, struct service_table **ret);
void service_table_free(struct service_table *t);

/* One more connection. Without room or memory it only counts in service_table_lost(). */
void service_note(
    struct service_table *t, const struct addr *a, uint8_t proto, uint16_t port, uint32_t flags);
/* In the order in which they were seen. */
const struct service *service_table_list(const struct service_table *t, size_t *ret_n);
/* Connections of services for which there was no room. */
uint64_t service_table_lost(const struct service_table *t);

#endif
