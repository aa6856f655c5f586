/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the scan share: warden_scan.c has the namespaces, warden_files.c the files,
 * warden_claim.c says whose a namespace is. */
#ifndef NANOSEG_DAEMON_WARDEN_SCAN_PRIV_H
#define NANOSEG_DAEMON_WARDEN_SCAN_PRIV_H

#include "daemon/l0.h"
#include "daemon/warden_scan.h"
#include "netlink/netns.h"

#include <time.h>

#define BUCKETS 1024u

struct ns_file {
	struct ns_file *next;
	uint64_t cookie; /* 0: not (yet) a namespace */
	uint64_t ino;
	uint64_t due_ns;
	unsigned stage, listing;
	unsigned dir;
	char name[256];
};

struct watched_dir {
	struct l0_dir dir;
	int wd;	       /* of the folder, or -1 */
	int parent_wd; /* of the nearest ancestor that exists, while the folder does not */
};

/* When to look for namespaces without a file; see warden_look.c. */
struct look {
	int sock;
	struct event *numbered;
	uint64_t due_ns; /* 0: not planned */
	bool first;	 /* what is planned is the first walk for its reason */
	unsigned step;
	uint64_t walked_ns; /* the last first one */
	uint64_t mount_ns, pause_ns;
};

struct scan {
	struct event_base *base;
	const struct scan_ops *ops;
	void *arg;

	int inotify;
	int mounts, mounts_epoll; /* see files_watch_mounts() */
	struct event *readable, *mounted, *tick, *rescan;
	struct watched_dir dirs[L0_DIRS_MAX];
	size_t n_dirs;

	struct ns_file *files[BUCKETS];
	struct ns *by_cookie[BUCKETS], *by_ino[BUCKETS], *by_place[BUCKETS];
	size_t n_files, n_ns;
	bool full_said;
	uint64_t crowd_logged_ns;

	uint64_t host_ino, nsfs_dev;
	unsigned walk, listing;
	uint64_t walk_after_ns;	 /* not before */
	uint64_t check_due_ns;	 /* look at every file again; 0: not planned */
	uint64_t check_after_ns; /* not before */
	bool done_once;
	struct look look;
};

static inline uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* What this thread has had of the processor. */
static inline uint64_t
cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline unsigned
bucket(uint64_t key)
{
	return (unsigned)(hash_mix64(key) % BUCKETS);
}

static inline void
earliest(uint64_t *when, uint64_t due)
{
	if (due != 0 && (*when == 0 || due < *when))
		*when = due;
}

/* warden_scan.c */
void say_full(struct scan *s, const char *what);
/* The namespace of an identity just read; a leftover with its reused inode ends first. */
struct ns *ns_get(struct scan *s, const struct netns_id *id, uint32_t flags);
/* Look for processes now, and again at growing intervals. */
void ns_kick(struct ns *n);
/* Does what is due and sets the timer for the next. */
void scan_work(struct scan *s);

/* warden_look.c */
int look_init(struct scan *s);
void look_start(struct scan *s);
void look_done(struct scan *s);
/* The mount table has changed. */
void look_on_mount(struct scan *s);
/* A walk is over. found: a namespace that was not known. */
void look_on_walk(struct scan *s, uint64_t began_ns, bool found);

/* warden_claim.c */
/* Is it known which container, machine or user's container it is? */
bool claim_is_known(const struct ns *n);
/* What one of its processes, met in a walk, says about that; and the end of a complete walk. */
void claim_read(struct scan *s, struct ns *n, int procfd, pid_t pid, bool is_set_up);
void claim_check(struct scan *s, struct ns *n);
/* Is it certainly there for itself, and not only because whoever started it is? */
bool claim_is_own(struct ns *n, int procfd, pid_t pid);
/* Has that container so many namespaces already that another one is not looked at? */
bool claim_is_crowded(struct scan *s, const struct l0_claim *c);
/* A process with that claim is in a namespace not seen before. */
void claim_found(struct scan *s, struct ns *n, const struct l0_claim *c);
void claim_forget(struct scan *s, struct ns *n);
void claim_begin_facts(struct ns *n); /* in each walk, before its first process */
void claim_read_facts(struct ns *n, int procfd, pid_t pid);
/* When they have to be read again to count, or 0. */
uint64_t claim_facts_due(const struct ns *n);

/* warden_files.c */
/* Watches the folder, or while it is missing the nearest ancestor that exists; and lists it. */
void dir_refresh(struct scan *s, unsigned i);
/* An fd that is readable once per change of the mount table, or a negative errno. */
int files_watch_mounts(struct scan *s);
/* Has it; forgets that it has. */
bool files_mounts_changed(struct scan *s);
/* The mount table has changed. */
void files_on_mount(struct scan *s);
/* Handles what inotify has to say. */
void files_on_inotify(struct scan *s);
/* Tries the files that are due, and lowers *when to the earliest time at which another one is. */
void files_try_due(struct scan *s, uint64_t now, uint64_t *when);
/* No file stands for that namespace any more. */
void files_forget(struct scan *s, uint64_t cookie);
/* An fd on the namespace by one of its files, or a negative errno. */
int files_open(struct scan *s, uint64_t cookie);
void files_done(struct scan *s);

#endif
