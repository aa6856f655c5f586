/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between the store*.c files alone: open, put, load, migrate, history. */
#ifndef NANOSEG_DAEMON_STORE_INTERNAL_H
#define NANOSEG_DAEMON_STORE_INTERNAL_H

#include "daemon/store.h"

#include <sqlite3.h>

struct store_history_statements {
	sqlite3_stmt *get, *put, *put_flow, *get_flow, *put_day, *delete_day, *page, *oldest,
	    *delete_one, *delete_flow;
};

struct store {
	sqlite3 *db;
	struct store_history_statements history;
	sqlite3_stmt *put_edge, *delete_edge, *put_workload, *delete_workload, *put_revision,
	    *put_network, *put_denial, *put_exposure, *trim_exposures, *trim_texts, *trim_revisions;
};

/*
 * store_migrate.c: brings a store of an older version to this one. A copy of it as it was is left
 * beside it first, as PATH.vN; a failure leaves the store as it was, with a sentence in *d.
 */
int store_migrate(sqlite3 *db, const char *path, int from, int to, struct diag *d);

struct store_statement {
	sqlite3_stmt **st;
	const char *sql;
};
/* Until store_close(). */
int store_prepare(struct store *s, const struct store_statement *list, size_t n);
/* One that gives no row; its bindings are gone then. */
int store_run(sqlite3_stmt *st);
int store_exec(struct store *s, const char *sql);
void store_bind_text(sqlite3_stmt *st, int at, const char *text); /* a blob; NULL: null */

/* store_history.c */
extern const char store_history_schema[];
int store_prepare_history(struct store *s);

/* SQLite's code as a negative errno; 0 for success, a row and the end. */
int store_error(int rc);

#endif
