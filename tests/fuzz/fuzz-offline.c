/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: frames of raw IP, each behind two bytes of its length (big endian). */
#include "rules/offline.h"

#include "rules/frame.h"
#include "rules/policy.h"
#include "rules/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What every caller relies on, whatever the frames. */
static void
check(const struct offline *o, uint64_t frames)
{
	uint64_t connections = 0;
	struct offline_stats s;
	const struct edge *e;
	size_t pos = 0;

	offline_stats(o, &s);
	if (s.frames != frames || s.malformed + s.other > frames)
		abort();
	while ((e = edge_table_next(offline_edges(o), &pos)) != NULL) {
		const struct peer *to = peer_get(offline_peers(o), e->key.to);

		connections += edge_connections(e);
		if (e->state != EDGE_PENDING || peer_get(offline_peers(o), e->key.from) == NULL)
			abort();
		if (to->kind == PEER_FQDN && policy_fqdn_fault(to->name) != NULL)
			abort();
	}
	if (connections + s.lost != s.flows)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(offline_freep) struct offline *o = NULL;
	uint64_t frames = 0;

	if (offline_new(1, OFFLINE_EDGES, &o) < 0)
		return 0;
	while (size >= 2) {
		size_t len = MIN((size_t)(data[0] << 8 | data[1]), size - 2);

		if (offline_frame(o, FRAME_RAW, data + 2, len, (uint32_t)len, ++frames) < 0)
			abort();
		data += 2 + len;
		size -= 2 + len;
	}
	offline_finish(o);
	check(o, frames);
	return 0;
}
