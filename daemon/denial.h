/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refused and unanswered connections: denial.c. */
#ifndef NANOSEG_DAEMON_DENIAL_H
#define NANOSEG_DAEMON_DENIAL_H

#include "rules/edge.h"

struct attempt_table;
struct controller;
struct denial_table;

#define ATTEMPT_WAIT_NS (5 * NSEC_PER_SEC) /* for an answer: then it is one */

struct denial {
	char id[EDGE_ID_STRLEN]; /* "d-" and hex digits */
	uint8_t kind;		 /* FLOW_DENIED, FLOW_AUDITED or FLOW_ATTEMPT */
	uint8_t dir;
	struct edge_key key;
	uint64_t edge; /* the edge it would need */
	struct tuple last;
	uint64_t count, first_ns, last_ns;
	uint64_t seq;	  /* of the last change, for following */
	uint64_t sampled; /* of count, what is in the rates; not stored */
	bool steady;	  /* refused just before the change that awaits confirmation */
};
int denial_table_new(size_t max, uint64_t seed, struct denial_table **ret);
void denial_table_free(struct denial_table *t);
/* Valid until the next call. */
const struct denial *denial_record(
    struct controller *c, const struct flow_event *ev, const struct edge_key *key);
/* What was refused in the minutes before now is not the fault of the change made now. */
void denial_mark_steady(struct denial_table *t, uint64_t now_ns);
/* By its own id, or by that of the edge it would need. */
const struct denial *denial_find(const struct denial_table *t, const char *id);
struct stored_denial;
/* From the store. 0 also if there is no room for it. */
int denial_restore(struct controller *c, const struct stored_denial *s);
/* Is there anything to store; writes it inside a transaction; what was written is durable. */
bool denial_unsaved(const struct denial_table *t);
int denial_save(struct controller *c);
void denial_saved(struct denial_table *t);
/* In order of first sight; attempts are listed only if asked for. */
const struct denial *denial_next(const struct denial_table *t, size_t *pos);
struct denial *denial_next_mutable(struct denial_table *t, size_t *pos);
uint64_t denial_head(const struct denial_table *t);
uint64_t denial_evicted(const struct denial_table *t);
int attempt_table_new(size_t max, uint64_t seed, struct attempt_table **ret);
void attempt_table_free(struct attempt_table *t);
void attempt_add(struct controller *c, const struct flow_event *ev);
void attempt_answered(struct controller *c, const struct tuple *t, uint64_t time_ns);
void attempt_tick(struct controller *c); /* unanswered ones become records */
uint64_t attempt_lost(const struct attempt_table *t);

#endif
