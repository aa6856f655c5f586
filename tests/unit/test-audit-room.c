/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a container can make happen as often as it likes does not fill the audit log. */
#include "ctl-fixture.h"
#include "daemon/enforce.h"
#include "daemon/instance.h"

int __wrap_audit_write(struct audit *a, const struct audit_record *r, struct diag *d);
void __wrap_audit_note(struct audit *a, const struct audit_record *r);

static int log_of_the_test;
static char noted[64];
static size_t n_noted, entries, written;
static json_int_t missed, times;

int
__wrap_audit_write(struct audit *a, const struct audit_record *r, struct diag *d)
{
	written++;
	entries += json_array_size(json_object_get(r->subject, "instances"));
	missed += json_integer_value(json_object_get(r->subject, "missed"));
	json_decref(r->subject);
	return 0;
}

/* The results by their first letters. */
void
__wrap_audit_note(struct audit *a, const struct audit_record *r)
{
	assert_true(n_noted + 1 < sizeof(noted));
	noted[n_noted++] = r->result[0];
	noted[n_noted] = '\0';
	times += json_integer_value(json_object_get(r->subject, "times"));
	json_decref(r->subject);
}

static struct instance *
begin(struct controller **ret)
{
	struct controller *c = ctl_new(NULL);
	struct instance *i = ctl_instance(c, 11, "a", "10.0.0.1");

	c->audit = (struct audit *)&log_of_the_test;
	i->workload->mode = MODE_ENFORCE;
	n_noted = entries = written = 0;
	missed = times = 0;
	*ret = c;
	return i;
}

static void
end(struct controller *c)
{
	json_decref(c->applied_waiting);
	c->audit = NULL;
	ctl_free(c);
}

static void
read_back(struct instance *i, uint32_t what)
{
	memcpy(i->loaded, &what, sizeof(what));
	applied_on_read_back(i);
}

/* A second of 200 changes, again and again. */
static void
read_backs_are_counted_once_there_were_too_many(void **state)
{
	struct controller *c;
	struct instance *i = begin(&c);
	size_t before;

	for (uint32_t s = 0; s < 3600; s++) {
		for (uint32_t k = 0; k < 200; k++)
			read_back(i, s * 200 + k + 1);
		ctl_wait(NSEC_PER_SEC);
		applied_flush(c);
	}
	assert_in_range(entries, 16384, 16384 + 2048);
	assert_int_equal(entries + (size_t)missed, 3600 * 200);
	/* An hour of rest makes room for what that hour may have; a day for all. */
	before = entries;
	ctl_wait(24 * 3600 * NSEC_PER_SEC);
	for (uint32_t k = 0; k < 5000; k++)
		read_back(i, k + 1);
	for (unsigned s = 0; s < 30; s++)
		applied_flush(c);
	assert_int_equal(entries - before, 5000);
	end(c);
}

/* What was counted only is on record with the next read-back, the same or not. */
static void
what_was_only_counted_is_recorded_later(void **state)
{
	struct controller *c;
	struct instance *i = begin(&c);
	size_t before;

	for (uint32_t k = 1; k <= 16384 + 1; k++) {
		read_back(i, k);
		applied_flush(c);
	}
	assert_int_equal(c->applied_missed, 1);
	before = entries;
	ctl_wait(60 * NSEC_PER_SEC);
	applied_on_read_back(i);
	applied_flush(c);
	applied_on_read_back(i);
	applied_flush(c);
	assert_int_equal(entries - before, 1);
	end(c);
}

static void
tick(struct instance *i, unsigned seconds)
{
	while (seconds-- > 0) {
		ctl_wait(NSEC_PER_SEC);
		foreign_tick(i);
	}
}

static void
a_table_that_changes_hands_all_the_time_is_recorded_now_and_then(void **state)
{
	struct controller *c;
	struct instance *i = begin(&c);

	foreign_on_holder(i, 77);
	foreign_on_holder(i, 0);
	assert_string_equal(noted, "hf");
	for (unsigned k = 0; k < 1000; k++)
		foreign_on_holder(i, k % 2 == 0 ? 77 : 0);
	foreign_on_holder(i, 77);
	assert_string_equal(noted, "hf");
	assert_int_equal(i->table_holder, 77);
	assert_int_equal(c->metrics.foreign, 502);
	tick(i, 4);
	assert_string_equal(noted, "hf");
	/* What lasts is said, with how often it was. */
	tick(i, 2);
	assert_string_equal(noted, "hfh");
	assert_int_equal(times, 2 + 1001);
	tick(i, 20);
	foreign_on_holder(i, 0);
	assert_string_equal(noted, "hfhf");
	end(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_backs_are_counted_once_there_were_too_many),
		cmocka_unit_test(what_was_only_counted_is_recorded_later),
		cmocka_unit_test(a_table_that_changes_hands_all_the_time_is_recorded_now_and_then),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
