/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The edge table: who talks to whom, with what evidence, and what was decided about it.
 *
 * The key is (from, to, protocol, port range). An observation has a single port; it belongs to the
 * exact edge if that is decided, else to the decided edge that covers it (a range, a CIDR,
 * internet; a denied one before an approved one, then the narrowest range of ports, then the
 * oldest), else to the exact pending edge, created if need be. Which edge serves an observation is
 * remembered in an alias, so that the hot path is one hash lookup and a few counters:
 * edge_table_observe() on a known key neither allocates nor searches. Where a decided edge covers
 * some addresses of a key and not others (web -> internet and an edge web -> 192.0.2.0/24), the key
 * is known by address, at a second lookup. Any change of decisions drops all aliases.
 *
 * The same connection is seen at the source's and at the destination's namespace. Each end counts
 * for itself, and an edge has had max(at source, at destination) connections: neither double
 * counting nor, when one end loses events, under-counting.
 */
#ifndef NANOSEG_RULES_EDGE_H
#define NANOSEG_RULES_EDGE_H

#include "rules/extent.h"
#include "rules/flow.h"
#include "rules/peer.h"
#include "rules/seen_as.h"

#define EDGE_ID_STRLEN 24
#define EDGE_REASON_MAX 512

enum edge_state {
	EDGE_PENDING = 1,
	EDGE_APPROVED,
	EDGE_DENIED,
};

#define EDGE_FLAG_VIA_HOST \
	0x01 /* from the host: may stand for anyone who reaches a published port */
#define EDGE_FLAG_MIDSTREAM 0x02 /* direction never proven by a handshake or a listening socket */
#define EDGE_FLAG_ONE_WAY 0x04	 /* only unanswered datagrams of long standing */
#define EDGE_FLAG_IMAGE_CHANGED 0x08
#define EDGE_FLAG_AUTO 0x10	   /* approved by promotion: no person reviewed it */
#define EDGE_FLAG_WITHDRAWN 0x20   /* pending because a person took the decision back */
#define EDGE_FLAG_GENERALISED 0x40 /* admits more than was seen: edge_table_generalise() */
#define EDGE_FLAG_ONE_END 0x80	   /* its source, though seen from here, was not seen to do it */

struct edge_key {
	peer_id from, to;
	uint16_t port_lo, port_hi; /* ICMP: type << 8 | code, lo == hi */
	uint8_t proto;
	uint8_t zero[3];
};

enum edge_end {
	EDGE_END_SOURCE = 1,
	EDGE_END_DESTINATION = 2,
};

#define EDGE_SKETCH 16 /* fewer distinct values are counted exactly, more are estimated */
#define EDGE_IMAGES 6
#define EDGE_BYTES_UNKNOWN UINT64_MAX

struct edge_evidence {
	uint64_t first_seen_ns, last_seen_ns; /* CLOCK_REALTIME, 0: never */
	uint64_t connections_source, connections_destination;
	uint64_t bytes;	       /* EDGE_BYTES_UNKNOWN: not counted yet */
	uint8_t ends;	       /* enum edge_end bits */
	uint8_t hour_bits[21]; /* hour-of-week bitmap: bit h of UTC, Monday 00h is 0 */
	uint32_t instance_hash[EDGE_SKETCH]; /* K smallest hashes of instances seen */
	uint32_t client_hash[EDGE_SKETCH];   /* and of client addresses */
	uint8_t n_instances, n_clients;
	/*
	 * Of source and destination: the first 8 bytes of the digests of the images they ran,
	 * ascending, 0 where there is none; the smallest where there were more.
	 */
	uint64_t images[2][EDGE_IMAGES];
	/* Hours in which it was seen, and the last of them that is counted: edge_count_window(). */
	uint32_t windows, last_window;
};

struct edge_decision {
	char *reason, *ticket, *approved_by; /* NULL: none */
	uint64_t decided_ns;
	uint64_t expires_ns; /* 0: never */
	/* Who looked at it last since then and let it stand, and when; a new decision forgets it.
	 */
	char *kept_by;
	uint64_t kept_ns; /* 0: nobody */
};

struct edge {
	char id[EDGE_ID_STRLEN]; /* "e-" and hex digits; stable for the same key on every host */
	struct edge_key key;
	enum edge_state state;
	uint32_t flags;
	/* The workload that connections to a port of `to` were last seen to lead to. Not stored. */
	peer_id behind;
	uint64_t recorded; /* connections that are in the history; not stored */
	uint64_t sampled;  /* and that are in the rates */
	bool dirty;   /* new, observed or decided: the store has to write it, and clears this */
	bool grouped; /* rules/edge_fold.c counts it */
	struct edge_extent *extent; /* what was seen of what it covers, NULL: that is all */
	struct seen_as *seen_as;    /* labels that decide nothing, NULL: none */
	struct edge_evidence evidence;
	struct edge_decision decision;
};

struct edge_table;

/*
 * Does the decided edge cover the observation from -> to? Protocol and ports match already. Only
 * called for keys not yet known. Its answer may depend on the addresses in t where the decided peer
 * is another one than the observed and not a workload.
 */
typedef bool (*edge_covers_fn)(
    void *arg, const struct edge *decided, const struct edge_key *observed, const struct tuple *t);

/* peers is borrowed and must outlive the table. covers may be NULL: then none does. */
int edge_table_new(const struct peer_table *peers, size_t max_edges, uint64_t hash_seed,
    edge_covers_fn covers, void *arg, struct edge_table **ret);
void edge_table_free(struct edge_table *t);
static inline void
edge_table_freep(struct edge_table **t)
{
	edge_table_free(*t);
}

/*
 * What was learned and nobody has decided about is summed up before it becomes too much to review
 * (rules/edge_fold.c): ports of EDGE_PORT_DYNAMIC and up between the same two ends as ranges once
 * there are more than EDGE_PORTS_EXACT of them, and the addresses of a peer's counterparts that are
 * nobody's as prefixes, once there are more than EDGE_ADDRS_EXACT. What such an edge covers beyond
 * the evidence is in its extent, and it has EDGE_FLAG_GENERALISED, as have edges with the internet
 * or a name from the beginning.
 */
#define EDGE_PORT_DYNAMIC 1024
#define EDGE_PORTS_EXACT 32
#define EDGE_ADDRS_EXACT 64

/* The evidence of `gone`, which is removed after this, has gone into `into`. */
typedef void (*edge_folded_fn)(void *arg, const struct edge *gone, const struct edge *into);

/* Switches it on, before the first edge. peers is the table's, fn may be NULL. 0 or -ENOMEM. */
int edge_table_generalise(
    struct edge_table *t, struct peer_table *peers, edge_folded_fn fn, void *arg);
/* Takes up an edge that was learned before a restart, decided, and with flags and evidence set. */
void edge_table_restored(struct edge_table *t, struct edge *e);
/* Gives the edge an extent if it lacks one. -ENOMEM. */
int edge_extent_make(struct edge *e);

/* A name that a connection of the edge carried: as seen_as_add(). What is new makes it dirty. */
int edge_see_as(struct edge *e, const struct server_name *name);

struct edge_observation {
	struct edge_key key; /* port_lo == port_hi */
	struct tuple tuple;
	enum edge_end end;
	/*
	 * EDGE_FLAG_* to set at an edge's first observation; one without MIDSTREAM (or ONE_WAY)
	 * clears that flag for good, as does one at the source ONE_END.
	 */
	uint32_t flags;
	uint32_t instance; /* any stable hash of the instance at that end */
	uint64_t image;	   /* first 8 bytes of the digest of its image, 0: not known */
	uint64_t time_ns;
	uint32_t count; /* connections, at least 1 */
};

/*
 * Records one answered connection. 1: *ret is a new pending edge; 0: *ret was known; -ENOSPC: the
 * table is full; -EEXIST: another edge has this id; -ENOMEM. These three count the observation's
 * connections in edge_table_overflow(). -EINVAL: a malformed observation.
 */
int edge_table_observe(struct edge_table *t, const struct edge_observation *o, struct edge **ret);
/* The edge that an observation of key and tuple would be credited to, NULL: none is there yet. */
struct edge *edge_table_serving(
    struct edge_table *t, const struct edge_key *key, const struct tuple *tuple);
/*
 * The edge that was seen, and would have been credited with an observation of key and tuple, until
 * a person took its decision back (EDGE_FLAG_WITHDRAWN); NULL: none. It searches every time.
 */
const struct edge *edge_table_withdrawn(
    const struct edge_table *t, const struct edge_key *key, const struct tuple *tuple);
/*
 * The edge of exactly this key, created pending if need be (decisions, policy files, the store). 0,
 * -EINVAL (unknown peers, port_lo > port_hi), -ENOSPC, -EEXIST, -ENOMEM.
 */
int edge_table_add(struct edge_table *t, const struct edge_key *key, struct edge **ret);
struct edge *edge_table_find(struct edge_table *t, const struct edge_key *key);
struct edge *edge_table_find_id(struct edge_table *t, const char *id);
/* By the 64-bit number behind the id (see edge_id_number). */
struct edge *edge_table_find_number(struct edge_table *t, uint64_t number);
void edge_table_remove(struct edge_table *t, struct edge *e);
/* For changes that edge_decide() does not see but `covers` does: networks, addresses of the host.
 */
void edge_table_drop_aliases(struct edge_table *t);
size_t edge_table_count(const struct edge_table *t);
uint64_t edge_table_overflow(const struct edge_table *t);
/*
 * Iterates in a deterministic order (creation). Start with *pos = 0; NULL at the end. Removing
 * edges meanwhile is fine; after adding one, start again.
 */
struct edge *edge_table_next(const struct edge_table *t, size_t *pos);

/*
 * Sets state and decision (strings are copied, NULL clears) and drops the aliases. -ENOMEM, -EINVAL
 * (no such state) and -E2BIG (a string beyond EDGE_REASON_MAX) leave the edge as it was. What takes
 * a decision back sets EDGE_FLAG_WITHDRAWN first.
 */
int edge_decide(
    struct edge_table *t, struct edge *e, enum edge_state state, const struct edge_decision *d);
/* For edge.c: the texts are copied. -ENOMEM, -E2BIG. */
int edge_decision_copy(const struct edge_decision *d, struct edge_decision *ret);
void edge_decision_done(struct edge_decision *d);
/* Lets the decision stand: nothing of the policy changes. 0, -ENOMEM, -E2BIG. */
int edge_keep(struct edge *e, const char *who, uint64_t now_ns);
uint64_t edge_connections(const struct edge *e);
/* The id's number; crosses to the warden and into rule counters instead of text. */
uint64_t edge_id_number(const struct edge *e);
/* Adds one observation; edge_table_observe() does it for its edges. */
void edge_evidence_add(struct edge_evidence *ev, const struct edge_observation *o);
/* Bytes, seen at that time, of connections that it has. */
void edge_add_bytes(struct edge *e, uint64_t bytes, uint64_t time_ns);
/*
 * Counts the hour of its last sight, once. To be called more often than hours pass, for edges that
 * are dirty; apart from the observation, which has no time for it.
 */
void edge_count_window(struct edge_evidence *ev);
/* Adds the evidence of other observations: another host's, an edge's that is folded into this. */
void edge_evidence_merge(struct edge_evidence *into, const struct edge_evidence *from);
/* Distinct instances (of either end) and client addresses; within some 25% once estimated. */
uint64_t edge_instances_estimate(const struct edge_evidence *ev);
uint64_t edge_clients_estimate(const struct edge_evidence *ev);
/* Names of the flags: "via-host" "midstream" "one-way" "image-changed" "auto" "withdrawn"
 * "generalised" "one-end". NULL: none such. */
const char *edge_flag_name(uint32_t single_flag);
const char *edge_state_name(enum edge_state s);
int edge_state_parse(const char *name); /* or -EINVAL */

/*
 * The stable id's number: the first 6 bytes of SHA-256 over the peers' text forms, protocol and
 * ports. Colliding keys: edge_table_add() gives -EEXIST.
 */
uint64_t edge_key_number(const struct peer *from, const struct peer *to, uint8_t proto,
    uint16_t port_lo, uint16_t port_hi);
void edge_id_format(uint64_t number, char buf[static EDGE_ID_STRLEN]);
/* Exactly the form above, else -EINVAL. */
int edge_id_parse(const char *id, uint64_t *ret);
/* The table's hash of a key: not predictable without the seed. */
uint64_t edge_key_hash(const struct edge_key *key, uint64_t seed);

#endif
