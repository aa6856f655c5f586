/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small facts in files of the state folder: one JSON object each, replaced whole or not at all. */
#ifndef NANOSEG_DAEMON_STATEFILE_H
#define NANOSEG_DAEMON_STATEFILE_H

#include <jansson.h>
#include <stddef.h>

/* Durable when it returns 0; otherwise the file is as it was. o is taken over. */
int statefile_write(const char *dir, const char *name, json_t *o);
int statefile_write_text(const char *dir, const char *name, const char *text, size_t len);
/* Replaced whole too, but not synced: for what nobody asks for after this boot. */
int statefile_keep_text(const char *dir, const char *name, const char *text, size_t len);
/* Durable too. 0 also if there is none. */
int statefile_remove(const char *dir, const char *name);
/* -ENOENT; -EBADMSG if it is not a JSON object of at most max bytes. */
int statefile_read(const char *dir, const char *name, size_t max, json_t **ret);

#endif
