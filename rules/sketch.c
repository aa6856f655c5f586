/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/sketch.h"

#include "rules/util.h"

#include <string.h>

unsigned
sketch_add(uint32_t *hashes, unsigned n, unsigned cap, uint32_t hash)
{
	unsigned at = 0, end;

	n = MIN(n, cap);
	end = n;
	if (n == cap && hash > hashes[cap - 1])
		return n;
	while (at < end) {
		unsigned middle = (at + end) / 2;

		if (hashes[middle] < hash)
			at = middle + 1;
		else
			end = middle;
	}
	if (at < n && hashes[at] == hash)
		return n;
	if (n < cap)
		n++;
	memmove(&hashes[at + 1], &hashes[at], (n - at - 1) * sizeof(hashes[0]));
	hashes[at] = hash;
	return n;
}

unsigned
sketch_merge(uint32_t *hashes, unsigned n, unsigned cap, const uint32_t *from, unsigned n_from)
{
	for (unsigned i = 0; i < MIN(n_from, cap); i++)
		n = sketch_add(hashes, n, cap, from[i]);
	return n;
}

uint64_t
sketch_estimate(const uint32_t *hashes, unsigned n, unsigned cap)
{
	uint64_t estimate;

	if (n < cap)
		return n;
	estimate = ((uint64_t)(cap - 1) << 32) / ((uint64_t)hashes[cap - 1] + 1);
	return MAX(estimate, cap);
}
