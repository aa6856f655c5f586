/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The controller's side of its channels: what the loop calls, with the controller as arg. */
#ifndef NANOSEG_DAEMON_DISPATCH_H
#define NANOSEG_DAEMON_DISPATCH_H

#include "daemon/role.h"

void dispatch_msg(void *arg, enum role peer, struct msg *m);
void dispatch_peer(void *arg, enum role peer, struct chan *ch);
void dispatch_peer_gone(void *arg, enum role peer);
/* The API's socket is there. */
void dispatch_listener(void *arg, int fd);

#endif
