/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NFLOG: binding a group in a namespace (warden) and parsing what arrives (capture role). */
#ifndef NANOSEG_NETLINK_NFLOG_H
#define NANOSEG_NETLINK_NFLOG_H

#include "rules/frame.h"

#include <linux/netlink.h>

/*
 * Prefixes our rules put on reports. The first byte says what, the second where: 'i' input,
 * 'o' output, 'f' forward.
 */
#define NFLOG_WHAT_DENIED 'd'
#define NFLOG_WHAT_AUDITED 'a'
#define NFLOG_WHAT_NEW 'n' /* a first packet (observe mode, rate-limited) */

struct nflog_report {
	char what, where;
	const uint8_t *payload; /* starts at the IP header, borrowed from the message */
	size_t payload_len;
	uint64_t time_ns; /* kernel's, 0 if absent */
	uint32_t seq;	  /* of the group; gaps are loss */
	bool has_seq;
};

/*
 * Opens in the namespace, binds a free group (random start, tried until the kernel accepts; taken
 * groups give EBUSY), copy range 128 bytes, sequence numbers on, rcvbuf forced. The fd;
 * *ret_group is the group bound.
 */
int nflog_open(int nsfd, int rcvbuf, uint16_t *ret_group);
/* -ENOTSUP: not a packet message. -EBADMSG: malformed. */
int nflog_parse(const struct nlmsghdr *nlh, struct nflog_report *ret);

#endif
