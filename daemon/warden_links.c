/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the warden asks the host about links. Of one, or a few, rather than of all: the host has one
 * for each container, and a dump that a change crosses has to be made again.
 */
#include "daemon/warden_links.h"
#include "daemon/warden.h"

#include <errno.h>
#include <stdlib.h>

void
links_done(struct links *l)
{
	free(l->v);
}

int
links_read(struct warden *w, int32_t nsid, struct links *ret)
{
	int r = -EINTR;

	for (unsigned i = 0; i < 8 && r == -EINTR; i++)
		r = link_dump(w->link_sock, nsid, &ret->v, &ret->n);
	return r;
}

const struct link_info *
links_find(const struct links *l, uint32_t ifindex)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].ifindex == ifindex)
			return &l->v[i];
	return NULL;
}

int
links_ask(struct warden *w, uint32_t ifindex, struct links *l)
{
	int r =
	    links_find(l, ifindex) == NULL ? link_get(w->link_sock, ifindex, &l->v[l->n]) : -EEXIST;

	l->n += r == 0;
	return r == -ENODEV || r == -EEXIST ? 0 : r;
}

int
links_changed(struct warden *w, const struct link_changes *c, struct links *ret)
{
	int r = 0;

	if (c->all)
		return links_read(w, -1, ret);
	ret->v = calloc(c->n + 1, sizeof(*ret->v));
	if (ret->v == NULL)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < c->n; i++)
		r = links_ask(w, c->ifindex[i], ret);
	return r;
}
