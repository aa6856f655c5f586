/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store of an older version becomes one of this version: one step after the other in a single
 * transaction, and not before a copy of the whole store has been made and synced. A step, once
 * published, is never changed; the schema in store.c is what all steps together give.
 */
#include "daemon/store_internal.h"

#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* steps[N]: from version N to N + 1. */
static const char *const steps[] = {
	[1] = "ALTER TABLE workload ADD COLUMN images TEXT;"
	      "ALTER TABLE edge ADD COLUMN images BLOB;",
	[2] = "CREATE TABLE exposure ("
	      " number INTEGER PRIMARY KEY, workload BLOB NOT NULL, instance TEXT NOT NULL,"
	      " begin INTEGER NOT NULL, end INTEGER NOT NULL);",
	[3] = "ALTER TABLE edge ADD COLUMN kept INTEGER;"
	      "ALTER TABLE edge ADD COLUMN kept_by BLOB;"
	      "ALTER TABLE workload ADD COLUMN mode_by BLOB;",
	[4] = "ALTER TABLE edge ADD COLUMN windows INTEGER;"
	      "ALTER TABLE edge ADD COLUMN last_window INTEGER;"
	      "ALTER TABLE workload ADD COLUMN windows BLOB;"
	      "ALTER TABLE workload ADD COLUMN network BLOB;"
	      "ALTER TABLE workload ADD COLUMN rolled_back INTEGER;",
	[5] = store_history_schema,
	[6] = "ALTER TABLE edge ADD COLUMN extent BLOB;",
	[7] = "ALTER TABLE edge ADD COLUMN seen_as BLOB;",
	[8] = "ALTER TABLE workload ADD COLUMN lost INTEGER;",
};

static int
sync_file(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && fchmod(fd, 0600) == 0 && fsync(fd) == 0 ? 0 : -errno;
}

static int
back_up(sqlite3 *db, const char *copy)
{
	char *sql;
	int r;

	unlink(copy);
	sql = sqlite3_mprintf("VACUUM INTO %Q", copy);
	if (sql == NULL)
		return -ENOMEM;
	r = store_error(sqlite3_exec(db, sql, NULL, NULL, NULL));
	sqlite3_free(sql);
	return r == 0 ? sync_file(copy) : r;
}

static int
run_steps(sqlite3 *db, int from, int to)
{
	char version[64];
	int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

	for (int v = from; rc == SQLITE_OK && v < to; v++)
		rc = sqlite3_exec(db, steps[v], NULL, NULL, NULL);
	snprintf(version, sizeof(version), "PRAGMA user_version = %d", to);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, version, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return store_error(rc);
}

int
store_migrate(sqlite3 *db, const char *path, int from, int to, struct diag *d)
{
	char copy[PATH_MAX + 16];
	int r;

	snprintf(copy, sizeof(copy), "%s.v%d", path, from);
	r = back_up(db, copy);
	if (r < 0) {
		diag_set(d, 0, 0,
		    "%s is of version %d and is left as it is: no copy %s could be made: %s", path,
		    from, copy, strerror(-r));
		return r;
	}
	r = run_steps(db, from, to);
	if (r < 0) {
		diag_set(d, 0, 0, "%s is left in version %d, it could not be brought to %d: %s",
		    path, from, to, sqlite3_errmsg(db));
		return r;
	}
	log_info("%s: brought from version %d to %d; as it was: %s", path, from, to, copy);
	return 0;
}
