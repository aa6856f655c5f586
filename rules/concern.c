/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom a change of the inventory concerns, so that a container's start costs what its own edges
 * cost, however many others have rules. It has to name everybody whose ruleset may be another one;
 * to name more costs time only.
 *
 * compile looks at the inventory in five places: the workload's own entry, the entries of the
 * workloads at the far end of its edges, the host's addresses, the global addresses that
 * "internet" leaves out, and what the workload was told of names, which leave out all addresses.
 * The first two are the same seen from either end: an entry that changed concerns its own workload
 * and those at the other end of an edge that names it, by name or as a set that holds one of their
 * addresses.
 */
#include "rules/compile.h"

#include <string.h>

struct scan {
	const struct policy *policy;
	const struct inventory *before, *now;
	bool *concerned; /* by index in now->entries */
};

static bool
addrs_eq(const struct addr *a, size_t n_a, const struct addr *b, size_t n_b)
{
	return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof(*a)) == 0);
}

static bool
any_global(const struct addr *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (addr_scope(&a[i]) == SCOPE_INTERNET)
			return true;
	return false;
}

static bool
is_link_local(const struct addr *a)
{
	return a->family == 6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

static const struct addr *
next_host(const struct inventory *inv, size_t *pos)
{
	while (*pos < inv->n_host && is_link_local(&inv->host[*pos]))
		(*pos)++;
	return *pos < inv->n_host ? &inv->host[(*pos)++] : NULL;
}

static bool
host_changed(const struct scan *s)
{
	size_t i = 0, j = 0;
	const struct addr *a, *b;

	do {
		a = next_host(s->before, &i);
		b = next_host(s->now, &j);
	} while (a != NULL && b != NULL && addr_eq(a, b));
	return a != b;
}

/* Is the address in the set that this peer is? */
static bool
holds(const struct scan *s, const struct peer *peer, const struct addr *a)
{
	const struct policy_network *network;

	switch (peer->kind) {
	case PEER_CIDR:
	case PEER_ADDR:
		return prefix_contains(&peer->prefix, a);
	case PEER_NETWORK:
		network = policy_find_network(s->policy, peer->name);
		for (size_t i = 0; network != NULL && i < network->n_prefixes; i++)
			if (prefix_contains(&network->prefixes[i], a))
				return true;
		return false;
	case PEER_HOST:
		return addrs_contain(s->now->host, s->now->n_host, a);
	default:
		return false;
	}
}

static bool
may_be(const struct scan *s, const struct inventory_entry *e, const struct peer *peer)
{
	for (size_t i = 0; i < e->n_addrs; i++)
		if (holds(s, peer, &e->addrs[i]))
			return true;
	return e->contested;
}

static void
concern_peer(struct scan *s, const struct peer *peer)
{
	const struct inventory_entry *e;

	if (peer->kind == PEER_WORKLOAD) {
		e = inventory_find(s->now, peer->name);
		if (e != NULL)
			s->concerned[e - s->now->entries] = true;
		return;
	}
	if (peer->kind == PEER_INTERNET) /* no workload's address is in it */
		return;
	for (size_t i = 0; i < s->now->n_entries; i++)
		s->concerned[i] = s->concerned[i] || may_be(s, &s->now->entries[i], peer);
}

static bool
names(const struct peer *peer, const char *workload)
{
	return peer->kind == PEER_WORKLOAD && strcmp(peer->name, workload) == 0;
}

/* The entry has come, gone or changed. */
static void
concern_entry(struct scan *s, const char *workload)
{
	struct policy_walk walk = policy_walk_edges(s->policy, workload);
	const struct inventory_entry *own = inventory_find(s->now, workload);
	const struct policy_edge *e;

	if (own != NULL)
		s->concerned[own - s->now->entries] = true;
	while ((e = policy_walk_next(&walk)) != NULL) {
		if (names(&e->from, workload))
			concern_peer(s, &e->to);
		if (names(&e->to, workload))
			concern_peer(s, &e->from);
	}
}

/* Both inventories' names, sorted alike: whoever was told something else is concerned. */
static void
concern_names(struct scan *s)
{
	const struct inventory_name *a, *b;
	const struct inventory_entry *e;
	size_t i = 0, j = 0;

	while (i < s->before->n_names || j < s->now->n_names) {
		int c;

		a = i < s->before->n_names ? &s->before->names[i] : NULL;
		b = j < s->now->n_names ? &s->now->names[j] : NULL;
		if (a == NULL || b == NULL)
			c = a == NULL ? 1 : -1;
		else
			c = inventory_name_cmp(a, b);
		i += c <= 0;
		j += c >= 0;
		if (c == 0)
			continue;
		e = inventory_find(s->now, c < 0 ? a->workload : b->workload);
		if (e != NULL)
			s->concerned[e - s->now->entries] = true;
	}
}

/* What is in use here no name leads to: who was told of addresses like those that changed? */
static void
concern_named(struct scan *s, bool global)
{
	const struct inventory_entry *e;
	const struct inventory_name *n;

	for (size_t i = 0; i < s->now->n_names; i++) {
		n = &s->now->names[i];
		if (addr_scope(&n->addr) == SCOPE_INTERNET && !global)
			continue;
		e = inventory_find(s->now, n->workload);
		if (e != NULL)
			s->concerned[e - s->now->entries] = true;
	}
}

static bool
leads_to_internet(const struct policy_edge *e, const char *workload)
{
	const struct peer *near = e->from.kind == PEER_INTERNET ? &e->to : &e->from;

	if (e->from.kind != PEER_INTERNET && e->to.kind != PEER_INTERNET)
		return false;
	return near->kind != PEER_WORKLOAD || names(near, workload);
}

static void
concern_internet(struct scan *s)
{
	for (size_t i = 0; i < s->now->n_entries; i++) {
		const char *workload = s->now->entries[i].workload;
		struct policy_walk walk = policy_walk_edges(s->policy, workload);
		const struct policy_edge *e;

		while (!s->concerned[i] && (e = policy_walk_next(&walk)) != NULL)
			s->concerned[i] = leads_to_internet(e, workload);
	}
}

/* Both inventories' entries by name; *ret_global: global addresses came or went. */
static bool
concern_entries(struct scan *s, bool *ret_global)
{
	const struct inventory_entry *a, *b;
	size_t i = 0, j = 0;
	bool any = false;

	while (i < s->before->n_entries || j < s->now->n_entries) {
		int c = 0;

		a = i < s->before->n_entries ? &s->before->entries[i] : NULL;
		b = j < s->now->n_entries ? &s->now->entries[j] : NULL;
		if (a == NULL || b == NULL)
			c = a == NULL ? 1 : -1;
		else
			c = strcmp(a->workload, b->workload);
		i += c <= 0;
		j += c >= 0;
		if (c == 0 && a->contested == b->contested &&
		    addrs_eq(a->addrs, a->n_addrs, b->addrs, b->n_addrs))
			continue;
		any = true;
		concern_entry(s, c <= 0 ? a->workload : b->workload);
		*ret_global |= c <= 0 && any_global(a->addrs, a->n_addrs);
		*ret_global |= c >= 0 && any_global(b->addrs, b->n_addrs);
	}
	return any;
}

bool
inventory_concerns(const struct policy *p, const struct inventory *before,
    const struct inventory *now, bool *concerned)
{
	struct scan s = { .policy = p, .before = before, .now = now, .concerned = concerned };
	bool global = false, any;

	if (!addrs_eq(before->nobodys, before->n_nobodys, now->nobodys, now->n_nobodys))
		global = any_global(before->nobodys, before->n_nobodys) ||
			 any_global(now->nobodys, now->n_nobodys);
	memset(concerned, 0, now->n_entries * sizeof(*concerned));
	any = concern_entries(&s, &global);
	if (global)
		concern_internet(&s);
	concern_names(&s);
	if (any || !addrs_eq(before->nobodys, before->n_nobodys, now->nobodys, now->n_nobodys))
		concern_named(&s, global);
	if (host_changed(&s))
		memset(concerned, 1, now->n_entries * sizeof(*concerned));
	return any;
}
