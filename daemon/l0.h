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
#define L0_NAME_LEN 63
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
int l0_task_netns_ino(int taskfd, uint64_t *ret);
/* /proc/PID: what is read through it is of that one process, or fails. */
int l0_open_task(int procfd, pid_t pid);

/* What a process's cgroup says it is part of: a container with an id, or a machine with a name. */
struct l0_claim {
	char id[L0_CONTAINER_ID_LEN + 1]; /* "" if it is none */
	char machine[L0_NAME_LEN + 1];	  /* of LXC or systemd-nspawn; "" if it is none */
	/*
	 * Of the path down to it, never 0: two processes of the same container have the same, and
	 * who names a cgroup of his own like somebody else's container has another one.
	 */
	uint64_t place;
};

/* From the cgroup file of a process; 0, or -ENOENT if there is none. */
int l0_task_claim(int taskfd, struct l0_claim *ret);
int l0_pid_claim(int procfd, pid_t pid, struct l0_claim *ret);

/* Called per process that has a network namespace; a negative value stops and is returned. */
typedef int (*l0_process_fn)(void *arg, int procfd, pid_t pid, uint64_t ino);
int l0_each_process(l0_process_fn fn, void *arg);

/*
 * From the text of a /proc/PID/cgroup, v1 or v2: the outermost component that an engine makes. A
 * process inside a container can make cgroups below its own and name them as it likes; it cannot
 * change what stands to the left.
 */
bool l0_claim_parse(const char *text, size_t len, struct l0_claim *ret);

/* Does it have the name of a runtime that is about to become a container's first program? */
bool l0_task_is_runtime(int taskfd);
/*
 * Is the process, of a container with that place, in its network namespace only because whoever
 * started the container is? A runtime's first process is put into the cgroup before it leaves its
 * engine's namespace, and with the host's network it stays there. Nobody in a container can have a
 * process from outside it join a namespace that he made, so none of those is hidden by this.
 *
 * 1, 0, or a negative errno if it cannot be told: such a first process is gone in a moment, and so
 * is who started it.
 */
int l0_task_inherits(int procfd, int taskfd, uint64_t place, uint64_t ino);
/* What a process may do that rules in its network namespace cannot hold: TASK_F_*. */
int l0_task_facts(int taskfd, uint8_t *ret);
/* From the text of /proc/PID/status: the capabilities that the process or a child may have. */
bool l0_status_caps(const char *text, size_t len, uint64_t *ret);

/*
 * The name that a user's Podman gave to a container, from the monitor that is the parent of its
 * first process. Like all that a user's processes say it is the user's to choose.
 */
int l0_task_podman_name(int procfd, int taskfd, char ret[static L0_NAME_LEN + 1]);
/* From the arguments of conmon, each with its null byte: the one after "-n". */
bool l0_conmon_name(const char *args, size_t len, char ret[static L0_NAME_LEN + 1]);

/*
 * The container of root's that a process is in if its cgroup is none that an engine is known to
 * make: ctr's and runc's are called as a person likes. Its first process is the nearest ancestor
 * that the host started, in a namespace of processes that is not the host's. 0 with ret->machine
 * set: "ID@NAMESPACE" by containerd's shim, else the last part of a cgroup of its own. What is
 * still its runtime's process may be in a cgroup that it leaves again, unless the start gate asks
 * (is_set_up): hooks come after the cgroups.
 */
int l0_task_stray_claim(int procfd, int taskfd, bool is_set_up, struct l0_claim *ret);
/* From the arguments of containerd's shim: "ID@NAMESPACE", cut with a hash if it is too long. */
bool l0_shim_name(const char *args, size_t len, char ret[static L0_NAME_LEN + 1]);
/* The last part of the first path in the text of a /proc/PID/cgroup that is more than "/". */
bool l0_cgroup_name(const char *text, size_t len, char ret[static L0_NAME_LEN + 1]);

/*
 * The text of a /proc/PID/stat: whether the process has the name of a runtime that is about to
 * become a container's first program, and when it was started, in clock ticks since boot.
 */
bool l0_parse_stat(const char *text, bool *ret_runtime, uint64_t *ret_ticks);

#endif
