/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between whatif.c and whatif_live.c alone: which live connections rules would cut. */
#ifndef NANOSEG_DAEMON_WHATIF_H
#define NANOSEG_DAEMON_WHATIF_H

#include "daemon/controller.h"
#include "rules/match.h"

struct live;

int live_new(struct controller *c, struct live **ret);
void live_free(struct live *l);
/* Asks the sockets of the workload's instances; nothing is changed. */
void live_look(struct live *l, const char *workload, const struct match *rules);
/* [{from, to, proto, port, connections}], the busiest first; or null without l. */
json_t *live_to_json(const struct live *l);

#endif
