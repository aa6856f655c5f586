/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces by their files: /run/docker/netns, /run/netns.
 *
 * A file may appear before its nsfs mount, so a new one is tried again at growing intervals and
 * then by the rescans; one that never becomes nsfs costs a stat each time. Folders are opened anew
 * for every look: `ip netns` mounts over its own, and an open folder would be the one below.
 *
 * Docker takes the mount away when a container ends and leaves the file for a minute: no inotify
 * event tells, but the mount table does. Its changes make all files be looked at again, spaced by
 * ten times what the last look took.
 */
#include "daemon/log.h"
#include "daemon/warden_scan_priv.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define DIR_MASK                                                                               \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | \
	    IN_ONLYDIR | IN_DONT_FOLLOW)
#define PARENT_MASK (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

static const uint16_t file_steps_ms[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000 };

static unsigned
file_bucket(unsigned dir, const char *name)
{
	uint64_t h = dir + 1;

	for (; *name != '\0'; name++)
		h = h * 1099511628211ULL + (unsigned char)*name;
	return bucket(h);
}

static struct ns_file **
file_slot(struct scan *s, unsigned dir, const char *name)
{
	struct ns_file **p = &s->files[file_bucket(dir, name)];

	while (*p != NULL && ((*p)->dir != dir || strcmp((*p)->name, name) != 0))
		p = &(*p)->next;
	return p;
}

/* A name that does not fit keeps its start and gets a hash: two of them stay two. */
static void
ns_set_basename(struct ns *n, const char *name)
{
	size_t size = sizeof(n->info.basename), len = strlen(name);

	memset(n->info.basename, 0, size);
	if (len < size)
		memcpy(n->info.basename, name, len);
	else
		snprintf(n->info.basename, size, "%.52s~%08x", name,
		    (unsigned)(hash_mix64(file_bucket(0, name) ^ (uint64_t)len << 32)));
}

static void
file_forget_ns(struct scan *s, struct ns_file *f)
{
	struct ns *n = f->cookie != 0 ? scan_find(s, f->cookie) : NULL;

	f->cookie = 0;
	f->ino = 0;
	if (n == NULL)
		return;
	n->n_files--;
	if (n->n_files == 0)
		ns_kick(n);
}

static void
file_set_ns(struct scan *s, struct ns_file *f, const struct netns_id *id)
{
	struct ns *n = ns_get(s, id, s->dirs[f->dir].dir.flags);

	if (n == NULL)
		return;
	f->cookie = id->cookie;
	f->ino = id->ino;
	f->due_ns = 0;
	n->n_files++;
	n->info.flags &= ~NETNS_F_PROC;
	n->info.flags |= s->dirs[f->dir].dir.flags;
	if (n->info.basename[0] == '\0')
		ns_set_basename(n, f->name);
	s->ops->changed(s->arg, n);
	if (!(n->info.flags & NETNS_F_HOST))
		ns_kick(n);
}

/* Is it a namespace by now, and still the same one? */
static void
file_try(struct scan *s, int dirfd, struct ns_file *f)
{
	_cleanup_close_ int fd = -1;
	struct netns_id id;
	struct stat st;

	if (f->cookie != 0 && fstatat(dirfd, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == f->ino && st.st_dev == s->nsfs_dev)
		return;
	file_forget_ns(s, f);
	fd = netns_open_at(dirfd, f->name);
	if (fd >= 0 && netns_identify(fd, &id) == 0) {
		/* Before anybody hears of it: an open file keeps an unmount from succeeding. */
		close_fd(&fd);
		file_set_ns(s, f, &id);
		return;
	}
	if (f->stage < ARRAY_SIZE(file_steps_ms))
		f->due_ns = now_ns() + file_steps_ms[f->stage++] * NSEC_PER_MSEC;
	else
		f->due_ns = 0;
}

static struct ns_file *
file_add(struct scan *s, unsigned dir, const char *name)
{
	struct ns_file **p = file_slot(s, dir, name), *f = *p;

	if (f != NULL)
		return f;
	if (s->n_files >= SCAN_MAX_FILES) {
		say_full(s, "netns files");
		return NULL;
	}
	if (strlen(name) >= sizeof(f->name))
		return NULL;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return NULL;
	memcpy(f->name, name, strlen(name));
	f->dir = dir;
	*p = f;
	s->n_files++;
	return f;
}

static void
file_remove(struct scan *s, struct ns_file **p)
{
	struct ns_file *f = *p;

	*p = f->next;
	s->n_files--;
	file_forget_ns(s, f);
	free(f);
}

static void
drop_unlisted(struct scan *s, unsigned dir)
{
	for (unsigned b = 0; b < BUCKETS; b++) {
		struct ns_file **p = &s->files[b];

		while (*p != NULL) {
			if ((*p)->dir == dir && (*p)->listing != s->listing)
				file_remove(s, p);
			else
				p = &(*p)->next;
		}
	}
}

static void
close_dir(DIR **d)
{
	if (*d != NULL)
		closedir(*d);
}

/* What the folder holds now; the files it no longer holds are forgotten. */
static void
dir_list(struct scan *s, unsigned i)
{
	_cleanup_(close_dir) DIR *d = NULL;
	struct ns_file *f;
	struct dirent *e;
	int fd;

	s->listing++;
	fd = l0_open_dir(s->dirs[i].dir.path);
	d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL && fd >= 0)
		close(fd);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		f = file_add(s, i, e->d_name);
		if (f == NULL)
			continue;
		f->listing = s->listing;
		file_try(s, dirfd(d), f);
	}
	drop_unlisted(s, i);
}

/* Watches the folder, or while it is missing the nearest ancestor that exists. */
static void
dir_watch(struct scan *s, unsigned i)
{
	struct watched_dir *w = &s->dirs[i];
	char path[64];

	w->wd = inotify_add_watch(s->inotify, w->dir.path, DIR_MASK);
	w->parent_wd = -1;
	if (w->wd >= 0)
		return;
	snprintf(path, sizeof(path), "%s", w->dir.path);
	while (w->parent_wd < 0) {
		char *slash = strrchr(path, '/');

		if (slash == NULL || slash == path)
			return;
		*slash = '\0';
		w->parent_wd = inotify_add_watch(s->inotify, path, PARENT_MASK);
	}
}

void
dir_refresh(struct scan *s, unsigned i)
{
	/* Watch first and list second: nothing falls between. Twice, for a parent just made. */
	for (int pass = 0; pass < 2; pass++) {
		dir_watch(s, i);
		if (s->dirs[i].wd >= 0)
			break;
	}
	dir_list(s, i);
}

void
files_forget(struct scan *s, uint64_t cookie)
{
	for (unsigned b = 0; b < BUCKETS; b++)
		for (struct ns_file *f = s->files[b]; f != NULL; f = f->next)
			if (f->cookie == cookie)
				f->cookie = 0;
}

/* inotify */

static void
on_file_event(struct scan *s, unsigned i, const struct inotify_event *e)
{
	_cleanup_close_ int fd = -1;
	struct ns_file **p, *f;

	if (e->mask & (IN_DELETE | IN_MOVED_FROM)) {
		p = file_slot(s, i, e->name);
		if (*p != NULL)
			file_remove(s, p);
		return;
	}
	if (!(e->mask & (IN_CREATE | IN_MOVED_TO)) || e->name[0] == '.')
		return;
	f = file_add(s, i, e->name);
	if (f == NULL)
		return;
	f->stage = 0;
	fd = l0_open_dir(s->dirs[i].dir.path);
	if (fd >= 0)
		file_try(s, fd, f);
}

static void
on_inotify_event(struct scan *s, const struct inotify_event *e)
{
	const uint32_t lost = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT;

	for (unsigned i = 0; i < s->n_dirs; i++) {
		struct watched_dir *w = &s->dirs[i];

		if ((e->mask & IN_Q_OVERFLOW) || w->parent_wd == e->wd ||
		    (w->wd == e->wd && (e->mask & lost)))
			dir_refresh(s, i);
		else if (w->wd == e->wd && e->len > 0)
			on_file_event(s, i, e);
	}
}

void
files_on_inotify(struct scan *s)
{
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	n = read(s->inotify, buf, sizeof(buf));
	for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
		const struct inotify_event *e = (const void *)(buf + at);

		on_inotify_event(s, e);
		at += (ssize_t)(sizeof(*e) + e->len);
	}
}

/*
 * The mount table reports a change as POLLPRI, which libevent cannot wait for, and is readable all
 * the time, which it can. An epoll set of its own that asks for POLLPRI alone is readable exactly
 * when there was a change.
 */
int
files_watch_mounts(struct scan *s)
{
	struct epoll_event ev = { .events = EPOLLPRI | EPOLLET };

	s->mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (s->mounts < 0)
		return -errno;
	s->mounts_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->mounts_epoll < 0)
		return -errno;
	if (epoll_ctl(s->mounts_epoll, EPOLL_CTL_ADD, s->mounts, &ev) < 0)
		return -errno;
	return s->mounts_epoll;
}

bool
files_mounts_changed(struct scan *s)
{
	struct epoll_event ev;

	return epoll_wait(s->mounts_epoll, &ev, 1, 0) > 0;
}

void
files_on_mount(struct scan *s)
{
	while (files_mounts_changed(s))
		;
	/* They come in groups. */
	if (s->check_due_ns == 0)
		s->check_due_ns = MAX(now_ns() + 2 * NSEC_PER_MSEC, s->check_after_ns);
}

static void
check_all(struct scan *s)
{
	uint64_t start = cpu_ns();

	for (unsigned i = 0; i < s->n_dirs; i++) {
		_cleanup_close_ int fd = l0_open_dir(s->dirs[i].dir.path);

		for (unsigned b = 0; fd >= 0 && b < BUCKETS; b++)
			for (struct ns_file *f = s->files[b]; f != NULL; f = f->next)
				if (f->dir == i)
					file_try(s, fd, f);
	}
	s->check_due_ns = 0;
	s->check_after_ns = now_ns() + 10 * (cpu_ns() - start);
}

void
files_try_due(struct scan *s, uint64_t now, uint64_t *when)
{
	if (s->check_due_ns != 0 && s->check_due_ns <= now)
		check_all(s);
	earliest(when, s->check_due_ns);
	for (unsigned b = 0; b < BUCKETS; b++)
		for (struct ns_file *f = s->files[b]; f != NULL; f = f->next) {
			_cleanup_close_ int fd = -1;

			if (f->due_ns != 0 && f->due_ns <= now) {
				f->due_ns = 0;
				fd = l0_open_dir(s->dirs[f->dir].dir.path);
				if (fd >= 0)
					file_try(s, fd, f);
			}
			earliest(when, f->due_ns);
		}
}

int
files_open(struct scan *s, uint64_t cookie)
{
	for (unsigned b = 0; b < BUCKETS; b++)
		for (struct ns_file *f = s->files[b]; f != NULL; f = f->next) {
			_cleanup_close_ int dirfd = -1;

			if (f->cookie != cookie)
				continue;
			dirfd = l0_open_dir(s->dirs[f->dir].dir.path);
			return dirfd < 0 ? -ENOENT : netns_open_at(dirfd, f->name);
		}
	return -ENOENT;
}

void
files_done(struct scan *s)
{
	for (unsigned b = 0; b < BUCKETS; b++)
		while (s->files[b] != NULL) {
			struct ns_file *f = s->files[b];

			s->files[b] = f->next;
			free(f);
		}
	close_fd(&s->mounts_epoll);
	close_fd(&s->mounts);
}
