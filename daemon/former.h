/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who was where when rules were last made, for as long as not everybody is known again. */
#ifndef NANOSEG_DAEMON_FORMER_H
#define NANOSEG_DAEMON_FORMER_H

#include <stdbool.h>
#include <stddef.h>

struct addr;
struct controller;
struct instance;
struct inventory;

/*
 * Reads the file, at the start of each warden; without one of this boot and version nobody is
 * remembered.
 */
void former_load(struct controller *c);
/* Everybody is known. */
void former_forget(struct controller *c);
/* Are those that live and are not known yet remembered? Not before all that live are announced. */
bool former_stands_in(const struct controller *c);
/* Whose workload it was; NULL: it is known which, or it was nobody's, or has another container. */
const char *former_workload(const struct instance *i);
/* Whose rules may stand in it, which has another container by now; NULL: nobody's. */
const char *former_owner(const struct instance *i);
/* Adds those that are not known yet; there is a place for every workload. 0 or -ENOMEM. */
int former_add(struct controller *c, struct inventory *inv);
/* Before rules are made by it: who is where, known or remembered, if it has changed. */
void former_save(struct controller *c);

#endif
