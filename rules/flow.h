/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tuple of a connection and the event that every observer turns its input into. Plain values
 * that cross role boundaries inside messages: fixed layout, no pointers.
 */
#ifndef NANOSEG_RULES_FLOW_H
#define NANOSEG_RULES_FLOW_H

#include "rules/addr.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Always the original direction: src opened the connection. Ports are in host order. For ICMP and
 * ICMPv6 sport is the identifier (0 if none) and dport holds type << 8 | code of the request.
 */
struct tuple {
	struct addr src, dst;
	uint16_t sport, dport;
	uint8_t proto; /* IPPROTO_* */
	uint8_t zero[3];
};

enum flow_kind {
	FLOW_ANSWERED = 1, /* conntrack saw a reply */
	FLOW_ATTEMPT,	   /* a first packet, no answer known */
	FLOW_DENIED,	   /* refused by our rules */
	FLOW_AUDITED,	   /* passed, would be refused in enforce */
};

enum flow_dir {
	DIR_INGRESS = 1,
	DIR_EGRESS = 2,
};

#define FLOW_F_MIDSTREAM 0x01	/* picked up in the middle: direction not proven by a handshake */
#define FLOW_F_ORIENTED 0x02	/* direction settled by a listening socket */
#define FLOW_F_FROM_DUMP 0x04	/* from a table dump, not from an event */
#define FLOW_F_FROM_SOCKET 0x08 /* from the socket table: established before we came */
#define FLOW_F_REFUSED 0x10	/* of an attempt: an error of ICMP came back for it */
#define FLOW_F_ONE_WAY 0x20	/* not answered, but of long standing: never in a message */

struct flow_event {
	uint64_t netns;	  /* cookie of the namespace it was seen in; 0: on the host's interfaces */
	uint64_t time_ns; /* CLOCK_REALTIME */
	struct tuple tuple;
	uint8_t kind;	   /* enum flow_kind */
	uint8_t dir;	   /* enum flow_dir, for denials: which hook refused; else 0 */
	uint8_t flags;	   /* FLOW_F_* */
	uint8_t tcp_state; /* conntrack's state at the event, 0 if not TCP */
	uint32_t count;	   /* packets behind this event, at least 1 */
	uint32_t ifindex;  /* host interface for captured frames, else 0 */
	uint32_t zero;
};

bool tuple_eq(const struct tuple *a, const struct tuple *b);
uint64_t tuple_hash(const struct tuple *t, uint64_t seed);
/* The same connection with the two ends exchanged (not meaningful for ICMP). */
struct tuple tuple_reverse(const struct tuple *t);

/* "tcp" "udp" "icmp" "icmpv6" "sctp"; NULL if we have no name for it. */
const char *proto_name(uint8_t proto);
/* The number for such a name, or -EINVAL. */
int proto_parse(const char *name);
bool proto_is_icmp(uint8_t proto);
/* TCP, UDP, SCTP: the protocols whose edges carry a port. */
bool proto_has_port(uint8_t proto);

/* An IPv4 or IPv6 address as a message may have it: padding is zero, and none is IPv4-mapped. */
bool flow_addr_is_canonical(const struct addr *a);
/*
 * Checks a flow_event that came in a message: known kind, families and flags, dir set for denials
 * (FLOW_DENIED, FLOW_AUDITED) and only there, both addresses of one family and in canonical form
 * (IPv4-mapped is not), a count, tcp_state for TCP only, zero padding. 0 or -EBADMSG.
 */
int flow_event_validate(const struct flow_event *ev);

#endif
