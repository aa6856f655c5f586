/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A store in a folder of its own. */
#ifndef NANOSEG_TEST_STORE_FIXTURE_H
#define NANOSEG_TEST_STORE_FIXTURE_H

#include "ctl-fixture.h"
#include "daemon/store.h"

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static inline int
setup(void **state)
{
	static char dir[64];

	*state = (void *)ctl_tmpdir(dir);
	return 0;
}

static inline int
teardown(void **state)
{
	ctl_rmdir(*state);
	return 0;
}

static inline struct store *
open_store(const char *dir)
{
	struct store *s;
	struct diag d = { 0 };

	if (store_open(dir, &d, &s) < 0)
		fail_msg("%s", d.msg);
	return s;
}

static inline void
fill(const char *dir)
{
	struct controller *c = ctl_new(dir);

	for (uint16_t port = 1; port < 500; port++)
		ctl_add_edge(c, "web", "api", port);
	assert_int_equal(flush_evidence(c), 0);
	ctl_free(c);
}

#endif
