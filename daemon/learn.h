/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flow events -> edges: learn.c. */
#ifndef NANOSEG_DAEMON_LEARN_H
#define NANOSEG_DAEMON_LEARN_H

#include "rules/edge.h"

struct controller;

void learn_flow(struct controller *c, const struct flow_event *ev);
/* Of datagrams without an answer, as an answered event; see one_way.h. True: an edge has them. */
bool learn_one_way(struct controller *c, const struct flow_event *ev);
/* What the host knows the connection as on its other side, or NULL. Valid until the next event. */
const struct tuple *learn_find_nat(struct controller *c, const struct tuple *t);
/* Of answered connections: counted if their edge is known. The event's kind and count are ignored.
 */
void learn_bytes(struct controller *c, const struct flow_event *ev, uint64_t bytes);
/* The edge that a connection seen in ev's namespace, by its source, is credited to. NULL: none yet.
 */
struct edge *learn_edge_of(struct controller *c, const struct flow_event *ev);
void learn_retry_waiting(struct controller *c, bool give_up_old);
/* What waits of a namespace that is about to go is told now, or lost. */
void learn_waiting_of(struct controller *c, uint64_t netns);
/* learn_covers.c: for edge_table_new(), arg is the controller. */
bool learn_covers(
    void *arg, const struct edge *decided, const struct edge_key *observed, const struct tuple *t);

#endif
