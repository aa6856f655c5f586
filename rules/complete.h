/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How complete the edges of a workload are: from when each was first seen, in how many windows, and
 * which windows of observation can be trusted. docs/completeness.md has the method, its references
 * and the table of the simulation that it is calibrated with (tests/sim).
 *
 * A window is an hour of UTC in which the workload ran. A broken one is one in which something may
 * have been missed: it proves nothing about what did not happen, but an edge that it brought
 * counts. For a short-lived workload a run is a window, however many hours it takes.
 *
 * The bounds compare nothing but whole weeks, so that nights and weekends are in both parts: the
 * latest half of the weeks tells of the equal period to come. They are claimed only where they were
 * found to hold.
 */
#ifndef NANOSEG_RULES_COMPLETE_H
#define NANOSEG_RULES_COMPLETE_H

#include "rules/util.h"

#include <stdbool.h>

#define WEEK_HOURS 168u
#define COMPLETE_WEEKS 16u				   /* what is older does not count */
#define COMPLETE_HOURS ((COMPLETE_WEEKS + 1) * WEEK_HOURS) /* that are kept */
#define COMPLETE_HOUR_NS (3600 * NSEC_PER_SEC)
#define COMPLETE_CONFIDENCE 0.95 /* of each bound */

/* Which hours a workload was seen in; bit (hour % COMPLETE_HOURS). All zero: nothing yet. */
struct complete_log {
	uint32_t begin, head; /* hours since 1970; the first and the last one marked */
	uint8_t ran[COMPLETE_HOURS / 8];
	uint8_t broken[COMPLETE_HOURS / 8];
	uint8_t began[COMPLETE_HOURS / 8]; /* an instance did */
};

#define COMPLETE_RAN 0x1u
#define COMPLETE_BROKEN 0x2u
#define COMPLETE_BEGAN 0x4u /* and ran */

/* A clock set back by more than a day begins anew. True if anything has changed. */
bool complete_log_mark(struct complete_log *l, uint32_t hour, unsigned what);
/* What is stored: begin, head, three bitmaps; little-endian. */
#define COMPLETE_LOG_BYTES (8 + 3 * COMPLETE_HOURS / 8)
void complete_log_encode(const struct complete_log *l, uint8_t buf[static COMPLETE_LOG_BYTES]);
/* 0 or -EBADMSG. */
int complete_log_decode(const uint8_t *buf, size_t len, struct complete_log *ret);

/* The same, with no room but for the hours from begin to head: there are many names that were seen
 * once. */
struct complete_hours {
	uint32_t begin, head;
	uint8_t bits[];
};

/* Of malloc(); NULL: no memory. */
struct complete_hours *complete_log_fold(const struct complete_log *l);
/* h: NULL if nothing was marked yet. */
void complete_log_unfold(const struct complete_hours *h, struct complete_log *ret);

/* One edge, of those that were ever seen. */
struct complete_edge {
	uint32_t first_hour;
	uint32_t windows; /* hours in which it was seen, at least 1 */
};

enum complete_why {
	COMPLETE_CLAIMED,
	COMPLETE_TOO_SHORT, /* less than a week, or too few windows */
	COMPLETE_UNCOVERED, /* some hour of the week was never watched without loss */
	COMPLETE_LOSSY,
	COMPLETE_GROWING, /* new edges do not become fewer */
};

struct completeness {
	bool in_runs;
	unsigned weeks;			      /* whole ones */
	unsigned windows, incomplete_windows; /* the latter are not among the former */
	unsigned hours_covered;		      /* of the week's 168, by complete windows */
	unsigned new_lately;		      /* edges, in the latest half of the weeks */
	double chance;	 /* of a new edge in a window: Good-Turing; NAN: none */
	double at_least; /* unseen edges, by Chao2; an estimate, no bound; NAN: no window yet */
	enum complete_why why; /* the bounds below are NAN unless COMPLETE_CLAIMED */
	double chance_high;    /* mean over the coming week: in 95% of cases not above */
	double unseen_high;    /* new edges in a period to come as long as the one before */
};

/* now_hour is under way and does not count yet. short_lived: windows are runs. */
void complete_estimate(const struct complete_log *l, uint32_t now_hour,
    const struct complete_edge *edges, size_t n_edges, bool short_lived, struct completeness *ret);

/* The parts, for tests: the largest p with P(Bin(n, p) <= k) > 5%, and the largest y with
 * P(Bin(k + y, 1 / (1 + ratio)) <= k) > 5%. */
double complete_binomial_high(unsigned k, unsigned n);
unsigned complete_predict_high(unsigned k, double ratio);

#endif
