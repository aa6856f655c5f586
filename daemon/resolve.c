/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From an address to the peer behind it.
 *
 * The map holds one slot per (address, instance) claim. An address that two live instances claim is
 * ambiguous and belongs to no workload: it is better to show an address than to credit the wrong
 * workload, and no rule is made with it. Claims are retracted when the address or the namespace
 * goes.
 *
 * An address is given to the next container at once, and events wait in queues: one that was read
 * around the change of hands may be about the old owner or the new one. So the map remembers who
 * released an address, for as long as an event may be late, in a table that is never full: what
 * falls out of it early is only this caution.
 */
#include "daemon/former.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/names.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "netlink/rtnl.h"
#include "rules/compile.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct claim {
	struct claim *next;
	struct addr addr;
	struct instance *instance;
};

struct release {
	struct addr addr;
	peer_id owner;		       /* PEER_ID_NONE: not known, or more than one */
	peer_id owners[FORMER_OWNERS]; /* the last first */
	uint64_t gone_ns;	       /* CLOCK_REALTIME */
};

#define RELEASES 1024

struct addr_map {
	uint64_t seed;
	struct release releases[RELEASES];
	size_t n_buckets, n;
	struct claim **buckets;
};

#define ADDR_MAP_BUCKETS 4096
#define ADDR_MAP_MAX (CTL_MAX_INSTANCES * 8 + RTNL_MAX_ADDRS)

int
addr_map_new(uint64_t seed, struct addr_map **ret)
{
	struct addr_map *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return -ENOMEM;
	m->seed = seed;
	m->n_buckets = ADDR_MAP_BUCKETS;
	m->buckets = calloc(m->n_buckets, sizeof(struct claim *));
	if (m->buckets == NULL) {
		free(m);
		return -ENOMEM;
	}
	*ret = m;
	return 0;
}

void
addr_map_free(struct addr_map *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n_buckets; i++) {
		while (m->buckets[i] != NULL) {
			struct claim *c = m->buckets[i];

			m->buckets[i] = c->next;
			free(c);
		}
	}
	free(m->buckets);
	free(m);
}

static struct claim **
bucket_of(const struct addr_map *m, const struct addr *a)
{
	return &m->buckets[addr_hash(a, m->seed) & (m->n_buckets - 1)];
}

int
addr_map_claim(struct addr_map *m, const struct addr *a, struct instance *i)
{
	struct claim **b = bucket_of(m, a);
	struct claim *c;

	for (c = *b; c != NULL; c = c->next)
		if (c->instance == i && addr_eq(&c->addr, a))
			return 0;
	if (m->n >= ADDR_MAP_MAX)
		return -ENOSPC;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->addr = *a;
	c->instance = i;
	c->next = *b;
	*b = c;
	m->n++;
	return 0;
}

static struct release *
release_of(const struct addr_map *m, const struct addr *a)
{
	return (struct release *)&m->releases[(addr_hash(a, m->seed) >> 16) % RELEASES];
}

void
addr_map_release(struct addr_map *m, const struct addr *a, const struct instance *i)
{
	struct release *r = release_of(m, a);
	uint64_t now = now_real();
	const struct workload *w = instance_counts_as(i);
	peer_id owner = w != NULL ? w->peer : PEER_ID_NONE;
	struct release next = { .addr = *a, .owner = owner, .owners = { owner }, .gone_ns = now };

	if (addr_eq(&r->addr, a) && r->gone_ns + LATE_NS > now && r->owner != owner) {
		next.owner = PEER_ID_NONE;
		next.owners[1] = r->owners[0] != owner ? r->owners[0] : r->owners[1];
	}
	*r = next;
}

bool
addr_map_was_anothers(
    const struct addr_map *m, const struct addr *a, const struct instance *i, uint64_t time_ns)
{
	const struct release *r = release_of(m, a);
	const struct workload *w = instance_counts_as(i);

	return addr_eq(&r->addr, a) && time_ns < r->gone_ns + LATE_NS &&
	       (r->owner == PEER_ID_NONE || w == NULL || r->owner != w->peer);
}

size_t
addr_map_former(const struct addr_map *m, const struct addr *a, uint64_t time_ns,
    peer_id ret[static FORMER_OWNERS], uint64_t *ret_until_ns)
{
	const struct release *r = release_of(m, a);
	size_t n = 0;

	*ret_until_ns = 0;
	for (const struct claim *c = *bucket_of(m, a); c != NULL; c = c->next)
		if (addr_eq(&c->addr, a))
			return 0;
	if (!addr_eq(&r->addr, a) || time_ns >= r->gone_ns + LATE_NS)
		return 0;
	*ret_until_ns = r->gone_ns + LATE_NS;
	for (size_t k = 0; k < FORMER_OWNERS; k++)
		if (r->owners[k] != PEER_ID_NONE)
			ret[n++] = r->owners[k];
	return n;
}

void
addr_map_retract(struct addr_map *m, const struct addr *a, const struct instance *i)
{
	for (struct claim **p = bucket_of(m, a); *p != NULL; p = &(*p)->next) {
		struct claim *c = *p;

		if (c->instance != i || !addr_eq(&c->addr, a))
			continue;
		*p = c->next;
		free(c);
		m->n--;
		addr_map_release(m, a, i);
		return;
	}
}

struct instance *
addr_map_find(const struct addr_map *m, const struct addr *a, bool *ret_ambiguous)
{
	struct instance *found = NULL;

	*ret_ambiguous = false;
	for (struct claim *c = *bucket_of(m, a); c != NULL; c = c->next) {
		if (!addr_eq(&c->addr, a))
			continue;
		if (found != NULL &&
		    (instance_counts_as(found) != instance_counts_as(c->instance) ||
			found->is_host != c->instance->is_host))
			*ret_ambiguous = true;
		found = c->instance;
	}
	return *ret_ambiguous ? NULL : found;
}

static int
resolve_plain(struct controller *c, const struct addr *a, unsigned flags, peer_id *ret)
{
	struct peer p = { .kind = PEER_ADDR };
	size_t room = c->config->max_edges;
	peer_id known;

	switch (addr_scope(a)) {
	case SCOPE_MULTICAST:
		*ret = c->peer_multicast;
		return 0;
	case SCOPE_INTERNET:
		*ret = c->peer_internet;
		return 0;
	case SCOPE_LOCAL:
		break;
	}
	p.prefix = prefix_of(a, 128);
	known = peer_lookup(c->peers, &p);
	if (known != PEER_ID_NONE) {
		*ret = known;
		return 0;
	}
	/* Addresses that traffic brings up leave room for workloads and decisions. */
	if (peer_table_count(c->peers) >= ((flags & RESOLVE_REFUSED) != 0 ? room : room * 2))
		return -ENOSPC;
	return peer_intern(c->peers, &p, ret);
}

int
resolve_addr(struct controller *c, const struct addr *a, unsigned flags, peer_id *ret,
    struct instance **ret_i)
{
	bool ambiguous;
	struct instance *i = addr_map_find(c->addr_map, a, &ambiguous);

	*ret_i = i;
	if ((flags & RESOLVE_FINAL) == 0 && i == NULL && !ambiguous &&
	    (instance_settling(c) || !c->caught_up) && !addr_is_multicast(a))
		return -EAGAIN;
	if (i == NULL)
		return resolve_plain(c, a, flags, ret);
	if (i->is_host) {
		*ret = c->peer_host;
		return 0;
	}
	if (i->workload == NULL)
		return (flags & RESOLVE_FINAL) != 0 ? resolve_plain(c, a, flags, ret) : -EAGAIN;
	if (instance_is_refused(i))
		return resolve_plain(c, a, flags, ret);
	*ret = i->workload->peer;
	return 0;
}

static int
entry_cmp(const void *x, const void *y)
{
	const struct inventory_entry *a = x, *b = y;

	return strcmp(a->workload, b->workload);
}

static int
addr_cmp_void(const void *x, const void *y)
{
	return addr_cmp(x, y);
}

bool
instance_shares_addr(const struct instance *i, const struct addr *a)
{
	bool ambiguous;

	addr_map_find(i->ctl->addr_map, a, &ambiguous);
	return ambiguous && !i->is_host;
}

/*
 * Copies the instance's addresses that are its alone to the end of list, which has room. The host
 * keeps its own: containers that run an engine themselves have bridges with the same addresses.
 */
static size_t
append_addrs(const struct instance *i, struct addr *list, size_t n, bool *contested)
{
	size_t count;
	const struct rtnl_addr *a = instance_addrs(i, &count);

	if ((i->ns.flags & NETNS_F_USER) != 0)
		return n;
	for (size_t k = 0; k < count; k++) {
		if (instance_shares_addr(i, &a[k].addr))
			*contested = true;
		else
			list[n++] = a[k].addr;
	}
	return n;
}

static int
fill_entry(const struct workload *w, struct inventory_entry *e)
{
	size_t n = 0, instances = 0;
	struct addr *list;

	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload)
		instances++;
	list = calloc(instances * CTL_MAX_ADDRS + 1, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload)
		if (!instance_is_refused(i))
			n = append_addrs(i, list, n, &e->contested);
	qsort(list, n, sizeof(*list), addr_cmp_void);
	/* It outlives the workload: the next one is compared with it. */
	e->workload = strdup(w->name);
	if (e->workload == NULL) {
		free(list);
		return -ENOMEM;
	}
	e->addrs = list;
	e->n_addrs = n;
	return 0;
}

/* What is in use here, but by nobody that rules could name. */
static int
fill_nobodys(const struct controller *c, struct inventory *inv)
{
	struct addr *list = NULL;
	size_t n = 0, room = 0;

	for (const struct instance *i = c->instances; i != NULL; i = i->next) {
		size_t count;
		const struct rtnl_addr *a = instance_addrs(i, &count);

		for (size_t k = 0; k < count; k++) {
			if (i->is_host || (i->ns.flags & NETNS_F_USER) != 0 ||
			    ((instance_counts_as(i) != NULL || former_workload(i) != NULL) &&
				!instance_shares_addr(i, &a[k].addr)))
				continue;
			if (n == room) {
				struct addr *grown;

				room = room * 2 + 16;
				grown = reallocarray(list, room, sizeof(*grown));
				if (grown == NULL) {
					free(list);
					return -ENOMEM;
				}
				list = grown;
			}
			list[n++] = a[k].addr;
		}
	}
	inv->nobodys = list;
	inv->n_nobodys = n;
	return 0;
}

struct inventory *
inventory_build(struct controller *c, bool all_names)
{
	_cleanup_(inventory_freep) struct inventory *inv = calloc(1, sizeof(*inv));
	struct inventory_entry *entries;
	struct addr *host;
	bool contested;

	if (inv == NULL)
		return NULL;
	entries = calloc(c->n_workloads + 1, sizeof(*entries));
	host = calloc(RTNL_MAX_ADDRS + 1, sizeof(*host));
	inv->entries = entries;
	inv->host = host;
	if (entries == NULL || host == NULL || fill_nobodys(c, inv) < 0 ||
	    names_inventory(c, all_names, inv) < 0)
		return NULL;
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		w->inventory_at = SIZE_MAX;
		if (w->instances == NULL)
			continue;
		if (fill_entry(w, &entries[inv->n_entries]) < 0)
			return NULL;
		w->inventory_at = inv->n_entries++;
	}
	if (c->host != NULL)
		inv->n_host = append_addrs(c->host, host, 0, &contested);
	qsort(host, inv->n_host, sizeof(*host), addr_cmp_void);
	if (former_add(c, inv) < 0)
		return NULL;
	qsort(entries, inv->n_entries, sizeof(*entries), entry_cmp);
	return steal_ptr(inv);
}

void
inventory_free(struct inventory *inv)
{
	if (inv == NULL)
		return;
	for (size_t i = 0; inv->entries != NULL && i < inv->n_entries; i++) {
		free((void *)inv->entries[i].workload);
		free((void *)inv->entries[i].addrs);
	}
	free((void *)inv->entries);
	free((void *)inv->host);
	free((void *)inv->nobodys);
	names_inventory_done(inv);
	free(inv);
}
