/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * L0 discovery: which network namespaces there are, by the files in the netns folders and by the
 * processes. Holds no namespace alive: between calls it has neither an nsfs fd nor a socket.
 */
#ifndef NANOSEG_DAEMON_WARDEN_SCAN_H
#define NANOSEG_DAEMON_WARDEN_SCAN_H

#include "daemon/proto.h"

#define SCAN_MAX_NETNS 16384
#define SCAN_MAX_FILES 16384

struct event_base;
struct scan;
struct attachment; /* the owner's, see warden.h */

struct ns {
	struct w_netns info;	/* what is announced; the key is info.cookie */
	struct attachment *att; /* NULL unless attached */
	bool announced;
	uint32_t considered; /* NETNS_F_*: for what closing has been considered */
	/* warden_begin.c */
	bool begin_considered, beginning;
	uint64_t not_before_ns;

	/* The scan's own. */
	struct ns *next_cookie, *next_ino, *next_place;
	bool dirty;	 /* more is known than was announced */
	uint64_t due_ns; /* 0: nothing planned but the rescans */
	unsigned stage;
	unsigned n_files;
	unsigned misses;   /* walks in a row without a process */
	unsigned walk;	   /* last walk that met a process in it */
	unsigned pid_walk; /* last walk that met info.pid in it */
	unsigned id_reads; /* cgroup files read in this walk */
	unsigned id_walk;  /* last walk that met a process of info.container_id */
	pid_t id_pid;	   /* such a process; 0: the id is not from one */
	bool id_doubt;	   /* id_pid is gone */
	pid_t next_pid;	   /* met in this walk, of another container; 0: none */
	char next_id[65];
	uint64_t next_at;   /* its place */
	pid_t walk_pid;	    /* first process met in this walk */
	uint64_t place;	    /* struct l0_claim, 0: not known */
	unsigned user_walk; /* the walk that met a user's container in it first */
	uid_t owner;
	bool owner_known;
	uint8_t facts_seen;
	bool facts_read;
	int32_t facts_pid;
	unsigned facts_tries;	/* processes still to be looked at for them in this walk */
	unsigned facts_hurries; /* walks made for them, without two that agree */
	uint64_t facts_due_ns;
};

struct scan_ops {
	void (*changed)(void *arg, struct ns *n); /* new, or more is known */
	void (*gone)(void *arg, struct ns *n);	  /* release n->att; n ends after the call */
};

int scan_new(struct event_base *base, const struct scan_ops *ops, void *arg, struct scan **ret);
void scan_free(struct scan *s);
/* The first full scan, then inotify and a rescan every 10 s. */
int scan_start(struct scan *s);
bool scan_done_once(const struct scan *s);
struct ns *scan_find(struct scan *s, uint64_t cookie);
/* fn must not end a namespace. */
void scan_each(struct scan *s, void (*fn)(void *arg, struct ns *n), void *arg);
/* Is it known to be of a container or machine that root made, and not one made inside of those? */
bool scan_is_containers(const struct scan *s, const struct ns *n);
/*
 * Looks at the namespace of one process now. container_id ("" for none) counts only if the
 * process's cgroup names none. -EAGAIN before the first scan.
 */
int scan_look(struct scan *s, pid_t pid, const char *container_id, struct ns **ret);
/*
 * Sees at once what has appeared, in the midst of other work: a new namespace does not wait for it.
 * May end namespaces.
 */
void scan_poll(struct scan *s);
/* Its process has ended, or so it seems: it is looked for soon. */
void scan_kick(struct scan *s, struct ns *n);
/*
 * An fd on the namespace, which is proven to be the one with that cookie; -ESTALE if what stands
 * there now is another one.
 */
int scan_open(struct scan *s, const struct ns *n);

#endif
