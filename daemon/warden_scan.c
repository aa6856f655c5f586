/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces and their processes.
 *
 * Whose a namespace is, is said by warden_claim.c.
 *
 * A process is found by walking /proc: one readlink a process. Walks serve all namespaces that wait
 * for one, and are spaced by ten times what the last one took of the processor, so that churn
 * cannot make them a load, and the load of others does not delay them.
 *
 * A namespace ends when it has no file and two walks in a row met no process: one walk can miss a
 * process that forks and exits behind the reader's back.
 */
#include "daemon/log.h"
#include "daemon/warden_scan_priv.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/inotify.h>

#define RESCAN_S 10

/* Without a process there is none to come after the first of them. */
static const uint16_t process_steps_ms[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000 };
#define STEPS_WITHOUT 7

void
say_full(struct scan *s, const char *what)
{
	if (!s->full_said)
		log_error("more than %d %s: the others are not observed", SCAN_MAX_NETNS, what);
	s->full_said = true;
}

/* Namespaces */

struct ns *
scan_find(struct scan *s, uint64_t cookie)
{
	struct ns *n = s->by_cookie[bucket(cookie)];

	while (n != NULL && n->info.cookie != cookie)
		n = n->next_cookie;
	return n;
}

static struct ns *
find_ino(struct scan *s, uint64_t ino)
{
	struct ns *n = s->by_ino[bucket(ino)];

	while (n != NULL && n->info.ino != ino)
		n = n->next_ino;
	return n;
}

void
scan_each(struct scan *s, void (*fn)(void *arg, struct ns *n), void *arg)
{
	for (unsigned b = 0; b < BUCKETS; b++)
		for (struct ns *n = s->by_cookie[b]; n != NULL; n = n->next_cookie)
			fn(arg, n);
}

static void
ns_end(struct scan *s, struct ns *n)
{
	struct ns **p = &s->by_cookie[bucket(n->info.cookie)];

	while (*p != n)
		p = &(*p)->next_cookie;
	*p = n->next_cookie;
	p = &s->by_ino[bucket(n->info.ino)];
	while (*p != n)
		p = &(*p)->next_ino;
	*p = n->next_ino;
	claim_forget(s, n);
	if (n->n_files > 0)
		files_forget(s, n->info.cookie);
	s->n_ns--;
	s->ops->gone(s->arg, n);
	free(n);
}

struct ns *
ns_get(struct scan *s, const struct netns_id *id, uint32_t flags)
{
	struct ns *n = find_ino(s, id->ino);

	if (n != NULL && n->info.cookie == id->cookie)
		return n;
	if (n != NULL)
		ns_end(s, n);
	/* Any user can make namespaces: they leave half of the room to those that have a file. */
	if (s->n_ns >= SCAN_MAX_NETNS / (flags & NETNS_F_PROC ? 2 : 1)) {
		say_full(s, "namespaces");
		return NULL;
	}
	n = calloc(1, sizeof(*n));
	if (n == NULL)
		return NULL;
	n->info.cookie = id->cookie;
	n->info.dev = id->dev;
	n->info.ino = id->ino;
	n->info.flags = flags;
	n->info.seen_ns = now_ns();
	n->due_ns = n->info.seen_ns;
	n->next_cookie = s->by_cookie[bucket(id->cookie)];
	s->by_cookie[bucket(id->cookie)] = n;
	n->next_ino = s->by_ino[bucket(id->ino)];
	s->by_ino[bucket(id->ino)] = n;
	s->n_ns++;
	return n;
}

void
ns_kick(struct ns *n)
{
	n->stage = 0;
	n->due_ns = now_ns();
}

/* Processes */

static struct ns *
ns_of_pid(struct scan *s, pid_t pid, uint32_t flags)
{
	_cleanup_close_ int fd = netns_open_pid(pid);
	struct netns_id id;

	if (fd < 0 || netns_identify(fd, &id) < 0)
		return NULL;
	return ns_get(s, &id, flags);
}

static int
on_process(void *arg, int procfd, pid_t pid, uint64_t ino)
{
	struct l0_claim claim = { .place = 0 };
	struct scan *s = arg;
	struct ns *n;

	if (ino == s->host_ino)
		return 0;
	n = find_ino(s, ino);
	if (n == NULL && l0_pid_claim(procfd, pid, &claim) == 0 && claim_is_crowded(s, &claim))
		return 0;
	/*
	 * Inodes are reused at once. While we are attached our sockets keep it from happening; a
	 * process not known from there is otherwise asked for the cookie.
	 */
	if (n == NULL ||
	    (n->att == NULL && n->n_files == 0 && n->info.pid != pid && n->walk != s->walk))
		n = ns_of_pid(s, pid, NETNS_F_PROC);
	if (n == NULL || (n->info.flags & NETNS_F_HOST))
		return 0;
	claim_found(s, n, &claim);
	if (n->walk != s->walk) {
		n->walk = s->walk;
		n->walk_pid = pid;
		n->id_reads = 0;
		n->next_pid = 0;
		claim_begin_facts(n);
	}
	claim_read_facts(n, procfd, pid);
	if (pid == n->info.pid)
		n->pid_walk = s->walk;
	claim_read(s, n, procfd, pid, false);
	if (pid == n->id_pid)
		n->id_walk = s->walk;
	return 0;
}

/* After a walk: what it says about one namespace. True if that one has ended. */
static bool
ns_after_walk(struct scan *s, struct ns *n, bool complete)
{
	bool met = n->walk == s->walk;
	int32_t pid = n->info.pid;

	if (n->info.flags & NETNS_F_HOST) {
		if (!n->announced)
			s->ops->changed(s->arg, n);
		return false;
	}
	if (met && n->pid_walk != s->walk)
		pid = n->walk_pid;
	else if (!met && complete)
		pid = 0;
	n->misses = met ? 0 : n->misses + (complete ? 1 : 0);
	if (n->misses >= 2 && n->n_files == 0)
		return true;

	if (met && complete)
		claim_check(s, n);
	if (pid != n->info.pid || n->dirty || !n->announced) {
		n->info.pid = pid;
		n->dirty = false;
		s->ops->changed(s->arg, n);
	}
	if (n->misses > 0 && n->n_files == 0) {
		n->due_ns = now_ns() + NSEC_PER_MSEC;
		return false;
	}
	if (!(met && claim_is_known(n) && !n->id_doubt) && n->due_ns != 0 &&
	    n->stage < (met ? ARRAY_SIZE(process_steps_ms) : STEPS_WITHOUT))
		n->due_ns = now_ns() + process_steps_ms[n->stage++] * NSEC_PER_MSEC;
	else
		n->due_ns = met && !n->id_doubt ? claim_facts_due(n) : 0;
	return false;
}

static void
walk_processes(struct scan *s)
{
	uint64_t start = cpu_ns(), began = now_ns();
	size_t known = s->n_ns;
	bool complete, found;

	s->walk++;
	complete = l0_each_process(on_process, s) == 0;
	found = s->n_ns > known;
	for (unsigned b = 0; b < BUCKETS; b++) {
		struct ns *next;

		for (struct ns *n = s->by_cookie[b]; n != NULL; n = next) {
			next = n->next_cookie;
			if (ns_after_walk(s, n, complete))
				ns_end(s, n);
		}
	}
	s->walk_after_ns = now_ns() + 10 * (cpu_ns() - start);
	look_on_walk(s, began, found);
}

/* Timers */

static uint64_t
earliest_walk(const struct scan *s)
{
	uint64_t when = s->look.due_ns;

	for (unsigned b = 0; b < BUCKETS; b++)
		for (const struct ns *n = s->by_cookie[b]; n != NULL; n = n->next_cookie)
			earliest(&when, n->due_ns);
	return when == 0 ? 0 : MAX(when, s->walk_after_ns);
}

void
scan_work(struct scan *s)
{
	uint64_t when = 0, walk, now = now_ns(), wait;
	struct timeval tv;

	files_try_due(s, now, &when);
	walk = earliest_walk(s);
	if (walk != 0 && walk <= now_ns()) {
		walk_processes(s);
		walk = earliest_walk(s);
	}
	earliest(&when, walk);
	if (when == 0)
		return;
	now = now_ns();
	wait = when > now ? when - now : 0;
	tv.tv_sec = (time_t)(wait / NSEC_PER_SEC);
	tv.tv_usec = (suseconds_t)(wait % NSEC_PER_SEC / 1000);
	evtimer_add(s->tick, &tv);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	scan_work(arg);
}

static void
on_inotify(evutil_socket_t fd, short what, void *arg)
{
	files_on_inotify(arg);
	scan_work(arg);
}

static void
on_mount(evutil_socket_t fd, short what, void *arg)
{
	files_on_mount(arg);
	look_on_mount(arg);
	scan_work(arg);
}

static void
on_rescan(evutil_socket_t fd, short what, void *arg)
{
	struct scan *s = arg;

	for (unsigned i = 0; i < s->n_dirs; i++)
		dir_refresh(s, i);
	walk_processes(s);
	scan_work(s);
}

int
scan_look(struct scan *s, pid_t pid, const char *container_id, struct ns **ret)
{
	_cleanup_close_ int procfd = l0_open_dir("/proc"), fd = netns_open_pid(pid);
	struct netns_id id;
	struct ns *n;
	int r;

	if (!s->done_once)
		return -EAGAIN;
	if (procfd < 0 || fd < 0)
		return MIN(procfd, fd);
	r = netns_identify(fd, &id);
	if (r < 0)
		return r;
	close_fd(&fd);
	n = id.ino == s->host_ino ? find_ino(s, id.ino) : ns_get(s, &id, NETNS_F_PROC);
	if (n == NULL)
		return -ENOMEM;
	*ret = n;
	if (n->info.flags & NETNS_F_HOST)
		return 0;
	/* This one is there for certain. */
	n->info.pid = pid;
	n->id_reads = 0;
	claim_read(s, n, procfd, pid, container_id[0] == '\0');
	if (n->info.container_id[0] == '\0' && container_id[0] != '\0' &&
	    claim_is_own(n, procfd, pid))
		memcpy(n->info.container_id, container_id, sizeof(n->info.container_id));
	n->dirty = false;
	s->ops->changed(s->arg, n);
	scan_work(s);
	return 0;
}

void
scan_poll(struct scan *s)
{
	if (!s->done_once)
		return;
	files_on_inotify(s);
	if (files_mounts_changed(s)) {
		files_on_mount(s);
		look_on_mount(s);
	}
	scan_work(s);
}

void
scan_kick(struct scan *s, struct ns *n)
{
	const struct timeval at_once = { 0, 0 };

	if (n->due_ns != 0)
		return;
	ns_kick(n);
	evtimer_add(s->tick, &at_once);
}

/* Life */

static int
add_host(struct scan *s)
{
	_cleanup_close_ int fd = netns_open_self();
	struct netns_id id;
	struct ns *n;
	int r;

	if (fd < 0)
		return fd;
	r = netns_identify(fd, &id);
	if (r < 0)
		return r;
	n = ns_get(s, &id, NETNS_F_HOST);
	if (n == NULL)
		return -ENOMEM;
	s->host_ino = id.ino;
	s->nsfs_dev = id.dev;
	n->due_ns = 0;
	n->info.pid = getpid();
	s->ops->changed(s->arg, n);
	return 0;
}

int
scan_new(struct event_base *base, const struct scan_ops *ops, void *arg, struct scan **ret)
{
	struct l0_dir dirs[L0_DIRS_MAX];
	struct scan *s;
	int mounts, r;

	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->base = base;
	s->ops = ops;
	s->arg = arg;
	s->n_dirs = l0_dirs(dirs);
	for (size_t i = 0; i < s->n_dirs; i++)
		s->dirs[i] = (struct watched_dir){ dirs[i], -1, -1 };
	s->mounts = s->mounts_epoll = s->look.sock = -1;
	s->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	mounts = files_watch_mounts(s);
	if (s->inotify < 0 || mounts < 0) {
		scan_free(s);
		return mounts < 0 ? mounts : -EMFILE;
	}
	r = look_init(s);
	if (r < 0) {
		scan_free(s);
		return r;
	}
	s->readable = event_new(base, s->inotify, EV_READ | EV_PERSIST, on_inotify, s);
	s->mounted = event_new(base, mounts, EV_READ | EV_PERSIST, on_mount, s);
	s->tick = evtimer_new(base, on_tick, s);
	s->rescan = event_new(base, -1, EV_PERSIST, on_rescan, s);
	if (s->readable == NULL || s->mounted == NULL || s->tick == NULL || s->rescan == NULL) {
		scan_free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

int
scan_start(struct scan *s)
{
	const struct timeval tv = { RESCAN_S, 0 };
	int r;

	r = add_host(s);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < s->n_dirs; i++)
		dir_refresh(s, i);
	walk_processes(s);
	s->done_once = true;
	event_add(s->readable, NULL);
	event_add(s->mounted, NULL);
	look_start(s);
	event_add(s->rescan, &tv);
	scan_work(s);
	return 0;
}

bool
scan_done_once(const struct scan *s)
{
	return s->done_once;
}

void
scan_free(struct scan *s)
{
	if (s == NULL)
		return;
	for (unsigned b = 0; b < BUCKETS; b++) {
		while (s->by_cookie[b] != NULL) {
			struct ns *n = s->by_cookie[b];

			s->by_cookie[b] = n->next_cookie;
			free(n);
		}
	}
	if (s->readable != NULL)
		event_free(s->readable);
	if (s->tick != NULL)
		event_free(s->tick);
	if (s->rescan != NULL)
		event_free(s->rescan);
	if (s->mounted != NULL)
		event_free(s->mounted);
	files_done(s);
	look_done(s);
	close_fd(&s->inotify);
	free(s);
}

static int
open_any(struct scan *s, const struct ns *n)
{
	int fd = -ENOENT;

	if (n->info.flags & NETNS_F_HOST)
		return netns_open_self();
	if (n->n_files > 0)
		fd = files_open(s, n->info.cookie);
	if (fd < 0 && n->info.pid > 0)
		fd = netns_open_pid(n->info.pid);
	return fd;
}

int
scan_open(struct scan *s, const struct ns *n)
{
	_cleanup_close_ int fd = open_any(s, n);
	struct netns_id id;
	int r;

	if (fd < 0)
		return steal_fd(&fd);
	r = netns_identify(fd, &id);
	if (r < 0)
		return r;
	return id.cookie == n->info.cookie ? steal_fd(&fd) : -ESTALE;
}
