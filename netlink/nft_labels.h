/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table beside the one of the rules that reports a client's first packets, where they may carry
 * the name of the server (rules/server_name.h). It decides nothing. See the head of nft_labels.c.
 */
#ifndef NANOSEG_NETLINK_NFT_LABELS_H
#define NANOSEG_NETLINK_NFT_LABELS_H

#include <stdbool.h>
#include <stdint.h>

/* Behind the name of the namespace's table; see is_of_table() of nft_watch.c. */
#define NFT_LABELS_SUFFIX "_labels"

/*
 * Makes it anew. `table` is the name of the namespace's table, sock the one that is to own it,
 * group where reports go. 0 or the kernel's negative errno, with nothing changed.
 */
int nft_labels_load(int sock, const char *table, bool owned, uint16_t group);
/* -ENOENT is success. */
int nft_labels_delete(int sock, const char *table);

#endif
