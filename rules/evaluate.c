/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reference evaluator: what the words of a policy say about one connection. It shares nothing
 * with compile: no element, no range, only "who is at each end" and "is he that peer". Of the rest
 * of the library it calls the comparison of addresses alone, and a test holds it to that: what the
 * two would share, neither could prove wrong.
 *
 * Whoever holds an address is asked by name: with a workload's name given, `workload` peers go by
 * that name; without one, by whose address it is.
 */
#include "rules/compile.h"

#include <netinet/in.h>
#include <string.h>

/* Who is at one end of a connection. */
struct party {
	const struct addr *addr;
	const char *workload; /* NULL: none */
	bool is_host;
	bool is_identified; /* the address is in use here: it is not the internet */
};

static bool
entry_has_addr(const struct inventory_entry *entry, const struct addr *a)
{
	for (size_t i = 0; i < entry->n_addrs; i++)
		if (addr_eq(&entry->addrs[i], a))
			return true;
	return false;
}

static struct party
party_identify(const struct inventory *inv, const struct addr *a, const char *workload)
{
	struct party party = { .addr = a, .workload = workload };
	size_t i;

	for (i = 0; i < inv->n_host; i++)
		if (addr_eq(&inv->host[i], a))
			party.is_host = true;
	party.is_identified = party.is_host || workload != NULL;
	for (i = 0; i < inv->n_nobodys; i++)
		if (addr_eq(&inv->nobodys[i], a))
			party.is_identified = true;
	for (i = 0; i < inv->n_entries; i++) {
		if (!entry_has_addr(&inv->entries[i], a))
			continue;
		party.is_identified = true;
		if (party.workload == NULL)
			party.workload = inv->entries[i].workload;
	}
	return party;
}

static bool
network_has_addr(const struct policy *p, const char *name, const struct addr *a)
{
	const struct policy_network *network;
	size_t i, j;

	for (i = 0; i < p->n_networks; i++) {
		network = &p->networks[i];
		if (strcmp(network->name, name) != 0)
			continue;
		for (j = 0; j < network->n_prefixes; j++)
			if (prefix_contains(&network->prefixes[j], a))
				return true;
	}
	return false;
}

static bool
party_is_peer(const struct policy *p, const struct party *party, const struct peer *peer)
{
	switch (peer->kind) {
	case PEER_WORKLOAD:
		return party->workload != NULL && strcmp(party->workload, peer->name) == 0;
	case PEER_HOST:
		return party->is_host;
	case PEER_CIDR:
	case PEER_ADDR:
		return prefix_contains(&peer->prefix, party->addr);
	case PEER_NETWORK:
		return network_has_addr(p, peer->name, party->addr);
	case PEER_INTERNET:
		return addr_scope(party->addr) == SCOPE_INTERNET && !party->is_identified;
	case PEER_MULTICAST:
		return addr_scope(party->addr) == SCOPE_MULTICAST;
	case PEER_FQDN: /* by what the other end was told: party_is_named() */
	case PEER_NONE:
		break;
	}
	return false;
}

bool
peer_contains(const struct policy *p, const struct inventory *inv, const struct peer *peer,
    const struct addr *a)
{
	struct party party;
	size_t i;

	if (peer->kind == PEER_WORKLOAD) {
		for (i = 0; i < inv->n_entries; i++)
			if (strcmp(inv->entries[i].workload, peer->name) == 0)
				return entry_has_addr(&inv->entries[i], a);
		return false;
	}
	party = party_identify(inv, a, NULL);
	return party_is_peer(p, &party, peer);
}

/* How a party's connections are governed in that direction. Nobody's are observed. */
static enum wl_mode
party_mode(const struct policy *p, const struct party *party, enum wl_direction dir)
{
	const struct policy_workload *w;

	for (size_t i = 0; party->workload != NULL && i < p->n_workloads; i++) {
		w = &p->workloads[i];
		if (strcmp(w->name, party->workload) == 0)
			return w->direction == WL_BOTH || w->direction == dir ? w->mode
									      : MODE_OBSERVE;
	}
	return MODE_OBSERVE;
}

/* An edge for a protocol says nothing of packets that carry its number in the wrong family. */
static bool
proto_is_of_family(uint8_t proto, uint8_t family)
{
	switch (proto) {
	case IPPROTO_ICMP:
		return family == 4;
	case IPPROTO_ICMPV6:
		return family == 6;
	default:
		return true;
	}
}

static bool
approval_has_expired(const struct policy_edge *e, uint64_t now_ns)
{
	return e->expires_ns != 0 && e->expires_ns <= now_ns;
}

/* Is it what `who` was told the name has? What is in use here, or on this link, no name leads to.
 */
static bool
party_is_named(const struct inventory *inv, const struct party *who, const struct party *party,
    const struct peer *peer)
{
	const bool below = peer->kind == PEER_FQDN && peer->name[0] == '*';
	const struct inventory_name *n;
	size_t i, len, tail;

	if (peer->kind != PEER_FQDN || who->workload == NULL || party->is_identified ||
	    !addr_is_routed(party->addr))
		return false;
	tail = strlen(peer->name) - below;
	for (i = 0; i < inv->n_names; i++) {
		n = &inv->names[i];
		len = strlen(n->name);
		if (strcmp(n->workload, who->workload) == 0 && addr_eq(&n->addr, party->addr) &&
		    (below ? len > tail : len == tail) &&
		    strcmp(n->name + len - tail, peer->name + below) == 0)
			return true;
	}
	return false;
}

/* The first edge of that state that speaks of this connection, or NULL. */
static const struct policy_edge *
edge_find(const struct policy *p, const struct inventory *inv, enum edge_state state,
    const struct tuple *t, const struct party *src, const struct party *dst, uint64_t now_ns)
{
	const struct policy_edge *e;

	if (!proto_is_of_family(t->proto, t->dst.family))
		return NULL;
	for (size_t i = 0; i < p->n_edges; i++) {
		e = &p->edges[i];
		if (e->state != state || e->proto != t->proto)
			continue;
		if (t->dport < e->port_lo || t->dport > e->port_hi)
			continue;
		if (state == EDGE_APPROVED && approval_has_expired(e, now_ns))
			continue;
		if (party_is_peer(p, src, &e->from) &&
		    (party_is_peer(p, dst, &e->to) || party_is_named(inv, src, dst, &e->to)))
			return e;
	}
	return NULL;
}

void
policy_evaluate(const struct policy *p, const struct inventory *inv, const struct tuple *t,
    const char *src_workload, const char *dst_workload, uint64_t now_ns, struct evaluation *ret)
{
	struct party src = party_identify(inv, &t->src, src_workload);
	struct party dst = party_identify(inv, &t->dst, dst_workload);
	enum wl_mode src_mode = party_mode(p, &src, WL_EGRESS);
	enum wl_mode dst_mode = party_mode(p, &dst, WL_INGRESS);
	struct evaluation ev = { 0 };

	ev.edge = edge_find(p, inv, EDGE_DENIED, t, &src, &dst, now_ns);
	ev.verdict = VERDICT_DENY_EDGE;
	if (ev.edge == NULL) {
		ev.edge = edge_find(p, inv, EDGE_APPROVED, t, &src, &dst, now_ns);
		ev.verdict = ev.edge != NULL ? VERDICT_ALLOW : VERDICT_DENY_ABSENT;
	}
	ev.source_enforces = src_mode == MODE_ENFORCE;
	ev.destination_enforces = dst_mode == MODE_ENFORCE;
	ev.source_audits = src_mode == MODE_AUDIT;
	ev.destination_audits = dst_mode == MODE_AUDIT;
	ev.passes =
	    ev.verdict == VERDICT_ALLOW || (!ev.source_enforces && !ev.destination_enforces);
	*ret = ev;
}
