/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guard at an instance's link, outside its namespace: hostguard.c. */
#ifndef NANOSEG_DAEMON_HOSTGUARD_H
#define NANOSEG_DAEMON_HOSTGUARD_H

#include <jansson.h>
#include <stdbool.h>

struct controller;
struct instance;
struct w_guarded;

/* Tells the warden what has changed. True if the rules have to be loaded again for it. */
bool hostguard_update(struct instance *i);
void hostguard_on_guarded(struct controller *c, const struct w_guarded *g);
/* A plain namespace whose egress is enforced: whoever root puts into it may have CAP_NET_RAW. */
bool hostguard_is_promised(const struct instance *i);
/* Does it hold a container with CAP_NET_RAW? *ret_why is a static sentence either way. */
bool hostguard_holds(const struct instance *i, const char **ret_why);
/* It admits nothing, in place of rules that cannot be loaded. */
bool hostguard_closes(const struct instance *i);
/* It holds all that is sent, with every direction enforced. */
bool hostguard_in_force(const struct instance *i);
/* By what is known of its capabilities. */
bool hostguard_is_wanted(const struct instance *i);
/* At every link that can have one, when the warden looked last. */
bool hostguard_is_in_place(const struct instance *i);
json_t *hostguard_to_json(const struct instance *i);

#endif
