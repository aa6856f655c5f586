/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <signal.h>

#define DAY (86400 * NSEC_PER_SEC)

static const struct actor alice = {
	.name = "uid:1000", .is_process = true, .uid = 1000, .pid = 1, .user = "alice\xff\x1b"
};

struct fixture {
	char dir[64];
	struct audit *a;
};

static void
open_log(struct fixture *f)
{
	audit_close(f->a);
	assert_int_equal(audit_open(f->dir, &f->a), 0);
	audit_start(f->a, json_object(), NULL, 0);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_init("test", LOG_LVL_ERROR);
	fake_now = T0;
	ctl_tmpdir(f->dir);
	open_log(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char cmd[128];

	audit_close(f->a);
	snprintf(cmd, sizeof(cmd), "%s/audit", f->dir);
	DIR *d = opendir(cmd);
	struct dirent *e;

	while ((e = readdir(d)) != NULL)
		unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	rmdir(cmd);
	rmdir(f->dir);
	free(f);
	return 0;
}

static int
write_one(struct fixture *f, const char *event)
{
	const struct audit_record r = { .event = event,
		.who = &alice,
		.reason = "\xff because",
		.subject = json_pack("{s:s}", "k", "v") };
	struct diag d;

	return audit_write(f->a, &r, &d);
}

struct reading {
	size_t records, violations, segments;
	struct audit_chain chain;
	char events[4096];
};

/* All of the log, as a verifier reads it. */
static void
read_all(const struct fixture *f, struct reading *ret)
{
	json_t *list = audit_list(f->a);
	struct diag d;

	memset(ret, 0, sizeof(*ret));
	ret->segments = json_array_size(list);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name =
		    json_string_value(json_object_get(json_array_get(list, i), "name"));
		char *text, *at, *end;
		size_t len;

		assert_int_equal(audit_read(f->a, name, 0, 16u << 20, &text, &len), 0);
		for (at = text; (end = memchr(at, '\n', len - (size_t)(at - text))) != NULL;
		     at = end + 1) {
			json_t *o = NULL;

			if (audit_chain_line(&ret->chain, at, (size_t)(end - at), &d, &o) < 0)
				ret->violations++;
			else
				ret->records++;
			if (o != NULL && strlen(ret->events) < 4000)
				snprintf(ret->events + strlen(ret->events), 64, "%s ",
				    audit_text(o, "event", NULL));
			json_decref(o);
		}
		ret->violations += at != text + len;
		free(text);
	}
	ret->violations += audit_chain_end(&ret->chain, &d) < 0;
	json_decref(list);
}

static void
expect_sound(const struct fixture *f, const char *events)
{
	char hash[AUDIT_HASH_STRLEN];
	struct reading r;
	uint64_t seq;

	read_all(f, &r);
	assert_int_equal(r.violations, 0);
	assert_string_equal(r.events, events);
	assert_true(audit_head(f->a, &seq, hash));
	assert_int_equal(seq, r.chain.seq);
	assert_string_equal(hash, r.chain.hash);
}

static void
path_of(const struct fixture *f, uint64_t first, char ret[static 128])
{
	char name[AUDIT_SEGMENT_NAME_LEN];

	snprintf(ret, 128, "%s/audit/%s", f->dir, audit_segment_name(first, name));
}

static void
add_bytes(const struct fixture *f, const void *bytes, size_t len)
{
	char path[128];
	int fd;

	path_of(f, 1, path);
	fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void
goes_on_after_a_restart(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write_one(f, "mode"), 0);
	open_log(f);
	assert_int_equal(write_one(f, "deny"), 0);
	expect_sound(f, "daemon-start mode daemon-start deny ");
}

static void
a_torn_line_is_told_of_by_the_record_over_it(void **state)
{
	static char zeros[20000];
	struct fixture *f = *state;

	assert_int_equal(write_one(f, "mode"), 0);
	add_bytes(f, "{\"actor\":", 9);
	open_log(f);
	expect_sound(f, "daemon-start mode audit-torn daemon-start ");
	/* Longer than the record that tells of it; and what a file system may leave behind. */
	add_bytes(f, zeros, sizeof(zeros));
	open_log(f);
	expect_sound(f, "daemon-start mode audit-torn daemon-start audit-torn daemon-start ");
}

/* A crash at each byte of a line being written. */
static void
every_torn_length_heals(void **state)
{
	struct fixture *f = *state;
	char path[128], buf[8192];
	struct reading r;
	ssize_t len;
	int fd;

	assert_int_equal(write_one(f, "mode"), 0);
	path_of(f, 1, path);
	fd = open(path, O_RDONLY);
	len = read(fd, buf, sizeof(buf));
	close(fd);
	for (ssize_t n = 1; n < len; n += 7) {
		bool whole = buf[n - 1] == '\n';

		audit_close(steal_ptr(f->a));
		fd = open(path, O_WRONLY | O_TRUNC);
		assert_int_equal(write(fd, buf, (size_t)n), n);
		close(fd);
		open_log(f);
		assert_int_equal(write_one(f, "mode"), 0);
		read_all(f, &r);
		if (r.violations != 0)
			fail_msg("torn at byte %zd of %zd: %s", n, len, r.events);
		assert_int_equal(strstr(r.events, "audit-torn") == NULL, whole);
	}
}

static void
damage_stays_and_the_log_goes_on_in_a_new_segment(void **state)
{
	struct fixture *f = *state;
	struct reading r;
	char path[128];
	int fd;

	assert_int_equal(write_one(f, "mode"), 0);
	path_of(f, 1, path);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "X", 1, 30), 1);
	close(fd);
	open_log(f);
	assert_int_equal(write_one(f, "deny"), 0);
	read_all(f, &r);
	assert_int_equal(r.segments, 2);
	assert_int_equal(r.violations, 2); /* the first record, and so the beginning */
	assert_string_equal(r.events, "mode audit-damaged daemon-start deny ");
}

static void
a_missing_segment_is_noticed_at_the_start(void **state)
{
	struct fixture *f = *state;
	struct reading r;
	char path[128];

	fake_now = T0 + 40 * DAY;
	assert_int_equal(write_one(f, "mode"), 0);
	path_of(f, 2, path);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(truncate(path, 0), 0);
	path_of(f, 1, path);
	unlink(path);
	open_log(f);
	read_all(f, &r);
	assert_non_null(strstr(r.events, "audit-damaged"));
	assert_true(r.violations > 0);
}

static void
a_month_is_a_segment_and_a_closed_one_is_read_only(void **state)
{
	struct fixture *f = *state;
	struct reading r;
	struct stat st;
	char path[128];

	for (int i = 1; i <= 4; i++) {
		fake_now = T0 + (uint64_t)i * 31 * DAY;
		assert_int_equal(write_one(f, "mode"), 0);
		assert_int_equal(write_one(f, "deny"), 0);
	}
	read_all(f, &r);
	assert_int_equal(r.segments, 5);
	assert_int_equal(r.violations, 0);
	path_of(f, 1, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0400);
}

static void
records_are_kept_for_thirteen_months(void **state)
{
	struct fixture *f = *state;
	struct reading r;

	for (int i = 0; i < 20; i++) {
		fake_now = T0 + (uint64_t)i * 31 * DAY;
		fake_mono += 2 * DAY;
		assert_int_equal(write_one(f, "mode"), 0);
		audit_tick(f->a);
	}
	read_all(f, &r);
	assert_int_equal(r.violations, 0);
	assert_true(r.chain.first > 1);
	assert_in_range(r.segments, 13, 15);
	/* A clock that is set forward forgets a segment a day at most. */
	fake_now += 100000 * DAY / 100;
	for (int i = 0; i < 1000; i++) {
		fake_mono += NSEC_PER_SEC;
		audit_tick(f->a);
	}
	{
		size_t before = r.segments;

		read_all(f, &r);
		assert_true(r.segments + 1 >= before);
		assert_int_equal(r.violations, 0);
	}
}

static void
a_full_disk_refuses_and_leaves_no_trace(void **state)
{
	struct fixture *f = *state;
	struct rlimit lim, none;
	struct stat st;
	char path[128];

	assert_int_equal(write_one(f, "mode"), 0);
	path_of(f, 1, path);
	assert_int_equal(stat(path, &st), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &lim), 0);
	none = lim;
	/* In the middle of the line. */
	none.rlim_cur = (rlim_t)st.st_size + 100;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(write_one(f, "deny"), -EIO);
	assert_int_equal(write_one(f, "deny"), -EIO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
	assert_int_equal(write_one(f, "approve"), 0);
	expect_sound(f, "daemon-start mode approve ");
}

static void
refused_requests_cannot_fill_the_disk(void **state)
{
	struct fixture *f = *state;
	struct actor who = alice;
	struct reading r;

	for (int i = 0; i < 100000; i++) {
		who.uid = (uint32_t)(2000 + i % 10);
		audit_denied(f->a, &who, "POST /v1/mode");
	}
	read_all(f, &r);
	assert_int_equal(r.records, 1 + 10);
	fake_mono += 3601 * NSEC_PER_SEC;
	audit_tick(f->a);
	read_all(f, &r);
	assert_int_equal(r.records, 1 + 10 + 10);
	/* More users than there is room for. */
	for (int i = 0; i < 1000; i++) {
		who.uid = (uint32_t)(5000 + i);
		audit_denied(f->a, &who, "POST /v1/mode");
	}
	read_all(f, &r);
	assert_true(r.records < 100);
}

static void
says_when_the_store_and_the_log_disagree(void **state)
{
	struct fixture *f = *state;
	const struct audit_record change = { .event = "mode",
		.after = json_pack("{s:i}", "revision", 7) };
	struct diag d;
	char *text;
	size_t len;

	assert_int_equal(audit_write(f->a, &change, &d), 0);
	audit_close(f->a);
	assert_int_equal(audit_open(f->dir, &f->a), 0);
	audit_start(f->a, json_object(), json_pack("{s:i}", "revision", 6), 6);
	assert_int_equal(audit_read(f->a, "000000000001.jsonl", 0, 1u << 20, &text, &len), 0);
	text[len] = '\0';
	assert_non_null(strstr(text, "is not in force"));
	free(text);
	audit_close(f->a);
	assert_int_equal(audit_open(f->dir, &f->a), 0);
	audit_start(f->a, json_object(), json_pack("{s:i}", "revision", 9), 9);
	assert_int_equal(audit_read(f->a, "000000000001.jsonl", 0, 1u << 20, &text, &len), 0);
	text[len] = '\0';
	assert_non_null(strstr(text, "violation: the store has a later revision"));
	free(text);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(goes_on_after_a_restart),
		TEST(a_torn_line_is_told_of_by_the_record_over_it),
		TEST(every_torn_length_heals),
		TEST(damage_stays_and_the_log_goes_on_in_a_new_segment),
		TEST(a_missing_segment_is_noticed_at_the_start),
		TEST(a_month_is_a_segment_and_a_closed_one_is_read_only),
		TEST(records_are_kept_for_thirteen_months),
		TEST(a_full_disk_refuses_and_leaves_no_trace),
		TEST(refused_requests_cannot_fill_the_disk),
		TEST(says_when_the_store_and_the_log_disagree),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
