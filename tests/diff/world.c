/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See world.h. */
#include "tests/diff/world.h"

#include "rules/range.h"
#include "rules/util.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "a", "b", "c", "d", "elsewhere" };
static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP,
	IPPROTO_ICMP, IPPROTO_ICMPV6 };
static const uint16_t some_ports[] = { 0, 1, 2, 79, 80, 81, 443, 1023, 65534, 65535 };
static const uint8_t some_types[] = { 0, 3, 8, 13, 128, 129, 134, 135, 255 };

static const char *const own[] = { "10.20.0.2", "10.20.0.3", "10.20.1.2", "203.0.113.2",
	"fd00:20::2", "fd00:20::3", "2001:db8::2" };
static const char *const others[] = { "10.20.0.1", "10.20.0.4", "10.20.0.5", "10.20.0.127",
	"10.20.0.128", "10.20.1.0", "10.20.1.255", "10.255.255.255", "172.16.0.1", "203.0.113.1",
	"203.0.113.3", "203.0.113.255", "198.51.100.7", "0.0.0.1", "255.255.255.254", "fd00:20::1",
	"fd00:20::4", "fd00:20::ffff", "fd00:20::1:0", "2001:db8::1", "2001:db8::3",
	"2001:db8::ffff:ffff:ffff:ffff", "fe80::7", "::2" };
const struct world_pool world_pool = { own, others, ARRAY_SIZE(own), ARRAY_SIZE(others) };

/* Where scopes begin and end. */
static const char *const places[] = { "0.0.0.0", "0.255.255.255", "1.0.0.0", "9.255.255.255",
	"10.0.0.0", "11.0.0.0", "100.63.255.255", "100.64.0.0", "127.0.0.1", "128.0.0.0",
	"169.254.0.1", "172.15.255.255", "172.32.0.0", "192.168.1.1", "223.255.255.255",
	"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.254", "255.255.255.255",
	"::", "::1", "fc00::", "fe80::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::9", "2a00::1",
	"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" };
static const uint8_t lens4[] = { 0, 1, 4, 8, 12, 16, 23, 24, 25, 28, 30, 31, 32 };
static const uint8_t lens6[] = { 0, 1, 7, 8, 16, 32, 64, 96, 111, 112, 120, 126, 127, 128 };

#define PICK(w, array) ((array)[world_rnd(w, ARRAY_SIZE(array))])

uint64_t
world_rnd(struct world *w, uint64_t below)
{
	w->seed += 0x9e3779b97f4a7c15ULL;
	return hash_mix64(w->seed) % below;
}

static struct addr
addr_of(const char *text)
{
	struct addr a;

	if (addr_parse(text, &a) < 0)
		abort();
	return a;
}

const struct inventory_entry *
world_owner(const struct world *w, const struct addr *a)
{
	for (size_t i = 0; i < WORLD_WORKLOADS; i++)
		for (size_t j = 0; j < w->entries[i].n_addrs; j++)
			if (addr_eq(&w->addrs[i][j], a))
				return &w->entries[i];
	return NULL;
}

/* One of the pool that nobody has yet, into *ret; false if there was none. */
static bool
take(struct world *w, const char *const *pool, size_t n, uint64_t *taken, struct addr *ret)
{
	size_t at = world_rnd(w, n), i;

	for (i = 0; i < n; i++, at = (at + 1) % n) {
		if (*taken >> at & 1)
			continue;
		*taken |= UINT64_C(1) << at;
		*ret = addr_of(pool[at]);
		return true;
	}
	return false;
}

static void
make_inventory(struct world *w, const struct world_pool *pool)
{
	uint64_t taken_own = 0, taken = 0;
	size_t i, j, n;

	for (i = 0; i < WORLD_WORKLOADS; i++) {
		n = i == 0 ? 1 + world_rnd(w, WORLD_ADDRS) : world_rnd(w, WORLD_ADDRS + 1);
		for (j = 0; j < n; j++)
			if (!(i == 0 ? take(w, pool->own, pool->n_own, &taken_own, &w->addrs[i][j])
				     : take(w, pool->others, pool->n_others, &taken,
					   &w->addrs[i][j])))
				break;
		w->entries[i] =
		    (struct inventory_entry){ names[i], w->addrs[i], j, world_rnd(w, 12) == 0 };
	}
	w->inv = (struct inventory){ w->entries, WORLD_WORKLOADS, w->host, 0, w->nobodys, 0 };
	n = world_rnd(w, ARRAY_SIZE(w->host) + 1);
	while (w->inv.n_host < n &&
	       take(w, pool->others, pool->n_others, &taken, &w->host[w->inv.n_host]))
		w->inv.n_host++;
	n = world_rnd(w, ARRAY_SIZE(w->nobodys) + 1);
	while (w->inv.n_nobodys < n &&
	       take(w, pool->others, pool->n_others, &taken, &w->nobodys[w->inv.n_nobodys]))
		w->inv.n_nobodys++;
}

/* Somebody's address, or one where scopes meet. */
static struct addr
make_anchor(struct world *w, const struct world_pool *pool)
{
	switch (world_rnd(w, 6)) {
	case 0:
	case 1:
		return addr_of(pool->own[world_rnd(w, pool->n_own)]);
	case 2:
		return addr_of(PICK(w, places));
	default:
		return addr_of(pool->others[world_rnd(w, pool->n_others)]);
	}
}

static int
told_cmp(const void *a, const void *b)
{
	return inventory_name_cmp(a, b);
}

/* A name may be said to have any address, also one that nobody can have. */
static void
make_told(struct world *w, const struct world_pool *pool)
{
	static const char *const hosts[] = { "x.example", "y.x.example", "example", "xexample" };
	size_t i, n = 0;

	for (i = 0; i < WORLD_NAMES; i++)
		w->told[i] = (struct inventory_name){ world_rnd(w, 2) ? names[0] : PICK(w, names),
			PICK(w, hosts), make_anchor(w, pool) };
	qsort(w->told, WORLD_NAMES, sizeof(w->told[0]), told_cmp);
	for (i = 0; i < WORLD_NAMES; i++)
		if (n == 0 || told_cmp(&w->told[n - 1], &w->told[i]) != 0)
			w->told[n++] = w->told[i];
	w->inv.names = w->told;
	w->inv.n_names = n;
}

static struct prefix
make_prefix(struct world *w, const struct addr *anchor)
{
	return prefix_of(anchor, anchor->family == 4 ? PICK(w, lens4) : PICK(w, lens6));
}

static struct peer
make_peer(struct world *w, const struct world_pool *pool, const struct addr *anchor)
{
	static const char *const patterns[] = { "x.example", "*.example", "*.x.example" };
	struct addr a;

	switch (world_rnd(w, 15)) {
	case 0:
	case 1:
	case 2:
		return (struct peer){ .kind = PEER_CIDR, .prefix = make_prefix(w, anchor) };
	case 3:
		return (struct peer){ .kind = PEER_NETWORK, .name = world_rnd(w, 2) ? "n0" : "n1" };
	case 4:
		return (struct peer){ .kind = PEER_HOST };
	case 5:
		return (struct peer){ .kind = PEER_INTERNET };
	case 6:
		a = make_anchor(w, pool);
		return (struct peer){ .kind = PEER_ADDR, .prefix = prefix_of(&a, 128) };
	case 7:
		return (struct peer){ .kind = PEER_MULTICAST };
	case 8:
		return (struct peer){ .kind = PEER_FQDN, .name = PICK(w, patterns) };
	default:
		return (struct peer){ .kind = PEER_WORKLOAD, .name = PICK(w, names) };
	}
}

static uint16_t
make_port(struct world *w, uint8_t proto)
{
	if (proto_is_icmp(proto))
		return (
		    uint16_t)(PICK(w, some_types) << 8 | (world_rnd(w, 4) ? 0 : world_rnd(w, 256)));
	return PICK(w, some_ports);
}

static void
make_ports(struct world *w, struct policy_edge *e)
{
	uint16_t other;

	e->port_lo = e->port_hi = make_port(w, e->proto);
	if (proto_is_icmp(e->proto)) {
		if (world_rnd(w, 2)) { /* every code of the type */
			e->port_lo &= 0xff00;
			e->port_hi |= 0xff;
		}
	} else if (world_rnd(w, 3) == 0) {
		other = make_port(w, e->proto);
		e->port_lo = MIN(e->port_lo, other);
		e->port_hi = MAX(e->port_hi, other);
	}
}

static struct policy_edge
make_edge(struct world *w, const struct world_pool *pool, const struct addr *anchor)
{
	struct policy_edge e = { .proto = PICK(w, protos), .state = EDGE_APPROVED };

	e.from = make_peer(w, pool, anchor);
	e.to = make_peer(w, pool, anchor);
	/* Most speak of the first workload, which every test looks at. */
	if (world_rnd(w, 2))
		*(world_rnd(w, 2) ? &e.from : &e.to) =
		    (struct peer){ .kind = PEER_WORKLOAD, .name = names[0] };
	make_ports(w, &e);
	if (world_rnd(w, 3) == 0)
		e.state = world_rnd(w, 5) ? EDGE_DENIED : EDGE_PENDING;
	if (world_rnd(w, 8) == 0)
		e.expires_ns = WORLD_NOW - 1 + world_rnd(w, 3);
	return e;
}

/* The one before, a little narrower or wider or right beside it, decided the other way. */
static struct policy_edge
make_neighbour(struct world *w, const struct policy_edge *last, const struct addr *anchor)
{
	struct policy_edge e = *last;
	struct peer *peer = world_rnd(w, 2) ? &e.from : &e.to;

	if (world_rnd(w, 3))
		e.state = e.state == EDGE_APPROVED ? EDGE_DENIED : EDGE_APPROVED;
	switch (world_rnd(w, 4)) {
	case 0:
		if (proto_is_icmp(e.proto))
			break;
		if (e.port_hi < 65535) {
			e.port_lo = (uint16_t)(e.port_hi + 1);
			e.port_hi =
			    (uint16_t)(e.port_lo == 65535 ? 65535 : e.port_lo + world_rnd(w, 2));
		}
		break;
	case 1:
		if (!proto_is_icmp(e.proto)) {
			e.port_lo = (uint16_t)(e.port_lo - (e.port_lo > 0));
			e.port_hi = (uint16_t)(e.port_hi + (e.port_hi < 65535));
		}
		break;
	default:
		if (peer->kind == PEER_CIDR)
			peer->prefix = make_prefix(w, &peer->prefix.addr);
		else if (peer->kind != PEER_WORKLOAD || world_rnd(w, 4) == 0)
			*peer =
			    (struct peer){ .kind = PEER_CIDR, .prefix = make_prefix(w, anchor) };
		break;
	}
	return e;
}

static void
make_policy(struct world *w, const struct world_pool *pool, size_t max_edges)
{
	struct addr anchor;
	size_t i, j;

	for (i = 0; i < WORLD_WORKLOADS; i++)
		w->workloads[i] = (struct policy_workload){ .name = (char *)(uintptr_t)names[i],
			.mode =
			    world_rnd(w, 8) ? MODE_ENFORCE - (world_rnd(w, 4) == 0) : MODE_OBSERVE,
			.direction = world_rnd(w, 3) ? WL_BOTH : 1 + world_rnd(w, 2) };
	for (i = 0; i < 2; i++) {
		for (j = 0; j < 3; j++) {
			anchor = make_anchor(w, pool);
			w->network_prefixes[i][j] = make_prefix(w, &anchor);
		}
		w->networks[i] = (struct policy_network){ (char *)(uintptr_t)(i ? "n1" : "n0"),
			w->network_prefixes[i], world_rnd(w, 4) };
	}
	w->policy = (struct policy){ .workloads = w->workloads,
		.n_workloads = WORLD_WORKLOADS,
		.networks = w->networks,
		.n_networks = 2,
		.edges = w->edges,
		.n_edges = world_rnd(w, max_edges + 1) };
	anchor = make_anchor(w, pool);
	for (i = 0; i < w->policy.n_edges; i++) {
		if (i > 0 && world_rnd(w, 2)) {
			w->edges[i] = make_neighbour(w, &w->edges[i - 1], &anchor);
			continue;
		}
		if (world_rnd(w, 3) == 0)
			anchor = make_anchor(w, pool);
		w->edges[i] = make_edge(w, pool, &anchor);
	}
}

/* Grids */

static void
grid_add(struct world *w, const struct addr *a)
{
	for (size_t i = 0; i < w->n_grid; i++)
		if (addr_eq(&w->grid[i], a))
			return;
	if (w->n_grid == WORLD_GRID_ADDRS)
		abort();
	w->grid[w->n_grid++] = *a;
}

static bool
bytes_are(const struct addr *a, uint8_t byte)
{
	for (size_t i = 0; i < addr_len(a); i++)
		if (a->bytes[i] != byte)
			return false;
	return true;
}

/* Both ends of a range, and what is beside them. */
static void
grid_add_range(struct world *w, const struct addr *lo, const struct addr *hi)
{
	struct addr a;

	grid_add(w, lo);
	grid_add(w, hi);
	if (!bytes_are(lo, 0)) {
		a = addr_prev(lo);
		grid_add(w, &a);
	}
	if (!bytes_are(hi, 0xff)) {
		a = addr_next(hi);
		grid_add(w, &a);
	}
}

static void
grid_add_prefix(struct world *w, const struct prefix *p)
{
	struct addr_range r = prefix_range(p);

	grid_add_range(w, &r.lo, &r.hi);
}

static void
make_grid(struct world *w)
{
	static const struct prefix multicast[] = {
		{ .addr = { .family = 4, .bytes = { 224 } }, .len = 4 },
		{ .addr = { .family = 6, .bytes = { 0xff } }, .len = 8 },
	};
	bool internet = false;
	const struct peer *peer;
	size_t i, j;

	for (i = 0; i < WORLD_WORKLOADS; i++)
		for (j = 0; j < w->entries[i].n_addrs; j++)
			grid_add_range(w, &w->addrs[i][j], &w->addrs[i][j]);
	for (i = 0; i < w->inv.n_host; i++)
		grid_add_range(w, &w->host[i], &w->host[i]);
	for (i = 0; i < w->inv.n_nobodys; i++)
		grid_add_range(w, &w->nobodys[i], &w->nobodys[i]);
	for (i = 0; i < w->inv.n_names; i++)
		grid_add_range(w, &w->told[i].addr, &w->told[i].addr);
	for (i = 0; i < 2; i++)
		for (j = 0; j < w->networks[i].n_prefixes; j++)
			grid_add_prefix(w, &w->network_prefixes[i][j]);
	for (i = 0; i < 2 * w->policy.n_edges; i++) {
		peer = i & 1 ? &w->edges[i / 2].from : &w->edges[i / 2].to;
		if (peer->kind == PEER_CIDR || peer->kind == PEER_ADDR)
			grid_add_prefix(w, &peer->prefix);
		internet |= peer->kind == PEER_INTERNET;
	}
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		struct addr a = addr_of(places[i]);

		grid_add(w, &a);
	}
	for (i = 0; i < ARRAY_SIZE(multicast); i++)
		grid_add_prefix(w, &multicast[i]);
	for (i = 4; internet && i <= 6; i += 2) {
		const struct addr_range *r;
		size_t n;

		for (r = addr_internet_ranges((uint8_t)i, &n), j = 0; j < n; j++)
			grid_add_range(w, &r[j].lo, &r[j].hi);
	}
}

static void
port_add(uint16_t *v, size_t *n, unsigned port)
{
	for (size_t i = 0; i < *n; i++)
		if (v[i] == port)
			return;
	if (*n < WORLD_GRID_PORTS)
		v[(*n)++] = (uint16_t)port;
}

size_t
world_ports(const struct world *w, uint8_t proto, uint16_t ret[static WORLD_GRID_PORTS])
{
	size_t n = 0;

	for (size_t i = 0; i < w->policy.n_edges; i++) {
		const struct policy_edge *e = &w->edges[i];

		if (e->proto != proto)
			continue;
		port_add(ret, &n, e->port_lo);
		port_add(ret, &n, e->port_hi);
		if (e->port_lo > 0)
			port_add(ret, &n, e->port_lo - 1u);
		if (e->port_hi < 65535)
			port_add(ret, &n, e->port_hi + 1u);
	}
	port_add(ret, &n, proto == IPPROTO_ICMP ? 8 << 8 : proto == IPPROTO_ICMPV6 ? 128 << 8 : 80);
	port_add(ret, &n, 0);
	port_add(ret, &n, 65535);
	return n;
}

void
world_make(struct world *w, uint64_t seed, const struct world_pool *pool, size_t max_edges)
{
	memset(w, 0, sizeof(*w));
	w->seed = hash_mix64(seed);
	make_inventory(w, pool);
	make_told(w, pool);
	make_policy(w, pool, max_edges);
	make_grid(w);
}

/* Which of the workload's addresses of a family a set of addresses holds. */
static void
near_of(const struct world *w, const struct peer *peer, const struct inventory_entry *entry,
    uint8_t family, bool *ret_all, bool *ret_any)
{
	bool in = false, out = false;

	for (size_t i = 0; i < entry->n_addrs; i++) {
		if (entry->addrs[i].family != family)
			continue;
		if (peer_contains(&w->policy, &w->inv, peer, &entry->addrs[i]))
			in = true;
		else
			out = true;
	}
	/* It has more addresses, in the set or not. */
	if (entry->contested)
		in = out = true;
	*ret_all = in && !out;
	*ret_any = in;
}

struct policy
world_whole(const struct world *w, const struct inventory_entry *entry, enum flow_dir dir,
    uint8_t family, struct policy_edge edges[static WORLD_EDGES])
{
	struct policy p = w->policy;
	bool all, any;

	memcpy(edges, w->edges, sizeof(w->edges));
	p.edges = edges;
	for (size_t i = 0; i < p.n_edges; i++) {
		struct peer *near = dir == DIR_INGRESS ? &edges[i].to : &edges[i].from;

		if (near->kind != PEER_CIDR && near->kind != PEER_ADDR && near->kind != PEER_HOST &&
		    near->kind != PEER_NETWORK)
			continue;
		if (near->kind == PEER_NETWORK && w->networks[near->name[1] - '0'].n_prefixes == 0)
			continue;
		near_of(w, near, entry, family, &all, &any);
		if (edges[i].state == EDGE_DENIED ? any : all)
			*near = (struct peer){ .kind = PEER_WORKLOAD, .name = entry->workload };
		else
			*near = (struct peer){ .kind = PEER_NONE };
	}
	return p;
}

void
world_print(const struct world *w)
{
	static const char *const states[] = {
		[EDGE_PENDING] = "pending", [EDGE_APPROVED] = "approved", [EDGE_DENIED] = "denied"
	};
	char from[PEER_STRLEN], to[PEER_STRLEN], text[ADDR_STRLEN];

	for (size_t i = 0; i < WORLD_WORKLOADS; i++) {
		printf("# %s: mode %d, direction %d%s", names[i], w->workloads[i].mode,
		    w->workloads[i].direction, w->entries[i].contested ? ", contested" : "");
		for (size_t j = 0; j < w->entries[i].n_addrs; j++)
			printf(" %s", addr_format(&w->addrs[i][j], text));
		printf("\n");
	}
	for (size_t i = 0; i < w->policy.n_edges; i++) {
		const struct policy_edge *e = &w->edges[i];

		printf("# edge %s -> %s proto %d ports %d-%d %s expires %llu\n",
		    peer_format(&e->from, from), peer_format(&e->to, to), e->proto, e->port_lo,
		    e->port_hi, states[e->state], (unsigned long long)e->expires_ns);
	}
}
