/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Links of the host's namespace and of others, seen from the host: nobody inside has a say in it.
 */
#ifndef NANOSEG_NETLINK_LINK_H
#define NANOSEG_NETLINK_LINK_H

#include "netlink/rtnl.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_NAME_MAX 16
#define LINK_MAC_LEN 6
/* Whoever may make links in a namespace can make any number. */
#define LINKS_MAX 16384

struct link_info {
	uint32_t ifindex;
	uint32_t peer; /* ifindex of the link that this one leads to, 0: none */
	int32_t nsid;  /* of the peer's namespace, as the asking one numbers it; -1: the same */
	bool leaves;   /* that peer is in another namespace, or not known: a device, a tunnel */
	bool veth;
	bool has_mac;
	uint32_t flags; /* IFF_*: an engine sets a link up when it has given it its addresses */
	uint8_t mac[LINK_MAC_LEN];
	char name[LINK_NAME_MAX];
};

struct nlmsghdr;

/* A complete RTM_NEWLINK message. 0 or -EBADMSG. */
int link_parse(const struct nlmsghdr *nlh, struct link_info *ret);

/* A NETLINK_ROUTE socket of the caller's namespace; joined to the group of link changes. */
int link_open(void);
int link_open_events(void);
/* Links that have changed, and where one is gone, the one that it led to. */
#define LINK_CHANGES_MAX 64
struct link_changes {
	uint32_t ifindex[LINK_CHANGES_MAX]; /* unique */
	size_t n;
	bool all; /* it was too much: any may have changed */
};
/* Adds those that are told of on the socket. 1: there were some; 0; or a negative errno. */
int link_events_read(int sock, struct link_changes *ret);
/*
 * A socket that tells that a link between the caller's namespace and another one has made the
 * kernel number that one: 1 by link_numbers_read() if it did, or if messages are lost; 0; or a
 * negative errno.
 */
int link_open_numbers(void);
int link_numbers_read(int sock);
/* One link of the socket's own namespace. 0, -ENODEV, or another negative errno. */
int link_get(int sock, uint32_t ifindex, struct link_info *ret);
/*
 * The links of the namespace with that number, -1: the socket's own. *ret is malloc'ed. 0, -E2BIG,
 * or a negative errno (-EINTR: they changed meanwhile).
 */
int link_dump(int sock, int32_t nsid, struct link_info **ret, size_t *ret_n);
/*
 * The addresses of the namespace with that number, those of loopback left out; at most max, more
 * are ignored. 0 or as above.
 */
int link_addrs(int sock, int32_t nsid, struct rtnl_addr *ret, size_t max, size_t *ret_n);
/*
 * The number that the socket's namespace has for another; it is given one if it has none, which is
 * so where no veth leads there.
 */
int link_nsid(int sock, int nsfd, int32_t *ret);

#endif
