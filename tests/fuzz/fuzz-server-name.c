/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: a segment's payload, and what the store has of an edge's names. */
#include "rules/seen_as.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
stored(const uint8_t *data, size_t size)
{
	uint8_t again[SEEN_AS_BYTES_MAX];
	struct seen_as *s;

	if (seen_as_read(data, size, &s) < 0)
		return;
	if (seen_as_write(s, again) != size || memcmp(again, data, size) != 0)
		abort();
	seen_as_free(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct server_name n;
	int r = server_name_parse(data, size, &n);

	stored(data, size);
	if (r < 0) {
		if (r != -EBADMSG && r != -ENODATA)
			abort();
		return 0;
	}
	if (!server_name_valid(n.name) || server_name_kind(n.kind) == NULL)
		abort();
	if (size >= 16 && !server_name_may_be(data, size) && data[0] != 22)
		abort();
	return 0;
}
