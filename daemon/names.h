/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What instances were told of names: see the head of names.c. */
#ifndef NANOSEG_DAEMON_NAMES_H
#define NANOSEG_DAEMON_NAMES_H

#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/roster.h"
#include "rules/compile.h"

/* At the start, once the workloads are known: /etc/resolv.conf and what was kept. */
void names_load(struct controller *c);
/* If there is something new to keep. */
void names_save(struct controller *c);
/* The name servers in a text like resolv.conf(5), but those on loopback. */
void names_read_resolv_conf(struct controller *c, const char *text);
/* MSG_CAP_ANSWER */
void names_on_answer(struct controller *c, struct msg *m);
/* Rules that have what it was told so far are in force. */
void names_on_applied(struct instance *i);
/* A connection of the instance is there. */
void names_on_use(struct instance *i, const struct tuple *t);
void names_on_policy(struct controller *c); /* it speaks of other names */
void names_tick(struct controller *c);	    /* once a second */

/* What the workload was told last that the address is called; NULL: nothing. */
const char *names_find(const struct workload *w, const struct addr *a);
/* The same as a peer; PEER_ID_NONE: none, or it has too many. */
peer_id names_peer(struct workload *w, struct controller *c, const struct addr *a);
/* Was it told that a name of this pattern has the address? */
bool names_match(const struct workload *w, const char *pattern, const struct addr *a);

/* The names that edges speak of, or all there are. 0 or -ENOMEM; what is there goes with
 * names_inventory_done(). */
int names_inventory(const struct controller *c, bool all, struct inventory *inv);
void names_inventory_done(struct inventory *inv);
/* [{workload, name, address, inPolicy, until}] */
json_t *names_to_json(const struct controller *c);

#endif
