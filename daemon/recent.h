/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which tuples were seen within the last second: one connection attempt crosses several interfaces
 * of a host and is repeated while nobody answers, and counts once. Fixed memory; a tuple pushed out
 * by others is counted again, which costs an event and nothing else.
 */
#ifndef NANOSEG_DAEMON_RECENT_H
#define NANOSEG_DAEMON_RECENT_H

#include "rules/flow.h"

#define RECENT_SETS 2048u
#define RECENT_WAYS 4u
#define RECENT_NS NSEC_PER_SEC

struct recent {
	uint64_t seed; /* random: nobody can aim at one set */
	struct recent_slot {
		uint64_t hash, time_ns;
	} slots[RECENT_SETS][RECENT_WAYS];
};

void recent_init(struct recent *r, uint64_t seed);
/*
 * True if the tuple was seen in that namespace (0: on the host's interfaces) less than a second
 * before now_ns, a monotonic clock. Remembers the first sight, not the last: an attempt that goes
 * on counts once a second.
 */
bool recent_seen(struct recent *r, uint64_t netns, const struct tuple *t, uint64_t now_ns);

#endif
