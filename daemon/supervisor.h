/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The supervisor: starts the roles, makes the channels between them, starts a dead role again. It
 * parses nothing but its command line and the fixed messages of the roles; its death changes no
 * verdict.
 */
#ifndef NANOSEG_DAEMON_SUPERVISOR_H
#define NANOSEG_DAEMON_SUPERVISOR_H

#include "daemon/place.h"

struct sup_config {
	const char *config, *state_dir, *socket, *only, *log, *docker_socket, *podman_socket;
	const char *docker_root;
	bool without_owner;   /* as if the kernel had no owners of tables */
	const char *role_dir; /* where the programs of the roles are */
	char instance[16];
	char keeper_path[128]; /* the keeper's socket */
	struct place_ids ids;
	int listen_fd;	    /* the API's */
	int keeper_lock_fd; /* see place_open_keeper_lock() */
	int keeper_log_fd;
	int ready_fd;  /* one byte is written when the daemon is ready; -1: none */
	int notify_fd; /* a service manager's, see notify.h; -1: none */
};

/* Runs until SIGTERM or SIGINT; the exit status. */
int supervisor_run(const struct sup_config *cfg);

/*
 * In a child, between fork and exec: default signals, stdin and stdout on /dev/null, fds from
 * keep_fds on closed, the bounding set cut to what the role's program drops from. Then runs the
 * program of the role with argv (argv[0] is filled). Does not return.
 */
void sup_exec(const struct sup_config *cfg, enum role r, unsigned keep_fds, const char **argv);
/* Gives up what the supervisor itself never needs. 0 or -errno. */
int sup_drop(void);

/*
 * The keeper of this instance (daemon/sup-keeper.c). Hands it end as its channel to the warden (end
 * stays the caller's), starting a keeper if none lives. 0; -EPROTONOSUPPORT: one lives that speaks
 * another version, it stays; -EBUSY: one lives that does not answer; or another errno. Says what it
 * did.
 */
int sup_keeper_hand(const struct sup_config *cfg, int end);
/* Ends the keeper, for --cleanup, and waits for its end. 0 also if none lived. */
int sup_keeper_stop(const struct sup_config *cfg);

#endif
