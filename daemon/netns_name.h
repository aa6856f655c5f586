/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the name of a namespace's file says about who made it. */
#ifndef NANOSEG_DAEMON_NETNS_NAME_H
#define NANOSEG_DAEMON_NETNS_NAME_H

#include <stdbool.h>

/* A name in an engine's folder that is plumbing, no container: nobody observes or closes it. */
bool netns_name_is_plumbing(const char *basename);
/* A name that engines give to files in /run/netns: a UUID, alone or after "netns-" or "cni-". */
bool netns_name_is_engines(const char *basename);

#endif
