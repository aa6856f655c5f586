/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration's groups as numbers. At the start the system is asked; later the controller is
 * confined, and what is not in /etc/group is what it was known as before.
 */
#ifndef NANOSEG_DAEMON_API_GROUPS_H
#define NANOSEG_DAEMON_API_GROUPS_H

#include "daemon/conf.h"

#include <sys/types.h>

struct api_group_list {
	struct api_group {
		char name[CONFIG_GROUP_MAX + 1];
		gid_t gid;
	} groups[CONFIG_MAX_GROUPS];
	size_t n;
};

struct api_groups {
	struct api_group_list reviewers, admins;
};

/* Before the confinement. One that does not exist is said in the log and left out. */
void api_groups_resolve(struct api_groups *g, const struct config *f);
/* Confined. The names that are not known, and therefore left out: a JSON array. */
json_t *api_groups_again(struct api_groups *g, const struct config *f);
bool api_groups_have(const struct api_group_list *l, const gid_t *have, size_t n);

#endif
