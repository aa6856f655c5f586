/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The recent flows, and the host's NAT of connections: flows.c. */
#ifndef NANOSEG_DAEMON_FLOWS_H
#define NANOSEG_DAEMON_FLOWS_H

#include "netlink/ct.h"
#include "rules/edge.h"

struct flow_ring;
struct nat_cache;

/* One line of `nanoseg flows`. */
struct flow_record {
	uint64_t seq, time_ns;
	struct tuple tuple;
	peer_id from, to, behind; /* behind: the workload behind a published port, or none */
	uint8_t kind;		  /* enum flow_kind */
	uint64_t edge;		  /* number, 0: none */
};
int flow_ring_new(size_t size, struct flow_ring **ret);
void flow_ring_free(struct flow_ring *r);
void flow_ring_add(struct flow_ring *r, struct flow_record *rec);
/* The record with the smallest seq >= *seq; NULL if there is none. *seq becomes its seq + 1. */
const struct flow_record *flow_ring_next(const struct flow_ring *r, uint64_t *seq);
uint64_t flow_ring_head(const struct flow_ring *r); /* seq of the next record */
/* The newest record of the connection since then, if it is among the latest few; NULL: none. */
struct flow_record *flow_ring_recent(struct flow_ring *r, const struct tuple *t, uint64_t since_ns);
int nat_cache_new(uint64_t seed, struct nat_cache **ret);
void nat_cache_free(struct nat_cache *n);
void nat_cache_add(struct nat_cache *n, const struct ct_entry *e);
/* The same connection as the other side of the host's NAT sees it; NULL if not translated. */
const struct tuple *nat_cache_find(const struct nat_cache *n, const struct tuple *t);

#endif
