/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The start notification of a service manager (sd_notify(3)), without its library: datagrams to the
 * socket that NOTIFY_SOCKET names.
 */
#ifndef NANOSEG_DAEMON_NOTIFY_H
#define NANOSEG_DAEMON_NOTIFY_H

#include "rules/util.h"

/*
 * A socket connected to name: a path, or "@" and an abstract name. -EINVAL for any other kind,
 * -ENAMETOOLONG, or the errno of the socket.
 */
int notify_open(const char *name, int *ret_fd);
/* Assignments, one a line ("READY=1\nSTATUS=..."). Does not wait. 0 or -errno. */
int notify_send(int fd, const char *text);

#endif
