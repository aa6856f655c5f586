/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files that the relay opens: a table of places, with nothing of the asker's in a path but an
 * id of a fixed form. And that check, which its requests to engines need as well.
 */
#ifndef NANOSEG_DAEMON_RELAY_FILE_H
#define NANOSEG_DAEMON_RELAY_FILE_H

#include "daemon/proto.h"

#include <stdbool.h>
#include <stddef.h>

enum id_kind {
	ID_NONE,
	ID_CONTAINER,
	ID_IMAGE,
};

struct relay_file;

/* Where Docker keeps its data, /var/lib/docker unless said; borrowed. */
void relay_file_set_docker_root(const char *path);

/* Terminated, nothing behind the terminator, and of the kind's exact form. */
bool relay_id_is(const char id[static 80], enum id_kind kind);
/* NULL: asked for what is not on the list. */
const struct relay_file *relay_file_find(const struct r_get *get);
/* For the log. */
const char *relay_file_name(const struct relay_file *f);
/*
 * The whole file in memory, to be freed, behind the head of an HTTP answer. -ENOENT, -EMSGSIZE,
 * -EBADMSG (no regular file) or what the system says. Cut short if the file shrinks meanwhile.
 */
int relay_file_read(const struct relay_file *f, const char *id, char **ret, size_t *ret_len);

#endif
