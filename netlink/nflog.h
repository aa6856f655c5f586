/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NFLOG: binding a group in a namespace (warden) and parsing what arrives (capture role). */
#ifndef NANOSEG_NETLINK_NFLOG_H
#define NANOSEG_NETLINK_NFLOG_H

#include "rules/frame.h"

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Prefixes our rules put on reports. The first byte says what, the second where: 'i' input,
 * 'o' output, 'f' forward.
 */
#define NFLOG_WHAT_DENIED 'd'
#define NFLOG_WHAT_AUDITED 'a'
#define NFLOG_WHAT_NEW 'n'	   /* a first packet (observe mode, rate-limited) */
#define NFLOG_WHAT_UNREACHABLE 'u' /* an error of ICMP about a packet of a known connection */
/* To a name server, and what one answers: by the port that was dialled. */
#define NFLOG_WHAT_DNS_QUERY 'q'
#define NFLOG_WHAT_DNS_ANSWER 'r'
#define NFLOG_WHAT_LABEL 's' /* a client's first packet that may name the server */

/* Of a packet, in most reports and in those of DNS. */
#define NFLOG_REPORT_BYTES 128
#define NFLOG_WHOLE_BYTES 16384

struct nflog_report {
	char what, where;
	const uint8_t *payload; /* starts at the IP header, borrowed from the message */
	size_t payload_len;
	uint64_t time_ns; /* kernel's, 0 if absent */
	uint32_t indev;	  /* ifindex it came in by, 0: by none */
	uint32_t seq;	  /* of the group; gaps are loss */
	bool has_seq;
};

/*
 * Opens in the namespace, binds a free group of 1024..65535 (at random, at most 64 tries; a group
 * of another socket gives EPERM, as a lack of privilege does), copy range NFLOG_WHOLE_BYTES,
 * sequence numbers on, rcvbuf forced, reports delivered within 50 ms. The fd; *ret_group is the
 * group bound.
 */
int nflog_open(int nsfd, int rcvbuf, uint16_t *ret_group);
/* The same range for a group that an earlier version may have bound. */
int nflog_set_range(int sock, uint16_t group);
/*
 * -ENOTSUP: not a packet message, or one without a prefix of ours (whoever is root in the namespace
 * can log to our group). -EBADMSG: malformed. nlmsg_len bytes are there.
 */
int nflog_parse(const struct nlmsghdr *nlh, struct nflog_report *ret);

struct nflog_stats {
	uint64_t reports, foreign, malformed;
	uint64_t overruns; /* ENOBUFS */
	uint64_t lost;	   /* by gaps in the sequence: exact, also after an overrun */
	/* Start with zeros: whoever takes a socket over cannot know what was read of it before. */
	uint32_t next_seq;
	bool begun;
};

typedef int (*nflog_fn)(void *arg, const struct nflog_report *r);
/*
 * Like ct_recv(): without blocking, at most max_messages datagrams into the caller's buffer (64
 * KB), only the kernel's. The number of reports, -ENOBUFS after an overrun (call again), or fn's
 * value.
 */
int nflog_recv(int sock, void *buf, size_t size, unsigned max_messages, nflog_fn fn, void *arg,
    struct nflog_stats *stats);

#endif
