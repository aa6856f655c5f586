/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compile: from what a policy says to the elements of one workload's namespaces.
 *
 * An edge concerns a direction of the workload if the workload is its near end there: the `to` of
 * what comes in, the `from` of what goes out. The near end is the workload by name, or a set of
 * addresses (prefix, network, address, host) that holds the workload's own. An element names only
 * the far address, not which of the workload's addresses is used; so where such a set holds only
 * some of the workload's addresses of a family, an approval gives nothing and a denial counts for
 * all of them: never more is open than the policy says.
 */
#include "rules/compile.h"
#include "rules/names.h"
#include "rules/range.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define REPORTS_PER_SECOND 50

/* Sets of families. */
#define FAM_4 0x1u
#define FAM_6 0x2u
#define FAM_BOTH (FAM_4 | FAM_6)

/* For which families a set of addresses holds all, or any, of the workload's own addresses. */
struct near {
	bool known;
	unsigned all, any;
};

struct builder {
	const struct policy *policy;
	const struct inventory *inv;
	const char *workload;
	const struct inventory_entry *own; /* NULL: no addresses yet */
	struct near *networks;		   /* by index in the policy, filled when first needed */
	struct addr_range *internet;	   /* filled when first needed */
	size_t n_internet;
	bool internet_known;
	struct ruleset *r;
	size_t size; /* allocated elements */
};

static void
builder_done(struct builder *b)
{
	free(b->networks);
	free(b->internet);
	ruleset_free(b->r);
}

static unsigned
family_bit(const struct addr *a)
{
	return a->family == 4 ? FAM_4 : a->family == 6 ? FAM_6 : 0;
}

static unsigned
proto_families(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return FAM_BOTH;
	case IPPROTO_ICMP:
		return FAM_4;
	case IPPROTO_ICMPV6:
		return FAM_6;
	default:
		return 0;
	}
}

static int
entry_cmp(const void *name, const void *entry)
{
	return strcmp(name, ((const struct inventory_entry *)entry)->workload);
}

const struct inventory_entry *
inventory_find(const struct inventory *inv, const char *workload)
{
	if (inv->n_entries == 0)
		return NULL;
	return bsearch(workload, inv->entries, inv->n_entries, sizeof(inv->entries[0]), entry_cmp);
}

int
inventory_name_cmp(const struct inventory_name *a, const struct inventory_name *b)
{
	int c = strcmp(a->workload, b->workload);

	if (c == 0)
		c = strcmp(a->name, b->name);
	return c != 0 ? c : addr_cmp(&a->addr, &b->addr);
}

static int
addr_cmp_void(const void *a, const void *b)
{
	return addr_cmp(a, b);
}

/* Every global address that the inventory has, sorted; what "internet" leaves out. */
static int
builder_collect_known(const struct builder *b, struct addr **ret, size_t *ret_n)
{
	const struct inventory_entry *entry;
	size_t i, j, total, n = 0;
	struct addr *known;

	total = b->inv->n_host + b->inv->n_nobodys;
	for (i = 0; i < b->inv->n_entries; i++)
		total += b->inv->entries[i].n_addrs;
	known = calloc(total + 1, sizeof(*known));
	if (known == NULL)
		return -ENOMEM;
	for (i = 0; i < b->inv->n_host; i++)
		if (addr_scope(&b->inv->host[i]) == SCOPE_INTERNET)
			known[n++] = b->inv->host[i];
	for (i = 0; i < b->inv->n_nobodys; i++)
		if (addr_scope(&b->inv->nobodys[i]) == SCOPE_INTERNET)
			known[n++] = b->inv->nobodys[i];
	for (i = 0; i < b->inv->n_entries; i++) {
		entry = &b->inv->entries[i];
		for (j = 0; j < entry->n_addrs; j++)
			if (addr_scope(&entry->addrs[j]) == SCOPE_INTERNET)
				known[n++] = entry->addrs[j];
	}
	qsort(known, n, sizeof(*known), addr_cmp_void);
	*ret = known;
	*ret_n = n;
	return 0;
}

static int
builder_know_internet(struct builder *b)
{
	_cleanup_free_ struct addr *known = NULL;
	_cleanup_free_ struct addr_range *r4 = NULL, *r6 = NULL;
	const struct addr_range *base;
	size_t n_known, n_base, n4, n6, split = 0;
	int rc;

	if (b->internet_known)
		return 0;
	rc = builder_collect_known(b, &known, &n_known);
	if (rc < 0)
		return rc;
	while (split < n_known && known[split].family == 4)
		split++;
	base = addr_internet_ranges(4, &n_base);
	rc = range_subtract(base, n_base, known, split, &r4, &n4);
	if (rc < 0)
		return rc;
	base = addr_internet_ranges(6, &n_base);
	rc = range_subtract(base, n_base, known + split, n_known - split, &r6, &n6);
	if (rc < 0)
		return rc;
	b->internet = calloc(n4 + n6 + 1, sizeof(*b->internet));
	if (b->internet == NULL)
		return -ENOMEM;
	if (n4 > 0)
		memcpy(b->internet, r4, n4 * sizeof(*r4));
	if (n6 > 0)
		memcpy(b->internet + n4, r6, n6 * sizeof(*r6));
	b->n_internet = n4 + n6;
	b->internet_known = true;
	return 0;
}

static bool
prefixes_contain(const struct prefix *p, size_t n, const struct addr *a)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (prefix_contains(&p[i], a))
			return true;
	return false;
}

static bool
host_contains(const struct inventory *inv, const struct addr *a)
{
	return addrs_contain(inv->host, inv->n_host, a);
}

/* The own addresses against prefixes, or against the host's addresses if prefixes is NULL. */
static struct near
near_of(const struct builder *b, const struct prefix *prefixes, size_t n)
{
	struct near near = { .known = true };
	unsigned bit, missed = 0;
	const struct addr *a;
	bool in;
	size_t i;

	for (i = 0; b->own != NULL && i < b->own->n_addrs; i++) {
		a = &b->own->addrs[i];
		bit = family_bit(a);
		in = prefixes != NULL ? prefixes_contain(prefixes, n, a) : host_contains(b->inv, a);
		if (in)
			near.any |= bit;
		else
			missed |= bit;
	}
	if (b->own != NULL && b->own->contested) {
		near.any = FAM_BOTH;
		missed = FAM_BOTH;
	}
	near.all = near.any & ~missed;
	return near;
}

static struct near
near_network(struct builder *b, const char *name)
{
	const struct policy_network *network = policy_find_network(b->policy, name);
	struct near *cached;

	if (network == NULL || network->n_prefixes == 0)
		return (struct near){ 0 };
	cached = &b->networks[network - b->policy->networks];
	if (!cached->known)
		*cached = near_of(b, network->prefixes, network->n_prefixes);
	return *cached;
}

/* The families in which the workload itself is this peer, for an edge of this state. */
static unsigned
near_families(struct builder *b, const struct peer *peer, enum edge_state state)
{
	struct near near = { 0 };

	switch (peer->kind) {
	case PEER_WORKLOAD:
		return strcmp(peer->name, b->workload) == 0 ? FAM_BOTH : 0;
	case PEER_CIDR:
	case PEER_ADDR:
		near = near_of(b, &peer->prefix, 1);
		break;
	case PEER_NETWORK:
		near = near_network(b, peer->name);
		break;
	case PEER_HOST:
		near = near_of(b, NULL, 0);
		break;
	case PEER_INTERNET: /* never holds an address of the inventory */
	case PEER_MULTICAST:
	case PEER_FQDN:
	case PEER_NONE:
		break;
	}
	return state == EDGE_DENIED ? near.any : near.all;
}

struct emission {
	const struct policy_edge *edge;
	uint64_t number;
	enum flow_dir dir;
	unsigned families;
};

static int
emit_range(
    struct builder *b, const struct emission *em, const struct addr *lo, const struct addr *hi)
{
	struct ruleset_elem *e;
	size_t size;

	if ((em->families & family_bit(lo)) == 0)
		return 0;
	if (b->r->n_elems >= RULESET_MAX_ELEMENTS)
		return -E2BIG;
	if (b->r->n_elems == b->size) {
		size = b->size * 2 + 64;
		e = realloc(b->r->elems, size * sizeof(*e));
		if (e == NULL)
			return -ENOMEM;
		b->r->elems = e;
		b->size = size;
	}
	e = &b->r->elems[b->r->n_elems++];
	memset(e, 0, sizeof(*e));
	e->lo = *lo;
	e->hi = *hi;
	e->edge = em->number;
	e->port_lo = em->edge->port_lo;
	e->port_hi = em->edge->port_hi;
	e->proto = em->edge->proto;
	e->dir = (uint8_t)em->dir;
	e->allow = em->edge->state == EDGE_APPROVED;
	return 0;
}

static int
emit_addrs(struct builder *b, const struct emission *em, const struct addr *addrs, size_t n)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < n; i++)
		rc = emit_range(b, em, &addrs[i], &addrs[i]);
	return rc;
}

static int
emit_prefixes(struct builder *b, const struct emission *em, const struct prefix *p, size_t n)
{
	struct addr_range range;
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < n; i++) {
		range = prefix_range(&p[i]);
		rc = emit_range(b, em, &range.lo, &range.hi);
	}
	return rc;
}

static int
emit_internet(struct builder *b, const struct emission *em)
{
	size_t i;
	int rc;

	rc = builder_know_internet(b);
	for (i = 0; rc == 0 && i < b->n_internet; i++)
		rc = emit_range(b, em, &b->internet[i].lo, &b->internet[i].hi);
	return rc;
}

static int
emit_multicast(struct builder *b, const struct emission *em)
{
	static const struct prefix multicast[] = {
		{ .addr = { .family = 4, .bytes = { 224 } }, .len = 4 },
		{ .addr = { .family = 4, .bytes = { 255, 255, 255, 255 } }, .len = 32 },
		{ .addr = { .family = 6, .bytes = { 0xff } }, .len = 8 },
	};

	return emit_prefixes(b, em, multicast, ARRAY_SIZE(multicast));
}

static bool
is_in_inventory(const struct inventory *inv, const struct addr *a)
{
	if (addrs_contain(inv->nobodys, inv->n_nobodys, a))
		return true;
	for (size_t i = 0; i < inv->n_entries; i++)
		if (addrs_contain(inv->entries[i].addrs, inv->entries[i].n_addrs, a))
			return true;
	return host_contains(inv, a);
}

static int
emit_name(struct builder *b, const struct emission *em, const char *pattern)
{
	const struct inventory_name *n;
	size_t i, lo = 0, hi = b->inv->n_names;
	int rc = 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(b->inv->names[mid].workload, b->workload) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (i = lo; rc == 0 && i < b->inv->n_names; i++) {
		n = &b->inv->names[i];
		if (strcmp(n->workload, b->workload) != 0)
			break;
		if (name_covers(pattern, n->name) && addr_is_routed(&n->addr) &&
		    !is_in_inventory(b->inv, &n->addr))
			rc = emit_range(b, em, &n->addr, &n->addr);
	}
	return rc;
}

static int
emit_peer(struct builder *b, const struct emission *em, const struct peer *far)
{
	const struct policy_network *network;
	const struct inventory_entry *entry;

	switch (far->kind) {
	case PEER_WORKLOAD:
		entry = inventory_find(b->inv, far->name);
		return entry == NULL ? 0 : emit_addrs(b, em, entry->addrs, entry->n_addrs);
	case PEER_HOST:
		return emit_addrs(b, em, b->inv->host, b->inv->n_host);
	case PEER_CIDR:
	case PEER_ADDR:
		return emit_prefixes(b, em, &far->prefix, 1);
	case PEER_NETWORK:
		network = policy_find_network(b->policy, far->name);
		return network == NULL
			   ? 0
			   : emit_prefixes(b, em, network->prefixes, network->n_prefixes);
	case PEER_INTERNET:
		return emit_internet(b, em);
	case PEER_MULTICAST:
		return emit_multicast(b, em);
	case PEER_FQDN:
		return em->dir == DIR_EGRESS ? emit_name(b, em, far->name) : 0;
	case PEER_NONE:
		break;
	}
	return 0;
}

static int
emit_edge(struct builder *b, const struct policy_edge *edge, enum flow_dir dir)
{
	const struct peer *near = dir == DIR_INGRESS ? &edge->to : &edge->from;
	const struct peer *far = dir == DIR_INGRESS ? &edge->from : &edge->to;
	struct emission em = { .edge = edge, .dir = dir };

	em.families = near_families(b, near, edge->state) & proto_families(edge->proto);
	if (em.families == 0)
		return 0;
	em.number =
	    edge_key_number(&edge->from, &edge->to, edge->proto, edge->port_lo, edge->port_hi);
	return emit_peer(b, &em, far);
}

/* Decided, and not an approval that has run out. */
static bool
edge_is_in_force(const struct policy_edge *e, uint64_t now_ns)
{
	if (e->state == EDGE_DENIED)
		return true;
	return e->state == EDGE_APPROVED && (e->expires_ns == 0 || e->expires_ns > now_ns);
}

static int
builder_copy_local(struct builder *b)
{
	const struct inventory_entry *entry;
	size_t i, total = 0;

	for (i = 0; i < b->inv->n_entries; i++) {
		if (b->inv->entries[i].n_addrs > RULESET_MAX_LOCAL - total)
			return -E2BIG;
		total += b->inv->entries[i].n_addrs;
	}
	if (total == 0)
		return 0;
	b->r->local = calloc(total, sizeof(*b->r->local));
	if (b->r->local == NULL)
		return -ENOMEM;
	for (i = 0; i < b->inv->n_entries; i++) {
		entry = &b->inv->entries[i];
		if (entry->n_addrs == 0)
			continue;
		memcpy(b->r->local + b->r->n_local, entry->addrs,
		    entry->n_addrs * sizeof(*entry->addrs));
		b->r->n_local += entry->n_addrs;
	}
	return 0;
}

static int
builder_run(struct builder *b, uint64_t now_ns)
{
	struct policy_walk walk = policy_walk_edges(b->policy, b->workload);
	const struct policy_edge *e;
	int rc;

	rc = builder_copy_local(b);
	while (rc == 0 && (e = policy_walk_next(&walk)) != NULL) {
		if (!edge_is_in_force(e, now_ns))
			continue;
		if (b->r->in_mode != MODE_OBSERVE)
			rc = emit_edge(b, e, DIR_INGRESS);
		if (rc == 0 && b->r->out_mode != MODE_OBSERVE)
			rc = emit_edge(b, e, DIR_EGRESS);
	}
	return rc < 0 ? rc : ruleset_disjoin(b->r);
}

int
ruleset_compile(const struct policy *p, const struct inventory *inv, const char *workload,
    uint64_t now_ns, struct ruleset **ret)
{
	_cleanup_(builder_done) struct builder b = { 0 };
	const struct policy_workload *w = policy_find_workload(p, workload);
	int rc;

	b.policy = p;
	b.inv = inv;
	b.workload = workload;
	b.own = inventory_find(inv, workload);
	b.networks = calloc(p->n_networks + 1, sizeof(*b.networks));
	b.r = calloc(1, sizeof(*b.r));
	if (b.networks == NULL || b.r == NULL)
		return -ENOMEM;
	b.r->report_per_second = REPORTS_PER_SECOND;
	if (w != NULL) {
		b.r->in_mode = mode_in(w->mode, w->direction, DIR_INGRESS);
		b.r->out_mode = mode_in(w->mode, w->direction, DIR_EGRESS);
	}
	if (b.r->in_mode != MODE_OBSERVE || b.r->out_mode != MODE_OBSERVE) {
		rc = builder_run(&b, now_ns);
		if (rc < 0)
			return rc;
	}
	*ret = steal_ptr(b.r);
	return 0;
}

bool
compile_unsupported(const struct policy *p, const char *workload, const struct policy_edge **ret)
{
	struct policy_walk walk = policy_walk_edges(p, workload);
	const struct policy_edge *e;

	while ((e = policy_walk_next(&walk)) != NULL) {
		if (e->state != EDGE_APPROVED && e->state != EDGE_DENIED)
			continue;
		if (!(e->from.kind == PEER_WORKLOAD && strcmp(e->from.name, workload) == 0) &&
		    !(e->to.kind == PEER_WORKLOAD && strcmp(e->to.name, workload) == 0))
			continue;
		if (e->from.kind == PEER_FQDN || proto_families(e->proto) == 0) {
			*ret = e;
			return true;
		}
	}
	return false;
}
