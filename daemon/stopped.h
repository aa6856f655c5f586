/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers that exist and do not run, as far as engines told of them: stopped.c. They have no
 * namespace, no address and no rule; all that is asked is whom they would be.
 */
#ifndef NANOSEG_DAEMON_STOPPED_H
#define NANOSEG_DAEMON_STOPPED_H

#include "daemon/proto.h"

#include <stddef.h>

#define STOPPED_MAX 4096

struct controller;

struct stopped {
	struct stopped *next;
	char id[65];
	char *name, *project; /* of the workload that it would be of */
	char *networks;	      /* one a line */
};

/* MSG_D_STOPPED's text. */
void stopped_on_told(struct controller *c, const char *json, size_t len);
void stopped_on_gone(struct controller *c, const struct d_id *d);
/* It runs, or discovery is new and tells again what there is. */
void stopped_forget(struct controller *c, const char *id);
void stopped_clear(struct controller *c);

#endif
