/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"

#define ID "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"

static int
setup(void **state)
{
	*state = ctl_new(NULL);
	memset(sent, 0, sizeof(sent));
	return 0;
}

static int
teardown(void **state)
{
	ctl_free(*state);
	return 0;
}

static void
announce(struct controller *c, uint64_t cookie, uint32_t flags, const char *id)
{
	struct w_netns n = { .cookie = cookie, .ino = cookie + 4026530000, .flags = flags };

	snprintf(n.container_id, sizeof(n.container_id), "%s", id);
	instance_on_netns(c, &n);
}

static void
a_namespace_made_inside_a_container_is_not_the_container(void **state)
{
	struct controller *c = *state;

	announce(c, 1, NETNS_F_ENGINE, ID);
	announce(c, 2, NETNS_F_PROC, ID);
	assert_non_null(instance_find(c, 1));
	assert_null(instance_find(c, 2));
	assert_int_equal(sent[MSG_W_ATTACH], 1);
}

static void
nor_if_it_is_announced_first(void **state)
{
	struct controller *c = *state;

	announce(c, 2, NETNS_F_PROC, ID);
	announce(c, 3, NETNS_F_PROC, ID);
	announce(c, 1, NETNS_F_ENGINE, ID);
	assert_non_null(instance_find(c, 1));
	assert_null(instance_find(c, 2));
	assert_null(instance_find(c, 3));
	assert_int_equal(sent[MSG_W_RELEASE], 2);
}

static void
one_whose_file_shows_later_stays(void **state)
{
	struct controller *c = *state;

	announce(c, 1, NETNS_F_PROC, ID);
	announce(c, 1, NETNS_F_ENGINE, ID);
	assert_non_null(instance_find(c, 1));
	assert_int_equal(sent[MSG_W_RELEASE], 0);
}

static void
an_engine_without_files_is_watched_by_its_processes(void **state)
{
	struct controller *c = *state;

	announce(c, 1, NETNS_F_PROC, ID);
	assert_non_null(instance_find(c, 1));
	announce(c, 2, NETNS_F_PROC, "");
	assert_null(instance_find(c, 2));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_namespace_made_inside_a_container_is_not_the_container, setup, teardown),
		cmocka_unit_test_setup_teardown(nor_if_it_is_announced_first, setup, teardown),
		cmocka_unit_test_setup_teardown(one_whose_file_shows_later_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    an_engine_without_files_is_watched_by_its_processes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
