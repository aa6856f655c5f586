/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections from frames, where no kernel follows them: for captures. A connection is announced
 * once, when it is over (closed, forgotten for want of room, or the capture ends), with what it had
 * been.
 *
 * Answered is TCP when its handshake is complete: an open port answers every SYN, whoever sent it,
 * and only who heard that answer can acknowledge it. Likewise SCTP and INIT.
 *
 * Direction: a TCP connection whose SYN was seen, or that begins with a SYN and ACK, and whatever
 * is not TCP, belongs to who sent the first packet. A TCP connection met in its middle belongs to
 * the other end of the one that is known to listen, by the handshakes of the same capture; if
 * neither or both are, to the other end of the one that several such connections have in common, or
 * to who was seen first, and it says so (TRACK_F_MIDSTREAM). No port number decides.
 *
 * Memory is bounded by max_connections. When it is used up, the connection without an answer that
 * has been silent the longest goes first, then the longest silent of all.
 */
#ifndef NANOSEG_RULES_TRACK_H
#define NANOSEG_RULES_TRACK_H

#include "rules/frame.h"

#define TRACK_F_ANSWERED 0x01
#define TRACK_F_MIDSTREAM 0x02 /* direction not proven */
#define TRACK_F_REFUSED 0x04   /* by a reset, an ABORT, or an ICMP error */
/*
 * TCP whose source went on after its SYN, as one does that was answered, but not a frame of the
 * destination is there: only one side was captured.
 */
#define TRACK_F_ONE_SIDED 0x08

struct track_connection {
	struct tuple tuple;
	uint64_t first_ns, last_ns; /* by the frames' times, which may go back */
	uint64_t frames[2], bytes;  /* frames by the tuple's source and by its destination */
	uint32_t tag;		    /* what track_start_fn gave */
	uint8_t flags;		    /* TRACK_F_* */
};

struct track;

/* At a connection's first frame; the tuple may still be turned round. Its value is kept as tag. */
typedef uint32_t (*track_start_fn)(void *arg, const struct tuple *first);
typedef void (*track_end_fn)(void *arg, const struct track_connection *c);

int track_new(size_t max_connections, uint64_t hash_seed, track_start_fn start, track_end_fn end,
    void *arg, struct track **ret);
void track_free(struct track *t); /* announces nothing */
static inline void
track_freep(struct track **t)
{
	track_free(*t);
}

/*
 * One frame as frame_parse() has it; frame is what it was parsed from, bytes its length on the
 * wire. 0, or -ENODATA where it belongs to no connection (errors and announcements of ICMP,
 * protocols without ports), or -ENOMEM.
 */
int track_frame(struct track *t, const struct frame_info *f, const uint8_t *frame, uint32_t bytes,
    uint64_t time_ns);
/* Announces all that is left. */
void track_finish(struct track *t);
/* How many were forgotten while they may still have been open. */
uint64_t track_evicted(const struct track *t);

#endif
