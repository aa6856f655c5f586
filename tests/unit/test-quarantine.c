/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is kept of a quarantine: its timeline and its file. */
#include "ctl-fixture.h"
#include "daemon/instance.h"
#include "daemon/quarantine.h"
#include "daemon/start.h"

#define HOUR_NS (3600 * NSEC_PER_SEC)
#define T0_HOUR (T0 / HOUR_NS)

static struct actor somebody = { .name = "uid:0" };

static struct controller *
held(const char *dir, struct instance **ret)
{
	struct controller *c = ctl_new(dir);
	struct diag d = { 0 };

	*ret = ctl_instance(c, 7, "a", "10.0.0.1");
	if (quarantine_add(c, "a", "odd", NULL, 0, &somebody, &d) < 0)
		fail_msg("%s", d.msg);
	return c;
}

static void
ctl_free_held(struct controller *c)
{
	struct diag d;

	assert_int_equal(quarantine_release(c, "a", "done", &somebody, &d), 0);
	ctl_free(c);
}

static void
drop_file(const char *dir)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/quarantine.json", dir);
	unlink(path);
}

static void
the_timeline_is_of_thirty_days(void **state)
{
	char buf[64];
	const char *dir = ctl_tmpdir(buf);
	struct instance *i;
	struct controller *c = held(dir, &i);
	struct quarantine *q = c->quarantines;

	for (uint64_t h = 0; h < 2000; h++) {
		quarantine_on_refused(i, T0 + h * HOUR_NS, 2);
		quarantine_on_refused(i, T0 + h * HOUR_NS + 1, 1);
		assert_true(q->n_hours <= QUARANTINE_HOURS);
	}
	assert_int_equal(q->n_hours, QUARANTINE_HOURS);
	assert_int_equal(q->hours[0].hour, T0_HOUR + 2000 - QUARANTINE_HOURS);
	for (size_t k = 0; k < q->n_hours; k++) {
		assert_int_equal(q->hours[k].hour, q->hours[0].hour + k);
		assert_int_equal(q->hours[k].refused, 3);
	}
	/* Few hours, but old ones. */
	quarantine_on_refused(i, T0 + 5000 * HOUR_NS, 1);
	assert_int_equal(q->n_hours, 1);
	/* A clock that goes back. */
	quarantine_on_refused(i, T0, 1);
	assert_int_equal(q->n_hours, 1);
	assert_int_equal(q->hours[0].refused, 2);
	quarantine_forget_hours(q, T0_HOUR + 5000 + QUARANTINE_HOURS - 1);
	assert_int_equal(q->n_hours, 1);
	quarantine_forget_hours(q, T0_HOUR + 5000 + QUARANTINE_HOURS);
	assert_int_equal(q->n_hours, 0);
	ctl_free_held(c);
	drop_file(dir);
	ctl_rmdir(dir);
}

/* As for an enforced workload: its rules count from the start only if it was held when it came. */
static void
a_replica_that_comes_is_held_from_its_start(void **state)
{
	char buf[64];
	const char *dir = ctl_tmpdir(buf);
	struct instance *before, *after;
	struct controller *c = held(dir, &before);

	before->announced_ns = fake_mono - NSEC_PER_SEC;
	start_on_ruled(before);
	assert_int_equal(before->ruled_ns, 0);
	ctl_wait(NSEC_PER_SEC);
	after = ctl_instance(c, 8, "a", "10.0.0.2");
	after->announced_ns = fake_mono;
	after->existing = false;
	ctl_wait(20 * NSEC_PER_MSEC);
	start_on_ruled(after);
	after->ns.began_ns = fake_mono + NSEC_PER_MSEC;
	assert_int_equal(start_of(after).kind, START_CLOSED);
	ctl_free_held(c);
	drop_file(dir);
	ctl_rmdir(dir);
}

static void
it_is_as_it_was_after_a_start(void **state)
{
	static const char *const allow[] = { "workload:b", "cidr:10.2.0.0/16", "addr:10.0.0.9",
		"host" };
	char buf[64];
	const char *dir = ctl_tmpdir(buf);
	struct controller *c = ctl_new(dir);
	struct quarantine *q;
	struct instance *i;
	struct diag d = { 0 };

	i = ctl_instance(c, 7, "a", "10.0.0.1");
	if (quarantine_add(c, "a", "odd", allow, ARRAY_SIZE(allow), &somebody, &d) < 0)
		fail_msg("%s", d.msg);
	quarantine_on_refused(i, fake_now, 5);
	ctl_wait(61 * NSEC_PER_SEC);
	quarantine_tick(c);
	/* Dies here: nothing is written any more. */
	c->state_dir = "/nonexistent";
	ctl_free(c);

	c = ctl_new(dir);
	assert_int_equal(quarantine_load(c, &d), 0);
	q = c->quarantines;
	assert_non_null(q);
	assert_null(q->next);
	assert_string_equal(q->workload, "a");
	assert_string_equal(q->reason, "odd");
	assert_string_equal(q->by, "uid:0");
	assert_int_equal(q->n_allow, ARRAY_SIZE(allow));
	for (size_t k = 0; k < q->n_allow; k++)
		assert_string_equal(q->allow_from[k], allow[k]);
	assert_int_equal(q->n_hours, 1);
	assert_int_equal(q->hours[0].refused, 5);
	/* A replica that comes now is held. */
	assert_ptr_equal(quarantine_of(ctl_instance(c, 8, "a", "10.0.0.2")), q);
	assert_null(quarantine_of(ctl_instance(c, 9, "b", "10.0.0.3")));
	ctl_free_held(c);
	drop_file(dir);
	ctl_rmdir(dir);
}

/* A container is held that is not there any more; the machine is off, or its clock lies. */
static void
no_clock_releases(void **state)
{
	static const uint64_t years[] = { 1, 50, 0 };
	char buf[64], id[65];
	const char *dir = ctl_tmpdir(buf);
	struct controller *c = ctl_new(dir);
	struct diag d = { 0 };
	struct instance *i;

	memset(id, 'a', 64);
	id[64] = '\0';
	i = ctl_instance(c, 7, "a", "10.0.0.1");
	memcpy(i->ns.container_id, id, sizeof(id));
	if (quarantine_add(c, id, "odd", NULL, 0, &somebody, &d) < 0)
		fail_msg("%s", d.msg);
	for (size_t k = 0; k < ARRAY_SIZE(years); k++) {
		/* A start that has not found it yet. */
		ctl_free(c);
		fake_now = T0 + years[k] * 365 * 24 * HOUR_NS;
		fake_mono += 40 * 24 * HOUR_NS;
		c = ctl_new(dir);
		assert_int_equal(quarantine_load(c, &d), 0);
		for (unsigned n = 0; n < 3; n++) {
			quarantine_tick(c);
			ctl_wait(61 * NSEC_PER_SEC);
		}
		assert_non_null(quarantine_of_container(c, id));
	}
	assert_int_equal(quarantine_release(c, id, "done", &somebody, &d), 0);
	assert_null(quarantine_of_container(c, id));
	ctl_free(c);
	drop_file(dir);
	ctl_rmdir(dir);
}

static void
a_release_that_is_not_stored_did_not_happen(void **state)
{
	char buf[64];
	const char *dir = ctl_tmpdir(buf), *state_dir;
	struct instance *i;
	struct controller *c = held(dir, &i);
	struct diag d = { 0 };
	json_t *list, *o;

	state_dir = c->state_dir;
	c->state_dir = "/proc/self/none";
	assert_true(quarantine_release(c, "a", "done", &somebody, &d) < 0);
	c->state_dir = state_dir;
	assert_non_null(quarantine_of(i));
	assert_null(quarantine_of(i)->release_reason);
	assert_int_equal(quarantine_of(i)->released_ns, 0);
	assert_string_equal(quarantine_of(i)->released_by, "");
	assert_int_equal(quarantine_release(c, "a", "false alarm", &somebody, &d), 0);
	list = json_quarantines(c, true);
	o = json_object_get(json_array_get(list, 0), "released");
	assert_string_equal(json_string_value(json_object_get(o, "reason")), "false alarm");
	json_decref(list);
	ctl_free(c);
	drop_file(dir);
	ctl_rmdir(dir);
}

static void
who_was_released_keeps_his_timeline(void **state)
{
	char buf[64];
	const char *dir = ctl_tmpdir(buf);
	struct instance *i;
	struct controller *c = held(dir, &i);
	struct diag d = { 0 };
	json_t *list, *o;

	quarantine_on_refused(i, fake_now, 5);
	assert_int_equal(quarantine_release(c, "a", "false alarm", &somebody, &d), 0);
	ctl_free(c);
	c = ctl_new(dir);
	assert_int_equal(quarantine_load(c, &d), 0);
	assert_null(c->quarantines);
	assert_null(quarantine_of(ctl_instance(c, 8, "a", "10.0.0.2")));
	list = json_quarantines(c, false);
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	list = json_quarantines(c, true);
	assert_int_equal(json_array_size(list), 1);
	o = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(o, "workload")), "a");
	assert_int_equal(json_integer_value(json_object_get(
			     json_array_get(json_object_get(o, "denials"), 0), "refused")),
	    5);
	o = json_object_get(o, "released");
	assert_string_equal(json_string_value(json_object_get(o, "reason")), "false alarm");
	assert_string_equal(json_string_value(json_object_get(o, "by")), "uid:0");
	json_decref(list);
	/* For thirty days, and it is not gone when the clock is right again. */
	ctl_wait(30 * 24 * HOUR_NS);
	list = json_quarantines(c, true);
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	assert_non_null(c->released);
	fake_now = T0;
	/* At most so many. */
	for (unsigned n = 0; n < QUARANTINE_MAX_RELEASED + 10; n++) {
		assert_int_equal(quarantine_add(c, "a", "odd", NULL, 0, &somebody, &d), 0);
		assert_int_equal(quarantine_release(c, "a", "done", &somebody, &d), 0);
	}
	list = json_quarantines(c, true);
	assert_int_equal(json_array_size(list), QUARANTINE_MAX_RELEASED);
	json_decref(list);
	ctl_free_quarantines(&c->released);
	assert_int_equal(quarantine_load(c, &d), 0);
	list = json_quarantines(c, true);
	assert_int_equal(json_array_size(list), QUARANTINE_MAX_RELEASED);
	json_decref(list);
	ctl_free(c);
	drop_file(dir);
	ctl_rmdir(dir);
}

static void
a_timeline_out_of_order_is_no_file_of_ours(void **state)
{
	static const char text[] =
	    "{\"version\":1,\"quarantines\":[{\"workload\":\"a\",\"container\":\"\","
	    "\"reason\":\"x\",\"by\":\"y\",\"sinceNs\":1,\"seenNs\":1,\"allowFrom\":[],"
	    "\"hours\":[[5,1],[5,1]]}]}";
	char buf[64], path[512];
	const char *dir = ctl_tmpdir(buf);
	struct controller *c = ctl_new(dir);
	struct diag d = { 0 };
	FILE *f;

	snprintf(path, sizeof(path), "%s/quarantine.json", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(quarantine_load(c, &d), -EBADMSG);
	assert_null(c->quarantines);
	ctl_free(c);
	drop_file(dir);
	ctl_rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_timeline_is_of_thirty_days),
		cmocka_unit_test(a_replica_that_comes_is_held_from_its_start),
		cmocka_unit_test(it_is_as_it_was_after_a_start),
		cmocka_unit_test(no_clock_releases),
		cmocka_unit_test(a_release_that_is_not_stored_did_not_happen),
		cmocka_unit_test(who_was_released_keeps_his_timeline),
		cmocka_unit_test(a_timeline_out_of_order_is_no_file_of_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
