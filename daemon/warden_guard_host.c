/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all host guards share in the host's own namespace: the socket that owns them, those that
 * read links and are told of their changes, and tables that an earlier life has left.
 */
#include "daemon/log.h"
#include "daemon/warden_guard_priv.h"
#include "netlink/netns.h"

#include <inttypes.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void
guard_table_name(const struct warden *w, uint32_t ifindex, char ret[static NFT_TABLE_NAME_MAX])
{
	snprintf(ret, NFT_TABLE_NAME_MAX, "%.21s_%" PRIx32, w->table, ifindex);
}

bool
guard_table_is(const struct warden *w, const char *name, uint32_t *ret_ifindex)
{
	size_t prefix = strlen(w->table) + 1;
	char again[NFT_TABLE_NAME_MAX];
	uint32_t ifindex;

	if (strlen(name) <= prefix)
		return false;
	ifindex = (uint32_t)strtoul(name + prefix, NULL, 16);
	guard_table_name(w, ifindex, again);
	if (strcmp(name, again) != 0)
		return false;
	*ret_ifindex = ifindex;
	return true;
}

static void
table_prefix(const struct warden *w, char ret[static NFT_TABLE_NAME_MAX])
{
	snprintf(ret, NFT_TABLE_NAME_MAX, "%.21s_", w->table);
}

static int
open_owner(struct warden *w)
{
	_cleanup_close_ int self = -1, sock = -1;
	struct netns_id id;
	struct kept *k;
	int r;

	if (w->guard_sock >= 0)
		return 0;
	self = netns_open_self();
	r = self < 0 ? self : netns_identify(self, &id);
	if (r < 0)
		return r;
	k = keep_take(w, id.cookie);
	if (k != NULL) {
		w->guard_sock = steal_fd(&k->owner);
		keep_free(k);
	}
	if (w->guard_sock >= 0)
		return 0;
	sock = netns_socket(self, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	if (sock < 0)
		return sock;
	r = keep_put(w, id.cookie, KEEP_OWNER, 0, sock);
	if (r < 0)
		log_warn("no keeper holds the socket of the host guards: %s", strerror(-r));
	w->guard_sock = steal_fd(&sock);
	return 0;
}

void
guard_put_again(struct warden *w)
{
	uint64_t cookie;

	if (w->guard_sock >= 0 && netns_socket_cookie(w->guard_sock, &cookie) == 0)
		keep_put(w, cookie, KEEP_OWNER, 0, w->guard_sock);
}

static void
on_links(evutil_socket_t fd, short what, void *arg)
{
	guards_look_at_links(arg);
}

/* The first of a burst at once: a new link may be one of a closed namespace. */
static void
on_link_event(evutil_socket_t fd, short what, void *arg)
{
	struct warden *w = arg;
	uint64_t wait_us;
	struct timeval tv = { 0 };

	if (link_events_read(fd, &w->link_changes) <= 0 || evtimer_pending(w->link_timer, NULL))
		return;
	wait_us = w->links_again_ns - MIN(mono_ns(), w->links_again_ns);
	wait_us /= 1000;
	if (wait_us == 0) {
		guards_look_at_links(w);
		return;
	}
	tv.tv_usec = (suseconds_t)wait_us;
	evtimer_add(w->link_timer, &tv);
}

/* Tables of an earlier life whose device is gone. */
static void
sweep_one(void *arg, const char *name)
{
	struct warden *w = arg;
	struct nft_table *t = NULL;
	uint32_t ifindex;

	if (!guard_table_is(w, name, &ifindex))
		return;
	if (links_find(w->sweep_links, ifindex) != NULL)
		w->guards_left = true;
	else if (nft_guard_new(w->guard_sock, name, "-", &t) == 0)
		nft_table_delete(t);
	nft_table_free(t);
}

int
guards_open_host(struct warden *w)
{
	_cleanup_(links_done) struct links links = { 0 };
	char prefix[NFT_TABLE_NAME_MAX];
	int r;

	if (w->link_event != NULL)
		return 0;
	if (!(w->features & NFT_CAN_INGRESS))
		return -EOPNOTSUPP;
	r = open_owner(w);
	if (r < 0)
		return r;
	if (w->link_sock < 0)
		w->link_sock = link_open();
	if (w->link_sock < 0)
		return w->link_sock;
	if (w->link_events < 0)
		w->link_events = link_open_events();
	if (w->link_events < 0)
		return w->link_events;
	r = links_read(w, -1, &links);
	if (r < 0)
		return r;
	w->sweep_links = &links;
	table_prefix(w, prefix);
	nft_each_table(w->guard_sock, prefix, sweep_one, w);
	w->sweep_links = NULL;
	w->link_event =
	    event_new(w->loop.base, w->link_events, EV_READ | EV_PERSIST, on_link_event, w);
	if (w->link_event == NULL || event_add(w->link_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int
guard_init(struct warden *w)
{
	w->guard_sock = w->link_sock = w->link_events = -1;
	w->link_timer = evtimer_new(w->loop.base, on_links, w);
	return w->link_timer != NULL ? 0 : -ENOMEM;
}

void
guard_done(struct warden *w)
{
	if (w->link_event != NULL)
		event_free(w->link_event);
	if (w->link_timer != NULL)
		event_free(w->link_timer);
	drift_free(w->guard_drift);
	close_fd(&w->guard_sock);
	close_fd(&w->link_sock);
	close_fd(&w->link_events);
}

/* Asked once, and of the tables: who has none follows no links for it. */
bool
guard_has_left(struct warden *w)
{
	_cleanup_close_ int self = -1, sock = -1;
	char prefix[NFT_TABLE_NAME_MAX];

	if (!w->guards_asked && (w->features & NFT_CAN_INGRESS)) {
		self = netns_open_self();
		if (self >= 0)
			sock = netns_socket(self, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
		table_prefix(w, prefix);
		w->guards_asked = sock >= 0;
		w->guards_left |= sock >= 0 && nft_count_tables(sock, prefix) > 0;
	}
	return w->guards_left && guards_open_host(w) == 0;
}
