/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sockets of a namespace (NETLINK_SOCK_DIAG): listeners and established TCP connections. */
#ifndef NANOSEG_NETLINK_SOCKDIAG_H
#define NANOSEG_NETLINK_SOCKDIAG_H

#include "rules/flow.h"

struct diag_socket {
	uint8_t proto;	/* IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP */
	bool listening; /* TCP and SCTP LISTEN, or a UDP socket without a peer */
	bool dual;	/* listening on the IPv6 any-address, and taking IPv4 too */
	struct addr local,
	    remote; /* remote: family 0 for listeners; local may be the any-address */
	uint16_t local_port, remote_port;
};

typedef int (*diag_socket_fn)(void *arg, const struct diag_socket *s);

int diag_open(int nsfd);
/*
 * Dumps TCP (LISTEN, ESTABLISHED, CLOSE_WAIT, FIN_WAIT1, FIN_WAIT2), unconnected UDP and, where the
 * kernel shows them, listening SCTP sockets of IPv4 and IPv6, synchronously, at most max of them.
 * IPv4-mapped addresses become IPv4. A handed socket of another namespace is fine, unprivileged.
 * The number, fn's negative value, or a negative errno (-E2BIG: more than max, which have been
 * passed on). The socket can be used again after any.
 */
int diag_dump(int sock, size_t max, diag_socket_fn fn, void *arg);

#endif
