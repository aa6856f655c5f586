/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Live capture: the one libpcap handle on the host's "any" device, for connection attempts. */
#ifndef NANOSEG_NETLINK_CAPTURE_H
#define NANOSEG_NETLINK_CAPTURE_H

#include "rules/frame.h"

struct capture;

struct capture_stats {
	uint64_t received, dropped; /* by the kernel ring; cumulative */
};

/*
 * Opens "any" as SLL2 with a filter for first packets only: TCP SYN without ACK, ICMP and ICMPv6
 * echo requests, IPv4 and IPv6 alike (tcp[tcpflags] ignores IPv6, so offsets are spelled out);
 * non-blocking; 256 KB ring; snap length 128; immediate mode. On error *ret_error is libpcap's
 * sentence in the caller's buffer.
 */
int capture_open(struct capture **ret, char error[static 256]);
void capture_free(struct capture *c);
int capture_fd(const struct capture *c); /* selectable */
typedef void (*capture_fn)(void *arg, const struct frame_info *f, uint64_t time_ns);
/* Handles at most max frames; the number of them. Malformed ones are counted, not passed on. */
int capture_dispatch(struct capture *c, int max, capture_fn fn, void *arg, uint64_t *malformed);
int capture_stats(struct capture *c, struct capture_stats *ret);

#endif
