/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A capture, opened by whoever we are and read in a confined child. */
#ifndef NANOSEG_CLI_CAPTURE_READ_H
#define NANOSEG_CLI_CAPTURE_READ_H

#include "rules/offline.h"
#include "rules/savefile.h"

#include <sys/types.h>

#define CAPTURE_UNREAD_LEN 160

struct capture {
	const char *path; /* - is standard input */
	int fd;
	struct savefile *file;
	uint8_t *buf; /* what has been read and not yet used: from begin to end */
	size_t room, begin, end;
	off_t size, position; /* size 0: not known, or nobody looks */
	uint64_t shown_ns;
	int unsupported[8]; /* link types that were warned of */
	size_t n_unsupported;
	struct offline *o;
	char unread[CAPTURE_UNREAD_LEN]; /* why it was not read to its end; empty: it was */
};

/*
 * Opens path, makes o with the addresses of a map file (NULL: none), and has fn, which reads it,
 * run confined. fn's code, or one that is reported.
 */
int capture_run(struct capture *c, const char *path, const char *map, enum offline_form form,
    int (*fn)(void *arg), void *arg);
/* Reads all of it into o. CLI_OK, or the exit code after reporting. */
int capture_read(struct capture *c);

#endif
