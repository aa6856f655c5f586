/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/audit.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define RECORDS 6

struct log {
	char *lines[RECORDS]; /* each with its newline */
	size_t lens[RECORDS];
	char head[AUDIT_HASH_STRLEN];
};

static int
setup(void **state)
{
	struct log *l = calloc(1, sizeof(*l));
	char prev[AUDIT_HASH_STRLEN];

	memcpy(prev, audit_no_hash, sizeof(prev));
	for (size_t i = 0; i < RECORDS; i++) {
		json_t *o = json_pack("{s:s, s:s, s:{s:i}}", "event", "mode", "reason",
		    "caf\xc3\xa9 \"quoted\"", "subject", "n", (int)i);

		assert_int_equal(audit_seal(o, i + 1, prev, &l->lines[i], &l->lens[i], l->head), 0);
		memcpy(prev, l->head, sizeof(prev));
		json_decref(o);
	}
	*state = l;
	return 0;
}

static int
teardown(void **state)
{
	struct log *l = *state;

	for (size_t i = 0; i < RECORDS; i++)
		free(l->lines[i]);
	free(l);
	return 0;
}

/* How many violations a reader of these bytes finds who knows the head. */
static size_t
violations(const char *text, size_t len, const char *head)
{
	struct audit_chain c = { 0 };
	size_t at = 0, n = 0;
	struct diag d;

	while (at < len) {
		const char *end = memchr(text + at, '\n', len - at);
		json_t *o = NULL;

		if (end == NULL)
			return n + 1; /* torn */
		if (audit_chain_line(&c, text + at, (size_t)(end - text) - at, &d, &o) < 0)
			n++;
		json_decref(o);
		at = (size_t)(end - text) + 1;
	}
	n += audit_chain_end(&c, &d) < 0;
	return n + (strcmp(c.hash, head) != 0);
}

static size_t
join(const struct log *l, const size_t *order, size_t n, char *buf)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		memcpy(buf + len, l->lines[order[i]], l->lens[order[i]]);
		len += l->lens[order[i]];
	}
	return len;
}

static const size_t in_order[RECORDS] = { 0, 1, 2, 3, 4, 5 };

static void
a_sound_log_has_no_violation(void **state)
{
	const struct log *l = *state;
	char buf[8192];

	assert_int_equal(violations(buf, join(l, in_order, RECORDS, buf), l->head), 0);
	/* A person with sha256sum gets the same: prev, then the object without its hash. */
	assert_non_null(strstr(l->lines[0], "\"reason\":\"caf\\u00E9 \\\"quoted\\\"\""));
	assert_memory_equal(l->lines[0], "{\"event\":\"mode\",\"prev\":\"000", 25);
}

static void
every_bit_of_every_byte_is_bound(void **state)
{
	const struct log *l = *state;
	char buf[8192];
	size_t len = join(l, in_order, RECORDS, buf);

	for (size_t i = 0; i < len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			buf[i] = (char)(buf[i] ^ (1 << bit));
			if (violations(buf, len, l->head) == 0)
				fail_msg("byte %zu, bit %u", i, bit);
			buf[i] = (char)(buf[i] ^ (1 << bit));
		}
	}
	assert_int_equal(violations(buf, len, l->head), 0);
}

static void
every_record_removed_doubled_or_swapped_is_found(void **state)
{
	const struct log *l = *state;
	char buf[16384];

	for (size_t i = 0; i < RECORDS; i++) {
		size_t order[RECORDS + 1], n = 0;

		for (size_t k = 0; k < RECORDS; k++)
			if (k != i)
				order[n++] = k;
		assert_true(violations(buf, join(l, order, n, buf), l->head) > 0);
		n = 0;
		for (size_t k = 0; k < RECORDS; k++) {
			order[n++] = k;
			if (k == i)
				order[n++] = k;
		}
		assert_true(violations(buf, join(l, order, n, buf), l->head) > 0);
		for (size_t k = i + 1; k < RECORDS; k++) {
			memcpy(order, in_order, sizeof(in_order));
			order[i] = k;
			order[k] = i;
			assert_true(violations(buf, join(l, order, RECORDS, buf), l->head) > 0);
		}
	}
}

static void
every_truncation_is_found_by_the_head(void **state)
{
	const struct log *l = *state;
	char buf[8192];
	size_t len = join(l, in_order, RECORDS, buf);

	for (size_t n = 0; n < len; n++)
		assert_true(violations(buf, n, l->head) > 0);
	/* Bytes behind the end as well. */
	memset(buf + len, 0, 100);
	assert_true(violations(buf, len + 1, l->head) > 0);
	assert_true(violations(buf, len + 100, l->head) > 0);
}

/* Who may write the file can make a record that is sound in itself; the next one gives it away. */
static void
a_record_forged_with_a_hash_of_its_own_is_found(void **state)
{
	struct log *l = *state;
	char buf[8192], hash[AUDIT_HASH_STRLEN];
	struct audit_chain c = { 0 };
	json_t *o;
	struct diag d;

	assert_int_equal(audit_chain_line(&c, l->lines[1], l->lens[1] - 1, &d, &o), 0);
	json_object_set_new(o, "reason", json_string("another"));
	json_object_del(o, "hash");
	free(l->lines[2]);
	assert_int_equal(audit_seal(o, 3, c.hash, &l->lines[2], &l->lens[2], hash), 0);
	json_decref(o);
	assert_true(violations(buf, join(l, in_order, RECORDS, buf), l->head) > 0);
}

static void
reading_goes_on_behind_a_violation(void **state)
{
	struct log *l = *state;
	char buf[8192];

	l->lines[2][20] ^= 1;
	assert_int_equal(violations(buf, join(l, in_order, RECORDS, buf), l->head), 1);
}

static json_t *
read_line(struct audit_chain *c, const char *line)
{
	json_t *o = NULL;
	struct diag d;

	audit_chain_line(c, line, strlen(line) - 1, &d, &o);
	return o;
}

static void
a_log_begins_later_only_where_a_record_says_so(void **state)
{
	struct log *l = *state;
	json_t *o = json_pack("{s:s, s:{s:i}}", "event", "audit-expire", "subject", "firstKept", 4);
	char hash[AUDIT_HASH_STRLEN], *line;
	struct audit_chain c = { 0 };
	struct diag d;
	size_t len;

	assert_int_equal(audit_seal(o, RECORDS + 1, l->head, &line, &len, hash), 0);
	json_decref(o);
	for (size_t i = 3; i < RECORDS; i++)
		json_decref(read_line(&c, l->lines[i]));
	assert_int_equal(audit_chain_end(&c, &d), -EBADMSG);
	json_decref(read_line(&c, line));
	assert_int_equal(audit_chain_end(&c, &d), 0);
	/* More is missing than was removed. */
	memset(&c, 0, sizeof(c));
	for (size_t i = 4; i < RECORDS; i++)
		json_decref(read_line(&c, l->lines[i]));
	json_decref(read_line(&c, line));
	assert_int_equal(audit_chain_end(&c, &d), -EBADMSG);
	free(line);
}

static void
names_of_segments_are_told_from_others(void **state)
{
	char name[AUDIT_SEGMENT_NAME_LEN];

	assert_string_equal(audit_segment_name(1, name), "000000000001.jsonl");
	assert_int_equal(audit_segment_first(name), 1);
	assert_int_equal(audit_segment_first("123456789012.jsonl"), 123456789012);
	assert_int_equal(audit_segment_first("1.jsonl"), 0);
	assert_int_equal(audit_segment_first("000000000001.jsonl~"), 0);
	assert_int_equal(audit_segment_first("-00000000001.jsonl"), 0);
	assert_int_equal(audit_segment_first(""), 0);
}

static void
a_record_that_is_too_large_is_refused(void **state)
{
	char *big = malloc(AUDIT_LINE_MAX + 1), *line, hash[AUDIT_HASH_STRLEN];
	size_t len;
	json_t *o;

	memset(big, 'a', AUDIT_LINE_MAX);
	big[AUDIT_LINE_MAX] = '\0';
	o = json_pack("{s:s}", "reason", big);
	assert_int_equal(audit_seal(o, 1, audit_no_hash, &line, &len, hash), -E2BIG);
	json_decref(o);
	free(big);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_sound_log_has_no_violation, setup, teardown),
		cmocka_unit_test_setup_teardown(every_bit_of_every_byte_is_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    every_record_removed_doubled_or_swapped_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    every_truncation_is_found_by_the_head, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_record_forged_with_a_hash_of_its_own_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    reading_goes_on_behind_a_violation, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_log_begins_later_only_where_a_record_says_so, setup, teardown),
		cmocka_unit_test(names_of_segments_are_told_from_others),
		cmocka_unit_test(a_record_that_is_too_large_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
