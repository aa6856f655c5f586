/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which workloads belong together, and which of them have not run: kin.c. */
#ifndef NANOSEG_DAEMON_KIN_H
#define NANOSEG_DAEMON_KIN_H

#include <stddef.h>

struct controller;
struct workload;
struct kin;

/* As things are now: only for as long as no workload is forgotten. 0 or -ENOMEM. */
int kin_new(const struct controller *c, struct kin **ret);
void kin_free(struct kin *k);
static inline void
kin_freep(struct kin **k)
{
	kin_free(*k);
}

/*
 * The other workloads of its project or networks that do not run, and have not since it is
 * observed, those of containers that were never started among them: the names of the first `max` of
 * them to ret, those of the project first; borrowed, for as long as k. How many there are; beyond
 * `enough` nobody counts.
 */
size_t kin_missing(
    const struct kin *k, const struct workload *w, size_t enough, const char **ret, size_t max);

#endif
