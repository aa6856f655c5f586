/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Alerts: what a person should be told of, wherever he is. Raised by whoever in the controller
 * notices something, told once for a kind and subject and then not again for a while: what comes
 * meanwhile is counted and told together at the end of it. So the counts of all alerts told, of
 * those that wait, and of those in the metrics as lost are all that were ever raised.
 *
 * The same containers that are watched cause them: everything here is bounded, and no alert of one
 * subject takes the place of another's.
 */
#ifndef NANOSEG_DAEMON_ALERT_H
#define NANOSEG_DAEMON_ALERT_H

#include "rules/util.h"

#include <jansson.h>
#include <stdbool.h>

struct controller;
struct instance;
struct alerts;

enum alert_kind {
	ALERT_DENIAL,	     /* a connection is refused for the first time */
	ALERT_DRIFT,	     /* rules were changed from outside */
	ALERT_LOSS,	     /* something was not seen */
	ALERT_LATE_START,    /* a program ran before its rules */
	ALERT_SELF_TEST,     /* what has to be refused has passed */
	ALERT_FOREIGN_OWNER, /* somebody else owns a table of rules */
	ALERT_OVERDUE,	     /* approvals that nobody has looked at for too long */
	ALERT_IMAGE,	     /* an image that is not approved */
	ALERT_QUARANTINE,    /* somebody is held, or released */
	ALERT_ROLLBACK,	     /* a change was taken back by itself */
	/* What is unusual for a workload. */
	ALERT_NOISY,
	ALERT_NEW_PEER,
	ALERT_DENIAL_BURST,
	ALERT_SCAN,
	ALERT_NEW_NAME,
	ALERT_SPOOFED, /* somebody uses the address of another one */
	ALERT_KINDS,
};

/* As syslog numbers them. */
enum alert_severity {
	ALERT_CRITICAL = 2,
	ALERT_ERROR,
	ALERT_WARNING,
	ALERT_NOTICE,
	ALERT_INFO,
};

/* At most so many bytes of text are told. */
#define ALERT_TEXT_MAX 1024

/*
 * The subject is (workload, instance); either may be NULL. Names from outside stand in the text as
 * they are: every way out escapes them. Nothing is logged here. Never fails and never waits.
 */
void alert_raise(struct controller *c, enum alert_kind kind, enum alert_severity severity,
    const char *workload, const char *instance, const char *fmt, ...) _printf_(6, 7);
/* The same of an instance and its workload. */
void alert_raise_instance(struct instance *i, enum alert_kind kind, enum alert_severity severity,
    const char *fmt, ...) _printf_(4, 5);

const char *alert_kind_name(enum alert_kind kind); /* "denial" */
const char *alert_severity_name(enum alert_severity severity);
/* -EINVAL for another word. */
int alert_kind_parse(const char *word);
int alert_severity_parse(const char *word);

/* quiet_ns: how long the same is not told again; per_minute: of all together, at most. */
int alerts_new(uint64_t quiet_ns, unsigned per_minute, uint64_t seed, struct alerts **ret);
void alerts_free(struct alerts *a);
void alerts_tick(struct controller *c); /* once a second */

/* Since the start, in what was raised. */
struct alert_counts {
	uint64_t raised[ALERT_KINDS];
	uint64_t told, repeated; /* alerts, and what the told ones stand for beyond themselves */
	uint64_t waiting;	 /* to be told */
	uint64_t lost;		 /* there were too many subjects at once */
};
void alerts_count(const struct alerts *a, struct alert_counts *ret);

/*
 * alert_spool.c: those told, on their way to the herald. It holds the newest ALERT_SPOOL_MAX; the
 * herald has as much room, so what is overwritten before it was done was lost as no herald ran.
 */
#define ALERT_SPOOL_MAX 1024
struct alert_spool;
struct h_state;

/* ways: bits of enum herald_sink; with any there is a herald, or is to be. */
int alert_spool_new(uint64_t epoch, unsigned ways, struct alert_spool **ret);
void alert_spool_free(struct alert_spool *s);
/* 0 or a negative errno. */
int alert_spool_add(
    struct controller *c, const json_t *alert, enum alert_kind kind, enum alert_severity severity);
void alert_spool_tick(struct controller *c);	  /* once a second */
void alert_spool_on_herald(struct controller *c); /* it is new */
void alert_spool_on_herald_gone(struct controller *c);
void alert_spool_on_state(struct controller *c, const struct h_state *state);

struct alert_delivery {
	const char *to; /* "webhook" */
	bool on, failing;
	const char *error;
	uint64_t delivered, lost, failures;
};
/* One for each way out, by enum herald_sink; what was lost without a herald is lost to all. */
void alert_spool_deliveries(const struct alert_spool *s, struct alert_delivery *ret);
uint64_t alert_spool_waiting(const struct alert_spool *s);

struct alert_filter {
	enum alert_kind kind;	      /* ALERT_KINDS: any */
	enum alert_severity severity; /* at least so severe */
	const char *workload;	      /* NULL: any */
	uint64_t since_ns;	      /* CLOCK_REALTIME */
};

/*
 * {alerts: [{id, time, kind, severity, workload, instance, text, count, firstSeen, lastSeen, lost,
 * delivery: {webhook: "delivered" | "waiting" | "lost"}}], delivery: [...], waiting}: the newest
 * 256, oldest first. count: how many it stands for; lost: how many could not be told before it.
 */
json_t *alert_spool_to_json(const struct alert_spool *s, const struct alert_filter *f);

/* alert_watch.c: what has no moment of its own, noticed by looking; once a second. */
void alert_watch_tick(struct controller *c);

#endif
