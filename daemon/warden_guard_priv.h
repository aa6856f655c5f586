/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the host guards share: warden_guard.c has the guards of each namespace,
 * warden_guard_links.c finds the devices, warden_guard_host.c has the sockets in the host's own.
 */
#ifndef NANOSEG_DAEMON_WARDEN_GUARD_PRIV_H
#define NANOSEG_DAEMON_WARDEN_GUARD_PRIV_H

#include "daemon/warden.h"
#include "daemon/warden_links.h"
#include "netlink/link.h"

#include <time.h>

#define GUARD_OWN_ADDRS 16

struct guard {
	struct guard *next;
	uint32_t ifindex, inner; /* of the host's end, of the other */
	char name[LINK_NAME_MAX];
	uint8_t mac[LINK_MAC_LEN];
	bool changed; /* the interface has another one by now */
	bool in_force;
	bool stale;	/* it was found changed */
	uint32_t flags; /* of the link */
	uint64_t seen_ns, dropped;
	struct rtnl_addr addrs[GUARD_OWN_ADDRS]; /* as first seen */
	size_t n_addrs;
	struct nft_table *table;
};

/* Whether somebody may have changed one of them: warden_drift.c. */
enum suspicion {
	SUSPECT_NONE,
	SUSPECT_ANY, /* some guard, of any namespace */
	SUSPECT_NAMED,
};

struct guards {
	bool want, follow;
	bool closing; /* nobody has asked for it: its namespace is closed */
	struct w_guard_addr addrs[GUARD_MAX_ADDRS]; /* as the controller says */
	size_t n_addrs;
	struct rtnl_addr found[GUARD_MAX_ADDRS]; /* as it was when we looked */
	size_t n_found;
	struct ruleset *rules; /* in force, as far as we know */
	struct guard *list;
	int32_t nsid;
	uint32_t open;
	int error;
	bool told;
	enum suspicion suspicion;
	struct w_guarded last;
};

static inline uint64_t
mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* warden_guard_host.c: the table of the guard at a device. */
void guard_table_name(
    const struct warden *w, uint32_t ifindex, char ret[static NFT_TABLE_NAME_MAX]);
/* The ifindex that it is named by; false: it is no guard of ours. */
bool guard_table_is(const struct warden *w, const char *name, uint32_t *ret_ifindex);
/* Opens what is not open; the first time tables of devices that are gone are deleted. */
int guards_open_host(struct warden *w);

/* warden_guard_links.c */
/* Brings the list and the addresses to what the links are now. */
int guards_discover(struct warden *w, struct ns *n, struct guards *s);
/* The one at that device; NULL: there is none. */
struct guard *guard_of(const struct guards *s, uint32_t ifindex);
/* Ways out that no guard stands at. */
void guards_count_open(struct guards *s, const struct links *inner);
size_t guards_own_addrs(const struct guards *s, struct rtnl_addr ret[static GUARD_MAX_ADDRS]);
/* Links have changed: those of link_changes. */
void guards_look_at_links(struct warden *w);

/* warden_guard.c */
bool guards_observe(const struct ruleset *rs);
/* Has rs in force at every device, as far as it is wanted, and tells. */
void guards_load(struct warden *w, struct ns *n, struct guards *s, const struct ruleset *rs);
/* With its table; ends g. */
void guard_delete(struct guard *g);

#endif
