/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Durations ("7d", "1h30m", "500ms") and RFC 3339 times as text. No clock. */
#ifndef NANOSEG_RULES_TIMEFMT_H
#define NANOSEG_RULES_TIMEFMT_H

#include "rules/util.h"

#define DURATION_STRLEN 32
#define TIME_STRLEN 32

/*
 * One or more numbers, each with a unit: w d h m s ms us ns, from large to small, no unit twice, no
 * sign, no fraction, no space; "0" alone needs none. 0, -EINVAL, or -ERANGE above 2^64-1 ns.
 */
int duration_parse(const char *text, uint64_t *ret_ns);
/* The shortest form in one unit that is exact: 7d, 36h, 90s; zero is "0s". Returns buf. */
const char *duration_format(uint64_t ns, char buf[static DURATION_STRLEN]);

/*
 * "2026-01-31T12:00:00Z", with up to nine digits of a second, or with an offset (+01:00); also a
 * date alone, which is its first moment in UTC. Nanoseconds since 1970. 0, -EINVAL, or -ERANGE for
 * a time before 1970 or after 2500. A leap second (:60) is refused.
 */
int time_parse(const char *text, uint64_t *ret_ns);
/* In UTC, with a fraction only if there is one. Returns buf. */
const char *time_format(uint64_t ns, char buf[static TIME_STRLEN]);

#endif
