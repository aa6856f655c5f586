/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between nft_seen.c and nft_seen_rules.c alone: chains, and the names of sets. */
#ifndef NANOSEG_NETLINK_NFT_SEEN_PRIV_H
#define NANOSEG_NETLINK_NFT_SEEN_PRIV_H

#include "netlink/nft_expr.h"
#include "netlink/nft_seen.h"

#define SEEN_NAME_MAX 16

enum {
	SEEN_INPUT,
	SEEN_OUTPUT,
	SEEN_EACH,
	SEEN_TCP,
	SEEN_SCTP,
	SEEN_FIRST,
	SEEN_BYTES,
	SEEN_CHAINS,
};
#define SEEN_BASE SEEN_EACH

void seen_set_name(enum nft_seen_set set, unsigned side, char buf[static SEEN_NAME_MAX]);

/* Of the chains that are no base chains, counting in the sets of that side. */
void seen_rules_of(struct builder *b, unsigned side);
/* Of the base chains. */
void seen_rules_hooked(struct builder *b);

#endif
