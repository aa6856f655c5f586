/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What instance.c and instance_attach.c have of each other. */
#ifndef NANOSEG_DAEMON_INSTANCE_INTERNAL_H
#define NANOSEG_DAEMON_INSTANCE_INTERNAL_H

#include "daemon/instance.h"

/* instance.c */
void instance_set_settling(struct instance *i, bool settling);

/* instance_attach.c: both do nothing where it is so already. */
void instance_attach(struct instance *i);
void instance_detach(struct instance *i);
/* Of a workload that the daemon has nothing to do with. */
void instance_let_go(struct instance *i);

#endif
