/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The packets of probes, pure: the SYN that is sent, and what a raw TCP socket receives. RFC 9293;
 * the kernel writes the IP header, and of IPv6 the checksum too.
 */
#ifndef NANOSEG_DAEMON_PROBE_PACKET_H
#define NANOSEG_DAEMON_PROBE_PACKET_H

#include "rules/flow.h"

#include <stddef.h>

#define PROBE_SYN_LEN 20

/* A bare SYN without options. Of IPv4 t->src must be known, for the checksum. */
void probe_syn(const struct tuple *t, uint32_t seq, uint8_t ret[static PROBE_SYN_LEN]);

/* A segment that has come: its ports, and how it answers a SYN. */
struct probe_segment {
	uint16_t sport, dport;
	uint32_t ack;
	bool syn_ack, reset; /* one of them, both with ACK */
};

/*
 * family 4: buf begins with the IP header, as raw(7) has it; 6: with that of TCP (raw IPv6 sockets
 * give none). 0; -EBADMSG: too short, or no answer to a SYN.
 */
int probe_segment_parse(uint8_t family, const uint8_t *buf, size_t len, struct probe_segment *ret);

#endif
