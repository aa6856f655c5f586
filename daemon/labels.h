/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What connections called their servers: see the head of labels.c. */
#ifndef NANOSEG_DAEMON_LABELS_H
#define NANOSEG_DAEMON_LABELS_H

#include "rules/flow.h"
#include "rules/server_name.h"

struct controller;
struct instance;
struct msg;

#define LABELS_WAITING 256

/* Heard of a connection whose edge is not known yet. */
struct label_waiting {
	uint64_t netns, time_ns; /* CLOCK_MONOTONIC, when it came */
	struct tuple tuple;
	struct server_name name;
};

/* Whether the namespace, which is attached, is to report them. */
void labels_ask(struct instance *i);
/* The configuration says something else. */
void labels_ask_all(struct controller *c);
/* MSG_CAP_LABEL */
void labels_on_label(struct controller *c, struct msg *m);
void labels_tick(struct controller *c); /* once a second */

#endif
