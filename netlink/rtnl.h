/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of a namespace through rtnetlink: dump and changes, readable unprivileged. */
#ifndef NANOSEG_NETLINK_RTNL_H
#define NANOSEG_NETLINK_RTNL_H

#include "rules/addr.h"

/* More addresses than this are not kept: whoever is root in a namespace can add any number. */
#define RTNL_MAX_ADDRS 4096

struct rtnl_watch;

struct rtnl_addr {
	struct addr addr;
	uint8_t prefix_len;
	uint32_t ifindex;
	bool tentative; /* IPv6 duplicate detection is not over, or found one */
};

struct nlmsghdr;
/* A message of type RTM_NEWADDR or RTM_DELADDR, whose length is that of its buffer. */
bool rtnl_addr_parse(const struct nlmsghdr *nlh, struct rtnl_addr *ret);

/* A NETLINK_ROUTE socket of the namespace, joined to the IPv4 and IPv6 address groups. */
int rtnl_open(int nsfd);
/* Takes such a socket, on failure too, and keeps the current list. Asks for a dump at once. */
int rtnl_watch_new(int sock, struct rtnl_watch **ret);
void rtnl_watch_free(struct rtnl_watch *w);
int rtnl_watch_fd(const struct rtnl_watch *w);
/*
 * Reads what is there (at most 64 datagrams), without blocking. 1: the list changed, or is complete
 * for the first time; 0: it did not; negative errno: the socket is broken. An overrun asks for a
 * new dump by itself.
 */
int rtnl_watch_read(struct rtnl_watch *w);
/* True once a first dump is complete. */
bool rtnl_watch_ready(const struct rtnl_watch *w);
/* Borrowed until the next read. Sorted; loopback addresses left out. */
const struct rtnl_addr *rtnl_watch_addrs(const struct rtnl_watch *w, size_t *ret_n);

#endif
