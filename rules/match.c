/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See match.h. Exact elements are found by bisection in the ruleset itself; the others, few as a
 * rule, are set aside and walked.
 */
#include "rules/match.h"

#include "rules/util.h"

#include <errno.h>
#include <stdlib.h>

struct match {
	const struct ruleset *ruleset;
	size_t n_wide;
	struct ruleset_elem wide[];
};

int
match_new(const struct ruleset *r, struct match **ret)
{
	struct match *m;
	size_t n = 0;

	for (size_t i = 0; i < r->n_elems; i++)
		n += !ruleset_elem_is_exact(&r->elems[i]);
	m = calloc(1, sizeof(*m) + n * sizeof(m->wide[0]));
	if (m == NULL)
		return -ENOMEM;
	m->ruleset = r;
	for (size_t i = 0; i < r->n_elems; i++)
		if (!ruleset_elem_is_exact(&r->elems[i]))
			m->wide[m->n_wide++] = r->elems[i];
	*ret = m;
	return 0;
}

void
match_free(struct match *m)
{
	free(m);
}

/* Before, at or after the key; whose edge an element came from does not count. */
static int
cmp_exact(const struct ruleset_elem *key, const struct ruleset_elem *e)
{
	struct ruleset_elem k = *key;

	k.edge = e->edge;
	return ruleset_elem_cmp(&k, e);
}

static const struct ruleset_elem *
find_exact(const struct ruleset *r, const struct ruleset_elem *key)
{
	size_t lo = 0, hi = r->n_elems;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = cmp_exact(key, &r->elems[mid]);

		if (c == 0)
			return &r->elems[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

static const struct ruleset_elem *
find_wide(const struct match *m, const struct ruleset_elem *key)
{
	for (size_t i = 0; i < m->n_wide; i++) {
		const struct ruleset_elem *e = &m->wide[i];

		if (e->dir == key->dir && e->allow == key->allow && e->proto == key->proto &&
		    e->lo.family == key->lo.family && addr_cmp(&e->lo, &key->lo) <= 0 &&
		    addr_cmp(&key->lo, &e->hi) <= 0 && e->port_lo <= key->port_lo &&
		    key->port_lo <= e->port_hi)
			return e;
	}
	return NULL;
}

static const struct ruleset_elem *
find(const struct match *m, const struct ruleset_elem *key)
{
	const struct ruleset_elem *e = find_exact(m->ruleset, key);

	return e != NULL ? e : find_wide(m, key);
}

static struct ruleset_elem
key_of(enum flow_dir dir, const struct addr *other, uint8_t proto, uint16_t port)
{
	return (struct ruleset_elem){
		.lo = *other,
		.hi = *other,
		.port_lo = port,
		.port_hi = port,
		.proto = proto,
		.dir = (uint8_t)dir,
	};
}

bool
match_refuses(const struct match *m, enum flow_dir dir, const struct addr *other, uint8_t proto,
    uint16_t port)
{
	const struct ruleset *r = m->ruleset;
	struct ruleset_elem key = key_of(dir, other, proto, port);

	if ((dir == DIR_EGRESS ? r->out_mode : r->in_mode) != MODE_ENFORCE)
		return false;
	if (find(m, &key) != NULL)
		return true;
	key.allow = 1;
	return find(m, &key) == NULL;
}

uint64_t
match_edge(const struct match *m, enum flow_dir dir, const struct addr *other, uint8_t proto,
    uint16_t port)
{
	struct ruleset_elem key = key_of(dir, other, proto, port);
	const struct ruleset_elem *e;

	key.allow = 1;
	e = find(m, &key);
	return e != NULL ? e->edge : 0;
}
