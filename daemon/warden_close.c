/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Closing: once the controller enforces anything, a new container's namespace gets a table that
 * lets nothing but loopback and neighbour discovery pass, at the moment its file is found, or
 * without one a process that says whose it is, and before anybody hears of it. The first rules for
 * it end that; without any, the time does, so that an absent controller does not keep containers
 * off the network for ever (unless it said so).
 *
 * Invariant: whoever finds an attachment with a mark finds a table that holds nothing but the
 * closing. So the mark goes before rules are loaded, and after the warden has opened by itself. It
 * is with the keeper beside the owner's socket: the next warden opens what this one has closed.
 *
 *   bit 31  closed
 *   bit 30  quarantine: the time does not open it
 *   29..20  the time, in 100 ms
 *   19..0   when it was closed, CLOCK_MONOTONIC in 100 ms, modulo 29 hours
 *
 * Only what is new is closed: neither what a start finds, nor what has had rules.
 */
#include "daemon/log.h"
#include "daemon/netns_name.h"
#include "daemon/warden.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define MARK_CLOSED (1u << 31)
#define MARK_QUARANTINE (1u << 30)
#define MARK_STEP_NS (100 * NSEC_PER_MSEC)
#define MARK_TIMEOUT_SHIFT 20
#define MARK_TIMEOUT_MASK 0x3ffu
#define MARK_TIME_MASK 0xfffffu
#define RETRY_NS NSEC_PER_SEC
#define REPORTS_PER_SECOND 10

/* No element and no local address: what does not pass is dropped, and a retry finds it open. */
static const struct ruleset closed_rules = {
	.in_mode = MODE_ENFORCE,
	.out_mode = MODE_ENFORCE,
	.report_per_second = REPORTS_PER_SECOND,
};

static uint64_t
mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint32_t
mark_now(const struct w_posture *p)
{
	uint64_t steps = (p->timeout_ms * NSEC_PER_MSEC + MARK_STEP_NS - 1) / MARK_STEP_NS;

	return MARK_CLOSED | (p->quarantine ? MARK_QUARANTINE : 0) |
	       (uint32_t)steps << MARK_TIMEOUT_SHIFT |
	       (uint32_t)(mono_ns() / MARK_STEP_NS & MARK_TIME_MASK);
}

static uint64_t
mark_timeout_ns(uint32_t mark)
{
	return (mark >> MARK_TIMEOUT_SHIFT & MARK_TIMEOUT_MASK) * MARK_STEP_NS;
}

static uint64_t
mark_closed_ns(uint32_t mark)
{
	uint64_t now = mono_ns(), steps = now / MARK_STEP_NS;
	uint64_t age = (steps - (mark & MARK_TIME_MASK)) & MARK_TIME_MASK;

	return (steps - MIN(age, steps)) * MARK_STEP_NS;
}

static void
set_mark(struct warden *w, struct ns *n, uint32_t mark)
{
	n->att->mark = mark;
	keep_put(w, n->info.cookie, KEEP_OWNER, mark, n->att->owner);
}

/* The time */

struct due {
	struct warden *w;
	uint64_t now, next;
};

/*
 * Until when it has time to be identified: a start that the engine takes long over is none that
 * keeps a program off the network.
 */
static uint64_t
deadline(const struct ns *n, uint64_t now)
{
	uint64_t since = MAX(n->info.closed_ns, n->info.began_ns);

	return (n->info.flags & NETNS_F_WAITS) ? now + MARK_STEP_NS
					       : since + mark_timeout_ns(n->att->mark);
}

static void
open_by_time(struct warden *w, struct ns *n)
{
	uint64_t now = mono_ns();
	int r;

	n->att->due_ns = w->posture.close ? deadline(n, now) : 0;
	if (n->att->due_ns > now)
		return;
	n->att->due_ns = 0;
	if (n->att->mark & MARK_QUARANTINE) {
		log_warn(
		    "netns %" PRIu64 ": not identified in time: it stays closed", n->info.cookie);
		return;
	}
	r = nft_table_apply(n->att->table, NULL, &n->att->owned);
	if (r < 0) {
		n->att->due_ns = mono_ns() + RETRY_NS;
		log_error("netns %" PRIu64 ": cannot be opened, trying again: %s", n->info.cookie,
		    strerror(-r));
		return;
	}
	guard_open(n);
	set_mark(w, n, 0);
	close_opened(n);
	log_warn("netns %" PRIu64 ": not identified in time: it is opened", n->info.cookie);
	warden_announce(w, n);
}

static void
look_at_one(void *arg, struct ns *n)
{
	struct due *d = arg;

	if (n->att == NULL || n->att->due_ns == 0)
		return;
	if (n->att->due_ns <= d->now)
		open_by_time(d->w, n);
	if (n->att->due_ns != 0 && (d->next == 0 || n->att->due_ns < d->next))
		d->next = n->att->due_ns;
}

static void
on_time(evutil_socket_t fd, short what, void *arg)
{
	struct due d = { .w = arg, .now = mono_ns() };
	struct timeval tv;
	uint64_t wait;

	scan_each(d.w->scan, look_at_one, &d);
	if (d.next == 0)
		return;
	wait = d.next - MIN(d.next, mono_ns());
	tv.tv_sec = (time_t)(wait / NSEC_PER_SEC);
	tv.tv_usec = (suseconds_t)(wait % NSEC_PER_SEC / 1000) + 1;
	evtimer_add(d.w->close_timer, &tv);
}

/* Plans the next look; the callback sees when something is due. */
static void
look_soon(struct warden *w)
{
	const struct timeval at_once = { 0, 0 };

	evtimer_add(w->close_timer, &at_once);
}

static void
closed_since(struct warden *w, struct ns *n, uint64_t closed_ns)
{
	n->info.closed_ns = closed_ns;
	n->info.opened_ns = 0;
	n->att->due_ns = closed_ns + mark_timeout_ns(n->att->mark);
	look_soon(w);
	netns_to_capture(w, n);
}

/* Closing */

/*
 * What speaks for a container's namespace and has not been considered: its kinds of files, or
 * without one whose it is.
 */
static uint32_t
reasons(struct warden *w, const struct ns *n)
{
	uint32_t r = n->info.flags & (NETNS_F_ENGINE | NETNS_F_NAMED);

	/* What a start finds is not new, whenever it becomes known whose it is. */
	if ((n->info.flags & NETNS_F_PROC) &&
	    (!scan_done_once(w->scan) || scan_is_containers(w->scan, n)))
		r |= NETNS_F_PROC;
	return r & ~n->considered;
}

static bool
is_new(struct warden *w, const struct ns *n, uint32_t why)
{
	const struct w_posture *p = &w->posture;
	uint32_t wanted = NETNS_F_ENGINE | NETNS_F_PROC;

	if (p->close_named || netns_name_is_engines(n->info.basename))
		wanted |= NETNS_F_NAMED;
	if (!p->close || !(why & wanted) || !scan_done_once(w->scan) ||
	    (n->info.flags & NETNS_F_HOST))
		return false;
	if ((n->info.flags & NETNS_F_ENGINE) && netns_name_is_plumbing(n->info.basename))
		return false;
	/* It has been running open for as long as closing may last. */
	if (why == NETNS_F_PROC && mono_ns() - n->info.seen_ns > p->timeout_ms * NSEC_PER_MSEC)
		return false;
	/* The table of an earlier life stands. */
	if (keep_find(w, n->info.cookie) != NULL)
		return false;
	return n->att == NULL || !n->att->ruled;
}

/* A walk has met its process before the file was there, and it is attached already. */
static int
close_attached(struct warden *w, struct ns *n, uint32_t mark)
{
	int r = nft_table_apply(n->att->table, &closed_rules, &n->att->owned);

	if (r < 0)
		return r;
	set_mark(w, n, mark);
	n->att->ruled = true;
	return 0;
}

void
close_consider(struct warden *w, struct ns *n)
{
	uint32_t why = reasons(w, n);
	uint32_t mark;
	int r;

	n->considered |= why;
	if (!is_new(w, n, why))
		return;
	mark = mark_now(&w->posture);
	r = n->att == NULL ? netns_close(w, n, &closed_rules, mark) : close_attached(w, n, mark);
	if (r < 0) {
		log_error("netns %" PRIu64 ": it could not be closed, it is open until its rules "
			  "are loaded: %s",
		    n->info.cookie, strerror(-r));
		return;
	}
	if (w->posture.guard)
		guard_close(w, n, &closed_rules);
	closed_since(w, n, mono_ns());
}

static void
resume_one(void *arg, struct ns *n)
{
	struct warden *w = arg;
	const struct kept *k = keep_find(w, n->info.cookie);
	uint32_t mark = k != NULL ? k->mark : 0;
	int r;

	if (n->att != NULL || k == NULL || k->owner < 0 || !(mark & MARK_CLOSED))
		return;
	r = netns_close(w, n, &closed_rules, mark);
	if (r < 0) {
		log_error("netns %" PRIu64 ": stays closed until its rules are loaded: %s",
		    n->info.cookie, strerror(-r));
		return;
	}
	if (guard_has_left(w))
		guard_close(w, n, &closed_rules);
	closed_since(w, n, mark_closed_ns(mark));
	warden_announce(w, n);
}

void
close_resume(struct warden *w)
{
	scan_each(w->scan, resume_one, w);
}

void
close_end(struct warden *w, struct ns *n)
{
	n->att->due_ns = 0;
	if (n->att->mark != 0)
		set_mark(w, n, 0);
}

bool
close_opened(struct ns *n)
{
	if (n->info.closed_ns == 0 || n->info.opened_ns != 0)
		return false;
	n->info.opened_ns = mono_ns();
	return true;
}

/* Posture */

bool
close_is_posture(const struct w_posture *p)
{
	return p->close <= 1 && p->close_named <= 1 && p->quarantine <= 1 && p->guard <= 1 &&
	       p->timeout_ms > 0 && p->timeout_ms <= POSTURE_TIMEOUT_MAX_MS;
}

static void
open_now(void *arg, struct ns *n)
{
	if (n->att == NULL || n->att->mark == 0)
		return;
	n->att->mark &= ~MARK_QUARANTINE;
	n->att->due_ns = mono_ns();
}

void
close_set_posture(struct warden *w, const struct w_posture *p)
{
	if (p->close != w->posture.close)
		log_info("new namespaces are %s",
		    p->close ? "closed until their rules are loaded" : "no longer closed");
	w->posture = *p;
	if (p->close)
		return;
	/* Nothing is enforced: nothing is closed either. */
	scan_each(w->scan, open_now, w);
	look_soon(w);
}

int
close_init(struct warden *w)
{
	w->close_timer = evtimer_new(w->loop.base, on_time, w);
	return w->close_timer != NULL ? 0 : -ENOMEM;
}

void
close_done(struct warden *w)
{
	if (w->close_timer != NULL)
		event_free(w->close_timer);
}
