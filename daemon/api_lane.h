/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The requests that may take long, one after the other, each with a thread that takes turns with
 * the loop (aside.h). Changes come first, so that no reader holds them up but the one before.
 */
#ifndef NANOSEG_DAEMON_API_LANE_H
#define NANOSEG_DAEMON_API_LANE_H

#include "daemon/api.h"

struct api_job;

struct api_lane {
	struct api_job *first;
	bool busy;
};

struct api_lanes {
	struct controller *c;
	struct api_lane apart, tables;
};

/* Answers it now, or later: r->wait. */
void api_lane_take(struct api_lanes *l, const struct api_request *q, const struct api_route *route,
    struct api_reply *r);
/* Begins what can be begun. */
void api_lanes_next(struct api_lanes *l);

#endif
