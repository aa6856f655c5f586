/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections counted by the kernel (netlink/nft_seen.h): the controller says when, what is done is
 * fixed here. The table is beside the one of the rules and has the same owner, so root inside can
 * neither change nor flush it where there are owners of tables.
 *
 * nf_conntrack_acct is the switch. It is ours as long as the table is there, and off before:
 * loading the rules switches it on by itself, so it is switched off again at once, and the chains
 * are hooked later, when what began in between is settled.
 */
#include "daemon/log.h"
#include "daemon/warden.h"
#include "netlink/ct.h"
#include "netlink/ct_acct.h"
#include "netlink/netns.h"
#include "netlink/nft_seen.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define READ_RCVBUF (1 << 20)

static_assert(AGG_LAST_FDS == NFT_SEEN_SETS + 1, "a socket for each set, and the table's owner");

static int
switch_acct(struct warden *w, struct ns *n, bool on)
{
	_cleanup_close_ int nsfd = scan_open(w->scan, n);

	return nsfd < 0 ? nsfd : ct_acct_set(nsfd, on);
}

/* The table as it is, which has to be there. */
static int
look(struct warden *w, const struct ns *n, struct nft_seen_state *ret)
{
	struct nft_seen_state st;
	int r = nft_seen_look(n->att->owner, w->table, &st);

	if (r < 0)
		return r;
	if (!st.present)
		return -ENOENT;
	*ret = st;
	return 0;
}

static int
open_socket(struct warden *w, struct ns *n, struct w_aggregated *ret, int *ret_fd)
{
	struct attachment *a = n->att;
	struct nft_seen_state st;
	int nsfd, r = nft_seen_look(a->owner, w->table, &st);

	if (r < 0)
		return r;
	/* A new one: on the old one may be what an earlier reader has left. */
	close_fd(&a->seen);
	nsfd = scan_open(w->scan, n);
	a->seen = nsfd < 0 ? nsfd : ct_open_requests(nsfd, READ_RCVBUF);
	close_fd(&nsfd);
	if (a->seen < 0)
		return a->seen;
	r = fcntl(a->seen, F_DUPFD_CLOEXEC, 0);
	if (r < 0)
		return -errno;
	*ret_fd = r;
	ret->flags = (st.present ? AGG_F_PRESENT : 0) | (st.hooked ? AGG_F_HOOKED : 0);
	for (unsigned side = 0; side < NFT_SEEN_SIDES; side++)
		ret->flags |= (st.sides >> side & 1) != 0 ? AGG_F_SIDE(side) : 0;
	return 0;
}

static int
prepare(struct warden *w, struct ns *n)
{
	_cleanup_close_ int nsfd = scan_open(w->scan, n);
	int r = nsfd < 0 ? nsfd : ct_acct_get(nsfd);

	if (r > 0)
		return -EBUSY;
	if (r < 0)
		return r;
	r = nft_seen_prepare(n->att->owner, w->table, n->att->owned);
	if (r < 0)
		return r;
	r = ct_acct_set(nsfd, false);
	if (r < 0)
		nft_seen_delete(n->att->owner, w->table);
	return r;
}

static int
turn_on(struct warden *w, struct ns *n)
{
	struct nft_seen_state st;
	int r = look(w, n, &st);

	if (r == 0 && !st.hooked)
		r = nft_seen_hook(n->att->owner, w->table);
	return r < 0 ? r : switch_acct(w, n, true);
}

static int
turn_off(struct warden *w, struct ns *n)
{
	int r = switch_acct(w, n, false);

	return r < 0 ? r : nft_seen_delete(n->att->owner, w->table);
}

static int
rotate(struct warden *w, struct ns *n, unsigned side)
{
	struct nft_seen_state st;
	int r = look(w, n, &st);

	return r < 0 ? r : nft_seen_rotate(n->att->owner, w->table, side, &st);
}

static int
read_set(struct warden *w, struct ns *n, const struct w_aggregate *req, uint32_t seq,
    struct w_aggregated *ret)
{
	struct nft_seen_state st;
	int r;

	if (n->att->seen < 0)
		return -ENOTCONN;
	if (req->set == 0) {
		r = look(w, n, &st);
		if (r == 0 && !st.hooked)
			r = -ENOENT;
		if (r < 0)
			return r;
		ret->missed = st.missed;
	}
	return nft_seen_request(n->att->seen, w->table, req->side, req->set, seq);
}

int
seen_do(struct warden *w, struct ns *n, const struct w_aggregate *req, uint32_t seq,
    struct w_aggregated *ret, int *ret_fd)
{
	if ((n->info.flags & NETNS_F_HOST) != 0)
		return -EPERM;
	if (n->att == NULL || n->att->owner < 0)
		return -ENOENT;
	if (req->side >= NFT_SEEN_SIDES || req->set >= NFT_SEEN_SETS)
		return -EINVAL;
	switch ((enum agg_verb)req->verb) {
	case AGG_OPEN:
		return open_socket(w, n, ret, ret_fd);
	case AGG_PREPARE:
		return prepare(w, n);
	case AGG_ON:
		return turn_on(w, n);
	case AGG_DRAIN:
		return switch_acct(w, n, false);
	case AGG_OFF:
		return turn_off(w, n);
	case AGG_ROTATE:
		return rotate(w, n, req->side);
	case AGG_DROP:
		return nft_seen_drop(n->att->owner, w->table, req->side);
	case AGG_READ:
		return read_set(w, n, req, seq, ret);
	case AGG_LAST:
	case AGG_VERBS_:
		break;
	}
	return -EINVAL;
}

static int
open_dump(struct warden *w, int nsfd, unsigned side, enum nft_seen_set set)
{
	_cleanup_close_ int fd = ct_open_requests(nsfd, READ_RCVBUF);
	int r = fd < 0 ? fd : nft_seen_request(fd, w->table, side, set, 1);

	return r < 0 ? r : steal_fd(&fd);
}

void
seen_last(struct warden *w, const struct ns *n)
{
	struct w_aggregated body = { .cookie = n->info.cookie, .verb = AGG_LAST };
	struct chan *to = w->loop.peers[ROLE_CONTROLLER];
	_cleanup_close_ int nsfd = -1;
	struct nft_seen_state st;
	int fds[AGG_LAST_FDS];
	unsigned side, set = 0;

	if (to == NULL || n->att == NULL || n->att->seen < 0 || look(w, n, &st) < 0 || !st.hooked)
		return;
	/* Of an exchange that is not over both sides would have to be read. */
	for (side = 0; side < NFT_SEEN_SIDES && st.sides != 1u << side; side++)
		;
	nsfd = side < NFT_SEEN_SIDES ? netns_of_socket(n->att->owner) : -ENOENT;
	if (nsfd < 0)
		return;
	body.flags = AGG_F_SIDE(side);
	body.missed = st.missed;
	while (set < NFT_SEEN_SETS && (fds[set] = open_dump(w, nsfd, side, set)) >= 0)
		set++;
	if (set == NFT_SEEN_SETS) {
		fds[set] = n->att->owner;
		chan_send(to, MSG_W_AGGREGATED, 0, &body, sizeof(body), fds, AGG_LAST_FDS);
	}
	while (set > 0)
		close(fds[--set]);
}

bool
seen_is_there(struct warden *w, const struct ns *n)
{
	struct nft_seen_state st;

	return !n->att->host && look(w, n, &st) == 0;
}

void
seen_end(struct warden *w, struct ns *n)
{
	int r;

	if (!seen_is_there(w, n))
		return;
	r = turn_off(w, n);
	if (r < 0)
		log_warn("netns %" PRIu64 ": the table that counts its connections is left: %s",
		    n->info.cookie, strerror(-r));
}
