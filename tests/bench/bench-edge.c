/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints what one observation of a known key costs, by the number of edges. Asserts nothing. */
#include "rules/edge.h"
#include "rules/util.h"

#include <netinet/in.h>
#include <stdio.h>
#include <time.h>

#define ROUNDS 4000000u

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static bool
covers_address(
    void *arg, const struct edge *decided, const struct edge_key *observed, const struct tuple *t)
{
	return false;
}

static struct edge_observation
nth(const peer_id *ids, unsigned i)
{
	struct edge_observation o = {
		.key = { .from = ids[0], .to = ids[1], .proto = IPPROTO_TCP },
		.end = EDGE_END_SOURCE,
		.instance = i % 7,
		.time_ns = NSEC_PER_SEC + i,
		.count = 1,
	};
	uint32_t src = 0x0a000001 + i % 3, dst = 0x0a000101;

	/* 50,000 ports for each protocol number. */
	o.key.proto = (uint8_t)(IPPROTO_TCP + i / 50000);
	o.key.port_lo = o.key.port_hi = (uint16_t)(i % 50000);
	o.tuple.src = addr_from_v4(&src);
	o.tuple.dst = addr_from_v4(&dst);
	return o;
}

static int
run(size_t n, bool by_address)
{
	_cleanup_(peer_table_freep) struct peer_table *peers = NULL;
	_cleanup_(edge_table_freep) struct edge_table *t = NULL;
	static const char *const names[] = { "shop/web", "internet", "cidr:192.0.2.0/24" };
	peer_id ids[3];
	struct edge *e;
	uint64_t start, x = 1;

	if (peer_table_new(10, &peers) < 0 ||
	    edge_table_new(peers, n + 400, 0x5eed, covers_address, NULL, &t) < 0)
		return 1;
	for (unsigned i = 0; i < 3; i++) {
		char name[PEER_STRLEN];
		struct peer p;

		if (peer_parse(names[i], name, &p) < 0 || peer_intern(peers, &p, &ids[i]) < 0)
			return 1;
	}
	for (unsigned proto = 0; by_address && proto < 256; proto++) {
		struct edge_key key = { ids[0], ids[2], 0, 65535, (uint8_t)proto, { 0 } };

		if (edge_table_add(t, &key, &e) < 0 || edge_decide(t, e, EDGE_APPROVED, NULL) < 0)
			return 1;
	}
	for (unsigned i = 0; i < 3 * n; i++) {
		struct edge_observation o = nth(ids, i % (unsigned)n);

		o.tuple.src.bytes[0] = (uint8_t)(1 + i / n);
		if (edge_table_observe(t, &o, &e) < 0)
			return 1;
	}

	start = now_ns();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct edge_observation o;

		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		o = nth(ids, (unsigned)((x >> 33) % n));
		o.tuple.src.bytes[0] = 1;
		if (edge_table_observe(t, &o, &e) < 0)
			return 1;
	}
	printf("%7zu edges, %s: %6.1f ns per observation of a known key\n", n,
	    by_address ? "known by address" : "known by key    ",
	    (double)(now_ns() - start) / ROUNDS);
	return 0;
}

int
main(void)
{
	int r = 0;

	for (unsigned by_address = 0; by_address < 2; by_address++) {
		r |= run(1000, by_address);
		r |= run(100000, by_address);
	}
	return r;
}
