/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a new namespace's first program began, so that how long before that it was closed can be
 * told. No call of the kernel names the moment, so it is looked for: the first process is the
 * runtime's until it becomes the container's, and has the runtime's name until then.
 *
 * What is told is a lower bound, never more than the truth: the last look at which it was still
 * the runtime's, or the start of the process, whichever is later. Only a container that takes a
 * runtime's name at once could make itself look younger, and wait longer for its identity.
 */
#include "daemon/l0.h"
#include "daemon/warden.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_EVERY_NS (4 * NSEC_PER_MSEC)
/* A start may be held back by whatever the engine waits for. */
#define SLOW_AFTER_NS NSEC_PER_SEC
#define LOOK_SLOWLY_NS (50 * NSEC_PER_MSEC)
#define GIVE_UP_NS (30 * NSEC_PER_SEC)

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* False if there is no such process. The start is rounded down to the kernel's clock tick. */
static bool
read_process(pid_t pid, bool *ret_runtime, uint64_t *ret_born_ns)
{
	_cleanup_close_ int fd = -1;
	char path[32], text[1024];
	/* In this order: whatever comes between the two makes it older, not younger. */
	uint64_t mono = clock_ns(CLOCK_MONOTONIC), boot = clock_ns(CLOCK_BOOTTIME), ticks, born;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	if (!l0_parse_stat(text, ret_runtime, &ticks))
		return false;
	born = ticks * (NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK));
	*ret_born_ns = mono - MIN(mono, boot - MIN(born, boot));
	return true;
}

/* One look; true if there is nothing more to see. */
static bool
look(struct warden *w, struct ns *n, uint64_t now)
{
	bool runtime, over = now - n->info.seen_ns >= GIVE_UP_NS;
	uint64_t born;

	if (n->info.pid <= 0)
		return over;
	/* A runtime's process may leave the namespace to its child. */
	if (!read_process(n->info.pid, &runtime, &born)) {
		scan_kick(w->scan, n);
		return over;
	}
	n->not_before_ns = MAX(n->not_before_ns, runtime ? now : born);
	if (runtime && !(n->info.flags & NETNS_F_WAITS)) {
		n->info.flags |= NETNS_F_WAITS;
		warden_announce(w, n);
	}
	return over || !runtime;
}

struct looks {
	struct warden *w;
	uint64_t now, next;
};

static void
look_at_one(void *arg, struct ns *n)
{
	struct looks *l = arg;
	uint64_t pause;

	if (!n->beginning)
		return;
	if (look(l->w, n, l->now)) {
		n->beginning = false;
		n->info.flags &= ~NETNS_F_WAITS;
		n->info.began_ns = n->not_before_ns;
		if (n->info.began_ns != 0)
			warden_announce(l->w, n);
		return;
	}
	pause = l->now - n->info.seen_ns < SLOW_AFTER_NS ? LOOK_EVERY_NS : LOOK_SLOWLY_NS;
	l->next = l->next == 0 ? pause : MIN(l->next, pause);
}

static void
on_time(evutil_socket_t fd, short what, void *arg)
{
	struct looks l = { .w = arg, .now = clock_ns(CLOCK_MONOTONIC) };
	struct timeval tv = { 0, 0 };

	scan_each(l.w->scan, look_at_one, &l);
	if (l.next == 0)
		return;
	tv.tv_usec = (suseconds_t)(l.next / 1000);
	evtimer_add(l.w->begin_timer, &tv);
}

void
begin_consider(struct warden *w, struct ns *n)
{
	const struct timeval at_once = { 0, 0 };
	/* What the first scan finds was there before us. */
	bool existing = !scan_done_once(w->scan), runtime;
	uint64_t born;

	if (existing && n->info.pid > 0 && n->info.born_ns == 0 &&
	    read_process(n->info.pid, &runtime, &born))
		n->info.born_ns = born;
	if (n->begin_considered || (n->info.pid <= 0 && !existing))
		return;
	n->begin_considered = true;
	n->beginning = !existing;
	if (n->beginning)
		evtimer_add(w->begin_timer, &at_once);
}

int
begin_init(struct warden *w)
{
	w->begin_timer = evtimer_new(w->loop.base, on_time, w);
	return w->begin_timer != NULL ? 0 : -ENOMEM;
}

void
begin_done(struct warden *w)
{
	if (w->begin_timer != NULL)
		event_free(w->begin_timer);
}
