/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between audit.c (records) and audit_file.c (segments) alone. */
#ifndef NANOSEG_DAEMON_AUDIT_INTERNAL_H
#define NANOSEG_DAEMON_AUDIT_INTERNAL_H

#include "daemon/audit.h"

/* The segments, and the place where the next record goes. */
struct audit_file {
	int dir_fd;
	int fd; /* of the segment in use, -1: the next record begins one */
	uint64_t seq;
	char hash[AUDIT_HASH_STRLEN]; /* of record seq */
	uint64_t end, tail;	      /* what is behind end, up to tail, is torn */
	unsigned month;		      /* of the segment's first record: year * 12 + month */
	uint64_t next_first; /* the number of a new segment's first record is at least this */
	uint64_t revision;   /* the last one that a record names, 0: none does */
	/* What was found when the log was read, to be recorded. */
	uint64_t torn;
	char torn_hash[AUDIT_HASH_STRLEN];
	char damage[320]; /* "" if all is well */
};

/* Finds the end of the log. 0, or a negative errno. */
int audit_file_load(struct audit_file *f);
/* On the disk when it returns 0; otherwise the file has to be loaded again. */
int audit_file_append(struct audit_file *f, json_t *record, uint64_t now_ns);
void audit_file_done(struct audit_file *f);
/* The first record of the oldest segment but one, if all before it is older than that; else 0. */
uint64_t audit_file_find_expired(const struct audit_file *f, uint64_t before_ns);
/* Removes the segments before that record. */
void audit_file_expire(struct audit_file *f, uint64_t first_kept);
int audit_read_segment(
    int dir_fd, const char *name, uint64_t offset, size_t max, char **ret, size_t *ret_len);
json_t *audit_list_segments(int dir_fd);

#endif
