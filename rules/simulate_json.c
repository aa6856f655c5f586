/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a simulation has found, as the contract has it. */
#include "rules/simulate_internal.h"

#include "rules/json.h"

#include <errno.h>
#include <string.h>

#define SHOWN_ADDRS 5

/* As it is shown: what no edge would name by itself is put together. */
static struct peer
shown(const struct peer *p)
{
	if (p->kind == PEER_ADDR && addr_scope(&p->prefix.addr) == SCOPE_INTERNET)
		return (struct peer){ .kind = PEER_INTERNET };
	if (p->kind == PEER_ADDR && addr_scope(&p->prefix.addr) == SCOPE_MULTICAST)
		return (struct peer){ .kind = PEER_MULTICAST };
	return *p;
}

/* Flows that are shown as one. */
struct group {
	peer_id from, to; /* of `shown` */
	uint8_t proto;
	uint16_t port;
	const struct sim_flow *flow;
};

static int
key_compare(const void *va, const void *vb)
{
	const struct group *a = va, *b = vb;

	if (a->from != b->from)
		return a->from < b->from ? -1 : 1;
	if (a->to != b->to)
		return a->to < b->to ? -1 : 1;
	if (a->proto != b->proto)
		return (int)a->proto - (int)b->proto;
	return (int)a->port - (int)b->port;
}

struct broken {
	const struct group *first;
	size_t n;
	uint64_t connections, last_seen_ns;
	uint32_t hours;
	uint8_t what;
};

static int
broken_compare(const void *va, const void *vb)
{
	const struct broken *a = va, *b = vb;

	if (a->connections != b->connections)
		return a->connections > b->connections ? -1 : 1;
	return a->first < b->first ? -1 : a->first > b->first;
}

static void
add_addr(const struct simulation *s, json_t *list, peer_id id)
{
	const struct peer *p = peer_get(s->peers, id);
	char text[ADDR_STRLEN];

	if (p->kind == PEER_ADDR && addr_scope(&p->prefix.addr) != SCOPE_LOCAL &&
	    json_array_size(list) < SHOWN_ADDRS)
		json_array_append_new(list, json_string(addr_format(&p->prefix.addr, text)));
}

static json_t *
broken_to_json(const struct simulation *s, const struct broken *b)
{
	json_t *o = json_object(), *by = json_array(), *addrs = json_array();
	char text[PEER_STRLEN];

	json_object_set_new(
	    o, "from", json_text(peer_format(peer_get(s->peers, b->first->from), text)));
	json_object_set_new(
	    o, "to", json_text(peer_format(peer_get(s->peers, b->first->to), text)));
	json_set_port(o, b->first->proto, b->first->port, b->first->port);
	json_object_set_new(o, "connections", json_integer((json_int_t)b->connections));
	json_object_set_new(o, "lastSeen", json_time(b->last_seen_ns));
	json_object_set_new(
	    o, "hours", b->hours != 0 ? json_integer((json_int_t)b->hours) : json_null());
	if ((b->what & SIM_REFUSED_SOURCE) != 0)
		json_array_append_new(by, json_string("source"));
	if ((b->what & SIM_REFUSED_DESTINATION) != 0)
		json_array_append_new(by, json_string("destination"));
	json_object_set_new(o, "refusedBy", by);
	for (size_t i = 0; i < b->n; i++) {
		if ((b->first[i].flow->what & SIM_REFUSED) == 0)
			continue;
		add_addr(s, addrs, b->first[i].flow->from);
		add_addr(s, addrs, b->first[i].flow->to);
	}
	json_object_set_new(o, "addresses", addrs);
	return o;
}

/* Of the flows of a group, what is broken. */
static struct broken
sum_up(const struct group *g, size_t n)
{
	struct broken b = { .first = g, .n = n };

	for (size_t i = 0; i < n; i++) {
		const struct sim_flow *f = g[i].flow;

		b.what |= f->what;
		if ((f->what & SIM_REFUSED) == 0)
			continue;
		b.connections += f->connections;
		b.last_seen_ns = MAX(b.last_seen_ns, f->last_seen_ns);
		b.hours = MAX(b.hours, f->hours);
	}
	return b;
}

/* Groups of flows, sorted; or NULL. */
static struct group *
make_groups(struct simulation *s)
{
	struct group *list = calloc(s->n_flows + 1, sizeof(*list));

	for (size_t i = 0; list != NULL && i < s->n_flows; i++) {
		const struct sim_flow *f = &s->flows[i];
		struct peer from = shown(peer_get(s->peers, f->from)),
			    to = shown(peer_get(s->peers, f->to));

		list[i] = (struct group){ .proto = f->proto, .port = f->port, .flow = f };
		if (peer_intern(s->peers, &from, &list[i].from) < 0 ||
		    peer_intern(s->peers, &to, &list[i].to) < 0) {
			free(list);
			return NULL;
		}
	}
	if (list != NULL)
		qsort(list, s->n_flows, sizeof(*list), key_compare);
	return list;
}

static json_t *
unused_to_json(struct simulation *s)
{
	json_t *list = json_array();
	char id[EDGE_ID_STRLEN];

	for (size_t i = 0; i < s->policy->n_edges; i++) {
		if (s->used[i] || s->policy->edges[i].state != EDGE_APPROVED)
			continue;
		edge_id_format(s->numbers[i], id);
		json_array_append_new(list, json_string(id));
	}
	return list;
}

json_t *
simulate_to_json(struct simulation *s)
{
	_cleanup_free_ struct group *groups = make_groups(s);
	_cleanup_free_ struct broken *broken = calloc(s->n_flows + 1, sizeof(*broken));
	json_int_t covered = 0, ungoverned = 0, connections = 0, cut = 0;
	size_t n = 0, len;
	json_t *list, *unused;

	if (groups == NULL || broken == NULL)
		return NULL;
	for (size_t i = 0; i < s->n_flows; i += len) {
		struct broken b;

		for (len = 1;
		     i + len < s->n_flows && key_compare(&groups[i], &groups[i + len]) == 0;)
			len++;
		b = sum_up(&groups[i], len);
		if ((b.what & SIM_REFUSED) != 0)
			broken[n++] = b;
		else if ((b.what & SIM_GOVERNED) != 0)
			covered++;
		else
			ungoverned++;
	}
	for (size_t i = 0; i < s->n_flows; i++)
		if ((s->flows[i].what & SIM_REFUSED) != 0)
			cut += (json_int_t)s->flows[i].connections;
		else if ((s->flows[i].what & SIM_GOVERNED) != 0)
			connections += (json_int_t)s->flows[i].connections;
	qsort(broken, n, sizeof(*broken), broken_compare);
	list = json_array();
	for (size_t i = 0; i < MIN(n, (size_t)SIMULATE_MAX_LISTED); i++)
		json_array_append_new(list, broken_to_json(s, &broken[i]));
	unused = unused_to_json(s);
	return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s}", "broken", list,
	    "unused", unused, "covered", covered, "coveredConnections", connections,
	    "brokenConnections", cut, "brokenEdges", (json_int_t)n, "ungoverned", ungoverned,
	    "notLooked", (json_int_t)s->refused_flows, "unusedComplete",
	    !edge_cover_gave_up(s->cover), "modes", s->modes == SIMULATE_ALL ? "all" : "asWritten");
}
