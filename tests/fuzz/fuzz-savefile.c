/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: a byte that says in pieces of which size the file comes, then the file. */
#include "rules/savefile.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_SECONDS (500ULL * 366 * 86400)

struct outcome {
	uint64_t frames, bytes;
	int end;
	bool whole;
};

static void
check(const struct savefile_frame *f, const uint8_t *part, size_t len)
{
	if (f->data < part || f->len > len || f->data + f->len > part + len)
		abort();
	if (f->linktype < 0 || f->time_ns > (MAX_SECONDS + 1) * NSEC_PER_SEC)
		abort();
}

/* What is handed over is a block of exactly its size. */
static struct outcome
read_file(const uint8_t *data, size_t size, size_t step)
{
	_cleanup_(savefile_freep) struct savefile *s = NULL;
	size_t at = 0, there = MIN(size, step), used;
	struct savefile_frame f;
	struct outcome o = { 0 };

	if (savefile_new(&s) < 0)
		abort();
	for (;;) {
		_cleanup_free_ uint8_t *part = malloc(MAX(there - at, (size_t)1));

		if (part == NULL)
			abort();
		memcpy(part, data + at, there - at);
		o.end = savefile_next(s, part, there - at, &used, &f);
		if (o.end == SAVEFILE_FRAME) {
			check(&f, part, there - at);
			o.frames++;
			o.bytes += f.len;
		}
		if (o.end == SAVEFILE_MORE) {
			if (used <= there - at || used > SAVEFILE_MAX_RECORD + 64)
				abort();
			if (there == size)
				break;
			there = MIN(size, MAX(there + step, at + used));
			continue;
		}
		if (o.end < 0)
			break;
		if (used == 0 || used > there - at)
			abort();
		at += used;
	}
	if (o.end < 0 && (o.end != -EBADMSG || savefile_fault(s) == NULL))
		abort();
	o.whole = o.end == SAVEFILE_MORE && at == size && savefile_may_end(s);
	return o;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome a, b;

	if (size < 1)
		return 0;
	a = read_file(data + 1, size - 1, SIZE_MAX / 2);
	b = read_file(data + 1, size - 1, (size_t)data[0] + 1);
	/* The same file, however it comes. */
	if (a.frames != b.frames || a.bytes != b.bytes || a.end != b.end || a.whole != b.whole)
		abort();
	return 0;
}
