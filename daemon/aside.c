/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See aside.h. `inside` says whose turn it is, and only the one whose turn it is gives it away: the
 * loop waits while it is true, the thread while it is false, but for what it does apart.
 */
#include "daemon/aside.h"

#include "daemon/log.h"
#include "rules/util.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define TURN_NS (5 * NSEC_PER_MSEC)
#define PAUSE_US 2000

struct aside {
	struct aside *next; /* of those under way */
	aside_fn work, done;
	void *arg;
	struct event *ev;
	int fd; /* told that it is back from what it did apart */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t turn;
	bool inside; /* the thread's turn */
	bool apart, over;
	uint64_t until_ns; /* of this turn */
};

static struct aside *running;		 /* the loop's */
static _Thread_local struct aside *self; /* NULL: this is the loop, or no such thread */

/* The thread's own: on a busy machine a turn is not over before it has begun. */
static uint64_t
clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* The loop's side: the thread has its turn. */
static void
give_turn(struct aside *a)
{
	pthread_mutex_lock(&a->lock);
	a->inside = true;
	pthread_cond_broadcast(&a->turn);
	while (a->inside)
		pthread_cond_wait(&a->turn, &a->lock);
	pthread_mutex_unlock(&a->lock);
}

/* The thread's side. */
static void
give_back(struct aside *a)
{
	pthread_mutex_lock(&a->lock);
	a->inside = false;
	pthread_cond_broadcast(&a->turn);
	pthread_mutex_unlock(&a->lock);
}

static void
await_turn(struct aside *a)
{
	pthread_mutex_lock(&a->lock);
	while (!a->inside)
		pthread_cond_wait(&a->turn, &a->lock);
	pthread_mutex_unlock(&a->lock);
	a->until_ns = clock_ns() + TURN_NS;
}

static void *
thread_main(void *arg)
{
	struct aside *a = arg;

	self = a;
	await_turn(a);
	a->work(a->arg);
	a->over = true;
	give_back(a);
	return NULL;
}

void
aside_pause(void)
{
	if (self == NULL || clock_ns() < self->until_ns)
		return;
	give_back(self);
	await_turn(self);
}

bool
aside_here(void)
{
	return self != NULL;
}

void
aside_wait(const bool *until_false)
{
	while (self != NULL && *until_false) {
		give_back(self);
		await_turn(self);
	}
}

void
aside_apart(aside_fn fn, void *arg)
{
	const uint64_t one = 1;
	struct aside *a = self;
	ssize_t n;

	if (a == NULL) {
		fn(arg);
		return;
	}
	a->apart = true;
	self = NULL; /* whatever is called there has no turn to give */
	give_back(a);
	fn(arg);
	self = a;
	do
		n = write(a->fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	await_turn(a);
	a->apart = false;
}

static void
aside_free(struct aside *a)
{
	if (a->ev != NULL)
		event_free(a->ev);
	if (a->fd >= 0)
		close(a->fd);
	pthread_cond_destroy(&a->turn);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static void
finish(struct aside *a)
{
	struct aside **p = &running;

	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	pthread_join(a->thread, NULL);
}

static void
plan(struct aside *a)
{
	const struct timeval pause = { .tv_usec = PAUSE_US };

	event_add(a->ev, a->apart ? NULL : &pause);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct aside *a = arg;
	uint64_t n;

	if ((what & EV_READ) != 0 && read(fd, &n, sizeof(n)) < 0)
		return;
	give_turn(a);
	if (!a->over) {
		plan(a);
		return;
	}
	finish(a);
	a->done(a->arg);
	aside_free(a);
}

/* No signal is meant for it. */
static int
make_thread(struct aside *a)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&a->thread, NULL, thread_main, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static struct aside *
aside_new(struct event_base *base, aside_fn work, aside_fn done, void *arg)
{
	struct aside *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->work = work;
	a->done = done;
	a->arg = arg;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->turn, NULL);
	a->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	a->ev = a->fd >= 0 ? event_new(base, a->fd, EV_READ, on_turn, a) : NULL;
	if (a->ev == NULL || make_thread(a) < 0) {
		aside_free(a);
		return NULL;
	}
	return a;
}

int
aside_start(struct event_base *base, aside_fn work, aside_fn done, void *arg)
{
	struct aside *a = base != NULL && self == NULL ? aside_new(base, work, done, arg) : NULL;

	if (a == NULL) {
		if (base != NULL && self == NULL)
			log_warn("no thread for long work: everything waits for it");
		work(arg);
		return 1;
	}
	a->next = running;
	running = a;
	give_turn(a);
	if (!a->over) {
		plan(a);
		return 0;
	}
	finish(a);
	aside_free(a);
	return 1;
}

void
aside_finish(void)
{
	while (running != NULL) {
		struct aside *a = running;

		while (!a->over)
			give_turn(a);
		finish(a);
		a->done(a->arg);
		aside_free(a);
	}
}
