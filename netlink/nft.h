/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nanoseg table of one namespace, through libnftnl on one kept socket that owns it.
 *
 * The table is created once with its base chains and sets, which are permanent. A mode change
 * flushes the chains' rules and adds the new ones; an edge change adds and deletes elements; either
 * is one transaction. See the head of nft_table.c for the layout.
 */
#ifndef NANOSEG_NETLINK_NFT_H
#define NANOSEG_NETLINK_NFT_H

#include "netlink/rtnl.h"
#include "rules/ruleset.h"

#include <stdbool.h>

#define NFT_TABLE_NAME_MAX 32

struct nft_table;

/*
 * A handle on table `name` ("nanoseg_" and the instance id) through sock, an NETLINK_NETFILTER
 * socket of that namespace which it does not own. Sends nothing yet. `group` is the NFLOG group of
 * reports.
 */
int nft_table_new(int sock, const char *name, uint16_t group, struct nft_table **ret);
void nft_table_free(struct nft_table *t);

/*
 * Makes the table hold exactly r: the smallest change if the last applied state is known, else
 * everything (an orphan of ours is adopted). At no moment does it let through what the old rules
 * and r both deny, or drop what both allow; see nft_change.c.
 * Owner flags are used where the kernel has them; *ret_owned says. NULL r: the observe table.
 * 0 or the kernel's negative errno, the old rules then stand, or something between. -EINVAL: r is
 * no valid ruleset; -ENOTEMPTY: its ranges overlap (see ruleset_disjoin()).
 *
 * To repair a table that was changed by hand: free the handle and apply through a new one.
 */
int nft_table_apply(struct nft_table *t, const struct ruleset *r, bool *ret_owned);

/*
 * Reads the table back, and if it is not as it was left makes it so again, in one transaction, and
 * reads it once more: -EBUSY if that was of no use either. *ret_owned is set if it was changed.
 */
int nft_table_repair(struct nft_table *t, bool *ret_owned, bool *ret_changed);
/* As on a kernel whose tables have no owner. Before the first apply. */
void nft_table_forgo_owner(struct nft_table *t);
/* Has an apply or a repair since this was last asked, or may it have, refused what passed before?
 */
bool nft_table_take_narrowed(struct nft_table *t);
/* Had the last apply nothing to send? */
bool nft_table_unchanged(const struct nft_table *t);

/* What the kernel has now, canonical: digest over chains, rules and elements (counters left out).
 */
struct nft_state {
	uint8_t digest[RULESET_DIGEST_LEN];
	bool present;
	uint32_t n_rules, n_elems;
	uint64_t dropped; /* packets refused since the table was made; rebuilds keep it */
};
int nft_table_read(struct nft_table *t, struct nft_state *ret);
/*
 * The netlink port of the socket that owns the table, if that is another than ours; 0: nobody else
 * does, or there is no table. As a rule it is the number of that process, in its own pid namespace.
 */
int nft_table_holder(const struct nft_table *t, uint32_t *ret_port);
/* Packets refused at input so far; costs one small dump. */
int nft_table_refused(struct nft_table *t, uint64_t *ret);
/* The digest nft_table_read() must give after the last apply. */
int nft_table_expected(const struct nft_table *t, uint8_t ret[static RULESET_DIGEST_LEN]);
/* Deletes the table; established connections go on. -ENOENT is success. */
int nft_table_delete(struct nft_table *t);

/*
 * A guard: a table of the netdev family on one device, the host's side of a namespace's veth. It
 * holds what that namespace sends to its own hardware and IP addresses and, where egress is
 * enforced, to what the ruleset lets it send; see the head of nft_guard.c. Otherwise a table like
 * any other; no mode is MODE_OBSERVE in both directions.
 */
#define NFT_DEVICE_NAME_MAX 16
#define NFT_MAC_LEN 6
struct nft_pin {
	uint8_t mac[NFT_MAC_LEN];
	const struct rtnl_addr *addrs; /* with the networks on whose link they are */
	size_t n_addrs;
};
/* sock is one of the host's namespace. The device is known by its name: delete the guard with it.
 */
int nft_guard_new(int sock, const char *name, const char *device, struct nft_table **ret);
int nft_guard_apply(
    struct nft_table *t, const struct ruleset *r, const struct nft_pin *pin, bool *ret_owned);

/*
 * Deletes every table of the socket's namespace whose name starts with `prefix`, adopting orphans
 * first. The number deleted, or a negative errno (-EPERM: a living owner holds one).
 */
int nft_cleanup(int sock, const char *prefix);
/* The number of such tables. */
int nft_count_tables(int sock, const char *prefix);
/* Calls fn with the name of each. */
int nft_each_table(
    int sock, const char *prefix, void (*fn)(void *arg, const char *name), void *arg);

/* What this kernel can do, found by trying in a namespace of one's own (needs CAP_SYS_ADMIN). */
#define NFT_CAN_TABLE 0x01
#define NFT_CAN_OWNER 0x02
#define NFT_CAN_PERSIST 0x04
#define NFT_CAN_CT_EVENT 0x08
#define NFT_CAN_CONCAT_RANGES 0x10
#define NFT_CAN_LOG 0x20
#define NFT_CAN_REJECT 0x40
#define NFT_CAN_INGRESS 0x80
int nft_probe(uint32_t *ret_features);
/* The set of the table that an element is in: "allow_in4", "deny_out6_range". Returns buf. */
#define NFT_SET_NAME_LEN 24
const char *nft_set_name(
    bool egress, bool allow, bool range, bool v6, char buf[static NFT_SET_NAME_LEN]);

const char *nft_feature_name(uint32_t single_feature);

#endif
