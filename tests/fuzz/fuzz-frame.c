/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: two bytes of link type (big endian), then the frame. */
#include "rules/frame.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What every caller relies on, whatever the bytes. */
static void
check(const struct frame_info *f, size_t len)
{
	struct flow_event ev = { .kind = FLOW_ATTEMPT, .count = 1, .tuple = f->tuple };

	if (f->payload_off > len || f->payload_len > len - f->payload_off)
		abort();
	if (f->tuple.src.family != f->tuple.dst.family)
		abort();
	if (flow_event_validate(&ev) < 0)
		abort();
	if (f->tuple.src.family != 4 && f->tuple.src.family != 6)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_info f, again;
	int link, r;

	if (size < 2)
		return 0;
	link = data[0] << 8 | data[1];
	r = frame_parse(link, data + 2, size - 2, &f);
	if (r == 0)
		check(&f, size - 2);
	else if (r != -ENODATA && r != -EBADMSG)
		abort();
	/* The same bytes, the same answer. */
	if (r != frame_parse(link, data + 2, size - 2, &again))
		abort();
	if (r == 0 && memcmp(&f.tuple, &again.tuple, sizeof(f.tuple)) != 0)
		abort();
	return 0;
}
