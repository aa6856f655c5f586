/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Elements without overlap. The kernel's interval sets refuse elements that overlap, and a policy
 * gives them all the time: a prefix inside another, a port inside a range, "internet" and a public
 * prefix.
 *
 * Elements of one group (direction, verdict, protocol, family) are rectangles of addresses and
 * ports. They are visited in the order of their first address, the longer one first. A rectangle
 * keeps the ports that nobody holds at that address; where another one holds them it gives way, and
 * what it covers beyond that one's last address is visited again from there. So a rectangle inside
 * another vanishes, and only what truly crosses is cut. The ports of a group are compressed to the
 * slots between the bounds that occur in it; holder[] says for each slot who took it last.
 */
#include "rules/range.h"
#include "rules/ruleset.h"
#include "rules/util.h"

#include <errno.h>
#include <string.h>

/* What may be visited again, before the work counts as exceeding its bounds. */
#define MAX_REVISITS (2 * RULESET_MAX_ELEMENTS)
/* Slots looked at: under a second, and far beyond any policy that was not made for it. */
#define MAX_SLOTS 100000000u

struct elem_vec {
	struct ruleset_elem *e;
	size_t n, size;
};

struct sweep {
	struct elem_vec heap; /* still to visit, a binary min-heap in the order of visit_cmp() */
	struct elem_vec out;
	uint32_t *bounds;	 /* slot i holds the ports bounds[i] .. bounds[i + 1] - 1 */
	struct addr *held_until; /* by slot: the last address of its holder; family 0: free */
	size_t n_bounds;
	size_t revisits, slots;
};

static void
sweep_done(struct sweep *s)
{
	free(s->heap.e);
	free(s->out.e);
	free(s->bounds);
	free(s->held_until);
}

static int
vec_push(struct elem_vec *v, const struct ruleset_elem *e)
{
	struct ruleset_elem *grown;
	size_t size;

	if (v->n == v->size) {
		size = v->size * 2 + 64;
		grown = realloc(v->e, size * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		v->e = grown;
		v->size = size;
	}
	v->e[v->n++] = *e;
	return 0;
}

static int
visit_cmp(const struct ruleset_elem *a, const struct ruleset_elem *b)
{
	int c = addr_cmp(&a->lo, &b->lo);

	if (c == 0)
		c = addr_cmp(&b->hi, &a->hi);
	return c != 0 ? c : ruleset_elem_cmp(a, b);
}

static int
heap_push(struct elem_vec *h, const struct ruleset_elem *e)
{
	struct ruleset_elem moved;
	size_t i, up;
	int rc;

	rc = vec_push(h, e);
	if (rc < 0)
		return rc;
	for (i = h->n - 1; i > 0; i = up) {
		up = (i - 1) / 2;
		if (visit_cmp(&h->e[up], &h->e[i]) <= 0)
			break;
		moved = h->e[up];
		h->e[up] = h->e[i];
		h->e[i] = moved;
	}
	return 0;
}

static struct ruleset_elem
heap_pop(struct elem_vec *h)
{
	struct ruleset_elem first = h->e[0], last = h->e[--h->n];
	size_t i = 0, down;

	while ((down = 2 * i + 1) < h->n) {
		if (down + 1 < h->n && visit_cmp(&h->e[down + 1], &h->e[down]) < 0)
			down++;
		if (visit_cmp(&last, &h->e[down]) <= 0)
			break;
		h->e[i] = h->e[down];
		i = down;
	}
	h->e[i] = last;
	return first;
}

static int
bound_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int
sweep_set_bounds(struct sweep *s, const struct ruleset_elem *group, size_t n)
{
	size_t i, kept;

	free(s->bounds);
	free(s->held_until);
	s->held_until = NULL;
	s->bounds = calloc(2 * n, sizeof(*s->bounds));
	if (s->bounds == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		s->bounds[2 * i] = group[i].port_lo;
		s->bounds[2 * i + 1] = (uint32_t)group[i].port_hi + 1;
	}
	qsort(s->bounds, 2 * n, sizeof(*s->bounds), bound_cmp);
	for (i = kept = 1; i < 2 * n; i++)
		if (s->bounds[i] != s->bounds[kept - 1])
			s->bounds[kept++] = s->bounds[i];
	s->n_bounds = kept;
	s->held_until = calloc(kept, sizeof(*s->held_until));
	return s->held_until == NULL ? -ENOMEM : 0;
}

static size_t
sweep_slot(const struct sweep *s, uint32_t port)
{
	const uint32_t *b = bsearch(&port, s->bounds, s->n_bounds, sizeof(*b), bound_cmp);

	return (size_t)(b - s->bounds);
}

/* The holder's last address if the slot is taken at address a, else NULL. */
static const struct addr *
sweep_holder(const struct sweep *s, size_t slot, const struct addr *a)
{
	const struct addr *until = &s->held_until[slot];

	return until->family != 0 && addr_cmp(until, a) >= 0 ? until : NULL;
}

static bool
same_holder(const struct addr *a, const struct addr *b)
{
	return a == NULL || b == NULL ? a == b : addr_eq(a, b);
}

/* The slots first..end-1 of e, all free or all held until the same address. */
static int
sweep_run(struct sweep *s, const struct ruleset_elem *e, size_t first, size_t end)
{
	const struct addr *until = sweep_holder(s, first, &e->lo);
	struct ruleset_elem piece = *e;
	size_t i;

	piece.port_lo = (uint16_t)s->bounds[first];
	piece.port_hi = (uint16_t)(s->bounds[end] - 1);
	if (until == NULL) {
		for (i = first; i < end; i++)
			s->held_until[i] = e->hi;
		return s->out.n >= RULESET_MAX_ELEMENTS ? -E2BIG : vec_push(&s->out, &piece);
	}
	if (addr_cmp(until, &e->hi) >= 0)
		return 0;
	if (s->revisits++ >= MAX_REVISITS)
		return -E2BIG;
	piece.lo = addr_next(until);
	return heap_push(&s->heap, &piece);
}

static int
sweep_visit(struct sweep *s, const struct ruleset_elem *e)
{
	size_t first = sweep_slot(s, e->port_lo), end = sweep_slot(s, (uint32_t)e->port_hi + 1);
	const struct addr *until;
	size_t next;
	int rc;

	s->slots += end - first;
	if (s->slots > MAX_SLOTS)
		return -E2BIG;
	for (; first < end; first = next) {
		until = sweep_holder(s, first, &e->lo);
		for (next = first + 1; next < end; next++)
			if (!same_holder(until, sweep_holder(s, next, &e->lo)))
				break;
		rc = sweep_run(s, e, first, next);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool
same_group(const struct ruleset_elem *a, const struct ruleset_elem *b)
{
	return a->dir == b->dir && a->allow == b->allow && a->proto == b->proto &&
	       a->lo.family == b->lo.family;
}

static int
sweep_group(struct sweep *s, const struct ruleset_elem *group, size_t n)
{
	struct ruleset_elem e;
	size_t i;
	int rc;

	rc = sweep_set_bounds(s, group, n);
	for (i = 0; rc == 0 && i < n; i++)
		rc = heap_push(&s->heap, &group[i]);
	while (rc == 0 && s->heap.n > 0) {
		e = heap_pop(&s->heap);
		rc = sweep_visit(s, &e);
	}
	return rc;
}

int
ruleset_disjoin(struct ruleset *r)
{
	_cleanup_(sweep_done) struct sweep s = { 0 };
	_cleanup_free_ struct ruleset_elem *wide = NULL;
	size_t i, end, n_wide = 0;
	int rc = 0;

	ruleset_normalise(r);
	wide = calloc(r->n_elems + 1, sizeof(*wide));
	if (wide == NULL)
		return -ENOMEM;
	for (i = 0; rc == 0 && i < r->n_elems; i++) {
		if (ruleset_elem_is_exact(&r->elems[i]))
			rc = vec_push(&s.out, &r->elems[i]);
		else
			wide[n_wide++] = r->elems[i];
	}
	for (i = 0; rc == 0 && i < n_wide; i = end) {
		for (end = i + 1; end < n_wide && same_group(&wide[i], &wide[end]); end++)
			;
		rc = sweep_group(&s, &wide[i], end - i);
	}
	if (rc < 0)
		return rc;
	free(r->elems);
	r->elems = steal_ptr(s.out.e);
	r->n_elems = s.out.n;
	ruleset_normalise(r);
	return 0;
}
