/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table of our name with another owner. It comes about where all of our sockets were closed for a
 * moment (keeper and warden killed at once) and somebody with CAP_NET_ADMIN in that namespace
 * adopted the orphan; where one was planted before we came; and where the kernel gives ours no
 * owner, so that it was deleted and made anew by another.
 *
 * The kernel then refuses us every change of it, and what it holds may change at any time. So the
 * controller is told, and where its rules enforce, the host guard admits nothing but what a link
 * needs until the table is free. The end of a socket is not told by the kernel: it is looked for.
 */
#include "daemon/log.h"
#include "daemon/warden.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const struct timeval look_every = { 1, 0 };

bool
foreign_look(struct warden *w, struct ns *n)
{
	struct w_foreign told = { .cookie = n->info.cookie };
	struct attachment *a = n->att;
	int r;

	if (a == NULL || a->host)
		return false;
	r = nft_table_holder(a->table, &told.holder);
	if (r < 0) {
		log_debug("netns %" PRIu64 ": whose its table is cannot be read: %s", told.cookie,
		    strerror(-r));
		return a->holder != 0;
	}
	if (told.holder != a->holder)
		role_send(&w->loop, ROLE_CONTROLLER, MSG_W_FOREIGN, 0, &told, sizeof(told));
	a->holder = told.holder;
	if (a->holder != 0)
		evtimer_add(w->foreign_timer, &look_every);
	return a->holder != 0;
}

bool
foreign_stops(struct warden *w, struct ns *n, struct ruleset **rs)
{
	struct ruleset *r = *rs;

	if (!foreign_look(w, n))
		return false;
	if (r->in_mode == MODE_ENFORCE || r->out_mode == MODE_ENFORCE) {
		r->in_mode = r->out_mode = MODE_ENFORCE;
		r->n_elems = r->n_local = 0;
	}
	guard_apply(w, n, r);
	guard_keep(n, rs);
	return true;
}

static void
look_again(void *arg, struct ns *n)
{
	if (n->att != NULL && n->att->holder != 0)
		foreign_look(arg, n);
}

static void
on_time(evutil_socket_t fd, short what, void *arg)
{
	struct warden *w = arg;

	scan_each(w->scan, look_again, w);
}

int
foreign_init(struct warden *w)
{
	w->foreign_timer = evtimer_new(w->loop.base, on_time, w);
	return w->foreign_timer != NULL ? 0 : -ENOMEM;
}

void
foreign_done(struct warden *w)
{
	if (w->foreign_timer != NULL)
		event_free(w->foreign_timer);
}
