/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are not what this version wrote: brought along, or refused and left alone. */
#include "store-fixture.h"
#include "daemon/image.h"

#include <sqlite3.h>

struct content {
	uint8_t *bytes;
	size_t len;
};

static struct content
slurp(const char *path)
{
	struct content k = { 0 };
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return k;
	k.bytes = malloc(1 << 20);
	k.len = fread(k.bytes, 1, 1 << 20, f);
	fclose(f);
	return k;
}

static void
spill(const char *path, const void *bytes, size_t len)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* Refused with a sentence that has the words; the file and its log are as they were. */
static void
assert_refused(const char *dir, const char *words)
{
	char path[128], wal[128];
	struct content before, wal_before, after, wal_after;
	struct diag d = { 0 };
	struct store *s = NULL;

	snprintf(path, sizeof(path), "%s/nanoseg.db", dir);
	snprintf(wal, sizeof(wal), "%s/nanoseg.db-wal", dir);
	before = slurp(path);
	wal_before = slurp(wal);
	assert_true(store_open(dir, &d, &s) < 0);
	assert_null(s);
	if (strstr(d.msg, words) == NULL)
		fail_msg("no \"%s\" in: %s", words, d.msg);
	after = slurp(path);
	wal_after = slurp(wal);
	assert_int_equal(before.len, after.len);
	assert_true(before.len == 0 || memcmp(before.bytes, after.bytes, before.len) == 0);
	assert_int_equal(wal_before.len, wal_after.len);
	assert_true((wal_before.bytes == NULL) == (wal_after.bytes == NULL));
	assert_true(
	    wal_before.len == 0 || memcmp(wal_before.bytes, wal_after.bytes, wal_before.len) == 0);
	free(before.bytes);
	free(after.bytes);
	free(wal_before.bytes);
	free(wal_after.bytes);
}

static void
a_damaged_file_is_refused_and_left_alone(void **state)
{
	char path[128];
	struct content whole;

	snprintf(path, sizeof(path), "%s/nanoseg.db", (char *)*state);
	fill(*state);
	whole = slurp(path);
	assert_true(whole.len > 20000);
	spill(path, whole.bytes, whole.len / 2);
	assert_refused(*state, "damaged");
	spill(path, whole.bytes, 50);
	assert_refused(*state, "damaged");
	spill(path, "", 0);
	assert_refused(*state, "not a store of nanoseg");
	for (size_t i = 4096; i < whole.len; i++)
		whole.bytes[i] ^= 0x5a;
	spill(path, whole.bytes, whole.len);
	assert_refused(*state, "damaged");
	for (size_t i = 0; i < whole.len; i++)
		whole.bytes[i] = (uint8_t)hash_mix64(i);
	spill(path, whole.bytes, whole.len);
	assert_refused(*state, "damaged");
	free(whole.bytes);
}

static void
change_sql(const char *dir, const char *sql, bool keep_log)
{
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/nanoseg.db", dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (keep_log)
		sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void
a_newer_store_is_refused_and_left_alone(void **state)
{
	fill(*state);
	change_sql(*state, "PRAGMA user_version = 10", false);
	assert_refused(*state, "newer nanoseg");
	/* The version stands in the log alone. */
	change_sql(*state, "PRAGMA user_version = 9", false);
	change_sql(*state, "PRAGMA user_version = 11; CREATE TABLE x (a)", true);
	assert_refused(*state, "newer nanoseg");
	assert_refused(*state, "version 11");
}

/* What version 1 had not. */
#define TO_VERSION_1                                        \
	"ALTER TABLE workload DROP COLUMN images; "         \
	"ALTER TABLE workload DROP COLUMN mode_by; "        \
	"ALTER TABLE edge DROP COLUMN kept; "               \
	"ALTER TABLE edge DROP COLUMN kept_by; "            \
	"ALTER TABLE workload DROP COLUMN windows; "        \
	"ALTER TABLE workload DROP COLUMN network; "        \
	"ALTER TABLE workload DROP COLUMN rolled_back; "    \
	"ALTER TABLE workload DROP COLUMN lost; "           \
	"ALTER TABLE edge DROP COLUMN windows; "            \
	"ALTER TABLE edge DROP COLUMN last_window; "        \
	"ALTER TABLE edge DROP COLUMN extent; "             \
	"ALTER TABLE edge DROP COLUMN seen_as; "            \
	"DROP TABLE exposure; DROP TABLE history; "         \
	"DROP TABLE history_flow; DROP TABLE history_day; " \
	"ALTER TABLE edge DROP COLUMN images; PRAGMA user_version = 1"

static void
an_older_store_is_brought_along_and_a_copy_is_kept(void **state)
{
	struct controller *c;
	char path[128], old[160];
	struct edge *e;
	struct stat st;
	sqlite3 *db;

	c = ctl_new(*state);
	assert_non_null(workload_get(c, "web"));
	e = ctl_add_edge(c, "web", "api", 80);
	e->evidence.first_seen_ns = e->evidence.last_seen_ns = T0;
	e->evidence.hour_bits[3] = 0x81;
	assert_int_equal(flush_evidence(c), 0);
	ctl_free(c);
	change_sql(*state, TO_VERSION_1, false);
	snprintf(path, sizeof(path), "%s/nanoseg.db", (char *)*state);
	snprintf(old, sizeof(old), "%s.v1", path);
	c = ctl_new(*state);
	assert_true(c->n_workloads > 0);
	assert_int_equal(workload_accept(c->workloads, "nginx"), 0);
	/* Windows were not counted then: as many as hours of the week that it was seen in. */
	e = ctl_edge(c, "web", "api", 80);
	assert_int_equal(e->evidence.windows, 2);
	assert_int_equal(e->evidence.last_window, T0 / COMPLETE_HOUR_NS);
	assert_null(c->workloads->log);
	assert_int_equal(flush_evidence(c), 0);
	ctl_free(c);
	c = ctl_new(*state);
	assert_string_equal(c->workloads->images[0], "nginx");
	ctl_free(c);
	/* The copy opens as what it was. */
	assert_int_equal(stat(old, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(sqlite3_open_v2(old, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(
	    sqlite3_exec(db, "SELECT images FROM edge", NULL, NULL, NULL), SQLITE_ERROR);
	assert_int_equal(
	    sqlite3_exec(db, "SELECT observed FROM workload", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void
an_older_store_is_left_alone_where_no_copy_can_be_made(void **state)
{
	char old[160];

	fill(*state);
	change_sql(*state, TO_VERSION_1, false);
	snprintf(old, sizeof(old), "%s/nanoseg.db.v1", (char *)*state);
	assert_int_equal(mkdir(old, 0700), 0);
	assert_refused(*state, "no copy");
	assert_int_equal(rmdir(old), 0);
}

static void
another_programs_database_is_refused_and_left_alone(void **state)
{
	change_sql(*state, "CREATE TABLE edge (a); INSERT INTO edge VALUES (1)", false);
	assert_refused(*state, "not a store of nanoseg");
	change_sql(*state, "PRAGMA user_version = 9", false);
	assert_refused(*state, "cannot be used");
	change_sql(*state, "PRAGMA user_version = 1", false);
	assert_refused(*state, "left in version 1");
}

static void
a_log_without_its_file_is_refused(void **state)
{
	char wal[128];

	snprintf(wal, sizeof(wal), "%s/nanoseg.db-wal", (char *)*state);
	spill(wal, "old", 3);
	assert_refused(*state, "is missing");
}

static void
values_that_we_never_write_are_refused(void **state)
{
	static const char *const bad[] = {
		"UPDATE edge SET state = 9",
		"UPDATE edge SET proto = 256",
		"UPDATE edge SET port_lo = -1",
		"UPDATE edge SET port_lo = 9, port_hi = 8",
		"UPDATE edge SET from_peer = 'cidr:10.0.0.1/8'",
		"UPDATE edge SET to_peer = x''",
		"INSERT INTO workload (name, mode, direction) VALUES ('', 1, 3)",
		"INSERT INTO workload (name, mode, direction) VALUES ('a', 3, 3)",
		"INSERT INTO workload (name, mode, direction) VALUES ('a', 1, 0)",
		"INSERT INTO workload (name, mode, direction, images) VALUES ('a', 1, 3, '{}')",
		"INSERT INTO workload (name, mode, direction, images) VALUES ('a', 1, 3, '[1]')",
		"INSERT INTO workload (name, mode, direction, windows) VALUES ('a', 1, 3, x'00')",
		"INSERT INTO network VALUES ('n', 'nonsense')",
		"INSERT INTO network VALUES ('n', '[1]')",
		"INSERT INTO denial VALUES ('d', 1, 0, 'host', 'host', 6, 1, 1, '::1', '::1', 1, "
		"1, "
		"1, 1, 1)",
	};

	fill(*state);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct controller *c;
		char sql[512], path[128];
		struct store *s = open_store(*state);
		struct diag d = { 0 };
		struct content whole;

		store_close(s);
		snprintf(path, sizeof(path), "%s/nanoseg.db", (char *)*state);
		whole = slurp(path);
		snprintf(sql, sizeof(sql), "%s", bad[i]);
		change_sql(*state, sql, false);
		c = ctl_new(NULL);
		policy_free(c->policy);
		c->policy = NULL;
		c->store = open_store(*state);
		if (segment_load(c, &d) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(strstr(d.msg, "left as it is"));
		ctl_free(c);
		spill(path, whole.bytes, whole.len);
		free(whole.bytes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(a_damaged_file_is_refused_and_left_alone),
		STORE_TEST(a_newer_store_is_refused_and_left_alone),
		STORE_TEST(an_older_store_is_brought_along_and_a_copy_is_kept),
		STORE_TEST(an_older_store_is_left_alone_where_no_copy_can_be_made),
		STORE_TEST(another_programs_database_is_refused_and_left_alone),
		STORE_TEST(a_log_without_its_file_is_refused),
		STORE_TEST(values_that_we_never_write_are_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
