/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of the ends of TCP connections: who has answered a SYN, and who is shared by
 * several connections that were met in their middle. Pure; bounded: what is more is not remembered.
 */
#ifndef NANOSEG_RULES_TRACK_ENDS_H
#define NANOSEG_RULES_TRACK_ENDS_H

#include "rules/flow.h"

struct track_ends;

enum track_server {
	TRACK_SERVER_DST,	 /* as it stands, as far as is known */
	TRACK_SERVER_SRC,	 /* the likelier */
	TRACK_SERVER_DST_PROVEN, /* it answered a SYN, and the other end did not */
	TRACK_SERVER_SRC_PROVEN,
};

int track_ends_new(uint64_t hash_seed, struct track_ends **ret);
void track_ends_free(struct track_ends *e);

/* A connection was met in its middle. */
void track_ends_met(struct track_ends *e, const struct tuple *t);
/* Its destination has answered a SYN. */
void track_ends_listens(struct track_ends *e, const struct tuple *t);
/* Which end of it is the server? */
enum track_server track_ends_server(const struct track_ends *e, const struct tuple *t);

#endif
