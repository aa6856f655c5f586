/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames -> connections (rules/track.h) -> edges (rules/edge.h), with the names and the workloads
 * of the addresses. Owns the address map, the names that clients were told, and the tunnels seen.
 *
 * Both hash tables of names are small and forgetful on purpose: a question or a name that is pushed
 * out only costs a label (internet for fqdn:N), never a wrong one.
 */
#include "rules/offline.h"

#include "rules/dns.h"
#include "rules/dns_stream.h"
#include "rules/names.h"
#include "rules/policy.h"
#include "rules/server_name.h"
#include "rules/track.h"
#include "rules/tunnel.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define DNS_PORT 53
#define MAP_SLOTS (OFFLINE_MAX_MAPPED * 2 + 1)
#define MAX_PREFIX_LEN 128
#define NAME_WAYS 4
#define MAX_QUESTIONS 4096		 /* a power of two */
#define MAX_HEARD 16384			 /* a power of two */
#define MAX_APART (POLICY_MAX_EDGES / 2) /* edges; then new addresses are the internet */
#define MAX_PEERS (2 * POLICY_MAX_EDGES + OFFLINE_MAX_MAPPED + 16)

struct mapped {
	struct prefix prefix;
	peer_id workload; /* PEER_ID_NONE: free */
};

/* What a client was told: that server's address has this name. */
struct told {
	struct addr client, server;
	uint64_t when; /* frames read until then; 0: free */
	char name[DNS_NAME_MAX];
};

/* What a client called a server. */
struct heard {
	struct edge_key key;
	struct tuple tuple;
	struct server_name name;
};

struct offline {
	struct peer_table *peers;
	struct edge_table *edges;
	struct track *track;
	struct mapped *map;
	size_t n_mapped;
	bool map_lens[2][MAX_PREFIX_LEN + 1]; /* of IPv4, of IPv6: some prefix has this length */
	struct told *told;
	uint64_t *questions; /* hashes of those without an answer; 0: none */
	struct dns_streams *streams;
	struct heard *heard;
	uint32_t *heard_at; /* by hash, twice as many: place + 1 in it; 0: free */
	size_t n_heard;
	struct offline_tunnel *tunnels;
	size_t n_tunnels;
	struct service_table *services;
	uint16_t *n_named; /* by who asks: edges to names */
	peer_id internet, multicast;
	uint64_t seed;
	enum offline_form form;
	struct offline_stats stats;
};

static uint32_t connection_started(void *arg, const struct tuple *first);
static void connection_ended(void *arg, const struct track_connection *c);

int
offline_new(uint64_t hash_seed, enum offline_form form, struct offline **ret)
{
	const struct peer internet = { .kind = PEER_INTERNET },
			  multicast = { .kind = PEER_MULTICAST };
	_cleanup_(offline_freep) struct offline *o = calloc(1, sizeof(*o));
	int r;

	if (o == NULL)
		return -ENOMEM;
	o->seed = hash_seed;
	o->form = form;
	o->map = calloc(MAP_SLOTS, sizeof(*o->map));
	o->told = calloc(OFFLINE_MAX_NAMES, sizeof(*o->told));
	o->questions = calloc(MAX_QUESTIONS, sizeof(*o->questions));
	o->heard = calloc(MAX_HEARD, sizeof(*o->heard));
	o->heard_at = calloc(2 * MAX_HEARD, sizeof(*o->heard_at));
	o->tunnels = calloc(OFFLINE_MAX_TUNNELS, sizeof(*o->tunnels));
	o->n_named = calloc(MAX_PEERS + 1, sizeof(*o->n_named));
	if (o->map == NULL || o->told == NULL || o->questions == NULL || o->heard == NULL ||
	    o->heard_at == NULL || o->tunnels == NULL || o->n_named == NULL)
		return -ENOMEM;
	r = peer_table_new_seeded(MAX_PEERS, hash_seed, &o->peers);
	if (r == 0)
		r = peer_intern(o->peers, &internet, &o->internet);
	if (r == 0)
		r = peer_intern(o->peers, &multicast, &o->multicast);
	if (r == 0)
		r = edge_table_new(o->peers, POLICY_MAX_EDGES, hash_seed, NULL, NULL, &o->edges);
	if (r == 0 && form == OFFLINE_EDGES)
		r = edge_table_generalise(o->edges, o->peers, NULL, NULL);
	if (r == 0)
		r = service_table_new(OFFLINE_MAX_SERVICES, hash_seed, &o->services);
	if (r == 0)
		r = dns_streams_new(&o->streams);
	if (r == 0)
		r = track_new(OFFLINE_MAX_CONNECTIONS, hash_seed, connection_started,
		    connection_ended, o, &o->track);
	if (r < 0)
		return r;
	*ret = steal_ptr(o);
	return 0;
}

void
offline_free(struct offline *o)
{
	if (o == NULL)
		return;
	track_free(o->track);
	edge_table_free(o->edges);
	service_table_free(o->services);
	peer_table_free(o->peers);
	free(o->map);
	free(o->told);
	free(o->questions);
	dns_streams_free(o->streams);
	free(o->heard);
	free(o->heard_at);
	free(o->tunnels);
	free(o->n_named);
	free(o);
}

/* The prefix's place in the map, or the free one where it would stand. */
static struct mapped *
map_at(const struct offline *o, const struct prefix *p)
{
	uint64_t h = addr_hash(&p->addr, o->seed ^ p->len);

	for (;; h++) {
		struct mapped *m = &o->map[h % MAP_SLOTS];

		if (m->workload == PEER_ID_NONE ||
		    (m->prefix.len == p->len && addr_eq(&m->prefix.addr, &p->addr)))
			return m;
	}
}

int
offline_map(struct offline *o, const char *workload, const struct prefix *p)
{
	const struct peer peer = { .kind = PEER_WORKLOAD, .name = workload };
	struct mapped *m = map_at(o, p);
	peer_id id;
	int r = peer_intern(o->peers, &peer, &id);

	if (r < 0)
		return r;
	if (m->workload != PEER_ID_NONE)
		return m->workload == id ? 0 : -EEXIST;
	if (o->n_mapped == OFFLINE_MAX_MAPPED)
		return -ENOSPC;
	*m = (struct mapped){ .prefix = *p, .workload = id };
	o->n_mapped++;
	o->map_lens[p->addr.family == 6][p->len] = true;
	return 0;
}

/* The workload of the longest prefix, or PEER_ID_NONE. */
static peer_id
map_find(const struct offline *o, const struct addr *a)
{
	const bool *lens = o->map_lens[a->family == 6];

	if (o->n_mapped == 0)
		return PEER_ID_NONE;
	for (int len = (int)addr_len(a) * 8; len >= 0; len--) {
		struct prefix p;

		if (!lens[len])
			continue;
		p = prefix_of(a, (uint8_t)len);
		if (map_at(o, &p)->workload != PEER_ID_NONE)
			return map_at(o, &p)->workload;
	}
	return PEER_ID_NONE;
}

/* The NAME_WAYS places where this pair may stand. */
static struct told *
told_ways(const struct offline *o, const struct addr *client, const struct addr *server)
{
	uint64_t h = hash_mix64(addr_hash(client, o->seed) ^ (addr_hash(server, o->seed) << 1));

	return &o->told[h % (OFFLINE_MAX_NAMES / NAME_WAYS) * NAME_WAYS];
}

static void
tell(struct offline *o, const struct addr *client, const struct addr *server, const char *name)
{
	struct told *ways = told_ways(o, client, server), *at = ways;

	for (unsigned i = 0; i < NAME_WAYS; i++) {
		if (addr_eq(&ways[i].client, client) && addr_eq(&ways[i].server, server)) {
			at = &ways[i];
			break;
		}
		if (ways[i].when < at->when)
			at = &ways[i];
	}
	at->client = *client;
	at->server = *server;
	at->when = o->stats.frames;
	memcpy(at->name, name, strlen(name) + 1);
}

static const char *
name_of(const struct offline *o, const struct addr *client, const struct addr *server)
{
	const struct told *ways = told_ways(o, client, server);

	for (unsigned i = 0; i < NAME_WAYS; i++)
		if (addr_eq(&ways[i].client, client) && addr_eq(&ways[i].server, server))
			return ways[i].name;
	return NULL;
}

/* Whose message is read. */
struct dns_note {
	struct offline *offline;
	struct tuple tuple;
};

static void
note_message(void *arg, const uint8_t *buf, size_t len)
{
	const struct dns_note *n = arg;
	struct offline *o = n->offline;
	const bool answer = n->tuple.sport == DNS_PORT;
	struct tuple asked = answer ? tuple_reverse(&n->tuple) : n->tuple;
	struct dns_message m;
	uint64_t hash, *slot;

	if (dns_parse(buf, len, &m) < 0 || m.response != answer)
		return;
	hash = dns_question_hash(&asked, &m, o->seed);
	slot = &o->questions[hash >> 1 & (MAX_QUESTIONS - 1)];
	if (!answer) {
		*slot = hash;
		return;
	}
	if (*slot != hash)
		return;
	*slot = 0;
	for (size_t i = 0; i < m.n_addrs; i++)
		tell(o, &asked.src, &m.addrs[i], m.name);
}

/* Of a TCP connection whose begin was not captured only what lies in one segment is read. */
static void
note_dns(struct offline *o, const struct frame_info *f, const uint8_t *buf, uint64_t time_ns)
{
	const struct addr *client = f->tuple.sport == DNS_PORT ? &f->tuple.dst : &f->tuple.src;
	struct dns_note n = { o, f->tuple };
	const uint8_t *p = buf + f->payload_off;
	size_t len = f->payload_len;

	if (f->tuple.proto != IPPROTO_TCP)
		note_message(&n, p, len);
	else if (!dns_streams_take(
		     o->streams, addr_hash(client, o->seed), f, p, time_ns, note_message, &n))
		dns_stream_read_alone(p, len, note_message, &n);
}

/* The peer of a server's name, if there is one to be had. */
static peer_id
fqdn_of(const struct offline *o, const struct addr *client, const struct addr *server)
{
	const char *name;
	peer_id id;

	if (addr_scope(server) != SCOPE_INTERNET || map_find(o, server) != PEER_ID_NONE)
		return PEER_ID_NONE;
	name = name_of(o, client, server);
	if (name == NULL || policy_fqdn_fault(name) != NULL)
		return PEER_ID_NONE;
	return peer_intern(o->peers, &(struct peer){ .kind = PEER_FQDN, .name = name }, &id) == 0
		   ? id
		   : PEER_ID_NONE;
}

/* The name at this moment: the address may get another one later. Either end may be the server. */
static uint32_t
connection_started(void *arg, const struct tuple *first)
{
	peer_id id = fqdn_of(arg, &first->src, &first->dst);

	return id != PEER_ID_NONE ? id : fqdn_of(arg, &first->dst, &first->src);
}

static bool
is_kept_apart(const struct offline *o, const struct peer *addr)
{
	return o->form == OFFLINE_FLOWS && (edge_table_count(o->edges) < MAX_APART ||
					       peer_lookup(o->peers, addr) != PEER_ID_NONE);
}

static int
resolve(struct offline *o, const struct addr *a, peer_id name, peer_id *ret)
{
	const struct peer addr = { .kind = PEER_ADDR,
		.prefix = prefix_of(a, (uint8_t)(addr_len(a) * 8)) };
	peer_id id = map_find(o, a);

	if (id != PEER_ID_NONE) {
		*ret = id;
		return 0;
	}
	switch (addr_scope(a)) {
	case SCOPE_MULTICAST:
		*ret = o->multicast;
		return 0;
	case SCOPE_INTERNET:
		if (name == PEER_ID_NONE && is_kept_apart(o, &addr))
			break;
		*ret = name != PEER_ID_NONE ? name : o->internet;
		return 0;
	case SCOPE_LOCAL:
		break;
	}
	return peer_intern(o->peers, &addr, ret);
}

/*
 * A name is kept until the capture ends: whether the connection is one, and which edge it is of, is
 * known only when it is over. What finds no room is a label less.
 */
static void
note_server_name(struct offline *o, const struct frame_info *f, const uint8_t *buf)
{
	struct heard h = { .key = { .proto = f->tuple.proto,
			       .port_lo = f->tuple.dport,
			       .port_hi = f->tuple.dport },
		.tuple = f->tuple };
	const struct tuple *t = &f->tuple;
	const struct heard *have;
	uint64_t i;

	if (o->n_heard == MAX_HEARD ||
	    server_name_parse(buf + f->payload_off, f->payload_len, &h.name) < 0 ||
	    resolve(o, &t->src, PEER_ID_NONE, &h.key.from) < 0 ||
	    resolve(o, &t->dst, fqdn_of(o, &t->src, &t->dst), &h.key.to) < 0)
		return;
	i = edge_key_hash(&h.key, o->seed);
	for (const char *p = h.name.name; *p != '\0'; p++)
		i = hash_mix64(i ^ (uint8_t)*p);
	for (; o->heard_at[i & (2 * MAX_HEARD - 1)] != 0; i++) {
		have = &o->heard[o->heard_at[i & (2 * MAX_HEARD - 1)] - 1];
		if (have->name.kind == h.name.kind && strcmp(have->name.name, h.name.name) == 0 &&
		    memcmp(&have->key, &h.key, sizeof(h.key)) == 0)
			return;
	}
	o->heard[o->n_heard++] = h;
	o->heard_at[i & (2 * MAX_HEARD - 1)] = (uint32_t)o->n_heard;
}

static void
tell_server_names(struct offline *o)
{
	struct edge *e;

	for (size_t i = 0; i < o->n_heard; i++) {
		const struct heard *h = &o->heard[i];

		e = edge_table_serving(o->edges, &h->key, &h->tuple);
		if (e != NULL)
			edge_see_as(e, &h->name);
	}
}

static void
note_tunnel(struct offline *o, const struct tuple *t, uint64_t frames)
{
	const char *kind = tunnel_kind(t);
	struct offline_tunnel *n;

	if (kind == NULL)
		return;
	for (size_t i = 0; i < o->n_tunnels; i++) {
		n = &o->tunnels[i];
		if (n->kind == kind && addr_eq(&n->src, &t->src) && addr_eq(&n->dst, &t->dst)) {
			n->frames += frames;
			return;
		}
	}
	if (o->n_tunnels == OFFLINE_MAX_TUNNELS) {
		o->stats.unlisted += frames;
		return;
	}
	o->tunnels[o->n_tunnels++] =
	    (struct offline_tunnel){ .src = t->src, .dst = t->dst, .kind = kind, .frames = frames };
}

static bool
is_one_way(const struct track_connection *c)
{
	if (c->flags & TRACK_F_ONE_SIDED)
		return true;
	return c->tuple.proto == IPPROTO_UDP &&
	       (c->flags & (TRACK_F_ANSWERED | TRACK_F_REFUSED)) == 0 &&
	       c->frames[0] >= OFFLINE_ONE_WAY_FRAMES &&
	       c->last_ns - c->first_ns >= OFFLINE_ONE_WAY_NS;
}

/* A crawler's names, or those of a CDN that has one for each of its servers, are the internet. */
static bool
has_too_many_names(const struct offline *o, const struct edge_observation *ob)
{
	return o->form == OFFLINE_EDGES && o->n_named[ob->key.from] >= NAMES_MAX_PEERS &&
	       edge_table_serving(o->edges, &ob->key, &ob->tuple) == NULL;
}

static void
connection_ended(void *arg, const struct track_connection *c)
{
	struct offline *o = arg;
	bool one_way = is_one_way(c);
	struct edge_observation ob = {
		.key = { .port_lo = c->tuple.dport,
		    .port_hi = c->tuple.dport,
		    .proto = c->tuple.proto },
		.tuple = c->tuple,
		.end = EDGE_END_SOURCE,
		.instance = (uint32_t)addr_hash(&c->tuple.src, 0),
		.time_ns = MAX(c->first_ns, 1),
		.count = 1,
	};
	struct edge *e;
	bool named;
	int r;

	note_tunnel(o, &c->tuple, c->frames[0] + c->frames[1]);
	if (!(c->flags & TRACK_F_ANSWERED) && !one_way) {
		o->stats.attempts++;
		return;
	}
	o->stats.flows++;
	if (c->flags & TRACK_F_MIDSTREAM)
		ob.flags |= EDGE_FLAG_MIDSTREAM;
	if (one_way)
		ob.flags |= EDGE_FLAG_ONE_WAY;
	if (proto_has_port(c->tuple.proto))
		service_note(o->services, &c->tuple.dst, c->tuple.proto, c->tuple.dport, ob.flags);
	/* Names are of servers only: who came from there could be anyone. */
	r = resolve(o, &c->tuple.src, PEER_ID_NONE, &ob.key.from);
	if (r == 0)
		r = resolve(o, &c->tuple.dst, c->tag, &ob.key.to);
	named = r == 0 && c->tag != PEER_ID_NONE && ob.key.to == c->tag;
	if (named && has_too_many_names(o, &ob))
		ob.key.to = o->internet;
	if (r == 0)
		r = edge_table_observe(o->edges, &ob, &e);
	if (r < 0) {
		o->stats.lost++;
		return;
	}
	if (named && r == 1 && o->n_named[ob.key.from] < NAMES_MAX_PEERS)
		o->n_named[ob.key.from]++;
	e->evidence.last_seen_ns = MAX(e->evidence.last_seen_ns, c->last_ns);
	if (e->evidence.bytes == EDGE_BYTES_UNKNOWN)
		e->evidence.bytes = 0;
	e->evidence.bytes += c->bytes;
}

int
offline_frame(struct offline *o, int linktype, const uint8_t *buf, size_t len, uint32_t bytes,
    uint64_t time_ns)
{
	struct frame_info f;
	int r;

	o->stats.frames++;
	r = frame_parse(linktype, buf, len, &f);
	/* Nobody can be at a multicast address. */
	if (r == 0 && addr_is_multicast(&f.tuple.src))
		r = -ENODATA;
	if (r == -EBADMSG && !frame_link_supported(linktype))
		r = -ENODATA;
	if (r < 0) {
		o->stats.malformed += r == -EBADMSG;
		o->stats.other += r != -EBADMSG;
		return 0;
	}
	if (proto_has_port(f.tuple.proto) &&
	    (f.tuple.sport == DNS_PORT || f.tuple.dport == DNS_PORT))
		note_dns(o, &f, buf, time_ns);
	if (f.tuple.proto == IPPROTO_TCP && server_name_may_be(buf + f.payload_off, f.payload_len))
		note_server_name(o, &f, buf);
	r = track_frame(o->track, &f, buf, bytes, time_ns);
	if (r == -ENODATA) {
		o->stats.other++;
		note_tunnel(o, &f.tuple, 1);
		return 0;
	}
	return r;
}

void
offline_finish(struct offline *o)
{
	track_finish(o->track);
	tell_server_names(o);
}

void
offline_stats(const struct offline *o, struct offline_stats *ret)
{
	*ret = o->stats;
	ret->evicted = track_evicted(o->track);
	ret->dns_broken = dns_streams_broken(o->streams);
	ret->services_lost = service_table_lost(o->services);
}

const struct edge_table *
offline_edges(const struct offline *o)
{
	return o->edges;
}

const struct peer_table *
offline_peers(const struct offline *o)
{
	return o->peers;
}

const struct offline_tunnel *
offline_tunnels(const struct offline *o, size_t *ret_n)
{
	*ret_n = o->n_tunnels;
	return o->tunnels;
}

const struct service *
offline_services(const struct offline *o, size_t *ret_n)
{
	return service_table_list(o->services, ret_n);
}
