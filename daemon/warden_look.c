/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to look for namespaces that leave no file.
 *
 * Nothing says that one has been made. But it has no traffic without a link, and the first link
 * between it and the host's namespace makes the kernel number it here (RTM_NEWNSID); and what
 * starts a container mounts something first. Either is a reason for a few walks: the first of
 * them at once, the others for a namespace or process that is made a moment later.
 *
 * Mounts come in floods that are nobody's start, so walks for them that find nothing are spaced by
 * twice as much each time. A number is given once to a namespace and only by whoever may make links
 * in the host's.
 */
#include "daemon/log.h"
#include "daemon/warden_scan_priv.h"
#include "netlink/link.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>

#define FIRST_NS NSEC_PER_MSEC
#define PAUSE_NS (100 * NSEC_PER_MSEC)
#define PAUSE_MAX_NS (2 * NSEC_PER_SEC)

static const uint16_t steps_ms[] = { 20, 100, 400 };

static void
kick(struct look *l, uint64_t pause_ns)
{
	uint64_t now = now_ns(), due = MAX(now + FIRST_NS, l->walked_ns + pause_ns);

	l->due_ns = l->first && l->due_ns != 0 ? MIN(l->due_ns, due) : due;
	l->first = true;
}

void
look_on_mount(struct scan *s)
{
	struct look *l = &s->look;
	uint64_t now = now_ns();

	if (now - l->mount_ns > PAUSE_MAX_NS)
		l->pause_ns = PAUSE_NS;
	l->mount_ns = now;
	kick(l, l->pause_ns);
}

void
look_on_walk(struct scan *s, uint64_t began_ns, bool found)
{
	struct look *l = &s->look;

	if (found)
		l->pause_ns = PAUSE_NS;
	if (l->due_ns == 0 || l->due_ns > began_ns)
		return;
	if (l->first) {
		l->first = false;
		l->step = 0;
		l->walked_ns = began_ns;
		if (!found)
			l->pause_ns = MIN(2 * l->pause_ns, PAUSE_MAX_NS);
	}
	l->due_ns =
	    l->step < ARRAY_SIZE(steps_ms) ? now_ns() + steps_ms[l->step++] * NSEC_PER_MSEC : 0;
}

static void
on_number(evutil_socket_t fd, short what, void *arg)
{
	struct scan *s = arg;
	int r = link_numbers_read(fd);

	if (r < 0) {
		log_error("new links are not heard of any more, a namespace without a file is "
			  "found by its mounts or within 10 s: %s",
		    strerror(-r));
		event_del(s->look.numbered);
		return;
	}
	if (r == 0)
		return;
	kick(&s->look, PAUSE_NS);
	scan_work(s);
}

int
look_init(struct scan *s)
{
	struct look *l = &s->look;

	l->pause_ns = PAUSE_NS;
	l->sock = link_open_numbers();
	if (l->sock < 0)
		return l->sock;
	l->numbered = event_new(s->base, l->sock, EV_READ | EV_PERSIST, on_number, s);
	return l->numbered != NULL ? 0 : -ENOMEM;
}

void
look_start(struct scan *s)
{
	event_add(s->look.numbered, NULL);
}

void
look_done(struct scan *s)
{
	if (s->look.numbered != NULL)
		event_free(s->look.numbered);
	close_fd(&s->look.sock);
}
