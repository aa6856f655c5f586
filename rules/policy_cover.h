/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which decided edges of a policy cover an edge, of the same or of another policy: they speak of
 * every connection that it speaks of, at least as long. By the words of the policies alone.
 */
#ifndef NANOSEG_RULES_POLICY_COVER_H
#define NANOSEG_RULES_POLICY_COVER_H

#include "rules/policy.h"

enum edge_cover_how {
	EDGE_COVER_STRICT,
	/* Internet covers public prefixes and names, and "*.example.com" names below it. */
	EDGE_COVER_LOOSE,
};

struct edge_cover;

/* Over the n edges of list, which is borrowed like the policy. 0 or -ENOMEM. */
int edge_cover_new(const struct policy *p, const struct policy_edge *const *list, size_t n,
    struct edge_cover **ret);
/* The same in parts, for very many; nothing is to be found before fill() returns false. */
int edge_cover_begin(const struct policy *p, const struct policy_edge *const *list, size_t n,
    struct edge_cover **ret);
bool edge_cover_fill(struct edge_cover *c, size_t max);
void edge_cover_free(struct edge_cover *c);

/* Each edge of c, of its state, that covers edge i of `of`; a false return of fn ends it. */
typedef bool (*edge_cover_fn)(void *arg, size_t index);
void edge_cover_find(struct edge_cover *c, const struct edge_cover *of, size_t i,
    enum edge_cover_how how, edge_cover_fn fn, void *arg);
/* Edges of that state in c cover, together, all ports of edge i of `of`. Strict. */
bool edge_cover_all(
    struct edge_cover *c, const struct edge_cover *of, size_t i, enum edge_state state);
/* Edge k of c covers edge i of `of`. Strict; states are not compared. */
bool edge_cover_one(const struct edge_cover *c, size_t k, const struct edge_cover *of, size_t i);
/* Looking on would have taken too long at some time: not all was found. */
bool edge_cover_gave_up(const struct edge_cover *c);

/* Every one of q is in one of p. */
bool prefixes_cover_prefixes(
    const struct prefix *p, size_t n_p, const struct prefix *q, size_t n_q);

#endif
