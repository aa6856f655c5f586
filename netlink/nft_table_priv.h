/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between nft_table.c and nft_rebuild.c alone: the table, and what it is to become. */
#ifndef NANOSEG_NETLINK_NFT_TABLE_PRIV_H
#define NANOSEG_NETLINK_NFT_TABLE_PRIV_H

#include "netlink/nft_internal.h"

struct nft_table {
	int sock;
	struct nft_target target;
	bool known, owned;
	bool no_owner; /* the kernel has no owner or persist flag */
	struct nft_modes modes;
	struct nft_elems elems;
	uint32_t size[NFT_N_SETS];
	bool narrowed, unchanged;
};

struct plan {
	struct nft_modes modes;
	struct nft_elems elems;
	uint32_t count[NFT_N_SETS], size[NFT_N_SETS];
	bool owned, narrows, nothing;
	bool begun; /* some of it is committed */
};

/* Brings it there from any state. As nft_table_apply(), but that t is told of no_owner alone. */
int table_rebuild(struct nft_table *t, struct plan *p);

#endif
