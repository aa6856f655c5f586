/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who was where before the daemon was away: believed of who lives on, and of nobody else. */
#include "ctl-fixture.h"
#include "daemon/former.h"
#include "daemon/statefile.h"
#include "rules/compile.h"

#include <stdlib.h>

#define CONTAINER "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
#define OTHER "0ddba11e0ddba11e0ddba11e0ddba11e0ddba11e0ddba11e0ddba11e0ddba11e"
#define LIVES 7
#define DIES 8
#define HERE "10.0.0.7"
#define GONE "10.0.0.8"

/* What is in a controller's stead after it was away, with another instance of the workload. */
static void
away(struct ctl_fixture *f)
{
	ctl_restart(f);
	f->c->caught_up = false;
	ctl_instance(f->c, 100, "web", "10.0.0.100");
	former_load(f->c);
}

static void
announce(struct controller *c, uint64_t cookie, const char *container)
{
	struct w_netns n = { .cookie = cookie, .ino = cookie + 4026530000 };

	snprintf(n.container_id, sizeof(n.container_id), "%s", container);
	instance_on_netns(c, &n);
}

static bool
has(struct controller *c, const char *address)
{
	struct inventory *inv = inventory_build(c, true);
	struct addr want = ctl_addr(address);
	bool found = false;

	assert_non_null(inv);
	for (size_t i = 0; i < inv->n_entries; i++)
		for (size_t k = 0; k < inv->entries[i].n_addrs; k++)
			found |= strcmp(inv->entries[i].workload, "web") == 0 &&
				 addr_eq(&inv->entries[i].addrs[k], &want);
	inventory_free(inv);
	return found;
}

static int
setup(void **state)
{
	struct ctl_fixture *f;
	struct instance *i;

	ctl_setup(state);
	f = *state;
	i = ctl_instance(f->c, LIVES, "web", HERE);
	snprintf(i->ns.container_id, sizeof(i->ns.container_id), "%s", CONTAINER);
	ctl_instance(f->c, DIES, "web", GONE);
	former_save(f->c);
	return 0;
}

static int
teardown(void **state)
{
	struct ctl_fixture *f = *state;

	former_forget(f->c);
	return ctl_teardown(state);
}

static void
a_row_answers_for_who_lives_on(void **state)
{
	struct ctl_fixture *f = *state;

	away(f);
	announce(f->c, LIVES, CONTAINER);
	assert_string_equal(former_workload(instance_find(f->c, LIVES)), "web");
	assert_true(has(f->c, HERE));
	assert_true(has(f->c, "10.0.0.100"));
	assert_false(has(f->c, GONE));
}

static void
but_not_before_all_that_live_are_announced(void **state)
{
	struct ctl_fixture *f = *state;

	away(f);
	f->c->scanned = false;
	announce(f->c, LIVES, CONTAINER);
	assert_false(former_stands_in(f->c));
	assert_false(has(f->c, HERE));
}

static void
nor_for_another_container_in_its_namespace(void **state)
{
	struct ctl_fixture *f = *state;

	away(f);
	announce(f->c, LIVES, OTHER);
	assert_null(former_workload(instance_find(f->c, LIVES)));
	assert_false(has(f->c, HERE));
}

static void
nor_where_somebody_else_is_known_to_be_by_now(void **state)
{
	struct ctl_fixture *f = *state;

	away(f);
	announce(f->c, LIVES, CONTAINER);
	ctl_instance(f->c, 101, "next", HERE);
	assert_false(has(f->c, HERE));
}

static void
what_was_saved_is_kept_until_everybody_is_known(void **state)
{
	struct ctl_fixture *f = *state;

	away(f);
	announce(f->c, LIVES, CONTAINER);
	former_save(f->c);
	former_forget(f->c);
	away(f);
	announce(f->c, LIVES, CONTAINER);
	assert_true(has(f->c, HERE));
}

static void
a_file_of_somebody_else_says_nothing(void **state)
{
	static const char *const texts[] = { "", "[]", "{}", "{\"of\":7,\"places\":{}}",
		"{\"of\":\"0.1.0 00000000-0000-0000-0000-000000000000\",\"places\":{\"7\":{}}}" };
	struct ctl_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(
		    statefile_keep_text(f->dir, "places", texts[i], strlen(texts[i])), 0);
		away(f);
		announce(f->c, LIVES, CONTAINER);
		assert_false(former_stands_in(f->c));
		assert_false(has(f->c, HERE));
	}
}

/* Of the right boot, but no row is what it should be. */
static void
a_damaged_row_is_none(void **state)
{
	static const char *const rows[] = { "7", "[]", "{}", "{\"container\":\"" CONTAINER "\"}",
		"{\"container\":7,\"workload\":\"web\",\"addresses\":[\"" HERE "\"]}",
		"{\"container\":\"" CONTAINER "\",\"workload\":7,\"addresses\":[\"" HERE "\"]}",
		"{\"container\":\"" CONTAINER "\",\"workload\":\"nobody\",\"addresses\":[\"" HERE
		"\"]}",
		"{\"container\":\"" CONTAINER "\",\"workload\":\"web\",\"addresses\":\"" HERE "\"}",
		"{\"container\":\"" CONTAINER "\",\"workload\":\"web\",\"addresses\":[7,\"x\"]}" };
	struct ctl_fixture *f = *state;
	json_t *o = NULL;

	assert_int_equal(statefile_read(f->dir, "places", 65536, &o), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_object_set_new(
		    json_object_get(o, "places"), "7", json_loads(rows[i], JSON_DECODE_ANY, NULL));
		assert_int_equal(statefile_write(f->dir, "places", json_incref(o)), 0);
		away(f);
		announce(f->c, LIVES, CONTAINER);
		assert_false(has(f->c, HERE));
		former_forget(f->c);
	}
	json_decref(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(a_row_answers_for_who_lives_on),
		T(but_not_before_all_that_live_are_announced),
		T(nor_for_another_container_in_its_namespace),
		T(nor_where_somebody_else_is_known_to_be_by_now),
		T(what_was_saved_is_kept_until_everybody_is_known),
		T(a_file_of_somebody_else_says_nothing),
		T(a_damaged_row_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
