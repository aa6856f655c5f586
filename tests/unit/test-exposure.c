/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What ran without its rules while the daemon was away: told once, never too short, kept. */
#include "ctl-fixture.h"
#include "daemon/instance.h"
#include "daemon/start.h"
#include "daemon/store.h"

#define S NSEC_PER_SEC

static int
setup(void **state)
{
	static char dir[64];

	*state = (char *)ctl_tmpdir(dir);
	return 0;
}

static int
teardown(void **state)
{
	ctl_rmdir(*state);
	return 0;
}

/* An instance that the first scan found a second ago, and whose rules are in force now. */
static struct instance *
found(struct controller *c, const char *name)
{
	static uint64_t cookie = 100;
	struct instance *i = ctl_instance(c, ++cookie, name, "10.0.0.1");

	i->existing = true;
	i->announced_ns = fake_mono - S;
	i->workload->mode = MODE_ENFORCE;
	i->workload->mode_since_ns = fake_now - 1000 * S;
	i->workload->away_ns = fake_now - 100 * S;
	i->ns.born_ns = fake_mono - 60 * S;
	return i;
}

static void
a_window_begins_with_the_program_or_the_daemons_absence(void **state)
{
	/* Seconds ago; 0: never. */
	static const struct {
		const char *what;
		unsigned born, away, mode, closed, opened;
		bool gated, adopted, is_new;
		unsigned from; /* 0: no window */
	} cases[] = {
		{ "started while we were away", 60, 100, 1000, 0, 0, false, false, false, 60 },
		{ "its rules went while we were away", 500, 100, 1000, 0, 0, false, false, false,
		    100 },
		{ "its age is not known", 0, 100, 1000, 0, 0, false, false, false, 100 },
		{ "enforced for the first time since", 60, 0, 30, 0, 0, false, false, false, 30 },
		{ "enforced after we found it", 60, 100, 1, 0, 0, false, false, false, 0 },
		{ "closed by an earlier warden", 60, 100, 1000, 50, 0, false, false, false, 0 },
		{ "closed, and opened unknown", 60, 100, 1000, 50, 40, false, false, false, 40 },
		{ "gated", 60, 100, 1000, 0, 0, true, false, false, 0 },
		{ "its rules stood", 60, 100, 1000, 0, 0, false, true, false, 0 },
		{ "seen to start", 1, 100, 1000, 0, 0, false, false, true, 0 },
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct controller *c = ctl_new(NULL);
		struct instance *i = found(c, "web");

		i->ns.born_ns = cases[k].born != 0 ? fake_mono - cases[k].born * S : 0;
		i->workload->away_ns = cases[k].away != 0 ? fake_now - cases[k].away * S : 0;
		i->workload->mode_since_ns = fake_now - cases[k].mode * S;
		i->ns.closed_ns = cases[k].closed != 0 ? fake_mono - cases[k].closed * S : 0;
		i->ns.opened_ns = cases[k].opened != 0 ? fake_mono - cases[k].opened * S : 0;
		i->gated = cases[k].gated;
		i->attached.adopted = cases[k].adopted;
		i->existing = !cases[k].is_new;
		exposure_on_ruled(i);
		exposure_on_ruled(i);
		if (c->n_exposures != (cases[k].from != 0) ||
		    (cases[k].from != 0 &&
			(c->exposures[0].from_ns != fake_now - cases[k].from * S ||
			    c->exposures[0].to_ns != fake_now ||
			    strcmp(c->exposures[0].workload, "web") != 0)))
			fail_msg("%s", cases[k].what);
		ctl_free(c);
	}
}

static void
windows_outlive_the_daemon_and_are_bounded(void **state)
{
	struct controller *c = ctl_new(*state);
	char name[16];

	for (int k = 0; k < CTL_MAX_EXPOSURES + 10; k++) {
		snprintf(name, sizeof(name), "w%d", k);
		exposure_on_ruled(found(c, name));
		if (k == 5 || k == CTL_MAX_EXPOSURES + 9)
			assert_int_equal(flush_evidence(c), 0);
	}
	assert_int_equal(c->n_exposures, CTL_MAX_EXPOSURES);
	assert_int_equal(c->exposures_unsaved, 0);
	ctl_free(c);
	c = ctl_new(*state);
	assert_int_equal(c->n_exposures, CTL_MAX_EXPOSURES);
	assert_string_equal(c->exposures[0].workload, "w10");
	snprintf(name, sizeof(name), "w%d", CTL_MAX_EXPOSURES + 9);
	assert_string_equal(c->exposures[CTL_MAX_EXPOSURES - 1].workload, name);
	assert_int_equal(c->exposures[0].from_ns, fake_now - 60 * S);
	assert_int_equal(c->exposures_unsaved, 0);
	ctl_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_window_begins_with_the_program_or_the_daemons_absence),
		cmocka_unit_test_setup_teardown(
		    windows_outlive_the_daemon_and_are_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
