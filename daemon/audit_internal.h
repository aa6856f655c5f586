/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between audit.c (records), audit_file.c (segments) and audit_sign.c (signatures) alone. */
#ifndef NANOSEG_DAEMON_AUDIT_INTERNAL_H
#define NANOSEG_DAEMON_AUDIT_INTERNAL_H

#include "daemon/audit.h"
#include "daemon/controller.h"
#include "rules/sign.h"

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

#define AUDIT_DENIED_SLOTS 64

struct audit_denied {
	struct actor who;
	uint64_t count, since_ns; /* CLOCK_MONOTONIC; 0: free */
	char what[64];
};

/* The key that checkpoints are signed with, and the last of them. */
struct audit_signer {
	bool ready, is_new; /* is_new: not on record yet */
	struct sign_key key;
	char instance[17];
	uint64_t seq, signed_ns; /* CLOCK_MONOTONIC; 0: none since the start */
};

struct audit {
	struct audit_signer signer;
	struct audit_file file;
	bool loaded, failing;
	char boot[BOOT_ID_STRLEN];
	int syslog_fd;
	json_t *start_subject, *start_after; /* until it is recorded */
	uint64_t start_revision;
	struct audit_denied denied[AUDIT_DENIED_SLOTS];
	uint64_t expired_ns, retry_ns; /* CLOCK_MONOTONIC */
};

/* audit_sign.c: a checkpoint if one is due. */
void audit_tick_checkpoint(struct audit *a, uint64_t now_ns);

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
