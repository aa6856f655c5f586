/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log: who decided what, when and why. Append-only segments STATE/audit/NUMBER.jsonl,
 * named by their first record, hash-chained (rules/audit.h) and on the disk before the command that
 * they record is answered. What cannot be recorded is not done: a change asks audit_write() first
 * and gives up if it fails. Observation never waits for it.
 *
 * A controller without a log (audit NULL, in tests) records nothing and refuses nothing.
 */
#ifndef NANOSEG_DAEMON_AUDIT_H
#define NANOSEG_DAEMON_AUDIT_H

#include "rules/audit.h"

struct audit;
struct controller;

/* Who asks for a change. */
struct actor {
	char name[64]; /* "uid:0", "promotion": goes to the store and the log */
	/* Of a process that asks, as the kernel and /proc had it; else is_process is false. */
	bool is_process, has_loginuid;
	uint32_t uid, loginuid;
	int32_t pid;
	char user[33];	  /* "": the number has no name */
	char program[17]; /* its command name, which it can choose; or "" */
};

/* Fills user, loginuid and program from pid and uid. */
void actor_look(struct actor *who);

struct audit_record {
	const char *event;
	const struct actor *who;	  /* NULL: the daemon itself */
	const char *reason, *ticket;	  /* or NULL */
	json_t *subject, *before, *after; /* objects, taken over also on failure; or NULL */
	const char *result;		  /* NULL: "ok" */
};

/* Reads nothing yet and cannot fail but for memory; the folder is made if need be. */
int audit_open(const char *state_dir, struct audit **ret);
void audit_close(struct audit *a);
/*
 * Appends the record and syncs it. 0; or -EIO with a sentence in *d, and the log is as it was.
 */
int audit_write(struct audit *a, const struct audit_record *r, struct diag *d);
/* For what happened anyway: a failure is said in the daemon's log, once until it works again. */
void audit_note(struct audit *a, const struct audit_record *r);
/*
 * The record of the daemon's start: comes before any other, as soon as one can be written, and
 * says whether the log and the store agree about the revision. after is taken over.
 */
void audit_start(struct audit *a, json_t *subject, json_t *after, uint64_t revision);
/*
 * Somebody was refused. The first time at once, then as a count an hour: nobody can fill the disk
 * with it. what: "POST /v1/mode".
 */
void audit_denied(struct audit *a, const struct actor *who, const char *what);
void audit_tick(struct audit *a); /* once a second */
/* The last record. False: there is none, or it is not known now. */
bool audit_head(const struct audit *a, uint64_t *ret_seq, char ret_hash[static AUDIT_HASH_STRLEN]);

/*
 * audit_sign.c: the key for signatures, made if there is none; without one nothing is signed, and
 * that is said. Once, before the first record; a log without this call has no checkpoints.
 */
void audit_sign_init(struct audit *a, const char *state_dir, const char *instance);
/* In hex; NULL: there is none. */
const char *audit_public_key(const struct audit *a);
/*
 * Signs a statement, whose "kind" says what it is, with the daemon's instance, the time and the
 * log's head added. What is signed has to be on record before. 0, or -EIO with a sentence, -ENOMEM.
 */
int audit_sign(const struct audit *a, json_t *statement, struct diag *d);
/* A signed record about the last one, unless that is a checkpoint itself. */
void audit_checkpoint(struct audit *a);

/* For the API: [{name, size}], oldest first; at most max bytes of one from an offset. */
json_t *audit_list(const struct audit *a);
int audit_read(const struct audit *a, const char *name, uint64_t offset, size_t max, char **ret,
    size_t *ret_len);

#endif
