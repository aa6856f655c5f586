/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/recent.h"
#include "rules/util.h"

#include <string.h>

void
recent_init(struct recent *r, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->seed = seed;
}

bool
recent_seen(struct recent *r, uint64_t netns, const struct tuple *t, uint64_t now_ns)
{
	uint64_t hash = tuple_hash(t, r->seed ^ hash_mix64(netns));
	struct recent_slot *set = r->slots[hash % RECENT_SETS], *oldest = &set[0];

	for (unsigned i = 0; i < RECENT_WAYS; i++) {
		if (set[i].time_ns != 0 && set[i].hash == hash &&
		    now_ns - set[i].time_ns < RECENT_NS)
			return true;
		if (set[i].time_ns < oldest->time_ns)
			oldest = &set[i];
	}
	/* A stale entry of the same tuple is as good a place as the oldest. */
	oldest->hash = hash;
	oldest->time_ns = now_ns;
	return false;
}
