/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How an instance's start is told and counted: never a longer lead than there was. */
#include "ctl-fixture.h"
#include "daemon/instance.h"
#include "daemon/start.h"

#define MS NSEC_PER_MSEC
#define AT(ms) (900 * NSEC_PER_SEC + (ms)*MS)

static int
setup(void **state)
{
	*state = ctl_new(NULL);
	return 0;
}

static int
teardown(void **state)
{
	ctl_free(*state);
	return 0;
}

/* Times in ms, 0: never. */
static const struct {
	const char *name;
	uint64_t closed, attached, ruled, began;
	bool gated, existing;
	enum start_kind kind;
	bool known;
	int64_t lead_ns;
} cases[] = {
	{ "closed before", 100, 110, 0, 185, false, false, START_CLOSED, true, 85 * (int64_t)MS },
	{ "closed, and nobody knows yet when it began", 100, 110, 0, 0, false, false, START_CLOSED,
	    false, 0 },
	{ "closed too late", 100, 110, 0, 70, false, false, START_LATE, true, -30 * (int64_t)MS },
	{ "its rules came before anything was closed", 0, 90, 100, 185, false, false, START_CLOSED,
	    true, 85 * (int64_t)MS },
	{ "its rules came late", 0, 90, 200, 185, false, false, START_LATE, true,
	    -15 * (int64_t)MS },
	{ "observed late", 0, 90, 0, 50, false, false, START_LATE, true, -40 * (int64_t)MS },
	{ "observed before, and held by nothing", 0, 90, 0, 150, false, false, START_LATE, true,
	    0 },
	{ "not observed yet", 0, 0, 0, 150, false, false, START_LATE, false, 0 },
	{ "there before us", 0, 90, 100, 0, false, true, START_EXISTING, false, 0 },
	{ "closed by an earlier warden", 100, 110, 0, 0, false, true, START_CLOSED, false, 0 },
	{ "gated", 100, 110, 120, 0, true, false, START_GATED, true, 7 * (int64_t)MS },
	{ "gated, whatever is seen of its process", 100, 110, 120, 50, true, false, START_GATED,
	    true, 7 * (int64_t)MS },
};

static void
tells_a_start_by_what_is_known(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct instance i = { .ns = { .closed_ns =
						  cases[k].closed ? AT(cases[k].closed) : 0,
					  .began_ns = cases[k].began ? AT(cases[k].began) : 0 },
			.attached_ns = cases[k].attached ? AT(cases[k].attached) : 0,
			.ruled_ns = cases[k].ruled ? AT(cases[k].ruled) : 0,
			.gated = cases[k].gated,
			.gate_lead_ns = 7 * (int64_t)MS,
			.existing = cases[k].existing };
		struct start s = start_of(&i);

		if (s.kind != cases[k].kind || s.known != cases[k].known ||
		    (s.known && s.lead_ns != cases[k].lead_ns))
			fail_msg("%s: %s, %lld ns", cases[k].name, start_kind_name(s.kind),
			    (long long)s.lead_ns);
	}
}

static struct instance *
instance_at(struct controller *c, const char *name, uint64_t mode_since_ns)
{
	struct instance *i = ctl_instance(c, 5, name, "10.0.0.5");

	c->scanned = true;
	i->existing = false;
	i->workload->mode = MODE_ENFORCE;
	i->workload->mode_since_ns = mode_since_ns;
	return i;
}

static void
rules_count_as_late_only_where_it_was_enforced_when_it_came(void **state)
{
	struct controller *c = *state;
	struct instance *i = instance_at(c, "web", fake_now - 1);

	fake_mono += 20 * MS;
	fake_now += 20 * MS;
	start_on_ruled(i);
	assert_int_equal(i->ruled_ns, fake_mono);
	i->ruled_ns = 0;
	i->workload->mode_since_ns = fake_now - 10 * MS;
	start_on_ruled(i);
	assert_int_equal(i->ruled_ns, 0);
}

static void
a_start_is_counted_once_when_it_is_known(void **state)
{
	struct controller *c = *state;
	struct instance *i = instance_at(c, "web", 1);

	start_count(i);
	assert_int_equal(c->metrics.starts[START_LATE], 0);
	i->ns.closed_ns = fake_mono - 60 * MS;
	i->ns.began_ns = fake_mono;
	start_on_netns(i);
	assert_int_equal(i->held_ns, fake_now - 60 * MS);
	start_count(i);
	start_count(i);
	assert_int_equal(c->metrics.starts[START_CLOSED], 1);
	assert_int_equal(c->metrics.lead[START_CLOSED].count, 1);
	assert_int_equal(c->metrics.lead[START_CLOSED].sum_ns, 60 * MS);
	assert_int_equal(c->metrics.lead[START_CLOSED].buckets[5], 1);
}

static void
what_was_closed_before_it_was_attached_is_held_since_then(void **state)
{
	struct instance *i = instance_at(*state, "web", 1);

	start_on_attached(i);
	assert_int_equal(i->held_ns, fake_now);
	i->ns.closed_ns = fake_mono - 60 * MS;
	start_on_netns(i);
	assert_int_equal(i->held_ns, fake_now - 60 * MS);
	fake_mono += 5 * MS;
	fake_now += 5 * MS;
	start_on_netns(i);
	assert_int_equal(i->held_ns, fake_now - 65 * MS);
	start_on_gated(i, 2 * MS);
	start_on_netns(i);
	assert_int_equal(i->held_ns, fake_now - 2 * MS);
}

static void
a_late_start_is_in_the_figures_by_how_much(void **state)
{
	struct controller *c = *state;
	struct instance *i = instance_at(c, "web", 1);

	i->ns.closed_ns = fake_mono;
	i->ns.began_ns = fake_mono - 30 * MS;
	start_on_netns(i);
	start_count(i);
	assert_int_equal(c->metrics.starts[START_LATE], 1);
	assert_int_equal(c->metrics.late.count, 1);
	assert_int_equal(c->metrics.late.sum_ns, 30 * MS);
	assert_int_equal(c->metrics.lead[START_CLOSED].count, 0);
	start_on_gated(i, 5 * MS);
	i->start_counted = false;
	start_count(i);
	assert_int_equal(c->metrics.lead[START_GATED].sum_ns, 5 * MS);
	assert_int_equal(c->metrics.late.count, 1);
}

static void
a_shared_namespace_keeps_its_first_starts_figure(void **state)
{
	struct controller *c = *state;
	struct instance *i = instance_at(c, "web", 1);

	start_on_gated(i, 20 * MS);
	start_on_gated(i, 900 * MS);
	assert_int_equal(start_of(i).lead_ns, 20 * MS);
	assert_int_equal(i->held_ns, fake_now - 20 * MS);
}

#define START_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_a_start_by_what_is_known),
		START_TEST(rules_count_as_late_only_where_it_was_enforced_when_it_came),
		START_TEST(a_start_is_counted_once_when_it_is_known),
		START_TEST(what_was_closed_before_it_was_attached_is_held_since_then),
		START_TEST(a_late_start_is_in_the_figures_by_how_much),
		START_TEST(a_shared_namespace_keeps_its_first_starts_figure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
