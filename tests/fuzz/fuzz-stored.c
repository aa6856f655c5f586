/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the store has as bytes: 'h' and a day's connections, 'c' and the hours of a workload. */
#include "daemon/history.h"
#include "rules/complete.h"
#include "rules/util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_history(const uint8_t *data, size_t size)
{
	uint64_t counts[HISTORY_DAY_HOURS], again[HISTORY_DAY_HOURS];
	uint8_t buf[HISTORY_BLOB_MAX];

	if (history_decode(data, size, counts) < 0)
		return;
	if (history_decode(buf, history_encode(counts, buf), again) < 0 ||
	    memcmp(counts, again, sizeof(counts)) != 0)
		abort();
}

static void
read_hours(const uint8_t *data, size_t size)
{
	const struct complete_edge edges[] = { { 480000, 1 }, { 490000, 24 } };
	uint8_t buf[COMPLETE_LOG_BYTES];
	struct completeness c;
	struct complete_log l;

	if (complete_log_decode(data, size, &l) < 0)
		return;
	complete_log_encode(&l, buf);
	if (size != sizeof(buf) || memcmp(buf, data, size) != 0)
		abort();
	for (int in_runs = 0; in_runs < 2; in_runs++)
		complete_estimate(&l, l.head + 1, edges, ARRAY_SIZE(edges), in_runs, &c);
	complete_log_mark(&l, 500000, 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] == 'h')
		read_history(data + 1, size - 1);
	else if (size > 0 && data[0] == 'c')
		read_hours(data + 1, size - 1);
	return 0;
}
