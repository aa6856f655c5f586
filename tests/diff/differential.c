/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The compiler and the table against the evaluator: over pseudo-random policies, what the bytes
 * that would go to the kernel do to a packet is what the words of the policy say, at both ends.
 * Then the tables are broken in every way there is, and each must be noticed.
 *
 * DIFF_POLICIES, DIFF_PACKETS (a policy), DIFF_MUTANT_SEEDS, DIFF_MUTANT_SHARE (one of so many),
 * DIFF_JOBS and DIFF_SEED say how much.
 */
#include "tests/diff/bench.h"
#include "tests/diff/mutate.h"

#include "rules/util.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS 16
/* Every so many worlds, tables are built anew. */
#define FRESH_EVERY 4
/* The last kind of mutation, which needs an element that allows or denies. */
#define ELEM_KIND (MUTATION_KINDS - 1)

static unsigned failed, n_tests;

static unsigned long
setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text == NULL ? otherwise : strtoul(text, NULL, 10);
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
ok(bool good, const char *name)
{
	printf("%sok %u - %s\n", good ? "" : "not ", ++n_tests, name);
	failed += !good;
}

/* What comes through the namespace and is for nobody in it. */
static void
check_forward(struct bench *b, size_t k, struct probe *p, struct tally *tally)
{
	const struct policy_workload *wl = &b->w.workloads[k];
	struct sim_result want, got;
	struct sim_packet packet = { 0 };

	p->loopback = false;
	probe_bytes(p, DIR_INGRESS, &packet);
	packet.hook = NF_INET_FORWARD;
	packet.oif = 3;
	sim_run(&b->sims[k], &packet, &got);
	probe_expect_forward(p, wl->direction & WL_INGRESS ? wl->mode : MODE_OBSERVE,
	    wl->direction & WL_EGRESS ? wl->mode : MODE_OBSERVE, &want);
	tally->checks++;
	if (!result_eq(&want, &got) && tally->wrong++ < 5)
		probe_print(p, DIR_INGRESS, &want, &got);
}

static void
check_world(struct bench *b, unsigned long packets, struct tally *tally)
{
	struct probe p;
	size_t k;

	for (unsigned long i = 0; i < packets; i++) {
		k = world_rnd(&b->w, 2) ? 0 : world_rnd(&b->w, WORLD_WORKLOADS);
		if (!bench_probe(b, &b->w.entries[k], i & 1 ? DIR_INGRESS : DIR_EGRESS, &p))
			k = 0, (void)bench_probe(b, &b->w.entries[0], DIR_EGRESS, &p);
		bench_check(b, &p, tally);
		if (i % 64 == 0)
			check_forward(b, k, &p, tally);
	}
}

static void
tally_add(struct tally *to, const struct tally *from)
{
	to->checks += from->checks;
	to->allowed += from->allowed;
	to->denied += from->denied;
	to->absent += from->absent;
	to->split += from->split;
	to->wrong += from->wrong;
}

/* Worlds first, first + step ... below end. */
static struct tally
run_share(unsigned long first, unsigned long step, unsigned long end, unsigned long packets)
{
	static struct bench b;
	struct tally tally = { 0 };
	size_t before;

	for (unsigned long i = first; i < end; i += step) {
		bench_load(&b, i, i / step % FRESH_EVERY == 0, i % 5 ? 8 : WORLD_EDGES);
		before = tally.wrong;
		check_world(&b, packets, &tally);
		if (tally.wrong != before)
			printf("# in world %lu\n", i);
		if (tally.wrong > 100)
			break;
	}
	bench_done(&b);
	return tally;
}

/* A child for each share; a share that does not come back is wrong. */
static struct tally
run_all(unsigned long seed, unsigned long policies, unsigned long packets, unsigned long jobs)
{
	struct tally sum = { 0 }, part;
	int fds[MAX_JOBS][2];

	jobs = MIN(MAX(jobs, 1), MAX_JOBS);
	fflush(stdout);
	for (unsigned long j = 0; j < jobs; j++) {
		if (pipe(fds[j]) < 0)
			abort();
		if (fork() != 0)
			continue;
		part = run_share(seed + j, jobs, seed + policies, packets);
		fflush(stdout);
		_exit(write(fds[j][1], &part, sizeof(part)) == sizeof(part) ? 0 : 1);
	}
	for (unsigned long j = 0; j < jobs; j++) {
		close(fds[j][1]);
		if (read(fds[j][0], &part, sizeof(part)) != sizeof(part))
			part = (struct tally){ .wrong = 1 };
		tally_add(&sum, &part);
		close(fds[j][0]);
	}
	while (wait(NULL) > 0)
		;
	return sum;
}

static void
test_policies(void)
{
	const unsigned long policies = setting("DIFF_POLICIES", 2000);
	const unsigned long packets = setting("DIFF_PACKETS", 1000);
	const double start = now();
	struct tally t;

	t = run_all(setting("DIFF_SEED", 0), policies, packets, setting("DIFF_JOBS", 2));
	printf("# %lu policies, %lu packets each: %zu verdicts in %.1f s; %zu allowed, %zu denied, "
	       "%zu absent, %zu refused as split\n",
	    policies, packets, t.checks, now() - start, t.allowed, t.denied, t.absent, t.split);
	ok(t.wrong == 0, "what is sent to the kernel does what the policy says");
	ok(t.checks >= policies * packets && t.allowed > t.checks / 40 && t.denied > t.checks / 40,
	    "packets of every kind were tried");
	ok(t.split < t.checks / 50, "the documented exception stays one");
}

static void
test_mutants(void)
{
	const unsigned long seeds = setting("DIFF_MUTANT_SEEDS", 1);
	const unsigned long share = MAX(setting("DIFF_MUTANT_SHARE", 5), 1ul);
	const unsigned long first = setting("DIFF_SEED", 0) + 1000000;
	struct kills kills[MUTATION_KINDS] = { { 0 } };
	const double start = now();
	size_t made = 0, killed = 0, same = 0, survived = 0, skipped = 0;

	/* Some worlds have nothing to break. */
	for (unsigned long i = 0, found = 0; found < seeds && i < 20 * seeds; i++) {
		size_t before = kills[ELEM_KIND].made;

		mutate_world(first + i, share, kills);
		found += kills[ELEM_KIND].made != before;
	}
	for (unsigned k = 0; k < MUTATION_KINDS; k++) {
		printf("# %-28s %6zu made, %6zu caught, %4zu change nothing, %zu missed, %zu left "
		       "out\n",
		    mutation_names[k], kills[k].made, kills[k].killed, kills[k].equivalent,
		    kills[k].survived, kills[k].skipped);
		ok(kills[k].killed > 0 && kills[k].survived == 0, mutation_names[k]);
		made += kills[k].made;
		killed += kills[k].killed;
		same += kills[k].equivalent;
		survived += kills[k].survived;
		skipped += kills[k].skipped;
	}
	printf("# %zu mutants of %lu worlds in %.1f s: %zu caught, %zu proven to change nothing, "
	       "%zu missed, %zu left out\n",
	    made, seeds, now() - start, killed, same, survived, skipped);
}

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_policies();
	test_mutants();
	printf("1..%u\n", n_tests);
	return failed != 0;
}
