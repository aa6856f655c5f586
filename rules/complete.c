/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See complete.h.
 *
 * Edges with rates of their own become known in the order of these, so new ones become fewer: the
 * chance in the latest part of the observation is an upper one for what comes. Its bound is that of
 * Clopper and Pearson over the windows of the latest half. In W weeks to come, of which as many
 * have passed, at most W / T times as many edges are expected as came in the latest T (whatever the
 * rates are, for with W = 2 T each gives (e^-2x)(1 - e^-2x) <= 2 (e^-x)(1 - e^-x)). Their bound is
 * the exact one for a second Poisson count given a first. Edges come in groups, a job brings
 * several: so it is windows that are counted, and the bound is multiplied by how many edges such a
 * window brought.
 */
#include "rules/complete.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define Z_95 1.6449 /* one-sided */
#define ALPHA (1 - COMPLETE_CONFIDENCE)
#define DAY_HOURS 24u
#define MIN_UNITS 7u   /* windows in the latest half */
#define MAX_BROKEN 0.1 /* of the windows there */
#define MIN_WEEKS 2u   /* one to get to know the workload, one to tell from */
#define MAX_GROUPS 3u  /* in the latest half */
#define FASTER 2.0     /* the chance may grow so much unnoticed */
#define ONE_WEEK                                                                         \
	2.5 /* and so much more, if new edges come in the one week there is to tell from \
	     */
#define GROUP_MIN 3.0
#define APART 6u /* windows without a new edge end a group */
#define PREDICT_MAX (1u << 20)
#define LOG_MAPS 3u /* of a log: ran, broken, began */

static unsigned
slot(uint32_t hour)
{
	return hour % COMPLETE_HOURS;
}

static bool
bit_get(const uint8_t *bits, uint32_t hour)
{
	return (bits[slot(hour) / 8] >> slot(hour) % 8 & 1) != 0;
}

static void
bit_set(uint8_t *bits, uint32_t hour, bool on)
{
	uint8_t mask = (uint8_t)(1u << slot(hour) % 8);

	bits[slot(hour) / 8] =
	    (uint8_t)(on ? bits[slot(hour) / 8] | mask : bits[slot(hour) / 8] & ~mask);
}

/* Is what the log has of no use to that hour: the clock was set back, or it was away for long? */
static bool
is_outdated(const struct complete_log *l, uint32_t hour)
{
	return l->head == 0 || hour + DAY_HOURS < l->head || hour > l->head + COMPLETE_HOURS;
}

bool
complete_log_mark(struct complete_log *l, uint32_t hour, unsigned what)
{
	bool changed;

	if (is_outdated(l, hour)) {
		memset(l, 0, sizeof(*l));
		l->begin = l->head = hour;
	}
	while (l->head < hour) {
		l->head++;
		bit_set(l->ran, l->head, false);
		bit_set(l->broken, l->head, false);
		bit_set(l->began, l->head, false);
	}
	l->begin = MIN(l->begin, hour);
	changed = !bit_get(l->ran, hour) ||
		  ((what & COMPLETE_BROKEN) != 0 && !bit_get(l->broken, hour)) ||
		  ((what & COMPLETE_BEGAN) != 0 && !bit_get(l->began, hour));
	bit_set(l->ran, hour, true);
	if ((what & COMPLETE_BROKEN) != 0)
		bit_set(l->broken, hour, true);
	if ((what & COMPLETE_BEGAN) != 0)
		bit_set(l->began, hour, true);
	return changed;
}

static void
put_u32(uint8_t *at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t
get_u32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

void
complete_log_encode(const struct complete_log *l, uint8_t buf[static COMPLETE_LOG_BYTES])
{
	put_u32(buf, l->begin);
	put_u32(buf + 4, l->head);
	memcpy(buf + 8, l->ran, sizeof(l->ran));
	memcpy(buf + 8 + sizeof(l->ran), l->broken, sizeof(l->broken));
	memcpy(buf + 8 + 2 * sizeof(l->ran), l->began, sizeof(l->began));
}

int
complete_log_decode(const uint8_t *buf, size_t len, struct complete_log *ret)
{
	uint32_t begin, head;

	if (len != COMPLETE_LOG_BYTES)
		return -EBADMSG;
	begin = get_u32(buf);
	head = get_u32(buf + 4);
	/* An hour after the year 100000 would overflow what is added to it. */
	if (begin > head || head > UINT32_MAX / 4)
		return -EBADMSG;
	ret->begin = begin;
	ret->head = head;
	memcpy(ret->ran, buf + 8, sizeof(ret->ran));
	memcpy(ret->broken, buf + 8 + sizeof(ret->ran), sizeof(ret->broken));
	memcpy(ret->began, buf + 8 + 2 * sizeof(ret->ran), sizeof(ret->began));
	return 0;
}

/* The bytes from the first hour's to the last one's, before they go round. */
static uint32_t
first_byte(uint32_t begin, uint32_t head, size_t *ret_n)
{
	uint32_t n = MIN(head / 8 - begin / 8 + 1, COMPLETE_HOURS / 8);

	*ret_n = n;
	return head / 8 + 1 - n;
}

struct complete_hours *
complete_log_fold(const struct complete_log *l)
{
	const uint8_t *maps[LOG_MAPS] = { l->ran, l->broken, l->began };
	size_t n;
	uint32_t first = first_byte(l->begin, l->head, &n);
	struct complete_hours *h = malloc(sizeof(*h) + LOG_MAPS * n);

	if (h == NULL)
		return NULL;
	h->begin = l->begin;
	h->head = l->head;
	for (size_t m = 0; m < LOG_MAPS; m++)
		for (size_t k = 0; k < n; k++)
			h->bits[m * n + k] = maps[m][(first + k) % sizeof(l->ran)];
	return h;
}

void
complete_log_unfold(const struct complete_hours *h, struct complete_log *ret)
{
	uint8_t *maps[LOG_MAPS] = { ret->ran, ret->broken, ret->began };
	uint32_t first;
	size_t n;

	memset(ret, 0, sizeof(*ret));
	if (h == NULL)
		return;
	first = first_byte(h->begin, h->head, &n);
	ret->begin = h->begin;
	ret->head = h->head;
	for (size_t m = 0; m < LOG_MAPS; m++)
		for (size_t k = 0; k < n; k++)
			maps[m][(first + k) % sizeof(ret->ran)] = h->bits[m * n + k];
}

/* P(Bin(n, p) <= k), 0 <= p < 1. */
static double
binomial_cdf(unsigned k, unsigned n, double p)
{
	double term = n * log1p(-p), sum = exp(term), odds;

	if (p <= 0)
		return 1;
	odds = log(p) - log1p(-p);
	for (unsigned i = 1; i <= k && i <= n; i++) {
		term += log((double)(n - i + 1) / i) + odds;
		sum += exp(term);
	}
	return fmin(sum, 1);
}

double
complete_binomial_high(unsigned k, unsigned n)
{
	double low = 0, high = 1;

	if (k >= n)
		return 1;
	for (int i = 0; i < 50; i++) {
		double p = (low + high) / 2;

		if (binomial_cdf(k, n, p) > ALPHA)
			low = p;
		else
			high = p;
	}
	return high;
}

unsigned
complete_predict_high(unsigned k, double ratio)
{
	double q = 1 / (1 + ratio);
	unsigned low = 0, high = 16;

	while (high < PREDICT_MAX && binomial_cdf(k, k + high, q) > ALPHA)
		high *= 2;
	while (high - low > 1) {
		unsigned y = low + (high - low) / 2;

		if (binomial_cdf(k, k + y, q) > ALPHA)
			low = y;
		else
			high = y;
	}
	return low;
}

/* The windows, or runs, in order, and which new edges they brought. */
struct units {
	unsigned n;
	uint32_t start[COMPLETE_HOURS + 1];
	bool broken[COMPLETE_HOURS + 1];
	uint32_t news[COMPLETE_HOURS + 1];
	uint16_t of_hour[COMPLETE_HOURS + 1];
};

static void
make_units(const struct complete_log *l, uint32_t begin, uint32_t now, bool runs, struct units *u)
{
	u->n = 0;
	for (uint32_t h = begin; h < now; h++) {
		bool ran = h <= l->head && bit_get(l->ran, h);
		bool first = u->n == 0, began = ran && bit_get(l->began, h);

		if (ran && (!runs || began || first)) {
			u->start[u->n] = h;
			/* Of a run from before the log it is not known how it began. */
			u->broken[u->n] = runs && first && !began;
			u->n++;
		}
		if (ran)
			u->broken[u->n - 1] |= bit_get(l->broken, h);
		u->of_hour[h - begin] = (uint16_t)(u->n > 0 ? u->n - 1 : 0);
	}
	/* What is under way brings edges, but is no window yet. */
	u->of_hour[now - begin] = (uint16_t)u->n;
	u->start[u->n] = now;
	u->broken[u->n] = true;
	memset(u->news, 0, (u->n + 1) * sizeof(u->news[0]));
}

struct tally {
	unsigned complete, broken;
	unsigned with_news; /* windows */
	unsigned groups;    /* of such windows close to each other */
	unsigned news;
	double group_squared;
};

static struct tally
tally_units(const struct units *u, uint32_t from, uint32_t to, unsigned n)
{
	struct tally t = { 0 };
	unsigned quiet = APART;
	double group = 0;

	for (unsigned i = 0; i < n; i++) {
		if (u->start[i] < from || u->start[i] >= to)
			continue;
		t.complete += !u->broken[i];
		t.broken += u->broken[i];
		t.news += u->news[i];
		t.with_news += u->news[i] > 0;
		if (u->news[i] == 0) {
			quiet++;
			continue;
		}
		if (quiet >= APART) {
			t.groups++;
			t.group_squared += group * group;
			group = 0;
		}
		quiet = 0;
		group += u->news[i];
	}
	t.group_squared += group * group;
	return t;
}

/* How many edges come in a group: in that of one edge taken at random. */
static double
group_size(const struct tally *t)
{
	return fmax(t->news > 0 ? t->group_squared / t->news : 0, GROUP_MIN);
}

/*
 * Do they keep coming? Then growth that grows looks like the end of getting to know a workload, and
 * no bound holds in both.
 */
static bool
is_growing(const struct tally *late, unsigned weeks)
{
	unsigned few = MIN(weeks + 1, MAX_GROUPS);

	return late->groups > few || late->with_news > few * APART;
}

static unsigned
hours_covered(const struct complete_log *l, uint32_t begin, uint32_t now)
{
	bool covered[WEEK_HOURS] = { false };
	unsigned n = 0;

	for (uint32_t h = begin; h < now && h <= l->head; h++)
		covered[h % WEEK_HOURS] |= bit_get(l->ran, h) && !bit_get(l->broken, h);
	for (unsigned i = 0; i < WEEK_HOURS; i++)
		n += covered[i];
	return n;
}

/*
 * Chao2 bounds the mean, and half of the cases are below their mean: so of its log-normal interval
 * (Chao 1987) the lower end. An estimate all the same: edges by timetable, each seen once in the
 * period, look like many that were not seen, and it is above the truth then.
 */
static double
at_least(double once, double twice, double windows, double seen)
{
	double a = (windows - 1) / windows, ratio, unseen, var;

	if (twice > 0) {
		ratio = once / twice;
		unseen = a * once * once / (2 * twice);
		var = twice *
		      (a / 2 * pow(ratio, 2) + a * a * pow(ratio, 3) + a * a / 4 * pow(ratio, 4));
	} else {
		unseen = a * once * fmax(once - 1, 0) / 2;
		var = a * once * (once - 1) / 2 + a * a * once * pow(2 * once - 1, 2) / 4 -
		      a * a * pow(once, 4) / (4 * (seen + unseen));
	}
	if (unseen <= 0)
		return 0;
	return floor(unseen / exp(Z_95 * sqrt(log1p(fmax(var, 0) / (unseen * unseen)))));
}

static void
count_edges(const struct complete_edge *edges, size_t n_edges, uint32_t begin, uint32_t now,
    struct units *u, struct completeness *ret)
{
	double once = 0, twice = 0, n = u->n;

	for (size_t i = 0; i < n_edges; i++) {
		once += edges[i].windows <= 1;
		twice += edges[i].windows == 2;
		if (edges[i].first_hour >= begin)
			u->news[u->of_hour[MIN(edges[i].first_hour, now) - begin]]++;
	}
	if (u->n == 0)
		return;
	ret->chance = fmin(once / n, 1);
	ret->at_least = at_least(once, twice, n, (double)n_edges);
}

/* The bounds that these windows give, for so many to come. faster: how much it may grow. */
static void
bound(const struct tally *t, double size, double to_come, double faster, struct completeness *ret)
{
	double chance = fmin(faster * complete_binomial_high(t->with_news, t->complete), 1);
	double unseen =
	    ceil(faster / FASTER * size * complete_predict_high(t->groups, to_come / t->complete));

	ret->chance_high = fmax(ret->chance_high, chance);
	ret->unseen_high = fmax(ret->unseen_high, unseen);
}

static void
claim(const struct units *u, uint32_t begin, uint32_t now, struct completeness *ret)
{
	unsigned half = ret->weeks / 2;
	uint32_t since = now - half * WEEK_HOURS, known = begin + WEEK_HOURS;
	struct tally late = tally_units(u, since, now + 1, u->n + 1);
	struct tally all;
	/* Of hours also those in which nobody was there to see; the one under way is none. */
	unsigned all_late = ret->in_runs ? late.complete + late.broken - 1 : half * WEEK_HOURS;
	double size, to_come = ret->in_runs ? u->n : now - begin;
	/* Twice as many from week to week are not told from as many by a single week. */
	double faster = half == 1 && late.groups > 0 ? FASTER * ONE_WEEK : FASTER;

	ret->new_lately = late.news;
	if (ret->weeks < MIN_WEEKS || late.complete < MIN_UNITS) {
		ret->why = COMPLETE_TOO_SHORT;
		return;
	}
	if (!ret->in_runs && ret->hours_covered < WEEK_HOURS) {
		ret->why = COMPLETE_UNCOVERED;
		return;
	}
	if (late.complete < (1 - MAX_BROKEN) * all_late) {
		ret->why = COMPLETE_LOSSY;
		return;
	}
	if (is_growing(&late, half)) {
		ret->why = COMPLETE_GROWING;
		return;
	}
	/* What is claimed of a late half that is quiet by chance would not hold. */
	all = tally_units(u, known, now + 1, u->n + 1);
	size = group_size(&all);
	ret->why = COMPLETE_CLAIMED;
	ret->chance_high = ret->chance;
	ret->unseen_high = 0;
	bound(&late, size, to_come, faster, ret);
	bound(&all, size, to_come, faster, ret);
}

void
complete_estimate(const struct complete_log *l, uint32_t now_hour,
    const struct complete_edge *edges, size_t n_edges, bool short_lived, struct completeness *ret)
{
	uint32_t begin = now_hour;
	struct units u;

	*ret = (struct completeness){ .in_runs = short_lived,
		.why = COMPLETE_TOO_SHORT,
		.chance = NAN,
		.at_least = NAN,
		.chance_high = NAN,
		.unseen_high = NAN };
	if (l->head != 0 && l->begin < now_hour)
		begin = MAX(l->begin, now_hour - MIN(now_hour, COMPLETE_WEEKS * WEEK_HOURS));
	make_units(l, begin, now_hour, short_lived, &u);
	for (unsigned i = 0; i < u.n; i++)
		ret->incomplete_windows += u.broken[i];
	ret->windows = u.n - ret->incomplete_windows;
	/* Of the one under way that much is known already. */
	ret->incomplete_windows += l->head == now_hour && bit_get(l->broken, now_hour);
	ret->weeks = (now_hour - begin) / WEEK_HOURS;
	ret->hours_covered = hours_covered(l, begin, now_hour);
	count_edges(edges, n_edges, begin, now_hour, &u, ret);
	claim(&u, begin, now_hour, ret);
}
