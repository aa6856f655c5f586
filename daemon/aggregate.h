/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections counted by the kernel: aggregate.c. */
#ifndef NANOSEG_DAEMON_AGGREGATE_H
#define NANOSEG_DAEMON_AGGREGATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct controller;
struct instance;
struct msg;

void aggregate_start(struct instance *i);  /* it is attached */
void aggregate_stop(struct instance *i);   /* its sockets go; what is known of its counters stays */
void aggregate_tick(struct controller *c); /* once a second */
void aggregate_on_answer(struct controller *c, struct msg *m);
/* Connections that begin in it now are counted by the kernel. */
bool aggregate_is_on(const struct instance *i);
/* Its counters stand, switched on or not, and are read, now or when it is attached again. */
bool aggregate_stands(const struct instance *i);
/* {state, missed}, or null: an event tells of each. */
json_t *aggregate_to_json(const struct instance *i);
void aggregate_forget(struct controller *c, uint64_t cookie); /* its namespace is gone */

#endif
