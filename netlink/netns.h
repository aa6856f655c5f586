/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network namespaces: their identity, and sockets opened inside them. Entering is done by the
 * calling thread, which is back in its own namespace when a function returns (or the process
 * aborts: a thread left in a foreign namespace must not go on).
 */
#ifndef NANOSEG_NETLINK_NETNS_H
#define NANOSEG_NETLINK_NETNS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NSFS_MAGIC_NUMBER 0x6e736673

struct netns_id {
	uint64_t cookie; /* SO_NETNS_COOKIE: never reused while the kernel runs */
	uint64_t dev, ino;
};

/* True if fd refers to a network namespace: nsfs, and NS_GET_NSTYPE says CLONE_NEWNET. */
bool netns_fd_valid(int fd);
/* The caller's own namespace: an fd on /proc/thread-self/ns/net, or a negative errno. */
int netns_open_self(void);
/*
 * Opens a nsfs file of a directory, no symlink followed, and checks it. -EINVAL: it is something
 * else, perhaps a file over which the namespace is not mounted yet; name is a single component.
 */
int netns_open_at(int dirfd, const char *name);
int netns_open_pid(pid_t pid);
/* The namespace of a socket, which may have nobody in it any more. */
int netns_of_socket(int sock);
/* Fills id, entering the namespace for the cookie. */
int netns_identify(int nsfd, struct netns_id *ret);
/* Runs fn inside; returns fn's value or a negative errno if the namespace cannot be entered. */
int netns_call(int nsfd, int (*fn)(void *arg), void *arg);
/* The same by an open /proc/PID: of that process, whoever has its number now. */
int netns_open_task(int taskfd);
/* The uid that made the user namespace which the network namespace belongs to; 0 for the host's. */
int netns_owner_uid(int nsfd, uid_t *ret);

/* socket(2) inside the namespace, with SOCK_CLOEXEC. */
int netns_socket(int nsfd, int domain, int type, int protocol);
/* SO_NETNS_COOKIE of a socket. */
int netns_socket_cookie(int sock, uint64_t *ret);
/*
 * Connects a netlink socket to the kernel, after a bind: whoever has CAP_NET_ADMIN in its namespace
 * could otherwise send to its port, forge answers and keep its reader reading for ever. Messages to
 * its groups still come from anybody. 0 or a negative errno.
 */
int sock_kernel_only(int sock);
/*
 * A netlink socket inside the namespace, bound to these groups and connected to the kernel as
 * above. rcvbuf as for sock_rcvbuf, in force before the first event; 0 leaves it as it is.
 */
int netns_kernel_socket(int nsfd, int protocol, uint32_t groups, int rcvbuf);
/*
 * SO_RCVBUFFORCE, else SO_RCVBUF, so that the size in force (as SO_RCVBUF reads back) becomes
 * `bytes`; the size in force, or a negative errno.
 */
int sock_rcvbuf(int sock, int bytes);

#endif
