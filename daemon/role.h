/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every role program does first: arguments, privileges, seccomp, the control channel (fd 3),
 * the channels to other roles as the supervisor hands them out.
 */
#ifndef NANOSEG_DAEMON_ROLE_H
#define NANOSEG_DAEMON_ROLE_H

#include "daemon/msg.h"
#include "daemon/proto.h"

#include <event2/event.h>
#include <sys/types.h>

#define ROLE_CONTROL_FD 3

const char *role_name(enum role r); /* "warden" */

/*
 * Drops to what the role may have (the table in daemon/priv.c): uid, gid, supplementary groups,
 * capabilities in every set, the bounding set, no_new_privs, dumpable off, umask 077. uid and gid
 * are given by the supervisor. Exits the process with a sentence on any failure.
 */
void priv_drop(enum role r, uid_t uid, gid_t gid);
/* The role's seccomp filter (daemon/seccomp.c). A no-op, said in the log, under sanitizers. */
void priv_seccomp(enum role r);

/* Arguments every role takes: --instance HEX8 --uid N --gid N --log LEVEL; the rest is its own. */
struct role_args {
	char instance[16];
	uid_t uid;
	gid_t gid;
};

/* A role on an event loop (all but supervisor and keeper). */
struct role_loop {
	struct event_base *base;
	struct chan *control;
	struct chan *peers[ROLE_COUNT_]; /* NULL while not connected */
	/* Set by the role before role_loop_run(). */
	void *arg;
	void (*on_peer)(void *arg, enum role peer, struct chan *c); /* channel made or replaced */
	void (*on_peer_gone)(void *arg, enum role peer);
	void (*on_msg)(void *arg, enum role peer, struct msg *m);
	void (*on_listen)(void *arg, int fd); /* owns fd */
	void (*on_stop)(void *arg);	      /* before the loop ends */
};

/* Parses the common arguments, removes them from argv; exits with usage on an error. */
void role_parse_args(enum role r, int *argc, char **argv, struct role_args *ret);
int role_loop_init(struct role_loop *l, enum role self);
/* Says READY, runs until STOP, SIGTERM or the supervisor's death. The exit status. */
int role_loop_run(struct role_loop *l);
/* To a peer; -ENOTCONN while it is away. */
int role_send(
    struct role_loop *l, enum role peer, uint16_t type, uint32_t seq, const void *body, size_t len);

#endif
