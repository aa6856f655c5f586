/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/range.h"
#include "rules/util.h"

#include <assert.h>
#include <errno.h>

struct addr
addr_next(const struct addr *a)
{
	struct addr next = *a;
	size_t i = addr_len(a);

	while (i > 0 && ++next.bytes[i - 1] == 0)
		i--;
	assert(i > 0);
	return next;
}

struct addr
addr_prev(const struct addr *a)
{
	struct addr prev = *a;
	size_t i = addr_len(a);

	while (i > 0 && prev.bytes[i - 1]-- == 0)
		i--;
	assert(i > 0);
	return prev;
}

int
range_subtract(const struct addr_range *ranges, size_t n_ranges, const struct addr *holes,
    size_t n_holes, struct addr_range **ret, size_t *ret_n)
{
	_cleanup_free_ struct addr_range *out = NULL;
	size_t i, h = 0, n = 0;
	struct addr_range rest;
	bool empty;

	if (n_ranges == 0) {
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	/* A hole splits one range into two at most. */
	out = calloc(n_ranges + n_holes, sizeof(*out));
	if (out == NULL)
		return -ENOMEM;
	for (i = 0; i < n_ranges; i++) {
		rest = ranges[i];
		empty = false;
		while (h < n_holes && addr_cmp(&holes[h], &rest.lo) < 0)
			h++;
		for (; h < n_holes && addr_cmp(&holes[h], &rest.hi) <= 0; h++) {
			if (addr_cmp(&holes[h], &rest.lo) > 0)
				out[n++] = (struct addr_range){ rest.lo, addr_prev(&holes[h]) };
			empty = addr_eq(&holes[h], &rest.hi);
			if (!empty)
				rest.lo = addr_next(&holes[h]);
		}
		if (!empty)
			out[n++] = rest;
	}
	*ret_n = n;
	*ret = n > 0 ? steal_ptr(out) : NULL;
	return 0;
}
