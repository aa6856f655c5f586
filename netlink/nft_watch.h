/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who else changes our table: for kernels that have no owner of tables. */
#ifndef NANOSEG_NETLINK_NFT_WATCH_H
#define NANOSEG_NETLINK_NFT_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define NFT_WATCH_PROGRAM 16

struct nft_change {
	uint32_t pid;			 /* of whoever did it, in our pid namespace; 0: not known */
	char program[NFT_WATCH_PROGRAM]; /* its name, which it chooses; or "" */
	bool begun;			 /* the rest of the transaction is still to come */
	bool lost;			 /* messages were: any table may have been changed */
};

/* A socket that is told of every change of the namespace's tables. Joining needs CAP_NET_ADMIN. */
int nft_watch_open(int nsfd);
/* Called with the name of a table that was changed, perhaps more than once. */
typedef void (*nft_watch_fn)(void *arg, const char *name);
/*
 * Reads what is there, a bounded part of it, without blocking. 1: the table, or a guard that is
 * named after it, was changed by another socket than the one with this port, or that cannot be told
 * because messages were lost; 0: it was not, or not all of the transaction has been read: pass the
 * same change again. Or a negative errno. fn may be NULL.
 */
int nft_watch_read(int sock, const char *table, uint32_t port, nft_watch_fn fn, void *arg,
    struct nft_change *change);

#endif
