/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What /proc and the netns folders say, without any state: the folders to look in, the namespace
 * of a process, the container in a cgroup path. Shared by the warden's scan and its cleanup.
 */
#ifndef NANOSEG_DAEMON_L0_H
#define NANOSEG_DAEMON_L0_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define L0_CONTAINER_ID_LEN 64
#define L0_DIRS_MAX 4

struct l0_dir {
	const char *path;
	uint32_t flags; /* NETNS_F_NAMED or NETNS_F_ENGINE */
};

/* The folders with netns files; those under /var/run only if it is not a link to /run. */
size_t l0_dirs(struct l0_dir ret[static L0_DIRS_MAX]);
/* O_DIRECTORY, no symlink followed in the last component. */
int l0_open_dir(const char *path);

/* Inode of the network namespace of a process, by /proc/PID/ns/net relative to /proc. */
int l0_pid_netns_ino(int procfd, pid_t pid, uint64_t *ret);
/* /proc/PID: what is read through it is of that one process, or fails. */
int l0_open_task(int procfd, pid_t pid);
/* Container id in the cgroup file of a process; 0, or -ENOENT if there is none. */
int l0_task_container(int taskfd, char ret[static L0_CONTAINER_ID_LEN + 1]);
int l0_pid_container(int procfd, pid_t pid, char ret[static L0_CONTAINER_ID_LEN + 1]);

/* Called per process that has a network namespace; a negative value stops and is returned. */
typedef int (*l0_process_fn)(void *arg, int procfd, pid_t pid, uint64_t ino);
int l0_each_process(l0_process_fn fn, void *arg);

/*
 * The container id in the text of a /proc/PID/cgroup, v1 or v2: the outermost component that an
 * engine makes. A process inside a container can make cgroups below its own and name them as it
 * likes; it cannot change what stands to the left.
 */
bool l0_container_id(const char *text, size_t len, char ret[static L0_CONTAINER_ID_LEN + 1]);

/*
 * The text of a /proc/PID/stat: whether the process has the name of a runtime that is about to
 * become a container's first program, and when it was started, in clock ticks since boot.
 */
bool l0_parse_stat(const char *text, bool *ret_runtime, uint64_t *ret_ticks);

#endif
