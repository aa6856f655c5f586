/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was connected when: for each flow the connections of each hour, kept for historyDays days on
 * which there were any, in at most historyEntries entries (a flow on a day).
 *
 * A flow is (from, to, protocol, port), as it was seen and not as the edge that serves it: so any
 * other policy can be held against it. An end that is no workload, not the host and no name is its
 * address; of very many addresses the rest is put together as the internet, without one.
 *
 * Nothing is done for it when a connection comes, but for those of wide edges: the counts of all
 * others are taken from the edges once a minute. So a crash loses a minute, and the hour is marked.
 */
#ifndef NANOSEG_DAEMON_HISTORY_H
#define NANOSEG_DAEMON_HISTORY_H

#include "rules/edge.h"

#include <jansson.h>

#define HISTORY_DAY_HOURS 24
#define HISTORY_MAX_DAYS 400
#define HISTORY_BLOB_MAX (HISTORY_DAY_HOURS * 11)

struct controller;
struct history;
struct store;

int history_new(struct controller *c, struct history **ret); /* after segment_load() */
void history_free(struct history *h);
/* A connection that edge serves; at once nothing for one between two names. */
void history_note(struct history *h, const struct edge *e, const struct edge_observation *o,
    const struct peer_table *peers);
/* An edge goes, and another serves its flow from now on. */
void history_fold(struct history *h, const struct edge *gone, const struct peer_table *peers);
/* All that is not stored yet, in a transaction of its own. 0 or negative errno; nothing is lost. */
int history_flush(struct controller *c);
void history_tick(struct controller *c); /* once a second */
/* {from, days, entries, incompleteHours, lost, ...} of what is kept since that hour. */
json_t *history_to_json(const struct controller *c, uint32_t since_hour);

/* store_history.c */
/* The connections of a day's hours: bytes of the hour and its count, LEB128. Returns the length. */
size_t history_encode(
    const uint64_t counts[static HISTORY_DAY_HOURS], uint8_t buf[static HISTORY_BLOB_MAX]);
/* 0 or -EBADMSG: hours ascend, no count is zero, nothing trails. */
int history_decode(const uint8_t *buf, size_t len, uint64_t ret[static HISTORY_DAY_HOURS]);

struct history_day {
	uint32_t day;	 /* since 1970 */
	uint64_t seq;	 /* ascending, as the days were begun: clocks lie */
	uint32_t broken; /* bit h: something may have been missed in hour h */
	uint64_t rows;
	bool dirty;
};
struct history_put {
	const struct peer *from, *to;
	uint8_t proto;
	uint16_t port;
	uint32_t hour; /* since 1970 */
	uint64_t count, last_ns;
};
/* Adds it. 1: an entry of its own came to be; with existing_only none does: -ENOENT. */
int store_put_history(struct store *s, const struct history_put *p, bool existing_only);
int store_put_history_day(struct store *s, const struct history_day *d);
int store_delete_history_day(struct store *s, uint32_t day);
/* Ascending. 0 or negative errno; at most max. */
int store_history_days(struct store *s, struct history_day *list, size_t max, size_t *ret_n);
/* Deletes at most max entries of the day. The number, or negative errno. */
int store_prune_history(struct store *s, uint32_t day, unsigned max);

/* A page of entries behind (*day, *flow), which move on. fn: of a flow, within that day. */
typedef int (*history_row_fn)(void *arg, uint64_t flow, uint32_t day,
    const uint64_t counts[static HISTORY_DAY_HOURS], uint64_t last_ns);
/* How many it was; 0: that was all. */
int store_read_history(
    struct store *s, uint32_t *day, int64_t *flow, unsigned max, history_row_fn fn, void *arg);
/* Whose flow it is. Names stand in the buffers. -ENOENT. */
struct history_flow {
	struct peer from, to;
	char from_name[PEER_STRLEN], to_name[PEER_STRLEN];
	uint8_t proto;
	uint16_t port;
};
int store_find_history_flow(struct store *s, uint64_t flow, struct history_flow *ret);

#endif
