/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A simulator of known truth for rules/complete: workloads whose edges have rates, timetables,
 * bursts or growth that the estimator is not told. Where it claims a bound of 95%, the bound has to
 * hold in at least 95% of the cases; where it claims one in a case of a hundred at most, too few to
 * count, the interval of the share in which it holds has to reach 95%. Prints TAP and, as comments,
 * the table of docs/completeness.md. "least" is no claim: how often the estimate `unseenAtLeast`
 * was not above the truth.
 *
 *   sim-complete [CASES]    of each scenario; 100 by default. The seeds are fixed.
 *
 * What is compared: `unseenHigh` with the new edges that the equal period to come does bring;
 * `newEdgeChanceHigh` with the mean chance of a new edge in the hours of the coming week, computed
 * from the rates and from what has not been seen yet. A job that has not run has an unknown
 * timetable: it may run in each hour that is left of its period.
 */
#include "rules/complete.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_EDGES 8192
#define BEGIN 480000u /* an hour since 1970, at a Monday */
#define MAX_WEEKS 8u
#define TOTAL (2 * MAX_WEEKS * WEEK_HOURS)
#define NEVER UINT32_MAX
#define SCHEDULES 24 /* of bursts to come, for the truth */

static uint64_t rng;

static double
uniform(void)
{
	rng += 0x9e3779b97f4a7c15ULL;
	return (double)(hash_mix64(rng) >> 11) * 0x1p-53;
}

static unsigned
below(unsigned n)
{
	return (unsigned)(uniform() * n);
}

static unsigned
poisson(double mean)
{
	double limit = exp(-mean), p = uniform();
	unsigned n = 0;

	for (; p > limit; n++)
		p *= uniform();
	return n;
}

enum profile { FLAT, OFFICE, BURSTS };

struct scenario {
	const char *name;
	double exponent, fastest; /* rates a window: fastest * rank^-exponent */
	unsigned edges;
	enum profile profile;
	unsigned daily, weekly, monthly; /* jobs, each of one to three edges */
	double growth;			 /* edges a day that come into being */
	double growth_factor;		 /* of that, from week to week */
	unsigned growth_weeks;		 /* after these it goes on as it is; 0: it never stops */
	double releases;		 /* a week, each of one to ten edges */
	double loss;			 /* share of windows in which half is not seen */
	bool runs;			 /* one window a day */
};

static const struct scenario scenarios[] = {
	{ .name = "Zipf 0.8", .exponent = 0.8, .fastest = 2, .edges = 60 },
	{ .name = "Zipf 1.0", .exponent = 1.0, .fastest = 2, .edges = 60 },
	{ .name = "Zipf 1.3", .exponent = 1.3, .fastest = 2, .edges = 60 },
	{ .name = "Zipf 2.0", .exponent = 2.0, .fastest = 2, .edges = 60 },
	{ .name = "Zipf 1.0, 400 rare edges", .exponent = 1.0, .fastest = 0.3, .edges = 400 },
	{ .name = "office hours", .exponent = 1.2, .fastest = 2, .edges = 60, .profile = OFFICE },
	{ .name = "daily and weekly jobs",
	    .exponent = 2.0,
	    .fastest = 2,
	    .edges = 20,
	    .daily = 4,
	    .weekly = 4 },
	{ .name = "a monthly job",
	    .exponent = 2.0,
	    .fastest = 2,
	    .edges = 20,
	    .daily = 2,
	    .weekly = 2,
	    .monthly = 1 },
	{ .name = "eight monthly jobs", .exponent = 2.0, .fastest = 2, .edges = 20, .monthly = 8 },
	{ .name = "bursts", .exponent = 1.2, .fastest = 20, .edges = 60, .profile = BURSTS },
	{ .name = "steady growth", .exponent = 2.0, .fastest = 2, .edges = 20, .growth = 0.3 },
	{ .name = "growth by half each week",
	    .exponent = 2.0,
	    .fastest = 2,
	    .edges = 20,
	    .growth = 0.3,
	    .growth_factor = 1.5 },
	{ .name = "growth that doubles each week",
	    .exponent = 2.0,
	    .fastest = 2,
	    .edges = 20,
	    .growth = 0.5,
	    .growth_factor = 2,
	    .growth_weeks = 8 },
	{ .name = "releases", .exponent = 2.0, .fastest = 2, .edges = 20, .releases = 0.7 },
	{ .name = "loss in 5% of the windows",
	    .exponent = 1.2,
	    .fastest = 2,
	    .edges = 60,
	    .loss = 0.05 },
	{ .name = "loss in 30% of the windows",
	    .exponent = 1.2,
	    .fastest = 2,
	    .edges = 60,
	    .loss = 0.3 },
	{ .name = "a run a day", .exponent = 1.2, .fastest = 1.5, .edges = 30, .runs = true },
};

static const unsigned lengths[] = { 7 * 24, 14 * 24, 21 * 24, 28 * 24, 42 * 24, 56 * 24 };

/* Edges of a job share its timetable, and so do those of a release. */
struct sim_edge {
	double rate;		     /* a window; 0: by timetable */
	unsigned period, phase, job; /* hours; job: number, so that its edges count once */
	uint32_t from;		     /* exists since then */
	uint32_t first;		     /* seen; NEVER */
	uint32_t windows[6];	     /* in which it was seen, by length */
};

struct world {
	const struct scenario *s;
	struct sim_edge edges[MAX_EDGES];
	unsigned n_edges, n_jobs;
	bool burst[TOTAL + WEEK_HOURS], broken[TOTAL + WEEK_HOURS];
	struct complete_log log;
};

static struct sim_edge *
add_edge(struct world *w)
{
	struct sim_edge *e;

	if (w->n_edges == MAX_EDGES)
		return NULL;
	e = &w->edges[w->n_edges++];
	*e = (struct sim_edge){ .first = NEVER };
	return e;
}

static void
add_jobs(struct world *w, unsigned n, unsigned period)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned phase = below(period), size = 1 + below(3);

		w->n_jobs++;
		for (unsigned k = 0; k < size; k++) {
			struct sim_edge *e = add_edge(w);

			if (e == NULL)
				return;
			e->period = period;
			e->phase = phase;
			e->job = w->n_jobs;
		}
	}
}

static double
growth_at(const struct scenario *s, unsigned hour)
{
	double factor = s->growth_factor > 0 ? s->growth_factor : 1;
	double weeks = (double)hour / WEEK_HOURS;

	if (s->growth_weeks > 0)
		weeks = fmin(weeks, s->growth_weeks);
	return s->growth / 24 * pow(factor, weeks);
}

static void
add_growth(struct world *w)
{
	for (unsigned h = 0; h < TOTAL; h++) {
		unsigned n = poisson(growth_at(w->s, h)), releases;

		releases = poisson(w->s->releases / WEEK_HOURS);
		for (unsigned i = 0; i < releases; i++)
			n += 1 + below(10);
		while (n-- > 0) {
			struct sim_edge *e = add_edge(w);

			if (e == NULL)
				return;
			e->rate = 1;
			e->from = h;
		}
	}
}

/* Bursts of three hours in fifty, on the mean. */
static void
make_bursts(bool *burst, unsigned from, unsigned to)
{
	for (unsigned h = from; h < to; h++)
		burst[h] = h > 0 && burst[h - 1] ? uniform() < 2.0 / 3 : uniform() < 1.0 / 47;
}

static double
activity(const struct world *w, const bool *burst, unsigned hour)
{
	unsigned day = hour / 24 % 7, of_day = hour % 24;

	if (w->s->runs)
		return of_day == 3 ? 1 : 0;
	switch (w->s->profile) {
	case FLAT:
		return 1;
	case OFFICE:
		return day < 5 && of_day >= 8 && of_day < 18 ? 1 : 0.02;
	case BURSTS:
		return burst[hour] ? 1 : 0.001;
	}
	return 1;
}

static void
see(struct world *w, struct sim_edge *e, unsigned hour)
{
	if (w->broken[hour] && uniform() < 0.5)
		return;
	if (e->first == NEVER)
		e->first = hour;
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++)
		e->windows[i] += hour < lengths[i];
}

static void
run_edge(struct world *w, struct sim_edge *e)
{
	for (unsigned h = e->from; h < TOTAL; h++) {
		/* What the estimator never looks at again need not be simulated. */
		if (e->first != NEVER && h >= lengths[ARRAY_SIZE(lengths) - 1])
			return;
		if (e->rate == 0 && h % e->period == e->phase)
			see(w, e, h);
		else if (e->rate > 0 && uniform() < -expm1(-e->rate * activity(w, w->burst, h)))
			see(w, e, h);
	}
}

static void
make_world(struct world *w, const struct scenario *s, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	rng = seed;
	w->s = s;
	for (unsigned i = 1; i <= s->edges; i++)
		add_edge(w)->rate = s->fastest * pow(i, -s->exponent);
	add_jobs(w, s->daily, 24);
	add_jobs(w, s->weekly, WEEK_HOURS);
	add_jobs(w, s->monthly, 30 * 24);
	add_growth(w);
	make_bursts(w->burst, 0, TOTAL);
	for (unsigned h = 0; h < TOTAL; h++)
		w->broken[h] = uniform() < s->loss;
	for (unsigned i = 0; i < w->n_edges; i++)
		run_edge(w, &w->edges[i]);
}

/* P(no new edge in that hour), nothing else being known than what was not seen by `now`. */
static double
nothing_new(const struct world *w, const bool *burst, unsigned now, unsigned hour,
    const double *unseen_so_far, double *ret_chance)
{
	double nothing = exp(-growth_at(w->s, hour) - w->s->releases / WEEK_HOURS);
	unsigned last_job = 0;

	for (unsigned i = 0; i < w->n_edges; i++) {
		const struct sim_edge *e = &w->edges[i];

		ret_chance[i] = 0;
		/* What comes into being later is in the growth. */
		if (e->first < now || e->from >= now)
			continue;
		if (e->rate > 0) {
			ret_chance[i] = -expm1(-e->rate * activity(w, burst, hour));
			nothing *= 1 - ret_chance[i] * unseen_so_far[i];
		} else if (e->job != last_job) {
			unsigned left = e->period > now ? e->period - now : 1;

			last_job = e->job;
			nothing *= hour - now < left ? 1 - 1.0 / left : 1;
		}
	}
	return nothing;
}

static double
chance_with(const struct world *w, const bool *burst, unsigned now)
{
	static double unseen[MAX_EDGES], chance[MAX_EDGES];
	double sum = 0;
	unsigned windows = 0;

	for (unsigned i = 0; i < w->n_edges; i++)
		unseen[i] = 1;
	for (unsigned h = now; h < now + WEEK_HOURS; h++) {
		if (w->s->runs && activity(w, burst, h) == 0)
			continue;
		sum += 1 - nothing_new(w, burst, now, h, unseen, chance);
		windows++;
		for (unsigned i = 0; i < w->n_edges; i++)
			unseen[i] *= 1 - chance[i];
	}
	return sum / windows;
}

static double
true_chance(struct world *w, unsigned now)
{
	static bool burst[TOTAL + WEEK_HOURS];
	double sum = 0;

	if (w->s->profile != BURSTS)
		return chance_with(w, w->burst, now);
	memcpy(burst, w->burst, now * sizeof(bool));
	for (unsigned i = 0; i < SCHEDULES; i++) {
		make_bursts(burst, now, now + WEEK_HOURS);
		sum += chance_with(w, burst, now);
	}
	return sum / SCHEDULES;
}

struct outcome {
	unsigned cases, claimed, chance_held, unseen_held, at_least_held, why[COMPLETE_GROWING + 1];
	double chance_high, chance, unseen_high, unseen, point_error;
};

static void
judge(struct world *w, unsigned k, struct outcome *o)
{
	static struct complete_edge seen[MAX_EDGES];
	unsigned now = lengths[k], news = 0, unseen = 0;
	struct completeness c;
	size_t n = 0;
	double chance;

	for (unsigned h = k > 0 ? lengths[k - 1] : 0; h < now; h++)
		if (!w->s->runs || activity(w, w->burst, h) > 0)
			complete_log_mark(&w->log, BEGIN + h,
			    COMPLETE_RAN | (w->broken[h] ? COMPLETE_BROKEN : 0) |
				(w->s->runs ? COMPLETE_BEGAN : 0));
	for (unsigned i = 0; i < w->n_edges; i++) {
		const struct sim_edge *e = &w->edges[i];

		if (e->first < now)
			seen[n++] = (struct complete_edge){ BEGIN + e->first, e->windows[k] };
		else
			unseen += e->from < now;
		news += e->first >= now && e->first < 2 * now;
	}
	complete_estimate(&w->log, BEGIN + now, seen, n, w->s->runs, &c);
	o->cases++;
	o->why[c.why]++;
	o->at_least_held += c.at_least <= unseen;
	if (c.why != COMPLETE_CLAIMED)
		return;
	chance = true_chance(w, now);
	o->claimed++;
	o->chance_held += chance <= c.chance_high;
	o->unseen_held += news <= c.unseen_high;
	o->chance += chance;
	o->chance_high += c.chance_high;
	o->unseen += news;
	o->unseen_high += c.unseen_high;
}

/* Half the width of the 95% interval of a share, in percent. */
static double
uncertainty(unsigned held, unsigned n)
{
	double p = (held + 2.0) / (n + 4.0);

	return 196 * sqrt(p * (1 - p) / (n + 4.0));
}

/* Of few the upper end of the exact interval (95%, one-sided) is held against the claim. */
static bool
is_held(unsigned held, const struct outcome *o)
{
	if (o->claimed * 100 <= o->cases)
		return complete_binomial_high(held, o->claimed) >= COMPLETE_CONFIDENCE;
	return held >= COMPLETE_CONFIDENCE * o->claimed;
}

static bool
report(const struct scenario *s, const struct outcome *o, unsigned length)
{
	double n = o->claimed > 0 ? o->claimed : 1;

	printf("# %-30s %2u d | least %5.1f%% | none %5.1f%% |", s->name, length / 24,
	    100.0 * o->at_least_held / o->cases, 100.0 * (o->cases - o->claimed) / o->cases);
	if (o->claimed == 0) {
		printf("\n");
		return true;
	}
	printf(
	    " chance %5.1f%% +-%4.1f, %6.2f%% <= %6.2f%% | new %5.1f%% +-%4.1f, %6.1f <= %6.1f\n",
	    100 * o->chance_held / n, uncertainty(o->chance_held, o->claimed), 100 * o->chance / n,
	    100 * o->chance_high / n, 100 * o->unseen_held / n,
	    uncertainty(o->unseen_held, o->claimed), o->unseen / n, o->unseen_high / n);
	return is_held(o->chance_held, o) && is_held(o->unseen_held, o);
}

int
main(int argc, char **argv)
{
	unsigned cases = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100;
	static struct world w;
	bool all_hold = true;

	printf("1..%zu\n", ARRAY_SIZE(scenarios));
	for (unsigned i = 0; i < ARRAY_SIZE(scenarios); i++) {
		struct outcome o[ARRAY_SIZE(lengths)] = { 0 };
		bool holds = true;

		for (unsigned n = 0; n < cases; n++) {
			make_world(&w, &scenarios[i], (uint64_t)i << 32 | n);
			for (unsigned k = 0; k < ARRAY_SIZE(lengths); k++)
				judge(&w, k, &o[k]);
		}
		for (unsigned k = 0; k < ARRAY_SIZE(lengths); k++)
			holds &= report(&scenarios[i], &o[k], lengths[k]);
		printf("%sok %u - %s: bounds of 95%% hold in 95%% of the cases\n",
		    holds ? "" : "not ", i + 1, scenarios[i].name);
		fflush(stdout);
		all_hold &= holds;
	}
	return all_hold ? 0 : 1;
}
