/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a captured frame to a tuple. One parser for live capture, pcap files and NFLOG payloads; it
 * checks the length before every read and never looks past caplen.
 */
#ifndef NANOSEG_RULES_FRAME_H
#define NANOSEG_RULES_FRAME_H

#include "rules/flow.h"

#include <stddef.h>

/* Link types, with pcap's DLT_ numbers (LINKTYPE_ values where they differ). */
enum frame_link {
	FRAME_NULL = 0, /* 4 bytes of address family, host order */
	FRAME_EN10MB = 1,
	FRAME_PPP = 9,
	FRAME_RAW = 12,	  /* starts with the IP header; also 101 and 14 */
	FRAME_LOOP = 108, /* 4 bytes of address family, network order */
	FRAME_SLL = 113,
	FRAME_IPV4 = 228,
	FRAME_IPV6 = 229,
	FRAME_SLL2 = 276,
};

#define FRAME_F_FIRST_FRAGMENT 0x01
#define FRAME_F_OUTGOING 0x02 /* SLL and SLL2: sent by this host's interface */

struct frame_info {
	struct tuple tuple; /* src and dst as on the wire: the sender is src */
	uint8_t tcp_flags;  /* RFC 9293 order: FIN 1, SYN 2, RST 4, ACK 16 */
	uint32_t tcp_seq, tcp_ack;
	uint8_t flags;			   /* FRAME_F_* */
	uint8_t icmp_type;		   /* valid for ICMP and ICMPv6 */
	uint16_t icmp_id;		   /* of echo messages */
	uint32_t ifindex;		   /* SLL2 only, else 0 */
	uint32_t payload_off, payload_len; /* transport payload inside the captured bytes */
};

/* Can frame_parse() read this link type? */
bool frame_link_supported(int linktype);

/*
 * 0: *ret is filled. -ENODATA: well formed, but carries no tuple (ARP, a later fragment, IP
 * protocol without ports or ICMP: proto is then set with ports 0 and 0 is returned). -EBADMSG:
 * malformed or cut short before the ports. Handles VLAN tags, MPLS, PPPoE sessions, IPv4
 * options, authentication headers, IPv6 extension headers.
 */
int frame_parse(int linktype, const uint8_t *buf, size_t len, struct frame_info *ret);

/*
 * The packet that an ICMP message says could not be delivered: whoever it came from was refused. f:
 * as frame_parse() has that message, of frame. False: it is none, or quotes nothing with ports.
 */
bool frame_refuses(const struct frame_info *f, const uint8_t *frame, struct frame_info *ret);

#endif
