/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The self-test (setting selfTest): every so often each enforced instance has one probe that its
 * rules must refuse, out of it or into it. One that passes is an alarm: said, recorded, counted,
 * and the rules are read back at once. One probe at a time, at most ten a second in all.
 */
#ifndef NANOSEG_DAEMON_SELFTEST_H
#define NANOSEG_DAEMON_SELFTEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct controller;
struct instance;
struct selftest;

struct selftest_counts {
	uint64_t denied, passed, unclear;
	uint64_t at_ns; /* CLOCK_REALTIME, of the last one that was clear */
	/* Of an instance: its turns since then, and whether the last had a probe to send. */
	uint32_t fruitless;
	bool drawn;
};

int selftest_new(struct controller *c);
void selftest_tick(struct controller *c); /* once a second */
/* {denied, passed, unclear, at}; null where it is off. */
json_t *selftest_to_json(const struct controller *c, const struct selftest_counts *counts);
/* The same of an instance, with "untested": why its rules are not tested now, or null. */
json_t *selftest_of(const struct instance *i);

#endif
