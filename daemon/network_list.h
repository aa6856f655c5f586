/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of the networks that a container or a workload is on, one a line: network_list.c. */
#ifndef NANOSEG_DAEMON_NETWORK_LIST_H
#define NANOSEG_DAEMON_NETWORK_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define NETWORK_LIST_MAX 16 /* names; those beyond are left out */
#define NETWORK_NAME_MAX 128

/* The next name: its length, 0 at the end. Start with *pos = list. */
size_t network_list_next(const char **pos, const char **ret_name);
bool network_list_has(const char *list, const char *name, size_t len);
/*
 * Adds one to a malloc'ed list (NULL: none yet) unless it is there, unfit, or one too many. 0 or
 * -ENOMEM.
 */
int network_list_add(char **list, const char *name, size_t len);

#endif
