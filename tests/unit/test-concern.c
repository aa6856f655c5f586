/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom a change of the inventory concerns: nobody is left out whose ruleset is another one, over
 * pseudo-random policies and inventories; and a start does not concern everybody.
 */
#include "compile-fixture.h"
#include "rules/util.h"
#include "tests/diff/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define WORLDS 4000
#define CHANGES 8

static void
digest_of(const struct world *w, const char *workload, uint8_t ret[static RULESET_DIGEST_LEN])
{
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;

	assert_int_equal(ruleset_compile(&w->policy, &w->inv, workload, WORLD_NOW, &r), 0);
	r->n_local = 0;
	assert_int_equal(ruleset_digest(r, ret), 0);
}

static int
addr_cmp_void(const void *a, const void *b)
{
	return addr_cmp(a, b);
}

/* The pointers inside lead to the copy. */
static void
copy_world(const struct world *from, struct world *to)
{
	*to = *from;
	to->inv.entries = to->entries;
	to->inv.host = to->host;
	to->inv.nobodys = to->nobodys;
	to->inv.names = to->told;
	for (size_t i = 0; i < WORLD_WORKLOADS; i++)
		to->entries[i].addrs = to->addrs[i];
}

/* One thing of the inventory is as it is in the other world. */
static void
change(struct world *w, const struct world *other)
{
	size_t i = world_rnd(w, WORLD_WORKLOADS);

	switch (world_rnd(w, 7)) {
	case 0:
		memcpy(w->host, other->host, sizeof(w->host));
		w->inv.n_host = other->inv.n_host;
		break;
	case 1:
		memcpy(w->nobodys, other->nobodys, sizeof(w->nobodys));
		w->inv.n_nobodys = other->inv.n_nobodys;
		break;
	case 2:
		w->entries[i].contested = !w->entries[i].contested;
		break;
	case 4:
		memcpy(w->told, other->told, sizeof(w->told));
		w->inv.n_names = other->inv.n_names;
		break;
	case 3: /* it has stopped */
		w->entries[i].n_addrs = 0;
		break;
	default:
		memcpy(w->addrs[i], other->addrs[i], sizeof(w->addrs[i]));
		w->entries[i].n_addrs = other->entries[i].n_addrs;
		break;
	}
}

static bool
is_link_local(const struct addr *a)
{
	return a->family == 6 && a->bytes[0] == 0xfe;
}

/* What is documented to be left for later. */
static bool
only_link_local_of_host(const struct world *a, const struct world *b)
{
	struct world x, y;
	struct world *both[] = { &x, &y };

	copy_world(a, &x);
	copy_world(b, &y);
	for (size_t k = 0; k < 2; k++) {
		struct world *w = both[k];
		size_t n = 0;

		for (size_t i = 0; i < w->inv.n_host; i++)
			if (!is_link_local(&w->host[i]))
				w->host[n++] = w->host[i];
		w->inv.n_host = n;
	}
	for (size_t i = 0; i < WORLD_WORKLOADS; i++) {
		uint8_t before[RULESET_DIGEST_LEN], after[RULESET_DIGEST_LEN];

		digest_of(&x, x.entries[i].workload, before);
		digest_of(&y, y.entries[i].workload, after);
		if (memcmp(before, after, sizeof(before)) != 0)
			return false;
	}
	return true;
}

static void
nobody_is_left_out_whose_rules_change(void **state)
{
	static struct world before, other, now;
	size_t spared = 0, changed = 0;

	for (uint64_t seed = 0; seed < WORLDS; seed++) {
		world_make(&before, seed, &world_pool, WORLD_EDGES);
		world_make(&other, seed + WORLDS, &world_pool, WORLD_EDGES);
		qsort(before.host, before.inv.n_host, sizeof(before.host[0]), addr_cmp_void);
		for (size_t k = 0; k < CHANGES; k++) {
			bool concerned[WORLD_WORKLOADS];

			copy_world(&before, &now);
			now.seed = seed * CHANGES + k;
			change(&now, &other);
			qsort(now.host, now.inv.n_host, sizeof(now.host[0]), addr_cmp_void);
			inventory_concerns(&before.policy, &before.inv, &now.inv, concerned);
			for (size_t i = 0; i < WORLD_WORKLOADS; i++) {
				uint8_t a[RULESET_DIGEST_LEN], b[RULESET_DIGEST_LEN];
				bool same;

				digest_of(&before, before.entries[i].workload, a);
				digest_of(&now, now.entries[i].workload, b);
				same = memcmp(a, b, sizeof(a)) == 0;
				spared += !concerned[i];
				changed += !same;
				if (same || concerned[i] || only_link_local_of_host(&before, &now))
					continue;
				world_print(&before);
				world_print(&now);
				fail_msg("seed %d, change %zu: %s is left out", (int)seed, k,
				    now.entries[i].workload);
			}
		}
	}
	print_message("# %d changes: %zu rulesets spared, %zu are others\n", WORLDS * CHANGES,
	    spared, changed);
	assert_true(spared > 10000 && changed > 10000);
}

/* In order of their names. */
enum { API, DB, NEW, OTHER, WEB, N };
static const char *const names[N] = { "api", "db", "new", "other", "web" };

struct fixture {
	struct addr addrs[N], extra[N], host[2], nobody[1];
	struct inventory_entry entries[N];
	struct inventory inv;
};

static void
make(struct fixture *f, const char *fresh)
{
	static const char *const at[N] = { "10.0.0.1", "10.0.0.2", "0.0.0.0", "10.7.0.9",
		"10.0.0.3" };
	size_t n = 0;

	*f = (struct fixture){ .host = { A("10.0.0.254"), A("fe80::254") } };
	for (size_t i = 0; i < N; i++) {
		if (i == NEW && fresh == NULL)
			continue;
		f->addrs[n] = A(i == NEW ? fresh : at[i]);
		f->entries[n] = (struct inventory_entry){ names[i], &f->addrs[n], 1, false };
		n++;
	}
	f->inv = (struct inventory){ f->entries, n, f->host, 2, f->nobody, 0 };
}

static void
a_start_concerns_itself_and_the_ends_of_its_edges(void **state)
{
	static struct policy_workload workloads[] = {
		{ .name = (char *)"web", .mode = MODE_ENFORCE, .direction = WL_BOTH },
	};
	struct policy_edge edges[] = {
		EDGE(W("web"), W("api"), IPPROTO_TCP, 80, 80, EDGE_APPROVED),
		EDGE(W("api"), W("new"), IPPROTO_TCP, 81, 81, EDGE_APPROVED),
		EDGE(CIDR("10.7.0.0/16"), W("new"), IPPROTO_TCP, 82, 82, EDGE_APPROVED),
		EDGE(W("web"), INTERNET, IPPROTO_TCP, 443, 443, EDGE_APPROVED),
		EDGE(HOST, W("db"), IPPROTO_TCP, 5432, 5432, EDGE_APPROVED),
	};
	const struct policy p = { .workloads = workloads,
		.n_workloads = 1,
		.edges = edges,
		.n_edges = ARRAY_SIZE(edges) };
	struct fixture before, now;
	bool c[N];

	make(&before, NULL);
	make(&now, "10.0.0.9");
	assert_true(inventory_concerns(&p, &before.inv, &now.inv, c));
	assert_true(c[API] && c[NEW] && c[OTHER] && !c[DB] && !c[WEB]);
	assert_true(inventory_concerns(&p, &now.inv, &before.inv, c));
	assert_true(c[API] && !c[DB] && c[OTHER - 1] && !c[WEB - 1]);
	/* The internet is everything that nobody here has. */
	make(&now, "203.0.113.9");
	assert_true(inventory_concerns(&p, &before.inv, &now.inv, c));
	assert_true(c[API] && c[NEW] && c[WEB] && !c[DB]);

	make(&now, NULL);
	assert_false(inventory_concerns(&p, &before.inv, &now.inv, c));
	assert_false(c[API] || c[DB]);
	now.nobody[0] = A("10.0.0.77");
	now.inv.n_nobodys = 1;
	assert_false(inventory_concerns(&p, &before.inv, &now.inv, c));
	assert_false(c[API] || c[DB] || c[WEB - 1]);
	now.nobody[0] = A("203.0.113.77");
	assert_false(inventory_concerns(&p, &before.inv, &now.inv, c));
	assert_true(c[WEB - 1] && !c[API] && !c[DB]);

	make(&now, NULL);
	now.host[1] = A("fe80::255");
	assert_false(inventory_concerns(&p, &before.inv, &now.inv, c));
	assert_false(c[API] || c[DB] || c[WEB - 1]);
	now.host[0] = A("10.0.0.253");
	assert_false(inventory_concerns(&p, &before.inv, &now.inv, c));
	assert_true(c[API] && c[DB] && c[WEB - 1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_left_out_whose_rules_change),
		cmocka_unit_test(a_start_concerns_itself_and_the_ends_of_its_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
