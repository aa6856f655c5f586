/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rules/edge_groups.h. */
#include "rules/edge_groups.h"

#include <errno.h>
#include <string.h>

#define SIZE_MIN 64

enum mark { MARK_PORTS = 1, MARK_SOURCES, MARK_DESTINATIONS };

static int
edge_list_add(struct edge_list *l, struct edge *e)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap != 0 ? l->cap * 2 : 1;
		struct edge **edges = reallocarray(l->edges, cap, sizeof(*edges));

		if (edges == NULL)
			return -ENOMEM;
		l->edges = edges;
		l->cap = cap;
	}
	l->edges[l->n++] = e;
	return 0;
}

static void
edge_list_remove(struct edge_list *l, const struct edge *e)
{
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->edges[i] == e) {
			l->edges[i] = l->edges[--l->n];
			break;
		}
	}
	if (l->n == 0) {
		free(l->edges);
		*l = (struct edge_list){ 0 };
	}
}

static void
group_free(struct group *group)
{
	for (uint32_t i = 0; i < group->n_members; i++)
		free(group->members[i].edges.edges);
	free(group->members);
	free(group->edges.edges);
	free(group);
}

int
groups_init(struct groups *g, const struct peer_table *peers, uint64_t seed)
{
	*g = (struct groups){ .peers = peers, .size = SIZE_MIN, .seed = seed };
	g->slots = calloc(SIZE_MIN, sizeof(*g->slots));
	return g->slots != NULL ? 0 : -ENOMEM;
}

void
groups_done(struct groups *g)
{
	for (size_t i = 0; i < g->size; i++)
		if (g->slots[i] != NULL)
			group_free(g->slots[i]);
	free(g->slots);
}

static bool
is_addr(const struct peer *p)
{
	return p->kind == PEER_ADDR || p->kind == PEER_CIDR;
}

static bool
ports_key(const struct edge_key *key, struct edge_key *ret)
{
	if (!proto_has_port(key->proto) || key->port_lo < EDGE_PORT_DYNAMIC)
		return false;
	*ret = (struct edge_key){ .from = key->from, .to = key->to, .proto = key->proto };
	ret->zero[0] = MARK_PORTS;
	return true;
}

static bool
addrs_key(const struct peer_table *peers, const struct edge_key *key, struct edge_key *ret,
    peer_id *ret_id)
{
	bool sources = is_addr(peer_get(peers, key->from));
	peer_id id = sources ? key->from : key->to;

	if (!is_addr(peer_get(peers, id)))
		return false;
	*ret = (struct edge_key){ .proto = key->proto };
	ret->zero[0] = sources ? MARK_SOURCES : MARK_DESTINATIONS;
	ret->zero[1] = peer_get(peers, id)->prefix.addr.family;
	if (sources)
		ret->to = key->to;
	else
		ret->from = key->from;
	*ret_id = id;
	return true;
}

bool
group_of_sources(const struct group *group)
{
	return group->key.zero[0] == MARK_SOURCES;
}

static struct group **
slot_of(struct group **slots, size_t size, uint64_t seed, const struct edge_key *key)
{
	size_t i = edge_key_hash(key, seed) & (size - 1);

	while (slots[i] != NULL && memcmp(&slots[i]->key, key, sizeof(*key)) != 0)
		i = (i + 1) & (size - 1);
	return &slots[i];
}

static bool
is_empty(const struct group *group)
{
	return group->edges.n == 0 && group->n_members == 0;
}

static int
rebuild(struct groups *g)
{
	size_t size = SIZE_MIN, wanted = 1, used = 0;
	struct group **slots;

	for (size_t i = 0; i < g->size; i++)
		wanted += g->slots[i] != NULL && !is_empty(g->slots[i]);
	while (size < wanted * 2)
		size *= 2;
	slots = calloc(size, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < g->size; i++) {
		struct group *group = g->slots[i];

		if (group == NULL)
			continue;
		if (is_empty(group)) {
			group_free(group);
			continue;
		}
		*slot_of(slots, size, g->seed, &group->key) = group;
		used++;
	}
	free(g->slots);
	g->slots = slots;
	g->size = size;
	g->used = used;
	return 0;
}

static int
group_make(struct groups *g, const struct edge_key *key, struct group **ret)
{
	struct group **slot = slot_of(g->slots, g->size, g->seed, key);
	int r;

	if (*slot == NULL) {
		if ((g->used + 1) * 4 > g->size * 3) {
			r = rebuild(g);
			if (r < 0)
				return r;
			slot = slot_of(g->slots, g->size, g->seed, key);
		}
		*slot = calloc(1, sizeof(**slot));
		if (*slot == NULL)
			return -ENOMEM;
		(*slot)->key = *key;
		g->used++;
	}
	*ret = *slot;
	return 0;
}

struct group *
groups_ports(const struct groups *g, const struct edge_key *key)
{
	struct edge_key of;

	return ports_key(key, &of) ? *slot_of(g->slots, g->size, g->seed, &of) : NULL;
}

struct group *
groups_addrs(const struct groups *g, const struct edge_key *key)
{
	struct edge_key of;
	peer_id id;

	return addrs_key(g->peers, key, &of, &id) ? *slot_of(g->slots, g->size, g->seed, &of)
						  : NULL;
}

static int
member_add(struct groups *g, struct group *group, peer_id id, struct edge *e)
{
	struct addr_member m = { .peer = id, .prefix = peer_get(g->peers, id)->prefix };
	int r;

	for (uint32_t i = 0; i < group->n_members; i++)
		if (group->members[i].peer == id)
			return edge_list_add(&group->members[i].edges, e);
	if (group->n_members == group->cap_members) {
		uint32_t cap = group->cap_members != 0 ? group->cap_members * 2 : 1;
		struct addr_member *members = reallocarray(group->members, cap, sizeof(*members));

		if (members == NULL)
			return -ENOMEM;
		group->members = members;
		group->cap_members = cap;
	}
	r = edge_list_add(&m.edges, e);
	if (r == 0)
		group->members[group->n_members++] = m;
	return r;
}

static void
member_remove(struct group *group, peer_id id, const struct edge *e)
{
	for (uint32_t i = 0; i < group->n_members; i++) {
		if (group->members[i].peer != id)
			continue;
		edge_list_remove(&group->members[i].edges, e);
		if (group->members[i].edges.n == 0)
			group->members[i] = group->members[--group->n_members];
		return;
	}
}

int
groups_add(struct groups *g, struct edge *e)
{
	struct edge_key of;
	struct group *group;
	peer_id id;
	int r = 0;

	if (ports_key(&e->key, &of)) {
		r = group_make(g, &of, &group);
		if (r == 0)
			r = edge_list_add(&group->edges, e);
	}
	if (r == 0 && addrs_key(g->peers, &e->key, &of, &id)) {
		r = group_make(g, &of, &group);
		if (r == 0)
			r = member_add(g, group, id, e);
	}
	if (r < 0)
		groups_remove(g, e);
	return r;
}

void
groups_remove(struct groups *g, struct edge *e)
{
	struct group *group = groups_ports(g, &e->key);
	struct edge_key of;
	peer_id id;

	if (group != NULL)
		edge_list_remove(&group->edges, e);
	if (!addrs_key(g->peers, &e->key, &of, &id))
		return;
	group = *slot_of(g->slots, g->size, g->seed, &of);
	if (group != NULL)
		member_remove(group, id, e);
}
