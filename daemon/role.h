/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every role program does first: arguments, privileges, seccomp, the control channel (fd 3),
 * the channels to other roles as the supervisor hands them out.
 */
#ifndef NANOSEG_DAEMON_ROLE_H
#define NANOSEG_DAEMON_ROLE_H

#include "daemon/msg.h"
#include "daemon/priv.h"
#include "daemon/proto.h"

#include <event2/event.h>

/* A role on an event loop (all but supervisor and keeper). */
struct role_loop {
	struct event_base *base;
	struct chan *control;
	struct chan *peers[ROLE_COUNT_]; /* NULL while not connected */
	/* Set by the role before role_loop_run(). */
	void *arg;
	/* A channel was made; one that replaces another is announced after on_peer_gone. */
	void (*on_peer)(void *arg, enum role peer, struct chan *c);
	void (*on_peer_gone)(void *arg, enum role peer);
	void (*on_msg)(void *arg, enum role peer, struct msg *m);
	void (*on_listen)(void *arg, int fd); /* owns fd */
	void (*on_config)(void *arg, struct msg *m);
	void (*on_stop)(void *arg); /* before the loop ends */
	bool unready;		    /* runs, but does not do its work: no READY */
	/* Internal. */
	enum role self;
	uint32_t serials[ROLE_COUNT_];
	struct role_link *links[ROLE_COUNT_];
	struct event *sigterm;
	bool stopped;
	int status;
};

/*
 * Clears *l, takes fd 3. The callbacks that stay NULL are not called. A message that the table of
 * daemon/proto.c does not let the peer send to this role closes the channel before on_msg.
 */
int role_loop_init(struct role_loop *l, enum role self);
/* Says READY, runs until STOP, SIGTERM or the supervisor's death. The exit status. */
int role_loop_run(struct role_loop *l);
/* To a peer; -ENOTCONN while it is away. */
int role_send(
    struct role_loop *l, enum role peer, uint16_t type, uint32_t seq, const void *body, size_t len);

#endif
