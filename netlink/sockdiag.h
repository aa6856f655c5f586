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
 * Both dump the sockets of IPv4 and IPv6, synchronously, at most max of them: who listens by a
 * protocol (unconnected UDP; SCTP where the kernel shows it), and TCP with a peer (ESTABLISHED,
 * CLOSE_WAIT, FIN_WAIT1, FIN_WAIT2). The kernel walks the whole host's connections for the latter.
 * IPv4-mapped addresses become IPv4. A handed socket of another namespace is fine, unprivileged.
 * The number, fn's negative value, or a negative errno (-E2BIG: more than max, which have been
 * passed on). The socket can be used again after any.
 */
int diag_listening(int sock, uint8_t proto, size_t max, diag_socket_fn fn, void *arg);
int diag_established(int sock, size_t max, diag_socket_fn fn, void *arg);

#endif
