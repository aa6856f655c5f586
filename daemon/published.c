/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports of the host that lead to workloads.
 *
 * A connection to such a port is one to the host: that is where its rule is decided. Who is behind
 * it is told besides. Conntrack tells it for what is translated (learn.c); what a proxy takes, only
 * the engine knows. A name given here is one that is certain: a port that several addresses of the
 * host publish for different workloads has several, and so does an edge whose port went from one
 * workload to another.
 */
#include "daemon/api.h"
#include "daemon/controller.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/published.h"
#include "daemon/roster.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define BEHIND_MAX 8
#define ADMITS_MAX 4

struct published {
	struct addr addr; /* family 0: any of the host's */
	uint8_t proto;
	uint16_t lo, hi;
	uint16_t to; /* of the container, for lo */
};

static bool
range_read(const json_t *o, struct published *ret)
{
	const char *address = json_string_value(json_object_get(o, "address"));
	const char *proto = json_string_value(json_object_get(o, "proto"));
	json_int_t lo = json_integer_value(json_object_get(o, "port"));
	json_int_t hi = json_integer_value(json_object_get(o, "last"));
	json_int_t to = json_integer_value(json_object_get(o, "to"));
	struct published p = { .lo = (uint16_t)lo, .hi = (uint16_t)hi, .to = (uint16_t)to };
	int number = proto != NULL ? proto_parse(proto) : -EINVAL;

	if (number < 0 || address == NULL || lo < 1 || hi < lo || hi > 65535 || to < 1 ||
	    to + (hi - lo) > 65535)
		return false;
	if (*address != '\0' && addr_parse(address, &p.addr) < 0)
		return false;
	p.proto = (uint8_t)number;
	*ret = p;
	return true;
}

int
published_read(struct container *k, const json_t *ports)
{
	size_t n = json_array_size(ports);

	if (n == 0)
		return 0;
	k->ports = calloc(n, sizeof(*k->ports));
	if (k->ports == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		k->n_ports += range_read(json_array_get(ports, i), &k->ports[k->n_ports]);
	return 0;
}

void
published_add(struct controller *c, struct container *k)
{
	if (k->n_ports == 0)
		return;
	k->next_publisher = c->publishers;
	c->publishers = k;
}

void
published_remove(struct controller *c, struct container *k)
{
	struct container **p = &c->publishers;

	while (*p != NULL && *p != k)
		p = &(*p)->next_publisher;
	if (*p == k)
		*p = k->next_publisher;
}

static peer_id
peer_of(const struct controller *c, const struct container *k)
{
	/* A namespace that several use is named after the one it was made for. */
	const struct container *owner = container_find((struct controller *)c, k->id);
	const struct workload *w =
	    owner != NULL ? workload_find((struct controller *)c, owner->identity.name) : NULL;

	return w != NULL && !workload_refuses(w, owner) ? w->peer : PEER_ID_NONE;
}

/*
 * Does anybody publish this port at that address, or (NULL) at every address? Who, if that is
 * certain: an instance that counts as nobody has the port all the same.
 */
static bool
find_at(
    const struct controller *c, const struct addr *a, uint8_t proto, uint16_t port, peer_id *ret)
{
	bool any = false;
	peer_id here;

	*ret = PEER_ID_NONE;
	for (const struct container *k = c->publishers; k != NULL; k = k->next_publisher)
		for (size_t i = 0; i < k->n_ports; i++) {
			const struct published *p = &k->ports[i];

			if (p->proto != proto || port < p->lo || port > p->hi ||
			    (a == NULL ? p->addr.family != 0 : !addr_eq(&p->addr, a)))
				continue;
			here = peer_of(c, k);
			if (any && here != *ret) {
				*ret = PEER_ID_NONE;
				return true;
			}
			*ret = here;
			any = true;
		}
	return any;
}

peer_id
published_find(const struct controller *c, const struct addr *a, uint8_t proto, uint16_t port)
{
	peer_id found;

	if (!find_at(c, a, proto, port, &found))
		(void)find_at(c, NULL, proto, port, &found);
	return found;
}

bool
published_takes(const struct controller *c, const struct addr *a, uint16_t port)
{
	for (const struct container *k = c->publishers; k != NULL; k = k->next_publisher)
		for (size_t i = 0; i < k->n_ports; i++)
			if (port >= k->ports[i].lo && port <= k->ports[i].hi &&
			    (k->ports[i].addr.family == 0 || addr_eq(&k->ports[i].addr, a)))
				return true;
	return false;
}

struct behind {
	peer_id list[BEHIND_MAX];
	size_t n;
};

static void
behind_add(struct behind *b, peer_id id)
{
	if (id == PEER_ID_NONE || b->n == BEHIND_MAX)
		return;
	for (size_t i = 0; i < b->n; i++)
		if (b->list[i] == id)
			return;
	b->list[b->n++] = id;
}

static void
behind_published(const struct controller *c, const struct edge_key *key, struct behind *b)
{
	for (const struct container *k = c->publishers; k != NULL; k = k->next_publisher)
		for (size_t i = 0; i < k->n_ports; i++) {
			const struct published *p = &k->ports[i];

			/* Nobody reaches the host's loopback from another namespace. */
			if (p->proto == key->proto && p->lo <= key->port_hi &&
			    p->hi >= key->port_lo &&
			    (p->addr.family == 0 || !addr_is_loopback(&p->addr)))
				behind_add(b, peer_of(c, k));
		}
}

void
published_set_behind(
    struct controller *c, json_t *o, const struct edge_key *key, const struct edge *edge)
{
	struct behind b = { .n = 0 };
	json_t *list;

	behind_add(&b, edge != NULL ? edge->behind : PEER_ID_NONE);
	if (key->to == c->peer_host)
		behind_published(c, key, &b);
	if (b.n == 1)
		json_object_set_new(o, "behind", json_peer(c->peers, b.list[0]));
	if (b.n < 2)
		return;
	list = json_array();
	for (size_t i = 0; i < b.n; i++)
		json_array_append_new(list, json_peer(c->peers, b.list[i]));
	json_object_set_new(o, "behindAnyOf", list);
}

json_t *
published_admits(struct controller *c, const char *workload, uint8_t proto, uint16_t port)
{
	const struct workload *w = workload_find(c, workload);
	char text[160] = "", addr[ADDR_STRLEN] = "";
	size_t shown = 0;
	int len = 0;

	for (const struct container *k = c->publishers; w != NULL && k != NULL;
	     k = k->next_publisher)
		for (size_t i = 0; i < k->n_ports && shown < ADMITS_MAX; i++) {
			const struct published *p = &k->ports[i];
			uint16_t last = (uint16_t)(p->to + (p->hi - p->lo));

			if (p->proto != proto || port < p->to || port > last ||
			    peer_of(c, k) != w->peer)
				continue;
			if (p->addr.family != 0)
				addr_format(&p->addr, addr);
			len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%u%s%s",
			    shown++ > 0 ? ", " : "", (unsigned)(p->lo + (port - p->to)),
			    p->addr.family != 0 ? " at " : "", p->addr.family != 0 ? addr : "");
		}
	if (shown == 0)
		return json_string("any process of the host, and whoever a proxy or an address "
				   "translation of the host lets through");
	return json_sprintf(
	    "whoever reaches port %s of the host, which is published for it, and any "
	    "process of the host",
	    text);
}
