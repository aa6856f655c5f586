/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DNS messages over TCP (RFC 1035 4.2.2), put together from the segments of one direction of a
 * connection: in a fixed number of fixed buffers, whatever is sent.
 */
#ifndef NANOSEG_RULES_DNS_STREAM_H
#define NANOSEG_RULES_DNS_STREAM_H

#include "rules/frame.h"
#include "rules/util.h"

#define DNS_STREAMS 64	    /* directions of TCP connections, of all owners */
#define DNS_STREAMS_EACH 16 /* of one owner; its oldest makes way */
/* Of one message, and less than a report has of the longest segment (nflog.h). */
#define DNS_STREAM_BYTES 16000
#define DNS_STREAM_WAIT_NS (30 * NSEC_PER_SEC) /* for what is missing of one */
#define DNS_STREAM_AHEAD 8 /* segments that are held until what is before them is there */

struct dns_streams;

int dns_streams_new(struct dns_streams **ret);
void dns_streams_free(struct dns_streams *s);
static inline void
dns_streams_freep(struct dns_streams **s)
{
	dns_streams_free(*s);
}

/* A message, or as much of one as the buffer takes, with the mark of a truncated one; borrowed. */
typedef void (*dns_stream_fn)(void *arg, const uint8_t *buf, size_t len);

/*
 * One segment, whose payload is there. A stream begins with its SYN. False: the segment is of none;
 * otherwise fn has been called for each message that is whole by now.
 */
bool dns_streams_take(struct dns_streams *s, uint64_t owner, const struct frame_info *f,
    const uint8_t *payload, uint64_t now_ns, dns_stream_fn fn, void *arg);
/* The messages that are whole in one segment which begins with one. */
void dns_stream_read_alone(const uint8_t *payload, size_t len, dns_stream_fn fn, void *arg);
/* Streams that were not read to their end: a gap, pieces that contradict each other, no room. */
uint64_t dns_streams_broken(const struct dns_streams *s);

#endif
