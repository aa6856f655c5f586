/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the keeper holds for us. A socket from there is believed only after the kernel has said
 * which namespace it belongs to.
 */
#include "daemon/log.h"
#include "daemon/warden.h"
#include "netlink/netns.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static struct kept **
kept_slot(struct warden *w, uint64_t cookie)
{
	struct kept **p = &w->kept;

	while (*p != NULL && (*p)->cookie != cookie)
		p = &(*p)->next;
	return p;
}

void
keep_free(struct kept *k)
{
	if (k == NULL)
		return;
	close_fd(&k->owner);
	close_fd(&k->nflog);
	free(k);
}

struct kept *
keep_take(struct warden *w, uint64_t cookie)
{
	struct kept **p = kept_slot(w, cookie), *k = *p;

	if (k == NULL)
		return NULL;
	*p = k->next;
	w->n_kept--;
	return k;
}

static struct kept *
kept_get(struct warden *w, uint64_t cookie)
{
	struct kept **p = kept_slot(w, cookie);

	if (*p != NULL)
		return *p;
	if (w->n_kept >= WARDEN_MAX_KEPT)
		return NULL;
	*p = calloc(1, sizeof(**p));
	if (*p == NULL)
		return NULL;
	(*p)->cookie = cookie;
	(*p)->owner = (*p)->nflog = -1;
	w->n_kept++;
	return *p;
}

void
keep_back(struct warden *w, uint64_t cookie, int *owner, int *nflog, uint16_t group)
{
	struct kept *k = kept_get(w, cookie);

	if (k == NULL)
		return;
	close_fd(&k->owner);
	close_fd(&k->nflog);
	k->owner = steal_fd(owner);
	k->nflog = steal_fd(nflog);
	k->group = group;
}

const struct kept *
keep_find(struct warden *w, uint64_t cookie)
{
	return *kept_slot(w, cookie);
}

int
keep_put(struct warden *w, uint64_t cookie, uint32_t kind, uint32_t value, int fd)
{
	struct keep_item item = { cookie, kind, value };
	struct chan *c = w->loop.peers[ROLE_KEEPER];

	if (c == NULL)
		return -ENOTCONN;
	return chan_send(c, MSG_KEEP_PUT, 0, &item, sizeof(item), &fd, 1);
}

void
keep_drop(struct warden *w, uint64_t cookie)
{
	static const uint32_t kinds[] = { KEEP_OWNER, KEEP_NFLOG };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct keep_item item = { cookie, kinds[i], 0 };

		role_send(&w->loop, ROLE_KEEPER, MSG_KEEP_DROP, 0, &item, sizeof(item));
	}
}

/* Everything attached, for a keeper that may have started empty. A second PUT replaces. */
static void
put_again(void *arg, struct ns *n)
{
	struct warden *w = arg;

	if (n->att == NULL || n->att->host)
		return;
	keep_put(w, n->info.cookie, KEEP_OWNER, n->att->mark, n->att->owner);
	if (n->att->nflog >= 0)
		keep_put(w, n->info.cookie, KEEP_NFLOG, n->att->group, n->att->nflog);
}

void
keep_on_peer(struct warden *w, struct chan *c)
{
	struct keep_hello hello = { .version = KEEP_VERSION };

	memcpy(hello.instance, w->args.instance, sizeof(hello.instance));
	chan_send(c, MSG_KEEP_HELLO, 0, &hello, sizeof(hello), NULL, 0);
	chan_send(c, MSG_KEEP_LIST, 0, NULL, 0, NULL, 0);
}

static void
on_item(struct warden *w, struct msg *m)
{
	struct keep_item item;
	struct kept *k;
	struct ns *n;
	uint64_t cookie;
	int *slot;

	memcpy(&item, m->body, sizeof(item));
	if (m->n_fds != 1 || (item.kind != KEEP_OWNER && item.kind != KEEP_NFLOG))
		return;
	if (netns_socket_cookie(m->fds[0], &cookie) < 0 || cookie != item.cookie)
		return;
	n = scan_find(w->scan, cookie);
	if (n != NULL && n->att != NULL)
		return;
	k = kept_get(w, cookie);
	if (k == NULL)
		return;
	slot = item.kind == KEEP_OWNER ? &k->owner : &k->nflog;
	close_fd(slot);
	*slot = steal_fd(&m->fds[0]);
	if (item.kind == KEEP_NFLOG)
		k->group = (uint16_t)item.value;
	else
		k->mark = item.value;
}

static void
on_end(struct warden *w)
{
	if (w->n_kept > 0)
		log_info("the keeper holds the sockets of %zu namespaces", w->n_kept);
	scan_each(w->scan, put_again, w);
	guard_put_again(w);
	if (scan_done_once(w->scan))
		keep_drop_unknown(w);
}

void
keep_on_msg(struct warden *w, struct msg *m)
{
	struct keep_hello hello;

	switch (m->h.type) {
	case MSG_KEEP_HELLO:
		memcpy(&hello, m->body, sizeof(hello));
		if (hello.version != KEEP_VERSION)
			log_warn("the keeper speaks version %" PRIu32 ", not %d", hello.version,
			    KEEP_VERSION);
		return;
	case MSG_KEEP_ITEM:
		on_item(w, m);
		return;
	case MSG_KEEP_END:
		on_end(w);
		return;
	case MSG_KEEP_DROP:
		log_warn("the keeper has no room for a socket: a death of the warden would leave "
			 "its table without an owner");
		return;
	default:
		log_warn("the keeper sent message type %u: ignored", m->h.type);
	}
}

void
keep_drop_unknown(struct warden *w)
{
	struct kept **p = &w->kept;

	while (*p != NULL) {
		struct kept *k = *p;

		if (scan_find(w->scan, k->cookie) != NULL) {
			p = &k->next;
			continue;
		}
		*p = k->next;
		w->n_kept--;
		keep_drop(w, k->cookie);
		keep_free(k);
	}
}

void
keep_done(struct warden *w)
{
	while (w->kept != NULL) {
		struct kept *k = w->kept;

		w->kept = k->next;
		keep_free(k);
	}
	w->n_kept = 0;
}
