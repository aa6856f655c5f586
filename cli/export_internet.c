/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "internet" in the forms that know whole networks and what is taken out of them: all but what
 * addr_internet_ranges() leaves out.
 */
#include "cli/export.h"

#include "rules/addr.h"
#include "rules/util.h"

#include <string.h>

#define MAX_EXCEPT 32

/* The largest that begins at a and ends not after last. */
static struct prefix
largest(const struct addr *a, const struct addr *last)
{
	unsigned max = (unsigned)addr_len(a) * 8;

	for (unsigned len = 0; len < max; len++) {
		struct prefix p = prefix_of(a, (uint8_t)len);
		struct addr_range r = prefix_range(&p);

		if (addr_eq(&p.addr, a) && addr_cmp(&r.hi, last) <= 0)
			return p;
	}
	return prefix_of(a, (uint8_t)max);
}

/* One more (step 1) or less (-1): all ones and all zeros come round. */
static struct addr
next_to(struct addr a, int step)
{
	uint8_t round = step > 0 ? 0 : 255;

	for (size_t i = addr_len(&a); i-- > 0;) {
		a.bytes[i] = (uint8_t)(a.bytes[i] + step);
		if (a.bytes[i] != round)
			break;
	}
	return a;
}

/* Mapped addresses are on no wire, and others take them for IPv4. */
static bool
is_mapped(const struct prefix *p)
{
	return p->addr.family == 6 && addr_from_v6(p->addr.bytes).family == 4;
}

static size_t
between(const struct addr *lo, const struct addr *hi, struct prefix *ret, size_t n)
{
	struct addr at = *lo;

	while (n < MAX_EXCEPT && addr_cmp(&at, hi) <= 0) {
		struct prefix p = largest(&at, hi);
		struct addr last = prefix_range(&p).hi;

		if (!is_mapped(&p))
			ret[n++] = p;
		if (addr_eq(&last, hi))
			break;
		at = next_to(last, 1);
	}
	return n;
}

/* What of a family is not in the ranges. */
static size_t
excepted(const struct prefix *all, struct prefix ret[static MAX_EXCEPT])
{
	struct addr_range whole = prefix_range(all);
	struct addr at = whole.lo;
	size_t n_ranges, n = 0;
	const struct addr_range *r = addr_internet_ranges(all->addr.family, &n_ranges);

	for (size_t i = 0; i < n_ranges; i++) {
		struct addr before = next_to(r[i].lo, -1);

		if (addr_cmp(&at, &r[i].lo) < 0)
			n = between(&at, &before, ret, n);
		at = next_to(r[i].hi, 1);
	}
	/* It has come round if the last range ends with the family. */
	return addr_eq(&at, &whole.lo) ? n : between(&at, &whole.hi, ret, n);
}

void
export_internet(FILE *f, const char *side, bool cilium)
{
	static const char *const families[] = { "0.0.0.0/0", "::/0" };

	fprintf(f, cilium ? "    - %sCIDRSet:\n" : "    - %s:\n", side);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct prefix all, list[MAX_EXCEPT];
		size_t n;

		if (prefix_parse(families[i], &all) < 0)
			continue;
		fprintf(f,
		    cilium ? "        - cidr: \"%s\"\n          except: ["
			   : "        - ipBlock:\n            cidr: \"%s\"\n            except: [",
		    families[i]);
		n = excepted(&all, list);
		for (size_t k = 0; k < n; k++) {
			char text[PREFIX_STRLEN];

			fprintf(f, "%s\"%s\"", k > 0 ? ", " : "", prefix_format(&list[k], text));
		}
		fputs("]\n", f);
	}
}
