/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names for people, apart from the code that needs the nftables library. */
#include "netlink/nft.h"
#include "rules/util.h"

#include <stdio.h>

static const struct {
	uint32_t feature;
	const char *name;
} feature_names[] = {
	{ NFT_CAN_TABLE, "table" },
	{ NFT_CAN_OWNER, "owner" },
	{ NFT_CAN_PERSIST, "persist" },
	{ NFT_CAN_CT_EVENT, "ct-event" },
	{ NFT_CAN_CONCAT_RANGES, "concat-ranges" },
	{ NFT_CAN_LOG, "log" },
	{ NFT_CAN_REJECT, "reject" },
	{ NFT_CAN_INGRESS, "ingress" },
};

const char *
nft_set_name(bool egress, bool allow, bool range, bool v6, char buf[static NFT_SET_NAME_LEN])
{
	snprintf(buf, NFT_SET_NAME_LEN, "%s_%s%s%s", allow ? "allow" : "deny",
	    egress ? "out" : "in", v6 ? "6" : "4", range ? "_range" : "");
	return buf;
}

const char *
nft_feature_name(uint32_t single_feature)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(feature_names); i++)
		if (feature_names[i].feature == single_feature)
			return feature_names[i].name;
	return "?";
}
