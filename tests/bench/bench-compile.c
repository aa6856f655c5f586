/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long rulesets take to compile: a policy of W workloads and E edges, everything in enforce,
 * each workload with one IPv4 and one IPv6 address; every workload's ruleset compiled once. Sizes
 * double, so that growth can be read off the columns.
 *
 *	bench-compile [WORKLOADS EDGES]
 */
#include "rules/compile.h"
#include "rules/policy_internal.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct world {
	struct policy policy;
	struct inventory inv;
	struct inventory_entry *entries;
	struct addr (*addrs)[2];
	char (*names)[32];
};

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct policy_edge
make_edge(const struct world *w, size_t n_workloads, size_t i)
{
	uint64_t x = hash_mix64(i + 1);
	uint16_t port = (uint16_t)(x >> 48);
	struct policy_edge e = { .proto = IPPROTO_TCP,
		.port_lo = port,
		.port_hi = port,
		.state = i % 20 == 0 ? EDGE_DENIED : EDGE_APPROVED };

	e.from = (struct peer){ .kind = PEER_WORKLOAD, .name = w->names[x % n_workloads] };
	e.to = (struct peer){ .kind = PEER_WORKLOAD, .name = w->names[(x >> 20) % n_workloads] };
	if (i % 10 == 1)
		e.to = (struct peer){ .kind = PEER_INTERNET };
	else if (i % 10 == 2)
		e.from = (struct peer){ .kind = PEER_HOST };
	else if (i % 10 == 3) {
		e.to = (struct peer){ .kind = PEER_CIDR };
		prefix_parse("192.168.0.0/16", &e.to.prefix);
	}
	return e;
}

static int
world_make(struct world *w, size_t n_workloads, size_t n_edges)
{
	static struct addr host[2];
	size_t i, j;

	w->policy.workloads = calloc(n_workloads, sizeof(*w->policy.workloads));
	w->policy.edges = calloc(n_edges, sizeof(*w->policy.edges));
	w->entries = calloc(n_workloads, sizeof(*w->entries));
	w->addrs = calloc(n_workloads, sizeof(*w->addrs));
	w->names = calloc(n_workloads, sizeof(*w->names));
	if (w->policy.workloads == NULL || w->policy.edges == NULL || w->entries == NULL ||
	    w->addrs == NULL || w->names == NULL)
		return -ENOMEM;
	for (i = 0; i < n_workloads; i++) {
		snprintf(w->names[i], sizeof(w->names[i]), "wl-%06zu", i);
		addr_parse("10.0.0.0", &w->addrs[i][0]);
		addr_parse("fd00::", &w->addrs[i][1]);
		for (j = 0; j < 2; j++) {
			w->addrs[i][j].bytes[2] = (uint8_t)(i >> 8);
			w->addrs[i][j].bytes[3] = (uint8_t)i;
		}
		w->entries[i] = (struct inventory_entry){ w->names[i], w->addrs[i], 2 };
		w->policy.workloads[i] = (struct policy_workload){
			.name = w->names[i], .mode = MODE_ENFORCE, .direction = WL_BOTH
		};
	}
	addr_parse("10.255.0.1", &host[0]);
	addr_parse("fd00:ffff::1", &host[1]);
	w->inv = (struct inventory){ w->entries, n_workloads, host, 2 };
	w->policy.n_workloads = n_workloads;
	w->policy.n_edges = n_edges;
	for (i = 0; i < n_edges; i++)
		w->policy.edges[i] = make_edge(w, n_workloads, i);
	return 0;
}

static void
world_done(struct world *w)
{
	policy_index_free(w->policy.index);
	free(w->policy.workloads);
	free(w->policy.edges);
	free(w->entries);
	free(w->addrs);
	free(w->names);
}

static int
bench(size_t n_workloads, size_t n_edges)
{
	_cleanup_(world_done) struct world w = { 0 };
	double start, all, one, worst = 0;
	size_t i, elems = 0;
	int rc;

	rc = world_make(&w, n_workloads, n_edges);
	if (rc < 0)
		return rc;
	start = now_s();
	rc = policy_index(&w.policy);
	if (rc < 0)
		return rc;
	for (i = 0; i < n_workloads; i++) {
		_cleanup_(ruleset_freep) struct ruleset *r = NULL;
		uint8_t digest[RULESET_DIGEST_LEN];

		one = now_s();
		rc = ruleset_compile(&w.policy, &w.inv, w.names[i], 1, &r);
		if (rc == 0)
			rc = ruleset_digest(r, digest);
		if (rc < 0)
			return rc;
		one = now_s() - one;
		worst = MAX(worst, one);
		elems += r->n_elems;
	}
	all = now_s() - start;
	printf("%9zu %9zu %12zu %10.1f %10.3f %10.3f\n", n_workloads, n_edges, elems, all * 1e3,
	    all * 1e3 / (double)n_workloads, worst * 1e3);
	return 0;
}

int
main(int argc, char **argv)
{
	static const size_t sizes[][2] = { { 125, 1250 }, { 250, 2500 }, { 500, 5000 },
		{ 1000, 10000 }, { 1000, 20000 }, { 1000, 40000 } };
	size_t i;
	int rc = 0;

	printf("%9s %9s %12s %10s %10s %10s\n", "workloads", "edges", "elements", "all ms",
	    "each ms", "worst ms");
	if (argc == 3)
		rc = bench(strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10));
	for (i = 0; argc != 3 && rc == 0 && i < ARRAY_SIZE(sizes); i++)
		rc = bench(sizes[i][0], sizes[i][1]);
	if (rc < 0)
		fprintf(stderr, "bench-compile: %s\n", strerror(-rc));
	return rc < 0 ? 1 : 0;
}
