/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log's form, and its verification; nothing here knows where it is kept.
 *
 * A record is one line: a JSON object in canonical form (keys sorted, no blanks, ASCII, whole
 * numbers only), and behind it, as the last member, the hash:
 *
 *	{"actor":{...},"event":"mode",...,"prev":"<hash before>","seq":7,...,"hash":"<hash>"}
 *
 * hash = SHA-256(prev || canonical JSON without the hash), both as text, in hex. seq counts from 1
 * without a gap; the first record's prev is 64 zeros. So each byte of a line is bound, and each
 *line binds all lines before it. What the chain alone cannot show is that its end is missing: for
 *that it is compared with a head that is known from elsewhere.
 *
 * Old segments are removed after their time; then an "audit-expire" record further on says with
 * which record the log begins now (subject.firstKept), and verification asks for one.
 */
#ifndef NANOSEG_RULES_AUDIT_H
#define NANOSEG_RULES_AUDIT_H

#include "rules/util.h"

#include <jansson.h>
#include <stdbool.h>

#define AUDIT_HASH_STRLEN 65
#define AUDIT_LINE_MAX (4u << 20)
/* A segment is closed when it is larger than this; with its last line it may be larger. */
#define AUDIT_SEGMENT_MAX (4u << 20)
#define AUDIT_SEGMENT_NAME_LEN 24 /* "000000000001.jsonl" */

extern const char audit_no_hash[AUDIT_HASH_STRLEN]; /* before the first record */

/*
 * Finishes the record: sets seq and prev in it, and gives its line (malloc'ed, ends in a newline)
 * and its hash. 0, -ENOMEM, or -E2BIG.
 */
int audit_seal(json_t *record, uint64_t seq, const char prev[static AUDIT_HASH_STRLEN],
    char **ret_line, size_t *ret_len, char ret_hash[static AUDIT_HASH_STRLEN]);

/* SHA-256 in hex. */
void audit_digest(const void *bytes, size_t len, char ret[static AUDIT_HASH_STRLEN]);

/* "000000000001.jsonl" of the segment whose first record has that number. Returns buf. */
const char *audit_segment_name(uint64_t first, char buf[static AUDIT_SEGMENT_NAME_LEN]);
/* The number of the first record, or 0 for a name that is not a segment's. */
uint64_t audit_segment_first(const char *name);

/* What has been read so far. Clear it, then hand over all lines of all segments in order. */
struct audit_chain {
	uint64_t seq; /* of the last record read, 0: none */
	char hash[AUDIT_HASH_STRLEN];
	uint64_t records, first, kept_from;
	bool lost; /* after a violation: the next record is taken as it is */
};

/*
 * One line, without its newline. 0 with *ret a new reference, or -EBADMSG with what is wrong in *d
 * (*ret then untouched); reading may go on after it. -ENOMEM.
 */
int audit_chain_line(
    struct audit_chain *c, const char *line, size_t len, struct diag *d, json_t **ret);
/*
 * After the last line: does the log begin where it may? 0, or -EBADMSG with *d filled. That it ends
 * where it should, the caller sees by comparing seq and hash with a head known from elsewhere.
 */
int audit_chain_end(const struct audit_chain *c, struct diag *d);

/* The text under record[key], or under record[key][inner] if that is not NULL. Borrowed. */
const char *audit_text(const json_t *record, const char *key, const char *inner);

#endif
