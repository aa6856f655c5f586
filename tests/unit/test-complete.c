/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is claimed, and above all what is not. The calibration is tests/sim/sim-complete. */
#include "rules/complete.h"

#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define T0 480000u
#define WEEKS(n) ((n)*WEEK_HOURS)

/* Watched since T0, without n of every second hours from `from` on. */
static void
watch_but(struct complete_log *l, uint32_t hours, uint32_t from, unsigned n)
{
	memset(l, 0, sizeof(*l));
	for (uint32_t h = 0; h < hours; h++)
		complete_log_mark(l, T0 + h,
		    COMPLETE_RAN |
			(h >= from && h < from + 2 * n && (h - from) % 2 == 0 ? COMPLETE_BROKEN
									      : 0));
}

static void
watch(struct complete_log *l, uint32_t hours)
{
	watch_but(l, hours, 0, 0);
}

static void
bounds_are_those_of_the_tables(void **state)
{
	/* Clopper and Pearson, one-sided 95%: scipy's beta.ppf(.95, k + 1, n - k). */
	static const struct {
		unsigned k, n;
		double high;
	} binomial[] = {
		{ 0, 1, 0.95 },
		{ 0, 59, 0.0495 },
		{ 0, 168, 0.01767 },
		{ 1, 10, 0.39416 },
		{ 5, 20, 0.45558 },
		{ 20, 20, 1 },
		{ 3, 2688, 0.00288 },
	};
	static const struct {
		unsigned k;
		double ratio;
		unsigned high;
	} poisson[] = {
		{ 0, 1, 4 },  /* 2^-4 > 5%, 2^-5 is not */
		{ 0, 2, 7 },  /* (2/3)^7 = 5.9% */
		{ 0, 3, 10 }, /* (3/4)^10 = 5.6% */
	};

	for (size_t i = 0; i < ARRAY_SIZE(binomial); i++)
		assert_true(fabs(complete_binomial_high(binomial[i].k, binomial[i].n) -
				 binomial[i].high) < 2e-5);
	for (size_t i = 0; i < ARRAY_SIZE(poisson); i++)
		assert_int_equal(
		    complete_predict_high(poisson[i].k, poisson[i].ratio), poisson[i].high);
	for (unsigned k = 1; k < 500; k++) {
		assert_true(complete_predict_high(k, 2) > complete_predict_high(k - 1, 2));
		assert_true(complete_predict_high(k, 2) > 2 * k);
	}
}

static void
a_quiet_workload_is_claimed_after_two_weeks_and_better_after_eight(void **state)
{
	const struct complete_edge edges[] = { { T0, 300 }, { T0 + 3, 200 }, { T0 + 20, 40 } };
	static const struct {
		uint32_t hours;
		bool claimed;
		double chance_high;
	} cases[] = {
		{ 3, false, 0 }, { WEEKS(1), false, 0 }, { WEEKS(2) - 1, false, 0 },
		{ WEEKS(2), true, 0.036 }, { WEEKS(8), true, 0.009 }, { WEEKS(16), true, 0.0045 },
		{ WEEKS(30), true, 0.0045 }, /* sixteen are all that count */
	};
	struct complete_log l;
	struct completeness c;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		watch(&l, cases[i].hours);
		complete_estimate(&l, T0 + cases[i].hours, edges, 3, false, &c);
		assert_int_equal(c.windows, MIN(cases[i].hours, WEEKS(16)));
		assert_int_equal(c.incomplete_windows, 0);
		assert_int_equal(c.why == COMPLETE_CLAIMED, cases[i].claimed);
		assert_int_equal(isnan(c.chance_high), !cases[i].claimed);
		assert_int_equal(isnan(c.unseen_high), !cases[i].claimed);
		assert_true(c.chance == 0 && c.at_least == 0);
		if (cases[i].claimed)
			assert_true(c.chance_high < cases[i].chance_high &&
				    c.chance_high > cases[i].chance_high / 2);
	}
}

static void
nothing_watched_claims_nothing(void **state)
{
	static const struct complete_log none;
	const struct complete_edge edge = { T0, 1 };
	struct completeness c;

	complete_estimate(&none, T0, &edge, 1, false, &c);
	assert_true(c.windows == 0 && isnan(c.chance) && isnan(c.at_least));
	assert_true(isnan(c.chance_high) && isnan(c.unseen_high));
	assert_int_equal(c.why, COMPLETE_TOO_SHORT);
	complete_estimate(&none, 0, &edge, 1, true, &c);
	assert_int_equal(c.windows, 0);
}

static void
an_hour_of_the_week_that_was_never_seen_whole_claims_nothing(void **state)
{
	struct complete_log l;
	struct completeness c;

	watch_but(&l, WEEKS(2), 30, 1);
	complete_estimate(&l, T0 + WEEKS(2), NULL, 0, false, &c);
	assert_int_equal(c.why, COMPLETE_CLAIMED);
	assert_int_equal(c.incomplete_windows, 1);
	watch_but(&l, WEEKS(2), 1, WEEKS(1) / 2 + 1);
	complete_estimate(&l, T0 + WEEKS(2), NULL, 0, false, &c);
	assert_int_equal(c.why, COMPLETE_UNCOVERED);
	assert_int_equal(c.hours_covered, 167);
	assert_true(isnan(c.chance_high));
}

static void
too_much_loss_claims_nothing(void **state)
{
	struct complete_log l;
	struct completeness c;

	watch_but(&l, WEEKS(4), WEEKS(3), 33);
	complete_estimate(&l, T0 + WEEKS(4), NULL, 0, false, &c);
	assert_int_equal(c.why, COMPLETE_CLAIMED);
	watch_but(&l, WEEKS(4), WEEKS(3), 34);
	complete_estimate(&l, T0 + WEEKS(4), NULL, 0, false, &c);
	assert_int_equal(c.why, COMPLETE_LOSSY);
}

/* Nor may an hour cover another of the week before it is over. */
static void
the_hour_under_way_covers_nothing(void **state)
{
	struct complete_log l = { 0 };
	struct completeness c;

	for (uint32_t h = 0; h <= WEEKS(2); h++)
		complete_log_mark(
		    &l, T0 + h, COMPLETE_RAN | (h == 0 || h == WEEKS(1) ? COMPLETE_BROKEN : 0));
	complete_estimate(&l, T0 + WEEKS(2), NULL, 0, false, &c);
	assert_int_equal(c.hours_covered, WEEKS(1) - 1);
	assert_int_equal(c.why, COMPLETE_UNCOVERED);
}

/* Nor does time in which nobody was there. */
static void
an_absence_is_no_observation(void **state)
{
	struct complete_log l;
	struct completeness c;

	watch(&l, WEEKS(3));
	for (uint32_t h = WEEKS(5); h < WEEKS(6); h++)
		complete_log_mark(&l, T0 + h, COMPLETE_RAN);
	complete_estimate(&l, T0 + WEEKS(6), NULL, 0, false, &c);
	assert_int_equal(c.windows, WEEKS(4));
	assert_int_equal(c.why, COMPLETE_LOSSY);
	for (uint32_t h = WEEKS(6); h < WEEKS(10); h++)
		complete_log_mark(&l, T0 + h, COMPLETE_RAN);
	complete_estimate(&l, T0 + WEEKS(10), NULL, 0, false, &c);
	assert_int_equal(c.why, COMPLETE_CLAIMED);
}

static void
new_edges_that_keep_coming_claim_nothing(void **state)
{
	struct complete_edge edges[64];
	struct complete_log l;
	struct completeness c;
	double before = 0;

	watch(&l, WEEKS(4));
	/* None, one, two, three times lately: ever less is claimed, then nothing. */
	for (unsigned n = 0; n < 6; n++) {
		for (unsigned i = 0; i < n; i++)
			edges[i] = (struct complete_edge){ T0 + WEEKS(2) + 50 * i, 9 };
		complete_estimate(&l, T0 + WEEKS(4), edges, n, false, &c);
		assert_int_equal(c.new_lately, n);
		assert_int_equal(c.why, n <= 3 ? COMPLETE_CLAIMED : COMPLETE_GROWING);
		if (n <= 3)
			assert_true(c.chance_high > before);
		before = c.chance_high;
	}
	/* A new one in each window is no single event. */
	for (unsigned i = 0; i < 64; i++)
		edges[i] = (struct complete_edge){ T0 + WEEKS(3) + i, 9 };
	complete_estimate(&l, T0 + WEEKS(4), edges, 64, false, &c);
	assert_int_equal(c.why, COMPLETE_GROWING);
	/* Many at once are one, but what comes next may be as many. */
	for (unsigned i = 0; i < 20; i++)
		edges[i] = (struct complete_edge){ T0 + WEEKS(3), 9 };
	complete_estimate(&l, T0 + WEEKS(4), edges, 20, false, &c);
	assert_int_equal(c.why, COMPLETE_CLAIMED);
	assert_true(c.unseen_high >= 20 * 10);
}

/* In two groups lately and in one before; what the first week brought is getting to know it. */
static void
the_bounds_are_those_of_the_groups_and_their_size(void **state)
{
	const uint32_t late = T0 + WEEKS(4), windows = WEEKS(4), all = WEEKS(7);
	struct complete_edge edges[40];
	struct complete_log l;
	struct completeness c;
	double size = (20 * 20 + 5 * 5 + 1) / 26.0, chance, unseen;
	size_t n = 0;

	watch(&l, WEEKS(8));
	while (n < 5)
		edges[n++] = (struct complete_edge){ T0 + 3, 9 };
	while (n < 25)
		edges[n++] = (struct complete_edge){ T0 + WEEKS(2), 9 };
	while (n < 27)
		edges[n++] = (struct complete_edge){ late, 9 };
	while (n < 30)
		edges[n++] = (struct complete_edge){ late + 6, 9 };
	edges[n++] = (struct complete_edge){ late + 13, 9 };
	complete_estimate(&l, T0 + WEEKS(8), edges, n, false, &c);
	assert_int_equal(c.why, COMPLETE_CLAIMED);
	assert_int_equal(c.new_lately, 6);
	chance = fmax(complete_binomial_high(3, windows), complete_binomial_high(4, all));
	unseen = fmax(ceil(size * complete_predict_high(2, 2)),
	    ceil(size * complete_predict_high(3, WEEKS(8) / (double)all)));
	assert_true(fabs(c.chance_high - 2 * chance) < 1e-9);
	assert_true(c.unseen_high == unseen);
}

static void
new_edges_in_eighteen_windows_are_three_groups_at_most(void **state)
{
	struct complete_edge edges[19];
	struct complete_log l;
	struct completeness c;

	watch(&l, WEEKS(4));
	for (unsigned i = 0; i < ARRAY_SIZE(edges); i++)
		edges[i] = (struct complete_edge){ T0 + WEEKS(3) + i, 9 };
	complete_estimate(&l, T0 + WEEKS(4), edges, 18, false, &c);
	assert_int_equal(c.why, COMPLETE_CLAIMED);
	complete_estimate(&l, T0 + WEEKS(4), edges, 19, false, &c);
	assert_int_equal(c.why, COMPLETE_GROWING);
}

/* An edge in the hour that is under way is evidence against, and the hour none for. */
static void
what_is_under_way_counts_only_against(void **state)
{
	struct complete_edge edge = { T0 + WEEKS(2), 1 };
	struct complete_log l;
	struct completeness with, without;

	watch(&l, WEEKS(2) + 1);
	complete_estimate(&l, T0 + WEEKS(2), &edge, 1, false, &with);
	complete_estimate(&l, T0 + WEEKS(2), NULL, 0, false, &without);
	assert_int_equal(with.windows, WEEKS(2));
	assert_int_equal(with.new_lately, 1);
	assert_true(with.chance_high > without.chance_high);
	assert_true(with.unseen_high > without.unseen_high);
	/* Also one from the future, as a clock that was set back leaves it. */
	edge.first_hour = T0 + WEEKS(9);
	complete_estimate(&l, T0 + WEEKS(2), &edge, 1, false, &with);
	assert_int_equal(with.new_lately, 1);
}

static void
at_least_is_the_lower_end_of_chaos_interval(void **state)
{
	/*
	 * Chao2 with 100 windows: 17.82 and a deviation of 23.4; 14.85 and 13.3; none; none;
	 * 772.2 and 247.3; 79.2 and 36.5; 188.1 and 86.3.
	 */
	static const struct {
		unsigned once, twice, often;
		double at_least;
	} cases[] = { { 6, 1, 2, 3 }, { 6, 0, 0, 4 }, { 0, 3, 5, 0 }, { 1, 0, 5, 0 },
		{ 40, 0, 5, 461 }, { 40, 10, 5, 38 }, { 20, 0, 0, 91 } };
	struct complete_log l;

	watch(&l, 100);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct complete_edge edges[55];
		struct completeness c;
		unsigned n = 0;

		while (n < cases[i].once)
			edges[n] = (struct complete_edge){ T0 + n, 1 }, n++;
		while (n < cases[i].once + cases[i].twice)
			edges[n] = (struct complete_edge){ T0 + n, 2 }, n++;
		while (n < cases[i].once + cases[i].twice + cases[i].often)
			edges[n] = (struct complete_edge){ T0 + n, 50 }, n++;
		complete_estimate(&l, T0 + 100, edges, n, false, &c);
		assert_true(c.at_least == cases[i].at_least);
		assert_true(fabs(c.chance - cases[i].once / 100.0) < 1e-9);
	}
}

static void
runs_are_counted_however_long_they_take(void **state)
{
	struct complete_log l = { 0 };
	struct completeness c;
	struct complete_edge late = { T0 + 24 * 26 + 3, 1 };

	/* Four weeks of a nightly run of three hours; the fifth one is broken in its middle. */
	for (unsigned day = 0; day < 28; day++) {
		complete_log_mark(&l, T0 + 24 * day + 2, COMPLETE_RAN | COMPLETE_BEGAN);
		complete_log_mark(
		    &l, T0 + 24 * day + 3, COMPLETE_RAN | (day == 4 ? COMPLETE_BROKEN : 0));
		complete_log_mark(&l, T0 + 24 * day + 4, COMPLETE_RAN);
	}
	complete_estimate(&l, T0 + WEEKS(4) + 24, NULL, 0, true, &c);
	assert_true(c.in_runs);
	assert_int_equal(c.windows, 27);
	assert_int_equal(c.incomplete_windows, 1);
	/* That it does not run by day is no gap; that there were few runs is in the bound. */
	assert_int_equal(c.why, COMPLETE_CLAIMED);
	assert_true(c.chance_high > 0.3);
	complete_estimate(&l, T0 + WEEKS(4) + 24, &late, 1, true, &c);
	assert_int_equal(c.new_lately, 1);
	/* What was seen between two runs is the first one's, which was before the latest half. */
	late.first_hour = T0 + 24 * 14 + 10;
	complete_estimate(&l, T0 + WEEKS(4) + 24, &late, 1, true, &c);
	assert_int_equal(c.new_lately, 0);
	/* By the hour there would be gaps. */
	complete_estimate(&l, T0 + WEEKS(4) + 24, NULL, 0, false, &c);
	assert_int_equal(c.windows, 83);
	assert_int_equal(c.why, COMPLETE_UNCOVERED);
	/* Met in the middle of a run: its beginning may have brought what nobody saw. */
	memset(&l, 0, sizeof(l));
	complete_log_mark(&l, T0, COMPLETE_RAN);
	complete_log_mark(&l, T0 + 24, COMPLETE_RAN | COMPLETE_BEGAN);
	complete_estimate(&l, T0 + 48, NULL, 0, true, &c);
	assert_int_equal(c.windows, 1);
	assert_int_equal(c.incomplete_windows, 1);
}

static void
broken_runs_claim_nothing(void **state)
{
	/* Of 28 in the latest half a tenth may be broken. */
	static const struct {
		unsigned broken;
		enum complete_why why;
	} cases[] = { { 2, COMPLETE_CLAIMED }, { 3, COMPLETE_LOSSY } };
	struct completeness c;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct complete_log l = { 0 };

		for (unsigned day = 0; day < 56; day++)
			complete_log_mark(&l, T0 + 24 * day + 2,
			    COMPLETE_RAN | COMPLETE_BEGAN |
				(day >= 40 && day < 40 + cases[i].broken ? COMPLETE_BROKEN : 0));
		complete_estimate(&l, T0 + WEEKS(8) + 2, NULL, 0, true, &c);
		assert_int_equal(c.incomplete_windows, cases[i].broken);
		assert_int_equal(c.why, cases[i].why);
	}
}

static void
few_runs_claim_nothing(void **state)
{
	struct complete_log l = { 0 };
	struct completeness c;

	for (unsigned week = 0; week < 6; week++)
		complete_log_mark(&l, T0 + WEEKS(week), COMPLETE_RAN | COMPLETE_BEGAN);
	complete_estimate(&l, T0 + WEEKS(6), NULL, 0, true, &c);
	assert_int_equal(c.windows, 6);
	assert_int_equal(c.why, COMPLETE_TOO_SHORT);
}

static void
the_log_keeps_its_bound_and_forgets_the_oldest(void **state)
{
	struct complete_log l = { 0 };
	struct completeness c;

	assert_true(complete_log_mark(&l, T0, COMPLETE_RAN | COMPLETE_BROKEN | COMPLETE_BEGAN));
	assert_false(complete_log_mark(&l, T0, COMPLETE_RAN));
	assert_true(complete_log_mark(&l, T0 + COMPLETE_HOURS, COMPLETE_RAN));
	assert_false(complete_log_mark(&l, T0 + COMPLETE_HOURS, COMPLETE_RAN));
	assert_int_equal(l.begin, T0);
	for (size_t i = 0; i < sizeof(l.began); i++)
		assert_int_equal(l.began[i], 0);
	complete_estimate(&l, T0 + COMPLETE_HOURS + 1, NULL, 0, false, &c);
	assert_int_equal(c.windows, 1);
	assert_int_equal(c.incomplete_windows, 0);
	/* A little late is in time. */
	assert_true(complete_log_mark(&l, T0 + COMPLETE_HOURS - 2, COMPLETE_BROKEN));
	assert_int_equal(l.head, T0 + COMPLETE_HOURS);
	complete_estimate(&l, T0 + COMPLETE_HOURS + 1, NULL, 0, false, &c);
	assert_int_equal(c.incomplete_windows, 1);
}

static void
a_clock_that_jumps_begins_anew(void **state)
{
	static const int64_t jumps[] = { -25, -WEEKS(3), (int64_t)COMPLETE_HOURS + 1, 4000000 };

	for (size_t i = 0; i < ARRAY_SIZE(jumps); i++) {
		struct complete_log l;
		struct completeness c;
		uint32_t to = (uint32_t)(T0 + WEEKS(3) - 1 + jumps[i]);

		watch(&l, WEEKS(3));
		memset(l.broken, 0xff, sizeof(l.broken));
		complete_log_mark(&l, to, COMPLETE_RAN);
		assert_int_equal(l.begin, to);
		complete_estimate(&l, to + 1, NULL, 0, false, &c);
		assert_int_equal(c.windows, 1);
		assert_int_equal(c.incomplete_windows, 0);
	}
}

static void
a_log_comes_back_from_its_bytes_and_bad_ones_do_not(void **state)
{
	struct complete_log l, back;
	uint8_t buf[COMPLETE_LOG_BYTES + 1];

	watch(&l, 1000);
	complete_log_mark(&l, T0 + 77, COMPLETE_BROKEN);
	complete_log_mark(&l, T0 + 78, COMPLETE_BEGAN);
	complete_log_encode(&l, buf);
	assert_int_equal(complete_log_decode(buf, COMPLETE_LOG_BYTES, &back), 0);
	assert_memory_equal(&l, &back, sizeof(l));
	assert_int_equal(complete_log_decode(buf, COMPLETE_LOG_BYTES - 1, &back), -EBADMSG);
	assert_int_equal(complete_log_decode(buf, COMPLETE_LOG_BYTES + 1, &back), -EBADMSG);
	assert_int_equal(complete_log_decode(buf, 0, &back), -EBADMSG);
	buf[3] = 0xff; /* begins after its end */
	assert_int_equal(complete_log_decode(buf, COMPLETE_LOG_BYTES, &back), -EBADMSG);
	buf[7] = 0xff;
	assert_int_equal(complete_log_decode(buf, COMPLETE_LOG_BYTES, &back), -EBADMSG);
}

/* However long it is, and wherever in the ring. */
static void
a_folded_log_is_the_same_and_as_short_as_it_was_watched(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 7, 8, 9, 200, COMPLETE_HOURS - 9,
		COMPLETE_HOURS - 1, COMPLETE_HOURS, 2 * COMPLETE_HOURS + 3 };
	static const unsigned marks[] = { COMPLETE_RAN, COMPLETE_BROKEN, COMPLETE_BEGAN };
	struct complete_log l, back;
	struct complete_hours *h;

	complete_log_unfold(NULL, &back);
	memset(&l, 0, sizeof(l));
	assert_memory_equal(&l, &back, sizeof(l));
	for (uint32_t begin = T0; begin < T0 + COMPLETE_HOURS; begin += 5) {
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			memset(&l, 0, sizeof(l));
			for (uint32_t k = 0; k <= lengths[i]; k++)
				complete_log_mark(&l, begin + k, marks[(begin + k * k) % 3]);
			h = complete_log_fold(&l);
			assert_non_null(h);
			if (lengths[i] == 1)
				assert_true(malloc_usable_size(h) < 32);
			complete_log_unfold(h, &back);
			assert_memory_equal(&l, &back, sizeof(l));
			free(h);
		}
	}
}

static void
a_clock_that_is_a_day_late_is_in_time(void **state)
{
	struct complete_log l;

	watch(&l, WEEKS(3));
	complete_log_mark(&l, T0 + WEEKS(3) - 1 - 24, COMPLETE_RAN);
	assert_int_equal(l.begin, T0);
	assert_int_equal(l.head, T0 + WEEKS(3) - 1);
}

/* Any log that is taken can be estimated, at any hour. */
static void
hostile_logs_and_edges_are_survived(void **state)
{
	uint64_t seed = 1;
	uint8_t buf[COMPLETE_LOG_BYTES];

	for (unsigned n = 0; n < 2000; n++) {
		struct complete_edge edges[32];
		struct complete_log l;
		struct completeness c;
		uint32_t now;

		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (uint8_t)(hash_mix64(seed++) >> 17);
		buf[3] &= n % 2 ? 0x01 : 0x3f;
		buf[7] &= n % 2 ? 0x01 : 0x3f;
		if (complete_log_decode(buf, sizeof(buf), &l) < 0)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
			edges[i].first_hour = l.head - 2000 + (uint32_t)(hash_mix64(seed++) % 4000);
			edges[i].windows = (uint32_t)(hash_mix64(seed++) % 4);
		}
		now = l.head + (uint32_t)(hash_mix64(seed++) % 6000) - 3000;
		complete_estimate(&l, now, edges, ARRAY_SIZE(edges), n % 3 == 0, &c);
		assert_true(c.windows + c.incomplete_windows <= WEEKS(16));
		assert_true(isnan(c.chance_high) || (c.chance_high >= 0 && c.chance_high <= 1 &&
							c.chance <= c.chance_high));
		complete_log_mark(&l, now, COMPLETE_RAN);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_are_those_of_the_tables),
		cmocka_unit_test(
		    a_quiet_workload_is_claimed_after_two_weeks_and_better_after_eight),
		cmocka_unit_test(nothing_watched_claims_nothing),
		cmocka_unit_test(an_hour_of_the_week_that_was_never_seen_whole_claims_nothing),
		cmocka_unit_test(too_much_loss_claims_nothing),
		cmocka_unit_test(the_hour_under_way_covers_nothing),
		cmocka_unit_test(an_absence_is_no_observation),
		cmocka_unit_test(new_edges_that_keep_coming_claim_nothing),
		cmocka_unit_test(the_bounds_are_those_of_the_groups_and_their_size),
		cmocka_unit_test(new_edges_in_eighteen_windows_are_three_groups_at_most),
		cmocka_unit_test(what_is_under_way_counts_only_against),
		cmocka_unit_test(at_least_is_the_lower_end_of_chaos_interval),
		cmocka_unit_test(runs_are_counted_however_long_they_take),
		cmocka_unit_test(broken_runs_claim_nothing),
		cmocka_unit_test(few_runs_claim_nothing),
		cmocka_unit_test(the_log_keeps_its_bound_and_forgets_the_oldest),
		cmocka_unit_test(a_clock_that_jumps_begins_anew),
		cmocka_unit_test(a_clock_that_is_a_day_late_is_in_time),
		cmocka_unit_test(a_log_comes_back_from_its_bytes_and_bad_ones_do_not),
		cmocka_unit_test(a_folded_log_is_the_same_and_as_short_as_it_was_watched),
		cmocka_unit_test(hostile_logs_and_edges_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
