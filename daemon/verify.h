/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg verify: what the policy says of connections between the containers of this host, asked
 * of the kernel by probes. First a sample of every approved edge, then pairs that are refused,
 * drawn over all pairs of instances, the ports in use and some others, IPv4 and IPv6, TCP and UDP.
 *
 * One run at a time, one probe at a time, at most 50 a second and VERIFY_MAX of either kind. Its
 * result is kept until the next run. A plan is a run that sends nothing.
 */
#ifndef NANOSEG_DAEMON_VERIFY_H
#define NANOSEG_DAEMON_VERIFY_H

#include "daemon/probing.h"

#include <jansson.h>

#define VERIFY_MAX 2000
#define VERIFY_DEFAULT 500

struct actor;
struct controller;
struct inventory;
struct verify;

/* -EBUSY: one runs. -ENOTCONN: there is no warden. max: 1 to VERIFY_MAX. */
int verify_start(struct controller *c, uint32_t max, bool plan, const struct actor *who);
/* {running, probes, ...}; null before the first run. */
json_t *verify_to_json(const struct controller *c);

/* verify_cases.c: which probes, in which order. */
struct verify_case {
	uint64_t from, to; /* cookies */
	struct tuple t;
	bool allowed;
	bool at_source; /* it is the source's rules that refuse it */
	uint64_t edge;	/* number, 0: none */
};
struct verify_cases;

int verify_cases_new(struct controller *c, uint32_t max, struct verify_cases **ret);
void verify_cases_free(struct verify_cases *v);
/* 1: *ret is the next one; 0: none was found, ask again; -ENOENT: that was all. */
int verify_next(struct controller *c, struct verify_cases *v, const struct inventory *inv,
    struct verify_case *ret);
/* Evaluates k->t again; false: it cannot be told, as rules are about to change. */
bool verify_evaluate(struct controller *c, const struct inventory *inv, struct verify_case *k);
/*
 * {outside, away, protocol}: approved edges without a probe. Of two workloads with hundreds of
 * containers each that share no network not all pairs are looked at: away.
 */
json_t *verify_skipped(const struct verify_cases *v);

#endif
