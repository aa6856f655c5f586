/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is kept in SQLite: store*.c; and when evidence goes there: flush.c. */
#ifndef NANOSEG_DAEMON_STORE_H
#define NANOSEG_DAEMON_STORE_H

#include "daemon/start.h"
#include "rules/complete.h"
#include "rules/edge.h"
#include "rules/policy.h"

#include <jansson.h>

struct controller;
struct denial;
struct store;
struct workload;

/* store.c */
int store_open(const char *dir, struct diag *d, struct store **ret);
void store_close(struct store *s);
struct store_revision {
	uint64_t number, time_ns;
	const char *actor, *action, *reason;
	const char *policy_json; /* the whole revision */
};
/* Between these two everything is put and deleted; durable when store_commit() returns 0. */
int store_begin(struct store *s);
int store_commit(struct store *s);
void store_rollback(struct store *s);
int store_put_edge(struct store *s, const struct peer_table *peers, const struct edge *e);
int store_put_workload(struct store *s, const struct workload *w);
int store_delete_edge(struct store *s, const char *id);
int store_delete_workload(struct store *s, const char *name);
int store_put_networks(struct store *s, const struct policy_network *n, size_t count);
/* Of old revisions the record stays longer than the text, and neither for ever. */
int store_put_revision(struct store *s, const struct store_revision *r);
int store_put_denial(struct store *s, const struct peer_table *peers, const struct denial *d);
int store_clear_denials(struct store *s);
/* Of the oldest none is kept beyond CTL_MAX_EXPOSURES. */
int store_put_exposure(struct store *s, const struct exposure *e);
/* Loading: callbacks with borrowed values; a negative return stops. */
struct stored_edge {
	struct peer from, to;
	uint8_t proto;
	uint16_t port_lo, port_hi;
	enum edge_state state;
	uint32_t flags;
	struct edge_evidence evidence;
	struct edge_decision decision;
	const struct edge_extent *extent; /* NULL: none */
	struct seen_as *seen_as;	  /* NULL: none, or taken */
};
struct stored_workload {
	const char *name, *project, *mode_reason, *mode_by, *networks;
	const struct complete_log *log; /* NULL: none */
	bool rolled_back;
	uint64_t missed_ns;
	enum wl_mode mode;
	enum wl_direction direction;
	uint64_t first_seen_ns, last_seen_ns, mode_since_ns;
	uint64_t observed_ns;
	bool auto_promoted;
	const char *labels_json, *selector_json; /* objects of strings, or NULL */
	const char *images_json;		 /* array of strings, or NULL */
};
struct stored_denial {
	struct peer from, to;
	uint8_t kind, dir, proto;
	uint16_t port_lo, port_hi;
	struct tuple last;
	uint64_t count, first_ns, last_ns;
};
struct store_loader {
	void *arg;
	int (*edge)(void *arg, struct stored_edge *e);
	int (*workload)(void *arg, const struct stored_workload *w);
	int (*network)(void *arg, const struct policy_network *n);
	int (*denial)(void *arg, const struct stored_denial *d);
	int (*exposure)(void *arg, const struct exposure *e);
	int (*revision)(void *arg, uint64_t newest);
};
int store_load(struct store *s, const struct store_loader *l, struct diag *d);
/* The text of a revision, malloc'ed. -ENOENT: there is none, or it is no longer kept. */
int store_get_revision(struct store *s, uint64_t number, char **ret);
/* The revision in force at that time, 0: none yet. -ENOENT: its record is no longer kept. */
int store_find_revision(struct store *s, uint64_t time_ns, uint64_t *ret);
/* The newest first, at most max; a JSON array of {revision, time, actor, action, reason}. */
json_t *store_revisions(struct store *s, size_t max);

/* flush.c */
/* Stores all evidence that is not stored yet: edges, workloads, denials. 0 or negative errno. */
int flush_evidence(struct controller *c);
/* For edge_table_generalise(): the store has to forget `gone`. */
void flush_folded(void *c, const struct edge *gone, const struct edge *into);

#endif
