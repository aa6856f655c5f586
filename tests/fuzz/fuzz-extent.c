/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: what the store has of an edge's extent. What is taken is written as it is read again. */
#include "rules/extent.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct edge_extent x, again;
	uint8_t buf[EXTENT_BYTES_MAX];
	int r = extent_read(data, size, &x);
	size_t len;

	if (r < 0) {
		if (r != -EBADMSG)
			abort();
		return 0;
	}
	len = extent_write(&x, buf);
	if (len > size || extent_read(buf, len, &again) != 0 || memcmp(&x, &again, sizeof(x)) != 0)
		abort();
	/* What is there is counted once, however often it is seen. */
	extent_merge(&again, &x);
	if (memcmp(&x, &again, sizeof(x)) != 0 || extent_ports(&x) < x.n_ports ||
	    extent_addrs(&x) < x.n_addrs)
		abort();
	return 0;
}
