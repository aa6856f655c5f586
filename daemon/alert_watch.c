/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Alerts about what has no moment of its own: losses that are only counted, reviews overdue. */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/denial.h"
#include "daemon/promote.h"
#include "daemon/segment.h"

#include <inttypes.h>

#define OVERDUE_EVERY_S 60

static void
watch_losses(struct controller *c)
{
	const struct {
		const char *what;
		uint64_t n;
	} sources[] = {
		{ "packets of the capture", c->capture.ring_dropped },
		{ "reports of refused connections", c->capture.nflog_lost },
		{ "events between two of its processes", c->capture.unsent },
		{ "events of what was not identified in time", c->waiting_lost },
		{ "edges that found no room (maxEdges)", edge_table_overflow(c->edges) },
		{ "attempts", attempt_lost(c->attempts) },
		{ "records of denials", denial_evicted(c->denials) },
	};
	static uint64_t told[ARRAY_SIZE(sources)];

	for (size_t k = 0; k < ARRAY_SIZE(sources); k++) {
		/* The capture role is new, and counts from the beginning. */
		if (sources[k].n < told[k])
			told[k] = 0;
		if (sources[k].n > told[k])
			alert_raise(c, ALERT_LOSS, ALERT_WARNING, NULL, NULL,
			    "lost: %" PRIu64 " %s", sources[k].n - told[k], sources[k].what);
		told[k] = sources[k].n;
	}
}

static void
watch_reviews(struct controller *c)
{
	static uint64_t before;
	uint64_t overdue = 0, now = now_real();
	const struct edge *e;
	size_t pos = 0;

	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		uint64_t due = recertify_due_ns(c, e);

		overdue += due != 0 && due <= now && segment_edge_selected(c, e);
	}
	if (overdue > before)
		alert_raise(c, ALERT_OVERDUE, ALERT_NOTICE, NULL, NULL,
		    "%" PRIu64 " approvals are overdue for review, %" PRIu64 " of them newly",
		    overdue, overdue - before);
	before = overdue;
}

void
alert_watch_tick(struct controller *c)
{
	static unsigned seconds;

	watch_losses(c);
	if (seconds++ % OVERDUE_EVERY_S == 0)
		watch_reviews(c);
}
