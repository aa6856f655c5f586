/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table of edges with some peers. Allocations are counted, and can be made to fail. */
#ifndef NANOSEG_TESTS_EDGE_FIXTURE_H
#define NANOSEG_TESTS_EDGE_FIXTURE_H

#include "rules/edge.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define SEED 0x1234567890abcdefULL

static size_t allocations;
static _unused_ size_t fail_at = SIZE_MAX; /* the allocation that fails, counted from 0 */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);

#define ALLOCATE(call) (allocations++ == fail_at ? NULL : (call))

void *
__wrap_malloc(size_t size)
{
	return ALLOCATE(__real_malloc(size));
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return ALLOCATE(__real_calloc(n, size));
}

void *
__wrap_realloc(void *p, size_t size)
{
	return ALLOCATE(__real_realloc(p, size));
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return ALLOCATE(__real_reallocarray(p, n, size));
}

char *
__wrap_strdup(const char *s)
{
	return ALLOCATE(__real_strdup(s));
}

struct fixture {
	struct peer_table *peers;
	struct edge_table *t;
	peer_id web, api, db, host, internet, cidr;
	size_t searched; /* calls of covers() */
};

static _unused_ peer_id
intern(struct fixture *f, const char *text)
{
	char name[PEER_STRLEN];
	struct peer p;
	peer_id id;

	assert_int_equal(peer_parse(text, name, &p), 0);
	assert_int_equal(peer_intern(f->peers, &p, &id), 0);
	return id;
}

static _unused_ bool
side_covers(const struct fixture *f, peer_id decided, peer_id observed, const struct addr *a)
{
	const struct peer *p = peer_get(f->peers, decided);

	if (decided == observed)
		return true;
	return p->kind == PEER_CIDR && prefix_contains(&p->prefix, a);
}

static _unused_ bool
covers(
    void *arg, const struct edge *decided, const struct edge_key *observed, const struct tuple *t)
{
	struct fixture *f = arg;

	f->searched++;
	assert_int_equal(decided->key.proto, observed->proto);
	assert_in_range(observed->port_lo, decided->key.port_lo, decided->key.port_hi);
	return side_covers(f, decided->key.from, observed->from, &t->src) &&
	       side_covers(f, decided->key.to, observed->to, &t->dst);
}

static _unused_ void
fixture_init(struct fixture *f, size_t max_edges)
{
	*f = (struct fixture){ 0 };
	assert_int_equal(peer_table_new(1000000, &f->peers), 0);
	assert_int_equal(edge_table_new(f->peers, max_edges, SEED, covers, f, &f->t), 0);
	f->web = intern(f, "shop/web");
	f->api = intern(f, "shop/api");
	f->db = intern(f, "shop/db");
	f->host = intern(f, "host");
	f->internet = intern(f, "internet");
	f->cidr = intern(f, "cidr:192.0.2.0/24");
}

static _unused_ void
fixture_done(struct fixture *f)
{
	edge_table_free(f->t);
	peer_table_free(f->peers);
}

static _unused_ struct edge_key
key_of(peer_id from, peer_id to, uint16_t lo, uint16_t hi)
{
	return (struct edge_key){
		.from = from, .to = to, .port_lo = lo, .port_hi = hi, .proto = IPPROTO_TCP
	};
}

static _unused_ struct edge_observation
observation(peer_id from, peer_id to, uint16_t port)
{
	struct edge_observation o = {
		.key = key_of(from, to, port, port),
		.end = EDGE_END_SOURCE,
		.instance = 1,
		.time_ns = NSEC_PER_SEC,
		.count = 1,
	};

	addr_parse("10.0.0.1", &o.tuple.src);
	addr_parse("10.0.0.2", &o.tuple.dst);
	o.tuple.dport = port;
	o.tuple.proto = IPPROTO_TCP;
	return o;
}

static _unused_ struct edge *
observe(struct fixture *f, const struct edge_observation *o, int want)
{
	struct edge *e = NULL;

	assert_int_equal(edge_table_observe(f->t, o, &e), want);
	return e;
}

static _unused_ struct edge *
decide(struct fixture *f, peer_id from, peer_id to, uint16_t lo, uint16_t hi, enum edge_state state)
{
	struct edge_key key = key_of(from, to, lo, hi);
	struct edge *e;

	assert_int_equal(edge_table_add(f->t, &key, &e), 0);
	assert_int_equal(edge_decide(f->t, e, state, NULL), 0);
	return e;
}

/* Neither memory nor a search: the promise for a known key. */
static _unused_ void
assert_known(struct fixture *f, const struct edge_observation *o, const struct edge *e)
{
	size_t allocated = allocations, searched = f->searched;

	assert_ptr_equal(observe(f, o, 0), e);
	assert_int_equal(allocations, allocated);
	assert_int_equal(f->searched, searched);
}

#endif
