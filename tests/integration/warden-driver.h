/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two halves of the warden's driver share: warden-driver.c has processes and commands. */
#ifndef NANOSEG_TESTS_WARDEN_DRIVER_H
#define NANOSEG_TESTS_WARDEN_DRIVER_H

#include "daemon/msg.h"

#include <stdbool.h>

/* The sockets that were handed over. */
#define MAX_ATTACHED 64
struct attached {
	uint64_t cookie;
	int fds[4];
};
extern struct attached attached[MAX_ATTACHED];
extern size_t n_attached;
/* All of them for cookie 0. */
void drop_attached(uint64_t cookie);

/* Of events their number alone. */
extern bool count_only;
/* A message to the controller. */
void show(struct msg *m);
/* In a child: an unprivileged process uses what was handed over. */
void use_child(int fds[4], int timeout_ms);
void fail(const char *what);

#endif
