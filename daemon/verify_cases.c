/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See verify.h. The instances, edges and ports of a run are those of its start. Refused pairs are
 * the points of a space (source, destination, port, family), walked from anywhere by a stride that
 * has no divisor with its size: each at most once, without a list of them. It is close to the
 * golden ratio of the size, so that the first points of any number lie everywhere in it.
 */
#include "daemon/controller.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/probing.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/verify.h"
#include "rules/compile.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>

#define PORTS_MAX 64
#define OTHER_PORTS 8  /* that nobody was seen to use */
#define TRIES_MAX 40   /* for each probe wanted */
#define PAIRS_MAX 1024 /* looked at for an edge, so that a search does not take long */

struct verify_cases {
	uint64_t *edges, *cookies;
	size_t n_edges, at_edge, n_cookies;
	bool second, found; /* its second family is next; its first had a pair */
	struct {
		uint8_t proto;
		uint16_t port;
	} ports[PORTS_MAX];
	size_t n_ports;
	uint64_t size, at, stride, tries; /* of the space */
	uint64_t random;
	uint32_t left_allowed, left_refused;
	uint32_t outside, away, protocol; /* edges without a probe */
};

void
verify_cases_free(struct verify_cases *v)
{
	if (v == NULL)
		return;
	free(v->edges);
	free(v->cookies);
	free(v);
}

static void
verify_cases_freep(struct verify_cases **v)
{
	verify_cases_free(*v);
}

static uint64_t
divisor(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static void
add_port(struct verify_cases *v, const struct edge *e)
{
	for (size_t i = 0; i < v->n_ports; i++)
		if (v->ports[i].proto == e->key.proto && v->ports[i].port == e->key.port_lo)
			return;
	if (v->n_ports < PORTS_MAX &&
	    (e->key.proto == IPPROTO_TCP || e->key.proto == IPPROTO_UDP) && e->key.port_lo != 0) {
		v->ports[v->n_ports].proto = e->key.proto;
		v->ports[v->n_ports++].port = e->key.port_lo;
	}
}

int
verify_cases_new(struct controller *c, uint32_t max, struct verify_cases **ret)
{
	_cleanup_(verify_cases_freep) struct verify_cases *v = calloc(1, sizeof(*v));
	const struct edge *e;
	size_t pos = 0;

	if (v == NULL)
		return -ENOMEM;
	v->edges = calloc(edge_table_count(c->edges) + 1, sizeof(*v->edges));
	v->cookies = calloc(c->n_instances + 1, sizeof(*v->cookies));
	if (v->edges == NULL || v->cookies == NULL ||
	    getrandom(&v->random, sizeof(v->random), 0) != (ssize_t)sizeof(v->random))
		return -ENOMEM;
	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		if (!segment_edge_selected(c, e))
			continue;
		add_port(v, e);
		if (e->state == EDGE_APPROVED)
			v->edges[v->n_edges++] = edge_id_number(e);
	}
	for (const struct instance *i = c->instances; i != NULL; i = i->next)
		if (v->n_cookies <= c->n_instances && i->attach == ATTACH_DONE)
			v->cookies[v->n_cookies++] = i->ns.cookie;
	v->size = (uint64_t)v->n_cookies * v->n_cookies * (v->n_ports + OTHER_PORTS) * 2;
	v->at = v->size > 0 ? v->random % v->size : 0;
	v->stride = v->size / 1000 * 618 + v->size % 1000 * 618 / 1000 + 1;
	while (v->size > 0 && divisor(v->size, v->stride) != 1)
		v->stride++;
	v->left_allowed = v->left_refused = max;
	v->tries = MIN(v->size, (uint64_t)max * TRIES_MAX);
	*ret = steal_ptr(v);
	return 0;
}

/* Who is not governed has no rules of its own to wait for. */
static bool
is_stable(const struct instance *i)
{
	if (i == NULL || i->attach != ATTACH_DONE || quarantine_of(i) != NULL)
		return false;
	if (i->is_host)
		return true;
	return i->workload != NULL && !instance_is_refused(i) &&
	       (i->workload->mode == MODE_OBSERVE || probing_is_settled(i));
}

static const char *
name_of(const struct instance *i)
{
	return i->is_host ? NULL : i->workload->name;
}

bool
verify_evaluate(struct controller *c, const struct inventory *inv, struct verify_case *k)
{
	const struct instance *from = instance_find(c, k->from), *to = instance_find(c, k->to);
	struct evaluation e;

	if (!is_stable(from) || !is_stable(to) || !instance_has_addr(from, &k->t.src) ||
	    !instance_has_addr(to, &k->t.dst))
		return false;
	policy_evaluate(c->policy, inv, &k->t, name_of(from), name_of(to), now_real(), &e);
	k->allowed = e.passes;
	k->at_source = !e.passes && e.source_enforces;
	return true;
}

/* Approved edges */

static bool
is_of(const struct controller *c, const struct instance *i, peer_id peer)
{
	const struct workload *w = i->is_host ? NULL : instance_counts_as(i);

	return i->is_host ? peer == c->peer_host : w != NULL && w->peer == peer;
}

static const struct instance *
first_of(struct controller *c, peer_id id)
{
	const struct peer *p = peer_get(c->peers, id);
	const struct workload *w;
	const struct instance *i = c->instances;

	if (id != c->peer_host) {
		w = p != NULL && p->kind == PEER_WORKLOAD ? workload_find(c, p->name) : NULL;
		return w != NULL ? w->instances : NULL;
	}
	while (i != NULL && !i->is_host)
		i = i->next;
	return i;
}

/* A pair of its instances that can talk over that family, among the first PAIRS_MAX. */
static bool
find_pair(struct controller *c, const struct edge *e, uint8_t family, struct verify_case *ret)
{
	const struct instance *first = first_of(c, e->key.to);
	unsigned n = 0;

	for (const struct instance *from = first_of(c, e->key.from); from != NULL;
	     from = from->next_of_workload) {
		if (n++ == PAIRS_MAX)
			return false;
		if (!is_of(c, from, e->key.from) || !is_stable(from))
			continue;
		for (const struct instance *to = first; to != NULL; to = to->next_of_workload) {
			if (n++ == PAIRS_MAX)
				return false;
			if (to == from || !is_of(c, to, e->key.to) || !is_stable(to) ||
			    !probing_may_be_target(to) ||
			    !probing_addrs(from, to, family, &ret->t.src, &ret->t.dst))
				continue;
			ret->from = from->ns.cookie;
			ret->to = to->ns.cookie;
			return true;
		}
	}
	return false;
}

static bool
is_inside(const struct controller *c, peer_id id)
{
	const struct peer *p = peer_get(c->peers, id);

	return p != NULL && (p->kind == PEER_WORKLOAD || p->kind == PEER_HOST);
}

/* Has it ends here and a protocol to probe? */
static bool
can_be_probed(struct controller *c, struct verify_cases *v, const struct edge *e)
{
	if (e == NULL || e->state != EDGE_APPROVED)
		return false;
	if (!is_inside(c, e->key.from) || !is_inside(c, e->key.to))
		v->outside++;
	else if (e->key.proto != IPPROTO_TCP && e->key.proto != IPPROTO_UDP)
		v->protocol++;
	else
		return true;
	return false;
}

/* One edge, by IPv4 the first time and IPv6 the next. */
static int
next_allowed(struct controller *c, struct verify_cases *v, const struct inventory *inv,
    struct verify_case *ret)
{
	const struct edge *e = edge_table_find_number(c->edges, v->edges[v->at_edge]);
	struct verify_case k = { .edge = v->edges[v->at_edge], .t.sport = PROBE_PORT_MIN };
	bool second = v->second, found;

	if (!second && !can_be_probed(c, v, e)) {
		v->at_edge++;
		return 0;
	}
	found = e != NULL && find_pair(c, e, second ? 6 : 4, &k);
	v->found = found || (second && v->found);
	v->away += second && !v->found;
	v->at_edge += second;
	v->second = !second;
	if (!found)
		return 0;
	k.t.proto = e->key.proto;
	k.t.dport = MAX(e->key.port_lo, (uint16_t)1);
	if (!verify_evaluate(c, inv, &k))
		return 0;
	v->left_allowed--;
	*ret = k;
	return 1;
}

/* Refused pairs */

static void
set_port(struct verify_cases *v, uint64_t which, struct tuple *t)
{
	if (which < v->n_ports) {
		t->proto = v->ports[which].proto;
		t->dport = v->ports[which].port;
		return;
	}
	v->random = hash_mix64(v->random + 1);
	t->proto = which % 2 == 0 ? IPPROTO_TCP : IPPROTO_UDP;
	t->dport = (uint16_t)(1 + v->random % 65535);
}

static int
next_refused(struct controller *c, struct verify_cases *v, const struct inventory *inv,
    struct verify_case *ret)
{
	uint64_t at = v->at, n_ports = v->n_ports + OTHER_PORTS;
	struct verify_case k = { .t.sport = PROBE_PORT_MIN };
	const struct instance *from, *to;
	uint8_t family;

	v->at = (v->at + v->stride) % v->size;
	v->tries--;
	family = at % 2 == 0 ? 4 : 6;
	at /= 2;
	set_port(v, at % n_ports, &k.t);
	at /= n_ports;
	k.from = v->cookies[at % v->n_cookies];
	k.to = v->cookies[at / v->n_cookies];
	from = instance_find(c, k.from);
	to = instance_find(c, k.to);
	if (from == NULL || to == NULL || from == to || !probing_may_be_target(to) ||
	    !probing_addrs(from, to, family, &k.t.src, &k.t.dst) || !verify_evaluate(c, inv, &k) ||
	    k.allowed)
		return 0;
	v->left_refused--;
	*ret = k;
	return 1;
}

int
verify_next(struct controller *c, struct verify_cases *v, const struct inventory *inv,
    struct verify_case *ret)
{
	if (v->at_edge < v->n_edges && v->left_allowed > 0)
		return next_allowed(c, v, inv, ret);
	if (v->tries > 0 && v->left_refused > 0)
		return next_refused(c, v, inv, ret);
	return -ENOENT;
}

json_t *
verify_skipped(const struct verify_cases *v)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "outside", (json_int_t)v->outside, "away",
	    (json_int_t)v->away, "protocol", (json_int_t)v->protocol, "beyondMax",
	    (json_int_t)(v->n_edges - MIN(v->at_edge, v->n_edges)));
}
