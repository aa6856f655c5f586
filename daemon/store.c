/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store: SQLite in WAL mode with synchronous=FULL, so that a commit that returned survives the
 * loss of power. One writer, this process.
 *
 * A store that is newer than the program, damaged or of something else is refused with a sentence
 * and left untouched, byte for byte: to start empty would be to forget the policy, and the rules in
 * the kernel would be taken for foreign. So nothing is written before all checks are passed, a new
 * store is made under another name and renamed when it is whole, and a file without our tables is
 * never taken for a new one.
 */
#include "daemon/store.h"
#include "daemon/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define STORE_VERSION 9
#define STORE_FILE "nanoseg.db"
#define BUSY_MS 3000 /* a controller that is still ending has the file */

/* Of old revisions the text goes first, then the record. */
#define KEEP_TEXTS "1000"
#define KEEP_TEXT_BYTES "268435456"
#define KEEP_REVISIONS "10000"
#define CACHE "-512" /* KiB */
#define CACHE_CHANGING "-65536"

static const char schema[] =
    "CREATE TABLE edge ("
    " id TEXT PRIMARY KEY, from_peer BLOB NOT NULL, to_peer BLOB NOT NULL, proto INTEGER NOT NULL,"
    " port_lo INTEGER NOT NULL, port_hi INTEGER NOT NULL, state INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, first_seen INTEGER, last_seen INTEGER,"
    " connections_source INTEGER, connections_destination INTEGER, bytes INTEGER, ends INTEGER,"
    " hours BLOB, instances BLOB, clients BLOB, reason BLOB, ticket BLOB, approved_by BLOB,"
    " decided INTEGER, expires INTEGER, images BLOB, kept INTEGER, kept_by BLOB,"
    " windows INTEGER, last_window INTEGER, extent BLOB, seen_as BLOB) WITHOUT ROWID;"
    "CREATE TABLE workload ("
    " name BLOB PRIMARY KEY, project BLOB, mode INTEGER NOT NULL, direction INTEGER NOT NULL,"
    " first_seen INTEGER, last_seen INTEGER, mode_since INTEGER, mode_reason BLOB,"
    " auto_promoted INTEGER, observed INTEGER, labels TEXT, selector TEXT, images TEXT,"
    " mode_by BLOB, windows BLOB, network BLOB, rolled_back INTEGER,"
    " lost INTEGER)"
    " WITHOUT ROWID;"
    "CREATE TABLE network (name BLOB PRIMARY KEY, prefixes TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE revision ("
    " number INTEGER PRIMARY KEY, time INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,"
    " reason BLOB, size INTEGER NOT NULL, policy TEXT);"
    "CREATE TABLE denial ("
    " id TEXT PRIMARY KEY, kind INTEGER NOT NULL, dir INTEGER NOT NULL, from_peer BLOB NOT NULL,"
    " to_peer BLOB NOT NULL, proto INTEGER NOT NULL, port_lo INTEGER NOT NULL,"
    " port_hi INTEGER NOT NULL, src TEXT NOT NULL, dst TEXT NOT NULL, sport INTEGER NOT NULL,"
    " dport INTEGER NOT NULL, count INTEGER NOT NULL, first_seen INTEGER, last_seen INTEGER)"
    " WITHOUT ROWID;"
    "CREATE TABLE exposure ("
    " number INTEGER PRIMARY KEY, workload BLOB NOT NULL, instance TEXT NOT NULL,"
    " begin INTEGER NOT NULL, end INTEGER NOT NULL);";

int
store_error(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return -EACCES;
	default:
		return -EIO;
	}
}

int
store_exec(struct store *s, const char *sql)
{
	return store_error(sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

static int
pragma_number(struct store *s, const char *sql, int *ret)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

	if (rc != SQLITE_OK)
		return store_error(rc);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : store_error(rc) < 0 ? store_error(rc) : -EIO;
}

/* "ok" from quick_check, or -EBADMSG. */
static int
check_integrity(struct store *s)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL);
	const unsigned char *text;
	bool ok = false;

	if (rc != SQLITE_OK)
		return store_error(rc);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		text = sqlite3_column_text(st, 0);
		ok = text != NULL && strcmp((const char *)text, "ok") == 0;
	}
	sqlite3_finalize(st);
	return ok ? 0 : -EBADMSG;
}

int
store_prepare(struct store *s, const struct store_statement *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int rc = sqlite3_prepare_v3(
		    s->db, list[i].sql, -1, SQLITE_PREPARE_PERSISTENT, list[i].st, NULL);

		if (rc != SQLITE_OK)
			return store_error(rc);
	}
	return 0;
}

int
store_run(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return store_error(rc);
}

static int
prepare_all(struct store *s)
{
	const struct store_statement all[] = {
		{ &s->put_edge, "INSERT OR REPLACE INTO edge VALUES "
				"(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)" },
		{ &s->delete_edge, "DELETE FROM edge WHERE id = ?" },
		{ &s->delete_workload, "DELETE FROM workload WHERE name = ?" },
		{ &s->put_workload, "INSERT OR REPLACE INTO workload VALUES "
				    "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)" },
		{ &s->put_revision, "INSERT INTO revision VALUES (?,?,?,?,?,?,?)" },
		{ &s->put_network, "INSERT INTO network VALUES (?,?)" },
		{ &s->put_denial,
		    "INSERT OR REPLACE INTO denial VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)" },
		{ &s->put_exposure, "INSERT INTO exposure VALUES (NULL,?,?,?,?)" },
		{ &s->trim_exposures, "DELETE FROM exposure WHERE number <= "
				      "(SELECT max(number) FROM exposure) - ?" },
		{ &s->trim_texts,
		    "UPDATE revision SET policy = NULL WHERE policy IS NOT NULL AND number <= "
		    "(SELECT ifnull(max(number), 0) FROM (SELECT number, row_number() OVER w AS n, "
		    "sum(size) OVER w AS total FROM revision WHERE policy IS NOT NULL "
		    "WINDOW w AS (ORDER BY number DESC)) WHERE n > " KEEP_TEXTS
		    " OR (n > 1 AND total > " KEEP_TEXT_BYTES "))" },
		{ &s->trim_revisions, "DELETE FROM revision WHERE number <= ? - " KEEP_REVISIONS },
	};
	int r = store_prepare(s, all, ARRAY_SIZE(all));

	return r < 0 ? r : store_prepare_history(s);
}

static int
make_schema(struct store *s)
{
	char sql[64];
	int r =
	    store_exec(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE");

	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", STORE_VERSION);
	if (r == 0)
		r = store_exec(s, schema);
	if (r == 0)
		r = store_exec(s, store_history_schema);
	if (r == 0)
		r = store_exec(s, sql);
	return r == 0 ? store_exec(s, "COMMIT") : r;
}

static int
open_file(struct store *s, const char *path, int flags)
{
	int r = store_error(sqlite3_open_v2(path, &s->db,
	    flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL));

	if (r == 0)
		sqlite3_busy_timeout(s->db, BUSY_MS);
	return r;
}

static int
sync_dir(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

/* An empty store, whole or not there at all. */
static int
make_store(const char *dir, const char *path)
{
	char fresh[PATH_MAX + 8], left[PATH_MAX + 16];
	struct store s = { 0 };
	int r;

	snprintf(fresh, sizeof(fresh), "%s.new", path);
	snprintf(left, sizeof(left), "%s-wal", fresh);
	unlink(fresh);
	unlink(left);
	r = open_file(&s, fresh, SQLITE_OPEN_CREATE);
	if (r == 0 && chmod(fresh, 0600) < 0)
		r = -errno;
	if (r == 0)
		r = store_exec(&s, "PRAGMA locking_mode = EXCLUSIVE");
	if (r == 0)
		r = make_schema(&s);
	if (sqlite3_close(s.db) != SQLITE_OK && r == 0)
		r = -EIO;
	if (r == 0 && access(left, F_OK) == 0)
		r = -EIO; /* what is in the log is not in the file */
	if (r == 0 && rename(fresh, path) < 0)
		r = -errno;
	return r == 0 ? sync_dir(dir) : r;
}

/* Reads only: whether this file is ours, whole, and of a version that we know. */
static int
check_file(struct store *s, const char *path, int *ret_version, struct diag *d)
{
	static const char kept[] =
	    "it is left as it is: put a backup in its place, or stop nanosegd, run "
	    "'nanosegd --set-aside-store' with its other options and start it again";
	int version = 0, r;

	/* Exclusive before the first access: no file of shared memory, and nobody else writes. */
	r = store_exec(s, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY;"
			  "PRAGMA trusted_schema = OFF; PRAGMA cache_size = " CACHE);
	if (r == 0)
		r = pragma_number(s, "PRAGMA user_version", &version);
	if (r == 0 && version > STORE_VERSION) {
		diag_set(d, 0, 0,
		    "%s has version %d, this program knows %d: it was written by a newer nanoseg "
		    "and is left as it is",
		    path, version, STORE_VERSION);
		return -EPROTO;
	}
	if (r == 0 && version < 1) {
		diag_set(d, 0, 0, "%s is not a store of nanoseg, or has lost its beginning; %s",
		    path, kept);
		return -EBADMSG;
	}
	if (r == 0)
		r = check_integrity(s);
	if (r == -EBADMSG)
		diag_set(d, 0, 0, "%s cannot be read, it is damaged: %s", path, kept);
	else if (r < 0)
		diag_set(d, 0, 0, "%s cannot be read: %s; %s", path, sqlite3_errmsg(s->db), kept);
	else
		*ret_version = version;
	return r;
}

static int
open_checked(struct store *s, const char *path, struct diag *d)
{
	int version, r = open_file(s, path, 0);

	if (r < 0) {
		diag_set(d, 0, 0, "%s cannot be opened: %s", path,
		    s->db != NULL ? sqlite3_errmsg(s->db) : strerror(-r));
		return r;
	}
	/* A refused file keeps its log as well. */
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	r = check_file(s, path, &version, d);
	if (r == 0 && version < STORE_VERSION)
		r = store_migrate(s->db, path, version, STORE_VERSION, d);
	if (r < 0)
		return r;
	r = prepare_all(s);
	if (r == 0)
		r = store_exec(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
	if (r < 0) {
		diag_set(d, 0, 0, "%s cannot be used: %s", path, sqlite3_errmsg(s->db));
		return r;
	}
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return 0;
}

/* Makes the store if there is none. */
static int
ensure_file(const char *dir, const char *path, const char *wal, struct diag *d)
{
	struct stat st;
	int r;

	if (lstat(path, &st) == 0)
		return 0;
	if (errno == ENOENT && lstat(wal, &st) == 0) {
		/* SQLite would put the old log into the new file. */
		diag_set(d, 0, 0,
		    "%s is missing, but its log %s-wal is there: put the file back, or move the "
		    "log away to start with nothing",
		    path, STORE_FILE);
		return -EBADMSG;
	}
	r = make_store(dir, path);
	if (r < 0)
		diag_set(d, 0, 0, "%s cannot be made: %s", path, strerror(-r));
	return r;
}

int
store_open(const char *dir, struct diag *d, struct store **ret)
{
	_cleanup_free_ char *real = realpath(dir, NULL);
	char path[PATH_MAX], wal[PATH_MAX + 8];
	struct store *s;
	struct stat st;
	bool had_wal;
	int r;

	if (real == NULL) {
		r = -errno;
		diag_set(d, 0, 0, "%s: %s", dir, strerror(-r));
		return r;
	}
	if (snprintf(path, sizeof(path), "%s/%s", real, STORE_FILE) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	snprintf(wal, sizeof(wal), "%s-wal", path);
	r = ensure_file(real, path, wal, d);
	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	had_wal = lstat(wal, &st) == 0;
	r = open_checked(s, path, d);
	if (r < 0) {
		store_close(s);
		if (!had_wal && lstat(wal, &st) == 0 && st.st_size == 0)
			unlink(wal);
		return r;
	}
	*ret = s;
	return 0;
}

void
store_close(struct store *s)
{
	sqlite3_stmt *st;

	if (s == NULL)
		return;
	while (s->db != NULL && (st = sqlite3_next_stmt(s->db, NULL)) != NULL)
		sqlite3_finalize(st);
	sqlite3_close(s->db);
	free(s);
}

/*
 * Edges come in no order of their ids: with a small cache a page is written anew for nearly every
 * one. What a transaction needs more is given back at its end.
 */
int
store_begin(struct store *s)
{
	return store_exec(s, "PRAGMA cache_size = " CACHE_CHANGING "; BEGIN IMMEDIATE");
}

int
store_commit(struct store *s)
{
	int r = store_exec(s, "COMMIT");

	if (r == 0)
		store_exec(s, "PRAGMA cache_size = " CACHE);
	return r;
}

void
store_rollback(struct store *s)
{
	/* Some failures have ended the transaction already. */
	if (!sqlite3_get_autocommit(s->db))
		store_exec(s, "ROLLBACK");
	store_exec(s, "PRAGMA cache_size = " CACHE);
}
