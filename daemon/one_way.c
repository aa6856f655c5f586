/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See daemon/one_way.h. The rules of an observed namespace report datagrams for as long as nothing
 * has answered them, at most 20 a second; those that found no answer for some seconds come here.
 *
 * Invariants: fixed memory. Only the sender's own namespace can say that it sends, or, of a sender
 * elsewhere, the one that it sends to: a forged source takes no room. Only these two can say that
 * it is refused. What was seen once makes room before what was seen again, so a scan does not push
 * out what it has not found. Who sends to very many places makes no edge at all, nor does anybody
 * more than a few.
 */
#include "daemon/one_way.h"

#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/resolve.h"
#include "rules/offline.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define SETS 512
#define WAYS 8
/* Sights of one moment are one: a burst is of no standing. */
#define APART_NS NSEC_PER_SEC

struct sender {
	struct tuple ends; /* without the sender's port; protocol 0: the place is free */
	uint64_t first_ns, last_ns, refused_ns;
	uint32_t sights;
	bool learned; /* an edge has it */
};

struct one_way {
	uint64_t seed;
	struct sender senders[SETS][WAYS];
};

int
one_way_new(uint64_t seed, struct one_way **ret)
{
	struct one_way *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->seed = seed;
	*ret = w;
	return 0;
}

void
one_way_free(struct one_way *w)
{
	free(w);
}

static struct tuple
ends_of(const struct tuple *t)
{
	struct tuple ends = *t;

	ends.sport = 0;
	return ends;
}

static bool
makes_room_before(const struct sender *a, const struct sender *b)
{
	if (a->learned != b->learned)
		return b->learned;
	if ((a->sights > 1) != (b->sights > 1))
		return b->sights > 1;
	return a->last_ns < b->last_ns;
}

/* Its place, or, with *ret_known false, the one that it may have. */
static struct sender *
find_place(struct one_way *w, const struct tuple *ends, bool *ret_known)
{
	struct sender *set = w->senders[tuple_hash(ends, w->seed) % SETS], *place = set;

	for (size_t k = 0; k < WAYS; k++) {
		if (tuple_eq(&set[k].ends, ends)) {
			*ret_known = true;
			return &set[k];
		}
		if (makes_room_before(&set[k], place))
			place = &set[k];
	}
	*ret_known = false;
	return place;
}

static bool
scans(const struct one_way *w, const struct addr *src, uint64_t now_ns)
{
	unsigned places = 0;

	for (size_t i = 0; i < SETS * WAYS; i++) {
		const struct sender *s = &w->senders[i / WAYS][i % WAYS];

		places += s->ends.proto != 0 && addr_eq(&s->ends.src, src) &&
			  s->last_ns + ONE_WAY_SILENCE_NS >= now_ns;
	}
	return places > ONE_WAY_PLACES_MAX;
}

static bool
is_of_long_standing(const struct sender *s)
{
	return s->sights >= OFFLINE_ONE_WAY_FRAMES &&
	       s->last_ns - s->first_ns >= OFFLINE_ONE_WAY_NS;
}

static void
count_sight(struct sender *s, uint64_t time_ns)
{
	if (s->sights == 0 || time_ns > s->last_ns + ONE_WAY_SILENCE_NS) {
		s->first_ns = s->last_ns = time_ns;
		s->sights = 1;
	} else if (time_ns >= s->last_ns + APART_NS) {
		s->last_ns = time_ns;
		s->sights++;
	}
}

bool
one_way_seen(struct controller *c, const struct flow_event *ev, uint64_t other,
    const struct instance *src, const struct instance *dst)
{
	const struct instance *local = src != NULL && !src->is_host ? src : dst;
	struct flow_event standing = *ev;
	const struct tuple ends = ends_of(&ev->tuple);
	struct sender *s;
	bool known;

	if (ev->tuple.proto != IPPROTO_UDP || local == NULL || local->is_host)
		return false;
	s = find_place(c->one_way, &ends, &known);
	if (ev->netns != local->ns.cookie && other != local->ns.cookie)
		return known && s->learned;
	if (!known)
		*s = (struct sender){ .ends = ends };
	/* The clock was set back. */
	if (s->last_ns > ev->time_ns + OFFLINE_ONE_WAY_NS ||
	    s->refused_ns > ev->time_ns + OFFLINE_ONE_WAY_NS)
		*s = (struct sender){ .ends = ends };
	if (s->refused_ns != 0 && ev->time_ns < s->refused_ns + ONE_WAY_REFUSED_NS)
		return false;
	count_sight(s, ev->time_ns);
	if (!is_of_long_standing(s))
		return s->learned;
	standing.netns = local->ns.cookie;
	standing.kind = FLOW_ANSWERED;
	standing.flags = FLOW_F_ONE_WAY;
	standing.count = 1;
	s->learned = (s->learned || !scans(c->one_way, &ends.src, ev->time_ns)) &&
		     learn_one_way(c, &standing);
	/* What goes on is told of again: there is no end to it that anybody could see. */
	s->sights = 0;
	return s->learned;
}

/* Root in any other namespace could say of anybody that he is refused. */
static bool
is_told_by_an_end(struct controller *c, const struct flow_event *ev)
{
	const struct instance *teller = instance_find(c, ev->netns);
	bool ambiguous;

	return teller != NULL &&
	       (addr_map_find(c->addr_map, &ev->tuple.src, &ambiguous) == teller ||
		   addr_map_find(c->addr_map, &ev->tuple.dst, &ambiguous) == teller);
}

void
one_way_refused(struct controller *c, const struct flow_event *ev)
{
	const struct tuple ends = ends_of(&ev->tuple);
	struct sender *s;
	bool known;

	if (ev->tuple.proto != IPPROTO_UDP || !is_told_by_an_end(c, ev))
		return;
	s = find_place(c->one_way, &ends, &known);
	/* The error comes before what it is about has waited long enough. */
	if (!known)
		*s = (struct sender){ .ends = ends, .last_ns = ev->time_ns };
	s->refused_ns = ev->time_ns;
	s->sights = 0;
	s->learned = false;
}
