/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose the two ends of an event are: ends.c. */
#ifndef NANOSEG_DAEMON_ENDS_H
#define NANOSEG_DAEMON_ENDS_H

#include "rules/edge.h"
#include "rules/flow.h"

struct controller;
struct instance;

/* Where an event happened, as far as it is known. */
struct ends {
	peer_id from, to;
	struct instance *src, *dst; /* NULL: not one of ours */
};

struct edge_key ends_key(const struct flow_event *ev, const struct ends *e);
/*
 * 0; -EAGAIN: an end is not identified yet, ask again; -ESTALE: it may be about an earlier owner of
 * an address; -ENOSPC. flags as for resolve_addr().
 */
int ends_find(struct controller *c, const struct flow_event *ev, unsigned flags, struct ends *ret);

#endif
