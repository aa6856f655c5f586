/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between roles: SOCK_SEQPACKET, typed, bounded, versioned. A body over MSG_MAX_INLINE
 * travels in a sealed memfd. What a type may carry stands in one table (daemon/proto.c); msg_recv()
 * refuses anything else before a handler sees it. A refused message closes the channel: the peer is
 * broken or hostile.
 */
#ifndef NANOSEG_DAEMON_MSG_H
#define NANOSEG_DAEMON_MSG_H

#include "rules/util.h"

#include <stdbool.h>

#define MSG_VERSION 1
#define MSG_MAX_INLINE 60000u
#define MSG_MAX_BODY (32u << 20)
#define MSG_MAX_FDS 8

struct msg_header {
	uint16_t version;
	uint16_t type;	   /* enum msg_type */
	uint32_t seq;	   /* chosen by the asker, repeated in the answer; 0: no answer wanted */
	uint32_t body_len; /* of the body, wherever it travels */
	uint32_t in_memfd; /* 1: the last fd is a sealed memfd with the body */
};

struct msg {
	struct msg_header h;
	const uint8_t *body;  /* valid until msg_done(); aligned for any struct */
	int fds[MSG_MAX_FDS]; /* owned; take one with steal_fd() */
	size_t n_fds;
	/* Internal: the body's memory, a mapping if map_len is not 0, else malloc'ed. */
	void *map;
	size_t map_len;
};

/* Allowed shape of a type; the table is indexed by type. */
struct msg_shape {
	const char *name;  /* NULL: no such type */
	uint32_t min, max; /* body length */
	uint32_t unit;	   /* of a trailing array: (length - min) is a multiple; 0: any length */
	uint8_t min_fds, max_fds;
	uint16_t from, to; /* who may send it to whom: bits 1 << enum role */
};

/* Shape of a type, or NULL. In daemon/proto.c. */
const struct msg_shape *msg_shape_of(uint16_t type);
/* Whether the table lets one role send this type to another (from, to: enum role). */
bool msg_may_pass(uint16_t type, unsigned from, unsigned to);

/*
 * Sends now or fails: 0, -EAGAIN if the socket is full, -EBADMSG if the table does not know such a
 * message, or another errno. fds stay the caller's; with a body in a memfd one fewer fits.
 */
int msg_send(int sock, uint16_t type, uint32_t seq, const void *body, size_t len, const int *fds,
    size_t n_fds);
/*
 * Receives one message without blocking. 1: *ret is filled, call msg_done(); 0: nothing there;
 * -ECONNRESET: the peer is gone; -EBADMSG: refused (wrong version, type, size, fds, seals).
 */
int msg_recv(int sock, struct msg *ret);
void msg_done(struct msg *m);

/* Pure check of a header against the table (fuzzed). 0 or -EBADMSG. */
int msg_check(const uint8_t *buf, size_t len, size_t n_fds, struct msg_header *ret);

/*
 * A channel on the event loop: receives, dispatches, and queues what the socket does not take,
 * bounded. Not for the keeper and the supervisor, which have no event library.
 */
struct event_base;
struct chan;
typedef void (*chan_msg_fn)(void *arg, struct chan *c, struct msg *m);
typedef void (*chan_closed_fn)(void *arg, struct chan *c, int error);

/*
 * Owns sock. The callbacks may call chan_free() on c. on_closed comes once, from the loop and never
 * from inside chan_send(): error is -ECONNRESET (the peer is gone), -EBADMSG (refused) or another.
 * A message belongs to the channel: on_msg may take its fds, not keep its body.
 */
int chan_new(struct event_base *base, int sock, chan_msg_fn on_msg, chan_closed_fn on_closed,
    void *arg, struct chan **ret);
void chan_free(struct chan *c);
/*
 * Dups the fds if it has to queue. -ENOBUFS when the queue (4,096 messages, 64 MB) is full,
 * -ENOTCONN when the peer is gone.
 */
int chan_send(struct chan *c, uint16_t type, uint32_t seq, const void *body, size_t len,
    const int *fds, size_t n_fds);
size_t chan_queued(const struct chan *c);

#endif
