/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When the instances' events are read: not one wake-up at a time. All sockets are watched together,
 * by an epoll of their own: the first that has something ends the watch and sets a timer, and when
 * that fires, each that has something is drained. That is 2 ms later for the first after a rest,
 * and 50 ms while they keep coming: a wake-up costs more than what it is for. Many at a time would
 * no longer be in the cache when they are read: then it is every 10 ms. At rest nothing runs.
 * The host's socket (what NAT translated) is drained first, so that its translations are
 * known when the namespaces' events are looked at.
 */
#include "daemon/api.h"
#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/observe.h"

#include <errno.h>
#include <sys/epoll.h>

#define DRAIN_DELAY_US 2000
#define DRAIN_STEADY_US 50000
#define DRAIN_MANY_US 10000
#define MANY 256			/* events at once */
#define STEADY_NS (100 * NSEC_PER_MSEC) /* since the drain before */
#define MAX_READY 512

static void
set_drain(struct controller *c, suseconds_t delay_us)
{
	const struct timeval delay = { .tv_usec = delay_us };

	evtimer_add(c->ev_drain, &delay);
}

/* Some socket has something. */
static void
events_told(evutil_socket_t fd, short what, void *arg)
{
	struct controller *c = arg;
	bool steady = now_mono() - c->events_read_ns < STEADY_NS;

	set_drain(c, steady ? DRAIN_STEADY_US : DRAIN_DELAY_US);
}

static void
drain_cb(evutil_socket_t fd, short what, void *arg)
{
	struct epoll_event ready[MAX_READY];
	struct controller *c = arg;
	int n = epoll_wait(c->told_fd, ready, MAX_READY, 0);
	/* Interrupted, or there are more than that. */
	bool more = n < 0 || n == MAX_READY;

	c->events_read_ns = now_mono();
	c->events_read = 0;
	for (int k = 0; k < n; k++)
		if (ready[k].data.ptr == c->host)
			more |= observe_drain(c->host);
	for (int k = 0; k < n; k++)
		if (ready[k].data.ptr != c->host)
			more |= observe_drain(ready[k].data.ptr);
	if (more)
		set_drain(c, DRAIN_DELAY_US);
	else if (c->events_read >= MANY)
		set_drain(c, DRAIN_MANY_US);
	else
		event_add(c->ev_told, NULL);
	api_wake(c->api);
}

int
observe_new(struct controller *c)
{
	c->told_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->told_fd < 0)
		return -errno;
	c->ev_told = event_new(c->loop.base, c->told_fd, EV_READ, events_told, c);
	c->ev_drain = evtimer_new(c->loop.base, drain_cb, c);
	if (c->ev_told == NULL || c->ev_drain == NULL || event_add(c->ev_told, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int
observe_watch(struct instance *i)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = i };

	if (epoll_ctl(i->ctl->told_fd, EPOLL_CTL_ADD, i->ct_fd, &e) < 0)
		return -errno;
	i->is_watched = true;
	return 0;
}

/* Not left to the closing of the socket: somebody may have another descriptor of it. */
void
observe_unwatch(struct instance *i)
{
	if (i->is_watched)
		epoll_ctl(i->ctl->told_fd, EPOLL_CTL_DEL, i->ct_fd, NULL);
	i->is_watched = false;
}
