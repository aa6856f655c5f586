/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Generalisation, for rules/edge.c alone: many learned edges that are alike become one that stands
 * for them, before they are too many to review. What it does is a function of the set of what was
 * seen, so the order of events does not matter:
 *
 * Ports. Of the dynamic ports between two ends, at most EDGE_PORTS_EXACT are edges of their own.
 * Of more, the smallest power of two is taken of which at most FOLD_BLOCKS aligned blocks have been
 * seen; runs of adjacent blocks with at least FOLD_SEEN ports become a range, others stay.
 *
 * Addresses. The same with the addresses that one end has as counterparts, in blocks of the lengths
 * of prefix_step(), and without runs. Ports are summed up for what addresses have become.
 *
 * Both only ever coarsen, and whole blocks have at least as many blocks of any smaller size as what
 * was seen in them: so the size is known from the edges themselves, and a restart changes nothing.
 *
 * Only pending edges that were observed take part. What a person decided, took back or wrote is
 * served first and never changes its shape.
 */
#ifndef NANOSEG_RULES_EDGE_FOLD_H
#define NANOSEG_RULES_EDGE_FOLD_H

#include "rules/edge.h"

#define FOLD_BLOCKS 8
#define FOLD_SEEN 4

struct edge_fold;

int edge_fold_new(struct edge_table *t, struct peer_table *peers, uint64_t seed, edge_folded_fn fn,
    void *arg, struct edge_fold **ret);
void edge_fold_free(struct edge_fold *f);

/* The edge that stands for the key, or NULL; then *key is what the new one has to be. */
struct edge *edge_fold_serving(struct edge_fold *f, struct edge_key *key);
/* Of an edge that is new, after its first evidence: the one that has it now. */
struct edge *edge_fold_added(struct edge_fold *f, struct edge *e);
/* Its state changes, or it goes. */
void edge_fold_forget(struct edge_fold *f, struct edge *e);
/* Takes it up, if it may take part. */
void edge_fold_take(struct edge_fold *f, struct edge *e);
/* What an observation adds to the extent. */
void edge_fold_seen(struct edge_fold *f, struct edge *e, const struct edge_observation *o);

/* edge.c: the edge of a key that has none, also where the table is full. */
int edge_table_make(struct edge_table *t, const struct edge_key *key, struct edge **ret);

#endif
