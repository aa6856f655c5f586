/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables without an owner: any process with CAP_NET_ADMIN in their namespace can change them, so
 * they are watched, read back at once, and made again as they were. Tables of others are not our
 * concern, and a change that was none is not told. So are the host guards: those that the kernel
 * names, or all of them where it has lost count, some at a time, so that requests do not wait for
 * the last one.
 *
 * Whoever changes a table all the time gets a fifth of our time, not all: after SPEND_US of a
 * second the next look waits for its end. Until then his change stands, and is found. A walk over
 * the guards is no part of that: there is one at a time, and it has an end.
 */
#include "daemon/log.h"
#include "daemon/warden_guard_priv.h"
#include "netlink/netns.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define WINDOW_US 1000000u
#define SPEND_US 200000u
#define SLICE_US 5000u /* of a walk, in one turn of the event loop; and what is begun is ended */

struct drift {
	struct warden *w;
	struct ns *n; /* NULL: the host guards */
	int sock;
	uint32_t port; /* of the socket that we change the table on */
	struct event *readable, *rest, *walk;
	struct nft_change change, who; /* being read; of a guard, the last one */
	uint64_t window_us, spent_us;  /* since when, CLOCK_MONOTONIC; in it */
};

static void
rest_over(evutil_socket_t fd, short what, void *arg)
{
	struct drift *d = arg;

	event_add(d->readable, NULL);
}

/* On the processor: a machine that is busy with others is not his doing. */
static uint64_t
used_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void
spend(struct drift *d, uint64_t used_before_us)
{
	uint64_t now = warden_now_us();
	struct timeval tv = { 0 };

	if (now - d->window_us >= WINDOW_US) {
		d->window_us = now;
		d->spent_us = 0;
	}
	d->spent_us += used_us() - used_before_us;
	if (d->spent_us < SPEND_US)
		return;
	event_del(d->readable);
	tv.tv_usec = (suseconds_t)(WINDOW_US - MIN(now - d->window_us, (uint64_t)WINDOW_US - 1));
	tv.tv_sec = tv.tv_usec / 1000000;
	tv.tv_usec %= 1000000;
	evtimer_add(d->rest, &tv);
}

static void
tell(struct warden *w, const struct ns *n, struct w_drift *told, const struct nft_change *who)
{
	told->cookie = n->info.cookie;
	told->pid = who->pid;
	memcpy(told->program, who->program, sizeof(told->program) - 1);
	role_send(&w->loop, ROLE_CONTROLLER, MSG_W_DRIFT, 0, told, sizeof(*told));
}

static void
look(struct drift *d, const struct nft_change *who)
{
	struct w_drift told = { 0 };
	struct attachment *a = d->n->att;
	bool changed;

	told.error = nft_table_repair(a->table, &a->owned, &changed);
	if (told.error == 0 && !changed)
		return;
	if (told.error == -EPERM)
		foreign_look(d->w, d->n);
	tell(d->w, d->n, &told, who);
}

void
drift_of_guard(struct warden *w, struct ns *n, int error, const struct nft_change *who)
{
	struct w_drift told = { .error = error, .guard = 1 };

	tell(w, n, &told, who);
}

/* Host guards */

struct suspects {
	struct drift *d;
	enum suspicion level;
	uint32_t ifindex;  /* of the guard that is meant, 0: any */
	uint64_t until_us; /* CLOCK_MONOTONIC */
	bool left;
};

static void
suspect(void *arg, struct ns *n)
{
	const struct suspects *s = arg;
	struct guards *g = n->att != NULL ? n->att->guards : NULL;

	if (g != NULL && (s->ifindex == 0 ? g->list != NULL : guard_of(g, s->ifindex) != NULL))
		g->suspicion = MAX(g->suspicion, s->level);
}

static void
on_named(void *arg, const char *name)
{
	struct drift *d = arg;
	struct suspects s = { .d = d, .level = SUSPECT_NAMED };

	if (guard_table_is(d->w, name, &s.ifindex))
		scan_each(d->w->scan, suspect, &s);
}

static void
look_at_suspect(void *arg, struct ns *n)
{
	struct suspects *s = arg;
	const struct guards *g = n->att != NULL ? n->att->guards : NULL;

	if (g == NULL || g->suspicion != s->level)
		return;
	if (warden_now_us() < s->until_us)
		guard_check(s->d->w, n, &s->d->who);
	else
		s->left = true;
}

/* Those that were named first. */
static void
walk(evutil_socket_t fd, short what, void *arg)
{
	struct drift *d = arg;
	struct suspects s = { .d = d, .until_us = warden_now_us() + SLICE_US };
	const struct timeval next_turn = { 0 };

	for (s.level = SUSPECT_NAMED; s.level > SUSPECT_NONE && !s.left; s.level--)
		scan_each(d->w->scan, look_at_suspect, &s);
	if (s.left)
		evtimer_add(d->walk, &next_turn);
}

static void
look_at_guards(struct drift *d, const struct nft_change *who)
{
	struct suspects s = { .d = d, .level = SUSPECT_ANY };

	d->who = *who;
	if (who->lost)
		scan_each(d->w->scan, suspect, &s);
	if (!evtimer_pending(d->walk, NULL))
		walk(-1, 0, d);
}

static void
watch_readable(evutil_socket_t fd, short what, void *arg)
{
	struct drift *d = arg;
	uint64_t before = used_us();
	int r = nft_watch_read(
	    d->sock, d->w->table, d->port, d->n == NULL ? on_named : NULL, d, &d->change);

	if (r < 0) {
		log_error("netns %" PRIu64 ": %s cannot be watched any more: %s",
		    d->n != NULL ? d->n->info.cookie : 0,
		    d->n != NULL ? "its table" : "host guards", strerror(-r));
		event_del(d->readable);
		return;
	}
	if (r > 0 && d->n != NULL)
		look(d, &d->change);
	else if (r > 0)
		look_at_guards(d, &d->change);
	if (r > 0)
		d->change = (struct nft_change){ 0 };
	spend(d, before);
}

void
drift_free(struct drift *d)
{
	if (d == NULL)
		return;
	if (d->readable != NULL)
		event_free(d->readable);
	if (d->rest != NULL)
		event_free(d->rest);
	if (d->walk != NULL)
		event_free(d->walk);
	close_fd(&d->sock);
	free(d);
}

/* own: the socket that we change them on, in the namespace nsfd. */
static int
drift_new(struct warden *w, struct ns *n, int nsfd, int own, struct drift **ret)
{
	struct sockaddr_nl sa = { 0 };
	socklen_t len = sizeof(sa);
	struct drift *d;

	if (nsfd < 0)
		return nsfd;
	if (getsockname(own, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	*d = (struct drift){ .w = w, .n = n, .port = sa.nl_pid, .sock = nft_watch_open(nsfd) };
	if (d->sock < 0) {
		int r = d->sock;

		drift_free(d);
		return r;
	}
	d->readable = event_new(w->loop.base, d->sock, EV_READ | EV_PERSIST, watch_readable, d);
	d->rest = evtimer_new(w->loop.base, rest_over, d);
	d->walk = evtimer_new(w->loop.base, walk, d);
	if (d->readable == NULL || d->rest == NULL || d->walk == NULL ||
	    event_add(d->readable, NULL) < 0) {
		drift_free(d);
		return -ENOMEM;
	}
	*ret = d;
	return 0;
}

void
drift_watch(struct warden *w, struct ns *n)
{
	_cleanup_close_ int nsfd = -1;
	int r;

	if (n->att == NULL || n->att->host || n->att->owned || n->att->drift != NULL)
		return;
	nsfd = scan_open(w->scan, n);
	r = drift_new(w, n, nsfd, n->att->owner, &n->att->drift);
	if (r < 0)
		log_error("netns %" PRIu64 ": its table is not watched, changes of it are found "
			  "within half a minute: %s",
		    n->info.cookie, strerror(-r));
}

void
drift_watch_guards(struct warden *w)
{
	_cleanup_close_ int self = -1;
	int r;

	if (w->guard_drift != NULL)
		return;
	self = netns_open_self();
	r = drift_new(w, NULL, self, w->guard_sock, &w->guard_drift);
	if (r < 0)
		log_error("host guards are not watched, changes of them are found within half a "
			  "minute: %s",
		    strerror(-r));
}
