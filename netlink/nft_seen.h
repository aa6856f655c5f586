/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections counted by the kernel itself, in a table beside the one of the rules: who talked to
 * whom, to which port, how often and how much. It decides nothing. See the head of nft_seen.c.
 *
 * The warden makes the table and asks for dumps, on a socket that somebody without privileges
 * reads.
 */
#ifndef NANOSEG_NETLINK_NFT_SEEN_H
#define NANOSEG_NETLINK_NFT_SEEN_H

#include "rules/flow.h"

#include <linux/netlink.h>
#include <stddef.h>

/* Behind the name of the namespace's table; see is_of_table() of nft_watch.c. */
#define NFT_SEEN_SUFFIX "_seen"
/* Elements a set can have; beyond that connections are counted as missed. */
#define NFT_SEEN_SIZE 16384u
/* The two generations of sets. Only one of them is being filled. */
#define NFT_SEEN_SIDES 2u

enum nft_seen_set {
	NFT_SEEN_CONN4, /* connections, when they are answered */
	NFT_SEEN_CONN6,
	NFT_SEEN_BYTE4, /* all packets from the first answer on */
	NFT_SEEN_BYTE6,
	NFT_SEEN_SETS,
};

static inline bool
nft_seen_is_v6(enum nft_seen_set set)
{
	return set == NFT_SEEN_CONN6 || set == NFT_SEEN_BYTE6;
}

static inline bool
nft_seen_is_conn(enum nft_seen_set set)
{
	return set == NFT_SEEN_CONN4 || set == NFT_SEEN_CONN6;
}

struct nft_seen_state {
	bool present;
	bool hooked;	 /* it sees packets */
	unsigned sides;	 /* a bit for each that has its sets */
	uint64_t missed; /* connections that found no room */
};

/*
 * `table` is the name of the namespace's table, sock the one that is to own it. Each is one
 * transaction; 0 or the kernel's negative errno, with nothing changed.
 */
int nft_seen_look(int sock, const char *table, struct nft_seen_state *ret);
/* Everything but the hooks, anew. Switches on accounting (ct_acct.h) in the namespace. */
int nft_seen_prepare(int sock, const char *table, bool owned);
int nft_seen_hook(int sock, const char *table);
/* From now on the other side is filled, which is empty. st: as it is now. */
int nft_seen_rotate(int sock, const char *table, unsigned side, const struct nft_seen_state *st);
/* Deletes the sets of a side that is not being filled. */
int nft_seen_drop(int sock, const char *table, unsigned side);
/* -ENOENT is success. */
int nft_seen_delete(int sock, const char *table);

/* Asks for all elements of a set; the answer is read with nft_seen_recv(). */
int nft_seen_request(
    int sock, const char *table, unsigned side, enum nft_seen_set set, uint32_t seq);

struct nft_seen_entry {
	/*
	 * As the observer has it (see ct.h), without the client's port: sport is 0; otherwise it is
	 * of a connection that was met in its middle, whose direction is not proven.
	 */
	struct tuple tuple;
	uint64_t packets, bytes; /* of what the set counts */
};

/* Called per element; a negative value stops and is returned. */
typedef int (*nft_seen_fn)(void *arg, const struct nft_seen_entry *e);

struct nft_seen_stats {
	uint64_t entries, malformed;
};

/* One message of a dump, nlmsg_len bytes of it are there. 0 or fn's value. */
int nft_seen_parse(const struct nlmsghdr *nlh, enum nft_seen_set set, nft_seen_fn fn, void *arg,
    struct nft_seen_stats *stats);

/*
 * Reads at most max_messages datagrams of the dump of that set, without blocking, into buf (64 KB
 * is right, aligned like a nlmsghdr). 0 or a negative errno; *ret_done says that its end was read,
 * with its error in *ret_error.
 */
int nft_seen_recv(int sock, void *buf, size_t size, unsigned max_messages, enum nft_seen_set set,
    nft_seen_fn fn, void *arg, struct nft_seen_stats *stats, bool *ret_done, int *ret_error);

#endif
