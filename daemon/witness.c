/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See daemon/witness.h. */
#include "daemon/aggregate.h"
#include "daemon/alert.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/observe.h"
#include "daemon/promote.h"
#include "daemon/resolve.h"
#include "daemon/witness.h"

#include "daemon/controller.h"
#include "daemon/history.h"
#include "daemon/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define SETS 128
#define WAYS 8
/* An event is here within milliseconds; what the kernel counts, when it is read. */
#define HOLD_NS (5 * NSEC_PER_SEC)
#define HOLD_COUNTED_NS (15 * NSEC_PER_SEC)
/* A source that lost events, or was attached, so shortly before may have missed it. */
#define LOSSY_NS (60 * NSEC_PER_SEC)
#define ATTACH_NS (2 * NSEC_PER_SEC)

struct held {
	struct edge_observation o; /* count 0: the place is free */
	struct edge_key dialled;
	uint64_t src, dst; /* cookies */
	uint64_t since_ns; /* CLOCK_MONOTONIC */
};

struct witness {
	uint64_t seed;
	size_t n;
	struct held held[SETS][WAYS];
};

int
witness_new(uint64_t seed, struct witness **ret)
{
	struct witness *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->seed = seed;
	*ret = w;
	return 0;
}

void
witness_free(struct witness *w)
{
	free(w);
}

/* What the source knows it as. */
static struct edge_key
dialled_of(struct controller *c, const struct edge_observation *o)
{
	const struct tuple *other = learn_find_nat(c, &o->tuple);
	struct edge_key key = o->key;
	struct instance *i;

	if (other == NULL || !addr_eq(&other->src, &o->tuple.src))
		return key;
	key.port_lo = key.port_hi = other->dport;
	resolve_addr(c, &other->dst, RESOLVE_FINAL | RESOLVE_REFUSED, &key.to, &i);
	return key;
}

static struct held *
set_of(struct witness *w, const struct edge_key *dialled)
{
	return w->held[edge_key_hash(dialled, w->seed) % SETS];
}

static void
release(struct witness *w, struct held *h)
{
	h->o.count = 0;
	w->n--;
}

static void
credit(struct controller *c, struct held *h, uint32_t flags)
{
	struct edge_observation o = h->o;
	struct edge *edge;

	release(c->witness, h);
	o.flags |= flags;
	if (edge_table_observe(c->edges, &o, &edge) < 0)
		complete_on_loss(instance_find(c, h->dst), LOSS_EDGES);
	else
		history_note(c->history, edge, &o, c->peers);
}

static bool
has_heard_all(const struct instance *i, const struct held *h)
{
	return i != NULL && i->attach == ATTACH_DONE && i->attached_ns + ATTACH_NS <= h->since_ns &&
	       (i->lost_ns == 0 || i->lost_ns + LOSSY_NS <= h->since_ns);
}

/* Would the source have seen it, if it had sent it? */
static bool
would_know(struct controller *c, const struct held *h)
{
	const struct instance *src = instance_find(c, h->src), *dst = instance_find(c, h->dst);
	bool counted = proto_has_port(h->o.key.proto) && h->o.tuple.sport == 0;

	/* Of what the kernel counts, what the host translates is not known. */
	if (counted || memcmp(&h->dialled, &h->o.key, sizeof(h->dialled)) != 0)
		return false;
	if (!has_heard_all(src, h) || !has_heard_all(c->host, h))
		return false;
	return dst != NULL && h->o.time_ns >= src->renamed_ns + LATE_NS &&
	       !addr_map_was_anothers(c->addr_map, &h->o.tuple.dst, dst, h->o.time_ns);
}

static void
refuse(struct controller *c, struct held *h)
{
	struct instance *dst = instance_find(c, h->dst);
	char from[PEER_STRLEN];

	peer_format(peer_get(c->peers, h->o.key.from), from);
	c->spoofed += h->o.count;
	alert_raise_instance(dst, ALERT_SPOOFED, ALERT_WARNING,
	    "it answered %s port %u to %s, which has not asked: somebody else uses that address",
	    proto_name(h->o.key.proto), h->o.key.port_lo, from);
	release(c->witness, h);
}

/*
 * Is it of a connection the other way, met in its middle after its begin was forgotten? It comes
 * from the port of a service that the destination is known to use there, to one where nobody
 * listens.
 */
static bool
is_answer(struct controller *c, const struct edge_observation *o, struct instance *dst)
{
	struct tuple back = tuple_reverse(&o->tuple), t = o->tuple;
	struct edge_key key = { .from = o->key.to,
		.to = o->key.from,
		.proto = back.proto,
		.port_lo = back.dport,
		.port_hi = back.dport };

	if (back.proto != IPPROTO_TCP || back.dport == 0 ||
	    edge_table_serving(c->edges, &key, &back) == NULL)
		return false;
	return dst == NULL || !observe_orient(dst, &t) || t.dport != o->tuple.dport;
}

static void
judge(struct controller *c, struct held *h)
{
	if (is_answer(c, &h->o, instance_find(c, h->dst))) {
		c->unresolved += h->o.count;
		release(c->witness, h);
	} else if (would_know(c, h))
		refuse(c, h);
	else
		credit(c, h, EDGE_FLAG_ONE_END);
}

/* The place of the edge, or the one that it gets. */
static struct held *
find_place(struct controller *c, const struct edge_observation *o, const struct edge_key *dialled)
{
	struct held *set = set_of(c->witness, dialled), *place = NULL;

	for (size_t k = 0; k < WAYS; k++) {
		if (set[k].o.count == 0)
			place = &set[k];
		else if (memcmp(&set[k].o.key, &o->key, sizeof(o->key)) == 0)
			return &set[k];
	}
	return place;
}

static bool
has_said(struct controller *c, const struct edge_key *key, const struct tuple *t)
{
	const struct edge *e = edge_table_serving(c->edges, key, t);

	return e != NULL &&
	       (e->evidence.connections_source > 0 || (e->flags & EDGE_FLAG_ONE_END) != 0);
}

bool
witness_holds(struct controller *c, struct edge_observation *o, const struct instance *src,
    struct instance *dst, bool again)
{
	struct edge_key dialled;
	struct held *h;

	if (has_said(c, &o->key, &o->tuple))
		return false;
	if (src->attach != ATTACH_DONE) {
		if (is_answer(c, o, dst)) {
			c->unresolved += o->count;
			return true;
		}
		o->flags |= EDGE_FLAG_ONE_END;
		return false;
	}
	dialled = dialled_of(c, o);
	if (has_said(c, &dialled, &o->tuple))
		return false;
	h = find_place(c, o, &dialled);
	if (h == NULL) {
		c->waiting_lost += o->count;
		complete_on_loss(dst, LOSS_UNIDENTIFIED);
		return true;
	}
	if (h->o.count != 0) {
		h->o.count += again ? 0 : MIN(o->count, UINT32_MAX - h->o.count);
		return true;
	}
	*h = (struct held){ .o = *o,
		.dialled = dialled,
		.src = src->ns.cookie,
		.dst = dst->ns.cookie,
		.since_ns = now_mono() };
	c->witness->n++;
	return true;
}

void
witness_heard(struct controller *c, const struct edge_key *key)
{
	struct held *set;

	if (c->witness->n == 0)
		return;
	set = set_of(c->witness, key);
	for (size_t k = 0; k < WAYS; k++)
		if (set[k].o.count != 0 && memcmp(&set[k].dialled, key, sizeof(*key)) == 0)
			credit(c, &set[k], 0);
}

void
witness_tick(struct controller *c)
{
	struct witness *w = c->witness;
	uint64_t now = now_mono();

	for (size_t i = 0; w->n > 0 && i < SETS * WAYS; i++) {
		struct held *h = &w->held[i / WAYS][i % WAYS];
		const struct instance *src = instance_find(c, h->src);
		bool counted = src != NULL && aggregate_is_on(src);

		if (h->o.count != 0 && now - h->since_ns >= (counted ? HOLD_COUNTED_NS : HOLD_NS))
			judge(c, h);
	}
}
