/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long the search for a probe takes, at most, whatever runs here, and that it looks everywhere.
 */
#include "ctl-fixture.h"
#include "daemon/instance.h"
#include "rules/compile.h"

#include "daemon/verify.h"

bool __wrap_probing_addrs(const struct instance *from, const struct instance *to, uint8_t family,
    struct addr *ret_src, struct addr *ret_dst);

static size_t looked;
static uint64_t from_seen, to_seen; /* cookies */
static unsigned families_seen;

/* No two of them share a network. */
bool
__wrap_probing_addrs(const struct instance *from, const struct instance *to, uint8_t family,
    struct addr *ret_src, struct addr *ret_dst)
{
	looked++;
	from_seen |= UINT64_C(1) << from->ns.cookie % 64;
	to_seen |= UINT64_C(1) << to->ns.cookie % 64;
	families_seen |= 1U << family;
	return false;
}

static void
a_search_looks_at_all_pairs_of_an_edge_and_not_too_many(void **state)
{
	static const struct {
		unsigned from, to;
		size_t min, max; /* for one family */
	} t[] = {
		{ 3, 4, 12, 12 },
		{ 1, 900, 900, 900 },
		{ 300, 300, 900, 1024 },
	};

	for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
		struct controller *c = ctl_new(NULL);
		const struct inventory *none = NULL;
		struct verify_cases *v;
		struct verify_case found;
		char address[32];
		uint64_t cookie = 10;

		for (unsigned i = 0; i < t[k].from + t[k].to; i++) {
			snprintf(address, sizeof(address), "10.1.%u.%u", i / 250, 1 + i % 250);
			ctl_instance(c, cookie++, i < t[k].from ? "a" : "b", address);
		}
		assert_int_equal(
		    edge_decide(c->edges, ctl_add_edge(c, "a", "b", 80), EDGE_APPROVED, NULL), 0);
		assert_int_equal(verify_cases_new(c, 10, &v), 0);
		for (unsigned family = 0; family < 2; family++) {
			looked = 0;
			assert_int_equal(verify_next(c, v, none, &found), 0);
			assert_in_range(looked, t[k].min, t[k].max);
		}
		verify_cases_free(v);
		ctl_free(c);
	}
}

/* As many points as an end has ports, families and a few more are enough to meet every end. */
static void
refused_pairs_are_of_every_end_and_family(void **state)
{
	for (unsigned n = 2; n < 40; n++) {
		struct controller *c = ctl_new(NULL);
		struct verify_cases *v;
		struct verify_case found;
		char address[32];

		for (unsigned i = 0; i < n; i++) {
			snprintf(address, sizeof(address), "10.1.0.%u", 1 + i);
			ctl_instance(c, i, "a", address);
		}
		for (unsigned draw = 0; draw < 50; draw++) {
			from_seen = to_seen = families_seen = 0;
			assert_int_equal(verify_cases_new(c, 1000, &v), 0);
			for (unsigned k = 0; k < 16 * n; k++)
				verify_next(c, v, NULL, &found);
			assert_int_equal(from_seen, (UINT64_C(1) << n) - 1);
			assert_int_equal(to_seen, (UINT64_C(1) << n) - 1);
			assert_int_equal(families_seen, 1U << 4 | 1U << 6);
			verify_cases_free(v);
		}
		ctl_free(c);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_search_looks_at_all_pairs_of_an_edge_and_not_too_many),
		cmocka_unit_test(refused_pairs_are_of_every_end_and_family),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
