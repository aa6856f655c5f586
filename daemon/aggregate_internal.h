/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between aggregate*.c alone. */
#ifndef NANOSEG_DAEMON_AGGREGATE_INTERNAL_H
#define NANOSEG_DAEMON_AGGREGATE_INTERNAL_H

#include "daemon/aggregate.h"
#include "daemon/proto.h"
#include "netlink/nft_seen.h"
#include "rules/tally.h"

#include <event2/util.h>

struct event;

enum aggregate_state {
	STATE_CLOSED, /* no socket */
	STATE_OPEN,   /* and no table */
	STATE_PREPARED,
	STATE_ON,
	STATE_DRAINING,
};

struct aggregate {
	struct aggregate *next; /* of controller.aggregates */
	uint64_t cookie;
	struct instance *inst; /* NULL: not attached; then since: */
	uint64_t left_ns;

	enum aggregate_state state;
	uint64_t state_ns; /* CLOCK_MONOTONIC, since when */
	uint32_t asked;	   /* the verb that has no answer yet, 0: none */
	uint64_t asked_ns;
	int fd;
	struct event *ev;

	bool stands;	    /* its table, hooked, so far as is known */
	unsigned side;	    /* the one that is being filled */
	bool old_there;	    /* the other one has not been dropped */
	bool first_sight;   /* what is read now may have been credited before */
	uint64_t filled_ns; /* since when it is */
	struct tally *tallies[NFT_SEEN_SIDES][NFT_SEEN_SETS];

	bool reading;
	bool read_done; /* its part has ended before the warden said that it was asked for */
	unsigned read_side;
	unsigned read_set;
	uint64_t read_ns, read_again_ns;
	size_t fill; /* of the fullest set of the side that is being filled */
	struct nft_seen_stats stats;

	uint64_t connections, connections_before; /* counted here in all; at the last tick */
	uint64_t events;			  /* of the instance, at the last tick */
	unsigned busy_s, quiet_s;
	uint64_t barred_ns; /* until then */
	uint64_t missed;
	bool ended; /* what it did last has been read */
	bool loss_logged;
};

/* aggregate.c */
void aggregate_ask(struct aggregate *a, enum agg_verb verb, unsigned side, unsigned set);
void aggregate_lose(struct aggregate *a, uint64_t n, const char *why);
/* What stands in the kernel stays there: it is to be opened again, wanted or not. */
void aggregate_close(struct aggregate *a);
/* Its table is not as we left it: events tell again, of what is not marked. */
void aggregate_table_lost(struct aggregate *a, int error);
/* What was not read is read later, for the counters stand, unless the table is gone. */
void aggregate_read_failed(struct aggregate *a, int error);
/* All of it, once. */
void aggregate_was_read(struct aggregate *a);

/* aggregate_read.c */
void aggregate_read(struct aggregate *a);
/* All sets of the side that is being filled, at once, each on its socket. 0 or a negative errno. */
int aggregate_read_last(struct aggregate *a, const int fds[static NFT_SEEN_SETS]);
/* The set that was asked for is at its end, and the warden has said that it asked. */
void aggregate_read_on(struct aggregate *a);
void aggregate_readable(evutil_socket_t fd, short what, void *arg);

#endif
