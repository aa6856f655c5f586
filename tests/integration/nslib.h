/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the namespace tests share: TAP lines, namespaces without names (they vanish with the
 * process, however it ends), commands inside them, and one process that holds both ends of real
 * traffic.
 */
#ifndef NANOSEG_TESTS_NSLIB_H
#define NANOSEG_TESTS_NSLIB_H

#include "rules/addr.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* TAP. ns_start() skips everything (and exits) without root or without network namespaces. */
void ns_start(void);
bool tap_ok(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tap_skip(const char *name, const char *why);
void tap_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints the plan; the exit status of main(). */
int tap_end(void);

/* A new namespace with loopback up: an fd. Aborts the test on failure. */
int ns_new(void);
/* Runs a command inside, text on its standard input (may be NULL); its exit status. */
int ns_run(int nsfd, const char *input, const char *const argv[]);
#define NS_RUN(nsfd, ...) ns_run(nsfd, NULL, (const char *const[]){ __VA_ARGS__, NULL })
/* Loads an nft script; aborts the test if it is refused. */
void ns_nft(int nsfd, const char *script);

/* Two namespaces on one wire: 10.99.0.1 and fd00:99::1 on va, 10.99.0.2 and fd00:99::2 on vb. */
struct ns_pair {
	int a, b;
};
#define NS_A4 "10.99.0.1"
#define NS_B4 "10.99.0.2"
#define NS_A6 "fd00:99::1"
#define NS_B6 "fd00:99::2"
void ns_pair_new(struct ns_pair *ret);

/* Sockets with a 2 s limit on every wait. Negative errno on failure. */
int ns_listen(int nsfd, const char *addr, uint16_t port);
int ns_connect(int nsfd, const char *addr, uint16_t port);
int ns_udp(int nsfd, const char *addr, uint16_t port); /* bound; port 0: any */
uint16_t ns_local_port(int fd);
socklen_t ns_sockaddr(const char *addr, uint16_t port, struct sockaddr_storage *ret);
struct addr ns_addr(const char *text);

/* One byte each way. 0 or a negative errno. */
int ns_talk(int a, int b);
/* A connection: *ret_client and *ret_server, talked over once. 0 or a negative errno. */
int ns_tcp(int client_ns, int server_ns, const char *server, uint16_t port, int *ret_client,
    int *ret_server);
/* A datagram there and one back; the client's port, or a negative errno. */
int ns_udp_exchange(int client_ns, int server_ns, const char *server, uint16_t port);
/* An echo request, and its reply awaited. 0 or a negative errno. */
int ns_ping(int nsfd, const char *addr, uint16_t id);

/* Runs fn in a child without any privilege (uid and gid 65534); its exit status. */
int ns_unprivileged(int (*fn)(void *arg), void *arg);

#endif
