/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The places of an instance on disk and who it runs as: state folder, lock, instance id, runtime
 * folder, sockets, users. For the supervisor only, while it still has every privilege. Functions
 * return 0 or a negative errno, having said why in a sentence at level error.
 */
#ifndef NANOSEG_DAEMON_PLACE_H
#define NANOSEG_DAEMON_PLACE_H

#include "daemon/proto.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct place_ids {
	uid_t uid[ROLE_COUNT_];
	gid_t gid[ROLE_COUNT_];
	gid_t socket_gid; /* group nanoseg, or 0 */
};

/* Users by name or by fixed number. Runs name services in a child, so that none stays mapped. */
int place_find_ids(struct place_ids *ret);

/* Folders above path (mode 0755) and path itself with mode; an fd on it. */
int place_make_dir(const char *path, mode_t mode, int *ret_fd);
/* The state folder: 0700, owned by uid. */
int place_make_state(const char *path, uid_t uid, gid_t gid, int *ret_fd);
/* The supervisor's lock; -EBUSY if another has it. */
int place_lock(int state_fd, const char *state_dir, int *ret_fd);
/*
 * The file that a living keeper locks, with its pid in it. Each attempt makes an open file of its
 * own from base_fd, by /proc, so that it works after the privilege to enter the state folder is
 * gone. place_lock_keeper(): -EBUSY, nothing logged and *ret_pid set (0: unknown) if a keeper
 * lives.
 */
int place_open_keeper_lock(int state_fd, int *ret_base_fd);
int place_lock_keeper(int base_fd, int *ret_fd, pid_t *ret_pid);
/* Reads the instance id, or makes one if make is set; -ENOENT (not logged) if there is none. */
int place_instance(int state_fd, const char *state_dir, bool make, char ret[static 16]);
/* A log file in the state folder, for appending; a large one is set aside first. */
int place_open_log(int state_fd, const char *name, int *ret_fd);
/*
 * A listening socket of the type, bound with its final owner and mode under a temporary name and
 * moved to path. A socket there that answers is left alone: -EADDRINUSE.
 */
int place_listen(const char *path, int type, gid_t gid, mode_t mode, int *ret_fd);
/* A connected socket, or -errno; nothing logged. */
int place_connect(const char *path, int type, int *ret_fd);
/*
 * Renames the store's files, so that the next start makes an empty one. -ENOENT without one; every
 * outcome is logged.
 */
int place_set_aside_store(int state_fd, const char *state_dir);
/* Writes pid to path. */
int place_write_pid(const char *path, pid_t pid);

#endif
