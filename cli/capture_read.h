/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A capture, opened by whoever we are and read in a confined child. */
#ifndef NANOSEG_CLI_CAPTURE_READ_H
#define NANOSEG_CLI_CAPTURE_READ_H

#include "rules/offline.h"

#include <stdio.h>

struct capture {
	const char *path; /* - is standard input */
	FILE *file;
	off_t size; /* 0: not known, or nobody looks */
	uint64_t shown_ns;
	struct offline *o;
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
