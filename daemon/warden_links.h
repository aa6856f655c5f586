/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Links of the host's namespace and of others, as the warden reads them for its guards. */
#ifndef NANOSEG_DAEMON_WARDEN_LINKS_H
#define NANOSEG_DAEMON_WARDEN_LINKS_H

#include "netlink/link.h"

struct warden;

struct links {
	struct link_info *v;
	size_t n;
};

void links_done(struct links *l);
/* All of the namespace with that number, -1: the host's. 0 or a negative errno. */
int links_read(struct warden *w, int32_t nsid, struct links *ret);
/* NULL: it is not among them. */
const struct link_info *links_find(const struct links *l, uint32_t ifindex);
/* Adds one of the host's, unless it is there already or is gone. The list has room for it. */
int links_ask(struct warden *w, uint32_t ifindex, struct links *l);
/* Those of the host's that are told of, as they are now; what is gone is not among them. */
int links_changed(struct warden *w, const struct link_changes *c, struct links *ret);

#endif
