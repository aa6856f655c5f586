/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/addr.h"
#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct addr
parsed(const char *text)
{
	struct addr a;

	if (addr_parse(text, &a) < 0)
		fail_msg("cannot parse %s", text);
	return a;
}

static struct prefix
parsed_prefix(const char *text)
{
	struct prefix p;

	if (prefix_parse(text, &p) < 0)
		fail_msg("cannot parse %s", text);
	return p;
}

/* Adds 1 or -1; false where the family's address space ends. */
static bool
step(struct addr *a, int by)
{
	for (size_t i = addr_len(a); i-- > 0;) {
		a->bytes[i] = (uint8_t)(a->bytes[i] + by);
		if (a->bytes[i] != (by > 0 ? 0x00 : 0xff))
			return true;
	}
	return false;
}

static bool
in_ranges(const struct addr *a)
{
	size_t n;
	const struct addr_range *r = addr_internet_ranges(a->family, &n);

	for (size_t i = 0; i < n; i++) {
		if (addr_cmp(a, &r[i].lo) >= 0 && addr_cmp(a, &r[i].hi) <= 0)
			return true;
	}
	return false;
}

static void
assert_ranges_agree(const struct addr *a)
{
	char buf[ADDR_STRLEN];

	if (in_ranges(a) != (addr_scope(a) == SCOPE_INTERNET))
		fail_msg("ranges and scope disagree on %s", addr_format(a, buf));
}

static void
text_is_canonical(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "1::", "1::" },
		{ "2001:0DB8:0:0:0:0:0:0001", "2001:db8::1" },
		/* A single zero group is not shortened. */
		{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" },
		/* The longest run, and the first of equals. */
		{ "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },
		{ "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },
		{ "0:0:1:0:0:0:0:0", "0:0:1::" },
		{ "1:0:0:0:0:0:0:0", "1::" },
		{ "0:1:1:1:1:1:1:0", "0:1:1:1:1:1:1:0" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		/* One host, one value. */
		{ "::ffff:10.1.2.3", "10.1.2.3" },
		{ "::FFFF:a01:203", "10.1.2.3" },
		{ "::1.2.3.4", "::102:304" },
		{ "64:ff9b::1.2.3.4", "64:ff9b::102:304" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[ADDR_STRLEN];
		struct addr a = parsed(cases[i].in), again;

		assert_string_equal(addr_format(&a, buf), cases[i].out);
		again = parsed(buf);
		assert_true(addr_eq(&a, &again));
	}

	char buf[ADDR_STRLEN];
	assert_string_equal(addr_format(&(struct addr){ 0 }, buf), "?");
}

static void
bad_addresses_are_refused_and_leave_the_output(void **state)
{
	static const char *const bad[] = { "", " 1.2.3.4", "1.2.3.4 ", "1.2.3", "1.2.3.4.5",
		"01.2.3.4", "1.2.3.04", "256.1.1.1", "1.2.3.-4", "0x1.2.3.4", "1.2.3.4\n",
		"1.2.3.4/32", "::1%eth0", "fe80::1%2", "[::1]", ":::", "1::2::3", "1:2:3:4:5:6:7",
		"12345::", "1:2:3:4:5:6:7:8:9", "::g", "::01.2.3.4", "::1.2.3.4:1", "localhost",
		":1", "1:" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct addr a, before;

		memset(&a, 0x5a, sizeof(a));
		before = a;
		if (addr_parse(bad[i], &a) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
		assert_memory_equal(&a, &before, sizeof(a));
	}
}

static void
bytes_make_the_same_values_as_text(void **state)
{
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 192, 0, 2, 7 };
	static const uint8_t nearly[16] = { [10] = 0xff, 0xfe, 192, 0, 2, 7 };
	struct addr want = parsed("192.0.2.7"), a = addr_from_v6(mapped);

	assert_memory_equal(&a, &want, sizeof(a));
	a = addr_from_v4(mapped + 12);
	assert_memory_equal(&a, &want, sizeof(a));
	a = addr_from_v6(nearly);
	assert_int_equal(a.family, 6);
	assert_memory_equal(a.bytes, nearly, 16);
	assert_int_equal(addr_len(&want), 4);
	assert_int_equal(addr_len(&a), 16);
}

static void
order_is_total_and_family_comes_first(void **state)
{
	static const char *const sorted[] = { "0.0.0.0", "0.0.0.1", "1.0.0.0", "127.255.255.255",
		"128.0.0.0", "255.255.255.255", "::", "::1", "1::", "ff::", "ffff::" };

	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sorted); j++) {
			struct addr a = parsed(sorted[i]), b = parsed(sorted[j]);
			int c = addr_cmp(&a, &b);

			assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
			assert_int_equal(addr_eq(&a, &b), i == j);
			if (i == j)
				assert_int_equal(addr_hash(&a, 9), addr_hash(&b, 9));
			else
				assert_int_not_equal(addr_hash(&a, 9), addr_hash(&b, 9));
		}
		struct addr a = parsed(sorted[i]);
		assert_int_not_equal(addr_hash(&a, 1), addr_hash(&a, 2));
	}
}

/* The first and last address of every special range, and the scope just outside. */
static const struct {
	const char *lo, *hi;
	enum addr_scope in, below, above;
} special[] = {
	{ "0.0.0.0", "0.255.255.255", SCOPE_LOCAL, SCOPE_LOCAL, SCOPE_INTERNET },
	{ "10.0.0.0", "10.255.255.255", SCOPE_LOCAL, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "100.64.0.0", "100.127.255.255", SCOPE_LOCAL, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "127.0.0.0", "127.255.255.255", SCOPE_LOCAL, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "169.254.0.0", "169.254.255.255", SCOPE_LOCAL, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "172.16.0.0", "172.31.255.255", SCOPE_LOCAL, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "192.168.0.0", "192.168.255.255", SCOPE_LOCAL, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "224.0.0.0", "239.255.255.255", SCOPE_MULTICAST, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "255.255.255.255", "255.255.255.255", SCOPE_MULTICAST, SCOPE_INTERNET, SCOPE_LOCAL },
	{ "::", "::1", SCOPE_LOCAL, SCOPE_LOCAL, SCOPE_INTERNET },
	{ "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", SCOPE_LOCAL, SCOPE_INTERNET,
	    SCOPE_INTERNET },
	{ "fe80::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", SCOPE_LOCAL, SCOPE_INTERNET,
	    SCOPE_MULTICAST },
	{ "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", SCOPE_MULTICAST, SCOPE_LOCAL,
	    SCOPE_LOCAL },
	/* Documentation, benchmark and reserved ranges are unknown like any other. */
	{ "192.0.2.0", "192.0.2.255", SCOPE_INTERNET, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "198.51.100.0", "198.51.100.255", SCOPE_INTERNET, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "203.0.113.0", "203.0.113.255", SCOPE_INTERNET, SCOPE_INTERNET, SCOPE_INTERNET },
	{ "240.0.0.0", "255.255.255.254", SCOPE_INTERNET, SCOPE_MULTICAST, SCOPE_MULTICAST },
	{ "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", SCOPE_INTERNET, SCOPE_INTERNET,
	    SCOPE_INTERNET },
};

static void
scope_is_exact_at_every_boundary(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(special); i++) {
		struct addr lo = parsed(special[i].lo), hi = parsed(special[i].hi);

		assert_int_equal(addr_scope(&lo), special[i].in);
		assert_int_equal(addr_scope(&hi), special[i].in);
		assert_int_equal(addr_is_multicast(&lo), special[i].in == SCOPE_MULTICAST);
		assert_ranges_agree(&lo);
		assert_ranges_agree(&hi);
		if (step(&lo, -1)) {
			assert_int_equal(addr_scope(&lo), special[i].below);
			assert_ranges_agree(&lo);
		}
		if (step(&hi, 1)) {
			assert_int_equal(addr_scope(&hi), special[i].above);
			assert_ranges_agree(&hi);
		}
	}
}

static void
mapped_bytes_are_never_the_internet(void **state)
{
	/* Not made by addr_from_v6(); a value off the wire may still say so. */
	struct addr lo = { .family = 6, .bytes = { [10] = 0xff, 0xff } }, hi = lo;

	memset(hi.bytes + 12, 0xff, 4);
	assert_int_equal(addr_scope(&lo), SCOPE_LOCAL);
	assert_int_equal(addr_scope(&hi), SCOPE_LOCAL);
	assert_ranges_agree(&lo);
	assert_ranges_agree(&hi);
	assert_true(step(&lo, -1) && step(&hi, 1));
	assert_int_equal(addr_scope(&lo), SCOPE_INTERNET);
	assert_int_equal(addr_scope(&hi), SCOPE_INTERNET);
	assert_ranges_agree(&lo);
	assert_ranges_agree(&hi);
}

static void
only_loopback_is_loopback(void **state)
{
	static const struct {
		const char *text;
		bool loopback;
	} cases[] = {
		{ "127.0.0.0", true },
		{ "127.0.0.11", true },
		{ "127.255.255.255", true },
		{ "126.255.255.255", false },
		{ "128.0.0.0", false },
		{ "::1", true },
		{ "::", false },
		{ "::2", false },
		{ "::ffff:127.0.0.1", true },
		{ "7f00::1", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a = parsed(cases[i].text);

		assert_int_equal(addr_is_loopback(&a), cases[i].loopback);
	}
}

static void
internet_ranges_agree_with_scope_around_each_end(void **state)
{
	for (uint8_t family = 4; family <= 6; family += 2) {
		size_t n;
		const struct addr_range *r = addr_internet_ranges(family, &n);

		assert_true(n > 0);
		for (size_t i = 0; i < n; i++) {
			struct addr lo = r[i].lo, hi = r[i].hi;

			assert_int_equal(lo.family, family);
			assert_int_equal(hi.family, family);
			assert_true(addr_cmp(&lo, &hi) <= 0);
			assert_true(i == 0 || addr_cmp(&r[i - 1].hi, &lo) < 0);
			assert_int_equal(addr_scope(&lo), SCOPE_INTERNET);
			assert_int_equal(addr_scope(&hi), SCOPE_INTERNET);
			/* Just outside is something else, so no two ranges touch. */
			assert_true(step(&lo, -1) && step(&hi, 1));
			assert_int_not_equal(addr_scope(&lo), SCOPE_INTERNET);
			assert_int_not_equal(addr_scope(&hi), SCOPE_INTERNET);
		}
	}

	size_t n = 7;
	assert_null(addr_internet_ranges(0, &n));
	assert_int_equal(n, 0);
}

static void
internet_ranges_agree_with_scope_on_a_million_addresses(void **state)
{
	uint64_t x = 1;

	for (unsigned i = 0; i < 1000000; i++) {
		struct addr a = { .family = i % 2 ? 6 : 4 };
		uint64_t word[2];

		word[0] = hash_mix64(x += 0x9e3779b97f4a7c15ULL);
		word[1] = hash_mix64(x += 0x9e3779b97f4a7c15ULL);
		memcpy(a.bytes, word, addr_len(&a));
		/* Uniform IPv6 addresses hardly ever meet a short range: pull some towards them. */
		if (i % 8 == 1)
			a.bytes[0] |= 0xfc;
		else if (i % 8 == 3)
			memset(a.bytes, 0, 8 + word[1] % 9);
		assert_ranges_agree(&a);
	}
}

static void
prefixes_parse_and_format(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "10.0.0.0/8", "10.0.0.0/8" },
		{ "10.128.0.0/9", "10.128.0.0/9" },
		{ "10.1.2.3", "10.1.2.3/32" },
		{ "10.1.2.3/32", "10.1.2.3/32" },
		{ "10.1.2.2/31", "10.1.2.2/31" },
		{ "::/0", "::/0" },
		{ "2001:db8::/32", "2001:db8::/32" },
		{ "2001:db8::1", "2001:db8::1/128" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127",
		    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127" },
		{ "::ffff:10.0.0.0/104", "10.0.0.0/8" },
		{ "::ffff:10.1.2.3", "10.1.2.3/32" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[PREFIX_STRLEN];
		struct prefix p = parsed_prefix(cases[i].in);

		assert_string_equal(prefix_format(&p, buf), cases[i].out);
	}
}

static void
bad_prefixes_are_refused(void **state)
{
	static const char *const bad[] = { "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
		"10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/8 ", "10.0.0.0/8/8", "10.0.0.0/255.0.0.0",
		"10.0.0.0/99999999999999999999", "10.0.0.0/4294967304", "10/8", "::/129", "::/x",
		/* host bits */
		"10.0.0.1/8", "10.0.0.1/31", "10.64.0.0/9", "128.0.0.0/0", "2001:db8::1/64",
		"2001:db8::1/127", "::1/0", "::ffff:10.0.0.1/104",
		/* shorter than the mapped range */
		"::ffff:0.0.0.0/95", "::ffff:10.0.0.0/8",
		"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/64" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct prefix p, before;

		memset(&p, 0x5a, sizeof(p));
		before = p;
		if (prefix_parse(bad[i], &p) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
		assert_memory_equal(&p, &before, sizeof(p));
	}
}

static void
prefixes_contain_exactly_their_range(void **state)
{
	const struct addr bases[] = { parsed("10.170.85.204"), parsed("0.0.0.0"),
		parsed("255.255.255.255"), parsed("2001:db8:aa55:aa55:aa55:aa55:aa55:aa55"),
		parsed("::"), parsed("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") };

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		unsigned max = (unsigned)addr_len(&bases[i]) * 8;

		for (unsigned len = 0; len <= max; len++) {
			struct prefix p = prefix_of(&bases[i], (uint8_t)len);
			struct addr_range r = prefix_range(&p);

			assert_true(prefix_contains(&p, &bases[i]));
			assert_true(prefix_contains(&p, &r.lo));
			assert_true(prefix_contains(&p, &r.hi));
			assert_true(addr_eq(&p.addr, &r.lo));
			assert_int_equal(addr_eq(&r.lo, &r.hi), len == max);
			if (step(&r.lo, -1))
				assert_false(prefix_contains(&p, &r.lo));
			if (step(&r.hi, 1))
				assert_false(prefix_contains(&p, &r.hi));
		}
	}
}

static void
prefix_of_cuts_the_length(void **state)
{
	struct addr a = parsed("10.1.2.3");
	struct prefix p = prefix_of(&a, 200);

	assert_int_equal(p.len, 32);
	assert_true(addr_eq(&p.addr, &a));
}

static void
prefixes_of_two_families_never_meet(void **state)
{
	struct prefix all4 = parsed_prefix("0.0.0.0/0"), all6 = parsed_prefix("::/0");
	struct prefix none = { 0 };
	struct addr a4 = parsed("1.2.3.4"), a6 = parsed("2001:db8::1"), a0 = { 0 };

	assert_true(prefix_contains(&all4, &a4));
	assert_false(prefix_contains(&all4, &a6));
	assert_false(prefix_contains(&all6, &a4));
	assert_false(prefix_covers(&all4, &all6));
	assert_false(prefix_covers(&all6, &all4));
	assert_false(prefix_contains(&none, &a4));
	assert_false(prefix_contains(&none, &a0));
}

static void
covering_needs_a_shorter_or_equal_prefix(void **state)
{
	static const struct {
		const char *p, *q;
		bool covers;
	} cases[] = {
		{ "10.0.0.0/8", "10.0.0.0/8", true },
		{ "10.0.0.0/8", "10.1.0.0/16", true },
		{ "10.1.0.0/16", "10.0.0.0/8", false },
		{ "10.0.0.0/8", "11.0.0.0/8", false },
		{ "0.0.0.0/0", "255.255.255.255", true },
		{ "10.1.2.2/31", "10.1.2.3", true },
		{ "10.1.2.2/31", "10.1.2.4", false },
		{ "2001:db8::/33", "2001:db8:8000::/33", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct prefix p = parsed_prefix(cases[i].p), q = parsed_prefix(cases[i].q);

		assert_int_equal(prefix_covers(&p, &q), cases[i].covers);
	}
}

static void
a_length_beyond_the_family_reads_no_further(void **state)
{
	struct prefix p = parsed_prefix("10.1.2.3");
	struct addr a = parsed("10.1.2.3");

	p.len = 255;
	assert_true(prefix_contains(&p, &a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_canonical),
		cmocka_unit_test(bad_addresses_are_refused_and_leave_the_output),
		cmocka_unit_test(bytes_make_the_same_values_as_text),
		cmocka_unit_test(order_is_total_and_family_comes_first),
		cmocka_unit_test(scope_is_exact_at_every_boundary),
		cmocka_unit_test(mapped_bytes_are_never_the_internet),
		cmocka_unit_test(only_loopback_is_loopback),
		cmocka_unit_test(internet_ranges_agree_with_scope_around_each_end),
		cmocka_unit_test(internet_ranges_agree_with_scope_on_a_million_addresses),
		cmocka_unit_test(prefixes_parse_and_format),
		cmocka_unit_test(bad_prefixes_are_refused),
		cmocka_unit_test(prefixes_contain_exactly_their_range),
		cmocka_unit_test(prefix_of_cuts_the_length),
		cmocka_unit_test(prefixes_of_two_families_never_meet),
		cmocka_unit_test(covering_needs_a_shorter_or_equal_prefix),
		cmocka_unit_test(a_length_beyond_the_family_reads_no_further),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
