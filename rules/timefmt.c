/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* From large to small; the parser walks this table once. */
static const struct {
	const char *unit;
	uint64_t ns;
} units[] = {
	{ "w", 7 * 86400 * NSEC_PER_SEC },
	{ "d", 86400 * NSEC_PER_SEC },
	{ "h", 3600 * NSEC_PER_SEC },
	{ "m", 60 * NSEC_PER_SEC },
	{ "s", NSEC_PER_SEC },
	{ "ms", NSEC_PER_MSEC },
	{ "us", 1000 },
	{ "ns", 1 },
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits at *p, which moves behind them. */
static int
number_take(const char **p, uint64_t *ret)
{
	uint64_t v = 0;

	if (!is_digit(**p))
		return -EINVAL;
	for (; is_digit(**p); (*p)++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return -ERANGE;
	*ret = v;
	return 0;
}

int
duration_parse(const char *text, uint64_t *ret_ns)
{
	uint64_t sum = 0, v;
	size_t next = 0;
	const char *p = text;
	int r;

	if (strcmp(text, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	do {
		size_t n, i;

		r = number_take(&p, &v);
		if (r < 0)
			return r;
		n = strspn(p, "wdhmsun");
		for (i = next; i < ARRAY_SIZE(units); i++)
			if (strlen(units[i].unit) == n && memcmp(p, units[i].unit, n) == 0)
				break;
		if (i == ARRAY_SIZE(units))
			return -EINVAL;
		if (__builtin_mul_overflow(v, units[i].ns, &v) ||
		    __builtin_add_overflow(sum, v, &sum))
			return -ERANGE;
		p += n;
		next = i + 1;
	} while (*p != '\0');
	*ret_ns = sum;
	return 0;
}

const char *
duration_format(uint64_t ns, char buf[static DURATION_STRLEN])
{
	/* Weeks are read but not written: "7d" is how people say it. */
	for (size_t i = 1; i < ARRAY_SIZE(units); i++)
		if (ns != 0 && ns % units[i].ns == 0) {
			snprintf(
			    buf, DURATION_STRLEN, "%" PRIu64 "%s", ns / units[i].ns, units[i].unit);
			return buf;
		}
	snprintf(buf, DURATION_STRLEN, "0s");
	return buf;
}

/* Days since 1970-01-01 of a Gregorian date; years start in March so that leap days come last. */
static int64_t
days_from_date(int64_t y, unsigned m, unsigned d)
{
	int64_t era, yoe, doy;

	y -= m <= 2;
	era = y / 400;
	yoe = y - era * 400;
	doy = (153 * ((int64_t)m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void
date_from_days(int64_t days, int64_t *ret_y, unsigned *ret_m, unsigned *ret_d)
{
	int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*ret_d = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	*ret_m = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	*ret_y = yoe + era * 400 + (*ret_m <= 2);
}

/* Exactly n digits, between lo and hi. */
static int
field_take(const char **p, size_t n, unsigned lo, unsigned hi, unsigned *ret)
{
	unsigned v = 0;

	for (size_t i = 0; i < n; i++, (*p)++) {
		if (!is_digit(**p))
			return -EINVAL;
		v = v * 10 + (unsigned)(**p - '0');
	}
	if (v < lo || v > hi)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int
char_take(const char **p, const char *any)
{
	if (**p == '\0' || strchr(any, **p) == NULL)
		return -EINVAL;
	return *(*p)++;
}

static int
date_take(const char **p, int64_t *ret_days)
{
	static const unsigned char month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	unsigned y, m, d;
	bool leap;

	if (field_take(p, 4, 0, 9999, &y) < 0 || char_take(p, "-") < 0 ||
	    field_take(p, 2, 1, 12, &m) < 0 || char_take(p, "-") < 0 ||
	    field_take(p, 2, 1, 31, &d) < 0)
		return -EINVAL;
	leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
	if (d > month_days[m - 1] + (m == 2 && leap ? 1u : 0u))
		return -EINVAL;
	*ret_days = days_from_date(y, m, d);
	return 0;
}

static int
fraction_take(const char **p, uint64_t *ret_ns)
{
	uint64_t ns = 0;
	size_t n = 0;

	for (; is_digit(**p); (*p)++, n++)
		if (n < 9)
			ns = ns * 10 + (uint64_t)(**p - '0');
	if (n == 0 || n > 9)
		return -EINVAL;
	for (; n < 9; n++)
		ns *= 10;
	*ret_ns = ns;
	return 0;
}

static int
offset_take(const char **p, int64_t *ret_s)
{
	unsigned h, m;
	int sign = char_take(p, "Zz+-");

	*ret_s = 0;
	if (sign < 0)
		return -EINVAL;
	if (sign == 'Z' || sign == 'z')
		return 0;
	if (field_take(p, 2, 0, 23, &h) < 0 || char_take(p, ":") < 0 ||
	    field_take(p, 2, 0, 59, &m) < 0)
		return -EINVAL;
	*ret_s = (sign == '-' ? -1 : 1) * (int64_t)(h * 3600 + m * 60);
	return 0;
}

int
time_parse(const char *text, uint64_t *ret_ns)
{
	const char *p = text;
	int64_t days, offset = 0, s;
	unsigned hour = 0, minute = 0, second = 0;
	uint64_t fraction = 0;

	if (date_take(&p, &days) < 0)
		return -EINVAL;
	if (*p != '\0') {
		if (char_take(&p, "Tt ") < 0 || field_take(&p, 2, 0, 23, &hour) < 0 ||
		    char_take(&p, ":") < 0 || field_take(&p, 2, 0, 59, &minute) < 0 ||
		    char_take(&p, ":") < 0 || field_take(&p, 2, 0, 59, &second) < 0)
			return -EINVAL;
		if (*p == '.') {
			p++;
			if (fraction_take(&p, &fraction) < 0)
				return -EINVAL;
		}
		if (offset_take(&p, &offset) < 0 || *p != '\0')
			return -EINVAL;
	}
	s = days * 86400 + hour * 3600 + minute * 60 + second - offset;
	if (s < 0 || s >= days_from_date(2501, 1, 1) * 86400)
		return -ERANGE;
	*ret_ns = (uint64_t)s * NSEC_PER_SEC + fraction;
	return 0;
}

const char *
time_format(uint64_t ns, char buf[static TIME_STRLEN])
{
	uint64_t s = ns / NSEC_PER_SEC, fraction = ns % NSEC_PER_SEC;
	int64_t y;
	unsigned m, d, of_day = (unsigned)(s % 86400);
	int n;

	date_from_days((int64_t)(s / 86400), &y, &m, &d);
	n = snprintf(buf, TIME_STRLEN, "%04d-%02u-%02uT%02u:%02u:%02u", (int)(y % 10000), m % 100,
	    d % 100, of_day / 3600 % 24, of_day / 60 % 60, of_day % 60);
	if (fraction != 0)
		snprintf(
		    buf + n, TIME_STRLEN - (size_t)n, ".%09uZ", (unsigned)fraction % 1000000000u);
	else
		snprintf(buf + n, TIME_STRLEN - (size_t)n, "Z");
	return buf;
}
