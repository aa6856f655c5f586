/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much processor time it takes to compare two policies and to merge them: of 100,000 edges
 *each, equal, a tenth changed, all changed, and all of one workload to prefixes of which none is in
 *the other.
 *
 *	bench-diff [EDGES]
 */
#include "rules/policy_diff.h"
#include "rules/policy_merge.h"
#include "rules/util.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define N_WORKLOADS 2000

static char names[N_WORKLOADS][16];

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct policy_edge
make_edge(uint64_t i, bool hub)
{
	uint64_t x = hash_mix64(i + 1);
	uint16_t port = (uint16_t)(x >> 48 | 1);
	struct policy_edge e = { .proto = IPPROTO_TCP,
		.port_lo = port,
		.port_hi = x % 7 == 0 ? MAX(port, (uint16_t)60000) : port,
		.state = i % 20 == 0 ? EDGE_DENIED : EDGE_APPROVED };

	e.from = (struct peer){ .kind = PEER_WORKLOAD, .name = names[hub ? 0 : x % N_WORKLOADS] };
	e.to = (struct peer){ .kind = PEER_WORKLOAD, .name = names[(x >> 20) % N_WORKLOADS] };
	if (hub || i % 5 == 0) {
		struct addr a = { .family = 4 };

		memcpy(a.bytes, &x, 4);
		e.to = (struct peer){ .kind = PEER_CIDR, .prefix = prefix_of(&a, 24) };
	}
	edge_id_format(edge_key_number(&e.from, &e.to, e.proto, e.port_lo, e.port_hi), e.id);
	return e;
}

static void
measure(const char *what, size_t n, size_t changed, bool hub)
{
	struct policy a = { .edges = calloc(n, sizeof(*a.edges)), .n_edges = n };
	struct policy b = { .edges = calloc(n, sizeof(*b.edges)), .n_edges = n };
	_cleanup_(policy_diff_freep) struct policy_diff *d = NULL;
	_cleanup_(policy_merge_freep) struct policy_merge *m = NULL;
	double start, diff, merge;

	if (a.edges == NULL || b.edges == NULL)
		abort();
	for (size_t i = 0; i < n; i++) {
		a.edges[i] = make_edge(i, hub);
		b.edges[i] = make_edge(i < changed ? i + n : i, hub);
	}
	start = now_s();
	if (policy_diff_new(&a, &b, &d) < 0)
		abort();
	diff = now_s() - start;
	start = now_s();
	if (policy_merge_new(&a, &b, false, &m) < 0 && n <= POLICY_MAX_EDGES / 2)
		abort();
	merge = now_s() - start;
	printf("%-28s %8zu edges  diff %6.3f s, %zu entries%s  merge %6.3f s\n", what, n, diff,
	    d->n_edges, d->gave_up ? " (gave up)" : "", merge);
	free(a.edges);
	free(b.edges);
}

int
main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : POLICY_MAX_EDGES;

	for (size_t i = 0; i < N_WORKLOADS; i++)
		snprintf(names[i], sizeof(names[i]), "w%zu", i);
	measure("equal", n, 0, false);
	measure("a tenth changed", n, n / 10, false);
	measure("all changed", n, n, false);
	measure("one workload, all changed", n, n, true);
	return 0;
}
