/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Learning from a capture: frames to edges, by the same rules as live (rules/edge.h). Bounded
 * memory, whatever the capture holds; what did not fit is counted.
 *
 * An address of the map is its workload; one of no workload is addr:A if it is private or local,
 * else fqdn:N if the client had been told that N has this address (an answer to its own question,
 * in the same capture, before the connection), else internet.
 */
#ifndef NANOSEG_RULES_OFFLINE_H
#define NANOSEG_RULES_OFFLINE_H

#include "rules/edge.h"
#include "rules/service.h"

#define OFFLINE_MAX_CONNECTIONS (1u << 18) /* followed at once; 112 bytes each */
#define OFFLINE_MAX_NAMES (1u << 15)
#define OFFLINE_MAX_MAPPED 100000
#define OFFLINE_MAX_TUNNELS 256
#define OFFLINE_MAX_SERVICES (1u << 16)
/* Datagrams without an answer that make an edge (EDGE_FLAG_ONE_WAY): so many, over so long. */
#define OFFLINE_ONE_WAY_FRAMES 10
#define OFFLINE_ONE_WAY_NS (60 * NSEC_PER_SEC)

enum offline_form {
	OFFLINE_EDGES, /* as live: what is many of a kind is summed up */
	OFFLINE_FLOWS, /* each as it was seen, addresses of the internet too as far as there is
			  room: for a candidate policy is asked about each */
};

struct offline_stats {
	uint64_t frames, malformed;
	uint64_t other;	     /* frames without a connection: ARP, later fragments, errors of ICMP */
	uint64_t flows;	     /* connections that were answered, and one-way ones of long standing */
	uint64_t attempts;   /* all others */
	uint64_t evicted;    /* forgotten while perhaps still open: more than could be followed */
	uint64_t lost;	     /* connections that made no edge: the table was full */
	uint64_t unlisted;   /* frames of tunnels for which the list had no room */
	uint64_t dns_broken; /* DNS over TCP that was not read to its end: dns_stream.h */
	uint64_t services_lost; /* flows to services for which there was no room */
};

/* What is inside is not looked at. */
struct offline_tunnel {
	struct addr src, dst;
	const char *kind; /* rules/tunnel.h */
	uint64_t frames;
};

struct offline;

int offline_new(uint64_t hash_seed, enum offline_form form, struct offline **ret);
void offline_free(struct offline *o);
static inline void
offline_freep(struct offline **o)
{
	offline_free(*o);
}

/* Before the first frame. -EEXIST: the prefix belongs to another workload; -ENOSPC, -ENOMEM. */
int offline_map(struct offline *o, const char *workload, const struct prefix *p);

/* A frame of `bytes` on the wire of which len were captured. 0 or -ENOMEM. */
int offline_frame(struct offline *o, int linktype, const uint8_t *buf, size_t len, uint32_t bytes,
    uint64_t time_ns);
/* After the last frame. */
void offline_finish(struct offline *o);

void offline_stats(const struct offline *o, struct offline_stats *ret);
const struct edge_table *offline_edges(const struct offline *o);
const struct peer_table *offline_peers(const struct offline *o);
const struct offline_tunnel *offline_tunnels(const struct offline *o, size_t *ret_n);
/* Of all flows of a protocol with ports; an edge may sum up many of them. */
const struct service *offline_services(const struct offline *o, size_t *ret_n);

#endif
